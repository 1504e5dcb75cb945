"""A whole venue in a test: SimServer behind a WebSocket over memory streams, and sessions that dial it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import trio
import trio.testing
from attrs import define, field

from xtalgo.client.aslive import LEAD, make_trader
from xtalgo.client.trader import Trader
from xtalgo.engine.risk import RiskLimits
from xtalgo.engine.series import QuoteTable
from xtalgo.engine.strategy import Strategy
from xtalgo.live.clock import WallClock
from xtalgo.live.host import ServerHost
from xtalgo.live.redial import Redial
from xtalgo.live.session import Session
from xtalgo.live.tokens import Token
from xtalgo.live.transports import serve_stream
from xtalgo.live.wires import Wire, over_stream
from xtalgo.model.instruments import ContractBook
from xtalgo.sim.faults import Faults
from xtalgo.sim.feeds import Feed, TableFeed
from xtalgo.sim.replay import ReplaySettings
from xtalgo.sim.server import SimServer

SECOND = 1_000_000_000


def virtual_wall(start: int) -> Callable[[], int]:
    """A system clock that is ``start`` when the trio run begins and goes with trio's clock."""
    return lambda: start + round(trio.current_time() * SECOND)


class Pipe(trio.abc.Stream):
    """A stream that can be made to swallow what is written and to deliver nothing more."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.frozen = False

    async def send_all(self, data: Any) -> None:
        if self.frozen:
            await trio.lowlevel.checkpoint()
        else:
            await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        data = b""
        if not self.frozen:
            data = bytes(await self.stream.receive_some(max_bytes))
        if self.frozen:
            await trio.sleep_forever()
        return data

    async def aclose(self) -> None:
        await self.stream.aclose()


@define(eq=False)
class World:
    """A server, and dials that lead to it over memory streams. ``refuse`` makes the next dials fail."""

    server: SimServer
    clock: WallClock
    host: ServerHost = field(init=False)
    nursery: trio.Nursery | None = None
    dials: int = 0
    _pipes: list[Pipe] = field(factory=list)
    frames: list[str] = field(factory=list)
    """What clients wrote, in order."""

    def __attrs_post_init__(self) -> None:
        self.host = ServerHost(self.server, self.clock)
        receive = self.server.receive

        def noted(connection: int, text: str, now: int) -> None:
            self.frames.append(text)
            receive(connection, text, now)

        self.server.receive = noted  # type: ignore[method-assign]

    def dial(self, token: str = "demo") -> Callable[[], Any]:
        async def go() -> Wire:
            self.dials += 1
            assert self.nursery is not None
            ours, theirs = trio.testing.memory_stream_pair()
            self._pipes.append(Pipe(ours))
            self.nursery.start_soon(serve_stream, self.host, theirs)
            return await over_stream(self._pipes[-1], Token(token), host="venue", target="/ws/stream")

        return go

    def freeze(self) -> None:
        """From now on nothing passes the newest connection, either way, and nobody says so."""
        self._pipes[-1].frozen = True

    def storm(self, faults: dict[str, Any]) -> None:
        """From now on these faults, and no others."""
        self.server.faults = self.server._mishaps.faults = Faults.from_table(faults)

    @asynccontextmanager
    async def open(self):
        async with self.host.running(), trio.open_nursery() as nursery:
            self.nursery = nursery
            yield self
            nursery.cancel_scope.cancel()


def world_of(
    table: QuoteTable,
    *,
    settings: ReplaySettings | None = None,
    faults: dict[str, Any] | None = None,
    lead: int = LEAD,
    feed: Feed | None = None,
) -> World:
    """A venue whose clock stands ``lead`` before the first quote of a recording."""
    settings = settings or ReplaySettings()
    contracts = ContractBook()
    start = int(table.ts[table.order[0]]) - lead
    server = SimServer(
        feed or TableFeed(table, contracts),
        accounts=settings.accounts,
        contracts=contracts,
        fills=settings.fills,
        latency=settings.latency,
        fees=settings.fees,
        faults=None if faults is None else Faults.from_table(faults),
    )
    return World(server, WallClock(virtual_wall(start)))


def trader_for(strategies: Strategy | Sequence[Strategy], *, run: str = "r", **more: Any) -> Trader:
    chosen = [strategies] if isinstance(strategies, Strategy) else list(strategies)
    limits = more.pop("limits", RiskLimits())
    return make_trader(
        chosen, contracts=ContractBook(), accounts=more.pop("accounts", ("Sim101",)), limits=limits, run=run
    )


def session_on(world: World, trader: Trader, *, token: str = "demo", **more: Any) -> Session:
    more.setdefault("redial", Redial(random.Random(1)))
    return Session(trader, world.dial(token), world.clock, **more)
