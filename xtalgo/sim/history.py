"""Bars of the past for GetBars: minutes in which there was a quote, and longer bars made of them.

A minute's open, high, low and close are of the quotes in it: their last price, or the mid where they tell none.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Any, Final, Literal, TypeAlias

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from xtalgo.model.events import Quote
from xtalgo.model.sessions import NEW_YORK, Session, local_instant, session_at
from xtalgo.model.types import DAY_NS, MINUTE_NS, Ns

__all__ = ["NONE", "BarRules", "Bars", "MinuteLog", "Minutes", "PeriodType", "bars_of", "reach", "session_on"]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
PeriodType: TypeAlias = Literal["minute", "day", "week", "month", "year"]

_SPANS: Final[dict[str, Ns]] = {
    "minute": MINUTE_NS,
    "day": 2 * DAY_NS,
    "week": 7 * DAY_NS,
    "month": 31 * DAY_NS,
    "year": 366 * DAY_NS,
}


@frozen
class BarRules:
    """What nobody outside knows of GetBars."""

    label: Literal["end", "start"] = "end"
    """Which end of its span a bar is called by; NinjaTrader calls its own by the end."""
    growing: bool = False
    """Whether the bar under way is shown."""


@frozen(eq=False)
class Minutes:
    """Minutes in order of time, those without a quote left out; ``start`` is in nanoseconds UTC, prices in points."""

    start: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Ints

    def __len__(self) -> int:
        return len(self.start)

    @classmethod
    def of_rows(cls, ts: Ints, price: Floats, growth: Ints) -> Minutes:
        """Of quotes: their stamps, prices, and by how much each made the volume grow."""
        return cls(ts // MINUTE_NS * MINUTE_NS, price, price, price, price, growth)._merged()

    @classmethod
    def joined(cls, parts: Sequence[Minutes]) -> Minutes:
        """Parts that follow one another in time; a minute that lies in two of them becomes one."""
        columns = ("start", "open", "high", "low", "close", "volume")
        whole = [np.concatenate([getattr(part, name) for part in parts]) for name in columns] if parts else None
        return cls(*whole)._merged() if whole is not None else NONE

    def since(self, ts: Ns) -> Minutes:
        """The minutes that start at ``ts`` or later."""
        first = int(np.searchsorted(self.start, ts))
        return self if first == 0 else self._map(lambda column: column[first:])

    def _map(self, change: Any) -> Minutes:
        return Minutes(*(change(c) for c in (self.start, self.open, self.high, self.low, self.close, self.volume)))

    def _merged(self) -> Minutes:
        """Rows of one minute as one."""
        if not len(self.start):
            return self
        first = _firsts(self.start)
        return Minutes(self.start[first], *self.grouped(first))

    def grouped(self, first: Ints) -> tuple[Floats, Floats, Floats, Floats, Ints]:
        """Open, high, low, close and volume of groups of rows that begin at ``first``."""
        last = np.append(first[1:], len(self.start)) - 1
        return (
            self.open[first],
            np.maximum.reduceat(self.high, first),
            np.minimum.reduceat(self.low, first),
            self.close[last],
            np.add.reduceat(self.volume, first),
        )


_NO_PRICES: Final = np.empty(0)
_NO_NUMBERS: Final = np.empty(0, np.int64)
NONE: Final = Minutes(_NO_NUMBERS, _NO_PRICES, _NO_PRICES, _NO_PRICES, _NO_PRICES, _NO_NUMBERS)
"""No minutes."""


def _firsts(*keys: Ints) -> Ints:
    """Where a new combination of keys begins, in rows that hold equal ones together."""
    fresh = np.zeros(len(keys[0]), dtype=bool)
    fresh[0] = True
    for key in keys:
        fresh[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(fresh)


@define(eq=False)
class MinuteLog:
    """Minutes of the quotes that come, written as they come. ``volume`` is what had traded before the first."""

    volume: int | None = None
    _rows: list[list[Any]] = field(factory=list)
    _minute: Ns = -1

    def take(self, quote: Quote) -> None:
        """Note a quote."""
        price = quote.mid if quote.last is None else quote.last
        growth = 0
        if quote.volume is not None:
            if self.volume is not None:
                growth = quote.volume - self.volume if quote.volume >= self.volume else quote.volume
            self.volume = quote.volume
        minute = quote.ts // MINUTE_NS
        if minute != self._minute:
            self._minute = minute
            self._rows.append([minute * MINUTE_NS, price, price, price, price, growth])
            return
        row = self._rows[-1]
        if price > row[2]:
            row[2] = price
        elif price < row[3]:
            row[3] = price
        row[4] = price
        row[5] += growth

    def minutes(self) -> Minutes:
        """What was written."""
        if not self._rows:
            return NONE
        start, opened, high, low, close, volume = zip(*self._rows, strict=True)
        return Minutes(
            np.asarray(start, np.int64),
            np.asarray(opened, np.float64),
            np.asarray(high, np.float64),
            np.asarray(low, np.float64),
            np.asarray(close, np.float64),
            np.asarray(volume, np.int64),
        )


# --- bars ------------------------------------------------------------------------------------------------------------


@frozen(eq=False)
class Bars:
    """Bars in order of time, by the label that the rules give them; ``start`` and ``end`` are those of their span."""

    label: Ints
    start: Ints
    end: Ints
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Ints

    def __len__(self) -> int:
        return len(self.label)

    def only(self, rows: Any) -> Bars:
        """Some of them."""
        columns = (self.label, self.start, self.end, self.open, self.high, self.low, self.close, self.volume)
        return Bars(*(column[rows] for column in columns))


def reach(kind: PeriodType, period: int) -> Ns:
    """How long a bar can be at most, and with it how far back its minutes begin before its end."""
    return _SPANS[kind] * period + 4 * DAY_NS


def bars_of(minutes: Minutes, kind: PeriodType, period: int, rules: BarRules, now: Ns) -> Bars:
    """Bars of ``period`` minutes, days, weeks, months or years.

    Minutes are counted from the session's open, and no bar goes beyond its close. Days are sessions, by the date they
    are named after; weeks, months and years hold their sessions. Several days or weeks make a bar by their number
    since Monday 1970-01-05, months and years by that of the calendar.
    """
    if not len(minutes):
        return Bars(minutes.start, minutes.start, minutes.start, *_prices(minutes))
    sessions = _sessions(int(minutes.start[0]), int(minutes.start[-1]))
    opens = np.asarray([session.open for session in sessions], dtype=np.int64)
    closes = np.asarray([session.close for session in sessions], dtype=np.int64)
    number = np.searchsorted(closes, minutes.start, side="right")
    if kind == "minute":
        span = period * MINUTE_NS
        block = (minutes.start - opens[number]) // span
        first = _firsts(number, block)
        number, block = number[first], block[first]
        starts = opens[number] + block * span
        # Quotes outside trading hours, as of a market that never closes, end with the next open.
        ends = np.minimum(starts + span, np.where(starts < opens[number], opens[number], closes[number]))
    else:
        spans = [_span_of(session.day, kind, period) for session in sessions]
        keys = np.asarray([key for key, _, _ in spans], dtype=np.int64)[number]
        first = _firsts(keys)
        number = number[first]
        starts = np.asarray([session_on(day, 1).open for _, day, _ in spans], dtype=np.int64)[number]
        ends = np.asarray([session_on(day, -1).close for _, _, day in spans], dtype=np.int64)[number]
    bars = Bars(ends if rules.label == "end" else starts, starts, ends, *minutes.grouped(first))
    return bars if rules.growing else bars.only(bars.end <= now)


def _prices(minutes: Minutes) -> tuple[Floats, Floats, Floats, Floats, Ints]:
    return minutes.open, minutes.high, minutes.low, minutes.close, minutes.volume


def _sessions(start: Ns, last: Ns) -> list[Session]:
    """The sessions from the one of ``start`` to the one of ``last``."""
    found = [session_at(start)]
    while found[-1].close <= last:
        found.append(session_at(found[-1].close))
    return found


_MONDAY: Final = dt.date(1970, 1, 5).toordinal()


def _span_of(day: dt.date, kind: PeriodType, period: int) -> tuple[int, dt.date, dt.date]:
    """The number of the bar that a session belongs to, and the first and last date of its span."""
    if kind == "day":
        weeks, weekday = divmod(day.toordinal() - _MONDAY, 7)
        block = (weeks * 5 + weekday) // period
        first, last = (
            dt.date.fromordinal(_MONDAY + count // 5 * 7 + count % 5)
            for count in (block * period, (block + 1) * period - 1)
        )
        return block, first, last
    if kind == "week":
        block = (day.toordinal() - _MONDAY) // 7 // period
        start = _MONDAY + block * period * 7
        return block, dt.date.fromordinal(start), dt.date.fromordinal(start + period * 7 - 1)
    months = period if kind == "month" else 12 * period
    block = (day.year * 12 + day.month - 1) // months
    return block, _month(block * months), _month((block + 1) * months) - dt.timedelta(days=1)


def _month(number: int) -> dt.date:
    year, month = divmod(number, 12)
    return dt.date(max(1, min(year, 9998)), month + 1, 1)


def session_on(day: dt.date, step: int) -> Session:
    """The session named after ``day``, or after the nearest weekday in the direction of ``step``."""
    while day.weekday() >= 5:
        day += dt.timedelta(days=step)
    return session_at(local_instant(day, dt.time(12), NEW_YORK))
