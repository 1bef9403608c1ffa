"""Operations on the vectors of an index, queries apart."""

from __future__ import annotations

from typing import Any, Final, cast

from memlane.testing.emulator.s3vectors.members import (
    Members,
    flag,
    needed,
    number,
    objects,
    page_size,
    text,
    texts,
)
from memlane.testing.emulator.s3vectors.pages import place_of, token_of
from memlane.testing.emulator.s3vectors.records import checked
from memlane.testing.emulator.s3vectors.refusals import invalid
from memlane.testing.emulator.s3vectors.resources import Index, Wanted
from memlane.testing.emulator.s3vectors.table import Table, shuffled
from memlane.testing.emulator.s3vectors.world import World

__all__ = ("delete_vectors", "get_vectors", "list_vectors", "put_vectors")

PAGE_BYTES: Final = 1_000_000  # "1 MB processed" [D]; whether 10**6 or 2**20 is unknown [?]
_MARKS: Final = 2**32


def put_vectors(world: World, wanted: Wanted, body: Members) -> dict[str, Any]:
    """Store vectors: all of them, or none when one is refused."""
    index = world.account.index(wanted)
    vectors = needed(objects(body, "vectors", least=1, most=500), "vectors")
    _take(world, index, len(vectors))
    puts = checked(
        vectors,
        dimension=index.dimension,
        cosine=index.metric == "cosine",
        zeros=world.switches.zero_euclidean,
        hidden=frozenset(index.hidden),
    )
    if world.switches.duplicate_keys == "refused" and len({put.key for put in puts}) < len(puts):
        raise invalid("Duplicate keys are not allowed in a request", "vectors")
    index.table.put(puts)
    world.counting.vectors_put += len(puts)
    return {}


def _take(world: World, index: Index, vectors: int) -> None:
    if world.switches.rates:
        world.rates.take(index.arn, vectors)


def _vector(table: Table, row: int, *, data: bool, metadata: bool) -> dict[str, Any]:
    told: dict[str, Any] = {"key": table.keys[row]}
    if data:
        told["data"] = {"float32": table.vector(row)}
    if metadata and table.metadata[row]:
        told["metadata"] = table.metadata[row]
    return told


def get_vectors(world: World, wanted: Wanted, body: Members) -> dict[str, Any]:
    """Return vectors by key: absent ones left out, and in an order of its own [E]."""
    table = world.account.index(wanted).table
    keys = needed(texts(body, "keys", least=1, most=100, longest=1024), "keys")
    data, metadata = flag(body, "returnData"), flag(body, "returnMetadata")
    rows = [table.row(key) for key in sorted(set(keys), key=shuffled)]
    return {
        "vectors": [
            _vector(table, row, data=data, metadata=metadata) for row in rows if row is not None
        ]
    }


def delete_vectors(world: World, wanted: Wanted, body: Members) -> dict[str, Any]:
    """Remove vectors by key; absent ones are no error [E]."""
    index = world.account.index(wanted)
    keys = needed(texts(body, "keys", least=1, most=500, longest=1024), "keys")
    _take(world, index, len(keys))
    index.table.delete(keys)
    world.counting.vectors_deleted += len(keys)
    return {}


def _segment(body: Members) -> tuple[int, int, tuple[int, int]]:
    count = number(body, "segmentCount", least=1, most=16)
    place = number(body, "segmentIndex", least=0, most=15)
    if (count is None) is not (place is None):
        raise invalid("segmentCount and segmentIndex must be specified together")
    count, place = count or 1, place or 0
    if place >= count:
        raise invalid("segmentIndex must be less than segmentCount")
    return _MARKS * place // count, _MARKS * (place + 1) // count, (count, place)


def list_vectors(world: World, wanted: Wanted, body: Members) -> dict[str, Any]:
    """Return a page of vectors, in an order that says nothing [B]."""
    index = world.account.index(wanted)
    table = index.table
    size = page_size(body, default=500, most=1000)
    start, stop, segment = _segment(body)
    place = place_of(text(body, "nextToken", most=2048), int, str, int, int)
    if place is not None and place[2:] != segment:
        raise invalid("Invalid nextToken", "nextToken")  # it is another segment's
    after = cast("tuple[int, str] | None", place[:2] if place else None)
    found = table.after(after, start, stop, size + 1)
    data, metadata = flag(body, "returnData"), flag(body, "returnMetadata")
    stored = world.switches.list_counts == "stored" or (data and metadata)
    vectors: list[dict[str, Any]] = []
    weight = 0
    for _, key in found[:size]:
        row = cast("int", table.row(key))
        if stored:
            weight += table.weights[row]
        else:
            weight += len(key.encode())
            weight += 4 * index.dimension if data else 0
            weight += table.weights[row] - 4 * index.dimension if metadata else 0
        vectors.append(_vector(table, row, data=data, metadata=metadata))
        if weight >= PAGE_BYTES:
            break
    answer: dict[str, Any] = {"vectors": vectors}
    if len(vectors) < len(found):
        answer["nextToken"] = token_of(*found[len(vectors) - 1], *segment)
    return answer
