"""The venue's times as nanoseconds, and the texts they come in.

Documented by example: executions and orders carry NinjaTrader's local time with seven fractional digits and no zone,
bars and market information carry UTC with ``Z``, the account snapshot carries an offset, quotes carry a US-style local
time beside a UTC one without ``Z``. ``epoch`` is in seconds for quotes and in milliseconds everywhere else.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

from xtalgo.model.types import SECOND_NS, Ns

__all__ = ["Stamp", "epoch_ns", "parse_stamp", "utc_text"]

_ISO = re.compile(
    r"(\d{4})-(\d{1,2})-(\d{1,2})(?:[T ](\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9})\d*)?)?)?"
    r" ?(Z|[+-]\d{2}(?::?\d{2})?)?",
    re.IGNORECASE,
)
_US = re.compile(r"(\d{1,2})/(\d{1,2})/(\d{4})(?: (\d{1,2}):(\d{2})(?::(\d{2}))?(?: ?([AP])M)?)?", re.IGNORECASE)
_EPOCH = datetime(1970, 1, 1)


class Stamp(NamedTuple):
    """A time as it was written: ``wall`` counts from 1970-01-01 on that clock, ``offset`` is its zone in seconds.

    ``offset`` is None where the text has no zone, and then nobody here can tell when that was.
    """

    wall: Ns
    offset: int | None

    @property
    def utc(self) -> Ns | None:
        """Nanoseconds since 1970 UTC, where the zone is known."""
        return None if self.offset is None else self.wall - self.offset * SECOND_NS


def parse_stamp(text: str | None) -> Stamp | None:
    """Read any of the venue's spellings of a time; None for anything else. Digits beyond nanoseconds are cut."""
    if not text:
        return None
    text = text.strip()
    fraction, offset = "", None
    try:
        if match := _ISO.fullmatch(text):
            year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
            fraction, zone = match[7] or "", match[8]
            if zone:
                offset = _offset(zone)
        elif match := _US.fullmatch(text):
            month, day, year, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
            if match[7]:
                if not 1 <= hour <= 12:
                    return None
                hour = hour % 12 + (12 if match[7] in "Pp" else 0)
        else:
            return None
        seconds = (datetime(year, month, day, hour, minute, second) - _EPOCH) // timedelta(seconds=1)
    except ValueError:
        return None
    return Stamp(seconds * SECOND_NS + int(fraction.ljust(9, "0")), offset)


def _offset(zone: str) -> int:
    if zone in "Zz":
        return 0
    digits = zone[1:].replace(":", "").ljust(4, "0")
    seconds = int(digits[:2]) * 3600 + int(digits[2:]) * 60
    return -seconds if zone[0] == "-" else seconds


def epoch_ns(epoch: float | None) -> Ns | None:
    """Nanoseconds from an ``epoch`` in seconds or milliseconds.

    Its size tells which: 1e11 is the year 5138 in seconds and 1973 in milliseconds. Finer units are told the same way.
    None, zero and negative numbers, which no quote or fill can have, give None.
    """
    if epoch is None or not 0 < epoch < 1e20:
        return None
    for bound, unit in ((1e11, SECOND_NS), (1e14, 1_000_000), (1e17, 1_000)):
        if epoch < bound:
            return round(epoch * unit)
    return round(epoch)


def utc_text(ns: Ns, *, digits: int = 7) -> str:
    """A time as UTC text with ``Z``, in the venue's seven fractional digits unless fewer are asked for."""
    seconds, rest = divmod(ns, SECOND_NS)
    whole = datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return f"{whole}.{rest:09d}"[: 20 + digits].rstrip(".") + "Z"
