"""Three strategies, two accounts, forty orders each in a minute: the proof of the budget, and that it can fail."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import SECOND

from xtalgo.engine.pacing import ENTRY_TTL, Lane, TokenBucket
from xtalgo.model.types import MINUTE_NS


def _bench() -> ModuleType:
    path = Path(__file__).parents[2] / "benchmarks" / "many_orders.py"
    spec = importlib.util.spec_from_file_location("benchmarks_many_orders", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


bench: Any = _bench()
WITHIN, OVER, AT_ONCE = bench.CASES


def waits(outcome: Any, lane: Lane) -> list[int]:
    return [item.waited for item in outcome.queue.log if item.lane is lane]


def met(outcome: Any, lane: Lane, other: Lane) -> int:
    """How often something left while something less urgent waited."""
    return sum(other in item.before for item in outcome.queue.log if item.lane is lane)


def test_forty_orders_each_within_the_budget() -> None:
    outcome = bench.play(WITHIN)
    shown = bench.table(outcome)
    assert not outcome.problems, shown
    assert len(outcome.placed) == 120, shown
    assert not outcome.queue.stale, shown
    assert max(waits(outcome, Lane.REDUCE)) < SECOND, shown
    assert max(waits(outcome, Lane.PLACE)) < ENTRY_TTL, shown
    assert met(outcome, Lane.PLACE, Lane.STATUS) > 10, shown
    assert len({group.id for strategy in outcome.strategies for group in strategy.groups}) == 20


@pytest.mark.parametrize("case", [OVER, AT_ONCE], ids=lambda case: case.name)
def test_more_than_the_budget_allows(case: Any) -> None:
    outcome = bench.play(case)
    shown = bench.table(outcome)
    assert not outcome.problems, shown
    assert len(outcome.placed) + sum(outcome.reasons.values()) == 3 * case.orders, shown
    assert set(outcome.reasons) == {
        "cancelled: waited too long for a token; not sent",
        "cancelled: cancelled before it was sent",
    }, shown
    assert {lane for _, lane in outcome.queue.stale} == {Lane.PLACE}, shown
    assert max(waits(outcome, Lane.PLACE)) <= ENTRY_TTL, shown
    assert max(waits(outcome, Lane.PLACE)) > ENTRY_TTL // 3, shown
    # They waited together, so that the order of lanes was put to the test.
    assert met(outcome, Lane.REDUCE, Lane.PLACE) >= 3, shown
    assert met(outcome, Lane.PLACE, Lane.STATUS), shown
    # Of groups, the accounts stayed together or it was told that they did not.
    for strategy in outcome.strategies:
        for group in strategy.groups:
            assert group.is_settled


def test_the_minute_is_the_same_again() -> None:
    assert bench.play(AT_ONCE).queue.log == bench.play(AT_ONCE).queue.log


def test_it_can_be_shown() -> None:
    outcome = bench.play(AT_ONCE)
    shown = bench.table(outcome).splitlines()
    assert shown[0] == "at once: 120 orders of 3 strategies in 2 accounts, 40 of each at a time"
    assert [line.split()[0] for line in shown[2:5]] == ["REDUCE", "PLACE", "STATUS"]
    assert " and 0 times after it" in "\n".join(shown)
    assert bench.log(outcome).splitlines()[0].split()[3:] == ["PLACE"] * (
        bench.log(outcome).splitlines()[0].count("PLACE")
    )


# --- the laws can be broken ------------------------------------------------------------------------------------------


class FirstIn(bench.Logged):  # type: ignore[misc]
    """A queue without lanes: first in, first out."""

    def _head(self, now: int) -> Any:
        fresh = [
            entry
            for lane in self._lanes
            for entry in lane
            if not entry.gone and (entry.deadline is None or entry.deadline >= now)
        ]
        return min(fresh, key=lambda entry: entry.number, default=None)


class Patient(bench.Logged):  # type: ignore[misc]
    """A queue that lets nothing go stale."""

    def expired(self, now: int) -> Any:
        return iter(())

    def _head(self, now: int) -> Any:
        return next((entry for lane in self._lanes for entry in lane if not entry.gone), None)

    def due(self, now: int) -> int:
        delay = self.delay(now)
        return 2**63 - 1 if delay is None else now + delay


def test_a_queue_without_lanes_breaks_the_law() -> None:
    problems = bench.play(AT_ONCE, FirstIn()).problems
    assert any("a PLACE left before REDUCE" in problem for problem in problems)


def test_a_queue_that_waits_for_ever_breaks_the_law() -> None:
    problems = bench.play(AT_ONCE, Patient()).problems
    assert any("PlaceOrder left after its time limit" in problem for problem in problems)


def test_a_bucket_that_is_too_large_breaks_the_law() -> None:
    problems = bench.play(AT_ONCE, bench.Logged(TokenBucket(30, 240))).problems
    assert any("requests in 0.000 s" in problem for problem in problems)
    assert any("the server refused" in problem for problem in problems)


@given(st.lists(st.integers(0, 3_000).map(lambda ms: ms * 1_000_000), max_size=60), st.integers(1, 20))
def test_overdrafts_are_what_a_bucket_refuses(gaps: list[int], capacity: int) -> None:
    """The check by spans and a bucket, which are written differently, agree."""
    stamps, now = [], 0
    for gap in gaps:
        now += gap // 20
        stamps.append(now)
    bucket = TokenBucket(capacity, 180, late=0)
    carried = all(bucket.take(at) for at in stamps)
    assert carried == (not bench.overdrafts(stamps, capacity))


def test_a_span_is_counted_to_the_nanosecond() -> None:
    third = MINUTE_NS // 180
    assert not bench.overdrafts([0] * 20 + [third + 1])
    assert bench.overdrafts([0] * 20 + [third - 1])
    assert bench.overdrafts([0] * 21)
