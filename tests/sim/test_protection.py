"""A stop or target never exceeds the position it protects: at the exchange, at every moment, whatever happens."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables import ES, SECOND, table

from xtalgo import (
    Fees,
    FillModel,
    Instrument,
    Latency,
    OrderStatus,
    Quote,
    ReplaySettings,
    Role,
    Side,
    Strategy,
)
from xtalgo.sim.exchange import SimExchange
from xtalgo.sim.replay import Replay

VERBS = ("enter", "enter_limit", "reduce", "target", "target_flat", "close", "flatten", "cancel_all", "move", "nothing")


class Script(Strategy):
    """Does what it is told, quote by quote, on one side of the market."""

    instrument: Instrument = ES
    side: int = 1

    def on_start(self) -> None:
        self.script: list[tuple[str, int]] = []
        self.entries: list[Any] = []
        self.row = -1

    def on_quote(self, quote: Quote) -> None:
        self.row += 1
        if self.row < len(STEPS):
            verb, size = STEPS[self.row]
            getattr(self, f"do_{verb}")(quote, size)

    def enter(self, quantity: int, **given: Any) -> Any:
        return (self.buy if self.side > 0 else self.sell)(self.instrument, quantity, **given)

    def do_enter(self, quote: Quote, size: int) -> None:
        self.entries.append(self.enter(size, stop_loss=2 + size, take_profit=size))

    def do_enter_limit(self, quote: Quote, size: int) -> None:
        price = quote.bid - 0.25 if self.side > 0 else quote.ask + 0.25
        self.entries.append(self.enter(size, limit_price=price, stop_loss=3))

    def do_reduce(self, quote: Quote, size: int) -> None:
        held = abs(self.position(self.instrument))
        if held:
            (self.sell if self.side > 0 else self.buy)(self.instrument, min(size, held))

    def do_target(self, quote: Quote, size: int) -> None:
        self.order_target(self.instrument, self.side * size)

    def do_target_flat(self, quote: Quote, size: int) -> None:
        self.order_target(self.instrument, 0)

    def do_close(self, quote: Quote, size: int) -> None:
        self.close(self.instrument)

    def do_flatten(self, quote: Quote, size: int) -> None:
        self.flatten()

    def do_cancel_all(self, quote: Quote, size: int) -> None:
        self.cancel_all()

    def do_move(self, quote: Quote, size: int) -> None:
        for entry in self.entries[-2:]:
            if entry.average_price is not None:
                self.change(entry, stop_loss=3 + size)

    def do_nothing(self, quote: Quote, size: int) -> None:
        pass


STEPS: list[tuple[str, int]] = []


def check(run: Replay) -> None:
    """The law itself, on what the exchange holds right now."""
    position = sum(fill.side * fill.quantity for fill in run.exchange.executions)
    groups: dict[str, int] = defaultdict(int)
    for order in run.exchange.resting.get(ES, ()):
        known = run.engine.blotter.orders[order.id]
        if known.role in (Role.STOP_LOSS, Role.TAKE_PROFIT):
            assert order.side * position < 0, f"exit {order.id} ({order.side:+d}) with a position of {position}"
            groups[order.oco or order.id] = max(groups[order.oco or order.id], order.remaining)
    assert sum(groups.values()) <= abs(position)


@pytest.fixture
def watched(monkeypatch: pytest.MonkeyPatch) -> list[Replay]:
    """Check after everything that can change what rests at the exchange."""
    runs: list[Replay] = []
    match, arrive = SimExchange.match, SimExchange._arrive

    def checked_match(self: SimExchange, quote: Quote) -> bool:
        happened = match(self, quote)
        check(runs[-1])
        return happened

    def checked_arrive(self: SimExchange, command: Any, now: int) -> None:
        arrive(self, command, now)
        check(runs[-1])

    monkeypatch.setattr(SimExchange, "match", checked_match)
    monkeypatch.setattr(SimExchange, "_arrive", checked_arrive)
    return runs


@settings(deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    steps=st.lists(st.tuples(st.sampled_from(VERBS), st.integers(1, 4)), min_size=1, max_size=40),
    moves=st.lists(st.integers(-3, 3), min_size=60, max_size=60),
    sizes=st.lists(st.integers(0, 4), min_size=60, max_size=60),
    side=st.sampled_from([1, -1]),
    oco=st.sampled_from(["cancel", "reduce"]),
    entry=st.sampled_from([0, 250, 1_500]),
    report=st.sampled_from([0, 1_000, 4_000]),
)
def test_exits_never_exceed_the_position(
    watched: list[Replay],
    steps: list[tuple[str, int]],
    moves: list[int],
    sizes: list[int],
    side: int,
    oco: Any,
    entry: int,
    report: int,
) -> None:
    bids = [4800.0]
    for move in moves:
        bids.append(bids[-1] + move * 0.25)
    # A quiet tail with size on both sides lets everything come to rest.
    quotes = table([*bids, *[bids[-1]] * 60], sizes=[*sizes, *[50] * 61])
    run = Replay(
        [Script(side=side)],
        quotes,
        ReplaySettings(
            fills=FillModel(oco=oco),
            latency=Latency(entry=entry * SECOND // 1_000, report=report * SECOND // 1_000),
            fees=Fees(commission=0.0),
        ),
    )
    watched.append(run)
    STEPS[:] = steps
    result = run.run()
    # In the end the books agree with the exchange, every order that is not resting is over, and no id was doubled.
    position = sum(fill.side * fill.quantity for fill in result.fills)
    assert sum(book.position for book in run.engine.ledger.books.values()) == position
    resting = {order.id for order in run.exchange.resting.get(ES, ())}
    assert {order.id for order in result.order_book if order.is_open} == resting
    assert not run.engine.blotter.anomalies
    assert run.queue.waiting == 0
    if position * side > 0 and all(verb != "target" for verb, _ in steps):
        # Everything came of bracketed entries, so all that is left is protected, to the contract.
        assert sum(o.remaining for o in result.order_book if o.role is Role.STOP_LOSS) == abs(position)


def test_a_refused_stop_closes_the_position() -> None:
    """The market falls through the stop before it arrives: it is rejected, and the position is closed."""

    class Once(Strategy):
        instrument: Instrument = ES

        def on_quote(self, quote: Quote) -> None:
            if self.orders() == [] and not self.position(self.instrument) and self.now == quotes.ts[0]:
                self.buy(self.instrument, 2, stop_loss=4)

    quotes = table([4800.0, 4800.0, 4790.0, 4790.0, 4790.0, 4790.0, 4790.0, 4790.0])
    result = Replay([Once()], quotes).run()
    stop = next(order for order in result.order_book if order.role is Role.STOP_LOSS)
    assert stop.status is OrderStatus.REJECTED
    assert "not below the market" in stop.reason
    close = result.fills[-1]
    assert (close.side, close.quantity) == (Side.SELL, 2)
    assert result.order_book[-1].role is Role.CLOSE
    # Seen at 2 s, stop refused at 2.25 s, closed on the quote at 3 s.
    assert close.executed - quotes.ts[0] == 3 * SECOND
