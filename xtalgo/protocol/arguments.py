"""One argument of a function: what the reference says of it, and whether a value will do."""

from __future__ import annotations

import difflib
import enum
import math
import operator
import reprlib
from collections.abc import Iterable
from typing import Any

from attrs import frozen

from xtalgo.model.errors import ConfigError
from xtalgo.protocol.times import parse_stamp

__all__ = ["ArgType", "Argument", "Certainty", "nearest"]


class Certainty(enum.StrEnum):
    """How a fact about the venue is known. Nothing was checked against the live service."""

    DOCUMENTED = "documented"
    """It is on one of CrossTrade's pages."""
    OBSERVED = "observed in public client code"
    """It is in a public program that talks to the service."""
    INFERRED = "inferred/unknown"
    """It is an analogy of ours, or simply not known."""


class ArgType(enum.StrEnum):
    """JSON types of arguments, in the reference's words."""

    TEXT = "string"
    WHOLE = "integer"
    NUMBER = "float"
    FLAG = "boolean"


_WORDED = {
    ArgType.TEXT: "text",
    ArgType.WHOLE: "a whole number",
    ArgType.NUMBER: "a number",
    ArgType.FLAG: "true or false",
}


def nearest(word: str, words: Iterable[str]) -> str | None:
    """The one of ``words`` that ``word`` was probably meant to be, in any case; None when none is near."""
    known = {candidate.casefold(): candidate for candidate in words}
    close = difflib.get_close_matches(word.casefold(), known, n=1, cutoff=0.55)
    return known[close[0]] if close else None


@frozen
class Argument:
    """One argument. ``values`` are the words it may be, in any case; ``many`` allows several, separated by commas."""

    name: str
    type: ArgType = ArgType.TEXT
    required: bool = False
    values: tuple[str, ...] = ()
    default: Any = None
    many: bool = False
    above: float | None = None
    """Numbers must be greater."""
    most: float | None = None
    """Numbers must not be greater."""
    is_time: bool = False
    """Text must be a time."""
    note: str = ""
    certainty: Certainty = Certainty.DOCUMENTED

    def check(self, value: Any) -> Any:
        """The value as it should be sent. Raises ConfigError with what is wrong, without the function's name."""
        if self.type is ArgType.TEXT:
            return self._check_text(value)
        if self.type is ArgType.FLAG:
            if isinstance(value, bool):
                return value
            raise self._no(value)
        number = self._number(value)
        if self.above is not None and not number > self.above:
            raise ConfigError(f"{self.name} must be greater than {self.above:g}, not {_show(value)}")
        if self.most is not None and number > self.most:
            raise ConfigError(f"{self.name} must be at most {self.most:g}, not {_show(value)}")
        return number

    def from_text(self, text: str) -> Any:
        """A value written as text, for a command line or a query string, checked. Raises ConfigError."""
        value: Any = text
        try:
            if self.type is ArgType.WHOLE:
                value = int(text)
            elif self.type is ArgType.NUMBER:
                value = float(text)
            elif self.type is ArgType.FLAG:
                value = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}[text.casefold()]
        except (ValueError, KeyError):
            raise self._no(text) from None
        return self.check(value)

    def _number(self, value: Any) -> int | float:
        if isinstance(value, bool | str):
            raise self._no(value)
        try:
            number: int | float = operator.index(value)  # numpy's integers too
        except TypeError:
            if self.type is ArgType.WHOLE or not isinstance(value, float):
                raise self._no(value) from None
            number = float(value)
        if not math.isfinite(number) or abs(number) >= 2**53:
            raise ConfigError(f"{self.name} must be a finite number of sensible size, not {_show(value)}")
        return number if self.type is ArgType.WHOLE else float(number)

    def _check_text(self, value: Any) -> str:
        if not isinstance(value, str):
            raise self._no(value)
        text = str(value).strip()
        if not text:
            raise ConfigError(f"{self.name} is empty")
        if not text.isprintable():
            raise ConfigError(f"{self.name} has unprintable characters: {_show(value)}")
        if self.is_time and parse_stamp(text) is None:
            raise ConfigError(f"{self.name} must be a time as 2026-05-04T13:30:00Z, not {_show(value)}")
        if not self.values:
            return text
        words = [word.strip() for word in text.split(",")] if self.many else [text]
        return ",".join(self._word(word) for word in words)

    def _word(self, word: str) -> str:
        for known in self.values:
            if word.casefold() == known.casefold():
                return known
        close = nearest(word, self.values)
        hint = f"; did you mean {close}?" if close else ""
        raise ConfigError(f"{self.name} must be {_or(self.values)}, not {_show(word)}{hint}")

    def _no(self, value: Any) -> ConfigError:
        return ConfigError(f"{self.name} must be {_WORDED[self.type]}, not {_show(value)}")


def _show(value: object) -> str:
    return reprlib.repr(value)


def _or(words: tuple[str, ...]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} or {words[-1]}"
