"""Frames and messages: round trips for both roles, and a client's parser that nothing can upset."""

from __future__ import annotations

import json
import random
import re
import string
from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xtalgo.protocol import wire
from xtalgo.protocol.fields import failure_of
from xtalgo.protocol.frames import (
    EVENT_KINDS,
    ClientMessage,
    EventFrame,
    MarketData,
    Ping,
    PnlUpdate,
    Pong,
    Refusal,
    Resync,
    Rpc,
    RpcError,
    RpcReply,
    ServerMessage,
    Status,
    StatusFrame,
    StreamPnl,
    Subscribe,
    Unknown,
    Unsubscribe,
    WirePnl,
    WireQuote,
)
from xtalgo.protocol.outcomes import Outcome, outcome
from xtalgo.protocol.pnl import PNL_NAMES, pnl_of
from xtalgo.protocol.wire import (
    MAX_FRAME,
    encode_client,
    encode_server,
    failed,
    parse_client,
    parse_server,
    replied,
)

TEXT = st.text(st.characters(codec="utf-8"), max_size=12)
NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)
INTS = st.integers(-(2**63), 2**63 - 1)
FLOATS = st.floats(allow_nan=False, allow_infinity=False)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**80), 2**80) | FLOATS | TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXT, inner, max_size=4),
    max_leaves=12,
)
KEYS = st.text(string.ascii_lowercase, max_size=5).map(lambda text: f"x_{text}")
"""Keys that mean nothing to anybody."""
OBJECTS = st.dictionaries(KEYS, JSON, max_size=4)

GOOD = WireQuote("YM 09-27", 41250.0, 41252.0, 41251.0, 9120)
GOOD_ROW = {"instrument": "YM 09-27", "bid": 41250, "ask": 41252.0, "last": 41251.0, "volume": 9120}


def read(**frame: Any) -> ServerMessage:
    return parse_server(json.dumps(frame))


# --- there and back --------------------------------------------------------------------------------------------------

CLIENT_MESSAGES: st.SearchStrategy[ClientMessage] = st.one_of(
    st.builds(
        Rpc,
        id=st.none() | NAMES,
        api=NAMES,
        args=st.dictionaries(TEXT, JSON, max_size=5),
        origin=st.none() | NAMES,
    ),
    st.builds(Subscribe, instruments=st.lists(NAMES, min_size=1, max_size=5).map(tuple)),
    st.builds(Subscribe, events=st.lists(NAMES, min_size=1, max_size=3).map(tuple), origin=NAMES),
    st.builds(Unsubscribe, st.lists(NAMES, min_size=1, max_size=5).map(tuple)),
    st.builds(StreamPnl, st.booleans(), st.none() | st.integers(1, 60_000)),
    st.just(Ping()),
)


@given(CLIENT_MESSAGES)
def test_what_a_client_says_a_server_hears(message: ClientMessage) -> None:
    frame = encode_client(message)
    assert parse_client(frame) == message
    assert parse_client(frame.encode()) == message


HEAD = {name: st.none() | INTS for name in ("seq", "dropped", "epoch")} | {
    name: st.none() | TEXT for name in ("origin", "account")
}
QUOTES = st.builds(
    WireQuote, NAMES, st.none() | FLOATS, st.none() | FLOATS, st.none() | FLOATS, st.none() | st.integers(0, 2**63 - 1)
)
MONEY = st.none() | FLOATS
PNL = st.fixed_dictionaries(
    {"name": TEXT, "realizedProfitLoss": MONEY, "unrealizedProfitLoss": MONEY, "netLiquidation": MONEY},
    optional={"x_more": JSON},
).map(pnl_of)
SERVER_MESSAGES: st.SearchStrategy[ServerMessage] = st.one_of(
    st.builds(MarketData, st.lists(QUOTES, max_size=4).map(tuple)),
    st.builds(PnlUpdate, st.none() | INTS, st.lists(PNL, max_size=3).map(tuple)),
    st.builds(Status, TEXT, OBJECTS),
    st.builds(StatusFrame, TEXT, body=OBJECTS, **HEAD),
    st.builds(Resync, body=OBJECTS, **HEAD),
    st.builds(EventFrame, st.sampled_from(EVENT_KINDS), body=OBJECTS, **HEAD),
    st.builds(replied, TEXT, JSON.filter(lambda body: failure_of(body) is None)),
    st.builds(RpcError, st.none() | TEXT, NAMES, st.none() | TEXT, st.none(), OBJECTS),
    st.builds(failed, TEXT, NAMES, st.none() | TEXT),
    st.just(Pong()),
)


