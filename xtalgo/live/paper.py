"""Paper trading: live quotes, our own fills.

Orders, and everything that asks about orders, go to a server object of our own that is fed with the live quotes; the
rest of the client can't tell. Its assumptions are those of a replay.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from typing import Final

from attrs import define, field

from xtalgo.model.events import Quote
from xtalgo.model.instruments import ContractBook
from xtalgo.model.types import NEVER, Ns
from xtalgo.sim.fills import Fees, FillModel, Latency
from xtalgo.sim.server import Send, SimServer

__all__ = ["FROM_THE_VENUE", "PaperFeed", "PaperVenue"]

FROM_THE_VENUE: Final = frozenset({"GetQuote", "MarketInfo", "GetBars"})
"""Functions that the real venue answers in paper trading, too; all others go to the paper venue."""

_TOKEN: Final = "paper"


@define(eq=False)
class PaperFeed:
    """Quotes as they come over the link."""

    contracts: ContractBook
    due: Ns = NEVER
    """When the next frame is: at once, or NEVER."""
    _frames: deque[tuple[Ns, tuple[Quote, ...]]] = field(factory=deque)

    def push(self, now: Ns, quotes: Sequence[Quote]) -> None:
        """Quotes came."""
        self._frames.append((now, tuple(quotes)))
        self.due = self._frames[0][0]

    def next(self) -> tuple[Ns, tuple[Quote, ...]]:
        """The next frame."""
        frame = self._frames.popleft()
        self.due = self._frames[0][0] if self._frames else NEVER
        return frame

    def knows(self, text: str) -> str | None:
        """The dated name behind a spelling; roots are resolved by the real venue."""
        name = self.contracts.parse(text)
        return name.dated(name.year) if name.year is not None else None

    def want(self, name: str) -> None:
        """The real venue is asked for quotes, not this feed."""


class PaperVenue:
    """A server object on the live quotes. ``take`` gives the frames that came of it."""

    def __init__(
        self, accounts: Sequence[str], contracts: ContractBook, fills: FillModel, latency: Latency, fees: Fees
    ) -> None:
        self.feed = PaperFeed(contracts)
        self.server = SimServer(
            self.feed,
            token=_TOKEN,
            accounts=accounts,
            contracts=contracts,
            fills=fills,
            latency=Latency(entry=latency.entry, report=0),
            fees=fees,
        )
        self._connection: int | None = None

    @property
    def due(self) -> Ns:
        """When something happens here without input."""
        return self.server.due

    def link_up(self, now: Ns) -> None:
        """The client's link came up: a fresh connection here, too."""
        found = self.server.connect(_TOKEN, now)
        assert isinstance(found, int)
        self._connection = found
        self.server.outputs()

    def receive(self, text: str, now: Ns) -> None:
        """A frame for the paper venue."""
        if self._connection is not None:
            self.server.receive(self._connection, text, now)

    def quotes(self, quotes: Sequence[Quote], now: Ns) -> None:
        """Live quotes came: resting orders are matched before the client sees them."""
        self.feed.push(now, quotes)
        self.server.advance(now)

    def take(self, now: Ns) -> list[str]:
        """Let what is due happen, and take the frames for the client."""
        if self.server.due <= now:
            self.server.advance(now)
        return [
            output.text
            for output in self.server.outputs()
            if isinstance(output, Send) and output.connection == self._connection
        ]
