"""Putting a client together: the composition root."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Final, NamedTuple
from urllib.parse import unquote

from memlane import (
    CallReceipt,
    Limits,
    MemoryClient,
    Retention,
    Tenancy,
    TrustPolicy,
    ValidationError,
)
from memlane.powers import SupportsClose
from memlane.protocols import Clock, CredentialProvider, Embedder, Redactor, VectorBackend
from memlane_plain.settings import Settings

if TYPE_CHECKING:
    from memlane.aws.credentials import HostProvider
    from memlane.local import InMemoryBackend, SqliteBackend

__all__ = ("connect", "connect_with", "embedder_with")

_SQLITE: Final = "sqlite:///"
_MEMORY: Final = "memory://"


class _Parts(NamedTuple):
    backend: VectorBackend
    embedder: Embedder
    owned: list[SupportsClose]


def _local_backend(settings: Settings) -> InMemoryBackend | SqliteBackend:
    # Who is in AWS pays for no SQLite.
    from memlane.local import InMemoryBackend, SqliteBackend  # noqa: PLC0415

    url = settings.url
    if url == _MEMORY:
        return InMemoryBackend()
    if url.startswith(_SQLITE) and (path := unquote(url.removeprefix(_SQLITE))):
        told = _given(cache_bytes=settings.cache_bytes, busy_timeout=settings.busy_timeout)
        return SqliteBackend(path, **told)
    scheme = url.partition("://")[0] if "://" in url else None
    raise ValidationError(
        f"no store is known for the scheme {scheme!r}" if scheme else "the url names no store",
        operation="connect",
        remedy="pass 'sqlite:///memory.db', 'memory://' or 's3vectors://bucket'",
    )


def _put_together(
    settings: Settings,
    embedder: Embedder | None,
    provider: CredentialProvider | None,
    host: HostProvider | None,
    clock: Clock | None,
) -> _Parts:
    place = settings.place
    remote = embedder is None and not settings.uses_local_model
    owned: list[SupportsClose] = []
    backend: VectorBackend
    if place is not None or remote:
        # What is signed and sent is imported by those who sign and send.
        from memlane_plain import composition  # noqa: PLC0415

        shared = composition.aws_parts(settings.aws, host=host, clock=clock)
        if remote:
            embedder = composition.aws_embedder(shared, settings.aws)
        if place is not None:
            backend = cloud = composition.aws_backend(
                shared, settings, place=place, provider=provider, clock=clock
            )
            owned.append(cloud)
        else:
            backend = local = _local_backend(settings)
            owned.append(local)
        owned.append(shared.plane)
    else:
        backend = local = _local_backend(settings)
        owned.append(local)
    if embedder is None:
        from memlane.local import MiniLMEmbedder  # noqa: PLC0415

        embedder = mini = MiniLMEmbedder(threads=settings.embedding_threads)
        owned.append(mini)
    return _Parts(backend, embedder, owned)


@asynccontextmanager
async def embedder_with(settings: Settings) -> AsyncGenerator[Embedder]:
    """Lend the embedder that a client made from settings would have."""
    parts = _put_together(settings, None, None, None, None)
    try:
        yield parts.embedder
    finally:
        for part in parts.owned:
            await part.aclose()


def connect_with(
    settings: Settings,
    *,
    embedder: Embedder | None = None,
    credentials: CredentialProvider | None = None,
    host_credentials: HostProvider | None = None,
    clock: Clock | None = None,
    redactor: Redactor | None = None,
    trust: TrustPolicy | None = None,
    retention: Retention | None = None,
    sweep_every: timedelta | None = None,
    on_receipt: Callable[[CallReceipt], object] | None = None,
) -> MemoryClient:
    """Return a client made from settings. Nothing is opened before its first call.

    What is no setting is passed on to `MemoryClient`, which says what it is.
    """
    parts = _put_together(settings, embedder, credentials, host_credentials, clock)
    return MemoryClient(
        backend=parts.backend,
        embedder=parts.embedder,
        tenancy=settings.tenancy,
        clock=clock,
        limits=settings.limits,
        redactor=redactor,
        trust=trust,
        retention=retention,
        sweep_every=sweep_every,
        on_receipt=on_receipt,
        owned=parts.owned,
    )


def connect(
    url: str | None = None,
    *,
    tenancy: Tenancy | None = None,
    limits: Limits | None = None,
    embedder: Embedder | None = None,
    clock: Clock | None = None,
    redactor: Redactor | None = None,
    trust: TrustPolicy | None = None,
    retention: Retention | None = None,
    sweep_every: timedelta | None = None,
    on_receipt: Callable[[CallReceipt], object] | None = None,
    embedding_threads: int | None = None,
    busy_timeout: float | None = None,
    cache_bytes: int | None = None,
    role_arn: str | None = None,
    eraser_role_arn: str | None = None,
    external_id: str | None = None,
    credentials: CredentialProvider | None = None,
    host_credentials: HostProvider | None = None,
    region: str | None = None,
    profile: str | None = None,
    embedding_model: str | None = None,
    base_model: str | None = None,
    dimensions: int | None = None,
    endpoint_url: str | Mapping[str, str] | None = None,
    ca_bundle: str | None = None,
    proxy: str | None = None,
    concurrency: int | None = None,
    auto_onboard: bool | None = None,
) -> MemoryClient:
    """Return a client for a store; usable with or without `async with`.

    Nothing is opened before the first call. What is not given here comes from the environment
    (`MEMLANE_URL`, `MEMLANE_TENANCY` and, in AWS, its own variables and `MEMLANE_ROLE_ARN`,
    `MEMLANE_EMBEDDING_MODEL` and the like), then from defaults: a SQLite file in the platform's
    data folder.

    Args:
        url: "sqlite:///memory.db" (relative), "sqlite:////var/lib/memory.db" (absolute),
            "memory://", "s3vectors://bucket" (an index for each tenant, reached with credentials
            of that tenant) or "s3vectors://bucket/index" (one index for all, which IAM does not
            divide).
        tenancy: Whether a scope must, may or must not name a tenant.
        limits: Bounds the client keeps.
        embedder: Another model than the usual one; it is not closed by the client.
        clock: When it is.
        redactor: Takes out of texts what must not be kept, before they are embedded or stored.
        trust: What may be recalled, and how it is labelled.
        retention: How long, and how much of it, is kept where nobody says else.
        sweep_every: How often expired records are deleted in the background.
        on_receipt: Told what each call took.
        embedding_threads: Threads the local model runs on; 2 if left out.
        busy_timeout: Seconds to wait for a file another process holds; 5 if left out.
        cache_bytes: Memory for what was read of recently used scopes, about 1.7 KB a record and
            window of a long one; 64 MiB if left out, 0 for none.
        role_arn: The role assumed for each tenant, tagged with it.
        eraser_role_arn: The role assumed to delete, where `role_arn` may not.
        external_id: What the role's trust policy asks for.
        credentials: Another way to a tenant's credentials than assuming `role_arn`.
        host_credentials: The host's own, from elsewhere than the environment or a profile.
        region: Where the bucket and the model are.
        profile: The profile of AWS's configuration whose credentials the host has.
        embedding_model: A model of Bedrock, for any store, or "local" for the built-in one.
        base_model: The model behind an ARN that does not say it.
        dimensions: Components a vector; what is usual for the model if left out.
        endpoint_url: Where AWS is in place of AWS: for all services, or by service.
        ca_bundle: A file of the authorities to trust, in place of the system's.
        proxy: The proxy all requests to AWS go through.
        concurrency: Requests at once; 128 if left out.
        auto_onboard: Make a tenant's index when it is missing, with the host's credentials.

    Raises:
        ValidationError: The url names no store that is known, or what it needs is missing.
        MissingExtraError: An optional package that the store needs is not installed.
    """
    settings = Settings.from_environment(url=url, tenancy=tenancy)
    aws = replace(
        settings.aws,
        **_given(
            role_arn=role_arn,
            eraser_role_arn=eraser_role_arn,
            external_id=external_id,
            region=region,
            profile=profile,
            embedding_model=embedding_model,
            base_model=base_model,
            dimensions=dimensions,
            endpoint_urls={"*": endpoint_url} if isinstance(endpoint_url, str) else endpoint_url,
            ca_bundle=ca_bundle,
            proxy=proxy,
            # Named here it is for everything.
            no_proxy=None if proxy is None else (),
            concurrency=concurrency,
            auto_onboard=auto_onboard,
        ),
    )
    if profile is not None:
        # Named here it means more than keys that happen to be in the environment.
        aws = replace(aws, host=None)
    settings = replace(
        settings,
        aws=aws,
        **_given(
            limits=limits,
            embedding_threads=embedding_threads,
            busy_timeout=busy_timeout,
            cache_bytes=cache_bytes,
        ),
    )
    return connect_with(
        settings,
        embedder=embedder,
        credentials=credentials,
        host_credentials=host_credentials,
        clock=clock,
        redactor=redactor,
        trust=trust,
        retention=retention,
        sweep_every=sweep_every,
        on_receipt=on_receipt,
    )


def _given(**values: Any) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
