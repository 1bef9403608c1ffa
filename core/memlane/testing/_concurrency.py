"""That calls at once, from many tasks, loops and threads, do what they would do one by one."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio
import anyio.lowlevel
import anyio.to_thread

from memlane.protocols import VectorBackend
from memlane.scope import Reach, Scope
from memlane.testing._suite import BackendSuite
from memlane.testing.samples import (
    NOW,
    SCOPE,
    ids_of,
    indexed,
    make_record,
    put,
    query_for,
    read_all,
    unit,
)

__all__ = ("ConcurrencySuite",)

HERE = Reach.point(SCOPE, now=NOW)


async def on_own_loop(work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` to its end on another thread with an event loop of its own."""
    await anyio.to_thread.run_sync(lambda: anyio.run(work, backend="asyncio"))


class ConcurrencySuite(BackendSuite):
    """Many callers."""

    async def test_many_tasks_store_at_once(self, backend: VectorBackend) -> None:
        """Fifty upserts at once, of one owner and of many, all last."""
        async with anyio.create_task_group() as group:
            for n in range(50):
                scope = Scope(f"user{n % 5}", tenant="acme")
                group.start_soon(put, backend, indexed(make_record(f"r{n}", scope=scope)))
        for user in range(5):
            reach = Reach.whole(Scope(f"user{user}", tenant="acme"), now=NOW)
            expected = sorted(f"r{n}" for n in range(50) if n % 5 == user)
            assert ids_of(await read_all(backend, reach)) == expected
        await self.check_raw(backend, [f"r{n}" for n in range(50)])

    async def test_loops_on_other_threads_use_the_same_backend(
        self, backend: VectorBackend
    ) -> None:
        """Two event loops on two threads write and read at once, and this one reads after them."""
        await put(backend, indexed(make_record("first")))

        def worker(name: str) -> Callable[[], Awaitable[None]]:
            async def work() -> None:
                for n in range(10):
                    await put(backend, indexed(make_record(f"{name}{n}"), unit(n)))
                    assert ids_of(await backend.fetch([f"{name}{n}"], reach=HERE))
                    assert len(await backend.query(query_for(unit(n)), reach=HERE)) > n

            return work

        async with anyio.create_task_group() as group:
            group.start_soon(on_own_loop, worker("a"))
            group.start_soon(on_own_loop, worker("b"))
        expected = ["first", *(f"{name}{n}" for name in "ab" for n in range(10))]
        assert ids_of(await read_all(backend, HERE)) == sorted(expected)

    async def test_a_loop_that_ended_leaves_the_backend_usable(
        self, backend: VectorBackend
    ) -> None:
        """What a closed loop has used works on the next one: nothing is bound to the first."""

        async def use() -> None:
            await put(backend, indexed(make_record("a")))
            assert ids_of(await backend.fetch(["a"], reach=HERE)) == ["a"]

        await on_own_loop(use)
        await on_own_loop(use)
        await use()

    async def test_readers_see_whole_records(self, backend: VectorBackend) -> None:
        """While a record is replaced over and over, text and vector are of one version."""
        await put(backend, indexed(make_record("a", "0"), unit(0)))
        done = anyio.Event()

        async def write() -> None:
            for version in range(1, 30):
                item = indexed(make_record("a", str(version), version=version), unit(version))
                await put(backend, item)
                await anyio.lowlevel.checkpoint()
            done.set()

        async def read() -> None:
            while not done.is_set():
                (found,) = await backend.fetch(["a"], reach=HERE, vectors=True)
                version = int(found.record.text)
                assert found.record.version == max(version, 1)
                assert int(found.parts[0].vector.argmax()) == version % len(unit(0))
                await anyio.lowlevel.checkpoint()

        async with anyio.create_task_group() as group:
            group.start_soon(write)
            group.start_soon(read)
            group.start_soon(read)

    async def test_a_cancelled_upsert_is_all_or_nothing(self, backend: VectorBackend) -> None:
        """A caller that goes away leaves its whole call stored, or none of it."""
        await put(backend, indexed(make_record("first")))
        batch = [indexed(make_record(f"r{n}")) for n in range(20)]
        for turns in range(4):
            async with anyio.create_task_group() as group:
                group.start_soon(put, backend, *batch)
                for _ in range(turns):
                    await anyio.lowlevel.checkpoint()
                group.cancel_scope.cancel()
            # A write that had begun may still be on its way; a later write is behind it.
            await put(backend, indexed(make_record("last", version=turns + 1)))
            found = ids_of(await read_all(backend, HERE))
            assert len(found) in {2, 22}
            await backend.delete([f"r{n}" for n in range(20)], reach=HERE)

    async def test_deleting_and_storing_at_once(self, backend: VectorBackend) -> None:
        """A record deleted by several callers at once is counted once, where calls are atomic."""
        await put(backend, *(indexed(make_record(f"r{n}")) for n in range(30)))
        counts: list[int] = []

        async def delete() -> None:
            counts.append(await backend.delete([f"r{n}" for n in range(30)], reach=HERE))

        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(delete)
        assert sum(counts) == 30 or (
            sum(counts) > 30 and not backend.capabilities.atomic_conditions
        )
        await self.check_raw(backend, [])
