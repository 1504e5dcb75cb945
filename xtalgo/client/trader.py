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
from msgspec import json

from xtalgo.client.calls import Settled
from xtalgo.client.streams import SILENCE
from xtalgo.client.traffic import Frame, Health, Item, Notice, Traffic
from xtalgo.engine.ending import halt, is_closing, unsettled, wind_down
from xtalgo.engine.pacing import Entry, Lane
from xtalgo.model.commands import Ask, CancelOrder, ChangeOrder, Mutation, PlaceOrder
from xtalgo.model.errors import ConfigError, StrategyError
from xtalgo.model.events import (
    AccountPnl,
    LinkDown,
    LinkUp,
    NotSent,
    Quote,
    Silent,
    Stale,
    Tick,
)
from xtalgo.model.types import NEVER, SECOND_NS, Ns
from xtalgo.protocol.frames import (
    EventFrame,
    MarketData,
    PnlUpdate,
    Pong,
    Resync,
    RpcError,
    RpcReply,
    Status,
    StatusFrame,
    Unknown,
)
from xtalgo.protocol.orders import Call
from xtalgo.protocol.outcomes import Cause
from xtalgo.protocol.wire import parse_server

__all__ = ["Frame", "Health", "Notice", "Trader"]

OFFLINE_PROBE: Final = (5, 10, 20, 30)
"""Seconds between looks for an add-on that was away; the last one repeats."""


