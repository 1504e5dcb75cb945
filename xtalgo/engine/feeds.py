"""The instruments of an engine: their canonical names, their series, and who hears their quotes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from attrs import define, field

from xtalgo.engine.series import Series
from xtalgo.model.errors import StrategyError
from xtalgo.model.events import Quote
from xtalgo.model.instruments import Contract, ContractBook

__all__ = ["BARS", "STRATEGIES", "WATCHES", "Feeds"]

BARS: Final = 0
"""Rank of bar builders: books come first."""
WATCHES: Final = 1
"""Rank of the engine's own watches."""
STRATEGIES: Final = 2
"""Rank of the first strategy; the others follow in the order of their registration."""


@define(eq=False)
class Feeds:
    """Series by canonical name, made when an instrument is first asked for."""

    contracts: ContractBook
    pin: Callable[[str], str]
    make_series: Callable[[Contract], Series]
    series: dict[str, Series] = field(factory=dict)
    _names: dict[str, str] = field(factory=dict)
    _heard: dict[str, list[tuple[int, Callable[[Quote], None]]]] = field(factory=dict)

    def canonical(self, instrument: str) -> str:
        """The one canonical name that a spelling stands for here; ConfigError when there is none."""
        name = self._names.get(instrument)
        if name is None:
            if not isinstance(instrument, str):
                raise StrategyError(f"an instrument is named by a string such as 'ES 06-26', not {instrument!r}")
            name = self._names[instrument] = self.pin(instrument)
        return name

    def of(self, instrument: str) -> Series:
        """The series of an instrument in any spelling."""
        name = self.canonical(instrument)
        found = self.series.get(name)
        if found is None:
            found = self.series[name] = self.make_series(self.contracts.contract(name))
        return found

    def hear(self, instrument: str, listener: Callable[[Quote], None], rank: int) -> None:
        """Call ``listener`` at each quote, in order of rank; one listener is called once."""
        heard = self._heard.setdefault(instrument, [])
        if (rank, listener) not in heard:
            heard.append((rank, listener))
            self._tell(instrument)

    def leave(self, instrument: str, listener: Callable[[Quote], None], rank: int) -> None:
        """Stop calling ``listener``."""
        self._heard[instrument].remove((rank, listener))
        self._tell(instrument)

    def _tell(self, instrument: str) -> None:
        ranked = sorted(self._heard[instrument], key=lambda item: item[0])
        self.of(instrument).listen(listener for _, listener in ranked)
