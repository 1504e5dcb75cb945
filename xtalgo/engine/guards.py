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
from attrs import define, field

from xtalgo.engine.daystate import DayState, Lock, Track
from xtalgo.engine.desk import Desk
from xtalgo.engine.feeds import WATCHES, Feeds
from xtalgo.engine.orders import Order
from xtalgo.engine.risk import Breach, Denial, DenyReason, RiskLimits
from xtalgo.engine.timers import Timer, Timers
from xtalgo.model.events import AccountPnl, Quote
from xtalgo.model.sessions import session_at
from xtalgo.model.types import SECOND_NS, Ns, OrderStatus, Role

__all__ = ["GuardHost", "Guards"]

_PROTECTS: Final = (OrderStatus.WORKING, OrderStatus.PARTIAL)


class GuardHost(Protocol):
    """What the guards need of the engine."""

    now: Ns
    feeds: Feeds
    timers: Timers

    def every_desk(self) -> Iterable[Desk]:
        """All desks."""

    def wish(self, act: Callable[[], object], desk: Desk | None = None) -> None:
        """Do something at the end of this turn, and bring a desk in line after it."""

    def touch(self, desk: Desk) -> None:
        """Bring a desk in line at the end of this turn."""

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
    _told: dict[str, AccountPnl] = field(factory=dict)
    """What the venue told before ``begin``."""
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
        now, limits = self._host.now, self.limits
        self._arm(self._next_open(), self._turn_day)
        if limits.flatten_by is not None:
            self._arm(limits.flatten_by.next(now), self._flatten)
        if limits.trading_hours is not None:
            self._arm(limits.trading_hours.closes(now), self._end_hours)
            if not limits.trading_hours.contains(now):
                self._cancel_entries()
        for desk in self._host.every_desk():
            self.watch(desk.contract.name)
            self.look(desk)
        for account in self.accounts:
            self._days[account] = self._taken_up(account)
            if self._is_shut(account):
                self._close(account)
            self._judge_own(account)
            if account in self._told:
                self.told(self._told.pop(account))

    def _taken_up(self, account: str) -> DayState:
        day = session_at(self._host.now).day
        at_cost = self._net(account, at_cost=True)[0]
        if account not in self._inherited:
            return DayState(account, day, Track(), own_shift=-at_cost)
        state, resumed = self._inherited[account]
        if not resumed:
            # A position that is not in our books any more: a loss that was open is taken as made, a gain as lost.
            holds = any(desk.book.position for desk in self._host.every_desk() if desk.account == account)
            level = state.settled if holds else min(state.own.level, state.settled)
            state = attrs.evolve(state, own_shift=level - at_cost)
            state.own.level = level
        return state if state.day >= day else state.taken_up(day)

    def _next_open(self) -> Ns:
        return session_at(session_at(self._host.now).close).open

    def _turn_day(self) -> None:
        """A trading day begins: locks end, losses count from here."""
        self._arm(self._next_open(), self._turn_day)
        day = session_at(self._host.now).day
        for account, state in self._days.items():
            if state.day < day:
                self._see_own(account)
                self._days[account] = state.turned(day)
                self._judge(account)

    def states(self) -> tuple[DayState, ...]:
        """What is to be remembered of each account as of now; nothing before ``begin``."""
        found = []
        for account, state in self._days.items():
            self._see_own(account)
            settled = state.own_shift + self._net(account, at_cost=True)[0]
            found.append(attrs.evolve(state, settled=settled).copy())
        return tuple(found)

    # --- profit and loss -----------------------------------------------------------------------------------------

    def watch(self, instrument: str) -> None:
        """A strategy opened a desk: look at each quote of its instrument, if P&L is limited."""
        if self._limits_pnl:
            self._host.feeds.hear(instrument, self._on_quote, WATCHES)

    @property
    def _limits_pnl(self) -> bool:
        return self.limits.account_daily_loss is not None or self.limits.trailing_drawdown is not None

    def _on_quote(self, quote: Quote) -> None:
        desks, name = self._host.every_desk(), quote.instrument
        held = [desk.account for desk in desks if desk.book.position and desk.contract.name == name]
        for account in dict.fromkeys(held):
            self._judge_own(account)

    def filled(self, desk: Desk) -> None:
        """A fill was booked: judge the account, and close what came too late."""
        if desk.account not in self._days:
            return
        self._judge_own(desk.account)
        if desk.book.position and not desk.closing and self._is_shut(desk.account):
            self._close_desk(desk)

    def told(self, event: AccountPnl) -> None:
        """The venue told its own P&L of an account."""
        state = self._days.get(event.account)
        if state is None:
            self._told[event.account] = event
        else:
            self._days[event.account] = state.with_told(event)
            self._judge(event.account)

    def note_peak(self, account: str, value: float) -> None:
        """The venue's own record of the day's highest P&L, in dollars (GetWatermarks); after ``begin``."""
        state = self._days[account]
        if math.isfinite(value) and (state.told_peak is None or value > state.told_peak):
            self._days[account] = attrs.evolve(state, told_peak=value)
            self._judge(account)

    def standing(self, account: str) -> float:
        """The day's P&L in dollars: by the lower of the venue's views, or by our own books where it tells none."""
        self._see_own(account)
        state = self._days[account]
        views = [track for track in (state.pnl, state.net_liquidation) if track is not None] or [state.own]
        return min(track.level - track.base for track in views)

    def _net(self, account: str, *, at_cost: bool = False) -> tuple[float, bool]:
        """Net P&L of the books in dollars, and whether every open position has a quote to be marked with."""
        total, is_complete = 0.0, True
        for desk in self._host.every_desk():
            if desk.account == account:
                mark = None if at_cost else desk.mark
                total += desk.book.net(mark)
                is_complete = is_complete and (mark is not None or not desk.book.position)
        return total, is_complete

    def _see_own(self, account: str) -> None:
        state = self._days[account]
        net, is_complete = self._net(account)
        state.own.see(state.own_shift + net, is_complete=is_complete)

    def _judge_own(self, account: str) -> None:
        if self._limits_pnl:
            self._see_own(account)
            self._judge(account)

    def _judge(self, account: str) -> None:
        """Lock the account if a view of its P&L has reached a limit."""
        state, limits = self._days[account], self.limits
        if state.lock is not None:
            return
        views = [track for track in (state.own, state.pnl, state.net_liquidation) if track is not None]
        loss = max(track.loss for track in views)
        if limits.account_daily_loss is not None and loss >= limits.account_daily_loss:
            text = f"{account} lost ${loss:,.2f} of at most ${limits.account_daily_loss:,.2f} in the day"
            self._lock(account, DenyReason.ACCOUNT_LOSS, text)
        elif limits.trailing_drawdown is not None and (fall := self._drawdown(state)) >= limits.trailing_drawdown:
            below = "of the highest end of a day" if limits.drawdown_basis == "eod" else "of the day's peak"
            text = f"{account} is ${fall:,.2f} short {below}, at most ${limits.trailing_drawdown:,.2f}"
            self._lock(account, DenyReason.DRAWDOWN, text)

    def _drawdown(self, state: DayState) -> float:
        if self.limits.drawdown_basis == "eod":  # realized P&L starts anew each day: its ends of days say nothing
            return max(track.drawdown("eod") for track in (state.own, state.net_liquidation) if track is not None)
        venues = [track for track in (state.pnl, state.net_liquidation) if track is not None]
        falls = [track.drawdown("intraday", state.told_peak) for track in venues]
        return max(*falls, state.own.drawdown("intraday", None if venues else state.told_peak), -math.inf)

    def _lock(self, account: str, reason: DenyReason, text: str) -> None:
        now = self._host.now
        self._days[account] = attrs.evolve(self._days[account], lock=Lock(now, reason.value, text))
        self._host.breached(Breach(now, account, reason, text))
        self._close(account)

    # --- what is closed, and when --------------------------------------------------------------------------------

    def _arm(self, when: Ns, act: Callable[[], None]) -> None:
        self._host.timers.add(Timer(when, "", act, is_engines=True))

    def _is_shut(self, account: str) -> bool:
        """Whether nothing may be held in an account now."""
        is_over = self.limits.flatten_by is not None and self.limits.flatten_by.is_past(self._host.now)
        return is_over or self._days[account].lock is not None

    def _close(self, account: str) -> None:
        for desk in self._host.every_desk():
            if desk.account == account and not desk.is_quiet:
                self._close_desk(desk)

    def _close_desk(self, desk: Desk) -> None:
        # No wish of the desk's strategy: those are dropped when its callback raises.
        def act() -> None:
            desk.close()
            self._host.touch(desk)

        self._host.wish(act)

    def _flatten(self) -> None:
        assert self.limits.flatten_by is not None
        now = self._host.now
        self._arm(self.limits.flatten_by.next(now), self._flatten)
        for account in self.accounts:
            if any(desk.account == account and not desk.is_quiet for desk in self._host.every_desk()):
                text = f"{account} is closed by {self.limits.flatten_by}"
                self._host.breached(Breach(now, account, DenyReason.FLATTEN_BY, text))
                self._close(account)

    def _end_hours(self) -> None:
        assert self.limits.trading_hours is not None
        self._arm(self.limits.trading_hours.closes(self._host.now), self._end_hours)
        self._cancel_entries()

    def _cancel_entries(self) -> None:
        """Cancel what rests to open or extend a position; targets stand, and what they lack is denied."""

        def act() -> None:
            for desk in self._host.every_desk():
                for order in list(desk.orders):
                    extends = order.role is not Role.CLOSE and order.side * desk.book.position >= 0
                    if extends and not desk.is_unjudged(order):
                        self._host.cancel(order)
                self._host.touch(desk)

        self._host.wish(act)

    # --- naked positions -----------------------------------------------------------------------------------------

    def look(self, desk: Desk) -> None:
        """A desk's orders moved: count the time that its position is without its declared stop loss."""
        if self.limits.naked_after is None:
            return
        timer = self._naked.get(id(desk))
        if not _is_naked(desk):
            if timer is not None:
                timer.cancel()
                del self._naked[id(desk)]
        elif timer is None:
            self._count(desk)

    def _count(self, desk: Desk) -> None:
        assert self.limits.naked_after is not None
        due = self._host.now + round(self.limits.naked_after * SECOND_NS)
        timer = self._naked[id(desk)] = Timer(due, "", partial(self._naked_for_long, desk), is_engines=True)
        self._host.timers.add(timer)

    def link_moved(self) -> None:
        """The venue came or went: what works there is to be seen anew, so the time counts from here."""
        for timer in self._naked.values():
            timer.cancel()
        self._naked.clear()
        for desk in self._host.every_desk():
            self.look(desk)

    def _naked_for_long(self, desk: Desk) -> None:
        del self._naked[id(desk)]
        if not _is_naked(desk):
            return
        if not self._host.can_act(desk.account):
            self._count(desk)  # nothing can be done, and what stands at the venue is not known
            return
        text = f"{desk.contract.name} of {desk.owner} in {desk.account}: no stop loss for {self.limits.naked_after:g} s"
        self._host.breached(Breach(self._host.now, desk.account, DenyReason.NAKED, text))
        self._close_desk(desk)

    # --- the gate ------------------------------------------------------------------------------------------------

    def denies(self, desk: Desk, change: int, order: Order | None) -> Denial | None:
        """Why an order of ``change`` signed contracts can't pass; one that only reduces always does."""
        exposure = desk.exposure(order)
        if exposure.reduces(change):
            return None
        account, limits, now = desk.account, self.limits, self._host.now
        if (state := self._days.get(account)) is not None and (lock := state.lock) is not None:
            return Denial(DenyReason(lock.reason), lock.text)
        if limits.flatten_by is not None and limits.flatten_by.is_past(now):
            return Denial(DenyReason.FLATTEN_BY, f"nothing is opened between {limits.flatten_by} and the next session")
        if limits.trading_hours is not None and not limits.trading_hours.contains(now):
            return Denial(DenyReason.TRADING_HOURS, f"positions are opened in {limits.trading_hours} alone")
        if limits.max_quote_age is not None and (text := _aged(desk, now, limits.max_quote_age)):
            return Denial(DenyReason.QUOTE_AGE, text)
        if limits.max_contracts is None and limits.max_positions is None:
            return None
        held = self._held(account, desk)
        total = sum(held.values()) + exposure.most(change)
        if limits.max_contracts is not None and total > limits.max_contracts:
            return Denial(DenyReason.CONTRACTS, f"{account} could hold {total}, at most {limits.max_contracts}")
        is_new = desk.contract.name not in held and not exposure.most()
        if limits.max_positions is not None and is_new and len(held) >= limits.max_positions:
            text = (
                f"{account} holds or has orders for {', '.join(sorted(held))}; at most {limits.max_positions} at once"
            )
            return Denial(DenyReason.POSITIONS, text)
        return None

    def _held(self, account: str, without: Desk) -> dict[str, int]:
        """Most contracts by instrument that others' hands and the other desks of an account could hold."""
        held = {name: abs(quantity) for name, quantity in self._host.offsets(account).items() if quantity}
        for desk in self._host.every_desk():
            if desk is not without and desk.account == account and (most := desk.exposure().most()):
                held[desk.contract.name] = held.get(desk.contract.name, 0) + most
        return held


def _aged(desk: Desk, now: Ns, limit: float) -> str:
    quote = desk.series.quote
    if quote is None:
        return f"{desk.contract.name} has no quote yet"
    age = now - quote.ts
    if age <= round(limit * SECOND_NS):
        return ""
    return f"the quote of {desk.contract.name} is {age / SECOND_NS:.1f} s old, at most {limit:g}"


def _is_naked(desk: Desk) -> bool:
    """Whether fewer contracts are protected by a stop loss known to work at the venue than were declared to be."""
    if desk.closing or not desk.book.position:
        return False
    for pair in desk.exits.pairs:
        if pair.stop_price is None or pair.covered <= pair.reserved:
            continue
        stop = pair.stop
        if stop is None or stop.status not in _PROTECTS or stop.remaining < pair.covered - pair.reserved:
            return True
    return False
