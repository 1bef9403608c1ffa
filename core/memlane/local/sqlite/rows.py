"""Records and their parts as rows, and back."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Any, Final, NamedTuple, TypeAlias, cast

import numpy as np

from memlane.local.codec import (
    from_micros,
    images_json,
    metadata_json,
    micros_to_minutes,
    parse_images,
    parse_metadata,
    parse_tags,
    tags_json,
    to_micros,
)
from memlane.local.sqlite.packing import NEVER, Labels, Numbers, damaged, pack_labels, pack_numbers
from memlane.protocols import IndexedRecord, RecordPart, Terms, Vector
from memlane.scope import Scope
from memlane.types import MemoryRecord, Source

__all__ = (
    "RECORD_COLUMNS",
    "VALUES",
    "EncodedRecord",
    "RecordDecoder",
    "encode",
    "insert",
    "joined_terms",
    "read_parts",
    "unit_vectors",
)

_HALF: Final = np.dtype("<f2")
_HALF_BITS: Final = np.dtype("<u2")
_TERM: Final = np.dtype("<u4")

# There are 65,536 float16 numbers; looking one up takes half the time of numpy's conversion.
_AS_FLOAT: Final[Vector] = np.arange(2**16, dtype=_HALF_BITS).view(_HALF).astype(np.float32)

_Row: TypeAlias = "tuple[Any, ...]"

RECORD_COLUMNS: Final = (
    "record.seq, record.id, record.version, record.session, record.actor, record.namespace,"
    " record.kind, record.source, record.occurred, record.stored, record.updated,"
    " record.expires, record.tags, record.metadata, record.text, record.valid_from,"
    " record.valid_to, record.images, space.name"
    " from record cross join space on space.id = record.space"
)
"""What a `RecordDecoder` reads; a `where` may follow. A cross join is never turned around."""

VALUES: Final = (
    "space, id, version, session, actor, namespace, kind, source, occurred, stored, updated,"
    " expires, tags, metadata, text, valid_from, valid_to, images"
)
"""The columns of a record, but for its place: the space's id and `EncodedRecord.record`."""

