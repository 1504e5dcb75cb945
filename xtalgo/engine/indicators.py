"""Running indicators: one number in, one number out, at a cost that does not grow with the length.

They are for ``on_quote``, where a numpy reduction over a window costs more than everything else in the callback::

    def on_start(self) -> None:
        self.fast, self.slow, self.cross = Ema(20), Ema(100), Crossing()

    def on_quote(self, q: Quote) -> None:
        turn = self.cross.update(self.fast.update(q.mid), self.slow.update(q.mid))

Values have the unit of what is fed in (points, ticks). All indicators share these manners:

- ``update`` takes a finite number below 1e100 in size and returns the new value, from the first update on.
- ``value`` is what the last update returned, None before the first. ``ready`` turns true once the indicator has
  seen as many updates as its length asks for; until then a value rests on the updates so far.
- NaN, infinity or a larger number is refused with StrategyError and changes nothing, so one bad input can neither
  stay in an indicator nor pass for a value.
- A length that is not a whole number, or is too small, is refused with ConfigError.

``Ema`` here never forgets quite everything; the filter of fixed length for signals is ``rolling.ema``.
"""

from __future__ import annotations

from collections import deque
from itertools import accumulate
from math import sqrt
from operator import index

from xtalgo.model.errors import ConfigError, StrategyError

__all__ = ["Crossing", "Ema", "RollingMax", "RollingMean", "RollingMin", "RollingStd"]


def whole_number(name: str, value: int, least: int) -> int:
    """``value`` as an int; ConfigError that names the parameter when it is not whole or is below ``least``."""
    if type(value) is int and value >= least:
        return value
    try:
        number = index(value)  # also lets numpy's integers in
    except TypeError:
        number = None
    if number is None or number < least or isinstance(value, bool):
        raise ConfigError(f"{name} must be a whole number of at least {least}, not {value!r}")
    return number


def _refused(indicator: object, x: float) -> StrategyError:
    return StrategyError(f"{type(indicator).__name__}: {x!r} is not a finite number below 1e100 in size")


class Ema:
    """Exponential moving average: ``value += alpha * (x - value)`` with ``alpha = 2 / (span + 1)``.

    The first update is its own average. ``ready`` after ``span`` updates.
    """

    __slots__ = ("_alpha", "_missing", "ready", "span", "value")

    def __init__(self, span: int) -> None:
        self.span = whole_number("span", span, 1)
        self.value: float | None = None
        self.ready = False
        self._alpha = 2.0 / (self.span + 1)
        self._missing = self.span

    def update(self, x: float) -> float:
        """Take ``x`` and return the new average."""
        if not -1e100 < x < 1e100:  # false for NaN
            raise _refused(self, x)
        if self._missing:
            return self._warm_up(x)
        value: float = self.value  # type: ignore[assignment]  # nothing is missing, so there is one
        value += self._alpha * (x - value)
        self.value = value
        return value

    def _warm_up(self, x: float) -> float:
        value = self.value
        value = float(x) if value is None else value + self._alpha * (x - value)
        self.value = value
        self._missing -= 1
        self.ready = not self._missing
        return value


class RollingMean:
    """Mean of the last ``n`` updates: ``sum(x) / n``. ``ready`` after ``n`` updates; before, of all so far.

    A window is the tail of one block of ``n`` updates and the head of the next. Sums over all tails are made once a
    block (so an update costs O(1) on average, O(n) at the end of a block), the head's sum grows by addition.
    Nothing is ever subtracted from a sum, so rounding does not pile up however long it runs. Sums are of
    differences to a recent value: a large offset costs no digits, and the mean of equal values is that value.
    """

    __slots__ = ("_base", "_block", "_head", "_tails", "n", "ready", "value")

    def __init__(self, n: int) -> None:
        self.n = whole_number("n", n, 1)
        self.value: float | None = None
        self.ready = False
        self._base = 0.0
        self._block: list[float] = []
        self._head = 0.0
        self._tails: list[float] = []

    def update(self, x: float) -> float:
        """Take ``x`` and return the new mean."""
        if not -1e100 < x < 1e100:
            raise _refused(self, x)
        d = x - self._base
        self._block.append(x)
        head = self._head = self._head + d
        tails = self._tails
        if tails:
            value = self._base + (head + tails.pop()) / self.n
        else:
            value = self._turn_block(x)
        self.value = value
        return value

    def _turn_block(self, x: float) -> float:
        block = self._block
        if len(block) == self.n:
            self._base = x
            tails = list(accumulate([v - x for v in reversed(block)]))
            total = tails.pop()
            self._tails = tails
            self._head = 0.0
            self._block = []
            self.ready = True
            return x + total / self.n
        if len(block) == 1:
            self._base = x
            self._head = 0.0
        return self._base + self._head / len(block)


