"""What is not true now is not recalled, and what was said then is recalled in the words of then."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane import Filter, MemoryClient, NewMemory, RetrievalOptions, Scope, ValidationError
from memlane.local import InMemoryBackend, MiniLMEmbedder, SqliteBackend
from memlane.metadata import record_fields
from memlane.retrieval.retriever import MOST_LOOKED_AT
from memlane.retrieval.validity import changed_since, held, narrowed, said_by, words_then
from memlane.testing import FakeClock, HashingEmbedder, WrappedBackend
from memlane.testing.samples import NOW, make_record

ADA = Scope("ada", tenant="acme")
DAY = timedelta(days=1)
QUICK = settings(deadline=None, max_examples=200)
DAYS = st.integers(-20, 20)


@pytest.fixture(params=["memory", "sqlite"])
async def client(
    request: pytest.FixtureRequest,
    tmp_path: Path,
    clock: FakeClock,
    embedder: HashingEmbedder,
) -> AsyncIterator[MemoryClient]:
    """A client over each store of this machine."""
    memory = request.param == "memory"
    backend = InMemoryBackend() if memory else SqliteBackend(tmp_path / "memory.db")
    async with MemoryClient(
        backend=backend, embedder=embedder, clock=clock, owned=[backend]
    ) as opened:
        yield opened


async def _recalled(
    client: MemoryClient, as_of: datetime | None = None, **options: object
) -> set[str]:
    found = await client.retrieve(
        "green tea",
        scope=ADA,
        options=RetrievalOptions(as_of=as_of),
        **options,  # type: ignore[arg-type] # each is the verb's own
    )
    return {match.record.text for match in found}


async def test_what_is_true_no_more_or_not_yet_is_left_out(
    client: MemoryClient, clock: FakeClock
) -> None:
    """At the very moment: valid_from is included, valid_to is not."""
    now = clock.now()
    await client.store("green tea for ever", scope=ADA)
    await client.store("green tea from tomorrow", scope=ADA, valid_from=now + DAY)
    await client.store("green tea until tomorrow", scope=ADA, valid_to=now + DAY)
    assert await _recalled(client) == {"green tea for ever", "green tea until tomorrow"}
    for mode in ("vector", "text"):
        assert len(await _recalled(client, mode=mode)) == 2
    clock.advance(DAY)
    assert await _recalled(client) == {"green tea for ever", "green tea from tomorrow"}
    # Whoever looks at what is there sees all of it.
    assert await client.count(scope=ADA) == 3


async def test_others_take_the_place_of_what_is_not_true(
    client: MemoryClient, clock: FakeClock
) -> None:
    """An answer is as long as there is something to say, however much of it is over."""
    over = [
        NewMemory(content="green tea", valid_to=clock.now() - DAY, record_id=f"over{n}")
        for n in range(80)
    ]
    still = [NewMemory(content=f"green tea and {n} biscuits") for n in range(7)]
    await client.store_many([*over, *still], scope=ADA)
    for mode in ("hybrid", "vector", "text"):
        for limit in (1, 5, 10):
            found = await client.retrieve("green tea", scope=ADA, limit=limit, mode=mode)
            assert len(found) == min(limit, 7)
            assert all("biscuits" in match.record.text for match in found)


async def test_a_moment_shows_what_had_been_said_by_then(
    client: MemoryClient, clock: FakeClock
) -> None:
    """By when it happened or since when it is true, whenever it was stored."""
    now = clock.now()
    await client.store("green tea yesterday", scope=ADA, occurred_at=now - DAY)
    await client.store("green tea today", scope=ADA)
    await client.store("green tea since long", scope=ADA, valid_from=now - 9 * DAY)
    await client.store("green tea once", scope=ADA, occurred_at=now - 9 * DAY, valid_to=now - DAY)
    assert await _recalled(client, now - 10 * DAY) == set()
    assert await _recalled(client, now - 9 * DAY) == {"green tea since long", "green tea once"}
    assert await _recalled(client, now - DAY) == {"green tea since long", "green tea yesterday"}
    everything = {"green tea since long", "green tea yesterday", "green tea today"}
    assert await _recalled(client, now) == await _recalled(client) == everything


async def test_a_changed_record_answers_in_the_words_it_had(
    client: MemoryClient, clock: FakeClock
) -> None:
    """The passage too; and the filter is asked of what it was."""
    start = clock.now()
    first = await client.store("green tea with milk", scope=ADA, tags=["old"])
    clock.advance(DAY)
    await client.update(first.id, scope=ADA, text="green tea without", tags=["new"])
    clock.advance(DAY)
    await client.update(first.id, scope=ADA, text="green tea iced", occurred_at=clock.now())
    assert await _recalled(client) == {"green tea iced"}
    assert await _recalled(client, start) == {"green tea with milk"}
    assert await _recalled(client, start + DAY) == {"green tea without"}
    assert await _recalled(client, start + 2 * DAY) == {"green tea iced"}
    assert await _recalled(client, start - DAY) == set()
    options = RetrievalOptions(as_of=start)
    [match] = await client.retrieve("green tea", scope=ADA, options=options)
    assert (match.record.version, match.passage) == (1, "green tea with milk")
    old = Filter.eq("@tags", "new")
    assert await _recalled(client, start + DAY, filter=old) == {"green tea without"}
    assert await _recalled(client, start, filter=old) == set()


async def test_it_is_looked_for_where_it_lay_then(client: MemoryClient, clock: FakeClock) -> None:
    """What moved or was filed otherwise since is found by what it was, and only by that."""
    start = clock.now()
    first = await client.store("green tea", scope=ADA, namespace="/old/", metadata={"k": "old"})
    await client.store("green tea elsewhere", scope=ADA, namespace="/new/", metadata={"k": "x"})
    clock.advance(DAY)
    await client.update(first.id, scope=ADA, namespace="/new/", metadata={"k": "new"})
    for mode in ("hybrid", "vector", "text"):
        assert await _recalled(client, start, namespace="/old/", mode=mode) == {"green tea"}
        assert await _recalled(client, start, filter={"k": "old"}, mode=mode) == {"green tea"}
        assert await _recalled(client, start, filter={"k": "new"}, mode=mode) == set()
        there = {"green tea elsewhere"}
        assert await _recalled(client, start, namespace="/new/", mode=mode) == there
    assert await _recalled(client, clock.now(), namespace="/old/") == set()
    both = {"green tea", "green tea elsewhere"}
    assert await _recalled(client, clock.now(), namespace="/new/") == both


async def test_among_very_many_what_still_lies_there_is_found(
    client: MemoryClient, clock: FakeClock
) -> None:
    """So many of the best are looked at one by one; beyond them today's place must do."""
    start = clock.now()
    crowd = [NewMemory(content="green tea", record_id=f"r{n}") for n in range(MOST_LOOKED_AT * 2)]
    await client.store_many(crowd, scope=ADA)
    moved = await client.store("a cup of green", scope=ADA, namespace="/old/")
    await client.store("a cup of tea", scope=ADA, namespace="/old/")
    clock.advance(DAY)
    await client.update(moved.id, scope=ADA, namespace="/new/")
    assert await _recalled(client, start, namespace="/old/") == {"a cup of tea"}


