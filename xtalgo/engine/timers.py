"""Timers on event time: once, at intervals, or at a time of day. Each runs as a turn of its own."""

from __future__ import annotations

import datetime as dt
import heapq
from collections.abc import Callable

from attrs import define, field

from xtalgo.model.errors import StrategyError
from xtalgo.model.sessions import local_instant, session_at, to_datetime
from xtalgo.model.types import NEVER, Ns

__all__ = ["Timer", "Timers", "daily", "parse_time"]


@define(eq=False)
class Timer:
    """A handle to one timer; ``cancel()`` stops it. ``due`` is when it runs next."""

    due: Ns
    tag: str
    _run: Callable[[], None]
    _again: Callable[[Ns], Ns] | None = None
    is_engines: bool = False
    """Whether it is the engine's own (a bar's end, a new day): at the same instant these run first."""
    cancelled: bool = False

    def cancel(self) -> None:
        """Never run again."""
        self.cancelled = True


@define(eq=False)
class Timers:
    """All timers, in order of their time; at the same time the engine's own first, then in order of their making."""

    due: Ns = NEVER
    """When the next timer runs, or a cancelled one would have."""
    _heap: list[tuple[Ns, bool, int, Timer]] = field(factory=list)
    _count: int = 0

    def add(self, timer: Timer) -> None:
        """Start a timer."""
        self._count += 1
        heapq.heappush(self._heap, (timer.due, not timer.is_engines, self._count, timer))
        self.due = self._heap[0][0]

    def leap(self, now: Ns) -> None:
        """The clock jumped to ``now``: what is overdue runs once, then, and goes on from there."""
        for _, _, _, timer in self._heap:
            timer.due = max(timer.due, now)
        self._heap = [(timer.due, own, number, timer) for _, own, number, timer in self._heap]
        heapq.heapify(self._heap)
        self.due = self._heap[0][0] if self._heap else NEVER

    def pop(self, now: Ns) -> Callable[[], None] | None:
        """What the next timer due by ``now`` runs, if it was not cancelled; a repeating one is set again first."""
        if self.due > now:
            return None
        timer = heapq.heappop(self._heap)[3]
        self.due = self._heap[0][0] if self._heap else NEVER
        if timer.cancelled:
            return None
        if timer._again is not None:
            timer.due = timer._again(timer.due)
            self.add(timer)
        else:
            timer.cancelled = True
        return timer._run


def parse_time(text: str) -> dt.time:
    """A time of day written ``09:45`` or ``09:45:30``; StrategyError for anything else."""
    try:
        time = dt.time.fromisoformat(text)
    except ValueError:
        raise StrategyError(f"{text!r} is not a time of day; write it as '09:45' or '09:45:30'") from None
    if time.tzinfo is not None:
        raise StrategyError(f"{text!r} carries a zone; give it as tz=")
    return time


def daily(after: Ns, time: dt.time, zone: str) -> Ns:
    """The first instant after ``after`` at which clocks in ``zone`` show ``time`` and the market is in session.

    StrategyError when there is none within a year: the time lies in the daily break, summer and winter.
    """
    first = to_datetime(after, zone).date()
    for days in range(370):
        instant = local_instant(first + dt.timedelta(days=days), time, zone)
        if instant > after and session_at(instant).contains(instant):
            return instant
    raise StrategyError(f"the market is never open at {time:%H:%M:%S} in {zone}")
