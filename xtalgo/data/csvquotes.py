"""CSV quote files, plain or gzip: text to columns, exactly, and a row number for whatever is wrong."""

from __future__ import annotations

import csv
import enum
import gzip
import re
import zlib
from collections.abc import Callable, Generator, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, TypeAlias, TypeVar, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
from attrs import define, field
from numpy.typing import NDArray

from xtalgo.data.parquet import Block, RawFile, told_floats, told_ints
from xtalgo.engine.series import UNKNOWN
from xtalgo.model.errors import DataError
from xtalgo.model.types import MILLISECOND_NS, SECOND_NS, Ns

__all__ = ["COLUMNS", "read_csv"]

Ints: TypeAlias = NDArray[np.int64]
_T = TypeVar("_T")

COLUMNS = ("timestamp", "instrument", "bid", "ask", "last", "volume", "bid_size", "ask_size", "seq")
"""The columns that are read, by their names in the header; the first four must be there."""

_REQUIRED = COLUMNS[:4]
_SIZE_LIMIT = {"bid_size": 2**31 - 1, "ask_size": 2**31 - 1}
_EXACT = 2**53  # beyond this a float is no longer sure of its last digit

# Text is taken in pieces of this size, which bounds what is held besides the result.
_PIECE = 2 * 1024 * 1024


def read_csv(path: Path) -> RawFile:
    """Open a CSV file with a header. Raises DataError for text that has no header of ours."""
    stream = _Text(path)
    pieces = stream.pieces()
    first = next(pieces, b"")
    line, _, body = first.removeprefix(b"\xef\xbb\xbf").partition(b"\n")
    if not first:
        raise DataError(f"{path}: the file is empty")
    header = _header(path, line)
    reader = _Reader(path, header)
    ignored = tuple(name or f"column {k}" for k, name in enumerate(header, 1) if name.lower() not in COLUMNS)
    return RawFile(_blocks(path, stream, reader, body, pieces), ignored)


def _header(path: Path, line: bytes) -> list[str]:
    """The column names of the first line, checked."""
    try:
        names = [name.strip() for name in next(csv.reader([line.decode("utf-8").rstrip("\r")]), [])] or [""]
    except (UnicodeDecodeError, csv.Error):
        names = []
    if not names or "\x00" in "".join(names):
        raise DataError(f"{path}: row 1: not UTF-8 text in lines; if this is a CSV file at all, save it as CSV UTF-8")
    lower = [name.lower() for name in names]
    for name in COLUMNS:
        if lower.count(name) > 1:
            raise DataError(f"{path}: row 1: two columns are named {name!r}; remove or rename one")
    missing = [name for name in _REQUIRED if name not in lower]
    if missing:
        listing = ", ".join(repr(name[:30]) for name in names[:12]) + (", ..." if len(names) > 12 else "")
        raise DataError(
            f"{path}: row 1: the header has no column {' or '.join(map(repr, missing))}, it has {listing}; a quote "
            f"file is split by commas and names its columns: {', '.join(_REQUIRED)} (docs/quote-files.md)"
        )
    return names


def _blocks(
    path: Path, stream: _Text, reader: _Reader, body: bytes, pieces: Iterator[bytes]
) -> Generator[Block, None, None]:
    line = 2
    rows = 0
    piece: bytes | None = body
    while piece is not None:
        if piece and not piece.isspace():
            block = reader.block(piece, line, stream.position)
            rows += len(block)
            yield block
        line += piece.count(b"\n")
        piece = next(pieces, None)
    if not rows:
        raise DataError(f"{path}: the file has a header and no rows")


