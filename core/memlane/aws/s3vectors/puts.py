"""A hundred writers of one index need not be a hundred requests: what waits anyway goes together.

Whatever shares a request shares an index and credentials, and nothing else: each caller has its
own answer, its own error, and may leave without anybody noticing.
"""

from __future__ import annotations

import asyncio
import functools
import re
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Final, Protocol

import anyio

from memlane.aws.wire import Lane, Reply, Request
from memlane.errors import MemlaneError, RequestRejectedError

if TYPE_CHECKING:
    from memlane.aws.plane import Channel, DataPlane
    from memlane.aws.s3vectors.naming import IndexTarget
    from memlane.protocols import Credentials

__all__ = ("MAX_BODY_BYTES", "MAX_VECTORS", "PutQueue", "put_vectors")

MAX_VECTORS: Final = 500
"""Of one PutVectors."""

MAX_BODY_BYTES: Final = 20 * 1024 * 1024 - 64 * 1024
"""Of the vectors of one PutVectors: 20 MiB less what stands around them, and a reserve."""

GATHER_SECONDS: Final = 0.003
"""How long a put waits for others when one is in flight already."""

FLIGHTS: Final = 16
"""Requests in flight of one queue; what comes then waits for the next to land, and gathers."""

ENOUGH: Final = 10
"""Puts that need not wait for more. They land together, so their callers come back together and
meet again, and with others: without an end to that, a hundred callers are in step before long, and
each waits for the work of all."""

_AFTER_KEY: Final = b'","data":'  # a quote inside the key would be escaped, so this is its end
_PLACE: Final = re.compile(r"\bvectors(?:\[|/)(\d+)")


class _Sender(Protocol):
    """What of a `Channel` a queue needs."""

    async def call(
        self,
        request: Request,
        credentials: Credentials | None,
        *,
        lane: Lane | None = None,
        weight: float = 1.0,
        deadline: float | None = None,
    ) -> Reply: ...


class _Put:
    """What one caller wants stored in one request, and where it waits."""

    __slots__ = ("deadline", "keys", "landing", "size", "vectors")

    def __init__(self, vectors: Sequence[bytes], keys: frozenset[bytes]) -> None:
        self.vectors = vectors
        self.keys = keys
        self.size = sum(map(len, vectors)) + len(vectors)
        self.deadline: float | None = None
        self.landing: asyncio.Future[None] | None = None

    @property
    def is_left(self) -> bool:
        """Whether nobody waits for it any more."""
        return self.landing is not None and self.landing.done()

    def land(self, error: BaseException | None = None) -> None:
        if self.landing is None or self.landing.done():
            return
        if error is None:
            self.landing.set_result(None)
        else:
            self.landing.set_exception(error)


