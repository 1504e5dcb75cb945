"""What a recorder writes, when, and what may leave while nothing can be written."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from live.killing import Driver
from tables import ES, SECOND, START, table

from xtalgo import Instrument, Quote, Strategy
from xtalgo.client.aslive import LEAD, make_trader
from xtalgo.data.journal import JournalFailed
from xtalgo.engine.others import Adjustment
from xtalgo.engine.risk import RiskLimits
from xtalgo.live.recorder import (
    ADJUSTMENT,
    BRACKET,
    OFFSET,
    Birth,
    Recorder,
    adjustment_of,
    offset_of,
    plan_of,
)
from xtalgo.model.commands import CancelOrder, PlaceOrder
from xtalgo.model.instruments import ContractBook
from xtalgo.sim.feeds import TableFeed
from xtalgo.sim.fills import Fees, FillModel, Latency
from xtalgo.sim.server import SimServer


class Memory:
    """A keeper that remembers, and fails when it is told to."""

    def __init__(self) -> None:
        self.last_input = self.last_turn = self.last_decision = 0
        self.rows: list[tuple[Any, ...]] = []
        self.fails = False

    def of(self, name: str) -> list[tuple[Any, ...]]:
        return [row[1:] for row in self.rows if row[0] == name]

    def __getattr__(self, name: str) -> Any:
        def note(*facts: Any) -> None:
            if name in ("intent", "commit") and self.fails:
                raise JournalFailed("the disk is full")
            self.rows.append((name, *facts))

        return note


class Bracketer(Strategy):
    """Enters with a bracket at the third quote, with a limit at the fourth, and closes at the tenth."""

    instrument: Instrument = ES

    def on_start(self) -> None:
        self.seen = 0

    def on_quote(self, quote: Quote) -> None:
        self.seen += 1
        if self.seen == 3:
            self.buy(self.instrument, 2, stop_loss=40, take_profit=40)
        if self.seen == 4:
            self.buy(self.instrument, 1, limit_price=quote.bid - 10)
        if self.seen == 10:
            self.close(self.instrument)


class Lazy(Recorder):
    """Is handed the last of each input only when the next one comes."""

    is_lazy = True

    def flush(self) -> None:
        if not self.is_lazy:
            super().flush()

    def _input(self, kind: str, now: int, text: str | bytes) -> None:
        self.is_lazy = False
        super()._input(kind, now, text)
        self.is_lazy = True


def driver(kind: type[Recorder] = Recorder) -> tuple[Driver, Memory]:
    """A client and a server with quotes for 40 seconds, not connected; the client is recorded."""
    contracts = ContractBook()
    server = SimServer(
        TableFeed(table([4800.0] * 40), contracts),
        accounts=("Sim101",),
        contracts=contracts,
        fills=FillModel(),
        latency=Latency(entry=250_000_000, report=0),
        fees=Fees(),
    )
    trader = make_trader(
        [Bracketer()], contracts=contracts, accounts=("Sim101",), limits=RiskLimits(), run="r", real_allowed=True
    )
    found, memory = Driver(trader, server, START - LEAD), Memory()
    found.recorder, found.strike = kind(memory, trader), lambda _what: None
    return found, memory


@pytest.fixture
def played() -> tuple[Driver, Memory]:
    found, memory = driver()
    found.connect()
    found.run(START + 30 * SECOND)
    found.recorder.commit(found.now)
    return found, memory


def test_an_intent_comes_after_its_order_and_before_its_outcome(played: tuple[Driver, Memory]) -> None:
    _, memory = played
    names = [(name, *facts[:1]) for name, *facts in memory.rows]
    for place in [facts[0] for facts in memory.of("intent") if isinstance(facts[0], PlaceOrder)]:
        intent = names.index(("intent", place))
        assert any(row[0] == "order" and row[1].id == place.order_id for row in memory.rows[:intent])
        assert any(row[0] == "decision" for row in memory.rows[:intent])
        answered = [row for row in memory.of("outcome") if row[:2] == (place.order_id, "answered")]
        assert memory.rows.index(("outcome", *answered[0])) > intent
    assert len(memory.of("intent")) >= 5


def test_brackets_and_fills_are_kept_once(played: tuple[Driver, Memory]) -> None:
    found, memory = played
    assert [(facts[0], plan_of(facts[2])) for facts in memory.of("outcome") if facts[1] == BRACKET] == [
        ("r-1", found.trader.engine.seats["Bracketer"].desks["Sim101", ES].plans["r-1"])
    ]
    assert [fill.execution_id for (fill,) in memory.of("fill")] == [
        fill.execution_id for fill in found.trader.engine.blotter.fills
    ]


def test_decisions_belong_to_the_same_turns_whenever_they_are_handed_over(played: tuple[Driver, Memory]) -> None:
    found, memory = driver(Lazy)
    found.connect()
    found.run(START + 30 * SECOND)
    eager = played[1]
    assert len(eager.of("decision")) > 5
    assert memory.of("decision") == eager.of("decision")[: len(memory.of("decision"))]
    assert len(memory.of("decision")) >= len(eager.of("decision")) - 1
    assert memory.of("turn") == eager.of("turn")


def broken_at(second: int) -> Iterator[Any]:
    found, memory = driver()
    found.connect()
    found.run(START + second * SECOND)
    memory.fails = True
    found.recorder.commit(found.now)
    found.run(START + 30 * SECOND)
    memory.fails = False
    found.recorder.commit(found.now)
    yield from (found, memory)


def test_while_nothing_can_be_written_entries_stay_at_home() -> None:
    found, _ = broken_at(1)
    assert found.server.venue.orders == []
    orders = list(found.trader.engine.blotter.orders.values())
    assert [order.reason for order in orders] == [
        "not sent: the journal can't be written",
        "not sent: the journal can't be written",
    ]
    told = [notice.text for notice in found.trader.notices]
    assert told.count("entries stay at home: the disk is full") == 1
    assert told.count("the journal can be written again") == 1


def test_while_nothing_can_be_written_exits_closes_and_cancels_leave() -> None:
    found, memory = broken_at(8)
    assert found.trader.engine.ledger.account_position("Sim101", ES) == 0
    assert found.server.venue.ledger.account_position("Sim101", ES) == 0
    assert found.server.venue.working("Sim101") == []
    assert not any(isinstance(facts[0], CancelOrder) for facts in memory.of("intent"))


def test_notices_are_kept_though_whoever_shows_them_takes_them_away() -> None:
    found, memory = driver()
    trader = found.trader
    trader.tell(START, "one")
    found.recorder.flush()
    found.recorder.flush()
    trader.notices = []
    trader.tell(START, "two")
    trader.tell(START, "three")
    found.recorder.flush()
    assert memory.of("notice") == [(START, "one"), (START, "two"), (START, "three")]


def test_what_is_not_ours_is_kept_and_what_was_inherited_is_not_kept_again(played: tuple[Driver, Memory]) -> None:
    found, memory = played
    others = found.trader.engine.liaison.others
    first = Adjustment("Bracketer", "Sim101", ES, 1, 19_200, 0)
    others.inherit({("Sim101", ES): 3}, [first])
    memory.rows.clear()
    found.recorder.begin(START, Birth(2, "r.2", {"turns": (3, 4)}), 1, {("Sim101", ES): 3})
    found.recorder.flush()
    assert memory.of("outcome") == []
    second = Adjustment("Bracketer", "Sim101", ES, -1, 19_201, 2)
    others.adjustments.append(second)
    others.offsets = {("Sim101", "NQ 06-26"): -2}
    found.recorder.flush()
    found.recorder.flush()
    kept = [(facts[0], facts[1], facts[2]) for facts in memory.of("outcome")]
    assert [adjustment_of(text) for _, kind, text in kept if kind == ADJUSTMENT] == [second]
    assert dict(offset_of(text) for _, kind, text in kept if kind == OFFSET) == {
        ("Sim101", ES): 0,
        ("Sim101", "NQ 06-26"): -2,
    }
    assert {order_id for order_id, *_ in kept} == {""}
    (start,) = memory.of("input")
    assert start[2:] == ("start", '{"head":2,"run":"r.2","rows":{"turns":[3,4]}}')
