"""Servers for one connection each, over memory streams, and a sink that remembers."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import trio
import trio.testing
from trio_websocket import ConnectionClosed, WebSocketConnection, wrap_server_stream
from wsproto.utilities import ProtocolError

from xtalgo.live.wires import Wire, over_stream

TOKEN = "s3cr3t-t0ken"
START = 1_778_680_800_000_000_000

Script = Callable[[trio.abc.Stream], Awaitable[None]]
Handler = Callable[[WebSocketConnection], Awaitable[None]]


def session(handler: Handler) -> Script:
    """Accept the handshake, do what the handler does, then drop the stream without a close frame."""

    async def script(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream)
            ws = await request.accept()
            with suppress(ConnectionClosed):
                await handler(ws)
            nursery.cancel_scope.cancel()

    return script


def closing(code: int, reason: str = "", after: float = 0.0) -> Script:
    """Accept, and close with a code and reason."""

    async def handler(ws: WebSocketConnection) -> None:
        await trio.sleep(after)
        await ws.aclose(code, reason)

    return session(handler)


def dropping(after: float = 0.0) -> Script:
    """Accept, and go away without a close frame."""

    async def handler(ws: WebSocketConnection) -> None:
        await trio.sleep(after)

    return session(handler)


def refusing(status: int, body: bytes = b"") -> Script:
    """Answer the handshake with another status."""

    async def script(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream)
            await request.reject(status, body=body)
            nursery.cancel_scope.cancel()

    return script


def answering(data: bytes, *, then_close: bool = True) -> Script:
    """Send these bytes as the answer to whatever comes."""

    async def script(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await stream.send_all(data)
        if not then_close:
            await trio.sleep_forever()

    return script


async def mute(stream: trio.abc.Stream) -> None:
    """Accept the handshake; from then on neither read nor write: a half-open connection."""
    async with trio.open_nursery() as nursery:
        request = await wrap_server_stream(nursery, stream)
        await request.accept()
        nursery.cancel_scope.cancel()
    await trio.sleep_forever()


async def deaf(stream: trio.abc.Stream) -> None:
    """Never answer the handshake."""
    await trio.sleep_forever()


async def gone(stream: trio.abc.Stream) -> None:
    """Close at once."""


async def forever(ws: WebSocketConnection) -> None:
    """Take everything and say nothing."""
    while True:
        await ws.get_message()


steady = session(forever)


class Watched(trio.abc.Stream):
    """A stream that knows whether it was closed, and can tell when reading found its end."""

    def __init__(self, stream: trio.abc.Stream, ended: Callable[[], None] = lambda: None) -> None:
        self.stream = stream
        self.is_closed = False
        self.ended = ended

    async def send_all(self, data) -> None:
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes=None):
        try:
            data = await self.stream.receive_some(max_bytes)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            self.ended()
            raise
        if not data:
            self.ended()
        return data

    async def aclose(self) -> None:
        self.is_closed = True
        await self.stream.aclose()


async def serve(script: Script, stream: trio.abc.Stream) -> None:
    """Play a script; whatever happens, the stream is closed after it."""
    try:
        await script(stream)
    except* (trio.BrokenResourceError, trio.ClosedResourceError, ConnectionClosed, ProtocolError):
        pass  # the client went away, or a ping of its came while we were closing
    finally:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(stream)


class Peers:
    """Each dial meets the next script; the last one goes on for ever."""

    def __init__(self, nursery: trio.Nursery, *scripts: Script, pair=trio.testing.memory_stream_pair) -> None:
        self.nursery = nursery
        self.scripts = scripts
        self.pair = pair
        self.at: list[float] = []
        """Times of the dials."""
        self.streams: list[Watched] = []

    async def dial(self) -> Wire:
        script = self.scripts[min(len(self.at), len(self.scripts) - 1)]
        self.at.append(trio.current_time())
        ours, theirs = self.pair()
        stream = Watched(ours)
        self.streams.append(stream)
        self.nursery.start_soon(serve, script, theirs)
        return await over_stream(stream, TOKEN)

    @property
    def waits(self) -> list[float]:
        """Spans between the dials."""
        return [later - earlier for earlier, later in zip(self.at, self.at[1:], strict=False)]

    @property
    def left_open(self) -> int:
        return sum(not stream.is_closed for stream in self.streams)


class Told:
    """A sink that writes down what it is told and can act on it."""

    def __init__(self) -> None:
        self.ups: list[tuple[int, int]] = []
        self.downs: list[tuple[int, str, tuple[str, ...], float | None]] = []
        self.frames: list[tuple[str | bytes, int]] = []
        self.stale: list[tuple[str, str]] = []
        self.log: list[str] = []
        self.on_up: Callable[[], None] = lambda: None
        self.on_frame: Callable[[str | bytes], None] = lambda text: None
        self.on_down: Callable[[], None] = lambda: None

    def link_up(self, now: int, generation: int) -> None:
        self.ups.append((now, generation))
        self.log.append(f"up {generation}")
        self.on_up()

    def frame(self, text: str | bytes, now: int, generation: int) -> None:
        self.frames.append((text, generation))
        self.log.append(f"frame {generation}")
        self.on_frame(text)

    def link_down(self, now: int, generation: int, reason: str, unsent: Sequence[str], wait: float | None) -> None:
        self.downs.append((generation, reason, tuple(unsent), wait))
        self.log.append(f"down {generation}")
        self.on_down()

    def unsent(self, now: int, key: str, reason: str) -> None:
        self.stale.append((key, reason))
        self.log.append("unsent")
