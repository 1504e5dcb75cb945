"""What a socket does to a run, told as stories: takeover, a refused token, abuse, an absent add-on, sleep, weekends."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
import trio
import trio.testing
from live.venues import SECOND, World, session_on, trader_for, world_of

from xtalgo import Instrument, OrderStatus, Quote, QuoteTable, Strategy
from xtalgo.live.link import LinkState
from xtalgo.live.redial import EndKind
from xtalgo.live.session import Outcome, Session, StopMode
from xtalgo.model.events import LinkDown, LinkUp
from xtalgo.model.reports import PositionReport

ES = "ES 06-26"
START = 1_778_680_800_000_000_000
"""2026-05-13 14:00:00 UTC, a Wednesday."""
MINUTE = 60


def ticks(seconds: int, start: int = START, gap: tuple[int, int] | None = None) -> QuoteTable:
    """ES, one quote a second on a slow wave; ``gap`` is a span of seconds without quotes."""
    second = np.array([s for s in range(seconds) if gap is None or not gap[0] <= s < gap[1]])
    bid = 4800 + np.round(4 * np.sin(second / 40)) * 0.25
    return QuoteTable.from_rows((ES,), np.zeros(len(second)), start + second * SECOND, bid, bid + 0.25, bid, second)


class Holder(Strategy):
    """Buys one with a bracket at its fifth quote, and writes down what it is told."""

    instrument: Instrument = ES

    def on_start(self) -> None:
        self.quotes = 0
        self.links: list[str] = []
        self.ticks: list[int] = []
        self.denied: list[str] = []
        self.eager = False

    def on_quote(self, quote: Quote) -> None:
        self.quotes += 1
        if self.quotes == 5:
            self.buy(self.instrument, 1, stop_loss=40, take_profit=80)
        if self.eager:
            self.eager = False
            self.buy(self.instrument, 1)

    def on_order(self, order: Any) -> None:
        if order.status is OrderStatus.DENIED:
            self.denied.append(order.reason)

    def on_link(self, link: LinkUp | LinkDown) -> None:
        self.links.append(type(link).__name__)

    def on_timer(self, tag: str) -> None:
        self.ticks.append(self.now)


class Run:
    """A session in the background of a test."""

    def __init__(self, world: World, **more: Any) -> None:
        self.world = world
        self.strategy = more.pop("strategy", None) or Holder()
        self.trader = trader_for(self.strategy)
        self.session: Session = session_on(world, self.trader, **more)
        self.outcome: Outcome | None = None

    async def __call__(self) -> None:
        self.outcome = await self.session.run()

    async def until(self, second: float) -> None:
        """Wait until so many seconds after the first quote."""
        await trio.sleep_until(self.world.clock.trio_deadline(START + round(second * SECOND)))

    @property
    def told(self) -> str:
        return "\n".join(notice.text for notice in self.trader.notices)


async def test_somebody_else_takes_over(autojump_clock: trio.testing.MockClock) -> None:
    """A second client with our token: the run ends, does not fight, and says over the other road what it holds."""
    world = world_of(ticks(5 * MINUTE))
    asked = []

    async def ask(account: str) -> list[PositionReport]:
        asked.append(account)
        return [PositionReport(account, ES, 1, 4800.0)]

    run = Run(world, ask_positions=ask)
    async with world.open(), trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await run.until(60)
        other = await world.dial()()
        await run.until(90)
        await other.aclose()
    assert run.outcome is not None
    assert run.outcome.ending is not None
    assert run.outcome.ending.kind is EndKind.TAKEN_OVER
    assert asked == ["Sim101"]
    assert run.outcome.left[0].positions == {ES: 1}
    assert not run.outcome.is_flat
    assert world.dials == 2, "one of ours, one of theirs"


async def test_a_takeover_that_lost_its_words(autojump_clock: trio.testing.MockClock) -> None:
    """Three sessions in a row that die young look like a takeover: wait five minutes, then give way for good."""
    world = world_of(
        ticks(20 * MINUTE), faults={"takeover_reason": "", "takeover_at": [12, 14, 17, 319, 322, 325, 330]}
    )
    run = Run(world)
    async with world.open(), trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await run.until(20 * MINUTE)
        nursery.cancel_scope.cancel()
    assert run.outcome is not None
    assert run.outcome.ending is not None
    assert run.outcome.ending.kind is EndKind.TAKEN_OVER


async def test_the_token_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    world = world_of(ticks(MINUTE))
    run = Run(world, token="wrong")
    async with world.open(), trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await run.until(30)
        nursery.cancel_scope.cancel()
    assert run.outcome is not None
    assert run.outcome.ending is not None
    assert run.outcome.ending.kind is EndKind.TOKEN_REFUSED
    assert "wrong" not in run.outcome.ending.text
    assert not run.outcome.began
    assert world.dials == 1


async def test_closed_for_abuse_once(autojump_clock: trio.testing.MockClock) -> None:
    """1008 is taken seriously: five minutes of quiet, then on."""
    world = world_of(ticks(10 * MINUTE), faults={"close_at": [[70, 1008, "Rate limit exceeded"]]})
    run = Run(world)
    async with world.open(), trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await run.until(65 + 280)
        assert run.session.link.state is LinkState.WAITING
        await run.until(65 + 310)
        assert run.session.link.state is LinkState.UP
        before = run.strategy.quotes
        await run.until(9 * MINUTE)
        assert run.strategy.quotes > before
        nursery.cancel_scope.cancel()
    assert run.strategy.links[:2] == ["LinkDown", "LinkUp"]


async def test_the_addon_goes_away_and_comes_back(autojump_clock: trio.testing.MockClock) -> None:
    """The link stays up; what is away is NinjaTrader: told apart, entries denied, and reconciled when it is back."""
    world = world_of(ticks(10 * MINUTE), faults={"addon_offline": [[130, 190]]})
    run = Run(world)
    async with world.open(), trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await run.until(115)
        assert not run.trader.is_offline
        await run.until(150)
        assert run.trader.is_offline
        assert run.session.link.state is LinkState.UP
        await run.until(240)
        assert not run.trader.is_offline
        nursery.cancel_scope.cancel()
    assert "NinjaTrader or its add-on is away" in run.told
    assert "NinjaTrader is back" in run.told
    assert world.dials <= 3, "quotes are missing too, so the link may be dialled anew, but no storm"
    assert world.server.violations == 0


async def test_a_socket_that_is_half_open(autojump_clock: trio.testing.MockClock) -> None:
    """Nothing comes any more and nothing arrives, without a close: noticed, dialled anew, reconciled."""
    world = world_of(ticks(10 * MINUTE))
    run = Run(world)
    async with world.open(), trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await run.until(60)
        world.freeze()
        await run.until(60 + 45)
        assert world.dials == 2
        assert run.session.link.state is LinkState.UP
        seen = run.strategy.quotes
        await run.until(60 + 60)
        assert run.strategy.quotes > seen
        nursery.cancel_scope.cancel()
    assert run.strategy.links[:2] == ["LinkDown", "LinkUp"]


async def test_two_hours_of_sleep(autojump_clock: trio.testing.MockClock) -> None:
    """The lid closes for two hours: one jump, one reconnect, each overdue timer once, positions as they are."""
    world = world_of(ticks(4 * 60 * MINUTE))
    strategy = Holder()
    run = Run(world, strategy=strategy)
    slept = 0
    wall = run.session.clock.wall
    async with world.open(), trio.open_nursery() as nursery:
        clock = type(run.session.clock)(wall=lambda: wall() + slept)
        run.session.clock = run.session.link._clock = clock
        nursery.start_soon(run)
        await run.until(60)
        assert run.trader.engine is not None
        seat = next(iter(run.trader.engine.seats.values()))
        seat.every(1.0, "beat")
        run.trader.engine.decide(lambda: None, run.session.clock.now())
        run.trader.due = 0
        await run.until(70)
        before = len(strategy.ticks)
        slept = 2 * 3600 * SECOND
        await run.until(72.5)
        during = len(strategy.ticks) - before
        assert during <= 4, "overdue timers run once, not seven thousand times"
        await run.until(120)
        assert len(strategy.ticks) - before > 40
        assert strategy.links == ["LinkDown", "LinkUp"]
        assert strategy.now - START > 7_200 * SECOND
        nursery.cancel_scope.cancel()
    assert "the clock jumped by +7200" in run.told
    assert world.dials == 2


@pytest.mark.parametrize("hours", [1, pytest.param(49, marks=[pytest.mark.long, pytest.mark.timeout(600)])])
async def test_a_silent_weekend(autojump_clock: trio.testing.MockClock, hours: int) -> None:
    """Days without a quote: stale at once, dialled now and then, ever more rarely, and back with the first quote."""
    quiet = hours * 3600
    world = world_of(ticks(quiet + 600, gap=(60, 60 + quiet)))
    strategy = Holder()
    run = Run(world, strategy=strategy)
    async with world.open(), trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await run.until(60 + 20)
        assert run.trader.silence.is_stale
        assert world.dials == 2, "dialled once, at once"
        await run.until(60 + quiet - 1)
        dials = world.dials
        assert dials <= 2 + 6 + quiet / 600
        assert strategy.quotes == 60
        strategy.eager = True
        await run.until(60 + quiet + 100)
        assert not run.trader.silence.is_stale
        assert strategy.quotes > 100
        assert world.dials <= dials + 1
        nursery.cancel_scope.cancel()
    assert world.server.violations == 0
    assert run.trader.error is None


async def test_stopping_keeps_what_protects(autojump_clock: trio.testing.MockClock) -> None:
    """Ctrl-C by default: entries are cancelled, the stop and the target stay, and the run says what remains."""
    world = world_of(ticks(10 * MINUTE))
    run = Run(world)
    async with world.open(), trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await run.until(120)
        run.session.stop()
        await run.until(140)
        assert run.outcome is not None, "it ends by itself"
    left = run.outcome.left[0]
    assert left.positions == {ES: 1}
    assert len(left.orders) == 2
    assert not run.outcome.is_flat


async def test_stopping_flat(autojump_clock: trio.testing.MockClock) -> None:
    """``--on-stop flatten``: exits make room, the position is closed, and the venue's own lists say flat."""
    world = world_of(ticks(10 * MINUTE))
    run = Run(world, on_stop=StopMode.FLATTEN)
    async with world.open(), trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await run.until(120)
        run.session.stop()
        await run.until(160)
        assert run.outcome is not None
    assert run.outcome.is_flat
    assert sum(book.position for book in world.server.venue.books("Sim101")) == 0
    assert not world.server.venue.working("Sim101")


