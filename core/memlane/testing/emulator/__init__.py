"""S3 Vectors, Bedrock and STS with IAM, as one HTTP server: what docs/emulator.md says."""

from memlane.testing.emulator.counters import Counters, Served
from memlane.testing.emulator.faults import FaultRule
from memlane.testing.emulator.launching import Emulator
from memlane.testing.emulator.ruling import BlockingEmulator, StoredVector
from memlane.testing.emulator.serving import serve
from memlane.testing.emulator.switches import Switches

__all__ = (
    "BlockingEmulator",
    "Counters",
    "Emulator",
    "FaultRule",
    "Served",
    "StoredVector",
    "Switches",
    "serve",
)
