"""Bedrock's models answer as the emulator's do."""

from __future__ import annotations

import numpy as np
import pytest

from live.account import Account
from memlane import AccessDeniedError, RequestRejectedError, StoreNotFoundError
from memlane.aws.bedrock import BedrockEmbedder
from memlane.aws.bedrock.models import MODELS
from memlane.protocols import Purpose

TEXTS = ["Prefers window seats", "Likes to sit by the window", "The invoice was paid in March"]


@pytest.mark.parametrize("model", [model.name for model in MODELS])
async def test_a_model(account: Account, model: str) -> None:
    """Every dimension it has; related texts are near; tokens are counted."""
    for dimensions in next(each for each in MODELS if each.name == model).dimensions:
        embedder = BedrockEmbedder(
            model, plane=account.plane, credentials=account.host, dimensions=dimensions
        )
        try:
            rows = await embedder.embed(TEXTS, purpose="document")
        except (AccessDeniedError, StoreNotFoundError, RequestRejectedError) as error:
            account.facts[f"{model} here"] = f"{error.code}: {error.detail}"
            pytest.skip(f"{model} cannot be asked in this account and region: {error.code}")
        assert rows.shape == (3, dimensions)
        assert float(rows[0] @ rows[1]) > float(rows[0] @ rows[2])
        assert embedder.usage.tokens > 0
    account.facts[f"{model} here"] = "answers"


@pytest.mark.parametrize("purpose", ["document", "query"])
async def test_the_longest_text(account: Account, purpose: Purpose) -> None:
    """What memlane lets through is taken, in scripts that need many tokens too."""
    for model in MODELS:
        embedder = BedrockEmbedder(model.name, plane=account.plane, credentials=account.host)
        for text in ("window seats " * 4_000, "\u7a97\u8fb9\u7684\u5ea7\u4f4d" * 8_000):
            try:
                rows = await embedder.embed([text[: embedder.max_chars]], purpose=purpose)
            except (AccessDeniedError, StoreNotFoundError) as error:
                account.facts[f"{model.name} here"] = str(error.code)
                break
            assert np.isfinite(rows).all()
