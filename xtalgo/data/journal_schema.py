"""The tables of a run journal, in one place: what writes them, reads them and describes them follows this.

Every table only grows, has a strictly increasing key as its first column, and ends each row with a checksum. ``seal``
has one row: how many rows each table has as of the last commit. So a reader can tell, without trusting the file, that
a row is whole and that none is missing.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias
from urllib.parse import quote
from zlib import crc32

import msgspec
from attrs import field, frozen

from xtalgo.model.errors import XtalgoError

__all__ = [
    "APPLICATION",
    "INPUTS",
    "SCHEMA",
    "SEAL",
    "TABLES",
    "VERSION",
    "Column",
    "JournalFailed",
    "Row",
    "Table",
    "open_db",
]

APPLICATION: Final = 0x78746A72
"""SQLite's ``application_id`` of our journals: "xtjr"."""

VERSION: Final = 1
"""SQLite's ``user_version``: the schema below."""

INPUTS: Final = ("start", "link_up", "link_down", "frame", "unsent", "advance", "leap", "halt", "stop")
"""The kinds of inputs."""

Row: TypeAlias = tuple[Any, ...]

_encode = msgspec.json.Encoder().encode


class JournalFailed(XtalgoError):
    """A journal that can't be written, or that is damaged; the message says which, and what to do."""


@frozen
class Column:
    """A column and what it holds."""

    name: str
    type: str
    text: str


@frozen
class Table:
    """A table that only grows. Its first column is its key, its last one the checksum."""

    name: str
    text: str
    columns: tuple[Column, ...]
    _seed: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "_seed", crc32(self.name.encode()))

    @property
    def names(self) -> str:
        """The names of all columns, the checksum's included, with commas."""
        return ", ".join([*(column.name for column in self.columns), "sum"])

    @property
    def key(self) -> str:
        """The name of its key."""
        return self.columns[0].name

    @property
    def ddl(self) -> str:
        """The statement that makes it."""
        first, *rest = self.columns
        lines = [f"    {first.name} INTEGER PRIMARY KEY", *(f"    {column.name} {column.type}" for column in rest)]
        return f"CREATE TABLE {self.name} (\n" + ",\n".join([*lines, "    sum INTEGER"]) + "\n)"

    @property
    def insert(self) -> str:
        """The statement that adds a row with its checksum."""
        return f"INSERT INTO {self.name} VALUES ({', '.join('?' * (len(self.columns) + 1))})"

    def sum(self, row: Row) -> int:
        """The checksum of a row (without its checksum)."""
        return crc32(_encode(row), self._seed)


def _table(name: str, text: str, *columns: str) -> Table:
    made = []
    for column in columns:
        head, told = column.split(": ", 1)
        title, kind = head.split()
        made.append(Column(title, kind, told))
    return Table(name, text, tuple(made))


_NS = "nanoseconds since 1970-01-01 UTC"

