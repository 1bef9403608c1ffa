"""What reading costs and owes: one request for a question, everything for a listing."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import anyio
import numpy as np
import pytest

from core.aws.s3vectors.opened import ACME, BUCKET, MINE, Cloud, cloud
from memlane.aws.credentials import HostCredentials, StaticCredentials, TenantCredentials
from memlane.errors import (
    BackendError,
    CredentialsError,
    EmbeddingSpaceError,
    InvalidFilterError,
    IsolationError,
)
from memlane.filters import Filter
from memlane.protocols import Credentials
from memlane.scope import Reach, Scope
from memlane.testing.samples import (
    NOW,
    SPACE,
    directions,
    ids_of,
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
WIDE = Reach.point(MINE, now=NOW, include_agents=True)
BOT = replace(MINE, agent="bot")


async def test_a_question_is_one_request(cloud: Cloud) -> None:
    """With exactly as many rows asked for as are wanted, and no second request for the winners."""
    backend = await cloud.onboarded()
    await put(backend, *(indexed(make_record(f"r{n}", scope=MINE), unit(n)) for n in range(8)))
    await cloud.asked()
    found = await backend.query(query_for(unit(3), limit=5), reach=HERE)
    assert len(found) == 5
    assert found.records is not None
    assert {record.id for record in found.records} == set(found.record_ids)
    assert await cloud.asked() == {"QueryVectors": 1}


async def test_a_hundred_rows_are_enough_for_a_hundred(cloud: Cloud) -> None:
    """The next page is asked for only where windows crowd records out, or more are wanted."""
    backend = await cloud.onboarded()
    many = [indexed(make_record(f"r{n:03}", scope=MINE), one) for n, one in enumerate(_near(230))]
    await put(backend, *many)
    await cloud.asked()
    assert len(await backend.query(query_for(unit(0), limit=100), reach=HERE)) == 100
    assert await cloud.asked() == {"QueryVectors": 1}
    assert len(await backend.query(query_for(unit(0), limit=230), reach=HERE)) == 230
    assert await cloud.asked() == {"QueryVectors": 3}
    long = indexed(make_record("long", "x" * 99, scope=MINE), *[unit(0)] * 90)
    await put(backend, long)
    await cloud.asked()
    found = await backend.query(query_for(unit(0), limit=100), reach=HERE)
    assert len(set(found.record_ids)) >= 50
    assert await cloud.asked() == {"QueryVectors": 2}


def _near(count: int) -> list[np.ndarray]:
    return [(one + 4 * unit(0)).astype(np.float32) for one in directions(count)]


async def test_a_token_that_ends_between_pages_is_renewed(cloud: Cloud) -> None:
    """Paging goes on with new credentials."""
    user = await cloud.emulator.put_user("first", policy=_ALL)
    good = await cloud.emulator.put_user("second", policy=_ALL)
    given = [user, good]
    backend = await cloud.onboarded(credentials=TenantCredentials(_Several(given)))
    await put(backend, *(indexed(make_record(f"r{n}", scope=MINE)) for n in range(150)))
    await cloud.emulator.inject(
        operation="QueryVectors", status=403, code="ExpiredTokenException", skip=1, times=1
    )
    found = await backend.query(query_for(unit(0), limit=150), reach=HERE)
    assert len(found) == 150
    principals = {one.principal for one in await cloud.emulator.requests()}
    assert {"first", "second"} <= {name.rpartition("/")[2] for name in principals}


_ALL = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": "s3vectors:*", "Resource": "*"}],
}


class _Several:
    """One set of credentials after the other."""

    def __init__(self, several: list[Credentials]) -> None:
        self._several = several
        self.asked = 0

    async def __call__(self, scope: Scope) -> Credentials:
        del scope
        self.asked += 1
        return self._several.pop(0) if len(self._several) > 1 else self._several[0]


async def test_refused_credentials_are_renewed_once(cloud: Cloud) -> None:
    """And then the error is the caller's; whoever refuses all is not asked for ever."""
    bad = Credentials(access_key="AKIANOBODYNOBODY", secret_key="x" * 20)
    provider = _Several([bad])
    backend = cloud.backend(credentials=TenantCredentials(provider))
    with pytest.raises(CredentialsError) as caught:
        await backend.fetch(["a"], reach=HERE)
    assert provider.asked == 2
    assert "xxxx" not in str(caught.value)
    await cloud.onboarded()
    recovering = _Several([bad, await cloud.admin()])
    backend = cloud.backend(credentials=TenantCredentials(recovering))
    assert list(await backend.fetch(["a"], reach=HERE)) == []


async def test_host_credentials_are_renewed_too(cloud: Cloud) -> None:
    """Those that sign for a shared index."""
    bad = Credentials(access_key="AKIANOBODYNOBODY", secret_key="x" * 20)
    several = _Several([bad, await cloud.admin()])

    async def provide() -> Credentials:
        return await several(MINE)

    backend = cloud.backend(index="one", host=HostCredentials(provide), auto_onboard=True)
    await put(backend, indexed(make_record("a", scope=MINE)))
    assert ids_of(await read_all(backend, HERE)) == ["a"]


