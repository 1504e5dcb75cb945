"""What the venue shows against what we believe: the events that were missing.

NinjaTrader's fills are not pushed and replies get lost, so the life of an order is pieced together from answers to
our requests and from lists we ask for. The rules by which a list may say something:

- A list speaks of an order only if it was *asked for after* the last mutation of that order was answered or fell into
  doubt. An older one may add fills; it never ends anything.
- A row that is missing ends nothing: the order falls into doubt, and only repeated absence, long enough after, with
  no execution to contradict it, says that the venue never had it.
- An order that the venue shows as over ends here only when every fill it shows is booked.
- An execution is booked once, by its id, whatever the status of its order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from attrs import define, field
from msgspec import structs

from xtalgo.engine.orders import Anomaly, Blotter, Order
from xtalgo.model.commands import CancelOrder, ChangeOrder, Command, Mutation, PlaceOrder, Query
from xtalgo.model.events import (
    Answered,
    Appeared,
    CancelRefused,
    Changed,
    ChangeRefused,
    Doubtful,
    ExecutionsSeen,
    Fill,
    NotSent,
    OrdersSeen,
    OrderUpdate,
    Refused,
)
from xtalgo.model.instruments import ContractBook
from xtalgo.model.reports import ExecutionReport, OrderReport, Standing
from xtalgo.model.roots import DEFAULT_COMMISSION, ROOTS
from xtalgo.model.types import SECOND_NS, Ns, OrderStatus, OrderType, Trigger

__all__ = ["ABSENT_AFTER", "ROW", "Case", "Evidence", "Finding"]

Finding = OrderUpdate | Changed | ChangeRefused | CancelRefused | Fill | Appeared
"""What follows from evidence: the same events by which a simulated exchange tells of an order."""

ABSENT_AFTER: Final[Ns] = 10 * SECOND_NS
"""An order in doubt is believed absent only by lists asked for at least this long after the doubt arose."""

REMEMBERED: Final = 1_000
"""Queries whose leaving is remembered."""

UNBACKED: Final[Ns] = 5 * SECOND_NS
"""How long a row's fills wait for executions to explain them."""

ROW: Final = "row:"
"""How the id of a fill begins that was booked by an order's row alone."""

STILL_WORKING: Final[Ns] = 5 * SECOND_NS
"""An order that the venue shows working this long after it answered a cancel was not cancelled by it."""


@define(eq=False)
class Case:
    """One order that left the house and is not over: what is under way for it, and what was seen."""

    order: Order
    since: Ns
    """When a mutation of it was last answered or fell into doubt: polls count from here."""
    mark: int = 0
    """The same, in the causal count that queries are numbered by too."""
    outstanding: set[type[Mutation]] = field(factory=set)
    """Mutations that left and were not answered yet: while there are any, no list ends anything."""
    changing: bool = False
    """A change was answered or is in doubt; its values have not been seen yet."""
    change_in_doubt: bool = False
    larger: int = 0
    """The quantity that a change under way asks for, until the order's values are seen; zero when none does."""
    cancelling: bool = False
    """A cancel was answered or is in doubt; its effect has not been seen yet."""
    called_gone: bool = False
    """A change or cancel was refused since the order was not there: one list that shows it working says otherwise."""
    confirmed: bool = False
    """Whether a list has shown the order since its last mutation."""
    ended: OrderReport | None = None
    """A row that shows the order as over, with fills that are not all booked yet."""
    absences: int = 0
    """Lists in a row that should have shown it and did not."""
    doubted: Ns = 0
    """When the order itself fell into doubt."""
    shown: OrderReport | None = None
    """The newest row that shows more filled than is booked."""
    shown_at: Ns = 0
    shown_mark: int = 0
    unbacked: int = 0
    """Lists of executions since then that did not explain it."""
    hinted: Ns | None = None
    """When something (a quote through its price, a P&L that moved) hinted at a fill."""
    hints: int = 0
    """Hints by quotes that came to nothing so far: a market may stand at a price for long without trading through."""

    @property
    def is_at_rest(self) -> bool:
        """Whether it was seen resting and nothing is expected of it at any moment."""
        awaited = self.changing or self.cancelling or self.absences or self.ended or self.hinted
        return self.confirmed and not awaited and self.order.status is not OrderStatus.IN_DOUBT

    @property
    def is_marketable(self) -> bool:
        """Whether a fill may come at any moment."""
        return self.order.type is OrderType.MARKET


