"""Stretches of a recording without quotes, and why: found when it is packed, kept in its files, told at each replay.

A gap lies between two moments, both excluded, and holds no quote of its instrument. Nothing is ever filled in. Hours in
which the market is closed (the daily break, weekends) are no gap.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

import msgspec
from attrs import frozen

from xtalgo.client.streams import SILENCE
from xtalgo.model.errors import DataError
from xtalgo.model.sessions import Session, iso, session_at
from xtalgo.model.types import NEVER, SECOND_NS, Ns

__all__ = ["Cause", "Hole", "QuoteGap", "Stretch", "decode_gaps", "encode_gaps", "gaps_between", "holes_of", "why_of"]

_TOLD: Final = 4
"""How many different reasons of one gap are told."""


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
        reasons = [] if hole is None else why_of(hole, begin, end, causes)
        if is_stale:
            begin = start
            silence = f"no quote for {(end - start) // SECOND_NS} s"
            reasons = [f"{silence} ({'; '.join(reasons)})" if reasons else silence]
        yield session, QuoteGap(instrument, begin, end, "; ".join(reasons))


def why_of(hole: Hole, begin: Ns, end: Ns, causes: Sequence[Cause]) -> list[str]:
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
