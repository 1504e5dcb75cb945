"""What replies do to the queue: putting back, adapting, holding, purging; and the queue against a server.

The server of the long runs is the benchmark's: a bucket of 20 and 180 a minute on a clock of its own, 0-200 ms away.
"""

from __future__ import annotations

import importlib.util
import sys
from fractions import Fraction
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from xtalgo.engine.bucket import LATE, TokenBucket, subscription_bucket
from xtalgo.engine.pacing import ENTRY_TTL, RESERVE, Entry, Lane, PacingQueue
from xtalgo.engine.throttle import FLOOR, FORGET, LONGEST_REST, PAUSE, STEP, WARY, WINDOW
from xtalgo.model.types import MILLISECOND_NS, MINUTE_NS, NEVER, SECOND_NS

START = 1_778_680_800_000_000_000
TOKEN = 333_333_334
QUERIES = (Lane.STATUS, Lane.POLL, Lane.HISTORY)


def popped(queue: PacingQueue[str], now: int) -> Entry[str]:
    entry = queue.pop(now)
    assert entry is not None
    return entry


def sent(queue: PacingQueue[str], count: int, now: int = START, lane: Lane = Lane.PLACE) -> list[Entry[str]]:
    """So many requests that have left."""
    for n in range(count):
        queue.push(f"{lane.name} {n}", lane, now)
    return [popped(queue, now) for _ in range(count)]


def items(queue: PacingQueue[str], now: int) -> list[str]:
    """Everything that leaves in the end, each answered at once."""
    found = []
    while queue.waiting:
        now = queue.due(now)
        list(queue.expired(now))
        while (entry := queue.pop(now)) is not None:
            found.append(entry.item)
            queue.answered(now, entry)
    return found


# --- the buckets -----------------------------------------------------------------------------------------------------


def test_the_subscription_bucket() -> None:
    bucket = subscription_bucket()
    assert [bucket.take(START) for _ in range(6)] == [True] * 5 + [False]
    assert bucket.delay(START) == LATE + 3 * SECOND_NS


def test_a_bucket_at_rest_gathers_no_burst() -> None:
    bucket = TokenBucket()
    bucket.drain(START, rest=5 * SECOND_NS)
    assert bucket.level(START) == -15
    assert bucket.delay(START, eager=True) == 5 * SECOND_NS + TOKEN
    bucket.drain(START + SECOND_NS)  # another refusal makes no debt smaller
    assert bucket.level(START + SECOND_NS) == -12
    assert not bucket.take(START + 5 * SECOND_NS + TOKEN - 1, eager=True)
    assert bucket.take(START + 5 * SECOND_NS + TOKEN)
    assert not bucket.take(START + 5 * SECOND_NS + TOKEN, eager=True)


def test_a_bucket_retuned_keeps_what_it_holds() -> None:
    bucket = TokenBucket()
    for _ in range(20):
        bucket.take(START)
    bucket.retune(START + LATE + SECOND_NS, 60)
    assert bucket.level(START + LATE + SECOND_NS) == 3
    assert bucket.level(START + LATE + 3 * SECOND_NS) == 5
    bucket.retune(START, 180)  # a call with an older time gives nothing twice
    assert bucket.level(START + LATE + SECOND_NS) == 3
    with pytest.raises(ValueError, match="at least 1 token a minute, not 0"):
        bucket.retune(START, 0)


# --- a refusal puts back ---------------------------------------------------------------------------------------------


def test_what_was_refused_leaves_again_first_in_its_lane() -> None:
    queue: PacingQueue[str] = PacingQueue()
    a, b, c = sent(queue, 3)
    for lane in (Lane.PLACE, Lane.REDUCE):
        queue.push(f"later {lane.name}", lane, START)
    # In whatever order the refusals come in: they leave as they arrived.
    for entry in (b, a, c):
        again = queue.refused(entry, START + 1)
        assert again is not None
        assert (again.item, again.lane, again.queued, again.left) == (entry.item, entry.lane, START, None)
    assert queue.waiting == 5
    assert items(queue, START + 1) == ["later REDUCE", "PLACE 0", "PLACE 1", "PLACE 2", "later PLACE"]
    assert queue.sent == 8  # three of them cost a request each for nothing
    assert queue.longest_wait > SECOND_NS  # counted from the first push


