"""Efficient prices of the synthetic market: what its quotes follow, session by session.

A path is summed in integers, and what transcendental functions return is rounded to a coarse grid before it is added
up, so that the last bit of a platform's ``exp`` has hardly a way to show.
"""

from __future__ import annotations

import math
from typing import Final, TypeAlias

import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from xtalgo.sim import profile
from xtalgo.sim.profile import PathSpec

__all__ = ["FRAMES_PER_SESSION", "SECONDS", "SLOT", "UNITS", "Common", "Path", "stream"]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

FRAMES_PER_SESSION: Final = 23 * 3_600
"""Frames of one session: one a second for 23 hours (clocks change on Sunday mornings, outside trading hours)."""

SECONDS: Final = np.arange(FRAMES_PER_SESSION, dtype=np.int64)
"""Seconds since the open."""

SLOT: Final = SECONDS // profile.HALF_HOUR_S
"""The half hour that each second lies in."""

UNITS: Final = 2.0**32
"""Returns are summed as integers in units of 2**-32."""

_GRID_S = 10  # volatility and flow move every ten seconds: fine enough for minutes, and a tenth of the loop


def stream(seed: int, ordinal: int, label: str) -> np.random.Generator:
    """Random numbers of one thing in one session; other labels and sessions are independent streams."""
    key = (ordinal, int.from_bytes(label.encode(), "big"))
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key)))


@frozen(eq=False)
class _Weather:
    """Draws of one session, for one path or for the common factor, alike in scale so that they can be blended.

    ``shock`` is standard normal, ``volatility`` and ``flow`` are log factors, all one a second.
    """

    shock: Floats
    volatility: Floats
    flow: Floats
    day: float
    gap: float

    @classmethod
    def draw(cls, seed: int, ordinal: int, label: str) -> _Weather:
        random = stream(seed, ordinal, label)
        gap = float(random.standard_normal())
        shock = random.standard_normal(FRAMES_PER_SESSION)
        volatility = _wander(random, *profile.FAST_VOLATILITY) + _wander(random, *profile.SLOW_VOLATILITY)
        # An AR(1) cut after ten days, so that it does not depend on where the market began.
        sd, stay = profile.DAY_VOLATILITY
        days = [float(stream(seed, ordinal - k, f"{label}/day").standard_normal()) for k in range(10)]
        day = sd * math.sqrt(1 - stay * stay) * sum(stay**k * drawn for k, drawn in enumerate(days))
        return cls(shock, volatility, _wander(random, *profile.FLOW), day, gap)

    def blend(self, own: _Weather, loading: float) -> _Weather:
        """This one (the common factor) and ``own``, weighted so that variances stay."""
        rest = math.sqrt(1 - loading * loading)
        near = abs(loading)  # volatility and volume rise together even where prices move against each other
        return _Weather(
            loading * self.shock + rest * own.shock,
            near * self.volatility + rest * own.volatility,
            near * self.flow + rest * own.flow,
            near * self.day + rest * own.day,
            loading * self.gap + rest * own.gap,
        )


def _wander(random: np.random.Generator, sd: float, half_life: float) -> Floats:
    """A stationary AR(1) that moves every ``_GRID_S`` seconds, one value a second."""
    stay = 0.5 ** (_GRID_S / half_life)
    level = float(random.standard_normal()) * sd
    drawn = random.standard_normal(FRAMES_PER_SESSION // _GRID_S) * (sd * math.sqrt(1 - stay * stay))
    levels = [level := stay * level + step for step in drawn.tolist()]
    return np.repeat(np.asarray(levels), _GRID_S)


@frozen(eq=False)
class Common:
    """What all paths of one session share; a normal shock times ``burst`` is Student's t(4), ``news`` in moves."""

    weather: _Weather
    burst: Floats
    news: Floats

    @classmethod
    def draw(cls, seed: int, ordinal: int) -> Common:
        """The draws of one session."""
        random = stream(seed, ordinal, "common/burst")
        chance = random.random(FRAMES_PER_SESSION) * random.random(FRAMES_PER_SESSION)
        chi = -0.5 * np.log(np.maximum(chance, 1e-300))  # chi-square with four degrees of freedom, over four
        news = np.zeros(FRAMES_PER_SESSION)
        weights = np.asarray([profile.NEWS_FADE**k for k in range(20)])
        for second, likely, sd in profile.NEWS:
            drawn, size = float(random.random()), float(random.standard_normal())
            if drawn < likely:
                news[second : second + len(weights)] = weights * (sd * size * (1 - profile.NEWS_FADE))
        return cls(_Weather.draw(seed, ordinal, "common"), 1 / np.sqrt(np.maximum(chi, 0.1)), news)


@frozen(eq=False)
class Path:
    """One path over one session: ``returns`` since the open in units of 2**-32, and the relative gap before it.

    ``volatility`` (mean 1) and ``flow`` (log volume beyond it) tell its instruments how busy each second is.
    """

    returns: Ints
    volatility: Floats
    flow: Floats
    gap: float

    @classmethod
    def draw(cls, seed: int, ordinal: int, spec: PathSpec, common: Common) -> Path:
        """The path of ``spec`` over one session."""
        weather = common.weather.blend(_Weather.draw(seed, ordinal, f"path/{spec.key}"), spec.loading)
        sds = (profile.FAST_VOLATILITY[0], profile.SLOW_VOLATILITY[0], profile.DAY_VOLATILITY[0])
        volatility = np.exp(weather.volatility + (weather.day - sum(sd * sd for sd in sds) / 2))
        volatility = np.clip(np.rint(volatility * 65_536) / 65_536, 0.01, profile.VOLATILITY_CAP)
        shock = np.clip(common.burst * weather.shock, -profile.SHOCK_CAP, profile.SHOCK_CAP)
        move = profile.MOVE_BP[spec.profile][SLOT] * (spec.volatility * 1e-4)
        steps = move * (volatility * (shock * profile.STEP_SCALE) + common.news * spec.loading)
        # The gaps were measured on ES; other paths scale them by their mean move.
        median, steep, most = profile.WEEKEND_GAP if ordinal % 5 == 0 else profile.BREAK_GAP
        wide = spec.volatility * sum(profile.MOVE_BP[spec.profile].tolist()) / sum(profile.MOVE_BP["ES"].tolist())
        gap = min(math.sinh(steep * abs(weather.gap)) / math.sinh(steep * 0.674), most) * median * 1e-4 * wide
        gap = math.copysign(round(gap * UNITS) / UNITS, weather.gap)
        return cls(np.cumsum(np.rint(steps * UNITS).astype(np.int64)), volatility, weather.flow, gap)

    def open(self, before: float, with_gap: bool) -> float:
        """The level at the open after a close at ``before``."""
        return before * (1 + self.gap) if with_gap else before

    def close(self, before: float, with_gap: bool) -> float:
        """The level of the last second; it never reaches zero."""
        return max(self.open(before, with_gap) * (1 + int(self.returns[-1]) / UNITS), 1e-3)
