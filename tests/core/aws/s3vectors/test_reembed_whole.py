"""What a shadow holds when it takes an index's place: one space, nobody forgotten, all readable."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Any

import orjson
import pytest

from core.aws.s3vectors.opened import ACME, BUCKET, MINE, Cloud, cloud
from core.aws.s3vectors.test_reembed import (
    ALIKE,
    HERE,
    SHADOW,
    WIDER,
    embedded,
    reembed,
    short_turns,
)
from core.aws.s3vectors.test_tenants import EVE, TENANT, filled
from memlane.aws.s3vectors import S3VectorsBackend
from memlane.aws.s3vectors.index import Index
from memlane.eraser import forget
from memlane.errors import BackendError, ConflictError, MemlaneError
from memlane.layout import owner_prefix
from memlane.metadata import NON_FILTERABLE
from memlane.scope import Reach
from memlane.testing.samples import NOW, SPACE, ids_of, indexed, make_record, put, read_all

__all__ = ("cloud", "short_turns")

THIRD = replace(SPACE, model="third")
TEXTS = {"metadataKey": "content", "language": "en"}


async def _shadowed(backend: S3VectorsBackend, space: Any, parts: int = 2) -> None:
    page = await backend.pending(scope=TENANT, space=space, limit=100)
    items = [embedded(record, space, parts) for record in page.records]
    await backend.shadow(items, scope=TENANT, space=space)


@pytest.mark.parametrize("step", ["shadow", "cut_over"])
async def test_whose_shadow_was_given_up_puts_nothing_into_the_next(
    cloud: Cloud, step: str
) -> None:
    """One that embeds still, and knows only of its own, is told at its next page, or at the end."""
    backend, other = await cloud.onboarded(), cloud.backend()
    await filled(backend, MINE)
    await backend.begin_reembed(scope=TENANT, space=ALIKE)
    page = await backend.pending(scope=TENANT, space=ALIKE)
    items = [embedded(record, ALIKE) for record in page.records]
    await other.abandon_reembed(scope=TENANT)
    await other.begin_reembed(scope=TENANT, space=THIRD)
    await _shadowed(other, THIRD)
    late = (
        backend.shadow(items, scope=TENANT, space=ALIKE)
        if step == "shadow"
        else backend.cut_over(scope=TENANT, space=ALIKE)
    )
    with pytest.raises(ConflictError, match="another space"):
        await late
    assert await other.cut_over(scope=TENANT, space=THIRD)
    assert (await other.stats(scope=TENANT, now=NOW)).spaces == {THIRD.id: 1}


@pytest.mark.parametrize("which", ["/a", "/a#w1"])
async def test_what_arrives_of_another_space_is_absent(cloud: Cloud, which: str) -> None:
    """A page that was on its way when its shadow was given up: embedded anew, windows too."""
    backend, late = await cloud.onboarded(), cloud.backend()
    await filled(backend, MINE)
    page = [record for record in await read_all(backend, HERE) if record.id == "a"]
    await backend.begin_reembed(scope=TENANT, space=THIRD)
    await _shadowed(backend, THIRD)
    shadow = late._moving._places(TENANT, "test").shadow
    before = await cloud.emulator.vectors(BUCKET, SHADOW)
    for key, vector in before.items():
        if key.endswith(which):
            flat = {**vector.metadata, "space": ALIKE.id}
            row = {"key": key, "data": {"float32": [0.5] * 16}, "metadata": flat}
            await shadow.put([orjson.dumps(row)])
    assert not await backend.cut_over(scope=TENANT, space=THIRD)
    found = await backend.pending(scope=TENANT, space=THIRD)
    assert ids_of(found.records) == ids_of(page)
    await _shadowed(backend, THIRD)
    assert await backend.cut_over(scope=TENANT, space=THIRD)
    taken = await cloud.emulator.vectors(BUCKET, ACME)
    mine = [v for key, v in taken.items() if key.endswith(("/a", "/a#w1"))]
    assert [v.metadata["space"] for v in mine] == [THIRD.id] * 2


async def test_what_is_pending_of_another_space(cloud: Cloud) -> None:
    """Also before anybody compares: a plan counts it as still to be embedded."""
    backend = await cloud.onboarded()
    await filled(backend, MINE)
    await backend.begin_reembed(scope=TENANT, space=THIRD)
    await _shadowed(backend, THIRD)
    assert (await backend.pending(scope=TENANT, space=THIRD)).records == ()
    shadow = backend._moving._places(TENANT, "test").shadow
    for key, vector in (await cloud.emulator.vectors(BUCKET, SHADOW)).items():
        if key.endswith("/a"):
            flat = {**vector.metadata, "space": ALIKE.id}
            row = {"key": key, "data": {"float32": [0.5] * 16}, "metadata": flat}
            await shadow.put([orjson.dumps(row)])
    assert ids_of((await backend.pending(scope=TENANT, space=THIRD)).records) == ["a"]


async def test_who_is_forgotten_while_a_page_arrives(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was read before, and is put after all looked empty: whoever put it takes it away."""
    backend, other = await cloud.onboarded(), cloud.backend()
    await filled(backend, MINE, EVE)
    await other.begin_reembed(scope=TENANT, space=WIDER)
    send = Index.put
    receipts: list[bool] = []

    async def late(index: Index, vectors: Any) -> None:
        if index.target.index == SHADOW and not receipts:
            receipt = await forget(backend, MINE, batch=100)
            receipts.append(receipt.verified_empty)
        await send(index, vectors)

    monkeypatch.setattr(Index, "put", late)
    await _shadowed(other, WIDER)
    assert receipts == [True]
    for index in (ACME, SHADOW):
        assert not [key for key in await cloud.keys(index) if key.startswith(owner_prefix(MINE))]
    assert await reembed(other) == 0
    assert len(await read_all(other, Reach.whole(EVE, now=None))) == 2


