"""The client against a bare trio-websocket loop on loopback: frames a second, and round trips of a call, as ratios.

Run it: ``python benchmarks/live_client.py [FRAMES] [CALLS]``. A server in a process of its own sends market data as
fast as it can and answers calls at once. The bare client receives the frames and looks at nothing but ends; ours does
the whole job: it decodes, checks, feeds the engine and calls a strategy at every quote. Rounds alternate, so that a
noisy machine is noisy for both; what counts is the ratio. Throughput is told twice: by the clock on the wall, and by
the processor time that the client's process spent on a frame, which other processes disturb less.
"""

from __future__ import annotations

import json
import multiprocessing
import statistics
import sys
import time
from multiprocessing.connection import Connection
from typing import Any

import trio
from trio_websocket import ConnectionClosed, WebSocketRequest, open_websocket_url, serve_websocket

from xtalgo import Instrument, Quote, Strategy
from xtalgo.client.aslive import make_trader
from xtalgo.client.calls import Calls
from xtalgo.client.trader import Trader
from xtalgo.engine.risk import RiskLimits
from xtalgo.live.clock import WallClock
from xtalgo.live.session import Session
from xtalgo.live.wires import dialer
from xtalgo.model.instruments import ContractBook

ES = "ES 06-26"
ROUNDS = 5


# --- the server, in its own process ----------------------------------------------------------------------------------

ANSWERS: dict[str, Any] = {
    "ListAccounts": {"accounts": [{"name": "Sim101", "provider": "Simulator"}], "success": True},
    "GetQuote": {"instrument": ES, "tickSize": 0.25, "pointValue": 50.0, "bid": 4800.0, "ask": 4800.25},
    "ListOrders": {"orders": [], "success": True},
    "ListExecutions": {"executions": [], "success": True},
    "ListPositions": {"positions": [], "success": True},
    "GetPosition": {"instrument": ES, "marketPosition": "Flat", "quantity": 0, "success": True},
}


def frame(number: int) -> str:
    """One market data frame."""
    bid = 4800 + number % 400 * 0.25
    row = {"instrument": ES, "bid": bid, "ask": bid + 0.25, "last": bid, "volume": number}
    return json.dumps({"type": "marketData", "quotes": [row]})


def written(text: str) -> bytes:
    """A frame as it is on the wire (RFC 6455, unmasked), so that the server is never the slower side."""
    payload = text.encode()
    assert 126 <= len(payload) < 65_536 or len(payload) < 126
    head = bytes([0x81, len(payload)]) if len(payload) < 126 else b"\x81\x7e" + len(payload).to_bytes(2, "big")
    return head + payload


async def serve(pipe: Connection, frames: int) -> None:
    """Serve on a free port until told to stop."""
    batch = 20
    chunks = [b"".join(written(frame(start + k)) for k in range(batch)) for start in range(0, 2_000, batch)]

    async def client(request: WebSocketRequest) -> None:
        ws = await request.accept()
        try:
            while True:
                message = json.loads(await ws.get_message())
                if message["action"] == "rpc":
                    await ws.send_message(json.dumps({"id": message["id"], "data": ANSWERS[message["api"]]}))
                elif message["action"] == "subscribe" and request.path == "/loud":
                    for number in range(frames // batch):
                        await ws._stream.send_all(chunks[number % len(chunks)])
        except ConnectionClosed:
            pass

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, client, "127.0.0.1", 0, None)
        pipe.send(server.port)
        await trio.to_thread.run_sync(pipe.recv, abandon_on_cancel=True)
        nursery.cancel_scope.cancel()


def run_server(pipe: Connection, frames: int) -> None:
    """The server's process."""
    trio.run(serve, pipe, frames)


# --- the two clients -------------------------------------------------------------------------------------------------


async def bare_frames(url: str, frames: int) -> tuple[float, float]:
    """Frames a second on the wall, and a second of processor time."""
    async with open_websocket_url(url) as ws:
        await ws.send_message(json.dumps({"action": "subscribe", "instruments": [ES]}))
        await ws.get_message()
        began, spent = time.perf_counter(), time.process_time()
        for _ in range(frames - 1):
            await ws.get_message()
        return (frames - 1) / (time.perf_counter() - began), (frames - 1) / (time.process_time() - spent)


async def bare_calls(url: str, calls: int) -> float:
    """Median seconds of a round trip."""
    async with open_websocket_url(url) as ws:
        took = []
        for number in range(calls):
            began = time.perf_counter()
            call = {"action": "rpc", "id": str(number), "api": "ListPositions", "args": {"account": "Sim101"}}
            await ws.send_message(json.dumps(call))
            json.loads(await ws.get_message())
            took.append(time.perf_counter() - began)
        return statistics.median(took)


