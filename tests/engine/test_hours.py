"""Trading hours and the flatten-by time: by the clock of their zone, on every date."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtalgo import ConfigError, RiskLimits
from xtalgo.engine.hours import FlattenBy, TradingHours
from xtalgo.model.sessions import from_datetime, iso, session_at
from xtalgo.model.types import DAY_NS

RTH = TradingHours.parse("09:30-15:55 America/New_York")
LATE = FlattenBy.parse("15:58 America/New_York")


def utc(text: str) -> int:
    return from_datetime(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC))


@pytest.mark.parametrize(
    ("opens", "closes"),
    [
        ("2026-03-06T14:30", "2026-03-06T20:55"),  # the Friday before clocks go forward in New York
        ("2026-03-09T13:30", "2026-03-09T19:55"),  # the Monday after
        ("2026-10-30T13:30", "2026-10-30T19:55"),  # the Friday before they go back
        ("2026-11-02T14:30", "2026-11-02T20:55"),
    ],
)
def test_hours_are_those_of_the_clock_in_their_zone(opens: str, closes: str) -> None:
    first, last = utc(opens), utc(closes)
    assert [RTH.contains(ts) for ts in (first - 1, first, last - 1, last)] == [False, True, True, False]
    assert RTH.closes(first) == RTH.closes(last - 1) == last
    assert iso(RTH.closes(last))[11:16] in ("19:55", "20:55")
    assert RTH.closes(last) > last


def test_hours_over_midnight() -> None:
    night = TradingHours.parse("18:00-09:30 America/New_York")
    assert [night.contains(utc(f"2026-05-13T{clock}")) for clock in ("22:00", "04:00", "13:29", "13:30", "21:59")] == [
        *(True, True, True, False, False)
    ]
    assert night.closes(utc("2026-05-13T22:00")) == utc("2026-05-14T13:30")


@given(st.integers(utc("2026-01-01T00:00"), utc("2027-01-01T00:00")))
def test_the_end_of_hours_is_the_next_moment_at_which_they_end(ts: int) -> None:
    end = RTH.closes(ts)
    assert ts < end <= ts + DAY_NS + 3_600 * 10**9
    assert RTH.contains(end - 1)
    assert not RTH.contains(end)


@pytest.mark.parametrize(
    ("session_of", "expected"),
    [
        ("2026-03-06T12:00", "2026-03-06T20:58"),
        ("2026-03-09T12:00", "2026-03-09T19:58"),
        ("2026-11-02T12:00", "2026-11-02T20:58"),
    ],
)
def test_flatten_by_across_clock_changes(session_of: str, expected: str) -> None:
    assert LATE.next(utc(session_of)) == utc(expected)


def test_flatten_by_lasts_until_the_next_session() -> None:
    """Friday 15:58 in New York to Sunday 18:00."""
    friday, sunday = utc("2026-05-15T19:58"), utc("2026-05-17T22:00")
    assert [LATE.is_past(ts) for ts in (friday - 1, friday, friday + DAY_NS, sunday - 1, sunday)] == [
        *(False, True, True, True, False)
    ]
    assert LATE.next(friday - 1) == friday
    assert LATE.next(friday) == utc("2026-05-18T19:58")


def test_flatten_by_in_another_zone_and_before_midnight() -> None:
    evening = FlattenBy.parse("20:00 Europe/Berlin")
    assert evening.next(utc("2026-05-13T12:00")) == utc("2026-05-13T18:00")
    assert evening.next(utc("2026-03-10T12:00")) == utc("2026-03-10T19:00")  # New York is ahead of Europe by now
    night = FlattenBy.parse("23:00 America/New_York")
    assert night.next(utc("2026-05-13T12:00")) == utc("2026-05-14T03:00")
    assert night.is_past(utc("2026-05-13T12:00"))  # since the evening before


@given(st.integers(utc("2026-01-01T00:00"), utc("2027-01-01T00:00")))
def test_one_flatten_by_in_every_session(ts: int) -> None:
    instant = LATE.next(ts)
    session = session_at(instant)
    assert ts < instant
    assert session.contains(instant)
    following = LATE.next(instant)
    assert session_at(following) == session_at(session.close)
    assert LATE.is_past(instant)
    assert not LATE.is_past(instant - 1)


@pytest.mark.parametrize(
    "text",
    [
        *("", "09:30-15:55", "09:30 America/New_York", "9-16 America/New_York", "09:30-25:00 America/New_York"),
        *("09:30-09:30 America/New_York", "09:30-15:55 Amerika/New_York", "09:30-15:55 America/New York"),
        *("09:30-15:55+01:00 America/New_York", "0930-1555 America/New_York", "09:30-15:55 ../zones"),
    ],
)
def test_bad_hours(text: str) -> None:
    with pytest.raises(ConfigError):
        TradingHours.parse(text)


@pytest.mark.parametrize("text", ["15:58", "15.58 America/New_York", "15:58 Nowhere/Town", "17:30 America/New_York"])
def test_bad_flatten_by(text: str) -> None:
    with pytest.raises(ConfigError):
        FlattenBy.parse(text)


def test_a_time_that_lies_in_the_break_for_part_of_the_year_is_refused() -> None:
    """22:30 in London is 17:30 in New York, but 18:30 in the weeks between the two clock changes."""
    with pytest.raises(ConfigError, match="part of the year"):
        FlattenBy.parse("22:30 Europe/London")


def test_they_are_written_as_they_are_read() -> None:
    for text in ("09:30-15:55 America/New_York", "09:30:15-15:55 UTC"):
        assert str(TradingHours.parse(text)) == text
    assert str(LATE) == "15:58 America/New_York"
    limits = RiskLimits(trading_hours=str(RTH), flatten_by=str(LATE))  # type: ignore[arg-type]
    assert (limits.trading_hours, limits.flatten_by) == (RTH, LATE)
