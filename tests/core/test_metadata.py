"""Whatever a client accepts fits beside a vector on the strictest service, and comes back equal."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from memlane.errors import BackendError, ValidationError
from memlane.filters import FIELDS
from memlane.layout import MAX_NAMESPACE_BYTES, to_minutes
from memlane.metadata import (
    NON_FILTERABLE,
    from_metadata,
    payload_bytes,
    record_fields,
    to_metadata,
    wire_name,
)
from memlane.scope import MAX_ID_BYTES, Scope
from memlane.sizing import (
    MAX_FILTERABLE_BYTES,
    MAX_METADATA_KEYS,
    MAX_PAYLOAD_BYTES,
    filterable_subset,
    metadata_size,
)
from memlane.types import ImageNote, MemoryRecord, NewMemory
from memlane.writing import RecordIds, new_record

QUICK = settings(deadline=None, max_examples=200)
NOW = datetime(2026, 3, 14, 9, 26, 53, 589793, tzinfo=UTC)
SPACE = "amazon.titan-embed-text-v2:0:1024:raw:purposes"

# What S3 Vectors allows: bytes in all, bytes that are filterable, keys per vector.
SERVICE_TOTAL, SERVICE_FILTERABLE, SERVICE_KEYS = 40_960, 2_048, 50

texts = st.text(st.characters(codec="utf-8"), max_size=40)
printable = st.characters(codec="utf-8", exclude_categories=["Cc"])
ids = st.text(printable, min_size=1, max_size=90).filter(lambda text: text.strip())
keys = st.one_of(
    st.sampled_from([
        "tags", "type", "actor", "user_id", "~tags", "~~tags", "~", "payload", "content", "space",
        "part", "expires", "stored", "row", "owner", "a.b", "topic",
    ]),
    st.text(st.characters(codec="utf-8"), min_size=1, max_size=12).filter(
        lambda text: text.isprintable() and text[0] not in "@$"
    ),
)  # fmt: skip
values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=8,
)
moments = st.datetimes(timezones=st.just(UTC)).filter(lambda moment: 1 < moment.year < 9999)
scopes = st.builds(
    lambda user, tenant, agent, session: Scope(user, tenant=tenant, agent=agent, session=session),
    ids,
    *[st.none() | ids | st.just("default")] * 3,
)
memories = st.builds(
    NewMemory,
    content=st.text(st.characters(codec="utf-8"), min_size=1).filter(lambda text: text.strip()),
    namespace=st.sampled_from(["/", "/facts", "/users/u%2F1/", "/caf\u00e9/"]),
    kind=st.sampled_from(["fact", "message", "a", "x" * 32]),
    metadata=st.none() | st.dictionaries(keys, values, max_size=6),
    tags=st.lists(st.sampled_from(["a", "b", "\u00e9t\u00e9", "x" * 64]), max_size=4),
    actor=st.none() | ids,
    occurred_at=st.none() | moments,
    ttl=st.none() | st.timedeltas(timedelta(microseconds=1), timedelta(days=10_000)),
    record_id=st.none() | st.just("a#w1/b"),
    source=st.sampled_from(["app", "user", "assistant", "tool", "import"]),
)

notes = st.builds(
    ImageNote,
    sha256=st.just("0f" * 32),
    media_type=st.sampled_from(["image/png", "image/webp"]),
    size=st.integers(0, 2**40),
    name=st.none() | texts,
    embedded=st.booleans(),
)
lives = st.fixed_dictionaries(
    {
        "valid_from": st.none() | moments,
        "valid_to": st.none() | moments,
        "images": st.lists(notes, max_size=3).map(tuple),
    }
)


def _record(new: NewMemory, scope: Scope) -> MemoryRecord:
    return new_record(new, scope=scope, now=NOW, ids=RecordIds(), space=SPACE)


def _service_accepts(flat: Mapping[str, Any]) -> None:
    filterable = {key: value for key, value in flat.items() if key not in NON_FILTERABLE}
    assert len(flat) <= SERVICE_KEYS
    assert metadata_size(filterable) <= SERVICE_FILTERABLE
    assert metadata_size(flat) <= SERVICE_TOTAL
    for key, value in flat.items():
        assert key
        assert not key.startswith("$")
        if isinstance(value, list):
            assert value
            kinds = {str if isinstance(each, str) else float for each in value}
            assert len(kinds) == 1
            assert not any(isinstance(each, bool | None | list | dict) for each in value)
        else:
            assert isinstance(value, str | int | float)
            assert isinstance(value, str) or math.isfinite(value)


@QUICK
@given(memories, scopes, lives)
def test_a_record_comes_back_exactly(new: NewMemory, scope: Scope, life: dict[str, Any]) -> None:
    """Text, metadata, times to the microsecond, scope, version and pictures are what they were."""
    try:
        record = _record(new, scope)
    except ValidationError:
        reject()
    record = replace(record, version=7, updated_at=NOW + timedelta(microseconds=1), **life)
    # Over the wire it is JSON.
    flat = json.loads(json.dumps(to_metadata(record)))
    assert from_metadata(record.id, flat) == record
    assert json.dumps(dict(record.metadata)) == json.dumps(
        dict(from_metadata(record.id, flat).metadata)
    )
    _service_accepts(to_metadata(record, part=12))


def _filled(extra: Mapping[str, object], *, most: int) -> dict[str, object]:
    """Pad metadata with one string until the filterable bytes are `most`."""
    room = most - metadata_size({**filterable_subset(extra), "pad": ""})  # type: ignore[arg-type] # JSON
    return {**extra, "pad": "x" * room}


EXTREMES: dict[str, dict[str, object]] = {
    "one long value": {},
    "all keys": {f"{n:02}": n for n in range(MAX_METADATA_KEYS - 1)},
    "all keys escaped": {f"~{n:02}": n for n in range(MAX_METADATA_KEYS - 1)},
    "reserved keys": dict.fromkeys(
        ["type", "actor", "agent_name", "conversation_id", "tags", "source", "namespace",
         "occurred", "stored", "content", "stored_at", "payload", "user_id", "expires", "space",
         "part", "row", "owner"],
        "x",
    ),
    "booleans": {f"~{n:02}{'k' * 20}": True for n in range(MAX_METADATA_KEYS - 1)},
    "a list of numbers": {"n": list(range(100))},
    "a list of nothing": {"n": [""] * 200},
}  # fmt: skip


@pytest.mark.parametrize("letters", ["x", "\u00e9", "\U0001f916"], ids=["1", "2", "4"])
@pytest.mark.parametrize("extra", EXTREMES.values(), ids=EXTREMES.keys())
def test_the_heaviest_records_fit(extra: dict[str, object], letters: str) -> None:
    """Every field at its bound at once stays within the service's bytes and keys."""
    wide = len(letters.encode())
    for size in (64, MAX_ID_BYTES):  # the longest that lies unhashed, and the longest of all
        name = letters * (size // wide)
        scope = Scope(name, tenant=name, agent=name, session=name)
        new = NewMemory(
            content="x",
            namespace="/" + "n" * (MAX_NAMESPACE_BYTES - 2) + "/",
            kind="k" * 32,
            metadata=_filled(extra, most=MAX_FILTERABLE_BYTES),  # type: ignore[arg-type] # JSON
            actor=name,
            occurred_at=NOW,
            ttl=timedelta(days=1),
            source="assistant",
        )
        record = _record(new, scope)
        room = MAX_PAYLOAD_BYTES - payload_bytes(record)
        record = _record(replace(new, content="x" * (room + 1)), scope)
        assert payload_bytes(record) == MAX_PAYLOAD_BYTES
        flat = to_metadata(record, part=999)
        _service_accepts(flat)
        assert from_metadata(record.id, flat) == record
        with pytest.raises(ValidationError, match="at most"):
            _record(replace(new, content="x" * (room + 2)), scope)


def test_the_heaviest_tags_fit() -> None:
    """Tags share the room of the metadata; the largest set that passes fits the service."""
    for width in (64, 33, 1):
        tags = [f"{n:02}"[:width].ljust(width, "t") for n in range(32)]
        for count in range(len(tags), 0, -1):
            try:
                record = _record(NewMemory(content="x", tags=tags[:count]), Scope("u"))
            except ValidationError:
                continue
            _service_accepts(to_metadata(record))
            assert from_metadata(record.id, to_metadata(record)).tags == record.tags
            break
        else:
            pytest.fail("no tags pass")


def test_the_name_of_a_space_has_room() -> None:
    """Beside the heaviest record a space's id of 100 bytes fits, longer than any known model's."""
    name = "x" * 64
    record = new_record(
        NewMemory(
            content="x",
            namespace="/" + "n" * 198 + "/",
            kind="k" * 32,
            metadata=_filled({f"~{n:02}": n for n in range(31)}, most=MAX_FILTERABLE_BYTES),  # type: ignore[arg-type] # JSON
            actor=name,
            ttl=timedelta(days=1),
            source="assistant",
        ),
        scope=Scope(name, tenant=name, agent=name, session=name),
        now=NOW,
        ids=RecordIds(),
        space="s" * 100,
    )
    _service_accepts(to_metadata(record, part=999))


@QUICK
@given(st.sets(keys | st.sampled_from(FIELDS), max_size=30))
def test_no_two_fields_share_a_name_on_the_wire(fields: set[str]) -> None:
    """A user's key never lies on one of the record's own, nor on another key's escape."""
    assert len({wire_name(field) for field in fields}) == len(fields)
    own = to_metadata(_record(NewMemory(content="x"), Scope("u")))
    assert set(own).isdisjoint({wire_name(field) for field in fields if not field.startswith("@")})


def test_keys_on_the_wire_are_pinned() -> None:
    """The older tools' names where the thing is the same; these are part of the format."""
    scope = Scope("ada", tenant="acme", agent="support", session="s1")
    new = NewMemory(
        content="Prefers tea",
        namespace="/facts",
        metadata={"topic": "drinks", "content": "mine", "deep": {"a": [1, None]}},
        tags=["b", "a"],
        actor="Ada",
        record_id="r1",
        expires_at=NOW + timedelta(minutes=1),
    )
    flat = to_metadata(new_record(new, scope=scope, now=NOW, ids=RecordIds(), space="m:3"), part=2)
    payload = flat.pop("payload")
    assert flat == {
        "content": "Prefers tea",
        "user_id": "ada",
        "agent_name": "support",
        "conversation_id": "s1",
        "type": "fact",
        "stored_at": "2026-03-14T09:26:53.589793+00:00",
        "stored": 3_260_726,
        "occurred": 3_260_726,
        "expires": 3_260_728,
        "namespace": "/facts/",
        "source": "app",
        "actor": "Ada",
        "tags": ["a", "b"],
        "space": "m:3",
        "part": 2,
        "topic": "drinks",
        "~content": "mine",
    }
    stamp = "2026-03-14T09:26:53.589793+00:00"
    assert json.loads(payload) == {
        "v": 1,
        "user": "ada",
        "tenant": "acme",
        "agent": "support",
        "session": "s1",
        "actor": "Ada",
        "at": [stamp, stamp, stamp],
        "expires": "2026-03-14T09:27:53.589793+00:00",
        "metadata": {"topic": "drinks", "content": "mine", "deep": {"a": [1, None]}},
    }


@QUICK
@given(scopes, scopes)
def test_owners_are_told_apart_by_what_is_filtered(one: Scope, other: Scope) -> None:
    """Two users, or two agents of one, never share the value that a query is narrowed by."""
    flats = [to_metadata(_record(NewMemory(content="x"), scope)) for scope in (one, other)]
    assert (flats[0]["user_id"] == flats[1]["user_id"]) is (one.user == other.user)
    assert (flats[0]["agent_name"] == flats[1]["agent_name"]) is (one.agent == other.agent)
    assert (flats[0].get("conversation_id") == flats[1].get("conversation_id")) is (
        one.session == other.session
    )


def test_no_agent_is_not_the_agent_called_default() -> None:
    """The older tools' word for no agent is a name that an agent of ours may have."""
    none = to_metadata(_record(NewMemory(content="x"), Scope("u")))
    named = to_metadata(_record(NewMemory(content="x"), Scope("u", agent="default")))
    assert none["agent_name"] == "default"
    assert named["agent_name"] != "default"
    assert from_metadata("x", named).scope == Scope("u", agent="default")


def test_long_ids_are_filtered_by_hash() -> None:
    """65 bytes and more, and what looks like a hash, lie as a hash; the exact form is kept."""
    for user in ("x" * 65, "#" + "a" * 26, "#", "\u00e9" * 33):
        flat = to_metadata(_record(NewMemory(content="x"), Scope(user)))
        assert len(flat["user_id"]) == 27
        assert flat["user_id"].startswith("#")
        assert from_metadata("x", flat).scope.user == user
    assert to_metadata(_record(NewMemory(content="x"), Scope("x" * 64)))["user_id"] == "x" * 64


@QUICK
@given(memories, scopes, lives)
def test_filters_see_each_field_there_is(
    new: NewMemory, scope: Scope, life: dict[str, Any]
) -> None:
    """What a filter may name is there exactly when the record has it, under its own name."""
    try:
        record = _record(new, scope)
    except ValidationError:
        reject()
    record = replace(record, **life)
    fields = record_fields(record)
    for name in ("valid_from", "valid_to"):
        moment: datetime | None = getattr(record, name)
        assert fields.get(f"@{name}") == (None if moment is None else to_minutes(moment))
    assert {name for name in fields if name.startswith("@")} <= set(FIELDS)
    assert ("@tags" in fields) is bool(record.tags)
    assert fields.get("@actor") == record.actor
    assert fields.get("@agent") == scope.agent
    assert fields.get("@session") == scope.session
    assert {k for k in fields if not k.startswith("@")} == set(filterable_subset(record.metadata))


@given(st.timedeltas(timedelta(microseconds=1), timedelta(minutes=3)))
def test_a_filter_never_drops_a_record_too_early(ttl: timedelta) -> None:
    """The minute of expiry that is filtered by is not before the moment of expiry."""
    record = _record(NewMemory(content="x", ttl=ttl), Scope("u"))
    assert record.expires_at is not None
    late = datetime(2020, 1, 1, tzinfo=UTC) + timedelta(minutes=to_metadata(record)["expires"])
    assert timedelta(0) < late - record.expires_at <= timedelta(minutes=1)


DAMAGE: dict[str, Mapping[str, object]] = {
    "no payload": {"payload": None},
    "no JSON": {"payload": "{"},
    "a list": {"payload": "[]"},
    "a number": {"payload": "1"},
    "no user": {"payload": '{"v":1,"at":[]}'},
    "two times": {"payload": '{"v":1,"user":"u","at":["2026-01-01T00:00:00+00:00"]}'},
    "an empty user": {"payload": '{"v":1,"user":"","at":["2026-01-01","2026-01-01","2026-01-01"]}'},
    "a time of another sort": {"payload": '{"v":1,"user":"u","at":[1,2,3]}'},
    "metadata of another sort": {
        "payload": '{"v":1,"user":"u","at":["2026-01-01","2026-01-01","2026-01-01"],"metadata":"x"}'
    },
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_damage_is_one_error(damage: Mapping[str, object]) -> None:
    """Whatever is wrong with a stored record, the error is ours and repeats nothing of it."""
    flat = to_metadata(_record(NewMemory(content="the secret"), Scope("u")))
    with pytest.raises(BackendError, match="damaged") as caught:
        from_metadata("r", {**flat, **damage})
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("name", ["payload", "content", "namespace", "type", "source", "space"])
def test_a_missing_value_is_damage(name: str) -> None:
    """A record is read whole or not at all."""
    flat = to_metadata(_record(NewMemory(content="x"), Scope("u")))
    del flat[name]
    with pytest.raises(BackendError, match="damaged"):
        from_metadata("r", flat)
