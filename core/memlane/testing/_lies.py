"""That a client believes no backend: one foreign record in an answer, and nothing is returned."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import TypeAlias

import pytest

from memlane.client import MemoryClient
from memlane.errors import IsolationError
from memlane.layout import idempotent_id
from memlane.lexical import terms
from memlane.protocols import IndexedRecord, VectorBackend
from memlane.scope import Reach, Scope
from memlane.testing._suite import IsolationSuite
from memlane.testing.fakes import START, HashingEmbedder
from memlane.testing.samples import indexed, make_record, read_all
from memlane.testing.wrappers import LyingBackend

__all__ = ("LiesSuite",)

_Call: TypeAlias = Callable[[MemoryClient, Scope], Awaitable[object]]

MINE = Scope("ada-lovelace", tenant="acme", agent="support")
FOREIGN = (
    replace(MINE, tenant="rival"),
    replace(MINE, tenant=None),
    replace(MINE, user="eve-adams"),
    replace(MINE, agent="sales"),
    replace(MINE, agent=None),
)
SECRET = "swordfish is the secret word"  # noqa: S105 - of a test
KEY = "event-7"


async def _exhausted(client: MemoryClient, scope: Scope) -> object:
    return [record async for record in client.iterate(scope=scope)]


CALLS: dict[str, _Call] = {
    "get": lambda client, scope: client.get("foreign", scope=scope),
    "update": lambda client, scope: client.update("foreign", scope=scope, text="mine"),
    "retrieve": lambda client, scope: client.retrieve(SECRET, scope=scope),
    "retrieve by vector": lambda client, scope: client.retrieve(SECRET, scope=scope, mode="vector"),
    "retrieve by text": lambda client, scope: client.retrieve(SECRET, scope=scope, mode="text"),
    "context": lambda client, scope: client.context(SECRET, scope=scope, max_tokens=500),
    "list": lambda client, scope: client.list(scope=scope),
    "iterate": _exhausted,
    "count": lambda client, scope: client.count(scope=scope),
    "forget": lambda client, scope: client.forget(scope),
    "store by key": lambda client, scope: client.store(SECRET, scope=scope, idempotency_key=KEY),
    "store by used key": lambda client, scope: client.store(
        "another", scope=scope, idempotency_key=KEY
    ),
}


async def _foreign_records(scope: Scope) -> list[IndexedRecord]:
    embedder = HashingEmbedder()
    (vector,) = await embedder.embed([SECRET], purpose="document")
    return [
        indexed(
            make_record(each, SECRET, scope=scope, space=embedder.space.id),
            vector,
            terms=[terms(SECRET)],
        )
        for each in ("foreign", idempotent_id(KEY))
    ]


class LiesSuite(IsolationSuite):
    """A wrapper around the backend slips another's records into its answers."""

    @pytest.mark.parametrize("whole", [True, False], ids=["records", "columns"])
    @pytest.mark.parametrize("call", CALLS)
    async def test_a_foreign_record_is_never_returned(
        self, backend: VectorBackend, call: str, whole: bool
    ) -> None:
        """The call raises IsolationError, names nobody and nothing of it, and changes nothing."""
        kept = await self.make_client(backend).store("my own note", scope=MINE, record_id="mine")
        for theirs in FOREIGN:
            foreign = await _foreign_records(theirs)
            client = self.make_client(LyingBackend(backend, foreign, whole=whole))
            with pytest.raises(IsolationError) as caught:
                await CALLS[call](client, MINE)
            said = str(caught.value)
            for hidden in ("swordfish", "foreign", "eve-adams", "rival", "sales", "lovelace"):
                assert hidden not in said
            assert caught.value.scope == MINE
            assert caught.value.operation
            assert await read_all(backend, Reach.whole(MINE, now=None)) == [kept]

    async def test_an_expired_record_is_never_returned(self, backend: VectorBackend) -> None:
        """A backend that keeps returning what has expired is as wrong as one that mixes users."""
        stale = [
            replace(item, record=replace(item.record, expires_at=START))
            for item in await _foreign_records(MINE)
        ]
        client = self.make_client(LyingBackend(backend, stale))
        for call in ("get", "retrieve", "list", "count", "store by key"):
            with pytest.raises(IsolationError):
                await CALLS[call](client, MINE)
