"""That what is stored comes back, exactly, and that what is deleted does not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import fields, replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from memlane.errors import EmbeddingSpaceError, IsolationError
from memlane.protocols import EmbeddingSpace, VectorBackend
from memlane.scope import Reach, Scope
from memlane.testing._suite import BackendSuite
from memlane.testing.samples import (
    NOW,
    SCOPE,
    SPACE,
    directions,
    ids_of,
    indexed,
    make_record,
    put,
    query_for,
    read_all,
    unit,
    words,
)
from memlane.types import MemoryRecord

__all__ = ("RecordsSuite",)

HERE = Reach.point(SCOPE, now=NOW)
_PRECISION = 2e-3  # of a component of a vector of length one: float16 is precise enough

TEXTS = {
    "nul": "before\0after",
    "rtl": "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",
    "emoji": "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f3f4\U000e0067\U000e007f",
    "combining": "e\u0301 \u00e9 \ufb01 \u1e9e",
    "lines": " a\r\nb\u2028c\x85d\te ",
    "quotes": "'; DROP TABLE records; -- \"%_*?[]\\",
    "json": '{"text": null, "n": 1e999}',
    "long": "window seat, quiet car. " * 1_200,
    "astral": "\U00010348\uffff\ufdd0",
}

METADATA: dict[str, Mapping[str, object]] = {
    "flat": {"s": "x", "i": 1, "f": 0.1, "t": True, "z": 0, "minus": -7},
    "kinds": {"one": 1, "one_f": 1.0, "true": True, "zero": 0, "zero_f": 0.0, "false": False},
    "nested": {"a": {"b": [1, {"c": [None, "\0", {}]}]}, "deep": [[[[]]]]},
    "empty": {"none": None, "list": [], "dict": {}, "text": ""},
    "large": {"exact": 2**53, "float": 1.7976931348623157e308, "tiny": 5e-324},
    "keys": {"a.b": 2, "~": 3, "\u05e9": 5, "content": 6, "tags": [7], "user_id": "eve", "v": 8},
    "lists": {"s": ["b", "a", "b"], "n": [3, 1.5], "t": [True, False]},
}

IDS = (
    "a", "A", "a ", "a/b", "a%2Fb", "a#w1", "%", "_", "'", '"', "\\", "caf\u00e9", "cafe\u0301",
    "\U0001f9e0", "0", "00", "null", "x" * 256,
)  # fmt: skip


def exact(record: MemoryRecord) -> dict[str, object]:
    """Return a record's fields in a form that tells 1 from True and 1.0."""
    found = {each.name: getattr(record, each.name) for each in fields(record)}
    found["metadata"] = json.dumps(record.metadata, default=dict, sort_keys=True)
    return found


def past(record: MemoryRecord) -> dict[str, object]:
    """Return the fields of what a record was; the space its vector was of says nothing any more."""
    return exact(record) | {"space": ""}


