"""The embedders that come with memlane are embedders."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest

from memlane.aws.bedrock import BedrockEmbedder
from memlane.aws.bedrock.models import MODELS
from memlane.aws.credentials import HostCredentials, StaticCredentials
from memlane.aws.plane import DataPlane
from memlane.local import MiniLMEmbedder
from memlane.testing import EmbedderConformance, HashingEmbedder, HashingImageEmbedder
from memlane.testing.emulator import Emulator


class TestHashingEmbedder(EmbedderConformance):
    """The fake one."""

    @pytest.fixture(params=[64, 8, 384], ids=lambda dimensions: f"d{dimensions}")
    def embedder(self, request: pytest.FixtureRequest) -> HashingEmbedder:
        return HashingEmbedder(request.param, max_batch=16, max_chars=400)


class TestHashingImageEmbedder(EmbedderConformance):
    """The fake one that sees pictures."""

    @pytest.fixture
    def embedder(self) -> HashingImageEmbedder:
        return HashingImageEmbedder(256, max_batch=16, max_chars=400)


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


class TestBedrockEmbedder(EmbedderConformance):
    """Every model that is known, as the emulator plays it."""

    @pytest.fixture(
        params=[(model.name, dimensions) for model in MODELS for dimensions in model.dimensions],
        ids=lambda chosen: f"{chosen[0]}-{chosen[1]}",
    )
    async def embedder(
        self, request: pytest.FixtureRequest, emulator: Emulator
    ) -> AsyncIterator[BedrockEmbedder]:
        model, dimensions = request.param
        admin = StaticCredentials(emulator.admin.access_key, emulator.admin.secret_key)
        plane = DataPlane(region=emulator.region, endpoint_urls={"*": emulator.url})
        await plane.enter()
        yield BedrockEmbedder(
            model, plane=plane, credentials=HostCredentials(admin), dimensions=dimensions
        )
        await plane.aclose()
