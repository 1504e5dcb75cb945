"""Figures of the synthetic market: the shape of a day, and one specification per futures root.

Nothing here is a market fact of today. The half-hour tables were measured on a few months of minute bars of one ES
and one MNQ contract, the spreads and sizes of ES on short quote samples; every figure of every other root, price
levels included, is an assumption that is only meant to be plausible.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from attrs import field, frozen
from numpy.typing import NDArray

from xtalgo.model.errors import ConfigError
from xtalgo.model.instruments import Contract, ContractBook

__all__ = [
    "BREAK_GAP",
    "DAY_VOLATILITY",
    "FAST_VOLATILITY",
    "FLOW",
    "FOLLOW_MARGIN",
    "HALF_HOUR_S",
    "MOVE_BP",
    "NEWS",
    "NEWS_FADE",
    "SHOCK_CAP",
    "SIGN_STAYS",
    "SIZE_FACTOR",
    "SIZE_LEAN",
    "SIZE_NEW",
    "SIZE_WALK",
    "SLOW_VOLATILITY",
    "STEP_SCALE",
    "SWEPT",
    "VOLATILITY_CAP",
    "VOLUME_PER_MINUTE",
    "WEEKEND_GAP",
    "WIDE_AFTER_OPEN",
    "MarketSpec",
    "PathSpec",
    "spec_for",
    "specs_for",
]

HALF_HOUR_S = 1_800
"""Length of one row of the tables in seconds; row 0 begins at 18:00 New York, when a session opens."""

# fmt: off
# Mean absolute one-minute move in ticks and mean contracts a minute, by half hour from 18:00 to 17:00 New York.
# Measured: ES 06-26 over 12 weeks at a mean price of 7113, MNQ 06-26 over 9 weeks at a mean price of 26192.
_ES_MOVE = (
    4.26, 3.18, 2.74, 2.95, 4.79, 3.73, 3.74, 3.38, 3.00, 2.68, 2.33, 2.33,              # 18:00
    2.22, 2.11, 2.77, 2.90, 3.09, 2.98, 3.79, 3.48, 4.48, 3.73, 3.88, 3.33, 3.61, 3.67,  # 00:00
    4.71, 4.37, 4.90, 5.00, 4.83,                                                        # 07:00
    9.65, 8.17, 7.78, 6.76, 6.03, 5.62, 5.49, 5.75, 4.98, 4.90, 4.74, 5.06, 5.86,        # 09:30
    4.76, 2.84,                                                                          # 16:00
)
_ES_VOLUME = (
    302, 180, 143, 147, 293, 221, 241, 211, 172, 143, 120, 108,
    103, 93, 130, 138, 191, 192, 297, 246, 355, 293, 289, 265, 306, 335,
    476, 466, 622, 773, 1032,
    5020, 3869, 3421, 3075, 2673, 2238, 2140, 2187, 1996, 2025, 1915, 2214, 5432,
    1723, 425,
)
_MNQ_MOVE = (
    19.22, 15.46, 13.01, 13.23, 23.55, 18.15, 18.10, 16.12, 15.03, 14.04, 11.43, 11.40,
    10.69, 10.41, 14.11, 13.92, 15.63, 14.70, 18.24, 16.47, 22.12, 18.15, 18.56, 16.46, 17.93, 17.68,
    23.43, 19.89, 23.64, 25.11, 23.59,
    57.98, 43.06, 40.78, 34.52, 30.70, 28.44, 27.32, 28.11, 24.00, 23.53, 22.36, 22.83, 26.59,
    23.65, 13.88,
)
_MNQ_VOLUME = (
    714, 487, 456, 463, 908, 664, 707, 620, 533, 459, 367, 338,
    327, 295, 406, 388, 474, 434, 587, 483, 686, 552, 542, 516, 585, 600,
    793, 764, 1055, 1335, 1551,
    7222, 5384, 4733, 3915, 3294, 2771, 2577, 2646, 2295, 2293, 2065, 2219, 2726,
    1270, 506,
)
# Quoted size against its night-time median: thin around the daily break, two to three times as deep in the cash
# session. Roughly the shape of one day of minute quotes of ES in 2020.
_SIZE_FACTOR = (0.5,) * 2 + (1.0,) * 26 + (1.3,) * 5 + (2.2,) * 11 + (1.2, 0.5)
# fmt: on


def _table(values: tuple[float, ...], scale: float = 1.0) -> NDArray[np.float64]:
    table = np.asarray(values, dtype=np.float64) * scale
    table.flags.writeable = False
    return table


MOVE_BP: dict[str, NDArray[np.float64]] = {
    "ES": _table(_ES_MOVE, 0.25 / 7_113 * 1e4),
    "MNQ": _table(_MNQ_MOVE, 0.25 / 26_192 * 1e4),
}
"""Mean absolute one-minute move in basis points of the price, by half hour from 18:00, of each profile."""

VOLUME_PER_MINUTE: dict[str, NDArray[np.float64]] = {"ES": _table(_ES_VOLUME), "MNQ": _table(_MNQ_VOLUME)}
"""Mean contracts a minute, by half hour from 18:00, of each profile."""

SIZE_FACTOR: NDArray[np.float64] = _table(_SIZE_FACTOR)
"""Quoted size against its night-time median, by half hour from 18:00; the same for all instruments (assumed)."""


FAST_VOLATILITY = (0.48, 75.0)
"""Log sd and half life in seconds of the fast volatility factor: the clusters of a few minutes.

