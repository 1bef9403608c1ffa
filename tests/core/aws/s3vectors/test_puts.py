"""Puts that meet share a request, and nothing else: not an error, not a cancellation."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable, Iterable

import anyio
import anyio.lowlevel
import orjson
import pytest

from core.aws.s3vectors.switchboard import CREDENTIALS, Switchboard, rejection, vector
from memlane.aws.s3vectors import puts
from memlane.aws.s3vectors.naming import IndexTarget
from memlane.aws.s3vectors.puts import ENOUGH, MAX_VECTORS, PutQueue
from memlane.errors import AccessDeniedError, MemlaneError, RequestRejectedError

TARGET = IndexTarget("memories", "memory-acme")
NEVER = 3600.0  # seconds to gather: in these tests only a landing or a full request sends


@pytest.fixture
def anyio_backend() -> str:
    """A queue lives on the loop of a channel, and that is asyncio's."""
    return "asyncio"


async def until(condition: Callable[[], bool]) -> None:
    """Let other tasks run until something holds."""
    with anyio.fail_after(20):
        while not condition():
            await anyio.lowlevel.checkpoint()


class Desk:
    """A queue with its switchboard, and what came of each put."""

    def __init__(self, *, gather: float = NEVER, flights: int = 16) -> None:
        self.board = Switchboard()
        self.rests = 0
        self.queue = PutQueue(
            self.board, TARGET, CREDENTIALS,
            gather_seconds=gather, flights=flights, rested=self._rest,
        )  # fmt: skip
        self.tasks: list[asyncio.Task[None]] = []

    def _rest(self) -> None:
        self.rests += 1

    async def put(self, *keys: str, deadline: float | None = None) -> asyncio.Task[None]:
        """Begin a put and let it get as far as it can."""
        vectors = [vector(key) for key in keys]
        task = asyncio.create_task(self.queue.put(vectors, deadline=deadline))
        self.tasks.append(task)
        for _ in range(3):
            await asyncio.sleep(0)
        return task

    async def answer(self, place: int, error: Exception | None = None) -> None:
        """Answer a request, and let what follows from it happen."""
        sent = self.board.sent[place]
        if error is None:
            sent.succeed()
        else:
            sent.fail(error)
        for _ in range(6):
            await asyncio.sleep(0)

    def outcomes(self) -> list[object]:
        """Return for each put "waits", "stored", "left" or its error."""
        return [_outcome(task) for task in self.tasks]


def _outcome(task: asyncio.Task[None]) -> object:
    if not task.done():
        return "waits"
    if task.cancelled():
        return "left"
    return task.exception() or "stored"


async def test_the_first_goes_at_once_and_the_rest_together() -> None:
    """Nothing in flight: no wait. Something in flight: those that come gather."""
    desk = Desk()
    await desk.put("a")
    assert desk.board.keys == [["a"]]
    for key in "bcd":
        await desk.put(key)
    assert desk.board.keys == [["a"]]
    await desk.answer(0)
    assert desk.board.keys == [["a"], ["b", "c", "d"]]
    assert desk.outcomes() == ["stored", "waits", "waits", "waits"]
    await desk.answer(1)
    assert desk.outcomes() == ["stored"] * 4
    assert desk.rests == 1


async def test_who_gathers_goes_after_a_moment_though_another_is_in_flight() -> None:
    """The first need not land: a slow request holds up nobody for longer than the moment."""
    desk = Desk(gather=0.0)
    await desk.put("a")
    await desk.put("b")
    await until(lambda: len(desk.board.sent) == 2)
    assert desk.board.keys == [["a"], ["b"]]
    await desk.answer(1)
    assert desk.outcomes() == ["waits", "stored"]
    await desk.answer(0)


async def test_the_request_is_what_the_service_asks_for() -> None:
    """Its body, its pace and its weight."""
    desk = Desk()
    put = asyncio.create_task(desk.queue.put([vector("a", 0.5, user_id="u"), vector("b")]))
    await until(lambda: bool(desk.board.sent))
    sent = desk.board.sent[0]
    assert (sent.request.service, sent.request.path) == ("s3vectors", "/PutVectors")
    assert sent.request.idempotent
    assert orjson.loads(sent.request.body) == {
        "vectorBucketName": "memories",
        "indexName": "memory-acme",
        "vectors": [orjson.loads(vector("a", 0.5, user_id="u")), orjson.loads(vector("b"))],
    }
    assert sent.lane is not None
    assert sent.lane == TARGET.lane
    assert sent.weight == 2
    await desk.answer(0)
    await put


async def test_a_full_request_waits_for_nobody() -> None:
    """At 500 vectors it goes; what does not fit any more goes in the next."""
    desk = Desk()
    await desk.put("first")
    await desk.put(*(f"a{n}" for n in range(MAX_VECTORS - 1)))
    assert len(desk.board.sent) == 1
    await desk.put("b1", "b2")
    assert [len(keys) for keys in desk.board.keys] == [1, MAX_VECTORS - 1, 2]
    for place in range(3):
        await desk.answer(place)
    assert desk.outcomes() == ["stored"] * 3


