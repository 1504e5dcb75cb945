"""Risk limits at work in replay: every reason to deny, the daily lock, and what always passes.

Without slippage, latency or (unless said) commission: an order of row n fills on row n+1 and is in the book on row n+2.
ES: a tick is 0.25 points and $12.50.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import ES, MNQ, SECOND, START, table

from xtalgo import (
    ConfigError,
    DenyReason,
    Fees,
    FillModel,
    Instrument,
    Latency,
    Order,
    OrderStatus,
    Quote,
    QuoteTable,
    ReplaySettings,
    Result,
    RiskLimits,
    Role,
    Strategy,
    replay,
)

DENIED, WORKING, FILLED, CANCELLED = (
    OrderStatus.DENIED,
    OrderStatus.WORKING,
    OrderStatus.FILLED,
    OrderStatus.CANCELLED,
)


class Scripted(Strategy):
    """Does on each row what a test says."""

    instrument: Instrument = ES
    do: Any = None

    def on_start(self) -> None:
        self.row = -1
        self.made: dict[Any, Any] = {}
        self.held: list[int] = []
        self.told: list[tuple[str, str]] = []

    def on_quote(self, quote: Quote) -> None:
        self.row += 1
        self.held.append(self.position(self.instrument))
        if self.row in self.do:
            self.made[self.row] = self.do[self.row](self)

    def on_order(self, order: Order) -> None:
        self.told.append((order.id, str(order.status)))


class Other(Scripted):
    pass


def limited(*, commission: float = 0.0, accounts: tuple[str, ...] = ("Sim101",), **limits: Any) -> ReplaySettings:
    return ReplaySettings(
        fills=FillModel(slippage=0),
        latency=Latency(entry=0, report=0),
        fees=Fees(commission=commission),
        limits=RiskLimits(**limits),
        accounts=accounts,
    )


def play(
    do: Mapping[Any, Callable[[Any], Any]], quotes: QuoteTable | int, how: ReplaySettings
) -> tuple[Scripted, Result]:
    strategy = Scripted(do=do)
    return strategy, replay(strategy, table([4800.0] * quotes) if isinstance(quotes, int) else quotes, how)


def both(count: int) -> QuoteTable:
    """ES at 4800 and MNQ at 25000, each once a second, MNQ half a second after ES."""
    rows = np.arange(2 * count)
    bids = np.where(rows % 2, 25000.0, 4800.0)
    return QuoteTable.from_rows((ES, MNQ), rows % 2, START + rows * (SECOND // 2), bids, bids + 0.25, bids)


# --- the limits themselves ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits",
    [
        {"max_order_quantity": 0},
        {"max_position": -1},
        {"max_open_orders": 1.5},
        {"max_orders_per_minute": True},
        {"price_collar": "8"},
        {"daily_loss": 0.0},
        {"daily_loss": -100},
        {"daily_loss": float("nan")},
    ],
)
def test_a_limit_is_a_positive_number(limits: dict[str, Any]) -> None:
    (name,) = limits
    with pytest.raises(ConfigError, match=f"{name} must be a positive"):
        RiskLimits(**limits)


def test_without_limits_everything_passes() -> None:
    strategy, result = play({0: lambda s: [s.buy(ES, 1_000), s.buy(ES, 1, limit_price=0.25)]}, 3, limited())
    assert [order.status for order in strategy.made[0]] == [FILLED, WORKING]
    assert result.denials == {}


# --- each reason --------------------------------------------------------------------------------------------------


def test_order_size() -> None:
    do = {0: lambda s: [s.buy(ES, 2), s.sell(ES, 3), s.buy(ES, 3, limit_price=4700.0), s.order_target(MNQ, -3)]}
    strategy, result = play(do, both(3), limited(max_order_quantity=2))
    assert [order.status for order in strategy.made[0]] == [FILLED, DENIED, DENIED, DENIED]
    assert strategy.made[0][1].reason == "order_size: 3 contracts, at most 2"
    assert result.denials == {"order_size": 3}
    assert (result.orders, result.rpcs) == (1, 1)  # what is denied never leaves the house


def test_a_position_limit_counts_what_is_open_as_filled() -> None:
    do = {
        0: lambda s: s.buy(ES, 2, limit_price=4700.0),
        1: lambda s: s.buy(ES, 2),  # 2 may come of the limit: 4
        2: lambda s: s.buy(ES, 1),  # 3
        5: lambda s: s.buy(ES, 1),  # 1 held and 2 open: 4
        6: lambda s: s.cancel(s.made[0]),
        8: lambda s: s.buy(ES, 2),  # 1 held and nothing open: 3
        9: lambda s: s.buy(ES, 1),
    }
    strategy, result = play(do, 12, limited(max_position=3))
    statuses = {row: order.status for row, order in strategy.made.items() if order is not None}
    assert statuses == {0: CANCELLED, 1: DENIED, 2: FILLED, 5: DENIED, 8: FILLED, 9: DENIED}
    assert strategy.made[9].reason == "position: ES 06-26 could reach 4, at most 3"
    assert result.denials == {"position": 3}
    assert strategy.held[-1] == 3


def test_a_position_limit_holds_for_each_direction() -> None:
    do = {
        0: lambda s: s.buy(ES, 2, limit_price=4700.0),
        1: lambda s: s.sell(ES, 2, limit_price=4900.0),  # sells count against sells, whatever the buys do
        2: lambda s: s.sell(ES, 1),  # 3 short if both fill
        3: lambda s: s.buy(ES, 1),
    }
    strategy, result = play(do, 6, limited(max_position=2))
    assert [strategy.made[row].status for row in range(4)] == [WORKING, WORKING, DENIED, DENIED]
    assert result.denials == {"position": 2}


def test_a_reversal_is_limited_by_where_it_ends() -> None:
    do = {0: lambda s: s.buy(ES, 2), 3: lambda s: [s.sell(ES, 5)], 4: lambda s: [s.sell(ES, 4)]}
    strategy, _ = play(do, 8, limited(max_position=2))
    assert [strategy.made[3][0].status, strategy.made[4][0].status] == [DENIED, FILLED]
    assert strategy.held[-1] == -2


def test_a_position_limit_is_for_each_instrument_and_account() -> None:
    def everywhere(s: Scripted) -> list[Order]:
        return [s.buy(name, 2, account=account) for name in (ES, MNQ) for account in ("Sim101", "Apex-7")]

    strategy, _ = play({0: everywhere}, both(4), limited(max_position=2, accounts=("Sim101", "Apex-7")))
    assert [order.status for order in strategy.made[0]] == [FILLED] * 4


def test_open_orders() -> None:
    do = {
        0: lambda s: s.buy(ES, 1, limit_price=4700.0),
        1: lambda s: s.sell(MNQ, 1, limit_price=26000.0),
        2: lambda s: s.buy(ES, 1),
        3: lambda s: s.cancel(s.made[0]),
        5: lambda s: s.buy(MNQ, 1),  # one was cancelled: one may be opened, in any instrument
        7: lambda s: s.buy(ES, 1),  # that one is filled: another
    }
    strategy, result = play(do, both(10), limited(max_open_orders=2))
    statuses = [strategy.made[row].status for row in (0, 1, 2, 5, 7)]
    assert statuses == [CANCELLED, WORKING, DENIED, FILLED, FILLED]
    assert strategy.made[2].reason == "open_orders: 2 open, at most 2"
    assert result.denials == {"open_orders": 1}


def test_the_engines_exits_are_not_counted_as_open_orders() -> None:
    do = {0: lambda s: s.buy(ES, 1, stop_loss=8, take_profit=8), 3: lambda s: s.buy(ES, 1, limit_price=4700.0)}
    strategy, result = play(do, 6, limited(max_open_orders=1))
    assert strategy.made[3].status is WORKING
    assert sum(order.is_open for order in result.order_book) == 3
    assert result.denials == {}


def test_order_rate() -> None:
    # Two at 0 s and one at 30 s fill the minute; at 59 s both of 0 s still count, at 60 s they do not.
    do = {
        0: lambda s: [s.buy(ES, 1, limit_price=4700.0), s.buy(ES, 1, limit_price=4700.0)],
        30: lambda s: [s.buy(ES, 1, limit_price=4700.0), s.buy(ES, 1, limit_price=4700.0)],
        59: lambda s: [s.buy(ES, 1, limit_price=4700.0)],
        60: lambda s: [s.buy(ES, 1, limit_price=4700.0) for _ in range(3)],
        89: lambda s: [s.buy(ES, 1, limit_price=4700.0)],
        90: lambda s: [s.buy(ES, 1, limit_price=4700.0)],
    }
    strategy, result = play(do, 95, limited(max_orders_per_minute=3))
    statuses = {row: [order.status for order in orders] for row, orders in strategy.made.items()}
    assert statuses == {
        0: [WORKING, WORKING],
        30: [WORKING, DENIED],
        59: [DENIED],
        60: [WORKING, WORKING, DENIED],
        89: [DENIED],
        90: [WORKING],
    }
    assert strategy.made[30][1].reason == "order_rate: 3 in the last minute, at most 3"
    assert result.denials == {"order_rate": 4}


@pytest.mark.parametrize(
    ("given", "passes"),
    [
        # 8 ticks are 2 points; the quote is 4800.00 x 4800.25.
        ({"limit_price": 4798.0}, True),
        ({"limit_price": 4797.75}, False),
        ({"limit_price": 4802.25}, True),
        ({"limit_price": 4802.5}, False),
        ({"stop_price": 4802.25}, True),
        ({"stop_price": 4802.5}, False),
        ({"stop_price": 4801.0, "limit_price": 4802.25}, True),
        ({"stop_price": 4801.0, "limit_price": 4802.5}, False),
        ({"stop_price": 4802.5, "limit_price": 4801.0}, False),
        ({}, True),
    ],
)
def test_price_collar(given: dict[str, float], passes: bool) -> None:
    strategy, result = play({0: lambda s: s.buy(ES, 1, **given)}, 3, limited(price_collar=8))
    assert (strategy.made[0].status is not DENIED) == passes
    assert result.denials == ({} if passes else {"price_collar": 1})
    if not passes:
        assert strategy.made[0].reason.endswith("is 9 ticks outside 4800 x 4800.25, at most 8")


def test_a_price_cannot_be_judged_without_a_quote() -> None:
    # On row 0 nothing is known of MNQ yet, which is first quoted half a second later.
    do = {
        0: lambda s: [s.buy(MNQ, 1, limit_price=25000.0), s.buy(MNQ, 1)],
        1: lambda s: s.buy(MNQ, 1, limit_price=25000.0),
    }
    strategy, result = play(do, both(4), limited(price_collar=8))
    assert [order.status for order in strategy.made[0]] == [DENIED, FILLED]
    assert strategy.made[0][0].reason == "price_collar: MNQ 06-26 has no quote to compare 25000 with"
    assert strategy.made[1].status is not DENIED
    assert result.denials == {"price_collar": 1}


def test_the_reasons_are_counted_apart() -> None:
    do = {
        0: lambda s: s.buy(ES, 9),
        1: lambda s: s.buy(ES, 9),
        2: lambda s: s.buy(ES, 1, limit_price=4700.0),
        3: lambda s: s.buy(ES, 3),
        4: lambda s: s.halt("x"),
        5: lambda s: s.buy(ES, 1),
    }
    limits = {"max_order_quantity": 5, "max_position": 2, "price_collar": 8}
    _, result = play(do, 7, limited(**limits))
    assert result.denials == {"halted": 1, "order_size": 2, "position": 1, "price_collar": 1}
    assert list(result.denials) == sorted(result.denials)
    assert {decision[3] for decision in result.decisions if decision[1] == "deny"} == set(result.denials)
    assert set(result.denials) <= set(DenyReason)


def test_a_denied_entry_gets_no_exits() -> None:
    _, result = play({0: lambda s: s.buy(ES, 3, stop_loss=8)}, 5, limited(max_order_quantity=2))
    assert [order.role for order in result.order_book] == [Role.ENTRY]


def test_the_limits_are_each_strategys_own() -> None:
    left = Scripted(do={0: lambda s: s.buy(ES, 2)})
    right = Other(do={0: lambda s: s.buy(ES, 2), 3: lambda s: s.buy(ES, 1)})
    replay([left, right], table([4800.0] * 5), limited(max_position=2))
    assert [left.made[0].status, right.made[0].status, right.made[3].status] == [FILLED, FILLED, DENIED]


def test_what_only_reduces_always_passes() -> None:
    """Three bought one by one at the limit of everything; all three are sold at once, far below the market."""
    do = {row: lambda s: s.buy(ES, 1) for row in (0, 3, 6)} | {
        10: lambda s: s.sell(ES, 3, limit_price=4700.0),
        13: lambda s: s.sell(ES, 1),
    }
    limits = {
        "max_order_quantity": 1,
        "max_position": 3,
        "max_open_orders": 1,
        "max_orders_per_minute": 3,
        "price_collar": 4,
    }
    strategy, result = play(do, 16, limited(**limits))
    assert [strategy.made[row].status for row in (0, 3, 6)] == [FILLED, FILLED, FILLED]
    assert strategy.made[10].status is FILLED
    # Flat by now: another sale opens, and is the fifth order of the minute.
    assert strategy.made[13].status is DENIED
    assert result.denials == {"order_rate": 1}
    assert strategy.held[-1] == 0


@pytest.mark.parametrize(("enter", "leave", "limit"), [("buy", "sell", 4900.0), ("sell", "buy", 4700.0)])
def test_only_what_reduces_even_if_all_else_fills_first(enter: str, leave: str, limit: float) -> None:
    """Two held, and an exit for 1 open: another exit for 1 reduces, one for 2 might open."""

    def out(quantity: int) -> Callable[[Any], Order]:
        return lambda s: getattr(s, leave)(ES, quantity, limit_price=limit)

    do = {
        0: lambda s: getattr(s, enter)(ES, 2),
        3: lambda s: [out(1)(s), s.halt("enough")],
        5: out(2),
        6: out(1),
    }
    strategy, _ = play(do, 9, limited(max_position=9))
    assert [strategy.made[5].status, strategy.made[6].status] == [DENIED, WORKING]


# --- several wishes of one callback -------------------------------------------------------------------------------


def test_wishes_of_one_callback_are_judged_in_their_order() -> None:
    """What was asked for first passes; what is then too much is denied, not the other way round."""
    do = {0: lambda s: [s.buy(ES, 2), s.buy(ES, 1)]}
    strategy, _ = play(do, 4, limited(max_position=2))
    assert [order.status for order in strategy.made[0]] == [FILLED, DENIED]
    do = {0: lambda s: [s.buy(ES, 1, limit_price=4700.0 + n) for n in range(3)]}
    strategy, _ = play(do, 4, limited(max_open_orders=2))
    assert [order.status for order in strategy.made[0]] == [WORKING, WORKING, DENIED]


def test_an_order_that_reduces_passes_whatever_is_asked_for_after_it() -> None:
    """Halted and long 3: selling 1 only reduces, even when the same callback then asks for 4 more, which is denied."""
    do = {
        0: lambda s: s.buy(ES, 3),
        3: lambda s: s.halt("enough"),
        5: lambda s: [s.sell(ES, 1), s.sell(ES, 4)],
    }
    strategy, _ = play(do, 8, limited())
    assert [order.status for order in strategy.made[5]] == [FILLED, DENIED]


def test_an_order_at_the_very_quote_that_locks_is_denied() -> None:
    # Locked on row 4; the strategy, called after the books, asks for more in the same turn.
    do = {0: lambda s: s.buy(ES, 1), 4: lambda s: s.buy(ES, 1)}
    quotes = table([4800.0, 4800.0, 4800.0, 4798.5, 4798.25, 4798.25, 4798.25])
    strategy, result = play(do, quotes, limited(daily_loss=100.0))
    assert strategy.made[4].status is DENIED
    assert result.denials == {"daily_loss": 1}
    assert strategy.told[-1] == (strategy.made[4].id, "denied")


def test_an_order_after_a_halt_in_the_same_callback_is_denied() -> None:
    strategy, result = play({0: lambda s: [s.halt("enough"), s.buy(ES, 1)]}, 4, limited())
    assert strategy.made[0][1].status is DENIED
    assert result.denials == {"halted": 1}


# --- changes are decisions too ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("limits", "most"), [({"max_order_quantity": 2}, 2), ({"max_position": 3}, 3)], ids=["order size", "position"]
)
def test_a_change_cannot_carry_an_order_past_a_limit(limits: dict[str, int], most: int) -> None:
    """What the gate would not have let out as a new order must not come about by ``change``."""
    do = {0: lambda s: s.buy(ES, 1, limit_price=4790.0), 2: lambda s: s.change(s.made[0], quantity=10)}
    strategy, _ = play(do, table([4800.0] * 4 + [4780.0] * 4), limited(**limits))
    assert strategy.held[-1] <= most


def test_a_change_cannot_carry_a_price_past_the_collar() -> None:
    do = {0: lambda s: s.buy(ES, 1, limit_price=4799.0), 2: lambda s: s.change(s.made[0], limit_price=4900.0)}
    strategy, _ = play(do, 5, limited(price_collar=8))
    assert strategy.made[0].limit_price == 4799.0


def test_a_denied_change_is_counted_and_told_and_the_order_stands() -> None:
    do = {
        0: lambda s: s.buy(ES, 1, limit_price=4790.0),
        2: lambda s: [s.told.clear(), s.change(s.made[0], quantity=3, limit_price=4791.0)],
        3: lambda s: s.change(s.made[0], quantity=2, limit_price=4791.0),
    }
    strategy, result = play(do, 6, limited(max_order_quantity=2))
    order = strategy.made[0]
    assert (order.status, order.quantity, order.limit_price) == (WORKING, 2, 4791.0)
    assert order.reason == "change denied: order_size: 3 contracts, at most 2"
    assert result.denials == {"order_size": 1}
    assert strategy.told[0] == (order.id, "working")
    assert result.rpcs == 2


@pytest.mark.parametrize(
    "second",
    [
        lambda s: s.change(s.made[0][1], quantity=2),
        lambda s: s.buy(ES, 1, limit_price=4790.0),
    ],
    ids=["another change", "another order"],
)
@pytest.mark.parametrize("later", [0, 1])
def test_a_change_on_its_way_counts_as_done(second: Callable[[Any], Any], later: int) -> None:
    """At most 3: two orders of 1; one is changed to 2, and before that is confirmed the strategy asks for one more."""
    do: dict[int, Callable[[Any], Any]] = {
        0: lambda s: [s.buy(ES, 1, limit_price=4790.0), s.buy(ES, 1, limit_price=4790.0)],
        3: lambda s: s.change(s.made[0][0], quantity=2),
    }
    if later:
        do[4] = second
    else:
        first = do[3]
        do[3] = lambda s: [first(s), second(s)]
    how = ReplaySettings(
        fills=FillModel(slippage=0),
        latency=Latency(entry=3 * SECOND // 2, report=0),
        limits=RiskLimits(max_position=3),
    )
    _, result = play(do, table([4800.0] * 8 + [4780.0] * 4), how)
    held = np.cumsum([fill.side * fill.quantity for fill in result.fills])
    assert held.max() <= 3
    assert sum(result.denials.values()) >= 1


def test_a_halted_strategy_may_still_move_its_own_exits() -> None:
    """Long 1, with a stop and a target of its own that cancel each other: a price that moves opens nothing."""
    do = {
        0: lambda s: s.buy(ES, 1),
        3: lambda s: [s.sell(ES, 1, stop_price=4790.0, oco="g"), s.sell(ES, 1, limit_price=4900.0, oco="g")],
        5: lambda s: s.halt("enough"),
        7: lambda s: s.change(s.made[3][0], stop_price=4795.0),
    }
    strategy, result = play(do, 10, limited())
    assert strategy.made[3][0].stop_price == 4795.0
    assert result.denials == {}


def test_a_halted_strategy_may_move_the_exits_of_a_bracket() -> None:
    do = {
        0: lambda s: s.buy(ES, 1, stop_loss=40, take_profit=40),
        3: lambda s: s.halt("enough"),
        5: lambda s: s.change(s.made[0], stop_loss=8),
        7: lambda s: s.change(s.orders()[-1], limit_price=4805.0),
    }
    _, result = play(do, 10, limited())
    stop, target = result.order_book[1:]
    assert (stop.stop_price, target.limit_price) == (4798.25, 4805.0)


def test_a_change_of_a_done_order_is_no_business_of_the_gate() -> None:
    do = {
        0: lambda s: s.buy(ES, 1),
        3: lambda s: s.close(ES),
        6: lambda s: [s.halt("enough"), s.told.clear()],
        8: lambda s: s.change(s.made[0], quantity=3),
    }
    strategy, result = play(do, 12, limited())
    assert (strategy.made[0].reason, result.denials, strategy.told) == ("", {}, [])


# --- the daily loss -----------------------------------------------------------------------------------------------


def test_the_daily_loss_locks_when_it_is_reached_and_not_before() -> None:
    # Bought at 4800.25. A bid of 4798.50 is -$87.50, one of 4798.25 is -$100.
    do = {0: lambda s: s.buy(ES, 1), 3: lambda s: s.buy(MNQ, 1), 5: lambda s: s.buy(MNQ, 1), 6: lambda s: s.buy(ES, 1)}
    quotes = table([4800.0, 4800.0, 4800.0, 4798.5, 4798.25, 4798.25, 4798.25])
    rows = QuoteTable.from_rows((ES, MNQ), [0] * 7, quotes.ts, quotes.bid, quotes.ask)
    strategy, result = play(do, rows, limited(daily_loss=100.0))
    # The order of row 3 passed; being an entry that was not yet filled, it is cancelled by the lock.
    assert [strategy.made[row].status for row in (3, 5, 6)] == [CANCELLED, DENIED, DENIED]
    assert strategy.made[5].reason == "daily_loss: the day's loss in Sim101 reached 100.0"
    assert result.denials == {"daily_loss": 2}
    assert [decision[1:] for decision in result.decisions if decision[1] == "lock"] == [("lock", "Scripted", "Sim101")]


@pytest.mark.parametrize(("commission", "row"), [(0.0, 4), (12.5, 3), (2.0, 4)])
def test_fees_are_part_of_the_loss(commission: float, row: int) -> None:
    # -$87.50 on row 3, -$100 on row 4; with $12.50 paid, row 3 reaches the limit.
    quotes = table([4800.0, 4800.0, 4800.0, 4798.5, 4798.25, 4798.25])
    _, result = play({0: lambda s: s.buy(ES, 1)}, quotes, limited(commission=commission, daily_loss=100.0))
    assert [decision[0] for decision in result.decisions if decision[1] == "lock"] == [START + row * SECOND]


def test_a_short_position_is_marked_at_the_ask() -> None:
    # Sold at 4800.00; an ask of 4802 is -$100.
    quotes = table([4800.0, 4800.0, 4800.0, 4801.5, 4801.75, 4801.75])
    _, result = play({0: lambda s: s.sell(ES, 1)}, quotes, limited(daily_loss=100.0))
    assert [decision[0] for decision in result.decisions if decision[1] == "lock"] == [START + 4 * SECOND]


def test_a_lock_cancels_entries_and_keeps_exits() -> None:
    do = {
        0: lambda s: [s.buy(ES, 1, stop_loss=20), s.buy(ES, 1, limit_price=4790.0), s.buy(ES, 1, stop_price=4810.0)],
        2: lambda s: [s.sell(ES, 1, limit_price=4900.0)],
    }
    # The stop is 20 ticks below 4800.25: 4795.25. Locked at 4798 (row 4), stopped out on row 7.
    quotes = table([4800.0, 4800.0, 4800.0, 4800.0, 4798.0, 4798.0, 4798.0, 4795.0, 4795.0, 4795.0])
    strategy, result = play(do, quotes, limited(daily_loss=100.0))
    entry, limit, stop = strategy.made[0]
    assert [order.status for order in (entry, limit, stop)] == [FILLED, CANCELLED, CANCELLED]
    assert strategy.made[2][0].status is WORKING
    (leg,) = [order for order in result.order_book if order.role is Role.STOP_LOSS]
    assert (leg.status, leg.average_price) == (FILLED, 4795.0)
    assert strategy.held[-1] == 0


def test_a_locked_account_may_still_reduce() -> None:
    do = {
        0: lambda s: s.buy(ES, 3),
        5: lambda s: s.sell(ES, 1),
        6: lambda s: s.buy(ES, 1),
        8: lambda s: s.sell(ES, 4),
        9: lambda s: s.close(ES),
    }
    quotes = table([4800.0] * 4 + [4790.0] * 10)
    strategy, result = play(do, quotes, limited(daily_loss=100.0))
    assert [strategy.made[row].status for row in (5, 6, 8)] == [FILLED, DENIED, DENIED]
    assert result.denials == {"daily_loss": 2}
    assert strategy.held[-1] == 0


def next_day(first: list[float], second: list[float]) -> QuoteTable:
    """Quotes from 10:00 on, and from 18:00 New York on, which is 8 hours later and the next trading day."""
    opens = START + 8 * 3_600 * SECOND
    stamps = [START + n * SECOND for n in range(len(first))] + [opens + n * SECOND for n in range(len(second))]
    bids = [*first, *second]
    return QuoteTable.from_rows((ES,), [0] * len(bids), stamps, bids, [bid + 0.25 for bid in bids])


def test_a_lock_ends_with_the_trading_day() -> None:
    do = {
        0: lambda s: s.buy(ES, 1),
        4: lambda s: s.close(ES),
        6: lambda s: s.buy(ES, 1),  # flat, but the loss is realised: still locked
        8: lambda s: s.buy(ES, 1),  # the first row of the next day
    }
    quotes = next_day([4800.0, 4800.0, 4800.0, 4798.0, 4798.0, 4798.0, 4798.0, 4798.0], [4798.0] * 4)
    strategy, result = play(do, quotes, limited(daily_loss=100.0))
    assert (strategy.made[6].status, strategy.made[8].status) == (DENIED, FILLED)
    assert result.denials == {"daily_loss": 1}


def test_a_day_begins_where_the_market_is() -> None:
    """A position held overnight counts from the mark at 18:00: yesterday's loss is not today's."""
    # Bought at 4800.25; -$87.50 at the close at 4798.50. From there $100 are two points: 4796.50.
    quotes = next_day([4800.0, 4800.0, 4798.5], [4798.5, 4797.0, 4796.75, 4796.5, 4796.5])
    _, result = play({0: lambda s: s.buy(ES, 1)}, quotes, limited(daily_loss=100.0))
    (lock,) = [decision for decision in result.decisions if decision[1] == "lock"]
    assert lock[0] == quotes.ts[6]


def test_yesterdays_profit_is_no_allowance() -> None:
    # +$487.50 at the close; $100 below that is a bid of 4808.
    quotes = next_day([4800.0, 4800.0, 4810.0], [4810.0, 4808.25, 4808.0, 4808.0])
    _, result = play({0: lambda s: s.buy(ES, 1)}, quotes, limited(daily_loss=100.0))
    (lock,) = [decision for decision in result.decisions if decision[1] == "lock"]
    assert lock[0] == quotes.ts[5]


def test_profit_of_the_same_day_is() -> None:
    """The limit is on what the day lost, not on the fall from its height."""
    _, result = play(
        {0: lambda s: s.buy(ES, 1)},
        table([4800.0, 4800.0, 4810.0, 4798.5, 4798.5]),
        limited(daily_loss=100.0),
    )
    assert not [decision for decision in result.decisions if decision[1] == "lock"]


def test_a_lock_can_come_again_the_next_day() -> None:
    do = {0: lambda s: s.buy(ES, 1), 6: lambda s: s.buy(ES, 1), 10: lambda s: s.buy(ES, 1)}
    quotes = next_day([4800.0, 4800.0, 4798.0, 4798.0], [4798.0] * 5 + [4796.0] * 4)
    strategy, result = play(do, quotes, limited(daily_loss=100.0))
    assert len([decision for decision in result.decisions if decision[1] == "lock"]) == 2
    assert (strategy.made[6].status, strategy.made[10].status) == (FILLED, DENIED)


def test_a_lock_is_of_one_account_and_one_strategy() -> None:
    do = {
        0: lambda s: s.buy(ES, 1),
        5: lambda s: [s.buy(ES, 1), s.buy(ES, 1, account="Apex-7")],
    }
    strategy, other = Scripted(do=do), Other(do={5: lambda s: s.buy(ES, 1)})
    quotes = table([4800.0] * 3 + [4798.0] * 6)
    replay([strategy, other], quotes, limited(daily_loss=100.0, accounts=("Sim101", "Apex-7")))
    assert [order.status for order in strategy.made[5]] == [DENIED, FILLED]
    assert other.made[5].status is FILLED


def test_a_fill_can_bring_the_loss_about() -> None:
    """A gap through the stop: the loss is there with the fill, whatever the quotes before said."""
    do = {0: lambda s: s.buy(ES, 1, stop_loss=4), 6: lambda s: s.buy(ES, 1)}
    strategy, result = play(do, table([4800.0] * 4 + [4790.0] * 4), limited(daily_loss=100.0))
    assert strategy.made[6].status is DENIED
    assert strategy.held[-1] == 0
    assert len([decision for decision in result.decisions if decision[1] == "lock"]) == 1


def test_the_loss_of_all_instruments_counts() -> None:
    # One ES bought at 4800.25 and 4 MNQ bought at 25000.25: -$12.50 and -$2 at once. MNQ at 24990 is -$82, ES at
    # 4799.75 is -$25: together -$107.
    rows = np.arange(20)
    bids = np.where(rows % 2, 25000.0, 4800.0)
    bids[9::2] = 24990.0
    bids[14::2] = 4799.75
    quotes = QuoteTable.from_rows((ES, MNQ), rows % 2, START + rows * SECOND, bids, bids + 0.25)
    _, result = play({0: lambda s: [s.buy(ES, 1), s.buy(MNQ, 4)]}, quotes, limited(daily_loss=100.0))
    (lock,) = [decision for decision in result.decisions if decision[1] == "lock"]
    assert lock[0] == START + 14 * SECOND


# --- whatever a strategy asks for ---------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(
    wishes=st.lists(
        st.tuples(st.sampled_from(["buy", "sell", "limit", "target", "bracket", "close"]), st.integers(1, 4)),
        min_size=1,
        max_size=30,
    ),
    moves=st.lists(st.integers(-3, 3), min_size=45, max_size=45),
    limit=st.integers(1, 4),
    report=st.sampled_from([0, 1_000, 3_000]),
)
def test_the_position_never_exceeds_its_limit(
    wishes: list[tuple[str, int]], moves: list[int], limit: int, report: int
) -> None:
    def act(verb: str, size: int) -> Callable[[Any], Any]:
        return {
            "buy": lambda s: s.buy(ES, size),
            "sell": lambda s: s.sell(ES, size),
            "limit": lambda s: s.buy(ES, size, limit_price=s.quote(ES).bid - 0.5),
            "target": lambda s: s.order_target(ES, size - 2),
            "bracket": lambda s: s.sell(ES, size, stop_loss=2, take_profit=2),
            "close": lambda s: s.close(ES),
        }[verb]

    positions: list[int] = []
    bids = (4800.0 + np.cumsum([0, *moves]) * 0.25).tolist()
    how = ReplaySettings(
        fills=FillModel(slippage=0),
        latency=Latency(entry=SECOND // 4, report=report * 1_000_000),
        limits=RiskLimits(max_position=limit, max_orders_per_minute=50),
    )
    _, result = play({row: act(*wish) for row, wish in enumerate(wishes)}, table(bids), how)
    held = 0
    for fill in result.fills:
        held += fill.side * fill.quantity
        positions.append(held)
    assert all(abs(position) <= limit for position in positions)
