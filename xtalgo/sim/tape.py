"""The quotes that a simulated venue has seen: the newest of each instrument, and the figures of its session."""

from __future__ import annotations

from attrs import define, field

from xtalgo.model.events import Quote
from xtalgo.model.sessions import Session, session_at
from xtalgo.model.types import Ns

__all__ = ["Tape", "Tracked"]


@define(eq=False)
class Tracked:
    """One instrument: its newest quote, and open, high and low of the session in points, None before its first.

    ``close`` is the last price of the session before, as far as it was seen.
    """

    quote: Quote
    open: float | None = None
    high: float | None = None
    low: float | None = None
    close: float | None = None


@define(eq=False)
class Tape:
    """All instruments. Sessions are those of ``session_at``, on the stamps of the quotes."""

    tracked: dict[str, Tracked] = field(factory=dict)
    _session: Session | None = None

    def quote_of(self, instrument: str) -> Quote | None:
        """The newest quote of an instrument by canonical name; None before the first."""
        found = self.tracked.get(instrument)
        return None if found is None else found.quote

    def take(self, quote: Quote) -> None:
        """Note a quote."""
        if self._session is None or quote.ts >= self._session.close:
            self._turn(quote.ts)
        found = self.tracked.get(quote.instrument)
        if found is None:
            found = self.tracked[quote.instrument] = Tracked(quote)
        price = quote.mid if quote.last is None else quote.last
        if found.open is None or found.high is None or found.low is None:
            found.open = found.high = found.low = price
        elif price > found.high:
            found.high = price
        elif price < found.low:
            found.low = price
        found.quote = quote

    def _turn(self, now: Ns) -> None:
        """Begin a new session."""
        for found in self.tracked.values():
            found.close = found.quote.mid if found.quote.last is None else found.quote.last
            found.open = found.high = found.low = None
        self._session = session_at(now)
