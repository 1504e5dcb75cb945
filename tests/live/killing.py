"""Runs that are killed and taken up again: a client and a server in simulated time, and a journal on disk.

What is in memory when a run is killed is lost, what was committed is not; a frame may have left or not. Then the next
life begins with what the journal has. ``Killed`` conducts them and says at the end which laws were broken.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field
from tables import SECOND, START, table

from xtalgo.app.journaling import prepare
from xtalgo.app.loader import import_file
from xtalgo.client.aslive import LEAD, Rehearsal, make_trader
from xtalgo.data.journal import Header, Journal, StrategySource, read
from xtalgo.engine.risk import RiskLimits
from xtalgo.live.recorder import Birth, Recorder
from xtalgo.live.resume import Estate
from xtalgo.model.instruments import ContractBook
from xtalgo.model.types import OrderStatus
from xtalgo.sim.faults import Faults
from xtalgo.sim.feeds import TableFeed
from xtalgo.sim.fills import Fees, FillModel, Latency
from xtalgo.sim.server import Close, Drop, Send, SimServer

BUSY = 30
"""Seconds in which strategies do things."""

MORE = 40
"""Seconds for each kill in which prices move and fill what is out."""

CALM = 45
"""Seconds in which prices stand, until everything must be known."""

SOURCE = '''\
import random

from xtalgo import Instrument, Quote, Strategy

VERBS = ("enter", "enter", "limit", "stop", "reduce", "target", "flat", "close", "cancel", "move")


class Dice(Strategy):
    """Does something by its seed and the second; what it holds already it finds at on_start."""

    instrument: Instrument = "ES 06-26"
    seed: int = 0
    start: int = 0
    busy: int = 30

    def on_start(self) -> None:
        self.owned = (self.position(self.instrument), len(self.orders()))

    def on_quote(self, quote: Quote) -> None:
        second = (quote.ts - self.start) // 1_000_000_000
        dice = random.Random(self.seed * 1_000 + second)
        if second < self.busy and dice.random() < 0.4:
            getattr(self, "do_" + dice.choice(VERBS))(quote, dice.randint(1, 3))

    def do_enter(self, quote: Quote, size: int) -> None:
        self.buy(self.instrument, size, stop_loss=2 + size, take_profit=1 + size)

    def do_limit(self, quote: Quote, size: int) -> None:
        self.buy(self.instrument, size, limit_price=quote.bid - 0.25, stop_loss=3)

    def do_stop(self, quote: Quote, size: int) -> None:
        self.buy(self.instrument, size, stop_price=quote.ask + 0.5)

    def do_reduce(self, quote: Quote, size: int) -> None:
        held = self.position(self.instrument)
        if held > 0:
            self.sell(self.instrument, min(size, held))

    def do_target(self, quote: Quote, size: int) -> None:
        self.order_target(self.instrument, size - 2)

    def do_flat(self, quote: Quote, size: int) -> None:
        self.order_target(self.instrument, 0)

    def do_close(self, quote: Quote, size: int) -> None:
        self.close(self.instrument)

    def do_cancel(self, quote: Quote, size: int) -> None:
        self.cancel_all()

    def do_move(self, quote: Quote, size: int) -> None:
        for order in self.orders():
            if not order.is_exit and order.limit_price is not None:
                self.change(order, limit_price=quote.bid - 0.25 * size)
'''


class Killing(BaseException):
    """The process is gone."""


class Driver(Rehearsal):
    """A rehearsal with a recorder. ``strike`` is called at each moment at which a kill makes a difference."""

    recorder: Recorder
    strike: Callable[[str], None]

    def _exchange(self) -> None:
        trader, server = self.trader, self.server
        while True:
            frames, trader.out = trader.out, []
            for frame in frames:
                if frame.command is not None:
                    self.strike("before the intent")
                    if not self.recorder.may_leave(frame.command, self.now):
                        trader.unsent(self.now, frame.key or "", "the journal can't be written")
                        continue
                    self.strike("after the intent")
                if self.connection is not None:
                    server.receive(self.connection, frame.text, self.now)
                if frame.command is not None:
                    self.strike("after it left")
            if trader.redial:
                reason, trader.redial = trader.redial, ""
                if self.connection is not None:
                    server.disconnect(self.connection, self.now)
                    self._ended(reason)
            outputs = server.outputs()
            self.recorder.flush()
            if not outputs and not frames:
                return
            for output in outputs:
                if isinstance(output, Send) and output.connection == self.connection:
                    trader.frame(output.text, self.now)
                elif isinstance(output, Close | Drop) and output.connection == self.connection:
                    self._ended("the connection was closed")


@define(eq=False)
class Killed:
    """One run with kills: ``kills`` are counts of moments after each life's beginning at which it is struck."""

    seed: int
    folder: Path
    kills: tuple[int, ...] = ()
    faults: dict[str, Any] = field(factory=dict)
    moments: list[str] = field(factory=list)
    """What each moment of the last life was."""
    struck: list[str] = field(factory=list)
    owned: list[tuple[int, int]] = field(factory=list)
    """What each life found at its start: position and open orders."""
    path: Path = field(init=False)
    driver: Driver = field(init=False)
    server: SimServer = field(init=False)

    def live(self) -> list[str]:
        """Live all lives; which laws were broken at the end."""
        dice = random.Random(self.seed)
        moving = BUSY + MORE * len(self.kills)
        price, bids = 4800.0, []
        for second in range(moving + (CALM + 30) * (len(self.kills) + 1)):
            if second < moving:
                price += dice.choice([-0.5, -0.25, 0, 0, 0.25, 0.5])
            bids.append(price)
        contracts = ContractBook()
        self.server = SimServer(
            TableFeed(table(bids, sizes=dice.choice([None, 2])), contracts),
            accounts=("Sim101",),
            contracts=contracts,
            fills=FillModel(slippage=1),
            latency=Latency(entry=250_000_000, report=0),
            fees=Fees(),
            faults=Faults.from_table({"seed": self.seed, **self.faults}),
        )
        file = self.folder / "dice.py"
        file.write_text(SOURCE, encoding="utf-8")
        self.path = self.folder / "run.db"
        parameters = f'{{"seed":{self.seed},"start":{START},"busy":{BUSY}}}'
        header = Header(
            "k",
            START,
            "1",
            "3",
            "x",
            SETTINGS,
            ("Sim101",),
            (StrategySource.of("Dice", str(file), SOURCE, parameters),),
        )
        kind = import_file(file).Dice
        now, journal, keeping = START - LEAD, Journal.create(self.path, header), (Birth(1, "k"), None)
        for life in range(len(self.kills) + 1):
            birth, estate = keeping
            strategy = kind(seed=self.seed, start=START, busy=BUSY)
            trader = make_trader(
                [strategy],
                contracts=contracts,
                accounts=("Sim101",),
                limits=RiskLimits(),
                run=birth.run,
                real_allowed=True,
                prepare=prepare(estate, keeps_external=False, adopts=False),
            )
            driver = self.driver = Driver(trader, self.server, now)
            driver.recorder = Recorder(journal, trader)
            if estate is None:
                driver.recorder.begin(now, birth)
            else:
                driver.recorder.begin(now, birth, len(estate.adjustments), estate.offsets)
            left = self.kills[life] if life < len(self.kills) else 0
            driver.strike = self._striker(left)
            end = max(now, START + moving * SECOND) + CALM * SECOND + SECOND // 2
            try:
                driver.connect()
                while driver.now < end:
                    driver.run(min(end, driver.now + SECOND))
                    driver.strike("before a commit")
                    driver.recorder.commit(driver.now)
                    driver.strike("after a commit")
                self.owned.append(getattr(strategy, "owned", (0, 0)))
                break  # it lived through: nothing is left to be struck
            except Killing:
                self.owned.append(getattr(strategy, "owned", (0, 0)))
                now = driver.now + SECOND
                self._bury(journal, driver)
                journal = Journal.resume(self.path)
                with read(self.path) as reader:
                    found = Estate.of(reader)
                journal.add_header(header)
                journal.commit()
                run = f"k.{found.lives + 1}"
                keeping = (Birth(len(reader.headers) + 1, run, dict(found.rows)), found)
        journal.close()
        return self._judge()

    def _striker(self, left: int) -> Callable[[str], None]:
        self.moments = []

        def strike(what: str) -> None:
            self.moments.append(what)
            if len(self.moments) == left:
                self.struck.append(what)
                raise Killing

        return strike

    def _bury(self, journal: Journal, driver: Driver) -> None:
        for rows in journal._rows.values():  # what was in memory is gone
            rows.clear()
        journal._lost.clear()
        journal.close()
        if driver.connection is not None:
            self.server.disconnect(driver.connection, driver.now)
        self.server.advance(driver.now)
        self.server.outputs()

    def _judge(self) -> list[str]:
        trader, venue = self.driver.trader, self.server.venue
        bad = [] if trader.error is None else [f"error: {trader.error!r}"]
        engine = trader.engine
        if engine is None:
            return [*bad, "the engine was never made"]
        keys = Counter(order.key for order in venue.orders)
        bad += [f"{key} is {count} times at the venue" for key, count in keys.items() if count > 1]
        bad += [f"{decision}" for decision in engine.decisions if decision[1] == "external"]
        for order in venue.orders:
            ours = engine.blotter.orders.get(order.key)
            if ours is None:
                bad.append(f"{order.key} at the venue is not ours")
            elif (ours.filled, ours.is_done) != (order.filled, order.state.is_done):
                bad.append(f"{order.key}: {ours.status} with {ours.filled}, there {order.state} with {order.filled}")
        for ours in engine.blotter.orders.values():
            if ours.id not in keys and ours.status not in _NEVER_THERE:
                bad.append(f"{ours.id} is {ours.status} and was never at the venue")
        booked = Counter(fill.execution_id for fill in engine.blotter.fills)
        happened = {execution.id for execution in venue.executions}
        bad += [f"execution {key} is booked {count} times" for key, count in booked.items() if count > 1]
        bad += [f"execution {key} is booked by one side alone" for key in happened ^ set(booked)]
        held, there = (
            ledger.account_position("Sim101", "ES 06-26") for ledger in (engine.ledger, self.server.venue.ledger)
        )
        if held != there:
            bad.append(f"our books hold {held}, the venue {there}")
        exits: dict[str, int] = {}
        for order in engine.blotter.orders.values():
            if order.is_exit and order.is_open:
                exits[order.oco or order.id] = max(exits.get(order.oco or order.id, 0), order.remaining)
        if sum(exits.values()) > abs(held):
            bad.append(f"exits of {sum(exits.values())} for a position of {held}")
        return bad


SETTINGS = '{"mode":"server","external":"deny","start_behavior":"wait-flat","risk":{},"instruments":{}}'

_NEVER_THERE = (OrderStatus.DENIED, OrderStatus.CANCELLED, OrderStatus.ABSENT, OrderStatus.REJECTED)
