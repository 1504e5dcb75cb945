"""Others' hands: positions at the venue that our books don't explain.

Somebody may trade the same account by hand, or another program may. A difference between what the venue holds and what
our books hold is believed only after two rounds of lists with equal ends and nothing of ours under way between them
(R5), and then it is theirs: it is kept as an offset, and where it took contracts from our books, the books shrink with
it (R11). What was there when the run began is an offset, too; adopted, it is a strategy's from the start.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final

from attrs import define, field, frozen

from xtalgo.engine.polling import PollPlanner
from xtalgo.engine.reconcile import Case, Evidence
from xtalgo.model.commands import Ask
from xtalgo.model.events import External
from xtalgo.model.types import MILLISECOND_NS, SECOND_NS, Ns, OrderStatus, OrderType

__all__ = ["Adjustment", "OthersHands"]

AGAIN: Final[Ns] = 1_500 * MILLISECOND_NS
"""How long after a first difference the positions are asked for again."""

BUSY: Final[Ns] = 2 * SECOND_NS
"""How long to wait with the question while something of ours is under way."""


@frozen
class Adjustment:
    """A book that moved without a fill of ours. A later life of the run has to do the same after the same fills."""

    owner: str
    account: str
    instrument: str
    change: int
    """Signed contracts."""
    ticks: int
    """The price they were booked at."""
    after: int
    """How many fills the run had booked before it."""


@define(eq=False)
class _Suspicion:
    """A difference that was seen once. ``mark`` is the causal count of that moment."""

    difference: int
    net: int
    mark: int
    answered: dict[Ask, int] = field(factory=dict)
    """When orders and executions were answered since, in the causal count."""


@define(eq=False)
class OthersHands:
    """Compares positions lists with our books. ``net_of`` is our net by account and instrument."""

    evidence: Evidence
    planner: PollPlanner
    net_of: Callable[[str, str], int]
    traded: Callable[[str], Mapping[str, object]]
    """The instruments that this run trades in an account."""
    offsets: dict[tuple[str, str], int] = field(factory=dict)
    """Signed contracts at the venue that are not ours; zeros are left out."""
    adopts: bool = False
    """Whether a position that is not ours becomes a strategy's when the strategies start."""
    adjustments: list[Adjustment] = field(factory=list)
    """What books took over or gave up, in order."""
    prices: dict[tuple[str, str], float] = field(factory=dict)
    """The venue's average price of what it holds, by the last list that told one."""
    agreed: dict[tuple[str, str], int] = field(factory=dict)
    """The causal count at which the newest positions list that agreed was asked for."""
    _suspicions: dict[tuple[str, str], _Suspicion] = field(factory=dict)

    def begin(self, account: str, held: dict[str, int]) -> None:
        """The first reconciliation: what is there is not ours."""
        for instrument, quantity in held.items():
            self._set(account, instrument, quantity - self.net_of(account, instrument))

    def inherit(self, offsets: Mapping[tuple[str, str], int], adjustments: Iterable[Adjustment]) -> None:
        """What an earlier life knew of others' positions, and what its books took over or gave up."""
        for (account, instrument), offset in offsets.items():
            self._set(account, instrument, offset)
        self.adjustments += adjustments

    def adopted(self, account: str, instrument: str) -> None:
        """A position that was not ours is now, whole: the books hold it."""
        self._set(account, instrument, 0)

    def _set(self, account: str, instrument: str, offset: int) -> None:
        if offset:
            self.offsets[account, instrument] = offset
        else:
            self.offsets.pop((account, instrument), None)

    def answered(self, account: str, ask: Ask, asked: int) -> None:
        """Orders or executions were listed."""
        for (where, _), suspicion in self._suspicions.items():
            if where == account and asked > suspicion.mark:
                suspicion.answered[ask] = self.evidence.counted

    def positions(self, account: str, held: dict[str, int], asked: int, now: Ns) -> Iterator[External]:
        """Compare a complete list of positions, asked for at ``asked`` in the causal count."""
        for instrument in sorted({*held, *self.traded(account), *self._known(account)}):
            key = (account, instrument)
            net, seen = self.net_of(account, instrument), held.get(instrument, 0)
            difference = seen - net - self.offsets.get(key, 0)
            if not difference:
                self.agreed[key] = asked
                self._suspicions.pop(key, None)
                continue
            if self._is_busy(account, instrument):
                self._suspicions.pop(key, None)
                self.planner.want(account, Ask.POSITIONS, now + BUSY)
                continue
            found = self._suspicions.get(key)
            if found is not None and (found.difference, found.net) == (difference, net):
                between = [found.answered.get(ask) for ask in (Ask.ORDERS, Ask.EXECUTIONS)]
                if all(mark is not None and asked > mark for mark in between):
                    del self._suspicions[key]
                    self.agreed[key] = asked
                    yield External(now, account, instrument, difference, seen)
                else:
                    self._look_again(account, now)
            else:
                self._suspicions[key] = _Suspicion(difference, net, self.evidence.counted)
                self._look_again(account, now)

    def _known(self, account: str) -> list[str]:
        return [instrument for where, instrument in self.offsets if where == account]

    def _look_again(self, account: str, now: Ns) -> None:
        self.planner.want(account, Ask.EXECUTIONS, now)
        self.planner.want(account, Ask.ORDERS, now)
        self.planner.want(account, Ask.POSITIONS, now + AGAIN)

    def _is_busy(self, account: str, instrument: str) -> bool:
        """Whether something of ours may just now be moving this position."""
        return any(
            (case.order.account, case.order.instrument) == (account, instrument) and _moves(case)
            for case in self.evidence.cases.values()
        )

    def took(self, account: str, instrument: str, difference: int) -> int:
        """Book a confirmed difference; how many signed contracts of it our own books have to give up.

        An offset is used up first: a manual position that is closed by hand is nobody else's business.
        """
        key, net = (account, instrument), self.net_of(account, instrument)
        offset = self.offsets.get(key, 0)
        back = 0
        if offset * difference < 0:
            back = max(-abs(offset), -abs(difference)) * (1 if offset > 0 else -1)
            difference -= back
        taken = 0
        if net * difference < 0:
            taken = min(abs(net), abs(difference)) * (1 if difference > 0 else -1)
        self._set(account, instrument, offset + back + difference - taken)
        return taken


def _moves(case: Case) -> bool:
    return bool(
        case.outstanding
        or case.ended is not None
        or case.order.status is OrderStatus.IN_DOUBT
        or case.order.type is OrderType.MARKET
    )
