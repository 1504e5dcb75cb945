"""A strategy that raises where money is out: it is called no more, its exits stay, and the others go on."""

from __future__ import annotations

from collections import Counter

import pytest
from tables import ES, SECOND, START, table

from xtalgo import Bar, Fill, Instrument, LinkUp, OrderStatus, Quote, Role, Strategy
from xtalgo.client.aslive import LEAD, Rehearsal, make_trader
from xtalgo.client.trader import Trader
from xtalgo.engine.risk import RiskLimits, TradingState
from xtalgo.model.errors import StrategyError
from xtalgo.model.events import AccountPnl, LinkDown
from xtalgo.model.instruments import ContractBook
from xtalgo.sim.feeds import TableFeed
from xtalgo.sim.fills import Fees, FillModel, Latency
from xtalgo.sim.server import SimServer


class Worker(Strategy):
    """Buys one with a stop at its third quote, and counts everything."""

    instrument: Instrument = ES

    def on_start(self) -> None:
        self.calls: list[str] = []
        self.every(5.0, "beat")
        self.bars(self.instrument, "10s")

    def on_quote(self, quote: Quote) -> None:
        self.calls.append("quote")
        if self.calls.count("quote") == 3:
            self.buy(self.instrument, 1, stop_loss=40)
        if self.calls.count("quote") == 8:
            self.buy(self.instrument, 1, limit_price=quote.bid - 10)

    def on_fill(self, fill: Fill) -> None:
        self.calls.append("fill")

    def on_timer(self, tag: str) -> None:
        self.calls.append("timer")

    def on_bar(self, bar: Bar) -> None:
        self.calls.append("bar")

    def on_pnl(self, pnl: AccountPnl) -> None:
        self.calls.append("pnl")

    def on_link(self, link: LinkUp | LinkDown) -> None:
        self.calls.append("link")


class Bug(Exception):
    """Not one of ours."""


def breaking(callback: str, after: int) -> Worker:
    """A worker whose ``callback`` raises when it has been called more than ``after`` times, having wished first."""

    class Broken(Worker):
        pass

    def broken(self: Worker, *facts: object) -> None:
        getattr(Worker, callback)(self, *facts)
        if self.calls.count(callback.removeprefix("on_")) > after:
            self.buy(self.instrument, 7)
            raise Bug(callback)

    setattr(Broken, callback, broken)
    return Broken()


def run(*strategies: Strategy, drop: bool = False) -> tuple[Trader, SimServer]:
    quotes = table([4800 + 0.25 * (row % 3) for row in range(120)])
    book = ContractBook()
    trader = make_trader(strategies, contracts=book, accounts=("Sim101",), limits=RiskLimits(), run="q")
    server = SimServer(
        TableFeed(quotes, book),
        accounts=("Sim101",),
        contracts=book,
        fills=FillModel(),
        latency=Latency(entry=250_000_000, report=0),
        fees=Fees(),
    )
    life = Rehearsal(trader, server, START - LEAD)
    life.connect()
    if drop:
        life.run(START + 40 * SECOND)
        assert life.connection is not None
        server.disconnect(life.connection, life.now)
        life._ended("pulled")
    life.run(START + 110 * SECOND)
    return trader, server


@pytest.mark.parametrize(
    ("callback", "after"),
    [("on_quote", 20), ("on_fill", 0), ("on_timer", 3), ("on_bar", 1), ("on_pnl", 10), ("on_link", 0)],
)
@pytest.mark.parametrize("first", [True, False])
def test_the_others_go_on(callback: str, after: int, first: bool) -> None:
    broken, sound = breaking(callback, after), Worker()
    trader, _ = run(*((broken, sound) if first else (sound, broken)), drop=True)
    alone, _ = run(Worker(), drop=True)
    assert trader.engine is not None
    assert alone.engine is not None
    assert trader.error is None, "one of two is no reason to end the run"
    assert [name for name, _ in trader.engine.faults] == ["Broken"]
    assert callback in str(trader.engine.faults[0][1])
    # The sound one heard everything that it hears alone.
    (other,) = (seat.strategy for seat in alone.engine.seats.values())
    assert isinstance(other, Worker)
    assert Counter(sound.calls) == Counter(other.calls)
    # The broken one heard nothing more, and what it wished for in its last turn never was.
    assert broken.calls.count(callback.removeprefix("on_")) == after + 1
    orders = [order for order in trader.engine.blotter.orders.values() if order.owner == "Broken"]
    assert not [order for order in orders if order.quantity == 7 and order.status is not OrderStatus.CANCELLED]
    # Entries are cancelled, exits stay.
    working = [order for order in orders if order.is_open]
    assert all(order.role is Role.STOP_LOSS for order in working)
    filled = [order for order in orders if order.is_filled]
    assert len(working) == len(filled) <= 1
    assert trader.engine.seats["Broken"].gate.state is TradingState.REDUCING


def test_with_nobody_left_the_run_ends() -> None:
    trader, server = run(breaking("on_quote", 20), breaking("on_quote", 30))
    assert isinstance(trader.error, StrategyError)
    assert trader.is_stopping
    assert len(server.venue.working("Sim101")) == 2, "a stop of each"


def test_leaving_the_interpreter_is_a_fault_like_any_other() -> None:
    class Leaver(Worker):
        def on_fill(self, fill: Fill) -> None:
            raise SystemExit(0)

    sound = Worker()
    trader, _ = run(Leaver(), sound)
    assert trader.engine is not None
    assert "sys.exit()" in str(trader.engine.faults[0][1])
    assert sound.calls.count("quote") > 100
