"""What a replay says came of it: P&L, round trips, the equity curve and the figures drawn from it, the digest.

Without latency, slippage or (unless said) commission: an order of row n fills on row n+1, at the ask or the bid.
ES: $50 a point, $12.50 a tick; MNQ: $2 a point. The ask is one tick above the bid.
"""

from __future__ import annotations

import datetime as dt
import math
import statistics
import zlib
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import ES, MNQ, SECOND, START, table

from xtalgo import (
    Fees,
    FillModel,
    Instrument,
    Latency,
    Quote,
    QuoteTable,
    ReplaySettings,
    Result,
    RiskLimits,
    Strategy,
    replay,
)
from xtalgo.model.sessions import from_datetime

MINUTE = 60 * SECOND
DAY = 24 * 60 * MINUTE


class Scripted(Strategy):
    """Does on each row what a test says."""

    instrument: Instrument = ES
    do: Any = None

    def on_start(self) -> None:
        self.row = -1

    def on_quote(self, quote: Quote) -> None:
        self.row += 1
        if self.row in self.do:
            self.do[self.row](self)


class Other(Scripted):
    pass


def costing(commission: float = 0.0, *, slippage: int = 0, **given: Any) -> ReplaySettings:
    return ReplaySettings(
        fills=FillModel(slippage=slippage),
        latency=Latency(entry=0, report=0),
        fees=Fees(commission=commission),
        **given,
    )


def play(
    do: Mapping[int, Callable[[Any], Any]], quotes: QuoteTable | Sequence[float], how: ReplaySettings | None = None
) -> Result:
    return replay(Scripted(do=do), quotes if isinstance(quotes, QuoteTable) else table(quotes), how or costing())


def at(stamps: Sequence[float], bids: Sequence[float], unit: int = SECOND) -> QuoteTable:
    """ES at stamps counted from START."""
    ts = [START + round(stamp * unit) for stamp in stamps]
    return QuoteTable.from_rows((ES,), [0] * len(ts), ts, list(bids), [bid + 0.25 for bid in bids])


def hold(row: int = 0) -> dict[int, Callable[[Any], Any]]:
    """Buy one and keep it."""
    return {row: lambda s: s.buy(ES, 1, tif="GTC")}


# --- realised, open, round trips ----------------------------------------------------------------------------------


def test_nothing_came_of_nothing() -> None:
    result = play({}, [4800.0] * 3)
    assert (result.orders, result.fills, result.round_trips, result.rpcs) == (0, (), (), 0)
    assert (result.realized_pnl, result.open_pnl, result.fees, result.net_pnl) == (0.0, 0.0, 0.0, 0.0)
    assert (result.max_drawdown, result.time_in_market, result.longest_token_wait) == (0.0, 0.0, 0.0)
    assert (result.sharpe, result.sharpe_sampling) == (None, "no trades")
    assert (result.profit_factor, result.win_rate) == (None, None)
    assert (len(result.equity.ts), len(result.equity.pnl), len(result.equity.in_market)) == (0, 0, 0)
    assert (result.quotes, result.instruments, result.denials) == (3, (ES,), {})


def test_realised_pnl_is_settled_against_the_average_cost() -> None:
    do = {0: lambda s: s.buy(ES, 1), 1: lambda s: s.buy(ES, 1), 2: lambda s: s.sell(ES, 1)}
    # Bought at 4800.25 and 4801.25, on average 4800.75; one sold at 4803.
    result = play(do, [4800.0, 4800.0, 4801.0, 4803.0, 4802.0], costing(2.0))
    assert result.realized_pnl == 2.25 * 50
    assert result.open_pnl == 1.25 * 50  # marked at the bid of 4802
    assert result.fees == 6.0
    assert result.net_pnl == 112.5 + 62.5 - 6.0
    assert result.round_trips == ()


def test_a_short_position_is_marked_at_the_ask() -> None:
    result = play({0: lambda s: s.sell(ES, 2)}, [4800.0, 4800.0, 4798.0])
    # Sold at 4800.00; the ask is 4798.25.
    assert result.open_pnl == 2 * 1.75 * 50


