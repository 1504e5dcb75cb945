"""Reading a run journal, also while its run goes on: nothing here disturbs the one who writes.

Each call reads a piece and lets go, so that the write-ahead log can be started over in between. Every row is checked
against its checksum, and a walk through a whole table against the number of rows that the last commit left, so what
is yielded was written, and what is missing is told. Raises JournalFailed for whatever is wrong with the file.
"""

from __future__ import annotations

import hashlib
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing, suppress
from pathlib import Path
from types import TracebackType
from typing import Final, TypeAlias

import msgspec
from attrs import define, field

from xtalgo.data.journal_header import Header, StrategySource
from xtalgo.data.journal_rows import (
    Decided,
    Gap,
    Input,
    Intent,
    Mark,
    Outcome,
    Told,
    Turn,
    fill_of,
    header_of,
    order_of,
)
from xtalgo.data.journal_schema import APPLICATION, SEAL, TABLES, VERSION, JournalFailed, Row, open_db
from xtalgo.engine.orders import Order
from xtalgo.model.events import Fill

__all__ = [
    "NO_HASH",
    "Decided",
    "Gap",
    "Input",
    "Intent",
    "JournalReader",
    "Mark",
    "Outcome",
    "Told",
    "Turn",
    "copy",
    "link",
    "read",
]

NO_HASH: Final = "0" * 64
"""What the chain of decisions hangs on."""

_PIECE: Final = 500
_WAIT: Final = 2.0
_SHORTEST: Final = 512

Seal: TypeAlias = dict[str, tuple[int, int]]


def link(before: str, decision: bytes) -> str:
    """The next hash of a chain of decisions."""
    return hashlib.sha256(before.encode() + decision).hexdigest()


def read(path: str | os.PathLike[str]) -> JournalReader:
    """Open a journal for reading; close it, or use it in a ``with``."""
    path = Path(path)
    try:
        # Only looked at from outside: to open and close a database by hand would drop SQLite's own locks on it.
        size = path.stat().st_size
    except OSError as error:
        raise JournalFailed(f"{path}: can't be read: {error.strerror or error}") from None
    if size < _SHORTEST:
        raise JournalFailed(f"{path}: not a run journal, or what is left of one: it has {size} bytes")
    try:
        reader = JournalReader(path, open_db(path, writes=False, wait=_WAIT))
    except sqlite3.Error as error:
        raise JournalFailed(f"{path}: can't be opened ({error})") from None
    try:
        reader._check()
    except BaseException:
        reader.close()
        raise
    return reader