class Counter(Strategy):
    """Does at every quote what any strategy does: nothing much."""

    instrument: Instrument = ES

    def on_start(self) -> None:
        """Begin to count."""
        self.count, self.wanted, self.began, self.spent = 0, 0, 0.0, 0.0
        self.rates = (0.0, 0.0)
        self.done = trio.Event()

    def on_quote(self, quote: Quote) -> None:
        """Count, and take the time at the last one."""
        if not self.count:
            self.began, self.spent = time.perf_counter(), time.process_time()
        self.count += 1
        if self.count == self.wanted:
            wall, spent = time.perf_counter() - self.began, time.process_time() - self.spent
            self.rates = ((self.count - 1) / wall, (self.count - 1) / spent)
            self.done.set()


def trader_of(strategy: Strategy) -> Trader:
    """The whole client around a strategy."""
    return make_trader([strategy], contracts=ContractBook(), accounts=("Sim101",), limits=RiskLimits(), run="b")


async def our_frames(url: str, frames: int) -> tuple[float, float]:
    """As ``bare_frames``, through the whole client."""
    strategy = Counter()
    Counter.on_start(strategy)
    session = Session(trader_of(strategy), dialer(url, "demo"), WallClock())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        await running(session)
        strategy.wanted = frames
        await strategy.done.wait()
        nursery.cancel_scope.cancel()
    return strategy.rates


async def our_calls(url: str, calls: int) -> float:
    """Round trips through link, calls and trader, without the pacing that would let three a second pass."""
    strategy = Counter()
    trader = trader_of(strategy)
    session = Session(trader, dialer(url, "demo"), WallClock())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        await running(session)
        timed = trader.calls = TimedCalls(session, calls)
        timed.again(0)
        await timed.done.wait()
        nursery.cancel_scope.cancel()
    return statistics.median(timed.took)


async def running(session: Session) -> None:
    """Wait until the strategies have started."""
    while not session.trader.is_running:  # noqa: ASYNC110 - a benchmark may look twice
        await trio.sleep(0.001)


class TimedCalls(Calls[Any]):
    """Calls of which the next begins when one has ended, as they would from inside the trader."""

    def __init__(self, session: Session, wanted: int) -> None:
        super().__init__()
        self.session, self.wanted = session, wanted
        self.took: list[float] = []
        self.began = 0.0
        self.done = trio.Event()

    def again(self, now: int) -> None:
        """Begin the next call."""
        self.began = time.perf_counter()
        key, text = self.begin("ListPositions", {"account": "Sim101"}, None, now)
        self.session.link.send(text, key=key)

    def settle(self, message: Any, now: int) -> None:
        """A reply came: it is read as any other, and timed."""
        if super().settle(message, now) is not None:
            self.took.append(time.perf_counter() - self.began)
            if len(self.took) < self.wanted:
                self.again(now)
            else:
                self.done.set()


def main() -> None:
    """Measure and print."""
    frames = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    calls = int(sys.argv[2]) if len(sys.argv) > 2 else 2_000
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=run_server, args=(theirs, frames), daemon=True)
    process.start()
    url = f"ws://127.0.0.1:{ours.recv()}"
    through, spent, back = [], [], []
    for number in range(ROUNDS):
        (bare, bare_cpu), (full, full_cpu) = (
            trio.run(bare_frames, f"{url}/loud", frames),
            trio.run(our_frames, f"{url}/loud", frames),
        )
        through.append(full / bare)
        spent.append(full_cpu / bare_cpu)
        one, other = trio.run(bare_calls, f"{url}/", calls), trio.run(our_calls, f"{url}/", calls)
        back.append(one / other)
        print(
            f"round {number + 1}: {full:,.0f} of {bare:,.0f} frames/s ({full / bare:.2f}; by processor time "
            f"{full_cpu:,.0f} of {bare_cpu:,.0f}, {full_cpu / bare_cpu:.2f}); "
            f"round trip {other * 1e6:.0f} us, bare {one * 1e6:.0f} us ({one / other:.2f})"
        )
    medians = [statistics.median(ratios) for ratios in (through, spent, back)]
    print("median ratio: throughput {:.2f}, by processor time {:.2f}, round trip {:.2f}".format(*medians))
    ours.send(None)
    process.join(5)


if __name__ == "__main__":
    main()
