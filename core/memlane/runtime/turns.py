"""What is read, compared and written back is one step only while nobody else does the same."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from types import TracebackType
from typing import Final

import anyio

from memlane.runtime import fork
from memlane.runtime.delivery import Answer, expect
from memlane.runtime.place import Place

__all__ = ("Turns",)

# A loop that is closed, left, or blocked under its task tells nobody, so those who wait look.
PROBE_SECONDS: Final = 0.5

# A thread may stand still for a moment and go on; one seen so this often in a row is given up.
PATIENCE: Final = 2


class _Visitor:
    """One caller at one key: where it runs, and what wakes it."""

    __slots__ = ("answer", "place", "seen_stuck")

    def __init__(self, place: Place) -> None:
        self.place = place
        self.answer: Answer[None] | None = None
        self.seen_stuck = 0


class _Line:
    """Who has the turn at a key, and who waits for it, first come first."""

    __slots__ = ("holder", "waiting")

    def __init__(self) -> None:
        self.holder: _Visitor | None = None
        self.waiting: deque[_Visitor] = deque()


class Turns:
    """A turn at a time per key, for callers on several loops, threads and trio.

    First come, first served. A turn whose loop was closed, or is blocked by a synchronous call for
    longer than a second, passes on: whatever it guards must survive a second hand then.

    Args:
        probe_seconds: How often a waiting caller looks whether the one it waits for can still
            make progress.
    """

    def __init__(self, *, probe_seconds: float = PROBE_SECONDS) -> None:
        self._probe_seconds = probe_seconds
        # Re-entrant: a holder thrown away with its loop may be finalised in the middle of a call.
        self._lock = threading.RLock()
        self._lines: dict[str, _Line] = {}
        fork.watch(self._after_fork)

    def __len__(self) -> int:
        return len(self._lines)

    def taken(self, keys: Iterable[str]) -> _Taken:
        """Return an `async with` block in which the caller alone has the turn at every key.

        Args:
            keys: In any order; repeats count once. The same caller must not take one twice.

        Raises:
            LoopError: The caller runs on no event loop.
        """
        # Everybody takes several keys in the same order, so no two wait for each other.
        return _Taken(self, sorted(set(keys)))

    async def take(self, key: str) -> _Visitor:
        """Wait for the turn at one key; `leave` must follow."""
        me = _Visitor(Place())
        try:
            while (answer := self._ask(key, me)) is not None:
                with anyio.move_on_after(self._probe_seconds):
                    await answer.wait(_stays)
        except BaseException:
            self.leave(key, me)
            raise
        return me

    def leave(self, key: str, visitor: _Visitor) -> None:
        """Give the turn to the next, or the place in the line back."""
        with self._lock:
            line = self._lines.get(key)
            if line is None:
                return
            if line.holder is visitor:
                self._pass_on(key, line)
            elif visitor in line.waiting:
                line.waiting.remove(visitor)

    def _ask(self, key: str, me: _Visitor) -> Answer[None] | None:
        """Return None when it is the caller's turn, else what to wait for before asking again."""
        with self._lock:
            line = self._lines.setdefault(key, _Line())
            if line.holder is None:
                line.holder = me
            elif line.holder is not me:
                # One that was given up in its turn, and goes on after all, joins the line again.
                if me not in line.waiting:
                    line.waiting.append(me)
                if self._is_given_up(line.holder, me):
                    self._pass_on(key, line)
            if line.holder is me:
                return None
            answer: Answer[None] = expect()
            me.answer = answer
            return answer

    def _is_given_up(self, holder: _Visitor, me: _Visitor) -> bool:
        me.seen_stuck = me.seen_stuck + 1 if holder.place.is_stuck() else 0
        if me.seen_stuck <= PATIENCE:
            return False
        me.seen_stuck = 0
        return True

    def _pass_on(self, key: str, line: _Line) -> None:
        if not line.waiting:
            del self._lines[key]
            return
        line.holder = following = line.waiting.popleft()
        if following.answer is not None:
            following.answer.set_result(None)

    def _after_fork(self) -> None:
        fork.keep(self._lines)
        self._lock = threading.RLock()
        self._lines = {}


class _Taken:
    """Turns at several keys, taken one after the other and given back together."""

    __slots__ = ("_held", "_keys", "_turns")

    def __init__(self, turns: Turns, keys: list[str]) -> None:
        self._turns = turns
        self._keys = keys
        self._held: list[tuple[str, _Visitor]] = []

    async def __aenter__(self) -> None:
        try:
            for key in self._keys:
                self._held.append((key, await self._turns.take(key)))
        except BaseException:
            self._give_back()
            raise

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Nothing is awaited: this also runs when a task is thrown away with its loop.
        self._give_back()

    def _give_back(self) -> None:
        while self._held:
            key, visitor = self._held.pop()
            self._turns.leave(key, visitor)


def _stays() -> bool:
    """Answer for a wait that is cut short: who waits keeps the place in the line."""
    return True
