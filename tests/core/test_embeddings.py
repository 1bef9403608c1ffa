"""A model's quirks stop here: batches, windows, bad vectors, and whose question is remembered."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator, Sequence

import anyio
import anyio.lowlevel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane.embeddings import Embeddings, VectorCache, check_vectors
from memlane.errors import BackendError, EmbeddingSpaceError
from memlane.marks import marked_terms
from memlane.protocols import EmbeddingSpace, Purpose, Vector
from memlane.runtime import WorkerThreads
from memlane.scope import Scope
from memlane.testing import HashingEmbedder

QUICK = settings(deadline=None, max_examples=60)
SPACE = EmbeddingSpace(model="test", dimensions=4)
ADA = Scope("ada", tenant="acme")


def _row(number: float) -> Vector:
    return np.full(4, number, dtype=np.float32)


@pytest.fixture(scope="module")
def workers() -> Iterator[WorkerThreads]:
    """Threads to cut long texts on."""
    threads = WorkerThreads("cutting-in-test", 1)
    yield threads
    threads.close()


class Recorder(HashingEmbedder):
    """Remembers what it was asked; a little vector per text, in order."""

    def __init__(self, *, max_batch: int = 3, max_chars: int = 200) -> None:
        super().__init__(4, max_batch=max_batch, max_chars=max_chars)
        self.asked: list[tuple[str, tuple[str, ...]]] = []

    async def embed(self, inputs: Sequence[str], *, purpose: Purpose) -> Vector:
        self.asked.append((purpose, tuple(inputs)))
        return await super().embed(inputs, purpose=purpose)


def _embeddings(embedder: HashingEmbedder, workers: WorkerThreads, size: int = 64) -> Embeddings:
    return Embeddings(embedder, workers=workers, cached_queries=size)


sentences = st.lists(
    st.sampled_from([
        "The cat sat on the mat. ",
        "Who knows? ",
        "\u5f7c\u5973\u306f\u732b\u304c\u597d\u304d\u3067\u3059\u3002",
        "averyveryverylongwordwithoutanyspace" * 9,
        "\n\n",
        "   ",
        "\U0001f916",
    ]),
    max_size=80,
).map("".join)  # fmt: skip


@QUICK
@given(st.lists(sentences, min_size=1, max_size=6), st.integers(1, 5), st.integers(20, 400))
async def test_no_call_is_larger_than_the_model_takes(
    workers: WorkerThreads, texts: list[str], max_batch: int, max_chars: int
) -> None:
    """Batches and texts keep the model's bounds, and each part gets the vector of its own text."""
    embedder = Recorder(max_batch=max_batch, max_chars=max_chars)
    parts = await _embeddings(embedder, workers).document_parts(texts)
    assert all(len(batch) <= max_batch for _, batch in embedder.asked)
    assert all(len(text) <= max_chars for _, batch in embedder.asked for text in batch)
    assert {purpose for purpose, _ in embedder.asked} == {"document"}
    assert len(parts) == len(texts)
    alone = HashingEmbedder(4, max_chars=10**6)
    for text, mine in zip(texts, parts, strict=True):
        assert (mine[0].start, mine[0].end) == (0, len(text))
        for part in mine[1:]:
            piece = text[part.start : part.end]
            assert 0 < len(piece) <= max_chars
            assert piece.strip() == piece
            assert np.array_equal(part.terms, marked_terms(piece))
            assert np.array_equal(part.vector, (await alone.embed([piece], purpose="document"))[0])
        assert np.array_equal(mine[0].terms, marked_terms(text))


async def test_long_texts_have_windows(workers: WorkerThreads) -> None:
    """A long text is the whole and its windows, which hold every word; a short one is itself."""
    text = " ".join(f"Sentence number {n} says something of its own." for n in range(40))
    long, short = await _embeddings(Recorder(), workers).document_parts([text, "Short."])
    assert len(short) == 1
    assert len(long) > 5
    seen = set().union(*(range(part.start, part.end) for part in long[1:]))
    assert all(at in seen for at, char in enumerate(text) if not char.isspace())


