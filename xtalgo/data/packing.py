"""Journals of runs to quote files: one Parquet file per instrument and session, gaps marked and never filled.

The journals are read twice: once to see which files there will be and what each life of each run listened to, and once
more session by session, so that no more than one session is in memory. A quote from a time that a journal named earlier
listened to is left out, so no quote comes twice.
"""

from __future__ import annotations

import datetime as dt
import os
import re
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np
from attrs import define, field, frozen
from numpy.typing import NDArray

from xtalgo.data.gaps import Cause, Edge, Hole, QuoteGap, Stretch, edges_of, encode_gaps, gaps_of, holes_of
from xtalgo.data.journal_reader import JournalReader, read
from xtalgo.data.journal_rows import Input
from xtalgo.data.oslock import holder_of
from xtalgo.data.parquet import write_quotes
from xtalgo.data.takes import Row, Rows, Take, takes_of
from xtalgo.model.errors import ConfigError, DataError
from xtalgo.model.instruments import ContractBook
from xtalgo.model.sessions import Session
from xtalgo.model.types import Ns
from xtalgo.protocol.frames import MarketData, WireQuote
from xtalgo.protocol.wire import parse_server

__all__ = ["Packed", "Packing"]

Progress: TypeAlias = Callable[[int, int], None]
"""Called with the inputs read so far, and how many there are to be read."""

_OFTEN: Final = 1_000


@frozen
class Packed:
    """One file that was written."""

    path: Path
    instrument: str
    day: dt.date
    """Of the session."""
    quotes: int
    size: int
    """In bytes."""
    first: Ns
    last: Ns
    start: Edge
    end: Edge
    gaps: tuple[QuoteGap, ...]
    source: str
    synthetic: bool


@define
class _Span:
    """What there is of an instrument in a session."""

    first: Ns
    last: Ns
    count: int = 0

    def take(self, ts: Ns) -> None:
        self.first, self.last = min(self.first, ts), max(self.last, ts)
        self.count += 1


@frozen
class _Cover:
    """The times that were listened to, disjoint and in order."""

    starts: tuple[Ns, ...] = ()
    ends: tuple[Ns, ...] = ()

    def __contains__(self, ts: Ns) -> bool:
        place = bisect_right(self.starts, ts)
        return bool(place) and ts <= self.ends[place - 1]

    def plus(self, stretches: Sequence[Stretch]) -> _Cover:
        """This and some more."""
        starts: list[Ns] = []
        ends: list[Ns] = []
        more = ((stretch.first, stretch.until) for stretch in stretches)
        for start, end in sorted([*zip(self.starts, self.ends, strict=True), *more]):
            if ends and start <= ends[-1]:
                ends[-1] = max(ends[-1], end)
            else:
                starts.append(start)
                ends.append(end)
        return _Cover(tuple(starts), tuple(ends))


