"""From a query to matches: embed, find candidates, rank, read the winners, check each again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType

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

    async def answer(
        self,
        text: str,
        *,
        reach: Reach,
        asked: Sequence[NamespaceQuery],
        limit: int,
        mode: RetrievalMode,
        condition: Filter | None,
    ) -> list[Match]:
        """Return at most `limit` matches of all the subtrees asked for, best first.

        Raises:
            IsolationError: The backend returned a record out of reach; nothing is returned.
        """
        found: list[Match] = []
        for one in asked:
            found += await self._recall(
                text,
                reach=reach,
                limit=one.limit,
                mode=mode,
                namespace=one.path,
                condition=condition,
                min_similarity=one.min_similarity,
            )
        return (merged(found) if len(asked) > 1 else found)[:limit]

    async def _recall(
        self,
        text: str,
        *,
        reach: Reach,
        limit: int,
        mode: RetrievalMode,
        namespace: str,
        condition: Filter | None,
        min_similarity: float | None,
    ) -> list[Match]:
        question = await self._read(text, reach=reach, mode=mode)
        query = VectorQuery(
            vector=None
            if mode == "text"
            else await self._embeddings.query_vector(question.embedded, scope=reach.scope),
            terms=question.terms,
            space=self._embeddings.space.id,
            limit=max(CANDIDATES, limit),
            namespace=namespace,
            filter=condition,
        )
        candidates = await self._backend.query(query, reach=reach)
        if not len(candidates):
            return []
        ranked = await self._workers.run(_rank, candidates, question, limit, mode, min_similarity)
        records = await self._winners(candidates, ranked, reach=reach)
        matches: list[Match] = []
        for place, row in enumerate(ranked.best()):
            record = records.get((candidates.agents[row], candidates.record_ids[row]))
            # Deleted, or changed so that it no longer answers, since the candidates were found.
            if record is None or not _still_meets(record, namespace, condition):
                continue
            matches.append(
                Match(
                    record=record,
                    score=float(ranked.scores[place]),
                    similarity=None if mode == "text" else float(ranked.similarity[place]),
                    passage=_passage(record.text, candidates, row),
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


def _rank(
    candidates: Candidates,
    question: Question,
    limit: int,
    mode: RetrievalMode,
    min_similarity: float | None,
) -> Ranked:
    return rank(
        candidates,
        question,
        limit=limit,
        weights=weights_for(mode),
        min_similarity=min_similarity,
    )


def _passage(text: str, candidates: Candidates, row: int) -> str:
    if not candidates.parts[row]:
        return text
    start, end = (int(edge) for edge in candidates.spans[row])
    if start >= len(text):
        return text  # shortened meanwhile: nothing of the window is left
    start, end = around(text, start, min(end, len(text)))
    return text[start:end]


def _still_meets(record: MemoryRecord, namespace: str, condition: Filter | None) -> bool:
    return in_namespace(record.namespace, namespace) and (
        condition is None or condition.matches(record_fields(record))
    )
