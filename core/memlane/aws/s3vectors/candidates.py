"""From the rows of an answer to columns: each row checked, none parsed further than ranking needs.

Whose a row is tells its key. What the service compared by hash, in float32 or in whole minutes is
compared once more here, exactly.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import accumulate
from operator import ne
from typing import Any, Final, NamedTuple, TypeAlias, overload
from urllib.parse import unquote

import numpy as np

from memlane.aws._extra import orjson
from memlane.aws.s3vectors.naming import is_reserved
from memlane.aws.s3vectors.records import agent_of, decoded, first_of, flat_of, plain_of
from memlane.aws.s3vectors.rows import HEAD_CHARS, sketch_in, unpack, unpacked
from memlane.aws.s3vectors.sketches import directions_from
from memlane.columns import TimedCandidates
from memlane.errors import BackendError, IsolationError
from memlane.layout import agent_prefix, owner_prefix, parse_vector_key, to_minutes
from memlane.marks import marked_terms
from memlane.metadata import NO_AGENT, agent_form, from_metadata, id_form, record_fields
from memlane.protocols import Candidates, Codes, VectorQuery
from memlane.scope import Reach, Scope
from memlane.types import MemoryRecord
from memlane.windows import SHORT, windows

__all__ = ("Answer", "candidates_of", "has_marks_to_make")

Answer: TypeAlias = Mapping[str, Any]
"""One vector of QueryVectors or GetVectors: key, metadata, and mostly a distance."""

_NOWHERE: Final = -1
_MAX_MADE: Final = 4_000  # characters whose terms are made in less than a millisecond
_NAN: Final = float("nan")
_LONG: Final = SHORT // 4  # characters; a shorter text has no windows in any script


_Row: TypeAlias = tuple[Any, ...]
"""One row: what `_Found` has columns of, in its order. A hundred plain tuples are made and freed in
a third of the time of a hundred with names."""


class _Found(NamedTuple):
    """Rows as columns; rows are sorted by the first three, and by their place where those agree."""

    first: Sequence[int]
    whole: Sequence[str]
    part: Sequence[int]
    place: Sequence[int]
    record_id: Sequence[str]
    agent: Sequence[str | None]
    actor: Sequence[str | None]
    start: Sequence[int]
    end: Sequence[int]
    terms: Sequence[bytes]
    flat: Sequence[Mapping[str, Any]]
    key: Sequence[str]
    distance: Sequence[float]
    theirs: Sequence[Mapping[str, Any] | None]
    """All that another tool says; `flat` is what is understood."""

    @classmethod
    def of(cls, rows: Sequence[_Row]) -> _Found:
        """Return rows as columns."""
        return cls(*zip(*rows, strict=True)) if rows else cls(*[()] * len(cls._fields))

    def chosen(self, places: Iterable[int]) -> _Found:
        """Return some of the rows."""
        rows = [*zip(*self, strict=True)]
        return _Found.of([rows[place] for place in places])


class _Records(Sequence[MemoryRecord]):
    """The records of rows, each made when it is asked for: most are never."""

    def __init__(self, found: _Found, scope: Scope) -> None:
        self._found = found
        self._tenant = scope.tenant
        self._near = scope
        self._made: dict[int, MemoryRecord] = {}

    def __len__(self) -> int:
        return len(self._found.key)

    @overload
    def __getitem__(self, place: int) -> MemoryRecord: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[MemoryRecord]: ...
    def __getitem__(self, place: int | slice) -> MemoryRecord | Sequence[MemoryRecord]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        made = self._made.get(place)
        if made is None:
            found = self._found
            theirs = found.theirs[place]
            made = (
                from_metadata(
                    found.record_id[place], found.flat[place], loads=orjson.loads, near=self._near
                )
                if theirs is None
                else decoded(found.whole[place], theirs, tenant=self._tenant)
            )
            # Those of one session mostly lie together.
            self._made[place], self._near = made, made.scope
        return made


def has_marks_to_make(vectors: Iterable[Answer], *, windows: bool = False) -> bool:
    """Say whether terms have to be made of so much text that a loop should not wait for it.

    Args:
        vectors: What was found.
        windows: Those of windows are to be made too.
    """
    chars = 0
    for vector in vectors:
        flat = flat_of(vector)
        row = flat.get("row")
        made = isinstance(row, str) and len(row) > HEAD_CHARS
        if made and not windows:
            continue
        text = flat.get("content")
        # What is no text is another tool's, and not read.
        if isinstance(text, str) and (not made or len(text) > _LONG):
            chars += len(text)
    return chars > _MAX_MADE


def candidates_of(
    vectors: Iterable[Answer],
    query: VectorQuery,
    *,
    reach: Reach,
    older: bool,
    complete: bool = False,
) -> Candidates:
    """Return the rows of an answer as columns.

    Args:
        vectors: With metadata, and with a distance where the query has a vector. Where it has
            none they are whole texts, and their windows are cut out of those again.
        query: What was asked.
        reach: Whose records.
        older: Another tool made the index: rows without a space are of the query's.
        complete: These are all there are.

    Raises:
        IsolationError: A row is of another user, or of an agent that was not asked for.
        BackendError: A row is damaged.
    """
    try:
        return _candidates(vectors, _Reader(query, reach, older=older), complete=complete)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as exc:
        raise BackendError(
            "a stored record's metadata is damaged", remedy="restore it from a backup or delete it"
        ) from exc


def _candidates(vectors: Iterable[Answer], reader: _Reader, *, complete: bool) -> Candidates:
    rows = [*reader.read(vectors)]
    if reader.query.vector is None:
        rows += [window for row in rows for window in _windows(row)]
    found = _Found.of(sorted(rows))
    if len(set(found.whole)) < len(found.whole):
        found = found.chosen(_untorn(found))
    scope, condition = reader.reach.scope, reader.query.filter
    if condition is not None:
        records = _Records(found, scope)
        found = found.chosen(
            at for at in range(len(records)) if condition.matches(record_fields(records[at]))
        )
    return _columns(found, scope, complete=complete)


class _Reader:
    """Reads rows for one query."""

    def __init__(self, query: VectorQuery, reach: Reach, *, older: bool) -> None:
        scope = reach.scope
        self.query = query
        self.reach = reach
        self._older = older
        self._owner = owner_prefix(scope)
        self._mine = self._owner if reach.any_agent else agent_prefix(scope)
        self._name_at = len(agent_prefix(scope))
        self._agent_form = agent_form(scope.agent)
        self._session = None if scope.session is None else id_form(scope.session)

    def read(self, vectors: Iterable[Answer]) -> Iterator[_Row]:
        """Yield the row of each vector that meets the conditions, and not only nearly."""
        # Looked up once: a hundred rows are read for each question.
        query, reach, mine, name_at = self.query, self.reach, self._mine, self._name_at
        space, subtree, actor = query.space, query.namespace, query.actor
        any_agent, any_session, now = reach.any_agent, reach.any_session, reach.now
        for place, vector in enumerate(vectors):
            key: str = vector["key"]
            flat: Mapping[str, Any] = vector["metadata"]
            theirs: Mapping[str, Any] | None = None
            if key.startswith(mine):
                name, _, window = key[name_at:].partition("#w")
                whole = key[: -len(window) - 2] if window else key
            else:
                theirs, flat = flat, plain_of(flat)
                if not self._is_older(key, flat):
                    raise IsolationError(
                        "the service returned a vector out of the call's reach; "
                        "nothing is returned",
                        remedy="report this, with the index's filter and mode",
                    )
                name, window, whole = key, "", key
            if (
                (flat.get("space") != space and not (self._older and flat.get("space") is None))
                or (subtree != "/" and not flat.get("namespace", "/").startswith(subtree))
                or (not any_session and flat.get("conversation_id") != self._session)
            ):
                continue
            speaker = flat.get("actor")
            if speaker is not None and speaker.startswith("#"):
                speaker = _exact(flat).get("actor")
            if actor is not None and speaker != actor:
                continue
            if now is not None and "expires" in flat:
                ends = _exact(flat).get("expires")
                if ends is not None and datetime.fromisoformat(ends) <= now:
                    continue
            packed = flat.get("row")
            first, start, end, _, terms = _made(flat) if packed is None else unpacked(packed)
            if terms is None:
                terms = marked_terms(flat["content"][start:end]).tobytes()
            yield (
                first,
                whole,
                int(window) if window else 0,
                place,
                unquote(name) if "%" in name else name,
                self._agent(flat) if any_agent else reach.scope.agent,
                speaker,
                start,
                end,
                terms,
                flat,
                key,
                vector.get("distance", _NAN),
                theirs,
            )

    def _is_older(self, key: str, flat: Mapping[str, Any]) -> bool:
        """Say whether a tool of another kind wrote a row for this user and agent."""
        if parse_vector_key(key) is not None or is_reserved(key):
            return False
        if flat.get("user_id") != self.reach.scope.user:
            return False
        return self.reach.any_agent or agent_of(flat) == self.reach.scope.agent

    @staticmethod
    def _agent(flat: Mapping[str, Any]) -> str | None:
        agent: str | None = flat.get("agent_name", NO_AGENT)
        if agent is not None and agent.startswith("#") and "payload" in flat:
            return _exact(flat).get("agent")
        return None if agent == NO_AGENT else agent


def _exact(flat: Mapping[str, Any]) -> dict[str, Any]:
    exact: dict[str, Any] = orjson.loads(flat["payload"])
    return exact


def _made(flat: Mapping[str, Any]) -> tuple[int, int, int, int, bytes]:
    """Return the row of a vector that has none: of an older tool, or short of room."""
    text: str = flat.get("content") or ""
    return first_of(flat), 0, len(text), 1, marked_terms(text).tobytes()


def _windows(row: _Row) -> Iterator[_Row]:
    """Yield the windows of a whole text, as whoever stored it cut them; none where that differs.

    They differ where the embedder takes less text than any window needs.
    """
    first, whole, _, place, record_id, agent, actor, _, _, _, flat, *rest = row
    packed = flat.get("row")
    parts = 1 if packed is None else unpack(packed).parts
    if parts == 1:
        return
    text: str = flat["content"]
    spans = windows(text, max_chars=SHORT)
    if len(spans) != parts - 1:
        return
    for part, (start, end) in enumerate(spans, 1):
        terms = marked_terms(text[start:end]).tobytes()
        yield first, whole, part, place, record_id, agent, actor, start, end, terms, flat, *rest


def _untorn(found: _Found) -> Iterator[int]:
    """Yield all rows but windows of another version than the rest, met while it was replaced."""
    payloads = [flat.get("payload", "") for flat in found.flat]
    versions: dict[str, tuple[int, str]] = {}
    for whole, part, payload in zip(found.whole, found.part, payloads, strict=True):
        best = versions.get(whole)
        if best is None:
            # Rows are sorted, so this is the whole text if that was found.
            versions[whole] = (part, payload)
        elif best[0] and best[1] != payload and _version(payload) > _version(best[1]):
            versions[whole] = (part, payload)
    for at, (whole, payload) in enumerate(zip(found.whole, payloads, strict=True)):
        if payload == versions[whole][1]:
            yield at


def _version(payload: str) -> tuple[int, str]:
    exact = orjson.loads(payload)
    return exact["v"], exact["at"][2]


def _columns(found: _Found, scope: Scope, *, complete: bool) -> Candidates:
    actors, actor_names = _coded(found.actor)
    sessions, session_names = _coded([flat.get("conversation_id") for flat in found.flat])
    fresh = map(ne, found.whole[1:], found.whole)
    return TimedCandidates(
        record_ids=found.record_id,
        agents=found.agent,
        parts=np.array(found.part, dtype=np.int32),
        spans=np.array([found.start, found.end], dtype=np.int64).T,
        # A little beyond its range where the service rounded. NaN stays NaN.
        distances=np.clip(np.frombuffer(array("f", found.distance), dtype=np.float32), 0.0, 2.0),
        terms=np.frombuffer(b"".join(found.terms), dtype="<u4"),
        offsets=np.array([0, *accumulate(map(len, found.terms))], dtype=np.int64) // 4,
        actors=actors,
        actor_names=actor_names,
        sessions=sessions,
        order=np.array([*accumulate(fresh, initial=0)][: len(found.whole)], dtype=np.int64),
        occurred=np.array([*map(_occurred, found.key, found.flat)], dtype=np.int64),
        complete=complete,
        records=_Records(found, scope),
        directions=directions_from(partial(_sketch, found)),
        session_names=session_names,
        stored=np.array(found.first, dtype=np.int64),
    )


def _coded(names: Sequence[str | None]) -> tuple[Codes, list[str]]:
    """Return names as numbers of a list in which each is once; nobody is -1."""
    known = [name for name in dict.fromkeys(names) if name is not None]
    codes: dict[str | None, int] = {name: code for code, name in enumerate(known)}
    codes[None] = _NOWHERE
    return np.array([codes[name] for name in names], dtype=np.int32), known


def _sketch(found: _Found, at: int) -> bytes:
    # A window that was cut again from its whole text has that one's row, and another direction.
    if found.part[at] and found.key[at] == found.whole[at]:
        return b""
    packed = found.flat[at].get("row")
    return b"" if packed is None else sketch_in(packed)


def _occurred(key: str, flat: Mapping[str, Any]) -> int:
    minutes = flat.get("occurred")
    if minutes is None:
        return to_minutes(decoded(key, flat, tenant=None).occurred_at)
    return int(minutes)
