"""Trading sessions, and conversions between datetimes and nanoseconds."""

from __future__ import annotations

import datetime as dt
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xtalgo.model.sessions import (
    NEW_YORK,
    Session,
    from_datetime,
    iso,
    local_instant,
    session_at,
    to_datetime,
)
from xtalgo.model.types import HOUR_NS, MINUTE_NS, SECOND_NS

NY = ZoneInfo(NEW_YORK)


def ny(text: str) -> int:
    """An instant by what clocks in New York show."""
    return from_datetime(dt.datetime.fromisoformat(text).replace(tzinfo=NY))


def utc(text: str) -> int:
    return from_datetime(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC))


stamps = st.integers(utc("1990-01-01"), utc("2045-01-01"))


# --- sessions --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("moment", "day", "inside"),
    [
        ("2026-05-13T10:00", "2026-05-13", True),  # a Wednesday
        ("2026-05-13T16:59:59.999999", "2026-05-13", True),
        ("2026-05-13T17:00", "2026-05-14", False),  # the daily break
        ("2026-05-13T17:59:59.999999", "2026-05-14", False),
        ("2026-05-13T18:00", "2026-05-14", True),
        ("2026-05-13T23:59:59", "2026-05-14", True),
        ("2026-05-14T00:00", "2026-05-14", True),
        ("2026-05-15T16:59", "2026-05-15", True),  # Friday
        ("2026-05-15T17:00", "2026-05-18", False),  # the weekend belongs to Monday's
        ("2026-05-15T18:00", "2026-05-18", False),
        ("2026-05-16T12:00", "2026-05-18", False),
        ("2026-05-17T12:00", "2026-05-18", False),
        ("2026-05-17T17:59:59", "2026-05-18", False),
        ("2026-05-17T18:00", "2026-05-18", True),
        ("2026-05-18T09:30", "2026-05-18", True),
        ("2025-12-31T18:00", "2026-01-01", True),
    ],
)
def test_which_session(moment: str, day: str, inside: bool) -> None:
    session = session_at(ny(moment))
    assert session.day == dt.date.fromisoformat(day)
    assert session.contains(ny(moment)) is inside
    assert session.close == ny(f"{day}T17:00")
    assert session.open == ny(f"{session.day - dt.timedelta(days=1)}T18:00")


def test_a_session_holds_its_first_instant_and_not_its_last() -> None:
    session = session_at(ny("2026-05-13T10:00"))
    assert session.contains(session.open)
    assert session.contains(session.close - 1)
    assert not session.contains(session.open - 1)
    assert not session.contains(session.close)
    assert session_at(session.close - 1) == session_at(session.open) == session
    assert session_at(session.open - 1) == session  # the break before it
    assert session_at(session.close).day == dt.date(2026, 5, 14)


def test_daylight_saving_begins_on_the_weekend_of_8_march_2026() -> None:
    friday, monday = session_at(ny("2026-03-06T12:00")), session_at(ny("2026-03-09T12:00"))
    assert (friday.open, friday.close) == (utc("2026-03-05T23:00"), utc("2026-03-06T22:00"))
    assert (monday.open, monday.close) == (utc("2026-03-08T22:00"), utc("2026-03-09T21:00"))
    assert monday.open - friday.close == 48 * HOUR_NS
    # At 22:30 in UTC the winter's market is closed and the summer's is open.
    assert not session_at(utc("2026-03-05T22:30")).contains(utc("2026-03-05T22:30"))
    assert session_at(utc("2026-03-08T22:30")) == monday
    assert monday.contains(utc("2026-03-08T22:30"))


def test_daylight_saving_ends_on_the_weekend_of_1_november_2026() -> None:
    friday, monday = session_at(ny("2026-10-30T12:00")), session_at(ny("2026-11-02T12:00"))
    assert (friday.open, friday.close) == (utc("2026-10-29T22:00"), utc("2026-10-30T21:00"))
    assert (monday.open, monday.close) == (utc("2026-11-01T23:00"), utc("2026-11-02T22:00"))
    assert monday.open - friday.close == 50 * HOUR_NS
    assert not monday.contains(utc("2026-11-01T22:30"))
    assert session_at(utc("2026-11-01T22:30")) == monday


