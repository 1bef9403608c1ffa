"""An index is made once, is of one space, and is missed by name when it is not there."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import anyio
import orjson
import pytest

from core.aws.s3vectors.opened import ACME, BUCKET, MINE, OLDER, Cloud, cloud
from memlane.aws.credentials import StaticCredentials, TenantCredentials
from memlane.aws.s3vectors import S3VectorsBackend
from memlane.errors import (
    EmbeddingSpaceError,
    QuotaExceededError,
    StoreNotFoundError,
    TenantNotOnboardedError,
    UnavailableError,
    ValidationError,
)
from memlane.layout import tenant_code
from memlane.powers import SupportsAdmin, SupportsEnter, SupportsWarm
from memlane.protocols import EmbeddingSpace
from memlane.scope import Reach, Scope
from memlane.testing.samples import (
    NOW,
    SPACE,
    indexed,
    make_record,
    put,
    query_for,
    read_all,
    unit,
    words,
)

__all__ = ("cloud",)

HERE = Reach.point(MINE, now=NOW)
OTHER = EmbeddingSpace(model="another", dimensions=SPACE.dimensions)
LARGER = EmbeddingSpace(model="larger", dimensions=32)

NAMES = ["Acme", "acme", "acme-1", "acme_1", "a--b", "x" * 300, "\U0001f9e0", "../x", "a.b", "-a"]


async def test_the_parts_it_has(cloud: Cloud) -> None:
    """It can be entered, warmed and administered."""
    backend = cloud.backend()
    assert isinstance(backend, SupportsAdmin)
    assert isinstance(backend, SupportsEnter)
    assert isinstance(backend, SupportsWarm)
    assert backend.capabilities.isolation == "credentials"
    assert cloud.backend(index="one").capabilities.isolation == "checks"


async def test_onboarding_makes_an_index_once(cloud: Cloud) -> None:
    """With memlane's unfilterable keys, tagged with the code that the session tag carries."""
    backend = cloud.backend()
    assert await backend.onboard(scope=MINE, space=SPACE) is True
    assert await backend.onboard(scope=MINE, space=SPACE) is False
    assert await cloud.keys() == {"memlane/space"}
    index = backend._doors.maker(MINE)
    assert index is not None
    told = (await index.call("GetIndex", {}))["index"]
    assert (told["dimension"], told["distanceMetric"]) == (SPACE.dimensions, "cosine")
    assert set(told["metadataConfiguration"]["nonFilterableMetadataKeys"]) == {
        "content", "payload", "row", "stored_at",
    }  # fmt: skip
    assert index.tags == {"TenantID": "acme"}


@pytest.mark.parametrize("name", NAMES)
async def test_any_tenant_can_be_onboarded(cloud: Cloud, name: str) -> None:
    """Whatever a tenant is called, the index has a name that the service takes."""
    backend = cloud.backend()
    scope = Scope("ada", tenant=name)
    assert await backend.onboard(scope=scope, space=SPACE)
    await put(backend, indexed(make_record("a", scope=scope)))
    assert list((await cloud.emulator.indexes())[BUCKET]) == [f"memory-{tenant_code(name)}"]


async def test_tenants_of_like_names_share_nothing(cloud: Cloud) -> None:
    """Every name has an index of its own."""
    backend = cloud.backend(auto_onboard=True)
    for name in NAMES:
        await put(backend, indexed(make_record("a", name, scope=Scope("ada", tenant=name))))
    assert len((await cloud.emulator.indexes())[BUCKET]) == len(NAMES)
    for name in NAMES:
        found = await read_all(backend, Reach.whole(Scope("ada", tenant=name), now=NOW))
        assert [record.text for record in found] == [name]


async def test_users_can_have_indexes_of_their_own(cloud: Cloud) -> None:
    """Two of one tenant are in two, tagged with both codes."""
    backend = cloud.backend(per_user=True, auto_onboard=True)
    for user in ("ada", "eve"):
        await put(backend, indexed(make_record("a", user, scope=Scope(user, tenant="acme"))))
    assert len((await cloud.emulator.indexes())[BUCKET]) == 2
    maker = backend._doors.maker(MINE)
    assert maker is not None
    assert set(maker.tags) == {"TenantID", "UserID"}


