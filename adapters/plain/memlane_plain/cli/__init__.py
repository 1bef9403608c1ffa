"""The `memlane` command: memory from a terminal."""

from __future__ import annotations

import sys

__all__ = ("main",)


def main() -> None:
    """Run the command, or say in one line which extra it needs."""
    try:
        from memlane_plain.cli.app import run  # noqa: PLC0415 - typer and rich are an extra
    except ModuleNotFoundError as exc:
        if (exc.name or "").partition(".")[0] not in {"typer", "rich", "click"}:
            raise
        sys.stderr.write(
            "error: the memlane command needs typer and rich; pip install 'memlane[cli]'\n"
        )
        sys.exit(1)
    run()
