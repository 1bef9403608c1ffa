"""A record as vectors and back, within what S3 Vectors takes, checked before anything is sent."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, cast

import numpy as np

from memlane.aws._extra import orjson
from memlane.aws.s3vectors.description import Description
from memlane.aws.s3vectors.rows import HEAD_CHARS, Row, is_kept, pack, packed_chars, unpack
from memlane.aws.s3vectors.sketches import COMPONENTS, sketch_of
from memlane.errors import BackendError, EmbeddingSpaceError, ScopeError, ValidationError
from memlane.layout import EPOCH, owner_prefix, parse_vector_key
from memlane.marks import marked_terms
from memlane.metadata import NO_AGENT, from_metadata, to_metadata
from memlane.protocols import IndexedRecord, RecordPart, Vector
from memlane.scope import Scope, check_id
from memlane.sizing import value_size
from memlane.types import MemoryRecord

__all__ = (
    "agent_of",
    "batches",
    "decoded",
    "encoded",
    "first_of",
    "flat_of",
    "is_oversized",
    "is_version_kept",
    "micros",
    "part_of",
    "parts_of",
    "plain_of",
    "version_in",
    "weighed",
)

MAX_VECTORS: Final = 500
"""Of one PutVectors."""

MAX_BYTES: Final = 19 * 1024 * 1024
"""Of the vectors of one PutVectors: a body of 20 MiB, and room for what stands around them."""

_FILTERABLE: Final = 2_048
_TOTAL: Final = 40_960
_OBJECT: Final = 4  # of the size model of `sizing.metadata_size`, which this is in one pass
_ENTRY: Final = 8
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})
_NEVER: Final = datetime(1970, 1, 1, tzinfo=UTC)
_IDS: Final[Mapping[str, str]] = MappingProxyType(
    {"agent": "agent_name", "session": "conversation_id"}
)
_OLDER: Final = frozenset({"user_id", "agent_name", "conversation_id", "content", "stored_at"})


def micros(moment: datetime) -> int:
    """Return whole microseconds since `layout.EPOCH`; what was before is at its beginning."""
    return max(0, (moment - EPOCH) // timedelta(microseconds=1))


def encoded(
    item: IndexedRecord,
    *,
    key: str,
    first: int,
    description: Description,
    shared: bool,
    kept: bool = False,
) -> list[bytes]:
    """Return the vectors of a record, as PutVectors takes them, the whole text first.

    Args:
        item: The record and its parts.
        key: Of the whole text's vector.
        first: When the record was first stored; see `rows.Row`.
        description: Of the index.
        shared: Tenants share the index.
        kept: A copy of this version lies beside it.

    Raises:
        EmbeddingSpaceError: A vector is not of the index's dimension, or points nowhere.
        ValidationError: The record weighs more than the index takes.
    """
    try:
        return _encoded(item, key, first, description, shared=shared, kept=kept)
    except (TypeError, UnicodeEncodeError) as exc:
        raise ValidationError(
            "a record holds something that JSON cannot say", remedy="decode its text properly"
        ) from exc


def _encoded(
    item: IndexedRecord,
    key: str,
    first: int,
    description: Description,
    *,
    shared: bool,
    kept: bool,
) -> list[bytes]:
    flat = to_metadata(item.record, dumps=_json)
    if shared:
        flat["owner"] = owner_prefix(item.record.scope)[:-1]
    room = weighed(flat, description)
    if room < HEAD_CHARS and len(item.parts) > 1:
        raise _too_heavy("its windows have no room", description)
    # What is filterable is paid for with each query.
    sketched = "row" in description.unfilterable
    found: list[bytes] = []
    for number, part in enumerate(item.parts):
        components, sketch = _components(part.vector, description), b""
        flat["part"] = number
        if room >= HEAD_CHARS:
            count = len(part.terms)
            terms = part.terms if packed_chars(count) <= room else None
            if sketched and packed_chars(count, sketch=COMPONENTS) <= room:
                sketch = sketch_of(components)
            flat["row"] = pack(
                first, part.start, part.end, len(item.parts), terms, sketch=sketch, kept=kept
            )
        if not sketch and not components.any():
            raise EmbeddingSpaceError(
                "a vector of length zero has no direction, and cannot be stored",
                remedy="check the embedder",
            )
        vector = {
            "key": f"{key}#w{number}" if number else key,
            "data": {"float32": components},
            "metadata": flat,
        }
        found.append(orjson.dumps(vector, option=orjson.OPT_SERIALIZE_NUMPY))
    return found


def _json(value: object) -> str:
    return orjson.dumps(value, default=_plain).decode()


def _plain(value: object) -> dict[str, object]:
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    raise TypeError(f"{type(value).__name__} is not JSON")


def weighed(flat: Mapping[str, Any], description: Description) -> int:
    """Return how long a row may be beside this metadata; negative where there is none.

    Raises:
        ValidationError: The metadata alone weighs more than the index takes.
    """
    hidden = description.unfilterable
    filterable = total = _OBJECT
    for key, value in flat.items():
        # Spelt out: a record has ten values, and calls would double what this takes.
        size = _ENTRY + (len(key) if key.isascii() else len(key.encode()))
        if isinstance(value, str):
            size += len(value) if value.isascii() else len(value.encode())
        else:
            size += value_size(value)
        total += size
        if key not in hidden:
            filterable += size
    if filterable > _FILTERABLE:
        told = f"its filterable metadata has {filterable:,} bytes of {_FILTERABLE:,}"
        raise _too_heavy(told, description)
    if total > _TOTAL:
        raise _too_heavy(f"its metadata has {total:,} bytes of {_TOTAL:,}", description)
    room = _TOTAL - total
    if "row" not in hidden:
        room = min(room, _FILTERABLE - filterable)
    return room - _ENTRY - len("row")


def _too_heavy(told: str, description: Description) -> ValidationError:
    remedy = "use a shorter text, and shorter metadata, tags or ids"
    if description.is_older:
        remedy = "store it in an index that memlane made: here its exact forms are filterable too"
    return ValidationError(f"a record weighs too much for its index: {told}", remedy=remedy)


def _components(vector: Vector, description: Description) -> Vector:
    if len(vector) != description.dimension:
        raise EmbeddingSpaceError(
            f"a vector has {len(vector)} dimensions; the index has {description.dimension}",
            remedy="store with the embedder that the index was made for",
        )
    row: Vector = vector
    if vector.dtype != np.float32 or not vector.flags.c_contiguous:
        with np.errstate(over="ignore"):
            row = np.ascontiguousarray(vector, dtype=np.float32)
        if not np.isfinite(row).all():
            raise EmbeddingSpaceError(
                "a vector holds a number that float32 cannot hold", remedy="check the embedder"
            )
    return row


def is_oversized(vectors: Sequence[bytes]) -> bool:
    """Say whether a record's vectors fill more than one request."""
    # One alone never does: 4,096 numbers and 40 KB of metadata.
    return len(vectors) > 1 and (len(vectors) > MAX_VECTORS or _weight(vectors) > MAX_BYTES)


