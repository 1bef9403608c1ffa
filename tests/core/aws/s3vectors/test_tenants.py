"""A tenant looked at as a whole, and forgotten: all of it, and nobody else's."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import timedelta

import anyio
import pytest

from core.aws.s3vectors.opened import ACME, BUCKET, MINE, Cloud, cloud
from core.aws.s3vectors.test_versions import change
from core.aws.s3vectors.test_writing import policy_user
from memlane.aws.credentials import StaticCredentials, TenantCredentials
from memlane.aws.credentials.host import HostCredentials
from memlane.aws.s3vectors import S3VectorsBackend, tenants
from memlane.aws.s3vectors.index import Index
from memlane.aws.s3vectors.naming import shadow_of
from memlane.errors import (
    AccessDeniedError,
    InvalidCursorError,
    StoreNotFoundError,
    TenantNotOnboardedError,
)
from memlane.protocols import Credentials
from memlane.receipts import TenantStats
from memlane.scope import Reach, Scope
from memlane.testing import FakeClock
from memlane.testing.samples import (
    NOW,
    SPACE,
    directions,
    indexed,
    make_record,
    put,
    read_all,
    unit,
)

__all__ = ("cloud",)

TENANT = Scope("-", tenant="acme")
OTHERS = Scope("-", tenant="other")
EVE = Scope("eve", tenant="acme", agent="bot", session="monday")
GUEST = Scope("ada", tenant="other")
HOUR = timedelta(hours=1)


async def filled(backend: S3VectorsBackend, *scopes: Scope) -> None:
    """Give users two records, one of them expired and of several windows, and two versions."""
    for scope in scopes:
        kept = make_record("a", "été", scope=scope, actor="Ada")
        old = make_record("b", "old", scope=scope, expires_at=NOW - HOUR)
        await put(backend, indexed(kept), indexed(old, *directions(3)))
        second = await change(backend, kept, "second")
        await change(backend, second, "third")


async def all_users(backend: S3VectorsBackend, scope: Scope, limit: int) -> list[str]:
    """Return the users of all pages."""
    found: list[str] = []
    cursor: str | None = None
    while True:
        page = await backend.users(scope=scope, cursor=cursor, limit=limit)
        assert len(page.names) <= limit
        found += page.names
        if (cursor := page.cursor) is None:
            return found


async def note_of_another_tool(backend: S3VectorsBackend, key: str, **flat: object) -> None:
    """Put a vector as another tool would."""
    vector = {"key": key, "data": {"float32": unit(3).tolist()}, "metadata": flat}
    await backend._index(MINE, "test").call("PutVectors", {"vectors": [vector]})


@pytest.mark.parametrize("limit", [1, 2, 5, 100])
async def test_users_are_told_once(cloud: Cloud, limit: int) -> None:
    """Whatever they are called; also who has but an expired record, or one of another tool."""
    backend = await cloud.onboarded()
    names = ["ada", "Ada", "u" * 300, "été", "a/b#w1", "default"]
    for name in names:
        await put(backend, indexed(make_record("a", scope=Scope(name, tenant="acme"))))
    await put(backend, indexed(make_record("b", scope=MINE), *directions(3)))
    ends = make_record("c", scope=Scope("gone", tenant="acme"), expires_at=NOW - HOUR)
    await put(backend, indexed(ends))
    await note_of_another_tool(backend, "mem-1", user_id="tess", content="x")
    await note_of_another_tool(backend, "mem-2", user_id="ada", content="x")
    await note_of_another_tool(backend, "mem-3", content="nobody's")
    found = await all_users(backend, TENANT, limit)
    assert sorted(found) == sorted([*names, "gone", "tess"])


async def test_users_cost_a_listing_and_a_request_for_a_hundred(cloud: Cloud) -> None:
    """However many records each has; further pages go on with what was listed."""
    clock = FakeClock()
    backend = await cloud.onboarded(clock=clock)
    for number in range(120):
        scope = Scope(f"u{number}", tenant="acme")
        await put(backend, *(indexed(make_record(f"r{n}", scope=scope)) for n in range(2)))
    await cloud.asked()
    first = await backend.users(scope=TENANT, limit=100)
    second = await backend.users(scope=TENANT, cursor=first.cursor, limit=100)
    assert (len({*first.names, *second.names}), second.cursor) == (120, None)
    asked = await cloud.asked()
    assert asked["GetVectors"] == 2
    assert asked["ListVectors"] == 1
    clock.advance(timedelta(seconds=61))
    assert await backend.users(scope=TENANT, cursor=first.cursor, limit=100) == second
    for cursor in ("", "x", "a" * 19, "A" * 20, "\0"):
        with pytest.raises(InvalidCursorError):
            await backend.users(scope=TENANT, cursor=cursor)


async def test_whose_record_went_meanwhile_is_told_by_another(cloud: Cloud) -> None:
    """A user is left out only if no record is left of those that were listed."""
    clock = FakeClock()
    backend, other = await cloud.onboarded(clock=clock), cloud.backend()
    await put(backend, *(indexed(make_record(f"r{n}", scope=MINE)) for n in range(9)))
    await put(backend, indexed(make_record("x", scope=EVE)))
    first = await backend.users(scope=TENANT, limit=1)
    left = EVE if first.names == ("ada",) else MINE
    ids = [record.id for record in await read_all(other, Reach.whole(left, now=None))]
    await other.delete(ids[1:] or ids, reach=Reach.whole(left, now=None))
    rest = await backend.users(scope=TENANT, cursor=first.cursor, limit=5)
    assert rest.names == (() if left is EVE else ("ada",))


@pytest.mark.parametrize("shared", [False, True])
async def test_stats_count_what_there_is(cloud: Cloud, shared: bool) -> None:
    """Of one tenant: records in reach, expired ones, versions, vectors, bytes and spaces."""
    backend = await cloud.onboarded(**({"index": "one"} if shared else {}))
    await backend.onboard(scope=GUEST, space=SPACE)
    await filled(backend, MINE, EVE)
    await filled(backend, GUEST)
    told = await backend.stats(scope=TENANT, now=NOW)
    assert told == TenantStats(
        users=2,
        records=2,
        expired=2,
        versions=4,
        vectors=8,
        text_bytes=2 * len("third"),
        spaces={SPACE.id: 2},
    )
    before = await backend.stats(scope=TENANT, now=NOW - 2 * HOUR)
    assert (before.records, before.expired, before.text_bytes) == (4, 0, 16)
    assert (await backend.stats(scope=OTHERS, now=NOW)).users == 1


@pytest.mark.parametrize("kind", ["own", "shared", "per_user"])
async def test_a_tenant_is_forgotten_whole(cloud: Cloud, kind: str) -> None:
    """No record, version, window, name or note is left, and other tenants notice nothing."""
    options: dict[str, object] = {"index": "one"} if kind == "shared" else {}
    if kind == "per_user":
        options["per_user"] = True
    backend = cloud.backend(**options)
    mine = [MINE] if kind == "per_user" else [MINE, EVE]
    for scope in (*mine, GUEST):
        await backend.onboard(scope=scope, space=SPACE)
    await filled(backend, *mine)
    if kind == "own":
        await note_of_another_tool(backend, "mem-1", user_id="tess", content="x")
    before = await cloud.emulator.indexes()
    await filled(backend, GUEST)
    theirs = await cloud.emulator.indexes()
    named = MINE if kind == "per_user" else TENANT
    receipt = await backend.forget_tenant(scope=named)
    count = 2 * len(mine) + (kind == "own")
    assert (receipt.found, receipt.deleted, receipt.failed) == (count, count, ())
    assert receipt.verified_empty
    left = await cloud.emulator.indexes()
    if kind == "shared":
        assert left[BUCKET]["one"] == theirs[BUCKET]["one"] - before[BUCKET]["one"] + 1
        owners = {key[:20] for key in await cloud.keys("one") if not key.startswith("memlane/")}
        assert len(owners) == 1
        assert "memlane/space/acme" not in await cloud.keys("one")
    else:
        assert len(left[BUCKET]) == len(theirs[BUCKET]) - 1
    there = await read_all(backend, Reach.whole(GUEST, now=NOW))
    assert [record.text for record in there] == ["third"]
    assert list(await backend.actors(reach=Reach.whole(GUEST, now=NOW))) == ["Ada"]
    again = await backend.forget_tenant(scope=named)
    assert (again.found, again.deleted, again.verified_empty) == (0, 0, True)


async def test_who_was_forgotten_can_begin_anew(cloud: Cloud) -> None:
    """In whatever space; until then nothing is there, and nothing of what was is remembered."""
    backend = cloud.backend(auto_onboard=True)
    await filled(backend, MINE)
    assert list(await backend.actors(reach=Reach.whole(MINE, now=NOW))) == ["Ada"]
    await backend.forget_tenant(scope=TENANT)
    here = Reach.whole(MINE, now=NOW)
    assert await read_all(backend, here) == []
    assert list(await backend.actors(reach=here)) == []
    assert await all_users(backend, TENANT, 5) == []
    assert (await backend.stats(scope=TENANT, now=NOW)).vectors == 0
    wider = replace(SPACE, model="another", dimensions=24)
    await backend.ensure_index(scope=MINE, space=wider)
    record = make_record("n", scope=MINE, space=wider.id)
    await backend.upsert([indexed(record, unit(0, dimensions=24))], scope=MINE)
    assert await read_all(backend, here) == [record]


@pytest.mark.parametrize("kind", ["own", "shared", "denied"])
@pytest.mark.parametrize("skip", range(4))
async def test_forgetting_cut_short_is_repeated(cloud: Cloud, kind: str, skip: int) -> None:
    """Whichever request fails, the second call leaves nothing."""
    options: dict[str, object] = {"index": "one"} if kind == "shared" else {}
    if kind == "denied":
        options = {"host": await _host(cloud, "CreateIndex", "TagResource", "GetIndex")}
    await cloud.onboarded()
    backend = await cloud.onboarded(**({"index": "one"} if kind == "shared" else {}))
    await filled(backend, MINE, EVE)
    index = "one" if kind == "shared" else ACME
    other = cloud.backend(**options)
    rule = {"status": 400, "code": "ValidationException", "skip": skip, "times": 1}
    for operation in ("DeleteIndex", "DeleteVectors", "ListVectors"):
        await cloud.emulator.inject(operation=operation, **rule)
    try:
        first = await other.forget_tenant(scope=TENANT)
        assert first.verified_empty
    except Exception as error:  # noqa: BLE001
        assert "Validation" in str(error.__cause__ or error)  # noqa: PT017
    await cloud.emulator.clear_faults()
    receipt = await other.forget_tenant(scope=TENANT)
    assert receipt.verified_empty
    assert not await cloud.keys(index)


async def _host(cloud: Cloud, *actions: str) -> HostCredentials:
    statement = {"Effect": "Allow", "Action": [f"s3vectors:{each}" for each in actions]}
    policy = {"Version": "2012-10-17", "Statement": [{**statement, "Resource": "*"}]}
    user = await cloud.emulator.put_user("narrow-host", policy=policy)
    return HostCredentials(StaticCredentials(user.access_key, user.secret_key))


async def test_without_a_host_the_index_is_emptied(cloud: Cloud) -> None:
    """By whoever erases; who may only read and write is refused, and takes nothing."""
    backend = await cloud.onboarded()
    await filled(backend, MINE)
    reads = ("GetIndex", "GetVectors", "ListVectors", "QueryVectors")
    writer = await policy_user(cloud, "writer", *reads, "PutVectors")
    eraser = await policy_user(cloud, "eraser", *reads, "DeleteVectors")
    count = len(await cloud.keys())
    with pytest.raises(AccessDeniedError):
        await cloud.backend(credentials=writer, host=None).forget_tenant(scope=TENANT)
    assert len(await cloud.keys()) == count
    parted = cloud.backend(credentials=writer, eraser=eraser, host=None)
    receipt = await parted.forget_tenant(scope=TENANT)
    assert (receipt.deleted, receipt.verified_empty) == (2, True)
    assert await cloud.keys() == set()
    assert ACME in (await cloud.emulator.indexes())[BUCKET]


async def test_what_is_stored_meanwhile_is_met_or_told(cloud: Cloud) -> None:
    """A writer that makes the index anew is forgotten too, or the receipt says what is left."""
    backend, writer = await cloud.onboarded(), cloud.backend(auto_onboard=True)
    await filled(backend, MINE)
    await cloud.emulator.inject(operation="DeleteIndex", latency=0.5, moment="after", skip=1)

    async def write() -> None:
        while ACME in (await cloud.emulator.indexes()).get(BUCKET, {}):
            await anyio.lowlevel.checkpoint()
        await put(writer, indexed(make_record("late", scope=MINE)))

    async with anyio.create_task_group() as group:
        group.start_soon(write)
        receipt = await backend.forget_tenant(scope=TENANT)
    assert receipt.verified_empty
    assert receipt.found == 3
    assert ACME not in (await cloud.emulator.indexes())[BUCKET]


Call = Callable[[S3VectorsBackend], Awaitable[object]]
CALLS: dict[str, Call] = {
    "users": lambda backend: backend.users(scope=TENANT),
    "stats": lambda backend: backend.stats(scope=TENANT, now=NOW),
    "sweep": lambda backend: backend.sweep(scope=TENANT, now=NOW),
    "versions": lambda backend: backend.versions("a", reach=Reach.point(MINE, now=NOW)),
    "remains": lambda backend: backend.remains(reach=Reach.whole(MINE, now=None)),
    "begin": lambda backend: backend.begin_reembed(scope=TENANT, space=SPACE),
}


@pytest.mark.parametrize("name", CALLS)
async def test_a_missing_index_is_named(cloud: Cloud, name: str) -> None:
    """Deleted behind everybody's back, or with its bucket: a typed error, and never emptiness."""
    backend = await cloud.onboarded()
    await filled(backend, MINE)
    await backend.stats(scope=TENANT, now=NOW)
    await cloud.emulator.drop_index(BUCKET, ACME)
    with pytest.raises(TenantNotOnboardedError):
        await CALLS[name](backend)
    with pytest.raises(StoreNotFoundError):
        await CALLS[name](cloud.backend(bucket="elsewhere"))


