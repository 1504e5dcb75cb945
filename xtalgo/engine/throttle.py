"""What the venue's refusals teach: how fast it lets us send, and how long to keep still after one.

With a bucket like the venue's own and a late refill there are no refusals. One means that the venue counts otherwise:
a rival spends from the same token, or its clock and ours run apart. Nothing here moves before the first refusal, so
the first burst of twenty into a bucket that a rival has emptied unseen is refused as far as it was emptied.
"""

from __future__ import annotations

from collections import deque
from copy import copy
from typing import Final

from attrs import define, field

from xtalgo.engine.bucket import TokenBucket
from xtalgo.model.types import MINUTE_NS, SECOND_NS, Ns

__all__ = ["PAUSE", "PAUSE_AFTER", "Throttle"]

PAUSE_AFTER: Final = 3
"""So many refusals in a row pause the queries. The venue closes the socket at ten (code 1008)."""

PAUSE: Final[Ns] = 10 * SECOND_NS
"""How long they pause, unless a request is accepted before. An empty bucket of the venue's is full after 7 s."""

FLOOR: Final = 30
"""The fill rate never falls below so many a minute."""

CUT: Final = (4, 5)
"""A refusal multiplies the fill rate by this fraction."""

STEP: Final[Ns] = 2 * SECOND_NS
"""The fill rate recovers by one a minute, at most once in this time, and only on answers."""

WINDOW: Final = 3
"""While we are wary, at most so many requests are without a reply: that bounds a run of refusals."""

WARY: Final[Ns] = 60 * MINUTE_NS
"""How long we are wary after a refusal. A rival may be silent for long; a burst of twenty would meet it unseen."""

FORGET: Final[Ns] = 2 * SECOND_NS
"""A request without a reply for this long no longer counts for the window: its reply may be lost."""

REST_UNIT: Final[Ns] = SECOND_NS // 3
LONGEST_REST: Final[Ns] = 5 * SECOND_NS


@define(eq=False)
class Throttle:
    """Slows a bucket down when the venue refuses, and lets it recover.

    The rate falls by a fifth, once for all requests that had left before, and climbs back by one a minute every two
    seconds; never above what the bucket began with. Besides, each further refusal in a row doubles the rest.
    """

    bucket: TokenBucket
    in_a_row: int = 0
    """Refusals since the last request that was accepted."""
    refusals: int = 0
    """All refusals so far."""
    _full: int = field(init=False)
    _heard: Ns = -1
    """When the last refusal came in; before the first one, never."""
    _cut: Ns = -1
    _stepped: Ns = 0
    _paused_until: Ns = -1
    _wary_until: Ns = -1
    # Only the newest are kept: the window is smaller than that, and in replay nobody takes any out.
    _flying: deque[Ns] = field(init=False, factory=lambda: deque(maxlen=32))

    def __attrs_post_init__(self) -> None:
        self._full = self.bucket.per_minute

    def copy(self, bucket: TokenBucket) -> Throttle:
        """Another one in the same state, over a copy of its bucket."""
        made = copy(self)
        made.bucket, made._flying = bucket, self._flying.copy()
        return made

    @property
    def per_minute(self) -> int:
        """The fill rate in force."""
        return self.bucket.per_minute

    def departed(self, now: Ns) -> None:
        """A request left."""
        self._flying.append(now)

    def refused(self, left: Ns, now: Ns) -> None:
        """A request that left at ``left`` was refused for the rate limit."""
        self.in_a_row += 1
        self.refusals += 1
        self._land(now, left)
        if left > self._cut:  # or else it says nothing about the rate that has been cut since
            self.bucket.retune(now, max(min(FLOOR, self._full), self.per_minute * CUT[0] // CUT[1]))
            self._cut = now
        self._heard = self._stepped = now
        self._wary_until = now + WARY
        # The exponent is bounded so that a long row stays cheap.
        rest = min(LONGEST_REST, REST_UNIT * (2 ** min(self.in_a_row - 1, 8) - 1))
        self.bucket.drain(now, rest=rest)
        if self.in_a_row >= PAUSE_AFTER:
            self._paused_until = now + PAUSE

    def beware(self, now: Ns) -> None:
        """Be wary from now on, as after a refusal: for whoever knows of a rival before the first refusal tells."""
        self._wary_until = now + WARY

    def answered(self, now: Ns, left: Ns | None = None) -> None:
        """A request had any other reply. If it left (at ``left``) before the last refusal came, the row goes on.

        Refusals are answered at once and orders are not: such a reply may be to a request from before the refusals.
        """
        self._land(now, left)
        if left is None or left >= self._heard:
            self.in_a_row = 0
            self._paused_until = -1
        if self.per_minute < self._full and now - self._stepped >= STEP:
            self.bucket.retune(now, self.per_minute + 1)
            self._stepped = now

    def ground(self) -> None:
        """The link went down: no replies will come."""
        self._flying.clear()

    def _land(self, now: Ns, left: Ns | None) -> None:
        """Take a request out of the window; the oldest one that still counts, when it isn't known which."""
        if left is None:
            while self._flying and self._flying[0] <= now - FORGET:
                self._flying.popleft()
            if self._flying:
                self._flying.popleft()
        elif left in self._flying:
            self._flying.remove(left)

    def until(self, now: Ns, *, query: bool) -> Ns:
        """When the next request may leave as far as pause and window go; a query or another one. Maybe in the past."""
        if now >= self._wary_until:
            return -1
        until = self._paused_until if query else -1
        if len(self._flying) >= WINDOW:
            until = max(until, self._flying[-WINDOW] + FORGET)
        return min(until, self._wary_until)

    def paused(self, now: Ns) -> bool:
        """Whether the queries pause."""
        return now < self._paused_until