@given(SERVER_MESSAGES)
def test_what_a_server_says_a_client_hears(message: ServerMessage) -> None:
    frame = encode_server(message)
    assert parse_server(frame) == message
    assert parse_server(frame.encode()) == message


def test_every_message_has_its_round_trip() -> None:
    """The two strategies above leave nothing out but Unknown, which nobody sends."""
    assert set(get_args(ClientMessage)) == {Rpc, Subscribe, Unsubscribe, StreamPnl, Ping}
    said = {MarketData, PnlUpdate, Status, StatusFrame, Resync, EventFrame, RpcReply, RpcError, Pong}
    assert set(get_args(ServerMessage)) == said | {Unknown}
    with pytest.raises(TypeError, match="not one to send"):
        encode_server(Unknown("", ""))


@given(st.lists(QUOTES, max_size=3), TEXT, JSON)
def test_the_quick_way_and_the_slow_way_agree(quotes: list[WireQuote], key: str, body: Any) -> None:
    for message in (MarketData(tuple(quotes)), replied(key, body)):
        frame = encode_server(message)
        quick = wire._quick(frame)
        assert quick is None or quick == wire._slow(frame)


# --- what a client writes --------------------------------------------------------------------------------------------


def test_the_frames_that_a_client_writes() -> None:
    rpc = Rpc(id="a-1", api="GetOrder", args={"account": "Sim102", "orderId": "q7"})
    assert json.loads(encode_client(rpc)) == {
        "action": "rpc",
        "id": "a-1",
        "api": "GetOrder",
        "args": {"account": "Sim102", "orderId": "q7"},
    }
    empty = Rpc(id="a-2", api="Tv_ListOrders", origin="tradovate")
    assert json.loads(encode_client(empty)) == {
        "action": "rpc",
        "id": "a-2",
        "api": "Tv_ListOrders",
        "args": {},
        "origin": "tradovate",
    }
    assert encode_client(Subscribe(instruments=("YM 09-27",))) == '{"action":"subscribe","instruments":["YM 09-27"]}'
    assert json.loads(encode_client(Subscribe(events=("orders",), origin="tradovate"))) == {
        "action": "subscribe",
        "events": ["orders"],
        "origin": "tradovate",
    }
    assert encode_client(StreamPnl(True)) == '{"action":"streamPnl","enabled":true}'
    assert encode_client(StreamPnl(False, 500)) == '{"action":"streamPnl","enabled":false,"interval":500}'
    assert encode_client(Ping()) == '{"action":"ping"}'


@pytest.mark.parametrize("price", [float("nan"), float("inf"), float("-inf")])
def test_a_price_that_json_has_no_number_for_is_not_sent_as_null(price: float) -> None:
    with pytest.raises(ValueError, match="PlaceOrder: limitPrice is"):
        encode_client(Rpc(api="PlaceOrder", args={"limitPrice": price}))


