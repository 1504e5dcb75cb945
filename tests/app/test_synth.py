"""``xtalgo synth``: what it writes, what the files say of themselves, and what it refuses."""

import datetime as dt
import itertools
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from app.support import FADE, Xtalgo, write

from xtalgo.app.synth import next_session_day
from xtalgo.data.quotes import load_recording
from xtalgo.model.instruments import ContractBook
from xtalgo.model.sessions import session_at


def test_files_say_what_they_are_and_replay_as_synthetic(xtalgo: Xtalgo, folder: Path) -> None:
    outcome = xtalgo("synth", "--out", folder / "made", "--sessions", "1", "--start", "2026-05-15")
    assert (outcome.code, outcome.err) == (0, "")
    paths = sorted(Path("made").iterdir())
    assert [path.name for path in paths] == ["ES 06-26 2026-05-15.parquet", "MNQ 06-26 2026-05-15.parquet"]
    for path in paths:
        facts = pq.read_metadata(path).metadata
        assert facts[b"xtalgo.synthetic"] == b"true"
        assert facts[b"xtalgo.source"] == b"xtalgo synth"
        assert facts[b"xtalgo.note.seed"] == b"7"
        assert facts[b"xtalgo.note.command"].decode() == (
            "xtalgo synth --out made --instruments ES,MNQ --sessions 1 --start 2026-05-15 "
            "--contract-month 06-26 --seed 7"
        )
        assert f"{path.name}: 82,800 quotes, {path.stat().st_size:,} bytes" in outcome.out
        assert path.stat().st_size < 700_000
    assert "2 files, 165,600 quotes" in outcome.out
    assert "SYNTHETIC; seed 7" in outcome.out

    table = load_recording(["made"], ContractBook()).table
    assert table.instruments == ("ES 06-26", "MNQ 06-26")
    assert {session_at(ts).day for ts in table.stamps(0, len(table))} == {dt.date(2026, 5, 15)}
    # One frame carries both under one stamp, in the order in which they were asked for.
    assert [quote.instrument for quote in table.quotes(0, 4)] == ["ES 06-26", "MNQ 06-26"] * 2

    outcome = xtalgo("run", FADE, "--replay", "made")
    assert outcome.code == 0
    assert "These quotes are SYNTHETIC: made up by a program." in outcome.out
    assert "  source        xtalgo synth" in outcome.out
    assert "No trades" not in outcome.out
    write(folder, "real.csv", "timestamp,instrument,bid,ask\n2026-05-15T14:00:00Z,NQM6,1,2\n")
    mixed = xtalgo("run", FADE, "--replay", "made", "real.csv", "--json")
    assert "2 of the 3 files are SYNTHETIC" in mixed.err


def test_the_same_command_gives_the_same_bytes_and_nothing_is_overwritten(xtalgo: Xtalgo, folder: Path) -> None:
    command = ["synth", "--instruments", "MNQ 09-26", "--sessions", "1", "--seed", "3"]
    assert xtalgo(*command, "--out", "a/quotes").code == 0
    assert xtalgo(*command, "--out", "b/quotes").code == 0
    (first,) = Path("a/quotes").iterdir()
    (second,) = Path("b/quotes").iterdir()
    assert first.name == "MNQ 09-26 2026-05-12.parquet"
    assert first.read_bytes() == second.read_bytes()
    error = xtalgo(*command, "--out", "a/quotes", "--sessions", "2").code
    assert error == 2  # given twice
    first.write_bytes(b"mine")
    error_text = xtalgo(*command, "--out", "a/quotes").error
    assert "MNQ 09-26 2026-05-12.parquet is there already; --force overwrites" in error_text
    assert first.read_bytes() == b"mine"
    assert xtalgo(*command, "--out", "a/quotes", "--force").code == 0
    assert first.read_bytes() == second.read_bytes()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "--out requires an argument"),
        (["--out", "a file"], "--out a file: cannot be made"),
        (["--out", "x", "--start", "2026-05-16"], "2026-05-16 is a Saturday"),
        (["--out", "x", "--start", "tomorrow"], "--start is a day written YYYY-MM-DD, not 'tomorrow'"),
        (["--out", "x", "--sessions", "0"], "--sessions is a whole number from 1 to 1,000, not 0"),
        (["--out", "x", "--sessions", "two"], "--sessions"),
        (["--out", "x", "--seed", "-1"], "--seed is a whole number from 0, not -1"),
        (["--out", "x", "--contract-month", "6-26"], "--contract-month is written MM-YY, such as 06-26, not '6-26'"),
        (["--out", "x", "--instruments", ","], "--instruments names one or more instruments"),
        (["--out", "x", "--instruments", "ES,ESM6"], "--instruments names one instrument twice: ES 06-26, ES 06-26"),
        (["--out", "x", "--instruments", "QQQ"], "no contract facts for 'QQQ 06-26'"),
        (["--out", "x", "--sesions", "1"], "Did you mean --sessions? See xtalgo synth --help."),
    ],
)
def test_wrong_use_is_one_line(xtalgo: Xtalgo, folder: Path, arguments: list[str], expected: str) -> None:
    write(folder, "a file", "")
    assert expected in xtalgo("synth", *arguments).error
    assert [path.name for path in folder.iterdir()] == ["a file"]


def test_sessions_are_named_after_weekdays() -> None:
    days = [dt.date(2026, 5, 14)]
    for _ in range(3):
        days.append(next_session_day(days[-1]))
    assert [day.day for day in days] == [14, 15, 18, 19]
    assert all(later > earlier for earlier, later in itertools.pairwise(days))
