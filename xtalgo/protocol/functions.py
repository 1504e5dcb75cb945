"""The rows of ``rpc.TABLE``, group by group."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from xtalgo.protocol import replies
from xtalgo.protocol.arguments import ArgType, Argument, Certainty
from xtalgo.protocol.replies import Reader
from xtalgo.protocol.spec import Lane, RpcSpec

__all__ = ["account_functions", "order_functions", "other_functions", "position_functions"]

_D, _O, _I = Certainty.DOCUMENTED, Certainty.OBSERVED, Certainty.INFERRED
_V1 = "/v1/api"
_OF_ACCOUNT = f"{_V1}/accounts/{{account}}"


def _whole(name: str, **facts: Any) -> Argument:
    return Argument(name, ArgType.WHOLE, above=facts.pop("above", 0), **facts)


def _price(name: str, **facts: Any) -> Argument:
    return Argument(name, ArgType.NUMBER, above=0, **facts)


_ACCOUNT = Argument("account", required=True, note="in any case; the venue answers in its own spelling")
_SOME_ACCOUNT = Argument("account", note=_ACCOUNT.note)
_INSTRUMENT = Argument("instrument", required=True, note="any spelling")
_SOME_INSTRUMENT = Argument("instrument", note="any spelling")
_ORDER_ID = Argument("orderId", required=True)
_STRATEGY_ID = Argument("strategyId", required=True, note="a decimal text")
_ACTION = Argument("action", required=True, values=("BUY", "SELL"))
_ORDER = (
    _ACTION,
    Argument("orderType", required=True, values=("MARKET", "LIMIT", "STOPMARKET", "STOPLIMIT")),
    _whole("quantity", required=True),
    Argument("timeInForce", required=True, values=("DAY", "GTC")),
    _price("limitPrice", note="with LIMIT and STOPLIMIT"),
    _price("stopPrice", note="with STOPMARKET and STOPLIMIT"),
    Argument("ocoId", note="orders with one id cancel each other"),
    Argument("strategy", note="name of an ATM template saved in NinjaTrader"),
)


def account_functions() -> Iterator[RpcSpec]:
    """Functions of accounts, in the reference's order."""

    def spec(name: str, path: str, *args: Argument, read: Reader[Any], **facts: Any) -> RpcSpec:
        return RpcSpec(name, "Accounts", "GET", (path,), args, read, Lane.POLL, **facts)

    yield spec("ListAccounts", f"{_V1}/accounts", read=replies.read_accounts, body_certainty=_I)
    yield spec("GetAccount", _OF_ACCOUNT, _ACCOUNT, read=replies.read_account)
    yield spec(
        "GetAccountSummary",
        f"{_V1}/accounts/snapshot",
        read=replies.read_snapshot,
        note="that this name belongs to the snapshot route is inferred from titles",
    )
    yield spec(
        "GetWatermarks",
        f"{_OF_ACCOUNT}/watermarks",
        _ACCOUNT,
        read=replies.read_watermarks,
        note="answered from the session cache, so also while the add-on is away; reset once a day",
    )


def position_functions() -> Iterator[RpcSpec]:
    """Functions of positions, in the reference's order."""

    def reads(name: str, path: str, *args: Argument, read: Reader[Any], **facts: Any) -> RpcSpec:
        return RpcSpec(name, "Positions", "GET", (path,), args, read, Lane.POLL, **facts)

    def acts(name: str, lane: Lane, *paths: str, args: tuple[Argument, ...], **facts: Any) -> RpcSpec:
        read = replies.read_closed if lane is Lane.REDUCE else replies.read_placed
        return RpcSpec(name, "Positions", "POST", paths, args, read, lane, mutates=True, **facts)

    yield reads("ListPositions", f"{_OF_ACCOUNT}/positions", _ACCOUNT, read=replies.read_positions, rest_certainty=_O)
    yield reads(
        "GetAllPositions",
        f"{_V1}/positions",
        Argument("includeFlat", ArgType.FLAG, default=False),
        read=replies.read_positions,
        note="flat ones are left out unless asked for",
    )
    yield reads(
        "GetPosition",
        f"{_OF_ACCOUNT}/position",
        _ACCOUNT,
        _INSTRUMENT,
        read=replies.read_position,
        note="what it answers when flat is unknown",
    )
    yield acts(
        "ClosePosition",
        Lane.REDUCE,
        f"{_OF_ACCOUNT}/positions/close",
        args=(
            _ACCOUNT,
            _INSTRUMENT,
            _whole("quantity", note="capped at what is open; all of it when left out"),
            Argument("percent", ArgType.NUMBER, above=0, most=1, note="a share, rounded up to whole contracts"),
        ),
        not_both=("quantity", "percent"),
        note="closing a part leaves working orders as they are; closing all is NinjaTrader's flatten",
    )
    yield acts(
        "Flatten",
        Lane.REDUCE,
        f"{_OF_ACCOUNT}/positions/flatten",
        f"{_V1}/positions/flatten",
        args=(_SOME_ACCOUNT, _SOME_INSTRUMENT, Argument("marketPosition", values=("long", "short"))),
        must_name=("account",),
        steps=True,
        note="cancels the orders too; with no filter at all the venue closes every account",
    )
    yield acts(
        "FlattenEverything",
        Lane.REDUCE,
        f"{_V1}/positions/flatten",
        args=(),
        everywhere=True,
        steps=True,
        note="every position and order of every account; over REST it is the empty body that says so",
    )
    yield acts(
        "Reverse",
        Lane.PLACE,
        f"{_OF_ACCOUNT}/positions/reverse",
        args=(_ACCOUNT, _INSTRUMENT),
        steps=True,
        note="mirrors the position at market; an error when flat",
    )
    yield acts(
        "ReversePosition",
        Lane.PLACE,
        f"{_OF_ACCOUNT}/positions/reverseposition",
        args=(_ACCOUNT, _INSTRUMENT, *_ORDER),
        steps=True,
        note="closes, waits some 5 s at most, then places the order in any case; an error when flat",
    )


