"""The objects inside CrossTrade's replies, under the venue's own names.

Key names are documented unless a docstring says otherwise; a field that the venue left out is None. Enumerations stay
the text they came as, since their spellings are mostly inferred: properties and ``xtalgo.protocol.orders`` give them
meaning. What has no default can't be missing: a position without a direction must not read as flat.
"""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import msgspec

from xtalgo.model.types import Ns, OrderType, Side, TimeInForce
from xtalgo.protocol.times import epoch_ns, parse_stamp
from xtalgo.protocol.words import OrderState, order_state, order_type_of, side_of, signed_quantity, tif_of

__all__ = [
    "Account",
    "AccountItems",
    "Execution",
    "OrderRow",
    "Position",
    "Row",
    "SnapshotEntry",
    "StrategyRow",
    "TvOrder",
    "TvOrders",
    "TvPosition",
    "TvPositions",
    "WatermarkHighs",
    "WatermarkStats",
]

Whole = Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)]
Name = Annotated[str, msgspec.Meta(min_length=1)]


class Row(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """Base of all rows: ``average_price`` here is ``averagePrice`` there."""

    other_names: ClassVar[dict[str, tuple[str, ...]]] = {}
    """Further keys under which clients have met a field."""


# --- accounts --------------------------------------------------------------------------------------------------------


class AccountItems(Row, frozen=True):
    """NinjaTrader's account items, in the account's currency; zero also where the provider doesn't keep one."""

    buying_power: float | None = None
    cash_value: float | None = None
    commission: float | None = None
    daily_loss_limit: float | None = None
    daily_profit_trigger: float | None = None
    excess_initial_margin: float | None = None
    excess_intraday_margin: float | None = None
    excess_maintenance_margin: float | None = None
    excess_position_margin: float | None = None
    fee: float | None = None
    gross_realized_profit_loss: float | None = None
    initial_margin: float | None = None
    intraday_margin: float | None = None
    long_option_value: float | None = None
    long_stock_value: float | None = None
    look_ahead_maintenance_margin: float | None = None
    maintenance_margin: float | None = None
    net_liquidation: float | None = None
    net_liquidation_by_currency: float | None = None
    position_margin: float | None = None
    realized_profit_loss: float | None = None
    short_option_value: float | None = None
    short_stock_value: float | None = None
    sod_cash_value: float | None = None
    sod_liquidating_value: float | None = None
    total_cash_balance: float | None = None
    trailing_max_drawdown: float | None = None
    unrealized_profit_loss: float | None = None
    weekly_loss_limit: float | None = None
    weekly_profit_loss: float | None = None
    weekly_profit_trigger: float | None = None


class Account(Row, frozen=True):
    """An account and its settings. ``item`` comes with GetAccount and the snapshot only."""

    name: Name
    id: Whole | None = None
    display_name: str | None = None
    primary_user: Any = None
    provider: str | None = None
    denomination: str | None = None
    status: str | None = None
    daily_loss_limit: float | None = None
    min_cash_value: float | None = None
    max_order_size: Whole | None = None
    max_position_size: Whole | None = None
    connection: str | None = None
    connection_status: str | None = None
    last_transaction_sum: float | None = None
    type: str | None = None
    is_account_flat: bool | None = None
    item: AccountItems | None = None

    other_names: ClassVar = {"name": ("account", "accountName", "displayName")}

    @property
    def is_simulator(self) -> bool | None:
        """Whether its provider is NinjaTrader's simulator (documented by one example); None where that isn't told."""
        return None if self.provider is None else self.provider.casefold() == "simulator"

    @property
    def is_connected(self) -> bool | None:
        """Whether its connection stands; None where that isn't told."""
        return None if self.connection_status is None else self.connection_status.casefold() == "connected"


class WatermarkHighs(Row, frozen=True):
    """Peaks of the trading day. All None before the day's first P&L, or with no monitor active."""

    pnlhigh: float | None = None
    netliqhigh: float | None = None
    unrealhigh: float | None = None


class WatermarkStats(Row, frozen=True):
    """Where the account stands, beside its peaks. What ``pnl`` and ``total`` include isn't told."""

    pnl: float | None = None
    total: float | None = None
    unrealized: float | None = None
    poscount: Whole | None = None
    netliq: float | None = None
    pnlhigh: float | None = None
    netliqhigh: float | None = None
    unrealhigh: float | None = None


# --- positions, orders, executions -----------------------------------------------------------------------------------


class Position(Row, frozen=True):
    """What an account holds in one instrument: the account's net, whoever traded it."""

    instrument: Name
    market_position: str
    quantity: Whole
    account: str | None = None
    instrument_type: str | None = None
    average_price: float | None = None
    market_price: float | None = None
    unrealized_profit_loss: float | None = None
    tag: Any = None
    type: str | None = None

    def __post_init__(self) -> None:
        if signed_quantity(self.market_position, self.quantity) is None:
            raise ValueError(f"{self.market_position!r} with quantity {self.quantity} is no position")

    @property
    def net(self) -> int:
        """Contracts, negative when short."""
        net = signed_quantity(self.market_position, self.quantity)
        assert net is not None
        return net


class OrderRow(Row, frozen=True):
    """An order. From ``name`` on the keys are NinjaTrader's own and only inferred; ``timestamp`` was seen as a number.

    NinjaTrader writes 0 for a price that an order doesn't have: ``limit`` and ``stop`` are None then.
    """

    order_id: Name
    account: str | None = None
    instrument: str | None = None
    instrument_type: str | None = None
    order_type: str | None = None
    order_state: str | None = None
    quantity: Whole | None = None
    filled: Whole | None = None
    average_fill_price: float | None = None
    limit_price: float | None = None
    limit_price_changed: float | None = None
    from_entry_signal: Any = None
    gtd: str | None = None
    has_overfill: bool | None = None
    is_backtest_order: bool | None = None
    name: str | None = None
    oco: str | None = None
    order_action: str | None = None
    quantity_changed: Whole | None = None
    stop_price: float | None = None
    stop_price_changed: float | None = None
    time: str | None = None
    time_in_force: str | None = None
    tag: Any = None
    epoch: Whole | None = None
    timestamp: Any = None

    other_names: ClassVar = {"order_id": ("id",), "order_action": ("action",), "order_state": ("state",)}

    @property
    def state(self) -> OrderState:
        """Its state; ``UNKNOWN`` for a text we don't know, and for none."""
        return order_state(self.order_state)

    @property
    def side(self) -> Side | None:
        """Its direction, where it is told."""
        return side_of(self.order_action)

    @property
    def kind(self) -> OrderType | None:
        """Its type, where it is one of ours."""
        return order_type_of(self.order_type)

    @property
    def tif(self) -> TimeInForce | None:
        """How long it rests, where it is told."""
        return tif_of(self.time_in_force)

    @property
    def limit(self) -> float | None:
        """Its limit price, if its type has one."""
        has = self.kind in (OrderType.LIMIT, OrderType.STOP_LIMIT) or self.kind is None
        return (self.limit_price or None) if has else None

    @property
    def stop(self) -> float | None:
        """Its stop price, if its type has one."""
        has = self.kind in (OrderType.STOP_MARKET, OrderType.STOP_LIMIT) or self.kind is None
        return (self.stop_price or None) if has else None


class Execution(Row, frozen=True):
    """One fill. ``time`` has no zone, ``epoch`` is in milliseconds. From ``commission`` on the keys are inferred."""

    id: Name
    instrument: Name
    price: float
    quantity: Whole
    order_id: str | None = None
    account: str | None = None
    time: str | None = None
    epoch: Whole | None = None
    name: str | None = None
    type: str | None = None
    server_name: str | None = None
    instrument_type: str | None = None
    position: Whole | None = None
    market_position: str | None = None
    position_strategy: Whole | None = None
    commission: float | None = None
    rate: float | None = None
    slippage: float | None = None
    is_entry: bool | None = None
    is_exit: bool | None = None

    other_names: ClassVar = {"id": ("executionId",)}

    def __post_init__(self) -> None:
        if self.quantity <= 0:
            raise ValueError(f"quantity {self.quantity} is no execution")

    @property
    def side(self) -> Side | None:
        """Its direction: NinjaTrader calls a buy ``Long`` and a sell ``Short`` here (inferred)."""
        return side_of(self.market_position)

    @property
    def executed(self) -> Ns | None:
        """When it happened, from ``epoch``, or from ``time`` if that has a zone."""
        stamp = parse_stamp(self.time)
        return epoch_ns(self.epoch) or (stamp.utc if stamp else None)


class SnapshotEntry(Row, frozen=True):
    """One account of GetAccountSummary, with its positions; the page leaves out further keys."""

    account: Account
    positions: tuple[Position, ...] | None = None


# --- strategies and Tradovate ----------------------------------------------------------------------------------------


class StrategyRow(Row, frozen=True):
    """A running strategy (inferred but for the id, a decimal text)."""

    id: Name
    name: str | None = None
    instrument: str | None = None
    account: str | None = None

    other_names: ClassVar = {"id": ("strategyId",)}


class TvPosition(Row, frozen=True):
    """A position at Tradovate, by numbers instead of names (observed)."""

    account_id: Whole
    contract_id: Whole
    net_pos: Whole
    net_price: float | None = None
    timestamp: str | None = None


class TvOrder(Row, frozen=True):
    """An order at Tradovate (observed)."""

    id: Whole
    account_id: Whole | None = None
    contract_id: Whole | None = None
    ord_status: str | None = None
    action: str | None = None
    timestamp: str | None = None


class TvPositions(Row, frozen=True):
    """The positions of one Tradovate login (observed)."""

    data: tuple[TvPosition, ...]
    environment: str | None = None
    user_id: str | None = None
    name: str | None = None


class TvOrders(Row, frozen=True):
    """The orders of one Tradovate login (observed)."""

    data: tuple[TvOrder, ...]
    environment: str | None = None
    user_id: str | None = None
    name: str | None = None