def test_every_session_of_2026() -> None:
    """Both clock changes fall on a Sunday before the open, so that every session has 23 hours."""
    session, days, gaps = session_at(ny("2025-12-31T18:00")), [], {}
    while session.day.year == 2026:
        days.append(session.day)
        assert session.close - session.open == 23 * HOUR_NS
        opens, closes = to_datetime(session.open, NEW_YORK), to_datetime(session.close, NEW_YORK)
        assert (opens.date(), opens.time()) == (session.day - dt.timedelta(days=1), dt.time(18))
        assert (closes.date(), closes.time()) == (session.day, dt.time(17))
        following = session_at(session.close)
        gaps.setdefault((following.open - session.close) // HOUR_NS, []).append(session.day)
        session = following
    first = dt.date(2026, 1, 1)
    assert days == [day for n in range(365) if (day := first + dt.timedelta(days=n)).weekday() < 5]
    assert set(gaps) == {1, 48, 49, 50}
    assert gaps[48] == [dt.date(2026, 3, 6)]
    assert gaps[50] == [dt.date(2026, 10, 30)]


def test_chicago_hours_are_the_same_instants() -> None:
    for day in (dt.date(2026, 1, 14), dt.date(2026, 3, 9), dt.date(2026, 7, 15), dt.date(2026, 11, 2)):
        session = session_at(local_instant(day, dt.time(10), NEW_YORK))
        assert session.open == local_instant(day - dt.timedelta(days=1), dt.time(17), "America/Chicago")
        assert session.close == local_instant(day, dt.time(16), "America/Chicago")


@given(ts=stamps)
@example(ts=ny("2026-03-08T01:59"))
@example(ts=ny("2026-11-01T01:30"))
@example(ts=ny("2026-05-15T17:00"))
@example(ts=ny("2026-05-15T17:00") - 1)
def test_session_at(ts: int) -> None:
    session = session_at(ts)
    assert session.close > ts
    assert session.contains(ts) or session.open > ts
    assert session.contains(ts) == (session.open <= ts < session.close)
    # Worked out another way: by the date and time in New York.
    local = dt.datetime.fromtimestamp(ts // SECOND_NS, NY)
    day = local.date() + dt.timedelta(days=local.hour >= 17)
    day += dt.timedelta(days={5: 2, 6: 1}.get(day.weekday(), 0))
    assert session.day == day
    in_break = local.hour == 17 or local.weekday() == 5
    in_weekend = (local.weekday() == 4 and local.hour >= 17) or (local.weekday() == 6 and local.hour < 18)
    assert session.contains(ts) is not (in_break or in_weekend)


@given(ts=stamps)
def test_sessions_follow_each_other_without_overlap(ts: int) -> None:
    session = session_at(ts)
    following = session_at(session.close)
    assert session.open < session.close < following.open < following.close
    assert session.day < following.day <= session.day + dt.timedelta(days=3)
    assert following.day.weekday() < 5
    for instant in (session.open, session.close - 1):
        assert session_at(instant) == session
    for instant in (session.close, following.open - 1, following.open):
        assert session_at(instant) == following


def test_sessions_are_values() -> None:
    session = session_at(ny("2026-05-13T10:00"))
    assert session == Session(dt.date(2026, 5, 13), ny("2026-05-12T18:00"), ny("2026-05-13T17:00"))
    with pytest.raises(AttributeError):
        session.open = 0  # type: ignore[misc]


# --- conversions -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ts", "text"),
    [
        (0, "1970-01-01T00:00:00.000000000Z"),
        (1, "1970-01-01T00:00:00.000000001Z"),
        (-1, "1969-12-31T23:59:59.999999999Z"),
        (utc("2023-12-25T23:00") + 106_846_211, "2023-12-25T23:00:00.106846211Z"),
        (utc("2026-05-13T14:00"), "2026-05-13T14:00:00.000000000Z"),
        (utc("2028-02-29T23:59:59") + 999_999_999, "2028-02-29T23:59:59.999999999Z"),
    ],
)
def test_iso(ts: int, text: str) -> None:
    assert iso(ts) == text


@given(ts=stamps)
def test_iso_keeps_every_nanosecond_and_sorts_as_time_does(ts: int) -> None:
    text = iso(ts)
    whole, _, nanos = text.removesuffix("Z").partition(".")
    assert utc(whole) + int(nanos) == ts
    assert iso(ts - 1) < text < iso(ts + 1)


@given(ts=stamps, zone=st.sampled_from(["UTC", NEW_YORK, "America/Chicago", "Asia/Kolkata", "Europe/Berlin"]))
def test_datetimes_round_trip_to_the_microsecond(ts: int, zone: str) -> None:
    moment = to_datetime(ts, zone)
    assert from_datetime(moment) == ts - ts % 1_000
    assert moment.utcoffset() == ZoneInfo(zone).utcoffset(moment)


def test_from_datetime_is_exact() -> None:
    assert from_datetime(dt.datetime(2026, 5, 13, 14, 0, 0, 123_457, tzinfo=dt.UTC)) == 1_778_680_800_123_457_000
    assert from_datetime(dt.datetime(1969, 12, 31, 23, 59, 59, 999_999, tzinfo=dt.UTC)) == -1_000


def test_local_instants() -> None:
    day = dt.date(2026, 5, 13)
    assert local_instant(day, dt.time(9, 45), NEW_YORK) == utc("2026-05-13T13:45")
    assert local_instant(day, dt.time(9, 45), "UTC") == utc("2026-05-13T09:45")
    assert local_instant(dt.date(2026, 1, 13), dt.time(9, 45), NEW_YORK) == utc("2026-01-13T14:45")
    # Where clocks go back a time comes twice: the first is meant.
    assert local_instant(dt.date(2026, 11, 1), dt.time(1, 30), NEW_YORK) == utc("2026-11-01T05:30")
    assert local_instant(dt.date(2026, 11, 1), dt.time(2, 0), NEW_YORK) == utc("2026-11-01T07:00")
    # Where they go forward a time never comes: it is an instant within the missing hour of either side.
    assert abs(local_instant(dt.date(2026, 3, 8), dt.time(2, 30), NEW_YORK) - utc("2026-03-08T07:00")) <= 30 * MINUTE_NS
