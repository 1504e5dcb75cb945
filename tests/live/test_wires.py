"""An open WebSocket: handshakes, ends, limits, and a token that nobody sees."""

from __future__ import annotations

import pickle
import socket
import ssl
import traceback
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial

import pytest
import trio
import trio.testing
import trustme
from live.peers import TOKEN, Watched, answering, closing, deaf, dropping, forever, gone, mute, refusing, serve, session
from trio_websocket import WebSocketConnection, WebSocketRequest, wrap_server_stream

from xtalgo.live import wires
from xtalgo.live.sockets import CLOSE_WITHIN, SocketWire
from xtalgo.live.tokens import SecretBytes, Token
from xtalgo.live.wires import DialFailed, HandshakeRefused, WireClosed, dialer, over_stream
from xtalgo.model.errors import ConfigError

Script = Callable[[trio.abc.Stream], Awaitable[None]]


@asynccontextmanager
async def wired(script: Script, **how) -> AsyncIterator[tuple[SocketWire, Watched]]:
    """A wire to a server; on leaving, nothing of it may be left."""
    ours, theirs = trio.testing.memory_stream_pair()
    stream = Watched(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, script, theirs)
        wire = await over_stream(stream, TOKEN, **how)
        try:
            yield wire, stream
        finally:
            await wire.aclose()
            assert stream.is_closed
            nursery.cancel_scope.cancel()


