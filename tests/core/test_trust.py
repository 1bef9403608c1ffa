"""A policy hides and labels what is recalled; without one nothing changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane import MemoryClient, ScannerError, Scope, TrustPolicy, TrustVerdict, ValidationError
from memlane.local import InMemoryBackend
from memlane.protocols import Candidates, VectorQuery
from memlane.scope import Reach
from memlane.testing import FakeClock, HashingEmbedder, WrappedBackend
from memlane.testing.samples import NOW, make_record
from memlane.trust import least_trusted, may_replace
from memlane.types import MemoryRecord, Source

ADA = Scope("ada", tenant="acme")
SOURCES: tuple[Source, ...] = get_args(Source)
DAY = timedelta(days=1)
some_sources = st.lists(st.sampled_from(SOURCES), min_size=1)


class Heard(WrappedBackend):
    """Notes what it was asked for."""

    def __init__(self) -> None:
        super().__init__(InMemoryBackend())
        self.queries: list[VectorQuery] = []

    async def query(self, query: VectorQuery, *, reach: Reach) -> Candidates:
        self.queries.append(query)
        return await super().query(query, reach=reach)


async def _filled(
    clock: FakeClock, embedder: HashingEmbedder, trust: TrustPolicy | None
) -> tuple[MemoryClient, Heard]:
    backend = Heard()
    client = MemoryClient(backend=backend, embedder=embedder, clock=clock, trust=trust)
    for source in SOURCES:
        await client.store(f"green tea by {source}", scope=ADA, source=source)
    return client, backend


async def _sources(client: MemoryClient, **options: Any) -> set[str]:
    found = await client.retrieve("green tea", scope=ADA, **options)
    return {match.record.source for match in found}


async def test_without_a_policy_all_is_recalled_and_nothing_labelled(
    clock: FakeClock, embedder: HashingEmbedder
) -> None:
    """And nothing is narrowed."""
    client, backend = await _filled(clock, embedder, None)
    found = await client.retrieve("green tea", scope=ADA)
    assert {match.record.source for match in found} == {*SOURCES}
    assert {match.label for match in found} == {""}
    assert backend.queries[-1].filter is None
    block = await client.context("green tea", scope=ADA, max_tokens=500)
    assert "label=" not in block.text


async def test_only_what_is_trusted_is_recalled(
    clock: FakeClock, embedder: HashingEmbedder
) -> None:
    """The backend is told, and not believed; listing shows everything."""
    client, backend = await _filled(clock, embedder, TrustPolicy(sources=["user", "app"]))
    for mode in ("hybrid", "vector", "text"):
        assert await _sources(client, mode=mode) == {"user", "app"}
        told = backend.queries[-1].filter
        assert told is not None
        assert told.to_json() == {"@source": {"$in": ["app", "user"]}}
    assert await client.count(scope=ADA) == len(SOURCES)


class Deaf(Heard):
    """Narrows by nothing, as a backend that knows no filters would."""

    async def query(self, query: VectorQuery, *, reach: Reach) -> Candidates:
        return await super().query(replace(query, filter=None), reach=reach)


async def test_a_backend_that_does_not_narrow_is_checked(
    clock: FakeClock, embedder: HashingEmbedder
) -> None:
    """Everything that comes back is looked at again, and others take the places."""
    backend = Deaf()
    policy = TrustPolicy(sources=["user"])
    client = MemoryClient(backend=backend, embedder=embedder, clock=clock, trust=policy)
    for n in range(40):
        await client.store("green tea", scope=ADA, source="tool", record_id=f"t{n}")
    await client.store("green tea and biscuits", scope=ADA, source="user")
    found = await client.retrieve("green tea", scope=ADA, limit=3)
    assert [match.record.source for match in found] == ["user"]


async def test_what_is_too_old_is_left_out(clock: FakeClock, embedder: HashingEmbedder) -> None:
    """By when it happened; each source may have a bound of its own, and none has none."""
    policy = TrustPolicy(max_age={"tool": DAY, "import": 3 * DAY})
    client, _ = await _filled(clock, embedder, policy)
    clock.advance(DAY)
    assert await _sources(client) == {*SOURCES}
    clock.advance(timedelta(microseconds=1))
    assert await _sources(client) == {*SOURCES} - {"tool"}
    clock.advance(3 * DAY)
    assert await _sources(client) == {*SOURCES} - {"tool", "import"}
    record = make_record("r", occurred_at=NOW - DAY)
    assert TrustPolicy(max_age=DAY).admits(record, now=NOW)
    assert not TrustPolicy(max_age=DAY).admits(record, now=NOW + DAY)
    assert TrustPolicy(max_age=timedelta.max).admits(record, now=NOW)


async def test_a_time_to_come_is_no_way_around_an_age(
    clock: FakeClock, embedder: HashingEmbedder
) -> None:
    """Neither for a tool, nor for a file that also says it was stored then."""
    client = MemoryClient(
        backend=InMemoryBackend(), embedder=embedder, clock=clock, trust=TrustPolicy(max_age=DAY)
    )
    far = datetime(9000, 1, 1, tzinfo=UTC)
    await client.store("green tea", scope=ADA, occurred_at=far)
    assert await _sources(client) == set()
    other = Scope("eve", tenant="acme")
    there = MemoryClient(backend=InMemoryBackend(), embedder=embedder, clock=FakeClock(far))
    await there.store("green tea", scope=other)
    await client.import_records([line async for line in there.export(scope=other)], scope=other)
    assert await client.count(scope=other) == 1
    assert await client.retrieve("green tea", scope=other) == []


async def test_what_is_soon_to_be_counts_from_when_it_was_said(
    clock: FakeClock, embedder: HashingEmbedder
) -> None:
    """As what another machine's clock is ahead; a change of it counts from the change."""
    client = MemoryClient(
        backend=InMemoryBackend(), embedder=embedder, clock=clock, trust=TrustPolicy(max_age=DAY)
    )
    stored = await client.store("green tea", scope=ADA, occurred_at=clock.now() + DAY)
    assert await _sources(client) == {"app"}
    clock.advance(DAY)
    assert await _sources(client) == {"app"}
    clock.advance(timedelta(microseconds=1))
    assert await _sources(client) == set()
    await client.update(stored.id, scope=ADA, occurred_at=clock.now())
    assert await _sources(client) == {"app"}


