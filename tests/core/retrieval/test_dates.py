"""The period a question names is the one a reader would mean, and no question is an error."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from memlane.layout import from_minutes
from memlane.retrieval.dates import named_period

QUICK = settings(deadline=None, max_examples=300)
LATEST = datetime(2023, 8, 20, 12, tzinfo=UTC)


def _named(question: str, latest: datetime = LATEST) -> str | None:
    period = named_period(question, latest=latest)
    if period is None:
        return None
    start, end = (from_minutes(edge) for edge in period)
    assert start < end
    return f"{start:%Y-%m-%d} {(end - start).days}"


@pytest.mark.parametrize(
    ("question", "period"),
    [
        # ISO
        ("What happened on 2023-05-07?", "2023-05-07 1"),
        ("What happened in 2023-05?", "2023-05-01 31"),
        ("between 1900-01-01 and now", "1900-01-01 1"),
        ("on 2099-12-31", "2099-12-31 1"),
        ("on 2024-02-29", "2024-02-29 1"),
        # day and month
        ("on 7 May 2023", "2023-05-07 1"),
        ("on the 7th of May, 2023", "2023-05-07 1"),
        ("on 1st sept. 2022", "2022-09-01 1"),
        ("on 7 may", "2023-05-07 1"),
        ("on 25 December", "2022-12-25 1"),
        ("on 31 August", "2023-08-31 1"),
        # month and day
        ("on May 7, 2023", "2023-05-07 1"),
        ("on May 7th", "2023-05-07 1"),
        ("on dec 25th", "2022-12-25 1"),
        ("on Oct. 3rd, 2021", "2021-10-03 1"),
        # a month
        ("in May 2023", "2023-05-01 31"),
        ("in may of 2023", "2023-05-01 31"),
        ("in May", "2023-05-01 31"),
        ("in February 2024", "2024-02-01 29"),
        ("in september", "2022-09-01 30"),
        ("in August", "2023-08-01 31"),
        ("in December 2023", "2023-12-01 31"),
        # a year
        ("What did she do in 2022?", "2022-01-01 365"),
        ("in 2024, was it", "2024-01-01 366"),
        ("since 1900", "1900-01-01 365"),
        ("until 2099", "2099-01-01 365"),
        ("the 2019-20 season", "2019-01-01 365"),
        # nothing
        ("What does she like?", None),
        ("in 1899", None),
        ("in 2100", None),
        ("room 20231", None),
        ("what may she do", None),
        ("they march to work", None),
        ("what may march mar", None),
        ("Maybe Marching Mayors decide augustly", None),
        ("", None),
    ],
)
def test_periods_are_read(question: str, period: str | None) -> None:
    """ISO, day and month either way round, a month alone, a year alone, and no date at all."""
    assert _named(question) == period


@pytest.mark.parametrize(
    "question",
    [
        "on 2023-02-30", "on 2023-00-10", "on 31 June 2023", "on February 30", "on 99 May 2020",
        "on May 0", "in 2023-00", "on 29 February", "on \u0663\u0661 May", "2\u0660\u0660\u0660",
    ],
)  # fmt: skip
def test_impossible_dates_are_no_error(question: str) -> None:
    """A day that never was names no day; what else can be read may be."""
    found = _named(question)
    assert found is None or not found.endswith(" 1") or "\u0663" in question


@pytest.mark.parametrize("month", ["january", "feb", "Mar", "may", "dec", "sept"])
def test_a_month_without_a_year_is_the_latest_one(month: str) -> None:
    """Never a month that begins after what is remembered, never more than a year before it."""
    for latest in (datetime(2023, number, 1, tzinfo=UTC) for number in range(1, 13)):
        period = named_period(f"on 3 {month}", latest=latest)
        assert period is not None
        start = from_minutes(period[0])
        assert (start.year, start.month) <= (latest.year, latest.month)
        assert (start.year + 1, start.month) > (latest.year, latest.month)


@pytest.mark.parametrize(
    "latest", [datetime.min.replace(tzinfo=UTC), datetime.max.replace(tzinfo=UTC)]
)
@pytest.mark.parametrize("question", ["in May", "in December", "on 31 December", "Jan 1"])
def test_memories_at_the_ends_of_time_are_no_error(latest: datetime, question: str) -> None:
    """A record dated "for ever" does not break the questions that name a month."""
    named_period(question, latest=latest)


def test_a_person_called_like_a_month_is_no_date() -> None:
    """A month that is also a name here needs a day or a year to be a month."""
    april = {"april"}
    assert named_period("What does April like?", latest=LATEST, names=april) is None
    assert named_period("What does April like?", latest=LATEST) is not None
    assert named_period("What did April do in June?", latest=LATEST, names=april) == named_period(
        "in June", latest=LATEST
    )
    assert named_period("on 3 April", latest=LATEST, names=april) is not None
    assert named_period("in April 2022", latest=LATEST, names=april) is not None


fragments = st.lists(
    st.one_of(
        st.sampled_from(
            ["may", "March", "Sept.", "of", ",", "st", "7", "31", "2023", "2023-02-30", "-", "when",
             "1999-12-31", "00", "12/05/2023", "\u0661\u0662", " "]
        ),
        st.text(max_size=6),
        st.integers(0, 10**6).map(str),
    ),
    max_size=8,
).map(" ".join)  # fmt: skip


@QUICK
@given(fragments, st.datetimes(timezones=st.just(UTC)))
def test_any_question_at_any_time_can_be_read(question: str, latest: datetime) -> None:
    """A period is a day, a month or a year, or there is none; never an error."""
    period = named_period(question, latest=latest)
    if period is not None:
        days = (period[1] - period[0]) / (24 * 60)
        assert days in {1, 28, 29, 30, 31, 365, 366}


@QUICK
@given(st.dates(datetime(1900, 1, 1).date(), datetime(2099, 12, 31).date()))  # noqa: DTZ001 - only the date
def test_every_day_can_be_named_in_every_form(day: object) -> None:
    """ISO and both orders of day and month mean the same day."""
    text = f"{day:%Y-%m-%d}"
    for form in (f"{day:%Y-%m-%d}", f"{day:%d %B %Y}", f"{day:%B %d, %Y}", f"{day:%d. of %b %Y}"):
        if ". of" not in form:
            assert _named(f"What happened on {form}?") == f"{text} 1"
