"""What to send next, and when: the priority queue in front of CrossTrade's request budget.

The budget is documented as 180 requests a minute with a bucket of 20 and continuous refill. Replay runs the same
queue on event time, so that a strategy that floods is throttled there as it would be live. Live, each request that
left is reported back: ``refused`` for the rate limit, or ``answered``.
"""

from __future__ import annotations

import enum
import heapq
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final, Generic, NamedTuple, TypeVar

from attrs import define, evolve, field

from xtalgo.engine.bucket import TokenBucket, subscription_bucket
from xtalgo.engine.throttle import Throttle
from xtalgo.model.commands import BarsQuery, CancelOrder, ChangeOrder, FiguresQuery, PlaceOrder, Read
from xtalgo.model.types import NEVER, SECOND_NS, Ns, Role

__all__ = [
    "ENTRY_TTL",
    "RESERVE",
    "Entry",
    "Forecast",
    "Lane",
    "PacingQueue",
    "Slot",
    "TokenBucket",
    "slot_of",
    "subscription_bucket",
]

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


def slot_of(command: PlaceOrder | ChangeOrder | CancelOrder | Read) -> Slot:
    """The place of a command in the queue."""
    if isinstance(command, BarsQuery):
        return Slot(Lane.HISTORY, None, f"?bars/{command.instrument}/{command.period}")
    if isinstance(command, FiguresQuery):
        return Slot(Lane.POLL, None, f"?{command.about}/{command.account}")
    if isinstance(command, PlaceOrder):
        if command.reduces or command.role is not Role.ENTRY:
            return Slot(Lane.REDUCE, None, command.order_id)
        return Slot(Lane.PLACE, ENTRY_TTL if command.ttl is None else command.ttl, command.order_id)
    if isinstance(command, ChangeOrder):
        return Slot(Lane.PLACE, None, f"{command.order_id}/change")
    return Slot(Lane.REDUCE, None, f"{command.order_id}/cancel")


class Forecast(NamedTuple):
    """When requests would leave that are queued ``asked``, in the order of queueing; NEVER while the link is down."""

    asked: Ns
    leaves: tuple[Ns, ...]

    @property
    def at_once(self) -> int:
        """How many would leave in the same moment."""
        return sum(when <= self.asked for when in self.leaves)

    @property
    def last(self) -> Ns:
        """When the last would leave."""
        return max(self.leaves, default=self.asked)


@define(eq=False)
class Entry(Generic[T]):
    """One item and its place. ``deadline`` is when it goes stale, None for never; ``number`` its order of arrival.

    ``left`` is when it left: set by ``pop``, and None while it waits and once it has been given back.
    """

    item: T
    lane: Lane
    queued: Ns
    deadline: Ns | None
    key: str | None
    number: int = 0
    left: Ns | None = None
    gone: bool = False


