"""ATM strategies on the server, by RPC: exits that the venue makes, sizes and ends by itself."""

from __future__ import annotations

from typing import Any

import pytest
from serving import Client
from tables import ES, table

from xtalgo.model.errors import ConfigError
from xtalgo.sim.templates import BUILT_IN, AtmBracket, AtmTemplate, templates_from_table


def orders(client: Client, seconds: float, **args: Any) -> dict[str, Any]:
    """Rows of the account's orders by their names."""
    rows = client.call(seconds, "ListOrders", account="Sim101", **args)["orders"]
    return {row["name"]: row for row in rows}


def held(client: Client, seconds: float) -> int:
    row = client.call(seconds, "GetPosition", account="Sim101", instrument="ES")
    return int(row["quantity"]) * {"Long": 1, "Short": -1, "Flat": 0}[row["marketPosition"]]


def strategies(client: Client, seconds: float) -> list[Any]:
    return list(client.call(seconds, "ListStrategies", account="sim101")["strategies"])


# --- the life of a strategy ------------------------------------------------------------------------------------------


def test_an_entry_gets_a_stop_and_a_target_and_the_targets_fill_ends_it_all():
    client = Client([100.0] * 8 + [103.0] * 10)
    client.place(0.1, quantity=3, strategy="scalp")  # in any case
    (running,) = strategies(client, 0.5)
    assert (running["name"], running["instrument"], running["account"]) == ("Scalp", ES, "Sim101")
    assert running["id"].isdecimal()
    rows = orders(client, 2.1)
    assert list(rows) == ["Entry", "Stop1", "Target1"]
    entry, stop, target = rows.values()
    assert (entry["averageFillPrice"], stop["stopPrice"], target["limitPrice"]) == (100.25, 98.25, 102.25)
    assert (stop["orderType"], stop["orderState"], stop["orderAction"]) == ("StopMarket", "Accepted", "Sell")
    assert (target["orderType"], target["orderState"], target["quantity"]) == ("Limit", "Working", 3)
    assert stop["oco"] == target["oco"] != ""
    assert {row["fromEntrySignal"] for row in rows.values()} == {running["id"]}
    assert client.call(3.1, "GetStrategy", account="Sim101", strategyId=running["id"])["name"] == "Scalp"
    rows = orders(client, 9.1)
    assert (rows["Target1"]["orderState"], rows["Stop1"]["orderState"]) == ("Filled", "Cancelled")
    assert held(client, 9.5) == 0
    assert strategies(client, 10.1) == []
    gone = client.call(10.5, "GetStrategy", account="Sim101", strategyId=running["id"])
    assert gone == {"success": False, "error": f"Strategy '{running['id']}' not found"}
    names = [row["name"] for row in client.call(11, "ListExecutions", account="Sim101")["executions"]]
    assert names == ["Entry", "Target1"]


def test_a_short_entry_is_protected_on_the_other_side_and_stopped_out():
    client = Client([100.0] * 4 + [103.0] * 10)
    client.place(0.1, "SELL", strategy="Scalp")
    rows = orders(client, 2.1)
    assert (rows["Stop1"]["stopPrice"], rows["Target1"]["limitPrice"]) == (102.0, 98.0)
    assert rows["Stop1"]["orderAction"] == "Buy"
    rows = orders(client, 5.1)
    assert (rows["Stop1"]["orderState"], rows["Target1"]["orderState"]) == ("Filled", "Cancelled")
    assert (held(client, 5.5), strategies(client, 5.9)) == (0, [])


def test_exits_grow_as_the_entry_fills_in_parts():
    client = Client(table([100, 100, 98, 98, 98, 98, 98], sizes=2))
    client.place(0.1, "BUY", "LIMIT", 5, limitPrice=99.0, strategy="Scalp", orderId="e")
    assert list(orders(client, 1.1)) == ["Entry"]
    for when, filled in ((2.1, 2), (3.1, 4), (4.1, 5)):
        rows = orders(client, when)
        assert (rows["Entry"]["filled"], rows["Stop1"]["quantity"], rows["Target1"]["quantity"]) == (filled,) * 3
        assert list(rows) == ["Entry", "Stop1", "Target1"]


