"""A record as vectors: within every limit of the service, cut by count and bytes, and back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane.aws.s3vectors.description import Description
from memlane.aws.s3vectors.records import (
    MAX_BYTES,
    MAX_VECTORS,
    batches,
    decoded,
    encoded,
    first_of,
    is_oversized,
    micros,
    part_of,
    parts_of,
)
from memlane.aws.s3vectors.rows import HEAD_CHARS, pack, packed_chars, unpack
from memlane.errors import BackendError, EmbeddingSpaceError, ValidationError
from memlane.layout import EPOCH
from memlane.marks import marked_terms
from memlane.metadata import NON_FILTERABLE
from memlane.protocols import IndexedRecord, RecordPart
from memlane.scope import Scope
from memlane.testing.emulator.s3vectors.records import checked
from memlane.testing.samples import NOW, SCOPE, directions, indexed, make_record, unit, words
from memlane.types import NewMemory
from memlane.windows import windows
from memlane.writing import RecordIds, new_record

OURS = Description(
    dimension=16, metric="cosine", unfilterable=frozenset(NON_FILTERABLE), is_enhanced=True
)
OLDER = replace(OURS, unfilterable=frozenset({"content", "stored_at", "conversation_id", "type"}))
KEY = "a" * 20 + "/" + "b" * 16 + "/r1"

terms = st.lists(st.integers(0, 2**32 - 1), max_size=40).map(lambda some: words(*some))


def _vectors(
    item: IndexedRecord, description: Description = OURS, *, shared: bool = False
) -> list[dict[str, Any]]:
    """Return a record's vectors as the service reads them, after it has taken them."""
    raw = encoded(item, key=KEY, first=7, description=description, shared=shared)
    found: list[dict[str, Any]] = [json.loads(each) for each in raw]
    checked(found, dimension=16, cosine=True, zeros=False, hidden=description.unfilterable)
    return found


