"""Prefix invariance: what was decided on the first k quotes is the same whether or not the rest exists.

For every strategy file in strategies/, and for strategies that use what those do not (brackets, timers, bars, two
instruments, resting orders, targets that are denied), on random walks of ES and MNQ.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import ES, MNQ, SECOND, START

from xtalgo import (
    Bar,
    Columns,
    Ema,
    Fill,
    History,
    Instrument,
    Order,
    Quote,
    QuoteTable,
    ReplaySettings,
    RiskLimits,
    SignalStrategy,
    Strategy,
    rolling,
)
from xtalgo.sim.replay import Replay

ROWS = 3_000

FILES = sorted((Path(__file__).parents[2] / "strategies").glob("*.py"))

FASTER: dict[str, dict[str, Any]] = {
    "momo": {"fast": 3, "slow": 12},
    "fade": {"length": 40, "width": 1.5},
    "together": {"length": 20, "stop_loss": 4, "take_profit": 4},
    "breakout": {"period": "1m", "length": 2},
}
"""Parameters with which the example strategies trade often enough on a short recording."""

FEWER: dict[str, tuple[int, int]] = {"breakout faster": (12, 6), "Ranges": (18, 10)}
"""How much those do at least that act on bars, of which a short recording has few: decisions and fills."""


@lru_cache(maxsize=8)
def market(seed: int, rows: int = ROWS) -> QuoteTable:
    """ES and MNQ on random walks: odd and equal stamps, sizes, volume, crossed quotes, and a night in the middle."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, 2, rows)
    gaps = random.choice([0.0, 0.2, 0.5, 0.5, 1.0], rows)
    gaps[rows // 2] = 9 * 3_600  # from 10:something over the close and the open of the next session
    bids = np.where(codes == 0, 4800.0, 25000.0)
    for code in (0, 1):
        steps = random.choice([-3, -1, 0, 0, 1, 3], int((codes == code).sum()))
        bids[codes == code] += np.cumsum(steps) * 0.25
    spread = random.choice([-1, 0, 1, 1, 1, 1, 1, 2], rows) * 0.25
    return QuoteTable.from_rows(
        (ES, MNQ),
        codes,
        START + np.round(np.cumsum(gaps) * SECOND).astype(np.int64),
        bids,
        bids + spread,
        bids + random.choice([0, 0.25], rows),
        np.cumsum(random.integers(0, 3, rows)),
        random.integers(0, 12, rows),
        random.integers(0, 12, rows),
    )


def strategies_in(path: Path) -> list[type[Strategy]]:
    """The strategy classes that a file defines, imported as a module of its own."""
    name = f"prefix_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Strategy) and value.__module__ == name
    ]


# --- strategies for what the examples leave out -------------------------------------------------------------------


class Breakout(Strategy):
    """Bars, timers, stop entries that share an OCO id, brackets, and flat again."""

    instrument: Instrument = "ES"

    def on_start(self) -> None:
        self.range = self.bars(self.instrument, "1m", basis="mid")
        self.every(45, "flat")

    def on_bar(self, bar: Bar) -> None:
        tick = self.spec(self.instrument).tick_size
        group = {"oco": f"b-{bar.start}", "stop_loss": 6, "take_profit": 9}
        self.buy(self.instrument, 2, stop_price=bar.high + 2 * tick, **group)
        self.sell(self.instrument, 2, stop_price=bar.low - 2 * tick, **group)

    def on_timer(self, tag: str) -> None:
        self.cancel_all()
        if len(self.range) % 3 == 0:
            self.flatten()


class Pair(Strategy):
    """Two instruments, targets in both."""

    first: Instrument = "ES"
    second: Instrument = "MNQ"

    def on_start(self) -> None:
        self.slow = Ema(60)

    def on_quote(self, quote: Quote) -> None:
        a, b = self.quote(self.first), self.quote(self.second)
        if a is None or b is None:
            return
        ratio = a.mid / b.mid
        gap = ratio / self.slow.update(ratio) - 1
        if self.slow.ready and abs(gap) > 0.00002:
            side = -1 if gap > 0 else 1
            self.order_target(self.first, side)
            self.order_target(self.second, -2 * side)


