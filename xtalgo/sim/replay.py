"""The replay loop: recorded quotes through the same engine, pacing queue and order machine that trade live.

For each quote in order of time: everything due up to its time happens first, each thing as a turn of its own
(timers, then queue releases, then arrivals and reports); then the exchange matches the quote; then the engine
takes it; its commands enter the queue. Between things due, quotes run through ``Engine.feed`` in one go.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from operator import length_hint

from attrs import Factory, define, field, frozen

from xtalgo.engine.engine import Engine
from xtalgo.engine.ledger import Ledger
from xtalgo.engine.pacing import PacingQueue, slot_of
from xtalgo.engine.risk import RiskLimits
from xtalgo.engine.series import QuoteTable, RecordedSeries, Series
from xtalgo.engine.strategy import Strategy
from xtalgo.model.commands import BarsQuery, Command, FiguresQuery, Mutation, Query, Withdraw
from xtalgo.model.errors import DataError
from xtalgo.model.events import AccountPnl, Quote, Released, Stale, Tick
from xtalgo.model.instruments import ContractBook
from xtalgo.model.types import MINUTE_NS, NEVER, SECOND_NS, Ns
from xtalgo.sim.exchange import SimExchange
from xtalgo.sim.fills import Fees, FillModel, Latency
from xtalgo.sim.recordedbars import RecordedBars, before
from xtalgo.sim.result import Result, summarize

__all__ = ["Replay", "ReplaySettings", "replay"]

CHUNK = 16_384
"""Quotes that are unboxed at a time."""

NEAR = 8
"""Quotes among which the next thing due is looked for first."""

LEAD: Ns = MINUTE_NS
"""How long before the first quote bars are asked for that strategies want by then: longer than the start waits."""

PATIENCE: Ns = MINUTE_NS
"""How long after the last quote replies and reports that are still on their way are waited for."""


@frozen(kw_only=True)
class ReplaySettings:
    """Everything a replay's result depends on besides the recording and the strategies."""

    fills: FillModel = Factory(FillModel)
    latency: Latency = Factory(Latency)
    fees: Fees = Factory(Fees)
    limits: RiskLimits = Factory(RiskLimits)
    accounts: tuple[str, ...] = ("Sim101",)

    @classmethod
    def ideal(cls) -> ReplaySettings:
        """No latency, no slippage, no commission: for checking a strategy's logic, not its worth."""
        return cls(fills=FillModel(slippage=0), latency=Latency(entry=0, report=0), fees=Fees(commission=0.0))