@define(eq=False)
class _Text:
    """The bytes of a file, unpacked if need be, cut after line ends."""

    path: Path
    position: int = 0

    def pieces(self) -> Iterator[bytes]:
        rest = b""
        try:
            with self.path.open("rb") as raw:
                # The first bytes decide, not the name: browsers unpack files and keep their names.
                packed = raw.read(2) == b"\x1f\x8b"
                raw.seek(0)
                stream = cast(BinaryIO, gzip.GzipFile(fileobj=raw)) if packed else raw
                while piece := stream.read(_PIECE):
                    self.position = raw.tell()
                    cut = piece.rfind(b"\n") + 1
                    if cut:
                        yield rest + piece[:cut]
                        rest = piece[cut:]
                    else:
                        rest += piece
                        if len(rest) > 2 * _PIECE:
                            raise DataError(f"{self.path}: no line ends; this is no CSV file")
        except EOFError:
            raise DataError(f"{self.path}: truncated gzip file; copy or download it again") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            raise DataError(f"{self.path}: damaged gzip file ({error}); copy or download it again") from None
        except OSError as error:
            raise DataError(f"{self.path}: cannot be read: {error.strerror or error}") from None
        if rest:
            yield rest


@define(eq=False)
class _Reader:
    """Turns pieces of one file's text into blocks; remembers how its stamps are written."""

    path: Path
    header: list[str]
    clock: _Form | None = None
    _options: dict[str, Any] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        # Unknown columns get names that no two share, whatever the header calls them.
        lower = [name.lower() for name in self.header]
        names = [name if name in COLUMNS else f"#{k}" for k, name in enumerate(lower)]
        held = [name for name in names if name in COLUMNS]
        self._options = {
            "read_options": pacsv.ReadOptions(column_names=names, use_threads=True),
            "parse_options": pacsv.ParseOptions(newlines_in_values=False),
            "convert_options": pacsv.ConvertOptions(
                column_types=dict.fromkeys(held, pa.string()),
                include_columns=held,
                null_values=[""],
                strings_can_be_null=True,
            ),
        }

    def block(self, piece: bytes, line: int, position: int) -> Block:
        """One piece of text, whose first line has this number, as a block."""
        try:
            table = pacsv.read_csv(pa.BufferReader(piece), **self._options)
        except pa.ArrowInvalid as error:
            raise self._malformed(piece, line, error) from None
        columns = {name: table.column(name).combine_chunks() for name in table.column_names}
        number = partial(_line_of, piece, line)
        cells = _Cells(self.path, columns, number)
        ts = self._stamps(cells)
        names, codes = cells.instruments()
        count = len(ts)
        none = np.full(count, UNKNOWN)
        return Block(
            names=names,
            codes=codes,
            ts=ts,
            bid=cells.prices("bid"),
            ask=cells.prices("ask"),
            last=cells.prices("last") if "last" in columns else np.full(count, np.nan),
            volume=cells.whole("volume") if "volume" in columns else none,
            bid_size=cells.whole("bid_size") if "bid_size" in columns else none,
            ask_size=cells.whole("ask_size") if "ask_size" in columns else none,
            seq=cells.whole("seq") if "seq" in columns else None,
            number=number,
            position=position,
        )

    def _stamps(self, cells: _Cells) -> Ints:
        cells.require("timestamp")
        if self.clock is None:
            text = cells.text("timestamp", 0)
            self.clock = _form_of(text)
            if self.clock is None:
                raise cells.error(0, f"timestamp {text!r} is neither ISO-8601 nor an epoch number since 1970")
        form = self.clock
        try:
            return cells.convert("timestamp", form.stamps)
        except _BadCell as bad:
            other = _form_of(bad.text)
            if other is not None and other is not form:
                what = f"is {other}, and the rows above are {form}; write all stamps of a file in one form"
            elif other is form:
                what = f"is not a time that exists, or is outside 1970 to 2262 ({form})"
            else:
                what = f"is not {form}, as the rows above are"
            raise cells.error(bad.row, f"timestamp {bad.text!r} {what}") from None

    def _malformed(self, piece: bytes, first: int, error: Exception) -> DataError:
        """What made the parser refuse a piece: the first row with a wrong number of fields, as a rule."""
        rows = csv.reader(_lines(piece))
        line = first
        expected = len(self.header)
        try:
            for fields in rows:
                if fields and len(fields) != expected:
                    return DataError(
                        f"{self.path}: row {line}: {len(fields)} fields, and the header has {expected}; the row may be "
                        "cut short, or a quote mark left open"
                    )
                line = first + rows.line_num
        except csv.Error as broken:
            return DataError(f"{self.path}: row {line}: {broken}")
        reason = str(error).partition("\n")[0][:120]
        return DataError(f"{self.path}: at or after row {first}: not UTF-8 CSV text ({reason})")


