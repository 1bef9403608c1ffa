"""What recall knows of change, of time and of trust holds on S3 Vectors as it does on a file."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta

import pytest

from core.aws.s3vectors.opened import BUCKET, MINE, Cloud, cloud
from memlane import MemoryClient, RetrievalOptions, TrustPolicy
from memlane.local import MiniLMEmbedder
from memlane.testing import FakeClock

__all__ = ("cloud",)

DAY = timedelta(days=1)
OFF = RetrievalOptions(supersede=False)


@pytest.fixture
async def client(cloud: Cloud, clock: FakeClock) -> AsyncIterator[MemoryClient]:
    """A client with the built-in model over the emulator, its tenant onboarded."""
    async with MemoryClient(
        backend=cloud.backend(), embedder=MiniLMEmbedder(), clock=clock, tenancy="required"
    ) as opened:
        await opened.admin("acme").onboard()
        yield opened


async def _first(client: MemoryClient, question: str, **options: object) -> str:
    chosen = RetrievalOptions(**options)  # type: ignore[arg-type] # each is one of its own
    return (await client.retrieve(question, scope=MINE, options=chosen))[0].record.text


async def test_a_newer_statement_takes_the_place_of_an_older_one(
    client: MemoryClient, clock: FakeClock
) -> None:
    """Told by the sketch of each vector that is kept beside it."""
    spring = clock.now()
    for text in ("I live in Porto.", "I moved to Lisbon.", "I like the sea."):
        await client.store(text, scope=MINE, actor="Ada")
        clock.advance(31 * DAY)
    assert await _first(client, "Where do I live?", supersede=False) == "I live in Porto."
    assert await _first(client, "Where do I live?") == "I moved to Lisbon."
    # Somebody who is named is asked for twice, and the answers are joined.
    assert await _first(client, "Where does Ada live?") == "I moved to Lisbon."
    assert await _first(client, "Where do I live?", as_of=spring) == "I live in Porto."


async def test_what_is_not_true_now_is_left_out(client: MemoryClient, clock: FakeClock) -> None:
    """And is recalled as of a time when it was, in the words it had."""
    start = clock.now()
    record = await client.store("Ada is on leave.", scope=MINE, valid_to=start + DAY)
    assert await _first(client, "leave") == "Ada is on leave."
    clock.advance(2 * DAY)
    assert not await client.retrieve("leave", scope=MINE)
    await client.update(record.id, scope=MINE, text="Ada was on leave.")
    assert await _first(client, "leave", as_of=start) == "Ada is on leave."
    before = RetrievalOptions(as_of=start - DAY)
    assert not await client.retrieve("leave", scope=MINE, options=before)


async def test_where_it_lay_then_is_looked_for_only_where_it_lies_now(
    client: MemoryClient, clock: FakeClock
) -> None:
    """The service narrows by today's fields, for it cannot be asked for everything."""
    start = clock.now()
    record = await client.store("green tea", scope=MINE, namespace="/old/")
    clock.advance(DAY)
    await client.update(record.id, scope=MINE, namespace="/new/")
    assert await _first(client, "green tea", as_of=start) == "green tea"
    options = RetrievalOptions(as_of=start)
    for namespace in ("/old/", "/new/"):
        found = await client.retrieve("green tea", scope=MINE, namespace=namespace, options=options)
        assert not found


async def test_a_policy_narrows_the_query(cloud: Cloud, clock: FakeClock) -> None:
    """The service is told which sources count, so that others do not fill its answer."""
    policy = TrustPolicy(sources=["user"], labels={"user": "said so"})
    client = MemoryClient(
        backend=cloud.backend(), embedder=MiniLMEmbedder(), clock=clock, trust=policy
    )
    await client.admin("acme").onboard()
    for n in range(8):
        await client.store("green tea", scope=MINE, source="tool", record_id=f"t{n}")
    await client.store("green tea and biscuits", scope=MINE, source="user")
    options = RetrievalOptions(candidates=3)
    [match] = await client.retrieve("green tea", scope=MINE, limit=3, options=options)
    assert (match.record.source, match.label) == ("user", "said so")
    assert len(await cloud.emulator.vectors(BUCKET, "memory-acme")) >= 9
