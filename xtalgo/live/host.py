"""The actor around a simulated server: it gives it the time, and hands what it says to connections and waiting calls.

A host knows nothing of sockets. A transport asks ``connect`` for a ``Session``, feeds it what comes, writes what the
session says, and reports the end: see ``live.transports``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Final, Protocol

import trio
from attrs import define, field

from xtalgo.live.leaves import leaf_of
from xtalgo.model.types import NEVER, Ns
from xtalgo.sim.outputs import Close, Drop, Output, Rejection, Response, Send
from xtalgo.sim.server import SimServer

__all__ = ["BROKEN", "MOST_WAITING", "Clock", "Host", "ServerHost", "Session"]

MOST_WAITING: Final = 16 * 2**20
"""Characters that may wait for a client. One that has not read for so long is dropped."""

BROKEN: Final = Rejection(500, b'{"success":false,"error":"internal error of the simulated server"}')
"""What a client is told when the server failed, which is about to end."""

AHEAD: Final = 2**16
"""Characters that may wait for a client before a server that is catching up lets it read first."""

PATIENCE: Final = 1.0
"""Seconds that it waits for such a client, once until the client has read that much."""

_BATCH: Final = 50


class Clock(Protocol):
    """Where the time comes from: a ``live.clock.WallClock``."""

    def now(self) -> Ns:
        """Nanoseconds UTC, which never run back."""

    def trio_deadline(self, ns: Ns) -> float:
        """The same moment on trio's clock."""


@define(eq=False)
class Session:
    """One connection, as its transport sees it."""

    number: int
    _host: Host = field(repr=False)
    is_over: bool = field(default=False, init=False)
    """Whether the server is done with it; what still waits may be written."""
    _waiting: deque[Send | Close | Drop] = field(factory=deque, init=False, repr=False)
    _size: int = field(default=0, init=False)
    _wake: trio.Event = field(factory=trio.Event, init=False, repr=False)
    _over: trio.Event = field(factory=trio.Event, init=False, repr=False)
    _room: trio.Event = field(factory=trio.Event, init=False, repr=False)
    _is_slow: bool = field(default=False, init=False, repr=False)

    def feed(self, text: str) -> None:
        """A text frame came. Ignored when the connection is over."""
        if not self.is_over:
            self._host.receive(self, text)

    def closed(self) -> None:
        """The transport is gone. May be called more than once."""
        if not self.is_over:
            self._end()
            self._waiting.clear()
            self._host.gone(self)

    async def receive(self) -> Send | Close | Drop | None:
        """The next thing to do, in order; ``Close`` or ``Drop`` is the last. None when there is nothing more."""
        while not self._waiting:
            if self.is_over:
                return None
            self._wake = trio.Event()
            await self._wake.wait()
        output = self._waiting.popleft()
        if isinstance(output, Send):
            self._size -= len(output.text)
            if self._size <= AHEAD // 2:
                self._room.set()
                self._is_slow = False
        return output

    async def room(self) -> None:
        """For the host: let the client read, if much waits for it and it does read."""
        if self._size > AHEAD and not self._is_slow and not self.is_over:
            self._room = trio.Event()
            with trio.move_on_after(PATIENCE) as scope:
                await self._room.wait()
            self._is_slow = scope.cancelled_caught

    async def over(self) -> None:
        """Wait until the server is done with this connection."""
        await self._over.wait()

    def put(self, output: Send | Close | Drop) -> bool:
        """For the host: something to do. False when the client has read nothing for so long that it is dropped."""
        if isinstance(output, Send):
            self._size += len(output.text)
            if self._size > MOST_WAITING:
                self._waiting.clear()
                self._waiting.append(Drop(self.number))
                self._end()
                return False
        else:
            self._end()
        self._waiting.append(output)
        self._wake.set()
        return True

    def _end(self) -> None:
        self.is_over = True
        self._over.set()
        self._room.set()
        self._wake.set()


