"""Event-driven algorithmic trading in Python for NinjaTrader 8, over CrossTrade's WebSocket API.

These are the public names; everything else may change between versions.
"""

import typing as _typing

from xtalgo.client.group import GroupPlan, GroupReport, carry_out, plan_group
from xtalgo.engine import rolling
from xtalgo.engine.bars import Bars
from xtalgo.engine.groups import GroupCost, GroupMember, MemberStatus, OrderGroup
from xtalgo.engine.history import History
from xtalgo.engine.indicators import Crossing, Ema, RollingMax, RollingMean, RollingMin, RollingStd
from xtalgo.engine.orders import Order
from xtalgo.engine.pacing import Forecast
from xtalgo.engine.risk import DenyReason, RiskLimits, TradingState
from xtalgo.engine.series import Columns, QuoteTable, Window
from xtalgo.engine.signals import SignalStrategy
from xtalgo.engine.strategy import Strategy
from xtalgo.engine.timers import Timer
from xtalgo.model.errors import (
    AuthError,
    ConfigError,
    DataError,
    NoConnection,
    NotSent,
    OutcomeUnknown,
    RemoteProtocolError,
    SessionTakenOver,
    StrategyError,
    VenueError,
    XtalgoError,
)
from xtalgo.model.events import (
    AccountItems,
    AccountPnl,
    Bar,
    External,
    Fill,
    LinkDown,
    LinkUp,
    Quote,
    Watermarks,
)
from xtalgo.model.instruments import Contract, ContractBook
from xtalgo.model.types import Instrument, Ns, OrderStatus, OrderType, Role, Side, TimeInForce
from xtalgo.scripts import connect, connect_rest
from xtalgo.sim.fills import Fees, FillModel, Latency
from xtalgo.sim.replay import ReplaySettings, replay
from xtalgo.sim.result import Result, RoundTrip

if _typing.TYPE_CHECKING:
    from xtalgo.live.client import Client as Client
    from xtalgo.live.rest import RestClient as RestClient

__version__ = "0.1.0"

__all__ = [
    "AccountItems",
    "AccountPnl",
    "AuthError",
    "Bar",
    "Bars",
    "Columns",
    "ConfigError",
    "Contract",
    "ContractBook",
    "Crossing",
    "DataError",
    "DenyReason",
    "Ema",
    "External",
    "Fees",
    "Fill",
    "FillModel",
    "Forecast",
    "GroupCost",
    "GroupMember",
    "GroupPlan",
    "GroupReport",
    "History",
    "Instrument",
    "Latency",
    "LinkDown",
    "LinkUp",
    "MemberStatus",
    "NoConnection",
    "NotSent",
    "Ns",
    "Order",
    "OrderGroup",
    "OrderStatus",
    "OrderType",
    "OutcomeUnknown",
    "Quote",
    "QuoteTable",
    "RemoteProtocolError",
    "ReplaySettings",
    "Result",
    "RiskLimits",
    "Role",
    "RollingMax",
    "RollingMean",
    "RollingMin",
    "RollingStd",
    "RoundTrip",
    "SessionTakenOver",
    "Side",
    "SignalStrategy",
    "Strategy",
    "StrategyError",
    "TimeInForce",
    "Timer",
    "TradingState",
    "VenueError",
    "Watermarks",
    "Window",
    "XtalgoError",
    "__version__",
    "carry_out",
    "connect",
    "connect_rest",
    "plan_group",
    "replay",
    "rolling",
]


def __getattr__(name: str) -> _typing.Any:
    """``Client`` and ``RestClient``, for annotations: loaded when asked for, since they bring sockets along."""
    if name == "Client":
        from xtalgo.live.client import Client

        return Client
    if name == "RestClient":
        from xtalgo.live.rest import RestClient

        return RestClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
