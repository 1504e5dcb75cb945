"""Live runs in virtual time: the real composition, over memory streams, against a simulated server."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import attrs
import trio
from live.venues import World, virtual_wall
from tables import START

from xtalgo import Instrument, Quote, Strategy
from xtalgo.app.config import load_settings
from xtalgo.app.dialects import Spoken
from xtalgo.app.liverun import LiveRun, Plan, demo_server
from xtalgo.app.news import News
from xtalgo.app.venues import Kind, Target
from xtalgo.live.clock import WallClock
from xtalgo.live.session import Session
from xtalgo.live.tokens import Token
from xtalgo.live.wires import DialFailed
from xtalgo.protocol.dialect import FIELDS, Dialect, plain
from xtalgo.protocol.findings import Findings
from xtalgo.sim.faults import Faults
from xtalgo.sim.server import SimServer

TOKEN = "s3cr3t-t0ken"
DEMO = Target(Kind.DEMO, None, None, False, ("Demo101",))
SERVER = Target(Kind.SERVER, "wss://example.org/ws/stream", Token(TOKEN), False, ("Sim101",))


def settled(dialect: Dialect) -> Dialect:
    """The same dialect, every field of it found out."""
    return Dialect.from_table({name: plain(getattr(dialect, name)) for name in FIELDS})


class Bracketed(Strategy):
    """Buys with a far stop at the third quote, and leaves a limit order far away."""

    instrument: Instrument = "ES"
    breaks_at: int = 0

    def on_start(self) -> None:
        self.seen = 0

    def on_quote(self, quote: Quote) -> None:
        self.seen += 1
        if self.seen == 3:
            self.buy(quote.instrument, 1, stop_loss=400)
            self.buy(quote.instrument, 1, limit_price=100.0)
            self.note("in", at=quote.bid)
        if self.seen == self.breaks_at:
            raise ValueError("as planned")


class Heard:
    """A display that remembers."""

    def __init__(self) -> None:
        self.writer: Any = SimpleNamespace(broken=None, dropped=0)
        self.news: list[News] = []
        self.looks = 0

    def tell(self, news: News) -> None:
        self.news.append(news)

    def look(self, session: Session, now: int) -> None:
        self.looks += 1

    def close(self) -> None:
        pass

    def of(self, event: str) -> list[News]:
        return [news for news in self.news if news.event == event]

    @property
    def texts(self) -> list[str]:
        return [news.text for news in self.news if news.text]


@attrs.define(eq=False)
class Life:
    """One run and its venue."""

    run: LiveRun
    world: World
    heard: Heard

    @property
    def session(self) -> Session:
        assert self.run.session is not None
        return self.run.session

    @property
    def trader(self):
        return self.session.trader

    @property
    def engine(self):
        assert self.trader.engine is not None
        return self.trader.engine


def life(
    strategies: Sequence[Strategy] = (),
    *,
    target: Target = DEMO,
    on_stop: str = "protect",
    duration: float | None = 20,
    faults: dict[str, Any] | None = None,
    dialect: Dialect | None = None,
    known: bool = True,
    **flags: str,
) -> Life:
    """A run that has not begun, on a demo server; one that speaks a dialect, which the run has read if it is known."""
    settings = load_settings({"on_stop": on_stop, **flags})
    chosen = [("bracketed.py", strategy) for strategy in strategies or [Bracketed()]]
    plan = Plan(target=target, settings=settings, strategies=chosen, duration=duration)
    clock = WallClock(virtual_wall(START))
    server = demo_server(plan, TOKEN, START)
    if dialect is not None:
        old = server.venue
        server = SimServer(
            old.feed,
            token=TOKEN,
            accounts=old.accounts,
            contracts=old.contracts,
            fills=old.fills_by,
            latency=settings.replay.latency,
            fees=old.fees,
            dialect=dialect,
        )
        if known:
            plan = attrs.evolve(plan, spoken=Spoken(settled(dialect), Path("d.toml"), Findings()))
    if faults is not None:
        server.faults = server._mishaps.faults = Faults.from_table(faults)
    world = World(server, clock)
    heard = Heard()
    return Life(LiveRun(plan, heard, clock), world, heard)


async def conduct(life: Life, *, token: str = TOKEN, ask: Any = None, signals: bool = False) -> None:
    """The whole run."""
    async with life.world.open():
        await life.run.conduct(life.world.dial(token), ask, signals=signals)


async def conduct_to_silence(life: Life, at: float, *, ask: Any = None) -> None:
    """The whole run; from ``at`` on nothing comes through any more, and no dial succeeds."""
    async with life.world.open() as world, trio.open_nursery() as nursery:
        dial, began = world.dial(TOKEN), trio.current_time()

        async def dial_until() -> Any:
            if trio.current_time() - began >= at:
                raise DialFailed("the network is gone")
            return await dial()

        nursery.start_soon(later, at, world.freeze)
        await life.run.conduct(dial_until, ask)


async def later(seconds: float, act: Any) -> None:
    """Do something at a time."""
    await trio.sleep(seconds)
    act()
