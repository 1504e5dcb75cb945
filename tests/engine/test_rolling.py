from fractions import Fraction
from functools import partial

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xtalgo.engine.rolling import (
    crossed_above,
    crossed_below,
    ema,
    rolling_max,
    rolling_mean,
    rolling_min,
    rolling_std,
    rolling_zscore,
    shift,
)
from xtalgo.model.errors import ConfigError, StrategyError

ROLLING = [rolling_mean, rolling_std, rolling_zscore, rolling_min, rolling_max]
SUMMING = [*ROLLING, ema]
NAN = float("nan")

MOST = 2**31 - 1
"""The largest integer a kernel takes."""


def column_of(values, halves):
    return np.array(values, dtype=np.int64) * 0.5 if halves else np.array(values, dtype=np.int64)


@st.composite
def columns(draw):
    """Whole or half ticks about some level, near to it or as far as 20 rows of exact deviation go."""
    level = draw(st.sampled_from([0, 20_000, -900_000_000, 900_000_000]))
    step = draw(st.sampled_from([1, 3, 1000, 100_000_000]))
    rows = draw(st.sampled_from([1, 40]))
    values = draw(st.lists(st.integers(level - step, level + step), min_size=rows, max_size=50))
    return column_of(values, draw(st.booleans()))


def bits(values):
    return np.asarray(values, dtype=np.float64).view(np.int64)


