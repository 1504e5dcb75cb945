"""One decision for several accounts: orders ordered by risk, under one time limit, and what became of each.

What only reduces goes first, the largest position before the others; then what opens, the smallest resulting position
first; among equals the order of the accounts. That is the order in which they enter the pacing queue, inside its lanes.
A group decides nothing after that: it tells what became of its orders, and never undoes one because of another.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from functools import partial
from typing import TYPE_CHECKING, Final

from attrs import define, field, frozen

from xtalgo.engine.desk import Desk
from xtalgo.engine.orders import Order
from xtalgo.engine.pacing import Forecast, Lane
from xtalgo.engine.risk import Denial, DenyReason
from xtalgo.model.types import SECOND_NS, Ns, OrderStatus, OrderType, Role, Trigger

if TYPE_CHECKING:
    from xtalgo.engine.office import Office

__all__ = ["GroupCost", "GroupMember", "Groups", "MemberStatus", "OrderGroup"]


class MemberStatus(enum.StrEnum):
    """Where a group stands in one account."""

    NOTHING = "nothing to do"
    """The account was where it should be already."""
    WAITING = "waiting"
    """It is still here: for the end of the turn, for exits to make room, or for a token."""
    SENT = "sent"
    """It left and has not been answered."""
    WORKING = "working"
    """The venue has it; or a close or a target toward flat is being pursued."""
    IN_DOUBT = "in doubt"
    """It left, and nobody knows what became of it."""
    DENIED = "denied"
    """The risk gate said no."""
    UNSENT = "unsent"
    """It is not at the venue: it went stale, was withdrawn, did not leave, or never arrived."""
    FILLED = "filled"
    """All of it was filled; or the account is flat, or at its target."""
    REJECTED = "rejected"
    """The venue refused it."""
    ENDED = "ended"
    """It was cancelled, expired or was replaced before all of it was filled."""

    @property
    def is_done(self) -> bool:
        """Whether nothing more is expected to happen in this account."""
        return self in _DONE


_DONE: Final = frozenset(
    {
        MemberStatus.NOTHING,
        MemberStatus.DENIED,
        MemberStatus.UNSENT,
        MemberStatus.FILLED,
        MemberStatus.REJECTED,
        MemberStatus.ENDED,
    }
)

_STATUS: Final = {
    OrderStatus.DRAFT: MemberStatus.WAITING,
    OrderStatus.DENIED: MemberStatus.DENIED,
    OrderStatus.QUEUED: MemberStatus.WAITING,
    OrderStatus.SENT: MemberStatus.SENT,
    OrderStatus.IN_DOUBT: MemberStatus.IN_DOUBT,
    OrderStatus.WORKING: MemberStatus.WORKING,
    OrderStatus.PARTIAL: MemberStatus.WORKING,
    OrderStatus.FILLED: MemberStatus.FILLED,
    OrderStatus.CANCELLED: MemberStatus.ENDED,
    OrderStatus.REJECTED: MemberStatus.REJECTED,
    OrderStatus.EXPIRED: MemberStatus.ENDED,
    OrderStatus.ABSENT: MemberStatus.UNSENT,
}

_NEVER_LEFT: Final = (Trigger.DROP, Trigger.STALE, Trigger.UNSENT)
"""What an order's end rests on that is not at the venue."""


@frozen
class GroupCost:
    """Requests out of the budget, without the questions that follow."""

    now: int
    """What its orders need: their placing, and the cancels and changes that come before."""
    later: int
    """The exits of its brackets, if each entry is filled at once; every further partial fill has exits of its own."""


