"""What a row tells of where its vector points: nearly the truth, in little room, if asked."""

from __future__ import annotations

import numpy as np
import pytest

from core.aws.s3vectors.opened import MINE, OLDER, Cloud, cloud
from memlane import columns
from memlane.aws.s3vectors.description import Description
from memlane.aws.s3vectors.records import encoded
from memlane.aws.s3vectors.rows import is_kept, pack, packed_chars, sketch_in, unpack
from memlane.aws.s3vectors.sketches import COMPONENTS, directions_from, sketch_of
from memlane.metadata import NON_FILTERABLE
from memlane.protocols import IndexedRecord, Vector
from memlane.scope import Reach
from memlane.testing.samples import (
    NOW,
    directions,
    indexed,
    make_record,
    put,
    query_for,
    unit,
    words,
)

__all__ = ("cloud",)

HERE = Reach.point(MINE, now=NOW)


def _near(count: int, dimensions: int) -> Vector:
    """Return vectors in pairs that are alike."""
    rows = directions(count, dimensions=dimensions)
    noise = directions(count, seed=3, dimensions=dimensions)
    both = np.concatenate([rows, rows + 0.6 * noise])
    found: Vector = (both / np.linalg.norm(both, axis=1, keepdims=True)).astype(np.float32)
    return found


def _error(vectors: Vector) -> Vector:
    told = directions_from(lambda row: sketch_of(vectors[row]))(range(len(vectors)))
    assert told.dtype == np.float32
    assert np.allclose(np.linalg.norm(told, axis=1), 1, atol=1e-5)
    unit_rows = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Vector = np.abs(told @ told.T - unit_rows @ unit_rows.T)
    return found


@pytest.mark.parametrize("dimensions", [3, 16, 64, 128])
def test_small_vectors_are_told_nearly_exactly(dimensions: int) -> None:
    """Whatever their length: they are kept as a whole."""
    vectors = _near(40, dimensions)
    for scale in (1, 1e-12, 1e12):
        assert _error((vectors * scale).astype(np.float32)).max() < 0.02


@pytest.mark.parametrize("dimensions", [384, 1024])
def test_large_vectors_are_told_nearly(dimensions: int) -> None:
    """From their first 128 components: alike ones better than others."""
    vectors = _near(200, dimensions)
    error = _error(vectors)
    pairs = error[np.arange(200), np.arange(200) + 200]
    assert pairs.mean() < 0.03
    assert error.mean() < 0.08


def test_any_length_has_a_direction() -> None:
    """Numbers whose squares no float32 holds, too large and too small."""
    plain = sketch_of(np.ones(16, dtype=np.float32))
    for length in (3e38, 1e-44):
        assert sketch_of(np.full(16, length, dtype=np.float32)) == plain


def test_what_says_nothing_has_no_direction() -> None:
    """Zeros where the sketch looks, and rows that have none."""
    far = np.zeros(300, dtype=np.float32)
    far[200] = 1.0
    assert sketch_of(far) == b""
    sketches = [b"", sketch_of(unit(3)), b""]
    told = directions_from(sketches.__getitem__)([2, 1, 0, 1])
    assert told.shape == (4, 16)
    assert told.any(axis=1).tolist() == [False, True, False, True]
    assert directions_from(lambda _: b"")([0, 1]).shape == (2, 0)
    assert directions_from(lambda _: b"")([]).shape[0] == 0


def test_rows_carry_sketches_beside_terms() -> None:
    """Both come back; rows that were packed before there were sketches are read as ever."""
    sketch = sketch_of(directions(1, dimensions=512)[0])
    assert len(sketch) == COMPONENTS
    for terms in (words(), words(1, 2, 2**32 - 1)):
        row = pack(7, 1, 9, 3, terms, sketch=sketch, kept=True)
        assert len(row) == packed_chars(len(terms), sketch=COMPONENTS)
        assert unpack(row)[:4] == (7, 1, 9, 3)
        assert unpack(row).terms == terms.tobytes()
        assert (sketch_in(row), is_kept(row)) == (sketch, True)
        old = pack(7, 1, 9, 3, terms)
        assert unpack(old) == unpack(row)
        assert (sketch_in(old), is_kept(old)) == (b"", False)


def test_sketches_take_only_room_there_is() -> None:
    """Terms come first; where a row is filterable, and so paid for, there is no sketch."""
    ours = Description(16, "cosine", frozenset(NON_FILTERABLE), is_enhanced=True)
    older = Description(16, "cosine", frozenset(OLDER), is_enhanced=True)
    short = indexed(make_record("a", scope=MINE), terms=[words(*range(4))])
    assert len(sketch_in(_row(short, ours))) == 16
    assert sketch_in(_row(short, older)) == b""
    record = make_record("a", "x" * 32_000, scope=MINE)
    count, row = 1_500, ""
    while True:  # until there is no room for the terms
        count += 1
        last, row = row, _row(indexed(record, terms=[words(*range(count))]), ours)
        if unpack(row).terms is None:
            break
    assert sketch_in(last) == b""
    assert unpack(last).terms == words(*range(count - 1)).tobytes()
    few = _row(indexed(record, terms=[words(*range(count - 50))]), ours)
    assert len(sketch_in(few)) == 16


def _row(item: IndexedRecord, description: Description) -> str:
    (raw,) = encoded(item, key="k", first=1, description=description, shared=False)
    return raw.decode().partition('"row":"')[2].partition('"')[0]


async def test_answers_tell_directions(cloud: Cloud) -> None:
    """Of whole texts and windows, in whichever order they are asked for."""
    backend = await cloud.onboarded()
    vectors = directions(5)
    await put(
        backend,
        indexed(make_record("a", "x" * 40, scope=MINE), *vectors[:3]),
        indexed(make_record("b", scope=MINE), vectors[3]),
        indexed(make_record("c", scope=MINE), vectors[4]),
    )
    found = await backend.query(query_for(unit(0)), reach=HERE)
    assert found.directions is not None
    told = found.directions(range(len(found)))
    wanted = vectors[[0, 1, 2, 3, 4]]
    assert list(found.record_ids) == ["a", "a", "a", "b", "c"]
    assert np.abs(told @ told.T - wanted @ wanted.T).max() < 0.02
    again = found.directions([4, 0])
    assert np.array_equal(again, told[[4, 0]])
    narrow = await backend.query(query_for(vectors[4], limit=1), reach=HERE)
    both = columns.merged(narrow, found)
    assert both.directions is not None
    assert len(both.directions(range(len(both)))) == len(both)
    texts = await backend.query(query_for(None, terms=words(1)), reach=HERE)
    assert texts.directions is not None
    assert texts.directions([0]).any()
