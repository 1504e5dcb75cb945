"""Recordings: quote files, folders and patterns in, one ``QuoteTable`` out, with an account of what was odd."""

from __future__ import annotations

import enum
import glob
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyarrow as pa
from attrs import Factory, define, field, frozen
from numpy.typing import NDArray

from xtalgo.data.csvquotes import read_csv
from xtalgo.data.gaps import QuoteGap
from xtalgo.data.parquet import Block, read_parquet, write_quotes
from xtalgo.engine.series import QuoteTable
from xtalgo.model.errors import ConfigError, DataError
from xtalgo.model.instruments import Contract, ContractBook
from xtalgo.model.sessions import iso, to_datetime

__all__ = ["FileInfo", "Recording", "SkipReason", "load_recording", "quote_files", "write_quotes"]

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Mask: TypeAlias = NDArray[np.bool_]
Progress: TypeAlias = Callable[[int, int], None]
"""Called with the bytes read so far and the bytes of all files."""

SUFFIXES = (".parquet", ".csv", ".csv.gz")

_TYPES: dict[str, type[np.generic]] = {
    "ts": np.int64,
    "bid": np.float64,
    "ask": np.float64,
    "last": np.float64,
    "volume": np.int64,
    "bid_size": np.int32,
    "ask_size": np.int32,
}

_MOST_TICKS = 2.0**40  # far above any real price, and far below where tick arithmetic stops being exact


class SkipReason(enum.StrEnum):
    """Why a row was left out. A row counts once, under the first of these that holds."""

    NO_BID = "no bid"
    NO_ASK = "no ask"
    NON_FINITE = "non-finite price"
    TOO_LARGE = "price too large"
    NOT_POSITIVE = "zero or negative price"


@frozen
class FileInfo:
    """One file of a recording. ``rows`` counts skipped ones too; ``synthetic`` is None where the file does not say."""

    path: str
    rows: int
    instruments: tuple[str, ...]
    source: str | None
    synthetic: bool | None
    gaps: tuple[QuoteGap, ...] | None = None
    """Stretches without quotes, and why; None where the file does not say."""


@frozen(eq=False)
class Recording:
    """Quotes of some files, and what a person should know about them.

    ``skipped`` counts rows by ``SkipReason``, ``crossed`` quotes with the ask below the bid (they are kept),
    ``off_tick`` prices that lay between ticks and were rounded to the nearest. ``ignored_columns`` are columns of
    the files that mean nothing to us.
    """

    table: QuoteTable
    files: tuple[FileInfo, ...]
    skipped: dict[str, int]
    crossed: int
    off_tick: int
    ignored_columns: tuple[str, ...]

    @property
    def synthetic(self) -> bool:
        """Whether any of the files says that its quotes were made up."""
        return any(file.synthetic for file in self.files)

    @property
    def gaps(self) -> tuple[QuoteGap, ...] | None:
        """Stretches that the files say they have no quotes of, in order of time; None where no file says."""
        told = [file.gaps for file in self.files if file.gaps is not None]
        return tuple(sorted((gap for gaps in told for gap in gaps), key=lambda gap: gap.start)) if told else None


def load_recording(
    paths: Sequence[str | os.PathLike[str]],
    contracts: ContractBook,
    *,
    sort: bool = False,
    on_progress: Progress | None = None,
) -> Recording:
    """Read quote files, folders and patterns as one recording.

    Quotes are merged by time, then ``seq``, then the order of the files, then the order of rows. Time that goes
    back inside a file is an error unless ``sort`` is set. Raises DataError for files that cannot be read as they
    stand, and ConfigError for instruments that are not known.
    """
    loader = _Loader(contracts, sort)
    files = quote_files(paths)
    sizes = [path.stat().st_size for path in files]
    done, everything = 0, sum(sizes)
    for path, size in zip(files, sizes, strict=True):
        for position in loader.read(path):
            if on_progress is not None:
                on_progress(done + min(position, size), everything)
        done += size
    pa.default_memory_pool().release_unused()  # else Arrow keeps 20 to 30 MB for reading that is over
    return loader.recording()


