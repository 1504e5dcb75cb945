"""An engine that takes over what an earlier life of its run left."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest
from engine.asked import SECOND, Asked, Idle, execution, row
from tables import ES, START

from xtalgo import Order, OrderStatus
from xtalgo.engine.brackets import Plan
from xtalgo.engine.engine import Engine
from xtalgo.engine.others import Adjustment
from xtalgo.engine.reconcile import ROW
from xtalgo.engine.recovery import restore
from xtalgo.model.commands import Ask, CancelOrder, ChangeOrder, PlaceOrder
from xtalgo.model.errors import ConfigError
from xtalgo.model.events import Fill, LinkUp
from xtalgo.model.instruments import ContractBook
from xtalgo.model.reports import PositionReport, Standing
from xtalgo.model.types import OrderType, Role, Side, TimeInForce

LATER = START + 100 * SECOND


class Heir(Idle):
    """Remembers what it finds at its start."""

    def on_start(self) -> None:
        super().on_start()
        self.found = (self.position(ES), [order.id for order in self.orders()])


class Second(Asked):
    """The second life of a run whose engine is driven by hand; the link is yet to come."""

    strategy: Heir

    def __init__(
        self,
        orders: Iterable[Order] = (),
        fills: Iterable[Fill] = (),
        left: Iterable[str] = (),
        plans: Mapping[str, Plan] | None = None,
        **others: Any,
    ) -> None:
        super().__init__(ready=False)
        self.now, self.strategy = LATER, Heir()
        self.engine = Engine(
            [self.strategy], contracts=ContractBook(), pin=str, accounts=("Sim101",), run="r.2", asks=True
        )
        self.doubtful = restore(self.engine, orders, fills, set(left), plans or {}, LATER, **others)

    def connect(self, *rows: Any, fills: Iterable[Any] = (), position: int = 0) -> None:
        """The link comes up, the first lists are these, and the strategy starts."""
        self.hear(LinkUp(self.now))
        self.see(*rows)
        self.see(*fills, ask=Ask.EXECUTIONS)
        self.positions(position)
        self.out += self.engine.start(self.now)

    def order(self, order_id: str) -> Order:
        return self.engine.blotter.orders[order_id]


def recorded(number: int, status: OrderStatus, **changes: Any) -> Order:
    """An order as a journal has it."""
    facts: dict[str, Any] = {
        "id": f"r-{number}",
        "owner": "Heir",
        "account": "Sim101",
        "instrument": ES,
        "side": Side.BUY,
        "type": OrderType.MARKET,
        "quantity": 2,
        "limit_price": None,
        "stop_price": None,
        "tif": TimeInForce.DAY,
        "oco": None,
        "role": Role.ENTRY,
        "created": START + number,
        "status": status,
        "is_done": status.is_done,
    }
    return Order(**(facts | changes))


def stop(number: int, status: OrderStatus = OrderStatus.WORKING, **changes: Any) -> Order:
    facts = {
        "side": Side.SELL,
        "type": OrderType.STOP_MARKET,
        "stop_price": 4790.0,
        "role": Role.STOP_LOSS,
        "parent": "r-1",
    }
    return recorded(number, status, **(facts | changes))


def filled(number: int, order: Order, quantity: int = 2, execution_id: str | None = None) -> Fill:
    name = execution_id or f"e{number}"
    return Fill(START + number, order.id, name, "Sim101", ES, order.side, quantity, 4800.0, 1.0, START + number)


# --- orders ----------------------------------------------------------------------------------------------------------

OPEN = [status for status in OrderStatus if not status.is_done]


@pytest.mark.parametrize("status", OPEN)
@pytest.mark.parametrize("has_left", [True, False])
def test_an_open_order_is_in_doubt_or_never_left_and_nothing_stays_queued(status: OrderStatus, has_left: bool) -> None:
    order = recorded(1, status, limit_price=4790.0, type=OrderType.LIMIT)
    life = Second([order], left=["r-1"] if has_left else [])
    revived = life.order("r-1")
    assert revived.status is (OrderStatus.IN_DOUBT if has_left else OrderStatus.CANCELLED)
    assert [found.id for found in life.doubtful] == (["r-1"] if has_left else [])
    if not has_left:
        assert revived.reason == "the run ended before it was sent"
    life.connect(row(revived) if has_left else row(order, Standing.CANCELLED, order_id="other"))
    assert revived.status is (OrderStatus.WORKING if has_left else OrderStatus.CANCELLED)
    assert life.strategy.found == (0, ["r-1"] if has_left else [])
    assert not life.waiting(PlaceOrder)


def test_one_that_the_venue_never_shows_is_absent_after_a_while_and_is_not_sent_again() -> None:
    life = Second([recorded(1, OrderStatus.SENT)], left=["r-1"])
    life.connect()
    assert life.order("r-1").status is OrderStatus.IN_DOUBT
    assert life.act(lambda s: s.buy(ES, 1)).reason.startswith("in_doubt: order r-1")
    for _ in range(4):
        life.tick(6)
        life.positions(0)
        life.see()
        life.executions()
    assert life.order("r-1").status is OrderStatus.ABSENT
    assert life.act(lambda s: s.buy(ES, 1)).status is OrderStatus.QUEUED
    assert [place.order_id for place in life.waiting(PlaceOrder)] == ["r.2-3"]


def test_a_fill_that_nobody_saw_is_booked_once_and_covered() -> None:
    entry = recorded(1, OrderStatus.SENT)
    life = Second([entry], left=["r-1"], plans={"r-1": Plan(40, None)})
    life.connect(row(entry, Standing.FILLED, filled=2), fills=[execution(entry, 1, 2)], position=2)
    life.executions(execution(entry, 1, 2))
    assert life.position() == 2
    assert life.strategy.found[0] == 2
    (place,) = life.waiting(PlaceOrder)
    assert (place.role, place.quantity, place.stop_price) == (Role.STOP_LOSS, 2, 4790.0)


def test_a_partial_fill_before_and_the_rest_after() -> None:
    entry = recorded(1, OrderStatus.PARTIAL, quantity=3)
    life = Second([entry], [filled(1, entry, 1)], ["r-1"], {"r-1": Plan(40, None)})
    assert (life.order("r-1").status, life.order("r-1").filled) == (OrderStatus.PARTIAL, 1)
    life.connect(
        row(entry, Standing.FILLED, filled=3), fills=[execution(entry, 1, 1), execution(entry, 2, 2)], position=3
    )
    assert (life.order("r-1").status, life.order("r-1").filled, life.position()) == (OrderStatus.FILLED, 3, 3)
    assert sum(place.quantity for place in life.waiting(PlaceOrder)) == 3


def test_a_done_order_stays_done() -> None:
    entry, gone = recorded(1, OrderStatus.FILLED), recorded(2, OrderStatus.CANCELLED)
    life = Second([entry, gone], [filled(1, entry)], ["r-1", "r-2"])
    assert [life.order(name).status for name in ("r-1", "r-2")] == [OrderStatus.FILLED, OrderStatus.CANCELLED]
    assert life.doubtful == []
    assert life.liaison.evidence.cases == {}


# --- exits -----------------------------------------------------------------------------------------------------------


def test_exits_that_are_out_are_not_doubled() -> None:
    entry, exit_ = recorded(1, OrderStatus.FILLED), stop(2)
    life = Second([entry, exit_], [filled(1, entry)], ["r-1", "r-2"], {"r-1": Plan(40, None)})
    life.connect(row(exit_), position=2)
    assert life.strategy.found == (2, ["r-2"])
    assert life.out == [] or not life.waiting(PlaceOrder)
    assert life.engine.blotter.orders.keys() == {"r-1", "r-2"}


def test_what_exits_do_not_cover_is_covered_as_its_entry_said() -> None:
    entry, exit_ = recorded(1, OrderStatus.FILLED, quantity=3), stop(2, quantity=1)
    life = Second([entry, exit_], [filled(1, entry, 3)], ["r-1", "r-2"], {"r-1": Plan(40, 80)})
    life.connect(row(exit_), position=3)
    placed = life.waiting(PlaceOrder)
    assert {(place.role, place.quantity) for place in placed} == {(Role.STOP_LOSS, 2), (Role.TAKE_PROFIT, 2)}
    assert len({place.oco for place in placed}) == 1


def test_exits_that_are_too_large_shrink() -> None:
    entry, sold, exit_ = (
        recorded(1, OrderStatus.FILLED),
        recorded(2, OrderStatus.FILLED, side=Side.SELL, quantity=1),
        stop(3),
    )
    fills = [filled(1, entry), filled(2, sold, 1)]
    life = Second([entry, sold, exit_], fills, ["r-1", "r-2", "r-3"], {"r-1": Plan(40, None)})
    life.connect(row(exit_), position=1)
    (change,) = life.waiting(ChangeOrder)
    assert (change.order_id, change.quantity) == ("r-3", 1)


def test_an_exit_without_a_position_is_cancelled() -> None:
    entry, sold, exit_ = recorded(1, OrderStatus.FILLED), recorded(2, OrderStatus.FILLED, side=Side.SELL), stop(3)
    life = Second(
        [entry, sold, exit_], [filled(1, entry), filled(2, sold)], ["r-1", "r-2", "r-3"], {"r-1": Plan(40, None)}
    )
    life.connect(row(exit_))
    assert [cancel.order_id for cancel in life.waiting(CancelOrder)] == ["r-3"]
    assert not life.waiting(PlaceOrder)


# --- others' hands ---------------------------------------------------------------------------------------------------


def test_what_was_theirs_stays_theirs() -> None:
    """Forgotten, it would be taken out of our books as a difference that somebody else made."""
    entry = recorded(1, OrderStatus.FILLED)
    life = Second([entry], [filled(1, entry)], ["r-1"], offsets={("Sim101", ES): -3})
    life.connect(position=-1)
    for _ in range(3):
        life.tick(2)
        life.positions(-1)
        life.see()
        life.executions()
    assert life.position() == 2
    assert not [decision for decision in life.engine.decisions if decision[1] == "external"]
    assert life.act(lambda s: s.buy(ES, 1)).reason.startswith("external: Sim101 holds -3")


def test_what_others_took_is_not_protected_again() -> None:
    entry = recorded(1, OrderStatus.FILLED)
    move = Adjustment("Heir", "Sim101", ES, -2, 19_200, 1)
    life = Second([entry], [filled(1, entry)], ["r-1"], {"r-1": Plan(40, None)}, adjustments=[move])
    life.connect()
    assert life.position() == 0
    assert not life.waiting(PlaceOrder)
    assert life.liaison.others.adjustments == [move]


def test_what_was_adopted_is_ours_still_at_its_price() -> None:
    sold = recorded(1, OrderStatus.FILLED, side=Side.SELL, quantity=1)
    move = Adjustment("Heir", "Sim101", ES, 3, 19_160, 0)
    life = Second([sold], [filled(1, sold, 1)], ["r-1"], adjustments=[move])
    life.connect(position=2)
    assert life.strategy.found[0] == 2
    book = life.engine.ledger.books["Heir", "Sim101", ES]
    assert (book.average_price, book.money(book.realized)) == (4790.0, 500.0)


def test_a_close_by_hand_between_the_lives_is_found() -> None:
    entry = recorded(1, OrderStatus.FILLED)
    life = Second([entry], [filled(1, entry)], ["r-1"])
    life.connect(position=2)
    for _ in range(3):
        life.tick(2)
        life.see(PositionReport("Sim101", ES, 0), ask=Ask.POSITIONS)
        life.see()
        life.executions()
    assert life.position() == 0


def test_executions_of_fills_by_rows_alone_only_take_their_place() -> None:
    entry = recorded(1, OrderStatus.FILLED)
    life = Second([entry], [filled(1, entry, 2, f"{ROW}r-1:2")], ["r-1"])
    life.connect(row(entry, Standing.FILLED, filled=2), fills=[execution(entry, 7, 2)], position=2)
    assert life.position() == 2
    assert life.order("r-1").filled == 2


# --- what can't be taken over ----------------------------------------------------------------------------------------


def test_orders_of_a_strategy_that_is_not_there() -> None:
    with pytest.raises(
        ConfigError, match="order r-1 belongs to Momo, which is not among the strategies of this run: Heir"
    ):
        Second([recorded(1, OrderStatus.WORKING, owner="Momo")])
    with pytest.raises(ConfigError, match="Momo held ES 06-26 and is not among the strategies of this run: Heir"):
        Second(adjustments=[Adjustment("Momo", "Sim101", ES, 1, 19_160, 0)])


def test_a_replay_takes_over_nothing() -> None:
    engine = Engine([Heir()], contracts=ContractBook(), pin=str)
    with pytest.raises(ConfigError, match="only a run against a venue that can be asked"):
        restore(engine, [], [], set(), {}, START)
