"""What happened: the engine's inputs, and the values a strategy is shown.

These are built per event, hence msgspec Structs: a frozen one costs a fifth of a frozen attrs class.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from xtalgo.model.commands import Command
from xtalgo.model.types import Ns, Side, Trigger

__all__ = [
    "AccountPnl",
    "Bar",
    "CancelRefused",
    "ChangeRefused",
    "Changed",
    "Event",
    "Fill",
    "LinkDown",
    "LinkUp",
    "OrderUpdate",
    "Quote",
    "Released",
    "Stale",
    "Tick",
]


class Quote(msgspec.Struct, frozen=True, gc=False):
    """Best bid and ask of one instrument as known at ``ts``. Immutable; may be kept.

    Prices are in points; ``volume`` is the session's cumulative volume in contracts, sizes are in contracts.
    What the feed did not tell is None, never zero.
    """

    ts: Ns
    instrument: str
    bid: float
    ask: float
    last: float | None = None
    volume: int | None = None
    bid_size: int | None = None
    ask_size: int | None = None

    @property
    def mid(self) -> float:
        """Half way between bid and ask."""
        return (self.bid + self.ask) / 2

    @property
    def spread(self) -> float:
        """Ask minus bid in points; negative when crossed."""
        return self.ask - self.bid

    @property
    def is_crossed(self) -> bool:
        """Whether the ask is below the bid; nothing fills on such a quote."""
        return self.ask < self.bid


class Bar(msgspec.Struct, frozen=True):
    """Open, high, low and close of the quotes in ``start <= ts < end``; ``period`` as it was asked for (``5m``).

    ``volume`` is the growth of the cumulative volume inside the bar, ``quotes`` how many quotes it saw.
    """

    instrument: str
    period: str
    start: Ns
    end: Ns
    open: float
    high: float
    low: float
    close: float
    volume: int
    quotes: int


class Tick(msgspec.Struct, frozen=True):
    """Time has reached ``ts``: everything due by then runs, in order of its own time."""

    ts: Ns


class Released(msgspec.Struct, frozen=True):
    """A command left the pacing queue for the venue, after ``waited`` nanoseconds in it."""

    ts: Ns
    command: Command
    waited: Ns = 0


class Stale(msgspec.Struct, frozen=True):
    """A command was dropped from the pacing queue unsent because it had waited too long."""

    ts: Ns
    command: Command


class OrderUpdate(msgspec.Struct, frozen=True):
    """The venue speaks of one order: accepted, refused, cancelled or expired (fills come as ``Fill``)."""

    ts: Ns
    order_id: str
    trigger: Trigger
    reason: str = ""


class Changed(msgspec.Struct, frozen=True):
    """A change took effect at the venue; the values are the order's own after it (prices in points)."""

    ts: Ns
    order_id: str
    quantity: int
    limit_price: float | None
    stop_price: float | None


class ChangeRefused(msgspec.Struct, frozen=True):
    """The venue refused a change; the order stands as it was."""

    ts: Ns
    order_id: str
    reason: str


class CancelRefused(msgspec.Struct, frozen=True):
    """The venue refused a cancel, normally because the order is already done: not evidence of how it ended."""

    ts: Ns
    order_id: str
    reason: str


class Fill(msgspec.Struct, frozen=True):
    """One execution. ``ts`` is when we could know of it, ``executed`` when it happened at the venue.

    ``price`` is in points, ``fee`` in dollars for the whole quantity. ``execution_id`` is unique and makes a
    repeated report harmless.
    """

    ts: Ns
    order_id: str
    execution_id: str
    account: str
    instrument: str
    side: Side
    quantity: int
    price: float
    fee: float
    executed: Ns


class AccountPnl(msgspec.Struct, frozen=True):
    """The venue's own P&L of one account, in dollars, about once a second; what it did not tell is None."""

    ts: Ns
    account: str
    realized: float | None
    unrealized: float | None
    net_liquidation: float | None = None


class LinkUp(msgspec.Struct, frozen=True):
    """The venue can be reached."""

    ts: Ns


class LinkDown(msgspec.Struct, frozen=True):
    """The venue cannot be reached; ``reason`` is for people."""

    ts: Ns
    reason: str


Event: TypeAlias = (
    Quote
    | Tick
    | Released
    | Stale
    | OrderUpdate
    | Changed
    | ChangeRefused
    | CancelRefused
    | Fill
    | AccountPnl
    | LinkUp
    | LinkDown
)
"""Everything that ``Engine.handle`` takes."""
