"""From the quote that breaches a drawdown limit to the order that closes the position, on loopback.

Run it: ``python benchmarks/breach.py [TRIALS]``. A server in a process of its own gives a client a position of one,
lets the price fall, and takes the time until the closing order arrives: both ways over the socket and everything the
client does in between. Then it goes on until the client's own books are flat. Each trial is a run of its own, since a
breach locks the account for the day.
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
from trio_websocket import ConnectionClosed, WebSocketConnection, WebSocketRequest, serve_websocket

from xtalgo import Instrument, Quote, RiskLimits, Strategy
from xtalgo.client.aslive import make_trader
from xtalgo.live.clock import WallClock
from xtalgo.live.session import Session
from xtalgo.live.wires import dialer
from xtalgo.model.instruments import ContractBook

ES = "ES 06-26"
LIMIT = 500.0
WANTED_MS, WANTED_FLAT_S = 20.0, 5.0


class Venue:
    """A venue with one account that fills every market order at once, at the newest price."""

    def __init__(self) -> None:
        self.price = 4800.0
        self.fills: list[dict[str, Any]] = []
        self.orders: list[dict[str, Any]] = []
        self.fell: float | None = None
        self.took: float | None = None
        self.told = False

    def answer(self, api: str, args: dict[str, Any]) -> dict[str, Any]:
        """The body of a reply."""
        match api:
            case "ListAccounts":
                return {"accounts": [{"name": "Sim101", "provider": "Simulator"}], "success": True}
            case "GetQuote":
                return {"instrument": ES, "tickSize": 0.25, "pointValue": 50.0}
            case "ListExecutions":
                return {"executions": self.fills, "success": True}
            case "ListOrders":
                return {"orders": self.orders, "success": True}
            case "ListPositions":
                net = sum(1 if fill["marketPosition"] == "Long" else -1 for fill in self.fills)
                row = {"instrument": ES, "account": "Sim101", "marketPosition": "Long", "quantity": net}
                return {"positions": [row] if net else [], "success": True}
            case "PlaceOrder":
                return self.place(args)
        return {"success": True}

    def place(self, args: dict[str, Any]) -> dict[str, Any]:
        """Fill an order."""
        if args["action"] == "SELL" and self.fell is not None and self.took is None:
            self.took = time.perf_counter() - self.fell
        side = "Long" if args["action"] == "BUY" else "Short"
        number = len(self.fills) + 1
        row = {"account": "Sim101", "instrument": ES, "quantity": 1, "orderId": args["orderId"]}
        self.fills.append({**row, "id": f"x{number}", "price": self.price, "marketPosition": side, "epoch": number})
        self.orders.append({**row, "orderState": "Filled", "filled": 1, "orderType": "Market"})
        return {"orderId": args["orderId"], "success": True}

    def frame(self) -> str:
        """The newest quote."""
        row = {"instrument": ES, "bid": self.price, "ask": self.price + 0.25, "last": self.price, "volume": 1}
        return json.dumps({"type": "marketData", "quotes": [row]})


async def serve(pipe: Connection) -> None:
    """Serve trials until told to stop; the time each took goes back through the pipe."""

    async def client(request: WebSocketRequest) -> None:
        ws, venue = await request.accept(), Venue()
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(quotes, ws, venue)
                while True:
                    message = json.loads(await ws.get_message())
                    if message["action"] == "rpc":
                        body = venue.answer(message["api"], message["args"])
                        if venue.took is not None and not venue.told:
                            venue.told = True
                            pipe.send(venue.took)
                        await ws.send_message(json.dumps({"id": message["id"], "data": body}))
        except* ConnectionClosed:
            pass

    async with trio.open_nursery() as nursery:
        server = await nursery.start(serve_websocket, client, "127.0.0.1", 0, None)
        pipe.send(server.port)
        while not pipe.poll():  # noqa: ASYNC110 - the other end is another process
            await trio.sleep(0.1)
        nursery.cancel_scope.cancel()


async def quotes(ws: WebSocketConnection, venue: Venue) -> None:
    """A quote every 20 ms; once the client has asked twice for what it bought, the price falls."""
    for _ in range(60):
        await ws.send_message(venue.frame())
        await trio.sleep(0.02)
    venue.price -= LIMIT / 50 + 5
    venue.fell = time.perf_counter()
    while True:
        await ws.send_message(venue.frame())
        await trio.sleep(0.02)


def run_server(pipe: Connection) -> None:
    """The server's process."""
    trio.run(serve, pipe)


class Holder(Strategy):
    """Buys one at its first quote."""

    instrument: Instrument = ES

    def on_quote(self, quote: Quote) -> None:
        """Buy once."""
        if not self.position(self.instrument) and not self.orders() and quote.bid == 4800.0:
            self.buy(self.instrument, 1)


async def trial(url: str) -> float:
    """One run, to flat; seconds from the closing order's leaving to books that are flat."""
    limits = RiskLimits(trailing_drawdown=LIMIT)
    trader = make_trader([Holder()], contracts=ContractBook(), accounts=("Sim101",), limits=limits, run="b")
    session = Session(trader, dialer(url, "demo"), WallClock())
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        left = 0.0
        while True:
            await trio.sleep(0.005)
            engine = trader.engine
            if engine is None:
                continue
            orders = list(engine.blotter.orders.values())
            if len(orders) > 1 and not left:
                left = time.perf_counter()
            if left and all(order.is_done for order in orders):
                nursery.cancel_scope.cancel()
                return time.perf_counter() - left


def main() -> None:
    """Measure and print."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 200
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=run_server, args=(theirs,), daemon=True)
    process.start()
    url = f"ws://127.0.0.1:{ours.recv()}/"
    took: list[float] = []
    flat: list[float] = []

    async def many(count: int) -> None:
        async def one() -> None:
            flat.append(await trial(url))

        for start in range(0, count, 4):  # a few side by side: each waits most of its time
            async with trio.open_nursery() as nursery:
                for _ in range(min(4, count - start)):
                    nursery.start_soon(one)

    trio.run(many, trials)
    while len(took) < trials and ours.poll(5):
        took.append(ours.recv() * 1e3)
    took.sort()
    p99 = took[min(len(took) - 1, int(len(took) * 0.99))]
    print(f"{len(took)} breaches: median {statistics.median(took):.1f} ms, p99 {p99:.1f} ms (wanted {WANTED_MS:g})")
    print(
        f"flat in our books after {statistics.median(flat):.2f} s, at most {max(flat):.2f} s (wanted {WANTED_FLAT_S:g})"
    )
    ours.send(None)
    process.join(5)


if __name__ == "__main__":
    main()
