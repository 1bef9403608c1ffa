"""From what a caller wants remembered to a record that every backend can hold."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final, Literal, cast, get_args

from memlane.errors import ValidationError
from memlane.images import notes_of, unseen
from memlane.layout import check_kind, check_record_id, idempotent_id, normalize_namespace, ulid
from memlane.metadata import payload_bytes
from memlane.runtime import fork
from memlane.scope import Scope, check_id
from memlane.sizing import check_budget, check_metadata, check_tags, check_text
from memlane.trust import least_trusted
from memlane.types import MemoryRecord, NewMemory, Source

__all__ = ("UNSET", "RecordIds", "Unset", "changed", "new_record", "restored")

_SOURCES = frozenset(get_args(Source))
LIGHT_CHARS: Final = 4_096
"""A text of so many is within the bounds whatever its letters, and whoever it is of."""


@dataclass(frozen=True, slots=True)
class Unset:
    """The type of `UNSET`: an argument that was not given, where None is a value."""

    def __repr__(self) -> str:
        return "UNSET"

    def __bool__(self) -> Literal[False]:
        return False


UNSET: Final = Unset()


class RecordIds:
    """ULIDs that rise even within one millisecond, and when the clock goes back."""

    def __init__(self, entropy: Callable[[], int] = lambda: int.from_bytes(os.urandom(10))) -> None:
        self._entropy = entropy
        self._lock = threading.Lock()
        self._last = (-1, 0)
        fork.watch(self._after_fork)

    def new(self, now: datetime) -> str:
        """Return the next id."""
        milliseconds = max(0, int(now.timestamp() * 1000))
        with self._lock:
            if milliseconds > self._last[0]:
                # One bit is kept free, so that counting up never overflows into the time.
                self._last = (milliseconds, self._entropy() >> 1)
            else:
                self._last = (self._last[0], self._last[1] + 1)
            return ulid(*self._last)

    def _after_fork(self) -> None:
        # Parent and child would count on from the same id.
        self._lock = threading.Lock()
        self._last = (self._last[0] + 1, self._entropy() >> 1)


def _aware(moment: object, *, name: str) -> datetime:
    if not isinstance(moment, datetime):
        raise ValidationError(
            f"{name} must be a datetime, not {type(moment).__name__}",
            remedy="pass an aware datetime",
        )
    if moment.tzinfo is None or moment.utcoffset() is None:
        raise ValidationError(
            f"{name} has no time zone", remedy="pass an aware datetime, such as now(UTC)"
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError as exc:
        raise ValidationError(
            f"{name} is beyond the years 1 to 9999", remedy="pass a nearer time"
        ) from exc


def _expiry(new: NewMemory, now: datetime) -> datetime | None:
    if new.ttl is not None and new.expires_at is not None:
        raise ValidationError("both ttl and expires_at are given", remedy="pass one of them")
    if new.ttl is not None:
        ttl: object = new.ttl
        if not isinstance(ttl, timedelta):
            raise ValidationError(
                f"ttl must be a timedelta, not {type(ttl).__name__}",
                remedy="pass timedelta(days=30)",
            )
        if ttl <= timedelta(0):
            raise ValidationError("ttl is not positive", remedy="pass a length of time to keep it")
        try:
            return now + ttl
        except OverflowError as exc:
            raise ValidationError(
                "ttl reaches beyond the year 9999", remedy="leave ttl out to keep it for ever"
            ) from exc
    if new.expires_at is not None:
        return _end(new.expires_at, now)
    return None


def _end(expires_at: object, now: datetime) -> datetime:
    expires = _aware(expires_at, name="expires_at")
    if expires <= now:
        raise ValidationError(
            "expires_at has passed already", remedy="pass a time to come, or delete the record"
        )
    return expires


def _validity(moment: object, *, name: str) -> datetime | None:
    return None if moment is None else _aware(moment, name=name)


def _checked(record: MemoryRecord) -> MemoryRecord:
    since, until = record.valid_from, record.valid_to
    if since is not None and until is not None and since >= until:
        raise ValidationError(
            "valid_to is not after valid_from", remedy="pass the later moment as valid_to"
        )
    # Mostly it is a short text with nothing beside it, which is not weighed to be found light.
    if record.metadata or record.tags or record.images or len(record.text) > LIGHT_CHARS:
        weight = payload_bytes(record)
        check_budget(metadata=record.metadata, tags=record.tags, payload_bytes=weight)
    return record


def _source(source: object) -> Source:
    if not isinstance(source, str) or source not in _SOURCES:
        raise ValidationError("unknown source", remedy=f"pass one of {', '.join(sorted(_SOURCES))}")
    return source  # type: ignore[return-value] # membership was just checked


def new_record(
    new: NewMemory, *, scope: Scope, now: datetime, ids: RecordIds, space: str
) -> MemoryRecord:
    """Return the record `new` asks for, checked against every limit.

    Raises:
        ValidationError: Some field cannot be stored; the message names it and what to do.
    """
    if new.record_id is not None and new.idempotency_key is not None:
        raise ValidationError(
            "both record_id and idempotency_key are given", remedy="pass one of them"
        )
    if new.record_id is not None:
        record_id = check_record_id(new.record_id)
    elif new.idempotency_key is not None:
        record_id = idempotent_id(new.idempotency_key)
    else:
        record_id = ids.new(now)
    occurred = now if new.occurred_at is None else _aware(new.occurred_at, name="occurred_at")
    return _checked(
        MemoryRecord(
            id=record_id,
            text=check_text(new.content),
            scope=scope,
            namespace=normalize_namespace(new.namespace),
            kind=check_kind(new.kind),
            metadata=check_metadata({} if new.metadata is None else new.metadata),
            tags=check_tags(new.tags),
            actor=None if new.actor is None else check_id(new.actor, name="actor"),
            source=_source(new.source),
            occurred_at=occurred,
            stored_at=now,
            updated_at=now,
            expires_at=_expiry(new, now),
            version=1,
            space=space,
            valid_from=_validity(new.valid_from, name="valid_from"),
            valid_to=_validity(new.valid_to, name="valid_to"),
            images=notes_of(new),
        )
    )


def _following(
    record: MemoryRecord,
    fields: Mapping[str, object],
    *,
    space: str,
    labels: Sequence[str] | None,
) -> dict[str, object]:
    """Return what changes with other fields: tags by a redactor's labels, and pictures by space."""
    found: dict[str, object] = {}
    if labels is not None:
        tags = cast("Sequence[str]", fields.get("tags", record.tags))
        kept = () if _is_said_anew(record, fields) else record.tags
        found["tags"] = check_tags([*tags, *labels, *filter(_is_label, kept)])
    if space != record.space:
        found["images"] = unseen(record.images)
    return found


