"""How a record lies in a store: codes, keys, namespaces and metadata, fixed before any backend.

Nothing here may change for records that exist: a store written today is read by every later
version. The older tools' names are kept where the thing is the same, so that their indexes open.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import NamedTuple, cast
from urllib.parse import quote, unquote

from memlane.errors import ValidationError
from memlane.patterns import lazy
from memlane.scope import Scope

__all__ = (
    "EPOCH",
    "MAX_NAMESPACE_BYTES",
    "MAX_VERSIONS",
    "VectorKey",
    "agent_prefix",
    "check_kind",
    "check_record_id",
    "check_record_ids",
    "from_minutes",
    "idempotent_id",
    "in_namespace",
    "index_name",
    "namespace_segment",
    "normalize_namespace",
    "owner_prefix",
    "parse_vector_key",
    "record_key",
    "tenant_code",
    "to_minutes",
    "ulid",
    "ulid_time",
    "user_code",
    "vector_key",
)

EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
"""Times in filters are whole minutes since this moment: exact in float32 from 1989 to 2050."""

MAX_TENANT_CHARS = 56
"""Longest tenant that is its own code; `memory-` before it makes an index name of 63 at most."""

MAX_NAMESPACE_BYTES = 200
"""A namespace is filtered by prefix, so it lies unhashed among 2,048 filterable bytes."""

MAX_RECORD_ID_BYTES = 256
"""Three bytes each when escaped, plus the owner: within S3 Vectors' 1,024 bytes a key."""

MAX_VERSIONS = 100
"""Of one record, the current one aside. Ours: more is a journal, and no memory."""

_PLAIN_TENANT = lazy(r"[a-z0-9](?:[.-]?[a-z0-9])*")
_SLUG_CHARS = lazy(r"[^a-z0-9]+")
_KIND = lazy(r"[a-z0-9](?:[a-z0-9_.-]{0,30}[a-z0-9])?")
_CROCKFORD = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in _CROCKFORD for second in _CROCKFORD]
_DIGITS = str.maketrans(_CROCKFORD, "0123456789abcdefghijklmnopqrstuv")  # as `int` reads them
_ULID = lazy(r"[0-7][0-9A-HJKMNP-TV-Z]{25}")
_ULID_CHARS = 26
_ULID_TIME_CHARS = 10
_ID_SAFE = " !$&'()*+,;=:@-._~"
_OWNER_CHARS = 20
_AGENT_CHARS = 16  # 80 bits: with 40, two agents that share a key are found in seconds


def _digest(*parts: str | None) -> bytes:
    # JSON keeps the borders between parts and tells None from any string.
    return hashlib.sha256(json.dumps(parts, ensure_ascii=True).encode()).digest()


def _base32(raw: bytes, chars: int) -> str:
    return base64.b32encode(raw).decode().lower()[:chars]


def to_minutes(moment: datetime) -> int:
    """Return whole minutes from `EPOCH` to an aware `moment`, rounded down.

    Raises:
        ValidationError: The datetime is naive.
    """
    if moment.utcoffset() is None:
        raise ValidationError(
            "a datetime has no time zone", remedy="pass an aware datetime, such as now(UTC)"
        )
    return (moment - EPOCH) // timedelta(minutes=1)


def from_minutes(minutes: int) -> datetime:
    """Return the moment `minutes` after `EPOCH`."""
    return EPOCH + timedelta(minutes=minutes)


def _hashed_code(label: str, *parts: str | None) -> str:
    slug = _SLUG_CHARS().sub("-", label.lower())[:24].strip("-") or "t"
    return f"{slug}--{_base32(_digest(*parts), 26)}"


def tenant_code(tenant: str | None) -> str:
    """Return the name a tenant goes by in index names and session tags.

    Plain lower-case ids are their own code; all others, and those holding "--", are a slug and a
    hash, so two tenants never share one.
    """
    if tenant is None:
        return _hashed_code("none", None)
    if len(tenant) <= MAX_TENANT_CHARS and "--" not in tenant and _PLAIN_TENANT().fullmatch(tenant):
        return tenant
    return _hashed_code(tenant, tenant)


