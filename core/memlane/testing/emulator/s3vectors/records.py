"""The vectors of a put: what S3 Vectors refuses of them, and what they weigh."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from memlane.testing.emulator.failure import AwsError
from memlane.testing.emulator.s3vectors.members import Members
from memlane.testing.emulator.s3vectors.refusals import (
    constraint,
    invalid,
    invalid_record,
    not_serial,
)

__all__ = ("Components", "Metadata", "Put", "checked", "components", "metadata_weight")

Metadata: TypeAlias = Mapping[str, Any]
Components: TypeAlias = NDArray[np.float32]

MAX_KEY: Final = 1024  # characters, and bytes too [E]
MAX_FILTERABLE: Final = 2_048
MAX_METADATA: Final = 40_960
MAX_NAMES: Final = 50

_OBJECT: Final = 4  # the size model [E]: JSON's length is not the measure
_ENTRY: Final = 8
_NUMBER: Final = 4


@dataclass(frozen=True, slots=True)
class Put:
    """A vector that was taken."""

    key: str
    data: Components
    metadata: Metadata
    weight: int
    norm: float


def metadata_weight(metadata: Metadata) -> int:
    """Return the bytes metadata counts."""
    return _OBJECT + sum(
        _ENTRY + _text_weight(name) + _weight(value) for name, value in metadata.items()
    )


def _text_weight(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _weight(value: object) -> int:
    if isinstance(value, str):
        return _text_weight(value)
    if isinstance(value, bool):
        return 0  # measured: a boolean weighs nothing
    if isinstance(value, list):
        values = cast("list[object]", value)
        return sum(_OBJECT + _weight(each) for each in values)
    return _NUMBER


def components(values: object) -> Components:
    """Return components rounded to float32, as they are before anything is checked [E]."""
    if not isinstance(values, list):
        raise not_serial()
    if not values:
        return np.empty(0, dtype=np.float32)
    given: NDArray[Any] = np.asarray(cast("list[float]", values))
    if given.ndim != 1 or given.dtype.kind not in "iuf":
        raise not_serial()
    with np.errstate(over="ignore"):
        return given.astype(np.float32)


def data_of(member: object) -> object:
    """Return the list in a member of the form {"float32": [...]}."""
    if not isinstance(member, dict):
        raise not_serial()
    return cast("dict[str, Any]", member).get("float32")


def checked(
    vectors: Sequence[Members], *, dimension: int, cosine: bool, zeros: bool, hidden: frozenset[str]
) -> list[Put]:
    """Return the vectors of a put.

    Args:
        vectors: As the request has them.
        dimension: Of the index.
        cosine: Whether that is its metric.
        zeros: Whether a vector of zeros is taken where the metric is not cosine.
        hidden: Metadata keys that are not filterable.

    Raises:
        AwsError: One of them is refused, and with it all.
    """
    for place, vector in enumerate(vectors):
        _check_key(place, vector)
    puts: list[Put] = []
    for place, vector in enumerate(vectors):
        key = vector["key"]
        metadata = _metadata(place, key, vector.get("metadata"), hidden)
        data = components(data_of(vector.get("data")))
        if fault := _fault(data, dimension):
            raise invalid_record(place, key, fault)
        if not np.isfinite(data).all():
            raise invalid("vector contains NaNs or Infs", f"vectors[{place}]")
        norm = float(np.linalg.norm(data.astype(np.float64)))
        if norm == 0 and (cosine or not zeros):
            metric = "cosine" if cosine else "euclidean"
            raise invalid_record(
                place, key, f"{metric} distance does not support vectors with zero norm"
            )
        weight = data.nbytes + _text_weight(key) + metadata_weight(metadata)
        puts.append(Put(key, data, metadata, weight, norm))
    return puts


def _fault(data: Components, dimension: int) -> str | None:
    if len(data) == dimension:
        return None
    return f"vector must have length {dimension}, but has length {len(data)}"


def _check_key(place: int, vector: Members) -> None:
    path = f"/vectors/{place}/key"
    key = vector.get("key")
    if key is None:
        raise constraint(path, "not be null", null=True)
    if not isinstance(key, str):
        raise not_serial()
    if not 1 <= len(key) <= MAX_KEY:
        rule = f"have length between 1 and {MAX_KEY}, inclusive"
        raise constraint(path, rule, length=len(key))
    if _text_weight(key) > MAX_KEY:
        raise invalid("Record key length exceeds the maximum allowed", f"vectors[{place}].key")
    if vector.get("data") is None:
        raise constraint(f"/vectors/{place}/data", "not be null", null=True)


def _metadata(place: int, key: str, given: object, hidden: frozenset[str]) -> Metadata:
    if given is None:
        return {}

    def refused(fault: str) -> AwsError:
        return invalid_record(place, key, fault, part=".metadata")

    if not isinstance(given, dict):
        raise refused("Metadata must be an object")
    metadata = cast("dict[str, Any]", given)
    # A key that is not filterable keeps the rules of types; only its size is counted apart [E].
    for value in metadata.values():
        if fault := _value_fault(value):
            raise refused(fault)
    if len(metadata) > MAX_NAMES:
        raise refused(f"Metadata object must have at most {MAX_NAMES} keys")
    if metadata_weight(metadata) > MAX_METADATA:
        raise refused(f"Metadata object must have at most {MAX_METADATA} bytes")
    seen = _without(metadata, hidden)
    if metadata_weight(seen) > MAX_FILTERABLE:
        raise refused(f"Filterable metadata must have at most {MAX_FILTERABLE} bytes")
    return metadata


def _without(metadata: Metadata, hidden: Collection[str]) -> Metadata:
    return {name: value for name, value in metadata.items() if name not in hidden}


def _value_fault(value: object) -> str | None:
    if isinstance(value, str | bool | int | float):
        return None
    if not isinstance(value, list):
        return "Metadata values must be strings, numbers, booleans, or arrays"
    values = cast("list[object]", value)
    if not values:
        return "Empty arrays are not allowed in metadata"
    strings = sum(isinstance(each, str) for each in values)
    numbers = sum(isinstance(e, int | float) and not isinstance(e, bool) for e in values)
    if len(values) not in {strings, numbers}:
        return "Metadata array values must be strings or numbers"
    return None
