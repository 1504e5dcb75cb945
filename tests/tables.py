"""Small recordings for tests."""

from __future__ import annotations

from collections.abc import Sequence

from xtalgo import QuoteTable

SECOND = 1_000_000_000
START = 1_778_680_800_000_000_000
"""2026-05-13 14:00:00 UTC, 10:00 in New York, a Wednesday."""

ES, MNQ = "ES 06-26", "MNQ 06-26"


def table(
    bids: Sequence[float],
    *,
    spread: float = 0.25,
    start: int = START,
    step: int = SECOND,
    instrument: str = ES,
    sizes: int | Sequence[int] | None = None,
    lasts: Sequence[float] | None = None,
) -> QuoteTable:
    """One instrument, one quote a step, the ask ``spread`` above each bid; last is the bid unless given."""
    count = len(bids)
    shown = None if sizes is None else [sizes] * count if isinstance(sizes, int) else list(sizes)
    return QuoteTable.from_rows(
        (instrument,),
        [0] * count,
        [start + row * step for row in range(count)],
        list(bids),
        [bid + spread for bid in bids],
        list(lasts) if lasts is not None else list(bids),
        list(range(count)),
        shown,
        shown,
    )