@define(eq=False)
class _Columns:
    """Quotes of one instrument in one session as they come."""

    takes: dict[int, None] = field(factory=dict)
    ts: array[int] = field(factory=lambda: array("q"))
    seq: array[int] = field(factory=lambda: array("q"))
    bid: array[float] = field(factory=lambda: array("d"))
    ask: array[float] = field(factory=lambda: array("d"))
    last: array[float] = field(factory=lambda: array("d"))
    volume: array[int] = field(factory=lambda: array("q"))

    def add(self, ts: Ns, seq: int, row: WireQuote) -> None:
        """One more quote."""
        assert row.bid is not None
        assert row.ask is not None
        self.ts.append(ts)
        self.seq.append(seq)
        self.bid.append(row.bid)
        self.ask.append(row.ask)
        self.last.append(np.nan if row.last is None else row.last)
        self.volume.append(-1 if row.volume is None else row.volume)

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The columns in order of time."""
        names = ("ts", "seq", "bid", "ask", "last", "volume")
        found = {name: np.array(getattr(self, name)) for name in names}
        if len(self.takes) > 1:
            order = np.lexsort((found["seq"], found["ts"]))
            found = {name: column[order] for name, column in found.items()}
        return found


@define(eq=False)
class Packing:
    """Some journals, open, and what is to be made of them. Use it in a ``with``: ``survey``, then ``write``."""

    paths: Sequence[Path]
    book: ContractBook
    wanted: Sequence[str] = ()
    """Instruments in any spelling, a root for all its months; all of them when there are none."""
    on_progress: Progress | None = None
    left_out: Counter[str] = field(init=False, factory=Counter)
    """Rows of quotes that no file can hold, by reason."""
    overlapping: Counter[str] = field(init=False, factory=Counter)
    """Quotes left out because a journal named earlier listened at their time, by journal."""
    notices: list[str] = field(init=False, factory=list)
    """What should be known of the journals."""
    takes: list[Take] = field(init=False, factory=list)
    spans: dict[str, dict[Session, _Span]] = field(init=False, factory=dict)
    _covers: list[Mapping[str, _Cover]] = field(init=False, factory=list)
    """By take: what those before it listened to."""
    _readers: dict[str, JournalReader] = field(init=False, factory=dict)
    _stack: ExitStack = field(init=False, factory=ExitStack)
    _matches: dict[str, bool] = field(init=False, factory=dict)
    _read: int = field(init=False, default=0)
    _total: int = field(init=False, default=0)

    def __enter__(self) -> Packing:
        return self

    def __exit__(self, *error: object) -> None:
        self._stack.close()

    # --- the first reading ---------------------------------------------------------------------------------------

    def survey(self) -> None:
        """Read all journals and check them. Nothing is written.

        Raises JournalFailed for a journal that is damaged, DataError where there is no quote, and ConfigError for an
        instrument that is not there or not known.
        """
        files: dict[str, Path] = {}
        for path in self.paths:
            files.setdefault(os.path.normcase(os.path.realpath(path)), path)
        with ExitStack() as opening:
            readers = [opening.enter_context(read(path)) for path in files.values()]
            self._stack = opening.pop_all()
        self._total = 2 * sum(reader.last_number for reader in readers)
        for reader in readers:
            self._survey(reader)
        extra = {name: facts for take in self.takes for name, facts in take.rows.contracts.extra.items()}
        self.book = ContractBook(extra={**extra, **self.book.extra})
        self._check()

    def _survey(self, reader: JournalReader) -> None:
        name = str(reader.path)
        self._readers[name] = reader
        holder = holder_of(reader.path.with_name(reader.path.name + ".lock"))
        if holder is not None:
            self.notices.append(f"{name}: still being written ({holder}); packed as far as it is on the drive")
        known = len(self.takes)
        for take, item, rows in takes_of(reader, self.book, goes_on=holder is not None):
            if not self.takes or self.takes[-1] is not take:
                self._covers.append(self._cover())
                self.takes.append(take)
            self._tell()
            for instrument, _ in self._kept(len(self.takes) - 1, item, rows):
                assert take.session is not None
                held = self.spans.setdefault(instrument, {})
                held.setdefault(take.session, _Span(item.ts, item.ts)).take(item.ts)
        mine = self.takes[known:]
        for one in {id(take.rows): take.rows for take in mine}.values():
            self.left_out.update(one.left_out)
        if lost := sum(take.lost for take in mine):
            self.notices.append(
                f"{name}: {lost:,} inputs were never written, since the file could not be; what they held is a gap"
            )
        if not mine:
            self.notices.append(f"{name}: nothing came in")

    def _cover(self) -> Mapping[str, _Cover]:
        """What all takes so far listened to: the last one is over now."""
        if not self.takes:
            return {}
        found = dict(self._covers[-1])
        for name, stretches in self.takes[-1].stretches.items():
            found[name] = found.get(name, _Cover()).plus(stretches)
        return found

    def _kept(self, number: int, item: Input, rows: Sequence[Row], *, counts: bool = True) -> Iterator[Row]:
        """The quotes of an input that are packed."""
        covers = self._covers[number]
        for instrument, row in rows:
            if not self._matches.get(instrument, not self.wanted) and not self._match(instrument):
                continue
            if item.ts in covers.get(instrument, _NOWHERE):
                if counts:
                    self.overlapping[self.takes[number].journal] += 1
                continue
            yield instrument, row

    def _match(self, instrument: str) -> bool:
        if instrument not in self._matches:
            self._matches[instrument] = any(self._stands_for(text, instrument) for text in self.wanted)
        return self._matches[instrument]

    def _stands_for(self, text: str, instrument: str) -> bool:
        wanted = self.book.parse(text)
        try:
            self.book.pin(text, [instrument])
        except ConfigError:
            return False
        return wanted.root == self.book.parse(instrument).root

    def _check(self) -> None:
        heard = sorted({name for take in self.takes for name in take.stretches})
        for text in self.wanted:
            if not any(self._stands_for(text, name) for name in heard):
                raise ConfigError(f"the journals have no {text!r}; they hold {', '.join(heard) or 'no quotes at all'}")
        if not self.spans:
            counts = ", ".join(f"{count:,} {reason}" for reason, count in self.left_out.items())
            where = ", ".join(map(str, self.paths))
            raise DataError(f"{where}: no quotes to pack" + (f"; left out: {counts}" if counts else ""))
        for name in self.spans:
            self.book.contract(name)

    def _tell(self) -> None:
        self._read += 1
        if self.on_progress is not None and self._read % _OFTEN == 0:
            self.on_progress(self._read, self._total)

    # --- files ---------------------------------------------------------------------------------------------------

    def files(self, folder: Path) -> list[Path]:
        """The files that ``write`` makes, in its order."""
        return [self._path(folder, name, session) for session in self._sessions() for name in self._in(session)]

    def _path(self, folder: Path, instrument: str, session: Session) -> Path:
        name = re.sub(r"[^\w .-]", "_", instrument)
        return folder / f"{name} {session.day}.parquet"

    def _sessions(self) -> list[Session]:
        return sorted({session for held in self.spans.values() for session in held}, key=lambda one: one.open)

    def _in(self, session: Session) -> list[str]:
        return sorted(name for name, held in self.spans.items() if session in held)

    def check_free(self, folder: Path) -> None:
        """ConfigError when a file that would be written is there already."""
        taken = [path for path in self.files(folder) if path.exists()]
        if taken:
            more = f" (and {len(taken) - 1} more)" if len(taken) > 1 else ""
            raise ConfigError(f"{taken[0]}{more} is there already; --force overwrites")

    def write(self, folder: Path) -> Iterator[Packed]:
        """Write the files into a folder that is there, one by one; each appears whole or not at all."""
        open_for = {name: self._open_for(name) for name in self.spans}
        for session in self._sessions():
            columns = self._collect(session)
            for name in self._in(session):
                yield self._write(folder, name, session, columns.pop(name), *open_for[name])

    def _open_for(self, name: str) -> tuple[list[Hole], list[Cause]]:
        """When nobody listened to an instrument, and what stopped those who did."""
        mine = [take for take in self.takes if take.stretches.get(name)]
        holes = holes_of(stretch for take in mine for stretch in take.stretches[name])
        return holes, sorted((cause for take in mine for cause in take.causes), key=lambda cause: cause.ts)

    def _collect(self, session: Session) -> dict[str, _Columns]:
        """The second reading: the quotes of one session by instrument."""
        found: dict[str, _Columns] = {name: _Columns() for name in self._in(session)}
        for number, take in enumerate(self.takes):
            if session not in take.places:
                continue
            rows, (first, last) = Rows(take.rows.contracts), take.places[session]
            before, seq = -1, 0
            for item in self._readers[take.journal].inputs(after=first - 1):
                if item.number > last:
                    break
                self._tell()
                if item.kind != "frame" or type(message := parse_server(item.text)) is not MarketData:
                    continue
                for name, row in self._kept(number, item, rows.of(message), counts=False):
                    seq = seq + 1 if item.ts == before else 0
                    before = item.ts
                    found[name].takes[number] = None
                    found[name].add(item.ts, seq, row)
        return found

    def _write(
        self,
        folder: Path,
        name: str,
        session: Session,
        columns: _Columns,
        holes: Sequence[Hole],
        causes: Sequence[Cause],
    ) -> Packed:
        arrays = columns.arrays()
        stamps = arrays["ts"]
        held = self.spans[name]
        before = max((span.last for other, span in held.items() if other.open < session.open), default=None)
        after = min((span.first for other, span in held.items() if other.open > session.open), default=None)
        following = None if after is None else next(other for other, span in held.items() if span.first == after)
        gaps = tuple(gaps_of(name, session, following, stamps, before, after, holes, causes))
        start, end = edges_of(session, stamps, before, after, holes)
        takes = [self.takes[number] for number in sorted(columns.takes)]
        source = "; ".join(dict.fromkeys(take.source for take in takes))
        synthetic = any(take.is_synthetic for take in takes)
        path = write_quotes(
            self._path(folder, name, session),
            self.book.contract(name),
            **arrays,
            source=source,
            synthetic=synthetic,
            notes={
                "journals": ", ".join(dict.fromkeys(Path(take.journal).name for take in takes)),
                "session": str(session.day),
                "start": start.text,
                "end": end.text,
                "gaps": encode_gaps(gaps),
            },
        )
        return Packed(
            path,
            name,
            session.day,
            len(stamps),
            path.stat().st_size,
            int(stamps[0]),
            int(stamps[-1]),
            start,
            end,
            gaps,
            source,
            synthetic,
        )


_NOWHERE: Final = _Cover()
