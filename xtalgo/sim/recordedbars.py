"""Bars in the venue's place: what a replay answers when it is asked for the venue's bars.

They are made of recorded quotes, by rows that have been played and no others, so they know nothing of what comes
later. NinjaTrader's hold every trade; these hold the ``last`` prices of quotes, and their ``source`` says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from xtalgo.engine.periods import span_at, venue_span
from xtalgo.engine.series import QuoteTable
from xtalgo.model.commands import BarsQuery
from xtalgo.model.errors import DataError
from xtalgo.model.events import Bar, BarsSeen
from xtalgo.model.sessions import iso, session_at
from xtalgo.model.types import SECOND_NS, Ns

__all__ = ["SLACK", "RecordedBars", "before"]

SLACK: Final[Ns] = 2 * SECOND_NS
"""A bar at the edge of a recording is whole if no more of it than this is missing: quotes come about once a second."""


def before(history: QuoteTable, table: QuoteTable) -> QuoteTable:
    """What of ``history`` lies before the first quote of ``table``. DataError when nothing does."""
    first = int(table.ts[table.order[0]])
    count = int(np.searchsorted(history.ts[history.order], first, side="left"))
    if not count:
        raise DataError(f"the history has no quote before {iso(first)}, where the recording begins")
    return history if count == len(history) else history.head(count)


@define(eq=False)
class RecordedBars:
    """Answers questions for bars; ``played`` tells how many quotes of an instrument have been played."""

    table: QuoteTable
    history: QuoteTable | None
    """Quotes from before the recording, which make bars and nothing else."""
    played: Callable[[str], int]
    _makers: dict[tuple[str, str], _Maker] = field(factory=dict)

    def answer(self, query: BarsQuery, now: Ns) -> BarsSeen:
        """The newest bars by what has been played; the growing one comes last, as the venue's may."""
        key = query.instrument, query.period
        maker = self._makers.get(key)
        if maker is None:
            maker = self._makers[key] = self._make(*key)
        rows, count = self.table.rows(query.instrument), self.played(query.instrument)
        maker.take(self.table, slice(rows.start + maker.taken, rows.start + count))
        maker.taken = count
        return BarsSeen(now, query, tuple(maker.newest(query.count + 1)))

    def _make(self, instrument: str, period: str) -> _Maker:
        last = self.table.last[self.table.rows(instrument)]
        if len(last) and np.isnan(last).all():
            raise DataError(
                f"{instrument}: the recording tells no last prices, and the venue's bars are made of trades; "
                "use bars of quotes: bars(..., basis='mid')"
            )
        maker = _Maker(instrument, period, venue_span(period))
        if self.history is not None and instrument in self.history.instruments:
            maker.take(self.history, self.history.rows(instrument))
            maker.cut()
        return maker


@define(eq=False)
class _Maker:
    """Bars of one instrument and period, grown from columns."""

    instrument: str
    period: str
    span: Ns | None
    finished: list[Bar] = field(factory=list)
    taken: int = 0
    """Rows of the recording that were taken."""
    _start: Ns = 0
    _end: Ns = 0
    _is_whole: bool = False
    """Whether the growing bar is known from its start on."""
    _prices: tuple[float, float, float, float] | None = None
    """Open, high, low and close of the growing bar."""
    _volume: int = 0
    _quotes: int = 0
    _told: int | None = None
    """The newest cumulative volume."""
    _newest: Ns | None = None
    _is_cut: bool = True
    """Whether a recording ended here, or none has begun: what comes next may not follow from what came before."""

    def newest(self, count: int) -> list[Bar]:
        """The newest bars, the growing one among them as far as it is known."""
        bars = self.finished[-count:]
        if self._newest is None or (self._is_cut and self._end - self._newest > SLACK):
            return bars
        grown = self._grown()
        return bars if grown is None else [*bars, grown][-count:]

    def cut(self) -> None:
        """A recording ends."""
        self._is_cut = True

    def take(self, table: QuoteTable, rows: slice) -> None:
        """Take rows of a table, in order of time."""
        ts, last, volume = table.ts[rows], table.last[rows], table.volume[rows]
        row = 0
        while row < len(ts):
            at = int(ts[row])
            follows = not self._is_cut or (self._newest is not None and at - self._newest <= SLACK)
            if not follows and self._newest is not None and self._end - self._newest > SLACK:
                self._is_whole = False
            if at >= self._end:
                self._begin(at, follows=follows)
            stop = row + int(np.searchsorted(ts[row:], self._end, side="left"))
            self._grow(last[row:stop], volume[row:stop])
            self._newest, self._is_cut = int(ts[stop - 1]), False
            row = stop

    def _begin(self, at: Ns, *, follows: bool) -> None:
        grown = self._grown()
        if grown is not None:
            self.finished.append(grown)
        session = session_at(at)
        if at < session.open:  # nothing trades between sessions
            self._start, self._end, self._is_whole = at, session.open, False
        else:
            self._start, self._end = span_at(at, self.span)
            self._is_whole = follows or at - self._start <= SLACK
        self._prices, self._volume, self._quotes = None, 0, 0

    def _grow(self, last: NDArray[Any], volume: NDArray[Any]) -> None:
        told = volume[volume >= 0]
        if len(told):
            steps = np.diff(told if self._told is None else np.append(self._told, told))
            self._volume += int(steps[steps > 0].sum())
            self._told = int(told[-1])
        prices = last[~np.isnan(last)]
        if len(prices):
            first, high, low, close = float(prices[0]), float(prices.max()), float(prices.min()), float(prices[-1])
            if self._prices is not None:
                first, high, low = self._prices[0], max(high, self._prices[1]), min(low, self._prices[2])
            self._prices, self._quotes = (first, high, low, close), self._quotes + len(prices)

    def _grown(self) -> Bar | None:
        if self._prices is None or not self._is_whole:
            return None
        name, period, source = self.instrument, self.period, "recording"
        return Bar(name, period, self._start, self._end, *self._prices, self._volume, self._quotes, source)
