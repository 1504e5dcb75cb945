"""What each verb of a strategy does, in replay.

Quotes come once a second unless a test says otherwise, the ask one tick above the bid. Under IDEAL an order made on
row n is filled on row n+1, and the strategy's book shows it on row n+2. Under LATE (entry 250 ms, report 1 s) the
order arrives at n+0.25, is filled on row n+1 and is seen just before row n+2.
"""

from __future__ import annotations

import datetime as dt
import math
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from tables import ES, MNQ, SECOND, START, table

from xtalgo import (
    AccountPnl,
    Bar,
    Columns,
    ConfigError,
    Fees,
    Fill,
    FillModel,
    Instrument,
    Latency,
    Order,
    OrderStatus,
    OrderType,
    Quote,
    QuoteTable,
    ReplaySettings,
    Result,
    RiskLimits,
    Role,
    Side,
    SignalStrategy,
    Strategy,
    StrategyError,
    TimeInForce,
    replay,
)
from xtalgo.model.sessions import from_datetime, to_datetime
from xtalgo.sim.exchange import SimExchange
from xtalgo.sim.replay import Replay

BUY, SELL = Side.BUY, Side.SELL
IDEAL = ReplaySettings.ideal()


def late(**given: Any) -> ReplaySettings:
    given.setdefault("fills", FillModel(slippage=0))
    return ReplaySettings(latency=Latency(entry=SECOND // 4, report=SECOND), fees=Fees(commission=0.0), **given)


LATE = late()


class Scripted(Strategy):
    """Does what a test says on each row (``"start"``: in on_start), and keeps what came of it.

    ``made`` holds what the verbs returned by row, ``told`` what on_order heard, ``held`` the position on each row.
    """

    instrument: Instrument = ES
    do: Any = None

    def on_start(self) -> None:
        self.row = -1
        self.made: dict[Any, Any] = {}
        self.told: list[tuple[float, str, str]] = []
        self.fills: list[tuple[float, int]] = []
        self.held: list[int] = []
        self.act("start")

    def act(self, what: Any, *given: Any) -> None:
        if what in self.do:
            self.made[what] = self.do[what](self, *given)

    def on_quote(self, quote: Quote) -> None:
        self.row += 1
        self.held.append(self.position(self.instrument))
        self.act(self.row)

    def on_order(self, order: Order) -> None:
        self.told.append(((self.now - START) / SECOND, order.id, str(order.status)))

    def on_fill(self, fill: Fill) -> None:
        self.fills.append(((self.now - START) / SECOND, fill.side * fill.quantity))
        self.act("fill", fill)

    def on_timer(self, tag: str) -> None:
        self.act(tag)


def play(
    do: Mapping[Any, Callable[..., Any]],
    quotes: QuoteTable | Sequence[float] | int,
    settings: ReplaySettings = IDEAL,
    **given: Any,
) -> tuple[Scripted, Result]:
    """Play a script over quotes: a table, bids, or so many quotes at 4800."""
    if isinstance(quotes, int):
        quotes = [4800.0] * quotes
    strategy = Scripted(do=do, **given)
    return strategy, replay(strategy, quotes if isinstance(quotes, QuoteTable) else table(quotes), settings)


def executed(result: Result) -> list[tuple[float, int, float]]:
    """When, how many (signed), at which price."""
    return [((fill.executed - START) / SECOND, fill.side * fill.quantity, fill.price) for fill in result.fills]


def decided(result: Result) -> list[str]:
    """What was decided, without stamps: what, and the order's number."""
    return [f"{what} {str(facts[0]).removeprefix('r-')}" for _, what, *facts in result.decisions]


def both(count: int, **given: Any) -> QuoteTable:
    """ES at 4800 and MNQ at 25000, each once a second, MNQ half a second after ES."""
    rows = np.arange(2 * count)
    bids = np.where(rows % 2, 25000.0, 4800.0)
    return QuoteTable.from_rows((ES, MNQ), rows % 2, START + rows * (SECOND // 2), bids, bids + 0.25, bids, **given)


# --- buy and sell -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ({}, OrderType.MARKET),
        ({"limit_price": 4790.0}, OrderType.LIMIT),
        ({"stop_price": 4810.0}, OrderType.STOP_MARKET),
        ({"stop_price": 4810.0, "limit_price": 4811.0}, OrderType.STOP_LIMIT),
    ],
)
@pytest.mark.parametrize("side", [BUY, SELL])
def test_the_kind_of_an_order_follows_from_its_prices(given: dict[str, float], kind: OrderType, side: Side) -> None:
    strategy, _ = play({0: lambda s: (s.buy if side > 0 else s.sell)(ES, 3, **given)}, 1)
    order = strategy.made[0]
    assert (order.side, order.type, order.quantity, order.instrument) == (side, kind, 3, ES)
    assert (order.limit_price, order.stop_price) == (given.get("limit_price"), given.get("stop_price"))
    assert (order.account, order.owner, order.role, order.tif) == ("Sim101", "Scripted", Role.ENTRY, TimeInForce.DAY)


def test_an_order_is_a_live_handle() -> None:
    seen: list[tuple[Any, ...]] = []

    def look(s: Scripted) -> None:
        order = s.made[0]
        seen.append((order.status, order.filled, order.remaining, order.average_price, order.is_open, order.is_done))

    quotes = table([4800.0, 4801.0, 4802.0, 4802.0, 4802.0, 4802.0], sizes=2)
    strategy, _ = play({0: lambda s: s.buy(ES, 5)} | dict.fromkeys(range(1, 6), look), quotes, LATE)
    # Filled 2 at 4801.25 on row 1, 2 at 4802.25 on row 2, 1 on row 3; each seen a second later.
    assert seen == [
        (OrderStatus.WORKING, 0, 5, None, True, False),
        (OrderStatus.PARTIAL, 2, 3, 4801.25, True, False),
        (OrderStatus.PARTIAL, 4, 1, 4801.75, True, False),
        (OrderStatus.FILLED, 5, 0, pytest.approx(4801.85), False, True),
        (OrderStatus.FILLED, 5, 0, pytest.approx(4801.85), False, True),
    ]
    assert [fill.quantity for fill in strategy.made[0].fills] == [2, 2, 1]
    with pytest.raises(AttributeError):
        strategy.made[0].quantity = 7


@pytest.mark.parametrize(
    ("given", "tif"), [("day", TimeInForce.DAY), ("GTC", TimeInForce.GTC), (TimeInForce.GTC, TimeInForce.GTC)]
)
def test_time_in_force_is_a_word_or_the_constant(given: Any, tif: TimeInForce) -> None:
    strategy, _ = play({0: lambda s: s.buy(ES, 1, limit_price=4700.0, tif=given)}, 1)
    assert strategy.made[0].tif is tif


def test_day_orders_end_with_the_session_and_gtc_orders_do_not() -> None:
    # 16:59:58 in New York; the fourth quote is in the next session, at 18:00.
    close = from_datetime(dt.datetime(2026, 5, 13, 21, 0, tzinfo=dt.UTC))
    stamps = [close - 2 * SECOND, close - SECOND, close + 3600 * SECOND, close + 3601 * SECOND]
    quotes = QuoteTable.from_rows((ES,), [0] * 4, stamps, [4800.0] * 4, [4800.25] * 4)

    def orders(s: Scripted) -> list[Order]:
        return [s.buy(ES, 1, limit_price=4790.0, tif=tif) for tif in ("DAY", "GTC")]

    strategy, _ = play({0: orders}, quotes)
    assert [order.status for order in strategy.made[0]] == [OrderStatus.EXPIRED, OrderStatus.WORKING]
    assert strategy.told[-1][1:] == ("r-1", "expired")


@pytest.mark.parametrize(
    ("side", "limit", "stop", "limit_tick", "stop_tick"),
    [
        # A limit goes to the tick that is no worse, a stop to the nearest.
        (BUY, 4790.24, 4810.30, 4790.0, 4810.25),
        (BUY, 4790.25, 4810.40, 4790.25, 4810.5),
        (SELL, 4790.01, 4790.30, 4790.25, 4790.25),
        (SELL, 4790.25, 4790.40, 4790.25, 4790.5),
    ],
)
def test_prices_off_the_grid(side: Side, limit: float, stop: float, limit_tick: float, stop_tick: float) -> None:
    strategy, _ = play({0: lambda s: (s.buy if side > 0 else s.sell)(ES, 1, limit_price=limit, stop_price=stop)}, 1)
    assert (strategy.made[0].limit_price, strategy.made[0].stop_price) == (limit_tick, stop_tick)


def test_orders_that_share_an_oco_id_cancel_each_other() -> None:
    def straddle(s: Scripted) -> list[Order]:
        return [
            s.buy(ES, 1, stop_price=4802.0, oco="out"),
            s.sell(ES, 1, stop_price=4798.0, oco="out"),
            s.sell(ES, 1, stop_price=4798.0, oco="other"),
        ]

    strategy, result = play({0: straddle}, [4800.0, 4800.0, 4802.0, 4802.0])
    assert [order.status for order in strategy.made[0]] == [
        OrderStatus.FILLED,
        OrderStatus.CANCELLED,
        OrderStatus.WORKING,
    ]
    assert executed(result) == [(2.0, 1, 4802.25)]


def test_a_finished_oco_id_is_refused() -> None:
    do = {0: lambda s: s.buy(ES, 1, oco="g"), 3: lambda s: s.sell(ES, 1, oco="g")}
    strategy, _ = play(do, 6)
    assert strategy.made[3].status is OrderStatus.REJECTED
    assert "finished group" in strategy.made[3].reason


def test_a_strategy_hears_of_each_step_once() -> None:
    strategy, _ = play({0: lambda s: s.buy(ES, 2)}, table([4800.0] * 6, sizes=1), LATE)
    assert strategy.told == [(0.25, "r-1", "working"), (2.0, "r-1", "partial"), (3.0, "r-1", "filled")]
    assert strategy.fills == [(2.0, 1), (3.0, 1)]


def test_orders_can_be_placed_in_every_callback() -> None:
    class Busy(Strategy):
        instrument: Instrument = ES

        def once(self, what: str) -> None:
            if what not in self.sources:
                self.sources[what] = self.buy(self.instrument, 1)

        def on_start(self) -> None:
            self.sources: dict[str, Order] = {}
            self.once("start")
            self.after(0.5, "t")
            self.bars(self.instrument, "1s")

        def on_quote(self, quote: Quote) -> None:
            self.once("quote")

        def on_bar(self, bar: Bar) -> None:
            self.once("bar")

        def on_fill(self, fill: Fill) -> None:
            self.once("fill")

        def on_order(self, order: Order) -> None:
            self.once("order")

        def on_timer(self, tag: str) -> None:
            self.once("timer")

        def on_pnl(self, pnl: AccountPnl) -> None:
            self.once("pnl")

    strategy = Busy()
    replay(strategy, table([4800.0] * 6), IDEAL)
    assert sorted(strategy.sources) == ["bar", "fill", "order", "pnl", "quote", "start", "timer"]
    assert all(order.is_filled for order in strategy.sources.values())


# --- accounts -----------------------------------------------------------------------------------------------------

TWO_ACCOUNTS = ReplaySettings(
    fills=FillModel(slippage=0),
    latency=Latency(entry=0, report=0),
    fees=Fees(commission=0.0),
    accounts=("Sim101", "Apex-7"),
)


def test_each_account_has_its_own_book() -> None:
    def look(s: Scripted) -> list[int]:
        return [s.position(ES), s.position(ES, account="apex-7"), s.account_position(ES, account="APEX-7")]

    do = {
        0: lambda s: [s.buy(ES, 1), s.sell(ES, 2, account="apex-7")],
        3: look,
        4: lambda s: s.close(ES, account="Apex-7"),
        7: look,
        8: lambda s: s.order_target(ES, 3, account="APEX-7"),
        11: look,
    }
    strategy, result = play(do, 12, TWO_ACCOUNTS)
    assert (strategy.account, strategy.accounts) == ("Sim101", ("Sim101", "Apex-7"))
    assert [order.account for order in strategy.made[0]] == ["Sim101", "Apex-7"]
    assert (strategy.made[3], strategy.made[7], strategy.made[11]) == ([1, -2, -2], [1, 0, 0], [1, 3, 3])
    assert {fill.account for fill in result.fills} == {"Sim101", "Apex-7"}


def test_every_verb_that_takes_an_account_keeps_to_it() -> None:
    def rest(s: Scripted) -> list[Order]:
        return [s.buy(ES, 1, limit_price=4790.0, account=name) for name in ("Sim101", "Apex-7")]

    do = {
        0: rest,
        2: lambda s: [len(s.orders()), len(s.orders(account="apex-7"))],
        3: lambda s: s.cancel_all(account="apex-7"),
        5: lambda s: [s.buy(ES, 1, account=name) for name in ("Sim101", "Apex-7")],
        8: lambda s: s.flatten(account="apex-7"),
    }
    strategy, result = play(do, 12, TWO_ACCOUNTS)
    assert strategy.made[2] == [1, 1]
    assert [order.status for order in strategy.made[0]] == [OrderStatus.WORKING, OrderStatus.CANCELLED]
    held = {name: sum(f.side * f.quantity for f in result.fills if f.account == name) for name in strategy.accounts}
    assert held == {"Sim101": 1, "Apex-7": 0}


@pytest.mark.parametrize("names", [(), ("Sim101", "sim101")])
def test_accounts_are_one_or_more_different_names(names: tuple[str, ...]) -> None:
    with pytest.raises(ConfigError, match="accounts must be"):
        play({}, 1, ReplaySettings(accounts=names))


# --- order_target -------------------------------------------------------------------------------------------------


def test_a_target_is_met_and_reversed_by_what_is_missing() -> None:
    do = {
        0: lambda s: s.order_target(ES, 2),
        3: lambda s: s.order_target(ES, 2),  # met
        4: lambda s: s.order_target(ES, -1),  # over the flat line in one order
        7: lambda s: s.order_target(ES, 0),
        10: lambda s: s.order_target(ES, 0),
    }
    strategy, result = play(do, 12)
    assert executed(result) == [(1.0, 2, 4800.25), (5.0, -3, 4800.0), (8.0, 1, 4800.25)]
    assert strategy.held == [0, 0, 2, 2, 2, 2, -1, -1, -1, 0, 0, 0]
    assert strategy.made[3] is None
    assert strategy.made[10] is None
    assert strategy.made[4].quantity == 3


def test_a_target_counts_what_is_under_way() -> None:
    do = {
        0: lambda s: s.order_target(ES, 2),
        1: lambda s: s.order_target(ES, 2),  # on its way
        2: lambda s: s.order_target(ES, 5),  # 2 still unseen, 3 are missing
        3: lambda s: s.order_target(ES, 4),  # 5 under way or held: one too many
    }
    # Seen only after three seconds.
    settings = ReplaySettings(
        fills=FillModel(slippage=0), latency=Latency(entry=0, report=3 * SECOND), fees=Fees(commission=0.0)
    )
    strategy, result = play(do, 12, settings)
    assert executed(result) == [(1.0, 2, 4800.25), (3.0, 3, 4800.25), (4.0, -1, 4800.0)]
    assert strategy.made[1] is None
    assert strategy.held[-1] == 4


def test_targets_and_orders_of_one_callback_are_netted() -> None:
    def several(s: Scripted) -> list[Order | None]:
        return [s.buy(ES, 1), s.order_target(ES, 3), s.order_target(ES, 3), s.order_target(ES, 4)]

    strategy, result = play({0: several}, 6)
    assert [None if order is None else order.quantity for order in strategy.made[0]] == [1, 2, None, 1]
    assert strategy.held[-1] == sum(fill.side * fill.quantity for fill in result.fills) == 4


def test_the_last_target_of_a_callback_counts() -> None:
    strategy, _ = play({0: lambda s: [s.order_target(ES, 3), s.order_target(ES, -1), s.order_target(ES, 1)]}, 8)
    assert strategy.held[-1] == 1


def test_a_target_given_as_a_whole_float_is_a_number_of_contracts() -> None:
    strategy, _ = play({0: lambda s: s.order_target(ES, np.float64(2.0))}, 4)
    assert strategy.held[-1] == 2


def test_a_target_cancels_resting_entries_but_not_the_authors_exits() -> None:
    do = {
        0: lambda s: s.buy(ES, 1),
        3: lambda s: [s.buy(ES, 1, limit_price=4790.0), s.sell(ES, 1, limit_price=4810.0), s.order_target(ES, 2)],
    }
    strategy, _ = play(do, 8)
    entry, leave, target = strategy.made[3]
    assert (entry.status, leave.status) == (OrderStatus.CANCELLED, OrderStatus.WORKING)
    assert (target.quantity, strategy.held[-1]) == (1, 2)


def test_a_target_of_which_part_is_filled_stands() -> None:
    strategy, result = play({0: lambda s: s.order_target(ES, 5)}, table([4800.0] * 6, sizes=2))
    assert [quantity for _, quantity, _ in executed(result)] == [2, 2, 1]
    assert decided(result) == ["place 1"]
    assert strategy.held[-1] == 5


def test_a_denied_target_is_tried_again_until_it_passes() -> None:
    """One order a minute: the target's order is denied, once, and goes when the minute is over."""
    do = {0: lambda s: s.buy(ES, 1), 1: lambda s: s.order_target(ES, 3)}
    strategy, result = play(do, 70, late(limits=RiskLimits(max_orders_per_minute=1)))
    # The first order passed at 0 s; at 60 s it is no longer inside the last minute. The denial of 1 s is told in the
    # next turn, which is the fill's at 2 s.
    assert executed(result) == [(1.0, 1, 4800.25), (61.0, 2, 4800.25)]
    assert result.denials == {"order_rate": 1}
    assert strategy.made[1].status is OrderStatus.DENIED
    assert [word for word in strategy.told if word[2] == "denied"] == [(2.0, "r-2", "denied")]


def test_a_denied_target_can_be_replaced() -> None:
    do = {0: lambda s: s.buy(ES, 1), 1: lambda s: s.order_target(ES, 3), 30: lambda s: s.order_target(ES, 1)}
    strategy, result = play(do, 70, late(limits=RiskLimits(max_orders_per_minute=1)))
    assert executed(result) == [(1.0, 1, 4800.25)]
    assert strategy.held[-1] == 1


@pytest.mark.parametrize(
    ("verb", "left"),
    [
        (lambda s: s.buy(ES, 1, limit_price=4700.0), 1),
        (lambda s: s.close(ES), 0),
        (lambda s: s.flatten(), 0),
        (lambda s: s.cancel_all(), 1),
        (lambda s: s.cancel_all(ES), 1),
        (lambda s: s.halt("enough"), 1),
    ],
    ids=["buy", "close", "flatten", "cancel_all", "cancel_all in it", "halt"],
)
def test_a_standing_target_is_dropped_by_other_verbs(verb: Callable[[Scripted], Any], left: int) -> None:
    """As above, but before the minute is over another verb replaces the target, which then never goes."""
    do = {0: lambda s: s.buy(ES, 1), 1: lambda s: s.order_target(ES, 3), 10: verb}
    strategy, result = play(do, 75, late(limits=RiskLimits(max_orders_per_minute=1)))
    assert strategy.held[9] == 1
    assert strategy.held[-1] == left
    assert not [quantity for _, quantity, _ in executed(result)[1:] if quantity > 0]


def test_a_denied_target_that_is_asked_for_again_and_again_is_denied_once() -> None:
    do = dict.fromkeys(range(30), lambda s: s.order_target(ES, 3))
    strategy, result = play(do, 30, late(limits=RiskLimits(max_position=2)))
    assert result.denials == {"position": 1}
    assert [order is None for order in strategy.made.values()] == [False] + [True] * 29


def test_cancel_all_elsewhere_leaves_a_standing_target_alone() -> None:
    do = {
        0: lambda s: s.buy(ES, 1),
        1: lambda s: s.order_target(ES, 3),
        2: lambda s: s.cancel_all(MNQ),
    }
    strategy, _ = play(do, both(70), late(limits=RiskLimits(max_orders_per_minute=1)))
    assert strategy.held[-1] == 3


def test_the_part_of_a_denied_target_toward_flat_goes_at_once() -> None:
    """Long 2, at most 2: a target of -3 is denied, but closing the 2 needs no leave."""
    do = {0: lambda s: s.order_target(ES, 2), 4: lambda s: s.order_target(ES, -3)}
    strategy, result = play(do, 12, late(limits=RiskLimits(max_position=2)))
    assert executed(result) == [(1.0, 2, 4800.25), (5.0, -2, 4800.0)]
    assert strategy.made[4].status is OrderStatus.DENIED
    assert strategy.held[-1] == 0


def test_a_target_that_went_stale_is_tried_again() -> None:
    """Twenty orders take all tokens, twenty more wait before the target's; it is dropped at 2 s and tried anew."""

    def flood(s: Scripted) -> Order | None:
        for _ in range(40):
            s.buy(MNQ, 1, limit_price=20000.0)
        return s.order_target(ES, 2)

    strategy, result = play({0: flood}, both(8), LATE)
    assert strategy.made[0].status is OrderStatus.CANCELLED
    assert "too long" in strategy.made[0].reason
    # Stale at 2 s, tried again at the first ES quote from 3 s on, filled on the next.
    assert executed(result) == [(4.0, 2, 4800.25)]


def test_a_target_that_expired_is_tried_again() -> None:
    """No size to be had before 17:00; the order ends with its session, the target does not."""
    close = from_datetime(dt.datetime(2026, 5, 13, 21, 0, tzinfo=dt.UTC))
    stamps = [close - 2 * SECOND, close - SECOND, *[close + (3600 + n) * SECOND for n in range(4)]]
    sizes = [0, 0, 5, 5, 5, 5]
    quotes = QuoteTable.from_rows(
        (ES,), [0] * 6, stamps, [4800.0] * 6, [4800.25] * 6, bid_size=sizes, ask_size=sizes, volume=range(6)
    )
    strategy, result = play({0: lambda s: s.order_target(ES, 2)}, quotes)
    assert strategy.made[0].status is OrderStatus.EXPIRED
    # Tried again on the first quote of the next session, filled on the one after.
    assert [(fill.executed, fill.quantity) for fill in result.fills] == [(stamps[3], 2)]


# --- cancel -------------------------------------------------------------------------------------------------------


def test_a_draft_is_cancelled_in_its_own_callback_and_costs_nothing() -> None:
    def both_at_once(s: Scripted) -> Order:
        order = s.buy(ES, 1)
        s.cancel(order)
        return order

    strategy, result = play({0: both_at_once}, 4)
    assert strategy.made[0].status is OrderStatus.CANCELLED
    assert (result.rpcs, result.fills) == (0, ())


def fast(count: int) -> QuoteTable:
    """Ten quotes a second."""
    return table([4800.0] * count, step=SECOND // 10)


def test_a_queued_order_is_cancelled_without_a_request() -> None:
    def fill_up(s: Scripted) -> list[Order]:
        return [s.buy(ES, 1, limit_price=4700.0) for _ in range(21)]

    def drop(s: Scripted) -> OrderStatus:
        last = s.made[0][-1]
        before = last.status
        s.cancel(last)
        return before

    strategy, result = play({0: fill_up, 1: drop}, fast(40), LATE)
    assert strategy.made[1] is OrderStatus.QUEUED
    assert strategy.made[0][-1].status is OrderStatus.CANCELLED
    assert strategy.made[0][-1].reason == "cancelled before it was sent"
    assert result.rpcs == 20


def test_a_cancel_of_an_order_that_was_not_answered_waits_for_the_answer() -> None:
    def drop(s: Scripted) -> tuple[OrderStatus, bool]:
        s.cancel(s.made[0])
        return s.made[0].status, s.made[0].pending_cancel

    do = {0: lambda s: s.buy(ES, 1, limit_price=4700.0), 1: drop, 2: lambda s: s.made[0].pending_cancel}
    strategy, result = play(do, fast(40), LATE)
    assert strategy.made[1] == (OrderStatus.SENT, False)  # verbs act when the callback has returned
    assert strategy.made[2] is True
    # Sent at 0 s, answered at 0.25 s: then the cancel goes, arrives at 0.5 s, and is seen at 1.5 s.
    assert [decision[:3] for decision in result.decisions[1:]] == [(START + SECOND // 4, "cancel", "r-1")]
    assert strategy.told == [(0.25, "r-1", "working"), (1.5, "r-1", "cancelled")]
    assert not strategy.made[0].pending_cancel
    assert result.rpcs == 2


def test_a_working_order_is_cancelled() -> None:
    strategy, result = play({0: lambda s: s.buy(ES, 1, limit_price=4700.0), 2: lambda s: s.cancel(s.made[0])}, 8, LATE)
    assert strategy.told[-1] == (3.25, "r-1", "cancelled")
    assert (decided(result), result.rpcs) == (["place 1", "cancel 1"], 2)


def test_a_cancel_is_sent_once() -> None:
    def twice(s: Scripted) -> None:
        s.cancel(s.made[0])
        s.cancel(s.made[0])

    do = {0: lambda s: s.buy(ES, 1, limit_price=4700.0), 2: twice, 3: twice}
    _, result = play(do, 8, LATE)
    assert (decided(result), result.rpcs) == (["place 1", "cancel 1"], 2)


def test_a_done_order_is_cancelled_in_vain_but_without_harm() -> None:
    strategy, result = play({0: lambda s: s.buy(ES, 1), 4: lambda s: s.cancel(s.made[0])}, 8, LATE)
    assert strategy.made[0].status is OrderStatus.FILLED
    assert (result.rpcs, result.anomalies) == (1, ())


def test_a_fill_beats_a_cancel_that_is_on_its_way() -> None:
    settings = ReplaySettings(latency=Latency(entry=3 * SECOND // 2, report=0))
    # At the exchange at 1.5 s, fills at 2 s unless cancelled by then; the cancel of 1.6 s arrives at 3.1 s.
    do = {0: lambda s: s.buy(ES, 1), "start": lambda s: s.after(1.6, "drop"), "drop": lambda s: s.cancel(s.made[0])}
    strategy, result = play(do, 8, settings)
    assert strategy.made[0].status is OrderStatus.FILLED
    assert not strategy.made[0].pending_cancel
    assert (result.anomalies, strategy.held[-1]) == ((), 1)


def test_a_strategy_is_told_of_a_cancel_that_needed_no_request() -> None:
    """``on_order``: when the status of one of its orders has moved, cancelled included."""

    def fill_up(s: Scripted) -> list[Order]:
        return [s.buy(ES, 1, limit_price=4700.0) for _ in range(21)]

    strategy, _ = play({0: fill_up, 1: lambda s: s.close(ES)}, fast(40), LATE)
    last = strategy.made[0][-1]
    assert last.status is OrderStatus.CANCELLED
    assert [word for _, name, word in strategy.told if name == last.id] == ["cancelled"]


# --- change -------------------------------------------------------------------------------------------------------


def test_a_change_moves_a_working_order() -> None:
    do = {
        0: lambda s: s.buy(ES, 1, limit_price=4700.0),
        2: lambda s: s.change(s.made[0], limit_price=4799.0, quantity=3),
    }
    strategy, result = play(do, [4800.0] * 4 + [4798.0] * 4, LATE)
    order = strategy.made[0]
    assert (order.limit_price, order.quantity, order.filled) == (4799.0, 3, 3)
    assert executed(result) == [(4.0, 3, 4799.0)]
    assert result.rpcs == 2


def test_changes_of_one_callback_are_one_request() -> None:
    def move(s: Scripted) -> None:
        s.change(s.made[0], limit_price=4710.0)
        s.change(s.made[0], quantity=4)
        s.change(s.made[0], limit_price=4720.0)

    strategy, result = play({0: lambda s: s.buy(ES, 1, limit_price=4700.0), 2: move}, 8, LATE)
    assert (strategy.made[0].limit_price, strategy.made[0].quantity) == (4720.0, 4)
    assert result.rpcs == 2


def test_changes_wait_for_the_one_in_flight_and_are_merged() -> None:
    # Ten quotes a second: the change of 0.5 s is answered at 0.75 s; those of 0.6 s and 0.7 s go then, as one.
    do = {
        0: lambda s: s.buy(ES, 1, limit_price=4700.0),
        5: lambda s: s.change(s.made[0], limit_price=4710.0),
        6: lambda s: s.change(s.made[0], limit_price=4720.0),
        7: lambda s: [s.change(s.made[0], quantity=2), s.made[0].pending_change],
        8: lambda s: [s.made[0].limit_price, s.made[0].quantity, s.made[0].pending_change],
    }
    strategy, result = play(do, fast(20), LATE)
    assert strategy.made[7][1] is True
    assert strategy.made[8] == [4710.0, 1, True]
    assert (strategy.made[0].limit_price, strategy.made[0].quantity) == (4720.0, 2)
    assert not strategy.made[0].pending_change
    assert [decision[1:] for decision in result.decisions[1:]] == [
        ("change", "r-1", None, 4710.0, None),
        ("change", "r-1", 2, 4720.0, None),
    ]
    assert result.rpcs == 3


def test_a_change_that_waits_for_a_token_gives_way_to_a_newer_one() -> None:
    def flood(s: Scripted) -> None:
        for _ in range(20):
            s.buy(ES, 1, limit_price=4600.0)

    # Tokens: 19 after row 0, refilled from 0.2 s on at 3 a second, 19.9 on row 5, where 20 orders ask for them: the
    # last one leaves at 0.533 s. The next token comes at 0.867 s; the changes of rows 6 and 7 wait for it together.
    do = {
        0: lambda s: s.buy(ES, 1, limit_price=4700.0),
        5: flood,
        6: lambda s: s.change(s.made[0], limit_price=4710.0),
        7: lambda s: s.change(s.made[0], limit_price=4720.0),
    }
    strategy, result = play(do, fast(60), LATE)
    assert strategy.made[0].limit_price == 4720.0
    assert result.rpcs == 1 + 20 + 1


def test_an_order_can_be_changed_before_it_is_answered() -> None:
    def both_at_once(s: Scripted) -> Order:
        order = s.buy(ES, 1, limit_price=4700.0)
        s.change(order, limit_price=4710.0)
        return order

    strategy, _ = play({0: both_at_once}, 5, LATE)
    assert strategy.made[0].limit_price == 4710.0


def test_a_quantity_below_what_is_filled_completes_the_order() -> None:
    do = {0: lambda s: s.buy(ES, 9), 2: lambda s: s.change(s.made[0], quantity=1)}
    strategy, result = play(do, table([4800.0] * 8, sizes=2))
    order = strategy.made[0]
    # 2 on row 1, 2 on row 2; the change arrives after row 2.
    assert (order.status, order.filled, order.quantity) == (OrderStatus.FILLED, 4, 4)
    assert [quantity for _, quantity, _ in executed(result)] == [2, 2]


def test_a_refused_change_leaves_the_order_and_says_why() -> None:
    do = {
        0: lambda s: s.sell(ES, 1, stop_price=4790.0),
        2: lambda s: s.change(s.made[0], stop_price=4805.0),
        4: lambda s: [s.made[0].stop_price, s.made[0].pending_change, s.made[0].is_open],
    }
    strategy, _ = play(do, 6)
    assert strategy.made[4] == [4790.0, False, True]
    assert "change refused: sell stop 4805 is not below the market" in strategy.made[0].reason


def test_a_cancel_beats_a_change() -> None:
    def change_and_cancel(s: Scripted) -> None:
        s.change(s.made[0], limit_price=4710.0)
        s.cancel(s.made[0])
        s.change(s.made[0], limit_price=4720.0)

    strategy, result = play({0: lambda s: s.buy(ES, 1, limit_price=4700.0), 2: change_and_cancel}, 8, LATE)
    assert strategy.made[0].status is OrderStatus.CANCELLED
    assert result.rpcs == 2  # the place and the cancel; the change never left


def test_a_change_that_waits_for_another_dies_with_the_order() -> None:
    # Ten quotes a second: the change of 0.5 s is answered at 0.75 s. The next one waits for that; the cancel does not.
    do = {
        0: lambda s: s.buy(ES, 1, limit_price=4700.0),
        5: lambda s: s.change(s.made[0], limit_price=4710.0),
        6: lambda s: [s.change(s.made[0], limit_price=4720.0), s.cancel(s.made[0])],
    }
    strategy, result = play(do, fast(40), LATE)
    assert decided(result) == ["place 1", "change 1", "cancel 1"]
    assert (strategy.made[0].status, strategy.made[0].limit_price) == (OrderStatus.CANCELLED, 4710.0)


def test_a_done_order_is_changed_in_vain_but_without_harm() -> None:
    do = {0: lambda s: s.buy(ES, 1, limit_price=4805.0), 4: lambda s: s.change(s.made[0], limit_price=4700.0)}
    strategy, result = play(do, 8, LATE)
    assert (strategy.made[0].limit_price, result.rpcs) == (4805.0, 1)


# --- cancel_all, close, flatten, halt -----------------------------------------------------------------------------


def bracketed(s: Scripted, quantity: int = 2) -> Order:
    return s.buy(ES, quantity, stop_loss=8, take_profit=12)


def exits(result: Result) -> list[Order]:
    return [order for order in result.order_book if order.is_exit]


def test_cancel_all_keeps_the_engines_exits() -> None:
    do = {
        0: bracketed,
        3: lambda s: [s.buy(ES, 1, limit_price=4700.0), s.sell(ES, 1, limit_price=4900.0)],
        5: lambda s: s.cancel_all(),
    }
    strategy, result = play(do, 8)
    assert [order.status for order in strategy.made[3]] == [OrderStatus.CANCELLED] * 2
    assert [order.status for order in exits(result)] == [OrderStatus.WORKING] * 2


def test_cancel_all_in_one_instrument_leaves_the_others() -> None:
    do = {
        0: lambda s: [s.buy(ES, 1, limit_price=4700.0), s.buy(MNQ, 1, limit_price=20000.0)],
        2: lambda s: s.cancel_all(MNQ),
    }
    strategy, _ = play(do, both(4))
    assert [order.status for order in strategy.made[0]] == [OrderStatus.WORKING, OrderStatus.CANCELLED]


def test_close_cancels_the_exits_first_and_then_sells_what_the_book_holds() -> None:
    strategy, result = play({0: bracketed, 3: lambda s: s.close(ES)}, 10, LATE)
    # Bought on row 1, seen at 2 s, exits placed then. At 3 s both are cancelled; that is seen at 4.25 s, the close
    # goes out, and is filled on row 5.
    assert executed(result) == [(1.0, 2, 4800.25), (5.0, -2, 4800.0)]
    assert decided(result)[:5] == ["place 1", "place 2", "place 3", "cancel 2", "cancel 3"]
    assert decided(result)[-1] == "place 4"
    assert result.decisions[-1][0] == START + 4 * SECOND + SECOND // 4
    assert [order.status for order in exits(result)] == [OrderStatus.CANCELLED] * 2
    assert result.order_book[-1].role is Role.CLOSE
    assert strategy.held[-1] == 0
    assert not strategy.orders()


def test_a_cancel_that_the_venue_refused_is_not_repeated_at_once() -> None:
    """Cancelling one exit takes its OCO partner along, so the partner's own cancel is refused; that says enough."""
    _, result = play({0: bracketed, 3: lambda s: s.close(ES)}, 10, LATE)
    assert [what for what in decided(result) if what.startswith("cancel")] == ["cancel 2", "cancel 3"]
    assert result.rpcs == 1 + 2 + 2 + 1


def test_a_close_is_sized_from_the_book_when_an_exit_was_filled_meanwhile() -> None:
    """The stop is half filled while its cancel is on the way: the close sells the other half only."""
    settings = ReplaySettings(
        fills=FillModel(slippage=0), latency=Latency(entry=3 * SECOND // 2, report=SECOND), fees=Fees(commission=0.0)
    )
    # The stop is 8 ticks below 4800.25: 4798.25. Cancels of 6 s arrive at 7.5 s; row 7 shows one contract at 4798.
    bids = [4800.0] * 7 + [4798.0] + [4800.0] * 8
    quotes = table(bids, sizes=[9] * 7 + [1] + [9] * 8)
    strategy, result = play({0: bracketed, 6: lambda s: s.close(ES)}, quotes, settings)
    # The rest of the stop is seen cancelled at 8.5 s; the close arrives at 10 s.
    assert executed(result) == [(2.0, 2, 4800.25), (7.0, -1, 4798.0), (10.0, -1, 4800.0)]
    assert strategy.held[-1] == 0


def test_a_close_cancels_the_authors_orders_too() -> None:
    do = {
        0: lambda s: [s.buy(ES, 1), s.buy(ES, 1, limit_price=4700.0), s.sell(ES, 1, limit_price=4900.0)],
        3: lambda s: s.close(ES),
    }
    strategy, result = play(do, 8)
    assert [order.status for order in strategy.made[0][1:]] == [OrderStatus.CANCELLED] * 2
    assert sum(fill.side * fill.quantity for fill in result.fills) == 0
    assert result.order_book[-1].quantity == 1


def test_a_close_waits_for_an_entry_that_can_still_fill() -> None:
    """Closed in the callback after the buy: the buy is on its way, is filled, and is then closed."""
    settings = ReplaySettings(
        fills=FillModel(slippage=0), latency=Latency(entry=3 * SECOND // 2, report=SECOND), fees=Fees(commission=0.0)
    )
    strategy, result = play({0: lambda s: s.buy(ES, 2), 1: lambda s: s.close(ES)}, 14, settings)
    assert [quantity for _, quantity, _ in executed(result)] == [2, -2]
    assert strategy.held[-1] == 0


def test_a_close_of_nothing_does_nothing() -> None:
    strategy, result = play({0: lambda s: s.close(ES), 2: lambda s: s.buy(ES, 1)}, 6)
    assert (decided(result), strategy.held[-1]) == (["place 1"], 1)


def test_a_close_that_finds_no_size_goes_on() -> None:
    quotes = table([4800.0] * 11, sizes=[9, 9, 9, 9, 9, 1, 0, 1, 9, 9, 9])
    strategy, result = play({0: lambda s: s.buy(ES, 3), 4: lambda s: s.close(ES)}, quotes)
    assert executed(result) == [(1.0, 3, 4800.25), (5.0, -1, 4800.0), (7.0, -1, 4800.0), (8.0, -1, 4800.0)]
    assert strategy.held[-1] == 0


def test_a_target_given_with_a_close_is_met_after_it() -> None:
    """``order_target`` stands until it is met or replaced: here it replaces the close's zero."""
    do = {0: lambda s: s.buy(ES, 1), 3: lambda s: [s.close(ES), s.order_target(ES, -2)]}
    strategy, _ = play(do, 15)
    assert strategy.held[-1] == -2


def test_a_target_after_a_close_of_nothing_is_met() -> None:
    do = {0: lambda s: [s.close(ES), s.order_target(ES, 2)], 4: lambda s: s.order_target(ES, 2)}
    strategy, _ = play(do, 10)
    assert strategy.held[-1] == 2


def test_an_order_placed_while_closing_is_denied_as_closing() -> None:
    """DenyReason.CLOSING: it may trade the instrument again once that is done."""
    do = {0: lambda s: s.buy(ES, 1), 3: lambda s: s.close(ES), 4: lambda s: s.buy(ES, 1), 9: lambda s: s.buy(ES, 1)}
    strategy, result = play(do, 14, LATE)
    assert (strategy.made[4].status, strategy.made[9].status) == (OrderStatus.DENIED, OrderStatus.FILLED)
    assert result.denials == {"closing": 1}


def test_flatten_closes_every_instrument() -> None:
    do = {
        0: lambda s: [s.buy(ES, 2, stop_loss=40), s.sell(MNQ, 3), s.buy(MNQ, 1, limit_price=20000.0)],
        8: lambda s: s.flatten(),
    }
    _, result = play(do, both(12))
    held = {name: sum(f.side * f.quantity for f in result.fills if f.instrument == name) for name in (ES, MNQ)}
    assert held == {ES: 0, MNQ: 0}
    assert not [order for order in result.order_book if order.is_open]


def test_halt_cancels_entries_keeps_exits_and_lets_only_reducing_orders_pass() -> None:
    do = {
        0: bracketed,
        3: lambda s: [s.buy(ES, 1, limit_price=4700.0), s.sell(ES, 1, limit_price=4900.0)],
        5: lambda s: s.halt("lost faith"),
        6: lambda s: [s.buy(ES, 1), s.sell(ES, 3), s.buy(MNQ, 1)],
        7: lambda s: [order.status for order in s.made[3]],
        8: lambda s: s.cancel(s.made[3][1]),
        10: lambda s: s.sell(ES, 1),
        13: lambda s: s.order_target(ES, 0),
    }
    strategy, result = play(do, both(20))
    assert strategy.made[7] == [OrderStatus.CANCELLED, OrderStatus.WORKING]
    assert [order.status for order in strategy.made[6]] == [OrderStatus.DENIED] * 3
    assert all("lost faith" in order.reason for order in strategy.made[6])
    assert strategy.made[10].status is OrderStatus.FILLED
    assert result.denials == {"halted": 3}
    assert sum(f.side * f.quantity for f in result.fills) == 0


def test_halt_keeps_the_exits_until_the_position_is_flat() -> None:
    # The stop is 8 ticks below 4800.25, at 4798.25; halted at 3 s, reached at 6 s.
    strategy, result = play({0: bracketed, 3: lambda s: s.halt("enough")}, [4800.0] * 6 + [4798.0] * 4)
    assert executed(result) == [(1.0, 2, 4800.25), (6.0, -2, 4798.0)]
    assert strategy.held[-1] == 0


def test_a_halted_strategy_may_close() -> None:
    do = {0: bracketed, 3: lambda s: s.halt("enough"), 5: lambda s: s.close(ES)}
    strategy, result = play(do, 12)
    assert strategy.held[-1] == 0
    assert result.denials == {}


# --- brackets -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("side", "stop_loss", "take_profit", "stop", "target"),
    [
        # Bought at 4800.25, sold at 4800.00; ticks count from there.
        (BUY, 8, 12, 4798.25, 4803.25),
        (SELL, 8, 12, 4802.0, 4797.0),
        (BUY, 4795.0, 4810.0, 4795.0, 4810.0),
        (SELL, 4810.0, 4795.1, 4810.0, 4795.0),
        (BUY, 8, 4810.0, 4798.25, 4810.0),
        (BUY, 8, None, 4798.25, None),
        (BUY, None, 12, None, 4803.25),
    ],
)
def test_a_bracket_by_ticks_or_price(
    side: Side, stop_loss: Any, take_profit: Any, stop: float | None, target: float | None
) -> None:
    verb = "buy" if side > 0 else "sell"
    do = {0: lambda s: getattr(s, verb)(ES, 2, stop_loss=stop_loss, take_profit=take_profit)}
    strategy, result = play(do, 5)
    found = {order.role: order for order in exits(result)}
    assert set(found) == {role for role, price in ((Role.STOP_LOSS, stop), (Role.TAKE_PROFIT, target)) if price}
    for order in found.values():
        assert (order.side, order.quantity, order.tif) == (side.opposite, 2, TimeInForce.GTC)
        assert (order.parent, order.status) == (strategy.made[0].id, OrderStatus.WORKING)
    if stop:
        assert (found[Role.STOP_LOSS].type, found[Role.STOP_LOSS].stop_price) == (OrderType.STOP_MARKET, stop)
    if target:
        assert (found[Role.TAKE_PROFIT].type, found[Role.TAKE_PROFIT].limit_price) == (OrderType.LIMIT, target)
    ocos = {order.oco for order in found.values()}
    assert len(ocos) == 1
    assert (ocos == {None}) == (len(found) == 1)


def test_each_fill_of_an_entry_gets_its_own_exits() -> None:
    # Bought 2 at 4800.25, 2 at 4801.25, 1 at 4802.25; the stops are 8 ticks below each.
    quotes = table([4800.0, 4800.0, 4801.0, 4802.0, 4802.0, 4802.0], sizes=2)
    _, result = play({0: lambda s: s.buy(ES, 5, stop_loss=8, take_profit=40)}, quotes)
    stops = [(order.quantity, order.stop_price) for order in exits(result) if order.role is Role.STOP_LOSS]
    assert stops == [(2, 4798.25), (2, 4799.25), (1, 4800.25)]
    assert len({order.oco for order in exits(result)}) == 3


def test_exits_are_for_what_is_filled_not_for_what_was_asked() -> None:
    strategy, result = play(
        {0: lambda s: s.buy(ES, 5, stop_loss=8), 3: lambda s: s.cancel(s.made[0])},
        table([4800.0] * 10, sizes=[9, 1, 1, 0, 0, 0, 9, 9, 9, 9]),
    )
    assert strategy.held[-1] == 2
    assert sum(order.remaining for order in exits(result)) == 2


def test_exits_cover_no_more_than_the_position_when_tokens_are_short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Exits that were to shrink, for a sale that was then cancelled, must not be joined by more before they did."""

    def flood_and_sell(s: Scripted) -> Order:
        for _ in range(20):
            s.buy(ES, 1, limit_price=4600.0)
        return s.sell(ES, 1)

    # Bought 2 on row 1. At 8 s the bucket is full: the flood empties it. The sale waits for both exits to shrink to 1,
    # and these changes wait for tokens. At 8.1 s the sale is cancelled: the exits must be for 2 in all, not for 3.
    do = {0: bracketed, 80: flood_and_sell, 81: lambda s: s.cancel(s.made[80])}
    run = Replay([Scripted(do=do)], fast(150), IDEAL)
    most: list[int] = []
    match = SimExchange.match

    def watched(exchange: SimExchange, quote: Quote) -> bool:
        orders = run.engine.blotter.orders
        stops = [order for order in exchange.resting.get(ES, ()) if orders[order.id].role is Role.STOP_LOSS]
        most.append(sum(order.remaining for order in stops))
        return match(exchange, quote)

    monkeypatch.setattr(SimExchange, "match", watched)
    run.run()
    assert max(most) == 2
    assert most[-1] == 2


def test_an_entry_against_a_position_protects_only_what_it_opens() -> None:
    """Long 1, then sell 3 with a stop: 1 closes, 2 open; the stop is for 2."""
    do = {0: lambda s: s.buy(ES, 1), 3: lambda s: s.sell(ES, 3, stop_loss=8)}
    strategy, result = play(do, 8)
    (stop,) = exits(result)
    assert (strategy.held[-1], stop.side, stop.quantity, stop.stop_price) == (-2, BUY, 2, 4802.0)


def test_orders_lists_the_exits_with_the_rest_oldest_first() -> None:
    do = {
        0: lambda s: [s.buy(ES, 1, limit_price=4700.0), s.buy(ES, 1, stop_loss=8, take_profit=8)],
        2: lambda s: s.buy(MNQ, 1, limit_price=20000.0),
        3: lambda s: s.buy(ES, 1, limit_price=4700.0),
        5: lambda s: [[order.id for order in s.orders(name)] for name in (None, ES, MNQ)],
    }
    strategy, _ = play(do, both(6))
    everything = ["r-1", "r-3", "r-4", "r-5", "r-6"]
    assert strategy.made[5] == [everything, ["r-1", "r-3", "r-4", "r-6"], ["r-5"]]


def test_the_exits_of_an_entry_are_moved_by_changing_it() -> None:
    do = {
        0: bracketed,
        4: lambda s: s.change(s.made[0], stop_loss=4),
        6: lambda s: s.change(s.made[0], take_profit=4810.0),
    }
    _, result = play(do, 10)
    stop, target = exits(result)
    # Four ticks below 4800.25, and the price as given.
    assert (stop.stop_price, target.limit_price) == (4799.25, 4810.0)
    assert [order.status for order in (stop, target)] == [OrderStatus.WORKING] * 2


def test_exits_can_be_moved_before_there_are_any() -> None:
    do = {
        0: lambda s: s.buy(ES, 1, limit_price=4799.0, stop_loss=8),
        2: lambda s: s.change(s.made[0], stop_loss=20),
    }
    _, result = play(do, [4800.0] * 5 + [4798.0] * 4)
    (stop,) = exits(result)
    assert stop.stop_price == 4799.0 - 20 * 0.25


def test_later_fills_get_the_moved_exits() -> None:
    quotes = table([4800.0] * 8, sizes=[9, 1, 0, 0, 0, 9, 9, 9])
    do = {0: lambda s: s.buy(ES, 3, stop_loss=8), 4: lambda s: s.change(s.made[0], stop_loss=4790.0)}
    _, result = play(do, quotes)
    assert [(order.remaining, order.stop_price) for order in exits(result)] == [(1, 4790.0), (2, 4790.0)]


def test_a_stop_can_be_moved_into_profit() -> None:
    """What a trailing stop does: the market went from 4800 to 4810, the stop follows to 4805, above the entry."""
    do = {0: lambda s: s.buy(ES, 1, stop_loss=8), 5: lambda s: s.change(s.made[0], stop_loss=4805.0)}
    _, result = play(do, [4800.0] * 3 + [4810.0] * 6)
    (stop,) = exits(result)
    assert (stop.stop_price, stop.status) == (4805.0, OrderStatus.WORKING)


def test_a_single_exit_can_be_moved_by_its_own_handle() -> None:
    do = {
        0: bracketed,
        4: lambda s: s.change(next(order for order in s.orders() if order.role is Role.STOP_LOSS), stop_price=4799.5),
    }
    _, result = play(do, 8)
    stop, target = exits(result)
    assert (stop.stop_price, target.limit_price) == (4799.5, 4803.25)


def test_the_target_is_reached_and_its_stop_goes() -> None:
    strategy, result = play({0: bracketed}, [4800.0] * 4 + [4803.5] * 3)
    assert executed(result) == [(1.0, 2, 4800.25), (4.0, -2, 4803.25)]
    assert [order.status for order in exits(result)] == [OrderStatus.CANCELLED, OrderStatus.FILLED]
    assert strategy.held[-1] == 0


# --- misuse: a StrategyError that names the author's own line -----------------------------------------------------

MISUSES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "quantity 0": (lambda s: s.buy(ES, 0), "quantity must be a positive whole number, not 0"),
    "quantity -1": (lambda s: s.sell(ES, -1), "quantity must be a positive whole number, not -1"),
    "quantity 1.5": (lambda s: s.buy(ES, 1.5), "quantity must be a positive whole number, not 1.5"),
    "quantity True": (lambda s: s.buy(ES, True), "quantity must be a positive whole number, not True"),
    "quantity '1'": (lambda s: s.buy(ES, "1"), "quantity must be a positive whole number, not '1'"),
    "quantity None": (lambda s: s.buy(ES, None), "quantity must be a positive whole number, not None"),
    "quantity nan": (lambda s: s.buy(ES, math.nan), "quantity must be a positive whole number, not nan"),
    "quantity inf": (lambda s: s.buy(ES, math.inf), "quantity must be a positive whole number, not inf"),
    "limit nan": (lambda s: s.buy(ES, 1, limit_price=math.nan), "limit_price must be a positive price, not nan"),
    "limit inf": (lambda s: s.buy(ES, 1, limit_price=math.inf), "limit_price must be a positive price, not inf"),
    "limit -1": (lambda s: s.buy(ES, 1, limit_price=-1.0), "limit_price must be a positive price, not -1.0"),
    "limit 0": (lambda s: s.buy(ES, 1, limit_price=0), "limit_price must be a positive price, not 0"),
    "limit text": (lambda s: s.buy(ES, 1, limit_price="x"), "limit_price must be a positive price, not 'x'"),
    "stop nan": (lambda s: s.sell(ES, 1, stop_price=math.nan), "stop_price must be a positive price, not nan"),
    "stop -1": (lambda s: s.sell(ES, 1, stop_price=-1.0), "stop_price must be a positive price, not -1.0"),
    "tif": (lambda s: s.buy(ES, 1, tif="IOC"), "time in force is DAY or GTC, not 'IOC'"),
    "long stop above": (lambda s: s.buy(ES, 1, stop_loss=4810.0), "stop_loss=4810.0 is a price"),
    "long target below": (lambda s: s.buy(ES, 1, take_profit=4790.0), "take_profit=4790.0 is a price"),
    "short stop below": (lambda s: s.sell(ES, 1, stop_loss=4790.0), "stop_loss=4790.0 is a price"),
    "short target above": (lambda s: s.sell(ES, 1, take_profit=4810.0), "take_profit=4810.0 is a price"),
    "ticks as float": (lambda s: s.buy(ES, 1, stop_loss=8.0), "give ticks as an int, e.g. stop_loss=8"),
    "ticks 0": (lambda s: s.buy(ES, 1, stop_loss=0), "stop_loss in ticks must be a positive whole number, not 0"),
    "ticks -8": (lambda s: s.buy(ES, 1, take_profit=-8), "take_profit in ticks must be a positive whole number"),
    "bracket nan": (lambda s: s.buy(ES, 1, stop_loss=math.nan), "stop_loss must be a positive price, not nan"),
    "target 1.5": (lambda s: s.order_target(ES, 1.5), "a target position is a whole number of contracts, not 1.5"),
    "target True": (lambda s: s.order_target(ES, True), "a target position is a whole number of contracts, not True"),
    "target '1'": (lambda s: s.order_target(ES, "1"), "a target position is a whole number of contracts, not '1'"),
    "target nan": (lambda s: s.order_target(ES, math.nan), ""),
    "instrument": (lambda s: s.buy("NQ", 1), "the recording has no 'NQ'; it holds ES 06-26"),
    "instrument month": (lambda s: s.position("ES 09-26"), "the recording has no 'ES 09-26'"),
    "instrument text": (lambda s: s.quote("not a name at all"), "is not an instrument name"),
    "instrument None": (lambda s: s.buy(None, 1), "an instrument is named by a string"),
    "account": (lambda s: s.buy(ES, 1, account="Sim999"), "Scripted has no account 'Sim999'; it has Sim101"),
    "account position": (lambda s: s.position(ES, account="x"), "Scripted has no account 'x'"),
    "account flatten": (lambda s: s.flatten(account="x"), "Scripted has no account 'x'"),
    "account cancel_all": (lambda s: s.cancel_all(account="x"), "Scripted has no account 'x'"),
    "change market limit": (
        lambda s: s.change(s.buy(ES, 1), limit_price=4800.0),
        "order r-1 is a MARKET order and has no limit price",
    ),
    "change market stop": (
        lambda s: s.change(s.buy(ES, 1), stop_price=4800.0),
        "order r-1 is a MARKET order and has no stop price",
    ),
    "change quantity": (lambda s: s.change(s.buy(ES, 1), quantity=0), "quantity must be a positive whole number"),
    "change limit": (
        lambda s: s.change(s.buy(ES, 1, limit_price=4700.0), limit_price=math.nan),
        "limit_price must be a positive price, not nan",
    ),
    "change no bracket": (lambda s: s.change(s.buy(ES, 1), stop_loss=8), "order r-1 was placed without a bracket"),
    "change no target": (
        lambda s: s.change(s.buy(ES, 1, stop_loss=8), take_profit=8),
        "order r-1 was placed without take_profit=",
    ),
    "after 0": (lambda s: s.after(0), "a timer needs a positive number of seconds, not 0"),
    "after nan": (lambda s: s.after(math.nan), "a timer needs a positive number of seconds, not nan"),
    "every -1": (lambda s: s.every(-1), "a timer needs a positive number of seconds, not -1"),
    "at noon": (lambda s: s.at("noon"), "'noon' is not a time of day"),
    "at 25:00": (lambda s: s.at("25:00"), "'25:00' is not a time of day"),
    "at zoned": (lambda s: s.at("09:45+01:00"), "carries a zone"),
    "at Mars": (lambda s: s.at("09:45", tz="Mars/Base"), "'Mars/Base' is not a time zone"),
    "bars 5x": (lambda s: s.bars(ES, "5x"), "'5x' is not a bar period"),
    "bars basis": (lambda s: s.bars(ES, "5m", basis="close"), "'close' is not a price to build bars from"),
    "window 0": (lambda s: s.window(ES, 0), "window size must be a positive whole number, not 0"),
    "own mistake": (lambda s: 1 / 0, "ZeroDivisionError: division by zero"),
}


NEEDS_A_QUOTE = ("long", "short", "ticks as")
"""Before the first quote a price cannot be told to be on the wrong side."""


@pytest.mark.parametrize(
    ("where", "name"),
    [(1, name) for name in MISUSES] + [("start", name) for name in MISUSES if not name.startswith(NEEDS_A_QUOTE)],
)
def test_misuse_names_the_authors_line(where: Any, name: str) -> None:
    verb, text = MISUSES[name]
    with pytest.raises(StrategyError) as caught:
        play({where: verb}, 3)
    assert text in str(caught.value)
    assert str(caught.value).startswith("Scripted: ")
    assert caught.value.file == __file__
    # The lambda may be written over several lines; its code knows them all.
    lines = {line for _, _, line in verb.__code__.co_lines() if line is not None}
    assert caught.value.line in lines


@pytest.mark.timeout(10)
def test_a_time_of_day_at_which_the_market_is_never_open_is_refused() -> None:
    """17:30 in New York lies in the daily break on every day there is."""
    with pytest.raises(StrategyError, match="17:30"):
        play({0: lambda s: s.at("17:30", "never")}, 2)


@pytest.mark.parametrize(
    ("verb", "text"),
    [
        (lambda s, stop: s.cancel(stop), "protects a position and is the engine's"),
        (lambda s, stop: s.change(stop, quantity=1), "is sized by the engine to the position it protects"),
        (lambda s, stop: s.change(stop, limit_price=4700.0), "has no limit price"),
        (lambda s, stop: s.change(stop, stop_loss=8), "was placed without a bracket"),
    ],
)
def test_the_engines_exits_are_not_the_authors_to_cancel_or_resize(verb: Callable[..., Any], text: str) -> None:
    do = {0: bracketed, 4: lambda s: verb(s, next(o for o in s.orders() if o.role is Role.STOP_LOSS))}
    with pytest.raises(StrategyError, match=text) as caught:
        play(do, 8)
    assert caught.value.line is not None


def test_an_unknown_instrument_parameter_is_a_matter_of_settings() -> None:
    with pytest.raises(ConfigError, match="the recording has no 'NQ'; it holds ES 06-26"):
        play({}, 2, instrument="NQ")


def test_a_strategy_that_is_not_running_cannot_trade() -> None:
    with pytest.raises(StrategyError, match="Scripted is not running yet"):
        Scripted(do={}).buy(ES, 1)


def test_parameters_are_fixed_for_the_run() -> None:
    def cheat(s: Scripted) -> None:
        s.instrument = MNQ
        s.buy(ES, 1)

    with pytest.raises(StrategyError, match=r"Scripted\.instrument is a parameter and fixed for the run"):
        play({0: cheat}, 3)


# --- two strategies side by side ----------------------------------------------------------------------------------


class Left(Scripted):
    pass


class Right(Scripted):
    pass


def play_two(
    left: Mapping[Any, Any], right: Mapping[Any, Any], quotes: QuoteTable
) -> tuple[Scripted, Scripted, Result]:
    pair = Left(do=left), Right(do=right)
    return *pair, replay(pair, quotes, IDEAL)


def test_strategies_have_their_own_books_in_one_account() -> None:
    def look(s: Scripted) -> tuple[int, int, int]:
        return s.position(ES), s.account_position(ES), len(s.orders())

    left, right, result = play_two(
        {0: lambda s: s.buy(ES, 1), 4: look},
        {0: lambda s: s.sell(ES, 3), 1: lambda s: s.buy(ES, 1, limit_price=4700.0), 4: look},
        table([4800.0] * 6),
    )
    assert (left.made[4], right.made[4]) == ((1, -2, 0), (-3, -2, 1))
    assert (left.fills, right.fills) == ([(1.0, 1)], [(1.0, -3)])
    assert [order.owner for order in result.order_book] == ["Left", "Right", "Right"]
    assert {name for _, name, _ in left.told} == {"r-1"}


def test_a_close_of_one_leaves_the_other_alone() -> None:
    left, right, result = play_two(
        {0: lambda s: s.buy(ES, 2), 4: lambda s: s.flatten()},
        {0: lambda s: s.buy(ES, 1), 1: lambda s: s.buy(ES, 1, limit_price=4700.0)},
        table([4800.0] * 10),
    )
    assert (left.held[-1], right.held[-1]) == (0, 1)
    assert [order.status for order in result.order_book if order.owner == "Right"] == [
        OrderStatus.FILLED,
        OrderStatus.WORKING,
    ]


def test_a_halt_of_one_leaves_the_other_alone() -> None:
    left, right, _ = play_two(
        {0: lambda s: s.halt("done"), 1: lambda s: s.buy(ES, 1)},
        {2: lambda s: s.buy(ES, 1)},
        table([4800.0] * 6),
    )
    assert (left.held[-1], right.held[-1]) == (0, 1)


@pytest.mark.parametrize("verb", ["cancel", "change"])
def test_the_orders_of_another_strategy_are_not_ones_own(verb: str) -> None:
    left = Left(do={0: lambda s: s.buy(ES, 1, limit_price=4700.0)})
    given = {"quantity": 2} if verb == "change" else {}
    right = Right(do={2: lambda s: getattr(s, verb)(left.made[0], **given)})
    with pytest.raises(StrategyError, match="Right: order r-1 belongs to Left, not to Right"):
        replay([left, right], table([4800.0] * 4), IDEAL)


def test_two_of_a_kind_get_names_of_their_own() -> None:
    pair = [Left(do={0: lambda s: s.buy(ES, 1)}), Left(do={0: lambda s: s.buy(ES, 1)})]
    result = replay(pair, table([4800.0] * 4), IDEAL)
    assert [order.owner for order in result.order_book] == ["Left", "Left-2"]


def test_a_strategy_hears_only_its_own_instruments() -> None:
    class Listener(Strategy):
        instrument: Instrument = ES
        others: tuple[Instrument, ...] = ()
        later: str = ""

        def on_start(self) -> None:
            self.heard: list[str] = []

        def on_quote(self, quote: Quote) -> None:
            self.heard.append(quote.instrument)
            if self.later and len(self.heard) == 2:
                assert self.subscribe(self.later) == MNQ

    one, other, two, later = (
        Listener(),
        Listener(instrument="MNQ"),
        Listener(others=("MNQM26",)),
        Listener(later="MNQ"),
    )
    result = replay([one, other, two, later], both(3), IDEAL)
    assert one.heard == [ES] * 3
    assert other.heard == [MNQ] * 3
    assert two.heard == [ES, MNQ] * 3
    # It asks at its second quote, ES at 1 s, and hears MNQ from 1.5 s on.
    assert later.heard == [ES, ES, MNQ, ES, MNQ]
    assert result.instruments == (ES, MNQ)
    assert (one.instrument, other.instrument, two.others) == (ES, MNQ, (MNQ,))


def test_any_spelling_will_do() -> None:
    do = {0: lambda s: [s.buy(name, 1) for name in ("ES", "ESM26", "ESM6", "ES1!", "es 6-26")]}
    strategy, _ = play(do, 4, instrument="ES1!")
    assert {order.instrument for order in strategy.made[0]} == {ES}
    assert strategy.held[-1] == 5


# --- looking ------------------------------------------------------------------------------------------------------


def test_quote_and_spec() -> None:
    def look(s: Scripted) -> tuple[Any, Any]:
        es, mnq = s.quote(ES), s.quote("MNQ")
        return None if es is None else es.ts - START, None if mnq is None else mnq.ts - START

    do = {"start": lambda s: [*look(s), s.spec("MNQ").tick_value], 0: look, 1: look}
    strategy, _ = play(do, both(2))
    assert strategy.made["start"] == [None, None, 0.5]  # MNQ: $2 a point, ticks of 0.25
    assert strategy.made[0] == (0, None)
    assert strategy.made[1] == (SECOND, SECOND // 2)  # quote() looks without subscribing


def test_a_window_ends_at_the_current_quote_and_knows_nothing_from_before_it_was_asked_for() -> None:
    def look(s: Scripted) -> tuple[list[float], bool]:
        return s.made[1].bid.tolist(), s.made[1].full

    do = {1: lambda s: s.window(ES, 3), 2: look, 4: look, 5: look}
    strategy, _ = play(do, [4800.0, 4801.0, 4802.0, 4803.0, 4804.0, 4805.0])
    assert strategy.made[2] == ([4802.0], False)
    assert strategy.made[4] == ([4802.0, 4803.0, 4804.0], True)
    assert strategy.made[5] == ([4803.0, 4804.0, 4805.0], True)


def test_a_window_of_another_instrument_subscribes_to_it() -> None:
    strategy, _ = play({"start": lambda s: s.window("MNQ", 2), 3: lambda s: s.made["start"].bid.tolist()}, both(2))
    assert strategy.row == 3
    assert strategy.made[3] == [25000.0, 25000.0]


def test_windows_are_read_only() -> None:
    def write(s: Scripted) -> None:
        s.made["start"].bid[-1] = 0.0

    with pytest.raises(StrategyError, match="read-only"):
        play({"start": lambda s: s.window(ES, 2), 1: write}, 3)


def test_bars_are_those_that_have_ended() -> None:
    def look(s: Scripted) -> tuple[int, Any]:
        bars = s.made["start"]
        return len(bars), bars.current and bars.current.open

    strategy, _ = play({"start": lambda s: s.bars(ES, "3s"), 0: look, 2: look, 3: look}, [4800.0 + n for n in range(5)])
    # Bars of three seconds from 14:00:00 UTC: the first holds rows 0 to 2 and ends before row 3.
    assert (strategy.made[0], strategy.made[2], strategy.made[3]) == ((0, 4800.0), (0, 4800.0), (1, 4803.0))
    (bar,) = strategy.made["start"]
    assert (bar.open, bar.high, bar.low, bar.close, bar.quotes) == (4800.0, 4802.0, 4800.0, 4802.0, 3)


# --- time ---------------------------------------------------------------------------------------------------------


class Clock(Strategy):
    """Writes down quotes and timers in the order in which it hears of them."""

    instrument: Instrument = ES
    begin: Any = None

    def on_start(self) -> None:
        self.heard: list[tuple[str, float]] = []
        self.begin(self)

    def hear(self, what: str) -> None:
        self.heard.append((what, (self.now - START) / SECOND))

    def on_quote(self, quote: Quote) -> None:
        self.hear("quote")

    def on_timer(self, tag: str) -> None:
        self.hear(tag)

    def on_bar(self, bar: Bar) -> None:
        self.hear("bar")


def clock(begin: Callable[[Clock], Any], quotes: QuoteTable) -> list[tuple[str, float]]:
    strategy = Clock(begin=begin)
    replay(strategy, quotes, IDEAL)
    return strategy.heard


def test_a_timer_runs_at_its_own_time_and_before_a_quote_of_the_same_moment() -> None:
    heard = clock(lambda s: [s.after(1.5, "b"), s.after(1, "a"), s.after(1, "c")], table([4800.0] * 3))
    assert heard == [("quote", 0), ("a", 1), ("c", 1), ("quote", 1), ("b", 1.5), ("quote", 2)]


def test_a_repeating_timer_keeps_its_step_through_a_gap() -> None:
    quotes = QuoteTable.from_rows((ES,), [0] * 3, [START, START + SECOND, START + 3 * SECOND], [1.0] * 3, [1.25] * 3)
    heard = clock(lambda s: s.every(0.75, "t"), quotes)
    assert [at for what, at in heard if what == "t"] == [0.75, 1.5, 2.25, 3.0]
    assert heard[-2:] == [("t", 3), ("quote", 3)]


def test_nothing_runs_after_the_last_quote() -> None:
    assert clock(lambda s: s.after(2.5, "late"), table([4800.0] * 3)) == [("quote", 0), ("quote", 1), ("quote", 2)]


def test_a_bar_ends_before_a_timer_and_a_quote_of_the_same_moment() -> None:
    heard = clock(lambda s: [s.after(2, "t"), s.bars(ES, "2s")], table([4800.0] * 3))
    assert heard == [("quote", 0), ("quote", 1), ("bar", 2), ("t", 2), ("quote", 2)]


def test_timers_can_be_cancelled() -> None:
    class Fickle(Clock):
        def on_timer(self, tag: str) -> None:
            super().on_timer(tag)
            if len(self.heard) > 3:
                self.timer.cancel()

    strategy = Fickle(begin=lambda s: setattr(s, "timer", s.every(1, "t")))
    replay(strategy, table([4800.0] * 6), IDEAL)
    assert [at for what, at in strategy.heard if what == "t"] == [1, 2]
    assert strategy.timer.cancelled


def test_a_timer_of_a_timer() -> None:
    class Chain(Clock):
        def on_timer(self, tag: str) -> None:
            super().on_timer(tag)
            self.after(0.25, tag + "'")

    strategy = Chain(begin=lambda s: s.after(0.25, "t"))
    replay(strategy, table([4800.0] * 2), IDEAL)
    assert strategy.heard[1:] == [("t", 0.25), ("t'", 0.5), ("t''", 0.75), ("t'''", 1.0), ("quote", 1.0)]


@pytest.mark.parametrize(
    ("time", "zone", "after"),
    [
        ("10:00:02", None, 2.0),
        ("10:01", None, 60.0),
        ("14:00:02", "UTC", 2.0),
        ("16:01", "Europe/Berlin", 60.0),
        ("10:00", None, 86_400.0),  # now is not later: tomorrow
        ("09:59", None, 86_400.0 - 60),
    ],
)
def test_a_time_of_day(time: str, zone: str | None, after: float) -> None:
    quotes = table([4800.0] * (26 * 60), step=60 * SECOND)
    heard = clock(lambda s: s.at(time, "t", tz=zone), quotes)
    assert next(at for what, at in heard if what == "t") == after


def new_york_times(start: dt.datetime, days: int, time: str) -> list[str]:
    """When a daily timer ran, over hourly quotes; weekday and New York time."""
    quotes = table([4800.0] * (24 * days), start=from_datetime(start), step=3600 * SECOND)
    strategy = Clock(begin=lambda s: s.at(time, "t"))
    replay(strategy, quotes, IDEAL)
    ran = [START + round(at * SECOND) for what, at in strategy.heard if what == "t"]
    return [f"{to_datetime(ts, 'America/New_York'):%a %H:%M} {to_datetime(ts):%H:%M}" for ts in ran]


def test_a_daily_timer_runs_in_trading_hours_only() -> None:
    start = dt.datetime(2026, 5, 13, 14, tzinfo=dt.UTC)
    days = ["Wed 12:00 16:00", "Thu 12:00 16:00", "Fri 12:00 16:00", "Mon 12:00 16:00", "Tue 12:00 16:00"]
    assert new_york_times(start, 7, "12:00") == days
    assert [day[:9] for day in new_york_times(start, 7, "19:00")] == [
        *("Wed 19:00", "Thu 19:00", "Sun 19:00", "Mon 19:00", "Tue 19:00"),
    ]


def test_a_daily_timer_keeps_new_york_time_over_daylight_saving() -> None:
    # Clocks went forward on Sunday, 8 March 2026.
    start = dt.datetime(2026, 3, 6, 12, tzinfo=dt.UTC)
    assert new_york_times(start, 4, "09:45") == ["Fri 09:45 14:45", "Mon 09:45 13:45"]


# --- notes, P&L, the end ------------------------------------------------------------------------------------------


def test_notes_are_written_down() -> None:
    _, result = play({1: lambda s: s.note("looks odd", price=4800.0, side="long")}, 3)
    (note,) = result.notes
    assert (note.ts, note.strategy, note.text) == (START + SECOND, "Scripted", "looks odd")
    assert note.facts == {"price": 4800.0, "side": "long"}
    assert result.decisions == ()


def test_the_venues_pnl_comes_once_a_second() -> None:
    class Watch(Strategy):
        instrument: Instrument = ES

        def on_start(self) -> None:
            self.heard: list[tuple[float, float | None, float | None]] = []

        def on_quote(self, quote: Quote) -> None:
            if quote.ts == START:
                self.buy(self.instrument, 2)
            if quote.ts == START + 2 * SECOND:
                self.sell(self.instrument, 1)

        def on_pnl(self, pnl: AccountPnl) -> None:
            assert pnl.account == "Sim101"
            self.heard.append(((pnl.ts - START) / SECOND, pnl.realized, pnl.unrealized))

    strategy = Watch()
    # Two quotes a second. Bought 2 at 4801.25 at 0.5 s, sold 1 at 4805 at 2.5 s; fees are $2 a contract.
    quotes = table([4800.0 + n for n in range(8)], step=SECOND // 2)
    replay(
        strategy,
        quotes,
        ReplaySettings(fills=FillModel(slippage=0), latency=Latency(entry=0, report=0), fees=Fees(commission=2.0)),
    )
    assert strategy.heard == [
        (0.0, 0.0, 0.0),
        # Before the quote of 1 s the newest is 4801: 2 x -0.25 x $50.
        (1.0, -4.0, -25.0),
        (2.0, -4.0, 2 * 1.75 * 50),
        # One sold for 3.75 points; the newest quote is 4805.
        (3.0, 3.75 * 50 - 6, 3.75 * 50),
    ]


def test_pnl_is_told_for_each_account_to_those_who_listen() -> None:
    class Watch(Scripted):
        def on_pnl(self, pnl: AccountPnl) -> None:
            self.told.append((0.0, pnl.account, ""))

    strategy = Watch(do={})
    replay(strategy, table([4800.0]), TWO_ACCOUNTS)
    assert [name for _, name, _ in strategy.told] == ["Sim101", "Apex-7"]


def test_on_stop_is_called_once_at_the_end_and_its_orders_are_not_sent() -> None:
    class Last(Scripted):
        def on_stop(self) -> None:
            self.made["stop"] = (self.buy(ES, 1), self.position(ES), self.now)
            self.note("the end")

    strategy = Last(do={0: lambda s: s.buy(ES, 1)})
    result = replay(strategy, table([4800.0] * 3), IDEAL)
    order, held, _ = strategy.made["stop"]
    assert (order.status, held) == (OrderStatus.DRAFT, 1)
    assert (result.orders, result.rpcs, len(result.fills)) == (1, 1, 1)
    assert [note.text for note in result.notes] == ["the end"]


def test_the_end_waits_for_what_is_on_its_way() -> None:
    """Filled on the last row: seen a second later, before on_stop."""

    class Last(Scripted):
        def on_stop(self) -> None:
            self.made["stop"] = self.position(ES)

    strategy = Last(do={1: lambda s: s.buy(ES, 1)})
    result = replay(strategy, table([4800.0] * 3), LATE)
    assert strategy.held == [0, 0, 0]
    assert (strategy.made["stop"], len(result.fills), strategy.fills) == (1, 1, [(3.0, 1)])


def test_an_error_at_the_end_is_the_authors_too() -> None:
    class Last(Scripted):
        def on_stop(self) -> None:
            raise KeyError("gone")

    with pytest.raises(StrategyError, match="KeyError: 'gone'") as caught:
        replay(Last(do={}), table([4800.0]), IDEAL)
    assert caught.value.file == __file__


# --- signals ------------------------------------------------------------------------------------------------------


def signal_strategy(signal: Callable[[Columns], Any], rows: int = 2) -> SignalStrategy:
    class Signal(SignalStrategy):
        instrument: Instrument = ES

        @property
        def lookback(self) -> int:
            return rows

        def signal(self, columns: Columns) -> Any:
            return signal(columns)

        def on_start(self) -> None:
            self.subscribe(MNQ)

    return Signal()


def test_a_signal_trades_when_its_target_changes() -> None:
    # In ticks: 4800 is 19200. Long above 4801, flat below, no change at 4801 itself.
    def signal(columns: Columns) -> Any:
        bids = columns.bid
        return np.where(bids > 19204, 1.0, np.where(bids < 19204, 0.0, np.nan))

    quotes = table([4802.0, 4802.0, 4802.0, 4801.0, 4800.0, 4801.0, 4800.0, 4800.0])
    only_es = QuoteTable.from_rows((ES, MNQ), [0] * 8, quotes.ts, quotes.bid, quotes.ask, quotes.last, quotes.volume)
    result = replay(signal_strategy(signal), only_es, IDEAL)
    # The window is full on row 1; flat again on row 4.
    assert executed(result) == [(2.0, 1, 4802.25), (5.0, -1, 4801.0)]


def test_a_signal_hears_only_its_own_rows() -> None:
    lengths: list[int] = []

    def signal(columns: Columns) -> Any:
        lengths.append(len(columns))
        return np.zeros(len(columns))

    replay(signal_strategy(signal, rows=3), both(5), IDEAL)
    assert lengths == [3, 3, 3]


@pytest.mark.parametrize(
    ("signal", "text"),
    [
        (lambda columns: np.zeros(3), r"shape \(3,\) for 2 rows"),
        (lambda columns: np.array([0.0, 0.5]), "a target position is a whole number of contracts"),
        (lambda columns: 1 / 0, "ZeroDivisionError"),
    ],
)
def test_a_signal_that_makes_no_sense(signal: Callable[[Columns], Any], text: str) -> None:
    with pytest.raises(StrategyError, match=text):
        replay(signal_strategy(signal), both(5), IDEAL)


def test_a_signal_cannot_look_at_positions() -> None:
    class Peeker(SignalStrategy):
        instrument: Instrument = ES

        @property
        def lookback(self) -> int:
            return 1

        def signal(self, columns: Columns) -> Any:
            return np.full(len(columns), float(self.position(self.instrument)))

    with pytest.raises(StrategyError, match="a signal speaks of quotes alone"):
        replay(Peeker(), table([4800.0] * 3), IDEAL)


def test_a_signal_needs_one_instrument_and_a_lookback() -> None:
    class None_(SignalStrategy):
        pass

    class Short(SignalStrategy):
        instrument: Instrument = ES

    with pytest.raises(StrategyError, match="exactly one parameter annotated Instrument, not 0"):
        replay(None_(), table([4800.0]), IDEAL)
    with pytest.raises(StrategyError, match="must say its lookback"):
        replay(Short(), table([4800.0]), IDEAL)


def test_time_never_goes_back_for_a_strategy() -> None:
    class Tick(Clock):
        def on_fill(self, fill: Fill) -> None:
            self.hear("fill")

        def on_order(self, order: Order) -> None:
            self.hear("order")
            if len(self.heard) < 40:
                self.buy(ES, 1)

    strategy = Tick(begin=lambda s: [s.every(0.3, "t"), s.buy(ES, 1), s.bars(ES, "1s")])
    replay(strategy, table([4800.0] * 20, step=SECOND // 3), LATE)
    assert all(first[1] <= second[1] for first, second in pairwise(strategy.heard))
    assert {what for what, _ in strategy.heard} == {"quote", "t", "fill", "order", "bar"}
