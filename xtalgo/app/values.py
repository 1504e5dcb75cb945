"""Readers of setting values: each takes a value as TOML gives it and returns the one that is used.

A value that can't be used is a ValueError without text; who reads it knows what was expected, and where it stood.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any, TypeAlias

from xtalgo.model.types import DAY_NS, MILLISECOND_NS, SECOND_NS, Ns

__all__ = [
    "Reader",
    "account_names",
    "dollars",
    "file_path",
    "number",
    "one_of",
    "positive_dollars",
    "read_duration",
    "switch",
    "whole",
    "words",
]

Reader: TypeAlias = Callable[[object], Any]
"""Takes a value as TOML gives it, returns the one that is used; ValueError when it can't be used."""


def read_duration(value: object) -> Ns:
    """Nanoseconds of ``250ms``, ``0.25s`` or a number of milliseconds; ValueError for anything else."""
    unit = MILLISECOND_NS
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(\d+\.?\d*|\.\d+)\s*(ms|s)?\s*", value, re.ASCII)
        if match is None:
            raise ValueError
        amount = Fraction(match[1])
        unit = SECOND_NS if match[2] == "s" else MILLISECOND_NS
    else:
        amount = Fraction(str(number(value)))
    span = round(amount * unit)
    if not 0 <= span <= DAY_NS:
        raise ValueError
    return span


def number(value: object) -> int | float:
    """A finite number."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError
    return value


def whole(least: int) -> Reader:
    """Reads whole numbers from ``least`` to 2**31."""

    def read(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value < 2**31:
            raise ValueError
        return value

    return read


def dollars(value: object) -> float:
    """Dollars from 0."""
    if number(value) < 0:
        raise ValueError
    return float(number(value))


def positive_dollars(value: object) -> float:
    """Dollars above 0."""
    if not dollars(value):
        raise ValueError
    return dollars(value)


def switch(value: object) -> bool:
    """True or false."""
    if not isinstance(value, bool):
        raise ValueError
    return value


def one_of(*choices: str) -> Reader:
    """Reads one of some words, in any case of letters."""

    def read(value: object) -> str:
        if not isinstance(value, str) or value.lower() not in choices:
            raise ValueError
        return value.lower()

    return read


def words(value: object) -> str:
    """Text that is not empty."""
    if not isinstance(value, str) or not value.strip():
        raise ValueError
    return value.strip()


def file_path(value: object) -> Path:
    """A path; ``~`` is the home folder."""
    return Path(words(value)).expanduser()


def account_names(value: object) -> tuple[str, ...]:
    """One or more account names, each once."""
    if not isinstance(value, Sequence) or isinstance(value, str):
        raise ValueError
    names = tuple(name.strip() if isinstance(name, str) else "" for name in value)
    if not all(names) or not names or len({name.casefold() for name in names}) < len(names):
        raise ValueError
    return names
