"""Where a simulated server's quotes come from: a recording, or an endless synthetic market.

A feed is a plain object on the server's clock: ``due`` says when its next frame is, ``next`` gives it. It decides
which instruments there are at all, and so which dated name stands behind a root. One that knows the past has
``minutes`` for GetBars, and ``began`` if its past has a beginning, and one may have a ``source``, the name by which
GetQuote tells where its quotes come from; without them there are no bars, and the quotes are called simulated.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from fractions import Fraction
from typing import Final, Protocol

import msgspec
import numpy as np
from attrs import frozen

from xtalgo.engine.series import QuoteTable
from xtalgo.model.errors import ConfigError
from xtalgo.model.events import Quote
from xtalgo.model.instruments import ContractBook
from xtalgo.model.roots import ROOTS
from xtalgo.model.sessions import session_at
from xtalgo.model.types import MINUTE_NS, NEVER, SECOND_NS, Ns
from xtalgo.sim.history import NONE, MinuteLog, Minutes
from xtalgo.sim.market import SyntheticMarket
from xtalgo.sim.past import Past
from xtalgo.sim.profile import spec_for

__all__ = ["PLAYBACK", "SIMULATED", "Feed", "SyntheticFeed", "TableFeed", "front_month"]

SIMULATED: Final = "Simulated Data Feed"
"""What NinjaTrader calls a feed that makes its quotes up."""

PLAYBACK: Final = "Playback Connection"
"""What NinjaTrader calls a feed that plays a recorded market."""

_CHUNK: Final = 2_048
_MONTH_CODES: Final = "FGHJKMNQUVXZ"
_QUARTERS: Final = "HMUZ"
_ROLL_DAYS: Final = 8


class Feed(Protocol):
    """What a server needs of its market."""

    due: Ns
    """Stamp of the next frame; ``NEVER`` when there is no more."""

    def next(self) -> tuple[Ns, tuple[Quote, ...]]:
        """The next frame, all its quotes under one stamp, each instrument at most once; moves ``due``."""

    def knows(self, text: str) -> str | None:
        """The canonical dated name that an instrument in any spelling stands for; None where there is none."""

    def want(self, name: str) -> None:
        """Somebody asked for the instrument of this canonical name: an endless market quotes it from now on."""


def _fraction(speed: float) -> Fraction:
    if isinstance(speed, bool) or not 0.001 <= speed <= 1_000_000:
        raise ConfigError(f"speed is a number from 0.001 to 1000000, not {speed!r}")
    return Fraction(speed).limit_denominator(1_000_000)


# ---------------------------------------------------------------------------------------------------- recordings


class TableFeed:
    """The quotes of a recording, as they were, nothing conflated and nothing made up.

    One frame for each recorded stamp; where one instrument has several rows under one stamp they come in as many
    frames, in the order of the rows. With ``start`` left out stamps are as recorded. Otherwise they are moved so that
    the first frame is at ``start``, and spans between them are divided by ``speed``.

    ``synthetic=False`` says that the recording is of a real market; without it the quotes are called simulated, since
    calling a real recording that does less harm than the other way round.

    Raises ConfigError for an instrument without contract facts.
    """

    def __init__(
        self,
        table: QuoteTable,
        contracts: ContractBook,
        *,
        start: Ns | None = None,
        speed: float = 1.0,
        synthetic: bool = True,
    ) -> None:
        for name in table.instruments:
            contracts.contract(name)
        if start is None and speed != 1.0:
            raise ConfigError("a recording at its own stamps can't run at another speed; give a start too")
        self.source = SIMULATED if synthetic else PLAYBACK
        """What GetQuote says of where the quotes come from."""
        self._table = table
        self._contracts = contracts
        self._start = start
        self._speed = _fraction(speed)
        self._known: dict[str, str | None] = {}
        self._rows = self._quotes()
        self._row = next(self._rows, None)
        self._first = self._row.ts if self._row is not None else 0
        self.due: Ns = self._stamp(self._row)
        """Stamp of the next frame."""

    def _quotes(self) -> Iterator[Quote]:
        for start in range(0, len(self._table), _CHUNK):
            yield from self._table.quotes(start, start + _CHUNK)

    def _stamp(self, quote: Quote | None) -> Ns:
        if quote is None:
            return NEVER
        return self._stamped(quote.ts)

    def _stamped(self, ts: Ns) -> Ns:
        if self._start is None:
            return ts
        span = ts - self._first
        return self._start + span * self._speed.denominator // self._speed.numerator

    def next(self) -> tuple[Ns, tuple[Quote, ...]]:
        """The next frame. Raises ConfigError after the last."""
        row = self._row
        if row is None:
            raise ConfigError("the recording is over; look at `due` before asking for a frame")
        recorded, stamp = row.ts, self.due
        frame: dict[str, Quote] = {}
        while row is not None and row.ts == recorded and row.instrument not in frame:
            frame[row.instrument] = row if recorded == stamp else msgspec.structs.replace(row, ts=stamp)
            row = next(self._rows, None)
        self._row = row
        self.due = self._stamp(row)
        return stamp, tuple(frame.values())

    def knows(self, text: str) -> str | None:
        """The recording's instrument that ``text`` means; None also where it could mean several."""
        if text not in self._known:
            if len(self._known) > 10_000:
                self._known.clear()
            try:
                self._known[text] = self._contracts.pin(text, self._table.instruments)
            except ConfigError:
                self._known[text] = None
        return self._known[text]

    def want(self, name: str) -> None:
        """Nothing: a recording has what it has."""

    def began(self, name: str) -> Ns:
        """When the recording of an instrument begins: bars that began before are not known whole."""
        rows = self._table.rows(name)
        return self._stamped(int(self._table.ts[rows.start])) if rows.stop > rows.start else 0

    def minutes(self, name: str, since: Ns) -> Minutes:
        """The minutes from ``since`` on of what the recording has shown so far; nothing before it."""
        table = self._table
        if name not in table.instruments:
            return NONE
        rows = table.rows(name)
        stamps = table.ts[rows]
        if self._start is not None:
            stamps = self._start + (stamps - self._first) * self._speed.denominator // self._speed.numerator
        low, high = np.searchsorted(stamps, [since, self.due])
        if low >= high:
            return NONE
        first, last = rows.start + int(low), rows.start + int(high)
        price = np.where(
            np.isnan(table.last[first:last]),
            (table.bid[first:last] + table.ask[first:last]) / 2,
            table.last[first:last],
        )
        # The volume counts from the session's open: where it falls, a new one began.
        volume = table.volume[max(rows.start, first - 1) : last]
        grown = np.diff(volume, prepend=volume[0])
        grown = np.where(grown < 0, volume, grown)[len(volume) - len(price) :]
        told = volume[len(volume) - len(price) :] >= 0
        return Minutes.of_rows(stamps[low:high], price, np.where(told, grown, 0))


