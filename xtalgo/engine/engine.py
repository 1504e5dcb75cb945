"""The engine: one event in, a list of commands out.

A turn: time moves to the event's (never back); the books take it in; callbacks run in the order in which the
strategies were registered; what they wished for goes through the risk gate; allowed commands are returned. If a
callback raises, the wishes of that turn are dropped whole. The same engine serves replay, paper and live: a driver
feeds it events in order, paces its commands, and calls ``handle(Tick(due))`` when ``due`` is reached.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from typing import Any, cast

import msgspec
from attrs import fields, frozen

from xtalgo.engine.bars import BarMaker
from xtalgo.engine.blame import blame, culprit
from xtalgo.engine.daystate import DayState
from xtalgo.engine.desk import Desk
from xtalgo.engine.feeds import STRATEGIES, Feeds
from xtalgo.engine.guards import Guards
from xtalgo.engine.ledger import PositionView
from xtalgo.engine.liaison import Liaison, Said
from xtalgo.engine.losses import DailyLoss
from xtalgo.engine.office import Office
from xtalgo.engine.orders import Anomaly, Order
from xtalgo.engine.others import Adjustment, OthersHands
from xtalgo.engine.polling import PollPlanner
from xtalgo.engine.reconcile import Evidence
from xtalgo.engine.risk import RiskGate, RiskLimits, TradingState
from xtalgo.engine.seat import Note, Seat
from xtalgo.engine.series import BufferSeries, Series
from xtalgo.engine.strategy import Strategy, instrument_parameters
from xtalgo.engine.timers import Timer
from xtalgo.model.commands import CancelOrder, Command, PlaceOrder, Query
from xtalgo.model.errors import ConfigError, StrategyError
from xtalgo.model.events import (
    AccountPnl,
    Answered,
    Appeared,
    CancelRefused,
    Changed,
    ChangeRefused,
    Doubtful,
    Event,
    ExecutionsSeen,
    External,
    Fill,
    LinkDown,
    LinkUp,
    NotSent,
    OrdersSeen,
    OrderUpdate,
    PositionsSeen,
    Quote,
    Refused,
    Released,
    Silent,
    Stale,
    Unanswered,
)
from xtalgo.model.instruments import Contract, ContractBook
from xtalgo.model.types import Ns, Trigger

__all__ = ["Engine", "Snapshot"]


@frozen
class Snapshot:
    """What observers see: frozen, and complete as of ``now``."""

    now: Ns
    positions: tuple[PositionView, ...]
    open_orders: tuple[str, ...]
    denials: Mapping[str, int]
    anomalies: tuple[Anomaly, ...]


class Engine(Office):
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
        self._started = False
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
            **dict.fromkeys(_SAID, self._on_said),
        }

    def _seat_name(self, name: str) -> str:
        taken, number = name, 1
        while taken in self.seats:
            number += 1
            taken = f"{name}-{number}"
        return taken

    # --- for the driver ------------------------------------------------------------------------------------------

    def start(self, now: Ns) -> list[Command]:
        """Seat the strategies and run ``on_start``, the first turn, before any quote."""
        self.now = max(self.now, now)
        self._started = True
        self._losses.begin_day(now)
        if self.guards is not None:
            self.guards.begin()
        try:
            for seat in self.seats.values():
                try:
                    self._seat(seat)
                    seat.strategy._prepare()
                except StrategyError as error:
                    raise StrategyError(f"{seat.name}: {error}", file=error.file, line=error.line) from error
            self._adopt()
            for seat in self.seats.values():
                seat.strategy.on_start()
        except Exception as error:
            self._fail(error)
        return self._settle()

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
        commands, self._out = self._out, []
        return commands

    def _deliver_notices(self) -> None:
        if self._notices:
            notices, self._notices = self._notices, []
            for order in notices:
                self._call(self._tell, order)

    def _tell(self, order: Order) -> None:
        if self._started:  # what is found of an earlier life before that, on_start sees
            self.seats[order.owner].strategy.on_order(order)

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

    # --- events --------------------------------------------------------------------------------------------------

    def _known(self, event: OrderUpdate | Changed | ChangeRefused | CancelRefused | Fill) -> Order | None:
        order = self.blotter.orders.get(event.order_id)
        if order is None:
            self.blotter.anomalies.append(
                Anomaly(self.now, event.order_id, f"{type(event).__name__} of no order of ours")
            )
        return order

    def _moved(self, order: Order, *, tell: bool = True) -> None:
        """An order's status may have moved: let its amendments, its desk and its strategy know."""
        if self.amendments.wishes:
            self.amendments.progressed(order)
        desk = self._desks[order.owner, order.account, order.instrument]
        desk.updated(order)
        self._dirty[id(desk)] = desk
        if tell:
            self._tell(order)

    def _on_released(self, event: Released) -> None:
        command = event.command
        if self.liaison is not None:
            self.liaison.released(command, self.now)
        if isinstance(command, Query):
            self.replan()
        elif isinstance(command, PlaceOrder):
            self.blotter.step(self.blotter.orders[command.order_id], Trigger.SEND, self.now)
        else:
            self.amendments.released(command)

    def _on_stale(self, event: Stale) -> None:
        if isinstance(event.command, PlaceOrder):
            order = self.blotter.orders[event.command.order_id]
            self.blotter.step(order, Trigger.STALE, self.now, reason="waited too long for a token; not sent")
            self._decide("stale", order.id)
            if self.liaison is not None:  # refused for the rate limit, and too old by the time it could go again
                self.liaison.evidence.forget(order.id)
            self._moved(order)

    def _on_update(self, event: OrderUpdate) -> None:
        order = self.blotter.orders.get(event.order_id) or self._known(event)
        if order is None:
            return
        if event.trigger is Trigger.ACCEPT:
            before = order.status
            if self.blotter.step(order, Trigger.ACCEPT, self.now) and order.status is not before:
                if self.amendments.wishes:
                    self.amendments.progressed(order)
                if self.guards is not None and order.is_exit:
                    self.guards.look(self._desk_of(order))
                self._tell(order)
        elif self.blotter.step(order, event.trigger, self.now, reason=event.reason):
            self._moved(order)

    def _on_changed(self, event: Changed) -> None:
        order = self._known(event)
        if order is not None:
            self.amendments.changed(order, event)
            self._moved(order)

    def _on_change_refused(self, event: ChangeRefused) -> None:
        order = self._known(event)
        if order is not None:
            self.amendments.change_refused(order)
            self.blotter.remark(order, f"change refused: {event.reason}")
            again = partial(self._change_again, order)
            self.timers.add(Timer(self.now + CANCEL_AGAIN, "", again, is_engines=True))
            self._moved(order)

    def _on_cancel_refused(self, event: CancelRefused) -> None:
        order = self._known(event)
        if order is not None:
            self.amendments.cancel_refused(order)
            self.timers.add(Timer(self.now + CANCEL_AGAIN, "", partial(self._cancel_again, order), is_engines=True))

    def _change_again(self, order: Order) -> None:
        self.amendments.may_change_again(order)
        self.touch(self._desk_of(order))

    def _cancel_again(self, order: Order) -> None:
        self.amendments.may_cancel_again(order)
        self.touch(self._desk_of(order))

    def _on_fill(self, event: Fill) -> None:
        order = self.blotter.orders.get(event.order_id) or self._known(event)
        if order is None or not self.blotter.book(order, event):
            return
        desk = self._desks[order.owner, order.account, order.instrument]
        before = desk.book.position
        desk.book.trade(event.side * event.quantity, desk.contract.to_ticks(event.price), event.fee)
        desk.filled(order, event, before)
        if self._watches_loss:
            self._losses.check(self.seats[order.owner], order.account)
        if self.guards is not None:
            self.guards.filled(desk)
        self._moved(order, tell=False)
        if self._started:
            self.seats[order.owner].strategy.on_fill(event)
        self._tell(order)

    def _on_pnl(self, event: AccountPnl) -> None:
        if self.liaison is not None and self.liaison.on_pnl(event):
            self.replan()
        if self.guards is not None:
            self.guards.told(event)
        if not self._started:
            return
        for seat in self.seats.values():
            if event.account in seat.accounts:
                self._call(seat.strategy.on_pnl, event)

    def _on_link(self, event: LinkUp | LinkDown) -> None:
        if self.liaison is not None:
            if isinstance(event, LinkUp):
                self.liaison.link_up(self.now)
            else:
                self.liaison.link_down(event.reason)
            self.replan()
            if self.guards is not None:
                self.guards.link_moved()
        if self._started:
            for seat in self.seats.values():
                self._call(seat.strategy.on_link, event)

    def _on_said(self, event: Said) -> None:
        if self.liaison is None:
            raise TypeError(f"{type(event).__name__} came to an engine that asks nothing")
        for finding in self.liaison.take(event):
            self._handlers[type(finding)](finding)
        self.heard()

    def _make_liaison(self, accounts: tuple[str, ...]) -> Liaison:
        evidence = Evidence(self.blotter, self.feeds.contracts)
        planner = PollPlanner(evidence, accounts)
        others = OthersHands(
            evidence,
            planner,
            self.ledger.account_position,
            lambda account: {name: None for where, name in self._desk_places() if where == account},
        )
        evidence.agrees = lambda order, mark: others.agreed.get((order.account, order.instrument), 0) > mark
        return Liaison(evidence, planner, accounts, others)

    def _desk_places(self) -> set[tuple[str, str]]:
        return {(account, instrument) for _, account, instrument in self._desks}

    def _on_external(self, event: External) -> None:
        """Others' hands: our books give up what was taken from them, oldest desk first, and entries pause."""
        assert self.liaison is not None
        taken = left = self.liaison.others.took(event.account, event.instrument, event.difference)
        told = msgspec.structs.replace(event, taken=taken)
        self._decide("external", event.account, event.instrument, event.difference, taken)
        for (owner, account, instrument), desk in self._desks.items():
            if (account, instrument) != (event.account, event.instrument):
                continue
            if left * desk.book.position < 0:
                given = min(abs(left), abs(desk.book.position)) * (1 if left > 0 else -1)
                left -= given
                ticks = desk.give_up(given)
                self._adjusted(owner, account, instrument, given, ticks)
                self._dirty[id(desk)] = desk
            seat = self.seats[owner]
            if taken:
                seat.pause(f"others' hands moved {instrument} in {account}")
            if self._started:
                self._call(seat.strategy.on_external, told)

    def _adopt(self) -> None:
        """What the venue holds beyond our books becomes that of the first strategy that trades it, if it shall."""
        if self.liaison is None or not self.liaison.others.adopts:
            return
        others = self.liaison.others
        for (account, instrument), quantity in list(others.offsets.items()):
            seat = next((seat for seat in self._seated if instrument in seat.instruments), None)
            if seat is None:
                continue
            price = others.prices.get((account, instrument))
            if price is None:
                raise ConfigError(
                    f"{account} holds {quantity:+d} {instrument}, and the venue does not tell at what average price: "
                    "it can't be adopted. Close it, or start with another --start-behavior"
                )
            desk = seat.desk(instrument, account)
            ticks = desk.contract.to_ticks(price)
            desk.book.trade(quantity, ticks)
            others.adopted(account, instrument)
            self._adjusted(seat.name, account, instrument, quantity, ticks)
            self._decide("adopt", seat.name, account, instrument, quantity, price)
        self.barred = self.liaison.bars

    def _adjusted(self, owner: str, account: str, instrument: str, change: int, ticks: int) -> None:
        assert self.liaison is not None
        made = Adjustment(owner, account, instrument, change, ticks, len(self.blotter.fills))
        self.liaison.others.adjustments.append(made)

    def _on_appeared(self, event: Appeared) -> None:
        """A tombstone that lives (R3): it is ours, it is cancelled, its fills are booked, and entries halt."""
        order = self.blotter.orders[event.order_id]
        if self.now < self._buried.get(order.id, 0):
            return
        self._buried[order.id] = self.now + CANCEL_AGAIN
        self.blotter.anomalies.append(Anomaly(self.now, order.id, "believed absent, and shown by the venue after all"))
        self._emit(CancelOrder(order.id, order.account))
        seat = self.seats[order.owner]
        if seat.gate.state is TradingState.ACTIVE:
            seat.gate.restrict(TradingState.REDUCING, f"order {order.id} was believed absent and appeared")

    def _on_silent(self, event: Silent) -> None:
        self.silence(event.reason)

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

_SAID: tuple[type[Said], ...] = (
    Answered,
    Refused,
    NotSent,
    Doubtful,
    OrdersSeen,
    ExecutionsSeen,
    PositionsSeen,
    Unanswered,
)

CANCEL_AGAIN: Ns = 5_000_000_000
"""After a refused cancel, evidence of how the order ended is given this long before the desk looks again."""
