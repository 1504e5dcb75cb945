"""Trading hours and the flatten-by time: clock times in an IANA zone, resolved per date.

Both are written with their zone, since a time without one is a guess: ``09:30-15:55 America/New_York`` and
``15:58 America/New_York``. Daylight saving follows the rules of that zone. Exchange holidays and early closes are not
known here.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import Final

from attrs import frozen

from xtalgo.model.errors import ConfigError
from xtalgo.model.sessions import Session, local_instant, session_at, to_datetime
from xtalgo.model.types import Ns

__all__ = ["FlattenBy", "TradingHours"]

_DAY: Final = dt.timedelta(days=1)
_PROBE: Final = dt.date(2026, 1, 7)
"""A Wednesday; a year of Wednesdays from here shows every way in which two zones' rules can stand to each other."""


def _time(text: str, whole: str) -> dt.time:
    try:
        time = dt.time.fromisoformat(text)
    except ValueError:
        time = None
    if time is None or ":" not in text or time.tzinfo is not None:
        raise ConfigError(f"{whole!r}: {text!r} is not a time of day; write it as '09:30' or '09:30:30'")
    return time


def _zone(text: str, whole: str) -> str:
    try:
        to_datetime(0, text)
    except (KeyError, ValueError, OSError):
        raise ConfigError(f"{whole!r}: {text!r} is not a time zone; use an IANA name: 'America/New_York'") from None
    return text


def _words(text: str, example: str) -> tuple[str, str]:
    words = text.split() if isinstance(text, str) else []
    if len(words) != 2:
        raise ConfigError(f"expected times and a time zone such as {example!r}, not {text!r}")
    return words[0], words[1]


def _clock(time: dt.time) -> str:
    return time.isoformat("auto" if time.second or time.microsecond else "minutes")


@frozen
class TradingHours:
    """The hours of each date in which positions may be opened: ``start <= clock < end``, over midnight if need be."""

    start: dt.time
    end: dt.time
    zone: str

    @classmethod
    def parse(cls, text: str) -> TradingHours:
        """Read ``09:30-15:55 America/New_York``; ConfigError for anything else."""
        times, zone = _words(text, "09:30-15:55 America/New_York")
        first, dash, second = times.partition("-")
        if not dash:
            raise ConfigError(f"{text!r}: write the hours as start-end, '09:30-15:55'")
        start, end = _time(first, text), _time(second, text)
        if start == end:
            raise ConfigError(f"{text!r}: start and end are the same; leave trading hours out to trade all the time")
        return cls(start, end, _zone(zone, text))

    def contains(self, ts: Ns) -> bool:
        """Whether clocks in the zone show a time inside these hours."""
        clock = to_datetime(ts, self.zone).time()
        if self.start < self.end:
            return self.start <= clock < self.end
        return clock >= self.start or clock < self.end

    def closes(self, after: Ns) -> Ns:
        """The first end of these hours after ``after``."""
        first = to_datetime(after, self.zone).date()
        return min(
            instant
            for days in range(-1, 3)
            if (instant := local_instant(first + days * _DAY, self.end, self.zone)) > after
        )

    def __str__(self) -> str:
        return f"{_clock(self.start)}-{_clock(self.end)} {self.zone}"


@frozen
class FlattenBy:
    """The time of day at which everything is closed; nothing is opened from then to the next session's start."""

    time: dt.time
    zone: str

    @classmethod
    def parse(cls, text: str) -> FlattenBy:
        """Read ``15:58 America/New_York``; ConfigError for anything else, and where the market is closed then."""
        time, zone = _words(text, "15:58 America/New_York")
        found = cls(_time(time, text), _zone(zone, text))
        for week in range(53):
            session = session_at(local_instant(_PROBE + 7 * week * _DAY, dt.time(12), "America/New_York"))
            if found.in_session(session) == session.close:
                raise ConfigError(
                    f"{text!r}: the market is closed at this time, at least in part of the year; choose one in every "
                    "session (18:00 to 17:00 in New York)"
                )
        return found

    def in_session(self, session: Session) -> Ns:
        """The instant of one session; its close, should clocks of the zone not show the time in it."""
        return _in_session(self.time, self.zone, session)

    def next(self, after: Ns) -> Ns:
        """The first one after ``after``."""
        session = session_at(after)
        while (instant := self.in_session(session)) <= after:
            session = session_at(session.close)
        return instant

    def is_past(self, ts: Ns) -> bool:
        """Whether it has passed and the next session has not begun."""
        session = session_at(ts)
        return ts < session.open or ts >= self.in_session(session)

    def __str__(self) -> str:
        return f"{_clock(self.time)} {self.zone}"


@lru_cache(maxsize=256)
def _in_session(time: dt.time, zone: str, session: Session) -> Ns:
    day = to_datetime(session.open, zone).date() - _DAY
    while (instant := local_instant(day, time, zone)) < session.open:
        day += _DAY
    return min(instant, session.close)
