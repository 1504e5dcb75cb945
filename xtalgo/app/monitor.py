"""Watches a live run and tells of it: orders, fills, the link, and what went wrong.

The monitor is called after every input, so it looks at a few counters and goes, unless one of them moved or a quarter
of a second is over. What it finds goes to a display.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

from attrs import define, field

from xtalgo.app.loader import shown_path
from xtalgo.app.news import Display, News
from xtalgo.app.report import money
from xtalgo.client.setup import Pin
from xtalgo.engine.engine import Engine
from xtalgo.engine.ledger import Book
from xtalgo.engine.office import Decision
from xtalgo.engine.orders import Order
from xtalgo.live.link import LinkState
from xtalgo.live.session import Session, StopMode
from xtalgo.model.errors import StrategyError
from xtalgo.model.events import Fill
from xtalgo.model.types import MILLISECOND_NS, MINUTE_NS, Ns, OrderStatus, Side

__all__ = ["Monitor", "open_pnl", "order_text", "pin_news", "price_of"]

EVERY: Final[Ns] = 250 * MILLISECOND_NS
"""How often to look when nothing moved."""

STATUS_EVERY: Final[Ns] = MINUTE_NS
"""How often to say in one line how things stand."""

_OFTEN: Final = 5
"""Denials for one reason that are told one by one to people; then at 8, 16, 32 .."""

_TOLD: Final = frozenset(
    {OrderStatus.REJECTED, OrderStatus.CANCELLED, OrderStatus.EXPIRED, OrderStatus.ABSENT, OrderStatus.IN_DOUBT}
)
"""Statuses that people are told of; a fill tells of itself, and a placed order of the rest."""

_BAD: Final = frozenset({OrderStatus.REJECTED, OrderStatus.ABSENT, OrderStatus.IN_DOUBT})


@define(eq=False)
class Monitor:
    """The observer of a session: finds what is new and hands it to the display."""

    display: Display
    _next: Ns = field(init=False, default=0)
    _status_at: Ns = field(init=False, default=0)
    _state: LinkState | None = field(init=False, default=None)
    _decisions: int = field(init=False, default=0)
    _fills: int = field(init=False, default=0)
    _notes: int = field(init=False, default=0)
    _anomalies: int = field(init=False, default=0)
    _open: dict[str, OrderStatus] = field(init=False, factory=dict)
    _denied: Counter[str] = field(init=False, factory=Counter)
    _is_named: bool = field(init=False, default=False)
    _is_running: bool = field(init=False, default=False)
    _is_leaving: bool = field(init=False, default=False)
    _is_stopping: bool = field(init=False, default=False)
    _is_broken: bool = field(init=False, default=False)

    def update(self, session: Session, now: Ns) -> None:
        """Tell what is new, if anything is."""
        trader = session.trader
        if now < self._next and session.link.state is self._state and not trader.notices:
            engine = trader.engine
            if engine is None or (
                len(engine.decisions) == self._decisions and len(engine.blotter.fills) == self._fills
            ):
                return
        self.look(session, now)

    def rest(self) -> None:
        """Look at everything at the next update: the last one."""
        self._next = 0

    def look(self, session: Session, now: Ns) -> None:
        """Tell what is new, at once."""
        due = now >= self._next
        news = sorted(self._news(session, now), key=lambda one: one.ts)
        for one in news:
            self.display.tell(one)
        if due:
            self._next = now + EVERY
            self.display.look(session, now)
        if self.display.writer.broken is not None and not self._is_leaving:
            self._is_leaving = True  # whoever watched has gone: the run ends in order, as after Ctrl-C
            session.stop()

    def _news(self, session: Session, now: Ns) -> Iterator[News]:
        trader = session.trader
        yield from self._link(session, now)
        notices, trader.notices = trader.notices, []
        for notice in notices:
            yield News(notice.ts, "notice", notice.text, {"warning": notice.is_warning}, notice.is_warning)
        if trader.error is not None and not self._is_broken:
            self._is_broken = True
            yield News(now, "error", f"the run ends: {trader.error}", {"kind": type(trader.error).__name__}, True)
        if trader.is_stopping and not self._is_stopping:
            self._is_stopping = True
            mode = StopMode.PROTECT if isinstance(trader.error, StrategyError) else session.on_stop
            yield News(now, "stopping", f"winding down ({mode})", {"mode": str(mode)})
        engine = trader.engine
        if engine is None:
            return
        if not self._is_named:
            self._is_named = True
            yield from _names(session, now)
        if trader.is_running and not self._is_running:
            self._is_running = True
            self._status_at = now + STATUS_EVERY
            yield News(session.started or now, "running", "the strategies run")
        yield from self._engine(engine, now)
        if self._is_running and now >= self._status_at:
            self._status_at = now + STATUS_EVERY
            yield _status(session, engine, now)

    def _link(self, session: Session, now: Ns) -> Iterator[News]:
        link = session.link
        if link.state is not self._state:
            self._state = link.state
            text = ""
            if link.state is LinkState.UP:
                text = "link up" if link.generation == 1 else f"link up again, connection {link.generation}"
            facts = {"state": str(link.state), "connection": link.generation, "drops": link.drops}
            yield News(now, "link", text, facts)

    # --- what the engine did -------------------------------------------------------------------------------------

    def _engine(self, engine: Engine, now: Ns) -> Iterator[News]:
        while self._decisions < len(engine.decisions):
            decision = engine.decisions[self._decisions]
            self._decisions += 1
            yield from self._decision(engine, decision)
        while self._fills < len(engine.blotter.fills):
            fill = engine.blotter.fills[self._fills]
            self._fills += 1
            yield _fill(engine, fill)
        while self._notes < len(engine.notes):
            note = engine.notes[self._notes]
            self._notes += 1
            facts = "".join(f" {name}={value}" for name, value in note.facts.items())
            told = {"strategy": note.strategy, "note": note.text, "facts": dict(note.facts)}
            yield News(note.ts, "note", f"{note.strategy}: {note.text}{facts}", told)
        while self._anomalies < len(engine.blotter.anomalies):
            odd = engine.blotter.anomalies[self._anomalies]
            self._anomalies += 1
            text = f"order {odd.order_id}: the venue said what does not fit: {odd.text}"
            yield News(odd.ts, "anomaly", text, {"id": odd.order_id, "what": odd.text}, is_warning=True)
        for key, status in list(self._open.items()):
            order = engine.blotter.orders[key]
            if order.is_done:
                del self._open[key]
            if order.status is not status:
                if order.is_open:
                    self._open[key] = order.status
                yield _moved(order, now)

    def _decision(self, engine: Engine, decision: Decision) -> Iterator[News]:
        ts, what, *facts = decision
        assert isinstance(ts, int)
        if what == "lock":
            owner, account = facts
            text = f"{owner} may open nothing more in {account} today: its daily loss is reached"
            yield News(ts, "lock", text, {"strategy": owner, "account": account}, is_warning=True)
        elif what == "quarantine":
            yield _quarantine(engine, str(facts[0]), ts)
        elif what == "external":
            account, instrument, difference, taken = facts
            text = f"somebody else moved {instrument} in {account} by {difference}; our books gave up {taken}"
            told = {"account": account, "instrument": instrument, "difference": difference, "taken": taken}
            yield News(ts, "external", text, told, is_warning=True)
        elif what == "group":
            yield _group(ts, facts)
        elif what == "diverged":
            told = {"group": facts[0], "accounts": facts[1]}
            yield News(ts, "diverged", f"the accounts of {facts[0]} differ: {facts[1]}", told, is_warning=True)
        elif (order := engine.blotter.orders.get(str(facts[0]) if facts else "")) is not None:
            yield from self._ordered(ts, str(what), order, facts)
        else:
            yield News(ts, str(what), f"{what} {' '.join(map(str, facts))}", {"facts": facts})

    def _ordered(self, ts: Ns, what: str, order: Order, facts: list[Any]) -> Iterator[News]:
        if what == "place":
            self._open[order.id] = OrderStatus.QUEUED
            yield News(ts, "order", f"order {order_text(order)}", {**_order_facts(order), "status": "placed"})
        elif what == "deny":
            yield self._deny(ts, order, str(facts[1]))
        elif what == "change":
            _, quantity, limit, stop = facts
            values = {"quantity": quantity, "limit_price": limit, "stop_price": stop}
            told = ", ".join(f"{name.replace('_', ' ')} {value:.10g}" for name, value in values.items() if value)
            yield News(ts, "change", f"change {order.id}: {told}", {"id": order.id, **values})
        elif what == "cancel":
            yield News(ts, "cancel", f"cancel {order.id}", {"id": order.id})
        # A stale one is told by its status.

    def _deny(self, ts: Ns, order: Order, reason: str) -> News:
        self._denied[reason] += 1
        count = self._denied[reason]
        text = ""
        if count <= _OFTEN or count & (count - 1) == 0:
            more = "" if count < _OFTEN else f" ({count:,} times for this reason)"
            text = f"denied {order_text(order)}: {order.reason}{more}"
        return News(ts, "deny", text, {"id": order.id, "reason": reason, "why": order.reason}, is_warning=True)


def _group(ts: Ns, facts: list[Any]) -> News:
    names = ("group", "verb", "instrument", "accounts", "orders", "requests", "later", "at_once", "deadline")
    told = dict(zip(names, facts, strict=True))
    cost = f"{told['requests']} requests, {told['at_once']} at once"
    if told["later"]:
        cost += f", {told['later']} later for exits"
    text = f"group {told['group']}: {told['verb']} {told['instrument']} in {told['accounts']} ({cost})"
    return News(ts, "group", text, told)


def _quarantine(engine: Engine, name: str, ts: Ns) -> News:
    fault = next((error for owner, error in engine.faults if owner == name), None)
    place = ""
    if isinstance(fault, StrategyError) and fault.file is not None:
        place = f" at {shown_path(fault.file)}:{fault.line}"
    text = f"{name} raised{place}; it is in quarantine: {fault}"
    return News(ts, "quarantine", text, {"strategy": name, "error": str(fault)}, is_warning=True)


# --- news in words ---------------------------------------------------------------------------------------------------


def _names(session: Session, now: Ns) -> Iterator[News]:
    """The accounts and contracts of the run, as the venue named them."""
    setup = session.trader.setup
    what = "account" if len(setup.accounts) == 1 else "accounts"
    kind = "" if setup.real_allowed else " (the venue says: simulator)"
    yield News(now, "accounts", f"{what} {', '.join(setup.accounts)}{kind}", {"accounts": list(setup.accounts)})
    for pin in setup.pins.values():
        yield pin_news(pin, now)


def pin_news(pin: Pin, now: Ns) -> News:
    """What an instrument stands for, and how long it still trades by the venue's word."""
    days = pin.days_left(now)
    left = "the venue tells no expiry" if days is None else f"{days} days to expiry ({pin.expires}, the venue says"
    if days is not None:
        # By the one documented example NinjaTrader's date is the first of the delivery month, not the last trade.
        left += "; NinjaTrader's date is the first of the month, trading ends later)" if pin.is_nominal else ")"
    arrow = f"{pin.asked} -> {pin.name}" if pin.asked != pin.name else pin.name
    facts = {"asked": pin.asked, "instrument": pin.name, "days_to_expiry": days}
    soon = days is not None and days <= 3
    return News(now, "pin", f"instrument {arrow}, {left}", facts, is_warning=soon)


