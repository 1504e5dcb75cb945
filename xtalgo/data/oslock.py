"""A lock file that the operating system keeps: free again the moment its process dies, however it dies."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import TracebackType
from typing import Final

from xtalgo.model.errors import ConfigError
from xtalgo.model.types import SECOND_NS

__all__ = ["FileLock", "LockHeld", "holder_of"]

_LONGEST = 400

if sys.platform == "win32":  # pragma: no cover
    import msvcrt

    # Locked bytes can't be read by others on Windows; one far behind the end leaves the content readable.
    _PLACE: Final = 1 << 30

    def _lock(handle: int) -> bool:
        os.lseek(handle, _PLACE, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

    def _unlock(handle: int) -> None:
        os.lseek(handle, _PLACE, os.SEEK_SET)
        msvcrt.locking(handle, msvcrt.LK_UNLCK, 1)

else:
    import fcntl

    def _lock(handle: int) -> bool:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _unlock(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_UN)


class LockHeld(ConfigError):
    """Somebody else holds the lock; ``holder`` says who, as far as that is known."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(f"the lock {path} is held by another one ({holder})")
        self.holder = holder


class FileLock:
    """Holds the lock of a file from ``with`` to its end.

    Raises LockHeld on entry when it is held, here or in another process, and ConfigError when the file can't be used.
    The file says who holds it: process id, start and command line, the latter by way of ``hide``. It stays behind,
    empty: removing it would let two processes hold locks on two files of one name.
    """

    def __init__(self, path: Path, *, hide: Callable[[str], str] = str, wall: Callable[[], int] = time.time_ns) -> None:
        self.path = path
        self._hide = hide
        self._wall = wall
        self._handle: int | None = None

    def __enter__(self) -> FileLock:
        if self._handle is not None:
            raise ConfigError(f"this process holds the lock {self.path} already, by the same object")
        handle = -1
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
            if not _lock(handle):
                raise LockHeld(self.path, self._told())
            self._write(handle, json.dumps(self._holder(), ensure_ascii=False))
        except OSError as error:
            _close(handle)
            raise ConfigError(
                f"the lock file {self.path} can't be used: {error.strerror or error}. "
                "Make its folder writable, or name another one"
            ) from None
        except BaseException:
            _close(handle)
            raise
        self._handle = handle
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        handle, self._handle = self._handle, None
        if handle is not None:
            try:
                os.ftruncate(handle, 0)
                _unlock(handle)
            except OSError:
                pass  # closing frees it, too
            finally:
                _close(handle)

    def _holder(self) -> dict[str, object]:
        since = datetime.fromtimestamp(self._wall() // SECOND_NS, UTC)
        command = " ".join(self._hide(word) for word in sys.argv)
        return {"pid": os.getpid(), "since": since.isoformat(), "command": command[:_LONGEST]}

    def _write(self, handle: int, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        os.lseek(handle, 0, os.SEEK_SET)
        os.ftruncate(handle, 0)
        while data:
            data = data[os.write(handle, data) :]

    def _told(self) -> str:
        try:
            found = json.loads(self.path.read_text("utf-8"))
            return f"process {found['pid']}, since {found['since']}: {found['command']}"
        except (OSError, ValueError, KeyError, TypeError):
            return f"its process is not known yet; see {self.path}"

    def __repr__(self) -> str:
        return f"FileLock({str(self.path)!r})"


def holder_of(path: Path) -> str | None:
    """Who holds the lock of this file, as far as that is known; None where nobody does.

    For whoever only looks on. A file that is empty, or not there, is not even tried.
    """
    lock = FileLock(path)
    handle = -1
    try:
        if not path.stat().st_size:
            return None
        handle = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        if not _lock(handle):
            return lock._told()
        _unlock(handle)
    except OSError:
        pass
    finally:
        _close(handle)
    return None


def _close(handle: int) -> None:
    if handle >= 0:
        os.close(handle)