def quote_files(paths: Sequence[str | os.PathLike[str]]) -> list[Path]:
    """The quote files that paths, folders and patterns stand for, each once, in the order in which they are read.

    A folder means the quote files directly in it, by name. A pattern (``*``, ``?``, ``[...]``, ``**``) is
    expanded here because not every shell does it.
    """
    found: dict[str, Path] = {}
    for given in [paths] if isinstance(paths, str) else paths:
        for path in _expand(os.fspath(given)):
            found.setdefault(os.path.normcase(os.path.realpath(path)), path)
    if not found:
        raise DataError("no quote files were given")
    return list(found.values())


def _expand(text: str) -> list[Path]:
    path = Path(text)
    if path.is_dir():
        held = _in_folder(path)
        if not held:
            raise DataError(f"{path}: no quote file in this folder ({', '.join(SUFFIXES)})")
        return held
    if path.exists():
        if not text.lower().endswith(SUFFIXES):
            raise DataError(
                f"{path}: not a quote file, going by its name ({', '.join(SUFFIXES)}); convert it first, see "
                "docs/quote-files.md"
            )
        return [path]
    if glob.has_magic(text):
        matches = sorted(map(Path, glob.glob(text, recursive=True)), key=Path.as_posix)
        held = [one for match in matches for one in (_in_folder(match) if match.is_dir() else [match])]
        held = [one for one in held if _is_quote_file(one)]
        if not held:
            raise DataError(f"{text}: no quote file matches this pattern ({', '.join(SUFFIXES)})")
        return held
    raise DataError(f"{path}: no such file or folder")


def _in_folder(folder: Path) -> list[Path]:
    try:
        return sorted((one for one in folder.iterdir() if _is_quote_file(one)), key=lambda one: one.name)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read: {error.strerror or error}") from None


def _is_quote_file(path: Path) -> bool:
    # Names that start with a dot are other programs' leftovers, and files that are being written.
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".") and path.is_file()


