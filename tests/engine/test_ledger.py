"""Positions and P&L: exact to the last bit, by average cost."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xtalgo.engine.ledger import NANO, Book, Ledger
from xtalgo.model.events import Fill
from xtalgo.model.instruments import Contract, ContractBook
from xtalgo.model.roots import ROOTS
from xtalgo.model.types import Side

CONTRACTS = ContractBook()
ES, MNQ = CONTRACTS.contract("ES 06-26"), CONTRACTS.contract("MNQ 06-26")

changes = st.integers(1, 20) | st.integers(-20, -1)
trades = st.lists(st.tuples(changes, st.integers(-50, 50) | st.integers(1, 200_000)), max_size=40)
marks = st.integers(-50, 200_000)


def book(*trades: tuple[int, float], contract: Contract = ES) -> Book:
    """A book after fills of signed contracts at prices in points."""
    made = Book(contract)
    for change, price in trades:
        made.trade(change, contract.to_ticks(price))
    return made


# --- laws ------------------------------------------------------------------------------------------------------------


@given(trades=trades, mark=marks)
@example(trades=[(1, 0), (1, 0), (1, 1), (-1, 1)], mark=1)
@example(trades=[(3, 1), (-5, 2), (4, 7), (-1, 1)], mark=0)
@example(trades=[(1_001, 199_999), (7_007, 1), (-3, 5), (-8_005, 7)], mark=1)  # beyond what a float holds exactly
def test_realised_and_open_are_the_fills_marked_exactly(trades: list[tuple[int, int]], mark: int) -> None:
    made = Book(ES)
    for n, (change, ticks) in enumerate(trades, 1):
        made.trade(change, ticks)
        marked = sum(change * (mark - ticks) for change, ticks in trades[:n])
        assert made.realized + made.open_pnl(mark) == marked * NANO
        assert made.position == sum(change for change, _ in trades[:n])
        if not made.position:
            assert made.open_pnl(mark) == 0
            assert made.realized % NANO == 0
            assert made.average_price is None


@given(trades=trades, mark=marks)
@example(trades=[(1_001, 199_999), (7_007, 199_990), (-4_321, 5)], mark=1)
def test_realised_follows_the_average_cost(trades: list[tuple[int, int]], mark: int) -> None:
    """Against a second ledger in fractions, which rounds nothing."""
    made, position, average, realized = Book(ES), 0, Fraction(0), Fraction(0)
    for n, (change, ticks) in enumerate(trades, 1):
        made.trade(change, ticks)
        if position * change >= 0:
            average = (average * abs(position) + ticks * abs(change)) / (abs(position) + abs(change))
        else:
            closing = min(abs(change), abs(position))
            realized += closing * (ticks - average) * (1 if position > 0 else -1)
            if abs(change) > abs(position):
                average = Fraction(ticks)
        position += change
        # Each partial close rounds by at most half a billionth of a tick.
        assert abs(Fraction(made.realized, NANO) - realized) <= Fraction(n, 2 * NANO)
        assert made.position == position
        if position:
            assert made.average_price == pytest.approx(float(average) * 0.25, rel=1e-9, abs=1e-6)
            assert Fraction(made.open_pnl(mark), NANO) == pytest.approx(position * (mark - average), rel=1e-9, abs=1e-6)


@given(trades=trades)
def test_a_mirrored_book_has_the_mirrored_pnl(trades: list[tuple[int, int]]) -> None:
    long, short = Book(ES), Book(ES)
    for change, ticks in trades:
        long.trade(change, ticks)
        short.trade(-change, ticks)
    assert short.position == -long.position
    assert abs(short.realized + long.realized) <= len(trades)


@given(trades=trades, mark=marks, root=st.sampled_from(sorted(ROOTS)), fee=st.integers(0, 500))
def test_net_is_the_money_of_both_less_fees(trades: list[tuple[int, int]], mark: int, root: str, fee: int) -> None:
    contract = CONTRACTS.contract(root)
    made = Book(contract)
    for change, ticks in trades:
        made.trade(change, ticks, fee / 100)
    value = Fraction(repr(contract.tick_size)) * Fraction(repr(contract.point_value))
    marked = sum(change * (mark - ticks) for change, ticks in trades) * value
    exact = marked - Fraction(fee, 100) * len(trades)
    assert made.net(mark) == pytest.approx(float(exact), rel=1e-9, abs=1e-6)


# --- examples --------------------------------------------------------------------------------------------------------


def test_a_partial_close_settles_against_the_average_cost() -> None:
    """Two lots at 4800.00 and 4800.25 cost 4800.125 on average: one sold at 4801.00 makes 0.875 x $50."""
    made = book((1, 4800.0), (1, 4800.25), (-1, 4801.0))
    assert made.money(made.realized) == 43.75
    assert (made.position, made.average_price) == (1, 4800.125)
    assert made.money(made.open_pnl(ES.to_ticks(4801.0))) == 43.75
    made.trade(-1, ES.to_ticks(4801.0))
    assert made.money(made.realized) == 87.50
    assert (made.position, made.average_price) == (0, None)


def test_an_average_with_thirds() -> None:
    """Bought at 4800.00, 4800.00 and 4800.25: a third of a tick above 4800. No cent is lost when all is closed."""
    made = book((2, 4800.0), (1, 4800.25))
    assert made.average_price == pytest.approx(4800 + 0.25 / 3, abs=1e-9)
    made.trade(-1, ES.to_ticks(4800.25))  # two thirds of a tick
    assert abs(made.realized - Fraction(2, 3) * NANO) <= 1
    assert made.money(made.realized) == pytest.approx(12.5 * 2 / 3, abs=1e-7)
    made.trade(-1, ES.to_ticks(4800.25))
    made.trade(-1, ES.to_ticks(4800.25))
    assert made.realized == 2 * NANO
    assert made.money(made.realized) == 25.0


def test_the_same_for_a_short() -> None:
    made = book((-2, 4800.0), (-1, 4799.75))
    assert made.average_price == pytest.approx(4800 - 0.25 / 3, abs=1e-9)
    made.trade(3, ES.to_ticks(4799.0))
    assert made.money(made.realized) == (2 * 4 + 3) * 12.5
    assert (made.position, made.average_price) == (0, None)


def test_a_reversal_opens_at_its_own_price() -> None:
    made = book((2, 4800.0), (-5, 4801.0))
    assert made.money(made.realized) == 2 * 1.0 * 50
    assert (made.position, made.average_price) == (-3, 4801.0)
    assert made.money(made.open_pnl(ES.to_ticks(4800.5))) == 3 * 0.5 * 50
    made.trade(4, ES.to_ticks(4802.0))
    assert made.money(made.realized) == 100 - 150
    assert (made.position, made.average_price) == (1, 4802.0)


def test_adding_realises_nothing() -> None:
    made = book((-1, 4800.0), (-3, 4802.0))
    assert (made.realized, made.position, made.average_price) == (0, -4, 4801.5)


def test_fees_are_kept_to_the_millionth_of_a_dollar() -> None:
    made = Book(MNQ)
    for _ in range(10):
        made.trade(1, 72_000, 0.1)
    made.trade(-10, 72_004, 0.123456)
    assert made.fees == 1_123_456
    assert made.money(made.realized) == 10 * 4 * 0.5
    assert made.net(None) == made.net(72_000) == 20.0 - 1.123456


def test_an_open_position_without_a_mark_counts_at_cost() -> None:
    made = book((2, 4800.0), (-1, 4801.0))
    made.trade(1, ES.to_ticks(4802.0), 2.5)
    assert made.net(None) == 50.0 - 2.5
    assert made.net(ES.to_ticks(4802.0)) == 50.0 - 2.5 + 100.0


# --- the ledger ------------------------------------------------------------------------------------------------------


def fill(n: int, account: str, name: str, side: Side, quantity: int, price: float, fee: float = 0.0) -> Fill:
    return Fill(n, f"r-{n}", f"x-{n}", account, name, side, quantity, price, fee, n)


def test_books_by_strategy_account_and_instrument() -> None:
    ledger = Ledger()
    ledger.record("A", ES, fill(1, "Sim101", ES.name, Side.BUY, 2, 4800.0, 5.8))
    ledger.record("B", ES, fill(2, "Sim101", ES.name, Side.SELL, 3, 4801.0))
    ledger.record("A", ES, fill(3, "Sim102", ES.name, Side.BUY, 7, 4801.0))
    ledger.record("A", MNQ, fill(4, "Sim101", MNQ.name, Side.BUY, 1, 18_000.0))
    made = ledger.record("A", ES, fill(5, "Sim101", ES.name, Side.SELL, 1, 4801.0, 2.9))
    assert made is ledger.book("A", "Sim101", ES)
    assert (made.position, made.average_price, made.money(made.realized)) == (1, 4800.0, 50.0)
    assert ledger.book("B", "Sim101", ES).position == -3
    # The venue nets by account: no strategy's own.
    assert ledger.account_position("Sim101", ES.name) == -2
    assert ledger.account_position("Sim102", ES.name) == 7
    assert ledger.account_position("Sim101", MNQ.name) == 1
    assert ledger.account_position("Sim103", ES.name) == 0
    views = {(view.owner, view.account, view.instrument): view for view in ledger.views()}
    assert len(views) == 4
    view = views["A", "Sim101", ES.name]
    assert (view.quantity, view.average_price, view.realized) == (1, 4800.0, 50.0)
    assert view.fees == pytest.approx(8.7, abs=1e-9)


@given(rows=st.lists(st.tuples(st.sampled_from("AB"), st.sampled_from([Side.BUY, Side.SELL]), st.integers(1, 5))))
def test_an_account_is_the_sum_of_its_books(rows: list[tuple[str, Side, int]]) -> None:
    ledger = Ledger()
    for n, (owner, side, quantity) in enumerate(rows):
        ledger.record(owner, ES, fill(n, "Sim101", ES.name, side, quantity, 4800.0))
    assert ledger.account_position("Sim101", ES.name) == sum(side * quantity for _, side, quantity in rows)
    for owner in {owner for owner, _, _ in rows}:
        own = sum(side * quantity for name, side, quantity in rows if name == owner)
        assert ledger.book(owner, "Sim101", ES).position == own
