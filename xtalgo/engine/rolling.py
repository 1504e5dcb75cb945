"""Rolling kernels for ``SignalStrategy.signal``: one column in, one column of the same length out.

**Same bits on a window as on the column.** Live a signal is computed on the last ``lookback`` rows, in replay once on
whole columns, and both must decide alike, ties included. So these kernels take whole or half ticks (``q.bid``,
``q.ask``, ``q.last``, ``q.mid``, ``q.ask - q.bid``, sizes), turn them into integers and sum those in int64. Integer
sums do not depend on where they began: running totals may even wrap around, their differences are still exact. Only
the last step, one division and perhaps a square root, is in floating point. A row then depends on its own last rows
and nothing else.

**Shapes.** Columns are one-dimensional. A kernel over ``n`` rows gives float64 with NaN in the first ``n - 1`` rows
(all of them when the column is shorter), in the unit of the input: ticks, not half-ticks. Row ``i`` is made from rows
``i - n + 1 .. i``; ``lookback`` must be at least ``n``, or the sum of the ``n - 1`` plus one where kernels are chained.

**Input.** Signed integers below 2**31 in size, or float64 multiples of 0.5 below 2**30. Anything else (points, NaN,
the result of another kernel) is a StrategyError that names the first bad row. For changes use
``np.diff(x, prepend=x[:1])``: it stays in whole or half ticks, and adds one to ``lookback``. ``crossed_above``,
``crossed_below`` and ``shift`` only compare and move, so they take results of kernels too. Parameters that cannot be
used are a ConfigError.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from xtalgo.engine.indicators import whole_number
from xtalgo.model.errors import StrategyError

__all__ = [
    "crossed_above",
    "crossed_below",
    "ema",
    "rolling_max",
    "rolling_mean",
    "rolling_min",
    "rolling_std",
    "rolling_zscore",
    "shift",
]

Bools: TypeAlias = NDArray[np.bool_]
Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Ticks: TypeAlias = NDArray[np.signedinteger[Any]] | Floats
"""Whole or half ticks."""

_FLOAT64 = np.dtype(np.float64)
_EMA_BITS = 31
"""The sum of the weights of an EMA: with input below 2**31 in size, weighted sums stay below 2**62."""
_EXACT_BITS = 53
"""Whole numbers up to here are exact as floats."""
_BLOCK = 16_384
"""Rows that are worked on at a time."""
_LONG = 1024
"""Rows from which a faster dot product is worth the conversion to float and back."""


def rolling_mean(x: Ticks, n: int) -> Floats:
    """Mean of the last ``n`` rows: ``sum(x) / n``, correctly rounded while the sum is below 2**52 ticks."""
    n = whole_number("n", n, 1)
    ints, halves = _integers(x)
    divisor = float(n * halves)
    return _rolled(ints, n, lambda part, rows: np.divide(_sums(part, n), divisor, out=rows))


def rolling_std(x: Ticks, n: int) -> Floats:
    """Sample standard deviation of the last ``n`` rows, ``n >= 2``: ``sqrt(sum((x - mean)**2) / (n - 1))``, ddof 1.

    Exactly 0.0 where all are equal. Raises StrategyError for a window with ``n * (max - min)`` of 2**32 half-ticks
    or more (a range of two million ticks in a thousand rows), where the exact sum might not fit an int64.
    """
    n = whole_number("n", n, 2)
    ints, halves = _integers(x)
    _check_range(ints, n)
    divisor = float(n * (n - 1) * halves * halves)

    def fill(part: Ints, rows: Floats) -> None:
        _, spread = _moments(part, n)
        np.divide(spread, divisor, out=rows)
        np.sqrt(rows, out=rows)

    return _rolled(ints, n, fill)


def rolling_zscore(x: Ticks, n: int) -> Floats:
    """How many sample deviations a row is off the mean of its last ``n`` rows: ``(x - mean) / std``, ``n >= 2``.

    A pure number, below ``sqrt(n)`` in size; 0.0 where all are equal. Bounds and errors as in ``rolling_std``.
    """
    n = whole_number("n", n, 2)
    ints, _ = _integers(x)
    _check_range(ints, n)
    divisor = (n - 1) / n

    def fill(part: Ints, rows: Floats) -> None:
        # With S and V of _moments it is (n * x - S) / sqrt(V * n / (n - 1)). V is whole, and where it is 0 so is what
        # is divided, by 1 then.
        sums, spread = _moments(part, n)
        np.divide(np.maximum(spread, 1), divisor, out=rows)
        np.sqrt(rows, out=rows)
        np.divide(n * part[n - 1 :] - sums, rows, out=rows)

    return _rolled(ints, n, fill)


def rolling_min(x: Ticks, n: int) -> Floats:
    """Smallest of the last ``n`` rows."""
    return _extreme(np.minimum, x, n)


def rolling_max(x: Ticks, n: int) -> Floats:
    """Largest of the last ``n`` rows."""
    return _extreme(np.maximum, x, n)


def ema(x: Ticks, span: int, taps: int | None = None) -> Floats:
    """Exponential moving average as a filter over the last ``taps`` rows (default ``5 * span``).

    ``sum(w[k] * x[i - k]) / sum(w)`` with ``w[k]`` proportional to ``((span - 1) / (span + 1))**k``, the usual
    ``alpha = 2 / (span + 1)``. NaN in the first ``taps - 1`` rows; a strategy's ``lookback`` must be at least ``taps``.

    An endless EMA has no window that gives the same bits. The default keeps all but 0.005 % of its weight
    (``exp(-2 * taps / span)``). Weights are whole numbers: the wanted ones, scaled to a sum of 2**31 and each rounded
    to the nearest, so the result is off by less than ``taps / 2**31`` times the range of those rows.
    """
    span = whole_number("span", span, 1)
    taps = 5 * span if taps is None else whole_number("taps", taps, 1)
    ints, halves = _integers(x)
    weights, total = _ema_weights(span, taps)
    divisor = float(total * halves)
    return _rolled(ints, taps, lambda part, rows: np.divide(_filter(part, weights, total), divisor, out=rows))


def crossed_above(a: NDArray[Any], b: NDArray[Any] | float) -> Bools:
    """True in the rows where ``a > b`` while the row before had ``a <= b``; ``b`` may be one level.

    False in the first row and where one of the four values is NaN. Leaving a tie counts, reaching it does not, as in
    ``indicators.Crossing``. Looks at two rows, so it adds one to ``lookback``. StrategyError for unequal lengths.
    """
    _same_length(a, b)
    out = np.zeros(len(a), dtype=np.bool_)
    np.logical_and((a > b)[1:], (a <= b)[:-1], out=out[1:])
    return out


def crossed_below(a: NDArray[Any], b: NDArray[Any] | float) -> Bools:
    """True in the rows where ``a < b`` while the row before had ``a >= b``; otherwise as ``crossed_above``."""
    _same_length(a, b)
    out = np.zeros(len(a), dtype=np.bool_)
    np.logical_and((a < b)[1:], (a >= b)[:-1], out=out[1:])
    return out


def shift(x: NDArray[Any], k: int) -> Floats:
    """The column as it was ``k`` rows ago, ``x[i - k]`` as float64; NaN in the first ``k`` rows.

    ``k`` is at least 0: a negative one would look ahead. Adds ``k`` to ``lookback``. Integers from 2**53 on (time
    stamps) would be rounded; subtract slices of those instead.
    """
    k = whole_number("k", k, 0)
    _one_dimensional(x)
    out: Floats = np.empty(len(x))
    out[:k] = np.nan
    out[k:] = x[: max(len(x) - k, 0)]
    return out


def _rolled(ints: Ints, n: int, fill: Callable[[Ints, Floats], object]) -> Floats:
    """A column with NaN before row ``n - 1`` and the rest filled from the last ``n`` rows of each row.

    ``fill(part, rows)`` gets ``n - 1`` more integers than rows. Long columns go through it in blocks, which stay in
    the processor's cache; the rows of a block need nothing that lies before its part.
    """
    out: Floats = np.empty(len(ints))
    out[: n - 1] = np.nan
    if n <= len(ints) <= _BLOCK:
        fill(ints, out[n - 1 :])
        return out
    block = max(_BLOCK, 4 * n)
    for start in range(n - 1, len(ints), block):
        rows = out[start : start + block]
        fill(ints[start - n + 1 : start + len(rows)], rows)
    return out


def _one_dimensional(x: NDArray[Any]) -> None:
    if not isinstance(x, np.ndarray) or x.ndim != 1:
        shape = f"an array of shape {x.shape}" if isinstance(x, np.ndarray) else type(x).__name__
        raise StrategyError(f"a kernel takes a numpy array with one dimension, not {shape}")


def _same_length(a: NDArray[Any], b: NDArray[Any] | float) -> None:
    _one_dimensional(a)
    if isinstance(b, np.ndarray) and b.shape != a.shape:
        raise StrategyError(f"columns of unequal length cannot be compared: {a.shape} and {b.shape}")


def _integers(x: Ticks) -> tuple[Ints, int]:
    """The column as integers below 2**31 in size, and how many of them make a tick (1 or 2)."""
    _one_dimensional(x)
    if x.dtype == _FLOAT64:
        if len(x) <= _BLOCK:
            return _half_ticks_once(x), 2
        ints = np.empty(len(x), dtype=np.int64)
        for start in range(0, len(x), _BLOCK):
            ints[start : start + _BLOCK] = _half_ticks(x, start)
        return ints, 2
    if x.dtype.kind != "i":
        raise StrategyError(f"kernels take ticks as integers or float64, not {x.dtype}")
    if x.dtype.itemsize > 4 and np.count_nonzero(x.astype(np.int32) != x):
        raise _unfit(x)
    return x.astype(np.int64, copy=False), 1


_doubled: list[NDArray[Any]] = []
"""The last read-only column that was doubled, and its doubles: a signal asks for several kernels of one column."""


def _half_ticks_once(x: NDArray[Any]) -> Ints:
    """``_half_ticks`` of a whole column, kept while the next kernel is given the very same read-only array."""
    if _doubled and _doubled[0] is x:
        return _doubled[1]
    ints = _half_ticks(x)
    if not x.flags.writeable:
        _doubled[:] = x, ints
    return ints


def _half_ticks(x: NDArray[Any], start: int = 0) -> Ints:
    """One block from row ``start`` on, doubled."""
    part = x[start : start + _BLOCK]
    # Range first: a cast of NaN, infinity or a huge number would warn, and what it gives depends on the machine.
    if np.count_nonzero(np.abs(part) < 2.0**30) < len(part):
        raise _unfit(x)
    doubled = part + part
    ints: Ints = doubled.astype(np.int64)
    if np.count_nonzero(ints != doubled):
        raise _unfit(x)
    return ints


def _unfit(x: Ticks) -> StrategyError:
    values = x.astype(np.float64)
    limit = 2.0**31 if x.dtype.kind == "i" else 2.0**30
    in_range = np.abs(values) < limit
    row = int(np.argmin(in_range & (np.where(in_range, values, 0.0) % 0.5 == 0.0)))
    return StrategyError(
        f"row {row} is {x[row]}: kernels take whole or half ticks below {limit:.0f} in size, such as q.bid or q.mid, "
        "not points or the results of other kernels; changes are np.diff(x, prepend=x[:1])"
    )


def _sums(ints: Ints, n: int) -> Ints:
    """Sums over the last ``n`` rows, from row ``n - 1`` on; exact if they fit, whatever the running total does."""
    totals = np.empty(len(ints) + 1, dtype=np.int64)
    totals[0] = 0
    np.add.accumulate(ints, out=totals[1:])
    return totals[n:] - totals[:-n]


def _moments(ints: Ints, n: int) -> tuple[Ints, Ints]:
    """The sums, and ``n * sum(x**2) - sum(x)**2``, which is ``n * (n - 1)`` times the sample variance.

    It is computed modulo 2**64, so only itself has to fit: see ``_check_range``.
    """
    sums = _sums(ints, n)
    return sums, n * _sums(ints * ints, n) - sums * sums


def _check_range(ints: Ints, n: int) -> None:
    """Refuse windows whose spread might not fit an int64: it is at most ``(n * (max - min))**2 / 4``."""
    if len(ints) < n or n * int(np.maximum.reduce(ints) - np.minimum.reduce(ints)) < 1 << 32:
        return
    # The column as a whole is wide; that is fine as long as no single window is.
    wide = n * (_extremes(np.maximum, ints, n) - _extremes(np.minimum, ints, n)) >= 1 << 32
    if wide.any():
        row = int(np.argmax(wide)) + n - 1
        raise StrategyError(f"row {row}: the last {n} rows lie too far apart for an exact deviation")


def _extreme(pick: np.ufunc, x: Ticks, n: int) -> Floats:
    n = whole_number("n", n, 1)
    ints, halves = _integers(x)
    divisor = float(halves)
    return _rolled(ints, n, lambda part, rows: np.divide(_extremes(pick, part, n), divisor, out=rows))


def _extremes(pick: np.ufunc, ints: Ints, n: int) -> Ints:
    """Extremes of the last ``n`` rows by doubling: of 2, 4, 8 .. rows, and at last of two runs that overlap."""
    width = 1
    best = ints
    while 2 * width <= n:
        best = pick(best[:-width], best[width:])
        width *= 2
    if width < n:
        best = pick(best[: len(ints) - n + 1], best[n - width :])
    return best


@lru_cache(maxsize=64)
def _ema_weights(span: int, taps: int) -> tuple[Ints, int]:
    """Whole weights, oldest row first, and their sum. In integers throughout: the same on every machine."""
    wanted = [1 << 128]
    for _ in range(taps - 1):
        wanted.append(wanted[-1] * (span - 1) // (span + 1))
    total = sum(wanted)
    weights = np.array([((w << _EMA_BITS) + total // 2) // total for w in reversed(wanted)], dtype=np.int64)
    weights.flags.writeable = False
    return weights, int(weights.sum())


def _filter(ints: Ints, weights: Ints, total: int) -> Ints:
    """Weighted sums from row ``len(weights) - 1`` on."""
    if len(ints) >= _LONG:
        # Floats have the faster dot product, and in whole numbers below 2**53 it is exact in any order. Prices do not
        # move far, so what is summed is their distance to the first one.
        first = int(ints[0])
        distance = ints - first
        if total * int(np.maximum.reduce(np.abs(distance))) < 1 << _EXACT_BITS:
            moved = np.correlate(distance.astype(np.float64), weights.astype(np.float64), "valid")
            return moved.astype(np.int64) + first * total
    return np.correlate(ints, weights, "valid")
