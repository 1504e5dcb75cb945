"""From a host's session to a transport: frames both ways, close codes, and ends without one.

``carry`` does it for anything with the four methods of a ``Peer``; ``serve_stream`` is a WebSocket server over any trio
stream, for tests and benchmarks. ``live.server`` is the one on a port.
"""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING, Final, Protocol

import trio
from attrs import define
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream
from wsproto.utilities import ProtocolError

from xtalgo.sim.outputs import Close, Drop, Rejection, Send

if TYPE_CHECKING:
    from xtalgo.live.host import Host, Session

__all__ = ["CLOSE_WITHIN", "MOST_FRAME", "PATH", "Peer", "bearer", "carry", "serve_stream"]

PATH: Final = "/ws/stream"
"""Where the socket is (documented)."""

MOST_FRAME: Final = 2**20
"""Characters of the longest frame, and bytes of the longest body, that a client may send. A longer frame closes its
connection with 1009."""

CLOSE_WITHIN: Final = 2.0
"""Seconds that a client gets to take a close frame and answer it."""

_HANDSHAKE_WITHIN: Final = 15.0


def bearer(header: str | bytes | None) -> str | None:
    """The token in an Authorization header; None where there is none."""
    if header is None:
        return None
    text = header.decode("latin-1") if isinstance(header, bytes) else header
    scheme, _, token = text.strip().partition(" ")
    return token.strip() if scheme.lower() == "bearer" else None


class Peer(Protocol):
    """The transport's end of a connection that is open."""

    async def send(self, text: str) -> None:
        """Write a frame. Does nothing when the client is gone."""

    async def receive(self) -> str | None:
        """The next frame; None when the client is gone."""

    async def close(self, code: int, reason: str) -> None:
        """Write a close frame."""

    def abort(self) -> None:
        """End the transport at once, without a close frame. Whatever waits for it ends."""


async def carry(session: Session, peer: Peer) -> None:
    """Carry frames both ways until the connection is over."""
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_hurry, session, peer)
            nursery.start_soon(_read, session, peer, nursery.cancel_scope)
            while (output := await session.receive()) is not None:
                match output:
                    case Send():
                        await peer.send(output.text)
                    case Close():
                        await peer.close(output.code, output.reason)
                        break
                    case Drop():
                        peer.abort()
                        nursery.cancel_scope.cancel()
                        break
    except BaseException:
        peer.abort()  # first: nobody shall make up a close frame for us
        raise
    finally:
        session.closed()


async def _read(session: Session, peer: Peer, scope: trio.CancelScope) -> None:
    # Also after the server is done with it: what the client still writes must not be in the way of its close frame.
    while (text := await peer.receive()) is not None:
        session.feed(text)
    session.closed()
    scope.cancel()


async def _hurry(session: Session, peer: Peer) -> None:
    """A client that reads no more must not keep a connection that is over."""
    await session.over()
    await trio.sleep(CLOSE_WITHIN)
    peer.abort()


@define(eq=False)
class _StreamPeer:
    _ws: WebSocketConnection
    _scope: trio.CancelScope

    async def send(self, text: str) -> None:
        with suppress(ConnectionClosed, ProtocolError):
            await self._ws.send_message(text)

    async def receive(self) -> str | None:
        try:
            message = await self._ws.get_message()
        except ConnectionClosed:
            return None
        return message if isinstance(message, str) else message.decode("utf-8", "replace")

    async def close(self, code: int, reason: str) -> None:
        with suppress(ConnectionClosed, ProtocolError):
            await self._ws.aclose(code, reason)

    def abort(self) -> None:
        self._scope.cancel()


async def serve_stream(host: Host, stream: trio.abc.Stream) -> None:
    """Serve one client over an open stream, to its end; the stream is closed then.

    A wrong token is answered with the server's status and JSON body, another path than ``PATH`` with 404.
    """
    try:
        async with trio.open_nursery() as nursery:
            await _shake_hands(host, stream, nursery)
            nursery.cancel_scope.cancel()
    except* (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionClosed, ProtocolError):
        pass  # the client went away
    finally:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(stream)


async def _shake_hands(host: Host, stream: trio.abc.Stream, nursery: trio.Nursery) -> None:
    request = None
    with trio.move_on_after(_HANDSHAKE_WITHIN):
        request = await wrap_server_stream(nursery, stream, max_message_size=MOST_FRAME, receive_buffer_size=65_536)
    if request is None:
        return
    json = [(b"Content-Type", b"application/json")]
    if request.path.partition("?")[0] != PATH:
        await request.reject(404, extra_headers=json, body=b'{"success":false,"error":"Not found"}')
        return
    header = next((value for name, value in request.headers if name.lower() == b"authorization"), None)
    found = host.connect(bearer(header))
    if isinstance(found, Rejection):
        await request.reject(found.status, extra_headers=json, body=found.body)
        return
    try:
        websocket = await request.accept()
        await carry(found, _StreamPeer(websocket, nursery.cancel_scope))
    finally:
        found.closed()
