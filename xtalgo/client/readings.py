"""Questions for bars and account figures as calls, and what their answers say."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, Final

from xtalgo.engine.periods import span_at, spans_back, venue_span
from xtalgo.model.commands import BarsQuery, Figures, FiguresQuery, Read
from xtalgo.model.events import AccountItems, Bar, BarsSeen, ItemsSeen, Unread, Watermarks, WatermarksSeen
from xtalgo.model.sessions import session_at
from xtalgo.model.types import HOUR_NS, MINUTE_NS, Ns
from xtalgo.protocol import market, replies, rows
from xtalgo.protocol.choices import BarLabel
from xtalgo.protocol.orders import Call
from xtalgo.protocol.replies import Answer
from xtalgo.protocol.times import utc_text

__all__ = ["call_for_read", "read"]


MOST: Final = 5_000
"""Bars in one answer (the default, documented)."""

_SESSION: Final = 23 * HOUR_NS


# --- asking ----------------------------------------------------------------------------------------------------------


def call_for_read(query: Read, now: Ns) -> Call:
    """The call that a question is."""
    if isinstance(query, FiguresQuery):
        return Call("GetAccount" if query.about is Figures.ITEMS else "GetWatermarks", {"account": query.account})
    span = venue_span(query.period)
    # Half as far again and a session more: quiet spans have no bar, and a holiday has few. Only the newest come.
    spans = query.count + query.count // 2 + 2 + (1 if span is None else -(-_SESSION // span))
    args: dict[str, Any] = {
        "instrument": query.instrument,
        **_kind(span),
        "from": utc_text(spans_back(now, span, spans), digits=0),
        "limit": min(query.count + 1, MOST),  # one may still be growing
    }
    return Call("GetBars", args)


def _kind(span: Ns | None) -> dict[str, Any]:
    if span is None:
        return {"periodType": "day", "period": 1}
    return {"periodType": "minute", "period": span // MINUTE_NS}


# --- hearing ---------------------------------------------------------------------------------------------------------


def read(
    query: Read, answer: Answer[Any], now: Ns, name_of: Callable[[str], str | None], label: BarLabel = BarLabel.END
) -> BarsSeen | ItemsSeen | WatermarksSeen | Unread:
    """What an answer says; ``Unread`` where it is about something else than what was asked."""
    if isinstance(query, BarsQuery):
        return _bars(query, answer.value, now, name_of, label)
    told = answer.value.name if isinstance(answer.value, rows.Account) else answer.value.account
    if told.casefold() != query.account.casefold():
        return Unread(now, query, f"it is about the account {told!r}")
    if isinstance(answer.value, rows.Account):
        return _items(query, answer.value, now)
    return WatermarksSeen(now, query, _marks(query, answer.value, now))


def _bars(
    query: BarsQuery, told: market.Bars, now: Ns, name_of: Callable[[str], str | None], label: BarLabel
) -> BarsSeen | Unread:
    span = venue_span(query.period)
    kind = _kind(span)
    if told.instrument is not None and name_of(told.instrument) != query.instrument:
        return Unread(now, query, f"its bars are of {told.instrument!r}")
    if told.period_type is not None and told.period_type.casefold() != kind["periodType"]:
        return Unread(now, query, f"its bars are of the period type {told.period_type!r}")
    if told.period is not None and told.period != kind["period"]:
        return Unread(now, query, f"its bars are of the period {told.period!r}")
    bars = (_bar(query, row, span, label) for row in told.bars)
    return BarsSeen(now, query, tuple(bar for bar in bars if bar is not None))


def _bar(query: BarsQuery, row: market.BarRow, span: Ns | None, label: BarLabel) -> Bar | None:
    at = row.labelled
    if at is None or not is_sound(row):
        return None
    if span is None:
        # Some daily bars are named by a date alone: its midnight lies in the session of that name nearly everywhere.
        session = session_at(at - 1 if label is BarLabel.END else at)
        start, end = session.open, session.close
    elif label is BarLabel.END:
        start, end = span_at(at - 1, span)
        if end != at:  # other trading hours than ours: its own word counts
            start, end = at - span, at
    else:
        start, end = span_at(at, span)
        if start != at:
            start, end = at, at + span
    volume = max(0, row.volume or 0)
    return Bar(query.instrument, query.period, start, end, row.open, row.high, row.low, row.close, volume, 0, "venue")


def is_sound(row: market.BarRow) -> bool:
    """Whether its prices can be those of one bar."""
    prices = (row.open, row.high, row.low, row.close)
    return all(map(math.isfinite, prices)) and row.low == min(prices) and row.high == max(prices)


def _items(query: FiguresQuery, account: rows.Account, now: Ns) -> ItemsSeen | Unread:
    if account.item is None:
        return Unread(now, query, "it has no account items")
    told = ((name, getattr(account.item, name)) for name in rows.AccountItems.__struct_fields__)
    items = {name: value for name, value in told if value is not None and math.isfinite(value)}
    figures = AccountItems(
        now,
        query.account,
        items.get("cash_value"),
        items.get("buying_power"),
        items.get("net_liquidation"),
        items.get("realized_profit_loss"),
        items.get("unrealized_profit_loss"),
        items,
    )
    return ItemsSeen(now, query, figures)


def _marks(query: FiguresQuery, told: replies.Watermarks, now: Ns) -> Watermarks:
    highs, stats = told.watermarks or rows.WatermarkHighs(), told.stats or rows.WatermarkStats()

    def high(name: str) -> float | None:
        value = getattr(highs, name)
        return _finite(getattr(stats, name) if value is None else value)

    return Watermarks(
        now,
        query.account,
        high("pnlhigh"),
        high("netliqhigh"),
        high("unrealhigh"),
        _finite(stats.pnl),
        _finite(stats.total),
        _finite(stats.unrealized),
        _finite(stats.netliq),
        stats.poscount,
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