class RecordsSuite(BackendSuite):
    """Round trips of records."""

    async def test_empty_means_empty(self, backend: VectorBackend) -> None:
        """Nothing was stored: every read is empty, every delete is 0, and none is an error."""
        await backend.ensure_index(scope=SCOPE, space=SPACE)
        assert list(await backend.fetch(["a"], reach=HERE)) == []
        assert list(await backend.fetch([], reach=HERE)) == []
        assert await read_all(backend, HERE) == []
        assert len(await backend.query(query_for(unit(0)), reach=HERE)) == 0
        assert len(await backend.query(query_for(None, terms=words(1)), reach=HERE)) == 0
        assert await backend.delete(["a"], reach=HERE) == 0
        await self.check_raw(backend, [])

    async def test_empty_before_an_index_exists(self, backend: VectorBackend) -> None:
        """Reading a tenant nobody has stored anything for is empty too."""
        reach = Reach.whole(Scope("nobody", tenant="unheard-of"), now=NOW)
        assert await read_all(backend, reach) == []
        assert list(await backend.fetch(["a"], reach=reach)) == []
        assert await backend.delete(["a"], reach=reach) == 0

    async def test_capabilities_are_told(self, backend: VectorBackend) -> None:
        """A backend has a name and takes at least one record per call."""
        assert backend.capabilities.name.strip()
        assert backend.capabilities.max_batch >= 1

    @pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
    async def test_text_comes_back_exactly(self, backend: VectorBackend, text: str) -> None:
        """Text is returned as it was given, character by character."""
        record = make_record("a", text)
        await put(backend, indexed(record))
        assert [item.record.text for item in await backend.fetch(["a"], reach=HERE)] == [text]
        assert [found.text for found in await read_all(backend, HERE)] == [text]

    @pytest.mark.parametrize("metadata", METADATA.values(), ids=METADATA)
    async def test_metadata_comes_back_exactly(
        self, backend: VectorBackend, metadata: Mapping[str, object]
    ) -> None:
        """Nested values, None, empty lists and the difference of 1, 1.0 and True survive."""
        record = replace(make_record("a"), metadata=metadata)  # type: ignore[arg-type] # JSON, as object
        await put(backend, indexed(record))
        (found,) = await backend.fetch(["a"], reach=HERE)
        assert exact(found.record) == exact(record)
        (found_by_scan,) = await read_all(backend, HERE)
        assert exact(found_by_scan) == exact(record)

    async def test_every_field_comes_back(self, backend: VectorBackend) -> None:
        """No field is dropped, defaulted or rounded; times keep their microseconds."""
        record = MemoryRecord(
            id="every",
            text="t",
            scope=Scope("\u00fc", tenant="Acme/Co", agent="#%", session="s s"),
            namespace="/a/b%20c/",
            kind="summary",
            metadata={"k": ["v"]},
            tags=("a", "b c", "\u00e9"),
            actor="Zo\u00eb O'Neil",
            source="assistant",
            occurred_at=datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
            stored_at=datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=UTC),
            updated_at=datetime(2026, 1, 2, 3, 4, 5, 7, tzinfo=UTC),
            expires_at=datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
            version=41,
            space=SPACE.id,
        )
        await put(backend, indexed(record))
        reach = Reach.point(record.scope, now=NOW)
        (found,) = await backend.fetch(["every"], reach=reach)
        assert exact(found.record) == exact(record)
        assert exact((await read_all(backend, reach))[0]) == exact(record)
        for moment in (found.record.occurred_at, found.record.expires_at):
            assert moment is not None
            assert moment.utcoffset() == timedelta(0)

    @pytest.mark.parametrize(
        "scope",
        [Scope("u"), Scope("u", tenant="t"), Scope("u", agent="a"), Scope("u", session="s")],
        ids=["user", "tenant", "agent", "session"],
    )
    async def test_absent_parts_of_a_scope_stay_none(
        self, backend: VectorBackend, scope: Scope
    ) -> None:
        """None comes back as None, never as "" or a word for it."""
        await put(backend, indexed(make_record("a", scope=scope)))
        (found,) = await backend.fetch(["a"], reach=Reach.point(scope, now=NOW))
        assert found.record.scope == scope
        assert (found.record.actor, found.record.expires_at) == (None, None)

    async def test_ids_are_taken_literally(self, backend: VectorBackend) -> None:
        """Ids that differ in case, space, escaping or normal form are different records."""
        await put(backend, *(indexed(make_record(each, text=f"of {each}")) for each in IDS))
        assert ids_of(await read_all(backend, HERE)) == sorted(IDS)
        for each in IDS:
            found = await backend.fetch([each], reach=HERE)
            assert [(item.record.id, item.record.text) for item in found] == [(each, f"of {each}")]
        await self.check_raw(backend, IDS)

    async def test_fetch_returns_those_that_exist(self, backend: VectorBackend) -> None:
        """Ids nobody has are left out; the order is the backend's own."""
        await put(backend, *(indexed(make_record(each)) for each in "abc"))
        found = await backend.fetch(["c", "nobody", "a"], reach=HERE)
        assert ids_of(found) == ["a", "c"]

    async def test_vectors_come_when_asked_for(self, backend: VectorBackend) -> None:
        """With `vectors` each part has span, vector and terms; otherwise there are no parts."""
        vectors = directions(3)
        terms = [words(1, 5, 5, 2**32 - 1), words(), words(0)]
        await put(backend, indexed(make_record("a", "one two"), *vectors, terms=terms))
        (bare,) = await backend.fetch(["a"], reach=HERE)
        assert bare.parts == ()
        (full,) = await backend.fetch(["a"], reach=HERE, vectors=True)
        assert [(part.start, part.end) for part in full.parts] == [(0, 7), (0, 1), (1, 2)]
        for part, vector, own in zip(full.parts, vectors, terms, strict=True):
            np.testing.assert_allclose(part.vector, vector, atol=_PRECISION)
            assert sorted(part.terms.tolist()) == sorted(own.tolist())

    async def test_upsert_replaces_completely(self, backend: VectorBackend) -> None:
        """Nothing of the earlier version is left: no field, no window, no second record."""
        old = make_record(
            "a", "old", namespace="/old/", kind="old", metadata={"old": 1}, tags=("old",),
            actor="old", expires_at=NOW + timedelta(days=1),
        )  # fmt: skip
        new = make_record("a", "new", scope=replace(SCOPE, session=None), version=2)
        await put(backend, indexed(old, *directions(3)))
        await put(backend, indexed(new, unit(5)))
        (found,) = await backend.fetch(["a"], reach=HERE, vectors=True)
        assert exact(found.record) == exact(new)
        assert len(found.parts) == 1
        assert [exact(each) for each in await read_all(backend, HERE)] == [exact(new)]
        candidates = await backend.query(query_for(unit(5)), reach=HERE)
        assert list(candidates.parts) == [0]
        await self.check_raw(backend, ["a"])

    async def test_one_call_stores_many(self, backend: VectorBackend) -> None:
        """A full batch of one owner, of several sessions, is stored as a whole."""
        count = min(backend.capabilities.max_batch, 300)
        items = [
            indexed(make_record(f"r{n}", scope=replace(SCOPE, session=f"s{n % 3}")))
            for n in range(count)
        ]
        await put(backend, *items)
        found = await read_all(backend, HERE)
        assert ids_of(found) == sorted(f"r{n}" for n in range(count))
        assert {each.scope.session for each in found} == {f"s{n % 3}" for n in range(count)}

    async def test_storing_nothing_is_no_error(self, backend: VectorBackend) -> None:
        """An empty list is stored, which changes nothing."""
        await backend.ensure_index(scope=SCOPE, space=SPACE)
        await backend.upsert([], scope=SCOPE)
        assert await read_all(backend, HERE) == []

    @pytest.mark.parametrize(
        "theirs",
        [
            replace(SCOPE, tenant="other"),
            replace(SCOPE, tenant=None),
            replace(SCOPE, user="ada2"),
            replace(SCOPE, agent="other"),
            replace(SCOPE, agent=None),
        ],
        ids=["tenant", "no-tenant", "user", "agent", "no-agent"],
    )
    async def test_records_of_others_are_refused(
        self, backend: VectorBackend, theirs: Scope
    ) -> None:
        """A record of another tenant, user or agent than the call's is an error; none is stored."""
        mine, foreign = make_record("mine"), make_record("foreign", scope=theirs)
        await backend.ensure_index(scope=SCOPE, space=SPACE)
        with pytest.raises(IsolationError):
            await backend.upsert([indexed(mine), indexed(foreign)], scope=SCOPE)
        for scope in (SCOPE, theirs):
            assert await read_all(backend, Reach.whole(scope, now=None)) == []
        await self.check_raw(backend, [])

    async def test_delete_counts_what_existed(self, backend: VectorBackend) -> None:
        """Ids nobody has, ids named twice and ids deleted before do not count."""
        await put(backend, *(indexed(make_record(each), *directions(2)) for each in "abc"))
        assert await backend.delete(["a", "nobody", "a", "b"], reach=HERE) == 2
        assert await backend.delete(["a"], reach=HERE) == 0
        assert await backend.delete([], reach=HERE) == 0
        assert ids_of(await read_all(backend, HERE)) == ["c"]
        assert list(await backend.fetch(["a", "b"], reach=HERE)) == []
        assert set((await backend.query(query_for(unit(0)), reach=HERE)).record_ids) == {"c"}
        await self.check_raw(backend, ["c"])

    async def test_what_was_deleted_can_be_stored_again(self, backend: VectorBackend) -> None:
        """A deleted id is free."""
        await put(backend, indexed(make_record("a", "first")))
        await backend.delete(["a"], reach=HERE)
        await put(backend, indexed(make_record("a", "second")), expected_version=0)
        assert [found.text for found in await read_all(backend, HERE)] == ["second"]

    async def test_spaces_of_one_tenant_do_not_mix(self, backend: VectorBackend) -> None:
        """Once a tenant has records, an index for another space is refused; its own is not."""
        other = EmbeddingSpace(model="another", dimensions=SPACE.dimensions)
        await put(backend, indexed(make_record("a")))
        with pytest.raises(EmbeddingSpaceError):
            await backend.ensure_index(scope=SCOPE, space=other)
        with pytest.raises(EmbeddingSpaceError):
            await backend.ensure_index(scope=Scope("another user", tenant="acme"), space=other)
        await backend.ensure_index(scope=SCOPE, space=SPACE)
        await backend.ensure_index(scope=Scope("ada", tenant="another"), space=other)
        assert ids_of(await read_all(backend, HERE)) == ["a"]