def assert_same_on_windows(kernel, column, lookback, cuts):
    """The heart of the matter: whatever comes before the last ``lookback`` rows changes no bit of a row."""
    whole = kernel(column)
    assert whole.dtype == np.float64
    assert whole.shape == column.shape
    assert np.isnan(whole[: lookback - 1]).all()
    assert not np.isnan(whole[lookback - 1 :]).any()
    for i in cuts:
        if lookback - 1 <= i < len(column):
            for start in {i - lookback + 1, max(0, i - lookback), max(0, i - 2 * lookback), i // 3}:
                window = column[min(start, i - lookback + 1) : i + 1]
                assert bits(kernel(window)[-1]) == bits(whole[i])


@settings(deadline=None, max_examples=40)
@given(columns(), st.integers(1, 20), st.sets(st.integers(0, 49), min_size=1, max_size=6))
@pytest.mark.parametrize("kernel", SUMMING)
def test_rows_have_the_same_bits_on_a_window(kernel, column, n, cuts):
    if kernel is ema:
        assert_same_on_windows(lambda x: ema(x, 3, n), column, n, cuts)
    else:
        n += kernel in (rolling_std, rolling_zscore)
        assert_same_on_windows(lambda x: kernel(x, n), column, n, cuts)


@pytest.mark.parametrize(("offset", "halves"), [(0, True), (200_000_000, False), (-200_000_000, True)])
def test_a_million_rows_of_large_ticks(offset, halves):
    """Totals pass 2**47 in sums and wrap around many times in sums of squares; the rows must not notice."""
    rng = np.random.default_rng(11)
    whole = offset + rng.integers(-2, 3, 1_000_000).cumsum()
    column = whole * 0.5 if halves else whole
    cuts = [*rng.integers(1000, len(column), 6).tolist(), len(column) - 1]
    for kernel, n in (
        (rolling_mean, 500),
        (rolling_std, 100),
        (rolling_zscore, 20),
        (rolling_min, 100),
        (rolling_max, 37),
    ):
        assert_same_on_windows(lambda x, kernel=kernel, n=n: kernel(x, n), column, n, cuts)
    assert_same_on_windows(partial(ema, span=20), column[:200_000], 100, [*range(99, 105), 100_000, 199_999])
    i = cuts[0]
    window = [Fraction(v) for v in column[i - 99 : i + 1].tolist()]
    variance = sum((v - sum(window) / 100) ** 2 for v in window) / 99
    assert rolling_std(column, 100)[i] == pytest.approx(float(variance) ** 0.5, rel=3e-16)


@pytest.mark.parametrize("size", [20, MOST])
def test_a_long_column_has_the_bits_of_short_ones_however_far_prices_jump(size):
    """Near prices take the fast path of the filter, far ones would lose digits there."""
    rng = np.random.default_rng(2)
    column = rng.integers(-size, size, 10_000, endpoint=True)
    assert_same_on_windows(partial(ema, span=4), column, 20, rng.integers(19, 10_000, 200).tolist())


@pytest.mark.parametrize("length", [16_384, 16_385, 16_384 + 99, 40_000])
@pytest.mark.parametrize("n", [2, 100, 9000])
def test_blocks_join_without_a_seam(length, n):
    """Long columns are worked on in blocks; take lengths about a block, and look at every row."""
    column = np.random.default_rng(length).integers(-30, 30, length)
    sums = np.concatenate([[0], column.cumsum()])
    squares = np.concatenate([[0], (column**2).cumsum()])
    total, square = sums[n:] - sums[:-n], squares[n:] - squares[:-n]
    np.testing.assert_array_equal(rolling_mean(column * 0.5, n)[n - 1 :], total / (2 * n))
    np.testing.assert_array_equal(rolling_std(column, n)[n - 1 :], ((n * square - total**2) / (n * (n - 1))) ** 0.5)
    low = np.lib.stride_tricks.sliding_window_view(column, n).min(axis=1) if n <= 100 else None
    if low is not None:
        np.testing.assert_array_equal(rolling_min(column, n)[n - 1 :], low)
        np.testing.assert_array_equal(rolling_max(-column, n)[n - 1 :], -low)


def references(window):
    """Mean, sample deviation (None for one row) and z-score of the last row, exact up to one square root."""
    values = [Fraction(v) for v in window]
    mean = sum(values) / len(values)
    if len(values) == 1:
        return mean, None, None
    variance = sum((v - mean) ** 2 for v in values) / (len(values) - 1)
    off = values[-1] - mean
    z = 0.0 if not variance else float(off * off / variance) ** 0.5 * (1 if off > 0 else -1)
    return mean, float(variance) ** 0.5, z


@settings(deadline=None, max_examples=40)
@given(columns(), st.integers(1, 9))
def test_values_agree_with_exact_arithmetic(column, n):
    mean, low, high = rolling_mean(column, n), rolling_min(column, n), rolling_max(column, n)
    std, zscore = rolling_std(column, max(n, 2)), rolling_zscore(column, max(n, 2))
    for i in range(n - 1, len(column)):
        window = column[i - n + 1 : i + 1].tolist()
        exact, deviation, z = references(window)
        assert mean[i] == float(exact)
        assert low[i] == min(window)
        assert high[i] == max(window)
        if n > 1:
            assert std[i] == pytest.approx(deviation, rel=4e-16)
            assert zscore[i] == pytest.approx(z, rel=1e-15)
            assert abs(zscore[i]) < n**0.5


@settings(deadline=None, max_examples=40)
@given(columns(), st.integers(1, 9), st.integers(1, 40))
def test_ema_is_the_documented_filter(column, span, taps):
    weights = [Fraction(span - 1, span + 1) ** k for k in range(taps)]
    got = ema(column, span, taps)
    for i in range(taps - 1, len(column)):
        rows = [Fraction(v) for v in column[i - taps + 1 : i + 1].tolist()][::-1]
        wanted = sum(w * v for w, v in zip(weights, rows, strict=True)) / sum(weights)
        bound = Fraction(taps, 2**31) * (max(rows) - min(rows)) + abs(wanted) * Fraction(1, 2**51)
        assert abs(Fraction(float(got[i])) - wanted) <= bound


def test_the_default_ema_is_close_to_the_endless_one():
    column = 20_000 + np.random.default_rng(5).integers(-3, 4, 3000).cumsum()
    endless = float(column[0])
    for x in column[1:].tolist():
        endless += 2 / 21 * (x - endless)
    got = ema(column, 20)
    assert np.isnan(got[98])
    assert not np.isnan(got[99])
    assert got[-1] == pytest.approx(endless, abs=0.02)
    assert got[-1] != pytest.approx(np.mean(column[-20:]), abs=0.02)


def test_ema_of_a_constant_is_that_constant():
    for column in (np.full(5000, 4500.5), np.full(600, 17)):
        assert (ema(column, 100)[499:] == column[0]).all()


@settings(deadline=None, max_examples=40)
@given(columns(), st.integers(2, 9))
@pytest.mark.parametrize("kernel", SUMMING)
def test_whole_ticks_give_the_same_as_int_or_float(kernel, column, n):
    whole = np.floor(column)
    np.testing.assert_array_equal(bits(kernel(whole, n)), bits(kernel(whole.astype(np.int64), n)))


@pytest.mark.parametrize("kernel", SUMMING)
def test_narrow_integers_do_not_overflow(kernel):
    sizes = np.array([MOST, MOST - 5, MOST - 9, MOST], dtype=np.int32)
    np.testing.assert_array_equal(kernel(sizes, 2), kernel(sizes.astype(np.int64), 2))


def test_a_flat_window_has_no_deviation():
    column = np.array([9, 5, 5, 5, 5, 7])
    assert rolling_std(column, 4).tolist()[4:] == [0.0, 1.0]
    assert rolling_zscore(column, 4).tolist()[4:] == [0.0, 1.5]


def test_rows_too_far_apart_for_an_exact_deviation_are_refused_by_window():
    column = np.zeros(3000, dtype=np.int64)
    column[1500:] = 2**22  # times a thousand rows: just below the limit
    column[2500:] = 2**23
    for kernel in (rolling_std, rolling_zscore):
        kernel(column[:2500], 1000)
        with pytest.raises(StrategyError, match="row 2499"):
            kernel(np.concatenate([column[:2499], [2**30]]), 1000)
    # No single window is too wide here, though the column is.
    far = np.repeat(np.arange(10, dtype=np.int64) * 2**22, 1000)
    rows = rolling_std(far, 1000)
    assert rows[1499] == pytest.approx(np.std(far[500:1500], ddof=1), rel=1e-14)
    assert rows[-1] == 0.0


@pytest.mark.parametrize("kernel", SUMMING)
@pytest.mark.parametrize("bad", [NAN, np.inf, -np.inf, 0.25, 100.1, 2.0**30, -1e300, 1.7e308])
def test_other_floats_are_refused_with_the_row(kernel, bad):
    column = np.arange(50) * 0.5
    column[[17, 30]] = bad
    with pytest.raises(StrategyError, match=r"row 17 is .*whole or half ticks"):
        kernel(column, 5)


def test_the_row_is_named_in_long_columns_too():
    column = np.arange(50_000) * 0.5
    column[40_017] = NAN
    with pytest.raises(StrategyError, match="row 40017 is nan"):
        rolling_mean(column, 5)
    far = np.zeros(50_000)
    far[30_000:] = 2.0**29
    with pytest.raises(StrategyError, match="row 30000: the last 5 rows"):
        rolling_std(far, 5)


def test_changes_in_half_ticks_are_an_input():
    mid = 20_000 + np.random.default_rng(3).integers(-3, 4, 300).cumsum() * 0.5
    kernel = partial(rolling_std, n=20)
    whole = kernel(np.diff(mid, prepend=mid[:1]))
    for i in range(20, 300, 7):
        window = mid[i - 20 : i + 1]
        assert bits(kernel(np.diff(window, prepend=window[:1]))[-1]) == bits(whole[i])


@pytest.mark.parametrize("kernel", SUMMING)
@pytest.mark.parametrize("bad", [2**31, -(2**31) - 1, 2**32, np.iinfo(np.int64).min, 1_700_000_000_000_000_000])
def test_large_integers_are_refused_with_the_row(kernel, bad):
    column = np.arange(50)
    column[[17, 30]] = bad
    with pytest.raises(StrategyError, match=f"row 17 is {bad}"):
        kernel(column, 5)


@pytest.mark.parametrize("kernel", SUMMING)
@pytest.mark.parametrize(
    "bad",
    [
        [1, 2, 3],
        3.5,
        np.zeros((3, 3)),
        np.float64(2.0),
        np.zeros(3, dtype=np.float32),
        np.zeros(3, dtype=np.uint64),
        np.zeros(3, dtype=np.bool_),
        np.zeros(3, dtype=object),
    ],
)
def test_other_kinds_of_columns_are_refused(kernel, bad):
    with pytest.raises(StrategyError, match="take"):
        kernel(bad, 2)


@pytest.mark.parametrize("kernel", SUMMING)
@pytest.mark.parametrize("n", [0, -3, 2.0, "5", True])
def test_bad_lengths_are_refused_by_name(kernel, n):
    name = "span" if kernel is ema else "n"
    with pytest.raises(ConfigError, match=f"^{name} must be a whole number"):
        kernel(np.arange(5), n)


def test_bad_taps_and_deviations_of_one_row_are_refused():
    with pytest.raises(ConfigError, match=r"^taps must"):
        ema(np.arange(5), 3, 0)
    for kernel in (rolling_std, rolling_zscore):
        with pytest.raises(ConfigError, match=r"^n must be a whole number of at least 2"):
            kernel(np.arange(5), 1)


@pytest.mark.parametrize("kernel", SUMMING)
@pytest.mark.parametrize("length", [0, 1, 4])
def test_short_columns_are_nan_throughout(kernel, length):
    got = kernel(np.arange(length), 5)
    assert got.shape == (length,)
    assert np.isnan(got).all()


def test_inputs_are_left_alone_and_outputs_are_fresh():
    column = np.arange(5000) % 7
    column.flags.writeable = False
    for kernel in SUMMING:
        got = kernel(column, 3)
        got[:] = 0
        assert not np.shares_memory(got, column)
    assert (column == np.arange(5000) % 7).all()


levels = st.sampled_from([-1.0, 0.0, 1.0, NAN])


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(levels, levels), max_size=30))
def test_crossings_follow_their_definition(pairs):
    a, b = (np.array([pair[k] for pair in pairs]) for k in (0, 1))
    rows = range(1, len(pairs))
    up = [False] * bool(pairs) + [a[i] > b[i] and a[i - 1] <= b[i - 1] for i in rows]
    down = [False] * bool(pairs) + [a[i] < b[i] and a[i - 1] >= b[i - 1] for i in rows]
    above, below = crossed_above(a, b), crossed_below(a, b)
    assert above.dtype == below.dtype == np.bool_
    assert above.tolist() == up
    assert below.tolist() == down
    for i in rows:  # two rows are enough
        assert crossed_above(a[i - 1 : i + 1], b[i - 1 : i + 1])[-1] == above[i]
        assert crossed_below(a[i - 1 : i + 1], b[i - 1 : i + 1])[-1] == below[i]


