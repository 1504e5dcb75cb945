"""Text to the value of a parameter, by its annotation, and annotations in words."""

from __future__ import annotations

import datetime as dt
import enum
import math
import types
import typing
from typing import Annotated, Any, Literal, Union

import msgspec

from xtalgo.model.types import Instrument

__all__ = ["convert", "describe"]

_TRUE = ("true", "yes", "on", "1")
_FALSE = ("false", "no", "off", "0")
_NONE = ("none", "null", "")


def convert(text: str, hint: Any) -> Any:
    """The value of an annotated parameter that ``text`` stands for; ValueError when it stands for none.

    Knows ``int``, ``float`` (finite), ``str``, ``bool``, ``Literal``, enums (by name or value), ``X | None``, unions,
    tuples written ``a,b``, ISO dates and times, and what msgspec can make of a string (``Decimal``, ``UUID``, ...).
    """
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin is Annotated:
        return _named(text) if hint == Instrument else convert(text, inner[0])
    if hint is Any or hint is str or hint is object:
        return text
    if hint is bool:
        return _bool(text)
    if hint is int:
        return _int(text)
    if hint is float:
        return _finite(text)
    if origin is Literal:
        return _choice(text, {str(value): value for value in inner})
    if origin in (Union, types.UnionType):
        return _union(text, inner)
    if origin is tuple or hint is tuple:
        return _tuple(text, inner or (str, ...))
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        by_value = {str(member.value).lower(): member for member in hint}
        return _choice(text.lower(), by_value | {member.name.lower(): member for member in hint})
    if hint in (dt.date, dt.time, dt.datetime):
        return hint.fromisoformat(text.strip())
    return _other(text, hint)


def _named(text: str) -> str:
    if not text.strip():
        raise ValueError("it is empty")
    return text.strip()


def _bool(text: str) -> bool:
    word = text.strip().lower()
    if word not in _TRUE + _FALSE:
        raise ValueError("write true or false")
    return word in _TRUE


def _int(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError from None  # Python's own text says no more than the caller's


def _finite(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        raise ValueError from None
    if not math.isfinite(value):
        raise ValueError("it must be finite")
    return value


def _choice(text: str, choices: dict[str, Any]) -> Any:
    if text.strip() not in choices:
        raise ValueError
    return choices[text.strip()]


def _union(text: str, arms: tuple[Any, ...]) -> Any:
    if type(None) in arms and text.strip().lower() in _NONE:
        return None
    # Text fits every string, so strings come last.
    for arm in sorted((arm for arm in arms if arm is not type(None)), key=lambda arm: arm is str):
        try:
            return convert(text, arm)
        except ValueError:
            continue
    raise ValueError


def _tuple(text: str, inner: tuple[Any, ...]) -> tuple[Any, ...]:
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if len(inner) == 2 and inner[1] is Ellipsis:
        return tuple(convert(part, inner[0]) for part in parts)
    if inner == ((),):  # how Python 3.10 spelt the empty tuple
        inner = ()
    if len(parts) != len(inner):
        raise ValueError(f"it takes {len(inner)} values, not {len(parts)}")
    return tuple(convert(part, hint) for part, hint in zip(parts, inner, strict=True))


def _other(text: str, hint: Any) -> Any:
    try:
        return msgspec.convert(text, hint, strict=False)
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None
    except TypeError:
        raise ValueError("no value of this type can be written on the command line") from None


def describe(hint: Any) -> str:
    """An annotation as an author would write it."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if hint == Instrument:
        return "Instrument"
    if origin is Annotated:
        return describe(inner[0])
    if hint is type(None):
        return "None"
    if hint is Ellipsis:
        return "..."
    if origin is Literal:
        return " or ".join(repr(value) for value in inner)
    if origin in (Union, types.UnionType):
        return " | ".join(map(describe, inner))
    if origin is not None:
        return f"{getattr(origin, '__name__', origin)}[{', '.join(map(describe, inner))}]"
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return " or ".join(member.name for member in hint)
    return getattr(hint, "__name__", str(hint))
