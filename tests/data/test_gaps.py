"""What is a gap between two quotes, and what is none."""

from __future__ import annotations

import pytest
from tables import ES, SECOND, START

from xtalgo.data.gaps import Cause, Hole, QuoteGap, Stretch, decode_gaps, encode_gaps, gaps_between, holes_of
from xtalgo.model.errors import DataError
from xtalgo.model.types import NEVER

CLOSE = 7 * 3600
"""Seconds from START to the close of its session."""


def at(seconds: float) -> int:
    return START + round(seconds * SECOND)


def hole(start: float, end: float, why: str = "down") -> Hole:
    return Hole(at(start), at(end), why)


def between(before: float, after: float, *holes: Hole) -> list[tuple[float, float, str]]:
    """The gaps between two quotes, in seconds since START."""
    causes = [Cause(one.start, one.why) for one in holes]
    found = gaps_between(ES, at(before), at(after), holes, causes)
    return [((gap.start - START) / SECOND, (gap.end - START) / SECOND, gap.why) for _, gap in found]


def test_holes_between_and_after_stretches() -> None:
    stretches = [
        Stretch(40, 45, 50, "c"),
        Stretch(0, 5, 20, "a"),
        Stretch(10, 11, 30, "b"),
        Stretch(50, 50, 60, "d"),
    ]
    assert holes_of(stretches) == [Hole(30, 40, "b"), Hole(50, 50, "c"), Hole(60, NEVER, "d")]
    assert holes_of([]) == []


def test_a_hole_is_a_gap_until_the_next_quote() -> None:
    assert between(10, 12) == []
    assert between(10, 13, hole(11, 12)) == [(11, 13, "down")]
    assert between(10, 13, hole(10, 10)) == [(10, 13, "down")]
    assert between(10, 13, hole(11, 11)) == [(11, 13, "down")]
    assert between(10, 13, hole(5, 10), hole(13, 14)) == []
    assert between(10, 13, hole(5, 12)) == [(10, 13, "down")]
    assert between(10, 18, hole(11, 12), hole(13, 14, "x"), hole(15, 16)) == [(11, 18, "down (2 times); x")]
    many = [hole(11 + n, 11.5 + n, f"why {n}") for n in range(6)]
    assert between(10, 18, *many) == [(11, 18, "why 0; why 1; why 2; why 3; and 2 more")]


def test_silence_of_fifteen_seconds_is_a_gap() -> None:
    assert between(10, 24.999999999) == []
    assert between(10, 25) == [(10, 25, "no quote for 15 s")]
    assert between(10, 40, hole(24, 26)) == [(24, 40, "down")]
    assert between(10, 40, hole(25, 26)) == [(10, 40, "no quote for 30 s (down)")]


def test_the_daily_break_is_none() -> None:
    opens = CLOSE + 3600
    assert between(CLOSE - 1, opens + 1) == []
    assert between(CLOSE - 1, opens + 1, hole(CLOSE + 20, CLOSE + 30)) == []
    assert between(CLOSE - 15, opens + 1) == [(CLOSE - 15, CLOSE, "no quote for 15 s")]
    assert between(CLOSE - 2, opens + 2, hole(CLOSE - 1, opens + 1)) == [
        (CLOSE - 1, CLOSE, "down"),
        (opens, opens + 2, "down"),
    ]
    # In the break itself: only where it was quoted on both sides.
    assert between(CLOSE + 10, CLOSE + 100) == []
    assert between(CLOSE + 10, CLOSE + 14, hole(CLOSE + 11, CLOSE + 12)) == [(CLOSE + 11, CLOSE + 14, "down")]
    assert between(CLOSE + 10, opens + 1, hole(CLOSE + 11, CLOSE + 12)) == []


def test_a_weekend_is_none() -> None:
    friday, sunday = CLOSE + 2 * 86_400, CLOSE + 3600 + 4 * 86_400
    assert between(friday - 1, sunday + 1) == []
    assert between(friday - 1, sunday + 20) == [(sunday, sunday + 20, "no quote for 20 s")]


def test_notes_there_and_back() -> None:
    gaps = (QuoteGap(ES, at(1), at(2), 'link down: "ü"'), QuoteGap(ES, at(3), at(30), "no quote for 27 s"))
    assert decode_gaps(encode_gaps(gaps), ES) == gaps
    assert decode_gaps("[]", ES) == ()
    for text in ("", "{}", "[7]", '[{"from_ns":1,"to_ns":2}]'):
        with pytest.raises(DataError, match="its note of gaps can't be read"):
            decode_gaps(text, ES)
