"""The author's base class for strategies that are one numpy function."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from xtalgo.engine.series import Columns
from xtalgo.engine.strategy import Strategy, instrument_parameters
from xtalgo.model.errors import StrategyError
from xtalgo.model.events import Quote

__all__ = ["SignalStrategy"]


class SignalStrategy(Strategy):
    """A strategy that is one numpy function of the quotes of one instrument.

    ``signal(columns)`` gives, for each row, the target position after it (signed contracts; NaN: no change).
    ``lookback`` declares how many rows, itself included, one output row may depend on. Live, and here in replay,
    it is called at each quote on the last ``lookback`` rows and the last value counts; nothing is traded before
    there are that many. A signal can't read positions. Use the kernels of ``rolling`` (``from xtalgo import
    rolling``): they give the same bits on a window as on the whole column.
    """

    _columns: ClassVar[Columns]
    _target: ClassVar[int | None] = None
    _traded: ClassVar[str] = ""

    @property
    def lookback(self) -> int:
        """Rows that one output row may depend on."""
        raise StrategyError(f"{type(self).__name__} must say its lookback: the rows one output row may depend on")

    def signal(self, columns: Columns) -> NDArray[np.float64]:
        """Target position after each row, float64 of shape ``(len(columns),)``; NaN for no change."""
        raise StrategyError(f"{type(self).__name__} must define signal(columns)")

    def _prepare(self) -> None:
        names = instrument_parameters(type(self))
        if len(names) != 1 or not isinstance(getattr(self, names[0]), str):
            raise StrategyError(
                f"{type(self).__name__} must have exactly one parameter annotated Instrument, not {len(names)}"
            )
        traded = getattr(self, names[0])
        vars(self).update(_traded=traded, _columns=self._at_work.columns(traded, self.lookback))

    def on_quote(self, quote: Quote) -> None:
        """Compute the signal on the last rows and trade when its target changes."""
        columns = self._columns
        if quote.instrument != self._traded or not columns.full:
            return
        seat = self._seat
        seat.signalling = True
        try:
            targets = np.asarray(self.signal(columns))
        finally:
            seat.signalling = False
        if targets.shape != (len(columns),):
            raise StrategyError(
                f"signal gave an array of shape {targets.shape} for {len(columns)} rows; give one target per row"
            )
        value = float(targets[-1])
        if value != value:  # NaN: no change
            return
        target = int(value)
        if target != value:
            raise StrategyError(f"signal gave {value!r}; a target position is a whole number of contracts")
        if target != self._target:
            vars(self)["_target"] = target
            self.order_target(self._traded, target)
