"""Every function of CrossTrade's API as a typed method, whatever road the call takes.

``call`` takes the API's own words and gives the whole ``Answer``; the methods below take ours and give its value. Words
may be written in any case; ``Side``, ``OrderType`` and ``TimeInForce`` will do as well. What can't be right raises
ConfigError before anything is sent, and names the nearest right word.

Errors: NotSent (it did not leave: safe to ask again), VenueError (refused, in the venue's words), OutcomeUnknown (it
may have been carried out: look, don't send it again), RemoteProtocolError (an answer to a read that makes no sense, or
a list with rows that can't be read), AuthError, SessionTakenOver.
"""

from __future__ import annotations

import datetime as dt
from abc import ABC, abstractmethod
from typing import Any, TypeAlias, TypeVar

from xtalgo.model.errors import OutcomeUnknown, RemoteProtocolError
from xtalgo.model.types import OrderType, Side, TimeInForce
from xtalgo.protocol import replies
from xtalgo.protocol.market import Bars, MarketStatus, QuoteSnapshot
from xtalgo.protocol.replies import (
    Answer,
    Bracketed,
    Cancelled,
    ClosedPositions,
    PlaceResult,
    Reader,
    Snapshot,
    StrategyClosed,
    Watermarks,
)
from xtalgo.protocol.rows import Account, Execution, OrderRow, Position, StrategyRow, TvOrders, TvPositions
from xtalgo.protocol.rpc import TABLE

__all__ = ["Functions"]

T = TypeVar("T")

Action: TypeAlias = Side | str
"""``Side.BUY`` or "BUY"."""
Price: TypeAlias = float | None
When: TypeAlias = dt.datetime | str | None
"""A moment with its zone, or UTC as ISO 8601 text."""