@given(st.integers(0, 2**63), st.integers(0, 2**32 - 1), st.integers(0, 2**16 - 1), terms)
def test_a_row_comes_back(first: int, span: int, parts: int, given_terms: Any) -> None:
    """Every number and every term, in order; and without terms it says so."""
    text = pack(first, span // 2, span, parts, given_terms)
    assert len(text) == packed_chars(len(given_terms))
    row = unpack(text)
    assert (row.first, row.start, row.end, row.parts) == (first, span // 2, span, parts)
    assert np.frombuffer(row.terms or b"", dtype="<u4").tolist() == given_terms.tolist()
    short = pack(first, 0, span, parts, None)
    assert len(short) == HEAD_CHARS
    assert unpack(short).terms is None


@pytest.mark.parametrize(
    "text", ["", "AAAA", "?", "A" * 30, "\u00e9" * 28, None, 7, "A" * 29 + "="]
)
def test_a_damaged_row_is_one_error(text: object) -> None:
    """Whatever is there instead of a row, the error is ours."""
    with pytest.raises(BackendError, match="damaged"):
        unpack(text)


def test_rows_are_pinned() -> None:
    """These bytes are part of the format: stores written today are read by every later version."""
    assert pack(1, 2, 3, 4, words(5, 2**32 - 1)) == "AQAAAAAAAAACAAAAAwAAAAQAAAAFAAAA/////w=="
    assert pack(1, 2, 3, 4, None) == "AQAAAAAAAAACAAAAAwAAAAQAAQA="


def test_a_record_and_its_windows_come_back() -> None:
    """Each part with span, terms and vector; when it was first stored; how many there are."""
    item = indexed(make_record("r1", "one two"), *directions(3), terms=[words(3, 1, 3), words()])
    found = _vectors(item)
    assert [one["key"] for one in found] == [KEY, f"{KEY}#w1", f"{KEY}#w2"]
    for number, (one, part) in enumerate(zip(found, item.parts, strict=True)):
        flat = one["metadata"]
        assert (parts_of(flat), first_of(flat), flat["part"]) == (3, 7, number)
        again = part_of(flat, np.array(one["data"]["float32"], dtype=np.float32))
        assert (again.start, again.end) == (part.start, part.end)
        assert again.terms.tolist() == part.terms.tolist()
        assert np.array_equal(again.vector, part.vector)
        assert decoded(one["key"], flat, tenant="acme") == item.record


def test_vectors_keep_every_bit() -> None:
    """The shortest decimal of a float32 is that float32 again."""
    vector = np.random.default_rng(5).normal(size=16).astype(np.float32)
    vector[:3] = [1e-38, -3.4e38, 1 / 3]
    (one,) = encoded(
        indexed(make_record("r1"), vector), key=KEY, first=1, description=OURS, shared=False
    )
    again = np.array(json.loads(one)["data"]["float32"], dtype=np.float32)
    assert again.tobytes() == vector.tobytes()


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("letter", ["x", "\u00e9", "\u3042", '"', "\x01"])
def test_the_longest_texts_fit(letter: str, shared: bool) -> None:
    """What a client takes the index takes: terms that would weigh too much are made again."""
    text = " ".join(f"w{letter}{n:04}" for n in range(6_000))
    text = text.encode()[: 32 * 1024 - 400].decode(errors="ignore")
    record = new_record(
        NewMemory(content=text, actor="Ada"), scope=SCOPE, now=NOW, ids=RecordIds(), space="m:16"
    )
    spans = [(0, len(text)), *windows(text, max_chars=1_000)]
    item = IndexedRecord(
        record=record,
        parts=tuple(
            RecordPart(start=a, end=b, vector=unit(1), terms=marked_terms(text[a:b]))
            for a, b in spans
        ),
    )
    found = _vectors(item, shared=shared)
    assert unpack(found[0]["metadata"]["row"]).terms is None
    assert unpack(found[1]["metadata"]["row"]).terms is not None
    for one, part in zip(found, item.parts, strict=True):
        assert part_of(one["metadata"], unit(1)).terms.tolist() == part.terms.tolist()


def test_the_heaviest_metadata_fits_in_a_shared_index() -> None:
    """32 keys, every field at its bound, and whose it is."""
    name = "x" * 64
    scope = Scope(name, tenant=name, agent=name, session=name)
    new = NewMemory(
        content="x",
        namespace="/" + "n" * 198 + "/",
        kind="k" * 32,
        metadata={f"~{n:02}": "x" * 24 for n in range(32)},
        actor=name,
        ttl=timedelta(days=1),
        source="assistant",
    )
    record = new_record(new, scope=scope, now=NOW, ids=RecordIds(), space="s" * 40)
    (one,) = _vectors(indexed(record), shared=True)
    assert len(one["metadata"]) == 49


@pytest.mark.parametrize(
    ("vector", "told"),
    [
        (np.zeros(16, np.float32), "direction"),
        (np.full(16, 1e-60), "direction"),
        (np.full(16, 1e60), "float32"),
        (np.ones(15, np.float32), "15 dimensions"),
    ],
)
def test_vectors_that_would_be_refused_are_refused_before(vector: Any, told: str) -> None:
    """With what is wrong with them."""
    with pytest.raises(EmbeddingSpaceError, match=told) as caught:
        _vectors(indexed(make_record("r1"), vector))
    assert caught.value.remedy


def test_too_heavy_a_record_is_refused_before_the_wire() -> None:
    """A backend may be given what no client would; the error says how heavy it is."""
    for record, told in (
        (make_record("r1", "x" * 41_000), "its metadata has"),
        (make_record("r1", metadata={"k": "x" * 2_000}), "its filterable metadata has"),
        # In bytes, whatever they are called by and whatever they say.
        (make_record("r1", "\u3042" * 14_000), "its metadata has"),
        (make_record("r1", metadata={"k": "\u3042" * 700}), "its filterable metadata has"),
        (make_record("r1", metadata={"\u3042" * 700: "k"}), "its filterable metadata has"),
    ):
        with pytest.raises(ValidationError, match=told) as caught:
            _vectors(indexed(record))
        assert "xxx" not in str(caught.value)


def test_nested_metadata_may_be_any_mapping() -> None:
    """And comes back as what it says; what JSON cannot say is refused."""
    nested = make_record("r1", metadata={"deep": {"k": MappingProxyType({"n": 1})}})
    (found,) = _vectors(indexed(nested))
    again = decoded(KEY, found["metadata"], tenant="acme")
    assert again.metadata == {"deep": {"k": {"n": 1}}}
    unsayable: Any = object()
    with pytest.raises(ValidationError, match="JSON"):
        _vectors(indexed(make_record("r1", metadata={"deep": {"k": unsayable}})))


def test_a_lone_surrogate_is_refused_before_the_wire() -> None:
    """It would fail the whole request, and all that share it."""
    with pytest.raises(ValidationError, match="JSON"):
        _vectors(indexed(make_record("r1", "a\ud800b")))


def test_an_older_index_takes_short_records_only() -> None:
    """There exact forms and rows are filterable too, and must fit 2,048 bytes."""
    (short,) = _vectors(indexed(make_record("r1", "hi"), terms=[words(1)]), OLDER)
    assert unpack(short["metadata"]["row"]).terms is not None
    long = make_record("r1", "word " * 200)
    item = indexed(long, terms=[marked_terms(long.text)])
    many = replace(item, parts=(replace(item.parts[0], terms=words(*range(600))),))
    (found,) = _vectors(many, OLDER)
    assert unpack(found["metadata"]["row"]).terms is None
    assert part_of(found["metadata"], unit(0)).terms.tolist() == marked_terms(long.text).tolist()
    with pytest.raises(ValidationError, match="too much") as caught:
        _vectors(indexed(make_record("r1", metadata={"deep": {"k": "x" * 1_900}})), OLDER)
    assert "memlane made" in (caught.value.remedy or "")


def _filled() -> list[IndexedRecord]:
    sizes = range(1_300, 1_700)
    return [indexed(make_record("r1", metadata={"deep": ["x" * n, None]})) for n in sizes]


def test_the_edge_of_an_older_index_is_exact() -> None:
    """Up to the last byte a record is taken, first without its terms, then without its row."""
    taken = refused = bare = 0
    for item in _filled():
        try:
            (found,) = _vectors(item, OLDER)
        except ValidationError:
            refused += 1
            continue
        assert not refused, "a heavier record was taken than one that was refused"
        taken += 1
        bare += "row" not in found["metadata"]
        assert decoded(KEY, found["metadata"], tenant="acme") == item.record
        assert parts_of(found["metadata"]) == 1
    assert min(taken, refused, bare) > 20
    windowed = [indexed(one.record, unit(0), unit(1)) for one in _filled()]
    for item in windowed:
        try:
            found_parts = _vectors(item, OLDER)
        except ValidationError:
            continue
        assert parts_of(found_parts[0]["metadata"]) == 2, "nobody would find its windows"


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(st.integers(1, 9_000_000), min_size=1, max_size=3), max_size=12))
def test_batches_keep_records_whole(sizes: list[list[int]]) -> None:
    """In order, within count and bytes, and a record's vectors in one request if they fit one."""
    shared = b"x" * 9_000_000
    records = [[memoryview(shared)[:size] for size in several] for several in sizes]
    found = list(batches(records))  # type: ignore[arg-type] # as bytes, without the copies
    flat = [id(one) for batch in found for one in batch]
    fitting = [one for one in records if not is_oversized(one)]  # type: ignore[arg-type] # the same
    for batch in found:
        assert batch
        assert len(batch) <= MAX_VECTORS
        assert sum(map(len, batch)) + len(batch) <= MAX_BYTES
    for record in fitting:
        homes = {n for n, batch in enumerate(found) for one in batch for r in record if one is r}
        assert len(homes) == 1
    assert sorted(flat) == sorted(id(one) for record in records for one in record)


