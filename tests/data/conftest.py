"""A journal in a folder of its own, and the clock it goes by."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from data.journals import Clock, header

from xtalgo.data import journal_store
from xtalgo.data.journal import Journal


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commits that don't wait for the drive, for tests that write much and would show the same with them."""
    settings = tuple(text.replace("synchronous=FULL", "synchronous=OFF") for text in journal_store.SETTINGS)
    assert settings != journal_store.SETTINGS
    monkeypatch.setattr(journal_store, "SETTINGS", settings)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "new folder" / "rün #1 %20.db"


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def journal(path: Path, clock: Clock) -> Iterator[Journal]:
    with Journal.create(path, header(), clock=clock) as made:
        yield made
