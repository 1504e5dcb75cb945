"""Event time in a live session, on trio's clock."""

from __future__ import annotations

import time

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from xtalgo.live.clock import STEP, Jump, WallClock
from xtalgo.model.types import SECOND_NS

START = 1_778_680_800_123_456_789
S = SECOND_NS


class System:
    """A system clock that runs with trio's and can be set."""

    def __init__(self) -> None:
        self.offset = 0

    def __call__(self) -> int:
        return START + self.offset + round(trio.current_time() * S)


@pytest.mark.trio
async def test_event_time_and_time_outs_move_together(mock_clock: trio.testing.MockClock) -> None:
    clock = WallClock(System())
    assert clock.now() == START
    mock_clock.jump(1.5)
    assert clock.now() == START + 1_500_000_000
    assert clock.trio_deadline(START + 2 * S) == 2.0


@pytest.mark.trio
async def test_a_timer_fires_at_its_stamp(autojump_clock: trio.testing.MockClock) -> None:
    await trio.sleep(1234.567)
    clock = WallClock(System())
    clock.now()
    for ns in (1, 333_333_334, 999_999_999, 86_400 * S + 7):
        stamp = clock.now() + ns
        await trio.sleep_until(clock.trio_deadline(stamp))
        assert clock.now() == stamp


@given(st.floats(0, 1e6), st.integers(0, 30 * 86_400 * S))
def test_stamps_survive_the_way_through_floats(start: float, span: int) -> None:
    async def main() -> None:
        clock = WallClock(lambda: START)
        mock.jump(start)
        clock.now()
        mock.jump(clock.trio_deadline(START + span) - trio.current_time())
        # Adding a difference to the mock's own float may land one step beside the deadline.
        assert abs(trio.current_time() - clock.trio_deadline(START + span)) < 1e-9
        assert abs(clock.now() - (START + span)) <= 1

    mock = trio.testing.MockClock()
    trio.run(main, clock=mock)


@pytest.mark.trio
async def test_it_never_runs_back(mock_clock: trio.testing.MockClock, monkeypatch: pytest.MonkeyPatch) -> None:
    clock = WallClock(System())
    mock_clock.jump(10)
    now = clock.now()
    monkeypatch.setattr(trio, "current_time", lambda: 5.0)
    assert clock.now() == now


@pytest.mark.trio
async def test_a_forward_step_is_told_once_and_taken_along(mock_clock: trio.testing.MockClock) -> None:
    system = System()
    clock = WallClock(system)
    clock.now()
    mock_clock.jump(1)
    assert clock.check() is None
    system.offset = 3600 * S
    mock_clock.jump(1)
    assert clock.check() == Jump(3600 * S, 3600 * S)
    assert clock.now() == START + 3602 * S
    assert clock.check() is None
    assert clock.trio_deadline(START + 3603 * S) == 3.0


@pytest.mark.trio
async def test_a_backward_step_is_told_once_and_moves_nothing(mock_clock: trio.testing.MockClock) -> None:
    system = System()
    clock = WallClock(system)
    clock.now()
    system.offset = -10 * S
    assert clock.check() == Jump(-10 * S, 0)
    assert clock.now() == START
    assert clock.check() is None
    mock_clock.jump(1)
    assert clock.now() == START + S
    # Set right again: told, but event time is there already.
    system.offset = 0
    assert clock.check() == Jump(10 * S, 0)
    assert clock.now() == START + S
    system.offset = 5 * S
    assert clock.check() == Jump(5 * S, 5 * S)


@pytest.mark.trio
async def test_small_steps_are_followed_forward_without_a_word(mock_clock: trio.testing.MockClock) -> None:
    system = System()
    clock = WallClock(system)
    clock.now()
    for number in range(1, 11):
        system.offset = number * STEP
        assert clock.check() is None
    assert clock.now() == START + 10 * STEP
    system.offset -= STEP
    assert clock.check() is None
    assert clock.now() == START + 10 * STEP


@pytest.mark.trio
async def test_the_system_clock_is_the_default() -> None:
    assert abs(WallClock().now() - time.time_ns()) < S


def test_it_can_be_made_outside_a_run() -> None:
    clock = WallClock(lambda: START)

    async def main() -> int:
        return clock.now()

    assert trio.run(main, clock=trio.testing.MockClock()) == START