def price_of(limit: float | None, stop: float | None) -> str:
    """At which price, by the prices that an order has."""
    if stop is not None:
        return f"stop {stop:.10g}" + ("" if limit is None else f" limit {limit:.10g}")
    return "at market" if limit is None else f"limit {limit:.10g}"


def order_text(order: Order) -> str:
    """An order in a few words."""
    price = price_of(order.limit_price, order.stop_price)
    role = "" if str(order.role) == "entry" else f" ({str(order.role).replace('_', ' ')})"
    where = f"{order.owner}, {order.account}"
    return f"{order.id}: {order.side.name.lower()} {order.quantity} {order.instrument} {price}{role}, {where}"


def _order_facts(order: Order) -> dict[str, Any]:
    return {
        "id": order.id,
        "strategy": order.owner,
        "account": order.account,
        "instrument": order.instrument,
        "side": order.side.name,
        "quantity": order.quantity,
        "limit_price": order.limit_price,
        "stop_price": order.stop_price,
        "role": str(order.role),
    }


def _moved(order: Order, now: Ns) -> News:
    facts = {"id": order.id, "status": str(order.status), "filled": order.filled, "reason": order.reason}
    text = ""
    if order.status in _TOLD:
        done = f", {order.filled} of {order.quantity} filled" if order.filled else ""
        why = f": {order.reason}" if order.reason else ""
        text = f"{str(order.status).replace('_', ' ')} {order.id}{done}{why}"
    return News(now, "order", text, facts, order.status in _BAD)