async def test_labels_are_on_matches_and_in_the_block(
    clock: FakeClock, embedder: HashingEmbedder
) -> None:
    """Escaped like all that stands there."""
    policy = TrustPolicy(labels={"tool": 'from a "tool" <&>'})
    client, _ = await _filled(clock, embedder, policy)
    labels = {
        match.record.source: match.label for match in await client.retrieve("green tea", scope=ADA)
    }
    assert labels == dict.fromkeys(SOURCES, "") | {"tool": 'from a "tool" <&>'}
    block = await client.context("green tea", scope=ADA, max_tokens=500)
    assert block.text.count("label=") == 1
    assert 'label="from a &quot;tool&quot; &lt;&amp;&gt;"' in block.text


async def test_a_scanner_allows_labels_and_leaves_out(
    clock: FakeClock, embedder: HashingEmbedder
) -> None:
    """Its label stands after that of the source; it sees only what may be recalled."""
    seen: list[str] = []

    async def scan(records: Sequence[MemoryRecord]) -> list[TrustVerdict]:
        seen.extend(record.source for record in records)
        return [
            TrustVerdict(allowed=record.source != "import", label="looked at") for record in records
        ]

    policy = TrustPolicy(
        sources=["user", "tool", "import"], labels={"tool": "unverified"}, scanner=scan
    )
    client, _ = await _filled(clock, embedder, policy)
    labels = {
        match.record.source: match.label for match in await client.retrieve("green tea", scope=ADA)
    }
    assert labels == {"user": "looked at", "tool": "unverified, looked at"}
    assert sorted(seen) == ["import", "tool", "user"]


