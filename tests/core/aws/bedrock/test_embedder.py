"""Batches, failures and counts of the Bedrock embedder, over a server that answers to order."""

from __future__ import annotations

import json
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import anyio
import anyio.to_thread
import numpy as np
import pytest

from core.aws.bedrock.answering import Answer, Answering, answering
from memlane.aws.bedrock import BedrockEmbedder
from memlane.aws.credentials import HostCredentials, StaticCredentials
from memlane.aws.plane import DataPlane
from memlane.embeddings import embed_all
from memlane.errors import (
    AccessDeniedError,
    CredentialsError,
    EmbeddingSpaceError,
    RequestRejectedError,
    StoreNotFoundError,
    UnavailableError,
    ValidationError,
)
from memlane.protocols import Credentials

TITAN = "amazon.titan-embed-text-v2:0"
COHERE = "cohere.embed-v4:0"
HIDDEN = "never-to-be-shown"


def number_of(text: str) -> float:
    return float(text.rpartition(" ")[2])


def titan(asked: Any) -> Answer:
    """A vector that tells which text it is of."""
    number = number_of(asked["inputText"])
    angle = 0.001 + number / 1_000
    row = [np.cos(angle), np.sin(angle), *[0.0] * (asked["dimensions"] - 2)]
    return Answer({"embedding": row}, headers={"X-Amzn-Bedrock-Input-Token-Count": "3"})


def cohere(asked: Any) -> Answer:
    rows = [
        titan({"inputText": text, "dimensions": asked["output_dimension"]}).body
        for text in asked["texts"]
    ]
    tokens = str(3 * len(rows))
    # Twice as long as they should be.
    body = {"embeddings": [(2 * np.array(row["embedding"])).tolist() for row in rows]}  # type: ignore[index]
    return Answer(body, headers={"x-amzn-bedrock-input-token-count": tokens})


def numbers(vectors: Any) -> list[int]:
    """Return which texts the vectors are of."""
    angles = np.arctan2(vectors[:, 1].astype(np.float64), vectors[:, 0])
    return [round(float(angle) * 1_000) - 1 for angle in angles]


@pytest.fixture
def server() -> Iterator[Answering]:
    """Answers as Titan does until a test says otherwise."""
    with answering(titan) as running:
        yield running


@pytest.fixture
async def plane(server: Answering) -> AsyncIterator[DataPlane]:
    """Connections to that server."""
    opened = DataPlane(region="us-east-1", endpoint_urls={"*": server.url})
    yield opened
    await opened.aclose()


@pytest.fixture
def make(plane: DataPlane) -> Callable[..., BedrockEmbedder]:
    """Makes embedders of 256 dimensions."""

    def made(model: str = TITAN, **settings: Any) -> BedrockEmbedder:
        host = HostCredentials(StaticCredentials("AKIA", HIDDEN))
        given = {"plane": plane, "credentials": host, "dimensions": 256, **settings}
        return BedrockEmbedder(model, **given)

    return made


Make = Callable[..., BedrockEmbedder]


def texts(count: int) -> list[str]:
    return [f"text {n}" for n in range(count)]


async def test_rows_are_in_order_and_of_length_one(make: Make, server: Answering) -> None:
    """Each text is a request, whatever comes first; equal texts are asked for once."""
    asked = [*texts(120), "text 7", "text 0"]
    vectors = await make().embed(asked, purpose="document")
    assert numbers(vectors) == [*range(120), 7, 0]
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert len(server.asked) == 120
    assert set(server.paths) == {"/model/amazon.titan-embed-text-v2%3A0/invoke"}


async def test_cohere_takes_96_a_request(make: Make, server: Answering) -> None:
    """200 texts are three requests."""
    server.answer = cohere
    embedder = make(COHERE)
    vectors = await embedder.embed(texts(200), purpose="query")
    assert numbers(vectors) == list(range(200))
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)
    assert sorted(len(asked["texts"]) for asked in server.asked) == [8, 96, 96]
    assert embedder.space.id == "cohere.embed-v4:0:256:purposes"


async def test_what_the_service_counts_is_summed_up(make: Make, server: Answering) -> None:
    """Tokens come from the header, else from the body, else are not known."""
    embedder = make()
    await embedder.embed(texts(4), purpose="document")
    used = embedder.usage
    assert (used.requests, used.texts, used.tokens) == (4, 4, 12)

    def without_header(asked: Any) -> Answer:
        body: Any = titan(asked).body
        return Answer({**body, "inputTextTokenCount": 5})

    server.answer = without_header
    await embedder.embed(["text 9"], purpose="document")
    server.answer = lambda asked: Answer(titan(asked).body)
    await embedder.embed(["text 9"], purpose="document")
    assert (embedder.usage.requests, embedder.usage.tokens) == (6, 17)
    server.answer = cohere
    other = make(COHERE)
    await other.embed(texts(100), purpose="document")
    assert (other.usage.requests, other.usage.texts, other.usage.tokens) == (2, 100, 300)


