"""The run journal: one SQLite file per run, written while it goes on.

Rows are collected in memory and written in one transaction by ``commit``, which the session calls before the frame of
a mutation leaves (``intent`` does so by itself) and at least once a second. The database runs in WAL mode with
``synchronous=FULL``: what ``commit`` returned from survives the death of the process and, where the drive keeps its
word about flushing, that of the machine. What was not committed is gone then, always from the end.

A write that fails (disk full, an I/O error, somebody else's lock) raises JournalFailed and loses nothing: the rows
stay in memory and the next ``commit`` tries again, at most once a second. Nothing but ``commit`` and ``intent`` raises
it, so cancels and closes can go on while entries wait. ``docs/journal.md`` describes the file.
"""

from __future__ import annotations

import os
import sqlite3
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final

from attrs import define, field

from xtalgo.data.journal_codec import decode_event, encode_command, encode_event, printable, to_json
from xtalgo.data.journal_header import Header, StrategySource
from xtalgo.data.journal_reader import NO_HASH, JournalReader, copy, link, read
from xtalgo.data.journal_rows import fill_row, order_row, real, whole
from xtalgo.data.journal_schema import INPUTS, TABLES, JournalFailed, Row
from xtalgo.data.journal_store import Store
from xtalgo.data.oslock import FileLock, LockHeld
from xtalgo.engine.orders import Order
from xtalgo.model.commands import Mutation
from xtalgo.model.errors import ConfigError, LocalProtocolError
from xtalgo.model.events import Fill
from xtalgo.model.types import Ns

__all__ = [
    "BOUND",
    "RETRY",
    "Header",
    "Journal",
    "JournalFailed",
    "JournalReader",
    "StrategySource",
    "copy",
    "decode_event",
    "encode_event",
    "read",
]

RETRY: Final = 1.0
"""Seconds between attempts to write while it fails."""

BOUND: Final = 64 * 1024 * 1024
"""Bytes of inputs, turns, marks and notices (roughly) that wait in memory at most; beyond it they are only counted.

What money hangs on (orders, fills, decisions, intents, outcomes) is always kept: the venue's budget bounds it.
"""

_OVERHEAD: Final = 150

_TRADED: Final = slice(1, 8)
"""What was traded, among the values of a fill: all but stamps and fee."""


