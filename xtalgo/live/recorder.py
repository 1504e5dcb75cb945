"""Keeps the journal of a run: what came in, what was decided, what left, and what became of it.

An intent is on disk before its frame leaves. While the journal can't be written, orders that add risk stay at home;
cancels, changes, exits and closes leave all the same, since a position that can't be closed is worse than a gap.

What is written follows from the inputs alone, turn by turn, whenever it is handed over. So the same inputs, fed to the
same trader with a recorder over another ``Keeper``, are told the same again: that is how a journal is verified.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Protocol

import msgspec
from attrs import define, field

from xtalgo.client.trader import Notice, Trader
from xtalgo.data.journal import JournalFailed, encode_event
from xtalgo.engine.brackets import Plan
from xtalgo.engine.daystate import DayState
from xtalgo.engine.orders import Order
from xtalgo.engine.others import Adjustment
from xtalgo.engine.pacing import Lane, slot_of
from xtalgo.model.commands import Mutation, PlaceOrder
from xtalgo.model.events import AccountPnl, Answered, Doubtful, Event, Fill, NotSent, Refused
from xtalgo.model.types import SECOND_NS, Ns

__all__ = ["ADJUSTMENT", "BRACKET", "OFFSET", "Birth", "Keeper", "Recorder", "adjustment_of", "offset_of", "plan_of"]

BRACKET: Final = "bracket"
"""Kind of the outcome row that tells an entry's stop loss and take profit, as JSON."""

OFFSET: Final = "offset"
"""Kind of the outcome row, of no order, that tells how many contracts of a position are not ours, as JSON."""

ADJUSTMENT: Final = "adjustment"
"""Kind of the outcome row, of no order, that tells of a book that moved without a fill, as JSON."""

MARK_EVERY: Final[Ns] = 10 * SECOND_NS
"""How often an account's P&L is kept."""


