"""The backend on a file does what the obviously right one in memory does, in any order of calls."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.local.twin_calls import Backend, Call, calls
from memlane.errors import EmbeddingSpaceError, IsolationError, MemlaneError, ValidationError
from memlane.local import InMemoryBackend, SqliteBackend
from memlane.protocols import Candidates, EmbeddingSpace, IndexedRecord
from memlane.scope import Reach, Scope
from memlane.testing.samples import (
    NOW,
    SCOPE,
    SPACE,
    indexed,
    make_record,
    put,
    query_for,
    read_all,
    unit,
)
from memlane.types import MemoryRecord, MetadataValue

_POINT = Reach.point(SCOPE, now=NOW)
_WHOLE = Reach.whole(SCOPE, now=None)


def _numbered(column: Iterator[object]) -> list[int]:
    """Return which values are equal, whatever they are."""
    seen: dict[object, int] = {}
    return [seen.setdefault(each, len(seen)) for each in column]


def _comparable(answer: object) -> Any:
    """Return an answer as plain values; what float16 rounds is compared apart."""
    if isinstance(answer, Candidates):
        rows = range(len(answer))
        return {
            "ids": list(answer.record_ids),
            "agents": list(answer.agents),
            "parts": answer.parts.tolist(),
            "spans": answer.spans.tolist(),
            "terms": [
                answer.terms[answer.offsets[row] : answer.offsets[row + 1]].tolist() for row in rows
            ],
            "actors": [answer.actor_names[code] if code >= 0 else None for code in answer.actors],
            "actor names": sorted(answer.actor_names),
            "no session": (answer.sessions < 0).tolist(),
            "sessions": _numbered(iter(answer.sessions.tolist())),
            "order": _numbered(iter(answer.order.tolist())),
            "sorted": bool((np.diff(answer.order) >= 0).all()),
            "occurred": answer.occurred.tolist(),
            "complete": answer.complete,
            "types": [
                column.dtype.str
                for column in (answer.parts, answer.spans, answer.distances, answer.terms)
            ],
        }
    if isinstance(answer, list) and answer and isinstance(answer[0], IndexedRecord):
        return sorted(
            (_plain(item.record), [(p.start, p.end, p.terms.tolist()) for p in item.parts])
            for item in answer
        )
    if isinstance(answer, list) and answer and isinstance(answer[0], MemoryRecord):
        return [_plain(record) for record in answer]
    return answer


def _plain(record: MemoryRecord) -> str:
    return repr(replace(record, metadata=dict(record.metadata)))


def _floats(answer: object) -> np.ndarray[Any, Any]:
    if isinstance(answer, Candidates):
        assert answer.directions is not None
        told = answer.directions(range(len(answer)))
        return np.concatenate([answer.distances, (told @ told.T).ravel()])
    if isinstance(answer, list) and answer and isinstance(answer[0], IndexedRecord):
        items = sorted(answer, key=lambda item: _plain(item.record))
        vectors = [part.vector for item in items for part in item.parts]
        return np.concatenate([np.zeros(0), *vectors])
    return np.zeros(0)


async def _outcome(backend: Backend, call: Call) -> object:
    try:
        return await call(backend)
    except MemlaneError as error:
        return type(error).__name__, error.reason


async def _compare(calls: list[tuple[str, Call]], store: SqliteBackend) -> None:
    right = InMemoryBackend()
    try:
        for verb, call in calls:
            expected, got = await _outcome(right, call), await _outcome(store, call)
            assert _comparable(got) == _comparable(expected), verb
            np.testing.assert_allclose(_floats(got), _floats(expected), atol=3e-3)
    finally:
        await store.aclose()


@settings(max_examples=120, deadline=None)
@given(
    drawn=st.lists(calls(), min_size=5, max_size=40), cache_bytes=st.sampled_from([0, 4000, 2**26])
)
def test_same_answers(drawn: list[tuple[str, Call]], cache_bytes: int) -> None:
    """Whatever is stored, deleted and asked, both backends answer, or refuse, alike."""
    with tempfile.TemporaryDirectory() as folder:
        store = SqliteBackend(Path(folder) / "memory.db", cache_bytes=cache_bytes)
        anyio.run(_compare, drawn, store)


async def test_records_come_back_exactly(backend: Backend) -> None:
    """Every field survives, down to the microsecond, the emoji and the nested number."""
    metadata: dict[str, MetadataValue] = {
        "n": 2**53 + 1,
        "f": 0.1,
        "none": None,
        "deep": {"list": [1, "a", {"b": True}]},
    }
    record = replace(
        make_record(
            "\u540d\u524d/#w1%",
            "line\r\n\ttab \x00 \U0001f600 " + "x" * 20_000,
            metadata=metadata,
            tags=("a", "b,c", '"'),
            actor="Ada \u0141",
            namespace="/a/%2F/",
            expires_at=datetime.fromisoformat("2099-12-31T23:59:59.999999+00:00"),
            version=41,
        ),
        source="import",
        stored_at=datetime.fromisoformat("1969-07-20T20:17:40.000001+00:00"),
    )
    await put(backend, indexed(record))
    (found,) = await backend.fetch([record.id], reach=_POINT)
    assert replace(found.record, metadata=metadata) == record
    assert dict(found.record.metadata) == metadata
    assert found.parts == ()


async def test_vectors_keep_their_length(backend: Backend) -> None:
    """Raw vectors of any length, and none, come back within half precision of their direction."""
    rows = [unit(1) * np.float32(scale) for scale in (1e-12, 1.0, 3e30)] + [unit(1) * 0]
    await put(backend, *[indexed(make_record(f"r{n}"), row) for n, row in enumerate(rows)])
    found = await backend.fetch(["r0", "r1", "r2", "r3"], reach=_POINT, vectors=True)
    by_id = {item.record.id: item.parts[0].vector for item in found}
    for number, row in enumerate(rows):
        np.testing.assert_allclose(by_id[f"r{number}"], row, rtol=1e-3)
    answer = await backend.query(query_for(unit(1)), reach=_POINT)
    np.testing.assert_allclose(answer.distances, [0, 0, 0, 1], atol=1e-3)


async def test_what_is_handed_out_cannot_change_the_store(backend: Backend) -> None:
    """A caller may do what it likes with what it gave and what it got."""
    vector = unit(1)
    metadata = {"k": [1]}
    await put(backend, indexed(make_record("r", metadata=metadata), vector))
    vector[:] = 7
    metadata["k"].append(2)
    for _ in range(2):
        answer = await backend.query(query_for(unit(1)), reach=_POINT)
        assert answer.distances[0] < 1e-3
        answer.distances[:] = 5
        for column in (answer.order, answer.terms, answer.parts, answer.spans):
            if column.flags.writeable:
                column[:] = 0
    (found,) = await backend.fetch(["r"], reach=_POINT, vectors=True)
    assert found.record.metadata["k"] == [1]
    assert found.parts[0].terms.tolist() == [1, 2, 2]


async def test_names_outside_of_the_reach_are_not_told(backend: Backend) -> None:
    """A query within one session names no actor of another."""
    for session, actor in (("monday", "ada"), ("tuesday", "eve")):
        scope = replace(SCOPE, session=session)
        await put(backend, indexed(make_record(session, scope=scope, actor=actor)))
    monday = Reach.point(SCOPE, now=NOW, only_session=True)
    answer = await backend.query(query_for(unit(0)), reach=monday)
    assert list(answer.actor_names) == ["ada"]
    assert await backend.actors(reach=monday) == ["ada"]
    assert await backend.actors(reach=_POINT) == ["ada", "eve"]


async def test_vectors_of_another_shape_are_refused(backend: Backend) -> None:
    """A space has one number of dimensions, stored or asked; a refused batch stores nothing."""
    await put(backend, indexed(make_record("r")))
    for wrong in (unit(0, dimensions=15), np.full(16, np.nan, dtype=np.float32), np.zeros((2, 8))):
        vector = wrong.astype(np.float32)
        with pytest.raises(EmbeddingSpaceError):
            await backend.query(query_for(vector), reach=_POINT)
        with pytest.raises(EmbeddingSpaceError):
            await put(backend, indexed(make_record("new")), indexed(make_record("bad"), vector))
    assert [each.id for each in await read_all(backend, _WHOLE)] == ["r"]


async def test_a_tenant_without_records_may_change_its_space(backend: Backend) -> None:
    """The space is that of the records: when the last is gone, another embedder may begin."""
    other = EmbeddingSpace(model="other", dimensions=8)
    await put(backend, indexed(make_record("r")))
    with pytest.raises(EmbeddingSpaceError, match="reembed"):
        await backend.ensure_index(scope=SCOPE, space=other)
    await backend.delete(["r"], reach=_WHOLE)
    await backend.ensure_index(scope=SCOPE, space=other)
    await backend.ensure_index(scope=Scope("ada", tenant="another"), space=SPACE)


async def test_refusals(backend: Backend) -> None:
    """What makes no sense is refused before anything is stored."""
    with pytest.raises(IsolationError):
        await backend.upsert([indexed(make_record("r", scope=Scope("eve")))], scope=SCOPE)
    with pytest.raises(ValidationError):
        await backend.upsert([indexed(make_record("r", metadata={"k": {1}}))], scope=SCOPE)  # type: ignore[dict-item]  # what no JSON can say
    with pytest.raises(ValidationError, match="limit"):
        await backend.scan(reach=_POINT, limit=0)
    assert await read_all(backend, _WHOLE) == []


async def test_loops_of_all_kinds_at_once(backend: Backend) -> None:
    """Two asyncio loops and a trio one, each on its thread, write and read the same backend."""
    together = threading.Barrier(3)

    async def use(name: str) -> None:
        await anyio.to_thread.run_sync(together.wait)
        for number in range(20):
            await put(backend, indexed(make_record(f"{name}-{number}")))
            answer = await backend.query(query_for(unit(0)), reach=_POINT)
            assert f"{name}-{number}" in answer.record_ids

    def on_own_loop(name: str, kind: str) -> None:
        anyio.run(use, name, backend=kind)

    async with anyio.create_task_group() as group:
        for name, kind in (("a", "asyncio"), ("b", "asyncio"), ("c", "trio")):
            group.start_soon(anyio.to_thread.run_sync, on_own_loop, name, kind)
    assert len(await read_all(backend, _WHOLE)) == 60