def test_an_open_position_is_marked_at_the_worse_side_of_a_crossed_quote() -> None:
    quotes = QuoteTable.from_rows(
        (ES,), [0] * 3, [START, START + SECOND, START + 2 * SECOND], [4800.0] * 3, [4800.25, 4800.25, 4799.0]
    )
    assert play(hold(), quotes).open_pnl == -1.25 * 50
    assert play({0: lambda s: s.sell(ES, 1)}, quotes).open_pnl == 0.0


def test_a_round_trip_is_from_flat_to_flat() -> None:
    do = {
        0: lambda s: s.buy(ES, 2),
        2: lambda s: s.sell(ES, 1),
        3: lambda s: s.buy(ES, 1),
        4: lambda s: s.sell(ES, 2),
    }
    # Bought 2 at 4800.25, sold 1 at 4803, bought 1 at 4804.25, sold 2 at 4805.
    result = play(do, [4800.0, 4800.0, 4802.0, 4803.0, 4804.0, 4805.0], costing(1.0))
    (trip,) = result.round_trips
    gross = (-2 * 4800.25 + 4803 - 4804.25 + 2 * 4805) * 50
    assert trip.pnl == pytest.approx(gross - 6)
    assert (trip.opened, trip.closed) == (START + SECOND, START + 5 * SECOND)
    assert (trip.owner, trip.account, trip.instrument) == ("Scripted", "Sim101", ES)
    assert result.realized_pnl == pytest.approx(gross)


def test_a_reversal_ends_one_round_trip_and_begins_the_next() -> None:
    do = {0: lambda s: s.buy(ES, 2), 2: lambda s: s.sell(ES, 3), 4: lambda s: s.buy(ES, 1)}
    # Bought 2 at 4800.25; sold 3 at 4803: 2 close, 1 opens; bought at 4804.25.
    result = play(do, [4800.0, 4800.0, 4802.0, 4803.0, 4804.0, 4804.0], costing(1.0))
    first, second = result.round_trips
    # Each bears its own fees: 4 contracts' sides and 2.
    assert first.pnl == pytest.approx(2 * 2.75 * 50 - 4)
    assert second.pnl == pytest.approx(-1.25 * 50 - 2)
    assert (first.closed, second.opened, second.closed) == (START + 3 * SECOND, START + 3 * SECOND, START + 5 * SECOND)
    assert result.fees == 6.0


def test_round_trips_belong_to_a_strategy_an_account_and_an_instrument() -> None:
    """Opposite positions of two strategies and of two accounts do not make each other flat."""
    first = Scripted(do={0: lambda s: [s.buy(ES, 1), s.sell(ES, 1, account="Apex-7")], 3: lambda s: s.flatten()})
    second = Other(do={0: lambda s: s.sell(ES, 1), 4: lambda s: s.flatten()})
    how = costing(accounts=("Sim101", "Apex-7"))
    result = replay([first, second], table([4800.0, 4800.0, 4801.0, 4802.0, 4803.0, 4804.0]), how)
    found = {(trip.owner, trip.account): trip.pnl for trip in result.round_trips}
    assert found == {
        ("Scripted", "Sim101"): (4803.0 - 4800.25) * 50,
        ("Other", "Sim101"): (4800.0 - 4804.25) * 50,
    }
    # The other account stayed open: short at 4800, the ask is 4804.25.
    assert result.open_pnl == -4.25 * 50


def test_winners_losers_and_those_in_between() -> None:
    # Bought and sold three times: +2 points, -1 point, and even (the ask of the one is the bid of the other).
    bids = [4800.0, 4800.0, 4802.25, 4803.0, 4803.0, 4802.25, 4800.0, 4800.0, 4800.25, 4800.25]
    do = {row: (lambda s: s.buy(ES, 1)) for row in (0, 3, 6)} | {row: (lambda s: s.sell(ES, 1)) for row in (1, 4, 7)}
    result = play(do, bids)
    assert [trip.pnl for trip in result.round_trips] == [100.0, -50.0, 0.0]
    assert result.profit_factor == 2.0
    assert result.win_rate == pytest.approx(1 / 3)


