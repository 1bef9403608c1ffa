"""All verbs in any order do what a dictionary would, on both local backends."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from memlane import MemoryClient
from memlane.local import InMemoryBackend, SqliteBackend
from memlane.protocols import Clock
from memlane.testing import HashingEmbedder, memory_machine


def in_memory(clock: Clock, _folder: Path) -> MemoryClient:
    backend = InMemoryBackend()
    return MemoryClient(backend=backend, embedder=HashingEmbedder(), clock=clock, owned=[backend])


def on_file(clock: Clock, folder: Path) -> MemoryClient:
    backend = SqliteBackend(folder / "memory.db")
    return MemoryClient(backend=backend, embedder=HashingEmbedder(), clock=clock, owned=[backend])


MACHINES = {
    "memory": memory_machine(in_memory),
    "sqlite": memory_machine(on_file, durable=True),
}

# The same examples in every normal run; the campaign draws new ones and prints how to repeat them.
NORMAL = settings(
    max_examples=100,
    stateful_step_count=30,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],  # explaining takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
CAMPAIGN = settings(NORMAL, max_examples=2_000, derandomize=False, print_blob=True)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MACHINES)
def test_any_order_of_verbs(name: str) -> None:
    """A hundred histories of thirty calls end as the model says, each call on the way too."""
    run_state_machine_as_test(MACHINES[name], settings=NORMAL)


@pytest.mark.campaign
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("name", MACHINES)
def test_any_order_of_verbs_at_length(name: str) -> None:
    """Two thousand new histories."""
    run_state_machine_as_test(MACHINES[name], settings=CAMPAIGN)
