"""From the body of a reply to typed values: one reader for each shape.

A reader takes ``RpcReply.data``, the bytes of a REST body, or what they decode to. It never raises: it returns an
``Answer``, or ``Unusable`` where the body lacks what the answer consists of. Bodies aren't uniform (documented): most
have their fields beside ``success``, some have no ``success``, some nest in ``data``, some are bare arrays; clients
accept lists wrapped and bare, and so do we, everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, Generic, TypeAlias, TypeVar

import msgspec
from msgspec import Raw, inspect

from xtalgo.protocol.fields import Faults, failure_of, few, get, is_whole, plain, read_items, read_row, short
from xtalgo.protocol.market import Bars, MarketStatus, QuoteSnapshot
from xtalgo.protocol.rows import (
    Account,
    Execution,
    Name,
    OrderRow,
    Position,
    Row,
    SnapshotEntry,
    StrategyRow,
    TvOrders,
    TvPositions,
    WatermarkHighs,
    WatermarkStats,
    Whole,
)

__all__ = [
    "Answer",
    "Bracketed",
    "Cancelled",
    "ClosedPositions",
    "PlaceResult",
    "Reader",
    "Reply",
    "Snapshot",
    "StrategyClosed",
    "Unusable",
    "Watermarks",
    "read_account",
    "read_accounts",
    "read_bars",
    "read_bracket",
    "read_cancelled",
    "read_closed",
    "read_execution",
    "read_executions",
    "read_market",
    "read_order",
    "read_orders",
    "read_placed",
    "read_position",
    "read_positions",
    "read_quotes",
    "read_snapshot",
    "read_strategies",
    "read_strategy",
    "read_strategy_closed",
    "read_tv_orders",
    "read_tv_positions",
    "read_watermarks",
]

T = TypeVar("T")
R = TypeVar("R", bound=Row)


class Answer(msgspec.Struct, Generic[T], frozen=True):
    """What a reply says.

    ``faults`` tells what was odd. ``lost`` counts rows that could not be read, so a list with ``lost`` proves no
    absence. ``warning`` is the venue's own (documented for harmless cases, as flattening with nothing open).
    """

    value: T
    faults: tuple[str, ...] = ()
    lost: int = 0
    warning: str | None = None

    @property
    def is_complete(self) -> bool:
        """Whether every row of the reply is in ``value``."""
        return self.lost == 0


class Unusable(msgspec.Struct, frozen=True):
    """A reply that could not be used: ``why`` says what was missing; ``error`` is the venue's text if it said no."""

    why: str
    error: str | None = None
    detail: str | None = None


Reply: TypeAlias = Answer[T] | Unusable
"""What a reader returns."""
Reader: TypeAlias = Callable[[object], Answer[T] | Unusable]
"""From a body to what it says."""


# --- what replies say beside rows ------------------------------------------------------------------------------------


class Snapshot(Row, frozen=True):
    """GetAccountSummary: every account with its items and positions at one moment; ``epoch`` is in milliseconds."""

    accounts: tuple[SnapshotEntry, ...]
    timestamp: str | None = None
    epoch: Whole | None = None
    type: str | None = None


class Watermarks(Row, frozen=True):
    """GetWatermarks, answered from CrossTrade's session cache even when the add-on is away (documented)."""

    account: Name
    watermarks: WatermarkHighs | None = None
    stats: WatermarkStats | None = None


class PlaceResult(Row, frozen=True):
    """The id of the order that a call made or changed. It says *accepted*, never *filled* (documented).

    None where the venue said ``success`` and no more: then the order goes by the id that we gave it, if it is known.
    """

    order_id: Name | None = None


class Cancelled(Row, frozen=True):
    """The orders whose cancel was accepted; None where the venue said ``success`` without naming them."""

    order_ids: tuple[Name, ...] | None = None


class ClosedPositions(Row, frozen=True):
    """The positions that are being closed, as they were, and the orders doing it (FlattenEverything only)."""

    closed_positions: tuple[Position, ...] | None = None
    order_ids: tuple[Name, ...] | None = None


