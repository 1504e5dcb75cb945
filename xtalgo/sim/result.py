"""What came of a replay: counts, P&L, and the figures people compare.

Money figures rest on the exchange's executions at the time when they happened, not when they were seen. Open
positions are marked at the price they could be closed at (longs at the bid, shorts at the ask).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from attrs import define, frozen
from numpy.typing import NDArray

from xtalgo.engine.engine import Engine
from xtalgo.engine.ledger import MICRO, Book
from xtalgo.engine.office import Decision
from xtalgo.engine.orders import Anomaly, Order
from xtalgo.engine.pacing import PacingQueue
from xtalgo.engine.seat import Note
from xtalgo.engine.series import QuoteTable
from xtalgo.model.events import Fill
from xtalgo.model.instruments import Contract, ContractBook
from xtalgo.model.sessions import session_at
from xtalgo.model.types import MINUTE_NS, SECOND_NS, Ns, OrderStatus

__all__ = ["EquityCurve", "Result", "RoundTrip", "summarize"]

SESSIONS_A_YEAR: Final = 252
MINUTES_A_SESSION: Final = 1_380
DAILY_FROM: Final = 20
"""Trading days from which on the Sharpe ratio is sampled daily."""
PAUSE: Final[Ns] = 15 * MINUTE_NS
"""A gap between quotes longer than this is no time at which one could be in the market."""


class RoundTrip(msgspec.Struct, frozen=True):
    """One position from flat to flat; a reversal ends one and begins the next. ``pnl`` is dollars net of fees."""

    owner: str
    account: str
    instrument: str
    opened: Ns
    closed: Ns
    pnl: float


@frozen(eq=False)
class EquityCurve:
    """Net P&L in dollars at each stamp at which a traded instrument was quoted; equal-length columns."""

    ts: NDArray[np.int64]
    pnl: NDArray[np.float64]
    in_market: NDArray[np.bool_]


@frozen(eq=False)
class Result:
    """The outcome of one replay. ``realized_pnl`` and ``open_pnl`` are before fees, in dollars."""

    quotes: int
    orders: int
    fills: tuple[Fill, ...]
    round_trips: tuple[RoundTrip, ...]
    realized_pnl: float
    open_pnl: float
    fees: float
    max_drawdown: float
    """Largest fall of net P&L from an earlier height (zero at the start included), in dollars, positive."""
    sharpe: float | None
    sharpe_sampling: str
    profit_factor: float | None
    """Profit of the winning round trips over the loss of the losing ones; None without a loser."""
    win_rate: float | None
    """Share of round trips with a profit after fees; None without any."""
    time_in_market: float
    """Share of the quoted time at which any position was open; pauses of over 15 minutes do not count."""
    rpcs: int
    longest_token_wait: float
    """Seconds."""
    denials: dict[str, int]
    digest: str
    """SHA-256 over the ordered decisions and fills: two runs with the same digest decided the same."""
    instruments: tuple[str, ...]
    decisions: tuple[Decision, ...]
    """Every decision in order: when, what, and the facts."""
    order_book: tuple[Order, ...]
    notes: tuple[Note, ...]
    anomalies: tuple[Anomaly, ...]
    equity: EquityCurve
    remarks: tuple[str, ...] = ()
    """What a person should know about what the run rested on."""

    @property
    def net_pnl(self) -> float:
        """Realised and open P&L after fees."""
        return self.realized_pnl + self.open_pnl - self.fees


def digest_of(decisions: Sequence[Decision], fills: Sequence[Fill]) -> str:
    """SHA-256 over the JSON of the decisions, then of the fills, in order."""
    facts = [
        (fill.executed, fill.order_id, fill.instrument, fill.side, fill.quantity, fill.price, fill.fee)
        for fill in fills
    ]
    return hashlib.sha256(msgspec.json.encode((decisions, facts))).hexdigest()


def summarize(
    engine: Engine, executions: Sequence[Fill], queue: PacingQueue[Any], table: QuoteTable, contracts: ContractBook
) -> Result:
    """Work out the result of a replay that has ended."""
    trips, realized, books = _round_trips(engine, executions, contracts)
    fees = sum(round(fill.fee * MICRO) for fill in executions) / MICRO
    open_pnl = 0.0
    for book in books:
        quote = engine.feeds.of(book.contract.name).quote
        if quote is not None:
            open_pnl += book.money(book.open_pnl(_mark(book.contract, quote.bid, quote.ask, book.position)))
    curve = _equity(engine, executions, table, contracts)
    sharpe, sampling = _sharpe(curve)
    wins = [trip.pnl for trip in trips if trip.pnl > 0]
    losses = [trip.pnl for trip in trips if trip.pnl < 0]
    heights = np.maximum.accumulate(np.concatenate(([0.0], curve.pnl)))
    drawdown = float((heights[1:] - curve.pnl).max(initial=0.0))
    orders = engine.blotter.orders.values()
    return Result(
        quotes=len(table),
        orders=sum(order.status not in (OrderStatus.DENIED, OrderStatus.DRAFT) for order in orders),
        fills=tuple(executions),
        round_trips=tuple(trips),
        realized_pnl=realized,
        open_pnl=open_pnl,
        fees=fees,
        max_drawdown=drawdown,
        sharpe=sharpe,
        sharpe_sampling=sampling,
        profit_factor=sum(wins) / -sum(losses) if losses else None,
        win_rate=len(wins) / len(trips) if trips else None,
        time_in_market=_time_in_market(curve),
        rpcs=queue.sent,
        longest_token_wait=queue.longest_wait / SECOND_NS,
        denials=dict(sorted(engine.denials.items())),
        digest=digest_of(engine.decisions, executions),
        instruments=tuple(sorted({name for seat in engine.seats.values() for name in seat.instruments})),
        decisions=tuple(engine.decisions),
        order_book=tuple(orders),
        notes=tuple(engine.notes),
        anomalies=tuple(engine.blotter.anomalies),
        equity=curve,
        remarks=tuple(_remarks(engine)),
    )


def _remarks(engine: Engine) -> Iterator[str]:
    for text in engine.history.shortfalls():
        yield f"Before the start, {text}. Give earlier recordings with --history."
    if engine.history.is_used:
        yield "Bars of the venue's are made of recorded quotes here; their highs and lows miss what lay between quotes."


def _mark(contract: Contract, bid: float, ask: float, position: int) -> int:
    low, high = sorted((bid, ask))
    return contract.to_ticks(low if position > 0 else high)


@define(eq=False)
class _Episode:
    """One position from flat on: its fills so far, in exact ticks."""

    opened: Ns
    row: int
    """Which execution opened it."""
    first: int
    """Signed contracts of that execution which opened it; the rest closed the position before."""
    position: int = 0
    ticks: int = 0
    """What came in less what went out, in ticks times contracts: the P&L once the position is flat."""
    fees: float = 0.0


def _round_trips(
    engine: Engine, executions: Sequence[Fill], contracts: ContractBook
) -> tuple[list[RoundTrip], float, list[Book]]:
    """The round trips; realised P&L in dollars before fees; the books of positions that are still open."""
    orders = engine.blotter.orders
    running: dict[tuple[str, str, str], _Episode] = {}
    trips: list[RoundTrip] = []
    realized = 0.0
    for row, fill in enumerate(executions):
        key = (orders[fill.order_id].owner, fill.account, fill.instrument)
        contract = contracts.contract(fill.instrument)
        ticks = contract.to_ticks(fill.price)
        change, fee = fill.side * fill.quantity, fill.fee
        episode = running.get(key)
        if episode is not None and change * episode.position < 0 and abs(change) >= abs(episode.position):
            # A fill that reverses counts in two parts, so that each round trip bears its own fees.
            part = -episode.position
            gross = (episode.ticks - part * ticks) * contract.tick_value
            net = gross - episode.fees - fee * part / change
            realized += gross
            trips.append(RoundTrip(*key, episode.opened, fill.executed, net))
            del running[key]
            change, fee = change - part, fee - fee * part / change
            episode = None
        if change:
            if episode is None:
                episode = running[key] = _Episode(fill.executed, row, change)
            episode.position += change
            episode.ticks -= change * ticks
            episode.fees += fee
    books = [_book(key, episode, orders, executions, contracts) for key, episode in running.items()]
    return trips, realized + sum(book.money(book.realized) for book in books), books


def _book(
    key: tuple[str, str, str],
    episode: _Episode,
    orders: Mapping[str, Order],
    executions: Sequence[Fill],
    contracts: ContractBook,
) -> Book:
    """The book of a position that is still open, from the execution on that opened it."""
    contract = contracts.contract(key[2])
    book = Book(contract)
    change = episode.first
    for fill in executions[episode.row :]:
        if (orders[fill.order_id].owner, fill.account, fill.instrument) == key:
            book.trade(change or fill.side * fill.quantity, contract.to_ticks(fill.price))
            change = 0
    return book


def _equity(engine: Engine, executions: Sequence[Fill], table: QuoteTable, contracts: ContractBook) -> EquityCurve:
    """Each book is marked at its own side, at the last quote of each stamp: what happened at a stamp is in it."""
    books: dict[tuple[str, str, str], list[Fill]] = {}
    for fill in executions:
        key = (engine.blotter.orders[fill.order_id].owner, fill.account, fill.instrument)
        books.setdefault(key, []).append(fill)
    if not books:
        return EquityCurve(np.empty(0, np.int64), np.empty(0), np.empty(0, np.bool_))
    ts = _stamps(table, {instrument for _, _, instrument in books})
    pnl = np.zeros(len(ts))
    in_market = np.zeros(len(ts), np.bool_)
    for (_, _, instrument), fills in books.items():
        contract = contracts.contract(instrument)
        changes = np.array([0] + [fill.side * fill.quantity for fill in fills], np.int64)
        ticks = np.append(0, contract.ticks_of(np.array([fill.price for fill in fills])))
        paid = np.cumsum([0.0] + [fill.fee for fill in fills])
        position, cost = np.cumsum(changes), np.cumsum(changes * ticks)
        rows = table.rows(instrument)
        newest = np.searchsorted(table.ts[rows], ts, side="right") - 1  # -1: not quoted yet, and so not traded
        bid, ask = table.bid[rows][newest], table.ask[rows][newest]
        done = np.searchsorted(np.array([fill.executed for fill in fills], np.int64), ts, side="right")
        held = position[done]
        mark = contract.ticks_of(np.where(held > 0, np.minimum(bid, ask), np.maximum(bid, ask)))
        pnl += (held * mark - cost[done]) * contract.tick_value - paid[done]
        in_market |= held != 0
    return EquityCurve(ts, pnl, in_market)


def _stamps(table: QuoteTable, names: set[str]) -> NDArray[np.int64]:
    """The stamps at which any of some instruments was quoted, ascending, each once."""
    ts: NDArray[np.int64] = table.ts[table.order]
    if len(names) < len(table.instruments):
        numbers = [table.instruments.index(name) for name in names]
        ts = ts[np.isin(table.codes(0, len(table)), numbers)]
    last_of_stamp = np.append(np.diff(ts) != 0, True)
    return np.asarray(ts[last_of_stamp], dtype=np.int64)


def _sharpe(curve: EquityCurve) -> tuple[float | None, str]:
    """Mean over standard deviation of P&L changes, annualised; daily from 20 trading days on, else by minute."""
    if not len(curve.ts):
        return None, "no trades"
    hours = curve.ts // (3_600 * SECOND_NS)
    first_of_hour = np.flatnonzero(np.diff(hours, prepend=hours[0] - 1))
    days = [session_at(int(ts)).day.toordinal() for ts in curve.ts[first_of_hour]]
    by_row = np.repeat(days, np.diff(np.append(first_of_hour, len(curve.ts))))
    if len(set(days)) >= DAILY_FROM:
        periods, sampling, a_year = by_row, "daily P&L", SESSIONS_A_YEAR
    else:
        periods, sampling = curve.ts // MINUTE_NS, "1-minute P&L"
        a_year = SESSIONS_A_YEAR * MINUTES_A_SESSION
    ends = np.append(np.flatnonzero(np.diff(periods)), len(periods) - 1)
    changes = np.diff(curve.pnl[ends], prepend=0.0)
    sampling = f"{sampling}, annualised by sqrt({a_year:,})"
    if len(changes) < 2:
        return None, sampling
    spread = float(changes.std(ddof=1))
    if not spread > 0:
        return None, sampling
    return float(changes.mean()) / spread * math.sqrt(a_year), sampling


def _time_in_market(curve: EquityCurve) -> float:
    if len(curve.ts) < 2:
        return 0.0
    spans = np.diff(curve.ts)
    counted = spans <= PAUSE
    total = int(spans[counted].sum())
    return int(spans[counted & curve.in_market[:-1]].sum()) / total if total else 0.0
