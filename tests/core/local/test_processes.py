"""Another process changes the file: nothing stale is answered, and a page is one moment's."""

from __future__ import annotations

from pathlib import Path

import anyio

from core.local.programs import run, running
from memlane.local import SqliteBackend
from memlane.scope import Reach
from memlane.testing.samples import (
    NOW,
    SCOPE,
    indexed,
    make_record,
    put,
    query_for,
    read_all,
    unit,
)

_POINT = Reach.point(SCOPE, now=NOW)


async def test_another_process_changes_what_is_cached(path: Path) -> None:
    """Whatever another process writes is seen by the next query, with a warm cache."""
    store = SqliteBackend(path)
    query = query_for(unit(3))

    async def found() -> list[str]:
        rows = await store.query(query, reach=_POINT)
        return list(rows.record_ids)

    await put(store, *[indexed(make_record(each), unit(3)) for each in "abc"])
    assert await found() == ["a", "b", "c"]
    with running(
        """
        async def work():
            backend = SqliteBackend(path)
            say("ready")
            while (order := hear()):
                verb, _, name = order.partition(" ")
                if verb == "put":
                    await store(backend, name, text="changed")
                else:
                    await backend.delete([name], reach=POINT)
                say("done")
            await backend.aclose()
        anyio.run(work)
        """,
        str(path),
    ) as other:

        async def order(words: str) -> None:
            await anyio.to_thread.run_sync(other.say, words)
            assert await anyio.to_thread.run_sync(other.hear) == "done"

        assert await anyio.to_thread.run_sync(other.hear) == "ready"
        await order("put d")
        assert await found() == ["a", "b", "c", "d"]
        await order("put b")
        rows = await store.query(query, reach=_POINT)
        assert list(rows.record_ids) == ["a", "b", "c", "d"]
        assert rows.spans[:, 1].tolist() == [20, 7, 20, 7]
        assert (rows.distances[[0, 2]] < 1e-3).all()
        assert (rows.distances[[1, 3]] > 1e-3).all()
        await order("del a")
        assert await found() == ["b", "c", "d"]
        for name in "bcd":
            await order(f"del {name}")
        assert await found() == []
        await order("put a")
        assert await found() == ["a"]
    await store.aclose()


async def test_a_reader_keeps_its_moment(path: Path) -> None:
    """A page read while another process deletes is one moment's, and the next page goes on."""
    store = SqliteBackend(path)
    await put(store, *[indexed(make_record(f"r{number:02}")) for number in range(20)])
    page = await store.scan(reach=_POINT, limit=5)
    said = await anyio.to_thread.run_sync(
        run,
        """
        async def work():
            backend = SqliteBackend(path)
            say(await backend.delete([f"r{n:02}" for n in range(3, 8)], reach=POINT))
            await store(backend, "new")
            await backend.aclose()
        anyio.run(work)
        """,
        str(path),
    )
    assert said == "5"
    rest = await store.scan(reach=_POINT, cursor=page.cursor)
    assert [each.id for each in rest.records] == [*(f"r{n:02}" for n in range(8, 20)), "new"]
    assert len(await read_all(store, _POINT, limit=3)) == 16
    await store.aclose()
