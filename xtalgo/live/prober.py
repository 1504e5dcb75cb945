"""Carries a probe out over raw connections: the scripts say what to send, here it is sent, timed and paced."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, TypeVar

import trio
from attrs import define, evolve, field, frozen

from xtalgo.client.probing.dealing import Untidy, tidy
from xtalgo.client.probing.door import enter, priced
from xtalgo.client.probing.plan import STEPS
from xtalgo.client.probing.script import (
    Budget,
    Cut,
    Ended,
    Exchange,
    Heard,
    Instruction,
    Line,
    Probe,
    Script,
    Step,
    Takeover,
    Unanswered,
    WrongToken,
)
from xtalgo.engine.bucket import TokenBucket, subscription_bucket
from xtalgo.live.clock import WallClock
from xtalgo.live.leaves import leaf_of
from xtalgo.live.wires import Dial, DialFailed, HandshakeRefused, Wire, WireClosed
from xtalgo.model.errors import AuthError, ConfigError, NoConnection, VenueError
from xtalgo.model.types import Ns

__all__ = ["Note", "Prober"]

DIALS: Final = (0.0, 1.0, 2.0, 4.0, 8.0)
"""Seconds before each attempt to connect."""
TIDY_WITHIN: Final = 60.0
"""Seconds that tidying up may take when a probe is ended."""
_TRIES: Final = 3
"""How often a step is begun that something cut short."""
_SHOWN: Final = 3
"""Frames of a stream that are kept of each exchange."""

T = TypeVar("T")


@frozen
class Note:
    """A frame on record: in which step, whether it was sent, and what it was."""

    step: str
    is_ours: bool
    text: str
    at: Ns


@define(eq=False)
class _Connection:
    """An open connection, and everything that came over it."""

    wire: Wire
    lines: list[Line] = field(factory=list)
    end: Ended | None = None
    news: trio.Event = field(factory=trio.Event)

    async def read(self, clock: WallClock) -> None:
        """Take what comes, until nothing more does."""
        try:
            while True:
                text = await self.wire.receive()
                shown = text if isinstance(text, str) else text.decode("utf-8", "replace")
                self.lines.append(Line(shown, clock.now(), _read(shown)))
                self._ring()
        except WireClosed as closed:
            self.end = Ended(closed.code, closed.reason)
            self._ring()

    def _ring(self) -> None:
        news, self.news = self.news, trio.Event()
        news.set()


def _read(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


@define(eq=False)
class Prober:
    """One probe at work. ``run`` is called once; ``stop`` may be called at any time, and ends it in order."""

    probe: Probe
    dial: Dial
    clock: WallClock = field(factory=WallClock)
    wrong: Dial | None = None
    """Opens a connection with a token that is none."""
    tell: Callable[[str, str], None] = lambda step, text: None
    """Gets a line for people, and the step that it is about; it must not raise."""
    steps: Sequence[Step] = STEPS
    stopped: bool = field(init=False, default=False)
    _notes: list[Note] = field(init=False, factory=list)
    _step: str = field(init=False, default="door")
    _calls: TokenBucket = field(init=False, factory=TokenBucket)
    _actions: TokenBucket = field(init=False, factory=subscription_bucket)
    _connection: _Connection | None = field(init=False, default=None)
    _nursery: trio.Nursery = field(init=False)
    _scope: trio.CancelScope = field(init=False, factory=trio.CancelScope)
    _tidying: trio.CancelScope = field(init=False, factory=lambda: trio.CancelScope(shield=True))

    @property
    def notes(self) -> list[Note]:
        """Every frame in order, fit to be shown; of streams, few."""
        # Hidden now, not when they came: the first frames came before it was known what is to be hidden.
        return [evolve(note, text=self.probe.redaction.frame(note.text)) for note in self._notes]

    def stop(self) -> None:
        """End the probe: what it placed is cancelled, and nothing more is asked."""
        self.stopped = True
        self._scope.cancel()

    def abandon(self) -> None:
        """End at once: what was placed may stay."""
        self.stop()
        self._tidying.cancel()

    async def run(self) -> None:
        """Probe, and leave the account as it was.

        Raises ConfigError for an account that may not be probed, AuthError, NoConnection, and Untidy when something
        of the probe may be left in the account. What could not be settled is no error.
        """
        try:
            async with trio.open_nursery() as self._nursery:
                try:
                    await self._probe()
                finally:
                    self._nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            raise leaf_of(group) from None

    async def _probe(self) -> None:
        try:
            with self._scope:
                await self._enter()
                for step in self.steps:
                    await self._take(step)
        finally:
            if self.probe.owes:
                self._tidying.deadline = trio.current_time() + TIDY_WITHIN
                with self._tidying:
                    await self._tidy()
                if self._tidying.cancelled_caught:
                    raise Untidy(f"{self.probe.account}: tidying up was cut short: look in NinjaTrader")
            if self._connection is not None:
                with trio.CancelScope(shield=True, deadline=trio.current_time() + 2.0):
                    await self._connection.wire.aclose()
        for step in self.steps:
            self.probe.leave_rest("the probe ended before it could be looked at", *step.facts)

    # --- steps ---------------------------------------------------------------------------------------------------

    async def _enter(self) -> None:
        for attempt in range(_TRIES):
            try:
                await self._play(enter(self.probe))
                return
            except (Cut, Unanswered) as error:
                if attempt + 1 == _TRIES:
                    raise NoConnection(f"the account could not be looked at: {error}") from None

    async def _take(self, step: Step) -> None:
        probe = self.probe
        self._step = step.name
        if step.needs_market and probe.is_open is False:
            probe.leave("it waits for an open market", *step.facts)
            self.tell(step.name, "left out: the market is closed")
            return
        if step.trades and not probe.has_price:
            with suppress(Cut, Unanswered):
                await self._play(priced(probe))
        if step.trades and not probe.has_price:
            probe.leave("the venue told no price or tick size to place an order by", *step.facts)
            self.tell(step.name, "left out: no price is known")
            return
        self.tell(step.name, step.tells)
        for attempt in range(_TRIES):
            try:
                await self._play(step.script(probe))
            except (Cut, Unanswered, VenueError) as error:
                why = str(error)
            except ConfigError as error:  # a value that a field can't have
                why = str(error)
                probe.leave(why, *step.facts)
                break
            else:
                break
            finally:
                if probe.owes and not self._scope.cancel_called:
                    await self._tidy()
            if attempt + 1 < _TRIES:
                self.tell(step.name, f"once more: {why}")
            probe.leave(why, *step.facts)
        probe.leave_rest("nothing was concluded", *step.facts)

    async def _tidy(self) -> None:
        step, self._step = self._step, "tidy"
        await self._play(tidy(self.probe))
        self._step = step

    async def _play(self, script: Script[T]) -> T:
        """Carry a script out."""
        try:
            instruction = next(script)
            while True:
                try:
                    heard = await self._obey(instruction)
                except NoConnection as error:
                    instruction = script.throw(Cut(Ended(None, str(error)))) if self.probe.owes else _reraise(error)
                    await trio.sleep(1)
                    continue
                instruction = script.send(heard)
        except StopIteration as stop:
            value: T = stop.value
            return value
        finally:
            script.close()

    async def _obey(self, instruction: Instruction) -> Heard:
        match instruction:
            case Exchange():
                return await self._exchange(instruction)
            case Takeover():
                return await self._take_over(instruction)
            case WrongToken():
                return await self._try_wrong()

    # --- exchanges -----------------------------------------------------------------------------------------------

    async def _exchange(self, exchange: Exchange) -> Heard:
        connection = await self._connected()
        begin = len(connection.lines)
        for text in exchange.texts:
            await self._afford(exchange.budget)
            self._note(True, text)
            try:
                await connection.wire.send(text)
            except WireClosed:
                break  # the reader finds the end
        with trio.move_on_after(exchange.seconds):
            while connection.end is None and not exchange.until(connection.lines[begin:]):
                await connection.news.wait()
        lines = tuple(connection.lines[begin:])
        self._record(lines)
        return Heard(self.clock.now(), lines, connection.end)

    async def _afford(self, budget: Budget) -> None:
        """Wait for the token that a frame costs."""
        if budget is Budget.FREE:
            return
        if budget is Budget.FORCED:
            self._calls.drain(self.clock.now())
            return
        bucket = self._calls if budget is Budget.CALLS else self._actions
        if wait := bucket.delay(self.clock.now()):
            await trio.sleep_until(self.clock.trio_deadline(self.clock.now() + wait))
        bucket.take(self.clock.now())

    async def _connected(self) -> _Connection:
        """The connection, dialled anew if it has ended. Raises AuthError, and NoConnection when no attempt succeeds."""
        if self._connection is not None and self._connection.end is None:
            return self._connection
        if self._connection is not None:
            await self._connection.wire.aclose()
            self._connection = None
        why = ""
        for wait in DIALS:
            await trio.sleep(wait)
            try:
                self._connection = await self._open(self.dial)
                return self._connection
            except HandshakeRefused as refused:
                if refused.status in (401, 403):
                    raise AuthError(f"{refused}: check XTRADE_TOKEN, and that the plan includes the API") from None
                why = str(refused)
            except DialFailed as failed:
                why = failed.text
        raise NoConnection(f"no connection, {len(DIALS)} times: {why}")

    async def _open(self, dial: Dial) -> _Connection:
        connection = _Connection(await dial())
        self._nursery.start_soon(connection.read, self.clock)
        return connection

    async def _take_over(self, order: Takeover) -> Heard:
        old = await self._connected()
        begin = len(old.lines)
        try:
            fresh = await self._open(self.dial)
        except HandshakeRefused as refused:
            return Heard(self.clock.now(), status=refused.status)
        except DialFailed as failed:
            return Heard(self.clock.now(), end=Ended(None, failed.text))
        with trio.move_on_after(order.seconds):
            while old.end is None:
                await old.news.wait()
        lines, end = tuple(old.lines[begin:]), old.end
        self._record(lines)
        await old.wire.aclose()
        self._connection = fresh
        return Heard(self.clock.now(), lines, end)

    async def _try_wrong(self) -> Heard:
        if self.wrong is None:
            return Heard(self.clock.now())
        try:
            wire = await self.wrong()
        except HandshakeRefused as refused:
            return Heard(self.clock.now(), status=refused.status)
        except DialFailed:
            return Heard(self.clock.now())
        end: Ended | None = None
        with trio.move_on_after(3.0):
            try:
                while True:
                    await wire.receive()
            except WireClosed as closed:
                end = Ended(closed.code, closed.reason)
        await wire.aclose()
        return Heard(self.clock.now(), end=end)

    # --- on record -----------------------------------------------------------------------------------------------

    def _note(self, is_ours: bool, text: str, at: Ns | None = None) -> None:
        self._notes.append(Note(self._step, is_ours, text, self.clock.now() if at is None else at))

    def _record(self, lines: Sequence[Line]) -> None:
        kept: dict[str, int] = {}
        for line in lines:
            kind = str(line.frame.get("type")) if isinstance(line.frame, dict) else ""
            kept[kind] = kept.get(kind, 0) + 1
            if kind not in ("marketData", "pnlUpdate") or kept[kind] <= _SHOWN:
                self._note(False, line.text, line.at)


def _reraise(error: Exception) -> Instruction:
    raise error
