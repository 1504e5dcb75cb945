"""A live run: a driver whose client is a trader, with a journal, perhaps a venue on paper, and an end in order.

It decides nothing about orders.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

import trio
from attrs import define, field, frozen

from xtalgo.client.caller import Frame
from xtalgo.client.trader import Trader
from xtalgo.live.driver import Driver
from xtalgo.live.paper import FROM_THE_VENUE, PaperVenue
from xtalgo.live.recorder import Recorder
from xtalgo.live.redial import Ending, EndKind
from xtalgo.model.errors import StrategyError
from xtalgo.model.events import Quote
from xtalgo.model.reports import PositionReport
from xtalgo.model.types import MINUTE_NS, NEVER, SECOND_NS, Ns

__all__ = ["Left", "Observer", "Outcome", "Session", "StopMode"]

LAST_LOOK: Final = 6.0
"""Seconds for the venue to say, at the end, what is left."""


class StopMode(enum.StrEnum):
    """What the end of a run does with what is open."""

    PROTECT = "protect"
    """Cancel entries, keep protective exits, say what remains."""
    CANCEL = "cancel"
    """Cancel every order of the strategies' own; exits of open positions stay."""
    FLATTEN = "flatten"
    """Close every position of this run, and see that it is so."""


@frozen
class Left:
    """What remains at the venue when a run has ended, by its own word: positions and working orders by account.

    Either is None where the venue did not say.
    """

    account: str
    positions: dict[str, int] | None
    orders: tuple[str, ...] | None = None

    @property
    def is_flat(self) -> bool:
        """Whether the venue said that nothing is held and nothing works."""
        return self.positions == {} and self.orders == ()


@frozen
class Outcome:
    """How a run ended. ``ending`` is set when the link ended it, ``error`` when an error did."""

    ending: Ending | None
    error: Exception | None
    mode: StopMode
    left: tuple[Left, ...]
    began: bool
    """Whether the strategies ever started."""

    @property
    def is_flat(self) -> bool:
        """Whether every account is known to be flat."""
        return bool(self.left) and all(left.is_flat for left in self.left)


class Observer(Protocol):
    """Who watches a run: called after each input that was dealt with; must not block."""

    def update(self, session: Session, now: Ns) -> None:
        """Look at what happened."""


class _Blind:
    def update(self, session: Session, now: Ns) -> None:
        """See nothing."""


