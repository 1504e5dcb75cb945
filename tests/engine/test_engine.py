"""The engine's turn: one event in, a list of commands out; and how quotes are brought to it makes no difference."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Sequence
from operator import length_hint
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import ES, MNQ, SECOND, START

from xtalgo import (
    AccountPnl,
    Bar,
    ConfigError,
    ContractBook,
    Fees,
    Fill,
    FillModel,
    Instrument,
    Latency,
    LinkDown,
    LinkUp,
    Order,
    OrderStatus,
    OrderType,
    Quote,
    QuoteTable,
    ReplaySettings,
    RiskLimits,
    Role,
    Side,
    Strategy,
    StrategyError,
)
from xtalgo.engine.engine import Engine
from xtalgo.engine.pacing import PacingQueue, slot_of
from xtalgo.model.commands import CancelOrder, ChangeOrder, PlaceOrder, Withdraw
from xtalgo.model.events import CancelRefused, Changed, ChangeRefused, OrderUpdate, Released, Stale, Tick
from xtalgo.model.types import NEVER, Trigger
from xtalgo.sim.exchange import SimExchange
from xtalgo.sim.replay import Replay

BUY, SELL = Side.BUY, Side.SELL


class Scripted(Strategy):
    """Does at its n-th quote what a test says; ``heard`` is what it was told, with seconds since START."""

    instrument: Instrument = ES
    do: Any = None
    journal: Any = None

    def on_start(self) -> None:
        self.row = -1
        self.made: dict[Any, Any] = {}
        self.heard: list[tuple[Any, ...]] = []
        self.act("start")

    def act(self, what: Any) -> None:
        if what in (self.do or {}):
            self.made[what] = self.do[what](self)

    def hear(self, *what: Any) -> None:
        self.heard.append(((self.now - START) / SECOND, *what))
        if self.journal is not None:
            self.journal.append((type(self).__name__, what[0]))

    def on_quote(self, quote: Quote) -> None:
        self.row += 1
        self.hear("quote")
        self.act(self.row)

    def on_bar(self, bar: Bar) -> None:
        self.hear("bar")

    def on_timer(self, tag: str) -> None:
        self.hear("timer")
        self.act(tag)

    def on_fill(self, fill: Fill) -> None:
        self.hear("fill", fill.quantity)

    def on_order(self, order: Order) -> None:
        self.hear("order", order.id, str(order.status))
        self.act(str(order.status))

    def on_pnl(self, pnl: AccountPnl) -> None:
        self.hear("pnl", pnl.account)

    def on_link(self, link: LinkUp | LinkDown) -> None:
        self.hear("link", type(link).__name__)


class First(Scripted):
    pass


class Second(Scripted):
    pass


def make(strategies: Sequence[Strategy], **given: Any) -> Engine:
    contracts = ContractBook()
    return Engine(strategies, contracts=contracts, pin=lambda text: contracts.pin(text, (ES, MNQ)), **given)


def begin(do: dict[Any, Callable[[Any], Any]] | None = None, **given: Any) -> tuple[Scripted, Engine]:
    """A started engine with one strategy."""
    strategy = Scripted(do=do)
    engine = make([strategy], **given)
    engine.start(START)
    return strategy, engine


def at(seconds: float, bid: float = 4800.0, instrument: str = ES) -> Quote:
    return Quote(START + round(seconds * SECOND), instrument, bid, bid + 0.25)


def fill(
    order: Order, seconds: float, *, quantity: int | None = None, price: float = 4800.25, name: str = "x1"
) -> Fill:
    ts = START + round(seconds * SECOND)
    size = order.quantity if quantity is None else quantity
    return Fill(ts, order.id, name, order.account, order.instrument, order.side, size, price, 2.0, ts)


def update(order: Order, seconds: float, trigger: Trigger, reason: str = "") -> OrderUpdate:
    return OrderUpdate(START + round(seconds * SECOND), order.id, trigger, reason)


def placed(engine: Engine, strategy: Scripted, seconds: float = 0.0) -> Order:
    """The order of row 0, sent but not answered."""
    (command,) = engine.handle(at(seconds))
    engine.handle(Released(engine.now, command))
    order = strategy.made[0]
    assert order.status is OrderStatus.SENT
    return order


# --- the turn -----------------------------------------------------------------------------------------------------


def test_an_engine_needs_a_strategy() -> None:
    with pytest.raises(ConfigError, match="there is no strategy to run"):
        make([])


def test_start_is_the_first_turn_and_may_order() -> None:
    strategy, engine = Scripted(do={"start": lambda s: s.buy(ES, 1)}), None
    engine = make([strategy])
    (command,) = engine.start(START)
    assert command == PlaceOrder("r-1", "Sim101", ES, BUY, OrderType.MARKET, 1)
    assert (strategy.now, strategy.made["start"].status) == (START, OrderStatus.QUEUED)


def test_a_wish_becomes_a_command_when_the_callback_has_returned() -> None:
    strategy, engine = begin({0: lambda s: [s.buy(ES, 2, limit_price=4790.0, tif="GTC", oco="g"), s.sell(MNQ, 1)]})
    commands = engine.handle(at(1))
    assert commands == [
        PlaceOrder("r-1", "Sim101", ES, BUY, OrderType.LIMIT, 2, 4790.0, None, "GTC", "g", Role.ENTRY),
        PlaceOrder("r-2", "Sim101", MNQ, SELL, OrderType.MARKET, 1),
    ]
    assert engine.handle(at(2)) == []
    assert [order.status for order in strategy.made[0]] == [OrderStatus.QUEUED] * 2


def test_within_the_callback_an_order_is_a_draft() -> None:
    strategy, engine = begin({0: lambda s: s.buy(ES, 2).status})
    engine.handle(at(1))
    assert strategy.made[0] is OrderStatus.DRAFT


def test_time_never_goes_back() -> None:
    strategy, engine = begin()
    for seconds in (1, 3, 2, 3, 5):
        engine.handle(at(seconds))
    assert [when for when, *_ in strategy.heard] == [1, 3, 3, 3, 5]
    engine.handle(AccountPnl(START, "Sim101", 0.0, 0.0))
    assert strategy.heard[-1][0] == 5
    engine.handle(Tick(START))
    assert engine.now == START + 5 * SECOND
    engine.feed([at(4), at(6)])
    assert [when for when, *_ in strategy.heard[-2:]] == [5, 6]


def test_the_books_come_first() -> None:
    """What a callback looks at has taken in the event already."""
    seen: list[Any] = []

    class Looker(Scripted):
        def on_quote(self, quote: Quote) -> None:
            seen.append((self.quote(ES) is quote, len(self.past), self.past.bid[-1]))

        def on_fill(self, fill: Fill) -> None:
            seen.append((self.position(ES), self.order.status, self.order.filled))

        def on_start(self) -> None:
            super().on_start()
            self.past = self.window(ES, 5)
            self.order = self.buy(ES, 2)

    strategy = Looker()
    engine = make([strategy])
    (command,) = engine.start(START)
    engine.handle(at(1, 4801.0))
    engine.handle(Released(START + SECOND, command))
    engine.handle(fill(strategy.order, 2, quantity=1))
    assert seen == [(True, 1, 4801.0), (1, OrderStatus.PARTIAL, 1)]


def test_strategies_are_called_in_the_order_of_their_registration() -> None:
    journal: list[tuple[str, str]] = []
    # The first subscribes last, the second asks for the bars: neither changes who comes first.
    first = First(journal=journal, instrument=MNQ, do={"start": lambda s: s.subscribe(ES)})
    second = Second(journal=journal, do={"start": lambda s: s.bars(ES, "1s", basis="mid")})
    engine = make([first, second])
    engine.start(START)
    engine.handle(at(0))
    engine.handle(Tick(START + SECOND))
    engine.handle(at(1))
    engine.handle(AccountPnl(START + SECOND, "Sim101", None, None))
    engine.handle(LinkDown(START + SECOND, "cable"))
    assert journal == [
        ("First", "quote"),
        ("Second", "quote"),
        ("Second", "bar"),
        ("First", "quote"),
        ("Second", "quote"),
        ("First", "pnl"),
        ("Second", "pnl"),
        ("First", "link"),
        ("Second", "link"),
    ]


def test_a_late_subscriber_is_called_in_its_place() -> None:
    journal: list[tuple[str, str]] = []
    first = First(journal=journal, instrument=MNQ, do={0: lambda s: s.subscribe(ES)})
    second = Second(journal=journal)
    engine = make([first, second])
    engine.start(START)
    engine.handle(at(0))
    engine.handle(at(1, 25000.0, MNQ))
    engine.handle(at(2))
    assert [name for name, _ in journal] == ["Second", "First", "First", "Second"]


def test_commands_come_in_the_order_of_the_strategies() -> None:
    pair = First(do={0: lambda s: s.buy(ES, 1)}), Second(do={0: lambda s: s.sell(ES, 2)})
    engine = make(pair)
    engine.start(START)
    assert [command.quantity for command in engine.handle(at(0))] == [1, 2]


def test_quotes_nobody_listens_to_are_taken_in() -> None:
    strategy, engine = begin()
    assert engine.handle(at(1, 25000.0, MNQ)) == []
    assert strategy.heard == []
    assert strategy.quote(MNQ).bid == 25000.0


def test_pnl_and_links_reach_those_concerned() -> None:
    strategy, engine = begin(accounts=("Sim101", "Apex-7"))
    engine.handle(AccountPnl(START, "Apex-7", 1.0, 2.0))
    engine.handle(AccountPnl(START, "Sim999", 1.0, 2.0))
    engine.handle(LinkDown(START + SECOND, "cable"))
    engine.handle(LinkUp(START + 2 * SECOND))
    assert strategy.heard == [(0, "pnl", "Apex-7"), (1, "link", "LinkDown"), (2, "link", "LinkUp")]


def test_the_snapshot_says_how_things_stand() -> None:
    strategy, engine = begin({0: lambda s: s.buy(ES, 2)}, limits=RiskLimits(max_order_quantity=2))
    order = placed(engine, strategy)
    engine.handle(fill(order, 1, quantity=1))
    view = engine.snapshot()
    (position,) = view.positions
    assert (view.now, view.open_orders, dict(view.denials), view.anomalies) == (START + SECOND, ("r-1",), {}, ())
    assert (position.owner, position.account, position.instrument) == ("Scripted", "Sim101", ES)
    assert (position.quantity, position.average_price, position.realized, position.fees) == (1, 4800.25, 0.0, 2.0)


# --- a callback that raises ---------------------------------------------------------------------------------------


def boom(s: Scripted) -> None:
    s.buy(ES, 1)
    s.order_target(MNQ, 3)
    s.after(1, "later")
    raise ValueError("boom")


BRINGERS: dict[str, Callable[[Engine, Quote], Any]] = {
    "handle": lambda engine, quote: engine.handle(quote),
    "feed": lambda engine, quote: engine.feed([quote]),
}


@pytest.mark.parametrize("bring", BRINGERS)
def test_the_wishes_of_a_callback_that_raises_are_dropped(bring: str) -> None:
    _, engine = begin({0: lambda s: s.buy(ES, 1, limit_price=4700.0), 1: boom})
    (command,) = BRINGERS[bring](engine, at(0))
    with pytest.raises(StrategyError, match="Scripted: ValueError: boom") as caught:
        BRINGERS[bring](engine, at(1))
    # Its own line is named, not the framework's.
    assert caught.value.file == __file__
    assert caught.value.line == boom.__code__.co_firstlineno + 4
    assert isinstance(caught.value.__cause__, ValueError)
    # Nothing comes of it later: no orders, no target, no timer. What was there before still is.
    assert BRINGERS[bring](engine, at(2)) == []
    assert engine.due > START + 10 * SECOND
    assert engine.handle(at(3, 25000.0, MNQ)) == []
    assert engine.snapshot().open_orders == (command.order_id,)
    assert [order.status for order in engine.blotter.orders.values()][1:] == [OrderStatus.CANCELLED] * 2


def test_the_wishes_of_the_whole_turn_are_dropped() -> None:
    """The other strategy's too, in whose callback nothing was wrong: a turn is one decision."""
    first, second = First(do={0: lambda s: s.buy(ES, 1)}), Second(do={0: boom})
    engine = make([first, second])
    engine.start(START)
    with pytest.raises(StrategyError, match="Second: ValueError: boom"):
        engine.handle(at(0))
    assert engine.handle(at(1)) == []
    assert first.made[0].status is OrderStatus.CANCELLED


