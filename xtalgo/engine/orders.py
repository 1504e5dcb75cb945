"""Orders: the live handle a strategy holds, the table of legal steps, and the blotter that keeps them all.

Nothing but ``Blotter`` changes an order, and every change of status goes through ``TRANSITIONS``. A pair that the
table does not list changes nothing: if we asked for it, that is our error and raises; if the venue said it, it is
an ``Anomaly`` that is kept for people to read. Fills are booked whatever the status, since they are facts.
"""

from __future__ import annotations

import math
from typing import Final

import msgspec
from attrs import define, field, frozen

from xtalgo.model.commands import PlaceOrder
from xtalgo.model.errors import XtalgoError
from xtalgo.model.events import Fill
from xtalgo.model.types import Ns, OrderStatus, OrderType, Role, Side, TimeInForce, Trigger

__all__ = ["TRANSITIONS", "Anomaly", "Blotter", "IllegalTransition", "Order"]

_S = OrderStatus
_T = Trigger

TRANSITIONS: Final[dict[tuple[OrderStatus, Trigger], OrderStatus]] = {
    (_S.DRAFT, _T.DENY): _S.DENIED,
    (_S.DRAFT, _T.DROP): _S.CANCELLED,
    (_S.DRAFT, _T.SUBMIT): _S.QUEUED,
    (_S.QUEUED, _T.SEND): _S.SENT,
    (_S.QUEUED, _T.DROP): _S.CANCELLED,
    (_S.QUEUED, _T.STALE): _S.CANCELLED,
    # Refused for the venue's rate limit it was not done, and is sent again from the head of its lane.
    (_S.SENT, _T.SEND): _S.SENT,
    (_S.SENT, _T.STALE): _S.CANCELLED,
    (_S.SENT, _T.UNSENT): _S.CANCELLED,
    (_S.QUEUED, _T.UNSENT): _S.CANCELLED,
    (_S.SENT, _T.ACCEPT): _S.WORKING,
    (_S.SENT, _T.REJECT): _S.REJECTED,
    (_S.SENT, _T.CANCEL): _S.CANCELLED,
    (_S.SENT, _T.EXPIRE): _S.EXPIRED,
    # A fill may be seen before the acknowledgement, and an acknowledgement after it says nothing new.
    (_S.SENT, _T.PART): _S.PARTIAL,
    (_S.SENT, _T.FILL): _S.FILLED,
    (_S.WORKING, _T.ACCEPT): _S.WORKING,
    (_S.PARTIAL, _T.ACCEPT): _S.PARTIAL,
    (_S.FILLED, _T.ACCEPT): _S.FILLED,
    (_S.WORKING, _T.PART): _S.PARTIAL,
    (_S.WORKING, _T.FILL): _S.FILLED,
    (_S.WORKING, _T.CANCEL): _S.CANCELLED,
    (_S.WORKING, _T.REJECT): _S.REJECTED,
    (_S.WORKING, _T.EXPIRE): _S.EXPIRED,
    (_S.PARTIAL, _T.PART): _S.PARTIAL,
    (_S.PARTIAL, _T.FILL): _S.FILLED,
    (_S.PARTIAL, _T.CANCEL): _S.CANCELLED,
    (_S.PARTIAL, _T.EXPIRE): _S.EXPIRED,
    # In doubt: any of the ends, or back to work, by evidence only.
    (_S.SENT, _T.DOUBT): _S.IN_DOUBT,
    (_S.WORKING, _T.DOUBT): _S.IN_DOUBT,
    (_S.PARTIAL, _T.DOUBT): _S.IN_DOUBT,
    (_S.IN_DOUBT, _T.ACCEPT): _S.WORKING,
    (_S.IN_DOUBT, _T.PART): _S.PARTIAL,
    (_S.IN_DOUBT, _T.FILL): _S.FILLED,
    (_S.IN_DOUBT, _T.CANCEL): _S.CANCELLED,
    (_S.IN_DOUBT, _T.REJECT): _S.REJECTED,
    (_S.IN_DOUBT, _T.EXPIRE): _S.EXPIRED,
    (_S.IN_DOUBT, _T.MISS): _S.ABSENT,
    # Only fill evidence corrects a status that says the order is over.
    (_S.CANCELLED, _T.PART): _S.CANCELLED,
    (_S.CANCELLED, _T.FILL): _S.FILLED,
    (_S.REJECTED, _T.PART): _S.REJECTED,
    (_S.REJECTED, _T.FILL): _S.FILLED,
    (_S.EXPIRED, _T.PART): _S.EXPIRED,
    (_S.EXPIRED, _T.FILL): _S.FILLED,
    (_S.ABSENT, _T.PART): _S.ABSENT,
    (_S.ABSENT, _T.FILL): _S.FILLED,
}
"""``(status, trigger) -> next status``: the whole machine."""