async def test_a_page_that_arrives_during_a_cut_over_is_no_ones_to_delete(
    cloud: Cloud, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The index is made anew and empty: what it lacks was not deleted by anybody."""
    backend, other = await cloud.onboarded(), cloud.backend()
    await filled(backend, MINE, EVE)
    await other.begin_reembed(scope=TENANT, space=WIDER)
    page = await other.pending(scope=TENANT, space=WIDER, limit=100)
    await _shadowed(backend, WIDER)
    send = Index.put
    killed: list[bool] = []

    async def late(index: Index, vectors: Any) -> None:
        await send(index, vectors)
        if index.target.index == SHADOW and not killed:
            killed.append(True)
            await cloud.emulator.inject(operation="PutVectors", status=400, skip=4)
            with pytest.raises(MemlaneError):
                await backend.cut_over(scope=TENANT, space=WIDER)
            await cloud.emulator.clear_faults()

    monkeypatch.setattr(Index, "put", late)
    items = [embedded(record, WIDER) for record in page.records]
    await other.shadow(items, scope=TENANT, space=WIDER)
    assert killed
    assert len(await cloud.keys(ACME)) <= 1
    await reembed(cloud.backend())
    for scope in (MINE, EVE):
        assert len(await read_all(cloud.backend(), Reach.whole(scope, now=None))) == 2


async def test_a_damaged_record_is_named(cloud: Cloud) -> None:
    """It is JSON, and lacks a part: the first comparison says so, and nothing is deleted."""
    backend = await cloud.onboarded()
    for name in ("a", "b"):
        await put(backend, indexed(make_record(name, scope=MINE)))
    index = backend._index(MINE, "test")
    key = next(key for key in await index.keys() if key.endswith("/b"))
    (vector,) = await index.get([key], data=True)
    flat = {**vector["metadata"], "payload": '{"v":1,"tenant":"acme"}'}
    await index.put([orjson.dumps({**vector, "metadata": flat})])
    with pytest.raises(BackendError, match=r"damaged \(such as the record 'b'\)"):
        await reembed(backend)
    assert ACME in (await cloud.emulator.indexes())[BUCKET]
    await index.delete([key])
    assert await reembed(backend) == 0
    assert ids_of(await read_all(backend, HERE)) == ["a"]


async def _operators(cloud: Cloud) -> S3VectorsBackend:
    """Return a backend on an index that an operator made, with settings of their own."""
    await cloud.emulator.create_index(
        BUCKET,
        ACME,
        dimension=SPACE.dimensions,
        metadataConfiguration={
            "nonFilterableMetadataKeys": [*NON_FILTERABLE], "textSearchConfigurations": [TEXTS]
        },
        encryptionConfiguration={"sseType": "AES256"},
        tags={"TenantID": "acme", "CostCenter": "42"},
    )  # fmt: skip
    backend = await cloud.onboarded()
    await put(backend, indexed(make_record("a", scope=MINE)))
    return backend


async def _settings(backend: S3VectorsBackend) -> tuple[Any, ...]:
    maker = backend._moving._places(TENANT, "test").maker
    told = (await maker.call("GetIndex", {}))["index"]
    texts = told["metadataConfiguration"].get("textSearchConfigurations", [])
    return (
        [(each["metadataKey"], each["language"]) for each in texts],
        told["encryptionConfiguration"],
        await maker.tagged(told["indexArn"]),
    )


@pytest.mark.parametrize("killed", [False, True])
async def test_an_operators_settings_stay(cloud: Cloud, killed: bool) -> None:
    """Text search, encryption and tags, also where the old index is gone when it goes on."""
    backend = await _operators(cloud)
    before = await _settings(backend)
    assert before[2] == {"TenantID": "acme", "CostCenter": "42"}
    if killed:
        await cloud.emulator.inject(operation="CreateIndex", status=400, skip=1, times=2)
        with pytest.raises(MemlaneError):
            await reembed(backend)
        await cloud.emulator.clear_faults()
        assert ACME not in (await cloud.emulator.indexes())[BUCKET]
    await reembed(cloud.backend())
    assert await _settings(backend) == before


async def test_settings_that_cannot_be_had(cloud: Cloud, caplog: pytest.LogCaptureFixture) -> None:
    """Tags that may not be listed, and what the service refuses now, cost nobody an index."""
    backend = await _operators(cloud)
    before = await _settings(backend)
    await cloud.emulator.inject(operation="ListTagsForResource", status=403)
    with caplog.at_level(logging.WARNING):
        await reembed(backend)
    assert "tags" in caplog.text
    await cloud.emulator.clear_faults()
    assert await _settings(backend) == (*before[:2], {"TenantID": "acme"})
    await cloud.emulator.inject(operation="CreateIndex", status=403, skip=1, times=1)
    await reembed(backend, THIRD)
    assert await _settings(backend) == ([], before[1], {"TenantID": "acme"})
