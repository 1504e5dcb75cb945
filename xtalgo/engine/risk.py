"""The risk gate: limits, trading states, and every reason for which an order is denied."""

from __future__ import annotations

import enum
from collections import deque
from typing import Final, Literal, TypeAlias, get_args

from attrs import Factory, define, field, frozen

from xtalgo.engine.hours import FlattenBy, TradingHours
from xtalgo.model.errors import ConfigError
from xtalgo.model.events import Quote
from xtalgo.model.instruments import Contract
from xtalgo.model.types import MINUTE_NS, Ns

__all__ = [
    "ACCOUNT_LIMITS",
    "Denial",
    "DenyReason",
    "DrawdownBasis",
    "Exposure",
    "RiskGate",
    "RiskLimits",
    "TradingState",
]

DrawdownBasis: TypeAlias = Literal["intraday", "eod"]
"""What a trailing drawdown is measured from: the peak of the day, or of the net liquidation at ends of days."""


class TradingState(enum.StrEnum):
    """What a strategy may do. No state removes a protective order, and none stops an order that only reduces."""

    ACTIVE = "active"
    REDUCING = "reducing"
    """Only orders that shrink a position pass; it ends with the trading day if a daily loss caused it."""
    HALTED = "halted"
    """As REDUCING, and standing targets are dropped; it lasts to the end of the run."""


class DenyReason(enum.StrEnum):
    """Why an order never left the house."""

    ORDER_SIZE = "order_size"
    """Its quantity is above ``max_order_quantity``."""
    POSITION = "position"
    """If everything open filled, the position would be above ``max_position``."""
    OPEN_ORDERS = "open_orders"
    """The strategy has ``max_open_orders`` open already."""
    ORDER_RATE = "order_rate"
    """The strategy sent ``max_orders_per_minute`` in the last minute."""
    PRICE_COLLAR = "price_collar"
    """Its price is more than ``price_collar`` ticks away from the quote, or there is no quote to compare with."""
    DAILY_LOSS = "daily_loss"
    """The day's loss reached ``daily_loss``; only reducing orders pass until the next trading day."""
    REDUCING = "reducing"
    """The strategy is in state REDUCING."""
    HALTED = "halted"
    """The strategy is in state HALTED, or there is a HALT file."""
    CLOSING = "closing"
    """The strategy is closing this position; it may trade the instrument again once that is done."""
    LINK_DOWN = "link_down"
    """The venue can't be reached. Closes and targets stand and go on once it can."""
    RECONCILING = "reconciling"
    """The account's orders, executions and positions are being asked for, after a start or a reconnect."""
    STALE_QUOTES = "stale_quotes"
    """No quote came for a while; only reducing orders pass until one does."""
    EXTERNAL = "external"
    """The account holds contracts in this instrument that are not this run's, and ``--external keep`` was not given."""
    IN_DOUBT = "in_doubt"
    """What became of an earlier order in this account and instrument is not known yet."""
    ACCOUNT_LOSS = "account_loss"
    """The day's loss of the account reached ``account_daily_loss``; all is closed, and locked until the next day."""
    DRAWDOWN = "drawdown"
    """The account fell by ``trailing_drawdown`` from its peak; all is closed, and locked until the next day."""
    CONTRACTS = "contracts"
    """The account could hold more than ``max_contracts``, over all strategies and instruments, if everything filled."""
    POSITIONS = "positions"
    """The account holds, or has orders for, ``max_positions`` other instruments."""
    TRADING_HOURS = "trading_hours"
    """It is outside ``trading_hours``."""
    FLATTEN_BY = "flatten_by"
    """``flatten_by`` has passed and the next session has not begun."""
    QUOTE_AGE = "quote_age"
    """The newest quote of the instrument is older than ``max_quote_age``, or there is none."""
    GROUP = "group"
    """Another order of its all-or-none group was denied, so none of them is sent."""
    BUDGET = "budget"
    """The request budget can't carry its all-or-none group within the group's time limit."""
    NAKED = "naked"
    """Never denies an order: a stop loss was missing for ``naked_after`` seconds, so its position is closed."""


def _limit(kind: type) -> object:
    def check(_instance: object, attribute: object, value: object) -> None:
        name = getattr(attribute, "name", "limit")
        whole = kind is int
        if value is None:
            return
        if isinstance(value, bool) or not isinstance(value, int if whole else (int, float)) or not value > 0:
            raise ConfigError(f"{name} must be a positive {'whole number' if whole else 'number'}, not {value!r}")

    return field(default=None, validator=check)


def _hours(value: TradingHours | str | None) -> TradingHours | None:
    return TradingHours.parse(value) if isinstance(value, str) else value


def _flatten_by(value: FlattenBy | str | None) -> FlattenBy | None:
    return FlattenBy.parse(value) if isinstance(value, str) else value


