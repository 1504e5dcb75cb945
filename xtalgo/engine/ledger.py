"""Positions and P&L, by strategy, account and instrument, in exact integers.

Prices enter as whole ticks. Cost and realised P&L are kept in billionths of a tick times contracts, so that an
average price with a remainder (a third of a tick) costs at most a billionth of a tick while a position is open,
and realised plus open P&L equals the fills marked to the market to the last bit, always.
"""

from __future__ import annotations

from typing import Final

from attrs import define, field

from xtalgo.model.events import Fill
from xtalgo.model.instruments import Contract

__all__ = ["NANO", "Book", "Ledger", "PositionView"]

NANO: Final = 1_000_000_000
"""Units per tick in which cost and P&L are kept."""

MICRO: Final = 1_000_000
"""Units per dollar in which fees are kept."""


@define(eq=False)
class Book:
    """One position with its average cost. ``position`` is signed contracts, long positive."""

    contract: Contract
    position: int = 0
    cost: int = 0
    """What the open position was bought for (negative: sold for), in billionths of a tick times contracts."""
    realized: int = 0
    """Realised P&L before fees, in billionths of a tick times contracts."""
    fees: int = 0
    """Fees paid, in millionths of a dollar."""

    def trade(self, change: int, ticks: int, fee: float = 0.0) -> None:
        """Book a fill of ``change`` signed contracts at ``ticks``.

        The part that closes is settled against the average cost of the whole position; what is left over after a
        reversal opens at the fill's own price.
        """
        self.fees += round(fee * MICRO)
        if self.position * change < 0:
            closing = min(abs(change), abs(self.position))
            held = abs(self.position)
            # Rounded half up in integers; exact when the whole position closes.
            removed = (2 * self.cost * closing + held) // (2 * held)
            signed = closing if change > 0 else -closing
            self.cost -= removed
            self.realized += -signed * ticks * NANO - removed
            self.position += signed
            change -= signed
        self.position += change
        self.cost += change * ticks * NANO

    def open_pnl(self, mark: int) -> int:
        """Open P&L at a mark in ticks, in billionths of a tick times contracts."""
        return self.position * mark * NANO - self.cost

    @property
    def average_price(self) -> float | None:
        """Average cost of the open position in points; None when flat."""
        if not self.position:
            return None
        return self.cost / self.position / NANO * self.contract.tick_size

    def money(self, units: int) -> float:
        """Dollars of an amount in billionths of a tick times contracts."""
        return units / NANO * self.contract.tick_value

    def net(self, mark: int | None) -> float:
        """Realised and open P&L less fees, in dollars; an open position without a mark counts at cost."""
        units = self.realized + (self.open_pnl(mark) if mark is not None else 0)
        return self.money(units) - self.fees / MICRO


@define(frozen=True)
class PositionView:
    """What observers see of one book, in points and dollars."""

    owner: str
    account: str
    instrument: str
    quantity: int
    average_price: float | None
    realized: float
    fees: float


@define(eq=False)
class Ledger:
    """A book for each strategy, account and instrument; NinjaTrader itself nets by account and instrument."""

    books: dict[tuple[str, str, str], Book] = field(factory=dict)

    def book(self, owner: str, account: str, contract: Contract) -> Book:
        """The book of one strategy in one account and instrument, opened on first use."""
        key = (owner, account, contract.name)
        found = self.books.get(key)
        if found is None:
            found = self.books[key] = Book(contract)
        return found

    def record(self, owner: str, contract: Contract, fill: Fill) -> Book:
        """Book one execution."""
        book = self.book(owner, fill.account, contract)
        book.trade(fill.side * fill.quantity, contract.to_ticks(fill.price), fill.fee)
        return book

    def account_position(self, account: str, instrument: str) -> int:
        """Net signed contracts of one account in one instrument, over all strategies."""
        return sum(
            book.position
            for (_, held_in, name), book in self.books.items()
            if held_in == account and name == instrument
        )

    def views(self) -> tuple[PositionView, ...]:
        """All books, for observers."""
        return tuple(
            PositionView(
                owner,
                account,
                instrument,
                book.position,
                book.average_price,
                book.money(book.realized),
                book.fees / MICRO,
            )
            for (owner, account, instrument), book in self.books.items()
        )
