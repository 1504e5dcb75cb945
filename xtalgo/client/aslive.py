"""Replay as live: the whole client against the whole server, without sockets, in simulated time.

Orders go out as the frames a live run would write, paced by the same budget, and fills are seen when a live run's polls
would find them. Slower than a plain replay, and the measure of what a plain replay's latency model leaves out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from xtalgo.client.setup import Setup
from xtalgo.client.trader import Trader
from xtalgo.engine.engine import Engine
from xtalgo.engine.risk import RiskLimits
from xtalgo.engine.series import QuoteTable
from xtalgo.engine.strategy import Strategy, instrument_parameters
from xtalgo.model.errors import DataError
from xtalgo.model.instruments import ContractBook
from xtalgo.model.types import NEVER, SECOND_NS, Ns
from xtalgo.protocol.dialect import Dialect
from xtalgo.sim.faults import Faults
from xtalgo.sim.feeds import Feed, TableFeed
from xtalgo.sim.fills import Latency
from xtalgo.sim.replay import ReplaySettings
from xtalgo.sim.result import Result, summarize
from xtalgo.sim.server import Close, Drop, Send, SimServer

__all__ = ["LEAD", "Rehearsal", "make_trader", "replay_as_live"]

LEAD: Final[Ns] = 10 * SECOND_NS
"""How long before the first quote the client connects."""

REDIAL: Final[Ns] = 2 * SECOND_NS
"""How long after the end of a connection the client is connected again."""

TAIL: Final[Ns] = 60 * SECOND_NS
"""How long after the last quote what is still to be seen is waited for."""


def make_trader(
    strategies: Sequence[Strategy],
    *,
    contracts: ContractBook,
    accounts: Sequence[str],
    limits: RiskLimits,
    run: str,
    real_allowed: bool = False,
    prepare: Callable[[Engine], None] | None = None,
    dialect: Dialect | None = None,
) -> Trader:
    """A client for strategies; the same in a rehearsal, in a test and in a live run.

    ``prepare`` gets the engine before anything is handed to it, to give it what an earlier life left. ``dialect`` is
    how the venue speaks, as far as it was found out.
    """
    names: dict[str, None] = {}
    for strategy in strategies:
        for parameter in instrument_parameters(type(strategy)):
            value = getattr(strategy, parameter)
            for name in (value,) if isinstance(value, str) else (value or ()):
                names[name] = None

    def make_engine(found: Sequence[str], pin: Callable[[str], str]) -> Engine:
        engine = Engine(strategies, contracts=contracts, pin=pin, accounts=found, limits=limits, run=run, asks=True)
        engine.queue = trader.queue
        if prepare is not None:
            prepare(engine)
        return engine

    setup = Setup(tuple(accounts), tuple(names), contracts, real_allowed)
    trader = Trader(setup, make_engine, dialect=dialect or Dialect())
    return trader


class Rehearsal:
    """A client and a server, tied back to back; ``now`` is the simulated time."""

    def __init__(self, trader: Trader, server: SimServer, start: Ns, token: str = "demo") -> None:
        self.trader = trader
        self.server = server
        self.now = start
        self.token = token
        self.connection: int | None = None
        self.reconnect: Ns = NEVER
        """When to connect again."""

    def connect(self) -> None:
        """Open the connection."""
        found = self.server.connect(self.token, self.now)
        self.reconnect = NEVER
        if isinstance(found, int):
            self.connection = found
            self.trader.link_up(self.now)
        else:
            self.reconnect = self.now + REDIAL
        self._exchange()

    def run(self, until: Ns) -> None:
        """Let everything up to ``until`` happen."""
        while (due := min(self.trader.due, self.server.due, self.reconnect)) <= until:
            self.now = max(self.now, due)
            self.trader.advance(self.now)
            self._exchange()
            self.server.advance(self.now)
            self._exchange()
            if self.reconnect <= self.now:
                self.connect()
        self.now = until

    def _exchange(self) -> None:
        """Carry frames both ways until neither side has any."""
        trader, server = self.trader, self.server
        while True:
            frames, trader.out = trader.out, []
            for frame in frames:
                if self.connection is not None:
                    server.receive(self.connection, frame.text, self.now)
            if trader.redial:
                reason, trader.redial = trader.redial, ""
                if self.connection is not None:
                    server.disconnect(self.connection, self.now)
                    self._ended(reason)
            outputs = server.outputs()
            if not outputs and not frames:
                return
            for output in outputs:
                if isinstance(output, Send) and output.connection == self.connection:
                    trader.frame(output.text, self.now)
                elif isinstance(output, Close | Drop) and output.connection == self.connection:
                    self._ended("the connection was closed")

    def _ended(self, reason: str) -> None:
        self.connection = None
        self.reconnect = self.now + REDIAL
        self.trader.link_down(self.now, reason)


def replay_as_live(
    strategies: Strategy | Sequence[Strategy],
    table: QuoteTable,
    settings: ReplaySettings | None = None,
    *,
    contracts: ContractBook | None = None,
    faults: Faults | None = None,
    run: str = "r",
    on_progress: Callable[[int], None] | None = None,
) -> Result:
    """Play a recording through strategies as a live run would live it."""
    if not len(table):
        raise DataError("the recording holds no quotes")
    chosen = [strategies] if isinstance(strategies, Strategy) else list(strategies)
    settings = settings or ReplaySettings()
    contracts = contracts or ContractBook()
    first, last = int(table.ts[table.order[0]]), int(table.ts[table.order[-1]])
    trader = make_trader(
        chosen, contracts=contracts, accounts=settings.accounts, limits=settings.limits, run=run, real_allowed=True
    )
    feed: Feed = TableFeed(table, contracts)
    server = SimServer(
        feed,
        accounts=settings.accounts,
        contracts=contracts,
        fills=settings.fills,
        latency=Latency(entry=settings.latency.entry, report=0),
        fees=settings.fees,
        faults=faults,
    )
    rehearsal = Rehearsal(trader, server, first - LEAD)
    rehearsal.connect()
    step = max(1, (last - first) // 100)
    for number in range(1, 102):
        rehearsal.run(min(last, first + number * step))
        _raise(trader)
        if on_progress is not None:
            on_progress(min(len(table), number * len(table) // 100))
    decided = 0 if trader.engine is None else len(trader.engine.decisions)
    if trader.engine is None:
        raise DataError("the recording ended before the client was ready")
    # What is on its way when the recording ends arrives and is seen; nothing new is decided by quotes.
    rehearsal.run(last + TAIL)
    _raise(trader)
    assert decided <= len(trader.engine.decisions)
    trader.engine.stop(trader.engine.now)
    executions = server.venue.exchange.executions
    return summarize(trader.engine, executions, trader.queue, table, contracts)


def _raise(trader: Trader) -> None:
    if trader.error is not None:
        raise trader.error