# --- what a server makes of a client ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "told", "key"),
    [
        ("", "Invalid request: Input data was truncated", None),
        ("{", "truncated", None),
        ("[1]", "a JSON array, not an object", None),
        ("null", "a JSON null, not an object", None),
        ("{}", "no `action`; there are rpc, subscribe, unsubscribe, streamPnl, ping", None),
        ('{"action":"subscrbe","id":"k"}', "no action 'subscrbe'; there are", "k"),
        ('{"action":7}', "no action 7", None),
        ('{"action":["rpc"]}', "no action ['rpc']", None),
        ('{"action":"rpc","id":"k"}', "missing required field `api`", "k"),
        ('{"action":"rpc","id":"k","api":""}', "length >= 1", "k"),
        ('{"action":"rpc","id":"k","api":7}', "Expected `str`, got `int`", "k"),
        ('{"action":"rpc","id":7,"api":"x"}', "`$.id`", None),
        ('{"action":"rpc","id":"k","api":"x","args":[1]}', "Expected `object`, got `array`", "k"),
        ('{"action":"rpc","id":"k","api":"x","arg":{}}', "unknown field `arg`", "k"),
        ('{"action":"rpc","id":"k","api":"x","args":{"p":NaN}}', "malformed", None),
        ('{"action":"subscribe"}', "needs either `instruments` or `events`", None),
        ('{"action":"subscribe","instruments":[]}', "needs either", None),
        ('{"action":"subscribe","instruments":["a"],"events":["b"],"origin":"t"}', "needs either", None),
        ('{"action":"subscribe","instruments":["a"],"origin":"t"}', "takes no `origin`", None),
        ('{"action":"subscribe","instruments":"YM 09-27"}', "Expected `array`, got `str`", None),
        ('{"action":"subscribe","instruments":["YM 09-27",7]}', "Expected `str`, got `int`", None),
        ('{"action":"subscribe","instruments":[""]}', "length >= 1", None),
        ('{"action":"subscribe","accounts":["Sim102"],"channels":["fills"]}', "unknown field `accounts`", None),
        ('{"action":"unsubscribe","instruments":[]}', "length >= 1", None),
        ('{"action":"streamPnl"}', "missing required field `enabled`", None),
        ('{"action":"streamPnl","enabled":1}', "Expected `bool`, got `int`", None),
        ('{"action":"streamPnl","enabled":true,"interval":0}', ">= 1", None),
        ('{"action":"ping","id":"k"}', "unknown field `id`", "k"),
        (b'{"action":"\xff"}', "not UTF-8", None),
        ('{"action":"rpc","api":"x","args":' + '{"a":' * 100_000, "nested too deeply", None),
    ],
)
def test_a_server_says_what_is_wrong(frame: str | bytes, told: str, key: str | None) -> None:
    refusal = parse_client(frame)
    assert isinstance(refusal, Refusal)
    assert told in refusal.text
    assert refusal.id == key
    assert outcome("PlaceOrder", refusal.text) is Outcome.REFUSED, "our own client must understand it"


def test_a_server_takes_no_frame_beyond_the_limit() -> None:
    refusal = parse_client("x" * (MAX_FRAME + 1))
    assert isinstance(refusal, Refusal)
    assert "more than" in refusal.text


@given(JSON | st.dictionaries(st.sampled_from(["action", "id", "api", "args", "instruments"]), JSON))
def test_no_json_upsets_a_server(frame: Any) -> None:
    assert isinstance(parse_client(json.dumps(frame)), (Refusal, *get_args(ClientMessage)))


# --- market data -----------------------------------------------------------------------------------------------------


def test_quotes() -> None:
    assert read(type="marketData", quotes=[GOOD_ROW]) == MarketData((GOOD,))
    assert read(type="marketData", quotes=[]) == MarketData(())
    assert read(quotes=[GOOD_ROW], type="marketData", more={"seq": 4}) == MarketData((GOOD,))


def test_what_a_quote_does_not_tell_is_none() -> None:
    told = read(type="marketData", quotes=[{"instrument": "YM 09-27", "bid": None, "ask": 41252.0}])
    assert told == MarketData((WireQuote("YM 09-27", None, 41252.0),))


def test_further_keys_of_a_quote_are_ignored() -> None:
    assert read(type="marketData", quotes=[{**GOOD_ROW, "epoch": "soon", "open": [1]}]) == MarketData((GOOD,))


