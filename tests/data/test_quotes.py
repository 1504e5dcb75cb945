"""Recordings: which files are read, in which order their quotes come, and what is said about odd ones."""

import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xtalgo.data.quotes import Recording, SkipReason, load_recording, quote_files, write_quotes
from xtalgo.model.errors import ConfigError, DataError
from xtalgo.model.instruments import ContractBook

BOOK = ContractBook()
HEADER = "timestamp,instrument,bid,ask"
T0 = 1_773_667_800_000_000_000
COLUMNS = ("ts", "bid", "ask", "last", "volume", "bid_size", "ask_size", "order")


def csv(path: Path, *lines: str, header: str = HEADER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join((header, *lines, "")), encoding="utf-8")
    return path


def load(*paths: Path | str, book: ContractBook = BOOK, **options: bool) -> Recording:
    return load_recording(list(paths), book, **options)


def story(recording: Recording) -> list[tuple[int, str, float]]:
    """Stamp (from T0), instrument and bid of each quote in order."""
    return [(q.ts - T0, q.instrument, q.bid) for q in recording.table.quotes(0, len(recording.table))]


def test_a_folder_is_its_quote_files_by_name(tmp_path):
    for name in ("b.csv", "a.parquet", "C.CSV.gz", "notes.txt", ".hidden.csv", "c.csv.bak", "below/d.csv"):
        csv(tmp_path / name)
    (tmp_path / "folder.csv").mkdir()
    assert [path.name for path in quote_files([tmp_path])] == ["C.CSV.gz", "a.parquet", "b.csv"]


def test_patterns_are_expanded_sorted_and_may_match_folders(tmp_path):
    for name in ("2/b.csv", "2/a.csv", "1/z.parquet", "1/readme.md", "top.csv"):
        csv(tmp_path / name)

    def names(pattern: str) -> list[str]:
        return [path.relative_to(tmp_path).as_posix() for path in quote_files([str(tmp_path / pattern)])]

    assert names("*") == ["1/z.parquet", "2/a.csv", "2/b.csv", "top.csv"]
    assert names("**/*.csv") == ["2/a.csv", "2/b.csv", "top.csv"]
    assert names("?/[ab].csv") == ["2/a.csv", "2/b.csv"]


def test_a_name_with_brackets_is_a_name_first(tmp_path):
    path = csv(tmp_path / "es[1].csv")
    csv(tmp_path / "es1.csv")
    assert quote_files([path]) == [path]


def test_a_file_named_twice_is_read_once(tmp_path, monkeypatch):
    csv(tmp_path / "a.csv", f"{T0},ES 06-26,1,2")
    csv(tmp_path / "b.csv", f"{T0},ES 06-26,1,2")
    monkeypatch.chdir(tmp_path)
    given = ["b.csv", tmp_path / "b.csv", ".", os.path.join(".", "*.csv"), tmp_path]
    assert [path.name for path in quote_files(given)] == ["b.csv", "a.csv"]
    assert quote_files("a.csv") == [Path("a.csv")]  # a lone string is a path, not a sequence of letters


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("none.csv", "no such file or folder"),
        ("*.parquet", "no quote file matches this pattern"),
        ("empty", "no quote file in this folder"),
        ("notes.txt", "not a quote file, going by its name"),
        ("n*.txt", "no quote file matches this pattern"),
    ],
)
def test_nothing_found_is_an_error(tmp_path, name, words):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        load(str(tmp_path / name))
    assert str(caught.value).startswith(f"{tmp_path / name}: {words}")


def test_no_paths_at_all():
    with pytest.raises(DataError, match="no quote files were given"):
        load()


def test_quotes_are_merged_by_time_then_seq_then_file_then_row(tmp_path):
    header = HEADER + ",seq"
    one = csv(
        tmp_path / "1.csv",
        f"{T0},ES 06-26,1,9,5",
        f"{T0},ES 06-26,2,9,5",
        f"{T0},NQ 06-26,3,9,7",
        f"{T0 + 9},ES 06-26,4,9,0",
        header=header,
    )
    two = csv(
        tmp_path / "2.csv",
        f"{T0},MNQ 06-26,5,9,5",
        f"{T0},MNQ 06-26,6,9,6",
        f"{T0 + 5},ES 06-26,7,9,99",
        header=header,
    )
    early = csv(tmp_path / "3.csv", f"{T0},ES 06-26,8,9")  # no seq counts as 0
    assert [bid for _, _, bid in story(load(one, two))] == [1, 2, 5, 6, 3, 7, 4]
    assert [bid for _, _, bid in story(load(two, one))] == [5, 1, 2, 6, 3, 7, 4]
    assert [bid for _, _, bid in story(load(one, early))] == [8, 1, 2, 3, 4]
    assert [bid for _, _, bid in story(load(early, two, one))] == [8, 5, 1, 2, 6, 3, 7, 4]


