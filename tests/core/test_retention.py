"""Records that nobody gave an end get one by where they lie; never one that cannot be."""

from __future__ import annotations

import copy
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from memlane import MemoryClient, NewMemory, Retention, Scope, ValidationError
from memlane.local import InMemoryBackend
from memlane.testing import FakeClock, HashingEmbedder

ADA = Scope("ada", tenant="acme")
DAY = timedelta(days=1)


def _client(clock: FakeClock, retention: Retention) -> MemoryClient:
    return MemoryClient(
        backend=InMemoryBackend(), embedder=HashingEmbedder(), clock=clock, retention=retention
    )


@pytest.mark.parametrize(
    ("namespace", "days"),
    [
        ("/", 30),
        ("/chat/", 7),
        ("/chat", 7),
        ("/chat/today/", 7),
        ("/chat/notes/", 365),
        ("/chat/notes/old/", 365),
        ("/chatter/", 30),
        ("/caf\u00e9/x/", 2),
    ],
)
async def test_the_longest_path_decides(clock: FakeClock, namespace: str, days: int) -> None:
    """Namespaces are compared as they are stored: whole segments, escaped once."""
    paths = {"/": 30, "/chat": 7, "/chat/notes/": 365, "/caf\u00e9": 2}
    client = _client(clock, Retention(namespaces={k: v * DAY for k, v in paths.items()}))
    record = await client.store("x", scope=ADA, namespace=namespace)
    assert record.expires_at == clock.now() + days * DAY
    (many,) = await client.store_many([NewMemory(content="y", namespace=namespace)], scope=ADA)
    assert many.expires_at == clock.now() + days * DAY


async def test_an_end_of_ones_own_wins(clock: FakeClock) -> None:
    """Shorter or longer; and where no path fits there is no end."""
    client = _client(clock, Retention(namespaces={"/chat/": 7 * DAY}))
    chat: dict[str, Any] = {"scope": ADA, "namespace": "/chat/"}
    assert (await client.store("x", ttl=DAY, **chat)).expires_at == clock.now() + DAY
    until = clock.now() + 99 * DAY
    assert (await client.store("x", expires_at=until, **chat)).expires_at == until
    assert (await client.store("x", scope=ADA)).expires_at is None


async def test_a_record_is_gone_at_its_end(clock: FakeClock) -> None:
    """At once and everywhere, swept or not; and a clock that goes back brings it back."""
    client = _client(clock, Retention(namespaces={"/": DAY}))
    record = await client.store("window seats", scope=ADA)
    clock.advance(DAY - timedelta(microseconds=1))
    assert await client.count(scope=ADA) == 1
    clock.advance(timedelta(microseconds=1))
    assert await client.count(scope=ADA) == 0
    assert list(await client.retrieve("window seats", scope=ADA)) == []
    clock.set(clock.now() - timedelta(hours=1))
    assert await client.get(record.id, scope=ADA) == record
    clock.set(clock.now() + timedelta(hours=1))
    assert await client.admin("acme").sweep() == 1
    clock.set(clock.now() - timedelta(hours=1))
    assert await client.count(scope=ADA) == 0


async def test_what_cannot_be_stored_is_refused_as_ever(clock: FakeClock) -> None:
    """Retention neither hides a mistake nor makes one of it."""
    client = _client(clock, Retention(namespaces={"/": DAY}))
    for items in (NewMemory(content="x"), 5, [5], [NewMemory(content="x", namespace="nowhere")]):
        wrong: Any = items
        with pytest.raises(ValidationError):
            await client.store_many(wrong, scope=ADA)
    for ttl in (timedelta(0), -DAY, timedelta.max):
        with pytest.raises(ValidationError, match="ttl"):
            await client.store("x", scope=ADA, ttl=ttl)
    assert await client.count(scope=ADA) == 0


async def test_an_end_beyond_the_calendar_is_refused(clock: FakeClock) -> None:
    """Nobody's clock goes beyond the year 9999, wherever it stands now."""
    clock.set(datetime(9999, 12, 31, tzinfo=UTC))
    client = _client(clock, Retention(namespaces={"/": 2 * DAY}))
    with pytest.raises(ValidationError, match="9999"):
        await client.store("x", scope=ADA)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        ({"namespaces": {"chat": DAY}}, "begins with '/'"),
        ({"namespaces": {"/a": DAY, "/a/": DAY}}, "twice"),
        ({"namespaces": {"/": timedelta(0)}}, "not positive"),
        ({"namespaces": {"/": -DAY}}, "not positive"),
        ({"namespaces": {"/": timedelta.max}}, "thousand years"),
        ({"namespaces": {"/": 30}}, "timedelta, not int"),
        ({"max_records": 0}, "max_records"),
        ({"max_records": True}, "max_records"),
        ({"max_records": 1.5}, "max_records"),
        ({"when_full": "newest"}, "refuse, oldest, least_recent"),
        ({"when_full": ["oldest"]}, "refuse, oldest, least_recent"),
        ({"namespaces": None}, "a mapping, not NoneType"),
        ({"namespaces": [("/", DAY)]}, "a mapping, not list"),
    ],
)
def test_what_cannot_be_kept_to(given: dict[str, Any], reason: str) -> None:
    """Is refused where it is written, not where it would matter."""
    with pytest.raises(ValidationError, match=reason):
        Retention(**given)


def test_retention_is_a_value() -> None:
    """What was passed in may be changed afterwards; equal ones are equal, and can be copied."""
    paths = {"/a": DAY}
    kept = Retention(namespaces=paths)
    paths["/b"] = DAY
    assert dict(kept.namespaces) == {"/a/": DAY}
    assert kept == Retention(namespaces={"/a/": DAY}) == copy.deepcopy(kept)


@pytest.mark.parametrize("wrong", [{"/": DAY}, 30])
def test_another_thing_than_retention(wrong: Any) -> None:
    """A mapping is told what to be."""
    with pytest.raises(ValidationError, match="Retention"):
        MemoryClient(backend=InMemoryBackend(), embedder=HashingEmbedder(), retention=wrong)


@pytest.mark.parametrize(
    "wrong", [{"trust": "hardened"}, {"redactor": "email"}, {"redactor": 5}, {"on_receipt": []}]
)
def test_other_parts_are_looked_at_too(wrong: dict[str, Any]) -> None:
    """When the client is made, not at the first call that needs them."""
    with pytest.raises(ValidationError, match=next(iter(wrong))):
        MemoryClient(backend=InMemoryBackend(), embedder=HashingEmbedder(), **wrong)