class PutQueue:
    """Puts of one index with one set of credentials, on one loop.

    The first goes at once. While one is in flight those that follow gather for 3 ms, or until they
    are enough; while as many are in flight as may be, until one lands, or they fill a request. Two
    puts of one key never share a request, nor the time in flight: the later one begins when the
    earlier one has landed.

    Args:
        sender: What sends; on this loop.
        target: The index.
        credentials: What signs.
        gather_seconds: How long a put waits for others while one is in flight.
        flights: Requests in flight at most.
        rested: Called when nothing is in flight and nobody waits.
    """

    __slots__ = (
        "_credentials", "_flights", "_flying", "_gather_seconds", "_head", "_keys", "_loop",
        "_pending", "_pending_size", "_pending_vectors", "_rested", "_sender", "_target",
        "_tasks", "_timer",
    )  # fmt: skip

    def __init__(
        self,
        sender: _Sender,
        target: IndexTarget,
        credentials: Credentials,
        *,
        gather_seconds: float = GATHER_SECONDS,
        flights: int = FLIGHTS,
        rested: Callable[[], object] | None = None,
    ) -> None:
        self._sender = sender
        self._target = target
        self._credentials = credentials
        self._gather_seconds = gather_seconds
        self._flights = flights
        self._rested = rested
        self._flying = 0
        self._keys: set[bytes] = set()
        self._pending: list[_Put] = []
        self._pending_vectors = 0
        self._pending_size = 0
        self._timer: asyncio.TimerHandle | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._loop = asyncio.get_running_loop()
        self._head = _head_of(target.bucket, target.index)

    async def put(self, vectors: Sequence[bytes], *, deadline: float | None = None) -> None:
        """Store vectors; when this returns they are durable.

        A caller cancelled before its request was sent has stored nothing; afterwards the request
        goes on for the others.

        Args:
            vectors: Each a JSON object that begins with "key" and then "data"; 500 and 20 MiB at
                most. They share a request, unless one key is among them twice.
            deadline: Seconds for it, retries included; None for the plane's own limit.

        Raises:
            RequestRejectedError: The service found one of these vectors invalid.
            ServiceError: The request failed; an error of this caller's own.
        """
        for run, keys in _runs(vectors):
            await self._put(_Put(run, keys), deadline)

    async def _put(self, put: _Put, deadline: float | None) -> None:
        if not self._flying and not self._pending:
            # Nobody shares it, so it runs in the caller's own task and is cancelled with it.
            self._take_off([put])
            try:
                await self._call([put], deadline)
            finally:
                self._land([put])
            return
        if deadline is not None:
            put.deadline = self._loop.time() + deadline
        put.landing = self._loop.create_future()
        self._pending.append(put)
        self._pending_vectors += len(put.vectors)
        self._pending_size += put.size
        if (
            len(self._pending) % ENOUGH == 0
            or self._pending_vectors >= MAX_VECTORS
            or self._pending_size >= MAX_BODY_BYTES
        ):
            self._flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(self._gather_seconds, self._flush)
        await put.landing

    def _flush(self) -> None:
        """Send what waits, as far as there is room in flight and no key is in flight already."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._pending and self._flying < self._flights:
            batch = self._next_batch()
            if not batch:
                return  # all wait for keys in flight; the next landing comes back here
            self._take_off(batch)
            task = self._loop.create_task(self._fly(batch))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    def _next_batch(self) -> list[_Put]:
        batch: list[_Put] = []
        rest: list[_Put] = []
        taken: set[bytes] = set()
        passed: set[bytes] = set()
        count = size = 0
        for put in self._pending:
            if put.is_left:
                continue
            fits = not batch or (
                count + len(put.vectors) <= MAX_VECTORS and size + put.size <= MAX_BODY_BYTES
            )
            if (
                fits
                and put.keys.isdisjoint(self._keys)
                and put.keys.isdisjoint(taken)
                and put.keys.isdisjoint(passed)
            ):
                batch.append(put)
                taken |= put.keys
                count += len(put.vectors)
                size += put.size
            else:
                rest.append(put)
                passed |= put.keys
        self._pending = rest
        self._pending_vectors = sum(len(put.vectors) for put in rest)
        self._pending_size = sum(put.size for put in rest)
        return batch

    async def _fly(self, batch: list[_Put]) -> None:
        try:
            await self._send(batch)
        finally:
            for put in batch:
                if put.landing is not None:
                    put.landing.cancel()  # nothing where it has landed
            self._land(batch)

    async def _send(self, batch: list[_Put]) -> None:
        try:
            await self._call(batch, self._seconds_for(batch))
        except RequestRejectedError as error:
            if len(batch) == 1:
                batch[0].land(error)
                return
            # Nothing of it was stored. One of them is at fault, and the others are not to suffer.
            one, others = _parted(batch, error)
            await asyncio.gather(self._send(one), self._send(others))
        except Exception as error:  # noqa: BLE001  (whatever it is, it is theirs)
            for put in batch:
                put.land(_own(error))
        else:
            for put in batch:
                put.land()

    async def _call(self, batch: Sequence[_Put], deadline: float | None) -> None:
        vectors = [vector for put in batch for vector in put.vectors]
        weight = len(vectors)
        # What stands around them is put on first: the whole, which may be 20 MiB, is copied once.
        vectors[0] = self._head + vectors[0]
        vectors[-1] += b"]}"
        await self._sender.call(
            Request(
                service="s3vectors",
                operation="PutVectors",
                path="/PutVectors",
                body=b",".join(vectors),
            ),
            self._credentials,
            lane=self._target.lane,
            weight=weight,
            deadline=deadline,
        )

    def _seconds_for(self, batch: Iterable[_Put]) -> float | None:
        """Return how long the most patient of those who wait will wait."""
        latest = 0.0
        for put in batch:
            if put.deadline is None:
                return None
            latest = max(latest, put.deadline)
        return max(latest - self._loop.time(), 0.0)

    def _take_off(self, batch: Iterable[_Put]) -> None:
        self._flying += 1
        for put in batch:
            self._keys |= put.keys

    def _land(self, batch: Iterable[_Put]) -> None:
        self._flying -= 1
        for put in batch:
            self._keys -= put.keys
        # What was held back by a key or by the number of flights goes; what gathers goes too when
        # nothing is left to wait for.
        if self._pending and (self._timer is None or not self._flying):
            self._flush()
        if self._rested is not None and not self._flying and not self._pending:
            self._rested()


async def put_vectors(
    plane: DataPlane, target: IndexTarget, credentials: Credentials, vectors: Sequence[bytes]
) -> None:
    """Store encoded vectors of one index, together with what others store there now.

    Args:
        plane: What carries it, from any loop.
        target: The index.
        credentials: What signs; only puts with the same ones share a request.
        vectors: As in `PutQueue.put`.

    Raises:
        ServiceError: They could not be stored.
    """
    if not vectors:
        return
    until = anyio.current_effective_deadline()
    left = None if until == float("inf") else max(until - anyio.current_time(), 0.0)
    await plane.run(_put_here, target, credentials, vectors, left)


def _put_here(
    channel: Channel,
    target: IndexTarget,
    credentials: Credentials,
    vectors: Sequence[bytes],
    deadline: float | None,
) -> Awaitable[None]:
    key = (
        PutQueue, target.bucket, target.index, credentials.access_key, credentials.session_token,
    )  # fmt: skip
    attached = channel.attached
    queue: PutQueue | None = attached.get(key)
    if queue is None:
        # Ten thousand tenants write now and then: what is at rest is not kept.
        queue = attached[key] = PutQueue(
            channel, target, credentials, rested=functools.partial(attached.pop, key, None)
        )
    return queue.put(vectors, deadline=deadline)


@functools.lru_cache(maxsize=1024)
def _head_of(bucket: str, index: str) -> bytes:
    # Both are of an alphabet that JSON does not escape.
    return f'{{"vectorBucketName":"{bucket}","indexName":"{index}","vectors":['.encode()


def _key_of(vector: bytes) -> bytes:
    return vector[: vector.index(_AFTER_KEY)]


def _runs(vectors: Sequence[bytes]) -> list[tuple[Sequence[bytes], frozenset[bytes]]]:
    """Cut before each key that was met already: what it would do twice in a request is unknown."""
    keys = frozenset([_key_of(vector) for vector in vectors])
    if len(keys) == len(vectors):
        return [(vectors, keys)]
    runs: list[tuple[Sequence[bytes], frozenset[bytes]]] = []
    run: dict[bytes, bytes] = {}
    for vector in vectors:
        key = _key_of(vector)
        if key in run:
            runs.append((list(run.values()), frozenset(run)))
            run = {}
        run[key] = vector
    return [*runs, (list(run.values()), frozenset(run))]


def _parted(batch: list[_Put], error: RequestRejectedError) -> tuple[list[_Put], list[_Put]]:
    """Return who is at fault and the others, where the service says; else the two halves."""
    told = _PLACE.search(error.detail or "")
    if told is not None:
        place = int(told[1])
        for at, put in enumerate(batch):
            if place < len(put.vectors):
                return [put], batch[:at] + batch[at + 1 :]
            place -= len(put.vectors)
    middle = len(batch) // 2
    return batch[:middle], batch[middle:]


def _own(error: Exception) -> Exception:
    """Return an error for one of several callers: what one is told of, the others are not."""
    if not isinstance(error, MemlaneError):
        return error
    own = error.anew()
    own.__cause__ = error.__cause__
    return own
