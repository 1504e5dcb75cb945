"""What is remembered of accounts outside a run: one small JSON file per account, replaced whole.

An account's file is locked from its first look to the end, so that two runs can't both believe to know its day. A file
that can't be read is an error: to take it for an empty one would forget a loss.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import os
import re
import sys
from contextlib import ExitStack, suppress
from pathlib import Path
from types import TracebackType
from typing import Final

import attrs
import msgspec

from xtalgo.data.oslock import FileLock, LockHeld
from xtalgo.engine.daystate import DayState
from xtalgo.model.errors import ConfigError, DataError

__all__ = ["DayStates"]

VERSION: Final = 1

KEPT: Final = 8
"""Trading days that stay on record."""


class _File(msgspec.Struct):
    version: int
    account: str
    days: list[DayState]
    """In order of their dates."""


class DayStates:
    """The states of accounts in one folder, from ``with`` to its end.

    Accounts of different venues that share a name need folders of their own. Raises DataError where a file can't be
    read or written, and ConfigError where another run holds the account's.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._locks = ExitStack()
        self._files: dict[str, _File] = {}

    def path(self, account: str) -> Path:
        """The file of an account: readable, and different for names that differ in more than the case of letters."""
        folded = account.casefold()
        digest = hashlib.sha256(folded.encode("utf-8", "surrogatepass")).hexdigest()[:12]
        return self.folder / f"{re.sub(r'[^a-z0-9]+', '-', folded)[:40].strip('-')}-{digest}.day.json"

    def load(self, account: str, day: dt.date) -> DayState | None:
        """The newest state not later than a trading day; None when there is none. Its lock holds for its own day."""
        found = [state for state in self._file(account).days if state.day <= day]
        return found[-1].copy() if found else None

    def save(self, state: DayState) -> None:
        """Put a state on record, on the disk before this returns. A lock of the same day is never taken off."""
        file = self._file(state.account)
        kept = {other.day: other for other in file.days}
        before = kept.get(state.day)
        if before is not None and before.lock is not None and state.lock is None:
            state = attrs.evolve(state, lock=before.lock)
        kept[state.day] = state.copy()
        days = [kept[date] for date in sorted(kept)][-KEPT:]
        fresh = _File(VERSION, state.account, days)
        self._write(self.path(state.account), msgspec.json.format(msgspec.json.encode(fresh), indent=1))
        self._files[state.account.casefold()] = fresh

    def _file(self, account: str) -> _File:
        key = account.casefold()
        if key not in self._files:
            path = self.path(account)
            try:
                self._locks.enter_context(FileLock(path.with_suffix(".lock")))
            except LockHeld as held:
                raise ConfigError(
                    f"another run trades account {account} on this machine ({held.holder}); stop it first"
                ) from None
            self._files[key] = self._read(path, account)
        return self._files[key]

    def _read(self, path: Path, account: str) -> _File:
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            return _File(VERSION, account, [])
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror or error}") from None
        try:
            version = msgspec.json.decode(data, type=_Head).version
            if version != VERSION:
                raise DataError(f"{path}: written by another version of xtalgo (format {version}, known is {VERSION})")
            file = msgspec.json.decode(data, type=_File)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            raise DataError(
                f"{path}: not a record of trading days: {error}. It holds the loss and lock of account {account}; move "
                "it away to begin without them"
            ) from None
        file.days.sort(key=lambda state: state.day)
        return file

    def _write(self, path: Path, data: bytes) -> None:
        draft = path.with_suffix(".tmp")
        try:
            with draft.open("wb") as out:
                out.write(data)
                out.flush()
                os.fsync(out.fileno())
            os.replace(draft, path)
            _sync_folder(path.parent)
        except OSError as error:
            with suppress(OSError):
                draft.unlink()
            raise DataError(f"{path}: cannot be written: {error.strerror or error}") from None

    def __enter__(self) -> DayStates:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._files.clear()
        self._locks.close()


class _Head(msgspec.Struct):
    version: int


def _sync_folder(folder: Path) -> None:
    """Make a replaced name last, where folders can be synced (Windows writes names through)."""
    if sys.platform == "win32":  # pragma: no cover
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