@define(eq=False)
class PacingQueue(Generic[T]):
    """Items leave in order of lane, then of arrival, one per token; stale ones are handed back unsent.

    ``key`` names an item: a second one under a waiting key merges with it, and ``remove`` takes it out. An item that
    left is no longer here, until ``refused`` puts it back; whoever sent it holds its entry.
    """

    bucket: TokenBucket = field(factory=TokenBucket)
    sent: int = 0
    """How often something left; an item that was refused and left again counts twice."""
    longest_wait: Ns = 0
    throttle: Throttle = field(init=False)
    """What the venue's refusals do to the pace; it has the figures to show."""
    _lanes: tuple[deque[Entry[T]], ...] = field(factory=lambda: tuple(deque() for _ in Lane))
    _keys: dict[str, Entry[T]] = field(factory=dict)
    _deadlines: list[tuple[Ns, int, int, Entry[T]]] = field(factory=list)
    _count: int = 0
    _entered: int = 0
    waiting: int = 0
    """How many items wait."""
    _held: Ns | None = None

    def __attrs_post_init__(self) -> None:
        self.throttle = Throttle(self.bucket)

    def push(self, item: T, lane: Lane, now: Ns, *, ttl: Ns | None = None, key: str | None = None) -> bool:
        """Queue an item; False when one with the same key is waiting already."""
        if key is not None and key in self._keys:
            return False
        self._count += 1
        entry = Entry(item, lane, now, None if ttl is None else now + ttl, key, self._count)
        self._lanes[lane].append(entry)
        self._enter(entry)
        return True

    def _enter(self, entry: Entry[T]) -> None:
        self.waiting += 1
        if entry.key is not None:
            self._keys[entry.key] = entry
        if entry.deadline is not None:
            # One that was put back may meet what it left here: the third number tells them apart.
            self._entered += 1
            heapq.heappush(self._deadlines, (entry.deadline, entry.number, self._entered, entry))

    def remove(self, key: str) -> T | None:
        """Take a waiting item out by its key; None when it is not waiting."""
        entry = self._keys.get(key)
        if entry is None:
            return None
        self._forget(entry)
        return entry.item

    def purge(self, where: Callable[[Entry[T]], bool] | None = None, *, lanes: Iterable[Lane] = tuple(Lane)) -> list[T]:
        """Take out all waiting items of these lanes, or those that ``where`` chooses, in the order they would leave."""
        chosen = [
            entry
            for lane in sorted(set(lanes))
            for entry in self._lanes[lane]
            if not entry.gone and (where is None or where(entry))
        ]
        for entry in chosen:
            self._forget(entry)
        return [entry.item for entry in chosen]

    def _forget(self, entry: Entry[T]) -> None:
        entry.gone = True
        self.waiting -= 1
        if entry.key is not None:
            del self._keys[entry.key]

    def _head(self, now: Ns) -> Entry[T] | None:
        """What leaves next. What is past its deadline doesn't: it waits for ``expired``."""
        for lane in self._lanes:
            while lane and lane[0].gone:
                lane.popleft()
            if lane:
                head = lane[0]
                if head.deadline is None or head.deadline >= now:
                    return head
                for entry in lane:
                    if not entry.gone and (entry.deadline is None or entry.deadline >= now):
                        return entry
        return None

    def delay(self, now: Ns) -> Ns | None:
        """How long after ``now`` the next item may leave, if no reply comes before; None when nothing may.

        ``due`` says more: it counts deadlines too. Ask again after every push, reply, refusal or ``resume``.
        """
        head = self._head(now) if self._held is None else None
        if head is None:
            return None
        query = head.lane >= Lane.STATUS
        delay = self.bucket.delay(now, 1 + (RESERVE if query else 0), eager=head.lane is Lane.REDUCE)
        return max(delay, self.throttle.until(now, query=query) - now)

    def due(self, now: Ns) -> Ns:
        """When something will leave or go stale, if no reply comes before; NEVER when nothing will."""
        if not self.waiting:
            return NEVER
        delay = self.delay(now)
        ready = NEVER if delay is None else now + delay
        while self._deadlines and self._deadlines[0][3].gone:
            heapq.heappop(self._deadlines)
        return min(ready, max(now, self._deadlines[0][0])) if self._deadlines else ready

    def forecast(self, now: Ns, lanes: Sequence[Lane]) -> Forecast:
        """When requests in these lanes would leave if they were queued now, behind what waits already.

        Nothing more urgent must come between. After a refusal, when replies decide, it assumes that none comes.
        """
        asked = now
        if self._held is not None:
            return Forecast(asked, (NEVER,) * len(lanes))
        bucket = self.bucket.copy()
        trial: PacingQueue[int | None] = PacingQueue(bucket)
        trial.throttle = self.throttle.copy(bucket)
        for lane in self._lanes[: max(lanes, default=Lane.REDUCE) + 1]:
            for entry in lane:
                if not entry.gone and (entry.deadline is None or entry.deadline >= now):
                    trial.push(None, entry.lane, now, ttl=None if entry.deadline is None else entry.deadline - now)
        for number, place in enumerate(lanes):
            trial.push(number, place, now)
        leaves, left = [NEVER] * len(lanes), len(lanes)
        while left:
            now = trial.due(now)
            while left and (head := trial.pop(now)) is not None:
                if head.item is not None:
                    leaves[head.item] = now
                    left -= 1
            for _ in trial.expired(now):  # after the pops: at its deadline an entry may still leave
                pass
        return Forecast(asked, tuple(leaves))

    def pop(self, now: Ns) -> Entry[T] | None:
        """The next item, with its token taken; None when nothing may leave now."""
        head = self._head(now) if self.waiting and self._held is None else None
        if head is None:
            return None
        lane = head.lane
        query = lane >= Lane.STATUS
        if self.throttle.until(now, query=query) > now:
            return None
        if not self.bucket.take(now, leave=RESERVE if query else 0, eager=lane is Lane.REDUCE):
            return None
        self._forget(head)
        head.left = now
        self.throttle.departed(now)
        self.sent += 1
        if now - head.queued > self.longest_wait:
            self.longest_wait = now - head.queued
        return head

    def expired(self, now: Ns) -> Iterator[T]:
        """Take out what has gone stale by ``now``, in order of deadline, one at a time.

        What is removed in answer to one of them does not come up any more.
        """
        while self._deadlines and self._deadlines[0][0] <= now:
            entry = heapq.heappop(self._deadlines)[3]
            if not entry.gone:
                self._forget(entry)
                yield entry.item

    # --- what became of those that left ----------------------------------------------------------------------------

    def refused(self, entry: Entry[T], now: Ns) -> Entry[T] | None:
        """The venue refused it for the rate limit, so it was *not* done: it waits again, at the head of its lane.

        It keeps its key and its deadline; past that it comes out of ``expired``. When its key waits again already (a
        newer poll), the two merge: the newer item stays, with its own deadline, in the better of the two places, and
        the older one is given up. Returns the entry that waits now: ``.item`` tells which. None when this entry is not
        in flight (the same refusal heard twice): nothing is done then, so that nothing is sent twice.

        Call it for nothing but a rate-limit refusal: after any other reply, or none, it may have been done.
        """
        if entry.left is None:
            return None
        left, entry.left = entry.left, None
        self.throttle.refused(left, now)
        newer = self._keys.get(entry.key) if entry.key is not None else None
        if newer is None:
            return self._put_back(evolve(entry, left=None, gone=False))
        if (newer.lane, newer.number) < (entry.lane, entry.number):
            return newer
        self._forget(newer)
        return self._put_back(evolve(newer, lane=entry.lane, number=entry.number, gone=False))

    def _put_back(self, entry: Entry[T]) -> Entry[T]:
        # A lane is in order of number: only others that were put back can have a smaller one.
        lane = self._lanes[entry.lane]
        place = next((n for n, other in enumerate(lane) if other.number > entry.number), len(lane))
        lane.insert(place, entry)
        self._enter(entry)
        return entry

    def answered(self, now: Ns, entry: Entry[T] | None = None) -> None:
        """Any other reply came: the venue took the request. It ends a row of refusals and lets the pace recover.

        With its ``entry``, a reply to something that left before the last refusal came does not end the row: the
        venue may have taken it before it refused. With or without, ``entry`` can't be put back any more.
        """
        left = None
        if entry is not None:
            if entry.left is None:
                return
            left, entry.left = entry.left, None
        self.throttle.answered(now, left)

    # --- while the link is down ------------------------------------------------------------------------------------

    @property
    def held(self) -> bool:
        """Whether nothing leaves because the link is down."""
        return self._held is not None

    def hold(self, now: Ns) -> None:
        """Let nothing leave until ``resume``. What waits stays, and its deadlines run on. Holding twice is no harm."""
        if self._held is None:
            self._held = now
            self.throttle.ground()

    def resume(self, now: Ns) -> Ns:
        """Let items leave again; how long they were held."""
        held, self._held = self._held, None
        return 0 if held is None else max(0, now - held)
