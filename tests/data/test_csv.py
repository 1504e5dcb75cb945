"""CSV quote files: exact stamps, forgiving cells, and a row number for whatever is wrong."""

import gzip
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xtalgo.data import csvquotes
from xtalgo.data.quotes import Recording, load_recording
from xtalgo.model.errors import ConfigError, DataError
from xtalgo.model.instruments import ContractBook
from xtalgo.model.sessions import iso

HEADER = "timestamp,instrument,bid,ask"
T0 = 1_703_545_200_000_000_000  # 2023-12-25 23:00 UTC


def load(path: Path, **options: bool) -> Recording:
    return load_recording([path], ContractBook(), **options)


def write(folder: Path, text: str | bytes, name: str = "quotes.csv") -> Path:
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


def rows(*lines: str, header: str = HEADER) -> str:
    return "\n".join((header, *lines, ""))


@pytest.mark.parametrize(
    ("text", "ts"),
    [
        ("2023-12-25T23:00:00.106846211Z", T0 + 106_846_211),
        ("2023-12-25 23:00:00.1Z", T0 + 100_000_000),
        ("2023-12-26T04:30:00.000000001+05:30", T0 + 1),
        ("2023-12-25T18:00:00-0500", T0),
        ("2023-12-25T23:00:00", T0),
        ("2023-12-25 23:00", T0),
        ("  2023-12-25T23:00:00Z ", T0),
        ("1703545200", T0),
        ("1703545200.106846211", T0 + 106_846_211),
        ("1703545200.1", T0 + 100_000_000),
        ("1703545200106", T0 + 106_000_000),
        ("1703545200106846", T0 + 106_846_000),
        ("1703545200106846211", T0 + 106_846_211),
        ("0", 0),
        ("9223372036.854775807", 2**63 - 1),
        ("9223372036854775807", 2**63 - 1),
    ],
)
def test_stamps_are_read_exactly_in_every_form(tmp_path, text, ts):
    table = load(write(tmp_path, rows(f"{text},ES 03-24,4800,4800.25"))).table
    assert table.ts.tolist() == [ts]


@settings(deadline=None)
@given(st.lists(st.integers(T0, T0 + 10**15), min_size=1, max_size=20).map(sorted), st.sampled_from("inds"))
def test_nanoseconds_survive_every_form_that_has_them(tmp_path_factory, stamps, form):
    write_one = {
        "i": iso,
        "n": str,
        "d": lambda ts: f"{ts // 10**9}.{ts % 10**9:09d}",
        "s": lambda ts: iso(ts).replace("T", " ").removesuffix("Z"),
    }[form]
    lines = [f"{write_one(ts)},ESH4,4800,4800.25" for ts in stamps]
    path = write(tmp_path_factory.mktemp("stamps"), rows(*lines))
    assert load(path).table.ts.tolist() == stamps


