"""The error tree. Every message says what was wrong, where, and what to do about it."""

from __future__ import annotations

__all__ = [
    "AuthError",
    "ConfigError",
    "DataError",
    "LocalProtocolError",
    "NoConnection",
    "NotSent",
    "OutcomeUnknown",
    "RemoteProtocolError",
    "SessionTakenOver",
    "StrategyError",
    "VenueError",
    "XtalgoError",
]


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


class LocalProtocolError(XtalgoError):
    """We used a connection or a call wrongly: a bug on this side. Nothing was sent."""


class RemoteProtocolError(XtalgoError):
    """The other side sent something that the protocol doesn't allow and that we can't do without."""


class VenueError(XtalgoError):
    """The venue refused a request, in its own words. It was not carried out; asking again the same way won't help."""


class OutcomeUnknown(XtalgoError):
    """A request was sent, or begun to be sent, and no answer came. It may have been carried out.

    A mutation that ends so is never sent again; what became of it is found out by asking.
    """


class NotSent(XtalgoError):
    """A request that never left this process: the link was down, or it went stale first. Safe to ask again."""


class NoConnection(XtalgoError):
    """The venue can't be reached, or not any more; the command line exits with 7."""


class SessionTakenOver(XtalgoError):
    """Another client uses the same token. The venue allows one socket per user and the newer one wins (documented)."""


class AuthError(XtalgoError):
    """The venue refused the token."""