def _basis(_instance: object, _attribute: object, value: object) -> None:
    if value is not None and value not in get_args(DrawdownBasis):
        raise ConfigError(f"drawdown_basis must be one of {', '.join(get_args(DrawdownBasis))}, not {value!r}")


@frozen(kw_only=True)
class RiskLimits:
    """Limits of each strategy, and from ``account_daily_loss`` on of each account; None is no limit."""

    max_order_quantity: int | None = _limit(int)  # type: ignore[assignment]
    """Most contracts in one order."""
    max_position: int | None = _limit(int)  # type: ignore[assignment]
    """Most contracts long or short in one instrument and account, open orders counted as filled."""
    max_open_orders: int | None = _limit(int)  # type: ignore[assignment]
    """Most orders open at once (protective orders of the engine are not counted)."""
    max_orders_per_minute: int | None = _limit(int)  # type: ignore[assignment]
    """Most orders in any span of 60 seconds."""
    price_collar: int | None = _limit(int)  # type: ignore[assignment]
    """Most ticks that a limit or stop price may lie outside the quote."""
    daily_loss: float | None = _limit(float)  # type: ignore[assignment]
    """Dollars, open P&L and fees included, that a strategy may lose in an account in one trading day."""
    account_daily_loss: float | None = _limit(float)  # type: ignore[assignment]
    """Dollars, open P&L and fees included, that an account may lose in one trading day over all strategies."""
    trailing_drawdown: float | None = _limit(float)  # type: ignore[assignment]
    """Dollars that an account may fall below its peak."""
    drawdown_basis: DrawdownBasis | None = field(default=None, validator=_basis)
    """What ``trailing_drawdown`` is measured from; None is ``intraday``."""
    max_contracts: int | None = _limit(int)  # type: ignore[assignment]
    """Most contracts in an account, of all strategies and instruments together, open orders counted as filled.

    Long and short positions of two strategies don't cancel out: either may be closed at any time.
    """
    max_positions: int | None = _limit(int)  # type: ignore[assignment]
    """Most instruments that an account holds, or has orders for, at once."""
    trading_hours: TradingHours | None = field(default=None, converter=_hours)
    """Positions are opened only then; what rests to open one is cancelled at the end."""
    flatten_by: FlattenBy | None = field(default=None, converter=_flatten_by)
    """Everything is closed at this time, and nothing opened until the next session."""
    naked_after: float | None = _limit(float)  # type: ignore[assignment]
    """Seconds after which a position is closed whose declared stop loss is not working at the venue."""
    max_quote_age: float | None = _limit(float)  # type: ignore[assignment]
    """Seconds that the newest quote of an instrument may be old when a position is opened in it."""

    def __attrs_post_init__(self) -> None:
        if self.drawdown_basis is not None and self.trailing_drawdown is None:
            raise ConfigError("drawdown_basis says how trailing_drawdown is measured; set trailing_drawdown, too")

    @property
    def guards_accounts(self) -> bool:
        """Whether any limit of whole accounts is set."""
        return any(getattr(self, name) is not None for name in ACCOUNT_LIMITS)


ACCOUNT_LIMITS: Final = (
    "account_daily_loss",
    "trailing_drawdown",
    "max_contracts",
    "max_positions",
    "trading_hours",
    "flatten_by",
    "naked_after",
    "max_quote_age",
)
"""The limits that whole accounts are guarded by, in the order of ``RiskLimits``."""


@frozen
class Denial:
    """A reason and the facts behind it."""

    reason: DenyReason
    text: str


@frozen
class Breach:
    """A guard closed something; ``text`` is for people."""

    ts: Ns
    account: str
    reason: DenyReason
    text: str


@frozen
class Exposure:
    """What the gate must know of the position an order would change, in contracts.

    ``buys`` and ``sells`` are what is open on each side without the order itself. Protective orders of the engine are
    left out of them, since they never exceed what they protect; but an order that rests beside them, as a market order
    never does, may fill as well as they: ``exits`` is what they would close then.
    """

    position: int
    buys: int
    sells: int
    exits: int = 0

    def reduces(self, change: int) -> bool:
        """Whether a signed change only shrinks the position, even if everything open on its side fills first."""
        if change > 0:
            return self.position < 0 and change + self.buys <= -self.position
        return self.position > 0 and -change + self.sells <= self.position

    def worst(self, change: int) -> int:
        """The largest position that could come of it."""
        if change > 0:
            return self.position + self.buys + change + (self.exits if self.position < 0 else 0)
        return -(self.position - self.sells + change) + (self.exits if self.position > 0 else 0)

    def most(self, change: int = 0) -> int:
        """Most contracts, long or short, that are held on the way if all of it fills in the worst order."""
        long = self.position + self.buys + max(change, 0)
        short = self.sells - self.position + max(-change, 0)
        return max(abs(self.position), long, short)