async def test_flatten_that_cannot_be_seen_is_not_called_flat(autojump_clock: trio.testing.MockClock) -> None:
    world = world_of(ticks(10 * MINUTE))
    run = Run(world, on_stop=StopMode.FLATTEN)
    async with world.open(), trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await run.until(120)
        world.storm({"lose_request": 1.0})
        run.session.stop()
        await run.until(240)
        assert run.outcome is not None
    assert not run.outcome.is_flat
    assert run.outcome.left[0].positions is None


async def test_a_strategy_that_raises_leaves_its_exits(autojump_clock: trio.testing.MockClock) -> None:
    class Broken(Holder):
        def on_quote(self, quote: Quote) -> None:
            super().on_quote(quote)
            if self.quotes == 60:
                raise ValueError("a bug of its author")

    world = world_of(ticks(10 * MINUTE))
    run = Run(world, strategy=Broken(), on_stop=StopMode.FLATTEN)
    async with world.open(), trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await run.until(120)
        assert run.outcome is not None
    assert "a bug of its author" in str(run.outcome.error)
    assert run.outcome.left[0].positions == {ES: 1}
    assert len(run.outcome.left[0].orders) == 2


async def test_bad_frames_are_counted_shown_and_survived(autojump_clock: trio.testing.MockClock) -> None:
    world = world_of(ticks(5 * MINUTE), faults={"garbage": 0.5, "double_reply": 0.5})
    run = Run(world)
    async with world.open(), trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await run.until(4 * MINUTE)
        nursery.cancel_scope.cancel()
    assert run.trader.health.unknown + run.trader.health.faults > 20
    assert run.trader.calls.strays > 3
    assert run.strategy.quotes > 200
    assert run.trader.engine is not None
    assert len(run.trader.engine.blotter.fills) == len(world.server.venue.exchange.executions) == 1
    assert "of no use" in run.told


