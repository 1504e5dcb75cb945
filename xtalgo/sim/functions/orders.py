"""Functions of orders: reading, placing, changing and cancelling them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

from xtalgo.model.types import MILLISECOND_NS, SECOND_NS, Ns, Side
from xtalgo.protocol.orders import change_of, place_of
from xtalgo.protocol.words import OrderState
from xtalgo.sim import bodies
from xtalgo.sim.exits import place_exits
from xtalgo.sim.functions.parts import Args, Function, Steps, good, wait
from xtalgo.sim.venue import Refused, Venue, VenueOrder

__all__ = ["CANCELLING", "FUNCTIONS", "placing"]

CANCELLING: Final[Ns] = 5 * SECOND_NS
"""How long CancelReplace and CancelAndBracket wait for their cancels to be through (assumed)."""


# --- reading ---------------------------------------------------------------------------------------------------------


def _rows(venue: Venue, accounts: tuple[str, ...], args: Mapping[str, Any], now: Ns) -> list[dict[str, Any]]:
    active = args.get("activeOnly", False)
    return [
        bodies.order_row(order)
        for order in venue.listed(now)
        if order.account in accounts and not (active and order.state.is_done)
    ]


def _list_orders(venue: Venue, args: Args, now: Ns) -> object:
    return good(orders=_rows(venue, (venue.account(args["account"]),), args, now))


def _get_all_orders(venue: Venue, args: Args, now: Ns) -> object:
    rows = _rows(venue, venue.accounts, args, now)
    return good(orders=rows, count=len(rows))


def _seen(venue: Venue, args: Args, now: Ns) -> VenueOrder:
    order = venue.order(venue.account(args["account"]), args["orderId"], now)
    if order is None:
        raise Refused(f"Order '{args['orderId']}' not found")
    return order


def _get_order(venue: Venue, args: Args, now: Ns) -> object:
    return good(**bodies.order_row(_seen(venue, args, now)))


def _get_order_status(venue: Venue, args: Args, now: Ns) -> object:
    order = _seen(venue, args, now)
    return good(orderId=order.id, orderState=order.state.value, filled=order.filled, quantity=order.quantity)


# --- placing and changing --------------------------------------------------------------------------------------------


def placing(venue: Venue, args: Args, *, chosen: bool = False) -> Callable[[Ns], VenueOrder]:
    """What places the order of a call, all its names being looked at now, before anything is done. Raises Refused.

    ``chosen`` says that ``orderId`` is the new order's, rather than that of another.
    """
    account = venue.account(args["account"])
    contract = venue.contract(args["instrument"])
    template = venue.atm.template(args["strategy"]) if "strategy" in args else None
    facts = {**args, "account": account, "instrument": contract.name}
    if not chosen:
        facts.pop("orderId", None)

    def place(now: Ns) -> VenueOrder:
        command = place_of(facts, venue.new_id())
        if template is not None:
            return venue.atm.enter(template, command, now, chosen=chosen)
        return venue.place(command, now, chosen=chosen)

    return place


def _place_order(venue: Venue, args: Args, now: Ns) -> object:
    place = placing(venue, args, chosen="orderId" in args)
    account = venue.account(args["account"])
    held = venue.book(account, venue.contract(args["instrument"])).position
    state = "long" if held > 0 else "short" if held < 0 else "flat"
    if "requireMarketPosition" in args and state not in args["requireMarketPosition"].split(","):
        raise Refused(f"requireMarketPosition is {args['requireMarketPosition']}, the position is {state}")
    if "maxPositions" in args and not held:
        count = sum(1 for book in venue.books(account) if book.position)
        if count >= args["maxPositions"]:
            raise Refused(f"maxPositions is {args['maxPositions']}, {count} positions are open")
    return good(orderId=place(now).id)


def _flat_place(venue: Venue, args: Args, now: Ns) -> object:
    place = placing(venue, args)
    venue.close(venue.account(args["account"]), venue.contract(args["instrument"]), now)
    return good(orderId=place(now).id)


def _gone(order_id: str) -> Refused:
    return Refused(f"Order linked to '{order_id}' not found or already terminal.")


def _known(venue: Venue, args: Args) -> VenueOrder:
    """The order that a call means, if it may still trade."""
    order = venue.order(venue.account(args["account"]), args["orderId"])
    if order is None or order.state.is_done:
        raise _gone(args["orderId"])
    return order


def _change(venue: Venue, args: Args, now: Ns) -> object:
    order = _known(venue, args)
    if "strategyId" in args and args["strategyId"] != order.strategy:
        why = f"strategyId: order {args['orderId']!r} is not one of strategy {args['strategyId']!r}"
        raise Refused("Invalid request", why)
    venue.change(order, change_of(args), now)
    return good(orderId=order.id)


def _cancel_replace(venue: Venue, args: Args, now: Ns) -> Steps:
    place = placing(venue, args)
    order = _known(venue, args)
    venue.cancel(order, now)
    now = yield from wait(lambda: order.state.is_done, now, now + CANCELLING)
    if order.state is OrderState.FILLED:
        raise _gone(args["orderId"])  # a replacement of what has filled would be a second order
    if not order.state.is_done:
        raise Refused(f"Order '{args['orderId']}' is still being cancelled; it was not replaced")
    return good(orderId=place(now).id)


# --- cancelling ------------------------------------------------------------------------------------------------------


def _cancel(venue: Venue, args: Args, now: Ns) -> object:
    order = _known(venue, args)
    venue.cancel(order, now)
    return good(orderId=order.id)


def _cancelled(venue: Venue, orders: Iterable[VenueOrder], now: Ns) -> object:
    told = []
    for order in orders:
        venue.cancel(order, now)
        told.append(order.id)
    return good(orderIds=told)


def _cancel_orders(venue: Venue, args: Args, now: Ns) -> object:
    account = venue.account(args["account"])
    contract = venue.contract(args["instrument"]) if "instrument" in args else None
    return _cancelled(venue, venue.working(account, contract), now)


def _cancel_all_orders(venue: Venue, args: Args, now: Ns) -> object:
    accounts = (venue.account(args["account"]),) if "account" in args else venue.accounts
    return _cancelled(venue, [order for account in accounts for order in venue.working(account)], now)


# --- brackets --------------------------------------------------------------------------------------------------------


def _cancel_and_bracket(venue: Venue, args: Args, now: Ns) -> Steps:
    account = venue.account(args["account"])
    contract = venue.contract(args["instrument"])
    book, side = venue.book(account, contract), Side[args["action"]]
    held = book.position
    if held * side < 0:
        why = f"action: {args['action']} is the side of a position, and this one is {'long' if held > 0 else 'short'}"
        raise Refused("Invalid request", why)
    until = now + CANCELLING
    for order in venue.working(account, contract):
        venue.cancel(order, now)
    if args.get("delay"):
        now = yield now + args["delay"] * MILLISECOND_NS
    now = yield from wait(lambda: not venue.working(account, contract), now, until)
    left = book.position * side
    if left < 0 or (held and not left):
        raise Refused("Aborted: the position went flat while its orders were cancelled; nothing was placed")
    quantity = min(args["quantity"], left) if left else args["quantity"]
    pair = place_exits(
        venue, account, contract, side.opposite, quantity, args.get("stopLoss"), args.get("takeProfit"), now
    )
    return good(orderIds=[order.id for order in (pair.target, pair.stop) if order is not None], ocoId=pair.oco)


FUNCTIONS: Final[Mapping[str, Function]] = {
    "ListOrders": _list_orders,
    "GetAllOrders": _get_all_orders,
    "GetOrder": _get_order,
    "GetOrderStatus": _get_order_status,
    "PlaceOrder": _place_order,
    "FlatPlace": _flat_place,
    "Change": _change,
    "CancelReplace": _cancel_replace,
    "Cancel": _cancel,
    "CancelOrders": _cancel_orders,
    "CancelAllOrders": _cancel_all_orders,
    "CancelAndBracket": _cancel_and_bracket,
}