class Functions(ABC):
    """The functions of the API. Subclasses say how a call travels."""

    @abstractmethod
    async def call(self, api: str, /, *, everything: bool = False, **args: Any) -> Answer[Any]:
        """Call a function by the API's name, with the API's argument names, and return all that it answers.

        ``everything=True`` says that a function that acts on every account is meant to.
        """

    @abstractmethod
    def new_order_id(self) -> str:
        """An order id that nobody has used."""

    async def _value(self, read: Reader[T], api: str, /, *, everything: bool = False, **args: Any) -> T:
        """What a call says. ``read`` is the function's reader in the table, named so that the type is known."""
        answer: Answer[T] = await self.call(
            api, everything=everything, **{n: v for n, v in args.items() if v is not None}
        )
        if answer.lost and not TABLE[api].mutates:
            told = "; ".join(answer.faults)
            raise RemoteProtocolError(
                f"{api}: {answer.lost} rows can't be read ({told}); call({api!r}, ...) has the rest"
            )
        return answer.value

    # --- accounts ------------------------------------------------------------------------------------------------

    async def list_accounts(self) -> tuple[Account, ...]:
        """All accounts of the token."""
        return await self._value(replies.read_accounts, "ListAccounts")

    async def get_account(self, account: str) -> Account:
        """One account, with its items (cash, margins, P&L in dollars)."""
        return await self._value(replies.read_account, "GetAccount", account=account)

    async def get_account_summary(self) -> Snapshot:
        """Every account with its items and positions, at one moment."""
        return await self._value(replies.read_snapshot, "GetAccountSummary")

    async def get_watermarks(self, account: str) -> Watermarks:
        """The session's highs of P&L and net liquidation; answered also while NinjaTrader is away."""
        return await self._value(replies.read_watermarks, "GetWatermarks", account=account)

    # --- positions -----------------------------------------------------------------------------------------------

    async def list_positions(self, account: str) -> tuple[Position, ...]:
        """What an account holds."""
        return await self._value(replies.read_positions, "ListPositions", account=account)

    async def get_all_positions(self, *, include_flat: bool | None = None) -> tuple[Position, ...]:
        """What all accounts hold."""
        return await self._value(replies.read_positions, "GetAllPositions", includeFlat=include_flat)

    async def get_position(self, account: str, instrument: str) -> Position:
        """What an account holds in one instrument."""
        return await self._value(replies.read_position, "GetPosition", account=account, instrument=instrument)

    async def close_position(
        self, account: str, instrument: str, *, quantity: int | None = None, percent: float | None = None
    ) -> ClosedPositions:
        """Close a position at the market, or so many contracts or a share (0 to 1, rounded up) of it.

        Closing a part leaves working orders as they are, exits included; closing all of it cancels them.
        """
        return await self._value(
            replies.read_closed,
            "ClosePosition",
            account=account,
            instrument=instrument,
            quantity=quantity,
            percent=percent,
        )

    async def flatten(
        self, account: str, *, instrument: str | None = None, market_position: str | None = None
    ) -> ClosedPositions:
        """Cancel the orders and close the positions of an account; of one instrument, or long or short ones alone."""
        return await self._value(
            replies.read_closed, "Flatten", account=account, instrument=instrument, marketPosition=market_position
        )

    async def flatten_everything(self) -> ClosedPositions:
        """Cancel every order and close every position of EVERY account."""
        return await self._value(replies.read_closed, "FlattenEverything", everything=True)

    async def reverse(self, account: str, instrument: str) -> PlaceResult:
        """Turn a position round at the market; an error when flat. The venue chooses the id of the order it makes."""
        return await self._value(replies.read_placed, "Reverse", account=account, instrument=instrument)

    async def reverse_position(
        self,
        account: str,
        instrument: str,
        action: Action,
        quantity: int,
        *,
        order_type: OrderType | str = OrderType.MARKET,
        time_in_force: TimeInForce | str = TimeInForce.DAY,
        limit_price: Price = None,
        stop_price: Price = None,
        oco_id: str | None = None,
        strategy: str | None = None,
    ) -> PlaceResult:
        """Close a position, wait some 5 s at most, then place this order in any case; an error when flat.

        The venue chooses the order's id.
        """
        order = _order(action, quantity, order_type, time_in_force, limit_price, stop_price, oco_id, strategy)
        return await self._value(
            replies.read_placed, "ReversePosition", account=account, instrument=instrument, **order
        )

    # --- orders --------------------------------------------------------------------------------------------------

    async def list_orders(self, account: str, *, active_only: bool | None = None) -> tuple[OrderRow, ...]:
        """The orders of an account: those that may still trade, and the session's finished ones."""
        return await self._value(replies.read_orders, "ListOrders", account=account, activeOnly=active_only)

    async def get_all_orders(self, *, active_only: bool | None = None) -> tuple[OrderRow, ...]:
        """The orders of all accounts."""
        return await self._value(replies.read_orders, "GetAllOrders", activeOnly=active_only)

    async def get_order(self, account: str, order_id: str) -> OrderRow:
        """One order, by the id it was placed under or the venue's own."""
        return await self._value(replies.read_order, "GetOrder", account=account, orderId=order_id)

    async def get_order_status(self, account: str, order_id: str) -> OrderRow:
        """The state of one order and how much of it has filled."""
        return await self._value(replies.read_order, "GetOrderStatus", account=account, orderId=order_id)

    async def place_order(
        self,
        account: str,
        instrument: str,
        action: Action,
        quantity: int,
        *,
        order_type: OrderType | str = OrderType.MARKET,
        time_in_force: TimeInForce | str = TimeInForce.DAY,
        limit_price: Price = None,
        stop_price: Price = None,
        oco_id: str | None = None,
        strategy: str | None = None,
        order_id: str | None = None,
        require_market_position: str | None = None,
        max_positions: int | None = None,
    ) -> PlaceResult:
        """Place an order. Success means accepted, not filled: fills are found with ``list_executions``.

        The order goes by ``order_id``, or by a fresh one. Should the outcome be unknown, the error names it, and
        ``get_order`` and ``list_orders`` tell whether the venue has it; placing it once more could double it.
        """
        order_id = order_id or self.new_order_id()
        order = _order(action, quantity, order_type, time_in_force, limit_price, stop_price, oco_id, strategy)
        try:
            return await self._value(
                replies.read_placed,
                "PlaceOrder",
                account=account,
                instrument=instrument,
                orderId=order_id,
                requireMarketPosition=require_market_position,
                maxPositions=max_positions,
                **order,
            )
        except OutcomeUnknown as error:
            raise OutcomeUnknown(f"{error} (the order's id is {order_id})") from None

    async def flat_place(
        self,
        account: str,
        instrument: str,
        action: Action,
        quantity: int,
        *,
        order_type: OrderType | str = OrderType.MARKET,
        time_in_force: TimeInForce | str = TimeInForce.DAY,
        limit_price: Price = None,
        stop_price: Price = None,
        oco_id: str | None = None,
        strategy: str | None = None,
    ) -> PlaceResult:
        """Close what is open in the instrument, then place this order in any case. The venue chooses the order's id."""
        order = _order(action, quantity, order_type, time_in_force, limit_price, stop_price, oco_id, strategy)
        return await self._value(replies.read_placed, "FlatPlace", account=account, instrument=instrument, **order)

    async def change(
        self,
        account: str,
        order_id: str,
        *,
        quantity: int | None = None,
        limit_price: Price = None,
        stop_price: Price = None,
        strategy_id: str | None = None,
    ) -> PlaceResult:
        """Change a working order; ``quantity`` is the total, its filled part included."""
        return await self._value(
            replies.read_placed,
            "Change",
            account=account,
            orderId=order_id,
            quantity=quantity,
            limitPrice=limit_price,
            stopPrice=stop_price,
            strategyId=strategy_id,
        )

    async def cancel_replace(
        self,
        account: str,
        order_id: str,
        instrument: str,
        action: Action,
        quantity: int,
        *,
        order_type: OrderType | str = OrderType.MARKET,
        time_in_force: TimeInForce | str = TimeInForce.DAY,
        limit_price: Price = None,
        stop_price: Price = None,
        oco_id: str | None = None,
        strategy: str | None = None,
    ) -> PlaceResult:
        """Cancel an order and place another; the result has the new order's id, which the venue chooses."""
        order = _order(action, quantity, order_type, time_in_force, limit_price, stop_price, oco_id, strategy)
        return await self._value(
            replies.read_placed, "CancelReplace", account=account, orderId=order_id, instrument=instrument, **order
        )

    async def cancel(self, account: str, order_id: str) -> Cancelled:
        """Cancel an order. Success means that the cancel is under way: the order may fill until it is through."""
        return await self._value(replies.read_cancelled, "Cancel", account=account, orderId=order_id)

    async def cancel_orders(self, account: str, *, instrument: str | None = None) -> Cancelled:
        """Cancel every working order of an account, or of one instrument in it; protective ones too."""
        return await self._value(replies.read_cancelled, "CancelOrders", account=account, instrument=instrument)

    async def cancel_all_orders(self, *, account: str | None = None) -> Cancelled:
        """Cancel every working order of EVERY account; whether ``account`` narrows it is not certain."""
        return await self._value(replies.read_cancelled, "CancelAllOrders", everything=True, account=account)

    async def cancel_and_bracket(
        self,
        account: str,
        instrument: str,
        action: Action,
        quantity: int,
        *,
        take_profit: Price = None,
        stop_loss: Price = None,
        delay: int | None = None,
    ) -> Bracketed:
        """Cancel the instrument's orders, then protect the position: a limit target and a stop under one OCO id.

        ``action`` is the side of the position. The quantity is cut to what is open. For a moment nothing protects it.
        """
        return await self._value(
            replies.read_bracket,
            "CancelAndBracket",
            account=account,
            instrument=instrument,
            action=_word(action),
            quantity=quantity,
            takeProfit=take_profit,
            stopLoss=stop_loss,
            delay=delay,
        )

    # --- executions ----------------------------------------------------------------------------------------------

    async def list_executions(self, account: str, *, lookback_time: int | None = None) -> tuple[Execution, ...]:
        """The fills of the last ``lookback_time`` seconds: 320 unless told, 900 at most."""
        return await self._value(replies.read_executions, "ListExecutions", account=account, lookbackTime=lookback_time)

    async def get_execution(self, account: str, execution_id: str) -> Execution:
        """One fill."""
        return await self._value(replies.read_execution, "GetExecution", account=account, executionId=execution_id)

    async def get_executions_by_order_id(self, order_id: str, *, account: str | None = None) -> tuple[Execution, ...]:
        """The fills of one order, however old."""
        return await self._value(replies.read_executions, "GetExecutionsByOrderId", orderId=order_id, account=account)

    # --- market --------------------------------------------------------------------------------------------------

    async def get_quote(self, *instruments: str, account: str | None = None) -> tuple[QuoteSnapshot, ...]:
        """The newest quote and the contract's facts, of each instrument."""
        return await self._value(replies.read_quotes, "GetQuote", instrument=",".join(instruments), account=account)

    async def get_bars(
        self,
        instrument: str,
        *,
        period_type: str | None = None,
        period: int | None = None,
        days_back: int | None = None,
        from_: When = None,
        to: When = None,
        limit: int | None = None,
    ) -> Bars:
        """Historical bars, oldest first; minutes of the last day unless told. Of more than ``limit`` the newest."""
        span: dict[str, Any] = {"from": _utc(from_), "to": _utc(to)}
        return await self._value(
            replies.read_bars,
            "GetBars",
            instrument=instrument,
            periodType=period_type,
            period=period,
            daysBack=days_back,
            limit=limit,
            **span,
        )

    async def market_info(self, instrument: str | None = None) -> MarketStatus:
        """Whether the market is open, and its session."""
        return await self._value(replies.read_market, "MarketInfo", instrument=instrument)

    # --- strategies running in NinjaTrader -----------------------------------------------------------------------

    async def list_strategies(self, account: str) -> tuple[StrategyRow, ...]:
        """The ATM and NinjaScript strategies that run in an account."""
        return await self._value(replies.read_strategies, "ListStrategies", account=account)

    async def get_strategy(self, account: str, strategy_id: str) -> StrategyRow:
        """One of them."""
        return await self._value(replies.read_strategy, "GetStrategy", account=account, strategyId=strategy_id)

    async def list_all_strategies(self) -> tuple[StrategyRow, ...]:
        """Those of all accounts."""
        return await self._value(replies.read_strategies, "ListAllStrategies")

    async def close_strategy(self, account: str, strategy_id: str) -> StrategyClosed:
        """Close one of them, with its position and its orders."""
        return await self._value(replies.read_strategy_closed, "CloseStrategy", account=account, strategyId=strategy_id)

    # --- Tradovate, beside NinjaTrader ---------------------------------------------------------------------------

    async def tv_list_positions(self) -> tuple[TvPositions, ...]:
        """The positions of all linked Tradovate accounts, by login."""
        return await self._value(replies.read_tv_positions, "Tv_ListPositions")

    async def tv_list_orders(self) -> tuple[TvOrders, ...]:
        """The orders of all linked Tradovate accounts, by login."""
        return await self._value(replies.read_tv_orders, "Tv_ListOrders")


def _word(action: Action) -> str:
    return action.name if isinstance(action, Side) else action


def _order(
    action: Action,
    quantity: int,
    order_type: OrderType | str,
    time_in_force: TimeInForce | str,
    limit_price: Price,
    stop_price: Price,
    oco_id: str | None,
    strategy: str | None,
) -> dict[str, Any]:
    """What every call that places an order takes."""
    return {
        "action": _word(action),
        "orderType": str(order_type),
        "quantity": quantity,
        "timeInForce": str(time_in_force),
        "limitPrice": limit_price,
        "stopPrice": stop_price,
        "ocoId": oco_id,
        "strategy": strategy,
    }


def _utc(when: When) -> str | None:
    """A moment as the text that the venue takes; one without a zone is UTC."""
    if not isinstance(when, dt.datetime):
        return when
    moment = when.replace(tzinfo=dt.UTC) if when.tzinfo is None else when.astimezone(dt.UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{moment.microsecond:06d}Z"
