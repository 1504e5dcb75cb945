"""Readers of replies: every shape that is documented or was met, and nothing that upsets them."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from xtalgo.model.types import OrderType, Side, TimeInForce
from xtalgo.protocol import replies
from xtalgo.protocol.replies import Answer, Unusable
from xtalgo.protocol.rows import Account, Execution, OrderRow, Position, Row
from xtalgo.protocol.rpc import TABLE
from xtalgo.protocol.times import Stamp, epoch_ns, parse_stamp, utc_text
from xtalgo.protocol.words import OrderState, order_state, order_type_of, side_of, signed_quantity, tif_of

CORPUS: dict[str, list[Any]] = json.loads((Path(__file__).parent / "corpus" / "replies.json").read_text("utf-8"))
"""Our own values in the shapes of the reference, and in those that clients accept besides."""
REFERENCE = Path(__file__).parents[3] / "shared" / "crosstrade-api.json"
SHORT = {"instrument": "YM 09-27", "marketPosition": "Short", "quantity": 2}
FILL = {"id": "f1", "instrument": "YM 09-27", "price": 41300.0, "quantity": 1}


def bodies() -> list[tuple[str, Any]]:
    found = [(name, body) for name, some in CORPUS.items() for body in some]
    if REFERENCE.exists():
        for name, facts in json.loads(REFERENCE.read_text("utf-8"))["rpc"].items():
            found += [(name, facts[key]) for key in ("response", "response_legacy") if key in facts]
            if more := facts.get("response_fields_inferred"):
                found.append((name, {**facts["response"], **more}))
    return found


def answer(name: str, body: Any) -> Answer[Any]:
    told = TABLE[name].read(body)
    assert isinstance(told, Answer), told
    return told


def agrees(value: Any, body: Any) -> None:
    """What was read is what stands there: all of it, and nothing else."""
    if isinstance(body, dict) and isinstance(value, dict):
        for key, inner in body.items():
            if key not in ("success", "warning") and not (key == "count" and "count" not in value):
                assert key in value
                agrees(value[key], inner)
        assert not [key for key in value if value[key] is not None and key not in body]
    elif isinstance(body, list) and isinstance(value, list):
        assert len(value) == len(body)
        for one, other in zip(value, body, strict=True):
            agrees(one, other)
    else:
        assert value == body


def inside(name: str, body: Any) -> Any:
    """The part of a body that its reader returns, in the shape in which it returns it."""
    for key in ("data", "positions", "orders", "executions", "accounts", "strategies", "quotes", "position", "order"):
        if isinstance(body, dict) and isinstance(body.get(key), list | dict) and name not in ("GetAccountSummary",):
            body = body[key]
    if isinstance(body, dict) and set(body) == {"account"}:
        body = body["account"]
    if name == "GetBars" and isinstance(body, list):
        return {"bars": body}
    if name == "GetQuote" and isinstance(body, dict):
        return [body]
    if name == "Cancel" and "orderId" in body:
        return {"orderIds": [body["orderId"]]}
    if name == "GetPosition" and isinstance(body, list):
        return body[0]
    return body


@pytest.mark.parametrize(("name", "body"), bodies())
def test_every_example_is_read_whole_and_without_faults(name: str, body: Any) -> None:
    told = answer(name, body)
    assert told.faults == ()
    assert told.is_complete
    agrees(msgspec.json.decode(msgspec.json.encode(told.value)), inside(name, body))
    for written in (json.dumps(body).encode(), Raw(json.dumps(body, indent=1).encode())):
        assert TABLE[name].read(written) == told


def test_the_corpus_has_every_function() -> None:
    assert list(CORPUS) == [spec.name for spec in TABLE]


@pytest.mark.parametrize(("name", "body"), bodies())
def test_a_server_can_answer_with_what_a_client_read(name: str, body: Any) -> None:
    told = answer(name, body)
    assert answer(name, msgspec.to_builtins(told.value)).value == told.value


# --- what clients meet -----------------------------------------------------------------------------------------------


def test_accounts_may_be_names_only() -> None:
    for body in ({"accounts": ["Sim102", "Real7"]}, ["Sim102", {"name": "Real7"}]):
        told = answer("ListAccounts", body)
        assert told.value == (Account(name="Sim102"), Account(name="Real7"))
        assert told.faults == ()
    assert answer("ListAccounts", ["Sim102"]).value[0].is_simulator is None


def test_which_accounts_are_simulators() -> None:
    assert Account(name="a", provider="simulator").is_simulator is True
    assert Account(name="Sim101", provider="Rithmic").is_simulator is False
    assert Account(name="a", connection_status="CONNECTED").is_connected is True
    assert Account(name="a", connection_status="ConnectionLost").is_connected is False
    assert Account(name="a").is_connected is None


def test_numbers_as_text_are_taken_and_flagged() -> None:
    told = answer("ListPositions", {"positions": [{**SHORT, "quantity": "2", "averagePrice": "41260.5"}]})
    (row,) = told.value
    assert (row.net, row.average_price) == (-2, 41260.5)
    assert told.is_complete
    assert told.faults == (
        "positions[0].quantity: the text '2' read as a number",
        "positions[0].averagePrice: the text '41260.5' read as a number",
    )


def test_whole_numbers_may_be_written_as_floats() -> None:
    told = answer("ListPositions", [{**SHORT, "quantity": 2.0}])
    assert told.value[0].net == -2
    assert told.faults == ()


def test_keys_in_another_case_are_found_when_the_row_does_not_fit() -> None:
    told = answer("GetOrder", {"OrderId": "q7", "OrderState": "Working", "limit_price": 7.5, "success": True})
    assert told.value == OrderRow(order_id="q7", order_state="Working", limit_price=7.5)
    assert told.faults == ()


def test_ids_may_be_numbers() -> None:
    assert answer("ListExecutions", [{**FILL, "id": 71}]).value[0].id == "71"
    assert answer("PlaceOrder", {"orderId": 71, "success": True}).value.order_id == "71"
    assert answer("GetStrategy", {"strategyId": 5500123}).value.id == "5500123"
    assert answer("GetStrategy", {"strategyId": 5500123}).faults == ()


def test_an_odd_field_is_none_and_named() -> None:
    told = answer("GetOrder", {"orderId": "q7", "filled": "some", "quantity": 2.5, "hasOverfill": "True", "gtd": 7})
    assert told.value == OrderRow(order_id="q7", has_overfill=True, gtd="7")
    assert told.faults == (
        "OrderRow.quantity: a number 2.5 is no whole number",
        "OrderRow.filled: a text 'some' is no whole number",
        "OrderRow.gtd: the number 7 read as text",
        "OrderRow.hasOverfill: the text 'True' read as a boolean",
    )


@pytest.mark.parametrize("number", ["NaN", "Infinity", "1e999", '"NaN"', '"inf"', "true", "[]", "9" * 400])
def test_what_is_no_price_is_none(number: str) -> None:
    body = f'{{"positions":[{{"instrument":"YM","marketPosition":"Long","quantity":1,"averagePrice":{number}}}]}}'
    told = TABLE["ListPositions"].read(json.loads(body))
    assert isinstance(told, Answer)
    assert told.value[0].average_price is None
    assert told.value[0].net == 1


# --- a position is never flat by mistake -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "bad",
    [
        {"marketPosition": None},
        {"marketPosition": "Sideways"},
        {"marketPosition": "Flat"},
        {"marketPosition": "Long", "quantity": -2},
        {"marketPosition": "Long", "quantity": 0},
        {"quantity": None},
        {"quantity": "two"},
        {"quantity": 1.5},
        {"quantity": 2**70},
        {"instrument": ""},
        {"instrument": 5},
    ],
)
def test_a_position_that_cannot_be_read_makes_the_list_incomplete(bad: dict[str, Any]) -> None:
    row = {**SHORT, **bad}
    told = answer("ListPositions", {"positions": [SHORT, row], "success": True})
    if row["instrument"] == 5:
        assert told.faults == ("positions[1].instrument: the number 5 read as text",)
        return
    assert len(told.value) == 1
    assert told.lost == 1
    assert not told.is_complete
    assert "positions[1]" in told.faults[-1]
    assert isinstance(TABLE["GetPosition"].read({**row, "success": True}), Unusable)


@pytest.mark.parametrize("body", [{"success": True}, {"positions": None, "success": True}, {"positions": {}}, [7], ""])
def test_no_list_is_not_an_empty_list(body: Any) -> None:
    told = TABLE["ListPositions"].read(body)
    if body == [7]:
        assert isinstance(told, Answer)
        assert told.lost == 1
    else:
        assert isinstance(told, Unusable)
        assert "no list of positions" in told.why


def test_an_execution_without_contracts_is_none() -> None:
    told = answer("ListExecutions", [FILL, {**FILL, "quantity": 0}, {**FILL, "quantity": -1}, {**FILL, "price": None}])
    assert [row.quantity for row in told.value] == [1]
    assert told.lost == 3


def test_a_count_that_promises_more_makes_the_list_incomplete() -> None:
    told = answer("GetAllPositions", {"positions": [SHORT], "count": 3, "success": True})
    assert told.lost == 2
    assert told.faults == ("count is 3, and there are 1 positions",)
    bars = answer("GetBars", {"bars": [{"open": 1, "high": 2, "low": 1, "close": 2}, {"open": 1}], "count": 4})
    assert (len(bars.value.bars), bars.lost) == (1, 3)


def test_a_position_lost_inside_a_snapshot_is_counted() -> None:
    told = answer("GetAccountSummary", {"accounts": [{"account": {"name": "a"}, "positions": [SHORT, {}]}]})
    assert told.value.accounts[0].positions == (msgspec.convert(SHORT, Position),)
    assert told.lost == 1


# --- replies of no use -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", TABLE, ids=lambda spec: spec.name)
def test_what_cannot_be_used_says_what_was_missing(spec: Any) -> None:
    for body in (None, "text", 7, True, {}, {"x": 1}, {"data": None}, b"", b"{", Raw(b'{"a"}'), b'"\xff"', object()):
        told = spec.read(body)
        assert isinstance(told, Unusable), (body, told)
        assert told.why
        assert told.error is None
    told = spec.read({"success": False, "error": "invalid_account", "detail": "no Sim1O2"})
    assert told == Unusable("it says no: invalid_account", "invalid_account", "no Sim1O2")


def test_reasons_name_what_is_there() -> None:
    told = TABLE["ListOrders"].read({"success": True, "order": [], "total": 0})
    assert told == Unusable("no list of orders; it has ['order', 'success', 'total']")
    told = TABLE["GetExecution"].read({"id": "f1", "instrument": "YM", "price": 7.5, "success": True})
    assert told == Unusable("Execution: no quantity; it has ['id', 'instrument', 'price', 'success']")


def test_success_without_an_id_is_still_done() -> None:
    """The order is there: treating such a reply as no answer would leave it in doubt for nothing."""
    told = answer("PlaceOrder", {"success": True})
    assert told.value.order_id is None
    assert told.faults == ("success, but no orderId",)
    assert answer("CancelOrders", {"success": True}).value.order_ids is None
    assert answer("Flatten", {"success": True, "warning": "nothing open"}).warning == "nothing open"
    assert answer("Flatten", {"success": True}).value.closed_positions is None


# --- what rows mean --------------------------------------------------------------------------------------------------


def test_an_order_row_in_our_words() -> None:
    row = answer("GetOrder", CORPUS["GetOrder"][0]).value
    assert (row.side, row.kind, row.tif) == (Side.SELL, OrderType.STOP_LIMIT, TimeInForce.GTC)
    assert (row.limit, row.stop, row.state) == (41280.0, 41290.0, OrderState.ACCEPTED)


def test_a_price_of_zero_is_no_price() -> None:
    row = OrderRow(order_id="q", order_type="Market", limit_price=0.0, stop_price=0.0)
    assert (row.limit, row.stop) == (None, None)
    assert OrderRow(order_id="q", order_type="StopMarket", limit_price=5.0, stop_price=6.0).limit is None
    assert OrderRow(order_id="q", order_type="MIT", stop_price=6.0).stop == 6.0


@pytest.mark.parametrize("state", OrderState)
def test_states_in_any_case(state: OrderState) -> None:
    for text in (state.value, state.value.upper(), state.name, state.value.lower()):
        assert order_state(text) is state
    assert OrderRow(order_id="q", order_state=state.value).state is state
    assert state.is_done == (state.value in ("Filled", "Cancelled", "Rejected"))
    assert not (state.is_done and state.is_accepted)


def test_words_that_are_not_known_are_kept_but_mean_nothing() -> None:
    row = OrderRow(order_id="q", order_state="Suspended", order_action="Swap", order_type="Iceberg")
    assert (row.order_state, row.state) == ("Suspended", OrderState.UNKNOWN)
    assert (row.side, row.kind, row.tif) == (None, None, None)
    assert order_state("Canceled") is OrderState.CANCELLED
    assert order_state(None) is OrderState.UNKNOWN
    assert [side_of(word) for word in ("BUY", "BuyToCover", "sellshort", "Sell", "", None)] == [
        Side.BUY,
        Side.BUY,
        Side.SELL,
        Side.SELL,
        None,
        None,
    ]
    assert order_type_of("stopmarket") is OrderType.STOP_MARKET
    assert tif_of("Gtc") is TimeInForce.GTC


@pytest.mark.parametrize(
    ("word", "quantity", "net"),
    [
        ("Long", 3, 3),
        ("SHORT", 3, -3),
        ("flat", 0, 0),
        ("Flat", 1, None),
        ("Long", 0, None),
        ("Short", -3, None),
        ("Unknown", 3, None),
        (None, 3, None),
        ("Long", None, None),
    ],
)
def test_signed_quantities(word: str | None, quantity: int | None, net: int | None) -> None:
    assert signed_quantity(word, quantity) == net


# --- times -----------------------------------------------------------------------------------------------------------

NOON = 1_814_875_200_000_000_000
"""2027-07-06 12:00 UTC."""


@pytest.mark.parametrize(
    ("text", "wall", "offset"),
    [
        ("2027-07-06T12:00:00.1234567", NOON + 123_456_700, None),
        ("2027-07-06T12:00:00.1234567Z", NOON + 123_456_700, 0),
        ("2027-07-06T12:00:00.1234567-05:00", NOON + 123_456_700, -18_000),
        ("2027-07-06t12:00:00,5+0530", NOON + 500_000_000, 19_800),
        ("2027-07-06 12:00:00", NOON, None),
        ("2027-07-06 12:00Z", NOON, 0),
        ("2027-07-06T12:00:00.123456789123Z", NOON + 123_456_789, 0),
        ("2027-07-06", NOON - 43_200_000_000_000, None),
        ("7/6/2027 12:00:00 PM", NOON, None),
        ("07/06/2027 12:00:00 AM", NOON - 43_200_000_000_000, None),
        ("7/6/2027 1:00 pm", NOON + 3_600_000_000_000, None),
        ("7/6/2027 12:00:00", NOON, None),
        ("7/6/2027", NOON - 43_200_000_000_000, None),
    ],
)
def test_times_in_every_spelling(text: str, wall: int, offset: int | None) -> None:
    assert parse_stamp(text) == Stamp(wall, offset)
    stamp = parse_stamp(f" {text} ")
    assert stamp is not None
    assert stamp.utc == (None if offset is None else wall - offset * 1_000_000_000)


@pytest.mark.parametrize(
    "text", [None, "", "soon", "2027-13-06", "2027-07-06T25:00:00", "7/6/2027 13:00 PM", "12:00", "6.7.2027", "1e9"]
)
def test_what_is_no_time(text: str | None) -> None:
    assert parse_stamp(text) is None


@given(st.integers(0, 4_000_000_000_000_000_000))
def test_our_own_times_are_read_back(ns: int) -> None:
    stamp = parse_stamp(utc_text(ns, digits=9))
    assert stamp is not None
    assert stamp.utc == ns
    stamp = parse_stamp(utc_text(ns))
    assert stamp is not None
    assert stamp.utc == ns // 100 * 100


def test_epochs_in_seconds_and_milliseconds() -> None:
    assert epoch_ns(NOON // 10**9) == epoch_ns(NOON // 10**6) == epoch_ns(NOON // 10**3) == epoch_ns(NOON) == NOON
    assert [epoch_ns(odd) for odd in (None, 0, -1, 10**21, float("nan"), float("inf"))] == [None] * 6


def test_when_things_happened() -> None:
    assert answer("GetExecution", CORPUS["GetExecution"][0]).value.executed == 1_814_865_331_001_000_000
    assert msgspec.convert({**FILL, "time": "2027-07-06T12:00:00Z"}, Execution).executed == NOON
    assert msgspec.convert({**FILL, "time": "2027-07-06T12:00:00"}, Execution).executed is None
    (quote,) = answer("GetQuote", CORPUS["GetQuote"][0]).value
    assert quote.quoted == 1_814_922_931_000_000_000
    assert msgspec.structs.replace(quote, epoch=None).quoted == 1_814_922_931_000_000_000
    assert answer("GetBars", CORPUS["GetBars"][0]).value.bars[1].labelled == 1_814_879_400_000_000_000


# --- fuzz ------------------------------------------------------------------------------------------------------------


def test_no_broken_body_upsets_a_reader() -> None:
    chance = random.Random(20_270_918)
    alphabet = b'{}[]",:0123456789.eE+-\\ntrufalsN\xff'
    for name, body in bodies():
        whole = json.dumps(body).encode()
        for _ in range(40):
            broken = bytearray(whole)
            for _ in range(chance.choice((1, 2, 5))):
                at = chance.randrange(len(broken))
                broken[at : at + chance.randrange(3)] = bytes([chance.choice(alphabet)])
            assert isinstance(TABLE[name].read(bytes(broken)), Answer | Unusable)


def test_no_value_in_the_wrong_place_upsets_a_reader() -> None:
    """Each value of each example in turn is replaced by each kind of junk; what was read stays typed."""
    junk = [None, "", "x", "7", 7, 7.5, -1, 2**70, True, [], [None], {}, {"a": 1}, "2027-07-06"]
    for name, (body, *_) in CORPUS.items():
        for path in paths(body):
            for odd in junk:
                told = TABLE[name].read(put(body, path, odd))
                assert isinstance(told, Answer | Unusable)
                if isinstance(told, Answer) and isinstance(told.value, Row):
                    assert msgspec.convert(msgspec.to_builtins(told.value), type(told.value)) == told.value


def paths(body: Any) -> list[tuple[Any, ...]]:
    inner = body.items() if isinstance(body, dict) else enumerate(body[:1]) if isinstance(body, list) else ()
    return [(key, *rest) for key, value in inner for rest in [(), *paths(value)]]


def put(body: Any, path: tuple[Any, ...], value: Any) -> Any:
    if not path:
        return value
    copy = dict(body) if isinstance(body, dict) else list(body)
    copy[path[0]] = put(body[path[0]], path[1:], value)
    return copy


def test_readers_are_all_in_the_table() -> None:
    """No reader is written for nothing."""
    named = {getattr(replies, name) for name in replies.__all__ if name.startswith("read_")}
    assert named == {spec.read for spec in TABLE}