This and the next are fitted: one-minute moves over their profile get the measured quantiles and autocorrelations.
"""

SLOW_VOLATILITY = (0.36, 5_400.0)
"""The same of the factor that lasts for hours."""

DAY_VOLATILITY = (0.30, 0.55)
"""Log sd of the day's volatility factor and its correlation from day to day, as measured."""

VOLATILITY_CAP, SHOCK_CAP = 6.0, 4.5
"""Limits of the volatility (its mean is 1) and of one second's shock (its sd is near 1.3): no single-frame monsters."""

STEP_SCALE = 0.12
"""From the mean absolute one-minute move to one second's step; fitted, 1.25 / sqrt(60) over the sd of a shock."""

BREAK_GAP, WEEKEND_GAP = (2.0, 1.7, 14.0), (24.6, 1.0, 5.0)
"""Gap of ES at the open: median in basis points, how steeply it grows with its z score, and the most in medians.

Measured over the daily break: median 6 ticks, mean 13, 90% quantile 35; over twelve weekends median 70, most 335.
"""

NEWS = ((52_200, 0.15, 4.0), (57_600, 0.10, 2.0), (72_000, 0.06, 3.0))
"""News at 08:30, 10:00 and 14:00: second of the session, chance a day, sd in mean one-minute moves (assumed)."""

NEWS_FADE = 0.85
"""News reach the price over twenty seconds; each second brings this share of the one before."""

FLOW = (0.3, 120.0)
"""Log sd and half life in seconds of volume beyond what volatility brings; makes log volume's sd about 0.7."""

FOLLOW_MARGIN = 0.25
"""Ticks by which the path must leave the quote before the quote follows: quiet seconds, and a little bounce."""

WIDE_AFTER_OPEN = (600, 2.5)
"""For so many seconds after the open wide spreads are so many times as common."""

SIZE_NEW = (-0.2, 0.95)
"""Mean and sd of the log size of a new best price, against the median."""

SIZE_WALK = (0.8, 240.0)
"""Sd and half life in seconds of the walk of log size while a price stands."""

SIZE_LEAN = 1.0
"""How strongly sizes tell where in the spread the path is; gives the measured moves after an imbalance."""

SIGN_STAYS = 0.71
"""Chance that an aggressor's side repeats: correlation 0.42."""

SWEPT = 0.02
"""Share of trades one tick beyond the touch."""


@frozen
class PathSpec:
    """An efficient price that one or more instruments quote around (ES and MES share theirs).

    ``key`` seeds it; ``profile`` names the shape of its day ("ES" or "MNQ"); ``volatility`` multiplies the
    profile's moves in basis points; ``loading`` is its correlation with the factor common to all paths, -1 to 1.
    """

    key: str
    profile: str = field(default="ES")
    volatility: float = field(default=1.0)
    loading: float = field(default=0.3)

    @profile.validator
    def _known(self, _attribute: object, value: str) -> None:
        if value not in MOVE_BP:
            raise ConfigError(f"profile must be one of {', '.join(MOVE_BP)}, not {value!r}")

    @volatility.validator
    def _sane(self, _attribute: object, value: float) -> None:
        if not 0 <= value <= 10:
            raise ConfigError(f"volatility must be between 0 and 10 times the profile, not {value!r}")

    @loading.validator
    def _bounded(self, _attribute: object, value: float) -> None:
        if not -1 <= value <= 1:
            raise ConfigError(f"loading must be between -1 and 1, not {value!r}")


