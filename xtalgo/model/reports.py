"""What the venue shows when it is asked: its orders, executions and positions, in our words.

A report is what somebody else said at some moment, not what is so: ``engine.reconcile`` decides what follows from it.
What the venue did not tell is None, never zero. Names of accounts and instruments are canonical.
"""

from __future__ import annotations

import enum

import msgspec

from xtalgo.model.types import Ns, Side

__all__ = ["ExecutionReport", "OrderReport", "PositionReport", "Standing"]


class Standing(enum.StrEnum):
    """What an order's state at the venue comes to."""

    __hash__ = str.__hash__

    UNKNOWN = "unknown"
    """A state that says nothing we can use, or one before the exchange has the order."""
    WORKING = "working"
    """The exchange has it, and it may trade."""
    CHANGING = "changing"
    """As WORKING, and a change is under way: the values shown may be the old ones."""
    CANCELLING = "cancelling"
    """A cancel is under way; it may trade until that is through."""
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"

    @property
    def is_done(self) -> bool:
        """Whether the order can't trade any more."""
        return self in (Standing.FILLED, Standing.CANCELLED, Standing.REJECTED)


class OrderReport(msgspec.Struct, frozen=True):
    """One order as the venue shows it. ``order_id`` is the id that the venue goes by, which may be ours."""

    order_id: str
    account: str | None
    instrument: str | None
    standing: Standing
    side: Side | None = None
    quantity: int | None = None
    filled: int | None = None
    average_price: float | None = None
    limit_price: float | None = None
    stop_price: float | None = None


class ExecutionReport(msgspec.Struct, frozen=True):
    """One execution as the venue shows it; ``price`` is in points, ``fee`` in dollars for the whole quantity."""

    execution_id: str
    order_id: str | None
    account: str | None
    instrument: str
    side: Side | None
    quantity: int
    price: float
    fee: float | None = None
    executed: Ns | None = None


class PositionReport(msgspec.Struct, frozen=True):
    """What an account holds in one instrument, whoever traded it; ``quantity`` is signed."""

    account: str
    instrument: str
    quantity: int
    average_price: float | None = None
