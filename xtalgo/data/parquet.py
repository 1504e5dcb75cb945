"""Our own quote file, one Parquet file per instrument and session: its columns, its reader and its writer.

``docs/quote-files.md`` describes the file for people and for other programs.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Generator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from attrs import define, frozen
from numpy.typing import ArrayLike, NDArray

from xtalgo.data.gaps import QuoteGap, decode_gaps
from xtalgo.engine.series import UNKNOWN
from xtalgo.model.errors import DataError
from xtalgo.model.instruments import Contract

__all__ = ["SCHEMA_VERSION", "Block", "RawFile", "read_parquet", "told_floats", "told_ints", "write_quotes"]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]

SCHEMA_VERSION = "1"
"""Value of the metadata key ``xtalgo.schema`` that this package writes and reads."""

_SCHEMA = pa.schema(
    [
        pa.field("ts", pa.int64(), nullable=False),
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("bid", pa.float64(), nullable=False),
        pa.field("ask", pa.float64(), nullable=False),
        pa.field("last", pa.float64()),
        pa.field("volume", pa.int64()),
        pa.field("bid_size", pa.int32()),
        pa.field("ask_size", pa.int32()),
    ]
)
_REQUIRED = ("ts", "bid", "ask")

# Measured on synthetic quotes, one a second: 5.2 bytes a quote with stamps in milliseconds, 6.6 with random
# nanoseconds. Dictionaries were larger for prices and stamps and, unless sizes jump about, for sizes too.
_ENCODING = {
    field.name: "BYTE_STREAM_SPLIT" if pa.types.is_floating(field.type) else "DELTA_BINARY_PACKED" for field in _SCHEMA
}
_LEVEL = 15
_ROW_GROUP = 131_072  # a session of one quote a second is one group; readers skip groups by the range of ts
_BATCH = 65_536


@define(eq=False)
class Block:
    """Consecutive rows of one file as they are written there: translated, but not yet judged.

    ``codes`` index ``names``, the spellings in the file. In price columns NaN is an empty cell and infinity any
    number that is not finite; in whole-number columns -1 is an empty cell. ``number`` tells the row number that a
    person would look for, from an index into the block; ``position`` is how far into the file we are, in bytes.
    """

    names: list[str]
    codes: NDArray[np.int32]
    ts: Ints
    bid: Floats
    ask: Floats
    last: Floats
    volume: Ints
    bid_size: Ints
    ask_size: Ints
    seq: Ints | None
    number: Callable[[int], int]
    position: int

    def __len__(self) -> int:
        return len(self.ts)


@frozen(eq=False)
class RawFile:
    """An opened quote file: what it says about itself, and its rows still to come."""

    blocks: Generator[Block, None, None]
    ignored: tuple[str, ...]
    source: str | None = None
    synthetic: bool | None = None
    gaps: tuple[QuoteGap, ...] | None = None
    """Stretches without quotes, and why; None where the file does not say."""


def told_floats(column: Any) -> Floats:
    """Numbers of a nullable float column in the convention of ``Block``."""
    values: Floats = column.to_numpy(zero_copy_only=False)
    if np.isfinite(values).all():
        return values
    empty = column.is_null().to_numpy(zero_copy_only=False)
    return np.where(np.isfinite(values) | empty, values, np.inf)


def told_ints(column: Any) -> Ints:
    """Numbers of a nullable whole-number column in the convention of ``Block``."""
    filled = column.fill_null(UNKNOWN) if column.null_count else column
    return np.asarray(filled.to_numpy(zero_copy_only=False), dtype=np.int64)


def read_parquet(path: Path) -> RawFile:
    """Open one of our files. Raises DataError for a file that is foreign, cut short or of another version."""
    try:
        with path.open("rb") as handle:
            head = handle.read(4)
            size = handle.seek(0, os.SEEK_END)
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
    if size == 0:
        raise DataError(f"{path}: the file is empty")
    if head != b"PAR1":
        raise DataError(f"{path}: not a Parquet file, whatever its name says; see docs/quote-files.md")
    try:
        with pq.ParquetFile(path) as file:
            schema = file.schema_arrow
            told = file.metadata.metadata or {}
            rows = file.metadata.num_rows
    except (pa.ArrowException, OSError, ValueError) as error:
        raise DataError(f"{path}: truncated or damaged Parquet file; copy or make it again ({_line(error)})") from None
    facts = {key.decode("utf-8", "replace"): value.decode("utf-8", "replace") for key, value in told.items()}
    _check(path, schema, facts)
    if rows == 0:
        raise DataError(f"{path}: the file holds no rows")
    held = [field.name for field in _SCHEMA if field.name in schema.names]
    return RawFile(
        ignored=tuple(name for name in schema.names if name not in held),
        source=facts.get("xtalgo.source"),
        synthetic={"true": True, "false": False}.get(facts.get("xtalgo.synthetic", "")),
        gaps=_gaps(path, facts),
        blocks=_blocks(path, held, facts["xtalgo.instrument"], size / rows),
    )


def _gaps(path: Path, facts: Mapping[str, str]) -> tuple[QuoteGap, ...] | None:
    told = facts.get("xtalgo.note.gaps")
    if told is None:
        return None
    try:
        return decode_gaps(told, facts["xtalgo.instrument"])
    except DataError as error:
        raise DataError(f"{path}: {error}") from None


def _check(path: Path, schema: Any, facts: Mapping[str, str]) -> None:
    version = facts.get("xtalgo.schema")
    if version is None or "xtalgo.instrument" not in facts:
        missing = "xtalgo.schema" if version is None else "xtalgo.instrument"
        raise DataError(
            f"{path}: a Parquet file, but not a quote file of ours: it has no {missing!r} in its metadata. Write it "
            "with xtalgo.data.quotes.write_quotes, or save it as CSV (docs/quote-files.md)"
        )
    if version != SCHEMA_VERSION:
        raise DataError(
            f"{path}: quote file of schema version {version!r}, and this xtalgo reads version {SCHEMA_VERSION}; "
            "use the xtalgo that wrote it, or make the file again"
        )
    for field in _SCHEMA:
        if field.name not in schema.names:
            if field.name in _REQUIRED:
                raise DataError(f"{path}: no column {field.name!r}; it has {', '.join(schema.names)}")
        elif schema.names.count(field.name) > 1:
            raise DataError(f"{path}: two columns {field.name!r}")
        elif (found := schema.field(field.name).type) != field.type:
            raise DataError(f"{path}: column {field.name!r} holds {found}, not {field.type}")


def _blocks(path: Path, held: list[str], instrument: str, bytes_a_row: float) -> Generator[Block, None, None]:
    start = 0
    try:
        with pq.ParquetFile(path, page_checksum_verification=True) as file:
            for batch in file.iter_batches(_BATCH, columns=held, use_threads=False):
                yield _block(path, batch, instrument, start, bytes_a_row)
                start += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"{path}: damaged after row {start}; copy or make the file again ({_line(error)})") from None


def _block(path: Path, batch: Any, instrument: str, start: int, bytes_a_row: float) -> Block:
    count = batch.num_rows
    held = dict(zip(batch.schema.names, batch.columns, strict=True))
    for name in ("ts", "seq"):
        if name in held and held[name].null_count:
            row = start + 1 + int(np.argmax(held[name].is_null().to_numpy(zero_copy_only=False)))
            raise DataError(f"{path}: row {row}: {name} is empty")

    def ints(name: str) -> Ints:
        values = told_ints(held[name]) if name in held else np.full(count, UNKNOWN)
        if name not in ("ts", "seq") and bool((values < UNKNOWN).any()):
            row = start + 1 + int(np.argmax(values < UNKNOWN))
            raise DataError(f"{path}: row {row}: {name} is negative")
        return values

    return Block(
        names=[instrument],
        codes=np.zeros(count, dtype=np.int32),
        ts=ints("ts"),
        bid=told_floats(held["bid"]),
        ask=told_floats(held["ask"]),
        last=told_floats(held["last"]) if "last" in held else np.full(count, np.nan),
        volume=ints("volume"),
        bid_size=ints("bid_size"),
        ask_size=ints("ask_size"),
        seq=ints("seq") if "seq" in held else None,
        number=lambda k: start + 1 + k,
        position=round((start + count) * bytes_a_row),
    )


def _line(error: BaseException) -> str:
    """The first line of a foreign error: Arrow adds paths of its own source files below."""
    return str(error).strip().partition("\n")[0][:160]


def write_quotes(
    path: str | os.PathLike[str],
    contract: Contract,
    *,
    ts: ArrayLike,
    bid: ArrayLike,
    ask: ArrayLike,
    last: ArrayLike | None = None,
    volume: ArrayLike | None = None,
    bid_size: ArrayLike | None = None,
    ask_size: ArrayLike | None = None,
    seq: ArrayLike | None = None,
    source: str,
    synthetic: bool,
    notes: Mapping[str, str] | None = None,
) -> Path:
    """Write quotes of one instrument, in order of time, as one of our files, and return its path.

    The columns are those of ``QuoteTable``: NaN (``last``) or -1 (whole numbers) is what the feed did not tell.
    ``seq`` orders rows of several files that share a stamp; without it they come in the order of the files.
    ``source`` says where the quotes come from, ``synthetic`` whether they were made up, and ``notes`` anything
    else worth keeping, such as the command and the seed.

    The file appears whole or not at all, and the same input gives the same bytes. Raises DataError for columns
    that do not fit together or hold values that no reader would take.
    """
    target = Path(path)
    stamps = _whole(target, "ts", ts)
    columns: dict[str, NDArray[Any]] = {
        "ts": stamps,
        "seq": np.zeros(len(stamps), dtype=np.int64) if seq is None else _whole(target, "seq", seq),
        "bid": np.asarray(bid, dtype=np.float64),
        "ask": np.asarray(ask, dtype=np.float64),
        "last": np.full(len(stamps), np.nan) if last is None else np.asarray(last, dtype=np.float64),
    }
    for name, values in (("volume", volume), ("bid_size", bid_size), ("ask_size", ask_size)):
        columns[name] = np.full(len(stamps), UNKNOWN) if values is None else _whole(target, name, values)
    _validate(target, columns)

    facts = {
        "schema": SCHEMA_VERSION,
        "instrument": contract.name,
        "source": source,
        "synthetic": "true" if synthetic else "false",
        "tick_size": _plain(contract.tick_size),
        "point_value": _plain(contract.point_value),
        **{f"note.{key}": value for key, value in sorted((notes or {}).items())},
    }
    table = pa.table(
        [pa.array(columns[field.name], field.type, mask=_untold(columns[field.name], field)) for field in _SCHEMA],
        schema=_SCHEMA.with_metadata({f"xtalgo.{key}": value for key, value in facts.items()}),
    )
    _write(table, target)
    return target


def _write(table: Any, target: Path) -> None:
    # pyarrow 16.0 and other readers fail on split bytes with nulls: https://github.com/apache/arrow/issues/41562
    plain = {"last": "PLAIN"} if table.column("last").null_count else {}
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        pq.write_table(
            table,
            temporary,
            row_group_size=_ROW_GROUP,
            compression="zstd",
            compression_level=_LEVEL,
            use_dictionary=False,
            column_encoding=_ENCODING | plain,
            write_statistics=["ts"],
            write_page_checksum=True,
        )
        os.replace(temporary, target)
    except OSError as error:
        raise DataError(f"{target}: cannot be written: {error.strerror or error}") from None
    finally:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)


def _whole(path: Path, name: str, values: ArrayLike) -> Ints:
    array = np.asarray(values)
    if len(array) and array.dtype.kind not in "iu":
        raise DataError(f"{path}: column {name!r} must hold whole numbers, not {array.dtype}")
    return array.astype(np.int64, copy=False)


def _untold(values: NDArray[Any], field: Any) -> NDArray[np.bool_] | None:
    if not field.nullable:
        return None
    return np.isnan(values) if field.name == "last" else values < 0


def _validate(path: Path, columns: Mapping[str, NDArray[Any]]) -> None:
    count = len(columns["ts"])
    if not count:
        raise DataError(f"{path}: there are no quotes to write")
    for name, values in columns.items():
        if len(values) != count:
            raise DataError(f"{path}: column {name!r} has {len(values)} values, and 'ts' has {count}")

    def refuse(wrong: NDArray[np.bool_], what: str, offset: int = 1) -> None:
        if wrong.any():
            raise DataError(f"{path}: row {int(np.argmax(wrong)) + offset}: {what}")

    step = np.diff(columns["ts"])
    refuse(step < 0, "time goes back; sort the quotes first", 2)
    refuse((step == 0) & (np.diff(columns["seq"]) < 0), "seq goes back within one stamp; sort the quotes first", 2)
    for name in ("bid", "ask", "last"):
        prices = columns[name]
        told = ~np.isnan(prices) if name == "last" else np.ones(count, dtype=np.bool_)
        refuse(told & ~(np.isfinite(prices) & (prices > 0)), f"{name} is not a positive number")
    refuse(columns["seq"] < 0, "seq is negative")
    for name in ("volume", "bid_size", "ask_size"):
        refuse(columns[name] < UNKNOWN, f"{name} is negative")
    for name in ("bid_size", "ask_size"):
        refuse(columns[name] > np.iinfo(np.int32).max, f"{name} is too large")


def _plain(number: float) -> str:
    """A number as people write it: ``50``, not ``50.0``."""
    return str(int(number)) if number.is_integer() else repr(number)
