"""Names of instruments, contract facts and tick arithmetic."""

from __future__ import annotations

import csv
import tomllib
from decimal import Decimal
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from xtalgo.model.errors import ConfigError
from xtalgo.model.instruments import Contract, ContractBook, InstrumentName, parse_name
from xtalgo.model.roots import DEFAULT_COMMISSION, ROOTS

CODES = "FGHJKMNQUVXZ"
WORDS = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")
SPECS = Path(__file__).parents[2].parent / "shared" / "data" / "futures_specs.csv"

BOOK = ContractBook()
CONTRACTS = {root: BOOK.contract(f"{root} 12-26") for root in ROOTS}

roots = st.sampled_from(sorted(ROOTS))
ticks = st.integers(-(2**40), 2**40)


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        *("ES 06-26", "ES 6-26", "es 6-26", "ES 06-2026", "  es   06-26 ", "ESM26", "esm26", "ESM2026", "ESM6", "EsM6"),
        *("ES JUN26", "ES JUN 26", "es jun26", "ES JUN2026", "ES Jun 2026"),
    ],
)
def test_many_spellings_of_one_contract(text: str) -> None:
    assert parse_name(text).is_dated
    assert parse_name(text).dated(2026) == "ES 06-26"
    assert BOOK.pin(text, ["MNQ 06-26", "ES 06-26"]) == "ES 06-26"


def _spellings(root: str, month: int, year: int) -> list[str]:
    code, word, short = CODES[month - 1], WORDS[month - 1], year % 100
    return [
        f"{root} {month:02d}-{short:02d}",
        f"{root} {month}-{short:02d}",
        f"{root} {month:02d}-{year}",
        f"{root}{code}{short:02d}",
        f"{root}{code}{year}",
        f"{root}{code}{year % 10}",
        f"{root} {word}{short:02d}",
        f"{root} {word} {short:02d}",
        f"{root} {word}{year}",
    ]


@given(root=roots, month=st.integers(1, 12), year=st.integers(2010, 2040))
@example(root="M2K", month=5, year=2026)
@example(root="6E", month=12, year=2025)
@example(root="M6E", month=6, year=2030)
def test_spellings_of_every_root(root: str, month: int, year: int) -> None:
    canonical = f"{root} {month:02d}-{year % 100:02d}"
    others = [f"{root} {month:02d}-{(year + 1) % 100:02d}", f"{root} {month % 12 + 1:02d}-{year % 100:02d}"]
    for spelling in _spellings(root, month, year):
        for text in (spelling, spelling.lower(), f" {spelling} "):
            name = parse_name(text)
            assert (name.root, name.month) == (root, month), text
            assert name.dated(year) == canonical, text
            assert BOOK.pin(text, [*others, canonical]) == canonical, text


@given(root=st.text("ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", min_size=1, max_size=6), month=st.integers(1, 12))
def test_roots_that_nobody_knows(root: str, month: int) -> None:
    for text in (f"{root} {month:02d}-26", f"{root} {month}-26", f"{root} {WORDS[month - 1]}26"):
        assert parse_name(text) == InstrumentName(root, month, 2026)


@given(near=st.integers(2001, 2090), digit=st.integers(0, 9))
@example(near=2026, digit=5)
@example(near=2026, digit=4)
@example(near=2029, digit=0)
def test_a_one_digit_year_is_the_first_from_last_year_on(near: int, digit: int) -> None:
    name = parse_name(f"ESM{digit}")
    assert (name.year, name.year_digit) == (None, digit)
    year = 2000 + int(name.dated(near)[-2:])
    assert year % 10 == digit
    assert near - 1 <= year <= near + 8


def test_one_digit_years_by_example() -> None:
    assert [parse_name(f"ESH{digit}").dated(2024) for digit in "3456"] == [
        *("ES 03-23", "ES 03-24", "ES 03-25", "ES 03-26"),
    ]
    assert parse_name("ESH2").dated(2024) == "ES 03-32"
    assert parse_name("ESZ9").dated(2030) == "ES 12-29"


