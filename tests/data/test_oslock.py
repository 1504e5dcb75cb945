"""The lock file by itself; what a session makes of it is in tests/live/test_lock.py."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pytest

from xtalgo.data.oslock import FileLock, LockHeld, holder_of
from xtalgo.model.errors import ConfigError

START = 1_778_680_800_000_000_000


def test_the_holder_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["xtalgo", "run", "--secret=hush"])
    path = tmp_path / "new" / "näme with space.lock"
    with FileLock(path, hide=lambda word: word.replace("hush", "…"), wall=lambda: START):
        with pytest.raises(LockHeld) as caught:
            FileLock(path).__enter__()
        who = f"process {os.getpid()}, since 2026-05-13T14:00:00+00:00: xtalgo run --secret=…"
        assert caught.value.holder == who
        assert str(path) in str(caught.value)
        assert json.loads(path.read_text("utf-8"))["pid"] == os.getpid()
    assert path.read_bytes() == b""


def test_it_is_free_after_its_end_and_after_an_error(tmp_path: Path) -> None:
    lock = FileLock(tmp_path / "a.lock")
    with pytest.raises(KeyError), lock:
        raise KeyError
    with lock, pytest.raises(ConfigError, match="already"):
        lock.__enter__()
    with FileLock(lock.path):
        pass


def test_one_that_was_refused_takes_nothing_away(tmp_path: Path) -> None:
    path = tmp_path / "a.lock"
    with FileLock(path):
        refused = FileLock(path)
        for _ in range(2):
            with pytest.raises(LockHeld):
                refused.__enter__()
            refused.__exit__(None, None, None)
        path.write_text("not json", "utf-8")
        with pytest.raises(LockHeld, match="not known yet"):
            refused.__enter__()


def test_a_folder_that_cant_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="can't be used"):
        FileLock(tmp_path / "file" / "a.lock").__enter__()


def test_who_holds_it_for_somebody_who_only_looks(tmp_path: Path) -> None:
    path = tmp_path / "run.db.lock"
    assert holder_of(path) is None
    assert not path.exists()
    with FileLock(path):
        assert f"process {os.getpid()}, since " in (holder_of(path) or "")
        with pytest.raises(LockHeld):
            FileLock(path).__enter__()
    assert holder_of(path) is None
    path.write_text('{"pid": 1, "since": "then", "command": "xtalgo run"}')  # whoever it was died
    assert holder_of(path) is None
    with FileLock(path):
        pass
