"""Events of a simulated venue that are pushed to a connection which asked for them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from attrs import define, field

from xtalgo.sim import bodies
from xtalgo.sim.venue import Venue

__all__ = ["Pushed"]


@define(eq=False)
class Pushed:
    """What a connection was told of orders, executions and positions; ``news`` is what it was not.

    Orders that are in no list yet (``late_rows``) are told of all the same.
    """

    _venue: Venue
    _wanted: set[str] = field(factory=set)
    seq: int = 0
    """Of the newest event."""
    _states: dict[str, int] = field(factory=dict)
    """By the key of an order, how many of its states were told."""
    _executions: int = 0

    @property
    def is_on(self) -> bool:
        """Whether anything was asked for."""
        return bool(self._wanted)

    def want(self, kinds: tuple[str, ...]) -> None:
        """From now on, events of these kinds: orders, executions, positions."""
        if not self._wanted:
            self._states = {order.key: len(order.states) for order in self._venue.orders}
            self._executions = len(self._venue.executions)
        self._wanted.update(kinds)

    def news(self) -> Iterator[tuple[str, dict[str, Any], int]]:
        """What happened since: kind, row and sequence number."""
        for what, row in [*self._orders(), *self._fills()]:
            if f"{what}s" in self._wanted:
                self.seq += 1
                yield what, row, self.seq

    def _orders(self) -> Iterator[tuple[str, dict[str, Any]]]:
        for order in self._venue.orders:
            told = self._states.get(order.key, 0)
            if len(order.states) > told:
                self._states[order.key] = len(order.states)
                row = bodies.order_row(order)
                for _, state in order.states[told:]:
                    yield "order", {**row, "orderState": str(state)}

    def _fills(self) -> Iterator[tuple[str, dict[str, Any]]]:
        fresh = self._venue.executions[self._executions :]
        self._executions += len(fresh)
        for execution in fresh:
            yield "execution", bodies.execution_row(execution)
            book = self._venue.book(execution.fill.account, execution.order.contract)
            yield "position", bodies.position_row(self._venue, execution.fill.account, book)
