"""strands-s3-vectors-memory: one tenant with the host's credentials, and many through STS."""

from __future__ import annotations

import json
import os
import sys

from botocore.exceptions import ClientError
from strands_s3_vectors_memory import (  # type: ignore[import-not-found]
    MultiTenantS3VectorMemory,
    S3VectorMemory,
)
from strands_s3_vectors_memory.token_vending_machine import (  # type: ignore[import-not-found]
    IsolationError,
)

BUCKET = "strands"
ACME, GLOBEX = {"tenantId": "acme"}, {"tenantId": "globex"}


def single() -> list[str]:
    memory = S3VectorMemory(bucket_name=BUCKET)
    memory.store_memory("ada", "Ada prefers window seats on long flights.", agent_name="travel")
    memory.store_memory("ada", "Rex the dog is afraid of thunder.", agent_name="home")
    memory.store_memory("bob", "Bob prefers aisle seats.")
    found = memory.retrieve_memories("ada", "which seat on the flight?", top_k=2)
    narrow = memory.retrieve_memories("ada", "seat", agent_name="home")
    assert [each["content"] for each in narrow] == ["Rex the dog is afraid of thunder."]
    return [each["content"] for each in found]


def multi() -> dict[str, object]:
    memory = MultiTenantS3VectorMemory(
        bucket_name=BUCKET, tvm_role_arn=os.environ["MEMLANE_ROLE_ARN"]
    )
    memory.store_memory("ada", "Acme's secret is blue.", tenant_context=ACME)
    memory.store_memory("ada", "Globex's secret is red.", tenant_context=GLOBEX)
    found = {
        each["tenantId"]: [
            one["content"]
            for one in memory.retrieve_memories("ada", "what is the secret?", tenant_context=each)
        ]
        for each in (ACME, GLOBEX)
    }
    return {**found, "across": across(memory), "unnamed": unnamed(memory)}


def across(memory: MultiTenantS3VectorMemory) -> str:
    """Return what one tenant hears of the other's index."""
    client = memory._get_s3vectors_client(ACME)
    try:
        client.query_vectors(
            vectorBucketName=BUCKET,
            indexName="memory-globex",
            topK=1,
            queryVector={"float32": [1.0] * 1_024},
        )
    except ClientError as error:
        return str(error)
    raise AssertionError


def unnamed(memory: MultiTenantS3VectorMemory) -> str:
    """Return what a tenant hears whose name no session can have."""
    try:
        memory._get_s3vectors_client({"tenantId": "a/b"})
    except IsolationError as error:
        return str(error)
    raise AssertionError


if __name__ == "__main__":
    sys.stdout.write(json.dumps({"single": single(), "multi": multi()}))