class Trailing(Strategy):
    """A stop of its own that follows by change; everything decided in callbacks other than on_quote."""

    instrument: Instrument = "ES"

    def on_start(self) -> None:
        self.stop: Order | None = None
        self.every(20, "enter")

    def on_timer(self, tag: str) -> None:
        if not self.position(self.instrument) and not self.orders(self.instrument):
            self.buy(self.instrument, 3)

    def on_fill(self, fill: Fill) -> None:
        if fill.side > 0:
            self.stop = self.sell(self.instrument, fill.quantity, stop_price=fill.price - 1.5, tif="GTC")

    def on_quote(self, quote: Quote) -> None:
        if self.stop is not None and self.stop.is_open and quote.bid - 1.5 > (self.stop.stop_price or 0.0):
            self.change(self.stop, stop_price=quote.bid - 1.5)

    def on_order(self, order: Order) -> None:
        self.note(str(order.status), order=order.id)


class Maker(Strategy):
    """Limits on both sides, moved all the time: more requests than there are tokens."""

    instrument: Instrument = "MNQ"

    def on_start(self) -> None:
        self.bid: Order | None = None
        self.ask: Order | None = None

    def on_quote(self, quote: Quote) -> None:
        held = self.position(self.instrument)
        if self.bid is None or self.bid.is_done:
            self.bid = self.buy(self.instrument, 1, limit_price=quote.bid - 0.5) if held < 4 else None
        elif quote.bid - 1.0 > (self.bid.limit_price or 0.0):
            self.change(self.bid, limit_price=quote.bid - 0.5)
        if self.ask is None or self.ask.is_done:
            self.ask = self.sell(self.instrument, 1, limit_price=quote.ask + 0.5) if held > -4 else None
        elif self.ask.pending_change is False and quote.ask + 1.0 < (self.ask.limit_price or 0.0):
            self.cancel(self.ask)