def test_a_timer_or_report_that_raises_is_the_authors_too() -> None:
    strategy, engine = begin(
        {"start": lambda s: s.after(1, "t"), "t": boom, "working": boom, 0: lambda s: s.buy(ES, 1)}
    )
    order = placed(engine, strategy)
    with pytest.raises(StrategyError, match="boom"):
        engine.handle(update(order, 0.5, Trigger.ACCEPT))
    assert order.status is OrderStatus.WORKING  # the books come first, and stay
    with pytest.raises(StrategyError, match="boom"):
        engine.handle(Tick(START + SECOND))
    assert engine.handle(at(2)) == []
    assert engine.snapshot().open_orders == ("r-1",)


def test_on_start_may_raise() -> None:
    with pytest.raises(StrategyError, match="boom"):
        begin({"start": boom})


# --- denials ------------------------------------------------------------------------------------------------------


def test_a_denial_is_seen_at_the_next_turn() -> None:
    strategy, engine = begin({0: lambda s: s.buy(ES, 5)}, limits=RiskLimits(max_order_quantity=2))
    assert engine.handle(at(0)) == []
    assert strategy.made[0].status is OrderStatus.DENIED
    assert strategy.heard == [(0, "quote")]
    engine.handle(at(1))
    assert strategy.heard == [(0, "quote"), (1, "order", "r-1", "denied"), (1, "quote")]
    assert dict(engine.snapshot().denials) == {"order_size": 1}


