"""As many records as are wanted, whatever crowds them out; and one request where nothing does."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from core.aws.s3vectors.opened import ACME, BUCKET, MINE, OLDER, Cloud, cloud
from memlane import MemoryClient, NewMemory, RetrievalOptions
from memlane.aws.s3vectors import S3VectorsBackend
from memlane.filters import Filter
from memlane.local.memory import InMemoryBackend
from memlane.protocols import Vector
from memlane.scope import Reach
from memlane.testing import HashingEmbedder
from memlane.testing.samples import (
    NOW,
    SPACE,
    directions,
    indexed,
    make_record,
    put,
    query_for,
    unit,
)

__all__ = ("cloud",)

HERE = Reach.point(MINE, now=NOW)


def _beside(count: int) -> list[Vector]:
    return [(one + 4 * unit(0)).astype(np.float32) for one in directions(count)]


async def _fill(backend: S3VectorsBackend, *, windows: int, others: int = 20) -> None:
    """Store one record of many near windows, and others that are a little farther."""
    crowd = indexed(
        make_record("crowd", "x" * windows, scope=MINE, actor="a0"), *[unit(0)] * windows
    )
    await put(backend, crowd)
    await put(
        backend,
        *(
            indexed(make_record(f"r{n:02}", scope=MINE, actor="a1"), one)
            for n, one in enumerate(_beside(others))
        ),
    )


def _asked(limit: int, records: int, **more: Any) -> Any:
    return replace(query_for(unit(0), limit=limit, **more), records=records)


@pytest.mark.parametrize(("limit", "records"), [(5, 5), (10, 10), (20, 12), (100, 21), (100, 3)])
@pytest.mark.parametrize("windows", [9, 430])
async def test_one_long_text_crowds_nothing_out(
    cloud: Cloud, limit: int, records: int, windows: int
) -> None:
    """Its windows fill what is asked for; the others are looked for beyond them, and found."""
    backend = await cloud.onboarded()
    await _fill(backend, windows=windows)
    found = await backend.query(_asked(limit, records), reach=HERE)
    assert len(set(found.record_ids)) >= records
    assert "crowd" in found.record_ids


async def test_the_nearest_window_counts_where_that_is_cheap(cloud: Cloud) -> None:
    """Some rows more are asked for before whole texts alone are."""
    backend = await cloud.onboarded()
    second = (unit(1) + 30 * unit(0)).astype(np.float32)
    far = indexed(make_record("far", "x" * 99, scope=MINE), -unit(0), second)
    await put(backend, far)
    await _fill(backend, windows=9)
    found = await backend.query(_asked(6, 6), reach=HERE)
    assert "far" in found.record_ids


async def test_what_crowds_nothing_costs_one_request(cloud: Cloud) -> None:
    """So many rows of so many records; fewer rows than asked for; and nobody needs more."""
    backend = await cloud.onboarded()
    await _fill(backend, windows=9, others=12)
    await cloud.asked()
    far = replace(_asked(12, 12), vector=-unit(0))
    for query in (far, _asked(100, 50), _asked(30, 30), _asked(9, 1), _asked(9, 0)):
        await backend.query(query, reach=HERE)
        assert await cloud.asked() == {"QueryVectors": 1}


async def test_a_crowd_costs_two_requests(cloud: Cloud) -> None:
    """Where four hundred rows are of one record, the next question is for whole texts."""
    backend = await cloud.onboarded()
    await _fill(backend, windows=430)
    await cloud.asked()
    assert len(set((await backend.query(_asked(100, 10), reach=HERE)).record_ids)) == 21
    assert await cloud.asked() == {"QueryVectors": 5}  # four pages, and one for the whole texts


async def test_a_filter_that_leaves_no_room_is_asked_without(cloud: Cloud) -> None:
    """Then all rows are asked for: what is found does not depend on what else is compared."""
    backend = await cloud.onboarded()
    await _fill(backend, windows=430)
    many = Filter.or_(*(Filter.starts_with("@actor", f"a{n}") for n in range(47)))
    found = await backend.query(_asked(10, 10, condition=many), reach=HERE)
    assert len(set(found.record_ids)) >= 10


@pytest.mark.parametrize(
    "condition",
    [Filter.ne("n", 4), Filter.gt("n", 4), Filter.nin("n", [4, 0.5]), Filter.lt("n", 4)],
)
async def test_what_equals_a_bound_crowds_nothing_out(cloud: Cloud, condition: Filter) -> None:
    """It is let through, since float32 tells it from nothing beside it; the rest is asked for."""
    backend = await cloud.onboarded()
    near = [
        indexed(make_record(f"n{n:03}", scope=MINE, metadata={"n": 4}), unit(0)) for n in range(420)
    ]
    far = [
        indexed(make_record(f"f{n}", scope=MINE, metadata={"n": n}), one)
        for n, one in zip((3, 5, 3.5, 4.5), _beside(4), strict=True)
    ]
    await put(backend, *near, *far)
    await cloud.asked()
    for limit in (2, 100):
        found = await backend.query(_asked(limit, 2, condition=condition), reach=HERE)
        assert len(found) >= 2
        assert set(found.record_ids) <= {"f3", "f5", "f3.5", "f4.5"}
        assert await cloud.asked() == {"QueryVectors": 2}


async def test_as_many_records_as_the_answer_needs(cloud: Cloud) -> None:
    """A first page of fifty records is not enough for who wants eighty."""
    backend = await cloud.onboarded()
    await put(
        backend,
        *(
            indexed(make_record(f"r{n:02}", "xx", scope=MINE), one, one)
            for n, one in enumerate(_beside(90))
        ),
    )
    found = await backend.query(_asked(100, 80), reach=HERE)
    assert len(set(found.record_ids)) >= 80


async def test_numbers_next_to_a_bound_are_found(cloud: Cloud) -> None:
    """Also where the service compares in float32, which takes them for the bound."""
    await cloud.emulator.switch(numbers="float32")
    backend = await cloud.onboarded()
    metadata: dict[str, Any] = {"x": 0.1 + 1e-12, "y": [0.5 + 1e-12, 3]}
    await put(backend, indexed(make_record("a", scope=MINE, metadata=metadata), unit(0)))
    for condition in (
        Filter.gt("x", 0.1),
        Filter.lt("x", 0.1 + 2e-12),
        Filter.ne("x", 0.1),
        Filter.nin("y", [0.5]),
    ):
        found = await backend.query(_asked(5, 5, condition=condition), reach=HERE)
        assert list(found.record_ids) == ["a"]


async def test_an_older_index_is_asked_for_whole_texts_too(cloud: Cloud) -> None:
    """Theirs have no number, and are whole."""
    await cloud.emulator.create_index(BUCKET, ACME, dimension=SPACE.dimensions, hidden=OLDER)
    backend = cloud.backend()
    await backend.ensure_index(scope=MINE, space=SPACE)
    theirs = {
        "key": "m1", "data": {"float32": _beside(1)[0].tolist()},
        "metadata": {"user_id": "ada", "agent_name": "default", "content": "likes tea"},
    }  # fmt: skip
    await backend._index(MINE, "test").call("PutVectors", {"vectors": [theirs]})
    await _fill(backend, windows=430, others=3)
    found = await backend.query(_asked(5, 5), reach=HERE)
    assert {*found.record_ids} == {"crowd", "m1", "r00", "r01", "r02"}


@pytest.mark.parametrize("limit", [10, 80])
async def test_a_client_gets_its_limit(cloud: Cloud, limit: int) -> None:
    """As many as a store that looks at everything finds."""
    embedder = HashingEmbedder()
    long = "The lighthouse keeper paints a red boat. " * 40
    texts = [NewMemory(content=f"{long} number {n}") for n in range(12)]
    texts += [NewMemory(content=f"A red boat, and cat number {n}") for n in range(80)]
    counts: list[int] = []
    backends = (cloud.backend(auto_onboard=True), InMemoryBackend())
    for backend in backends:
        async with MemoryClient(backend=backend, embedder=embedder) as client:
            await client.store_many(texts, scope=MINE)
            for candidates in (None, limit):
                matches = await client.retrieve(
                    "The lighthouse keeper paints a red boat",
                    scope=MINE,
                    limit=limit,
                    mode="vector",
                    options=RetrievalOptions(candidates=candidates),
                )
                counts.append(len(matches))
    assert counts == [limit] * 4