def test_the_profit_factor_is_none_without_losers_and_zero_without_winners() -> None:
    do = {0: lambda s: s.buy(ES, 1), 1: lambda s: s.sell(ES, 1)}
    won = play(do, [4800.0, 4800.0, 4802.0, 4802.0])
    lost = play(do, [4800.0, 4800.0, 4798.0, 4798.0])
    assert (won.profit_factor, won.win_rate) == (None, 1.0)
    assert (lost.profit_factor, lost.win_rate) == (0.0, 0.0)


def test_fees_decide_whether_a_trip_won() -> None:
    do = {0: lambda s: s.buy(ES, 1), 1: lambda s: s.sell(ES, 1)}
    # A tick of profit, $12.50, before fees.
    assert play(do, [4800.0, 4800.0, 4800.5], costing(6.0)).win_rate == 1.0
    assert play(do, [4800.0, 4800.0, 4800.5], costing(6.25)).win_rate == 0.0
    assert play(do, [4800.0, 4800.0, 4800.5], costing(6.25)).profit_factor is None


def test_orders_are_those_that_were_let_go() -> None:
    do = {0: lambda s: [s.buy(ES, 5), s.buy(ES, 1)], 1: lambda s: s.cancel(s.buy(ES, 1)), 2: lambda s: s.buy(ES, 1)}
    result = play(do, [4800.0] * 4, costing(limits=RiskLimits(max_order_quantity=2)))
    # One denied; one cancelled before it was sent counts as an order, but costs no request.
    assert (len(result.order_book), result.orders, result.rpcs, len(result.fills)) == (4, 3, 2, 2)
    assert result.denials == {"order_size": 1}


# --- the equity curve ---------------------------------------------------------------------------------------------


def test_the_curve_has_a_value_for_each_quote() -> None:
    result = play(hold(), [4800.0, 4800.0, 4801.0, 4799.0], costing(2.0))
    # Bought at 4800.25 on row 1.
    assert result.equity.ts.tolist() == [START + n * SECOND for n in range(4)]
    assert result.equity.pnl.tolist() == [0.0, -14.5, 35.5, -64.5]
    assert result.equity.in_market.tolist() == [False, True, True, True]


def test_the_drawdown_is_the_largest_fall_from_an_earlier_height() -> None:
    # Bought at 4800.25: 0, -12.5, 87.5, 37.5, 187.5, 12.5, 137.5.
    result = play(hold(), [4800.0, 4800.0, 4802.0, 4801.0, 4804.0, 4800.5, 4803.0])
    assert result.equity.pnl.tolist() == [0.0, -12.5, 87.5, 37.5, 187.5, 12.5, 137.5]
    assert result.max_drawdown == 175.0


def test_the_start_is_a_height_too() -> None:
    # 0, -12.5, -112.5, -62.5: nothing was ever above zero.
    assert play(hold(), [4800.0, 4800.0, 4798.0, 4799.0]).max_drawdown == 112.5


def test_without_a_fall_there_is_no_drawdown() -> None:
    # Bought at 4800.25 at a locked quote and marked at its bid: never below zero.
    quotes = QuoteTable.from_rows(
        (ES,), [0] * 3, [START + n for n in range(3)], [4800.0, 4800.25, 4801.0], [4800.25] * 2 + [4801.0]
    )
    assert play(hold(), quotes).max_drawdown == 0.0


def test_a_fill_counts_from_its_own_row_on_where_rows_share_a_stamp() -> None:
    """Two rows at once, 100 points apart; bought on the second. The first is no loss of ours."""
    result = play(hold(), at([0, 0, 1], [4700.0, 4800.0, 4800.0]))
    assert [fill.price for fill in result.fills] == [4800.25]
    assert result.max_drawdown == 12.5


def test_the_curve_has_each_stamp_once() -> None:
    """As it has for several instruments: what holds after the last row of a stamp."""
    result = play(hold(), at([0, 1, 1, 1, 2], [4800.0, 4800.0, 4790.0, 4801.0, 4802.0]))
    assert result.equity.ts.tolist() == [START, START + SECOND, START + 2 * SECOND]
    assert result.equity.pnl.tolist() == [0.0, 37.5, 87.5]