def test_it_keeps_its_key_and_can_be_withdrawn_again() -> None:
    queue: PacingQueue[str] = PacingQueue()
    queue.push("place", Lane.PLACE, START, key="r-1")
    entry = popped(queue, START)
    assert queue.remove("r-1") is None  # in flight: not here
    queue.refused(entry, START + 1)
    assert not queue.push("place", Lane.PLACE, START + 1, key="r-1")
    assert queue.remove("r-1") == "place"
    assert (queue.remove("r-1"), queue.waiting, queue.pop(START + MINUTE_NS)) == (None, 0, None)


def test_it_keeps_its_deadline() -> None:
    queue: PacingQueue[str] = PacingQueue()
    for name in ("in time", "too late"):
        queue.push(name, Lane.PLACE, START, ttl=ENTRY_TTL, key=name)
    one, two = popped(queue, START), popped(queue, START)
    queue.refused(one, START + SECOND_NS)
    assert queue.due(START + SECOND_NS) == START + SECOND_NS + 416_666_667  # at 144 a minute
    queue.answered(START + SECOND_NS)
    assert popped(queue, START + SECOND_NS + 416_666_667).item == "in time"
    # The second refusal is so late that the entry is stale: it comes out unsent, once.
    now = START + 3 * SECOND_NS
    queue.refused(two, now)
    assert queue.due(now) == now
    assert queue.pop(now + MINUTE_NS) is None
    assert list(queue.expired(now)) == ["too late"]
    assert list(queue.expired(now + MINUTE_NS)) == []
    assert queue.waiting == 0


def test_the_same_refusal_twice_puts_back_once() -> None:
    queue: PacingQueue[str] = PacingQueue()
    (entry,) = sent(queue, 1)
    again = queue.refused(entry, START)
    assert again is not None
    assert queue.refused(entry, START) is None
    assert queue.refused(again, START) is None  # it waits
    assert (queue.waiting, queue.throttle.in_a_row) == (1, 1)
    left = popped(queue, START + SECOND_NS)
    queue.answered(START + SECOND_NS, left)
    assert queue.refused(left, START + SECOND_NS) is None  # it was answered: sending it again would double it
    queue.answered(START + SECOND_NS, left)
    assert (queue.waiting, queue.throttle.refusals) == (0, 1)


def test_a_newer_one_under_its_key_takes_its_place() -> None:
    queue: PacingQueue[str] = PacingQueue()
    queue.push("old", Lane.POLL, START, key="orders")
    entry = popped(queue, START)
    queue.push("other", Lane.POLL, START + 1)
    queue.push("new", Lane.POLL, START + 2, key="orders", ttl=MINUTE_NS)
    merged = queue.refused(entry, START + 3)
    assert merged is not None
    assert (merged.item, merged.deadline) == ("new", START + 2 + MINUTE_NS)
    assert queue.waiting == 2
    assert not queue.push("newer", Lane.POLL, START + 4, key="orders")
    assert items(queue, START + 4) == ["new", "other"]


def test_a_newer_one_in_a_more_urgent_lane_stays_there() -> None:
    queue: PacingQueue[str] = PacingQueue()
    queue.push("old", Lane.POLL, START, key="orders")
    entry = popped(queue, START)
    queue.push("first", Lane.STATUS, START + 1)
    queue.push("new", Lane.STATUS, START + 1, key="orders")
    queue.push("last", Lane.STATUS, START + 1)
    merged = queue.refused(entry, START + 2)
    assert merged is not None
    assert merged.item == "new"
    assert items(queue, START + 2) == ["first", "new", "last"]


def test_a_newer_one_lives_by_its_own_deadline() -> None:
    queue: PacingQueue[str] = PacingQueue()
    queue.push("old", Lane.POLL, START, key="orders")
    entry = popped(queue, START)
    queue.push("new", Lane.POLL, START, key="orders", ttl=5)
    queue.refused(entry, START + 1)
    assert list(queue.expired(START + 5)) == ["new"]
    assert queue.waiting == 0


# --- the pace --------------------------------------------------------------------------------------------------------


