"""Between the protocol's rows and the model's reports: what a command is as a call, and what an answer says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from xtalgo.model.commands import EVERY_ACCOUNT, Ask, CancelOrder, ChangeOrder, PlaceOrder, Query
from xtalgo.model.events import ExecutionsSeen, OrdersSeen, PositionsSeen
from xtalgo.model.reports import ExecutionReport, OrderReport, PositionReport, Standing
from xtalgo.model.types import Ns
from xtalgo.protocol.orders import Call, call_of
from xtalgo.protocol.replies import Answer
from xtalgo.protocol.rows import Execution, OrderRow, Position
from xtalgo.protocol.words import OrderState

__all__ = ["LOOKBACK", "call_for", "is_told_apart", "seen"]

LOOKBACK: Final = 900
"""Seconds of executions to ask for: the most that the venue keeps (documented)."""

_STANDING: Final = {
    OrderState.INITIALIZED: Standing.UNKNOWN,
    OrderState.SUBMITTED: Standing.UNKNOWN,
    OrderState.UNKNOWN: Standing.UNKNOWN,
    OrderState.ACCEPTED: Standing.WORKING,
    OrderState.TRIGGER_PENDING: Standing.WORKING,
    OrderState.WORKING: Standing.WORKING,
    OrderState.PART_FILLED: Standing.WORKING,
    OrderState.CHANGE_PENDING: Standing.CHANGING,
    OrderState.CHANGE_SUBMITTED: Standing.CHANGING,
    OrderState.CANCEL_PENDING: Standing.CANCELLING,
    OrderState.CANCEL_SUBMITTED: Standing.CANCELLING,
    OrderState.FILLED: Standing.FILLED,
    OrderState.CANCELLED: Standing.CANCELLED,
    OrderState.REJECTED: Standing.REJECTED,
}


def call_for(command: PlaceOrder | ChangeOrder | CancelOrder | Query, venue_id: str | None, *, far: bool) -> Call:
    """The call that a command is; ``venue_id`` names its order where the venue has another id than ours.

    ``far`` asks for executions as far back as the venue keeps them, for when the last list is long ago.
    """
    if not isinstance(command, Query):
        return call_of(command, venue_id)
    args: dict[str, Any] = {"account": command.account}
    if command.account == EVERY_ACCOUNT:
        return Call("GetAllOrders" if command.ask is Ask.ORDERS else "GetAllPositions", {})
    match command.ask:
        case Ask.ORDERS:
            return Call("ListOrders", args)
        case Ask.ORDER:
            return Call("GetOrder", {**args, "orderId": venue_id or command.order_id})
        case Ask.EXECUTIONS:
            return Call("ListExecutions", {**args, "lookbackTime": LOOKBACK} if far else args)
        case Ask.POSITIONS:
            return Call("ListPositions", args)


def is_told_apart(answer: Answer[Any]) -> bool:
    """Whether every row of an answer about all accounts names its account."""
    return all(row.account is not None for row in answer.value)


def seen(
    query: Query, answer: Answer[Any], now: Ns, name_of: Callable[[str], str]
) -> OrdersSeen | ExecutionsSeen | PositionsSeen:
    """What an answer to a query says. ``name_of`` makes an instrument's name canonical.

    Rows that name another account are left out: what they say is not what was asked.
    """
    complete = answer.is_complete
    match query.ask:
        case Ask.ORDERS | Ask.ORDER:
            rows = answer.value if isinstance(answer.value, tuple) else (answer.value,)
            orders = tuple(_order(row, name_of) for row in rows if _is_of(row.account, query))
            return OrdersSeen(now, query, orders, complete)
        case Ask.EXECUTIONS:
            fills = tuple(_execution(row, name_of) for row in answer.value if _is_of(row.account, query))
            return ExecutionsSeen(now, query, fills, complete)
        case Ask.POSITIONS:
            held = tuple(_position(row, query, name_of) for row in answer.value if _is_of(row.account, query))
            return PositionsSeen(now, query, held, complete)


def _is_of(account: str | None, query: Query) -> bool:
    return account is None or account.casefold() == query.account.casefold()


def _order(row: OrderRow, name_of: Callable[[str], str]) -> OrderReport:
    return OrderReport(
        row.order_id,
        row.account,
        None if row.instrument is None else name_of(row.instrument),
        _STANDING[row.state],
        row.side,
        row.quantity,
        row.filled,
        row.average_fill_price,
        row.limit,
        row.stop,
    )


def _execution(row: Execution, name_of: Callable[[str], str]) -> ExecutionReport:
    return ExecutionReport(
        row.id,
        row.order_id,
        row.account,
        name_of(row.instrument),
        row.side,
        row.quantity,
        row.price,
        row.commission,
        row.executed,
    )


def _position(row: Position, query: Query, name_of: Callable[[str], str]) -> PositionReport:
    return PositionReport(query.account, name_of(row.instrument), row.net, row.average_price)
