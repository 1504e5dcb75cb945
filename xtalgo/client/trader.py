"""The whole client without its socket: text frames and time go in, text frames come out.

It owns the engine, the pacing queue, the calls under way and the subscriptions, and does the same whether its frames
travel over a socket, through memory in a test, or straight into a server object. Every method that takes ``now`` first
does whatever was due before it, so the outcome depends on stamps, not on how promptly it was called.
"""

from __future__ import annotations

from collections.abc import Iterable
from operator import length_hint
from typing import Final

from attrs import define

from xtalgo.client.caller import Frame, Health, Notice
from xtalgo.client.calls import Settled
from xtalgo.client.traffic import Item, Traffic
from xtalgo.engine.ending import halt, is_closing, unsettled, wind_down
from xtalgo.engine.pacing import Entry, Lane
from xtalgo.model.commands import Ask, CancelOrder, ChangeOrder, PlaceOrder, Read
from xtalgo.model.errors import ConfigError, StrategyError
from xtalgo.model.events import (
    AccountPnl,
    LinkDown,
    LinkUp,
    NotSent,
    Silent,
    Tick,
)
from xtalgo.model.types import NEVER, SECOND_NS, Ns
from xtalgo.protocol.frames import (
    EventFrame,
    MarketData,
    PnlUpdate,
    Resync,
)
from xtalgo.protocol.orders import Call
from xtalgo.protocol.outcomes import Cause

__all__ = ["Frame", "Health", "Notice", "Trader"]

OFFLINE_PROBE: Final = (5, 10, 20, 30)
"""Seconds between looks for an add-on that was away; the last one repeats."""


