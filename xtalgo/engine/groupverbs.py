"""What the verbs for several accounts want in each, ranked by risk: the making of groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from attrs import frozen

from xtalgo.engine.arguments import target_of, whole
from xtalgo.engine.desk import Desk
from xtalgo.engine.groups import GroupCost, GroupMember, OrderGroup
from xtalgo.engine.pacing import Lane
from xtalgo.model.errors import StrategyError
from xtalgo.model.types import SECOND_NS, Ns, Role, Side

if TYPE_CHECKING:
    from xtalgo.engine.seat import Seat

__all__ = ["close_group", "order_group", "target_group"]

LONGEST: Final = 60.0
"""Seconds that a group's entries may wait at most: one that is older was decided in another market."""


@frozen
class _Part:
    """What is wanted in one account: so many signed contracts more (None: a close), maybe as a target."""

    desk: Desk
    change: int | None
    target: int = 0

    @property
    def reduces(self) -> bool:
        return self.change is None or self.desk.exposure().reduces(self.change)

    @property
    def contracts(self) -> int:
        """The position that ranks it. In one instrument exposures are as contracts: price and point value are alike."""
        position = self.desk.book.position
        return abs(position) if self.change is None or self.reduces else abs(position + self.change)

    @property
    def rank(self) -> tuple[bool, int]:
        """Smaller goes first."""
        return (False, -self.contracts) if self.reduces else (True, self.contracts)

    @property
    def lanes(self) -> tuple[Lane, ...]:
        """Of the requests that it needs now."""
        first = (Lane.REDUCE,) * self.desk.clearing(self.change)
        if self.change == 0 or (self.change is None and not self.desk.book.position):
            return first
        return (*first, Lane.REDUCE if self.reduces else Lane.PLACE)


def order_group(
    seat: Seat,
    side: Side,
    instrument: str,
    quantity: int | Mapping[str, int],
    accounts: Iterable[str] | None,
    *,
    within: float,
    all_or_none: bool,
    **how: Any,
) -> OrderGroup:
    """An order in each account. Raises StrategyError before anything is decided."""
    span = _span(within)
    wanted = _by_account(seat, quantity, accounts)
    parts = [_Part(seat.desk(instrument, name), side * whole("quantity", size)) for name, size in wanted.items()]
    legs = sum(how[exit] is not None for exit in ("stop_loss", "take_profit"))

    def member(part: _Part) -> tuple[GroupMember, Callable[[], object]]:
        desk = part.desk
        order = seat.draft(desk, side, abs(part.change or 0), oco=None, **how)

        def act() -> None:
            desk.goal = None
            desk.place(order)

        return GroupMember(desk, part.reduces, part.contracts, part.lanes, order), act

    verb = "buy" if side > 0 else "sell"
    return _make(seat, verb, parts, member, span=span, legs=legs, all_or_none=all_or_none)


def target_group(
    seat: Seat,
    instrument: str,
    quantity: int | Mapping[str, int],
    accounts: Iterable[str] | None,
    *,
    within: float,
    all_or_none: bool,
) -> OrderGroup:
    """A position in each account. Raises StrategyError before anything is decided."""
    span = _span(within)
    parts = []
    for name, size in _by_account(seat, quantity, accounts).items():
        desk, target = seat.desk(instrument, name), target_of(size)
        parts.append(_Part(desk, target - desk.book.position - desk.under_way(), target))

    def member(part: _Part) -> tuple[GroupMember, Callable[[], object]]:
        desk, target, delta = part.desk, part.target, part.change or 0
        stands = met = None
        if delta and part.reduces:
            stands, met = lambda: desk.goal == target, lambda: desk.book.position == target
        made = part.reduces, part.contracts, part.lanes
        order = desk.draft(Side.BUY if delta > 0 else Side.SELL, abs(delta)) if delta else None
        return GroupMember(desk, *made, order, stands, met), partial(desk.target, target, order, once=True)

    return _make(seat, "target", parts, member, span=span, all_or_none=all_or_none)


def close_group(seat: Seat, instrument: str, accounts: Iterable[str] | None) -> OrderGroup:
    """A close in each account. Raises StrategyError before anything is decided."""
    parts = [_Part(seat.desk(instrument, name), None) for name in _by_account(seat, 0, accounts)]

    def member(part: _Part) -> tuple[GroupMember, Callable[[], object]]:
        desk = part.desk
        if desk.is_quiet:
            return GroupMember(desk, True, 0, ()), desk.close
        stands, met = lambda: desk.closing, lambda: not desk.book.position
        made = GroupMember(desk, True, part.contracts, part.lanes, None, stands, met, Role.CLOSE)
        return made, desk.close

    return _make(seat, "close", parts, member)


def _make(
    seat: Seat,
    verb: str,
    parts: list[_Part],
    member: Callable[[_Part], tuple[GroupMember, Callable[[], object]]],
    *,
    span: Ns | None = None,
    legs: int = 0,
    all_or_none: bool = False,
) -> OrderGroup:
    parts.sort(key=lambda part: part.rank)  # stable: among equals the order of the accounts
    lanes = [lane for part in parts for lane in part.lanes]
    opening = sum(lane is Lane.PLACE for lane in lanes)
    forecast = seat.engine.forecast(lanes, drafts=True)
    made = [member(part) for part in parts]
    group = OrderGroup(
        seat.engine.groups.fresh_id(),
        seat.name,
        verb,
        parts[0].desk.contract.name,
        tuple(item for item, _ in made),
        GroupCost(len(lanes), opening * legs),
        forecast,
        seat.engine.now + span if span is not None and opening else None,
        all_or_none,
    )
    return seat.engine.groups.begin(group, [act for _, act in made])


def _by_account(seat: Seat, quantity: Any, accounts: Iterable[str] | None) -> dict[str, Any]:
    """What is wanted in each account, by its name as the seat has it, in the order given."""
    if isinstance(quantity, Mapping):
        if accounts is not None:
            raise StrategyError("a group with a quantity by account has its accounts from there: leave out accounts=")
        told = list(quantity.items())
    else:
        names = seat.accounts if accounts is None else (accounts,) if isinstance(accounts, str) else tuple(accounts)
        told = [(name, quantity) for name in names]
    found: dict[str, Any] = {}
    for name, size in told:
        if not isinstance(name, str):
            raise StrategyError(f"an account is given by its name, not as {name!r}")
        known = seat.account(name)
        if known in found:
            raise StrategyError(f"account {known} is in the group twice")
        found[known] = size
    if not found:
        raise StrategyError("a group needs at least one account")
    return found


def _span(within: float) -> Ns:
    """The time limit of a group's entries."""
    if isinstance(within, bool) or not isinstance(within, int | float) or not 0 < within <= LONGEST:
        raise StrategyError(f"within is in seconds, above 0 and at most {LONGEST:g}, not {within!r}")
    return round(within * SECOND_NS)