async def test_a_query_is_asked_as_a_query(workers: WorkerThreads) -> None:
    """The purpose is told to models that treat it differently, and long queries are clipped."""
    embedder = Recorder()
    vector = await _embeddings(embedder, workers).query_vector("why? " * 100, scope=ADA)
    assert vector.shape == (4,)
    assert embedder.asked[0][0] == "query"
    assert len(embedder.asked[0][1][0]) <= embedder.max_chars


BAD: dict[str, object] = {
    "too few": [[1, 0, 0, 0]],
    "too many": [[1, 0, 0, 0]] * 3,
    "too narrow": [[1, 0, 0]] * 2,
    "too wide": [[1, 0, 0, 0, 0]] * 2,
    "flat": [1, 0, 0, 0],
    "nested": [[[1, 0, 0, 0]] * 2],
    "ragged": [[1, 0, 0, 0], [1, 0]],
    "nothing": None,
    "empty": [],
    "words": [["a"] * 4] * 2,
    "NaN": [[1, 0, 0, 0], [1, float("nan"), 0, 0]],
    "infinite": [[1, 0, 0, 0], [1, float("inf"), 0, 0]],
    "infinite in float32": np.array([[1, 0, 0, 0], [1e300, 0, 0, 0]]),
    "zero": [[1, 0, 0, 0], [0, 0, 0, 0]],
    "zero in float32": np.array([[1, 0, 0, 0], [1e-46, 0, 0, 0]]),
}


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD.keys())
def test_vectors_without_a_direction_are_refused(bad: object) -> None:
    """Another shape, NaN, infinity and zero are one error, also after rounding to float32."""
    with pytest.raises(EmbeddingSpaceError, match="embedder answered"):
        check_vectors(bad, count=2, space=SPACE)  # type: ignore[arg-type] # what a model may do


@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int64", "list", ">f4", "F"])
def test_vectors_of_any_number_become_float32(kind: str) -> None:
    """Doubles, halves, integers, other byte orders and lists are taken for what they say."""
    given_rows: object = [[1, 0, 2, 0]]
    if kind == "F":
        given_rows = np.asfortranarray(np.array([[1, 0, 2, 0]], dtype=np.float32))
    elif kind != "list":
        given_rows = np.array(given_rows, dtype=kind)
    found = check_vectors(given_rows, count=1, space=SPACE)  # type: ignore[arg-type] # see above
    assert found.dtype == np.float32
    assert found.dtype.isnative
    assert found.tolist() == [[1, 0, 2, 0]]


class Reusing(HashingEmbedder):
    """A model that answers in the same buffer each time, as native runtimes do."""

    def __init__(self) -> None:
        super().__init__(4, max_batch=1)
        self._buffer = np.zeros((1, 4), dtype=np.float32)

    async def embed(self, inputs: Sequence[str], *, purpose: Purpose) -> Vector:
        self._buffer[:] = await super().embed(inputs, purpose=purpose)
        return self._buffer


async def test_a_model_may_use_its_buffer_again(workers: WorkerThreads) -> None:
    """Vectors that were answered do not change with the next call, cached ones neither."""
    embeddings = _embeddings(Reusing(), workers)
    expected = await HashingEmbedder(4).embed(["one", "two", "three"], purpose="query")
    found = [await embeddings.query_vector(text, scope=ADA) for text in ("one", "two", "three")]
    again = await embeddings.query_vector("one", scope=ADA)
    parts = await embeddings.document_parts(["one", "two", "three"])
    assert np.array_equal(np.stack(found), expected)
    assert np.array_equal(again, expected[0])
    assert np.array_equal(np.stack([part[0].vector for part in parts]), expected)


