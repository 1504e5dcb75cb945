"""CrossTrade's functions on a simulated venue: one function each, by groups, and all of them in ``FUNCTIONS``.

A function gets the venue, arguments that ``check_call`` has cleaned, and the moment at which it is carried out; it
returns the body of the REST answer, or raises ``Refused``, the venue's own no. One that waits between its steps is a
generator (``parts.Steps``), and whoever carries it out lets the time pass.
"""

from __future__ import annotations

from typing import Final

from xtalgo.sim.functions import accounts, executions, market, orders, positions, strategies, tradovate
from xtalgo.sim.functions.parts import Function, Steps

__all__ = ["FUNCTIONS", "Function", "Steps"]

FUNCTIONS: Final[dict[str, Function]] = {
    **accounts.FUNCTIONS,
    **positions.FUNCTIONS,
    **orders.FUNCTIONS,
    **executions.FUNCTIONS,
    **market.FUNCTIONS,
    **strategies.FUNCTIONS,
    **tradovate.FUNCTIONS,
}
"""What is served, by the names of ``rpc.TABLE``: all of it, in its order."""
