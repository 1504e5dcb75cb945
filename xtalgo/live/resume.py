"""Taking up a run from its journal: what it owned, what may have left, and what it knew of brackets."""

from __future__ import annotations

from collections.abc import Callable

from attrs import frozen

from xtalgo.data.journal import JournalReader
from xtalgo.engine.brackets import Plan
from xtalgo.engine.engine import Engine
from xtalgo.engine.orders import Order
from xtalgo.engine.recovery import restore
from xtalgo.live.recorder import BRACKET, plan_of
from xtalgo.model.commands import PlaceOrder
from xtalgo.model.events import Fill
from xtalgo.model.types import OrderStatus

__all__ = ["Estate"]


@frozen
class Estate:
    """What an earlier life of a run left in its journal."""

    orders: tuple[Order, ...]
    fills: tuple[Fill, ...]
    left: frozenset[str]
    """Orders whose placing was about to leave."""
    plans: dict[str, Plan]
    aliases: dict[str, str]
    """Our order ids by the venue's."""
    lives: int
    """How many lives the run has had."""

    @classmethod
    def of(cls, reader: JournalReader) -> Estate:
        """Read it from a journal."""
        intents = [intent.command for intent in reader.intents()]
        placed = {command.order_id: command for command in intents if isinstance(command, PlaceOrder)}
        orders = {order.id: order for order in reader.orders()}
        for order_id, command in placed.items():
            if order_id not in orders:  # its intent was the last that got to the disk
                raise_missing(order_id, command)
        plans: dict[str, Plan] = {}
        aliases: dict[str, str] = {}
        not_sent: set[str] = set()
        for outcome in reader.outcomes():
            if outcome.kind == BRACKET:
                plans[outcome.order_id] = plan_of(outcome.text)
            elif outcome.kind == "answered" and outcome.text and outcome.text != outcome.order_id:
                aliases[outcome.text] = outcome.order_id
            elif outcome.kind == "notsent" and orders[outcome.order_id].status is OrderStatus.CANCELLED:
                not_sent.add(outcome.order_id)
        lives = sum(item.kind == "start" for item in reader.inputs())
        return cls(
            tuple(orders.values()), tuple(reader.fills()), frozenset(placed) - not_sent, plans, aliases, max(1, lives)
        )

    def bequeath(self) -> Callable[[Engine], None]:
        """What gives it to a fresh engine."""

        def give(engine: Engine) -> None:
            restore(engine, self.orders, self.fills, self.left, self.plans, engine.now)
            assert engine.liaison is not None
            for venue_id, order_id in self.aliases.items():
                engine.liaison.evidence.alias(venue_id, order_id)

        return give


def raise_missing(order_id: str, command: PlaceOrder) -> None:
    """An intent without its order can't be: both are written in one transaction, the order first."""
    raise AssertionError(f"the journal has the intent of {order_id} ({command}) and not the order")
