"""The quotes in run journals: what each life of a run heard, from the raw frames that it recorded.

A quote here is a row of a ``marketData`` frame as it came, under the stamp of the frame: what the engine of a run was
handed (``client.trader``), and what it would have been handed of instruments that its strategies did not trade. Rows
that no quote file can hold are left out and counted.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any, Final, TypeAlias, TypeVar
from urllib.parse import urlsplit

import msgspec
from attrs import define, field

from xtalgo.data.gaps import Cause, Stretch
from xtalgo.data.journal_header import Header
from xtalgo.data.journal_reader import JournalReader
from xtalgo.data.journal_rows import Input
from xtalgo.model.errors import ConfigError, DataError
from xtalgo.model.instruments import ContractBook
from xtalgo.model.sessions import Session, session_at
from xtalgo.model.types import SECOND_NS, Ns
from xtalgo.protocol.frames import MarketData, RpcReply, WireQuote
from xtalgo.protocol.wire import parse_server

__all__ = ["SIMULATED", "Row", "Rows", "Take", "contracts_of", "takes_of", "why_down", "why_leapt"]

SIMULATED: Final = "Simulated Data Feed"
"""What NinjaTrader calls its made-up market, among ``connectedFeeds`` of GetQuote (documented by example)."""

_TAKEN: Final = "session active elsewhere"
"""In the close reason of a connection that a newer one ended (documented)."""

_CLOSED: Final = "closed by us"
"""The reason of a connection that its own run ended."""

Row: TypeAlias = tuple[str, WireQuote]
"""A quote with the canonical name of its instrument."""


T = TypeVar("T")


class _Start(msgspec.Struct):
    head: int = 1


class _Down(msgspec.Struct):
    reason: str = ""


class _Leap(msgspec.Struct):
    by: int = 0


class _Source(msgspec.Struct, rename="camel"):
    connected_feeds: list[str] | None = None


class _Snapshot(msgspec.Struct, rename="camel"):
    data_source: _Source | None = None


_snapshots = msgspec.json.Decoder(_Snapshot | list[_Snapshot])


def contracts_of(header: Header, book: ContractBook) -> ContractBook:
    """A run's contracts: those of ``book``, and what the run's own settings told of others."""
    try:
        told = msgspec.json.decode(header.settings, type=dict[str, Any]).get("instruments", {})
        facts = msgspec.convert(told, dict[str, tuple[float, float]])
    except (msgspec.MsgspecError, AttributeError):
        facts = {}
    return ContractBook(extra={**facts, **book.extra})


@define
class Rows:
    """Reads frames: which quotes they hold, and how many rows had to be left out, by reason."""

    contracts: ContractBook
    left_out: Counter[str] = field(factory=Counter)
    _names: dict[str, str | None] = field(factory=dict)

    def name_of(self, told: str) -> str | None:
        """The canonical name behind a name on the wire, None where it names no contract."""
        if told not in self._names:
            try:
                name = self.contracts.parse(told)
            except ConfigError:
                self._names[told] = None
            else:
                self._names[told] = None if name.year is None else name.dated(name.year)
        return self._names[told]

    def of(self, message: MarketData) -> list[Row]:
        """The quotes of a frame in their order."""
        rows = []
        if message.faults:
            self.left_out["not readable"] += len(message.faults)
        for row in message.quotes:
            name = self.name_of(row.instrument)
            if name is None:
                self.left_out[f"no contract is called {row.instrument!r}"] += 1
            elif row.bid is None or row.ask is None:
                self.left_out["no bid" if row.bid is None else "no ask"] += 1
            elif row.bid <= 0 or row.ask <= 0 or (row.last is not None and row.last <= 0):
                self.left_out["zero or negative price"] += 1
            else:
                rows.append((name, row))
        return rows


@define(eq=False)
class Take:
    """One life of a run as a recording: when it listened to which instrument, and where its sessions lie.

    ``book`` takes the inputs in their order; ``finish`` ends it.
    """

    journal: str
    """The journal's file."""
    number: int
    """Of the life in its journal, from 1."""
    header: Header
    rows: Rows
    stretches: dict[str, list[Stretch]] = field(factory=dict)
    """By instrument, in order of time."""
    causes: list[Cause] = field(factory=list)
    places: dict[Session, tuple[int, int]] = field(factory=dict)
    """The first and the last input that lie in each session."""
    feeds: dict[str, None] = field(factory=dict)
    """The data feeds that GetQuote told of."""
    ended: Ns = 0
    """The stamp of its last input."""
    lost: int = 0
    """Inputs that were never written."""
    _up: Ns | None = None
    """Since when the link is up."""
    _open: dict[str, tuple[Ns, Ns]] = field(factory=dict)
    """Instruments that are heard: when the link came up, and when the first quote came."""
    last: int = 0
    """The number of its last input."""
    session: Session | None = None
    """Of its last input."""

    @property
    def mode(self) -> str:
        """What the run was against, in one word; empty where its head doesn't tell."""
        return self._setting("mode")

    @property
    def is_synthetic(self) -> bool:
        """Whether its quotes were made up: by a demo, or by the word of the venue."""
        return self.mode == "demo" or any(name.casefold() == SIMULATED.casefold() for name in self.feeds)

    @property
    def source(self) -> str:
        """Where its quotes come from, in words; without a token, path or query."""
        host = urlsplit(self._setting("url")).netloc.rpartition("@")[2]
        where = {
            "demo": "a demo (synthetic market)",
            "paper": f"quotes of {host}, on paper",
            "crosstrade": f"CrossTrade ({host})",
            "server": f"the server at {host}",
        }.get(self.mode, f"a venue that it does not name{f' ({host})' if host else ''}")
        told = f"data feeds: {', '.join(self.feeds)}" if self.feeds else "data feeds not told"
        return f"xtalgo run {self.header.run}, {where}" + ("" if self.mode == "demo" else f"; {told}")

    def _setting(self, name: str) -> str:
        try:
            return str(msgspec.json.decode(self.header.settings, type=dict[str, Any]).get(name, ""))
        except msgspec.MsgspecError:
            return ""

    # --- inputs --------------------------------------------------------------------------------------------------

    def book(self, item: Input) -> list[Row]:
        """Take in what came; the quotes in it."""
        if self.last and item.number != self.last + 1:
            self._lose(item.number - self.last - 1)
        if item.ts < self.ended:
            raise DataError(
                f"{self.journal}: input {item.number}: time goes back inside a life of the run; pack the other "
                "journals without this one"
            )
        self._place(item)
        quotes: list[Row] = []
        match item.kind:
            case "frame":
                quotes = self._frame(item)
            case "link_up":
                self._up = item.ts
            case "link_down":
                self._stop(item.ts, why_down(self._facts(item, _Down).reason))
                self._up = None
            case "leap":
                by = self._facts(item, _Leap).by
                self._stop(max(self.ended, item.ts - max(0, by)), why_leapt(by))
                self._up = item.ts if self._up is not None else None
        self.last, self.ended = item.number, item.ts
        return quotes

    def _facts(self, item: Input, kind: type[T]) -> T:
        try:
            return msgspec.json.decode(item.text, type=kind)
        except msgspec.MsgspecError:
            raise DataError(f"{self.journal}: input {item.number}: a {item.kind} that can't be read") from None

    def _place(self, item: Input) -> None:
        session = self.session
        if session is None or not session.contains(item.ts):
            session = self.session = session_at(item.ts)
        first, _ = self.places.get(session, (item.number, 0))
        self.places[session] = (first, item.number)

    def _frame(self, item: Input) -> list[Row]:
        if self._up is None:
            self._up = item.ts  # the input that told of it was not written
        message = parse_server(item.text)
        if type(message) is MarketData:
            quotes = self.rows.of(message)
            for name, _ in quotes:
                if name not in self._open:
                    # On a later connection everything is subscribed again at once; at first nobody had asked yet.
                    since = self._up if name in self.stretches else item.ts
                    self._open[name] = (since, item.ts)
                    self.stretches.setdefault(name, [])
            return quotes
        if type(message) is RpcReply:
            self._note_feeds(message.data)
        return []

    def _note_feeds(self, data: msgspec.Raw) -> None:
        if b"connectedFeeds" not in bytes(data):
            return
        try:
            found = _snapshots.decode(data)
        except msgspec.MsgspecError:
            return
        for one in found if isinstance(found, list) else [found]:
            if one.data_source is not None:
                self.feeds.update(dict.fromkeys(one.data_source.connected_feeds or ()))

    def _lose(self, count: int) -> None:
        self.lost += count
        self._stop(self.ended, f"{count} inputs were never written, since the journal could not be (disk full)")
        self._up = None  # whether the link stayed up in between is not known

    def _stop(self, ts: Ns, why: str) -> None:
        """From ``ts`` on nothing is heard."""
        self.causes.append(Cause(ts, why))
        for name, (since, first) in self._open.items():
            self.stretches[name].append(Stretch(since, first, max(ts, first), why))
        self._open.clear()

    def finish(self, why: str, lost: int = 0) -> None:
        """Nothing more comes of this life; ``lost`` inputs at its end were never written."""
        if lost:
            self._lose(lost)
        if self._up is not None or not self.causes:  # else what ended the link is the reason
            self._stop(self.ended, why)


