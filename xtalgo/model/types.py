"""Small shared types: time, sides, order kinds, and the words an order's life is told in."""

from __future__ import annotations

import enum
from typing import Annotated, TypeAlias

__all__ = [
    "DAY_NS",
    "HOUR_NS",
    "MILLISECOND_NS",
    "MINUTE_NS",
    "NEVER",
    "SECOND_NS",
    "Instrument",
    "Ns",
    "OrderStatus",
    "OrderType",
    "Role",
    "Side",
    "TimeInForce",
    "Trigger",
]

Ns: TypeAlias = int
"""Nanoseconds since 1970-01-01 UTC, or a span of nanoseconds. Always an int."""

MILLISECOND_NS: Ns = 1_000_000
SECOND_NS: Ns = 1_000_000_000
MINUTE_NS: Ns = 60 * SECOND_NS
HOUR_NS: Ns = 60 * MINUTE_NS
DAY_NS: Ns = 24 * HOUR_NS
NEVER: Ns = 2**63 - 1
"""Later than anything that happens."""

Instrument = Annotated[str, "xtalgo.instrument"]
"""Annotation for a strategy parameter that names an instrument; it is made canonical before ``on_start``."""


class Side(enum.IntEnum):
    """Direction of an order or fill; its value is its sign, so ``side * quantity`` is a position change."""

    BUY = 1
    SELL = -1

    @property
    def opposite(self) -> Side:
        """The other side."""
        return Side.SELL if self is Side.BUY else Side.BUY


class OrderType(enum.StrEnum):
    """Order kinds of the venue; the values are CrossTrade's ``orderType`` argument (documented)."""

    MARKET = "MARKET"
    LIMIT = "LIMIT"
    STOP_MARKET = "STOPMARKET"
    STOP_LIMIT = "STOPLIMIT"


class TimeInForce(enum.StrEnum):
    """How long an order rests: until its session closes (``DAY``) or until it is cancelled (``GTC``)."""

    DAY = "DAY"
    GTC = "GTC"


class Role(enum.StrEnum):
    """What an order is for. Everything but ``ENTRY`` is owned by the engine and only shrinks a position."""

    ENTRY = "entry"
    STOP_LOSS = "stop_loss"
    TAKE_PROFIT = "take_profit"
    CLOSE = "close"


class OrderStatus(enum.StrEnum):
    """Where an order stands. See ``xtalgo.engine.orders.TRANSITIONS`` for every legal step."""

    # Enum hashes through Python code; these two are keys of the table that every step looks up.
    __hash__ = str.__hash__

    DRAFT = "draft"
    DENIED = "denied"
    QUEUED = "queued"
    SENT = "sent"
    IN_DOUBT = "in_doubt"
    WORKING = "working"
    PARTIAL = "partial"
    FILLED = "filled"
    CANCELLED = "cancelled"
    REJECTED = "rejected"
    EXPIRED = "expired"
    ABSENT = "absent"

    @property
    def is_done(self) -> bool:
        """Whether nothing but late fill evidence can still change this status."""
        return self in _DONE


_DONE = frozenset(
    {
        OrderStatus.DENIED,
        OrderStatus.FILLED,
        OrderStatus.CANCELLED,
        OrderStatus.REJECTED,
        OrderStatus.EXPIRED,
        OrderStatus.ABSENT,
    }
)


class Trigger(enum.StrEnum):
    """What can happen to an order; with the status it decides the next status."""

    __hash__ = str.__hash__

    DENY = "deny"
    """The risk gate said no."""
    SUBMIT = "submit"
    """The risk gate let it pass; it waits for a token."""
    SEND = "send"
    """It left the pacing queue for the venue."""
    DROP = "drop"
    """It was cancelled, or its strategy stopped, before it was sent."""
    STALE = "stale"
    """It waited in the pacing queue beyond its time to live."""
    ACCEPT = "accept"
    """The venue answered that it has the order."""
    REJECT = "reject"
    """The venue refused the order."""
    PART = "part"
    """An execution that leaves something open."""
    FILL = "fill"
    """An execution that completes the order."""
    CANCEL = "cancel"
    """The venue shows the order cancelled."""
    EXPIRE = "expire"
    """The venue ended a DAY order with its session."""
    UNSENT = "unsent"
    """It turned out that the order never left, or was not carried out."""
    DOUBT = "doubt"
    """It was sent and nobody knows what became of it, or the venue does not show it any more."""
    MISS = "miss"
    """Evidence says that the venue never had it."""
