"""The day's highest figures of each account, kept as quotes and fills move them: what GetWatermarks tells."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from attrs import define, field

from xtalgo.engine.ledger import Book
from xtalgo.model.events import Quote
from xtalgo.model.instruments import Contract
from xtalgo.model.sessions import session_at
from xtalgo.model.types import Ns

if TYPE_CHECKING:
    from xtalgo.sim.venue import Venue

__all__ = ["Watermarks"]


@define(eq=False)
class _Account:
    """Highs since the session's open, minus infinity before its first P&L; P&L counts from ``base``.

    Net liquidation rises and falls with P&L, so its high needs no keeping.
    """

    name: str
    base: float = 0.0
    realized: float = 0.0
    """Of the session."""
    pnl: float = -math.inf
    unrealized: float = -math.inf
    holdings: list[_Holding] = field(factory=list)

    def look(self) -> None:
        """Keep what is higher than ever."""
        open_pnl = 0.0
        for holding in self.holdings:
            open_pnl += holding.worth
        if open_pnl > self.unrealized:
            self.unrealized = open_pnl
        if open_pnl + self.realized > self.pnl:
            self.pnl = open_pnl + self.realized


@define(eq=False)
class _Holding:
    """An open position, priced for speed: ``worth = price * scale - cost``, right to a millionth of a dollar."""

    account: _Account
    book: Book
    scale: float
    cost: float
    worth: float = 0.0


@define(eq=False)
class Watch:
    """Who holds one instrument; ``last`` is the last price that was looked at, NaN where that must be done again."""

    last: float | None
    holdings: list[_Holding]


@define(eq=False)
class Watermarks:
    """Of all accounts of a venue. Quotes of instruments that nobody holds cost nothing: they aren't in ``held``."""

    venue: Venue
    held: dict[str, Watch] = field(factory=dict)
    """Open positions by instrument."""
    _accounts: dict[str, _Account] = field(factory=dict)
    _until: Ns = 0
    """When the next session opens, and all highs are forgotten."""

    def filled(self, account: str, contract: Contract, now: Ns) -> None:
        """A position changed."""
        if now >= self._until:
            self._turn(now)
        book = self.venue.book(account, contract)
        found = self._of(account)
        found.holdings = [each for each in found.holdings if each.book is not book]
        watch = self.held.get(contract.name)
        holdings = [each for each in (watch.holdings if watch else ()) if each.book is not book]
        if book.position:
            per_point = book.position * contract.point_value
            fresh = _Holding(found, book, per_point, per_point * (book.average_price or 0.0))
            mark = self.venue.mark(book)
            if mark is not None:
                fresh.worth = mark * fresh.scale - fresh.cost
            found.holdings.append(fresh)
            holdings.append(fresh)
        if holdings:
            self.held[contract.name] = Watch(math.nan, holdings)
        else:
            self.held.pop(contract.name, None)
        found.realized = self.venue.figures(account).realized - found.base
        found.look()

    def quoted(self, quote: Quote) -> None:
        """An instrument that somebody holds was quoted, at another last price than before or at none."""
        if quote.ts >= self._until:
            self._turn(quote.ts)
        watch, last = self.held[quote.instrument], quote.last
        watch.last = math.nan if last is None else last
        for holding in watch.holdings:
            price = last if last is not None else quote.bid if holding.scale >= 0 else quote.ask
            holding.worth = price * holding.scale - holding.cost
            holding.account.look()

    def told(self, name: str, now: Ns) -> dict[str, dict[str, Any]]:
        """``watermarks`` and ``stats`` of an account: empty before the session's first P&L (documented)."""
        if now >= self._until:
            self._turn(now)
        account = self._of(name)
        if account.holdings:
            account.look()
        if account.pnl == -math.inf:
            return {"watermarks": {}, "stats": {}}
        money = self.venue.figures(name)
        pnl = round(money.realized - account.base + money.unrealized, 6)
        highs = {
            "pnlhigh": max(round(account.pnl, 6), pnl),
            "netliqhigh": max(round(self.venue.cash + account.base + account.pnl, 6), money.net_liquidation),
            "unrealhigh": max(round(account.unrealized, 6), money.unrealized),
        }
        stats = {
            "pnl": pnl,
            "total": pnl,
            "unrealized": money.unrealized,
            "poscount": len(account.holdings),
            "netliq": money.net_liquidation,
            **highs,
        }
        return {"watermarks": highs, "stats": stats}

    def _of(self, name: str) -> _Account:
        found = self._accounts.get(name)
        if found is None:
            found = self._accounts[name] = _Account(name)
        return found

    def _turn(self, now: Ns) -> None:
        """A session opens: the highs begin anew."""
        session = session_at(now)
        self._until = session.open if now < session.open else session_at(session.close).open
        for account in self._accounts.values():
            account.base = self.venue.figures(account.name).realized
            account.pnl = account.unrealized = -math.inf
            account.realized = 0.0
        for watch in self.held.values():
            watch.last = math.nan  # so that the next quote counts, whatever it says