def test_a_whole_volume_may_be_written_as_a_float() -> None:
    assert read(type="marketData", quotes=[{**GOOD_ROW, "volume": 9120.0}]) == MarketData((GOOD,))


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        ('"YM"', "Expected `object`, got `str`"),
        ("null", "Expected `object`, got `null`"),
        ("[[]]", "Expected `object`, got `array`"),
        ("{}", "missing required field `instrument`"),
        ('{"instrument":""}', "length >= 1"),
        ('{"instrument":null}', "Expected `str`, got `null`"),
        ('{"instrument":"NQ","bid":"101.5"}', "'NQ': Expected `float | null`, got `str` - at `$.bid`"),
        ('{"instrument":"NQ","bid":true}', "got `bool`"),
        ('{"instrument":"NQ","ask":{}}', "got `object`"),
        ('{"instrument":"NQ","ask":NaN}', "ask is nan"),
        ('{"instrument":"NQ","last":-Infinity}', "last is -inf"),
        ('{"instrument":"NQ","bid":1e999}', "bid is inf"),
        ('{"instrument":"NQ","volume":-1}', ">= 0"),
        ('{"instrument":"NQ","volume":9.5}', "$.volume"),
        ('{"instrument":"NQ","volume":1e300}', "volume"),
        ('{"instrument":"NQ","volume":99999999999999999999999}', "volume"),
        ('{"instrument":"NQ","bid":' + "9" * 4000 + "}", "bid"),
    ],
)
def test_a_bad_quote_costs_its_own_row_only(bad: str, told: str) -> None:
    good = json.dumps(GOOD_ROW)
    message = parse_server(f'{{"type":"marketData","quotes":[{good},{bad},{good}]}}')
    assert isinstance(message, MarketData)
    assert message.quotes == (GOOD, GOOD)
    (fault,) = message.faults
    assert "quotes[1]" in fault
    assert told in fault
    assert len(fault) < 300


def test_a_thousand_bad_quotes_make_a_short_report() -> None:
    message = read(type="marketData", quotes=[{"instrument": "x" * 900, "bid": "x"}] * 1000)
    assert isinstance(message, MarketData)
    assert message.faults[-1] == "and 980 more"
    assert sum(map(len, message.faults)) < 5000


# --- P&L -------------------------------------------------------------------------------------------------------------


def pnl(**row: Any) -> WirePnl:
    message = read(type="pnlUpdate", epoch=1_805_000_000_250, accounts=[row])
    assert isinstance(message, PnlUpdate)
    assert message.epoch == 1_805_000_000_250
    assert message.accounts[0].raw == row
    return message.accounts[0]


@pytest.mark.parametrize("what", list(PNL_NAMES))
def test_every_name_on_the_list_is_found(what: str) -> None:
    for name in PNL_NAMES[what]:
        for spelled in (name, name.lower(), name.upper()):
            value: Any = "Sim102" if what == "account" else -31.25
            told = pnl(**{spelled: value, "x": 1})
            assert getattr(told, what) == value, spelled
            assert sum(getattr(told, other) is None for other in PNL_NAMES) == 3


@pytest.mark.parametrize(
    "row",
    [
        {"name": "Sim102", "item": {"realizedProfitLoss": 5.5, "unrealizedProfitLoss": 0, "netLiquidation": 9000.0}},
        {"account": {"name": "Sim102", "item": {"realizedPnl": 5.5, "unrealized_pnl": 0, "netLiquidation": 9000}}},
        {"account": "Sim102", "stats": {"realized": 5.5, "unrealized": 0.0, "netliq": 9000.0, "total": 5.5, "pnl": 7}},
    ],
)
def test_values_are_found_where_the_venues_other_shapes_have_them(row: dict[str, Any]) -> None:
    told = pnl(**row)
    assert (told.account, told.realized, told.unrealized, told.net_liquidation) == ("Sim102", 5.5, 0.0, 9000.0)


def test_missing_is_none_and_never_zero() -> None:
    told = pnl(name="Sim102", cashValue=3.0)
    assert (told.realized, told.unrealized, told.net_liquidation) == (None, None, None)
    assert pnl(name="Sim102", pnl=4.0, total=4.0, grossRealizedProfitLoss=4.0).realized is None


