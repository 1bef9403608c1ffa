"""That sweeping takes what has expired, of one tenant, and nothing else."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import anyio
import pytest

from memlane.powers import SupportsAdmin, SupportsRemains
from memlane.protocols import VectorBackend
from memlane.scope import Reach, Scope
from memlane.testing._suite import BackendSuite
from memlane.testing._versions import change
from memlane.testing.samples import (
    NOW,
    SCOPE,
    SUSPECTS,
    ids_of,
    indexed,
    make_record,
    put,
    read_all,
)

__all__ = ("SweepingSuite", "sweeping")

TICK = timedelta(microseconds=1)
EVER = Reach.whole(SCOPE, now=None)


def sweeping(backend: VectorBackend) -> SupportsAdmin:
    """Return a backend that sweeps; another skips the test."""
    if not isinstance(backend, SupportsAdmin):
        pytest.skip("this backend is not swept")
    return backend


class SweepingSuite(BackendSuite):
    """`SupportsAdmin.sweep`."""

    async def test_what_has_expired_goes(self, backend: VectorBackend) -> None:
        """Records that expired at or before the moment are counted and gone, the others stay."""
        swept = sweeping(backend)
        times = {"before": NOW - TICK, "at": NOW, "after": NOW + TICK, "never": None}
        await put(
            backend, *(indexed(make_record(each, expires_at=end)) for each, end in times.items())
        )
        assert await swept.sweep(scope=SCOPE, now=NOW) == 2
        assert ids_of(await read_all(backend, EVER)) == ["after", "never"]
        await self.check_raw(backend, ["after", "never"])
        assert await swept.sweep(scope=SCOPE, now=NOW) == 0
        assert await swept.sweep(scope=SCOPE, now=NOW + timedelta(days=1)) == 1
        await self.check_raw(backend, ["never"])

    async def test_nothing_is_swept_of_nothing(self, backend: VectorBackend) -> None:
        """A tenant that has nothing is swept, too."""
        swept = sweeping(backend)
        assert await swept.sweep(scope=Scope("-", tenant="nobody"), now=NOW) == 0

    async def test_all_users_of_the_tenant_and_no_others(self, backend: VectorBackend) -> None:
        """Every user's, agent's and session's records go; look-alike tenants keep theirs."""
        swept = sweeping(backend)
        left: dict[str, Scope] = {}
        for number, scope in enumerate(SUSPECTS):
            left[str(number)] = scope
            await put(backend, indexed(make_record(str(number), scope=scope, expires_at=NOW)))
        for tenant in dict.fromkeys(scope.tenant for scope in SUSPECTS):
            gone = [name for name, scope in left.items() if scope.tenant == tenant]
            assert await swept.sweep(scope=Scope("-", tenant=tenant), now=NOW) == len(gone)
            for name in gone:
                del left[name]
            await self.check_raw(backend, left)
            for name, scope in left.items():
                found = ids_of(await read_all(backend, Reach.whole(scope, now=None)))
                assert name in found

    async def test_versions_go_with_their_record(self, backend: VectorBackend) -> None:
        """Nothing is left of a swept record, and all of one that only was to expire once."""
        swept = sweeping(backend)
        first, second = make_record("a"), make_record("a", "new", version=2)
        await change(backend, first, replace(second, expires_at=NOW))
        brief = make_record("b", expires_at=NOW)
        await change(backend, brief, make_record("b", "for ever", version=2))
        assert await swept.sweep(scope=SCOPE, now=NOW) == 1
        if isinstance(backend, SupportsRemains):
            assert [*await backend.remains(reach=EVER)] == ["b"]
        assert [record.text for record in await read_all(backend, EVER)] == ["for ever"]

    async def test_two_may_sweep_at_once(self, backend: VectorBackend) -> None:
        """Nothing fails, what has expired is gone, and the rest is there."""
        swept = sweeping(backend)
        await put(
            backend,
            *(
                indexed(make_record(f"{number:03}", expires_at=NOW if number % 3 else None))
                for number in range(60)
            ),
        )
        counts: list[int] = []

        async def sweep() -> None:
            counts.append(await swept.sweep(scope=SCOPE, now=NOW))

        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(sweep)
        assert sum(counts) >= 40
        if backend.capabilities.atomic_conditions:
            assert sum(counts) == 40
        assert len(await read_all(backend, EVER)) == 20
