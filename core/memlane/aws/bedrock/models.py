"""The models that are known: what they take, and what they answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

from memlane.aws.bedrock.pictures import nova_picture
from memlane.errors import ValidationError
from memlane.patterns import lazy
from memlane.protocols import Purpose

__all__ = ("MODELS", "Model", "Rows", "base_of", "model_of")

Rows: TypeAlias = Sequence[Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """An embedding model.

    Args:
        name: The id that Bedrock gives it.
        dimensions: What it can be asked for; the first is asked for when nobody says.
        max_chars: Characters a text may have, below the model's own limit. Where that is one of
            tokens, it is kept in any script: a character has at most four bytes, and a token at
            least one. Only Cohere's third generation reads less of some texts, their beginning.
        texts: Texts a request takes.
        purposes: Whether documents and queries are embedded differently.
        request: Texts, purpose and dimensions to the request's JSON.
        rows: The answer's JSON to a sequence of vectors.
        picture: A picture's bytes, its format such as "png", and dimensions to the request's JSON;
            None where it is not asked for pictures.
        normalized: What it answers has length one.
        says_twice: It answers the same numbers again, under another name.
    """

    name: str
    dimensions: tuple[int, ...]
    max_chars: int
    texts: int
    purposes: bool
    request: Callable[[Sequence[str], Purpose, int], Mapping[str, object]]
    rows: Callable[[Any], Rows]
    picture: Callable[[bytes, str, int], Mapping[str, object]] | None = None
    normalized: bool = False
    says_twice: bool = False


def _titan(texts: Sequence[str], purpose: Purpose, dimensions: int) -> Mapping[str, object]:
    del purpose
    [text] = texts
    return {"inputText": text, "dimensions": dimensions, "normalize": True}


def _titan_rows(answer: Any) -> Rows:
    return (answer["embedding"],)


def _nova(texts: Sequence[str], purpose: Purpose, dimensions: int) -> Mapping[str, object]:
    [text] = texts
    return {
        "schemaVersion": "nova-multimodal-embed-v1",
        "taskType": "SINGLE_EMBEDDING",
        "singleEmbeddingParams": {
            # Pictures may lie beside the texts: a purpose for texts alone would miss them.
            "embeddingPurpose": "GENERIC_INDEX" if purpose == "document" else "GENERIC_RETRIEVAL",
            "embeddingDimension": dimensions,
            "text": {"truncationMode": "END", "value": text},
        },
    }


def _nova_rows(answer: Any) -> Rows:
    return [each["embedding"] for each in answer["embeddings"]]


def _input_type(purpose: Purpose) -> str:
    return "search_document" if purpose == "document" else "search_query"


def _cohere3(texts: Sequence[str], purpose: Purpose, dimensions: int) -> Mapping[str, object]:
    del dimensions  # it has but one
    return {"texts": texts, "input_type": _input_type(purpose), "truncate": "END"}


def _cohere4(texts: Sequence[str], purpose: Purpose, dimensions: int) -> Mapping[str, object]:
    return {
        "texts": texts,
        "input_type": _input_type(purpose),
        "truncate": "RIGHT",
        "output_dimension": dimensions,
    }


def _cohere_rows(answer: Any) -> Rows:
    # Both shapes occur for the same request, and the documentation says either.
    found = answer["embeddings"]
    rows = cast("dict[str, Any]", found)["float"] if isinstance(found, dict) else found
    return cast("Rows", rows)


_COHERE_TEXTS: Final = 96

MODELS: Final = (
    Model(
        name="amazon.titan-embed-text-v2:0",
        dimensions=(1024, 512, 256),
        max_chars=2_000,  # 8,192 tokens
        texts=1,
        purposes=False,
        request=_titan,
        rows=_titan_rows,
        normalized=True,
        says_twice=True,
    ),
    Model(
        name="amazon.nova-2-multimodal-embeddings-v1:0",
        dimensions=(1024, 3072, 384, 256),
        max_chars=2_000,  # 8,192 characters, and about as many tokens
        texts=1,
        purposes=True,
        request=_nova,
        rows=_nova_rows,
        picture=nova_picture,
    ),
    Model(
        name="cohere.embed-english-v3",
        dimensions=(1024,),
        max_chars=2_000,  # 2,048 characters, of which it reads 512 tokens
        texts=_COHERE_TEXTS,
        purposes=True,
        request=_cohere3,
        rows=_cohere_rows,
    ),
    Model(
        name="cohere.embed-multilingual-v3",
        dimensions=(1024,),
        max_chars=2_000,  # 2,048 characters, of which it reads 512 tokens
        texts=_COHERE_TEXTS,
        purposes=True,
        request=_cohere3,
        rows=_cohere_rows,
    ),
    Model(
        name="cohere.embed-v4:0",
        dimensions=(1024, 1536, 512, 256),
        max_chars=32_000,  # 128,000 tokens
        texts=_COHERE_TEXTS,
        purposes=True,
        request=_cohere4,
        rows=_cohere_rows,
    ),
)
_BY_NAME: Final = {model.name: model for model in MODELS}

_ARN: Final = lazy(
    r"arn:aws[a-z-]*:bedrock:[a-z0-9-]*:[0-9]*:"
    r"(foundation-model|inference-profile|application-inference-profile|provisioned-model)/(.+)"
)


def base_of(model_id: str) -> str | None:
    """Return the model that an id, an inference profile or an ARN stands for; None if it hides it.

    The vectors of `us.cohere.embed-v4:0` and of `cohere.embed-v4:0` are of one space.
    """
    name = model_id
    if model_id.startswith("arn:"):
        found = _ARN().fullmatch(model_id)
        if found is None or found[1] in {"application-inference-profile", "provisioned-model"}:
            return None
        name = found[2]
    # An inference profile is the model's id behind a geography: us, eu, apac, global and more.
    _, _, behind = name.partition(".")
    return behind if behind in _BY_NAME else name


def model_of(model_id: str, *, base_model: str | None = None) -> Model:
    """Return what is known of a model.

    Raises:
        ValidationError: Nothing.
    """
    name = base_of(model_id) if base_model is None else base_of(base_model)
    if name is not None and (model := _BY_NAME.get(name)):
        return model
    known = ", ".join(_BY_NAME)
    if name is None:
        raise ValidationError(
            "the model's ARN does not say which model it runs",
            operation="connect",
            remedy=f"name it with base_model, one of {known}",
        )
    raise ValidationError(
        f"no embedding model {name!r} is known",
        operation="connect",
        remedy=f"pass one of {known}, an inference profile of one, or an embedder of your own",
    )
