"""What is bound to loops and threads is kept here, so that nothing else in memlane has to be."""

from memlane.runtime.bridge import SyncBridge
from memlane.runtime.clock import SystemClock
from memlane.runtime.deadline import within
from memlane.runtime.delivery import Answer, expect
from memlane.runtime.flight import SingleFlight
from memlane.runtime.gathering import attempted, together
from memlane.runtime.homes import Homes
from memlane.runtime.loops import OwnedLoop, io_loop, work_loop
from memlane.runtime.repeating import Later, Repeating
from memlane.runtime.threads import WorkerThreads

__all__ = (
    "Answer",
    "Homes",
    "Later",
    "OwnedLoop",
    "Repeating",
    "SingleFlight",
    "SyncBridge",
    "SystemClock",
    "WorkerThreads",
    "attempted",
    "expect",
    "io_loop",
    "together",
    "within",
    "work_loop",
)
