"""Calls of every verb on a local backend, drawn so that they meet, and ask for trouble."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import TypeAlias

import numpy as np
from hypothesis import strategies as st

from memlane.filters import Filter
from memlane.local import InMemoryBackend, SqliteBackend
from memlane.protocols import EmbeddingSpace, IndexedRecord, RecordPart, VectorQuery
from memlane.scope import Reach, Scope
from memlane.testing.samples import NOW, SPACE, make_record, read_all, words
from memlane.types import ImageNote, MemoryRecord

Backend: TypeAlias = InMemoryBackend | SqliteBackend
Call: TypeAlias = Callable[[Backend], Awaitable[object]]

_MOMENTS = [NOW, NOW + timedelta(microseconds=1), NOW + timedelta(minutes=1)]

_spaces = st.sampled_from([SPACE.id, SPACE.id, SPACE.id, "other:16"])
_ids = st.sampled_from(["r0", "r1", "r2", "r3", "caf\u00e9 '\"%_"])
_MINE = Scope("u", tenant="t", agent="a", session="s")
_scopes = st.sampled_from(
    # Most calls meet in one lane, or nothing interesting would happen between them.
    [
        *[_MINE] * 6,
        replace(_MINE, session="s1"),
        replace(_MINE, session=None),
        replace(_MINE, agent="b"),
        replace(_MINE, agent="b"),
        replace(_MINE, agent=None),
        replace(_MINE, tenant=None),
        replace(_MINE, user="u1"),
    ]
)
_actors = st.sampled_from([None, "ada", "Ada", "bob"])
_namespaces = st.sampled_from(["/", "/", "/", "/a/", "/a/b/", "/ab/"])
_numbers = st.floats(-3, 3, width=32).filter(lambda each: each == 0 or abs(each) > 1e-3)
_vectors = st.lists(_numbers, min_size=16, max_size=16).map(
    lambda row: np.array(row, dtype=np.float32)
)
_parts = st.lists(st.tuples(_vectors, st.lists(st.integers(0, 2**32 - 1), max_size=3)), max_size=3)
_filters = st.sampled_from(
    [
        *[None] * 4,
        Filter.eq("k", 1),
        Filter.gt("k", 0) | Filter.eq("@kind", "message"),
        Filter.eq("@actor", "ada"),
        Filter.ne("@session", "s"),
        Filter.eq("@tags", "red"),
        Filter.gt("@valid_to", NOW),
    ]
)
_reaches = st.builds(
    lambda scope, now, agents, session, whole: (
        Reach.whole(scope, now=now)
        if whole or now is None
        else Reach.point(
            scope,
            now=now,
            include_agents=agents,
            only_session=session and scope.session is not None,
        )
    ),
    _scopes,
    st.sampled_from([None, *_MOMENTS]),
    st.booleans(),
    st.booleans(),
    st.booleans(),
)


@st.composite
def _records(draw: st.DrawFn, scope: Scope) -> IndexedRecord:
    record = make_record(
        draw(_ids),
        draw(st.text(st.characters(exclude_categories=["Cs"]), max_size=30)),
        scope=replace(scope, session=draw(st.sampled_from([None, "s", "s1"]))),
        namespace=draw(_namespaces),
        kind=draw(st.sampled_from(["fact", "message"])),
        metadata=draw(st.sampled_from([{}, {"k": 1}, {"k": 2.5, "deep": {"x": [None, "y"]}}])),
        tags=draw(st.sampled_from([(), ("red",), ("blue", "red")])),
        actor=draw(_actors),
        occurred_at=draw(st.sampled_from(_MOMENTS)),
        expires_at=draw(st.sampled_from([None, *_MOMENTS])),
        version=draw(st.integers(1, 3)),
        space=draw(_spaces),
    )
    record = replace(
        record,
        valid_from=draw(st.sampled_from([None, None, *_MOMENTS])),
        valid_to=draw(st.sampled_from([None, None, *_MOMENTS])),
        images=draw(st.sampled_from([(), (), (_IMAGE,), (_IMAGE, replace(_IMAGE, name=None))])),
    )
    parts = [
        RecordPart(start=n, end=n + 1, vector=vector, terms=words(*terms))
        for n, (vector, terms) in enumerate(draw(_parts))
    ]
    before = replace(record, text=draw(st.sampled_from(["old", "older"])), version=record.version)
    return IndexedRecord(
        record=record, parts=tuple(parts), replaces=draw(st.sampled_from([None, before]))
    )


_IMAGE = ImageNote(sha256="ab" * 32, media_type="image/png", size=1, name="é.png", embedded=False)
_NEW = EmbeddingSpace(model="new", dimensions=3)
_targets = st.sampled_from([_NEW, _NEW, _NEW, SPACE, EmbeddingSpace(model="other", dimensions=16)])


def _parts_of(record: MemoryRecord, space: EmbeddingSpace) -> tuple[RecordPart, ...]:
    seed = len(record.id) + len(record.text)
    rows = np.random.default_rng(seed).normal(size=(seed % 3, space.dimensions))
    return tuple(
        RecordPart(start=0, end=1, vector=row.astype(np.float32), terms=words(seed)) for row in rows
    )


def _shadow_some(scope: Scope, space: EmbeddingSpace, limit: int) -> Call:
    async def call(b: Backend) -> object:
        page = await b.pending(scope=scope, space=space, limit=limit)
        made = [IndexedRecord(record=each, parts=_parts_of(each, space)) for each in page.records]
        await b.shadow(made, scope=scope, space=space)
        return list(page.records)

    return call


def _all_pending(scope: Scope, space: EmbeddingSpace, limit: int) -> Call:
    async def call(b: Backend) -> object:
        found: list[MemoryRecord] = []
        cursor: str | None = None
        while True:
            page = await b.pending(scope=scope, space=space, cursor=cursor, limit=limit)
            found += page.records
            if (cursor := page.cursor) is None:
                return found

    return call


def _all_users(scope: Scope, limit: int) -> Call:
    async def call(b: Backend) -> object:
        found: list[str] = []
        cursor: str | None = None
        while True:
            page = await b.users(scope=scope, cursor=cursor, limit=limit)
            found += page.names
            if (cursor := page.cursor) is None:
                return found

    return call


@st.composite
def _tenant_calls(draw: st.DrawFn) -> tuple[str, Call]:
    scope, limit, now = draw(_scopes), draw(st.integers(1, 3)), draw(st.sampled_from(_MOMENTS))
    verb = draw(
        st.sampled_from(
            [
                *["onboard", "sweep", "sweep", "users", "stats", "forget_tenant", "begin", "begin"],
                *["pending", "shadow", "shadow", "stale", "cut_over", "cut_over", "abandon"],
            ]
        )
    )
    space = draw(_targets)
    if verb == "stale":
        items = [replace(each, replaces=None) for each in draw(st.lists(_records(scope)))]
        return verb, lambda b: b.shadow(items, scope=scope, space=space)
    calls: dict[str, Call] = {
        "onboard": lambda b: b.onboard(scope=scope, space=space),
        "sweep": lambda b: b.sweep(scope=scope, now=now),
        "users": _all_users(scope, limit),
        "stats": lambda b: b.stats(scope=scope, now=now),
        "forget_tenant": lambda b: b.forget_tenant(scope=scope),
        "begin": lambda b: b.begin_reembed(scope=scope, space=space),
        "pending": _all_pending(scope, space, limit),
        "shadow": _shadow_some(scope, space, 5 * limit),
        "cut_over": lambda b: b.cut_over(scope=scope, space=space),
        "abandon": lambda b: b.abandon_reembed(scope=scope),
    }
    return verb, calls[verb]


async def _erase(b: Backend, reach: Reach) -> int:
    """Erase what is in reach; in memory one by one, which is what erasing comes to."""
    if isinstance(b, SqliteBackend):
        return await b.erase(reach=reach)
    return await b.delete([record.id for record in await read_all(b, reach)], reach=reach)


async def _sorted(found: Awaitable[Sequence[str]]) -> list[str]:
    return sorted(await found)


@st.composite
def calls(draw: st.DrawFn) -> tuple[str, Call]:
    verb = draw(
        st.sampled_from(
            ["upsert"] * 5
            + ["query"] * 3
            + [
                "delete",
                "fetch",
                "scan",
                "actors",
                "versions",
                "versions",
                "count",
                "remains",
                "erase",
            ]
            + ["tenant"] * 4
        )
    )
    if verb == "tenant":
        return draw(_tenant_calls())
    if verb == "upsert":
        scope = draw(_scopes)
        items = draw(st.lists(_records(scope), max_size=6))
        expected = draw(st.sampled_from([None, None, None, 0, 1, 2]))
        return verb, lambda b: b.upsert(items, scope=scope, expected_version=expected)
    reach = draw(_reaches)
    ids = draw(st.lists(_ids, max_size=4))
    namespace, condition = draw(_namespaces), draw(_filters)
    if verb == "query":
        query = VectorQuery(
            vector=draw(st.none() | _vectors),
            terms=words(),
            space=draw(_spaces),
            limit=3,
            actor=draw(st.none() | _actors),
            namespace=namespace,
            filter=condition,
        )
        return verb, lambda b: b.query(query, reach=reach)
    if verb == "delete":
        return verb, lambda b: b.delete(ids, reach=reach)
    if verb == "fetch":
        return verb, lambda b: b.fetch(ids, reach=reach, vectors=True)
    if verb == "versions":
        record_id = draw(_ids)
        return verb, lambda b: b.versions(record_id, reach=reach)
    if verb == "erase":
        return verb, lambda b: _erase(b, reach)
    if verb == "count":
        return verb, lambda b: b.count(reach=reach, namespace=namespace, filter=condition)
    if verb == "remains":
        return verb, lambda b: _sorted(b.remains(reach=reach))
    if verb == "actors":
        return verb, lambda b: b.actors(reach=reach)
    limit = draw(st.integers(1, 3))
    return verb, lambda b: read_all(b, reach, namespace=namespace, condition=condition, limit=limit)
