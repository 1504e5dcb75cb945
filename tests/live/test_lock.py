"""One session per token: the lock file, within a process and between two."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from xtalgo.live.lock import SessionLock, state_folder
from xtalgo.live.tokens import Token
from xtalgo.model.errors import ConfigError

TOKEN = "s3cr3t-t0ken"
START = 1_778_680_800_000_000_000

HOLDER = """
import sys
from pathlib import Path
from xtalgo.live.lock import SessionLock
with SessionLock(sys.stdin.readline(), Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_second_holder_is_told_of_the_first(tmp_path: Path) -> None:
    with SessionLock(TOKEN, tmp_path, wall=lambda: START) as first:
        held = json.loads(first.path.read_text("utf-8"))
        assert held["pid"] == os.getpid()
        assert held["since"] == "2026-05-13T14:00:00+00:00"
        with pytest.raises(ConfigError, match=rf"process {os.getpid()}, since 2026-05-13T14:00:00") as caught:
            SessionLock(TOKEN, tmp_path).__enter__()
        assert TOKEN not in str(caught.value)
        with SessionLock("another", tmp_path):
            pass
    with SessionLock(Token(f" {TOKEN}\n"), tmp_path):
        pass


def test_a_refused_attempt_leaves_the_lock_and_its_content_alone(tmp_path: Path) -> None:
    with SessionLock(TOKEN, tmp_path) as first:
        before = first.path.read_bytes()
        for _ in range(3):
            with pytest.raises(ConfigError, match="another session"):
                SessionLock(TOKEN, tmp_path).__enter__()
        assert first.path.read_bytes() == before


def test_it_is_released_when_the_body_raises(tmp_path: Path) -> None:
    with pytest.raises(KeyError), SessionLock(TOKEN, tmp_path):
        raise KeyError
    with SessionLock(TOKEN, tmp_path):
        pass


def test_a_lock_is_not_entered_twice(tmp_path: Path) -> None:
    lock = SessionLock(TOKEN, tmp_path)
    with lock, pytest.raises(ConfigError, match="already"):
        lock.__enter__()


def test_the_file_is_named_by_a_hash_and_shows_no_token(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["xtalgo", "run", f"--token={TOKEN}", "ma\udcffgic", "x" * 9_000])
    with SessionLock(TOKEN, tmp_path) as lock:
        assert lock.path.name == "fe5f98c6100cda04.lock"
        text = lock.path.read_text("utf-8")
        assert "xtalgo run --token=" in json.loads(text)["command"]
        assert TOKEN not in text
        assert len(text) < 1_000
        assert TOKEN not in repr(lock)
    assert lock.path.read_text("utf-8") == ""


@pytest.mark.parametrize("content", ["", "{", "[]", "null", '{"pid": 1}', "\x00\xff"])
def test_a_holder_that_says_nothing_still_holds(tmp_path: Path, content: str) -> None:
    with SessionLock(TOKEN, tmp_path) as lock:
        lock.path.write_text(content, "latin-1")
        with pytest.raises(ConfigError, match="not known yet"):
            SessionLock(TOKEN, tmp_path).__enter__()


def test_a_left_over_file_is_no_lock(tmp_path: Path) -> None:
    lock = SessionLock(TOKEN, tmp_path / "new" / "folder")
    lock.path.parent.mkdir(parents=True)
    lock.path.write_text('{"pid": 1, "since": "x", "command": "y"}' * 100, "utf-8")
    with lock:
        assert json.loads(lock.path.read_text("utf-8"))["pid"] == os.getpid()


def test_a_folder_that_cant_be_used_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="can't be used"):
        SessionLock(TOKEN, tmp_path / "file").__enter__()


def test_the_default_folder_is_the_users() -> None:
    assert state_folder().is_absolute()
    assert "xtalgo" in state_folder().parts[-1]


def test_another_process_holds_it_until_it_dies(tmp_path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as child:
        try:
            assert child.stdin is not None
            assert child.stdout is not None
            child.stdin.write(TOKEN + "\n")
            child.stdin.flush()
            assert child.stdout.readline() == "held\n"
            with pytest.raises(ConfigError, match=f"process {child.pid}, since 20"):
                SessionLock(TOKEN, tmp_path).__enter__()
        finally:
            child.kill()
            child.wait()
        with SessionLock(TOKEN, tmp_path):
            pass
