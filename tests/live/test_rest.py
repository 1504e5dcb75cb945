"""Calls over REST, and what each way to fail says of what became of them."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
from live.hosting import TOKEN, server_host

from xtalgo.live.host import Host
from xtalgo.live.rest import RETRIES, RestClient
from xtalgo.live.server import application
from xtalgo.model.errors import (
    AuthError,
    ConfigError,
    NotSent,
    OutcomeUnknown,
    RemoteProtocolError,
    VenueError,
    XtalgoError,
)

pytestmark = pytest.mark.trio

URL = "ws://localhost/ws/stream"
ORDER = {
    "account": "Sim101",
    "instrument": "ES",
    "action": "BUY",
    "orderType": "MARKET",
    "quantity": 1,
    "timeInForce": "GTC",
}


@asynccontextmanager
async def served(host: Host, token: str = TOKEN) -> AsyncIterator[RestClient]:
    """A client of a server in this process, without a socket."""
    transport = httpx.ASGITransport(application(host))
    async with host.running(), RestClient(URL, token, transport=transport) as client:
        yield client


def answering(*answers: httpx.Response | Exception) -> tuple[RestClient, list[httpx.Request]]:
    """A client whose server gives these answers, the last one again and again."""
    asked: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request)
        found = answers[min(len(asked), len(answers)) - 1]
        if isinstance(found, Exception):
            raise found
        return found

    return RestClient(URL, TOKEN, transport=httpx.MockTransport(answer)), asked


async def test_reads_and_orders(autojump_clock) -> None:
    async with served(server_host()) as client:
        accounts = await client.call("ListAccounts")
        assert [account.name for account in accounts.value] == ["Sim101"]
        placed = await client.call("PlaceOrder", **ORDER, orderId="a b/c")
        assert placed.value.order_id == "a b/c"
        await trio.sleep(2)
        order = await client.call("GetOrder", account="sim101", orderId="a b/c")
        assert order.value.filled == 1
        quote = await client.call("GetQuote", instrument="ES,ES 06-26")
        assert [row.instrument for row in quote.value] == ["ES 06-26", "ES 06-26"]
        (position,) = (await client.call("ListPositions", account="Sim101")).value
        assert position.quantity == 1
        closed = await client.call("Flatten", account="Sim101")
        assert len(closed.value.closed_positions) == 1


async def test_what_cannot_be_right_is_not_sent() -> None:
    client, asked = answering(httpx.Response(200, json={}))
    for call, args, said in (
        ("PlaceOrdr", {}, "did you mean PlaceOrder"),
        ("PlaceOrder", {"account": "Sim101"}, "is missing"),
        ("GetOrder", {"account": "Sim101", "orderId": "a", "qty": 1}, "no argument 'qty'"),
        ("FlattenEverything", {}, "everything=True"),
    ):
        with pytest.raises(ConfigError, match=said):
            await client.call(call, **args)
    assert asked == []
    await client.aclose()


async def test_a_wrong_token(autojump_clock) -> None:
    async with served(server_host(), "not-the-one") as client:
        with pytest.raises(AuthError, match="Unauthorized") as caught:
            await client.call("ListAccounts")
        assert "not-the-one" not in str(caught.value)


async def test_the_venue_refuses(autojump_clock) -> None:
    async with served(server_host()) as client:
        with pytest.raises(VenueError, match="invalid_account"):
            await client.call("GetAccount", account="Sim999")
        with pytest.raises(VenueError, match="not found or already terminal"):
            await client.call("Cancel", account="Sim101", orderId="nobody")


async def test_the_addon_is_away(autojump_clock) -> None:
    async with served(server_host({"addon_offline": [0, 1000]})) as client:
        with pytest.raises(OutcomeUnknown, match="not connected"):
            await client.call("PlaceOrder", **ORDER)
        with pytest.raises(VenueError, match="not connected"):
            await client.call("ListAccounts")


async def test_a_lost_answer_is_doubt_for_a_mutation_alone(autojump_clock) -> None:
    async with served(server_host({"lose_reply": 1.0})) as client:
        with pytest.raises(OutcomeUnknown, match="504"):
            await client.call("PlaceOrder", **ORDER)
        with pytest.raises(VenueError):
            await client.call("ListAccounts")


async def test_over_the_rate_limit_it_waits_and_asks_again(autojump_clock) -> None:
    async with served(server_host(entry_ms=0)) as client:
        began = trio.current_time()
        for _ in range(30):
            await client.call("ListAccounts")
        waited = trio.current_time() - began
        assert 2 < waited < 12
        before = trio.current_time()
        await client.call("PlaceOrder", **ORDER)
        assert trio.current_time() - before < 3


@pytest.mark.parametrize("after", [None, "2", "0.5", "Wed, 21 Oct 2026 07:28:00 GMT", "-3", "nan"])
@pytest.mark.parametrize("call", ["ListAccounts", "PlaceOrder"])
async def test_in_the_end_the_rate_limit_is_told(autojump_clock, call, after) -> None:
    headers = {} if after is None else {"Retry-After": after}
    client, asked = answering(httpx.Response(429, json={"error": "Rate limit exceeded"}, headers=headers))
    with pytest.raises(VenueError, match="Rate limit exceeded"):
        await client.call(call, **(ORDER if call == "PlaceOrder" else {}))
    assert len(asked) == RETRIES + 1
    assert trio.current_time() == pytest.approx(RETRIES * {"2": 2, "0.5": 0.5}.get(after, 1))
    await client.aclose()


async def test_a_wait_that_is_too_long_is_not_waited_for(autojump_clock) -> None:
    client, asked = answering(httpx.Response(429, json={"error": "x"}, headers={"Retry-After": "3600"}))
    with pytest.raises(VenueError):
        await client.call("ListAccounts")
    assert len(asked) == 1
    await client.aclose()


def _status(status: int, body: Any = None) -> Callable[[], httpx.Response]:
    return lambda: httpx.Response(status, json={"success": False, "error": "boom"} if body is None else body)


@pytest.mark.parametrize(
    ("make", "read", "mutation"),
    [
        (lambda: httpx.ConnectError("refused"), NotSent, NotSent),
        (lambda: httpx.ConnectTimeout(""), NotSent, NotSent),
        (lambda: httpx.PoolTimeout(""), NotSent, NotSent),
        (lambda: httpx.ReadTimeout(""), OutcomeUnknown, OutcomeUnknown),
        (lambda: httpx.WriteTimeout(""), OutcomeUnknown, OutcomeUnknown),
        (lambda: httpx.ReadError("reset"), OutcomeUnknown, OutcomeUnknown),
        (lambda: httpx.WriteError("reset"), OutcomeUnknown, OutcomeUnknown),
        (lambda: httpx.RemoteProtocolError("gone"), OutcomeUnknown, OutcomeUnknown),
        (_status(401), AuthError, AuthError),
        (_status(403), AuthError, AuthError),
        (_status(404), VenueError, VenueError),
        (_status(408), VenueError, OutcomeUnknown),
        (_status(500), VenueError, OutcomeUnknown),
        (_status(504), VenueError, OutcomeUnknown),
        (_status(400), VenueError, OutcomeUnknown),
        (_status(400, {"error": "Invalid request"}), VenueError, VenueError),
        (_status(400, {"error": "requireMarketPosition: not flat"}), VenueError, VenueError),
        (_status(200), VenueError, OutcomeUnknown),
        (_status(200, {"success": False, "error": "Invalid request: no"}), VenueError, VenueError),
        (_status(200, []), None, OutcomeUnknown),
        (_status(200, 7), RemoteProtocolError, OutcomeUnknown),
        (lambda: httpx.Response(200, text="<html>"), RemoteProtocolError, OutcomeUnknown),
        (lambda: httpx.Response(302, headers={"Location": "/x"}), RemoteProtocolError, OutcomeUnknown),
        (lambda: httpx.Response(302, json={"accounts": []}), RemoteProtocolError, OutcomeUnknown),
        (lambda: httpx.Response(502, text="<html>"), VenueError, OutcomeUnknown),
        (lambda: httpx.Response(404, text="<html>"), RemoteProtocolError, RemoteProtocolError),
    ],
)
async def test_every_way_to_fail(autojump_clock, make, read, mutation) -> None:
    for call, args, error in (("ListAccounts", {}, read), ("PlaceOrder", ORDER, mutation)):
        client, asked = answering(make())
        if error is None:
            await client.call(call, **args)
        else:
            with pytest.raises(XtalgoError) as caught:
                await client.call(call, **args)
            assert type(caught.value) is error
            assert str(caught.value).startswith(call)
        assert len(asked) == 1  # nothing is ever sent again on our own, but for the rate limit
        await client.aclose()


async def test_the_token_is_in_no_error() -> None:
    for answer in (httpx.ConnectError(f"x {TOKEN} y"), httpx.Response(400, json={"error": f"bad {TOKEN}"})):
        client, asked = answering(answer)
        with pytest.raises(XtalgoError) as caught:
            await client.call("ListAccounts")
        assert TOKEN not in str(caught.value)
        assert TOKEN not in repr(client.__dict__)
        assert asked[0].headers["authorization"] == f"Bearer {TOKEN}"
        await client.aclose()


async def test_an_answer_that_never_comes(autojump_clock) -> None:
    class Never(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            await trio.sleep_forever()
            raise AssertionError

    async with RestClient(URL, TOKEN, within=5, transport=Never()) as client:
        with pytest.raises(OutcomeUnknown, match="no answer in 10 s"):
            await client.call("PlaceOrder", **ORDER)


async def test_nobody_listens() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with RestClient(f"ws://127.0.0.1:{port}/ws/stream", TOKEN) as client:
        with pytest.raises(NotSent, match=f"no connection to http://127.0.0.1:{port}"):
            await client.call("ListAccounts")


@pytest.mark.parametrize(
    ("url", "base"),
    [
        ("wss://app.crosstrade.io/ws/stream", "https://app.crosstrade.io"),
        ("https://app.crosstrade.io/v1/api", "https://app.crosstrade.io"),
        ("wss://host:8443/ws/stream", "https://host:8443"),
        ("ws://127.0.0.1:8765/ws/stream", "http://127.0.0.1:8765"),
        ("http://localhost:8765", "http://localhost:8765"),
        ("ws://[::1]:8765/ws/stream", "http://[::1]:8765"),
    ],
)
async def test_base(url, base) -> None:
    async with RestClient(url, TOKEN) as client:
        assert client.base == base


@pytest.mark.parametrize(
    "url",
    ["ws://example.com/ws/stream", "http://10.0.0.1", "ftp://localhost", "localhost", "", "wss://", "https://a:b@c"],
)
async def test_urls_that_are_refused(url) -> None:
    with pytest.raises(ConfigError):
        RestClient(url, TOKEN)
    with pytest.raises(ConfigError, match="can't be read"):
        RestClient("https://host:port", TOKEN)
