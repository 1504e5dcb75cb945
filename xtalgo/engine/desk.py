"""What one strategy has and wants in one account and instrument: orders, exits, a standing target, a close.

The desk turns wishes into orders that are safe to send. An order that would reduce a position under engine-owned
exits waits until those exits have made room for it, so that no stop or target ever exceeds what it protects; a
close cancels everything first and is sized from the book once nothing else can fill.
"""

from __future__ import annotations

from typing import Final, Protocol

from attrs import define, field

from xtalgo.engine.brackets import Exits, ExitsHost, Plan
from xtalgo.engine.ledger import NANO, Book
from xtalgo.engine.orders import Order
from xtalgo.engine.risk import Denial, DenyReason, Exposure, RiskGate
from xtalgo.engine.series import Series
from xtalgo.model.events import Fill
from xtalgo.model.instruments import Contract
from xtalgo.model.types import SECOND_NS, Ns, OrderStatus, OrderType, Role, Side, TimeInForce

__all__ = ["RETRY", "Desk", "DeskHost"]

RETRY: Final[Ns] = SECOND_NS
"""A target or close whose order came to nothing is tried again at the first quote this much later."""


class DeskHost(ExitsHost, Protocol):
    """What a desk needs of the engine."""

    now: Ns
    barred: bool

    def gate(self, desk: Desk, change: int, order: Order | None = None, ahead: int = 0) -> Denial | None:
        """Ask the risk gate about ``change`` signed contracts; ``order`` is the draft that would make it, if any."""

    def deny(self, order: Order, denial: Denial) -> None:
        """End a draft as denied and tell its strategy."""

    def passed(self, desk: Desk, order: Order) -> None:
        """Queue an order that passed the gate."""

    def touch(self, desk: Desk) -> None:
        """Look at this desk again at the end of this turn."""

    def wake(self, desk: Desk, when: Ns) -> None:
        """Look at this desk again at a time."""

    def wake_on_quote(self, desk: Desk, after: Ns) -> None:
        """Look at this desk again at the first quote of its instrument from ``after`` on."""