@pytest.mark.parametrize("root", sorted(ROOTS))
def test_a_root_and_its_continuous_name(root: str) -> None:
    for text in (root, root.lower(), f"{root}1!", f" {root.lower()}1! "):
        assert parse_name(text) == InstrumentName(root)
        assert not parse_name(text).is_dated
        assert parse_name(text).dated(2026) == root


@pytest.mark.parametrize(
    "text",
    [
        *("", "  ", "ES 00-26", "ES 13-26", "ES 06-126", "ES 06-6", "ES 06/26", "ES JUNE26", "ES JUN6", "ES M26"),
        *("E S", "ES!", "ES1!!", "ES 06-26 X", "ES,NQ", "ES 06-26,NQ 06-26", "ABCDEFGHIJKLM", "É 06-26"),
    ],
)
def test_what_is_no_name(text: str) -> None:
    with pytest.raises(ConfigError, match="is not an instrument name; write it as 'ES 06-26'") as caught:
        parse_name(text)
    assert repr(text) in str(caught.value)


# --- pinning ---------------------------------------------------------------------------------------------------------

HELD = ["MNQ 06-26", "ES 06-26", "ES 09-26", "6E 06-26", "M2K 03-26"]


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("MNQ", "MNQ 06-26"),
        ("mnq1!", "MNQ 06-26"),
        ("6E", "6E 06-26"),
        ("6E1!", "6E 06-26"),
        ("m2k", "M2K 03-26"),
        ("M2KH6", "M2K 03-26"),
        ("ESU6", "ES 09-26"),
        ("ES SEP26", "ES 09-26"),
        ("ES 9-26", "ES 09-26"),
    ],
)
def test_pin(text: str, name: str) -> None:
    assert BOOK.pin(text, HELD) == name
    assert BOOK.pin(text, iter(HELD)) == name


@pytest.mark.parametrize("text", ["NQ", "ES 06-27", "ESZ6", "ESM7", "MES", "CL1!", "E"])
def test_pin_without_a_match_lists_what_is_held(text: str) -> None:
    with pytest.raises(ConfigError, match="the recording has no") as caught:
        BOOK.pin(text, HELD)
    assert repr(text) in str(caught.value)
    assert all(name in str(caught.value) for name in HELD)


@pytest.mark.parametrize("text", ["ES", "es", "ES1!"])
def test_pin_with_several_matches_lists_them(text: str) -> None:
    with pytest.raises(ConfigError, match=r"could be any of ES 06-26, ES 09-26; name one") as caught:
        BOOK.pin(text, HELD)
    assert all(name in str(caught.value) for name in HELD)


def test_pin_of_a_one_digit_year_with_two_such_years() -> None:
    with pytest.raises(ConfigError, match="could be any of ES 06-26, ES 06-36"):
        BOOK.pin("ESM6", ["ES 06-26", "ES 06-36"])
    assert BOOK.pin("ESM36", ["ES 06-26", "ES 06-36"]) == "ES 06-36"


def test_pin_where_nothing_is_held() -> None:
    with pytest.raises(ConfigError, match="my file has no 'ES'; it holds nothing"):
        BOOK.pin("ES", [], "my file")


def test_pin_of_what_is_no_name() -> None:
    with pytest.raises(ConfigError, match="is not an instrument name"):
        BOOK.pin("E S", HELD)


# --- facts -----------------------------------------------------------------------------------------------------------


def test_there_are_42_roots() -> None:
    assert len(ROOTS) == 42
    assert DEFAULT_COMMISSION > 0
    for root, facts in ROOTS.items():
        assert set(facts.months) <= set(CODES), root
        assert facts.months == "".join(sorted(facts.months)), root
        assert facts.commission > 0, root