def test_a_refusal_drains_and_slows() -> None:
    queue: PacingQueue[str] = PacingQueue()
    entries = sent(queue, 3)
    assert queue.throttle.per_minute == 180
    queue.refused(entries[0], START)
    assert queue.throttle.per_minute == 144
    assert queue.bucket.level(START) == 0
    # What had left before says nothing about the new rate.
    queue.refused(entries[1], START + 1)
    assert queue.throttle.per_minute == 144
    assert (queue.throttle.in_a_row, queue.throttle.refusals) == (2, 2)
    # And it stays for a while.
    queue.answered(START + STEP)
    assert queue.throttle.per_minute == 144
    queue.answered(START + 1 + STEP)
    assert queue.throttle.per_minute == 145


def test_the_rate_has_a_floor_and_recovers_on_answers_up_to_180() -> None:
    queue: PacingQueue[str] = PacingQueue()
    now = START
    queue.push("x", Lane.PLACE, now)
    for _ in range(20):
        now += MINUTE_NS
        queue.refused(popped(queue, now), now + 1)
    assert queue.throttle.per_minute == FLOOR
    steps = 0
    for _ in range(400):
        now += STEP // 2
        before = queue.throttle.per_minute
        queue.answered(now)
        assert queue.throttle.per_minute - before in (0, 1)
        steps += queue.throttle.per_minute - before
    assert queue.throttle.per_minute == 180
    assert steps == 150
    queue.answered(now + MINUTE_NS)
    assert queue.throttle.per_minute == 180


def test_time_alone_recovers_nothing() -> None:
    queue: PacingQueue[str] = PacingQueue()
    (entry,) = sent(queue, 1)
    queue.refused(entry, START)
    queue.answered(START + 60 * MINUTE_NS)
    assert queue.throttle.per_minute == 145


@pytest.mark.parametrize("lane", QUERIES)
def test_three_in_a_row_pause_the_queries(lane: Lane) -> None:
    queue: PacingQueue[str] = PacingQueue()
    entries = sent(queue, 3)
    for n, entry in enumerate(entries):
        assert not queue.throttle.paused(START)
        queue.refused(entry, START + n)
    queue.purge()
    queue.push("query", lane, START + 3)
    now = START + 2
    assert queue.throttle.paused(now + PAUSE - 1)
    assert queue.due(now + 1) == now + PAUSE
    assert queue.pop(now + PAUSE - 1) is None
    queue.push("place", Lane.PLACE, now)
    assert popped(queue, now + PAUSE - 1).item == "place"  # orders don't pause
    assert popped(queue, now + PAUSE).item == "query"


def test_an_accepted_request_ends_the_pause() -> None:
    queue: PacingQueue[str] = PacingQueue()
    for entry in sent(queue, 3):
        queue.refused(entry, START)
    assert queue.throttle.paused(START)
    queue.answered(START + 1)
    assert (queue.throttle.in_a_row, queue.throttle.paused(START + 1)) == (0, False)


def test_a_reply_to_what_left_before_the_refusals_proves_nothing() -> None:
    queue: PacingQueue[str] = PacingQueue()
    early, *others = sent(queue, 4)
    for entry in others:
        queue.refused(entry, START + 1)
    queue.answered(START + 2, early)
    assert (queue.throttle.in_a_row, queue.throttle.paused(START + 2)) == (3, True)
    later = popped(queue, START + 9 * SECOND_NS)
    queue.answered(START + 9 * SECOND_NS, later)
    assert (queue.throttle.in_a_row, queue.throttle.paused(START + 9 * SECOND_NS)) == (0, False)


def test_each_refusal_in_a_row_doubles_the_rest_even_of_cancels() -> None:
    rests = []
    for count in range(1, 9):
        queue: PacingQueue[str] = PacingQueue()
        for entry in sent(queue, count):
            queue.refused(entry, START)
        queue.purge()
        queue.push("cancel", Lane.REDUCE, START)
        rests.append(round((queue.due(START) - START - MINUTE_NS / 144) / SECOND_NS * 3))
    assert rests == [0, 1, 3, 7, 15, 15, 15, 15]
    assert LONGEST_REST == 5 * SECOND_NS


