"""The suites find what is wrong: each broken backend fails the test that is about its fault."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from memlane import MemlaneError, MemoryClient
from memlane.errors import ConflictError, InvalidCursorError
from memlane.local import InMemoryBackend
from memlane.protocols import Candidates, IndexedRecord, ScanPage, VectorQuery
from memlane.scope import Reach
from memlane.testing import (
    EmbedderConformance,
    HashingEmbedder,
    TenantIsolationConformance,
    VectorBackendConformance,
    WrappedBackend,
    memory_machine,
)
from memlane.testing.samples import SCOPE
from memlane.types import MemoryRecord

_Change = Callable[[MemoryRecord], MemoryRecord]


class _Changed(WrappedBackend):
    """Stores something else than it was given."""

    def __init__(self, change: _Change) -> None:
        super().__init__(InMemoryBackend())
        self._change = change

    async def upsert(self, records: Sequence[IndexedRecord], **options: Any) -> None:
        changed = [replace(item, record=self._change(item.record)) for item in records]
        await super().upsert(changed, **options)


class _Unconditional(WrappedBackend):
    async def upsert(self, records: Sequence[IndexedRecord], **options: Any) -> None:
        await super().upsert(records, scope=options["scope"])


class _OneByOne(WrappedBackend):
    async def upsert(self, records: Sequence[IndexedRecord], **options: Any) -> None:
        for each in records:
            await super().upsert([each], **options)


class _Trusting(WrappedBackend):
    async def upsert(self, records: Sequence[IndexedRecord], **options: Any) -> None:
        for each in records:
            await super().upsert([each], **{**options, "scope": each.record.scope})


class _Wide(WrappedBackend):
    """Reaches further than it may."""

    def __init__(self, **wider: Any) -> None:
        super().__init__(InMemoryBackend())
        self._wider = wider

    def _reach(self, options: dict[str, Any]) -> dict[str, Any]:
        return {**options, "reach": replace(options["reach"], **self._wider)}

    async def fetch(self, record_ids: Sequence[str], **options: Any) -> Sequence[IndexedRecord]:
        return await super().fetch(record_ids, **self._reach(options))

    async def scan(self, **options: Any) -> ScanPage:
        return await super().scan(**self._reach(options))

    async def query(self, query: VectorQuery, **options: Any) -> Candidates:
        return await super().query(query, **self._reach(options))

    async def delete(self, record_ids: Sequence[str], **options: Any) -> int:
        return await super().delete(record_ids, **self._reach(options))


class _Offset(WrappedBackend):
    """Pages by counting rows, as `LIMIT .. OFFSET` does."""

    async def scan(self, **options: Any) -> ScanPage:
        skip, limit = int(options.pop("cursor", None) or 0), options.pop("limit", 100)
        page = await super().scan(**options, limit=10_000)
        records = page.records[skip : skip + limit]
        more = str(skip + limit) if skip + limit < len(page.records) else None
        return ScanPage(records=records, cursor=more)


class _Forgiving(WrappedBackend):
    async def scan(self, **options: Any) -> ScanPage:
        try:
            return await super().scan(**options)
        except InvalidCursorError:
            return await super().scan(**{**options, "cursor": None})


class _Asked(WrappedBackend):
    """Answers another query than the one it was asked."""

    def __init__(self, change: Callable[[VectorQuery], VectorQuery]) -> None:
        super().__init__(InMemoryBackend())
        self._query = change

    async def query(self, query: VectorQuery, *, reach: Reach) -> Candidates:
        return await super().query(self._query(query), reach=reach)


class _Answered(WrappedBackend):
    """Answers with other columns than it should."""

    def __init__(self, change: Callable[[Candidates], Candidates]) -> None:
        super().__init__(InMemoryBackend())
        self._answer = change

    async def query(self, query: VectorQuery, *, reach: Reach) -> Candidates:
        found = await super().query(query, reach=reach)
        return self._answer(found) if len(found) else found


class _Miscounting(WrappedBackend):
    async def delete(self, record_ids: Sequence[str], *, reach: Reach) -> int:
        await super().delete(record_ids, reach=reach)
        return len(record_ids)


def _with(wrapper: type[WrappedBackend]) -> WrappedBackend:
    return wrapper(InMemoryBackend())


def _rounded(record: MemoryRecord) -> MemoryRecord:
    return replace(record, occurred_at=record.occurred_at.replace(microsecond=0))


MUTANTS: dict[str, tuple[Callable[[], WrappedBackend], str, dict[str, Any]]] = {
    "rounds times": (lambda: _Changed(_rounded), "every_field_comes_back", {}),
    "drops tags": (lambda: _Changed(lambda r: replace(r, tags=())), "every_field_comes_back", {}),
    "flattens metadata": (
        lambda: _Changed(lambda r: replace(r, metadata={**r.metadata, "true": 1})),
        "metadata_comes_back_exactly",
        {"metadata": {"true": True}},
    ),
    "cuts text at NUL": (
        lambda: _Changed(lambda r: replace(r, text=r.text.split("\0")[0])),
        "text_comes_back_exactly",
        {"text": "before\0after"},
    ),
    "folds ids": (
        lambda: _Changed(lambda r: replace(r, id=r.id.lower())), "ids_are_taken_literally", {},
    ),
    "ignores conditions": (lambda: _with(_Unconditional), "zero_demands_that_there_is_none", {}),
    "ignores versions": (lambda: _with(_Unconditional), "n_demands_that_version", {}),
    "lets all racers win": (lambda: _with(_Unconditional), "one_of_many_wins", {}),
    "writes before a conflict": (
        lambda: _with(_OneByOne), "a_conflict_writes_nothing", {"expected": 0},
    ),
    "trusts records": (
        lambda: _with(_Trusting), "records_of_others_are_refused", {"theirs": "user"},
    ),
    "sees all agents": (
        lambda: _Wide(any_agent=True),
        "reads_see_what_is_within",
        {"any_agent": False, "any_session": True, "reader": "fetch"},
    ),
    "sees all sessions": (
        lambda: _Wide(any_session=True),
        "reads_see_what_is_within",
        {"any_agent": False, "any_session": False, "reader": "scan"},
    ),
    "deletes of all agents": (
        lambda: _Wide(any_agent=True), "deletes_stay_within", {"any_agent": False},
    ),
    "keeps what expired": (lambda: _Wide(now=None), "expired_records_are_gone", {}),
    "counts rows": (lambda: _with(_Offset), "pages_survive_what_happens_between_them", {}),
    "loses its place": (lambda: _with(_Offset), "a_cursor_outlives_its_own_record", {}),
    "takes any cursor": (
        lambda: _with(_Forgiving), "what_is_no_cursor_is_refused", {"cursor": "nonsense"},
    ),
    "forgets the filter": (
        lambda: _Asked(lambda q: replace(q, filter=None)), "conditions", {"reader": "query"},
    ),
    "forgets the actor": (
        lambda: _Asked(lambda q: replace(q, actor=None)), "one_actors_records_alone", {},
    ),
    "forgets the namespace": (
        lambda: _Asked(lambda q: replace(q, namespace="/")),
        "namespaces_are_subtrees",
        {"reader": "query"},
    ),
    "searches the other way": (
        lambda: _Asked(lambda q: q if q.vector is None else replace(q, vector=-q.vector)),
        "the_nearest_are_found",
        {"limit": 5},
    ),
    "has distance for similarity": (
        lambda: _Answered(lambda c: replace(c, distances=(1 - c.distances).astype(np.float32))),
        "the_nearest_are_found",
        {"limit": 5},
    ),
    "orders by nothing": (
        lambda: _Answered(lambda c: replace(c, order=c.order[::-1].copy())),
        "parts_are_found_as_rows",
        {},
    ),
    "says float64": (
        lambda: _Answered(lambda c: replace(c, distances=c.distances.astype(np.float64))),
        "the_nearest_are_found",
        {"limit": 5},
    ),
    "counts what was asked": (lambda: _with(_Miscounting), "delete_counts_what_existed", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", MUTANTS)
async def test_a_broken_backend_is_found(name: str) -> None:
    """The test about a fault passes on a sound backend and fails on the one with the fault."""
    make, test, arguments = MUTANTS[name]
    if arguments.get("theirs") == "user":
        arguments = {"theirs": replace(SCOPE, user="ada2")}
    method = getattr(VectorBackendConformance(), f"test_{test}")
    await method(InMemoryBackend(), **arguments)
    with pytest.raises((AssertionError, ConflictError, pytest.fail.Exception)):
        await method(make(), **arguments)


@pytest.mark.parametrize(
    ("backend", "test", "arguments"),
    [
        (lambda: _Wide(any_agent=True), "listings_hold_what_the_scope_contains", {}),
        (
            lambda: _Wide(any_agent=True),
            "recall_finds_ones_own",
            {"mode": "text", "any_agent": False},
        ),
        (lambda: _Wide(any_agent=True), "foreign_records_look_absent", {"verb": "get"}),
    ],
    ids=["listing", "recall", "get"],
)
async def test_a_leaking_backend_is_found(
    backend: Callable[[], WrappedBackend], test: str, arguments: dict[str, Any]
) -> None:
    """The isolation suite fails on backends whose reach is too wide, whoever notices it."""
    method = getattr(TenantIsolationConformance(), f"test_{test}")
    await method(InMemoryBackend(), **arguments)
    with pytest.raises((AssertionError, PermissionError)):
        await method(backend(), **arguments)


class _Batchy(HashingEmbedder):
    async def embed(self, inputs: Sequence[str], **options: Any) -> Any:
        rows = await super().embed(inputs, **options)
        return rows + np.float32(0.01 * (len(inputs) - 1))


class _Backwards(HashingEmbedder):
    async def embed(self, inputs: Sequence[str], **options: Any) -> Any:
        return (await super().embed(inputs, **options))[::-1]


class _Doubles(HashingEmbedder):
    async def embed(self, inputs: Sequence[str], **options: Any) -> Any:
        return (await super().embed(inputs, **options)).astype(np.float64)


class _Long(HashingEmbedder):
    async def embed(self, inputs: Sequence[str], **options: Any) -> Any:
        return 2 * await super().embed(inputs, **options)


@pytest.mark.parametrize(
    ("embedder", "test"),
    [
        (_Batchy, "neighbours_do_not_matter"),
        (_Backwards, "neighbours_do_not_matter"),
        (_Doubles, "no_texts_are_no_rows"),
        (_Long, "a_full_batch_is_accepted"),
    ],
)
async def test_a_broken_embedder_is_found(embedder: type[HashingEmbedder], test: str) -> None:
    """Batch effects, order, type and length are noticed."""
    method = getattr(EmbedderConformance(), f"test_{test}")
    await method(HashingEmbedder())
    with pytest.raises(AssertionError):
        await method(embedder())


@pytest.mark.parametrize(
    "broken",
    [
        lambda: _Changed(_rounded),
        lambda: _with(_Unconditional),
        lambda: _Wide(any_session=True),
        lambda: _Wide(now=None),
        lambda: _with(_Miscounting),
    ],
    ids=["rounding", "conditions", "sessions", "expiry", "counts"],
)
def test_the_machine_finds_faults(broken: Callable[[], WrappedBackend]) -> None:
    """The state machine fails over a backend with a fault, without being told where."""

    def make_client(clock: Any, _folder: Any) -> MemoryClient:
        return MemoryClient(backend=broken(), embedder=HashingEmbedder(), clock=clock)

    with pytest.raises((AssertionError, MemlaneError)):
        run_state_machine_as_test(
            memory_machine(make_client),
            settings=settings(
                max_examples=150,
                stateful_step_count=40,
                derandomize=True,
                database=None,
                deadline=None,
                phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            ),
        )