def test_odd_values_are_named() -> None:
    message = read(
        type="pnlUpdate",
        epoch="now",
        accounts=[{"realized": "12.5", "unrealized": "much", "netLiquidation": True}, 7, None],
    )
    assert isinstance(message, PnlUpdate)
    assert message.epoch is None
    (row,) = message.accounts
    assert (row.account, row.realized, row.unrealized, row.net_liquidation) == (None, 12.5, None, None)
    told = "\n".join(message.faults)
    for part in (
        "accounts[0]: no account name",
        "accounts[0].realized: the text '12.5' read as a number",
        "accounts[0].unrealized: 'much' is not a number",
        "accounts[0].net_liquidation: True is not a number",
        "accounts[1]: a number, not an object",
        "accounts[2]: a null, not an object",
        "epoch: 'now' is not a whole number",
    ):
        assert part in told


def test_an_account_that_is_not_a_number_keeps_its_neighbours() -> None:
    for odd in ("NaN", "-Infinity", "1e999", '"nan"', "9" * 400, "[1]", "false"):
        frame = f'{{"type":"pnlUpdate","accounts":[{{"name":"a","realized":{odd}}},{{"name":"b","realized":2}}]}}'
        message = parse_server(frame)
        assert isinstance(message, PnlUpdate)
        assert [row.realized for row in message.accounts] == [None, 2.0]
        (fault,) = message.faults
        assert re.fullmatch(r"accounts\[0\].realized: .* is not a number", fault)


def test_accounts_as_a_mapping_by_name() -> None:
    message = read(type="pnlUpdate", accounts={"Sim102": {"unrealizedPnl": 8}, "Sim103": 5})
    assert isinstance(message, PnlUpdate)
    assert [(row.account, row.unrealized) for row in message.accounts] == [("Sim102", 8.0)]
    assert message.faults == ("accounts[1]: a number, not an object",)


# --- acknowledgments, status, events ---------------------------------------------------------------------------------


def test_a_status_at_the_top_is_an_acknowledgment() -> None:
    assert read(status="subscribed", instruments=["YM 09-27"]) == Status("subscribed", {"instruments": ["YM 09-27"]})
    assert read(status="error", error="what?") == Status("error", {"error": "what?"})
    refused = read(status="error", error="what?")
    assert isinstance(refused, Status)
    assert refused.error == "what?"
    assert Status("subscribed").error is None
    assert read(status="ok", id="k", data={}) == Status("ok", {"id": "k", "data": {}})
    assert read(status=200) == Status("200", {"status": 200})


def test_type_comes_before_status() -> None:
    assert read(type="status", state="ready", status="x", seq=3) == StatusFrame("ready", 3, body={"status": "x"})
    assert read(type="status", status="subscribed") == Status("subscribed", {"type": "status"})
    assert read(type="marketData", status="x", quotes=[GOOD_ROW]) == MarketData((GOOD,))


@pytest.mark.parametrize("kind", EVENT_KINDS)
def test_pushed_events(kind: str) -> None:
    body = {"accountId": 51, "order": {"id": 4}}
    frame = {"type": kind, "seq": 9, "dropped": 2, "epoch": 1_805_000_000_250, "origin": "tradovate", **body}
    assert read(**frame) == EventFrame(kind, 9, 2, 1_805_000_000_250, "tradovate", None, body)


def test_a_head_of_the_wrong_type_stays_in_the_body() -> None:
    assert read(type="resync", seq="4", dropped=True) == Resync(body={"seq": "4", "dropped": True})


# --- replies and errors ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "data",
    [
        {"positions": [], "success": True},
        {"bid": 1.5},
        [{"bid": 1.5}, {"bid": 2.5}],
        {"success": True, "error": None, "orderId": "q7"},
        {"success": True, "error": "ignored"},
        {"success": None, "orders": []},
        {"error": ""},
        {"data": {"success": False}},
        [],
        {},
        None,
        "text",
        3,
    ],
)
def test_replies_with_and_without_success(data: Any) -> None:
    message = read(id="k-3", data=data)
    assert isinstance(message, RpcReply)
    assert message.id == "k-3"
    assert msgspec.json.decode(message.data) == data


