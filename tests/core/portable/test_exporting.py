"""What an export says, line by line, and where it goes on."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from core.portable.files import ADA, BOB, everything, exported, opened, records_of
from memlane import (
    InvalidCursorError,
    IsolationError,
    MemoryClient,
    MemoryRecord,
    NewMemory,
    Progress,
    Scope,
)
from memlane.filters import Filter
from memlane.local import InMemoryBackend
from memlane.portable import lines as format_of
from memlane.protocols import ScanPage
from memlane.scope import Reach
from memlane.testing import FakeClock, HashingEmbedder

BOT = replace(ADA, agent="bot", session="monday")


@pytest.fixture(params=["memory", "sqlite"])
def path(request: pytest.FixtureRequest, tmp_path: Path) -> Path | None:
    """A store in memory, and one in a file."""
    return None if request.param == "memory" else tmp_path / "memory.db"


async def _fill(client: MemoryClient, count: int, scope: Scope = ADA) -> None:
    news = [NewMemory(content=f"note {n}", metadata={"n": n}) for n in range(count)]
    await client.store_many(news, scope=scope)


async def test_lines_are_pinned(path: Path | None) -> None:
    """Byte for byte: what was exported today is read by every later version."""
    clock = FakeClock()
    async with opened(path, clock=clock) as client:
        await client.store(
            "Pr\u00e4fers \u2028 \U0001f4ba",
            scope=BOT,
            record_id="r1",
            namespace="/seats/",
            kind="preference",
            metadata={"n": 1, "x": 0.1, "deep": {"list": [None, True]}},
            tags=["b", "a"],
            actor="Ada",
            source="user",
            occurred_at=clock.now() - timedelta(days=1),
            ttl=timedelta(hours=1),
            valid_from=clock.now() - timedelta(days=2),
            valid_to=clock.now() + timedelta(days=2),
        )
        lines = await exported(client)
    assert lines[0] == (
        '{"memlane":"export","format":1,"space":"hashing:64","namespace":"/","filter":null,'
        '"vectors":false}\n'
    )
    assert lines[1] == (
        '{"record":{"id":"r1","agent":"bot","session":"monday","version":1,'
        '"text":"Pr\\u00e4fers \\u2028 \\ud83d\\udcba","namespace":"/seats/","kind":"preference",'
        '"source":"user","occurred_at":"2026-03-13T09:26:53.589793+00:00",'
        '"stored_at":"2026-03-14T09:26:53.589793+00:00",'
        '"updated_at":"2026-03-14T09:26:53.589793+00:00","space":"hashing:64",'
        '"metadata":{"n":1,"x":0.1,"deep":{"list":[null,true]}},"tags":["a","b"],"actor":"Ada",'
        '"expires_at":"2026-03-14T10:26:53.589793+00:00",'
        '"valid_from":"2026-03-12T09:26:53.589793+00:00",'
        '"valid_to":"2026-03-16T09:26:53.589793+00:00"}}\n'
    )
    page = json.loads(lines[2])
    sha256 = hashlib.sha256("".join(lines[:2]).encode()).hexdigest()
    assert page == {"page": 1, "records": 1, "sha256": sha256, "after": page["after"]}
    assert lines[3:] == ['{"end":true,"pages":1,"records":1}\n']


async def test_every_field_of_a_record_is_told() -> None:
    """A field that is added to records must be added to exports, or be lost in silence."""
    told = {
        "id", "text", "scope", "occurred_at", "stored_at", "updated_at", "namespace", "kind",
        "metadata", "tags", "actor", "source", "expires_at", "version", "space", "valid_from",
        "valid_to", "images",
    }  # fmt: skip

    assert set(MemoryRecord.__slots__) == told


async def test_nobody_is_named(path: Path | None) -> None:
    """Neither tenant nor user is in a file; agents and sessions are."""
    whose = Scope("user-secret", tenant="tenant-secret", agent="bot", session="monday")
    async with opened(path) as client:
        await client.store("a note", scope=whose)
        lines = await exported(client, replace(whose, agent=None, session=None))
    text = "".join(lines)
    assert "secret" not in text
    assert '"agent":"bot"' in text
    cursor: str = json.loads(lines[-2])["after"]
    assert b"secret" not in base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))


async def test_nothing_is_an_export_too(path: Path | None) -> None:
    """An empty scope gives a whole file, with a page of nothing."""
    async with opened(path) as client:
        lines = await exported(client)
    assert [next(iter(json.loads(line))) for line in lines] == ["memlane", "page", "end"]
    assert json.loads(lines[-1]) == {"end": True, "pages": 1, "records": 0}


async def test_pages_and_progress(path: Path | None) -> None:
    """Pages have 500 records at most, each with its number; progress is told after each."""
    told: list[Progress] = []
    async with opened(path) as client:
        await _fill(client, 1_001)
        lines = await exported(client, on_progress=told.append)
        listed = [record.id for record in await everything(client, ADA)]
    pages = [page for page in map(json.loads, lines) if "page" in page]
    assert [(page["page"], page["records"]) for page in pages] == [(1, 500), (2, 500), (3, 1)]
    assert [progress.done for progress in told] == [500, 1_000, 1_001]
    assert [one["record"]["id"] for one in records_of(lines)] == listed


async def test_whose_and_what(path: Path | None) -> None:
    """All the scope contains and nothing else; less with a namespace or a filter."""
    async with opened(path) as client:
        for scope, text in [(ADA, "one"), (BOT, "two"), (BOB, "three")]:
            await client.store(text, scope=scope, namespace=f"/{text}/", metadata={"t": text})
        gone = await client.store("four", scope=ADA, ttl=timedelta(seconds=1))
        client._clock.advance(timedelta(seconds=1))  # type: ignore[attr-defined]
        found: dict[str, Any] = {
            "all": await exported(client),
            "bot": await exported(client, replace(BOT, session=None)),
            "path": await exported(client, namespace="/one/"),
            "filter": await exported(client, filter=Filter.eq("t", "two")),
        }
    texts = {
        name: [one["record"]["text"] for one in records_of(lines)] for name, lines in found.items()
    }
    assert texts == {"all": ["one", "two"], "bot": ["two"], "path": ["one"], "filter": ["two"]}
    assert gone.id not in "".join(found["all"])
    assert json.loads(found["path"][0])["namespace"] == "/one/"
    assert json.loads(found["filter"][0])["filter"] == {"t": {"$eq": "two"}}


async def test_versions_are_told(path: Path | None) -> None:
    """What a record was, the newest first, without what never changes."""
    clock = FakeClock()
    async with opened(path, clock=clock) as client:
        record = await client.store("first", scope=BOT, tags=["a"])
        for text in ("second", "third"):
            clock.advance(timedelta(minutes=1))
            await client.update(record.id, scope=BOT, text=text)
        [told] = records_of(await exported(client))
    assert told["record"]["text"] == "third"
    assert [(v["version"], v["text"]) for v in told["versions"]] == [(2, "second"), (1, "first")]
    assert told["versions"][1]["tags"] == ["a"]
    assert not {"id", "agent", "session"} & told["versions"][0].keys()


async def test_vectors_are_told(path: Path | None) -> None:
    """Each part with its span and its numbers, windows too."""
    text = "She said that the train was late again. " * 40
    async with opened(path) as client:
        await client.store(text.strip(), scope=BOT)
        await client.store("short", scope=ADA)
        lines = await exported(client, vectors=True)
        [wanted, _] = await client._embeddings.document_parts([text.strip(), "short"])
    assert json.loads(lines[0])["vectors"] is True
    told = records_of(lines)
    parts = next(one["parts"] for one in told if one["record"]["text"] != "short")
    assert [(p["start"], p["end"]) for p in parts] == [(p.start, p.end) for p in wanted]
    assert len(parts) > 3
    for part, right in zip(parts, wanted, strict=True):
        vector = np.frombuffer(base64.b64decode(part["vector"]), "<f4")
        assert np.allclose(vector, right.vector, atol=1e-3)
    assert min(len(one["parts"]) for one in told) == 1


async def test_it_goes_on_where_it_was_cut(path: Path | None) -> None:
    """The rest of an export, asked for with a page's cursor, is the rest of the file."""
    async with opened(path) as client:
        await _fill(client, 1_200)
        whole = await exported(client)
        ends = [at for at, line in enumerate(whole) if line.startswith('{"page"')]
        assert len(ends) == 3
        for at in ends:
            rest = await exported(client, after=json.loads(whole[at])["after"])
            assert whole[: at + 1] + rest == whole
            assert len(rest) > (at != ends[-1])