@pytest.mark.skipif(not SPECS.exists(), reason="the shared reference data is not here")
def test_facts_are_those_of_the_reference_table() -> None:
    with SPECS.open(newline="") as file:
        rows = {row["root"]: row for row in csv.DictReader(file)}
    assert list(rows) == list(ROOTS)
    for root, row in rows.items():
        facts, contract = ROOTS[root], CONTRACTS[root]
        assert Fraction(repr(facts.tick_size)) == Fraction(row["tick_size"]), root
        assert (facts.tick_size, facts.point_value) == (float(row["tick_size"]), float(row["point_value"])), root
        assert (facts.exchange, facts.months) == (row["exchange"], row["months"]), root
        assert (contract.tick_size, contract.point_value) == (facts.tick_size, facts.point_value), root
        assert (contract.exchange, contract.currency) == (row["exchange"], row["currency"]), root
        assert contract.description == row["description"], root


def test_a_contract_by_its_name() -> None:
    contract = BOOK.contract("ES 06-26")
    assert (contract.name, contract.root, contract.tick_size, contract.point_value) == ("ES 06-26", "ES", 0.25, 50)
    assert contract.tick_value == 12.5
    assert contract.money(3) == 37.5
    assert BOOK.contract("ES 06-26") is contract


@pytest.mark.parametrize("root", sorted(ROOTS))
def test_tick_value(root: str) -> None:
    facts = ROOTS[root]
    exact = Fraction(repr(facts.tick_size)) * Fraction(repr(facts.point_value))
    assert CONTRACTS[root].tick_value == pytest.approx(float(exact), rel=1e-15)
    assert CONTRACTS[root].money(-7) == pytest.approx(float(-7 * exact), rel=1e-15)


@pytest.mark.parametrize(
    "name", ["XYZ 06-26", "XYZ", "6Q 06-26", "EURUSD", "ABC-DEF", "A_B", "EUR/USD", "BRK.B", "^GSPC"]
)
def test_an_unknown_root_says_what_to_add_and_adding_it_helps(name: str) -> None:
    with pytest.raises(ConfigError, match=r"xtalgo\.toml") as caught:
        BOOK.contract(name)
    assert repr(name) in str(caught.value)
    _, _, advice = str(caught.value).partition("\n")
    tables = tomllib.loads(advice)["instruments"]
    facts = {root: (table["tick_size"], table["point_value"]) for root, table in tables.items()}
    contract = ContractBook(facts).contract(name)
    assert (contract.name, contract.tick_size, contract.point_value) == (name, 0.25, 50)


def test_facts_of_ones_own_by_root() -> None:
    book = ContractBook({"fdax": (0.5, 25.0), "ES": (0.5, 10.0)})
    for spelling in ("FDAX 06-26", "fdax 6-26", "FDAXM6", "FDAXM26", "FDAX", "FDAX1!"):
        assert book.pin(spelling, ["FDAX 06-26"]) == "FDAX 06-26"
    contract = book.contract("FDAX 06-26")
    assert (contract.root, contract.tick_size, contract.tick_value) == ("FDAX", 0.5, 12.5)
    assert book.contract("ES 06-26").point_value == 10.0  # one's own facts come before the package's
    assert book.contract("NQ 06-26").point_value == 20


@pytest.mark.parametrize("spelling", ["FDAX 06-26", "fdax 6-26", "FDAXM6", "FDAXM26", "FDAX", "FDAX1!"])
def test_facts_of_ones_own_by_dated_name(spelling: str) -> None:
    book = ContractBook({"FDAX 06-26": (0.5, 25.0)})
    assert book.contract("FDAX 06-26").tick_value == 12.5
    assert book.pin(spelling, ["FDAX 06-26"]) == "FDAX 06-26"


def test_facts_of_a_dated_name_come_before_those_of_its_root() -> None:
    for order in (1, -1):
        facts = dict([("ES", (0.5, 10.0)), ("ES 06-26", (1.0, 20.0))][::order])
        assert ContractBook(facts).contract("ES 06-26").tick_size == 1.0
        assert ContractBook(facts).contract("ES 09-26").tick_size == 0.5


def test_names_that_look_like_a_dated_one_are_taken_as_they_stand_when_known() -> None:
    assert parse_name("BTCF6").is_dated
    assert parse_name("BTCF6", ["btcf6"]) == InstrumentName("BTCF6")
    assert ContractBook({"DAXM6": (1.0, 1.0)}).parse("daxm6") == InstrumentName("DAXM6")


