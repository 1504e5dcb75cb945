"""The token bucket, in exact integers, and the queue in front of it."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from xtalgo.engine.pacing import ENTRY_TTL, RESERVE, Lane, PacingQueue, TokenBucket, slot_of
from xtalgo.model.commands import CancelOrder, ChangeOrder, PlaceOrder
from xtalgo.model.types import MILLISECOND_NS, MINUTE_NS, NEVER, SECOND_NS, OrderType, Role, Side

MS = MILLISECOND_NS
START = 1_778_680_800_000_000_000
TOKEN = 333_333_334
"""Nanoseconds in which a token comes, rounded up."""
LATE = 200 * MS
QUERIES = (Lane.STATUS, Lane.POLL, Lane.HISTORY)


def burst(bucket: TokenBucket, now: int, **how: object) -> int:
    """Take as many as there are."""
    taken = 0
    while bucket.take(now, **how):  # type: ignore[arg-type]
        taken += 1
        assert taken <= 1_000
    return taken


# --- the bucket ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("now", [0, START])
def test_twenty_at_once_from_full(now: int) -> None:
    bucket = TokenBucket()
    assert bucket.level(now) == 20
    assert bucket.delay(now, 20) == 0
    assert burst(bucket, now) == 20
    assert bucket.level(now) == 0
    assert not bucket.take(now, eager=True)


def test_refill_starts_late_after_leaving_full() -> None:
    bucket = TokenBucket()
    burst(bucket, START)
    assert bucket.delay(START) == LATE + TOKEN
    assert bucket.level(START + LATE) == 0
    assert bucket.level(START + LATE + SECOND_NS) == 3
    assert bucket.delay(START + LATE + TOKEN - 1) == 1
    assert not bucket.take(START + LATE + TOKEN - 1)
    assert bucket.take(START + LATE + TOKEN)


def test_urgent_calls_ignore_the_delay() -> None:
    bucket = TokenBucket()
    burst(bucket, START)
    assert bucket.delay(START, eager=True) == TOKEN
    assert bucket.level(START + SECOND_NS // 3, eager=True) == pytest.approx(1.0, abs=1e-8)
    assert not bucket.take(START + TOKEN)
    assert not bucket.take(START + TOKEN - 1, eager=True)
    assert bucket.take(START + TOKEN, eager=True)


def test_a_run_of_urgent_calls_ignores_the_delay_throughout() -> None:
    bucket = TokenBucket()
    burst(bucket, START)
    for n in range(1, 10):
        assert bucket.take(START + n * TOKEN, eager=True), n


def test_only_leaving_full_makes_the_refill_late() -> None:
    bucket = TokenBucket()
    burst(bucket, START)
    now = START + LATE + 2 * SECOND_NS
    assert burst(bucket, now) == 6
    assert bucket.delay(now) == TOKEN  # it was not full


def test_the_delay_comes_again_whenever_it_was_full_again() -> None:
    bucket = TokenBucket()
    for n in range(3):
        now = START + n * 10 * SECOND_NS
        assert bucket.level(now) == 20
        assert burst(bucket, now) == 20
        assert bucket.delay(now) == LATE + TOKEN


def test_it_never_holds_more_than_its_capacity() -> None:
    bucket = TokenBucket()
    assert bucket.level(START + 10 * MINUTE_NS) == 20
    assert burst(bucket, START) == 20
    assert bucket.level(START + 10 * MINUTE_NS) == 20
    assert burst(bucket, START + 10 * MINUTE_NS) == 20


@pytest.mark.parametrize(("late", "eager"), [(0, False), (LATE, False), (0, True)])
def test_three_a_second_in_the_long_run(late: int, eager: bool) -> None:
    bucket = TokenBucket(late=late)
    now, taken = START, burst(bucket, START, eager=eager)
    while (now := now + bucket.delay(now, eager=eager)) <= START + MINUTE_NS:
        assert bucket.take(now, eager=eager)
        assert not bucket.take(now, eager=eager)
        taken += 1
    assert taken == 20 + (180 if not late else 179)  # 59.8 seconds make 179 whole tokens


def test_another_budget() -> None:
    """Subscription actions: a burst of 5, 20 a minute."""
    bucket = TokenBucket(5, 20, late=0)
    assert burst(bucket, START) == 5
    assert bucket.delay(START) == 3 * SECOND_NS
    assert bucket.delay(START, 5) == 15 * SECOND_NS
    assert burst(bucket, START + 15 * SECOND_NS - 1) == 4


def test_leaving_a_reserve() -> None:
    bucket = TokenBucket()
    assert burst(bucket, START, leave=4) == 16
    assert bucket.level(START) == 4
    assert burst(bucket, START) == 4


def test_drain() -> None:
    bucket = TokenBucket()
    bucket.drain(START)
    assert bucket.level(START) == 0
    assert bucket.delay(START) == bucket.delay(START, eager=True) == TOKEN
    assert not bucket.take(START, eager=True)
    assert bucket.take(START + TOKEN)
    burst(bucket, START + MINUTE_NS)
    bucket.drain(START + MINUTE_NS + SECOND_NS)
    assert bucket.level(START + MINUTE_NS + 2 * SECOND_NS) == 3


@pytest.mark.parametrize("now", [START, START + 5 * MS, START + LATE, START + SECOND_NS])
def test_a_refused_call_takes_nothing(now: int) -> None:
    bucket = TokenBucket()
    burst(bucket, START, leave=4)
    before = bucket.delay(now, 20), bucket.delay(now, 20, eager=True)
    assert not bucket.take(now, leave=10)
    assert (bucket.delay(now, 20), bucket.delay(now, 20, eager=True)) == before


gaps = (
    st.just(0) | st.integers(0, SECOND_NS) | st.integers(0, 20 * SECOND_NS) | st.sampled_from([LATE, TOKEN, TOKEN - 1])
)
calls = st.lists(st.tuples(gaps, st.integers(1, 25), st.booleans(), st.sampled_from([0, 0, 4])), max_size=25)


@given(calls=calls, late=st.sampled_from([0, LATE, 5 * SECOND_NS]), drained=st.integers(0, 25))
def test_no_span_has_more_than_twenty_and_three_a_second(
    calls: list[tuple[int, int, bool, int]], late: int, drained: int
) -> None:
    bucket, now, taken = TokenBucket(late=late), START, []
    for n, (gap, wanted, eager, leave) in enumerate(calls):
        now += gap
        if n == drained:
            bucket.drain(now)
        taken += [now for _ in range(wanted) if bucket.take(now, leave=leave, eager=eager)]
    for first, start in enumerate(taken):
        for last in range(first + 20, len(taken)):
            # In integers: tokens times a minute against 20 minutes and 180 times the span.
            assert (last - first + 1) * MINUTE_NS <= 20 * MINUTE_NS + 180 * (taken[last] - start)


@given(calls=calls, need=st.integers(1, 20), eager=st.booleans(), late=st.sampled_from([0, LATE, 5 * SECOND_NS]))
def test_delay_says_exactly_when(calls: list[tuple[int, int, bool, int]], need: int, eager: bool, late: int) -> None:
    bucket, now = TokenBucket(late=late), START
    for gap, wanted, urgent, leave in calls:
        now += gap
        for _ in range(wanted):
            bucket.take(now, leave=leave, eager=urgent)
    delay = bucket.delay(now, need, eager=eager)
    assert delay >= bucket.delay(now, need, eager=True) >= 0
    if delay:
        assert bucket.delay(now + delay - 1, need, eager=eager) == 1
        assert not bucket.take(now + delay - 1, leave=need - 1, eager=eager)
    assert bucket.delay(now + delay, need, eager=eager) == 0
    assert bucket.take(now + delay, leave=need - 1, eager=eager)


@given(calls=calls)
def test_to_urgent_calls_it_is_a_bucket_that_is_never_late(calls: list[tuple[int, int, bool, int]]) -> None:
    bucket, plain, now = TokenBucket(), TokenBucket(late=0), START
    for gap, wanted, eager, leave in calls:
        now += gap
        for _ in range(wanted):
            assert bucket.delay(now, eager=True) == plain.delay(now)
            assert bucket.delay(now) >= plain.delay(now)
            if bucket.take(now, leave=leave, eager=eager):
                assert plain.take(now)
    assert [bucket.delay(now, need, eager=True) for need in range(21)] == [plain.delay(now, n) for n in range(21)]


@given(calls=calls)
def test_late_costs_at_most_what_it_says(calls: list[tuple[int, int, bool, int]]) -> None:
    """Twenty tokens are there at the latest when an empty bucket would be full again, and the delay over."""
    bucket, now = TokenBucket(), START
    for gap, wanted, eager, leave in calls:
        now += gap
        for _ in range(wanted):
            bucket.take(now, leave=leave, eager=eager)
    assert bucket.delay(now, 20) <= 20 * TOKEN + LATE
    assert bucket.level(now + 20 * TOKEN + LATE) == 20


# --- slots -----------------------------------------------------------------------------------------------------------


def place(role: Role = Role.ENTRY, *, reduces: bool = False) -> PlaceOrder:
    return PlaceOrder(
        order_id="r-1",
        account="Sim101",
        instrument="ES 06-26",
        side=Side.BUY,
        type=OrderType.MARKET,
        quantity=1,
        role=role,
        reduces=reduces,
    )


def test_slots() -> None:
    cancel, change = slot_of(CancelOrder("r-1", "Sim101")), slot_of(ChangeOrder("r-1", "Sim101", 2))
    entry = slot_of(place())
    assert (cancel.lane, cancel.ttl) == (Lane.REDUCE, None)
    assert (change.lane, change.ttl) == (Lane.PLACE, None)
    assert (entry.lane, entry.ttl) == (Lane.PLACE, ENTRY_TTL)
    assert ENTRY_TTL == 2 * SECOND_NS
    assert len({cancel.key, change.key, entry.key}) == 3
    assert entry.key == "r-1"  # what withdrawing a place names
    assert slot_of(CancelOrder("r-2", "Sim101")).key != cancel.key


@pytest.mark.parametrize(
    "command", [place(reduces=True), *(place(role) for role in Role if role is not Role.ENTRY)], ids=str
)
def test_orders_that_only_reduce_go_first_and_never_go_stale(command: PlaceOrder) -> None:
    slot = slot_of(command)
    assert (slot.lane, slot.ttl, slot.key) == (Lane.REDUCE, None, "r-1")


def test_reserve_and_lanes() -> None:
    assert RESERVE == 4
    assert [lane.name for lane in sorted(Lane)] == ["REDUCE", "PLACE", "STATUS", "POLL", "HISTORY"]


# --- the queue -------------------------------------------------------------------------------------------------------


def test_lanes_in_order_and_first_in_first_out_within() -> None:
    queue: PacingQueue[str] = PacingQueue()
    for n, lane in enumerate([*reversed(Lane), *reversed(Lane), *Lane]):
        assert queue.push(f"{lane.value}{n:02d}", lane, START)
    assert queue.waiting == 15
    left = [queue.pop(START).item for _ in range(15)]  # type: ignore[union-attr]
    assert left == sorted(left)
    assert queue.pop(START) is None
    assert (queue.sent, queue.waiting, queue.due(START), queue.delay(START)) == (15, 0, NEVER, None)


@pytest.mark.parametrize("lane", Lane)
def test_the_reserve_binds_queries_only(lane: Lane) -> None:
    queue: PacingQueue[int] = PacingQueue()
    for n in range(30):
        queue.push(n, lane, START)
    popped = 0
    while queue.pop(START) is not None:
        popped += 1
    assert popped == (16 if lane in QUERIES else 20)
    assert (queue.sent, queue.waiting) == (popped, 30 - popped)
    late = 0 if lane is Lane.REDUCE else LATE
    assert queue.delay(START) == late + TOKEN
    assert queue.due(START) == START + late + TOKEN


def test_an_order_passes_a_query_that_must_leave_the_reserve() -> None:
    queue: PacingQueue[str] = PacingQueue()
    for n in range(17):
        queue.push(f"poll {n}", Lane.POLL, START)
    while queue.pop(START) is not None:
        pass
    queue.push("place", Lane.PLACE, START)
    queue.push("cancel", Lane.REDUCE, START)
    assert queue.due(START) == START
    assert queue.pop(START).item == "cancel"  # type: ignore[union-attr]
    assert queue.pop(START).item == "place"  # type: ignore[union-attr]
    assert queue.pop(START) is None
    assert queue.waiting == 1
    # The query waits until there are five: two are left, three must come.
    assert queue.due(START) == START + LATE + SECOND_NS
    assert queue.pop(START + LATE + SECOND_NS - 1) is None
    assert queue.pop(START + LATE + SECOND_NS).item == "poll 16"  # type: ignore[union-attr]


def test_what_waits_too_long_is_handed_back_unsent() -> None:
    queue: PacingQueue[str] = PacingQueue(TokenBucket(1, 6))
    queue.push("sent", Lane.PLACE, START, ttl=ENTRY_TTL)
    assert queue.pop(START).item == "sent"  # type: ignore[union-attr]
    queue.push("second", Lane.PLACE, START + 1, ttl=3 * SECOND_NS)
    queue.push("first", Lane.PLACE, START + 2, ttl=ENTRY_TTL, key="first")
    queue.push("kept", Lane.PLACE, START + 3)
    assert queue.due(START + 3) == START + 2 + ENTRY_TTL
    assert list(queue.expired(START + 1 + ENTRY_TTL)) == []
    assert list(queue.expired(START + 2 + ENTRY_TTL)) == ["first"]
    assert list(queue.expired(START + 2 + ENTRY_TTL)) == []
    assert list(queue.expired(START + 9 * SECOND_NS)) == ["second"]
    assert (queue.waiting, queue.sent) == (1, 1)
    assert queue.remove("first") is None
    assert queue.push("again", Lane.PLACE, START + 9 * SECOND_NS, key="first")
    queue.remove("first")
    assert queue.pop(START + 11 * SECOND_NS).item == "kept"  # type: ignore[union-attr]


def test_what_is_stale_never_leaves_and_does_not_block() -> None:
    queue: PacingQueue[str] = PacingQueue()
    queue.push("at its deadline", Lane.PLACE, START, ttl=5)
    queue.push("stale", Lane.PLACE, START, ttl=4)
    queue.push("fresh", Lane.PLACE, START)
    queue.push("stale too", Lane.REDUCE, START, ttl=4)
    assert [queue.pop(START + 5).item for _ in range(2)] == ["at its deadline", "fresh"]  # type: ignore[union-attr]
    assert queue.pop(START + 5) is None
    assert (queue.waiting, queue.delay(START + 5), queue.due(START + 5)) == (2, None, START + 5)
    assert list(queue.expired(START + 5)) == ["stale", "stale too"]


def test_several_stale_ones_come_in_order_of_deadline() -> None:
    queue: PacingQueue[int] = PacingQueue()
    for ttl in (5, 3, 4, 3):
        queue.push(ttl, Lane.PLACE, START, ttl=ttl)
    assert list(queue.expired(START + 10)) == [3, 3, 4, 5]
    assert queue.pop(START + 10) is None


def test_remove_by_key() -> None:
    queue: PacingQueue[str] = PacingQueue()
    for name in "abc":
        queue.push(name, Lane.PLACE, START, ttl=ENTRY_TTL, key=name)
    assert queue.remove("b") == "b"
    assert queue.remove("b") is None
    assert queue.remove("z") is None
    assert queue.waiting == 2
    assert [queue.pop(START).item for _ in range(2)] == ["a", "c"]  # type: ignore[union-attr]
    assert queue.pop(START) is None
    assert queue.remove("a") is None  # it left
    assert list(queue.expired(START + MINUTE_NS)) == []
    assert queue.sent == 2  # what was removed cost nothing
    assert queue.bucket.level(START) == 18


def test_removing_the_only_one_leaves_nothing_due() -> None:
    queue: PacingQueue[str] = PacingQueue()
    queue.push("a", Lane.PLACE, START, ttl=ENTRY_TTL, key="a")
    queue.remove("a")
    assert (queue.due(START), queue.delay(START), queue.waiting, queue.pop(START)) == (NEVER, None, 0, None)


def test_equal_keys_merge() -> None:
    queue: PacingQueue[str] = PacingQueue()
    assert queue.push("first", Lane.POLL, START, key="orders")
    assert not queue.push("second", Lane.POLL, START, key="orders")
    assert not queue.push("third", Lane.REDUCE, START, key="orders")
    assert queue.push("other", Lane.POLL, START)
    assert queue.push("another", Lane.POLL, START)  # without a key nothing merges
    assert queue.waiting == 3
    assert queue.pop(START).item == "first"  # type: ignore[union-attr]
    assert queue.push("fourth", Lane.POLL, START, key="orders")
    assert [queue.pop(START).item for _ in range(3)] == ["other", "another", "fourth"]  # type: ignore[union-attr]


def test_the_longest_wait() -> None:
    queue: PacingQueue[str] = PacingQueue()
    assert queue.longest_wait == 0
    queue.push("a", Lane.PLACE, START)
    queue.push("b", Lane.PLACE, START + 10)
    queue.push("never sent", Lane.PLACE, START - MINUTE_NS, ttl=1)
    list(queue.expired(START))
    entry = queue.pop(START + 30)
    assert entry is not None
    assert (entry.item, entry.queued) == ("a", START)
    assert queue.longest_wait == 30
    queue.pop(START + 35)
    assert queue.longest_wait == 30


ttls = st.none() | st.integers(1, 5 * SECOND_NS)
keys = st.none() | st.sampled_from("abcdef")
pushes = st.tuples(st.just("push"), gaps, st.sampled_from(Lane), ttls, keys)
others = st.tuples(st.sampled_from(["pop", "pop", "expired", "remove"]), gaps, st.none(), st.none(), keys)
floods = st.tuples(st.just("flood"), gaps, st.sampled_from(Lane), ttls, st.none())
acts = st.lists(pushes | pushes | others | floods, min_size=1, max_size=30)


class Waiting:
    """The queue as one would write it if nobody counted the time: a list, searched."""

    def __init__(self) -> None:
        self.queue: PacingQueue[int] = PacingQueue()
        self.bucket = TokenBucket()
        self.rows: list[tuple[Lane, int, int, int | None, str | None]] = []
        self.count = 0
        self.waited: list[int] = []

    def push(self, now: int, lane: Lane, ttl: int | None, key: str | None) -> None:
        self.count += 1
        merged = key is not None and any(row[4] == key for row in self.rows)
        assert self.queue.push(self.count, lane, now, ttl=ttl, key=key) is not merged
        if not merged:
            self.rows.append((lane, self.count, now, None if ttl is None else now + ttl, key))

    def pop(self, now: int) -> bool:
        fresh = [row for row in self.rows if row[3] is None or row[3] >= now]
        head = min(fresh, default=None, key=lambda row: row[:2])
        if head is not None:
            leave, eager = 4 if head[0] in QUERIES else 0, head[0] is Lane.REDUCE
            if not self.bucket.take(now, leave=leave, eager=eager):
                head = None
        entry = self.queue.pop(now)
        assert (None if entry is None else entry.item) == (None if head is None else head[1])
        if head is not None:
            self.rows.remove(head)
            self.waited.append(now - head[2])
        return head is not None

    def expired(self, now: int) -> bool:
        stale = sorted((row[3], row[1], row) for row in self.rows if row[3] is not None and row[3] <= now)
        assert list(self.queue.expired(now)) == [number for _, number, _ in stale]
        for _, _, row in stale:
            self.rows.remove(row)
        return bool(stale)

    def remove(self, key: str | None) -> None:
        found = [row for row in self.rows if key is not None and row[4] == key]
        assert self.queue.remove(key or "") == (found[0][1] if found else None)
        if found:
            self.rows.remove(found[0])

    def act(self, what: str, now: int, lane: Lane | None, ttl: int | None, key: str | None) -> None:
        match what:
            case "push" | "flood":
                assert lane is not None
                for _ in range(24 if what == "flood" else 1):
                    self.push(now, lane, ttl, key)
                if what == "flood":
                    while self.pop(now):
                        pass
            case "pop":
                self.pop(now)
            case "expired":
                self.expired(now)
            case "remove":
                self.remove(key)
        assert self.queue.waiting == len(self.rows)
        assert self.queue.sent == len(self.waited)
        assert self.queue.longest_wait == max(self.waited, default=0)


Act = tuple[str, int, Lane | None, int | None, str | None]


@given(acts=acts)
def test_the_queue_does_what_a_plain_list_would(acts: list[Act]) -> None:
    model, now = Waiting(), START
    for what, gap, lane, ttl, key in acts:
        now += gap
        model.act(what, now, lane, ttl, key)
    while model.rows:  # and all of it leaves or goes stale in the end
        now += TOKEN
        if not model.expired(now):
            model.pop(now)


@given(acts=acts, part=st.floats(0, 1))
def test_due_is_when_something_leaves_or_goes_stale_and_not_before(acts: list[Act], part: float) -> None:
    model, now = Waiting(), START
    for what, gap, lane, ttl, key in acts:
        now += gap
        model.act(what, now, lane, ttl, key)
    assume(model.rows)
    while model.rows:
        due = model.queue.due(now)
        assert due >= now
        assert due < NEVER
        assert (model.queue.delay(now) or 0) >= due - now
        for early in {min(now + int((due - now) * part), due - 1), due - 1} if due > now else ():
            assert not model.expired(early)
            assert not model.pop(early)
            assert model.queue.due(early) == due
        now = due
        assert model.expired(due) or model.pop(due)
    assert model.queue.due(now) == NEVER


def test_keys_of_items_without_one_are_not_shared() -> None:
    queue: PacingQueue[int] = PacingQueue()
    assert all(queue.push(n, Lane.PLACE, START) for n in range(3))
    assert queue.waiting == 3