def test_an_entry_cancelled_half_way_keeps_the_exits_of_what_filled():
    client = Client(table([100, 100, 98, 100, 100, 100], sizes=2))
    client.place(0.1, "BUY", "LIMIT", 5, limitPrice=99.0, strategy="Scalp", orderId="e")
    client.call(3.1, "Cancel", account="Sim101", orderId="e")
    rows = orders(client, 3.6)
    assert (rows["Entry"]["orderState"], rows["Stop1"]["orderState"], rows["Stop1"]["quantity"]) == (
        "Cancelled",
        "Accepted",
        2,
    )
    assert len(strategies(client, 4.1)) == 1


def test_an_entry_that_never_fills_takes_its_strategy_with_it():
    client = Client()
    client.place(1.1, "BUY", "LIMIT", limitPrice=90.0, strategy="Scalp", orderId="e")
    assert len(strategies(client, 1.6)) == 1
    client.call(2.1, "Cancel", account="Sim101", orderId="e")
    assert strategies(client, 2.6) == []
    client.place(3.1, "BUY", "STOPMARKET", stopPrice=90.0, strategy="Scalp", orderId="wrong")
    assert (client.state(3.6, "wrong"), strategies(client, 4.1)) == ("Rejected", [])


def test_contracts_go_to_brackets_in_order_and_the_last_takes_the_rest():
    client = Client([100.0] * 4 + [103.0] * 4 + [107.0] * 4)
    client.place(0.1, quantity=4, strategy="TwoTargets")
    rows = orders(client, 2.1)
    assert [(row["name"], row["quantity"]) for row in rows.values()] == [
        ("Entry", 4), ("Stop1", 1), ("Target1", 1), ("Stop2", 3), ("Target2", 3)
    ]  # fmt: skip
    assert rows["Stop1"]["oco"] != rows["Stop2"]["oco"]
    rows = orders(client, 4.1)
    assert (rows["Target1"]["orderState"], rows["Stop1"]["orderState"]) == ("Filled", "Cancelled")
    assert (rows["Target2"]["orderState"], rows["Stop2"]["orderState"]) == ("Working", "Accepted")
    assert (held(client, 5.1), len(strategies(client, 5.5))) == (3, 1)
    assert (held(client, 9.1), strategies(client, 9.5)) == (0, [])


def test_a_target_that_fills_in_part_shrinks_its_stop():
    client = Client(table([100, 100, 103, 100, 100, 97, 97, 97], sizes=[9, 9, 1, 9, 9, 9, 9, 9]))
    client.place(0.1, quantity=3, strategy="Scalp")
    rows = orders(client, 2.1)
    assert (rows["Target1"]["filled"], rows["Target1"]["orderState"]) == (1, "PartFilled")
    assert (rows["Stop1"]["quantity"], rows["Stop1"]["orderState"]) == (2, "Accepted")
    rows = orders(client, 5.1)
    assert (rows["Stop1"]["filled"], rows["Target1"]["orderState"]) == (2, "Cancelled")
    assert (held(client, 5.5), strategies(client, 5.9)) == (0, [])


def test_exits_cancelled_by_hand_are_not_put_back_and_the_strategy_runs_until_flat():
    client = Client()
    client.place(0.1, quantity=2, strategy="Scalp")
    stop = orders(client, 2.1)["Stop1"]["orderId"]
    client.call(2.5, "Cancel", account="Sim101", orderId=stop)
    rows = orders(client, 3.1)
    assert {rows[name]["orderState"] for name in ("Stop1", "Target1")} == {"Cancelled"}
    assert len(strategies(client, 3.5)) == 1
    client.place(4.1, "SELL", quantity=2)
    assert (held(client, 5.2), strategies(client, 5.6)) == (0, [])


def test_exits_moved_by_hand_stay_where_they_are_while_the_entry_goes_on_filling():
    client = Client(table([100, 100, 98, 98, 100, 98.5, 98], sizes=1))
    client.place(0.1, "BUY", "LIMIT", 3, limitPrice=99.0, strategy="Scalp")
    (running,) = strategies(client, 2.1)
    stop = orders(client, 2.5)["Stop1"]["orderId"]
    client.call(2.9, "Change", account="Sim101", orderId=stop, stopPrice=90.0, strategyId=running["id"])
    row = orders(client, 5.1)["Stop1"]
    assert (row["stopPrice"], row["quantity"]) == (90.0, 3)