def test_wary_it_lets_out_no_more_than_the_window_without_replies() -> None:
    queue: PacingQueue[str] = PacingQueue()
    (entry,) = sent(queue, 1)
    queue.refused(entry, START)
    now = START + MINUTE_NS
    for n in range(5):
        queue.push(f"{n}", Lane.REDUCE, now)
    flying = [popped(queue, now) for _ in range(WINDOW)]
    assert queue.pop(now) is None
    assert queue.due(now) == now + FORGET  # a reply that doesn't come can't hold us up for longer
    assert queue.pop(now + FORGET - 1) is None
    queue.answered(now + 5, flying[0])
    assert queue.due(now + 5) == now + 5
    assert popped(queue, now + 5).item == "3"
    assert queue.pop(now + 5) is None
    assert [popped(queue, now + FORGET).item for _ in range(2)] == ["4", "PLACE 0"]


def test_the_window_counts_what_had_left_before() -> None:
    queue: PacingQueue[str] = PacingQueue()
    first, *_ = [sent(queue, 1, START + n)[0] for n in range(6)]
    queue.refused(first, START + 10)
    assert queue.due(START + SECOND_NS) == START + 3 + FORGET  # 3, 4 and 5 are the newest three


def test_a_lost_reply_does_not_stand_in_for_one_that_came() -> None:
    queue: PacingQueue[str] = PacingQueue()
    queue.throttle.beware(START)
    sent(queue, WINDOW)
    now = START + FORGET
    sent(queue, WINDOW, now)
    queue.push("x", Lane.PLACE, now)
    assert queue.pop(now) is None
    queue.answered(now)  # which one isn't said: one of those that still count
    assert popped(queue, now).item == "x"


def test_a_window_ends_with_the_wariness() -> None:
    queue: PacingQueue[str] = PacingQueue()
    queue.throttle.beware(START)
    sent(queue, WINDOW, START + WARY - 1)
    queue.push("x", Lane.PLACE, START + WARY - 1)
    assert queue.due(START + WARY - 1) == START + WARY
    assert popped(queue, START + WARY).item == "x"


def test_after_an_hour_without_refusals_twenty_leave_at_once_again() -> None:
    queue: PacingQueue[str] = PacingQueue()
    (entry,) = sent(queue, 1)
    queue.refused(entry, START)
    queue.purge()
    for n in range(25):
        queue.push(f"{n}", Lane.PLACE, START)
    now = START + WARY
    assert sum(queue.pop(now) is not None for _ in range(25)) == 20


def test_whoever_knows_of_a_rival_can_say_so() -> None:
    queue: PacingQueue[str] = PacingQueue()
    queue.throttle.beware(START)
    for n in range(25):
        queue.push(f"{n}", Lane.PLACE, START)
    assert sum(queue.pop(START) is not None for _ in range(25)) == WINDOW
    assert queue.throttle.per_minute == 180


def test_without_a_refusal_replies_change_nothing() -> None:
    queue: PacingQueue[str] = PacingQueue()
    for entry in sent(queue, 20):
        queue.answered(START, entry)
    queue.answered(START)
    queue.push("x", Lane.PLACE, START)
    assert queue.due(START) == START + LATE + TOKEN
    assert queue.throttle.per_minute == 180


# --- while the link is down ------------------------------------------------------------------------------------------


def test_held_nothing_leaves_and_deadlines_run() -> None:
    queue: PacingQueue[str] = PacingQueue()
    queue.push("entry", Lane.PLACE, START, ttl=ENTRY_TTL)
    queue.push("cancel", Lane.REDUCE, START)
    queue.hold(START)
    queue.hold(START + SECOND_NS)
    assert queue.held
    assert queue.pop(START) is None
    assert (queue.delay(START), queue.due(START), queue.waiting) == (None, START + ENTRY_TTL, 2)
    assert list(queue.expired(START + ENTRY_TTL)) == ["entry"]
    assert queue.due(START + ENTRY_TTL) == NEVER
    assert queue.push("poll", Lane.POLL, START + ENTRY_TTL)
    assert queue.resume(START + 9 * SECOND_NS) == 9 * SECOND_NS
    assert queue.resume(START + 9 * SECOND_NS) == 0
    assert not queue.held
    assert items(queue, START + 9 * SECOND_NS) == ["cancel", "poll"]


