"""Cut, overwritten and killed journals: what they yield was written, and what was committed is there.

Killing a process tests what it had handed to the operating system. That a power cut keeps a commit, too, rests on
``synchronous=FULL`` and on the drive; no test in a process can show it.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any

import pytest
from attrs import frozen
from data.journals import NAMES, START, Writer, contents, header, place

from xtalgo.data import journal_store
from xtalgo.data.journal import Journal, JournalFailed, read
from xtalgo.data.journal_schema import Row
from xtalgo.data.journal_store import Store
from xtalgo.model.errors import ConfigError

pytestmark = pytest.mark.usefixtures("hasty")

CUTS = 200
SOME = 8
"""Of so many, one is taken up again, too."""

FRAME = 4096 + 24
"""Bytes of a page in the log."""


@frozen
class Run:
    """The two files of a run at one moment, all that was written by then, and how far each commit went."""

    db: bytes
    wal: bytes
    whole: dict[str, list[Any]]
    commits: list[tuple[int, dict[str, int]]]
    """Bytes in the log after a commit, and how much each table had by then."""


class Watched(Store):
    """Remembers how far each commit went."""

    seen: list[tuple[int, dict[str, int]]]

    def write(self, rows: Mapping[str, Sequence[Row]]) -> None:
        super().write(rows)
        log = self.path.with_name(self.path.name + "-wal").stat().st_size
        self.seen.append((log, {name: count for name, (count, _) in self.tables.items()}))


def snapshot(folder: Path, frames: int, checkpoint: int, *, just_checked: bool = False) -> Run:
    path = folder / "run.db"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(journal_store, "CHECKPOINT", checkpoint)
        with Journal.create(path, header()) as journal:
            store = journal._store
            watched = journal._store = Watched(store.path, store.db, store.tables, store.commits)
            watched.seen = []
            writer = Writer(journal)
            for _ in range(frames):
                writer.frame()
            journal.commit(urgent=True)
            if just_checked:
                store.db.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            with read(path) as reader:
                whole = contents(reader)
            return Run(path.read_bytes(), path.with_name("run.db-wal").read_bytes(), whole, watched.seen)


def lay(folder: Path, db: bytes, wal: bytes) -> Path:
    folder.mkdir(exist_ok=True)
    for file in folder.iterdir():
        file.unlink()
    path = folder / "run.db"
    path.write_bytes(db)
    path.with_name("run.db-wal").write_bytes(wal)
    return path


def is_prefix(found: dict[str, list[Any]], whole: dict[str, list[Any]]) -> bool:
    if any(found[name] != whole[name][: len(found[name])] for name in NAMES if name != "orders"):
        return False
    # An order is as its last state says, with the fills that are there.
    last = {state["id"]: state for state in found["order_states"]}
    fills = {name: tuple(fill for fill in found["fills"] if fill.order_id == name) for name in last}
    return found["orders"] == [state | {"fills": fills[name]} for name, state in last.items()]


def yields(path: Path) -> dict[str, list[Any]] | None:
    """What a reader gets out of it; None when it refuses, which must be by a JournalFailed."""
    with suppress(JournalFailed), read(path) as reader:
        return contents(reader)
    return None


def goes_on(path: Path) -> dict[str, list[Any]] | None:
    """What there is after resuming and writing on, without what was written on; None when it refuses."""
    try:
        journal = Journal.resume(path)
    except JournalFailed:
        return None
    with journal:
        journal.notice(START, "taken up again")
        journal.intent(place())
    with read(path) as reader:
        reader.verify(alone=True)
        found = contents(reader)
    assert found["notices"].pop().text == "taken up again"
    assert found["intents"].pop().command == place()
    return found


@pytest.fixture(scope="module")
def unchecked(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Everything but the head is still in the log."""
    return snapshot(tmp_path_factory.mktemp("unchecked"), 90, 10_000)


