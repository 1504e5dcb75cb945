"""Each function that SimServer serves: bodies under the documented keys, over the socket and over REST."""

from __future__ import annotations

import datetime as dt
import json
from typing import Any

import pytest
from documented import CALLS, EXAMPLES, NOW, ORDER, full, misfits
from serving import Client, at
from tables import ES, MNQ, SECOND, START, table

from xtalgo import QuoteTable
from xtalgo.model.sessions import from_datetime, session_at
from xtalgo.protocol.replies import Answer
from xtalgo.protocol.routes import request_of
from xtalgo.protocol.rpc import TABLE
from xtalgo.sim.functions import FUNCTIONS
from xtalgo.sim.gateway import carry_out_at_once


def busy() -> Client:
    """A position, a resting order and an execution in ES."""
    client = Client(table([100.0] * 100), fee=2.0)
    client.place(0.1, quantity=2)
    client.place(1.1, "SELL", "LIMIT", 1, limitPrice=110.0, orderId="rests", ocoId="pair")
    return client


def answered(api: str) -> Any:
    client = full()
    origin = {} if TABLE[api].origin is None else {"origin": TABLE[api].origin}
    client.say(NOW, "rpc", id="x", api=api, args=CALLS[api](client), **origin)
    client.run(NOW + client.patience)
    (frame,) = client.replies("x")
    assert set(frame) == {"id", "data"}
    return frame["data"]


def test_every_function_is_served_and_tested_here():
    assert list(CALLS) == list(EXAMPLES) == list(FUNCTIONS) == [spec.name for spec in TABLE]


@pytest.mark.parametrize("api", CALLS)
def test_a_body_has_exactly_the_documented_keys_and_types(api: str):
    assert list(misfits(answered(api), EXAMPLES[api])) == []


def test_a_misfit_is_found():
    assert list(misfits({"a": 1, "b": [{"c": 1}]}, {"a": 1.0, "b": [{"c": 1, "d": 2}], "e": ""})) != []
    assert sorted(misfits({"a": 1.0, "b": []}, {"a": 1, "b": [1]})) == [
        "body.a: 1.0 for 1",
        "body.b: nothing in it to compare",
    ]


@pytest.mark.parametrize("api", CALLS)
def test_our_own_reader_finds_nothing_odd(api: str):
    found = TABLE[api].read(answered(api))
    assert isinstance(found, Answer)
    assert (found.faults, found.lost, found.warning) == ((), 0, None)


@pytest.mark.parametrize("api", CALLS)
def test_rest_answers_as_the_socket_does(api: str):
    client = full()
    request = request_of(api, CALLS[api](client))
    answer = client.rest(NOW, request.method, request.path, request.body, **request.query)
    assert (answer.status, answer.headers["Content-Type"]) == (200, "application/json")
    assert json.loads(answer.body) == answered(api)


def test_the_alias_does_what_its_function_does():
    assert full().call(NOW, "CancelOrder", account="Sim101", orderId="rests") == {"orderId": "rests", "success": True}


# --- contents --------------------------------------------------------------------------------------------------------


def test_an_order_row_in_full():
    row = busy().order(2.1, "rests")
    assert row == {
        "account": "Sim101",
        "orderId": "rests",
        "instrument": ES,
        "instrumentType": "Future",
        "orderType": "Limit",
        "orderState": "Working",
        "quantity": 1,
        "averageFillPrice": 0.0,
        "filled": 0,
        "fromEntrySignal": None,
        "gtd": "2099-12-01T00:00:00.0000000",
        "hasOverfill": False,
        "isBacktestOrder": False,
        "limitPrice": 110.0,
        "limitPriceChanged": 0.0,
        "name": "",
        "oco": "pair",
        "orderAction": "Sell",
        "quantityChanged": 0,
        "stopPrice": 0.0,
        "stopPriceChanged": 0.0,
        "time": "2026-05-13T09:00:01.3500000",  # Chicago
        "timeInForce": "Gtc",
        "tag": None,
        "success": True,
    }


