"""What to ask the venue next, and how soon.

Fills are found by asking, inside 180 requests a minute that orders need too. So asking is a decision: quickly after
something that may fill at once, slowly for what rests, at once on a free hint, and not at all where nothing is open.
One list answers for all orders of its account.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

from attrs import define, field

from xtalgo.engine.reconcile import Case, Evidence
from xtalgo.model.commands import EVERY_ACCOUNT, Ask, PlaceOrder, Query
from xtalgo.model.types import MILLISECOND_NS, NEVER, SECOND_NS, Ns, OrderStatus

__all__ = ["EVERY_ORDERS", "EVERY_RESTING", "RUNGS", "PollPlanner"]

RUNGS: Final = tuple(MILLISECOND_NS * ms for ms in (300, 800, 1_500, 2_500, 4_000, 6_000))
"""When to ask about something that should show soon, after it was answered; then every five seconds."""

EVERY: Final[Ns] = 5 * SECOND_NS
"""How often to ask beyond the last rung."""

EVERY_RESTING: Final[Ns] = 5 * SECOND_NS
"""How often to ask for executions while orders rest."""

EVERY_ORDERS: Final[Ns] = 15 * SECOND_NS
"""How often to ask for the list of orders while orders rest."""

EVERY_POSITIONS: Final[Ns] = 30 * SECOND_NS
"""How often to compare positions, whatever is open: others may trade the account, too."""

MANY: Final = 3
"""From so many accounts on that ask the same at once, all accounts are asked about in one request."""

LATER: Final[Ns] = 1_200 * MILLISECOND_NS
"""A market order shows by its fill; the list of orders, which would show its refusal, is asked for this much later."""


def rung(since: Ns, last: Ns) -> Ns:
    """The next time to ask about something that happened at ``since``, when it was last asked at ``last``."""
    for step in RUNGS:
        if since + step > last:
            return since + step
    return last + EVERY


@define(eq=False)
class _Line:
    """One kind of question about one account."""

    last: Ns = -NEVER
    """When it was last sent."""
    wanted: Ns = NEVER
    """Ask no later than this, whatever the orders say."""
    open: int | None = None
    """Serial of the query that waits or is under way."""
    failures: int = 0


@define(eq=False)
class PollPlanner:
    """Decides from the open cases; keeps only when it last asked."""

    evidence: Evidence
    accounts: tuple[str, ...]
    asked: int = 0
    """Queries handed out so far."""
    _lines: dict[tuple[str, Ask], _Line] = field(factory=dict)
    _narrow: dict[Ask, int] = field(factory=dict)
    """How often a question about all accounts came to nothing: after two, accounts are asked one by one."""

    def _line(self, account: str, ask: Ask) -> _Line:
        return self._lines.setdefault((account, ask), _Line())

    def want(self, account: str, ask: Ask, when: Ns) -> None:
        """Ask no later than ``when``; a query that is under way by then does not count."""
        line = self._line(account, ask)
        line.wanted = min(line.wanted, when)

    def _lines_of(self, query: Query) -> list[_Line]:
        """The lines that a query speaks for."""
        if query.account != EVERY_ACCOUNT:
            return [self._line(query.account, query.ask)]
        lines = (self._line(account, query.ask) for account in self.accounts)
        return [line for line in lines if line.open == query.serial]

    def sent(self, query: Query, now: Ns) -> None:
        """A query left."""
        for line in self._lines_of(query):
            line.last = now
            if line.wanted <= now:
                line.wanted = NEVER

    def settled(self, query: Query, now: Ns, *, answered: bool) -> None:
        """A query was answered, or came to nothing and is asked again, later each time."""
        if query.account == EVERY_ACCOUNT and not answered:
            self._narrow[query.ask] = self._narrow.get(query.ask, 0) + 1
        for line in self._lines_of(query):
            if line.open == query.serial:
                line.open = None
            if answered:
                line.failures = 0
            else:
                line.failures += 1
                line.wanted = min(line.wanted, now + min(30, 2 ** (line.failures - 1)) * SECOND_NS)

    def drop(self) -> None:
        """The link is down: nothing that was asked will be answered."""
        for line in self._lines.values():
            line.open, line.failures = None, 0

    @property
    def is_busy(self) -> bool:
        """Whether something was asked, or is to be asked as soon as may be."""
        return any(line.open is not None or line.wanted < NEVER for line in self._lines.values())

    def is_open(self, account: str) -> bool:
        """Whether orders or positions of an account were asked for and not answered since."""
        lines = (self._lines.get((account, ask)) for ask in (Ask.ORDERS, Ask.POSITIONS))
        return any(line is None or line.open is not None or line.wanted < NEVER for line in lines)

    def due(self) -> Ns:
        """When there is something to ask; NEVER when nothing is open."""
        return min((self._due(account, ask) for account in self.accounts for ask in _ASKS), default=NEVER)

    def pop(self, now: Ns) -> list[Query]:
        """The queries that are due; where many accounts ask the same, one question for all of them."""
        queries = []
        for ask in _ASKS:
            due = [account for account in self.accounts if self._due(account, ask) <= now]
            if len(due) >= MANY and ask in _ASKED_AT_ONCE and self._narrow.get(ask, 0) < 2:
                self.asked += 1
                urgent = any(self._is_urgent(account) for account in due)
                queries.append(Query(ask, EVERY_ACCOUNT, self.asked, urgent))
                for account in self.accounts:
                    if self._line(account, ask).open is None:
                        self._line(account, ask).open = self.asked
                continue
            for account in due:
                self.asked += 1
                self._line(account, ask).open = self.asked
                queries.append(Query(ask, account, self.asked, self._is_urgent(account)))
        return queries

    def _due(self, account: str, ask: Ask) -> Ns:
        line = self._lines.get((account, ask))
        last = -NEVER if line is None else line.last
        if line is not None and line.open is not None:
            return NEVER
        due = NEVER if line is None else line.wanted
        if ask is Ask.POSITIONS:
            due = min(due, last + EVERY_POSITIONS)
            for case in self._cases(account):
                if case.order.status is OrderStatus.IN_DOUBT:
                    due = min(due, rung(case.since, last))
        else:
            need = _executions if ask is Ask.EXECUTIONS else _orders
            for case in self._cases(account):
                due = min(due, need(case, last))
        return due

    def _is_urgent(self, account: str) -> bool:
        return not all(case.is_at_rest for case in self._cases(account))

    def _cases(self, account: str) -> Iterable[Case]:
        return (
            case
            for case in self.evidence.cases.values()
            if case.order.account == account and not case.order.is_done and PlaceOrder not in case.outstanding
        )


_ASKS: Final = (Ask.EXECUTIONS, Ask.ORDERS, Ask.POSITIONS)
_ASKED_AT_ONCE: Final = frozenset({Ask.ORDERS, Ask.POSITIONS})


def _executions(case: Case, last: Ns) -> Ns:
    due = max(last, case.since) + EVERY_RESTING
    if case.is_marketable or case.order.status is OrderStatus.IN_DOUBT or case.ended is not None:
        due = min(due, rung(case.since, last))
    if case.hinted is not None:
        due = min(due, rung(case.hinted, last))
    return due


def _orders(case: Case, last: Ns) -> Ns:
    due = max(last, case.since) + EVERY_ORDERS
    if case.changing or case.cancelling or case.absences or case.order.status is OrderStatus.IN_DOUBT:
        return min(due, rung(case.since, last))
    if not case.confirmed:
        return min(due, rung(case.since + LATER if case.is_marketable else case.since, last))
    return due