class Bracketed(Row, frozen=True):
    """CancelAndBracket: target and stop, and the OCO id that they share (inferred)."""

    order_ids: tuple[Name, ...] | None = None
    oco_id: str | None = None


class StrategyClosed(Row, frozen=True):
    """CloseStrategy: the id of the strategy that was told to close."""

    strategy_id: Name | None = None


# --- readers ---------------------------------------------------------------------------------------------------------


def _opened(body: object) -> object:
    """The decoded body; None stands for one that isn't JSON. No NaN survives: JSON has none."""
    try:
        if isinstance(body, Raw | bytes):
            return msgspec.json.decode(body)
        return msgspec.json.decode(msgspec.json.encode(body))
    except (msgspec.MsgspecError, ValueError, RecursionError, TypeError):
        return None


def _answer(value: T, body: object, faults: Faults) -> Answer[T]:
    warning = body.get("warning") if isinstance(body, dict) else None
    return Answer(value, few(faults), faults.lost, warning if isinstance(warning, str) else None)


def _no(body: object) -> Unusable | None:
    """A body that says no, or nothing."""
    if failure := failure_of(body):
        return Unusable(f"it says no: {failure.error}", failure.error, failure.detail)
    return Unusable("it is empty or not JSON") if body is None else None


def list_of(cls: type[R], key: str) -> Reader[tuple[R, ...]]:
    """A reader of rows under ``key``, under ``data``, or bare. Text in place of a row is a name (accounts)."""
    by_name = cls is Account
    kind = inspect.type_info(cls)

    def read(body: object) -> Answer[tuple[R, ...]] | Unusable:
        found = _opened(body)
        if no := _no(found):
            return no
        rows: object = found
        for name in (key, "data", key):
            if isinstance(rows, dict) and (inner := get(rows, name)) is not None:
                rows = inner
        if not isinstance(rows, list):
            what = f"it has {short(sorted(found))}" if isinstance(found, dict) else f"it is a {plain(found)}"
            return Unusable(f"no list of {key}; {what}")
        if by_name:
            rows = [{"name": row} if isinstance(row, str) else row for row in rows]
        faults = Faults()
        kept = read_items(kind, rows, key, faults)
        count = get(found, "count") if isinstance(found, dict) else None
        if isinstance(count, int) and is_whole(count) and count != len(rows):
            faults.append(f"count is {count}, and there are {len(rows)} {key}")
            faults.lost += max(0, count - len(rows))
        return _answer(kept, found, faults)

    return read


def one_of(cls: type[R], *wraps: str) -> Reader[R]:
    """A reader of one object: beside ``success``, under one of ``wraps`` or ``data``, or alone in an array."""

    def read(body: object) -> Answer[R] | Unusable:
        found = _opened(body)
        if no := _no(found):
            return no
        faults = Faults()
        row: R | None = None
        places = [found, *((get(found, name) for name in (*wraps, "data")) if isinstance(found, dict) else ())]
        for place in places:
            inner = place[0] if isinstance(place, list) and len(place) == 1 else place
            if isinstance(inner, dict):
                told = Faults()
                row = read_row(cls, inner, cls.__name__, told)
                if row is not None:
                    return _answer(row, found, told)
                faults.extend(told)
        return Unusable("; ".join(few(faults)) or f"it is a {plain(found)}, not an object")

    return read


def done(cls: type[R]) -> Reader[R]:
    """A reader of what a mutation answers: at least one field of ``cls``, or else ``success: true``."""
    inner = one_of(cls)

    def read(body: object) -> Answer[R] | Unusable:
        found = _opened(body)
        answer = inner(found)
        if isinstance(answer, Unusable) or any(value is not None for value in msgspec.structs.astuple(answer.value)):
            return answer
        nested = get(found, "data") if isinstance(found, dict) else None
        if isinstance(nested, dict):
            deeper = inner(nested)
            if isinstance(deeper, Unusable) or any(
                value is not None for value in msgspec.structs.astuple(deeper.value)
            ):
                return deeper
        names = ", ".join(field.encode_name for field in msgspec.structs.fields(cls))
        if isinstance(found, dict) and found.get("success") in (True, "true", "True"):
            return Answer(answer.value, (*answer.faults, f"success, but no {names}"), answer.lost, answer.warning)
        what = f"it has {short(sorted(found))}" if isinstance(found, dict) else f"it is a {plain(found)}"
        return Unusable(f"neither success nor {names}; {what}")

    return read


