"""The actor around a simulated server: on time, in order, and the same for every transport."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
import trio
import trio.testing
from live.hosting import BOOK, TOKEN, Client, server_host
from live.peers import Watched
from tables import ES, START, table

from xtalgo.live import host as hosting
from xtalgo.live.host import Session
from xtalgo.live.transports import CLOSE_WITHIN, bearer, carry, serve_stream
from xtalgo.live.wires import HandshakeRefused, WireClosed, over_stream
from xtalgo.sim.feeds import TableFeed
from xtalgo.sim.outputs import Rejection

pytestmark = pytest.mark.trio


async def test_quotes_and_replies_come_when_they_are_due(nursery, autojump_clock) -> None:
    host = server_host()
    async with host.running():
        client = await Client.dial(nursery, host)
        await client.say("subscribe", instruments=["ES"])
        await client.say("rpc", id="a", api="ListAccounts")
        assert (await client.next()) == {"status": "subscribed", "instruments": ["ES"]}
        await client.reply("a")
        while len(client.stamps("marketData")) < 3:
            await client.next()
        # The quote of second 0 was before the subscription.
        assert client.stamps("marketData") == [1.0, 2.0, 3.0]
        (at,) = [at for at, frame in client.frames if frame.get("id") == "a"]
        assert at == 0.25


async def test_an_input_that_makes_something_due_earlier_wakes_the_clock(nursery, autojump_clock) -> None:
    host = server_host(entry_ms=10)
    async with host.running():
        client = await Client.dial(nursery, host)
        await trio.sleep(0.5)  # the host sleeps until second 1
        before = trio.current_time()
        await client.say("rpc", id="a", api="ListAccounts")
        await client.reply("a")
        assert trio.current_time() - before == pytest.approx(0.01)


async def test_a_wrong_token_is_refused_at_the_handshake(nursery, autojump_clock) -> None:
    host = server_host()
    async with host.running():
        for token in ("wrong", None):
            with pytest.raises(HandshakeRefused) as refused:
                await Client.dial(nursery, host, token)
            assert refused.value.status == 401
            assert json.loads(refused.value.body_excerpt)["success"] is False
        with pytest.raises(HandshakeRefused) as refused:
            await Client.dial(nursery, host, target="/elsewhere")
        assert refused.value.status == 404


async def test_a_scripted_refusal_of_the_handshake(nursery, autojump_clock) -> None:
    host = server_host({"reject_handshake": [503, 1]})
    async with host.running():
        with pytest.raises(HandshakeRefused) as refused:
            await Client.dial(nursery, host)
        assert refused.value.status == 503
        await Client.dial(nursery, host)


async def test_the_newer_connection_wins(nursery, autojump_clock) -> None:
    host = server_host()
    async with host.running():
        first = await Client.dial(nursery, host)
        second = await Client.dial(nursery, host)
        closed = await first.end()
        assert (closed.code, closed.reason) == (4001, "Session active elsewhere")
        await second.say("ping")
        assert await second.next() == {"type": "pong"}


@pytest.mark.parametrize(
    ("faults", "code", "after"),
    [
        ({"close_at": [[3, 1012, "restart"]]}, 1012, 3.0),
        ({"takeover_at": 2.5}, 4001, 2.5),
        ({"drop_at": 4}, None, 4.0),
        ({"drop_every": 5}, None, 5.0),
    ],
)
async def test_scripted_ends(nursery, autojump_clock, faults, code, after) -> None:
    host = server_host(faults)
    async with host.running():
        client = await Client.dial(nursery, host)
        closed = await client.end()
        assert closed.code == code
        assert trio.current_time() - client.began == pytest.approx(after)
        again = await Client.dial(nursery, host)
        await again.say("ping")
        assert await again.next() == {"type": "pong"}


async def test_abuse_ends_with_1008(nursery, autojump_clock) -> None:
    host = server_host()
    async with host.running():
        client = await Client.dial(nursery, host)
        for number in range(31):
            await client.say("rpc", id=str(number), api="ListAccounts")
        closed = await client.end()
        assert closed.code == 1008
        refused = [frame for _, frame in client.frames if frame.get("error") == "Rate limit exceeded"]
        assert len(refused) == 10


async def test_a_client_that_goes_away_is_forgotten(nursery, autojump_clock) -> None:
    host = server_host()
    async with host.running():
        client = await Client.dial(nursery, host)
        await client.say("subscribe", instruments=[ES])
        await client.next()
        await client.wire.aclose()
        await trio.sleep(3)
        again = await Client.dial(nursery, host)
        await trio.sleep(3)
        await again.say("ping")
        assert await again.next() == {"type": "pong"}  # and no quotes: the server keeps nothing


async def test_a_frame_that_is_too_long_ends_its_connection_alone(nursery, autojump_clock) -> None:
    host = server_host()
    async with host.running():
        client = await Client.dial(nursery, host)
        nursery.start_soon(_send, client, "x" * 5_000_000)
        closed = await client.end()
        assert closed.code == 1009
        again = await Client.dial(nursery, host)
        await again.say("ping")
        assert await again.next() == {"type": "pong"}


async def _send(client: Client, text: str) -> None:
    with suppress(WireClosed):
        await client.wire.send(text)


async def test_rest_is_answered_when_it_is_due(nursery, autojump_clock) -> None:
    host = server_host()
    async with host.running():
        before = trio.current_time()
        answer = await host.request(TOKEN, "GET", "/v1/api/accounts", {}, b"")
        assert answer.status == 200
        assert trio.current_time() - before == pytest.approx(0.25)
        refused = await host.request("wrong", "GET", "/v1/api/accounts", {}, b"")
        assert refused.status == 401


async def test_a_call_that_is_given_up_is_carried_out_all_the_same(nursery, autojump_clock) -> None:
    host = server_host()
    async with host.running():
        body = b'{"instrument":"ES","action":"BUY","orderType":"MARKET","quantity":1,"timeInForce":"GTC","orderId":"a"}'
        with trio.move_on_after(0.1) as scope:
            await host.request(TOKEN, "POST", "/v1/api/accounts/Sim101/orders/place", {}, body)
        assert scope.cancelled_caught
        await trio.sleep(3)
        answer = await host.request(TOKEN, "GET", "/v1/api/accounts/Sim101/orders/a", {}, b"")
        assert json.loads(answer.body)["orderState"] == "Filled"


class Stuck:
    """A client that has stopped to read."""

    def __init__(self) -> None:
        self.aborted = trio.Event()

    async def send(self, text: str) -> None:
        await self.aborted.wait()

    async def receive(self) -> str | None:
        await self.aborted.wait()
        return None

    async def close(self, code: int, reason: str) -> None:
        await self.aborted.wait()

    def abort(self) -> None:
        self.aborted.set()


async def test_a_client_that_reads_nothing_is_dropped(nursery, autojump_clock, monkeypatch) -> None:
    monkeypatch.setattr(hosting, "MOST_WAITING", 2_000)
    host = server_host()
    async with host.running():
        session = host.connect(TOKEN)
        assert isinstance(session, Session)
        session.feed(json.dumps({"action": "subscribe", "instruments": ["ES"]}))
        peer = Stuck()
        await carry(session, peer)
        assert peer.aborted.is_set()
        # A frame has some 90 characters: gone after 2 000 of them, and a moment for what was under way.
        assert 15 < trio.current_time() < 35
        assert session.is_over


async def test_a_client_that_reads_nothing_does_not_hold_up_a_takeover(nursery, autojump_clock) -> None:
    host = server_host()
    async with host.running():
        session = host.connect(TOKEN)
        assert isinstance(session, Session)
        peer = Stuck()
        nursery.start_soon(carry, session, peer)
        await trio.sleep(1)
        before = trio.current_time()
        client = await Client.dial(nursery, host)
        await client.say("ping")
        assert await client.next() == {"type": "pong"}
        assert trio.current_time() == before
        await peer.aborted.wait()
        assert trio.current_time() - before == pytest.approx(CLOSE_WITHIN)


async def test_cancellation_closes_every_stream(autojump_clock) -> None:
    host = server_host()
    async with host.running(), trio.open_nursery() as nursery:
        ours, theirs = trio.testing.memory_stream_pair()
        watched = Watched(theirs)
        nursery.start_soon(serve_stream, host, watched)
        await over_stream(ours, TOKEN)
        await trio.sleep(1)
        nursery.cancel_scope.cancel()
    assert watched.is_closed
    await ours.aclose()


async def test_a_client_that_never_speaks_is_not_kept(autojump_clock) -> None:
    host = server_host()
    async with host.running():
        ours, theirs = trio.testing.memory_stream_pair()
        watched = Watched(theirs)
        await serve_stream(host, watched)
        assert watched.is_closed
        assert trio.current_time() == pytest.approx(15)
        await ours.aclose()


async def test_an_error_inside_the_server_ends_the_host(nursery, autojump_clock, monkeypatch) -> None:
    host = server_host()

    def broken(*_args: Any) -> None:
        raise RuntimeError("a bug")

    monkeypatch.setattr(host.server, "receive", broken)
    session = host.connect(TOKEN)
    assert isinstance(session, Session)
    session.feed("x")
    with pytest.raises(RuntimeError, match="a bug"):
        await host.run()
    monkeypatch.setattr(host.server, "connect", broken)
    found = host.connect(TOKEN)
    assert isinstance(found, Rejection)
    assert found.status == 500


async def test_the_same_inputs_give_the_same_frames(autojump_clock) -> None:
    async def once() -> list[tuple[float, Any]]:
        host = server_host({"delay_reply": [0.5, 1.0], "double_reply": 0.3, "seed": 4})
        async with trio.open_nursery() as nursery, host.running():
            client = await Client.dial(nursery, host)
            await client.say("subscribe", instruments=["ES"])
            await client.say("streamPnl", enabled=True)
            for number in range(10):
                await client.say("rpc", id=str(number), api="ListPositions", args={"account": "Sim101"})
                await trio.sleep(0.5)
            with trio.move_on_after(3):
                await client.end()
            nursery.cancel_scope.cancel()
        return client.frames

    first, second = await once(), await once()
    assert len(first) > 25
    assert first == second


@pytest.mark.parametrize(
    ("header", "token"),
    [
        (None, None),
        ("Bearer abc", "abc"),
        ("bearer  abc ", "abc"),
        (b"Bearer abc", "abc"),
        ("Basic abc", None),
        ("Bearer", ""),
        ("", None),
    ],
)
async def test_bearer(header, token) -> None:
    assert bearer(header) == token


async def test_the_clock_begins_where_it_is_told(autojump_clock) -> None:
    host = server_host()
    async with host.running():
        await trio.sleep(2.5)
        assert host.server.due == START + 3_000_000_000


async def test_a_server_that_is_too_fast_waits_for_its_client(nursery, autojump_clock, monkeypatch) -> None:
    monkeypatch.setattr(hosting, "AHEAD", 2_000)
    monkeypatch.setattr(hosting, "MOST_WAITING", 20_000)
    feed = TableFeed(table([100.0] * 2_000), BOOK, start=START + 500_000_000, speed=1_000_000)
    host = server_host(feed=feed)
    async with host.running():
        client = await Client.dial(nursery, host)
        await client.say("subscribe", instruments=["ES"])
        assert (await client.next())["status"] == "subscribed"
        autojump_clock.jump(2)  # the whole recording is due at once
        while len(client.stamps("marketData")) < 2_000:
            await client.next()
            if len(client.frames) == 500:
                await client.say("rpc", id="a", api="ListAccounts")  # it doesn't make the server leap
        await client.reply("a")
        await client.say("ping")
        while await client.next() != {"type": "pong"}:
            pass
    assert trio.current_time() - client.began == pytest.approx(2)  # a call that made it leap would be answered later
