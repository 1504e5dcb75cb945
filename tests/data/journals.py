"""Runs to write down, and what was written, to compare with."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from random import Random
from typing import Any

from xtalgo.data.journal import Header, Journal, StrategySource, encode_event
from xtalgo.data.journal_reader import JournalReader
from xtalgo.engine.orders import Blotter, Order
from xtalgo.model.commands import PlaceOrder
from xtalgo.model.events import Fill, Quote
from xtalgo.model.types import OrderType, Side, Trigger

START = 1_778_680_800_000_000_000
SECOND = 1_000_000_000

NAMES = ("inputs", "turns", "decisions", "intents", "outcomes", "fills", "order_states", "marks", "notices", "orders")


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def header(**changes: Any) -> Header:
    facts: dict[str, Any] = {
        "run": "r1",
        "created": START,
        "version": "0.1",
        "python": "3.11.7",
        "platform": "linux x86_64",
        "settings": '{"risk":{"max_contracts":5},"paper":true}',
        "accounts": ("Sim101", "Räuber 7"),
        "strategies": (StrategySource.of("Fade", "fade.py", "class Fade:\n    ...\n", '{"fast":10,"slow":30}'),),
    }
    return Header(**(facts | changes))


def fill(number: int, order_id: str = "r-1", quantity: int = 1, price: float = 7113.25) -> Fill:
    ts = START + number * SECOND
    return Fill(ts, order_id, f"e{number}", "Sim101", "ES 06-26", Side.BUY, quantity, price, 2.5, ts - 7)


def place(order_id: str = "r-1") -> PlaceOrder:
    return PlaceOrder(order_id, "Sim101", "ES 06-26", Side.BUY, OrderType.LIMIT, 1, 7113.25)


def shape(value: Any) -> Any:
    """Something to compare by: orders are equal only to themselves."""
    return {name: getattr(value, name) for name in Order.__struct_fields__} if isinstance(value, Order) else value


def contents(reader: JournalReader) -> dict[str, list[Any]]:
    """All that a reader yields, by table; the fills inside orders too."""
    return {name: [shape(row) for row in getattr(reader, name)()] for name in NAMES}


class Writer:
    """Writes a made-up run, frame by frame, and remembers how far each commit went."""

    def __init__(self, journal: Journal, seed: int = 1) -> None:
        self.journal = journal
        self.random = Random(seed)
        self.blotter = Blotter("r")
        self.number = journal.last_input
        self.open: list[Order] = []

    def frame(self) -> None:
        """One frame with what follows from it: sometimes an order, sometimes a fill."""
        journal, random = self.journal, self.random
        self.number += 1
        ts = START + self.number * SECOND
        bid = 7000 + random.randrange(400) / 4
        journal.input(
            self.number, ts, "frame", f'{{"type":"marketData","bid":{bid},"pad":"{"x" * random.randrange(300)}"}}'
        )
        journal.turn(self.number, ts, encode_event(Quote(ts, "ES 06-26", bid, bid + 0.25, None, self.number)))
        if random.random() < 0.2:
            order = self.blotter.draft(ts, "Fade", "Sim101", "ES 06-26", Side.BUY, 2, limit_price=bid)
            self.blotter.step(order, Trigger.SUBMIT, ts)
            journal.decision(self.number, self.number, (ts, "place", order.id, order.side, order.type, bid, None))
            journal.order(order)
            journal.intent(order.command(), ts)
            self.blotter.step(order, Trigger.SEND, ts)
            journal.order(order)
            self.open.append(order)
        elif self.open and random.random() < 0.4:
            order = self.open[0]
            done = Fill(ts, order.id, f"x{self.number}", "Sim101", "ES 06-26", Side.BUY, 1, bid, 2.25, ts - 5)
            self.blotter.book(order, done)
            journal.outcome(order.id, "answered", "ok", ts)
            journal.fill(done)
            journal.order(order)
            if order.is_done:
                self.open.pop(0)
        if random.random() < 0.1:
            journal.mark(ts, "Sim101", "equity", 50_000 + bid)
            journal.notice(ts, f"line {self.number} of the ünlikely kind")
        if random.random() < 0.3:
            journal.commit()


def written(path: Path, frames: int) -> Iterator[Writer]:
    """A writer after each of so many frames, over a new journal; closed at the end."""
    with Journal.create(path, header()) as journal:
        writer = Writer(journal)
        for _ in range(frames):
            writer.frame()
            yield writer
