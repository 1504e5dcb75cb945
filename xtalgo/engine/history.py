"""Bars that the venue makes: what a strategy wants to know before the start, and from then on each bar after its end.

Quotes come about once a second, so a bar that is made of them misses extremes; the venue's own bars hold every trade.
They have to be asked for. A bar counts as finished only if it had ended a second before its question left: an answer
shows the venue as it was then, and its clock is not ours. What is missed is asked for with the next question, and each
bar is told once, in order, never early. A replay is asked the same questions, and answers from what it has played.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final, Protocol

from attrs import define, field, frozen

from xtalgo.engine.arguments import whole
from xtalgo.engine.bars import KEPT, Bars
from xtalgo.engine.periods import next_end, venue_span
from xtalgo.engine.timers import Timer, Timers
from xtalgo.model.commands import BarsQuery, Read
from xtalgo.model.errors import ConfigError, StrategyError
from xtalgo.model.events import Bar, BarsSeen, Unread
from xtalgo.model.types import NEVER, SECOND_NS, Ns

__all__ = ["GRACE", "PATIENCE", "TRIES", "History", "ReadHost", "VenueBars"]

GRACE: Final[Ns] = SECOND_NS
"""How long after a bar's end it is asked for, and how long it must have ended to count as finished: clocks differ."""

AGAIN: Final[Ns] = 5 * SECOND_NS
"""A bar that an answer lacks is asked for once more after this long; there may just have been no trade."""

TRIES: Final = 3
"""After so many questions in a row without an answer the next bar's end is waited for."""

PATIENCE: Final[Ns] = 45 * SECOND_NS
"""How long the start waits for bars, counted from when the venue was reached: two answers that never come."""

LACKING: Final = 3
"""After so many ends in a row without a bar people are told."""

MARGIN: Final = 2
"""How many bars more than were missed are asked for: one may have turned up late, one may have ended meanwhile."""


@frozen
class History:
    """Finished bars of the venue's that a strategy wants before it starts: ``History("ES", "5m", 100)``.

    Periods are minutes, hours, or ``1d``. If they can't all be had the strategy starts with those that came, and
    ``bars(...).complete`` is False; with ``required`` the run does not begin.
    """

    instrument: str
    period: str
    count: int
    required: bool = False

    def __attrs_post_init__(self) -> None:
        venue_span(self.period)
        if whole("the number of bars of a History", self.count) > KEPT:
            raise StrategyError(f"{KEPT:,} bars are kept, so a History can't have {self.count:,}")


class ReadHost(Protocol):
    """What those who ask for bars and figures need of the engine."""

    now: Ns
    timers: Timers

    @property
    def can_ask(self) -> bool:
        """Whether a question would reach somebody now."""

    def wish(self, act: Callable[[], object]) -> None:
        """Do something at the end of this turn."""

    def ask(self, query: Read) -> None:
        """Ask the venue."""


@define(eq=False)
class _Line:
    """The venue's bars of one instrument and period, for everybody who wants them."""

    instrument: str
    period: str
    span: Ns | None
    after: Ns
    """Bars that end later than this are still to be told."""
    end: Ns
    """The end of the span under way."""
    finished: deque[Bar] = field(factory=lambda: deque(maxlen=KEPT))
    hearers: list[Callable[[Bar], None]] = field(factory=list)
    wanted: int = 0
    """Bars that were wanted before the start."""
    came: int = 0
    is_required: bool = False
    is_warm: bool = True
    """Whether those came, or are not waited for any more."""
    complete: bool = True
    reason: str = ""
    """Why they did not all come."""
    due: Ns = NEVER
    """When to ask."""
    expected: Ns = 0
    """The newest end that has passed."""
    repeated: bool = False
    """Whether the bar that ended then was asked for again since an answer lacked it."""
    missed: int = 0
    """Ends that have passed since what was answered."""
    covered: int = 0
    """How many of them the open question speaks for."""
    open: int | None = None
    """Serial of the question that waits or is under way."""
    left: Ns | None = None
    """When it left."""
    failures: int = 0
    lacking: int = 0
    """Ends in a row of which no bar came."""
    odd: set[str] = field(factory=set)
    """What was told of as odd."""
    timer: Timer | None = None

    def current(self) -> Bar | None:
        """A growing bar is never told."""
        return None