async def test_what_is_newer_is_told_among_what_lay_there(
    clock: FakeClock,
) -> None:
    """However many others are nearer to the question."""
    embedder = MiniLMEmbedder()
    async with MemoryClient(
        backend=InMemoryBackend(), embedder=embedder, clock=clock, owned=[embedder]
    ) as client:
        crowd = [NewMemory(content=f"Where do I live, {n}?", namespace="/c/") for n in range(50)]
        await client.store_many(crowd, scope=ADA)
        for text in ("I live in Porto.", "I moved to Lisbon."):
            await client.store(text, scope=ADA, namespace="/old/", occurred_at=clock.now())
            clock.advance(DAY)
        for on, expected in ((False, "I live in Porto."), (True, "I moved to Lisbon.")):
            options = RetrievalOptions(as_of=clock.now(), supersede=on)
            [match] = await client.retrieve(
                "Where do I live?", scope=ADA, namespace="/old/", limit=1, options=options
            )
            assert match.record.text == expected


class Forgetful(WrappedBackend):
    """A backend that keeps no versions."""

    versions: None = None  # type: ignore[assignment,unused-ignore]


async def test_a_store_without_history_puts_no_words_into_anybodys_mouth(
    clock: FakeClock, embedder: HashingEmbedder
) -> None:
    """What a changed record said then is not known: it is left out, the others are not."""
    backend = Forgetful(InMemoryBackend())
    client = MemoryClient(backend=backend, embedder=embedder, clock=clock)
    start = clock.now()
    first = await client.store("green tea with milk", scope=ADA)
    await client.store("green tea as ever", scope=ADA)
    clock.advance(DAY)
    await client.update(first.id, scope=ADA, text="green tea without")
    found = await client.retrieve("green tea", scope=ADA, options=RetrievalOptions(as_of=start))
    assert {match.record.text for match in found} == {"green tea as ever"}