@define(eq=False)
class GroupMember:
    """What a group does in one account: a live view, read-only to authors."""

    _desk: Desk
    _reduces: bool
    _contracts: int
    _lanes: tuple[Lane, ...]
    """Of the requests that it needs now: cancels and changes that come first, and its order."""
    _order: Order | None = None
    _stands: Callable[[], bool] | None = None
    """Whether a close or a target toward flat is still being pursued; None for a single order."""
    _met: Callable[[], bool] | None = None
    _role: Role = Role.ENTRY
    """The role of the orders that a pursuit makes."""
    _begun: bool = False
    _fate: MemberStatus | None = None
    """How a pursuit ended: positions that come later say nothing about it."""

    @property
    def account(self) -> str:
        """The account."""
        return self._desk.account

    @property
    def order(self) -> Order | None:
        """Its order, the newest where it took several; None before a close has one, or when there is nothing to do."""
        return self._order

    @property
    def reduces(self) -> bool:
        """Whether it could only shrink the position when it was decided; such an order never goes stale."""
        return self._reduces

    @property
    def contracts(self) -> int:
        """The position that ranks it: the one that it reduces, or the one that it may lead to."""
        return self._contracts

    @property
    def status(self) -> MemberStatus:
        """Where it stands."""
        if self._stands is not None:
            return self._fate or (MemberStatus.WORKING if self._begun else MemberStatus.WAITING)
        order = self._order
        if order is None:
            return MemberStatus.NOTHING
        if order.status is OrderStatus.CANCELLED and order.evidence in _NEVER_LEFT:
            return MemberStatus.UNSENT
        return _STATUS[order.status]

    @property
    def is_settled(self) -> bool:
        """Whether its decision has been carried out or is over: an order that rests at its price counts as placed."""
        status = self.status
        if status is MemberStatus.WORKING:
            return self._stands is None and self._order is not None and self._order.type is not OrderType.MARKET
        return status.is_done

    @property
    def share(self) -> Fraction:
        """How much of the decision the account has: all of it while its order rests, what was filled once it ended."""
        status = self.status
        if status in (MemberStatus.NOTHING, MemberStatus.FILLED, MemberStatus.WORKING):
            return Fraction(1)
        if self._order is None or self._stands is not None:
            return Fraction(0)
        return min(Fraction(1), Fraction(self._order.filled, self._order.quantity))

    @property
    def text(self) -> str:
        """Where it stands, for people."""
        order, status = self._order, self.status
        if order is None:
            return str(status)
        what = f"{order.side.name.lower()} {order.quantity}"
        if order.filled:
            what += f", {order.filled} filled at {order.average_price:.10g}"
        reason = f": {order.reason}" if order.reason and status is not MemberStatus.FILLED else ""
        return f"{status} ({what}){reason}"

    def _look(self) -> None:
        """See what a pursuit has come to."""
        if self._stands is None or not self._begun or self._fate is not None:
            return
        assert self._met is not None
        for order in self._desk.orders:
            if order.type is OrderType.MARKET and order.role is self._role:
                self._order = order
        if not self._stands():
            self._fate = MemberStatus.FILLED if self._met() else MemberStatus.ENDED


@define(eq=False)
class OrderGroup:
    """One decision for several accounts: a live view of what becomes of it, read-only to authors.

    Nothing is undone because of another account: whoever wants a filled leg closed after another was refused does so,
    in ``on_group`` for example.
    """

    _id: str
    _owner: str
    _verb: str
    _instrument: str
    _members: tuple[GroupMember, ...]
    _cost: GroupCost
    _forecast: Forecast
    _deadline: Ns | None
    _all_or_none: bool = False
    _judged: bool = False
    _refusal: Mapping[str, Denial] | None = None
    """By account, where an all-or-none group was refused."""
    _told: bool | None = None
    """Whether its strategy was told last that the accounts differ; None before it was told anything."""

    @property
    def id(self) -> str:
        """Its id within the run."""
        return self._id

    @property
    def owner(self) -> str:
        """The strategy that decided it."""
        return self._owner

    @property
    def verb(self) -> str:
        """``buy``, ``sell``, ``target`` or ``close``."""
        return self._verb

    @property
    def instrument(self) -> str:
        """The instrument's canonical name."""
        return self._instrument

    @property
    def members(self) -> tuple[GroupMember, ...]:
        """What it does in each account, in the order of risk."""
        return self._members

    @property
    def accounts(self) -> tuple[str, ...]:
        """Its accounts, in the order of risk."""
        return tuple(member.account for member in self._members)

    @property
    def orders(self) -> dict[str, Order]:
        """Its orders by account, in the order of risk; those without one are left out."""
        return {member.account: member.order for member in self._members if member.order is not None}

    @property
    def status(self) -> dict[str, MemberStatus]:
        """Where it stands, by account."""
        return {member.account: member.status for member in self._members}

    @property
    def cost(self) -> GroupCost:
        """What it asks of the request budget."""
        return self._cost

    @property
    def deadline(self) -> Ns | None:
        """When what opens goes stale if it has not left; None where nothing opens."""
        return self._deadline

    @property
    def affordable(self) -> Forecast:
        """When its requests would leave: as of the verb's call, and once it is decided as of then.

        It counts what waits in the queue and what the turn has decided before. Nothing more urgent must come between.
        """
        return self._forecast

    @property
    def is_affordable(self) -> bool:
        """Whether all that it needs now would leave before its time limit: at the very moment it may go stale."""
        return self._deadline is None or self._forecast.last < self._deadline

    @property
    def is_settled(self) -> bool:
        """Whether each account's order has been placed or is over; a market order is placed when it is filled."""
        return all(member.is_settled for member in self._members)

    @property
    def is_done(self) -> bool:
        """Whether nothing more is expected to happen in any account."""
        return all(member.status.is_done for member in self._members)

    @property
    def is_diverged(self) -> bool:
        """Whether, all being settled, some accounts have it and others don't, or have less of it."""
        return self.is_settled and len({member.share for member in self._members}) > 1

    def report(self) -> str:
        """Where it stands in each account, for people: a line for all and one for each."""
        width = max(len(member.account) for member in self._members)
        lines = [f"{member.account:<{width}}  {member.text}" for member in self._members]
        return "\n".join([str(self), *lines])

    def __str__(self) -> str:
        counts: dict[str, int] = {}
        for member in self._members:
            counts[member.status] = counts.get(member.status, 0) + 1
        told = ", ".join(f"{count} {status}" for status, count in counts.items())
        end = "; diverged" if self.is_diverged else "" if self.is_settled else "; not settled"
        return f"{self._verb} {self._instrument} in {len(self._members)} accounts: {told}{end}"


