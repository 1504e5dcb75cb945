"""A simulated server in this process, for commands by hand: over REST and over the socket, in virtual time."""

from __future__ import annotations

import io
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx
import trio
import trio.testing
from live.hosting import TOKEN, sim_server
from tables import START

from xtalgo.live.clock import WallClock
from xtalgo.live.host import ServerHost
from xtalgo.live.server import application
from xtalgo.live.transports import serve_stream
from xtalgo.live.wires import Wire, over_stream
from xtalgo.model.types import SECOND_NS
from xtalgo.sim.faults import Faults

__all__ = ["BEGIN", "REAL_RUN", "Place", "Terminal", "busy"]

BEGIN = START + 5 * SECOND_NS
REAL_RUN = trio.run


class Place:
    """A server in this process, and every request and frame that reached it."""

    def __init__(self) -> None:
        self.server = sim_server(accounts=("Sim101", "Sim102"), entry_ms=50)
        self.server.advance(START)
        self.host = ServerHost(self.server, WallClock(wall=lambda: BEGIN))
        self.transport = httpx.ASGITransport(application(self.host))
        self.requests: list[httpx.Request] = []
        self.frames: list[dict[str, Any]] = []
        self._count = 0
        self._nursery: trio.Nursery | None = None
        receive = self.server.receive

        def heard(connection: int, text: str, now: int) -> None:
            self.frames.append(json.loads(text))
            receive(connection, text, now)

        self.server.receive = heard  # type: ignore[method-assign]

    def order(self, account: str = "Sim101", **more: Any) -> None:
        """Place an order, before the command runs."""
        body = {"instrument": "ES", "action": "BUY", "orderType": "MARKET", "quantity": 1, "timeInForce": "GTC", **more}
        self._count += 1
        now = START + self._count * SECOND_NS // 10
        path = f"/v1/api/accounts/{account}/orders/place"
        self.server.request(TOKEN, "POST", path, {}, json.dumps(body).encode(), now)

    def settle(self) -> None:
        """Let what was placed happen."""
        self.server.advance(BEGIN)
        self.server.outputs()

    def storm(self, **faults: Any) -> None:
        self.server.faults = self.server._mishaps.faults = self.server.venue.mishaps.faults = Faults.from_table(faults)

    def open(self, account: str = "Sim101") -> tuple[int, int]:
        venue = self.server.venue
        return sum(abs(book.position) for book in venue.books(account)), len(venue.working(account))

    @property
    def mutations(self) -> list[httpx.Request]:
        return [request for request in self.requests if request.method != "GET"]

    @property
    def calls(self) -> list[tuple[str, dict[str, Any]]]:
        """What was called over the socket."""
        return [(frame["api"], frame.get("args", {})) for frame in self.frames if frame["action"] == "rpc"]

    async def handle(self, request: httpx.Request) -> httpx.Response:
        """Answer a request."""
        self.requests.append(request)
        return await self.transport.handle_async_request(request)

    def dialer(self, url: str, token: Any) -> Callable[[], Awaitable[Wire]]:
        """In place of ``wires.dialer``: a connection to this server over memory streams."""
        assert url.startswith("ws")

        async def dial() -> Wire:
            assert self._nursery is not None
            ours, theirs = trio.testing.memory_stream_pair()
            self._nursery.start_soon(serve_stream, self.host, theirs)
            return await over_stream(ours, token, target="/ws/stream")

        return dial

    def run(self, main: Callable[[], Any]) -> None:
        """``trio.run``, with the server beside it and time that jumps."""

        raised: list[BaseException] = []

        async def both() -> None:
            async with trio.open_nursery() as self._nursery, self.host.running():
                try:
                    await main()
                except (Exception, KeyboardInterrupt) as error:
                    raised.append(error)
                self._nursery.cancel_scope.cancel()

        self.settle()
        REAL_RUN(both, clock=trio.testing.MockClock(autojump_threshold=0))
        if raised:
            raise raised[0]


class Terminal(io.StringIO):
    """Standard input at which somebody types."""

    def isatty(self) -> bool:
        return True


def busy(place: Place) -> None:
    """Long 3 with orders around it in Sim101, the same in Sim102."""
    for account in ("Sim101", "Sim102"):
        place.order(account, quantity=3)
        place.order(account, orderType="LIMIT", limitPrice=90.0)
        place.order(account, action="SELL", orderType="STOPMARKET", stopPrice=95.0, quantity=3)