def _fill(engine: Engine, fill: Fill) -> News:
    order = engine.blotter.orders[fill.order_id]
    side = "bought" if fill.side is Side.BUY else "sold"
    held = engine.ledger.account_position(fill.account, fill.instrument)
    text = (
        f"fill {fill.order_id}: {side} {fill.quantity} {fill.instrument} at {fill.price:.10g}, "
        f"{order.filled} of {order.quantity}; position of this run {held:+d}"
    )
    facts = {
        "id": fill.order_id,
        "execution": fill.execution_id,
        "account": fill.account,
        "instrument": fill.instrument,
        "side": fill.side.name,
        "quantity": fill.quantity,
        "price": fill.price,
        "fee": fill.fee,
        "position": held,
    }
    return News(fill.ts, "fill", text, facts)


def _status(session: Session, engine: Engine, now: Ns) -> News:
    trader = session.trader
    realized = sum(book.money(book.realized) - book.fees / 1e6 for book in engine.ledger.books.values())
    open_money = sum(open_pnl(engine, book) or 0.0 for book in engine.ledger.books.values())
    held = {f"{account} {name}": book.position for (_, account, name), book in engine.ledger.books.items()}
    working = sum(order.is_open for order in engine.blotter.orders.values())
    positions = ", ".join(f"{name} {count:+d}" for name, count in held.items() if count) or "flat"
    tokens = trader.queue.bucket.level(now)
    text = (
        f"{positions}; open P&L {money(open_money)}, realised {money(realized)} after fees; {working} open orders, "
        f"{len(engine.blotter.fills):,} fills, {trader.health.quotes:,} quotes; link {session.link.state}, "
        f"{tokens:.0f} tokens"
    )
    facts = {
        "quotes": trader.health.quotes,
        "fills": len(engine.blotter.fills),
        "open_orders": working,
        "open_pnl": round(open_money, 2),
        "realized_pnl": round(realized, 2),
        "link": str(session.link.state),
        "tokens": round(tokens, 1),
    }
    return News(now, "status", text, facts)


def open_pnl(engine: Engine, book: Book) -> float | None:
    """Open P&L of a book at the price it could be closed at, in dollars; None without a quote."""
    if not book.position:
        return 0.0
    quote = engine.feeds.of(book.contract.name).quote
    if quote is None:
        return None
    low, high = sorted((quote.bid, quote.ask))
    return book.money(book.open_pnl(book.contract.to_ticks(low if book.position > 0 else high)))
