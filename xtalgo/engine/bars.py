"""Bars built from quotes, aligned to the trading session."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Literal, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xtalgo.engine.feeds import BARS, Feeds
from xtalgo.engine.periods import parse_period, span_at
from xtalgo.model.errors import StrategyError
from xtalgo.model.events import Bar, Quote
from xtalgo.model.sessions import session_at
from xtalgo.model.types import Ns

__all__ = ["KEPT", "BarBuilder", "BarMaker", "BarSource", "Bars", "Basis", "Source"]

Basis: TypeAlias = Literal["last", "mid", "bid", "ask"]
Source: TypeAlias = Literal["quotes", "venue"]

KEPT = 5_000
"""Finished bars that are kept for strategies to look back on."""


class BarSource(Protocol):
    """Whatever makes bars of one instrument and period."""

    instrument: str
    period: str
    finished: deque[Bar]

    @property
    def complete(self) -> bool:
        """Whether all that was asked for before the start is there."""

    def current(self) -> Bar | None:
        """The growing bar, where it is known."""


class Bars:
    """Finished bars of one instrument and period, oldest first; ``bars[-1]`` is the newest.

    Bars start at the session open (18:00 New York), the last one of a session ends with it, and a span without a
    price has no bar. One made of quotes is finished at its end time, before any quote that comes then or later; the
    venue's own are known when it has answered, some time after their end. What ``warm_up`` asked for comes first.
    """

    __slots__ = ("_bars", "_maker", "instrument", "period")

    def __init__(self, maker: BarSource) -> None:
        self.instrument = maker.instrument
        self.period = maker.period
        self._maker = maker
        self._bars = maker.finished

    @property
    def complete(self) -> bool:
        """Whether all bars that ``warm_up`` asked for came; True where it asked for none."""
        return self._maker.complete

    def __len__(self) -> int:
        return len(self._bars)

    def __getitem__(self, index: int) -> Bar:
        return self._bars[index]

    def __iter__(self) -> Iterator[Bar]:
        return iter(self._bars)

    @property
    def current(self) -> Bar | None:
        """The bar that is still growing; None when it has no price yet, and always for the venue's bars."""
        return self._maker.current()

    @property
    def open(self) -> NDArray[np.float64]:
        """Opening prices in points, shape ``(len(bars),)``."""
        return np.array([bar.open for bar in self._bars])

    @property
    def high(self) -> NDArray[np.float64]:
        """Highs in points, shape ``(len(bars),)``."""
        return np.array([bar.high for bar in self._bars])

    @property
    def low(self) -> NDArray[np.float64]:
        """Lows in points, shape ``(len(bars),)``."""
        return np.array([bar.low for bar in self._bars])

    @property
    def close(self) -> NDArray[np.float64]:
        """Closing prices in points, shape ``(len(bars),)``."""
        return np.array([bar.close for bar in self._bars])


class BarBuilder:
    """Grows one bar from quotes. ``at_end`` is called with a bar's end time when a bar begins, to be closed then."""

    def __init__(self, instrument: str, period: str, basis: Basis, at_end: Callable[[Ns], None]) -> None:
        if basis not in ("last", "mid", "bid", "ask"):
            raise StrategyError(f"{basis!r} is not a price to build bars from; choose last, mid, bid or ask")
        self.instrument = instrument
        self.period = period
        self.basis = basis
        self.finished: deque[Bar] = deque(maxlen=KEPT)
        self.complete = True
        self._span = parse_period(period)
        self._at_end = at_end
        self._running = False
        self._start: Ns = 0
        self._end: Ns = 0
        self._open = self._high = self._low = self._close = 0.0
        self._volume = 0
        self._seen: int | None = None
        self._quotes = 0

    def update(self, quote: Quote) -> None:
        """Take one quote; of one that does not tell the price, the volume counts."""
        ts, volume = quote.ts, quote.volume
        if not self._running or ts >= self._end:
            self._begin(ts)
        if volume is not None:
            if self._seen is not None and volume > self._seen:
                self._volume += volume - self._seen
            self._seen = volume
        price = getattr(quote, self.basis)
        if price is None:
            return
        if self._quotes == 0:
            self._open = self._high = self._low = price
        elif price > self._high:
            self._high = price
        elif price < self._low:
            self._low = price
        self._close = price
        self._quotes += 1

    def _begin(self, ts: Ns) -> None:
        session = session_at(ts)
        if self._span is None or ts < session.open:
            self._start, self._end = min(ts, session.open), session.close if self._span is None else session.open
        else:
            self._start, self._end = span_at(ts, self._span)
        self._running = True
        self._volume = self._quotes = 0
        self._at_end(self._end)

    def current(self) -> Bar | None:
        """The growing bar."""
        if not self._quotes:
            return None
        return Bar(
            self.instrument,
            self.period,
            self._start,
            self._end,
            self._open,
            self._high,
            self._low,
            self._close,
            self._volume,
            self._quotes,
        )

    def finish(self, end: Ns) -> Bar | None:
        """Close the bar that ends at ``end``, if it still grows; None when it saw no price."""
        if not self._running or self._end != end:
            return None
        bar = self.current()
        if bar is not None:
            self.finished.append(bar)
        self._running, self._quotes = False, 0
        return bar


class BarMaker:
    """All bars of an engine; those of one instrument, period and price are built once for everyone."""

    def __init__(
        self,
        feeds: Feeds,
        schedule: Callable[[Ns, Callable[[], None]], None],
        call: Callable[[Callable[[Bar], None], Bar], None] = lambda hearer, bar: hearer(bar),
    ) -> None:
        self._feeds = feeds
        self._schedule = schedule
        self._call = call
        self._builders: dict[tuple[str, str, str], BarBuilder] = {}
        self._hearers: dict[tuple[str, str, str], list[Callable[[Bar], None]]] = {}

    def bars(
        self,
        instrument: str,
        period: str,
        basis: Basis,
        hearer: Callable[[Bar], None],
        past: tuple[Iterable[Bar], bool] = ((), True),
    ) -> Bars:
        """Bars from now on; ``hearer`` is called at the end of each.

        ``past`` are finished ones from before, and whether they are all that was wanted: they come first when these
        bars are new.
        """
        key = (instrument, period, basis)
        if key not in self._builders:
            builder = BarBuilder(instrument, period, basis, lambda end: self._finish_at(key, end))
            builder.finished.extend(past[0])
            builder.complete = past[1]
            self._builders[key] = builder
            self._hearers[key] = []
            self._feeds.hear(instrument, builder.update, BARS)
        if hearer not in self._hearers[key]:
            self._hearers[key].append(hearer)
        return Bars(self._builders[key])

    def _finish_at(self, key: tuple[str, str, str], end: Ns) -> None:
        def finish() -> None:
            bar = self._builders[key].finish(end)
            if bar is not None:
                for hearer in self._hearers[key]:
                    self._call(hearer, bar)

        self._schedule(end, finish)
