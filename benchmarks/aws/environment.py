"""The contenders of the cloud questions and an environment for each, locked to the last version."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from benchmarks.peers.environment import ROOT, PeerError, cache_folder, python_of

LOCKS: Final = Path(__file__).parent / "locks"
_IMPORTED: Final = (ROOT, ROOT / "core", ROOT / "adapters" / "plain")
_FOREIGN: Final = ("MEMLANE_", "PYTHON", "AWS_", "MEM0_", "HTTP_PROXY", "http_proxy")
_QUIET: Final = {
    "MEM0_TELEMETRY": "False",
    "LANGSMITH_TRACING": "false",
    "OTEL_SDK_DISABLED": "true",
    "AWS_EC2_METADATA_DISABLED": "true",
    "AWS_CONFIG_FILE": os.devnull,
    "AWS_SHARED_CREDENTIALS_FILE": os.devnull,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Contender:
    """A client that is compared.

    Args:
        name: What the table calls it.
        module: Its module under `benchmarks.aws.clients`.
        environment: The lock it runs with, and the name of its virtual environment.
        distributions: Whose versions are reported.
        settings: What its `open_client` is told besides endpoint, keys and bucket.
        operations: What it can do, of what a question asks.
    """

    name: str
    module: str
    environment: str
    distributions: tuple[str, ...]
    settings: Mapping[str, Any] = field(default_factory=dict[str, Any])
    operations: frozenset[str] = frozenset({"store", "retrieve"})

    @property
    def bucket(self) -> str:
        """A vector bucket of its own."""
        return f"bench-{self.environment}-{self.module}".replace("_", "-")[:63]


_OURS: Final = frozenset({"store", "retrieve", "recall", "store_many"})
FLOOR: Final = Contender(
    name="floor",
    module="floor",
    environment="aiohttp",
    distributions=("aiohttp", "orjson"),
    operations=_OURS,
)
MEMLANE: Final = Contender(
    name="memlane",
    module="memlane_client",
    environment="aiohttp",
    distributions=("httptools", "orjson", "anyio", "numpy"),
    operations=_OURS,
)
OTHER_LOOP: Final = Contender(
    name="memlane, other loop",
    module="memlane_client",
    environment="aiohttp",
    distributions=("httptools", "orjson", "anyio", "numpy"),
    settings={"enter": False},
    operations=_OURS,
)
PEERS: Final = (
    Contender(
        name="boto3",
        module="boto3_by_hand",
        environment="boto3",
        distributions=("boto3",),
    ),
    Contender(
        name="aioboto3",
        module="aio_by_hand",
        environment="aioboto3",
        distributions=("aioboto3", "botocore", "aiohttp"),
        settings={"library": "aioboto3"},
    ),
    Contender(
        name="aiobotocore",
        module="aio_by_hand",
        environment="aiobotocore",
        distributions=("aiobotocore", "botocore", "aiohttp"),
        settings={"library": "aiobotocore"},
    ),
    Contender(
        name="strands-s3-vectors-memory",
        module="strands",
        environment="strands-s3-vectors",
        distributions=("strands-s3-vectors-memory", "boto3"),
    ),
    Contender(
        name="langchain-aws",
        module="langchain",
        environment="langchain-aws",
        distributions=("langchain-aws", "boto3"),
        operations=frozenset({"store", "retrieve", "store_many"}),
    ),
    Contender(
        name="mem0",
        module="mem0",
        environment="mem0-aws",
        distributions=("mem0ai", "boto3"),
    ),
)


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerError(f"no environment: {done.stderr.strip()[-300:]}")


def prepared(
    environment: str,
    *,
    cache: Path | None = None,
    say: Callable[[str], None] = print,
    run: Callable[..., None] = _run,
) -> Path:
    """Return the interpreter of an environment, which is made when it is not as its lock says.

    Raises:
        PeerError: It cannot be made.
    """
    lock = LOCKS / f"{environment}.txt"
    folder = (cache or cache_folder()) / f"aws-{environment}"
    wanted = hashlib.sha256(f"{platform.python_version()}\n{lock.read_text()}".encode()).hexdigest()
    python, made = python_of(folder), folder / "made"
    if python.exists() and made.exists() and made.read_text() == wanted:
        return python
    say(f"making the environment {environment} (once)")
    run(sys.executable, "-m", "venv", "--clear", str(folder))
    pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--no-deps", "--requirement", str(lock))
    made.write_text(wanted)
    return python


def variables(exports: Mapping[str, str], home: Path) -> dict[str, str]:
    """Return the environment variables of a contender: our tree to import, the server to ask.

    Args:
        exports: Endpoint, region and keys, as the AWS clients read them.
        home: Where a peer keeps what it otherwise keeps in a home folder.
    """
    ours = {name: value for name, value in os.environ.items() if not name.startswith(_FOREIGN)}
    imported = os.pathsep.join(str(each) for each in _IMPORTED)
    return {
        **ours,
        **_QUIET,
        **exports,
        "HOME": str(home),
        "MEM0_DIR": str(home),
        "PYTHONPATH": imported,
    }
