"""A protective order that the venue rejects: its position is closed within three seconds of the rejection."""

from __future__ import annotations

import pytest
from tables import ES, SECOND, START, table

from xtalgo import Instrument, OrderStatus, Quote, Role, Strategy
from xtalgo.client.aslive import LEAD, Rehearsal, make_trader
from xtalgo.engine.risk import RiskLimits
from xtalgo.model.instruments import ContractBook
from xtalgo.protocol.words import OrderState
from xtalgo.sim.faults import Faults
from xtalgo.sim.feeds import TableFeed
from xtalgo.sim.fills import Fees, FillModel, Latency
from xtalgo.sim.server import SimServer


class Entrant(Strategy):
    """Buys one with a stop at its fifth quote."""

    instrument: Instrument = ES

    def on_start(self) -> None:
        self.count = 0

    def on_quote(self, quote: Quote) -> None:
        self.count += 1
        if self.count == 5:
            self.buy(self.instrument, 1, stop_loss=40)


@pytest.mark.parametrize("milliseconds", [20, 250, 400])
def test_its_position_is_closed_in_time(milliseconds: int) -> None:
    """NinjaTrader answers the placing with success and shows the rejection in the row: it has to be looked for."""
    book = ContractBook()
    trader = make_trader([Entrant()], contracts=book, accounts=("Sim101",), limits=RiskLimits(), run="e")
    server = SimServer(
        TableFeed(table([4800.0] * 60), book),
        accounts=("Sim101",),
        contracts=book,
        fills=FillModel(),
        latency=Latency(entry=milliseconds * 1_000_000, report=0),
        fees=Fees(),
    )
    life = Rehearsal(trader, server, START - LEAD)
    life.connect()

    def storm(**faults: float) -> None:
        server.faults = server._mishaps.faults = Faults.from_table(faults)

    while not server.venue.exchange.executions:
        life.run(life.now + SECOND // 100)
    storm(reject_order=1.0)
    rejected = closed = None
    while closed is None and life.now < START + 50 * SECOND:
        life.run(life.now + SECOND // 100)
        if rejected is None and any(order.state is OrderState.REJECTED for order in server.venue.orders):
            rejected = life.now
            storm()
        if rejected is not None and not sum(book.position for book in server.venue.books("Sim101")):
            closed = life.now
    assert rejected is not None
    assert closed is not None
    assert closed - rejected <= 3 * SECOND, (closed - rejected) / SECOND
    life.run(START + 55 * SECOND)
    assert trader.engine is not None
    told = {order.role: order.status for order in trader.engine.blotter.orders.values()}
    assert told == {
        Role.ENTRY: OrderStatus.FILLED,
        Role.STOP_LOSS: OrderStatus.REJECTED,
        Role.CLOSE: OrderStatus.FILLED,
    }
