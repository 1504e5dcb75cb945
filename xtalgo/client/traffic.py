"""What goes out and what becomes of it: commands queued, paced, written as calls, and their ends told to the engine."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final, TypeAlias

from attrs import define, field
from msgspec import structs

from xtalgo.client.caller import Caller
from xtalgo.client.calls import End, Settled
from xtalgo.client.readings import call_for_read, read
from xtalgo.client.setup import Setup
from xtalgo.client.translate import call_for, is_told_apart, seen
from xtalgo.engine.engine import Engine
from xtalgo.engine.pacing import Entry, Lane, Slot, slot_of
from xtalgo.model.commands import EVERY_ACCOUNT, Ask, Command, Mutation, PlaceOrder, Query, Read, Withdraw
from xtalgo.model.errors import StrategyError
from xtalgo.model.events import (
    AccountPnl,
    Answered,
    BarsSeen,
    Doubtful,
    Event,
    ItemsSeen,
    NotSent,
    Quote,
    Refused,
    Released,
    Stale,
    Unanswered,
    Unread,
    WatermarksSeen,
)
from xtalgo.model.instruments import ContractBook
from xtalgo.model.types import MINUTE_NS, NEVER, SECOND_NS, Ns
from xtalgo.protocol.orders import Call
from xtalgo.protocol.outcomes import Cause
from xtalgo.protocol.replies import Answer

__all__ = ["FAR", "Item", "Traffic"]

FAR: Final[Ns] = 240 * SECOND_NS
"""After this long without executions the next list goes as far back as it can; the venue's default is 320 s."""

Item: TypeAlias = Mutation | Query | Read | Call
"""What waits for its token: a command, a question, or a call of the conversation before the run."""