VERBS: dict[str, Callable[[S3VectorsBackend], Awaitable[object]]] = {
    "ensure_index": lambda backend: backend.ensure_index(scope=MINE, space=SPACE),
    "upsert": lambda backend: backend.upsert([indexed(make_record("a", scope=MINE))], scope=MINE),
    "query": lambda backend: backend.query(query_for(unit(0)), reach=HERE),
    "words": lambda backend: backend.query(query_for(None, terms=words(1)), reach=HERE),
    "fetch": lambda backend: backend.fetch(["a"], reach=HERE),
    "scan": lambda backend: backend.scan(reach=HERE),
    "delete": lambda backend: backend.delete(["a"], reach=HERE),
    "scrub": lambda backend: backend.scrub(scope=MINE),
    "sweep": lambda backend: backend.sweep(scope=MINE, now=NOW),
}


@pytest.mark.parametrize("verb", VERBS)
async def test_a_tenant_without_an_index_is_told_the_command(cloud: Cloud, verb: str) -> None:
    """Every verb raises the same error, which names what makes the index and no user."""
    backend = cloud.backend()
    with pytest.raises(TenantNotOnboardedError) as caught:
        await VERBS[verb](backend)
    error = caught.value
    assert error.remedy == "run `memlane onboard acme`"
    assert (error.code, error.status) == ("NotFoundException", 404)
    assert error.request_id
    assert "ada" not in str(error)


async def test_a_shared_index_that_is_missing_names_no_tenant(cloud: Cloud) -> None:
    """What one tenant's call found is told to all that wait for it."""
    backend = cloud.backend(index="one")
    told: list[str] = []

    async def ask(tenant: str) -> None:
        with pytest.raises(TenantNotOnboardedError) as caught:
            await backend.query(
                query_for(unit(0)), reach=Reach.point(Scope("ada", tenant=tenant), now=NOW)
            )
        told.append(str(caught.value))

    async with anyio.create_task_group() as group:
        for tenant in ("secret", "other"):
            group.start_soon(ask, tenant)
    assert len(told) == 2
    assert not [each for each in told if "secret" in each or "other" in each]
    assert all("memlane onboard" in each for each in told)


@pytest.mark.parametrize("verb", VERBS)
async def test_an_index_may_vanish(cloud: Cloud, verb: str) -> None:
    """Deleted under a running client it is missed, again and again, until it is made again."""
    backend = await cloud.onboarded(auto_onboard=True)
    await put(backend, indexed(make_record("a", scope=MINE)))
    await cloud.emulator.drop_index(BUCKET, ACME)
    for again in range(2):
        if again and verb == "ensure_index":
            break  # that made it
        if verb == "ensure_index":
            with pytest.raises(TenantNotOnboardedError):
                await backend.fetch(["a"], reach=HERE)
            await VERBS[verb](backend)
            continue
        with pytest.raises(TenantNotOnboardedError):
            await VERBS[verb](backend)
    await backend.ensure_index(scope=MINE, space=SPACE)
    assert list(await backend.fetch(["a"], reach=HERE)) == []


async def test_a_missing_bucket_is_told_apart(cloud: Cloud) -> None:
    """It is nobody's onboarding that is missing."""
    backend = cloud.backend(bucket="elsewhere", auto_onboard=True)
    for verb in VERBS.values():
        with pytest.raises(StoreNotFoundError, match="elsewhere") as caught:
            await verb(backend)
        assert not isinstance(caught.value, TenantNotOnboardedError)
    with pytest.raises(StoreNotFoundError):
        await backend.onboard(scope=MINE, space=SPACE)


async def test_an_index_is_made_on_demand_once(cloud: Cloud) -> None:
    """Fifty first calls of one tenant are one CreateIndex; reading makes none."""
    backend = cloud.backend(auto_onboard=True)
    assert list(await backend.fetch(["a"], reach=HERE)) == []
    assert (await cloud.emulator.indexes())[BUCKET] == {}
    await cloud.asked()
    async with anyio.create_task_group() as group:
        for n in range(50):
            group.start_soon(put, backend, indexed(make_record(f"r{n}", scope=MINE)))
    asked = await cloud.asked()
    assert asked["CreateIndex"] == 1
    assert len(await read_all(backend, HERE)) == 50


@pytest.mark.parametrize("losers_fail", [False, True])
async def test_several_clients_make_one_index(cloud: Cloud, losers_fail: bool) -> None:
    """Those who come second hear 409, or now and then 500, and go on."""
    await cloud.emulator.switch(create_losers_fail=losers_fail)
    backends = [cloud.backend(auto_onboard=True) for _ in range(8)]
    made: list[bool] = []

    async def onboard(number: int) -> None:
        made.append(await backends[number].onboard(scope=MINE, space=SPACE))

    async with anyio.create_task_group() as group:
        for number in range(len(backends)):
            group.start_soon(onboard, number)
    assert sorted(made) == [False] * 7 + [True]