# --------------------------------------------------------------------------------------------- synthetic markets


def front_month(root: str, day: dt.date) -> str:
    """The dated name that a bare root stands for on a trading day.

    The rule is that of the equity indices, for every root: a contract is the front month until eight days before the
    third Friday of its delivery month, and the root's next delivery month is from that day on. (Oil, metals and
    grains roll by other rules; for practice on synthetic quotes that makes no difference.) A root without facts of
    its own is taken to be delivered in March, June, September and December.
    """
    facts = ROOTS.get(root)
    months = [_MONTH_CODES.index(code) + 1 for code in (facts.months if facts else _QUARTERS)]
    for year in (day.year, day.year + 1):
        for month in months:
            first = dt.date(year, month, 1)
            third_friday = first + dt.timedelta(days=(4 - first.weekday()) % 7 + 14)
            if day < third_friday - dt.timedelta(days=_ROLL_DAYS):
                return f"{root} {month:02d}-{year % 100:02d}"
    raise AssertionError(f"{root} has no delivery month in two years")


class SyntheticFeed:
    """An endless synthetic market from ``start`` on, about one frame a second, of whatever was asked for.

    Roots stand for the ``front_month`` of the trading day that ``start`` lies in, for as long as the feed lives; any
    dated name of a root with contract facts is accepted as asked. Until the first instrument is wanted the frames are
    empty. The quotes of an instrument depend on ``seed``, name and ``start``'s day alone, not on when or with which
    others it was asked for.

    ``speed`` makes the market run so many times as fast. ``always_open`` leaves out the daily break and weekends:
    stamps stay on the server's clock, and the source's time jumps to the next open, so that a demo works on a Sunday.
    """

    def __init__(
        self, seed: int, contracts: ContractBook, start: Ns, *, speed: float = 1.0, always_open: bool = False
    ) -> None:
        if isinstance(seed, bool) or not isinstance(seed, int) or seed < 0:
            raise ConfigError(f"a seed is a whole number from 0, not {seed!r}")
        self.always_open = always_open
        """Whether the market has no closing hours."""
        self.source = SIMULATED
        """What GetQuote says of where the quotes come from."""
        self._seed = seed
        self._contracts = contracts
        self._start = start
        self._speed = _fraction(speed)
        self._day = session_at(start).day
        self._streams: dict[str, Iterator[tuple[Ns, tuple[Quote, ...]]]] = {}
        self._heads: dict[str, Quote] = {}
        self._told: dict[str, _Told] = {}
        self._skipped: Ns = 0
        self._last: Ns = start  # the source's time of the frame before the next
        self._source: Ns = start  # the source's time of the next frame
        self.due: Ns = start
        """Stamp of the next frame."""

    def next(self) -> tuple[Ns, tuple[Quote, ...]]:
        """The next frame; empty while nothing is wanted."""
        stamp, source = self.due, self._source
        frame = tuple(
            quote if quote.ts == stamp else msgspec.structs.replace(quote, ts=stamp) for quote in self._heads.values()
        )
        for quote in frame:
            self._told[quote.instrument].log.take(quote)
        self._last = source
        for name, frames in self._streams.items():
            self._heads[name] = next(frames)[1][0]
        self._schedule()
        return stamp, frame

    def _schedule(self) -> None:
        # Every instrument of a seed and day has the same stamps, so any of the heads will do.
        head = next(iter(self._heads.values()), None)
        source = self._last + SECOND_NS if head is None else head.ts
        if self.always_open and source - self._last > MINUTE_NS:
            self._skipped += source - self._last - SECOND_NS
        self._source = source
        span = source - self._start - self._skipped
        # A market that is wanted late begins a little before its neighbours' idle frames did: never step back.
        self.due = max(self.due, self._start + span * self._speed.denominator // self._speed.numerator)

    def knows(self, text: str) -> str | None:
        """The canonical dated name; None for text that is no instrument, or one without contract facts."""
        try:
            parsed = self._contracts.parse(text)
            name = parsed.dated(self._day.year) if parsed.is_dated else front_month(parsed.root, self._day)
            return self._contracts.contract(name).name
        except ConfigError:
            return None

    def want(self, name: str) -> None:
        """Quote the instrument from the next frame on. Takes some 0.15 s of work, once a session of the market."""
        if name in self._streams:
            return
        if self._heads:
            begins = self._source
        else:
            begins = self._last + 1 if self._last > self._start else self._start
        market = SyntheticMarket(self._seed, (spec_for(name, self._contracts),), self._day)
        frames = market.frames(begins)
        first = not self._heads
        self._streams[name] = frames
        self._heads[name] = next(frames)[1][0]
        self._told[name] = self._before(market, begins)
        if first:
            self._schedule()

    def minutes(self, name: str, since: Ns) -> Minutes:
        """The minutes from ``since`` on: of what was quoted, of the session before that, and of a past made up for it.

        Where an instrument was first wanted in a later session than that of ``start``, the sessions between have none.
        """
        told = self._told.get(name)
        if told is None:
            return NONE
        return Minutes.joined([told.past.minutes(since), told.before, told.log.minutes()]).since(since)

    def _before(self, market: SyntheticMarket, begins: Ns) -> _Told:
        """What a market showed in its session until it was quoted here, on the server's clock, and its past."""
        session = max(session_at(begins), session_at(self._start), key=lambda each: each.open)
        quotes = market.session(session.day).quotes[0]
        row = int(np.searchsorted(quotes.ts, begins))
        stamps = quotes.ts[:row]
        span = (stamps - self._start - self._skipped) * self._speed.denominator // self._speed.numerator
        stamps = np.where(stamps < self._start, stamps, self._start + span)
        growth = np.diff(quotes.volume[:row], prepend=0)
        before = Minutes.of_rows(stamps, quotes.prices("last")[:row], growth) if row else NONE
        return _Told(
            Past(self._seed, market.specs[0], self._day), before, MinuteLog(int(quotes.volume[row - 1]) if row else 0)
        )


@frozen
class _Told:
    """What there is of one instrument: its past, its session before it was quoted, and what was quoted."""

    past: Past
    before: Minutes
    log: MinuteLog
