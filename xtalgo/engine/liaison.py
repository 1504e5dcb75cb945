"""The engine's dealings with a venue that has to be asked: is it reachable, is it reconciled, what is asked next.

A replay needs none of this: its exchange tells of everything by itself. Where there is a link, the engine starts and
restarts the same way: the link comes up, orders, executions and positions of each account are asked for, and when all
three were answered the account is *ready*. Until then nothing new is sent for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from attrs import define, field

from xtalgo.engine.others import OthersHands
from xtalgo.engine.polling import PollPlanner
from xtalgo.engine.reconcile import Case, Evidence, Finding
from xtalgo.engine.risk import Denial, DenyReason
from xtalgo.model.commands import Ask, Command, PlaceOrder, Query
from xtalgo.model.events import (
    AccountPnl,
    Answered,
    Doubtful,
    ExecutionsSeen,
    External,
    NotSent,
    OrdersSeen,
    PositionsSeen,
    Quote,
    Refused,
    Unanswered,
)
from xtalgo.model.reports import OrderReport
from xtalgo.model.types import SECOND_NS, Ns, OrderStatus

__all__ = ["Liaison", "Said"]

Said = Answered | Refused | NotSent | Doubtful | OrdersSeen | ExecutionsSeen | PositionsSeen | Unanswered
"""What comes back from the venue, or doesn't."""

HINT_EVERY: Final[Ns] = 2 * SECOND_NS
"""A quote through a resting price is a reason to ask, but not every second, and half as often each time."""

HINTS: Final = 5
"""From so many hints on that came to nothing they are as rare as they get: every minute."""

_ROUND: Final = frozenset({Ask.ORDERS, Ask.EXECUTIONS, Ask.POSITIONS})


@define(eq=False)
class _Account:
    """Where the reconciliation of one account stands."""

    ready: bool = False
    missing: set[Ask] = field(factory=set)
    """What is still to be answered before it is ready."""
    since: int = 0
    """The causal count at which the link came up: older queries prove nothing for the round."""
    baseline: bool = True
    """Whether the next executions are those from before the run."""
    realized: float | None = None


