"""A session in lockstep: time comes from the server, frame by frame, and the outcome is that of a replay as live."""

from __future__ import annotations

from collections.abc import Sequence

import trio
from attrs import define, evolve, field

from xtalgo.client.caller import Frame
from xtalgo.live.lockstep import LockstepClient, mark_of
from xtalgo.live.session import Session
from xtalgo.model.types import Ns

__all__ = ["SteppedSession"]


@define(eq=False)
class SteppedSession(Session):
    """A session whose clock is the server's. It ends when the server says that the recording is over."""

    stepper: LockstepClient = field(init=False)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        self.stepper = LockstepClient(self.trader)
        self.is_stepped = True

    def link_up(self, now: Ns, generation: int) -> None:
        """A connection is open; the trader hears of it at the first mark."""

    def frame(self, text: str | bytes, now: Ns, generation: int) -> None:
        """A frame came: a mark moves time, everything else belongs to the moment of the last mark."""
        mark = mark_of(text)
        if mark is None:
            self.trader.frame(text, self.stepper.now)
            self.carry(self.stepper.now)
            return
        self.stepper.advance(mark)
        self.carry(mark.now)
        if mark.end:
            self.end()
        else:
            self.link.send(self.stepper.answer())

    def link_down(self, now: Ns, generation: int, reason: str, unsent: Sequence[str], wait: float | None) -> None:
        """The connection is over, at the moment of the last mark."""
        if not self.stepper.is_over and self.trader.is_up:
            super().link_down(self.stepper.now, generation, reason, unsent, wait)

    def unsent(self, now: Ns, key: str, reason: str) -> None:
        """A frame was not written."""
        super().unsent(self.stepper.now, key, reason)

    def _write(self, frame: Frame, now: Ns) -> None:
        # A deadline in simulated time says nothing about how long the writing takes.
        super()._write(evolve(frame, deadline=None), now)

    def _look_at_clock(self, now: Ns) -> None:
        """Nobody sleeps in simulated time."""

    async def timers(self) -> None:
        """What is due happens at the server's marks."""
        await trio.sleep_forever()

    async def watch_clock(self) -> None:
        """Simulated time doesn't jump."""
        await trio.sleep_forever()
