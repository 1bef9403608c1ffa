"""langchain-aws: its vector store over S3 Vectors and its embeddings over Bedrock."""

from __future__ import annotations

import json
import sys

from langchain_aws import BedrockEmbeddings  # type: ignore[import-not-found]
from langchain_aws.vectorstores import AmazonS3Vectors  # type: ignore[import-not-found]

TEXTS = [
    "Ada prefers window seats on long flights.",
    "The invoice was paid in March.",
    "Rex the dog is afraid of thunder.",
]
MODELS = {
    "titan": "amazon.titan-embed-text-v2:0",
    "cohere": "cohere.embed-english-v3",
    "cohere4": "cohere.embed-v4:0",
}


def used(name: str, model: str) -> dict[str, object]:
    """Return what a store over a model finds."""
    store = AmazonS3Vectors(
        vector_bucket_name="langchain",
        index_name=f"memory-{name}",
        embedding=BedrockEmbeddings(model_id=model),
        non_filterable_metadata_keys=["_page_content"],
    )
    metadatas = [{"user": "ada"}, {"user": "bob"}, {"user": "ada"}]
    ids = store.add_texts(TEXTS, metadatas, ids=["a", "b", "c"])
    filtered = store.similarity_search("which seat for Ada?", k=3, filter={"user": "ada"})
    [(best, distance)] = store.similarity_search_with_score("what is the dog afraid of?", k=1)
    [bob] = store.similarity_search("seats", k=3, filter={"user": {"$eq": "bob"}})
    got = store.get_by_ids(["b", "a"])
    asked = store.as_retriever(search_kwargs={"k": 1}).invoke("was the invoice paid?")
    store.delete(["a"])
    return {
        "ids": ids,
        "filtered": [each.page_content for each in filtered],
        "best": best.page_content,
        "distance": distance,
        "bob": bob.metadata,
        "got": [each.page_content for each in got],
        "asked": [each.page_content for each in asked],
        "left": len(store.similarity_search("anything", k=10)),
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps({name: used(name, model) for name, model in MODELS.items()}))