_INSERT_RECORD: Final = (
    f"insert into record (lane, seq, {VALUES})"  # noqa: S608
    " values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_INSERT_HOT: Final = (
    "insert into hot (lane, seq, part, space, id, labels, numbers, vec, lex)"
    " values (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class EncodedRecord(NamedTuple):
    """A record ready to be written, but for its place."""

    id: str
    space: str
    dimensions: frozenset[int]
    record: _Row
    labels: str
    parts: tuple[tuple[_Row, bytes, bytes], ...]
    replaces: EncodedRecord | None

    @property
    def version(self) -> int:
        """The record's."""
        found: int = self.record[1]
        return found


def encode(records: Sequence[IndexedRecord]) -> list[EncodedRecord]:
    """Return the rows of records.

    Raises:
        ValidationError: Metadata that is not JSON.
    """
    vectors = iter(_encode_vectors([p.vector for item in records for p in item.parts]))
    known: dict[Labels, str] = {}  # a batch has few different ones
    return [_encode_one(item, [next(vectors) for _ in item.parts], known) for item in records]


def _encode_one(
    item: IndexedRecord, vectors: list[tuple[float, bytes]], known: dict[Labels, str]
) -> EncodedRecord:
    record = item.record
    session, actor, namespace = record.scope.session, record.actor, record.namespace
    occurred = to_micros(record.occurred_at)
    expires = None if record.expires_at is None else to_micros(record.expires_at)
    valid = record.valid_from, record.valid_to
    labels = Labels(actor, session, namespace)
    if labels not in known:
        known[labels] = pack_labels(labels)
    minutes, until = micros_to_minutes(occurred), NEVER if expires is None else expires
    return EncodedRecord(
        id=record.id,
        space=record.space,
        dimensions=frozenset(len(part.vector) for part in item.parts),
        record=(
            record.id,
            record.version,
            session,
            actor,
            namespace,
            record.kind,
            record.source,
            occurred,
            to_micros(record.stored_at),
            to_micros(record.updated_at),
            expires,
            tags_json(record.tags),
            metadata_json(record.metadata),
            record.text,
            *(None if each is None else to_micros(each) for each in valid),
            images_json(record.images),
        ),
        labels=known[labels],
        parts=tuple(
            (
                # As in `Numbers`, but for the place, which is not known yet.
                (minutes, until, norm, number, int(part.start), int(part.end)),
                vec,
                part.terms.astype(_TERM).tobytes(),
            )
            for number, (part, (norm, vec)) in enumerate(zip(item.parts, vectors, strict=True))
        ),
        replaces=None
        if item.replaces is None
        else _encode_one(IndexedRecord(record=item.replaces, parts=()), [], known),
    )


def _encode_vectors(vectors: list[Vector]) -> list[tuple[float, bytes]]:
    if not vectors:
        return []
    width = len(vectors[0])
    if any(len(vector) != width for vector in vectors):
        return [pair for vector in vectors for pair in _encode_vectors([vector])]
    matrix = np.stack(vectors).astype(np.float64)
    norms = np.sqrt(np.einsum("ij,ij->i", matrix, matrix))
    units = matrix / np.where(norms > 0, norms, 1.0)[:, None]
    raw = units.astype(_HALF).tobytes()
    step = width * _HALF.itemsize
    return [(norm, raw[row * step : (row + 1) * step]) for row, norm in enumerate(norms.tolist())]


def insert(
    connection: sqlite3.Connection, lane: int, placed: Sequence[tuple[int, int, EncodedRecord]]
) -> None:
    """Write records, each with its place in stored order and its space's id."""
    connection.executemany(
        _INSERT_RECORD, [(lane, seq, space, *item.record) for seq, space, item in placed]
    )
    connection.executemany(
        _INSERT_HOT,
        [
            (
                lane,
                seq,
                part,
                space,
                item.id,
                item.labels,
                pack_numbers(seq, *numbers),
                vec,
                lex,
            )
            for seq, space, item in placed
            for part, (numbers, vec, lex) in enumerate(item.parts)
        ],
    )


def unit_vectors(blobs: Sequence[bytes], dimensions: int) -> Vector:
    """Return stored vectors as rows of length one (or zero).

    Raises:
        BackendError: A stored vector is damaged.
    """
    raw = np.frombuffer(b"".join(blobs), dtype=np.uint8)
    if len(raw) != len(blobs) * dimensions * _HALF.itemsize:
        raise damaged()
    return _AS_FLOAT.take(raw.view(_HALF_BITS)).reshape(len(blobs), dimensions)


def joined_terms(blobs: Sequence[bytes]) -> tuple[Terms, np.ndarray[Any, np.dtype[np.int64]]]:
    """Return the term hashes of all rows, one after the other, and where each row's begin.

    Raises:
        BackendError: A row's terms are damaged.
    """
    offsets = np.zeros(len(blobs) + 1, dtype=np.int64)
    np.cumsum([len(blob) for blob in blobs], out=offsets[1:])
    if (offsets % _TERM.itemsize).any():
        raise damaged()
    terms = np.frombuffer(b"".join(blobs), dtype=_TERM).astype(np.uint32, copy=False)
    return terms, offsets // _TERM.itemsize


def read_parts(connection: sqlite3.Connection, lane: int, seq: int) -> tuple[RecordPart, ...]:
    """Return the parts of one record, with vectors of their true length."""
    rows = connection.execute(
        "select numbers, vec, lex from hot where lane = ? and seq = ? order by part", (lane, seq)
    )
    return tuple(_part(*row) for row in rows)


def _part(packed: bytes, vec: bytes, lex: bytes) -> RecordPart:
    numbers = Numbers.unpack(packed)
    unit = unit_vectors([vec], len(vec) // _HALF.itemsize)[0]
    return RecordPart(
        start=numbers.start,
        end=numbers.stop,
        vector=unit * np.float32(numbers.norm),
        terms=joined_terms([lex])[0],
    )


class RecordDecoder:
    """Makes records of one owner from rows of `RECORD_COLUMNS`."""

    def __init__(self, scope: Scope) -> None:
        self._scope = scope
        self._scopes: dict[tuple[str | None, str | None], Scope] = {}

    def record(self, agent: str | None, row: _Row) -> MemoryRecord:
        """Return the record of one row of an agent's lane.

        Raises:
            BackendError: The row is damaged.
        """
        _, record_id, version, session, actor, namespace, kind, source, *rest = row
        occurred, stored, updated, expires, tags, metadata, text, *rest = rest
        valid_from, valid_to, images, space = rest
        return MemoryRecord(
            id=record_id,
            text=text,
            scope=self._scope_of(agent, session),
            occurred_at=from_micros(occurred),
            stored_at=from_micros(stored),
            updated_at=from_micros(updated),
            namespace=namespace,
            kind=kind,
            metadata=parse_metadata(metadata),
            tags=parse_tags(tags),
            actor=actor,
            source=cast("Source", source),
            expires_at=None if expires is None else from_micros(expires),
            version=version,
            space=space,
            valid_from=None if valid_from is None else from_micros(valid_from),
            valid_to=None if valid_to is None else from_micros(valid_to),
            images=parse_images(images),
        )

    def _scope_of(self, agent: str | None, session: str | None) -> Scope:
        # Checking four ids costs more than all else here; a page has few sessions.
        found = self._scopes.get((agent, session))
        if found is None:
            owner = self._scope
            found = Scope(owner.user, tenant=owner.tenant, agent=agent, session=session)
            self._scopes[agent, session] = found
        return found