@settings(deadline=None, max_examples=50)
@given(
    st.lists(
        st.lists(st.tuples(st.integers(0, 5), st.integers(0, 2), st.integers(0, 2)), min_size=1, max_size=12),
        min_size=1,
        max_size=3,
    )
)
def test_merging_is_sorting_by_the_whole_key(tmp_path_factory, files):
    folder = tmp_path_factory.mktemp("merge")
    names = ("ES 06-26", "MNQ 06-26", "NQ 06-26")
    expected = []
    for k, rows in enumerate(files):
        lines = [f"{T0 + ts},{names[code]},{i + 1},99,{seq}" for i, (ts, seq, code) in enumerate(rows)]
        csv(folder / f"{k}.csv", *lines, header=HEADER + ",seq")
        expected += [(ts, seq, k, i, names[code]) for i, (ts, seq, code) in enumerate(rows)]
    recording = load(folder, sort=True)
    assert story(recording) == [(ts, name, i + 1) for ts, _, _, i, name in sorted(expected)]
    table = recording.table
    for name in table.instruments:
        assert bool((np.diff(table.ts[table.rows(name)]) >= 0).all())


def test_time_that_goes_back_is_an_error_unless_sorted(tmp_path):
    path = csv(tmp_path / "a.csv", f"{T0 + 2},ES 06-26,1,9", f"{T0 + 1},NQ 06-26,2,9", f"{T0},ES 06-26,3,9")
    with pytest.raises(DataError) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path}: row 3: time goes back from 2026-03-16T13:30:00.000000002Z to 2026-03-16T13:30:00.000000001Z; "
        "--sort sorts the recording"
    )
    assert [bid for _, _, bid in story(load(path, sort=True))] == [3, 2, 1]


def test_the_spellings_of_an_instrument_are_one_name_near_the_year_of_the_file(tmp_path):
    path = csv(
        tmp_path / "a.csv", *(f"1703545200,{name},4800,4801" for name in ("ESH4", "ESH24", "es 3-24", "ES MAR24"))
    )
    other = csv(tmp_path / "b.csv", "1893456000,ESH4,4800,4801", "1893456000,ES,4800,4801")  # 2030
    recording = load(path, other)
    assert recording.table.instruments == ("ES", "ES 03-24", "ES 03-34")
    assert np.diff(recording.table.offsets).tolist() == [1, 4, 1]
    assert [file.instruments for file in recording.files] == [("ES 03-24",), ("ES 03-34", "ES")]


