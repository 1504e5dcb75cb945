"""Functions of several steps on the server, by RPC: reversing, replacing, bracketing, flattening; and OCO groups."""

from __future__ import annotations

import json
from typing import Any

import pytest
from serving import Client, at
from tables import ES, MNQ, SECOND, START, table

from xtalgo import FillModel, QuoteTable
from xtalgo.protocol.outcomes import Outcome, diagnose
from xtalgo.sim.outputs import Response

ES_ORDER: dict[str, Any] = {"account": "Sim101", "instrument": "ES", "orderType": "MARKET", "timeInForce": "GTC"}
BRACKET: dict[str, Any] = {"account": "Sim101", "instrument": "ES", "takeProfit": 103.0, "stopLoss": 98.0}


def held(client: Client, seconds: float, **args: str) -> int:
    row = client.call(seconds, "GetPosition", **{"account": "Sim101", "instrument": "ES", **args})
    return int(row["quantity"]) * {"Long": 1, "Short": -1, "Flat": 0}[row["marketPosition"]]


def two(seconds: int = 60) -> QuoteTable:
    """ES at 100 and MNQ at 200, a quote of each a second."""
    count = 2 * seconds
    bids = [100.0, 200.0] * seconds
    stamps = [START + row // 2 * SECOND for row in range(count)]
    return QuoteTable.from_rows((ES, MNQ), [0, 1] * seconds, stamps, bids, [bid + 0.25 for bid in bids])


# --- the life of a bracket -------------------------------------------------------------------------------------------


def test_a_bracket_from_entry_to_the_cancel_of_the_survivor():
    # Entry in two parts at 99, target 103 and stop 98 as one OCO group, the target filled, the stop cancelled by it.
    client = Client(table([100, 100, 98.5, 98.5, 100, 100, 100, 103.5, 103.5, 100], sizes=1))
    client.place(0.1, "BUY", "LIMIT", 2, limitPrice=99.0, orderId="entry")
    row = client.order(2.1, "entry")
    assert (row["orderState"], row["filled"]) == ("PartFilled", 1)
    assert client.order(3.1, "entry")["orderState"] == "Filled"
    answer = client.call(4.1, "CancelAndBracket", **BRACKET, action="buy", quantity=5)
    target, stop = (client.order(4.5 + k / 2, order_id) for k, order_id in enumerate(answer["orderIds"]))
    assert (target["orderType"], target["limitPrice"], target["orderState"]) == ("Limit", 103.0, "Working")
    assert (stop["orderType"], stop["stopPrice"], stop["orderState"]) == ("StopMarket", 98.0, "Accepted")
    assert (target["quantity"], stop["quantity"]) == (2, 2)  # cut to what is open
    assert {target["orderAction"], stop["orderAction"]} == {"Sell"}
    assert target["oco"] == stop["oco"] == answer["ocoId"]
    row = client.order(7.1, target["orderId"])
    assert (row["orderState"], row["filled"]) == ("PartFilled", 1)
    assert client.state(7.5, stop["orderId"]) == "Cancelled"  # the fill model's rule, `cancel` by default
    assert client.state(8.1, target["orderId"]) == "Filled"
    assert held(client, 8.5) == 0
    assert client.call(9, "ListOrders", account="Sim101", activeOnly=True)["orders"] == []


def test_partial_fills_shrink_the_others_where_the_fill_model_says_so():
    client = Client(table([100, 100, 100, 103.5, 100, 100, 100], sizes=[9, 9, 9, 1, 9, 9, 9]),
                    fills=FillModel(slippage=0, oco="reduce"))  # fmt: skip
    client.place(0.1, quantity=3)
    target, stop = client.call(1.1, "CancelAndBracket", **BRACKET, action="BUY", quantity=3)["orderIds"]
    assert client.order(3.1, target)["filled"] == 1
    row = client.order(3.5, stop)
    assert (row["quantity"], row["orderState"]) == (2, "Accepted")


def test_a_bracket_takes_the_place_of_the_instruments_orders_and_of_no_others():
    client = Client(two())
    client.place(0.1, "SELL")
    client.place(0.5, "BUY", "LIMIT", limitPrice=90.0, orderId="old")
    client.place(0.9, "BUY", "LIMIT", instrument="MNQ", limitPrice=90.0, orderId="mnq")
    args = {"account": "Sim101", "instrument": "ESM6", "action": "SELL", "quantity": 1}
    answer = client.call(2.1, "CancelAndBracket", **args, stopLoss=104.0)
    (stop,) = answer["orderIds"]
    assert client.order(2.5, stop)["orderAction"] == "Buy"
    assert (client.state(3, "old"), client.state(3.5, "mnq")) == ("Cancelled", "Working")


def test_without_a_position_a_bracket_is_an_entry_at_the_asked_size():
    client = Client([100.0] * 5 + [103.5] * 5)
    answer = client.call(1.1, "CancelAndBracket", **BRACKET, action="BUY", quantity=4)
    assert client.order(1.5, answer["orderIds"][0])["quantity"] == 4
    assert (held(client, 6.1), client.state(6.5, answer["orderIds"][1])) == (-4, "Cancelled")


def test_a_bracket_for_the_other_side_is_refused_and_cancels_nothing():
    client = Client()
    client.place(0.1, "SELL")
    client.place(0.5, "BUY", "LIMIT", limitPrice=90.0, orderId="old")
    no = client.call(2.1, "CancelAndBracket", **BRACKET, action="BUY", quantity=1)
    assert (no["error"], no["detail"]) == (
        "Invalid request",
        "action: BUY is the side of a position, and this one is short",
    )
    assert client.state(2.5, "old") == "Working"


def test_a_bracket_waits_for_its_cancels_and_for_the_delay_and_answers_then():
    client = Client(faults={"slow_cancel": 2})
    client.place(0.1)
    client.place(0.5, "SELL", "LIMIT", limitPrice=110.0, orderId="old")
    key = client.rpc(2.1, "CancelAndBracket", **BRACKET, action="BUY", quantity=1)
    client.run(4.2)
    assert client.replies(key) == []
    client.run(4.5)
    assert len(client.replies(key)[0]["data"]["orderIds"]) == 2
    key = client.rpc(6.1, "CancelAndBracket", **BRACKET, action="BUY", quantity=1, delay=3_500)
    client.run(9.8)
    assert client.replies(key) == []
    client.run(9.9)
    assert client.replies(key)[0]["data"]["success"] is True


def test_a_bracket_is_aborted_where_the_position_goes_flat_in_the_cancel_window():
    client = Client([100.0] * 4 + [110.5] * 20, faults={"slow_cancel": 2})
    client.place(0.1)
    client.place(0.5, "SELL", "LIMIT", limitPrice=110.0, orderId="old")
    key = client.rpc(2.1, "CancelAndBracket", **BRACKET, action="BUY", quantity=1)
    client.run(6)
    (frame,) = client.replies(key)
    assert frame["data"]["error"].startswith("Aborted: the position went flat")
    assert (held(client, 7), len(client.server.venue.orders)) == (0, 2)


# --- OCO groups ------------------------------------------------------------------------------------------------------


def test_the_id_of_a_finished_group_is_rejected_and_that_of_another_account_is_another():
    client = Client(accounts=("Sim101", "Sim102"))
    client.place(0.1, "BUY", "LIMIT", limitPrice=90.0, ocoId="pair", orderId="a")
    client.place(0.5, "BUY", "LIMIT", limitPrice=91.0, ocoId="pair", orderId="b")
    client.call(1.1, "Cancel", account="Sim101", orderId="a")
    assert client.state(1.5, "b") == "Cancelled"
    assert client.place(2.1, "BUY", "LIMIT", limitPrice=90.0, ocoId="pair", orderId="c")["success"] is True
    assert client.state(2.5, "c") == "Rejected"
    client.place(3.1, "BUY", "LIMIT", limitPrice=90.0, ocoId="pair", orderId="d", account="Sim102")
    assert client.call(3.5, "GetOrderStatus", account="Sim102", orderId="d") == {
        "orderId": "d", "orderState": "Working", "filled": 0, "quantity": 1, "success": True
    }  # fmt: skip


# --- turning round ---------------------------------------------------------------------------------------------------


def test_reverse_mirrors_the_position_with_one_order_and_takes_its_exits_away():
    client = Client()
    client.place(0.1, quantity=2, strategy="Scalp")
    answer = client.call(2.1, "Reverse", account="Sim101", instrument="ES1!")
    assert held(client, 3.2) == -2
    executions = client.call(3.6, "GetExecutionsByOrderId", orderId=answer["orderId"])["executions"]
    assert [(row["quantity"], row["position"]) for row in executions] == [(4, -2)]
    assert client.call(4, "ListOrders", account="Sim101", activeOnly=True)["orders"] == []
    assert client.call(4.4, "ListStrategies", account="Sim101")["strategies"] == []
    client.call(5, "Reverse", account="Sim101", instrument="ES")
    assert held(client, 6.3) == 2


@pytest.mark.parametrize("api", ["Reverse", "ReversePosition"])
def test_turning_round_what_is_flat_is_an_error_with_the_account_in_lower_case(api: str):
    client = Client()
    args = {**ES_ORDER, "action": "BUY", "quantity": 1}
    if api == "Reverse":
        args = {"account": "SIM101", "instrument": "es"}
    no = client.call(1.1, api, **args)
    assert no == {"success": False, "error": "No position found for instrument 'ES 06-26' in account 'sim101'"}
    assert client.server.venue.orders == []
    assert diagnose(api, no["error"]).outcome is Outcome.REFUSED


def test_reverse_position_closes_waits_until_it_is_clear_and_places():
    client = Client()
    client.place(0.1, quantity=2)
    client.place(1.1, "SELL", "LIMIT", 2, limitPrice=110.0, orderId="target")
    key = client.rpc(2.1, "ReversePosition", **ES_ORDER, action="SELL", quantity=3)
    client.run(2.9)
    assert client.replies(key) == []  # the close fills at second 3
    client.run(3.2)
    (frame,) = client.replies(key)
    assert client.order(3.3, frame["data"]["orderId"])["quantity"] == 3
    assert (held(client, 4.2), client.state(4.6, "target")) == (-3, "Cancelled")


def test_reverse_position_places_anyway_after_five_seconds():
    quotes = QuoteTable.from_rows((ES,), [0] * 4, [at(0), at(1), at(20), at(21)], [100.0] * 4, [100.25] * 4)
    client = Client(quotes)
    client.place(0.1, quantity=2)
    key = client.rpc(2.1, "ReversePosition", **ES_ORDER, action="SELL", quantity=1)
    client.run(7.3)
    assert client.replies(key) == []
    client.run(7.4)
    assert client.replies(key)[0]["data"]["success"] is True
    assert held(client, 8) == 2
    assert held(client, 21.5) == -1


def test_reverse_position_is_answered_over_rest_too_when_it_is_through():
    client = Client()
    client.place(0.1)
    body = json.dumps({**ES_ORDER, "action": "SELL", "quantity": 1}).encode()
    path = "/v1/api/accounts/Sim101/positions/reverseposition"
    number = client.server.request("secret", "POST", path, {}, body, at(2.1))
    assert not [out for out in client.run(2.9) if isinstance(out, Response)]
    (answer,) = [out for out in client.run(3.3) if isinstance(out, Response)]
    assert (answer.request, answer.status) == (number, 200)


def test_what_is_under_way_when_the_add_on_goes_away_is_done_and_told_as_unknown():
    client = Client(faults={"addon_offline": [[2.5, 6]]})
    client.place(0.1)
    key = client.rpc(2.1, "ReversePosition", **ES_ORDER, action="SELL", quantity=1)
    client.run(5)
    (frame,) = client.replies(key)
    assert diagnose("ReversePosition", frame["error"]).outcome is Outcome.UNKNOWN
    assert held(client, 7) == -1


def test_a_lost_reply_of_several_steps_is_lost_and_the_steps_are_done():
    client = Client(faults={"lose_reply": 1})
    client.rpc(0.1, "PlaceOrder", **ES_ORDER, action="BUY", quantity=1)
    key = client.rpc(2.1, "ReversePosition", **ES_ORDER, action="SELL", quantity=1)
    client.run(6)
    assert client.replies(key) == []
    assert [order.filled for order in client.server.venue.orders] == [1, 1, 1]


def test_flat_place_places_whether_or_not_there_was_a_position():
    client = Client()
    client.call(0.1, "FlatPlace", **ES_ORDER, action="BUY", quantity=2)
    assert held(client, 1.2) == 2
    client.place(1.6, "SELL", "LIMIT", 2, limitPrice=110.0, orderId="target")
    client.call(2.1, "FlatPlace", **ES_ORDER, action="BUY", quantity=1)
    assert (held(client, 3.2), client.state(3.6, "target")) == (1, "Cancelled")


# --- replacing -------------------------------------------------------------------------------------------------------


def test_cancel_replace_answers_with_a_new_id():
    client = Client()
    client.place(1.1, "BUY", "LIMIT", limitPrice=90.0, orderId="old")
    order = {**ES_ORDER, "orderType": "limit", "limitPrice": 91.0, "action": "buy", "quantity": 2}
    answer = client.call(2.1, "CancelReplace", **order, orderId="old")
    assert answer["orderId"] != "old"
    row = client.order(2.5, answer["orderId"])
    assert (row["orderState"], row["limitPrice"], row["quantity"]) == ("Working", 91.0, 2)
    assert client.state(3, "old") == "Cancelled"
    gone = client.call(3.5, "CancelReplace", **order, orderId="old")
    assert gone["error"] == "Order linked to 'old' not found or already terminal."


def test_what_fills_while_it_is_being_cancelled_is_not_replaced():
    client = Client([100.0] * 3 + [89.0] * 10, faults={"slow_cancel": 2})
    client.place(0.1, "BUY", "LIMIT", limitPrice=90.0, orderId="old")
    key = client.rpc(2.1, "CancelReplace", **ES_ORDER, action="BUY", quantity=1, orderId="old")
    client.run(5)
    (frame,) = client.replies(key)
    assert frame["data"]["error"] == "Order linked to 'old' not found or already terminal."
    assert held(client, 6) == 1


def test_a_cancel_that_takes_too_long_replaces_nothing():
    client = Client(faults={"slow_cancel": 30})
    client.place(0.1, "BUY", "LIMIT", limitPrice=90.0, orderId="old")
    key = client.rpc(2.1, "CancelReplace", **ES_ORDER, action="BUY", quantity=1, orderId="old")
    client.run(8)
    (frame,) = client.replies(key)
    assert "still being cancelled" in frame["data"]["error"]
    assert diagnose("CancelReplace", frame["data"]["error"]).outcome is Outcome.UNKNOWN
    assert len(client.server.venue.orders) == 1


# --- flattening ------------------------------------------------------------------------------------------------------


def test_flatten_with_a_filter_closes_that_account_alone():
    client = Client(two(), accounts=("Sim101", "Sim102"))
    for k, account in enumerate(("Sim101", "Sim102")):
        client.place(0.1 + 2 * k, account=account)
        client.place(0.5 + 2 * k, "SELL", account=account, instrument="MNQ")
        client.place(0.9 + 2 * k, "BUY", "LIMIT", account=account, limitPrice=90.0, orderId=f"rests{k}")
    answer = client.call(4.1, "Flatten", account="sim102", marketPosition="SHORT")
    assert [(row["account"], row["instrument"]) for row in answer["closedPositions"]] == [("Sim102", MNQ)]
    answer = client.call(5.1, "Flatten", account="SIM102")
    assert [(row["account"], row["instrument"]) for row in answer["closedPositions"]] == [("Sim102", ES)]
    rows = client.call(6.2, "GetAllPositions")["positions"]
    assert [(row["account"], row["marketPosition"]) for row in rows] == [("Sim101", "Long"), ("Sim101", "Short")]
    working = client.call(6.6, "GetAllOrders", activeOnly=True)["orders"]
    assert [row["orderId"] for row in working] == ["rests0"]


def test_flatten_everything_closes_all_accounts_and_names_the_orders_that_do():
    client = Client(two(), accounts=("Sim101", "Sim102"))
    client.place(0.1)
    client.place(0.5, "SELL", account="Sim102", instrument="MNQ")
    client.place(0.9, "BUY", "LIMIT", account="Sim102", limitPrice=90.0, orderId="rests")
    answer = client.call(2.1, "FlattenEverything")
    assert [row["account"] for row in answer["closedPositions"]] == ["Sim101", "Sim102"]
    assert len(answer["orderIds"]) == 2
    assert client.call(3.2, "GetAllPositions")["count"] == 0
    assert client.call(3.6, "GetAllOrders", activeOnly=True)["count"] == 0
    for order_id in answer["orderIds"]:
        assert client.server.venue.find(order_id).name == "Close"  # type: ignore[union-attr]


def test_cancel_all_orders_takes_one_account_or_all():
    client = Client(accounts=("Sim101", "Sim102"))
    client.place(0.1, "BUY", "LIMIT", limitPrice=90.0, orderId="a")
    client.place(0.5, "BUY", "LIMIT", limitPrice=90.0, orderId="b", account="Sim102")
    assert client.call(1.1, "CancelAllOrders", account="sim102")["orderIds"] == ["b"]
    assert client.call(1.5, "CancelAllOrders") == {"orderIds": ["a"], "success": True}


# --- names and words -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["ES 06-26", "es 6-26", "ES", "ES1!", "ESM26", "ESM6", "ESM2026", "ES JUN26"])
def test_every_spelling_of_an_instrument_and_of_an_account_is_echoed_in_the_canonical_one(name: str):
    client = Client()
    client.place(0.1, "buy", "market", instrument=name, account="sIM101", timeInForce="gtc")
    row = client.call(1.2, "GetPosition", account="SIM101", instrument=name)
    assert (row["account"], row["instrument"], row["marketPosition"]) == ("Sim101", ES, "Long")
    assert client.call(2, "GetQuote", instrument=name)["instrument"] == ES
    assert client.call(2.5, "GetBars", instrument=name, periodType="MINUTE")["instrument"] == ES
    no = client.call(3, "GetPosition", account="Sim7", instrument=name)
    assert (no["success"], no["error"]) == (False, "invalid_account")


# --- Tradovate's lists -----------------------------------------------------------------------------------------------


def tv(client: Client, seconds: float, api: str) -> list[Any]:
    client.say(seconds, "rpc", id=api, api=api, args={}, origin="tradovate")
    client.run(seconds + 0.3)
    (group,) = client.replies(api)[0]["data"]["data"]
    assert (group["environment"], group["userId"]) == ("demo", "1000001")
    return list(group["data"])


def test_tradovates_lists_tell_the_same_by_numbers():
    client = Client(two(), accounts=("Sim101", "Sim102"))
    client.place(0.1, "SELL", quantity=2)
    client.place(0.5, instrument="MNQ", account="Sim102")
    client.place(0.9, "BUY", "LIMIT", limitPrice=90.0, orderId="rests")
    first, second = tv(client, 2.1, "Tv_ListPositions")
    assert (first["netPos"], first["netPrice"], second["netPos"]) == (-2, 100.0, 1)
    assert (second["accountId"] - first["accountId"], first["timestamp"]) == (1, "2026-05-13T14:00:01Z")
    assert first["contractId"] != second["contractId"]
    orders = tv(client, 2.5, "Tv_ListOrders")
    assert [(row["ordStatus"], row["action"]) for row in orders] == [
        ("Filled", "Sell"), ("Filled", "Buy"), ("Working", "Buy")
    ]  # fmt: skip
    assert [row["contractId"] for row in orders] == [first["contractId"], second["contractId"], first["contractId"]]
    refused = client.call(3, "Tv_ListOrders")
    assert refused == {"error": "Invalid request: Tv_ListOrders needs the origin 'tradovate'"}
