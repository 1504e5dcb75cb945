"""Lockstep: simulated time over a socket, as repeatable as a replay.

Time moves only when the client has dealt with everything so far. The server marks a moment with
``{"type":"lockstep","now":<ns>}``; what it sends until the next mark belongs to that moment. The client lets happen
what is due by then, sends its frames, and answers ``{"action":"lockstep","due":<ns or null>}``: when something happens
at its side without a frame. Then the server goes on: with the same moment, as long as either side has anything for
it, or with the next. None of this is CrossTrade's; the order of events is that of ``client.aslive.Rehearsal``.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
import trio

from xtalgo.client.aslive import REDIAL
from xtalgo.client.trader import Trader
from xtalgo.live.host import BROKEN, Host, Session
from xtalgo.model.types import NEVER, Ns
from xtalgo.protocol.frames import RpcError
from xtalgo.protocol.wire import encode_server
from xtalgo.sim.faults import Mishaps
from xtalgo.sim.gateway import PREFIX, Outcome, carry_out_at_once, read_request
from xtalgo.sim.outputs import Close, Output, Rejection, Response, Send
from xtalgo.sim.server import SimServer

__all__ = ["LockstepClient", "LockstepHost", "Mark", "mark_of"]

OVER: Final = Rejection(410, b'{"success":false,"error":"the recording is over: start the server again"}')
"""What a client is told that connects after the end."""

_KIND: Final = "lockstep"
_NO_END: Final = NEVER - 1
_JSON: Final = {"Content-Type": "application/json"}


class Mark(msgspec.Struct, frozen=True, omit_defaults=True):
    """The server's frame: the moment is ``now``. With ``end`` it was the last, and the connection closes."""

    type: str
    now: Ns
    end: bool = False


class _Answer(msgspec.Struct, frozen=True, omit_defaults=True):
    """The client's frame. ``redial`` asks for the connection to be closed, after the frames that came before."""

    action: str
    due: Ns | None
    redial: bool = False


_encode: Final = msgspec.json.Encoder().encode
_read_mark: Final = msgspec.json.Decoder(Mark).decode


def mark_of(text: str | bytes) -> Mark | None:
    """The mark that a frame is; None for every other frame."""
    if (_KIND if isinstance(text, str) else _KIND.encode()) not in text:  # type: ignore[operator]
        return None
    try:
        mark = _read_mark(text)
    except msgspec.MsgspecError:
        return None
    return mark if mark.type == _KIND else None


class LockstepClient:
    """The client's half, around a trader. ``now`` is the time for everything that comes from the server.

    Before the first mark of a connection the client must not do anything: ``link_up`` happens here.
    """

    def __init__(self, trader: Trader) -> None:
        self.trader = trader
        self.now: Ns = 0
        """Simulated time."""
        self.is_over = False
        """Whether the server has said that this was the end."""

    def advance(self, mark: Mark) -> None:
        """Let happen what is due by a mark. After it the trader's frames are to be written, then ``answer``."""
        self.now = mark.now
        if mark.end:
            self.is_over = True
        elif self.trader.is_up:
            self.trader.advance(mark.now)
        else:
            self.trader.link_up(mark.now)

    def answer(self) -> str:
        """The frame to write once the trader's frames are out. It takes over the trader's wish to redial."""
        trader = self.trader
        redial, trader.redial = bool(trader.redial), ""
        due = None if trader.due == NEVER else trader.due
        return _encode(_Answer(_KIND, due, redial)).decode()