async def test_a_failure_to_make_one_is_told(cloud: Cloud) -> None:
    """A quota, or a service that fails and made nothing, is no success."""
    backend = cloud.backend(auto_onboard=True)
    await cloud.emulator.inject(
        operation="CreateIndex", status=402, code="ServiceQuotaExceededException", times=1
    )
    with pytest.raises(QuotaExceededError):
        await backend.ensure_index(scope=MINE, space=SPACE)
    await cloud.emulator.inject(operation="CreateIndex", status=500, code="InternalServerException")
    with pytest.raises(UnavailableError), anyio.move_on_after(60):
        await backend.ensure_index(scope=MINE, space=SPACE)
    await cloud.emulator.clear_faults()
    await backend.ensure_index(scope=MINE, space=SPACE)


async def test_a_failure_that_made_one_is_none(cloud: Cloud) -> None:
    """Told of an error to the last attempt, with the index there: that is what was asked for."""
    await cloud.emulator.inject(
        operation="CreateIndex", status=500, code="InternalServerException", moment="after"
    )
    with anyio.fail_after(60):
        assert await cloud.backend().onboard(scope=MINE, space=SPACE) is False
    assert await cloud.keys() == {"memlane/space"}


async def test_onboarding_takes_the_host(cloud: Cloud) -> None:
    """Without its credentials nobody makes an index, and what cannot work is refused at once."""
    backend = cloud.backend(host=None)
    with pytest.raises(ValidationError, match="host"):
        await backend.onboard(scope=MINE, space=SPACE)
    for options in (
        {"credentials": None},
        {"host": None, "auto_onboard": True},
        {"index": "one", "host": None},
        {"index": "one", "per_user": True},
    ):
        with pytest.raises(ValidationError):
            cloud.backend(**options)


async def test_another_space_is_refused(cloud: Cloud) -> None:
    """By every client, with the word reembed, as long as there are records."""
    first = await cloud.onboarded()
    await put(first, indexed(make_record("a", scope=MINE)))
    for space in (OTHER, LARGER):
        backend = cloud.backend(auto_onboard=True)
        for _ in range(2):
            with pytest.raises(EmbeddingSpaceError, match="reembed"):
                await backend.ensure_index(scope=MINE, space=space)
        with pytest.raises(EmbeddingSpaceError, match="reembed"):
            await backend.onboard(scope=MINE, space=space)
    await cloud.backend().ensure_index(scope=MINE, space=SPACE)


async def test_an_empty_index_may_change_its_space(cloud: Cloud) -> None:
    """Nothing was stored, so nothing mixes; the next client knows."""
    await cloud.onboarded()
    await cloud.backend().ensure_index(scope=MINE, space=OTHER)
    backend = cloud.backend()
    await backend.upsert([indexed(make_record("a", scope=MINE, space=OTHER.id))], scope=MINE)
    with pytest.raises(EmbeddingSpaceError):
        await cloud.backend().ensure_index(scope=MINE, space=SPACE)


async def test_tenants_of_a_shared_index_have_spaces_of_their_own(cloud: Cloud) -> None:
    """One dimension for all; which model each has is noted for each."""
    backend = cloud.backend(index="one", auto_onboard=True)
    await backend.ensure_index(scope=MINE, space=SPACE)
    await backend.ensure_index(scope=Scope("u", tenant="other"), space=OTHER)
    with pytest.raises(EmbeddingSpaceError):
        await cloud.backend(index="one").ensure_index(scope=MINE, space=OTHER)
    assert await cloud.keys("one") == {"memlane/space/acme", "memlane/space/other"}


async def test_an_index_made_by_hand_is_taken(cloud: Cloud) -> None:
    """With memlane's keys it is memlane's; the first to come notes the space."""
    hidden = ("content", "stored_at", "payload", "row", "more")
    await cloud.emulator.create_index(BUCKET, ACME, dimension=SPACE.dimensions, hidden=hidden)
    await cloud.backend().ensure_index(scope=MINE, space=SPACE)
    assert await cloud.keys() == {"memlane/space"}


async def test_who_may_only_read_notes_nothing(cloud: Cloud) -> None:
    """A reader's credentials are no reason to fail."""
    backend = await cloud.onboarded()
    await put(backend, indexed(make_record("a", scope=MINE)))
    await backend._index(MINE, "test").delete(["memlane/space"])
    allowed = [f"s3vectors:{name}" for name in ("GetIndex", "GetVectors", "QueryVectors")]
    user = await cloud.emulator.put_user(
        "reader",
        policy={
            "Version": "2012-10-17",
            "Statement": [{"Effect": "Allow", "Action": allowed, "Resource": "*"}],
        },
    )
    reader = cloud.backend(
        credentials=TenantCredentials(StaticCredentials(user.access_key, user.secret_key))
    )
    await reader.ensure_index(scope=MINE, space=SPACE)
    assert len(await reader.query(query_for(unit(0)), reach=HERE)) == 1
    assert len(await cloud.keys()) == 1


