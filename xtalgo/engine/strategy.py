"""The author's base class."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

import attrs
import numpy as np
from attrs import setters

from xtalgo.engine.bars import Bars, Basis, Source
from xtalgo.engine.groups import OrderGroup
from xtalgo.engine.history import History
from xtalgo.engine.orders import Order
from xtalgo.engine.seat import Seat
from xtalgo.engine.series import Window
from xtalgo.engine.timers import Timer
from xtalgo.model.commands import Figures
from xtalgo.model.errors import StrategyError
from xtalgo.model.events import (
    AccountItems,
    AccountPnl,
    Bar,
    External,
    Fill,
    LinkDown,
    LinkUp,
    Quote,
    Watermarks,
)
from xtalgo.model.instruments import Contract
from xtalgo.model.types import Instrument, Ns, Side, TimeInForce

__all__ = ["Strategy", "instrument_parameters"]

_MUTABLE = (list, dict, set, bytearray, np.ndarray)


@typing.dataclass_transform(kw_only_default=True, field_specifiers=(attrs.field,))
class Strategy:
    """Base of every strategy: annotate fields to make parameters, override the callbacks you need.

    ::

        class Fade(Strategy):
            instrument: Instrument = "ES"
            width: float = 2.0

            def on_start(self) -> None:
                self.past = self.window(self.instrument, 300)

            def on_quote(self, quote: Quote) -> None: ...

    Callbacks are plain functions: a decision is made from what is known now. Verbs act when the callback has
    returned; orders are live handles returned at once. A callback that raises has all its wishes dropped.
    Parameters annotated ``Instrument`` are made canonical before ``on_start``; the strategy gets quotes for these
    and for what it ``subscribe``s to, and nothing else. Every verb takes ``account=`` (default: the first account).
    """

    _seat: Seat
    _is_abstract: ClassVar[bool] = True

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Turn annotated fields into keyword parameters."""
        super().__init_subclass__(**kwargs)
        if "__init__" in cls.__dict__:
            raise StrategyError(
                f"{cls.__name__} defines __init__; declare parameters as annotated fields and set up in on_start()"
            )
        for name in inspect.get_annotations(cls):
            if isinstance(cls.__dict__.get(name), _MUTABLE):
                raise StrategyError(
                    f"{cls.__name__}.{name} has a mutable default shared by all instances; set it in on_start()"
                )
        inherited = {item.name for base in cls.__mro__[1:] if attrs.has(base) for item in attrs.fields(base)}
        for name in inherited & cls.__dict__.keys() - inspect.get_annotations(cls).keys():
            raise StrategyError(
                f"{cls.__name__}.{name} is a parameter of its base: annotate it to give it another default, "
                f"e.g. {name}: {type(cls.__dict__[name]).__name__} = {cls.__dict__[name]!r}"
            )
        cls._is_abstract = cls.__module__.startswith("xtalgo.engine.")
        attrs.define(cls, slots=False, kw_only=True, eq=False, auto_attribs=True, on_setattr=setters.NO_OP)

    # --- callbacks -----------------------------------------------------------------------------------------------

    def warm_up(self) -> Iterable[History]:
        """What it wants to know before it starts: ``[History(self.instrument, "5m", 100)]``.

        Called once, with its parameters set. When ``on_start`` runs, ``self.bars(self.instrument, "5m",
        source="venue")`` holds those finished bars of the venue's, and so do the first ``self.bars`` of that period
        that are made of quotes. A replay knows nothing before its recording but what ``--history`` gives it.
        """
        return ()

    def on_start(self) -> None:
        """Once, before the first quote."""

    def on_quote(self, quote: Quote) -> None:
        """At each quote of an instrument this strategy listens to."""

    def on_bar(self, bar: Bar) -> None:
        """At the end of each bar asked for with ``bars``; one of the venue's comes once it is known, after its end."""

    def on_fill(self, fill: Fill) -> None:
        """At each execution of one of its orders, engine-owned exits included."""

    def on_order(self, order: Order) -> None:
        """When the status of one of its orders has moved: working, denied, refused, filled, cancelled, expired."""

    def on_group(self, group: OrderGroup) -> None:
        """When each order of a group has been placed or is over, and when its accounts differ, or agree, after that."""

    def on_timer(self, tag: str) -> None:
        """When a timer runs."""

    def on_pnl(self, pnl: AccountPnl) -> None:
        """At each P&L report of one of its accounts."""

    def on_account(self, items: AccountItems) -> None:
        """What the venue keeps of an account, after ``watch_account``; never in a plain replay."""

    def on_watermarks(self, marks: Watermarks) -> None:
        """The highs of an account's day by the venue's record, after ``watch_watermarks``; never in a plain replay."""

    def on_link(self, link: LinkUp | LinkDown) -> None:
        """When the venue is reached or lost; never in replay."""

    def on_external(self, external: External) -> None:
        """When others moved a position in one of its accounts and instruments; ``taken`` is what its books gave up."""

    def on_stop(self) -> None:
        """Once, at the end; orders placed here are not sent."""

    # --- looking -------------------------------------------------------------------------------------------------

    @property
    def now(self) -> Ns:
        """The time of the current turn: the only clock a strategy has."""
        return self._at_work.engine.now

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts it may trade."""
        return self._at_work.accounts

    @property
    def account(self) -> str:
        """The account that verbs mean unless told otherwise."""
        return self._at_work.accounts[0]

    @property
    def _at_work(self) -> Seat:
        try:
            return self._seat
        except AttributeError:
            raise StrategyError(f"{type(self).__name__} is not running yet; use on_start()") from None

    def position(self, instrument: str, *, account: str | None = None) -> int:
        """Signed contracts in this strategy's own book, as far as fills have been seen."""
        return self._at_work.position(instrument, account)

    def account_position(self, instrument: str, *, account: str | None = None) -> int:
        """Signed contracts of the whole account, all strategies together."""
        return self._at_work.account_position(instrument, account)

    def quote(self, instrument: str) -> Quote | None:
        """The newest quote; None before the first."""
        return self._at_work.quote(instrument)

    def spec(self, instrument: str) -> Contract:
        """Tick size, point value and tick arithmetic of an instrument."""
        return self._at_work.spec(instrument)

    def window(self, instrument: str, size: int) -> Window:
        """The last ``size`` quotes from now on, as read-only numpy columns that move with time."""
        return self._at_work.window(instrument, size)

    def bars(self, instrument: str, period: str, *, basis: Basis = "last", source: Source = "quotes") -> Bars:
        """Session-aligned bars (``30s``, ``5m``, ``1h``, ``1d``) from now on; ``on_bar`` is called for each.

        They are made here of the quotes that come, or, with ``source="venue"``, by NinjaTrader of every trade: then
        highs and lows are exact, each bar is known a second or more after its end, and periods are minutes at least.
        """
        return self._at_work.readings.bars(instrument, period, basis, source)

    def watch_account(self, every: float = 60, *, account: str | None = None) -> None:
        """Ask for an account's items (cash, buying power, net liquidation) every so many seconds: ``on_account``."""
        self._at_work.readings.watch(Figures.ITEMS, every, account)

    def watch_watermarks(self, every: float = 60, *, account: str | None = None) -> None:
        """Ask for the highs of an account's trading day every so many seconds: ``on_watermarks``."""
        self._at_work.readings.watch(Figures.WATERMARKS, every, account)

    def subscribe(self, instrument: str) -> str:
        """Get quotes for one more instrument; returns its canonical name."""
        return self._at_work.subscribe(instrument)

    def orders(self, instrument: str | None = None, *, account: str | None = None) -> list[Order]:
        """This strategy's open orders, engine-owned exits included, oldest first."""
        return self._at_work.orders(instrument, account)

    # --- trading -------------------------------------------------------------------------------------------------

    def buy(
        self,
        instrument: str,
        quantity: int,
        *,
        limit_price: float | None = None,
        stop_price: float | None = None,
        tif: TimeInForce | str = TimeInForce.DAY,
        oco: str | None = None,
        stop_loss: int | float | None = None,
        take_profit: int | float | None = None,
        account: str | None = None,
    ) -> Order:
        """Buy: at the market, or with a limit price, a stop price or both; returns the live order.

        ``stop_loss`` and ``take_profit`` are whole ticks from each fill's price (int) or prices (float). They
        become exits that the engine owns: an OCO pair for what has been filled, good till cancelled. Limits off
        the tick grid are rounded to the tick that is no worse, stops to the nearest. Orders that share ``oco``
        cancel each other. A market order against a position that such exits protect waits until they made room.
        """
        return self._at_work.order(
            Side.BUY,
            instrument,
            quantity,
            limit_price=limit_price,
            stop_price=stop_price,
            tif=tif,
            oco=oco,
            stop_loss=stop_loss,
            take_profit=take_profit,
            account=account,
        )

    def sell(
        self,
        instrument: str,
        quantity: int,
        *,
        limit_price: float | None = None,
        stop_price: float | None = None,
        tif: TimeInForce | str = TimeInForce.DAY,
        oco: str | None = None,
        stop_loss: int | float | None = None,
        take_profit: int | float | None = None,
        account: str | None = None,
    ) -> Order:
        """Sell, to close or to go short; as ``buy``."""
        return self._at_work.order(
            Side.SELL,
            instrument,
            quantity,
            limit_price=limit_price,
            stop_price=stop_price,
            tif=tif,
            oco=oco,
            stop_loss=stop_loss,
            take_profit=take_profit,
            account=account,
        )

    def order_target(self, instrument: str, quantity: int, *, account: str | None = None) -> Order | None:
        """Bring the position to ``quantity`` signed contracts at the market.

        Nets the book and the market orders under way, and returns the order for the difference, or None when there
        is nothing to do; resting entries in the instrument are cancelled. The target stands: if its order is
        denied, goes stale or expires, it is tried again until it is met or replaced by another verb in the same
        instrument.
        """
        return self._at_work.order_target(instrument, quantity, account)

    def change(
        self,
        order: Order,
        *,
        quantity: int | None = None,
        limit_price: float | None = None,
        stop_price: float | None = None,
        stop_loss: int | float | None = None,
        take_profit: int | float | None = None,
    ) -> None:
        """Change an open order; with ``stop_loss`` or ``take_profit``, move the exits of a bracketed entry.

        ``quantity`` is the total, its filled part included. Ticks for exits count from the entry's average price.
        """
        self._at_work.change(
            order,
            quantity=quantity,
            limit_price=limit_price,
            stop_price=stop_price,
            stop_loss=stop_loss,
            take_profit=take_profit,
        )

    def cancel(self, order: Order) -> None:
        """Cancel an open order; nothing happens when it is done."""
        self._at_work.cancel(order)

    def cancel_all(self, instrument: str | None = None, *, account: str | None = None) -> None:
        """Cancel all open orders (in one instrument), engine-owned exits excepted; standing targets are dropped."""
        self._at_work.cancel_all(instrument, account)

    def close(self, instrument: str, *, account: str | None = None) -> None:
        """Cancel this strategy's orders in an instrument, exits included, then close its position at the market."""
        self._at_work.close(instrument, account)

    def flatten(self, *, account: str | None = None) -> None:
        """``close`` every instrument of this strategy in one account."""
        self._at_work.flatten(account)

    def halt(self, reason: str) -> None:
        """Open nothing more in this run: entries are cancelled, exits kept; only orders that reduce still pass."""
        self._at_work.halt(reason)

    # --- several accounts ----------------------------------------------------------------------------------------

    def buy_group(
        self,
        instrument: str,
        quantity: int | Mapping[str, int],
        *,
        accounts: Iterable[str] | None = None,
        limit_price: float | None = None,
        stop_price: float | None = None,
        tif: TimeInForce | str = TimeInForce.DAY,
        stop_loss: int | float | None = None,
        take_profit: int | float | None = None,
        within: float = 2.0,
        all_or_none: bool = False,
    ) -> OrderGroup:
        """Buy in several accounts (default: all) as one decision; returns the live group. Orders are as ``buy``'s.

        ``quantity`` is one for all, or one by account. What only reduces goes first, the largest position before the
        others; then what opens, the smallest resulting position first. What opens and has not left after ``within``
        seconds goes stale, in all accounts at the same moment. A denial in one account does not stop the others,
        unless ``all_or_none``: then, if the risk gate denies one or the request budget can't carry all in time, none
        is sent. Once something has left nothing is promised: a group never undoes anything, see ``on_group``.
        """
        return self._at_work.order_group(
            Side.BUY,
            instrument,
            quantity,
            accounts,
            limit_price=limit_price,
            stop_price=stop_price,
            tif=tif,
            stop_loss=stop_loss,
            take_profit=take_profit,
            within=within,
            all_or_none=all_or_none,
        )

    def sell_group(
        self,
        instrument: str,
        quantity: int | Mapping[str, int],
        *,
        accounts: Iterable[str] | None = None,
        limit_price: float | None = None,
        stop_price: float | None = None,
        tif: TimeInForce | str = TimeInForce.DAY,
        stop_loss: int | float | None = None,
        take_profit: int | float | None = None,
        within: float = 2.0,
        all_or_none: bool = False,
    ) -> OrderGroup:
        """Sell in several accounts, to close or to go short; as ``buy_group``."""
        return self._at_work.order_group(
            Side.SELL,
            instrument,
            quantity,
            accounts,
            limit_price=limit_price,
            stop_price=stop_price,
            tif=tif,
            stop_loss=stop_loss,
            take_profit=take_profit,
            within=within,
            all_or_none=all_or_none,
        )

    def target_group(
        self,
        instrument: str,
        quantity: int | Mapping[str, int],
        *,
        accounts: Iterable[str] | None = None,
        within: float = 2.0,
        all_or_none: bool = False,
    ) -> OrderGroup:
        """Bring the position to ``quantity`` signed contracts in several accounts (default: all) as one decision.

        Each account's order is what ``order_target`` would send, in the order and under the limits of ``buy_group``.
        What brings a position toward flat stands until it is met or replaced; what opens is tried once, since a late
        entry in one account is none that was decided.
        """
        return self._at_work.target_group(instrument, quantity, accounts, within=within, all_or_none=all_or_none)

    def close_group(self, instrument: str, *, accounts: Iterable[str] | None = None) -> OrderGroup:
        """``close`` an instrument in several accounts (default: all), largest position first; it never goes stale."""
        return self._at_work.close_group(instrument, accounts)

    # --- time and notes ------------------------------------------------------------------------------------------

    def after(self, seconds: float, tag: str = "") -> Timer:
        """``on_timer(tag)`` once, so many seconds from now; the handle can ``cancel()`` it."""
        return self._at_work.after(seconds, tag)

    def every(self, seconds: float, tag: str = "") -> Timer:
        """``on_timer(tag)`` at intervals, first so many seconds from now."""
        return self._at_work.every(seconds, tag)

    def at(self, time: str, tag: str = "", *, tz: str | None = None) -> Timer:
        """``on_timer(tag)`` each day at a time such as ``09:45`` (New York unless ``tz``), in trading hours only."""
        return self._at_work.at(time, tag, tz)

    def note(self, text: str, **facts: Any) -> None:
        """Write something down for people; it does not influence anything."""
        self._at_work.note(text, facts)

    def _prepare(self) -> None:
        """Set up what a base class needs, just before ``on_start``."""


def instrument_parameters(cls: type[Strategy]) -> list[str]:
    """Names of the parameters annotated ``Instrument``, or a tuple of them, in order of declaration."""
    hints = typing.get_type_hints(cls, include_extras=True)
    return [item.name for item in attrs.fields(typing.cast(Any, cls)) if _is_instrument(hints.get(item.name))]


def _is_instrument(hint: Any) -> bool:
    if hint == Instrument:
        return True
    return any(_is_instrument(inner) for inner in typing.get_args(hint) if inner is not Ellipsis)
