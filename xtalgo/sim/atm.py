"""ATM strategies at a simulated venue: exits that the venue itself makes, sizes and ends, as NinjaTrader does.

An order placed with a template starts a running strategy. As its entry fills, each bracket of the template gets a stop
and a target under one OCO id, sized to what filled; a fill of one shrinks or ends the other. The strategy is over once
its entry is done and what it opened is closed, or when its instrument is flattened.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from attrs import define, field

from xtalgo.model.commands import ChangeOrder, PlaceOrder
from xtalgo.model.instruments import Contract
from xtalgo.model.types import Ns, OrderType, Side, TimeInForce
from xtalgo.protocol.words import OrderState
from xtalgo.sim.exits import Exits, place_exits
from xtalgo.sim.refusals import Refused
from xtalgo.sim.templates import AtmBracket, AtmTemplate
from xtalgo.sim.tickets import VenueOrder

if TYPE_CHECKING:
    from xtalgo.sim.venue import Venue

__all__ = ["AtmDesk", "AtmStrategy"]


@define(eq=False)
class _Bracket:
    """A bracket of a running strategy: ``allotted`` of the entry's contracts are its own."""

    terms: AtmBracket
    number: int
    allotted: int = 0
    exits: list[Exits] = field(factory=list)
    """All that were placed, the newest last."""

    @property
    def live(self) -> list[VenueOrder]:
        """Exits that may still trade."""
        return [order for exits in self.exits[-1:] for order in exits.orders if not order.state.is_done]


@define(eq=False)
class AtmStrategy:
    """A running strategy: one entry, and the exits that belong to it."""

    id: str
    """A decimal text (documented)."""
    template: AtmTemplate
    entry: VenueOrder
    brackets: list[_Bracket]
    is_over: bool = False
    _dealt: int = 0

    @property
    def account(self) -> str:
        """The account it trades in."""
        return self.entry.account

    @property
    def contract(self) -> Contract:
        """What it trades."""
        return self.entry.contract

    @property
    def side(self) -> Side:
        """The side of its entry."""
        return self.entry.side

    @property
    def exits(self) -> Iterator[VenueOrder]:
        """Every exit that it ever had."""
        return (order for bracket in self.brackets for exits in bracket.exits for order in exits.orders)

    @property
    def open(self) -> int:
        """Contracts that it opened and its exits have not closed."""
        return self.entry.filled - sum(order.filled for order in self.exits)

    def take_fresh(self) -> int:
        """Contracts of the entry that filled since this was last asked."""
        fresh, self._dealt = self.entry.filled - self._dealt, self.entry.filled
        return fresh

    def split(self, fresh: int) -> Iterator[tuple[_Bracket, int]]:
        """The brackets that so many further contracts go to, in the template's order."""
        for bracket in self.brackets:
            most = bracket.terms.quantity
            is_last = bracket is self.brackets[-1]
            part = fresh if most is None or is_last else min(fresh, most - bracket.allotted)
            if part > 0:
                bracket.allotted += part
                fresh -= part
                yield bracket, part


