"""A tenant as a whole: who is in it, what it has, what has expired in it, and its end."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import anyio
import numpy as np
import pytest

from core.local.twin_calls import Backend
from memlane.eraser import forget
from memlane.errors import InvalidCursorError, ValidationError
from memlane.local import SqliteBackend
from memlane.local.sqlite import tenants
from memlane.powers import SupportsAdmin, SupportsTenants
from memlane.protocols import Candidates
from memlane.receipts import ForgetReceipt, TenantStats
from memlane.scope import Reach, Scope
from memlane.testing.samples import (
    NOW,
    SPACE,
    directions,
    indexed,
    make_record,
    put,
    query_for,
    read_all,
    unit,
)

_ACME = Scope("-", tenant="acme")
_OTHERS = (Scope("ada", tenant="other"), Scope("ada"), Scope("acme", tenant="ada"))
_NOTHING = TenantStats(
    users=0, records=0, expired=0, versions=0, vectors=0, text_bytes=0, spaces={}
)


async def _fill(backend: Backend, *, each: int = 3) -> None:
    """Store for some users of the tenant, with and without agents, and for others."""
    for user in ("ada", "bob", "été"):
        for agent in (None, "a"):
            scope = Scope(user, tenant="acme", agent=agent)
            await put(backend, *(indexed(make_record(f"r{n}", scope=scope)) for n in range(each)))
    for scope in _OTHERS:
        await put(backend, indexed(make_record("theirs", scope=scope, expires_at=NOW)))


async def test_the_powers_are_there(backend: Backend) -> None:
    """The client finds them by their protocols."""
    assert isinstance(backend, SupportsAdmin)
    assert isinstance(backend, SupportsTenants)


async def test_onboarding_remembers_the_space(backend: Backend) -> None:
    """True the first time."""
    assert await backend.onboard(scope=_ACME, space=SPACE) is True
    assert await backend.onboard(scope=_ACME, space=SPACE) is False
    assert await backend.onboard(scope=_OTHERS[0], space=SPACE) is True


@pytest.mark.parametrize("limit", [1, 2, 3, 100])
async def test_users_are_paged(backend: Backend, limit: int) -> None:
    """Each once, whatever the size of a page, and nobody of another tenant."""
    await _fill(backend)
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await backend.users(scope=_ACME, cursor=cursor, limit=limit)
        assert len(page.names) <= limit
        found += page.names
        if (cursor := page.cursor) is None:
            break
    assert found == ["ada", "bob", "été"]


async def test_users_who_come_and_go_move_no_page(backend: Backend) -> None:
    """A page begins behind a name, even if its user has gone."""
    await _fill(backend)
    page = await backend.users(scope=_ACME, limit=2)
    bob = Scope("bob", tenant="acme")
    await backend.delete(["r0", "r1", "r2"], reach=Reach.whole(bob, now=None))
    await put(backend, indexed(make_record("new", scope=Scope("abe", tenant="acme"))))
    await put(backend, indexed(make_record("new", scope=Scope("cleo", tenant="acme"))))
    rest = await backend.users(scope=_ACME, cursor=page.cursor, limit=100)
    assert (*page.names, *rest.names) == ("ada", "bob", "cleo", "été")
    assert rest.cursor is None


@pytest.mark.parametrize("cursor", ["", "users1.", "1.1.1", "users2.ada", "ada"])
async def test_a_cursor_of_something_else(backend: Backend, cursor: str) -> None:
    """Refused, as a page of nothing is."""
    with pytest.raises(InvalidCursorError):
        await backend.users(scope=_ACME, cursor=cursor)
    with pytest.raises(ValidationError):
        await backend.users(scope=_ACME, limit=0)


async def test_stats_count_what_is_there(backend: Backend, monkeypatch: pytest.MonkeyPatch) -> None:
    """Live ones, expired ones, versions, vectors, bytes and spaces; read in several steps."""
    monkeypatch.setattr(tenants, "_OWNERS", 2)
    assert await backend.stats(scope=_ACME, now=NOW) == _NOTHING
    await _fill(backend)
    ada = Scope("ada", tenant="acme")
    gone = make_record("gone", "123456789", scope=ada, expires_at=NOW)
    await put(backend, indexed(gone, unit(0), unit(1)))
    long = make_record("long", "été", scope=ada, space="other:16")
    before = replace(long, text="before")
    await backend.upsert([replace(indexed(long), parts=(), replaces=before)], scope=ada)
    plain = len(make_record("r").text)
    assert await backend.stats(scope=_ACME, now=NOW) == TenantStats(
        users=3,
        records=19,
        expired=1,
        versions=1,
        vectors=18 + 2,
        text_bytes=18 * plain + 5,
        spaces={SPACE.id: 18, "other:16": 1},
    )
    assert (await backend.stats(scope=_OTHERS[0], now=NOW)).users == 1


async def test_sweeping_takes_what_has_expired(backend: Backend) -> None:
    """At that moment too, with vectors; nothing else, and nothing of another tenant."""
    ada = Scope("ada", tenant="acme")
    ends = [None, NOW - timedelta(days=9), NOW, NOW + timedelta(microseconds=1)]
    for number, end in enumerate(ends):
        await put(backend, indexed(make_record(f"e{number}", scope=ada, expires_at=end)))
    await _fill(backend)
    before = await backend.stats(scope=_ACME, now=NOW)
    assert await backend.sweep(scope=_ACME, now=NOW) == 2
    assert await backend.sweep(scope=_ACME, now=NOW) == 0
    after = await backend.stats(scope=_ACME, now=NOW)
    assert after == replace(before, expired=0, vectors=before.vectors - 2)
    for scope in _OTHERS:
        assert (await backend.stats(scope=scope, now=NOW)).expired == 1


async def test_a_clock_that_goes_back(backend: Backend) -> None:
    """What was swept stays gone; what is stored afterwards is there, however short it lasts."""
    ada = Scope("ada", tenant="acme")
    end = NOW + timedelta(minutes=5)
    for number in range(3):
        await put(backend, indexed(make_record(f"r{number}", scope=ada, expires_at=end)))
    await put(backend, indexed(make_record("last", scope=ada, expires_at=end + timedelta(days=1))))
    early = Reach.point(ada, now=NOW)
    assert len(await backend.query(query_for(unit(0)), reach=early)) == 4
    assert await backend.sweep(scope=_ACME, now=end) == 3
    assert await _ids(backend, early) == ["last"]
    assert await backend.sweep(scope=_ACME, now=NOW) == 0
    # Now its end lies before what was swept already.
    short = make_record("short", scope=ada, actor="Ada", expires_at=NOW + timedelta(minutes=1))
    await put(backend, indexed(short))
    assert await _ids(backend, early) == ["last", "short"]
    assert list(await backend.actors(reach=early)) == ["Ada"]
    assert await backend.sweep(scope=_ACME, now=NOW + timedelta(minutes=1)) == 1
    assert await _ids(backend, early) == ["last"]
    assert list(await backend.actors(reach=early)) == []


async def _ids(backend: Backend, reach: Reach) -> list[str]:
    """Return what a query finds, after seeing that a listing and ids find the same."""
    found: Candidates = await backend.query(query_for(unit(0)), reach=reach)
    ids = [str(each) for each in found.record_ids]
    assert [record.id for record in await read_all(backend, reach)] == ids
    fetched = await backend.fetch(["r0", "r1", "r2", "last", "short"], reach=reach)
    assert [one.record.id for one in fetched] == ids
    assert await backend.count(reach=reach) == len(ids)
    return ids


@pytest.mark.parametrize("ends", ["apart", "together", "all"])
async def test_sweeping_in_many_steps(
    store: SqliteBackend, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    """Whatever a step holds: records that end apart, at one moment, or more than fit into one."""
    monkeypatch.setattr(tenants, "AT_ONCE", 7)
    monkeypatch.setattr(tenants, "_LANES", 2)
    monkeypatch.setattr(tenants, "_TIES", 12)
    apart = {"apart": 1, "together": 10, "all": 1000}[ends]
    for user in range(5):
        scope = Scope(f"user {user}", tenant="acme")
        for n in range(30):
            end = NOW - timedelta(minutes=n // apart)
            await put(store, indexed(make_record(f"r{n}", scope=scope, actor="x", expires_at=end)))
        await put(store, indexed(make_record("kept", scope=scope), unit(1)))
    reach = Reach.whole(Scope("user 3", tenant="acme"), now=None)
    seen: list[int] = []

    async def look() -> None:
        while not seen or seen[-1] > 1:
            found = await store.query(query_for(unit(0)), reach=reach)
            listed = await read_all(store, reach)
            # Listed after it was asked, so never more; and no ghost comes from what is cached.
            assert len(listed) <= len(found)
            seen.append(len(listed))
            await anyio.lowlevel.checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(look)
        assert await store.sweep(scope=_ACME, now=NOW) == 150
    assert seen == sorted(seen, reverse=True)
    assert list((await store.query(query_for(unit(0)), reach=reach)).record_ids) == ["kept"]
    assert (await store.stats(scope=_ACME, now=NOW)).expired == 0


async def test_sweeping_makes_nobody_read_again(
    store: SqliteBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a query has read of a lane is still right, but for what has gone."""
    ada = Scope("ada", tenant="acme")
    for n, end in enumerate([None, NOW, NOW + timedelta(days=1)]):
        await put(store, indexed(make_record(f"r{n}", scope=ada, expires_at=end)))
    now = Reach.point(ada, now=NOW)
    before = await store.query(query_for(unit(0)), reach=now)
    assert await store.sweep(scope=_ACME, now=NOW) == 1
    monkeypatch.setattr(store._cache, "_put", _not_read)
    after = await store.query(query_for(unit(0)), reach=now)
    assert list(after.record_ids) == list(before.record_ids) == ["r0", "r2"]
    whole = await store.query(query_for(unit(0)), reach=Reach.whole(ada, now=None))
    assert list(whole.record_ids) == ["r0", "r2"]


