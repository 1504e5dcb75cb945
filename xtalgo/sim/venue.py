"""NinjaTrader on paper: accounts, orders in its states, executions, positions and P&L around a ``SimExchange``.

What a call does takes effect at once: the server has let the entry latency pass by then. There is no report latency
either, since a venue knows of its own fills.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterable, Sequence

import msgspec
from attrs import define, field, frozen

from xtalgo.engine.ledger import MICRO, Book, Ledger
from xtalgo.model.commands import CancelOrder, ChangeOrder, PlaceOrder
from xtalgo.model.errors import ConfigError
from xtalgo.model.events import Changed, ChangeRefused, Fill, OrderUpdate, Quote
from xtalgo.model.instruments import Contract, ContractBook
from xtalgo.model.sessions import Session, session_at
from xtalgo.model.types import SECOND_NS, Ns, OrderType, Side, TimeInForce, Trigger
from xtalgo.protocol.choices import CallerId, ChangeId, DuplicateId
from xtalgo.protocol.dialect import Dialect
from xtalgo.protocol.words import OrderState
from xtalgo.sim.atm import AtmDesk
from xtalgo.sim.exchange import SimExchange
from xtalgo.sim.faults import Mishaps
from xtalgo.sim.feeds import Feed
from xtalgo.sim.fills import Fees, FillModel, Latency
from xtalgo.sim.history import BarRules
from xtalgo.sim.refusals import Refused
from xtalgo.sim.tape import Tape
from xtalgo.sim.templates import BUILT_IN, AtmTemplate
from xtalgo.sim.tickets import VenueExecution, VenueOrder
from xtalgo.sim.watermarks import Watermarks

__all__ = ["Figures", "Refused", "Venue", "VenueExecution", "VenueOrder"]

_DIALECT = Dialect()
_LIMITS = (OrderType.LIMIT, OrderType.STOP_LIMIT)
_STOPS = (OrderType.STOP_MARKET, OrderType.STOP_LIMIT)


@frozen
class Figures:
    """An account's money in dollars. ``gross`` is before fees; ``realized`` is ``gross`` less ``fees``."""

    gross: float
    fees: float
    realized: float
    unrealized: float
    cash: float
    net_liquidation: float


