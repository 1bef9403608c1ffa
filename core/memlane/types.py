"""The values that cross memlane's public surface: frozen, keyword-only, without behaviour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Generic, Literal, TypeAlias, TypeVar

from memlane.scope import Scope

__all__ = (
    "Content",
    "Duplicates",
    "Image",
    "ImageNote",
    "Match",
    "MemoryContext",
    "MemoryRecord",
    "Message",
    "MetadataValue",
    "NamespaceQuery",
    "NewMemory",
    "Page",
    "RetrievalMode",
    "RetrievalOptions",
    "Source",
    "Text",
)

T = TypeVar("T")

MetadataValue: TypeAlias = (
    "str | int | float | bool | None | Sequence[MetadataValue] | Mapping[str, MetadataValue]"
)
"""Anything JSON can say. Strings, numbers, booleans and flat lists of them can be filtered on."""

Source = Literal["app", "user", "assistant", "tool", "import"]
"""Who vouches for a record: the application, a person, a model, a tool, or an imported file."""

RetrievalMode = Literal["hybrid", "vector", "text"]
"""Which legs find and rank: both, the embedding alone, or the words alone."""

Duplicates = Literal["keep", "report", "collapse"]
"""What is done when a near-duplicate of a new record is there: nothing is looked for; the call's
receipt names it; the one that is there is returned, and no other is stored."""

_NO_METADATA: Mapping[str, MetadataValue] = MappingProxyType({})
_NO_FEATURES: Mapping[str, float] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Text:
    """Words among the parts of a memory.

    Args:
        text: The words.
    """

    text: str


@dataclass(frozen=True, slots=True)
class Image:
    """A picture among the parts of a memory. What is kept of it is its vector and an `ImageNote`.

    Args:
        source: The picture's bytes, or the path of a file.
        media_type: "image/png", "image/jpeg", "image/gif" or "image/webp"; told by the bytes if
            left out.
        name: What to call it; a path's own name if left out.
    """

    source: bytes | str | Path = field(repr=False)
    _: KW_ONLY
    media_type: str | None = None
    name: str | None = None


Content: TypeAlias = "str | Sequence[Text | Image]"
"""What is remembered: a text, or texts and pictures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageNote:
    """What a record keeps of a picture.

    Args:
        sha256: Of its bytes, as 64 hexadecimal digits.
        media_type: As in `Image`.
        size: Its bytes, counted.
        name: What it is called.
        embedded: Whether its vector is among the record's; else its caption alone finds it.
    """

    sha256: str
    media_type: str
    size: int
    name: str | None = None
    embedded: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryRecord:
    """One remembered thing.

    Args:
        id: Unique within tenant, user and agent; a ULID unless the caller chose it.
        text: What is remembered, exactly as it was given.
        scope: Whose it is; `scope.session` is where it came from.
        namespace: The path it lies at inside the scope; begins and ends with "/".
        kind: What sort of thing it is: "fact", "message", "summary", or the caller's own word.
        metadata: The caller's own JSON, returned exactly.
        tags: Labels, sorted, without duplicates.
        actor: Who said it.
        source: Who vouches for it.
        occurred_at: When it happened, aware UTC; when it was stored if nobody said.
        stored_at: When it was first stored, aware UTC.
        updated_at: When this version was stored, aware UTC.
        expires_at: When it stops existing, aware UTC; None is never.
        version: 1 when stored, one more with each update.
        space: Id of the embedding space its vectors belong to.
        valid_from: Since when it is true, aware UTC; None is since it happened.
        valid_to: Until when it is true, aware UTC, that moment excluded; None is still.
        images: What is kept of its pictures.
    """

    id: str
    text: str
    scope: Scope
    occurred_at: datetime
    stored_at: datetime
    updated_at: datetime
    namespace: str = "/"
    kind: str = "fact"
    metadata: Mapping[str, MetadataValue] = field(default_factory=lambda: _NO_METADATA)
    tags: tuple[str, ...] = ()
    actor: str | None = None
    source: Source = "app"
    expires_at: datetime | None = None
    version: int = 1
    space: str = ""
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    images: tuple[ImageNote, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Match:
    """A record that answers a query.

    Args:
        record: The record.
        score: 0..1, the recipe's weighted sum over the sum of its weights. It sorts one answer
            and means nothing outside of it.
        similarity: 0..1, from the embedding alone, comparable between answers of one embedding
            space; None in text mode.
        passage: The part of the text that matched best: of a long text a window with the
            sentences around it, else the whole text.
        relevance: 0..1, how likely it is about what was asked at all, by meaning or by words,
            comparable between embedding spaces; None in text mode, and for a model whose scale
            is not known yet.
        features: Why it ranks: each feature's weighted share of the score, by name; "asking" is
            what a bare question loses, and negative; "supersedes" is what a newer statement gains
            by an older one whose place it takes, and "superseded" what that one loses.
        label: What the client's trust policy says of it, such as "unverified"; "" is nothing.
    """

    record: MemoryRecord
    score: float
    similarity: float | None
    passage: str
    relevance: float | None = None
    features: Mapping[str, float] = field(default_factory=lambda: _NO_FEATURES)
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewMemory:
    """One record to be stored by `store_many`; the fields are those of `store`."""

    content: Content
    namespace: str = "/"
    kind: str = "fact"
    metadata: Mapping[str, MetadataValue] | None = None
    tags: Sequence[str] = ()
    actor: str | None = None
    occurred_at: datetime | None = None
    ttl: timedelta | None = None
    expires_at: datetime | None = None
    record_id: str | None = None
    idempotency_key: str | None = None
    source: Source = "app"
    valid_from: datetime | None = None
    valid_to: datetime | None = None
    duplicates: Duplicates = "keep"


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One turn of a conversation as it happened.

    Args:
        role: Who takes the turn, in the words of model APIs.
        text: What was said.
        actor: Who said it, when the role alone does not tell.
        occurred_at: When, aware; None is now.
    """

    role: Literal["user", "assistant", "tool", "system"]
    text: str
    actor: str | None = None
    occurred_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """Some of a listing, and where it goes on.

    Args:
        items: At most as many as were asked for.
        cursor: Pass it to the next call; None is the end. It works for this scope and query only.
    """

    items: tuple[T, ...]
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class MemoryContext:
    """Recalled memories as a block of text to put before a model, as data.

    Args:
        text: The block, escaped, fenced and labelled untrusted; "" when nothing was recalled.
        matches: What is in it, best first.
        tokens: Estimated size of `text` in tokens, never above the budget.
        omitted: Matches that did not fit the budget.
    """

    text: str
    matches: tuple[Match, ...]
    tokens: int
    omitted: int


@dataclass(frozen=True, slots=True, kw_only=True)
class NamespaceQuery:
    """One subtree to recall from, with its own limits.

    Args:
        path: The namespace, ending in "/"; everything below it is meant.
        limit: At most this many matches from it.
        min_similarity: 0..1; matches below it are left out.
    """

    path: str
    limit: int = 10
    min_similarity: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrievalOptions:
    """How recall differs from the default.

    Args:
        include_agents: The supervisor's view: records of all of the user's agents.
        only_session: Only records of `scope.session`.
        namespaces: Recall from several subtrees at once, each with limits of its own.
        min_relevance: 0..1; answer nothing at all when no match is so relevant. 0.5 is a fair
            value, see docs/concepts. A model whose scale is not known is measured once, with 120
            short texts.
        candidates: Nearest records asked of the backend before ranking, from 1 to 10,000; never
            fewer than the answer's limit. None is 100. A backend that looks at every record
            anyway may rank more.
        as_of: Recall as of this moment, aware: what was true and had been said then, in the words
            it had then. None is now.
        supersede: Let a newer statement of the same thing by the same owner take the older one's
            place in the answer. Nothing is changed in the store.
    """

    include_agents: bool = False
    only_session: bool = False
    namespaces: tuple[NamespaceQuery, ...] = ()
    min_relevance: float | None = None
    candidates: int | None = None
    as_of: datetime | None = None
    supersede: bool = True
