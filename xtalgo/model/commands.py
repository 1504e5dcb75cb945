"""What we want done at the venue: the engine's outputs (msgspec Structs, as the events are)."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from xtalgo.model.types import OrderType, Role, Side, TimeInForce

__all__ = ["CancelOrder", "ChangeOrder", "Command", "PlaceOrder", "Withdraw"]


class PlaceOrder(msgspec.Struct, frozen=True):
    """Place a new order under our own ``order_id``. Prices are canonical points, quantity in contracts."""

    order_id: str
    account: str
    instrument: str
    side: Side
    type: OrderType
    quantity: int
    limit_price: float | None = None
    stop_price: float | None = None
    tif: TimeInForce = TimeInForce.DAY
    oco: str | None = None
    role: Role = Role.ENTRY
    reduces: bool = False
    """Whether it could only shrink a position when it passed the risk gate; such an order never goes stale."""


class ChangeOrder(msgspec.Struct, frozen=True):
    """Change a working order; None leaves a value as it is. ``quantity`` is the total, filled part included."""

    order_id: str
    account: str
    quantity: int | None = None
    limit_price: float | None = None
    stop_price: float | None = None


class CancelOrder(msgspec.Struct, frozen=True):
    """Cancel a working order."""

    order_id: str
    account: str


class Withdraw(msgspec.Struct, frozen=True):
    """Take a command out of the pacing queue, where it still waits: it costs no request.

    ``key`` is the queue's key of that command. Drivers must hand ``Released`` to the engine in the same breath as
    they pop a command, so that a withdrawn command cannot be on its way already.
    """

    key: str


Command: TypeAlias = PlaceOrder | ChangeOrder | CancelOrder | Withdraw
"""Everything that the pacing queue carries in replay; queries join it with the live session."""
