"""What the functions of all groups have in common: their shape, and how one waits between its steps."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Final, TypeAlias

from xtalgo.model.types import MILLISECOND_NS, Ns
from xtalgo.sim.venue import Venue

__all__ = ["LOOK", "Args", "Function", "Steps", "good", "wait"]

Args: TypeAlias = dict[str, Any]
Steps: TypeAlias = Generator[Ns, Ns, object]
"""A function that waits between its steps: it yields when to go on, is sent the time then, and returns the body."""
Function: TypeAlias = Callable[[Venue, Args, Ns], object]
"""One function of the API: its body at once, or ``Steps`` that lead to it."""

LOOK: Final[Ns] = 100 * MILLISECOND_NS
"""How often a function that waits for something looks whether it is so."""


def good(**body: object) -> dict[str, object]:
    """A body that says ``success`` at its end."""
    return {**body, "success": True}


def wait(is_so: Callable[[], bool], now: Ns, until: Ns) -> Generator[Ns, Ns, Ns]:
    """Let time pass until ``is_so``, or ``until``; returns the time then.

    Who resumes it without letting time pass, because time stands still there, ends the wait.
    """
    while not is_so() and now < until:
        later = yield min(until, now + LOOK)
        if later == now:
            break
        now = later
    return now
