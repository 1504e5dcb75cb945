"""The engine and its venue: links, P&L, evidence, and others' hands; the handlers of what only a venue tells."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import msgspec

from xtalgo.engine.bookkeeping import CANCEL_AGAIN, Bookkeeping
from xtalgo.engine.liaison import Liaison, Said
from xtalgo.engine.orders import Anomaly
from xtalgo.engine.others import Adjustment, OthersHands
from xtalgo.engine.polling import PollPlanner
from xtalgo.engine.reconcile import Evidence
from xtalgo.engine.risk import TradingState
from xtalgo.engine.seat import Seat
from xtalgo.engine.watermarks import PeakOfDay
from xtalgo.model.commands import BarsQuery, CancelOrder, Figures
from xtalgo.model.errors import ConfigError
from xtalgo.model.events import (
    AccountItems,
    AccountPnl,
    Answered,
    Appeared,
    BarsSeen,
    Doubtful,
    ExecutionsSeen,
    External,
    ItemsSeen,
    LinkDown,
    LinkUp,
    NotSent,
    OrdersSeen,
    PositionsSeen,
    Refused,
    Silent,
    Unanswered,
    Unread,
    Watermarks,
    WatermarksSeen,
)
from xtalgo.model.types import MINUTE_NS, Ns

__all__ = ["READ", "SAID", "Dealings"]

MARKS_EVERY: Final[Ns] = 5 * MINUTE_NS
"""How often the venue's record of the day's peak is asked for, where a drawdown is limited."""

READ: tuple[type[BarsSeen | ItemsSeen | WatermarksSeen | Unread], ...] = (BarsSeen, ItemsSeen, WatermarksSeen, Unread)
"""What comes of questions for bars and figures."""

SAID: tuple[type[Said], ...] = (
    Answered,
    Refused,
    NotSent,
    Doubtful,
    OrdersSeen,
    ExecutionsSeen,
    PositionsSeen,
    Unanswered,
)
"""What comes back from a venue that was asked, or doesn't."""


