"""When a record is true, and what it said at a moment that is gone."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from memlane.errors import InvalidFilterError
from memlane.filters import Filter
from memlane.types import MemoryRecord

__all__ = ("changed_since", "held", "narrowed", "said_by", "words_then")


def held(record: MemoryRecord, now: datetime) -> bool:
    """Say whether a record is true now; one that names no times always is."""
    since, until = record.valid_from, record.valid_to
    return (since is None or since <= now) and (until is None or now < until)


def said_by(record: MemoryRecord, moment: datetime) -> bool:
    """Say whether a version of a record had been said at a moment, and was true."""
    return (record.valid_from or record.occurred_at) <= moment and held(record, moment)


def changed_since(record: MemoryRecord, moment: datetime) -> bool:
    """Say whether a record has other words now than it had at a moment."""
    return record.version > 1 and record.updated_at > moment


def words_then(kept: Sequence[MemoryRecord], moment: datetime) -> MemoryRecord | None:
    """Return the version of a changed record that stood at a moment.

    A record stored after the moment, about something before it, stood with its first words. None
    where the words of that time are kept no more: other words would be put into somebody's mouth.

    Args:
        kept: Its versions but the current one, the newest first.
        moment: When.
    """
    for version in kept:
        if version.updated_at <= moment:
            return version
    oldest = min(kept, key=lambda version: (version.updated_at, version.version), default=None)
    return oldest if oldest is not None and oldest.updated_at <= oldest.stored_at else None


def narrowed(
    condition: Filter | None, *, as_of: datetime | None, trusted: Filter | None
) -> Filter | None:
    """Return what a backend may narrow by: never more than is true of each match.

    It is checked of every record that comes back besides, so that a filter as large as filters
    may be goes alone.

    Args:
        condition: The caller's.
        as_of: Only what was stored, had happened or was true by then.
        trusted: Only what these sources vouch for.
    """
    # An update keeps neither the text nor the times: one of the three is of the words then.
    by_then = (
        None
        if as_of is None
        else Filter.or_(
            Filter.lte("@occurred_at", as_of),
            Filter.lte("@stored_at", as_of),
            Filter.lte("@valid_from", as_of),
        )
    )
    every = [one for one in (condition, trusted, by_then) if one is not None]
    if not every:
        return None
    try:
        return every[0] if len(every) == 1 else Filter.and_(*every)
    except InvalidFilterError:
        return condition
