"""Bedrock's InvokeModel: which models there are, and what each is asked and answers."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, Protocol, TypeAlias

import orjson

from memlane.testing.emulator.bedrock_cohere import cohere_v3, cohere_v4
from memlane.testing.emulator.bedrock_nova import nova_2
from memlane.testing.emulator.bedrock_requests import ModelAnswer, body_of, refused
from memlane.testing.emulator.bedrock_titan import titan_v1, titan_v2
from memlane.testing.emulator.failure import AwsError

__all__ = ("ModelSwitches", "invoke", "resources_of")

_MOST_BYTES: Final = 25_000_000  # [M]
_PROFILE: Final = re.compile(r"(?:us|eu|apac|jp|au|global)\.(.+)")
_ARN: Final = re.compile(
    r"arn:aws[\w-]*:bedrock:[\w-]*:\d*:(?:foundation-model|inference-profile)/(.+)"
)
_PROFILED: Final = frozenset({"cohere.embed-v4:0"})


class ModelSwitches(Protocol):
    """What the models read of the emulator's switches."""

    @property
    def cohere_single_type(self) -> Literal["object", "list"]:
        """What a single requested embedding type is answered as: documentation has both [D]."""
        ...

    @property
    def unknown_model(self) -> Literal["ValidationException", "ResourceNotFoundException"]:
        """How a model that does not exist is refused [?]."""
        ...


_Model: TypeAlias = Callable[[str, Any, ModelSwitches], ModelAnswer]

_MODELS: Final[Mapping[str, _Model]] = {
    "amazon.titan-embed-text-v1": lambda model, content, _: titan_v1(model, content),
    "amazon.titan-embed-text-v2:0": lambda model, content, _: titan_v2(model, content),
    "amazon.nova-2-multimodal-embeddings-v1:0": lambda model, content, _: nova_2(model, content),
    "cohere.embed-english-v3": lambda model, content, switches: cohere_v3(
        model, content, switches.cohere_single_type
    ),
    "cohere.embed-multilingual-v3": lambda model, content, switches: cohere_v3(
        model, content, switches.cohere_single_type
    ),
    "cohere.embed-v4:0": lambda model, content, switches: cohere_v4(
        model, content, switches.cohere_single_type
    ),
}


def _named(model_id: str) -> tuple[str, bool]:
    """Return the model's own name, and whether it was named through an inference profile."""
    found = _ARN.fullmatch(model_id)
    name = found[1] if found else model_id
    profile = _PROFILE.fullmatch(name)
    return (profile[1], True) if profile else (name, False)


def resources_of(model_id: str, *, region: str, account: str) -> tuple[str, ...]:
    """Return the ARNs on which a caller needs bedrock:InvokeModel: all of them.

    For an inference profile these are the profile and the model behind it [D].
    """
    name, profiled = _named(model_id)
    model = f"arn:aws:bedrock:{region}::foundation-model/{name}"
    if not profiled:
        return (model,)
    profile = model_id.rpartition("/")[2]
    return (f"arn:aws:bedrock:{region}:{account}:inference-profile/{profile}", model)


def invoke(
    model_id: str, body: bytes, switches: ModelSwitches
) -> tuple[int, dict[str, str], bytes]:
    """Return status, headers and body of one call.

    Args:
        model_id: Decoded: a model's id, an inference profile's, or an ARN of either.
        body: The request's.
        switches: The emulator's.

    Raises:
        AwsError: In the model's words.
    """
    name, profiled = _named(model_id)
    model = _MODELS.get(name)
    if model is None or (profiled and name not in _PROFILED):
        if switches.unknown_model == "ValidationException":
            raise refused("The provided model identifier is invalid.")
        raise AwsError(
            "ResourceNotFoundException",
            404,
            "Could not resolve the foundation model from the provided model identifier.",
        )
    if len(body) > _MOST_BYTES:
        raise refused("Input is too long for requested model.")
    answer = model(name, body_of(body), switches)
    headers = {
        "Content-Type": "application/json",
        # On every call, and the only count there is for Cohere.
        "x-amzn-bedrock-input-token-count": str(answer.tokens),
    }
    return 200, headers, orjson.dumps(answer.body, option=orjson.OPT_SERIALIZE_NUMPY)
