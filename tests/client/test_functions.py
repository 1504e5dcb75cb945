"""The typed methods are the table's functions: same names, same arguments, same readers."""

from __future__ import annotations

import datetime as dt
import inspect
import re
from typing import Any

import pytest
import trio

from xtalgo import ConfigError, OrderType, OutcomeUnknown, RemoteProtocolError, Side, TimeInForce
from xtalgo.client.functions import Functions
from xtalgo.live.client import Client
from xtalgo.live.rest import RestClient
from xtalgo.protocol.checks import check_args
from xtalgo.protocol.replies import Answer
from xtalgo.protocol.rpc import TABLE

VALUES: dict[str, Any] = {
    "action": Side.SELL,
    "quantity": 2,
    "order_type": OrderType.STOP_LIMIT,
    "time_in_force": TimeInForce.GTC,
    "limit_price": 101.25,
    "stop_price": 101.0,
    "take_profit": 110.0,
    "stop_loss": 90.0,
    "percent": 0.5,
    "delay": 3,
    "market_position": "LONG",
    "require_market_position": "flat,short",
    "max_positions": 4,
    "include_flat": True,
    "active_only": True,
    "lookback_time": 900,
    "period_type": "Day",
    "period": 5,
    "days_back": 2,
    "limit": 10,
    "from_": dt.datetime(2026, 5, 4, 13, 30, tzinfo=dt.UTC),
    "to": "2026-05-04T14:30:00Z",
}
"""What each parameter is called with; any other gets its own name."""


