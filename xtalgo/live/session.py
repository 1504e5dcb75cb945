"""A live run: the nursery in which the link, the trader and the clock meet.

The session carries: frames from the link into the trader, frames from the trader to the link, time into both. It
decides nothing about orders. Everything happens in one thread, and the trader is only ever touched by plain calls, so
there is no moment at which it is half way through something.
"""

from __future__ import annotations

import enum
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

import trio
from attrs import define, field, frozen

from xtalgo.client.trader import Frame, Trader
from xtalgo.live.clock import WallClock
from xtalgo.live.link import Link, LinkState
from xtalgo.live.paper import FROM_THE_VENUE, PaperVenue
from xtalgo.live.recorder import Recorder
from xtalgo.live.redial import Ending, EndKind, Redial
from xtalgo.live.wires import Dial
from xtalgo.model.errors import StrategyError
from xtalgo.model.events import Quote
from xtalgo.model.reports import PositionReport
from xtalgo.model.types import MINUTE_NS, NEVER, SECOND_NS, Ns

__all__ = ["Left", "Observer", "Outcome", "Session", "StopMode"]

ASLEEP: Final[Ns] = 5 * SECOND_NS
"""The clock is looked at once a second; a gap longer than this between two looks means that the machine slept."""

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
class Session:
    """One run of one trader. ``ask_positions`` is another road to the venue, for when the link is gone."""

    trader: Trader
    dial: Dial
    clock: WallClock = field(factory=WallClock)
    redial: Redial = field(factory=Redial)
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
    is_stepped: bool = field(init=False, default=False)
    """Whether the server keeps the time, and redials for the trader."""
    link: Link = field(init=False)
    started: Ns | None = field(init=False, default=None)
    """When the strategies started."""
    _scope: trio.CancelScope = field(init=False, factory=trio.CancelScope)
    _wake: trio.Event = field(init=False, factory=trio.Event)
    _planned: Ns = field(init=False, default=NEVER)
    _seen: Ns | None = field(init=False, default=None)
    _ending: Ending | None = field(init=False, default=None)
    _stop_asked: trio.Event = field(init=False, factory=trio.Event)
    _progress: trio.Event = field(init=False, factory=trio.Event)
    _error: Exception | None = field(init=False, default=None)
    _told_attempts: int = field(init=False, default=0)
    _failing_since: int = field(init=False, default=0)
    """How many attempts there had been when the last connection ended."""
    _told_reason: str = field(init=False, default="")
    _told_foreign: Ns = field(init=False, default=-NEVER)
    _halt: str = field(init=False, default="")
    _looked: bool = field(init=False, default=False)
    """Whether the venue answered the last look at what is left."""

    def __attrs_post_init__(self) -> None:
        self.link = Link(self.dial, self, self.clock, self.redial)
        if self.paper is not None:
            self.trader.before_quotes = self._match_paper

    # --- the link's news -----------------------------------------------------------------------------------------

    def link_up(self, now: Ns, generation: int) -> None:
        """A connection is open."""
        self._look_at_clock(now)
        if self.paper is not None:
            self.paper.link_up(now)
        self.trader.link_up(now)
        self._carry(now)

    def frame(self, text: str | bytes, now: Ns, generation: int) -> None:
        """A frame came."""
        if self._seen is None or now - self._seen > ASLEEP:
            self._look_at_clock(now)
        self._seen = now
        self.trader.frame(text, now)
        self._carry(now)

    def link_down(self, now: Ns, generation: int, reason: str, unsent: Sequence[str], wait: float | None) -> None:
        """The connection is over."""
        self._look_at_clock(now)
        self._told_attempts = self._failing_since = self.link.attempts
        self._told_reason = ""
        after = "" if wait is None else f"; next attempt in {wait:.0f} s"
        self.trader.link_down(now, reason, unsent)
        self.trader.tell(now, f"link down: {reason}{after}")
        self._carry(now)

    def unsent(self, now: Ns, key: str, reason: str) -> None:
        """A frame was not written."""
        self.trader.unsent(now, key, reason)
        self._carry(now)

    # --- carrying ------------------------------------------------------------------------------------------------

    def _match_paper(self, quotes: Sequence[Quote], now: Ns) -> None:
        assert self.paper is not None
        self.paper.quotes(quotes, now)

    def _carry(self, now: Ns) -> None:
        """Hand on what the trader wants written, and see whether its plans have changed."""
        trader = self.trader
        while trader.out:
            frames, trader.out = trader.out, []
            for frame in frames:
                self._write(frame, now)
            if self.paper is not None:
                for text in self.paper.take(now):
                    trader.frame(text, now)
        if trader.redial and not self.is_stepped:
            reason, trader.redial = trader.redial, ""
            self.link.redial_now(reason)
        if trader.is_running and self.started is None:
            self.started = now
        if trader.error is not None and self._error is None:
            self._error = trader.error
            self._stop_asked.set()
        if self._due() < self._planned:
            self._wake.set()
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
        elif not self.link.send(frame.text, key=frame.key, deadline=frame.deadline) and frame.key is not None:
            self.trader.unsent(now, frame.key, "the link is down")

    def _due(self) -> Ns:
        return self.trader.due if self.paper is None else min(self.trader.due, self.paper.due)

    # --- time ----------------------------------------------------------------------------------------------------

    def _look_at_clock(self, now: Ns) -> None:
        """Notice that the machine slept: overdue timers run once, and nothing that was believed is believed still."""
        seen, self._seen = self._seen, now
        if seen is not None and now - seen > ASLEEP:
            self._leap(now, now - seen)

    def _leap(self, now: Ns, by: Ns) -> None:
        self.trader.leap(now, by)
        self.link.redial_now("the clock jumped")

    async def _timers(self) -> None:
        """Let happen what is due without a frame."""
        while True:
            self._planned, self._wake = self._due(), trio.Event()
            if self._planned == NEVER:
                await self._wake.wait()
            else:
                with trio.move_on_at(self.clock.trio_deadline(self._planned)):
                    await self._wake.wait()
            now = self.clock.now()
            if self._due() <= now:
                self._look_at_clock(now)
                if self.paper is not None:
                    for text in self.paper.take(now):
                        self.trader.frame(text, now)
                self.trader.advance(now)
                self._carry(now)

    @property
    def _span(self) -> Ns:
        return NEVER if self.duration is None else round(self.duration * SECOND_NS)

    async def _watch_clock(self) -> None:
        began = self.clock.now()
        while True:
            await trio.sleep(1)
            jump = self.clock.check()
            now = self.clock.now()
            if jump is not None and abs(jump.by) > 2 * SECOND_NS:
                self._seen = now
                self._leap(now, jump.by)
                self._carry(now)
            else:
                self._look_at_clock(now)
            self._tell_attempts(now)
            self._look_for_halt(now)
            self._tell_foreign(now)
            if self.recorder is not None:
                self.recorder.commit(now)
            self.observer.update(self, now)
            # A run that never began must end, too.
            if now - (began if self.started is None else self.started) >= self._span:
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
        self._carry(now)

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

    def _tell_attempts(self, now: Ns) -> None:
        """An attempt to connect came to nothing: the link tells of connections alone."""
        link = self.link
        if link.state is not LinkState.WAITING or link.attempts <= self._told_attempts or not link.last_reason:
            return
        failed = link.attempts - self._failing_since
        self._told_attempts = link.attempts
        # Each reason once, and then ever more rarely: an outage of a night is no news every thirty seconds.
        if link.last_reason != self._told_reason or failed & (failed - 1) == 0:
            self._told_reason = link.last_reason
            self.trader.tell(now, f"no connection (attempt {failed}): {link.last_reason}")

    # --- the run ---------------------------------------------------------------------------------------------------

    def end(self) -> None:
        """End the run at once: nothing is wound down."""
        self._scope.cancel()

    def stop(self) -> None:
        """Ask the run to end in an orderly way."""
        self._stop_asked.set()

    async def run(self) -> Outcome:
        """Run until ``stop``, ``duration``, an error or the link ends it; say how it ended and what is left."""
        self._look_for_halt(self.clock.now())
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._run_link)
                nursery.start_soon(self._timers)
                nursery.start_soon(self._watch_clock)
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
        self._carry(now)
        with trio.move_on_after(self.drain * (3 if mode is StopMode.FLATTEN else 1)):
            await self._settled()
        now = self.clock.now()
        trader.look(now)
        self._carry(now)
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
