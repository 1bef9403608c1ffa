"""The emulated models take what the real ones take, and put texts together that are alike."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from memlane.testing.emulator.bedrock import invoke, resources_of
from memlane.testing.emulator.failure import AwsError
from memlane.testing.emulator.switches import Switches

TITAN = "amazon.titan-embed-text-v2:0"
NOVA = "amazon.nova-2-multimodal-embeddings-v1:0"
ENGLISH = "cohere.embed-english-v3"
COHERE4 = "cohere.embed-v4:0"
PIXELS = bytes(range(256)) * 2
IMAGE = base64.b64encode(PIXELS).decode()
URI = f"data:image/png;base64,{IMAGE}"

Row = npt.NDArray[np.float64]


def ask(
    model: str, body: Mapping[str, object] | bytes, switches: Switches | None = None
) -> tuple[dict[str, Any], int]:
    """Return a model's answer and the tokens that its header counts."""
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    status, headers, answer = invoke(model, raw, switches or Switches())
    assert status == 200
    assert headers["Content-Type"] == "application/json"
    return json.loads(answer), int(headers["x-amzn-bedrock-input-token-count"])


def refusal(model: str, body: Mapping[str, object] | bytes) -> str:
    with pytest.raises(AwsError) as caught:
        ask(model, body)
    assert (caught.value.code, caught.value.status) == ("ValidationException", 400)
    return caught.value.message


def nova(value: str = "a text", /, **changes: Any) -> dict[str, Any]:
    params: dict[str, Any] = {
        "embeddingPurpose": "GENERIC_INDEX",
        "embeddingDimension": 256,
        "text": {"truncationMode": "NONE", "value": value},
    }
    params |= changes
    return {
        "schemaVersion": "nova-multimodal-embed-v1",
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": {name: each for name, each in params.items() if each is not None},
    }


def cohere(*texts: str, **more: Any) -> dict[str, Any]:
    return {"texts": list(texts), "input_type": "search_document", **more}


def row(model: str, text: str, *, query: bool = False) -> Row:
    if model == TITAN:
        return np.array(ask(TITAN, {"inputText": text})[0]["embedding"])
    if model == NOVA:
        purpose = "GENERIC_RETRIEVAL" if query else "GENERIC_INDEX"
        return np.array(
            ask(NOVA, nova(text, embeddingPurpose=purpose))[0]["embeddings"][0]["embedding"]
        )
    purpose = "search_query" if query else "search_document"
    return np.array(ask(model, cohere(text, input_type=purpose))[0]["embeddings"][0])


MODELS = [TITAN, NOVA, ENGLISH, COHERE4]


@pytest.mark.parametrize("model", MODELS)
def test_related_texts_are_near(model: str) -> None:
    ada = row(model, "Ada prefers window seats on long flights")
    taxes = row(model, "Quarterly taxes were filed by the accountant")
    question = row(model, "where should I seat Ada on the flight?", query=True)
    np.testing.assert_allclose(np.linalg.norm(ada), 1.0, atol=1e-5)
    assert ada @ row(model, "Ada preferred a window seat on the flight") > 0.6
    assert question @ ada > question @ taxes + 0.2
    assert ada @ taxes < 0.3


@pytest.mark.parametrize("model", MODELS)
def test_vectors_are_dense_and_repeatable(model: str) -> None:
    for text in ("x", " ", "\U0001f600", "我喜欢靠窗的座位", "a " * 300):
        first = row(model, text)
        assert (first != 0.0).mean() > 0.99
        assert np.array_equal(first, row(model, text))
    assert not np.array_equal(row(model, "a b"), row(model, "b a"))
    assert not np.array_equal(row(model, "Ada"), row(model, "ada"))


@pytest.mark.parametrize("model", [NOVA, ENGLISH, COHERE4])
def test_purposes_turn_vectors_a_little(model: str) -> None:
    document, query = row(model, "window seats"), row(model, "window seats", query=True)
    assert not np.array_equal(document, query)
    assert document @ query > 0.95


def test_models_have_nothing_in_common() -> None:
    english = row(ENGLISH, "window seats on flights")
    other = row("cohere.embed-multilingual-v3", "window seats on flights")
    assert abs(english @ other) < 0.3


def test_numbers_are_as_short_as_float32_allows() -> None:
    _, _, raw = invoke(TITAN, b'{"inputText": "x"}', Switches())
    assert len(raw) / 2 / 1_024 < 14, "the vector stands there twice"
    values = json.loads(raw)["embedding"]
    assert np.array_equal(np.float32(values), np.array(values).astype(np.float32))


