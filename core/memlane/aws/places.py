"""So many requests at once, and the others wait for a place, in order."""

from __future__ import annotations

import asyncio
from collections import OrderedDict

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
        self._queue: OrderedDict[asyncio.Future[bool], None] = OrderedDict()
        self._all_left: asyncio.Future[bool] | None = None

    def take(self) -> bool:
        """Take a place if one is free."""
        if not self._free or self._all_left is not None:
            return False
        self._free -= 1
        return True

    async def wait(self, seconds: float) -> float:
        """Take a place when it is the caller's turn.

        Args:
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
        self._queue[place] = None
        timer = self._loop.call_later(max(seconds, 0), _tell_no, place)
        try:
            granted = await place
        except asyncio.CancelledError:
            if place.done() and not place.cancelled() and place.result():
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

    def leave(self) -> None:
        """Give a place to the next."""
        while self._queue:
            place, _ = self._queue.popitem(last=False)
            if not place.done():
                place.set_result(True)
                return
        self._free += 1
        if self._all_left is not None and self._free == self._count:
            _tell_no(self._all_left)

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
