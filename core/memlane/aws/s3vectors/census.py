"""What an index holds and what its records say, so that two can be compared, or one be filled."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from memlane.aws._extra import orjson
from memlane.aws.s3vectors.actors import is_actors_key
from memlane.aws.s3vectors.copies import is_copy_key, whole_of
from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.naming import is_reserved
from memlane.aws.s3vectors.records import decoded, flat_of, parts_of
from memlane.errors import BackendError
from memlane.layout import agent_prefix, parse_vector_key, record_key
from memlane.metadata import to_metadata
from memlane.types import MemoryRecord

__all__ = ("Census", "as_put", "counted", "said", "target_of")

Vector: TypeAlias = Mapping[str, Any]


def said(flat: Mapping[str, Any]) -> bytes:
    """Return a mark of what a record says, whatever its vectors, in memlane's own form."""
    exact = orjson.loads(flat["payload"])
    exact.pop("images", None)  # one whose vector could not be made anew is still the same record
    told = [
        flat["content"], flat["namespace"], flat["type"], flat["source"], flat.get("tags"), exact,
    ]  # fmt: skip
    raw = orjson.dumps(told, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(raw, digest_size=16).digest()


def target_of(record: MemoryRecord) -> str:
    """Return the key that a record has where memlane stores it."""
    return record_key(agent_prefix(record.scope), record.id)


class Census:
    """What one index holds, by key.

    Attributes:
        wholes: What records say, by the key they have, or would have, in memlane's form.
        parts: How many vectors each of them has.
        windows: Keys of windows.
        copies: Keys of versions that are kept.
        names: Keys of those who spoke.
        foreign: Keys of records and windows that are of another space than is counted.
        unreadable: Vectors of other tools that name nobody, and what is damaged.
        damaged: Ids of records that are.

    Args:
        tenant: Whose index it is.
        space: That alone is counted; None counts all.
    """

    def __init__(self, tenant: str | None, space: str | None = None) -> None:
        self.wholes: dict[str, bytes] = {}
        self.parts: dict[str, int] = {}
        self.windows: set[str] = set()
        self.copies: set[str] = set()
        self.names: set[str] = set()
        self.foreign: list[str] = []
        self.unreadable = 0
        self.damaged: list[str] = []
        self._tenant = tenant
        self._space = space

    async def take(self, vectors: Sequence[Vector]) -> None:
        """Take a page."""
        for vector in vectors:
            self._take(vector)

    def _take(self, vector: Vector) -> None:
        key, flat = vector["key"], flat_of(vector)
        if is_copy_key(key):
            self.copies.add(key)
        elif is_actors_key(key):
            self.names.add(key)
        elif is_reserved(key):
            return
        else:
            parsed = parse_vector_key(key)
            if self._space is not None and flat.get("space") != self._space:
                self.foreign.append(key)
                return
            if parsed is not None and parsed.part:
                self.windows.add(key)
                return
            try:
                target, flat = self._told(key, flat)
                self.wholes[target] = said(flat)
                self.parts[target] = parts_of(flat)
            except (BackendError, KeyError, TypeError, ValueError):
                self.unreadable += 1
                if parsed is not None:
                    self.damaged.append(parsed.record_id)

    def _told(self, key: str, flat: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        record = decoded(key, flat, tenant=self._tenant)
        if parse_vector_key(key) is not None:
            return key, flat
        return target_of(record), to_metadata(record)

    def torn(self) -> list[str]:
        """Return the keys of records some of whose windows are missing."""
        return [
            whole
            for whole, parts in self.parts.items()
            if any(f"{whole}#w{number}" not in self.windows for number in range(1, parts))
        ]

    def beside(self, wholes: set[str]) -> list[str]:
        """Return the keys of windows and copies of records."""
        return [key for key in (*self.windows, *self.copies) if whole_of(key) in wholes]


async def counted(index: Index, *, space: str | None = None) -> Census:
    """Return what an index holds, of a space or of all; its metadata is read as a whole."""
    census = Census(index.scope.tenant, space)
    await index.each_page(census.take, metadata=True)
    return census


def as_put(vector: Vector, *, dimension: int | None = None) -> bytes:
    """Return a vector that was read as PutVectors takes it.

    Args:
        vector: With metadata, and with data unless that means nothing.
        dimension: Of a direction that means nothing; None keeps what was read.
    """
    data: Any = (
        np.array(vector["data"]["float32"], dtype=np.float32)
        if dimension is None
        else [-1.0, *[0.0] * (dimension - 1)]
    )
    told = {"key": vector["key"], "data": {"float32": data}, "metadata": flat_of(vector)}
    return orjson.dumps(told, option=orjson.OPT_SERIALIZE_NUMPY)