@define(eq=False)
class Replay:
    """One replay in the making: engine, queue, exchange and the recording they run over."""

    strategies: Sequence[Strategy]
    table: QuoteTable
    settings: ReplaySettings = Factory(ReplaySettings)
    contracts: ContractBook = Factory(ContractBook)
    history: QuoteTable | None = None
    """Quotes of which bars from before the recording are made; none of them is played."""
    engine: Engine = field(init=False)
    queue: PacingQueue[Mutation | BarsQuery] = field(init=False, factory=PacingQueue)
    exchange: SimExchange = field(init=False)
    decided: int = field(init=False, default=0)
    """How many decisions were made by the last quote; later ones come of replies that were still on their way."""
    _series: dict[str, Series] = field(init=False, factory=dict)
    _bars: RecordedBars = field(init=False)
    _asked: deque[tuple[Ns, BarsQuery]] = field(init=False, factory=deque)
    """Questions for bars on their way, and when they are answered."""
    _wants_pnl: bool = field(init=False, default=False)
    _told_pnl: Ns = field(init=False, default=0)
    _venue_books: Ledger = field(init=False, factory=Ledger)
    _booked: int = field(init=False, default=0)

    def __attrs_post_init__(self) -> None:
        held = self.table.instruments
        self.engine = Engine(
            self.strategies,
            contracts=self.contracts,
            pin=lambda text: self.contracts.pin(text, held),
            accounts=self.settings.accounts,
            limits=self.settings.limits,
            make_series=lambda contract: RecordedSeries(contract, self.table),
        )
        self.engine.queue = self.queue
        self.exchange = SimExchange(
            self.contracts.contract,
            self._quote_of,
            self.settings.fills,
            self.settings.latency,
            self.settings.fees,
        )
        history = None if self.history is None or not len(self.table) else before(self.history, self.table)
        self._bars = RecordedBars(self.table, history, lambda name: self._series[name].count)
        self._wants_pnl = any(type(strategy).on_pnl is not Strategy.on_pnl for strategy in self.strategies)

    def _quote_of(self, instrument: str) -> Quote | None:
        return self._series[instrument].quote

    def run(self, on_progress: Callable[[int], None] | None = None) -> Result:
        """Play the whole recording. ``on_progress`` is told the number of quotes done, now and then."""
        count = len(self.table)
        if not count:
            raise DataError("the recording holds no quotes")
        self._series = {name: self.engine.feeds.of(name) for name in self.table.instruments}
        self._start(int(self.table.ts[self.table.order[0]]))
        for start in range(0, count, CHUNK):
            self._play(start, min(count, start + CHUNK))
            if on_progress is not None:
                on_progress(min(count, start + CHUNK))
        self.decided = len(self.engine.decisions)
        self._drain()
        self.engine.stop(self.engine.now)
        return summarize(self.engine, self.exchange.executions, self.queue, self.table, self.contracts)

    def _start(self, now: Ns) -> None:
        self._send(self.engine.warm_up(now - LEAD))
        while (due := min(self.engine.due, self._venue_due())) <= now:
            self._advance(due)
        self._send(self.engine.start(now))

    def _play(self, start: int, stop: int) -> None:
        stamps, boxed = self.table.chunk(start, stop)
        quotes = iter(boxed)
        engine, exchange, queue, timers = self.engine, self.exchange, self.queue, self.engine.timers
        size, done = stop - start, 0
        while done < size:
            due = timers.due
            if exchange.due < due:
                due = exchange.due
            if queue.waiting:
                due = min(due, queue.due(engine.now))
            if self._asked:
                due = min(due, self._asked[0][0])
            if due <= stamps[done]:
                self._advance(due)
                continue
            # What is due is mostly due within a few quotes, and a search through the whole chunk is a cold one.
            near = min(done + NEAR, size)
            reach = bisect_left(stamps, due, done, near)
            if reach == near:
                reach = size if due > stamps[-1] else bisect_left(stamps, due, near)
            if self._wants_pnl:
                if stamps[done] >= self._told_pnl + SECOND_NS:
                    self._tell_pnl(stamps[done])
                    continue
                reach = bisect_left(stamps, self._told_pnl + SECOND_NS, done, reach)
            batch: Iterable[Quote] = islice(quotes, reach - done)
            if exchange.resting:
                batch = exchange.watch(batch)
            commands = engine.feed(batch)
            if commands:
                self._send(commands)
            done = size - length_hint(quotes)

    # --- what happens between quotes -----------------------------------------------------------------------------

    def _advance(self, now: Ns) -> None:
        """Let what is due at ``now`` happen: timers, or else the queue, or else the venue."""
        if self.engine.timers.due <= now:
            self._send(self.engine.handle(Tick(now)))
        else:
            self._advance_venue(now)

    def _advance_venue(self, now: Ns) -> None:
        if self.queue.waiting and self.queue.due(now) <= now:
            for command in self.queue.expired(now):
                self._send(self.engine.handle(Stale(now, command)))
            self._release(now)
        elif self._asked and self._asked[0][0] <= now:
            self._send(self.engine.handle(self._bars.answer(self._asked.popleft()[1], now)))
        else:
            self._hear(now)

    def _venue_due(self) -> Ns:
        """When something happens between the queue and the venue, expiries left out."""
        answer = self._asked[0][0] if self._asked else NEVER
        return min(answer, self.queue.due(self.engine.now), self.exchange.in_flight_due())

    def _hear(self, now: Ns) -> None:
        for report in self.exchange.advance(now):
            commands = self.engine.handle(report)
            if commands:
                self._send(commands)

    def _send(self, commands: list[Command]) -> None:
        """Queue commands, and let out at once what there are tokens for."""
        queue, now = self.queue, self.engine.now
        for command in commands:
            if isinstance(command, Withdraw):
                queue.remove(command.key)
            elif not isinstance(command, Query | FiguresQuery):  # of orders the exchange tells by itself
                slot = slot_of(command)
                queue.push(command, slot.lane, now, ttl=slot.ttl, key=slot.key)
        if queue.waiting:
            self._release(now)

    def _release(self, now: Ns) -> None:
        while (entry := self.queue.pop(now)) is not None:
            # Released is handled in the same breath, so that nothing that left can be withdrawn.
            follow = self.engine.handle(Released(now, entry.item, now - entry.queued))
            if isinstance(entry.item, BarsQuery):
                self._asked.append((now + self.settings.latency.entry, entry.item))
            else:
                self.exchange.submit(entry.item, now)
            if follow:
                self._send(follow)

    def _drain(self) -> None:
        """Let what is on its way when the recording ends arrive and be seen; timers and new quotes there are none."""
        last = self.engine.now + PATIENCE
        while True:
            due = self._venue_due()
            if due > last:
                return
            self._advance_venue(due)

    def _tell_pnl(self, now: Ns) -> None:
        self._told_pnl = now
        for fill in self.exchange.executions[self._booked :]:
            self._venue_books.record("", self.contracts.contract(fill.instrument), fill)
        self._booked = len(self.exchange.executions)
        for account in self.settings.accounts:
            realized = unrealized = 0.0
            for (_, held_in, instrument), book in self._venue_books.books.items():
                if held_in == account:
                    realized += book.money(book.realized) - book.fees / 1_000_000
                    quote = self._quote_of(instrument)
                    if quote is not None and book.position:
                        mark = book.contract.to_ticks(quote.bid if book.position > 0 else quote.ask)
                        unrealized += book.money(book.open_pnl(mark))
            self._send(self.engine.handle(AccountPnl(now, account, realized, unrealized)))


def replay(
    strategies: Strategy | Sequence[Strategy],
    table: QuoteTable,
    settings: ReplaySettings | None = None,
    *,
    contracts: ContractBook | None = None,
    history: QuoteTable | None = None,
    on_progress: Callable[[int], None] | None = None,
) -> Result:
    """Play a recording through strategies and say what came of it. A strategy instance serves one run.

    ``history`` are earlier quotes: of what lies before the recording, bars are made for strategies that ``warm_up``.
    """
    chosen = [strategies] if isinstance(strategies, Strategy) else list(strategies)
    run = Replay(chosen, table, settings or ReplaySettings(), contracts or ContractBook(), history)
    return run.run(on_progress)