@pytest.mark.parametrize(
    ("first", "second", "words"),
    [
        ("2023-12-25T23:00:00Z", "2023-12-25T23:00:01", "without a zone, and the rows above are ISO-8601 with Z"),
        ("2023-12-25T23:00:00Z", "1703545201", "is epoch seconds, and the rows above are ISO-8601 with Z"),
        ("1703545200", "1703545201000", "is epoch milliseconds, and the rows above are epoch seconds"),
        ("1703545200000", "1703545201000000000", "is epoch nanoseconds, and the rows above are epoch milliseconds"),
        ("1703545200000", "1703545201.5", "is epoch seconds, and the rows above are epoch milliseconds"),
        ("2023-12-25T23:00:00Z", "soon", "'soon' is not ISO-8601 with Z"),
        ("2023-12-25T23:00:00Z", "2023-02-30T23:00:00Z", "not a time that exists"),
        ("2023-12-25T23:00:00Z", "2400-01-01T23:00:00Z", "outside 1970 to 2262"),
        ("2023-12-25T23:00:00Z", "1969-01-01T23:00:00Z", "outside 1970 to 2262"),
        ("2023-12-25T23:00:00Z", "2023-12-25T23:00:00.1234567891Z", "is not ISO-8601 with Z"),
        ("1703545200", "9999999999", "outside 1970 to 2262"),
        ("1703545200", "1.703545201e9", "is not epoch seconds"),
        ("1703545200", "-5", "is not epoch seconds"),
        ("2023-12-25T23:00:00Z", "", "timestamp is empty"),
        ("2023-12-25T23:00:00Z", "  ", "timestamp '' is not"),
    ],
)
def test_a_stamp_unlike_those_above_is_an_error_naming_its_row(tmp_path, first, second, words):
    path = write(tmp_path, rows(f"{first},ESH4,1,2", "", f"{first},ESH4,1,2", f"{second},ESH4,1,2"))
    with pytest.raises(DataError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: row 5: timestamp")
    assert words in str(caught.value)


@pytest.mark.parametrize("text", ["noon", "1.7e9", "-1", "20231225 230000", "12345678901234567890"])
def test_a_first_stamp_in_no_known_form(tmp_path, text):
    with pytest.raises(DataError, match=r"quotes\.csv: row 2: timestamp '.*' is neither ISO-8601 nor an epoch"):
        load(write(tmp_path, rows(f"{text},ESH4,1,2")))


def test_all_columns_in_any_order_and_case_with_unknown_ones_named(tmp_path):
    text = rows(
        '7,"4800.25",x,4800,2023-12-25T23:00:00Z,44,ESH4,4800.25,3,9',
        "0,4800.25,,4800,2023-12-25T23:00:00Z,,ESH4,,,8",
        header="ASK_SIZE,Ask,flag, Bid ,Timestamp,Volume,Instrument,last,bid_size,SEQ",
    )
    recording = load(write(tmp_path, text))
    quotes = recording.table.quotes(0, 2)
    assert recording.ignored_columns == ("flag",)
    assert [(q.last, q.volume, q.bid_size, q.ask_size) for q in quotes] == [
        (None, None, None, 0),  # seq 8 comes before seq 9
        (4800.25, 44, 3, 7),
    ]
    assert {(q.instrument, q.bid, q.ask) for q in quotes} == {("ES 03-24", 4800.0, 4800.25)}


def test_unnamed_and_repeated_unknown_columns_do_no_harm(tmp_path):
    text = rows("0,1703545200,ESH4,1,2,a,b", header=",timestamp,instrument,bid,ask,x,x")
    recording = load(write(tmp_path, text))
    assert recording.ignored_columns == ("column 1", "x")
    assert len(recording.table) == 1


@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("last_end", [True, False])
def test_line_ends_and_byte_order_mark(tmp_path, end, mark, last_end):
    lines = [HEADER, "1703545200,ESH4,4800,4800.25", "1703545201,ESH4,4800.25,4800.5"]
    text = end.join(lines) + (end if last_end else "")
    assert load(write(tmp_path, mark + text.encode())).table.ask.tolist() == [4800.25, 4800.5]


def test_whole_numbers_written_as_floats(tmp_path):
    text = rows("1703545200,ESH4,1,2,44.0,7.0", "1703545201,ESH4,1,2,,-1", header=HEADER + ",volume,bid_size")
    table = load(write(tmp_path, text)).table
    assert table.volume.tolist() == [44, -1]
    assert table.bid_size.tolist() == [7, -1]


FULL = HEADER + ",last,volume,bid_size"


@pytest.mark.parametrize(
    ("cells", "words"),
    [
        ("abc,2,,,", "bid 'abc' is not a number"),
        ("1,2x,,,", "ask '2x' is not a number"),
        ("1,2,n/a,,", "last 'n/a' is not a number"),
        ("1,2,,4.5,", "volume '4.5' is not a whole number"),
        ("1,2,,nan,", "volume 'nan' is not a whole number"),
        ("1,2,,-7,", "volume '-7' is not a whole number from 0"),
        ("1,2,,many,", "volume 'many' is not a whole number"),
        ("1,2,,,-2", "bid_size '-2' is not a whole number from 0"),
        ("1,2,,,3000000000", "bid_size '3000000000' is not a whole number from 0 to 2147483647"),
    ],
)
def test_a_bad_cell_is_an_error_naming_file_row_and_column(tmp_path, cells, words):
    padded = "1703545200, ESH4 , 1 ,2,1.0,3.0,4"  # these need a second look, which must not move the row number
    path = write(tmp_path, rows(padded, "", padded, f"1703545200,ESH4,{cells}", *[padded] * 30, header=FULL))
    with pytest.raises(DataError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: row 5: {words}")


def test_seq_may_not_be_empty_or_negative(tmp_path):
    for cell, words in (("", "seq is empty"), ("-1", "seq '-1' is not a whole number")):
        path = write(tmp_path, rows("1,ESH4,1,2,5", f"1,ESH4,1,2,{cell}", header=HEADER + ",seq"))
        with pytest.raises(DataError, match=rf"quotes\.csv: row 3: {words}"):
            load(path)


@pytest.mark.parametrize("line", ["1703545200,ESH4,48", "1703545200,ESH4,1,2,3", "cut", '1703545200,"ESH4,1,2', "  "])
def test_a_wrong_number_of_fields_is_an_error_naming_the_row(tmp_path, line):
    path = write(tmp_path, rows("1703545200,ESH4,1,2", "", line))
    with pytest.raises(DataError, match=r"quotes\.csv: row 4: \d+ fields, and the header has 4"):
        load(path)


def test_rows_are_numbered_across_the_pieces_a_file_is_read_in(tmp_path, monkeypatch):
    lines = [f"{1703545200 + k},ESH4,{4800 + k % 9},4800.25" for k in range(500)]
    good = load(write(tmp_path, rows(*lines))).table
    monkeypatch.setattr(csvquotes, "_PIECE", 97)
    pieces = load(write(tmp_path, rows(*lines))).table
    for name in ("ts", "bid", "ask", "order"):
        np.testing.assert_array_equal(getattr(pieces, name), getattr(good, name))
    for broken, words in (
        ("1703545600,ESH4,x,1", "bid 'x'"),
        ("1703545600,ESH4", "2 fields"),
        ("1703545000,ESH4,1,1", "time goes back from 2023-12-25T23:06:39.000000000Z to 2023-12-25T22:56:40.000000000Z"),
        ("1703545600,,1,1", "instrument is empty"),
        ("1703545600,LOST,1,1", "no contract facts for 'LOST'"),
    ):
        path = write(tmp_path, rows(*lines[:400], broken, *lines[401:]))
        with pytest.raises((DataError, ConfigError)) as caught:
            load(path)
        assert str(caught.value).startswith(f"{path}: row 402: {words}")


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "the file is empty"),
        ("\n\n", "row 1: the header has no column 'timestamp' or 'instrument'"),
        (HEADER, "the file has a header and no rows"),
        (HEADER + "\n\n\n", "the file has a header and no rows"),
        (
            "timestamp,bid,ask\n1,2,3\n",
            "row 1: the header has no column 'instrument', it has 'timestamp', 'bid', 'ask'",
        ),
        ("timestamp;instrument;bid;ask\n", "row 1: the header has no column 'timestamp' or"),
        ("20231225 230000 1068462;4800;4800;4800.25;5\n", "row 1: the header has no column 'timestamp' or"),
        (HEADER + ",Bid\n1,ESH4,1,2,3\n", "row 1: two columns are named 'bid'"),
        (HEADER.encode("utf-16"), "row 1: not UTF-8 text"),
        (b"\x00\x01\x02" * 50, "row 1: not UTF-8 text"),
        (b"PK\x03\x04\xff\xfe", "row 1: not UTF-8 text"),
        (rows("1703545200,ES\xe9,1,2").encode("latin-1"), "at or after row 2: not UTF-8 CSV text"),
        (HEADER.replace("\n", "\r") + "\r1,ESH4,1,2\r", "row 1: not UTF-8 text in lines"),
    ],
)
def test_empty_and_foreign_files_are_one_clear_line(tmp_path, content, words):
    path = write(tmp_path, content)
    with pytest.raises(DataError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: {words}")
    assert "\n" not in str(caught.value)


def test_text_without_line_ends_is_not_read_to_its_end(tmp_path, monkeypatch):
    monkeypatch.setattr(csvquotes, "_PIECE", 1000)
    with pytest.raises(DataError, match=r"quotes\.csv: no line ends; this is no CSV file"):
        load(write(tmp_path, "x" * 10_000))


def test_gzip_is_known_by_its_content(tmp_path):
    text = rows("1703545200,ESH4,4800,4800.25").encode()
    for name, content in (("a.csv", gzip.compress(text)), ("b.csv.gz", text), ("c.CSV.GZ", gzip.compress(text))):
        assert len(load(write(tmp_path, content, name)).table) == 1


def test_truncated_and_damaged_gzip_files(tmp_path):
    packed = gzip.compress(rows(*[f"{1703545200 + k},ESH4,4800,4800.25" for k in range(999)]).encode())
    with pytest.raises(DataError, match=r"cut\.csv\.gz: truncated gzip file"):
        load(write(tmp_path, packed[:-300], "cut.csv.gz"))
    with pytest.raises(DataError, match=r"cut\.csv\.gz: truncated gzip file"):
        load(write(tmp_path, packed[:5], "cut.csv.gz"))
    with pytest.raises(DataError, match=r"bad\.csv\.gz: damaged gzip file"):
        load(write(tmp_path, packed[:-8] + b"\0" * 8, "bad.csv.gz"))


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 400), st.sampled_from([b"", b"\n", b",", b'"', b"x", b"\xff", b"-", b"9", b"\r", b"\0"])
        ),
        min_size=1,
        max_size=4,
    )
)
def test_no_damage_to_a_file_gives_a_foreign_error(tmp_path_factory, damage):
    lines = [f"2023-12-25T23:00:0{k}.5Z,ESH4,480{k}.25,480{k}.5,44" for k in range(9)]
    text = rows(*lines, header=HEADER + ",volume").encode()
    for place, piece in damage:
        text = text[:place] + piece + text[place + 1 :]
    path = write(tmp_path_factory.mktemp("damage"), text)
    said = f"{path}: "
    try:
        load(path)
    except (DataError, ConfigError) as error:
        said = str(error)
    assert said.startswith(f"{path}: ")


DATA = Path(__file__).parents[2].parent / "shared" / "data"


@pytest.mark.skipif(not DATA.exists(), reason="the sample files are not here")
def test_a_real_file(tmp_path):
    recording = load(DATA / "es_l1_20231225a.csv.gz")
    table = recording.table
    assert (len(table), table.instruments) == (14_953, ("ES 03-24",))
    assert recording.ignored_columns == ("last_size", "event", "aggressor")
    assert (recording.skipped, recording.crossed, recording.off_tick) == ({}, 0, 0)
    assert recording.files[0].rows == 14_953
    assert recording.files[0].synthetic is None
    first = table.quotes(0, 1)[0]
    assert (first.ts, first.bid, first.ask, first.volume) == (T0 + 106_846_211, 4800.0, 4800.25, 44)
    assert (first.bid_size, first.ask_size) == (4, 7)
    assert bool((np.diff(table.ts) == 0).any())
