"""Checks and conversions of what strategies pass to their verbs. Everything wrong is a StrategyError that says so."""

from __future__ import annotations

import math
from typing import Any

from xtalgo.engine.brackets import Plan
from xtalgo.engine.desk import Desk
from xtalgo.model.errors import StrategyError
from xtalgo.model.instruments import Contract
from xtalgo.model.types import SECOND_NS, Ns, Side, TimeInForce

__all__ = [
    "limit_price_of",
    "nanoseconds",
    "plan_of",
    "stop_price_of",
    "target_of",
    "time_in_force",
    "whole",
]


def whole(what: str, value: Any) -> int:
    """A positive whole number; ``what`` names it in the error."""
    if isinstance(value, bool) or not isinstance(value, int):
        try:
            whole = int(value)
        except (TypeError, ValueError, OverflowError):
            whole = 0
        if isinstance(value, bool | str) or whole != value:
            raise StrategyError(f"{what} must be a positive whole number, not {value!r}")
        value = whole
    if value <= 0:
        raise StrategyError(f"{what} must be a positive whole number, not {value!r}")
    return int(value)


def target_of(value: Any) -> int:
    """A whole number of contracts, long or short."""
    if isinstance(value, bool | str) or not math.isfinite(value) or int(value) != value:
        raise StrategyError(f"a target position is a whole number of contracts, not {value!r}")
    return int(value)


def nanoseconds(seconds: float) -> Ns:
    """Seconds as nanoseconds, at least one."""
    if not (seconds > 0 and math.isfinite(seconds)):
        raise StrategyError(f"a timer needs a positive number of seconds, not {seconds!r}")
    return max(1, round(seconds * SECOND_NS))


def time_in_force(value: TimeInForce | str) -> TimeInForce:
    """DAY or GTC, in any case."""
    try:
        return TimeInForce(str(value).upper())
    except ValueError:
        raise StrategyError(f"time in force is DAY or GTC, not {value!r}") from None


def _price_of(what: str, value: float) -> float:
    """A positive finite price."""
    try:
        price = float(value)
    except (TypeError, ValueError):
        price = math.nan
    if not (price > 0 and math.isfinite(price)):
        raise StrategyError(f"{what} must be a positive price, not {value!r}")
    return price


def limit_price_of(contract: Contract, side: Side, price: float | None) -> float | None:
    """Off the tick grid a limit goes to the tick that is no worse than asked: down to buy, up to sell."""
    if price is None:
        return None
    exact = _price_of("limit_price", price)
    ticks = contract.to_ticks(exact)
    if side * (contract.to_price(ticks) - exact) > 1e-9 * exact:
        ticks -= side
    return contract.to_price(ticks)


def stop_price_of(contract: Contract, price: float | None) -> float | None:
    """Off the tick grid a stop goes to the nearest tick."""
    return None if price is None else contract.round(_price_of("stop_price", price))


def plan_of(
    desk: Desk, side: Side, stop_loss: int | float | None, take_profit: int | float | None, price: float | None
) -> Plan | None:
    """The exits of an entry on ``side`` at ``price`` (None: at the market); None when none are asked for."""
    if stop_loss is None and take_profit is None:
        return None
    quote = desk.series.quote
    near = price if price is not None else quote.mid if quote is not None else None
    return Plan(
        _exit("stop_loss", stop_loss, near, desk.contract, -side),
        _exit("take_profit", take_profit, near, desk.contract, side),
    )


def _exit(what: str, spec: Any, near: float | None, contract: Contract, direction: int) -> int | float | None:
    """Ticks stay an int, a price becomes a float; a price on the wrong side or far away is a mistake."""
    if spec is None:
        return None
    if not isinstance(spec, float):
        return whole(f"{what} in ticks", spec)
    price = _price_of(what, spec)
    if near is not None and not 0 < direction * (price - near) < near / 2:
        raise StrategyError(
            f"{what}={spec!r} is a price (a float) on the wrong side of, or far from, {near:g} for "
            f"{contract.name}; give ticks as an int, e.g. {what}={max(1, round(abs(spec)))}"
        )
    return price
