"""One live run: venue, trader, session and monitor put together and conducted, from the dial to what is left."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial
from typing import Any

import trio
from attrs import define, field, frozen

from xtalgo.app.config import Settings
from xtalgo.app.days import Days
from xtalgo.app.demo import demo_venue
from xtalgo.app.dialects import Spoken
from xtalgo.app.exits import NotFlat
from xtalgo.app.flatten import FlattenRequest
from xtalgo.app.flatten import conduct as conduct_flatten
from xtalgo.app.haltfile import HaltFile
from xtalgo.app.journaling import Keeping, prepare
from xtalgo.app.monitor import Monitor
from xtalgo.app.news import Display, News
from xtalgo.app.operator import Operator, OperatorClient
from xtalgo.app.signals import stop_signals
from xtalgo.app.summary import left_text
from xtalgo.app.venues import AskPositions, Target, asker
from xtalgo.client.aslive import make_trader
from xtalgo.client.trader import Trader
from xtalgo.engine.strategy import Strategy, instrument_parameters
from xtalgo.live.clock import WallClock
from xtalgo.live.host import ServerHost
from xtalgo.live.leaves import leaf_of
from xtalgo.live.paper import PaperVenue
from xtalgo.live.recorder import Recorder
from xtalgo.live.redial import Redial
from xtalgo.live.server import serve
from xtalgo.live.session import Left, Outcome, Session, StopMode
from xtalgo.live.wires import Dial, dialer
from xtalgo.model.errors import NoConnection, StrategyError
from xtalgo.model.types import Ns
from xtalgo.sim.server import SimServer

__all__ = ["LiveRun", "Plan", "demo_server"]


@frozen(kw_only=True, eq=False)
class Plan:
    """A live run before it begins."""

    target: Target
    settings: Settings
    strategies: Sequence[tuple[str, Strategy]]
    duration: float | None = None
    """Seconds from the strategies' start; a connection has as long to come about."""
    keeping: Keeping = field(factory=Keeping.nowhere)
    """Where it is written down, and what earlier lives of the run left."""
    days: Days = field(factory=Days)
    """What is remembered of its accounts' trading days."""
    spoken: Spoken = field(factory=Spoken)
    """How the venue speaks."""

    @property
    def on_stop(self) -> StopMode:
        """What the end does with what is open."""
        return StopMode(self.settings.live.on_stop)

    def trader(self) -> Trader:
        """The client of this run. Its order ids begin with letters and digits of its own: the venue keeps ids."""
        live = self.settings.live
        return make_trader(
            [strategy for _, strategy in self.strategies],
            contracts=self.settings.contracts,
            accounts=self.target.accounts,
            limits=self.settings.replay.limits,
            run=self.keeping.run,
            real_allowed=self.target.allows_real,
            prepare=prepare(
                self.keeping.estate,
                keeps_external=live.external == "keep",
                adopts=live.start_behavior == "adopt",
                days=self.keeping.birth.days,
            ),
            dialect=self.spoken.dialect,
        )

    def recorder(self, trader: Trader, now: Ns) -> Recorder | None:
        """What writes the run down, begun; None where nothing is."""
        keeping, estate = self.keeping, self.keeping.estate
        if keeping.journal is None:
            return None
        found = Recorder(keeping.journal, trader)
        if estate is None:
            found.begin(now, keeping.birth)
        else:
            found.begin(now, keeping.birth, len(estate.adjustments), estate.offsets)
        return found

    def paper(self) -> PaperVenue | None:
        """The venue on paper, if that is what is wanted."""
        if not self.target.is_paper:
            return None
        replay = self.settings.replay
        return PaperVenue(self.target.accounts, self.settings.contracts, replay.fills, replay.latency, replay.fees)


# --- the run -----------------------------------------------------------------------------------------------------