class LockstepHost(Host):
    """A host that moves time from ``start`` to ``end`` (None: for ever), driven by its client's answers alone.

    While no client is connected time stands still; a client that comes again after the end of its connection is
    connected ``aslive.REDIAL`` later in simulated time. REST calls are carried out at once, at the moment that time
    stands at, without latency or budget, so they don't disturb the run by reading.
    """

    def __init__(self, server: SimServer, start: Ns, end: Ns | None = None) -> None:
        super().__init__(server)
        self.now = start
        """Simulated time."""
        self.end: Ns = _NO_END if end is None else end
        """When it ends."""
        self.is_over = False
        """Whether the end was reached."""
        self._mishaps = Mishaps(server.faults, start)
        self._client: Session | None = None
        self._frames: list[str] = []
        self._redial: Ns = start
        self._is_advanced = False
        """Whether the server has had its turn at this moment."""
        self._outputs: list[Output] = []
        """What the server has said at this moment and the client has not been given yet."""
        server.advance(start)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Wait: time comes from the client."""
        task_status.started()
        await self._raise_failure()

    # --- connections ---------------------------------------------------------------------------------------------

    def connect(self, token: str | None) -> Session | Rejection:
        """A client asks for a socket. The connection before it is closed by this."""
        with self._guarded():
            is_known = self._probe(token).status != 401
            if is_known and self.is_over:
                return OVER
            if is_known and self._client is None:
                if self._redial > self.end:
                    self.now, self.is_over = self.end, True
                    return OVER
                self.now = max(self.now, self._redial)
            elif is_known and self._client is not None:
                self._take(self._client)
            found = self._connect(token, self.now)
            if isinstance(found, Rejection):
                if is_known and self._client is None:
                    self._redial = self.now + REDIAL
                return found
            self._client, self._is_advanced = found, False
            self._deliver()
            self._mark()
            return found
        return BROKEN

    def receive(self, session: Session, text: str) -> None:
        """A text frame came. It is kept until the client has answered the mark."""
        with self._guarded():
            if session is not self._client:
                return
            try:
                answer = _answer_of(text)
            except msgspec.ValidationError as error:
                complaint = encode_server(RpcError(None, f"Invalid request: {_KIND}: {error}"))
                session.put(Send(session.number, complaint))
                return
            if answer is None:
                self._frames.append(text)
            else:
                self._turn(session, answer)

    def gone(self, session: Session) -> None:
        """A client went away. What it had sent has arrived."""
        with self._guarded():
            self._sessions.pop(session.number, None)
            if session is self._client:
                self._take(session)
                self.server.disconnect(session.number, self.now)
                self._alone()

    def _alone(self) -> None:
        """The connection is over: the next one counts from here."""
        self._client = None
        self._redial = self.now + REDIAL

    # --- time ----------------------------------------------------------------------------------------------------

    def _turn(self, session: Session, answer: _Answer) -> None:
        """The client has dealt with everything so far: go on until it has something to deal with."""
        self._take(session)
        if answer.redial:
            self.server.disconnect(session.number, self.now)
            self._alone()
            self._sessions.pop(session.number, None)
            session.put(Close(session.number, 1000, "redial"))
            return
        if not self._deliver():
            is_quiet = self._is_advanced
            if not is_quiet:
                self._is_advanced = True
                self.server.advance(self.now)
                is_quiet = not self._deliver()
            if is_quiet:
                self._go_on(NEVER if answer.due is None else answer.due)
        self._mark()

    def _take(self, session: Session) -> None:
        """Give the server what came for this moment."""
        frames, self._frames = self._frames, []
        for text in frames:
            self.server.receive(session.number, text, self.now)

    def _deliver(self) -> bool:
        """Hand out what the server has said; whether there was anything for the client."""
        outputs, self._outputs = [*self._outputs, *self.server.outputs()], []
        client = self._client
        self._hand_out(outputs, self.now)
        if client is not None and client.is_over:
            self._alone()
        return client is not None and any(getattr(output, "connection", None) == client.number for output in outputs)

    def _go_on(self, due: Ns) -> None:
        """To the next moment, or to the end."""
        due = min(due, self.server.due)
        if due > self.end:
            self.is_over = True
            self.now = self.now if self.end == _NO_END else self.end
        else:
            self.now = max(self.now, due)
            self._is_advanced = False

    def _mark(self) -> None:
        """Tell the client the moment, and wait for its answer."""
        client = self._client
        if client is None:
            return
        client.put(Send(client.number, _encode(Mark(_KIND, self.now, self.is_over)).decode()))
        if self.is_over:
            self._alone()
            self._sessions.pop(client.number, None)
            client.put(Close(client.number, 1000, ""))

    # --- REST ----------------------------------------------------------------------------------------------------

    def _probe(self, token: str | None, path: str = "/") -> Response:
        """What the server says to a request outside the API: 401 for a wrong token, else 404. It costs nothing."""
        number = self.server.request(token, "GET", path, {}, b"", self.now)
        found = None
        for output in self.server.outputs():
            if isinstance(output, Response) and output.request == number:
                found = output
            else:
                # Not handed out now: the client may have answered already, without having seen it.
                self._outputs.append(output)
        assert found is not None
        return found

    async def request(
        self, token: str | None, method: str, path: str, query: Mapping[str, str], body: bytes
    ) -> Response:
        """A REST request and its answer, while time stands still."""
        with self._guarded():
            told = self._probe(token, "/" if path.startswith(PREFIX) else path)
            if told.status == 401 or not path.startswith(PREFIX):
                return told
            call = read_request(method, path, query, body)
            if isinstance(call, Outcome):
                outcome = call
            else:
                outcome = carry_out_at_once(
                    self.server.venue, self._mishaps, call.api, call.args, call.origin, self.now
                )
                outcome = self.server.dressed(call.api, outcome)
            return Response(0, outcome.status, _JSON, _encode(outcome.rest_body()))
        return Response(0, BROKEN.status, _JSON, BROKEN.body)


def _answer_of(text: str) -> _Answer | None:
    """The answer that a frame is, None for any other frame. Raises ValidationError for an answer that is malformed."""
    if f'"{_KIND}"' not in text:
        return None
    try:
        told = msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeError, RecursionError):
        return None
    if not isinstance(told, dict) or told.get("action") != _KIND:
        return None
    return msgspec.convert(told, _Answer)
