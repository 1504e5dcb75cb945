"""Every fault that SimServer can be told to have, and how a table of them is read."""

from __future__ import annotations

import json
import math
from typing import Any

import attrs
import pytest
from serving import Client, at, quotes_of
from tables import table

from xtalgo.model.errors import ConfigError
from xtalgo.protocol.frames import MarketData, RpcError
from xtalgo.protocol.outcomes import Outcome, outcome
from xtalgo.protocol.wire import parse_server
from xtalgo.sim.faults import TAKEOVER_CODE, TAKEOVER_REASON, Delay, Faults, Handshake, Mishaps, ScriptedClose
from xtalgo.sim.server import Close, Drop, Rejection

PLACE = {
    "account": "Sim101",
    "instrument": "ES",
    "action": "BUY",
    "orderType": "MARKET",
    "quantity": 1,
    "timeInForce": "GTC",
}


def held(client: Client, seconds: float) -> int:
    """The position, by REST, past the faults of the socket."""
    answer = client.rest(seconds, "GET", "/v1/api/accounts/Sim101/position", instrument="ES")
    return int(json.loads(answer.body)["quantity"])


# --- spans and scripts -----------------------------------------------------------------------------------------------


def test_while_the_addon_is_away_calls_fail_streams_stop_and_resting_orders_fill():
    client = Client([100, 100, 100, 98, 98, 98, 98, 98], faults={"addon_offline": [2, 5]})
    client.say(0.1, "subscribe", instruments=["ES"])
    client.say(0.2, "streamPnl", enabled=True)
    client.place(0.3, "BUY", "LIMIT", limitPrice=99.0, orderId="rests")
    client.run(1.99)
    away = client.call(2.1, "PlaceOrder", **PLACE)
    assert away == {"error": "NinjaTrader add-on is not connected"}
    assert outcome("PlaceOrder", away["error"]) is Outcome.UNKNOWN
    rest = client.rest(3.1, "GET", "/v1/api/accounts")
    assert (rest.status, json.loads(rest.body)["success"]) == (408, False)
    assert [frame for frame in client.frames(4.9) if "type" in frame] == []
    assert {frame["type"] for frame in client.frames(6.5)} == {"marketData", "pnlUpdate"}
    assert client.state(6.6, "rests") == "Filled"
    assert len(client.call(7.1, "ListOrders", account="Sim101")["orders"]) == 1  # the placing was not done


def test_silence_holds_back_quotes_and_nothing_else():
    client = Client(faults={"silence": [[2, 4], {"from": 6, "until": 8}]})
    client.say(0.1, "subscribe", instruments=["ES"])
    client.say(0.2, "streamPnl", enabled=True)
    seen: list[int] = []
    for second in range(1, 10):
        frames = client.frames(second + 0.5)
        seen.append(len(quotes_of(frames)))
        assert sum(frame.get("type") == "pnlUpdate" for frame in frames) == 1
    assert seen == [1, 0, 0, 1, 1, 0, 0, 1, 1]


def test_a_connection_is_dropped_so_long_after_it_opened():
    client = Client(faults={"drop_every": 10})
    client.run(9.9)
    assert client.endings == []
    client.run(10)
    assert client.endings == [Drop(1)]
    client.connect(15)
    client.connect(20)
    client.run(29)
    assert client.endings == [Drop(1), Close(2, TAKEOVER_CODE, TAKEOVER_REASON)]
    client.run(30)
    assert client.endings[2:] == [Drop(3)]


def test_drops_closes_and_takeovers_come_by_the_script():
    faults = {"drop_at": [1, 2], "close_at": [[3, 1012, "Service restart"], {"at": 5, "code": 1001}], "takeover_at": 7}
    client = Client(faults=faults)
    for second in range(1, 9):
        client.run(second)
        client.connect(second + 0.5)
    assert [(type(end), end.connection) for end in client.endings if end.connection in (1, 2)] == [(Drop, 1), (Drop, 2)]
    closes = {(end.code, end.reason) for end in client.endings if isinstance(end, Close)}
    assert closes >= {(1012, "Service restart"), (1001, ""), (TAKEOVER_CODE, TAKEOVER_REASON)}


def test_scripts_count_from_when_the_server_first_heard_the_clock():
    client = Client(connect=False, faults={"drop_at": 3, "silence": [5, 6]})
    client.connect(100)
    client.run(102.9)
    assert client.endings == []
    client.run(103)
    assert client.endings == [Drop(1)]


def test_a_takeover_can_have_another_code_and_lose_its_reason():
    client = Client(faults={"takeover_code": 1000, "takeover_reason": ""})
    client.connect(1)
    assert client.endings == [Close(1, 1000, "")]


def test_the_first_handshakes_are_refused():
    client = Client(connect=False, faults={"reject_handshake": [503, 2]})
    for second in (1, 2):
        refused = client.connect(second)
        assert isinstance(refused, Rejection)
        assert refused.status == 503
    assert client.connect(3) == 1


# --- calls -----------------------------------------------------------------------------------------------------------