@pytest.fixture(scope="module")
def checked(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The log was brought into the database several times and started over."""
    return snapshot(tmp_path_factory.mktemp("checked"), 200, 40)


def test_the_runs_are_worth_cutting(unchecked: Run, checked: Run) -> None:
    assert len(unchecked.wal) > 100 * FRAME
    assert len(unchecked.db) < 20 * FRAME
    assert len(checked.db) > 30 * FRAME
    assert len(checked.wal) > 40 * FRAME
    for run in (unchecked, checked):
        assert min(len(run.whole[name]) for name in NAMES) > 5


def test_a_log_that_lost_its_end_has_exactly_the_commits_before_the_cut(unchecked: Run, tmp_path: Path) -> None:
    random = Random(1)
    for number in range(CUTS):
        cut = random.randrange(len(unchecked.wal) + 1)
        path = lay(tmp_path / "cut", unchecked.db, unchecked.wal[:cut])
        found = yields(path)
        assert found is not None
        assert is_prefix(found, unchecked.whole)
        expected = next((counts for end, counts in reversed(unchecked.commits) if end <= cut), None)
        assert [len(found[name]) for name in NAMES[:-1]] == [expected[name] if expected else 0 for name in NAMES[:-1]]
        if number % SOME == 0:
            assert goes_on(path) == found


@pytest.mark.parametrize("kind", ["unchecked", "checked"])
def test_cut_anywhere_it_yields_what_was_written_or_is_refused(
    kind: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    run: Run = request.getfixturevalue(kind)
    random = Random(2)
    refused = resumed = 0
    for number in range(CUTS // 2):
        db, wal = run.db, run.wal
        if number % 3 != 0:
            db = db[: random.randrange(len(db) + 1)]
        if number % 3 != 1:
            wal = wal[: random.randrange(len(wal) + 1)]
        path = lay(tmp_path / "cut", db, wal)
        found = yields(path)
        assert found is None or is_prefix(found, run.whole)
        refused += found is None
        if found is None or number % SOME == 0:
            after = goes_on(path)
            resumed += after is not None
            assert after is None or after == found  # it looks at more, and refuses more
    assert 0 < refused < CUTS // 2
    assert resumed


def test_overwritten_anywhere_it_yields_what_was_written_or_is_refused(checked: Run, tmp_path: Path) -> None:
    random = Random(3)
    refused = 0
    for number in range(60):
        db, wal = bytearray(checked.db), bytearray(checked.wal)
        for data in ((db,), (wal,), (db, wal))[number % 3]:
            start = random.randrange(100, len(data))
            size = random.choice((1, 16, 512, 4096))
            data[start : start + size] = random.randbytes(len(data[start : start + size]))
        path = lay(tmp_path / "cut", bytes(db), bytes(wal))
        found = yields(path)
        assert found is None or is_prefix(found, checked.whole)
        refused += found is None
        if number % SOME == 0:
            after = goes_on(path)
            assert after is None or is_prefix(after, checked.whole)
    assert 0 < refused < 60


def test_put_together_from_two_moments_it_is_refused_or_a_prefix(tmp_path: Path) -> None:
    """The log's beginning over a database that has all of it: SQLite itself does not notice."""
    run = snapshot(tmp_path, 150, 10_000, just_checked=True)
    refused = 0
    for frames in range(1, len(run.wal) // FRAME, len(run.wal) // FRAME // 30):
        path = lay(tmp_path / "cut", run.db, run.wal[: 32 + frames * FRAME])
        found = yields(path)
        assert found is None or is_prefix(found, run.whole)
        after = goes_on(path)
        refused += after is None
        assert after is None or after == found
    assert refused >= 3
    path = lay(tmp_path / "cut", run.db, run.wal)
    assert goes_on(path) == run.whole


CHILD = """
import sys
from data.journals import Writer, header, place
from xtalgo.data.journal import Journal
path = sys.argv[1]
with Journal.create(path, header()) if sys.argv[2] == "0" else Journal.resume(path) as journal:
    writer = Writer(journal, int(sys.argv[2]))
    print("open", flush=True)
    while True:
        writer.frame()
        journal.intent(place())
        print(journal._next["intents"] - 1, journal.last_input, flush=True)
"""


def kill_one(path: Path, life: int, lines: int) -> tuple[int, int]:
    """Let a process write until it has told of so many commits, and kill it; what it told last."""
    command = [sys.executable, "-c", CHILD, str(path), str(life)]
    place = {"cwd": str(Path(__file__).parents[1]), "text": True}
    with subprocess.Popen(command, stdout=subprocess.PIPE, **place) as child:  # type: ignore[call-overload]
        try:
            assert child.stdout.readline() == "open\n"
            if life == 0:
                with pytest.raises(ConfigError, match=f"another process writes this journal .process {child.pid}, "):
                    Journal.resume(path)
            told = [child.stdout.readline() for _ in range(lines)]
        finally:
            child.kill()
        told += [line for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
    intents, inputs = map(int, told[-1].split())
    return intents, inputs


def lives(path: Path, count: int) -> Iterator[None]:
    random = Random(4)
    for life in range(count):
        intents, inputs = kill_one(path, life, random.randrange(1, 40))
        with read(path) as reader:
            found = contents(reader)
            reader.verify()
        assert [row.number for row in found["intents"]] == [*range(1, len(found["intents"]) + 1)]
        assert len(found["intents"]) >= intents > 0
        assert len(found["inputs"]) == found["inputs"][-1].number >= inputs
        yield


def test_a_killed_process_leaves_all_that_it_had_committed(tmp_path: Path) -> None:
    path = tmp_path / "rün 1.db"
    for _ in lives(path, 3):
        pass
    with Journal.resume(path) as journal, read(path) as reader:
        assert journal.last_input == reader.last_number


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_two_hundred_killed_processes(tmp_path: Path) -> None:
    for _ in lives(tmp_path / "run.db", 200):
        pass
