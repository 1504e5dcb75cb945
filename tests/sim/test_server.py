"""Connections, frames, streams and budgets of SimServer."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import Client, at, quotes_of
from tables import ES, MNQ, SECOND, START, table

from xtalgo import QuoteTable
from xtalgo.model.types import NEVER
from xtalgo.protocol.frames import Pong, RpcError, Status
from xtalgo.protocol.outcomes import Outcome, outcome
from xtalgo.protocol.wire import parse_server
from xtalgo.sim.feeds import SyntheticFeed
from xtalgo.sim.server import ASSUMED, TAKEOVER_CODE, Close, Rejection

from serving import BOOK  # isort: skip

LIST = {"action": "rpc", "id": "r", "api": "ListAccounts", "args": {}}


def both(count: int = 100) -> QuoteTable:
    """ES and MNQ, one frame a second."""
    stamps = [START + row // 2 * SECOND for row in range(2 * count)]
    return QuoteTable.from_rows((ES, MNQ), [0, 1] * count, stamps, [100.0, 200.0] * count, [100.25, 200.25] * count)


# --- handshake and takeover ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "", "wrong", "Secret"])
def test_a_wrong_token_is_refused_and_evicts_nobody(token: str | None):
    client = Client()
    refused = client.connect(1, token)
    assert isinstance(refused, Rejection)
    assert refused.status == 401
    assert json.loads(refused.body)["success"] is False
    assert client.say(2, "ping") == [{"type": "pong"}]
    assert client.endings == []


def test_a_newer_connection_closes_the_older_one_at_once():
    client = Client()
    client.say(1, "subscribe", instruments=["ES"])
    old = client.number
    assert client.connect(2.5) == old + 1
    assert client.outputs[-1] == Close(old, TAKEOVER_CODE, "Session active elsewhere")
    assert client.frames(4) == []  # the server keeps nothing: what was subscribed is subscribed no more
    client.server.receive(old, json.dumps({"action": "ping"}), at(5))
    assert client.server.outputs() == []


def test_a_call_of_a_connection_that_ended_is_carried_out_and_not_answered():
    client = Client()
    order = {"instrument": "ES", "action": "BUY", "orderType": "MARKET", "quantity": 1, "timeInForce": "DAY"}
    key = client.rpc(1.1, "PlaceOrder", account="Sim101", **order)
    client.server.disconnect(client.number, at(1.2))
    client.run(3)
    client.connect(4)
    assert client.call(5, "GetPosition", account="Sim101", instrument="ES")["quantity"] == 1
    assert client.replies(key) == []


def test_disconnecting_an_older_connection_leaves_the_newer():
    client = Client()
    client.connect(1)
    client.server.disconnect(client.number - 1, at(2))
    assert client.say(3, "ping") == [{"type": "pong"}]


# --- subscriptions ---------------------------------------------------------------------------------------------------


def test_quotes_come_under_the_dated_name_one_frame_a_frame_of_the_feed():
    client = Client(both())
    assert client.say(0.5, "subscribe", instruments=["es1!"]) == [{"status": "subscribed", "instruments": ["es1!"]}]
    frames = client.frames(2.5)
    row = {"instrument": ES, "bid": 100.0, "ask": 100.25}
    assert frames == [{"type": "marketData", "quotes": [row]}] * 2
    client.say(2.6, "subscribe", instruments=["MNQ"])
    assert [quote["instrument"] for quote in quotes_of(client.frames(3.5))] == [ES, MNQ]


def test_rows_have_exactly_the_five_documented_keys():
    client = Client(table([100.0] * 5, lasts=[100.25] * 5))
    client.say(0.5, "subscribe", instruments=["ES"])
    rows = quotes_of(client.frames(1.5))
    assert rows == [{"instrument": ES, "bid": 100.0, "ask": 100.25, "last": 100.25, "volume": 1}]


def test_unsubscribing_takes_the_name_that_was_subscribed():
    client = Client(both())
    client.say(0.5, "subscribe", instruments=["ES", "ES 06-26", "MNQ"])
    assert client.say(1.5, "unsubscribe", instruments=["es"]) == [{"status": "unsubscribed", "instruments": ["es"]}]
    assert [quote["instrument"] for quote in quotes_of(client.frames(2.5))] == [ES, MNQ]  # by its other name
    (refused,) = client.say(2.6, "unsubscribe", instruments=["ESM26"])
    assert (refused["status"], refused["instruments"]) == ("error", ["ESM26"])
    client.say(2.7, "unsubscribe", instruments=["ES 06-26"])
    assert [quote["instrument"] for quote in quotes_of(client.frames(3.5))] == [MNQ]


def test_unknown_instruments_are_told_and_the_others_subscribed():
    client = Client(both())
    good, bad = client.say(0.5, "subscribe", instruments=["ES", "XX", "MNQ"])
    assert good == {"status": "subscribed", "instruments": ["ES", "MNQ"]}
    assert (bad["status"], bad["instruments"]) == ("error", ["XX"])
    read = parse_server(json.dumps(bad))
    assert isinstance(read, Status)
    assert read.error == "Invalid request: unknown instrument"
    assert len(quotes_of(client.frames(1.5))) == 2


def test_account_events_are_refused():
    (refused,) = Client().say(0.5, "subscribe", events=["orders"], origin="tradovate")
    assert refused["status"] == "error"
    assert refused["error"].startswith("Invalid request")


def test_a_subscription_starts_an_endless_market():
    client = Client(feed=SyntheticFeed(1, BOOK, START))
    assert client.frames(3) == []
    client.say(3.1, "subscribe", instruments=["MNQ"])
    rows = quotes_of(client.frames(10))
    assert len(rows) in (6, 7)
    assert {row["instrument"] for row in rows} == {"MNQ 06-26"}
    assert all(set(row) == {"instrument", "bid", "ask", "last", "volume"} for row in rows)


def test_recorded_quotes_match_orders_even_with_nobody_connected():
    client = Client([100, 100, 100, 98, 98])
    client.place(0.1, "BUY", "LIMIT", limitPrice=99.0)
    client.server.disconnect(client.number, at(1.5))
    assert client.run(4) == []
    client.connect(5)
    assert client.call(6, "GetPosition", account="Sim101", instrument="ES")["quantity"] == 1


# --- P&L and ping ----------------------------------------------------------------------------------------------------


def test_the_pnl_stream_comes_every_interval_until_it_is_switched_off():
    client = Client(accounts=("Sim101", "Sim102"))
    ack = client.say(0.5, "streamPnl", enabled=True)
    assert ack == [{"status": "pnlStreaming", "enabled": True, "interval": 1000}]
    frames = client.frames(3.6)
    assert [frame["epoch"] for frame in frames] == [at(second) // 1_000_000 for second in (1.5, 2.5, 3.5)]
    keys = {"name", "account", "realizedProfitLoss", "unrealizedProfitLoss", "netLiquidation", "cashValue"}
    assert [set(row) for row in frames[0]["accounts"]] == [keys, keys]
    client.say(3.7, "streamPnl", enabled=True, interval=250)
    assert len(client.frames(4.8)) == 4  # the slower stream is replaced, not joined
    assert client.say(4.9, "streamPnl", enabled=False) == [{"status": "pnlStreaming", "enabled": False}]
    assert client.frames(10) == []


def test_the_pnl_interval_has_a_floor_and_ends_with_its_connection():
    client = Client()
    (ack,) = client.say(0.5, "streamPnl", enabled=True, interval=1)
    assert ack["interval"] == 100
    assert len(client.frames(1.5)) == 10
    client.connect(2)
    assert client.frames(5) == []


def test_a_ping_is_answered_and_costs_nothing():
    client = Client()
    for count in range(200):
        (pong,) = client.say(1 + count / 1_000, "ping")
        assert isinstance(parse_server(json.dumps(pong)), Pong)
    assert client.endings == []


# --- frames that can't be --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("", None),
        ("{", None),
        ("[]", None),
        ("null", None),
        ('"rpc"', None),
        ("{}", None),
        ('{"action":7}', None),
        ('{"action":"dance","id":"d1"}', "d1"),
        ('{"action":"rpc","id":"d2"}', "d2"),
        ('{"action":"rpc","api":"","id":"d3"}', "d3"),
        ('{"action":"rpc","api":"ListAccounts","id":5}', None),
        ('{"action":"rpc","api":"ListAccounts","id":"d4","args":[]}', "d4"),
        ('{"action":"rpc","api":"ListAccounts","id":"d5","extra":1}', "d5"),
        ('{"action":"subscribe"}', None),
        ('{"action":"subscribe","instruments":[]}', None),
        ('{"action":"subscribe","instruments":"ES"}', None),
        ('{"action":"subscribe","accounts":["Sim101"],"channels":["fills"]}', None),
        ('{"action":"streamPnl"}', None),
        ('{"action":"streamPnl","enabled":true,"interval":0}', None),
        ('{"action":"ping","x":1}', None),
        ("[" * 5_000, None),
    ],
)
def test_a_bad_frame_is_told_at_once_with_its_id_and_the_socket_stays(text: str, key: str | None):
    client = Client()
    (answer,) = client.text(1, text)
    assert answer["error"].startswith("Invalid request")
    assert answer.get("id") == key
    assert client.say(2, "ping") == [{"type": "pong"}]


def test_bad_frames_cost_no_budget():
    client = Client()
    for count in range(50):
        client.text(1 + count / 1_000, "nonsense")
    assert "accounts" in client.call(2, "ListAccounts")


@pytest.mark.parametrize(
    ("api", "args", "error"),
    [
        ("ListOrderz", {}, "Unknown api ListOrderz; did you mean ListOrders?"),
        ("qqqqqqqqqqqqqqqqqqqq", {}, "Unknown api qqqqqqqqqqqqqqqqqqqq"),
        ("GetBars", {"instrument": "ES", "period": 0}, "Invalid request: GetBars: period must be greater than 0"),
        ("Tv_ListOrders", {}, "Invalid request: Tv_ListOrders needs the origin 'tradovate'"),
        ("GetAccount", {}, "Invalid request: GetAccount: account is missing"),
        ("GetAccount", {"account": 5}, "Invalid request: GetAccount: account must be text, not 5"),
        ("GetAccount", {"acount": "x", "account": "x"}, "Invalid request: GetAccount: no argument 'acount'"),
        ("ListExecutions", {"account": "Sim101", "lookbackTime": 901}, "Invalid request: ListExecutions: lookbackTime"),
        ("Change", {"account": "Sim101", "orderId": "x"}, "Invalid request: Change: give at least one of"),
    ],
)
def test_a_call_that_cant_be_is_the_gateways_error(api: str, args: dict[str, Any], error: str):
    answer = Client().call(1, api, **args)
    assert set(answer) == {"error"}
    assert answer["error"].startswith(error)
    assert api not in ("GetAccount", "Change") or outcome(api, answer["error"]) is Outcome.REFUSED


def test_a_call_of_another_origin_is_refused():
    client = Client()
    client.say(1, "rpc", id="t", api="ListAccounts", origin="tradovate")
    (answer,) = client.frames(2)
    assert (answer["id"], answer["error"]) == ("t", "Invalid request: ListAccounts has no origin 'tradovate'")


def test_a_call_without_an_id_is_answered_under_one_that_the_server_made():
    client = Client()
    for second in (1, 2):
        client.say(second, "rpc", api="ListAccounts")
    assert [frame["id"] for frame in client.frames(3)] == ["srv-2"]
    assert len(client.replies("srv-1")) == 1


def test_an_alias_and_loose_spellings_are_taken():
    client = Client()
    client.place(1.1, "buy", "limit", limitPrice=90.0, timeInForce="Gtc", orderId="x", account="SIM101")
    assert client.call(2.1, "CancelOrder", account="sim101", orderId="x")["success"] is True
    assert client.call(3.1, "ListOrders", account="sIm101")["orders"][0]["account"] == "Sim101"


def test_an_unknown_account_and_an_unknown_instrument_are_the_venues_refusals():
    client = Client()
    account = client.call(1, "GetAccount", account="Sim999")
    assert (account["success"], account["error"]) == (False, "invalid_account")
    assert "Sim101" in account["detail"]
    instrument = client.call(2, "GetPosition", account="Sim101", instrument="NOPE")
    assert instrument == {"success": False, "error": "Invalid request", "detail": "unknown instrument 'NOPE'"}


# --- latency ---------------------------------------------------------------------------------------------------------


def test_a_call_is_answered_a_latency_later_with_the_state_of_that_moment():
    client = Client([100.0, 101.0, 102.0])
    key = client.rpc(0.9, "GetQuote", instrument="ES")
    client.run(1.149)
    assert client.replies(key) == []
    assert client.server.due == at(1.15)
    client.run(1.15)
    assert client.replies(key)[0]["data"]["bid"] == 101.0


def test_replies_and_reports_come_before_a_frame_of_the_same_stamp():
    client = Client(entry_ms=500)
    client.say(0.1, "subscribe", instruments=["ES"])
    client.rpc(1.5, "ListAccounts")
    kinds = ["id" if "id" in frame else "quotes" for frame in client.frames(2)]
    assert kinds == ["id", "quotes"]


def test_without_latency_a_call_is_due_at_once():
    client = Client(entry_ms=0)
    key = client.rpc(1.5, "ListAccounts")
    assert client.server.due == at(1.5)
    client.run(1.5)
    assert len(client.replies(key)) == 1


def test_inputs_of_a_clock_that_stepped_back_happen_at_the_later_time():
    client = Client([100.0, 101.0, 102.0, 103.0])
    client.run(2.5)
    key = client.rpc(1.0, "GetQuote", instrument="ES")
    client.run(2.7)
    assert client.replies(key) == []
    client.run(2.75)
    assert client.replies(key)[0]["data"]["bid"] == 102.0


def test_when_all_is_over_nothing_is_due():
    client = Client([100.0])
    client.run(10)
    assert client.server.due == NEVER
    assert client.run(10**6) == []


# --- budgets ---------------------------------------------------------------------------------------------------------


def burst(client: Client, seconds: float, count: int) -> list[Any]:
    """Answers that came at once to so many calls in one instant."""
    return [frame for _ in range(count) for frame in client.text(seconds, json.dumps(LIST))]


def test_twenty_calls_leave_at_once_and_the_next_is_refused_with_its_id():
    client = Client()
    assert burst(client, 1, 20) == []
    (refused,) = burst(client, 1, 1)
    assert refused == {"id": "r", "error": "Rate limit exceeded"}
    read = parse_server(json.dumps(refused))
    assert isinstance(read, RpcError)
    assert outcome("PlaceOrder", read.error) is Outcome.NOT_DONE
    assert len(client.run(2)) == 20


def test_the_bucket_refills_by_three_a_second():
    client = Client()
    burst(client, 1, 20)
    assert len(burst(client, 1.3, 1)) == 1
    assert burst(client, 1 + 1 / 3 + 1e-9, 1) == []
    assert len(burst(client, 3, 9)) == 4  # five of nine, 1.67 s later


def test_ten_violations_in_a_row_close_the_socket():
    client = Client()
    burst(client, 1, 20)
    assert len(burst(client, 1, 9)) == 9
    assert client.endings == []
    burst(client, 1, 1)
    assert client.endings == [Close(1, 1008, "Rate limit exceeded")]
    client.connect(2)
    assert burst(client, 2, 3) == []  # what the bucket has refilled; the count begins anew
    assert len(burst(client, 2, 9)) == 9
    assert len(client.endings) == 1


def test_a_new_connection_begins_with_no_violations():
    client = Client()
    burst(client, 1, 20 + 9)
    client.connect(1)
    assert len(burst(client, 1, 9)) == 9
    assert [end.code for end in client.endings if isinstance(end, Close)] == [TAKEOVER_CODE]


def test_an_accepted_subscription_ends_the_row_of_violations_too():
    client = Client()
    burst(client, 1, 20 + 9)
    client.say(1, "subscribe", instruments=["ES"])
    burst(client, 1, 9)
    assert client.endings == []


def test_refused_subscriptions_are_violations():
    client = Client()
    for _ in range(5 + 10):
        client.say(1, "subscribe", instruments=["ES"])
    assert [end.code for end in client.endings if isinstance(end, Close)] == [1008]


def test_an_accepted_call_ends_the_row_of_violations():
    client = Client()
    burst(client, 1, 20)
    for round_ in range(5):
        burst(client, 1 + round_ * 0.34, 9)
    assert client.endings == []


def test_rest_and_socket_share_the_budget():
    client = Client()
    burst(client, 1, 15)
    for _ in range(5):
        client.server.request("secret", "GET", "/v1/api/accounts", {}, b"", at(1))
    assert len(burst(client, 1, 1)) == 1
    refused = client.rest(1.3, "GET", "/v1/api/accounts")
    assert (refused.status, json.loads(refused.body)) == (429, {"error": "Rate limit exceeded"})
    assert int(refused.headers["Retry-After"]) >= 1


def test_subscriptions_have_a_budget_of_their_own():
    client = Client()
    for _ in range(5):
        assert client.say(1, "subscribe", instruments=["ES"])[0]["status"] == "subscribed"
    assert client.say(1, "subscribe", instruments=["ES"]) == [{"error": "Rate limit exceeded", "action": "subscribe"}]
    assert client.say(1, "streamPnl", enabled=True) == [{"error": "Rate limit exceeded", "action": "streamPnl"}]
    assert burst(client, 1.5, 20) == []
    assert {"status": "subscribed", "instruments": ["ES"]} in client.say(4.01, "subscribe", instruments=["ES"])


# --- laws ------------------------------------------------------------------------------------------------------------


def day(seed: int, faults: dict[str, Any]) -> list[Any]:
    client = Client([100 + (row * seed % 11) * 0.25 for row in range(120)], faults={"seed": seed, **faults})
    client.say(0.2, "subscribe", instruments=["ES"])
    client.say(0.3, "streamPnl", enabled=True)
    order = {"account": "Sim101", "instrument": "ES", "quantity": 1, "timeInForce": "DAY"}
    for second in range(1, 100):
        if client.server._connection is None:
            client.connect(second)
        client.rpc(second + 0.1, "PlaceOrder", **order, action="BUY" if second % 2 else "SELL", orderType="MARKET")
        client.rpc(second + 0.2, "ListExecutions", account="Sim101")
    client.run(200)
    return client.outputs


def test_the_same_inputs_give_the_same_outputs():
    faults = {"lose_reply": 0.1, "lose_request": 0.1, "garbage": 0.2, "delay_reply": [0.2, 3], "drop_every": 30}
    assert day(3, faults) == day(3, faults)
    assert day(3, faults) != day(4, faults)


def test_how_often_it_is_advanced_makes_no_difference():
    fine, coarse = Client(), Client()
    for client in (fine, coarse):
        client.say(0.1, "subscribe", instruments=["ES"])
        client.say(0.2, "streamPnl", enabled=True, interval=300)
        client.rpc(0.3, "ListAccounts")
    for step in range(500):
        fine.run(0.3 + step / 100)
    while coarse.server.due <= at(5.29):
        coarse.server.advance(coarse.server.due)
    coarse.run(5.29)
    assert fine.outputs == coarse.outputs


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
WORDS = st.sampled_from(
    ["Sim101", "ES", "XX", "BUY", "LIMIT", "MARKET", "DAY", 1, 0, -1, 1.5, 2**60, 1e308, "\ud800", "", None, True, "x"]
)
KEYS = st.sampled_from(
    [
        "account",
        "instrument",
        "action",
        "orderType",
        "quantity",
        "timeInForce",
        "limitPrice",
        "stopPrice",
        "orderId",
        "ocoId",
        "percent",
        "lookbackTime",
        "marketPosition",
        "activeOnly",
        "maxPositions",
        "requireMarketPosition",
    ]
)
APIS = st.sampled_from(
    [
        "PlaceOrder",
        "Change",
        "Cancel",
        "ClosePosition",
        "Flatten",
        "GetQuote",
        "ListExecutions",
        "MarketInfo",
        "GetOrder",
        "CancelOrders",
        "GetPosition",
        "ListOrders",
        "Nope",
        "\ud800",
        "GetBars",
        "GetAccount",
        "FlattenEverything",
        "ReversePosition",
        "CancelAndBracket",
        "CancelReplace",
        "GetWatermarks",
        "GetExecutionsByOrderId",
    ]
)
CALLS = st.builds(
    lambda api, args, key: {"action": "rpc", "api": api, "args": args, "id": key},
    APIS,
    st.dictionaries(KEYS, WORDS | JSON, max_size=8),
    st.text(max_size=3) | st.none(),
)
NEAR = st.dictionaries(
    st.sampled_from(["action", "id", "api", "args", "instruments", "events", "origin", "enabled", "interval"]),
    st.sampled_from(["rpc", "subscribe", "unsubscribe", "streamPnl", "ping", ["ES"], ["\ud800"], {}]) | WORDS | JSON,
)
PLACES = st.fixed_dictionaries(
    {
        "account": st.just("Sim101"),
        "instrument": st.sampled_from(["ES", "ES1!"]),
        "action": st.sampled_from(["BUY", "sell"]),
        "orderType": st.sampled_from(["MARKET", "LIMIT", "STOPMARKET", "STOPLIMIT"]),
        "quantity": st.integers(-1, 2**53),
        "timeInForce": st.sampled_from(["DAY", "GTC"]),
        "limitPrice": st.floats() | st.none(),
        "stopPrice": st.floats() | st.none(),
        "ocoId": st.sampled_from(["a", "b", None]),
        "orderId": st.text(max_size=2) | st.none(),
    }
).map(lambda args: {"action": "rpc", "api": "PlaceOrder", "args": args})


PATHS = st.sampled_from(
    [
        "/accounts",
        "/accounts/Sim101/orders",
        "/accounts/%ff/orders/x/cancel",
        "/accounts/Sim101/orders/place",
        "/accounts/Sim101/orders/x/change",
        "/positions/flatten",
        "/market/quote",
        "/\ud800",
    ]
)


@settings(max_examples=100, deadline=None)
@given(st.lists(st.text(st.characters()) | JSON.map(json.dumps) | (NEAR | CALLS | PLACES).map(json.dumps), max_size=12))
def test_no_text_raises_and_all_that_comes_back_is_json(texts: list[str]):
    client = Client([100.0, 101.0, 99.0] * 10)
    for number, text in enumerate(texts):
        client.server.receive(client.number, text, at(number * 0.4))
    client.run(30)
    assert not any("garbage" in frame for frame in client.frames(30))


@settings(max_examples=150, deadline=None)
@given(
    st.sampled_from(["GET", "POST", "PUT", "get", "\ud800"]),
    PATHS | st.text(st.characters()),
    st.dictionaries(KEYS | st.text(max_size=3), st.text(max_size=5), max_size=2),
    st.binary(max_size=20)
    | (JSON | PLACES.map(lambda call: call["args"])).map(lambda value: json.dumps(value).encode()),
)
def test_no_request_raises_and_each_is_answered_once(method: str, path: str, query: dict[str, str], body: bytes):
    client = Client()
    number = client.server.request("secret", method, "/v1/api" + path, query, body, at(1))
    client.run(2)
    (answer,) = [out for out in client.outputs if getattr(out, "request", None) == number]
    json.loads(answer.body)  # type: ignore[union-attr]
    assert answer.status in (200, 400, 404)  # type: ignore[union-attr]


def test_what_was_assumed_is_written_down_once():
    assert len(ASSUMED) == len(set(ASSUMED)) > 20
    assert all(line.endswith(".") for line in ASSUMED)
