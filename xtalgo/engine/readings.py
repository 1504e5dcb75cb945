"""What a strategy reads beside quotes and its own books: bars of either make, and figures of its accounts."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from attrs import define

from xtalgo.engine.arguments import nanoseconds
from xtalgo.engine.bars import Bars, Basis, Source
from xtalgo.engine.figures import LEAST
from xtalgo.engine.history import History
from xtalgo.model.commands import Figures
from xtalgo.model.errors import StrategyError
from xtalgo.model.events import AccountItems, Bar, Watermarks
from xtalgo.model.types import Ns

if TYPE_CHECKING:
    from xtalgo.engine.seat import Seat

__all__ = ["Readings"]


@define(eq=False)
class Readings:
    """One seat's bars and figures."""

    _seat: Seat

    def warm_up(self) -> None:
        """Before ``on_start``: note down the bars that the strategy wants to know by then."""
        seat = self._seat
        ordered = len(seat.engine.blotter.orders)
        wanted = seat.strategy.warm_up()
        example = f"History({seat.instruments[0] if seat.instruments else 'ES'!r}, '5m', 100)"
        if not isinstance(wanted, Iterable):
            raise StrategyError(f"warm_up() returns what is wanted, such as [{example}], not {wanted!r}")
        for history in wanted:
            if not isinstance(history, History):
                raise StrategyError(f"warm_up() returns {example} and the like, not {history!r}")
            seat.engine.history.want(seat.subscribe(history.instrument), history)
        if len(seat.engine.blotter.orders) > ordered:
            raise StrategyError("warm_up() only says what is wanted: nothing can be ordered before on_start()")

    def bars(self, instrument: str, period: str, basis: Basis, source: Source) -> Bars:
        """Bars from now on, made of quotes or by the venue."""
        engine, name = self._seat.engine, self._seat.subscribe(instrument)
        if source == "venue":
            if basis != "last":
                raise StrategyError(f"the venue's bars are made of trades, not of basis={basis!r}: leave basis out")
            return engine.history.bars(name, period, self.on_bar)
        if source != "quotes":
            raise StrategyError(f"{source!r} is no source of bars; choose 'quotes' or 'venue'")
        past = engine.history.past(name, period) if basis == "last" else ((), True)
        return engine.bars.bars(name, period, basis, self.on_bar, past)

    def on_bar(self, bar: Bar) -> None:
        """A bar is finished."""
        self._seat.strategy.on_bar(bar)  # whoever sits here by then

    def watch(self, about: Figures, every: float, account: str | None) -> None:
        """Ask for figures of an account now and then; where nobody can be asked, nothing is told."""
        span, where = nanoseconds(every), self._seat.account(account)
        if every < LEAST:
            raise StrategyError(f"every={every!r}: figures can be asked for every {LEAST:g} seconds at most")
        if self._seat.engine.liaison is not None:
            self._seat.engine.figures.watch(about, where, span, self.on_figures)

    def on_figures(self, told: AccountItems | Watermarks, asked: Ns) -> None:
        """Figures of an account came."""
        if isinstance(told, AccountItems):
            self._seat.strategy.on_account(told)
        else:
            self._seat.strategy.on_watermarks(told)