@frozen
class MarketSpec:
    """One synthetic instrument: contract facts, the price it follows, and how it is quoted.

    ``start_price`` is the level at which a market opens, in points. ``volume`` multiplies the profile's contracts a
    minute. ``size`` is the median quoted size at night. ``spread_day`` and ``spread_night`` are the shares of time
    at 1, 2, 3, ... ticks (day is 09:30 to 16:00 New York); ``spread_keep`` is the chance that a spread outlasts the
    second. ``quiet`` is the share of seconds without any event at the quietest hour.
    """

    contract: Contract
    path: PathSpec
    start_price: float
    volume: float
    size: float
    spread_day: tuple[float, ...] = field()
    spread_night: tuple[float, ...] = field()
    spread_keep: float = 0.3
    quiet: float = 0.35

    @spread_day.validator
    @spread_night.validator
    def _shares(self, attribute: object, value: tuple[float, ...]) -> None:
        if not 1 <= len(value) <= 20 or min(value) < 0 or abs(sum(value) - 1) > 1e-9:
            raise ConfigError(f"shares of the spread, at most 20, must not be negative and sum to 1; got {value!r}")

    def __attrs_post_init__(self) -> None:
        if self.contract.to_ticks(self.start_price) < 100:
            raise ConfigError(
                f"{self.name}: a start price of {self.start_price} is too few ticks of "
                f"{self.contract.tick_size}; it takes at least 100"
            )
        if not (self.volume > 0 and self.size >= 1 and 0 <= self.spread_keep < 1 and 0 <= self.quiet < 1):
            raise ConfigError(
                f"{self.name}: volume must be positive, size at least 1, spread_keep and quiet from 0 to below 1"
            )

    @property
    def name(self) -> str:
        """The instrument's canonical name, e.g. ``ES 06-26``."""
        return self.contract.name


@frozen
class _Root:
    path: PathSpec
    start_price: float
    daily_volume: float  # contracts
    size: float
    spread: str = "tight"
    quiet: float = 0.35


# Shares of time at 1, 2, 3, ... ticks, by day and by night. "tight" was measured on ES by time and by trade, "nq" by
# day follows ten quotes of NQ; the others are assumed. The last figure is the chance to outlast a second.
_SPREADS: dict[str, tuple[tuple[float, ...], tuple[float, ...], float]] = {
    "tight": ((0.966, 0.033, 0.001), (0.965, 0.034, 0.001), 0.25),
    "mnq": ((0.45, 0.40, 0.15), (0.15, 0.35, 0.30, 0.15, 0.05), 0.4),
    "nq": ((0.10, 0.60, 0.30), (0.05, 0.35, 0.35, 0.20, 0.05), 0.4),
    "wide": ((0.15, 0.30, 0.30, 0.15, 0.10), (0.05, 0.15, 0.25, 0.25, 0.15, 0.10, 0.05), 0.7),
}

_DAILY_VOLUME = {name: float(table.sum()) * HALF_HOUR_S / 60 for name, table in VOLUME_PER_MINUTE.items()}

# The measured pair: loadings whose product gives the correlation of one-minute moves, 0.93 after rounding to ticks.
_SP = PathSpec("SP500", "ES", 1.0, 0.986)
_ND = PathSpec("NASDAQ100", "MNQ", 1.0, 0.98)


def _path(key: str, volatility: float, loading: float) -> PathSpec:
    return PathSpec(key, "ES", volatility, loading)


_DOW = _path("DOW", 0.9, 0.93)
_RUSSELL = _path("RUSSELL2000", 1.35, 0.87)
_OIL = _path("WTI", 2.3, 0.15)
_GOLD = _path("GOLD", 1.2, 0.1)
_SILVER = _path("SILVER", 2.2, 0.2)
_EURO = _path("EURUSD", 0.45, 0.25)
_POUND = _path("GBPUSD", 0.5, 0.3)
_AUSSIE = _path("AUDUSD", 0.65, 0.5)
_BITCOIN = _path("BITCOIN", 2.6, 0.4)