def test_a_lost_request_is_neither_done_nor_answered():
    client = Client(faults={"lose_request": 1})
    key = client.rpc(1.1, "PlaceOrder", **PLACE)
    client.run(5)
    assert client.replies(key) == []
    assert client.server.venue.orders == []
    assert client.rest(6, "GET", "/v1/api/accounts").status == 504


def test_a_lost_reply_was_done():
    client = Client(faults={"lose_reply": 1})
    key = client.rpc(1.1, "PlaceOrder", **PLACE)
    client.run(5)
    assert client.replies(key) == []
    assert [order.state.value for order in client.server.venue.orders] == ["Filled"]
    assert client.rest(6, "POST", "/v1/api/accounts/Sim101/orders/place", PLACE).status == 504
    client.run(9)
    assert len(client.server.venue.executions) == 2


def test_a_late_reply_tells_the_state_of_its_moment():
    client = Client([100.0, 101.0, 102.0, 103.0, 104.0], faults={"delay_reply": [1, 2]})
    key = client.rpc(0.1, "GetQuote", instrument="ES")
    client.run(2.34)
    assert client.replies(key) == []
    client.run(2.35)
    assert client.replies(key)[0]["data"]["bid"] == 100.0


def test_late_replies_overtake_each_other():
    client = Client(faults={"delay_reply": [0.5, 1], "seed": 3})
    keys = [client.rpc(1 + number / 100, "ListAccounts") for number in range(16)]
    order = [frame["id"] for frame in client.frames(5)]
    assert sorted(order) == sorted(keys)
    assert order != keys


def test_a_double_reply_is_the_same_twice():
    client = Client(faults={"double_reply": 1})
    key = client.rpc(1.1, "PlaceOrder", **PLACE)
    client.run(5)
    first, second = client.replies(key)
    assert first == second
    assert held(client, 6) == 1


def test_garbage_comes_beside_good_frames_and_our_parser_stands_it():
    client = Client(faults={"garbage": 1})
    client.say(0.1, "subscribe", instruments=["ES"])
    client.run(200)
    frames = [out.text for out in client.outputs[1:] if hasattr(out, "text")]
    good = [frame for frame in frames if isinstance(message := parse_server(frame), MarketData) and message.quotes]
    assert len(frames) == 400
    assert 200 <= len(good) < 240  # a few kinds of garbage hold a usable row


def test_a_rate_refusal_is_not_done_and_ten_of_them_close_the_socket():
    client = Client(faults={"rate_refusal": 1})
    (answer,) = client.say(1, "rpc", id="p", api="PlaceOrder", args=PLACE)
    assert isinstance(read := parse_server(json.dumps(answer)), RpcError)
    assert outcome("PlaceOrder", read.error) is Outcome.NOT_DONE
    assert client.rest(2, "GET", "/v1/api/accounts").status == 429
    for second in range(3, 11):
        client.rpc(second, "ListAccounts")
    assert client.endings == [Close(1, 1008, "Rate limit exceeded")]
    assert client.server.venue.orders == []


# --- orders ----------------------------------------------------------------------------------------------------------


def test_an_order_can_be_rejected_after_it_was_accepted():
    client = Client(faults={"reject_order": 1})
    assert client.place(1.1, orderId="x")["success"] is True
    assert client.state(2.1, "x") == "Rejected"
    assert held(client, 3) == 0


def test_reassigned_ids_are_in_replies_and_rows_and_both_find_the_order():
    client = Client(faults={"reassign_ids": True})
    guid = client.place(1.1, "BUY", "LIMIT", 2, limitPrice=90.0, orderId="mine")["orderId"]
    assert guid != "mine"
    assert len(guid) == 32
    assert client.order(1.5, "mine")["orderId"] == client.order(1.9, guid)["orderId"] == guid
    assert client.call(2.5, "ListOrders", account="Sim101")["orders"][0]["orderId"] == guid
    change = {"account": "Sim101", "orderId": "mine", "limitPrice": 101.0}
    assert client.call(3.1, "Change", **change) == {"orderId": guid, "success": True}
    assert client.call(4.1, "ListExecutions", account="Sim101")["executions"][0]["orderId"] == guid
    assert client.place(5.1, orderId="mine")["success"] is False
    other = client.place(6.1, "BUY", "LIMIT", limitPrice=90.0, orderId="other")["orderId"]
    assert client.call(7.1, "Cancel", account="Sim101", orderId="other") == {"orderId": other, "success": True}


def test_fills_can_be_capped_so_that_orders_fill_in_parts():
    client = Client(faults={"most_per_fill": 2})
    client.place(0.1, quantity=5, orderId="x")
    filled = [client.order(second + 0.1, "x")["filled"] for second in (1, 2, 3)]
    assert filled == [2, 4, 5]
    small = Client(table([100.0] * 10, sizes=1), faults={"most_per_fill": 2})
    small.place(0.1, quantity=3, orderId="x")
    assert small.order(1.1, "x")["filled"] == 1  # never more than the quote shows


