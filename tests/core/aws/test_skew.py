"""A wrong clock is noticed by the refusal of a signature, and made up for."""

from datetime import timedelta
from email.utils import format_datetime

import pytest

from memlane.aws.skew import Skew
from memlane.testing import FakeClock


@pytest.mark.parametrize("minutes", [-600, -6, 6, 600])
def test_a_far_date_is_taken_over(clock: FakeClock, minutes: int) -> None:
    """Ahead or behind; afterwards the service's time is what is signed with."""
    skew = Skew(clock)
    theirs = clock.now() + timedelta(minutes=minutes)
    assert skew.learn(format_datetime(theirs, usegmt=True), signed_at=skew.now())
    assert abs(skew.now() - theirs.timestamp()) < 1
    clock.advance(timedelta(hours=1))
    assert abs(skew.now() - theirs.timestamp() - 3600) < 1


@pytest.mark.parametrize("date", [None, "", "yesterday", "Sat, 99 Foo 2026 10:00:00 GMT"])
def test_no_date_teaches_nothing(clock: FakeClock, date: str | None) -> None:
    """Then the refusal stands."""
    skew = Skew(clock)
    assert not skew.learn(date, signed_at=skew.now())
    assert skew.offset == 0


def test_a_near_date_is_not_why(clock: FakeClock) -> None:
    """A wrong key is refused at the right time too: asking again would be no different."""
    skew = Skew(clock)
    near = format_datetime(clock.now() + timedelta(seconds=20), usegmt=True)
    assert not skew.learn(near, signed_at=skew.now())
    assert skew.offset == 0


def test_one_that_was_signed_before_the_correction_learns_from_it(clock: FakeClock) -> None:
    """Of many calls refused together the first corrects; the others sign anew as well."""
    skew = Skew(clock)
    before = skew.now()
    date = format_datetime(clock.now() + timedelta(hours=1), usegmt=True)
    assert skew.learn(date, signed_at=before)
    assert skew.learn(date, signed_at=before)
    assert not skew.learn(date, signed_at=skew.now())
