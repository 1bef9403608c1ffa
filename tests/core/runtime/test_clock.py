"""The real clock."""

from datetime import UTC, timedelta

from memlane.runtime import SystemClock


def test_the_system_clock_is_aware_and_in_utc() -> None:
    """Times carry UTC, so that they can be compared with a credential's expiry."""
    now = SystemClock().now()
    assert now.tzinfo is UTC
    assert now.utcoffset() == timedelta(0)


def test_the_monotonic_clock_never_goes_back() -> None:
    """Two readings are in order."""
    clock = SystemClock()
    first = clock.monotonic()
    assert clock.monotonic() >= first
