"""What a run says of itself: settings and recording before it, results after it, as tables, JSON and CSV."""

from __future__ import annotations

import csv
import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, TextIO, cast

import attrs
import numpy as np
from attrs import frozen
from rich.table import Table

from xtalgo.app.config import Settings
from xtalgo.app.console import Row, Screen
from xtalgo.engine.signals import SignalStrategy
from xtalgo.engine.strategy import Strategy
from xtalgo.model.events import Fill
from xtalgo.model.instruments import Contract
from xtalgo.model.sessions import NEW_YORK, iso, session_at, to_datetime
from xtalgo.model.types import HOUR_NS, MILLISECOND_NS, SECOND_NS, Ns, OrderStatus
from xtalgo.sim.result import Result

if TYPE_CHECKING:  # it brings pyarrow along, which takes a third of a second to import
    from xtalgo.data.gaps import QuoteGap
    from xtalgo.data.quotes import FileInfo, Recording

__all__ = [
    "FILL_COLUMNS",
    "JSON_KEYS",
    "Played",
    "as_json",
    "gap_lines",
    "limit_rows",
    "model_rows",
    "money",
    "show_before",
    "show_result",
    "strategy_line",
    "write_fills",
]

FILL_COLUMNS: Final = ("ts", "order_id", "instrument", "side", "quantity", "price", "fee")
"""Header of the CSV file of fills."""

JSON_KEYS: Final = (
    "quotes",
    "skipped",
    "gaps",
    "orders",
    "fills",
    "round_trips",
    "realized_pnl",
    "open_pnl",
    "fees",
    "max_drawdown",
    "sharpe",
    "profit_factor",
    "win_rate",
    "time_in_market",
    "rpcs",
    "longest_token_wait",
    "denials",
    "seconds",
    "quotes_per_second",
    "digest",
)
"""Keys of the JSON object, in this order."""

_FEW = 8
"""Files, notes and anomalies that are listed before the rest is only counted."""


@frozen(eq=False)
class Played:
    """A recording, the strategies to be played over it (each with its file), and under which settings."""

    settings: Settings
    recording: Recording
    strategies: Sequence[tuple[str, Strategy]]
    pins: Mapping[str, str]
    """Instruments as the strategies name them, and the recording's own names they stand for."""
    as_live: bool = False
    """Whether it is played through the live client and a simulated server."""
    history: Recording | None = None
    """Quotes from before the recording, of which bars are made."""

    @property
    def files(self) -> Sequence[FileInfo]:
        """Every file of quotes that it rests on."""
        return self.recording.files if self.history is None else (*self.recording.files, *self.history.files)


# --- before the run ----------------------------------------------------------------------------------------------


def show_before(screen: Screen, played: Played) -> None:
    """The settings in force, and what there is to know of the recording."""
    screen.section("Settings", _setting_rows(played))
    screen.section("Recording", _recording_rows(played))
    told = [file.synthetic for file in played.files]
    if any(told):
        which = "These quotes are" if all(told) else f"{sum(map(bool, told))} of the {len(told)} files are"
        screen.text(f"{which} SYNTHETIC: made up by a program. Results on them say nothing about a market.", "bold")
        screen.text("")


def _setting_rows(played: Played) -> list[Row]:
    settings = played.settings
    rows = [("strategy", strategy_line(file, strategy, played.pins)) for file, strategy in played.strategies]
    models = model_rows(settings, _commission(played))
    if played.as_live:
        seen = ("as live", "through the live client and a simulated server; fills are seen when polls find them")
    else:
        span = _duration(settings.replay.latency.report)
        seen = _row(settings, "report latency", "report_latency", f"{span} until a fill is seen")
    return rows + models[:1] + [seen] + models[1:] + limit_rows(settings, settings.replay.accounts)


def _row(settings: Settings, label: str, name: str, value: str) -> Row:
    """A setting with where it came from."""
    source = settings.sources.get(name)
    return label, value + (f"  [{source}]" if source else "")


def model_rows(settings: Settings, commission: str) -> list[Row]:
    """How orders fill, where it is us who fill them."""
    replay, fills = settings.replay, settings.replay.fills
    entry = f"{_duration(replay.latency.entry)} until an order is at the exchange"
    partial = f"a partial fill {'cancels' if fills.oco == 'cancel' else 'shrinks'} the others"
    return [
        _row(settings, "entry latency", "entry_latency", entry),
        _row(settings, "slippage", "slippage", f"{_count(fills.slippage, 'tick')} worse, market and stop orders"),
        _row(settings, "commission", "commission", commission),
        _row(settings, "limit orders", "touch", f"fill when {'touched' if fills.touch else 'traded through'}"),
        _row(settings, "stop orders", "stop_trigger", f"triggered by {_STOP_TRIGGERS[fills.stop_trigger]}"),
        _row(settings, "OCO orders", "oco", partial),
    ]