class Birth(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a life of a run begins with: the text of its ``start`` input."""

    head: int = 1
    """The row of ``runs`` that describes it."""
    run: str = ""
    """What its order ids begin with."""
    rows: dict[str, tuple[int, int]] = msgspec.field(default_factory=dict)
    """What of the journal it inherited: rows and last key by table; nothing for the first life."""
    days: tuple[DayState, ...] = ()
    """What was remembered of the accounts' trading days."""


class Keeper(Protocol):
    """What a recorder writes to: a journal."""

    last_input: int
    last_turn: int
    last_decision: int

    def input(self, number: int, ts: Ns, kind: str, text: str | bytes) -> None:
        """Something came in."""

    def turn(self, number: int, ts: Ns, event: bytes) -> None:
        """The engine is handed an event."""

    def decision(self, number: int, turn: int, decision: tuple[int | float | str | None, ...]) -> None:
        """Something was decided."""

    def intent(self, command: Mutation, ts: Ns | None = None) -> None:
        """A mutation is about to leave; durable when this returns."""

    def outcome(self, order_id: str, kind: str, text: str, ts: Ns) -> None:
        """What became of it."""

    def fill(self, fill: Fill) -> bool:
        """An execution was booked."""

    def order(self, order: Order) -> None:
        """An order's present state."""

    def mark(self, ts: Ns, account: str, kind: str, value: float) -> None:
        """A figure at a time."""

    def notice(self, ts: Ns, text: str) -> None:
        """A line that people are shown."""

    def commit(self) -> None:
        """Everything so far is durable when this returns."""


@define(eq=False)
class Recorder:
    """Writes one trader's life into one journal. ``flush`` after each input, ``commit`` about once a second."""

    journal: Keeper
    trader: Trader
    _turns: int = 0
    _inputs: int = 0
    _decisions: int = 0
    _decided: int = 0
    _fills: int = 0
    _adjusted: int = 0
    _offsets: dict[tuple[str, str], int] = field(factory=dict)
    _brackets: set[str] = field(factory=set)
    _marked: dict[str, Ns] = field(factory=dict)
    _notices: list[Notice] = field(factory=list)
    _noticed: int = 0
    _is_broken: bool = False

    def __attrs_post_init__(self) -> None:
        journal = self.journal
        self._inputs, self._turns, self._decided = journal.last_input, journal.last_turn, journal.last_decision
        self.trader.tape = self._input
        self.trader.on_turn = self._turn

    def begin(
        self,
        now: Ns,
        birth: Birth | None = None,
        adjusted: int = 0,
        offsets: Mapping[tuple[str, str], int] | None = None,
    ) -> None:
        """A life of the run begins; ``adjusted`` adjustments and ``offsets`` are in the journal from those before."""
        self._adjusted, self._offsets = adjusted, dict(offsets or {})
        self._input("start", now, "" if birth is None else msgspec.json.encode(birth).decode())

    def _input(self, kind: str, now: Ns, text: str | bytes) -> None:
        # What the input before led to comes before it, whoever forgot to flush.
        self.flush()
        self._inputs += 1
        self.journal.input(self._inputs, now, kind, text)

    def _turn(self, event: Event) -> None:
        self._keep_decisions()
        self._turns += 1
        self.journal.turn(self._turns, event.ts, encode_event(event))
        if isinstance(event, Answered | Refused | Doubtful | NotSent):
            text = event.venue_id or "" if isinstance(event, Answered) else event.reason
            kind = type(event).__name__.lower()
            self.journal.outcome(event.command.order_id, kind, text, event.ts)
        elif isinstance(event, AccountPnl) and event.ts >= self._marked.get(event.account, 0) + MARK_EVERY:
            self._marked[event.account] = event.ts
            for name in ("realized", "unrealized", "net_liquidation"):
                value = getattr(event, name)
                if value is not None:
                    self.journal.mark(event.ts, event.account, name, value)

    def flush(self) -> None:
        """Hand over what was decided, booked, moved and told since the last time."""
        self._keep_notices()
        engine = self.trader.engine
        if engine is None:
            return
        blotter = engine.blotter
        if blotter.touched is None:
            blotter.touched = dict(blotter.orders)
        if blotter.touched:
            for order in blotter.touched.values():
                self.journal.order(order)
            blotter.touched.clear()
            self._keep_brackets()
        self._keep_decisions()
        if len(blotter.fills) > self._fills:
            for fill in blotter.fills[self._fills :]:
                self.journal.fill(fill)
            self._fills = len(blotter.fills)
        self._keep_others()

    def _keep_decisions(self) -> None:
        engine = self.trader.engine
        if engine is not None and len(engine.decisions) > self._decisions:
            for decision in engine.decisions[self._decisions :]:
                self._decided += 1
                self.journal.decision(self._decided, self._turns, decision)
            self._decisions = len(engine.decisions)

    def _keep_notices(self) -> None:
        notices = self.trader.notices
        if notices is not self._notices:  # whoever shows them takes the list away
            self._notices, self._noticed = notices, 0
        if len(notices) > self._noticed:
            for notice in notices[self._noticed :]:
                self.journal.notice(notice.ts, notice.text)
            self._noticed = len(notices)

    def _keep_brackets(self) -> None:
        engine = self.trader.engine
        assert engine is not None
        for seat in engine.seats.values():
            for desk in seat.desks.values():
                for order_id, plan in desk.plans.items():
                    text = msgspec.json.encode((plan.stop_loss, plan.take_profit)).decode()
                    if (mark := f"{order_id} {text}") not in self._brackets:
                        self._brackets.add(mark)
                        self.journal.outcome(order_id, BRACKET, text, engine.now)

    def _keep_others(self) -> None:
        """What is not ours, and what books took over or gave up: a later life can't find it out."""
        engine = self.trader.engine
        if engine is None or engine.liaison is None:
            return
        others = engine.liaison.others
        for made in others.adjustments[self._adjusted :]:
            facts = (made.owner, made.account, made.instrument, made.change, made.ticks, made.after)
            self.journal.outcome("", ADJUSTMENT, msgspec.json.encode(facts).decode(), engine.now)
        self._adjusted = len(others.adjustments)
        if others.offsets != self._offsets:
            for key in sorted({*others.offsets, *self._offsets}):
                offset = others.offsets.get(key, 0)
                if offset != self._offsets.get(key, 0):
                    self.journal.outcome("", OFFSET, msgspec.json.encode((*key, offset)).decode(), engine.now)
            self._offsets = dict(others.offsets)

    def may_leave(self, command: Mutation, now: Ns) -> bool:
        """Record that a mutation is about to leave; False when it must not, since that could not be recorded."""
        self.flush()
        try:
            self.journal.intent(command, now)
        except JournalFailed as failure:
            self._broken(now, str(failure))
            return not (isinstance(command, PlaceOrder) and slot_of(command).lane is not Lane.REDUCE)
        self._whole(now)
        return True

    def commit(self, now: Ns) -> None:
        """Make everything so far durable, or tell that it can't be."""
        self.flush()
        try:
            self.journal.commit()
        except JournalFailed as failure:
            self._broken(now, str(failure))
        else:
            self._whole(now)

    def _broken(self, now: Ns, text: str) -> None:
        if not self._is_broken:
            self._is_broken = True
            self.trader.tell(now, f"entries stay at home: {text}")

    def _whole(self, now: Ns) -> None:
        if self._is_broken:
            self._is_broken = False
            self.trader.tell(now, "the journal can be written again")


# --- rows of outcomes ------------------------------------------------------------------------------------------------


def plan_of(text: str) -> Plan:
    """The bracket in an outcome row."""
    stop_loss, take_profit = msgspec.json.decode(text)
    return Plan(stop_loss, take_profit)


def adjustment_of(text: str) -> Adjustment:
    """The adjustment in an outcome row."""
    return Adjustment(*msgspec.json.decode(text, type=tuple[str, str, str, int, int, int]))


def offset_of(text: str) -> tuple[tuple[str, str], int]:
    """Account and instrument, and the contracts there that are not ours, in an outcome row."""
    account, instrument, offset = msgspec.json.decode(text, type=tuple[str, str, int])
    return (account, instrument), offset
