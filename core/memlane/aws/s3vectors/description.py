"""What an index is, as far as it decides what can be asked of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from memlane.errors import BackendError
from memlane.metadata import NON_FILTERABLE

__all__ = ("Description", "described")

_OURS: Final[frozenset[str]] = frozenset(NON_FILTERABLE)


@dataclass(frozen=True, slots=True)
class Description:
    """An index. Its mode may change to the newer one; nothing else of it ever does.

    Args:
        dimension: Components of its vectors.
        metric: "cosine" or "euclidean".
        unfilterable: Metadata keys that filters cannot name.
        is_enhanced: Filters come before the search, and know prefixes; False where that is not
            known, and has to be asked for.
    """

    dimension: int
    metric: str
    unfilterable: frozenset[str]
    is_enhanced: bool

    @property
    def is_older(self) -> bool:
        """Whether another tool made it, so that what memlane keeps unfiltered is filterable."""
        return not self.unfilterable >= _OURS

    def said(self) -> dict[str, Any]:
        """Return what of this stays true, in the form that `described` reads."""
        return {
            "dimension": self.dimension,
            "distanceMetric": self.metric,
            "metadataConfiguration": {"nonFilterableMetadataKeys": sorted(self.unfilterable)},
        }


def described(answer: Mapping[str, Any]) -> Description:
    """Return what GetIndex says.

    Raises:
        BackendError: It says something else.
    """
    try:
        index: Mapping[str, Any] = answer["index"]
        configuration: Mapping[str, list[str]] = index.get("metadataConfiguration") or {}
        keys = frozenset(configuration.get("nonFilterableMetadataKeys") or ())
        return Description(
            dimension=int(index["dimension"]),
            metric=str(index["distanceMetric"]),
            # One set for the thousands of indexes that memlane made.
            unfilterable=_OURS if keys == _OURS else keys,
            is_enhanced=index.get("indexMode") == "ENHANCED",
        )
    except (AttributeError, KeyError, TypeError, ValueError) as exc:
        raise BackendError("the service described an index in an unknown form") from exc