def _is_said_anew(record: MemoryRecord, fields: Mapping[str, object]) -> bool:
    """Say whether nothing stays of what a label of the record may be about."""
    named = any(note.name for note in record.images)
    return "text" in fields and ("metadata" in fields or not record.metadata) and not named


def _is_label(tag: str) -> bool:
    return tag.startswith(("pii:", "secret:"))


_CHECKS: Final[dict[str, Callable[[Any], object]]] = {
    "text": check_text,
    "metadata": lambda metadata: check_metadata({} if metadata is None else metadata),
    "tags": check_tags,
    "namespace": normalize_namespace,
    "kind": check_kind,
    "actor": lambda actor: None if actor is None else check_id(actor, name="actor"),
    "occurred_at": partial(_aware, name="occurred_at"),
    "valid_from": partial(_validity, name="valid_from"),
    "valid_to": partial(_validity, name="valid_to"),
}


def changed(
    record: MemoryRecord,
    *,
    now: datetime,
    space: str,
    labels: Sequence[str] | None = None,
    **given: object,
) -> MemoryRecord:
    """Return the next version of a record, with the given fields replaced.

    Its source is the less trusted of the one it had and the one given. `labels` are a redactor's,
    None is that there is no redactor: they are added to its tags, and are no change by themselves.
    Those it has stay for as long as what they may be about.

    Raises:
        ValidationError: Some field cannot be stored; the message names it and what to do.
    """
    checks: dict[str, Callable[[Any], object]] = {
        **_CHECKS,
        "source": lambda source: least_trusted(record.source, _source(source)),
        "expires_at": lambda moment: None if moment is None else _end(moment, now),
    }
    fields = {name: checks[name](value) for name, value in given.items()}
    if not fields:
        raise ValidationError("nothing to update", remedy="pass text, metadata or another field")
    fields |= _following(record, fields, space=space, labels=labels)
    return _checked(
        replace(record, **fields, version=record.version + 1, updated_at=now, space=space)  # type: ignore[arg-type] # each field was checked above
    )


def restored(record: MemoryRecord, old: MemoryRecord, *, now: datetime, space: str) -> MemoryRecord:
    """Return the next version of a record, saying what an older one said.

    What is not about its words stays as it is now: whose it is, and how long it is kept.
    """
    return _checked(
        replace(
            record,
            text=old.text,
            metadata=old.metadata,
            tags=old.tags,
            namespace=old.namespace,
            kind=old.kind,
            actor=old.actor,
            occurred_at=old.occurred_at,
            valid_from=old.valid_from,
            valid_to=old.valid_to,
            source=least_trusted(record.source, old.source),
            version=record.version + 1,
            updated_at=now,
            space=space,
            images=record.images if space == record.space else unseen(record.images),
        )
    )
