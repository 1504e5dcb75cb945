"""A restart forgets nothing of the day: loss, peak and lock of an account outlive a run."""

from __future__ import annotations

import attrs
import msgspec
import pytest
import trio
from app.liveruns import DEMO, SERVER, Life, conduct, life

from xtalgo import OrderStatus
from xtalgo.app.days import Days, days_of
from xtalgo.app.venues import Target
from xtalgo.engine.risk import DenyReason
from xtalgo.model.errors import ConfigError


def with_days(one: Life, days: Days) -> Life:
    keeping = attrs.evolve(
        one.run.plan.keeping, birth=msgspec.structs.replace(one.run.plan.keeping.birth, days=days.inherited)
    )
    one.run.plan = attrs.evolve(one.run.plan, keeping=keeping, days=days)
    return one


async def run(target: Target = SERVER) -> Life:
    one = life(target=target, account_daily_loss="1", on_stop="flatten")
    with days_of(target, target.accounts, one.run.clock.wall()) as days:
        await conduct(with_days(one, days))
    return one


async def test_a_lock_outlives_its_run(autojump_clock) -> None:
    first = await run()
    assert [breach.reason for breach in first.engine.breaches] == [DenyReason.ACCOUNT_LOSS]
    assert len(first.engine.blotter.fills) >= 2, "bought, and closed at the breach"
    second = await run()
    assert not second.engine.blotter.fills
    orders = list(second.engine.blotter.orders.values())
    assert orders
    assert all(order.status is OrderStatus.DENIED for order in orders)
    assert all(DenyReason.ACCOUNT_LOSS in order.reason for order in orders)


async def test_paper_and_venue_are_different_accounts(autojump_clock) -> None:
    await run()
    paper = await run(attrs.evolve(SERVER, is_paper=True))
    assert paper.engine.blotter.fills


async def test_a_demo_leaves_nothing(autojump_clock) -> None:
    await run(DEMO)
    again = await run(DEMO)
    assert again.engine.blotter.fills


def test_two_runs_cannot_both_know_the_day() -> None:
    with days_of(SERVER, ("Sim101",), 0), pytest.raises(ConfigError), days_of(SERVER, ("Sim101",), 0):
        pass


async def test_a_close_that_does_not_come_through_is_escalated(autojump_clock) -> None:
    """The guard closes, and the venue goes silent on it: five seconds later a person is told what is still held."""
    one = life(target=SERVER, account_daily_loss="1", duration=30, faults={"lose_request": 0.0})
    told: list[str] = []

    def storm(breach: object) -> None:
        one.world.storm({"lose_request": 1.0})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(conduct, one)
        while one.run.session is None or one.run.session.trader.engine is None:  # noqa: ASYNC110 - of the run itself
            await trio.sleep(0.01)
        one.engine.on_breach = storm
        while len(one.engine.breaches) < 2:  # noqa: ASYNC110 - of the run itself
            await trio.sleep(0.5)
        told = [breach.text for breach in one.engine.breaches]
        nursery.cancel_scope.cancel()
    assert "NOT flat 5 s after" in told[1]
    assert "xtalgo flatten --account Sim101" in told[1]
    assert one.engine.breaches[1].ts - one.engine.breaches[0].ts == 5_000_000_000
