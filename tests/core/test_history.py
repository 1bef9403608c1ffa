"""What a record once said can be read and said again, by those in whose reach the record is."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from core.bare import BareBackend
from memlane import (
    ConflictError,
    IsolationError,
    MemoryClient,
    MemoryRecord,
    NotFoundError,
    RegexRedactor,
    Scope,
    ValidationError,
)
from memlane.layout import MAX_VERSIONS
from memlane.local import InMemoryBackend, SqliteBackend
from memlane.scope import Reach
from memlane.testing import FakeClock, HashingEmbedder, WrappedBackend
from memlane.testing.samples import make_record

ADA = Scope("ada", tenant="acme", agent="support")
EVE = Scope("eve", tenant="acme", agent="support")
HOUR = timedelta(hours=1)


@pytest.fixture(params=["memory", "sqlite"])
async def client(
    request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock
) -> AsyncIterator[MemoryClient]:
    """A client over each local store."""
    backend = (
        InMemoryBackend() if request.param == "memory" else SqliteBackend(tmp_path / "memory.db")
    )
    async with MemoryClient(
        backend=backend, embedder=HashingEmbedder(), clock=clock, owned=[backend]
    ) as opened:
        yield opened


async def _changed(client: MemoryClient, clock: FakeClock, *texts: str) -> str:
    """Store a record that says these things one after the other, an hour apart."""
    first, *others = texts
    record = await client.store(first, scope=ADA, metadata={"said": first}, tags=["a"])
    for text in others:
        clock.advance(HOUR)
        await client.update(record.id, scope=ADA, text=text, metadata={"said": text}, tags=["b"])
    return record.id


async def test_history_is_all_versions_newest_first(client: MemoryClient, clock: FakeClock) -> None:
    """The current one included, each as it was, to the last field."""
    stored = await client.store("in Porto", scope=ADA, valid_from=clock.now(), actor="Ada")
    clock.advance(HOUR)
    second = await client.update(
        stored.id, scope=ADA, text="in Lisbon", valid_to=clock.now() + HOUR
    )
    third = await client.update(stored.id, scope=ADA, tags=["home"])
    assert list(await client.history(stored.id, scope=ADA)) == [third, second, stored]
    assert await client.count(scope=ADA) == 1
    assert [match.record for match in await client.retrieve("Porto", scope=ADA)] == [third]


async def test_a_record_never_changed_has_itself(client: MemoryClient, clock: FakeClock) -> None:
    """And nothing else; and one that is gone has nothing."""
    record_id = await _changed(client, clock, "once")
    assert len(await client.history(record_id, scope=ADA)) == 1
    await client.delete(record_id, scope=ADA)
    with pytest.raises(NotFoundError):
        await client.history(record_id, scope=ADA)


async def test_a_new_record_of_an_old_id_has_no_past(
    client: MemoryClient, clock: FakeClock
) -> None:
    """Deleting takes the versions along."""
    stored = await client.store("x", scope=ADA, record_id="mine")
    await client.update("mine", scope=ADA, text="y")
    await client.delete("mine", scope=ADA)
    clock.advance(HOUR)
    again = await client.store("z", scope=ADA, record_id="mine")
    assert list(await client.history("mine", scope=ADA)) == [again]
    assert again.stored_at > stored.stored_at


async def test_history_is_within_the_records_reach(client: MemoryClient, clock: FakeClock) -> None:
    """Another user, agent or session finds nothing, whatever it knows."""
    record_id = await _changed(client, clock, "one", "two")
    for scope in (EVE, Scope("ada", tenant="acme"), Scope("ada", agent="support")):
        with pytest.raises(NotFoundError):
            await client.history(record_id, scope=scope)
        with pytest.raises(NotFoundError):
            await client.restore(record_id, scope=scope, version=1)
    wide = await client.history(record_id, scope=Scope("ada", tenant="acme"), include_agents=True)
    assert [each.version for each in wide] == [2, 1]
    monday = replace(ADA, session="monday")
    with pytest.raises(NotFoundError):
        await client.history(record_id, scope=monday, only_session=True)


async def test_an_expired_past_is_a_past(client: MemoryClient, clock: FakeClock) -> None:
    """How long a version was to be kept is no matter once the record is kept for longer."""
    stored = await client.store("soon gone", scope=ADA, ttl=HOUR)
    await client.update(stored.id, scope=ADA, expires_at=None)
    clock.advance(2 * HOUR)
    assert [each.version for each in await client.history(stored.id, scope=ADA)] == [2, 1]
    assert (await client.restore(stored.id, scope=ADA, version=1)).expires_at is None


async def test_restoring_is_an_update(client: MemoryClient, clock: FakeClock) -> None:
    """Everything it said is said again, under a new number; whose it is and its end stay."""
    stored = await client.store(
        "in Porto", scope=replace(ADA, session="s"), namespace="/home/", kind="note", actor="Ada",
        metadata={"a": [1]}, tags=["x"], occurred_at=datetime(2020, 1, 1, tzinfo=UTC),
        valid_from=datetime(2020, 1, 1, tzinfo=UTC), valid_to=datetime(2099, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    clock.advance(HOUR)
    end = clock.now() + 9 * HOUR
    changed = await client.update(
        stored.id, scope=ADA, text="in Lisbon", namespace="/", kind="fact", actor=None, metadata={},
        tags=[], occurred_at=clock.now(), valid_from=None, valid_to=None, expires_at=end,
    )  # fmt: skip
    clock.advance(HOUR)
    back = await client.restore(stored.id, scope=ADA, version=1)
    assert back == replace(stored, version=3, updated_at=clock.now(), expires_at=end)
    assert list(await client.history(stored.id, scope=ADA)) == [back, changed, stored]
    assert await client.get(stored.id, scope=ADA) == back
    (found,) = await client.retrieve("Porto", scope=ADA, mode="text")
    assert found.record == back


async def test_restoring_the_current_version(client: MemoryClient, clock: FakeClock) -> None:
    """It is one of the history, and its next version says the same."""
    record_id = await _changed(client, clock, "one", "two")
    assert (await client.restore(record_id, scope=ADA, version=2)).text == "two"


async def test_restoring_what_is_not_there(client: MemoryClient, clock: FakeClock) -> None:
    """Neither a record nor a version of it; and not from another version than expected."""
    record_id = await _changed(client, clock, "one", "two")
    for version in (0, 3, -1):
        with pytest.raises(NotFoundError, match="version"):
            await client.restore(record_id, scope=ADA, version=version)
    with pytest.raises(ConflictError, match="version 2, not 1"):
        await client.restore(record_id, scope=ADA, version=1, expected_version=1)
    assert (await client.restore(record_id, scope=ADA, version=1, expected_version=2)).version == 3


async def test_so_many_versions_are_kept(client: MemoryClient, clock: FakeClock) -> None:
    """The oldest goes when there are too many, and can then not be restored."""
    record_id = await _changed(client, clock, *map(str, range(MAX_VERSIONS + 2)))
    numbers = [each.version for each in await client.history(record_id, scope=ADA)]
    assert numbers == list(range(MAX_VERSIONS + 2, 1, -1))
    with pytest.raises(NotFoundError):
        await client.restore(record_id, scope=ADA, version=1)


SOURCES = ["app", "user", "assistant", "tool", "import"]


@pytest.mark.parametrize("had", SOURCES)
@pytest.mark.parametrize("given", SOURCES)
async def test_a_source_only_ever_loses_trust(client: MemoryClient, had: Any, given: Any) -> None:
    """An update has the less trusted of both, and restoring what was trusted more does not help."""
    record = await client.store("x", scope=ADA, source=had)
    least = SOURCES[max(SOURCES.index(had), SOURCES.index(given))]
    assert (await client.update(record.id, scope=ADA, source=given)).source == least
    assert (await client.update(record.id, scope=ADA, text="y")).source == least
    assert (await client.restore(record.id, scope=ADA, version=1)).source == least


@pytest.mark.parametrize(
    ("since", "until", "reason"),
    [
        (datetime(2026, 1, 1), None, "valid_from has no time zone"),  # noqa: DTZ001 - the point
        (None, datetime(2026, 1, 1), "valid_to has no time zone"),  # noqa: DTZ001
        ("2026", None, "valid_from must be a datetime"),
        (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 1, tzinfo=UTC), "not after"),
        (datetime(2026, 1, 2, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC), "not after"),
    ],
)
async def test_a_time_that_cannot_be(
    client: MemoryClient, since: Any, until: Any, reason: str
) -> None:
    """Refused by storing and by changing, and nothing is."""
    record = await client.store("x", scope=ADA)
    with pytest.raises(ValidationError, match=reason):
        await client.store("y", scope=ADA, valid_from=since, valid_to=until)
    with pytest.raises(ValidationError, match=reason):
        await client.update(record.id, scope=ADA, valid_from=since, valid_to=until)
    assert await client.get(record.id, scope=ADA) == record


async def test_one_bound_is_checked_against_the_one_that_is_there(client: MemoryClient) -> None:
    """Also when only one of them changes."""
    day = datetime(2026, 1, 2, tzinfo=UTC)
    record = await client.store("x", scope=ADA, valid_from=day)
    with pytest.raises(ValidationError, match="not after"):
        await client.update(record.id, scope=ADA, valid_to=day)
    until = day + HOUR
    assert (await client.update(record.id, scope=ADA, valid_to=until)).valid_to == until


async def test_restoring_meets_todays_redactor(clock: FakeClock) -> None:
    """What an older version held before there was a redactor does not come back by it."""
    backend = InMemoryBackend()
    before = MemoryClient(backend=backend, embedder=HashingEmbedder(), clock=clock)
    stored = await before.store(
        "Mail ada@example.com", scope=ADA, metadata={"m": "bob@example.com"}
    )
    await before.update(stored.id, scope=ADA, text="Mail her", metadata={})
    after = MemoryClient(
        backend=backend, embedder=HashingEmbedder(), clock=clock, redactor=RegexRedactor()
    )
    back = await after.restore(stored.id, scope=ADA, version=1)
    assert "example" not in f"{back.text} {back.metadata}"
    assert back.version == 3


class Lying(WrappedBackend):
    """A backend whose history is somebody else's."""

    def __init__(self, told: Sequence[MemoryRecord]) -> None:
        super().__init__(InMemoryBackend())
        self.told = told

    async def versions(self, record_id: str, *, reach: Reach) -> Sequence[MemoryRecord]:
        """Return what it was told to."""
        del record_id, reach
        return self.told


