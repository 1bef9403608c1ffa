"""What the state machine chooses from: few values, so that they meet, and awkward ones."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeAlias

from hypothesis import strategies as st

from memlane.filters import FilterLike
from memlane.scope import Scope
from memlane.testing.fakes import START
from memlane.types import MemoryRecord, MetadataValue, NewMemory, Source

__all__ = (
    "CONDITIONS",
    "IDS",
    "NAMESPACES",
    "VOCABULARY",
    "Condition",
    "changes",
    "conditions",
    "is_never",
    "metadata",
    "moments",
    "namespaces",
    "new_memories",
    "scopes",
    "texts",
)

_Predicate: TypeAlias = Callable[[MemoryRecord], bool]

VOCABULARY = ("window", "seat", "dog", "paris", "tokyo", "zebra", "quartz")
"""Words no two of which share a stem, and none of which is a stop word."""

IDS = ("a", "A", "a/\u00e9")
KEYS = ("k1", "k2")
NAMESPACES = {"/": "/", "/a": "/a/", "/a/b/": "/a/b/", "/ab/": "/ab/", "/u x/": "/u%20x/"}
"""As a caller writes them, and as they are kept."""


@dataclass(frozen=True)
class Condition:
    """A filter with what it means, said without the filter's own code."""

    given: FilterLike | None
    holds: _Predicate

    def __repr__(self) -> str:
        return f"Condition({self.given!r})"


def _number(value: object) -> float | None:
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def _above(record: MemoryRecord, edge: float) -> bool:
    number = _number(record.metadata.get("n"))
    return number is not None and number > edge


def _is_red(record: MemoryRecord) -> bool:
    color = record.metadata.get("color")
    return color == "red" or (isinstance(color, list) and "red" in color)


CONDITIONS = (
    Condition(None, lambda _: True),
    Condition({"color": "red"}, _is_red),
    Condition({"color": {"$ne": "red"}}, lambda record: not _is_red(record)),
    Condition({"n": {"$gt": 1}}, lambda record: _above(record, 1)),
    Condition({"@tags": {"$in": ["x", "z"]}}, lambda r: bool({"x", "z"} & {*r.tags})),
    Condition({"@actor": {"$exists": False}}, lambda record: record.actor is None),
    Condition({"@kind": "message"}, lambda record: record.kind == "message"),
    Condition({"@session": "s1"}, lambda record: record.scope.session == "s1"),
    Condition(
        {"$or": [{"n": {"$gt": 3}}, {"$and": [{"color": "red"}, {"@source": "user"}]}]},
        lambda record: _above(record, 3) or (_is_red(record) and record.source == "user"),
    ),
)

_METADATA: tuple[dict[str, MetadataValue], ...] = (
    {},
    {"color": "red", "n": 1},
    {"color": ["red", "blue"], "n": 2.5},
    {"color": None, "n": True, "deep": {"color": "red", "list": [None, {"x": []}]}},
    {"n": 7, "on": False, "\u05e9": "\0"},
)
_SCOPES = (
    Scope("u1", tenant="t"),
    Scope("u1", tenant="t", session="s1"),
    Scope("u1", tenant="t", session="s2"),
    Scope("u1", tenant="t", agent="a"),
    Scope("u1", tenant="t", agent="a", session="s1"),
    Scope("u10", tenant="t", session="s2"),
    Scope("u1", tenant="T"),
    Scope("u1"),
)
_EVENT = "Window dog"  # so that the same event is stored again, with the same words
_LIFETIMES = (None, None, timedelta(microseconds=1), timedelta(minutes=1), timedelta(days=9))
_SOURCES: tuple[Source, ...] = ("app", "user", "tool")
_VALIDITIES: tuple[tuple[datetime | None, datetime | None], ...] = (
    *(((None, None),) * 4),
    (START - timedelta(days=1), None),
    (None, START + timedelta(minutes=1, microseconds=1)),
    (START + timedelta(minutes=1), START + timedelta(days=9)),
    (START - timedelta(days=9), START),
)
_CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {},
    {},
    {"kind": "note"},
    {"actor": None},
    {"tags": ("q", "x")},
    {"actor": "Bob"},
    {"source": "user"},
    {"source": "assistant"},
    {"source": "import"},
    {"source": "tool", "valid_to": None},
    {"valid_to": START + timedelta(seconds=59)},
    {"valid_from": START + timedelta(minutes=1), "valid_to": None},
    {"valid_from": None, "occurred_at": START - timedelta(days=2)},
)


def scopes() -> st.SearchStrategy[Scope]:
    """Mostly one user's agents and sessions, and some who are easily taken for that user."""
    return st.sampled_from((*_SCOPES[:4] * 2, *_SCOPES))


def _spoken(words: list[str], times: int) -> str:
    return ". ".join([" ".join(words).capitalize()] * times)


def texts() -> st.SearchStrategy[str]:
    """Some words; now and then enough of them to be cut into windows."""
    some = st.lists(st.sampled_from(VOCABULARY), min_size=1, max_size=4, unique=True)
    times = st.sampled_from((1, 1, 1, 1, 60))
    return st.builds(_spoken, some, times)


def metadata() -> st.SearchStrategy[dict[str, MetadataValue]]:
    """Flat, listed and nested metadata."""
    return st.sampled_from(_METADATA)


def namespaces() -> st.SearchStrategy[str]:
    """Namespaces as a caller writes them."""
    return st.sampled_from((*("/",) * 4, *NAMESPACES))


def conditions() -> st.SearchStrategy[Condition]:
    """Filters, or none."""
    return st.sampled_from((*CONDITIONS[:1] * 2 * len(CONDITIONS), *CONDITIONS))


def moments() -> st.SearchStrategy[timedelta | None]:
    """How far from now a recall is meant to be; mostly it is of now."""
    ago = (timedelta(), -timedelta(microseconds=1), -timedelta(minutes=1), timedelta(days=1))
    return st.sampled_from((None, None, None, None, *ago, -timedelta(days=9)))


def changes() -> st.SearchStrategy[dict[str, Any]]:
    """What an update changes besides."""
    return st.sampled_from(_CHANGES)


def is_never(fields: Mapping[str, Any]) -> bool:
    """Say whether validity would end before it begins."""
    since, until = fields["valid_from"], fields["valid_to"]
    return since is not None and until is not None and since >= until


@st.composite
def new_memories(draw: st.DrawFn) -> NewMemory:
    """What `store` and `store_many` take; with an id, an idempotency key, or neither."""
    name = draw(st.sampled_from(("id", "id", "key", "none")))
    again = name == "key" and draw(st.booleans())
    since, until = draw(st.sampled_from(_VALIDITIES))
    return NewMemory(
        content=_EVENT if again else draw(texts()),
        namespace=draw(namespaces()),
        metadata=draw(metadata()),
        tags=draw(st.lists(st.sampled_from(("x", "y", "z")), max_size=3)),
        record_id=draw(st.sampled_from(IDS)) if name == "id" else None,
        idempotency_key=draw(st.sampled_from(KEYS)) if name == "key" else None,
        ttl=draw(st.sampled_from(_LIFETIMES)),
        source=draw(st.sampled_from(_SOURCES)),
        kind=draw(st.sampled_from(("fact", "message"))),
        actor=draw(st.sampled_from((None, "Ada", "user"))),
        occurred_at=draw(st.sampled_from((None, None, START - timedelta(days=3)))),
        valid_from=since,
        valid_to=until,
    )