async def test_euclidean_indexes_are_refused(cloud: Cloud) -> None:
    """Their distances mean something else."""
    await cloud.emulator.create_index(BUCKET, ACME, dimension=SPACE.dimensions, metric="euclidean")
    with pytest.raises(EmbeddingSpaceError, match="euclidean"):
        await cloud.backend().ensure_index(scope=MINE, space=SPACE)


async def test_an_older_index_is_opened_with_one_warning(
    cloud: Cloud, caplog: pytest.LogCaptureFixture
) -> None:
    """Nothing is written into it by opening; another dimension is refused as ever."""
    await cloud.emulator.create_index(BUCKET, ACME, dimension=SPACE.dimensions, hidden=OLDER)
    backend = cloud.backend()
    with caplog.at_level(logging.WARNING):
        for user in ("ada", "eve", "ada"):
            await backend.ensure_index(scope=Scope(user, tenant="acme"), space=SPACE)
    assert [record.getMessage() for record in caplog.records if ACME in record.getMessage()] != []
    assert len(caplog.records) == 1
    assert await cloud.keys() == set()
    with pytest.raises(EmbeddingSpaceError, match="dimensions"):
        await backend.ensure_index(scope=MINE, space=LARGER)


async def test_what_is_known_is_not_asked_again(cloud: Cloud) -> None:
    """One request for a tenant's first call, none for those that follow."""
    await cloud.onboarded()
    backend = cloud.backend()
    async with anyio.create_task_group() as group:
        for _ in range(30):
            group.start_soon(lambda: backend.ensure_index(scope=MINE, space=SPACE))
    assert await cloud.asked() == {"GetVectors": 1}
    await backend.ensure_index(scope=MINE, space=SPACE)
    await backend.query(query_for(unit(0)), reach=HERE)
    assert await cloud.asked() == {"QueryVectors": 1}


@pytest.mark.parametrize("said", [None, {}, {"index": {}}, {"of": "memories/memory-eve"}])
async def test_an_index_is_asked_where_its_note_does_not_say(
    cloud: Cloud, said: dict[str, object] | None
) -> None:
    """A note of an earlier version, a damaged one, and one that came from another index."""
    await cloud.onboarded()
    index = cloud.backend()._index(MINE, "test")
    note = (await index.get(["memlane/space"], data=True))[0]
    content = orjson.loads(note["metadata"]["content"])
    assert content["spaces"] == [SPACE.id]
    content = {"spaces": content["spaces"]} if said is None else content | said
    if said == {}:
        del content["of"]
    changed = {**note, "metadata": {"content": orjson.dumps(content).decode()}}
    await index.put([orjson.dumps(changed)])
    await cloud.asked()
    await cloud.backend().ensure_index(scope=MINE, space=SPACE)
    assert await cloud.asked() == {"GetIndex": 1, "GetVectors": 1}


async def test_a_copied_note_vouches_for_no_other_index(cloud: Cloud) -> None:
    """Whoever copies all vectors copies it too, into an index that may compare otherwise."""
    await cloud.onboarded()
    note = await cloud.backend()._index(MINE, "test").get(["memlane/space"], data=True)
    eve = Scope("ada", tenant="eve")
    await cloud.emulator.create_index(
        BUCKET, "memory-eve", dimension=SPACE.dimensions, metric="euclidean"
    )
    await cloud.backend()._index(eve, "test").put([orjson.dumps(each) for each in note])
    with pytest.raises(EmbeddingSpaceError, match="euclidean"):
        await cloud.backend().ensure_index(scope=eve, space=SPACE)


async def test_the_mode_of_an_index_is_not_noted(cloud: Cloud) -> None:
    """It may change; who does not know it asks for the newer one with each query."""
    await cloud.onboarded()
    backend = cloud.backend()
    await backend.ensure_index(scope=MINE, space=SPACE)
    assert await backend.query(query_for(unit(0)), reach=HERE) is not None
    known = backend._indexes.peek(backend._index(MINE, "test"))
    assert known is not None
    assert not known.is_enhanced
    assert (known.dimension, known.is_older) == (SPACE.dimensions, False)