@define(eq=False)
class RiskGate:
    """Decides for one strategy. Orders that only reduce always pass."""

    limits: RiskLimits = field(factory=RiskLimits)
    state: TradingState = field(init=False, default=TradingState.ACTIVE)
    cause: str = field(init=False, default="")
    is_open: bool = field(init=False, default=Factory(lambda self: self.limits == RiskLimits(), takes_self=True))
    """Whether everything passes: no limit is set and the state is ACTIVE (without a limit nothing is locked)."""
    _guarded: bool = field(init=False, default=False)
    _passed: deque[Ns] = field(factory=deque)
    _locked: set[str] = field(factory=set)

    def restrict(self, state: TradingState, cause: str) -> None:
        """Enter a state; ``cause`` is for people."""
        self.state, self.cause = state, cause
        self.is_open = state is TradingState.ACTIVE and not self._guarded and self.limits == RiskLimits()

    def guard(self) -> None:
        """The account is guarded: from now on no order passes unseen."""
        self._guarded, self.is_open = True, False

    def lock(self, account: str) -> None:
        """The day's loss of an account reached its limit."""
        self._locked.add(account)

    def is_locked(self, account: str) -> bool:
        """Whether the daily loss locked this account."""
        return account in self._locked

    def new_day(self) -> None:
        """A trading day begins: daily locks end."""
        self._locked.clear()

    def check(
        self,
        now: Ns,
        account: str,
        contract: Contract,
        change: int,
        prices: tuple[float | None, ...],
        exposure: Exposure,
        open_orders: int | None,
        quote: Quote | None,
        ahead: int = 0,
    ) -> Denial | None:
        """None to let an order of ``change`` signed contracts pass, or why not. Changes nothing.

        ``open_orders`` is how many the strategy has besides this one; None judges a change of an order that it has
        already, of which there can't be too many. ``ahead`` counts orders that will have passed before this one.
        """
        if exposure.reduces(change):
            return None
        if self.state is TradingState.HALTED:
            return Denial(DenyReason.HALTED, self.cause or "halted")
        if self.state is TradingState.REDUCING:
            return Denial(DenyReason.REDUCING, self.cause or "reducing")
        if account in self._locked:
            return Denial(DenyReason.DAILY_LOSS, f"the day's loss in {account} reached {self.limits.daily_loss}")
        limits = self.limits
        if limits.max_order_quantity is not None and abs(change) > limits.max_order_quantity:
            return Denial(DenyReason.ORDER_SIZE, f"{abs(change)} contracts, at most {limits.max_order_quantity}")
        if limits.max_position is not None and exposure.worst(change) > limits.max_position:
            text = f"{contract.name} could reach {exposure.worst(change)}, at most {limits.max_position}"
            return Denial(DenyReason.POSITION, text)
        if limits.max_open_orders is not None and open_orders is not None:
            opened = open_orders + ahead
            if opened >= limits.max_open_orders:
                return Denial(DenyReason.OPEN_ORDERS, f"{opened} open, at most {limits.max_open_orders}")
        if (denial := self.check_prices(contract, prices, quote)) is not None:
            return denial
        if limits.max_orders_per_minute is not None and open_orders is not None:
            while self._passed and self._passed[0] <= now - MINUTE_NS:
                self._passed.popleft()
            if (passed := len(self._passed) + ahead) >= limits.max_orders_per_minute:
                text = f"{passed} in the last minute, at most {limits.max_orders_per_minute}"
                return Denial(DenyReason.ORDER_RATE, text)
        return None

    def check_prices(self, contract: Contract, prices: tuple[float | None, ...], quote: Quote | None) -> Denial | None:
        """None when every price lies within the collar: all there is to ask of a change that adds no quantity."""
        if self.limits.price_collar is not None:
            for price in prices:
                if price is not None and (text := _outside(contract, price, quote, self.limits.price_collar)):
                    return Denial(DenyReason.PRICE_COLLAR, text)
        return None

    def passed(self, now: Ns) -> None:
        """An order went through; the order rate counts it."""
        if self.limits.max_orders_per_minute is not None:
            self._passed.append(now)


def _outside(contract: Contract, price: float, quote: Quote | None, collar: int) -> str:
    if quote is None:
        return f"{contract.name} has no quote to compare {price:g} with"
    ticks = contract.to_ticks(price)
    low, high = sorted((contract.to_ticks(quote.bid), contract.to_ticks(quote.ask)))
    away = max(low - ticks, ticks - high)
    if away <= collar:
        return ""
    return f"{price:g} is {away} ticks outside {quote.bid:g} x {quote.ask:g}, at most {collar}"
