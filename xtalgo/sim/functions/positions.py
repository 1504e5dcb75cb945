"""Functions of positions: reading them, closing them, turning them round."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Final

from xtalgo.engine.ledger import Book
from xtalgo.model.commands import PlaceOrder
from xtalgo.model.instruments import Contract
from xtalgo.model.types import SECOND_NS, Ns, OrderType, Side, TimeInForce
from xtalgo.sim import bodies
from xtalgo.sim.functions.orders import placing
from xtalgo.sim.functions.parts import Args, Function, Steps, good, wait
from xtalgo.sim.venue import Refused, Venue, VenueOrder

__all__ = ["CLEARING", "FUNCTIONS"]

CLEARING: Final[Ns] = 5 * SECOND_NS
"""How long ReversePosition waits for a position and its orders to clear (documented)."""

_NOTHING: Final = "Nothing to flatten"


def _rows(venue: Venue, account: str, *, flat: bool = False) -> list[dict[str, Any]]:
    return [bodies.position_row(venue, account, book) for book in venue.books(account) if flat or book.position]


def _list_positions(venue: Venue, args: Args, _now: Ns) -> object:
    return good(positions=_rows(venue, venue.account(args["account"])))


def _get_all_positions(venue: Venue, args: Args, _now: Ns) -> object:
    flat = args.get("includeFlat", False)
    rows = [{**row, "tag": None} for account in venue.accounts for row in _rows(venue, account, flat=flat)]
    return good(positions=rows, count=len(rows))


def _get_position(venue: Venue, args: Args, _now: Ns) -> object:
    account = venue.account(args["account"])
    contract = venue.contract(args["instrument"])
    return good(**bodies.position_row(venue, account, venue.book(account, contract)))


# --- closing ---------------------------------------------------------------------------------------------------------


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
    return good(closedPositions=[row])


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
        orders = [
            order
            for order in venue.working(account, only)
            if not sign or any(order.contract == book.contract for book in chosen)
        ]
        rows += [bodies.position_row(venue, account, book) for book in chosen]
        _clear(venue, account, orders, chosen, now)
    return good(closedPositions=rows) if rows else good(closedPositions=rows, warning=_NOTHING)


def _flatten_everything(venue: Venue, _args: Args, now: Ns) -> object:
    rows: list[dict[str, Any]] = []
    closing: list[VenueOrder] = []
    for account in venue.accounts:
        rows += _rows(venue, account)
        chosen = [book for book in venue.books(account) if book.position]
        closing += _clear(venue, account, venue.working(account), chosen, now)
    told: dict[str, object] = {} if rows else {"warning": _NOTHING}
    return good(orderIds=[order.id for order in closing], closedPositions=rows, **told)


def _clear(
    venue: Venue, account: str, orders: Iterable[VenueOrder], books: Iterable[Book], now: Ns
) -> list[VenueOrder]:
    """Cancel orders of an account and close positions; the orders that close them."""
    for order in orders:
        venue.cancel(order, now, at_once=True)
    closing = [venue.close(account, book.contract, now) for book in books]
    return [order for order in closing if order is not None]


# --- turning round ---------------------------------------------------------------------------------------------------


def _open(venue: Venue, args: Args) -> tuple[str, Contract, int]:
    """Account, contract and open contracts. Raises Refused when flat; the account is told as the venue keeps it."""
    account = venue.account(args["account"])
    contract = venue.contract(args["instrument"])
    held = venue.book(account, contract).position
    if not held:
        # The documented example has the account in lower case.
        raise Refused(f"No position found for instrument '{contract.name}' in account '{account.lower()}'")
    return account, contract, held


def _reverse(venue: Venue, args: Args, now: Ns) -> object:
    account, contract, held = _open(venue, args)
    venue.cancel_all(account, contract, now)
    command = PlaceOrder(
        venue.new_id(),
        account,
        contract.name,
        Side.SELL if held > 0 else Side.BUY,
        OrderType.MARKET,
        2 * abs(held),
        tif=TimeInForce.GTC,
    )
    return good(orderId=venue.place(command, now, name="Reverse", chosen=False).id)


def _reverse_position(venue: Venue, args: Args, now: Ns) -> Steps:
    place = placing(venue, args)
    account, contract, _ = _open(venue, args)
    venue.close(account, contract, now)

    def is_clear() -> bool:
        return not venue.book(account, contract).position and not venue.working(account, contract)

    now = yield from wait(is_clear, now, now + CLEARING)
    return good(orderId=place(now).id)


FUNCTIONS: Final[Mapping[str, Function]] = {
    "ListPositions": _list_positions,
    "GetAllPositions": _get_all_positions,
    "GetPosition": _get_position,
    "ClosePosition": _close_position,
    "Flatten": _flatten,
    "FlattenEverything": _flatten_everything,
    "Reverse": _reverse,
    "ReversePosition": _reverse_position,
}
