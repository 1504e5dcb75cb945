import math
import random
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xtalgo.engine import rolling
from xtalgo.engine.indicators import Crossing, Ema, RollingMax, RollingMean, RollingMin, RollingStd
from xtalgo.model.errors import ConfigError, StrategyError

NAN = math.nan
ONE_NUMBER = [Ema, RollingMean, RollingStd, RollingMin, RollingMax]

prices = st.floats(-1e6, 1e6, allow_subnormal=False)
columns = st.lists(prices, min_size=1, max_size=60)
ticks = st.lists(st.integers(-400_000, 400_000), min_size=1, max_size=60)
lengths = st.integers(1, 12)


def exact_mean(xs):
    return sum(map(Fraction, xs)) / len(xs)


def exact_variance(xs):
    mean = exact_mean(xs)
    return sum((Fraction(x) - mean) ** 2 for x in xs) / (len(xs) - 1)


def tail(xs, end, n):
    return xs[max(0, end + 1 - n) : end + 1]


@settings(deadline=None, max_examples=50)
@given(columns, lengths)
def test_ema_follows_its_formula_in_exact_arithmetic(xs, span):
    ema = Ema(span)
    assert ema.value is None
    assert not ema.ready
    alpha = Fraction(2, span + 1)
    expected = Fraction(xs[0])
    for i, x in enumerate(xs):
        expected += alpha * (Fraction(x) - expected)
        got = ema.update(x)
        assert got == ema.value
        assert got == pytest.approx(float(expected), rel=1e-12, abs=1e-9)
        assert ema.ready is (i + 1 >= span)


def test_ema_by_hand():
    ema = Ema(3)  # alpha is one half
    assert [ema.update(x) for x in (10, 20, 20, 0)] == [10, 15, 17.5, 8.75]


def test_ema_of_a_constant_is_that_constant():
    ema = Ema(7)
    assert {ema.update(0.1) for _ in range(1000)} == {0.1}


@settings(deadline=None, max_examples=50)
@given(columns, lengths)
def test_rolling_mean_is_the_mean_of_the_tail(xs, n):
    mean = RollingMean(n)
    for i, x in enumerate(xs):
        expected = exact_mean(tail(xs, i, n))
        got = mean.update(x)
        assert got == mean.value
        assert abs(Fraction(got) - expected) <= Fraction(1e-8)
        assert mean.ready is (i + 1 >= n)


@settings(deadline=None, max_examples=50)
@given(ticks, lengths)
def test_rolling_mean_of_ticks_is_off_by_roundings_only(xs, n):
    mean = RollingMean(n)
    for i, x in enumerate(xs):
        window = tail(xs, i, n)
        assert abs(Fraction(mean.update(x)) - exact_mean(window)) <= 2 * math.ulp(max(map(abs, window)))


@settings(deadline=None, max_examples=50)
@given(ticks, st.integers(2, 12))
def test_rolling_std_of_ticks_is_exact_up_to_the_last_rounding(xs, n):
    std = RollingStd(n)
    assert std.update(xs[0]) == 0.0
    for i, x in enumerate(xs[1:], 1):
        got = std.update(x)
        assert got == std.value
        assert got == pytest.approx(math.sqrt(exact_variance(tail(xs, i, n))), rel=3e-16)
        assert std.ready is (i + 1 >= n)


@settings(deadline=None, max_examples=50)
@given(columns, st.integers(2, 12))
def test_rolling_std_keeps_the_digits_it_promises(xs, n):
    std = RollingStd(n)
    for i, x in enumerate(xs):
        got = std.update(x)
        if i:
            expected = exact_variance(tail(xs, i, n))
            assert abs(Fraction(got) ** 2 - expected) <= expected * Fraction(4 * n * n, 2**52) + Fraction(1e-200)


@settings(deadline=None, max_examples=50)
@given(ticks, st.integers(2, 12))
def test_rolling_std_has_the_bits_of_the_kernel(xs, n):
    std = RollingStd(n)
    got = [std.update(x) for x in xs][n - 1 :]
    assert got == rolling.rolling_std(np.array(xs), n)[n - 1 :].tolist()


@settings(deadline=None, max_examples=50)
@given(st.lists(st.integers(-5, 5) | prices, min_size=1, max_size=60), lengths)
def test_rolling_extremes_are_those_of_the_tail(xs, n):
    low, high = RollingMin(n), RollingMax(n)
    for i, x in enumerate(xs):
        assert low.update(x) == low.value == min(tail(xs, i, n))
        assert high.update(x) == high.value == max(tail(xs, i, n))
        assert low.ready is high.ready is (i + 1 >= n)


