"""The terminal: plain when piped, within its width and colours when not, and never in the way of its encoding."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TextIO, TypeAlias

from rich.console import Console, RenderableType
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

__all__ = ["Row", "Screen", "complain", "prepare_streams", "progress"]

Row: TypeAlias = tuple[str, str]
"""A label and what it says."""

_PIPED_WIDTH = 4_096
"""Lines are not broken where no terminal would break them."""


def prepare_streams() -> None:
    """Let text that the encoding of a stream cannot hold (cp1252, ASCII) come out escaped instead of raising."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


class Screen:
    """Writes headings, labelled rows and tables to one stream."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._console = Console(file=stream, highlight=False)
        if not self._console.is_terminal:
            self._console = Console(file=stream, highlight=False, width=_PIPED_WIDTH, no_color=True)

    @property
    def width(self) -> int:
        """Columns that a line may have."""
        return self._console.width

    def show(self, thing: RenderableType) -> None:
        """Write one thing and a line end."""
        if self._console.is_terminal:
            self._console.print(thing)
            return
        # Rich fills lines up with spaces, which in a file are only there to be stumbled over.
        with self._console.capture() as capture:
            self._console.print(thing)
        for line in capture.get().splitlines():
            self._stream.write(line.rstrip() + "\n")

    def text(self, text: str, style: str = "") -> None:
        """Write a line or paragraph as it is; nothing in it is markup."""
        self.show(Text(text, style=style, overflow="fold"))

    def section(self, title: str, rows: Sequence[Row]) -> None:
        """Write a heading with labelled rows below, and an empty line."""
        table = Table.grid(padding=(0, 2, 0, 0))
        table.add_column(no_wrap=True)
        table.add_column(overflow="fold")
        for label, value in rows:
            table.add_row(Text("  " + label), Text(value))
        self.text(title, "bold")
        self.show(table)
        self.text("")

    def flush(self) -> None:
        """Hand over what is buffered."""
        self._stream.flush()


def complain(message: str, *details: str) -> None:
    """One clear line on standard error, in front of it whose it is; then further lines as they are."""
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    # One line, whatever an exception's text looked like.
    line = " ".join(message.split())
    console.print(Text.assemble(("xtalgo: ", "bold red"), line))
    for detail in details:
        console.print(Text(detail))


@contextmanager
def progress(what: str) -> Iterator[Callable[[int, int], None] | None]:
    """A bar with the time left on standard error, which goes away at the end; None where that is no terminal.

    What is yielded is told how much is done, and of how much.
    """
    # Not rich's idea of a terminal: FORCE_COLOR would put a bar into a file.
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield None
        return
    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        transient=True,
        # What a strategy prints goes above the bar, unless it goes to a file.
        redirect_stdout=sys.stdout.isatty(),
    )
    with bar:
        task = bar.add_task(what, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)
