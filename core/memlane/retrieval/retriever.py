"""From a query to matches: embed, find candidates, rank, read the winners, check each again."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from types import MappingProxyType

from memlane.calibration import Scale
from memlane.embeddings import Embeddings
from memlane.filters import Filter
from memlane.layout import in_namespace
from memlane.metadata import record_fields
from memlane.protocols import Candidates, SupportsActors, VectorBackend, VectorQuery
from memlane.reader import within_reach
from memlane.retrieval.question import Question, read_question
from memlane.retrieval.recipe import Ranked, rank, weights_for
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

        Raises:
            IsolationError: The backend returned a record out of reach; nothing is returned.
        """
        found: list[Match] = []
        for one in asked:
            candidates, question = await self._candidates(text, one, reach, mode, condition)
            if not len(candidates):
                continue
            calibration = await self._scale.get(measure=min_relevance is not None)
            work = functools.partial(
                rank,
                candidates,
                question,
                limit=one.limit,
                weights=weights_for(mode),
                min_similarity=one.min_similarity,
                calibration=calibration,
            )
            ranked = await self._workers.run(work)
            found += [
                match
                for match in await self._matches(candidates, ranked, reach, mode)
                if _still_meets(match.record, one.path, condition)
            ]
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
    ) -> tuple[Candidates, Question]:
        question = await self._read(text, reach=reach, mode=mode)
        query = VectorQuery(
            vector=None
            if mode == "text"
            else await self._embeddings.query_vector(question.embedded, scope=reach.scope),
            terms=question.terms,
            space=self._embeddings.space.id,
            limit=max(CANDIDATES, one.limit),
            namespace=one.path,
            filter=condition,
        )
        return await self._backend.query(query, reach=reach), question

    async def _matches(
        self,
        candidates: Candidates,
        ranked: Ranked,
        reach: Reach,
        mode: RetrievalMode,
    ) -> list[Match]:
        records = await self._winners(candidates, ranked, reach=reach)
        matches: list[Match] = []
        for place, row in enumerate(ranked.best()):
            record = records.get((candidates.agents[row], candidates.record_ids[row]))
            if record is None:
                continue  # deleted since the candidates were found
            matches.append(
                Match(
                    record=record,
                    score=float(ranked.scores[place]),
                    similarity=None if mode == "text" else float(ranked.similarity[place]),
                    passage=_passage(record.text, candidates, row),
                    relevance=None if ranked.relevance is None else float(ranked.relevance[place]),
                    features=MappingProxyType(
                        {
                            name: float(share[place])
                            for name, share in ranked.features.items()
                            if share[place]
                        }
                    ),
                )
            )
        return matches

    async def _read(self, text: str, *, reach: Reach, mode: RetrievalMode) -> Question:
        # Pure vector search is the model's own answer: nothing is read into the query.
        if mode == "vector" or not isinstance(self._backend, SupportsActors):
            return read_question(text, actors=())
        return read_question(text, actors=await self._backend.actors(reach=reach))

    async def _winners(
        self, candidates: Candidates, ranked: Ranked, *, reach: Reach
    ) -> Mapping[tuple[str | None, str], MemoryRecord]:
        if candidates.records is not None:
            found = [candidates.records[row] for row in ranked.best()]
        else:
            ids = list(dict.fromkeys(candidates.record_ids[row] for row in ranked.best()))
            fetched = await self._backend.fetch(ids, reach=reach)
            found = [indexed.record for indexed in fetched]
        within_reach(found, reach)
        return {(record.scope.agent, record.id): record for record in found}


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
