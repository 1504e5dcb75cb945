"""A stop and a target of one position, under one OCO id: what brackets and ATM strategies place."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import frozen

from xtalgo.model.commands import PlaceOrder
from xtalgo.model.instruments import Contract
from xtalgo.model.types import Ns, OrderType, Side, TimeInForce
from xtalgo.sim.tickets import VenueOrder

if TYPE_CHECKING:
    from xtalgo.sim.venue import Venue

__all__ = ["Exits", "place_exits"]


@frozen(eq=False)
class Exits:
    """One stop-market order, one limit order, or both; ``oco`` is what they share."""

    oco: str
    stop: VenueOrder | None
    target: VenueOrder | None

    @property
    def orders(self) -> tuple[VenueOrder, ...]:
        """Those that there are."""
        return tuple(order for order in (self.stop, self.target) if order is not None)


def place_exits(
    venue: Venue,
    account: str,
    contract: Contract,
    side: Side,
    quantity: int,
    stop: float | None,
    target: float | None,
    now: Ns,
    *,
    names: tuple[str, str] = ("Stop loss", "Profit target"),
    strategy: str | None = None,
) -> Exits:
    """Place exits at these prices, good till cancelled, under a fresh OCO id: the stop first.

    Those of a ``strategy`` shrink together where one of them fills in part, whatever the fill model says of OCO.
    """
    oco = venue.guid("oco", len(venue.orders) + 1)
    if strategy is not None:
        venue.exchange.reducing.add(f"{account}/{oco}")

    def place(name: str, kind: OrderType, limit_price: float | None, stop_price: float | None) -> VenueOrder:
        command = PlaceOrder(
            venue.new_id(),
            account,
            contract.name,
            side,
            kind,
            quantity,
            limit_price=limit_price,
            stop_price=stop_price,
            tif=TimeInForce.GTC,
            oco=oco,
        )
        return venue.place(command, now, name=name, chosen=False, strategy=strategy)

    return Exits(
        oco,
        None if stop is None else place(names[0], OrderType.STOP_MARKET, None, stop),
        None if target is None else place(names[1], OrderType.LIMIT, target, None),
    )
