"""What of a memory may be recalled, and what is said of it: trust has a source and an age."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Final, Self, TypeAlias, cast, get_args

from memlane.errors import ScannerError, ValidationError
from memlane.filters import Filter
from memlane.types import MemoryRecord, Source

__all__ = ("Scanner", "TrustPolicy", "TrustVerdict", "least_trusted", "may_replace")

_ORDER: Final[tuple[Source, ...]] = ("app", "user", "assistant", "tool", "import")
"""Most trusted first."""

_SOURCES: Final = frozenset(get_args(Source))
_OWNERS: Final = frozenset({"app", "user"})
_LONGEST_LABEL: Final = 64  # characters


def least_trusted(*sources: Source) -> Source:
    """Return the least trusted of some sources; what is derived from several is of that one."""
    return max(sources, key=_ORDER.index)


def may_replace(newer: Source, older: Source) -> bool:
    """Say whether what one source said later may stand in for what another said.

    A page that a tool read must not overrule what its owner said. The application speaks for the
    user, so these two may overrule each other.
    """
    return least_trusted(newer, older) == older or {newer, older} <= _OWNERS


@dataclass(frozen=True, slots=True)
class TrustVerdict:
    """What a scanner says of one record.

    Args:
        allowed: Whether it may be recalled.
        label: What is said of it where it is; "" is nothing.
    """

    allowed: bool = True
    label: str = ""


Scanner: TypeAlias = Callable[[Sequence[MemoryRecord]], Awaitable[Sequence[TrustVerdict]]]
"""Looks at records that are about to be recalled; returns a verdict for each, in their order."""

_NO_LABELS: Final[Mapping[Source, str]] = MappingProxyType({})


@dataclass(frozen=True, slots=True, kw_only=True)
class TrustPolicy:
    """What may be recalled, and how it is labelled. It hides and labels; it changes no record.

    Args:
        sources: Only what one of these vouches for; None is all.
        max_age: Only what happened so short a while ago; a bound for all sources, or for each
            source one of its own. A source without a bound is never too old. A time to come is no
            way around it: such a record counts from when it was stored or changed, and is not
            recalled while it is further away than the bound.
        labels: What is said of the records of a source, such as {"tool": "unverified"}.
        scanner: Looks at each record that is about to be recalled. When it fails nothing is
            recalled.

    Raises:
        ValidationError: A source is unknown, an age is not positive, or a label is none.
    """

    sources: Collection[Source] | None = None
    max_age: timedelta | Mapping[Source, timedelta] | None = None
    labels: Mapping[Source, str] = field(default_factory=lambda: _NO_LABELS)
    scanner: Scanner | None = None

    def __post_init__(self) -> None:
        if self.sources is not None:
            _check_sources(self.sources, name="sources")
            if not self.sources:
                raise ValidationError(
                    "sources is empty, so that nothing could be recalled",
                    remedy="name the sources to trust, or leave it out",
                )
        ages = self.max_age
        if isinstance(ages, Mapping):
            _check_sources(ages, name="max_age")
        for age in ages.values() if isinstance(ages, Mapping) else [ages]:
            _check_age(age)
        _check_sources(self.labels, name="labels")
        for label in self.labels.values():
            check_label(label)
        if self.scanner is not None and not callable(self.scanner):
            raise ValidationError(
                "scanner cannot be called", remedy="pass an async function of records"
            )

    @classmethod
    def hardened(cls, *, scanner: Scanner | None = None) -> Self:
        """Return the policy for agents that read what strangers write.

        Only what the application, the user or the assistant said, nothing that a tool or a file
        brought; what an assistant said is labelled "unverified", and after 90 days left out.
        """
        return cls(
            sources=("app", "user", "assistant"),
            max_age={"assistant": timedelta(days=90)},
            labels={"assistant": "unverified"},
            scanner=scanner,
        )

    def condition(self) -> Filter | None:
        """Return what a backend can already narrow by."""
        if self.sources is None or {*self.sources} >= _SOURCES:
            return None
        return Filter.in_("@source", sorted(self.sources))

    def admits(self, record: MemoryRecord, *, now: datetime) -> bool:
        """Say whether a record's source and age let it be recalled."""
        if self.sources is not None and record.source not in self.sources:
            return False
        ages = self.max_age
        age = ages.get(record.source) if isinstance(ages, Mapping) else ages
        if age is None:
            return True
        happened = record.occurred_at
        since = min(happened, record.updated_at)
        # Not `now - age`: an age may be longer than there have been days.
        return now - since <= age and happened - now <= age

    async def scanned(self, records: Sequence[MemoryRecord]) -> list[TrustVerdict]:
        """Return a verdict for each record, the label of its source before the scanner's.

        Raises:
            ScannerError: The scanner failed, or did not answer for each record.
        """
        verdicts = await self._verdicts(records) if self.scanner and records else None
        own = [self.labels.get(record.source, "") for record in records]
        if verdicts is None:
            return [TrustVerdict(label=label) for label in own]
        return [
            TrustVerdict(one.allowed, ", ".join(filter(None, (label, one.label))))
            for label, one in zip(own, verdicts, strict=True)
        ]

    async def _verdicts(self, records: Sequence[MemoryRecord]) -> list[TrustVerdict] | None:
        if self.scanner is None:
            return None
        try:
            verdicts: list[object] = [*await self.scanner(tuple(records))]
        except Exception as exc:
            raise ScannerError(
                f"the trust policy's scanner failed with {type(exc).__name__}; nothing is recalled",
                remedy="look at the exception it was raised from",
            ) from exc
        found = [one for one in verdicts if isinstance(one, TrustVerdict)]
        if len(found) != len(records) or len(verdicts) != len(records):
            raise ScannerError(
                f"the trust policy's scanner gave {len(found)} verdicts for {len(records)} "
                "records; nothing is recalled",
                remedy="return a TrustVerdict for each record, in their order",
            )
        return found


def check_label(label: object) -> str:
    """Return a label when it can stand in a line of text.

    Raises:
        ValidationError: It is empty, too long, or does not print.
    """
    if (
        not isinstance(label, str)
        or not label.strip()
        or len(label) > _LONGEST_LABEL
        or not label.isprintable()
    ):
        raise ValidationError(
            f"a label must be a printable text of at most {_LONGEST_LABEL} characters",
            remedy='pass a word such as "unverified"',
        )
    return label


def _check_sources(sources: object, *, name: str) -> None:
    known = ", ".join(_ORDER)
    if isinstance(sources, str) or not isinstance(sources, Collection):
        raise ValidationError(f"{name} must name sources", remedy=f"pass some of {known}")
    for source in cast("Collection[object]", sources):
        if not isinstance(source, str) or source not in _SOURCES:
            raise ValidationError(f"{name} names an unknown source", remedy=f"use {known}")


def _check_age(age: object) -> None:
    if age is not None and (not isinstance(age, timedelta) or age <= timedelta(0)):
        raise ValidationError(
            "max_age must be a positive timedelta, or one for each source",
            remedy="pass timedelta(days=90)",
        )