def test_of_rows_that_share_a_stamp_the_last_counts_for_several_instruments_too() -> None:
    # At 0 s nothing is held; at 1 s ES was bought at 4800.25 and is worth 4799, MNQ at 25000.25, worth 25001.
    quotes = QuoteTable.from_rows(
        (ES, MNQ),
        [0, 1, 0, 1, 0, 1],
        [START, START, *[START + SECOND] * 4],
        [4800.0, 25000.0, 4800.0, 25000.0, 4799.0, 25001.0],
        [4800.25, 25000.25, 4800.25, 25000.25, 4799.25, 25001.25],
    )
    result = play({0: lambda s: [s.buy(ES, 1), s.buy(MNQ, 1)]}, quotes)
    assert [(fill.instrument, fill.price) for fill in result.fills] == [(MNQ, 25000.25), (ES, 4800.25)]
    assert result.equity.ts.tolist() == [START, START + SECOND]
    # MNQ's first quote fills it, at the stamp of the start, where it is worth a tick less.
    assert result.equity.pnl.tolist() == [-0.5, -62.5 + 1.5]


def test_opposite_positions_are_each_marked_at_their_own_side() -> None:
    """Long in one account, short in another: each could be closed only across the spread, and both are positions."""
    do = {0: lambda s: [s.buy(ES, 1), s.sell(ES, 1, account="Apex-7")]}
    quotes = table([4800.0, 4800.0, 4800.0, 4800.0], spread=1.0)
    result = play(do, quotes, costing(accounts=("Sim101", "Apex-7")))
    # Bought at 4801, worth 4800; sold at 4800, worth 4801: a point lost in each.
    assert result.open_pnl == -100.0
    assert result.equity.pnl.tolist() == [0.0, -100.0, -100.0, -100.0]
    assert result.equity.in_market.tolist() == [False, True, True, True]
    assert result.time_in_market == pytest.approx(2 / 3)


def test_instruments_that_were_not_traded_are_not_in_the_curve() -> None:
    codes = [0, 1, 0, 1, 0]
    stamps = [START + n * SECOND for n in range(5)]
    bids = [4800.0, 25000.0, 4800.0, 25010.0, 4801.0]
    quotes = QuoteTable.from_rows((ES, MNQ), codes, stamps, bids, [bid + 0.25 for bid in bids])
    result = play(hold(), quotes)
    assert result.equity.ts.tolist() == [START, START + 2 * SECOND, START + 4 * SECOND]
    assert result.equity.pnl.tolist() == [0.0, -12.5, 37.5]


# --- time in the market -------------------------------------------------------------------------------------------


def test_time_in_market_is_a_share_of_the_quoted_time() -> None:
    do = {1: lambda s: s.buy(ES, 1), 3: lambda s: s.sell(ES, 1)}
    # In from row 2 (at 4 s) to row 4 (at 7 s): 3 of 10 seconds.
    result = play(do, at([0, 1, 4, 5, 7, 10], [4800.0] * 6))
    assert result.time_in_market == pytest.approx(3 / 10)


def test_pauses_of_more_than_a_quarter_of_an_hour_do_not_count() -> None:
    # In from minute 1 on; quotes at 0, 1, 17 (a gap of 16), 18 and 33 (a gap of exactly 15).
    result = play(hold(), at([0, 1, 17, 18, 33], [4800.0] * 5, MINUTE))
    # 1 + 1 + 15 minutes count, 1 + 15 of them in the market.
    assert result.time_in_market == pytest.approx(16 / 17)


def test_time_in_market_of_a_single_moment_is_none() -> None:
    assert play(hold(), at([0, 0], [4800.0, 4800.0])).time_in_market == 0.0


def test_time_in_market_counts_any_instrument() -> None:
    do = {
        0: lambda s: s.buy(ES, 1),
        1: lambda s: s.sell(ES, 1),
        2: lambda s: s.buy(MNQ, 1),
        3: lambda s: s.sell(MNQ, 1),
    }
    rows = np.arange(12)
    bids = np.where(rows % 2, 25000.0, 4800.0)
    quotes = QuoteTable.from_rows((ES, MNQ), rows % 2, START + rows * SECOND, bids, bids + 0.25)
    result = replay(Scripted(do=do), quotes, costing())
    # ES from 2 s to 4 s (rows 0, 2, 4 are its quotes), MNQ from 5 s to 7 s: 4 of 11 seconds.
    assert [fill.executed - START for fill in result.fills] == [n * SECOND for n in (2, 4, 5, 7)]
    assert result.time_in_market == pytest.approx(4 / 11)