class Gated(HashingEmbedder):
    """Waits at a gate, so that a test decides who is there at once."""

    def __init__(self, *, failing: bool = False) -> None:
        super().__init__()
        self.gate = anyio.Event()
        self.entered = anyio.Event()
        self.failing = failing

    async def embed(self, inputs: Sequence[str], *, purpose: Purpose) -> Vector:
        self.entered.set()
        await self.gate.wait()
        if self.failing:
            self.calls += 1
            raise RuntimeError("the model is gone")
        return await super().embed(inputs, purpose=purpose)


async def _settle() -> None:
    for _ in range(20):
        await anyio.lowlevel.checkpoint()


async def test_the_same_query_at_once_is_embedded_once(workers: WorkerThreads) -> None:
    """Ten callers of one user share one call; another user's same words are a call of his own."""
    embedder = Gated()
    embeddings = _embeddings(embedder, workers)
    found: list[Vector] = []

    async def ask(scope: Scope) -> None:
        found.append(await embeddings.query_vector("where is my hat", scope=scope))

    async with anyio.create_task_group() as tasks:
        for _ in range(10):
            tasks.start_soon(ask, ADA)
        tasks.start_soon(ask, Scope("eve", tenant="acme"))
        tasks.start_soon(ask, Scope("ada", tenant="other"))
        await embedder.entered.wait()
        await _settle()
        embedder.gate.set()
    assert len(found) == 12
    assert all(np.array_equal(each, found[0]) for each in found)
    assert embedder.calls == 3
    await embeddings.query_vector("where is my hat", scope=ADA)
    assert embedder.calls == 3


async def test_a_caller_who_gives_up_takes_nobody_along(workers: WorkerThreads) -> None:
    """When the one who asked first is cancelled, the one who waited asks himself."""
    embedder = Gated()
    embeddings = _embeddings(embedder, workers)
    found: list[Vector] = []

    async def ask(cancel: anyio.CancelScope) -> None:
        with cancel:
            found.append(await embeddings.query_vector("where", scope=ADA))

    first, second = anyio.CancelScope(), anyio.CancelScope()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(ask, first)
        await embedder.entered.wait()
        tasks.start_soon(ask, second)
        await _settle()
        first.cancel()
        await _settle()
        embedder.gate.set()
    assert len(found) == 1


async def test_failures_are_not_remembered(workers: WorkerThreads) -> None:
    """A model that fails once is asked again."""
    embedder = Gated(failing=True)
    embedder.gate.set()
    embeddings = _embeddings(embedder, workers)
    with pytest.raises(BackendError, match="RuntimeError"):
        await embeddings.query_vector("where", scope=ADA)
    embedder.failing = False
    assert (await embeddings.query_vector("where", scope=ADA)).any()


async def test_forgetting_a_user_makes_the_model_answer_again(workers: WorkerThreads) -> None:
    """What was cached of one user is gone; his neighbour's is still there."""
    embedder = HashingEmbedder()
    embeddings = _embeddings(embedder, workers)
    eve = Scope("eve", tenant="acme")
    for scope in (ADA, eve):
        await embeddings.query_vector("where", scope=scope)
    embeddings.forget(Scope("ada", tenant="acme", agent="any", session="any"))
    await embeddings.query_vector("where", scope=eve)
    assert embedder.calls == 2
    await embeddings.query_vector("where", scope=ADA)
    assert embedder.calls == 3


puts = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d", "e", "f", None]),
        st.sampled_from(["u1", "u2"]),
        st.integers(0, 30),
    ),
    max_size=150,
)


