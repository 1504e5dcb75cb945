"""Others' hands in an account that a run trades: closes, reversals, additions, moved stops, and what is there first."""

from __future__ import annotations

from typing import Any

import pytest
from engine.asked import Asked, Idle, execution, row
from tables import ES, MNQ, START

from xtalgo import Order, OrderStatus
from xtalgo.engine.ending import halt
from xtalgo.engine.engine import Engine
from xtalgo.engine.others import Adjustment
from xtalgo.engine.risk import TradingState
from xtalgo.model.commands import Ask, CancelOrder, ChangeOrder, PlaceOrder
from xtalgo.model.errors import ConfigError
from xtalgo.model.events import External, LinkUp
from xtalgo.model.instruments import ContractBook
from xtalgo.model.reports import PositionReport, Standing
from xtalgo.model.types import Role

SECOND = 1_000_000_000


class Hearing(Idle):
    """Remembers what others did, and what it held at its start."""

    def on_start(self) -> None:
        super().on_start()
        self.external: list[External] = []
        self.owned = self.position(ES)

    def on_external(self, external: External) -> None:
        self.external.append(external)


class Room(Asked):
    """An engine with a strategy that hears of others' hands."""

    strategy: Hearing

    def __init__(self, held: int = 0, price: float | None = 4790.0, **how: Any) -> None:
        super().__init__(ready=False)
        self.strategy = Hearing()
        self.engine = Engine(
            [self.strategy, *how.get("more", ())],
            contracts=ContractBook(),
            pin=str,
            accounts=self.accounts,
            run="r",
            asks=True,
        )
        self.liaison.others.adopts = how.get("adopts", False)
        self.liaison.keeps_external = how.get("keeps", False)
        self.hear(LinkUp(self.now))
        self.see()
        self.see(ask=Ask.EXECUTIONS)
        rows = [PositionReport("Sim101", ES, held, price)] if held else []
        self.see(*rows, ask=Ask.POSITIONS)
        self.out += self.engine.start(self.now)
        self.quote(4800.0)

    def held_by_venue(self, quantity: int, *working: Order) -> None:
        """Two rounds with equal ends show this position, and these orders still at work."""
        for _ in range(2):
            self.now += 2 * SECOND
            self.see(PositionReport("Sim101", ES, quantity), ask=Ask.POSITIONS)
            self.see(*(row(order) for order in working))
            self.see(ask=Ask.EXECUTIONS)
        self.now += 2 * SECOND
        self.see(PositionReport("Sim101", ES, quantity), ask=Ask.POSITIONS)

    def long(self, quantity: int = 2, **bracket: int) -> Order:
        """A position of ours, with what protects it working."""
        entry = self.placed(self.act(lambda s: s.buy(ES, quantity, **bracket)))
        self.see(execution(entry, 1, quantity), ask=Ask.EXECUTIONS)
        for _ in self.exits():
            self.placed(entry)
        return entry

    def exits(self) -> list[Order]:
        return [order for order in self.engine.blotter.orders.values() if order.is_exit and order.is_open]

    def enter(self) -> Order:
        return self.act(lambda s: s.buy(ES, 1))


@pytest.fixture
def room() -> Room:
    return Room()


# --- by hand, beside us ----------------------------------------------------------------------------------------------


def test_a_manual_close_takes_the_position_and_its_exits_and_pauses_entries(room: Room) -> None:
    room.long(2, stop_loss=40, take_profit=40)
    stop, target = room.exits()
    room.held_by_venue(0, stop, target)
    assert room.position() == 0
    assert [(told.difference, told.taken) for told in room.strategy.external] == [(-2, -2)]
    assert {command.order_id for command in room.waiting(CancelOrder)} == {stop.id, target.id}
    assert room.enter().reason.startswith("reducing: others' hands moved ES 06-26")
    (move,) = room.liaison.others.adjustments
    assert (move.owner, move.change, move.ticks, move.after) == ("Hearing", -2, 19200, 1)


