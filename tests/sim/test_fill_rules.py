"""Every sentence of ``FillModel``, ``Latency`` and ``Fees`` as a test, on quotes one can check by eye.

ES: a tick is 0.25 points. Slippage is 1 tick unless a test says otherwise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import ES, MNQ, SECOND, START, table

from xtalgo import (
    ConfigError,
    ContractBook,
    Fees,
    Fill,
    FillModel,
    Instrument,
    Latency,
    OrderStatus,
    OrderType,
    Quote,
    QuoteTable,
    ReplaySettings,
    Result,
    Side,
    Strategy,
    TimeInForce,
    replay,
)
from xtalgo.model.commands import CancelOrder, ChangeOrder, PlaceOrder
from xtalgo.model.events import OrderUpdate
from xtalgo.model.types import Trigger
from xtalgo.sim.exchange import SimExchange

BUY, SELL = Side.BUY, Side.SELL


class Venue:
    """A simulated exchange and the quote before, as a driver keeps it. Everything arrives and is seen at once."""

    def __init__(self, model: FillModel | None = None) -> None:
        self.last: dict[str, Quote] = {}
        self.seen: list[Any] = []
        self.now = START
        self.exchange = SimExchange(
            ContractBook().contract,
            self.last.get,
            model or FillModel(),
            Latency(entry=0, report=0),
            Fees(commission=2.0),
        )

    def place(
        self,
        name: str,
        side: Side,
        quantity: int = 1,
        *,
        limit: float | None = None,
        stop: float | None = None,
        tif: TimeInForce = TimeInForce.DAY,
        oco: str | None = None,
        account: str = "Sim101",
        instrument: str = ES,
    ) -> None:
        kind = {
            (False, False): OrderType.MARKET,
            (True, False): OrderType.LIMIT,
            (False, True): OrderType.STOP_MARKET,
            (True, True): OrderType.STOP_LIMIT,
        }[limit is not None, stop is not None]
        self.send(PlaceOrder(name, account, instrument, side, kind, quantity, limit, stop, tif, oco))

    def change(self, name: str, **values: Any) -> None:
        self.send(ChangeOrder(name, "Sim101", **values))

    def cancel(self, name: str) -> None:
        self.send(CancelOrder(name, "Sim101"))

    def send(self, command: Any) -> None:
        self.exchange.submit(command, self.now)
        self.seen += self.exchange.advance(self.now)

    def quote(
        self,
        bid: float,
        ask: float,
        *,
        last: float | None = None,
        volume: int | None = None,
        bid_size: int | None = None,
        ask_size: int | None = None,
        instrument: str = ES,
    ) -> list[tuple[str, int, float]]:
        """One second later; the fills on it."""
        self.now += SECOND
        quote = Quote(self.now, instrument, bid, ask, last, volume, bid_size, ask_size)
        self.seen += self.exchange.advance(self.now)
        before = len(self.exchange.executions)
        self.exchange.match(quote)
        self.last[instrument] = quote
        self.seen += self.exchange.advance(self.now)
        return [(fill.order_id, fill.quantity, fill.price) for fill in self.exchange.executions[before:]]

    def updates(self, name: str) -> list[Trigger]:
        return [one.trigger for one in self.seen if isinstance(one, OrderUpdate) and one.order_id == name]

    def reasons(self, name: str) -> list[str]:
        return [one.reason for one in self.seen if getattr(one, "order_id", "") == name and getattr(one, "reason", "")]


# --- an order fills only on a quote newer than the one it was born on: a later row, after entry latency -----------


class Once(Strategy):
    """Buys one at the market on a certain row."""

    instrument: Instrument = ES
    row: int = 0

    def on_start(self) -> None:
        self.seen = -1

    def on_quote(self, quote: Quote) -> None:
        self.seen += 1
        if self.seen == self.row:
            self.buy(self.instrument, 1)


def fill_row(stamps: Sequence[float], entry: float, *, row: int = 0) -> int | None:
    """On which row (stamps in seconds, bids 4800, 4801, ...) an order born on ``row`` fills."""
    bids = [4800.0 + n for n in range(len(stamps))]
    quotes = QuoteTable.from_rows(
        (ES,),
        [0] * len(stamps),
        [START + round(s * SECOND) for s in stamps],
        bids,
        [bid + 0.25 for bid in bids],
    )
    result = run_once(quotes, entry, row)
    if not result.fills:
        return None
    (fill,) = result.fills
    found = int(fill.price - 4800)
    assert fill.executed == quotes.ts[found]
    assert fill.price == 4800.25 + found
    return found


def run_once(quotes: QuoteTable, entry: float, row: int) -> Result:
    settings = ReplaySettings(
        fills=FillModel(slippage=0), latency=Latency(entry=round(entry * SECOND), report=0), fees=Fees(commission=0.0)
    )
    return replay(Once(row=row), quotes, settings)


def test_without_latency_an_order_fills_on_the_next_row() -> None:
    assert fill_row([0, 1, 2], entry=0) == 1


def test_without_latency_an_order_fills_on_the_next_row_of_the_same_stamp() -> None:
    assert fill_row([0, 0, 0, 1], entry=0) == 1
    assert fill_row([0, 5, 5, 5], entry=0, row=2) == 3


def test_an_order_born_on_the_last_row_never_fills() -> None:
    assert fill_row([0, 1], entry=0, row=1) is None
    assert fill_row([0, 0], entry=0, row=1) is None


def test_rows_before_the_arrival_are_passed_over() -> None:
    # Born at 0 s, at the exchange at 0.25 s.
    assert fill_row([0, 0, 0.1, 0.2, 0.3], entry=0.25) == 4


def test_a_quote_of_the_very_moment_of_arrival_can_fill_it() -> None:
    assert fill_row([0, 0.25, 0.5], entry=0.25) == 1
    assert fill_row([0, 0.249999999, 0.5], entry=0.25) == 2


@settings(max_examples=100, deadline=None)
@given(
    gaps=st.lists(st.sampled_from([0, 0, 0.1, 0.25, 1]), min_size=1, max_size=12),
    entry=st.sampled_from([0, 0.1, 0.25, 1]),
    data=st.data(),
)
def test_the_next_row_rule(gaps: list[float], entry: float, data: st.DataObject) -> None:
    stamps = np.round(np.cumsum([0, *gaps]), 6).tolist()
    row = data.draw(st.integers(0, len(stamps) - 1))
    later = [n for n in range(row + 1, len(stamps)) if stamps[n] >= round(stamps[row] + entry, 6)]
    assert fill_row(stamps, entry, row=row) == (later[0] if later else None)


# --- a market order fills at the far side, made worse by the slippage ---------------------------------------------


@pytest.mark.parametrize(("slippage", "paid", "got"), [(0, 4800.5, 4800.0), (1, 4800.75, 4799.75), (4, 4801.5, 4799.0)])
def test_a_market_order_fills_at_the_far_side_and_slips(slippage: int, paid: float, got: float) -> None:
    venue = Venue(FillModel(slippage=slippage))
    venue.place("b", BUY)
    venue.place("s", SELL)
    assert venue.quote(4800.0, 4800.5) == [("b", 1, paid), ("s", 1, got)]


def test_slippage_is_exact_on_a_grid_that_floats_cannot_hold() -> None:
    # A tick of 6J is 0.0000005: one above 0.0067135 is 0.006714.
    venue = Venue()
    venue.place("b", BUY, instrument="6J 06-26")
    assert venue.quote(0.0067130, 0.0067135, instrument="6J 06-26") == [("b", 1, 0.006714)]


# --- limits -------------------------------------------------------------------------------------------------------


def test_a_marketable_limit_fills_as_a_market_order() -> None:
    venue = Venue()
    venue.place("b", BUY, limit=4805.0)
    venue.place("s", SELL, limit=4795.0)
    assert venue.quote(4800.0, 4800.25) == [("b", 1, 4800.5), ("s", 1, 4799.75)]


def test_a_marketable_limit_never_fills_worse_than_its_limit() -> None:
    # A tick of slippage would be 4800.50 and 4799.75.
    venue = Venue()
    venue.place("b", BUY, limit=4800.25)
    venue.place("s", SELL, limit=4800.0)
    assert venue.quote(4800.0, 4800.25) == [("b", 1, 4800.25), ("s", 1, 4800.0)]


def test_slippage_stops_at_the_limit() -> None:
    venue = Venue(FillModel(slippage=4))
    venue.place("b", BUY, limit=4800.75)
    assert venue.quote(4800.0, 4800.25) == [("b", 1, 4800.75)]


@pytest.mark.parametrize("touch", [False, True])
def test_a_resting_buy_limit_waits_for_the_ask(touch: bool) -> None:
    venue = Venue(FillModel(touch=touch))
    venue.place("b", BUY, limit=4799.0)
    assert venue.quote(4800.0, 4800.25) == []
    assert venue.quote(4798.5, 4799.25) == []  # the bid is below, but that is the near side
    touched = venue.quote(4798.75, 4799.0)
    through = venue.quote(4798.5, 4798.75)
    fill = [("b", 1, 4799.0)]  # at the limit, without slippage
    assert (touched, through) == ((fill, []) if touch else ([], fill))


@pytest.mark.parametrize("touch", [False, True])
def test_a_resting_sell_limit_waits_for_the_bid(touch: bool) -> None:
    venue = Venue(FillModel(touch=touch))
    venue.place("s", SELL, limit=4801.0)
    assert venue.quote(4800.0, 4800.25) == []
    assert venue.quote(4800.75, 4801.25) == []
    touched = venue.quote(4801.0, 4801.25)
    through = venue.quote(4801.25, 4801.5)
    fill = [("s", 1, 4801.0)]
    assert (touched, through) == ((fill, []) if touch else ([], fill))


def test_a_gap_through_a_resting_limit_still_fills_at_the_limit() -> None:
    venue = Venue()
    venue.place("b", BUY, limit=4799.0)
    assert venue.quote(4800.0, 4800.25) == []
    assert venue.quote(4790.0, 4790.25) == [("b", 1, 4799.0)]


def test_a_limit_that_is_moved_across_the_market_takes_like_a_new_one() -> None:
    venue = Venue()
    venue.place("b", BUY, limit=4799.0)
    assert venue.quote(4800.0, 4800.25) == []
    venue.change("b", limit_price=4802.0)
    # Not 4802: what crosses when it comes (anew) fills as a market order would.
    assert venue.quote(4800.0, 4800.25) == [("b", 1, 4800.5)]


def test_a_limit_whose_price_is_changed_to_itself_still_rests() -> None:
    venue = Venue()
    venue.place("b", BUY, limit=4800.0)
    assert venue.quote(4800.0, 4800.25) == []
    venue.change("b", limit_price=4800.0, quantity=2)
    assert venue.quote(4799.75, 4800.0) == []  # touched; as a new order it would take
    assert venue.quote(4799.5, 4799.75) == [("b", 2, 4800.0)]


# --- stops --------------------------------------------------------------------------------------------------------


def triggered(model: FillModel, *quotes: dict[str, Any], side: Side = BUY, stop: float = 4801.0) -> int | None:
    """On which of the later quotes a stop fills; the first quote is 4800 x 4800.25, last 4800, volume 10."""
    venue = Venue(model)
    venue.quote(4800.0, 4800.25, last=4800.0, volume=10)
    venue.place("stop", side, stop=stop)
    for number, quote in enumerate(quotes):
        if venue.quote(**quote):
            return number
    return None


CALM = {"bid": 4800.0, "ask": 4800.25, "last": 4800.0, "volume": 10}
"""As the quote before: nothing was traded."""
ASK_UP = CALM | {"bid": 4800.75, "ask": 4801.0}
"""The far side reaches a buy stop at 4801; the last trade is the old one."""
TRADE = CALM | {"last": 4801.0, "volume": 11}
"""A new trade at the stop, while the quote stands."""


@pytest.mark.parametrize(
    ("by", "on_quote", "on_trade"), [("either", True, True), ("quote", True, False), ("last", False, True)]
)
def test_what_triggers_a_buy_stop(by: Any, on_quote: bool, on_trade: bool) -> None:
    model = FillModel(stop_trigger=by)
    assert triggered(model, CALM) is None
    assert triggered(model, ASK_UP) == (0 if on_quote else None)
    assert triggered(model, TRADE) == (0 if on_trade else None)


@pytest.mark.parametrize(
    ("by", "on_quote", "on_trade"), [("either", True, True), ("quote", True, False), ("last", False, True)]
)
def test_what_triggers_a_sell_stop(by: Any, on_quote: bool, on_trade: bool) -> None:
    model = FillModel(stop_trigger=by)
    down = CALM | {"bid": 4799.0, "ask": 4799.25}
    trade = CALM | {"last": 4799.0, "volume": 11}
    assert triggered(model, CALM, side=SELL, stop=4799.0) is None
    assert triggered(model, down, side=SELL, stop=4799.0) == (0 if on_quote else None)
    assert triggered(model, trade, side=SELL, stop=4799.0) == (0 if on_trade else None)


def test_one_tick_short_of_the_stop_triggers_nothing() -> None:
    near = {"bid": 4800.5, "ask": 4800.75, "last": 4800.75, "volume": 11}
    assert triggered(FillModel(), near) is None
    assert triggered(FillModel(), near | {"bid": 4799.25, "last": 4799.25}, side=SELL, stop=4799.0) is None


def test_an_old_trade_is_no_reason_to_trigger() -> None:
    """The last price is beyond the stop already when it comes: that trade is over."""
    venue = Venue(FillModel(stop_trigger="last"))
    venue.quote(4800.0, 4800.25, last=4802.0, volume=10)
    venue.place("stop", BUY, stop=4801.0)
    assert venue.quote(4800.0, 4800.25, last=4802.0, volume=10) == []
    assert venue.quote(4800.25, 4800.5, last=4802.0, volume=10) == []
    # The same price with more volume is a new trade.
    assert venue.quote(4800.25, 4800.5, last=4802.0, volume=11) == [("stop", 1, 4800.75)]


def test_a_new_last_price_is_a_trade_even_where_volume_is_not_told() -> None:
    venue = Venue(FillModel(stop_trigger="last"))
    venue.quote(4800.0, 4800.25, last=4800.0)
    venue.place("stop", BUY, stop=4801.0)
    assert venue.quote(4800.0, 4800.25, last=4801.0) == [("stop", 1, 4800.5)]


def test_the_first_quote_of_all_is_no_new_trade() -> None:
    venue = Venue(FillModel(stop_trigger="last"))
    venue.place("stop", BUY, stop=4801.0)
    assert venue.quote(4800.0, 4800.25, last=4802.0, volume=10) == []


@pytest.mark.parametrize("by", ["either", "quote", "last"])
def test_without_last_prices_the_far_side_has_to_do(by: Any) -> None:
    model = FillModel(stop_trigger=by)
    assert triggered(model, {"bid": 4800.5, "ask": 4800.75}, {"bid": 4800.75, "ask": 4801.0}) == 1


def test_a_stop_fills_on_the_quote_that_triggers_it_like_a_market_order() -> None:
    # By the quote: the ask of 4801 and a tick. By a trade: the far side, wherever it is, and a tick.
    for quote, price in ((ASK_UP, 4801.25), (TRADE, 4800.5)):
        venue = Venue()
        venue.quote(**CALM)
        venue.place("stop", BUY, stop=4801.0)
        assert venue.quote(**quote) == [("stop", 1, price)]


def test_a_gap_through_a_stop_fills_at_the_market() -> None:
    venue = Venue()
    venue.quote(**CALM)
    venue.place("stop", SELL, stop=4799.0)
    assert venue.quote(4790.0, 4790.5) == [("stop", 1, 4789.75)]


def test_a_stop_limit_becomes_a_limit_order() -> None:
    venue = Venue()
    venue.quote(**CALM)
    venue.place("b", BUY, stop=4801.0, limit=4801.5)
    assert venue.quote(4800.5, 4800.75) == []  # below the limit, but not yet triggered
    # Triggered and marketable: the ask and a tick, 4801.25.
    assert venue.quote(4800.75, 4801.0) == [("b", 1, 4801.25)]


def test_a_stop_limit_is_no_worse_than_its_limit() -> None:
    venue = Venue()
    venue.quote(**CALM)
    venue.place("b", BUY, stop=4801.0, limit=4801.0)
    assert venue.quote(4800.75, 4801.0) == [("b", 1, 4801.0)]


def test_a_stop_limit_that_is_jumped_rests_at_its_limit() -> None:
    venue = Venue()
    venue.quote(**CALM)
    venue.place("b", BUY, stop=4801.0, limit=4801.5)
    assert venue.quote(4803.0, 4803.25) == []  # triggered, but the ask is beyond the limit
    assert venue.quote(4801.25, 4801.5) == []  # it rests now: touched is not through
    assert venue.quote(4801.0, 4801.25) == [("b", 1, 4801.5)]


def test_a_triggered_stop_limit_needs_its_stop_no_more() -> None:
    venue = Venue()
    venue.quote(**CALM)
    venue.place("b", BUY, stop=4801.0, limit=4800.5)
    assert venue.quote(4801.0, 4801.25) == []
    assert venue.quote(4800.0, 4800.25) == [("b", 1, 4800.5)]  # below the stop again, and through the limit


@pytest.mark.parametrize(
    ("side", "stop", "ok"),
    [
        (BUY, 4800.5, True),
        (BUY, 4800.25, False),
        (BUY, 4790.0, False),
        (SELL, 4799.75, True),
        (SELL, 4800.0, False),
        (SELL, 4810.0, False),
    ],
)
@pytest.mark.parametrize("limit", [None, 4800.0])
def test_a_stop_on_the_wrong_side_of_the_market_is_rejected(
    side: Side, stop: float, ok: bool, limit: float | None
) -> None:
    venue = Venue()
    venue.quote(4800.0, 4800.25)
    venue.place("stop", side, stop=stop, limit=limit)
    assert venue.updates("stop") == [Trigger.ACCEPT if ok else Trigger.REJECT]
    if not ok:
        (reason,) = venue.reasons("stop")
        assert f"{stop:g}" in reason
        assert "the market" in reason
        assert ES not in venue.exchange.resting


def test_the_side_of_a_stop_is_judged_when_it_comes_to_the_exchange() -> None:
    """Right when it was sent, wrong on arrival: the market moved in between."""

    class Late(Strategy):
        instrument: Instrument = ES

        def on_quote(self, quote: Quote) -> None:
            if quote.bid == 4800.0:
                self.order = self.sell(self.instrument, 1, stop_price=4799.0)

    strategy = Late()
    # Sent at 0 s, on its way until 1.5 s; the quote of 1 s is at 4798.
    result = replay(strategy, table([4800.0, 4798.0, 4798.0]), ReplaySettings(latency=Latency(entry=3 * SECOND // 2)))
    assert result.fills == ()
    assert strategy.order.status is OrderStatus.REJECTED
    assert "not below the market" in strategy.order.reason


# --- sizes --------------------------------------------------------------------------------------------------------


def test_a_quote_fills_at_most_what_its_far_side_shows() -> None:
    venue = Venue()
    venue.place("b", BUY, 5)
    venue.place("s", SELL, 3)
    assert venue.quote(4800.0, 4800.25, ask_size=2, bid_size=1) == [("b", 2, 4800.5), ("s", 1, 4799.75)]
    # The rest waits for a newer quote, which shows fresh size, even at the same price.
    assert venue.quote(4800.0, 4800.25, ask_size=2, bid_size=9) == [("b", 2, 4800.5), ("s", 2, 4799.75)]
    assert venue.quote(4801.0, 4801.25, ask_size=2, bid_size=9) == [("b", 1, 4801.5)]


def test_a_size_is_shared_in_order_of_arrival() -> None:
    venue = Venue()
    venue.place("first", BUY, 2)
    venue.place("other account", BUY, 2, account="Sim102")
    venue.place("third", BUY, 2)
    assert venue.quote(4800.0, 4800.25, ask_size=3) == [("first", 2, 4800.5), ("other account", 1, 4800.5)]
    assert venue.quote(4800.0, 4800.25, ask_size=3) == [("other account", 1, 4800.5), ("third", 2, 4800.5)]


def test_arrival_counts_not_price() -> None:
    """A later order with a better limit does not overtake: the rule is the order of arrival."""
    venue = Venue()
    venue.place("early", BUY, 2, limit=4800.25)
    venue.place("late", BUY, 2, limit=4802.0)
    assert venue.quote(4800.0, 4800.25, ask_size=3) == [("early", 2, 4800.25), ("late", 1, 4800.5)]


def test_a_size_of_zero_fills_nothing() -> None:
    venue = Venue()
    venue.place("b", BUY)
    venue.place("s", SELL)
    assert venue.quote(4800.0, 4800.25, ask_size=0, bid_size=0) == []
    assert venue.quote(4800.0, 4800.25, ask_size=0, bid_size=1) == [("s", 1, 4799.75)]
    assert venue.quote(4800.0, 4800.25) == [("b", 1, 4800.5)]  # a size that is not told is no limit


def test_the_sizes_of_one_side_do_not_bind_the_other() -> None:
    venue = Venue()
    venue.place("b", BUY, 5)
    assert venue.quote(4800.0, 4800.25, bid_size=1) == [("b", 5, 4800.5)]


def test_a_resting_limit_is_filled_by_size_too() -> None:
    venue = Venue()
    venue.place("b", BUY, 3, limit=4799.0)
    assert venue.quote(4800.0, 4800.25, ask_size=50) == []
    assert venue.quote(4798.5, 4798.75, ask_size=2) == [("b", 2, 4799.0)]
    assert venue.quote(4798.5, 4798.75, ask_size=2) == [("b", 1, 4799.0)]


def test_a_triggered_stop_stays_triggered_until_it_is_filled() -> None:
    venue = Venue()
    venue.quote(4800.0, 4800.25)
    venue.place("stop", SELL, 3, stop=4799.0)
    assert venue.quote(4799.0, 4799.25, bid_size=1) == [("stop", 1, 4798.75)]
    # The market is back above the stop; the rest is a market order by now.
    assert venue.quote(4800.0, 4800.25, bid_size=9) == [("stop", 2, 4799.75)]


def test_the_rest_of_a_marketable_limit_fills_no_worse_than_a_market_order() -> None:
    """A limit at 4802 with the ask at 4800.25 pays what a market order pays, on the second quote as on the first."""
    venue = Venue()
    venue.place("limit", BUY, 4, limit=4802.0)
    assert venue.quote(4800.0, 4800.25, ask_size=2) == [("limit", 2, 4800.5)]
    assert venue.quote(4800.0, 4800.25, ask_size=2) == [("limit", 2, 4800.5)]


def test_a_marketable_limit_that_found_no_size_still_takes() -> None:
    venue = Venue()
    venue.place("limit", SELL, 1, limit=4790.0)
    assert venue.quote(4800.0, 4800.25, bid_size=0) == []
    assert venue.quote(4800.0, 4800.25, bid_size=5) == [("limit", 1, 4799.75)]


# --- crossed and locked quotes ------------------------------------------------------------------------------------


def test_nothing_fills_on_a_crossed_quote() -> None:
    venue = Venue(FillModel(touch=True))
    venue.quote(4800.0, 4800.25, last=4800.0, volume=1)
    venue.place("market", BUY)
    venue.place("limit", BUY, limit=4805.0)
    venue.place("stop", SELL, stop=4795.0)
    assert venue.quote(4794.0, 4793.75, last=4794.0, volume=2) == []
    # Nor is anything triggered by it: the stop fills only where the market really reaches it.
    assert venue.quote(4800.0, 4800.25, last=4794.0, volume=2) == [("market", 1, 4800.5), ("limit", 1, 4800.5)]
    assert venue.quote(4795.0, 4795.25, last=4795.0, volume=3) == [("stop", 1, 4794.75)]


def test_a_locked_quote_is_a_quote() -> None:
    venue = Venue()
    venue.place("b", BUY)
    venue.place("s", SELL, limit=4800.0)
    assert venue.quote(4800.0, 4800.0) == [("b", 1, 4800.25), ("s", 1, 4800.0)]


def test_a_stop_cannot_be_judged_by_a_crossed_quote() -> None:
    venue = Venue()
    venue.quote(4800.0, 4799.0)
    venue.place("stop", BUY, stop=4799.5)
    assert venue.updates("stop") == [Trigger.ACCEPT]


# --- what an order does not do ------------------------------------------------------------------------------------


def test_an_order_hears_only_its_own_instrument() -> None:
    venue = Venue()
    venue.place("b", BUY)
    assert venue.quote(25000.0, 25000.25, instrument=MNQ) == []
    assert venue.quote(4800.0, 4800.25) == [("b", 1, 4800.5)]


# --- latency: how late things are seen ----------------------------------------------------------------------------


class Diary(Strategy):
    """Buys 2 on the first quote, and notes when it hears what; seconds since the start."""

    instrument: Instrument = ES
    limit: float | None = None
    cancel_at: float | None = None

    def on_start(self) -> None:
        self.heard: list[tuple[float, str]] = []
        self.order: Any = None
        if self.cancel_at is not None:
            self.after(self.cancel_at, "cancel")

    def hear(self, what: str) -> None:
        self.heard.append(((self.now - START) / SECOND, what))

    def on_quote(self, quote: Quote) -> None:
        if self.order is None:
            self.order = self.buy(self.instrument, 2, limit_price=self.limit)

    def on_timer(self, tag: str) -> None:
        self.cancel(self.order)

    def on_fill(self, fill: Fill) -> None:
        self.hear(f"fill {fill.quantity} of {(fill.executed - START) / SECOND:g}")

    def on_order(self, order: Any) -> None:
        self.hear(str(order.status))


def test_replies_come_after_entry_latency_and_fills_after_report_latency() -> None:
    diary = Diary()
    quotes = table([4800.0] * 6, sizes=1)
    replay(diary, quotes, ReplaySettings(latency=Latency(entry=SECOND // 4, report=SECOND // 2)))
    assert diary.heard == [
        (0.25, "working"),
        (1.5, "fill 1 of 1"),
        (1.5, "partial"),
        (2.5, "fill 1 of 2"),
        (2.5, "filled"),
    ]


def test_a_cancel_takes_entry_latency_to_arrive_and_report_latency_to_be_seen() -> None:
    diary = Diary(limit=4700.0, cancel_at=1.0)
    replay(diary, table([4800.0] * 6), ReplaySettings(latency=Latency(entry=SECOND // 4, report=SECOND // 2)))
    assert diary.heard == [(0.25, "working"), (1.75, "cancelled")]


def test_a_fill_comes_before_the_cancel_that_is_still_on_its_way() -> None:
    # Cancelled at 0.9 s, at the exchange at 1.15 s; the quote of 1 s fills it.
    diary = Diary(cancel_at=0.9)
    result = replay(diary, table([4800.0] * 6), ReplaySettings(latency=Latency(entry=SECOND // 4, report=SECOND // 2)))
    assert diary.heard[-2:] == [(1.5, "fill 2 of 1"), (1.5, "filled")]
    assert result.anomalies == ()


# --- fees ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("instrument", "commission", "fee"),
    [
        (ES, None, 3 * 2.90),
        (MNQ, None, 3 * 0.95),
        (ES, 2.0, 6.0),
        (MNQ, 2.0, 6.0),
        (ES, 0.0, 0.0),
    ],
)
def test_fees_are_per_contract_and_side_by_root_or_as_set(
    instrument: str, commission: float | None, fee: float
) -> None:
    class Three(Strategy):
        instrument: Instrument = ES

        def on_quote(self, quote: Quote) -> None:
            if quote.bid == 4800.0:
                self.buy(self.instrument, 3)

    quotes = table([4800.0, 4801.0, 4802.0], instrument=instrument)
    result = replay(Three(instrument=instrument), quotes, ReplaySettings(fees=Fees(commission=commission)))
    assert [one.fee for one in result.fills] == pytest.approx([fee])
    assert result.fees == pytest.approx(fee)


def test_a_root_that_is_not_listed_pays_the_assumed_fee() -> None:
    contract = ContractBook({"XYZ": (0.5, 10.0)}).contract("XYZ 06-26")
    assert Fees().per_contract(contract) == 3.0
    assert Fees(commission=0.5).per_contract(contract) == 0.5


# --- settings that make no sense ----------------------------------------------------------------------------------


def test_negative_settings_are_refused_by_name() -> None:
    with pytest.raises(ConfigError, match="slippage must not be negative, got -1"):
        FillModel(slippage=-1)
    with pytest.raises(ConfigError, match="entry"):
        Latency(entry=-1)
    with pytest.raises(ConfigError, match="report"):
        Latency(report=-1)
    with pytest.raises(ConfigError, match="commission"):
        Fees(commission=float("nan"))


def test_ideal_is_all_four_at_zero() -> None:
    ideal = ReplaySettings.ideal()
    assert (ideal.fills.slippage, ideal.latency.entry, ideal.latency.report, ideal.fees.commission) == (0, 0, 0, 0.0)
    usual = ReplaySettings()
    assert usual.fills.slippage == 1
    assert (usual.latency.entry, usual.latency.report) == (250_000_000, 1_000_000_000)
    assert usual.fees.commission is None


# --- the whole rule against a second opinion ----------------------------------------------------------------------

PRICES = st.integers(-4, 4)


@settings(max_examples=200, deadline=None)
@given(
    side=st.sampled_from([BUY, SELL]),
    limit=st.none() | PRICES,
    quotes=st.lists(st.tuples(PRICES, st.integers(-1, 2), st.none() | st.integers(0, 3)), min_size=1, max_size=8),
    slippage=st.integers(0, 2),
    touch=st.booleans(),
)
def test_no_fill_is_better_than_the_market_or_worse_than_the_limit(
    side: Side, limit: int | None, quotes: list[tuple[int, int, int | None]], slippage: int, touch: bool
) -> None:
    """Prices in ticks around 4800. Whatever the quotes do, each fill can be justified by its own quote alone."""
    venue = Venue(FillModel(slippage=slippage, touch=touch))
    venue.place("o", side, 4, limit=None if limit is None else 4800 + limit * 0.25)
    filled = 0
    for bid, spread, size in quotes:
        fills = venue.quote(4800 + bid * 0.25, 4800 + (bid + spread) * 0.25, bid_size=size, ask_size=size)
        far = 4800 + (bid + spread if side > 0 else bid) * 0.25
        if spread < 0 or size == 0:
            assert fills == []
        elif limit is None and filled < 4:
            assert fills == [("o", min(4 - filled, 4 if size is None else size), far + side * slippage * 0.25)]
        for _, quantity, price in fills:
            assert quantity <= (4 if size is None else size)
            assert side * (price - far) >= 0, "better than the far side"
            if limit is not None:
                assert side * (price - (4800 + limit * 0.25)) <= 0, "worse than its limit"
            filled += quantity
    assert filled <= 4
