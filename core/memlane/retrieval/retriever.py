"""From a query to matches: embed, find candidates, rank, read the winners, check each again."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import anyio

from memlane import columns
from memlane.calibration import Scale
from memlane.embeddings import Embeddings
from memlane.filters import Filter
from memlane.layout import in_namespace
from memlane.metadata import record_fields
from memlane.protocols import Candidates, SupportsActors, VectorBackend, VectorQuery
from memlane.reader import within_reach
from memlane.retrieval.nearest import are_few, nearest
from memlane.retrieval.question import Question, read_question, unread_question
from memlane.retrieval.recipe import Place, rank, weights_for
from memlane.retrieval.subtrees import merged
from memlane.runtime import WorkerThreads
from memlane.scope import Reach
from memlane.types import Match, MemoryRecord, NamespaceQuery, RetrievalMode
from memlane.windows import around

__all__ = ("Retriever",)

CANDIDATES = 100
"""Nearest records asked for; a backend that considers every record may return them all."""


class Retriever:
    """Ranks what a backend finds. Holds nothing of any call.

    Args:
        backend: Where records live.
        embeddings: How texts become vectors.
        workers: Threads that rank, so that no burst of callers stalls their own loop.
    """

    def __init__(
        self, backend: VectorBackend, embeddings: Embeddings, workers: WorkerThreads
    ) -> None:
        self._backend = backend
        self._embeddings = embeddings
        self._workers = workers
        self._scale = Scale(embeddings.embedder)
        # Asked once: looking a protocol's methods up takes longer than most of what they do.
        self._knowing = backend if isinstance(backend, SupportsActors) else None

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

        Raises:
            IsolationError: The backend returned a record out of reach; nothing is returned.
        """
        found: list[Match] = []
        most = CANDIDATES if candidates is None else candidates
        for one in asked:
            rows, question = await self._candidates(
                text, one, reach, mode, condition, most=max(most, one.limit)
            )
            if not len(rows):
                continue
            calibration = await self._scale.get(measure=min_relevance is not None)
            bounds: dict[str, Any] = {
                "limit": one.limit,
                "min_similarity": one.min_similarity,
                "calibration": calibration,
            }
            weights = weights_for(mode)
            if not are_few(rows):
                places = await self._workers.run(
                    functools.partial(_ranked, rows, question, weights=weights, **bounds)
                )
            elif mode == "vector":
                places = nearest(rows, **bounds)
            else:
                places = _ranked(rows, question, weights=weights, **bounds)
            matches = await self._matches(rows, places, reach, mode)
            if condition is not None or one.path != "/":
                matches = [
                    match for match in matches if _still_meets(match.record, one.path, condition)
                ]
            found += matches
        answer = (merged(found) if len(asked) > 1 else found)[:limit]
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
        found: dict[bool, Candidates] = {}
        failures: list[Exception] = []

        async def ask(query: VectorQuery, *, narrowed: bool) -> None:
            try:
                found[narrowed] = await self._backend.query(query, reach=reach)
            except Exception as error:  # noqa: BLE001  (raised below, and not as a group)
                failures.append(error)
                tasks.cancel_scope.cancel()

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(functools.partial(ask, replace(query, actor=actor), narrowed=True))
            await ask(query, narrowed=False)
        if failures:
            raise failures[0]
        return columns.merged(found[False], found[True])

    async def _matches(
        self,
        candidates: Candidates,
        places: Sequence[Place],
        reach: Reach,
        mode: RetrievalMode,
    ) -> list[Match]:
        records = await self._winners(candidates, [place.row for place in places], reach=reach)
        return [
            Match(
                record=record,
                score=place.score,
                similarity=None if mode == "text" else place.similarity,
                passage=_passage(record.text, candidates, place.row),
                relevance=place.relevance,
                features=place.features,
            )
            for place, record in zip(places, records, strict=True)
            if record is not None  # deleted since the candidates were found
        ]

    async def _read(self, text: str, *, reach: Reach, mode: RetrievalMode) -> Question:
        # Pure vector search is the model's own answer: nothing is read into the query.
        if mode == "vector":
            return unread_question(text)
        if self._knowing is None:
            return read_question(text, actors=())
        return read_question(text, actors=await self._knowing.actors(reach=reach))

    async def _winners(
        self, candidates: Candidates, rows: Sequence[int], *, reach: Reach
    ) -> list[MemoryRecord | None]:
        """Return the record of each row, None for one that is there no more."""
        if candidates.records is not None:
            found = [candidates.records[row] for row in rows]
            within_reach(found, reach)
            return [*found]
        names = [(candidates.agents[row], candidates.record_ids[row]) for row in rows]
        ids = list(dict.fromkeys(record_id for _, record_id in names))
        fetched = within_reach(
            (one.record for one in await self._backend.fetch(ids, reach=reach)), reach
        )
        by_name = {(record.scope.agent, record.id): record for record in fetched}
        return [by_name.get(name) for name in names]


def _ranked(candidates: Candidates, question: Question, **bounds: Any) -> list[Place]:
    return rank(candidates, question, **bounds).places()


def _passage(text: str, candidates: Candidates, row: int) -> str:
    if not candidates.parts[row]:
        return text
    start, end = (int(edge) for edge in candidates.spans[row])
    if start >= len(text):
        return text  # shortened meanwhile: nothing of the window is left
    start, end = around(text, start, min(end, len(text)))
    return text[start:end]


def _still_meets(record: MemoryRecord, namespace: str, condition: Filter | None) -> bool:
    # It may have been changed since the candidates were found.
    return in_namespace(record.namespace, namespace) and (
        condition is None or condition.matches(record_fields(record))
    )
