"""`memlane onboard` and `memlane emulator`: what a store of tenants begins with."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Awaitable, Callable
from typing import Annotated, Final, TypeVar

import anyio
import typer

from memlane import MissingExtraError, TenantAdmin
from memlane_plain.cli.options import Debug, Json, Url, refuse
from memlane_plain.cli.output import Output
from memlane_plain.connection import connect_with
from memlane_plain.settings import Settings

__all__ = ("emulator", "onboard")

T = TypeVar("T")

_PORT: Final = 8765
_HINT: Final = "# paste these into another terminal; Ctrl-C here ends it, and all it holds"

_Tenant = Annotated[str, typer.Argument(metavar="TENANT", help="The customer, as in --tenant.")]


_User = Annotated[
    str | None,
    typer.Option(metavar="ID", help="With tenancy per-user, the user whose index it is."),
]


def _administer(
    out: Output,
    doing: str,
    url: str | None,
    tenant: str,
    call: Callable[[TenantAdmin], Awaitable[T]],
) -> T:
    settings = Settings.from_environment(url=url)

    async def run() -> T:
        async with connect_with(settings) as client:
            return await call(client.admin(tenant))

    return anyio.run(lambda: out.patiently(doing, run))


def onboard(
    tenant: _Tenant,
    user: _User = None,
    url: Url = None,
    as_json: Json = False,
    debug: Debug = False,
) -> None:
    """Make what a tenant needs before its first memory: on S3 Vectors, its index."""
    del debug
    out = Output(as_json=as_json)
    made = _administer(out, "Onboarding", url, tenant, lambda admin: admin.onboard(user=user))
    if as_json:
        out.data({"tenant": tenant, "made": made})
    else:
        out.say(f"{tenant} is ready" if made else f"{tenant} was ready already")


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