@pytest.mark.parametrize("event", [Tick(START + SECOND), LinkUp(START + SECOND), at(1), at(1, 25000.0, MNQ)])
def test_any_event_is_a_next_turn(event: Any) -> None:
    do = {0: lambda s: s.buy(ES, 5), "start": lambda s: s.after(1, "t")}
    strategy, engine = begin(do, limits=RiskLimits(max_order_quantity=2))
    engine.handle(at(0))
    engine.handle(event)
    assert strategy.heard[1] == (1, "order", "r-1", "denied")


def test_an_order_for_every_denial_is_one_order_a_turn() -> None:
    """A strategy that answers each denial with the same order can't go round in circles within a turn."""
    do = {0: lambda s: s.buy(ES, 5), "denied": lambda s: s.buy(ES, 5)}
    _, engine = begin(do, limits=RiskLimits(max_order_quantity=2))
    for seconds in range(5):
        assert engine.handle(at(seconds)) == []
    assert dict(engine.snapshot().denials) == {"order_size": 5}


def test_what_a_denial_makes_a_strategy_do_comes_out_of_that_turn() -> None:
    do = {0: lambda s: s.buy(ES, 5), "denied": lambda s: s.buy(ES, 1)}
    for bring in BRINGERS.values():
        _, engine = begin(do, limits=RiskLimits(max_order_quantity=2))
        bring(engine, at(0))
        (command,) = bring(engine, at(1))
        assert command.quantity == 1