async def test_cursors_belong_to_their_export(path: Path | None) -> None:
    """Edited, of somebody else, of another query or of a listing: refused."""
    async with opened(path) as client:
        await _fill(client, 501)
        await _fill(client, 501, BOB)
        lines = await exported(client)
        after: str = json.loads(next(line for line in lines if '{"page"' in line))["after"]
        listing = (await client.list(scope=ADA, limit=500)).cursor
        assert listing is not None
        wrong: list[tuple[Scope, dict[str, Any]]] = [
            (BOB, {"after": after}),
            (BOT, {"after": after}),
            (ADA, {"after": after, "vectors": True}),
            (ADA, {"after": after, "namespace": "/a/"}),
            (ADA, {"after": after, "filter": {"n": 1}}),
            (ADA, {"after": listing}),
            (ADA, {"after": after[:-1]}),
            (ADA, {"after": after.swapcase()}),
            (ADA, {"after": ""}),
            (ADA, {"after": 7}),
            (ADA, {"after": "A" * 10_000_000}),
        ]
        for scope, options in wrong:
            with pytest.raises(InvalidCursorError) as caught:
                await exported(client, scope, **options)
            assert caught.value.operation == "export"
        with pytest.raises(InvalidCursorError):
            await client.list(scope=ADA, cursor=after)


