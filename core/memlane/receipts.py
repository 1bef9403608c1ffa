"""What calls say of themselves afterwards: counted, and without a word of what is remembered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

__all__ = (
    "CallReceipt",
    "Finding",
    "ForgetReceipt",
    "ImportReceipt",
    "Progress",
    "Redaction",
    "ReembedPlan",
    "ReembedReceipt",
    "Residue",
    "TenantStats",
)

Residue = Literal["none", "wal", "backups", "unknown"]
"""Where forgotten bytes may still lie: nowhere, in a write-ahead log, in backups, not known."""

_NONE: Mapping[str, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class ForgetReceipt:
    """What `forget` did, counted.

    Args:
        found: Records that were there.
        deleted: Records that are gone.
        failed: Ids that could not be deleted.
        verified_empty: A second reading of the scope found nothing.
        residue: Where the bytes may still lie.
    """

    found: int
    deleted: int
    failed: tuple[str, ...]
    verified_empty: bool
    residue: Residue


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a long call is.

    Args:
        done: Records dealt with.
        total: Records there are, where that is known.
    """

    done: int
    total: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportReceipt:
    """What `import_records` did, counted.

    Args:
        imported: Records stored now.
        skipped: Records that an earlier import of the file had stored, that are twice in it, or
            that have expired.
        embedded: Of the imported, those whose vectors were made anew.
    """

    imported: int
    skipped: int
    embedded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TenantStats:
    """What a tenant has, counted.

    Args:
        users: Users with records.
        records: Records in somebody's reach.
        expired: Records that are in nobody's reach and not swept yet.
        versions: Kept versions, the current ones aside.
        vectors: Vectors, of whole texts and of windows.
        text_bytes: UTF-8 bytes of the records' texts.
        spaces: Records by the embedding space they are of.
    """

    users: int
    records: int
    expired: int
    versions: int
    vectors: int
    text_bytes: int
    spaces: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReembedPlan:
    """What taking a tenant to another embedding space will cost, before it begins.

    Args:
        space: Id of the new space.
        records: Records to be embedded anew.
        characters: Of their texts.
        tokens: Estimated from those.
        dollars: Estimated from the tokens and the model's price; None where that is not known.
        begun: Records that an earlier attempt has embedded already.
    """

    space: str
    records: int
    characters: int
    tokens: int
    dollars: float | None
    begun: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ReembedReceipt:
    """What `reembed` did.

    Args:
        space: Id of the space that the tenant is in now.
        records: Records the tenant has.
        embedded: Records this call embedded; the others an earlier attempt had.
    """

    space: str
    records: int
    embedded: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """Something a redactor found. What it was is not told.

    Args:
        kind: Such as "email", "phone", "card", "aws_key" or "token".
        start: First character in the text as it came.
        end: One past the last.
    """

    kind: str
    start: int
    end: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Redaction:
    """What a redactor made of a text.

    Args:
        text: The text as it may be kept.
        findings: What was found in it.
        tags: Labels that the record is to carry.
    """

    text: str
    findings: tuple[Finding, ...] = ()
    tags: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReceipt:
    """What one call took.

    Args:
        operation: The verb.
        tenant: Whose; the user is not told.
        seconds: From the beginning to the end.
        requests: Requests to services, each attempt; what several calls share counts for one.
        retries: Of those, the ones that repeated another.
        operations: Those requests by the service's own name for what was asked.
        bytes_sent: Of the requests' bodies.
        bytes_received: Of the answers' bodies.
        embedded: Texts and pictures that the model embedded.
        tokens: Tokens the model counted; 0 where it counts none.
        cache_hits: Query vectors that were known.
        near_duplicates: Ids of records found there that say nearly the same; see `Duplicates`.
        redacted: What a redactor found, counted by kind.
        failed: The class of the error that ended it, by name; None when it did what it should.
    """

    operation: str
    tenant: str | None
    seconds: float = 0.0
    requests: int = 0
    retries: int = 0
    operations: Mapping[str, int] = field(default_factory=lambda: _NONE)
    bytes_sent: int = 0
    bytes_received: int = 0
    embedded: int = 0
    tokens: int = 0
    cache_hits: int = 0
    near_duplicates: tuple[str, ...] = ()
    redacted: Mapping[str, int] = field(default_factory=lambda: _NONE)
    failed: str | None = None
