"""Seven accounts on one socket: what a reconnect costs, and what is made of one list for all of them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tables import ES, SECOND, START, table

from xtalgo import Instrument, OrderStatus, Quote, Strategy
from xtalgo.client.aslive import LEAD, Rehearsal, make_trader
from xtalgo.client.trader import Trader
from xtalgo.engine.risk import RiskLimits
from xtalgo.model.instruments import ContractBook
from xtalgo.sim.faults import Faults
from xtalgo.sim.feeds import TableFeed
from xtalgo.sim.fills import Fees, FillModel, Latency
from xtalgo.sim.server import SimServer

ACCOUNTS = tuple(f"Sim{number}" for number in range(101, 108))


class Spread(Strategy):
    """Rests one order in each of the first five accounts when told to."""

    instrument: Instrument = ES

    def on_start(self) -> None:
        self.go = False

    def on_quote(self, quote: Quote) -> None:
        if self.go:
            self.go = False
            for account in self.accounts[:5]:
                self.buy(self.instrument, 1, limit_price=quote.bid - 20, account=account)


def life_of(**faults: Any) -> tuple[Rehearsal, Trader, SimServer, Spread, list[str]]:
    book, strategy = ContractBook(), Spread()
    trader = make_trader([strategy], contracts=book, accounts=ACCOUNTS, limits=RiskLimits(), run="m")
    server = SimServer(
        TableFeed(table([4800.0] * 300), book),
        accounts=ACCOUNTS,
        contracts=book,
        fills=FillModel(),
        latency=Latency(entry=250_000_000, report=0),
        fees=Fees(),
        faults=Faults.from_table(faults),
    )
    asked: list[str] = []
    receive = server.receive

    def noted(connection: int, text: str, now: int) -> None:
        asked.append(json.loads(text).get("api", ""))
        receive(connection, text, now)

    server.receive = noted  # type: ignore[method-assign]
    life = Rehearsal(trader, server, START - LEAD)
    life.connect()
    return life, trader, server, strategy, asked


def pull(life: Rehearsal) -> None:
    assert life.connection is not None
    life.server.disconnect(life.connection, life.now)
    life._ended("pulled")


def test_a_reconnect_costs_little() -> None:
    """Nothing differs, five orders are in doubt: at most four, and one for each account and each unknown order."""
    life, trader, server, strategy, asked = life_of()
    life.run(START + 20 * SECOND)
    strategy.go = True
    life.run(START + 21 * SECOND + 100_000_000)  # the placings are under way and not answered
    pull(life)
    assert trader.engine is not None
    statuses = [order.status for order in trader.engine.blotter.orders.values()]
    assert statuses == [OrderStatus.IN_DOUBT] * 5
    asked.clear()
    life.run(life.reconnect)
    while not trader.engine.liaison.all_ready or any(  # type: ignore[union-attr]
        order.status is OrderStatus.IN_DOUBT for order in trader.engine.blotter.orders.values()
    ):
        life.run(life.now + SECOND // 20)
        assert life.now < START + 60 * SECOND
    requests = [api for api in asked if api]
    assert len(requests) <= 4 + len(ACCOUNTS) + 5, requests
    assert {order.status for order in trader.engine.blotter.orders.values()} == {OrderStatus.WORKING}
    assert len(server.venue.orders) == 5
    assert server.violations == 0


def test_one_list_is_split_by_its_rows() -> None:
    life, trader, _, strategy, asked = life_of()
    life.run(START + 10 * SECOND)
    assert asked.count("GetAllOrders") == asked.count("GetAllPositions") == 1
    assert "ListOrders" not in asked
    strategy.go = True
    life.run(START + 60 * SECOND)
    assert trader.engine is not None
    assert {order.status for order in trader.engine.blotter.orders.values()} == {OrderStatus.WORKING}
    assert trader.engine.liaison is not None
    working = {account: len(rows) for account, rows in trader.engine.liaison.working.items()}
    assert working == {account: int(account in ACCOUNTS[:5]) for account in ACCOUNTS}


@pytest.mark.parametrize("api", ["GetAllOrders", "GetAllPositions"])
def test_a_venue_without_the_wide_question_is_asked_account_by_account(
    api: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from xtalgo.sim import gateway

    served = {name: function for name, function in gateway.FUNCTIONS.items() if name != api}
    monkeypatch.setattr(gateway, "FUNCTIONS", served)
    life, trader, _, _, asked = life_of()
    life.run(START + 60 * SECOND)
    assert trader.is_running
    narrow = {"GetAllOrders": "ListOrders", "GetAllPositions": "ListPositions"}[api]
    assert asked.count(narrow) >= len(ACCOUNTS)
    assert asked.count(api) == 2