def order_functions() -> Iterator[RpcSpec]:
    """Functions of orders, in the reference's order."""

    def reads(name: str, path: str, lane: Lane, *args: Argument, read: Reader[Any], **facts: Any) -> RpcSpec:
        return RpcSpec(name, "Orders", "GET", (path,), args, read, lane, body_certainty=facts.pop("body", _I), **facts)

    def acts(name: str, lane: Lane, path: str, *args: Argument, **facts: Any) -> RpcSpec:
        read = facts.pop("read", replies.read_placed)
        return RpcSpec(name, "Orders", facts.pop("method", "POST"), (path,), args, read, lane, mutates=True, **facts)

    active = Argument("activeOnly", ArgType.FLAG, certainty=_O)
    one = f"{_OF_ACCOUNT}/orders/{{orderId}}"
    yield reads(
        "ListOrders",
        f"{_OF_ACCOUNT}/orders",
        Lane.POLL,
        _ACCOUNT,
        active,
        read=replies.read_orders,
        note="working orders and the session's finished ones",
    )
    yield reads(
        "GetAllOrders",
        f"{_V1}/orders",
        Lane.POLL,
        Argument("activeOnly", ArgType.FLAG, certainty=_I),
        read=replies.read_orders,
        rest_certainty=_I,
    )
    yield reads("GetOrder", one, Lane.STATUS, _ACCOUNT, _ORDER_ID, read=replies.read_order, body=_D)
    yield reads(
        "GetOrderStatus", f"{one}/status", Lane.STATUS, _ACCOUNT, _ORDER_ID, read=replies.read_order, rest_certainty=_I
    )
    yield acts(
        "PlaceOrder",
        Lane.PLACE,
        f"{_OF_ACCOUNT}/orders/place",
        _ACCOUNT,
        _INSTRUMENT,
        *_ORDER,
        Argument("orderId", note="an id of our choice; what a second order under it does is unknown"),
        Argument("requireMarketPosition", values=("flat", "long", "short"), many=True, note="refused in any other"),
        _whole("maxPositions", note="refused when it would open one more than so many"),
        note="success means accepted, not filled",
    )
    yield acts(
        "FlatPlace",
        Lane.PLACE,
        f"{_OF_ACCOUNT}/orders/flatplace",
        _ACCOUNT,
        _INSTRUMENT,
        *_ORDER,
        steps=True,
        note="closes what is open in the instrument, then places in any case",
    )
    yield acts(
        "Change",
        Lane.PLACE,
        f"{one}/change",
        _ACCOUNT,
        _ORDER_ID,
        _whole("quantity"),
        _price("limitPrice"),
        _price("stopPrice"),
        Argument("strategyId", note="the ATM strategy that the order must belong to"),
        method="PUT",
        any_of=("quantity", "limitPrice", "stopPrice"),
        note="whether the order keeps its id is unclear",
    )
    yield acts(
        "CancelReplace",
        Lane.PLACE,
        f"{one}/replace",
        _ACCOUNT,
        _ORDER_ID,
        _INSTRUMENT,
        *_ORDER,
        steps=True,
        note="answers with the id of the new order",
    )
    yield acts(
        "Cancel",
        Lane.REDUCE,
        f"{one}/cancel",
        _ACCOUNT,
        _ORDER_ID,
        read=replies.read_cancelled,
        aliases=("CancelOrder",),
    )
    yield acts(
        "CancelOrders",
        Lane.REDUCE,
        f"{_OF_ACCOUNT}/orders/cancel",
        _ACCOUNT,
        _SOME_INSTRUMENT,
        read=replies.read_cancelled,
        note="every working order of the account when no instrument is given, protective ones included",
    )
    yield acts(
        "CancelAllOrders",
        Lane.REDUCE,
        f"{_V1}/orders/cancel",
        Argument("account", certainty=_I, note="one page says an account's orders, another all accounts'"),
        read=replies.read_cancelled,
        everywhere=True,
        rest_certainty=_I,
        body_certainty=_I,
    )
    yield acts(
        "CancelAndBracket",
        Lane.REDUCE,
        f"{_OF_ACCOUNT}/orders/cancel_and_bracket",
        _ACCOUNT,
        _INSTRUMENT,
        Argument("action", required=True, values=_ACTION.values, note="the side of the position, not of the exits"),
        _whole("quantity", required=True, certainty=_I),
        _price("takeProfit", certainty=_O),
        _price("stopLoss", certainty=_O),
        _whole("delay", above=-1, certainty=_I, note="between cancelling and placing; name and unit unknown"),
        read=replies.read_bracket,
        any_of=("takeProfit", "stopLoss"),
        steps=True,
        body_certainty=_I,
        note="limit target and stop-market under one OCO id, cut to what is open; an OCO entry when nothing is",
    )


