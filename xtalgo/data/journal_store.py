"""A journal's database, opened for writing: transactions, the seal over them, and the write-ahead log's size."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from attrs import define, field

from xtalgo.data.journal_schema import APPLICATION, SCHEMA, SEAL, TABLES, VERSION, JournalFailed, Row, open_db
from xtalgo.model.errors import ConfigError

__all__ = ["CHECKPOINT", "Store"]

CHECKPOINT: Final = 1000
"""Pages of the write-ahead log after which it is brought into the database, by the next commit that has time."""

PAGE: Final = 4096

SETTINGS: tuple[str, ...] = (
    "synchronous=FULL",
    "fullfsync=ON",  # macOS: through the drive's own cache, too
    "checkpoint_fullfsync=ON",
    "wal_autocheckpoint=0",  # done by hand, when nobody waits
)
"""What a connection that writes is set to."""

_WAIT: Final = 0.1
_encode = msgspec.json.Encoder().encode


@define(eq=False)
class Store:
    """The database of one journal; whoever opens it holds the journal's lock. Nothing else may write to it."""

    path: Path
    db: sqlite3.Connection
    tables: dict[str, tuple[int, int]] = field(factory=lambda: dict.fromkeys(TABLES, (0, 0)))
    """Rows and last key of each table, as of the last commit."""
    commits: int = 0
    wal_pages: int = field(init=False, default=0)
    """Pages in the write-ahead log as of the last look."""
    _pages: int = field(init=False, default=0)

    @classmethod
    def create(cls, path: Path, rows: Mapping[str, Sequence[Row]]) -> Store:
        """A new database with its first rows.

        Raises ConfigError when there is one, or it can't be made there, and JournalFailed when it can't be written.
        """
        for there in (path, _beside(path, "-wal")):
            if there.exists():
                raise ConfigError(f"{there}: is there already; resume that run, or name another file")
        try:
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        except OSError as error:
            raise ConfigError(f"{path}: can't be made: {error.strerror or error}") from None
        store = None
        try:
            store = cls(path, _connect(path))
            for statement in (
                f"PRAGMA application_id={APPLICATION}",
                f"PRAGMA user_version={VERSION}",
                "BEGIN IMMEDIATE",
                *SCHEMA,
            ):
                store.db.execute(statement)
            store._insert(rows)
            store.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except (sqlite3.Error, JournalFailed) as error:
            if store is not None:
                store.db.close()
            for suffix in ("", "-wal", "-shm"):
                with suppress(OSError):
                    _beside(path, suffix).unlink(missing_ok=True)
            raise JournalFailed(
                f"{path}: the journal can't be begun ({error}). Make room on its drive, or name a file on another one"
            ) from None
        return store

    @classmethod
    def open(cls, path: Path, tables: Mapping[str, tuple[int, int]], commits: int) -> Store:
        """A database that was read and found whole. Raises JournalFailed when it can't be opened for writing."""
        try:
            return cls(path, _connect(path), dict(tables), commits)
        except sqlite3.Error as error:
            raise JournalFailed(f"{path}: can't be opened for writing ({error})") from None

    def write(self, rows: Mapping[str, Sequence[Row]]) -> None:
        """Add rows to tables, all or none, durably. Raises sqlite3.Error, or what else stops it; nothing is added."""
        try:
            self.db.execute("BEGIN IMMEDIATE")
            self._insert(rows)
        except BaseException:
            with suppress(sqlite3.Error):
                if self.db.in_transaction:
                    self.db.execute("ROLLBACK")
            raise

    def _insert(self, rows: Mapping[str, Sequence[Row]]) -> None:
        tables, size = dict(self.tables), 0
        for name, added in rows.items():
            if not added:
                continue
            table = TABLES[name]
            self.db.executemany(table.insert, [(*row, table.sum(row)) for row in added])
            tables[name] = (tables[name][0] + len(added), added[-1][0])
            size += PAGE + sum(len(value) if isinstance(value, str | bytes) else 8 for row in added for value in row)
        seal = (1, self.commits + 1, _encode(tables).decode())
        self.db.execute("INSERT OR REPLACE INTO seal VALUES (?, ?, ?, ?)", (*seal, SEAL.sum(seal)))
        self.db.execute("COMMIT")
        self.tables = tables
        self.commits += 1
        self._pages += 1 + size // PAGE

    def tidy(self, *, urgent: bool) -> None:
        """Bring the write-ahead log into the database when it is long, so that it can start over.

        What is committed is safe either way; a failure here is left to the next write to meet.
        """
        if self._pages < CHECKPOINT * (4 if urgent else 1):
            return
        self._pages = 0
        with suppress(sqlite3.Error):
            _, self.wal_pages, done = self.db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if done == self.wal_pages >= 2 * CHECKPOINT:
                # It would start over by itself, but found a reader at its end each time: insist, without waiting.
                self.db.execute("PRAGMA busy_timeout=0")
                try:
                    self.db.execute("PRAGMA wal_checkpoint(RESTART)").fetchone()
                finally:
                    self.db.execute(f"PRAGMA busy_timeout={round(_WAIT * 1000)}")

    def close(self) -> None:
        """Bring all of it into one plain file that can be read without writing beside it, and let go.

        Where somebody reads just now it stays as it is, which is as good but for the files beside it.
        """
        with suppress(sqlite3.Error):
            self.db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self.db.execute("PRAGMA journal_mode=DELETE").fetchone()
        self.db.close()


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _connect(path: Path) -> sqlite3.Connection:
    db = open_db(path, writes=True, wait=_WAIT)
    try:
        mode = db.execute("PRAGMA journal_mode=WAL").fetchone()[0]
        if mode != "wal":
            raise JournalFailed(f"{path}: its drive can't hold a journal (mode {mode}); use a local one")
        for setting in (*SETTINGS, f"journal_size_limit={8 * CHECKPOINT * PAGE}"):
            db.execute(f"PRAGMA {setting}").fetchone()
    except BaseException:
        db.close()
        raise
    return db