def test_a_stop_that_the_market_has_passed_closes_the_position():
    # The entry fills at 100.25; by the quote on which its stop comes the market is four points below.
    bids = [100.0, 100.0, 96.0, 96.0, 96.0]
    client = Client(table(bids, spread=4.25))
    client.place(0.1, strategy="Scalp")
    rows = orders(client, 2.1)
    assert rows["Stop1"]["orderState"] == "Rejected"
    assert rows["Close"]["orderState"] in ("Working", "Filled")
    assert (held(client, 3.1), strategies(client, 3.5)) == (0, [])
    assert orders(client, 4.1, activeOnly=True) == {}


# --- ending it -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("api", "args"),
    [
        ("Flatten", {"account": "Sim101"}),
        ("FlattenEverything", {}),
        ("ClosePosition", {"account": "Sim101", "instrument": "ES"}),
    ],
)
def test_flattening_cancels_the_exits_and_ends_the_strategy(api: str, args: dict[str, Any]):
    client = Client()
    client.place(0.1, quantity=2, strategy="Scalp")
    client.call(2.1, api, **args)
    assert strategies(client, 2.5) == []
    rows = orders(client, 3.2)
    assert {rows[name]["orderState"] for name in ("Stop1", "Target1")} == {"Cancelled"}
    assert (held(client, 3.6), rows["Close"]["quantity"]) == (0, 2)


def test_closing_a_part_leaves_the_exits_and_the_strategy():
    client = Client()
    client.place(0.1, quantity=3, strategy="Scalp")
    client.call(2.1, "ClosePosition", account="Sim101", instrument="ES", quantity=1)
    rows = orders(client, 3.2)
    assert (rows["Stop1"]["orderState"], rows["Stop1"]["quantity"], held(client, 3.6)) == ("Accepted", 3, 2)
    assert len(strategies(client, 4)) == 1


def test_close_strategy_closes_what_it_opened_and_no_more():
    client = Client()
    client.place(0.1, quantity=2)
    client.place(1.1, quantity=3, strategy="Scalp")
    client.place(1.5, "SELL", "LIMIT", 2, limitPrice=120.0, orderId="other")
    (running,) = strategies(client, 3.1)
    assert held(client, 3.5) == 5
    answer = client.call(4.1, "CloseStrategy", account="SIM101", strategyId=running["id"])
    assert answer == {"strategyId": running["id"], "success": True}
    assert (held(client, 5.2), client.state(5.6, "other"), strategies(client, 6)) == (2, "Working", [])
    again = client.call(6.5, "CloseStrategy", account="Sim101", strategyId=running["id"])
    assert again["error"] == f"Strategy '{running['id']}' not found"


def test_strategies_of_two_accounts():
    client = Client(accounts=("Sim101", "Sim102"))
    client.place(0.1, strategy="Scalp")
    client.place(0.5, strategy="StopOnly", account="Sim102")
    everything = client.call(2.1, "ListAllStrategies")["strategies"]
    assert [(row["account"], row["name"]) for row in everything] == [("Sim101", "Scalp"), ("Sim102", "StopOnly")]
    assert len({row["id"] for row in everything}) == 2
    wrong = client.call(2.5, "CloseStrategy", account="Sim102", strategyId=everything[0]["id"])
    assert wrong["success"] is False
    rows = client.call(3, "ListOrders", account="Sim102")["orders"]
    assert [(row["name"], row["oco"] != "") for row in rows] == [("Entry", False), ("Stop1", True)]


def test_change_wants_the_strategy_that_the_order_belongs_to():
    client = Client()
    client.place(0.1, strategy="Scalp")
    client.place(0.5, "BUY", "LIMIT", limitPrice=90.0, orderId="plain")
    (running,) = strategies(client, 2.1)
    target = orders(client, 2.5)["Target1"]["orderId"]
    move = {"account": "Sim101", "limitPrice": 104.0}
    for when, order, named in ((3, target, "1"), (3.4, "plain", running["id"])):
        no = client.call(when, "Change", **move, orderId=order, strategyId=named)
        assert (no["error"], "strategyId" in no["detail"]) == ("Invalid request", True)
    assert client.call(4, "Change", **move, orderId=target, strategyId=running["id"])["success"] is True
    assert orders(client, 4.5)["Target1"]["limitPrice"] == 104.0