async def _raises(records: Sequence[MemoryRecord]) -> list[TrustVerdict]:
    raise RuntimeError(records[0].text)


async def _too_few(records: Sequence[MemoryRecord]) -> list[TrustVerdict]:
    return [TrustVerdict()] * (len(records) - 1)


async def _other_things(records: Sequence[MemoryRecord]) -> list[Any]:
    return [True] * len(records)


async def _nothing(records: Sequence[MemoryRecord]) -> Any:
    del records


@pytest.mark.parametrize("scanner", [_raises, _too_few, _other_things, _nothing])
async def test_a_scanner_that_fails_fails_the_call(
    clock: FakeClock, embedder: HashingEmbedder, scanner: Any
) -> None:
    """Closed: nothing is recalled, and the error holds no memory's text."""
    client, _ = await _filled(clock, embedder, TrustPolicy(scanner=scanner))
    with pytest.raises(ScannerError, match="nothing is recalled") as caught:
        await client.retrieve("green tea", scope=ADA)
    assert "green tea" not in str(caught.value)
    assert caught.value.operation == "retrieve"
    assert caught.value.scope == ADA
    with pytest.raises(ScannerError):
        await client.context("green tea", scope=ADA, max_tokens=500)


async def test_a_scanner_is_not_asked_about_nothing(
    clock: FakeClock, embedder: HashingEmbedder
) -> None:
    """Where nothing may be recalled there is nothing to look at."""
    client, _ = await _filled(clock, embedder, TrustPolicy(sources=["app"], scanner=_raises))
    assert await _sources(client, filter={"color": "red"}) == set()


async def test_the_hardened_policy_keeps_strangers_out(
    clock: FakeClock, embedder: HashingEmbedder
) -> None:
    """What tools and files brought is not recalled, and an assistant's word ages."""
    client, _ = await _filled(clock, embedder, TrustPolicy.hardened())
    found = await client.retrieve("green tea", scope=ADA)
    assert {match.record.source: match.label for match in found} == {
        "app": "", "user": "", "assistant": "unverified",
    }  # fmt: skip
    clock.advance(timedelta(days=91))
    assert await _sources(client) == {"app", "user"}
    assert TrustPolicy.hardened(scanner=_raises).scanner is _raises


@pytest.mark.parametrize(
    "given",
    [
        {"sources": []},
        {"sources": "user"},
        {"sources": ["stranger"]},
        {"sources": [1]},
        {"max_age": timedelta(0)},
        {"max_age": 5},
        {"max_age": {"user": -DAY}},
        {"max_age": {"stranger": DAY}},
        {"labels": {"stranger": "x"}},
        {"labels": {"user": ""}},
        {"labels": {"user": "a\nb"}},
        {"labels": {"user": "x" * 65}},
        {"labels": {"user": None}},
        {"scanner": "scan"},
    ],
    ids=str,
)
def test_a_policy_that_means_nothing_is_refused(given: dict[str, Any]) -> None:
    """When it is made, with a remedy."""
    with pytest.raises(ValidationError) as caught:
        TrustPolicy(**given)
    assert caught.value.remedy


@settings(deadline=None)
@given(some_sources)
def test_what_is_derived_is_as_little_trusted_as_its_least(sources: list[Source]) -> None:
    """From whatever order it is told."""
    least = least_trusted(*sources)
    assert least in sources
    assert least == least_trusted(*reversed(sources)) == least_trusted(least, *sources)


def test_the_less_trusted_stands_in_for_nobody() -> None:
    """The owner and the application speak for each other; below them each only for those below."""
    replaced = {
        (newer, older) for newer in SOURCES for older in SOURCES if may_replace(newer, older)
    }
    order = ["user", "assistant", "tool", "import"]
    expected = {(a, b) for n, a in enumerate(order) for b in order[n:]}
    expected |= {("app", other) for other in SOURCES} | {("user", "app")}
    assert replaced == expected
