"""An engine at a venue that has to be asked, driven by hand: every reply and list is the test's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from tables import ES, MNQ, START

from xtalgo import Instrument, Order, Strategy
from xtalgo.engine.engine import Engine
from xtalgo.engine.reconcile import Case
from xtalgo.model.commands import Ask, CancelOrder, ChangeOrder, Command, PlaceOrder, Query
from xtalgo.model.events import (
    Answered,
    Doubtful,
    Event,
    ExecutionsSeen,
    LinkUp,
    OrdersSeen,
    PositionsSeen,
    Quote,
    Refused,
    Released,
    Tick,
)
from xtalgo.model.instruments import ContractBook
from xtalgo.model.reports import ExecutionReport, OrderReport, PositionReport, Standing
from xtalgo.model.types import Side

T = TypeVar("T")

SECOND = 1_000_000_000
GONE = "Order linked to it not found or already terminal."


class Idle(Strategy):
    """Does what the test says, and remembers what it was told."""

    instrument: Instrument = ES
    second: Instrument = MNQ

    def on_start(self) -> None:
        self.told: list[tuple[str, str]] = []

    def on_order(self, order: Order) -> None:
        self.told.append((order.id, str(order.status)))


class Asked:
    """``now`` moves only when a test says so; commands gather in ``out`` until they are released."""

    def __init__(self, accounts: tuple[str, ...] = ("Sim101",), *, ready: bool = True) -> None:
        self.now = START
        self.accounts = accounts
        self.strategy = Idle()
        self.engine = Engine([self.strategy], contracts=ContractBook(), pin=str, accounts=accounts, run="r", asks=True)
        self.out: list[Command] = []
        self.serial = 1_000
        if ready:
            self.link_up()
            self.out += self.engine.start(self.now)

    @property
    def liaison(self) -> Any:
        return self.engine.liaison

    def hear(self, event: Event) -> None:
        self.out += self.engine.handle(event)

    def tick(self, seconds: float) -> None:
        """Time passes; the engine's own queries go to ``out``."""
        self.now += round(seconds * SECOND)
        self.hear(Tick(self.now))

    def act(self, wish: Callable[[Idle], T]) -> T:
        made = wish(self.strategy)
        self.out += self.engine.decide(lambda: None, self.now)
        return made

    def quote(self, bid: float, instrument: str = ES) -> None:
        self.engine.feeds.of(instrument)
        self.hear(Quote(self.now, instrument, bid, bid + 0.25, bid, 1))

    def link_up(self) -> None:
        """The link comes up and the first round is answered with nothing."""
        self.hear(LinkUp(self.now))
        for account in self.accounts:
            for ask in (Ask.ORDERS, Ask.EXECUTIONS, Ask.POSITIONS):
                self.rows(self.ask(ask, account))

    # --- what leaves -------------------------------------------------------------------------------------------------

    def waiting(self, kind: type[T]) -> list[T]:
        return [command for command in self.out if isinstance(command, kind)]

    def leave(self, kind: type[T] = PlaceOrder) -> T:  # type: ignore[assignment]
        """The oldest waiting command of a kind leaves."""
        command = self.waiting(kind)[0]
        self.out.remove(command)  # type: ignore[arg-type]
        self.hear(Released(self.now, command))  # type: ignore[arg-type]
        return command

    def placed(self, order: Order, venue_id: str | None = None) -> Order:
        """The placing of an order leaves and is answered."""
        self.hear(Answered(self.now, self.leave(PlaceOrder), venue_id))
        return order

    def doubted(self, order: Order) -> Order:
        """The placing of an order leaves, and nobody knows."""
        self.hear(Doubtful(self.now, self.leave(PlaceOrder), "no reply in 10 s"))
        return order

    def cancelled(self, order: Order) -> None:
        """A cancel leaves and is answered with success."""
        self.hear(Answered(self.now, self.leave(CancelOrder)))

    def refused(self, kind: type[CancelOrder] | type[ChangeOrder], *, gone: bool = True, text: str = GONE) -> None:
        self.hear(Refused(self.now, self.leave(kind), text, gone))  # type: ignore[arg-type]

    # --- what is asked and seen --------------------------------------------------------------------------------------

    def ask(self, ask: Ask = Ask.ORDERS, account: str = "Sim101") -> Query:
        """A query leaves now."""
        self.serial += 1
        query = Query(ask, account, self.serial)
        self.hear(Released(self.now, query))
        return query

    def rows(self, query: Query, *rows: Any, complete: bool = True) -> None:
        """Its reply comes now."""
        kind: Any = {Ask.ORDERS: OrdersSeen, Ask.EXECUTIONS: ExecutionsSeen, Ask.POSITIONS: PositionsSeen}[query.ask]
        self.hear(kind(self.now, query, rows, complete))

    def see(self, *rows: Any, ask: Ask = Ask.ORDERS, complete: bool = True) -> None:
        """A list that is asked for and answered at once."""
        self.rows(self.ask(ask), *rows, complete=complete)

    def executions(self, *rows: ExecutionReport) -> None:
        self.see(*rows, ask=Ask.EXECUTIONS)

    def positions(self, quantity: int, instrument: str = ES) -> None:
        self.see(PositionReport("Sim101", instrument, quantity), ask=Ask.POSITIONS)

    def case(self, order: Order) -> Case:
        found: Case = self.liaison.evidence.cases[order.id]
        return found

    def position(self, instrument: str = ES) -> int:
        return self.strategy.position(instrument)


def row(order: Order, standing: Standing = Standing.WORKING, **more: Any) -> OrderReport:
    """The order as the venue shows it."""
    facts: dict[str, Any] = {
        "order_id": order.id,
        "account": order.account,
        "instrument": order.instrument,
        "standing": standing,
        "side": order.side,
        "quantity": order.quantity,
        "filled": order.filled,
        "limit_price": order.limit_price,
        "stop_price": order.stop_price,
    }
    return OrderReport(**(facts | more))


def execution(order: Order, number: int, quantity: int = 1, price: float = 4800.0, **more: Any) -> ExecutionReport:
    """An execution of the order."""
    facts: dict[str, Any] = {
        "execution_id": f"e{number}",
        "order_id": order.id,
        "account": order.account,
        "instrument": order.instrument,
        "side": Side(order.side),
        "quantity": quantity,
        "price": price,
        "fee": 1.0,
        "executed": START + number,
    }
    return ExecutionReport(**(facts | more))
