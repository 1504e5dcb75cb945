"""What is remembered of an account and trading day outside the run: loss, peaks and lock.

A level is dollars of net P&L on a scale that goes on over days, so that a day's result, a drawdown from the day's peak
and one from the peak at ends of days are differences on one scale.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import Final

import attrs
from attrs import define, frozen

from xtalgo.model.events import AccountPnl
from xtalgo.model.sessions import session_at
from xtalgo.model.types import MINUTE_NS, Ns

__all__ = ["RESET", "DayState", "Lock", "Track"]

RESET: Final[Ns] = 10 * MINUTE_NS
"""So long after a session's open, and in the break before it, realized P&L that is zero again is a fresh day's.

When NinjaTrader starts it anew is not documented; at other times its net liquidation must show that nothing was lost.
"""


@define
class Track:
    """One view of an account's net P&L, open P&L included, in dollars."""

    base: float = 0.0
    """The level at which the trading day began."""
    peak: float = 0.0
    """The highest level of the day."""
    end_peak: float = 0.0
    """The highest level at the end of a day before; the first day's beginning counts as one."""
    level: float = 0.0

    @classmethod
    def starting(cls, base: float, end_peak: float | None = None) -> Track:
        """A day that begins at ``base``."""
        return cls(base, base, base if end_peak is None else end_peak, base)

    def see(self, level: float, *, is_complete: bool = True) -> None:
        """The level is this now; one that is not complete (a position without a quote) makes no peak."""
        self.level = level
        if is_complete and level > self.peak:
            self.peak = level

    def end_day(self) -> None:
        """A day ends and the next one begins."""
        self.end_peak = max(self.end_peak, self.level)
        self.base = self.peak = self.level

    @property
    def loss(self) -> float:
        """Dollars lost in the day; negative for a gain. Rounded so that a limit is met exactly."""
        return round(self.base - self.level, 4)

    def drawdown(self, basis: str, peak: float | None = None) -> float:
        """Dollars below the peak; ``peak`` is another view's of the same day's P&L."""
        if basis == "eod":
            return round(self.end_peak - self.level, 4)
        top = self.peak if peak is None else max(self.peak, self.base + peak)
        return round(top - self.level, 4)


@frozen
class Lock:
    """Why an account is locked: the reason's value, and a text for people."""

    ts: Ns
    reason: str
    text: str


@frozen
class DayState:
    """One account's trading day, as it is kept in a file. Copies are independent of the run."""

    account: str
    day: dt.date
    """The date the session is named after."""
    own: Track
    """By our own books."""
    own_shift: float = 0.0
    """What is added to the net P&L of the books to get ``own``'s level."""
    settled: float = 0.0
    """``own``'s level with open positions at cost."""
    pnl: Track | None = None
    """By the venue's realized and unrealized P&L, where it told both."""
    pnl_shift: float = 0.0
    """What is added to the venue's sum to get ``pnl``'s level: it starts from zero again once a day."""
    realized: float | None = None
    """The venue's realized P&L as it was told last."""
    net_liquidation: Track | None = None
    """By the venue's net liquidation, where it told it."""
    end_liquidation: float | None = None
    """The highest net liquidation at the end of a day before, while ``net_liquidation`` is not told yet."""
    told_peak: float | None = None
    """The highest P&L of the day that the venue itself has on record."""
    lock: Lock | None = None

    def copy(self) -> DayState:
        """One that shares nothing that can change."""

        def same(track: Track | None) -> Track | None:
            return None if track is None else attrs.evolve(track)

        own = attrs.evolve(self.own)
        return attrs.evolve(self, own=own, pnl=same(self.pnl), net_liquidation=same(self.net_liquidation))

    @property
    def tracks(self) -> list[Track]:
        """Every view there is."""
        return [track for track in (self.own, self.pnl, self.net_liquidation) if track is not None]

    def turned(self, day: dt.date) -> DayState:
        """The next trading day of a run that goes on: the lock ends, and losses and peaks count from here."""
        for track in self.tracks:
            track.end_day()
        return attrs.evolve(self, day=day, told_peak=None, lock=None)

    def taken_up(self, day: dt.date) -> DayState:
        """A later trading day of another run.

        What the venue tells first is measured from where that day began; of earlier ones only the peak stays.
        """
        turned = self.turned(day)
        liquid = turned.net_liquidation
        return attrs.evolve(
            turned,
            pnl=None,
            pnl_shift=0.0,
            realized=None,
            net_liquidation=None,
            end_liquidation=turned.end_liquidation if liquid is None else liquid.end_peak,
        )

    def with_told(self, event: AccountPnl) -> DayState:
        """With what the venue told; figures that are missing or no numbers are left out."""
        realized, unrealized = _finite(event.realized), _finite(event.unrealized)
        liquid, total = _finite(event.net_liquidation), None
        track, shift, worth = self.pnl, self.pnl_shift, self.net_liquidation
        if realized is not None and unrealized is not None:
            total = realized + unrealized
            if track is None:
                track = Track.starting(0.0)  # the venue's figures are those of the day
            elif not realized and self.realized and self._starts_anew(event.ts, self.realized, liquid):
                shift += self.realized
            track.see(total + shift)
        if liquid is not None:
            if worth is None:
                base = liquid - (total or 0.0)
                worth = Track.starting(base, base if self.end_liquidation is None else max(base, self.end_liquidation))
            worth.see(liquid)
        return attrs.evolve(
            self,
            pnl=track,
            pnl_shift=shift,
            realized=self.realized if realized is None else realized,
            net_liquidation=worth,
        )

    def _starts_anew(self, now: Ns, realized: float, liquid: float | None) -> bool:
        """Whether ``realized`` went to zero by the venue's clock: around a session's open, or the account kept it."""
        if now < session_at(now).open + RESET:
            return True
        worth = self.net_liquidation
        return worth is not None and liquid is not None and abs(liquid - worth.level) < abs(realized) / 2


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None
