"""The client of the socket in virtual time, over memory streams, against the simulated server."""

from __future__ import annotations

import itertools
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
import trio
from live.venues import World, world_of
from tables import ES, MNQ, SECOND, START, table

import xtalgo
from xtalgo import AuthError, ConfigError, NoConnection, NotSent, OutcomeUnknown, QuoteTable, SessionTakenOver
from xtalgo.client.caller import Notice
from xtalgo.live.client import Client, open_client
from xtalgo.live.leaves import leaf_of
from xtalgo.live.listening import Poller, Stream
from xtalgo.live.lock import SessionLock
from xtalgo.model.errors import RemoteProtocolError


def world(seconds: int = 600, **more: Any) -> World:
    return world_of(table([100.0 + (row % 9) * 0.25 for row in range(seconds)]), **more)


@asynccontextmanager
async def client_of(place: World, token: str = "demo", **more: Any) -> AsyncIterator[Client]:
    try:
        async with place.open(), open_client(place.dial(token), clock=place.clock, **more) as client:
            yield client
    except BaseExceptionGroup as group:  # of the world's own nurseries
        raise leaf_of(group) from None


async def test_calls_go_through(autojump_clock) -> None:
    async with client_of(world()) as client:
        assert [row.name for row in await client.list_accounts()] == ["Sim101"]
        placed = await client.place_order("sim101", "ES", "buy", 2, order_type="limit", limit_price=90.0)
        (row,) = await client.list_orders("Sim101", active_only=True)
        assert row.order_id == placed.order_id
        await client.change("Sim101", row.order_id, limit_price=91.0)
        assert (await client.get_order("Sim101", row.order_id)).limit == 91.0
        await client.cancel("Sim101", row.order_id)
        assert await client.list_orders("Sim101", active_only=True) == ()


async def test_many_tasks_call_at_once_and_each_gets_its_own_answer(autojump_clock) -> None:
    place = world_of(table([100.0] * 600), settings=xtalgo.ReplaySettings(accounts=tuple(f"Sim{n}" for n in range(9))))
    found = {}
    async with client_of(place) as client, trio.open_nursery() as nursery:

        async def ask(number: int) -> None:
            found[number] = (await client.get_account(f"Sim{number}")).name

        for number in range(9):
            nursery.start_soon(ask, number)
    assert found == {number: f"Sim{number}" for number in range(9)}