@define(eq=False)
class Trader(Traffic):
    """One client on one token. ``make_engine`` gets the accounts and ``pin`` once the venue has named them."""

    _halted: str = ""
    """Why somebody halted the run from outside; the engine may be yet to come."""

    # --- the link ------------------------------------------------------------------------------------------------

    def link_up(self, now: Ns) -> None:
        """A connection stands."""
        self._note("link_up", now)
        self._advance(now)
        self.is_up = True
        self.queue.resume(now)
        if self.is_running:
            self._subscribe(now)
        self._reachable(now)
        self._done(now)

    def _reachable(self, now: Ns) -> None:
        self.is_offline, self._probe, self._probes = False, NEVER, 0
        if self.engine is not None:
            self._turn(LinkUp(now))
        else:
            self._ask_setup(now)

    def _subscribe(self, now: Ns) -> None:
        self.streams.link_up()
        if self.streams.instruments:
            self.silence.expect(now)
        self._stream(now)

    def link_down(self, now: Ns, reason: str, unsent: Iterable[str] = ()) -> None:
        """The connection is gone; ``unsent`` are the keys of frames that never began to leave."""
        unsent = list(unsent)
        self._note("link_down", now, reason=reason, unsent=unsent)
        self._advance(now)
        self.is_up = self.is_offline = False
        self._probe = NEVER
        self.health.drops += 1
        self.silence.pause()
        self.streams.link_down()
        for key in unsent:
            self._withdraw(key, now, reason)
        self._unreachable(now, reason, self.calls.dropped(now, reason))
        self._done(now)

    def _unreachable(self, now: Ns, reason: str, ended: Iterable[Settled[Entry[Item]]]) -> None:
        """Nothing can be done at the venue: what waits to be placed is decided anew once it can."""
        self.queue.hold(now)
        self._turn(LinkDown(now, reason))  # first, so that nothing is decided in the belief that the link stands
        for settled in ended:
            self._ended(settled, now, asks_again=False)
        for item in self.queue.purge(lambda entry: not isinstance(entry.item, ChangeOrder | CancelOrder)):
            if isinstance(item, PlaceOrder):
                self._turn(NotSent(now, item, f"not sent: {reason}"))

    def unsent(self, now: Ns, key: str, reason: str) -> None:
        """One frame did not leave: it had gone stale before its turn."""
        self._note("unsent", now, key=key, reason=reason)
        self._advance(now)
        self._withdraw(key, now, reason)
        self._done(now)

    # --- frames --------------------------------------------------------------------------------------------------

    def frame(self, text: str | bytes, now: Ns) -> None:
        """A frame came."""
        if self.tape is not None:
            self.tape("frame", now, text)
        if now >= self.due:
            self._advance(now)
        self.health.frames += 1
        message = parse_server(text)
        if type(message) is MarketData:  # most frames by far, and mostly nothing follows from them
            if self._market(message, now):
                self._done(now)
            else:
                self._last = max(self._last, now)
                if self.engine is not None and self.engine.due < self.due:
                    self.due = self.engine.due
            return
        match message:
            case RpcReply() | RpcError():
                self._reply(message, now)
            case PnlUpdate():
                self._pnl(message, now)
            case Status():
                if message.error is not None:
                    self._notice(now, "refused", f"{message.status}: {message.error}")
            case Unknown():
                self.health.unknown += 1
                self._notice(now, "unknown frame", f"a frame of no use ({message.why}): {message.frame[:200]}")
                if message.id is not None:
                    self._reply(message, now)
            case EventFrame() | Resync():
                self._hint(now)
            case StatusFrame():
                self._notice(now, "state", f"the venue's event stream is {message.state}", warning=False)
            case Pong():
                pass
        self._done(now)

    def _market(self, message: MarketData, now: Ns) -> bool:
        """Feed quotes to the engine; whether anything followed from them."""
        if message.faults:
            self.health.faults += len(message.faults)
            self._notice(now, "bad quote", f"quotes left out: {'; '.join(message.faults)}")
        engine = self.engine
        if engine is None or not self.is_running:
            return False
        quotes = []
        names, series = self._names, engine.feeds.series
        for row in message.quotes:
            name = names.get(row.instrument)
            if name is None and row.instrument not in names:
                name = names[row.instrument] = self.name_of(row.instrument)
            if name is None or name not in series:
                continue
            if row.bid is None or row.ask is None:
                self.health.faults += 1
                self._notice(now, "bad quote", f"{name}: a quote without {'bid' if row.bid is None else 'ask'}")
                continue
            quotes.append(Quote(now, name, row.bid, row.ask, row.last, row.volume))
        if not quotes:
            return False
        acted = False
        self.health.quotes += len(quotes)
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

    def _hint(self, now: Ns) -> None:
        """Something happened to an order somewhere: ask."""
        if self.engine is not None and self.engine.liaison is not None and self.engine.liaison.reachable:
            for account in self.setup.accounts:
                self.engine.liaison.planner.want(account, Ask.EXECUTIONS, now)
                self.engine.liaison.planner.want(account, Ask.ORDERS, now)
            self.engine.replan()

    def _reply(self, message: RpcReply | RpcError | Unknown, now: Ns) -> None:
        settled = self.calls.settle(message, now)
        if settled is not None:
            self._ended(settled, now)
        elif isinstance(message, RpcError) and message.id is None:
            self._notice(now, "error", f"the venue says: {message.error}")

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
        self.queue.push(call, Lane.STATUS, now, key=f"?{call.api}/{call.args.get('instrument')}")

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
        self.streams.want(list(self.engine.feeds.series))
        self._subscribe(now)
        self._send(commands, now)
        if len(self.engine.faults) > self._faults:
            self._quarantined(now)

    # --- time ----------------------------------------------------------------------------------------------------

    def _note(self, kind: str, now: Ns, **facts: object) -> None:
        if self.tape is not None:
            self.tape(kind, now, json.encode(facts).decode())

    def advance(self, now: Ns) -> None:
        """Let everything that is due by ``now`` happen, in order of time."""
        if self.due <= now:
            self._note("advance", now)
        self._advance(now)

    def _advance(self, now: Ns) -> None:
        while (due := self._next(now)) <= now:
            self._step(due)
        self.due = due

    def _next(self, now: Ns) -> Ns:
        due = min(self.calls.due, self.silence.due, self._probe)
        if self.engine is not None and self.engine.due < due:
            due = self.engine.due
        if self.queue.waiting:
            due = min(due, self.queue.due(self._last))
        return min(due, self.streams.due(self._last))

    def _step(self, now: Ns) -> None:
        self._last = max(self._last, now)
        now = self._last
        if self.engine is not None and self.engine.due <= now:
            self._turn(Tick(now))
        elif self.calls.due <= now:
            for settled in self.calls.expired(now):
                self._ended(settled, now)
        elif self.queue.waiting and self.queue.due(now) <= now:
            for item in self.queue.expired(now):
                if isinstance(item, Mutation):
                    self._turn(Stale(now, item))
            self._release(now)
        elif self.silence.check(now):
            self._went_silent(now)
        elif self._probe <= now:
            self._look_for_addon(now)
        else:
            self._stream(now)

    def _went_silent(self, now: Ns) -> None:
        first = self.health.silences == 0 or not self._told.get("silent")
        self.health.silences += 1
        since = self.silence.since or now
        text = f"no quote for {(now - since) // SECOND_NS} s"
        if first or now - since <= 2 * SILENCE:
            self._notice(now, "silent", f"{text}: quotes are stale; dialling again")
        self._turn(Silent(now, text))
        self.redial = text

    def leap(self, now: Ns, by: Ns) -> None:
        """The clock jumped (the machine slept, or time was set): overdue timers run once, at ``now``."""
        self._note("leap", now, by=by)
        self._notice(now, "clock", f"the clock jumped by {by / SECOND_NS:+.1f} s")
        if self.engine is not None:
            self.engine.timers.leap(now)
        self._advance(now)

    def _done(self, now: Ns) -> None:
        if now > self._last:
            self._last = now
        engine = self.engine
        if self.is_running and engine is not None and len(engine.feeds.series) > len(self.streams.instruments):
            self.streams.want(list(engine.feeds.series))
            self.silence.expect(now)
            self._stream(now)
        self._advance(now)

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
        return not (unsettled(engine) or is_closing(engine) or engine.liaison.planner.is_busy or len(self.calls))

    def _stream(self, now: Ns) -> None:
        while (text := self.streams.pop(now)) is not None:
            self.out.append(Frame(text))
