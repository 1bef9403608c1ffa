"""Wrappers have the powers of what they wrap and no others, and each can be counted and fail."""

from __future__ import annotations

import functools
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest

from core.bare import BareBackend
from memlane import powers
from memlane.errors import BackendError
from memlane.local import InMemoryBackend
from memlane.powers import SupportsAdmin, SupportsReembed, SupportsTenants, SupportsVersions
from memlane.protocols import EmbeddingSpace
from memlane.scope import Reach, Scope
from memlane.testing import (
    CountingBackend,
    FailingBackend,
    Fault,
    Faults,
    FaultyBackend,
    LyingBackend,
    WrappedBackend,
)
from memlane.testing.samples import NOW, SCOPE, SPACE, directions, indexed, make_record, put

OF_BACKENDS = [
    getattr(powers, name)
    for name in powers.__all__
    if name.startswith("Supports") and name != "SupportsImages"
]
ALWAYS = {"SupportsActors", "SupportsScrub", "SupportsClose"}
TENANT = Scope("-", tenant=SCOPE.tenant)
OTHER = EmbeddingSpace(model="another", dimensions=SPACE.dimensions)
USERS = [replace(SCOPE, user=user) for user in ("ada", "bob", "cy", "di")]


def _names(backend: object) -> set[str]:
    return {power.__name__ for power in OF_BACKENDS if isinstance(backend, power)}


class Everything(InMemoryBackend):
    """A backend that can do all there is."""

    async def enter(self) -> None:
        """Do nothing."""

    def warm(self, scope: Scope) -> None:
        """Do nothing."""

    async def erase(self, *, reach: Reach) -> int:
        """Find nothing."""
        del reach
        return 0


def test_no_power_is_hidden() -> None:
    """Not one that was added to `memlane.powers` either; of nothing comes nothing."""
    inner = Everything()
    assert _names(inner) == {power.__name__ for power in OF_BACKENDS}
    wrapped = FaultyBackend(CountingBackend(FailingBackend(inner)), Faults())
    assert _names(wrapped) == _names(inner)
    assert _names(WrappedBackend(BareBackend())) == ALWAYS
    lying = _names(inner) - _names(LyingBackend(inner, []))
    assert lying == {"SupportsCount", "SupportsErase", "SupportsRemains"}


async def test_powers_are_counted_and_fail() -> None:
    """A call of a power goes through the wrapper, once."""
    counting = CountingBackend(FailingBackend(InMemoryBackend()))
    await put(counting, indexed(make_record("a")))
    assert isinstance(counting, SupportsVersions)
    assert isinstance(counting, SupportsTenants)
    await counting.versions("a", reach=Reach.point(SCOPE, now=NOW))
    assert (await counting.stats(scope=TENANT, now=NOW)).records == 1
    assert (counting.calls["versions"], counting.calls["stats"]) == (1, 1)
    failing = counting.inner
    assert isinstance(failing, FailingBackend)
    failing.fail("forget_tenant", BackendError("away"))
    with pytest.raises(BackendError):
        await counting.forget_tenant(scope=TENANT)
    assert (await counting.stats(scope=TENANT, now=NOW)).records == 1


@pytest.mark.parametrize(("moment", "left"), [("before", 4), ("partway", 2), ("after", 0)])
async def test_a_tenant_is_forgotten_by_half(moment: str, left: int) -> None:
    """And what has expired is swept by half."""
    for step in ("forget_tenant", "sweep"):
        faults, inner = Faults(), InMemoryBackend()
        await put(inner, *(indexed(make_record("a", scope=u, expires_at=NOW)) for u in USERS))
        faulty = FaultyBackend(inner, faults)
        assert isinstance(faulty, SupportsTenants)
        assert isinstance(faulty, SupportsAdmin)
        faults.plan(Fault(step=step, moment=moment))  # type: ignore[arg-type] # both are literals
        calls: dict[str, Callable[[], Awaitable[object]]] = {
            "sweep": functools.partial(faulty.sweep, scope=TENANT, now=NOW),
            "forget_tenant": functools.partial(faulty.forget_tenant, scope=TENANT),
        }
        with pytest.raises(BackendError):
            await calls[step]()
        assert (await inner.stats(scope=TENANT, now=NOW)).expired == left


@pytest.mark.parametrize(("moment", "left"), [("before", 4), ("partway", 2), ("after", 0)])
async def test_a_shadow_is_made_by_half(moment: str, left: int) -> None:
    """The first half of what was to be shadowed is."""
    faults, inner = Faults(), InMemoryBackend()
    await put(inner, *(indexed(make_record("a", scope=user)) for user in USERS))
    faulty = FaultyBackend(inner, faults)
    assert isinstance(faulty, SupportsReembed)
    await faulty.begin_reembed(scope=TENANT, space=OTHER)
    records = (await faulty.pending(scope=TENANT, space=OTHER)).records
    faults.plan(Fault(step="shadow", moment=moment))  # type: ignore[arg-type] # a literal
    with pytest.raises(BackendError):
        await faulty.shadow(
            [indexed(record, *directions(1)) for record in records], scope=TENANT, space=OTHER
        )
    assert len((await inner.pending(scope=TENANT, space=OTHER)).records) == left