@define(eq=False)
class Journal:
    """The journal of one run, opened for writing; by one process at a time, and used from one thread.

    Make one with ``create`` or ``resume``; close it, or use it in a ``with``. Numbers of inputs, turns and decisions
    are the caller's and must grow (LocalProtocolError, as for use after ``close``).
    """

    path: Path
    header: Header
    """The head of the run as of its last start."""
    bound: int
    failure: str = field(init=False, default="")
    """Why it can't be written at present; empty while it can."""
    last_input: int = field(init=False, default=0)
    last_turn: int = field(init=False, default=0)
    last_decision: int = field(init=False, default=0)
    chain: str = field(init=False, default=NO_HASH)
    """The hash of the last decision."""
    _lock: FileLock
    _hide: Callable[[str], str]
    _clock: Callable[[], float]
    _store: Store = field(init=False)
    _rows: dict[str, list[Row]] = field(init=False, factory=lambda: {name: [] for name in TABLES})
    _next: dict[str, int] = field(init=False, factory=lambda: dict.fromkeys(TABLES, 1))
    _bulk: int = field(init=False, default=0)
    _lost: dict[str, tuple[int, int, int]] = field(init=False, factory=dict)
    _retry: float = field(init=False, default=0.0)
    _fills: dict[str, Row] = field(init=False, factory=dict)
    _orders: dict[str, Row] = field(init=False, factory=dict)
    _is_open: bool = field(init=False, default=True)

    # --- opening ---------------------------------------------------------------------------------------------------

    @classmethod
    def create(
        cls,
        path: str | os.PathLike[str],
        header: Header,
        *,
        hide: Callable[[str], str] = str,
        clock: Callable[[], float] = time.monotonic,
        bound: int = BOUND,
    ) -> Journal:
        """Begin the journal of a new run; its folder is made.

        Every text goes through ``hide`` on its way in (a token's, so that it never gets there); ``clock`` tells
        seconds. Raises ConfigError when the file is there already or can't be made there, and JournalFailed when it
        can't be written.
        """
        path = Path(path)
        journal = cls(path, header, bound, _locked(path, hide), hide, clock)
        try:
            journal._head(header)
            journal._store = Store.create(path, journal._rows)
        except BaseException:
            journal._lock.__exit__(None, None, None)
            raise
        journal._wrote()
        return journal

    @classmethod
    def resume(
        cls,
        path: str | os.PathLike[str],
        *,
        hide: Callable[[str], str] = str,
        clock: Callable[[], float] = time.monotonic,
        bound: int = BOUND,
    ) -> Journal:
        """Go on with a journal, after a crash or an end; all of it is read and checked before anything can change it.

        Raises ConfigError naming the other process when one writes it, and JournalFailed when it is not there or
        damaged.
        """
        path = Path(path)
        if not path.exists():
            raise JournalFailed(f"{path}: there is no such journal; begin a new run, or name the file of another one")
        lock = _locked(path, hide)
        try:
            with read(path) as reader:
                tables = reader.verify(alone=True)
                journal = cls(path, reader.header, bound, lock, hide, clock)
                journal._fills = {fill.execution_id: fill_row(fill) for fill in reader.fills()}
                journal._orders = {order.id: order_row(order) for order in reader.order_states()}
                journal.chain, commits = reader.chain, reader.commits
            journal._store = Store.open(path, tables, commits)
        except BaseException:
            lock.__exit__(None, None, None)
            raise
        journal._next = {name: last + 1 for name, (_, last) in tables.items()}
        journal.last_input, journal.last_turn, journal.last_decision = (
            tables[name][1] for name in ("inputs", "turns", "decisions")
        )
        return journal

    def add_header(self, header: Header) -> None:
        """A run that was taken up again goes on with this: what has changed was accepted."""
        self._head(header)
        self.header = header

    def _head(self, header: Header) -> None:
        start = self._next["runs"]
        facts = (header.version, header.python, header.platform, header.settings)
        accounts = to_json(header.accounts).decode()
        self._add("runs", self._text(header.run), whole(header.created), *map(self._text, (*facts, accounts)))
        for item in header.strategies:
            texts = (item.name, item.file, item.source, item.sha256, item.parameters)
            self._add("strategies", start, *map(self._text, texts))

    # --- appending -------------------------------------------------------------------------------------------------

    def input(self, number: int, ts: Ns, kind: str, text: str | bytes) -> None:
        """Something came in: a frame as it came, or what belongs to another kind (see ``INPUTS``)."""
        if number <= self.last_input or kind not in INPUTS:
            raise LocalProtocolError(f"input {number} ({kind!r}) can't follow input {self.last_input}")
        self.last_input = number
        kept = self._text(text) if isinstance(text, str) else self._bytes(text)
        self._add_bulk("inputs", (number, whole(ts), kind, kept), len(kept))

    def turn(self, number: int, ts: Ns, event: bytes) -> None:
        """The engine is handed an event (``encode_event``)."""
        if number <= self.last_turn:
            raise LocalProtocolError(f"turn {number} can't follow turn {self.last_turn}")
        self.last_turn = number
        text = self._text(event.decode("utf-8", "backslashreplace"))
        self._add_bulk("turns", (number, whole(ts), text), len(text))

    def decision(self, number: int, turn: int, decision: tuple[int | float | str | None, ...]) -> None:
        """Something was decided in a turn."""
        if number <= self.last_decision:
            raise LocalProtocolError(f"decision {number} can't follow decision {self.last_decision}")
        self.last_decision = number
        text = self._text(to_json(decision).decode())
        self.chain = link(self.chain, text.encode())
        self._keep("decisions", (number, whole(turn), text, self.chain))

    def intent(self, command: Mutation, ts: Ns | None = None) -> None:
        """A mutation is about to leave; it is on disk, with all before it, when this returns.

        Raises JournalFailed when it is not: an order that adds risk must not leave then, and its ``outcome`` is to
        say so, since the intent itself is kept and written later.
        """
        self._add("intents", whole(ts), self._text(command.order_id), self._text(encode_command(command).decode()))
        self.commit(urgent=True)

    def outcome(self, order_id: str, kind: str, text: str, ts: Ns) -> None:
        """What became of a mutation."""
        self._add("outcomes", whole(ts), self._text(order_id), self._text(kind), self._text(text))

    def fill(self, fill: Fill) -> bool:
        """An execution was booked; False when it is in the journal already.

        Seen again at another time, or with another fee, it is the same. Raises LocalProtocolError when one of that id
        is there with another order, instrument, side, quantity or price.
        """
        row = fill_row(fill, self._hide)
        known = self._fills.get(fill.execution_id)
        if known is not None:
            if known[_TRADED] != row[_TRADED]:
                raise LocalProtocolError(f"execution {fill.execution_id} is in the journal already, and says otherwise")
            return False
        self._fills[fill.execution_id] = row
        self._add("fills", *row)
        return True

    def order(self, order: Order) -> None:
        """The present state of an order; nothing is written when it is the one that was."""
        row = order_row(order, self._hide)
        if self._orders.get(order.id) != row:
            self._orders[order.id] = row
            self._add("order_states", *row)

    def mark(self, ts: Ns, account: str, kind: str, value: float) -> None:
        """A figure of an account at a time, in dollars: realised P&L, equity."""
        row = (self._number("marks"), whole(ts), self._text(account), self._text(kind), real(value))
        self._add_bulk("marks", row, 0)

    def notice(self, ts: Ns, text: str) -> None:
        """A line that people are shown."""
        text = self._text(text)
        self._add_bulk("notices", (self._number("notices"), whole(ts), text), len(text))

    # --- writing ---------------------------------------------------------------------------------------------------

    @property
    def broken(self) -> bool:
        """Whether it can't be written at present."""
        return bool(self.failure)

    @property
    def wal_pages(self) -> int:
        """Pages of 4 KiB in the write-ahead log as of the last look.

        Many (over 10 000) mean that some program keeps a reading transaction open.
        """
        return self._store.wal_pages

    def commit(self, *, urgent: bool = False) -> None:
        """Everything so far is durable when this returns. Raises JournalFailed when it is not.

        An ``urgent`` one, with a frame waiting, leaves the tidying of the write-ahead log to the next one.
        """
        self._check_open()
        if any(self._rows.values()) or self._lost:
            if self.failure and self._clock() < self._retry:
                raise JournalFailed(self.failure)
            self._write()
        self._store.tidy(urgent=urgent)

    def _write(self) -> None:
        first, lost = self._next["gaps"], sorted(self._lost.items())
        gaps = [(first + place, name, *facts) for place, (name, facts) in enumerate(lost)]
        try:
            self._store.write({**self._rows, "gaps": gaps})
        except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
            self._retry = self._clock() + RETRY
            waiting = sum(map(len, self._rows.values()))
            self.failure = (
                f"the journal {self.path} can't be written ({error}); {waiting} rows wait in memory. Make room on its "
                "drive, or end what keeps it locked: writing is tried again each second"
            )
            raise JournalFailed(self.failure) from None
        self._next["gaps"] += len(gaps)
        self._wrote()

    def _wrote(self) -> None:
        for rows in self._rows.values():
            rows.clear()
        self._lost.clear()
        self._bulk = 0
        self.failure = ""

    def close(self) -> None:
        """Write what is left, tidy up and let the file go. Raises JournalFailed when rows could not be written."""
        if not self._is_open:
            return
        self._retry = self._clock()
        try:
            self.commit(urgent=True)
        finally:
            self._is_open = False
            self._store.close()
            self._lock.__exit__(None, None, None)

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except JournalFailed as failed:
            if error is None:
                raise
            error.add_note(str(failed))

    # --- rows ------------------------------------------------------------------------------------------------------

    def _check_open(self) -> None:
        if not self._is_open:
            raise LocalProtocolError(f"the journal {self.path} is closed already")

    def _number(self, name: str) -> int:
        number = self._next[name]
        self._next[name] = number + 1
        return number

    def _keep(self, name: str, row: Row) -> None:
        self._check_open()
        self._rows[name].append(row)

    def _add(self, name: str, *facts: Any) -> None:
        self._keep(name, (self._number(name), *facts))

    def _add_bulk(self, name: str, row: Row, size: int) -> None:
        """Keep a row that may be dropped when it comes to the worst."""
        if not self._is_open:
            self._check_open()
        size += _OVERHEAD
        if self._lost or self._bulk + size > self.bound:
            with suppress(JournalFailed):  # the next commit that somebody waits for tells it
                self.commit(urgent=True)
            if self._lost or self._bulk + size > self.bound:
                first, _, count = self._lost.get(name, (row[0], 0, 0))
                self._lost[name] = (first, row[0], count + 1)
                return
        self._bulk += size
        self._rows[name].append(row)

    def _text(self, text: str) -> str:
        return self._hide(text if text.isascii() else printable(text))

    def _bytes(self, data: bytes) -> bytes:
        return self._hide(data.decode("latin-1")).encode("latin-1", "replace")


def _locked(path: Path, hide: Callable[[str], str]) -> FileLock:
    try:
        return FileLock(path.with_name(path.name + ".lock"), hide=hide).__enter__()
    except LockHeld as held:
        raise ConfigError(
            f"{path}: another process writes this journal ({held.holder}). Stop it first, or begin a run of its own"
        ) from None
