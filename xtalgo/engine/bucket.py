"""The token bucket, in exact integers: how many requests may leave, and when the next one may."""

from __future__ import annotations

from copy import copy
from typing import Final

from xtalgo.model.types import MILLISECOND_NS, MINUTE_NS, Ns

__all__ = ["LATE", "TokenBucket", "subscription_bucket"]

LATE: Final[Ns] = 200 * MILLISECOND_NS
"""How far apart requests that left together may arrive."""


def subscription_bucket() -> TokenBucket:
    """The budget of subscription actions (subscribe, unsubscribe, streamPnl): a burst of 5, 20 a minute.

    Numbers: notes of 2026-09-19 that quote docs.crosstrade.io/api/rate-limiting; CrossTrade says "about 20".
    """
    return TokenBucket(5, 20)


class TokenBucket:
    """A token bucket on an explicit clock, in exact integers.

    It never gives more than ``capacity + rate * t`` tokens in any span of ``t``. After it leaves full its refill
    starts ``late`` nanoseconds later: requests that left together arrive apart, and the venue's bucket must not be
    behind ours. Urgent calls (``eager``) ignore that delay.
    """

    __slots__ = ("_from", "_units", "_until", "_withheld", "capacity", "late", "per_minute")

    def __init__(self, capacity: int = 20, per_minute: int = 180, *, late: Ns = LATE) -> None:
        self.capacity = capacity
        self.per_minute = per_minute
        self.late = late
        # One token is MINUTE_NS units and a nanosecond refills `per_minute` of them: no rounding anywhere.
        self._units = capacity * MINUTE_NS
        self._from: Ns = 0
        # What the late refill withholds from calls that are not urgent; it grows with the refill until `_until`.
        self._withheld = 0
        self._until: Ns = 0

    def copy(self) -> TokenBucket:
        """Another one in the same state."""
        return copy(self)

    def _held(self, now: Ns) -> tuple[int, int]:
        """Units in the bucket at ``now``, and how many of them are withheld."""
        now = max(now, self._from)
        units = self._units + (now - self._from) * self.per_minute
        withheld = self._withheld
        if self._until > self._from:
            withheld += (min(now, self._until) - self._from) * self.per_minute
        full = self.capacity * MINUTE_NS
        if units > full:
            # What runs over would have filled the part that was withheld.
            return full, max(0, withheld - (units - full))
        return units, withheld

    def level(self, now: Ns, *, eager: bool = False) -> float:
        """Tokens in the bucket at ``now``; below zero while it pays off a debt."""
        units, withheld = self._held(now)
        return (units if eager else units - withheld) / MINUTE_NS

    def delay(self, now: Ns, need: int = 1, *, eager: bool = False) -> Ns:
        """How long after ``now`` the bucket will hold ``need`` tokens; zero when it does already."""
        units, withheld = self._held(now)
        missing = need * MINUTE_NS - (units if eager else units - withheld)
        if missing <= 0:
            return 0
        start = max(now, self._from)
        if not eager and self._until > start:
            start = self._until  # until then the refill is withheld as it comes
        return start - now + -(-missing // self.per_minute)

    def take(self, now: Ns, *, leave: int = 0, eager: bool = False) -> bool:
        """Take one token if more than ``leave`` are there; whether it was taken."""
        units, withheld = self._held(now)
        held = units if eager else units - withheld
        if held < (1 + leave) * MINUTE_NS:
            return False
        now = max(now, self._from)
        if units - withheld == self.capacity * MINUTE_NS:
            self._until = now + self.late
        self._units, self._withheld, self._from = units - MINUTE_NS, withheld, now
        return True

    def drain(self, now: Ns, *, rest: Ns = 0) -> None:
        """Empty the bucket: the venue said that its own is empty.

        ``rest`` puts it in debt besides: it holds nothing before that long has passed, and no burst has gathered then.
        A debt it has already is never made smaller.
        """
        units, _ = self._held(now)
        self._units, self._withheld = min(units, -rest * self.per_minute), 0
        self._from, self._until = max(now, self._from), 0

    def retune(self, now: Ns, per_minute: int) -> None:
        """Refill at another rate from ``now`` on; what is in the bucket stays."""
        if per_minute < 1:
            raise ValueError(f"a bucket refills by at least 1 token a minute, not {per_minute}")
        self._units, self._withheld = self._held(now)
        self._from = max(now, self._from)
        self.per_minute = per_minute