# Path, start price, contracts a day, median size at night, spread, quiet share. ES and MNQ: price, moves and volume
# measured. Everything else assumed: round, plausible levels, and daily moves as a multiple of those of ES.
_ROOTS: dict[str, _Root] = {
    "ES": _Root(_SP, 7_113, _DAILY_VOLUME["ES"], 25),
    "MES": _Root(_SP, 7_113, 1_200_000, 18),
    "NQ": _Root(_ND, 26_192, 550_000, 2, "nq"),
    "MNQ": _Root(_ND, 26_192, _DAILY_VOLUME["MNQ"], 5, "mnq"),
    "YM": _Root(_DOW, 49_500, 120_000, 4, "mnq"),
    "MYM": _Root(_DOW, 49_500, 120_000, 6, "mnq"),
    "RTY": _Root(_RUSSELL, 2_650, 180_000, 5, "mnq"),
    "M2K": _Root(_RUSSELL, 2_650, 90_000, 8, "mnq"),
    "EMD": _Root(_path("MIDCAP400", 1.15, 0.88), 3_500, 12_000, 2, "wide", 0.6),
    "NKD": _Root(_path("NIKKEI225", 1.3, 0.6), 55_000, 9_000, 3, "mnq", 0.6),
    "CL": _Root(_OIL, 70, 300_000, 8),
    "MCL": _Root(_OIL, 70, 90_000, 15),
    "NG": _Root(_path("NATURALGAS", 4.0, 0.05), 3.2, 180_000, 6, "mnq"),
    "RB": _Root(_path("GASOLINE", 2.1, 0.12), 2.1, 40_000, 2, "wide", 0.5),
    "HO": _Root(_path("HEATINGOIL", 2.1, 0.12), 2.4, 45_000, 2, "wide", 0.5),
    "PL": _Root(_path("PLATINUM", 1.9, 0.15), 2_000, 25_000, 2, "wide", 0.5),
    "GC": _Root(_GOLD, 4_500, 200_000, 4, "mnq"),
    "MGC": _Root(_GOLD, 4_500, 250_000, 8, "mnq"),
    "SI": _Root(_SILVER, 70, 70_000, 3, "mnq"),
    "SIL": _Root(_SILVER, 70, 60_000, 4, "mnq"),
    "HG": _Root(_path("COPPER", 1.5, 0.25), 5.5, 70_000, 6, "mnq"),
    "ZT": _Root(_path("RATES2Y", 0.1, -0.15), 104, 700_000, 900, quiet=0.5),
    "ZF": _Root(_path("RATES5Y", 0.25, -0.15), 109, 1_300_000, 600, quiet=0.4),
    "ZN": _Root(_path("RATES10Y", 0.38, -0.15), 112, 1_800_000, 500),
    "TN": _Root(_path("RATES10YU", 0.5, -0.15), 115, 550_000, 120),
    "ZB": _Root(_path("RATES30Y", 0.65, -0.15), 116, 400_000, 120),
    "UB": _Root(_path("RATES30YU", 0.85, -0.15), 119, 300_000, 40),
    "6E": _Root(_EURO, 1.17, 200_000, 30),
    "M6E": _Root(_EURO, 1.17, 20_000, 30, quiet=0.5),
    "6B": _Root(_POUND, 1.34, 100_000, 30),
    "M6B": _Root(_POUND, 1.34, 4_000, 20, quiet=0.6),
    "6J": _Root(_path("USDJPY", 0.55, -0.1), 0.0064, 150_000, 20),
    "6A": _Root(_AUSSIE, 0.68, 90_000, 30),
    "M6A": _Root(_AUSSIE, 0.68, 8_000, 20, quiet=0.6),
    "6C": _Root(_path("CADUSD", 0.35, 0.35), 0.73, 80_000, 25),
    "6S": _Root(_path("CHFUSD", 0.5, 0.05), 1.27, 30_000, 10, "mnq", 0.5),
    "6N": _Root(_path("NZDUSD", 0.65, 0.45), 0.59, 35_000, 20, quiet=0.5),
    "BTC": _Root(_BITCOIN, 80_000, 10_000, 1, "wide", 0.6),
    "MBT": _Root(_BITCOIN, 80_000, 40_000, 3, "wide", 0.5),
    "ZC": _Root(_path("CORN", 1.4, 0.05), 440, 250_000, 80, quiet=0.5),
    "ZS": _Root(_path("SOYBEANS", 1.2, 0.05), 1_080, 150_000, 25, quiet=0.5),
    "ZW": _Root(_path("WHEAT", 1.7, 0.05), 560, 90_000, 20, quiet=0.5),
}


def spec_for(name: str, book: ContractBook | None = None) -> MarketSpec:
    """The built-in specification of an instrument, by any spelling that ``book`` reads.

    A root without a line of its own gets a path of its own with the moves of ES, and a start price of 10,000
    ticks. Raises ConfigError when the contract's facts are not known.
    """
    book = book or ContractBook()
    contract = book.contract(name)
    facts = _ROOTS.get(contract.root)
    if facts is None:
        path = PathSpec(contract.root)
        facts = _Root(path, contract.to_price(10_000), 50_000, 5, "mnq", 0.5)
    day, night, keep = _SPREADS[facts.spread]
    return MarketSpec(
        contract=contract,
        path=facts.path,
        start_price=facts.start_price,
        volume=facts.daily_volume / _DAILY_VOLUME[facts.path.profile],
        size=facts.size,
        spread_day=day,
        spread_night=night,
        spread_keep=keep,
        quiet=facts.quiet,
    )


def specs_for(names: Iterable[str], book: ContractBook | None = None) -> tuple[MarketSpec, ...]:
    """``spec_for`` of several instruments."""
    return tuple(spec_for(name, book) for name in names)
