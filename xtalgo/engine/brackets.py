"""Engine-owned exits: a stop loss and a take profit for what has been filled, never for more.

Each fill of a bracketed entry gets a pair of its own with a fresh OCO id, sized to that fill. A pair is only ever
shrunk by changes; where more is to be covered again, another pair is added. A quantity raised by a change could
race with a fill that we have not seen yet and leave an exit larger than its position; one that shrinks can't.
"""

from __future__ import annotations

from typing import Final, Protocol

from attrs import define, field, frozen

from xtalgo.engine.orders import Blotter, Order
from xtalgo.model.instruments import Contract
from xtalgo.model.types import SECOND_NS, Ns, OrderStatus, Role, Side, TimeInForce

__all__ = ["OCO_GRACE", "Exits", "ExitsHost", "Pair", "Plan"]

OCO_GRACE: Final[Ns] = 5 * SECOND_NS
"""How long the venue has to cancel the partner of an exit that was filled, before we do it."""


class ExitsHost(Protocol):
    """What the exits need done for them."""

    blotter: Blotter

    def submit(self, order: Order) -> None:
        """Queue an order that needs no gate."""

    def cancel(self, order: Order) -> None:
        """Cancel an open order."""

    def change(self, order: Order, *, quantity: int) -> None:
        """Change the total quantity of an open order."""

    def wanted_quantity(self, order: Order) -> int:
        """The total quantity of an order once everything asked for has happened."""


@frozen
class Plan:
    """What an entry was given to protect it: ticks from each fill's price (int), or a price (float)."""

    stop_loss: int | float | None
    take_profit: int | float | None

    def stop_price(self, contract: Contract, side: Side, price: float) -> float | None:
        """The stop for a fill of an entry on ``side`` at ``price``."""
        return _exit_price(contract, price, self.stop_loss, -side)

    def target_price(self, contract: Contract, side: Side, price: float) -> float | None:
        """The limit for a fill of an entry on ``side`` at ``price``."""
        return _exit_price(contract, price, self.take_profit, side)


def _exit_price(contract: Contract, price: float, spec: int | float | None, direction: int) -> float | None:
    if spec is None:
        return None
    if isinstance(spec, int):
        return contract.to_price(contract.to_ticks(price) + direction * spec)
    return contract.round(spec)


@define(eq=False)
class Pair:
    """Exits for ``covered`` contracts of one entry. ``reserved`` of them are about to be closed by another order."""

    entry: str
    side: Side
    """The side of the exits."""
    covered: int
    stop_price: float | None
    target_price: float | None
    reserved: int = 0
    stop: Order | None = None
    target: Order | None = None
    touched: Ns | None = None
    """When one of the exits was last filled: its partner is the venue's to cancel for a while."""

    @property
    def legs(self) -> list[Order]:
        """The exits that are open."""
        return [leg for leg in (self.stop, self.target) if leg is not None and leg.is_open]

    @property
    def exposure(self) -> int:
        """The most contracts that the exits can still fill, as far as the venue has confirmed."""
        return max((leg.quantity - leg.filled for leg in self.legs), default=0)


