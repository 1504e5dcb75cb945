"""What the queue says of when requests would leave, against when they do."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtalgo.engine.pacing import Lane, PacingQueue
from xtalgo.model.types import MILLISECOND_NS, NEVER, SECOND_NS, Ns

NOW: Ns = 1_778_680_800_000_000_000
LANES = st.sampled_from([Lane.REDUCE, Lane.PLACE])


def run(queue: PacingQueue[Any], now: Ns, wanted: int) -> dict[int, Ns]:
    """Let everything leave as drivers do, until the numbered ones have left."""
    left: dict[int, Ns] = {}
    while True:
        while (entry := queue.pop(now)) is not None:
            if isinstance(entry.item, int):
                left[entry.item] = now
        if len(left) == wanted:
            return left
        now = queue.due(now)
        assert now < NEVER
        for item in queue.expired(now):
            assert not isinstance(item, int)


def test_a_full_bucket_lets_twenty_leave_at_once_and_then_three_a_second() -> None:
    found = PacingQueue[int]().forecast(NOW, [Lane.PLACE] * 26)
    assert found.at_once == 20
    # The refill starts 200 ms late, and six more tokens take two seconds.
    assert found.last == NOW + 2_200 * MILLISECOND_NS
    assert [when - NOW for when in found.leaves[:20]] == [0] * 20


def test_nothing_leaves_while_the_link_is_down() -> None:
    queue = PacingQueue[int]()
    queue.hold(NOW)
    found = queue.forecast(NOW, [Lane.REDUCE, Lane.PLACE])
    assert (found.at_once, found.last) == (0, NEVER)


def test_no_request_is_no_cost() -> None:
    found = PacingQueue[int]().forecast(NOW, [])
    assert (found.at_once, found.last) == (0, NOW)


def test_what_reduces_goes_before_what_waits_to_be_placed() -> None:
    queue = PacingQueue[str]()
    for _ in range(20):
        queue.push("before", Lane.PLACE, NOW)
        queue.pop(NOW)
    for _ in range(5):
        queue.push("ahead", Lane.PLACE, NOW)
    found = queue.forecast(NOW, [Lane.PLACE, Lane.REDUCE])
    assert found.leaves[1] == NOW + SECOND_NS // 3 + 1  # urgent: the late refill does not hold it
    assert found.leaves[0] > NOW + 2 * SECOND_NS


def test_asking_changes_nothing() -> None:
    queue = PacingQueue[str]()
    queue.push("a", Lane.PLACE, NOW, ttl=SECOND_NS, key="a")
    before = queue.bucket.level(NOW), queue.waiting, queue.sent, queue.due(NOW)
    queue.forecast(NOW, [Lane.PLACE] * 40)
    assert (queue.bucket.level(NOW), queue.waiting, queue.sent, queue.due(NOW)) == before
    entry = queue.pop(NOW)
    assert entry is not None
    assert entry.item == "a"


@given(
    st.integers(0, 30),
    st.lists(st.tuples(LANES, st.none() | st.integers(0, 3_000)), max_size=30),
    st.lists(LANES, min_size=1, max_size=30),
    st.lists(st.sampled_from([Lane.STATUS, Lane.POLL, Lane.HISTORY]), max_size=5),
    st.integers(0, 3_000),
    st.integers(0, 2),
)
def test_requests_leave_when_it_says_or_before(
    spent: int, ahead: list[tuple[Lane, int | None]], lanes: list[Lane], polls: list[Lane], pause: int, refused: int
) -> None:
    queue = PacingQueue[Any]()
    gone = []
    for _ in range(spent):
        queue.push("spent", Lane.PLACE, NOW)
        if (entry := queue.pop(NOW)) is not None:
            gone.append(entry)
    queue.purge()
    for entry in gone[:refused]:
        queue.refused(entry, NOW)
    queue.purge()
    now = NOW + pause * MILLISECOND_NS
    for lane, ttl in ahead:
        queue.push("ahead", lane, now, ttl=None if ttl is None else ttl * MILLISECOND_NS)
    for lane in polls:
        queue.push("poll", lane, now)
    found = queue.forecast(now, lanes)
    for number, lane in enumerate(lanes):
        queue.push(number, lane, now)
    left = run(queue, now, len(lanes))
    said = dict(enumerate(found.leaves))
    if all(ttl is None for _, ttl in ahead):
        assert left == said
    assert all(left[number] <= said[number] for number in said)
    assert found.at_once <= sum(when == now for when in left.values())


@pytest.mark.parametrize("answers", [True, False])
def test_after_a_refusal_it_counts_on_no_reply(answers: bool) -> None:
    queue = PacingQueue[Any]()
    queue.push("first", Lane.PLACE, NOW)
    entry = queue.pop(NOW)
    assert entry is not None
    queue.refused(entry, NOW)
    queue.purge()
    now = NOW + 10 * SECOND_NS
    found = queue.forecast(now, [Lane.PLACE] * 7)
    # Three are under way at once, and without replies the next may leave two seconds later.
    assert [(when - now) / SECOND_NS for when in found.leaves] == [0, 0, 0, 2, 2, 2, 4]
    for number in range(7):
        queue.push(number, Lane.PLACE, now)
    left = 0
    while (entry := queue.pop(now)) is not None:
        left += 1
        if answers:
            queue.answered(now, entry)
    assert left == (7 if answers else 3)