@pytest.mark.parametrize("api", ["PlaceOrder", "FlatPlace", "ReversePosition", "CancelReplace"])
def test_an_unknown_template_is_refused_before_anything_is_done(api: str):
    client = Client()
    client.place(0.1)
    client.place(0.5, "BUY", "LIMIT", limitPrice=90.0, orderId="rests")
    args = {"account": "Sim101", "instrument": "ES", "action": "SELL", "orderType": "MARKET", "quantity": 1}
    more = {"orderId": "rests"} if api == "CancelReplace" else {}
    no = client.call(2.1, api, **args, timeInForce="GTC", strategy="Nobody", **more)
    assert (no["success"], no["error"]) == (False, "Invalid request")
    assert no["detail"] == "strategy: no ATM template 'Nobody'; there are Scalp, TwoTargets, StopOnly"
    assert (held(client, 3.2), client.state(3.6, "rests"), len(client.server.venue.orders)) == (1, "Working", 2)


def test_orders_that_take_the_place_of_others_bring_their_template():
    client = Client()
    args = {"account": "Sim101", "instrument": "ES", "orderType": "MARKET", "timeInForce": "GTC", "quantity": 1}
    client.patience = 1.5
    client.call(0.1, "FlatPlace", **args, action="BUY", strategy="Scalp")
    assert [row["name"] for row in strategies(client, 3)] == ["Scalp"]
    client.call(5.1, "ReversePosition", **args, action="SELL", strategy="StopOnly")
    assert [row["name"] for row in strategies(client, 8)] == ["StopOnly"]
    assert held(client, 10) == -1


def test_templates_are_the_servers_to_give():
    mine = AtmTemplate("Mine", (AtmBracket(stop=4),))
    client = Client(templates=(mine,))
    client.place(0.1, strategy="mine")
    assert orders(client, 2.1)["Stop1"]["stopPrice"] == 99.25
    assert "there are Mine" in client.place(3, strategy="Scalp")["detail"]
    assert "there are none" in Client(templates=()).place(1, strategy="Scalp")["detail"]


# --- template files --------------------------------------------------------------------------------------------------


def test_templates_from_a_table():
    table = {
        "template": [
            {"name": "One", "target": 8, "stop": 4},
            {"name": "Two", "bracket": [{"quantity": 1, "target": 8, "stop": 12}, {"stop": 12}]},
        ]
    }
    assert templates_from_table(table) == (
        AtmTemplate("One", (AtmBracket(target=8, stop=4),)),
        AtmTemplate("Two", (AtmBracket(quantity=1, target=8, stop=12), AtmBracket(stop=12))),
    )
    assert {template.name for template in BUILT_IN} == {"Scalp", "TwoTargets", "StopOnly"}


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({}, r"no \[\[template\]\] in it"),
        ({"templates": []}, "the file: no key 'templates'; did you mean template"),
        ({"template": [{"target": 8}]}, "template 1: a template needs a printable name"),
        ({"template": [{"name": "A"}]}, "template 'A': a bracket needs a target or a stop"),
        ({"template": [{"name": "A", "stop": 0}]}, "template 'A': stop must be a whole number from 1"),
        ({"template": [{"name": "A", "stop": 2.5}]}, "template 'A': stop must be a whole number from 1"),
        ({"template": [{"name": "A", "stopp": 2}]}, "template 'A': no key 'stopp'; did you mean stop"),
        ({"template": [{"name": "A", "stop": 2, "bracket": []}]}, "stands beside"),
        ({"template": [{"name": "A", "bracket": 5}]}, "write its brackets as"),
        ({"template": [{"name": "A", "bracket": [5]}]}, "a bracket is no table"),
        ({"template": [{"name": "A", "bracket": [{"stop": 4}, {"stop": 4}]}]}, "bracket 1 needs a quantity"),
        ({"template": [{"name": "A", "stop": 2}, {"name": "a", "stop": 2}]}, "'A' is there twice"),
        ({"template": [5]}, "template 1 is no table"),
    ],
)
def test_a_table_that_is_none_is_told_where(table: dict[str, Any], said: str):
    with pytest.raises(ConfigError, match=said):
        templates_from_table(table)
