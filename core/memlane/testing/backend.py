"""The suite a backend passes to be one: one fixture, every sentence of the protocol tried."""

from __future__ import annotations

from memlane.testing._concurrency import ConcurrencySuite
from memlane.testing._conditions import ConditionsSuite
from memlane.testing._expiry import ExpirySuite
from memlane.testing._filtering import FilteringSuite
from memlane.testing._queries import QueriesSuite
from memlane.testing._reaching import ReachingSuite
from memlane.testing._records import RecordsSuite
from memlane.testing._scans import ScansSuite

__all__ = ("VectorBackendConformance",)


class VectorBackendConformance(
    RecordsSuite,
    ConditionsSuite,
    ScansSuite,
    ReachingSuite,
    ExpirySuite,
    FilteringSuite,
    QueriesSuite,
    ConcurrencySuite,
):
    """Whether a class is a `VectorBackend`.

    Subclass it under a name that begins with `Test` and give it one fixture called `backend`,
    sync or async, that returns an empty backend and closes it afterwards. Override `raw_ids` with
    code that reads the store by other means, if there are any. anyio's pytest plugin, which comes
    with memlane, runs the tests.
    """
