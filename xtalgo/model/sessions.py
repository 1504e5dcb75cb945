"""Trading sessions of CME Group futures: 18:00 to 17:00 New York time, Sunday evening to Friday.

The hours are those of CME's electronic equity-index, energy and metals sessions; the groups that CME lists in
Chicago time (17:00 to 16:00) are the same instants. Daylight saving is resolved per date by the IANA rules.
Exchange holidays are not known here: a holiday is a session with few or no quotes.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from zoneinfo import ZoneInfo

from attrs import frozen

from xtalgo.model.types import DAY_NS, SECOND_NS, Ns

__all__ = ["NEW_YORK", "Session", "from_datetime", "iso", "local_instant", "session_at", "to_datetime"]

NEW_YORK = "America/New_York"
_OPEN = dt.time(18, 0)
_CLOSE = dt.time(17, 0)
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)


@frozen
class Session:
    """One trading day: ``open <= ts < close``, both in ``Ns``; ``day`` is the date it is named after."""

    day: dt.date
    open: Ns
    close: Ns

    def contains(self, ts: Ns) -> bool:
        """Whether ``ts`` falls inside the trading hours of this session."""
        return self.open <= ts < self.close


def from_datetime(moment: dt.datetime) -> Ns:
    """Exact nanoseconds of an aware datetime (floats would lose the last digits)."""
    delta = moment - _EPOCH
    return (delta.days * 86_400 + delta.seconds) * SECOND_NS + delta.microseconds * 1_000


def to_datetime(ts: Ns, zone: str = "UTC") -> dt.datetime:
    """The datetime of ``ts`` in an IANA zone, to the microsecond (rounded down)."""
    return (_EPOCH + dt.timedelta(microseconds=ts // 1_000)).astimezone(_zone(zone))


def iso(ts: Ns) -> str:
    """``ts`` as ISO-8601 in UTC with nine fractional digits, e.g. ``2023-12-25T23:00:00.106846211Z``."""
    seconds, nanos = divmod(ts, SECOND_NS)
    return f"{_EPOCH + dt.timedelta(seconds=seconds):%Y-%m-%dT%H:%M:%S}.{nanos:09d}Z"


@lru_cache(maxsize=64)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def local_instant(day: dt.date, time: dt.time, zone: str) -> Ns:
    """The instant at which clocks in ``zone`` show ``time`` on ``day`` (the first one, where clocks go back)."""
    return from_datetime(dt.datetime.combine(day, time, tzinfo=_zone(zone)))


def session_at(ts: Ns) -> Session:
    """The session that ``ts`` lies in, or, in the daily break and at weekends, the next one to open.

    An order that arrives in the break belongs to the session that follows, so that is the useful answer.
    """
    session = _session_from(ts // DAY_NS)
    while ts >= session.close:
        session = _session_of(session.day + dt.timedelta(days=1))
    return session


@lru_cache(maxsize=4096)
def _session_from(epoch_day: int) -> Session:
    """A session that closes no later than needed: the one named after the day before this UTC date."""
    return _session_of(dt.date(1970, 1, 1) + dt.timedelta(days=epoch_day - 1))


@lru_cache(maxsize=4096)
def _session_of(day: dt.date) -> Session:
    while day.weekday() >= 5:
        day += dt.timedelta(days=1)
    return Session(
        day,
        local_instant(day - dt.timedelta(days=1), _OPEN, NEW_YORK),
        local_instant(day, _CLOSE, NEW_YORK),
    )