@define(eq=False)
class Traffic(Caller[Item]):
    """What a client with an engine sends and hears back; ``Trader`` adds what comes in by itself.

    ``make_engine`` gets the accounts and ``pin`` once the venue has named them.
    """

    setup: Setup
    make_engine: Callable[[Sequence[str], Callable[[str], str]], Engine]
    engine: Engine | None = None
    error: Exception | None = None
    """What ended the run: the venue's names don't fit (ConfigError), or a strategy raised (StrategyError)."""
    pnl: dict[str, AccountPnl] = field(factory=dict)
    """The newest P&L of each account, as the venue told it."""
    is_offline: bool = False
    """Whether NinjaTrader or the add-on is away, over a link that is up."""
    is_running: bool = False
    """Whether ``on_start`` has run."""
    is_stopping: bool = False
    on_turn: Callable[[Event], None] | None = None
    """Sees each event before the engine does."""
    before_quotes: Callable[[Sequence[Quote], Ns], None] | None = None
    """Sees quotes before the engine does: a venue on paper matches them first."""
    _probe: Ns = NEVER
    _probes: int = 0
    _executions_at: dict[str, Ns] = field(factory=dict)
    _faults: int = 0
    _breaches: int = 0

    @property
    def contracts(self) -> ContractBook:
        """What instruments are called."""
        return self.setup.contracts

    # --- what the whole client adds ------------------------------------------------------------------------------

    @abstractmethod
    def _setup_ended(self, call: Call, settled: Settled[Entry[Item]], now: Ns, *, asks_again: bool) -> None:
        """A call of the conversation before the run ended."""

    @abstractmethod
    def _went_offline(self, now: Ns, text: str) -> None:
        """A call was answered with NinjaTrader being away."""

    @abstractmethod
    def _reachable(self, now: Ns) -> None:
        """The venue can be reached."""

    @abstractmethod
    def _begin(self, now: Ns) -> None:
        """Every account is reconciled for the first time."""

    @abstractmethod
    def _stop(self, mode: str, now: Ns) -> None:
        """Wind down."""

    # --- turns ---------------------------------------------------------------------------------------------------

    def _turn(self, event: Event) -> None:
        if self.engine is None:
            return
        if self.on_turn is not None:
            self.on_turn(event)
        try:
            commands = self.engine.handle(event)
        except StrategyError as error:
            self._fail(error, event.ts)
            return
        if commands:
            self._send(commands, event.ts)
        self._heed(self.engine, event.ts)
        liaison = self.engine.liaison
        waits = self.is_running or self.error is not None or liaison is None
        if not waits and liaison is not None and liaison.all_ready and self.engine.is_warm:
            self._begin(event.ts)

    def _heed(self, engine: Engine, now: Ns) -> None:
        """See whether strategies were quarantined or guards breached in a turn."""
        if len(engine.faults) > self._faults:
            self._quarantined(now)
        if len(engine.breaches) > self._breaches:
            self._breached(now)

    def _breached(self, now: Ns) -> None:
        assert self.engine is not None
        for breach in self.engine.breaches[self._breaches :]:
            self.tell(now, f"GUARD, {breach.account}: {breach.text}")
        self._breaches = len(self.engine.breaches)

    def _quarantined(self, now: Ns) -> None:
        """Strategies raised: the others go on; with none left the run ends."""
        assert self.engine is not None
        for name, fault in self.engine.faults[self._faults :]:
            self.tell(now, f"{name} is in quarantine, its exits stay: {fault}")
        self._faults = len(self.engine.faults)
        if self._faults == len(self.engine.seats):
            self._fail(self.engine.faults[0][1], now)

    def _fail(self, error: Exception, now: Ns) -> None:
        """A strategy raised: nothing more is opened, exits stay; the first error is the one to tell."""
        if self.error is None:
            self.error = error
            self._stop("protect", now)

    def _send(self, commands: Iterable[Command], now: Ns) -> None:
        for command in commands:
            if isinstance(command, Withdraw):
                self.queue.remove(command.key)
            else:
                slot = _slot(command)
                self.queue.push(command, slot.lane, now, ttl=slot.ttl, key=slot.key)
        if self.queue.waiting:
            self._release(now)

    def _left(self, entry: Entry[Item], now: Ns) -> None:
        if not isinstance(entry.item, Call):
            # Released is handled in the same breath, so that nothing that left can be withdrawn.
            self._turn(Released(now, entry.item, now - entry.queued))

    def _expired(self, item: Item, now: Ns) -> None:
        if isinstance(item, Mutation):
            self._turn(Stale(now, item))

    def _call(self, entry: Entry[Item], now: Ns) -> None:
        item = entry.item
        if isinstance(item, Call):
            api, args = item
        elif isinstance(item, Read):
            api, args = call_for_read(item, now)
        else:
            venue_id = None if item.order_id is None else self._venue_id(item.order_id)
            far = isinstance(item, Query) and now - self._executions_at.get(item.account, 0) > FAR
            api, args = call_for(item, venue_id, far=far)
        deadline = entry.deadline if isinstance(item, PlaceOrder) else None
        command = item if isinstance(item, Mutation) else None
        self._write(api, args, entry, now, deadline=deadline, command=command)

    def _venue_id(self, order_id: str) -> str | None:
        liaison = None if self.engine is None else self.engine.liaison
        return None if liaison is None else liaison.evidence.venue_ids.get(order_id)

    def _withdraw(self, key: str, now: Ns, reason: str) -> None:
        settled = self.calls.withdrawn(key, now, reason)
        if settled is None:
            return
        item = settled.item.item
        if isinstance(item, PlaceOrder):
            self._turn(NotSent(now, item, f"not sent: {reason}"))
        elif isinstance(item, Query):
            self._turn(Unanswered(now, item, reason))
        elif isinstance(item, Read):
            self._turn(Unread(now, item, reason))
        elif isinstance(item, Mutation):
            # Harmless to do later, and wanted: it goes back to its place.
            slot = slot_of(item)
            self.queue.push(item, slot.lane, now, ttl=slot.ttl, key=slot.key)

    # --- ends of calls -------------------------------------------------------------------------------------------

    def _finished(self, settled: Settled[Entry[Item]], now: Ns, *, asks_again: bool) -> None:
        item = settled.item.item
        if isinstance(item, Call):
            self._setup_ended(item, settled, now, asks_again=asks_again)
        elif isinstance(item, Query):
            self._query_ended(item, settled, now)
        elif isinstance(item, Read):
            self._read_ended(item, settled, now)
        else:
            self._mutation_ended(item, settled, now)
        if settled.cause is Cause.OFFLINE:
            self._went_offline(now, settled.text)
        elif self.is_offline and settled.end is End.DONE and isinstance(item, Call):
            self._notice(now, "offline", "NinjaTrader is back", warning=False)
            self.queue.resume(now)
            self._reachable(now)

    def _put_back(self, entry: Entry[Item], now: Ns) -> None:
        # An order that was not carried out, and is not wanted any more, does not go again.
        item = entry.item
        if not isinstance(item, PlaceOrder) or self.engine is None or entry.key is None:
            return
        if self.engine.blotter.orders[item.order_id].pending_cancel and self.queue.remove(entry.key) is not None:
            self._turn(NotSent(now, item, "cancelled before it was carried out"))

    def _query_ended(self, query: Query, settled: Settled[Entry[Item]], now: Ns) -> None:
        if settled.end is not End.DONE or settled.answer is None:
            self._turn(Unanswered(now, query, settled.text))
            return
        self._tell_faults(settled.answer, settled.spec.name, now)
        if query.ask is Ask.EXECUTIONS:
            self._executions_at[query.account] = now
        if query.account != EVERY_ACCOUNT:
            self._turn(seen(query, settled.answer, now, lambda told: self.name_of(told) or told))
        elif not is_told_apart(settled.answer):
            self._turn(Unanswered(now, query, "its rows don't tell their accounts"))
        else:
            for account in self.setup.accounts:
                part = structs.replace(query, account=account)
                self._turn(seen(part, settled.answer, now, lambda told: self.name_of(told) or told))

    def _read_ended(self, query: Read, settled: Settled[Entry[Item]], now: Ns) -> None:
        name = settled.spec.name
        if settled.end is not End.DONE or settled.answer is None:
            event: BarsSeen | ItemsSeen | WatermarksSeen | Unread = Unread(now, query, settled.text)
        else:
            self._tell_faults(settled.answer, name, now)
            event = read(query, settled.answer, now, self.name_of, self.dialect.bar_label)
        if isinstance(event, Unread):
            self._notice(now, name, f"{name} came to nothing: {event.reason}")
        elif isinstance(event, BarsSeen):
            left_out = len(settled.answer.value.bars) - len(event.bars) if settled.answer is not None else 0
            if left_out:
                self.health.faults += left_out
                self._notice(now, name, f"{name}: {left_out} bars of {event.query.instrument} make no sense; left out")
            if any(bar.start > now + MINUTE_NS for bar in event.bars):
                self._notice(
                    now, name, f"{name}: bars of {event.query.instrument} begin in the future; is a clock off?"
                )
        self._turn(event)
        if self.engine is not None:
            oddities, self.engine.history.oddities = self.engine.history.oddities, []
            for text in oddities:
                self._notice(now, "odd bars", text)

    def _tell_faults(self, answer: Answer[Any], name: str, now: Ns) -> None:
        if answer.faults:
            self.health.faults += len(answer.faults)
            self._notice(now, name, f"{name}: {'; '.join(answer.faults)}")

    def _mutation_ended(self, command: Mutation, settled: Settled[Entry[Item]], now: Ns) -> None:
        match settled.end:
            case End.DONE:
                told = getattr(settled.answer.value, "order_id", None) if settled.answer is not None else None
                self._turn(Answered(now, command, told))
            case End.REFUSED:
                self._notice(now, "refused", f"{settled.spec.name} {command.order_id} refused: {settled.text}")
                self._turn(Refused(now, command, settled.text, settled.cause is Cause.TERMINAL))
            case End.NOT_DONE:
                self._turn(NotSent(now, command, settled.text))
            case End.UNKNOWN:
                self.health.doubts += 1
                self._notice(now, "doubt", f"{settled.spec.name} {command.order_id} is in doubt: {settled.text}")
                self._turn(Doubtful(now, command, settled.text))


def _slot(command: Mutation | Query | Read) -> Slot:
    if isinstance(command, Query):
        lane = Lane.STATUS if command.urgent else Lane.POLL
        return Slot(lane, None, f"?{command.ask}/{command.account}/{command.order_id}")
    return slot_of(command)