def user_code(tenant: str | None, user: str) -> str:
    """Return the name of one user's own index: always hashed, for tenant and user together."""
    return _hashed_code("u", tenant, user)


def index_name(code: str) -> str:
    """Return the index of a tenant or user code: 3 to 63 characters, S3 Vectors' alphabet."""
    return f"memory-{code}"


# The same few users ask again and again, and a hash costs more than a row of an answer.
@functools.lru_cache(maxsize=4096)
def _owner_prefix(tenant: str | None, user: str) -> str:
    return f"{_base32(_digest(tenant, user), _OWNER_CHARS)}/"


@functools.lru_cache(maxsize=1024)
def _agent_segment(agent: str | None) -> str:
    return f"{_base32(_digest(agent), _AGENT_CHARS)}/"


def owner_prefix(scope: Scope) -> str:
    """Return the key prefix that all records of a tenant's user share, ending in "/"."""
    return _owner_prefix(scope.tenant, scope.user)


def agent_prefix(scope: Scope) -> str:
    """Return the key prefix that the records of a user's agent share, ending in "/"."""
    return owner_prefix(scope) + _agent_segment(scope.agent)


def record_key(prefix: str, record_id: str) -> str:
    """Return the key of a record of the agent that `agent_prefix` is of."""
    if record_id.isalnum() and record_id.isascii():
        return prefix + record_id
    # "#" and "/" are escaped in the id, so no id can pose as a window or as another agent's.
    return prefix + quote(record_id, safe=_ID_SAFE)


def vector_key(scope: Scope, record_id: str, *, part: int = 0) -> str:
    """Return `{owner}/{agent}/{id}` for a record, with `#w{part}` for one of its windows."""
    suffix = f"#w{part}" if part else ""
    return f"{record_key(agent_prefix(scope), record_id)}{suffix}"


class VectorKey(NamedTuple):
    """The parts of a vector key of ours."""

    owner: str
    agent: str
    record_id: str
    part: int


_KEY = lazy(r"([a-z2-7]{20})/([a-z2-7]{16})/([^/#]+)(?:#w([1-9][0-9]*))?")


def parse_vector_key(key: str) -> VectorKey | None:
    """Return the parts of `key`, or None when an older tool wrote it."""
    found = _KEY().fullmatch(key)
    if found is None:
        return None
    owner, agent, record_id, part = found.groups()
    return VectorKey(owner, agent, unquote(record_id), int(part or 0))


def ulid(milliseconds: int, entropy: int) -> str:
    """Return a ULID: 48 bits of Unix time in ms and 80 bits of entropy, 26 sortable characters."""
    value = ((milliseconds & (2**48 - 1)) << 80) | (entropy & (2**80 - 1))
    return "".join([_PAIRS[(value >> shift) & 1023] for shift in range(120, -1, -10)])


def ulid_time(text: str) -> int | None:
    """Return the milliseconds of Unix time that a ULID begins with; None for other ids."""
    if len(text) != _ULID_CHARS or not _ULID().fullmatch(text):
        return None
    return int(text[:_ULID_TIME_CHARS].translate(_DIGITS), 32)


def idempotent_id(key: str) -> str:
    """Return the record id of an idempotency key: the same key is the same record."""
    if not isinstance(key, str) or not key:
        raise ValidationError(
            "idempotency_key must be a non-empty string", remedy="pass a unique id of the event"
        )
    return f"idem-{_base32(hashlib.sha256(key.encode('utf-8', 'surrogatepass')).digest(), 26)}"


