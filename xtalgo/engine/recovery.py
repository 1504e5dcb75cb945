"""Taking over what an earlier life of a run left: its orders, its fills, its positions and their exits.

Nothing of the past is believed beyond what was recorded before it left the house: an order whose intent is on record
may be at the venue and is in doubt until evidence speaks; one whose intent is not on record never left.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterable, Mapping

import msgspec

from xtalgo.engine.brackets import Pair, Plan
from xtalgo.engine.desk import Desk
from xtalgo.engine.engine import Engine
from xtalgo.engine.orders import Order
from xtalgo.engine.others import Adjustment
from xtalgo.engine.reconcile import ROW
from xtalgo.model.errors import ConfigError
from xtalgo.model.events import Fill
from xtalgo.model.types import Ns, OrderStatus, Role, Trigger

__all__ = ["restore"]


def restore(
    engine: Engine,
    orders: Iterable[Order],
    fills: Iterable[Fill],
    left: Collection[str],
    plans: Mapping[str, Plan],
    now: Ns,
    adjustments: Iterable[Adjustment] = (),
    offsets: Mapping[tuple[str, str], int] | None = None,
) -> list[Order]:
    """Give a fresh engine the orders and fills of its earlier life, before ``start``; returns the orders in doubt.

    ``left`` are the ids of orders whose placing was about to leave, ``plans`` the brackets of entries, ``adjustments``
    and ``offsets`` what was known of others' hands. The engine must have the same strategies under the same names, and
    be one that asks.
    """
    if engine.liaison is None:
        raise ConfigError("only a run against a venue that can be asked can be taken over")
    engine.now = max(engine.now, now)
    doubtful: list[Order] = []
    for recorded in sorted(orders, key=_number):
        seat = engine.seats.get(recorded.owner)
        if seat is None:
            raise ConfigError(
                f"order {recorded.id} belongs to {recorded.owner}, which is not among the strategies of this run: "
                f"{', '.join(engine.seats)}"
            )
        order = _revived(recorded, recorded.id in left)
        engine.blotter.orders[order.id] = order
        desk = engine.seat_desk(seat, order)
        if order.status is OrderStatus.IN_DOUBT:
            doubtful.append(order)
            engine.liaison.evidence.reopen(order, now)
        if order.is_open and not order.is_exit:
            desk.orders.append(order)
        if order.id in plans:
            desk.plans[order.id] = plans[order.id]
    _rebook(engine, fills, list(adjustments), offsets or {})
    for seat in engine.seats.values():
        for desk in seat.desks.values():
            desk.orders = [order for order in desk.orders if order.is_open]
            _revive_exits(engine, desk)
            engine.touch(desk)
    engine.liaison.inherit()
    engine.liaison.evidence.tidy()
    return [order for order in doubtful if order.is_open]


def _rebook(
    engine: Engine, fills: Iterable[Fill], adjustments: list[Adjustment], offsets: Mapping[tuple[str, str], int]
) -> None:
    """Bring the books to where they were: fills, and between them what others took or what was adopted."""
    assert engine.liaison is not None
    evidence, moves = engine.liaison.evidence, deque(adjustments)
    for fill in fills:
        while moves and moves[0].after <= len(engine.blotter.fills):
            _adjust(engine, moves.popleft())
        known = engine.blotter.orders.get(fill.order_id)
        if known is not None and engine.blotter.book(known, fill):
            desk = engine.seat_desk(engine.seats[known.owner], known)
            desk.book.trade(fill.side * fill.quantity, desk.contract.to_ticks(fill.price), fill.fee)
            if fill.execution_id.startswith(ROW):  # its executions may come yet, and only take its place
                evidence.provisional[known.id] = evidence.provisional.get(known.id, 0) + fill.quantity
    for move in moves:
        _adjust(engine, move)
    engine.liaison.others.inherit(offsets, adjustments)


def _adjust(engine: Engine, move: Adjustment) -> None:
    seat = engine.seats.get(move.owner)
    if seat is None:
        raise ConfigError(
            f"{move.owner} held {move.instrument} and is not among the strategies of this run: "
            f"{', '.join(engine.seats)}"
        )
    seat.desk(move.instrument, move.account).book.trade(move.change, move.ticks)


def _number(order: Order) -> tuple[Ns, int]:
    return order.created, int(order.id.rpartition("-")[2])


def _revived(recorded: Order, has_left: bool) -> Order:
    """The order without its fills, which are booked again; open ones are in doubt, or never left."""
    status, reason = recorded.status, recorded.reason
    if not status.is_done:
        status = OrderStatus.IN_DOUBT if has_left else OrderStatus.CANCELLED
        reason = "" if has_left else "the run ended before it was sent"
    elif status is OrderStatus.FILLED:
        status = OrderStatus.IN_DOUBT  # until its fills are booked, in the same breath
    return msgspec.structs.replace(
        recorded,
        status=status,
        reason=reason,
        evidence=Trigger.DOUBT if status is OrderStatus.IN_DOUBT else recorded.evidence,
        is_done=status.is_done,
        filled=0,
        average_price=None,
        fills=(),
        pending_cancel=False,
        pending_change=False,
    )


def _revive_exits(engine: Engine, desk: Desk) -> None:
    """Pairs of the exits that may still be out, and cover for what they don't cover: its entries' own plans say how."""
    groups: dict[tuple[str, str], list[Order]] = defaultdict(list)
    for order in engine.blotter.orders.values():
        place = (order.owner, order.account, order.instrument)
        if order.is_open and order.is_exit and place == (desk.owner, desk.account, desk.contract.name):
            groups[order.parent or "", order.oco or order.id].append(order)
    for (entry, _), legs in groups.items():
        stop = next((leg for leg in legs if leg.role is Role.STOP_LOSS), None)
        target = next((leg for leg in legs if leg.role is Role.TAKE_PROFIT), None)
        covered = max(leg.quantity - leg.filled for leg in legs)
        pair = Pair(
            entry,
            legs[0].side,
            covered,
            None if stop is None else stop.stop_price,
            None if target is None else target.limit_price,
        )
        pair.stop, pair.target = stop, target
        desk.exits.pairs.append(pair)
    position = desk.book.position
    bare = abs(position) - desk.exits.covered()
    for order in reversed(list(engine.blotter.orders.values())):
        plan = desk.plans.get(order.id)
        if bare <= 0:
            break
        if plan is None or order.average_price is None or order.side * position <= 0 or order.owner != desk.owner:
            continue
        quantity = min(bare, order.filled)
        desk.exits.cover(order, plan, quantity, order.average_price)
        bare -= quantity
    desk.exits.trim(position)
