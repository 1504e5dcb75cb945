"""An open WebSocket, and how to get one."""

from __future__ import annotations

import socket
import ssl
import urllib.parse
from collections.abc import Awaitable, Callable
from typing import Final, Protocol, TypeAlias

import trio

from xtalgo.live.loopback import is_loopback
from xtalgo.live.sockets import (
    CLOSE_WITHIN,
    DIAL_WITHIN,
    DialFailed,
    HandshakeRefused,
    SocketWire,
    WireClosed,
    over_stream,
)
from xtalgo.live.tokens import Token
from xtalgo.model.errors import ConfigError

__all__ = [
    "CLOSE_WITHIN",
    "DIAL_WITHIN",
    "Dial",
    "DialFailed",
    "HandshakeRefused",
    "SocketWire",
    "Token",
    "Wire",
    "WireClosed",
    "dialer",
    "over_stream",
]

_IN_TARGET: Final = "/?%:@!$&'()*+,;=~-._"


class Wire(Protocol):
    """An open connection that carries text frames. Whoever got it must close it."""

    async def send(self, text: str) -> None:
        """Write one frame. Raises WireClosed; ValueError, with nothing written, for text that is not Unicode."""

    async def receive(self) -> str | bytes:
        """The next frame. Raises WireClosed after the last one."""

    async def ping(self) -> None:
        """Returns when the pong came. Raises WireClosed."""

    async def aclose(self) -> None:
        """Close, and wait at most ``CLOSE_WITHIN`` seconds for the peer; not at all when cancelled."""


Dial: TypeAlias = Callable[[], Awaitable[Wire]]
"""Opens a connection. Raises HandshakeRefused or DialFailed."""


def dialer(
    url: str, token: Token | str, *, ssl_context: ssl.SSLContext | None = None, within: float = DIAL_WITHIN
) -> Dial:
    """How to open a connection to ``url`` with ``token``.

    ``wss://`` goes anywhere, ``ws://`` only to this machine, since the token travels in a header. Anything else
    raises ConfigError here, before a byte is sent. ``within`` is in seconds, for everything together.
    """
    token = secret = Token(token)  # under the same name: no plain text among the locals
    host, port, target, secure = _parse(url)
    where = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    header = where.rpartition(":")[0] if port == (443 if secure else 80) else where
    if ssl_context is not None and not secure:
        raise ConfigError(f"{where}: an SSL context is for wss://, this is ws://")
    context = (ssl_context or ssl.create_default_context()) if secure else None

    async def dial() -> Wire:
        start = trio.current_time()
        stream: trio.abc.Stream | None = None
        with trio.move_on_after(within):
            stream = await _connect(host, port, where, context)
        if stream is None:
            raise DialFailed(f"no connection to {where} within {within:g} s")
        left = max(0.0, within - (trio.current_time() - start))
        return await over_stream(stream, secret, host=header, target=target, within=left)

    return dial


def _parse(url: str) -> tuple[str, int, str, bool]:
    """Host, port, target and whether TLS is used; ConfigError for what we don't dial."""
    try:
        parts = urllib.parse.urlsplit(url)
        port = parts.port
    except ValueError:
        raise ConfigError("the WebSocket URL can't be read: write it as wss://host/path") from None
    host = parts.hostname
    if parts.scheme not in ("ws", "wss") or not host:
        raise ConfigError(f"{parts.scheme}://{host or ''} is no WebSocket URL: write it as wss://host/path")
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"the WebSocket URL of {host} has a user or password in it: the token goes into XTRADE_TOKEN")
    secure = parts.scheme == "wss"
    if not secure and not is_loopback(host):
        raise ConfigError(
            f"ws://{host} would send the token unencrypted over the network: use wss://, ws:// is for this machine only"
        )
    target = parts.path or "/"
    if parts.query:
        target += "?" + parts.query
    return host, port or (443 if secure else 80), urllib.parse.quote(target, safe=_IN_TARGET), secure


async def _connect(host: str, port: int, where: str, context: ssl.SSLContext | None) -> trio.abc.Stream:
    try:
        plain = await trio.open_tcp_stream(host, port)
    except (OSError, UnicodeError) as error:
        raise DialFailed(_why(error, host, where)) from None
    if context is None:
        return plain
    secure = trio.SSLStream(plain, context, server_hostname=host, https_compatible=True)
    try:
        await secure.do_handshake()
    except BaseException as error:
        with trio.CancelScope(shield=True):
            await trio.aclose_forcefully(plain)
        if isinstance(error, trio.BrokenResourceError | OSError | ssl.CertificateError | ValueError):
            raise DialFailed(_why_tls(error, host, where)) from None
        raise
    return secure


def _why(error: BaseException, host: str, where: str) -> str:
    if isinstance(error, socket.gaierror | UnicodeError):
        return f"no address for {host!r}: check the name and this machine's network ({error})"
    cause: BaseException | None = error.__cause__
    while isinstance(cause, BaseExceptionGroup):
        cause = cause.exceptions[0]
    if isinstance(cause, OSError):
        error = cause
    return f"no connection to {where}: {getattr(error, 'strerror', None) or error}"


def _why_tls(error: BaseException, host: str, where: str) -> str:
    cause = error.__cause__ if isinstance(error, trio.BrokenResourceError) else error
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"the certificate of {host} can't be trusted: {cause.verify_message or cause}"
    if cause is None:
        return f"{where} closed the connection during the TLS handshake"
    why = getattr(cause, "reason", None) or getattr(cause, "strerror", None) or cause
    return f"no TLS connection to {where}: {why}"