def snake(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


class Spy(Functions):
    """Answers every call with ``answer``, and keeps it."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = answer or Answer(())
        self.calls: list[tuple[str, dict[str, Any], bool]] = []
        self.readers: dict[str, Any] = {}

    async def call(self, api: str, /, *, everything: bool = False, **args: Any) -> Answer[Any]:
        self.calls.append((api, check_args(api, args, everything=everything), everything))
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer

    def new_order_id(self) -> str:
        return "fresh"

    async def _value(self, read: Any, api: str, /, **args: Any) -> Any:
        self.readers[api] = read
        return await super()._value(read, api, **args)


def arguments(method: Any, *, without: tuple[str, ...] = ()) -> tuple[list[Any], dict[str, Any]]:
    """Something for every parameter of a method."""
    positional, named = [], {}
    for name, parameter in inspect.signature(method).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            positional += ["ES", "MNQ 12-26"]
        elif name not in without:
            named[name] = VALUES.get(name, name)
    return positional, named


@pytest.mark.parametrize("api", [spec.name for spec in TABLE])
def test_every_function_has_a_typed_method_with_every_argument(api: str) -> None:
    spec, spy = TABLE[api], Spy()
    method = getattr(spy, snake(api))
    positional, named = arguments(method, without=("percent",))
    trio.run(lambda: method(*positional, **named))
    ((called, args, _),) = spy.calls
    assert called == api
    assert spy.readers[api] is spec.read
    missing = {argument.name for argument in spec.args} - set(args) - {"percent"}
    assert not missing, "an argument of the table has no parameter"
    assert inspect.getdoc(method)


@pytest.mark.parametrize("api", [spec.name for spec in TABLE])
def test_what_is_left_out_is_not_sent(api: str) -> None:
    spec, spy = TABLE[api], Spy()
    method = getattr(spy, snake(api))
    required = {
        name: VALUES.get(name, name)
        for name, parameter in inspect.signature(method).parameters.items()
        if parameter.default is parameter.empty and parameter.kind is not parameter.VAR_POSITIONAL
    }
    optional = {"Change": {"quantity": 1}, "CancelAndBracket": {"stop_loss": 90.0}}.get(api, {})
    positional = ["ES"] if api == "GetQuote" else []
    trio.run(lambda: method(*positional, **required, **optional))
    args = set(spy.calls[0][1])
    needed = {argument.name for argument in spec.args if argument.required} | {*spec.must_name}
    own = {"orderId"} if api == "PlaceOrder" else set()
    assert needed <= args <= needed | own | {"quantity", "stopLoss"}


def test_both_roads_have_all_of_them() -> None:
    assert issubclass(Client, Functions)
    assert issubclass(RestClient, Functions)


def test_words_are_ours_or_the_venues() -> None:
    spy = Spy()

    async def main() -> None:
        await spy.place_order("Sim101", "ES", Side.BUY, 1)
        await spy.place_order("Sim101", "ES", "buy", 1, order_type="limit", limit_price=100.0, time_in_force="gtc")

    trio.run(main)
    first, second = (args for _, args, _ in spy.calls)
    assert (first["action"], first["orderType"], first["timeInForce"]) == ("BUY", "MARKET", "DAY")
    assert (second["action"], second["orderType"], second["timeInForce"]) == ("BUY", "LIMIT", "GTC")


def test_an_order_goes_by_an_id_of_ours() -> None:
    spy = Spy()
    trio.run(lambda: spy.place_order("Sim101", "ES", "BUY", 1))
    trio.run(lambda: spy.place_order("Sim101", "ES", "BUY", 1, order_id="mine"))
    assert [args["orderId"] for _, args, _ in spy.calls] == ["fresh", "mine"]


def test_an_unknown_outcome_names_the_order() -> None:
    spy = Spy(OutcomeUnknown("PlaceOrder: no answer in 10 s"))
    with pytest.raises(OutcomeUnknown, match=r"no answer in 10 s \(the order's id is fresh\)"):
        trio.run(lambda: spy.place_order("Sim101", "ES", "BUY", 1))


def test_a_list_with_rows_that_cant_be_read_is_no_list() -> None:
    spy = Spy(Answer((), ("positions[0]: no instrument",), lost=1))
    with pytest.raises(RemoteProtocolError, match=r"ListPositions: 1 rows can't be read \(positions\[0\]"):
        trio.run(lambda: spy.list_positions("Sim101"))


def test_a_mutation_that_was_done_is_no_error_whatever_its_rows_say() -> None:
    spy = Spy(Answer("done", ("closedPositions[0]: no instrument",), lost=1))
    assert trio.run(lambda: spy.flatten("Sim101")) == "done"


def test_what_acts_on_every_account_is_called_by_its_name_alone() -> None:
    spy = Spy()
    trio.run(spy.flatten_everything)
    trio.run(spy.cancel_all_orders)
    assert [everything for _, _, everything in spy.calls] == [True, True]


def test_moments() -> None:
    spy = Spy()
    berlin = dt.timezone(dt.timedelta(hours=2))
    trio.run(lambda: spy.get_bars("ES", from_=dt.datetime(2026, 5, 4, 15, 30, tzinfo=berlin), to="2026-05-04"))
    trio.run(lambda: spy.get_bars("ES", from_=dt.datetime(2026, 5, 4, 13, 30, 0, 250_000)))
    assert spy.calls[0][1]["from"] == "2026-05-04T13:30:00.000000Z"
    assert spy.calls[0][1]["to"] == "2026-05-04"
    assert spy.calls[1][1]["from"] == "2026-05-04T13:30:00.250000Z"


@pytest.mark.parametrize(
    ("wrong", "match"),
    [
        (
            lambda spy: spy.place_order("Sim101", "ES", "bui", 1),
            "action must be BUY or SELL, not 'bui'; did you mean BUY",
        ),
        (lambda spy: spy.place_order("Sim101", "ES", "BUY", 0), "quantity must be greater than 0"),
        (lambda spy: spy.place_order("Sim101", "ES", "BUY", "2"), "quantity must be a whole number"),
        (lambda spy: spy.place_order("Sim101", "ES", "BUY", 1, order_type="LIMIT"), "limitPrice is missing"),
        (
            lambda spy: spy.place_order("Sim101", "ES", "BUY", 1, limit_price=5.0),
            "limitPrice has no meaning for MARKET",
        ),
        (lambda spy: spy.flatten(""), "account is empty"),
        (lambda spy: spy.call("PlaceOrder", account="Sim101", qty=1), "no argument 'qty'; did you mean quantity"),
        (lambda spy: spy.call("ChangeOrder", account="Sim101"), "no function 'ChangeOrder'; did you mean Change"),
        (lambda spy: spy.call("FlattenEverything"), "acts on every account; pass everything=True"),
        (lambda spy: spy.call("Flatten"), "name the account"),
    ],
)
def test_what_cant_be_right_is_refused_before_anything_is_sent(wrong: Any, match: str) -> None:
    spy = Spy()
    with pytest.raises(ConfigError, match=match):
        trio.run(lambda: wrong(spy))
    assert not spy.calls
