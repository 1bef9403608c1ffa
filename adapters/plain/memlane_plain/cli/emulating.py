"""`memlane emulator`: the services of AWS on this machine."""

from __future__ import annotations

import shlex
import sys
from typing import Annotated, Final

import typer

from memlane import MissingExtraError
from memlane_plain.cli.options import Debug, Json, refuse
from memlane_plain.cli.output import Output

__all__ = ("emulator",)

_PORT: Final = 8765
_HINT: Final = "# paste these into another terminal; Ctrl-C here ends it, and all it holds"


def emulator(
    port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="Where to listen; 0 for any.")
    ] = _PORT,
    bucket: Annotated[
        list[str] | None, typer.Option(metavar="NAME", help="A vector bucket to begin with.")
    ] = None,
    switch: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="How to behave where AWS is not known to."),
    ] = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Run S3 Vectors, Bedrock and STS on this machine, in memory, until Ctrl-C."""
    del debug
    switches: dict[str, str] = {}
    for pair in switch or ():
        name, equals, value = pair.partition("=")
        if not equals:
            refuse(f"--switch {pair!r} has no value", "write it as --switch legacy_buckets=true")
        switches[name] = value
    try:
        from memlane.testing.emulator import Switches, serve  # noqa: PLC0415 - an extra
    except ImportError as exc:
        raise MissingExtraError(
            f"the emulator needs {exc.name}", remedy="pip install 'memlane[testing]'"
        ) from exc
    out = Output(as_json=as_json)

    def announce(exports: dict[str, str]) -> None:
        if as_json:
            out.data(exports)
        else:
            # For a shell: whole lines, whatever the width of the terminal.
            lines = [f"export {name}={shlex.quote(value)}" for name, value in exports.items()]
            sys.stdout.write("\n".join([*lines, _HINT, ""]))
        sys.stdout.flush()

    chosen = Switches().read(switches)
    serve(port, switches=chosen, buckets=bucket or (), announce=announce)
