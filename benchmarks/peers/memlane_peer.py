"""memlane over a SQLite file, as its own README has it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from benchmarks.peers.protocol import Message
from memlane import Limits, MemoryClient, NewMemory, Scope
from memlane_plain import connect


def _scope(user: str, session: str | None = None) -> Scope:
    return Scope(user, tenant="acme", session=session)


class Memlane:
    """`connect("sqlite:///file")`, `store_many` per session, `retrieve(limit=...)`.

    A scope per user; actor, time and our id go into their own fields. Query vectors are not
    cached: some questions come again for another user, and every peer shall pay for each.
    """

    def __init__(self, client: MemoryClient) -> None:
        self._client = client

    async def ingest(self, user: str, messages: Sequence[Message]) -> None:
        by_session: dict[str, list[NewMemory]] = defaultdict(list)
        for one in messages:
            by_session[one.session].append(
                NewMemory(
                    content=one.text,
                    actor=one.actor,
                    occurred_at=datetime.fromisoformat(one.at),
                    record_id=one.id,
                )
            )
        for session, notes in by_session.items():
            await self._client.store_many(notes, scope=_scope(user, session))

    async def ask(self, user: str, question: str, limit: int) -> list[str]:
        found = await self._client.retrieve(question, scope=_scope(user), limit=limit)
        return [match.record.id for match in found]

    async def close(self) -> None:
        await self._client.aclose()


async def open_store(folder: Path) -> Memlane:
    """Make a client of a file in the folder."""
    url = f"sqlite:///{(folder / 'memory.db').as_posix()}"
    return Memlane(connect(url, limits=Limits(cached_queries=0)))
