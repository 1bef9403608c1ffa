"""Pictures through Bedrock: which models see them, what is sent, and what is refused unsent."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import numpy as np
import pytest

from core.aws.bedrock.answering import Answer, Answering, answering
from memlane import Image, MemoryClient, Scope, Text
from memlane.aws.bedrock import BedrockEmbedder
from memlane.aws.bedrock.models import MODELS
from memlane.aws.bedrock.pictures import MAX_IMAGES
from memlane.aws.credentials import HostCredentials, StaticCredentials
from memlane.aws.plane import DataPlane
from memlane.errors import (
    AccessDeniedError,
    EmbeddingSpaceError,
    RequestRejectedError,
    ValidationError,
)
from memlane.local import InMemoryBackend
from memlane.media import MAX_PICTURE_BYTES
from memlane.powers import SupportsImages
from memlane.protocols import Credentials
from memlane.testing import gif, png
from memlane.testing.emulator import Emulator

NOVA = "amazon.nova-2-multimodal-embeddings-v1:0"
ADA = Scope("ada", tenant="acme")
Make = Callable[..., BedrockEmbedder]


def shown(asked: Any) -> bytes:
    """Return the picture that a request holds."""
    return base64.b64decode(asked["singleEmbeddingParams"]["image"]["source"]["bytes"])


def nova(asked: Any) -> Answer:
    """A vector that tells which picture it is of, twice as long as it should be."""
    digest = hashlib.sha256(shown(asked)).digest()
    count = asked["singleEmbeddingParams"]["embeddingDimension"]
    row = np.resize(np.frombuffer(digest, np.uint8).astype(float) - 127.5, count)
    told = (2 * row / np.linalg.norm(row)).tolist()
    return Answer({"embeddings": [{"embeddingType": "IMAGE", "embedding": told}]})


def refusal(status: int, code: str) -> Answer:
    return Answer({"message": "no"}, status, {"x-amzn-errortype": code})


@pytest.fixture
def server() -> Any:
    """Answers as Nova does until a test says otherwise."""
    with answering(nova) as running:
        yield running


@pytest.fixture
async def make(server: Answering) -> AsyncIterator[Make]:
    """Makes embedders of 256 dimensions."""
    plane = DataPlane(region="us-east-1", endpoint_urls={"*": server.url})

    def made(model: str = NOVA, **settings: Any) -> BedrockEmbedder:
        host = HostCredentials(StaticCredentials("AKIA", "secret"))
        given = {"plane": plane, "credentials": host, "dimensions": 256, **settings}
        return BedrockEmbedder(model, **given)

    yield made
    await plane.aclose()


async def test_who_sees_pictures(make: Make) -> None:
    """Nova does, also through a profile; no other model has that power."""
    seeing = [
        model.name
        for model in MODELS
        if isinstance(make(model.name, dimensions=None), SupportsImages)
    ]
    assert seeing == [NOVA]
    assert isinstance(make(f"us.{NOVA}"), SupportsImages)


async def test_what_is_sent(make: Make, server: Answering) -> None:
    """A request a picture, with its format; rows are in order and of length one."""
    pictures = [png("one"), gif("two"), b"\xff\xd8\xff\xe0", *[png(str(n)) for n in range(20)]]
    vectors = await make().embed_images([Image(each) for each in pictures])
    assert vectors.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    sent = {shown(asked): asked["singleEmbeddingParams"] for asked in server.asked}
    assert set(sent) == set(pictures)
    assert [sent[each]["image"]["format"] for each in pictures[:3]] == ["png", "gif", "jpeg"]
    assert {params["embeddingPurpose"] for params in sent.values()} == {"GENERIC_INDEX"}
    assert {params["embeddingDimension"] for params in sent.values()} == {256}
    for row, picture in zip(vectors, pictures, strict=True):
        told: Any = nova({"singleEmbeddingParams": {**sent[picture]}}).body
        np.testing.assert_allclose(row * 2, told["embeddings"][0]["embedding"], atol=1e-6)
    assert server.most <= 4


async def test_what_was_used_is_counted(make: Make) -> None:
    """Pictures are counted apart from texts."""
    embedder = make()
    await embedder.embed_images([Image(png()), Image(gif())])
    used = embedder.usage
    assert (used.requests, used.texts, used.pictures) == (2, 0, 2)


BAD: dict[str, list[Image]] = {
    "a path": [Image("photo.png")],
    "no picture": [Image(png()), Image(b"hello")],
    "nothing": [Image(b"")],
    "something else": [cast("Any", png())],
    "too large": [Image(png() + bytes(MAX_PICTURE_BYTES))],
    "too many": [Image(png())] * (MAX_IMAGES + 1),
}


@pytest.mark.parametrize("images", BAD.values(), ids=BAD)
async def test_refused_unsent(make: Make, server: Answering, images: list[Image]) -> None:
    """What the model would not take is not sent, nor is what stands beside it."""
    with pytest.raises(ValidationError) as caught:
        await make().embed_images(images)
    assert caught.value.remedy
    assert server.asked == []


async def test_nothing_is_nothing(make: Make, server: Answering) -> None:
    """No pictures are no rows and no requests."""
    assert (await make().embed_images([])).shape == (0, 256)
    assert server.asked == []


class Renewed:
    """Keys that end at once, and others."""

    calls = 0

    async def __call__(self) -> Credentials:
        self.calls += 1
        key = "OLD0" if self.calls == 1 else "NEW0"
        return Credentials(access_key=key, secret_key="hidden")


async def test_keys_that_end_on_the_way_are_renewed(make: Make, server: Answering) -> None:
    """Only pictures without an answer are sent again."""

    def answer(asked: Any) -> Answer:
        if server.keys[-1] == "OLD0" and len(server.asked) > 2:
            return Answer({"message": "ended"}, 403, {"x-amzn-errortype": "ExpiredTokenException"})
        return nova(asked)

    server.answer = answer
    embedder = make(credentials=HostCredentials(Renewed()), concurrency=1)
    images = [Image(png(str(n))) for n in range(5)]
    vectors = await embedder.embed_images(images)
    assert server.keys == ["OLD0"] * 3 + ["NEW0"] * 3
    assert (np.abs(vectors).sum(axis=1) > 0).all()


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        (Answer({"embeddings": []}), EmbeddingSpaceError),
        (Answer({"embeddings": [{"embedding": [1.0]}]}), EmbeddingSpaceError),
        (refusal(403, "AccessDeniedException"), AccessDeniedError),
        (refusal(400, "ValidationException"), RequestRejectedError),
    ],
)
async def test_refusals(
    make: Make, server: Answering, answer: Answer, expected: type[Exception]
) -> None:
    """An answer that is none, and a refusal, are the errors that texts have."""
    server.answer = lambda _: answer
    with pytest.raises(expected) as caught:
        await make().embed_images([Image(png("a red bicycle"))])
    assert "bicycle" not in str(caught.value)


@pytest.fixture
async def bedrock(emulator: Emulator) -> AsyncIterator[BedrockEmbedder]:
    """Nova, as the emulator plays it."""
    admin = StaticCredentials(emulator.admin.access_key, emulator.admin.secret_key)
    plane = DataPlane(region=emulator.region, endpoint_urls={"*": emulator.url})
    yield BedrockEmbedder(NOVA, plane=plane, credentials=HostCredentials(admin))
    await plane.aclose()


async def test_found_by_what_is_seen(bedrock: BedrockEmbedder) -> None:
    """Through the whole client a picture is found by a text that shares no word with its own."""
    async with MemoryClient(backend=InMemoryBackend(), embedder=bedrock) as client:
        for text in ("the invoice was paid in March", "the dog is afraid of thunder"):
            await client.store(text, scope=ADA)
        photo = png("a red bicycle leaning on a brick wall")
        stored = await client.store([Text("From the holidays"), Image(photo)], scope=ADA)
        for mode in ("hybrid", "vector"):
            [match] = await client.retrieve(
                "where was the red bicycle", scope=ADA, limit=1, mode=cast("Any", mode)
            )
            assert match.record == stored
            assert match.passage == "From the holidays"


async def test_the_largest_is_taken(bedrock: BedrockEmbedder) -> None:
    """A picture of as many bytes as are allowed fits into a request."""
    content = png("a red bicycle")
    largest = content + bytes(MAX_PICTURE_BYTES - len(content))
    vectors = await bedrock.embed_images([Image(largest)])
    assert vectors.shape == (1, 1_024)
    asked = await bedrock.embed(["a red bicycle", "taxes"], purpose="query")
    assert vectors[0] @ asked[0] > vectors[0] @ asked[1]
