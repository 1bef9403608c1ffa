"""So many requests at once, and the others wait for a place, in order."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

from memlane.aws.connection import Connection, Exchange
from memlane.aws.failures import NoAnswerError
from memlane.errors import LoopError

__all__ = ("Places",)


class Places:
    """The places of one asyncio loop.

    Args:
        count: How many there are.
    """

    def __init__(self, count: int) -> None:
        self._loop = asyncio.get_running_loop()
        self._count = self._free = count
        # The futures are told True with their place, and False that there will be none.
        self._queue: OrderedDict[asyncio.Future[bool], Exchange] = OrderedDict()
        self._all_left: asyncio.Future[bool] | None = None

    def take(self) -> bool:
        """Take a place if one is free."""
        if not self._free or self._all_left is not None:
            return False
        self._free -= 1
        return True

    async def wait(self, exchange: Exchange, seconds: float) -> float:
        """Take a place when it is the caller's turn; by then its exchange may have begun.

        Args:
            exchange: What the place is for.
            seconds: How long to wait at most.

        Returns:
            How long that was.

        Raises:
            NoAnswerError: There was none in time.
            LoopError: There will be none any more.
        """
        if self._all_left is not None:
            raise LoopError("the client was closed during a call")
        begun = self._loop.time()
        place: asyncio.Future[bool] = self._loop.create_future()
        self._queue[place] = exchange
        timer = self._loop.call_later(max(seconds, 0), _tell_no, place)
        try:
            granted = await place
        except asyncio.CancelledError:
            granted = place.done() and not place.cancelled() and place.result()
            if granted and not exchange.is_answered:
                exchange.give_up()
                self.leave()
            raise
        finally:
            timer.cancel()
            self._queue.pop(place, None)
        if granted:
            return self._loop.time() - begun
        if self._all_left is not None:
            raise LoopError("the client was closed during a call")
        raise NoAnswerError(
            "busy", "all connections were busy", "allow more concurrency, or ask for less"
        )

    def leave(self, connection: Connection | None = None) -> bool:
        """Give a place to the next.

        Args:
            connection: A connection that is given with it to whom it serves: that exchange begins
                at once, and not when its turn on a busy loop comes.

        Returns:
            Whether the connection was taken.
        """
        while self._queue:
            place, exchange = self._queue.popitem(last=False)
            if place.done():
                continue
            place.set_result(True)
            if connection is None or connection.endpoint != exchange.endpoint:
                return False
            connection.begin(exchange)
            return True
        self._free += 1
        if self._all_left is not None and self._free == self._count:
            _tell_no(self._all_left)
        return False

    async def close(self, seconds: float) -> None:
        """Let nobody in any more, and wait so long at most until all have left."""
        self._all_left = self._loop.create_future()
        for place in self._queue:
            _tell_no(place)
        if self._free == self._count:
            return
        timer = self._loop.call_later(seconds, _tell_no, self._all_left)
        try:
            await self._all_left
        finally:
            timer.cancel()


def _tell_no(place: asyncio.Future[bool]) -> None:
    if not place.done():
        place.set_result(False)
