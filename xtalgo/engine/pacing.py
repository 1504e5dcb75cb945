"""When to send: the token bucket of CrossTrade's request budget and the priority queue in front of it.

The budget is documented as 180 requests a minute with a bucket of 20 and continuous refill. Replay runs the same
queue on event time, so that a strategy that floods is throttled there as it would be live.
"""

from __future__ import annotations

import enum
import heapq
from collections import deque
from collections.abc import Iterator
from typing import Final, Generic, NamedTuple, TypeVar

from attrs import define, field

from xtalgo.model.commands import CancelOrder, ChangeOrder, PlaceOrder
from xtalgo.model.types import MILLISECOND_NS, MINUTE_NS, NEVER, SECOND_NS, Ns, Role

__all__ = ["ENTRY_TTL", "RESERVE", "Entry", "Lane", "PacingQueue", "Slot", "TokenBucket", "slot_of"]

T = TypeVar("T")

ENTRY_TTL: Final[Ns] = 2 * SECOND_NS
"""An entry that waited this long is dropped rather than sent stale."""

RESERVE: Final = 4
"""Tokens that queries must leave for orders."""


class Lane(enum.IntEnum):
    """Priority classes, most urgent first. Only the last three must leave the reserve."""

    REDUCE = 0
    """Cancels, closing orders and protective orders."""
    PLACE = 1
    """New orders and changes."""
    STATUS = 2
    """Status of orders in flight."""
    POLL = 3
    """Routine polls."""
    HISTORY = 4
    """Bars and other bulk reads."""


class Slot(NamedTuple):
    """How a command queues: its lane, how long it may wait (None: for ever), and the key that names it."""

    lane: Lane
    ttl: Ns | None
    key: str


def slot_of(command: PlaceOrder | ChangeOrder | CancelOrder) -> Slot:
    """The place of an order command in the queue."""
    if isinstance(command, PlaceOrder):
        if command.reduces or command.role is not Role.ENTRY:
            return Slot(Lane.REDUCE, None, command.order_id)
        return Slot(Lane.PLACE, ENTRY_TTL, command.order_id)
    if isinstance(command, ChangeOrder):
        return Slot(Lane.PLACE, None, f"{command.order_id}/change")
    return Slot(Lane.REDUCE, None, f"{command.order_id}/cancel")


class TokenBucket:
    """A token bucket on an explicit clock, in exact integers.

    It never gives more than ``capacity + rate * t`` tokens in any span of ``t``. After it leaves full its refill
    starts ``late`` nanoseconds later: requests that left together arrive apart, and the venue's bucket must not be
    behind ours. Urgent calls (``eager``) ignore that delay.
    """

    __slots__ = ("_from", "_units", "_until", "_withheld", "capacity", "late", "per_minute")

    def __init__(self, capacity: int = 20, per_minute: int = 180, *, late: Ns = 200 * MILLISECOND_NS) -> None:
        self.capacity = capacity
        self.per_minute = per_minute
        self.late = late
        # One token is MINUTE_NS units and a nanosecond refills `per_minute` of them: no rounding anywhere.
        self._units = capacity * MINUTE_NS
        self._from: Ns = 0
        # What the late refill withholds from calls that are not urgent; it grows with the refill until `_until`.
        self._withheld = 0
        self._until: Ns = 0

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
        """Tokens in the bucket at ``now``."""
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

    def drain(self, now: Ns) -> None:
        """Empty the bucket: the venue said that its own is empty."""
        self._units, self._withheld, self._from, self._until = 0, 0, now, 0


@define(eq=False)
class Entry(Generic[T]):
    """One waiting item. ``deadline`` is when it goes stale, None for never."""

    item: T
    lane: Lane
    queued: Ns
    deadline: Ns | None
    key: str | None
    gone: bool = False


@define(eq=False)
class PacingQueue(Generic[T]):
    """Items leave in order of lane, then of arrival, one per token; stale ones are handed back unsent.

    ``key`` names an item: a second one under a waiting key merges with it, and ``remove`` takes it out.
    """

    bucket: TokenBucket = field(factory=TokenBucket)
    sent: int = 0
    longest_wait: Ns = 0
    _lanes: tuple[deque[Entry[T]], ...] = field(factory=lambda: tuple(deque() for _ in Lane))
    _keys: dict[str, Entry[T]] = field(factory=dict)
    _deadlines: list[tuple[Ns, int, Entry[T]]] = field(factory=list)
    _count: int = 0
    waiting: int = 0
    """How many items wait."""

    def push(self, item: T, lane: Lane, now: Ns, *, ttl: Ns | None = None, key: str | None = None) -> bool:
        """Queue an item; False when one with the same key is waiting already."""
        if key is not None and key in self._keys:
            return False
        entry = Entry(item, lane, now, None if ttl is None else now + ttl, key)
        self._lanes[lane].append(entry)
        self.waiting += 1
        if key is not None:
            self._keys[key] = entry
        if entry.deadline is not None:
            self._count += 1
            heapq.heappush(self._deadlines, (entry.deadline, self._count, entry))
        return True

    def remove(self, key: str) -> T | None:
        """Take a waiting item out by its key; None when it is not waiting."""
        entry = self._keys.get(key)
        if entry is None:
            return None
        self._forget(entry)
        return entry.item

    def _forget(self, entry: Entry[T]) -> None:
        entry.gone = True
        self.waiting -= 1
        if entry.key is not None:
            del self._keys[entry.key]

    def _head(self) -> Entry[T] | None:
        for lane in self._lanes:
            while lane and lane[0].gone:
                lane.popleft()
            if lane:
                return lane[0]
        return None

    def delay(self, now: Ns) -> Ns | None:
        """How long after ``now`` the next item may leave; None when nothing waits."""
        head = self._head()
        if head is None:
            return None
        return self.bucket.delay(now, 1 + (RESERVE if head.lane >= Lane.STATUS else 0), eager=head.lane is Lane.REDUCE)

    def due(self, now: Ns) -> Ns:
        """When something will leave or go stale; NEVER when nothing waits."""
        if not self.waiting:
            return NEVER
        delay = self.delay(now)
        assert delay is not None
        while self._deadlines and self._deadlines[0][2].gone:
            heapq.heappop(self._deadlines)
        ready = now + delay
        return min(ready, max(now, self._deadlines[0][0])) if self._deadlines else ready

    def pop(self, now: Ns) -> Entry[T] | None:
        """The next item, with its token taken; None when nothing waits or no token is there."""
        head = self._head() if self.waiting else None
        if head is None:
            return None
        lane = head.lane
        if not self.bucket.take(now, leave=RESERVE if lane >= Lane.STATUS else 0, eager=lane is Lane.REDUCE):
            return None
        self._lanes[lane].popleft()
        self._forget(head)
        self.sent += 1
        if now - head.queued > self.longest_wait:
            self.longest_wait = now - head.queued
        return head

    def expired(self, now: Ns) -> Iterator[T]:
        """Take out what has gone stale by ``now``, in order of deadline, one at a time.

        What is removed in answer to one of them does not come up any more.
        """
        while self._deadlines and self._deadlines[0][0] <= now:
            entry = heapq.heappop(self._deadlines)[2]
            if not entry.gone:
                self._forget(entry)
                yield entry.item