async def refused(script: Script, **how) -> HandshakeRefused | DialFailed:
    """The error of a handshake that can't succeed."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    ours, theirs = trio.testing.memory_stream_pair()
    stream = Watched(ours)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(serve, script, theirs)
        with pytest.raises((HandshakeRefused, DialFailed)) as caught:
            await over_stream(stream, TOKEN, **how)
        nursery.cancel_scope.cancel()
    assert stream.is_closed
    assert trio.lowlevel.current_statistics().tasks_living == tasks
    no_token_in(caught.value)
    return caught.value


def no_token_in(error: BaseException) -> None:
    """Neither in its texts nor in a traceback that shows every local variable."""
    shown = traceback.TracebackException.from_exception(error, capture_locals=True)
    frames = [
        frame
        for frame in shown.stack
        if frame.name not in ("no_token_in", "refused") and "/tests/" not in frame.filename
    ]
    shown.stack = traceback.StackSummary.from_list(frames)
    text = "".join(shown.format()) + repr(error) + str(error) + repr(vars(error))
    assert TOKEN not in text


# --- the handshake ---------------------------------------------------------------------------------------------------


@pytest.mark.trio
async def test_the_handshake_carries_the_token_and_frames_go_both_ways(autojump_clock) -> None:
    seen: list[WebSocketRequest] = []

    async def script(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            request = await wrap_server_stream(nursery, stream)
            seen.append(request)
            ws = await request.accept()
            for _ in range(2):
                await ws.send_message("echo " + await ws.get_message())
            await ws.send_message(b"bytes")
            await trio.sleep_forever()

    async with wired(script, host="example.test:8080", target="/ws/stream?x=1") as (wire, _):
        await wire.send("one")
        await wire.send("zw\u00f6lf")
        assert await wire.receive() == "echo one"
        assert await wire.receive() == "echo zw\u00f6lf"
        assert await wire.receive() == b"bytes"
    assert seen[0].path == "/ws/stream?x=1"
    assert (b"authorization", b"Bearer " + TOKEN.encode()) in seen[0].headers


@pytest.mark.trio
@pytest.mark.parametrize(
    ("body", "excerpt"), [(b"", ""), (b'{"error":\n "no"}', '{"error": "no"}'), (b"x" * 900, "x" * 200)]
)
async def test_a_refusal_has_its_status_and_the_start_of_its_body(body: bytes, excerpt: str, autojump_clock) -> None:
    error = await refused(refusing(401, body))
    assert isinstance(error, HandshakeRefused)
    assert (error.status, error.body_excerpt) == (401, excerpt)


@pytest.mark.trio
async def test_a_refusal_that_only_the_end_of_the_stream_ends(autojump_clock) -> None:
    error = await refused(answering(b"HTTP/1.1 401 Unauthorized\r\nConnection: close\r\n\r\nbad token"))
    assert isinstance(error, HandshakeRefused)
    assert (error.status, error.body_excerpt) == (401, "bad token")
    assert trio.current_time() == 0


@pytest.mark.trio
async def test_a_refusal_whose_body_never_ends(autojump_clock) -> None:
    answer = b"HTTP/1.1 403 Forbidden\r\nContent-Length: 99\r\n\r\nblocked"
    error = await refused(answering(answer, then_close=False))
    assert isinstance(error, HandshakeRefused)
    assert (error.status, error.body_excerpt) == (403, "blocked")
    assert trio.current_time() == 15


@pytest.mark.trio
async def test_a_server_that_echoes_the_token(autojump_clock) -> None:
    error = await refused(refusing(401, f"token {TOKEN} is unknown".encode()))
    assert isinstance(error, HandshakeRefused)
    assert error.body_excerpt == "token … is unknown"


@pytest.mark.trio
async def test_a_server_that_closes_at_once(autojump_clock) -> None:
    error = await refused(gone)
    assert "before it answered" in str(error)
    assert trio.current_time() == 0


@pytest.mark.trio
async def test_a_server_that_never_answers(autojump_clock) -> None:
    error = await refused(deaf)
    assert "within 15 s" in str(error)
    assert trio.current_time() == 15


@pytest.mark.trio
@pytest.mark.parametrize(
    "answer",
    [
        b"SSH-2.0-OpenSSH_9\r\n",
        b"\x15\x03\x01\x00\x02\x02\x46",
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: bm9wZQ==\r\n\r\n",
        b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
        f"what is {TOKEN}\r\n".encode(),
    ],
)
@pytest.mark.parametrize("then_close", [True, False])
async def test_an_answer_that_is_no_handshake(answer: bytes, then_close: bool, autojump_clock) -> None:
    error = await refused(answering(answer, then_close=then_close))
    assert isinstance(error, DialFailed)
    assert "can't be used" in error.text or "within 15 s" in error.text


# --- ends ------------------------------------------------------------------------------------------------------------


async def end_of(wire: SocketWire) -> WireClosed:
    try:
        while True:
            await wire.receive()
    except WireClosed as closed:
        no_token_in(closed)
        return closed


@pytest.mark.trio
@pytest.mark.parametrize(("code", "reason"), [(1000, ""), (1008, "policy"), (4001, "Session active elsewhere")])
async def test_a_close_frame_gives_code_and_reason(code: int, reason: str, autojump_clock) -> None:
    async with wired(closing(code, reason)) as (wire, _):
        end = await end_of(wire)
        assert (end.code, end.reason) == (code, reason)
        for again in (wire.receive(), wire.send("x"), wire.ping()):
            with pytest.raises(WireClosed) as caught:
                await again
            assert (caught.value.code, caught.value.reason) == (code, reason)


@pytest.mark.trio
async def test_no_close_frame_gives_no_code(autojump_clock) -> None:
    async with wired(dropping()) as (wire, _):
        end = await end_of(wire)
        assert end.code is None
        assert "without a close frame" in end.reason


@pytest.mark.trio
async def test_frames_before_the_close_still_come(autojump_clock) -> None:
    async def handler(ws: WebSocketConnection) -> None:
        for number in range(50):
            await ws.send_message(str(number))
        await ws.aclose(1001, "restart")

    async with wired(session(handler)) as (wire, _):
        await trio.sleep(1)
        assert [await wire.receive() for _ in range(50)] == [str(number) for number in range(50)]
        assert (await end_of(wire)).code == 1001


@pytest.mark.trio
async def test_a_frame_over_the_limit_ends_the_wire_and_says_so(autojump_clock) -> None:
    async def handler(ws: WebSocketConnection) -> None:
        await ws.send_message("x" * 1000)
        await ws.send_message("x" * 1001)
        await forever(ws)

    async with wired(session(handler), limit=1000) as (wire, _):
        assert len(await wire.receive()) == 1000
        end = await end_of(wire)
        assert (end.code, end.reason) == (1009, "the server sent a frame of more than 1000 characters")


@pytest.mark.trio
async def test_bytes_that_are_no_frame_end_the_wire(autojump_clock) -> None:
    async def script(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            await (await wrap_server_stream(nursery, stream)).accept()
            await stream.send_all(b"\xff\xff\xff\xff")
            await trio.sleep_forever()

    async with wired(script) as (wire, _):
        assert (await end_of(wire)).reason


@pytest.mark.trio
async def test_text_that_is_not_unicode_is_not_written(autojump_clock) -> None:
    async def handler(ws: WebSocketConnection) -> None:
        await ws.send_message(await ws.get_message())
        await trio.sleep_forever()

    async with wired(session(handler)) as (wire, _):
        with pytest.raises(ValueError, match="surrogates"):
            await wire.send("\ud800")
        await wire.send("good")
        assert await wire.receive() == "good"


@pytest.mark.trio
async def test_a_ping_returns_with_its_pong(autojump_clock) -> None:
    async with wired(session(forever)) as (wire, _):
        for _ in range(3):
            await wire.ping()


@pytest.mark.trio
async def test_a_ping_ends_with_the_connection(autojump_clock) -> None:
    async def script(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            await (await wrap_server_stream(nursery, stream)).accept()
            nursery.cancel_scope.cancel()
        await trio.sleep(7)

    async with wired(script) as (wire, _):
        with pytest.raises(WireClosed):
            await wire.ping()
        assert trio.current_time() == 7


@pytest.mark.trio
async def test_a_ping_ends_with_the_close_frame_too(autojump_clock) -> None:
    async def script(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            await (await wrap_server_stream(nursery, stream)).accept()
            nursery.cancel_scope.cancel()
        await trio.sleep(5)
        await stream.send_all(b"\x88\x02\x03\xe9")  # close, 1001; the stream stays open
        await trio.sleep_forever()

    async with wired(script) as (wire, _), trio.open_nursery() as nursery:
        nursery.start_soon(end_of, wire)
        with pytest.raises(WireClosed) as caught:
            await wire.ping()
        assert caught.value.code == 1001
        assert trio.current_time() == 5


@pytest.mark.trio
async def test_closing_waits_two_seconds_at_most(autojump_clock) -> None:
    async with wired(mute) as (wire, stream):
        await wire.aclose()
        assert trio.current_time() == CLOSE_WITHIN
        assert stream.is_closed
        await wire.aclose()
        assert trio.current_time() == CLOSE_WITHIN
        assert (await end_of(wire)).reason == "closed by us"


@pytest.mark.trio
async def test_closing_a_wire_that_the_peer_has_closed_frees_the_socket_at_once(autojump_clock) -> None:
    async def handler(ws: WebSocketConnection) -> None:
        with trio.move_on_after(5):
            await ws.aclose(1001)
        await trio.sleep_forever()

    async with wired(session(handler)) as (wire, stream):
        await end_of(wire)
        start = trio.current_time()
        await wire.aclose()
        assert stream.is_closed
        assert trio.current_time() == start


@pytest.mark.trio
async def test_a_ping_of_the_peer_while_we_close(autojump_clock) -> None:
    async def script(stream: trio.abc.Stream) -> None:
        async with trio.open_nursery() as nursery:
            await (await wrap_server_stream(nursery, stream)).accept()
            nursery.cancel_scope.cancel()
        await trio.sleep(1)
        await stream.send_all(b"\x89\x00")  # a ping, sent before our close frame was read
        await trio.sleep_forever()

    async with wired(script) as (wire, stream):
        await trio.sleep(0.5)
        await wire.aclose()
        assert stream.is_closed
        assert trio.current_time() <= 0.5 + CLOSE_WITHIN


@pytest.mark.trio
async def test_a_cancelled_close_waits_for_nobody(autojump_clock) -> None:
    async with wired(mute) as (wire, stream):
        with trio.CancelScope() as scope:
            scope.cancel()
            await wire.aclose()
        assert stream.is_closed
        assert trio.current_time() == 0


@pytest.mark.trio
async def test_a_wire_works_on_under_a_shield_when_all_around_is_cancelled(autojump_clock) -> None:
    async def handler(ws: WebSocketConnection) -> None:
        while True:
            await ws.send_message(await ws.get_message())

    async with trio.open_nursery() as peer:
        with trio.CancelScope() as scope:
            ours, theirs = trio.testing.memory_stream_pair()
            peer.start_soon(serve, session(handler), theirs)
            wire = await over_stream(ours, TOKEN)
            scope.cancel()
            with trio.CancelScope(shield=True):
                await wire.send("last words")
                assert await wire.receive() == "last words"
                await wire.aclose()


@pytest.mark.trio
async def test_a_handshake_may_be_cancelled_at_every_step(autojump_clock) -> None:
    base = trio.lowlevel.current_statistics().tasks_living
    opened = 0
    for steps in range(40):
        ours, theirs = trio.testing.memory_stream_pair()
        stream = Watched(ours)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve, session(forever), theirs)
            with trio.CancelScope() as scope:
                nursery.start_soon(_cancel_after, steps, scope)
                wire = await over_stream(stream, TOKEN)
                opened += 1
                with trio.CancelScope(shield=True):
                    await wire.aclose()
            assert stream.is_closed
            nursery.cancel_scope.cancel()
        assert trio.lowlevel.current_statistics().tasks_living == base
    assert 0 < opened < 40


async def _cancel_after(steps: int, scope: trio.CancelScope) -> None:
    for _ in range(steps):
        await trio.lowlevel.checkpoint()
    scope.cancel()


# --- dialling --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("url", "hint"),
    [
        ("ws://app.crosstrade.io/ws/stream", "unencrypted"),
        ("ws://192.168.0.7:80/ws", "unencrypted"),
        ("ws://127.evil.test/", "unencrypted"),
        ("ws://localhost.evil.test/", "unencrypted"),
        ("ws://[fe80::1]/", "unencrypted"),
        ("ws://0.0.0.0/", "unencrypted"),
        ("https://app.crosstrade.io/ws/stream", "wss://host/path"),
        ("app.crosstrade.io/ws/stream", "wss://host/path"),
        ("wss:///ws", "wss://host/path"),
        ("wss://host:99999/ws", "wss://host/path"),
        ("wss://[::1/ws", "wss://host/path"),
        ("", "wss://host/path"),
        (f"wss://me:{TOKEN}@host/ws", "XTRADE_TOKEN"),
        (f"wss://{TOKEN}@host/ws", "XTRADE_TOKEN"),
    ],
)
def test_a_url_that_is_not_dialled(url: str, hint: str) -> None:
    with pytest.raises(ConfigError, match=hint) as caught:
        dialer(url, TOKEN)
    assert TOKEN not in str(caught.value)


@pytest.mark.parametrize(
    "url", ["ws://127.0.0.1:1/", "ws://127.9.8.7/", "ws://[::1]:80/ws", "ws://localhost", "wss://a.test"]
)
def test_a_url_that_may_be_dialled(url: str) -> None:
    assert callable(dialer(url, TOKEN))


def test_an_ssl_context_is_no_use_without_tls() -> None:
    with pytest.raises(ConfigError, match="wss://"):
        dialer("ws://localhost/", TOKEN, ssl_context=ssl.create_default_context())


@pytest.mark.parametrize("text", ["", " \n", "to ken", "tok\nen", "tok\x00en", "tök", "tok\u200ben"])
def test_a_token_that_cant_stand_in_a_header(text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        dialer("wss://a.test/", text)
    assert text.strip() == "" or text not in str(caught.value)


def test_a_token_shows_itself_nowhere() -> None:
    token = Token(f" {TOKEN}\r\n")
    name, value = token.header()
    assert (name, bytes(value)) == (b"Authorization", b"Bearer " + TOKEN.encode())
    assert isinstance(value, SecretBytes)
    for shown in (
        repr(token),
        str(token),
        f"{token}",
        repr([token.header()]),
        str(value),
        f"{value!r}",
        repr(vars(type(token))),
    ):
        assert TOKEN not in shown
    with pytest.raises(TypeError, match="not pickled"):
        pickle.dumps(token)
    assert token == Token(TOKEN)
    assert hash(token) == hash(Token(token))
    assert token != Token("other")


class NoName(trio.abc.HostnameResolver):
    """A resolver that knows nobody."""

    async def getaddrinfo(self, *args, **kwargs):
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def getnameinfo(self, *args, **kwargs):
        raise NotImplementedError


@pytest.mark.trio
async def test_a_name_that_has_no_address() -> None:
    trio.socket.set_custom_hostname_resolver(NoName())
    with pytest.raises(DialFailed, match=r"no address for 'nowhere\.test'") as caught:
        await dialer("wss://nowhere.test/ws", TOKEN)()
    no_token_in(caught.value)


class Slow(NoName):
    """A resolver that never answers."""

    async def getaddrinfo(self, *args, **kwargs):
        await trio.sleep_forever()


@pytest.mark.trio
async def test_connecting_has_a_time_limit(autojump_clock) -> None:
    trio.socket.set_custom_hostname_resolver(Slow())
    with pytest.raises(DialFailed, match=r"no connection to nowhere\.test:443 within 15 s"):
        await dialer("wss://nowhere.test/ws", TOKEN)()
    assert trio.current_time() == 15


@pytest.mark.trio
async def test_connecting_and_shaking_hands_share_the_limit(autojump_clock, monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(*_: object) -> trio.abc.Stream:
        await trio.sleep(10)
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(serve, deaf, theirs)
        return ours

    monkeypatch.setattr(wires, "_connect", connect)
    async with trio.open_nursery() as nursery:
        with pytest.raises(DialFailed, match="handshake within 5 s"):
            await dialer("wss://a.test/ws", TOKEN)()
        assert trio.current_time() == 15
        nursery.cancel_scope.cancel()


@pytest.mark.trio
@pytest.mark.parametrize(
    ("url", "host", "path"),
    [
        ("wss://A.test", b"a.test", "/"),
        ("wss://a.test:8443/ws/stream?x=1&y=a b", b"a.test:8443", "/ws/stream?x=1&y=a%20b"),
        ("ws://[::1]/w\u00e4%20s", b"[::1]", "/w%C3%A4%20s"),
        ("ws://127.0.0.1:443/", b"127.0.0.1:443", "/"),
    ],
)
async def test_the_url_on_the_wire(
    url: str, host: bytes, path: str, autojump_clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def connect(*_: object) -> trio.abc.Stream:
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(serve, listen, theirs)
        return ours

    async def listen(stream: trio.abc.Stream) -> None:
        seen.append(bytes(await stream.receive_some()))

    seen: list[bytes] = []
    monkeypatch.setattr(wires, "_connect", connect)
    async with trio.open_nursery() as nursery:
        with pytest.raises(DialFailed):
            await dialer(url, TOKEN)()
    first, second, *_ = seen[0].split(b"\r\n")
    assert first == b"GET " + path.encode() + b" HTTP/1.1"
    assert second == b"Host: " + host


@pytest.mark.trio
async def test_a_port_where_nobody_listens() -> None:
    (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
    port = listener.socket.getsockname()[1]
    await listener.aclose()
    with pytest.raises(DialFailed, match=f"no connection to 127.0.0.1:{port}: .*refused") as caught:
        await dialer(f"ws://127.0.0.1:{port}/", TOKEN)()
    no_token_in(caught.value)


@asynccontextmanager
async def tls_server(name: str) -> AsyncIterator[tuple[str, trustme.CA]]:
    """An echo behind TLS on this machine, for a certificate of ``name``."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(name).configure_cert(context)

    async def greet(ws: WebSocketConnection) -> None:
        await ws.send_message(ws.path or "")
        await forever(ws)

    async def handle(stream: trio.abc.Stream) -> None:
        # A client that doesn't trust the certificate breaks the stream in the middle of the handshake.
        with trio.CancelScope() as scope:
            await serve(session(greet), Watched(stream, ended=scope.cancel))

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_ssl_over_tcp, handle, 0, context, host="127.0.0.1"))
        port = listener.transport_listener.socket.getsockname()[1]
        yield f"wss://localhost:{port}/ws/stream", authority
        nursery.cancel_scope.cancel()