@define(eq=False)
class Session(Driver[Trader]):
    """One run of one trader. ``ask_positions`` is another road to the venue, for when the link is gone."""

    on_stop: StopMode = StopMode.PROTECT
    duration: float | None = None
    """Seconds until the run stops by itself, counted from the strategies' start, or from its own if they never do."""
    drain: float = 10.0
    """Seconds that stopping may take; three times as many to flatten."""
    observer: Observer = field(factory=_Blind)
    paper: PaperVenue | None = None
    recorder: Recorder | None = None
    ask_positions: Callable[[str], Awaitable[Sequence[PositionReport]]] | None = None
    halted: Callable[[], str] = str
    """Why somebody halts the run from outside, empty while nobody does; asked once a second."""
    started: Ns | None = field(init=False, default=None)
    """When the strategies started."""
    _began: Ns = field(init=False, default=0)
    _scope: trio.CancelScope = field(init=False, factory=trio.CancelScope)
    _ending: Ending | None = field(init=False, default=None)
    _stop_asked: trio.Event = field(init=False, factory=trio.Event)
    _progress: trio.Event = field(init=False, factory=trio.Event)
    _error: Exception | None = field(init=False, default=None)
    _told_foreign: Ns = field(init=False, default=-NEVER)
    _halt: str = field(init=False, default="")
    _looked: bool = field(init=False, default=False)
    """Whether the venue answered the last look at what is left."""

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        if self.paper is not None:
            self.trader.before_quotes = self._match_paper

    @property
    def trader(self) -> Trader:
        """The client that is driven."""
        return self.caller

    def link_up(self, now: Ns, generation: int) -> None:
        """A connection is open."""
        self._look_at_clock(now)
        if self.paper is not None:
            self.paper.link_up(now)
        super().link_up(now, generation)

    # --- carrying ------------------------------------------------------------------------------------------------

    def _match_paper(self, quotes: Sequence[Quote], now: Ns) -> None:
        assert self.paper is not None
        self.paper.quotes(quotes, now)

    def _written(self, now: Ns) -> None:
        if self.paper is not None:
            for text in self.paper.take(now):
                self.trader.frame(text, now)

    def _carried(self, now: Ns) -> None:
        trader = self.trader
        if trader.is_running and self.started is None:
            self.started = now
        if trader.error is not None and self._error is None:
            self._error = trader.error
            self._stop_asked.set()
        if trader.is_stopping:
            self._progress.set()
        if self.recorder is not None:
            self.recorder.flush()
        self.observer.update(self, now)

    def _write(self, frame: Frame, now: Ns) -> None:
        recorder, command = self.recorder, frame.command
        if recorder is not None and command is not None and not recorder.may_leave(command, now):
            assert frame.key is not None
            self.trader.unsent(now, frame.key, "its intent could not be recorded in the journal")
            return
        if self.paper is not None and frame.api is not None and frame.api not in FROM_THE_VENUE:
            self.paper.receive(frame.text, now)
        else:
            super()._write(frame, now)

    def _due(self) -> Ns:
        return self.trader.due if self.paper is None else min(self.trader.due, self.paper.due)

    # --- time ----------------------------------------------------------------------------------------------------

    @property
    def _span(self) -> Ns:
        return NEVER if self.duration is None else round(self.duration * SECOND_NS)

    def _each_second(self, now: Ns) -> None:
        self._look_for_halt(now)
        self._tell_foreign(now)
        if self.recorder is not None:
            self.recorder.commit(now)
        self.observer.update(self, now)
        # A run that never began must end, too.
        if now - (self._began if self.started is None else self.started) >= self._span:
            self._stop_asked.set()

    def _look_for_halt(self, now: Ns) -> None:
        """Somebody may halt the run from outside, and let it go on."""
        why = self.halted()
        if why == self._halt:
            return
        self._halt = why
        text = f"{why}: entries are cancelled and denied; positions keep their exits" if why else "no longer halted"
        self.trader.tell(now, f"HALT: {text}")
        self.trader.halt(why, now)
        self.carry(now)

    def _tell_foreign(self, now: Ns) -> None:
        """Entries that wait until the account agrees are worth a line now and then."""
        engine = self.trader.engine
        if engine is None or engine.liaison is None or engine.liaison.keeps_external or not self.trader.is_running:
            return
        traded = {name for seat in engine.seats.values() for name in seat.instruments}
        found = [
            f"{account} {offset:+d} {name}"
            for (account, name), offset in engine.liaison.others.offsets.items()
            if name in traded
        ]
        if not found:
            self._told_foreign = -NEVER
        elif now >= self._told_foreign + MINUTE_NS:
            self._told_foreign = now
            self.trader.tell(now, f"no entries while the account holds what is not this run's: {', '.join(found)}")

    # --- the run ---------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """End the run at once: nothing is wound down."""
        self._scope.cancel()

    def stop(self) -> None:
        """Ask the run to end in an orderly way."""
        self._stop_asked.set()

    async def run(self) -> Outcome:
        """Run until ``stop``, ``duration``, an error or the link ends it; say how it ended and what is left."""
        self._began = self.clock.now()
        self._look_for_halt(self._began)
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run_link)
                nursery.start_soon(self.timers)
                nursery.start_soon(self.watch_clock)
                nursery.start_soon(self._end_in_order)
        left = await self._what_is_left()
        return Outcome(self._ending, self._error or self.trader.error, self.on_stop, left, self.started is not None)

    async def _run_link(self) -> None:
        ending = await self.link.run()
        if ending.kind is not EndKind.CLOSED:
            self._ending = ending
        self._scope.cancel()

    async def _end_in_order(self) -> None:
        await self._stop_asked.wait()
        trader = self.trader
        mode = StopMode.PROTECT if isinstance(self._error, StrategyError) else self.on_stop
        now = self.clock.now()
        trader.stop(mode, now)
        self.carry(now)
        with trio.move_on_after(self.drain * (3 if mode is StopMode.FLATTEN else 1)):
            await self._settled()
        now = self.clock.now()
        trader.look(now)
        self.carry(now)
        with trio.move_on_after(LAST_LOOK):
            await self._settled()
            self._looked = True
        await self.link.close()
        self._scope.cancel()

    async def _settled(self) -> None:
        while True:
            self._progress = trio.Event()
            if self.trader.is_settled:
                return
            await self._progress.wait()

    async def _what_is_left(self) -> tuple[Left, ...]:
        """By the lists of the last look, or over the other road where those were not answered."""
        engine, left = self.trader.engine, []
        for account in self.trader.setup.accounts:
            liaison = None if engine is None else engine.liaison
            held = working = None
            if liaison is not None and self._looked:
                held = liaison.positions.get(account)
                if (rows := liaison.working.get(account)) is not None:
                    working = tuple(_told(row) for row in rows)
            elif self.ask_positions is not None and self.started is not None:
                with trio.move_on_after(LAST_LOOK), suppress(Exception):
                    found = await self.ask_positions(account)
                    held = {row.instrument: row.quantity for row in found if row.quantity}
            left.append(Left(account, held, working))
        return tuple(left)


def _told(row: Any) -> str:
    side = "?" if row.side is None else row.side.name.lower()
    at = "" if row.limit_price is None else f" at {row.limit_price:g}"
    at += "" if row.stop_price is None else f" stop {row.stop_price:g}"
    return f"{row.order_id}: {side} {row.quantity} {row.instrument}{at}"