async def test_wrong_account_and_wrong_instrument_are_refused_before_anything_is_sent(
    autojump_clock: trio.testing.MockClock,
) -> None:
    for trader, words in (
        (trader_for(Holder(), accounts=("Apex-1",)), "there is no account 'Apex-1'"),
        (trader_for(Holder(instrument="CL 07-26")), "CL 07-26"),
    ):
        world = world_of(ticks(MINUTE))
        session = session_on(world, trader)
        async with world.open():
            outcome = await session.run()
        assert words in str(outcome.error)
        assert {json.loads(frame)["api"] for frame in world.frames} <= {"ListAccounts", "GetQuote"}


async def test_a_server_that_refuses_the_handshake_for_a_while(autojump_clock: trio.testing.MockClock) -> None:
    """503 four times: told, waited for with growing gaps, and then traded."""
    world = world_of(ticks(5 * MINUTE), faults={"reject_handshake": [503, 4]})
    run = Run(world)
    async with world.open(), trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await run.until(60)
        assert world.dials == 5
        assert run.session.started is not None
        nursery.cancel_scope.cancel()
    assert run.told.count("no connection") >= 2  # told once, and then ever more rarely
    assert "503" in run.told


async def test_a_run_that_never_gets_a_connection_ends_on_time(autojump_clock: trio.testing.MockClock) -> None:
    world = world_of(ticks(5 * MINUTE), faults={"reject_handshake": [503, 1000]})
    run = Run(world, duration=60.0)
    async with world.open(), trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await run.until(70)
        assert run.outcome is not None
    assert not run.outcome.began
    assert not run.outcome.is_flat
