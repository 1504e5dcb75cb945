"""The same recording through a replay as live, a session in virtual time, and lockstep on loopback: the same run."""

from __future__ import annotations

from pathlib import Path

import pytest
import trio
from live.venues import SECOND, session_on, trader_for, world_of

from xtalgo.app.loader import load_strategies
from xtalgo.client.aslive import TAIL, replay_as_live
from xtalgo.data.quotes import load_recording, quote_files
from xtalgo.engine.series import QuoteTable
from xtalgo.engine.strategy import Strategy
from xtalgo.model.instruments import ContractBook

ROOT = Path(__file__).parents[2]


def recording(count: int) -> QuoteTable:
    return load_recording(quote_files([str(ROOT / "backtest_data")]), ContractBook()).table.head(count)


def strategies() -> list[Strategy]:
    files = [str(ROOT / "strategies" / name) for name in ("momo.py", "fade.py")]
    return [
        strategy for _, strategy in load_strategies(files, [], ["fast=5", "slow=20", "instrument=MNQ", "width=1.5"])
    ]


async def test_session_in_virtual_time_is_the_replay(autojump_clock: trio.testing.MockClock) -> None:
    table = recording(4_000)
    expected = replay_as_live(strategies(), table)
    world = world_of(table)
    trader = trader_for(strategies())
    session = session_on(world, trader)
    async with world.open(), trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        end = int(table.ts[table.order[-1]]) + TAIL
        await trio.sleep_until(world.clock.trio_deadline(end))
        nursery.cancel_scope.cancel()
    assert trader.engine is not None
    assert trader.error is None
    assert list(expected.decisions) == trader.engine.decisions
    assert list(expected.fills) == world.server.venue.exchange.executions
    assert [(o.id, o.status, o.filled) for o in expected.order_book] == [
        (o.id, o.status, o.filled) for o in trader.engine.blotter.orders.values()
    ]
    assert len(expected.fills) > 50