@QUICK
@given(puts, st.integers(0, 24))
def test_the_cache_is_bounded(calls: list[tuple[str | None, str, int]], size: int) -> None:
    """Never more than `size` in all, nor more than a quarter of it (or one) of a tenant."""
    cache = VectorCache(size)
    last: dict[tuple[str | None, str, int], Vector] = {}
    for at, (tenant, user, number) in enumerate(calls):
        scope = Scope(user, tenant=tenant)
        key = cache.key(scope, str(number), "s")
        cache.put(scope, key, last.setdefault((tenant, user, number), _row(at)))
        assert len(cache) <= size
        if size:
            assert cache.get(scope, key) is last[tenant, user, number]
    held = [
        (tenant, user, number)
        for tenant, user, number in last
        if cache.get(Scope(user, tenant=tenant), cache.key(
            Scope(user, tenant=tenant), str(number), "s")) is not None
    ]  # fmt: skip
    assert len(held) == len(cache)
    for tenant in {tenant for tenant, _, _ in held}:
        assert sum(1 for each in held if each[0] == tenant) <= max(1, size // 4)


def test_a_flood_of_one_tenant_leaves_the_others_their_vectors() -> None:
    """A thousand questions of one tenant cost the others at most a quarter of the whole."""
    cache = VectorCache(40)
    quiet = [Scope("u", tenant=f"quiet{n}") for n in range(4)]
    for scope in quiet:
        for number in range(10):
            cache.put(scope, cache.key(scope, str(number), "s"), _row(number))
    loud = Scope("u", tenant="loud")
    for number in range(1_000):
        cache.put(loud, cache.key(loud, str(number), "s"), _row(1))
    held = [
        sum(cache.get(scope, cache.key(scope, str(n), "s")) is not None for n in range(10))
        for scope in quiet
    ]
    assert sum(held) == 30
    assert len(cache) == 40


def test_what_was_used_last_stays_longest() -> None:
    """Reading a vector keeps it; the one nobody asked for goes."""
    cache = VectorCache(8)
    one, two, three = (cache.key(ADA, text, "s") for text in ("1", "2", "3"))
    for key in (one, two):
        cache.put(ADA, key, _row(1))
    cache.get(ADA, one)
    cache.put(ADA, three, _row(3))
    assert cache.get(ADA, two) is None
    assert cache.get(ADA, one) is not None


def test_forgetting_drops_the_users_rows_alone() -> None:
    """The same user id of another tenant, and another user of the tenant, keep theirs."""
    cache = VectorCache(100)
    scopes = [ADA, Scope("eve", tenant="acme"), Scope("ada", tenant="other"), Scope("ada")]
    for scope in scopes:
        for text in ("x", "y"):
            cache.put(scope, cache.key(scope, text, "s"), _row(1))
    cache.forget(Scope("ada", tenant="acme", session="s9"))
    left = [cache.get(scope, cache.key(scope, "x", "s")) is not None for scope in scopes]
    assert left == [False, True, True, True]
    assert len(cache) == 6


def test_keys_tell_nothing_of_the_question() -> None:
    """A key holds no text, differs by space and user, and is another in another cache."""
    cache, other, question = VectorCache(4), VectorCache(4), "where did I hide the diamonds"
    key = cache.key(ADA, question, "s")
    assert "diamonds" not in repr(key)
    assert key == cache.key(ADA, question, "s")
    assert key != cache.key(ADA, question, "t")
    assert key != cache.key(ADA, f"{question} ", "s")
    assert key != cache.key(Scope("eve", tenant="acme"), question, "s")
    assert key != other.key(ADA, question, "s")
    assert cache.key(ADA, "\ud800", "s") != cache.key(ADA, "\ud801", "s")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_child_can_use_the_cache() -> None:
    """A lock that some thread of the parent held while it forked is free in the child."""
    script = """
        import os, signal, threading
        import numpy as np
        from memlane.embeddings import VectorCache
        from memlane.scope import Scope

        cache, scope = VectorCache(8), Scope("ada")
        key = cache.key(scope, "x", "s")
        cache.put(scope, key, np.ones(2, dtype=np.float32))
        held, done = threading.Event(), threading.Event()

        def hold():
            with cache._lock:
                held.set()
                done.wait()

        threading.Thread(target=hold, daemon=True).start()
        held.wait()
        child = os.fork()
        if not child:
            signal.alarm(10)
            cache.put(scope, key, np.ones(2, dtype=np.float32))
            os._exit(0 if cache.get(scope, key) is not None and len(cache) == 1 else 1)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
        done.set()
    """
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", textwrap.dedent(script)],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert done.stdout == "0\n"
