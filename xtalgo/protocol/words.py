"""The venue's words for states, sides and kinds, and what they mean to us.

Arguments are documented in upper case; replies use NinjaTrader's spellings, of which only few are documented. So all
are read in any case, and a word that isn't known is None (a state: ``UNKNOWN``), never a guess.
"""

from __future__ import annotations

import enum

from xtalgo.model.types import OrderType, Side, TimeInForce

__all__ = ["OrderState", "order_state", "order_type_of", "side_of", "signed_quantity", "tif_of"]


class OrderState(enum.StrEnum):
    """NinjaTrader's order states. ``CancelPending`` is documented, the others are NinjaTrader's own (inferred)."""

    INITIALIZED = "Initialized"
    SUBMITTED = "Submitted"
    ACCEPTED = "Accepted"
    TRIGGER_PENDING = "TriggerPending"
    WORKING = "Working"
    CHANGE_PENDING = "ChangePending"
    CHANGE_SUBMITTED = "ChangeSubmitted"
    CANCEL_PENDING = "CancelPending"
    CANCEL_SUBMITTED = "CancelSubmitted"
    PART_FILLED = "PartFilled"
    FILLED = "Filled"
    CANCELLED = "Cancelled"
    REJECTED = "Rejected"
    UNKNOWN = "Unknown"

    @property
    def is_done(self) -> bool:
        """Whether the order can't trade any more."""
        return self in (OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED)

    @property
    def is_accepted(self) -> bool:
        """Whether the venue has taken the order and it may still trade."""
        return not self.is_done and self not in (OrderState.INITIALIZED, OrderState.SUBMITTED, OrderState.UNKNOWN)

    @property
    def is_cancelling(self) -> bool:
        """Whether a cancel is under way; the order may fill until it is through."""
        return self in (OrderState.CANCEL_PENDING, OrderState.CANCEL_SUBMITTED)


def _key(text: str | None) -> str:
    return "" if text is None else text.replace(" ", "").replace("_", "").casefold()


_STATES = {
    **{state.value.casefold(): state for state in OrderState},
    "canceled": OrderState.CANCELLED,
    "partiallyfilled": OrderState.PART_FILLED,
}
_SIDES = {
    **dict.fromkeys(("buy", "buytocover", "long"), Side.BUY),
    **dict.fromkeys(("sell", "sellshort", "short"), Side.SELL),
}
_TYPES = {kind.value.casefold(): kind for kind in OrderType}
_TIFS = {tif.value.casefold(): tif for tif in TimeInForce}


def order_state(text: str | None) -> OrderState:
    """The state that a text names; ``UNKNOWN`` for any other text, and for none."""
    return _STATES.get(_key(text), OrderState.UNKNOWN)


def side_of(text: str | None) -> Side | None:
    """The direction of an order action or of a fill (``Long`` is a buy); None for any other text."""
    return _SIDES.get(_key(text))


def order_type_of(text: str | None) -> OrderType | None:
    """The order type that a text names; None for any other, such as NinjaTrader's ``MIT``."""
    return _TYPES.get(_key(text))


def tif_of(text: str | None) -> TimeInForce | None:
    """The time in force that a text names; None for any other."""
    return _TIFS.get(_key(text))


def signed_quantity(market_position: str | None, quantity: int | None) -> int | None:
    """Contracts of a position, negative when short; None where the two don't say.

    Quantities are positive on the wire (documented by example): a negative one is no answer, nor is ``Flat`` with
    contracts or ``Long`` with none.
    """
    match _key(market_position), quantity:
        case "flat", 0:
            return 0
        case "long", int() if quantity > 0:
            return quantity
        case "short", int() if quantity > 0:
            return -quantity
    return None
