"""Rows of a journal and the values they stand for.

What is written is exactly what SQLite gives back, so that the sums agree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias, cast

import msgspec

from xtalgo.data.journal_codec import decode_command, decode_event, printable
from xtalgo.data.journal_header import Header, StrategySource
from xtalgo.data.journal_schema import TABLES, Column, Row
from xtalgo.engine.orders import Order
from xtalgo.model.commands import Mutation
from xtalgo.model.errors import LocalProtocolError
from xtalgo.model.events import Event, Fill
from xtalgo.model.types import NEVER, Ns, OrderStatus, OrderType, Role, Side, TimeInForce

__all__ = [
    "Decided",
    "Gap",
    "Input",
    "Intent",
    "Mark",
    "Outcome",
    "Told",
    "Turn",
    "fill_of",
    "fill_row",
    "header_of",
    "order_of",
    "order_row",
    "real",
    "whole",
]


def whole(value: Any) -> int | None:
    """A whole number of 64 bits. Raises LocalProtocolError for a larger one."""
    if value is None:
        return None
    number = int(value)
    if not -NEVER <= number <= NEVER:
        raise LocalProtocolError(f"{number} is too large for the journal; whole numbers have 64 bits there")
    return number


def real(value: Any) -> float | None:
    """A number as SQLite gives it back: no negative zero, and None for what is not a number."""
    return None if value is None or value != value else float(value) + 0.0


def _plain(value: Any) -> str | None:
    return None if value is None else printable(str(value))


Takers: TypeAlias = list[tuple[str, Callable[[Any], Any]]]

_TAKE: Final[dict[str, Callable[[Any], Any]]] = {"INTEGER": whole, "REAL": real, "TEXT": _plain}


def _taker(columns: Sequence[Column]) -> Takers:
    return [(column.name, _TAKE[column.type]) for column in columns]


_ORDER: Final = _taker(TABLES["order_states"].columns[1:])
_FILL: Final = _taker(TABLES["fills"].columns[1:])


def fill_row(fill: Fill, hide: Callable[[str], str] = str) -> Row:
    """A fill without its key; texts by way of ``hide``."""
    return _row(fill, _FILL, hide)


def order_row(order: Order, hide: Callable[[str], str] = str) -> Row:
    """An order's state without its key."""
    return _row(order, _ORDER, hide)


def _row(item: Any, takers: Takers, hide: Callable[[str], str]) -> Row:
    row = (take(getattr(item, name)) for name, take in takers)
    return tuple(hide(value) if isinstance(value, str) else value for value in row)


class Input(msgspec.Struct, frozen=True):
    """Something that came in."""

    number: int
    ts: Ns
    kind: str
    text: str | bytes


class Turn(msgspec.Struct, frozen=True):
    """An engine input; ``data`` is its JSON."""

    number: int
    ts: Ns
    data: str

    @property
    def event(self) -> Event:
        """The event itself. Raises DataError when this version doesn't know it."""
        return decode_event(self.data)


class Decided(msgspec.Struct, frozen=True):
    """A decision of a turn; ``data`` is its JSON, ``hash`` the chain's up to here."""

    number: int
    turn: int
    data: str
    hash: str

    @property
    def decision(self) -> tuple[int | float | str | None, ...]:
        """The decision itself."""
        return tuple(msgspec.json.decode(self.data))


class Intent(msgspec.Struct, frozen=True):
    """A mutation that was about to leave."""

    number: int
    ts: Ns | None
    order_id: str
    data: str

    @property
    def command(self) -> Mutation:
        """The command itself."""
        return cast(Mutation, decode_command(self.data))


class Outcome(msgspec.Struct, frozen=True):
    """What became of a mutation."""

    number: int
    ts: Ns
    order_id: str
    kind: str
    text: str


class Mark(msgspec.Struct, frozen=True):
    """A figure at a time, in dollars."""

    number: int
    ts: Ns
    account: str
    kind: str
    value: float | None


class Told(msgspec.Struct, frozen=True):
    """A line that people were shown."""

    number: int
    ts: Ns
    text: str


class Gap(msgspec.Struct, frozen=True):
    """Rows of a table that were never written: the file could not be, and memory was full."""

    number: int
    name: str
    first: int
    last: int
    count: int


def fill_of(row: Row) -> Fill:
    """The fill of a row."""
    _, ts, order_id, execution_id, account, instrument, side, quantity, price, fee, executed = row
    return Fill(ts, order_id, execution_id, account, instrument, Side(side), quantity, price, fee, executed)


def order_of(row: Row, fills: tuple[Fill, ...] = ()) -> Order:
    """The order of a row, with its fills."""
    facts = dict(zip((column.name for column in TABLES["order_states"].columns[1:]), row[1:], strict=True))
    for name, kind in _KINDS.items():
        facts[name] = kind(facts[name])
    return Order(**facts, fills=fills)


_KINDS: Final[Mapping[str, type]] = {
    "side": Side,
    "type": OrderType,
    "tif": TimeInForce,
    "role": Role,
    "status": OrderStatus,
    "is_done": bool,
    "pending_cancel": bool,
    "pending_change": bool,
}


def header_of(row: Row, strategies: tuple[StrategySource, ...]) -> Header:
    """The head of a row of ``runs``, with its strategies."""
    _, run, created, version, python, platform, settings, accounts = row
    names = tuple(msgspec.json.decode(accounts, type=list[str]))
    return Header(run, created, version, python, platform, settings, names, strategies)
