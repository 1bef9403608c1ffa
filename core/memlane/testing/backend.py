"""The suite a backend passes to be one: one fixture, every sentence of the protocol tried."""

from __future__ import annotations

from memlane.testing._concurrency import ConcurrencySuite
from memlane.testing._conditions import ConditionsSuite
from memlane.testing._expiry import ExpirySuite
from memlane.testing._filtering import FilteringSuite
from memlane.testing._queries import QueriesSuite
from memlane.testing._reaching import ReachingSuite
from memlane.testing._records import RecordsSuite
from memlane.testing._reembedding import ReembeddingSuite
from memlane.testing._scans import ScansSuite
from memlane.testing._sweeping import SweepingSuite
from memlane.testing._tenants import TenantsSuite
from memlane.testing._validity import ValiditySuite
from memlane.testing._versions import VersionsSuite

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
    ValiditySuite,
    VersionsSuite,
    SweepingSuite,
    TenantsSuite,
    ReembeddingSuite,
):
    """Whether a class is a `VectorBackend`, and has what powers it seems to have.

    Subclass it under a name that begins with `Test` and give it one fixture called `backend`,
    sync or async, that returns an empty backend and closes it afterwards. Override `raw_ids` with
    code that reads the store by other means, if there are any. What is about a power of
    `memlane.powers` is skipped where the backend has not got it. anyio's pytest plugin, which comes
    with memlane, runs the tests.
    """
