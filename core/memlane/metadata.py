"""A record as flat metadata beside its vector, and back: what every index stores.

Filterable values lie under short names, the older tools' where the thing is the same; exact forms
that a filter cannot hold lie in one JSON `payload` next to the text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, cast

from memlane.errors import BackendError
from memlane.layout import to_minutes
from memlane.scope import Scope
from memlane.sizing import filterable_subset
from memlane.types import ImageNote, MemoryRecord

__all__ = (
    "NON_FILTERABLE",
    "NO_AGENT",
    "agent_form",
    "from_metadata",
    "id_form",
    "notes_form",
    "notes_of",
    "payload_bytes",
    "record_fields",
    "to_metadata",
    "wire_name",
)


NON_FILTERABLE: Final = ("content", "stored_at", "payload", "row")
"""Keys an index of ours is created with as non-filterable: text, exact forms, ranking columns."""

MAX_FILTERABLE_ID_BYTES = 64
"""Longer ids are filtered by hash; the exact form is in the payload."""

_WIRE: Final[Mapping[str, str]] = MappingProxyType(
    {
        "@kind": "type",
        "@actor": "actor",
        "@agent": "agent_name",
        "@session": "conversation_id",
        "@tags": "tags",
        "@source": "source",
        "@namespace": "namespace",
        "@occurred_at": "occurred",
        "@stored_at": "stored",
        # No user's key begins so, not even of records that were stored before there were these.
        "@valid_from": "~valid_from",
        "@valid_to": "~valid_to",
    }
)
_RESERVED: Final = frozenset(
    {*_WIRE.values(), *NON_FILTERABLE, "user_id", "owner", "expires", "space", "part"}
)
NO_AGENT: Final = "default"
"""The older tools' word for records of no agent."""

_ALWAYS: Final = (None, None)
_NOTHING: Final[Mapping[str, Any]] = MappingProxyType({})


def wire_name(field: str) -> str:
    """Return the metadata key a filter field lies under; a user's key never meets one of ours."""
    if field in _WIRE:
        return _WIRE[field]
    return f"~{field}" if field in _RESERVED or field.startswith("~") else field


def id_form(value: str) -> str:
    """Return what a user, a session or an actor is filtered by: itself, or a hash if it is long."""
    size = len(value) if value.isascii() else len(value.encode("utf-8"))
    if size <= MAX_FILTERABLE_ID_BYTES and not value.startswith("#"):
        return value
    return _hashed_form(value)


def _hashed_form(value: str) -> str:
    digest = hashlib.sha256(value.encode("utf-8")).digest()
    return "#" + base64.b32encode(digest).decode().lower()[:26]


def agent_form(agent: str | None) -> str:
    """Return what an agent, or none, is filtered by."""
    if agent is None:
        return NO_AGENT
    # An agent that is called like no agent would meet every filter for none.
    return _hashed_form(agent) if agent == NO_AGENT else id_form(agent)


def record_fields(record: MemoryRecord) -> dict[str, Any]:
    """Return what filters see of a record: its own fields under "@", the user's plain keys."""
    fields: dict[str, Any] = dict(filterable_subset(record.metadata)) if record.metadata else {}
    fields["@kind"] = record.kind
    fields["@source"] = record.source
    fields["@namespace"] = record.namespace
    fields["@stored_at"] = stored = to_minutes(record.stored_at)
    fields["@occurred_at"] = (
        stored if record.occurred_at is record.stored_at else to_minutes(record.occurred_at)
    )
    if record.tags:
        fields["@tags"] = list(record.tags)
    if record.valid_from is not None:
        fields["@valid_from"] = to_minutes(record.valid_from)
    if record.valid_to is not None:
        fields["@valid_to"] = to_minutes(record.valid_to)
    if record.actor is not None:
        fields["@actor"] = record.actor
    if record.scope.agent is not None:
        fields["@agent"] = record.scope.agent
    if record.scope.session is not None:
        fields["@session"] = record.scope.session
    return fields


def _payload(record: MemoryRecord, told: str, dumps: Callable[[object], str]) -> str:
    scope, stored = record.scope, record.stored_at
    exact: dict[str, object] = {
        "v": record.version,
        "user": scope.user,
        # Mostly one and the same, and telling a time takes as long as all else here.
        "at": [
            told if record.occurred_at is stored else record.occurred_at.isoformat(),
            told,
            told if record.updated_at is stored else record.updated_at.isoformat(),
        ],
    }
    if scope.tenant is not None:
        exact["tenant"] = scope.tenant
    if scope.agent is not None:
        exact["agent"] = scope.agent
    if scope.session is not None:
        exact["session"] = scope.session
    if record.actor is not None:
        exact["actor"] = record.actor
    if record.expires_at is not None:
        exact["expires"] = record.expires_at.isoformat()
    if record.metadata:
        exact["metadata"] = dict(record.metadata)
    if record.images:
        exact["images"] = notes_form(record.images)
    if record.valid_from is not None or record.valid_to is not None:
        exact["valid"] = [_told(record.valid_from), _told(record.valid_to)]
    return dumps(exact)


