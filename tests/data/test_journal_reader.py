"""Reading journals: what was tampered with or torn is never shown as true; copies."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from data.journals import START, written

from xtalgo.data.journal import (
    Journal,
    JournalFailed,
    copy,
    read,
)
from xtalgo.data.journal_rows import Decided
from xtalgo.data.journal_schema import TABLES

pytestmark = pytest.mark.usefixtures("hasty")


# --- reading ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("data", [b"", b"x", b"SQLite format 3\0" + b"\0" * 5000, b"a,b,c\n" * 1000])
def test_foreign_files_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "file.db"
    path.write_bytes(data)
    for attempt in (read, Journal.resume):
        with pytest.raises(JournalFailed, match=r"file\.db"):
            attempt(path)
    assert path.read_bytes() == data


def test_databases_of_others_and_other_versions_are_refused(path: Path, journal: Journal, tmp_path: Path) -> None:
    journal.close()
    with closing(sqlite3.connect(tmp_path / "other.db")) as db:
        db.execute("CREATE TABLE inputs (number)")
    with pytest.raises(JournalFailed, match="not a run journal"):
        read(tmp_path / "other.db")
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=2")
    with pytest.raises(JournalFailed, match="schema version 2, and this xtalgo reads version 1"):
        Journal.resume(path)
    for attempt in (read, Journal.resume):
        with pytest.raises(JournalFailed, match=r"missing\.db"):
            attempt(tmp_path / "missing.db")
    assert not (tmp_path / "missing.db.lock").exists()


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE fills SET price = price + 0.25 WHERE number = 2",
        "UPDATE fills SET sum = sum + 1 WHERE number = 2",
        "UPDATE fills SET number = 900 WHERE number = 2",
        "DELETE FROM fills WHERE number = 2",
        "DELETE FROM fills WHERE number = (SELECT max(number) FROM fills)",
        "DELETE FROM fills",
        "DELETE FROM seal",
        "UPDATE seal SET tables = '{}'",
    ],
)
def test_a_row_that_was_changed_or_taken_out_is_noticed(tmp_path: Path, change: str) -> None:
    path = tmp_path / "run.db"
    for _ in written(path, 150):
        pass
    with closing(sqlite3.connect(path)) as db:
        db.execute(change)
        db.commit()
    for attempt in (lambda: Journal.resume(path), lambda: list(read_all(path))):
        with pytest.raises(JournalFailed, match=r"run\.db: the journal can't be read"):
            attempt()


def read_all(path: Path) -> list[Any]:
    with read(path) as reader:
        return [*reader.fills()]


def test_rows_behind_the_last_commit_are_noticed(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    for _ in written(path, 20):
        pass
    row = (99, START, "a line", TABLES["notices"].sum((99, START, "a line")))
    with closing(sqlite3.connect(path)) as db:
        db.execute(TABLES["notices"].insert, row)
        db.commit()
    with pytest.raises(JournalFailed, match="notices goes on behind the last commit"):
        Journal.resume(path)
    with read(path) as reader:
        assert 99 not in [found.number for found in reader.notices()]


def test_a_forged_decision_breaks_the_chain(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    for _ in written(path, 100):
        pass
    with read(path) as reader:
        found: Decided = list(reader.decisions())[2]
    row = (found.number, found.turn, found.data.replace("place", "plaice"), found.hash)
    values = (row[2], TABLES["decisions"].sum(row), row[0])
    with closing(sqlite3.connect(path)) as db:
        db.execute("UPDATE decisions SET decision = ?, sum = ? WHERE number = ?", values)
        db.commit()
    with pytest.raises(JournalFailed, match=f"decision {found.number} breaks the chain"):
        Journal.resume(path)


# --- copies ----------------------------------------------------------------------------------------------------------


def test_a_copy_is_whole_by_itself(path: Path, tmp_path: Path) -> None:
    for number, writer in enumerate(written(path, 60), 1):
        if number == 50:
            writer.journal.commit()
            copy(path, tmp_path / "cöpy of it.db")
    alone = tmp_path / "alone"
    alone.mkdir()
    target = (tmp_path / "cöpy of it.db").rename(alone / "run.db")
    with read(target) as reader:
        reader.verify(alone=True)
        assert reader.last_number == 50
    assert [file.name for file in alone.iterdir()] == ["run.db"]
    with Journal.resume(target) as journal:
        journal.input(51, START, "frame", "{}")


def test_a_copy_goes_nowhere_else(path: Path, journal: Journal, tmp_path: Path) -> None:
    journal.commit()
    (tmp_path / "there.db").write_bytes(b"mine")
    with pytest.raises(JournalFailed, match="is there already"):
        copy(path, tmp_path / "there.db")
    assert (tmp_path / "there.db").read_bytes() == b"mine"
    with pytest.raises(JournalFailed, match="can't be written"):
        copy(path, tmp_path / "no folder" / "a.db")
    with pytest.raises(JournalFailed, match="missing"):
        copy(tmp_path / "missing.db", tmp_path / "b.db")
    assert not list(tmp_path.glob("*.part"))