@define(eq=False)
class Desk:
    """One strategy in one account and instrument."""

    host: DeskHost
    owner: str
    account: str
    contract: Contract
    series: Series
    book: Book
    exits: Exits
    gate: RiskGate
    orders: list[Order] = field(factory=list)
    """Open orders that are not engine-owned exits, drafts included."""
    plans: dict[str, Plan] = field(factory=dict)
    goal: int | None = None
    closing: bool = False
    _waiting: list[Order] = field(factory=list)
    """Orders that wait for the exits to make room."""
    once: bool = False
    """Whether the part of the target that opens is tried only once."""
    _goal_denied: str = ""
    _tried: Ns | None = None
    """When an order for the standing target or the close last came to nothing."""

    # --- what it has ---------------------------------------------------------------------------------------------

    def exposure(self, without: Order | None = None) -> Exposure:
        """The position and everything open on each side, ``without`` one order and unjudged drafts.

        Engine-owned exits count beside an order that rests; a market order waits until they have made room for it.
        """
        buys = sells = 0
        for order in self.orders:
            if order is not without and order.is_open and not self.is_unjudged(order):
                # A larger quantity that was asked for counts from then on.
                size = max(order.remaining, self.host.wanted_quantity(order) - order.filled)
                if order.side > 0:
                    buys += size
                else:
                    sells += size
        exits = 0
        if without is not None and without.type is not OrderType.MARKET and self.exits.pairs:
            exits = min(abs(self.book.position), sum(pair.exposure for pair in self.exits.pairs))
        return Exposure(self.book.position, buys, sells, exits)

    def under_way(self) -> int:
        """Signed contracts of open market orders; a resting order may never fill and is not counted."""
        total = 0
        for order in self.orders:
            if order.type is OrderType.MARKET:
                total += order.side * order.remaining
        return total

    @property
    def mark(self) -> int | None:
        """The price in ticks at which its position could be closed; None without a position or a quote."""
        quote, position = self.series.quote, self.book.position
        if quote is None or not position:
            return None
        low, high = sorted((quote.bid, quote.ask))
        return self.contract.to_ticks(low if position > 0 else high)

    @property
    def is_quiet(self) -> bool:
        """Whether it has no position, nothing open and nothing standing."""
        return not (self.book.position or self.orders or self.exits.pairs or self.closing or self.goal is not None)

    def is_unjudged(self, order: Order) -> bool:
        """Whether an order is a draft that has not been to the gate: wishes are judged in their order."""
        return order.status is OrderStatus.DRAFT and order not in self._waiting

    # --- wishes --------------------------------------------------------------------------------------------------

    def place(self, order: Order) -> Denial | None:
        """Send a draft through the gate and, unless exits must make room first, on to the queue."""
        if order.is_done:
            return None
        if (denial := self.judge(order)) is not None:
            self.deny(order, denial)
            return denial
        if self.waits_for_room(order):
            self._waiting.append(order)
        else:
            self.host.passed(self, order)
        return None

    def judge(self, order: Order, ahead: int = 0) -> Denial | None:
        """Why a draft would be denied, after ``ahead`` other orders of its strategy; None to let it pass."""
        if self.closing and order.role is Role.ENTRY:
            return Denial(DenyReason.CLOSING, f"{self.contract.name} is being closed")
        if self.host.barred or not self.gate.is_open:
            return self.host.gate(self, order.side * order.quantity, order, ahead)
        return None

    def deny(self, order: Order, denial: Denial) -> None:
        """End a draft as denied."""
        self.host.deny(order, denial)
        self.orders.remove(order)

    def waits_for_room(self, order: Order) -> bool:
        """Whether exits have to make room before a draft can be sent."""
        return bool(self.exits.pairs) and order.type is OrderType.MARKET and order.side * self.book.position < 0

    def clearing(self, change: int | None) -> int:
        """Requests that come before a market order of ``change`` signed contracts, or before a close (None)."""
        if change is None:
            out = sum(order.status not in (OrderStatus.DRAFT, OrderStatus.QUEUED) for order in self.orders)
            return out + len(self.exits.open_orders())
        requests, left = 0, abs(change) if change * self.book.position < 0 else 0
        for pair in self.exits.pairs:
            if left > 0:
                requests += len(pair.legs)
                left -= pair.covered
        return requests

    def target(self, quantity: int, order: Order | None, *, once: bool = False) -> None:
        """Let a target stand until it is met or replaced; ``order`` is the draft that would meet it, if any.

        Resting entries are cancelled: they could carry the position past the target. With ``once`` what opens is tried
        this one time: only its part toward flat stands.
        """
        self.goal = quantity
        self.once = once
        self._goal_denied = ""
        self._tried = None
        if self.closing and order is not None:
            self.host.cancel(order)  # the target is pursued once the close is done
            return
        if len(self.orders) > (order is not None):
            for other in self._resting_entries():
                self.host.cancel(other)
        if order is not None and (denial := self.place(order)) is not None:
            self._goal_refused(denial, order.side * order.quantity)

    def close(self) -> None:
        """Cancel everything, then close what the book holds."""
        self.closing = True
        self.goal = None
        self._tried = None

    # --- what happened -------------------------------------------------------------------------------------------

    def filled(self, order: Order, fill: Fill, before: int) -> None:
        """A fill of ours was booked; ``before`` was the position without it."""
        if order.is_exit:
            self.exits.exit_filled(order, fill.quantity, self.host.now)
        else:
            if before * fill.side < 0:
                shrunk = min(fill.quantity, abs(before))
                if self.exits.pairs:
                    self.exits.shrunk(shrunk)
            plan = self.plans.get(order.id)
            opened = min(fill.quantity, max(0, fill.side * self.book.position))
            if plan is not None and opened:
                self.exits.cover(order, plan, opened, fill.price)
        if self.exits.pairs:
            self.exits.trim(self.book.position)

    def give_up(self, change: int) -> int:
        """Others closed ``change`` signed contracts of this desk: the book and its exits shrink, no target stands.

        The contracts leave at the price they could have been closed at, or at cost where there is no quote. Returns it,
        in ticks.
        """
        quote, position = self.series.quote, self.book.position
        if quote is not None:
            ticks = self.contract.to_ticks(quote.bid if position > 0 else quote.ask)
        else:
            ticks = round(self.book.cost / position / NANO)
        self.goal = None
        self.book.trade(change, ticks)
        if self.exits.pairs:
            self.exits.shrunk(abs(change))
            self.exits.trim(self.book.position)
        return ticks

    def _opposing(self) -> int:
        """Contracts that market orders, waiting or under way, are about to close: they must not have exits."""
        position = self.book.position
        return sum(
            order.remaining for order in self.orders if order.type is OrderType.MARKET and order.side * position < 0
        )

    def updated(self, order: Order) -> None:
        """The status of one of its orders moved."""
        if order.is_done and not order.is_exit:
            # What was cancelled out of the way was no attempt at the close, nor a resting order one at the target.
            attempt = order.role is Role.CLOSE if self.closing else order.type is OrderType.MARKET
            if attempt and order.status is not OrderStatus.FILLED:
                self._tried = self.host.now
            if order in self.orders:
                self.orders.remove(order)
        if order.is_exit and order.status is OrderStatus.REJECTED and self.book.position:
            # A position without its protection is closed, whatever the strategy thinks of it.
            self.close()

    def _drop_done(self) -> None:
        self.orders = [order for order in self.orders if order.is_open]
        self._waiting = [order for order in self._waiting if order.is_open]

    def cancel_entries(self) -> None:
        """Cancel what could extend the position; exits, the author's own included, stay."""
        self.goal = None
        for order in list(self.orders):
            if order.role is not Role.CLOSE and order.side * self.book.position >= 0 and not self.is_unjudged(order):
                self.host.cancel(order)
        self._drop_done()

    def _resting_entries(self) -> list[Order]:
        """Limit and stop orders that could extend the position."""
        position = self.book.position
        return [
            order
            for order in self.orders
            if order.type is not OrderType.MARKET and order.side * position >= 0 and not self.is_unjudged(order)
        ]

    # --- bringing about what is wanted ---------------------------------------------------------------------------

    def sync(self) -> None:
        """Send what can be sent now; called after every turn that touched the desk."""
        if self.closing:
            self._clear_the_way()
        if self.exits.pairs:
            self._sync_exits()
        if self._waiting:
            self._let_go()
        if self.closing:
            self._finish_close()
        if self.goal is not None and not self.closing:
            waiting = len(self._waiting)
            self._pursue(self.goal)
            if len(self._waiting) > waiting:
                self.host.touch(self)  # it waits for exits that don't know yet that they are to make room

    def _let_go(self) -> None:
        """Send the orders for which the exits have made room."""
        self._drop_done()
        for order in list(self._waiting):
            if self.exits.has_made_room:
                self._waiting.remove(order)
                self._release(order)

    def _release(self, order: Order) -> None:
        denial = self.host.gate(self, order.side * order.quantity, order)
        if denial is None:
            self.host.passed(self, order)
            return
        self.host.deny(order, denial)
        self.updated(order)
        self._sync_exits()

    def _sync_exits(self) -> None:
        self.exits.reserve(None if self.closing else self._opposing())
        again = self.exits.sync(self.host.now)
        if again is not None:
            self.host.wake(self, again)

    def _clear_the_way(self) -> None:
        for order in self.orders:
            if order.role is not Role.CLOSE:
                self.host.cancel(order)
        self._drop_done()

    def _finish_close(self) -> None:
        if self.orders or self.exits.open_orders():
            return
        position = self.book.position
        if not position:
            self.closing = False
            return
        if self._wait_to_retry():
            return
        side = Side.SELL if position > 0 else Side.BUY
        order = self.host.blotter.draft(
            self.host.now,
            self.owner,
            self.account,
            self.contract.name,
            side,
            abs(position),
            tif=TimeInForce.GTC,
            role=Role.CLOSE,
        )
        self.orders.append(order)
        self.host.submit(order)

    def _pursue(self, goal: int) -> None:
        under_way = self.under_way()
        delta = goal - self.book.position - under_way
        if delta and self.once:
            toward = _toward_flat(goal, self.book.position)
            if toward is None:
                self.goal = None
                return
            self.goal = goal = toward
            delta = goal - self.book.position - under_way
        if not delta:
            if not under_way and not (self.orders and self._resting_entries()):
                self.goal = None
            return
        if self._wait_to_retry():
            return
        denial = self._aim(delta)
        if denial is not None:
            self._goal_refused(denial, delta)

    def _goal_refused(self, denial: Denial, delta: int) -> None:
        """Keep the target, and let at least its part toward flat go on, which needs no leave.

        While an order is in doubt nobody knows what the entry part would add to: that part expires.
        """
        self._goal_denied = denial.reason
        position = self.book.position
        if denial.reason is DenyReason.IN_DOUBT and self.goal is not None and abs(self.goal) >= abs(position):
            self.goal = 0 if self.goal * position < 0 else None
        if position * delta < 0 and abs(delta) > abs(position) and not self.under_way():
            self._aim(-position)
        self._tried = self.host.now
        self._wait_to_retry()

    def _aim(self, delta: int) -> Denial | None:
        denial = self.host.gate(self, delta)
        if denial is not None and denial.reason == self._goal_denied:
            return denial  # its strategy was told
        return self.place(self.draft(Side.BUY if delta > 0 else Side.SELL, abs(delta)))

    def _wait_to_retry(self) -> bool:
        """Whether the last attempt is too fresh; if so, the next quote that is late enough looks again."""
        if self._tried is None or self.host.now >= self._tried + RETRY:
            self._tried = None
            return False
        self.host.wake_on_quote(self, self._tried + RETRY)
        return True

    def draft(
        self,
        side: Side,
        quantity: int,
        *,
        limit_price: float | None = None,
        stop_price: float | None = None,
        tif: TimeInForce = TimeInForce.DAY,
        oco: str | None = None,
    ) -> Order:
        """A new order of the strategy, counted from now on, not yet sent."""
        order = self.host.blotter.draft(
            self.host.now,
            self.owner,
            self.account,
            self.contract.name,
            side,
            quantity,
            limit_price=limit_price,
            stop_price=stop_price,
            tif=tif,
            oco=oco,
        )
        self.orders.append(order)
        return order


def _toward_flat(goal: int, position: int) -> int | None:
    """What of a target only shrinks a position; None when nothing does."""
    if goal * position < 0:
        return 0
    return goal if abs(goal) < abs(position) else None
