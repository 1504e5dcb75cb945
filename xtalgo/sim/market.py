"""A synthetic market: seeded quotes at the venue's cadence, for recordings to practise on and for a local server.

Everything that comes from here is SYNTHETIC. It resembles ES and MNQ as measured on small public samples (the shape
of the day, fat tails, clustering of volatility, spreads, sizes, volume, gaps); it says nothing about tomorrow, and a
strategy that earns money on it has found a property of this file.

How a quote comes about, from the inside out:

1. A *path* is an efficient price: per second a step of a common and an own Student-like shock, times the profile of
   the half hour, times a volatility of three log-normal factors (minutes, hours, days), plus rare news.
2. A *quote* follows the path on the grid of ticks. It moves only when the path leaves the quote by a margin, so in a
   quiet hour most seconds change nothing. The spread is drawn beside it and is at least one tick, always.
3. Sizes walk in small steps while a price stands and are drawn anew when it changes; the side that the path moves
   against is thin. Trades add to the volume and set the last price at the touch.

One frame a second carries all instruments under one stamp. Randomness is keyed by (seed, session, path or
instrument), so an instrument's quotes do not depend on which others are asked for. Paths are summed in integers, and
what transcendental functions return is rounded to a coarse grid before it is added up, so that the last bit of a
platform's ``exp`` has hardly a way to show.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Iterable, Iterator
from typing import Any, TypeAlias, TypeVar

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from xtalgo.engine.series import QuoteTable
from xtalgo.model.errors import ConfigError
from xtalgo.model.events import Quote
from xtalgo.model.instruments import Contract
from xtalgo.model.sessions import NEW_YORK, Session, local_instant, session_at
from xtalgo.model.types import MILLISECOND_NS, Ns
from xtalgo.sim import profile
from xtalgo.sim.paths import FRAMES_PER_SESSION, SECONDS, SLOT, UNITS, Common, Path, stream
from xtalgo.sim.profile import MarketSpec, PathSpec

__all__ = ["FRAMES_PER_SESSION", "InstrumentQuotes", "SessionQuotes", "SyntheticMarket"]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Sizes: TypeAlias = NDArray[np.int32]
Flags: TypeAlias = NDArray[np.bool_]
_Column = TypeVar("_Column", bound=NDArray[Any])

_CASH = (SLOT >= 31) & (SLOT < 44)  # 09:30 to 16:00 New York
_OPENING = np.less(SECONDS, profile.WIDE_AFTER_OPEN[0])
_SUB = 1_024  # efficient prices are integers in units of 1/1024 tick
_MARGIN = int(profile.FOLLOW_MARGIN * _SUB)
_FLOOR_TICKS = 20  # no price falls below this, whatever the path does


@frozen(eq=False)
class InstrumentQuotes:
    """Synthetic quotes of one instrument over one session, one row a frame, read-only.

    ``ts`` int64 nanoseconds UTC; ``bid``, ``ask``, ``last`` int64 ticks; ``volume`` int64 contracts since the
    session's open; ``bid_size`` and ``ask_size`` int32 contracts.
    """

    contract: Contract
    ts: Ints
    bid: Ints
    ask: Ints
    last: Ints
    volume: Ints
    bid_size: Sizes
    ask_size: Sizes

    def __len__(self) -> int:
        return len(self.ts)

    def prices(self, column: str) -> Floats:
        """``bid``, ``ask`` or ``last`` as canonical prices in points."""
        ticks: Ints = getattr(self, column)
        return self.contract.prices_of(ticks)


@frozen(eq=False)
class SessionQuotes:
    """Synthetic quotes of all instruments of a market over one session; every one has the stamps ``ts``."""

    session: Session
    ts: Ints
    quotes: tuple[InstrumentQuotes, ...]

    def __getitem__(self, name: str) -> InstrumentQuotes:
        return self.quotes[self.instruments.index(name)]

    @property
    def instruments(self) -> tuple[str, ...]:
        """The canonical names, in the order of the specifications."""
        return tuple(quotes.contract.name for quotes in self.quotes)

    def table(self) -> QuoteTable:
        """All rows as a table with prices in points; within a frame in the order of the specifications."""
        frames, count = len(self.ts), len(self.quotes)

        def joined(columns: list[NDArray[Any]]) -> NDArray[Any]:
            return _locked(np.concatenate(columns))

        return QuoteTable(
            self.instruments,
            tuple(range(0, frames * count + 1, frames)),
            joined([quotes.ts for quotes in self.quotes]),
            joined([quotes.prices("bid") for quotes in self.quotes]),
            joined([quotes.prices("ask") for quotes in self.quotes]),
            joined([quotes.prices("last") for quotes in self.quotes]),
            joined([quotes.volume for quotes in self.quotes]),
            joined([quotes.bid_size for quotes in self.quotes]),
            joined([quotes.ask_size for quotes in self.quotes]),
            _locked(np.arange(frames * count, dtype=np.int32).reshape(count, frames).T.ravel()),
        )


def _specs(given: Iterable[MarketSpec]) -> tuple[MarketSpec, ...]:
    return tuple(given)


@define(eq=False)
class SyntheticMarket:
    """An endless synthetic market of some instruments, one session after the other.

    The start prices of ``specs`` hold at the open of the session of ``first``; ``seed`` is any int from 0. The same
    three give the same bits, whatever is asked for in which order. A market with further instruments, and the same
    ``seed`` and ``first``, has the same quotes for those that both have: to add one, make a new market.
    """

    seed: int
    specs: tuple[MarketSpec, ...] = field(converter=_specs)
    first: dt.date
    _closes: dict[PathSpec, list[float]] = field(factory=dict, init=False, repr=False)
    _common: tuple[int, Common] | None = field(default=None, init=False, repr=False)
    _latest: SessionQuotes | None = field(default=None, init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        names = [spec.name for spec in self.specs]
        if not names or len(set(names)) < len(names):
            raise ConfigError(f"a market needs instruments, each of them once, not {names}")
        if self.seed < 0:
            raise ConfigError(f"a seed is a whole number from 0, not {self.seed}")
        _session_of(self.first)

    def session(self, day: dt.date) -> SessionQuotes:
        """The quotes of the session named after ``day``; ConfigError for a weekend or a day before ``first``.

        The newest answer is kept. A day far ahead costs the paths, not the quotes, of all days before it.
        """
        session = _session_of(day)
        if day < self.first:
            raise ConfigError(f"this market begins on {self.first}; it has no {day}")
        if self._latest is None or self._latest.session != session:
            ordinal = _ordinal(day)
            ts = _stamps(stream(self.seed, ordinal, "clock"), session)
            paths = {spec.path: self._path(spec.path, ordinal) for spec in self.specs}
            self._latest = SessionQuotes(
                session,
                ts,
                tuple(
                    _quotes(spec, ts, *paths[spec.path], stream(self.seed, ordinal, f"quotes/{spec.name}"))
                    for spec in self.specs
                ),
            )
        return self._latest

    def frames(self, start: Ns) -> Iterator[tuple[Ns, tuple[Quote, ...]]]:
        """Frame by frame from the first stamp at or after ``start``, without end: the stamp, and a quote of each.

        A ``start`` before the market's first session means its open. A session is made when its first frame is
        asked for, which takes about 0.15 s an instrument.
        """
        count = len(self.specs)
        session = max(session_at(start), _session_of(self.first), key=lambda each: each.open)
        while True:
            quotes = self.session(session.day)
            row = int(np.searchsorted(quotes.ts, start))
            table = quotes.table()
            while row < len(quotes.ts):  # in chunks: boxing a whole session would make the first frame wait
                rows = table.quotes(row * count, (row + 1_000) * count)
                for k in range(0, len(rows), count):
                    yield rows[k].ts, tuple(rows[k : k + count])
                row += 1_000
            session = session_at(session.close)

    def _path(self, spec: PathSpec, ordinal: int) -> tuple[Path, float]:
        """The path of a session, and the level it opens at (1 is the start price)."""
        first = _ordinal(self.first)
        closes = self._closes.setdefault(spec, [1.0])  # closes[k]: the level just before the k-th session
        for number in range(first + len(closes) - 1, ordinal):
            closes.append(self._draw(spec, number).close(closes[-1], number > first))
        path = self._draw(spec, ordinal)
        before = closes[ordinal - first]
        if len(closes) == ordinal - first + 1:
            closes.append(path.close(before, ordinal > first))
        return path, path.open(before, ordinal > first)

    def _draw(self, spec: PathSpec, ordinal: int) -> Path:
        if self._common is None or self._common[0] != ordinal:
            self._common = (ordinal, Common.draw(self.seed, ordinal))
        return Path.draw(self.seed, ordinal, spec, self._common[1])


# ---------------------------------------------------------------------------------------------------------- time


def _session_of(day: dt.date) -> Session:
    session = session_at(local_instant(day, dt.time(12), NEW_YORK))
    if session.day != day:
        raise ConfigError(f"{day} is a {day:%A}; sessions are named after Monday to Friday")
    return session


def _ordinal(day: dt.date) -> int:
    """Number of a session, counted in weekdays; every fifth is a Monday's."""
    weeks, weekday = divmod(day.toordinal() - 1, 7)
    return weeks * 5 + weekday


