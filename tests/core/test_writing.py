"""What is stored is what was asked for, once, in order, and a caller is told what became of it."""

from __future__ import annotations

import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane.errors import (
    ValidationError,
)
from memlane.layout import ulid
from memlane.metadata import payload_bytes
from memlane.scope import MAX_ID_BYTES, Scope
from memlane.sizing import MAX_FILTERABLE_BYTES, MAX_PAYLOAD_BYTES
from memlane.testing import (
    HashingEmbedder,
)
from memlane.types import MemoryRecord, NewMemory
from memlane.writing import LIGHT_CHARS, UNSET, RecordIds, changed, new_record

QUICK = settings(deadline=None, max_examples=100)
NOW = datetime(2026, 3, 14, 9, 26, 53, 589793, tzinfo=UTC)
ADA = Scope("ada-lovelace", tenant="acme", agent="support")
SPACE = HashingEmbedder().space.id


def _record(**fields: Any) -> MemoryRecord:
    new = NewMemory(**{"content": "prefers tea", **fields})
    return new_record(new, scope=ADA, now=NOW, ids=RecordIds(), space=SPACE)


# Ids


@QUICK
@given(st.lists(st.integers(-5_000_000, 5_000_000), min_size=2, max_size=60))
def test_ids_rise_whatever_the_clock_does(microseconds: list[int]) -> None:
    """Within one millisecond and when the clock goes back, each id sorts after the last."""
    ids = RecordIds()
    made = [ids.new(NOW + timedelta(microseconds=each)) for each in microseconds]
    assert made == sorted(set(made))
    assert all(len(each) == 26 for each in made)


def test_ids_begin_with_their_time() -> None:
    """The first ten characters are the millisecond; the entropy is drawn anew in each."""
    drawn = iter([2**80 - 1, 5])
    ids = RecordIds(lambda: next(drawn))
    at = int(NOW.timestamp() * 1000)
    assert ids.new(NOW) == ulid(at, 2**79 - 1)
    assert ids.new(NOW) == ulid(at, 2**79)
    assert ids.new(NOW + timedelta(milliseconds=1)) == ulid(at + 1, 2)
    assert ids.new(NOW - timedelta(days=9)) == ulid(at + 1, 3)


@pytest.mark.parametrize("year", [1, 1969, 1970, 9999])
def test_two_processes_make_different_ids_in_any_year(year: int) -> None:
    """Also where the clock stands at the epoch or before it, as on a board without a battery."""
    moment = datetime(year, 1, 1, tzinfo=UTC)
    made = {RecordIds().new(moment) for _ in range(20)}
    assert len(made) == 20


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_a_forked_child_makes_ids_of_its_own() -> None:
    """Workers forked from one parent never store over each other, and their ids still rise."""
    ids = RecordIds()
    last = ids.new(NOW)
    made: list[str] = []
    for _ in range(3):
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.write(writing, ids.new(NOW - timedelta(hours=1)).encode())
            os._exit(0)
        os.waitpid(child, 0)
        made.append(os.read(reading, 100).decode())
        os.close(reading)
        os.close(writing)
    made.append(ids.new(NOW))
    assert len(set(made)) == 4
    assert min(made) > last


# From a new memory to a record


def test_a_plain_memory_has_plain_defaults() -> None:
    """Only content is needed; it happened when it was stored."""
    record = _record()
    assert (record.text, record.namespace, record.kind, record.source) == (
        "prefers tea", "/", "fact", "app",
    )  # fmt: skip
    assert record.occurred_at == record.stored_at == record.updated_at == NOW
    assert (record.version, record.expires_at, record.space) == (1, None, SPACE)


@QUICK
@given(st.datetimes(), st.integers(-23, 23))
def test_times_become_utc(moment: datetime, hours: int) -> None:
    """The moment stays what it was in any zone; what UTC cannot say is refused."""
    there = moment.replace(tzinfo=timezone(timedelta(hours=hours)))
    try:
        record = _record(occurred_at=there)
    except ValidationError:
        assert moment.year in {1, 9999}
        return
    assert record.occurred_at == there
    assert record.occurred_at.utcoffset() == timedelta(0)


