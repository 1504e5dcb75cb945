"""A client without an engine: whoever wants something of the venue asks, and is told how it ended.

What is never sent again, and what may be, is as in a run: a read whose answer was lost is asked again until its time is
up; a mutation that left and was not answered is ``OutcomeUnknown``; one that did not leave is ``NotSent``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field

from xtalgo.client.caller import Caller
from xtalgo.client.calls import End, Settled
from xtalgo.engine.pacing import ENTRY_TTL, Entry, Lane
from xtalgo.model.errors import NotSent, OutcomeUnknown, RemoteProtocolError, VenueError, XtalgoError
from xtalgo.model.events import AccountPnl, Quote
from xtalgo.model.instruments import ContractBook
from xtalgo.model.types import SECOND_NS, Ns
from xtalgo.protocol.checks import check_args
from xtalgo.protocol.frames import EventFrame, MarketData, PnlUpdate, Resync
from xtalgo.protocol.outcomes import Cause
from xtalgo.protocol.replies import Answer
from xtalgo.protocol.rpc import TABLE, RpcSpec

__all__ = ["READ_WITHIN", "Request", "Requester"]

READ_WITHIN: Final[Ns] = 30 * SECOND_NS
"""How long a read is asked, and asked again, before its asker is told that no answer came."""


@define(eq=False)
class Request:
    """One call that somebody waits for. ``outcome`` is its answer, or why there is none; None until it is over."""

    spec: RpcSpec
    args: dict[str, Any]
    until: Ns | None
    """When to give up: for a read the last moment of an answer, for a mutation that of leaving; None is never."""
    key: str
    on_done: Callable[[], None]
    has_left: bool = False
    outcome: Answer[Any] | XtalgoError | None = None

    def end(self, outcome: Answer[Any] | XtalgoError) -> None:
        """It is over; only the first word counts."""
        if self.outcome is None:
            self.outcome = outcome
            self.on_done()


@define(eq=False, kw_only=True)
class Requester(Caller[Request]):
    """Calls for whoever asks, and the streams for whoever listens."""

    book: ContractBook = field(factory=ContractBook)
    on_quotes: Callable[[list[Quote]], None] | None = None
    on_pnl: Callable[[AccountPnl], None] | None = None
    on_event: Callable[[EventFrame | Resync], None] | None = None
    wanted: set[str] = field(factory=set)
    """The instruments that somebody listens to, by canonical name."""
    ended: XtalgoError | None = None
    """Why there will be no further connection."""
    _count: int = 0
    _open: dict[str, Request] = field(factory=dict)

    @property
    def contracts(self) -> ContractBook:
        """What instruments are called."""
        return self.book

    # --- what others want ----------------------------------------------------------------------------------------

    def ask(
        self,
        api: str,
        args: Mapping[str, Any],
        now: Ns,
        on_done: Callable[[], None],
        *,
        everything: bool = False,
        within: Ns | None = None,
    ) -> Request:
        """Queue a call; ``on_done`` is called, without arguments, when it is over, which may be at once.

        ``within`` is how long an opening call may wait to leave (default ``ENTRY_TTL``), or how long a read may take
        in all (default ``READ_WITHIN``); what reduces waits for its token as long as it takes. Raises ConfigError for
        what can't be right.
        """
        spec = TABLE[api]
        clean = check_args(spec.name, args, everything=everything)
        if within is None and not (spec.mutates and Lane(spec.lane) is Lane.REDUCE):
            within = ENTRY_TTL if spec.mutates else READ_WITHIN
        self._count += 1
        request = Request(spec, clean, None if within is None else now + within, f"#{self._count}", on_done)
        if self.ended is not None:
            request.end(self.ended)
        elif spec.mutates and not self.is_up:
            request.end(NotSent(f"{spec.name}: not sent, the link is down"))
        else:
            self._open[request.key] = request
            self._push(request, now)
            self._release(now)
        self._done(now)
        return request

    def _push(self, request: Request, now: Ns) -> None:
        ttl = None if request.until is None else max(0, request.until - now)
        self.queue.push(request, Lane(request.spec.lane), now, ttl=ttl, key=request.key)

    def give_up(self, request: Request) -> bool:
        """Nobody waits for it any more; whether it is certain that it never left."""
        self._open.pop(request.key, None)
        return self.queue.remove(request.key) is not None and not request.has_left

    def listen(self, instruments: list[str], now: Ns) -> None:
        """Subscribe to these instruments, by canonical name, from now on and after each reconnect."""
        self.wanted.update(instruments)
        self.streams.want(instruments)
        if self.is_up:
            self.silence.expect(now)
        self._done(now)

    def leave(self, instruments: list[str], now: Ns) -> None:
        """Subscribe to them no more."""
        self.wanted.difference_update(instruments)
        self.streams.drop(instruments)
        if not self.wanted:
            self.silence.rest()
        self._done(now)

    def stream_pnl(self, now: Ns, *, enabled: bool, interval: int | None = None) -> None:
        """Switch the P&L stream on or off; ``interval`` is in milliseconds (its bounds are not known)."""
        self.streams.want_pnl(enabled=enabled, interval=interval)
        self._done(now)

    def end(self, error: XtalgoError) -> None:
        """There will be no further connection: whoever waits is told, and so is whoever asks later."""
        self.ended = error
        waiting, self._open = list(self._open.values()), {}
        self.queue.purge()
        for request in waiting:
            request.end(error)

    # --- the link ------------------------------------------------------------------------------------------------

    def _connected(self, now: Ns) -> None:
        self._subscribe(now)

    def _disconnected(self, now: Ns, reason: str, ended: list[Settled[Entry[Request]]]) -> None:
        self.queue.hold(now)
        for settled in ended:
            self._ended(settled, now, asks_again=False)
        for request in self.queue.purge(lambda entry: entry.item.spec.mutates):
            self._over(request, NotSent(f"{request.spec.name}: not sent: {reason}"))

    # --- calls ---------------------------------------------------------------------------------------------------

    def _call(self, entry: Entry[Request], now: Ns) -> None:
        request = entry.item
        request.has_left = True
        deadline = entry.deadline if request.spec.mutates else None
        self._write(request.spec.name, request.args, entry, now, deadline=deadline)

    def _left(self, entry: Entry[Request], now: Ns) -> None:
        pass

    def _expired(self, item: Request, now: Ns) -> None:
        why = "waited too long for the request budget" if self.is_up else "the link is down"
        self._over(item, NotSent(f"{item.spec.name}: not sent: {why}"))

    def _withdraw(self, key: str, now: Ns, reason: str) -> None:
        settled = self.calls.withdrawn(key, now, reason)
        if settled is not None:
            request = settled.item.item
            request.has_left = False
            if request.spec.mutates:
                self._over(request, NotSent(f"{request.spec.name}: not sent: {reason}"))
            else:
                self._again(request, now, reason)

    def _put_back(self, entry: Entry[Request], now: Ns) -> None:
        entry.item.has_left = False  # it was not carried out
        if entry.item.key not in self._open:
            self.queue.remove(entry.item.key)  # nobody waits for it any more

    def _finished(self, settled: Settled[Entry[Request]], now: Ns, *, asks_again: bool) -> None:
        request, name, text = settled.item.item, settled.spec.name, settled.text
        match settled.end:
            case End.DONE:
                assert settled.answer is not None
                self._over(request, settled.answer)
            case End.REFUSED:
                self._over(request, VenueError(f"{name}: {text}"))
            case End.UNKNOWN:
                self.health.doubts += 1
                self._over(request, OutcomeUnknown(f"{name}: it may have been carried out: {text}"))
            case End.NOT_DONE if settled.spec.mutates:
                self._over(request, NotSent(f"{name}: not carried out: {text}"))
            case End.NOT_DONE if settled.cause not in (None, Cause.TIMEOUT):  # the venue said no, in whatever words
                self._over(request, VenueError(f"{name}: {text}"))
            case End.NOT_DONE:
                self._again(request, now, text)

    def _again(self, request: Request, now: Ns, why: str) -> None:
        """A read came to nothing: ask again while there is time."""
        if request.key not in self._open:
            return
        if request.until is None or now < request.until:
            self._push(request, now)
        else:
            self._over(request, RemoteProtocolError(f"{request.spec.name}: no usable answer: {why}"))

    def _over(self, request: Request, outcome: Answer[Any] | XtalgoError) -> None:
        self._open.pop(request.key, None)
        request.end(outcome)

    # --- streams -------------------------------------------------------------------------------------------------

    def _market(self, message: MarketData, now: Ns) -> bool:
        quotes = self._quotes(message, now, self.wanted)
        if not quotes:
            return False
        if self.silence.data(now):
            self._notice(now, "fresh", "quotes are back", warning=False)
        if self.on_quotes is not None:
            self.on_quotes(quotes)
        return True

    def _pnl(self, message: PnlUpdate, now: Ns) -> None:
        for row in message.accounts:
            if row.account is None:
                self._notice(now, "pnl", "a P&L row without an account's name")
            elif self.on_pnl is not None:
                self.on_pnl(AccountPnl(now, row.account, row.realized, row.unrealized, row.net_liquidation))

    def _event(self, message: EventFrame | Resync, now: Ns) -> None:
        if self.on_event is not None:
            self.on_event(message)

    def _silent(self, now: Ns, text: str) -> None:
        pass
