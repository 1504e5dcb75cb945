"""A strategy's seat in the engine: what its verbs do, on whose behalf, and in which state it may trade."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

from attrs import define, field, frozen

from xtalgo.engine.arguments import (
    limit_price_of,
    nanoseconds,
    plan_of,
    stop_price_of,
    target_of,
    time_in_force,
    whole,
)
from xtalgo.engine.brackets import Plan
from xtalgo.engine.desk import Desk
from xtalgo.engine.feeds import STRATEGIES
from xtalgo.engine.groups import OrderGroup
from xtalgo.engine.groupverbs import close_group, order_group, target_group
from xtalgo.engine.orders import Order
from xtalgo.engine.readings import Readings
from xtalgo.engine.risk import RiskGate, TradingState
from xtalgo.engine.series import Columns, Window
from xtalgo.engine.timers import Timer, daily, parse_time
from xtalgo.model.errors import StrategyError
from xtalgo.model.events import Quote
from xtalgo.model.instruments import Contract
from xtalgo.model.sessions import NEW_YORK
from xtalgo.model.types import Ns, Side, TimeInForce

if TYPE_CHECKING:
    from xtalgo.engine.engine import Engine
    from xtalgo.engine.strategy import Strategy

__all__ = ["Note", "Seat"]


@frozen
class Note:
    """Something a strategy wanted written down."""

    ts: Ns
    strategy: str
    text: str
    facts: dict[str, Any]


@define(eq=False)
class Seat:
    """One strategy in one engine. Verbs check their arguments at once and act at the end of the turn."""

    engine: Engine
    strategy: Strategy
    name: str
    accounts: tuple[str, ...]
    gate: RiskGate
    desks: dict[tuple[str, str], Desk] = field(factory=dict)
    instruments: list[str] = field(factory=list)
    """What it gets quotes for, in the order of asking."""
    baseline: dict[str, float] = field(factory=dict)
    """Net P&L by account when the trading day began, in dollars."""
    parameters: dict[str, Any] = field(factory=dict)
    _asked: dict[tuple[str, str | None], Desk] = field(factory=dict)
    """Desks by the arguments they were asked for with."""
    hears_quotes: bool = True
    """Whether the strategy has an ``on_quote`` of its own."""
    is_paused: bool = False
    """Whether others' hands moved a position of its, and nobody has resumed it since."""
    signalling: bool = False
    """Whether a signal is being computed, which must not look at positions."""
    readings: Readings = field(init=False)
    """Its bars, and the figures of its accounts."""

    def __attrs_post_init__(self) -> None:
        self.readings = Readings(self)

    def pause(self, cause: str) -> None:
        """Only what reduces passes, until somebody resumes it."""
        if self.gate.state is TradingState.ACTIVE:
            self.is_paused = True
            self.gate.restrict(TradingState.REDUCING, cause)

    def resume(self) -> None:
        """End a pause."""
        self.is_paused = False
        if self.gate.state is TradingState.REDUCING:
            self.gate.restrict(TradingState.ACTIVE, "")

    def dismiss(self, stand_in: Strategy) -> None:
        """Its strategy is not called any more."""
        self.strategy, self.parameters, self.hears_quotes = stand_in, {}, False

    # --- looking -------------------------------------------------------------------------------------------------

    def account(self, name: str | None) -> str:
        """The account a verb means; an unknown name is an error, never an empty account."""
        if name is None:
            return self.accounts[0]
        for known in self.accounts:
            if known.casefold() == name.casefold():
                return known
        raise StrategyError(f"{self.name} has no account {name!r}; it has {', '.join(self.accounts)}")

    def desk(self, instrument: str, account: str | None = None) -> Desk:
        """The desk for an instrument in any spelling."""
        found = self._asked.get((instrument, account))
        if found is None:
            where = self.account(account)
            name = self.engine.feeds.canonical(instrument)
            found = self.desks.get((where, name))
            if found is None:
                found = self.desks[where, name] = self.engine.open_desk(self.name, where, name, self.gate)
                self.engine.watch_losses(name)
            self._asked[instrument, account] = found
        return found

    def _look(self) -> None:
        if self.signalling:
            raise StrategyError("a signal speaks of quotes alone: it can't read positions or place orders")

    def position(self, instrument: str, account: str | None) -> int:
        """Signed contracts in this strategy's book."""
        self._look()
        return self.desk(instrument, account).book.position

    def account_position(self, instrument: str, account: str | None) -> int:
        """Signed contracts of the whole account."""
        self._look()
        return self.engine.ledger.account_position(self.account(account), self.engine.feeds.canonical(instrument))

    def quote(self, instrument: str) -> Quote | None:
        """The newest quote."""
        return self.engine.feeds.of(instrument).quote

    def spec(self, instrument: str) -> Contract:
        """Contract facts."""
        return self.engine.feeds.of(instrument).contract

    def window(self, instrument: str, size: int) -> Window:
        """A window on the quotes from now on."""
        return Window(self._heard(instrument), whole("window size", size))

    def columns(self, instrument: str, size: int) -> Columns:
        """What a signal reads."""
        return Columns(self._heard(instrument), whole("lookback", size))

    def _heard(self, instrument: str) -> Any:
        self.subscribe(instrument)
        return self.engine.feeds.of(instrument)

    def subscribe(self, instrument: str) -> str:
        """Get quotes for an instrument too; its canonical name."""
        name = self.engine.feeds.canonical(instrument)
        if name not in self.instruments:
            self.instruments.append(name)
            feeds = self.engine.feeds
            feeds.of(name)
            if self.hears_quotes:
                feeds.hear(name, self.strategy.on_quote, STRATEGIES + list(self.engine.seats).index(self.name))
        return name

    def orders(self, instrument: str | None, account: str | None) -> list[Order]:
        """Open orders, engine-owned exits included, in the order of their making."""
        where = self.account(account)
        name = None if instrument is None else self.engine.feeds.canonical(instrument)
        found = [
            order
            for (held_in, held), desk in self.desks.items()
            if held_in == where and name in (None, held)
            for order in (*desk.orders, *desk.exits.open_orders())
            if order.is_open
        ]
        return sorted(found, key=lambda order: int(order.id.rpartition("-")[2]))

    # --- trading -------------------------------------------------------------------------------------------------

    def order(
        self,
        side: Side,
        instrument: str,
        quantity: int,
        *,
        limit_price: float | None,
        stop_price: float | None,
        tif: TimeInForce | str,
        oco: str | None,
        stop_loss: int | float | None,
        take_profit: int | float | None,
        account: str | None,
    ) -> Order:
        """Make a draft and let the end of the turn decide."""
        self._look()
        desk = self.desk(instrument, account)
        order = self.draft(
            desk,
            side,
            quantity,
            limit_price=limit_price,
            stop_price=stop_price,
            tif=tif,
            oco=oco,
            stop_loss=stop_loss,
            take_profit=take_profit,
        )

        def act() -> None:
            desk.goal = None
            desk.place(order)

        self._wish(desk, act)
        return order

    def draft(
        self,
        desk: Desk,
        side: Side,
        quantity: int,
        *,
        limit_price: float | None,
        stop_price: float | None,
        tif: TimeInForce | str,
        oco: str | None,
        stop_loss: int | float | None,
        take_profit: int | float | None,
    ) -> Order:
        """An order of checked arguments that nothing has been decided about."""
        quantity = whole("quantity", quantity)
        contract = desk.contract
        plan = plan_of(desk, side, stop_loss, take_profit, limit_price or stop_price)
        order = desk.draft(
            side,
            quantity,
            limit_price=limit_price_of(contract, side, limit_price),
            stop_price=stop_price_of(contract, stop_price),
            tif=time_in_force(tif),
            oco=oco,
        )
        if plan is not None:
            desk.plans[order.id] = plan
        return order

    def order_target(self, instrument: str, quantity: int, account: str | None) -> Order | None:
        """Draft what is missing to a position, which then stands as a goal."""
        self._look()
        target = quantity if type(quantity) is int else target_of(quantity)
        desk = self.desk(instrument, account)
        if desk.goal == target and not desk.closing and not desk.once:
            return None
        delta = target - desk.book.position - desk.under_way()
        order = desk.draft(Side.BUY if delta > 0 else Side.SELL, abs(delta)) if delta else None
        self._wish(desk, partial(desk.target, target, order))
        return order

    def change(
        self,
        order: Order,
        *,
        quantity: int | None,
        limit_price: float | None,
        stop_price: float | None,
        stop_loss: int | float | None,
        take_profit: int | float | None,
    ) -> None:
        """Change an order of this strategy, or the exits that protect what it has filled."""
        desk = self._own(order)
        contract = desk.contract
        if stop_loss is not None or take_profit is not None:
            self._change_exits(desk, order, stop_loss, take_profit)
        if quantity is None and limit_price is None and stop_price is None:
            return
        if quantity is not None:
            quantity = whole("quantity", quantity)
            if order.is_exit:
                raise StrategyError(f"order {order.id} is sized by the engine to the position it protects")
        if limit_price is not None and order.limit_price is None:
            raise StrategyError(f"order {order.id} is a {order.type} order and has no limit price")
        if stop_price is not None and order.stop_price is None:
            raise StrategyError(f"order {order.id} is a {order.type} order and has no stop price")
        limit = limit_price_of(contract, order.side, limit_price)
        stop = stop_price_of(contract, stop_price)

        def act() -> None:
            if self.engine.gate_change(desk, order, quantity, limit, stop) is not None:
                return
            pair = desk.exits.pair_of(order)
            if pair is not None:
                pair.stop_price = stop if stop is not None else pair.stop_price
                pair.target_price = limit if limit is not None else pair.target_price
            self.engine.amendments.change(order, quantity=quantity, limit_price=limit, stop_price=stop, insist=True)

        self._wish(desk, act)

    def _change_exits(
        self, desk: Desk, entry: Order, stop_loss: int | float | None, take_profit: int | float | None
    ) -> None:
        plan = desk.plans.get(entry.id)
        if plan is None or entry.is_exit:
            raise StrategyError(f"order {entry.id} was placed without a bracket")
        given = (("stop_loss", stop_loss, plan.stop_loss), ("take_profit", take_profit, plan.take_profit))
        for name, value, planned in given:
            if value is not None and planned is None:
                raise StrategyError(f"order {entry.id} was placed without {name}=")
        price = entry.average_price
        # A stop may be moved into profit: what matters is the side of the market, not of the entry.
        fresh = plan_of(desk, entry.side, stop_loss, take_profit, None if price is not None else entry.limit_price)
        assert fresh is not None
        kept = Plan(
            plan.stop_loss if stop_loss is None else fresh.stop_loss,
            plan.take_profit if take_profit is None else fresh.take_profit,
        )

        def act() -> None:
            desk.plans[entry.id] = kept
            if price is None:
                return
            stop = None if stop_loss is None else kept.stop_price(desk.contract, entry.side, price)
            target = None if take_profit is None else kept.target_price(desk.contract, entry.side, price)
            for leg, which, value in desk.exits.reprice(entry.id, stop, target):
                if which == "stop_price":
                    self.engine.amendments.change(leg, stop_price=value, insist=True)
                else:
                    self.engine.amendments.change(leg, limit_price=value, insist=True)

        self._wish(desk, act)

    def cancel(self, order: Order) -> None:
        """Cancel an order of this strategy."""
        desk = self._own(order)
        if order.is_exit:
            raise StrategyError(
                f"order {order.id} protects a position and is the engine's: move it with change(), or close()"
            )
        self._wish(desk, lambda: self.engine.amendments.cancel(order, insist=True))

    def cancel_all(self, instrument: str | None, account: str | None) -> None:
        """Cancel every open order but engine-owned exits, and drop standing targets."""
        where = self.account(account)
        name = None if instrument is None else self.engine.feeds.canonical(instrument)
        for (held_in, held), desk in list(self.desks.items()):
            if held_in == where and name in (None, held):
                # What is open now: an order placed after this, in the same callback, is not meant.
                self._wish(desk, partial(_cancel_all, self.engine, desk, list(desk.orders)))

    def close(self, instrument: str, account: str | None) -> None:
        """Cancel everything in an instrument and close this strategy's position in it."""
        self._look()
        desk = self.desk(instrument, account)
        self._wish(desk, desk.close)

    def flatten(self, account: str | None) -> None:
        """Close every instrument of this strategy."""
        self._look()
        where = self.account(account)
        for (held_in, _), desk in list(self.desks.items()):
            if held_in == where:
                self._wish(desk, desk.close)

    def halt(self, reason: str) -> None:
        """Open nothing more in this run: entries are cancelled, targets dropped, exits kept."""

        def act() -> None:
            self.gate.restrict(TradingState.HALTED, reason)
            for desk in self.desks.values():
                desk.cancel_entries()
                self.engine.touch(desk)

        self.engine.wish(act)

    def _own(self, order: Order) -> Desk:
        self._look()
        if order.owner != self.name:
            raise StrategyError(f"order {order.id} belongs to {order.owner}, not to {self.name}")
        return self.desk(order.instrument, order.account)

    def _wish(self, desk: Desk, act: Callable[[], object]) -> None:
        self.engine.wish(act, desk)

    # --- several accounts ----------------------------------------------------------------------------------------

    def order_group(
        self,
        side: Side,
        instrument: str,
        quantity: int | Mapping[str, int],
        accounts: Iterable[str] | None,
        *,
        within: float,
        all_or_none: bool,
        **how: Any,
    ) -> OrderGroup:
        """An order in each of several accounts, as one decision."""
        self._look()
        return order_group(self, side, instrument, quantity, accounts, within=within, all_or_none=all_or_none, **how)

    def target_group(
        self,
        instrument: str,
        quantity: int | Mapping[str, int],
        accounts: Iterable[str] | None,
        *,
        within: float,
        all_or_none: bool,
    ) -> OrderGroup:
        """A position in each of several accounts, as one decision."""
        self._look()
        return target_group(self, instrument, quantity, accounts, within=within, all_or_none=all_or_none)

    def close_group(self, instrument: str, accounts: Iterable[str] | None) -> OrderGroup:
        """A close in each of several accounts, as one decision."""
        self._look()
        return close_group(self, instrument, accounts)

    # --- time and notes ------------------------------------------------------------------------------------------

    def after(self, seconds: float, tag: str) -> Timer:
        """Once, this much later."""
        return self._timer(self.engine.now + nanoseconds(seconds), tag, None)

    def every(self, seconds: float, tag: str) -> Timer:
        """Again and again, first this much later."""
        span = nanoseconds(seconds)
        return self._timer(self.engine.now + span, tag, lambda due: due + span)

    def at(self, time: str, tag: str, zone: str | None) -> Timer:
        """At a time of day, whenever the market is in session then."""
        clock, where = parse_time(time), zone or NEW_YORK
        try:
            first = daily(self.engine.now, clock, where)
        except (KeyError, ValueError, OSError):
            raise StrategyError(f"{where!r} is not a time zone; use an IANA name such as {NEW_YORK!r}") from None
        return self._timer(first, tag, lambda due: daily(due, clock, where))

    def _timer(self, due: Ns, tag: str, again: Callable[[Ns], Ns] | None) -> Timer:
        timer = Timer(due, tag, lambda: self.strategy.on_timer(tag), again)
        self.engine.wish(lambda: self.engine.timers.add(timer))
        return timer

    def note(self, text: str, facts: dict[str, Any]) -> None:
        """Write something down."""
        self.engine.notes.append(Note(self.engine.now, self.name, text, facts))

    def check_parameters(self) -> None:
        """Parameters are fixed once ``on_start`` begins; StrategyError names one that was set."""
        for name, value in self.parameters.items():
            if getattr(self.strategy, name) is not value:
                raise StrategyError(f"{self.name}.{name} is a parameter and fixed for the run; keep state elsewhere")


def _cancel_all(engine: Engine, desk: Desk, orders: list[Order]) -> None:
    desk.goal = None
    for order in orders:
        engine.amendments.cancel(order, insist=True)