async def test_concurrency_is_bounded(make: Make, server: Answering) -> None:
    """No more requests of a call are open at once than allowed, and as many are."""
    server.gate = threading.Event()
    embedder = make(concurrency=8)
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: embedder.embed(texts(40), purpose="document"))
        await anyio.to_thread.run_sync(server.wait_until_open, 8)
        server.gate.set()
    assert server.most == 8
    assert len(server.asked) == 40


async def test_by_default_96_texts_are_asked_for_at_once(make: Make, server: Answering) -> None:
    """One round of the service's latency for a batch, and no more requests than that."""
    server.gate = threading.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(lambda: make().embed(texts(130), purpose="document"))
        await anyio.to_thread.run_sync(server.wait_until_open, 96)
        server.gate.set()
    assert server.most == 96


async def test_one_that_fails_ends_the_others(make: Make, server: Answering) -> None:
    """The error is the failed request's own, and what waited is not sent."""

    def answer(asked: Any) -> Answer:
        if number_of(asked["inputText"]) == 3:
            return Answer({"message": "no"}, 400, {"x-amzn-errortype": "ValidationException"})
        return titan(asked)

    server.answer = answer
    with pytest.raises(RequestRejectedError, match="ValidationException") as caught:
        await make(concurrency=4).embed(texts(400), purpose="document")
    assert caught.value.detail == "no"
    assert len(server.asked) < 100


async def test_cancelling_ends_what_was_begun(make: Make, server: Answering) -> None:
    """A deadline of the caller's ends the call, and the next one is answered rightly."""
    server.gate = threading.Event()
    embedder = make()
    with anyio.move_on_after(0.05) as limit:
        await embedder.embed(texts(20), purpose="document")
    assert limit.cancelled_caught
    server.gate.set()
    assert numbers(await embedder.embed(["text 77"], purpose="document")) == [77]


class Renewed:
    """A host whose first keys have ended without saying so."""

    def __init__(self) -> None:
        self.calls = 0

    async def __call__(self) -> Credentials:
        self.calls += 1
        return Credentials(access_key="OLD0" if self.calls == 1 else "NEW0", secret_key=HIDDEN)


def expired(server: Answering, *, good: int) -> Callable[[Any], Answer]:
    """Answer so many, then refuse what old keys sign."""

    def answer(asked: Any) -> Answer:
        if server.keys.count("NEW0") == 0 and len(server.asked) > good:
            return Answer({"message": "ended"}, 403, {"x-amzn-errortype": "ExpiredTokenException"})
        return titan(asked)

    return answer


async def test_keys_that_end_on_the_way_are_renewed(make: Make, server: Answering) -> None:
    """What is missing is asked for again with others, and what was answered is not."""
    server.answer = expired(server, good=5)
    host = Renewed()
    embedder = make(credentials=HostCredentials(host), concurrency=1)
    vectors = await embedder.embed(texts(12), purpose="document")
    assert numbers(vectors) == list(range(12))
    assert host.calls == 2
    assert (server.keys.count("OLD0"), server.keys.count("NEW0")) == (6, 7)


async def test_keys_are_renewed_once(make: Make, server: Answering) -> None:
    """A service that refuses the new ones too is believed."""
    refused = Answer({"message": "who?"}, 403, {"x-amzn-errortype": "UnrecognizedClientException"})
    server.answer = lambda _: refused
    with pytest.raises(CredentialsError):
        await make(credentials=HostCredentials(Renewed())).embed(["text 1"], purpose="query")
    assert server.keys == ["OLD0", "NEW0"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"embedding": [NaN, 1.0]}',
        b'{"embedding": [Infinity, 1.0]}',
        {"embedding": [1e39] + [0.0] * 255},
        {"embedding": [None] * 256},
        {"embedding": [0.5] * 255},
        {"embedding": [[0.5] * 256] * 2},
        {"embedding": "text"},
        {"embedding": {"float": [0.5]}},
        {"message": "hello"},
        [],
        "text",
    ],
    ids=lambda body: str(body)[:40],
)
async def test_what_is_no_vector_is_refused(make: Make, server: Answering, body: object) -> None:
    """NaN, another dimension, another shape: said as what it is, and nothing is returned."""
    for headers in ({}, {"x-amzn-bedrock-input-token-count": "3"}):
        server.answer = lambda _, headers=headers: Answer(body, headers=headers)  # type: ignore[misc]
        with pytest.raises(EmbeddingSpaceError):
            # What the numbers are worth is looked at for all embedders in one place.
            await embed_all(make(), ["text 1"], purpose="document")


@pytest.mark.parametrize("row", [[1e39] + [0.0] * 255, [None] * 256], ids=["huge", "null"])
async def test_what_cannot_be_scaled_is_refused(
    make: Make, server: Answering, row: list[object]
) -> None:
    """No length, no direction."""
    server.answer = lambda _: Answer({"embeddings": [row]})
    with pytest.raises(EmbeddingSpaceError, match="NaN"):
        await make(COHERE).embed(["text 1"], purpose="document")


