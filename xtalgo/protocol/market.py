"""Quotes, bars and sessions inside CrossTrade's replies, under the venue's own names (see ``rows``)."""

from __future__ import annotations

from xtalgo.model.types import SECOND_NS, Ns
from xtalgo.protocol.rows import Name, Row, Whole
from xtalgo.protocol.times import epoch_ns, parse_stamp

__all__ = [
    "BarRow",
    "Bars",
    "DataSource",
    "MarketSession",
    "MarketState",
    "MarketStatus",
    "QuoteSnapshot",
    "SessionSpan",
]


class DataSource(Row, frozen=True):
    """Where the quotes come from."""

    status: str | None = None
    connected_feeds: tuple[str, ...] | None = None


class QuoteSnapshot(Row, frozen=True):
    """GetQuote: quote and contract facts. The account-scoped form, now deprecated, tells less."""

    instrument: Name
    description: str | None = None
    type: str | None = None
    tick_size: float | None = None
    point_value: float | None = None
    tick_value: float | None = None
    exchange: str | None = None
    expiration: str | None = None
    trading_hours: str | None = None
    bid: float | None = None
    ask: float | None = None
    last: float | None = None
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None
    volume: Whole | None = None
    quote_time: str | None = None
    quote_time_utc: str | None = None
    epoch: Whole | None = None
    data_source: DataSource | None = None
    is_market_open: bool | None = None

    @property
    def quoted(self) -> Ns | None:
        """When it was quoted: ``epoch``, in seconds here, or ``quoteTimeUtc``."""
        stamp = parse_stamp(self.quote_time_utc)
        return epoch_ns(self.epoch) or (stamp.wall - (stamp.offset or 0) * SECOND_NS if stamp else None)


class BarRow(Row, frozen=True):
    """One historical bar, labelled by UTC; ``epoch`` is in milliseconds. Whether that is its start isn't told."""

    open: float
    high: float
    low: float
    close: float
    volume: Whole | None = None
    time: str | None = None
    epoch: Whole | None = None

    @property
    def labelled(self) -> Ns | None:
        """Its label in nanoseconds."""
        stamp = parse_stamp(self.time)
        return epoch_ns(self.epoch) or (stamp.utc if stamp else None)


class Bars(Row, frozen=True):
    """GetBars, oldest first (by example)."""

    bars: tuple[BarRow, ...]
    instrument: str | None = None
    period_type: str | None = None
    period: Whole | None = None
    count: Whole | None = None


class MarketState(Row, frozen=True):
    """``isOpen`` with ``state`` Open is documented, Closed is inferred."""

    is_open: bool
    state: str | None = None


class SessionSpan(Row, frozen=True):
    """The next session."""

    utc_start: str | None = None
    utc_end: str | None = None


class MarketSession(Row, frozen=True):
    """The session under way (``action`` Until Close), or the next one (Until Open) while the market is closed."""

    label: str | None = None
    utc_start: str | None = None
    utc_end: str | None = None
    local_start: str | None = None
    local_end: str | None = None
    countdown: str | None = None
    action: str | None = None
    seconds_remaining: float | None = None


class MarketStatus(Row, frozen=True):
    """MarketInfo: whether the market is open, and its session."""

    status: MarketState
    instrument: str | None = None
    timestamp: str | None = None
    time_zone: str | None = None
    session: MarketSession | None = None
    upcoming: SessionSpan | None = None

    @property
    def is_open(self) -> bool:
        """Whether the market is open."""
        return self.status.is_open
