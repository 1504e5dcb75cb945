"""What we want done at the venue: the engine's outputs (msgspec Structs, as the events are)."""

from __future__ import annotations

import enum
from typing import Final, TypeAlias

import msgspec

from xtalgo.model.types import Ns, OrderType, Role, Side, TimeInForce

__all__ = [
    "EVERY_ACCOUNT",
    "Ask",
    "BarsQuery",
    "CancelOrder",
    "ChangeOrder",
    "Command",
    "Figures",
    "FiguresQuery",
    "Mutation",
    "PlaceOrder",
    "Query",
    "Read",
    "Withdraw",
]


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
    ttl: Ns | None = None
    """How long it may wait for a token, where its group has a time limit; None is as long as any entry may."""


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


class Ask(enum.StrEnum):
    """What a query asks an account's venue for."""

    __hash__ = str.__hash__

    ORDERS = "orders"
    """Its orders, working and finished ones of the session."""
    ORDER = "order"
    """One order, by its id."""
    EXECUTIONS = "executions"
    """Its recent executions."""
    POSITIONS = "positions"
    """Its positions."""


EVERY_ACCOUNT: Final = "*"
"""The account of a query that asks about all accounts at once."""


class Query(msgspec.Struct, frozen=True):
    """Ask the venue something; it changes nothing there, so it may be asked again at will.

    ``serial`` tells queries apart: what a reply proves depends on when its query left. ``urgent`` is for what became
    of orders in flight, which goes before routine polls.
    """

    ask: Ask
    account: str
    serial: int
    urgent: bool = True
    order_id: str | None = None


class BarsQuery(msgspec.Struct, frozen=True):
    """Ask the venue for the newest ``count`` finished bars of an instrument; a bar that still grows may come, too.

    ``period`` is spelled as strategies spell it (``5m``, ``1h``, ``1d``). ``serial`` tells queries apart.
    """

    instrument: str
    period: str
    count: int
    serial: int


class Figures(enum.StrEnum):
    """What can be asked of an account beside its orders and positions."""

    __hash__ = str.__hash__

    ITEMS = "items"
    """Cash, margins, P&L: what NinjaTrader keeps as account items."""
    WATERMARKS = "watermarks"
    """The day's highest P&L and net liquidation."""


class FiguresQuery(msgspec.Struct, frozen=True):
    """Ask the venue for figures of an account."""

    about: Figures
    account: str
    serial: int


Mutation: TypeAlias = PlaceOrder | ChangeOrder | CancelOrder
"""Commands that change something at the venue: sent once, and again only when it is known that they were not done."""

Read: TypeAlias = BarsQuery | FiguresQuery
"""Questions whose answers prove nothing about orders: when they are lost, nothing is in doubt."""

Command: TypeAlias = PlaceOrder | ChangeOrder | CancelOrder | Query | BarsQuery | FiguresQuery | Withdraw
"""Everything that a turn can ask for."""
