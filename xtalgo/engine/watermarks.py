"""Which of the venue's watermarks an account's drawdown may be measured from.

CrossTrade's server keeps the highs of an account's trading day, also while we are not there to see them. What its
figures hold is not documented to the last (net of fees? open P&L included?), nor in which zone its day begins at six,
and a guard that fires on nonsense closes positions. So a high is taken only as far as the same answer bears it out: by
how much P&L *and* net liquidation stand below their highs, counted from where the account stands by our own view.
"""

from __future__ import annotations

import datetime as dt
import math
from typing import Final

from attrs import define, field

from xtalgo.model.events import Watermarks
from xtalgo.model.sessions import session_at
from xtalgo.model.types import MINUTE_NS, Ns

__all__ = ["SETTLED", "PeakOfDay"]

SETTLED: Final[Ns] = 70 * MINUTE_NS
"""Highs told before this long after the session's open may be those of the day before: six o'clock is not said to be
New York's (documented without a zone), and in Chicago it is an hour later."""

ABSURD: Final = 1e9
"""No account that we trade has figures of a billion dollars; zeros and sentinels come in all sizes."""

CENT: Final = 0.01


@define(eq=False)
class PeakOfDay:
    """Judges the watermarks of all accounts."""

    _seen: dict[str, tuple[dt.date, float]] = field(factory=dict)
    """The newest high of P&L by account, and the day in which it was told."""
    _old: dict[str, float] = field(factory=dict)
    """Highs of P&L by account that were there before the day's own could be."""

    def peak(self, account: str, marks: Watermarks, asked: Ns, standing: float) -> float | None:
        """The day's highest P&L in dollars as far as it is borne out; None where nothing is.

        ``asked`` is when the question left, ``standing`` the day's P&L by our own view of it.
        """
        high, now = _told(marks.pnl_high), _told(marks.pnl)
        if high is None:
            return None
        session = session_at(asked)
        day, before = self._seen.get(account, (session.day, None))
        self._seen[account] = (session.day, high)
        if asked < session.open + SETTLED or (day != session.day and before == high):
            self._old[account] = high
        if self._old.get(account) == high:
            return None  # it has not moved since before the day began
        self._old.pop(account, None)
        if now is None or high < now - CENT:
            return None
        worth, most = _told(marks.net_liquidation), _told(marks.net_liquidation_high)
        total = _told(marks.total)
        fall = high - now
        if worth is not None and most is not None and worth > 0 and most >= worth - CENT:
            fall = min(fall, max(0.0, most - worth))
        elif total is None or abs(total - now) > CENT:
            return None
        return min(standing, now if total is None else total) + fall


def _told(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) and abs(value) < ABSURD else None
