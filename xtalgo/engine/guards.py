"""Guards of whole accounts: daily loss, trailing drawdown, contracts and positions, hours, and naked positions.

They stand beside the limits of each strategy and look at everything a run does in an account. A loss or a drawdown that
reaches its limit locks the account for the rest of the trading day: every position is closed in the same turn, and what
would open one is denied. Loss, peak and lock outlive the run as a ``DayState``.

Every view of the P&L is judged by itself and the worst counts: our own books, marked at the side where positions could
be closed; and, where the venue tells them, realized plus unrealized P&L, and net liquidation. The venue's figures hold
what others do in the account, too; a deposit or withdrawal moves its net liquidation like a gain or loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final, Protocol

import attrs
from attrs import define, field, frozen

from xtalgo.engine.daystate import DayState, Lock, Track
from xtalgo.engine.desk import Desk
from xtalgo.engine.feeds import WATCHES, Feeds
from xtalgo.engine.orders import Order
from xtalgo.engine.risk import Denial, DenyReason, Exposure, RiskLimits
from xtalgo.engine.timers import Timer, Timers
from xtalgo.model.events import AccountPnl, Quote
from xtalgo.model.sessions import session_at
from xtalgo.model.types import MINUTE_NS, SECOND_NS, Ns, OrderStatus, Role

__all__ = ["Breach", "GuardHost", "Guards"]

RESET: Final[Ns] = 10 * MINUTE_NS
"""So long after a session's open, and in the break before it, realized P&L that is zero again is a fresh day's."""

_PROTECTS: Final = (OrderStatus.WORKING, OrderStatus.PARTIAL)


@frozen
class Breach:
    """A guard closed something; ``text`` is for people."""

    ts: Ns
    account: str
    reason: DenyReason
    text: str


class GuardHost(Protocol):
    """What the guards need of the engine."""

    now: Ns
    feeds: Feeds
    timers: Timers

    def every_desk(self) -> Iterable[Desk]:
        """All desks."""

    def wish(self, act: Callable[[], object], desk: Desk | None = None) -> None:
        """Do something at the end of this turn, and bring a desk in line after it."""

    def cancel(self, order: Order) -> None:
        """Cancel an open order."""

    def can_act(self, account: str) -> bool:
        """Whether orders of an account may be sent now."""

    def offsets(self, account: str) -> dict[str, int]:
        """Signed contracts by instrument that are not this run's."""

    def breached(self, breach: Breach) -> None:
        """Write a breach down and tell people."""


