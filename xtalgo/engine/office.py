"""What desks and seats need done: orders queued, changed, cancelled and judged, desks opened and looked at again.

The engine is an office that also takes turns; everything here happens inside one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Any, Final, TypeAlias

from msgspec import structs

from xtalgo.engine.amendments import Amendments
from xtalgo.engine.brackets import Exits
from xtalgo.engine.desk import Desk
from xtalgo.engine.feeds import WATCHES, Feeds
from xtalgo.engine.groups import Groups, OrderGroup
from xtalgo.engine.guards import Guards
from xtalgo.engine.ledger import Ledger
from xtalgo.engine.liaison import Liaison
from xtalgo.engine.orders import Blotter, Order
from xtalgo.engine.pacing import Forecast, Lane, PacingQueue, slot_of
from xtalgo.engine.risk import Breach, Denial, RiskGate
from xtalgo.engine.timers import Timer, Timers
from xtalgo.model.commands import CancelOrder, ChangeOrder, Command, Mutation, Read
from xtalgo.model.events import Quote
from xtalgo.model.types import NEVER, SECOND_NS, Ns, Trigger

__all__ = ["Decision", "Office"]

Decision: TypeAlias = tuple[int | float | str | None, ...]
"""When, what (``place``, ``change``, ``cancel``, ``deny``, ``stale``, ``lock``, ``guard``, ``group`` ..), and facts."""


ESCALATE: Final[Ns] = 5 * SECOND_NS
"""A guard's close that has not come through after this long is told as such."""