@pytest.mark.parametrize("count", [1, 7])
async def test_a_query_vector_is_checked_before_the_wire(cloud: Cloud, count: int) -> None:
    """NaN, infinity, zero and another dimension are the embedder's errors, and cost nothing."""
    backend = await cloud.onboarded()
    for vector in (
        np.full(16, np.nan, np.float32),
        np.full(16, np.inf, np.float32),
        np.zeros(16, np.float32),
        np.ones(count, np.float32),
    ):
        with pytest.raises(EmbeddingSpaceError):
            await backend.query(query_for(vector), reach=HERE)
    assert await cloud.asked() == {}


async def test_a_filter_the_service_cannot_take_is_refused_before(cloud: Cloud) -> None:
    """With words alone too, so that what works does not depend on the mode."""
    backend = await cloud.onboarded()
    condition = Filter.or_(*(Filter.starts_with("@actor", f"a{n}") for n in range(79)))
    for vector in (unit(0), None):
        with pytest.raises(InvalidFilterError):
            await backend.query(query_for(vector, condition=condition), reach=HERE)
    assert await cloud.asked() == {}


async def test_a_classic_index_is_asked_in_the_newer_mode(cloud: Cloud) -> None:
    """There filters come first too, and know prefixes."""
    await cloud.emulator.switch(legacy_buckets=True, classic_pool=5)
    await cloud.emulator.create_bucket("legacy")
    backend = cloud.backend(bucket="legacy", auto_onboard=True)
    near = [indexed(make_record(f"n{n}", scope=MINE), unit(0)) for n in range(40)]
    far = make_record("far", scope=MINE, namespace="/a/b/", metadata={"odd": True})
    await put(backend, *near, indexed(far, -unit(0)))
    condition = Filter.eq("odd", True)
    asked = query_for(unit(0), limit=1, condition=condition, namespace="/a/")
    assert list((await backend.query(asked, reach=HERE)).record_ids) == ["far"]


async def test_words_alone_read_the_newest(cloud: Cloud, monkeypatch: pytest.MonkeyPatch) -> None:
    """S3 Vectors finds by vectors: up to a bound all is read, beyond it the newest ids."""
    monkeypatch.setattr("memlane.aws.s3vectors.reading.BY_WORDS", 5)
    backend = await cloud.onboarded()
    await put(backend, *(indexed(make_record(f"r{n}", scope=MINE)) for n in range(5)))
    found = await backend.query(query_for(None, terms=words(1)), reach=HERE)
    assert found.complete
    assert sorted(found.record_ids) == [f"r{n}" for n in range(5)]
    await put(
        backend, indexed(make_record("r5", scope=BOT)), indexed(make_record("r6", scope=MINE))
    )
    found = await backend.query(query_for(None, terms=words(1)), reach=WIDE)
    assert not found.complete
    assert sorted(found.record_ids) == ["r2", "r3", "r4", "r5", "r6"]


async def test_a_small_index_is_listed_in_one_request(cloud: Cloud) -> None:
    """Its records come along; those of later pages are read as they are then."""
    backend = await cloud.onboarded()
    await put(backend, *(indexed(make_record(f"r{n}", scope=MINE)) for n in range(90)))
    await cloud.asked()
    assert len(await read_all(backend, HERE, limit=1_000)) == 90
    assert await cloud.asked() == {"ListVectors": 1}
    assert len(await read_all(backend, HERE, limit=50)) == 90
    assert await cloud.asked() == {"ListVectors": 1, "GetVectors": 1}


async def test_a_large_index_is_listed_in_segments(cloud: Cloud) -> None:
    """Complete, whatever the pages; the keys are listed once for all pages of a listing."""
    backend = await cloud.onboarded()
    for scope in (MINE, *(Scope(name, tenant="acme") for name in ("eve", "kim", "bob"))):
        items = [indexed(make_record(f"r{n:04}", scope=scope)) for n in range(700)]
        for at in range(0, len(items), 350):
            await put(backend, *items[at : at + 350])
    await cloud.asked()
    found = await read_all(backend, HERE, limit=250)
    assert ids_of(found) == [f"r{n:04}" for n in range(700)]
    asked = await cloud.asked()
    assert 17 <= asked["ListVectors"] <= 40
    assert asked["GetVectors"] == 8


async def test_a_listing_goes_on_without_what_was_kept(cloud: Cloud) -> None:
    """Another process, or this one a minute later, lists anew and meets each record once."""
    backend, other = await cloud.onboarded(), cloud.backend()
    await put(backend, *(indexed(make_record(f"r{n}", scope=MINE)) for n in range(9)))
    first = await backend.scan(reach=HERE, limit=4)
    assert first.cursor is not None
    rest = await other.scan(reach=HERE, cursor=first.cursor, limit=100)
    assert ids_of([*first.records, *rest.records]) == [f"r{n}" for n in range(9)]
    assert rest.cursor is None


