"""An emulated account with one empty bucket."""

from __future__ import annotations

import pytest

from faults.aws.clouds import BUCKET, Cloud, MovedClock
from memlane.testing.emulator import Emulator


@pytest.fixture
def cloud(emulator: Emulator) -> Cloud:
    """The account, in the machine's time."""
    emulator.blocking.create_bucket(BUCKET)
    return Cloud(emulator)


@pytest.fixture
def moved_cloud(cloud: Cloud) -> Cloud:
    """The account, with clients whose clock a test moves."""
    cloud.clock = MovedClock()
    return cloud
