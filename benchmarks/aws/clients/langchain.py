"""langchain-aws: AmazonS3Vectors and BedrockEmbeddings by their async interface, 32 threads."""

from __future__ import annotations

import importlib
from typing import Any

from benchmarks.aws.words import question, text


class LangChain:
    """`aadd_texts` and `asimilarity_search_with_score`."""

    def __init__(self, settings: dict[str, Any]) -> None:
        embeddings = importlib.import_module("langchain_aws.embeddings").BedrockEmbeddings(
            model_id=settings.get("model", "amazon.titan-embed-text-v2:0"),
            region_name="us-east-1",
            dimensions=1024,
        )
        store = importlib.import_module("langchain_aws.vectorstores.s3_vectors").AmazonS3Vectors
        self._store = store(
            vector_bucket_name=settings["bucket"],
            index_name="memory",
            embedding=embeddings,
            region_name="us-east-1",
            non_filterable_metadata_keys=["_page_content"],
        )

    async def store(self, number: int) -> None:
        """Keep one text."""
        await self._store.aadd_texts([text(number)], [{"user_id": "ada"}])

    async def store_many(self, number: int) -> None:
        """Keep 96 texts."""
        texts = [text(number * 96 + each) for each in range(96)]
        await self._store.aadd_texts(texts, [{"user_id": "ada"} for _ in texts])

    async def retrieve(self, number: int) -> int:
        """Return the five nearest."""
        found = await self._store.asimilarity_search_with_score(
            question(number), k=5, filter={"user_id": "ada"}
        )
        assert len(found) == 5
        return len(found)

    async def close(self) -> None:
        """Nothing can be closed."""


async def open_client(settings: dict[str, Any]) -> LangChain:
    """Make the store."""
    return LangChain(settings)
