"""Our Parquet files: what is written comes back, byte for byte the same, and foreign files are told apart."""

import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xtalgo.data.quotes import load_recording, write_quotes
from xtalgo.engine.series import QuoteTable
from xtalgo.model.errors import DataError
from xtalgo.model.instruments import ContractBook

BOOK = ContractBook()
ES = BOOK.contract("ES 06-26")
T0 = 1_773_667_800_000_000_000
COLUMNS = ("ts", "bid", "ask", "last", "volume", "bid_size", "ask_size")


def write(path: Path, contract=ES, **columns):
    given = {"ts": [T0, T0 + 1], "bid": [7113.25, 7113.5], "ask": [7113.5, 7113.75]} | columns
    given = {name: column for name, column in given.items() if column is not None}
    return write_quotes(path, contract, **({"source": "a test", "synthetic": True} | given))


def same(one: QuoteTable, other: QuoteTable) -> None:
    assert (one.instruments, one.offsets) == (other.instruments, other.offsets)
    for name in (*COLUMNS, "order"):
        ours, theirs = getattr(one, name), getattr(other, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs, err_msg=name)


def split(folder: Path, table: QuoteTable) -> list[Path]:
    """One file per instrument, with the place of each quote in the whole as its ``seq``."""
    place = np.empty(len(table), dtype=np.int64)
    place[table.order] = np.arange(len(table))
    paths = []
    for name in table.instruments:
        rows = table.rows(name)
        columns = {column: getattr(table, column)[rows] for column in COLUMNS}
        path = folder / f"{name}.parquet"
        paths.append(write_quotes(path, BOOK.contract(name), seq=place[rows], source="t", synthetic=True, **columns))
    return paths


quotes = st.tuples(
    st.integers(0, 2),  # instrument
    st.one_of(st.just(0), st.integers(0, 10**12)),  # gap
    st.integers(1, 10**6),  # bid in ticks
    st.integers(-3, 9),  # spread in ticks
    st.one_of(st.none(), st.integers(1, 10**6)),
    st.one_of(st.none(), st.integers(0, 2**40)),
    st.one_of(st.none(), st.integers(0, 2**31 - 1)),
    st.one_of(st.none(), st.integers(0, 2**31 - 1)),
)


@settings(deadline=None, max_examples=50)
@given(st.lists(quotes, min_size=1, max_size=40))
def test_a_table_survives_its_files(tmp_path_factory, rows):
    contracts = [BOOK.contract(name) for name in ("6J 06-26", "ES 06-26", "MNQ 06-26")]
    contracts = [contract for code, contract in enumerate(contracts) if any(row[0] == code for row in rows)]
    codes = np.unique([row[0] for row in rows], return_inverse=True)[1]
    of = [contracts[code] for code in codes]
    table = QuoteTable.from_rows(
        [contract.name for contract in contracts],
        codes,
        T0 + np.cumsum([row[1] for row in rows], dtype=np.int64),
        [c.to_price(row[2]) for c, row in zip(of, rows, strict=True)],
        [c.to_price(max(1, row[2] + row[3])) for c, row in zip(of, rows, strict=True)],
        [np.nan if row[4] is None else c.to_price(row[4]) for c, row in zip(of, rows, strict=True)],
        *([-1 if row[k] is None else row[k] for row in rows] for k in (5, 6, 7)),
    )
    folder = tmp_path_factory.mktemp("recording")
    split(folder, table)
    recording = load_recording([folder], BOOK)
    same(recording.table, table)
    assert recording.crossed == int((table.ask < table.bid).sum())
    assert (recording.skipped, recording.off_tick, recording.synthetic) == ({}, 0, True)


def test_the_same_quotes_give_the_same_bytes(tmp_path):
    notes = {"seed": "7", "command": "synth ES"}
    first = write(tmp_path / "a.parquet", notes=notes).read_bytes()
    assert write(tmp_path / "b.parquet", notes=dict(reversed(notes.items()))).read_bytes() == first
    assert write(tmp_path / "a.parquet", notes=notes).read_bytes() == first


