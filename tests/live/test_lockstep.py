"""Lockstep over a stream: the same events in the same order as in a rehearsal without one."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
import trio
import trio.testing
from live.hosting import BOOK, TOKEN, Client, sim_server
from tables import SECOND, START, table

from xtalgo import Fill, Instrument, Quote, QuoteTable, RiskLimits, Strategy
from xtalgo.client.aslive import LEAD, TAIL, Rehearsal, make_trader
from xtalgo.client.trader import Trader
from xtalgo.live.lockstep import LockstepClient, LockstepHost, mark_of
from xtalgo.live.transports import serve_stream
from xtalgo.live.wires import HandshakeRefused, WireClosed, over_stream
from xtalgo.sim.server import SimServer

pytestmark = pytest.mark.trio


class Swing(Strategy):
    """Trades much: markets, limits, brackets, timers."""

    instrument: Instrument = "ES"

    def on_start(self) -> None:
        self.seen = 0
        self.every(7)

    def on_timer(self, tag: str) -> None:
        if self.seen % 3 == 0:
            self.cancel_all(self.instrument)

    def on_quote(self, quote: Quote) -> None:
        self.seen += 1
        if self.seen % 20 == 4:
            self.buy(quote.instrument, 1, stop_loss=4, take_profit=3)
        elif self.seen % 20 == 9:
            self.sell(quote.instrument, 2, limit_price=quote.ask + 0.5)
        elif self.seen % 20 == 16:
            self.close(quote.instrument)

    def on_fill(self, fill: Fill) -> None:
        pass


def waves(count: int = 100, gap: int | None = None) -> QuoteTable:
    bids = [5000 + 0.25 * (10 - abs(second % 20 - 10)) + 0.25 * (second % 3) for second in range(count)]
    made = table(bids)
    if gap is None:
        return made
    stamps = [START + (second + (180 if second >= gap else 0)) * SECOND for second in range(count)]
    return QuoteTable.from_rows(
        made.instruments,
        [0] * count,
        stamps,
        bids,
        [bid + 0.25 for bid in bids],
        bids,
        list(range(count)),
        None,
        None,
    )


class Heard:
    """A trader or server that writes down what comes in and when; everything else goes through."""

    def __init__(self, thing: Any, log: list[Any], *methods: str) -> None:
        object.__setattr__(self, "_thing", thing)
        object.__setattr__(self, "_log", log)
        object.__setattr__(self, "_methods", methods)

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._thing, name)
        if name not in self._methods:
            return found

        def call(*args: Any) -> Any:
            times = [arg for arg in args if isinstance(arg, int) and arg > START // 2]
            texts = [arg for arg in args if isinstance(arg, str) and arg.startswith("{")]
            self._log.append((name, *times, *texts))
            return found(*args)

        return call

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self._thing, name, value)


def the_trader() -> Trader:
    return make_trader([Swing()], contracts=BOOK, accounts=["Sim101"], limits=RiskLimits(), run="r")


def parts(quotes: QuoteTable, faults: Mapping[str, Any]) -> tuple[Any, Any, list[Any], SimServer]:
    log: list[Any] = []
    server = sim_server(quotes, faults)
    trader = Heard(the_trader(), log, "frame", "link_up", "link_down")
    return trader, Heard(server, log, "receive", "connect", "disconnect"), log, server


def rehearse(quotes: QuoteTable, faults: Mapping[str, Any]) -> tuple[list[Any], list[Any]]:
    trader, server, log, real = parts(quotes, faults)
    rehearsal = Rehearsal(trader, server, int(quotes.ts[0]) - LEAD, TOKEN)
    rehearsal.connect()
    rehearsal.run(int(quotes.ts[-1]) + TAIL)
    return log, list(real.venue.exchange.executions)


async def drive(host: LockstepHost, trader: Any) -> list[str]:
    """What a live session does in lockstep; every text that came."""
    client, texts = LockstepClient(trader), []
    async with trio.open_nursery() as nursery:
        while not client.is_over:
            ours, theirs = trio.testing.memory_stream_pair()
            nursery.start_soon(serve_stream, host, theirs)
            try:
                wire = await over_stream(ours, TOKEN)
            except HandshakeRefused as refused:
                if refused.status == 410:
                    break
                continue
            try:
                while True:
                    text = await wire.receive()
                    texts.append(text)
                    mark = mark_of(text)
                    if mark is None:
                        trader.frame(text, client.now)
                        continue
                    client.advance(mark)
                    if mark.end:
                        continue
                    frames, trader.out = trader.out, []
                    for frame in frames:
                        await wire.send(frame.text)
                    await wire.send(client.answer())
            except WireClosed:
                if not client.is_over:
                    trader.link_down(client.now, "the connection was closed")
                trader.out = []
            finally:
                await wire.aclose()
        nursery.cancel_scope.cancel()
    return texts


async def in_lockstep(quotes: QuoteTable, faults: Mapping[str, Any]) -> tuple[list[Any], list[Any], list[str]]:
    trader, server, log, real = parts(quotes, faults)
    host = LockstepHost(server, int(quotes.ts[0]) - LEAD, int(quotes.ts[-1]) + TAIL)
    async with host.running():
        texts = await drive(host, trader)
    assert host.is_over
    return log, list(real.venue.exchange.executions), texts


FAULTS: dict[str, dict[str, Any]] = {
    "none": {},
    "ends": {
        "drop_at": [20, 51.3],
        "close_at": [[33, 1012, "restart"]],
        "takeover_at": 70,
        "reject_handshake": [503, 3],
    },
    "calls": {
        "seed": 3,
        "lose_reply": 0.05,
        "lose_request": 0.05,
        "delay_reply": [0.2, 3],
        "double_reply": 0.2,
        "addon_offline": [[60, 70]],
        "reassign_ids": True,
        "most_per_fill": 1,
        "slow_cancel": 1.5,
    },
    "quotes": {"seed": 5, "garbage": 0.3, "silence": [[60, 90]]},
}


@pytest.mark.parametrize("faults", FAULTS.values(), ids=FAULTS)
async def test_the_order_of_events_is_that_of_a_rehearsal(faults, autojump_clock) -> None:
    quotes = waves()
    expected, executions = rehearse(quotes, faults)
    log, filled, _ = await in_lockstep(quotes, faults)
    assert len(executions) > 3
    assert [entry[0] for entry in expected].count("frame") > 100
    for number, (one, other) in enumerate(zip(expected, log, strict=False)):
        assert one == other, number
    assert len(expected) == len(log)
    assert executions == filled


async def test_a_gap_in_the_quotes_makes_the_client_redial(autojump_clock) -> None:
    quotes = waves(60, gap=30)
    expected, _ = rehearse(quotes, {})
    log, _, _ = await in_lockstep(quotes, {})
    assert [entry[0] for entry in expected].count("link_down") > 1
    assert expected == log


async def test_two_runs_are_the_same_frame_by_frame(autojump_clock) -> None:
    runs = [await in_lockstep(waves(50), FAULTS["calls"]) for _ in range(2)]
    assert len(runs[0][2]) > 150
    assert runs[0] == runs[1]


async def test_the_end(nursery, autojump_clock) -> None:
    host = LockstepHost(sim_server(table([100.0] * 3)), START - LEAD, START + 2 * SECOND + TAIL)
    client = await Client.dial(nursery, host)
    assert await client.next() == {"type": "lockstep", "now": START - LEAD}
    moments = []
    while True:
        await client.say("lockstep", due=None)
        frame = await client.next()
        if frame.get("end"):
            break
        moments.append(frame["now"] - START)
    assert moments == [0, SECOND, 2 * SECOND]
    assert frame == {"type": "lockstep", "now": START + 2 * SECOND + TAIL, "end": True}
    closed = await client.end()
    assert closed.code == 1000
    assert host.is_over
    with pytest.raises(HandshakeRefused) as refused:
        await Client.dial(nursery, host)
    assert refused.value.status == 410


async def test_time_stands_still_without_an_answer(nursery, autojump_clock) -> None:
    host = LockstepHost(sim_server(), START - LEAD, START + TAIL)
    client = await Client.dial(nursery, host)
    await client.next()
    await client.say("subscribe", instruments=["ES"])
    with trio.move_on_after(60) as scope:
        await client.next()
    assert scope.cancelled_caught
    assert host.now == START - LEAD
    await client.say("lockstep", due=START - 5 * SECOND)
    assert (await client.next())["status"] == "subscribed"
    assert (await client.next())["now"] == START - LEAD  # another round for the answer
    await client.say("lockstep", due=START - 5 * SECOND)
    assert (await client.next())["now"] == START - 5 * SECOND


@pytest.mark.parametrize("due", ["soon", 1.5, [], {}])
async def test_an_answer_that_is_malformed_moves_nothing(nursery, autojump_clock, due) -> None:
    host = LockstepHost(sim_server(), START - LEAD, START + TAIL)
    client = await Client.dial(nursery, host)
    await client.next()
    await client.say("lockstep", due=due)
    assert (await client.next())["error"].startswith("Invalid request: lockstep")
    await client.say("lockstep")
    assert (await client.next())["error"].startswith("Invalid request: lockstep")
    assert host.now == START - LEAD
    await client.say("lockstep", due=None)
    assert (await client.next())["now"] == START


async def test_other_frames_with_that_word_are_the_servers(nursery, autojump_clock) -> None:
    host = LockstepHost(sim_server(), START - LEAD, START + TAIL)
    client = await Client.dial(nursery, host)
    await client.next()
    await client.say("subscribe", instruments=["lockstep"])
    await client.wire.send('{"action":"lockstep"')
    await client.say("lockstep", due=None)
    assert (await client.next())["status"] == "error"
    assert "error" in await client.next()


async def test_a_server_on_the_clock_knows_no_lockstep() -> None:
    server = sim_server()
    number = server.connect(TOKEN, START)
    assert isinstance(number, int)
    server.receive(number, '{"action":"lockstep","due":null}', START)
    (output,) = server.outputs()
    assert "error" in json.loads(output.text)


async def test_a_stranger_moves_no_time(nursery, autojump_clock) -> None:
    host = LockstepHost(sim_server(), START - LEAD, START + TAIL)
    client = await Client.dial(nursery, host)
    await client.next()
    await client.wire.aclose()
    await trio.sleep(1)
    for _ in range(3):
        with pytest.raises(HandshakeRefused):
            await Client.dial(nursery, host, "wrong")
    assert host.now == START - LEAD
    again = await Client.dial(nursery, host)
    assert (await again.next())["now"] == START - LEAD + 2 * SECOND


async def test_rest_is_answered_while_time_stands_still(nursery, autojump_clock) -> None:
    host = LockstepHost(sim_server(), START - LEAD, START + TAIL)
    async with host.running():
        answer = await host.request(TOKEN, "GET", "/v1/api/accounts", {}, b"")
        assert answer.status == 200
        assert json.loads(answer.body)["accounts"][0]["name"] == "Sim101"
        assert (await host.request("wrong", "GET", "/v1/api/accounts", {}, b"")).status == 401
        assert (await host.request(TOKEN, "GET", "/v1/api/acounts", {}, b"")).status == 404
        assert (await host.request(TOKEN, "GET", "/elsewhere", {}, b"")).status == 404
        assert (await host.request(TOKEN, "POST", "/v1/api/positions/flatten", {}, b"[")).status == 400
        assert host.now == START - LEAD


async def test_reading_over_rest_does_not_disturb_a_run(autojump_clock) -> None:
    quotes = waves(40)
    expected, _, _ = await in_lockstep(quotes, {})
    trader, server, log, _ = parts(quotes, {})
    host = LockstepHost(server, int(quotes.ts[0]) - LEAD, int(quotes.ts[-1]) + TAIL)
    asked = 0

    async def ask() -> None:
        nonlocal asked
        while True:
            for _ in range(20):
                await trio.lowlevel.checkpoint()
            answer = await host.request(TOKEN, "GET", "/v1/api/accounts/Sim101/orders", {}, b"")
            assert answer.status == 200
            asked += 1

    async with host.running(), trio.open_nursery() as nursery:
        nursery.start_soon(ask)
        await drive(host, trader)
        nursery.cancel_scope.cancel()
    assert asked > 50
    assert log == expected