def test_a_manual_reversal_takes_what_is_ours_and_leaves_the_rest_to_them(room: Room) -> None:
    room.long(2)
    room.held_by_venue(-3)
    assert room.position() == 0
    assert room.liaison.others.offsets == {("Sim101", ES): -3}
    assert [(told.difference, told.taken) for told in room.strategy.external] == [(-5, -2)]
    assert room.enter().status is OrderStatus.DENIED


def test_a_manual_addition_is_theirs_and_our_exits_stay(room: Room) -> None:
    room.long(2, stop_loss=40)
    (stop,) = room.exits()
    room.held_by_venue(5, stop)
    assert room.position() == 2
    assert room.exits() == [stop]
    assert stop.quantity == 2
    assert [(told.difference, told.taken) for told in room.strategy.external] == [(3, 0)]
    assert room.enter().reason.startswith("external: Sim101 holds +3 ES 06-26")
    assert room.act(lambda s: s.sell(ES, 2)).status is not OrderStatus.DENIED
    # Once they have closed theirs, we may again, without having lost anything.


def test_an_addition_that_is_closed_by_hand_again_is_nobodys_business(room: Room) -> None:
    room.long(2)
    room.held_by_venue(5)
    room.held_by_venue(2)
    assert room.position() == 2
    assert room.liaison.others.offsets == {}
    assert room.enter().status is OrderStatus.QUEUED
    assert room.liaison.others.adjustments == []


def test_a_stop_that_is_moved_by_hand_is_taken_as_it_is(room: Room) -> None:
    room.long(1, stop_loss=40)
    (stop,) = room.exits()
    room.now += 10 * SECOND
    room.see(row(stop, stop_price=4795.0))
    assert stop.stop_price == 4795.0
    room.tick(30)
    assert room.exits() == [stop]
    assert not room.waiting(PlaceOrder)


def test_a_stop_that_is_cancelled_by_hand_is_placed_again(room: Room) -> None:
    room.long(1, stop_loss=40)
    (stop,) = room.exits()
    room.now += 10 * SECOND
    room.see(row(stop, Standing.CANCELLED))
    (again,) = room.exits()
    assert again is not stop
    assert (again.role, again.quantity, again.stop_price) == (Role.STOP_LOSS, 1, stop.stop_price)
    assert [place.order_id for place in room.waiting(PlaceOrder)] == [again.id]


def test_one_round_is_no_proof_nor_is_one_with_an_order_of_ours_between(room: Room) -> None:
    room.long(2)
    room.now += 2 * SECOND
    room.positions(0)
    room.see()
    room.see(ask=Ask.EXECUTIONS)
    assert room.strategy.external == []
    sold = room.placed(room.act(lambda s: s.sell(ES, 1)))
    room.now += 2 * SECOND
    room.positions(0)
    room.positions(0)
    assert room.strategy.external == []
    assert room.position() == 2
    room.see(execution(sold, 2, 1, side=sold.side), ask=Ask.EXECUTIONS)
    room.held_by_venue(1)
    assert room.strategy.external == []


# --- what is there when a run begins --------------------------------------------------------------------------------


def test_wait_flat_denies_entries_until_the_account_agrees() -> None:
    room = Room(3)
    assert room.strategy.owned == 0
    denied = room.enter()
    assert denied.reason == "external: Sim101 holds +3 ES 06-26 that are not this run's"
    assert room.act(lambda s: s.buy(MNQ, 1)).status is OrderStatus.QUEUED
    room.held_by_venue(0)
    assert room.position() == 0
    assert room.enter().status is OrderStatus.QUEUED


def test_keep_trades_beside_it() -> None:
    room = Room(3, keeps=True)
    bought = room.placed(room.enter())
    room.executions(execution(bought, 1))
    assert room.position() == 1
    room.held_by_venue(4)
    assert room.strategy.external == []
    room.held_by_venue(1)  # theirs is closed
    assert room.position() == 1


