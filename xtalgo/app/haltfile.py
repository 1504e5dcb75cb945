"""The HALT file: while it lies in the user's state folder, every run of this user opens nothing more.

It needs neither our process nor the network: any program that can make a file can set it.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from attrs import define, field

from xtalgo.live.lock import state_folder
from xtalgo.model.errors import ConfigError

__all__ = ["HaltFile", "halt_path"]

EVERY: Final = 1.0
"""Seconds between two looks at the file system."""


def halt_path() -> Path:
    """Where the file lies: in the user's state folder, beside the locks of sessions."""
    return state_folder() / "HALT"


@define(eq=False)
class HaltFile:
    """One HALT file. ``is_set`` may be asked at every turn; it looks once a second at most.

    ``clock`` gives seconds that never run back.
    """

    path: Path = field(factory=halt_path)
    _clock: Callable[[], float] = time.monotonic
    _looked: float | None = field(default=None, init=False)
    _is_set: bool = field(default=False, init=False)

    def is_set(self) -> bool:
        """Whether the file is there, by a look that is at most a second old. What can't be looked at counts as set."""
        now = self._clock()
        if self._looked is None or not 0 <= now - self._looked < EVERY:
            self._looked, self._is_set = now, self._look()
        return self._is_set

    def _look(self) -> bool:
        try:
            os.lstat(self.path)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError:
            return True  # a switch that nobody can read must not read as off
        return True

    def set(self) -> bool:
        """Write the file, and its folder if need be; False when it was there. Raises ConfigError when it can't be."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("x", encoding="utf-8") as file:
                file.write(f"set {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} by process {os.getpid()}\n")
        except FileExistsError:
            if self._look():
                return False
            raise ConfigError(f"the HALT file {self.path} can't be written: its folder is a file") from None
        except OSError as error:
            if self._looks_there():
                return True  # empty, on a full disk: that it is there is all that counts
            raise ConfigError(f"the HALT file {self.path} can't be written: {error.strerror or error}") from None
        finally:
            self._looked = None
        return True

    def _looks_there(self) -> bool:
        try:
            os.lstat(self.path)
        except OSError:
            return False
        return True

    def clear(self) -> bool:
        """Remove the file; False when it wasn't there. Raises ConfigError when it can't be removed."""
        try:
            self.path.unlink()
        except (FileNotFoundError, NotADirectoryError):
            return False
        except OSError as error:
            raise ConfigError(f"the HALT file {self.path} can't be removed: {error.strerror or error}") from None
        finally:
            self._looked = None
        return True