def _stamps(random: np.random.Generator, session: Session) -> Ints:
    """One stamp a second with a constant phase and up to 8 ms of delay, in whole milliseconds."""
    phase = int(random.random() * 900)
    late = random.random(FRAMES_PER_SESSION)
    millis = SECONDS * 1_000 + phase + (late * late * late * 9).astype(np.int64)
    return _locked(session.open + millis * MILLISECOND_NS)


# --------------------------------------------------------------------------------------------------------- paths


# -------------------------------------------------------------------------------------------------------- quotes


def _quotes(spec: MarketSpec, ts: Ints, path: Path, level: float, random: np.random.Generator) -> InstrumentQuotes:
    """Quotes around a path that opens at ``level`` times the start price."""
    opening = spec.start_price / spec.contract.tick_size * level * _SUB
    efficient = np.rint(opening * (1 + path.returns / UNITS)).astype(np.int64)
    efficient = np.maximum(efficient, _FLOOR_TICKS * _SUB)

    # A second without an event repeats the frame before: up to `quiet` of them at night, none in the cash session.
    pace = profile.VOLUME_PER_MINUTE[spec.path.profile]
    busy = (1 - spec.quiet * np.exp(-12 * (pace - pace.min()) / pace.max()))[SLOT]
    active = random.random(FRAMES_PER_SESSION) < busy
    efficient = efficient[_held(active)]
    base = _follow(efficient)
    lean = (efficient - (base * _SUB + _SUB // 2)) / _SUB  # ticks from the middle of the pair, to 0.5 + margin

    spread, drawn = _spreads(spec, path.volatility, active, random)
    ask = base + 1 + (spread - 1 + (lean > 0)[drawn]) // 2
    bid = ask - spread
    rate = pace[SLOT] * (spec.volume / 60) / busy * path.volatility
    rate *= np.rint(np.exp(path.flow - profile.FLOW[0] ** 2 / 2) * 65_536) / 65_536
    growth, last = _trades(rate, bid, ask, np.diff(base, prepend=base[0]), active, random)
    return InstrumentQuotes(
        spec.contract,
        ts,
        _locked(bid),
        _locked(ask),
        _locked(last),
        _locked(np.cumsum(growth)),
        _locked(_sizes(spec, bid, active, lean / spread, random)),
        _locked(_sizes(spec, ask, active, -lean / spread, random)),
    )


def _held(fresh: Flags) -> Ints:
    """For every frame the latest one, itself included, where ``fresh`` holds (frame 0 counts as fresh)."""
    return np.maximum.accumulate(np.where(fresh, SECONDS, 0))


def _follow(efficient: Ints) -> Ints:
    """The lower of the two ticks around the price, moved only when the price leaves the pair by ``_MARGIN``."""
    values = efficient.tolist()
    base = values[0] // _SUB
    low, high = base * _SUB - _MARGIN, (base + 1) * _SUB + _MARGIN
    bases = []
    for value in values:
        if not low <= value <= high:
            base = value // _SUB
            low, high = base * _SUB - _MARGIN, (base + 1) * _SUB + _MARGIN
        bases.append(base)
    return np.asarray(bases, dtype=np.int64)


def _spreads(spec: MarketSpec, volatility: Floats, active: Flags, random: np.random.Generator) -> tuple[Ints, Ints]:
    """The spread of every frame in ticks, and the frame it was drawn in.

    Wide spreads are more common after the open and while prices move fast.
    """
    chance = random.random(FRAMES_PER_SESSION)
    kept = random.random(FRAMES_PER_SESSION) < spec.spread_keep
    drawn = _held(active & ~kept)
    strain = np.where(_OPENING, profile.WIDE_AFTER_OPEN[1], 0.75 + 0.25 * np.minimum(volatility, 4.0))
    rare = ((1 - chance) / strain)[drawn]
    spread = np.ones(FRAMES_PER_SESSION, dtype=np.int64)
    for shares, hours in ((spec.spread_day, _CASH), (spec.spread_night, ~_CASH)):
        wider = 1.0
        for share in shares[:-1]:
            wider -= share
            spread += hours[drawn] & (rare < wider)
    return spread, drawn


def _sizes(spec: MarketSpec, price: Ints, active: Flags, lean: Floats, random: np.random.Generator) -> Sizes:
    """Contracts at one side: anew at a new price, else a mean-reverting walk; thin where ``lean`` is negative."""
    sd, half_life = profile.SIZE_WALK
    mean, sd_new = profile.SIZE_NEW
    stay = 0.5 ** (1 / half_life)
    draws = random.standard_normal(FRAMES_PER_SESSION)
    moved = np.diff(price, prepend=0) != 0
    # Both are "keep a part of the level, add something", which leaves one short loop.
    keeps = np.where(moved, 0.0, np.where(active, stay, 1.0)).tolist()
    adds = np.where(moved, mean + sd_new * draws, np.where(active, sd * math.sqrt(1 - stay * stay) * draws, 0.0))
    level = 0.0
    levels = [level := keep * level + add for keep, add in zip(keeps, adds.tolist(), strict=True)]
    median = spec.size * profile.SIZE_FACTOR[SLOT]
    sizes = np.rint(median * np.exp(np.asarray(levels) + profile.SIZE_LEAN * lean))
    return np.clip(sizes, 1, 1_000_000).astype(np.int32)


def _trades(
    rate: Floats, bid: Ints, ask: Ints, move: Ints, active: Flags, random: np.random.Generator
) -> tuple[Ints, Ints]:
    """Contracts traded in every frame at ``rate`` contracts an active second, and the last price."""
    chance, amount, repeat, early, swept = random.random((5, FRAMES_PER_SESSION))
    # Some seconds trade, and what they trade is geometric: few prints at night, a hum by day. A quote changes
    # because someone traded through it, unless hardly anyone trades here at all.
    changed = (np.diff(bid, prepend=0) != 0) | (np.diff(ask, prepend=0) != 0)
    often = 1 - np.exp(-rate / 3)
    often = np.where(changed, np.maximum(often, np.minimum(2 * rate, 1.0)), often)
    traded = (chance < often) & active
    traded[0] = True  # the first usable quote is the one after the first trade
    mean = np.maximum(rate / np.maximum(often, 1e-9), 1.001)
    count = np.ceil(np.log(np.maximum(amount, 1e-300)) / np.log1p(-1 / mean)).astype(np.int64)
    growth = np.where(traded, np.maximum(count, 1), 0)

    turns = np.where(traded & (repeat >= profile.SIGN_STAYS), -1, 1)
    buys = np.where(move != 0, move > 0, np.multiply.accumulate(turns) > 0)
    before = np.maximum(SECONDS - (early < 0.15), 0)  # some trades met the quote of the frame before
    beyond = np.where(swept < profile.SWEPT, np.where(buys, 1, -1), 0)
    prices = np.where(buys, ask[before], bid[before]) + beyond
    return growth, prices[_held(traded)]


def _locked(column: _Column) -> _Column:
    column.flags.writeable = False
    return column