@pytest.mark.parametrize("bad", [0, -0.25, float("nan"), float("inf"), "0.25", None, True])
def test_facts_must_be_positive_numbers(bad: object) -> None:
    with pytest.raises(ConfigError, match="tick_size must be a positive number"):
        Contract("X", "X", bad, 50)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="point_value must be a positive number"):
        Contract("X", "X", 0.25, bad)  # type: ignore[arg-type]


def test_facts_may_be_numpy_numbers() -> None:
    assert Contract("X", "X", np.float64(0.1), np.float64(10)).to_price(3) == 0.3


# --- ticks -----------------------------------------------------------------------------------------------------------


@given(root=roots, count=ticks)
@example(root="6J", count=13_401)
@example(root="ZT", count=26_607)
def test_prices_and_ticks_round_trip(root: str, count: int) -> None:
    contract = CONTRACTS[root]
    price = contract.to_price(count)
    assert contract.to_ticks(price) == count
    assert contract.round(price) == price
    assert type(price) is float
    assert type(contract.to_ticks(price)) is int


@given(root=roots, count=ticks)
@example(root="RTY", count=20_001)
@example(root="6E", count=21_723)
def test_the_canonical_price_is_what_its_decimal_text_parses_to(root: str, count: int) -> None:
    contract = CONTRACTS[root]
    exact = count * Decimal(str(contract.tick_size))
    assert contract.to_price(count) == float(f"{exact:f}")
    assert contract.to_ticks(float(f"{exact:f}")) == count


@pytest.mark.parametrize("root", sorted(ROOTS))
def test_the_first_ticks_of_every_root_are_canonical(root: str) -> None:
    contract = CONTRACTS[root]
    step = Decimal(str(contract.tick_size))
    prices = [contract.to_price(count) for count in range(2_000)]
    assert prices == [float(count * step) for count in range(2_000)]
    assert [contract.to_ticks(price) for price in prices] == list(range(2_000))


@given(root=roots, first=ticks, gap=st.integers(-3, 3) | st.integers(-(2**40), 2**40))
def test_canonical_prices_compare_as_their_ticks_do(root: str, first: int, gap: int) -> None:
    contract = CONTRACTS[root]
    second = first + gap
    low, high = contract.to_price(first), contract.to_price(second)
    assert (low < high, low == high, low > high) == (first < second, first == second, first > second)


@given(root=roots, price=st.floats(0.0001, 1_000_000))
def test_rounding_goes_to_the_nearest_tick(root: str, price: float) -> None:
    contract = CONTRACTS[root]
    tick = Fraction(repr(contract.tick_size))
    nearest = contract.to_ticks(price)
    assert abs(nearest * tick - Fraction(price)) <= tick / 2 + Fraction(price) * Fraction(1, 2**50)
    assert contract.round(price) == contract.to_price(nearest)


def test_rounding_by_example() -> None:
    es = CONTRACTS["ES"]
    assert [es.to_ticks(price) for price in (4800.0, 4800.12, 4800.13, 4800.25, 4800.37, 4800.38)] == [
        *(19200, 19200, 19201, 19201, 19201, 19202),
    ]
    assert es.round(4800.13) == 4800.25
    assert CONTRACTS["ZN"].round(110.51) == 110.515625
    assert CONTRACTS["6J"].to_ticks(0.0067005) == 13_401


@given(root=roots, counts=st.lists(ticks, max_size=20), noise=st.floats(-0.4, 0.4))
def test_columns_give_what_single_prices_give(root: str, counts: list[int], noise: float) -> None:
    contract = CONTRACTS[root]
    prices = contract.prices_of(np.array(counts, dtype=np.int64))
    assert prices.dtype == np.float64
    assert prices.tolist() == [contract.to_price(count) for count in counts]
    assert contract.ticks_of(prices).dtype == np.int64
    assert contract.ticks_of(prices).tolist() == counts
    off = prices + noise * contract.tick_size
    assert contract.ticks_of(off).tolist() == [contract.to_ticks(price) for price in off.tolist()]