@define(eq=False)
class _Loader:
    """Judges blocks as they come and keeps the good rows, in file order, until the table is built.

    Rows are kept in arrays with room to grow, not in lists of pieces: memory of many pieces is not given back.
    """

    contracts: ContractBook
    sort: bool
    known: list[Contract] = Factory(list)
    files: list[FileInfo] = Factory(list)
    ignored: dict[str, None] = Factory(dict)
    skipped: dict[SkipReason, int] = field(factory=lambda: dict.fromkeys(SkipReason, 0))
    crossed: int = 0
    off_tick: int = 0
    count: int = 0
    room: int = 0
    columns: dict[str, NDArray[Any]] = field(
        factory=lambda: {name: np.empty(0, dtype) for name, dtype in (_TYPES | {"code": np.int32}).items()}
    )

    def read(self, path: Path) -> Iterator[int]:
        """Take in a file; yields how far into it we are after each block."""
        raw = read_parquet(path) if path.name.lower().endswith(".parquet") else read_csv(path)
        codes: dict[str, int] = {}
        rows = 0
        start = self.count
        size = path.stat().st_size
        previous: int | None = None
        year = 0
        with closing(raw.blocks) as blocks:
            for block in blocks:
                if previous is None:
                    year = to_datetime(int(block.ts[0])).year
                if not self.sort:
                    _in_time(path, block, previous)
                previous = int(block.ts[-1])
                self._resolve(path, block, codes, year)
                rows += len(block)
                self._reserve(len(block), start + rows * size // max(block.position, 1))
                self._judge(block, np.array([codes[name] for name in block.names], dtype=np.int32))
                yield block.position
        names = dict.fromkeys(self.known[code].name for code in codes.values())
        self.files.append(FileInfo(str(path), rows, tuple(names), raw.source, raw.synthetic, raw.gaps))
        self.ignored.update(dict.fromkeys(raw.ignored))

    def _resolve(self, path: Path, block: Block, codes: dict[str, int], year: int) -> None:
        """Give every spelling of the block a number, the same for all spellings of one instrument."""
        for k, text in enumerate(block.names):
            if text in codes:
                continue
            try:
                name = self.contracts.parse(text).dated(near_year=year)
                numbers = {contract.name: number for number, contract in enumerate(self.known)}
                if name not in numbers:
                    self.known.append(self.contracts.contract(name))
                codes[text] = numbers.get(name, len(self.known) - 1)
            except ConfigError as error:
                row = block.number(int(np.argmax(block.codes == k)))
                raise ConfigError(f"{path}: row {row}: {error}") from None

    def _judge(self, block: Block, numbers: NDArray[np.int32]) -> None:
        """Keep the usable rows of a block, with their prices on the tick grid, and count the others."""
        codes = numbers[block.codes]
        grid = {name: np.empty(len(block)) for name in ("bid", "ask", "last")}
        good = np.ones(len(block), dtype=np.bool_)
        off = np.zeros(len(block), dtype=np.int8)
        present = sorted(set(numbers.tolist()))
        for code in present:
            rows = slice(None) if len(present) == 1 else np.flatnonzero(codes == code)
            for name, prices in grid.items():
                column = getattr(block, name)[rows]
                prices[rows], usable, astray = _on_grid(self.known[code], column)
                if name == "last":
                    untold = np.isnan(column)
                    prices[rows] = np.where(untold, np.nan, prices[rows])
                    usable |= untold
                good[rows] &= usable
                off[rows] += astray
        if not good.all():
            self._count_skipped(block, codes, ~good)
        self.crossed += int((good & (grid["ask"] < grid["bid"])).sum())
        self.off_tick += int(off[good].sum())
        self._keep(block, codes, grid, None if good.all() else good)

    def _reserve(self, count: int, expected: int) -> None:
        """Make room for ``count`` more rows, or as many as the file is expected to have when there is too little.

        Room that is not used costs address space, not memory.
        """
        if self.count + count > self.room:
            self.room = max(self.count + count, expected + expected // 50, self.room + self.room // 2)
            for name, column in self.columns.items():
                wider = np.empty(self.room, dtype=column.dtype)
                wider[: self.count] = column[: self.count]
                self.columns[name] = wider

    def _keep(self, block: Block, codes: NDArray[np.int32], grid: dict[str, Floats], good: Mask | None) -> None:
        if block.seq is not None and "seq" not in self.columns:
            self.columns["seq"] = np.zeros(self.room, dtype=np.int64)
        end = self.count + (len(block) if good is None else int(good.sum()))
        for name, column in self.columns.items():
            if name == "code":
                values: NDArray[Any] = codes
            elif name == "seq":
                values = np.broadcast_to(np.int64(0), len(block)) if block.seq is None else block.seq
            else:
                values = grid[name] if name in grid else getattr(block, name)
            column[self.count : end] = values if good is None else values[good]
        self.count = end

    def _count_skipped(self, block: Block, codes: NDArray[np.int32], bad: Mask) -> None:
        prices = np.array([block.bid[bad], block.ask[bad], block.last[bad]])
        limit = _MOST_TICKS * np.array([contract.tick_size for contract in self.known])[codes[bad]]
        tests = {
            SkipReason.NO_BID: np.isnan(prices[0]),
            SkipReason.NO_ASK: np.isnan(prices[1]),
            SkipReason.NON_FINITE: np.isinf(prices).any(axis=0),
            SkipReason.TOO_LARGE: (prices >= limit).any(axis=0),
            SkipReason.NOT_POSITIVE: np.ones(prices.shape[1], dtype=np.bool_),
        }
        left = np.ones(prices.shape[1], dtype=np.bool_)
        for reason, test in tests.items():
            self.skipped[reason] += int((left & test).sum())
            left &= ~test

    def recording(self) -> Recording:
        """The table of all that was kept. The loader is used up: its columns are freed as the table's are made."""
        skipped = {reason.value: count for reason, count in self.skipped.items() if count}
        if not self.count:
            counts = ", ".join(f"{reason}: {count}" for reason, count in skipped.items())
            raise DataError(f"{_listing(self.files)}: no usable quotes; every row was skipped ({counts})")
        return Recording(self._table(), tuple(self.files), skipped, self.crossed, self.off_tick, tuple(self.ignored))

    def _table(self) -> QuoteTable:
        codes = self._column("code")
        held = sorted(set(np.unique(codes).tolist()), key=lambda code: self.known[code].name)
        place = np.zeros(len(self.known), dtype=np.int32)
        place[held] = np.arange(len(held), dtype=np.int32)
        number = place[codes]
        counts = np.bincount(number, minlength=len(held))
        ts = self._column("ts")
        happened = _happened(ts, self._column("seq") if "seq" in self.columns else None)
        # happened: file row of each merged row; layout: merged row of each table row; both None where they
        # would be 0, 1, 2, ..., which saves most recordings the copying.
        layout: NDArray[np.int32] | None = None
        if len(held) > 1:
            merged = number if happened is None else number[happened]
            layout = np.argsort(merged, kind="stable").astype(np.int32)
            del merged
        del codes, number
        order = np.arange(len(ts), dtype=np.int32)
        if layout is not None:
            order[layout] = np.arange(len(ts), dtype=np.int32)
        rows = layout if happened is None else happened if layout is None else happened[layout]
        del layout, happened

        def column(name: str) -> NDArray[Any]:
            values = ts if name == "ts" else self._column(name)
            values = values if rows is None else values[rows]
            values.flags.writeable = False
            return values

        order.flags.writeable = False
        return QuoteTable(
            tuple(self.known[code].name for code in held),
            (0, *np.cumsum(counts).tolist()),
            **{name: column(name) for name in _TYPES},
            order=order,
        )

    def _column(self, name: str) -> NDArray[Any]:
        return self.columns.pop(name)[: self.count]


def _on_grid(contract: Contract, prices: Floats) -> tuple[Floats, Mask, Mask]:
    """Canonical prices, whether each is usable, and whether it lay between ticks."""
    usable = (prices > 0) & (prices < _MOST_TICKS * contract.tick_size)
    ticks = contract.ticks_of(np.where(usable, prices, 0.0))
    canonical = contract.prices_of(ticks)
    usable = ticks > 0
    # A price that a program computed may be off by its last bits; that is noise, not a price between ticks.
    astray = usable & (np.abs(np.where(usable, prices, 0.0) - canonical) > 1e-6 * contract.tick_size)
    return canonical, usable, astray


def _in_time(path: Path, block: Block, previous: int | None) -> None:
    before = np.append(block.ts[0] if previous is None else previous, block.ts[:-1])
    back = block.ts < before
    if back.any():
        k = int(np.argmax(back))
        raise DataError(
            f"{path}: row {block.number(k)}: time goes back from {iso(int(before[k]))} to {iso(int(block.ts[k]))}; "
            "--sort sorts the recording"
        )


def _happened(ts: Ints, seq: Ints | None) -> NDArray[np.int32] | None:
    """File rows in the order in which they happened, or None where that is the order they have."""
    back = ts[1:] < ts[:-1]
    if seq is not None:
        back |= (ts[1:] == ts[:-1]) & (seq[1:] < seq[:-1])
    if not back.any():
        return None
    return (np.argsort(ts, kind="stable") if seq is None else np.lexsort((seq, ts))).astype(np.int32)


def _listing(files: Iterable[FileInfo]) -> str:
    names = [file.path for file in files]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