def test_titan() -> None:
    told, count = ask(TITAN, {"inputText": "Ada prefers window seats."})
    assert set(told) == {"embedding", "embeddingsByType", "inputTextTokenCount"}
    assert told["inputTextTokenCount"] == count == 7
    assert len(told["embedding"]) == 1_024
    assert told["embeddingsByType"] == {"float": told["embedding"]}
    for dimensions in (256, 512, 1_024):
        told, _ = ask(TITAN, {"inputText": "x", "dimensions": dimensions})
        assert len(told["embedding"]) == dimensions


def test_titan_not_normalised_and_binary() -> None:
    plain = np.array(ask(TITAN, {"inputText": "x"})[0]["embedding"])
    told, _ = ask(
        TITAN, {"inputText": "x", "normalize": False, "embeddingTypes": ["binary", "float"]}
    )
    longer = np.array(told["embedding"])
    assert np.linalg.norm(longer) > 2
    np.testing.assert_allclose(longer / np.linalg.norm(longer), plain, atol=1e-6)
    assert told["embeddingsByType"]["binary"] == [int(each > 0) for each in plain]
    told, _ = ask(TITAN, {"inputText": "x", "embeddingTypes": ["binary"]})
    assert set(told) == {"embeddingsByType", "inputTextTokenCount"}


def test_titan_v1() -> None:
    assert len(ask("amazon.titan-embed-text-v1", {"inputText": "x"})[0]["embedding"]) == 1_536


def test_nova() -> None:
    told, count = ask(NOVA, nova("Ada"))
    assert told["inputTokenCount"] == count == 1
    assert [each["embeddingType"] for each in told["embeddings"]] == ["TEXT"]
    assert "truncatedCharLength" not in told["embeddings"][0]
    for dimensions in (256, 384, 1_024, 3_072):
        told, _ = ask(NOVA, nova(embeddingDimension=dimensions))
        assert len(told["embeddings"][0]["embedding"]) == dimensions
    told, _ = ask(NOVA, nova(embeddingDimension=None))
    assert len(told["embeddings"][0]["embedding"]) == 3_072


@pytest.mark.parametrize(
    ("kind", "content", "types"),
    [
        ("audio", {"format": "wav"}, ["AUDIO"]),
        (
            "video",
            {"format": "mp4", "embeddingMode": "AUDIO_VIDEO_COMBINED"},
            ["AUDIO_VIDEO_COMBINED"],
        ),
        ("video", {"format": "mp4", "embeddingMode": "AUDIO_VIDEO_SEPARATE"}, ["VIDEO", "AUDIO"]),
    ],
)
def test_nova_of_other_things(kind: str, content: dict[str, Any], types: list[str]) -> None:
    body = nova(text=None, **{kind: {**content, "source": {"bytes": IMAGE}}})
    told, _ = ask(NOVA, body)
    assert [each["embeddingType"] for each in told["embeddings"]] == types
    assert all(len(each["embedding"]) == 256 for each in told["embeddings"])


def test_nova_cuts_what_has_too_many_tokens() -> None:
    text = "\U0001f600" * 8_192
    assert "tokens exceed the maximum" in refusal(NOVA, nova(text))
    told, count = ask(NOVA, nova(text={"truncationMode": "END", "value": text}))
    assert told["embeddings"][0]["truncatedCharLength"] < 8_192
    assert count <= 8_192
    halves = "\U0001f600" * 4_000 + "\U0001f680" * 4_000
    ends = [
        ask(NOVA, nova(text={"truncationMode": mode, "value": halves}))[0]["embeddings"][0]
        for mode in ("START", "END")
    ]
    assert ends[0] != ends[1]