# --- Sharpe -------------------------------------------------------------------------------------------------------


def sharpe(changes: Sequence[float], a_year: int) -> float:
    return statistics.mean(changes) / statistics.stdev(changes) * math.sqrt(a_year)


def test_a_short_recording_is_sampled_by_minute() -> None:
    result = play(hold(), at([0, 1, 2, 3, 4], [4800.0, 4800.0, 4801.0, 4799.0, 4802.0], MINUTE))
    # P&L 0, -12.5, 37.5, -62.5, 87.5.
    assert result.sharpe == pytest.approx(sharpe([0, -12.5, 50, -100, 150], 252 * 1_380))
    assert result.sharpe_sampling == "1-minute P&L, annualised by sqrt(347,760)"


def test_a_minute_counts_with_its_last_quote() -> None:
    # START is on the minute. P&L at the last quote of each: -37.5 (bid 4799.5), 137.5 (bid 4803).
    result = play(hold(), at([0, 10, 59.9, 60, 90, 119], [4800.0, 4800.0, 4799.5, 4790.0, 4810.0, 4803.0]))
    assert result.sharpe == pytest.approx(sharpe([-37.5, 175.0], 252 * 1_380))


def test_twenty_trading_days_are_sampled_daily() -> None:
    """One quote a weekday; nineteen are too few."""
    for days, sampled in ((19, "1-minute"), (20, "daily")):
        stamps = [n * DAY for n in range(40) if (n + 2) % 7 < 5][:days]  # START is a Wednesday
        bids = [4800.0 + n * n % 17 for n in range(days)]
        quotes = at(stamps, bids, 1)
        result = play(hold(), quotes)
        assert result.sharpe_sampling.startswith(f"{sampled} P&L, annualised by sqrt(")
    pnl = [0.0, *[(bid - bids[1] - 0.25) * 50 for bid in bids[1:]]]
    changes = [0.0, *np.diff(pnl)]
    assert result.sharpe == pytest.approx(sharpe(changes, 252))
    assert result.sharpe_sampling == "daily P&L, annualised by sqrt(252)"


def test_an_evening_belongs_to_the_next_trading_day() -> None:
    """Two quotes a day, at 10:00 and 18:30 in New York: the day ends with the 10:00 one, the evening is tomorrow's."""
    ten = [dt.datetime(2026, 5, 4, 14, tzinfo=dt.UTC) + dt.timedelta(days=n) for n in range(32)]
    stamps, bids, ends = [], [], []
    price = 4800.0
    for moment in (day for day in ten if day.weekday() < 5):
        evening = moment - dt.timedelta(hours=15.5)
        if moment.weekday() == 0 and stamps:
            evening = moment - dt.timedelta(hours=15.5)  # Sunday evening
        for when, step in ((evening, 7.0), (moment, -3.0 - len(ends) % 4)):
            price += step
            stamps.append(from_datetime(when) - START)
            bids.append(price)
        ends.append(price)
    assert len(ends) == 24
    result = play(hold(), at(stamps, bids, 1))
    bought = bids[1] + 0.25
    changes = np.diff([0.0, *[(price - bought) * 50 for price in ends]]).tolist()
    assert result.sharpe == pytest.approx(sharpe(changes, 252))


def test_no_sharpe_where_there_is_nothing_to_compare() -> None:
    one_minute = play(hold(), [4800.0, 4800.0, 4801.0])
    assert (one_minute.sharpe, one_minute.sharpe_sampling) == (None, "1-minute P&L, annualised by sqrt(347,760)")
    # Bought and sold at the same price at a locked market: the curve is flat.
    quotes = QuoteTable.from_rows((ES,), [0] * 4, [START + n * MINUTE for n in range(4)], [4800.0] * 4, [4800.0] * 4)
    assert play(hold(), quotes).sharpe is None


