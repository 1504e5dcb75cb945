"""The table of functions, the checks before a call, what errors mean, and calls in other forms."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from xtalgo.engine import pacing
from xtalgo.model.commands import CancelOrder, ChangeOrder, PlaceOrder
from xtalgo.model.errors import ConfigError
from xtalgo.model.types import OrderType, Side, TimeInForce
from xtalgo.protocol.arguments import ArgType, Argument, Certainty
from xtalgo.protocol.checks import args_from_text, check_args, check_call
from xtalgo.protocol.orders import call_of, cancel_of, change_of, place_of
from xtalgo.protocol.outcomes import PATTERNS, Cause, Outcome, diagnose, outcome
from xtalgo.protocol.routes import match, request_of
from xtalgo.protocol.rpc import TABLE, Lane, RpcSpec

REFERENCE = Path(__file__).parents[3] / "shared" / "crosstrade-api.json"

ORDER = {
    "account": "Sim102",
    "instrument": "YM 09-27",
    "action": "SELL",
    "orderType": "STOPLIMIT",
    "quantity": 3,
    "timeInForce": "GTC",
    "limitPrice": 41280.0,
    "stopPrice": 41290.0,
}
MARKET = {name: value for name, value in ORDER.items() if "Price" not in name} | {"orderType": "MARKET"}
MUTATIONS = [spec for spec in TABLE if spec.mutates]
READS = [spec for spec in TABLE if not spec.mutates]


def by_name(spec: RpcSpec) -> str:
    return spec.name


def sample(spec: RpcSpec) -> dict[str, Any]:
    """Arguments that will do: the required ones and one of those of which one is needed."""
    wanted = {arg.name for arg in spec.args if arg.required} | set(spec.any_of[:1]) | set(spec.must_name)
    values = {ArgType.TEXT: "q7", ArgType.WHOLE: 3, ArgType.NUMBER: 1.5, ArgType.FLAG: True}
    return {arg.name: arg.values[0] if arg.values else values[arg.type] for arg in spec.args if arg.name in wanted}


# --- the table -------------------------------------------------------------------------------------------------------


def test_the_table_has_all_functions_once() -> None:
    names = [spec.name for spec in TABLE]
    assert len(TABLE) == len(names) == len(set(names)) == 36
    assert len([name for name in names if not name.startswith("Tv_")]) == 34
    assert TABLE["CancelOrder"] is TABLE["Cancel"]
    assert "CancelOrder" in TABLE
    assert "ChangeOrder" not in TABLE


@pytest.mark.skipif(not REFERENCE.exists(), reason="the reference is not here")
def test_the_table_is_the_reference() -> None:
    reference = json.loads(REFERENCE.read_text("utf-8"))
    assert [spec.name for spec in TABLE] == list(reference["rpc"])
    assert set(Certainty) == set(reference["certainty_values"])
    for spec, facts in zip(TABLE, reference["rpc"].values(), strict=True):
        assert spec.group == facts["group"]
        assert list(spec.aliases) == facts.get("aliases", [])
        assert spec.certainty == facts["certainty"]
        assert spec.rest_certainty == facts["rest_certainty"]
        assert spec.body_certainty == facts.get("response_certainty", facts["certainty"])
        is_told = " /v1/" in facts["rest"] and "path not retrieved" not in facts["rest"]
        assert spec.paths  # by analogy where none is told
        assert is_told or spec.rest_certainty is Certainty.INFERRED
        assert not is_told or all(path in facts["rest"] for path in spec.paths)
        assert not re.match("GET|POST|PUT", facts["rest"]) or facts["rest"].startswith(spec.method)
        ours = {arg.name: arg for arg in spec.args}
        if spec.name == "CancelAllOrders":  # told in its notes only
            assert ours.pop("account").certainty is Certainty.INFERRED
        assert list(ours) == list(facts["args"])
        for name, told in facts["args"].items():
            arg = ours[name]
            assert (arg.type, arg.required, arg.default) == (told["type"], told["required"], told.get("default"))
            assert arg.certainty == told.get("certainty", Certainty.DOCUMENTED)
            if name == "requireMarketPosition":
                assert list(arg.values) == reference["enums"][name]
            else:
                assert list(arg.values) == told.get("enum", [])


def test_lanes_are_those_of_the_queue() -> None:
    assert [(lane.name, lane.value) for lane in Lane] == [(lane.name, lane.value) for lane in pacing.Lane]


def test_what_changes_something_is_in_an_urgent_lane() -> None:
    for spec in TABLE:
        assert spec.mutates == (spec.lane <= Lane.PLACE), spec.name
        assert spec.mutates == (spec.method != "GET" and spec.name != "GetBars"), spec.name
    assert TABLE["GetBars"].lane is Lane.HISTORY
    assert TABLE["GetOrder"].lane is Lane.STATUS
    assert {spec.name for spec in TABLE if spec.lane is Lane.REDUCE} == {
        *("ClosePosition", "Flatten", "FlattenEverything", "CloseStrategy"),
        *("Cancel", "CancelOrders", "CancelAllOrders", "CancelAndBracket"),
    }


@pytest.mark.parametrize("spec", TABLE, ids=by_name)
def test_names_in_a_path_are_arguments(spec: RpcSpec) -> None:
    for path in spec.paths:
        assert all(spec.argument(name) for name in re.findall(r"{(\w+)}", path))
    assert all(spec.argument(name) for name in (*spec.any_of, *spec.not_both, *spec.must_name))
    assert spec.rest == f"{spec.method} {spec.paths[0]}"


@pytest.mark.parametrize(
    ("wrong", "right"),
    [
        ("PlaceOrdr", "PlaceOrder"),
        ("listpositions", "ListPositions"),
        ("ChangeOrder", "Change"),
        ("getmarketinfo", "MarketInfo"),
        ("GetPositions", "ListPositions"),
        ("CancelOrderz", "CancelOrder"),
    ],
)
def test_a_wrong_name_is_answered_with_the_nearest(wrong: str, right: str) -> None:
    with pytest.raises(ConfigError, match=f"^there is no function '{wrong}'; did you mean {right}[?]$"):
        check_args(wrong, {})


def test_a_name_near_none() -> None:
    with pytest.raises(ConfigError, match="`xtalgo rpc --list` shows all"):
        TABLE["xyzzy"]


# --- checks before a call --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", TABLE, ids=by_name)
def test_good_arguments_pass(spec: RpcSpec) -> None:
    args = sample(spec)
    assert check_args(spec.name, args, everything=True) == args
    for name in args:
        if spec.argument(name).required:  # type: ignore[union-attr]
            with pytest.raises(ConfigError, match=f"^{spec.name}: {name} is missing$"):
                check_args(spec.name, {**args, name: None}, everything=True)


def test_words_are_sent_in_the_documented_spelling() -> None:
    loose = {**ORDER, "action": "Sell", "orderType": " stoplimit ", "timeInForce": "Gtc", "ocoId": None}
    assert check_args("PlaceOrder", loose) == ORDER
    sent = check_args("PlaceOrder", {**MARKET, "requireMarketPosition": "Flat, LONG"})
    assert sent["requireMarketPosition"] == "flat,long"
    assert check_args("Flatten", {"account": "a", "marketPosition": "Short"})["marketPosition"] == "short"


def test_numbers_of_numpy_become_plain() -> None:
    sent = check_args("PlaceOrder", {**ORDER, "quantity": np.int64(3), "limitPrice": np.float64(41280)})
    assert sent == ORDER
    assert type(sent["quantity"]) is int
    assert type(sent["limitPrice"]) is float
    assert type(check_args("Change", {"account": "a", "orderId": "q", "stopPrice": 5})["stopPrice"]) is float


@pytest.mark.parametrize(
    ("api", "args", "told"),
    [
        ("PlaceOrder", {**ORDER, "quantity": 0}, "PlaceOrder: quantity must be greater than 0, not 0"),
        ("PlaceOrder", {**ORDER, "quantity": -3}, "must be greater than 0"),
        ("PlaceOrder", {**ORDER, "quantity": 1.5}, "quantity must be a whole number, not 1.5"),
        ("PlaceOrder", {**ORDER, "quantity": 2.0}, "quantity must be a whole number, not 2.0"),
        ("PlaceOrder", {**ORDER, "quantity": "3"}, "quantity must be a whole number, not '3'"),
        ("PlaceOrder", {**ORDER, "quantity": True}, "quantity must be a whole number, not True"),
        ("PlaceOrder", {**ORDER, "quantity": 2**60}, "finite number of sensible size"),
        ("PlaceOrder", {**ORDER, "limitPrice": float("nan")}, "limitPrice must be a finite number"),
        ("PlaceOrder", {**ORDER, "stopPrice": float("inf")}, "stopPrice must be a finite number"),
        ("PlaceOrder", {**ORDER, "stopPrice": 0.0}, "stopPrice must be greater than 0, not 0.0"),
        ("PlaceOrder", {**ORDER, "stopPrice": "41290"}, "stopPrice must be a number, not '41290'"),
        ("PlaceOrder", {**ORDER, "limitPrice": None}, "limitPrice is missing, which STOPLIMIT needs"),
        ("PlaceOrder", {**ORDER, "stopPrice": None}, "stopPrice is missing, which STOPLIMIT needs"),
        ("PlaceOrder", {**MARKET, "orderType": "limit"}, "limitPrice is missing, which LIMIT needs"),
        ("PlaceOrder", {**MARKET, "orderType": "StopMarket"}, "stopPrice is missing, which STOPMARKET needs"),
        ("PlaceOrder", {**MARKET, "limitPrice": 5.0}, "limitPrice has no meaning for MARKET"),
        ("FlatPlace", {**ORDER, "orderType": "LIMIT"}, "stopPrice has no meaning for LIMIT"),
        ("PlaceOrder", {**ORDER, "action": "SEL"}, "action must be BUY or SELL, not 'SEL'; did you mean SELL?"),
        ("PlaceOrder", {**ORDER, "orderType": "STOP_LIMIT"}, "did you mean STOPLIMIT?"),
        ("PlaceOrder", {**ORDER, "timeInForce": "GTD"}, "timeInForce must be DAY or GTC"),
        ("PlaceOrder", {**ORDER, "account": ""}, "account is empty"),
        ("PlaceOrder", {**ORDER, "account": 102}, "account must be text, not 102"),
        ("PlaceOrder", {**ORDER, "account": "Sim\n102"}, "unprintable"),
        ("PlaceOrder", {**ORDER, "qty": 3}, "no argument 'qty'; did you mean quantity? it takes account, instrument"),
        ("PlaceOrder", {**ORDER, "limitprice": 3}, "did you mean limitPrice?"),
        ("PlaceOrder", {**ORDER, "takeProfit": 3}, "no argument 'takeProfit'"),
        ("PlaceOrder", {**MARKET, "requireMarketPosition": "flat,up"}, "flat, long or short, not 'up'"),
        ("PlaceOrder", {**MARKET, "maxPositions": 0}, "maxPositions must be greater than 0"),
        ("Change", {"account": "a", "orderId": "q"}, "Change: give at least one of quantity, limitPrice, stopPrice"),
        ("CancelAndBracket", {**sample(TABLE["CancelAndBracket"]), "takeProfit": None}, "takeProfit, stopLoss"),
        ("ClosePosition", {"account": "a", "instrument": "i", "quantity": 1, "percent": 0.5}, "not both"),
        ("ClosePosition", {"account": "a", "instrument": "i", "percent": 50}, "percent must be at most 1, not 50"),
        ("ClosePosition", {"account": "a", "instrument": "i", "percent": 0}, "percent must be greater than 0"),
        ("ListExecutions", {"account": "a", "lookbackTime": 901}, "lookbackTime must be at most 900, not 901"),
        ("GetBars", {"instrument": "i", "periodType": "minutes"}, "did you mean minute?"),
        ("GetBars", {"instrument": "i", "from": "yesterday"}, "from must be a time as"),
        ("GetAllPositions", {"includeFlat": "yes"}, "includeFlat must be true or false, not 'yes'"),
        ("GetAllPositions", {"account": "a"}, "no argument 'account'; it takes includeFlat"),
        ("ListAccounts", {"account": "a"}, "no argument 'account'; it takes none"),
        ("Flatten", {}, "Flatten: name the account; without any filter the venue closes every account"),
        ("Flatten", {"instrument": "YM 09-27", "marketPosition": "long"}, "name the account"),
        ("Flatten", {"account": None}, "name the account"),
        ("FlattenEverything", {}, "FlattenEverything: acts on every account; pass everything=True"),
        ("CancelAllOrders", {"account": "a"}, "acts on every account"),
    ],
)
def test_a_call_that_cannot_be_right_is_not_sent(api: str, args: dict[str, Any], told: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(told)) as caught:
        check_args(api, args)
    assert str(caught.value).startswith(f"{api}: ")
    assert "\n" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_everything_needs_its_word() -> None:
    assert check_args("FlattenEverything", {}, everything=True) == {}
    with pytest.raises(ConfigError, match="name the account"):
        check_args("Flatten", {}, everything=True)


def test_a_server_is_not_prudent_for_its_clients() -> None:
    assert check_call(TABLE["Flatten"], {"instrument": "YM"}) == {"instrument": "YM"}
    assert check_call(TABLE["FlattenEverything"], {}) == {}
    assert check_call(TABLE["PlaceOrder"], {**MARKET, "limitPrice": 5.0})["limitPrice"] == 5.0
    with pytest.raises(ConfigError, match="limitPrice is missing"):
        check_call(TABLE["PlaceOrder"], {**ORDER, "limitPrice": None})


JUNK = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.lists(st.none(), max_size=1)


@given(st.data(), st.sampled_from(list(TABLE)))
def test_nothing_but_config_errors_and_plain_values(data: st.DataObject, spec: RpcSpec) -> None:
    names = [arg.name for arg in spec.args] or ["x"]
    args = {**sample(spec), **data.draw(st.dictionaries(st.sampled_from(names), JUNK, max_size=3))}
    try:
        sent = check_args(spec.name, args, everything=True)
    except ConfigError:
        return
    assert json.loads(json.dumps(sent, allow_nan=False)) == sent
    assert check_args(spec.name, sent, everything=True) == sent


def test_arguments_written_as_text() -> None:
    texts = {name: str(value) for name, value in ORDER.items()}
    assert args_from_text("PlaceOrder", texts) == ORDER
    assert args_from_text("GetAllPositions", {"includeFlat": "True"}) == {"includeFlat": True}
    assert args_from_text("GetAllPositions", {"includeFlat": "no"}) == {"includeFlat": False}
    for api, args, told in (
        ("PlaceOrder", {"quantity": "3.5"}, "PlaceOrder: quantity must be a whole number, not '3.5'"),
        ("PlaceOrder", {"limitPrice": "nan"}, "limitPrice must be a finite number"),
        ("GetAllPositions", {"includeFlat": "maybe"}, "must be true or false"),
        ("ListAccounts", {"id": "3"}, "no argument 'id'; it takes none"),
    ):
        with pytest.raises(ConfigError, match=re.escape(told)):
            args_from_text(api, args)


def test_a_long_wrong_value_makes_a_short_message() -> None:
    with pytest.raises(ConfigError) as caught:
        Argument("x", values=("a",)).check("y" * 10_000)
    assert len(str(caught.value)) < 100


# --- what an error says about a call ---------------------------------------------------------------------------------

GONE = "Order linked to 'q7' not found or already terminal."


@pytest.mark.parametrize(
    ("api", "error", "expected", "cause"),
    [
        ("PlaceOrder", "Rate limit exceeded", Outcome.NOT_DONE, Cause.RATE_LIMIT),
        ("PlaceOrder", "rate limit exceeded. Retry in 2 s", Outcome.NOT_DONE, Cause.RATE_LIMIT),
        ("PlaceOrder", "Rate limit exceeded: 180 per minute", Outcome.NOT_DONE, Cause.RATE_LIMIT),
        ("PlaceOrder", "rate_limited", Outcome.NOT_DONE, Cause.RATE_LIMIT),
        ("PlaceOrder", "broker_rate_limited", Outcome.UNKNOWN, Cause.BROKER),
        ("PlaceOrder", "Broker: rate limit exceeded", Outcome.UNKNOWN, Cause.OTHER),
        ("PlaceOrder", "Rate limit exceeded at the broker", Outcome.UNKNOWN, Cause.OTHER),
        ("Cancel", GONE, Outcome.REFUSED, Cause.TERMINAL),
        ("Change", GONE, Outcome.REFUSED, Cause.TERMINAL),
        ("CancelReplace", GONE, Outcome.UNKNOWN, Cause.TERMINAL),
        ("GetOrder", GONE, Outcome.REFUSED, Cause.TERMINAL),
        ("ClosePosition", "No positions found for instrument 'YM'", Outcome.REFUSED, Cause.NO_POSITION),
        ("Reverse", "No position found for instrument 'YM' in account 'sim102'", Outcome.REFUSED, Cause.NO_POSITION),
        ("FlatPlace", "No positions found for instrument 'YM'", Outcome.UNKNOWN, Cause.NO_POSITION),
        ("Flatten", "No positions found", Outcome.UNKNOWN, Cause.NO_POSITION),
        ("PlaceOrder", "Invalid request", Outcome.REFUSED, Cause.INVALID),
        ("CancelReplace", "Invalid request: no quantity", Outcome.REFUSED, Cause.INVALID),
        ("PlaceOrder", "Blocked by requireMarketPosition", Outcome.REFUSED, Cause.BLOCKED),
        ("PlaceOrder", "max positions reached", Outcome.REFUSED, Cause.BLOCKED),
        ("PlaceOrder", "invalid_account", Outcome.REFUSED, Cause.ACCOUNT),
        ("PlaceOrder", "insufficient_scope", Outcome.REFUSED, Cause.TOKEN),
        ("PlaceOrder", "tradovate_rejected", Outcome.REFUSED, Cause.BROKER),
        ("PlaceOrder", "NinjaTrader is not connected", Outcome.UNKNOWN, Cause.OFFLINE),
        ("PlaceOrder", "invalid_account: add-on disconnected", Outcome.UNKNOWN, Cause.OFFLINE),
        ("PlaceOrder", "addon_disconnected", Outcome.UNKNOWN, Cause.OFFLINE),
        ("PlaceOrder", "Request timed out", Outcome.UNKNOWN, Cause.TIMEOUT),
        ("PlaceOrder", "Object reference not set", Outcome.UNKNOWN, Cause.OTHER),
        ("PlaceOrder", "", Outcome.UNKNOWN, Cause.OTHER),
        ("PlaceOrder", None, Outcome.UNKNOWN, Cause.OTHER),
    ],
)
def test_what_became_of_a_call(api: str, error: str | None, expected: Outcome, cause: Cause) -> None:
    verdict = diagnose(api, error)
    assert (verdict.outcome, verdict.cause) == (expected, cause)
    assert outcome(TABLE[api], error) is expected


@pytest.mark.parametrize("spec", TABLE, ids=by_name)
def test_statuses(spec: RpcSpec) -> None:
    doubt = Outcome.UNKNOWN if spec.mutates else Outcome.NOT_DONE
    assert outcome(spec, "whatever", 408) is doubt
    assert outcome(spec, "Invalid request", 408) is doubt, "the status says more than the text"
    assert outcome(spec, "Rate limit exceeded", 502) is doubt
    assert outcome(spec, None, 500) is doubt
    assert outcome(spec, "whatever", 400) is doubt
    assert outcome(spec, "Invalid request", 400) is Outcome.REFUSED
    assert outcome(spec, "slow down", 429) is Outcome.NOT_DONE
    assert [outcome(spec, None, status) for status in (401, 403, 404)] == [Outcome.REFUSED] * 3


def test_a_detail_can_explain_or_raise_doubt_but_not_say_that_nothing_was_done() -> None:
    assert outcome("Cancel", "cancel_failed", detail=GONE) is Outcome.REFUSED
    assert outcome("PlaceOrder", "Invalid request", detail="add-on offline") is Outcome.UNKNOWN
    assert outcome("PlaceOrder", "failed", detail="Rate limit exceeded") is Outcome.UNKNOWN


@given(st.text(), st.none() | st.integers(100, 599))
def test_reads_can_always_be_asked_again_and_mutations_never_by_chance(error: str, status: int | None) -> None:
    assert all(outcome(spec, error, status) is not Outcome.UNKNOWN for spec in READS)
    if status is None:
        assert all(outcome(spec, f"x{error}", status) is not Outcome.NOT_DONE for spec in MUTATIONS)


def test_patterns_are_told_with_their_certainty() -> None:
    for pattern in PATTERNS:
        assert pattern.note
        assert isinstance(pattern.certainty, Certainty)
        assert all(name in TABLE for name in pattern.apis)
        assert (pattern.outcome is Outcome.NOT_DONE) == (pattern.cause is Cause.RATE_LIMIT)


# --- our commands as calls -------------------------------------------------------------------------------------------

PLACE = PlaceOrder("x-9", "Sim102", "YM 09-27", Side.SELL, OrderType.STOP_LIMIT, 3, 41280.0, 41290.0, TimeInForce.GTC)


def test_placing() -> None:
    api, args = call_of(PLACE)
    assert api == "PlaceOrder"
    assert args == {**ORDER, "orderId": "x-9"}
    market = PlaceOrder("x-8", "a", "i", Side.BUY, OrderType.MARKET, 1, oco="pair")
    assert call_of(market).args == {
        "account": "a",
        "instrument": "i",
        "action": "BUY",
        "orderType": "MARKET",
        "quantity": 1,
        "timeInForce": "DAY",
        "ocoId": "pair",
        "orderId": "x-8",
    }


def test_changing_and_cancelling() -> None:
    change = ChangeOrder("x-9", "Sim102", limit_price=41281.0)
    assert call_of(change) == ("Change", {"account": "Sim102", "orderId": "x-9", "limitPrice": 41281.0})
    assert call_of(change, "77c0").args["orderId"] == "77c0"
    assert call_of(CancelOrder("x-9", "Sim102")) == ("Cancel", {"account": "Sim102", "orderId": "x-9"})
    assert call_of(CancelOrder("x-9", "Sim102"), "77c0").args["orderId"] == "77c0"


PRICES = {
    OrderType.MARKET: (None, None),
    OrderType.LIMIT: (5.25, None),
    OrderType.STOP_MARKET: (None, 5.5),
    OrderType.STOP_LIMIT: (5.25, 5.5),
}


@given(
    st.sampled_from(Side),
    st.sampled_from(OrderType),
    st.integers(1, 500),
    st.sampled_from(TimeInForce),
    st.none() | st.just("pair"),
)
def test_a_server_gets_the_order_that_a_client_meant(
    side: Side, kind: OrderType, quantity: int, tif: TimeInForce, oco: str | None
) -> None:
    limit, stop = PRICES[kind]
    command = PlaceOrder("x-1", "Sim102", "YM 09-27", side, kind, quantity, limit, stop, tif, oco)
    api, args = call_of(command)
    assert place_of(check_args(api, args), "never") == command
    del args["orderId"]
    assert place_of(args, "made-up").order_id == "made-up"


def test_a_server_gets_the_change_and_the_cancel() -> None:
    change = ChangeOrder("x-1", "Sim102", 4, None, 41291.0)
    assert change_of(check_args(*call_of(change))) == change
    cancel = CancelOrder("x-1", "Sim102")
    assert cancel_of(check_args(*call_of(cancel))) == cancel


# --- REST ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", TABLE, ids=by_name)
def test_over_rest_and_back(spec: RpcSpec) -> None:
    args = {name: "a/b ü?" if value == "q7" else value for name, value in sample(spec).items()}
    method, path, query, body = request_of(spec.name, args)
    assert re.fullmatch(r"[\w/%.-]+", path, re.ASCII)
    assert (body is None) == (method == "GET")
    found = match(method.lower(), path, filters=bool(body) or spec.name == "Flatten")
    assert found is not None
    assert found.spec is spec
    assert {**found.args, **(body or {}), **args_from_text(spec.name, query)} == args


def test_a_function_without_a_route_is_for_the_socket_only() -> None:
    with pytest.raises(ConfigError, match=r"^ListAccounts: no REST route is known"):
        request_of(evolve(TABLE["ListAccounts"], paths=()), {})


def test_requests() -> None:
    assert request_of("GetPosition", {"account": "Sim 102", "instrument": "YM 09-27"}) == (
        "GET",
        "/v1/api/accounts/Sim%20102/position",
        {"instrument": "YM 09-27"},
        None,
    )
    assert request_of("Change", {"account": "a", "orderId": "q7", "quantity": 3}) == (
        "PUT",
        "/v1/api/accounts/a/orders/q7/change",
        {},
        {"quantity": 3},
    )
    assert request_of("GetAllPositions", {"includeFlat": True}).query == {"includeFlat": "true"}
    assert request_of("GetQuote", {"instrument": "YM"}).path == "/v1/api/market/quote"
    assert request_of("GetQuote", {"instrument": "YM", "account": "a"}).path == "/v1/api/accounts/a/quote"
    assert request_of("FlattenEverything", {}) == ("POST", "/v1/api/positions/flatten", {}, {})
    assert request_of("Flatten", {"account": "a"}).path == "/v1/api/accounts/a/positions/flatten"


def test_what_a_server_makes_of_a_path() -> None:
    def name(method: str, path: str, **how: Any) -> str | None:
        found = match(method, path, **how)
        return None if found is None else found.spec.name

    assert name("GET", "/v1/api/accounts/snapshot") == "GetAccountSummary"
    assert name("GET", "/v1/api/accounts/Sim102") == "GetAccount"
    assert name("GET", "/v1/api/accounts/a/executions/x") == "GetExecution"
    assert name("GET", "/v1/api/accounts/a/executions/order/q7") == "GetExecutionsByOrderId"
    assert name("GET", "/v1/api/executions/order/q7") == "GetExecutionsByOrderId"
    assert name("GET", "/v1/api/strategies") == "ListAllStrategies"
    assert name("POST", "/v1/api/positions/flatten") == "Flatten"
    assert name("POST", "/v1/api/positions/flatten", filters=False) == "FlattenEverything"
    assert name("POST", "/v1/api/accounts/a/orders/cancel") == "CancelOrders"
    assert name("POST", "/v1/api/accounts/a/orders/q7/cancel") == "Cancel"
    assert name("DELETE", "/v1/api/accounts/a/orders/q7") is None
    assert name("GET", "/v1/api/acounts") is None
    found = match("GET", "/v1/api/accounts/a%2Fb/orders/q7")
    assert found is not None
    assert found.args == {"account": "a/b", "orderId": "q7"}


@pytest.mark.parametrize("name", [".", "..", " .. ", ""])
def test_a_name_that_would_climb_out_of_its_path_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="account can't be"):
        request_of("Flatten", {"account": name})
