"""The error tree. Every message says what was wrong, where, and what to do about it."""

from __future__ import annotations

__all__ = ["ConfigError", "DataError", "StrategyError", "XtalgoError"]


class XtalgoError(Exception):
    """Base of every error this package raises on purpose."""


class ConfigError(XtalgoError):
    """A setting, parameter or instrument name that cannot be used; the command line exits with 2."""


class DataError(XtalgoError):
    """A recording or file that cannot be read as it stands; the command line exits with 2."""


class StrategyError(XtalgoError):
    """A strategy raised or misused the framework; the command line exits with 3.

    ``file`` and ``line`` name the author's own code when they are known.
    """

    def __init__(self, message: str, *, file: str | None = None, line: int | None = None) -> None:
        super().__init__(message)
        self.file = file
        self.line = line
