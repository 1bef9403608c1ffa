"""The retriever. LangChain copies it, calls it from threads and from any loop, and traces it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Self, cast

from memlane import MemoryClient, MissingExtraError, RetrievalMode, RetrievalOptions, Scope
from memlane.filters import FilterLike
from memlane.runtime import SyncBridge
from memlane_langchain.documents import metadata_of

try:
    from langchain_core.callbacks import (
        AsyncCallbackManagerForRetrieverRun,
        CallbackManagerForRetrieverRun,
    )
    from langchain_core.documents import Document
    from langchain_core.retrievers import BaseRetriever
    from langchain_core.runnables import RunnableConfig, ensure_config
    from pydantic import Field, InstanceOf, SkipValidation, model_validator
except ImportError as exc:
    raise MissingExtraError(
        "memlane_langchain needs langchain-core", remedy="pip install 'memlane[langchain]'"
    ) from exc

__all__ = ("MemlaneRetriever",)


class MemlaneRetriever(BaseRetriever):
    """Recall as a LangChain retriever: documents, best first, of one scope.

    Awaited calls run on the caller's loop, synchronous ones on memlane's own. `k`, `filter`,
    `namespace`, `mode` and `min_similarity` may also be given for one call, as keywords of
    `invoke` and its kin, in the place of what the retriever was made with.

    A document has the record's id, its whole text and its metadata; what memlane knows of it
    (score, similarity, passage, namespace, kind, actor, source, occurred_at, tags) is in the
    metadata's entry "memlane". What is recalled was written by users and models: untrusted data.

    Attributes:
        client: The memory. It is not closed by the retriever.
        scope: Whose memory; either this or `scope_from`.
        scope_from: Says whose memory a call is about, from the `configurable` of its config. Give
            it only if your code, and not a request, fills the keys it reads.
        k: Documents at most.
        filter: Only records that meet this condition.
        namespace: Only records of this subtree.
        mode: "hybrid", "vector" or "text".
        min_similarity: 0..1; leave out what is further away.
        options: How recall differs from the default.
        deadline: Seconds a call may take; then it raises `DeadlineExceededError`.
    """

    # Not part of the representation, which tracers send away: who is asked about, and for what.
    client: InstanceOf[MemoryClient] = Field(repr=False)
    # No coercion: a scope that comes out of a dict was made by whoever sent the dict.
    scope: InstanceOf[Scope] | None = Field(default=None, repr=False)
    scope_from: Callable[[Mapping[str, Any]], Scope] | None = Field(default=None, repr=False)
    k: int = 4
    filter: SkipValidation[FilterLike | None] = Field(default=None, repr=False)
    namespace: str | None = None
    mode: RetrievalMode = "hybrid"
    min_similarity: float | None = None
    options: InstanceOf[RetrievalOptions] | None = None
    deadline: float | None = None

    @model_validator(mode="after")
    def _one_scope(self) -> Self:
        if (self.scope is None) is (self.scope_from is None):
            raise ValueError("pass either scope or scope_from: whose memory is it?")
        return self

    def invoke(
        self,
        input: str,  # noqa: A002 - LangChain's word for it
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        return super().invoke(input, config, **self._told(config, kwargs))

    async def ainvoke(
        self,
        input: str,  # noqa: A002 - LangChain's word for it
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> list[Document]:
        return await super().ainvoke(input, config, **self._told(config, kwargs))

    def _told(self, config: RunnableConfig | None, kwargs: dict[str, Any]) -> dict[str, Any]:
        if self.scope_from is None:
            return kwargs
        # What is called below gets no config. Nobody's keyword takes the place of the config's.
        return {**kwargs, "configurable": ensure_config(config).get("configurable", {})}

    # LangChain passes keywords on only if this signature, the synchronous one, has them.
    def _get_relevant_documents(
        self,
        query: str,
        *,
        run_manager: CallbackManagerForRetrieverRun,  # noqa: ARG002 - its name is looked for
        k: int | None = None,
        filter: FilterLike | None = None,  # noqa: A002 - the public word for it
        namespace: str | None = None,
        mode: RetrievalMode | None = None,
        min_similarity: float | None = None,
        configurable: Mapping[str, Any] | None = None,
    ) -> list[Document]:
        return SyncBridge().call(
            self._answer,
            query,
            k=k,
            filter=filter,
            namespace=namespace,
            mode=mode,
            min_similarity=min_similarity,
            configurable=configurable,
        )

    async def _aget_relevant_documents(
        self,
        query: str,
        *,
        run_manager: AsyncCallbackManagerForRetrieverRun,  # noqa: ARG002 - passed if the twin has it
        k: int | None = None,
        filter: FilterLike | None = None,  # noqa: A002 - the public word for it
        namespace: str | None = None,
        mode: RetrievalMode | None = None,
        min_similarity: float | None = None,
        configurable: Mapping[str, Any] | None = None,
    ) -> list[Document]:
        return await self._answer(
            query,
            k=k,
            filter=filter,
            namespace=namespace,
            mode=mode,
            min_similarity=min_similarity,
            configurable=configurable,
        )

    async def _answer(
        self,
        query: str,
        *,
        k: int | None,
        filter: FilterLike | None,  # noqa: A002 - the public word for it
        namespace: str | None,
        mode: RetrievalMode | None,
        min_similarity: float | None,
        configurable: Mapping[str, Any] | None,
    ) -> list[Document]:
        matches = await self.client.retrieve(
            query,
            scope=self._whose(configurable),
            limit=self.k if k is None else k,
            filter=self.filter if filter is None else filter,
            namespace=self.namespace if namespace is None else namespace,
            mode=self.mode if mode is None else mode,
            min_similarity=self.min_similarity if min_similarity is None else min_similarity,
            options=self.options,
            deadline=self.deadline,
        )
        return [
            # The whole text, whichever passage of it was found: chains read what was said.
            Document(
                id=match.record.id, page_content=match.record.text, metadata=metadata_of(match)
            )
            for match in matches
        ]

    def _whose(self, configurable: Mapping[str, Any] | None) -> Scope:
        if self.scope_from is not None:
            return self.scope_from(MappingProxyType(dict(configurable or {})))
        return cast("Scope", self.scope)  # one of the two is there; None is refused by the client