async def test_it_is_stable_while_others_write(path: Path | None) -> None:
    """What comes, goes and changes between two pages makes no other be missed or told twice."""
    async with opened(path) as client:
        await _fill(client, 1_300)
        before = [record.id for record in await everything(client, ADA)]
        told: list[str] = []
        export = client.export(scope=ADA)
        changed = 0
        async for line in export:
            told.append(line)
            if line.startswith('{"page"') and not changed:
                changed = 1
                await client.delete([*before[:100], *before[600:700]], scope=ADA)
                await client.update(before[200], scope=ADA, text="changed behind")
                await client.update(before[800], scope=ADA, text="changed ahead")
                await _fill(client, 50)
        after = [record.id for record in await everything(client, ADA)]
    ids = [one["record"]["id"] for one in records_of(told)]
    assert len(set(ids)) == len(ids)
    assert set(before) & set(after) <= set(ids) <= set(before) | set(after)
    assert set(ids).isdisjoint(before[600:700])
    assert "changed ahead" in "".join(told)


async def test_pages_end_before_they_are_too_large(
    path: Path | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Long records make short pages, so that neither side needs much memory; nothing is lost."""
    from memlane.portable import exporting  # noqa: PLC0415 - as the module, to patch it

    monkeypatch.setattr(exporting, "PAGE_BYTES", 20_000)
    async with opened(path) as client:
        await _fill(client, 300)
        await client.store_many(
            [NewMemory(content=f"{n} " + "x" * 9_000) for n in range(9)], scope=ADA
        )
        await client.store("y" * 30_000, scope=ADA)
        await _fill(client, 300)
        lines = await exported(client)
        listed = [record.id for record in await everything(client, ADA)]
        sizes: list[int] = []
        size = 0
        for line in lines:
            size += len(line)
            if line.startswith('{"page"'):
                sizes.append(size)
                size = 0
                rest = await exported(client, after=json.loads(line)["after"])
                told = [one["record"]["id"] for one in records_of(rest)]
                assert told == (listed[-len(told) :] if told else [])
                assert json.loads(rest[-1])["records"] == len(listed)
    assert [one["record"]["id"] for one in records_of(lines)] == listed
    assert max(sizes) < 31_500
    assert sum(size > 20_500 for size in sizes) == 1


async def test_a_line_may_be_as_long_as_the_longest_record() -> None:
    """What a reader must accept covers all that a writer may write."""
    text = "\x01" * 32_000
    clock = FakeClock()
    async with opened(clock=clock) as client:
        record = await client.store(text, scope=ADA)
        for n in range(100):
            await client.update(record.id, scope=ADA, text=f"{n}{text}")
        [line] = [line for line in await exported(client, vectors=True) if '{"record"' in line]
    assert 15_000_000 < len(line) < format_of.MAX_LINE_BYTES


class _Racing(InMemoryBackend):
    """Has a record changed between its listing and the reading of its versions."""

    race: Callable[[], Awaitable[object]] | None = None

    async def versions(self, record_id: str, *, reach: Reach) -> Sequence[MemoryRecord]:
        race, self.race = self.race, None
        if race is not None:
            await race()
        return await super().versions(record_id, reach=reach)


async def test_a_version_is_told_once() -> None:
    """What has just become a version of the record is told as the record, and not as both."""
    backend = _Racing()
    async with MemoryClient(
        backend=backend, embedder=HashingEmbedder(), clock=FakeClock(), owned=[backend]
    ) as client:
        record = await client.store("first", scope=ADA)
        await client.update(record.id, scope=ADA, text="second")
        backend.race = lambda: client.update(record.id, scope=ADA, text="third")
        [told] = records_of(await exported(client))
        assert (told["record"]["text"], told["record"]["version"]) == ("second", 2)
        assert [version["text"] for version in told["versions"]] == ["first"]
        [now] = records_of(await exported(client))
    assert [version["text"] for version in now["versions"]] == ["second", "first"]


class _Liar(InMemoryBackend):
    """Answers a listing with somebody else's records."""

    async def scan(self, **options: Any) -> ScanPage:
        reach = options["reach"]
        return await super().scan(**{**options, "reach": replace(reach, scope=BOB)})


async def test_what_is_not_asked_for_is_not_told() -> None:
    """A backend that answers with another's records is caught before a line is out."""
    backend = _Liar()
    async with MemoryClient(backend=backend, embedder=HashingEmbedder(), owned=[backend]) as client:
        await client.store("bob's", scope=BOB)
        with pytest.raises(IsolationError):
            await exported(client)
