"""A WebSocket over a trio stream: trio-websocket with its sharp edges covered.

What trio-websocket 0.12 leaves to its users, and what is done about it here:

- A server that closes before it answered the handshake, or answers with a refusal that only the end of the stream
  ends, leaves ``wrap_client_stream`` waiting for ever. ``_Tap`` watches the stream and keeps the start of the answer.
- ``ping`` waits for ever when the connection ends, and ``aclose`` leaves the socket open once the peer has closed.
- The reader task can raise into the nursery it was given: a ping that comes while we close is enough. It runs in a
  task of its own here, which turns every error into the end of the wire.
- A frame over the limit closes the connection with 1009 from our side; it is reported as what it is.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Final

import trio
from trio_websocket import CloseReason, ConnectionClosed, ConnectionRejected, WebSocketConnection, wrap_client_stream
from wsproto.utilities import ProtocolError

from xtalgo.live.tokens import Token
from xtalgo.model.errors import XtalgoError
from xtalgo.protocol.wire import MAX_FRAME

__all__ = [
    "CLOSE_WITHIN",
    "DIAL_WITHIN",
    "DialFailed",
    "HandshakeRefused",
    "SocketWire",
    "WireClosed",
    "over_stream",
]

DIAL_WITHIN: Final = 15.0
"""Seconds for connecting and both handshakes. About 0.85 s were seen by others (observed in public client code)."""

CLOSE_WITHIN: Final = 2.0
"""Seconds that the peer gets to answer our close frame."""

_QUEUE = 256  # frames that may wait for the link; a full queue would stop the library's pongs
_CHUNK = 65536
_HEAD = 4096
_EXCERPT = 200
_NO_CLOSE_FRAME = 1006
_TOO_LONG = 1009
_STATUS_LINE = re.compile(rb"HTTP/\d\.\d (\d{3})\b")


class WireClosed(XtalgoError):
    """The connection has ended. ``code`` is None when no close frame came."""

    def __init__(self, code: int | None, reason: str) -> None:
        super().__init__(reason if code is None else f"{reason or 'closed'} (code {code})")
        self.code = code
        self.reason = reason


class HandshakeRefused(XtalgoError):
    """The server answered the handshake with another status than 101."""

    def __init__(self, status: int, body_excerpt: str = "") -> None:
        said = f": {body_excerpt}" if body_excerpt else ""
        super().__init__(f"the server refused the WebSocket with status {status}{said}")
        self.status = status
        self.body_excerpt = body_excerpt


class DialFailed(XtalgoError):
    """No connection: name not found, refused, certificate, time limit, or no usable answer."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text


class _Tap(trio.abc.Stream):
    """A stream that keeps the start of what comes and tells when it ended."""

    def __init__(self, stream: trio.abc.Stream, ended: Callable[[], None]) -> None:
        self.head = b""
        self._stream = stream
        self._ended = ended

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._ended()
            raise

    async def wait_send_all_might_not_block(self) -> None:
        await self._stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes | bytearray:
        try:
            data = await self._stream.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self._ended()
            raise
        if not data:
            self._ended()
        elif len(self.head) < _HEAD:
            self.head += bytes(data[:_HEAD])
        return data

    async def aclose(self) -> None:
        self._ended()
        await self._stream.aclose()


