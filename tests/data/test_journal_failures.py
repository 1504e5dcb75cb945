"""A journal that can't be written: what is said, what waits, what is dropped, and how long its log gets."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from data.journals import START, Clock, fill, header, place

from xtalgo.data import journal_store
from xtalgo.data.journal import (
    Journal,
    JournalFailed,
    read,
)
from xtalgo.data.journal_rows import Gap
from xtalgo.data.journal_schema import SCHEMA

pytestmark = pytest.mark.usefixtures("hasty")


def fill_disk(journal: Journal, pages: int = 0) -> None:
    """No room for more than so many further pages; None of it is real, but SQLite answers as for a full disk."""
    db = journal._store.db
    db.execute(f"PRAGMA max_page_count={db.execute('PRAGMA page_count').fetchone()[0] + pages}").fetchone()


def empty_disk(journal: Journal) -> None:
    journal._store.db.execute("PRAGMA max_page_count=1000000").fetchone()


def grow(journal: Journal, number: int = 20_000) -> None:
    journal.notice(START, "x" * number)


# --- a file that can't be written ------------------------------------------------------------------------------------


def test_a_full_disk_is_told_and_loses_nothing(path: Path, journal: Journal, clock: Clock) -> None:
    journal.input(1, START, "frame", "before")
    journal.intent(place("r-1"))
    fill_disk(journal)
    grow(journal)
    with pytest.raises(
        JournalFailed, match=r"can't be written \(database or disk is full\).* rows wait in memory"
    ) as told:
        journal.intent(place("r-2"))
    assert str(path) in str(told.value)
    assert "Make room" in str(told.value)
    assert journal.broken
    assert journal.failure == str(told.value)
    # Everything else still goes in without a word, and in between nothing of it can be seen.
    journal.input(2, START, "frame", "meanwhile")
    journal.decision(1, 1, (START, "cancel", "r-1"))
    journal.fill(fill(1))
    journal.outcome("r-2", "notsent", "its intent could not be recorded", START)
    with read(path) as reader:
        assert [found.order_id for found in reader.intents()] == ["r-1"]
        assert list(reader.notices()) == list(reader.fills()) == []
        reader.verify()
    empty_disk(journal)
    with pytest.raises(JournalFailed):
        journal.commit()  # tried once a second, not at each call
    clock.now += 1.0
    journal.commit()
    assert not journal.broken
    with read(path) as reader:
        assert [found.order_id for found in reader.intents()] == ["r-1", "r-2"]
        assert [found.text for found in reader.inputs()] == ["before", "meanwhile"]
        assert list(reader.fills()) == [fill(1)]
        assert len(list(reader.notices())) == len(list(reader.decisions())) == 1
        reader.verify()


def test_attempts_are_a_second_apart(journal: Journal, clock: Clock) -> None:
    fill_disk(journal)
    grow(journal)
    tried: list[str] = []
    journal._store.db.set_trace_callback(tried.append)
    for _ in range(40):
        with pytest.raises(JournalFailed, match="full"):
            journal.commit()
        clock.now += 0.25
    assert len([text for text in tried if text.startswith("BEGIN")]) == 10
    empty_disk(journal)


def test_somebody_elses_lock_is_waited_out(path: Path, journal: Journal, clock: Clock) -> None:
    journal.input(1, START, "frame", "{}")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(JournalFailed, match="locked"):
            journal.commit()
        other.execute("ROLLBACK")
    clock.now += 1
    journal.commit()
    with read(path) as reader:
        assert reader.last_number == 1


def test_memory_is_bounded_and_the_gap_is_told(path: Path, clock: Clock) -> None:
    with Journal.create(path, header(), clock=clock, bound=100_000) as journal:
        fill_disk(journal)
        grow(journal)
        with pytest.raises(JournalFailed):
            journal.commit()
        for number in range(1, 1001):
            clock.now += 0.001
            journal.input(number, START, "frame", "x" * 850)
            journal.turn(number, START, b'["Tick",{"ts":1}]')
            if number % 100 == 0:
                journal.decision(number, number, (START, "cancel", "r-1"))
                journal.fill(fill(number))
                journal.outcome(f"r-{number}", "answered", "", START)
        kept = len(journal._rows["inputs"])
        assert 40 < kept < 100
        empty_disk(journal)
        clock.now += 1
        journal.commit()
        journal.input(1001, START, "frame", "after")
        journal.commit()
    with Journal.resume(path), read(path) as reader:
        numbers = [found.number for found in reader.inputs()]
        assert numbers == [*range(1, kept + 1), 1001]
        turns = len(list(reader.turns()))
        assert list(reader.gaps()) == [
            Gap(1, "inputs", kept + 1, 1000, 1000 - kept),
            Gap(2, "turns", turns + 1, 1000, 1000 - turns),
        ]
        assert [found.number for found in reader.decisions()] == [*range(100, 1001, 100)]
        assert len(list(reader.fills())) == len(list(reader.outcomes())) == 10


def test_without_a_commit_memory_is_written_out_by_itself(path: Path) -> None:
    with Journal.create(path, header(), bound=100_000) as journal, read(path) as reader:
        for number in range(1, 501):
            journal.input(number, START, "frame", "x" * 850)
        assert reader.last_number >= 400
        assert not journal._lost


def test_an_end_without_room_says_what_was_lost(path: Path, clock: Clock) -> None:
    journal = Journal.create(path, header(), clock=clock)
    fill_disk(journal)
    grow(journal)
    with pytest.raises(JournalFailed, match="full"):
        journal.close()
    again = Journal.resume(path, clock=clock)  # the lock is free
    fill_disk(again)
    grow(again)
    with pytest.raises(KeyError) as caught, again:
        raise KeyError("why it ended")
    assert "disk is full" in caught.value.__notes__[0]
    with read(path) as reader:
        reader.verify()


def test_a_journal_that_cant_be_begun_leaves_nothing_behind(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_store, "SCHEMA", (*SCHEMA, "PRAGMA max_page_count=1", "CREATE TABLE more (x)"))
    with pytest.raises(JournalFailed, match="can't be begun"):
        Journal.create(path, header())
    assert [file.name for file in path.parent.iterdir()] == [f"{path.name}.lock"]
    monkeypatch.undo()
    Journal.create(path, header()).close()


# --- the write-ahead log ---------------------------------------------------------------------------------------------


def size_of_log(path: Path) -> int:
    return path.with_name(path.name + "-wal").stat().st_size // journal_store.PAGE


def test_open_readers_dont_make_the_log_grow(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_store, "CHECKPOINT", 50)
    largest = 0
    with Journal.create(path, header()) as journal, read(path) as idle, read(path) as busy:
        begun, followed = idle.inputs(), 0
        for number in range(1, 2001):
            journal.input(number, START, "frame", "x" * 2000)
            if number % 2 == 0:
                journal.commit()
                largest = max(largest, size_of_log(path))
            if number == 10:
                begun = idle.inputs()
                next(begun)
            for found in busy.inputs(after=followed):
                followed = found.number
        assert followed == 2000
        assert path.stat().st_size > 800 * journal_store.PAGE
        assert len(list(begun)) == 9
    assert largest < 200


def test_a_reader_of_another_kind_holds_the_log_until_it_lets_go(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_store, "CHECKPOINT", 20)

    def write(begin: int) -> None:
        for number in range(begin, begin + 500):
            journal.input(number, START, "frame", "x" * 2000)
            journal.commit()

    with Journal.create(path, header()) as journal, closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN")
        other.execute("SELECT count(*) FROM inputs").fetchone()
        write(1)
        held = journal.wal_pages
        assert held > 1000  # and that can be told
        other.execute("ROLLBACK")
        write(501)
        assert journal.wal_pages < 100
        assert size_of_log(path) <= 8 * 20


def test_with_a_frame_waiting_the_log_is_left_alone(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_store, "CHECKPOINT", 20)
    for number in range(15):
        journal.intent(place(f"r-{number}"))
        assert journal.wal_pages == 0  # not looked at
    journal.commit()
    assert journal.wal_pages > 20
