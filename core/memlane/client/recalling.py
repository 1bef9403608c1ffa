"""The verbs that recall by meaning and words."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

from memlane.client.parts import ClientParts, Matches
from memlane.filters import FilterLike, as_filter
from memlane.limits import check_deadline, check_limit, check_tokens
from memlane.retrieval import build_context, check_mode, check_options, estimate_tokens, subtrees
from memlane.runtime import within
from memlane.scope import Scope
from memlane.sizing import check_query
from memlane.types import MemoryContext, RetrievalMode, RetrievalOptions

__all__ = ("Recalling",)

_UNBOUND = nullcontext()


class Recalling(ClientParts):
    """The verbs of `MemoryClient` that recall."""

    async def retrieve(
        self,
        query: str,
        *,
        scope: Scope,
        limit: int = 10,
        min_similarity: float | None = None,
        namespace: str | None = None,
        filter: FilterLike | None = None,  # noqa: A002 - the public word for it
        mode: RetrievalMode = "hybrid",
        options: RetrievalOptions | None = None,
        deadline: float | None = None,
    ) -> Matches:
        """Recall what answers a query, best first; an empty answer means there is nothing.

        Args:
            query: What to look for, in anyone's words.
            scope: Whose memory; exactly its agent, all its sessions, unless `options` says else.
            limit: Matches at most.
            min_similarity: 0..1; leave out what is further away.
            namespace: Look only in this subtree.
            filter: Look only at records that meet this condition.
            mode: "hybrid" ranks by meaning and words, "vector" by meaning, "text" by words.
            options: How recall differs from the default.
            deadline: Seconds the call may take.

        Raises:
            DeadlineExceededError: It took longer.
        """
        with self._call("retrieve", scope):
            chosen = check_options(options, mode=mode)
            check_limit(limit, most=self._limits.results)
            check_mode(mode, min_similarity=min_similarity)
            text, condition = check_query(query), as_filter(filter)
            asked = subtrees(
                chosen,
                namespace=namespace,
                limit=limit,
                min_similarity=min_similarity,
                most=self._limits.results,
            )
            reach = self._point(scope, chosen.include_agents, chosen.only_session)
            seconds = check_deadline(deadline)
            async with (
                _UNBOUND if seconds is None else within(seconds, operation="retrieve", scope=scope)
            ):
                text = await self._redacting.query(text)
                await self._ready.ensure(scope)
                return await self._retriever.answer(
                    text,
                    reach=reach,
                    asked=asked,
                    limit=limit,
                    mode=mode,
                    condition=condition,
                    min_relevance=chosen.min_relevance,
                    candidates=chosen.candidates,
                    as_of=chosen.as_of,
                    supersede=chosen.supersede,
                )

    async def context(
        self,
        query: str,
        *,
        scope: Scope,
        max_tokens: int,
        limit: int = 20,
        min_similarity: float | None = None,
        namespace: str | None = None,
        filter: FilterLike | None = None,  # noqa: A002 - the public word for it
        mode: RetrievalMode = "hybrid",
        options: RetrievalOptions | None = None,
        deadline: float | None = None,
        count_tokens: Callable[[str], int] = estimate_tokens,
    ) -> MemoryContext:
        """Recall as a block of text for a model: escaped, fenced, labelled, within a budget.

        Args:
            query: What to look for; usually what the user just said.
            scope: Whose memory.
            max_tokens: Size of the block at most.
            limit: Matches considered at most.
            min_similarity: As in `retrieve`, like the arguments that follow.
            namespace: Look only in this subtree.
            filter: Look only at records that meet this condition.
            mode: How to rank.
            options: How recall differs from the default.
            deadline: Seconds the call may take.
            count_tokens: How to count; the default estimates cautiously for any model.
        """
        with self._call("context", scope):
            budget = check_tokens(max_tokens)
            matches = await self.retrieve(
                query,
                scope=scope,
                limit=limit,
                min_similarity=min_similarity,
                namespace=namespace,
                filter=filter,
                mode=mode,
                options=options,
                deadline=deadline,
            )
            return build_context(matches, max_tokens=budget, count_tokens=count_tokens)