def read_cancelled(body: object) -> Answer[Cancelled] | Unusable:
    """Cancel answers with one ``orderId``, CancelOrders and CancelAllOrders with ``orderIds``."""
    found = _opened(body)
    if isinstance(found, dict) and get(found, "orderIds") is None and (one := get(found, "orderId")) is not None:
        found = {**found, "orderIds": [one]}
    return _cancelled(found)


def read_quotes(body: object) -> Answer[tuple[QuoteSnapshot, ...]] | Unusable:
    """GetQuote answers with one quote, or with a bare array for several instruments (documented)."""
    found = _opened(body)
    if isinstance(found, dict) and isinstance(get(found, "instrument"), str):
        found = {"quotes": [found]} if failure_of(found) is None else found
    return _quotes(found)


def read_bars(body: object) -> Answer[Bars] | Unusable:
    """GetBars; a bare array of bars is taken too."""
    found = _opened(body)
    answer = _bars({"bars": found} if isinstance(found, list) else found)
    if isinstance(answer, Unusable) or answer.value.count is None:
        return answer
    here = len(answer.value.bars) + answer.lost
    if answer.value.count == here:
        return answer
    told = f"count is {answer.value.count}, and there are {here} bars"
    missing = max(0, answer.value.count - here)
    return Answer(answer.value, (*answer.faults, told), answer.lost + missing, answer.warning)


read_accounts: Final = list_of(Account, "accounts")
"""ListAccounts: objects, or names alone (body inferred from what clients accept)."""
read_account: Final = one_of(Account, "account")
"""GetAccount: the account beside ``success``, its 31 items in ``item`` (documented)."""
read_snapshot: Final = one_of(Snapshot)
"""GetAccountSummary (documented)."""
read_watermarks: Final = one_of(Watermarks)
"""GetWatermarks, nested in ``data`` (documented)."""
read_positions: Final = list_of(Position, "positions")
"""ListPositions and GetAllPositions (documented)."""
read_position: Final = one_of(Position, "position")
"""GetPosition (documented; what it answers when flat is unknown)."""
read_closed: Final = done(ClosedPositions)
"""ClosePosition, Flatten and FlattenEverything (documented)."""
read_orders: Final = list_of(OrderRow, "orders")
"""ListOrders and GetAllOrders (inferred from GetOrder)."""
read_order: Final = one_of(OrderRow, "order")
"""GetOrder (documented, cut) and GetOrderStatus (inferred)."""
read_placed: Final = done(PlaceResult)
"""PlaceOrder, FlatPlace, Change, CancelReplace, Reverse and ReversePosition (documented)."""
read_bracket: Final = done(Bracketed)
"""CancelAndBracket (inferred)."""
read_executions: Final = list_of(Execution, "executions")
"""ListExecutions (documented) and GetExecutionsByOrderId (inferred)."""
read_execution: Final = one_of(Execution, "execution")
"""GetExecution (documented)."""
read_market: Final = one_of(MarketStatus)
"""MarketInfo (documented)."""
read_strategies: Final = list_of(StrategyRow, "strategies")
"""ListStrategies and ListAllStrategies (inferred)."""
read_strategy: Final = one_of(StrategyRow, "strategy")
"""GetStrategy (inferred)."""
read_strategy_closed: Final = done(StrategyClosed)
"""CloseStrategy (documented)."""
read_tv_positions: Final = list_of(TvPositions, "positions")
"""Tv_ListPositions: groups by login under ``data`` (observed)."""
read_tv_orders: Final = list_of(TvOrders, "orders")
"""Tv_ListOrders: groups by login under ``data`` (observed)."""

_cancelled: Final = done(Cancelled)
_quotes: Final = list_of(QuoteSnapshot, "quotes")
_bars: Final = one_of(Bars)
