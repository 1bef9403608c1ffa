"""From the rows of an answer to columns: each row checked, none parsed further than ranking needs.

Whose a row is tells its key. What the service compared by hash, in float32 or in whole minutes is
compared once more here, exactly.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias, overload
from urllib.parse import unquote

import numpy as np

from memlane.aws._extra import orjson
from memlane.aws.s3vectors.naming import is_reserved
from memlane.aws.s3vectors.records import agent_of, decoded, first_of, flat_of, plain_of
from memlane.aws.s3vectors.rows import HEAD_CHARS, Row, sketch_in, unpack
from memlane.aws.s3vectors.sketches import directions_from
from memlane.columns import TimedCandidates
from memlane.errors import BackendError, IsolationError
from memlane.layout import agent_prefix, owner_prefix, parse_vector_key, to_minutes
from memlane.marks import marked_terms
from memlane.metadata import NO_AGENT, agent_form, from_metadata, id_form, record_fields
from memlane.protocols import Candidates, VectorQuery
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


class _Found(NamedTuple):
    """One row; sorted by its first three."""

    first: int
    whole: str
    part: int
    place: int
    record_id: str
    agent: str | None
    actor: str | None
    start: int
    end: int
    terms: bytes
    flat: Mapping[str, Any]
    key: str
    distance: float
    theirs: Mapping[str, Any] | None  # all that another tool says; `flat` is what is understood


class _Records(Sequence[MemoryRecord]):
    """The records of rows, each made when it is asked for: most are never."""

    def __init__(self, rows: Sequence[_Found], scope: Scope) -> None:
        self._rows = rows
        self._tenant = scope.tenant
        self._near = scope
        self._made: dict[int, MemoryRecord] = {}

    def __len__(self) -> int:
        return len(self._rows)

    @overload
    def __getitem__(self, place: int) -> MemoryRecord: ...
    @overload
    def __getitem__(self, place: slice) -> Sequence[MemoryRecord]: ...
    def __getitem__(self, place: int | slice) -> MemoryRecord | Sequence[MemoryRecord]:
        if isinstance(place, slice):
            return [self[each] for each in range(*place.indices(len(self)))]
        made = self._made.get(place)
        if made is None:
            row = self._rows[place]
            made = (
                from_metadata(row.record_id, row.flat, loads=orjson.loads, near=self._near)
                if row.theirs is None
                else decoded(row.whole, row.theirs, tenant=self._tenant)
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
        row, text = flat.get("row"), flat.get("content")
        # What is no text is another tool's, and not read.
        if isinstance(text, str) and (
            (windows and len(text) > _LONG) or not isinstance(row, str) or len(row) <= HEAD_CHARS
        ):
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
    found: list[_Found] = []
    for vector in vectors:
        row = reader.read(vector, len(found))
        if row is not None:
            found.append(row)
    if reader.query.vector is None:
        found += [window for row in found for window in _windows(row)]
    found.sort()
    if len({row.whole for row in found}) < len(found):
        found = _untorn(found)
    scope, condition = reader.reach.scope, reader.query.filter
    if condition is not None:
        records = _Records(found, scope)
        found = [
            row
            for place, row in enumerate(found)
            if condition.matches(record_fields(records[place]))
        ]
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

    def read(self, vector: Answer, place: int) -> _Found | None:
        """Return a row, None when it only nearly meets the conditions."""
        key: str = vector["key"]
        flat: Mapping[str, Any] = vector["metadata"]
        query, reach = self.query, self.reach
        theirs: Mapping[str, Any] | None = None
        if not key.startswith(self._mine):
            theirs, flat = flat, plain_of(flat)
            if not self._is_older(key, flat):
                raise IsolationError(
                    "the service returned a vector out of the call's reach; nothing is returned",
                    remedy="report this, with the index's filter and mode",
                )
            name, window, whole = key, "", key
        else:
            name, _, window = key[self._name_at :].partition("#w")
            whole = key[: -len(window) - 2] if window else key
        space = flat.get("space")
        if space != query.space and not (self._older and space is None):
            return None
        if query.namespace != "/" and not flat.get("namespace", "/").startswith(query.namespace):
            return None
        if not reach.any_session and flat.get("conversation_id") != self._session:
            return None
        actor = flat.get("actor")
        if actor is not None and actor.startswith("#"):
            actor = _exact(flat).get("actor")
        if query.actor is not None and actor != query.actor:
            return None
        if reach.now is not None and "expires" in flat:
            ends = _exact(flat).get("expires")
            if ends is not None and datetime.fromisoformat(ends) <= reach.now:
                return None
        packed = flat.get("row")
        row = _made(flat) if packed is None else unpack(packed)
        terms = row.terms
        if terms is None:
            terms = marked_terms(flat["content"][row.start : row.end]).tobytes()
        return _Found(
            row.first,
            whole,
            int(window) if window else 0,
            place,
            unquote(name) if "%" in name else name,
            self._agent(flat) if reach.any_agent else reach.scope.agent,
            actor,
            row.start,
            row.end,
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


def _made(flat: Mapping[str, Any]) -> Row:
    """Return the row of a vector that has none: of an older tool, or short of room."""
    text: str = flat.get("content") or ""
    return Row(first_of(flat), 0, len(text), 1, marked_terms(text).tobytes())


def _windows(whole: _Found) -> list[_Found]:
    """Return the windows of a whole text, as whoever stored it cut them; none where that differs.

    They differ where the embedder takes less text than any window needs.
    """
    packed = whole.flat.get("row")
    parts = 1 if packed is None else unpack(packed).parts
    if parts == 1:
        return []
    text: str = whole.flat["content"]
    spans = windows(text, max_chars=SHORT)
    if len(spans) != parts - 1:
        return []
    return [
        whole._replace(
            part=number, start=start, end=end, terms=marked_terms(text[start:end]).tobytes()
        )
        for number, (start, end) in enumerate(spans, 1)
    ]


def _untorn(found: list[_Found]) -> list[_Found]:
    """Leave out windows of another version than the rest, met while a record was replaced."""
    versions: dict[str, tuple[int, str]] = {}
    for row in found:
        payload = row.flat.get("payload", "")
        best = versions.get(row.whole)
        if best is None:
            # Rows are sorted, so this is the whole text if that was found.
            versions[row.whole] = (row.part, payload)
        elif best[0] and best[1] != payload and _version(payload) > _version(best[1]):
            versions[row.whole] = (row.part, payload)
    return [row for row in found if row.flat.get("payload", "") == versions[row.whole][1]]


def _version(payload: str) -> tuple[int, str]:
    exact = orjson.loads(payload)
    return exact["v"], exact["at"][2]


def _columns(found: list[_Found], scope: Scope, *, complete: bool) -> Candidates:
    count = len(found)
    actors: dict[str | None, int] = {None: _NOWHERE}
    sessions: dict[str | None, int] = {None: _NOWHERE}
    order: list[int] = []
    offsets = [0]
    last, place, end = "", -1, 0
    for row in found:
        if row.whole != last:
            last, place = row.whole, place + 1
        order.append(place)
        end += len(row.terms) // 4
        offsets.append(end)
        session = row.flat.get("conversation_id")
        if row.actor not in actors:
            actors[row.actor] = len(actors) - 1
        if session not in sessions:
            sessions[session] = len(sessions) - 1
    return TimedCandidates(
        record_ids=[row.record_id for row in found],
        agents=[row.agent for row in found],
        parts=np.array([row.part for row in found], dtype=np.int32),
        spans=np.array([(row.start, row.end) for row in found], dtype=np.int64).reshape(count, 2),
        # A little beyond its range where the service rounded. In this order NaN stays NaN.
        distances=np.array([max(min(row.distance, 2.0), 0.0) for row in found], dtype=np.float32),
        terms=np.frombuffer(b"".join([row.terms for row in found]), dtype="<u4"),
        offsets=np.array(offsets, dtype=np.int64),
        actors=np.array([actors[row.actor] for row in found], dtype=np.int32),
        actor_names=[name for name in actors if name is not None],
        sessions=np.array(
            [sessions[row.flat.get("conversation_id")] for row in found], dtype=np.int32
        ),
        order=np.array(order, dtype=np.int64),
        occurred=np.array([_occurred(row) for row in found], dtype=np.int64),
        complete=complete,
        records=_Records(found, scope),
        directions=directions_from(lambda place: _sketch(found[place])),
        session_names=[name for name in sessions if name is not None],
        stored=np.array([row.first for row in found], dtype=np.int64),
    )


def _sketch(row: _Found) -> bytes:
    # A window that was cut again from its whole text has that one's row, and another direction.
    if row.key == row.whole and row.part:
        return b""
    packed = row.flat.get("row")
    return b"" if packed is None else sketch_in(packed)


def _occurred(row: _Found) -> int:
    minutes = row.flat.get("occurred")
    if minutes is None:
        return to_minutes(decoded(row.key, row.flat, tenant=None).occurred_at)
    return int(minutes)
