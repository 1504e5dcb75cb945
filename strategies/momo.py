"""Momentum on two moving averages: long while the fast one is above the slow one, short while it is below.

    xtalgo run strategies/momo.py --replay backtest_data -p fast=5 -p slow=20

An example of the signal form: one numpy function from quotes to target positions, and nothing else. It is here to
be copied, not to earn money.
"""

import numpy as np
from numpy.typing import NDArray

from xtalgo import Columns, Instrument, SignalStrategy, rolling


class Momo(SignalStrategy):
    instrument: Instrument = "MNQ"  # a root: the one MNQ contract of the recording
    fast: int = 20  # quotes, about a second each
    slow: int = 100
    quantity: int = 1

    @property
    def lookback(self) -> int:
        return max(self.fast, self.slow)

    def signal(self, columns: Columns) -> NDArray[np.float64]:
        mid = columns.mid
        gap = rolling.rolling_mean(mid, self.fast) - rolling.rolling_mean(mid, self.slow)
        # NaN leaves the position as it is: at a tie there is no reason to pay for leaving.
        return np.where(gap == 0, np.nan, np.sign(gap) * self.quantity)