def _line_of(piece: bytes, first: int, row: int) -> int:
    """The line number in the file of a row of a piece whose first line has the number ``first``.

    Blank lines are no rows, hence the second reading; only errors ask for it.
    """
    lines = csv.reader(_lines(piece))
    with suppress(csv.Error):
        for fields in lines:
            if fields:
                if row == 0:
                    break
                row -= 1
    return first + lines.line_num - 1


def _lines(piece: bytes) -> Iterator[str]:
    # Not str.splitlines: that also cuts at characters that end no line in a CSV file.
    return (line.decode("utf-8", "replace") + "\n" for line in piece.split(b"\n"))


@define(eq=False)
class _BadCell(Exception):
    """A cell that cannot be converted: its row in the block and its text."""

    row: int
    text: str


@define(eq=False)
class _Cells:
    """The text columns of one block, and their conversion."""

    path: Path
    columns: dict[str, Any]
    number: Callable[[int], int]

    def error(self, row: int, what: str) -> DataError:
        """An error that names file and row."""
        return DataError(f"{self.path}: row {self.number(row)}: {what}")

    def text(self, name: str, row: int) -> str:
        """One cell."""
        return str(self.columns[name][row].as_py() or "")[:60]

    def require(self, name: str) -> None:
        """Refuse empty cells."""
        column = self.columns[name]
        if column.null_count:
            raise self.error(int(np.argmax(column.is_null().to_numpy(zero_copy_only=False))), f"{name} is empty")

    def convert(self, name: str, how: Callable[[Any], _T]) -> _T:
        """``how`` of a column; ValueError in it becomes _BadCell for the first cell that causes it."""
        try:
            return how(self.columns[name])
        except ValueError:  # Arrow's errors are ValueErrors too
            pass
        trimmed = pc.utf8_trim_whitespace(self.columns[name])
        self.columns[name] = column = pc.if_else(pc.equal(trimmed, ""), pa.scalar(None, pa.string()), trimmed)
        try:
            return how(column)
        except ValueError:
            pass
        good, bad = 0, len(column)
        while bad - good > 1:
            middle = (good + bad) // 2
            try:
                how(column.slice(good, middle - good))
                good = middle
            except ValueError:
                bad = middle
        raise _BadCell(good, self.text(name, good))

    def prices(self, name: str) -> NDArray[np.float64]:
        """A column of prices."""
        try:
            return self.convert(name, lambda column: told_floats(column.cast(pa.float64())))
        except _BadCell as bad:
            raise self.error(bad.row, f"{name} {bad.text!r} is not a number") from None

    def whole(self, name: str) -> Ints:
        """A column of whole numbers that are not negative; -1 is what an empty cell means, and may be written."""
        limit = _SIZE_LIMIT.get(name, 2**63 - 1)
        lowest = 0 if name == "seq" else UNKNOWN
        if lowest == 0:
            self.require(name)

        def ints(column: Any) -> Ints:
            try:
                values = told_ints(column.cast(pa.int64()))
            except pa.ArrowInvalid:
                values = _integral(column.cast(pa.float64()))
            if len(values) and (int(values.min()) < lowest or int(values.max()) > limit):
                raise ValueError
            return values

        try:
            return self.convert(name, ints)
        except _BadCell as bad:
            raise self.error(bad.row, f"{name} {bad.text!r} is not a whole number from 0 to {limit}") from None

    def instruments(self) -> tuple[list[str], NDArray[np.int32]]:
        """The spellings in the block and which one each row has."""
        self.require("instrument")
        encoded = self.columns["instrument"].dictionary_encode()
        codes = np.asarray(encoded.indices.to_numpy(zero_copy_only=False), dtype=np.int32)
        return [str(name) for name in encoded.dictionary.to_pylist()], codes


