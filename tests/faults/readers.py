"""What a process does that only reads, while others forget."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import Final

from anyio import to_thread

from faults.children import Line
from faults.texts import canary, open_client, scope_of
from memlane import MemoryClient

MOST: Final = 300
"""Times that a process asks while another forgets: to ask for ever would starve small machines."""


def _held(line: Line, path: str) -> None:
    rows = "select lane, seq, id, text from record order by lane, seq"
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute("begin")
        before = connection.execute(rows).fetchall()
        line.say("holding", len(before))
        line.hear()
        line.say("same", connection.execute(rows).fetchall() == before)
        connection.execute("rollback")
        line.say("now", len(connection.execute(rows).fetchall()))


async def hold(line: Line, path: str) -> None:
    """Read in one transaction before and after somebody else does something."""
    await to_thread.run_sync(_held, line, path)


async def idle(line: Line, path: str) -> None:
    """Read, and then keep the store open without reading."""
    async with open_client(path) as client:
        found = await client.retrieve("window seat", scope=scope_of("ada"))
        line.say("read", len(found))
        line.hear()
        found = await client.retrieve("window seat", scope=scope_of("ada"))
        line.say("read", len(found))


async def _ask(client: MemoryClient, forgotten: list[str]) -> None:
    words = [word for life in forgotten for word in canary(life).split()]
    for user in ("ada", "bob"):
        matches = await client.retrieve("window seat in the ferry", scope=scope_of(user))
        texts = [match.record.text for match in matches]
        assert not [text for text in texts if any(word in text for word in words)]
        assert texts or user == "ada"


async def ask(line: Line, path: str) -> None:
    """Retrieve in rounds; fail on any record of whom somebody was told that he is forgotten."""
    forgotten: list[str] = []
    async with open_client(path) as client:
        line.say("ready")
        while line.hear() != ("end",):
            asked = 0
            while asked < MOST and not line.asked():
                await _ask(client, forgotten)
                asked += 1
            forgotten += line.hear()
            await _ask(client, forgotten)
            line.say("asked", asked)