class Host:
    """What every host has in common: sessions by number, and calls that wait for their answer."""

    def __init__(self, server: SimServer) -> None:
        self.server = server
        self._sessions: dict[int, Session] = {}
        self._calls: dict[int, _Waiter] = {}
        self._failure: Exception | None = None
        self._failed = trio.Event()

    # --- what transports call ------------------------------------------------------------------------------------

    def connect(self, token: str | None) -> Session | Rejection:
        """A client asks for a socket. The connection before it is closed by this."""
        raise NotImplementedError

    async def request(
        self, token: str | None, method: str, path: str, query: Mapping[str, str], body: bytes
    ) -> Response:
        """A REST request and its answer. ``path`` is percent-encoded, without the query."""
        raise NotImplementedError

    def receive(self, session: Session, text: str) -> None:
        """``Session.feed`` leads here."""
        raise NotImplementedError

    def gone(self, session: Session) -> None:
        """``Session.closed`` leads here."""
        raise NotImplementedError

    # --- for hosts -----------------------------------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Give the server its time until cancelled. An error inside the server ends it, whoever caused it."""
        raise NotImplementedError

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """``run`` for as long as the block lasts."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self.run)
            try:
                yield
            finally:
                nursery.cancel_scope.cancel()

    def _connect(self, token: str | None, now: Ns) -> Session | Rejection:
        found = self.server.connect(token, now)
        if isinstance(found, Rejection):
            return found
        session = self._sessions[found] = Session(found, self)
        return session

    def _hand_out(self, outputs: Iterable[Output], now: Ns) -> None:
        """Give the server's outputs to whom they are for."""
        for output in outputs:
            if isinstance(output, Response):
                waiter = self._calls.pop(output.request, None)
                if waiter is not None:
                    waiter.answer(output)
                continue
            session = self._sessions.get(output.connection)
            if session is None:
                continue
            if not session.put(output):
                self.server.disconnect(session.number, now)
            if session.is_over:
                del self._sessions[session.number]

    def _guarded(self) -> _Guard:
        """An error inside the server is for ``run`` to raise, not for the client that happened to cause it."""
        return _Guard(self)

    def fail(self, error: Exception) -> None:
        """Make ``run`` raise; the first error counts."""
        self._failure = self._failure or error
        self._failed.set()

    async def _raise_failure(self) -> None:
        await self._failed.wait()
        assert self._failure is not None
        raise self._failure


@define(eq=False)
class _Guard:
    _host: Host

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> bool:
        if isinstance(error, Exception):
            self._host.fail(error)
            return True
        return False


@define(eq=False)
class _Waiter:
    _answer: Response | None = field(default=None, init=False)
    _event: trio.Event = field(factory=trio.Event, init=False)

    def answer(self, response: Response) -> None:
        self._answer = response
        self._event.set()

    async def wait(self) -> Response:
        await self._event.wait()
        assert self._answer is not None
        return self._answer


class ServerHost(Host):
    """A host on a real clock, or on a test's."""

    def __init__(self, server: SimServer, clock: Clock) -> None:
        super().__init__(server)
        self._clock = clock
        self._wake = trio.Event()
        self._planned: Ns = NEVER
        self._behind: Ns | None = None
        """How far the server has come while it is catching up with the clock."""

    def _now(self) -> Ns:
        """The server's time for an input. One that is catching up is not made to leap by it."""
        return self._clock.now() if self._behind is None else self._behind

    def connect(self, token: str | None) -> Session | Rejection:
        """A client asks for a socket. The connection before it is closed by this."""
        with self._guarded():
            found = self._connect(token, self._now())
            self._done()
            return found
        return BROKEN

    def receive(self, session: Session, text: str) -> None:
        """A text frame came."""
        with self._guarded():
            self.server.receive(session.number, text, self._now())
            self._done()

    def gone(self, session: Session) -> None:
        """A client went away."""
        with self._guarded():
            self._sessions.pop(session.number, None)
            self.server.disconnect(session.number, self._now())
            self._done()

    async def request(
        self, token: str | None, method: str, path: str, query: Mapping[str, str], body: bytes
    ) -> Response:
        """A REST request and its answer."""
        waiter = _Waiter()
        number = 0
        with self._guarded():
            number = self.server.request(token, method, path, query, body, self._now())
            self._calls[number] = waiter
            self._done()
        if not number:
            return Response(0, BROKEN.status, {"Content-Type": "application/json"}, BROKEN.body)
        try:
            return await waiter.wait()
        finally:
            self._calls.pop(number, None)

    def _done(self) -> None:
        """After an input: hand out what it led to, and see whether something is due earlier than planned."""
        self._hand_out(self.server.outputs(), self._now())
        if self.server.due < self._planned:
            self._wake.set()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Give the server its time until cancelled."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._raise_failure)
                task_status.started()
                await self._keep_time()
        except BaseExceptionGroup as group:
            raise leaf_of(group) from None

    async def _keep_time(self) -> None:
        now = self._clock.now()
        while True:
            await self._catch_up(now)
            self._planned, self._wake = self.server.due, trio.Event()
            now = self._planned
            if now == NEVER:
                await self._wake.wait()
                now = 0
            else:
                with trio.move_on_at(self._clock.trio_deadline(now)) as scope:
                    await self._wake.wait()
                if not scope.cancelled_caught:
                    now = 0
            # A timer that was set for a stamp finds that stamp, whatever rounding says.
            now = max(now, self._clock.now())

    async def _catch_up(self, now: Ns) -> None:
        """Let happen what is due, moment by moment, so that clients can read meanwhile."""
        steps = 0
        while (due := self.server.due) <= now:
            self.server.advance(due)
            self._hand_out(self.server.outputs(), due)
            steps += 1
            if steps % _BATCH == 0:
                self._behind = due
                await trio.lowlevel.checkpoint()
                for session in list(self._sessions.values()):
                    await session.room()
                now = max(now, self._clock.now())
        self._behind = None
