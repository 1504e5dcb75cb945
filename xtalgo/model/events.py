"""What happened: the engine's inputs, and the values a strategy is shown.

These are built per event, hence msgspec Structs: a frozen one costs a fifth of a frozen attrs class.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from xtalgo.model.commands import BarsQuery, Command, FiguresQuery, Mutation, Query, Read
from xtalgo.model.reports import ExecutionReport, OrderReport, PositionReport
from xtalgo.model.types import Ns, Side, Trigger

__all__ = [
    "AccountItems",
    "AccountPnl",
    "Answered",
    "Appeared",
    "Bar",
    "BarsSeen",
    "CancelRefused",
    "ChangeRefused",
    "Changed",
    "Doubtful",
    "Event",
    "ExecutionsSeen",
    "External",
    "Fill",
    "ItemsSeen",
    "LinkDown",
    "LinkUp",
    "NotSent",
    "OrderUpdate",
    "OrdersSeen",
    "PositionsSeen",
    "Quote",
    "Refused",
    "Released",
    "Silent",
    "Stale",
    "Tick",
    "Unanswered",
    "Unread",
    "Watermarks",
    "WatermarksSeen",
]


class Quote(msgspec.Struct, frozen=True, gc=False):
    """Best bid and ask of one instrument as known at ``ts``. Immutable; may be kept.

    Prices are in points; ``volume`` is the session's cumulative volume in contracts, sizes are in contracts.
    What the feed did not tell is None, never zero.
    """

    ts: Ns
    instrument: str
    bid: float
    ask: float
    last: float | None = None
    volume: int | None = None
    bid_size: int | None = None
    ask_size: int | None = None

    @property
    def mid(self) -> float:
        """Half way between bid and ask."""
        return (self.bid + self.ask) / 2

    @property
    def spread(self) -> float:
        """Ask minus bid in points; negative when crossed."""
        return self.ask - self.bid

    @property
    def is_crossed(self) -> bool:
        """Whether the ask is below the bid; nothing fills on such a quote."""
        return self.ask < self.bid


class Bar(msgspec.Struct, frozen=True):
    """Open, high, low and close of what was traded or quoted in ``start <= ts < end``; ``period`` as it was asked for.

    ``source`` says who made it: ``quotes`` is us, of the quotes that strategies see, ``venue`` the venue, of every
    trade, and ``recording`` a replay in the venue's place, of recorded quotes. ``volume`` is in contracts, in our own
    bars the growth of the cumulative volume; ``quotes`` is how many quotes a bar saw, zero in the venue's.
    """

    instrument: str
    period: str
    start: Ns
    end: Ns
    open: float
    high: float
    low: float
    close: float
    volume: int
    quotes: int
    source: str = "quotes"


class Tick(msgspec.Struct, frozen=True):
    """Time has reached ``ts``: everything due by then runs, in order of its own time."""

    ts: Ns


class Released(msgspec.Struct, frozen=True):
    """A command left the pacing queue for the venue, after ``waited`` nanoseconds in it."""

    ts: Ns
    command: Command
    waited: Ns = 0


class Stale(msgspec.Struct, frozen=True):
    """A command was dropped from the pacing queue unsent because it had waited too long."""

    ts: Ns
    command: Command


class OrderUpdate(msgspec.Struct, frozen=True):
    """The venue speaks of one order: accepted, refused, cancelled or expired (fills come as ``Fill``)."""

    ts: Ns
    order_id: str
    trigger: Trigger
    reason: str = ""


class Changed(msgspec.Struct, frozen=True):
    """A change took effect at the venue; the values are the order's own after it (prices in points)."""

    ts: Ns
    order_id: str
    quantity: int
    limit_price: float | None
    stop_price: float | None


class ChangeRefused(msgspec.Struct, frozen=True):
    """The venue refused a change; the order stands as it was."""

    ts: Ns
    order_id: str
    reason: str


class CancelRefused(msgspec.Struct, frozen=True):
    """The venue refused a cancel, normally because the order is already done: not evidence of how it ended."""

    ts: Ns
    order_id: str
    reason: str


class Fill(msgspec.Struct, frozen=True):
    """One execution. ``ts`` is when we could know of it, ``executed`` when it happened at the venue.

    ``price`` is in points, ``fee`` in dollars for the whole quantity. ``execution_id`` is unique and makes a
    repeated report harmless.
    """

    ts: Ns
    order_id: str
    execution_id: str
    account: str
    instrument: str
    side: Side
    quantity: int
    price: float
    fee: float
    executed: Ns


class Answered(msgspec.Struct, frozen=True):
    """The venue answered a mutation with success: it has it, no more. ``venue_id`` is the order's id there."""

    ts: Ns
    command: Mutation
    venue_id: str | None = None


class Refused(msgspec.Struct, frozen=True):
    """The venue turned a mutation down. ``gone`` says that it named the order as not there or already terminal."""

    ts: Ns
    command: Mutation
    reason: str
    gone: bool = False


