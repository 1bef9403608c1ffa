"""That a client believes no backend: one foreign record in an answer, and nothing is returned."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeAlias

import pytest

from memlane.client import MemoryClient
from memlane.errors import IsolationError
from memlane.layout import idempotent_id
from memlane.lexical import terms
from memlane.powers import SupportsReembed, SupportsVersions
from memlane.protocols import Candidates, IndexedRecord, ScanPage, VectorBackend, VectorQuery
from memlane.scope import Reach, Scope
from memlane.testing._suite import IsolationSuite
from memlane.testing.fakes import START, FakeClock, HashingEmbedder
from memlane.testing.samples import indexed, make_record, read_all
from memlane.testing.wrappers import LyingBackend, WrappedBackend
from memlane.types import RetrievalOptions

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


async def _told(client: MemoryClient, scope: Scope, *, vectors: bool = False) -> object:
    return [line async for line in client.export(scope=scope, vectors=vectors)]


CALLS: dict[str, _Call] = {
    "get": lambda client, scope: client.get("foreign", scope=scope),
    "update": lambda client, scope: client.update("foreign", scope=scope, text="mine"),
    "retrieve": lambda client, scope: client.retrieve(SECRET, scope=scope),
    "retrieve by vector": lambda client, scope: client.retrieve(SECRET, scope=scope, mode="vector"),
    "retrieve by text": lambda client, scope: client.retrieve(SECRET, scope=scope, mode="text"),
    "context": lambda client, scope: client.context(SECRET, scope=scope, max_tokens=500),
    "restore": lambda client, scope: client.restore("foreign", scope=scope, version=1),
    "retrieve as it was": lambda client, scope: client.retrieve(
        SECRET, scope=scope, options=RetrievalOptions(as_of=START)
    ),
    "store no duplicate": lambda client, scope: client.store(
        SECRET, scope=scope, duplicates="collapse"
    ),
    "export": _told,
    "export with vectors": lambda client, scope: _told(client, scope, vectors=True),
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

    async def test_a_foreign_past_is_never_returned(self, backend: VectorBackend) -> None:
        """Nor is it restored, told in an export, or recalled as of a moment when it was said."""
        if not isinstance(backend, SupportsVersions):
            pytest.skip("this backend keeps no versions")
        clock = FakeClock()
        honest = self.make_client(backend, clock=clock)
        await honest.store("my own note", scope=MINE, record_id="mine")
        clock.advance(timedelta(minutes=2))
        kept = await honest.update("mine", scope=MINE, text="my own note, changed")
        options = RetrievalOptions(as_of=START)
        for theirs in FOREIGN:
            foreign = [
                replace(item, record=replace(item.record, id="mine"))
                for item in await _foreign_records(theirs)
            ]
            lying = _LyingOfThePast(backend, foreign)
            client = self.make_client(lying, clock=clock)
            for call in (
                lambda client=client: client.history("mine", scope=MINE),
                lambda client=client: client.restore("mine", scope=MINE, version=1),
                lambda client=client: _told(client, MINE),
                lambda client=client: client.retrieve("note", scope=MINE, options=options),
            ):
                with pytest.raises(IsolationError) as caught:
                    await call()
                assert "swordfish" not in str(caught.value)
                assert caught.value.scope == MINE
            assert await read_all(backend, Reach.whole(MINE, now=None)) == [kept]

    async def test_a_foreign_tenant_is_never_embedded(self, backend: VectorBackend) -> None:
        """Who takes a tenant elsewhere reads no other tenant's text."""
        if not isinstance(backend, SupportsReembed) or not self.moves:
            pytest.skip("this backend takes no tenant to another embedding space")
        await self.make_client(backend).store("my own note", scope=MINE, record_id="mine")
        for theirs in FOREIGN[:2]:
            embedder = HashingEmbedder(32)
            client = self.make_client(LyingBackend(backend, await _foreign_records(theirs)))
            with pytest.raises(IsolationError):
                await client.admin(MINE.tenant).reembed(embedder)
            assert not embedder.calls
            await client.admin(MINE.tenant).abandon_reembed()


class _LyingOfThePast(LyingBackend):
    """Tells the truth, but of what records were."""

    async def query(self, query: VectorQuery, *, reach: Reach) -> Candidates:
        return await WrappedBackend.query(self, query, reach=reach)

    async def fetch(
        self, record_ids: Sequence[str], *, reach: Reach, vectors: bool = False
    ) -> Sequence[IndexedRecord]:
        return await WrappedBackend.fetch(self, record_ids, reach=reach, vectors=vectors)

    async def scan(self, *, reach: Reach, **asked: Any) -> ScanPage:
        return await WrappedBackend.scan(self, reach=reach, **asked)