def test_what_a_file_says_about_itself(tmp_path):
    path = write(tmp_path / "a.parquet", source="made up", notes={"seed": "7"}, volume=[4, -1])
    told = pq.ParquetFile(path).metadata.metadata
    assert {key: told[key] for key in told if key.startswith(b"xtalgo.")} == {
        b"xtalgo.schema": b"1",
        b"xtalgo.instrument": b"ES 06-26",
        b"xtalgo.source": b"made up",
        b"xtalgo.synthetic": b"true",
        b"xtalgo.tick_size": b"0.25",
        b"xtalgo.point_value": b"50",
        b"xtalgo.note.seed": b"7",
    }
    file = load_recording([path], BOOK).files[0]
    assert (file.path, file.rows, file.instruments) == (str(path), 2, ("ES 06-26",))
    assert (file.source, file.synthetic) == ("made up", True)
    assert not load_recording([write(path, synthetic=False)], BOOK).synthetic


def test_other_readers_see_null_where_nothing_was_told(tmp_path):
    path = write(tmp_path / "a.parquet", last=[np.nan, 7113.5], volume=[-1, 7], bid_size=[0, -1])
    table = pq.read_table(path)
    assert table.column("last").to_pylist() == [None, 7113.5]
    assert "BYTE_STREAM_SPLIT" not in pq.ParquetFile(path).metadata.row_group(0).column(4).encodings  # many fail on it
    assert table.column("volume").to_pylist() == [None, 7]
    assert table.column("bid_size").to_pylist() == [0, None]
    assert table.column("ask_size").to_pylist() == [None, None]


def test_synthetic_quotes_take_few_bytes(tmp_path):
    draw = np.random.default_rng(1)
    count = 20_000
    ts = T0 + np.cumsum(draw.exponential(1000, count).astype(np.int64)) * 1_000_000
    bid = 28_000 + np.cumsum(np.rint(draw.standard_t(4, count) * 0.6).astype(np.int64))
    size = 1 + np.abs(np.cumsum(draw.integers(-2, 3, (2, count)), axis=1)) % 120
    path = write(
        tmp_path / "a.parquet",
        ts=ts,
        bid=bid * 0.25,
        ask=(bid + 1) * 0.25,
        last=(bid + draw.integers(0, 2, count)) * 0.25,
        volume=np.cumsum(draw.poisson(1.5, count)),
        bid_size=size[0],
        ask_size=size[1],
        seq=np.arange(count),
    )
    assert path.stat().st_size / count < 7


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"ts": [], "bid": [], "ask": []}, "no quotes to write"),
        ({"bid": [1.0]}, "column 'bid' has 1 values, and 'ts' has 2"),
        ({"ts": [T0, T0 - 1]}, "row 2: time goes back"),
        ({"ts": [T0, T0], "seq": [4, 3]}, "row 2: seq goes back"),
        ({"seq": [-1, 0]}, "row 1: seq is negative"),
        ({"ts": [1.0, 2.0]}, "column 'ts' must hold whole numbers, not float64"),
        ({"bid": [1.0, np.nan]}, "row 2: bid is not a positive number"),
        ({"ask": [0.0, 1.0]}, "row 1: ask is not a positive number"),
        ({"last": [np.nan, np.inf]}, "row 2: last is not a positive number"),
        ({"volume": [3, -2]}, "row 2: volume is negative"),
        ({"ask_size": [3, 2**31]}, "row 2: ask_size is too large"),
    ],
)
def test_columns_that_no_reader_would_take_are_not_written(tmp_path, columns, words):
    with pytest.raises(DataError) as caught:
        write(tmp_path / "a.parquet", **columns)
    assert str(caught.value).startswith(f"{tmp_path / 'a.parquet'}: ")
    assert words in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_a_file_appears_whole_or_not_at_all(tmp_path, monkeypatch):
    path = write(tmp_path / "a.parquet")
    before = path.read_bytes()

    def fail(_source, _target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(DataError, match=r"a\.parquet: cannot be written: No space left on device"):
        write(path, bid=[1.0, 2.0])
    assert [path.name for path in tmp_path.iterdir()] == ["a.parquet"]
    assert path.read_bytes() == before
    with pytest.raises(DataError, match=r"b\.parquet: cannot be written"):
        write(tmp_path / "no such folder" / "b.parquet")


def rewrite(path: Path, change) -> Path:
    """The file again, as ``change`` of its table, by way of another writer."""
    table = change(pq.read_table(write(path)))
    pq.write_table(table, path)
    return path


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: t.replace_schema_metadata({}), "not a quote file of ours: it has no 'xtalgo.schema'"),
        (lambda t: t.replace_schema_metadata({"xtalgo.schema": "1"}), "it has no 'xtalgo.instrument'"),
        (
            lambda t: t.replace_schema_metadata({"xtalgo.schema": "9", "xtalgo.instrument": "ES 06-26"}),
            "schema version '9', and this xtalgo reads version 1",
        ),
        (lambda t: t.drop_columns(["ask"]), "no column 'ask'; it has ts, seq, bid, last"),
        (lambda t: t.append_column("bid", t.column("ask")), "two columns 'bid'"),
        (
            lambda t: t.set_column(2, "bid", t.column("bid").cast(pa.float32())),
            "column 'bid' holds float, not double",
        ),
        (lambda t: t.slice(0, 0), "the file holds no rows"),
        (lambda t: t.set_column(0, "ts", pa.array([T0, None])), "row 2: ts is empty"),
        (lambda t: t.set_column(0, "ts", pa.array([T0, T0 - 1])), "row 2: time goes back from 2026-03-16T13:30:00.0"),
        (lambda t: t.set_column(5, "volume", pa.array([3, -9])), "row 2: volume is negative"),
    ],
)
def test_foreign_and_ill_files_are_one_clear_line(tmp_path, change, words):
    path = rewrite(tmp_path / "a.parquet", change)
    with pytest.raises(DataError) as caught:
        load_recording([path], BOOK)
    assert str(caught.value).startswith(f"{path}: ")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_columns_that_need_not_be_there_and_columns_that_mean_nothing(tmp_path):
    path = rewrite(
        tmp_path / "a.parquet",
        lambda t: t.select(["ts", "bid", "ask"]).append_column("mood", pa.array(["calm", "calm"])),
    )
    recording = load_recording([path], BOOK)
    assert recording.ignored_columns == ("mood",)
    assert [(q.last, q.volume, q.bid_size) for q in recording.table.quotes(0, 2)] == [(None, None, None)] * 2


