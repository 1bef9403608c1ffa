"""From a query to matches: embed, find candidates, rank, read the winners, check each again."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType
from typing import Any

from memlane import columns
from memlane.calibration import Calibration, Scale
from memlane.embeddings import Embeddings
from memlane.filters import Filter
from memlane.powers import SupportsActors, SupportsVersions
from memlane.protocols import Candidates, VectorBackend, VectorQuery
from memlane.retrieval.admission import Admission
from memlane.retrieval.nearest import are_few, nearest
from memlane.retrieval.question import Question, read_question, unread_question
from memlane.retrieval.recipe import Place, rank, weights_for
from memlane.retrieval.statements import about_the_past
from memlane.retrieval.subtrees import merged
from memlane.retrieval.supersession import POOL, Seen, Succession
from memlane.retrieval.validity import narrowed
from memlane.runtime import WorkerThreads, together
from memlane.scope import Reach
from memlane.trust import TrustPolicy
from memlane.types import Match, NamespaceQuery, RetrievalMode

__all__ = ("Retriever",)

CANDIDATES = 100
"""Nearest records asked for; a backend that considers every record may return them all."""

MOST_LOOKED_AT = 500
"""Of records that may have been moved since, those looked at one by one, the best first."""


class Retriever:
    """Ranks what a backend finds. Holds nothing of any call.

    Args:
        backend: Where records live.
        embeddings: How texts become vectors.
        workers: Threads that rank, so that no burst of callers stalls their own loop.
        trust: What may be recalled.
    """

    def __init__(
        self,
        backend: VectorBackend,
        embeddings: Embeddings,
        workers: WorkerThreads,
        *,
        trust: TrustPolicy | None = None,
    ) -> None:
        self._backend = backend
        self._embeddings = embeddings
        self._workers = workers
        self._trust = trust
        self._scale = Scale(embeddings.embedder)
        # Asked once: looking a protocol's methods up takes longer than most of what they do.
        self._knowing = backend if isinstance(backend, SupportsActors) else None
        self._remembers = backend.capabilities.exact and isinstance(backend, SupportsVersions)

    async def answer(
        self,
        text: str,
        *,
        reach: Reach,
        asked: Sequence[NamespaceQuery],
        limit: int,
        mode: RetrievalMode,
        condition: Filter | None,
        min_relevance: float | None = None,
        candidates: int | None = None,
        as_of: datetime | None = None,
        supersede: bool = True,
    ) -> list[Match]:
        """Return at most `limit` matches of all the subtrees asked for, best first.

        Args:
            text: The query.
            reach: Whose records.
            asked: Subtrees, each with limits of its own.
            limit: Matches at most.
            mode: What counts.
            condition: What every match meets.
            min_relevance: Return nothing when nothing found is so relevant. Asked of the answer:
                asked of each match it would cut what is found by its session or its owner.
            candidates: Nearest records asked of the backend; 100 if None.
            as_of: When it is meant to be; None is now.
            supersede: Let newer statements take over from older ones.

        Raises:
            IsolationError: The backend returned a record out of reach; nothing is returned.
            ScannerError: The trust policy's scanner could not say what may be recalled.
        """
        found: list[Match] = []
        most = CANDIDATES if candidates is None else candidates
        trusted = None if self._trust is None else self._trust.condition()
        told = narrowed(condition, as_of=as_of, trusted=trusted)
        # Where it lay then and what it was filed under no backend knows: only where it is today.
        then = as_of is not None and self._remembers
        wide = narrowed(None, as_of=as_of, trusted=trusted)
        newest = supersede and mode == "hybrid" and not about_the_past(text)
        for one in asked:
            admission = Admission(
                backend=self._backend,
                reach=reach,
                path=one.path,
                condition=condition,
                as_of=as_of,
                trust=self._trust,
            )
            mixed = then and (condition is not None or one.path != "/")
            for every in (True, False) if mixed else (False,):
                rows, question = await self._candidates(
                    text,
                    replace(one, path="/") if every else one,
                    reach,
                    mode,
                    wide if every else told,
                    most=max(most, one.limit),
                )
                if not len(rows):
                    break
                calibration = await self._scale.get(measure=min_relevance is not None)
                ranking = _Ranking(
                    self._workers,
                    rows,
                    question=question,
                    asked=one,
                    mode=mode,
                    calibration=calibration,
                )
                matches, settled = await _matches(ranking, admission, newest=newest, mixed=every)
                found += matches
                if settled:
                    break
        answer = (merged(found) if then or len(asked) > 1 else found)[:limit]
        if min_relevance is None:
            return answer
        return answer if any((one.relevance or 0.0) >= min_relevance for one in answer) else []

    async def _candidates(
        self,
        text: str,
        one: NamespaceQuery,
        reach: Reach,
        mode: RetrievalMode,
        condition: Filter | None,
        *,
        most: int,
    ) -> tuple[Candidates, Question]:
        question = await self._read(text, reach=reach, mode=mode)
        query = VectorQuery(
            vector=None
            if mode == "text"
            else await self._embeddings.query_vector(question.embedded, scope=reach.scope),
            terms=question.terms,
            space=self._embeddings.space.id,
            limit=most,
            records=one.limit,
            namespace=one.path,
            filter=condition,
        )
        if len(question.named) == 1 and mode == "hybrid" and not self._backend.capabilities.exact:
            return await self._both(query, question.named[0], reach), question
        return await self._backend.query(query, reach=reach), question

    async def _both(self, query: VectorQuery, actor: str, reach: Reach) -> Candidates:
        """Ask for the nearest of all and, at once, for the nearest of whom the question names.

        What a named person said may be far from the question; among a hundred others' words it
        would not be found.
        """
        ask = functools.partial(self._backend.query, reach=reach)
        narrowed = replace(query, actor=actor)
        of_all, of_one = await together(
            [functools.partial(ask, query), functools.partial(ask, narrowed)]
        )
        return columns.merged(of_all, of_one)

    async def _read(self, text: str, *, reach: Reach, mode: RetrievalMode) -> Question:
        # Pure vector search is the model's own answer: nothing is read into the query.
        if mode == "vector":
            return unread_question(text)
        if self._knowing is None:
            return read_question(text, actors=())
        return read_question(text, actors=await self._knowing.actors(reach=reach))


class _Ranking:
    """The places of one subtree's candidates, as many as are asked for."""

    def __init__(
        self,
        workers: WorkerThreads,
        rows: Candidates,
        *,
        question: Question,
        asked: NamespaceQuery,
        mode: RetrievalMode,
        calibration: Calibration | None,
    ) -> None:
        self.rows = rows
        self.question = question
        self.limit = asked.limit
        self.mode: RetrievalMode = mode
        self._workers = workers
        self._min_similarity = asked.min_similarity
        self._calibration = calibration

    async def best(self, limit: int) -> list[Place]:
        """Return the best places, best first; a longer list begins with a shorter one."""
        bounds: dict[str, Any] = {
            "limit": limit,
            "min_similarity": self._min_similarity,
            "calibration": self._calibration,
        }
        weights = weights_for(self.mode)
        if not are_few(self.rows):
            return await self._workers.run(
                functools.partial(_ranked, self.rows, self.question, weights=weights, **bounds)
            )
        if self.mode == "vector":
            return nearest(self.rows, **bounds)
        return _ranked(self.rows, self.question, weights=weights, **bounds)