@define(eq=False)
class Evidence:
    """Keeps the open cases and turns what the venue says into findings.

    The methods are generators: the engine carries out each finding before the next is looked for, so that an order's
    end is judged with its fills booked.
    """

    blotter: Blotter
    contracts: ContractBook
    cases: dict[str, Case] = field(factory=dict)
    """By our order id; only orders that were sent and are not done."""
    aliases: dict[str, str] = field(factory=dict)
    """Our order id by the venue's, where the two differ; every id that an order ever had stays."""
    venue_ids: dict[str, str] = field(factory=dict)
    """The venue's newest id by ours, where the two differ."""
    lacking: set[str] = field(factory=set)
    """Accounts whose executions should be asked for at once: rows show fills that are not booked."""
    agrees: Callable[[Order, int], bool] = lambda _order, _mark: True
    """Whether a positions list asked for after this mark showed what our books hold in an order's instrument."""
    provisional: dict[str, int] = field(factory=dict)
    """Contracts booked by rows alone, by order: executions that come after all only take their place."""
    foreign: set[str] = field(factory=set)
    """Ids of orders at the venue that are not of this run."""
    _asked: dict[int, int] = field(factory=dict)
    _spent: dict[int, set[str]] = field(factory=dict)
    """The accounts for which a query was answered: a reply that comes twice says nothing the second time."""
    _count: int = 0

    # --- what left, and what was answered ------------------------------------------------------------------------

    def _next(self) -> int:
        self._count += 1
        return self._count

    def released(self, command: Command, now: Ns) -> None:
        """A command left the queue for the venue."""
        if isinstance(command, Query):
            self._asked[command.serial] = self._next()
        elif isinstance(command, PlaceOrder):
            order = self.blotter.orders[command.order_id]
            self.cases[order.id] = Case(order, now, outstanding={PlaceOrder})
        elif isinstance(command, ChangeOrder | CancelOrder) and (case := self.cases.get(command.order_id)):
            case.outstanding.add(type(command))
            if isinstance(command, ChangeOrder) and command.quantity is not None:
                case.larger = command.quantity

    def _settle(self, command: Mutation, now: Ns) -> Case | None:
        case = self.cases.get(command.order_id)
        if case is not None:
            case.outstanding.discard(type(command))
            case.mark, case.since = self._next(), now
            case.confirmed, case.absences, case.called_gone = False, 0, False
        return case

    def answered(self, event: Answered) -> Iterator[Finding]:
        """The venue has the order, the change or the cancel: only a placing moves anything by that alone."""
        command = event.command
        if event.venue_id is not None and event.venue_id != command.order_id:
            self.alias(event.venue_id, command.order_id)
        case = self._settle(command, event.ts)
        if isinstance(command, PlaceOrder):
            yield OrderUpdate(event.ts, command.order_id, Trigger.ACCEPT)
        elif case is not None:
            self._expect(case, command, doubt=False)

    def doubtful(self, event: Doubtful) -> Iterator[Finding]:
        """Nobody knows: the order is in doubt, or what a change or cancel of it did is still to be seen."""
        case = self._settle(event.command, event.ts)
        if isinstance(event.command, PlaceOrder):
            if case is not None and not case.order.is_done and case.order.status is OrderStatus.SENT:
                case.doubted = event.ts
                yield OrderUpdate(event.ts, event.command.order_id, Trigger.DOUBT, event.reason)
        elif case is not None:
            self._expect(case, event.command, doubt=True)

    @staticmethod
    def _expect(case: Case, command: Mutation, *, doubt: bool) -> None:
        if isinstance(command, ChangeOrder):
            case.changing, case.change_in_doubt = True, doubt
        else:
            case.cancelling = True

    def refused(self, event: Refused) -> Iterator[Finding]:
        """It was turned down. That an order is gone is no word on how it ended: that is asked for.

        Until then a change or cancel of it counts as under way: more of them would be refused, too, and go round in
        circles, ahead of the very question that ends the matter.
        """
        case = self._settle(event.command, event.ts)
        if event.gone and case is not None:
            case.hinted = event.ts
            self.lacking.add(event.command.account)
            if not isinstance(event.command, PlaceOrder):
                self._expect(case, event.command, doubt=True)
                case.called_gone = True
                return
        if case is not None and isinstance(event.command, ChangeOrder):
            case.larger = 0
        yield self._undone(event.command, event.ts, Trigger.REJECT, event.reason)

    def not_sent(self, event: NotSent) -> Iterator[Finding]:
        """It did not happen, and that is certain."""
        case = self.cases.get(event.command.order_id)
        if case is not None:
            case.outstanding.discard(type(event.command))
            if isinstance(event.command, ChangeOrder):
                case.larger = 0
            if isinstance(event.command, PlaceOrder):
                del self.cases[event.command.order_id]
        yield self._undone(event.command, event.ts, Trigger.UNSENT, event.reason)

    @staticmethod
    def _undone(command: Mutation, now: Ns, trigger: Trigger, reason: str) -> Finding:
        if isinstance(command, PlaceOrder):
            return OrderUpdate(now, command.order_id, trigger, reason)
        if isinstance(command, ChangeOrder):
            return ChangeRefused(now, command.order_id, reason)
        return CancelRefused(now, command.order_id, reason)

    # --- lists ---------------------------------------------------------------------------------------------------

    @property
    def counted(self) -> int:
        """Where the causal count stands."""
        return self._count

    def when(self, query: Query) -> int:
        """When a query left, in the causal count; zero when it never did, so that its reply proves nothing."""
        return self._asked.get(query.serial, 0)

    def asked(self, query: Query) -> int:
        """As ``when``, of a query that is answered. One about all accounts is answered once for each of them."""
        if query.account in self._spent.get(query.serial, ()):
            return 0
        while len(self._asked) > REMEMBERED:
            oldest = next(iter(self._asked))
            del self._asked[oldest]
            self._spent.pop(oldest, None)
        self._spent.setdefault(query.serial, set()).add(query.account)
        return self.when(query)

    def order_of(self, venue_id: str | None) -> Order | None:
        """Our order behind an id at the venue."""
        if venue_id is None:
            return None
        return self.blotter.orders.get(self.aliases.get(venue_id, venue_id))

    def orders_seen(self, event: OrdersSeen) -> Iterator[Finding]:
        """Judge each row, and each absence if the list was complete."""
        asked = self.asked(event.query)
        account = event.query.account
        shown = {order.id for row in event.orders if (order := self.order_of(row.order_id)) is not None}
        for row in event.orders:
            order = self.order_of(row.order_id) or self._recognised(row, account, shown)
            if order is None:
                continue
            shown.add(order.id)
            case = self.cases.get(order.id)
            if (row.filled or 0) > order.filled:
                self.lacking.add(account)
                self._show(case, row, event.ts)
            if order.status is OrderStatus.ABSENT and not row.standing.is_done:
                yield Appeared(event.ts, order.id)
            if case is not None and not case.outstanding and asked > case.mark:
                case.confirmed, case.absences = True, 0
                yield from self._judge(case, row, event.ts)
        one = event.query.order_id
        if event.complete:
            for case in list(self.cases.values()):
                order = case.order
                named = one is None or self.order_of(one) is order
                if order.account == account and order.id not in shown and named:
                    yield from self._absent(case, asked, event.ts)

    def _show(self, case: Case | None, row: OrderReport, now: Ns) -> None:
        if case is None:
            return
        if case.shown is None or case.shown.filled != row.filled:
            case.shown_at, case.shown_mark, case.unbacked = now, self._next(), 0
        case.shown = row

    def alias(self, venue_id: str, order_id: str) -> None:
        """The venue calls an order by another id."""
        self.aliases[venue_id] = order_id
        self.venue_ids[order_id] = venue_id

    def _recognised(self, row: OrderReport, account: str, shown: set[str]) -> Order | None:
        """Our order behind a row under an id that we don't know: the venue may give its own, or a new one.

        It is the oldest one that this list does not show under its own name and that looks the same. Rows that were
        there before any such order are somebody else's for good.
        """
        if row.order_id in self.foreign:
            return None
        alike = [
            case
            for case in self.cases.values()
            if case.order.id not in shown and case.order.account == account and _looks_like(case.order, row)
        ]
        if not alike:
            self.foreign.add(row.order_id)
            return None
        case = alike[0]
        if PlaceOrder in case.outstanding:
            return None  # the reply will tell
        self.alias(row.order_id, case.order.id)
        return case.order

    def _judge(self, case: Case, row: OrderReport, now: Ns) -> Iterator[Finding]:
        order = case.order
        if row.standing.is_done:
            case.ended = row
            yield from self._end(case, now)
            return
        case.ended = None
        if row.standing is Standing.UNKNOWN:
            return
        if order.status is OrderStatus.IN_DOUBT:
            yield OrderUpdate(now, order.id, Trigger.PART if order.filled else Trigger.ACCEPT, "the venue shows it")
        if row.standing is Standing.WORKING:
            yield from self._values(case, row, now)
            if case.cancelling and (case.called_gone or now >= case.since + STILL_WORKING):
                case.cancelling = case.called_gone = False
                yield CancelRefused(now, order.id, "the venue shows it working still")

    def _values(self, case: Case, row: OrderReport, now: Ns) -> Iterator[Finding]:
        """Take over the order's values as shown; what a change in doubt came to is known by them."""
        order, case.larger = case.order, 0
        quantity = order.quantity if row.quantity is None else row.quantity
        limit = order.limit_price if row.limit_price is None else row.limit_price
        stop = order.stop_price if row.stop_price is None else row.stop_price
        moved = (quantity, limit, stop) != (order.quantity, order.limit_price, order.stop_price)
        if moved or (case.changing and not case.change_in_doubt):
            case.changing = case.change_in_doubt = False
            yield Changed(now, order.id, quantity, limit, stop)
        elif case.changing:
            case.changing = case.change_in_doubt = False
            yield ChangeRefused(now, order.id, "no answer came, and the venue shows the values before the change")

    def _end(self, case: Case, now: Ns) -> Iterator[Finding]:
        """End an order that the venue shows as over, once all its fills are booked."""
        row, order = case.ended, case.order
        assert row is not None
        if order.is_done:
            return
        filled = row.filled if row.filled is not None else (row.quantity or order.quantity)
        if row.standing is not Standing.FILLED:
            filled = row.filled or 0
        if order.filled < filled:
            self.lacking.add(order.account)
            return
        if row.standing is Standing.REJECTED and not order.filled:
            yield OrderUpdate(now, order.id, Trigger.REJECT, "the venue shows it rejected")
        elif row.standing is Standing.FILLED:
            # All fills are booked and it is not done: its quantity is smaller there than we knew.
            yield Changed(now, order.id, filled, order.limit_price, order.stop_price)
        else:
            yield OrderUpdate(now, order.id, Trigger.CANCEL, "the venue shows it cancelled")

    def _absent(self, case: Case, asked: int, now: Ns) -> Iterator[Finding]:
        """A complete list did not show an order that it could have shown."""
        if case.outstanding or asked <= case.mark:
            return
        case.absences += 1
        order = case.order
        if order.status is not OrderStatus.IN_DOUBT:
            if case.absences >= 2:
                case.mark, case.absences = self._next(), 0
                case.since = case.doubted = now
                yield OrderUpdate(now, order.id, Trigger.DOUBT, "the venue does not list it any more")
            return
        if now < case.doubted + ABSENT_AFTER:
            case.absences = 0
        elif case.absences >= 2 and not order.filled and self.agrees(order, case.mark):
            yield OrderUpdate(now, order.id, Trigger.MISS, "the venue never showed it")

    def executions_seen(self, event: ExecutionsSeen) -> Iterator[Finding]:
        """Book what is new, oldest first; then end what only waited for its fills."""
        asked = self.asked(event.query)
        account = event.query.account
        open_question = any(
            case.order.account == account
            and (PlaceOrder in case.outstanding or case.order.status is OrderStatus.IN_DOUBT)
            for case in self.cases.values()
        )
        for report in sorted(event.executions, key=lambda row: row.executed or 0):
            if self.blotter.knows(report.execution_id):
                continue
            order = self.order_of(report.order_id)
            if order is not None:
                case = self.cases.get(order.id)
                if (
                    case is not None
                    and order.filled + report.quantity >= order.quantity
                    and case.larger > order.quantity
                ):
                    # It may be larger at the venue by now. Counted as filled it would work on there with nobody to
                    # cancel it; what it really is, is seen by its row.
                    yield Changed(event.ts, order.id, case.larger, order.limit_price, order.stop_price)
                fresh = self._beyond_provisional(order, report, event.ts)
                if fresh is not None:
                    yield self._fill(order, fresh, event.ts)
            elif not open_question:  # otherwise it may turn out to be ours: the next list shows it again
                self.blotter.know(report.execution_id)
        for case in list(self.cases.values()):
            if case.order.account == account:
                if case.shown is not None and event.complete and asked > case.shown_mark:
                    yield from self._unexplained(case, event.ts)
                if case.ended is not None:
                    yield from self._end(case, event.ts)

    def _unexplained(self, case: Case, now: Ns) -> Iterator[Finding]:
        """A row shows fills that no execution explains: executions reach back 15 minutes, rows a session.

        After three lists and some seconds the row is believed, at its average price (R4: the larger of the two counts).
        """
        row, order = case.shown, case.order
        assert row is not None
        missing = (row.filled or 0) - order.filled
        if missing <= 0:
            case.shown = None
            return
        case.unbacked += 1
        if case.unbacked < 3 or now < case.shown_at + UNBACKED or row.average_price is None:
            return
        booked = sum(fill.quantity * fill.price for fill in order.fills)
        price = (row.average_price * (row.filled or 0) - booked) / missing
        self.provisional[order.id] = self.provisional.get(order.id, 0) + missing
        key = f"{ROW}{order.id}:{row.filled}"
        self.blotter.anomalies.append(Anomaly(now, order.id, f"{missing} filled by its row alone, at {price:g}"))
        case.shown = None
        yield self._fill(order, ExecutionReport(key, None, None, order.instrument, order.side, missing, price), now)

    def _beyond_provisional(self, order: Order, report: ExecutionReport, now: Ns) -> ExecutionReport | None:
        """What of an execution is new, beyond what its order's row has booked already."""
        known = min(self.provisional.get(order.id, 0), report.quantity)
        if not known:
            return report
        self.provisional[order.id] -= known
        text = f"execution {report.execution_id} of {known} at {report.price:g} was booked by the row already"
        self.blotter.anomalies.append(Anomaly(now, order.id, text))
        if known == report.quantity:
            self.blotter.know(report.execution_id)
            return None
        return structs.replace(report, quantity=report.quantity - known)

    def baseline(self, event: ExecutionsSeen) -> None:
        """Take a list as what happened before this run: nothing of it is booked."""
        self.asked(event.query)
        for report in event.executions:
            self.blotter.know(report.execution_id)

    def _fill(self, order: Order, report: ExecutionReport, now: Ns) -> Fill:
        if report.side is not None and report.side is not order.side:
            text = f"execution {report.execution_id} is a {report.side.name.lower()} of an order on the other side"
            self.blotter.anomalies.append(Anomaly(now, order.id, text))
        fee = report.fee
        if fee is None:
            facts = ROOTS.get(self.contracts.contract(order.instrument).root)
            fee = report.quantity * (DEFAULT_COMMISSION if facts is None else facts.commission)
        return Fill(
            now,
            order.id,
            report.execution_id,
            order.account,
            order.instrument,
            report.side or order.side,
            report.quantity,
            report.price,
            fee,
            now if report.executed is None else report.executed,
        )

    def reopen(self, order: Order, now: Ns) -> None:
        """An order of an earlier life may be at the venue."""
        self.cases[order.id] = Case(order, now, mark=self._next(), doubted=now)

    def forget(self, order_id: str) -> None:
        """An order turned out not to have left."""
        self.cases.pop(order_id, None)

    def tidy(self) -> None:
        """Close the cases of orders that are done."""
        done = [key for key, case in self.cases.items() if case.order.is_done]
        for key in done:
            del self.cases[key]


def _looks_like(order: Order, row: OrderReport) -> bool:
    """Whether a row shows the same side, quantity and prices in the same instrument."""
    return (row.instrument, row.side, row.quantity, row.limit_price, row.stop_price) == (
        order.instrument,
        order.side,
        order.quantity,
        order.limit_price,
        order.stop_price,
    )
