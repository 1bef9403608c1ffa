"""For those who write a backend or an embedder, or test against memlane: suites and fakes."""

from memlane.testing import _extra as _extra
from memlane.testing.backend import VectorBackendConformance
from memlane.testing.embedder import EmbedderConformance
from memlane.testing.fakes import FakeClock, HashingEmbedder
from memlane.testing.faults import Fault, Faults, FaultyBackend, FaultyEmbedder
from memlane.testing.isolation import TenantIsolationConformance
from memlane.testing.pictures import HashingImageEmbedder, gif, png
from memlane.testing.stateful import faulty_memory_machine, memory_machine
from memlane.testing.wrappers import (
    CountingBackend,
    FailingBackend,
    GatedBackend,
    LyingBackend,
    WrappedBackend,
)

__all__ = (
    "CountingBackend",
    "EmbedderConformance",
    "FailingBackend",
    "FakeClock",
    "Fault",
    "Faults",
    "FaultyBackend",
    "FaultyEmbedder",
    "GatedBackend",
    "HashingEmbedder",
    "HashingImageEmbedder",
    "LyingBackend",
    "TenantIsolationConformance",
    "VectorBackendConformance",
    "WrappedBackend",
    "faulty_memory_machine",
    "gif",
    "memory_machine",
    "png",
)
