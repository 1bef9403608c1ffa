"""pytest fixtures: `pytest_plugins = ["memlane.testing.emulator.fixtures"]`."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from memlane.testing.emulator.launching import Emulator

__all__ = ("emulator", "emulator_process")


@pytest.fixture(scope="session")
def emulator_process() -> Iterator[Emulator]:
    """One emulator for all tests of a process."""
    with Emulator.launch() as running:
        yield running


@pytest.fixture
def emulator(emulator_process: Emulator) -> Emulator:
    """That emulator, as new."""
    emulator_process.blocking.reset()
    return emulator_process
