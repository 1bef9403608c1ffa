"""That a write on a condition happens exactly when the condition holds."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import anyio
import pytest

from memlane.errors import ConflictError
from memlane.protocols import VectorBackend
from memlane.scope import Reach
from memlane.testing._suite import BackendSuite
from memlane.testing.samples import NOW, SCOPE, indexed, make_record, put, read_all, unit

__all__ = ("ConditionsSuite",)

HERE = Reach.point(SCOPE, now=NOW)
_SECOND = timedelta(seconds=1)


async def _texts(backend: VectorBackend) -> dict[str, str]:
    return {record.id: record.text for record in await read_all(backend, HERE)}


class ConditionsSuite(BackendSuite):
    """`expected_version`: None, 0 and n."""

    async def test_none_replaces_whatever_is_there(self, backend: VectorBackend) -> None:
        """Without a condition the write always happens."""
        await put(backend, indexed(make_record("a", "one", version=5)))
        await put(backend, indexed(make_record("a", "two", version=2)))
        assert await _texts(backend) == {"a": "two"}

    async def test_zero_demands_that_there_is_none(self, backend: VectorBackend) -> None:
        """0 stores a new record once; the second time is a conflict."""
        await put(backend, indexed(make_record("a", "one")), expected_version=0)
        with pytest.raises(ConflictError):
            await put(backend, indexed(make_record("a", "two")), expected_version=0)
        assert await _texts(backend) == {"a": "one"}

    async def test_zero_looks_at_the_same_agent_only(self, backend: VectorBackend) -> None:
        """A record of another agent, user or tenant with that id is no obstacle."""
        await put(backend, indexed(make_record("a")))
        for other in (
            replace(SCOPE, agent="another"),
            replace(SCOPE, agent=None),
            replace(SCOPE, user="another"),
            replace(SCOPE, tenant="another"),
        ):
            await put(backend, indexed(make_record("a", scope=other)), expected_version=0)

    async def test_n_demands_that_version(self, backend: VectorBackend) -> None:
        """N writes over version n, and over no other."""
        await put(backend, indexed(make_record("a", "one", version=1)))
        await put(backend, indexed(make_record("a", "two", version=2)), expected_version=1)
        for stale in (1, 3, 0):
            with pytest.raises(ConflictError):
                await put(
                    backend, indexed(make_record("a", "lost", version=2)), expected_version=stale
                )
        assert await _texts(backend) == {"a": "two"}

    async def test_n_demands_that_there_is_one(self, backend: VectorBackend) -> None:
        """A record that is absent, or was deleted, is at no version."""
        with pytest.raises(ConflictError):
            await put(backend, indexed(make_record("a")), expected_version=1)
        await put(backend, indexed(make_record("a")))
        await backend.delete(["a"], reach=HERE)
        with pytest.raises(ConflictError):
            await put(backend, indexed(make_record("a", version=2)), expected_version=1)
        assert await _texts(backend) == {}

    @pytest.mark.parametrize("expected", [0, 1])
    async def test_a_conflict_writes_nothing(self, backend: VectorBackend, expected: int) -> None:
        """One record that does not meet the condition keeps all of its call from being stored."""
        await put(backend, indexed(make_record("odd", "before", version=9), unit(1)))
        if expected:
            await put(backend, *(indexed(make_record(each, "before")) for each in "ab"))
        before = await _texts(backend)
        with pytest.raises(ConflictError):
            await put(
                backend,
                *(indexed(make_record(each, "after", version=2)) for each in ("a", "odd", "b")),
                expected_version=expected,
            )
        assert await _texts(backend) == before
        await self.check_raw(backend, before)

    async def test_a_conflict_says_what_to_do(self, backend: VectorBackend) -> None:
        """The error of a record that exists tells a remedy and not what the record says."""
        await put(backend, indexed(make_record("a", "very private")))
        with pytest.raises(ConflictError) as caught:
            await put(backend, indexed(make_record("a")), expected_version=0)
        assert caught.value.remedy
        assert "very private" not in str(caught.value)
        assert SCOPE.user not in str(caught.value)

    async def test_an_id_that_was_stored_anew_is_another_record(
        self, backend: VectorBackend
    ) -> None:
        """It is at version 1 again, and who read the one before must not take its place."""
        first = make_record("a", "first")
        again = replace(first, text="again", stored_at=NOW + _SECOND, updated_at=NOW + _SECOND)
        await put(backend, indexed(first))
        await backend.delete(["a"], reach=Reach.point(SCOPE, now=NOW))
        await put(backend, indexed(again))
        late = indexed(make_record("a", "late", version=2))
        for over in (replace(late, replaces=first), replace(late, instead_of=first)):
            with pytest.raises(ConflictError):
                await put(backend, over, expected_version=1)
            assert await _texts(backend) == {"a": "again"}
        await put(backend, replace(late, replaces=again), expected_version=1)
        assert await _texts(backend) == {"a": "late"}

    async def test_one_of_many_wins(self, backend: VectorBackend) -> None:
        """Of writers that all expect the same version at once, exactly one succeeds."""
        if not backend.capabilities.atomic_conditions:
            pytest.skip("this backend's conditions are not atomic")
        await put(backend, indexed(make_record("a", "start")))
        won: list[int] = []

        async def write(number: int) -> None:
            try:
                await put(
                    backend,
                    indexed(make_record("a", f"by {number}", version=2)),
                    expected_version=1,
                )
            except ConflictError:
                return
            won.append(number)

        async with anyio.create_task_group() as group:
            for number in range(20):
                group.start_soon(write, number)
        assert len(won) == 1
        assert await _texts(backend) == {"a": f"by {won[0]}"}