def _weight(vectors: Sequence[bytes]) -> int:
    return sum(map(len, vectors)) + len(vectors)


def batches(records: Iterable[Sequence[bytes]]) -> Iterator[list[bytes]]:
    """Yield what goes into one request each: by count and bytes, a record's vectors together.

    A record that fills more than one request begins with its whole text, without which nobody
    could read or delete its windows.
    """
    batch: list[bytes] = []
    size = 0
    for vectors in records:
        weight = _weight(vectors)
        if batch and (len(batch) + len(vectors) > MAX_VECTORS or size + weight > MAX_BYTES):
            yield batch
            batch, size = [], 0
        if is_oversized(vectors):
            yield from batches([vector] for vector in vectors)
            continue
        batch += vectors
        size += weight
    if batch:
        yield batch


def decoded(key: str, flat: Mapping[str, Any], *, tenant: str | None) -> MemoryRecord:
    """Return the record a vector is of, or that an older tool meant.

    Raises:
        BackendError: What memlane wrote is damaged.
    """
    parsed = parse_vector_key(key)
    if parsed is not None:
        return from_metadata(parsed.record_id, flat)
    stored = _moment(flat.get("stored_at"))
    try:
        scope = Scope(
            flat["user_id"], tenant=tenant, agent=agent_of(flat), session=_id(flat, "session")
        )
    except (KeyError, ScopeError) as exc:
        raise BackendError(
            "a vector of another tool says of nobody that it is theirs",
            remedy="delete it with the tool that wrote it",
        ) from exc
    record = MemoryRecord(
        id=key,
        text=_text(flat, "content") or "",
        scope=scope,
        occurred_at=stored,
        stored_at=stored,
        updated_at=stored,
        metadata={name: value for name, value in flat.items() if name not in {*_OLDER, "type"}},
    )
    kind = _text(flat, "type")
    return record if kind is None else replace(record, kind=kind)