def why_down(reason: str) -> str:
    """What a link's end is for a recording."""
    if reason == _CLOSED:
        return "the run ended"
    reason = reason or "no reason given"
    return f"taken over: {reason}" if _TAKEN in reason.casefold() else f"link down: {reason}"


def why_leapt(by: Ns) -> str:
    """What a jump of the clock, by so many nanoseconds, is for a recording."""
    return f"the clock jumped by {by / SECOND_NS:+.1f} s"


# --- lives -------------------------------------------------------------------------------------------------------


def takes_of(reader: JournalReader, book: ContractBook, *, goes_on: bool) -> Iterator[tuple[Take, Input, list[Row]]]:
    """The inputs of a journal, each with the life that it belongs to and its quotes.

    A life is finished once the next one comes, or nothing more does. Raises JournalFailed for a damaged journal, and
    DataError for one whose inputs make no sense.
    """
    gaps = [gap for gap in reader.gaps() if gap.name == "inputs"]
    rows: dict[int, Rows] = {}
    take: Take | None = None
    count = 0
    for item in reader.inputs():
        if item.kind == "start" or take is None:
            if take is not None:
                take.finish("the run ended, and was taken up again later", item.number - take.last - 1)
            count += 1
            head = _head(reader, item, count)
            if head not in rows:
                rows[head] = Rows(contracts_of(reader.headers[head - 1], book))
            take = Take(str(reader.path), count, reader.headers[head - 1], rows[head])
        yield take, item, take.book(item)
    if take is not None:
        lost = sum(gap.count for gap in gaps if gap.first > take.last)
        take.finish("the journal goes on; the run is not over" if goes_on else "the run ended", lost)


def _head(reader: JournalReader, item: Input, number: int) -> int:
    head = number
    if item.kind == "start" and item.text:
        try:
            head = msgspec.json.decode(item.text, type=_Start).head
        except msgspec.MsgspecError:
            raise DataError(f"{reader.path}: input {item.number}: a start that can't be read") from None
    return min(max(head, 1), len(reader.headers))
