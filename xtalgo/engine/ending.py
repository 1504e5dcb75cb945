"""How a run ends: what is cancelled, what is closed, what stays, and when that has come through."""

from __future__ import annotations

from xtalgo.engine.engine import Engine
from xtalgo.engine.orders import Order
from xtalgo.engine.risk import TradingState
from xtalgo.model.commands import Command
from xtalgo.model.types import Ns, OrderStatus, OrderType, Role

__all__ = ["halt", "is_closing", "unsettled", "wind_down"]

_AWAITED = (OrderStatus.QUEUED, OrderStatus.SENT, OrderStatus.IN_DOUBT)


def wind_down(engine: Engine, mode: str, now: Ns) -> list[Command]:
    """Open nothing more, and bring what is open to the end that ``mode`` says.

    ``protect`` cancels what could extend a position; ``cancel`` cancels every order of the strategies' own; ``flatten``
    closes every position of this run. Engine-owned exits stay as long as what they protect.
    """

    def act() -> None:
        for seat in engine.seats.values():
            seat.gate.restrict(TradingState.HALTED, "the run is ending")
            for desk in seat.desks.values():
                if mode == "flatten":
                    desk.close()
                elif mode == "cancel":
                    desk.goal = None
                    for order in list(desk.orders):
                        engine.amendments.cancel(order, insist=True)
                else:
                    desk.cancel_entries()
                engine.touch(desk)

    return engine.decide(act, now)


def halt(engine: Engine, why: str, now: Ns) -> list[Command]:
    """While ``why`` is not empty nothing is opened: entries are cancelled and denied, whatever reduces still passes.

    It stands beside the states of strategies: when it ends, each is as restricted as it would be without it, but for
    those that paused since others' hands had moved their position: whoever ends a halt resumes them, too. An engine
    that asks nothing (a replay) can't be halted from outside.
    """
    if engine.liaison is None:
        return []
    engine.liaison.halted = why
    engine.barred = engine.liaison.bars

    def act() -> None:
        for seat in engine.seats.values():
            if not why and seat.is_paused:
                seat.resume()
            if why:
                for desk in seat.desks.values():
                    desk.cancel_entries()
                    engine.touch(desk)

    return engine.decide(act, now)


def unsettled(engine: Engine) -> list[Order]:
    """Orders whose end, or whose cancel, is still to be seen; empty once ``wind_down`` has come through.

    A market order is among them: it may fill at any moment, whatever it is for.
    """
    return [
        order
        for order in engine.blotter.orders.values()
        if order.is_open
        and (
            order.pending_cancel
            or order.status in _AWAITED
            or order.role is Role.CLOSE
            or order.type is OrderType.MARKET
        )
    ]


def is_closing(engine: Engine) -> bool:
    """Whether a close is under way."""
    return any(desk.closing for seat in engine.seats.values() for desk in seat.desks.values())
