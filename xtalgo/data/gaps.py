"""Stretches of a recording without quotes, and why: found when it is packed, kept in its files, told at each replay.

A gap lies between two moments, both excluded, and holds no quote of its instrument. Nothing is ever filled in. Hours in
which the market is closed (the daily break, weekends) are no gap.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
import numpy as np
from attrs import frozen
from numpy.typing import NDArray

from xtalgo.client.streams import SILENCE
from xtalgo.model.errors import DataError
from xtalgo.model.sessions import Session, iso, session_at
from xtalgo.model.types import NEVER, SECOND_NS, Ns

__all__ = [
    "Cause",
    "Edge",
    "Hole",
    "QuoteGap",
    "Stretch",
    "decode_gaps",
    "edges_of",
    "encode_gaps",
    "gaps_between",
    "gaps_of",
    "holes_of",
]

_TOLD: Final = 4
"""How many different reasons of one gap are told."""

_BEGINS: Final = "the recording begins"
_OPENED: Final = "the session opened"
_CLOSED: Final = "the session closed"


class QuoteGap(msgspec.Struct, frozen=True):
    """A stretch without a quote of ``instrument``: from ``start`` to ``end``, both excluded, and why."""

    instrument: str
    start: Ns
    end: Ns
    why: str

    @property
    def facts(self) -> dict[str, Any]:
        """As in the files: its ends in UTC and in nanoseconds, and why."""
        return {
            "from": iso(self.start),
            "to": iso(self.end),
            "from_ns": self.start,
            "to_ns": self.end,
            "why": self.why,
        }


@frozen
class Edge:
    """Where the quotes of a file begin or end, and why there."""

    at: Ns
    why: str

    @property
    def text(self) -> str:
        """As in the file's metadata: a JSON object."""
        return msgspec.json.encode({"at": iso(self.at), "at_ns": self.at, "why": self.why}).decode()


class _Told(msgspec.Struct):
    from_ns: Ns
    to_ns: Ns
    why: str


def encode_gaps(gaps: Iterable[QuoteGap]) -> str:
    """The gaps of one file as its metadata has them: a JSON array."""
    return msgspec.json.encode([gap.facts for gap in gaps]).decode()


def decode_gaps(text: str, instrument: str) -> tuple[QuoteGap, ...]:
    """The gaps in a file's metadata. Raises DataError for text that ``encode_gaps`` did not write."""
    try:
        told = msgspec.json.decode(text, type=list[_Told])
    except msgspec.MsgspecError as error:
        raise DataError(f"its note of gaps can't be read ({error}); pack it again") from None
    return tuple(QuoteGap(instrument, one.from_ns, one.to_ns, one.why) for one in told)


# --- what was listened to ----------------------------------------------------------------------------------------


@frozen
class Stretch:
    """A time in which quotes of an instrument would have been heard, from a link that was up, and what ended it."""

    since: Ns
    """When the link came up, or else when the first quote came."""
    first: Ns
    """When the first quote came."""
    until: Ns
    why: str


@frozen
class Hole:
    """A time in which nobody listened to an instrument; it ends with ``NEVER`` where nobody did again."""

    start: Ns
    end: Ns
    why: str


@frozen
class Cause:
    """Something that stopped quotes from being heard."""

    ts: Ns
    why: str


def holes_of(stretches: Iterable[Stretch]) -> list[Hole]:
    """What the stretches of an instrument leave open between and after them, in order of time."""
    holes: list[Hole] = []
    until, why = -NEVER, ""
    for one in sorted(stretches, key=lambda stretch: (stretch.since, stretch.until)):
        if until > -NEVER and one.since >= until:
            holes.append(Hole(until, one.since, why))
        if one.until >= until:
            until, why = one.until, one.why
    if until > -NEVER:
        holes.append(Hole(until, NEVER, why))
    return holes


# --- gaps --------------------------------------------------------------------------------------------------------


