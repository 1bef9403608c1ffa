"""What cannot be stored or asked is refused: typed, with a remedy, before anything is paid for."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta, timezone
from typing import Any, TypeAlias

import pytest

from memlane import (
    InvalidCursorError,
    InvalidFilterError,
    MemoryClient,
    NamespaceQuery,
    RetrievalOptions,
    Scope,
    ScopeError,
    ValidationError,
)
from memlane.local import InMemoryBackend
from memlane.testing import CountingBackend, FakeClock, HashingEmbedder

USER = "ada-lovelace"
SECRET = "swordfish"
ADA = Scope(USER, tenant="acme")
NOW = FakeClock().now()

_Call: TypeAlias = Callable[[MemoryClient], Awaitable[object]]


def _store(content: Any = f"{SECRET} text", **fields: Any) -> _Call:
    return lambda client: client.store(content, scope=ADA, **fields)


def _retrieve(query: Any = SECRET, **fields: Any) -> _Call:
    return lambda client: client.retrieve(query, scope=ADA, **fields)


def _update(**fields: Any) -> _Call:
    return lambda client: client.update("there", scope=ADA, **fields)


def _nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth):
        value = {"deeper": value}
    return value


CYCLE: dict[str, Any] = {}
CYCLE["self"] = CYCLE


def _each(
    name: str, values: Iterable[object], make: Callable[[Any], _Call], said: str
) -> dict[str, tuple[_Call, str]]:
    return {f"{name} {value!r}": (make(value), said) for value in values}


def _list(**fields: Any) -> _Call:
    return lambda client: client.list(scope=ADA, **fields)


def _count(**fields: Any) -> _Call:
    return lambda client: client.count(scope=ADA, **fields)


def _many(items: Any) -> _Call:
    return lambda client: client.store_many(items, scope=ADA)


def _get(record_id: Any) -> _Call:
    return lambda client: client.get(record_id, scope=ADA)


def _delete(record_ids: Any) -> _Call:
    return lambda client: client.delete(record_ids, scope=ADA)


def _change(record_id: Any) -> _Call:
    return lambda client: client.update(record_id, scope=ADA, text="x")


def _within(**fields: Any) -> _Call:
    return lambda client: client.context("a", scope=ADA, **fields)


def _subtrees(count: int, **fields: Any) -> RetrievalOptions:
    return RetrievalOptions(
        namespaces=tuple(NamespaceQuery(path=f"/{n}/", **fields) for n in range(count))
    )


LIMITS = (0, -1, 10**9, True, "5", 2.0, None)
IDS = ("", "  ", "x" * 10_000, "\ud800", "a\nb", "a\0b", {"id": 1}, None, 7)
NAIVE = datetime(2026, 1, 1)  # noqa: DTZ001 - that is the point
DISTANT = datetime.max.replace(tzinfo=timezone(timedelta(hours=-12)))

TEXTS: dict[str, tuple[_Call, str]] = {
    "no text": (_store(""), "blank"),
    "blank text": (_store(" \n\t\u3000"), "blank"),
    "bytes for text": (_store(b"swordfish"), "string"),
    "none for text": (_store(None), "string"),
    "ten megabytes": (_store(SECRET * 1_200_000), "split"),
    "wide kilobytes": (_store("\u6211" * 11_000), "split"),
    "lone surrogate": (_store(f"{SECRET} \ud800"), "surrogate"),
    "update to blank": (_update(text=" "), "blank"),
    "update to surrogate": (_update(text="\udfff"), "surrogate"),
    "update of nothing": (_update(), "nothing"),
    "no query": (_retrieve(""), "query"),
    "blank query": (_retrieve("  "), "query"),
    "query of bytes": (_retrieve(b"x"), "string"),
    "query with surrogate": (_retrieve("\ud800"), "surrogate"),
    "query of ten megabytes": (_retrieve("x" * 10_000_000), "query"),
    "a dict for an item": (_many([{"content": "x"}]), "NewMemory"),
    "a text for items": (_many("swordfish"), "NewMemory"),
    "nothing for items": (_many(None), "NewMemory"),
}

BOUNDS: dict[str, tuple[_Call, str]] = {
    **_each("retrieve of", LIMITS, lambda limit: _retrieve(limit=limit), "limit"),
    **_each("list of", LIMITS, lambda limit: _list(limit=limit), "limit"),
    **_each("namespace of", LIMITS, lambda n: _retrieve(options=_subtrees(1, limit=n)), "limit"),
    **_each(
        "similarity of",
        (-0.1, 1.1, float("nan"), float("inf"), "0.5", True),
        lambda edge: _retrieve(min_similarity=edge),
        "min_similarity",
    ),
    **_each(
        "tokens of",
        (0, -5, True, "800", 1.5, None),
        lambda tokens: _within(max_tokens=tokens),
        "max_tokens",
    ),
    **_each("mode of", ("semantic", None, ""), lambda mode: _retrieve(mode=mode), "hybrid"),
    **_each(
        "deadline of",
        ("soon", float("nan"), 0, -1, True),
        lambda d: _retrieve(deadline=d),
        "deadline",
    ),
    "similarity of words": (_retrieve(mode="text", min_similarity=0.5), "min_similarity"),
    "namespace said twice": (_retrieve(namespace="/a/", options=_subtrees(1)), "one of them"),
    "hundred namespaces": (_retrieve(options=_subtrees(100)), "at most"),
    "options of a dict": (_retrieve(options={"include_agents": True}), "RetrievalOptions"),
}

NAMES: dict[str, tuple[_Call, str]] = {
    **_each("get of", IDS, _get, "record_id"),
    **_each("update of", IDS, _change, "record_id"),
    **_each("delete of one", IDS, lambda each: _delete([each]), "record_id"),
    **_each("delete of", (7, None, {"there": 1}), _delete, "id"),
    **_each("store under", ("", "x" * 10_000, {}), lambda i: _store(record_id=i), "record_id"),
    **_each("key of", ("", {}), lambda k: _store(idempotency_key=k), "idempotency_key"),
    "id and key": (_store(record_id="a", idempotency_key="b"), "one of them"),
    **_each("tags of", ("travel", None, 7), lambda tags: _store(tags=tags), "tags"),
    **_each("a tag of", (" ", 1, "t" * 65, "\ud800"), lambda tag: _store(tags=[tag]), "tag"),
    "33 tags": (_store(tags=[f"t{n}" for n in range(33)]), "tags"),
    **_each("kind of", ("a fact", "", None, "K"), lambda kind: _store(kind=kind), "kind"),
    **_each("actor of", ("", {}, "x" * 10_000, "\0"), lambda a: _store(actor=a), "actor"),
    **_each("source of", ("magic", ["app"], None), lambda s: _store(source=s), "source"),
    **_each(
        "namespace of",
        ("a/b", "", "/a//b/", "/a/../b/", f"/{'a' * 300}/", None, "/\ud800/"),
        lambda path: _store(namespace=path),
        "namespace",
    ),
    **_each("retrieve from", ("a", "", 7), lambda path: _retrieve(namespace=path), "namespace"),
    **_each("list below", ("a", "", 7), lambda path: _list(namespace=path), "namespace"),
    **_each("count below", ("a", "", 7), lambda path: _count(namespace=path), "namespace"),
}

METADATA: dict[str, tuple[_Call, str]] = {
    name: (_store(metadata=metadata), said)
    for name, metadata, said in (
        ("33 keys", {f"k{n}": n for n in range(33)}, "32"),
        ("a list", [1], "dict"),
        ("number for a key", {1: "x"}, "key"),
        ("empty key", {"": 1}, "key"),
        ("reserved key", {"@kind": "x"}, "rename"),
        ("operator for a key", {"$eq": "x"}, "rename"),
        ("long key", {"k" * 64: 1}, "shorten"),
        ("control in a key", {"a\nb": 1}, "rename"),
        ("surrogate in a key", {"\ud800": 1}, "surrogate"),
        ("surrogate in a value", {"a": ["\ud800"]}, "surrogate"),
        ("surrogate in a nested key", {"a": {"\ud800": 1}}, "surrogate"),
        ("nan", {"a": float("nan")}, "finite"),
        ("infinity inside", {"a": [float("inf")]}, "finite"),
        ("bytes", {"a": b"x"}, "JSON"),
        ("datetime", {"a": NOW}, "JSON"),
        ("set", {"a": {1}}, "JSON"),
        ("huge integer", {"a": 2**64}, "string"),
        ("number for a nested key", {"a": {1: 2}}, "key"),
        ("too deep", _nested(40), "flatten"),
        ("a cycle", CYCLE, "flatten"),
    )
}

TIMES: dict[str, tuple[_Call, str]] = {
    "naive time": (_store(occurred_at=NAIVE), "time zone"),
    "text for a time": (_store(occurred_at="2026-01-01"), "datetime"),
    "time beyond the calendar": (_store(occurred_at=DISTANT), "9999"),
    "naive expiry": (_store(expires_at=NAIVE.replace(year=2036)), "time zone"),
    "expired already": (_store(expires_at=NOW), "passed"),
    "no ttl": (_store(ttl=timedelta(0)), "ttl"),
    "negative ttl": (_store(ttl=timedelta(seconds=-1)), "ttl"),
    "ttl beyond the calendar": (_store(ttl=timedelta(days=3_650_000)), "9999"),
    "ttl of a number": (_store(ttl=3600), "timedelta"),
    "ttl and expiry": (
        _store(ttl=timedelta(days=1), expires_at=NOW + timedelta(days=1)), "one of them",
    ),
    "update to expired": (_update(expires_at=NOW), "passed"),
    "update to naive": (_update(occurred_at=NAIVE), "time zone"),
}  # fmt: skip

FILTERS: dict[str, tuple[_Call, str]] = _each(
    "filter",
    (
        {}, {"a": 1, "b": 2}, {"a": {"$like": "x"}}, {"a": {}}, {"a": None}, {"a": [1]},
        {"$not": {"a": 1}}, {"$and": []}, {"$or": [{}]}, {"a": {"$gt": "x"}},
        {"a": {"$gt": True}}, {"a": {"$in": []}}, {"a": {"$in": "x"}}, {"a": {"$in": [None]}},
        {"a": {"$exists": 1}}, {"a": {"$startsWith": 1}}, {"a": float("nan")}, {"": 1},
        {"@unknown": 1}, {"a": {"$and": [{"b": 1}]}}, "a = 1", ["a"], 7,
        {"a": {"$in": [*range(101)]}}, {"@occurred_at": NAIVE},
    ),
    lambda given: _list(filter=given),
    "",
)  # fmt: skip
FILTERS |= {
    "filter of retrieve": (_retrieve(filter={"a": {"$like": "x"}}), "$like"),
    "filter of count": (_count(filter={"a": {"$like": "x"}}), "$like"),
    "filter of context": (_within(max_tokens=9, filter={"a": {"$like": "x"}}), "$like"),
}

CURSORS = _each(
    "cursor",
    ("", "x", "\ud800", "%%%", "AAAA", "=", 7, b"x", "a" * 10_000),
    lambda given: _list(cursor=given),
    "cursor",
)

BAD = {
    name: (call, kind, said)
    for kind, table in (
        (ValidationError, TEXTS | BOUNDS | METADATA | TIMES),
        (ValidationError, NAMES),
        (InvalidFilterError, FILTERS),
        (InvalidCursorError, CURSORS),
    )
    for name, (call, said) in table.items()
}


@pytest.mark.parametrize("case", BAD, ids=lambda case: case[:60])
async def test_bad_input_is_refused(case: str, clock: FakeClock) -> None:
    """The error has the right type, says what to do, tells no secret; nothing is stored or paid."""
    call, kind, said = BAD[case]
    backend, embedder = CountingBackend(InMemoryBackend()), HashingEmbedder()
    client = MemoryClient(backend=backend, embedder=embedder, clock=clock)
    await client.store("there already", scope=ADA, record_id="there")
    before = (await client.list(scope=ADA)).items
    paid = embedder.calls
    backend.calls.clear()
    with pytest.raises(kind) as caught:
        await call(client)
    error, text = caught.value, str(caught.value)
    assert isinstance(error, ValidationError | ValueError)
    assert said in text
    assert error.remedy
    assert error.operation
    assert error.scope == ADA
    for hidden in (USER, SECRET):
        assert hidden not in text
    assert len(text) < 500
    assert embedder.calls == paid
    assert backend.calls["upsert"] == backend.calls["delete"] == backend.calls["query"] == 0
    assert (await client.list(scope=ADA)).items == before


@pytest.mark.parametrize("name", ["user", "tenant", "agent", "session"])
@pytest.mark.parametrize(
    "value",
    ["", "  ", "x" * 10_000, "\ud800", "a\0b", "a\nb", {"id": 1}, 7, b"ada", ["ada"], True],
    ids=repr,
)
def test_bad_ids_of_a_scope(name: str, value: object) -> None:
    """A scope is made of printable, short texts; the error says which part is not."""
    given: dict[str, Any] = {"user": "ada", name: value}
    with pytest.raises(ScopeError, match=name) as caught:
        Scope(**given)
    assert caught.value.remedy
    assert len(str(caught.value)) < 300