class SocketWire:
    """A ``Wire`` over a trio stream. Made by ``over_stream`` and ``dialer``."""

    def __init__(self, stream: trio.abc.Stream, token: Token | None, limit: int) -> None:
        self._stream = stream
        self._token = token
        self._limit = limit
        self._tap = _Tap(stream, self._ended)
        self._connection: WebSocketConnection | None = None
        self._error: BaseException | None = None
        self._leaving = False
        self._holder = trio.CancelScope()
        self._waits: set[trio.CancelScope] = set()
        self._settled = trio.Event()
        self._gone = trio.Event()

    # --- opening ---------------------------------------------------------------------------------------------------

    async def _open(self, host: str, target: str, within: float) -> None:
        """Shake hands; on any failure nothing is left open."""
        # The library's reader must live as long as the wire, which is neither as long as this call nor as any
        # nursery of the caller: a drain under a shield still needs it when everything around is cancelled.
        trio.lowlevel.spawn_system_task(self._hold, host, target)
        is_open = False
        try:
            with trio.move_on_after(within):
                await self._settled.wait()
            late = not self._settled.is_set()
            is_open = self._connection is not None
        finally:
            if not is_open:  # cancelled, also in the very moment in which it opened
                await self._destroy()
        if not is_open:
            raise self._refusal(within if late else None) from None

    async def _hold(self, host: str, target: str) -> None:
        """Runs the library's reader task until it ends or ``_holder`` is cancelled; never raises."""
        headers = [] if self._token is None else [self._token.header()]
        try:
            with self._holder:
                async with trio.open_nursery() as nursery:
                    self._connection = await wrap_client_stream(
                        nursery,
                        self._tap,  # type: ignore[arg-type]  # any stream will do
                        host,
                        target,
                        extra_headers=headers,
                        message_queue_size=_QUEUE,
                        max_message_size=self._limit,
                        receive_buffer_size=_CHUNK,
                    )
                    self._settled.set()
        except BaseExceptionGroup as group:
            errors, rest = group.split(Exception)
            self._error = errors and errors.exceptions[0]
            if rest is not None:
                raise rest from None
        except Exception as error:
            self._error = error
        finally:
            with trio.CancelScope(shield=True):
                await self._close_stream()
            self._gone.set()
            self._settled.set()
            self._release()

    def _ended(self) -> None:
        """The stream has ended; before the handshake is through nobody but us would notice."""
        if self._connection is None:
            self._holder.cancel()

    def _refusal(self, waited: float | None) -> HandshakeRefused | DialFailed:
        """Why there was no handshake."""
        error, head = self._error, self._tap.head
        if isinstance(error, ConnectionRejected):
            return HandshakeRefused(error.status_code, self._excerpt(error.body or b""))
        answer = _STATUS_LINE.match(head)
        if answer is not None and answer[1] != b"101":
            return HandshakeRefused(int(answer[1]), self._excerpt(head.partition(b"\r\n\r\n")[2]))
        if waited is not None:
            return DialFailed(f"the server didn't answer the WebSocket handshake within {waited:g} s")
        if error is not None or head:
            what = "" if error is None else f" ({self._hidden(str(error))})"
            return DialFailed(f"the answer to the WebSocket handshake can't be used: {self._excerpt(head)!r}{what}")
        return DialFailed("the server closed the connection before it answered the WebSocket handshake")

    def _excerpt(self, body: bytes) -> str:
        return self._hidden(" ".join(body[:_HEAD].decode("utf-8", "replace").split()))[:_EXCERPT]

    def _hidden(self, text: str) -> str:
        return text if self._token is None else self._token.hide(text)

    # --- in use ----------------------------------------------------------------------------------------------------

    @property
    def _open_connection(self) -> WebSocketConnection:
        assert self._connection is not None
        return self._connection

    async def receive(self) -> str | bytes:
        """The next frame. Raises WireClosed after the last one."""
        try:
            return await self._open_connection.get_message()
        except ConnectionClosed as closed:
            end = self._end(closed.reason)
        self._release()
        raise end from None

    async def send(self, text: str) -> None:
        """Write one frame. Raises WireClosed; ValueError, with nothing written, for text that is not Unicode."""
        try:
            await self._open_connection.send_message(text)
        except ConnectionClosed as closed:
            raise self._end(closed.reason) from None
        except ProtocolError:  # the peer's close frame was read, but not yet acted upon
            raise self._end(self._open_connection.closed) from None

    async def ping(self) -> None:
        """Returns when the pong came. Raises WireClosed."""
        connection = self._open_connection
        if not self._gone.is_set():
            with self._wait(trio.CancelScope()):
                try:
                    await connection.ping()
                except (ConnectionClosed, ProtocolError):
                    pass
                else:
                    return
        raise self._end(connection.closed) from None

    async def aclose(self) -> None:
        """Close, and wait at most ``CLOSE_WITHIN`` seconds for the peer; not at all when cancelled."""
        self._leaving = True
        try:
            if not self._gone.is_set():
                with (
                    self._wait(trio.move_on_after(CLOSE_WITHIN)),
                    suppress(ConnectionClosed, ProtocolError, trio.BrokenResourceError, trio.ClosedResourceError),
                ):
                    await self._open_connection.aclose()
        finally:
            await self._destroy()

    @contextmanager
    def _wait(self, scope: trio.CancelScope) -> Iterator[None]:
        """A wait that ends when the reader does."""
        self._waits.add(scope)
        try:
            with scope:
                yield
        finally:
            self._waits.discard(scope)

    def _release(self) -> None:
        for scope in self._waits:
            scope.cancel()

    async def _destroy(self) -> None:
        """End the reader and close the stream without a word to the peer. Doesn't wait for the network."""
        self._holder.cancel()
        with trio.CancelScope(shield=True):
            await self._close_stream()
            await self._gone.wait()

    async def _close_stream(self) -> None:
        with suppress(trio.BrokenResourceError, OSError):
            await trio.aclose_forcefully(self._stream)

    def _end(self, reason: CloseReason | None) -> WireClosed:
        if self._leaving:
            return WireClosed(None, "closed by us")
        if reason is None:
            return WireClosed(None, f"the connection broke: {self._hidden(str(self._error or 'no cause known'))}")
        text = self._hidden(reason.reason or "")
        if reason.code == _NO_CLOSE_FRAME:
            return WireClosed(None, text or "the connection ended without a close frame")
        if reason.code == _TOO_LONG and text.startswith("Exceeded maximum message size"):
            return WireClosed(_TOO_LONG, f"the server sent a frame of more than {self._limit} characters")
        return WireClosed(int(reason.code), text)


async def over_stream(
    stream: trio.abc.Stream,
    token: Token | str | None = None,
    *,
    host: str = "localhost",
    target: str = "/ws/stream",
    limit: int = MAX_FRAME,
    within: float = DIAL_WITHIN,
) -> SocketWire:
    """Shake hands as a client over an open stream, which the wire owns from here on.

    ``limit`` is the longest frame in characters; ``within`` is in seconds. Raises HandshakeRefused or DialFailed; the
    stream is closed then.
    """
    token = None if token is None else Token(token)  # under the same name: no plain text among the locals
    wire = SocketWire(stream, token, limit)
    await wire._open(host, target, within)
    return wire
