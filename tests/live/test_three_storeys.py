"""The same recording through a replay as live, a session in virtual time, and lockstep on loopback: the same run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import trio
import trio.testing
from live.venues import session_on, trader_for, world_of

from xtalgo.app.loader import load_strategies
from xtalgo.client.aslive import TAIL, replay_as_live
from xtalgo.data.quotes import load_recording, quote_files, write_quotes
from xtalgo.engine.series import QuoteTable
from xtalgo.engine.strategy import Strategy
from xtalgo.live.stepped import SteppedSession
from xtalgo.live.wires import dialer
from xtalgo.model.instruments import ContractBook

ROOT = Path(__file__).parents[2]


def recording(count: int) -> QuoteTable:
    return load_recording(quote_files([str(ROOT / "backtest_data")]), ContractBook()).table.head(count)


def save(table: QuoteTable, folder: Path) -> None:
    book = ContractBook()
    for name in table.instruments:
        rows = table.rows(name)
        columns = {key: getattr(table, key)[rows] for key in ("ts", "bid", "ask", "last", "volume")}
        sizes = {key: getattr(table, key)[rows] for key in ("bid_size", "ask_size")}
        path = folder / f"{name.replace(' ', '-')}.parquet"
        write_quotes(path, book.contract(name), **columns, **sizes, source="a test", synthetic=True)


def strategies() -> list[Strategy]:
    files = [str(ROOT / "strategies" / name) for name in ("momo.py", "fade.py", "breakout.py")]
    parameters = ["fast=5", "slow=20", "instrument=MNQ", "width=1.5", "period=1m", "Breakout.length=2"]
    return [strategy for _, strategy in load_strategies(files, [], parameters)]


async def test_session_in_virtual_time_is_the_replay(autojump_clock: trio.testing.MockClock) -> None:
    table = recording(2_000)
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
    assert len(expected.fills) > 20
    assert {order.owner for order in expected.order_book} == {"Momo", "Fade", "Breakout"}


async def test_lockstep_on_loopback_is_the_replay(tmp_path: Path) -> None:
    """The third storey: a server in a process of its own, `xtalgo serve --lockstep`, over a real socket."""
    save(recording(400), tmp_path)
    table = load_recording(quote_files([str(tmp_path)]), ContractBook()).table
    expected = replay_as_live(strategies(), table)
    command = [sys.executable, "-m", "xtalgo", "serve", str(tmp_path), "--lockstep", "--port", "0", "--json"]
    server = await trio.to_thread.run_sync(lambda: subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
    try:
        assert server.stdout is not None
        address = json.loads(await trio.to_thread.run_sync(server.stdout.readline))
        trader = trader_for(strategies())
        session = SteppedSession(trader, dialer(address["ws"], address["token"]))
        with trio.fail_after(60):
            await session.run()
    finally:
        server.kill()
        await trio.to_thread.run_sync(server.communicate)
    assert trader.engine is not None
    assert list(expected.decisions) == trader.engine.decisions
    seen = [(f.order_id, f.side, f.quantity, f.price, f.executed // 1_000_000) for f in trader.engine.blotter.fills]
    made = [(f.order_id, f.side, f.quantity, f.price, f.executed // 1_000_000) for f in expected.fills]
    assert seen == made
    assert len(made) > 5
