"""Whatever is called in whatever order: books add up, nothing finished goes on working, every row can be read."""

from __future__ import annotations

from collections import defaultdict
from itertools import accumulate
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import Client
from tables import ES, MNQ, SECOND, START

from xtalgo import FillModel, QuoteTable
from xtalgo.protocol.replies import Answer
from xtalgo.protocol.rpc import TABLE

ACCOUNTS = ("Sim101", "Sim102")
POINT = {ES: 50.0, MNQ: 2.0}
SECONDS = 45

ORDERS = st.fixed_dictionaries(
    {
        "account": st.sampled_from(ACCOUNTS),
        "instrument": st.sampled_from(["ES", "MNQ"]),
        "action": st.sampled_from(["BUY", "SELL"]),
        "orderType": st.sampled_from(["MARKET", "MARKET", "LIMIT", "STOPMARKET", "STOPLIMIT"]),
        "quantity": st.integers(1, 5),
        "timeInForce": st.just("GTC"),
        "limitPrice": st.integers(392, 408).map(lambda tick: tick / 4),
        "stopPrice": st.integers(392, 408).map(lambda tick: tick / 4),
    },
    optional={
        "strategy": st.sampled_from(["Scalp", "TwoTargets", "StopOnly"]),
        "ocoId": st.sampled_from(["a", "b", "c", "d"]),
    },
)
PLACE = ORDERS | ORDERS.map(lambda args: {key: value for key, value in args.items() if key != "ocoId"})
ONE = st.sampled_from(ACCOUNTS).map(lambda account: {"account": account})
HERE = st.tuples(ONE, st.sampled_from(["ES", "MNQ"])).map(lambda both: {**both[0], "instrument": both[1]})
NUMBER = st.integers(0, 30)
"""Stands for an order or strategy: the one of that number, counted round."""

CALLS = st.one_of(
    *[st.tuples(st.just("PlaceOrder"), PLACE)] * 4,
    st.tuples(st.just("FlatPlace"), PLACE),
    st.tuples(st.just("ReversePosition"), PLACE),
    st.tuples(st.just("CancelReplace"), st.tuples(PLACE, NUMBER).map(lambda both: {**both[0], "orderId": both[1]})),
    st.tuples(st.just("Reverse"), HERE),
    st.tuples(st.just("ClosePosition"), HERE),
    st.tuples(st.just("ClosePosition"), HERE.map(lambda args: {**args, "quantity": 1})),
    st.tuples(st.just("Flatten"), ONE | HERE | HERE.map(lambda args: {**args, "marketPosition": "long"})),
    st.tuples(st.just("FlattenEverything"), st.just({})),
    st.tuples(st.just("Change"), NUMBER.map(lambda number: {"orderId": number, "quantity": number % 5 + 1})),
    st.tuples(st.just("Cancel"), NUMBER.map(lambda number: {"orderId": number})),
    st.tuples(st.just("CancelOrders"), ONE | HERE),
    st.tuples(st.just("CancelAllOrders"), st.just({}) | ONE),
    st.tuples(
        st.just("CancelAndBracket"),
        st.tuples(HERE, st.sampled_from(["BUY", "SELL"]), st.integers(1, 4)).map(
            lambda parts: {**parts[0], "action": parts[1], "quantity": parts[2], "takeProfit": 101.0, "stopLoss": 99.0}
        ),
    ),
    st.tuples(st.just("CloseStrategy"), NUMBER.map(lambda number: {"strategyId": number})),
)
FAULTS = st.sampled_from(
    [{}, {}, {"slow_cancel": 1.5}, {"reject_order": 0.2}, {"most_per_fill": 1}, {"most_per_fill": 1, "slow_cancel": 3}]
)