class Cross(SignalStrategy):
    """A signal, with a target that the limits deny now and then."""

    instrument: Instrument = "ES"

    @property
    def lookback(self) -> int:
        return 30

    def signal(self, columns: Columns) -> Any:
        gap = columns.mid - rolling.rolling_mean(columns.mid, 30)
        return np.where(np.abs(gap) < 2, np.nan, np.sign(gap) * np.minimum(np.abs(gap) // 2, 5))


class Watcher(Strategy):
    """Windows, accounts, and orders that are held back while exits make room."""

    instrument: Instrument = "ES"

    def on_start(self) -> None:
        self.past = self.window(self.instrument, 25)
        self.seen = 0

    def on_quote(self, quote: Quote) -> None:
        self.seen += 1
        if self.seen % 10 or not self.past.full:
            return
        account = self.accounts[self.seen // 10 % len(self.accounts)]
        rise = self.past.bid[-1] - self.past.bid[0]
        held = self.position(self.instrument, account=account)
        if rise > 0.5 and held <= 0:
            self.buy(self.instrument, 2 - held, stop_loss=5, account=account)
        elif rise < -0.5 and held >= 0:
            self.sell(self.instrument, 2 + held, stop_loss=5, take_profit=5, account=account)
        elif held:
            self.close(self.instrument, account=account)


class Ranges(Strategy):
    """The venue's bars in two instruments, beside bars of quotes, with warm-up; all that it sees is noted."""

    first: Instrument = "ES"
    second: Instrument = "MNQ"

    def warm_up(self) -> Iterable[History]:
        return [History(self.first, "1m", 20), History(self.second, "2m", 5)]

    def on_start(self) -> None:
        self.made = [
            self.bars(self.first, "1m", source="venue"),
            self.bars(self.second, "2m", source="venue"),
            self.bars(self.second, "1m", source="venue"),
            self.bars(self.first, "1m"),
        ]
        self.note("warm", seen=[len(bars) for bars in self.made])

    def on_bar(self, bar: Bar) -> None:
        self.note("bar", bar=bar, seen=[len(bars) for bars in self.made])
        if bar.source == "recording" and bar.period == "1m":
            self.order_target(bar.instrument, (bar.close > bar.open) - (bar.close < bar.open) or 2)


def maker(cls: type[Strategy], **given: Any) -> Callable[[], list[Strategy]]:
    return lambda: [cls(**given)]


def cases() -> Iterator[Any]:
    for path in FILES:
        for cls in strategies_in(path):
            yield pytest.param(maker(cls), id=path.stem)
            if path.stem in FASTER:
                yield pytest.param(maker(cls, **FASTER[path.stem]), id=f"{path.stem} faster")
    for cls in (Breakout, Pair, Trailing, Maker, Cross, Watcher, Ranges):
        yield pytest.param(maker(cls), id=cls.__name__)
    yield pytest.param(lambda: [Maker(), Breakout(), Cross(), Trailing()], id="four at once")


CASES = list(cases())

DEFAULT = ReplaySettings(
    limits=RiskLimits(max_position=4, daily_loss=2_000.0, max_orders_per_minute=60), accounts=("Sim101", "Apex-7")
)
"""The usual latencies, slippage and fees, and limits that deny now and then."""


def played(make: Callable[[], list[Strategy]], quotes: QuoteTable) -> Replay:
    run = Replay(make(), quotes, DEFAULT)
    run.run()
    return run


def check(whole: Replay, part: Replay, quotes: QuoteTable, count: int) -> None:
    """``part`` was played on the first ``count`` quotes only."""
    assert whole.engine.decisions[: part.decided] == part.engine.decisions[: part.decided]
    # Nor is anything missing: the next decision of the whole run is not of the time before the last of these quotes.
    last = quotes.stamps(count - 1, count)[0]
    if part.decided < len(whole.engine.decisions):
        assert whole.engine.decisions[part.decided][0] >= last
    # The venue did the same by then, and the notes say the same.
    done = [fill for fill in part.exchange.executions if fill.executed <= last]
    assert whole.exchange.executions[: len(done)] == done
    notes = [note for note in part.engine.notes if note.ts < last]
    assert whole.engine.notes[: len(notes)] == notes


@cache
def whole_run(make: Callable[[], list[Strategy]]) -> Replay:
    """Played on all quotes of the first market, once."""
    return played(make, market(1))


@pytest.mark.parametrize("make", CASES)
def test_decisions_do_not_depend_on_what_comes_later(make: Callable[[], list[Strategy]]) -> None:
    quotes = market(1)
    whole = whole_run(make)
    for count in (1, 2, 517, 1_333, ROWS // 2, ROWS // 2 + 1, ROWS - 1, ROWS):
        check(whole, played(make, quotes.head(count)), quotes, count)


@pytest.mark.parametrize("make", CASES)
@settings(max_examples=8, deadline=None)
@given(seed=st.integers(2, 2**32 - 1), count=st.integers(1, 600))
def test_decisions_do_not_depend_on_what_comes_later_wherever_it_is_cut(
    make: Callable[[], list[Strategy]], seed: int, count: int
) -> None:
    quotes = market(seed, 600)
    check(played(make, quotes), played(make, quotes.head(count)), quotes, count)


def test_the_strategies_decide_something() -> None:
    """An invariance of nothing proves nothing."""
    for case in CASES:
        if case.id in FASTER:
            continue  # with their own parameters they are too slow for a short recording
        run = whole_run(case.values[0])
        decisions, fills = FEWER.get(case.id, (50, 10))
        assert len(run.engine.decisions) > decisions, case.id
        assert len(run.exchange.executions) > fills, case.id


@pytest.mark.parametrize("make", [maker(Ranges), maker(Pair)], ids=["Ranges", "Pair"])
def test_nor_with_history(make: Callable[[], list[Strategy]]) -> None:
    quotes, count = market(1), ROWS // 2
    earlier, rest = quotes.head(count), _tail(quotes, count)
    whole = Replay(make(), rest, DEFAULT, history=quotes)
    whole.run()
    for kept in (1, 300, len(rest) - 1):
        part = Replay(make(), rest.head(kept), DEFAULT, history=earlier)
        part.run()
        check(whole, part, rest, kept)


def _tail(table: QuoteTable, count: int) -> QuoteTable:
    """The merged rows from ``count`` on."""
    rows = table.order[count:]
    columns = (getattr(table, name)[rows] for name in ("ts", "bid", "ask", "last", "volume", "bid_size", "ask_size"))
    return QuoteTable.from_rows(table.instruments, table.codes(count, len(table)), *columns)


def test_there_are_example_strategies() -> None:
    assert {"momo", "fade", "together", "breakout"} <= {path.stem for path in FILES}


def test_a_strategy_that_looks_ahead_is_found_out() -> None:
    """The check itself: a strategy that was given the recording, and peeks, decides differently on a part of it."""
    quotes = market(1)

    class Peeker(Strategy):
        instrument: Instrument = "ES"
        ahead: Any = None

        def on_start(self) -> None:
            self.seen = -1

        def on_quote(self, quote: Quote) -> None:
            self.seen += 1
            if self.seen + 50 < len(self.ahead) and self.seen % 20 == 0:
                away = -20.0 if self.ahead[self.seen + 50] > quote.bid else -10.0
                self.buy(self.instrument, 1, limit_price=quote.bid + away)

    def run(count: int) -> Replay:
        cut = quotes.head(count)
        return played(maker(Peeker, ahead=cut.bid[cut.rows(ES)]), cut)

    with pytest.raises(AssertionError):
        check(run(ROWS), run(1_000), quotes, 1_000)
