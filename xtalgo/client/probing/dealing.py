"""Steps that place orders far below the market and cancel them, and the tidying up after every step."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from xtalgo.client.probing.door import listed_orders, listed_positions
from xtalgo.client.probing.script import Budget, Cut, Line, Probe, Reply, Script, Unanswered
from xtalgo.client.probing.words import NO_FUNCTION
from xtalgo.model.errors import VenueError, XtalgoError
from xtalgo.model.types import SECOND_NS, OrderType, Side
from xtalgo.protocol.choices import (
    CallerId,
    ChangeId,
    DuplicateId,
    EventBody,
    Events,
    Lifecycle,
    StrategyTag,
)
from xtalgo.protocol.frames import EVENT_KINDS
from xtalgo.protocol.replies import Answer, read_order
from xtalgo.protocol.rows import OrderRow

__all__ = ["Untidy", "events", "is_ours", "orders", "tag", "tidy"]

_SETTLING: Final = 11 * SECOND_NS
"""An order whose answer is missing may appear this long after it was sent."""
_LOOKS: Final = 150


class Untidy(XtalgoError):
    """Something of the probe's, or that it can't tell from its own, is left in the account."""


# --- tidying up ------------------------------------------------------------------------------------------------------


def tidy(probe: Probe) -> Script[None]:
    """Cancel what the probe placed, and see that nothing is working. Raises Untidy when something remains.

    It is done when two lists in a row, a second apart, show nothing of the probe's that works; where an order was in no
    list yet, not before it must have appeared.
    """
    clean, wait, why = 0, 0.0, "the venue did not say"
    for _ in range(_LOOKS):
        try:
            yield from probe.listen(wait)
            rows = yield from _working(probe)
            for row in rows:
                yield from _cancel(probe, row)
            clean = 0 if rows else clean + 1
            why = f"working: {len(rows)} of the probe's orders" if rows else "one look is not enough"
            now, wait = (yield from probe.listen(0.0)).at, 1.0
            if clean < 2 or ((probe.unseen or probe.is_unsure) and now <= probe.placed_at + _SETTLING):
                continue
            held = yield from listed_positions(probe)
        except (Cut, Unanswered, VenueError) as error:
            clean, wait, why = 0, 3.0, str(error)
            continue
        probe.unseen.clear()
        probe.is_unsure = probe.has_working = False
        if held:
            what = ", ".join(f"{row.net:+d} {row.instrument}" for row in held)
            raise Untidy(f"{probe.account} holds {what}: no order of a probe should fill; see to it (xtalgo flatten)")
        return
    raise Untidy(f"{probe.account} is not known to be without orders of the probe ({why}): look in NinjaTrader")


def _working(probe: Probe) -> Script[list[OrderRow]]:
    """The orders of the probe that may trade; every order of a list is one that was seen."""
    rows = yield from listed_orders(probe)
    for row in rows:
        probe.see(row.order_id, row.limit)
    return [row for row in rows if not row.state.is_done and is_ours(probe, row)]


def is_ours(probe: Probe, row: OrderRow) -> bool:
    """Whether an order is the probe's, by its id, or by where it rests."""
    if row.order_id in probe.ids:
        return True
    is_buy = row.side is Side.BUY and row.kind is OrderType.LIMIT
    return is_buy and row.instrument == probe.instrument and row.limit in probe.prices and row.quantity == 1


def _cancel(probe: Probe, row: OrderRow) -> Script[None]:
    """Cancel one order; whether it is gone is for the next list to say."""
    probe.ids.add(row.order_id)
    yield from probe.try_ask("Cancel", {"account": probe.account, "orderId": row.order_id}, tries=1)


def _owned(probe: Probe) -> Script[list[OrderRow]]:
    """Working orders of the probe, by two lists that agree."""
    before: list[str] | None = None
    while True:
        rows = yield from _working(probe)
        ids = sorted(row.order_id for row in rows)
        if ids == before:
            return rows
        before = ids
        yield from probe.listen(1.0)


# --- ids -------------------------------------------------------------------------------------------------------------


