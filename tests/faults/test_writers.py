"""Several processes write to one file: nothing acknowledged is lost, and no condition is broken."""

from __future__ import annotations

import contextlib
from collections import Counter
from pathlib import Path

import anyio
import pytest

from faults.children import Words, child
from faults.story import Story
from faults.texts import left_of, open_client, scope_of
from faults.writers import COUNTER, SHARED, write

_NAMES = ("ada", "bob", "cleo", "dora")


def _write_at_once(path: Path, names: tuple[str, ...], steps: int) -> dict[str, list[Words]]:
    """Let processes make the same new file and write to it; return what each said."""
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(child(write, str(path), name, steps)) for name in names]
        for writer in writers:
            assert writer.hear() == ("ready",)
        for writer in writers:
            writer.say("go")
        return {name: writer.rest() for name, writer in zip(names, writers, strict=True)}


async def _check_shared(path: Path, said: dict[str, list[Words]], steps: int) -> None:
    async with open_client(path) as client:
        counted = [words[1] for each in said.values() for words in each if words[0] == "counted"]
        assert counted
        record = await client.get(COUNTER, scope=SHARED)
        # Each version was made from the one before it, by exactly one process.
        assert record.version == len(counted) + 1
        assert sorted(record.text.split()) == sorted(["start", *counted])
        claims = Counter(
            words[1] for each in said.values() for words in each if words[0] == "claimed"
        )
        assert claims == dict.fromkeys(range(steps), 1)
        listed = [each.text async for each in client.iterate(scope=SHARED)]
        assert len(listed) == 1 + 2 * steps
        events = [text for text in listed if text.startswith("event")]
        assert sorted(events) == sorted(f"event {number} happened" for number in range(steps))


async def _forget_all(path: Path, said: dict[str, list[Words]]) -> None:
    """Now that nobody else is there, nothing is left of anyone who is forgotten."""
    async with open_client(path) as client:
        lives: set[str] = set()
        for name in said:
            async for record in client.iterate(scope=scope_of(name)):
                lives.add(str(record.metadata["key"]).partition(":")[0])
        for name in said:
            assert (await client.forget(scope_of(name))).verified_empty
        generations = {f"{name}-0-{number}" for name in said for number in range(100)}
        assert lives <= generations
        assert left_of(generations, path) == []


def _check_writers(path: Path, count: int, steps: int) -> None:
    names = _NAMES[:count]
    said = _write_at_once(path, names, steps)
    story = Story(path, *names)
    for each in said.values():
        story.tell(words for words in each if words[0] in {"will", "did", "failed"})
    assert not story.flying
    anyio.run(story.check)
    anyio.run(_check_shared, path, said, steps)
    anyio.run(_forget_all, path, said)


@pytest.mark.parametrize("count", [2, 4])
def test_writers_at_once(path: Path, count: int) -> None:
    """Processes that make the same file and use every verb lose nothing, and see their writes."""
    _check_writers(path, count, 25)


@pytest.mark.campaign
@pytest.mark.timeout(600)
@pytest.mark.parametrize("count", [2, 4])
def test_writers_for_long(path: Path, count: int) -> None:
    """The same over many writes."""
    _check_writers(path, count, 120)
