"""The bodies of CrossTrade's functions on a simulated venue: one function each, and one line in ``FUNCTIONS``.

A function gets the venue, arguments that ``check_call`` has cleaned, and the moment at which it is carried out; it
returns the body of the REST answer, or raises ``Refused``, the venue's own no.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

from xtalgo.model.sessions import session_at
from xtalgo.model.types import SECOND_NS, Ns
from xtalgo.protocol.orders import change_of, place_of
from xtalgo.sim import bodies
from xtalgo.sim.venue import Refused, Venue, VenueOrder

__all__ = ["FUNCTIONS", "Function"]

Args: TypeAlias = dict[str, Any]
Function: TypeAlias = Callable[[Venue, Args, Ns], object]
"""One function of the API."""


def _good(**body: object) -> dict[str, object]:
    return {**body, "success": True}


# --- accounts --------------------------------------------------------------------------------------------------------


def _list_accounts(venue: Venue, _args: Args, _now: Ns) -> object:
    return _good(accounts=[bodies.account_row(venue, name) for name in venue.accounts])


def _get_account(venue: Venue, args: Args, _now: Ns) -> object:
    return _good(**bodies.account_body(venue, venue.account(args["account"])))


# --- positions -------------------------------------------------------------------------------------------------------


def _list_positions(venue: Venue, args: Args, _now: Ns) -> object:
    account = venue.account(args["account"])
    return _good(positions=_positions(venue, account))


def _positions(venue: Venue, account: str, *, flat: bool = False) -> list[dict[str, Any]]:
    return [bodies.position_row(venue, account, book) for book in venue.books(account) if flat or book.position]


def _get_all_positions(venue: Venue, args: Args, _now: Ns) -> object:
    flat = args.get("includeFlat", False)
    rows = [{**row, "tag": None} for account in venue.accounts for row in _positions(venue, account, flat=flat)]
    return _good(positions=rows, count=len(rows))


def _get_position(venue: Venue, args: Args, _now: Ns) -> object:
    account = venue.account(args["account"])
    contract = venue.contract(args["instrument"])
    return _good(**bodies.position_row(venue, account, venue.book(account, contract)))


def _close_position(venue: Venue, args: Args, now: Ns) -> object:
    account = venue.account(args["account"])
    contract = venue.contract(args["instrument"])
    book = venue.book(account, contract)
    if not book.position:
        raise Refused(f"No positions found for instrument '{contract.name}'")
    row = bodies.position_row(venue, account, book)
    quantity = args.get("quantity")
    if quantity is None and "percent" in args:
        # A share of 0.2 of 5 is 1, not the 2 that floats make of it when rounded up.
        quantity = math.ceil(round(abs(book.position) * args["percent"], 9))
    venue.close(account, contract, now, quantity)
    return _good(closedPositions=[row])


def _flatten(venue: Venue, args: Args, now: Ns) -> object:
    accounts = [venue.account(args["account"])] if "account" in args else list(venue.accounts)
    only = venue.contract(args["instrument"]) if "instrument" in args else None
    sign = {"long": 1, "short": -1}.get(args.get("marketPosition", ""), 0)
    rows = []
    for account in accounts:
        chosen = [
            book
            for book in venue.books(account)
            if only in (None, book.contract) and (book.position * sign > 0 if sign else book.position)
        ]
        rows += [bodies.position_row(venue, account, book) for book in chosen]
        for order in venue.working(account, only):
            if not sign or any(order.contract == book.contract for book in chosen):
                venue.cancel(order, now, at_once=True)
        for book in chosen:
            venue.close(account, book.contract, now)
    return _good(closedPositions=rows) if rows else _good(closedPositions=rows, warning="Nothing to flatten")


# --- orders ----------------------------------------------------------------------------------------------------------


def _rows(venue: Venue, accounts: tuple[str, ...], args: Mapping[str, Any], now: Ns) -> list[dict[str, Any]]:
    active = args.get("activeOnly", False)
    return [
        bodies.order_row(order)
        for order in venue.listed(now)
        if order.account in accounts and not (active and order.state.is_done)
    ]


def _list_orders(venue: Venue, args: Args, now: Ns) -> object:
    return _good(orders=_rows(venue, (venue.account(args["account"]),), args, now))


def _get_all_orders(venue: Venue, args: Args, now: Ns) -> object:
    rows = _rows(venue, venue.accounts, args, now)
    return _good(orders=rows, count=len(rows))


def _get_order(venue: Venue, args: Args, now: Ns) -> object:
    order = venue.order(venue.account(args["account"]), args["orderId"], now)
    if order is None:
        raise Refused(f"Order '{args['orderId']}' not found")
    return _good(**bodies.order_row(order))


def _place_order(venue: Venue, args: Args, now: Ns) -> object:
    account = venue.account(args["account"])
    contract = venue.contract(args["instrument"])
    if "strategy" in args:
        raise Refused("Invalid request", "strategy: ATM templates are not served here")
    held = venue.book(account, contract).position
    state = "long" if held > 0 else "short" if held < 0 else "flat"
    if "requireMarketPosition" in args and state not in args["requireMarketPosition"].split(","):
        raise Refused(f"requireMarketPosition is {args['requireMarketPosition']}, the position is {state}")
    if "maxPositions" in args and not held:
        count = sum(1 for book in venue.books(account) if book.position)
        if count >= args["maxPositions"]:
            raise Refused(f"maxPositions is {args['maxPositions']}, {count} positions are open")
    command = place_of({**args, "account": account, "instrument": contract.name}, venue.new_id())
    order = venue.place(command, now, chosen="orderId" in args)
    return _good(orderId=order.id)


def _known(venue: Venue, args: Args) -> VenueOrder:
    """The order that a call means, if it may still trade."""
    order = venue.order(venue.account(args["account"]), args["orderId"])
    if order is None or order.state.is_done:
        raise Refused(f"Order linked to '{args['orderId']}' not found or already terminal.")
    return order


def _change(venue: Venue, args: Args, now: Ns) -> object:
    order = _known(venue, args)
    if "strategyId" in args:
        raise Refused("Invalid request", "strategyId: ATM strategies are not served here")
    venue.change(order, change_of(args), now)
    return _good(orderId=order.id)


def _cancel(venue: Venue, args: Args, now: Ns) -> object:
    order = _known(venue, args)
    venue.cancel(order, now)
    return _good(orderId=order.id)


def _cancel_orders(venue: Venue, args: Args, now: Ns) -> object:
    account = venue.account(args["account"])
    orders = venue.working(account, venue.contract(args["instrument"]) if "instrument" in args else None)
    for order in orders:
        venue.cancel(order, now)
    return _good(orderIds=[order.id for order in orders])


# --- executions and market -------------------------------------------------------------------------------------------


def _list_executions(venue: Venue, args: Args, now: Ns) -> object:
    account = venue.account(args["account"])
    since = now - args.get("lookbackTime", 320) * SECOND_NS
    rows = []
    for execution in reversed(venue.executions):
        if execution.fill.executed < since:
            break
        if execution.fill.account == account:
            rows.append(bodies.execution_row(execution))
    return _good(executions=rows[::-1])


def _is_always_open(venue: Venue) -> bool:
    return bool(getattr(venue.feed, "always_open", False))


def _get_quote(venue: Venue, args: Args, now: Ns) -> object:
    contracts = [venue.contract(text) for text in args["instrument"].split(",")]
    seen = [venue.tape.tracked.get(contract.name) for contract in contracts]
    if "account" in args:
        venue.account(args["account"])
        rows = [bodies.legacy_quote(contract, each) for contract, each in zip(contracts, seen, strict=True)]
    else:
        is_open = _is_always_open(venue) or session_at(now).contains(now)
        rows = [bodies.quote_body(contract, each, is_open) for contract, each in zip(contracts, seen, strict=True)]
    return rows if len(rows) > 1 else rows[0]


def _market_info(venue: Venue, args: Args, now: Ns) -> object:
    contract = venue.contract(args.get("instrument", "ES"))
    return bodies.market_body(contract, now, always_open=_is_always_open(venue))


FUNCTIONS: Final[Mapping[str, Function]] = {
    "ListAccounts": _list_accounts,
    "GetAccount": _get_account,
    "ListPositions": _list_positions,
    "GetAllPositions": _get_all_positions,
    "GetPosition": _get_position,
    "ClosePosition": _close_position,
    "Flatten": _flatten,
    "ListOrders": _list_orders,
    "GetAllOrders": _get_all_orders,
    "GetOrder": _get_order,
    "PlaceOrder": _place_order,
    "Change": _change,
    "Cancel": _cancel,
    "CancelOrders": _cancel_orders,
    "ListExecutions": _list_executions,
    "GetQuote": _get_quote,
    "MarketInfo": _market_info,
}
"""What is served, by the names of ``rpc.TABLE``."""
