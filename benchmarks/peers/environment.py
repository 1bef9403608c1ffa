"""The peers, their exact requirements, and a virtual environment for each outside the tree."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[2]
CONSTRAINTS: Final = Path(__file__).parent / "constraints.txt"
_IMPORTED: Final = (ROOT, ROOT / "core", ROOT / "adapters" / "plain")
_QUIET: Final = {
    "MEM0_TELEMETRY": "False",
    "ANONYMIZED_TELEMETRY": "False",
    "LANGSMITH_TRACING": "false",
    "HF_HUB_OFFLINE": "1",
    "OTEL_SDK_DISABLED": "true",
}
_MODEL: Final = (
    "anyio==4.16.0",
    "numpy==2.4.6",
    "onnxruntime==1.31.1",
    "tokenizers==0.23.3",
)


class PeerError(Exception):
    """A peer could not do what was asked; the message is what the table shows for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """A library that is compared.

    Args:
        name: What the table calls it.
        adapter: Module with `open_store`.
        environment: Name of its virtual environment.
        requirements: What is installed there, each pinned exactly.
        finds: Whether its answers are measured; a row of costs alone has none.
    """

    name: str
    adapter: str
    environment: str
    requirements: tuple[str, ...] = field(default=_MODEL)
    finds: bool = True

    @property
    def distributions(self) -> tuple[str, ...]:
        """Names of what is required, without versions."""
        return tuple(each.partition("==")[0] for each in self.requirements)


PEERS: Final = (
    Peer(name="memlane", adapter="benchmarks.peers.memlane_peer", environment="memlane"),
    Peer(
        name="mem0",
        adapter="benchmarks.peers.mem0",
        environment="mem0",
        requirements=("mem0ai==2.2.1", "qdrant-client==1.20.0", *_MODEL),
    ),
    Peer(
        name="langchain memory",
        adapter="benchmarks.peers.langchain_memory",
        environment="langchain-memory",
        requirements=("langchain-core==1.7.2", *_MODEL),
    ),
    Peer(
        name="langchain sqlite",
        adapter="benchmarks.peers.langchain_sqlite",
        environment="langchain-sqlite",
        requirements=(
            "langchain-community==0.4.2",
            "langchain-core==1.7.2",
            "pysqlite3-binary==0.5.4.post2",
            "sqlite-vec==0.1.9",
            *_MODEL,
        ),
    ),
    Peer(
        name="strands file",
        adapter="benchmarks.peers.strands_file",
        environment="strands-file",
        requirements=("strands-agents==1.62.0",),
    ),
    Peer(
        name="embedding alone",
        adapter="benchmarks.peers.embedding_alone",
        environment="memlane",
        finds=False,
    ),
)


def cache_folder() -> Path:
    """Return the folder that holds the environments."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "memlane-benchmarks"


def python_of(folder: Path) -> Path:
    """Return the interpreter of a virtual environment."""
    if os.name == "nt":
        return folder / "Scripts" / "python.exe"
    return folder / "bin" / "python"


def _stamp(requirements: tuple[str, ...]) -> str:
    wanted = "\n".join((platform.python_version(), *requirements, CONSTRAINTS.read_text()))
    return hashlib.sha256(wanted.encode()).hexdigest()


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise PeerError(f"no environment: {done.stderr.strip()[-300:]}")


def prepared(
    peer: Peer,
    *,
    cache: Path | None = None,
    say: Callable[[str], None] = print,
    run: Callable[..., None] = _run,
) -> Path:
    """Return the interpreter of a peer's environment, which is made when it is not as wanted.

    Raises:
        PeerError: It cannot be made.
    """
    folder = (cache or cache_folder()) / peer.environment
    python, made, stamp = python_of(folder), folder / "made", _stamp(peer.requirements)
    if python.exists() and made.exists() and made.read_text() == stamp:
        return python
    say(f"making the environment of {peer.name} (once): {', '.join(peer.requirements)}")
    run(sys.executable, "-m", "venv", "--clear", str(folder))
    pip = (str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check")
    run(*pip, "--constraint", str(CONSTRAINTS), *peer.requirements)
    made.write_text(stamp)
    return python


def variables(folder: Path, *more: Path) -> Mapping[str, str]:
    """Return the environment variables of a peer's program: our tree to import, nothing to tell.

    Args:
        folder: Where a peer keeps what it otherwise keeps in a home folder.
        more: Further folders to import from.
    """
    ours = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("MEMLANE_", "PYTHON", "MEM0_"))
    }
    imported = os.pathsep.join(str(each) for each in (*more, *_IMPORTED))
    return {**ours, **_QUIET, "MEM0_DIR": str(folder), "PYTHONPATH": imported}