@pytest.mark.parametrize("name", CALLS)
async def test_an_expired_session_is_renewed_once(cloud: Cloud, name: str) -> None:
    """In the middle of each verb; what is not accepted again is an error with a remedy."""
    admin = cloud.emulator.admin
    fetched: list[StaticCredentials] = []

    async def provider(scope: Scope) -> Credentials:
        fetched.append(StaticCredentials(admin.access_key, admin.secret_key))
        return await fetched[-1](scope)

    backend = await cloud.onboarded()
    await filled(backend, MINE)
    renewed = cloud.backend(credentials=TenantCredentials(provider))
    await renewed.stats(scope=TENANT, now=NOW)
    operation = "GetVectors" if name == "begin" else "ListVectors"
    skip = int(name == "remains")  # the host looks for a shadow first
    await cloud.emulator.inject(
        operation=operation, status=403, code="ExpiredTokenException", times=1, skip=skip
    )
    if name == "begin":
        with pytest.raises(Exception, match="already"):
            await CALLS[name](renewed)
    else:
        await CALLS[name](renewed)
    assert len(fetched) > 1


async def test_a_shadow_goes_first(cloud: Cloud) -> None:
    """So that nobody fills the index from it again; who may not delete it made none."""
    backend = await cloud.onboarded()
    await filled(backend, MINE)
    await backend.begin_reembed(scope=TENANT, space=replace(SPACE, model="next"))
    shadow = shadow_of(ACME)
    assert shadow in (await cloud.emulator.indexes())[BUCKET]
    await cloud.emulator.inject(operation="DeleteIndex", status=400, skip=1)
    with pytest.raises(Exception, match="DeleteIndex"):
        await backend.forget_tenant(scope=TENANT)
    there = (await cloud.emulator.indexes())[BUCKET]
    assert (shadow in there, ACME in there) == (False, True)
    await cloud.emulator.clear_faults()
    assert (await backend.forget_tenant(scope=TENANT)).verified_empty
    assert (await cloud.emulator.indexes())[BUCKET] == {}


async def test_what_is_no_record_is_not_called_nothing(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Windows that stay, for whatever reason, are the tenant's words: it is not empty."""
    backend = cloud.backend(host=None)
    await put(await cloud.onboarded(), indexed(make_record("a", scope=MINE), *directions(3)))
    delete = tenants._delete

    async def spare(index: Index, keys: Sequence[str]) -> None:
        await delete(index, [key for key in keys if "#w" not in key])

    with monkeypatch.context() as patched:
        patched.setattr(tenants, "_delete", spare)
        receipt = await backend.forget_tenant(scope=TENANT)
    assert (receipt.deleted, receipt.failed, receipt.verified_empty) == (1, (), False)
    assert (await backend.forget_tenant(scope=TENANT)).verified_empty