def orders(probe: Probe) -> Script[None]:
    """One order under an id of ours: under which id it is found, what a change and a second order of that id do."""
    chosen = probe.new_order_id()
    placed = yield from probe.place(chosen)
    if not placed.is_good:
        why = f"an order could not be placed: {probe.shown(placed.line)}"
        probe.leave(why, "caller_id", "duplicate_id", "change_id", "lifecycle")
        return
    found = yield from _find(probe, chosen, placed)
    if found is None:
        why = "an order that was acknowledged could not be found"
        probe.leave(why, "caller_id", "duplicate_id", "change_id", "lifecycle")
        return
    key, row, line = found
    if row.state.is_done:
        why = f"an order ended at once: {probe.shown(line)}"
        probe.leave(why, "caller_id", "duplicate_id", "change_id", "lifecycle")
        return
    if key != chosen:
        probe.settle("caller_id", CallerId.IGNORED, placed.line, line)
    else:
        probe.settle("caller_id", CallerId.ID if row.order_id == chosen else CallerId.ALIAS, placed.line, line)
    yield from _lifecycle(probe, key)
    yield from _status(probe, key)
    yield from _change(probe, key, row)
    yield from _duplicate(probe, chosen)


def _row(reply: Reply) -> OrderRow | None:
    answer = read_order(reply.body) if reply.is_good else None
    return answer.value if isinstance(answer, Answer) else None


def _find(probe: Probe, chosen: str, placed: Reply) -> Script[tuple[str, OrderRow, Line] | None]:
    """The order by our id, or else by the one that the venue told; a row may be late."""
    told = placed.rows.get("orderId")
    # Ours is asked for on either side of theirs: the row may have come just before theirs was.
    keys = [key for key in ((chosen, told, chosen) if told != chosen else (chosen,)) if isinstance(key, str)]
    for _ in range(15):
        found: tuple[str, OrderRow, Line] | None = None
        for key in keys:
            reply = yield from probe.ask("GetOrder", account=probe.account, orderId=key)
            row = _row(reply)
            if row is not None:
                probe.ids.add(row.order_id)
                probe.see(row.order_id, row.limit)
                found = key, row, reply.line
                if key == chosen:
                    break
        if found is not None:
            return found
        yield from probe.listen(1.0)
    return None


def _lifecycle(probe: Probe, key: str) -> Script[None]:
    refused: list[Line] = []
    for name in (Lifecycle.GET_ORDER_LIFECYCLE, Lifecycle.ORDER_LIFECYCLE):
        found = yield from probe.try_ask(name, {"account": probe.account, "orderId": key})
        if found is None:
            if probe.findings.facts.get("unknown_api") is None or probe.unknown_text is not None:
                probe.leave(f"{name} was not answered", "lifecycle")
                return
        elif found.is_good:
            probe.settle("lifecycle", name, found.line)
            return
        elif _head(found.error, name) != _head(probe.unknown_text or "", NO_FUNCTION):
            probe.leave(
                f"{name} is refused in other words than a function that there is not: {found.error}", "lifecycle"
            )
            return
        else:
            refused.append(found.line)
    told = "both names are answered as one that there is not" if refused else "neither name is answered"
    probe.settle("lifecycle", Lifecycle.NONE, *refused, doubt=told)


def _head(error: str, name: str) -> str:
    return error.partition(name)[0]


def _status(probe: Probe, key: str) -> Script[None]:
    """A look at a body that is not documented, for the report."""
    yield from probe.try_ask("GetOrderStatus", {"account": probe.account, "orderId": key}, tries=1)


def _change(probe: Probe, key: str, before: OrderRow) -> Script[None]:
    price = probe.next_price()
    probe.prices.add(price)
    args = {"account": probe.account, "orderId": key, "limitPrice": price}
    reply = yield from probe.ask("Change", tries=1, **args)
    if not reply.is_good:
        probe.leave(f"a change is refused: {probe.shown(reply.line)}", "change_id")
        return
    told = reply.rows.get("orderId")
    if isinstance(told, str):
        probe.ids.add(told)
    yield from probe.listen(1.0)
    for one in dict.fromkeys((key, told)):
        if not isinstance(one, str):
            continue
        seen = yield from probe.ask("GetOrder", account=probe.account, orderId=one)
        row = _row(seen)
        if row is not None:
            probe.ids.add(row.order_id)
            kept = row.order_id == before.order_id
            probe.settle("change_id", ChangeId.KEPT if kept else ChangeId.NEW, reply.line, seen.line)
            return
    probe.leave("a changed order could not be found", "change_id")