@pytest.mark.parametrize(
    ("frame", "error", "detail"),
    [
        ({"error": "Rate limit exceeded"}, "Rate limit exceeded", None),
        ({"error": "Rate limit exceeded", "status": 429}, "Rate limit exceeded", None),
        ({"error": "no", "detail": "since"}, "no", "since"),
        ({"error": {"code": 4, "message": "not so"}}, "not so", None),
        ({"error": 17}, "17", None),
        ({"error": ["a"]}, "['a']", None),
        ({"error": "no", "data": {"success": True}}, "no", None),
        ({"error": "no", "type": "rpcError"}, "no", None),
        ({"type": "error", "message": "bad frame"}, "bad frame", None),
        ({"success": False, "message": "not now"}, "not now", None),
        ({"data": {"success": False, "error": "invalid_account", "detail": "Sim1O2?"}}, "invalid_account", "Sim1O2?"),
        ({"data": {"error": "Invalid request"}}, "Invalid request", None),
        ({"data": {"success": False}}, "success is false", None),
        ({"data": {"success": "false", "detail": "broken"}}, "broken", "broken"),
        ({"data": {"success": False, "error": {"message": "deep"}}}, "deep", None),
    ],
)
def test_every_shape_of_an_error(frame: dict[str, Any], error: str, detail: str | None) -> None:
    message = read(id="k-4", **frame)
    assert isinstance(message, RpcError)
    assert (message.id, message.error, message.detail) == ("k-4", error, detail)
    assert (message.body is None) == ("data" not in frame or "error" in frame)
    assert parse_server(encode_server(message)) == message, "nothing of the frame is lost"


def test_an_error_may_have_no_id() -> None:
    assert read(error="bad frame") == RpcError(None, "bad frame")


def test_an_id_that_is_a_number_is_its_text() -> None:
    assert read(id=12, data=[]) == RpcReply("12", msgspec.Raw(b"[]"))


def test_nan_in_a_reply_costs_that_value_only() -> None:
    message = parse_server('{"id":"k","data":{"positions":[{"averagePrice":NaN,"quantity":2}]}}')
    assert isinstance(message, RpcReply)
    assert bytes(message.data) == b'{"positions":[{"averagePrice":null,"quantity":2}]}'


# --- what no client can use ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("frame", "why", "key"),
    [
        ("", "malformed JSON", None),
        ("hello", "malformed JSON", None),
        ('{"type":"marketData","quotes":[', "malformed JSON", None),
        ('{"type":"marketData","quotes":[]}}', "malformed JSON", None),
        ("[1,2]", "a JSON array, not an object", None),
        ("17", "a JSON number, not an object", None),
        ("NaN", "a JSON number, not an object", None),
        ('"text"', "a JSON text, not an object", None),
        ("null", "a JSON null, not an object", None),
        ("{}", "neither type, status, data nor error", None),
        ('{"id":"k-9"}', "neither type, status, data nor error", "k-9"),
        ('{"data":{}}', "without an id", None),
        ('{"id":null,"data":{}}', "without an id", None),
        ('{"id":{},"data":{}}', "without an id", None),
        ('{"id":"k-9","type":"welcome"}', "no use for type 'welcome'", "k-9"),
        ('{"type":["marketData"],"quotes":[]}', "no use for type ['marketData']", None),
        ('{"type":"marketData"}', "quotes are a null, not an array", None),
        ('{"type":"marketData","quotes":{"a":1}}', "quotes are an object, not an array", None),
        ('{"type":"pnlUpdate","accounts":"all"}', "accounts are a text, not an array", None),
        ('{"a":"\\ud800"}', "not Unicode", None),
        ("\ud800", "not UTF-8", None),
        (b'{"type":"\xff\xfe"}', "not UTF-8", None),
        (b"\x00\x01\x02", "malformed JSON", None),
        ("[" * 200_000, "malformed JSON", None),
        ('{"a":' * 200_000, "malformed JSON", None),
        ('{"id":"k","data":' + "[" * 100_000 + "]" * 100_000 + "}", "malformed JSON", None),
        ('{"a":' + "9" * 5000 + "}", "malformed JSON", None),
    ],
)
def test_a_frame_of_no_use_is_shown_with_its_reason(frame: str | bytes, why: str, key: str | None) -> None:
    message = parse_server(frame)
    assert isinstance(message, Unknown)
    assert why in message.why
    assert message.id == key
    assert len(message.why) <= 500
    text = frame.decode("utf-8", "backslashreplace") if isinstance(frame, bytes) else frame
    assert len(message.frame) <= 4096 or "\\" in message.frame
    assert message.frame.startswith(text[:20].encode("utf-8", "backslashreplace").decode())


