"""The past of an instrument: recorded columns, live buffers, and the read-only windows that strategies see."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from itertools import repeat
from typing import Any, TypeAlias

import numpy as np
from attrs import define, field
from numpy.typing import ArrayLike, NDArray

from xtalgo.model.errors import DataError, StrategyError
from xtalgo.model.events import Quote
from xtalgo.model.instruments import Contract
from xtalgo.model.types import Ns

__all__ = ["BufferSeries", "Columns", "QuoteTable", "RecordedSeries", "Series", "Window"]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Sizes: TypeAlias = NDArray[np.int32]

UNKNOWN = -1
"""What integer columns hold where the feed told nothing; float columns hold NaN. Quotes show None for both."""


@define(eq=False)
class QuoteTable:
    """Quotes of one or more instruments, as columns of equal length, read-only.

    The columns are laid out instrument by instrument (``offsets[k] : offsets[k + 1]`` is ``instruments[k]``), each
    in order of time, so that one instrument's past is a plain slice. ``order`` lists the row numbers in the order
    in which the quotes happened, all instruments merged.

    ``ts`` is int64 nanoseconds UTC; ``bid``, ``ask``, ``last`` float64 points (NaN: not told, ``last`` only);
    ``volume`` int64 and the sizes int32 contracts (-1: not told).
    """

    instruments: tuple[str, ...]
    offsets: tuple[int, ...]
    ts: Ints
    bid: Floats
    ask: Floats
    last: Floats
    volume: Ints
    bid_size: Sizes
    ask_size: Sizes
    order: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.ts)

    @classmethod
    def from_rows(
        cls,
        instruments: Sequence[str],
        codes: ArrayLike,
        ts: ArrayLike,
        bid: ArrayLike,
        ask: ArrayLike,
        last: ArrayLike | None = None,
        volume: ArrayLike | None = None,
        bid_size: ArrayLike | None = None,
        ask_size: ArrayLike | None = None,
    ) -> QuoteTable:
        """A table from rows in the order in which they happened; ``codes`` index ``instruments``.

        Raises DataError when ``ts`` goes back, or when the columns do not fit together.
        """
        stamps = np.asarray(ts, dtype=np.int64)
        columns = {"codes": codes, "bid": bid, "ask": ask, "last": last, "volume": volume}
        columns |= {"bid_size": bid_size, "ask_size": ask_size}
        for name, column in columns.items():
            if column is not None and np.shape(column) != stamps.shape:
                raise DataError(f"column {name} has shape {np.shape(column)}, ts has {stamps.shape}")
        if len(stamps) > 1 and bool((np.diff(stamps) < 0).any()):
            row = int(np.argmax(np.diff(stamps) < 0)) + 1
            raise DataError(f"row {row}: time goes back")
        number = np.asarray(codes, dtype=np.int32)
        if len(number) and not 0 <= number.min() <= number.max() < len(instruments):
            raise DataError(f"codes must be from 0 to {len(instruments) - 1}")
        rows = np.argsort(number, kind="stable").astype(np.int32)
        order = np.empty(len(rows), dtype=np.int32)
        order[rows] = np.arange(len(rows), dtype=np.int32)
        counts = np.bincount(number, minlength=len(instruments))

        def floats(column: ArrayLike | None) -> Floats:
            if column is None:
                return _locked(np.full(len(rows), np.nan))
            return _locked(np.asarray(column, dtype=np.float64)[rows])

        def sizes(column: ArrayLike | None) -> Sizes:
            if column is None:
                return _locked(np.full(len(rows), UNKNOWN, dtype=np.int32))
            return _locked(np.asarray(column, dtype=np.int32)[rows])

        volumes = np.full(len(rows), UNKNOWN) if volume is None else np.asarray(volume, dtype=np.int64)[rows]
        return cls(
            tuple(instruments),
            (0, *np.cumsum(counts).tolist()),
            _locked(stamps[rows]),
            floats(bid),
            floats(ask),
            floats(last),
            _locked(volumes.astype(np.int64, copy=False)),
            sizes(bid_size),
            sizes(ask_size),
            _locked(order),
        )

    has_sizes: bool = field(init=False)
    """Whether any quoted size is known."""

    def __attrs_post_init__(self) -> None:
        self.has_sizes = bool((self.bid_size >= 0).any() or (self.ask_size >= 0).any())

    def rows(self, instrument: str) -> slice:
        """The rows of one instrument in every column."""
        k = self.instruments.index(instrument)
        return slice(self.offsets[k], self.offsets[k + 1])

    def codes(self, start: int, stop: int) -> NDArray[np.int64]:
        """Which instrument (by number) each of the merged rows ``start:stop`` belongs to."""
        return np.searchsorted(np.asarray(self.offsets), self.order[start:stop], side="right") - 1

    def stamps(self, start: int, stop: int) -> list[Ns]:
        """The stamps of the merged rows ``start:stop``."""
        stamps: list[Ns] = self.ts[self.order[start:stop]].tolist()
        return stamps

    def quotes(self, start: int, stop: int) -> list[Quote]:
        """The merged rows ``start:stop`` as quotes. Meant for chunks: boxing a column whole costs its memory."""
        return self.chunk(start, stop)[1]

    def chunk(self, start: int, stop: int) -> tuple[list[Ns], list[Quote]]:
        """The stamps and the quotes of the merged rows ``start:stop``."""
        rows = self.order[start:stop]
        stamps: list[Ns] = self.ts[rows].tolist()
        columns: list[Iterable[Any]] = [
            stamps,
            np.array(self.instruments, dtype=object)[self.codes(start, stop)].tolist(),
            self.bid[rows].tolist(),
            self.ask[rows].tolist(),
        ]
        last = self.last[rows]
        unknown = np.isnan(last)
        if unknown.any():
            columns.append([price if price == price else None for price in last.tolist()])
        else:
            columns.append(last.tolist())
        columns.append(_told(self.volume[rows]))
        # Leaving out what the whole chunk does not tell saves a tenth of the time.
        if self.has_sizes:
            columns.append(_told(self.bid_size[rows]))
            columns.append(_told(self.ask_size[rows]))
        return stamps, list(map(Quote, *columns))

    def head(self, count: int) -> QuoteTable:
        """The first ``count`` merged rows as a table of their own."""
        rows = self.order[:count]
        return QuoteTable.from_rows(
            self.instruments,
            self.codes(0, count),
            self.ts[rows],
            self.bid[rows],
            self.ask[rows],
            self.last[rows],
            self.volume[rows],
            self.bid_size[rows],
            self.ask_size[rows],
        )


def _locked(column: NDArray[Any]) -> NDArray[Any]:
    column.flags.writeable = False
    return column


def _told(column: NDArray[Any]) -> Iterable[int | None]:
    unknown = column < 0
    if unknown.all():
        return repeat(None)
    values: list[int] = column.tolist()
    return [value if value >= 0 else None for value in values] if unknown.any() else values


class Series(ABC):
    """One instrument as the engine sees it: the newest quote, how many there were, and who listens.

    ``count`` and ``quote`` are moved by the engine at each quote; subclasses say where the past is kept.
    """

    __slots__ = ("_audience", "_recorders", "contract", "count", "listeners", "quote")

    def __init__(self, contract: Contract) -> None:
        self.contract = contract
        self.count = 0
        self.quote: Quote | None = None
        self.listeners: tuple[Callable[[Quote], None], ...] = ()
        self._recorders: tuple[Callable[[Quote], None], ...] = ()
        self._audience: tuple[Callable[[Quote], None], ...] = ()

    def listen(self, audience: Iterable[Callable[[Quote], None]]) -> None:
        """Say who is called at each quote, in this order, after the series itself has recorded it."""
        self._audience = tuple(audience)
        self.listeners = self._recorders + self._audience

    @abstractmethod
    def keep(self, length: int) -> None:
        """Make sure that at least the last ``length`` quotes from now on can be read."""

    @abstractmethod
    def column(self, name: str, length: int) -> NDArray[Any]:
        """The last ``length`` values of a column of ``QuoteTable``, read-only."""

    def ticks(self, name: str, length: int) -> Ints:
        """The last ``length`` prices of ``bid``, ``ask`` or ``last`` in whole ticks."""
        return _locked(self.contract.ticks_of(self._told_prices(name, length)))

    def mid_ticks(self, length: int) -> Floats:
        """Half way between the last ``length`` bids and asks in ticks, exact multiples of one half."""
        return _locked((self.ticks("bid", length) + self.ticks("ask", length)) * 0.5)

    def _told_prices(self, name: str, length: int) -> Floats:
        prices = self.column(name, length)
        if name == "last" and bool(np.isnan(prices).any()):
            raise DataError(f"{self.contract.name}: some quotes tell no last price; use bid, ask or mid")
        return prices


class RecordedSeries(Series):
    """The recording is the buffer: a window is a moving end index into it, and nothing is copied."""

    __slots__ = ("_mid", "_rows", "_table", "_ticks")

    def __init__(self, contract: Contract, table: QuoteTable) -> None:
        super().__init__(contract)
        self._table = table
        self._rows = table.rows(contract.name)
        self._ticks: dict[str, Ints] = {}
        self._mid: Floats | None = None

    def keep(self, length: int) -> None:
        """Everything is kept already."""

    def column(self, name: str, length: int) -> NDArray[Any]:
        """A slice of the recording that ends at the current quote."""
        end = self._rows.start + self.count
        values: NDArray[Any] = getattr(self._table, name)[end - length : end]
        return values

    def ticks(self, name: str, length: int) -> Ints:
        """A slice of the whole column in ticks, which is made once."""
        whole = self._ticks.get(name)
        if whole is None:
            prices = getattr(self._table, name)[self._rows]
            whole = self._ticks[name] = _locked(self.contract.ticks_of(np.nan_to_num(prices, nan=0.0)))
        if name == "last":
            # Only the slice that is asked for: what comes later is nobody's business yet.
            self._told_prices(name, length)
        return whole[self.count - length : self.count]

    def mid_ticks(self, length: int) -> Floats:
        """A slice of the whole column, which is made once."""
        if self._mid is None:
            rows = self._rows
            ticks_of = self.contract.ticks_of
            self._mid = _locked((ticks_of(self._table.bid[rows]) + ticks_of(self._table.ask[rows])) * 0.5)
        return self._mid[self.count - length : self.count]


_DTYPES = {
    "ts": np.int64,
    "bid": np.float64,
    "ask": np.float64,
    "last": np.float64,
    "volume": np.int64,
    "bid_size": np.int32,
    "ask_size": np.int32,
}


class BufferSeries(Series):
    """A growing past for quotes that arrive one by one. Keeps what was asked for, in linear buffers.

    A full buffer is moved to a fresh one, so arrays that were handed out never change under their holder.
    """

    __slots__ = ("_arrays", "_capacity", "_end", "_kept")

    def __init__(self, contract: Contract) -> None:
        super().__init__(contract)
        self._kept = 0
        self._capacity = 0
        self._end = 0
        self._arrays: dict[str, NDArray[Any]] = {}

    def keep(self, length: int) -> None:
        """Start keeping at this length, or extend what is kept."""
        if not self._kept:
            self._recorders = (self._append,)
            self.listen(self._audience)
        if length > self._kept:
            self._kept = length
            self._move()

    def _move(self) -> None:
        held = min(self._end, self._kept)
        self._capacity = max(1024, 4 * self._kept)
        fresh = {name: np.empty(self._capacity, dtype=dtype) for name, dtype in _DTYPES.items()}
        for name, array in self._arrays.items():
            fresh[name][:held] = array[self._end - held : self._end]
        self._arrays = fresh
        self._end = held

    def _append(self, quote: Quote) -> None:
        if self._end == self._capacity:
            self._move()
        for name, array in self._arrays.items():
            value = getattr(quote, name)
            if value is None:
                value = np.nan if name == "last" else UNKNOWN
            array[self._end] = value
        self._end += 1

    def column(self, name: str, length: int) -> NDArray[Any]:
        """A slice of the buffer that ends at the current quote."""
        return _locked(self._arrays[name][self._end - length : self._end])


class _View:
    """What windows and columns share: the rows since it was made, at most ``size`` of them."""

    __slots__ = ("_series", "_start", "size")

    def __init__(self, series: Series, size: int) -> None:
        if size < 1:
            raise StrategyError(f"a window holds at least one quote, not {size}")
        series.keep(size)
        self.size = size
        self._series = series
        self._start = series.count

    def __len__(self) -> int:
        return min(self.size, self._series.count - self._start)

    @property
    def full(self) -> bool:
        """Whether ``size`` quotes have come since the window was asked for."""
        return self._series.count - self._start >= self.size

    @property
    def ts(self) -> Ints:
        """Stamps, int64 nanoseconds UTC."""
        return self._series.column("ts", len(self))

    @property
    def volume(self) -> Ints:
        """Cumulative session volume in contracts, int64; -1 where not told."""
        return self._series.column("volume", len(self))

    @property
    def bid_size(self) -> Sizes:
        """Contracts at the bid, int32; -1 where not told."""
        return self._series.column("bid_size", len(self))

    @property
    def ask_size(self) -> Sizes:
        """Contracts at the ask, int32; -1 where not told."""
        return self._series.column("ask_size", len(self))


class Window(_View):
    """The last ``size`` quotes of one instrument up to the current one, as read-only numpy columns in points.

    Shapes are ``(len(window),)``: it grows to ``size`` and then moves. Only quotes that came after the window was
    asked for are in it, live and in replay alike.
    """

    __slots__ = ()

    @property
    def bid(self) -> Floats:
        """Bids in points."""
        return self._series.column("bid", len(self))

    @property
    def ask(self) -> Floats:
        """Asks in points."""
        return self._series.column("ask", len(self))

    @property
    def last(self) -> Floats:
        """Last prices in points; NaN where not told."""
        return self._series.column("last", len(self))

    @property
    def mid(self) -> Floats:
        """Half way between bid and ask, in points."""
        return np.asarray((self.bid + self.ask) / 2, dtype=np.float64)


class Columns(_View):
    """What a signal reads: the same rows as a window, with prices in whole ticks.

    ``bid``, ``ask`` and ``last`` are int64 ticks; ``mid`` is float64 ticks and exact (whole or half). Ticks make
    sums exact, so that a signal gives the same bits on a window as on the whole column.
    """

    __slots__ = ("_mid", "_mid_at")

    def __init__(self, series: Series, size: int) -> None:
        super().__init__(series, size)
        self._mid: Floats | None = None
        self._mid_at = -1

    @property
    def tick_size(self) -> float:
        """Points per tick."""
        return self._series.contract.tick_size

    @property
    def bid(self) -> Ints:
        """Bids in ticks."""
        return self._series.ticks("bid", len(self))

    @property
    def ask(self) -> Ints:
        """Asks in ticks."""
        return self._series.ticks("ask", len(self))

    @property
    def last(self) -> Ints:
        """Last prices in ticks; DataError where the feed did not tell one."""
        return self._series.ticks("last", len(self))

    @property
    def mid(self) -> Floats:
        """Half way between bid and ask, in ticks; a multiple of one half. One array per quote: kernels reuse it."""
        if self._mid is None or self._mid_at != self._series.count:
            self._mid = self._series.mid_ticks(len(self))
            self._mid_at = self._series.count
        return self._mid