# --- evidence -----------------------------------------------------------------------------------------------------


def test_an_order_goes_its_way() -> None:
    strategy, engine = begin({0: lambda s: s.buy(ES, 2)})
    order = placed(engine, strategy)
    engine.handle(update(order, 1, Trigger.ACCEPT))
    engine.handle(fill(order, 2, quantity=1, price=4800.0, name="x1"))
    engine.handle(fill(order, 3, quantity=1, price=4801.0, name="x2"))
    assert (order.status, order.filled, order.average_price) == (OrderStatus.FILLED, 2, 4800.5)
    assert strategy.heard[1:] == [
        (1, "order", "r-1", "working"),
        (2, "fill", 1),
        (2, "order", "r-1", "partial"),
        (3, "fill", 1),
        (3, "order", "r-1", "filled"),
    ]
    assert strategy.position(ES) == 2


def test_a_duplicate_fill_is_harmless() -> None:
    strategy, engine = begin({0: lambda s: s.buy(ES, 2)})
    order = placed(engine, strategy)
    engine.handle(fill(order, 1, quantity=1))
    heard = list(strategy.heard)
    assert engine.handle(fill(order, 2, quantity=1)) == []
    assert (strategy.position(ES), order.filled, strategy.heard) == (1, 1, heard)
    assert engine.snapshot().anomalies == ()
    engine.handle(fill(order, 3, quantity=1, name="x2"))
    assert (strategy.position(ES), order.status) == (2, OrderStatus.FILLED)


def test_a_fill_may_come_before_the_acknowledgement() -> None:
    strategy, engine = begin({0: lambda s: s.buy(ES, 2)})
    order = placed(engine, strategy)
    engine.handle(fill(order, 1))
    engine.handle(update(order, 2, Trigger.ACCEPT))
    assert order.status is OrderStatus.FILLED
    assert strategy.heard[1:] == [(1, "fill", 2), (1, "order", "r-1", "filled")]
    assert engine.snapshot().anomalies == ()


def test_a_repeated_acknowledgement_is_no_news() -> None:
    strategy, engine = begin({0: lambda s: s.buy(ES, 2)})
    order = placed(engine, strategy)
    for seconds in (1, 2):
        engine.handle(update(order, seconds, Trigger.ACCEPT))
    assert strategy.heard[1:] == [(1, "order", "r-1", "working")]
    assert engine.snapshot().anomalies == ()


@pytest.mark.parametrize("ending", [Trigger.CANCEL, Trigger.EXPIRE, Trigger.REJECT])
def test_a_fill_after_the_end_is_booked_and_only_it_corrects_the_end(ending: Trigger) -> None:
    strategy, engine = begin({0: lambda s: s.buy(ES, 2)})
    order = placed(engine, strategy)
    engine.handle(update(order, 1, ending, "so it says"))
    status = order.status
    assert order.is_done
    assert order.reason == "so it says"
    engine.handle(update(order, 2, Trigger.ACCEPT))
    assert order.status is status
    assert len(engine.snapshot().anomalies) == 1
    engine.handle(fill(order, 3, quantity=1, name="x1"))
    assert (order.status, order.filled, strategy.position(ES)) == (status, 1, 1)
    engine.handle(fill(order, 4, quantity=1, name="x2"))
    assert (order.status, order.filled, strategy.position(ES)) == (OrderStatus.FILLED, 2, 2)
    assert len(engine.snapshot().anomalies) == 1


