"""Taking up a run from its journal: what it owned, what may have left, its brackets, and what others' hands did."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from itertools import islice
from typing import TypeVar

import msgspec
from attrs import frozen

from xtalgo.data.journal import JournalFailed, JournalReader
from xtalgo.engine.brackets import Plan
from xtalgo.engine.engine import Engine
from xtalgo.engine.orders import Order
from xtalgo.engine.others import Adjustment
from xtalgo.engine.recovery import restore
from xtalgo.live.recorder import ADJUSTMENT, BRACKET, OFFSET, Birth, adjustment_of, offset_of, plan_of
from xtalgo.model.commands import PlaceOrder
from xtalgo.model.errors import ConfigError
from xtalgo.model.events import Fill
from xtalgo.model.types import OrderStatus

__all__ = ["Estate", "births"]

T = TypeVar("T")


@frozen
class Estate:
    """What the earlier lives of a run left in its journal."""

    orders: tuple[Order, ...]
    fills: tuple[Fill, ...]
    left: frozenset[str]
    """Orders whose placing was about to leave."""
    plans: dict[str, Plan]
    aliases: dict[str, str]
    """Our order ids by the venue's."""
    lives: int
    """How many lives the run has had."""
    adjustments: tuple[Adjustment, ...] = ()
    offsets: Mapping[tuple[str, str], int] = {}
    """Contracts by account and instrument that were not the run's."""
    rows: Mapping[str, tuple[int, int]] = {}
    """Rows and last key of each table of the journal."""

    @classmethod
    def of(cls, reader: JournalReader, upto: Mapping[str, tuple[int, int]] | None = None) -> Estate:
        """Read it from a journal, as of its last commit, or with the rows that were there when a life began.

        Raises JournalFailed when the journal is damaged.
        """
        rows = reader.verify() if upto is None else upto

        def first(name: str, items: Iterable[T]) -> Iterable[T]:
            return islice(items, rows.get(name, (0, 0))[0])

        intents = [intent.command for intent in first("intents", reader.intents())]
        placed = {command.order_id: command for command in intents if isinstance(command, PlaceOrder)}
        orders = {order.id: order for order in first("order_states", reader.order_states())}
        for order_id in placed:
            if order_id not in orders:  # both are written in one transaction, the order first
                raise JournalFailed(f"{reader.path}: it has the intent of order {order_id} and not the order")
        plans: dict[str, Plan] = {}
        aliases: dict[str, str] = {}
        not_sent: set[str] = set()
        adjustments: list[Adjustment] = []
        offsets: dict[tuple[str, str], int] = {}
        for outcome in first("outcomes", reader.outcomes()):
            if outcome.kind == BRACKET:
                plans[outcome.order_id] = plan_of(outcome.text)
            elif outcome.kind == ADJUSTMENT:
                adjustments.append(adjustment_of(outcome.text))
            elif outcome.kind == OFFSET:
                offsets.update([offset_of(outcome.text)])
            elif outcome.kind == "answered" and outcome.text and outcome.text != outcome.order_id:
                aliases[outcome.text] = outcome.order_id
            elif outcome.kind == "notsent" and orders[outcome.order_id].status is OrderStatus.CANCELLED:
                not_sent.add(outcome.order_id)
        return cls(
            tuple(orders.values()),
            tuple(first("fills", reader.fills())),
            frozenset(placed) - not_sent,
            plans,
            aliases,
            max(1, rows.get("runs", (1, 1))[0], sum(number <= rows["inputs"][1] for number, _ in births(reader))),
            tuple(adjustments),
            {key: offset for key, offset in offsets.items() if offset},
            dict(rows),
        )

    def bequeath(self) -> Callable[[Engine], None]:
        """What gives it to a fresh engine."""

        def give(engine: Engine) -> None:
            restore(engine, self.orders, self.fills, self.left, self.plans, engine.now, self.adjustments, self.offsets)
            assert engine.liaison is not None
            for venue_id, order_id in self.aliases.items():
                engine.liaison.evidence.alias(venue_id, order_id)

        return give

    # --- what it is worth ----------------------------------------------------------------------------------------

    @property
    def owners(self) -> tuple[str, ...]:
        """The strategies that ever had an order or a position."""
        names = [*(order.owner for order in self.orders), *(move.owner for move in self.adjustments)]
        return tuple(dict.fromkeys(names))

    def positions(self) -> dict[tuple[str, str, str], int]:
        """Signed contracts by strategy, account and instrument; those that are flat are left out."""
        held: Counter[tuple[str, str, str]] = Counter()
        orders = {order.id: order for order in self.orders}
        for fill in self.fills:
            if (order := orders.get(fill.order_id)) is not None:
                held[order.owner, order.account, order.instrument] += fill.side * fill.quantity
        for move in self.adjustments:
            held[move.owner, move.account, move.instrument] += move.change
        return {key: count for key, count in held.items() if count}

    def in_doubt(self) -> list[Order]:
        """Orders that may be at the venue; how they stand there is asked for."""
        return [order for order in self.orders if order.is_open and order.id in self.left]

    def check_owners(self, names: Iterable[str]) -> None:
        """ConfigError when a strategy of the journal is not among ``names``: nobody would own what it left."""
        known = list(names)
        missing = [name for name in self.owners if name not in known]
        if missing:
            raise ConfigError(
                f"the run has orders of {', '.join(missing)}, and the strategies given are {', '.join(known)}: "
                "resume with the files of the run, in their order"
            )


def births(reader: JournalReader) -> list[tuple[int, Birth]]:
    """The number of each input that began a life, and what it began with."""
    found: list[tuple[int, Birth]] = []
    for item in reader.inputs():
        if item.kind == "start":
            text = item.text if isinstance(item.text, str) else item.text.decode()
            found.append((item.number, msgspec.json.decode(text, type=Birth) if text else Birth(len(found) + 1)))
    return found
