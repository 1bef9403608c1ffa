"""Exports to take apart, and files made by hand, with the checksums that a page must have."""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from memlane import MemoryClient, MemoryRecord, Scope
from memlane.local import InMemoryBackend, SqliteBackend
from memlane.protocols import Embedder
from memlane.testing import FakeClock, HashingEmbedder

ADA = Scope("ada", tenant="acme")
BOB = Scope("bob", tenant="globex")
AT = "2026-03-14T09:26:53.589793+00:00"


@asynccontextmanager
async def opened(
    path: Path | None = None, *, embedder: Embedder | None = None, **options: Any
) -> AsyncIterator[MemoryClient]:
    """Return a client in memory, or on a file."""
    backend = InMemoryBackend() if path is None else SqliteBackend(path)
    options.setdefault("clock", FakeClock())
    async with MemoryClient(
        backend=backend, embedder=embedder or HashingEmbedder(), owned=[backend], **options
    ) as client:
        yield client


async def exported(client: MemoryClient, scope: Scope = ADA, **options: Any) -> list[str]:
    return [line async for line in client.export(scope=scope, **options)]


async def everything(client: MemoryClient, scope: Scope) -> list[MemoryRecord]:
    return [record async for record in client.iterate(scope=scope)]


def records_of(lines: Sequence[str]) -> list[dict[str, Any]]:
    """Return what the record lines say."""
    return [told for told in map(json.loads, lines) if "record" in told]


def a_record(record_id: str = "a", **fields: Any) -> dict[str, Any]:
    """Return the line of a record, as another program might write it."""
    plain = {
        "id": record_id,
        "version": 1,
        "text": f"text of {record_id}",
        "namespace": "/",
        "kind": "fact",
        "source": "user",
        "occurred_at": AT,
        "stored_at": AT,
        "updated_at": AT,
        "space": "hashing:64",
    }
    kept = {name: value for name, value in (plain | fields).items() if value is not ...}
    return {"record": kept}


def header(**fields: Any) -> dict[str, Any]:
    plain = {
        "memlane": "export",
        "format": 1,
        "space": "hashing:64",
        "namespace": "/",
        "filter": None,
        "vectors": False,
    }
    return {name: value for name, value in (plain | fields).items() if value is not ...}


def a_file(
    *pages: Sequence[dict[str, Any]],
    head: dict[str, Any] | None = None,
    write: Callable[[Any], str] = json.dumps,
) -> list[str]:
    """Return the lines of a file whose checksums are right, made without the code under test."""
    lines: list[str] = []
    waiting = [write(header() if head is None else head)]
    for number, page in enumerate(pages, start=1):
        waiting += [write(record) for record in page]
        sha256 = hashlib.sha256("".join(f"{line}\n" for line in waiting).encode()).hexdigest()
        behind = {"page": number, "records": len(page), "sha256": sha256, "after": "x"}
        lines += [*waiting, write(behind)]
        waiting = []
    total = sum(map(len, pages))
    lines += [*waiting, write({"end": True, "pages": len(pages), "records": total})]
    return [f"{line}\n" for line in lines]


def comparable(record: MemoryRecord, *, scope: Scope) -> MemoryRecord:
    """Return a record without what an import changes."""
    return replace(record, id="", scope=scope, source="app")
