"""Pages for a backend that can list what is in reach, and needs no order of its own."""

from __future__ import annotations

from collections.abc import Iterable

from memlane.checks import check_limit
from memlane.errors import InvalidCursorError
from memlane.filters import Filter
from memlane.layout import in_namespace
from memlane.metadata import record_fields
from memlane.protocols import ScanPage
from memlane.types import MemoryRecord

__all__ = ("lists", "page_of")

_MARK = "\n"  # in no agent and in no id: both are printable


def lists(record: MemoryRecord, *, namespace: str, filter: Filter | None) -> bool:  # noqa: A002
    """Say whether a listing with these conditions holds the record."""
    return in_namespace(record.namespace, namespace) and (
        filter is None or filter.matches(record_fields(record))
    )


def page_of(
    records: Iterable[MemoryRecord],
    *,
    namespace: str = "/",
    filter: Filter | None = None,  # noqa: A002 - the public word for it
    cursor: str | None = None,
    limit: int = 100,
) -> ScanPage:
    """Return the answer to `scan` from all records within reach, in the order of agent and id.

    The cursor is the last record of a page, not a number to skip: records that come and go between
    two pages make no other be skipped or met twice.

    Raises:
        InvalidCursorError: The cursor is not one of this function's.
    """
    check_limit(limit)
    if cursor is not None and _MARK not in cursor:
        raise InvalidCursorError(
            "this is not a cursor of this listing",
            operation="scan",
            remedy="start again without a cursor",
        )
    found = {
        f"{record.scope.agent or ''}{_MARK}{record.id}": record
        for record in records
        if lists(record, namespace=namespace, filter=filter)
    }
    places = sorted(place for place in found if place > (cursor or ""))
    return ScanPage(
        records=tuple(found[place] for place in places[:limit]),
        cursor=places[limit - 1] if len(places) > limit else None,
    )