# --- several instruments: brute force -----------------------------------------------------------------------------


class Wild(Strategy):
    """Trades at random in two instruments, led by a hash of what it sees."""

    first: Instrument = ES
    second: Instrument = MNQ
    state: int = 0

    def on_start(self) -> None:
        self.seen = self.state

    def on_quote(self, quote: Quote) -> None:
        self.seen = zlib.crc32(repr(quote).encode(), self.seen)
        size = 1 + self.seen // 64 % 3
        match self.seen % 9:
            case 0:
                self.buy(quote.instrument, size)
            case 1:
                self.sell(quote.instrument, size, take_profit=2, stop_loss=2)
            case 2:
                self.order_target(quote.instrument, size - 2)
            case 3:
                self.close(quote.instrument)


def walk(seed: int, count: int, instruments: int) -> QuoteTable:
    random = np.random.default_rng(seed)
    codes = random.integers(0, instruments, count)
    bids = np.where(codes == 0, 4800.0, 25000.0)
    steps = random.integers(-3, 4, count) * 0.25
    for code in range(instruments):
        bids[codes == code] += np.cumsum(steps[codes == code])
    gaps = random.choice([1, 1, 30, 70, 1_000], count)
    return QuoteTable.from_rows(
        (ES, MNQ)[:instruments],
        codes,
        START + np.cumsum(gaps) * SECOND,
        bids,
        bids + random.choice([-1, 0, 1, 1, 2], count) * 0.25,
    )