def agent_of(flat: Mapping[str, Any]) -> str | None:
    """Return the agent that an older tool's vector is of."""
    agent = _id(flat, "agent")
    return None if agent == NO_AGENT else agent


def plain_of(flat: Mapping[str, Any]) -> dict[str, Any]:
    """Return what an older tool's metadata says in the words it shares with memlane.

    Under memlane's other names another tool may keep whatever it likes.
    """
    found: dict[str, Any] = {"content": _text(flat, "content") or ""}
    for name in ("user_id", "stored_at"):
        if name in flat:
            found[name] = flat[name]
    for kind, name in _IDS.items():
        value = _id(flat, kind)
        if value is not None:
            found[name] = value
    return found


def _id(flat: Mapping[str, Any], kind: str) -> str | None:
    value = _text(flat, _IDS[kind])
    try:
        return None if value is None else check_id(value, name=kind)
    except ScopeError:
        return None  # no reason not to list the record, and so not to forget it


def _text(flat: Mapping[str, Any], name: str) -> str | None:
    value = flat.get(name)
    return value if isinstance(value, str) and value else None


def _moment(said: object) -> datetime:
    try:
        if isinstance(said, int | float):
            return datetime.fromtimestamp(said, UTC)
        moment = datetime.fromisoformat(said) if isinstance(said, str) else _NEVER
    except (OverflowError, OSError, ValueError):
        return _NEVER
    return moment.astimezone(UTC) if moment.tzinfo else moment.replace(tzinfo=UTC)


def flat_of(vector: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a vector's metadata; another tool's may have none."""
    found: Mapping[str, Any] | None = vector.get("metadata")
    return _NOTHING if found is None else found


def _row(flat: Mapping[str, Any]) -> Row | None:
    # Whatever memlane wrote has a payload; another tool's `row` is a word of its own.
    return unpack(flat["row"]) if "row" in flat and "payload" in flat else None


def parts_of(flat: Mapping[str, Any]) -> int:
    """Return how many vectors a record has."""
    row = _row(flat)
    return 1 if row is None else row.parts


def version_in(flat: Mapping[str, Any]) -> int:
    """Return at which version a record is; other tools count none.

    Raises:
        BackendError: What memlane wrote is damaged.
    """
    if "payload" not in flat:
        return 1
    try:
        return int(orjson.loads(flat["payload"])["v"])
    except (KeyError, TypeError, ValueError) as exc:
        raise BackendError(
            "a stored record's metadata is damaged", remedy="restore it from a backup or delete it"
        ) from exc


def is_version_kept(flat: Mapping[str, Any]) -> bool:
    """Say whether a copy of a record's version lies beside it."""
    return "row" in flat and "payload" in flat and is_kept(flat["row"])


def first_of(flat: Mapping[str, Any]) -> int:
    """Return when a record was first stored; see `rows.Row`."""
    row = _row(flat)
    return micros(_moment(flat.get("stored_at"))) if row is None else row.first


def part_of(flat: Mapping[str, Any], vector: Vector) -> RecordPart:
    """Return one part of a record from its own vector."""
    text, row = _text(flat, "content") or "", _row(flat)
    if row is None:
        return RecordPart(start=0, end=len(text), vector=vector, terms=marked_terms(text))
    terms = (
        marked_terms(text[row.start : row.end])
        if row.terms is None
        else np.frombuffer(row.terms, dtype="<u4").astype(np.uint32, copy=False)
    )
    return RecordPart(start=row.start, end=row.end, vector=vector, terms=terms)
