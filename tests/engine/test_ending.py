"""How a run ends: what each mode cancels, closes and leaves, and when that has come through."""

from __future__ import annotations

import pytest
from engine.asked import SECOND, Asked, execution, row
from tables import ES, MNQ

from xtalgo import Order, OrderStatus
from xtalgo.engine.ending import is_closing, unsettled, wind_down
from xtalgo.model.commands import CancelOrder, PlaceOrder, Withdraw
from xtalgo.model.reports import Standing

CANCELLED = OrderStatus.CANCELLED


@pytest.fixture
def room() -> Asked:
    return Asked()


class Held:
    """Two contracts long under a stop, an entry below, the author's own exit above, an entry in another market."""

    def __init__(self, room: Asked) -> None:
        self.room = room
        entry = room.placed(room.act(lambda s: s.buy(ES, 2, stop_loss=8)))
        room.executions(execution(entry, 1, 2))
        self.stop: Order = room.placed(room.engine.blotter.orders["r-2"])
        self.more: Order = room.placed(room.act(lambda s: s.buy(ES, 1, limit_price=4790.0)))
        self.own: Order = room.placed(room.act(lambda s: s.sell(ES, 1, limit_price=4900.0)))
        self.other: Order = room.placed(room.act(lambda s: s.sell(MNQ, 1, limit_price=25_000.0)))

    def end(self, mode: str) -> set[str]:
        """Wind down; the ids of the orders whose cancel goes out."""
        self.room.out += wind_down(self.room.engine, mode, self.room.now)
        return {command.order_id for command in self.room.waiting(CancelOrder)}


def test_protect_cancels_what_could_extend_a_position_and_keeps_every_exit(room: Asked) -> None:
    held = Held(room)
    assert held.end("protect") == {held.more.id, held.other.id}
    assert held.stop.is_open
    assert held.own.is_open
    assert not room.waiting(PlaceOrder)


def test_cancel_cancels_the_strategys_own_orders_and_keeps_the_engines_exits(room: Asked) -> None:
    held = Held(room)
    assert held.end("cancel") == {held.more.id, held.own.id, held.other.id}
    assert held.stop.is_open


def test_flatten_cancels_everything_and_closes_what_the_book_holds(room: Asked) -> None:
    held = Held(room)
    assert held.end("flatten") == {held.more.id, held.own.id, held.other.id, held.stop.id}
    assert is_closing(room.engine)
    assert not room.waiting(PlaceOrder)  # not while an exit may still fill
    orders = [held.more, held.own, held.other, held.stop]
    while room.waiting(CancelOrder):
        room.cancelled(held.stop)
    room.see(*(row(order, Standing.CANCELLED) for order in orders))
    room.now += SECOND
    room.quote(4800.0)
    (close,) = room.waiting(PlaceOrder)
    assert (close.role, close.side, close.quantity) == ("close", -1, 2)
    done = room.placed(room.engine.blotter.orders[close.order_id])
    room.executions(execution(done, 2, 2))
    assert room.position() == 0
    assert not is_closing(room.engine)
    assert unsettled(room.engine) == []


def test_flatten_closes_what_is_left_when_an_exit_fills_in_its_cancel(room: Asked) -> None:
    held = Held(room)
    held.end("flatten")
    while room.waiting(CancelOrder):
        room.cancelled(held.stop)
    orders = [held.more, held.own, held.other]
    room.executions(execution(held.stop, 2, 1))
    room.see(row(held.stop, Standing.CANCELLED, filled=1), *(row(order, Standing.CANCELLED) for order in orders))
    room.now += SECOND
    room.quote(4800.0)
    assert [place.quantity for place in room.waiting(PlaceOrder)] == [1]


def test_flatten_closes_without_waiting_for_a_quote(room: Asked) -> None:
    """Its exits are cancelled by then: where quotes have stopped, the position stays open and bare."""
    held = Held(room)
    held.end("flatten")
    while room.waiting(CancelOrder):
        room.cancelled(held.stop)
    room.see(*(row(order, Standing.CANCELLED) for order in (held.more, held.own, held.other, held.stop)))
    room.tick(2)
    assert [place.quantity for place in room.waiting(PlaceOrder)] == [2]


@pytest.mark.parametrize("mode", ["protect", "cancel", "flatten"])
def test_what_never_left_is_withdrawn(room: Asked, mode: str) -> None:
    order = room.act(lambda s: s.buy(ES, 1, limit_price=4790.0))
    room.out += wind_down(room.engine, mode, room.now)
    assert order.status is CANCELLED
    assert [command.key for command in room.waiting(Withdraw)] == [order.id]
    assert unsettled(room.engine) == []


@pytest.mark.parametrize("mode", ["protect", "cancel", "flatten"])
def test_nothing_is_opened_after_it(room: Asked, mode: str) -> None:
    room.out += wind_down(room.engine, mode, room.now)
    for quantity in (1, -1):
        order = room.act(lambda s, q=quantity: s.order_target(ES, q))
        assert order is not None
        assert order.status is OrderStatus.DENIED
        assert "the run is ending" in order.reason


@pytest.mark.parametrize("mode", ["protect", "cancel"])
def test_standing_targets_are_dropped(room: Asked, mode: str) -> None:
    held = room.placed(room.act(lambda s: s.buy(ES, 2)))
    room.executions(execution(held, 1, 2))
    room.act(lambda s: s.order_target(ES, 5))
    room.out.clear()
    room.out += wind_down(room.engine, mode, room.now)
    room.now += 5_000_000_000
    room.quote(4800.0)
    assert not room.waiting(PlaceOrder)
    assert room.position() == 2


def test_wind_down_may_come_again_with_another_mode(room: Asked) -> None:
    held = Held(room)
    held.end("protect")
    assert held.end("flatten") == {held.more.id, held.own.id, held.other.id, held.stop.id}


# --- when it is over ----------------------------------------------------------------------------------------------


def test_resting_orders_and_exits_are_settled(room: Asked) -> None:
    Held(room)
    assert unsettled(room.engine) == []


def test_a_cancel_is_unsettled_until_it_is_seen(room: Asked) -> None:
    order = room.placed(room.act(lambda s: s.buy(ES, 1, limit_price=4790.0)))
    room.out += wind_down(room.engine, "protect", room.now)
    assert unsettled(room.engine) == [order]
    room.cancelled(order)
    assert unsettled(room.engine) == [order]
    room.see(row(order, Standing.CANCELLED))
    assert unsettled(room.engine) == []


def test_a_place_is_unsettled_until_it_is_answered_and_in_doubt_until_that_is_resolved(room: Asked) -> None:
    order = room.act(lambda s: s.buy(ES, 1, limit_price=4790.0))
    assert unsettled(room.engine) == [order]
    room.doubted(order)
    assert unsettled(room.engine) == [order]
    room.see(row(order))
    assert unsettled(room.engine) == []


def test_a_market_order_is_unsettled_until_it_is_over(room: Asked) -> None:
    """An order of the author's that reduces is neither cancelled nor a close, and may fill at any moment."""
    order = room.placed(room.act(lambda s: s.buy(ES, 1)))
    assert unsettled(room.engine) == [order]
    room.executions(execution(order, 1))
    assert unsettled(room.engine) == []
