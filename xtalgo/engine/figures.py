"""Figures of accounts that are asked for now and then: account items and watermarks.

One question answers for everybody who wants the same of an account, as often as the most eager of them wants it. They
are asked of a venue that can be asked: in a plain replay there is no account behind, so nothing is asked and told.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final, TypeAlias

from attrs import define, field

from xtalgo.engine.history import ReadHost
from xtalgo.engine.timers import Timer
from xtalgo.model.commands import Figures, FiguresQuery
from xtalgo.model.events import AccountItems, ItemsSeen, Unread, Watermarks, WatermarksSeen
from xtalgo.model.types import NEVER, SECOND_NS, Ns

__all__ = ["LEAST", "AccountFigures", "Hearer"]

LEAST: Final = 5.0
"""Seconds between two questions at least: orders need the budget, too."""

PAUSE: Final = 60
"""Seconds at most until a question that came to nothing is asked again."""

Hearer: TypeAlias = Callable[[AccountItems | Watermarks, Ns], None]
"""Called with what the venue told, and when it was asked."""


@define(eq=False)
class _Line:
    """One kind of figures of one account."""

    about: Figures
    account: str
    every: Ns
    due: Ns
    """When to ask next, unless something is open."""
    hearers: list[Hearer] = field(factory=list)
    open: int | None = None
    """Serial of the question that waits or is under way."""
    left: Ns | None = None
    """When it left."""
    failures: int = 0
    timer: Timer | None = None


@define(eq=False)
class AccountFigures:
    """All figures that an engine wants of its accounts; ``call`` calls a hearer."""

    _host: ReadHost
    _call: Callable[[Hearer, AccountItems | Watermarks, Ns], None]
    _lines: dict[tuple[Figures, str], _Line] = field(factory=dict)
    _asked: int = 0
    _is_over: bool = False

    def watch(self, about: Figures, account: str, every: Ns, hearer: Hearer) -> None:
        """Tell ``hearer`` these figures, at least so often, beginning as soon as may be."""
        line = self._lines.get((about, account))
        if line is None:
            line = self._lines[about, account] = _Line(about, account, every, self._host.now)
        line.every = min(line.every, every)
        if hearer not in line.hearers:
            line.hearers.append(hearer)
            if line.open is None:
                line.due = min(line.due, self._host.now)
        self._host.wish(lambda: self._look(line))

    def leave(self, hearer: Hearer) -> None:
        """Somebody does not want to hear any more; what nobody hears is not asked for."""
        for line in self._lines.values():
            if hearer in line.hearers:
                line.hearers.remove(hearer)

    def stop(self) -> None:
        """The run ends: nothing more is asked."""
        self._is_over = True

    def link_up(self) -> None:
        """The venue can be reached, and much may have happened: ask."""
        for line in self._lines.values():
            line.open, line.failures, line.due = None, 0, self._host.now
            self._look(line)

    def link_down(self) -> None:
        """The venue can't be reached: nothing under way will be answered."""
        for line in self._lines.values():
            line.open = None

    def _look(self, line: _Line) -> None:
        now = self._host.now
        if line.timer is not None:
            line.timer.cancel()
            line.timer = None
        if self._is_over or not line.hearers or line.open is not None or not self._host.can_ask:
            return
        if line.due > now:
            line.timer = Timer(line.due, "", lambda: self._look(line), is_engines=True)
            self._host.timers.add(line.timer)
            return
        self._asked += 1
        line.open, line.left, line.due = self._asked, None, NEVER
        self._host.ask(FiguresQuery(line.about, line.account, self._asked))

    def released(self, query: FiguresQuery) -> None:
        """A question left."""
        line = self._open_line(query)
        if line is not None:
            line.left = self._host.now

    def seen(self, event: ItemsSeen | WatermarksSeen) -> None:
        """An answer: everybody is told. One that comes twice, or too late, is not heard."""
        line = self._open_line(event.query)
        if line is None or line.left is None:
            return
        left = line.left
        line.open, line.failures = None, 0
        line.due = min(line.due, left + line.every)
        told = event.items if isinstance(event, ItemsSeen) else event.marks
        for hearer in list(line.hearers):
            self._call(hearer, told, left)
        self._look(line)

    def unread(self, event: Unread) -> None:
        """A question came to nothing: ask again, later each time."""
        assert isinstance(event.query, FiguresQuery)
        line = self._open_line(event.query)
        if line is not None:
            line.open, line.failures = None, line.failures + 1
            pause = SECOND_NS * min(PAUSE, 2 ** min(line.failures, 10))
            line.due = min(line.due, self._host.now + pause)
            self._look(line)

    def _open_line(self, query: FiguresQuery) -> _Line | None:
        line = self._lines.get((query.about, query.account))
        return line if line is not None and line.open == query.serial else None