def _not_read(*_: object) -> None:
    raise AssertionError("read again")


async def test_forgetting_a_tenant(backend: Backend) -> None:
    """No record, version, vector, name or space is left; others notice nothing."""
    await _fill(backend, each=300)
    ada = Scope("ada", tenant="acme")
    await put(backend, indexed(make_record("gone", scope=ada, expires_at=NOW)))
    before = make_record("r0", scope=ada)
    await backend.upsert([replace(indexed(replace(before, version=2)), replaces=before)], scope=ada)
    receipt = await backend.forget_tenant(scope=_ACME)
    assert receipt == ForgetReceipt(
        found=1801, deleted=1801, failed=(), verified_empty=True, residue="none"
    )
    assert await backend.stats(scope=_ACME, now=NOW) == _NOTHING
    assert (await backend.users(scope=_ACME)).names == ()
    # The tenant may begin anew, in any space.
    assert await backend.onboard(scope=_ACME, space=replace(SPACE, model="another")) is True
    for scope in _OTHERS:
        assert (await backend.stats(scope=scope, now=NOW)).expired == 1
    again = await backend.forget_tenant(scope=_ACME)
    assert (again.found, again.deleted, again.verified_empty) == (0, 0, True)
    assert await backend.onboard(scope=_ACME, space=SPACE) is True