def market(ticks: list[int]) -> QuoteTable:
    stamps = [START + row // 2 * SECOND for row in range(2 * len(ticks))]
    bids = [price / 4 for tick in ticks for price in (tick, 800 - tick)]
    return QuoteTable.from_rows((ES, MNQ), [0, 1] * len(ticks), stamps, bids, [bid + 0.25 for bid in bids], bids)


def carry_out(client: Client, seconds: float, api: str, args: dict[str, Any]) -> str:
    """Send a call, its numbers replaced by ids of orders and running strategies that there are by then."""
    client.run(seconds)
    venue = client.server.venue
    args = dict(args)
    for name, known in (("orderId", venue.orders), ("strategyId", venue.atm.running)):
        if name in args:
            found: Any = known[args[name] % len(known)] if known else None
            args["account"] = found.account if found else "Sim101"
            args[name] = found.id if found else "none"
    return client.rpc(seconds, api, **args)


def read(client: Client, seconds: float, api: str, **args: Any) -> Any:
    """A body that its reader reads without a fault."""
    body = client.call(seconds, api, **args)
    found = TABLE[api].read(body)
    assert isinstance(found, Answer), found
    assert (found.faults, found.lost) == ((), 0)
    return body


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.integers(-3, 3), min_size=SECONDS, max_size=SECONDS),
    st.lists(CALLS, min_size=12, max_size=30),
    FAULTS,
    st.sampled_from(["cancel", "reduce"]),
)
def test_after_any_calls_the_books_add_up(
    moves: list[int], calls: list[tuple[str, dict[str, Any]]], faults: dict[str, float], oco: Any
):
    ticks = [400 + step for step in accumulate(moves)]
    client = Client(market(ticks), accounts=ACCOUNTS, faults=faults, fills=FillModel(slippage=0, oco=oco), fee=0.85)
    sent = [carry_out(client, 0.6 + 1.3 * number, api, args) for number, (api, args) in enumerate(calls)]
    client.run(SECONDS + 10)
    for key in sent:
        (frame,) = client.replies(key)
        assert "data" in frame, frame
    now = float(SECONDS + 10)

    def ask(api: str, **args: Any) -> Any:
        nonlocal now
        now += 0.5
        return read(client, now, api, **args)

    orders = ask("GetAllOrders")["orders"]
    executions = [
        row for name in ACCOUNTS for row in ask("ListExecutions", account=name, lookbackTime=900)["executions"]
    ]
    positions = ask("GetAllPositions", includeFlat=True)["positions"]
    running = {row["id"] for row in ask("ListAllStrategies")["strategies"]}
    check_positions(positions, executions)
    check_orders(orders, executions, running, oco)
    for name in ACCOUNTS:
        check_money(ask("GetAccount", account=name)["item"], name, executions, ticks[-1])
        told = ask("GetWatermarks", account=name)["data"]
        if told["stats"]:
            assert told["stats"]["pnlhigh"] >= told["stats"]["pnl"]
            assert told["stats"]["netliqhigh"] >= told["stats"]["netliq"]
    ask("GetAccountSummary")


def signed(row: dict[str, Any]) -> int:
    return int(row["quantity"]) * {"Long": 1, "Short": -1, "Flat": 0}[row["marketPosition"]]


def check_positions(positions: list[Any], executions: list[Any]) -> None:
    sums: dict[tuple[str, str], int] = defaultdict(int)
    for row in executions:
        sums[row["account"], row["instrument"]] += signed(row)
        assert row["position"] == sums[row["account"], row["instrument"]]
    held = {(row["account"], row["instrument"]): signed(row) for row in positions}
    assert all(held.get(key, 0) == net for key, net in sums.items())
    assert all(sums.get(key, 0) == net for key, net in held.items())


def check_orders(orders: list[Any], executions: list[Any], running: set[str], oco: str) -> None:
    filled: dict[str, int] = defaultdict(int)
    for row in executions:
        filled[row["orderId"]] += row["quantity"]
    groups: dict[tuple[str, str], list[Any]] = defaultdict(list)
    for row in orders:
        assert row["filled"] == filled[row["orderId"]] <= row["quantity"]
        if is_working(row) and row["fromEntrySignal"] is not None:
            assert row["fromEntrySignal"] in running
        if row["oco"]:
            groups[row["account"], row["oco"]].append(row)
    for rows in groups.values():
        is_finished = any(row["orderState"] in ("Filled", "Cancelled") for row in rows)
        assert not is_finished or not any(is_working(row) for row in rows), rows


def is_working(row: dict[str, Any]) -> bool:
    return row["orderState"] not in ("Filled", "Cancelled", "Rejected")


def check_money(item: dict[str, float], account: str, executions: list[Any], tick: int) -> None:
    rows = [row for row in executions if row["account"] == account]
    marks = {ES: tick / 4, MNQ: (800 - tick) / 4}
    cash = sum(-signed(row) * row["price"] * POINT[row["instrument"]] for row in rows)
    worth = sum(signed(row) * marks[row["instrument"]] * POINT[row["instrument"]] for row in rows)
    fees = sum(row["commission"] for row in rows)
    assert item["netLiquidation"] == pytest.approx(100_000 + cash + worth - fees, abs=1e-6)
    assert item["netLiquidation"] == pytest.approx(item["cashValue"] + item["unrealizedProfitLoss"], abs=1e-6)
