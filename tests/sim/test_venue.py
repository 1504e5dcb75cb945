"""Orders in NinjaTrader's states, executions, positions and P&L of a simulated venue, as its client reads them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import Client, at
from tables import ES, MNQ, SECOND, START, table

from xtalgo import FillModel, QuoteTable
from xtalgo.model.errors import ConfigError
from xtalgo.model.sessions import session_at
from xtalgo.protocol.words import OrderState
from xtalgo.sim.venue import VenueOrder


def states(client: Client, order_id: str) -> list[str]:
    return [state.value for _, state in find(client, order_id).states]


def find(client: Client, order_id: str) -> VenueOrder:
    found = client.server.venue.order("Sim101", order_id)
    assert found is not None
    return found


def position(client: Client, seconds: float) -> Any:
    return client.call(seconds, "GetPosition", account="Sim101", instrument="ES")


# --- the life of an order --------------------------------------------------------------------------------------------


def test_a_market_order_works_until_a_later_quote_fills_it_at_the_far_side():
    client = Client()
    assert client.place(1.1, orderId="m1") == {"orderId": "m1", "success": True}
    assert client.state(1.5, "m1") == "Working"
    row = client.order(2.1, "m1")
    assert (row["orderState"], row["filled"], row["averageFillPrice"]) == ("Filled", 1, 100.25)
    assert states(client, "m1") == ["Submitted", "Accepted", "Working", "Filled"]
    assert find(client, "m1").states[-1][0] == at(2)


def test_an_order_is_matched_only_from_quotes_later_than_its_arrival():
    # Sent at 0.9 it arrives at 1.15: the quote of second 1 has gone by, the price it would have got is another.
    client = Client([100, 100, 110, 110, 110])
    client.place(0.9, orderId="m1")
    assert client.order(3, "m1")["averageFillPrice"] == 110.25


def test_a_limit_order_rests_fills_in_parts_and_is_filled():
    client = Client(table([100, 100, 100, 98, 98, 98], sizes=2))
    client.place(0.1, "BUY", "LIMIT", 5, limitPrice=99.0, orderId="l1")
    assert client.state(1.2, "l1") == "Working"
    row = client.order(3.1, "l1")
    assert (row["orderState"], row["filled"], row["averageFillPrice"]) == ("PartFilled", 2, 99.0)
    assert client.order(4.1, "l1")["filled"] == 4
    assert client.order(5.1, "l1")["orderState"] == "Filled"
    assert states(client, "l1") == ["Submitted", "Accepted", "Working", "PartFilled", "PartFilled", "Filled"]
    executions = client.call(5.5, "ListExecutions", account="Sim101")["executions"]
    assert [(row["quantity"], row["position"]) for row in executions] == [(2, 2), (2, 4), (1, 5)]


def test_a_stop_rests_as_accepted_and_a_triggered_stop_limit_works():
    client = Client([100, 100, 100, 102, 102, 102])
    client.place(0.1, "BUY", "STOPMARKET", stopPrice=101.0, orderId="s1")
    client.place(0.5, "BUY", "STOPLIMIT", stopPrice=101.0, limitPrice=101.0, orderId="s2")
    assert client.state(1.2, "s1") == "Accepted"
    assert client.state(1.6, "s2") == "Accepted"
    assert client.order(3.1, "s1")["orderState"] == "Filled"
    assert client.order(3.5, "s2")["orderState"] == "Working"


def test_a_stop_on_the_wrong_side_answers_success_and_shows_rejected():
    client = Client()
    answer = client.place(1.1, "BUY", "STOPMARKET", stopPrice=99.0, orderId="s1")
    assert answer == {"orderId": "s1", "success": True}
    row = client.order(1.6, "s1")
    assert (row["orderState"], row["filled"]) == ("Rejected", 0)
    assert states(client, "s1") == ["Submitted", "Rejected"]
    assert "above the market" in find(client, "s1").reason


def test_a_cancel_goes_by_way_of_cancel_pending():
    client = Client()
    client.place(1.1, "BUY", "LIMIT", limitPrice=90.0, orderId="l1")
    assert client.call(2.1, "Cancel", account="Sim101", orderId="l1") == {"orderId": "l1", "success": True}
    assert client.state(2.5, "l1") == "Cancelled"
    assert states(client, "l1")[-2:] == ["CancelPending", "Cancelled"]
    gone = {"success": False, "error": "Order linked to 'l1' not found or already terminal."}
    assert client.call(3.1, "Cancel", account="Sim101", orderId="l1") == gone
    assert client.call(3.5, "Change", account="Sim101", orderId="l1", quantity=2) == gone


def test_a_slow_cancel_is_pending_and_the_order_may_fill_until_it_is_through():
    client = Client([100, 100, 100, 100, 98, 98, 98], faults={"slow_cancel": 3})
    for name in ("l1", "l2"):
        price = 99.0 if name == "l1" else 90.0
        client.place(0.1 + (name == "l2") * 0.4, "BUY", "LIMIT", limitPrice=price, orderId=name)
    for name, when in (("l1", 1.1), ("l2", 1.5)):
        assert client.call(when, "Cancel", account="Sim101", orderId=name)["success"] is True
    assert client.call(2.0, "Cancel", account="Sim101", orderId="l1")["success"] is True  # again: nothing new
    assert client.state(2.4, "l1") == "CancelPending"
    refused = client.call(2.8, "Change", account="Sim101", orderId="l2", quantity=2)
    assert (refused["error"], refused["success"]) == ("Invalid request", False)
    assert client.state(5.1, "l1") == "Filled"
    assert client.state(5.5, "l2") == "Cancelled"
    assert states(client, "l1").count("CancelPending") == 1


def test_an_order_that_fills_in_part_while_its_cancel_is_pending_stays_pending():
    client = Client(table([100, 100, 98, 98, 98, 98], sizes=1), faults={"slow_cancel": 2})
    client.place(0.1, "BUY", "LIMIT", 5, limitPrice=99.0, orderId="x")
    client.call(1.1, "Cancel", account="Sim101", orderId="x")
    row = client.order(2.1, "x")
    assert (row["orderState"], row["filled"]) == ("CancelPending", 1)
    row = client.order(4.1, "x")
    assert (row["orderState"], row["filled"]) == ("Cancelled", 2)


def test_the_session_ends_a_day_order_and_not_one_that_is_good_till_cancelled():
    close = session_at(START).close
    client = Client(table([100.0] * 30, start=close - 10 * SECOND), connect=False)
    now = (close - START) / SECOND
    client.connect(now - 9)
    client.place(now - 8, "BUY", "LIMIT", limitPrice=90.0, timeInForce="DAY", orderId="day")
    client.place(now - 7, "BUY", "LIMIT", limitPrice=90.0, timeInForce="GTC", orderId="gtc")
    assert client.state(now - 1, "day") == "Working"
    assert client.state(now + 1, "day") == "Cancelled"
    assert client.state(now + 2, "gtc") == "Working"
    assert find(client, "day").states[-1] == (close, OrderState.CANCELLED)


def test_lists_show_what_ended_in_the_session_and_lookups_find_all():
    close = session_at(START).close
    client = Client(table([100.0, 100.0], start=close - 2 * SECOND), connect=False)
    now = (close - START) / SECOND
    client.connect(now - 60)
    for wait, name, tif in ((50, "early", "DAY"), (40, "day", "DAY"), (30, "gtc", "GTC")):
        client.place(now - wait, "BUY", "LIMIT", limitPrice=90.0, timeInForce=tif, orderId=name)
    client.call(now - 20, "Cancel", account="Sim101", orderId="early")

    def listed(seconds: float) -> list[str]:
        return [row["orderId"] for row in client.call(seconds, "ListOrders", account="Sim101")["orders"]]

    assert listed(now - 10) == ["early", "day", "gtc"]
    assert listed(now + 60) == ["early", "day", "gtc"]  # in the break
    assert listed(now + 3_600) == ["day", "gtc"]  # the session's end ended one of them
    assert listed(now + 25 * 3_600) == ["gtc"]
    assert client.state(now + 25 * 3_600 + 1, "early") == "Cancelled"
    assert client.call(now + 25 * 3_600 + 2, "CancelOrders", account="Sim101")["orderIds"] == ["gtc"]


def test_a_day_order_ends_without_quotes_too():
    client = Client([100.0, 100.0])
    client.place(1.2, "BUY", "LIMIT", limitPrice=90.0, timeInForce="DAY", orderId="day")
    assert client.server.due == session_at(START).close
    assert client.state((session_at(START).close - START) / SECOND + 60, "day") == "Cancelled"


# --- groups ----------------------------------------------------------------------------------------------------------


def test_one_of_an_oco_group_filling_ends_the_others():
    client = Client([100, 100, 100, 104, 104])
    client.place(0.1)
    client.place(1.1, "SELL", "LIMIT", limitPrice=103.0, ocoId="g", orderId="target")
    client.place(1.5, "SELL", "STOPMARKET", stopPrice=97.0, ocoId="g", orderId="stop")
    assert client.order(2.1, "stop")["oco"] == "g"
    assert client.state(3.1, "target") == "Filled"
    assert client.state(3.5, "stop") == "Cancelled"
    again = client.place(4.1, "SELL", "LIMIT", limitPrice=110.0, ocoId="g", orderId="again")
    assert again["success"] is True
    assert client.state(4.5, "again") == "Rejected"


def test_cancelling_one_of_an_oco_group_ends_the_others():
    client = Client()
    for when, name in ((0.1, "a"), (0.5, "b")):
        client.place(when, "BUY", "LIMIT", limitPrice=90.0, ocoId="g", orderId=name)
    client.call(1.1, "Cancel", account="Sim101", orderId="a")
    assert client.state(1.5, "b") == "Cancelled"


def test_a_partial_fill_of_a_group_shrinks_the_others_where_the_model_says_so():
    quotes = table([100, 100, 100, 104, 104], sizes=1)
    client = Client(quotes, fills=FillModel(slippage=0, oco="reduce"))
    client.place(1.1, "SELL", "LIMIT", 3, limitPrice=103.0, ocoId="g", orderId="target")
    client.place(1.5, "SELL", "STOPMARKET", 3, stopPrice=97.0, ocoId="g", orderId="stop")
    row = client.order(3.1, "stop")
    assert (row["orderState"], row["quantity"], row["filled"]) == ("Accepted", 2, 0)
    assert client.state(3.5, "target") == "PartFilled"


def test_groups_dont_reach_across_accounts():
    client = Client([100, 100, 100, 98, 98, 98], accounts=("Sim101", "Sim102"))
    for when, account in ((0.1, "Sim101"), (0.5, "Sim102")):
        client.place(when, "BUY", "LIMIT", limitPrice=99.0 - (account == "Sim102") * 50, ocoId="g", account=account)
    assert client.call(3.1, "ListOrders", account="Sim101")["orders"][0]["orderState"] == "Filled"
    assert client.call(3.5, "ListOrders", account="Sim102")["orders"][0]["orderState"] == "Working"
    client.place(4.1, "BUY", "LIMIT", limitPrice=50.0, ocoId="g", account="Sim102")
    assert [row["oco"] for row in client.call(4.5, "ListOrders", account="Sim102")["orders"]] == ["g", "g"]
    assert {row["orderState"] for row in client.call(4.9, "ListOrders", account="Sim102")["orders"]} == {"Working"}


# --- changes ---------------------------------------------------------------------------------------------------------


def test_a_change_moves_an_order_and_keeps_its_id():
    client = Client()
    client.place(1.1, "BUY", "LIMIT", 2, limitPrice=90.0, orderId="l1")
    change = {"account": "sim101", "orderId": "l1"}
    assert client.call(2.1, "Change", **change, limitPrice=95.1, quantity=3) == {"orderId": "l1", "success": True}
    row = client.order(2.5, "l1")
    assert (row["limitPrice"], row["quantity"], row["orderState"]) == (95.0, 3, "Working")


def test_a_change_to_what_has_filled_completes_the_order():
    client = Client(table([100, 100, 98, 100, 100], sizes=2))
    client.place(0.1, "BUY", "LIMIT", 5, limitPrice=99.0, orderId="l1")
    assert client.order(2.1, "l1")["filled"] == 2
    client.call(2.5, "Change", account="Sim101", orderId="l1", quantity=2)
    row = client.order(3.1, "l1")
    assert (row["orderState"], row["quantity"], row["filled"]) == ("Filled", 2, 2)


def test_a_change_that_cant_be_is_refused_and_the_order_stands():
    client = Client()
    client.place(1.1, "SELL", "STOPMARKET", stopPrice=95.0, orderId="s1")
    wrong_side = client.call(2.1, "Change", account="Sim101", orderId="s1", stopPrice=101.0)
    assert (wrong_side["success"], wrong_side["error"]) == (False, "Invalid request")
    assert "below the market" in wrong_side["detail"]
    no_limit = client.call(2.5, "Change", account="Sim101", orderId="s1", limitPrice=95.0)
    assert "no limit price" in no_limit["detail"]
    row = client.order(3.1, "s1")
    assert (row["orderState"], row["stopPrice"], row["limitPrice"]) == ("Accepted", 95.0, 0.0)
    assert client.call(4.1, "Change", account="Sim101", orderId="s1", stopPrice=96.0)["success"] is True


# --- ids -------------------------------------------------------------------------------------------------------------


def test_an_order_id_is_used_once_whatever_became_of_its_order():
    client = Client(accounts=("Sim101", "Sim102"))
    client.place(1.1, orderId="x")
    for when, account in ((2.1, "Sim101"), (2.5, "Sim102")):
        refused = client.place(when, orderId="x", account=account)
        assert (refused["success"], refused["error"]) == (False, "Invalid request")
        assert "in use" in refused["detail"]
    assert len(client.call(3.1, "GetAllOrders")["orders"]) == 1
    assert client.call(3.5, "GetPosition", account="Sim101", instrument="ES")["quantity"] == 1


def test_without_an_id_of_the_callers_orders_get_guids_that_another_start_doesnt_repeat():
    def ids(start: float) -> list[str]:
        client = Client(connect=False)
        client.connect(start)
        return [client.place(start + wait)["orderId"] for wait in (1, 2)]

    first = ids(0)
    assert all(len(name) == 32 and set(name) <= set("0123456789abcdef") for name in first)
    assert len({*first, *ids(0), *ids(1)}) == 4


def test_an_order_is_found_only_in_its_account():
    client = Client(accounts=("Sim101", "Sim102"))
    client.place(1.1, "BUY", "LIMIT", limitPrice=90.0, orderId="x")
    assert client.call(2.1, "GetOrder", account="Sim102", orderId="x")["error"] == "Order 'x' not found"
    assert "not found or already terminal" in client.call(2.5, "Cancel", account="Sim102", orderId="x")["error"]
    assert client.state(3.1, "x") == "Working"


# --- conditions ------------------------------------------------------------------------------------------------------


def test_require_market_position_looks_at_the_position_of_the_moment():
    client = Client()
    refused = client.place(1.1, requireMarketPosition="long,short")
    assert refused["success"] is False
    assert "requireMarketPosition" in refused["error"]
    assert client.place(2.1, requireMarketPosition="FLAT,long")["success"] is True
    assert client.place(3.1, requireMarketPosition="flat")["success"] is False
    assert client.place(4.1, requireMarketPosition="long")["success"] is True
    assert position(client, 5.2)["quantity"] == 2


def test_max_positions_refuses_one_position_more_and_lets_the_open_one_be():
    two = QuoteTable.from_rows((ES, MNQ), [0, 1] * 20, [START + row // 2 * SECOND for row in range(40)],
                               [100.0, 200.0] * 20, [100.25, 200.25] * 20)  # fmt: skip
    client = Client(two)
    assert client.place(1.1, maxPositions=1)["success"] is True
    refused = client.place(2.1, instrument="MNQ", maxPositions=1)
    assert (refused["success"], "maxPositions" in refused["error"]) == (False, True)
    assert client.place(3.1, maxPositions=1)["success"] is True
    assert client.place(4.1, instrument="MNQ", maxPositions=2)["success"] is True


def test_prices_are_rounded_to_the_tick_and_those_of_other_types_ignored():
    client = Client()
    client.place(1.1, "BUY", "LIMIT", limitPrice=90.13, stopPrice=5.0, orderId="l1")
    client.place(1.5, "BUY", "MARKET", limitPrice=1.0, orderId="m1")
    row = client.order(2.1, "l1")
    assert (row["limitPrice"], row["stopPrice"]) == (90.25, 0.0)
    assert client.state(2.5, "m1") == "Filled"


# --- closing ---------------------------------------------------------------------------------------------------------


def test_a_full_close_cancels_the_instruments_orders_first():
    client = Client()
    client.place(1.1, quantity=3)
    client.place(2.1, "SELL", "LIMIT", 3, limitPrice=110.0, orderId="target")
    answer = client.call(3.1, "ClosePosition", account="SIM101", instrument="ESM6")
    assert [(row["marketPosition"], row["quantity"]) for row in answer["closedPositions"]] == [("Long", 3)]
    assert client.state(3.5, "target") == "Cancelled"
    assert position(client, 4.2)["marketPosition"] == "Flat"
    none = client.call(5.1, "ClosePosition", account="Sim101", instrument="ES")
    assert none == {"success": False, "error": "No positions found for instrument 'ES 06-26'"}
    assert client.call(5.5, "ListOrders", account="Sim101", activeOnly=True)["orders"] == []


@pytest.mark.parametrize(
    ("part", "left"), [({"quantity": 1}, 4), ({"percent": 0.2}, 4), ({"percent": 0.21}, 3), ({"quantity": 99}, 0)]
)
def test_a_partial_close_leaves_working_orders(part: dict[str, Any], left: int):
    client = Client()
    client.place(1.1, "SELL", quantity=5)
    client.place(2.1, "BUY", "LIMIT", 5, limitPrice=90.0, orderId="target")
    client.call(3.1, "ClosePosition", account="Sim101", instrument="ES", **part)
    assert position(client, 4.2)["quantity"] == left
    assert client.state(4.6, "target") == ("Working" if left else "Cancelled")


def test_a_share_is_rounded_up_but_not_because_of_floats():
    client = Client()
    client.place(1.1, quantity=100)
    client.call(2.1, "ClosePosition", account="Sim101", instrument="ES", percent=0.07)  # 7.000000000000001
    assert position(client, 3.2)["quantity"] == 93


def test_flatten_takes_the_orders_of_instruments_without_a_position_too():
    two = QuoteTable.from_rows((ES, MNQ), [0, 1], [START, START], [100.0, 200.0], [100.25, 200.25])
    client = Client(two)
    client.place(1.1, "BUY", "LIMIT", instrument="MNQ", limitPrice=90.0, orderId="mnq")
    client.call(2.1, "Flatten", account="Sim101")
    assert client.state(3.1, "mnq") == "Cancelled"


def test_closing_twice_before_the_quote_closes_once():
    client = Client()
    client.place(0.1, quantity=2)
    for when in (1.05, 1.1, 1.15):
        client.rpc(when, "ClosePosition", account="Sim101", instrument="ES")
    assert position(client, 3.1)["quantity"] == 0


def test_flatten_closes_by_account_instrument_and_direction():
    two = QuoteTable.from_rows((ES, MNQ), [0, 1] * 30, [START + row // 2 * SECOND for row in range(60)],
                               [100.0, 200.0] * 30, [100.25, 200.25] * 30)  # fmt: skip
    client = Client(two, accounts=("Sim101", "Sim102"))
    client.place(1.1)
    client.place(1.5, "SELL", instrument="MNQ")
    client.place(1.9, account="Sim102")
    client.place(3.1, "BUY", "LIMIT", limitPrice=90.0, orderId="es")
    client.place(3.5, "BUY", "LIMIT", instrument="MNQ", limitPrice=90.0, orderId="mnq")
    answer = client.call(4.1, "Flatten", account="Sim101", marketPosition="long")
    assert [row["instrument"] for row in answer["closedPositions"]] == [ES]
    assert (client.state(4.5, "es"), client.state(4.9, "mnq")) == ("Cancelled", "Working")
    answer = client.call(6.1, "Flatten", account="Sim101", instrument="mnq")
    assert [row["instrument"] for row in answer["closedPositions"]] == [MNQ]
    assert client.state(6.5, "mnq") == "Cancelled"
    held = client.call(8.1, "GetAllPositions")
    assert [(row["account"], row["instrument"]) for row in held["positions"]] == [("Sim102", ES)]
    assert client.call(9.1, "Flatten")["closedPositions"][0]["account"] == "Sim102"
    assert client.call(11.1, "Flatten", account="Sim102") == {
        "closedPositions": [],
        "warning": "Nothing to flatten",
        "success": True,
    }
    assert client.call(11.5, "GetAllPositions")["count"] == 0
    assert client.call(11.9, "GetAllPositions", includeFlat=True)["count"] == 3


def test_cancel_orders_takes_one_instrument_or_all():
    two = QuoteTable.from_rows((ES, MNQ), [0, 1], [START, START], [100.0, 200.0], [100.25, 200.25])
    client = Client(two)
    client.place(0.1, "BUY", "LIMIT", limitPrice=90.0, orderId="es")
    client.place(0.5, "BUY", "LIMIT", instrument="MNQ", limitPrice=90.0, orderId="mnq")
    client.place(0.9, "BUY", "LIMIT", limitPrice=91.0, orderId="es2")
    some = client.call(1.5, "CancelOrders", account="Sim101", instrument="ES")
    assert some == {"orderIds": ["es", "es2"], "success": True}
    assert client.call(2.5, "CancelOrders", account="Sim101")["orderIds"] == ["mnq"]
    assert client.call(3.5, "CancelOrders", account="Sim101")["orderIds"] == []
    rows = client.call(4.5, "ListOrders", account="Sim101")["orders"]
    assert [row["orderState"] for row in rows] == ["Cancelled"] * 3  # finished orders of the session stay listed


# --- money -----------------------------------------------------------------------------------------------------------


def test_money_of_a_round_trip_by_hand():
    # Bought 2 at 100.25, one sold at 103.00, one left at a last of 104.00; 50 dollars a point, 1.5 dollars a side.
    client = Client([100, 100, 103, 103, 104, 104, 104], fee=1.5)
    client.place(0.1, quantity=2)
    client.place(2.1, "SELL")
    row = position(client, 4.1)
    assert (row["averagePrice"], row["marketPrice"], row["unrealizedProfitLoss"]) == (100.25, 104.0, 187.5)
    item = client.call(4.5, "GetAccount", account="Sim101")["item"]
    assert item["grossRealizedProfitLoss"] == 137.5
    assert item["commission"] == 4.5
    assert item["realizedProfitLoss"] == 133.0
    assert item["cashValue"] == 100_133.0
    assert item["unrealizedProfitLoss"] == 187.5
    assert item["netLiquidation"] == 100_320.5


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(380, 420), min_size=20, max_size=20),
    st.lists(st.tuples(st.integers(1, 18), st.sampled_from(["BUY", "SELL"]), st.integers(1, 5)), max_size=8),
)
def test_cash_and_position_are_what_the_executions_say(ticks: list[int], trades: list[tuple[int, str, int]]):
    client = Client([tick / 4 for tick in ticks], fee=0.85)
    for number, (second, action, quantity) in enumerate(sorted(trades)):
        args = {"account": "Sim101", "instrument": "ES", "orderType": "MARKET", "timeInForce": "GTC"}
        client.rpc(second + number * 0.01, "PlaceOrder", **args, action=action, quantity=quantity)
    client.run(60)
    executions = client.call(61, "ListExecutions", account="Sim101")["executions"]
    assert len(executions) == len(trades)
    assert len({row["id"] for row in executions}) == len(executions)
    signed = [row["quantity"] * (1 if row["marketPosition"] == "Long" else -1) for row in executions]
    cash = -sum(change * row["price"] for change, row in zip(signed, executions, strict=True)) * 50
    fees = sum(row["commission"] for row in executions)
    row = position(client, 62)
    net = row["quantity"] * {"Long": 1, "Short": -1, "Flat": 0}[row["marketPosition"]]
    assert net == sum(signed) == (executions[-1]["position"] if executions else 0)
    item = client.call(63, "GetAccount", account="Sim101")["item"]
    worth = cash + net * (ticks[-1] / 4) * 50
    assert item["netLiquidation"] - 100_000 == pytest.approx(worth - fees, abs=1e-6)
    assert item["netLiquidation"] == pytest.approx(item["cashValue"] + item["unrealizedProfitLoss"], abs=1e-6)
    assert item["realizedProfitLoss"] == pytest.approx(item["grossRealizedProfitLoss"] - fees, abs=1e-6)
    assert row["unrealizedProfitLoss"] == pytest.approx(item["unrealizedProfitLoss"], abs=1e-6)


def test_a_venue_needs_accounts_that_can_be_told_apart():
    for bad in ((), ("Sim101", "SIM101"), ("",)):
        with pytest.raises(ConfigError, match="accounts"):
            Client(accounts=bad)
