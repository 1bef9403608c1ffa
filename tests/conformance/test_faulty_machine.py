"""Whatever fails and whenever, what was acknowledged stays and the caller is told the truth."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from memlane.local import InMemoryBackend, SqliteBackend
from memlane.testing import faulty_memory_machine


def in_memory(_folder: Path) -> InMemoryBackend:
    return InMemoryBackend()


def on_file(folder: Path) -> SqliteBackend:
    return SqliteBackend(folder / "memory.db")


MACHINES = {
    "memory": faulty_memory_machine(in_memory),
    "sqlite": faulty_memory_machine(on_file, durable=True),
}

# The same examples in every normal run; the campaign draws new ones and prints how to repeat them.
NORMAL = settings(
    max_examples=100,
    stateful_step_count=15,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.explicit, Phase.generate, Phase.shrink],  # explaining takes minutes
    suppress_health_check=[HealthCheck.too_slow],
)
CAMPAIGN = settings(
    NORMAL, max_examples=2_000, stateful_step_count=30, derandomize=False, print_blob=True
)


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", MACHINES)
def test_verbs_that_fail(name: str) -> None:
    """A hundred histories of fifteen calls leave nothing torn, lost or untold."""
    run_state_machine_as_test(MACHINES[name], settings=NORMAL)


@pytest.mark.campaign
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("name", MACHINES)
def test_verbs_that_fail_at_length(name: str) -> None:
    """Two thousand new histories."""
    run_state_machine_as_test(MACHINES[name], settings=CAMPAIGN)