def limit_rows(settings: Settings, accounts: Sequence[str]) -> list[Row]:
    """Risk limits, accounts, and the file that settings came from."""
    limits = settings.replay.limits
    rows = []
    for item in attrs.fields(type(limits)):
        value = getattr(limits, item.name)
        if value is not None:
            text = _LIMITS.get(item.name, "{:,}").format(value)
            rows.append(_row(settings, item.name.replace("_", " "), item.name, text))
    if limits == type(limits)():
        rows.append(("risk limits", "none"))
    rows.append(_row(settings, "account" if len(accounts) == 1 else "accounts", "accounts", ", ".join(accounts)))
    if settings.file is not None:
        rows.append(("settings file", str(settings.file)))
    return rows


_STOP_TRIGGERS = {
    "either": "a new trade or the far side of the quote",
    "last": "a new trade",
    "quote": "the far side of the quote",
}
_LIMITS = {
    "daily_loss": "${:,.2f} a strategy and account",
    "price_collar": "{:,} ticks",
    "account_daily_loss": "${:,.2f} an account",
    "trailing_drawdown": "${:,.2f} an account",
    "drawdown_basis": "{}",
    "max_contracts": "{:,} an account",
    "max_positions": "{:,} an account",
    "trading_hours": "{}",
    "flatten_by": "{}",
    "naked_after": "{:g} s",
    "max_quote_age": "{:g} s",
}


def strategy_line(file: str, strategy: Strategy, pins: Mapping[str, str]) -> str:
    """A strategy with its parameters and file; instruments with what they stand for, where that is known."""
    values = [
        (item.name, getattr(strategy, item.name))
        for item in attrs.fields(cast(Any, type(strategy)))
        if not item.name.startswith("_")
    ]

    def shown(value: Any) -> str:
        if isinstance(value, tuple):
            return f"({', '.join(map(shown, value))})"
        text = str(value) if not isinstance(value, str) or value.isalnum() else repr(value)
        return f"{text} -> {pins[value]}" if isinstance(value, str) and pins.get(value, value) != value else text

    listing = ", ".join(f"{name}={shown(value)}" for name, value in values)
    return f"{type(strategy).__name__}({listing}) in {file}"


def _commission(played: Played) -> str:
    fees, contracts = played.settings.replay.fees, played.settings.contracts
    if fees.commission is not None:
        return f"{money(fees.commission)} a contract and side"
    roots: dict[str, Contract] = {}
    for name in sorted(set(played.pins.values()) or played.recording.table.instruments):
        contract = contracts.contract(name)
        roots.setdefault(contract.root, contract)
    listing = ", ".join(f"{root} {money(fees.per_contract(contract))}" for root, contract in roots.items())
    return f"{listing} a contract and side, assumed by root; --commission sets yours"


def _recording_rows(played: Played) -> list[Row]:
    recording = played.recording
    table, files = recording.table, recording.files
    first, last = table.stamps(0, 1)[0], table.stamps(len(table) - 1, len(table))[0]
    hours = table.ts // HOUR_NS  # sessions begin and end on the hour
    days = len({session_at(hour * HOUR_NS).day for hour in hours[np.flatnonzero(np.diff(hours, prepend=-1))].tolist()})
    counts = [f"{name} {_rows(table.rows(name)):,}" for name in table.instruments]
    rows = [("file" if len(files) == 1 else "files", line) for line in _some([file.path for file in files])]
    rows = [rows[0]] + [("", line) for _, line in rows[1:]]
    rows += [
        (
            "quotes",
            f"{len(table):,}" + (f" ({', '.join(counts)})" if len(counts) > 1 else f" of {table.instruments[0]}"),
        ),
        ("span", f"{_span(first, last, 'UTC')} UTC"),
        ("", f"{_span(first, last, NEW_YORK)} New York, {_count(days, 'trading day')}"),
    ]
    if played.history is not None:
        earlier = played.history.table
        first, last = earlier.stamps(0, 1)[0], earlier.stamps(len(earlier) - 1, len(earlier))[0]
        rows.append(("history", f"{_count(len(earlier), 'quote')} from before, to make bars of; none is traded"))
        rows.append(("", f"{_span(first, last, 'UTC')} UTC"))
    pinned = [f"{name} -> {found}" for name, found in played.pins.items() if name != found]
    if pinned:
        rows.append(("pinned", ", ".join(pinned)))
    rows.append(("skipped rows", _listed(recording.skipped) or "none"))
    if recording.crossed:
        rows.append(
            ("crossed", f"{_count(recording.crossed, 'quote')} with the ask below the bid; nothing fills on them")
        )
    if recording.off_tick:
        rows.append(("off the grid", f"{_count(recording.off_tick, 'price')} between ticks, rounded to the nearest"))
    if recording.ignored_columns:
        rows.append(("ignored", f"columns {', '.join(recording.ignored_columns)}"))
    rows += _gap_rows(recording.gaps)
    sources = dict.fromkeys(file.source for file in files if file.source)
    if sources:
        rows.append(("source", ", ".join(sources)))
    return rows


