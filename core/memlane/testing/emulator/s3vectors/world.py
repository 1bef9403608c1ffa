"""What every operation stands on: the account, the switches, the time, what pages remember."""

from __future__ import annotations

from dataclasses import dataclass, field

from memlane.testing.emulator.clock import MovedClock
from memlane.testing.emulator.counters import Counting
from memlane.testing.emulator.s3vectors.pages import Answers
from memlane.testing.emulator.s3vectors.rates import Rates
from memlane.testing.emulator.s3vectors.resources import Account
from memlane.testing.emulator.switches import Switches

__all__ = ("World",)


@dataclass(slots=True, kw_only=True)
class World:
    """All state of the emulated S3 Vectors."""

    account: Account
    switches: Switches
    clock: MovedClock
    counting: Counting
    answers: Answers = field(default_factory=Answers)
    rates: Rates = field(default_factory=Rates)
