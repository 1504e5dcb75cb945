"""Functions of executions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from xtalgo.model.types import SECOND_NS, Ns
from xtalgo.sim import bodies
from xtalgo.sim.functions.parts import Args, Function, good
from xtalgo.sim.venue import Refused, Venue

__all__ = ["FUNCTIONS"]


def _list_executions(venue: Venue, args: Args, now: Ns) -> object:
    account = venue.account(args["account"])
    since = now - args.get("lookbackTime", 320) * SECOND_NS
    rows = []
    for execution in reversed(venue.executions):
        if execution.fill.executed < since:
            break
        if execution.fill.account == account:
            rows.append(bodies.execution_row(execution))
    return good(executions=rows[::-1])


def _get_execution(venue: Venue, args: Args, _now: Ns) -> object:
    account = venue.account(args["account"])
    for execution in reversed(venue.executions):
        if execution.id == args["executionId"] and execution.fill.account == account:
            return good(**bodies.execution_row(execution))
    raise Refused(f"Execution '{args['executionId']}' not found")


def _get_executions_by_order_id(venue: Venue, args: Args, _now: Ns) -> object:
    accounts = (venue.account(args["account"]),) if "account" in args else venue.accounts
    order = venue.find(args["orderId"])
    if order is None or order.account not in accounts:
        return good(executions=[])
    return good(executions=[bodies.execution_row(each) for each in venue.executions if each.order is order])


FUNCTIONS: Final[Mapping[str, Function]] = {
    "ListExecutions": _list_executions,
    "GetExecution": _get_execution,
    "GetExecutionsByOrderId": _get_executions_by_order_id,
}