@define(eq=False)
class JournalReader:
    """A journal opened for reading. Iterators show what was committed when they began, in order of writing."""

    path: Path
    _db: sqlite3.Connection
    headers: tuple[Header, ...] = field(init=False, default=())
    """One for each start, as of when it was opened."""

    @property
    def header(self) -> Header:
        """The head of the run, as of its last start."""
        return self.headers[-1]

    @property
    def last_number(self) -> int:
        """The number of the last input; 0 when there is none."""
        return self._seal()["inputs"][1]

    @property
    def commits(self) -> int:
        """How many commits there were."""
        return int(self._sealed()[1])

    @property
    def chain(self) -> str:
        """The hash of the last decision."""
        rows = self._all("SELECT hash FROM decisions WHERE number = ?", (self._seal()["decisions"][1],))
        return rows[0][0] if rows else NO_HASH

    # --- tables ----------------------------------------------------------------------------------------------------

    def inputs(self, after: int = 0) -> Iterator[Input]:
        """What came in, from the one after number ``after``."""
        return (Input(*row) for row in self._rows("inputs", after))

    def turns(self, after: int = 0) -> Iterator[Turn]:
        """Engine inputs."""
        return (Turn(*row) for row in self._rows("turns", after))

    def decisions(self, after: int = 0) -> Iterator[Decided]:
        """Decisions; their chain is checked on the way."""
        before = NO_HASH
        if after:
            rows = self._all("SELECT hash FROM decisions WHERE number <= ? ORDER BY number DESC LIMIT 1", (after,))
            before = rows[0][0] if rows else NO_HASH
        for row in self._rows("decisions", after):
            found = Decided(*row)
            before = link(before, found.data.encode())
            if before != found.hash:
                raise self._damaged(f"decision {found.number} breaks the chain of hashes")
            yield found

    def intents(self, after: int = 0) -> Iterator[Intent]:
        """Mutations that were about to leave."""
        return (Intent(*row) for row in self._rows("intents", after))

    def outcomes(self, after: int = 0) -> Iterator[Outcome]:
        """What became of them."""
        return (Outcome(*row) for row in self._rows("outcomes", after))

    def fills(self, after: int = 0) -> Iterator[Fill]:
        """Executions, each once; ``after`` counts rows."""
        return (fill_of(row) for row in self._rows("fills", after))

    def order_states(self, after: int = 0) -> Iterator[Order]:
        """Every state of every order, without its fills."""
        return (order_of(row) for row in self._rows("order_states", after))

    def orders(self) -> Iterator[Order]:
        """Each order in its last state, in order of birth, with its fills."""
        seal = self._seal()
        fills: dict[str, list[Fill]] = {}
        for row in self._rows("fills", seal=seal):
            fill = fill_of(row)
            fills.setdefault(fill.order_id, []).append(fill)
        last: dict[str, Row] = {}
        for row in self._rows("order_states", seal=seal):
            last[row[1]] = row
        for name, row in last.items():
            yield order_of(row, tuple(fills.get(name, ())))

    def marks(self, after: int = 0) -> Iterator[Mark]:
        """Figures at their times."""
        return (Mark(*row) for row in self._rows("marks", after))

    def notices(self, after: int = 0) -> Iterator[Told]:
        """What people were told."""
        return (Told(*row) for row in self._rows("notices", after))

    def gaps(self) -> Iterator[Gap]:
        """What is missing."""
        return (Gap(*row) for row in self._rows("gaps"))

    # --- the whole -------------------------------------------------------------------------------------------------

    def verify(self, *, alone: bool = False) -> Mapping[str, tuple[int, int]]:
        """Read everything and check it. Returns for each table how many rows it has and its last key.

        With ``alone``, when nobody writes, nothing may lie beyond the last commit either.
        """
        if alone and (found := self._all("PRAGMA quick_check(1)")) != [("ok",)]:
            raise self._damaged(str(found[0][0]))
        seal = self._seal()
        for name, table in TABLES.items():
            if name == "decisions":
                for _ in self.decisions():
                    pass
            else:
                for _ in self._rows(name, seal=seal):
                    pass
            if alone and self._all(f"SELECT max({table.key}) FROM {name}")[0][0] not in (None, seal[name][1]):
                raise self._damaged(f"{name} goes on behind the last commit")
        return seal

    def close(self) -> None:
        """Let the file go."""
        self._db.close()

    def __enter__(self) -> JournalReader:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    # --- inside ----------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        found = self._all("PRAGMA application_id")[0][0]
        if found != APPLICATION:
            raise JournalFailed(f"{self.path}: not a run journal of xtalgo")
        version = self._all("PRAGMA user_version")[0][0]
        if version != VERSION:
            raise JournalFailed(
                f"{self.path}: journal of schema version {version}, and this xtalgo reads version {VERSION}; "
                "use the xtalgo that wrote it"
            )
        seal = self._seal()
        strategies: dict[int, list[StrategySource]] = {}
        for _, start, *facts in self._rows("strategies", seal=seal):
            strategies.setdefault(start, []).append(StrategySource(*facts))
        self.headers = tuple(header_of(row, tuple(strategies.get(row[0], ()))) for row in self._rows("runs", seal=seal))
        if not self.headers:
            raise self._damaged("it has no head")

    def _sealed(self) -> Row:
        rows = self._all(f"SELECT {SEAL.names} FROM seal")
        if len(rows) != 1 or SEAL.sum(rows[0][:-1]) != rows[0][-1]:
            raise self._damaged("its seal is missing or torn")
        return rows[0]

    def _seal(self) -> Seal:
        told = msgspec.json.decode(self._sealed()[2], type=Seal)
        if told.keys() != TABLES.keys():
            raise self._damaged("its seal names other tables")
        return told

    def _rows(self, name: str, after: int = 0, *, seal: Seal | None = None) -> Iterator[Row]:
        """Rows of a table without their checksums, as of the last commit, or of ``seal``."""
        table = TABLES[name]
        count, last = (self._seal() if seal is None else seal)[name]
        query = f"SELECT {table.names} FROM {name} WHERE {table.key} > ? AND {table.key} <= ? ORDER BY 1 LIMIT {_PIECE}"
        seen, place, piece = 0, after, _PIECE
        while piece == _PIECE:
            rows = self._all(query, (place, last))
            piece = len(rows)
            for row in rows:
                whole = row[:-1]
                if table.sum(whole) != row[-1] or row[0] <= place:
                    raise self._damaged(f"row {place + 1} or a later one of {name} is not what was written")
                place = row[0]
                yield whole
            seen += piece
        if after <= 0 and seen != count:
            raise self._damaged(f"{name} has {seen} rows and should have {count}")

    def _all(self, query: str, values: Row = ()) -> list[Row]:
        try:
            return self._db.execute(query, values).fetchall()
        except (sqlite3.Error, UnicodeDecodeError) as error:
            raise self._damaged(str(error)) from None

    def _damaged(self, text: str) -> JournalFailed:
        return JournalFailed(f"{self.path}: the journal can't be read: {text}. Use a copy of it, or begin a new run")


def copy(path: str | os.PathLike[str], to: str | os.PathLike[str]) -> None:
    """Copy a journal, also of a run that goes on, to a new file that is whole by itself.

    Raises JournalFailed when it can't be read or written, or when ``to`` is there already.
    """
    target = Path(to)
    if target.exists():
        raise JournalFailed(f"{target}: is there already; name another file to copy to")
    part = target.with_name(f"{target.name}.part")
    try:
        with read(path) as reader:
            part.unlink(missing_ok=True)
            with closing(sqlite3.connect(part)) as db:
                reader._db.backup(db)
                db.execute("PRAGMA journal_mode=DELETE")  # for a file of its own: no reader needs to write beside it
        part.rename(target)
    except (sqlite3.Error, OSError) as error:
        raise JournalFailed(f"{target}: can't be written ({error}); the journal itself is unharmed") from None
    finally:
        with suppress(OSError):
            part.unlink(missing_ok=True)