async def test_the_copy_of_the_numbers_is_not_read(make: Make, server: Answering) -> None:
    """Titan says its vector twice; what is between and behind is looked at when it is not so."""
    row = [1.0] + [0.0] * 255
    text = json.dumps(row, separators=(",", ":")).encode()
    header = {"x-amzn-bedrock-input-token-count": "3"}
    for body in (
        b'{"embedding":%b,"embeddingsByType":{"float":broken}}' % text,
        b'{ "inputTextTokenCount": 3, "embedding" : %b }' % text,
        b'{"embeddingsByType":{"float":%b},"embedding":%b}' % (text, text),
    ):
        server.answer = lambda _, body=body: Answer(body, headers=header)  # type: ignore[misc]
        [found] = await make().embed(["text 1"], purpose="query")
        assert found.tolist() == row


async def test_an_answer_for_fewer_texts_is_refused(make: Make, server: Answering) -> None:
    """A row that is missing must not become another text's."""
    server.answer = lambda asked: cohere({**asked, "texts": asked["texts"][1:]})
    with pytest.raises(EmbeddingSpaceError, match="shape"):
        await make(COHERE).embed(texts(3), purpose="document")


@pytest.mark.parametrize("count", [1, 3])
async def test_an_answer_that_is_cut_is_no_answer(
    make: Make, server: Answering, count: int
) -> None:
    """JSON that ends early is the service's failure, and one of several says why as one alone."""
    server.answer = lambda _: Answer(b'{"embedding": [0.1, 0.2')
    with pytest.raises(UnavailableError) as caught:
        await make().embed(texts(count), purpose="document")
    assert caught.value.wire_operation == "InvokeModel"
    assert isinstance(caught.value.__cause__, ValueError)


@pytest.mark.parametrize(
    ("status", "code", "message", "error", "remedy"),
    [
        (403, "AccessDeniedException", "not allowed", AccessDeniedError, "bedrock:InvokeModel"),
        (404, "ResourceNotFoundException", "no model", StoreNotFoundError, "us-east-1"),
        (
            400,
            "ValidationException",
            "Invocation of model ID cohere with on-demand throughput isn\u2019t supported.",
            RequestRejectedError,
            "inference profile",
        ),
        (
            400,
            "ValidationException",
            "The provided model identifier is invalid.",
            RequestRejectedError,
            "us-east-1",
        ),
    ],
)
async def test_refusals_say_what_to_do(
    *,
    make: Make,
    server: Answering,
    status: int,
    code: str,
    message: str,
    error: type[Exception],
    remedy: str,
) -> None:
    """The usual mistakes with models are named with their cure; codes stay."""
    headers = {"x-amzn-errortype": code, "x-amzn-requestid": "r-1"}
    server.answer = lambda _: Answer({"message": message}, status, headers)
    with pytest.raises(error, match=remedy) as caught:
        await make().embed(["text 1"], purpose="document")
    assert caught.value.code == code  # type: ignore[attr-defined]
    assert caught.value.request_id == "r-1"  # type: ignore[attr-defined]
    assert HIDDEN not in str(caught.value)


@pytest.mark.parametrize(
    "inputs", [[""], ["x" * 8_001], ["\ud800"], [b"bytes"], [None], ["text"] * 961], ids=repr
)
async def test_what_cannot_be_embedded_is_refused_unsent(
    make: Make, server: Answering, inputs: list[Any]
) -> None:
    """Nothing is sent, and nothing paid, for a text the model would refuse."""
    with pytest.raises(ValidationError):
        await make().embed(["text 1", *inputs], purpose="document")
    assert server.asked == []


async def test_a_vector_of_any_length_is_scaled(make: Make, server: Answering) -> None:
    """Also where the square of its length is beyond what a float32 holds, or is nothing."""
    for size in (1e30, 1e-30):
        server.answer = lambda _, size=size: Answer({"embeddings": [[size] * 256]})  # type: ignore[misc]
        vectors = await make(COHERE).embed(["text 1"], purpose="document")
        np.testing.assert_allclose(vectors, 1 / 16, rtol=1e-5)


async def test_nothing_is_nothing(make: Make, server: Answering) -> None:
    """No texts are no request."""
    assert (await make().embed([], purpose="query")).shape == (0, 256)
    assert server.asked == []


@pytest.mark.parametrize(
    ("model", "settings"),
    [
        (TITAN, {"dimensions": 768}),
        ("cohere.embed-english-v3", {"dimensions": 256}),
        (TITAN, {"dimensions": 0}),
        (TITAN, {"concurrency": 0}),
        ("no.such-model", {}),
    ],
)
async def test_settings_that_no_model_has(make: Make, model: str, settings: dict[str, Any]) -> None:
    """Refused when the embedder is made."""
    with pytest.raises(ValidationError):
        make(model, **settings)


async def test_1024_dimensions_unless_said(make: Make) -> None:
    """The same for all models: an index is made for one number of dimensions."""
    for model in (TITAN, COHERE, "amazon.nova-2-multimodal-embeddings-v1:0"):
        assert make(model, dimensions=None).space.dimensions == 1024
