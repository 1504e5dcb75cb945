"""The simulated exchange: takes commands, matches resting orders against quotes, and reports what happened.

An ordinary object on an explicit clock. Replay calls it directly; a paper session feeds it live quotes. The rules
by which it fills are written in ``FillModel``.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Iterator

from attrs import define, field

from xtalgo.model.commands import CancelOrder, ChangeOrder, PlaceOrder
from xtalgo.model.events import CancelRefused, Changed, ChangeRefused, Fill, OrderUpdate, Quote
from xtalgo.model.instruments import Contract
from xtalgo.model.sessions import Session, session_at
from xtalgo.model.types import NEVER, Ns, OrderType, Side, TimeInForce, Trigger
from xtalgo.sim.fills import Fees, FillModel, Latency

__all__ = ["Report", "RestingOrder", "SimExchange"]

Report = OrderUpdate | Changed | ChangeRefused | CancelRefused | Fill
"""What the exchange says of an order."""

NOT_WORKING = "not found or already terminal"


@define(eq=False)
class RestingOrder:
    """An order at the exchange. Prices are canonical floats, so they compare as their ticks do."""

    id: str
    account: str
    contract: Contract
    side: Side
    type: OrderType
    quantity: int
    limit_price: float | None
    stop_price: float | None
    oco: str | None
    expires: Ns | None
    filled: int = 0
    fresh: bool = True
    """Whether every quote since it arrived or was moved was one that it could take: it has not rested yet."""
    triggered: bool = False
    gone: bool = False
    """Whether it is no longer working."""

    @property
    def remaining(self) -> int:
        """Contracts not yet filled."""
        return self.quantity - self.filled


@define(eq=False)
class SimExchange:
    """Matches orders under a fill model, with latency and fees.

    ``contract_of`` looks facts up by canonical name, ``quote_of`` gives the newest quote before the one being
    matched (to tell a new trade from an old one, and a stop on the wrong side).
    """

    contract_of: Callable[[str], Contract]
    quote_of: Callable[[str], Quote | None]
    fills_by: FillModel = field(factory=FillModel)
    latency: Latency = field(factory=Latency)
    fees: Fees = field(factory=Fees)
    due: Ns = NEVER
    """When something will happen here without a new quote: an arrival, a report or an expiry (or might have)."""
    executions: list[Fill] = field(factory=list)
    """Every execution in the order in which it happened, seen or not."""
    resting: dict[str, list[RestingOrder]] = field(factory=dict)
    """Working orders by instrument, in order of arrival; instruments without any are left out."""
    reducing: set[str] = field(factory=set)
    """OCO ids whose orders shrink by a partial fill of one of them, whatever the fill model says of others."""
    _orders: dict[str, RestingOrder] = field(factory=dict)
    _finished_ocos: set[str] = field(factory=set)
    _arrivals: list[tuple[Ns, int, PlaceOrder | ChangeOrder | CancelOrder]] = field(factory=list)
    _reports: list[tuple[Ns, int, Report]] = field(factory=list)
    _expiries: list[tuple[Ns, int, RestingOrder]] = field(factory=list)
    _count: int = 0
    _session: Session = field(factory=lambda: session_at(0))

    # --- time ----------------------------------------------------------------------------------------------------

    def submit(self, command: PlaceOrder | ChangeOrder | CancelOrder, now: Ns) -> None:
        """Take a command that was sent at ``now``; it arrives after the entry latency."""
        self._count += 1
        arrives = now + self.latency.entry
        heapq.heappush(self._arrivals, (arrives, self._count, command))
        if arrives < self.due:
            self.due = arrives

    def in_flight_due(self) -> Ns:
        """As ``due``, without expiries: what is still on its way when a recording ends."""
        arrival = self._arrivals[0][0] if self._arrivals else NEVER
        return min(arrival, self._reports[0][0]) if self._reports else arrival

    def _next_expiry(self) -> Ns:
        while self._expiries and self._expiries[0][2].gone:
            heapq.heappop(self._expiries)
        return self._expiries[0][0] if self._expiries else NEVER

    def advance(self, now: Ns) -> list[Report]:
        """Let everything up to ``now`` happen, in order of time; the reports that can be seen by then."""
        while True:
            arrival = self._arrivals[0][0] if self._arrivals else NEVER
            expiry = self._next_expiry() if self._expiries else NEVER
            if min(arrival, expiry) > now:
                break
            if expiry <= arrival:
                self._expire(expiry)
            else:
                ts, _, command = heapq.heappop(self._arrivals)
                self._arrive(command, ts)
        seen = []
        while self._reports and self._reports[0][0] <= now:
            seen.append(heapq.heappop(self._reports)[2])
        self.due = min(arrival, expiry, self._reports[0][0] if self._reports else NEVER)
        return seen

    def watch(self, quotes: Iterable[Quote]) -> Iterator[Quote]:
        """Match each quote before it is passed on; ends after the one on which something happened."""
        for quote in quotes:
            happened = quote.instrument in self.resting and self.match(quote)
            yield quote
            if happened:
                return

    # --- commands ------------------------------------------------------------------------------------------------

    def _report(self, report: Report) -> None:
        self._count += 1
        heapq.heappush(self._reports, (report.ts, self._count, report))
        if report.ts < self.due:
            self.due = report.ts

    def _arrive(self, command: PlaceOrder | ChangeOrder | CancelOrder, now: Ns) -> None:
        if isinstance(command, PlaceOrder):
            self._place(command, now)
        elif isinstance(command, ChangeOrder):
            self._change(command, now)
        else:
            self._cancel(command, now)

    def _place(self, command: PlaceOrder, now: Ns) -> None:
        reason = self._refusal(command)
        if reason:
            self._report(OrderUpdate(now, command.order_id, Trigger.REJECT, reason))
            return
        order = RestingOrder(
            command.order_id,
            command.account,
            self.contract_of(command.instrument),
            command.side,
            command.type,
            command.quantity,
            command.limit_price,
            command.stop_price,
            command.oco,
            self._close_after(now) if command.tif is TimeInForce.DAY else None,
        )
        self._orders[order.id] = order
        if order.expires is not None:
            heapq.heappush(self._expiries, (order.expires, self._count, order))
        self.resting.setdefault(command.instrument, []).append(order)
        self._report(OrderUpdate(now, order.id, Trigger.ACCEPT))

    def _close_after(self, now: Ns) -> Ns:
        """When the session that an order arriving now belongs to ends."""
        if not self._session.open <= now < self._session.close:
            self._session = session_at(now)
        return self._session.close

    def _refusal(self, command: PlaceOrder) -> str:
        if command.order_id in self._orders:
            return f"order id {command.order_id} is in use"
        if command.quantity <= 0:
            return f"quantity {command.quantity} is not positive"
        if command.oco is not None and command.oco in self._finished_ocos:
            return f"OCO id {command.oco} belongs to a finished group"
        if command.stop_price is not None:
            return self._wrong_side(command.instrument, command.side, command.stop_price)
        return ""

    def _wrong_side(self, instrument: str, side: Side, stop_price: float) -> str:
        quote = self.quote_of(instrument)
        if quote is None or quote.is_crossed:
            return ""
        if side > 0 and stop_price <= quote.ask:
            return f"buy stop {stop_price:g} is not above the market ({quote.ask:g})"
        if side < 0 and stop_price >= quote.bid:
            return f"sell stop {stop_price:g} is not below the market ({quote.bid:g})"
        return ""

    def _change(self, command: ChangeOrder, now: Ns) -> None:
        order = self._working(command.order_id)
        if order is None:
            self._report(ChangeRefused(now, command.order_id, NOT_WORKING))
            return
        if command.stop_price is not None and not order.triggered:
            reason = self._wrong_side(order.contract.name, order.side, command.stop_price)
            if reason:
                self._report(ChangeRefused(now, order.id, reason))
                return
        moved = False
        if command.limit_price is not None and command.limit_price != order.limit_price:
            order.limit_price = command.limit_price
            moved = True
        if command.stop_price is not None and not order.triggered:
            order.stop_price = command.stop_price
        order.fresh = order.fresh or moved
        if command.quantity is not None:
            # Never below what is filled already: an order changed to that is complete.
            order.quantity = max(command.quantity, order.filled)
        self._report(Changed(now, order.id, order.quantity, order.limit_price, order.stop_price))
        if not order.remaining:
            self._remove(order)
            self._finish_oco(order, now)

    def _cancel(self, command: CancelOrder, now: Ns) -> None:
        order = self._working(command.order_id)
        if order is None:
            self._report(CancelRefused(now, command.order_id, NOT_WORKING))
            return
        self._end(order, Trigger.CANCEL, now, "cancelled as asked")
        self._finish_oco(order, now)

    def _working(self, order_id: str) -> RestingOrder | None:
        order = self._orders.get(order_id)
        return None if order is None or order.gone else order

    # --- the end of orders ---------------------------------------------------------------------------------------

    def _remove(self, order: RestingOrder) -> None:
        order.gone = True
        orders = self.resting[order.contract.name]
        orders.remove(order)
        if not orders:
            del self.resting[order.contract.name]

    def _end(self, order: RestingOrder, trigger: Trigger, now: Ns, reason: str) -> None:
        self._remove(order)
        self._report(OrderUpdate(now + self.latency.report, order.id, trigger, reason))

    def _expire(self, now: Ns) -> None:
        while self._next_expiry() <= now:
            self._end(heapq.heappop(self._expiries)[2], Trigger.EXPIRE, now, "the session ended")

    def _finish_oco(self, done: RestingOrder, now: Ns) -> None:
        if done.oco is None:
            return
        self._finished_ocos.add(done.oco)
        for other in self._partners(done):
            self._end(other, Trigger.CANCEL, now, f"OCO partner of {done.id}")

    def _partners(self, order: RestingOrder) -> list[RestingOrder]:
        return [
            other
            for orders in self.resting.values()
            for other in orders
            if other.oco == order.oco and other.account == order.account and other is not order
        ]

    # --- matching ------------------------------------------------------------------------------------------------

    def match(self, quote: Quote) -> bool:
        """Match the resting orders of one instrument against a new quote; whether any of them filled or moved."""
        orders = self.resting.get(quote.instrument)
        if not orders or quote.is_crossed:
            return False
        before = self.quote_of(quote.instrument)
        # A last price that did not change with its volume is an old trade, and no reason to trigger anything.
        traded = before is not None and (quote.last != before.last or quote.volume != before.volume)
        offered = {Side.BUY: quote.ask_size, Side.SELL: quote.bid_size}
        count = len(self.executions)
        for order in orders[:]:
            if order.gone:
                continue  # cancelled by an OCO partner on this very quote
            price = self._price(order, quote, traded)
            if price is None:
                order.fresh = False
                continue
            # A limit that could take but found too little size goes on taking; one that rested has rested.
            size = offered[order.side]
            quantity = order.remaining if size is None else min(order.remaining, size)
            if quantity:
                if size is not None:
                    offered[order.side] = size - quantity
                self._fill(order, quantity, price, quote.ts)
        return len(self.executions) > count

    def _price(self, order: RestingOrder, quote: Quote, traded: bool) -> float | None:
        """The price at which an order fills on a quote; None when it does not."""
        if order.stop_price is not None and not order.triggered:
            if not self._reached(order.side, order.stop_price, quote, traded):
                return None
            order.triggered = True
            order.fresh = True
        far = quote.ask if order.side > 0 else quote.bid
        contract = order.contract
        slipped = contract.to_price(contract.to_ticks(far) + order.side * self.fills_by.slippage)
        limit = order.limit_price
        if limit is None:
            return slipped
        if order.side > 0:
            if order.fresh and far <= limit:
                return min(slipped, limit)
            through = far < limit or (self.fills_by.touch and far == limit)
        else:
            if order.fresh and far >= limit:
                return max(slipped, limit)
            through = far > limit or (self.fills_by.touch and far == limit)
        return limit if through else None

    def _reached(self, side: Side, stop: float, quote: Quote, traded: bool) -> bool:
        by = self.fills_by.stop_trigger
        far = quote.ask if side > 0 else quote.bid
        if by != "last" and side * (far - stop) >= 0:
            return True
        # Where the feed tells no last price at all, the far side has to do.
        if quote.last is None:
            return by == "last" and side * (far - stop) >= 0
        return by != "quote" and traded and side * (quote.last - stop) >= 0

    def _fill(self, order: RestingOrder, quantity: int, price: float, now: Ns) -> None:
        order.filled += quantity
        fill = Fill(
            now + self.latency.report,
            order.id,
            f"x{len(self.executions) + 1}",
            order.account,
            order.contract.name,
            order.side,
            quantity,
            price,
            quantity * self.fees.per_contract(order.contract),
            now,
        )
        self.executions.append(fill)
        self._report(fill)
        if not order.remaining:
            self._remove(order)
            self._finish_oco(order, now)
        elif order.oco is not None:
            if self.fills_by.oco == "cancel" and order.oco not in self.reducing:
                self._finish_oco(order, now)
            else:
                self._reduce_partners(order, quantity, now)

    def _reduce_partners(self, order: RestingOrder, quantity: int, now: Ns) -> None:
        for other in self._partners(order):
            other.quantity = max(other.filled, other.quantity - quantity)
            if other.remaining:
                values = (other.id, other.quantity, other.limit_price, other.stop_price)
                self._report(Changed(now + self.latency.report, *values))
            else:
                self._end(other, Trigger.CANCEL, now, f"OCO partner of {order.id}")
