"""Event time of a live session: the wall clock at its start, carried on by trio's clock."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import trio
from attrs import define, field, frozen

from xtalgo.model.types import SECOND_NS, Ns

__all__ = ["STEP", "Jump", "WallClock"]

STEP: Final[Ns] = 2 * SECOND_NS
"""A difference to the system clock that grows by more than this between two looks is a jump."""


@frozen
class Jump:
    """The system clock was set, or the machine slept. ``by`` is negative for a step back."""

    by: Ns
    moved: Ns = 0
    """How far event time moved on; zero for a step back."""


@define(eq=False)
class WallClock:
    """Nanoseconds UTC that never run back: one reading of the system clock, plus trio's time since.

    Under a MockClock event time and time-outs therefore move together. The anchor is taken at the first use, inside
    a trio run. ``wall`` is the system clock in nanoseconds UTC.
    """

    wall: Callable[[], int] = time.time_ns
    _epoch: Ns | None = field(default=None, init=False)
    _start: float = field(default=0.0, init=False)
    _ahead: Ns = field(default=0, init=False)
    _last: Ns = field(default=0, init=False)

    def _anchor(self) -> Ns:
        if self._epoch is None:
            self._epoch = self._last = self.wall()
            self._start = trio.current_time()
        return self._epoch

    def now(self) -> Ns:
        """Event time."""
        # Rounded, not truncated: a float second is a fraction of a nanosecond off, and a timer that was set for a
        # stamp must find that stamp when it fires.
        now = self._anchor() + round((trio.current_time() - self._start) * SECOND_NS)
        if now < self._last:
            return self._last
        self._last = now
        return now

    def trio_deadline(self, ns: Ns) -> float:
        """The time on trio's clock at which ``now`` will be ``ns``. No longer true after a jump: ask again."""
        return (ns - self._anchor()) / SECOND_NS + self._start

    def check(self) -> Jump | None:
        """Compare with the system clock; to be called about once a second. Each jump is returned once.

        A clock that runs ahead of event time takes it along; one that is behind leaves it alone, since event time
        never runs back. Steps up to ``STEP`` are followed without a word.
        """
        ahead = self.wall() - self.now()
        step = ahead - self._ahead
        moved = max(0, ahead)
        self._epoch = self._anchor() + moved
        self._ahead = ahead - moved
        return Jump(step, moved) if abs(step) > STEP else None
