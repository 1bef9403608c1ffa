"""Waking a loop is what a hop costs, so letters that arrive together share one wake-up."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

__all__ = ("Mailbox",)

Letter = Callable[[], object]

# Completing a future wakes a task in the loop's next iteration: eight tasks are a fraction of a
# millisecond, two hundred are a stall that everything else on that loop can feel.
PER_TURN: Final = 8


class Mailbox:
    """Letters for one loop, to be run on it, in the order in which they were posted.

    Lock-free: `post` may be called by a finaliser in the middle of another `post`.

    Args:
        home: The loop, or trio's token for it.
        wake: Schedules a callback on the loop from any thread; RuntimeError when it is closed.
        again: Schedules a callback on the loop from the loop itself.
        per_turn: How many letters are run in one iteration of the loop.
    """

    __slots__ = ("__weakref__", "_again", "_asleep", "_letters", "_per_turn", "_wake", "home")

    def __init__(
        self,
        home: object,
        wake: Callable[[Letter], object],
        again: Callable[[Letter], object],
        *,
        per_turn: int = PER_TURN,
    ) -> None:
        self.home = home
        self._wake = wake
        self._again = again
        self._per_turn = per_turn
        self._letters: deque[Letter] = deque()
        # Holds one token while nothing is scheduled on the loop. Taking it is atomic, so exactly
        # one delivery is ever scheduled, and no iteration runs two.
        self._asleep = [True]

    def post(self, letter: Letter) -> bool:
        """Have `letter` run on the loop; callable from any thread.

        Returns:
            False when the loop is closed: everything undelivered was dropped.
        """
        self._letters.append(letter)
        if not self._take_token():
            return True
        try:
            self._wake(self._deliver)
        except RuntimeError:
            self._letters.clear()
            self._asleep.append(True)
            return False
        return True

    def run_rest(self) -> None:
        """Run what is left where the caller stands; for the thread of a loop just closed."""
        while self._letters:
            self._letters.popleft()()
        self._asleep[:] = [True]
        while self._letters:
            self._letters.popleft()()

    def _take_token(self) -> bool:
        if not self._asleep:
            return False
        try:
            self._asleep.pop()
        except IndexError:
            return False
        return True

    def _deliver(self) -> None:
        letters = self._letters
        try:
            for _ in range(min(self._per_turn, len(letters))):
                letters.popleft()()
        finally:
            if letters:
                self._again(self._deliver)
            else:
                self._asleep.append(True)
                # A thread that posted just before the token was back relied on this delivery.
                if letters and self._take_token():
                    self._again(self._deliver)
