"""Hosts around simulated servers, and clients of them over memory streams."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import trio
import trio.testing
from tables import START, table

from xtalgo import ContractBook, Fees, FillModel, Latency, QuoteTable
from xtalgo.live.clock import WallClock
from xtalgo.live.host import Host, ServerHost
from xtalgo.live.transports import serve_stream
from xtalgo.live.wires import WireClosed, over_stream
from xtalgo.sim.faults import Faults
from xtalgo.sim.feeds import Feed, TableFeed
from xtalgo.sim.server import SimServer

BOOK = ContractBook()
TOKEN = "s3cr3t-t0ken"


def sim_server(
    quotes: QuoteTable | None = None,
    faults: Mapping[str, Any] | None = None,
    *,
    feed: Feed | None = None,
    accounts: Sequence[str] = ("Sim101",),
    entry_ms: int = 250,
) -> SimServer:
    """A server over ten minutes of ES at 100, a quote a second, from second 0 on."""
    return SimServer(
        feed or TableFeed(table([100.0] * 600) if quotes is None else quotes, BOOK),
        token=TOKEN,
        accounts=accounts,
        contracts=BOOK,
        fills=FillModel(slippage=0),
        latency=Latency(entry=entry_ms * 1_000_000),
        fees=Fees(commission=0),
        faults=Faults.from_table(faults or {}),
    )


def server_host(faults: Mapping[str, Any] | None = None, **options: Any) -> ServerHost:
    """A host whose clock begins at START, on trio's clock."""
    return ServerHost(sim_server(faults=faults, **options), WallClock(wall=lambda: START))


class Client:
    """One connection, and what came over it as (seconds since the dial, frame)."""

    def __init__(self, wire) -> None:
        self.wire = wire
        self.began = trio.current_time()
        self.frames: list[tuple[float, Any]] = []

    @classmethod
    async def dial(cls, nursery: trio.Nursery, host: Host, token: str | None = TOKEN, target: str = "/ws/stream"):
        ours, theirs = trio.testing.memory_stream_pair()
        nursery.start_soon(serve_stream, host, theirs)
        return cls(await over_stream(ours, token, target=target))

    async def say(self, action: str, **fields: Any) -> None:
        await self.wire.send(json.dumps({"action": action, **fields}))

    async def next(self) -> Any:
        frame = json.loads(await self.wire.receive())
        self.frames.append((round(trio.current_time() - self.began, 6), frame))
        return frame

    async def reply(self, key: str) -> Any:
        """The next frame with that id."""
        while (frame := await self.next()).get("id") != key:
            pass
        return frame

    async def end(self) -> WireClosed:
        """Read to the end, and how it ended."""
        try:
            while True:
                await self.next()
        except WireClosed as closed:
            return closed

    def stamps(self, kind: str) -> list[float]:
        return [at for at, frame in self.frames if frame.get("type") == kind]