@pytest.mark.trio
async def test_over_real_tls() -> None:
    async with tls_server("localhost") as (url, authority):
        context = ssl.create_default_context()
        authority.configure_trust(context)
        wire = await dialer(url, TOKEN, ssl_context=context)()
        assert await wire.receive() == "/ws/stream"
        await wire.ping()
        await wire.aclose()


@pytest.mark.trio
@pytest.mark.parametrize(
    ("name", "trusted", "why"), [("localhost", False, "self.signed|local issuer"), ("other.test", True, "localhost")]
)
async def test_a_certificate_that_cant_be_trusted_is_named(name: str, trusted: bool, why: str) -> None:
    async with tls_server(name) as (url, authority):
        context = ssl.create_default_context()
        if trusted:
            authority.configure_trust(context)
        with pytest.raises(DialFailed, match=f"certificate of localhost can't be trusted: .*({why})") as caught:
            await dialer(url, TOKEN, ssl_context=context)()
        no_token_in(caught.value)


@pytest.mark.trio
async def test_tls_to_aserver_without_tls() -> None:
    async def plain(stream: trio.abc.Stream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        await stream.aclose()

    async with trio.open_nursery() as nursery:
        (listener,) = await nursery.start(partial(trio.serve_tcp, plain, 0, host="127.0.0.1"))
        port = listener.socket.getsockname()[1]
        with pytest.raises(DialFailed, match=f"no TLS connection to localhost:{port}: "):
            await dialer(f"wss://localhost:{port}/", TOKEN)()
        nursery.cancel_scope.cancel()
