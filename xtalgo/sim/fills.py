"""The assumptions of the simulated exchange: how orders fill, how late things happen, and what they cost."""

from __future__ import annotations

from typing import Literal, TypeAlias

from attrs import field, frozen

from xtalgo.model.errors import ConfigError
from xtalgo.model.instruments import Contract
from xtalgo.model.roots import DEFAULT_COMMISSION, ROOTS
from xtalgo.model.types import MILLISECOND_NS, Ns

__all__ = ["Fees", "FillModel", "Latency", "OcoRule", "StopTrigger"]

StopTrigger: TypeAlias = Literal["either", "last", "quote"]
OcoRule: TypeAlias = Literal["cancel", "reduce"]


def _not_negative(_instance: object, attribute: object, value: float | None) -> None:
    if value is not None and not value >= 0:
        raise ConfigError(f"{getattr(attribute, 'name', 'value')} must not be negative, got {value!r}")


@frozen(kw_only=True)
class FillModel:
    """How orders fill. Said aloud, since every backtest is only as true as these sentences:

    - An order fills only on a quote newer than the one it was born on: a later row, after entry latency.
    - A **market** order fills at the far side of the quote (buys at the ask, sells at the bid), made worse by
      ``slippage`` ticks.
    - A **limit** order that the quote already crosses when it comes to the exchange fills as a market order would,
      but never worse than its limit, and goes on doing so until a quote finds it resting. One that rests fills at its
      limit when the far side trades *through* it (ask below a buy limit, bid above a sell limit); with ``touch`` it
      is enough that the far side reaches it.
    - A **stop** is triggered when a new trade (``last``), or the far side, reaches it; ``stop_trigger`` can narrow
      that to ``last`` or ``quote``. It then fills on the same quote like a market order, slippage included; a
      **stop-limit** becomes a limit order at that moment. A stop that is on the wrong side of the market when it
      comes to the exchange is rejected, as NinjaTrader does.
    - Where the recording tells sizes, a quote fills at most the contracts shown on its far side, shared among our
      orders in the order of their arrival; the rest waits for a newer quote, which is taken to show fresh size.
    - Nothing fills on a crossed quote (ask below bid).
    - Orders that share an OCO id: a fill of one, whole or in part, cancels the others (``oco="cancel"``); with
      ``oco="reduce"`` a partial fill shrinks the others by as much. Which of the two NinjaTrader does is not
      documented where we could read it.
    - A DAY order ends with the session in which it came to the exchange (17:00 New York), GTC orders rest on.
    - Our own orders don't move the market, and there is no queue in front of us but the one that "through" implies.
    """

    slippage: int = field(default=1, validator=_not_negative)
    """Ticks by which market and stop orders fill worse than the quote."""
    touch: bool = False
    """Whether a resting limit order fills already when the far side reaches its price."""
    stop_trigger: StopTrigger = "either"
    """What triggers a stop: a new trade, the far side of the quote, or either."""
    oco: OcoRule = "cancel"
    """What a partial fill does to the others of an OCO group."""


@frozen(kw_only=True)
class Latency:
    """How late things happen, in nanoseconds.

    ``entry`` passes between sending a request and its arrival at the exchange; the reply to it (accepted, refused)
    is seen at that same moment. ``report`` passes between anything else that happens to an order (a fill, an
    expiry, a cancel that took effect) and our seeing it: fills of NinjaTrader accounts are not pushed, they are
    found by asking.
    """

    entry: Ns = field(default=250 * MILLISECOND_NS, validator=_not_negative)
    report: Ns = field(default=1_000 * MILLISECOND_NS, validator=_not_negative)


@frozen(kw_only=True)
class Fees:
    """Dollars per contract and side: ``commission`` for everything, or else an assumed all-in figure by root."""

    commission: float | None = field(default=None, validator=_not_negative)

    def per_contract(self, contract: Contract) -> float:
        """What one contract costs on one side."""
        if self.commission is not None:
            return self.commission
        facts = ROOTS.get(contract.root)
        return DEFAULT_COMMISSION if facts is None else facts.commission