def test_unknown_instruments_name_file_and_row_and_can_be_told(tmp_path):
    path = csv(tmp_path / "a.csv", f"{T0},ES 06-26,1,2", f"{T0},EURUSD,1.10001,1.10002")
    with pytest.raises(ConfigError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: row 3: no contract facts for 'EURUSD'; add them to xtalgo.toml")
    table = load(path, book=ContractBook({"EURUSD": (0.00001, 100_000.0)})).table
    assert table.instruments == ("ES 06-26", "EURUSD")
    assert table.bid[table.rows("EURUSD")].tolist() == [1.10001]
    with pytest.raises(ConfigError, match=r"b\.csv: row 2: '~~' is not an instrument name"):
        load(csv(tmp_path / "b.csv", f"{T0},~~,1,2"))


def test_rows_without_usable_prices_are_skipped_and_counted_by_the_first_reason(tmp_path):
    path = csv(
        tmp_path / "a.csv",
        *(
            f"{T0},ES 06-26,{cells}"
            for cells in (
                "1,2,",
                ",,",
                " ,2,1",
                "1,,0",
                "nan,2,",
                "1,-inf,",
                "1,2,Infinity",
                "0,2,",
                "1,-3,",
                "1,2,0.0",
                "0.1,2,",
                "1e300,2,",
                "1e999,2,",
            )
        ),
        header=HEADER + ",last",
    )
    recording = load(path)
    assert len(recording.table) == 1
    assert recording.skipped == {
        SkipReason.NO_BID: 2,
        SkipReason.NO_ASK: 1,
        SkipReason.NON_FINITE: 4,
        SkipReason.TOO_LARGE: 1,
        SkipReason.NOT_POSITIVE: 4,
    }
    assert list(recording.skipped)[:2] == ["no bid", "no ask"]
    assert recording.files[0].rows == 13


def test_when_every_row_is_skipped_there_is_nothing_to_replay(tmp_path):
    path = csv(tmp_path / "a.csv", f"{T0},ES 06-26,0,2", f"{T0},ES 06-26,,2")
    with pytest.raises(DataError) as caught:
        load(path)
    assert str(caught.value) == (
        f"{path}: no usable quotes; every row was skipped (no bid: 1, zero or negative price: 1)"
    )


def test_crossed_quotes_are_kept_and_counted(tmp_path):
    recording = load(csv(tmp_path / "a.csv", f"{T0},ES 06-26,2,1", f"{T0},ES 06-26,2,2", f"{T0},ES 06-26,0,-1"))
    assert (len(recording.table), recording.crossed) == (2, 1)


def test_prices_between_ticks_are_rounded_and_counted_and_noise_is_not(tmp_path):
    recording = load(
        csv(
            tmp_path / "a.csv",
            f"{T0},ES 06-26,4800.26,4800.5,4800.30",
            f"{T0},M2K 06-26,2000.1000000000001,2000.2,2000.3",
            f"{T0},ES 06-26,4800.26,0,",
            header=HEADER + ",last",
        )
    )
    table = recording.table
    assert recording.off_tick == 2
    assert table.bid.tolist() == [4800.25, 2000.1]
    assert table.last.tolist() == [4800.25, 2000.3]


def test_csv_and_parquet_of_the_same_rows_are_the_same_table(tmp_path):
    ts = [T0, T0, T0 + 7, T0 + 10**9]
    columns = {
        "bid": [2000.1, 2000.2, 2000.1, 1999.9],
        "ask": [2000.2, 2000.3, 2000.2, 2000.0],
        "last": [np.nan, 2000.2, 2000.2, 1999.9],
        "volume": [-1, 0, 4, 5],
        "bid_size": [0, -1, 3, 2],
        "ask_size": [1, 2, 3, 4],
    }
    text = [
        ",".join([str(stamp), "RTYM6", *("" if value != value or value == -1 else str(value) for value in row)])
        for stamp, *row in zip(ts, *columns.values(), strict=True)
    ]
    one = load(csv(tmp_path / "a.csv", *text, header="timestamp,instrument," + ",".join(columns)))
    contract = BOOK.contract("RTY 06-26")
    two = load(write_quotes(tmp_path / "a.parquet", contract, ts=ts, source="t", synthetic=True, **columns))
    assert one.table.instruments == two.table.instruments == ("RTY 06-26",)
    for name in COLUMNS:
        np.testing.assert_array_equal(getattr(one.table, name), getattr(two.table, name))
    assert (one.synthetic, two.synthetic, load(tmp_path).synthetic) == (False, True, True)


def test_the_columns_are_read_only(tmp_path):
    table = load(csv(tmp_path / "a.csv", f"{T0},ES 06-26,1,2", f"{T0},NQ 06-26,1,2")).table
    for name in COLUMNS:
        with pytest.raises(ValueError, match="read-only"):
            getattr(table, name)[0] = 1


def test_progress_rises_to_the_size_of_all_files(tmp_path):
    paths = [csv(tmp_path / f"{k}.csv", *[f"{T0},ES 06-26,1,2"] * 50) for k in range(3)]
    write_quotes(
        tmp_path / "z.parquet", BOOK.contract("ES 06-26"), ts=[T0], bid=[1], ask=[2], source="t", synthetic=True
    )
    told = []
    load_recording([*paths, tmp_path], BOOK, on_progress=lambda done, whole: told.append((done, whole)))
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert told == sorted(told)
    assert told[-1] == (size, size)
    assert len(told) == 4


def test_many_rows_grow_the_table_and_keep_their_order(tmp_path):
    count = 150_000  # several blocks, and two files that interleave
    contracts = [BOOK.contract(name) for name in ("ES 06-26", "NQ 06-26")]
    for k, contract in enumerate(contracts):
        ticks = np.arange(count) % 997 + 1
        write_quotes(
            tmp_path / f"{contract.root}.parquet",
            contract,
            ts=T0 + 2 * np.arange(count) + k,
            bid=contract.prices_of(ticks),
            ask=contract.prices_of(ticks + 1),
            source="t",
            synthetic=True,
        )
    table = load(tmp_path).table
    assert table.ts[table.order].tolist() == list(range(T0, T0 + 2 * count))
    assert table.offsets == (0, count, 2 * count)
    for contract in contracts:
        np.testing.assert_array_equal(
            contract.ticks_of(table.bid[table.rows(contract.name)]), np.arange(count) % 997 + 1
        )