POINT_VALUE = {ES: 50.0, MNQ: 2.0}


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(2, 120), instruments=st.integers(1, 2))
def test_every_figure_against_brute_force(seed: int, count: int, instruments: int) -> None:
    quotes = walk(seed, count, instruments)
    names = (ES, MNQ)[:instruments]
    strategy = Wild(state=seed, first=names[0], second=names[-1])
    result = replay(strategy, quotes, costing(1.25))

    traded = {fill.instrument for fill in result.fills}
    fills = list(result.fills)
    last: dict[str, Quote] = {}
    position: dict[str, int] = defaultdict(int)
    cash = 0.0
    ts: list[int] = []
    pnl: list[float] = []
    inside: list[bool] = []
    for quote in quotes.quotes(0, count):
        last[quote.instrument] = quote
        while fills and fills[0].executed <= quote.ts:
            fill = fills.pop(0)
            cash -= fill.side * fill.quantity * fill.price * POINT_VALUE[fill.instrument] + fill.fee
            position[fill.instrument] += fill.side * fill.quantity
        if quote.instrument not in traded:
            continue
        worth = cash
        for name, held in position.items():
            if held:
                sides = last[name].bid, last[name].ask
                worth += held * (min(sides) if held > 0 else max(sides)) * POINT_VALUE[name]
        ts.append(quote.ts)
        pnl.append(worth)
        inside.append(any(position.values()))

    assert result.equity.ts.tolist() == ts
    assert result.equity.pnl.tolist() == pytest.approx(pnl, abs=1e-6)
    assert result.equity.in_market.tolist() == inside

    height = drawdown = 0.0
    for value in pnl:
        height = max(height, value)
        drawdown = max(drawdown, height - value)
    assert result.max_drawdown == pytest.approx(drawdown, abs=1e-6)

    spans = [(b - a, held) for a, b, held in zip(ts, ts[1:], inside, strict=False) if b - a <= 15 * MINUTE]
    total = sum(span for span, _ in spans)
    assert result.time_in_market == pytest.approx(sum(span for span, held in spans if held) / total if total else 0.0)

    minutes = {stamp // MINUTE: value for stamp, value in zip(ts, pnl, strict=True)}
    changes = np.diff([0.0, *minutes.values()])
    if len(changes) >= 2 and changes.std() > 1e-9:
        assert result.sharpe == pytest.approx(sharpe(changes.tolist(), 252 * 1_380), rel=1e-6, abs=1e-6)

    if pnl:
        assert result.net_pnl == pytest.approx(pnl[-1], abs=1e-6)
    closed = sum(trip.pnl for trip in result.round_trips)
    if not any(position.values()):
        assert closed == pytest.approx(result.net_pnl, abs=1e-6)
    assert result.fees == pytest.approx(sum(fill.quantity for fill in result.fills) * 1.25)


# --- the digest ---------------------------------------------------------------------------------------------------


def base(s: Any) -> None:
    s.buy(ES, 1)
    s.sell(ES, 1, limit_price=4900.0)


VARIANTS: dict[str, tuple[dict[int, Callable[[Any], Any]], ReplaySettings]] = {
    "base": ({0: base}, costing()),
    "quantity": ({0: lambda s: [s.buy(ES, 2), s.sell(ES, 1, limit_price=4900.0)]}, costing()),
    "side": ({0: lambda s: [s.sell(ES, 1), s.sell(ES, 1, limit_price=4900.0)]}, costing()),
    "price": ({0: lambda s: [s.buy(ES, 1), s.sell(ES, 1, limit_price=4900.25)]}, costing()),
    "kind": ({0: lambda s: [s.buy(ES, 1), s.sell(ES, 1, stop_price=4700.0)]}, costing()),
    "time in force": ({0: lambda s: [s.buy(ES, 1), s.sell(ES, 1, limit_price=4900.0, tif="GTC")]}, costing()),
    "oco": ({0: lambda s: [s.buy(ES, 1), s.sell(ES, 1, limit_price=4900.0, oco="g")]}, costing()),
    "order": ({0: lambda s: [s.sell(ES, 1, limit_price=4900.0), s.buy(ES, 1)]}, costing()),
    "row": ({1: base}, costing()),
    "one less": ({0: lambda s: s.buy(ES, 1)}, costing()),
    "one more, cancelled": ({0: base, 1: lambda s: s.cancel(s.buy(ES, 1))}, costing()),
    "a cancel": ({0: base, 2: lambda s: s.cancel_all()}, costing()),
    "a change": ({0: base, 2: lambda s: s.change(s.orders()[0], limit_price=4901.0)}, costing()),
    "exits": ({0: lambda s: [s.buy(ES, 1, stop_loss=8), s.sell(ES, 1, limit_price=4900.0)]}, costing()),
    "a denial": ({0: lambda s: [base(s), s.buy(ES, 9)]}, costing(limits=RiskLimits(max_order_quantity=5))),
    "account": ({0: lambda s: [base(s)]}, costing(accounts=("Apex-7",))),
    "fee": ({0: base}, costing(1.0)),
    "slippage": ({0: base}, costing(slippage=1)),
    "nothing": ({}, costing()),
}


def test_the_digest_differs_when_anything_differs() -> None:
    digests = {name: play(do, [4800.0] * 5, how).digest for name, (do, how) in VARIANTS.items()}
    assert len(set(digests.values())) == len(VARIANTS), digests
    assert all(len(digest) == 64 and int(digest, 16) >= 0 for digest in digests.values())


def test_the_digest_differs_when_the_market_does() -> None:
    flat = play({0: base}, [4800.0] * 5).digest
    assert play({0: base}, [4800.0, 4801.0, 4800.0, 4800.0, 4800.0]).digest != flat
    assert play({0: base}, table([4800.0] * 5, step=2 * SECOND)).digest != flat
    assert play({0: base}, table([4800.0] * 5, start=START + 1)).digest != flat


def test_the_digest_is_the_same_for_the_same() -> None:
    for do, how in VARIANTS.values():
        assert play(do, [4800.0] * 5, how).digest == play(do, [4800.0] * 5, how).digest


def test_what_decides_nothing_is_not_in_the_digest() -> None:
    """Notes, timers and bars, a quote more after the last fill, limits that deny nothing."""
    plain = play({0: base}, [4800.0] * 5)
    chatty = play({0: lambda s: [base(s), s.note("hm"), s.after(1), s.bars(ES, "1s")]}, [4800.0] * 5)
    longer = play({0: base}, [4800.0] * 9)
    limited = play({0: base}, [4800.0] * 5, costing(limits=RiskLimits(max_position=50)))
    assert {plain.digest, chatty.digest, longer.digest, limited.digest} == {plain.digest}