async def test_anothers_past_is_refused(clock: FakeClock) -> None:
    """Every version is checked once more; none of it is told."""
    theirs = make_record("mine", scope=EVE, text="the secret")
    client = MemoryClient(backend=Lying([theirs]), embedder=HashingEmbedder(), clock=clock)
    await client.store("x", scope=ADA, record_id="mine")
    with pytest.raises(IsolationError) as caught:
        await client.history("mine", scope=ADA)
    assert "secret" not in str(caught.value)
    with pytest.raises(IsolationError):
        await client.restore("mine", scope=ADA, version=1)


async def test_of_two_that_raced_the_other_can_be_restored(clock: FakeClock) -> None:
    """Where two versions have one number, the one that lost is what the number means to restore."""
    lost = make_record("mine", scope=ADA, text="theirs", version=2)
    client = MemoryClient(backend=Lying([lost]), embedder=HashingEmbedder(), clock=clock)
    await client.store("ours at first", scope=ADA, record_id="mine")
    await client.update("mine", scope=ADA, text="ours")
    assert [each.text for each in await client.history("mine", scope=ADA)] == ["ours", "theirs"]
    assert (await client.restore("mine", scope=ADA, version=2)).text == "theirs"


async def test_a_backend_without_versions_has_the_current_one(clock: FakeClock) -> None:
    """History says what there is; there is nothing to restore but that."""
    client = MemoryClient(backend=BareBackend(), embedder=HashingEmbedder(), clock=clock)
    await client.store("one", scope=ADA, record_id="mine")
    two = await client.update("mine", scope=ADA, text="two")
    assert list(await client.history("mine", scope=ADA)) == [two]
    with pytest.raises(NotFoundError, match="no version 1"):
        await client.restore("mine", scope=ADA, version=1)
