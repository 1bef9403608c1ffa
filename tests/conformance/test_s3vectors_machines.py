"""All verbs in any order do on S3 Vectors what a dictionary would, and whatever fails is told."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from memlane import MemoryClient
from memlane.aws.credentials import HostCredentials, StaticCredentials, TenantCredentials
from memlane.aws.plane import DataPlane
from memlane.aws.s3vectors import S3VectorsBackend
from memlane.protocols import Clock
from memlane.testing import HashingEmbedder, faulty_memory_machine, memory_machine
from memlane.testing.emulator import Emulator
from memlane.testing.stateful import FaultyMemoryMachine, MemoryMachine

# The same examples in every normal run; the campaign draws new ones and prints how to repeat them.
NORMAL = settings(
    max_examples=50,  # of each machine over each kind of index: two hundred over real HTTP
    stateful_step_count=12,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],  # explaining takes minutes
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
CAMPAIGN = settings(
    NORMAL, max_examples=500, stateful_step_count=30, derandomize=False, print_blob=True
)


class Opener:
    """Makes a backend for a folder: a bucket of its own, as durable as the folder."""

    def __init__(self, emulator: Emulator, *, index: str | None) -> None:
        self._emulator = emulator
        self._index = index
        self.moving = index is None  # an index has one dimension, for all tenants that share it
        self._buckets: set[str] = set()

    def backend(self, folder: Path, clock: Clock | None = None) -> S3VectorsBackend:
        bucket = "b" + hashlib.sha256(str(folder).encode()).hexdigest()[:30]
        if bucket not in self._buckets:
            self._emulator.blocking.reset()
            self._emulator.blocking.create_bucket(bucket)
            self._buckets = {bucket}
        admin = self._emulator.admin
        static = StaticCredentials(admin.access_key, admin.secret_key)
        host = HostCredentials(static)
        return S3VectorsBackend(
            bucket,
            plane=DataPlane(region=self._emulator.region, endpoint_urls={"*": self._emulator.url}),
            credentials=TenantCredentials(static),
            host=host,
            index=self._index,
            auto_onboard=True,
            clock=clock,
            owns_plane=True,
        )

    def client(self, clock: Clock, folder: Path) -> MemoryClient:
        backend = self.backend(folder, clock)
        return MemoryClient(
            backend=backend, embedder=HashingEmbedder(), clock=clock, owned=[backend]
        )


@pytest.fixture(params=[None, "shared"], ids=["tenants", "shared"])
def opener(request: pytest.FixtureRequest, emulator_process: Emulator) -> Opener:
    """With an index for each tenant, and with one for all."""
    return Opener(emulator_process, index=request.param)


def any_order(opener: Opener) -> type[MemoryMachine]:
    return memory_machine(opener.client, durable=True, moving=opener.moving)


def any_fault(opener: Opener) -> type[FaultyMemoryMachine]:
    return faulty_memory_machine(opener.backend, durable=True, moving=opener.moving)


@pytest.mark.timeout(600)
def test_any_order_of_verbs(opener: Opener) -> None:
    """Fifty histories end as the model says, each call on the way too."""
    run_state_machine_as_test(any_order(opener), settings=NORMAL)


@pytest.mark.timeout(600)
def test_verbs_that_fail(opener: Opener) -> None:
    """Calls that meet faults leave nothing torn, lost or untold."""
    run_state_machine_as_test(any_fault(opener), settings=NORMAL)


@pytest.mark.campaign
@pytest.mark.timeout(7_200)
def test_any_order_of_verbs_at_length(opener: Opener) -> None:
    """Five hundred new histories, a thousand over both kinds of index."""
    run_state_machine_as_test(any_order(opener), settings=CAMPAIGN)


@pytest.mark.campaign
@pytest.mark.timeout(7_200)
def test_verbs_that_fail_at_length(opener: Opener) -> None:
    """Five hundred new histories with faults, a thousand over both kinds of index."""
    run_state_machine_as_test(any_fault(opener), settings=CAMPAIGN)