def _integral(column: Any) -> Ints:
    """Whole numbers that are written as floats (``44.0``), as some programs do for columns with empty cells."""
    values: NDArray[np.float64] = column.fill_null(UNKNOWN).to_numpy(zero_copy_only=False)
    if not bool((np.isfinite(values) & (values == np.rint(values)) & (np.abs(values) < _EXACT)).all()):
        raise ValueError
    return values.astype(np.int64)


class _Form(enum.Enum):
    """How a stamp can be written. Each is converted in whole numbers: a float cannot hold nanoseconds."""

    ZONED = "ISO-8601 with Z or an offset"
    PLAIN = "ISO-8601 without a zone"
    SECONDS = "epoch seconds"
    MILLIS = "epoch milliseconds"
    MICROS = "epoch microseconds"
    NANOS = "epoch nanoseconds"

    def __str__(self) -> str:
        return self.value

    def stamps(self, column: Any) -> Ints:
        """Nanoseconds of a text column; ValueError where a cell has another form or is no time."""
        if column.null_count:
            raise ValueError
        if self is _Form.ZONED or self is _Form.PLAIN:
            zone = "UTC" if self is _Form.ZONED else None
            values = told_ints(column.cast(pa.timestamp("ns", zone)).cast(pa.int64()))
            if bool((values < 0).any()):
                raise ValueError
            return values
        if self is _Form.SECONDS:
            return _decimal_seconds(column)
        low, high, unit = _RANGES[self]
        values = told_ints(column.cast(pa.int64()))
        if len(values) and not (low <= int(values.min()) and int(values.max()) < high):
            raise ValueError
        return values * unit


# Told apart by magnitude: the bounds lie in March 1973 for the finer unit and beyond the year 5000 for the coarser.
_RANGES: dict[_Form, tuple[int, int, Ns]] = {
    _Form.SECONDS: (0, 10**11, SECOND_NS),
    _Form.MILLIS: (10**11, 10**14, MILLISECOND_NS),
    _Form.MICROS: (10**14, 10**17, 1_000),
    _Form.NANOS: (10**17, 2**63, 1),
}
_ISO = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d(:\d\d(:\d\d(\.\d{1,9})?)?)?(Z|[+-]\d\d(:?\d\d)?)?)?")
_NUMBER = re.compile(r"(\d{1,19})(\.\d{1,9})?")


def _form_of(text: str) -> _Form | None:
    text = text.strip()
    if match := _ISO.fullmatch(text):
        return _Form.ZONED if match[5] else _Form.PLAIN
    if match := _NUMBER.fullmatch(text):
        value = int(match[1])
        for form, (low, high, _unit) in _RANGES.items():
            if low <= value < high and (match[2] is None or form is _Form.SECONDS):
                return form
    return None


def _decimal_seconds(column: Any) -> Ints:
    """Seconds with up to nine decimals. Arrow holds decimals as 16-byte integers, here of nanoseconds."""
    if pc.any(pc.match_substring_regex(column, "[eE]")).as_py():
        raise ValueError  # 1.7e9 would convert, but whoever wrote it lost the digits that matter
    decimals = column.cast(pa.decimal128(19, 9))
    halves = np.frombuffer(decimals.buffers()[1], dtype="<i8")
    start = 2 * decimals.offset
    stamps = halves[start : start + 2 * len(decimals) : 2].copy()
    beyond = halves[start + 1 : start + 2 * len(decimals) : 2]
    if bool((stamps < 0).any()) or bool(beyond.any()):
        raise ValueError
    return stamps
