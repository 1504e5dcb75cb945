"""One session per token on this machine: a lock that the operating system keeps.

The venue allows one socket per user and the newer wins (documented), so a second run by mistake would throw the first
one out in the middle of its trades. The lock is asked for before anything is dialled.
"""

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

import platformdirs

from xtalgo.live.tokens import Token
from xtalgo.model.errors import ConfigError
from xtalgo.model.types import SECOND_NS

__all__ = ["SessionLock", "state_folder"]

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


def state_folder() -> Path:
    """Where lock files lie when no folder is named: the user's state folder of this platform."""
    return platformdirs.user_state_path("xtalgo", appauthor=False)


class SessionLock:
    """Holds the lock of a token from ``with`` to its end; the operating system frees it when the process dies.

    Raises ConfigError on entry when another session holds it, naming that one, or when the folder can't be used. The
    file is named by a hash of the token and says who holds it: process id, start and command line, never the token.
    It stays behind, empty: removing it would let two sessions hold locks on two files of one name.
    """

    def __init__(
        self, token: Token | str, folder: Path | None = None, *, wall: Callable[[], int] = time.time_ns
    ) -> None:
        self._token = Token(token)
        self.path = (state_folder() if folder is None else folder) / f"{self._token.digest()}.lock"
        self._wall = wall
        self._handle: int | None = None

    def __enter__(self) -> SessionLock:
        if self._handle is not None:
            raise ConfigError(f"this session holds the lock {self.path} already")
        handle = -1
        try:
            self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o600)
            if not _lock(handle):
                raise ConfigError(self._refusal())
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
        command = " ".join(self._token.hide(word) for word in sys.argv)
        return {"pid": os.getpid(), "since": since.isoformat(), "command": command[:_LONGEST]}

    def _write(self, handle: int, text: str) -> None:
        data = text.encode("utf-8", "backslashreplace")
        os.lseek(handle, 0, os.SEEK_SET)
        os.ftruncate(handle, 0)
        while data:
            data = data[os.write(handle, data) :]

    def _refusal(self) -> str:
        try:
            found = json.loads(self.path.read_text("utf-8"))
            who = f"process {found['pid']}, since {found['since']}: {found['command']}"
        except (OSError, ValueError, KeyError, TypeError):
            who = f"its process is not known yet; see {self.path}"
        return (
            f"another session runs with this token on this machine ({who}). A second connection would throw it out: "
            "stop it first, or use another token"
        )

    def __repr__(self) -> str:
        return f"SessionLock({str(self.path)!r})"


def _close(handle: int) -> None:
    if handle >= 0:
        os.close(handle)
