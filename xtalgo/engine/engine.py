"""The engine: one event in, a list of commands out.

A turn: time moves to the event's (never back); the books take it in; callbacks run in the order in which the
strategies were registered; what they wished for goes through the risk gate; allowed commands are returned. If a
callback raises, the wishes of that turn are dropped whole. The same engine serves replay, paper and live: a driver
feeds it events in order, paces its commands, and calls ``handle(Tick(due))`` when ``due`` is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import chain
from typing import Any, cast

from attrs import fields

from xtalgo.engine.bars import BarMaker
from xtalgo.engine.blame import blame, culprit
from xtalgo.engine.daystate import DayState
from xtalgo.engine.dealings import READ, SAID, Dealings
from xtalgo.engine.desk import Desk
from xtalgo.engine.feeds import STRATEGIES, Feeds
from xtalgo.engine.figures import AccountFigures
from xtalgo.engine.groups import OrderGroup
from xtalgo.engine.guards import Guards
from xtalgo.engine.history import VenueBars
from xtalgo.engine.losses import DailyLoss
from xtalgo.engine.orders import Order
from xtalgo.engine.risk import RiskGate, RiskLimits, TradingState
from xtalgo.engine.seat import Note, Seat
from xtalgo.engine.series import BufferSeries, Series
from xtalgo.engine.snapshot import Snapshot
from xtalgo.engine.strategy import Strategy, instrument_parameters
from xtalgo.engine.watermarks import PeakOfDay
from xtalgo.model.commands import Command
from xtalgo.model.errors import ConfigError, StrategyError
from xtalgo.model.events import (
    AccountPnl,
    Appeared,
    CancelRefused,
    Changed,
    ChangeRefused,
    Event,
    External,
    Fill,
    LinkDown,
    LinkUp,
    OrderUpdate,
    Quote,
    Released,
    Silent,
    Stale,
)
from xtalgo.model.instruments import Contract, ContractBook
from xtalgo.model.types import Ns, Trigger

__all__ = ["Engine"]


class Engine(Dealings):
    """Holds the strategies, their books and their orders; pure, and driven from outside.

    ``pin`` turns any spelling of an instrument into the one canonical name it stands for here (ConfigError when
    there is none); ``make_series`` says where an instrument's past is kept. With ``asks`` the venue has to be asked
    what became of orders, as NinjaTrader has: queries are among the commands then, and nothing is sent before the
    link is up and every account is reconciled.
    """

    def __init__(
        self,
        strategies: Sequence[Strategy],
        *,
        contracts: ContractBook,
        pin: Callable[[str], str],
        accounts: Sequence[str] = ("Sim101",),
        limits: RiskLimits | None = None,
        make_series: Callable[[Contract], Series] = BufferSeries,
        run: str = "r",
        asks: bool = False,
    ) -> None:
        if not strategies:
            raise ConfigError("there is no strategy to run")
        if not accounts or len({name.casefold() for name in accounts}) != len(accounts):
            raise ConfigError(f"accounts must be one or more different names, not {list(accounts)!r}")
        super().__init__(Feeds(contracts, pin, make_series), run)
        self.notes: list[Note] = []
        self.bars = BarMaker(self.feeds, self._schedule, self._call)
        self.history, self.figures = VenueBars(self, self._call), AccountFigures(self, self._call)
        self._peaks = PeakOfDay()
        self.seats: dict[str, Seat] = {}
        self._losses = DailyLoss(self.seats.values(), self.feeds, self.timers, self._on_loss)
        self._watches_loss = limits is not None and limits.daily_loss is not None
        for strategy in strategies:
            name = self._seat_name(type(strategy).__name__)
            gate = RiskGate(limits or RiskLimits())
            hears = type(strategy).on_quote is not Strategy.on_quote
            self.seats[name] = Seat(self, strategy, name, tuple(accounts), gate, hears_quotes=hears)
        self._seated = list(self.seats.values())
        self._limits, self._accounts = limits or RiskLimits(), tuple(accounts)
        if self._limits.guards_accounts:
            self.guards = Guards(self, self._limits, self._accounts)
        self._started = self._is_seated = False
        self._buried: dict[str, Ns] = {}
        self.faults: list[tuple[str, Exception]] = []
        """Strategies that were quarantined, and what they raised."""
        if asks:
            self.liaison = self._make_liaison(tuple(accounts))
            self.barred = True
        self._handlers: dict[type, Callable[[Any], None]] = {
            Released: self._on_released,
            Stale: self._on_stale,
            OrderUpdate: self._on_update,
            Changed: self._on_changed,
            ChangeRefused: self._on_change_refused,
            CancelRefused: self._on_cancel_refused,
            Fill: self._on_fill,
            AccountPnl: self._on_pnl,
            LinkUp: self._on_link,
            LinkDown: self._on_link,
            Silent: self._on_silent,
            External: self._on_external,
            Appeared: self._on_appeared,
            **dict.fromkeys(SAID, self._on_said),
            **dict.fromkeys(READ, self._on_read),
        }

    def _seat_name(self, name: str) -> str:
        taken, number = name, 1
        while taken in self.seats:
            number += 1
            taken = f"{name}-{number}"
        return taken

    # --- for the driver ------------------------------------------------------------------------------------------

    def warm_up(self, now: Ns) -> list[Command]:
        """Seat the strategies, and ask for the bars that they want before they start: see ``is_warm``."""
        self.now = max(self.now, now)
        self._is_seated = True
        try:
            for seat in self.seats.values():
                try:
                    self._seat(seat)
                    seat.strategy._prepare()
                    seat.readings.warm_up()
                except StrategyError as error:
                    raise StrategyError(f"{seat.name}: {error}", file=error.file, line=error.line) from error
        except Exception as error:
            self._fail(error)
        self.history.warm_up()
        return self._settle()

    @property
    def is_warm(self) -> bool:
        """Whether the bars that were wanted before the start have come, or are not waited for any more."""
        return self.history.is_warm

    def start(self, now: Ns) -> list[Command]:
        """Run ``on_start``, the first turn, before any quote. ConfigError when bars are lacking that are required."""
        asked = [] if self._is_seated else self.warm_up(now)
        self.now = max(self.now, now)
        self._started = True
        self._losses.begin_day(now)
        if self.guards is not None:
            self.guards.begin()
        self.history.begin()
        if self.liaison is not None:
            self._watch_peaks(self._accounts)
        try:
            self._adopt()
            for seat in self.seats.values():
                seat.strategy.on_start()
        except Exception as error:
            self._fail(error)
        return asked + self._settle()

    def handle(self, event: Event) -> list[Command]:
        """One turn (for a ``Tick``, one for each timer due). Returns what is to be done at the venue, in order."""
        handler = self._handlers.get(type(event))
        if handler is None:
            if isinstance(event, Quote):
                self.feeds.of(event.instrument)
                return self.feed((event,))
            return self._tick(event.ts)
        if event.ts > self.now:
            self.now = event.ts
        if self._notices:
            self._deliver_notices()
        try:
            handler(event)
        except (Exception, SystemExit) as error:
            self._fail(error)
        return self._settle() if self._wishes or self._dirty or self._out else _NOTHING

    def feed(self, quotes: Iterable[Quote]) -> list[Command]:
        """Take quotes, one turn each, until one leaves something to be done; the rest stay in the iterator.

        This is ``handle`` for quotes without the calls in between: the loop below is all that happens at a quote
        that nobody acts on.
        """
        todo: Iterator[Quote] = iter(quotes)
        wishes, series = self._wishes, self.feeds.series
        if self._notices and (first := next(todo, None)) is not None:
            self.now = max(self.now, first.ts)
            self._deliver_notices()
            todo = chain((first,), todo)
        now = self.now
        try:
            for quote in todo:
                if quote.ts > now:
                    self.now = now = quote.ts
                heard = series[quote.instrument]
                heard.count += 1
                heard.quote = quote
                for listener in heard.listeners:
                    listener(quote)
                if wishes:
                    break
        except (Exception, SystemExit) as error:
            rest = heard.listeners[heard.listeners.index(listener) + 1 :]
            self._fail(error)
            for listener in rest:  # the others go on
                self._call(listener, quote)
        return self._settle() if wishes or self._dirty else _NOTHING

    def inherit_days(self, states: Iterable[DayState], *, resumed: bool = False) -> None:
        """Before ``start``: what is remembered of the accounts' trading days, so that a restart forgets nothing.

        From then on every account has a day to be remembered, whether or not a limit is set. ``resumed`` says that
        this engine got the orders and fills of the run that left these.
        """
        if self.guards is None:
            self.guards = Guards(self, self._limits, self._accounts)
            for seat in self._seated:
                seat.gate.guard()
        for state in states:
            self.guards.inherit(state, resumed=resumed)

    def day_states(self) -> tuple[DayState, ...]:
        """What is to be remembered of the accounts' trading days as of now; empty before ``start``."""
        return () if self.guards is None else self.guards.states()

    @property
    def due(self) -> Ns:
        """When time alone makes something happen: the next timer; NEVER when there is none."""
        return self.timers.due

    def decide(self, act: Callable[[], object], now: Ns) -> list[Command]:
        """A turn of somebody else's: carry out what the operator or the end of the run wants."""
        self.now = max(self.now, now)
        self.wish(act)
        return self._settle()

    def stop(self, now: Ns) -> None:
        """Run ``on_stop``; its orders are not sent."""
        self.now = max(self.now, now)
        for seat in self._seated:
            seat.check_parameters()
        self._deliver_notices()
        for seat in self._seated:
            self._call(seat.strategy.on_stop)
        self._wishes.clear()
        self.history.stop()
        self.figures.stop()
        for seat in self._seated:
            self._dismiss(seat)

    def snapshot(self) -> Snapshot:
        """What observers see."""
        orders = tuple(order.id for order in self.blotter.orders.values() if order.is_open)
        return Snapshot(self.now, self.ledger.views(), orders, dict(self.denials), tuple(self.blotter.anomalies))

    # --- turns ---------------------------------------------------------------------------------------------------

    def _tick(self, ts: Ns) -> list[Command]:
        commands: list[Command] = []
        while self.timers.due <= ts:
            self.now = max(self.now, self.timers.due)
            run = self.timers.pop(self.now)
            if run is None:
                continue
            self._deliver_notices()
            self._call(run)
            commands += self._settle()
        self.now = max(self.now, ts)
        return commands

    def _settle(self) -> list[Command]:
        """Carry out the wishes of the turn and bring every desk they touched in line."""
        if self._wishes:
            for seat in self._seated:
                seat.check_parameters()
            wishes = self._wishes[:]
            self._wishes.clear()
            for wish, desk in wishes:
                wish()
                if desk is not None:
                    self._dirty[id(desk)] = desk
        while self._dirty:
            desks = list(self._dirty.values())
            self._dirty.clear()
            for desk in desks:
                if self.barred and not self._may_act(desk.account):
                    self._held[id(desk)] = desk
                else:
                    desk.sync()
                    if self.guards is not None:
                        self.guards.look(desk)
        if self.groups.open:
            self.groups.look()
        commands, self._out = self._out, []
        return commands

    def _deliver_notices(self) -> None:
        if self._notices:
            notices, self._notices = self._notices, []
            for told in notices:
                self._call(self._tell, told)

    def _tell(self, told: Order | OrderGroup) -> None:
        if not self._started:  # what is found of an earlier life before that, on_start sees
            return
        if isinstance(told, OrderGroup):
            self.seats[told.owner].strategy.on_group(told)
            return
        self.seats[told.owner].strategy.on_order(told)
        if self.groups.open and (group := self.groups.heard(told)) is not None:
            self.seats[told.owner].strategy.on_group(group)

    def _call(self, callback: Callable[..., object], *arguments: object) -> None:
        """Call one of the authors' functions."""
        try:
            callback(*arguments)
        except (Exception, SystemExit) as error:
            self._fail(error)

    def _fail(self, error: Exception | SystemExit) -> None:
        """A callback raised: its wishes are dropped. Live its strategy is quarantined, in a replay the run ends."""
        if isinstance(error, SystemExit):
            # A strategy that ends the interpreter would take the others, and what it left open, with it.
            text = "it called sys.exit(); use halt() to stop trading"
            error = RuntimeError(text).with_traceback(error.__traceback__)
        seat = culprit(error, self._seated) if self.liaison is not None and self._started else None
        if seat is None:
            self._drop_wishes(None)
            raise blame(error, [seat.strategy for seat in self._seated]) from error
        told = blame(error, [seat.strategy])
        self._drop_wishes(seat)
        self.faults.append((seat.name, told))
        self._decide("quarantine", seat.name)
        self._dismiss(seat)
        seat.is_paused = False
        seat.gate.restrict(TradingState.REDUCING, "the strategy raised and is in quarantine")
        for desk in seat.desks.values():
            desk.cancel_entries()
            self._dirty[id(desk)] = desk

    def _dismiss(self, seat: Seat) -> None:
        """Call a strategy no more; what it has at the venue stays the engine's."""
        if seat.hears_quotes:
            for instrument in seat.instruments:
                self.feeds.leave(instrument, seat.strategy.on_quote, STRATEGIES + self._seated.index(seat))
        self.history.leave(seat.readings.on_bar)
        self.figures.leave(seat.readings.on_figures)
        seat.dismiss(Strategy())

    def _drop_wishes(self, seat: Seat | None) -> None:
        """Forget what a strategy wished for in this turn; None is all of them."""
        owned = {id(desk): desk for desk in (self._desks if seat is None else seat.desks).values()}
        self._wishes[:] = [wish for wish in self._wishes if seat is not None and id(wish[1]) not in owned]
        for desk in owned.values():
            for order in desk.orders:
                if desk.is_unjudged(order):
                    self.blotter.step(order, Trigger.DROP, self.now, reason="its callback raised")
            desk.orders = [order for order in desk.orders if order.is_open]

    # --- seating -----------------------------------------------------------------------------------------------

    def _seat(self, seat: Seat) -> None:
        strategy = seat.strategy
        for name in instrument_parameters(type(strategy)):
            value = getattr(strategy, name)
            if value is None:  # an optional instrument that was not given
                continue
            canonical = self.feeds.canonical
            pinned = canonical(value) if isinstance(value, str) else tuple(canonical(item) for item in value)
            setattr(strategy, name, pinned)
            for instrument in (pinned,) if isinstance(pinned, str) else pinned:
                seat.subscribe(instrument)
        seat.parameters = {item.name: getattr(strategy, item.name) for item in fields(cast(Any, type(strategy)))}
        strategy._seat = seat

    def seat_desk(self, seat: Seat, order: Order) -> Desk:
        """The desk of a seat that an order belongs to, opened on first use."""
        return seat.desk(order.instrument, order.account)

    def watch_losses(self, instrument: str) -> None:
        """A strategy opened a desk: if there is a daily loss to watch, watch it at this instrument's quotes."""
        if self._watches_loss:
            self._losses.watch(instrument)
        if self.guards is not None:
            self.guards.watch(instrument)

    def _on_loss(self, seat: Seat, account: str) -> None:
        self._decide("lock", seat.name, account)
        for (held_in, _), desk in seat.desks.items():
            if held_in == account:
                self.wish(desk.cancel_entries, desk)


_NOTHING: list[Command] = []
