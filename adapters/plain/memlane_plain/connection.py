"""Putting a client together: the composition root."""

from __future__ import annotations

from dataclasses import replace
from urllib.parse import unquote

from memlane import Limits, MemoryClient, Tenancy, ValidationError
from memlane.local import InMemoryBackend, MiniLMEmbedder, SqliteBackend
from memlane.protocols import Clock, Embedder, SupportsClose
from memlane_plain.settings import Settings

__all__ = ("connect", "connect_with")

_SQLITE = "sqlite:///"
_MEMORY = "memory://"


def _backend(settings: Settings) -> InMemoryBackend | SqliteBackend:
    url = settings.url
    if url == _MEMORY:
        return InMemoryBackend()
    if url.startswith(_SQLITE) and (path := unquote(url.removeprefix(_SQLITE))):
        return SqliteBackend(
            path, cache_bytes=settings.cache_bytes, busy_timeout=settings.busy_timeout
        )
    scheme = url.partition("://")[0] if "://" in url else None
    raise ValidationError(
        f"no store is known for the scheme {scheme!r}" if scheme else "the url names no store",
        operation="connect",
        remedy="pass 'sqlite:///memory.db' or 'memory://'",
    )


def connect_with(
    settings: Settings, *, embedder: Embedder | None = None, clock: Clock | None = None
) -> MemoryClient:
    """Return a client made from settings. Nothing is opened before its first call."""
    backend = _backend(settings)
    owned: list[SupportsClose] = [backend]
    if embedder is None:
        embedder = model = MiniLMEmbedder(threads=settings.embedding_threads)
        owned.append(model)
    return MemoryClient(
        backend=backend,
        embedder=embedder,
        tenancy=settings.tenancy,
        clock=clock,
        limits=settings.limits,
        owned=owned,
    )


def connect(
    url: str | None = None,
    *,
    tenancy: Tenancy | None = None,
    limits: Limits | None = None,
    embedder: Embedder | None = None,
    clock: Clock | None = None,
    embedding_threads: int | None = None,
    busy_timeout: float | None = None,
    cache_bytes: int | None = None,
) -> MemoryClient:
    """Return a client for a store; usable with or without `async with`.

    Nothing is opened before the first call. What is not given here comes from `MEMLANE_URL` and
    `MEMLANE_TENANCY`, then from defaults: a SQLite file in the platform's data folder.

    Args:
        url: "sqlite:///memory.db" (relative), "sqlite:////var/lib/memory.db" (absolute) or
            "memory://".
        tenancy: Whether a scope must, may or must not name a tenant.
        limits: Bounds the client keeps.
        embedder: Another model than the local one; it is not closed by the client.
        clock: When it is.
        embedding_threads: Threads the local model runs on; 2 if left out.
        busy_timeout: Seconds to wait for a file another process holds; 5 if left out.
        cache_bytes: Memory for what was read of recently used scopes, about 1.7 KB a record and
            window of a long one; 64 MiB if left out, 0 for none.

    Raises:
        ValidationError: The url names no store that is known.
    """
    settings = Settings.from_environment(url=url)
    if tenancy is not None:
        settings = replace(settings, tenancy=tenancy)
    if limits is not None:
        settings = replace(settings, limits=limits)
    if embedding_threads is not None:
        settings = replace(settings, embedding_threads=embedding_threads)
    if busy_timeout is not None:
        settings = replace(settings, busy_timeout=busy_timeout)
    if cache_bytes is not None:
        settings = replace(settings, cache_bytes=cache_bytes)
    return connect_with(settings, embedder=embedder, clock=clock)