@define(eq=False)
class LiveRun:
    """One run, from the dial to what is left. ``conduct`` is called once; ``verdict`` says how it ended."""

    plan: Plan
    display: Display
    clock: WallClock = field(factory=WallClock)
    session: Session | None = field(init=False, default=None)
    outcome: Outcome | None = field(init=False, default=None)
    left: tuple[Left, ...] = field(init=False, default=())
    ended: Ns = field(init=False, default=0)
    how: str = field(init=False, default="it did not begin")
    monitor: Monitor = field(init=False)
    fault: Exception | None = field(init=False, default=None)
    """What broke the monitor; the run went on without it."""
    _halt_file: HaltFile = field(factory=HaltFile)
    _signalled: bool = field(init=False, default=False)
    _cut: bool = field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self.monitor = Monitor(self.display)

    def update(self, session: Session, now: Ns) -> None:
        """The observer of the session."""
        if session.trader.engine is not None and (text := self.plan.days.save(session.trader.engine, now)):
            session.trader.tell(now, text)
        if self.fault is None:
            try:
                self.monitor.update(session, now)
            except Exception as error:  # whoever only watches must not bring a run down
                self.fault = error
                text = f"the display failed ({type(error).__name__}: {error}); the run goes on without it"
                self.display.tell(News(now, "error", text, is_warning=True))

    async def main(self) -> None:
        """The whole run, with its own server where it is a demo."""
        try:
            await self._main()
        except BaseExceptionGroup as group:
            raise self._one_of(group) from None

    async def _main(self) -> None:
        target, contracts = self.plan.target, self.plan.settings.contracts
        async with trio.open_nursery() as nursery:
            url, token = target.url, target.token
            secret: Any = token
            if url is None:
                secret = secrets.token_hex(16)  # nobody else on this machine shall meet our server
                host = ServerHost(demo_server(self.plan, secret, self.clock.now()), self.clock)
                await nursery.start(host.run)
                url = (await nursery.start(partial(serve, host, port=0))).ws
            if self.plan.settings.live.start_behavior == "flatten" and not target.fills_here:
                await self.flatten_first(url, secret)
            ask = None if target.is_paper else asker(url, secret, contracts)
            await self.conduct(dialer(url, secret), ask, signals=True)
            nursery.cancel_scope.cancel()

    async def conduct(self, dial: Dial, ask: AskPositions | None = None, *, signals: bool = False) -> None:
        """Dial and trade until something ends it, and find out what is left."""
        plan = self.plan
        trader = plan.trader()
        recorder = plan.recorder(trader, self.clock.now())
        session = self.session = Session(
            trader,
            dial,
            self.clock,
            Redial(dialect=plan.spoken.dialect),
            on_stop=plan.on_stop,
            duration=plan.duration,
            observer=self,
            paper=plan.paper(),
            ask_positions=ask,
            recorder=recorder,
            halted=self._halted,
        )
        self.left = tuple(Left(account, None) for account in plan.target.accounts)
        async with trio.open_nursery() as nursery:
            with trio.CancelScope() as scope:
                if signals:
                    nursery.start_soon(self._hear_signals, session, scope)
                try:
                    self.outcome = await session.run()
                finally:
                    if session.trader.engine is not None:
                        self.plan.days.save(session.trader.engine, self.clock.now(), at_once=True)
                    if recorder is not None:
                        recorder.commit(self.clock.now())
                self.left = self.outcome.left or self.left
            nursery.cancel_scope.cancel()
        self.ended = self.clock.now()
        self.monitor.rest()
        self.update(session, self.ended)
        self.how = self._how(session)

    def _halted(self) -> str:
        halt = self._halt_file
        return f"there is a HALT file, {halt.path}" if halt.is_set() else ""

    async def flatten_first(self, url: str, token: Any) -> None:
        """Close what the accounts hold in the instruments of this run. Raises NotFlat when it is not known to be.

        It goes over REST before the socket is dialled, as ``xtalgo flatten`` does, so nothing of it is this run's.
        """
        plan = self.plan
        names: dict[str, None] = {}
        for _, strategy in plan.strategies:
            for parameter in instrument_parameters(type(strategy)):
                value = getattr(strategy, parameter)
                names |= dict.fromkeys((value,) if isinstance(value, str) else value or ())
        async with OperatorClient(url, token) as client:
            operator = Operator(client, plan.settings.contracts)
            for account in plan.target.accounts:
                for name in names:
                    await conduct_flatten(
                        operator, FlattenRequest(account=account, instrument=name), self.display, self.clock
                    )

    async def _hear_signals(self, session: Session, scope: trio.CancelScope) -> None:
        with trio.open_signal_receiver(*stop_signals()) as received:
            async for _ in received:
                now = self.clock.now()
                if session.trader.is_stopping or self._signalled:
                    self._cut = True
                    session.trader.tell(now, "stopping at once; what is open stays open")
                    scope.cancel()
                    return
                self._signalled = True
                session.trader.tell(now, f"stopping ({self.plan.on_stop}); Ctrl-C once more stops at once")
                self.update(session, now)
                session.stop()

    def _one_of(self, group: BaseExceptionGroup[BaseException]) -> BaseException:
        """The one error that a group is about."""
        leaf = leaf_of(group)
        self.how = f"at once, by an error: {type(leaf).__name__}; nothing was wound down"
        return leaf

    # --- how it ended --------------------------------------------------------------------------------------------

    def _how(self, session: Session) -> str:
        if self._cut or self.outcome is None:
            return "at once, by the second Ctrl-C; nothing more was wound down"
        outcome, mode = self.outcome, self.plan.on_stop
        if outcome.error is not None:
            protect = "; wound down with protect" if isinstance(outcome.error, StrategyError) else ""
            return f"by an error: {' '.join(str(outcome.error).split())}{protect}"
        if outcome.ending is not None:
            return f"by the link: {outcome.ending.text}"
        if self.display.writer.broken is not None:
            return f"because nobody reads this any more; wound down with {mode}"
        if self._signalled:
            return f"by a signal; wound down with {mode}"
        if session.started is None:
            return f"there was no connection within {self.plan.duration:g} s"
        return f"after {self.plan.duration:g} s, as asked; wound down with {mode}"

    def verdict(self) -> None:
        """Raises what decides the exit code; nothing when the run ended well."""
        if self._cut or self.outcome is None:
            raise KeyboardInterrupt
        outcome = self.outcome
        if outcome.error is not None:
            raise outcome.error
        engine = None if self.session is None else self.session.trader.engine
        if engine is not None and engine.faults:
            raise engine.faults[0][1]  # quarantined; the other strategies went on
        if outcome.ending is not None:
            raise outcome.ending.error
        if self.plan.on_stop is StopMode.FLATTEN and outcome.began and not outcome.is_flat:
            told = "; ".join(f"{one.account}: {left_text(one)}" for one in self.left if not one.is_flat)
            raise NotFlat(f"--on-stop flatten: not known to be flat: {told}")
        if not outcome.began and not self._signalled:
            session = self.session
            assert session is not None
            why = session.link.last_reason or "the venue's answers did not come"
            raise NoConnection(f"the run never began: {why}")
        if self.fault is not None:
            raise self.fault
        if self.display.writer.broken is not None:
            raise BrokenPipeError


def demo_server(plan: Plan, token: str, now: Ns) -> SimServer:
    """The server of a run that is a demo."""
    return demo_venue(plan.settings, plan.target.accounts, token, now)