class RollingStd:
    """Sample standard deviation of the last ``n`` updates: ``sqrt(sum((x - mean)**2) / (n - 1))``, so ddof is 1.

    ``n`` is at least 2. ``ready`` after ``n`` updates; before, of all so far, and 0.0 for the first. Equal values
    give exactly 0.0, so guard a division. Blocks are summed as in ``RollingMean``. The reference of the differences
    is itself in the window, which bounds what cancels: the result holds about ``16 - 2 * log10(n)`` digits at worst
    (one value far off the rest) and nearly all of them in ordinary data, after any number of updates.
    """

    __slots__ = (
        "_base",
        "_block",
        "_head",
        "_head_squares",
        "_scale",
        "_tail_squares",
        "_tails",
        "n",
        "ready",
        "value",
    )

    def __init__(self, n: int) -> None:
        self.n = whole_number("n", n, 2)
        self.value: float | None = None
        self.ready = False
        self._scale = float(self.n * (self.n - 1))
        self._base = 0.0
        self._block: list[float] = []
        self._head = 0.0
        self._head_squares = 0.0
        self._tails: list[float] = []
        self._tail_squares: list[float] = []

    def update(self, x: float) -> float:
        """Take ``x`` and return the new standard deviation."""
        if not -1e100 < x < 1e100:
            raise _refused(self, x)
        d = x - self._base
        self._block.append(x)
        total = self._head = self._head + d
        squares = self._head_squares = self._head_squares + d * d
        tails = self._tails
        if tails:
            total += tails.pop()
            squares += self._tail_squares.pop()
            # n * squares - total**2 is exact for ticks and for prices on a binary grid such as 0.25.
            spread = self.n * squares - total * total
            value = sqrt(spread / self._scale) if spread > 0.0 else 0.0
        else:
            value = self._turn_block(x)
        self.value = value
        return value

    def _turn_block(self, x: float) -> float:
        block = self._block
        count = len(block)
        if count == self.n:
            self._base = x
            differences = [v - x for v in reversed(block)]
            self._tails = list(accumulate(differences))
            self._tail_squares = list(accumulate([d * d for d in differences]))
            self._head = self._head_squares = 0.0
            self._block = []
            self.ready = True
            total, squares = self._tails.pop(), self._tail_squares.pop()
        else:
            if count == 1:
                self._base = x
                self._head = self._head_squares = 0.0
            total, squares = self._head, self._head_squares
        spread = count * squares - total * total
        return sqrt(spread / (count * (count - 1))) if spread > 0.0 else 0.0


class RollingMin:
    """Smallest of the last ``n`` updates. ``ready`` after ``n`` updates; before, of all so far.

    Keeps only values that can still become the smallest: a rising queue, each value entering and leaving it once.
    """

    __slots__ = ("_born", "_count", "_values", "n", "ready", "value")

    def __init__(self, n: int) -> None:
        self.n = whole_number("n", n, 1)
        self.value: float | None = None
        self.ready = False
        self._count = 0
        self._values: deque[float] = deque()
        self._born: deque[int] = deque()

    def update(self, x: float) -> float:
        """Take ``x`` and return the new minimum."""
        if not -1e100 < x < 1e100:
            raise _refused(self, x)
        count = self._count = self._count + 1
        values, born = self._values, self._born
        while values and values[-1] >= x:
            values.pop()
            born.pop()
        values.append(x)
        born.append(count)
        expired = count - self.n
        if expired >= 0:
            self.ready = True
            if born[0] == expired:
                values.popleft()
                born.popleft()
        value = self.value = values[0]
        return value


class RollingMax:
    """Largest of the last ``n`` updates. ``ready`` after ``n`` updates; before, of all so far.

    Written out beside ``RollingMin`` because a shared comparison would be called at each step.
    """

    __slots__ = ("_born", "_count", "_values", "n", "ready", "value")

    def __init__(self, n: int) -> None:
        self.n = whole_number("n", n, 1)
        self.value: float | None = None
        self.ready = False
        self._count = 0
        self._values: deque[float] = deque()
        self._born: deque[int] = deque()

    def update(self, x: float) -> float:
        """Take ``x`` and return the new maximum."""
        if not -1e100 < x < 1e100:
            raise _refused(self, x)
        count = self._count = self._count + 1
        values, born = self._values, self._born
        while values and values[-1] <= x:
            values.pop()
            born.pop()
        values.append(x)
        born.append(count)
        expired = count - self.n
        if expired >= 0:
            self.ready = True
            if born[0] == expired:
                values.popleft()
                born.popleft()
        value = self.value = values[0]
        return value


class Crossing:
    """Says when ``a`` crosses ``b``: +1 upwards, -1 downwards, else 0.

    +1 at the update where ``a > b`` and the update before had ``a <= b``; -1 where ``a < b`` and the update before
    had ``a >= b``. So a tie never reports by itself, and whatever leaves a tie does: above, tie, above gives +1 at
    the end, and above, tie, below gives -1 once. Swapping ``a`` and ``b`` flips the sign. It equals
    ``rolling.crossed_above`` minus ``rolling.crossed_below``, row by row.

    The first update gives 0; ``ready`` after it, since the next one can report. Infinities are compared like
    numbers; NaN is refused.
    """

    __slots__ = ("_can_fall", "_can_rise", "value")

    def __init__(self) -> None:
        self.value: int | None = None
        self._can_rise = False
        self._can_fall = False

    @property
    def ready(self) -> bool:
        """Whether there is an update to compare the next one with."""
        return self.value is not None

    def update(self, a: float, b: float) -> int:
        """Take both values and return +1, -1 or 0."""
        if a > b:
            value = 1 if self._can_rise else 0
            self._can_rise = False
            self._can_fall = True
        elif a < b:
            value = -1 if self._can_fall else 0
            self._can_rise = True
            self._can_fall = False
        elif a == b:
            value = 0
            self._can_rise = self._can_fall = True
        else:
            raise StrategyError(f"Crossing: cannot compare {a!r} with {b!r}")
        self.value = value
        return value
