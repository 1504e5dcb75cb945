"""CrossTrade's functions over REST: one call, one request, and an error that says whether it was carried out."""

from __future__ import annotations

import ssl
import uuid
from typing import Any, Final, Self
from urllib.parse import urlsplit

import httpx
import trio

from xtalgo.client.functions import Functions
from xtalgo.live.loopback import is_loopback
from xtalgo.live.tokens import Token
from xtalgo.model.errors import (
    AuthError,
    ConfigError,
    NotSent,
    OutcomeUnknown,
    RemoteProtocolError,
    VenueError,
    XtalgoError,
)
from xtalgo.protocol.checks import check_args
from xtalgo.protocol.outcomes import Cause, Outcome, diagnose
from xtalgo.protocol.replies import Answer, Unusable
from xtalgo.protocol.routes import Request, request_of
from xtalgo.protocol.rpc import TABLE, RpcSpec

__all__ = ["RestClient"]

WITHIN: Final = 20.0
"""Seconds for a call. Five identical reads once took up to 16 s (observed, another route)."""

RETRIES: Final = 3
"""How often a call that was refused for the rate limit is made again."""

LONGEST_WAIT: Final = 30.0
"""Seconds of ``Retry-After`` above which the refusal is told instead."""

_USUAL_WAIT: Final = 1.0
_EXCERPT: Final = 200
_NEVER_LEFT: Final = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)


class RestClient(Functions):
    """A client of the REST API: every function as a typed method, one request each.

    ``url`` may be that of the socket: ``wss://host/ws/stream`` means ``https://host``.

    Without TLS it talks to this machine only, since the token travels in a header; anything else raises ConfigError.
    ``within`` is in seconds. ``transport`` and ``verify`` are httpx's, for tests and for a CA of one's own.

    To be used as an async context manager, or closed with ``aclose``.
    """

    def __init__(
        self,
        url: str,
        token: Token | str,
        *,
        within: float = WITHIN,
        transport: httpx.AsyncBaseTransport | None = None,
        verify: ssl.SSLContext | bool = True,
    ) -> None:
        token = self._token = Token(token)  # under the same name: no plain text among the locals
        self.base = _base(url)
        """Scheme, host and port, without a path."""
        self._within = within
        secure = self.base.startswith("https:")
        self._client = httpx.AsyncClient(
            base_url=self.base,
            headers=[token.header()],
            timeout=within,
            transport=transport,
            verify=verify if secure else False,
            trust_env=secure,  # a proxy is for the way out, not for this machine
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_error: object) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Close the connections."""
        await self._client.aclose()

    async def call(self, api: str, /, *, everything: bool = False, **args: Any) -> Answer[Any]:
        """Call a function by the API's name, with the API's argument names, and return all that it answers.

        ``everything=True`` says that a function that acts on every account is meant to. Raises ConfigError for what
        can't be right, before anything is sent; NotSent when no connection was made; AuthError for the token;
        VenueError for what was refused, in the venue's words; OutcomeUnknown when it may have been carried out;
        RemoteProtocolError for an answer to a read that makes no sense. Over the rate limit a call is made again up
        to ``RETRIES`` times, mutations too: it is documented that it was not carried out.
        """
        spec = TABLE[api]
        request = request_of(spec, check_args(spec.name, args, everything=everything))
        for retry in range(RETRIES + 1):
            response = await self._send(spec, request)
            wait = _wait(response)
            if response.status_code != 429 or retry == RETRIES or wait > LONGEST_WAIT:
                break
            await trio.sleep(wait)
        return self._read(spec, response)

    def new_order_id(self) -> str:
        """An order id that nobody has used."""
        return uuid.uuid4().hex

    async def _send(self, spec: RpcSpec, request: Request) -> httpx.Response:
        lost = ""
        try:
            # httpx counts each step for itself; together they may take twice as long, not for ever.
            with trio.move_on_after(2 * self._within):
                return await self._client.request(
                    request.method, request.path, params=request.query or None, json=request.body
                )
            lost = f"no answer in {2 * self._within:g} s"
        except _NEVER_LEFT as error:
            why = self._told(error, "no connection")
            raise NotSent(f"{spec.name}: no connection to {self.base}: {why}") from None
        except httpx.TimeoutException:
            lost = f"no answer in {self._within:g} s"
        except httpx.HTTPError as error:
            lost = self._told(error, "the connection broke")
        raise OutcomeUnknown(f"{spec.name}: it was sent, and its answer is missing: {lost}") from None

    def _told(self, error: Exception, otherwise: str) -> str:
        return self._token.hide(" ".join(str(error).split())) or otherwise

    def _read(self, spec: RpcSpec, response: httpx.Response) -> Answer[Any]:
        status = response.status_code
        answer = spec.read(response.content)
        if isinstance(answer, Answer) and 200 <= status < 300:
            return answer
        if isinstance(answer, Answer):
            answer = Unusable("it has a status of its own")
        if 200 <= status < 300 and answer.error is None:
            text = f"{spec.name}: an answer of no use: {answer.why}"
            raise OutcomeUnknown(text) if spec.mutates else RemoteProtocolError(text)
        raise self._refusal(spec, status, answer, response)

    def _refusal(self, spec: RpcSpec, status: int, answer: Unusable, response: httpx.Response) -> XtalgoError:
        """The error that a failure is."""
        said = answer.error or f"status {status} {response.text[:_EXCERPT]}"
        if answer.error is not None and answer.detail is not None:
            said = f"{answer.error}: {answer.detail}"
        text = self._token.hide(f"{spec.name}: {' '.join(said.split())}")
        if status in (401, 403):
            return AuthError(f"{text} (status {status}: check the token in XTRADE_TOKEN and the plan)")
        verdict = diagnose(spec, answer.error, status, answer.detail)
        if verdict.outcome is Outcome.UNKNOWN:
            return OutcomeUnknown(f"{text} (status {status}: it may have been carried out)")
        if verdict.cause is Cause.RATE_LIMIT:
            return VenueError(f"{text} (not carried out; ask less often)")
        if answer.error is None and 300 <= status < 500:
            return RemoteProtocolError(f"{text} (no answer of the API: check the URL {self.base})")
        return VenueError(text)


def _wait(response: httpx.Response) -> float:
    """Seconds that the server asks to wait."""
    try:
        seconds = float(response.headers.get("Retry-After", _USUAL_WAIT))
    except ValueError:  # a date
        return _USUAL_WAIT
    return seconds if seconds >= 0 else _USUAL_WAIT


def _base(url: str) -> str:
    """Scheme, host and port of the REST API behind a URL."""
    try:
        parts = urlsplit(url.strip())
        port = parts.port
    except ValueError:
        raise ConfigError(
            "the URL of the API can't be read: write it as https://host or wss://host/ws/stream"
        ) from None
    host = parts.hostname
    scheme = {"ws": "http", "wss": "https", "http": "http", "https": "https"}.get(parts.scheme)
    if scheme is None or not host:
        raise ConfigError(
            f"{parts.scheme}://{host or ''} is no URL of the API: write https://host or wss://host/ws/stream"
        )
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"the URL of {host} has a user or password in it: the token goes into XTRADE_TOKEN")
    if scheme == "http" and not is_loopback(host):
        raise ConfigError(
            f"{parts.scheme}://{host} would send the token unencrypted over the network: use https:// or wss://"
        )
    where = f"[{host}]" if ":" in host else host
    return f"{scheme}://{where}" if port is None else f"{scheme}://{where}:{port}"
