"""Where a link, a client and the clock meet: frames carried both ways, and time.

The driver decides nothing. Everything happens in one thread, and the client is only ever touched by plain calls, so
there is no moment at which it is half way through something.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, Generic, TypeVar

import trio
from attrs import define, field

from xtalgo.client.caller import Caller, Frame
from xtalgo.live.clock import WallClock
from xtalgo.live.link import Link, LinkState
from xtalgo.live.redial import Redial
from xtalgo.live.wires import Dial
from xtalgo.model.types import NEVER, SECOND_NS, Ns

__all__ = ["ASLEEP", "Driver"]

ASLEEP: Final[Ns] = 5 * SECOND_NS
"""The clock is looked at once a second; a gap longer than this between two looks means that the machine slept."""

C = TypeVar("C", bound=Caller[Any])


@define(eq=False)
class Driver(Generic[C]):
    """Drives one client over one link. ``timers``, ``watch_clock`` and ``link.run`` are tasks of whoever has it."""

    caller: C
    dial: Dial
    clock: WallClock = field(factory=WallClock)
    redial: Redial = field(factory=Redial)
    is_stepped: bool = field(init=False, default=False)
    """Whether the server keeps the time, and redials for the client."""
    link: Link = field(init=False)
    _wake: trio.Event = field(init=False, factory=trio.Event)
    _planned: Ns = field(init=False, default=NEVER)
    _seen: Ns | None = field(init=False, default=None)
    _told_attempts: int = field(init=False, default=0)
    _failing_since: int = field(init=False, default=0)
    """How many attempts there had been when the last connection ended."""
    _told_reason: str = field(init=False, default="")

    def __attrs_post_init__(self) -> None:
        self.link = Link(self.dial, self, self.clock, self.redial)

    # --- the link's news -----------------------------------------------------------------------------------------

    def link_up(self, now: Ns, generation: int) -> None:
        """A connection is open."""
        self._look_at_clock(now)
        self.caller.link_up(now)
        self.carry(now)

    def frame(self, text: str | bytes, now: Ns, generation: int) -> None:
        """A frame came."""
        if self._seen is None or now - self._seen > ASLEEP:
            self._look_at_clock(now)
        self._seen = now
        self.caller.frame(text, now)
        self.carry(now)

    def link_down(self, now: Ns, generation: int, reason: str, unsent: Sequence[str], wait: float | None) -> None:
        """The connection is over."""
        self._look_at_clock(now)
        self._told_attempts = self._failing_since = self.link.attempts
        self._told_reason = ""
        after = "" if wait is None else f"; next attempt in {wait:.0f} s"
        self.caller.link_down(now, reason, unsent)
        self.caller.tell(now, f"link down: {reason}{after}")
        self.carry(now)

    def unsent(self, now: Ns, key: str, reason: str) -> None:
        """A frame was not written."""
        self.caller.unsent(now, key, reason)
        self.carry(now)

    # --- carrying ------------------------------------------------------------------------------------------------

    def carry(self, now: Ns) -> None:
        """Hand on what the client wants written, and see whether its plans have changed."""
        caller = self.caller
        while caller.out:
            frames, caller.out = caller.out, []
            for frame in frames:
                self._write(frame, now)
            self._written(now)
        if caller.redial and not self.is_stepped:
            reason, caller.redial = caller.redial, ""
            self.link.redial_now(reason)
        self._carried(now)
        if self._due() < self._planned:
            self._wake.set()

    def _write(self, frame: Frame, now: Ns) -> None:
        if not self.link.send(frame.text, key=frame.key, deadline=frame.deadline) and frame.key is not None:
            self.caller.unsent(now, frame.key, "the link is down")

    def _written(self, now: Ns) -> None:
        """A batch of frames was handed on."""

    def _carried(self, now: Ns) -> None:
        """An input was dealt with."""

    def _due(self) -> Ns:
        return self.caller.due

    # --- time ----------------------------------------------------------------------------------------------------

    def _look_at_clock(self, now: Ns) -> None:
        """Notice that the machine slept: overdue timers run once, and nothing that was believed is believed still."""
        seen, self._seen = self._seen, now
        if seen is not None and now - seen > ASLEEP:
            self._leap(now, now - seen)

    def _leap(self, now: Ns, by: Ns) -> None:
        self.caller.leap(now, by)
        self.link.redial_now("the clock jumped")

    async def timers(self) -> None:
        """Let happen what is due without a frame; never returns."""
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
                self._written(now)
                self.caller.advance(now)
                self.carry(now)

    async def watch_clock(self) -> None:
        """Look once a second whether the clock jumped, and tell of attempts to connect; never returns."""
        while True:
            await trio.sleep(1)
            jump = self.clock.check()
            now = self.clock.now()
            if jump is not None and abs(jump.by) > 2 * SECOND_NS:
                self._seen = now
                self._leap(now, jump.by)
                self.carry(now)
            else:
                self._look_at_clock(now)
            self._tell_attempts(now)
            self._each_second(now)

    def _each_second(self, now: Ns) -> None:
        """What else is to be looked at once a second."""

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
            self.caller.tell(now, f"no connection (attempt {failed}): {link.last_reason}")
