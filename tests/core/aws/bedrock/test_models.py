"""What is sent to each model, and what is read from its answers."""

from __future__ import annotations

from typing import Any, cast

import pytest

from memlane.aws.bedrock.models import MODELS, base_of, model_of
from memlane.errors import ValidationError

NAMES = [model.name for model in MODELS]
ACCOUNT = "111122223333"
ARN = "arn:aws:bedrock:us-east-1"


def json_of(name: str, *texts: str, purpose: str = "document", dimensions: int = 1024) -> Any:
    return model_of(name).request(texts, cast("Any", purpose), dimensions)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    "shape",
    [
        "{}",
        "us.{}",
        "eu.{}",
        "global.{}",
        "us-gov.{}",
        ARN + "::foundation-model/{}",
        ARN + f":{ACCOUNT}:inference-profile/us.{{}}",
        f"arn:aws-us-gov:bedrock:us-gov-west-1:{ACCOUNT}:inference-profile/us-gov.{{}}",
    ],
)
def test_every_way_to_name_a_model(name: str, shape: str) -> None:
    """Profiles and ARNs stand for the model itself: their vectors are of one space."""
    assert base_of(shape.format(name)) == name
    assert model_of(shape.format(name)).name == name


@pytest.mark.parametrize(
    "hidden",
    [
        f"{ARN}:{ACCOUNT}:application-inference-profile/k3xyz",
        f"{ARN}:{ACCOUNT}:provisioned-model/abc",
    ],
)
def test_a_model_that_is_hidden_is_named_besides(hidden: str) -> None:
    """An ARN of an account's own says nothing of the model behind it."""
    with pytest.raises(ValidationError, match="base_model"):
        model_of(hidden)
    assert model_of(hidden, base_model="us.cohere.embed-v4:0").name == "cohere.embed-v4:0"


@pytest.mark.parametrize(
    "name",
    [
        "",
        "amazon.titan-embed-text-v1",
        "us.amazon.titan-embed-text-v1",
        "anthropic.claude",
        "us.us.cohere.embed-v4:0",
        "arn:aws:s3:::bucket/cohere.embed-v4:0",
    ],
)
def test_other_models_are_refused(name: str) -> None:
    """What is not known is refused with the names of what is."""
    with pytest.raises(ValidationError, match=r"cohere\.embed-v4:0"):
        model_of(name)


def test_titan() -> None:
    """One text, the dimensions and vectors of length one are asked for."""
    assert json_of("amazon.titan-embed-text-v2:0", "hello", dimensions=256) == {
        "inputText": "hello",
        "dimensions": 256,
        "normalize": True,
    }
    rows = model_of("amazon.titan-embed-text-v2:0").rows
    answer = {"embedding": [1.0], "inputTextTokenCount": 3, "embeddingsByType": {"float": [1.0]}}
    assert list(rows(answer)) == [[1.0]]


@pytest.mark.parametrize(
    ("name", "tokens"),
    [
        ("amazon.titan-embed-text-v2:0", 8_192),
        ("amazon.nova-2-multimodal-embeddings-v1:0", 8_192),
        ("cohere.embed-v4:0", 128_000),
    ],
)
def test_what_may_be_sent_is_below_the_limit_in_any_script(name: str, tokens: int) -> None:
    """A token is a byte at least, and a character four bytes at most: nothing has to be cut."""
    text = "\N{GRINNING FACE}" * model_of(name).max_chars
    assert len(text.encode()) <= tokens
    told = json_of(name, text)
    [sent] = told.get("texts") or [
        told.get("inputText") or told["singleEmbeddingParams"]["text"]["value"]
    ]
    assert sent == text


@pytest.mark.parametrize(
    ("purpose", "told"), [("document", "GENERIC_INDEX"), ("query", "GENERIC_RETRIEVAL")]
)
def test_nova(purpose: str, told: str) -> None:
    """Documents are indexed and queries retrieve."""
    name = "amazon.nova-2-multimodal-embeddings-v1:0"
    assert json_of(name, "hello", purpose=purpose, dimensions=384) == {
        "schemaVersion": "nova-multimodal-embed-v1",
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": {
            "embeddingPurpose": told,
            "embeddingDimension": 384,
            "text": {"truncationMode": "END", "value": "hello"},
        },
    }
    answer = {"embeddings": [{"embeddingType": "TEXT", "embedding": [0.5, 0.5]}]}
    assert list(model_of(name).rows(answer)) == [[0.5, 0.5]]


@pytest.mark.parametrize(
    ("purpose", "told"), [("document", "search_document"), ("query", "search_query")]
)
def test_cohere(purpose: str, told: str) -> None:
    """Both generations; only the fourth is told how many dimensions."""
    third = {"texts": ("one", "two"), "input_type": told, "truncate": "END"}
    assert json_of("cohere.embed-multilingual-v3", "one", "two", purpose=purpose) == third
    assert json_of("cohere.embed-english-v3", "one", "two", purpose=purpose) == third
    fourth = {**third, "truncate": "RIGHT", "output_dimension": 512}
    asked = json_of("cohere.embed-v4:0", "one", "two", purpose=purpose, dimensions=512)
    assert asked == fourth


@pytest.mark.parametrize("name", [name for name in NAMES if name.startswith("cohere.")])
def test_coheres_two_answers(name: str) -> None:
    """A list of vectors, or vectors by type: both are read."""
    rows = model_of(name).rows
    assert list(rows({"embeddings": [[1.0], [2.0]], "response_type": "embeddings_floats"})) == [
        [1.0],
        [2.0],
    ]
    by_type = {"embeddings": {"float": [[1.0], [2.0]]}, "response_type": "embeddings_by_type"}
    assert list(rows(by_type)) == [[1.0], [2.0]]