@define(eq=False)
class AtmDesk:
    """All strategies of a venue. The venue says ``note`` of what happens to orders, and ``settle`` after it."""

    venue: Venue
    templates: tuple[AtmTemplate, ...]
    noted: dict[str, AtmStrategy] = field(factory=dict)
    """Strategies that something happened to since ``settle``, by id."""
    _all: dict[str, AtmStrategy] = field(factory=dict)
    _is_settling: bool = False

    @property
    def running(self) -> list[AtmStrategy]:
        """The strategies that are not over, oldest first."""
        return [strategy for strategy in self._all.values() if not strategy.is_over]

    def find(self, account: str, strategy_id: str) -> AtmStrategy | None:
        """A running strategy of an account."""
        found = self._all.get(strategy_id)
        return None if found is None or found.is_over or found.account != account else found

    def template(self, name: str) -> AtmTemplate:
        """The template of that name, in any case. Raises Refused."""
        for template in self.templates:
            if template.name.casefold() == name.casefold():
                return template
        there = ", ".join(template.name for template in self.templates) or "none"
        raise Refused("Invalid request", f"strategy: no ATM template {name!r}; there are {there}")

    def enter(self, template: AtmTemplate, command: PlaceOrder, now: Ns, *, chosen: bool) -> VenueOrder:
        """Place an entry that starts a strategy. Raises Refused as ``Venue.place``."""
        strategy_id = self._new_id()
        order = self.venue.place(command, now, name="Entry", chosen=chosen, strategy=strategy_id)
        if order.strategy == strategy_id:
            brackets = [_Bracket(terms, number) for number, terms in enumerate(template.brackets, 1)]
            found = self._all[strategy_id] = AtmStrategy(strategy_id, template, order, brackets)
            self.noted[strategy_id] = found
            self.settle(now)
        return order

    def _new_id(self) -> str:
        number = len(self._all)
        while True:
            number += 1
            name = str(100_000_000 + int(self.venue.guid("strategy", number), 16) % 900_000_000)
            if name not in self._all:
                return name

    # --- what happens --------------------------------------------------------------------------------------------

    def note(self, order: VenueOrder) -> None:
        """Something happened to an order of a strategy."""
        if order.strategy in self._all:
            self.noted[order.strategy] = self._all[order.strategy]

    def note_flat(self, account: str, contract: Contract) -> None:
        """A position became flat, by whatever order."""
        for strategy in self.running:
            if strategy.account == account and strategy.contract == contract:
                self.noted[strategy.id] = strategy

    def settle(self, now: Ns) -> None:
        """Do what follows from what was noted, until nothing more does."""
        if self._is_settling:
            return
        self._is_settling = True
        try:
            while self.noted:
                strategy = self.noted.pop(next(iter(self.noted)))
                if not strategy.is_over:
                    self._tend(strategy, now)
        finally:
            self._is_settling = False

    def _tend(self, strategy: AtmStrategy, now: Ns) -> None:
        for bracket, quantity in strategy.split(strategy.take_fresh()):
            if not self._protect(strategy, bracket, quantity, now):
                self.close(strategy, now)
                return
        if strategy.entry.state.is_done and (strategy.open <= 0 or self._is_left(strategy)):
            self._end(strategy, now)

    def _is_left(self, strategy: AtmStrategy) -> bool:
        """Whether it has nothing more to do: no exits, and somebody else closed the position."""
        is_flat = not self.venue.book(strategy.account, strategy.contract).position
        return is_flat and not any(not order.state.is_done for order in strategy.exits)

    def _protect(self, strategy: AtmStrategy, bracket: _Bracket, quantity: int, now: Ns) -> bool:
        """Protect so many further contracts; False where a stop was rejected, and the position stands naked."""
        live = bracket.live
        for order in live:
            change = ChangeOrder(order.key, order.account, order.quantity + quantity)
            try:
                self.venue.change(order, change, now)
            except Refused:
                continue  # it is being cancelled by hand, and stays so
        if live or (bracket.exits and not any(o.state is OrderState.FILLED for o in bracket.exits[-1].orders)):
            return True  # exits that were taken away by hand are not put back
        contract, side, terms = strategy.contract, strategy.side, bracket.terms
        entry = contract.to_ticks(strategy.entry.average_price)
        stop = None if terms.stop is None else contract.to_price(entry - side * terms.stop)
        target = None if terms.target is None else contract.to_price(entry + side * terms.target)
        names = (f"Stop{bracket.number}", f"Target{bracket.number}")
        exits = place_exits(
            self.venue,
            strategy.account,
            contract,
            side.opposite,
            quantity,
            stop,
            target,
            now,
            names=names,
            strategy=strategy.id,
        )
        bracket.exits.append(exits)
        return exits.stop is None or exits.stop.state is not OrderState.REJECTED

    # --- the end -------------------------------------------------------------------------------------------------

    def close(self, strategy: AtmStrategy, now: Ns) -> None:
        """Cancel its orders, close at market what it opened and the account still holds, and end it."""
        opened = strategy.open
        self._end(strategy, now)
        held = self.venue.book(strategy.account, strategy.contract).position
        quantity = min(opened, held * strategy.side)
        if quantity > 0:
            command = PlaceOrder(
                self.venue.new_id(),
                strategy.account,
                strategy.contract.name,
                strategy.side.opposite,
                OrderType.MARKET,
                quantity,
                tif=TimeInForce.GTC,
            )
            self.venue.place(command, now, name="Close", chosen=False)

    def end(self, account: str, contract: Contract, now: Ns) -> None:
        """End all strategies of one account and instrument: it is being flattened or turned round."""
        for strategy in self.running:
            if strategy.account == account and strategy.contract == contract:
                self._end(strategy, now)

    def _end(self, strategy: AtmStrategy, now: Ns) -> None:
        strategy.is_over = True
        for order in (strategy.entry, *strategy.exits):
            self.venue.cancel(order, now, at_once=True)
