"""What the state machine takes out of a store as lines, and puts back into it elsewhere."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any
from unittest import mock

from hypothesis import strategies as st
from hypothesis.stateful import MultipleResults, multiple, precondition, rule

from memlane.errors import ImportFileError, MemlaneError
from memlane.portable import exporting
from memlane.portable.chains import planned
from memlane.portable.fields import record_of
from memlane.scope import Scope
from memlane.testing import _choices as choices
from memlane.testing._machine import Target, named, stored
from memlane.testing._reading_rules import ReadingRules
from memlane.testing._records import exact
from memlane.types import MemoryRecord

__all__ = ("Coming", "Export", "PortableRules")

_PAGE = 3  # records; a file of more pages can be cut between two of them
_MOST = 4  # files to choose from
_A_WHILE = timedelta(hours=1)


@dataclass(frozen=True)
class Export:
    """An export that was made.

    Args:
        scope: Of whom.
        lines: Its lines.
        histories: Of each record line what it told, the oldest version first.
        ranks: Of each the place it had among what was to be told. In which order it is told may
            be a matter of ids that are not the same in the next run; what follows must be.
        space: The embedding space of the vectors in it; None where there are none.
    """

    scope: Scope
    lines: tuple[str, ...]
    histories: tuple[tuple[MemoryRecord, ...], ...]
    ranks: tuple[int, ...]
    space: str | None

    def records(self, count: int) -> list[tuple[str, tuple[MemoryRecord, ...]]]:
        """Return the record lines of the whole pages among the first lines, and their histories."""
        found = [line for line in self.lines if '"record"' in line[:9]]
        ends = [at for at, line in enumerate(self.lines[:count]) if line.startswith('{"page"')]
        whole = 0 if not ends else sum(line in found for line in self.lines[: ends[-1]])
        return [*zip(found[:whole], self.histories[:whole], strict=True)]


@dataclass(frozen=True)
class Coming:
    """A record that an import brings.

    Args:
        chain: The versions to be stored, the oldest first.
        fresh: Nothing of it is there.
        rank: As in `Export.ranks`.
    """

    chain: tuple[MemoryRecord, ...]
    fresh: bool
    rank: int


class PortableRules(ReadingRules):
    """Rules about files."""

    def __init__(self) -> None:
        super().__init__()
        self._exports: list[Export] = []
        self._coming_now: Sequence[Coming] = ()

    @rule(scope=choices.scopes(), condition=choices.conditions(), vectors=st.booleans())
    def export(self, scope: Scope, condition: choices.Condition, vectors: bool) -> None:
        """All that is listed is told, with all it was, and nobody's name."""
        now = self.model.whole(scope, now=self.clock.now())
        expected = {
            named(record): self.model.history(record, session=scope.session)
            for record in now
            if condition.holds(record)
        }
        with mock.patch.object(exporting, "PAGE_RECORDS", _PAGE):
            lines = self._call("export", scope, filter=condition.given, vectors=vectors)
        assert not isinstance(lines, MemlaneError), lines
        told: list[dict[str, Any]] = [json.loads(line) for line in lines]
        assert all(line.endswith("\n") and line.isascii() for line in lines)
        assert scope.user not in json.dumps([each for each in told if "record" not in each])
        records = [each for each in told if "record" in each]
        pages = sum("page" in each for each in told)
        assert told[-1] == {"end": True, "pages": pages, "records": len(records)}
        assert pages >= len(records) / _PAGE
        order = [(each["record"].get("agent", ""), each["record"]["id"]) for each in records]
        assert sorted(order) == sorted(expected), "told of other records than there are"
        for name, each in zip(order, records, strict=True):
            versions = [each["record"], *each.get("versions", ())]
            assert [*map(_told, versions)] == [*map(_meant, expected[name])]
            assert bool(each.get("parts")) == vectors
        self._exports[: -_MOST + 1] = []
        self._exports.append(
            Export(
                scope,
                tuple(lines),
                tuple(tuple(reversed(expected[name])) for name in order),
                tuple([*expected].index(name) for name in order),
                self._at(scope.tenant).space.id if vectors else None,
            )
        )

    @precondition(lambda self: bool(self._exports))
    @rule(
        target=stored,
        which=st.integers(0, _MOST - 1),
        scope=choices.scopes(),
        cut=st.sampled_from((None, 0.2, 0.5, 0.9)),
        again=st.booleans(),
    )
    def import_records(
        self, which: int, scope: Scope, cut: float | None, again: bool
    ) -> MultipleResults[Target]:
        """What is whole is stored once, as the scope's; a file that is cut is told."""
        export = self._exports[which % len(self._exports)]
        targets = self._targets(export, scope)
        if cut is not None:
            self._import(export, scope, int(cut * len(export.lines)))
        for _ in range(1 + again):
            self._import(export, scope, len(export.lines))
        return multiple(*targets)

    def _targets(self, export: Export, scope: Scope) -> list[Target]:
        """Return what an import of a whole file adds."""
        coming = sorted(self._coming_of(export, scope, len(export.lines)), key=lambda one: one.rank)
        return [(one.chain[-1].scope, one.chain[-1].id) for one in coming if one.fresh]

    def _import(self, export: Export, scope: Scope, count: int) -> None:
        records = export.records(count)
        coming = self._coming_of(export, scope, count)
        self._coming_now = coming
        answer = self._call("import_records", scope, export.lines[:count])
        self._take_import(coming)
        if count < len(export.lines):
            assert isinstance(answer, ImportFileError), answer
            assert answer.imported == len(coming)
        else:
            assert not isinstance(answer, MemlaneError), answer
            assert (answer.imported, answer.skipped) == (len(coming), len(records) - len(coming))
            known = export.space == self._at(scope.tenant).space.id
            assert answer.embedded == (0 if known else len(coming))
        self.everything_is_there()

    def _take_import(self, coming: Sequence[Coming]) -> None:
        for one in coming:
            self.model.bring(one.chain)
            if one.fresh and self._reading is not None:
                self._reading.there.discard(named(one.chain[-1]))

    def _coming_of(self, export: Export, scope: Scope, count: int) -> list[Coming]:
        """Return what an import brings: of what is there already only what came after."""
        now = self.clock.now()
        found: list[Coming] = []
        for (line, history), rank in zip(export.records(count), export.ranks, strict=False):
            last = history[-1]
            if last.expires_at is not None and last.expires_at <= now:
                continue
            # Of a new id only this is asked of the code: that it is the same one each time.
            plan = planned(record_of(line, 1, b""), scope)
            there = self.model.at(plan.scope, plan.id)
            space = self._at(scope.tenant).space.id
            chain = tuple(
                replace(old, id=plan.id, scope=plan.scope, source="import", space=space)
                for old in history
            )
            if there is not None:
                # What is there is the file's, or its owner has changed it since.
                names = [(each.version, each.updated_at, each.text) for each in chain]
                name = (there.version, there.updated_at, there.text)
                chain = chain[names.index(name) + 1 :] if name in names else ()
            if not chain:
                continue
            *older, newest = chain if self.model.keeps else chain[-1:]
            chain = (*(_lasting(old, newest, now + _A_WHILE) for old in older), newest)
            found.append(Coming(chain, fresh=there is None, rank=rank))
        return found


def _lasting(old: MemoryRecord, last: MemoryRecord, soon: datetime) -> MemoryRecord:
    """Return an older version with the last one's end, where its own is past or near."""
    mine, its = old.expires_at, last.expires_at
    if mine is None or mine > soon or (its is not None and its <= mine):
        return old
    return replace(old, expires_at=its)


_UNTOLD = frozenset({"id", "scope", "images"})


def _meant(record: MemoryRecord) -> dict[str, object]:
    told = {
        name: value.isoformat() if isinstance(value, datetime) else value
        for name, value in exact(record).items()
        if name not in _UNTOLD
    }
    return told | {"space": "", "tags": list(record.tags)}


def _told(given: dict[str, Any]) -> dict[str, object]:
    told = dict.fromkeys(("actor", "expires_at", "valid_from", "valid_to"))
    metadata = json.dumps(given.get("metadata", {}), sort_keys=True)
    rest = {name: value for name, value in given.items() if name not in {"id", "agent", "session"}}
    return {**told, "tags": [], **rest, "space": "", "metadata": metadata}
