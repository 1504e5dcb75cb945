"""What is read back from a journal: everything an earlier life left, as of its end or of any life's beginning."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest
from data.journals import fill, header, place
from live.killing import Killed

from xtalgo.data.journal import Journal, JournalFailed, read
from xtalgo.engine.brackets import Plan
from xtalgo.engine.orders import Blotter
from xtalgo.engine.others import Adjustment
from xtalgo.live.recorder import ADJUSTMENT, BRACKET, OFFSET
from xtalgo.live.resume import Estate, births
from xtalgo.model.errors import ConfigError
from xtalgo.model.types import OrderStatus, Side, Trigger

ES = "ES 06-26"


def text(*facts: object) -> str:
    return msgspec.json.encode(facts).decode()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A journal with two orders, one of them sent and filled by one contract, and what was known of others' hands."""
    path = tmp_path / "run.db"
    blotter = Blotter("r")
    with Journal.create(path, header()) as journal:
        sent = blotter.draft(1, "Fade", "Sim101", ES, Side.BUY, 2, limit_price=7113.25)
        kept = blotter.draft(2, "Fade", "Sim101", ES, Side.BUY, 1)
        for order in (sent, kept):
            blotter.step(order, Trigger.SUBMIT, 3)
            journal.order(order)
        journal.outcome("r-1", BRACKET, text(40, 7200.5), 3)
        journal.outcome("r-1", BRACKET, text(41, None), 3)
        journal.intent(place("r-1"), 4)
        journal.intent(place("r-2"), 4)
        blotter.step(sent, Trigger.SEND, 5)
        journal.order(sent)
        journal.outcome("r-1", "answered", "9f2", 6)
        blotter.step(kept, Trigger.STALE, 6)
        journal.order(kept)
        journal.outcome("r-2", "notsent", "not sent: the link is down", 6)
        journal.fill(fill(1, "r-1"))
        journal.outcome("", OFFSET, text("Sim101", ES, -3), 7)
        journal.outcome("", OFFSET, text("Sim101", "NQ 06-26", 2), 7)
        journal.outcome("", OFFSET, text("Sim101", ES, 0), 8)
        journal.outcome("", ADJUSTMENT, text("Fade", "Sim101", ES, -1, 28_453, 1), 9)
    return path


def test_everything_is_read(path: Path) -> None:
    with read(path) as reader:
        estate = Estate.of(reader)
    assert [order.id for order in estate.orders] == ["r-1", "r-2"]
    assert [order.status for order in estate.orders] == [OrderStatus.SENT, OrderStatus.CANCELLED]
    assert estate.fills == (fill(1, "r-1"),)
    assert estate.left == {"r-1"}
    assert estate.plans == {"r-1": Plan(41, None)}
    assert estate.aliases == {"9f2": "r-1"}
    assert estate.offsets == {("Sim101", "NQ 06-26"): 2}
    assert estate.adjustments == (Adjustment("Fade", "Sim101", ES, -1, 28_453, 1),)
    assert estate.lives == 1
    assert estate.owners == ("Fade",)
    assert estate.positions() == {}
    assert [order.id for order in estate.in_doubt()] == ["r-1"]


def test_no_more_is_read_than_was_there(path: Path) -> None:
    with read(path) as reader:
        rows = {"order_states": (2, 2), "intents": (1, 1), "outcomes": (1, 1), "inputs": (0, 0), "runs": (1, 1)}
        estate = Estate.of(reader, rows)
    assert [order.status for order in estate.orders] == [OrderStatus.QUEUED, OrderStatus.QUEUED]
    assert (estate.fills, estate.left, estate.plans) == ((), {"r-1"}, {"r-1": Plan(40, 7200.5)})
    assert (estate.aliases, estate.adjustments, estate.offsets) == ({}, (), {})


def test_an_intent_without_its_order_is_damage(tmp_path: Path) -> None:
    with Journal.create(tmp_path / "run.db", header()) as journal:
        journal.intent(place("r-1"))
    with read(tmp_path / "run.db") as reader, pytest.raises(JournalFailed, match="the intent of order r-1 and not"):
        Estate.of(reader)


def test_whoever_owned_something_must_be_there(path: Path) -> None:
    with read(path) as reader:
        estate = Estate.of(reader)
    estate.check_owners(["Other", "Fade"])
    with pytest.raises(ConfigError, match="orders of Fade, and the strategies given are Other"):
        estate.check_owners(["Other"])


def test_each_life_begins_with_what_the_one_before_left(tmp_path: Path) -> None:
    killed = Killed(7, tmp_path, (60, 70))
    assert killed.live() == []
    with read(killed.path) as reader:
        begun = births(reader)
        whole = Estate.of(reader)
        assert [birth.run for _, birth in begun] == ["k", "k.2", "k.3"]
        assert [birth.head for _, birth in begun] == [1, 2, 3]
        assert begun[0][1].rows == {}
        estates = [Estate.of(reader, birth.rows) for _, birth in begun[1:]]
    assert whole.lives == 3
    assert [estate.lives for estate in estates] == [1, 2]
    counts = [len(estate.orders) for estate in (*estates, whole)]
    assert counts == sorted(counts)
    assert estates[0].positions() == {("Dice", "Sim101", ES): 3}
