"""Every function with a call that can be made of a busy server, and the documented shape of its answer, for tests."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from serving import Client
from tables import ES, SECOND, START

from xtalgo import QuoteTable

EXAMPLES: dict[str, Any] = {
    name: bodies[0]
    for name, bodies in json.loads(
        (Path(__file__).parent / "protocol" / "corpus" / "replies.json").read_text("utf-8")
    ).items()
}
"""One body of each function under the documented keys, with values of our own."""

SIM = {"account": "sim101"}
ORDER = {**SIM, "instrument": "ES", "action": "BUY", "orderType": "MARKET", "quantity": 1, "timeInForce": "DAY"}


def running(client: Client) -> str:
    return client.server.venue.atm.running[0].id


CALLS: dict[str, Callable[[Client], dict[str, Any]]] = {
    "ListAccounts": lambda _: {},
    "GetAccount": lambda _: SIM,
    "GetAccountSummary": lambda _: {},
    "GetWatermarks": lambda _: SIM,
    "ListPositions": lambda _: SIM,
    "GetAllPositions": lambda _: {},
    "GetPosition": lambda _: {**SIM, "instrument": "ES"},
    "ClosePosition": lambda _: {**SIM, "instrument": "ES"},
    "Flatten": lambda _: SIM,
    "FlattenEverything": lambda _: {},
    "Reverse": lambda _: {**SIM, "instrument": "ES"},
    "ReversePosition": lambda _: {**ORDER, "action": "SELL", "strategy": "Scalp"},
    "ListOrders": lambda _: SIM,
    "GetAllOrders": lambda _: {"activeOnly": True},
    "GetOrder": lambda _: {**SIM, "orderId": "rests"},
    "GetOrderStatus": lambda _: {**SIM, "orderId": "rests"},
    "PlaceOrder": lambda _: {**ORDER, "orderId": "new"},
    "FlatPlace": lambda _: ORDER,
    "Change": lambda _: {**SIM, "orderId": "rests", "limitPrice": 91.0},
    "CancelReplace": lambda _: {**ORDER, "orderId": "rests"},
    "Cancel": lambda _: {**SIM, "orderId": "rests"},
    "CancelOrders": lambda _: {**SIM, "instrument": "ES"},
    "CancelAllOrders": lambda _: {},
    "CancelAndBracket": lambda _: {
        **SIM, "instrument": "ES", "action": "BUY", "quantity": 1, "takeProfit": 105.0, "stopLoss": 95.0
    },
    "ListExecutions": lambda _: {**SIM, "lookbackTime": 60},
    "GetExecution": lambda client: {**SIM, "executionId": client.server.venue.executions[0].id},
    "GetExecutionsByOrderId": lambda _: {"orderId": "entry"},
    "GetQuote": lambda _: {"instrument": "ES"},
    "GetBars": lambda _: {"instrument": "ES", "period": 1},
    "MarketInfo": lambda _: {"instrument": "ES"},
    "ListStrategies": lambda _: SIM,
    "GetStrategy": lambda client: {**SIM, "strategyId": running(client)},
    "ListAllStrategies": lambda _: {},
    "CloseStrategy": lambda client: {**SIM, "strategyId": running(client)},
    "Tv_ListPositions": lambda _: {},
    "Tv_ListOrders": lambda _: {},
}  # fmt: skip
NOW = 61.1
"""Seconds since ``START`` at which a server is ``full``."""


def full() -> Client:
    """At second 61: a position with a running ATM strategy, a resting order, a finished minute, a session before."""
    stamps = [START - 20 * 3_600 * SECOND, *(START + row * SECOND for row in range(100))]
    bids = [99.0] + [100.0] * 100
    asks = [bid + 0.25 for bid in bids]
    client = Client(QuoteTable.from_rows((ES,), [0] * 101, stamps, bids, asks, bids, range(101)), fee=2.0)
    client.patience = 1.3
    client.place(2.1, quantity=2, orderId="entry", strategy="Scalp")
    client.place(4.1, "SELL", "LIMIT", 1, limitPrice=110.0, orderId="rests", ocoId="pair")
    client.run(NOW)
    return client


def misfits(ours: Any, theirs: Any, where: str = "body") -> Iterator[str]:
    """What differs in keys and JSON types; every item of an array is compared with the example's first."""
    if isinstance(theirs, dict) and isinstance(ours, dict):
        if set(ours) != set(theirs):
            yield f"{where}: {sorted(set(ours) ^ set(theirs))}"
        for key in set(ours) & set(theirs):
            yield from misfits(ours[key], theirs[key], f"{where}.{key}")
    elif isinstance(theirs, list) and isinstance(ours, list):
        if not ours:
            yield f"{where}: nothing in it to compare"
        for item in ours:
            yield from misfits(item, theirs[0], f"{where}[]")
    elif theirs is None:
        if not (ours is None or isinstance(ours, str)):
            yield f"{where}: {ours!r}"
    elif type(ours) is not type(theirs):
        yield f"{where}: {ours!r} for {theirs!r}"