@define(eq=False)
class Guards:
    """The guards of all accounts of an engine. Everything happens inside turns."""

    _host: GuardHost
    limits: RiskLimits
    accounts: Sequence[str]
    _days: dict[str, DayState] = field(factory=dict)
    _inherited: dict[str, tuple[DayState, bool]] = field(factory=dict)
    _naked: dict[int, Timer] = field(factory=dict)
    """By the id of a desk: when it is closed unless its protection is seen before."""

    # --- days ----------------------------------------------------------------------------------------------------

    def inherit(self, state: DayState, *, resumed: bool) -> None:
        """Take over what an earlier run left of an account, before ``begin``.

        ``resumed`` says that the books hold the fills of that run; otherwise a gain that was still open is not counted.
        """
        for account in self.accounts:
            if account.casefold() == state.account.casefold():
                self._inherited[account] = (attrs.evolve(state.copy(), account=account), resumed)

    def begin(self) -> None:
        """The run starts: take up the trading day where it was left, and carry out what is overdue."""
        now, told = self._host.now, self._days
        self._days = {}
        for account in self.accounts:
            self._days[account] = self._taken_up(account)
            if account in told:
                self._take_told(account, told[account])
        self._arm(session_at(now).open if session_at(now).open > now else self._next_open(), self._turn_day)
        for desk in self._host.every_desk():
            self.watch(desk.contract.name)
        if self.limits.flatten_by is not None:
            self._arm(self.limits.flatten_by.next(now), self._flatten)
        if self.limits.trading_hours is not None:
            self._arm(self.limits.trading_hours.closes(now), self._end_hours)
            if not self.limits.trading_hours.contains(now):
                self._cancel_entries()
        for account in self.accounts:
            self._judge_own(account)
            if self._is_shut(account):
                self._close(account)
        for desk in self._host.every_desk():
            self.look(desk)

    def _taken_up(self, account: str) -> DayState:
        day = session_at(self._host.now).day
        at_cost = self._net(account, at_cost=True)[0]
        if account not in self._inherited:
            return DayState(account, day, Track(), own_shift=-at_cost)
        state, resumed = self._inherited[account]
        if not resumed:
            # A loss that was open is taken as made, a gain that was open as lost: the position is not in our books.
            level = min(state.own.level, state.settled)
            state = attrs.evolve(state, own_shift=level - at_cost)
            state.own.level = level
        if state.day >= day:
            return state
        state.own.end_day()
        liquid = state.net_liquidation
        if liquid is not None:
            liquid.end_day()  # what it says of this day is measured anew from the first figures, its peak stays
        return attrs.evolve(
            state, day=day, pnl=None, pnl_shift=0.0, realized=None, net_liquidation=liquid, told_peak=None, lock=None
        )

    def _next_open(self) -> Ns:
        return session_at(session_at(self._host.now).close).open

    def _turn_day(self) -> None:
        """A trading day begins: locks end, losses count from here."""
        self._arm(self._next_open(), self._turn_day)
        day = session_at(self._host.now).day
        for account, state in self._days.items():
            if state.day >= day:
                continue
            self._see_own(account)
            for track in (state.own, state.pnl, state.net_liquidation):
                if track is not None:
                    track.end_day()
            self._days[account] = attrs.evolve(state, day=day, told_peak=None, lock=None)
            self._judge(account)

    def states(self) -> tuple[DayState, ...]:
        """What is to be remembered of each account as of now; nothing before ``begin``."""
        found = []
        for account, state in self._days.items():
            self._see_own(account)
            settled = state.own_shift + self._net(account, at_cost=True)[0]
            found.append(attrs.evolve(state, settled=settled).copy())
        return tuple(found)

    def lock_of(self, account: str) -> Lock | None:
        """Why an account is locked for the day, if it is."""
        return self._days[account].lock if account in self._days else None

    # --- profit and loss -----------------------------------------------------------------------------------------

    def watch(self, instrument: str) -> None:
        """A strategy opened a desk: look at each quote of its instrument, if P&L is limited."""
        if self._limits_pnl:
            self._host.feeds.hear(instrument, self._on_quote, WATCHES)

    @property
    def _limits_pnl(self) -> bool:
        return self.limits.account_daily_loss is not None or self.limits.trailing_drawdown is not None

    def _on_quote(self, quote: Quote) -> None:
        desks = self._host.every_desk()
        name = quote.instrument
        for account in {desk.account for desk in desks if desk.book.position and desk.contract.name == name}:
            self._judge_own(account)

    def filled(self, desk: Desk) -> None:
        """A fill was booked: judge the account, and close what came too late."""
        if desk.account not in self._days:
            return
        self._judge_own(desk.account)
        if desk.book.position and not desk.closing and self._is_shut(desk.account):
            self._host.wish(desk.close, desk)

    def told(self, event: AccountPnl) -> None:
        """The venue told its own P&L of an account."""
        state = self._days.get(event.account)
        if state is None:
            if event.account not in self.accounts:
                return
            state = DayState(event.account, session_at(event.ts).day, Track())  # until ``begin``
        total = _sum(event.realized, event.unrealized)
        liquid = _finite(event.net_liquidation)
        track, shift = state.pnl, state.pnl_shift
        if total is not None:
            if track is None:
                track = Track.starting(0.0)  # the venue's are figures of the day
            elif not event.realized and state.realized and self._is_new_day(event.ts):
                shift += state.realized
            track.see(total + shift)
        worth = state.net_liquidation
        if liquid is not None:
            if worth is None:
                worth = Track.starting(liquid - (total or 0.0))
            worth.see(liquid)
        realized = _finite(event.realized)
        self._days[event.account] = attrs.evolve(
            state,
            pnl=track,
            pnl_shift=shift,
            realized=state.realized if realized is None else realized,
            net_liquidation=worth,
        )
        self._judge(event.account)

    def _is_new_day(self, now: Ns) -> bool:
        return now < session_at(now).open + RESET

    def _take_told(self, account: str, told: DayState) -> None:
        """What the venue told of an account before the run began, on top of what was inherited."""
        raise NotImplementedError

    def note_peak(self, account: str, value: float) -> None:
        """The venue's own record of the day's highest P&L, in dollars (GetWatermarks)."""
        state = self._days[account]
        if math.isfinite(value) and (state.told_peak is None or value > state.told_peak):
            self._days[account] = attrs.evolve(state, told_peak=value)
            self._judge(account)
