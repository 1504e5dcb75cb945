"""Days on record: what was saved is found again, by one run at a time, or it is an error."""

from __future__ import annotations

import datetime as dt
import json
import os
from pathlib import Path

import attrs
import pytest

from xtalgo import ConfigError
from xtalgo.data.daystate import KEPT, DayStates
from xtalgo.engine.daystate import DayState, Lock, Track
from xtalgo.model.errors import DataError

DAY = dt.date(2026, 5, 13)


def state(day: dt.date = DAY, account: str = "Sim101", *, lock: Lock | None = None, level: float = -120.25) -> DayState:
    own = Track(0.0, 40.0, 0.0, level)
    return DayState(account, day, own, own_shift=-3.5, settled=-100.0, pnl=Track(), realized=-100.0, lock=lock)


def test_what_was_saved_is_found_again(tmp_path: Path) -> None:
    saved = state(lock=Lock(17, "account_loss", "Sim101 lost $500"))
    with DayStates(tmp_path) as days:
        assert days.load("Sim101", DAY) is None
        days.save(saved)
        assert days.load("SIM101", DAY) == saved
    with DayStates(tmp_path) as days:
        assert days.load("Sim101", DAY) == saved
        assert days.load("Sim102", DAY) is None


def test_the_newest_day_that_is_not_later(tmp_path: Path) -> None:
    with DayStates(tmp_path) as days:
        for number in (3, 1, 2):
            days.save(state(DAY + dt.timedelta(days=number), level=float(number)))
        assert days.load("Sim101", DAY) is None
        found = days.load("Sim101", DAY + dt.timedelta(days=9))
        assert found is not None
        assert found.own.level == 3.0
        for number in range(4, 40):
            days.save(state(DAY + dt.timedelta(days=number)))
    assert len(json.loads(next(tmp_path.glob("*.day.json")).read_bytes())["days"]) == KEPT


def test_what_is_loaded_shares_nothing(tmp_path: Path) -> None:
    with DayStates(tmp_path) as days:
        saved = state()
        days.save(saved)
        saved.own.level = 99.0
        found = days.load("Sim101", DAY)
        assert found is not None
        found.own.level = 98.0
        again = days.load("Sim101", DAY)
        assert again is not None
        assert again.own.level == -120.25


def test_a_lock_is_never_taken_off_within_its_day(tmp_path: Path) -> None:
    lock = Lock(17, "drawdown", "enough")
    with DayStates(tmp_path) as days:
        days.save(state(lock=lock))
        days.save(state(level=-10.0))
        found = days.load("Sim101", DAY)
        assert found is not None
        assert (found.lock, found.own.level) == (lock, -10.0)
        days.save(state(DAY + dt.timedelta(days=1)))
        following = days.load("Sim101", DAY + dt.timedelta(days=1))
        assert following is not None
        assert following.lock is None


def test_one_run_at_a_time_for_each_account(tmp_path: Path) -> None:
    with DayStates(tmp_path) as first, DayStates(tmp_path) as second:
        first.load("Sim101", DAY)
        assert second.load("Sim102", DAY) is None
        with pytest.raises(ConfigError, match=r"another run trades account Sim101 .*process \d+"):
            second.load("Sim101", DAY)
    with DayStates(tmp_path) as third:
        assert third.load("Sim101", DAY) is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "not a record of trading days"),
        ("{", "not a record of trading days"),
        ('{"version": 1, "account": "Sim101"}', "not a record of trading days"),
        ('{"version": 2, "account": "Sim101", "days": []}', "written by another version"),
        ("\xff\xfe", "not a record of trading days"),
    ],
)
def test_a_file_that_cannot_be_read_is_no_empty_one(tmp_path: Path, text: str, expected: str) -> None:
    with DayStates(tmp_path) as days:
        path = days.path("Sim101")
        path.write_text(text, encoding="latin-1")
        with pytest.raises(DataError, match=expected) as caught:
            days.load("Sim101", DAY)
        assert str(path) in str(caught.value)


def test_a_save_that_fails_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_handle: int) -> None:
        raise OSError(28, "No space left on device")

    with DayStates(tmp_path) as days:
        days.save(state())
        with monkeypatch.context() as patched:
            patched.setattr(os, "fsync", full)
            with pytest.raises(DataError, match="cannot be written: No space left on device"):
                days.save(state(level=-500.0))
        found = days.load("Sim101", DAY)
        assert found is not None
        assert found.own.level == -120.25
        assert not list(tmp_path.glob("*.tmp"))


def test_names_become_files(tmp_path: Path) -> None:
    days = DayStates(tmp_path)
    names = ("Sim101", "../../etc/passwd", "a/b", "a-b", "", "Konto ü", "x" * 300)
    paths = {days.path(name) for name in names}
    assert len(paths) == len(names)
    assert all(path.parent == tmp_path and len(path.name) < 80 for path in paths)
    assert days.path("sim101") == days.path("SIM101")


def test_every_field_is_kept(tmp_path: Path) -> None:
    track = Track(1.5, 2.5, 3.5, -4.5)
    full = DayState("A", DAY, track, 1.0, 2.0, track, 3.0, 4.0, track, 5.0, 6.0, Lock(1, "drawdown", "x"))
    assert all(getattr(full, item.name) is not None for item in attrs.fields(DayState))
    with DayStates(tmp_path) as days:
        days.save(full)
    with DayStates(tmp_path) as days:
        assert days.load("A", DAY) == full