@pytest.mark.parametrize("moment", [datetime(2026, 5, 1), "2026-05-01", 1.0, True])  # noqa: DTZ001
async def test_a_moment_must_be_one(client: MemoryClient, moment: object) -> None:
    """Aware, so that it means the same everywhere."""
    options = RetrievalOptions(as_of=moment)  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="as_of"):
        await client.retrieve("green tea", scope=ADA, options=options)
    with pytest.raises(ValidationError, match="supersede"):
        await client.retrieve(
            "green tea",
            scope=ADA,
            options=RetrievalOptions(supersede="no"),  # type: ignore[arg-type]
        )


@pytest.mark.parametrize(
    "moment", [datetime(1, 1, 1, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)]
)
async def test_the_ends_of_time_are_moments(client: MemoryClient, moment: datetime) -> None:
    """Before everything nothing had been said, after everything all."""
    await client.store("green tea", scope=ADA)
    found = await _recalled(client, moment)
    assert found == ({"green tea"} if moment.year > 9000 else set())


async def test_a_zone_is_only_a_way_to_write_a_moment(
    client: MemoryClient, clock: FakeClock
) -> None:
    """The same moment in another zone shows the same."""
    await client.store("green tea", scope=ADA)
    there = clock.now().astimezone(timezone(timedelta(hours=9)))
    assert await _recalled(client, there) == {"green tea"}
    assert await _recalled(client, there - timedelta(microseconds=1)) == set()


@QUICK
@given(
    occurred=DAYS,
    since=st.none() | DAYS,
    first=DAYS,
    later=DAYS,
)
def test_what_has_been_said_stays_said(
    occurred: int, since: int | None, first: int, later: int
) -> None:
    """A record without an end that shows as of one moment shows as of every later one."""
    record = replace(
        make_record("r", occurred_at=NOW + occurred * DAY),
        valid_from=None if since is None else NOW + since * DAY,
    )
    first, later = sorted((first, later))
    if said_by(record, NOW + first * DAY):
        assert said_by(record, NOW + later * DAY)
    assert held(record, NOW + later * DAY) or since is not None


@QUICK
@given(
    occurred=DAYS,
    stored=DAYS,
    since=st.none() | DAYS,
    until=st.none() | DAYS,
    moment=DAYS,
)
def test_what_a_backend_narrows_by_is_true_of_each_match(
    occurred: int, stored: int, since: int | None, until: int | None, moment: int
) -> None:
    """The filter pushed down never loses what the exact check would let pass."""
    record = replace(
        make_record("r", occurred_at=NOW + occurred * DAY),
        stored_at=NOW + stored * DAY,
        valid_from=None if since is None else NOW + since * DAY,
        valid_to=None if until is None else NOW + until * DAY,
    )
    at = NOW + moment * DAY
    told = narrowed(None, as_of=at, trusted=None)
    assert told is not None
    if said_by(record, at):
        assert told.matches(record_fields(record))


def test_a_filter_as_large_as_filters_may_be_goes_alone() -> None:
    """What else it could be narrowed by is checked afterwards all the same."""
    large = Filter.in_("n", [*range(80)])
    assert narrowed(large, as_of=NOW, trusted=Filter.in_("@source", ["app"])) == large
    small = Filter.eq("n", 1)
    assert narrowed(small, as_of=NOW, trusted=None) != small
    assert narrowed(small, as_of=None, trusted=None) == small
    assert narrowed(None, as_of=None, trusted=None) is None


def test_words_that_are_kept_no_more_are_not_made_up() -> None:
    """The oldest version stands for the time before it only where it is the first."""
    versions = [
        replace(make_record("r", f"text {n}", version=n), updated_at=NOW + n * DAY)
        for n in (4, 3, 2)
    ]
    assert words_then(versions, NOW + 3 * DAY) == versions[1]
    assert words_then(versions, NOW + 9 * DAY) == versions[0]
    assert words_then(versions, NOW) is None
    first = replace(make_record("r", "text 1"), updated_at=NOW, stored_at=NOW)
    assert words_then([*versions, first], NOW - DAY) == first
    assert words_then([], NOW) is None
    # Made at one moment: the lower number is the older one.
    hasty = [replace(first, text="text 2", version=2), first]
    assert words_then(hasty, NOW - DAY) == first
    assert not changed_since(first, NOW - DAY)
    assert changed_since(versions[0], NOW)