def check_record_id(record_id: object) -> str:
    """Return a caller's own record id when every backend can hold it.

    Raises:
        ValidationError: Not a string, blank, too long, or with control characters or surrogates.
    """
    if not isinstance(record_id, str) or not record_id.strip():
        raise ValidationError(
            f"record_id must be a non-blank string, not {type(record_id).__name__}"
            if not isinstance(record_id, str)
            else "record_id is blank",
            remedy="pass a string id, or leave it out to get one",
        )
    try:
        size = len(record_id.encode("utf-8"))
    except UnicodeEncodeError as exc:
        raise ValidationError(
            "record_id holds a lone surrogate", remedy="decode the id properly first"
        ) from exc
    if size > MAX_RECORD_ID_BYTES:
        raise ValidationError(
            f"record_id has {size} bytes; at most {MAX_RECORD_ID_BYTES} are allowed",
            remedy="pass a shorter id, or a hash of it",
        )
    if not record_id.isprintable():
        raise ValidationError(
            "record_id holds a character that cannot be printed", remedy="pass a printable id"
        )
    return record_id


def check_record_ids(record_ids: object) -> list[str]:
    """Return one id or several as a list without repeats.

    Raises:
        ValidationError: Not ids.
    """
    if isinstance(record_ids, str):
        return [check_record_id(record_ids)]
    kind = type(record_ids).__name__
    if isinstance(record_ids, Mapping) or not isinstance(record_ids, Iterable):
        raise ValidationError(
            f"record ids must be a string or a list of strings, not {kind}",
            remedy="pass an id, or a list of ids",
        )
    several = cast("Iterable[object]", record_ids)
    return [*dict.fromkeys(check_record_id(record_id) for record_id in several)]


def check_kind(kind: object) -> str:
    """Return `kind` when it is 1 to 32 of a-z, 0-9, "_", "." and "-"."""
    if not isinstance(kind, str) or not _KIND().fullmatch(kind):
        raise ValidationError(
            "kind must be 1 to 32 lower-case letters, digits, '_', '.' or '-'",
            remedy="pass a kind such as 'fact'",
        )
    return kind


def namespace_segment(text: str) -> str:
    """Return `text` as one segment of a namespace: escaped, so "/" in an id opens no folder."""
    # "." and ".." are ids like any other, and no way up.
    return text.replace(".", "%2E") if text in {".", ".."} else quote(text, safe="-._~")


def normalize_namespace(namespace: object) -> str:
    """Return the namespace as it is stored: "/" at both ends, segments percent-escaped once.

    Raises:
        ValidationError: Not a string, not beginning with "/", an empty, "." or ".." segment, or
            over `MAX_NAMESPACE_BYTES`.
    """
    if not isinstance(namespace, str) or not namespace.startswith("/"):
        raise ValidationError(
            "namespace must be a string that begins with '/'",
            remedy="pass a path such as '/preferences/'",
        )
    if namespace == "/":
        return "/"
    path = namespace if namespace.endswith("/") else f"{namespace}/"
    segments = path[1:-1].split("/")
    if any(segment in {"", ".", ".."} for segment in segments):
        raise ValidationError(
            "namespace has an empty, '.' or '..' segment",
            remedy="pass a path such as '/preferences/travel/'",
        )
    try:
        # "%" is kept, so that segments made by namespace_segment are not escaped twice.
        escaped = "".join(f"{quote(segment, safe='-._~%')}/" for segment in segments)
    except UnicodeEncodeError as exc:
        raise ValidationError(
            "namespace holds a lone surrogate", remedy="decode the path properly first"
        ) from exc
    path = f"/{escaped}"
    if len(path) > MAX_NAMESPACE_BYTES:
        raise ValidationError(
            f"namespace has {len(path)} bytes when escaped; at most {MAX_NAMESPACE_BYTES} are "
            "allowed",
            remedy="use fewer or shorter segments",
        )
    return path


def in_namespace(namespace: str, subtree: str) -> bool:
    """Say whether a stored namespace lies in a subtree; "/users/u1/" is not in "/users/u/"."""
    return namespace.startswith(subtree)
