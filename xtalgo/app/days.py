"""What a live run inherits of its accounts' trading days, and leaves to the next: loss, peak and lock.

It lies outside the journals, one file per venue and account, so that a new run forgets nothing that an old one knew.
"""

from __future__ import annotations

import hashlib
import re
import urllib.parse
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Final

from attrs import define, field

from xtalgo.app.venues import Kind, Target
from xtalgo.data.daystate import DayStates
from xtalgo.engine.daystate import DayState
from xtalgo.engine.engine import Engine
from xtalgo.live.lock import state_folder
from xtalgo.model.errors import ConfigError, DataError
from xtalgo.model.sessions import session_at
from xtalgo.model.types import SECOND_NS, Ns

__all__ = ["Days", "days_of"]

EVERY: Final[Ns] = 5 * SECOND_NS
"""How often states are saved; a breach is saved at once."""


@define(eq=False)
class Days:
    """The states at the beginning, and where they go. ``save`` is cheap when there is nothing to do."""

    inherited: tuple[DayState, ...] = ()
    _files: DayStates | None = None
    _saved: Ns = 0
    _breaches: int = 0
    _known: dict[str, DayState] = field(factory=dict)
    _failed: bool = False

    def save(self, engine: Engine, now: Ns, *, at_once: bool = False) -> str:
        """Write down what has moved; a line for people when that fails for the first time."""
        if self._files is None:
            return ""
        if not at_once and now < self._saved + EVERY and len(engine.breaches) == self._breaches:
            return ""
        self._saved, self._breaches = now, len(engine.breaches)
        try:
            for state in engine.day_states():
                if self._known.get(state.account) != state:
                    self._files.save(state)
                    self._known[state.account] = state.copy()
        except (DataError, ConfigError) as error:
            told, self._failed = self._failed, True
            return "" if told else f"loss, peak and lock of the day can't be kept for the next run: {error}"
        self._failed = False
        return ""


@contextmanager
def days_of(target: Target, accounts: Sequence[str], now: Ns) -> Iterator[Days]:
    """What is remembered of these accounts at a venue. A demo's account lives in its process only.

    Raises DataError where a file can't be read, since to take it for an empty one would forget a loss, and ConfigError
    where another run holds the account's.
    """
    if target.kind is Kind.DEMO:
        yield Days()
        return
    host = urllib.parse.urlsplit(target.url or "").netloc.casefold()
    digest = hashlib.sha256(host.encode()).hexdigest()[:8]
    name = f"{'paper-' if target.is_paper else ''}{re.sub(r'[^a-z0-9.]+', '-', host)}-{digest}"
    with DayStates(state_folder() / "days" / name) as files:
        day = session_at(now).day
        found = [files.load(account, day) for account in accounts]
        yield Days(tuple(state for state in found if state is not None), files)