class Office:
    """Orders, books and desks, and what is to be done at the end of the turn."""

    def __init__(self, feeds: Feeds, run: str) -> None:
        self.now: Ns = 0
        self.feeds = feeds
        self.blotter = Blotter(run)
        self.ledger = Ledger()
        self.timers = Timers()
        self.amendments = Amendments(self.blotter, self._emit, self._dropped)
        self.liaison: Liaison | None = None
        """Dealings with a venue that has to be asked; None where the exchange tells by itself."""
        self.guards: Guards | None = None
        """Guards of whole accounts; None where no limit of an account is set and nothing of one is remembered."""
        self.groups = Groups(self)
        """Groups of orders in several accounts of which something is still to be seen."""
        self.queue: PacingQueue[Any] | None = None
        """Where commands will wait for their tokens, for those who ask when they would leave; the driver sets it."""
        self.breaches: list[Breach] = []
        """What the guards closed, and why."""
        self.on_breach: Callable[[Breach], None] | None = None
        """Told of each breach inside its turn; it must not act on the engine."""
        self.barred = False
        """Whether something stands in the way of orders: the link, reconciliation, stale quotes, doubt."""
        self.decisions: list[Decision] = []
        self.denials: dict[str, int] = {}
        self._out: list[Command] = []
        self._wishes: list[tuple[Callable[[], object], Desk | None]] = []
        self._dirty: dict[int, Desk] = {}
        self._desks: dict[tuple[str, str, str], Desk] = {}
        self._notices: list[Order | OrderGroup] = []
        self._retries: dict[str, list[tuple[Ns, Desk]]] = {}
        self._held: dict[int, Desk] = {}
        self._poll: Timer | None = None

    # --- desks ---------------------------------------------------------------------------------------------------

    def open_desk(self, owner: str, account: str, instrument: str, gate: RiskGate) -> Desk:
        """The desk of one strategy in one account and instrument."""
        series = self.feeds.of(instrument)
        book = self.ledger.book(owner, account, series.contract)
        exits = Exits(self, owner, account, series.contract)
        desk = Desk(self, owner, account, series.contract, series, book, exits, gate)
        self._desks[owner, account, instrument] = desk
        return desk

    def wish(self, act: Callable[[], object], desk: Desk | None = None) -> None:
        """Do something at the end of this turn, and bring a desk in line after it."""
        self._wishes.append((act, desk))

    def _schedule(self, when: Ns, run: Callable[[], None]) -> None:
        # By way of a wish, so that the driver looks at ``due`` again before the next quote.
        self.wish(lambda: self.timers.add(Timer(when, "", run, is_engines=True)))

    def _desk_of(self, order: Order) -> Desk:
        return self._desks[order.owner, order.account, order.instrument]

    # --- orders --------------------------------------------------------------------------------------------------

    def _emit(self, command: Command) -> None:
        self._out.append(command)
        match command:
            case ChangeOrder():
                self._decide("change", command.order_id, command.quantity, command.limit_price, command.stop_price)
            case CancelOrder():
                self._decide("cancel", command.order_id)

    def _decide(self, what: str, *facts: int | float | str | None) -> None:
        self.decisions.append((self.now, what, *facts))

    def submit(self, order: Order, *, reduces: bool = False) -> None:
        """Queue an order that needs no gate, or passed it."""
        self.blotter.step(order, Trigger.SUBMIT, self.now)
        command = order.command(reduces=reduces)
        if self.groups.deadlines and (until := self.groups.deadlines.get(order.id)) is not None:
            command = structs.replace(command, ttl=until - self.now)
        self._out.append(command)
        self.decisions.append(
            (
                self.now,
                "place",
                order.id,
                order.account,
                order.instrument,
                order.side,
                order.quantity,
                order.type,
                order.limit_price,
                order.stop_price,
                order.tif,
                order.oco,
                order.role,
            )
        )

    def cancel(self, order: Order) -> None:
        """Cancel an open order on the engine's own account."""
        self.amendments.cancel(order)

    def change(self, order: Order, *, quantity: int) -> None:
        """Change the quantity of an open order on the engine's own account."""
        self.amendments.change(order, quantity=quantity)

    def wanted_quantity(self, order: Order) -> int:
        """The quantity an order will have when everything asked for has happened."""
        return self.amendments.wanted_quantity(order)

    def gate(self, desk: Desk, change: int, order: Order | None = None, ahead: int = 0) -> Denial | None:
        """Ask the risk gate about a change of a desk's position, after ``ahead`` other orders have passed."""
        if self.barred and (denial := self._barrier(desk, change, order)) is not None:
            return denial
        if self.guards is not None and (denial := self.guards.denies(desk, change, order)) is not None:
            return denial
        if desk.gate.is_open:
            return None
        prices = () if order is None else (order.limit_price, order.stop_price)
        opened = sum(
            other.is_open and other is not order and not held.is_unjudged(other)
            for held in self._desks.values()
            if held.owner == desk.owner
            for other in held.orders
        )
        quote = desk.series.quote
        return desk.gate.check(
            self.now, desk.account, desk.contract, change, prices, desk.exposure(order), opened, quote, ahead
        )

    def _barrier(self, desk: Desk, change: int, order: Order | None) -> Denial | None:
        assert self.liaison is not None
        return self.liaison.barrier(desk.account, desk.contract.name, lambda: desk.exposure(order).reduces(change))

    def gate_change(
        self, desk: Desk, order: Order, quantity: int | None, limit_price: float | None, stop_price: float | None
    ) -> Denial | None:
        """Ask the risk gate whether an open order may be changed to this; a refusal is told, and nothing is changed."""
        grows = quantity is not None and quantity > order.quantity
        if order.is_exit or order.is_done or (desk.gate.is_open and not (self.barred and grows)):
            return None
        prices, quote = (limit_price, stop_price), desk.series.quote
        if quantity is None or quantity <= order.quantity:
            denial = desk.gate.check_prices(desk.contract, prices, quote)
        else:
            change = order.side * (quantity - order.filled)
            denial = self._barrier(desk, change, order) if self.barred else None
            if denial is None and self.guards is not None:
                denial = self.guards.denies(desk, change, order)
            denial = denial or desk.gate.check(
                self.now, desk.account, desk.contract, change, prices, desk.exposure(order), None, quote
            )
        if denial is not None:
            self.blotter.remark(order, f"change denied: {denial.reason}: {denial.text}")
            self.denials[denial.reason] = self.denials.get(denial.reason, 0) + 1
            self._decide("deny", order.id, denial.reason)
            self._notices.append(order)
        return denial

    def deny(self, order: Order, denial: Denial) -> None:
        """End a draft as denied; its strategy hears of it at its next turn, so that it can't go round in circles."""
        self.blotter.step(order, Trigger.DENY, self.now, reason=f"{denial.reason}: {denial.text}")
        self.denials[denial.reason] = self.denials.get(denial.reason, 0) + 1
        self._decide("deny", order.id, denial.reason)
        self._notices.append(order)

    def passed(self, desk: Desk, order: Order) -> None:
        """Queue an order that passed the gate."""
        if not desk.gate.is_open:
            desk.gate.passed(self.now)
        position, change = desk.book.position, order.side * order.quantity
        # Worked out only where it can be true: an order that is larger than the position does not only reduce.
        reduces = position * change < 0 and abs(change) <= abs(position) and desk.exposure(order).reduces(change)
        self.submit(order, reduces=reduces)

    def touch(self, desk: Desk) -> None:
        """Bring a desk in line at the end of this turn."""
        self._dirty[id(desk)] = desk

    def wake(self, desk: Desk, when: Ns) -> None:
        """Look at a desk again at a time."""
        self.timers.add(Timer(when, "", lambda: self.touch(desk), is_engines=True))

    def wake_on_quote(self, desk: Desk, after: Ns) -> None:
        """Look at a desk again at the first quote of its instrument from ``after`` on."""
        waiting = self._retries.setdefault(desk.contract.name, [])
        if all(other is not desk for _, other in waiting):
            waiting.append((after, desk))
            self.feeds.hear(desk.contract.name, self._retry, WATCHES)

    def _retry(self, quote: Quote) -> None:
        waiting = self._retries[quote.instrument]
        ready = [desk for after, desk in waiting if quote.ts >= after]
        if ready:
            waiting[:] = [item for item in waiting if quote.ts < item[0]]
            for desk in ready:
                self.wish(partial(self.touch, desk))
            if not waiting:
                self.feeds.leave(quote.instrument, self._retry, WATCHES)

    def _dropped(self, order: Order) -> None:
        self._notices.append(order)
        self.touch(self._desk_of(order))

    # --- groups of orders ----------------------------------------------------------------------------------------

    def forecast(self, lanes: Sequence[Lane], *, drafts: bool) -> Forecast:
        """When requests in these lanes would leave, behind what waits and what this turn has decided so far.

        With ``drafts`` the orders that were wished for in this turn, and are not judged yet, count as well.
        """
        ahead = [slot_of(command).lane for command in self._out if isinstance(command, Mutation)]
        if drafts:
            ahead += [Lane.PLACE for desk in self._desks.values() for order in desk.orders if desk.is_unjudged(order)]
        found = (self.queue or PacingQueue()).forecast(self.now, [*ahead, *lanes])
        return found._replace(leaves=found.leaves[len(ahead) :])

    def grouped(self, what: str, group: OrderGroup, *facts: int | float | str | None) -> None:
        """Write down what was decided of a group, or came of it."""
        self._decide(what, group.id, *facts)

    def tell_of(self, group: OrderGroup) -> None:
        """Let a group's strategy hear of it at its next turn."""
        self._notices.append(group)

    # --- guards of accounts --------------------------------------------------------------------------------------

    def every_desk(self) -> Iterable[Desk]:
        """All desks, in the order of their opening."""
        return self._desks.values()

    def can_act(self, account: str) -> bool:
        """Whether orders of an account may be sent now."""
        return self._may_act(account)

    def offsets(self, account: str) -> dict[str, int]:
        """Signed contracts by instrument that are not this run's."""
        known = {} if self.liaison is None else self.liaison.others.offsets
        return {instrument: quantity for (where, instrument), quantity in known.items() if where == account}

    def breached(self, breach: Breach) -> None:
        """Write a guard's breach down and tell whoever listens."""
        self._decide("guard", breach.reason.value, breach.account, breach.text)
        self.breaches.append(breach)
        if self.on_breach is not None:
            self.on_breach(breach)
        if self.liaison is not None:
            check = partial(self._escalate, breach)
            self.timers.add(Timer(self.now + ESCALATE, "", check, is_engines=True))

    def _escalate(self, breach: Breach) -> None:
        """A guard closed something a while ago: if its account is not flat by now, a person has to know."""
        held = {
            desk.contract.name: desk.book.position
            for (_, account, _), desk in self._desks.items()
            if account == breach.account and desk.book.position
        }
        if held:
            left = ", ".join(f"{name} {quantity:+d}" for name, quantity in held.items())
            text = (
                f"NOT flat {ESCALATE // SECOND_NS} s after: {breach.text}; {left} are still held. Look at NinjaTrader, "
            )
            self.breaches.append(
                Breach(self.now, breach.account, breach.reason, f"{text}or: xtalgo flatten --account {breach.account}")
            )

    # --- a venue that has to be asked ----------------------------------------------------------------------------

    def heard(self) -> None:
        """The venue said something: watch the quotes of what is out, and plan anew."""
        assert self.liaison is not None
        self.liaison.evidence.tidy()
        for instrument in {case.order.instrument for case in self.liaison.evidence.cases.values()}:
            self.feeds.hear(instrument, self._hint, WATCHES)
        self.replan()

    def silence(self, reason: str) -> None:
        """Quotes are stale for this reason; empty once one came."""
        if self.liaison is not None:
            self.liaison.silent = reason
            self.barred = self.liaison.bars

    def _hint(self, quote: Quote) -> None:
        assert self.liaison is not None
        if self.liaison.on_quote(quote):
            self.wish(self.replan)  # by way of a wish, so that the driver looks at ``due`` again

    @property
    def can_ask(self) -> bool:
        """Whether a question for bars or figures would reach somebody now."""
        return self.liaison is None or self.liaison.reachable

    def ask(self, query: Read) -> None:
        """Ask the venue something that proves nothing about orders."""
        self._out.append(query)

    def _may_act(self, account: str) -> bool:
        return self.liaison is None or self.liaison.is_ready(account)

    def replan(self) -> None:
        """What the liaison knows has moved: desks that waited for it may act, and the next poll may be due earlier."""
        liaison = self.liaison
        assert liaison is not None
        self.barred = liaison.bars
        for key, desk in list(self._held.items()):
            if liaison.is_ready(desk.account):
                self._dirty[key] = self._held.pop(key)
        due = liaison.planner.due() if liaison.reachable else NEVER
        if self._poll is not None:
            if self._poll.due == due and not self._poll.cancelled:
                return
            self._poll.cancel()
        self._poll = None
        if due < NEVER:
            self._poll = Timer(max(due, self.now), "", self._ask, is_engines=True)
            self.timers.add(self._poll)

    def _ask(self) -> None:
        assert self.liaison is not None
        self._out += self.liaison.planner.pop(self.now)
        self.replan()
