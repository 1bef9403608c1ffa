"""Letters of a burst share a wake-up and are spread over the loop's iterations."""

import functools
from collections import deque
from collections.abc import Callable

from memlane.runtime.mailbox import Mailbox


class HandLoop:
    """A loop that is turned by hand and counts how often it was woken."""

    def __init__(self) -> None:
        self.wakes = 0
        self.is_closed = False
        self._ready: deque[Callable[[], object]] = deque()

    def wake(self, fn: Callable[[], object]) -> None:
        if self.is_closed:
            raise RuntimeError("Event loop is closed")
        self.wakes += 1
        self._ready.append(fn)

    def again(self, fn: Callable[[], object]) -> None:
        self._ready.append(fn)

    def turn(self) -> None:
        for _ in range(len(self._ready)):
            self._ready.popleft()()

    @property
    def is_idle(self) -> bool:
        return not self._ready


def mailbox_on(loop: HandLoop) -> Mailbox:
    return Mailbox(loop, loop.wake, loop.again)


def test_a_burst_costs_one_wake_up_and_a_few_letters_per_turn() -> None:
    """Two hundred letters wake the loop once and never come more than eight at a time."""
    loop = HandLoop()
    mailbox = mailbox_on(loop)
    read: list[int] = []
    for number in range(200):
        mailbox.post(functools.partial(read.append, number))
    turns: list[int] = []
    while not loop.is_idle:
        before = len(read)
        loop.turn()
        turns.append(len(read) - before)
    assert loop.wakes == 1
    assert turns == [8] * 25
    assert read == list(range(200))


def test_a_letter_posted_while_letters_are_delivered_joins_that_delivery() -> None:
    """A letter that posts another wakes nobody: the delivery under way goes on."""
    loop = HandLoop()
    mailbox = mailbox_on(loop)
    read: list[str] = []
    mailbox.post(lambda: mailbox.post(lambda: read.append("second")))
    loop.turn()
    loop.turn()
    assert read == ["second"]
    assert loop.wakes == 1
    assert loop.is_idle


def test_each_later_burst_wakes_the_loop_again() -> None:
    """An emptied mailbox goes back to sleep."""
    loop = HandLoop()
    mailbox = mailbox_on(loop)
    for _ in range(3):
        mailbox.post(lambda: None)
        loop.turn()
    assert loop.wakes == 3


def test_a_letter_that_raises_does_not_hold_up_the_others() -> None:
    """The delivery that was interrupted is scheduled again for the rest."""
    loop = HandLoop()
    mailbox = mailbox_on(loop)
    read: list[str] = []

    def interrupt() -> None:
        raise KeyboardInterrupt

    mailbox.post(interrupt)
    mailbox.post(lambda: read.append("next"))
    try:
        loop.turn()
    except KeyboardInterrupt:
        loop.turn()
    assert read == ["next"]


def test_letters_to_a_closed_loop_are_dropped() -> None:
    """Nobody is there to read them, and nothing keeps what they hold."""
    loop = HandLoop()
    mailbox = mailbox_on(loop)
    loop.is_closed = True
    read: list[str] = []
    assert mailbox.post(lambda: read.append("lost")) is False
    assert mailbox.post(lambda: read.append("lost too")) is False
    mailbox.run_rest()
    assert read == []