async def _matches(
    ranking: _Ranking, admission: Admission, *, newest: bool, mixed: bool
) -> tuple[list[Match], bool]:
    """Return the best matches that may be recalled, and whether there can be no others.

    Args:
        ranking: The candidates in order.
        admission: What may be recalled.
        newest: Newer statements take the place of older ones.
        mixed: Among the candidates are many that nobody asked for: so many are looked at and no
            more, and whose place another one takes is told when they are gone.
    """
    limit = ranking.limit
    wanted = max(limit, POOL) if newest else limit
    need = wanted if mixed else limit
    places = await ranking.best(wanted)
    rows = dict.fromkeys(place.row for place in places[:limit])
    succession: Succession | None = None
    if newest and not mixed:
        succession = Succession(ranking.rows, ranking.question, places, limit=limit)
        rows |= dict.fromkeys(succession.rows)
    looked = await admission.look(ranking.rows, list(rows))
    while True:
        while missing := _missing(places, looked, need):
            if mixed and len(looked) >= MOST_LOOKED_AT:
                break
            looked |= await admission.look(ranking.rows, missing)
        seen = {row: one for row, one in looked.items() if one is not None}
        left = [place for place in places if place.row in seen]
        if missing or len(left) >= need or len(places) < wanted:
            break
        # Some were gone, not true then or not to be trusted: others take their places.
        wanted *= 4
        places = await ranking.best(wanted)
    if newest and mixed:
        succession = Succession(ranking.rows, ranking.question, left, limit=limit)
    if succession is not None:
        left = succession.settle(left, seen)
    matches = [_match(place, seen[place.row], ranking.mode) for place in left[:limit]]
    return matches, not missing or len(matches) == limit


def _missing(places: Sequence[Place], looked: Mapping[int, Seen | None], limit: int) -> list[int]:
    """Return the rows to look at next so that the best `limit` that may be recalled are known."""
    have, unknown = 0, list[int]()
    # As many as were looked at in vain already: where little may be recalled few steps find it.
    vain = sum(seen is None for seen in looked.values())
    for place in places:
        if have + len(unknown) >= (limit if not unknown else max(limit, have + vain)):
            break
        if place.row not in looked:
            unknown.append(place.row)
        elif looked[place.row] is not None:
            have += 1
    return unknown


def _match(place: Place, seen: Seen, mode: RetrievalMode) -> Match:
    return Match(
        record=seen.record,
        score=place.score,
        similarity=None if mode == "text" else place.similarity,
        passage=seen.passage,
        relevance=place.relevance,
        features=MappingProxyType(place.explain()),
        label=seen.label,
    )


def _ranked(candidates: Candidates, question: Question, **bounds: Any) -> list[Place]:
    return rank(candidates, question, **bounds).places()