@pytest.mark.parametrize("held", [3, -2])
def test_adopt_gives_it_to_the_first_strategy_that_trades_it(held: int) -> None:
    other = Hearing()
    room = Room(held, 4790.5, adopts=True, more=(other,))
    assert (room.strategy.owned, other.owned) == (held, 0)
    assert room.liaison.others.offsets == {}
    book = room.engine.ledger.books["Hearing", "Sim101", ES]
    assert (book.position, book.average_price) == (held, 4790.5)
    assert room.enter().status is OrderStatus.QUEUED
    assert ("adopt", "Hearing", "Sim101", ES, held, 4790.5) in [decision[1:] for decision in room.engine.decisions]
    assert room.liaison.others.adjustments == [Adjustment("Hearing", "Sim101", ES, held, 19162, 0)]
    room.held_by_venue(held)
    assert room.strategy.external == []


def test_what_is_adopted_can_be_closed() -> None:
    room = Room(3, adopts=True)
    room.act(lambda s: s.close(ES))
    (close,) = room.waiting(PlaceOrder)
    assert (close.side, close.quantity) == (-1, 3)


def test_what_no_strategy_trades_is_not_adopted() -> None:
    room = Room(adopts=True)
    room = Room.__new__(Room)
    Asked.__init__(room, ready=False)
    room.liaison.others.adopts = True
    room.hear(LinkUp(room.now))
    room.see()
    room.see(ask=Ask.EXECUTIONS)
    room.see(PositionReport("Sim101", "NQ 06-26", 1, 20_000.0), ask=Ask.POSITIONS)
    room.engine.start(room.now)
    assert room.liaison.others.offsets == {("Sim101", "NQ 06-26"): 1}
    assert room.liaison.others.adjustments == []


def test_a_position_without_a_price_can_t_be_adopted() -> None:
    with pytest.raises(ConfigError, match=r"Sim101 holds \+3 ES 06-26, and the venue does not tell at what average"):
        Room(3, None, adopts=True)


# --- HALT ------------------------------------------------------------------------------------------------------------


def test_while_halted_entries_are_cancelled_and_denied_and_what_reduces_passes(room: Room) -> None:
    room.long(2, stop_loss=40)
    resting = room.placed(room.act(lambda s: s.buy(ES, 1, limit_price=4700.0)))
    queued = room.act(lambda s: s.buy(ES, 1, limit_price=4600.0))
    room.out += halt(room.engine, "a HALT file", room.now)
    assert queued.status is OrderStatus.CANCELLED
    assert [command.order_id for command in room.waiting(CancelOrder)] == [resting.id]
    assert len(room.exits()) == 1
    assert room.enter().reason == "halted: a HALT file"
    assert room.act(lambda s: s.sell(ES, 1)).status is not OrderStatus.DENIED
    room.out += halt(room.engine, "", room.now)
    assert room.enter().status is OrderStatus.QUEUED


def test_the_end_of_a_halt_resumes_what_others_hands_paused_and_nothing_else(room: Room) -> None:
    room.long(2)
    halt(room.engine, "a HALT file", room.now)
    room.held_by_venue(0)
    gate = room.engine.seats["Hearing"].gate
    assert gate.state is TradingState.REDUCING
    halt(room.engine, "", room.now)
    assert room.enter().status is OrderStatus.QUEUED
    gate.restrict(TradingState.REDUCING, "told so")
    halt(room.engine, "a HALT file", room.now)
    halt(room.engine, "", room.now)
    assert room.enter().reason == "reducing: told so"


def test_while_halted_an_order_that_is_out_may_shrink_and_move_but_not_grow(room: Room) -> None:
    room.long(2)
    out = room.placed(room.act(lambda s: s.sell(ES, 2, limit_price=4900.0)))
    room.out += halt(room.engine, "a HALT file", room.now)
    room.out.clear()
    room.act(lambda s: s.change(out, quantity=5))
    assert room.out == []
    assert out.reason == "change denied: halted: a HALT file"
    room.act(lambda s: s.change(out, quantity=1, limit_price=4890.0))
    assert [(change.quantity, change.limit_price) for change in room.waiting(ChangeOrder)] == [(1, 4890.0)]


def test_halt_before_the_start_denies_what_on_start_wants() -> None:
    room = Asked(ready=False)
    halt(room.engine, "a HALT file", START)
    room.link_up()
    room.out += room.engine.start(room.now)
    denied = room.act(lambda s: s.buy(ES, 1))
    assert denied.reason == "halted: a HALT file"