def _told(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()


def _moment(told: str | None) -> datetime | None:
    return None if told is None else datetime.fromisoformat(told)


def notes_form(images: Sequence[ImageNote]) -> list[list[object]]:
    """Return what is kept of pictures as JSON says it."""
    return [[one.sha256, one.media_type, one.size, one.name, one.embedded] for one in images]


def notes_of(form: Sequence[Sequence[Any]]) -> tuple[ImageNote, ...]:
    """Return what `notes_form` was given.

    Raises:
        TypeError: It is of another form.
        ValueError: The same.
    """
    return tuple(
        ImageNote(sha256=sha256, media_type=media_type, size=size, name=name, embedded=embedded)
        for sha256, media_type, size, name, embedded in form
    )


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    raise TypeError(f"{type(value).__name__} is not JSON")


# `json.dumps` would make an encoder for each record, which takes longer than the encoding.
_encoded: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain).encode


def payload_bytes(record: MemoryRecord) -> int:
    """Return the bytes of text and payload together: at most `sizing.MAX_PAYLOAD_BYTES`."""
    payload = _payload(record, record.stored_at.isoformat(), _encoded)
    return len(record.text.encode("utf-8")) + len(payload.encode("utf-8"))


def to_metadata(
    record: MemoryRecord, *, part: int = 0, dumps: Callable[[object], str] = _encoded
) -> dict[str, Any]:
    """Return the flat metadata of one vector of a record.

    Args:
        record: The record.
        part: Which of its vectors.
        dumps: Writes JSON; a quicker one where there is one.
    """
    scope = record.scope
    told = record.stored_at.isoformat()
    flat = {_WIRE.get(key) or wire_name(key): value for key, value in record_fields(record).items()}
    flat |= {
        "user_id": id_form(scope.user),
        "agent_name": agent_form(scope.agent),
        "space": record.space,
        "part": part,
        "content": record.text,
        "stored_at": told,
        "payload": _payload(record, told, dumps),
    }
    if scope.session is not None:
        flat["conversation_id"] = id_form(scope.session)
    if record.actor is not None:
        flat["actor"] = id_form(record.actor)
    if record.expires_at is not None:
        # Rounded up: a filter may keep a record a minute too long, never drop one too early.
        flat["expires"] = to_minutes(record.expires_at) + 1
    return flat


class _Draft:
    """A record in the making: setting the fields of a frozen one takes ten times as long."""

    __slots__ = MemoryRecord.__slots__


def from_metadata(
    record_id: str,
    flat: Mapping[str, Any],
    *,
    loads: Callable[[str], Any] = json.loads,
    near: Scope | None = None,
) -> MemoryRecord:
    """Return the record that `to_metadata` described.

    Args:
        record_id: Its id.
        flat: What was stored.
        loads: Reads JSON; a quicker one where there is one.
        near: A scope that the record may be of. If it is, no equal one is made and checked.

    Raises:
        BackendError: The payload is missing or damaged.
    """
    try:
        exact = loads(flat["payload"])
        occurred, stored, updated = exact["at"]
        expires = exact.get("expires")
        made: Any = _Draft()
        made.id = record_id
        made.text = flat["content"]
        made.scope = _scope_of(exact, near)
        made.namespace = flat["namespace"]
        made.kind = flat["type"]
        made.metadata = MappingProxyType({**exact["metadata"]}) if "metadata" in exact else _NOTHING
        made.tags = tuple(flat.get("tags", ()))
        made.actor = exact.get("actor")
        made.source = flat["source"]
        # As they were told: mostly one and the same.
        made.stored_at = at = datetime.fromisoformat(stored)
        made.occurred_at = at if occurred == stored else datetime.fromisoformat(occurred)
        made.updated_at = at if updated == stored else datetime.fromisoformat(updated)
        made.expires_at = datetime.fromisoformat(expires) if expires else None
        made.version = exact["v"]
        made.space = flat["space"]
        valid_from, valid_to = exact.get("valid", _ALWAYS)
        made.valid_from, made.valid_to = _moment(valid_from), _moment(valid_to)
        made.images = notes_of(exact["images"]) if "images" in exact else ()
        made.__class__ = MemoryRecord
        record: MemoryRecord = made
    except (KeyError, TypeError, ValueError) as exc:
        raise BackendError(
            "a stored record's metadata is damaged", remedy="restore it from a backup or delete it"
        ) from exc
    return record


def _scope_of(exact: Mapping[str, Any], near: Scope | None) -> Scope:
    user, tenant = exact["user"], exact.get("tenant")
    agent, session = exact.get("agent"), exact.get("session")
    if (
        near is not None
        and near.user == user
        and near.tenant == tenant
        and near.agent == agent
        and near.session == session
    ):
        return near
    return Scope(user, tenant=tenant, agent=agent, session=session)
