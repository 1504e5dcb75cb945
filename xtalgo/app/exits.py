"""Exit codes: what each means, and which error ends with which."""

from __future__ import annotations

from typing import Final

from xtalgo.model.errors import AuthError, NoConnection, SessionTakenOver, StrategyError, XtalgoError

__all__ = ["EXIT_CODES", "InDoubt", "NotFlat", "NotSame", "code_of"]

OK: Final = 0
INTERNAL: Final = 1
USAGE: Final = 2
STRATEGY: Final = 3
TOKEN: Final = 4
TAKEN_OVER: Final = 5
NOT_FLAT: Final = 6
NO_CONNECTION: Final = 7
NOT_SAME: Final = 8
IN_DOUBT: Final = 9
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

EXIT_CODES: Final = {
    OK: "ended well; so does a live run that was stopped with Ctrl-C once",
    INTERNAL: "an error of xtalgo itself; please report it",
    USAGE: "wrong use, settings or data, or a strategy file that cannot be loaded",
    STRATEGY: "a strategy raised an exception; its own file and line are printed",
    TOKEN: "the venue refused the token",
    TAKEN_OVER: "another client took over the session of this token",
    NOT_FLAT: "not flat at the end, or not known to be, though --on-stop flatten or xtalgo flatten asked for it",
    NO_CONNECTION: "no usable connection: the run never began, or the venue closed it for good",
    NOT_SAME: "verify: the run is not the same again; the first difference is printed",
    IN_DOUBT: "rpc: it was sent, and whether it was carried out is not known; look before you send it again",
    INTERRUPTED: "interrupted with Ctrl-C; in a live run, with the second one, which stops at once",
}
"""What the exit codes mean."""


class NotFlat(XtalgoError):
    """A run was asked to end flat, and the venue did not say that it is."""


class NotSame(XtalgoError):
    """A run that was lived again did not come out the same."""


class InDoubt(XtalgoError):
    """A call by hand was sent and not answered: it may have been carried out, and is not sent again."""


_CODES: Final[tuple[tuple[type[XtalgoError], int], ...]] = (
    (StrategyError, STRATEGY),
    (AuthError, TOKEN),
    (SessionTakenOver, TAKEN_OVER),
    (NotFlat, NOT_FLAT),
    (NoConnection, NO_CONNECTION),
    (NotSame, NOT_SAME),
    (InDoubt, IN_DOUBT),
)


def code_of(error: XtalgoError) -> int:
    """The exit code that an error ends with."""
    return next((code for kind, code in _CODES if isinstance(error, kind)), USAGE)
