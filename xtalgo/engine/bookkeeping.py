"""What the venue says of orders, taken into the books: the handlers of the engine's order events."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from xtalgo.engine.figures import AccountFigures
from xtalgo.engine.history import VenueBars
from xtalgo.engine.losses import DailyLoss
from xtalgo.engine.office import Office
from xtalgo.engine.orders import Anomaly, Order
from xtalgo.engine.seat import Seat
from xtalgo.engine.timers import Timer
from xtalgo.model.commands import BarsQuery, FiguresQuery, PlaceOrder, Query
from xtalgo.model.events import (
    CancelRefused,
    Changed,
    ChangeRefused,
    Fill,
    OrderUpdate,
    Released,
    Stale,
)
from xtalgo.model.types import Ns, Trigger

__all__ = ["CANCEL_AGAIN", "Bookkeeping"]

CANCEL_AGAIN: Ns = 5_000_000_000
"""After a refused cancel, evidence of how the order ended is given this long before the desk looks again."""


class Bookkeeping(Office):
    """Takes in what happened to orders, in the order: amendments, desk, books, then the strategy is told."""

    seats: dict[str, Seat]
    history: VenueBars
    figures: AccountFigures
    _started: bool
    _watches_loss: bool
    _losses: DailyLoss

    def _call(self, callback: Callable[..., object], *arguments: object) -> None:
        """Call one of the authors' functions."""
        raise NotImplementedError

    def _tell(self, order: Order) -> None:
        self.seats[order.owner].strategy.on_order(order)

    # --- events --------------------------------------------------------------------------------------------------

    def _known(self, event: OrderUpdate | Changed | ChangeRefused | CancelRefused | Fill) -> Order | None:
        order = self.blotter.orders.get(event.order_id)
        if order is None:
            self.blotter.anomalies.append(
                Anomaly(self.now, event.order_id, f"{type(event).__name__} of no order of ours")
            )
        return order

    def _moved(self, order: Order, *, tell: bool = True) -> None:
        """An order's status may have moved: let its amendments, its desk and its strategy know."""
        if self.amendments.wishes:
            self.amendments.progressed(order)
        desk = self._desks[order.owner, order.account, order.instrument]
        desk.updated(order)
        self._dirty[id(desk)] = desk
        if tell:
            self._tell(order)

    def _on_released(self, event: Released) -> None:
        command = event.command
        if isinstance(command, BarsQuery):
            self.history.released(command)
            return
        if isinstance(command, FiguresQuery):
            self.figures.released(command)
            return
        if self.liaison is not None:
            self.liaison.released(command, self.now)
        if isinstance(command, Query):
            self.replan()
        elif isinstance(command, PlaceOrder):
            self.blotter.step(self.blotter.orders[command.order_id], Trigger.SEND, self.now)
        else:
            self.amendments.released(command)

    def _on_stale(self, event: Stale) -> None:
        if isinstance(event.command, PlaceOrder):
            order = self.blotter.orders[event.command.order_id]
            self.blotter.step(order, Trigger.STALE, self.now, reason="waited too long for a token; not sent")
            self._decide("stale", order.id)
            if self.liaison is not None:  # refused for the rate limit, and too old by the time it could go again
                self.liaison.evidence.forget(order.id)
            self._moved(order)

    def _on_update(self, event: OrderUpdate) -> None:
        order = self.blotter.orders.get(event.order_id) or self._known(event)
        if order is None:
            return
        if event.trigger is Trigger.ACCEPT:
            before = order.status
            if self.blotter.step(order, Trigger.ACCEPT, self.now) and order.status is not before:
                if self.amendments.wishes:
                    self.amendments.progressed(order)
                if self.guards is not None and order.is_exit:
                    self.guards.look(self._desk_of(order))
                self._tell(order)
        elif self.blotter.step(order, event.trigger, self.now, reason=event.reason):
            self._moved(order)

    def _on_changed(self, event: Changed) -> None:
        order = self._known(event)
        if order is not None:
            self.amendments.changed(order, event)
            self._moved(order)

    def _on_change_refused(self, event: ChangeRefused) -> None:
        order = self._known(event)
        if order is not None:
            self.amendments.change_refused(order)
            self.blotter.remark(order, f"change refused: {event.reason}")
            again = partial(self._change_again, order)
            self.timers.add(Timer(self.now + CANCEL_AGAIN, "", again, is_engines=True))
            self._moved(order)

    def _on_cancel_refused(self, event: CancelRefused) -> None:
        order = self._known(event)
        if order is not None:
            self.amendments.cancel_refused(order)
            self.timers.add(Timer(self.now + CANCEL_AGAIN, "", partial(self._cancel_again, order), is_engines=True))

    def _change_again(self, order: Order) -> None:
        self.amendments.may_change_again(order)
        self.touch(self._desk_of(order))

    def _cancel_again(self, order: Order) -> None:
        self.amendments.may_cancel_again(order)
        self.touch(self._desk_of(order))

    def _on_fill(self, event: Fill) -> None:
        order = self.blotter.orders.get(event.order_id) or self._known(event)
        if order is None or not self.blotter.book(order, event):
            return
        desk = self._desks[order.owner, order.account, order.instrument]
        before = desk.book.position
        desk.book.trade(event.side * event.quantity, desk.contract.to_ticks(event.price), event.fee)
        desk.filled(order, event, before)
        if self._watches_loss:
            self._losses.check(self.seats[order.owner], order.account)
        if self.guards is not None:
            self.guards.filled(desk)
        self._moved(order, tell=False)
        if self._started:
            self.seats[order.owner].strategy.on_fill(event)
        self._tell(order)
