"""The risk gate: every reason at its boundary, and what passes in every state."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtalgo.engine.risk import Denial, DenyReason, Exposure, RiskGate, RiskLimits, TradingState
from xtalgo.model.errors import ConfigError
from xtalgo.model.events import Quote
from xtalgo.model.instruments import ContractBook
from xtalgo.model.types import MINUTE_NS, SECOND_NS

NOW = 1_778_680_800_000_000_000
ES = ContractBook().contract("ES 06-26")
QUOTE = Quote(NOW, ES.name, 4800.00, 4800.25)
FLAT = Exposure(0, 0, 0)

Prices = tuple[float | None, float | None]


def ask(
    gate: RiskGate,
    change: int = 1,
    *,
    exposure: Exposure = FLAT,
    prices: Prices = (None, None),
    opened: int = 0,
    quote: Quote | None = QUOTE,
    now: int = NOW,
    account: str = "Sim101",
) -> Denial | None:
    return gate.check(now, account, ES, change, prices, exposure, opened, quote)


def reason(denial: Denial | None) -> DenyReason | None:
    return None if denial is None else denial.reason


# --- one reason after the other --------------------------------------------------------------------------------------


def test_without_limits_everything_passes() -> None:
    gate = RiskGate()
    assert gate.is_open
    assert ask(gate, 10_000, opened=10_000, prices=(1.0, None), quote=None) is None


@pytest.mark.parametrize("sign", [1, -1])
def test_order_size(sign: int) -> None:
    gate = RiskGate(RiskLimits(max_order_quantity=5))
    assert not gate.is_open
    assert ask(gate, sign * 5) is None
    denial = ask(gate, sign * 6)
    assert denial == Denial(DenyReason.ORDER_SIZE, "6 contracts, at most 5")


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize(
    ("position", "same", "other", "most"),
    [
        (0, 0, 0, 5),
        (2, 0, 0, 3),
        (2, 2, 0, 1),
        (0, 4, 9, 1),  # what is open on the other side may never fill
        (-3, 0, 0, 8),  # through flat
        (-3, 6, 0, 2),
    ],
)
def test_position(sign: int, position: int, same: int, other: int, most: int) -> None:
    gate = RiskGate(RiskLimits(max_position=5))
    exposure = Exposure(sign * position, *((same, other) if sign > 0 else (other, same)))
    assert ask(gate, sign * most, exposure=exposure) is None
    denial = ask(gate, sign * (most + 1), exposure=exposure)
    assert denial == Denial(DenyReason.POSITION, "ES 06-26 could reach 6, at most 5")


def test_open_orders() -> None:
    gate = RiskGate(RiskLimits(max_open_orders=3))
    assert ask(gate, opened=2) is None
    assert ask(gate, opened=3) == Denial(DenyReason.OPEN_ORDERS, "3 open, at most 3")
    assert reason(ask(gate, opened=4)) is DenyReason.OPEN_ORDERS


def test_order_rate() -> None:
    """At most three in any span of 60 seconds: the fourth may come 60 seconds after the first."""
    gate = RiskGate(RiskLimits(max_orders_per_minute=3))
    for second in (0, 10, 20):
        now = NOW + second * SECOND_NS
        assert ask(gate, now=now) is None
        assert ask(gate, now=now) is None  # asking alone counts nothing
        gate.passed(now)
    assert ask(gate, now=NOW + MINUTE_NS - 1) == Denial(DenyReason.ORDER_RATE, "3 in the last minute, at most 3")
    assert ask(gate, now=NOW + MINUTE_NS) is None
    gate.passed(NOW + MINUTE_NS)
    assert reason(ask(gate, now=NOW + MINUTE_NS + 10 * SECOND_NS - 1)) is DenyReason.ORDER_RATE
    assert ask(gate, now=NOW + MINUTE_NS + 10 * SECOND_NS) is None


@given(gaps=st.lists(st.integers(0, 30) | st.integers(0, MINUTE_NS // SECOND_NS * 2), max_size=40))
def test_no_span_of_a_minute_has_more_orders_than_allowed(gaps: list[int]) -> None:
    gate, now, passed = RiskGate(RiskLimits(max_orders_per_minute=3)), NOW, []
    for gap in gaps:
        now += gap * SECOND_NS
        recent = sum(other > now - MINUTE_NS for other in passed)
        if ask(gate, now=now) is None:
            gate.passed(now)
            passed.append(now)
            assert recent < 3
        else:
            assert recent == 3


@pytest.mark.parametrize(
    ("inside", "outside"),
    [
        ((4802.75, None), (4803.00, None)),  # ten ticks above the ask
        ((4797.50, None), (4797.25, None)),  # ten below the bid
        ((None, 4802.75), (None, 4803.00)),
        ((4800.0, 4797.50), (4800.0, 4797.25)),
        ((4797.50, 4800.0), (4797.25, 4800.0)),
    ],
)
@pytest.mark.parametrize("change", [1, -1])
def test_price_collar(inside: Prices, outside: Prices, change: int) -> None:
    gate = RiskGate(RiskLimits(price_collar=10))
    assert ask(gate, change, prices=inside) is None
    denial = ask(gate, change, prices=outside)
    assert reason(denial) is DenyReason.PRICE_COLLAR
    assert denial is not None
    assert denial.text.endswith("is 11 ticks outside 4800 x 4800.25, at most 10")


def test_price_collar_and_a_crossed_quote() -> None:
    gate = RiskGate(RiskLimits(price_collar=2))
    crossed = Quote(NOW, ES.name, 4801.0, 4800.0)
    for price in (4799.50, 4800.50, 4801.50):
        assert ask(gate, prices=(price, None), quote=crossed) is None
    for price in (4799.25, 4801.75):
        assert reason(ask(gate, prices=(price, None), quote=crossed)) is DenyReason.PRICE_COLLAR


def test_price_collar_needs_a_quote_only_where_there_is_a_price() -> None:
    gate = RiskGate(RiskLimits(price_collar=2))
    assert ask(gate, quote=None) is None
    denial = ask(gate, prices=(4800.0, None), quote=None)
    assert denial == Denial(DenyReason.PRICE_COLLAR, "ES 06-26 has no quote to compare 4800 with")


def test_daily_loss_locks_one_account_until_the_next_day() -> None:
    gate = RiskGate(RiskLimits(daily_loss=500.0))
    assert ask(gate) is None
    gate.lock("Sim101")
    assert (gate.is_locked("Sim101"), gate.is_locked("Sim102"), gate.is_open) == (True, False, False)
    assert ask(gate) == Denial(DenyReason.DAILY_LOSS, "the day's loss in Sim101 reached 500.0")
    assert ask(gate, account="Sim102") is None
    assert ask(gate, -2, exposure=Exposure(2, 0, 0)) is None
    gate.new_day()
    assert not gate.is_locked("Sim101")
    assert ask(gate) is None


@pytest.mark.parametrize(
    ("state", "expected"),
    [(TradingState.REDUCING, DenyReason.REDUCING), (TradingState.HALTED, DenyReason.HALTED)],
)
def test_states(state: TradingState, expected: DenyReason) -> None:
    gate = RiskGate()
    gate.restrict(state, "")
    assert (gate.state, gate.is_open) == (state, False)
    assert ask(gate) == Denial(expected, state.value)
    gate.restrict(state, "the author's wish")
    assert gate.cause == "the author's wish"
    assert ask(gate, -1) == Denial(expected, "the author's wish")
    assert ask(gate, -1, exposure=Exposure(1, 0, 0)) is None
    gate.new_day()
    assert reason(ask(gate)) is expected
    gate.restrict(TradingState.ACTIVE, "")
    assert gate.is_open
    assert ask(gate) is None


def test_a_gate_with_limits_is_never_open_unseen() -> None:
    gate = RiskGate(RiskLimits(max_position=1))
    gate.restrict(TradingState.ACTIVE, "")
    assert not gate.is_open
    gate.new_day()
    assert not gate.is_open


def test_every_reason_of_the_gate_is_given() -> None:
    """Others are the desk's (it is closing), the liaison's (the venue can't be told, or asked), groups' or guards'."""
    limits = {
        DenyReason.ORDER_SIZE: RiskLimits(max_order_quantity=1),
        DenyReason.POSITION: RiskLimits(max_position=1),
        DenyReason.OPEN_ORDERS: RiskLimits(max_open_orders=1),
        DenyReason.ORDER_RATE: RiskLimits(max_orders_per_minute=1),
        DenyReason.PRICE_COLLAR: RiskLimits(price_collar=1),
        DenyReason.DAILY_LOSS: RiskLimits(daily_loss=1),
        DenyReason.REDUCING: RiskLimits(),
        DenyReason.HALTED: RiskLimits(),
    }
    others = {DenyReason.CLOSING, DenyReason.LINK_DOWN, DenyReason.RECONCILING}
    others |= {DenyReason.STALE_QUOTES, DenyReason.IN_DOUBT, DenyReason.EXTERNAL}
    others |= {DenyReason.ACCOUNT_LOSS, DenyReason.DRAWDOWN, DenyReason.CONTRACTS, DenyReason.POSITIONS}
    others |= {DenyReason.GROUP, DenyReason.BUDGET}
    others |= {DenyReason.TRADING_HOURS, DenyReason.FLATTEN_BY, DenyReason.QUOTE_AGE, DenyReason.NAKED}
    assert set(limits) == set(DenyReason) - others
    for expected, limit in limits.items():
        gate = RiskGate(limit)
        gate.passed(NOW)
        if expected is DenyReason.DAILY_LOSS:
            gate.lock("Sim101")
        elif expected in (DenyReason.REDUCING, DenyReason.HALTED):
            gate.restrict(TradingState(expected.value), "")
        denial = ask(gate, 2, opened=1, prices=(1.0, None))
        assert reason(denial) is expected
        assert denial is not None
        assert denial.text


# --- what only reduces -----------------------------------------------------------------------------------------------

sizes = st.integers(0, 6)
signed = st.integers(1, 8) | st.integers(-8, -1)


@pytest.mark.parametrize(
    ("position", "buys", "sells", "change", "expected"),
    [
        (3, 0, 0, -1, True),
        (3, 0, 0, -3, True),
        (3, 0, 0, -4, False),  # through flat
        (3, 0, 2, -1, True),
        (3, 0, 2, -2, False),  # with the sell that is open already
        (3, 9, 0, -3, True),
        (3, 0, 0, 1, False),
        (0, 0, 0, 1, False),
        (0, 0, 0, -1, False),
        (0, 5, 0, -1, False),  # nothing is held yet
        (-3, 0, 0, 3, True),
        (-3, 0, 9, 3, True),
        (-3, 1, 0, 3, False),
        (-3, 0, 0, -1, False),
    ],
)
def test_what_reduces(position: int, buys: int, sells: int, change: int, expected: bool) -> None:
    assert Exposure(position, buys, sells).reduces(change) is expected


@given(position=st.integers(-8, 8), opened=st.lists(st.integers(1, 4), max_size=4), change=signed, data=st.data())
def test_what_reduces_never_grows_or_turns_a_position(
    position: int, opened: list[int], change: int, data: st.DataObject
) -> None:
    """Whatever part of the open orders on its side fills, and whatever part of it."""
    total, other = sum(opened), data.draw(sizes)
    exposure = Exposure(position, total, other) if change > 0 else Exposure(position, other, total)
    sign = 1 if change > 0 else -1
    if not exposure.reduces(change):
        # Not too strict either: all of it together would turn the position, or it adds to it.
        after = position + sign * total + change
        assert position * change >= 0 or after * position < 0
        return
    filled = sum(data.draw(st.integers(0, quantity)) for quantity in opened)
    for part in range(abs(change) + 1):
        after = position + sign * (filled + part)
        assert abs(after) <= abs(position)
        assert after * position >= 0


@given(position=st.integers(-8, 8), buys=sizes, sells=sizes, change=signed)
def test_the_worst_that_could_come_of_it(position: int, buys: int, sells: int, change: int) -> None:
    worst = Exposure(position, buys, sells).worst(change)
    if change > 0:
        assert worst == max(position + part + change for part in range(buys + 1))
    else:
        assert worst == max(-(position - part + change) for part in range(sells + 1))


limits_of = st.builds(
    RiskLimits,
    max_order_quantity=st.none() | st.integers(1, 3),
    max_position=st.none() | st.integers(1, 3),
    max_open_orders=st.none() | st.integers(1, 3),
    max_orders_per_minute=st.none() | st.integers(1, 3),
    price_collar=st.none() | st.integers(1, 3),
    daily_loss=st.none() | st.integers(1, 3),
)


@given(
    limits=limits_of,
    state=st.sampled_from(TradingState),
    locked=st.booleans(),
    exposure=st.builds(Exposure, st.integers(-8, 8), sizes, sizes),
    change=signed,
    price=st.none() | st.sampled_from([1.0, 4800.0, 99_999.0]),
    opened=st.integers(0, 9),
    passed=st.integers(0, 9),
    quoted=st.booleans(),
)
def test_reducing_orders_pass_always_and_others_by_the_rules(
    limits: RiskLimits,
    state: TradingState,
    locked: bool,
    exposure: Exposure,
    change: int,
    price: float | None,
    opened: int,
    passed: int,
    quoted: bool,
) -> None:
    gate = RiskGate(limits)
    for _ in range(passed):
        gate.passed(NOW)
    if state is not TradingState.ACTIVE:
        gate.restrict(state, "")
    locked = locked and limits.daily_loss is not None
    if locked:
        gate.lock("Sim101")
    quote = QUOTE if quoted else None
    denial = ask(gate, change, exposure=exposure, prices=(price, None), opened=opened, quote=quote)
    assert denial == ask(gate, change, exposure=exposure, prices=(price, None), opened=opened, quote=quote)
    if gate.is_open:
        assert denial is None
    if exposure.reduces(change):
        assert denial is None
        return
    broken = {
        DenyReason.HALTED: state is TradingState.HALTED,
        DenyReason.REDUCING: state is TradingState.REDUCING,
        DenyReason.DAILY_LOSS: locked,
        DenyReason.ORDER_SIZE: limits.max_order_quantity is not None and abs(change) > limits.max_order_quantity,
        DenyReason.POSITION: limits.max_position is not None and exposure.worst(change) > limits.max_position,
        DenyReason.OPEN_ORDERS: limits.max_open_orders is not None and opened >= limits.max_open_orders,
        DenyReason.PRICE_COLLAR: limits.price_collar is not None
        and price is not None
        and not (quoted and price == 4800.0),
        DenyReason.ORDER_RATE: limits.max_orders_per_minute is not None and passed >= limits.max_orders_per_minute,
    }
    if denial is None:
        assert not any(broken.values())
    else:
        assert broken[denial.reason]


# --- limits ----------------------------------------------------------------------------------------------------------

WHOLE = ("max_order_quantity", "max_position", "max_open_orders", "max_orders_per_minute", "price_collar")


@pytest.mark.parametrize("name", [*WHOLE, "daily_loss"])
@pytest.mark.parametrize("bad", [0, -1, -0.5, True, False, "5", float("nan"), [1]])
def test_limits_are_positive(name: str, bad: object) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be a positive (whole )?number, not"):
        RiskLimits(**{name: bad})  # type: ignore[arg-type]


@pytest.mark.parametrize("name", WHOLE)
@pytest.mark.parametrize("bad", [1.5, 2.0])
def test_counts_are_whole(name: str, bad: float) -> None:
    with pytest.raises(ConfigError, match=f"{name} must be a positive whole number, not {bad}"):
        RiskLimits(**{name: bad})  # type: ignore[arg-type]


def test_limits_that_are_fine() -> None:
    limits = RiskLimits(**dict.fromkeys(WHOLE, 1), daily_loss=0.5)  # type: ignore[arg-type]
    assert limits.daily_loss == 0.5
    assert RiskLimits(daily_loss=500).daily_loss == 500
    assert all(getattr(RiskLimits(), name) is None for name in (*WHOLE, "daily_loss"))
    with pytest.raises(AttributeError):
        limits.max_position = 9  # type: ignore[misc]
    with pytest.raises(TypeError):
        RiskLimits(5)  # type: ignore[misc]