def _duplicate(probe: Probe, chosen: str) -> Script[None]:
    first = yield from _owned(probe)
    if len(first) != 1:
        probe.leave(f"{len(first)} orders were working where one was placed", "duplicate_id")
        return
    again = yield from probe.place(chosen)
    if not again.is_good:
        probe.settle("duplicate_id", DuplicateId.REFUSED, again.line)
        return
    yield from probe.listen(2.0)
    both = yield from _owned(probe)
    if len(both) == 1:  # the second may be late
        yield from probe.listen(_SETTLING / SECOND_NS)
        both = yield from _owned(probe)
    if len(both) == 2:
        probe.settle("duplicate_id", DuplicateId.SECOND, again.line)
    elif len(both) == 1:
        doubt = "acknowledged, and one order is working"
        probe.settle("duplicate_id", DuplicateId.ACKED, again.line, doubt=doubt)
    else:
        probe.leave(f"{len(both)} orders were working after it", "duplicate_id")


# --- tags ------------------------------------------------------------------------------------------------------------


def tag(probe: Probe) -> Script[None]:
    """Two orders under two tags: the second is refused where a tag locks."""
    first = yield from probe.place(probe.new_order_id(), strategy_tag="xtalgo-probe-a")
    if not first.is_good:
        probe.settle("strategy_tag", StrategyTag.REFUSED, first.line)
        return
    second = yield from probe.place(probe.new_order_id(), strategy_tag="xtalgo-probe-b")
    probe.settle("strategy_tag", StrategyTag.IGNORED if second.is_good else StrategyTag.LOCKS, first.line, second.line)
    yield from tidy(probe)
    plain = yield from probe.place(probe.new_order_id())
    if not plain.is_good:
        text = f"after it a plain order is refused: {plain.error}"
        probe.findings.about["after strategy_tag"] = probe.redaction.text(text)


# --- events ----------------------------------------------------------------------------------------------------------


def events(probe: Probe) -> Script[None]:
    """Ask for events in each form that is likely, and see whether an order that is placed and cancelled is told."""
    refused: list[Line] = []
    silent: list[str] = []
    for form in (Events.PLAIN, Events.NT8, Events.NINJATRADER):
        asked: dict[str, Any] = {"action": "subscribe", "events": ["orders", "executions", "positions"]}
        if form.origin is not None:
            asked["origin"] = form.origin
        heard = yield from probe.answered(json.dumps(asked), Budget.ACTIONS, times=1)
        if heard.end is not None:
            probe.leave(f"the connection ended on it ({heard.end})", "events", "event_body")
            return
        if heard.lines and _says_no(heard.lines[0]):
            refused.append(heard.lines[0])
            continue
        line = yield from _event(probe)
        if line is not None:
            probe.settle("events", form, *heard.lines[:1], line)
            body = _event_body(line)
            if body is None:
                probe.leave(f"no form that is known: {probe.shown(line)}", "event_body")
            else:
                probe.settle("event_body", body, line)
            return
        silent.append(f"{form}, {'acknowledged' if heard.lines else 'not answered'}")
    doubt = f"nothing came after {'; '.join(silent)}" if silent else ""
    probe.settle("events", Events.NONE, *refused, doubt=doubt)
    probe.leave("there are no events", "event_body")


def _says_no(line: Line) -> bool:
    frame = line.frame if isinstance(line.frame, dict) else {}
    return bool(frame.get("error")) or frame.get("type") == "error" or str(frame.get("status")).lower() == "error"


def _event(probe: Probe) -> Script[Line | None]:
    """Place an order and cancel it; the first event of an order that is pushed meanwhile."""
    probe.pushed.clear()
    reply = yield from probe.place(probe.new_order_id())
    if not reply.is_good:
        raise Unanswered(f"an order could not be placed: {reply.error}")
    for row in (yield from _owned(probe)):
        yield from _cancel(probe, row)
    yield from probe.listen(3.0)
    return next((line for line in probe.pushed if line.frame["type"] in EVENT_KINDS), None)


def _event_body(line: Line) -> EventBody | None:
    frame: Mapping[str, Any] = line.frame
    if isinstance(frame.get("order"), Mapping):
        return EventBody.KEY
    if isinstance(frame.get("data"), Mapping):
        return EventBody.DATA
    return EventBody.FLAT if "orderId" in frame or "orderState" in frame else None