TABLES: Final[Mapping[str, Table]] = {
    table.name: table
    for table in (
        _table(
            "runs",
            "Each start: the first one, and one for each time that the run was taken up again.",
            "number INTEGER: 1, 2, ..",
            "run TEXT: the run's id; our order ids begin with it",
            f"created INTEGER: {_NS}",
            "version TEXT: of xtalgo",
            "python TEXT: version of Python",
            "platform TEXT: operating system and processor",
            "settings TEXT: JSON object, without the token",
            "accounts TEXT: JSON array of names",
        ),
        _table(
            "strategies",
            "The strategies of each start.",
            "number INTEGER: 1, 2, ..",
            "start INTEGER: `runs.number`",
            "name TEXT: of the strategy",
            "file TEXT: where its source lay",
            "source TEXT: its whole source",
            "sha256 TEXT: of the source in UTF-8",
            "parameters TEXT: JSON object",
        ),
        _table(
            "inputs",
            "What came in, as it came: with these and the source, a run can be done again.",
            "number INTEGER: increasing, given by the run",
            f"ts INTEGER: {_NS}",
            f"kind TEXT: {', '.join(f'`{kind}`' for kind in INPUTS)}",
            "text TEXT: the raw frame (a binary one as a blob), or what belongs to the other kinds",
        ),
        _table(
            "turns",
            "What the engine was handed, turn by turn.",
            "number INTEGER: of the turn",
            f"ts INTEGER: {_NS}",
            'event TEXT: JSON, `["Quote",{"ts":..}]`: the type\'s name and its fields',
        ),
        _table(
            "decisions",
            "What was decided in a turn, in a chain of hashes.",
            "number INTEGER: increasing, given by the run",
            "turn INTEGER: `turns.number`",
            "decision TEXT: JSON array: when, what, and the facts",
            "hash TEXT: SHA-256, in hex, of the previous row's hash (at first 64 zeros) followed by `decision`",
        ),
        _table(
            "intents",
            "Orders, changes and cancels about to leave. Each was on disk before its frame left.",
            "number INTEGER: 1, 2, ..",
            f"ts INTEGER: {_NS}; null where it was not told",
            "order_id TEXT: our id",
            'command TEXT: JSON, `["PlaceOrder",{..}]`',
        ),
        _table(
            "outcomes",
            "What became of them.",
            "number INTEGER: 1, 2, ..",
            f"ts INTEGER: {_NS}",
            "order_id TEXT: our id",
            "kind TEXT: what became of it",
            "text TEXT: in the venue's words, or ours",
        ),
        _table(
            "fills",
            "Executions, each once.",
            "number INTEGER: 1, 2, ..",
            "ts INTEGER: when it was seen",
            "order_id TEXT: our id",
            "execution_id TEXT: the venue's id of it; no two rows share one",
            "account TEXT: name",
            "instrument TEXT: canonical name",
            "side INTEGER: 1 bought, -1 sold",
            "quantity INTEGER: contracts",
            "price REAL: points",
            "fee REAL: dollars for the whole quantity",
            "executed INTEGER: when it happened at the venue",
        ),
        _table(
            "order_states",
            "Orders, a row for each state they went through. The view `orders` has the present one of each.",
            "number INTEGER: 1, 2, ..",
            "id TEXT: our id",
            "owner TEXT: the strategy",
            "account TEXT: name",
            "instrument TEXT: canonical name",
            "side INTEGER: 1 buys, -1 sells",
            "type TEXT: `MARKET`, `LIMIT`, `STOPMARKET`, `STOPLIMIT`",
            "quantity INTEGER: contracts",
            "limit_price REAL: points",
            "stop_price REAL: points",
            "tif TEXT: `DAY`, `GTC`",
            "oco TEXT: one-cancels-other group",
            "role TEXT: `entry`, `stop_loss`, `take_profit`, `close`",
            f"created INTEGER: {_NS}",
            "parent TEXT: id of the entry that an exit protects",
            "status TEXT: see docs/design.md",
            "is_done INTEGER: 1 when nothing more is expected",
            "filled INTEGER: contracts",
            "average_price REAL: points, of what was filled",
            "reason TEXT: why it was denied, refused or ended",
            "evidence TEXT: what the status rests on",
            "pending_cancel INTEGER: 1 while a cancel is wanted or under way",
            "pending_change INTEGER: 1 while a change is wanted or under way",
        ),
        _table(
            "marks",
            "P&L and equity as they were at a time.",
            "number INTEGER: 1, 2, ..",
            f"ts INTEGER: {_NS}",
            "account TEXT: name",
            "kind TEXT: which figure",
            "value REAL: dollars",
        ),
        _table(
            "notices",
            "What people were told.",
            "number INTEGER: 1, 2, ..",
            f"ts INTEGER: {_NS}",
            "text TEXT: the line",
        ),
        _table(
            "gaps",
            "What is missing: rows that had to be dropped from memory while the file could not be written.",
            "number INTEGER: 1, 2, ..",
            "name TEXT: of the table they are missing in",
            "first INTEGER: key of the first one missing",
            "last INTEGER: key of the last one missing",
            "count INTEGER: how many",
        ),
    )
}

SEAL: Final = _table(
    "seal",
    "One row, renewed with each commit.",
    "number INTEGER: 1",
    "commits INTEGER: how many there were",
    'tables TEXT: JSON object: for each table `[rows, last key]`, `{"inputs":[812,907],..}`',
)

_VIEW = """CREATE VIEW orders AS
    SELECT * FROM order_states WHERE number IN (SELECT max(number) FROM order_states GROUP BY id)"""

SCHEMA: Final[Sequence[str]] = (*(table.ddl for table in (*TABLES.values(), SEAL)), _VIEW)
"""The statements that make a journal, in order."""


def open_db(path: Path, *, writes: bool, wait: float) -> sqlite3.Connection:
    """Open a database that is there, for at most ``wait`` seconds of others' locks. Raises sqlite3.Error."""
    place = path.absolute().as_posix()
    place = place if place.startswith("/") else f"/{place}"  # a drive; a share keeps its two slashes
    uri = f"file://{quote(os.fsencode(place))}?mode={'rw' if writes else 'ro'}"
    return sqlite3.connect(uri, uri=True, timeout=wait, isolation_level=None)
