"""Replay as live: the whole client against the whole server, and what a plain replay leaves out."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tables import ES, MNQ, SECOND, START, table

from xtalgo import Fill, Instrument, Order, OrderStatus, Quote, ReplaySettings, RiskLimits, Strategy, StrategyError
from xtalgo.client.aslive import LEAD, REDIAL, Rehearsal, make_trader, replay_as_live
from xtalgo.engine.risk import DenyReason
from xtalgo.model.errors import ConfigError, DataError
from xtalgo.model.instruments import ContractBook
from xtalgo.sim.faults import Faults
from xtalgo.sim.feeds import TableFeed
from xtalgo.sim.fills import Fees, FillModel, Latency
from xtalgo.sim.replay import replay
from xtalgo.sim.server import SimServer

MS = 1_000_000
PRICES = [4800.0 + 0.25 * (row % 7) for row in range(60)]


class Rowed(Strategy):
    """Acts by the second of a recording, and keeps what it was told."""

    instrument: Instrument = ES
    do: Any = None

    def on_start(self) -> None:
        self.made: dict[int, Any] = {}
        self.fills: list[Fill] = []
        self.told: list[tuple[str, str]] = []

    def on_quote(self, quote: Quote) -> None:
        second = (quote.ts - START) // SECOND
        if second in (self.do or {}) and second not in self.made:
            self.made[second] = self.do[second](self)

    def on_fill(self, fill: Fill) -> None:
        self.fills.append(fill)

    def on_order(self, order: Order) -> None:
        self.told.append((order.id, str(order.status)))


def world(do: Any, quotes: Any = 60, faults: dict[str, Any] | None = None, **how: Any) -> tuple[Rowed, Rehearsal]:
    """A rehearsal that is connected; the strategy in it."""
    strategy, contracts = Rowed(do=do), ContractBook()
    recording = table([4800.0] * quotes) if isinstance(quotes, int) else quotes
    trader = make_trader([strategy], contracts=contracts, accounts=("Sim101",), limits=RiskLimits(), run="r")
    server = SimServer(
        TableFeed(recording, contracts),
        contracts=contracts,
        fills=FillModel(slippage=0),
        latency=Latency(entry=how.get("entry", 250) * MS, report=0),
        fees=Fees(),
        faults=Faults.from_table(faults or {}),
    )
    rehearsal = Rehearsal(trader, server, START - LEAD)
    rehearsal.connect()
    return strategy, rehearsal


def to(rehearsal: Rehearsal, second: float) -> None:
    rehearsal.run(START + round(second * SECOND))


# --- against a plain replay ---------------------------------------------------------------------------------------

TRADES = {
    3: lambda s: s.buy(ES, 2, stop_loss=40, take_profit=40),
    20: lambda s: s.order_target(ES, 1),
    35: lambda s: s.close(ES),
}


def test_a_faultless_rehearsal_trades_as_the_replay_does() -> None:
    settings = ReplaySettings(fills=FillModel(slippage=0))
    plain = replay(Rowed(do=TRADES), table(PRICES), settings)
    live = replay_as_live(Rowed(do=TRADES), table(PRICES), settings)
    assert [(fill.side, fill.quantity) for fill in plain.fills] == [(fill.side, fill.quantity) for fill in live.fills]
    assert sum(fill.side * fill.quantity for fill in live.fills) == 0
    assert live.denials == {}


def test_a_rehearsal_is_the_same_each_time() -> None:
    faults = Faults.from_table({"seed": 3, "lose_reply": 0.2, "drop_at": [17.0]})
    runs = [replay_as_live(Rowed(do=TRADES), table(PRICES), faults=faults) for _ in range(2)]
    assert runs[0].digest == runs[1].digest


def test_a_market_orders_fill_is_seen_within_a_second_of_happening() -> None:
    """Default latency: polls at 300, 800 and 1500 ms after the reply find a fill of the next quote."""
    strategy, rehearsal = world({second: lambda s: s.buy(ES, 1) for second in range(3, 50, 5)})
    to(rehearsal, 58)
    assert len(strategy.fills) == 10
    late = [(fill.ts - fill.executed) / SECOND for fill in strategy.fills]
    assert max(late) <= 1.0
    assert rehearsal.trader.health.refusals == 0


def test_an_empty_recording_is_an_error() -> None:
    with pytest.raises(DataError, match="no quotes"):
        replay_as_live(Rowed(), table([]))


def test_an_unknown_root_is_an_error_that_says_so() -> None:
    with pytest.raises(ConfigError, match="MNQ"):
        replay_as_live(Rowed(instrument=MNQ), table(PRICES))


def test_a_strategy_that_raises_raises_here() -> None:
    def boom(_strategy: Strategy) -> None:
        raise ValueError("boom")

    with pytest.raises(StrategyError, match="boom"):
        replay_as_live(Rowed(do={3: boom}), table(PRICES))


# --- drops --------------------------------------------------------------------------------------------------------


def test_after_a_drop_it_connects_again_and_goes_on() -> None:
    strategy, rehearsal = world({20: lambda s: s.buy(ES, 1)}, faults={"drop_at": [15.0]})
    to(rehearsal, 30)
    assert rehearsal.trader.health.drops == 1
    assert REDIAL == 2 * SECOND
    assert len(strategy.fills) == 1


def test_an_order_whose_reply_was_lost_in_a_drop_is_found_and_not_sent_twice() -> None:
    sent = []
    strategy, rehearsal = world({10: lambda s: s.buy(ES, 1)}, faults={"drop_at": [20.1]}, entry=500)
    receive = rehearsal.server.receive

    def noted(connection: int, text: str, now: int) -> None:
        if json.loads(text).get("api") == "PlaceOrder":
            sent.append(now)
        receive(connection, text, now)

    rehearsal.server.receive = noted  # type: ignore[method-assign]
    to(rehearsal, 40)
    order = strategy.made[10]
    assert (len(sent), order.status, len(strategy.fills)) == (1, OrderStatus.FILLED, 1)
    assert ("r-1", "in_doubt") in strategy.told
    assert len(rehearsal.server.venue.orders) == 1


def test_an_order_whose_request_was_lost_is_absent_and_was_sent_once() -> None:
    strategy, rehearsal = world({10: lambda s: s.buy(ES, 1)})
    to(rehearsal, 9.5)
    rehearsal.server.faults = rehearsal.server.venue.mishaps.faults = Faults.from_table({"lose_request": 1.0})
    to(rehearsal, 10.5)
    rehearsal.server.faults = rehearsal.server.venue.mishaps.faults = Faults()
    to(rehearsal, 45)
    assert strategy.made[10].status is OrderStatus.ABSENT
    assert rehearsal.server.venue.orders == []


def test_while_the_addon_is_away_entries_are_denied_and_exits_go_on_at_the_venue() -> None:
    prices = [4800.0] * 20 + [4790.0] * 40
    strategy, rehearsal = world(
        {5: lambda s: s.buy(ES, 1, stop_loss=8), 12: lambda s: s.buy(ES, 1), 50: lambda s: s.buy(ES, 1)},
        table(prices),
        {"addon_offline": [[20.5, 45.0]]},
    )
    to(rehearsal, 15)
    rehearsal.trader.look(rehearsal.now)  # finds out
    to(rehearsal, 18)
    assert rehearsal.trader.is_offline
    to(rehearsal, 49)
    assert not rehearsal.trader.is_offline
    assert strategy.position(ES) == 0  # the stop filled while nobody could see it
    to(rehearsal, 58)
    assert strategy.made[50].status is OrderStatus.FILLED


def test_silence_denies_entries_and_dials_again_until_quotes_are_back() -> None:
    strategy, rehearsal = world({45: lambda s: s.buy(ES, 1)}, faults={"silence": [[15.0, 50.0]]})
    to(rehearsal, 42)
    assert rehearsal.trader.health.silences >= 1
    assert rehearsal.trader.health.drops >= 1
    to(rehearsal, 58)
    assert strategy.made[45].status is OrderStatus.FILLED
    assert DenyReason.STALE_QUOTES not in rehearsal.trader.engine.denials  # type: ignore[union-attr]


# --- ends ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "held", "working"),
    [("protect", 2, {"stop_loss", "take_profit"}), ("cancel", 2, {"stop_loss", "take_profit"}), ("flatten", 0, set())],
)
def test_what_an_end_leaves_at_the_venue(mode: str, held: int, working: set[str]) -> None:
    do = {
        3: lambda s: s.buy(ES, 2, stop_loss=80, take_profit=80),
        6: lambda s: s.buy(ES, 1, limit_price=4700.0),
        7: lambda s: s.sell(ES, 1, stop_price=4700.0),
    }
    strategy, rehearsal = world(do)
    to(rehearsal, 12)
    rehearsal.trader.stop(mode, rehearsal.now)
    rehearsal._exchange()
    for half in range(40):
        to(rehearsal, 12 + half / 2)
        if rehearsal.trader.is_settled:
            break
    venue = rehearsal.server.venue
    assert rehearsal.trader.is_settled
    assert [book.position for book in venue.books("Sim101")] == [held]
    assert strategy.position(ES) == held
    left = {str(rehearsal.trader.engine.blotter.orders[order.key].role) for order in venue.working("Sim101")}  # type: ignore[union-attr]
    assert left == working | ({"entry"} if mode == "protect" else set())  # the author's own exit stays


def test_a_resting_order_keeps_within_a_tenth_of_the_budget() -> None:
    _, rehearsal = world({3: lambda s: s.buy(ES, 1, limit_price=4700.0)}, 200)
    to(rehearsal, 15)
    before = rehearsal.trader.queue.sent
    to(rehearsal, 195)
    assert 3 * 14 <= rehearsal.trader.queue.sent - before <= 3 * 18
    assert rehearsal.server.violations == 0


def test_an_order_at_the_market_that_does_not_fill_keeps_within_the_budget_too() -> None:
    """Quotes touch the limit all the time, and never trade through it."""
    _, rehearsal = world(
        {3: lambda s: s.buy(ES, 1, limit_price=4799.75), 4: lambda s: s.sell(ES, 1, limit_price=4801.0)},
        table([4800.0, 4799.5] * 100, spread=0.25),
    )
    to(rehearsal, 15)
    before = rehearsal.trader.queue.sent
    to(rehearsal, 195)
    assert rehearsal.trader.queue.sent - before <= 3 * 40