@define(eq=False)
class Groups:
    """All groups of a run of which something is still to be seen."""

    _office: Office
    open: list[OrderGroup] = field(factory=list)
    deadlines: dict[str, Ns] = field(factory=dict)
    """When orders of groups go stale, by their ids."""
    _by_order: dict[str, OrderGroup] = field(factory=dict)
    _count: int = 0

    def begin(self, group: OrderGroup, acts: Sequence[Callable[[], object]]) -> OrderGroup:
        """A group was wished for: each of ``acts`` carries out its member's part at the end of the turn."""
        for member, act in zip(group.members, acts, strict=True):
            self._office.wish(partial(self._carry_out, group, member, act), member._desk)
        return group

    def fresh_id(self) -> str:
        """An id that no other group of the run has."""
        self._count += 1
        return f"{self._office.blotter.run}-group-{self._count}"

    # --- what is done --------------------------------------------------------------------------------------------

    def _carry_out(self, group: OrderGroup, member: GroupMember, act: Callable[[], object]) -> None:
        """At the end of the turn: one account's part, and before the first the judgement of the whole."""
        if not group._judged:
            self._judge(group)
        member._begun = True
        if group._refusal is None:
            act()
        elif (order := member.order) is not None and order.is_open:
            member._desk.deny(order, group._refusal[member.account])
            member._stands = None

    def _judge(self, group: OrderGroup) -> None:
        group._judged = True
        lanes = [lane for member in group.members for lane in member._lanes]
        group._forecast = self._office.forecast(lanes, drafts=False)
        self.open.append(group)
        for order in group.orders.values():
            self._by_order[order.id] = group
            if group.deadline is not None:
                self.deadlines[order.id] = group.deadline
        ids = " ".join(order.id for order in group.orders.values())
        facts = (group.verb, group.instrument, ", ".join(group.accounts), ids, group.cost.now, group.cost.later)
        self._office.grouped("group", group, *facts, group.affordable.at_once, group.deadline)
        if group._all_or_none:
            group._refusal = self._refuse(group)

    def _refuse(self, group: OrderGroup) -> dict[str, Denial] | None:
        """Why an all-or-none group is not sent, by account; None to send it."""
        found: dict[str, Denial] = {}
        orders = [(member, order) for member in group.members if (order := member.order) is not None]
        for ahead, (member, order) in enumerate(orders):
            denial = member._desk.judge(order, ahead)
            if denial is None and not member.reduces and member._desk.waits_for_room(order):
                text = f"in {member.account} exits must make room first, and nobody knows when they will have"
                denial = Denial(DenyReason.GROUP, text)
            if denial is not None:
                found[member.account] = denial
        if found:
            account, why = next(iter(found.items()))
            others = Denial(DenyReason.GROUP, f"all or none, and {account} is denied: {why.reason}: {why.text}")
            return {member.account: found.get(member.account, others) for member in group.members}
        if group.is_affordable:
            return None
        seconds = (group.affordable.last - self._office.now) / SECOND_NS
        text = (
            f"all or none, and of {group.cost.now} requests {group.affordable.at_once} could leave at once and the "
            f"last only after {seconds:.1f} s"
        )
        return dict.fromkeys(group.accounts, Denial(DenyReason.BUDGET, text))

    # --- what came of it -----------------------------------------------------------------------------------------

    def heard(self, order: Order) -> OrderGroup | None:
        """An order moved: its group, if its strategy is to hear of it now."""
        group = self._by_order.get(order.id)
        return group if group is not None and self._is_news(group) else None

    def look(self) -> None:
        """At the end of a turn: what is news is told at the next one, so that nobody can run in circles."""
        for group in list(self.open):
            for member in group.members:
                member._look()
            if self._is_news(group):
                self._office.tell_of(group)
            if group.is_done:
                self.open.remove(group)
                for key in [key for key, known in self._by_order.items() if known is group]:
                    del self._by_order[key]
                    self.deadlines.pop(key, None)

    def _is_news(self, group: OrderGroup) -> bool:
        if not group.is_settled or group._told is (diverged := group.is_diverged):
            return False
        group._told = diverged
        if diverged:
            states = ", ".join(f"{member.account} {member.status}" for member in group.members)
            self._office.grouped("diverged", group, states)
        return True
