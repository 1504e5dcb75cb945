"""The end of a live run in figures: what it did, by its own books, and what is left, by the venue's word."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, Final

from xtalgo.app.console import Row, Screen
from xtalgo.app.monitor import open_pnl, order_text
from xtalgo.app.report import money
from xtalgo.engine.engine import Engine
from xtalgo.engine.ledger import MICRO
from xtalgo.engine.orders import Order
from xtalgo.live.session import Left, Session
from xtalgo.model.types import SECOND_NS, Ns, OrderStatus, Trigger

__all__ = ["figures", "left_text", "show_figures"]

_UNSENT: Final = ("draft", "denied", "not sent")
_LOCAL: Final = (Trigger.DROP, Trigger.STALE, Trigger.UNSENT)
"""What ended an order that the venue never saw."""
_FEW: Final = 12


def left_text(left: Left) -> str:
    """What an account holds and what works in it, whoever did it; flat only where the venue said so."""
    if left.positions is None and left.orders is None:
        return "not known: the venue could not be asked; look there yourself"
    held = "positions not known"
    if left.positions is not None:
        held = ", ".join(f"{name} {count:+d}" for name, count in left.positions.items()) or "no position"
    if left.orders is None:
        return f"{held}; whether orders work is not known: look there yourself"
    return f"flat: {held}, no working order" if left.is_flat else f"{held}; {len(left.orders)} working orders"


# --- figures -----------------------------------------------------------------------------------------------------


def figures(session: Session, remains: Sequence[Left], now: Ns, how: str) -> dict[str, Any]:
    """Everything that is said at the end, for machines; ``how`` says how the run ended."""
    trader, link = session.trader, session.link
    engine, health = trader.engine, trader.health
    orders = [] if engine is None else list(engine.blotter.orders.values())
    fills = [] if engine is None else engine.blotter.fills
    books = [] if engine is None else list(_books(engine))
    states = Counter(map(_state, orders))
    return {
        "ended": how,
        "began": session.started is not None,
        "seconds": 0.0 if session.started is None else round((now - session.started) / SECOND_NS, 3),
        "quotes": health.quotes,
        "orders": sum(count for state, count in states.items() if state not in _UNSENT),
        "statuses": dict(states.most_common()),
        "open_orders": [order_text(order) for order in orders if order.is_open],
        "fills": len(fills),
        "contracts": sum(fill.quantity for fill in fills),
        "realized_pnl": round(sum(book["realized_pnl"] for book in books), 2),
        "open_pnl": _sum(book["open_pnl"] for book in books),
        "fees": round(sum(book["fees"] for book in books), 2),
        "net_pnl": _sum(book["net_pnl"] for book in books),
        "books": books,
        "left": [
            {
                "account": left.account,
                "flat": left.is_flat if left.positions is not None and left.orders is not None else None,
                "positions": left.positions,
                "orders": None if left.orders is None else list(left.orders),
            }
            for left in remains
        ],
        "drops": link.drops,
        "attempts": link.attempts,
        "rpcs": trader.queue.sent,
        "longest_token_wait": round(trader.queue.longest_wait / SECOND_NS, 3),
        "refusals": health.refusals,
        "doubts": health.doubts,
        "denials": {} if engine is None else {str(reason): count for reason, count in engine.denials.items()},
        "silences": health.silences,
        "bad_rows": health.faults + health.unknown,
        "anomalies": 0 if engine is None else len(engine.blotter.anomalies),
        "quarantined": [] if engine is None else [name for name, _ in engine.faults],
    }


def _state(order: Order) -> str:
    """How an order ended, or stands; one that the venue never saw was not cancelled."""
    if order.status is OrderStatus.CANCELLED and order.evidence in _LOCAL:
        return "not sent"
    return str(order.status).replace("_", " ")


def _books(engine: Engine) -> Iterator[dict[str, Any]]:
    for (owner, account, instrument), book in engine.ledger.books.items():
        if not book.position and not book.realized and not book.fees:
            continue
        gross, fees, marked = book.money(book.realized), book.fees / MICRO, open_pnl(engine, book)
        yield {
            "strategy": owner,
            "account": account,
            "instrument": instrument,
            "position": book.position,
            "average_price": book.average_price,
            "realized_pnl": round(gross, 2) + 0.0,
            "open_pnl": None if marked is None else round(marked, 2) + 0.0,
            "fees": round(fees, 2),
            "net_pnl": None if marked is None else round(gross + marked - fees, 2) + 0.0,
        }


def _sum(values: Iterator[float | None]) -> float | None:
    listed = list(values)
    return None if None in listed else round(sum(value for value in listed if value is not None), 2) + 0.0


# --- for people --------------------------------------------------------------------------------------------------


def show_figures(screen: Screen, found: dict[str, Any], remains: Sequence[Left], about: str) -> None:
    """The figures as labelled rows; ``about`` says what was traded against."""
    screen.text("")
    screen.section(f"Summary: {about}", list(_rows(found)))
    if not found["began"]:
        return  # it sent no order, so there is nothing of its own to see to
    rows: list[Row] = []
    for left in remains:
        rows.append((left.account, left_text(left)))
        rows += [("", order) for order in (left.orders or ())[:_FEW]]
    screen.section("Left in the accounts, whoever did it", rows)
    if not all(left.is_flat for left in remains):
        screen.text("Not flat, or not known to be: see to what is listed above.", "bold yellow")


def _rows(found: dict[str, Any]) -> Iterator[Row]:
    yield "ended", found["ended"]
    link = f"{found['drops']} drops, {found['attempts']} dials, {found['silences']} silences"
    if not found["began"]:
        yield "strategies", "never began; no order was sent"
        yield "link", link
        return
    minutes, seconds = divmod(round(found["seconds"]), 60)
    yield "duration", f"{minutes} min {seconds:02d} s"
    yield "quotes", f"{found['quotes']:,}"
    states = "; ".join(f"{count:,} {state}" for state, count in found["statuses"].items())
    yield "orders", f"{found['orders']:,} sent" + (f": {states}" if states else "")
    yield "fills", f"{found['fills']:,}, together {found['contracts']:,} contracts"
    for book in found["books"]:
        held = "flat" if not book["position"] else f"{book['position']:+d} at {book['average_price']:,.10g}"
        marked = "" if not book["position"] else f", open {_money(book['open_pnl'])}"
        yield (
            f"{book['instrument']}",
            f"{book['strategy']} in {book['account']}: {held}; realised {money(book['realized_pnl'])}{marked}, "
            f"fees {money(book['fees'])}, net {_money(book['net_pnl'])}",
        )
    yield (
        "P&L of this run",
        f"net {_money(found['net_pnl'])}: realised {money(found['realized_pnl'])}, open {_money(found['open_pnl'])}, "
        f"fees {money(found['fees'])}",
    )
    for order in found["open_orders"][:_FEW]:
        yield "open order", order
    yield "link", link
    yield "requests", f"{found['rpcs']:,} sent; longest wait for a token {found['longest_token_wait']:.2f} s"
    denials = ", ".join(f"{count:,} {reason}" for reason, count in found["denials"].items()) or "none"
    yield "denied by us", denials
    yield "refused for rate", f"{found['refusals']:,}; outcomes in doubt {found['doubts']:,}"
    if found["quarantined"]:
        yield "in quarantine", f"{', '.join(found['quarantined'])}: it raised, see above"
    yield "anomalies", f"{found['anomalies']:,}; rows and frames of no use {found['bad_rows']:,}"


def _money(value: float | None) -> str:
    return "not known (no quote)" if value is None else money(value)
