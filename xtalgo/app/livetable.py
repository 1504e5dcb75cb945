"""The live table: how a run stands, redrawn below the lines of what happened, on a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import TextIO

from attrs import frozen
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from xtalgo.app.monitor import open_pnl, order_text
from xtalgo.app.news import News, Writer, plain_line
from xtalgo.app.report import money
from xtalgo.engine.engine import Engine
from xtalgo.engine.ledger import MICRO
from xtalgo.live.link import LinkState
from xtalgo.live.session import Session
from xtalgo.model.types import SECOND_NS, Ns

__all__ = ["TableDisplay", "View", "draw", "view_of"]

_ROWS = 6
"""Most rows of one kind; the rest is counted."""

_OLD: Ns = 5 * SECOND_NS
"""Quotes older than this are marked."""


@frozen
class View:
    """How a run stands, in words: made at once, drawn whenever the terminal takes it."""

    title: str
    link: tuple[str, str]
    """In words, and a style."""
    figures: str
    quotes: tuple[tuple[str, ...], ...] = ()
    positions: tuple[tuple[str, ...], ...] = ()
    orders: tuple[str, ...] = ()
    accounts: tuple[str, ...] = ()


class TableDisplay:
    """News as lines, the table below them."""

    def __init__(self, stream: TextIO, title: str) -> None:
        self.writer = Writer()
        self._title = title
        self._console = Console(file=stream, highlight=False)
        # No thread of its own: the writer draws. What strategies print goes above the table.
        self._live = Live(console=self._console, auto_refresh=False, transient=True)
        self._live.start()

    def tell(self, news: News) -> None:
        """A line above the table; what the table shows anyway is left out."""
        if news.text and news.event != "status":
            line = Text(plain_line(news), style="yellow" if news.is_warning else "", overflow="fold")
            self.writer.put(lambda: self._console.print(line))

    def look(self, session: Session, now: Ns) -> None:
        """Draw the table, unless the terminal has not taken the last one yet."""
        if not self.writer.is_busy:
            view = view_of(session, now, self._title)
            self.writer.put(lambda: self._live.update(draw(view), refresh=True))

    def close(self) -> None:
        """Take the table away; what was told stays."""
        self.writer.put(self._live.stop)
        if self.writer.close():
            with suppress(OSError, ValueError):  # once more, for a terminal that has gone: standard output is put back
                self._live.stop()


# --- what it shows -----------------------------------------------------------------------------------------------


def view_of(session: Session, now: Ns, title: str) -> View:
    """How things stand. Cheap: it runs between two frames."""
    trader, engine = session.trader, session.trader.engine
    queue = trader.queue
    figures = (
        f"tokens {queue.bucket.level(now):.0f} of {queue.bucket.capacity}, {queue.waiting} waiting, "
        f"{len(trader.calls)} calls under way, {queue.sent:,} sent"
    )
    if engine is None:
        return View(title, _link(session, now), figures)
    orders = [order_text(order) + _state(order) for order in engine.blotter.orders.values() if order.is_open]
    return View(
        title,
        _link(session, now),
        figures,
        tuple(_quotes(engine, now)),
        tuple(_positions(engine)),
        tuple(orders[-_ROWS:] + ([f"and {len(orders) - _ROWS} more"] if len(orders) > _ROWS else [])),
        tuple(_accounts(session)),
    )


def _link(session: Session, now: Ns) -> tuple[str, str]:
    link, trader = session.link, session.trader
    text, style = f"link {link.state}", "yellow"
    if link.state is LinkState.UP and link.opened is not None:
        text += f" for {_span(now - link.opened)}"
        style = "green"
    elif link.last_reason is not None:
        text += f": {link.last_reason}"
    if trader.is_offline:
        text, style = text + ", NinjaTrader is away", "bold red"
    if trader.silence.is_stale:
        text, style = text + ", quotes are stale", "bold red"
    text += f", {link.drops} drops" if link.drops else ""
    if link.state is LinkState.UP and link.drops and link.last_reason is not None:
        text += f" (last: {link.last_reason})"
    return text, style


def _quotes(engine: Engine, now: Ns) -> Sequence[tuple[str, ...]]:
    rows = []
    for name, series in list(engine.feeds.series.items())[:_ROWS]:
        quote = series.quote
        if quote is None:
            rows.append((name, "no quote yet", "", ""))
            continue
        last = "" if quote.last is None else f"last {quote.last:.10g}"
        age = now - quote.ts
        rows.append((name, f"{quote.bid:.10g} x {quote.ask:.10g}", last, _span(age) + (" OLD" if age > _OLD else "")))
    return rows


def _positions(engine: Engine) -> Sequence[tuple[str, ...]]:
    rows = []
    for (owner, account, instrument), book in engine.ledger.books.items():
        held = "flat" if not book.position else f"{book.position:+d} at {book.average_price:.10g}"
        marked = open_pnl(engine, book)
        open_text = "open ?" if marked is None else f"open {money(marked)}"
        net = book.money(book.realized) - book.fees / MICRO
        rows.append((f"{owner} {account}", instrument, held, open_text, f"realised {money(net)}"))
    return rows[:_ROWS]


def _state(order: object) -> str:
    state = str(getattr(order, "status", "")).replace("_", " ")
    flags = [text for text in ("cancel", "change") if getattr(order, f"pending_{text}", False)]
    return f" [{state}{''.join(f', {flag} under way' for flag in flags)}]"


def _accounts(session: Session) -> Sequence[str]:
    """P&L of accounts as the venue tells it."""
    lines = []
    for account, pnl in getattr(session.trader, "pnl", {}).items():
        parts = [
            f"{label} {money(value)}"
            for label, value in (
                ("realised", pnl.realized),
                ("unrealised", pnl.unrealized),
                ("net liquidation", pnl.net_liquidation),
            )
            if value is not None
        ]
        lines.append(f"{account}: {', '.join(parts) or 'not told'}")
    return lines


def _span(span: Ns) -> str:
    seconds = span / SECOND_NS
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s"
    if seconds < 60:
        return f"{seconds:.0f} s"
    hours, rest = divmod(int(seconds), 3600)
    return f"{hours}:{rest // 60:02d}:{rest % 60:02d}"


# --- drawing -----------------------------------------------------------------------------------------------------


def draw(view: View) -> RenderableType:
    """The table."""
    parts: list[RenderableType] = [
        Rule(Text(view.title, style="bold"), style="dim", characters="-"),
        Text(view.link[0], style=view.link[1], overflow="ellipsis", no_wrap=True),
        Text(view.figures, style="dim", overflow="ellipsis", no_wrap=True),
    ]
    if view.quotes:
        parts.append(_grid(view.quotes))
    if view.positions:
        parts.append(_grid(view.positions))
    parts += [Text(f"account {line}", overflow="ellipsis", no_wrap=True) for line in view.accounts]
    parts += [Text(line, overflow="ellipsis", no_wrap=True) for line in view.orders or ("no open orders",)]
    return Group(*parts)


def _grid(rows: Sequence[tuple[str, ...]]) -> Table:
    table = Table.grid(padding=(0, 2, 0, 0))
    for _ in rows[0]:
        table.add_column(no_wrap=True, overflow="ellipsis")
    for row in rows:
        table.add_row(*map(Text, row))
    return table