def test_a_new_order_can_be_missing_from_lists_for_a_while():
    client = Client(faults={"late_rows": 2})
    client.place(1.1, "BUY", "LIMIT", limitPrice=90.0, orderId="x")
    assert client.call(2.1, "ListOrders", account="Sim101")["orders"] == []
    assert client.order(2.5, "x")["error"] == "Order 'x' not found"
    assert client.place(2.8, orderId="x")["success"] is False
    assert client.state(3.2, "x") == "Working"
    assert len(client.call(4.1, "GetAllOrders")["orders"]) == 1


# --- chance ----------------------------------------------------------------------------------------------------------


def losses(seed: int, **more: Any) -> list[bool]:
    client = Client(faults={"lose_reply": 0.4, "seed": seed, **more})
    client.say(0.1, "subscribe", instruments=["ES"])
    keys = [client.rpc(second + 0.3, "ListAccounts") for second in range(40)]
    client.run(100)
    return [not client.replies(key) for key in keys]


def test_chances_come_from_the_seed_and_one_doesnt_move_another():
    assert losses(1) == losses(1)
    assert losses(1) != losses(2)
    assert losses(1) == losses(1, garbage=0.5, double_reply=0.5)
    assert 6 <= sum(losses(1)) <= 26


def test_chances_of_different_kinds_are_independent():
    mishaps = Mishaps(Faults(seed=1), 0)
    first, second = ([mishaps.happens(name, 0.5) for _ in range(200)] for name in ("lose_reply", "lose_request"))
    assert 60 < sum(one == other for one, other in zip(first, second, strict=True)) < 140


# --- tables ----------------------------------------------------------------------------------------------------------


def test_a_table_is_read():
    faults = Faults.from_table(
        {
            "addon_offline": {"from": 10},
            "silence": [1, 2.5],
            "drop_every": 60,
            "drop_at": 5,
            "close_at": [7, 1012],
            "takeover_at": [1, 2],
            "reject_handshake": {"status": 429},
            "delay_reply": {"probability": 0.5, "seconds": 3},
        }
    )
    assert faults == Faults(
        addon_offline=((10.0, math.inf),),
        silence=((1.0, 2.5),),
        drop_every=60.0,
        drop_at=(5.0,),
        close_at=(ScriptedClose(7.0, 1012),),
        takeover_at=(1.0, 2.0),
        reject_handshake=Handshake(429, 1),
        delay_reply=Delay(0.5, 3.0),
    )
    assert Faults.from_table({}) == Faults()


def test_what_is_written_can_be_read_back():
    faults = Faults.from_table({"silence": [[1, 2], [3, 4]], "close_at": [7, 1012, "x"], "reject_handshake": [503, 3]})
    assert Faults.from_table(attrs.asdict(faults, recurse=False)) == faults
    assert attrs.evolve(faults, seed=1).silence == faults.silence


@pytest.mark.parametrize(
    ("table", "text"),
    [
        ({"silense": 1}, "there is no 'silense'; did you mean silence?"),
        ({"silence": 3}, "silence must be"),
        ({"silence": [2, 1]}, "silence must be"),
        ({"silence": {"form": 1}}, "silence must be a table of from, until, without 'form'"),
        ({"addon_offline": [1, 2, 3]}, "addon_offline must be"),
        ({"drop_every": 0}, "drop_every must be a number from 0.001"),
        ({"drop_every": math.nan}, "drop_every must be"),
        ({"drop_at": [math.inf]}, "drop_at must be"),
        ({"drop_at": "now"}, "drop_at must be"),
        ({"close_at": [5, 1005]}, "close code that can be sent"),
        ({"close_at": [5, 99]}, "close_at must be a whole number from 1000"),
        ({"close_at": [5]}, "close_at must be"),
        ({"close_at": [5, 1000, "x" * 200]}, "123 bytes"),
        ({"takeover_code": True}, "takeover_code must be"),
        ({"reject_handshake": [200, 1]}, "reject_handshake must be"),
        ({"lose_reply": 1.5}, "lose_reply must be a number from 0 to 1"),
        ({"lose_reply": "often"}, "lose_reply must be"),
        ({"delay_reply": 0.5}, "delay_reply must be [probability, seconds]"),
        ({"reassign_ids": 1}, "reassign_ids must be true or false"),
        ({"most_per_fill": 0}, "most_per_fill must be"),
        ({"seed": -1}, "seed must be"),
        ({"late_rows": -1}, "late_rows must be"),
    ],
)
def test_what_is_wrong_in_a_table_is_named(table: dict[str, Any], text: str):
    with pytest.raises(ConfigError) as caught:
        Faults.from_table(table)
    assert text in str(caught.value)


def test_no_fault_is_the_default():
    client = Client()
    client.say(0.1, "subscribe", instruments=["ES"])
    client.run(599)
    assert client.endings == []
    assert len(quotes_of([json.loads(out.text) for out in client.outputs if hasattr(out, "text")])) == 599
    assert client.server.due == at(0) + 2**63 - 1 - at(0)
