"""What a synthetic market was before it was first quoted: minutes that nobody saw, made up backwards.

SYNTHETIC, like the market that they lead to, and cheaper: one step a minute with the half hour's usual move and volume
instead of one a second. The last session closes at the price at which the market opens. A path and a seed give the
same past to every instrument that follows the path, whatever is asked for.
"""

from __future__ import annotations

import datetime as dt
from typing import Final

import numpy as np
from attrs import define, field
from numpy.typing import NDArray

from xtalgo.model.types import MINUTE_NS, Ns
from xtalgo.sim import profile
from xtalgo.sim.history import NONE, Minutes, session_on
from xtalgo.sim.paths import stream
from xtalgo.sim.profile import MarketSpec

__all__ = ["SESSIONS", "Past"]

SESSIONS: Final = 520
"""How many sessions it has: two years."""

_MINUTES: Final = 23 * 60
_SLOT: Final = np.arange(_MINUTES) // 30
_MOVE: Final = 1.25
"""From the mean absolute one-minute move to its standard deviation."""
_WICK: Final = 0.35
"""How far a minute reaches beyond its open and close, against its standard deviation."""
_FLOOR_TICKS: Final = 20


@define(eq=False)
class Past:
    """Sessions before the one of ``first``, at whose open the price is ``spec.start_price``."""

    seed: int
    spec: MarketSpec
    first: dt.date
    _closes: list[float] = field(factory=lambda: [0.0])
    """Log level at the close of the k-th session before ``first``, and what follows of it for the one before."""

    def minutes(self, since: Ns) -> Minutes:
        """The sessions that end after ``since``, from the oldest that there is; a few hundred take 0.1 s."""
        parts: list[Minutes] = []
        for count in range(SESSIONS):
            day = _weekday_before(self.first, count + 1)
            session = session_on(day, -1)
            if session.close <= since:
                break
            parts.append(self._session(count, day, session.open))
        return Minutes.joined(parts[::-1]).since(since) if parts else NONE

    def _session(self, count: int, day: dt.date, opened: Ns) -> Minutes:
        """The session that is ``count`` sessions before the last one."""
        path = self.spec.path
        random = stream(self.seed, day.toordinal(), f"past/{path.key}")
        together = stream(self.seed, day.toordinal(), "past/common").standard_normal(_MINUTES)
        own = random.standard_normal(_MINUTES)
        gap, calm = random.standard_normal(2)
        sd = profile.MOVE_BP[path.profile][_SLOT] * (path.volatility * _MOVE * 1e-4)
        sd = sd * np.exp(profile.DAY_VOLATILITY[0] * calm)
        loading = path.loading
        steps = sd * (loading * together + np.sqrt(1 - loading * loading) * own)
        # From the close, which is known, back to the open.
        levels = self._closes[count] + np.cumsum(steps) - float(np.sum(steps))
        opening = levels[0] - steps[0]
        if len(self._closes) == count + 1:
            median = (profile.WEEKEND_GAP if day.weekday() == 0 else profile.BREAK_GAP)[0]
            self._closes.append(float(opening - gap * median * path.volatility * 1e-4))
        up, down = np.abs(random.standard_normal((2, _MINUTES))) * sd * _WICK
        before = np.append(opening, levels[:-1])
        return Minutes(
            opened + np.arange(_MINUTES, dtype=np.int64) * MINUTE_NS,
            self._prices(before),
            self._prices(np.maximum(before, levels) + up),
            self._prices(np.minimum(before, levels) - down),
            self._prices(levels),
            self._volume(day),
        )

    def _prices(self, levels: NDArray[np.float64]) -> NDArray[np.float64]:
        contract = self.spec.contract
        ticks = np.rint(self.spec.start_price / contract.tick_size * np.exp(levels)).astype(np.int64)
        return contract.prices_of(np.maximum(ticks, _FLOOR_TICKS))

    def _volume(self, day: dt.date) -> NDArray[np.int64]:
        spec = self.spec
        drawn = stream(self.seed, day.toordinal(), f"past/volume/{spec.name}").standard_normal(_MINUTES)
        pace = profile.VOLUME_PER_MINUTE[spec.path.profile][_SLOT] * spec.volume
        return np.rint(pace * np.exp(0.5 * drawn - 0.125)).astype(np.int64)


def _weekday_before(day: dt.date, count: int) -> dt.date:
    """The weekday that is ``count`` weekdays before one."""
    weeks, weekday = divmod(day.toordinal() - 1, 7)
    weeks, weekday = divmod(weeks * 5 + weekday - count, 5)
    return dt.date.fromordinal(weeks * 7 + weekday + 1)