def test_an_execution_row_in_full():
    client = busy()
    row = client.call(2.1, "ListExecutions", account="Sim101")["executions"][0]
    order = client.call(2.5, "ListOrders", account="Sim101")["orders"][0]
    assert len(row.pop("id")) == 32
    assert row == {
        "type": "NinjaTrader.Cbi.Execution",
        "time": "2026-05-13T09:00:01.0000000",
        "epoch": at(1) // 1_000_000,
        "name": "Entry",
        "orderId": order["orderId"],
        "account": "Sim101",
        "serverName": "SIMULATOR",
        "instrument": ES,
        "instrumentType": "Future",
        "position": 2,
        "marketPosition": "Long",
        "positionStrategy": 0,
        "price": 100.25,
        "quantity": 2,
        "commission": 4.0,
        "rate": 1.0,
        "slippage": 0.0,
        "isEntry": True,
        "isExit": False,
    }


def test_executions_reach_back_so_far_and_no_farther():
    client = Client()
    client.place(0.1)
    client.place(100.1, "SELL")
    for when, args, count in ((250, {}, 2), (251, {"lookbackTime": 320}, 2), (252, {"lookbackTime": 251}, 1)):
        assert len(client.call(when, "ListExecutions", account="Sim101", **args)["executions"]) == count
    assert client.call(253, "ListExecutions", account="Sim101", lookbackTime=152)["executions"] == []
    names = [row["name"] for row in client.call(300, "ListExecutions", account="Sim101")["executions"]]
    assert names == ["Entry", "Exit"]
    assert len(client.call(320.75, "ListExecutions", account="Sim101")["executions"]) == 2  # to the very moment
    assert client.call(321.1, "ListExecutions", account="Sim101")["executions"][0]["name"] == "Exit"
    assert len(client.call(590, "ListExecutions", account="Sim101", lookbackTime=900)["executions"]) == 2


def test_executions_of_an_order_are_told_at_any_age_and_one_by_its_id():
    client = Client(accounts=("Sim101", "Sim102"))
    client.place(0.1, quantity=2, orderId="old")
    (row,) = client.call(2_000, "GetExecutionsByOrderId", orderId="old")["executions"]
    assert (row["quantity"], row["orderId"]) == (2, "old")
    assert client.call(2_001, "ListExecutions", account="Sim101", lookbackTime=900)["executions"] == []
    assert client.call(2_002, "GetExecution", account="sim101", executionId=row["id"]) == {**row, "success": True}
    for number, (api, args) in enumerate(
        [
            ("GetExecutionsByOrderId", {"orderId": "old", "account": "Sim102"}),
            ("GetExecutionsByOrderId", {"orderId": "nobody's"}),
        ]
    ):
        assert client.call(2_003 + number, api, **args) == {"executions": [], "success": True}
    no = client.call(2_006, "GetExecution", account="Sim102", executionId=row["id"])
    assert no == {"success": False, "error": f"Execution '{row['id']}' not found"}


def test_where_time_stands_still_a_call_of_several_steps_does_not_wait():
    client = Client()
    client.place(0.1, quantity=2)
    client.run(1.5)
    venue = client.server.venue
    order = {**ORDER, "action": "SELL", "quantity": 3}
    outcome = carry_out_at_once(venue, venue.mishaps, "ReversePosition", order, None, at(1.5))
    assert (outcome.error, set(outcome.body)) == (None, {"orderId", "success"})  # type: ignore[call-overload]
    assert [(each.name, each.quantity, each.placed) for each in venue.orders[1:]] == [
        ("Close", 2, at(1.5)), ("", 3, at(1.5))
    ]  # fmt: skip
    client.run(3)
    assert client.call(3.1, "GetPosition", account="Sim101", instrument="ES")["quantity"] == 3
    bracket = {
        "account": "Sim101",
        "instrument": "ES",
        "action": "SELL",
        "quantity": 1,
        "stopLoss": 110.0,
        "delay": 10**6,
    }
    assert carry_out_at_once(venue, venue.mishaps, "CancelAndBracket", bracket, None, at(4)).error is None