async def test_nothing_of_a_tenant_is_in_the_file(store: SqliteBackend, path: Path) -> None:
    """Neither its name nor its users', nor that of a space it was taken to."""
    canary = Scope("canary-user", tenant="canary-tenant", agent="canary-agent")
    first = make_record("canary-id", "canary-text " * 900, scope=canary, space="canary:16")
    second = replace(first, version=2, text="canary-new")
    await put(store, indexed(first, *directions(3)))
    await store.upsert([replace(indexed(second), replaces=first)], scope=canary)
    target = replace(SPACE, model="canary-target")
    await store.begin_reembed(scope=canary, space=target)
    page = await store.pending(scope=canary, space=target)
    assert page.records == (second,)
    await store.shadow([indexed(second)], scope=canary, space=target)
    assert (await store.forget_tenant(scope=canary)).residue == "none"
    # A space is remembered before the first record.
    await store.onboard(scope=canary, space=target)
    assert (await store.forget_tenant(scope=canary)).residue == "none"
    for each in path.parent.iterdir():
        assert b"canary" not in each.read_bytes()


async def test_who_stores_meanwhile_is_told(store: SqliteBackend) -> None:
    """The proof is a reading of its own: what came behind the last step is named."""
    ada = Scope("ada", tenant="acme")
    await put(store, indexed(make_record("r", scope=ada)))
    read = store._read

    async def late(operation: str, *args: object, **kwargs: object) -> object:
        await store.upsert([indexed(make_record("late", scope=ada))], scope=ada)
        return await read(operation, *args, **kwargs)  # type: ignore[arg-type]

    store._read = late  # type: ignore[assignment]
    receipt = await store.forget_tenant(scope=_ACME)
    assert (receipt.deleted, receipt.failed, receipt.verified_empty) == (1, ("late",), False)