def _gap_rows(gaps: Sequence[QuoteGap] | None) -> list[Row]:
    """What is missing, by the word of the files; nothing where they have none."""
    if gaps is None:
        return []
    lines = gap_lines(gaps)
    if not lines:
        return [("gaps", "none, by the word of the files")]
    first, *rest = [f"{len(lines):,}, in which nothing is filled in, UTC:", *_some(lines)]
    return [("gaps", first), *(("", line) for line in rest)]


def gap_lines(gaps: Sequence[QuoteGap]) -> list[str]:
    """A line for each gap, in order of time; instruments that have the same one share it."""
    shared: dict[tuple[Ns, Ns, str], list[str]] = {}
    for gap in gaps:
        shared.setdefault((gap.start, gap.end, gap.why), []).append(gap.instrument)
    lines = []
    for (start, end, why), names in sorted(shared.items()):
        first, last = to_datetime(start), to_datetime(end)
        till = f"{last:%H:%M:%S}" if first.date() == last.date() else f"{last:%Y-%m-%d %H:%M:%S}"
        span = f"{first:%Y-%m-%d %H:%M:%S}-{till} ({(end - start) / SECOND_NS:,.1f} s)"
        lines.append(f"{', '.join(names)} {span} {why}")
    return lines


def _rows(rows: slice) -> int:
    return int(rows.stop - rows.start)


def _some(lines: Sequence[str]) -> list[str]:
    if len(lines) <= _FEW:
        return list(lines)
    return [*lines[: _FEW - 1], f"and {len(lines) - _FEW + 1:,} more"]


def _span(first: Ns, last: Ns, zone: str) -> str:
    return f"{to_datetime(first, zone):%Y-%m-%d %H:%M:%S} to {to_datetime(last, zone):%Y-%m-%d %H:%M:%S}"


# --- after the run -----------------------------------------------------------------------------------------------


def show_result(screen: Screen, played: Played, result: Result, seconds: float, *, table: bool = True) -> None:
    """The table of results (where wanted), what strategies noted, and what was odd."""
    if table:
        screen.text("Results", "bold")
        screen.show(_result_table(result, seconds))
        screen.text("")
        screen.text(f"  digest  {result.digest}")
        screen.text("")
    for remark in result.remarks:
        screen.text(remark, "yellow")
    if result.remarks:
        screen.text("")
    if not result.fills:
        screen.text(_no_trades(played, result), "bold yellow")
        screen.text("")
    notes = [f"{_moment(note.ts)} {note.strategy}: {note.text}{_facts(note.facts)}" for note in result.notes]
    anomalies = [f"{_moment(one.ts)} {one.order_id}: {one.text}" for one in result.anomalies]
    for title, lines in (("Notes", notes), ("Anomalies: what the venue said that did not fit", anomalies)):
        if lines:
            screen.text(title, "bold")
            for line in _some(lines):
                screen.text(f"  {line}")
            screen.text("")


def _result_table(result: Result, seconds: float) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(overflow="fold", style="dim")
    states = Counter(str(order.status) for order in result.order_book if order.status not in _UNSENT)
    for label, value, remark in (
        ("quotes", f"{result.quotes:,}", f"{result.quotes / seconds:,.0f} a second, {seconds:.2f} s"),
        ("orders", f"{result.orders:,}", _listed(dict(states.most_common()))),
        ("fills", f"{len(result.fills):,}", f"{sum(fill.quantity for fill in result.fills):,} contracts"),
        ("round trips", f"{len(result.round_trips):,}", "positions from flat to flat"),
        ("", "", ""),
        ("realised P&L", money(result.realized_pnl), "before fees"),
        ("open P&L", money(result.open_pnl), "before fees, at the price it could be closed at"),
        ("fees", money(result.fees), ""),
        ("net P&L", money(result.net_pnl), "realised and open P&L less fees"),
        ("max drawdown", money(result.max_drawdown), "of net P&L"),
        ("", "", ""),
        ("Sharpe ratio", _ratio(result.sharpe), result.sharpe_sampling),
        ("profit factor", _ratio(result.profit_factor), "winning over losing round trips, after fees"),
        ("win rate", _share(result.win_rate), "of round trips, after fees"),
        ("time in market", _share(result.time_in_market), ""),
        ("", "", ""),
        ("RPCs used", f"{result.rpcs:,}", "requests to the venue, at most 180 a minute"),
        ("longest wait", f"{result.longest_token_wait:.2f} s", "for a token to send a request"),
        ("denials", f"{sum(result.denials.values()):,}", _listed(result.denials)),
    ):
        table.add_row("  " + label, value, remark)
    return table