def gaps_between(
    instrument: str, before: Ns, after: Ns, holes: Sequence[Hole], causes: Sequence[Cause]
) -> Iterator[tuple[Session, QuoteGap]]:
    """The gaps between two quotes that follow each other, each with the session that it lies in.

    ``holes`` and ``causes`` are in order of time. A gap begins with a hole, or with the quote before it where that is
    ``SILENCE`` or longer ago; without a hole the silence alone makes one. It always ends with the next quote, or with
    its session.
    """
    for session, start, end, is_open in _pieces(before, after):
        hole = _first(holes, start, end)
        begin = NEVER if hole is None else max(hole.start, start)
        is_stale = is_open and min(begin, end) - start >= SILENCE
        if hole is None and not is_stale:
            continue
        reasons = [] if hole is None else _why_of(hole, begin, end, causes)
        if is_stale:
            begin = start
            silence = f"no quote for {(end - start) // SECOND_NS} s"
            reasons = [f"{silence} ({'; '.join(reasons)})" if reasons else silence]
        yield session, QuoteGap(instrument, begin, end, "; ".join(reasons))


def _why_of(hole: Hole, begin: Ns, end: Ns, causes: Sequence[Cause]) -> list[str]:
    """The reasons of a gap that begins in a hole: the hole's own, and what came on top before the gap's end."""
    low = bisect_left(causes, begin, key=lambda cause: cause.ts)
    high = bisect_left(causes, end, key=lambda cause: cause.ts)
    counts = {hole.why: 0 if low < high and causes[low].ts == hole.start else 1}
    for cause in causes[low:high]:
        counts[cause.why] = counts.get(cause.why, 0) + 1
    told = [f"{why} ({count} times)" if count > 1 else why for why, count in counts.items()]
    return [*told[:_TOLD], f"and {len(told) - _TOLD} more"] if len(told) > _TOLD else told


def _first(holes: Sequence[Hole], start: Ns, end: Ns) -> Hole | None:
    """The first hole that reaches into a piece, or is a moment in it."""
    place = bisect_right(holes, start, key=lambda hole: hole.start)
    if place and holes[place - 1].end > start:
        return holes[place - 1]
    if place and holes[place - 1].start == start:
        return holes[place - 1]
    return holes[place] if place < len(holes) and holes[place].start < end else None


def _pieces(before: Ns, after: Ns) -> Iterator[tuple[Session, Ns, Ns, bool]]:
    """The parts of the time between two quotes in which the market was open, by session.

    Where both quotes came while it is closed, in one and the same break, this market was not: the whole is one part
    then, though silence is no news in it.
    """
    session = session_at(before)
    if after < session.open:
        yield session, before, after, False
        return
    while session.open < after:
        start, end = max(before, session.open), min(after, session.close)
        if start < end:
            yield session, start, end, True
        session = session_at(session.close)


# --- of one file -------------------------------------------------------------------------------------------------


def gaps_of(
    name: str,
    session: Session,
    following: Session | None,
    stamps: NDArray[np.int64],
    before: Ns | None,
    after: Ns | None,
    holes: Sequence[Hole],
    causes: Sequence[Cause],
) -> Iterator[QuoteGap]:
    """The gaps that the file of one session tells of, in order of time.

    ``stamps`` are those of its quotes, ``before`` and ``after`` the last quote of earlier files and the first one of
    later files, which is in the session ``following``. Gaps of sessions without a file stand in the file before them.
    """
    if before is not None:
        for place, gap in gaps_between(name, before, int(stamps[0]), holes, causes):
            if place == session:
                yield gap
    odd = {int(row) for row in np.flatnonzero(np.diff(stamps) >= SILENCE)}
    odd |= {int(np.searchsorted(stamps, hole.start, side="right")) - 1 for hole in holes}
    for row in sorted(odd):
        if 0 <= row < len(stamps) - 1:
            for _, gap in gaps_between(name, int(stamps[row]), int(stamps[row + 1]), holes, causes):
                yield gap
    if after is not None:
        for place, gap in gaps_between(name, int(stamps[-1]), after, holes, causes):
            if place != following:
                yield gap


def edges_of(
    session: Session, stamps: NDArray[np.int64], before: Ns | None, after: Ns | None, holes: Sequence[Hole]
) -> tuple[Edge, Edge]:
    """Where the quotes of one file begin and end."""
    first, last = int(stamps[0]), int(stamps[-1])
    start = Edge(first, _BEGINS) if before is None else Edge(min(first, session.open), _OPENED)
    if after is not None:
        return start, Edge(session.close, _CLOSED)
    hole = next(hole for hole in holes if hole.start >= last)
    at, why = (hole.start, hole.why) if hole.start <= session.close else (session.close, _CLOSED)
    if session.contains(last) and at - last >= SILENCE:
        return start, Edge(last, f"no quote for {(at - last) // SECOND_NS} s, until: {why}")
    return start, Edge(at, why)
