"""A client of the venue without its socket: calls queued, paced, sent by id and settled, and streams kept up.

Text frames and time go in, text frames come out. What is called, and what follows from an answer or a quote, is for
those above: ``Trader`` has an engine for it, ``Requester`` whoever awaits the answer. Every method that takes ``now``
first does whatever was due before it, so the outcome depends on stamps, not on how promptly it was called.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Container, Iterable, Mapping
from typing import Any, Final, Generic, TypeVar

from attrs import define, field, frozen
from msgspec import json

from xtalgo.client.calls import Calls, End, Settled
from xtalgo.client.streams import QUIET, Silence, Subscriptions
from xtalgo.engine.pacing import Entry, PacingQueue
from xtalgo.model.commands import Mutation
from xtalgo.model.errors import ConfigError
from xtalgo.model.events import Quote
from xtalgo.model.instruments import ContractBook
from xtalgo.model.types import NEVER, SECOND_NS, Ns
from xtalgo.protocol.choices import PnlKeys, Repeats
from xtalgo.protocol.dialect import Dialect
from xtalgo.protocol.frames import (
    EventFrame,
    MarketData,
    PnlUpdate,
    Pong,
    Resync,
    RpcError,
    RpcReply,
    Status,
    StatusFrame,
    Unknown,
)
from xtalgo.protocol.outcomes import Cause
from xtalgo.protocol.wire import parse_server

__all__ = ["SHOWN", "Caller", "Frame", "Health", "Notice"]

SHOWN: Final = 20
"""How many notices of one kind are told one by one."""

T = TypeVar("T")


@frozen
class Frame:
    """A text frame to write, in order. ``key`` names its call; past ``deadline`` it must not be begun any more."""

    text: str
    key: str | None = None
    deadline: Ns | None = None
    api: str | None = None
    command: Mutation | None = None
    """What it changes at the venue, if anything."""


@frozen
class Notice:
    """Something people should see."""

    ts: Ns
    text: str
    is_warning: bool = False

    @property
    def is_trouble(self) -> bool:
        """Whether whoever makes single calls wants to hear of it: a warning, or that the link is down."""
        return self.is_warning or self.text.startswith("link down")


@define
class Health:
    """What was counted, for people."""

    frames: int = 0
    quotes: int = 0
    unknown: int = 0
    faults: int = 0
    drops: int = 0
    silences: int = 0
    refusals: int = 0
    doubts: int = 0


@define(eq=False, kw_only=True)
class Caller(ABC, Generic[T]):
    """One client on one token. ``T`` is what waits in its queue: whatever a call can be made of."""

    dialect: Dialect = field(factory=Dialect)
    """How the venue speaks, as far as it was found out; what is not settled is assumed."""
    queue: PacingQueue[T] = field(factory=PacingQueue)
    calls: Calls[Entry[T]] = field(factory=Calls)
    streams: Subscriptions = field(factory=Subscriptions)
    silence: Silence = field(factory=Silence)
    health: Health = field(factory=Health)
    out: list[Frame] = field(factory=list)
    """Frames to write; whoever drives takes them out."""
    notices: list[Notice] = field(factory=list)
    redial: str = ""
    """Why the connection should be dialled anew, if it should; whoever drives clears it."""
    is_up: bool = False
    tape: Callable[[str, Ns, str | bytes], None] | None = None
    """Records each input as it comes: the same inputs make the same client again."""
    due: Ns = NEVER
    """When something happens without a frame."""
    _names: dict[str, str | None] = field(factory=dict)
    _told: dict[str, int] = field(factory=dict)
    _pnl_keys: PnlKeys | None = field(init=False, default=None)
    _last: Ns = 0
    """The newest moment that was dealt with."""

    def __attrs_post_init__(self) -> None:
        self.queue.hold(0)
        # What was not found out must change nothing: an assumption is no fact.
        dialect, settled = self.dialect, self.dialect.confirms
        self._pnl_keys = dialect.pnl_keys if settled("pnl_keys") else None
        if settled("rate_text"):
            self.calls.rate_text = dialect.rate_text
        if settled("events"):
            self.streams.events = dialect.events
        if settled("quote_repeats") and dialect.quote_repeats is Repeats.CHANGES:
            self.silence.patience = QUIET

    # --- what those above add ------------------------------------------------------------------------------------

    @property
    @abstractmethod
    def contracts(self) -> ContractBook:
        """What instruments are called."""

    @abstractmethod
    def _connected(self, now: Ns) -> None:
        """A connection stands, and the queue may leave."""

    @abstractmethod
    def _disconnected(self, now: Ns, reason: str, ended: list[Settled[Entry[T]]]) -> None:
        """The connection is gone, and these calls with it."""

    @abstractmethod
    def _call(self, entry: Entry[T], now: Ns) -> None:
        """Something left the queue: ``_write`` the call that it is."""

    @abstractmethod
    def _left(self, entry: Entry[T], now: Ns) -> None:
        """It was handed out for writing."""

    @abstractmethod
    def _withdraw(self, key: str, now: Ns, reason: str) -> None:
        """The frame of this call did not leave after all."""

    @abstractmethod
    def _expired(self, item: T, now: Ns) -> None:
        """Something went stale in the queue."""

    @abstractmethod
    def _put_back(self, entry: Entry[T], now: Ns) -> None:
        """A call was refused for the rate limit, and waits again."""

    @abstractmethod
    def _finished(self, settled: Settled[Entry[T]], now: Ns, *, asks_again: bool) -> None:
        """A call ended otherwise."""

    @abstractmethod
    def _market(self, message: MarketData, now: Ns) -> bool:
        """Quotes came; whether anything followed from them."""

    @abstractmethod
    def _pnl(self, message: PnlUpdate, now: Ns) -> None:
        """P&L came."""

    @abstractmethod
    def _event(self, message: EventFrame | Resync, now: Ns) -> None:
        """The venue tells that something happened to an order or a position somewhere."""

    @abstractmethod
    def _silent(self, now: Ns, text: str) -> None:
        """No quote came for a while; the connection is about to be dialled again."""

    def _own_due(self) -> Ns:
        """When something of those above is due."""
        return NEVER

    def _idle(self, now: Ns) -> None:
        """Quotes came and nothing followed from them."""

    # --- the link ------------------------------------------------------------------------------------------------

    def link_up(self, now: Ns) -> None:
        """A connection stands."""
        self._note("link_up", now)
        self._advance(now)
        self.is_up = True
        self.queue.resume(now)
        self._connected(now)
        self._done(now)

    def _subscribe(self, now: Ns) -> None:
        """Say what is wanted to a new connection."""
        self.streams.link_up()
        if self.streams.instruments:
            self.silence.expect(now)
        self._stream(now)

    def link_down(self, now: Ns, reason: str, unsent: Iterable[str] = ()) -> None:
        """The connection is gone; ``unsent`` are the keys of frames that never began to leave."""
        unsent = list(unsent)
        self._note("link_down", now, reason=reason, unsent=unsent)
        self._advance(now)
        self.is_up = False
        self.health.drops += 1
        self.silence.pause()
        self.streams.link_down()
        for key in unsent:
            self._withdraw(key, now, reason)
        self._disconnected(now, reason, self.calls.dropped(now, reason))
        self._done(now)

    def unsent(self, now: Ns, key: str, reason: str) -> None:
        """One frame did not leave: it had gone stale before its turn."""
        self._note("unsent", now, key=key, reason=reason)
        self._advance(now)
        self._withdraw(key, now, reason)
        self._done(now)

    # --- frames --------------------------------------------------------------------------------------------------

    def frame(self, text: str | bytes, now: Ns) -> None:
        """A frame came."""
        if self.tape is not None:
            self.tape("frame", now, text)
        if now >= self.due:
            self._advance(now)
        self.health.frames += 1
        message = parse_server(text, self._pnl_keys)
        if type(message) is MarketData:  # most frames by far, and mostly nothing follows from them
            if self._market(message, now):
                self._done(now)
            else:
                self._last = max(self._last, now)
                self._idle(now)
            return
        match message:
            case RpcReply() | RpcError():
                self._reply(message, now)
            case PnlUpdate():
                self._pnl(message, now)
            case Status():
                if message.error is not None:
                    self._notice(now, "refused", f"{message.status}: {message.error}")
            case Unknown():
                self.health.unknown += 1
                self._notice(now, "unknown frame", f"a frame of no use ({message.why}): {message.frame[:200]}")
                if message.id is not None:
                    self._reply(message, now)
            case EventFrame() | Resync():
                self._event(message, now)
            case StatusFrame():
                self._notice(now, "state", f"the venue's event stream is {message.state}", warning=False)
            case Pong():
                pass
        self._done(now)

    def _quotes(self, message: MarketData, now: Ns, wanted: Container[str]) -> list[Quote]:
        """The quotes of a frame that are wanted, under canonical names; what can't be used is told and counted."""
        if message.faults:
            self.health.faults += len(message.faults)
            self._notice(now, "bad quote", f"quotes left out: {'; '.join(message.faults)}")
        quotes, names = [], self._names
        for row in message.quotes:
            name = names.get(row.instrument)
            if name is None and row.instrument not in names:
                name = names[row.instrument] = self.name_of(row.instrument)
            if name is None or name not in wanted:
                continue
            if row.bid is None or row.ask is None:
                self.health.faults += 1
                self._notice(now, "bad quote", f"{name}: a quote without {'bid' if row.bid is None else 'ask'}")
                continue
            quotes.append(Quote(now, name, row.bid, row.ask, row.last, row.volume))
        self.health.quotes += len(quotes)
        return quotes

    def _reply(self, message: RpcReply | RpcError | Unknown, now: Ns) -> None:
        settled = self.calls.settle(message, now)
        if settled is not None:
            self._ended(settled, now)
        elif isinstance(message, RpcError) and message.id is None:
            self._notice(now, "error", f"the venue says: {message.error}")

    # --- calls ---------------------------------------------------------------------------------------------------

    def _release(self, now: Ns) -> None:
        while (entry := self.queue.pop(now)) is not None:
            self._call(entry, now)
            self._left(entry, now)

    def _write(
        self,
        api: str,
        args: Mapping[str, Any],
        entry: Entry[T],
        now: Ns,
        *,
        deadline: Ns | None = None,
        command: Mutation | None = None,
    ) -> None:
        key, text = self.calls.begin(api, args, entry, now)
        self.out.append(Frame(text, key, deadline, api, command))

    def _ended(self, settled: Settled[Entry[T]], now: Ns, *, asks_again: bool = True) -> None:
        entry = settled.item
        if settled.cause is Cause.RATE_LIMIT and settled.end is End.NOT_DONE:
            self.health.refusals += 1
            self.queue.refused(entry, now)
            self._put_back(entry, now)
            return
        if settled.cause is not Cause.TIMEOUT and asks_again:
            self.queue.answered(now, entry)
        self._finished(settled, now, asks_again=asks_again)

    # --- time ----------------------------------------------------------------------------------------------------

    def _note(self, kind: str, now: Ns, **facts: object) -> None:
        if self.tape is not None:
            self.tape(kind, now, json.encode(facts).decode())

    def advance(self, now: Ns) -> None:
        """Let everything that is due by ``now`` happen, in order of time."""
        if self.due <= now:
            self._note("advance", now)
        self._advance(now)

    def _advance(self, now: Ns) -> None:
        while (due := self._next()) <= now:
            self._last = max(self._last, due)
            self._step(self._last)
        self.due = due

    def _next(self) -> Ns:
        due = min(self.calls.due, self.silence.due, self._own_due())
        if self.queue.waiting:
            due = min(due, self.queue.due(self._last))
        return min(due, self.streams.due(self._last))

    def _step(self, now: Ns) -> None:
        """Do the next thing that is due."""
        if not self._step_calls(now):
            self._stream(now)

    def _step_calls(self, now: Ns) -> bool:
        """Time-outs, then the queue, then the silence watch; whether any of them was due."""
        if self.calls.due <= now:
            for settled in self.calls.expired(now):
                self._ended(settled, now)
        elif self.queue.waiting and self.queue.due(now) <= now:
            for item in self.queue.expired(now):
                self._expired(item, now)
            self._release(now)
        elif self.silence.check(now):
            self._went_silent(now)
        else:
            return False
        return True

    def _went_silent(self, now: Ns) -> None:
        first = self.health.silences == 0 or not self._told.get("silent")
        self.health.silences += 1
        since = self.silence.since or now
        text = f"no quote for {(now - since) // SECOND_NS} s"
        if first or now - since <= 2 * self.silence.patience:
            self._notice(now, "silent", f"{text}: quotes are stale; dialling again")
        self._silent(now, text)
        self.redial = text

    def leap(self, now: Ns, by: Ns) -> None:
        """The clock jumped (the machine slept, or time was set): what is overdue happens once, at ``now``."""
        self._note("leap", now, by=by)
        self._notice(now, "clock", f"the clock jumped by {by / SECOND_NS:+.1f} s")
        self._leapt(now)
        self._advance(now)

    def _leapt(self, now: Ns) -> None:
        """The clock jumped."""

    def _done(self, now: Ns) -> None:
        """After an input: what it made due happens."""
        if now > self._last:
            self._last = now
        self._advance(now)

    def _stream(self, now: Ns) -> None:
        while (text := self.streams.pop(now)) is not None:
            self.out.append(Frame(text))

    # --- names, and words for people -----------------------------------------------------------------------------

    def name_of(self, told: str) -> str | None:
        """The canonical name behind a name on the wire; None where it stands for nothing here."""
        try:
            name = self.contracts.parse(told)
        except ConfigError:
            return None
        return name.dated(name.year) if name.year is not None else told

    def tell(self, now: Ns, text: str) -> None:
        """Let people see something."""
        self.notices.append(Notice(now, text))

    def _notice(self, now: Ns, kind: str, text: str, *, warning: bool = True) -> None:
        count = self._told[kind] = self._told.get(kind, 0) + 1
        if count < SHOWN:
            self.notices.append(Notice(now, text, warning))
        elif count == SHOWN:
            self.notices.append(Notice(now, f"{text} (further ones of this kind are only counted)", warning))
