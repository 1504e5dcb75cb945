"""The connection actor: dials, reads, writes, keeps the connection honest, dials again.

The link owns the socket and knows nothing of what the frames say. It tells a ``Sink`` by plain calls what comes and
what happens, in order, and never waits for anybody. Whoever gets its news must not block: a trading decision belongs
into another task.

What a dropped connection means for a frame depends on one moment: once the writer has begun with it, the venue may
have it, and its outcome is unknown. Frames still in the queue are handed back as unsent.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Sequence
from typing import Final, Protocol

import trio
from attrs import define, field, frozen

from xtalgo.live.clock import WallClock
from xtalgo.live.redial import Ending, EndKind, Redial, Wait
from xtalgo.live.wires import Dial, DialFailed, HandshakeRefused, Wire, WireClosed
from xtalgo.model.errors import LocalProtocolError
from xtalgo.model.types import Ns

__all__ = ["GRACE", "PING_EVERY", "PING_TIMEOUT", "Link", "LinkState", "Sink"]

PING_EVERY: Final = 20.0
"""Seconds between WebSocket pings; public clients use 20 to 30 (observed in public client code)."""
PING_TIMEOUT: Final = 10.0
"""Seconds in which a pong must come."""
GRACE: Final = 1.0
"""Seconds that the reader gets to take what came before an end that the writer noticed first."""


class LinkState(enum.StrEnum):
    """Where the link stands."""

    DIALLING = "dialling"
    UP = "up"
    WAITING = "waiting"
    ENDED = "ended"


class Sink(Protocol):
    """What the link tells, by plain calls, in order. None of them may raise or wait."""

    def link_up(self, now: Ns, generation: int) -> None:
        """A connection is open; from now on ``Link.send`` takes frames."""

    def frame(self, text: str | bytes, now: Ns, generation: int) -> None:
        """A frame came, at ``now``."""

    def link_down(self, now: Ns, generation: int, reason: str, unsent: Sequence[str], wait: float | None) -> None:
        """The connection of ``generation`` is over; nothing more comes of it.

        ``unsent`` are the keys of frames that were not begun to be written, in order; every other frame may have
        arrived. The next attempt comes in ``wait`` seconds, None for never.
        """

    def unsent(self, now: Ns, key: str, reason: str) -> None:
        """One frame that was not written, and why: it went stale in the queue, or can't be written at all."""


@frozen
class _Frame:
    text: str
    key: str | None
    deadline: Ns | None


class _Cause(enum.Enum):
    PEER = enum.auto()
    """The connection was closed or broke."""
    SILENT = enum.auto()
    """No pong."""
    OURS = enum.auto()
    """``redial_now``."""
    CLOSE = enum.auto()
    """``close``."""


@frozen
class _End:
    cause: _Cause
    reason: str
    code: int | None = None


