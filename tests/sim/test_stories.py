"""Strategies as users write them: each should read well in about fifteen lines."""

from __future__ import annotations

import numpy as np
from tables import ES, MNQ, SECOND, table

from xtalgo import (
    Bar,
    Ema,
    Fill,
    Instrument,
    OrderStatus,
    Quote,
    QuoteTable,
    ReplaySettings,
    Role,
    Side,
    Strategy,
    replay,
)
from xtalgo.model.sessions import from_datetime, to_datetime

IDEAL = ReplaySettings.ideal()


class OpeningRange(Strategy):
    """Break of the first fifteen minutes after the cash open, once a day, with a bracket, flat before the close."""

    instrument: Instrument = "ES"
    stop: int = 8
    target: int = 16

    def on_start(self) -> None:
        self.range = self.bars(self.instrument, "15m")
        self.at("09:45", "range")
        self.at("15:55", "flat")

    def on_timer(self, tag: str) -> None:
        if tag == "flat":
            self.flatten()
            return
        first = self.range[-1]
        bracket = {"oco": f"orb-{first.start}", "stop_loss": self.stop, "take_profit": self.target}
        self.buy(self.instrument, 1, stop_price=first.high + 0.25, **bracket)
        self.sell(self.instrument, 1, stop_price=first.low - 0.25, **bracket)


class Pair(Strategy):
    """Long the weaker and short the stronger index when their ratio leaves its slow average."""

    first: Instrument = "ES"
    second: Instrument = "MNQ"
    width: float = 0.002

    def on_start(self) -> None:
        self.slow = Ema(200)

    def on_quote(self, quote: Quote) -> None:
        a, b = self.quote(self.first), self.quote(self.second)
        if a is None or b is None:
            return
        gap = a.mid / b.mid / self.slow.update(a.mid / b.mid) - 1
        if self.slow.ready and abs(gap) > self.width:
            side = -1 if gap > 0 else 1
            self.order_target(self.first, side)
            self.order_target(self.second, -2 * side)
        elif abs(gap) < self.width / 4:
            self.order_target(self.first, 0)
            self.order_target(self.second, 0)


class Trailing(Strategy):
    """Buy once and let a stop of its own follow the bid."""

    instrument: Instrument = "ES"
    ticks: int = 8

    def on_start(self) -> None:
        self.entry = self.stop = None

    def on_quote(self, quote: Quote) -> None:
        behind = quote.bid - self.ticks * self.spec(self.instrument).tick_size
        if self.entry is None:
            self.entry = self.buy(self.instrument, 1)
        elif self.stop is not None and self.stop.is_open and behind > self.stop.stop_price:
            self.change(self.stop, stop_price=behind)

    def on_fill(self, fill: Fill) -> None:
        if fill.side is Side.BUY:
            self.stop = self.sell(self.instrument, 1, stop_price=fill.price - self.ticks * 0.25, tif="GTC")


def _morning(prices: list[float]) -> QuoteTable:
    """One quote a minute from 09:30 New York on 2026-05-13."""
    import datetime as dt

    opening = from_datetime(dt.datetime(2026, 5, 13, 13, 30, tzinfo=dt.UTC))
    return table(prices, start=opening, step=60 * SECOND)


def test_opening_range_breakout_takes_its_target() -> None:
    prices = [4800.0, 4802.0, 4799.0, *[4800.0] * 12, 4801.0, 4802.0, 4803.0, 4804.0, 4806.0, 4808.0, 4809.0, 4809.0]
    result = replay(OpeningRange(), _morning(prices), IDEAL)
    entry, target = result.fills
    # The range is 4799 to 4802; the stop entry at 4802.25 is reached by the ask of the quote at 4802.00 x 4802.25.
    assert (entry.side, entry.price) == (Side.BUY, 4802.25)
    # The target is 16 ticks above the fill: 4806.25, traded through by a bid of 4808.
    assert (target.side, target.price) == (Side.SELL, 4806.25)
    assert result.realized_pnl == 16 * 12.5
    roles = {order.role: order.status for order in result.order_book if order.side is Side.SELL}
    assert roles == {
        Role.ENTRY: OrderStatus.CANCELLED,
        Role.STOP_LOSS: OrderStatus.CANCELLED,
        Role.TAKE_PROFIT: OrderStatus.FILLED,
    }


def test_opening_range_is_flat_by_five_to_four() -> None:
    prices = [4800.0, 4802.0, 4799.0, *[4800.0] * 12, 4802.0, *[4803.0] * 400]
    result = replay(OpeningRange(), _morning(prices), IDEAL)
    assert [fill.side for fill in result.fills] == [Side.BUY, Side.SELL]
    closed = to_datetime(result.fills[-1].executed, "America/New_York")
    assert (closed.hour, closed.minute) == (15, 55)
    assert result.order_book[-1].role is Role.CLOSE


def test_pair_trades_both_legs_and_comes_back_flat() -> None:
    count = 2_000
    wave = np.round(np.sin(np.arange(count) / 60) * 40) * 0.25
    bids = np.empty(count)
    bids[0::2] = 7000 + wave[0::2] * 4
    bids[1::2] = 26000
    codes = np.arange(count) % 2
    ts = 1_778_680_800 * SECOND + np.arange(count) * SECOND // 2
    quotes = QuoteTable.from_rows((ES, MNQ), codes, ts, bids, bids + 0.25, bids)
    result = replay(Pair(), quotes, IDEAL)
    traded = {fill.instrument for fill in result.fills}
    assert traded == {ES, MNQ}
    assert len(result.round_trips) >= 4
    assert result.instruments == (ES, MNQ)


def test_trailing_stop_follows_by_change_and_never_falls_back() -> None:
    prices = [4800.0, 4800.0, 4801.0, 4803.0, 4805.0, 4804.5, 4804.0, 4803.5, 4803.0, 4802.0]
    result = replay(Trailing(), table(prices), IDEAL)
    bought, sold = result.fills
    # The best bid was 4805: the stop followed to 4803 and fills at the bid that reaches it.
    assert (bought.price, sold.price) == (4800.25, 4803.0)
    assert [what for _, what, *_ in result.decisions] == ["place", "place", "change", "change", "change"]


def test_bars_close_on_time_and_know_their_session() -> None:
    seen: list[Bar] = []

    class Watch(Strategy):
        instrument: Instrument = "ES"

        def on_start(self) -> None:
            self.bars(self.instrument, "5m")

        def on_bar(self, bar: Bar) -> None:
            assert self.now == bar.end
            seen.append(bar)

    replay(Watch(), _morning([4800.0 + row for row in range(12)]), IDEAL)
    assert [(bar.open, bar.high, bar.low, bar.close, bar.quotes) for bar in seen] == [
        (4800.0, 4804.0, 4800.0, 4804.0, 5),
        (4805.0, 4809.0, 4805.0, 4809.0, 5),
    ]