@pytest.mark.parametrize("verb", ["forget", "forget_tenant"])
async def test_forgetting_ends_while_somebody_stores(store: SqliteBackend, verb: str) -> None:
    """Behind each of its steps there is one more record; what it left it tells, or takes then."""
    ada = Scope("ada", tenant="acme")
    await put(store, *(indexed(make_record(f"r{n}", scope=ada)) for n in range(1_201)))
    change, steps = store._change, 0

    async def busy(operation: str, *args: object) -> object:
        nonlocal steps
        steps += 1
        assert steps < 40, "it does not end"
        done: object = await change(operation, *args)  # type: ignore[arg-type]
        await store.upsert([indexed(make_record(f"late{steps}", scope=ada))], scope=ada)
        return done

    store._change = busy  # type: ignore[assignment]
    if verb == "forget":
        receipt = await forget(store, ada, batch=100)
    else:
        receipt = await store.forget_tenant(scope=_ACME)
    left = (f"late{steps}",) if verb == "forget_tenant" else ()
    assert (receipt.failed, receipt.verified_empty) == (left, not left)
    assert receipt.deleted == 1_201 + steps - len(left)


@pytest.mark.parametrize("gone", [[0, 2], [1, 2, 4], [0, 1, 2, 3, 4, 5, 7], [*range(1, 40, 2)]])
async def test_deleting_takes_what_it_was_told(backend: Backend, gone: list[int]) -> None:
    """And nothing that lies between, however many there are."""
    ada = Scope("ada", tenant="acme")
    await put(backend, *(indexed(make_record(f"r{n}", scope=ada)) for n in range(40)))
    reach = Reach.point(ada, now=NOW)
    assert await backend.delete([f"r{n}" for n in gone], reach=reach) == len(gone)
    left = [record.id for record in await read_all(backend, reach)]
    assert left == [f"r{n}" for n in range(40) if n not in gone]


async def test_remains_and_count(backend: Backend) -> None:
    """Expired ones remain and are not counted; sessions and namespaces bound both."""
    ada = Scope("ada", tenant="acme", session="s")
    await put(backend, indexed(make_record("gone", scope=ada, expires_at=NOW, namespace="/a/b/")))
    for n in range(3):
        scope = replace(ada, session="s" if n else None)
        namespace = "/ab/" if n == 2 else "/a/"
        await put(backend, indexed(make_record(f"r{n}", scope=scope, namespace=namespace)))
    whole, session = replace(ada, session=None), Reach.whole(ada, now=NOW)
    reach = Reach.whole(whole, now=NOW)
    assert sorted(await backend.remains(reach=reach)) == ["gone", "r0", "r1", "r2"]
    assert sorted(await backend.remains(reach=session)) == ["gone", "r1", "r2"]
    assert len(await backend.remains(reach=reach, limit=2)) == 2
    assert await backend.count(reach=reach) == 3
    assert await backend.count(reach=replace(reach, now=None)) == 4
    assert await backend.count(reach=session) == 2
    assert await backend.count(reach=reach, namespace="/a/") == 2
    assert await backend.count(reach=replace(reach, now=None), namespace="/a/") == 3


async def test_directions_are_the_cosines(backend: Backend) -> None:
    """Of the very vectors, of any length; one of zero has none."""
    rows = directions(4, seed=3) * np.array([[1.0], [5.0], [0.1], [0.0]], dtype=np.float32)
    for n, row in enumerate(rows):
        await put(backend, indexed(make_record(f"r{n}"), row))
    reach = Reach.whole(make_record("r").scope, now=NOW)
    found = await backend.query(query_for(unit(0)), reach=reach)
    assert found.directions is not None
    told = found.directions([3, 1, 0, 2, 1])
    assert told.dtype == np.float32
    expected = directions(4, seed=3)[[3, 1, 0, 2, 1]]
    expected[0] = 0
    np.testing.assert_allclose(told @ told.T, expected @ expected.T, atol=2e-3)
    lengths = np.linalg.norm(told, axis=1)
    np.testing.assert_allclose(lengths, [0, 1, 1, 1, 1], atol=1e-6)
    assert found.directions([]).shape[0] == 0