async def test_conditions_are_met_within_a_page(cloud: Cloud) -> None:
    """What is left out does not make a page short, and costs no page of its own."""
    backend = await cloud.onboarded()
    items = [indexed(make_record(f"r{n:03}", scope=MINE, metadata={"n": n})) for n in range(300)]
    await put(backend, *items)
    page = await backend.scan(reach=HERE, filter=Filter.gte("n", 290), limit=5)
    assert ids_of(page.records) == [f"r{n}" for n in range(290, 295)]
    assert page.cursor is not None


async def test_agents_are_found_by_listing(cloud: Cloud) -> None:
    """An id of any agent: their keys are listed, and windows come with vectors."""
    backend = await cloud.onboarded()
    for scope in (MINE, BOT, replace(MINE, user="eve")):
        await put(
            backend, indexed(make_record("a", f"of {scope.agent}", scope=scope), *directions(3))
        )
    await cloud.asked()
    found = await backend.fetch(["a", "b"], reach=WIDE, vectors=True)
    assert sorted(item.record.text for item in found) == ["of None", "of bot"]
    assert [len(item.parts) for item in found] == [3, 3]
    assert await cloud.asked() == {"ListVectors": 1, "GetVectors": 2}
    assert len(await backend.fetch(["a"], reach=HERE)) == 1
    assert await cloud.asked() == {"GetVectors": 1}


async def test_a_record_called_like_a_note_is_a_record(cloud: Cloud) -> None:
    """Ids that look like what memlane notes for itself are listed, fetched and deleted."""
    backend = await cloud.onboarded()
    names = ["actors", "memlane/space", "space", "#w1"]
    await put(backend, *(indexed(make_record(each, scope=MINE)) for each in names))
    assert ids_of(await read_all(backend, HERE)) == sorted(names)
    assert len(await backend.fetch(names, reach=HERE)) == 4
    assert await backend.delete(names, reach=HERE) == 4


async def test_what_the_service_returns_of_others_is_refused(cloud: Cloud) -> None:
    """A row whose metadata was forged into the reach is not believed: its key says whose it is."""
    backend = await cloud.onboarded()
    await put(backend, indexed(make_record("a", scope=Scope("eve", tenant="acme"))))
    (key,) = await cloud.keys() - {"memlane/space"}
    vector = (await cloud.emulator.vectors(BUCKET, ACME))[key]
    forged = {**vector.metadata, "user_id": "ada"}
    await backend._index(MINE, "test").call(
        "PutVectors",
        {"vectors": [{"key": key, "data": {"float32": vector.data.tolist()}, "metadata": forged}]},
    )
    with pytest.raises(IsolationError):
        await backend.query(query_for(unit(0)), reach=HERE)
    assert await read_all(backend, HERE) == []


async def test_many_questions_at_once(cloud: Cloud) -> None:
    """A hundred callers of several users get each their own."""
    backend = await cloud.onboarded()
    for n in range(10):
        await put(backend, indexed(make_record(f"r{n}", scope=Scope(f"u{n}", tenant="acme"))))

    async def ask(n: int) -> None:
        reach = Reach.point(Scope(f"u{n}", tenant="acme"), now=NOW)
        found = await backend.query(query_for(unit(0)), reach=reach)
        assert list(found.record_ids) == [f"r{n}"]

    async with anyio.create_task_group() as group:
        for n in range(100):
            group.start_soon(ask, n % 10)


async def test_after_closing_every_call_says_so(cloud: Cloud) -> None:
    """Closing twice is fine; nothing is asked of the service any more."""
    backend = await cloud.onboarded()
    await backend.aclose()
    await backend.aclose()
    for call in (
        lambda: backend.query(query_for(unit(0)), reach=HERE),
        lambda: backend.fetch(["a"], reach=HERE),
        lambda: backend.ensure_index(scope=MINE, space=SPACE),
    ):
        with pytest.raises(BackendError, match="closed"):
            await call()
    backend.warm(MINE)
    assert await cloud.asked() == {}


async def test_warming_never_fails(cloud: Cloud) -> None:
    """Whoever is not known is not fetched for."""
    backend = cloud.backend()
    backend.warm(MINE)
    cloud.backend(index="one").warm(MINE)
    assert await cloud.asked() == {}


async def test_times_are_kept_to_the_moment(cloud: Cloud) -> None:
    """What ends in this minute is there until it ends."""
    backend = await cloud.onboarded()
    ends = datetime(2026, 3, 14, 9, 30, 30, tzinfo=UTC)
    await put(backend, indexed(make_record("a", scope=MINE, expires_at=ends)))
    for late, there in ((-1, 1), (0, 0), (1, 0)):
        reach = Reach.point(MINE, now=ends + timedelta(microseconds=late))
        assert len(await backend.query(query_for(unit(0)), reach=reach)) == there


async def test_static_credentials_of_the_host_do(cloud: Cloud) -> None:
    """A backend needs no session to be tried out."""
    backend = cloud.backend(
        credentials=TenantCredentials(
            StaticCredentials(cloud.emulator.admin.access_key, cloud.emulator.admin.secret_key)
        ),
        auto_onboard=True,
    )
    await backend.enter()
    await put(backend, indexed(make_record("a", scope=MINE)))
    assert ids_of(await read_all(backend, HERE)) == ["a"]