def test_bad_prices_of_another_writer_are_skipped_and_counted(tmp_path):
    nan, inf = float("nan"), float("inf")

    def change(table):
        columns = {
            "ts": pa.array(range(T0, T0 + 9)),
            "bid": pa.array([1.0, None, 1.0, nan, -inf, 0.0, -1.0, 1.0, 1e300]),
            "ask": pa.array([2.0, 2.0, None, 2.0, 2.0, 2.0, 2.0, 2.0, 2.0]),
            "last": pa.array([None, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, nan, 1.0]),
        }
        return pa.table(columns).replace_schema_metadata(table.schema.metadata)

    recording = load_recording([rewrite(tmp_path / "a.parquet", change)], BOOK)
    assert recording.table.ts.tolist() == [T0]
    assert recording.skipped == {
        "no bid": 1,
        "no ask": 1,
        "non-finite price": 3,
        "price too large": 1,
        "zero or negative price": 2,
    }
    assert recording.files[0].rows == 9


def test_empty_truncated_and_damaged_files(tmp_path):
    count = 5_000
    path = write(
        tmp_path / "a.parquet",
        ts=np.arange(T0, T0 + count),
        bid=np.random.default_rng(1).integers(1, 10**6, count) * 0.25,
        ask=np.full(count, 1.0),
    )
    whole = path.read_bytes()
    middle = len(whole) // 2
    for content, words in (
        (b"", "the file is empty"),
        (b"timestamp,instrument,bid,ask\n", "not a Parquet file, whatever its name says"),
        (whole[:-20], "truncated or damaged Parquet file"),
        (whole[:middle], "truncated or damaged Parquet file"),
        (whole[:4], "truncated or damaged Parquet file"),
        (whole[:middle] + b"\0" * 9 + whole[middle + 9 :], "damaged after row 0"),
    ):
        path.write_bytes(content)
        with pytest.raises(DataError) as caught:
            load_recording([path], BOOK)
        assert str(caught.value).startswith(f"{path}: {words}")
        assert "\n" not in str(caught.value)
