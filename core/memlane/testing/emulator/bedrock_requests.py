"""Reading a model's request, and refusing it in the words of Bedrock's schema check [K]."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

import orjson

from memlane.testing.emulator.failure import AwsError

__all__ = ("Members", "ModelAnswer", "body_of", "malformed", "refused")

_T = TypeVar("_T")
_KINDS: Final[Mapping[type, str]] = {
    str: "String",
    bool: "Boolean",
    int: "Integer",
    list: "JSONArray",
    dict: "JSONObject",
}


@dataclass(frozen=True, slots=True)
class ModelAnswer:
    """What a model answers: a body to encode, and the tokens it read."""

    body: Mapping[str, object]
    tokens: int


def refused(message: str) -> AwsError:
    """Return a refusal in a model's own words."""
    return AwsError("ValidationException", 400, message)


def malformed(what: str) -> AwsError:
    """Return the refusal of a body that does not fit the model's schema."""
    return refused(f"Malformed input request: {what}, please reformat your input and try again.")


class Members:
    """The members of one JSON object of a request, each read and checked once.

    Args:
        content: What the JSON says.
        path: Where it stands, such as "#/singleEmbeddingParams".
        allowed: Names it may have; others are refused.
    """

    def __init__(self, content: Any, path: str, allowed: Sequence[str]) -> None:
        if not isinstance(content, dict):
            raise malformed(f"{path}: expected type: JSONObject, found: {_kind_of(content)}")
        self._content = cast("Mapping[str, Any]", content)
        self._path = path
        for name in self._content:
            if name not in allowed:
                raise malformed(f"{path}: extraneous key [{name}] is not permitted")

    def __contains__(self, name: str) -> bool:
        return self._content.get(name) is not None

    def read(self, name: str, kind: type[_T], default: _T | None = None) -> _T:
        """Return a member of a kind; without a default it is required."""
        value = self._content.get(name)
        if value is None:
            if default is None:
                raise malformed(f"{self._path}: required key [{name}] not found")
            return default
        # JSON's true is no number.
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            wanted = _KINDS.get(kind, kind.__name__)
            raise malformed(f"{self.at(name)}: expected type: {wanted}, found: {_kind_of(value)}")
        return value

    def choice(self, name: str, choices: Sequence[_T], default: _T | None = None) -> _T:
        """Return a member that is one of several."""
        value = self.read(name, type(choices[0]), default)
        if value not in choices:
            raise malformed(f"{self.at(name)}: {value} is not a valid enum value")
        return value

    def texts(self, name: str, least: int, most: int, noun: str = "item") -> list[str]:
        """Return a member that is a list of texts."""
        values = cast("Sequence[Any]", self.read(name, list))
        if len(values) < least:
            raise malformed(
                f"{self.at(name)}: expected minimum {noun} count: {least}, found: {len(values)}"
            )
        if len(values) > most:
            raise malformed(
                f"{self.at(name)}: expected maximum {noun} count: {most}, found: {len(values)}"
            )
        for number, value in enumerate(values):
            if not isinstance(value, str):
                raise malformed(
                    f"{self.at(name)}/{number}: expected type: String, found: {_kind_of(value)}"
                )
        return cast("list[str]", values)

    def within(self, name: str, least: int, most: int) -> str:
        """Return a text of at least and at most so many characters."""
        value = self.read(name, str)
        check_length(value, self.at(name), least, most)
        return value

    def at(self, name: str) -> str:
        """Return where a member stands."""
        return f"{self._path}/{name}"

    def inner(self, name: str, allowed: Sequence[str]) -> Members:
        """Return a member that is an object."""
        if name not in self:
            raise malformed(f"{self._path}: required key [{name}] not found")
        return Members(self._content[name], self.at(name), allowed)

    def base64(self, name: str, most: int) -> bytes:
        """Return the bytes a member spells."""
        try:
            content = base64.b64decode(self.read(name, str), validate=True)
        except binascii.Error as exc:
            raise malformed(f"{self.at(name)}: not base64") from exc
        if not 0 < len(content) <= most:
            raise malformed(f"{self.at(name)}: expected maxLength: {most}, actual: {len(content)}")
        return content


def check_length(text: str, path: str, least: int, most: int) -> None:
    """Refuse a text that is too short or too long."""
    if len(text) < least:
        raise malformed(f"{path}: expected minLength: {least}, actual: {len(text)}")
    if len(text) > most:
        raise malformed(f"{path}: expected maxLength: {most}, actual: {len(text)}")


def body_of(body: bytes) -> Any:
    """Return what a body says.

    Raises:
        AwsError: It is no JSON.
    """
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as exc:
        raise refused("Malformed input request, please reformat your input and try again.") from exc


def _kind_of(value: object) -> str:
    return "Null" if value is None else _KINDS.get(type(value), "Number")
