"""Orders and executions as a simulated venue keeps them."""

from __future__ import annotations

from attrs import define, field, frozen

from xtalgo.model.events import Fill
from xtalgo.model.instruments import Contract
from xtalgo.model.types import Ns, OrderType, Side, TimeInForce
from xtalgo.protocol.words import OrderState

__all__ = ["VenueExecution", "VenueOrder"]


@define(eq=False)
class VenueOrder:
    """An order as NinjaTrader keeps it. Prices in points, quantities in contracts."""

    id: str
    """What replies and rows call it."""
    key: str
    """What the exchange calls it: the id that the caller chose, or else ``id``."""
    account: str
    contract: Contract
    side: Side
    type: OrderType
    tif: TimeInForce
    oco: str | None
    placed: Ns
    quantity: int
    limit_price: float | None
    stop_price: float | None
    name: str = ""
    strategy: str | None = None
    """Id of the ATM strategy that it belongs to."""
    state: OrderState = OrderState.SUBMITTED
    states: list[tuple[Ns, OrderState]] = field(factory=list)
    """Every state it was in, and since when."""
    reason: str = ""
    """Why it was rejected or ended, in the exchange's words; not on the wire."""
    filled: int = 0
    ticks: int = 0
    """Price in ticks times contracts, over all its fills."""

    def enter(self, state: OrderState, now: Ns) -> None:
        """Go to a state."""
        self.state = state
        self.states.append((now, state))

    @property
    def since(self) -> Ns:
        """When it entered its state."""
        return self.states[-1][0]

    @property
    def average_price(self) -> float:
        """Mean price of its fills; 0 before the first, as NinjaTrader has it."""
        if not self.filled:
            return 0.0
        whole, rest = divmod(self.ticks, self.filled)
        return self.ticks / self.filled * self.contract.tick_size if rest else self.contract.to_price(whole)


@frozen(eq=False)
class VenueExecution:
    """One fill; ``position`` is the account's net after it, ``opens`` whether it made the position larger."""

    id: str
    fill: Fill
    order: VenueOrder
    position: int
    opens: bool
