"""Many seeded lives under faults: what we believe in the end is what the venue has.

The default slice takes seconds. ``XTALGO_LIVES=100000 pytest -m long tests/client/test_lives.py`` lives more of them,
on every core; ``XTALGO_LIFE=4711 pytest -m long ...`` lives the one that failed.
"""

from __future__ import annotations

import multiprocessing
import os
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor

import pytest
from client.lives import Life, live

SLICE = 150
FIRST_LONG = 1_000_000


def broken(lives: Iterable[Life]) -> str:
    """What to show: each seed that failed, with its faults and the first laws it broke."""
    return "\n".join(
        f"seed {life.seed} (ended with {life.ending or 'nothing'}): {'; '.join(life.problems[:4])}\n    {life.faults}"
        for life in lives
        if life.problems
    )


def judge(lives: list[Life]) -> None:
    failed = broken(lives)
    assert not failed, f"\n{failed}"
    assert max(life.row for life in lives) < 10


def is_busy(lives: list[Life]) -> None:
    """A slice in which nothing happens proves nothing."""
    count = len(lives)
    assert sum(life.orders for life in lives) > 3 * count
    assert sum(life.fills for life in lives) > count
    assert sum(life.drops for life in lives) > count // 4
    assert sum(life.doubts for life in lives) > count // 8


@pytest.mark.parametrize("part", range(3))
def test_lives_under_faults_end_as_the_venue_has_it(part: int) -> None:
    lives = [live(seed) for seed in range(part * SLICE // 3, (part + 1) * SLICE // 3)]
    judge(lives)
    is_busy(lives)


def test_a_life_is_the_same_each_time() -> None:
    assert live(7) == live(7)


@pytest.mark.long
@pytest.mark.timeout(0)
def test_many_lives_under_faults_end_as_the_venue_has_it() -> None:
    chosen = os.environ.get("XTALGO_LIFE")
    if chosen is not None:
        judge([live(int(chosen))])
        return
    seeds = range(FIRST_LONG, FIRST_LONG + int(os.environ.get("XTALGO_LIVES", "2000")))
    with ProcessPoolExecutor(os.cpu_count(), multiprocessing.get_context("spawn")) as pool:
        judge(list(pool.map(live, seeds, chunksize=20)))