def test_a_cancel_after_the_fill_is_an_anomaly_and_changes_nothing() -> None:
    strategy, engine = begin({0: lambda s: s.buy(ES, 2)})
    order = placed(engine, strategy)
    engine.handle(fill(order, 1))
    engine.handle(update(order, 2, Trigger.CANCEL, "too late"))
    assert (order.status, order.reason) == (OrderStatus.FILLED, "")
    (anomaly,) = engine.snapshot().anomalies
    assert (anomaly.ts, anomaly.order_id, anomaly.text) == (
        START + 2 * SECOND,
        "r-1",
        "cancel does not fit an order that is filled",
    )


def test_an_overfill_is_a_fact_and_an_anomaly() -> None:
    strategy, engine = begin({0: lambda s: s.buy(ES, 2)})
    order = placed(engine, strategy)
    engine.handle(fill(order, 1, quantity=3))
    assert (order.status, order.filled, order.remaining, strategy.position(ES)) == (OrderStatus.FILLED, 3, 0, 3)
    assert [anomaly.text for anomaly in engine.snapshot().anomalies] == ["filled 3 of 2"]


@pytest.mark.parametrize(
    "event",
    [
        OrderUpdate(START + SECOND, "zz-9", Trigger.ACCEPT),
        OrderUpdate(START + SECOND, "zz-9", Trigger.CANCEL, "whose?"),
        Changed(START + SECOND, "zz-9", 1, None, None),
        ChangeRefused(START + SECOND, "zz-9", "whose?"),
        CancelRefused(START + SECOND, "zz-9", "whose?"),
        Fill(START + SECOND, "zz-9", "x1", "Sim101", ES, BUY, 1, 4800.0, 2.0, START),
    ],
)
def test_news_of_an_unknown_order_is_an_anomaly(event: Any) -> None:
    strategy, engine = begin()
    assert engine.handle(event) == []
    (anomaly,) = engine.snapshot().anomalies
    assert (anomaly.ts, anomaly.order_id) == (START + SECOND, "zz-9")
    assert type(event).__name__ in anomaly.text
    assert (strategy.position(ES), strategy.account_position(ES), strategy.heard) == (0, 0, [])


def test_a_stale_entry_ends_unsent_and_its_strategy_hears_why() -> None:
    strategy, engine = begin({0: lambda s: s.buy(ES, 1)})
    (command,) = engine.handle(at(0))
    engine.handle(Stale(START + 2 * SECOND, command))
    order = strategy.made[0]
    assert (order.status, order.is_done) == (OrderStatus.CANCELLED, True)
    assert "too long" in order.reason
    assert strategy.heard[1:] == [(2, "order", "r-1", "cancelled")]


def test_a_refused_cancel_is_no_evidence_of_the_end() -> None:
    strategy, engine = begin({0: lambda s: s.buy(ES, 1, limit_price=4790.0), 1: lambda s: s.cancel(s.made[0])})
    order = placed(engine, strategy)
    engine.handle(update(order, 0.5, Trigger.ACCEPT))
    (cancel,) = engine.handle(at(1))
    assert cancel == CancelOrder("r-1", "Sim101")
    engine.handle(Released(engine.now, cancel))
    assert order.pending_cancel
    engine.handle(CancelRefused(START + 2 * SECOND, "r-1", "not found or already terminal"))
    assert (order.status, order.pending_cancel) == (OrderStatus.WORKING, False)
    engine.handle(fill(order, 3, price=4790.0))
    assert (order.status, strategy.position(ES)) == (OrderStatus.FILLED, 1)


def test_a_cancel_that_was_refused_may_be_asked_for_again() -> None:
    """The order still works as far as anybody knows: a second wish to cancel it goes out, though not at once."""
    do = {0: lambda s: s.buy(ES, 1, limit_price=4790.0)} | dict.fromkeys((1, 2), lambda s: s.cancel(s.made[0]))
    strategy, engine = begin(do)
    order = placed(engine, strategy)
    engine.handle(update(order, 0.5, Trigger.ACCEPT))
    (cancel,) = engine.handle(at(1))
    engine.handle(Released(engine.now, cancel))
    engine.handle(CancelRefused(START + 2 * SECOND, "r-1", "busy"))
    sent = [*engine.handle(at(3)), *engine.handle(Tick(START + 60 * SECOND))]
    assert sent == [cancel]


def test_a_withdrawn_place_is_taken_back_by_its_key() -> None:
    _, engine = begin({0: lambda s: s.buy(ES, 1), 1: lambda s: s.cancel(s.made[0])})
    (command,) = engine.handle(at(0))
    assert engine.handle(at(1)) == [Withdraw(slot_of(command).key)]


def test_a_cancel_of_a_draft_leaves_nothing_to_send() -> None:
    _, engine = begin({0: lambda s: s.cancel(s.buy(ES, 1))})
    left: dict[str, Any] = {}
    for command in engine.handle(at(0)):
        if isinstance(command, Withdraw):
            left.pop(command.key)
        else:
            left[slot_of(command).key] = command
    assert left == {}


# --- time ---------------------------------------------------------------------------------------------------------


