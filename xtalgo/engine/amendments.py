"""Changes and cancels of orders that are out: one at a time, in an order that cannot misfire.

A cancel or change waits until its order's placing was answered (an earlier one could reach the venue first). One
change per order is in flight; what is wanted meanwhile is merged and goes next. A change that still waits in the
pacing queue is withdrawn for a newer one. Nothing is sent for an order that is done.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field

from xtalgo.engine.orders import Blotter, Order
from xtalgo.engine.pacing import slot_of
from xtalgo.model.commands import CancelOrder, ChangeOrder, Command, Withdraw
from xtalgo.model.events import Changed
from xtalgo.model.types import OrderStatus, Trigger

__all__ = ["Amendments"]

_ANSWERED = (OrderStatus.WORKING, OrderStatus.PARTIAL)


@define(eq=False)
class _Wish:
    change: ChangeOrder | None = None
    """Wanted, not yet handed to the queue."""
    queued: ChangeOrder | None = None
    """Handed to the queue, not yet released."""
    flying: ChangeOrder | None = None
    """Released, not yet answered."""
    cancel: bool = False
    """A cancel is wanted."""
    cancelling: bool = False
    """A cancel was handed out and not refused."""
    unchangeable: bool = False
    """The venue refused a change a moment ago: the engine's own wait before they ask again."""
    refused: bool = False
    """The venue refused a cancel: how the order ended is still to be seen, and asking again at once is no use."""


@define(eq=False)
class Amendments:
    """Keeps what is wanted and what is under way for each order; ``wishes`` is empty when that is nothing."""

    _blotter: Blotter
    _emit: Callable[[Command], None]
    _on_drop: Callable[[Order], None]
    """Told of orders that were cancelled before they were sent."""
    wishes: dict[str, _Wish] = field(factory=dict)

    def cancel(self, order: Order, *, insist: bool = False) -> None:
        """Cancel an open order; one that never left is withdrawn at once.

        After a refusal only those who ``insist`` (a strategy that asks again) are heard before there was time for
        evidence of how the order ended.
        """
        if order.is_done:
            return
        if order.status in (OrderStatus.DRAFT, OrderStatus.QUEUED):
            queued = order.status is OrderStatus.QUEUED
            self._blotter.step(order, Trigger.DROP, order.created, reason="cancelled before it was sent")
            if queued:
                self._emit(Withdraw(order.id))
            self.wishes.pop(order.id, None)
            self._on_drop(order)
            return
        wish = self.wishes.setdefault(order.id, _Wish())
        if not wish.cancelling and (insist or not wish.refused):
            wish.cancel = True
            self._blotter.mark(order, cancel=True)
            self._go(order, wish)

    def change(
        self,
        order: Order,
        *,
        quantity: int | None = None,
        limit_price: float | None = None,
        stop_price: float | None = None,
        insist: bool = False,
    ) -> None:
        """Change an open order; ``quantity`` is the total, its filled part included.

        After a refusal only those who ``insist`` (a strategy that asks again) are heard for a while.
        """
        if order.is_done:
            return
        if order.status is OrderStatus.DRAFT:
            self._blotter.changed(
                order,
                quantity if quantity is not None else order.quantity,
                limit_price if limit_price is not None else order.limit_price,
                stop_price if stop_price is not None else order.stop_price,
            )
            return
        wish = self.wishes.setdefault(order.id, _Wish())
        if wish.cancel or wish.cancelling or (wish.unchangeable and not insist):
            return
        base = wish.change or ChangeOrder(order.id, order.account)
        if wish.queued is not None:
            self._emit(Withdraw(slot_of(wish.queued).key))
            base, wish.queued = wish.queued, None
        wish.change = ChangeOrder(
            order.id,
            order.account,
            base.quantity if quantity is None else quantity,
            base.limit_price if limit_price is None else limit_price,
            base.stop_price if stop_price is None else stop_price,
        )
        self._blotter.mark(order, change=True)
        self._go(order, wish)

    def wanted_quantity(self, order: Order) -> int:
        """The total quantity of an order once everything asked for has happened."""
        wish = self.wishes.get(order.id)
        if wish is not None:
            for change in (wish.change, wish.queued, wish.flying):
                if change is not None and change.quantity is not None:
                    return change.quantity
        return order.quantity

    def _go(self, order: Order, wish: _Wish) -> None:
        # A cancel of an order in doubt is harmless: it ends what should be ended, or finds nothing.
        if order.status not in _ANSWERED and not (wish.cancel and order.status is OrderStatus.IN_DOUBT):
            return
        if wish.cancel:
            wish.cancel, wish.cancelling, wish.change = False, True, None
            if wish.queued is not None:
                self._emit(Withdraw(slot_of(wish.queued).key))
                wish.queued = None
            self._emit(CancelOrder(order.id, order.account))
        elif wish.change is not None and wish.flying is None and wish.queued is None:
            wish.queued, wish.change = wish.change, None
            self._emit(wish.queued)

    def released(self, command: Command) -> None:
        """A change left the queue."""
        if isinstance(command, ChangeOrder) and (wish := self.wishes.get(command.order_id)) is not None:
            wish.flying, wish.queued = wish.queued or command, None

    def progressed(self, order: Order) -> None:
        """The order's status moved: what waited for an answer may go, and nothing more is sent for a done one."""
        wish = self.wishes.get(order.id)
        if wish is None:
            return
        if order.is_done:
            del self.wishes[order.id]
            if wish.queued is not None:
                self._emit(Withdraw(slot_of(wish.queued).key))
            if wish.cancelling:
                self._emit(Withdraw(slot_of(CancelOrder(order.id, order.account)).key))
            return
        self._go(order, wish)

    def changed(self, order: Order, event: Changed) -> None:
        """The venue reports the order's values after a change (ours, or one that an OCO partner caused)."""
        self._blotter.changed(order, event.quantity, event.limit_price, event.stop_price)
        self._answered(order)

    def change_refused(self, order: Order) -> None:
        """The venue refused the change in flight; see ``may_change_again``."""
        wish = self.wishes.get(order.id)
        if wish is not None:
            wish.unchangeable = True
        self._answered(order)

    def may_change_again(self, order: Order) -> None:
        """Some time has passed since a change was refused."""
        wish = self.wishes.get(order.id)
        if wish is not None:
            wish.unchangeable = False

    def _answered(self, order: Order) -> None:
        wish = self.wishes.get(order.id)
        if wish is None:
            self._blotter.mark(order, change=False)
            return
        wish.flying = None
        self._go(order, wish)
        self._blotter.mark(order, change=(wish.change or wish.queued or wish.flying) is not None)

    def cancel_refused(self, order: Order) -> None:
        """The venue refused the cancel. That is no evidence of how the order ended; see ``may_cancel_again``."""
        wish = self.wishes.get(order.id)
        if wish is not None:
            wish.cancelling, wish.refused = False, True
        self._blotter.mark(order, cancel=False)

    def may_cancel_again(self, order: Order) -> None:
        """There was time enough for evidence of how a refused cancel's order ended."""
        wish = self.wishes.get(order.id)
        if wish is not None:
            wish.refused = False
