"""The daily loss: what a strategy has lost in an account since its trading day began, and what follows."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from attrs import define

from xtalgo.engine.feeds import WATCHES, Feeds
from xtalgo.engine.seat import Seat
from xtalgo.engine.timers import Timer, Timers
from xtalgo.model.events import Quote
from xtalgo.model.sessions import session_at
from xtalgo.model.types import Ns

__all__ = ["DailyLoss"]


@define(eq=False)
class DailyLoss:
    """Watches net P&L, open positions marked at the price they could be closed at, when a limit is set.

    When the loss since the trading day began (18:00 New York) reaches the limit, the account is locked for that
    strategy until the next trading day: ``on_breach`` is called, and only orders that reduce pass the gate.
    """

    _seats: Iterable[Seat]
    _feeds: Feeds
    _timers: Timers
    _on_breach: Callable[[Seat, str], None]

    def begin_day(self, now: Ns) -> None:
        """Start a trading day: locks end, and losses count from here."""
        session = session_at(now)
        opens = session.open if session.open > now else session_at(session.close).open
        self._timers.add(Timer(opens, "", lambda: self.begin_day(opens), is_engines=True))
        for seat in self._seats:
            seat.gate.new_day()
            seat.baseline = {account: _net(seat, account) for account in seat.accounts}

    def watch(self, instrument: str) -> None:
        """Look at each quote of an instrument in which a strategy has a desk."""
        self._feeds.hear(instrument, self._look, WATCHES)

    def _look(self, quote: Quote) -> None:
        for seat in self._seats:
            for account in seat.accounts:
                desk = seat.desks.get((account, quote.instrument))
                if desk is not None and desk.book.position:
                    self.check(seat, account)

    def check(self, seat: Seat, account: str) -> None:
        """Lock the account for a strategy when its loss has reached the limit."""
        limit = seat.gate.limits.daily_loss
        if limit is None or seat.gate.is_locked(account) or _net(seat, account) - seat.baseline[account] > -limit:
            return
        seat.gate.lock(account)
        self._on_breach(seat, account)


def _net(seat: Seat, account: str) -> float:
    """Net P&L of a strategy in an account, in dollars."""
    return sum(desk.book.net(desk.mark) for (held_in, _), desk in seat.desks.items() if held_in == account)
