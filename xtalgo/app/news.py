"""Output of a live run without waiting: a thread writes, so that a stalled terminal or pipe delays no order."""

from __future__ import annotations

import datetime as dt
import json
import threading
from collections.abc import Callable, Mapping
from queue import Full, Queue
from typing import Any, Final, Protocol, TextIO

from attrs import frozen

from xtalgo.model.sessions import iso
from xtalgo.model.types import SECOND_NS, Ns

__all__ = ["Display", "JsonDisplay", "News", "PlainDisplay", "Writer", "clock_time", "plain_line"]

_WAITING: Final = 10_000
"""Pieces of output that may wait for whoever reads; what comes beyond that is dropped, and counted."""

_LAST_WORDS: Final = 5.0
"""Seconds that the end of a run waits for what is still to be written."""


@frozen
class News:
    """Something that happened. ``text`` is for people, empty where they need not know; ``facts`` are for machines."""

    ts: Ns
    event: str
    text: str = ""
    facts: Mapping[str, Any] = {}
    is_warning: bool = False


def clock_time(ts: Ns) -> str:
    """Local time of day."""
    return f"{dt.datetime.fromtimestamp(ts // SECOND_NS):%H:%M:%S}"


def plain_line(news: News) -> str:
    """A piece of news as one line."""
    mark = "! " if news.is_warning else ""
    return f"{clock_time(news.ts)} {mark}{' '.join(news.text.split())}"


class Writer:
    """Carries out output in order, in a thread of its own. ``put`` never waits."""

    def __init__(self) -> None:
        self.broken: OSError | None = None
        """Why nothing can be written any more: the reader has gone, or the terminal."""
        self.dropped = 0
        """Pieces that were dropped because nobody read."""
        self._todo: Queue[Callable[[], None] | None] = Queue(_WAITING)
        self._thread = threading.Thread(target=self._run, name="output", daemon=True)
        self._thread.start()

    def put(self, write: Callable[[], None]) -> None:
        """Have something written."""
        try:
            self._todo.put_nowait(write)
        except Full:
            self.dropped += 1

    @property
    def is_busy(self) -> bool:
        """Whether something waits to be written."""
        return not self._todo.empty()

    def close(self) -> bool:
        """Write what is left, and end; False when nobody reads, and the thread ends with the process."""
        try:
            self._todo.put(None, timeout=_LAST_WORDS)
        except Full:
            return False
        self._thread.join(_LAST_WORDS)
        return not self._thread.is_alive()

    def _run(self) -> None:
        while (write := self._todo.get()) is not None:
            if self.broken is not None:
                continue
            try:
                write()
            except OSError as error:
                self.broken = error
            except ValueError as error:  # the stream was closed
                self.broken = OSError(str(error))


class Display(Protocol):
    """What people or machines see of a run. Nothing here waits."""

    writer: Writer

    def tell(self, news: News) -> None:
        """Show a piece of news."""

    def look(self, session: Any, now: Ns) -> None:
        """Show how things stand; called about four times a second."""

    def close(self) -> None:
        """Show what is left to be shown; after this others may write."""


class PlainDisplay:
    """One line for each piece of news."""

    def __init__(self, stream: TextIO) -> None:
        self.writer = Writer()
        self._stream = stream

    def tell(self, news: News) -> None:
        """One line, if there is something to say."""
        if news.text:
            self._write(plain_line(news))

    def _write(self, line: str) -> None:
        def write() -> None:
            self._stream.write(line + "\n")
            self._stream.flush()

        self.writer.put(write)

    def look(self, session: Any, now: Ns) -> None:
        """Nothing: lines come when there is news."""

    def close(self) -> None:
        """Write what is left."""
        self.writer.close()


class JsonDisplay(PlainDisplay):
    """One JSON object a line: ``ts`` (UTC), ``event``, then its facts."""

    def tell(self, news: News) -> None:
        """One object."""
        text = {"text": news.text} if news.text else {}
        self._write(
            json.dumps({"ts": iso(news.ts), "event": news.event, **text, **news.facts}, allow_nan=False, default=str)
        )
