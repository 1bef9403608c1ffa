"""All kinds of facts."""

from __future__ import annotations

from typing import Final

from benchmarks.corpus.body import BODY
from benchmarks.corpus.food import FOOD
from benchmarks.corpus.free_time import FREE_TIME
from benchmarks.corpus.home import HOME
from benchmarks.corpus.money import MONEY
from benchmarks.corpus.people import PEOPLE
from benchmarks.corpus.travel import TRAVEL
from benchmarks.corpus.work import WORK

KINDS: Final = (*HOME, *BODY, *PEOPLE, *WORK, *TRAVEL, *MONEY, *FREE_TIME, *FOOD)