def test_replies_that_the_drop_took_do_not_fill_the_window() -> None:
    queue: PacingQueue[str] = PacingQueue()
    queue.throttle.beware(START)
    sent(queue, WINDOW)
    queue.push("x", Lane.PLACE, START)
    assert queue.pop(START) is None
    queue.hold(START)
    queue.resume(START + 1)
    assert popped(queue, START + 1).item == "x"


def test_purge() -> None:
    queue: PacingQueue[str] = PacingQueue()
    for lane in reversed(Lane):
        for n in (1, 2):
            queue.push(f"{lane.name} {n}", lane, START, key=f"{lane.name} {n}", ttl=MINUTE_NS)
    assert queue.purge(lanes=[Lane.POLL, Lane.PLACE]) == ["PLACE 1", "PLACE 2", "POLL 1", "POLL 2"]
    assert queue.purge(lambda entry: entry.item.endswith("1"), lanes=(Lane.STATUS,)) == ["STATUS 1"]
    assert queue.push("again", Lane.PLACE, START, key="PLACE 1")
    assert queue.waiting == 6
    assert queue.purge(lambda entry: entry.lane is Lane.REDUCE) == ["REDUCE 1", "REDUCE 2"]
    assert queue.purge() == ["again", "STATUS 2", "HISTORY 1", "HISTORY 2"]
    assert (queue.waiting, queue.due(START), queue.purge()) == (0, NEVER, [])
    assert list(queue.expired(START + MINUTE_NS)) == []


# --- laws ------------------------------------------------------------------------------------------------------------

gaps = st.just(0) | st.integers(0, SECOND_NS) | st.integers(0, 30 * SECOND_NS) | st.just(TOKEN)
keys = st.none() | st.sampled_from("abcd")