@pytest.mark.parametrize("model", [ENGLISH, COHERE4])
def test_cohere_in_both_shapes(model: str) -> None:
    dimensions = 1_024 if model == ENGLISH else 1_536
    told, count = ask(model, cohere("one", "two words"))
    assert told["response_type"] == "embeddings_floats"
    assert told["texts"] == ["one", "two words"]
    assert np.array(told["embeddings"]).shape == (2, dimensions)
    assert count == 3
    typed, _ = ask(model, cohere("one", "two words", embedding_types=["float"]))
    assert typed["response_type"] == "embeddings_by_type"
    assert typed["embeddings"] == {"float": told["embeddings"]}
    single, _ = ask(
        model, cohere("one", embedding_types=["float"]), Switches(cohere_single_type="list")
    )
    assert single["embeddings"] == told["embeddings"][:1]
    kinds = ["float", "int8", "uint8", "binary", "ubinary"]
    told, _ = ask(model, cohere("one", embedding_types=kinds))
    sizes = {kind: len(rows[0]) for kind, rows in told["embeddings"].items()}
    assert sizes == dict.fromkeys(kinds[:3], dimensions) | dict.fromkeys(kinds[3:], dimensions // 8)
    assert min(told["embeddings"]["int8"][0]) < 0 <= min(told["embeddings"]["uint8"][0])


def test_cohere_batches() -> None:
    texts = [f"text {n}" for n in range(96)]
    rows = ask(ENGLISH, cohere(*texts))[0]["embeddings"]
    assert rows[50] == ask(ENGLISH, cohere(texts[50]))[0]["embeddings"][0]


@pytest.mark.parametrize(("dimensions", "most"), [(256, 96), (512, 1), (1_024, 1), (1_536, 1)])
def test_cohere_v4_dimensions(dimensions: int, most: int) -> None:
    body = cohere(*["x"] * most, output_dimension=dimensions)
    assert len(ask(COHERE4, body)[0]["embeddings"][0]) == dimensions


def test_cohere_cuts_where_it_may() -> None:
    assert ask(ENGLISH, cohere("word " * 400))[1] == 400
    longer = "a b " * 500
    assert "too many tokens" in refusal(ENGLISH, cohere(longer))
    assert ask(ENGLISH, cohere(longer, truncate="END"))[1] <= 512
    head = ask(ENGLISH, cohere("start " + longer, truncate="END"))[0]["embeddings"]
    tail = ask(ENGLISH, cohere("start " + longer, truncate="START"))[0]["embeddings"]
    assert head != tail
    assert ask(COHERE4, cohere(longer))[1] == 1_000
    assert ask(COHERE4, cohere(longer, truncate="RIGHT", max_tokens=10))[1] <= 10


def test_cohere_images() -> None:
    images = {"images": [URI], "input_type": "image"}
    assert len(ask(ENGLISH, images)[0]["embeddings"][0]) == 1_024
    mixed = [
        {"type": "text", "text": "a window seat"},
        {"type": "image_url", "image_url": {"url": URI}},
    ]
    body = {"inputs": [{"content": mixed}, {"content": mixed[:1]}], "input_type": "search_document"}
    told, count = ask(COHERE4, body)
    assert np.array(told["embeddings"]).shape == (2, 1_536)
    assert count == 8
    assert "data URI" in refusal(ENGLISH, {"images": ["http://x"], "input_type": "image"})


def text_param(**changes: Any) -> dict[str, Any]:
    return nova(text={"truncationMode": "NONE", "value": "x", **changes})


REFUSALS: list[tuple[str, Mapping[str, object] | bytes, str]] = [
    (TITAN, b"{", "Malformed input request, please reformat"),
    (TITAN, b"[]", "#: expected type: JSONObject, found: JSONArray"),
    (TITAN, {}, "#: required key [inputText] not found"),
    (TITAN, {"inputText": ""}, "#/inputText: expected minLength: 1, actual: 0"),
    (TITAN, {"inputText": 5}, "#/inputText: expected type: String, found: Integer"),
    (TITAN, {"inputText": "x", "more": 1}, "#: extraneous key [more] is not permitted"),
    (TITAN, {"inputText": "x", "dimensions": 384}, "#/dimensions: 384 is not a valid enum value"),
    (TITAN, {"inputText": "x", "dimensions": True}, "expected type: Integer, found: Boolean"),
    (TITAN, {"inputText": "x", "normalize": "yes"}, "expected type: Boolean, found: String"),
    (TITAN, {"inputText": "x", "embeddingTypes": ["int8"]}, "int8 is not a valid enum value"),
    (TITAN, {"inputText": "x" * 50_001}, "expected maxLength: 50000, actual: 50001"),
    (TITAN, {"inputText": "a " * 8_193}, "Max input tokens: 8192, request input token count: 8193"),
    (NOVA, {**nova(), "schemaVersion": "v0"}, "#/schemaVersion: v0 is not a valid enum value"),
    (NOVA, {**nova(), "taskType": "SEGMENTED_EMBEDDING"}, "#/taskType: SEGMENTED_EMBEDDING is not"),
    (NOVA, {"taskType": "SINGLE_EMBEDDING"}, "required key [singleEmbeddingParams] not found"),
    (NOVA, nova(embeddingPurpose=None), "required key [embeddingPurpose] not found"),
    (NOVA, nova(embeddingPurpose="SEARCH"), "SEARCH is not a valid enum value"),
    (NOVA, nova(embeddingDimension=512), "512 is not a valid enum value"),
    (NOVA, nova(image={"format": "png", "source": {"bytes": IMAGE}}), "exactly one of"),
    (NOVA, nova("x" * 8_193), "expected maxLength: 8192, actual: 8193"),
    (NOVA, text_param(truncationMode=None), "required key [truncationMode] not found"),
    (NOVA, text_param(truncationMode="LEFT"), "LEFT is not a valid enum value"),
    (NOVA, text_param(value=""), "expected minLength: 1"),
    (NOVA, text_param(source={"s3Location": {"uri": "s3://b/k"}}), "S3 object cannot be read"),
    (ENGLISH, {"texts": ["x"]}, "required key [input_type] not found"),
    (ENGLISH, cohere("x", input_type="document"), "document is not a valid enum value"),
    (ENGLISH, {"texts": [], "input_type": "search_query"}, "minimum item count: 1, found: 0"),
    (ENGLISH, cohere(*["x"] * 97), "#/texts: expected maximum item count: 96, found: 97"),
    (ENGLISH, cohere("x" * 2_049), "#/texts/0: expected maxLength: 2048, actual: 2049"),
    (ENGLISH, cohere("a", ""), "#/texts/1: expected minLength: 1"),
    (ENGLISH, {"texts": [5], "input_type": "search_query"}, "#/texts/0: expected type: String"),
    (ENGLISH, cohere("x", truncate="LEFT"), "LEFT is not a valid enum value"),
    (ENGLISH, cohere("x", output_dimension=256), "extraneous key [output_dimension]"),
    (ENGLISH, cohere("x", embedding_types=["half"]), "half is not a valid enum value"),
    (ENGLISH, cohere("x", images=[URI]), "exactly one of texts or images"),
    (ENGLISH, cohere("x", input_type="image"), 'input_type "image"'),
    (COHERE4, cohere("x", truncate="START"), "START is not a valid enum value"),
    (COHERE4, cohere("x", output_dimension=384), "384 is not a valid enum value"),
    (COHERE4, cohere("x", inputs=[]), "exactly one of texts, images or inputs"),
    (COHERE4, {"inputs": [], "input_type": "search_query"}, "found: 0"),
    ("amazon.titan-embed-text-v9", {}, "The provided model identifier is invalid."),
    (f"us.{TITAN}", {}, "The provided model identifier is invalid."),
]


@pytest.mark.parametrize(("model", "body", "words"), REFUSALS)
def test_refusals(model: str, body: Mapping[str, object] | bytes, words: str) -> None:
    assert words in refusal(model, body)


def test_a_body_of_25_megabytes() -> None:
    body = b'{"inputText": "x"}'.ljust(25_000_000)
    assert ask(TITAN, body)[1] == 1
    assert refusal(TITAN, body + b" ") == "Input is too long for requested model."


def test_unknown_models_by_switch() -> None:
    switches = Switches(unknown_model="ResourceNotFoundException")
    with pytest.raises(AwsError) as caught:
        ask("amazon.nothing", {}, switches)
    assert (caught.value.code, caught.value.status) == ("ResourceNotFoundException", 404)


def test_names_of_models() -> None:
    where = {"region": "us-east-1", "account": "111122223333"}
    model = "arn:aws:bedrock:us-east-1::foundation-model/"
    profile = "arn:aws:bedrock:us-east-1:111122223333:inference-profile/"
    assert resources_of(TITAN, **where) == (model + TITAN,)
    assert resources_of(model + TITAN, **where) == (model + TITAN,)
    both = (f"{profile}us.{COHERE4}", model + COHERE4)
    assert resources_of(f"us.{COHERE4}", **where) == both
    assert resources_of(f"{profile}us.{COHERE4}", **where) == both
    rows = ask(f"global.{COHERE4}", cohere("x"))[0]["embeddings"]
    assert rows == ask(COHERE4, cohere("x"))[0]["embeddings"]
    assert ask(model + TITAN, {"inputText": "x"}) == ask(TITAN, {"inputText": "x"})
