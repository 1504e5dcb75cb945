"""Bars and figures from the whole server: as live, over faults, and as a plain replay would have them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from tables import ES, SECOND, START, table

from xtalgo import (
    AccountItems,
    Bar,
    ConfigError,
    ContractBook,
    FillModel,
    History,
    Instrument,
    Quote,
    QuoteTable,
    ReplaySettings,
    RiskLimits,
    Strategy,
    Watermarks,
    replay,
)
from xtalgo.client.aslive import Rehearsal, make_trader, replay_as_live
from xtalgo.engine.history import GRACE
from xtalgo.model.types import MINUTE_NS
from xtalgo.protocol.choices import BarLabel, GrowingBar
from xtalgo.protocol.dialect import Dialect
from xtalgo.sim.faults import Faults
from xtalgo.sim.feeds import TableFeed
from xtalgo.sim.fills import Fees, Latency
from xtalgo.sim.server import SimServer

BEGIN = START + 20 * SECOND
"""Not at the beginning of a minute: the first bar is not whole."""


def prices(count: int) -> list[float]:
    random = np.random.default_rng(5)
    return (4800.0 + 0.25 * np.cumsum(random.integers(-3, 4, count))).tolist()


def recording(count: int = 700) -> QuoteTable:
    return table(prices(count), start=BEGIN)


class Reader(Strategy):
    """Reads what there is, trades on its bars, and keeps what it was told and when."""

    instrument: Instrument = ES
    wanted: int = 0
    required: bool = False

    def warm_up(self) -> Iterable[History]:
        return [History(self.instrument, "1m", self.wanted, self.required)] if self.wanted else []

    def on_start(self) -> None:
        self.made = self.bars(self.instrument, "1m", source="venue")
        self.told: list[tuple[int, Bar]] = []
        self.items: list[AccountItems] = []
        self.marks: list[Watermarks] = []
        self.watch_account(20)
        self.watch_watermarks(30)

    def on_quote(self, quote: Quote) -> None:
        self.newest = quote

    def on_bar(self, bar: Bar) -> None:
        self.told.append((self.now, bar))
        self.order_target(self.instrument, 1 if bar.close > bar.open else -1)

    def on_account(self, items: AccountItems) -> None:
        self.items.append(items)

    def on_watermarks(self, marks: Watermarks) -> None:
        self.marks.append(marks)


def facts(bar: Bar) -> tuple[Any, ...]:
    return bar.start, bar.end, bar.open, bar.high, bar.low, bar.close, bar.volume


def ends(strategy: Reader) -> list[int]:
    return [(bar.end - START) // MINUTE_NS for _, bar in strategy.told]


def test_as_live_bars_are_those_of_a_replay_at_the_same_moments() -> None:
    plain, live = Reader(), Reader()
    replay(plain, recording())
    result = replay_as_live(live, recording())
    assert ends(plain) == list(range(2, 12))
    assert [(now, facts(bar)) for now, bar in live.told][:10] == [(now, facts(bar)) for now, bar in plain.told]
    assert {bar.source for _, bar in live.told} == {"venue"}
    assert len(result.fills) > 3


def test_as_live_figures_come_and_are_those_of_the_account() -> None:
    live = Reader()
    result = replay_as_live(live, recording(), ReplaySettings(fills=FillModel(slippage=0)))
    assert len(live.items) >= 30
    assert len(live.marks) >= 20
    last = live.items[-1]
    assert last.account == "Sim101"
    assert last.realized is not None
    assert last.unrealized is not None
    assert last.realized + last.unrealized == pytest.approx(result.net_pnl, abs=50)
    told = [marks for marks in live.marks if marks.pnl_high is not None]
    assert told
    assert all(marks.pnl is not None and marks.pnl_high >= marks.pnl for marks in told)
    assert live.marks[0].pnl_high is None  # before the day's first P&L


@pytest.mark.parametrize("growing", GrowingBar)
@pytest.mark.parametrize("label", BarLabel)
def test_however_the_venue_names_its_bars_and_whether_it_shows_the_growing_one(
    label: BarLabel, growing: GrowingBar
) -> None:
    dialect = Dialect(bar_label=label, growing_bar=growing, settled=frozenset({"bar_label", "growing_bar"}))
    strategy, contracts, quotes = Reader(wanted=2), ContractBook(), recording(400)
    trader = make_trader(
        [strategy], contracts=contracts, accounts=("Sim101",), limits=RiskLimits(), run="r", dialect=dialect
    )
    server = SimServer(
        TableFeed(quotes, contracts),
        contracts=contracts,
        fills=FillModel(),
        latency=Latency(entry=250_000_000, report=0),
        fees=Fees(),
        dialect=dialect,
    )
    server.advance(BEGIN + 170 * SECOND)
    rehearsal = Rehearsal(trader, server, BEGIN + 170 * SECOND)
    rehearsal.connect()
    rehearsal.run(BEGIN + 390 * SECOND)
    plain = Reader()
    replay(plain, quotes)
    known = [facts(bar) for _, bar in plain.told]
    assert [facts(bar) for bar in strategy.made] == known[: len(strategy.made)]
    assert (len(strategy.made), strategy.made.complete, ends(strategy)) == (5, True, [4, 5, 6])
    assert not any("changed after" in notice.text for notice in trader.notices)


STORMS: dict[str, dict[str, Any]] = {
    "drops": {"drop_at": [95.0, 241.5, 361.1, 480.9]},
    "losses": {"seed": 4, "lose_reply": 0.25, "lose_request": 0.15},
    "doubles": {"seed": 5, "double_reply": 0.6},
    "late": {"seed": 6, "delay_reply": [0.5, 12.0]},
    "refusals": {"seed": 7, "rate_refusal": 0.3},
    "offline": {"addon_offline": [[100.0, 290.0]]},
}


@pytest.mark.parametrize("storm", STORMS)
def test_over_faults_each_bar_comes_once_in_order_whole_and_not_early(storm: str) -> None:
    live, plain = Reader(), Reader()
    replay_as_live(live, recording(), faults=Faults.from_table(STORMS[storm]))
    replay(plain, recording())
    expected = {bar.end: facts(bar) for _, bar in plain.told}
    told = ends(live)
    assert told == list(range(told[0], told[-1] + 1))
    assert told[0] <= 4  # the start itself may take its time
    assert told[-1] >= 11
    for now, bar in live.told:
        assert now >= bar.end + GRACE
        assert bar.end not in expected or facts(bar) == expected[bar.end]


def test_what_is_wanted_before_a_recording_is_not_there_and_is_told() -> None:
    live = Reader(wanted=5)
    result = replay_as_live(live, recording(100))
    assert not live.made.complete
    assert "of 5 bars of ES 06-26 (1m) 0 came" in result.remarks[0]
    with pytest.raises(ConfigError, match="requires bars that could not be had"):
        replay_as_live(Reader(wanted=5, required=True), recording(100))


def test_a_run_that_begins_later_knows_what_the_venue_had_before() -> None:
    strategy, contracts, quotes = Reader(wanted=4), ContractBook(), recording()
    trader = make_trader([strategy], contracts=contracts, accounts=("Sim101",), limits=RiskLimits(), run="r")
    server = SimServer(
        TableFeed(quotes, contracts),
        contracts=contracts,
        fills=FillModel(),
        latency=Latency(entry=250_000_000, report=0),
        fees=Fees(),
    )
    server.advance(BEGIN + 400 * SECOND)
    rehearsal = Rehearsal(trader, server, BEGIN + 400 * SECOND)
    rehearsal.connect()
    rehearsal.run(BEGIN + 600 * SECOND)
    assert trader.is_running
    plain = Reader()
    replay(plain, quotes)
    known = [facts(bar) for _, bar in plain.told]
    assert strategy.made.complete
    assert [facts(bar) for bar in strategy.made] == known[1:9]  # ends 3 to 10, of which the first four were there
    assert ends(strategy) == [7, 8, 9, 10]


def test_the_servers_record_of_the_peak_reaches_the_guard() -> None:
    """The peak was made before the run began, so nobody here saw it."""

    class Buyer(Strategy):
        instrument: Instrument = ES

    path = [4800.0] * 60 + [4830.0] * 60 + [4800.0] * 200
    contracts, quotes = ContractBook(), table(path)
    server = SimServer(
        TableFeed(quotes, contracts),
        contracts=contracts,
        fills=FillModel(slippage=0),
        latency=Latency(entry=0, report=0),
        fees=Fees(commission=0.0),
    )

    def rehearsal(now: int) -> Rehearsal:
        trader = make_trader(
            [Buyer()],
            contracts=contracts,
            accounts=("Sim101",),
            limits=RiskLimits(trailing_drawdown=1_000.0),
            run=f"r{now}",
        )
        return Rehearsal(trader, server, now)

    first = rehearsal(START - 10 * SECOND)
    first.connect()
    first.run(START + 20 * SECOND)
    assert first.trader.engine is not None
    first.trader.engine.seats["Buyer"].strategy.buy(ES, 1)
    first.trader._send(first.trader.engine.decide(lambda: None, first.now), first.now)
    first._exchange()
    first.run(START + 30 * SECOND)
    assert first.connection is not None
    server.disconnect(first.connection, first.now)
    server.advance(START + 150 * SECOND)
    second = rehearsal(START + 150 * SECOND)
    second.connect()
    second.run(START + 170 * SECOND)
    assert second.trader.engine is not None
    (breach,) = second.trader.engine.breaches
    assert "short of the day's peak" in breach.text
    assert breach.ts < START + 155 * SECOND