def other_functions() -> Iterator[RpcSpec]:
    """Functions of executions, market, strategies and Tradovate, in the reference's order."""
    fills, market, strategies, tv = "Executions", "Market", "Strategies", "Tradovate (not NT8)"
    yield RpcSpec(
        "ListExecutions",
        fills,
        "GET",
        (f"{_OF_ACCOUNT}/executions",),
        (_ACCOUNT, _whole("lookbackTime", default=320, most=900, note="seconds")),
        replies.read_executions,
        Lane.POLL,
    )
    yield RpcSpec(
        "GetExecution",
        fills,
        "GET",
        (f"{_OF_ACCOUNT}/executions/{{executionId}}",),
        (_ACCOUNT, Argument("executionId", required=True)),
        replies.read_execution,
        Lane.STATUS,
    )
    yield RpcSpec(
        "GetExecutionsByOrderId",
        fills,
        "GET",
        (f"{_OF_ACCOUNT}/executions/order/{{orderId}}", f"{_V1}/executions/order/{{orderId}}"),
        (_ORDER_ID, _SOME_ACCOUNT),
        replies.read_executions,
        Lane.STATUS,
        rest_certainty=_I,
        body_certainty=_I,
        note="the only way to fills older than a quarter of an hour; its route is a guess, after Tradovate's",
    )
    yield RpcSpec(
        "GetQuote",
        market,
        "GET",
        (f"{_OF_ACCOUNT}/quote", f"{_V1}/market/quote"),
        (
            Argument("instrument", required=True, note="one, or several separated by commas"),
            Argument("account", note="the old form, which tells less"),
        ),
        replies.read_quotes,
        Lane.POLL,
        note="without `success`; an array for several instruments; `epoch` in seconds",
    )
    yield RpcSpec(
        "GetBars",
        market,
        "POST",
        (f"{_V1}/market/bars",),
        (
            _INSTRUMENT,
            Argument("periodType", values=("minute", "day", "week", "month", "year"), default="minute"),
            _whole("period", default=1),
            _whole("daysBack", default=1, note="without `from`"),
            Argument("from", is_time=True, note="UTC, ISO 8601"),
            Argument("to", is_time=True, note="UTC, ISO 8601"),
            _whole("limit", default=5000, note="the newest are kept"),
        ),
        replies.read_bars,
        Lane.HISTORY,
        note="may take its time; a cap on volume exists, its size is unknown",
    )
    yield RpcSpec(
        "MarketInfo",
        market,
        "GET",
        (f"{_V1}/market/info",),
        (Argument("instrument", note="the front month of ES when left out, by one of two statements"),),
        replies.read_market,
        Lane.POLL,
    )
    listed = f"{_OF_ACCOUNT}/strategies"
    guess: dict[str, Any] = {"rest_certainty": _I, "body_certainty": _I}
    yield RpcSpec(
        "ListStrategies", strategies, "GET", (listed,), (_ACCOUNT,), replies.read_strategies, Lane.POLL, **guess
    )
    yield RpcSpec(
        "GetStrategy",
        strategies,
        "GET",
        (f"{listed}/{{strategyId}}",),
        (_ACCOUNT, _STRATEGY_ID),
        replies.read_strategy,
        Lane.POLL,
        **guess,
    )
    yield RpcSpec(
        "ListAllStrategies",
        strategies,
        "GET",
        (f"{_V1}/strategies",),
        (),
        replies.read_strategies,
        Lane.POLL,
        note="known as an MCP tool; whether the socket has it is unknown, and its route is a guess",
        **guess,
    )
    yield RpcSpec(
        "CloseStrategy",
        strategies,
        "POST",
        (f"{listed}/{{strategyId}}/close",),
        (_ACCOUNT, _STRATEGY_ID),
        replies.read_strategy_closed,
        Lane.REDUCE,
        mutates=True,
        steps=True,
    )
    seen: dict[str, Any] = {
        "origin": "tradovate",
        "certainty": _O,
        "rest_certainty": _O,
        "body_certainty": _O,
        "note": "all linked accounts in one call, grouped by login",
    }
    yield RpcSpec(
        "Tv_ListPositions", tv, "GET", (f"{_V1}/tv/positions",), (), replies.read_tv_positions, Lane.POLL, **seen
    )
    yield RpcSpec("Tv_ListOrders", tv, "GET", (f"{_V1}/tv/orders",), (), replies.read_tv_orders, Lane.POLL, **seen)