@pytest.mark.parametrize("make", [str, str.encode])
def test_five_megabytes(make: Any) -> None:
    row = json.dumps(GOOD_ROW)
    frame = make(f'{{"type":"marketData","quotes":[{",".join([row] * 60_000)}]}}')
    assert len(frame) > 5_000_000
    message = parse_server(frame)
    assert isinstance(message, Unknown)
    assert "more than" in message.why
    assert len(message.frame) == 4096


def test_a_frame_below_the_limit_is_read_whole() -> None:
    message = replied("k", {"bars": [[1.5] * 7] * 100_000})
    assert parse_server(encode_server(message)) == message


# --- fuzz ------------------------------------------------------------------------------------------------------------

TOP_KEYS = st.sampled_from(["type", "quotes", "accounts", "epoch", "id", "data", "error", "status", "state", "seq"])
TYPES = st.sampled_from(["marketData", "pnlUpdate", "status", "resync", "error", "pong", *EVENT_KINDS])
ROW_KEYS = st.sampled_from(["instrument", "bid", "ask", "volume", "name", "account", "item", "realized", "success"])
ROWS = st.lists(st.dictionaries(ROW_KEYS, JSON, max_size=4) | JSON, max_size=3)


@settings(max_examples=150)
@given(JSON | st.dictionaries(TOP_KEYS, TYPES | ROWS | JSON, max_size=5))
def test_no_json_upsets_a_client(frame: Any) -> None:
    message = parse_server(json.dumps(frame))
    assert isinstance(message, get_args(ServerMessage))
    if not isinstance(message, Unknown | MarketData | PnlUpdate):
        assert parse_server(encode_server(message)) == message


@given(st.text() | st.binary())
def test_no_text_upsets_a_client(frame: str | bytes) -> None:
    assert isinstance(parse_server(frame), get_args(ServerMessage))


def test_no_broken_frame_upsets_a_client() -> None:
    """Fifteen thousand frames with bytes changed, cut out, doubled or put in."""
    frames = [
        encode_server(message).encode()
        for message in (
            MarketData((GOOD, WireQuote("NQ 09-27", 1.5, 1.75))),
            PnlUpdate(1_805_000_000_250, (pnl_of({"name": "Sim102", "realizedProfitLoss": 5.5, "item": {"a": 1}}),)),
            Status("subscribed", {"instruments": ["YM 09-27"]}),
            StatusFrame("syncing", 1, 0, 1_805_000_000_250, "tradovate"),
            EventFrame("orderUpdate", 2, body={"order": {"id": 4}}),
            replied("k-1", {"positions": [{"instrument": "YM 09-27", "quantity": 2}], "success": True}),
            failed("k-2", "invalid_account", "no such account"),
            RpcError("k-3", "Rate limit exceeded"),
        )
    ]
    chance = random.Random(20_270_917)
    alphabet = [*b'{}[]",:0123456789.eE+-\\ntrufalsN', 0, 9, 127, 128, 195, 255]
    kept = 0
    for _ in range(15_000):
        frame = bytearray(chance.choice(frames))
        for _ in range(chance.choice((1, 1, 2, 5))):
            at = chance.randrange(len(frame))
            match chance.randrange(4):
                case 0:
                    frame[at] = chance.choice(alphabet)
                case 1:
                    del frame[at : at + chance.choice((1, 4))]
                case 2:
                    frame[at:at] = bytes([chance.choice(alphabet)])
                case _:
                    frame[at:at] = frame[at : at + chance.randrange(1, 30)]
            frame = frame or bytearray(b"{")
        message = parse_server(bytes(frame))
        kept += not isinstance(message, Unknown)
        assert isinstance(parse_client(bytes(frame)), (Refusal, *get_args(ClientMessage)))
        msgspec.json.encode(msgspec.to_builtins(message) if not isinstance(message, RpcReply) else message.id)
    assert 1_500 < kept < 13_500
