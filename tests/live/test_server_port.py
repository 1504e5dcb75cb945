"""The simulated server on a real port of this machine."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import httpx
import pytest
import trio
from live.hosting import TOKEN, Client, server_host
from tables import START

from xtalgo.live.clock import WallClock
from xtalgo.live.host import Host
from xtalgo.live.loopback import is_loopback
from xtalgo.live.server import Address, serve
from xtalgo.live.wires import HandshakeRefused, WireClosed, dialer
from xtalgo.model.errors import ConfigError
from xtalgo.sim.outputs import Send

pytestmark = pytest.mark.trio

ORDER = b'{"instrument":"ES","action":"BUY","orderType":"MARKET","quantity":1,"timeInForce":"GTC"}'


@asynccontextmanager
async def served(host: Host | None = None, **faults: Any) -> AsyncIterator[Address]:
    """A server on a free port; calls are answered at once."""
    host = host or server_host(faults, entry_ms=0)
    async with trio.open_nursery() as nursery:
        await nursery.start(host.run)

        async def listen(*, task_status: trio.TaskStatus[Address]) -> None:
            await serve(host, port=0, task_status=task_status)

        yield await nursery.start(listen)
        nursery.cancel_scope.cancel()


async def dial(address: Address, token: str = TOKEN) -> Client:
    return Client(await dialer(address.ws, token)())


def http(address: Address, token: str = TOKEN) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"http://{address.host}:{address.port}",
        headers={"Authorization": f"Bearer {token}"},
        trust_env=False,
        timeout=10,
    )


async def pong(client: Client) -> None:
    await client.say("ping")
    while (await client.next()) != {"type": "pong"}:
        pass


async def test_one_port_for_both() -> None:
    async with served() as address:
        client = await dial(address)
        await client.say("subscribe", instruments=["ES"])
        assert (await client.next())["status"] == "subscribed"
        async with http(address) as rest:
            got = await rest.get("/v1/api/accounts")
            assert got.status_code == 200
            assert got.headers["content-type"] == "application/json"
            assert "server" not in got.headers
            placed = await rest.post("/v1/api/accounts/Sim101/orders/place", content=ORDER)
            assert placed.json()["success"] is True
        await client.say("rpc", id="a", api="ListOrders", args={"account": "Sim101"})
        assert len((await client.reply("a"))["data"]["orders"]) == 1
        await client.wire.aclose()


async def test_a_bad_token_is_401_with_a_body() -> None:
    async with served() as address:
        with pytest.raises(HandshakeRefused) as refused:
            await dial(address, "wrong")
        assert refused.value.status == 401
        assert json.loads(refused.value.body_excerpt)["error"].startswith("Unauthorized")
        async with http(address, "wrong") as rest:
            got = await rest.get("/v1/api/accounts")
            assert got.status_code == 401
            assert got.json()["success"] is False


async def test_wrong_paths() -> None:
    async with served() as address:
        async with http(address) as rest:
            near = await rest.get("/v1/api/acounts")
            assert near.status_code == 404
            assert near.json()["did_you_mean"] == "/v1/api/accounts"
            for method in ("GET", "POST", "DELETE"):
                far = await rest.request(method, "/shop")
                assert far.status_code == 404
                assert "did_you_mean" not in far.json()
            assert (await rest.get("/ws/stream")).status_code == 404
            assert (await rest.request("PATCH", "/v1/api/accounts")).status_code == 404
        with pytest.raises(HandshakeRefused) as refused:
            await dialer(address.ws.replace("stream", "elsewhere"), TOKEN)()
        assert refused.value.status == 404


async def test_the_names_in_a_path_arrive_as_they_were_meant() -> None:
    host = server_host(entry_ms=0, accounts=("Sim 1/ü",))
    async with served(host) as address, http(address) as rest:
        got = await rest.get("/v1/api/accounts/sim%201%2F%C3%BC")
        assert got.status_code == 200
        assert got.json()["name"] == "Sim 1/ü"
        quote = await rest.get("/v1/api/market/quote", params={"instrument": "ES 06-26"})
        assert quote.json()["instrument"] == "ES 06-26"


async def test_the_budget_is_one_for_both_roads() -> None:
    async with served() as address:
        client = await dial(address)
        for number in range(15):
            await client.say("rpc", id=str(number), api="ListAccounts")
        await client.reply("14")
        async with http(address) as rest:
            statuses = [(await rest.get("/v1/api/accounts")) for _ in range(12)]
        refused = [got for got in statuses if got.status_code == 429]
        assert refused
        assert int(refused[0].headers["retry-after"]) >= 1
        assert refused[0].json() == {"error": "Rate limit exceeded"}
        await client.wire.aclose()


async def test_408_when_the_addon_is_away() -> None:
    async with served(addon_offline=[0, 1000]) as address, http(address) as rest:
        got = await rest.get("/v1/api/accounts")
        assert got.status_code == 408
        assert got.json()["success"] is False


async def test_a_takeover() -> None:
    async with served() as address:
        first, second = await dial(address), await dial(address)
        closed = await first.end()
        assert (closed.code, closed.reason) == (4001, "Session active elsewhere")
        await pong(second)
        await first.wire.aclose()
        await second.wire.aclose()


async def test_abuse() -> None:
    async with served() as address:
        client = await dial(address)
        for number in range(40):
            try:
                await client.say("rpc", id=str(number), api="ListAccounts")
            except WireClosed:
                break
        assert (await client.end()).code == 1008
        await client.wire.aclose()


@pytest.mark.parametrize(
    ("faults", "code"), [({"drop_at": 0.15}, None), ({"close_at": [[0.15, 1012, "restart"]]}, 1012)]
)
async def test_scripted_ends(faults, code) -> None:
    async with served(**faults) as address:
        client = await dial(address)
        await pong(client)
        closed = await client.end()
        assert closed.code == code
        await client.wire.aclose()
        again = await dial(address)
        await pong(again)
        await again.wire.aclose()


async def test_a_frame_of_5_mb_ends_its_connection_alone() -> None:
    async with served() as address:
        client = await dial(address)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_write, client, "x" * 5_000_000)
            assert (await client.end()).code == 1009
        await client.wire.aclose()
        again = await dial(address)
        await pong(again)
        await again.wire.aclose()


async def _write(client: Client, text: str) -> None:
    with suppress(WireClosed):
        await client.wire.send(text)


async def test_a_body_of_5_mb_is_refused() -> None:
    async with served() as address, http(address) as rest:
        got = await rest.post("/v1/api/accounts/Sim101/orders/place", content=b" " * 5_000_000)
        assert got.status_code == 413
        assert (await rest.get("/v1/api/accounts")).status_code == 200


@pytest.mark.parametrize(
    "noise",
    [
        b"\x00\xff\x16\x03\x01",
        b"GET / HTTP/9.9\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nnoise",
        b"GET /ws/stream HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n",
        b"GET /v1/api/\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"POST /v1/api/accounts HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nab",
        b"GET /v1/api/accounts HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\n\r\n",
    ],
)
async def test_noise_does_no_harm(noise, capfd) -> None:
    async with served() as address:
        stream = await trio.open_tcp_stream(address.host, address.port)
        await stream.send_all(noise)
        await stream.send_eof()
        with trio.move_on_after(0.2):
            while await stream.receive_some():
                pass
        await stream.aclose()
        async with http(address) as rest:
            assert (await rest.get("/v1/api/accounts")).status_code == 200
    assert capfd.readouterr().out == ""


async def test_ending_does_not_wait_for_a_client_that_reads_nothing(capfd) -> None:
    """What hypercorn writes is shielded from cancellation."""
    host = server_host(entry_ms=0)
    with trio.fail_after(5):
        async with served(host) as address:
            client = await dial(address)
            (session,) = host._sessions.values()
            # More than the buffers of both ends hold; the client's library stops reading at 256 frames.
            for _ in range(300):
                session.put(Send(session.number, "x" * 50_000))
            await trio.sleep(0.1)
            assert session._waiting
        await client.wire.aclose()
    out, err = capfd.readouterr()
    assert out == ""
    assert err == ""


async def test_a_silent_server_prints_nothing(capfd) -> None:
    async with served() as address:
        client = await dial(address)
        await pong(client)
        async with http(address) as rest:
            await rest.get("/v1/api/accounts")
    closed = await client.end()
    assert closed.code is None
    await client.wire.aclose()
    out, err = capfd.readouterr()
    assert (out, err) == ("", "")


async def test_addresses_that_cannot_be_listened_at() -> None:
    host = server_host()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"127.0.0.1:{port} is in use: end what listens there"):
            await serve(host, port=port)
    with pytest.raises(ConfigError, match="this machine has no such address"):
        await serve(host, bind="192.0.2.1", port=0)
    with pytest.raises(ConfigError, match="no address to listen at"):
        await serve(host, bind="no such name.invalid", port=0)
    with pytest.raises(ConfigError, match="a port is a whole number"):
        await serve(host, port=99_999)


async def test_addresses() -> None:
    assert Address("127.0.0.1", 8765).ws == "ws://127.0.0.1:8765/ws/stream"
    assert Address("::1", 8765).rest == "http://[::1]:8765/v1/api"
    assert [is_loopback(name) for name in ("localhost", "127.0.0.5", "::1", "0.0.0.0", "example.com")] == [
        True,
        True,
        True,
        False,
        False,
    ]


async def test_the_clock_is_the_hosts() -> None:
    assert server_host()._clock.now() >= START
    assert isinstance(server_host()._clock, WallClock)


async def test_a_client_that_reads_nothing_is_cut_off_by_a_takeover(monkeypatch) -> None:
    monkeypatch.setattr("xtalgo.live.transports.CLOSE_WITHIN", 0.1)
    host = server_host(entry_ms=0)
    async with served(host) as address:
        first = await dial(address)
        (session,) = host._sessions.values()
        for _ in range(300):
            session.put(Send(session.number, "x" * 50_000))
        await trio.sleep(0.05)
        second = await dial(address)
        await pong(second)
        assert session.is_over
        assert session._waiting  # its close frame can't get through
        with trio.fail_after(5):
            while session._waiting:  # noqa: ASYNC110
                await trio.sleep(0.02)
        await pong(second)
        await first.wire.aclose()
        await second.wire.aclose()