@define(eq=False)
class Exits:
    """All pairs of one strategy in one account and instrument."""

    _host: ExitsHost
    _owner: str
    _account: str
    _contract: Contract
    pairs: list[Pair] = field(factory=list)

    def covered(self) -> int:
        """Contracts that pairs protect."""
        return sum(pair.covered for pair in self.pairs)

    def open_orders(self) -> list[Order]:
        """All exits that are open."""
        return [leg for pair in self.pairs for leg in pair.legs]

    def cover(self, entry: Order, plan: Plan, quantity: int, price: float) -> None:
        """Protect a fill of ``quantity`` contracts at ``price``."""
        self.pairs.append(
            Pair(
                entry.id,
                entry.side.opposite,
                quantity,
                plan.stop_price(self._contract, entry.side, price),
                plan.target_price(self._contract, entry.side, price),
            )
        )

    def pair_of(self, order: Order) -> Pair | None:
        """The pair an exit belongs to."""
        return next((pair for pair in self.pairs if order is pair.stop or order is pair.target), None)

    def exit_filled(self, order: Order, quantity: int, now: Ns) -> None:
        """One of the exits was filled."""
        pair = self.pair_of(order)
        if pair is not None:
            pair.covered = max(0, pair.covered - quantity)
            pair.reserved = min(pair.reserved, pair.covered)
            pair.touched = now

    def shrunk(self, quantity: int) -> None:
        """The position shrank by another order: what was reserved first, then the oldest pairs."""
        for pair in self.pairs:
            taken = min(pair.reserved, quantity)
            pair.reserved -= taken
            pair.covered -= taken
            quantity -= taken
        for pair in self.pairs:
            taken = min(pair.covered, quantity)
            pair.covered -= taken
            pair.reserved = min(pair.reserved, pair.covered)
            quantity -= taken

    def trim(self, position: int) -> None:
        """Never cover more than the position that is left on the protected side."""
        for side in (Side.BUY, Side.SELL):
            pairs = [pair for pair in self.pairs if pair.side is side]
            excess = sum(pair.covered for pair in pairs) - max(0, -side * position)
            for pair in pairs:
                taken = min(pair.covered, max(0, excess))
                pair.covered -= taken
                pair.reserved = min(pair.reserved, pair.covered)
                excess -= taken

    def reserve(self, quantity: int | None) -> None:
        """Set aside what other orders are about to close, oldest first; None sets everything aside."""
        for pair in self.pairs:
            pair.reserved = pair.covered if quantity is None else min(pair.covered, quantity)
            if quantity is not None:
                quantity -= pair.reserved

    @property
    def has_made_room(self) -> bool:
        """Whether the venue has confirmed that no exit covers a reserved contract any more."""
        return all(pair.exposure <= pair.covered - pair.reserved for pair in self.pairs if pair.reserved)

    def reprice(
        self, entry: str, stop_price: float | None, target_price: float | None
    ) -> list[tuple[Order, str, float]]:
        """Move the exits of an entry; the orders to change, which price, and to what."""
        moves = []
        for pair in self.pairs:
            if pair.entry != entry:
                continue
            if stop_price is not None:
                pair.stop_price = stop_price
                if pair.stop is not None and pair.stop.is_open:
                    moves.append((pair.stop, "stop_price", stop_price))
            if target_price is not None:
                pair.target_price = target_price
                if pair.target is not None and pair.target.is_open:
                    moves.append((pair.target, "limit_price", target_price))
        return moves

    def sync(self, now: Ns) -> Ns | None:
        """Bring the orders in line with what is to be covered; when to look again, if at all."""
        again: list[Ns] = []
        for pair in list(self.pairs):
            wake = self._sync(pair, now)
            if wake is not None:
                again.append(wake)
        self.pairs = [pair for pair in self.pairs if pair.covered or pair.legs]
        return min(again, default=None)

    def _sync(self, pair: Pair, now: Ns) -> Ns | None:
        legs = pair.legs
        wanted = pair.covered - pair.reserved
        if not legs:
            if wanted:
                self._place(pair, wanted, now)
            return None
        if pair.touched is not None and now < pair.touched + OCO_GRACE:
            if len(legs) > 1:
                return pair.touched + OCO_GRACE
            if legs[0].filled == 0:
                # The filled leg is done and its partner is the venue's to cancel.
                return pair.touched + OCO_GRACE
        if not wanted:
            for leg in legs:
                self._host.cancel(leg)
            return None
        if any(leg.pending_cancel for leg in legs):
            return None
        if len(legs) < (pair.stop_price is not None) + (pair.target_price is not None):
            # A leg is gone. A stop that is being executed is left alone; anything else is renewed as a pair.
            if not (legs[0].role is Role.STOP_LOSS and legs[0].filled):
                self._host.cancel(legs[0])
            return None
        offered = max(self._host.wanted_quantity(leg) - leg.filled for leg in legs)
        if offered > wanted:
            for leg in legs:
                if self._host.wanted_quantity(leg) - leg.filled > wanted:
                    self._host.change(leg, quantity=leg.filled + wanted)
        elif pair.exposure < wanted:
            # Counted as the venue has confirmed it: a shrink still under way is not room for another pair yet.
            extra = Pair(pair.entry, pair.side, wanted - pair.exposure, pair.stop_price, pair.target_price)
            pair.covered -= extra.covered
            self.pairs.append(extra)
            self._place(extra, extra.covered, now)
        return None

    def _place(self, pair: Pair, quantity: int, now: Ns) -> None:
        oco = self._host.blotter.fresh_oco() if pair.stop_price is not None and pair.target_price is not None else None
        pair.touched = None
        pair.stop = pair.target = None
        if pair.stop_price is not None:
            pair.stop = self._leg(pair, Role.STOP_LOSS, quantity, oco, now)
        if pair.target_price is not None:
            pair.target = self._leg(pair, Role.TAKE_PROFIT, quantity, oco, now)

    def _leg(self, pair: Pair, role: Role, quantity: int, oco: str | None, now: Ns) -> Order:
        order = self._host.blotter.draft(
            now,
            self._owner,
            self._account,
            self._contract.name,
            pair.side,
            quantity,
            limit_price=pair.target_price if role is Role.TAKE_PROFIT else None,
            stop_price=pair.stop_price if role is Role.STOP_LOSS else None,
            tif=TimeInForce.GTC,
            oco=oco,
            role=role,
            parent=pair.entry,
        )
        self._host.submit(order)
        return order

    def is_broken(self, order: Order) -> bool:
        """Whether an exit was refused, so that the position it should protect must be closed."""
        return order.is_exit and order.status is OrderStatus.REJECTED