class NotSent(msgspec.Struct, frozen=True):
    """A mutation did not leave, or is known not to have been carried out."""

    ts: Ns
    command: Mutation
    reason: str


class Doubtful(msgspec.Struct, frozen=True):
    """A mutation left and nobody knows what became of it."""

    ts: Ns
    command: Mutation
    reason: str


class OrdersSeen(msgspec.Struct, frozen=True):
    """The venue's orders of an account, or the one that was asked for. Only a ``complete`` list proves an absence."""

    ts: Ns
    query: Query
    orders: tuple[OrderReport, ...]
    complete: bool = True


class ExecutionsSeen(msgspec.Struct, frozen=True):
    """The venue's recent executions of an account."""

    ts: Ns
    query: Query
    executions: tuple[ExecutionReport, ...]
    complete: bool = True


class PositionsSeen(msgspec.Struct, frozen=True):
    """The venue's positions of an account."""

    ts: Ns
    query: Query
    positions: tuple[PositionReport, ...]
    complete: bool = True


class Unanswered(msgspec.Struct, frozen=True):
    """A query came to nothing: no reply in time, the link dropped, or a reply that was of no use."""

    ts: Ns
    query: Query
    reason: str


class BarsSeen(msgspec.Struct, frozen=True):
    """The venue's newest bars, oldest first. One that ends after its query left may have grown since."""

    ts: Ns
    query: BarsQuery
    bars: tuple[Bar, ...]


class AccountItems(msgspec.Struct, frozen=True):
    """What the venue keeps of an account, in its currency; what it did not tell is None.

    ``items`` holds everything that it told, by NinjaTrader's names in our spelling (``excess_intraday_margin``). It
    writes zero also for what a provider does not keep.
    """

    ts: Ns
    account: str
    cash_value: float | None = None
    buying_power: float | None = None
    net_liquidation: float | None = None
    realized: float | None = None
    unrealized: float | None = None
    items: dict[str, float] = msgspec.field(default_factory=dict)


class ItemsSeen(msgspec.Struct, frozen=True):
    """The venue told an account's items."""

    ts: Ns
    query: FiguresQuery
    items: AccountItems


class Watermarks(msgspec.Struct, frozen=True):
    """The venue's own record of an account's trading day, in dollars: its highs, and where it stands; None: not told.

    All is None before the day's first P&L, or where nothing keeps such a record. It begins anew at the session's open.
    """

    ts: Ns
    account: str
    pnl_high: float | None = None
    net_liquidation_high: float | None = None
    unrealized_high: float | None = None
    pnl: float | None = None
    total: float | None = None
    """What ``pnl`` and ``total`` hold apart from each other is not documented."""
    unrealized: float | None = None
    net_liquidation: float | None = None
    positions: int | None = None


class WatermarksSeen(msgspec.Struct, frozen=True):
    """The venue told an account's watermarks."""

    ts: Ns
    query: FiguresQuery
    marks: Watermarks


class Unread(msgspec.Struct, frozen=True):
    """A question for bars or figures came to nothing: refused, no reply in time, or a reply that was of no use."""

    ts: Ns
    query: Read
    reason: str


class Appeared(msgspec.Struct, frozen=True):
    """An order that was believed absent is at the venue after all."""

    ts: Ns
    order_id: str


class Silent(msgspec.Struct, frozen=True):
    """No quote came for so long that those at hand are stale; the next one ends it."""

    ts: Ns
    reason: str


class AccountPnl(msgspec.Struct, frozen=True):
    """The venue's own P&L of one account, in dollars, about once a second; what it did not tell is None."""

    ts: Ns
    account: str
    realized: float | None
    unrealized: float | None
    net_liquidation: float | None = None


class External(msgspec.Struct, frozen=True):
    """Others' hands moved a position: the venue holds ``position`` contracts, ``difference`` more than is explained.

    ``taken`` is what of it our own books gave up (set for strategies; zero when nothing of theirs was touched).
    """

    ts: Ns
    account: str
    instrument: str
    difference: int
    position: int
    taken: int = 0


class LinkUp(msgspec.Struct, frozen=True):
    """The venue can be reached."""

    ts: Ns


class LinkDown(msgspec.Struct, frozen=True):
    """The venue cannot be reached; ``reason`` is for people."""

    ts: Ns
    reason: str


Event: TypeAlias = (
    Quote
    | Tick
    | Released
    | Stale
    | OrderUpdate
    | Changed
    | ChangeRefused
    | CancelRefused
    | Fill
    | AccountPnl
    | LinkUp
    | LinkDown
    | Silent
    | External
    | Appeared
    | Answered
    | Refused
    | NotSent
    | Doubtful
    | OrdersSeen
    | ExecutionsSeen
    | PositionsSeen
    | Unanswered
    | BarsSeen
    | ItemsSeen
    | WatermarksSeen
    | Unread
)
"""Everything that ``Engine.handle`` takes."""