def test_batches_are_cut_by_count() -> None:
    """500 vectors a request, and a record that fills more begins with its whole text."""
    assert [len(b) for b in batches([[b"x"]] * 1_201)] == [500, 500, 201]
    assert [len(b) for b in batches([[b"x"] * 300, [b"y"] * 300])] == [300, 300]
    whole = [b"whole", *[b"window"] * 700]
    found = [one for batch in batches([whole]) for one in batch]
    assert found[0] == b"whole"
    assert len(found) == 701


OLDER_FLATS: list[tuple[Mapping[str, Any], dict[str, Any]]] = [
    (
        {"user_id": "ada", "agent_name": "default", "content": "tea", "stored_at": "2025-01-02"},
        {"text": "tea", "stored_at": datetime(2025, 1, 2, tzinfo=UTC)},
    ),
    (
        {"user_id": "ada", "agent_name": "bot", "stored_at": "2025-01-02T03:04:05+02:00"},
        {"stored_at": datetime(2025, 1, 2, 1, 4, 5, tzinfo=UTC), "text": ""},
    ),
    ({"user_id": "ada", "type": "summary", "mood": "good"}, {"kind": "summary"}),
    ({"user_id": "ada", "stored_at": "yesterday"}, {"stored_at": datetime(1970, 1, 1, tzinfo=UTC)}),
    ({"user_id": "ada", "stored_at": 86_400}, {"stored_at": datetime(1970, 1, 2, tzinfo=UTC)}),
    ({"user_id": "ada", "conversation_id": "c1"}, {"kind": "fact"}),
]


@pytest.mark.parametrize(("flat", "expected"), OLDER_FLATS)
def test_what_older_tools_wrote_is_read(
    flat: Mapping[str, Any], expected: Mapping[str, object]
) -> None:
    """Their key is the id, their names say whose it is, and what else they keep is metadata."""
    record = decoded("mem-1", flat, tenant="acme")
    assert {name: getattr(record, name) for name in expected} == expected
    assert (record.id, record.version, record.space) == ("mem-1", 1, "")
    agent = flat.get("agent_name")
    assert record.scope == Scope(
        "ada",
        tenant="acme",
        agent=None if agent == "default" else agent,
        session=flat.get("conversation_id"),
    )
    assert dict(record.metadata) == ({"mood": "good"} if "mood" in flat else {})
    assert first_of(flat) == micros(record.stored_at)


def test_what_is_nobodys_is_no_record() -> None:
    """A vector without a user cannot be given to one."""
    for flat in ({}, {"user_id": ""}, {"user_id": "a\nb"}):
        with pytest.raises(BackendError, match="nobody"):
            decoded("mem-1", flat, tenant="acme")


def test_microseconds_begin_with_the_epoch() -> None:
    """What was before it is as old as can be."""
    assert micros(EPOCH + timedelta(seconds=1, microseconds=2)) == 1_000_002
    assert micros(datetime(1999, 1, 1, tzinfo=UTC)) == 0