def test_the_snapshot_tells_every_account_with_its_positions():
    client = Client(accounts=("Sim101", "Sim102"))
    client.place(0.1, "SELL")
    body = client.call(2.1, "GetAccountSummary")
    assert (body["type"], body["epoch"]) == ("snapshot", at(2.35) // 1_000_000)
    assert body["timestamp"] == "2026-05-13T09:00:02.3500000-05:00"  # Chicago, in summer
    (one, other) = body["accounts"]
    assert (one["account"]["name"], one["account"]["isAccountFlat"]) == ("Sim101", False)
    assert [row["marketPosition"] for row in one["positions"]] == ["Short"]
    assert (other["account"]["name"], other["account"]["isAccountFlat"], other["positions"]) == ("Sim102", True, [])


def test_quotes_of_several_instruments_are_a_bare_array_and_one_is_an_object_without_success():
    two = QuoteTable.from_rows((ES, MNQ), [0, 1], [START, START], [100.0, 200.0], [100.25, 200.25])
    client = Client(two)
    one = client.call(1, "GetQuote", instrument="es")
    assert (one["instrument"], one["bid"], one["last"], one["epoch"]) == (ES, 100.0, None, START // SECOND)
    assert (one["quoteTime"], one["quoteTimeUtc"]) == ("05/13/2026 09:00:00 AM", "2026-05-13 14:00:00")
    assert "success" not in one
    several = client.call(2, "GetQuote", instrument="MNQ, ES")
    assert [row["instrument"] for row in several] == [MNQ, ES]
    assert client.call(3, "GetQuote", instrument="ES,NOPE")["detail"] == "unknown instrument 'NOPE'"


def test_a_quote_tells_the_sessions_range_and_the_close_of_the_one_before():
    close = session_at(START).close
    stamps = [close - 2 * SECOND, close - SECOND, close + 3_600 * SECOND, close + 3_601 * SECOND]
    bids = [100.0, 107.0, 103.0, 101.0]
    quotes = QuoteTable.from_rows((ES,), [0] * 4, stamps, bids, [bid + 0.25 for bid in bids], bids)
    client = Client(quotes)
    second = (close - START) / SECOND
    row = client.call(second - 0.9, "GetQuote", instrument="ES")
    assert (row["open"], row["high"], row["low"], row["close"]) == (100.0, 107.0, 100.0, None)
    row = client.call(second + 3_602, "GetQuote", instrument="ES")
    assert (row["open"], row["high"], row["low"], row["close"]) == (103.0, 103.0, 101.0, 107.0)


def test_before_the_first_quote_an_instrument_has_facts_and_no_prices():
    client = Client(table([100.0], start=START + 100 * SECOND))
    row = client.call(1, "GetQuote", instrument="ES")
    assert (row["instrument"], row["tickSize"], row["bid"], row["epoch"], row["quoteTime"]) == (
        ES,
        0.25,
        None,
        None,
        None,
    )


@pytest.mark.parametrize(
    ("hours", "clock"), [(3, "12:00:00 PM"), (4, "01:00:00 PM"), (15, "12:00:00 AM"), (16, "01:00:00 AM")]
)
def test_the_quotes_local_time_is_on_a_clock_of_twelve_hours(hours: int, clock: str):
    client = Client(table([100.0], start=START + hours * 3_600 * SECOND))
    row = client.call(hours * 3_600 + 1, "GetQuote", instrument="ES")
    assert row["quoteTime"].partition(" ")[2] == clock


def test_the_account_scoped_quote_is_the_legacy_body():
    row = busy().call(2.1, "GetQuote", instrument="ES", account="SIM101")
    new = set(EXAMPLES["GetQuote"])
    assert set(row) == new - {"tickValue", "quoteTimeUtc", "epoch", "dataSource", "isMarketOpen"} | {"success"}
    assert (row["quoteTime"], row["expiration"]) == ("5/13/2026 9:00:02 AM", "6/1/2026 12:00:00 AM")


@pytest.mark.parametrize(
    ("when", "is_open", "state", "label", "action", "countdown"),
    [
        (dt.datetime(2026, 5, 13, 14), True, "Open", "Current Session", "Until Close", "06:59:59"),
        (dt.datetime(2026, 5, 13, 21), False, "Closed", "Next Session", "Until Open", "00:59:59"),
        (dt.datetime(2026, 5, 16, 12), False, "Closed", "Next Session", "Until Open", "1.09:59:59"),
    ],
)
def test_market_info_counts_down(when: dt.datetime, is_open: bool, state: str, label: str, action: str, countdown: str):
    client = Client(table([100.0]), connect=False)
    seconds = (from_datetime(when.replace(tzinfo=dt.UTC)) - START) / SECOND
    client.connect(seconds)
    body = client.call(seconds, "MarketInfo", instrument="ES")
    assert body["status"] == {"isOpen": is_open, "state": state}
    session = body["session"]
    assert (session["label"], session["action"], session["countdown"]) == (label, action, countdown)


def test_market_info_without_an_instrument_is_about_es():
    assert busy().call(2.1, "MarketInfo")["instrument"] == ES
    assert Client(table([1.0], instrument=MNQ)).call(1, "MarketInfo")["error"] == "Invalid request"


# --- REST ------------------------------------------------------------------------------------------------------------


def body_of(client: Client, status: int, *args: Any, **more: Any) -> Any:
    answer = client.rest(*args, **more)
    assert answer.status == status
    return json.loads(answer.body)


@pytest.mark.parametrize("token", [None, "wrong"])
def test_rest_wants_the_token_before_anything_else(token: str | None):
    client = busy()
    for _ in range(30):  # and it costs no budget
        assert body_of(client, 401, 2.1, "GET", "/v1/api/accounts", token=token)["error"].startswith("Unauthorized")
    assert client.rest(3, "GET", "/v1/api/accounts").status == 200


def test_a_wrong_path_is_told_and_a_near_one_offered():
    wrong = body_of(busy(), 404, 2.1, "GET", "/v1/api/account")
    assert (wrong["success"], wrong["did_you_mean"]) == (False, "/v1/api/accounts")
    assert body_of(busy(), 404, 2.1, "GET", "/accounts")["success"] is False
    assert body_of(busy(), 404, 2.1, "DELETE", "/v1/api/accounts")["success"] is False


def test_refusals_over_rest_are_400_with_the_venues_text():
    client = busy()
    unknown = body_of(client, 400, 2.1, "GET", "/v1/api/accounts/Sim999")
    assert unknown["error"] == "invalid_account"
    gone = body_of(client, 400, 3.1, "POST", "/v1/api/accounts/Sim101/orders/nope/cancel")
    assert gone == {"success": False, "error": "Order linked to 'nope' not found or already terminal."}
    bad = body_of(client, 400, 4.1, "POST", "/v1/api/accounts/Sim101/orders/place", {"instrument": "ES"})
    assert bad["error"].startswith("Invalid request: PlaceOrder: action is missing")


@pytest.mark.parametrize("body", [b"{", b"[]", b"5", b"\xff"])
def test_a_body_that_is_no_object_is_refused(body: bytes):
    assert body_of(busy(), 400, 2.1, "POST", "/v1/api/accounts/Sim101/orders/place", body)["success"] is False


def test_query_values_are_read_by_type():
    client = busy()
    path = "/v1/api/accounts/Sim101/executions"
    assert len(body_of(client, 200, 2.1, "GET", path, lookbackTime="60")["executions"]) == 1
    assert "lookbackTime" in body_of(client, 400, 3.1, "GET", path, lookbackTime="soon")["error"]
    assert "no argument" in body_of(client, 400, 4.1, "GET", path, lookback="60")["error"]


def test_an_empty_flatten_is_flatten_everything():
    client = full()
    answer = body_of(client, 200, NOW, "POST", "/v1/api/positions/flatten", {"account": "Sim101", "instrument": "ES"})
    assert set(answer) == {"closedPositions", "success"}
    client = full()
    answer = body_of(client, 200, NOW, "POST", "/v1/api/positions/flatten", {})
    assert set(answer) == {"orderIds", "closedPositions", "success"}
    assert client.call(NOW + 3, "GetAllPositions")["count"] == 0
    again = body_of(client, 200, NOW + 5, "POST", "/v1/api/positions/flatten")
    assert again == {"orderIds": [], "closedPositions": [], "warning": "Nothing to flatten", "success": True}


def test_executions_of_an_order_with_and_without_an_account():
    client = full()
    paths = ("/v1/api/executions/order/entry", "/v1/api/accounts/SIM101/executions/order/entry")
    one, other = (body_of(client, 200, NOW + 2 * k, "GET", path) for k, path in enumerate(paths))
    assert one == other
    assert [row["quantity"] for row in one["executions"]] == [2]
