"""The numbers and the labels of a row of `hot`, one value each: a scan's cost is values a row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from memlane.errors import BackendError

__all__ = (
    "NEVER",
    "Labels",
    "Numbers",
    "damaged",
    "joined_numbers",
    "pack_labels",
    "pack_numbers",
    "read_labels",
)

NEVER: Final = 2**63 - 1
"""The expiry of what does not expire."""

_FORM: Final = Struct("<qqqdiii")
_encoded: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_COLUMNS: Final = np.dtype(
    [
        ("seq", "<i8"),
        ("occurred", "<i8"),
        ("expires", "<i8"),
        ("norm", "<f8"),
        ("part", "<i4"),
        ("start", "<i4"),
        ("stop", "<i4"),
    ]
)


class Numbers(NamedTuple):
    """The numbers of one part of a record.

    Args:
        seq: The record's place in stored order, as in the key.
        occurred: Minutes since `layout.EPOCH`.
        expires: Microseconds since 1970, or `NEVER`.
        norm: The length of the vector; the stored one has length one.
        part: Which part, as in the key.
        start: Where in the text the part begins.
        stop: Where it ends.
    """

    seq: int
    occurred: int
    expires: int
    norm: float
    part: int
    start: int
    stop: int

    @classmethod
    def unpack(cls, stored: bytes) -> Numbers:
        """Return what `pack` was called on.

        Raises:
            BackendError: The stored bytes are damaged.
        """
        if len(stored) != _FORM.size:
            raise damaged()
        return cls(*_FORM.unpack(stored))


pack_numbers: Final = _FORM.pack
"""Takes what `Numbers` has, in that order, and returns the stored form."""


def joined_numbers(stored: Sequence[bytes]) -> npt.NDArray[np.void]:
    """Return the numbers of many rows, one field of the array for each of `Numbers`.

    Raises:
        BackendError: The stored bytes are damaged.
    """
    joined = b"".join(stored)
    if len(joined) != len(stored) * _FORM.size:
        raise damaged()
    return np.frombuffer(joined, dtype=_COLUMNS)


class Labels(NamedTuple):
    """What a query's conditions name; few different ones in a lane."""

    actor: str | None
    session: str | None
    namespace: str


def pack_labels(labels: Labels) -> str:
    """Return the stored form."""
    return _encoded(labels)


def read_labels(stored: str) -> Labels:
    """Return what `pack_labels` was given.

    Raises:
        BackendError: The stored text is damaged.
    """
    try:
        actor, session, namespace = cast("tuple[str | None, str | None, str]", json.loads(stored))
    except (TypeError, ValueError) as exc:
        raise damaged() from exc
    return Labels(actor, session, namespace)


def damaged() -> BackendError:
    """Return the error for a row that cannot have been written by this code."""
    return BackendError(
        "a stored vector is damaged",
        remedy="restore the file from a backup, or delete the record",
    )