@define(eq=False)
class VenueBars:
    """All bars of the venue's that an engine wants: one line, and one question at a time, for each kind of bar.

    ``call`` calls a strategy with a bar.
    """

    _host: ReadHost
    _call: Callable[[Callable[[Bar], None], Bar], None]
    _lines: dict[tuple[str, str], _Line] = field(factory=dict)
    _asked: int = 0
    _patience: Timer | None = None
    _has_begun: bool = False
    _is_over: bool = False
    oddities: list[str] = field(factory=list)
    """For people: what of the venue's bars does not look as it should, each once."""

    # --- what is wanted ------------------------------------------------------------------------------------------

    def _line(self, instrument: str, period: str) -> _Line:
        line = self._lines.get((instrument, period))
        if line is None:
            span, since = venue_span(period), self._host.now - GRACE
            line = self._lines[instrument, period] = _Line(instrument, period, span, since, next_end(since, span))
        return line

    def want(self, instrument: str, history: History) -> None:
        """Before the start: a strategy wants these bars, under the instrument's canonical name."""
        line = self._line(instrument, history.period)
        line.wanted = max(line.wanted, history.count)
        line.is_required = line.is_required or history.required
        line.is_warm, line.complete, line.due = False, False, self._host.now

    def warm_up(self) -> None:
        """Before the start: ask, where somebody can be asked; else once the link is up."""
        if self._host.can_ask:
            self.link_up()

    def bars(self, instrument: str, period: str, hearer: Callable[[Bar], None]) -> Bars:
        """The venue's bars; ``hearer`` is called with each that ends from now on, once it is known."""
        line = self._line(instrument, period)
        if hearer not in line.hearers:
            line.hearers.append(hearer)
        # By way of a wish, so that the driver looks at ``due`` again before the next quote.
        self._host.wish(lambda: self._look(line))
        return Bars(line)

    def past(self, instrument: str, period: str) -> tuple[Iterable[Bar], bool]:
        """What came of what was wanted before the start, and whether it is all of it."""
        line = self._lines.get((instrument, period))
        return ((), True) if line is None or not line.wanted else (tuple(line.finished), line.complete)

    def leave(self, hearer: Callable[[Bar], None]) -> None:
        """Somebody does not want to hear any more; what nobody hears is not asked for."""
        for line in self._lines.values():
            if hearer in line.hearers:
                line.hearers.remove(hearer)

    # --- the start and the end -----------------------------------------------------------------------------------

    @property
    def is_warm(self) -> bool:
        """Whether nothing that was wanted before the start is waited for any more."""
        return all(line.is_warm for line in self._lines.values())

    def begin(self) -> None:
        """The strategies start. Raises ConfigError when bars are lacking that a strategy can't do without."""
        self._has_begun = True
        lacking = [text for line, text in self._lacking() if line.is_required]
        if lacking:
            raise ConfigError(f"a strategy requires bars that could not be had: {'; '.join(lacking)}")

    def shortfalls(self) -> list[str]:
        """For people: what was wanted before the start and did not all come."""
        return [text for _, text in self._lacking()]

    @property
    def is_used(self) -> bool:
        """Whether anybody ever wanted bars of the venue's."""
        return bool(self._lines)

    def _lacking(self) -> Iterator[tuple[_Line, str]]:
        for line in self._lines.values():
            if not line.complete:
                text = f"of {line.wanted:,} bars of {line.instrument} ({line.period}) {line.came:,} came"
                yield line, text + (f": {line.reason}" if line.reason else "")

    def stop(self) -> None:
        """The run ends: nothing more is asked."""
        self._is_over = True

    # --- the link ------------------------------------------------------------------------------------------------

    def link_up(self) -> None:
        """The venue can be reached: ask for what is wanted and what was missed."""
        now = self._host.now
        if not self.is_warm:
            if self._patience is not None:
                self._patience.cancel()
            self._patience = Timer(now + PATIENCE, "", self._give_up, is_engines=True)
            self._host.timers.add(self._patience)
        for line in self._lines.values():
            line.open, line.failures = None, 0
            if line.missed or not line.is_warm:
                line.due = now
            self._look(line)

    def link_down(self) -> None:
        """The venue can't be reached: nothing under way will be answered."""
        for line in self._lines.values():
            line.open = None

    def _give_up(self) -> None:
        for line in self._lines.values():
            if not line.is_warm:
                self._go_without(line, line.reason or f"no answer in {PATIENCE // SECOND_NS} s")

    def _go_without(self, line: _Line, reason: str) -> None:
        line.is_warm, line.reason = True, reason

    # --- asking --------------------------------------------------------------------------------------------------

    def _look(self, line: _Line) -> None:
        """Count the ends that have passed, ask if it is time to, and look again when something will be due."""
        now = self._host.now
        if line.timer is not None:
            line.timer.cancel()
            line.timer = None
        if self._is_over or not (line.hearers or not self._has_begun):
            return
        while line.end + GRACE <= now:
            line.expected, line.end = line.end, next_end(line.end, line.span)
            line.missed, line.repeated, line.due = line.missed + 1, False, now
        if line.due <= now and line.open is None and self._host.can_ask:
            self._ask(line)
        due = min(line.end + GRACE, line.due if line.due > now else NEVER)
        line.timer = Timer(due, "", lambda: self._look(line), is_engines=True)
        self._host.timers.add(line.timer)

    def _ask(self, line: _Line) -> None:
        self._asked += 1
        line.open, line.left, line.due, line.covered = self._asked, None, NEVER, line.missed
        count = min(max(line.missed, 0 if line.is_warm else line.wanted) + MARGIN, KEPT)
        self._host.ask(BarsQuery(line.instrument, line.period, count, self._asked))

    def released(self, query: BarsQuery) -> None:
        """A question left."""
        line = self._open_line(query)
        if line is not None:
            line.left = self._host.now

    # --- answers -------------------------------------------------------------------------------------------------

    def seen(self, event: BarsSeen) -> None:
        """An answer: tell what is new and finished. One that comes twice, or too late, is not heard."""
        line = self._open_line(event.query)
        if line is None or line.left is None:
            return
        line.open, line.failures, line.missed = None, 0, line.missed - line.covered
        known = line.left - GRACE
        told = {bar.end: bar for bar in event.bars if bar.end <= known}
        finished = [told[end] for end in sorted(told)]
        self._compare(line, finished)
        if not line.is_warm:
            line.is_warm = True
            line.finished.extend(finished[-line.wanted :])
            line.came = len(line.finished)
            line.complete = line.came == line.wanted
            line.reason = "" if line.complete else "the venue has no more"
            line.after = max([line.after, *(bar.end for bar in finished)])
        for bar in finished:
            if bar.end > line.after:
                line.after, line.lacking = bar.end, 0
                line.finished.append(bar)
                for hearer in list(line.hearers):
                    self._call(hearer, bar)
        if line.expected > line.after and line.due == NEVER:
            if not line.repeated:
                line.repeated, line.due = True, self._host.now + AGAIN
            else:
                line.lacking += 1
                if line.lacking == LACKING:
                    self._odd(line, f"of the last {LACKING} ends no bar came: did nothing trade?")
        self._look(line)

    def _compare(self, line: _Line, finished: list[Bar]) -> None:
        """A bar that had ended does not change. If one does, it had not ended: then its label is its start."""
        known = {bar.end: bar for bar in islice(reversed(line.finished), len(finished))}
        if any(known.get(bar.end, bar) != bar for bar in finished):
            self._odd(line, "some changed after they had ended.")

    def _odd(self, line: _Line, what: str) -> None:
        if what not in line.odd:
            line.odd.add(what)
            why = "If the venue names bars by their start, where the end is assumed, none of them is right"
            self.oddities.append(f"bars of {line.instrument} ({line.period}): {what} {why}")

    def unread(self, event: Unread) -> None:
        """A question came to nothing: ask again a few times, then with the next bar's end."""
        assert isinstance(event.query, BarsQuery)
        line = self._open_line(event.query)
        if line is None:
            return
        line.open, line.failures, line.reason = None, line.failures + 1, event.reason
        if line.failures < TRIES:
            line.due = min(line.due, self._host.now + SECOND_NS * 2**line.failures)
        elif not line.is_warm:
            self._go_without(line, event.reason)
        self._look(line)

    def _open_line(self, query: BarsQuery) -> _Line | None:
        line = self._lines.get((query.instrument, query.period))
        return line if line is not None and line.open == query.serial else None