@define(eq=False)
class Liaison:
    """Readiness, evidence and polling of all accounts of an engine."""

    evidence: Evidence
    planner: PollPlanner
    accounts: tuple[str, ...]
    others: OthersHands
    keeps_external: bool = False
    """Whether to trade beside positions that are not ours."""
    reachable: bool = False
    cause: str = "not connected yet"
    """Why the venue can't be reached, for people."""
    halted: str = ""
    """Why somebody halted the run from outside, for people; empty while nobody has."""
    silent: str = ""
    """Why the quotes at hand are stale, for people; empty while they are fresh."""
    positions: dict[str, dict[str, int]] = field(factory=dict)
    """What each account holds by the last list, whoever traded it: signed contracts by instrument."""
    working: dict[str, tuple[OrderReport, ...]] = field(factory=dict)
    """The orders that each account showed as not over in the last complete list."""
    _states: dict[str, _Account] = field(factory=dict)

    def __attrs_post_init__(self) -> None:
        self._states = {account: _Account() for account in self.accounts}

    def inherit(self) -> None:
        """There was a life before this one: what happened since then counts, and no position is taken as given."""
        for account, state in self._states.items():
            state.baseline = False
            self.positions.setdefault(account, {})

    # --- the link ------------------------------------------------------------------------------------------------

    def link_up(self, now: Ns) -> None:
        """The venue can be reached: ask everything before anything is sent."""
        self.reachable, self.cause = True, ""
        for account, state in self._states.items():
            state.ready, state.missing = False, set(_ROUND)
            state.since = self.evidence.counted
            for ask in _ROUND:
                self.planner.want(account, ask, now)

    def link_down(self, reason: str) -> None:
        """The venue can't be reached: nothing under way will be answered."""
        self.reachable, self.cause = False, reason
        self.planner.drop()
        for state in self._states.values():
            state.ready = False

    def is_ready(self, account: str) -> bool:
        """Whether orders of an account may be sent and its desks may act."""
        return self.reachable and self._states[account].ready

    @property
    def all_ready(self) -> bool:
        """Whether every account is ready."""
        return all(self.is_ready(account) for account in self.accounts)

    # --- what left and what came back ----------------------------------------------------------------------------

    def released(self, command: Command, now: Ns) -> None:
        """A command left the queue."""
        self.evidence.released(command, now)
        if isinstance(command, Query):
            self.planner.sent(command, now)

    def take(self, event: Said) -> Iterator[Finding | External]:
        """What follows from something that the venue said."""
        evidence = self.evidence
        match event:
            case Answered():
                yield from evidence.answered(event)
            case Refused():
                yield from evidence.refused(event)
            case NotSent():
                yield from evidence.not_sent(event)
            case Doubtful():
                yield from evidence.doubtful(event)
            case Unanswered():
                evidence.asked(event.query)
                self.planner.settled(event.query, event.ts, answered=False)
            case OrdersSeen():
                self._round(event)
                if event.complete and event.query.order_id is None:
                    self.others.answered(event.query.account, Ask.ORDERS, evidence.when(event.query))
                    self.working[event.query.account] = tuple(r for r in event.orders if not r.standing.is_done)
                yield from evidence.orders_seen(event)
            case ExecutionsSeen():
                state = self._states[event.query.account]
                self._round(event)
                if state.baseline:
                    state.baseline = False
                    evidence.baseline(event)
                else:
                    when = evidence.when(event.query)
                    yield from evidence.executions_seen(event)
                    if event.complete:
                        self.others.answered(event.query.account, Ask.EXECUTIONS, when)
            case PositionsSeen():
                self._round(event)
                asked, account = evidence.asked(event.query), event.query.account
                if event.complete:
                    held = {row.instrument: row.quantity for row in event.positions if row.quantity}
                    self.others.prices |= {
                        (account, row.instrument): row.average_price
                        for row in event.positions
                        if row.average_price is not None
                    }
                    first = account not in self.positions
                    self.positions[account] = held
                    if first:
                        self.others.begin(account, held)
                    else:
                        yield from self.others.positions(account, held, asked, event.ts)
        for account in evidence.lacking:
            self.planner.want(account, Ask.EXECUTIONS, event.ts)
        evidence.lacking.clear()
        evidence.tidy()

    def _round(self, event: OrdersSeen | ExecutionsSeen | PositionsSeen) -> None:
        """Count an answer towards the account's readiness, if it was asked for since the link came up."""
        query, now = event.query, event.ts
        state = self._states[query.account]
        self.planner.settled(query, now, answered=True)
        if query.ask not in state.missing:
            return
        if event.complete and self.evidence.when(query) > state.since:
            state.missing.discard(query.ask)
            state.ready = not state.missing
        else:
            self.planner.want(query.account, query.ask, now + SECOND_NS)

    # --- hints ---------------------------------------------------------------------------------------------------

    def on_quote(self, quote: Quote) -> bool:
        """Whether a quote trades through the price of a resting order, which is a reason to ask."""
        hinted = False
        for case in self.evidence.cases.values():
            if case.order.instrument != quote.instrument or not _through(case, quote):
                continue
            if case.hinted is None or quote.ts >= case.hinted + HINT_EVERY * 2**case.hints:
                case.hinted, case.hints = quote.ts, min(case.hints + 1, HINTS)
                hinted = True
        return hinted

    def on_pnl(self, event: AccountPnl) -> bool:
        """Whether an account's realized P&L moved while orders are out, which is a reason to ask."""
        state = self._states.get(event.account)
        if state is None or event.realized is None:
            return False
        moved = state.realized is not None and event.realized != state.realized
        state.realized = event.realized
        cases = [case for case in self.evidence.cases.values() if case.order.account == event.account]
        if moved:
            for case in cases:
                case.hinted = event.ts
        return moved and bool(cases)

    # --- what may be sent ----------------------------------------------------------------------------------------

    @property
    def bars(self) -> bool:
        """Whether anything at all stands in the way of some order."""
        return (
            bool(self.silent or self.halted)
            or not self.all_ready
            or bool(self.others.offsets)
            or any(case.order.status is OrderStatus.IN_DOUBT for case in self.evidence.cases.values())
        )

    def barrier(self, account: str, instrument: str, reduces: Callable[[], bool]) -> Denial | None:
        """Why an order can't be sent now; an order that only reduces is stopped by the missing link alone."""
        if not self.reachable:
            return Denial(DenyReason.LINK_DOWN, self.cause or "the venue cannot be reached")
        if reduces():
            return None
        if self.halted:
            return Denial(DenyReason.HALTED, self.halted)
        if not self.is_ready(account):
            return Denial(DenyReason.RECONCILING, f"{account} is being reconciled with the venue")
        if self.silent:
            return Denial(DenyReason.STALE_QUOTES, self.silent)
        offset = self.others.offsets.get((account, instrument), 0)
        if offset and not self.keeps_external:
            return Denial(DenyReason.EXTERNAL, f"{account} holds {offset:+d} {instrument} that are not this run's")
        for case in self.evidence.cases.values():
            order = case.order
            if order.status is OrderStatus.IN_DOUBT and (order.account, order.instrument) == (account, instrument):
                return Denial(DenyReason.IN_DOUBT, f"order {order.id} is in doubt")
        return None


def _through(case: Case, quote: Quote) -> bool:
    order = case.order
    if PlaceOrder in case.outstanding:
        return False
    far = quote.ask if order.side > 0 else quote.bid
    if order.stop_price is not None and order.side * (far - order.stop_price) >= 0:
        return True
    return order.stop_price is None and order.limit_price is not None and order.side * (order.limit_price - far) >= 0
