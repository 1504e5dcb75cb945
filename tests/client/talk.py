"""A trader talked to by hand: every frame it writes is seen, every frame it hears is the test's."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from tables import ES, SECOND, START

from xtalgo import Instrument, Order, Quote, Strategy
from xtalgo.client.aslive import make_trader
from xtalgo.client.trader import Trader
from xtalgo.engine.engine import Engine
from xtalgo.engine.risk import RiskLimits
from xtalgo.model.events import LinkDown, LinkUp
from xtalgo.model.instruments import ContractBook

ROWS = {"ListOrders": "orders", "ListExecutions": "executions", "ListPositions": "positions"}


class Scripted(Strategy):
    """Does at its quotes what the test put into ``todo``, and keeps what it was told."""

    instrument: Instrument = ES

    def on_start(self) -> None:
        self.todo: list[Callable[[Scripted], Any]] = []
        self.made: list[Any] = []
        self.told: list[tuple[str, str]] = []
        self.links: list[str] = []
        self.ticks: list[int] = []
        self.stopped = False

    def on_quote(self, quote: Quote) -> None:
        todo, self.todo = self.todo, []
        self.made += [act(self) for act in todo]

    def on_order(self, order: Order) -> None:
        self.told.append((order.id, str(order.status)))

    def on_link(self, link: LinkUp | LinkDown) -> None:
        self.links.append(type(link).__name__)

    def on_timer(self, tag: str) -> None:
        self.ticks.append(self.now)

    def on_stop(self) -> None:
        self.stopped = True


class Talk:
    """``now`` moves only when a test says so. ``held`` keeps frames that were written and not answered."""

    def __init__(self, strategy: Strategy | None = None, accounts: Iterable[str] = ("Sim101",), **limits: Any) -> None:
        self.strategy: Any = strategy or Scripted()
        self.trader: Trader = make_trader(
            [self.strategy],
            contracts=ContractBook(),
            accounts=tuple(accounts),
            limits=RiskLimits(**limits),
            run="r",
        )
        self.now = START
        self.held: list[dict[str, Any]] = []

    @property
    def engine(self) -> Engine:
        assert self.trader.engine is not None
        return self.trader.engine

    def order(self, number: int = 1) -> Order:
        return self.engine.blotter.orders[f"r-{number}"]

    def to(self, seconds: float) -> None:
        """Time passes."""
        self.now += round(seconds * SECOND)
        self.trader.advance(self.now)

    # --- what it says ------------------------------------------------------------------------------------------------

    def said(self) -> list[dict[str, Any]]:
        """What it wrote since this was last asked."""
        frames, self.trader.out = self.trader.out, []
        said = [json.loads(frame.text) for frame in frames]
        self.held += [frame for frame in said if frame["action"] == "rpc"]
        return said

    def apis(self) -> list[str]:
        return [frame.get("api", frame["action"]) for frame in self.said()]

    def take(self, api: str) -> dict[str, Any]:
        """The oldest unanswered call of a function."""
        self.said()
        frame = next(frame for frame in self.held if frame["api"] == api)
        self.held.remove(frame)
        return frame

    # --- what it hears -----------------------------------------------------------------------------------------------

    def hear(self, message: Any) -> None:
        self.trader.frame(message if isinstance(message, str | bytes) else json.dumps(message), self.now)

    def reply(self, frame: dict[str, Any], **data: Any) -> None:
        self.hear({"id": frame["id"], "data": {"success": True, **data}})

    def error(self, frame: dict[str, Any], text: str) -> None:
        self.hear({"id": frame["id"], "error": text})

    def quote(self, bid: float = 4800.0, **more: Any) -> None:
        row = {"instrument": ES, "bid": bid, "ask": bid + 0.25, "last": bid, "volume": 1} | more
        self.hear({"type": "marketData", "quotes": [row]})

    def answer(self, *apis: str, **rows: Any) -> None:
        """Answer every waiting list with these rows (by key: orders, executions, positions), none by default."""
        self.said()
        for frame in list(self.held):
            key = ROWS.get(frame["api"])
            if key is not None and (not apis or frame["api"] in apis):
                self.held.remove(frame)
                self.reply(frame, **{key: rows.get(key, [])})

    def settle(self, seconds: float, **rows: Any) -> None:
        """Time passes, every list is answered with these rows, and quotes come."""
        for _ in range(round(seconds * 2)):
            self.to(0.5)
            self.answer(**rows)
            self.quote()

    def link_up(self) -> None:
        self.trader.link_up(self.now)

    def link_down(self, *unsent: str) -> None:
        self.trader.link_down(self.now, "it dropped", unsent)

    def set_up(self, *accounts: str) -> None:
        """Answer what is asked before the engine is made."""
        names = accounts or ("Sim101", "Sim102")
        rows = [{"name": name, "provider": "Simulator", "connectionStatus": "Connected"} for name in names]
        self.reply(self.take("ListAccounts"), accounts=rows)
        self.reply(self.take("GetQuote"), instrument=ES, bid=4800.0, ask=4800.25, tickSize=0.25, pointValue=50.0)

    def start(self) -> Talk:
        """Connect, and come as far as running with one quote."""
        self.link_up()
        self.set_up()
        self.answer()
        assert self.trader.is_running
        self.said()
        self.quote()
        return self

    def do(self, *acts: Callable[[Any], Any]) -> Any:
        """Let the strategy act at a quote; what the last act made."""
        self.strategy.todo += acts
        self.quote()
        return self.strategy.made[-1]


def row(order: Order, state: str, filled: int = 0) -> dict[str, Any]:
    """An order as the venue lists it."""
    return {
        "account": order.account,
        "orderId": order.id,
        "instrument": order.instrument,
        "orderState": state,
        "orderAction": order.side.name.title(),
        "quantity": order.quantity,
        "filled": filled,
        "limitPrice": order.limit_price or 0.0,
        "stopPrice": order.stop_price or 0.0,
    }


def execution(order: Order, number: int, quantity: int = 1, price: float = 4800.0) -> dict[str, Any]:
    """An execution as the venue lists it."""
    return {
        "id": f"e{number}",
        "epoch": START // 1_000_000 + number,
        "orderId": order.id,
        "account": order.account,
        "instrument": order.instrument,
        "marketPosition": "Long" if order.side > 0 else "Short",
        "quantity": quantity,
        "price": price,
    }


def position(quantity: int) -> dict[str, Any]:
    """A position as the venue lists it."""
    side = "Long" if quantity > 0 else "Short"
    return {"account": "Sim101", "instrument": ES, "marketPosition": side, "quantity": abs(quantity)}
