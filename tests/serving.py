"""A client of SimServer on a clock in seconds since START, for tests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tables import ES, SECOND, START, table

from xtalgo import ContractBook, Fees, FillModel, Latency, QuoteTable
from xtalgo.sim.faults import Faults
from xtalgo.sim.feeds import Feed, TableFeed
from xtalgo.sim.outputs import Close, Drop, Output, Rejection, Response, Send
from xtalgo.sim.server import SimServer
from xtalgo.sim.templates import BUILT_IN, AtmTemplate

BOOK = ContractBook()


def at(seconds: float) -> int:
    return START + round(seconds * SECOND)


class Client:
    """A server over a recording of one quote a second, and one client of it, connected at second 0.

    The default recording has a bid of 100 for ten minutes, ES 06-26, the ask a tick above. Latency is 250 ms.
    """

    def __init__(
        self,
        quotes: QuoteTable | Sequence[float] | None = None,
        *,
        feed: Feed | None = None,
        faults: Faults | Mapping[str, Any] | None = None,
        fills: FillModel | None = None,
        accounts: Sequence[str] = ("Sim101",),
        entry_ms: int = 250,
        fee: float = 0.0,
        connect: bool = True,
        templates: Sequence[AtmTemplate] = BUILT_IN,
    ) -> None:
        if not isinstance(quotes, QuoteTable):
            quotes = table([100.0] * 600 if quotes is None else quotes)
        self.server = SimServer(
            feed or TableFeed(quotes, BOOK),
            token="secret",
            accounts=accounts,
            contracts=BOOK,
            fills=fills or FillModel(slippage=0),
            latency=Latency(entry=entry_ms * 1_000_000),
            fees=Fees(commission=fee),
            faults=faults if isinstance(faults, Faults) or faults is None else Faults.from_table(faults),
            templates=templates,
        )
        self.patience = 0.3
        """Seconds that ``call`` and ``rest`` wait for an answer."""
        self.outputs: list[Output] = []
        self.number = 0
        self._ids = 0
        if connect:
            self.connect(0)

    def connect(self, seconds: float, token: str | None = "secret") -> int | Rejection:
        got = self.server.connect(token, at(seconds))
        self._take()
        if isinstance(got, int):
            self.number = got
        return got

    def _take(self) -> list[Output]:
        fresh = self.server.outputs()
        self.outputs += fresh
        return fresh

    def run(self, seconds: float) -> list[Output]:
        """Let time pass; what came out since the last call of anything."""
        self.server.advance(at(seconds))
        return self._take()

    def frames(self, seconds: float) -> list[Any]:
        """Let time pass; the frames that came to this client."""
        return _frames(self.run(seconds), self.number)

    def text(self, seconds: float, text: str) -> list[Any]:
        """Send a text; the frames that came at once."""
        self.run(seconds)
        self.server.receive(self.number, text, at(seconds))
        return _frames(self._take(), self.number)

    def say(self, seconds: float, action: str, **fields: Any) -> list[Any]:
        return self.text(seconds, json.dumps({"action": action, **fields}))

    def rpc(self, seconds: float, api: str, **args: Any) -> str:
        """Send a call; its id."""
        self._ids += 1
        key = f"req-{self._ids}"
        self.say(seconds, "rpc", id=key, api=api, args=args)
        return key

    def replies(self, key: str) -> list[Any]:
        """All frames so far with that id."""
        return [frame for frame in _frames(self.outputs, None) if frame.get("id") == key]

    def call(self, seconds: float, api: str, **args: Any) -> Any:
        """Send a call and wait for its one reply: the whole frame without its id."""
        key = self.rpc(seconds, api, **args)
        self.run(seconds + self.patience)
        (frame,) = self.replies(key)
        return frame["data"] if set(frame) == {"id", "data"} else {k: v for k, v in frame.items() if k != "id"}

    def place(self, seconds: float, action: str = "BUY", kind: str = "MARKET", quantity: int = 1, **args: Any) -> Any:
        args = {"account": "Sim101", "instrument": "ES", "timeInForce": "GTC", **args}
        return self.call(seconds, "PlaceOrder", action=action, orderType=kind, quantity=quantity, **args)

    def order(self, seconds: float, order_id: str) -> Any:
        return self.call(seconds, "GetOrder", account="Sim101", orderId=order_id)

    def state(self, seconds: float, order_id: str) -> str:
        return str(self.order(seconds, order_id)["orderState"])

    def rest(
        self, seconds: float, method: str, path: str, body: object = None, token: str | None = "secret", **query: str
    ) -> Response:
        """Make a REST request and wait for its answer."""
        self.run(seconds)
        raw = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        number = self.server.request(token, method, path, query, raw, at(seconds))
        self._take()
        self.run(seconds + self.patience)
        (found,) = (out for out in self.outputs if isinstance(out, Response) and out.request == number)
        return found

    @property
    def endings(self) -> list[Output]:
        return [out for out in self.outputs if isinstance(out, Close | Drop)]


def _frames(outputs: Sequence[Output], number: int | None) -> list[Any]:
    texts = [out.text for out in outputs if isinstance(out, Send) and number in (None, out.connection)]
    found = []
    for text in texts:
        try:
            found.append(json.loads(text))
        except ValueError:
            found.append({"garbage": text})
    return [frame if isinstance(frame, dict) else {"garbage": frame} for frame in found]


def quotes_of(frames: Sequence[Any]) -> list[Any]:
    """The rows of all marketData frames."""
    return [row for frame in frames if frame.get("type") == "marketData" for row in frame["quotes"]]


__all__ = ["BOOK", "ES", "Client", "at", "quotes_of"]
