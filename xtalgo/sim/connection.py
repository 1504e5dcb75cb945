"""One client's socket, as a simulated server sees it."""

from __future__ import annotations

from collections.abc import Iterable

from attrs import define, field

from xtalgo.protocol.frames import WireQuote
from xtalgo.sim.feeds import Feed
from xtalgo.sim.pushed import Pushed

__all__ = ["Connection"]


@define(eq=False)
class Connection:
    """What one connection is subscribed to. The server forgets all of it when the connection ends (documented)."""

    number: int
    pushed: Pushed
    """The events that it asked for."""
    instruments: dict[str, str] = field(factory=dict)
    """Dated names by the names that were asked for, in upper case."""
    wanted: frozenset[str] = frozenset()
    """The dated names."""
    stream: int = 0
    """Counts P&L streams, so that the next update of an older one does nothing."""
    quotes: dict[str, WireQuote] = field(factory=dict)
    """The newest quotes that it was sent, in a dialect that doesn't repeat them."""

    def subscribe(self, names: Iterable[str], feed: Feed) -> tuple[dict[str, str], list[str]]:
        """Add instruments; the dated names by those that were understood, and those that were not."""
        good: dict[str, str] = {}
        bad: list[str] = []
        for name in dict.fromkeys(names):
            dated = feed.knows(name)
            if dated is None:
                bad.append(name)
                continue
            good[name] = dated
            feed.want(dated)
            self.instruments[_folded(name)] = dated
        self.wanted = frozenset(self.instruments.values())
        return good, bad

    def unsubscribe(self, names: Iterable[str]) -> tuple[dict[str, str], list[str]]:
        """Take instruments out by the names they were asked for by; those that were there, and those that weren't."""
        good: dict[str, str] = {}
        bad: list[str] = []
        for name in dict.fromkeys(names):
            dated = self.instruments.pop(_folded(name), None)
            if dated is None:
                bad.append(name)
            else:
                good[name] = dated
        self.wanted = frozenset(self.instruments.values())
        return good, bad


def _folded(name: str) -> str:
    return " ".join(name.upper().split())
