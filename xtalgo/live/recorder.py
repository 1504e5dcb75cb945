"""Keeps the journal of a run: what came in, what was decided, what left, and what became of it.

An intent is on disk before its frame leaves. While the journal can't be written, orders that add risk stay at home;
cancels, changes, exits and closes leave all the same, since a position that can't be closed is worse than a gap.
"""

from __future__ import annotations

from typing import Final

import msgspec
from attrs import define, field

from xtalgo.client.trader import Trader
from xtalgo.data.journal import Journal, JournalFailed, encode_event
from xtalgo.engine.brackets import Plan
from xtalgo.engine.pacing import Lane, slot_of
from xtalgo.model.commands import Mutation, PlaceOrder
from xtalgo.model.events import AccountPnl, Answered, Doubtful, Event, NotSent, Refused
from xtalgo.model.types import SECOND_NS, Ns

__all__ = ["BRACKET", "Recorder"]

BRACKET: Final = "bracket"
"""Kind of the outcome row that tells an entry's stop loss and take profit, as JSON."""

MARK_EVERY: Final[Ns] = 10 * SECOND_NS
"""How often an account's P&L is kept."""


@define(eq=False)
class Recorder:
    """Writes one trader's life into one journal. ``flush`` after each input, ``commit`` about once a second."""

    journal: Journal
    trader: Trader
    _turns: int = 0
    _inputs: int = 0
    _decisions: int = 0
    _decided: int = 0
    _fills: int = 0
    _brackets: set[str] = field(factory=set)
    _marked: dict[str, Ns] = field(factory=dict)
    _is_broken: bool = False

    def __attrs_post_init__(self) -> None:
        journal = self.journal
        self._inputs, self._turns, self._decided = journal.last_input, journal.last_turn, journal.last_decision
        self.trader.tape = self._input
        self.trader.on_turn = self._turn

    def begin(self, now: Ns) -> None:
        """A life of the run begins."""
        self._input("start", now, "")

    def _input(self, kind: str, now: Ns, text: str | bytes) -> None:
        self._inputs += 1
        self.journal.input(self._inputs, now, kind, text)

    def _turn(self, event: Event) -> None:
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
        """Hand over what was decided, booked and moved since the last time."""
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
        for decision in engine.decisions[self._decisions :]:
            self._decided += 1
            self.journal.decision(self._decided, self._turns, decision)
        self._decisions = len(engine.decisions)
        for fill in blotter.fills[self._fills :]:
            self.journal.fill(fill)
        self._fills = len(blotter.fills)

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


def plan_of(text: str) -> Plan:
    """The bracket in an outcome row."""
    stop_loss, take_profit = msgspec.json.decode(text)
    return Plan(stop_loss, take_profit)
