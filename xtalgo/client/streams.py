"""The streams of one connection: what is subscribed to, within its own small budget, and whether anything comes."""

from __future__ import annotations

from collections import deque
from typing import Final

from attrs import define, field

from xtalgo.engine.pacing import TokenBucket, subscription_bucket
from xtalgo.model.types import MINUTE_NS, NEVER, SECOND_NS, Ns
from xtalgo.protocol.choices import Events
from xtalgo.protocol.frames import StreamPnl, Subscribe, Unsubscribe
from xtalgo.protocol.wire import encode_client

__all__ = ["EVENTS", "PATIENCE", "QUIET", "SILENCE", "Silence", "Subscriptions"]

SILENCE: Final[Ns] = 15 * SECOND_NS
"""Without a quote for this long, those at hand are stale: the venue sends about one frame a second (documented)."""

QUIET: Final[Ns] = 2 * MINUTE_NS
"""The same at a venue that doesn't repeat quotes that stay: a quiet market is silent, too."""

EVENTS: Final = ("orders", "executions", "positions")
"""The events that are subscribed to (observed, for another origin)."""

PATIENCE: Final[Ns] = 10 * MINUTE_NS
"""The longest gap between two attempts to end a silence by dialling again."""


@define(eq=False)
class Subscriptions:
    """Keeps what is wanted and says it once to each connection: the server remembers nothing (documented)."""

    bucket: TokenBucket = field(factory=subscription_bucket)
    instruments: list[str] = field(factory=list)
    pnl: bool = True
    events: Events = Events.NONE
    """How events of accounts are subscribed to, where there are any."""
    interval: int | None = None
    """Milliseconds between P&L updates; None leaves it to the venue."""
    sent: int = 0
    _told: set[str] = field(factory=set)
    _waiting: deque[str] = field(factory=deque)
    _up: bool = False

    def link_up(self) -> None:
        """A new connection: everything is to be said again, all instruments in one message."""
        self._up, self._told = True, set()
        self._waiting.clear()
        self._subscribe()
        if self.pnl:
            self._waiting.append(encode_client(StreamPnl(enabled=True, interval=self.interval)))
        if self.events is not Events.NONE:
            self._waiting.append(encode_client(Subscribe(events=EVENTS, origin=self.events.origin)))

    def link_down(self) -> None:
        """Nothing can be said."""
        self._up = False
        self._waiting.clear()

    def want(self, instruments: list[str]) -> None:
        """Ask for these, too, from now on."""
        fresh = [name for name in instruments if name not in self.instruments]
        self.instruments += fresh
        if fresh and self._up:
            self._subscribe()

    def drop(self, instruments: list[str]) -> None:
        """Ask for these no more."""
        names = tuple(name for name in instruments if name in self.instruments)
        self.instruments = [name for name in self.instruments if name not in names]
        self._told.difference_update(names)
        if names and self._up:
            self._waiting.append(encode_client(Unsubscribe(instruments=names)))

    def want_pnl(self, *, enabled: bool, interval: int | None = None) -> None:
        """Ask for the P&L stream, or no more, from now on."""
        if (enabled, interval) != (self.pnl, self.interval):
            self.pnl, self.interval = enabled, interval
            if self._up:
                self._waiting.append(encode_client(StreamPnl(enabled=enabled, interval=interval)))

    def _subscribe(self) -> None:
        names = tuple(name for name in self.instruments if name not in self._told)
        if names:
            self._told.update(names)
            self._waiting.append(encode_client(Subscribe(instruments=names)))

    def due(self, now: Ns) -> Ns:
        """When the next message may leave; NEVER when there is none."""
        return now + self.bucket.delay(now) if self._waiting else NEVER

    def pop(self, now: Ns) -> str | None:
        """The next message, if its token is there."""
        if not self._waiting or not self.bucket.take(now):
            return None
        self.sent += 1
        return self._waiting.popleft()


@define(eq=False)
class Silence:
    """Watches for quotes that stop coming over a link that looks alive.

    The first silence of ``patience`` makes quotes stale and dials again once; then again at doubling gaps up to
    ``PATIENCE`` until data returns: the daily break and the weekend are silent too.
    """

    patience: Ns = SILENCE
    """How long a silence may be before it is one."""
    since: Ns | None = None
    """When data last came, or was asked for; None while nothing is expected."""
    is_stale: bool = False
    due: Ns = NEVER
    """When to dial again unless data comes."""
    _gap: Ns = 0

    def expect(self, now: Ns) -> None:
        """Quotes were asked for on a new connection."""
        if self.since is None:
            self.since = now
        if not self.is_stale:
            self.since, self.due = now, now + self.patience
        elif self.due == NEVER:
            self.due = now + self._gap

    def pause(self) -> None:
        """The link is down: there is nothing to wait for."""
        self.due = NEVER

    def rest(self) -> None:
        """Nothing is expected any more."""
        self.since, self.due, self.is_stale, self._gap = None, NEVER, False, SILENCE

    def data(self, now: Ns) -> bool:
        """A quote came; whether it ended a silence."""
        ended = self.is_stale
        self.since, self.due = now, now + self.patience
        if ended:
            self.is_stale, self._gap = False, 0
        return ended

    def check(self, now: Ns) -> bool:
        """Whether it is time to dial again. From the first such moment on, quotes are stale."""
        if now < self.due:
            return False
        if self.is_stale:
            self._gap = min(2 * self._gap, PATIENCE)
        else:
            self._gap = self.patience * 2
        self.is_stale = True
        self.due = NEVER
        return True