@define(eq=False, repr=False)
class Link:
    """One connection at a time, dialled again and again until there is a reason to stop.

    ``run`` is called once, in a task of its own. Spans are in seconds.
    """

    _dial: Dial
    _sink: Sink
    _clock: WallClock
    _redial: Redial
    ping_every: float = field(default=PING_EVERY, kw_only=True)
    ping_timeout: float = field(default=PING_TIMEOUT, kw_only=True)
    state: LinkState = field(default=LinkState.DIALLING, init=False)
    generation: int = field(default=0, init=False)
    """Number of the latest connection, from 1."""
    opened: Ns | None = field(default=None, init=False)
    """When the connection that is up was opened; None when none is."""
    drops: int = field(default=0, init=False)
    """Connections that ended without ``close`` or cancellation."""
    attempts: int = field(default=0, init=False)
    """Dials so far."""
    last_reason: str | None = field(default=None, init=False)
    """Why the last connection ended or the last attempt failed."""
    _queue: deque[_Frame] = field(factory=deque, init=False)
    _wake: trio.Event = field(factory=trio.Event, init=False)
    _scope: trio.CancelScope = field(factory=trio.CancelScope, init=False)
    _end: _End | None = field(default=None, init=False)
    _resume: float = field(default=0.0, init=False)
    _closing: bool = field(default=False, init=False)
    _running: bool = field(default=False, init=False)
    _ended: trio.Event = field(factory=trio.Event, init=False)

    # --- what others call; nothing here waits, except close ---------------------------------------------------------

    def send(self, text: str, *, key: str | None = None, deadline: Ns | None = None) -> bool:
        """Queue a frame for writing, in order; False, and nothing kept, when the link isn't up.

        A frame whose writing has not begun by ``deadline`` is not written. What isn't written is told by its ``key``.
        """
        if self.state is not LinkState.UP:
            return False
        self._queue.append(_Frame(text, key, deadline))
        self._wake.set()
        return True

    def redial_now(self, reason: str) -> None:
        """Give the connection up and dial again at once, since no data comes. Does nothing when the link isn't up."""
        if self.state is LinkState.UP:
            self._finish(_End(_Cause.OURS, reason))

    async def close(self) -> None:
        """End the link in good order and wait until ``run`` is through. What is still queued is handed back unsent."""
        self._closing = True
        if not self._running:
            self.state = LinkState.ENDED
            return
        if self.state is LinkState.UP:
            self._finish(_End(_Cause.CLOSE, "closed by us"))
        else:
            self._scope.cancel()
        await self._ended.wait()

    # --- the life of the link ---------------------------------------------------------------------------------------

    async def run(self) -> Ending:
        """Dial and serve until it is final, and say why. May be cancelled anywhere; nothing stays open."""
        if self._running or self._ended.is_set():
            raise LocalProtocolError("this link has been run already: make a new one")
        self._running = True
        try:
            while not self._closing:
                verdict = await self._attempt()
                if isinstance(verdict, Ending):
                    return verdict
                await self._pause()
            return _closed()
        finally:
            self.state = LinkState.ENDED
            self._running = False
            self._ended.set()

    async def _attempt(self) -> Wait | Ending:
        """One dial and, if it succeeds, one connection to its end."""
        self.state = LinkState.DIALLING
        self.attempts += 1
        wire: Wire | None = None
        verdict: Wait | Ending = _closed()
        with trio.CancelScope() as self._scope:
            try:
                wire = await self._dial()
            except HandshakeRefused as refusal:
                verdict = self._redial.refused(self._clock.now(), refusal.status, refusal.body_excerpt)
                self.last_reason = str(refusal)
            except DialFailed as failure:
                verdict = self._redial.failed(self._clock.now(), failure.text)
                self.last_reason = failure.text
        if wire is not None:
            if not self._closing:
                return await self._serve(wire)
            await wire.aclose()  # it opened in the moment in which we were told to close
        if self._closing:
            return _closed()
        self._note_wait(verdict)
        return verdict

    def _note_wait(self, verdict: Wait | Ending | None) -> None:
        """The wait counts from here, not from when the farewell to the peer is over."""
        if isinstance(verdict, Wait):
            self._resume = trio.current_time() + verdict.seconds

    async def _pause(self) -> None:
        self.state = LinkState.WAITING
        if self._closing:  # while the last connection was being closed
            return
        with trio.CancelScope() as self._scope:
            await trio.sleep_until(self._resume)

    async def _serve(self, wire: Wire) -> Wait | Ending:
        """Read and write until the connection ends; tell the sink of its start and its end."""
        self._end = None
        self.generation += 1
        generation = self.generation
        now = self._clock.now()
        verdict: Wait | Ending | None = None
        try:
            async with trio.open_nursery() as nursery:
                self._scope = nursery.cancel_scope
                self.opened = now
                self.state = LinkState.UP
                self._redial.opened(now)
                self._sink.link_up(now, generation)
                nursery.start_soon(self._write, wire)
                nursery.start_soon(self._heartbeat, wire)
                await self._read(wire, generation)
            verdict = self._judge()
        finally:
            # Told before the farewell to the peer, which may take its time. It is told on cancellation, too.
            try:
                self._tell_down(generation, verdict)
            finally:
                await self._part(wire)
        return verdict

    def _finish(self, end: _End) -> None:
        """Stop serving; the first reason counts."""
        if self._end is None:
            self._end = end
            self._scope.cancel()

    def _judge(self) -> Wait | Ending:
        assert self._end is not None  # the reader returns only after _finish
        now, reason = self._clock.now(), self._end.reason
        if self._closing or self._end.cause is _Cause.CLOSE:
            return _closed()
        if self._end.cause is _Cause.OURS:
            return self._redial.left(now, reason)
        if self._end.cause is _Cause.SILENT:
            return self._redial.lost(now, reason)
        return self._redial.closed(now, self._end.code, reason)

    def _tell_down(self, generation: int, verdict: Wait | Ending | None) -> None:
        unsent = [frame.key for frame in self._queue if frame.key is not None]
        self._queue.clear()
        self.opened = None
        # Not UP any more before anybody hears of it: a frame that the sink sends now must be refused.
        self.state = LinkState.WAITING if isinstance(verdict, Wait) else LinkState.ENDED
        reason = "cancelled" if self._end is None else self._end.reason
        if self._end is not None and self._end.code is not None:
            reason = f"{reason or 'closed'} (code {self._end.code})"
        self.last_reason = reason
        if self._end is not None and self._end.cause is not _Cause.CLOSE:
            self.drops += 1
        self._note_wait(verdict)
        wait = verdict.seconds if isinstance(verdict, Wait) else None
        self._sink.link_down(self._clock.now(), generation, reason, unsent, wait)

    async def _part(self, wire: Wire) -> None:
        """Close the wire; with a farewell only where somebody is there to hear it."""
        with trio.CancelScope() as scope:
            if self._end is None or self._end.cause in (_Cause.PEER, _Cause.SILENT):
                scope.cancel()
            await wire.aclose()

    # --- the three tasks of a connection ----------------------------------------------------------------------------

    async def _read(self, wire: Wire, generation: int) -> None:
        receive, tell, now = wire.receive, self._sink.frame, self._clock.now
        try:
            while True:
                text = await receive()
                tell(text, now(), generation)
        except WireClosed as closed:
            self._finish(_End(_Cause.PEER, closed.reason, closed.code))

    async def _write(self, wire: Wire) -> None:
        while True:
            while self._queue:
                frame = self._queue.popleft()
                if frame.deadline is not None and self._clock.now() >= frame.deadline:
                    self._tell_unsent(frame, "it went stale before it could be written")
                    continue
                try:
                    await wire.send(frame.text)
                except ValueError as error:
                    self._tell_unsent(frame, f"it can't be written: {error}")
                except WireClosed as closed:
                    await self._concede(closed)
                    return
            self._wake = trio.Event()
            await self._wake.wait()

    def _tell_unsent(self, frame: _Frame, reason: str) -> None:
        if frame.key is not None:
            self._sink.unsent(self._clock.now(), frame.key, reason)

    async def _heartbeat(self, wire: Wire) -> None:
        while True:
            await trio.sleep(self.ping_every)
            with trio.move_on_after(self.ping_timeout) as scope:
                try:
                    await wire.ping()
                except WireClosed as closed:
                    await self._concede(closed)
                    return
            if scope.cancelled_caught:
                self._finish(_End(_Cause.SILENT, f"no answer to a ping within {self.ping_timeout:g} s"))

    async def _concede(self, closed: WireClosed) -> None:
        """The connection is over, but replies that came before its end may still be on their way to the reader.

        The reader finds the end itself; this is for a wire that wouldn't let it.
        """
        await trio.sleep(GRACE)
        self._finish(_End(_Cause.PEER, closed.reason, closed.code))


def _closed() -> Ending:
    return Ending(EndKind.CLOSED, "the link was closed")
