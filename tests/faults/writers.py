"""What a process does that writes beside others: own memories, and some that all of them want."""

from __future__ import annotations

import contextlib

from faults.children import Line
from faults.lives import Life
from faults.texts import metadata_of, open_client, scope_of, text_of
from memlane import MemoryClient, Scope
from memlane.errors import ConflictError, NotFoundError

SHARED = Scope("everybody", tenant="acme")
COUNTER = "counter"


async def _see_own(client: MemoryClient, life: Life) -> None:
    """See at once what was written here: in the listing, by id, and in a warm cache."""
    scope = scope_of(life.user)
    listed = {str(each.metadata["key"]): each async for each in client.iterate(scope=scope)}
    assert listed.keys() == life.mine.keys()
    assert await client.count(scope=scope) == len(life.mine)
    for key, (record_id, turn) in life.mine.items():
        assert listed[key].id == record_id
        assert listed[key].text == text_of(key, turn.text)
        assert listed[key].metadata == metadata_of(key, turn)
    newest = next(reversed(life.mine), None)
    if newest is None:
        assert not await client.retrieve("window seat", scope=scope)
    else:
        record_id, turn = life.mine[newest]
        text = text_of(newest, turn.text)
        assert (await client.get(record_id, scope=scope)).text == text
        matches = await client.retrieve(f"turn {turn.text} {newest} {text[:200]}", scope=scope)
        assert record_id in [match.record.id for match in matches]
        # A stale row would take the place of a record and then not be found.
        assert len(matches) == min(10, len(life.mine))
        stored = {each.id: each for each in listed.values()}
        assert all(match.record == stored[match.record.id] for match in matches)


async def _count_up(line: Line, client: MemoryClient, name: str) -> None:
    """Add to a text that all processes add to, only to the version that was read."""
    record = await client.get(COUNTER, scope=SHARED)
    try:
        after = await client.update(
            COUNTER,
            scope=SHARED,
            text=f"{record.text} {name}{record.version}",
            expected_version=record.version,
        )
    except ConflictError:
        return
    assert after.version == record.version + 1
    line.say("counted", f"{name}{record.version}")
    assert (await client.get(COUNTER, scope=SHARED)).version >= after.version


async def _claim(line: Line, client: MemoryClient, name: str, number: int) -> None:
    """Store under an id, and for an event, that all processes store at about the same time."""
    with contextlib.suppress(ConflictError):
        await client.store(f"{name} was first", scope=SHARED, record_id=f"claim-{number}")
        line.say("claimed", number)
    same = await client.store(
        f"event {number} happened", scope=SHARED, idempotency_key=f"event-{number}"
    )
    assert (await client.get(same.id, scope=SHARED)).text == f"event {number} happened"


async def write(line: Line, path: str, name: str, steps: int) -> None:
    """Write with every verb, and see each write at once."""
    line.say("ready")
    line.hear()
    async with open_client(path) as client:
        with contextlib.suppress(ConflictError):
            await client.store("start", scope=SHARED, record_id=COUNTER)
        life = Life(line, client, name, number=0, seed=len(name))
        for step in range(steps):
            verb = life.pick.choice(["store", "many", "update", "update", "delete", "forget"])
            if verb in {"store", "many"} or not life.mine:
                await life.store(1 if verb == "store" else life.pick.randint(2, 30))
            elif verb == "update":
                await life.update()
            elif verb == "delete":
                await life.delete(2)
            else:
                await life.forget()
            await _see_own(client, life)
            await _count_up(line, client, name)
            await _claim(line, client, name, step)
        with contextlib.suppress(NotFoundError):
            await client.get("nobody's", scope=SHARED)
            raise AssertionError("found")
