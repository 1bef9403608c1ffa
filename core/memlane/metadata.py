"""A record as flat metadata beside its vector, and back: what every index stores.

Filterable values lie under short names, the older tools' where the thing is the same; exact forms
that a filter cannot hold lie in one JSON `payload` next to the text.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final, cast

from memlane.errors import BackendError
from memlane.layout import to_minutes
from memlane.scope import Scope
from memlane.sizing import filterable_subset
from memlane.types import MemoryRecord

__all__ = (
    "NON_FILTERABLE",
    "NO_AGENT",
    "agent_form",
    "from_metadata",
    "id_form",
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
    }
)
_RESERVED: Final = frozenset(
    {*_WIRE.values(), *NON_FILTERABLE, "user_id", "owner", "expires", "space", "part"}
)
NO_AGENT: Final = "default"
"""The older tools' word for records of no agent."""


def wire_name(field: str) -> str:
    """Return the metadata key a filter field lies under; a user's key never meets one of ours."""
    if field in _WIRE:
        return _WIRE[field]
    return f"~{field}" if field in _RESERVED or field.startswith("~") else field


def id_form(value: str) -> str:
    """Return what a user, a session or an actor is filtered by: itself, or a hash if it is long."""
    if len(value.encode("utf-8")) <= MAX_FILTERABLE_ID_BYTES and not value.startswith("#"):
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
    fields: dict[str, Any] = dict(filterable_subset(record.metadata))
    fields["@kind"] = record.kind
    fields["@source"] = record.source
    fields["@namespace"] = record.namespace
    fields["@stored_at"] = stored = to_minutes(record.stored_at)
    fields["@occurred_at"] = (
        stored if record.occurred_at is record.stored_at else to_minutes(record.occurred_at)
    )
    if record.tags:
        fields["@tags"] = list(record.tags)
    named = {
        "@actor": record.actor,
        "@agent": record.scope.agent,
        "@session": record.scope.session,
    }
    return fields | {name: value for name, value in named.items() if value is not None}


def _payload(record: MemoryRecord) -> str:
    stored = record.stored_at
    told = stored.isoformat()
    exact: dict[str, object] = {
        "v": record.version,
        "user": record.scope.user,
        # Mostly one and the same, and telling a time takes as long as all else here.
        "at": [
            told if record.occurred_at is stored else record.occurred_at.isoformat(),
            told,
            told if record.updated_at is stored else record.updated_at.isoformat(),
        ],
    }
    optional: dict[str, object] = {
        "tenant": record.scope.tenant,
        "agent": record.scope.agent,
        "session": record.scope.session,
        "actor": record.actor,
        "expires": record.expires_at.isoformat() if record.expires_at else None,
        "metadata": dict(record.metadata) or None,
    }
    exact |= {name: value for name, value in optional.items() if value is not None}
    return _encoded(exact)


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return dict(cast("Mapping[str, object]", value))
    raise TypeError(f"{type(value).__name__} is not JSON")


# `json.dumps` would make an encoder for each record, which takes longer than the encoding.
_encoded: Final = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"), default=_plain).encode


def payload_bytes(record: MemoryRecord) -> int:
    """Return the bytes of text and payload together: at most `sizing.MAX_PAYLOAD_BYTES`."""
    return len(record.text.encode("utf-8")) + len(_payload(record).encode("utf-8"))


def to_metadata(record: MemoryRecord, *, part: int = 0) -> dict[str, Any]:
    """Return the flat metadata of one vector of a record."""
    scope = record.scope
    flat = {wire_name(key): value for key, value in record_fields(record).items()}
    flat |= {
        "user_id": id_form(scope.user),
        "agent_name": agent_form(scope.agent),
        "space": record.space,
        "part": part,
        "content": record.text,
        "stored_at": record.stored_at.isoformat(),
        "payload": _payload(record),
    }
    if scope.session is not None:
        flat["conversation_id"] = id_form(scope.session)
    if record.actor is not None:
        flat["actor"] = id_form(record.actor)
    if record.expires_at is not None:
        # Rounded up: a filter may keep a record a minute too long, never drop one too early.
        flat["expires"] = to_minutes(record.expires_at) + 1
    return flat


def from_metadata(
    record_id: str, flat: Mapping[str, Any], *, loads: Callable[[str], Any] = json.loads
) -> MemoryRecord:
    """Return the record that `to_metadata` described.

    Args:
        record_id: Its id.
        flat: What was stored.
        loads: Reads JSON; a quicker one where there is one.

    Raises:
        BackendError: The payload is missing or damaged.
    """
    try:
        exact = loads(flat["payload"])
        occurred, stored, updated = exact["at"]
        expires = exact.get("expires")
        return MemoryRecord(
            id=record_id,
            text=flat["content"],
            scope=Scope(
                exact["user"],
                tenant=exact.get("tenant"),
                agent=exact.get("agent"),
                session=exact.get("session"),
            ),
            namespace=flat["namespace"],
            kind=flat["type"],
            metadata=MappingProxyType({**exact.get("metadata", {})}),
            tags=tuple(flat.get("tags", ())),
            actor=exact.get("actor"),
            source=flat["source"],
            occurred_at=datetime.fromisoformat(occurred),
            stored_at=datetime.fromisoformat(stored),
            updated_at=datetime.fromisoformat(updated),
            expires_at=datetime.fromisoformat(expires) if expires else None,
            version=exact["v"],
            space=flat["space"],
        )
    except (KeyError, TypeError, ValueError) as exc:
        raise BackendError(
            "a stored record's metadata is damaged", remedy="restore it from a backup or delete it"
        ) from exc
