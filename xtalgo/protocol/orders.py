"""Our order commands as calls, and calls as our order commands: one table read from either side."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from xtalgo.model.commands import CancelOrder, ChangeOrder, PlaceOrder
from xtalgo.model.types import OrderType, Side, TimeInForce

__all__ = ["Call", "call_of", "cancel_of", "change_of", "place_of"]


class Call(NamedTuple):
    """A function and its arguments, ready for ``Rpc``."""

    api: str
    args: dict[str, Any]


def call_of(command: PlaceOrder | ChangeOrder | CancelOrder, venue_id: str | None = None) -> Call:
    """The call that a command is.

    Our own order id goes out as ``orderId``: at placing it chooses the id (documented; the newest page only), later it
    names the order. ``venue_id`` replaces it where the venue is known to go by another.
    """
    if isinstance(command, PlaceOrder):
        return Call(
            "PlaceOrder",
            _told(
                account=command.account,
                instrument=command.instrument,
                action=command.side.name,
                orderType=command.type.value,
                quantity=command.quantity,
                timeInForce=command.tif.value,
                limitPrice=command.limit_price,
                stopPrice=command.stop_price,
                ocoId=command.oco,
                orderId=command.order_id,
            ),
        )
    order_id = venue_id or command.order_id
    if isinstance(command, CancelOrder):
        return Call("Cancel", {"account": command.account, "orderId": order_id})
    return Call(
        "Change",
        _told(
            account=command.account,
            orderId=order_id,
            quantity=command.quantity,
            limitPrice=command.limit_price,
            stopPrice=command.stop_price,
        ),
    )


def _told(**args: Any) -> dict[str, Any]:
    return {name: value for name, value in args.items() if value is not None}


def place_of(args: Mapping[str, Any], order_id: str) -> PlaceOrder:
    """PlaceOrder's checked arguments as a command; ``order_id`` is what a server calls it unless the caller chose."""
    return PlaceOrder(
        order_id=args.get("orderId", order_id),
        account=args["account"],
        instrument=args["instrument"],
        side=Side[args["action"]],
        type=OrderType(args["orderType"]),
        quantity=args["quantity"],
        limit_price=args.get("limitPrice"),
        stop_price=args.get("stopPrice"),
        tif=TimeInForce(args["timeInForce"]),
        oco=args.get("ocoId"),
    )


def change_of(args: Mapping[str, Any]) -> ChangeOrder:
    """Change's checked arguments as a command."""
    return ChangeOrder(
        args["orderId"], args["account"], args.get("quantity"), args.get("limitPrice"), args.get("stopPrice")
    )


def cancel_of(args: Mapping[str, Any]) -> CancelOrder:
    """Cancel's checked arguments as a command."""
    return CancelOrder(args["orderId"], args["account"])
