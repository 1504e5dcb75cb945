"""A whole trading day over a socket that drops every ten minutes, in virtual time."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest
import trio
import trio.testing
from live.venues import SECOND, session_on, trader_for, world_of

from xtalgo import Instrument, Quote, QuoteTable, Strategy

ES, MNQ = "ES 06-26", "MNQ 06-26"
START = 1_778_623_200_000_000_000
"""2026-05-12 22:00:00 UTC, 18:00 in New York: a session opens."""


class Day(Strategy):
    """Counts quotes and trades now and then; remembers every gap."""

    first: Instrument = ES
    second: Instrument = MNQ

    def on_start(self) -> None:
        self.seen: list[tuple[int, str, float]] = []

    def on_quote(self, quote: Quote) -> None:
        self.seen.append((quote.ts, quote.instrument, quote.bid))
        if len(self.seen) % 1_800 == 0:
            self.order_target(
                self.first,
                1 - self.position(self.first),
            )


def day(seconds: int) -> QuoteTable:
    """Two instruments, one frame a second, prices that wander."""
    steps = np.random.default_rng(5).integers(-2, 3, size=(2, seconds)).cumsum(axis=1)
    stamps = START + np.arange(seconds) * SECOND
    bids = np.stack([4800 + steps[0] * 0.25, 21_000 + steps[1] * 0.25])
    codes = np.tile([0, 1], seconds)
    ts = np.repeat(stamps, 2)
    bid = bids.T.reshape(-1)
    return QuoteTable.from_rows((ES, MNQ), codes, ts, bid, bid + 0.25, bid, np.arange(2 * seconds))


async def live(seconds: int) -> None:
    began = time.perf_counter()
    table = day(seconds)
    world = world_of(table, faults={"drop_every": 600.0})
    trader = trader_for(Day())
    session = session_on(world, trader)
    async with world.open(), trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        await trio.sleep_until(world.clock.trio_deadline(int(table.ts[-1]) + SECOND))
        nursery.cancel_scope.cancel()
    assert trader.error is None
    assert trader.engine is not None
    drops = trader.health.drops - 1  # the last is the end of the test
    assert drops == world.dials - 1 >= seconds // 610
    # Each connection says everything once: all instruments in one message, and the P&L stream.
    actions = [json.loads(frame) for frame in world.frames if '"rpc"' not in frame]
    assert [action["action"] for action in actions] == ["subscribe", "streamPnl"] * world.dials
    assert all(action["instruments"] == [ES, MNQ] for action in actions[::2])
    # What was seen is what was quoted, to the stamp; what was missed is missing, and nothing else.
    strategy = next(iter(trader.engine.seats.values())).strategy
    assert isinstance(strategy, Day)
    quoted = {(q.ts, q.instrument, q.bid) for q in table.quotes(0, len(table))}
    assert len(strategy.seen) == len(set(strategy.seen))
    assert set(strategy.seen) <= quoted
    missed = len(quoted) - len(strategy.seen)
    assert missed <= 2 * 4 * (drops + 1)  # a redial takes a second or two; at the start there is nothing to miss
    assert world.server.violations == 0
    assert trader.health.refusals == 0
    held = sum(book.position for book in trader.engine.ledger.books.values())
    assert held == sum(book.position for book in world.server.venue.books("Sim101"))
    assert len(trader.engine.blotter.fills) == len(world.server.venue.exchange.executions) > 0
    print(f"{seconds / 3600:g} h: {trader.health.frames} frames, {drops} drops, {time.perf_counter() - began:.1f} s")


async def test_an_hour_with_a_drop_every_ten_minutes(autojump_clock: trio.testing.MockClock) -> None:
    await live(3_600)


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_session_of_23_hours_with_a_drop_every_ten_minutes(autojump_clock: trio.testing.MockClock) -> None:
    await live(23 * 3_600)
