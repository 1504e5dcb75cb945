"""The day's highest figures of each account, kept as quotes and fills move them: what GetWatermarks tells."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from attrs import define, field

from xtalgo.engine.ledger import Book
from xtalgo.model.events import Quote
from xtalgo.model.instruments import Contract
from xtalgo.model.sessions import session_at
from xtalgo.model.types import Ns

if TYPE_CHECKING:
    from xtalgo.sim.venue import Venue

__all__ = ["Watermarks"]

_NEAR: Final = 1e-6
"""Dollars within which a rough figure may be a new high, and the exact ones are looked at."""


@define(eq=False)
class _Account:
    """Highs since the session's open; minus infinity before its first P&L. P&L counts from ``base``."""

    name: str
    base: float = 0.0
    pnl: float = -math.inf
    net: float = -math.inf
    unrealized: float = -math.inf
    realized: float = 0.0
    """Of the session, roughly: as exact figures were last looked at."""
    open: float = 0.0
    """Open P&L over all instruments, roughly."""


@define(eq=False)
class _Holding:
    """An open position, priced for speed: ``open P&L = price * scale - cost``, roughly."""

    account: _Account
    book: Book
    scale: float
    cost: float
    price: float = math.nan
    worth: float = 0.0


@define(eq=False)
class Watermarks:
    """Of all accounts of a venue. Quotes of instruments that nobody holds cost nothing: they aren't in ``held``."""

    venue: Venue
    held: dict[str, list[_Holding]] = field(factory=dict)
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
        holdings = [each for each in self.held.get(contract.name, ()) if each.account is not found]
        if book.position:
            per_point = book.position * contract.point_value
            holdings.append(_Holding(found, book, per_point, per_point * (book.average_price or 0.0)))
        if holdings:
            self.held[contract.name] = holdings
        else:
            self.held.pop(contract.name, None)
        self._note(found)

    def quoted(self, quote: Quote) -> None:
        """An instrument that somebody holds was quoted, and is marked at it by now."""
        if quote.ts >= self._until:
            self._turn(quote.ts)
        for holding in self.held[quote.instrument]:
            price = quote.last
            if price is None:
                price = quote.bid if holding.scale >= 0 else quote.ask
            if price == holding.price:
                continue
            account = holding.account
            worth = price * holding.scale - holding.cost
            account.open += worth - holding.worth
            holding.price, holding.worth = price, worth
            if account.open > account.unrealized - _NEAR or account.open + account.realized > account.pnl - _NEAR:
                self._note(account)

    def told(self, name: str, now: Ns) -> dict[str, dict[str, Any]]:
        """``watermarks`` and ``stats`` of an account: empty before the session's first P&L (documented)."""
        if now >= self._until:
            self._turn(now)
        account = self._of(name)
        open_books = sum(1 for book in self.venue.books(name) if book.position)
        if open_books:
            self._note(account)
        if account.pnl == -math.inf:
            return {"watermarks": {}, "stats": {}}
        money = self.venue.figures(name)
        pnl = round(money.realized - account.base + money.unrealized, 9)
        highs = {"pnlhigh": account.pnl, "netliqhigh": account.net, "unrealhigh": account.unrealized}
        stats = {
            "pnl": pnl,
            "total": pnl,
            "unrealized": money.unrealized,
            "poscount": open_books,
            "netliq": money.net_liquidation,
            **highs,
        }
        return {"watermarks": highs, "stats": stats}

    def _of(self, name: str) -> _Account:
        found = self._accounts.get(name)
        if found is None:
            found = self._accounts[name] = _Account(name)
        return found

    def _note(self, account: _Account) -> None:
        """Look at an account's exact figures, and keep what is higher."""
        money = self.venue.figures(account.name)
        account.realized = money.realized - account.base
        account.open = 0.0
        for holdings in self.held.values():
            for holding in holdings:
                if holding.account is account:
                    mark = self.venue.mark(holding.book)
                    if mark is not None:
                        holding.price, holding.worth = mark, mark * holding.scale - holding.cost
                    account.open += holding.worth
        account.pnl = max(account.pnl, round(account.realized + money.unrealized, 9))
        account.net = max(account.net, money.net_liquidation)
        account.unrealized = max(account.unrealized, money.unrealized)

    def _turn(self, now: Ns) -> None:
        """A session opens: the highs begin anew."""
        session = session_at(now)
        self._until = session.open if now < session.open else session_at(session.close).open
        for account in self._accounts.values():
            account.base = self.venue.figures(account.name).realized
            account.pnl = account.net = account.unrealized = -math.inf
            account.realized = 0.0
        for holdings in self.held.values():
            for holding in holdings:
                holding.price = math.nan  # so that the next quote counts, whatever it says