def test_crossing_a_level():
    z = np.array([NAN, 1.0, 2.0, 2.5, 2.0, 1.0, 3.0])
    assert crossed_above(z, 2.0).tolist() == [False, False, False, True, False, False, True]
    assert crossed_below(z, 2).tolist() == [False, False, False, False, False, True, False]


def test_columns_of_unequal_length_do_not_cross():
    for kernel in (crossed_above, crossed_below):
        for other in (np.arange(4), np.arange(1)):
            with pytest.raises(StrategyError, match="unequal length"):
                kernel(np.arange(5), other)
        with pytest.raises(StrategyError, match="one dimension"):
            kernel(2.0, np.arange(5))


@pytest.mark.parametrize("k", [0, 1, 3, 4, 9])
def test_shift_moves_the_past_forward(k):
    column = np.array([4, 3, 2, 1])
    expected = ([NAN] * k + [4.0, 3.0, 2.0, 1.0])[:4]
    got = shift(column, k)
    assert got.dtype == np.float64
    np.testing.assert_array_equal(got, expected)
    assert not np.shares_memory(shift(column * 0.5, k), column)


def test_shift_takes_results_and_refuses_the_future():
    np.testing.assert_array_equal(shift(rolling_mean(np.arange(5), 2), 1), [NAN, NAN, 0.5, 1.5, 2.5])
    with pytest.raises(ConfigError, match=r"^k must be a whole number of at least 0"):
        shift(np.arange(5), -1)
    with pytest.raises(StrategyError, match="one dimension"):
        shift([1, 2], 1)