_DONE = frozenset(status for status in OrderStatus if status.is_done)

_LOCAL = frozenset({_T.DENY, _T.DROP, _T.SUBMIT, _T.SEND, _T.STALE, _T.UNSENT})


class IllegalTransition(XtalgoError):
    """We asked for a step that the table does not list: a defect of ours; nothing was changed."""


@frozen
class Anomaly:
    """The venue said something of an order that does not fit; nothing was changed by it but booked fills."""

    ts: Ns
    order_id: str
    text: str


class Order(msgspec.Struct, frozen=True, eq=False):
    """The live handle of one order: returned at once, kept up to date by the engine, read-only to authors.

    (Setting an attribute raises AttributeError; use the strategy's ``change`` and ``cancel``.)

    Prices are in points, quantities in contracts. ``reason`` says why an order was denied, refused or ended,
    ``evidence`` what its present status rests on.
    """

    id: str
    owner: str
    account: str
    instrument: str
    side: Side
    type: OrderType
    quantity: int
    limit_price: float | None
    stop_price: float | None
    tif: TimeInForce
    oco: str | None
    role: Role
    created: Ns
    parent: str | None = None
    """The id of the entry that this stop loss or take profit protects."""
    status: OrderStatus = OrderStatus.DRAFT
    is_done: bool = False
    """Whether nothing more is expected to happen to it."""
    filled: int = 0
    average_price: float | None = None
    fills: tuple[Fill, ...] = ()
    reason: str = ""
    evidence: str = ""
    pending_cancel: bool = False
    """A cancel is wanted or under way."""
    pending_change: bool = False
    """A change is wanted or under way."""

    @property
    def is_open(self) -> bool:
        """The opposite of ``is_done``."""
        return not self.is_done

    @property
    def is_filled(self) -> bool:
        """Whether its whole quantity was filled."""
        return self.status is OrderStatus.FILLED

    @property
    def remaining(self) -> int:
        """Contracts that may still be filled: zero once it is done."""
        if self.is_done:
            return 0
        return self.quantity - self.filled if self.quantity > self.filled else 0

    @property
    def is_exit(self) -> bool:
        """Whether it is an engine-owned stop loss or take profit."""
        return self.role is Role.STOP_LOSS or self.role is Role.TAKE_PROFIT

    def command(self, *, reduces: bool = False) -> PlaceOrder:
        """The command that places it."""
        return PlaceOrder(
            self.id,
            self.account,
            self.instrument,
            self.side,
            self.type,
            self.quantity,
            self.limit_price,
            self.stop_price,
            self.tif,
            self.oco,
            self.role,
            reduces,
        )


# The one door through the frozen handle; nothing outside this file may use it.
_set: Final = msgspec.structs.force_setattr


