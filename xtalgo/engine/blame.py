"""Whose line it was: turns what a strategy raised into an error that names the author's own file and line."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from traceback import walk_tb
from typing import TYPE_CHECKING

from xtalgo.model.errors import StrategyError, XtalgoError

if TYPE_CHECKING:
    from xtalgo.engine.seat import Seat
    from xtalgo.engine.strategy import Strategy

__all__ = ["blame", "culprit"]


def blame(error: Exception, strategies: Sequence[Strategy]) -> Exception:
    """A StrategyError naming the deepest line of a strategy's own file that ``error`` passed through.

    An error that no strategy had a part in is ours and is given back as it is.
    """
    files: dict[str, str] = {}
    for strategy in strategies:
        for base in type(strategy).__mro__:
            # The author's own bases count too, wherever they are written; ours and Python's do not.
            if base.__module__.partition(".")[0] not in ("xtalgo", "builtins"):
                module = sys.modules.get(base.__module__)
                files[getattr(module, "__file__", None) or base.__module__] = type(strategy).__name__
    place: tuple[str, int] | None = None
    for frame, line in walk_tb(error.__traceback__):
        if frame.f_code.co_filename in files:
            place = (frame.f_code.co_filename, line)
    if place is None:
        return error
    text = str(error) if isinstance(error, XtalgoError) else f"{type(error).__name__}: {error}"
    return StrategyError(f"{files[place[0]]}: {text}", file=place[0], line=place[1])


def culprit(error: Exception, seats: Sequence[Seat]) -> Seat | None:
    """The seat whose strategy's method ``error`` passed through first; None when it came from elsewhere."""
    for frame, _ in walk_tb(error.__traceback__):
        here = frame.f_locals.get("self")
        for seat in seats:
            if here is seat.strategy:
                return seat
    return None