class Dealings(Bookkeeping):
    """Takes in what a live venue is like: reachable or not, silent, asked, and traded by others, too."""

    _seated: list[Seat]
    _handlers: dict[type, Callable[[Any], None]]
    _buried: dict[str, Ns]
    _peaks: PeakOfDay

    def _on_pnl(self, event: AccountPnl) -> None:
        if self.liaison is not None and self.liaison.on_pnl(event):
            self.replan()
        if self.guards is not None:
            self.guards.told(event)
        if not self._started:
            return
        for seat in self.seats.values():
            if event.account in seat.accounts:
                self._call(seat.strategy.on_pnl, event)

    def _on_link(self, event: LinkUp | LinkDown) -> None:
        if self.liaison is not None:
            if isinstance(event, LinkUp):
                self.liaison.link_up(self.now)
                self.history.link_up()
                self.figures.link_up()
            else:
                self.liaison.link_down(event.reason)
                self.history.link_down()
                self.figures.link_down()
            self.replan()
            if self.guards is not None:
                self.guards.link_moved()
        if self._started:
            for seat in self.seats.values():
                self._call(seat.strategy.on_link, event)

    def _on_said(self, event: Said) -> None:
        if self.liaison is None:
            raise TypeError(f"{type(event).__name__} came to an engine that asks nothing")
        for finding in self.liaison.take(event):
            self._handlers[type(finding)](finding)
        self.heard()

    # --- bars and figures ----------------------------------------------------------------------------------------

    def _on_read(self, event: BarsSeen | ItemsSeen | WatermarksSeen | Unread) -> None:
        if isinstance(event, BarsSeen):
            self.history.seen(event)
        elif not isinstance(event, Unread):
            self.figures.seen(event)
        elif isinstance(event.query, BarsQuery):
            self.history.unread(event)
        else:
            self.figures.unread(event)

    def _watch_peaks(self, accounts: tuple[str, ...]) -> None:
        """Where a drawdown from the day's peak is limited, the venue's record of it counts, too."""
        limits = None if self.guards is None else self.guards.limits
        if limits is None or limits.trailing_drawdown is None or limits.drawdown_basis == "eod":
            return
        for account in accounts:
            self.figures.watch(Figures.WATERMARKS, account, MARKS_EVERY, self._on_marks)

    def _on_marks(self, told: AccountItems | Watermarks, asked: Ns) -> None:
        assert isinstance(told, Watermarks)
        assert self.guards is not None
        peak = self._peaks.peak(told.account, told, asked, self.guards.standing(told.account))
        if peak is not None:
            self.guards.note_peak(told.account, peak)

    # --- evidence, and others' hands -----------------------------------------------------------------------------

    def _make_liaison(self, accounts: tuple[str, ...]) -> Liaison:
        evidence = Evidence(self.blotter, self.feeds.contracts)
        planner = PollPlanner(evidence, accounts)
        others = OthersHands(
            evidence,
            planner,
            self.ledger.account_position,
            lambda account: {name: None for where, name in self._desk_places() if where == account},
        )
        evidence.agrees = lambda order, mark: others.agreed.get((order.account, order.instrument), 0) > mark
        return Liaison(evidence, planner, accounts, others)

    def _desk_places(self) -> set[tuple[str, str]]:
        return {(account, instrument) for _, account, instrument in self._desks}

    def _on_external(self, event: External) -> None:
        """Others' hands: our books give up what was taken from them, oldest desk first, and entries pause."""
        assert self.liaison is not None
        taken = left = self.liaison.others.took(event.account, event.instrument, event.difference)
        told = msgspec.structs.replace(event, taken=taken)
        self._decide("external", event.account, event.instrument, event.difference, taken)
        for (owner, account, instrument), desk in self._desks.items():
            if (account, instrument) != (event.account, event.instrument):
                continue
            if left * desk.book.position < 0:
                given = min(abs(left), abs(desk.book.position)) * (1 if left > 0 else -1)
                left -= given
                ticks = desk.give_up(given)
                self._adjusted(owner, account, instrument, given, ticks)
                self._dirty[id(desk)] = desk
            seat = self.seats[owner]
            if taken:
                seat.pause(f"others' hands moved {instrument} in {account}")
            if self._started:
                self._call(seat.strategy.on_external, told)

    def _adopt(self) -> None:
        """What the venue holds beyond our books becomes that of the first strategy that trades it, if it shall."""
        if self.liaison is None or not self.liaison.others.adopts:
            return
        others = self.liaison.others
        for (account, instrument), quantity in list(others.offsets.items()):
            seat = next((seat for seat in self._seated if instrument in seat.instruments), None)
            if seat is None:
                continue
            price = others.prices.get((account, instrument))
            if price is None:
                raise ConfigError(
                    f"{account} holds {quantity:+d} {instrument}, and the venue does not tell at what average price: "
                    "it can't be adopted. Close it, or start with another --start-behavior"
                )
            desk = seat.desk(instrument, account)
            ticks = desk.contract.to_ticks(price)
            desk.book.trade(quantity, ticks)
            others.adopted(account, instrument)
            self._adjusted(seat.name, account, instrument, quantity, ticks)
            self._decide("adopt", seat.name, account, instrument, quantity, price)
        self.barred = self.liaison.bars

    def _adjusted(self, owner: str, account: str, instrument: str, change: int, ticks: int) -> None:
        assert self.liaison is not None
        made = Adjustment(owner, account, instrument, change, ticks, len(self.blotter.fills))
        self.liaison.others.adjustments.append(made)

    def _on_appeared(self, event: Appeared) -> None:
        """A tombstone that lives (R3): it is ours, it is cancelled, its fills are booked, and entries halt."""
        order = self.blotter.orders[event.order_id]
        if self.now < self._buried.get(order.id, 0):
            return
        self._buried[order.id] = self.now + CANCEL_AGAIN
        self.blotter.anomalies.append(Anomaly(self.now, order.id, "believed absent, and shown by the venue after all"))
        self._emit(CancelOrder(order.id, order.account))
        seat = self.seats[order.owner]
        if seat.gate.state is TradingState.ACTIVE:
            seat.gate.restrict(TradingState.REDUCING, f"order {order.id} was believed absent and appeared")

    def _on_silent(self, event: Silent) -> None:
        self.silence(event.reason)
