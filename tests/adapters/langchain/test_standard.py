"""LangChain's own suite for retrievers."""

from __future__ import annotations

from typing import Any

import pytest
from langchain_core.retrievers import BaseRetriever
from langchain_tests.integration_tests import RetrieversIntegrationTests

from memlane import MemoryClient, Scope
from memlane_langchain import MemlaneRetriever


class TestMemlaneRetriever(RetrieversIntegrationTests):
    """The retriever does what LangChain expects of every retriever."""

    @pytest.fixture(autouse=True)
    def _memory(self, client: MemoryClient, ada: Scope) -> None:
        self._params = {"client": client, "scope": ada}

    @property
    def retriever_constructor(self) -> type[BaseRetriever]:
        return MemlaneRetriever

    @property
    def retriever_constructor_params(self) -> dict[str, Any]:
        return self._params

    @property
    def retriever_query_example(self) -> str:
        return "what does Ada like?"