@define(eq=False)
class Venue:
    """Accounts and their orders over one feed.

    ``cash + realized + unrealized = net_liquidation`` for every account, always; books are kept in exact integers.
    Positions are marked at the last price, where the feed tells none at the side that would close them.
    """

    feed: Feed
    contracts: ContractBook
    accounts: tuple[str, ...]
    fills_by: FillModel
    fees: Fees
    mishaps: Mishaps
    cash: float = 100_000.0
    templates: tuple[AtmTemplate, ...] = BUILT_IN
    """What ``strategy`` may name."""
    bar_rules: BarRules = field(factory=BarRules)
    """What GetBars calls its bars, and whether it shows the one under way."""
    dialect: Dialect = _DIALECT
    exchange: SimExchange = field(init=False)
    tape: Tape = field(init=False, factory=Tape)
    ledger: Ledger = field(init=False, factory=Ledger)
    atm: AtmDesk = field(init=False)
    watermarks: Watermarks = field(init=False)
    orders: list[VenueOrder] = field(init=False, factory=list)
    """All orders since the start, in order of placing."""
    executions: list[VenueExecution] = field(init=False, factory=list)
    _ids: dict[str, VenueOrder] = field(init=False, factory=dict)
    _keys: dict[str, VenueOrder] = field(init=False, factory=dict)
    _listed: list[VenueOrder] = field(init=False, factory=list)
    _session: Session = field(init=False, factory=lambda: session_at(0))
    _refusal: str | None = field(init=False, default=None)
    _changes: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        folded = {name.casefold() for name in self.accounts}
        if not self.accounts or len(folded) < len(self.accounts) or not all(self.accounts):
            raise ConfigError(f"a venue needs accounts, each of them once, not {', '.join(self.accounts) or 'none'}")
        self.exchange = SimExchange(
            self.contracts.contract, self.tape.quote_of, self.fills_by, Latency(entry=0, report=0), self.fees
        )
        self.atm = AtmDesk(self, self.templates)
        self.watermarks = Watermarks(self)

    @property
    def due(self) -> Ns:
        """When something happens here without a quote or a call: a session's end, a slow cancel."""
        return self.exchange.due

    # --- names ---------------------------------------------------------------------------------------------------

    def account(self, text: str) -> str:
        """An account's canonical name. Raises Refused."""
        for name in self.accounts:
            if name.casefold() == text.casefold():
                return name
        raise Refused("invalid_account", f"no account {text!r}; there are {', '.join(self.accounts)}")

    def contract(self, text: str) -> Contract:
        """The contract that an instrument in any spelling stands for; from now on it is quoted. Raises Refused."""
        name = self.feed.knows(text)
        if name is None:
            raise Refused("Invalid request", f"unknown instrument {text!r}")
        self.feed.want(name)
        return self.contracts.contract(name)

    def order(self, account: str, order_id: str, now: Ns | None = None) -> VenueOrder | None:
        """An order of an account by either of its ids; with ``now`` only if its row can be seen by then."""
        found = self.find(order_id)
        if found is None or found.account != account or (now is not None and not self.shows(found, now)):
            return None
        return found

    def find(self, order_id: str) -> VenueOrder | None:
        """An order of any account by either of its ids."""
        return self._ids.get(order_id)

    def shows(self, order: VenueOrder, now: Ns) -> bool:
        """Whether an order's row can be seen at ``now``."""
        return now >= order.placed + round(self.mishaps.faults.late_rows * SECOND_NS)

    def listed(self, now: Ns) -> list[VenueOrder]:
        """Orders that lists show: those that may still trade, and those that ended in this session.

        What ended is shown until the next session opens, and what the end of a session ended through the next one.
        """
        session = session_at(now)
        if session != self._session and session.contains(now):
            self._session = session
            self._listed = [
                order for order in self._listed if not order.state.is_done or session_at(order.since) == session
            ]
        return [order for order in self._listed if self.shows(order, now)]

    def guid(self, kind: str, number: int) -> str:
        """32 hex digits that another start of a server doesn't repeat."""
        return hashlib.sha256(f"{self.mishaps.start}/{kind}/{number}".encode()).hexdigest()[:32]

    # --- time ----------------------------------------------------------------------------------------------------

    def advance(self, now: Ns) -> None:
        """Let what is due by ``now`` happen."""
        for report in self.exchange.advance(now):
            match report:
                case OrderUpdate():
                    self._update(self._keys[report.order_id], report)
                case Changed():
                    self._change(self._keys[report.order_id], report)
                case Fill():
                    self._fill(self._keys[report.order_id], report)
                case ChangeRefused():
                    self._refusal = report.reason
        if self.atm.noted:
            self.atm.settle(now)

    def quotes(self, frame: Iterable[Quote]) -> None:
        """Match a frame, then let it be the newest."""
        most = self.mishaps.faults.most_per_fill
        resting, held = self.exchange.resting, self.watermarks.held
        for quote in frame:
            instrument = quote.instrument
            orders = resting.get(instrument)
            if orders is not None:
                self.exchange.match(quote if most is None else _shown(quote, most))
                for order in orders:
                    ours = self._keys[order.id]
                    if order.triggered and ours.state is OrderState.ACCEPTED:
                        ours.enter(OrderState.WORKING, quote.ts)
            self.tape.take(quote)
            if self.exchange.due <= quote.ts:
                self.advance(quote.ts)
            watch = held.get(instrument)
            if watch is not None and watch.last != quote.last:
                self.watermarks.quoted(quote)

    def _update(self, order: VenueOrder, report: OrderUpdate) -> None:
        match report.trigger:
            case Trigger.ACCEPT:
                order.enter(OrderState.ACCEPTED, report.ts)
                if order.type not in _STOPS:
                    order.enter(OrderState.WORKING, report.ts)
            case Trigger.REJECT:
                order.reason = report.reason
                order.enter(OrderState.REJECTED, report.ts)
            case _:
                order.reason = report.reason
                order.enter(OrderState.CANCELLED, report.ts)
        self._tell_atm(order)

    def _tell_atm(self, order: VenueOrder) -> None:
        if order.strategy is not None:
            self.atm.note(order)

    def _change(self, order: VenueOrder, report: Changed) -> None:
        order.quantity = report.quantity
        order.limit_price = report.limit_price
        order.stop_price = report.stop_price
        if order.filled >= order.quantity and not order.state.is_done:
            order.enter(OrderState.FILLED, report.ts)  # changed to what had filled already
            self._tell_atm(order)

    def _fill(self, order: VenueOrder, fill: Fill) -> None:
        contract = order.contract
        before = self.book(order.account, contract).position
        after = self.ledger.record("", contract, fill).position
        order.filled += fill.quantity
        order.ticks += contract.to_ticks(fill.price) * fill.quantity
        self.executions.append(
            VenueExecution(
                self.guid("execution", len(self.executions) + 1), fill, order, after, before * fill.side >= 0
            )
        )
        if order.filled >= order.quantity:
            order.enter(OrderState.FILLED, fill.executed)
        elif not order.state.is_cancelling:
            order.enter(OrderState.PART_FILLED, fill.executed)
        self.watermarks.filled(order.account, contract, fill.executed)
        self._tell_atm(order)
        if not after:
            self.atm.note_flat(order.account, contract)

    # --- calls ---------------------------------------------------------------------------------------------------

    def place(
        self, command: PlaceOrder, now: Ns, *, name: str = "", chosen: bool = True, strategy: str | None = None
    ) -> VenueOrder:
        """Take an order whose account and instrument are canonical; ``chosen``: its id is the caller's choice.

        What becomes of that id is the dialect's; raises Refused when it is in use. What the exchange rejects comes
        back as an order in state Rejected. Prices are rounded to the tick; those that the order's type doesn't have
        are ignored, as NinjaTrader does.
        """
        ids, duplicates = self.dialect.caller_id, self.dialect.duplicate_id
        if chosen and ids is CallerId.IGNORED:
            command = msgspec.structs.replace(command, order_id=self.new_id())
        elif (known := self._ids.get(command.order_id)) is not None:
            if duplicates is DuplicateId.ACKED:
                return known
            if duplicates is DuplicateId.REFUSED:
                raise Refused("Invalid request", f"order id {command.order_id!r} is in use")
            command = msgspec.structs.replace(command, order_id=self.new_id())
        contract = self.contracts.contract(command.instrument)
        faults = self.mishaps.faults
        order = VenueOrder(
            id=self.new_id() if chosen and (faults.reassign_ids or ids is CallerId.ALIAS) else command.order_id,
            key=command.order_id,
            account=command.account,
            contract=contract,
            side=command.side,
            type=command.type,
            tif=command.tif,
            oco=command.oco,
            placed=now,
            quantity=command.quantity,
            limit_price=_rounded(contract, command.limit_price if command.type in _LIMITS else None),
            stop_price=_rounded(contract, command.stop_price if command.type in _STOPS else None),
            name=name,
            strategy=strategy,
        )
        self.orders.append(order)
        self._listed.append(order)
        self._keys[order.key] = self._ids[order.key] = self._ids[order.id] = order
        order.enter(OrderState.SUBMITTED, now)
        if self.mishaps.happens("reject_order", faults.reject_order):
            order.reason = "rejected by a fault"
            order.enter(OrderState.REJECTED, now)
            self._tell_atm(order)
            return order
        group = None if order.oco is None else f"{order.account}/{order.oco}"  # groups don't reach across accounts
        self.exchange.submit(
            msgspec.structs.replace(command, limit_price=order.limit_price, stop_price=order.stop_price, oco=group),
            now,
        )
        self.advance(now)
        return order

    def new_id(self) -> str:
        """The id of the next order, where the caller chooses none."""
        return self.guid("order", len(self.orders) + 1)

    def change(self, order: VenueOrder, command: ChangeOrder, now: Ns) -> None:
        """Change a working order; the quantity is the total. Raises Refused."""
        for word, price, types in (("limit", command.limit_price, _LIMITS), ("stop", command.stop_price, _STOPS)):
            if price is not None and order.type not in types:
                raise Refused("Invalid request", f"a {order.type} order has no {word} price")
        if order.state.is_cancelling:
            raise Refused("Invalid request", f"order {order.id!r} is being cancelled")
        self._refusal = None
        limit, stop = (_rounded(order.contract, price) for price in (command.limit_price, command.stop_price))
        self.exchange.submit(ChangeOrder(order.key, order.account, command.quantity, limit, stop), now)
        self.advance(now)
        if self._refusal is not None:
            raise Refused("Invalid request", self._refusal)
        if self.dialect.change_id is ChangeId.NEW:
            self._changes += 1
            order.id = self.guid("change", self._changes)
            self._ids[order.id] = order

    def cancel(self, order: VenueOrder, now: Ns, *, at_once: bool = False) -> None:
        """Cancel a working order, with its OCO partners; one that is done or being cancelled stays as it is."""
        if order.state.is_done or (order.state.is_cancelling and not at_once):
            return
        order.enter(OrderState.CANCEL_PENDING, now)
        slow = 0 if at_once else round(self.mishaps.faults.slow_cancel * SECOND_NS)
        self.exchange.submit(CancelOrder(order.key, order.account), now + slow)
        self.advance(now)

    def working(self, account: str, contract: Contract | None = None) -> list[VenueOrder]:
        """Orders of an account that may still trade, in one instrument or in all."""
        return [
            order
            for order in self._listed
            if not order.state.is_done and order.account == account and contract in (None, order.contract)
        ]

    def cancel_all(self, account: str, contract: Contract, now: Ns) -> None:
        """Cancel an instrument's working orders at once and end its ATM strategies, before it is closed or turned."""
        for order in self.working(account, contract):
            self.cancel(order, now, at_once=True)
        self.atm.end(account, contract, now)

    def close(self, account: str, contract: Contract, now: Ns, quantity: int | None = None) -> VenueOrder | None:
        """Close a position with a market order of the venue's own; None when flat.

        Closing all of it cancels the instrument's working orders first; closing a part leaves them.
        """
        held = self.book(account, contract).position
        if quantity is None or quantity >= abs(held):
            self.cancel_all(account, contract, now)
            quantity = abs(held)
        if not quantity or not held:
            return None
        side = Side.SELL if held > 0 else Side.BUY
        command = PlaceOrder(self.new_id(), account, contract.name, side, OrderType.MARKET, quantity)
        return self.place(msgspec.structs.replace(command, tif=TimeInForce.GTC), now, name="Close", chosen=False)

    # --- books ---------------------------------------------------------------------------------------------------

    def book(self, account: str, contract: Contract) -> Book:
        """The account's net position in one instrument, with its cost."""
        return self.ledger.book("", account, contract)

    def books(self, account: str) -> Sequence[Book]:
        """All books of an account, in order of their first use."""
        return [book for (_, held_in, _), book in self.ledger.books.items() if held_in == account]

    def mark(self, book: Book) -> float | None:
        """What a position is marked at, in points; None before the first quote."""
        quote = self.tape.quote_of(book.contract.name)
        if quote is None:
            return None
        return quote.last if quote.last is not None else quote.bid if book.position >= 0 else quote.ask

    def unrealized(self, book: Book) -> float:
        """Open P&L of one position in dollars."""
        mark = self.mark(book)
        return 0.0 if mark is None else round(book.money(book.open_pnl(book.contract.to_ticks(mark))), 9)

    def figures(self, account: str) -> Figures:
        """An account's money since the server's start."""
        books = self.books(account)
        gross = round(math.fsum(book.money(book.realized) for book in books), 9)
        fees = sum(book.fees for book in books) / MICRO
        unrealized = round(math.fsum(self.unrealized(book) for book in books), 9)
        realized = round(gross - fees, 9)
        cash = round(self.cash + realized, 9)
        return Figures(gross, fees, realized, unrealized, cash, round(cash + unrealized, 9))


def _rounded(contract: Contract, price: float | None) -> float | None:
    return None if price is None else contract.round(price)


def _shown(quote: Quote, most: int) -> Quote:
    """The quote with no more than so many contracts on either side."""
    bid = most if quote.bid_size is None else min(most, quote.bid_size)
    ask = most if quote.ask_size is None else min(most, quote.ask_size)
    return msgspec.structs.replace(quote, bid_size=bid, ask_size=ask)
