"""Runs that read bars and figures of accounts, lived again from their journal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
import pytest
from app.liveruns import SERVER, conduct, life
from app.support import write
from tables import START

from xtalgo.app import journaling
from xtalgo.app.loader import load_strategies
from xtalgo.app.verify import verify
from xtalgo.data.journal import read

READER = """\
from xtalgo import AccountItems, Bar, History, Instrument, Strategy, Watermarks


class Reader(Strategy):
    instrument: Instrument = "ES"

    def warm_up(self):
        yield History(self.instrument, "1m", 30)

    def on_start(self) -> None:
        self.made = self.bars(self.instrument, "1m", source="venue")
        self.note("warm", bars=len(self.made), complete=self.made.complete)
        self.watch_account(10)
        self.watch_watermarks(10)

    def on_bar(self, bar: Bar) -> None:
        self.note("bar", end=bar.end, high=bar.high, low=bar.low)
        self.order_target(self.instrument, 1 if len(self.made) % 2 else -1)

    def on_account(self, items: AccountItems) -> None:
        self.note("items", cash=items.cash_value)
        if not self.position(self.instrument):
            self.buy(self.instrument, 1, stop_loss=400)

    def on_watermarks(self, marks: Watermarks) -> None:
        self.note("marks", high=marks.pnl_high)
"""

STORMS: dict[str, dict[str, Any]] = {
    "calm": {},
    "drops": {"drop_at": [9, 61.2, 100, 121.1]},
    "losses": {"lose_reply": 0.2, "lose_request": 0.1, "rate_refusal": 0.1, "garbage": 0.1, "double_reply": 0.3},
    "late": {"delay_reply": [0.4, 12.0]},
    "offline": {"addon_offline": [[50, 75]]},
}


@pytest.mark.parametrize("storm", STORMS)
async def test_a_run_that_reads_is_the_same_again(autojump_clock, folder: Path, storm: str) -> None:
    write(folder, "reader.py", READER)
    one = life(
        target=SERVER, duration=150, trailing_drawdown="5000", faults={"seed": 3, **STORMS[storm]}, on_stop="flatten"
    )
    strategies = load_strategies(["reader.py"], (), ())
    settings = one.run.plan.settings
    with journaling.begin(START, SERVER, settings, strategies, "run.db") as keeping:
        one.run.plan = attrs.evolve(one.run.plan, strategies=strategies, keeping=keeping)
        await conduct(one)
    with read(folder / "run.db") as reader:
        kinds = [turn.data.partition(",")[0] for turn in reader.turns()]
    for kind in ("BarsSeen", "ItemsSeen", "WatermarksSeen"):
        assert kinds.count(f'["{kind}"') >= 2, kind
    if storm in ("drops", "losses", "late"):
        assert '["Unread"' in kinds
    verdict = verify(folder / "run.db")
    assert verdict.difference is None, str(verdict.difference)
    assert verdict.turns == len(kinds)
    assert verdict.decisions == len(one.engine.decisions) > 3
    notes = [note.text for note in one.engine.notes]
    assert {"warm", "bar", "items", "marks"} <= set(notes)
