"""A peer's program from outside: start it, ask it, and know why it failed."""

from __future__ import annotations

import json
import subprocess
import tempfile
import threading
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Self, TypeGuard, cast

from benchmarks.peers.environment import PeerError
from benchmarks.peers.protocol import Message, Reply

_PATIENCE = 1_800.0
_READ_BY_US = 300
"""Characters of a peer's complaint that are shown."""


class PeerProcess:
    """A started peer; every call raises `PeerError` when the peer is not there or talks nonsense.

    Args:
        command: The program and its arguments.
        variables: Its whole environment.
        patience: Seconds a single answer may take.
    """

    def __init__(
        self,
        command: Sequence[str],
        *,
        variables: Mapping[str, str] | None = None,
        patience: float = _PATIENCE,
    ) -> None:
        self._patience = patience
        self._late = False
        self._complaints = tempfile.TemporaryFile()  # noqa: SIM115 - closed by __exit__
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            env=dict(variables) if variables is not None else None,
            encoding="utf-8",
        )
        self.versions: dict[str, str] = {}
        self.start_up_cpu = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout, self._complaints):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:  # what was left to say to a dead peer
                    continue

    def wait_until_ready(self) -> None:
        """Take note of what starting cost and of the versions that run."""
        ready = self._reply()
        self.start_up_cpu = _number(ready, "cpu")
        self.versions = {str(name): str(each) for name, each in ready["versions"].items()}

    def ingest(self, user: str, messages: Sequence[Message]) -> float:
        """Return the CPU seconds of keeping a user's messages."""
        return _number(
            self._call("ingest", user=user, messages=[asdict(each) for each in messages]), "cpu"
        )

    def ask(
        self, user: str, questions: Sequence[str], *, limit: int
    ) -> tuple[list[list[str]], float]:
        """Return the ids found for each question, and the CPU seconds of all."""
        reply = self._call("ask", user=user, questions=list(questions), limit=limit)
        answers: object = reply.get("answers")
        if not _is_answers(answers) or len(answers) != len(questions):
            raise PeerError(f"{len(questions)} questions were answered with {_short(reply)}")
        return answers, _number(reply, "cpu")

    def finish(self) -> int:
        """Close the peer's store and return the bytes its process had at its peak."""
        peak = int(_number(self._call("finish"), "peak_bytes"))
        try:
            self._process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            raise PeerError("it does not end after finish") from None
        return peak

    def _call(self, verb: str, **arguments: object) -> Reply:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"do": verb, **arguments}) + "\n")
            self._process.stdin.flush()
        except OSError:
            raise self._died() from None
        return self._reply()

    def _reply(self) -> Reply:
        assert self._process.stdout is not None
        watchdog = threading.Timer(self._patience, self._give_up)
        watchdog.start()
        try:
            line = self._process.stdout.readline()
        finally:
            watchdog.cancel()
        if not line:
            raise self._died()
        try:
            reply: object = json.loads(line)
        except ValueError:
            raise PeerError(f"it answered what is not JSON: {_short(line)}") from None
        if not isinstance(reply, dict):
            raise PeerError(f"it answered no object: {_short(line)}")
        answer = cast("Reply", reply)
        if "error" in answer:
            raise PeerError(str(answer["error"]))
        return answer

    def _give_up(self) -> None:
        self._late = True
        self._process.kill()

    def _died(self) -> PeerError:
        code = self._process.wait()
        if self._late:
            return PeerError(f"no answer within {self._patience:g} s")
        self._complaints.seek(0)
        said = self._complaints.read().decode(errors="replace").strip()
        return PeerError(f"it ended with {code}: {said[-_READ_BY_US:]}")


def _short(value: object) -> str:
    return repr(value)[:_READ_BY_US]


def _number(reply: Reply, name: str) -> float:
    value: Any = reply.get(name)
    if not isinstance(value, int | float):
        raise PeerError(f"its answer has no {name}: {_short(reply)}")
    return float(value)


def _is_answers(value: object) -> TypeGuard[list[list[str]]]:
    return isinstance(value, list) and all(
        isinstance(answer, list)
        and all(isinstance(record, str) for record in cast("list[object]", answer))
        for answer in cast("list[object]", value)
    )
