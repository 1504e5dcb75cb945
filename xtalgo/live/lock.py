"""One session per token on this machine: a lock that the operating system keeps.

The venue allows one socket per user and the newer wins (documented), so a second run by mistake would throw the first
one out in the middle of its trades. The lock is asked for before anything is dialled.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import platformdirs

from xtalgo.data.oslock import FileLock, LockHeld
from xtalgo.live.tokens import Token
from xtalgo.model.errors import ConfigError

__all__ = ["SessionLock", "state_folder"]


def state_folder() -> Path:
    """Where lock files lie when no folder is named: the user's state folder of this platform."""
    return platformdirs.user_state_path("xtalgo", appauthor=False)


class SessionLock:
    """Holds the lock of a token from ``with`` to its end; the operating system frees it when the process dies.

    Raises ConfigError on entry when another session holds it, naming that one, or when the folder can't be used. The
    file is named by a hash of the token and says who holds it: process id, start and command line, never the token.
    It stays behind, empty (see ``FileLock``).
    """

    def __init__(
        self, token: Token | str, folder: Path | None = None, *, wall: Callable[[], int] = time.time_ns
    ) -> None:
        token = Token(token)
        self.path = (state_folder() if folder is None else folder) / f"{token.digest()}.lock"
        self._lock = FileLock(self.path, hide=token.hide, wall=wall)

    def __enter__(self) -> SessionLock:
        try:
            self._lock.__enter__()
        except LockHeld as held:
            raise ConfigError(
                f"another session runs with this token on this machine ({held.holder}). A second connection would "
                "throw it out: stop it first, or use another token"
            ) from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.__exit__(kind, error, trace)

    def __repr__(self) -> str:
        return f"SessionLock({str(self.path)!r})"