def test_a_tick_runs_what_is_due_each_at_its_own_time() -> None:
    do = {
        "start": lambda s: [s.after(3, "c"), s.after(1, "a"), s.after(2, "b"), s.after(2, "b2"), s.after(9, "z")],
        "a": lambda s: s.buy(ES, 1),
        "b": lambda s: s.buy(ES, 2),
        "c": lambda s: s.after(0.5, "d"),
        "d": lambda s: s.buy(ES, 3),
    }
    strategy, engine = begin(do)
    assert engine.due == START + SECOND
    commands = engine.handle(Tick(START + 5 * SECOND))
    assert [command.quantity for command in commands] == [1, 2, 3]
    assert [when for when, *_ in strategy.heard] == [1, 2, 2, 3, 3.5]
    assert [order.created - START for order in engine.blotter.orders.values()] == [SECOND, 2 * SECOND, 7 * SECOND // 2]
    assert engine.now == START + 5 * SECOND
    assert engine.due == START + 9 * SECOND


def test_a_late_tick_does_not_turn_time_back() -> None:
    strategy, engine = begin({"start": lambda s: s.after(1, "a")})
    engine.handle(at(3))
    engine.handle(Tick(START + 2 * SECOND))
    assert strategy.heard == [(3, "quote"), (3, "timer")]


def test_a_cancelled_timer_does_not_run() -> None:
    strategy, engine = begin({"start": lambda s: s.after(1, "a"), 0: lambda s: s.made["start"].cancel()})
    engine.handle(at(0))
    engine.handle(Tick(START + 2 * SECOND))
    assert strategy.heard == [(0, "quote")]


def test_without_timers_only_the_trading_day_is_due() -> None:
    # START is 10:00 in New York on a Wednesday; the next trading day begins at 18:00, eight hours later.
    _, engine = begin()
    assert engine.due in (START + 8 * 3_600 * SECOND, NEVER)


# --- feed is handle without the calls in between ------------------------------------------------------------------


class Busy(Strategy):
    """Looks at everything it can and does something nearly always; ``log`` tells two runs apart where they part.

    What it does next hangs on all it has seen so far: one different window, bar, fill or stamp and it goes elsewhere.
    """

    instrument: Instrument = ES
    other: Instrument = MNQ
    seed: int = 0

    def on_start(self) -> None:
        self.state = self.seed
        self.log: list[int] = []
        self.mine: list[Order] = []
        self.past = self.window(self.instrument, 5)
        self.far = self.window(self.other, 1)
        self.short = self.bars(self.instrument, "5s")
        self.every(3.7, "t")

    def think(self, *facts: Any) -> int:
        self.state = zlib.crc32(repr((self.now, *facts)).encode(), self.state)
        self.log.append(self.state)
        return self.state

    def on_quote(self, quote: Quote) -> None:
        orders = [(order.id, str(order.status), order.filled, order.quantity) for order in self.orders()]
        self.think(quote, self.position(self.instrument), orders)
        self.think(self.past.bid.tolist(), self.past.ts.tolist(), self.past.ask_size.tolist(), self.far.mid.tolist())
        self.act(quote)

    def on_bar(self, bar: Bar) -> None:
        if self.think(bar, len(self.short)) % 4 == 0:
            self.order_target(self.other, bar.quotes % 3 - 1)

    def on_timer(self, tag: str) -> None:
        if self.think(tag) % 3 == 0:
            self.after(0.3 + self.state % 7 / 5, "again")

    def on_fill(self, fill: Fill) -> None:
        self.think(fill)

    def on_order(self, order: Order) -> None:
        if self.think(order.id, str(order.status), order.reason) % 11 == 0:
            self.cancel_all()

    def act(self, quote: Quote) -> None:
        name, size = quote.instrument, 1 + self.state // 64 % 3
        match self.state % 16:
            case 0:
                self.mine.append(self.buy(name, size))
            case 1:
                self.mine.append(self.sell(name, size, stop_loss=3, take_profit=size))
            case 2:
                self.mine.append(self.buy(name, size, limit_price=quote.bid - 0.25 * size, stop_loss=2))
            case 3:
                self.mine.append(self.sell(name, size, stop_price=quote.bid - 0.5, tif="GTC"))
            case 11:
                self.mine.append(self.buy(name, size, stop_price=quote.ask + 0.5, limit_price=quote.ask + 0.75))
            case 4:
                self.order_target(name, size - 2)
            case 5:
                self.close(name)
            case 6 if self.mine:
                self.change(self.mine[-1], quantity=size + 1)
            case 7 if self.mine:
                self.cancel(self.mine[-1])
            case 8:
                self.flatten()
            case 9:
                self.bars(name, f"{size}s")
            case 10:
                self.after(size / 3, "soon")
            case 12:
                for _ in range(8 * size):
                    self.mine.append(self.buy(name, 1, limit_price=quote.bid - 20))


def random_walk(seed: int, count: int) -> QuoteTable:
    """ES and MNQ in turn at odd, sometimes equal, stamps, with sizes, new trades and a crossed quote now and then."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, 2, count)
    gaps = random.choice([0, 0.1, 0.4, 1.0, 1.0, 2.5], count)
    steps = random.integers(-2, 3, count) * 0.25
    bids = np.where(codes == 0, 4800.0, 25000.0)
    for code in (0, 1):
        bids[codes == code] += np.cumsum(steps[codes == code])
    spreads = random.choice([-1, 0, 1, 1, 1, 2], count) * 0.25
    return QuoteTable.from_rows(
        (ES, MNQ),
        codes,
        START + np.round(np.cumsum(gaps) * SECOND).astype(np.int64),
        bids,
        bids + spreads,
        bids + random.choice([0, 0.25], count),
        np.cumsum(random.integers(0, 3, count)),
        random.integers(0, 4, count),
        random.integers(0, 4, count),
    )


def answer(engine: Engine, commands: Iterable[Any], last: dict[str, Quote]) -> None:
    """A venue without delay: everything is taken, market orders are filled, cancels succeed."""
    waiting: dict[str, Any] = {}

    def queue(new: Iterable[Any]) -> None:
        for command in new:
            if isinstance(command, Withdraw):
                waiting.pop(command.key, None)
            else:
                waiting[slot_of(command).key] = command

    queue(commands)
    while waiting:
        command = waiting.pop(next(iter(waiting)))
        now = engine.now
        queue(engine.handle(Released(now, command)))
        match command:
            case PlaceOrder():
                queue(engine.handle(OrderUpdate(now, command.order_id, Trigger.ACCEPT)))
                if command.type is OrderType.MARKET and (quote := last.get(command.instrument)) is not None:
                    order = engine.blotter.orders[command.order_id]
                    execution = fill(order, (now - START) / SECOND, price=quote.ask, name=f"x-{order.id}")
                    queue(engine.handle(execution))
            case ChangeOrder():
                order = engine.blotter.orders[command.order_id]
                if order.is_open:
                    quantity = order.quantity if command.quantity is None else command.quantity
                    queue(engine.handle(Changed(now, order.id, quantity, order.limit_price, order.stop_price)))
            case CancelOrder():
                if engine.blotter.orders[command.order_id].is_open:
                    queue(engine.handle(OrderUpdate(now, command.order_id, Trigger.CANCEL)))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 150))
def test_feed_equals_handle_quote_by_quote(seed: int, count: int) -> None:
    quotes = random_walk(seed, count).quotes(0, count)
    limits = RiskLimits(max_order_quantity=2, max_orders_per_minute=30)

    one_by_one = [Busy(seed=seed), Busy(seed=seed + 1)]
    slow = make(one_by_one, limits=limits)
    last: dict[str, Quote] = {}
    answer(slow, slow.start(quotes[0].ts), last)
    for quote in quotes:
        while slow.due <= quote.ts:
            answer(slow, slow.handle(Tick(slow.due)), last)
        commands = slow.handle(quote)
        last[quote.instrument] = quote
        answer(slow, commands, last)

    in_batches = [Busy(seed=seed), Busy(seed=seed + 1)]
    fast = make(in_batches, limits=limits)
    last = {}
    answer(fast, fast.start(quotes[0].ts), last)
    row = 0
    while row < count:
        if fast.due <= quotes[row].ts:
            answer(fast, fast.handle(Tick(fast.due)), last)
            continue
        reach = row
        while reach < count and quotes[reach].ts < fast.due:
            reach += 1
        batch = iter(quotes[row:reach])
        commands = fast.feed(batch)
        taken = reach - row - length_hint(batch)
        assert taken > 0
        last |= {quote.instrument: quote for quote in quotes[row : row + taken]}
        row += taken
        answer(fast, commands, last)

    assert [strategy.log for strategy in in_batches] == [strategy.log for strategy in one_by_one]
    assert fast.decisions == slow.decisions
    assert (fast.now, fast.due, fast.snapshot()) == (slow.now, slow.due, slow.snapshot())
    assert [strategy.quote(name) for strategy in in_batches for name in (ES, MNQ)] == [
        strategy.quote(name) for strategy in one_by_one for name in (ES, MNQ)
    ]


def test_feed_stops_at_a_quote_that_leaves_something_to_be_done() -> None:
    _, engine = begin({1: lambda s: s.buy(ES, 1)})
    quotes = iter([at(0), at(1), at(2), at(3)])
    (command,) = engine.feed(quotes)
    assert command.quantity == 1
    assert next(quotes) == at(2)


def test_feed_takes_all_quotes_when_nobody_acts() -> None:
    strategy, engine = begin()
    quotes = iter([at(0), at(1), at(2)])
    assert engine.feed(quotes) == []
    assert list(quotes) == []
    assert len(strategy.heard) == 3
    assert engine.feed(()) == []


def test_feed_stops_for_a_timer_so_that_it_is_not_overrun() -> None:
    """A timer set at a quote may be due before the next one: the driver must get the chance to look."""
    strategy, engine = begin({0: lambda s: s.after(0.5, "t")})
    quotes = iter([at(0), at(1)])
    assert engine.feed(quotes) == []
    assert engine.due == START + SECOND // 2
    assert list(quotes) == [at(1)]
    assert strategy.heard == [(0, "quote")]


# --- live-like and in replay --------------------------------------------------------------------------------------


def drive(strategies: Sequence[Strategy], table: QuoteTable, how: ReplaySettings) -> tuple[Engine, list[Fill]]:
    """A second driver, as simple as can be: every event by ``handle``, the past in buffers, one quote at a time."""
    contracts = ContractBook()
    last: dict[str, Quote] = {}
    engine = make(strategies, accounts=how.accounts, limits=how.limits)
    exchange = SimExchange(contracts.contract, last.get, how.fills, how.latency, how.fees)
    queue: PacingQueue[Any] = PacingQueue()

    def send(commands: Iterable[Any]) -> None:
        for command in commands:
            if isinstance(command, Withdraw):
                queue.remove(command.key)
            else:
                slot = slot_of(command)
                queue.push(command, slot.lane, engine.now, ttl=slot.ttl, key=slot.key)
        release(engine.now)

    def release(now: int) -> None:
        while (entry := queue.pop(now)) is not None:
            follow = engine.handle(Released(now, entry.item, now - entry.queued))
            exchange.submit(entry.item, now)
            send(follow)

    quotes = table.quotes(0, len(table))
    send(engine.start(quotes[0].ts))
    for quote in quotes:
        while (due := min(engine.due, queue.due(engine.now), exchange.due)) <= quote.ts:
            if engine.due <= due:
                send(engine.handle(Tick(due)))
            elif queue.due(due) <= due:
                for command in queue.expired(due):
                    # Unless its strategy cancelled it on hearing of the one before.
                    if engine.blotter.orders[command.order_id].is_open:
                        send(engine.handle(Stale(due, command)))
                release(due)
            else:
                for report in exchange.advance(due):
                    send(engine.handle(report))
        exchange.match(quote)
        commands = engine.handle(quote)
        last[quote.instrument] = quote
        send(commands)
    return engine, exchange.executions


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 200),
    entry=st.sampled_from([0, 250, 1_500]),
    report=st.sampled_from([0, 1_000]),
    daily_loss=st.sampled_from([None, 100.0]),
)
def test_live_like_and_replay_decide_the_same(
    seed: int, count: int, entry: int, report: int, daily_loss: float | None
) -> None:
    table = random_walk(seed, count)
    how = ReplaySettings(
        fills=FillModel(oco="cancel" if seed % 2 else "reduce"),
        latency=Latency(entry=entry * 1_000_000, report=report * 1_000_000),
        fees=Fees(commission=2.0),
        limits=RiskLimits(daily_loss=daily_loss),
    )
    live = [Busy(seed=seed), Busy(seed=seed + 1)]
    engine, executions = drive(live, table, how)

    recorded = [Busy(seed=seed), Busy(seed=seed + 1)]
    run = Replay(recorded, table, how)
    result = run.run()

    assert result.decisions[: run.decided] == tuple(engine.decisions)
    assert result.fills[: len(executions)] == tuple(executions)
    for one, other in zip(live, recorded, strict=True):
        assert one.log == other.log[: len(one.log)]
    assert all(fill.executed <= int(table.ts.max()) for fill in result.fills)


def test_a_long_past_is_the_same_in_buffers_and_in_the_recording() -> None:
    """Long enough for the buffers to move on more than once."""
    table, how = random_walk(5, 2_500), ReplaySettings()
    live, recorded = Busy(seed=5), Busy(seed=5)
    engine, _ = drive([live], table, how)
    run = Replay([recorded], table, how)
    run.run()
    assert run.engine.decisions[: run.decided] == engine.decisions
    assert recorded.log[: len(live.log)] == live.log


def test_busy_is_busy() -> None:
    """The strategy above is only worth something if it does a bit of everything."""
    kinds: set[Any] = set()
    triggers: set[str] = set()
    for seed in range(15):
        run = Replay([Busy(seed=seed)], random_walk(seed, 200))
        result = run.run()
        kinds |= {decision[1] for decision in result.decisions}
        kinds |= {order.role for order in result.order_book} | {order.type for order in result.order_book}
        triggers |= {str(order.status) for order in result.order_book}
    assert kinds >= {"place", "change", "cancel", "stale", *Role, *OrderType}
    assert triggers >= {"filled", "cancelled", "rejected", "working"}