class Laws(RuleBasedStateMachine):
    """Whatever is done: each item is in one place, and leaves in its turn, in time, once more per refusal."""

    flying = Bundle("flying")

    @initialize()
    def begin(self) -> None:
        self.queue: PacingQueue[int] = PacingQueue()
        self.now = START
        # Item: lane, number, deadline, key. What isn't here has left or was handed back.
        self.rows: dict[int, tuple[Lane, int, int | None, str | None]] = {}
        self.handed_back: list[int] = []
        self.left: list[int] = []
        self.allowed: dict[int, int] = {}
        """How often an item may leave in all."""
        self.leavings: dict[int, int] = {}
        self.pushed = 0

    def fresh(self) -> list[int]:
        inside = [n for n, row in self.rows.items() if row[2] is None or row[2] >= self.now]
        return sorted(inside, key=lambda n: self.rows[n][:2])

    @rule(gap=gaps)
    def wait(self, gap: int) -> None:
        self.now += gap

    @rule(lane=st.sampled_from(Lane), ttl=st.none() | st.integers(1, 5 * SECOND_NS), key=keys, count=st.integers(1, 9))
    def push(self, lane: Lane, ttl: int | None, key: str | None, count: int) -> None:
        for _ in range(count):
            self.pushed += 1
            merged = key is not None and any(row[3] == key for row in self.rows.values())
            assert self.queue.push(self.pushed, lane, self.now, ttl=ttl, key=key) is not merged
            if not merged:
                self.rows[self.pushed] = (lane, self.pushed, None if ttl is None else self.now + ttl, key)
                self.allowed[self.pushed] = 1

    @rule(target=flying, most=st.integers(1, 25))
    def pop(self, most: int) -> Any:
        return multiple(*self.leave(most))

    def leave(self, most: int) -> list[Any]:
        found = []
        for _ in range(most):
            due, turn = self.queue.due(self.now), self.fresh()
            entry = self.queue.pop(self.now)
            if entry is None:
                # What is due may also be that something goes stale, which it may do at its deadline.
                stale = any(row[2] is not None and row[2] <= self.now for row in self.rows.values())
                assert self.queue.held or not turn or due > self.now or stale
                break
            assert not self.queue.held
            assert due <= self.now
            assert entry.item == turn[0]
            lane, number, deadline, key = self.rows.pop(entry.item)
            assert (entry.lane, entry.deadline, entry.key, entry.left) == (lane, deadline, key, self.now)
            self.leavings[entry.item] = self.leavings.get(entry.item, 0) + 1
            self.left.append(self.now)
            found.append((entry, lane, number, deadline, key))
        return found

    @rule(flight=consumes(flying), twice=st.booleans())
    def refuse(self, flight: Any, twice: bool) -> None:
        entry, lane, number, deadline, key = flight
        newer = next((n for n, row in self.rows.items() if key is not None and row[3] == key), None)
        again = self.queue.refused(entry, self.now)
        assert again is not None
        if newer is None:
            assert again.item == entry.item
            self.rows[entry.item] = (lane, number, deadline, key)
            self.allowed[entry.item] += 1
        else:
            assert again.item == newer
            place = min(self.rows[newer][:2], (lane, number))
            self.rows[newer] = (*place, *self.rows[newer][2:])
            self.handed_back.append(entry.item)
        if twice:
            assert self.queue.refused(entry, self.now) is None

    @rule(gap=gaps, lane=st.sampled_from(Lane), ttl=st.none() | st.integers(1, 5 * SECOND_NS), key=keys)
    def push_and_have_it_refused(self, gap: int, lane: Lane, ttl: int | None, key: str | None) -> None:
        self.queue.resume(self.now)
        self.push(lane, ttl, key, 1)
        for flight in self.leave(25):
            self.refuse(flight, False)
        self.now += gap

    @rule(flight=consumes(flying), known=st.booleans())
    def answer(self, flight: Any, known: bool) -> None:
        self.queue.answered(self.now, flight[0] if known else None)
        if known:
            assert self.queue.refused(flight[0], self.now) is None

    @rule(flight=consumes(flying))
    def lose_the_reply(self, flight: Any) -> None:
        pass

    @rule()
    def expire(self) -> None:
        stale = sorted((row[2], row[1], n) for n, row in self.rows.items() if row[2] is not None and row[2] <= self.now)
        found = list(self.queue.expired(self.now))
        assert found == [n for _, _, n in stale]
        self.hand_back(found)

    @rule(key=st.sampled_from("abcd"))
    def remove(self, key: str) -> None:
        held = [n for n, row in self.rows.items() if row[3] == key]
        found = self.queue.remove(key)
        assert ([] if found is None else [found]) == held
        self.hand_back(held)

    @rule(lanes=st.sets(st.sampled_from(Lane)), odd=st.booleans())
    def purge(self, lanes: set[Lane], odd: bool) -> None:
        inside = sorted(self.rows, key=lambda n: self.rows[n][:2])
        chosen = [n for n in inside if self.rows[n][0] in lanes and (n % 2 or not odd)]
        found = self.queue.purge((lambda entry: bool(entry.item % 2)) if odd else None, lanes=lanes)
        assert found == chosen
        self.hand_back(found)

    def hand_back(self, found: list[int]) -> None:
        for n in found:
            del self.rows[n]
        self.handed_back += found

    @rule()
    def hold(self) -> None:
        self.queue.hold(self.now)

    @rule()
    def resume(self) -> None:
        self.queue.resume(self.now)

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        assert self.queue.waiting == len(self.rows)
        assert self.queue.sent == len(self.left)
        assert len(set(self.handed_back)) == len(self.handed_back)
        assert not set(self.handed_back) & set(self.rows)
        assert all(times <= self.allowed[n] for n, times in self.leavings.items())

    @invariant()
    def the_rate_stays_within_bounds(self) -> None:
        assert FLOOR <= self.queue.throttle.per_minute <= 180

    @invariant()
    def no_span_has_more_than_twenty_and_three_a_second(self) -> None:
        for first, start in enumerate(self.left[-60:], max(0, len(self.left) - 60)):
            assert (len(self.left) - first - 20) * MINUTE_NS <= 180 * (self.left[-1] - start)

    def teardown(self) -> None:
        """And all of it leaves or is handed back in the end, each time when ``due`` says and not before."""
        if not hasattr(self, "queue"):
            return
        self.queue.resume(self.now)
        while self.rows:
            due = self.queue.due(self.now)
            assert self.now <= due < NEVER
            if due > self.now:
                self.now = due - 1
                assert self.queue.pop(self.now) is None
                assert not list(self.queue.expired(self.now))
            self.now = due
            before = len(self.rows)
            self.expire()
            self.leave(25)
            assert len(self.rows) < before
            self.nothing_is_lost_or_doubled()
        assert self.queue.due(self.now) == NEVER


