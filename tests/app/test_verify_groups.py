"""Groups in a run that is written down: the same decisions when it is lived again from its journal."""

from __future__ import annotations

import json
from pathlib import Path

import attrs
import pytest
from app.liveruns import SERVER, conduct
from app.support import write
from app.test_verify import kept, same

from xtalgo.data.journal import read

GROUPED = """\
from xtalgo import Instrument, OrderGroup, Quote, Strategy


class Swing(Strategy):
    instrument: Instrument = "ES"

    def on_start(self) -> None:
        self.seen = 0

    def on_quote(self, quote: Quote) -> None:
        self.seen += 1
        if self.seen % 5 == 0:
            self.buy_group(self.instrument, 1, stop_loss=8, take_profit=4, within=0.5, all_or_none=self.seen % 2 == 0)
        if self.seen % 13 == 0:
            self.target_group(self.instrument, {"Sim101": -1, "Sim102": 1})
        if self.seen % 17 == 0:
            self.close_group(self.instrument)

    def on_group(self, group: OrderGroup) -> None:
        self.note(group.report(), diverged=group.is_diverged)
        if group.is_diverged and group.verb == "buy":
            self.close_group(self.instrument, accounts=group.orders)
"""

STORMS = {
    "calm": {},
    "storm": {"lose_reply": 0.2, "lose_request": 0.1, "rate_refusal": 0.1, "drop_at": [15, 27], "reject_order": 0.1},
}


@pytest.mark.parametrize("storm", STORMS)
async def test_groups_are_the_same_again(autojump_clock, folder: Path, storm: str) -> None:
    write(folder, "swing.py", GROUPED)
    target = attrs.evolve(SERVER, accounts=("Sim101", "Sim102"))
    with kept(folder, target, duration=45, on_stop="flatten", faults={"seed": 5, **STORMS[storm]}) as one:
        await conduct(one)
    decided = [decision for decision in one.engine.decisions if decision[1] == "group"]
    assert len(decided) >= 8
    assert {str(decision[3]) for decision in decided} >= {"buy", "target", "close"}
    assert same(folder / "run.db").decisions == len(one.engine.decisions)
    with read(folder / "run.db") as reader:
        told = [item.data for item in reader.decisions() if json.loads(item.data)[1] == "group"]
    assert len(told) == len(decided)
    first = one.heard.of("group")[0].text
    assert first.endswith("buy ES 06-26 in Sim101, Sim102 (2 requests, 2 at once, 4 later for exits)"), first
    diverged = [decision for decision in one.engine.decisions if decision[1] == "diverged"]
    assert len(one.heard.of("diverged")) == len(diverged)
    assert diverged or storm == "calm"
    assert all(news.is_warning for news in one.heard.of("diverged"))
