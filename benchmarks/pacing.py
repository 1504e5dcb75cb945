"""The pacing queue against a server's token bucket, in virtual time: throughput, refusals, and how long a cancel waits.

The server has a bucket of 20 and 180 a minute on a clock of its own; requests arrive 0-200 ms after they left, replies
come back as late. Skew is our clock against the server's; the rival spends one token a second from the same bucket.

    python benchmarks/pacing.py [--requests N] [--minutes N]
"""

from __future__ import annotations

import argparse
import heapq
import time
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
from attrs import define, field

from xtalgo.engine.pacing import Entry, Lane, PacingQueue, TokenBucket
from xtalgo.model.types import MILLISECOND_NS, MINUTE_NS, NEVER, SECOND_NS, Ns

JITTER: Ns = 200 * MILLISECOND_NS
EPOCH: Ns = 1_778_680_800_000_000_000
"""What our clock says when the server's says 0."""

MIX = (
    (Lane.REDUCE,)
    + 4 * (Lane.PLACE, Lane.POLL, Lane.STATUS, Lane.POLL, Lane.PLACE, Lane.HISTORY)
    + (Lane.POLL,) * 4
    + (Lane.HISTORY,)
)
"""The lanes of thirty requests in a row."""


@define(eq=False)
class World:
    """One client, one server and the way between them. Times are the server's unless they are called ours."""

    seed: int = 1
    speed: Fraction = Fraction(1)
    """Our seconds in one of the server's."""
    rival_every: Ns = NEVER
    queue: PacingQueue[int] = field(factory=PacingQueue)
    server: TokenBucket = field(factory=lambda: TokenBucket(20, 180, late=0))
    now: Ns = 0
    accepted: int = 0
    refused: int = 0
    row: int = 0
    longest_row: int = 0
    pushed: int = 0
    waits: dict[Lane, list[Ns]] = field(factory=lambda: {lane: [] for lane in Lane})
    """How long each accepted request had been waiting, ours, from its first push to its last leaving."""
    stale: int = 0
    _events: list[tuple[Ns, int, str, Entry[int] | None]] = field(factory=list)
    _count: int = 0
    _delays: Iterator[int] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._delays = self._jitter()
        if self.rival_every < NEVER:
            self._later(self.rival_every, "rival", None)

    def _jitter(self) -> Iterator[int]:
        rng = np.random.default_rng(self.seed)
        while True:
            yield from rng.integers(0, JITTER, 8_192, endpoint=True).tolist()

    def ours(self, at: Ns) -> Ns:
        """What our clock says at a time of the server's."""
        return EPOCH + at * self.speed.numerator // self.speed.denominator

    def _theirs(self, ours: Ns) -> Ns:
        return -(-(ours - EPOCH) * self.speed.denominator // self.speed.numerator)

    def _later(self, at: Ns, what: str, entry: Entry[int] | None) -> None:
        self._count += 1
        heapq.heappush(self._events, (at, self._count, what, entry))

    def push(self, lane: Lane, ttl: Ns | None = None) -> None:
        """Offer one request now."""
        self.pushed += 1
        self.queue.push(self.pushed, lane, self.ours(self.now), ttl=ttl)

    def release(self) -> int:
        """Let out what may leave now; how many left."""
        count, ours = 0, self.ours(self.now)
        for _ in self.queue.expired(ours):
            self.stale += 1
        while (entry := self.queue.pop(ours)) is not None:
            self._later(self.now + next(self._delays), "arrives", entry)
            count += 1
        return count

    def run(self, until: Ns) -> None:
        """Let happen what is due up to a time: arrivals, replies, the rival, and what may leave."""
        while True:
            self.release()
            due = self.queue.due(self.ours(self.now))
            leaves = max(self.now, self._theirs(due)) if due < NEVER else NEVER
            first = min(leaves, self._events[0][0] if self._events else NEVER)
            if first > until:
                self.now = until
                return
            self.now = first
            while self._events and self._events[0][0] <= first:
                _, _, what, entry = heapq.heappop(self._events)
                self._happen(what, entry)

    def _happen(self, what: str, entry: Entry[int] | None) -> None:
        if entry is None:
            self.server.take(self.now)
            self._later(self.now + self.rival_every, "rival", None)
        elif what == "arrives":
            taken = self.server.take(self.now)
            self.row = 0 if taken else self.row + 1
            self.longest_row = max(self.longest_row, self.row)
            self._later(self.now + next(self._delays), "accepted" if taken else "refused", entry)
        elif what == "refused":
            self.refused += 1
            self.queue.refused(entry, self.ours(self.now))
        else:
            self.accepted += 1
            if entry.left is not None:
                self.waits[entry.lane].append(entry.left - entry.queued)
            self.queue.answered(self.ours(self.now), entry)


@define
class Sustained:
    """What came of many requests that were offered as fast as they would leave."""

    requests: int
    refused: int
    least_burst: int
    """The fewest that left at once from a full bucket."""
    throughput: float
    """Of those that left after the burst, against 180 a minute."""


def sustained(requests: int, seed: int = 1, *, lane: Lane = Lane.PLACE, a_row: int = 1_000) -> Sustained:
    """Rows of requests as fast as the queue lets them out; every other idle spell between them fills the bucket.

    The inner loop leaves out replies (none is a refusal, and any other changes nothing): a million is a few seconds.
    """
    rng = np.random.default_rng(seed)
    queue: PacingQueue[int] = PacingQueue()
    server = TokenBucket(20, 180, late=0)
    pop, push, delay, take = queue.pop, queue.push, queue.delay, server.take
    now, refused, least, spans, counted = EPOCH, 0, 20, 0, 0
    on_the_way: list[Ns] = []
    for row in range(requests // a_row):
        at_once, began = 0, now
        for jitter in rng.integers(0, JITTER, a_row, endpoint=True).tolist():
            push(0, lane, now)
            wait = delay(now) or 0
            at_once += not wait and now == began
            now += wait
            while on_the_way and on_the_way[0] <= now:
                refused += not take(heapq.heappop(on_the_way))
            if pop(now) is None:
                raise AssertionError("delay() promised that it would leave")
            heapq.heappush(on_the_way, now + jitter)
        if row % 2 == 0:  # the bucket was full
            least = min(least, at_once)
            spans += now - began
            counted += a_row - 20
        now += int(rng.integers(0, 6 * SECOND_NS)) if row % 2 == 0 else 10 * SECOND_NS
    while on_the_way:
        refused += not take(heapq.heappop(on_the_way))
    return Sustained(queue.sent, refused, least, counted * MINUTE_NS / (180 * spans))


def pressed(speed: Fraction = Fraction(1), rival_every: Ns = NEVER, *, minutes: int, seed: int = 1) -> World:
    """A world with more to send than it can, for some minutes: a cancel every other second, the rest in mixed lanes."""
    world = World(seed, speed, rival_every)
    for second in range(minutes * 60):
        if second % 2 == 0:
            world.push(Lane.REDUCE)
        while world.queue.waiting < 8:
            world.push(MIX[1 + world.pushed % 29])
        world.run((second + 1) * SECOND_NS)
    return world


def spells(speed: Fraction = Fraction(1), rival_every: Ns = NEVER, *, minutes: int, seed: int = 1) -> World:
    """A world of bursts: up to twenty-five requests at once, then up to fifteen seconds of nothing."""
    world = World(seed, speed, rival_every)
    rng = np.random.default_rng(seed)
    while world.now < minutes * MINUTE_NS:
        for _ in range(int(rng.integers(1, 26))):
            world.push(MIX[world.pushed % 30])
        world.run(world.now + int(rng.integers(0, 15 * SECOND_NS)))
    return world


def unseen(*, polls: bool, beware: bool, seed: int = 1) -> World:
    """Twenty requests at once into a bucket that ours takes for full, while a rival takes one a second unseen.

    With two polls a second besides, the venue's bucket never fills again: the worst that can meet a queue which no
    refusal has warned. ``beware``: somebody told it of the rival.
    """
    world = World(seed, rival_every=SECOND_NS)
    if beware:
        world.queue.throttle.beware(world.ours(0))
    world.run(seed * 77 * MILLISECOND_NS)
    for _ in range(20):
        for _ in range(20):
            world.push(Lane.PLACE)
        for _ in range(40 if polls else 14):
            if polls:
                world.push(Lane.POLL)
            world.run(world.now + SECOND_NS // 2)
    return world


def overload(seconds: float, *, fifo: bool, seed: int = 1) -> World:
    """Thirty requests a second in mixed lanes, one of them a cancel. ``fifo``: all in one lane, as a list would be."""
    world = World(seed)
    for n in range(int(seconds * 30)):
        world.run(n * SECOND_NS // 30)
        lane = MIX[n % 30]
        world.push(Lane.PLACE if fifo else lane)
    if fifo:  # the last one is the one to look at
        world.run(world.now + NEVER // 4)
    else:
        world.run(world.now + SECOND_NS)
    return world


CASES = (
    ("alone", Fraction(1), NEVER),
    ("our clock 20 % fast", Fraction(12, 10), NEVER),
    ("our clock 20 % slow", Fraction(8, 10), NEVER),
    ("a rival, 1 a second", Fraction(1), SECOND_NS),
    ("20 % fast and the rival", Fraction(12, 10), SECOND_NS),
    ("20 % slow and the rival", Fraction(8, 10), SECOND_NS),
)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=int, default=60)
    asked = parser.parse_args()
    began = time.perf_counter()
    for lane in (Lane.PLACE, Lane.POLL, Lane.REDUCE):
        found = sustained(asked.requests if lane is Lane.PLACE else asked.requests // 10, lane=lane)
        print(
            f"{found.requests:,} requests in lane {lane.name}: {found.least_burst} leave at once, then "
            f"{found.throughput:.2%} of 180 a minute; {found.refused} refused  [{time.perf_counter() - began:.1f} s]"
        )
    print(f"\n{asked.minutes} min each              accepted/min  of its share  refused  in a row  longest cancel wait")
    for shape, world_of in (("pressed", pressed), ("in spells", spells)):
        for name, speed, rival in CASES:
            world = world_of(speed, rival, minutes=asked.minutes)
            rate = world.accepted / asked.minutes
            share = rate / min(180 - (0 if rival == NEVER else 60), 180 * float(speed))
            print(
                f"{shape:<10}{name:<25}{rate:>7.1f}{share:>13.1%}{world.refused:>9}{world.longest_row:>9}"
                f"{max(world.waits[Lane.REDUCE]) / SECOND_NS:>12.3f} s"
            )
    print()
    for polls in (False, True):
        plain, warned = (
            max(unseen(polls=polls, beware=bool(way), seed=n).longest_row for n in range(1, 41)) for way in (0, 1)
        )
        shape = "every 20 s beside 2 polls/s" if polls else "every 7 s"
        print(f"20 at once {shape}, a rival unseen, 40 seeds: {plain} refused in a row; told of it before: {warned}")
    print()
    for seconds in (3.75, 60.0):
        ours, fifo = (overload(seconds, fifo=way) for way in (False, True))
        print(
            f"tenfold overload for {seconds:g} s: "
            f"a cancel waits at most {max(ours.waits[Lane.REDUCE]) / SECOND_NS:.3f} s; "
            f"first in, first out: {max(fifo.waits[Lane.PLACE]) / SECOND_NS:.1f} s"
        )


if __name__ == "__main__":
    main()
