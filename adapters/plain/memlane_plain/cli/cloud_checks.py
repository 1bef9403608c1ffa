"""What `memlane doctor` looks at where memory is in AWS: who asks, the model, the store."""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib.util import find_spec
from typing import Final

from memlane import MemlaneError, MemoryClient, Scope, TenantNotOnboardedError
from memlane.aws.credentials import HostCredentials
from memlane.protocols import Embedder
from memlane_plain.cli.verdict import Verdict
from memlane_plain.composition import aws_embedder, aws_parts
from memlane_plain.connection import connect_with
from memlane_plain.settings import Settings

__all__ = ("cloud_checks",)

_TEXT: Final = "I moved to Lisbon in March."
_NOBODY: Final = "memlane-doctor"


async def cloud_checks(settings: Settings, *, tenant: str | None) -> AsyncIterator[Verdict]:
    """Ask for credentials, embed a sentence, and read nobody's memory."""
    needed = ("httptools", "aiohappyeyeballs", "orjson")
    missing = [name for name in needed if find_spec(name) is None]
    yield Verdict(
        "extra aws",
        not missing,
        f"without {', '.join(missing)}" if missing else "installed",
        "pip install 'memlane[aws]'",
    )
    if missing:
        return
    try:
        parts = aws_parts(settings.aws)
        embedder = None if settings.uses_local_model else aws_embedder(parts, settings.aws)
    except MemlaneError as error:
        yield Verdict.of("settings", error)
        return
    try:
        host = await _host(parts.host, settings)
        yield host
        if host.ok and embedder is not None:
            yield await _model(embedder)
    finally:
        await parts.plane.aclose()
    if host.ok and settings.place is not None:
        yield await _store(settings, tenant)


async def _host(host: HostCredentials, settings: Settings) -> Verdict:
    try:
        found = await host.get()
    except MemlaneError as error:
        return Verdict.of("credentials", error)
    ends = "" if found.expires_at is None else f", until {found.expires_at:%Y-%m-%d %H:%M} UTC"
    kind = "temporary" if found.session_token else "long-lived"
    return Verdict("credentials", True, f"{kind}, from {settings.aws.host_kind}{ends}")


async def _model(embedder: Embedder) -> Verdict:
    try:
        await embedder.embed([_TEXT], purpose="document")
    except MemlaneError as error:
        return Verdict.of("model", error)
    space = embedder.space
    return Verdict("model", True, f"{space.model}, {space.dimensions} dimensions")


async def _store(settings: Settings, tenant: str | None) -> Verdict:
    try:
        client = connect_with(settings)
    except MemlaneError as error:
        return Verdict.of("store", error)
    async with client:
        return await _read(client, settings, tenant)


async def _read(client: MemoryClient, settings: Settings, tenant: str | None) -> Verdict:
    named = tenant
    if named is None and settings.tenancy in {"required", "per-user"}:
        named = _NOBODY
    try:
        await client.retrieve(_TEXT, scope=Scope(_NOBODY, tenant=named), limit=1)
    except TenantNotOnboardedError as error:
        if tenant is None and settings.place is not None and settings.place.index is None:
            found = f"{settings.url}, tenants' sessions can be had; --tenant checks one's index"
            return Verdict("store", True, found)
        return Verdict.of("store", error)
    except MemlaneError as error:
        return Verdict.of("store", error)
    return Verdict("store", True, f"{settings.url}, readable")
