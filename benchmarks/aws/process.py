"""A contender from outside."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

from benchmarks.aws.environment import Contender, prepared, variables
from benchmarks.aws.service import Service
from benchmarks.peers.process import PeerProcess


class ContenderProcess(PeerProcess):
    """A started contender; every call raises `PeerError` when it is not there or fails.

    Args:
        contender: Which one.
        server: What it talks to.
        settings: What it is told besides.
        python: The interpreter it runs in; that of its own environment, made when needed, if None.
    """

    def __init__(
        self,
        contender: Contender,
        server: Service,
        settings: Mapping[str, Any] | None = None,
        *,
        python: str | None = None,
    ) -> None:
        self._home = tempfile.TemporaryDirectory()
        module = f"benchmarks.aws.clients.{contender.module}"
        super().__init__(
            [
                python or str(prepared(contender.environment)),
                "-m",
                "benchmarks.aws.contender",
                module,
            ],
            variables=variables(server.exports, Path(self._home.name)),
            patience=600,
        )
        told = {
            **server.settings,
            "bucket": contender.bucket,
            **contender.settings,
            **(settings or {}),
        }
        ready = self._call("setup", settings=told, distributions=contender.distributions)
        self.versions = ready["versions"]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        super().__exit__()
        self._home.cleanup()

    def run(self, op: str, *, n: int, concurrency: int, **more: Any) -> dict[str, Any]:
        """Make calls and return what they cost."""
        return self._call("run", op=op, n=n, concurrency=concurrency, **more)

    def invoke(self, method: str, *arguments: Any) -> Any:
        """Call a method of the client that only this contender has."""
        return self._call("ask", method=method, arguments=arguments)["answer"]

    def close(self) -> None:
        """Let it close its client and end."""
        self._call("finish")
