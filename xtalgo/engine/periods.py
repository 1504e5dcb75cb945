"""Periods of bars: how they are written, and the spans of a trading session that they cut it into.

Spans are counted from the session's open (18:00 New York), and the last one ends with the session: that is how we cut
quotes into bars, and how NinjaTrader cuts a session (assumed of instruments with CME's electronic hours).
"""

from __future__ import annotations

import re
from typing import Final

from xtalgo.model.errors import StrategyError
from xtalgo.model.sessions import session_at
from xtalgo.model.types import DAY_NS, HOUR_NS, MINUTE_NS, SECOND_NS, Ns

__all__ = ["next_end", "parse_period", "span_at", "spans_back", "venue_span"]

_UNITS: Final = {"s": SECOND_NS, "m": MINUTE_NS, "h": HOUR_NS}

_LONGEST: Final = 23 * HOUR_NS
"""A session."""


def parse_period(text: str) -> Ns | None:
    """``30s``, ``5m`` or ``1h`` in nanoseconds; None for ``1d``, the whole session. StrategyError otherwise."""
    if text == "1d":
        return None
    match = re.fullmatch(r"([1-9]\d*)([smh])", text) if isinstance(text, str) else None
    if match is None:
        raise StrategyError(f"{text!r} is not a bar period; write it as '30s', '5m', '1h' or '1d'")
    return int(match[1]) * _UNITS[match[2]]


def venue_span(period: str) -> Ns | None:
    """As ``parse_period``, of a period that the venue has bars of: minutes, hours, or the session."""
    span = parse_period(period)
    if span is not None and span % MINUTE_NS:
        raise StrategyError(
            f"the venue has no bars of {period!r}: its shortest are minutes. "
            "Ask for '1m' or longer, or leave out source='venue' for bars made of quotes"
        )
    if span is not None and span > _LONGEST:
        raise StrategyError(f"{period!r} is longer than a session of 23 hours; the venue's longest bar here is '1d'")
    return span


def span_at(ts: Ns, span: Ns | None) -> tuple[Ns, Ns]:
    """Start and end of the span that ``ts`` lies in; between sessions, of the first one of the next session."""
    session = session_at(ts)
    if span is None:
        return session.open, session.close
    start = session.open + (max(ts, session.open) - session.open) // span * span
    return start, min(start + span, session.close)


def next_end(after: Ns, span: Ns | None) -> Ns:
    """The first end of a span after an instant."""
    return span_at(after, span)[1]


def spans_back(now: Ns, span: Ns | None, count: int) -> Ns:
    """The start of the span that lies ``count`` spans of trading time before the one under way."""
    session = session_at(now)
    left = count - (0 if span is None else max(0, now - session.open) // span)
    while left > 0:
        left -= 1 if span is None else -(-(session.close - session.open) // span)
        earlier = session.open
        while session.open >= earlier:  # at weekends a day before is the same session
            now -= DAY_NS
            session = session_at(now)
        now = session.open
    return session.open - left * span if span is not None else session.open