async def test_quotes_of_the_wire_come_to_every_listener_once(autojump_clock) -> None:
    rows = [("ES", 100.0), ("MNQ", 200.0)]
    quotes = QuoteTable.from_rows(
        (ES, MNQ),
        [row % 2 for row in range(60)],
        [START + (row // 2) * SECOND for row in range(60)],
        [rows[row % 2][1] + row // 2 for row in range(60)],
        [rows[row % 2][1] + row // 2 + 0.25 for row in range(60)],
    )
    async with client_of(world_of(quotes)) as client:
        both, one = await client.quotes("ES", "MNQ"), await client.quotes(ES)
        seen = [await anext(both) for _ in range(10)]
        assert [quote.instrument for quote in seen] == [ES, MNQ] * 5
        alone = [await anext(one) for _ in range(5)]
        assert alone == seen[::2]
        assert [quote.bid for quote in alone] == [100.0 + step for step in range(5)]
        subscribes = [json.loads(text) for text in client_frames(client, "subscribe")]
    assert subscribes == []


def client_frames(client: Client, action: str) -> list[str]:
    return [frame.text for frame in client._requester.out if action in frame.text]


async def test_a_stream_that_is_left_is_not_asked_for_any_more(autojump_clock) -> None:
    place = world()
    async with client_of(place) as client:
        with await client.quotes("ES") as quotes:
            await anext(quotes)
        await trio.sleep(1)
        with pytest.raises(StopAsyncIteration):
            await anext(quotes)
        with client.pnl() as pnl:
            await anext(pnl)
        await trio.sleep(1)
    actions = [json.loads(text)["action"] for text in place.frames]
    assert [action for action in actions if action != "rpc"] == ["subscribe", "unsubscribe", "streamPnl", "streamPnl"]


async def test_after_a_drop_streams_go_on_and_nothing_is_made_up(autojump_clock) -> None:
    place = world(faults={"drop_at": [30, 60]})
    heard: list[Notice] = []
    async with client_of(place, tell=heard.append) as client:
        quotes, pnl = await client.quotes("ES"), client.pnl()
        seen = [await anext(quotes) for _ in range(80)]
        assert await anext(pnl)
        assert client.health.drops == 2
    stamps = [quote.ts for quote in seen]
    assert stamps == sorted(set(stamps))
    sent = {START + row * SECOND for row in range(600)}
    assert set(stamps) <= sent
    assert sum(later - earlier > SECOND for earlier, later in itertools.pairwise(stamps)) == 2
    assert [notice.text[:9] for notice in heard] == ["link down"] * 2


async def test_a_read_during_a_drop_is_asked_again(autojump_clock) -> None:
    place = world(faults={"drop_at": [20]})
    async with client_of(place) as client:
        await trio.sleep(19.9)
        assert await client.list_positions("Sim101") == ()
        assert place.dials == 2


async def test_an_order_during_a_drop_may_have_been_carried_out(autojump_clock) -> None:
    place = world(faults={"drop_at": [20]})
    async with client_of(place) as client:
        await trio.sleep(19.9)
        with pytest.raises(OutcomeUnknown, match=r"PlaceOrder: it may have been carried out.*the order's id is mine"):
            await client.place_order("Sim101", "ES", "BUY", 1, order_type="LIMIT", limit_price=90.0, order_id="mine")
        await trio.sleep(3)
        # Told where to look, one finds it; sending it again would have doubled it.
        assert (await client.get_order("Sim101", "mine")).order_state == "Working"
        assert len(await client.list_orders("Sim101")) == 1


async def test_an_order_that_cant_leave_in_time_says_so(autojump_clock) -> None:
    async with client_of(world()) as client:
        results: list[Any] = []

        async def place() -> None:
            try:
                results.append(await client.place_order("Sim101", "ES", "BUY", 1, order_type="LIMIT", limit_price=9.0))
            except NotSent as error:
                results.append(error)

        async with trio.open_nursery() as nursery:
            for _ in range(40):
                nursery.start_soon(place)
        late = [result for result in results if isinstance(result, NotSent)]
        assert 10 <= len(late) <= 16
        assert len(await client.list_orders("Sim101")) == 40 - len(late)


async def test_cancelled_while_it_waits_it_never_leaves(autojump_clock) -> None:
    place = world()
    async with client_of(place) as client, trio.open_nursery() as nursery:
        for _ in range(20):
            nursery.start_soon(client.list_accounts)
        await trio.testing.wait_all_tasks_blocked()
        with trio.move_on_after(0.1):
            await client.place_order("Sim101", "ES", "BUY", 1, order_id="never")
        with trio.move_on_after(0.1):
            await client.list_orders("Sim101")
        nursery.cancel_scope.cancel()
    assert sum("ListOrders" in text for text in place.frames) == 0


async def test_a_takeover_ends_everything_and_is_told_where_it_is_awaited(autojump_clock) -> None:
    place = world(faults={"takeover_at": 60})
    async with client_of(place) as client:
        quotes = await client.quotes("ES")
        poller = client.every(1, client.list_accounts)
        with pytest.raises(SessionTakenOver):
            async for _ in quotes:
                pass
        with pytest.raises(SessionTakenOver):
            await client.list_accounts()
        with pytest.raises(SessionTakenOver):
            async for _ in poller:
                pass
        with pytest.raises(SessionTakenOver):
            await anext(client.pnl())
    assert place.dials == 1


async def test_a_wrong_token(autojump_clock) -> None:
    with pytest.raises(AuthError):
        async with client_of(world(), token="wrong"):
            pytest.fail("there is no connection")


async def test_no_connection_in_time(autojump_clock) -> None:
    place = world(faults={"reject_handshake": [503, 99]})
    with pytest.raises(NoConnection, match="within 12 s"):
        async with client_of(place, within=12):
            pytest.fail("there is no connection")


async def test_an_error_of_the_program_comes_out_as_it_is(autojump_clock) -> None:
    with pytest.raises(ZeroDivisionError):
        async with client_of(world()):
            _ = 1 / 0


async def test_a_poller_asks_in_the_background(autojump_clock) -> None:
    async with client_of(world()) as client:
        with client.every(10, client.list_positions, "Sim101") as poller:
            assert await anext(poller) == ()
            await client.place_order("Sim101", "ES", "BUY", 3)
            (row,) = await anext(poller)
            assert (row.quantity, row.market_position) == (3, "Long")


async def test_a_poller_survives_what_passes(autojump_clock) -> None:
    place = world(faults={"addon_offline": [[15, 45]]})
    async with client_of(place) as client:
        poller = client.every(10, client.list_accounts)
        for _ in range(3):
            assert await anext(poller)
    assert poller.failures == 3
    assert poller.error is None


async def test_a_poller_ends_with_an_error_that_would_come_again(autojump_clock) -> None:
    async with client_of(world()) as client:
        poller = client.every(1, client.flatten, " ")
        with pytest.raises(ConfigError, match="account is empty"):
            await anext(poller)
        with pytest.raises(ConfigError, match="interval above 0"):
            client.every(0, client.list_accounts)


async def test_names_are_settled_once_by_the_venue(autojump_clock) -> None:
    place = world()
    async with client_of(place) as client:
        assert await client.dated("ES") == ES
        assert await client.dated("ES") == ES
        assert await client.dated("ESM26") == ES
        with pytest.raises(ConfigError):
            await client.dated("not an instrument at all")
        with pytest.raises(ConfigError, match="name one or more"):
            await client.quotes()
    assert sum("GetQuote" in text for text in place.frames) == 1


async def test_a_listener_that_sleeps_loses_the_oldest_and_knows_it(autojump_clock) -> None:
    async with client_of(world()) as client:
        quotes = await client.quotes("ES", size=10)
        await trio.sleep(40)
        assert quotes.dropped > 10
        newest = quotes.latest()
        assert newest is not None
        assert newest.ts >= client.now - 2 * SECOND
        assert quotes.latest() is None


async def test_the_tape_gets_every_input_in_order(autojump_clock) -> None:
    tape: list[tuple[str, int, Any]] = []
    place = world(faults={"drop_at": [15]})
    async with client_of(place, tape=lambda *row: tape.append(row)) as client:
        quotes = await client.quotes("ES")
        for _ in range(20):
            await anext(quotes)
    kinds = [kind for kind, _, _ in tape if kind not in ("frame", "advance")]
    assert kinds[:3] == ["link_up", "link_down", "link_up"]
    stamps = [ts for _, ts, _ in tape]
    assert stamps == sorted(stamps)
    assert sum("marketData" in str(text) for kind, _, text in tape if kind == "frame") >= 20


async def test_a_stream_by_itself(autojump_clock) -> None:
    closed = []
    stream: Stream[int] = Stream(3, lambda: closed.append(True))
    for value in range(5):
        stream.put(value)
    assert stream.dropped == 2
    stream.fail(NoConnection("over"))
    assert [await anext(stream) for _ in range(3)] == [2, 3, 4]
    with pytest.raises(NoConnection):
        await anext(stream)
    stream.close()
    stream.close()
    stream.put(9)
    assert closed == [True]
    assert [value async for value in stream] == []


async def test_a_poller_that_is_slow_makes_nothing_up(autojump_clock) -> None:
    asked = []

    async def slow() -> int:
        asked.append(trio.current_time())
        await trio.sleep(2.5)
        if len(asked) == 2:
            raise RemoteProtocolError("once")
        return len(asked)

    async with trio.open_nursery() as nursery:
        poller: Poller[int] = Poller(1, slow)
        nursery.start_soon(poller.run)
        assert [await anext(poller) for _ in range(2)] == [1, 3]
        poller.close()
    assert [later - earlier for earlier, later in itertools.pairwise(asked)] == [2.5] * (len(asked) - 1)


async def test_connect_takes_the_lock_of_its_token(autojump_clock, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("xtalgo.live.lock.state_folder", lambda: tmp_path)
    monkeypatch.chdir(tmp_path)
    with SessionLock("some-token"), pytest.raises(ConfigError, match="another session runs with this token"):
        async with xtalgo.connect("ws://127.0.0.1:1/ws/stream", token="some-token", within=1):
            pytest.fail("it is held")


async def test_connect_rest_needs_a_token(autojump_clock, tmp_path: Any, monkeypatch: Any) -> None:
    monkeypatch.delenv("XTRADE_TOKEN", raising=False)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match="there is no token"):
        async with xtalgo.connect_rest():
            pytest.fail("there is none")
