"""The two lists of Tradovate's route: the same accounts by numbers instead of names, as one login's."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import Any, Final

from xtalgo.model.sessions import to_datetime
from xtalgo.model.types import Ns
from xtalgo.protocol.words import OrderState
from xtalgo.sim.functions.parts import Args, Function
from xtalgo.sim.venue import Venue

__all__ = ["FUNCTIONS", "account_id", "contract_id"]

_FIRST_ACCOUNT: Final = 50_000_001
_FIRST_ORDER: Final = 900_000_001
_STATUS: Final = {
    OrderState.FILLED: "Filled",
    OrderState.CANCELLED: "Canceled",
    OrderState.REJECTED: "Rejected",
    OrderState.CANCEL_PENDING: "PendingCancel",
    OrderState.SUBMITTED: "PendingNew",
}


def account_id(venue: Venue, account: str) -> int:
    """The number of an account: in the order in which the server has them."""
    return _FIRST_ACCOUNT + venue.accounts.index(account)


def contract_id(instrument: str) -> int:
    """The number of an instrument, by its canonical name: seven digits that every server gives it."""
    return 1_000_000 + int.from_bytes(hashlib.sha256(instrument.encode()).digest()[:6], "big") % 9_000_000


def _login(rows: list[dict[str, Any]]) -> object:
    group = {"environment": "demo", "userId": "1000001", "name": "simulator", "data": rows}
    return {"success": True, "data": [group]}


def _time(now: Ns) -> str:
    return f"{to_datetime(now).replace(tzinfo=dt.UTC):%Y-%m-%dT%H:%M:%SZ}"


def _list_positions(venue: Venue, _args: Args, _now: Ns) -> object:
    newest = {(each.fill.account, each.fill.instrument): each.fill.executed for each in venue.executions}
    return _login(
        [
            {
                "accountId": account_id(venue, account),
                "contractId": contract_id(book.contract.name),
                "netPos": book.position,
                "netPrice": book.average_price or 0.0,
                "timestamp": _time(newest[account, book.contract.name]),
            }
            for account in venue.accounts
            for book in venue.books(account)
            if book.position
        ]
    )


def _list_orders(venue: Venue, _args: Args, now: Ns) -> object:
    numbers = {order.key: _FIRST_ORDER + number for number, order in enumerate(venue.orders)}
    return _login(
        [
            {
                "id": numbers[order.key],
                "accountId": account_id(venue, order.account),
                "contractId": contract_id(order.contract.name),
                "ordStatus": _STATUS.get(order.state, "Working"),
                "action": order.side.name.capitalize(),
                "timestamp": _time(order.placed),
            }
            for order in venue.listed(now)
        ]
    )


FUNCTIONS: Final[Mapping[str, Function]] = {"Tv_ListPositions": _list_positions, "Tv_ListOrders": _list_orders}
