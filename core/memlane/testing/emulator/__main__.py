"""`python -m memlane.testing.emulator`: serve, and say what to export."""

from __future__ import annotations

import argparse
import sys

from memlane.testing.emulator.serving import serve
from memlane.testing.emulator.switches import Switches


def _announce(exports: dict[str, str]) -> None:
    sys.stdout.write("".join(f"export {name}={value}\n" for name, value in exports.items()))
    sys.stdout.flush()


def main() -> None:
    """Serve as the command line says."""
    parser = argparse.ArgumentParser(prog="python -m memlane.testing.emulator")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--switch", action="append", default=[], metavar="NAME=VALUE")
    parser.add_argument("--bucket", action="append", default=[], metavar="NAME")
    parser.add_argument("--tied", action="store_true", help="end with standard input")
    chosen = parser.parse_args()
    settings = dict(setting.partition("=")[::2] for setting in chosen.switch)
    serve(
        chosen.port,
        host=chosen.host,
        switches=Switches().read(settings),
        announce=_announce,
        buckets=chosen.bucket,
        tied=chosen.tied,
    )


if __name__ == "__main__":
    main()
