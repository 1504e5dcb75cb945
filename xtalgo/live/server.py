"""A simulated server on a port: the socket and REST on one address, with Starlette on hypercorn.

Hypercorn's own ``serve`` is not used, only its handling of one connection, since three things are needed that it
doesn't give: the port that was picked, an end without a close frame (the stream under a socket is closed), and a
shutdown that doesn't wait for a client that reads no more.
"""

from __future__ import annotations

import errno
import socket
from contextlib import aclosing
from contextvars import ContextVar
from typing import Any, Final

import trio
from attrs import define, frozen
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response as HttpResponse
from starlette.routing import Route, WebSocketRoute
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from xtalgo.live.host import Host
from xtalgo.live.transports import MOST_FRAME, PATH, bearer, carry
from xtalgo.model.errors import ConfigError
from xtalgo.sim.gateway import PREFIX
from xtalgo.sim.outputs import Rejection

__all__ = ["Address", "application", "serve"]

_STREAM: Final[ContextVar[trio.SocketStream | None]] = ContextVar("stream", default=None)
"""The stream under the connection that a task of hypercorn's works for."""


_MOST_PASSED: Final = 32 * MOST_FRAME
"""Bytes of a body that are read past: most clients don't look for an answer before they are done."""


@frozen
class Address:
    """Where a server listens."""

    host: str
    port: int

    @property
    def _where(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def ws(self) -> str:
        """URL of the socket."""
        return f"ws://{self._where}{PATH}"

    @property
    def rest(self) -> str:
        """URL under which the REST routes are."""
        return f"http://{self._where}{PREFIX.rstrip('/')}"


# --- the application -----------------------------------------------------------------------------------------------


def application(host: Host) -> Starlette:
    """The ASGI application of a host that runs."""

    async def stream(websocket: WebSocket) -> None:
        found = host.connect(bearer(websocket.headers.get("authorization")))
        if isinstance(found, Rejection):
            await websocket.send_denial_response(_json(found.status, found.body))
            return
        try:
            await websocket.accept()
            await carry(found, _WebSocketPeer(websocket, _STREAM.get()))
        except WebSocketDisconnect:
            pass  # it went away during the handshake
        finally:
            found.closed()

    async def no_stream(websocket: WebSocket) -> None:
        await websocket.send_denial_response(_json(404, _not_found(websocket.url.path)))

    return Starlette(
        routes=[
            WebSocketRoute(PATH, stream),
            WebSocketRoute("/{path:path}", no_stream),
            Route(PREFIX + "{path:path}", _Api(host)),
            Route("/{path:path}", _Nowhere()),
        ]
    )


def _json(status: int, body: bytes, headers: dict[str, str] | None = None) -> HttpResponse:
    return HttpResponse(body, status, headers, "application/json")


def _not_found(path: str) -> bytes:
    if path == PATH:
        return b'{"success":false,"error":"Not found: this is the WebSocket\'s address"}'
    return b'{"success":false,"error":"Not found: the API is under %b, the socket at %b"}' % (
        PREFIX.encode(),
        PATH.encode(),
    )


class _Nowhere:
    """Whatever is not the API. A class, since Starlette limits functions to some methods."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _json(404, _not_found(scope["path"]))(scope, receive, send)


@define(eq=False)
class _Api:
    _host: Host

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        request = Request(scope, receive)
        try:
            body = await self._body(request)
        except ClientDisconnect:
            return
        if body is None:
            error = b'{"success":false,"error":"Invalid request: the body is over %d bytes"}' % MOST_FRAME
            await _json(413, error, {"Connection": "close"})(scope, receive, send)
            return
        raw = scope.get("raw_path") or scope["path"].encode()
        answer = await self._host.request(
            bearer(request.headers.get("authorization")),
            request.method,
            raw.decode("ascii", "replace"),
            dict(request.query_params),
            body,
        )
        headers = {name: value for name, value in answer.headers.items() if name != "Content-Type"}
        await _json(answer.status, answer.body, headers)(scope, receive, send)

    @staticmethod
    async def _body(request: Request) -> bytes | None:
        """The body; None for one that is too long."""
        body = bytearray()
        size = 0
        async with aclosing(request.stream()) as parts:
            async for part in parts:
                size += len(part)
                if size <= MOST_FRAME:
                    body += part
                elif size > _MOST_PASSED:
                    break
        return bytes(body) if size <= MOST_FRAME else None


@define(eq=False)
class _WebSocketPeer:
    _websocket: WebSocket
    _stream: trio.SocketStream | None

    async def send(self, text: str) -> None:
        try:
            await self._websocket.send({"type": "websocket.send", "text": text})
        except WebSocketDisconnect:
            await trio.lowlevel.checkpoint()

    async def receive(self) -> str | None:
        message: Any = await self._websocket.receive()
        if message["type"] == "websocket.disconnect":
            return None
        text: str | None = message.get("text")
        return text if text is not None else message["bytes"].decode("utf-8", "replace")

    async def close(self, code: int, reason: str) -> None:
        try:
            await self._websocket.close(code, reason)
        except WebSocketDisconnect:
            await trio.lowlevel.checkpoint()

    def abort(self) -> None:
        if self._stream is not None:
            self._stream.socket.close()


# --- the port ------------------------------------------------------------------------------------------------------


async def serve(
    host: Host,
    *,
    bind: str = "127.0.0.1",
    port: int = 8765,
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve a host, which must be running, until cancelled. The address is reported through ``nursery.start``.

    Port 0 picks a free one. Raises ConfigError for an address that can't be listened at.
    """
    listeners = await _listen(bind, port)
    config = Config()
    config.include_server_header = False
    config.websocket_max_message_size = MOST_FRAME
    wrapped = wrap_app(application(host), config.wsgi_max_body_size, "asgi")  # type: ignore[arg-type]
    context = WorkerContext(None)
    streams: set[trio.SocketStream] = set()

    async def handle(stream: trio.SocketStream) -> None:
        streams.add(stream)
        _STREAM.set(stream)
        try:
            await TCPServer(wrapped, config, context, ConnectionState({}), stream)  # type: ignore[arg-type]
        except* Exception:
            pass  # what a client does to its connection ends that connection; errors of the server are the host's
        finally:
            streams.discard(stream)
            stream.socket.close()

    async def release() -> None:
        # Hypercorn shields what it writes, and a client may never read it: its stream has to go first.
        try:
            await trio.sleep_forever()
        finally:
            for stream in streams:
                stream.socket.close()

    bound = listeners[0].socket.getsockname()
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(release)
            task_status.started(Address(bound[0], bound[1]))
            await trio.serve_listeners(handle, listeners)
    finally:
        for listener in listeners:
            listener.socket.close()


async def _listen(bind: str, port: int) -> list[trio.SocketListener]:
    where = f"[{bind}]:{port}" if ":" in bind else f"{bind}:{port}"
    if not 0 <= port <= 65_535:  # the system would take it modulo 65 536
        raise ConfigError(f"can't listen at {where}: a port is a whole number from 0, which picks a free one, to 65535")
    try:
        listeners = await trio.open_tcp_listeners(port, host=bind)
    except socket.gaierror as error:
        raise ConfigError(f"{bind!r} is no address to listen at: {error.strerror or error}") from None
    except OSError as error:
        raise ConfigError(_why_not(error, where)) from None
    if port == 0:  # each of several would get a port of its own
        for listener in listeners[1:]:
            listener.socket.close()
        del listeners[1:]
    return listeners


def _why_not(error: OSError, where: str) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{where} is in use: end what listens there, or choose another port (0 picks a free one)"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{where}: this machine has no such address; 127.0.0.1 is for this machine alone"
    return f"can't listen at {where}: {error.strerror or error}"