@define(eq=False)
class Blotter:
    """All orders of a run, by our id. ``run`` prefixes the ids so that two runs cannot share one."""

    run: str = "r"
    orders: dict[str, Order] = field(factory=dict)
    anomalies: list[Anomaly] = field(factory=list)
    fills: list[Fill] = field(factory=list)
    """Every execution that was booked, in order of booking."""
    touched: dict[str, Order] | None = None
    """Orders that moved, for whoever keeps a record; None while nobody does."""
    _executions: set[str] = field(factory=set)
    _groups: int = 0

    def draft(
        self,
        now: Ns,
        owner: str,
        account: str,
        instrument: str,
        side: Side,
        quantity: int,
        *,
        limit_price: float | None = None,
        stop_price: float | None = None,
        tif: TimeInForce = TimeInForce.DAY,
        oco: str | None = None,
        role: Role = Role.ENTRY,
        parent: str | None = None,
    ) -> Order:
        """A new order with the next id; its type follows from which prices are given."""
        if stop_price is None:
            kind = OrderType.MARKET if limit_price is None else OrderType.LIMIT
        else:
            kind = OrderType.STOP_MARKET if limit_price is None else OrderType.STOP_LIMIT
        order = Order(
            f"{self.run}-{len(self.orders) + 1}",
            owner,
            account,
            instrument,
            side,
            kind,
            quantity,
            limit_price,
            stop_price,
            tif,
            oco,
            role,
            now,
            parent,
        )
        self.orders[order.id] = order
        if self.touched is not None:
            self.touched[order.id] = order
        return order

    def fresh_oco(self) -> str:
        """An OCO id that was never used before: NinjaTrader refuses to reuse one whose group has finished."""
        self._groups += 1
        return f"{self.run}-oco-{self._groups}"

    def step(self, order: Order, trigger: Trigger, now: Ns, *, reason: str = "", evidence: str = "") -> bool:
        """Take one step of the machine; False, and an anomaly, when the venue said what the table does not list.

        Raises IllegalTransition when the step is one of ours.
        """
        if self.touched is not None:
            self.touched[order.id] = order
        following = TRANSITIONS.get((order.status, trigger))
        if following is None:
            text = f"{trigger} does not fit an order that is {order.status}"
            if trigger in _LOCAL:
                raise IllegalTransition(f"order {order.id}: {text}")
            self.anomalies.append(Anomaly(now, order.id, text))
            return False
        if following is not order.status or reason:
            _set(order, "status", following)
            _set(order, "evidence", evidence or trigger)
            if reason:
                _set(order, "reason", reason)
        if following in _DONE:
            _set(order, "is_done", True)
            _set(order, "pending_cancel", False)
            _set(order, "pending_change", False)
        return True

    def book(self, order: Order, fill: Fill) -> bool:
        """Book one execution; False when it was booked before. Overfills are booked and noted as anomalies."""
        if fill.execution_id in self._executions:
            return False
        self._executions.add(fill.execution_id)
        self.fills.append(fill)
        if self.touched is not None:
            self.touched[order.id] = order
        filled = order.filled + fill.quantity
        _set(order, "filled", filled)
        _set(order, "fills", (*order.fills, fill))
        if len(order.fills) == 1:
            _set(order, "average_price", fill.price)
        elif fill.price != order.average_price:  # the average of equal prices is that price, to the last bit
            paid = math.fsum(part.price * part.quantity for part in order.fills)
            _set(order, "average_price", paid / filled)
        if filled > order.quantity:
            self.anomalies.append(Anomaly(fill.ts, order.id, f"filled {filled} of {order.quantity}"))
        if order.status is not OrderStatus.FILLED:
            self.step(
                order,
                Trigger.FILL if filled >= order.quantity else Trigger.PART,
                fill.ts,
                evidence=f"execution {fill.execution_id}",
            )
        return True

    def knows(self, execution_id: str) -> bool:
        """Whether an execution was booked, or set aside as none of ours."""
        return execution_id in self._executions

    def know(self, execution_id: str) -> None:
        """Set an execution aside: it is none of ours and is never booked."""
        self._executions.add(execution_id)

    def mark(self, order: Order, *, cancel: bool | None = None, change: bool | None = None) -> None:
        """Set or clear the flags that stand beside the status."""
        if self.touched is not None:
            self.touched[order.id] = order
        if cancel is not None:
            _set(order, "pending_cancel", cancel)
        if change is not None:
            _set(order, "pending_change", change)

    def remark(self, order: Order, reason: str) -> None:
        """Write a reason on an order without moving it."""
        if self.touched is not None:
            self.touched[order.id] = order
        _set(order, "reason", reason)

    def changed(self, order: Order, quantity: int, limit_price: float | None, stop_price: float | None) -> None:
        """Take over the values the venue reports after a change."""
        if self.touched is not None:
            self.touched[order.id] = order
        _set(order, "quantity", quantity)
        _set(order, "limit_price", limit_price)
        _set(order, "stop_price", stop_price)
        _set(order, "pending_change", False)
        if order.filled >= quantity and order.is_open and order.filled:
            self.step(order, Trigger.FILL, order.fills[-1].ts, evidence="reduced to what was filled")