_UNSENT = (OrderStatus.DRAFT, OrderStatus.DENIED)


def _no_trades(played: Played, result: Result) -> str:
    """Why there may be no trades, as far as one can see from here."""
    if result.orders:
        reasons = Counter(
            f"{order.status}: {order.reason}" if order.reason else order.status for order in result.order_book
        )
        ends = "; ".join(f"{count:,} {text}" for text, count in reasons.most_common(3))
        return f"No trades: {_count(result.orders, 'order')} went out and none filled ({ends})."
    if result.denials:
        return f"No trades: the risk limits denied every order ({_listed(result.denials)})."
    heard = {name: _rows(played.recording.table.rows(name)) for name in result.instruments}
    listing = ", ".join(f"{name} ({count:,} quotes)" for name, count in heard.items()) or "no instrument at all"
    for _, strategy in played.strategies:
        if isinstance(strategy, SignalStrategy) and strategy.lookback > max(heard.values(), default=0):
            return (
                f"No trades: {type(strategy).__name__} looks back {strategy.lookback:,} quotes, more than the "
                f"recording has of {listing}. Use a longer recording or a shorter lookback."
            )
    return (
        f"No trades: no order was placed. The strategies heard {listing}; do their parameters fit these quotes, and "
        "are there enough of them to warm up?"
    )


def as_json(recording: Recording, result: Result, seconds: float) -> str:
    """The result as one JSON object on one line: dollars to the cent, null for what is not defined."""
    values: dict[str, Any] = {
        "quotes": result.quotes,
        "skipped": dict(recording.skipped),
        "gaps": None
        if recording.gaps is None
        else [{"instrument": gap.instrument, **gap.facts} for gap in recording.gaps],
        "orders": result.orders,
        "fills": len(result.fills),
        "round_trips": len(result.round_trips),
        "realized_pnl": _rounded(result.realized_pnl, 2),
        "open_pnl": _rounded(result.open_pnl, 2),
        "fees": _rounded(result.fees, 2),
        "max_drawdown": _rounded(result.max_drawdown, 2),
        "sharpe": _rounded(result.sharpe, 6),
        "profit_factor": _rounded(result.profit_factor, 6),
        "win_rate": _rounded(result.win_rate, 6),
        "time_in_market": _rounded(result.time_in_market, 6),
        "rpcs": result.rpcs,
        "longest_token_wait": _rounded(result.longest_token_wait, 9),
        "denials": {str(reason): count for reason, count in result.denials.items()},
        "seconds": _rounded(seconds, 6),
        "quotes_per_second": _rounded(result.quotes / seconds, 1),
        "digest": result.digest,
    }
    return json.dumps({key: values[key] for key in JSON_KEYS}, allow_nan=False)


def write_fills(file: TextIO, fills: Iterable[Fill]) -> None:
    """Fills as CSV, in the order in which they happened: UTF-8, lines end in LF, ``ts`` is when it happened."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(FILL_COLUMNS)
    for fill in fills:
        side, fee = fill.side.name, _rounded(fill.fee, 6)
        writer.writerow((iso(fill.executed), fill.order_id, fill.instrument, side, fill.quantity, fill.price, fee))


# --- values in words ---------------------------------------------------------------------------------------------


def _rounded(value: float | None, digits: int) -> float | None:
    if value is None or not math.isfinite(value):
        return None
    return round(value, digits) + 0.0  # no minus in front of a zero


def money(value: float) -> str:
    """Dollars and cents."""
    cents = round(value, 2) + 0.0
    return f"-${-cents:,.2f}" if cents < 0 else f"${cents:,.2f}"


def _ratio(value: float | None) -> str:
    return "-" if value is None else f"{value:,.2f}"


def _share(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _count(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {reason}" for reason, count in counts.items())


def _facts(facts: Mapping[str, Any]) -> str:
    return "".join(f" {name}={value}" for name, value in facts.items())


def _duration(span: Ns) -> str:
    return f"{span / MILLISECOND_NS:,.12g} ms"


def _moment(ts: Ns) -> str:
    return f"{to_datetime(ts):%Y-%m-%d %H:%M:%S}"
