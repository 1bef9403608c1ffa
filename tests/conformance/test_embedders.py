"""The embedders that come with memlane are embedders."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from memlane.local import MiniLMEmbedder
from memlane.testing import EmbedderConformance, HashingEmbedder


class TestHashingEmbedder(EmbedderConformance):
    """The fake one."""

    @pytest.fixture(params=[64, 8, 384], ids=lambda dimensions: f"d{dimensions}")
    def embedder(self, request: pytest.FixtureRequest) -> HashingEmbedder:
        return HashingEmbedder(request.param, max_batch=16, max_chars=400)


class TestMiniLMEmbedder(EmbedderConformance):
    """The local model."""

    related = (
        *EmbedderConformance.related,
        ("What pets does she have?", "My dog Rex is afraid of thunder", "The invoice is due"),
        ("Where does he live?", "He moved to a flat in Lisbon", "The build takes four minutes"),
    )

    @pytest.fixture
    async def embedder(self) -> AsyncIterator[MiniLMEmbedder]:
        opened = MiniLMEmbedder()
        yield opened
        await opened.aclose()