@define(eq=False)
class Trader(Traffic):
    """One client on one token. ``make_engine`` gets the accounts and ``pin`` once the venue has named them."""

    _halted: str = ""
    """Why somebody halted the run from outside; the engine may be yet to come."""

    # --- the link ------------------------------------------------------------------------------------------------

    def _connected(self, now: Ns) -> None:
        if self.is_running:
            self._subscribe(now)
        self._reachable(now)

    def _reachable(self, now: Ns) -> None:
        self.is_offline, self._probe, self._probes = False, NEVER, 0
        if self.engine is not None:
            self._turn(LinkUp(now))
        else:
            self._ask_setup(now)

    def _disconnected(self, now: Ns, reason: str, ended: Iterable[Settled[Entry[Item]]]) -> None:
        self.is_offline, self._probe = False, NEVER
        self._unreachable(now, reason, ended)

    def _unreachable(self, now: Ns, reason: str, ended: Iterable[Settled[Entry[Item]]]) -> None:
        """Nothing can be done at the venue: what waits to be placed is decided anew once it can."""
        self.queue.hold(now)
        self._turn(LinkDown(now, reason))  # first, so that nothing is decided in the belief that the link stands
        for settled in ended:
            self._ended(settled, now, asks_again=False)
        for item in self.queue.purge(lambda entry: not isinstance(entry.item, ChangeOrder | CancelOrder)):
            if isinstance(item, PlaceOrder):
                self._turn(NotSent(now, item, f"not sent: {reason}"))

    # --- frames --------------------------------------------------------------------------------------------------

    def _idle(self, now: Ns) -> None:
        if self.engine is not None and self.engine.due < self.due:
            self.due = self.engine.due

    def _market(self, message: MarketData, now: Ns) -> bool:
        """Feed quotes to the engine; whether anything followed from them."""
        engine = self.engine
        if engine is None or not self.is_running:
            return False
        series = engine.feeds.series
        quotes = self._quotes(message, now, series)
        if not quotes:
            return False
        acted = False
        if self.silence.data(now):
            acted = True
            engine.silence("")
            self._notice(now, "fresh", "quotes are back", warning=False)
        if self.before_quotes is not None:
            self.before_quotes(quotes, now)
        if self.on_turn is not None:
            for quote in quotes:
                self.on_turn(quote)
        todo = iter(quotes)
        while length_hint(todo):
            try:
                commands = engine.feed(todo)
            except StrategyError as error:
                acted = True
                self._fail(error, now)
                continue
            if commands:
                acted = True
                self._send(commands, now)
        self._heed(engine, now)
        return acted or len(series) > len(self.streams.instruments)

    def _pnl(self, message: PnlUpdate, now: Ns) -> None:
        if self.engine is None:
            return
        for row in message.accounts:
            for account in self.setup.accounts:
                if row.account is not None and row.account.casefold() == account.casefold():
                    self.pnl[account] = AccountPnl(now, account, row.realized, row.unrealized, row.net_liquidation)
                    self._turn(self.pnl[account])

    def _event(self, message: EventFrame | Resync, now: Ns) -> None:
        """Something happened to an order somewhere: ask."""
        if self.engine is not None and self.engine.liaison is not None and self.engine.liaison.reachable:
            for account in self.setup.accounts:
                if message.account is not None and message.account.casefold() != account.casefold():
                    continue  # what others do costs no calls of ours
                self.engine.liaison.planner.want(account, Ask.EXECUTIONS, now)
                self.engine.liaison.planner.want(account, Ask.ORDERS, now)
            self.engine.replan()

    def _silent(self, now: Ns, text: str) -> None:
        self._turn(Silent(now, text))

    def _went_offline(self, now: Ns, text: str) -> None:
        if self.is_offline:
            return
        self.is_offline = True
        self._notice(now, "offline", f"the link is up, but NinjaTrader or its add-on is away: {text}")
        # Calls under way are not lost by this: each gets its own answer, or runs out of time.
        self._unreachable(now, f"NinjaTrader or its add-on is away: {text}", ())
        self._probe = now + OFFLINE_PROBE[0] * SECOND_NS

    def _look_for_addon(self, now: Ns) -> None:
        self._probes += 1
        self._probe = now + OFFLINE_PROBE[min(self._probes, len(OFFLINE_PROBE) - 1)] * SECOND_NS
        if self.queue.bucket.take(now):  # past the queue, in which everything else waits until the add-on is back
            self._call(Entry(Call("ListAccounts", {}), Lane.STATUS, now, None, None), now)

    # --- before the run ------------------------------------------------------------------------------------------

    def _ask_setup(self, now: Ns) -> None:
        for call in self.setup.calls():
            self._push_call(call, now)
        self._release(now)

    def _push_call(self, call: Call, now: Ns) -> None:
        about = call.args.get("instrument", call.args.get("account"))
        self.queue.push(call, Lane.STATUS, now, key=f"?{call.api}/{about}")

    def _setup_ended(self, call: Call, settled: Settled[Entry[Item]], now: Ns, *, asks_again: bool) -> None:
        if self.engine is not None or self.error is not None:
            return  # a look for the add-on
        try:
            again = self.setup.take(call, settled) if asks_again else False
        except ConfigError as error:
            self.error = error
            return
        for text in self.setup.notices:
            self._notice(now, "setup", text)
        self.setup.notices.clear()
        further, self.setup.next = self.setup.next, []
        for one in further:
            self._push_call(one, now)
        if again and self.is_up and settled.cause is not Cause.OFFLINE:
            self._push_call(call, now)
        if self.setup.is_done:
            try:
                self.engine = self.make_engine(self.setup.accounts, self.setup.pin)
            except (ConfigError, StrategyError) as error:
                self.error = error
                return
            if self._halted:
                self._send(halt(self.engine, self._halted, now), now)
            try:
                self._send(self.engine.warm_up(now), now)
            except (ConfigError, StrategyError) as error:
                self.error = error
                return
            self._turn(LinkUp(now))

    def _begin(self, now: Ns) -> None:
        """Every account is reconciled for the first time: the strategies start."""
        assert self.engine is not None
        self.is_running = True
        try:
            commands = self.engine.start(now)
        except StrategyError as error:
            self._fail(error, now)
            return
        except ConfigError as error:
            self.error = error
            return
        for text in self.engine.history.shortfalls():
            self._notice(now, "history", f"the start went without some bars: {text}")
        self.streams.want(list(self.engine.feeds.series))
        self._subscribe(now)
        self._send(commands, now)
        if len(self.engine.faults) > self._faults:
            self._quarantined(now)

    # --- time ----------------------------------------------------------------------------------------------------

    def _own_due(self) -> Ns:
        return self._probe if self.engine is None else min(self._probe, self.engine.due)

    def _step(self, now: Ns) -> None:
        if self.engine is not None and self.engine.due <= now:
            self._turn(Tick(now))
        elif self._step_calls(now):
            pass
        elif self._probe <= now:
            self._look_for_addon(now)
        else:
            self._stream(now)

    def _leapt(self, now: Ns) -> None:
        if self.engine is not None:
            self.engine.timers.leap(now)

    def _done(self, now: Ns) -> None:
        engine = self.engine
        if self.is_running and engine is not None and len(engine.feeds.series) > len(self.streams.instruments):
            self._last = max(self._last, now)
            self.streams.want(list(engine.feeds.series))
            self.silence.expect(now)
            self._stream(now)
        super()._done(now)

    # --- the end -------------------------------------------------------------------------------------------------

    def stop(self, mode: str, now: Ns) -> None:
        """Run ``on_stop``, then wind down: ``protect``, ``cancel`` or ``flatten``. May be called again with another."""
        self._note("stop", now, mode=mode)
        self._stop(mode, now)

    def _stop(self, mode: str, now: Ns) -> None:
        if self.engine is None:
            self.is_stopping = True
            return
        if not self.is_stopping and self.is_running and self.error is None:
            try:
                self.engine.stop(now)
            except StrategyError as error:
                self.error = error
        self.is_stopping = True
        self._send(wind_down(self.engine, mode, now), now)
        self._look(now)
        self._done(now)

    def halt(self, why: str, now: Ns) -> None:
        """Somebody halted the run from outside, or, when ``why`` is empty, does so no more."""
        self._note("halt", now, why=why)
        self._halted = why
        if self.engine is not None:
            self._send(halt(self.engine, why, now), now)
        self._done(now)

    def look(self, now: Ns) -> None:
        """Ask for orders and positions of every account, to say truly what is left."""
        self._note("stop", now, mode="look")
        self._look(now)
        self._advance(now)

    def _look(self, now: Ns) -> None:
        if self.engine is None or self.engine.liaison is None:
            return
        for account in self.setup.accounts:
            for ask in (Ask.ORDERS, Ask.EXECUTIONS, Ask.POSITIONS):
                self.engine.liaison.planner.want(account, ask, now)
        self.engine.replan()

    @property
    def is_settled(self) -> bool:
        """Whether nothing that was asked for is still to be seen: orders, cancels, closes, and the last look."""
        engine = self.engine
        if engine is None or engine.liaison is None:
            return True
        # What only reads bars or figures is not waited for.
        waits = any(not isinstance(entry.item, Read) for entry in self.calls.items)
        return not (unsettled(engine) or is_closing(engine) or engine.liaison.planner.is_busy or waits)