@pytest.mark.parametrize("offset", [0.0, 1e9])
@pytest.mark.parametrize("n", [50, 999])
def test_nothing_drifts_over_many_updates(n, offset):
    count = 120_000
    xs = np.random.default_rng(7).standard_normal(count) + offset
    xs[count // 2] += 1e7  # one wild value
    mean, std = RollingMean(n), RollingStd(n)
    means, stds = (np.array([update(x) for x in xs.tolist()])[n - 1 :] for update in (mean.update, std.update))
    windows = np.lib.stride_tricks.sliding_window_view(xs, n)

    def compare(rows, digits):
        centred = windows[rows] - windows[rows, :1]
        expected = windows[rows, 0] + centred.mean(axis=1)
        np.testing.assert_allclose(means[rows], expected, rtol=3e-16, atol=digits)
        np.testing.assert_allclose(stds[rows], centred.std(axis=1, ddof=1), rtol=digits)

    compare(slice(1000), 1e-13)
    compare(slice(59_000, 61_000), 1e-9)  # the wild value takes digits from the windows that hold it
    compare(slice(-2000, None), 1e-13)  # and from no others


@pytest.mark.parametrize("value", [0.1, 4500.25, 1e9 + 0.1])
def test_equal_values_have_that_mean_and_no_deviation(value):
    mean, std = RollingMean(7), RollingStd(7)
    rng = random.Random(3)
    for _ in range(30):
        mean.update(rng.random())
        std.update(rng.random())
    for _ in range(7):
        mean.update(value)
        std.update(value)
    for _ in range(20):
        assert mean.update(value) == value
        assert std.update(value) == 0.0


def test_a_length_of_one():
    mean, low, high, ema = RollingMean(1), RollingMin(1), RollingMax(1), Ema(1)
    for x in (3.5, -1.0, 7.25):
        assert mean.update(x) == low.update(x) == high.update(x) == ema.update(x) == x
        assert mean.ready
        assert low.ready
        assert high.ready
        assert ema.ready


@pytest.mark.parametrize("make", ONE_NUMBER)
@pytest.mark.parametrize("bad", [NAN, math.inf, -math.inf, 1e100, np.float64("nan"), np.float64("-inf")])
def test_bad_input_is_refused_and_leaves_no_trace(make, bad):
    touched, untouched = make(3), make(3)
    for i in range(20):
        with pytest.raises(StrategyError, match=make.__name__):
            touched.update(bad)
        assert touched.update(i * i % 7) == untouched.update(i * i % 7)
        assert touched.ready == untouched.ready
        assert touched.value == untouched.value


@pytest.mark.parametrize("make", ONE_NUMBER)
def test_the_largest_input_allowed_does_no_lasting_harm(make):
    touched, fresh = make(3), make(3)
    for x in (1, 9e99, -9e99, 9e99, -9e99):
        assert math.isfinite(touched.update(x))
    for i in range(2000):
        touched.update(i % 5)
        fresh.update(i % 5)
    assert touched.value == pytest.approx(fresh.value)


@pytest.mark.parametrize("make", ONE_NUMBER)
@pytest.mark.parametrize("n", [0, -1, 2.0, 2.5, "3", None, True, NAN])
def test_bad_lengths_are_refused_by_name(make, n):
    with pytest.raises(ConfigError, match="span must" if make is Ema else "n must"):
        make(n)


def test_a_deviation_needs_two_values():
    with pytest.raises(ConfigError, match="at least 2"):
        RollingStd(1)


def test_numpy_integers_are_lengths():
    assert RollingMean(np.int64(4)).n == 4


def test_crossing_tells_ties_as_documented():
    crossing = Crossing()
    assert crossing.value is None
    assert not crossing.ready
    story = [(1, 0), (0, 0), (1, 0), (0, 0), (-1, 0), (-2, 0), (3, 0), (-3, 0), (0, 0), (-1, 0), (0, 0), (0, 0), (1, 0)]
    wanted = [0, 0, 1, 0, -1, 0, 1, -1, 0, -1, 0, 0, 1]
    for (a, b), expected in zip(story, wanted, strict=True):
        assert crossing.update(a, b) == crossing.value == expected
        assert crossing.ready


@pytest.mark.parametrize(("first", "second", "expected"), [(0, 1, 1), (0, -1, -1), (0, 0, 0), (1, 2, 0), (-1, 1, 1)])
def test_crossing_starts_silent(first, second, expected):
    crossing = Crossing()
    assert crossing.update(first, 0) == 0
    assert crossing.update(second, 0) == expected


small = st.integers(-2, 2)


@settings(deadline=None, max_examples=50)
@given(st.lists(st.tuples(small, small), min_size=1, max_size=60))
def test_crossing_agrees_with_the_kernels_and_is_odd(pairs):
    one, other = Crossing(), Crossing()
    got = [one.update(a, b) for a, b in pairs]
    assert [-other.update(b, a) for a, b in pairs] == got
    a, b = (np.array(column) for column in zip(*pairs, strict=True))
    assert (rolling.crossed_above(a, b).astype(int) - rolling.crossed_below(a, b)).tolist() == got


def test_crossing_refuses_nan_and_keeps_its_memory():
    crossing = Crossing()
    crossing.update(-1, 0)
    for pair in ((NAN, 0), (0, NAN)):
        with pytest.raises(StrategyError, match="cannot compare"):
            crossing.update(*pair)
    assert crossing.update(math.inf, 0) == 1