async def test_as_many_as_are_enough_wait_for_no_more() -> None:
    """They go while there is room in flight; where there is none all that come go together."""
    desk = Desk(flights=2)
    await desk.put("first")
    names = [f"k{n}" for n in range(3 * ENOUGH)]
    for place, key in enumerate(names, 1):
        await desk.put(key)
        assert len(desk.board.sent) == (1 if place < ENOUGH else 2)
    assert desk.board.keys == [["first"], names[:ENOUGH]]
    await desk.answer(0)
    assert desk.board.keys == [["first"], names[:ENOUGH], names[ENOUGH:]]
    await desk.answer(1)
    await desk.answer(2)
    assert desk.outcomes() == ["stored"] * (1 + len(names))


async def test_bytes_are_counted_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request stays below what the service reads, its commas included."""
    size = len(vector("k0"))
    monkeypatch.setattr(puts, "MAX_BODY_BYTES", 4 * (size + 1))
    desk = Desk()
    await desk.put("first")
    await desk.put("k0", "k1")
    await desk.put("k2")
    assert len(desk.board.sent) == 1
    await desk.put("k3", "k4")
    assert desk.board.keys == [["first"], ["k0", "k1", "k2"], ["k3", "k4"]]
    for place in range(3):
        await desk.answer(place)


async def test_requests_in_flight_are_bounded() -> None:
    """What comes beyond waits for a landing, and is then together."""
    desk = Desk(gather=0.0, flights=2)
    await desk.put("a")
    await desk.put("b")
    await until(lambda: len(desk.board.sent) == 2)
    for key in "cde":
        await desk.put(key)
        await asyncio.sleep(0.002)
    assert desk.board.keys == [["a"], ["b"]]
    await desk.answer(1)
    assert desk.board.keys == [["a"], ["b"], ["c", "d", "e"]]
    await desk.answer(0)
    await desk.answer(2)
    assert desk.board.most == 2
    assert desk.outcomes() == ["stored"] * 5


async def test_one_key_is_never_twice_in_a_request_nor_in_flight() -> None:
    """The later put of a key begins when the earlier one has landed; others need not wait."""
    desk = Desk()
    await desk.put("other")
    await desk.put("x")
    await desk.put("x", "y")
    await desk.put("y")
    await desk.put("z")
    await desk.answer(0)
    # The second put of "y" must not overtake the first one, which waits for "x".
    assert desk.board.keys == [["other"], ["x", "z"]]
    await desk.answer(1)
    assert desk.board.keys[2:] == [["x", "y"]]
    await desk.answer(2)
    assert desk.board.keys[3:] == [["y"]]
    await desk.answer(3)
    assert desk.outcomes() == ["stored"] * 5


async def test_a_key_twice_in_one_put_is_two_requests() -> None:
    """In their order: the last one stays."""
    desk = Desk()
    vectors = [vector("a", 1.0), vector("b"), vector("a", 2.0)]
    put = asyncio.create_task(desk.queue.put(vectors))
    await until(lambda: bool(desk.board.sent))
    assert desk.board.keys == [["a", "b"]]
    await desk.answer(0)
    assert desk.board.keys == [["a", "b"], ["a"]]
    assert desk.board.sent[1].request.body.count(b"2.0") == 1
    await desk.answer(1)
    await put


async def test_keys_are_compared_whole() -> None:
    """Quotes, commas and what looks like the next field are part of a key."""
    desk = Desk()
    odd = ['q"', 'q","data":{', 'q\\","data":', "q"]
    await desk.put(*odd)
    assert desk.board.keys == [odd]
    await desk.answer(0)


async def test_one_who_leaves_takes_nothing_from_the_others() -> None:
    """Cancelled on a shared request: it goes on. Cancelled before it: the vector stays at home."""
    desk = Desk()
    await desk.put("a")
    leaving_early = await desk.put("b")
    leaving_late = await desk.put("c")
    await desk.put("d")
    leaving_early.cancel()
    await desk.answer(0)
    assert desk.board.keys == [["a"], ["c", "d"]]
    leaving_late.cancel()
    await asyncio.sleep(0)
    assert desk.board.flying == 1
    await desk.answer(1)
    assert desk.outcomes() == ["stored", "left", "left", "stored"]
    assert desk.rests == 1


async def test_alone_in_flight_a_cancelled_put_ends_its_request() -> None:
    """Nobody shares it; those who gathered go at once."""
    desk = Desk()
    alone = await desk.put("a")
    await desk.put("b")
    alone.cancel()
    await until(lambda: len(desk.board.sent) == 2)
    assert desk.board.keys == [["a"], ["b"]]
    assert desk.board.flying == 1
    await desk.answer(1)
    assert desk.outcomes() == ["left", "stored"]


async def test_when_all_have_left_the_queue_rests() -> None:
    """Nothing is kept of a queue that nobody uses."""
    desk = Desk()
    for key in "abc":
        await desk.put(key)
    for task in desk.tasks:
        task.cancel()
    await until(lambda: desk.rests == 1)
    assert desk.board.keys == [["a"]]
    assert desk.board.flying == 0
    await desk.put("d")
    await desk.put("e")
    await desk.put("f")
    await desk.answer(1)
    for task in desk.tasks:
        task.cancel()
    await desk.answer(2)
    assert desk.board.keys[2:] == [["e", "f"]]
    assert (desk.rests, desk.board.flying) == (2, 0)


async def _reject(desk: Desk, bad: Iterable[str], *, told: bool) -> None:
    """Answer everything like a service that refuses some keys, until all have landed."""
    answered = 1
    while any(outcome == "waits" for outcome in desk.outcomes()):
        await until(lambda: len(desk.board.sent) > answered)  # noqa: B023  (looked at at once)
        sent = desk.board.sent[answered]
        places = [place for place, key in enumerate(sent.keys) if key in set(bad)]
        detail = f"Invalid record [vectors[{places[0]}].metadata]" if told and places else ""
        await desk.answer(answered, rejection(detail) if places else None)
        answered += 1


@pytest.mark.parametrize("told", [True, False])
@pytest.mark.parametrize(
    "bad", [{"k3"}, {"k0"}, {"k9"}, {"k2", "k7"}, {f"k{n}" for n in range(10)}]
)
async def test_only_the_offender_is_refused(bad: set[str], *, told: bool) -> None:
    """A 400 of a shared request ends with those whose vectors it was for; the others store."""
    desk = Desk(flights=1)
    await desk.put("first")
    for n in range(10):
        await desk.put(f"k{n}", f"more{n}")
    await desk.answer(0)
    await _reject(desk, bad, told=told)
    for n, outcome in enumerate(desk.outcomes()[1:]):
        if f"k{n}" in bad:
            assert isinstance(outcome, RequestRejectedError)
            assert outcome.request_id == "r-1"
        else:
            assert outcome == "stored"
    errors = [one for one in desk.outcomes() if isinstance(one, Exception)]
    assert len({id(error) for error in errors}) == len(bad)
    if told:
        # One request shows each offender, one more stores the rest.
        assert len(desk.board.sent) - 1 <= 2 * len(bad) + 1
    else:
        assert len(desk.board.sent) - 1 <= 2 * len(bad) * math.ceil(math.log2(10)) + 1
    await until(lambda: desk.rests == 1)


async def test_a_place_that_is_none_is_not_believed() -> None:
    """A service that names the hundredth of two vectors is asked by halves."""
    desk = Desk()
    await desk.put("first")
    await desk.put("a")
    await desk.put("b")
    await desk.answer(0)
    await desk.answer(1, rejection("vectors[100].metadata"))
    await until(lambda: len(desk.board.sent) == 4)
    await desk.answer(2, rejection())
    await desk.answer(3)
    assert isinstance(desk.outcomes()[1], RequestRejectedError)
    assert desk.outcomes()[2] == "stored"


async def test_other_errors_are_each_callers_own() -> None:
    """What one caller's client writes into its error, no other caller reads."""
    desk = Desk()
    await desk.put("first")
    for key in "ab":
        await desk.put(key)
    await desk.answer(0)
    error = AccessDeniedError("denied", service="s3vectors", code="AccessDenied", status=403)
    error.operation = "store"
    await desk.answer(1, error)
    mine, theirs = desk.outcomes()[1:]
    assert isinstance(mine, AccessDeniedError)
    assert isinstance(theirs, AccessDeniedError)
    assert mine is not theirs
    assert (mine.code, mine.operation, theirs.scope) == ("AccessDenied", None, None)
    assert len(desk.board.sent) == 2


async def test_an_error_that_is_none_of_ours_reaches_all() -> None:
    """Nobody waits for ever because of a defect."""
    desk = Desk()
    await desk.put("first")
    for key in "ab":
        await desk.put(key)
    await desk.answer(0)
    await desk.answer(1, ZeroDivisionError("a defect"))
    assert [type(one) for one in desk.outcomes()[1:]] == [ZeroDivisionError] * 2
    assert not any(isinstance(one, MemlaneError) for one in desk.outcomes()[1:])


async def test_a_shared_request_lives_as_long_as_the_most_patient() -> None:
    """One who has no deadline gives it none; else the latest counts."""
    desk = Desk()
    await desk.put("first", deadline=7.0)
    assert desk.board.sent[0].deadline == 7.0
    await desk.put("a", deadline=5.0)
    await desk.put("b", deadline=50.0)
    await desk.answer(0)
    latest = desk.board.sent[1].deadline
    assert latest is not None
    assert 40.0 < latest <= 50.0
    await desk.put("c", deadline=5.0)
    await desk.put("d")
    await desk.answer(1)
    assert desk.board.sent[2].deadline is None
    await desk.answer(2)
