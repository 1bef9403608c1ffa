"""A wrong clock is noticed by the refusal of a signature, and made up for."""

from datetime import timedelta
from email.utils import format_datetime

import pytest

from memlane.aws.skew import Skew
from memlane.testing import FakeClock


@pytest.mark.parametrize("minutes", [-600, -6, 6, 600])
def test_a_far_date_is_tried_and_taken_over(clock: FakeClock, minutes: int) -> None:
    """Ahead or behind; kept, the service's time is what is signed with."""
    skew = Skew(clock)
    theirs = clock.now() + timedelta(minutes=minutes)
    offset = skew.told(format_datetime(theirs, usegmt=True), signed_at=skew.now())
    assert offset is not None
    assert abs(skew.now(offset) - theirs.timestamp()) < 1
    assert skew.offset == 0
    skew.keep(offset)
    assert abs(skew.now() - theirs.timestamp()) < 1
    clock.advance(timedelta(hours=1))
    assert abs(skew.now() - theirs.timestamp() - 3600) < 1


@pytest.mark.parametrize(
    "date",
    [
        None,
        "",
        "yesterday",
        "Sat, 99 Foo 2026 10:00:00 GMT",
        "Mon, 01 Jan 2024 00:00:99999999999999999999 GMT",
        "Mon, 01 Jan 2024 00:00:00 +99999999999999999999",
        "Mon, 01 Jan 1931 00:00:00 GMT",
        "Mon, 01 Jan 99999 00:00:00 GMT",
    ],
)
def test_no_date_teaches_nothing(clock: FakeClock, date: str | None) -> None:
    """Then the refusal stands."""
    skew = Skew(clock)
    assert skew.told(date, signed_at=skew.now()) is None


def test_a_near_date_is_not_why(clock: FakeClock) -> None:
    """A wrong key is refused at the right time too: asking again would be no different."""
    skew = Skew(clock)
    near = format_datetime(clock.now() + timedelta(seconds=20), usegmt=True)
    assert skew.told(near, signed_at=skew.now()) is None


def test_one_that_was_signed_before_the_correction_learns_from_it(clock: FakeClock) -> None:
    """Of many calls refused together the first corrects; the others sign anew as well."""
    skew = Skew(clock)
    before = skew.now()
    date = format_datetime(clock.now() + timedelta(hours=1), usegmt=True)
    offset = skew.told(date, signed_at=before)
    assert offset is not None
    skew.keep(offset)
    assert skew.told(date, signed_at=before) is not None
    assert skew.told(date, signed_at=skew.now()) is None
