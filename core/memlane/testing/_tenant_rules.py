"""What the state machine does with a tenant as a whole: look, sweep, forget, and take elsewhere."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from memlane.embeddings import Embeddings
from memlane.errors import (
    BackendError,
    ConflictError,
    EmbeddingSpaceError,
    MemlaneError,
    TenantNotOnboardedError,
)
from memlane.powers import SupportsAdmin, SupportsReembed, SupportsTenants
from memlane.protocols import Embedder, IndexedRecord
from memlane.runtime import WorkerThreads
from memlane.testing import _choices as choices
from memlane.testing._machine import (
    EVERYBODY,
    OTHER,
    TENANTS,
    MachineBase,
    backend_of,
    named,
    nobody,
)
from memlane.testing.fakes import HashingEmbedder
from memlane.testing.model import held_at
from memlane.types import MemoryRecord

__all__ = ("TenantRules", "tenants")

_THIRD = 16  # dimensions of a space that no tenant is ever in
_MUCH = 12  # records; below, a tenant's end would leave too little for the others to do


def tenants() -> st.SearchStrategy[str | None]:
    """Mostly the tenant that most records are of."""
    return st.sampled_from(("t", "t", *TENANTS))


class TenantRules(MachineBase):
    """Rules of whoever runs the service."""

    @rule(tenant=tenants())
    def sweep(self, tenant: str | None) -> None:
        """What has expired goes, is counted, and nothing else does."""
        answer = self._call("sweep", nobody(tenant))
        if not isinstance(backend_of(self._client), SupportsAdmin):
            assert isinstance(answer, BackendError), answer
            return
        assert answer == len(self._drop_expired(tenant))

    def _drop_expired(self, tenant: str | None) -> list[MemoryRecord]:
        gone = self.model.of_tenant(tenant, expired=self.clock.now())
        self.model.remove(gone)
        return gone

    @rule(tenant=tenants(), limit=st.integers(1, 3))
    def users_and_stats(self, tenant: str | None, limit: int) -> None:
        """A tenant has the users and records it has, its look-alikes aside."""
        if not isinstance(backend_of(self._client), SupportsTenants):
            assert isinstance(self._call("users", nobody(tenant)), BackendError)
            assert isinstance(self._call("stats", nobody(tenant)), BackendError)
            return
        mine = self.model.of_tenant(tenant)
        found: list[str] = []
        cursor: str | None = None
        while True:
            page = self._call("users", nobody(tenant), cursor=cursor, limit=limit)
            assert not isinstance(page, MemlaneError), page
            found += page.items
            if (cursor := page.cursor) is None:
                break
        assert sorted(found) == sorted({record.scope.user for record in mine})
        stats = self._call("stats", nobody(tenant))
        assert not isinstance(stats, MemlaneError), stats
        alive = [*filter(self._is_alive, mine)]
        assert (stats.users, stats.records) == (len(found), len(alive))
        assert stats.expired == len(mine) - len(alive)
        assert stats.versions == sum(len(self.model.history(record)) - 1 for record in mine)
        assert stats.vectors >= len(mine)
        assert stats.text_bytes == sum(len(record.text.encode()) for record in alive)
        assert dict(stats.spaces) == Counter(record.space for record in alive)

    @precondition(lambda self: len(self.model.records) >= _MUCH)
    @rule(tenant=tenants())
    def forget_tenant(self, tenant: str | None) -> None:
        """All that a tenant has goes, and what was on its way to another space."""
        self._forget_tenant(tenant)

    def _forget_tenant(self, tenant: str | None) -> None:
        gone = self.model.of_tenant(tenant)
        answer = self._call("forget_tenant", nobody(tenant))
        if not isinstance(backend_of(self._client), SupportsTenants):
            assert isinstance(answer, BackendError), answer
            return
        assert not isinstance(answer, MemlaneError), answer
        assert (answer.found, answer.deleted) == (len(gone), len(gone))
        assert (answer.failed, answer.verified_empty) == ((), True)
        self.model.remove(gone)
        self._shadows.pop(tenant, None)
        for scope in EVERYBODY:
            if scope.tenant == tenant:
                self._check_empty(scope)

    @invariant()
    def nothing_need_not_go(self) -> None:
        """What is on its way of a tenant that has nothing any more, only the backend knows."""
        for tenant in self._shadows:
            if not any(place[0] == tenant for place in self._model.records):
                self._shadows[tenant] = None

    @property
    def _can_move(self) -> bool:
        return self.moving and isinstance(backend_of(self._client), SupportsReembed)

    def _elsewhere(self, tenant: str | None) -> Embedder:
        return HashingEmbedder(max_batch=4) if tenant in self._moved else HashingEmbedder(OTHER)

    @precondition(lambda self: self._can_move)
    @rule(tenant=tenants(), some=st.integers(1, 4))
    def begin_to_reembed(self, tenant: str | None, some: int) -> None:
        """A process that takes a tenant elsewhere is killed after some records."""
        if tenant in self._shadows:
            return
        expected = {(*named(each), each.scope.user) for each in self.model.of_tenant(tenant)}
        if not expected:
            return
        records = self._run(self._shadow_some(tenant, self._elsewhere(tenant), some))
        assert {(*named(each), each.scope.user) for each in records} <= expected
        self._shadows[tenant] = True

    async def _shadow_some(
        self, tenant: str | None, embedder: Embedder, some: int
    ) -> Sequence[MemoryRecord]:
        backend = self._shadowing()
        scope, space = nobody(tenant), embedder.space
        workers = WorkerThreads("memlane-machine", 1)
        try:
            await backend.begin_reembed(scope=scope, space=space)
            page = await backend.pending(scope=scope, space=space, limit=some)
            if not page.records:
                return ()
            embeddings = Embeddings(embedder, workers=workers, cached_queries=0)
            parts = await embeddings.document_parts([record.text for record in page.records])
            await backend.shadow(
                [
                    IndexedRecord(record=record, parts=each)
                    for record, each in zip(page.records, parts, strict=True)
                ],
                scope=scope,
                space=space,
            )
            return page.records
        finally:
            workers.close()

    def _shadowing(self) -> SupportsReembed:
        backend = backend_of(self._client)
        assert isinstance(backend, SupportsReembed)
        return backend

    @precondition(lambda self: self._can_move and bool(self._shadows))
    @rule(tenant=tenants())
    def abandon_reembed(self, tenant: str | None) -> None:
        """What was on its way is given up, and all is as it was."""
        expected = self._shadows.pop(tenant, False)
        answer = self._call("abandon_reembed", nobody(tenant))
        assert answer is expected or (expected is None and isinstance(answer, bool)), answer
        self.everything_is_there()

    @precondition(lambda self: not self._can_move)
    @rule(tenant=tenants(), verb=st.sampled_from(("plan_reembed", "reembed")))
    def reembed_in_vain(self, tenant: str | None, verb: str) -> None:
        """Where a tenant cannot be taken elsewhere, that is said, and all is as it was."""
        answer = self._call(verb, nobody(tenant), self._elsewhere(tenant))
        if verb == "reembed" and isinstance(backend_of(self._client), SupportsReembed):
            self._drop_expired(tenant)
        assert isinstance(answer, BackendError), answer
        self.everything_is_there()

    @precondition(lambda self: self._can_move)
    @rule(tenant=tenants(), again=st.booleans(), query=choices.texts())
    def reembed(self, tenant: str | None, again: bool, query: str) -> None:
        """A tenant goes elsewhere, with what was begun; then only the new embedder is served."""
        self._plan(tenant)
        alive = [*filter(self._is_alive, self.model.of_tenant(tenant))]
        if alive and self._shadows.get(tenant):
            third = self._call("reembed", nobody(tenant), HashingEmbedder(_THIRD))
            self._drop_expired(tenant)
            assert isinstance(third, ConflictError), third
        self._reembed(tenant, again=again)
        mine = [*filter(self._is_alive, self.model.of_tenant(tenant))]
        if mine:
            scope = mine[0].scope
            old = self._at(tenant, moved=tenant not in self._moved)
            for refused in (
                old.store(query, scope=scope),
                old.retrieve(query, scope=scope),
                old.update(mine[0].id, scope=scope, text=query),
            ):
                assert isinstance(self._answer(refused), EmbeddingSpaceError)
            matches = self._call("retrieve", scope, mine[0].text, mode="vector", limit=500)
            assert not isinstance(matches, MemlaneError), matches
            now = self.clock.now()
            near = self.model.within(scope, any_agent=False, only_session=False, now=now)
            assert len(matches) == sum(held_at(record, now) for record in near)
        self.everything_is_there()

    def _plan(self, tenant: str | None) -> None:
        alive = sum(map(self._is_alive, self.model.of_tenant(tenant)))
        embedder = self._elsewhere(tenant)
        plan = self._call("plan_reembed", nobody(tenant), embedder)
        assert not isinstance(plan, MemlaneError), plan
        assert plan.space == embedder.space.id
        assert plan.records + plan.begun == alive
        assert plan.begun == 0 or tenant in self._shadows

    def _reembed(self, tenant: str | None, *, again: bool) -> None:
        begun = tenant in self._shadows
        embedder = self._elsewhere(tenant)
        receipt = self._call("reembed", nobody(tenant), embedder)
        if isinstance(receipt, TenantNotOnboardedError):
            assert not self.model.of_tenant(tenant), receipt
            return
        self._drop_expired(tenant)
        self._check_reembedded(tenant, receipt, begun=begun)
        if again:
            receipt = self._call("reembed", nobody(tenant), embedder)
            assert not isinstance(receipt, MemlaneError), receipt
            assert (receipt.space, receipt.embedded) == (embedder.space.id, 0)

    def _check_reembedded(self, tenant: str | None, receipt: object, *, begun: bool) -> None:
        """Take a tenant elsewhere in the model, too, after looking at what was said of it."""
        mine = self.model.of_tenant(tenant)
        assert not isinstance(receipt, MemlaneError), receipt
        space = self._elsewhere(tenant).space.id
        assert receipt.space == space  # type: ignore[attr-defined]
        assert receipt.records == len(mine)  # type: ignore[attr-defined]
        assert receipt.embedded == len(mine) or (begun and receipt.embedded < len(mine))  # type: ignore[attr-defined]
        self._shadows.pop(tenant, None)
        self.model.move(tenant, space)
        self._moved ^= {tenant}