BAD: dict[str, dict[str, Any]] = {
    "blank": {"content": " \n"},
    "bytes": {"content": b"x"},
    "surrogate": {"content": "the secret \ud800"},
    "too long": {"content": "the secret" * 4_000},
    "naive": {"occurred_at": datetime(2026, 1, 1)},  # noqa: DTZ001 - that is the mistake
    "a string for a time": {"occurred_at": "2026-01-01"},
    "a number for a time": {"expires_at": 1.5},
    "both ends": {"ttl": timedelta(1), "expires_at": NOW + timedelta(1)},
    "ttl of nothing": {"ttl": timedelta(0)},
    "ttl of seconds": {"ttl": 60},
    "ttl for ever": {"ttl": timedelta.max},
    "expired": {"expires_at": NOW},
    "two ids": {"record_id": "a", "idempotency_key": "b"},
    "no id": {"record_id": ""},
    "no key": {"idempotency_key": ""},
    "source": {"source": "the secret"},
    "unhashable source": {"source": ["app"]},
    "kind": {"kind": "the secret"},
    "namespace": {"namespace": "the secret"},
    "metadata": {"metadata": {"k": object()}},
    "metadata that is no object": {"metadata": ["the secret"]},
    "tags": {"tags": "the secret"},
    "actor": {"actor": " "},
    "actor with a control character": {"actor": "the secret\0"},
}


@pytest.mark.parametrize("fields", BAD.values(), ids=BAD.keys())
def test_what_cannot_be_stored_is_refused_without_repeating_it(fields: dict[str, Any]) -> None:
    """One type of error, whose text holds neither content nor user."""
    with pytest.raises(ValidationError) as caught:
        _record(**fields)
    assert "secret" not in str(caught.value)
    assert "lovelace" not in str(caught.value)
    assert caught.value.remedy


def test_a_text_that_is_not_weighed_is_light_enough() -> None:
    """Up to there no letters, and no ids, make a record of nothing else too heavy."""
    longest = '"' * MAX_ID_BYTES  # two bytes each in the payload
    later = NOW + timedelta(days=1)
    record = new_record(
        NewMemory(
            content="\U0001d11e" * LIGHT_CHARS, actor=longest, expires_at=later, valid_from=later
        ),
        scope=Scope(longest, tenant=longest, agent=longest, session=longest),
        now=NOW,
        ids=RecordIds(),
        space=SPACE,
    )
    assert payload_bytes(record) <= MAX_PAYLOAD_BYTES


@pytest.mark.parametrize(
    "fields",
    [
        {"content": "x" * MAX_PAYLOAD_BYTES},
        {"metadata": {"k": {"nested": "x" * (MAX_PAYLOAD_BYTES - 100)}}},
        {"metadata": {"k": "x" * MAX_FILTERABLE_BYTES}},
        {"tags": [f"{n:02}{'x' * 60}" for n in range(20)]},
    ],
    ids=["text", "payload", "filterable", "tags"],
)
def test_all_else_is_weighed(fields: dict[str, Any]) -> None:
    """A text that is long, and whatever lies beside a short one."""
    with pytest.raises(ValidationError, match="bytes"):
        _record(**fields)


def test_a_change_is_the_next_version() -> None:
    """Given fields are replaced, None and empty are values, the rest stays."""
    before = _record(metadata={"a": 1}, tags=["x"], actor="Ada", ttl=timedelta(1))
    later = NOW + timedelta(hours=1)
    after = changed(before, now=later, space="new", text="prefers milk")
    assert after == replace(before, text="prefers milk", version=2, updated_at=later, space="new")
    bare = changed(
        before, now=later, space=SPACE, metadata=None, tags=(), actor=None, expires_at=None,
        namespace="/a", kind="note", occurred_at=NOW - timedelta(1),
    )  # fmt: skip
    assert (dict(bare.metadata), bare.tags, bare.actor, bare.expires_at) == ({}, (), None, None)
    assert (bare.namespace, bare.kind, bare.occurred_at) == ("/a/", "note", NOW - timedelta(1))
    assert (bare.stored_at, bare.id, bare.scope) == (before.stored_at, before.id, before.scope)


@pytest.mark.parametrize(
    "fields",
    [
        {}, {"text": " "}, {"text": UNSET}, {"tags": "x"}, {"kind": "X"}, {"namespace": "x"},
        {"expires_at": NOW}, {"occurred_at": None}, {"metadata": {"@a": 1}}, {"actor": ""},
        {"text": "x" * 33_000}, {"metadata": {"k": "x" * 1_300}},
    ],
)  # fmt: skip
def test_a_change_is_checked_like_a_new_record(fields: dict[str, Any]) -> None:
    """Nothing gets in by an update that a store would refuse."""
    with pytest.raises(ValidationError):
        changed(_record(), now=NOW, space=SPACE, **fields)