TestLaws = Laws.TestCase
TestLaws.settings = settings(max_examples=80, stateful_step_count=30, deadline=None)


# --- against a server ------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """The benchmark's world: what is measured there is asserted here."""
    path = Path(__file__).parents[2] / "benchmarks" / "pacing.py"
    spec = importlib.util.spec_from_file_location("benchmarks_pacing", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def prove(bench: ModuleType, requests: int, seed: int) -> None:
    found = bench.sustained(requests, seed)
    assert found.requests == requests
    assert found.refused == 0
    assert found.least_burst == 20
    assert 0.97 <= found.throughput <= 1


def test_a_hundred_thousand_requests_without_a_refusal(bench: ModuleType) -> None:
    prove(bench, 100_000, seed=2)


@pytest.mark.long
def test_a_million_requests_without_a_refusal(bench: ModuleType, request: pytest.FixtureRequest) -> None:
    if "long" not in str(request.config.option.markexpr):
        pytest.skip("takes a quarter of a minute: pytest -m long")
    prove(bench, 1_000_000, seed=1)


def test_queries_leave_the_reserve_and_keep_the_pace(bench: ModuleType) -> None:
    found = bench.sustained(20_000, lane=Lane.POLL)
    assert (found.refused, found.least_burst) == (0, 20 - RESERVE)
    assert found.throughput >= 0.97


CASES = {
    "alone": (Fraction(1), NEVER, 180),
    "fast": (Fraction(12, 10), NEVER, 180),
    "slow": (Fraction(8, 10), NEVER, 144),
    "rival": (Fraction(1), SECOND_NS, 120),
    "fast and rival": (Fraction(12, 10), SECOND_NS, 120),
    "slow and rival": (Fraction(8, 10), SECOND_NS, 120),
}


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("case", CASES)
def test_it_finds_the_pace_and_no_five_refusals_come_in_a_row(bench: ModuleType, case: str, seed: int) -> None:
    speed, rival, share = CASES[case]
    world = bench.pressed(speed, rival, minutes=10, seed=seed)
    rate = world.accepted / 10
    print(f"{case}: {rate:.1f} a minute of {share}, {world.refused} refused, {world.longest_row} in a row")
    assert rate >= 0.97 * share
    assert world.longest_row < 5
    assert world.refused < 0.03 * world.accepted
    assert (world.refused == 0) is (case in ("alone", "slow"))
    # Ten cancels in twenty seconds, each through in time, whatever else waits.
    cancels = world.waits[Lane.REDUCE]
    assert len(cancels) == 300
    assert max(cancels) < 2 * SECOND_NS


@pytest.mark.parametrize("case", [case for case in CASES if "and" not in case])
def test_bursts_find_it_too(bench: ModuleType, case: str) -> None:
    speed, rival, _ = CASES[case]
    world = bench.spells(speed, rival, minutes=10, seed=1)
    assert world.longest_row < 5


@pytest.mark.parametrize("seed", range(1, 6))
def test_a_rival_unseen_is_met_once_and_not_at_all_when_told_of(bench: ModuleType, seed: int) -> None:
    """Twenty at once are twenty at once: the first burst after a rival's unseen spending can't know better."""
    warned, polled = (bench.unseen(polls=way, beware=True, seed=seed) for way in (False, True))
    assert max(warned.longest_row, polled.longest_row) < 5
    # Without a word before, the first such burst costs what the rival has spent.
    blind = bench.unseen(polls=False, beware=False, seed=seed)
    assert blind.longest_row <= 7  # of ten: 20 - 2 * 20 / 3 tokens are missing


@pytest.mark.parametrize("seconds", [3.75, 20.0])
def test_a_cancel_in_tenfold_overload(bench: ModuleType, seconds: float) -> None:
    ours, fifo = bench.overload(seconds, fifo=False), bench.overload(seconds, fifo=True)
    cancels = ours.waits[Lane.REDUCE]
    assert len(cancels) == -(-int(seconds * 30) // 30)
    assert max(cancels) <= 600 * MILLISECOND_NS
    assert max(fifo.waits[Lane.PLACE]) > 27 * SECOND_NS
