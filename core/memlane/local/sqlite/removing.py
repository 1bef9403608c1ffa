"""Records of a lane go with all that belongs to them, in a few statements for many of them."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from typing import Final

__all__ = ("clear_beneath", "remove", "remove_vectors")

_VECTORS: Final = ("hot", "shadow", "shadowed")
_ALL: Final = (*_VECTORS, "version", "record")
_SIZES: Final = (1, 20, 500)  # values of a statement; older SQLites take 999


def remove(connection: sqlite3.Connection, lane: int, places: Sequence[int]) -> None:
    """Remove records, their vectors and their versions."""
    _remove(connection, _ALL, lane, places)


def remove_vectors(connection: sqlite3.Connection, lane: int, places: Sequence[int]) -> None:
    """Remove records that others take the place of, and leave their versions."""
    _remove(connection, (*_VECTORS, "record"), lane, places)


def _remove(
    connection: sqlite3.Connection, tables: Sequence[str], lane: int, places: Sequence[int]
) -> None:
    left = sorted(places)
    if len(left) > 1 and left[-1] - left[0] + 1 == len(set(left)):
        # A page of a listing mostly is all that lies between its ends.
        for table in tables:
            connection.execute(
                f"delete from {table} where lane = ? and seq between ? and ?",  # noqa: S608
                (lane, left[0], left[-1]),
            )
        return
    while left:
        size = next((each for each in _SIZES if each >= len(left)), _SIZES[-1])
        chosen, left = left[:size], left[size:]
        # Statements of few different sizes are prepared once; a place may be named twice.
        chosen += [chosen[0]] * (size - len(chosen))
        marks = ", ".join("?" * size)
        for table in tables:
            connection.execute(
                f"delete from {table} where lane = ? and seq in ({marks})",  # noqa: S608
                (lane, *chosen),
            )


def clear_beneath(connection: sqlite3.Connection, lane: int, place: int) -> int:
    """Remove all records of a lane whose places are below one, and return how many."""
    count = 0
    for table in _ALL:
        cursor = connection.execute(
            f"delete from {table} where lane = ? and seq < ?",  # noqa: S608
            (lane, place),
        )
        count = cursor.rowcount
    return count
