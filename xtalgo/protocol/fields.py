"""Reading JSON that somebody else shaped: field by field, forgiving, and saying what was forgiven.

A row that fits its struct as it stands is taken as it stands. One that doesn't is read again by hand: keys in any
case, numbers written as text, a whole number written as ``3.0``. What can't be read is None and named in the faults;
a row without one of its required fields is no row.
"""

from __future__ import annotations

import functools
import math
import reprlib
from typing import Any, NamedTuple, TypeVar

import msgspec
from msgspec import inspect

__all__ = [
    "Failure",
    "Faults",
    "article",
    "failure_of",
    "few",
    "get",
    "is_finite",
    "is_whole",
    "number_of",
    "plain",
    "read_items",
    "read_row",
    "short",
    "some",
]

S = TypeVar("S", bound=msgspec.Struct)

_JSON_NAMES = {dict: "object", list: "array", str: "text", bool: "boolean", int: "number", float: "number"}


# --- small words -----------------------------------------------------------------------------------------------------


def plain(value: object) -> str:
    """What JSON calls this kind of value."""
    return "null" if value is None else _JSON_NAMES.get(type(value), type(value).__name__)


def article(value: object) -> str:
    """``plain`` with its article."""
    name = plain(value)
    return f"{'an' if name[0] in 'aeio' else 'a'} {name}"


def short(value: object) -> str:
    """A value for a message: never long, never deep."""
    return reprlib.repr(value)


def some(value: object) -> str:
    """Text in place of text: itself, what an object says in words, or a short picture of it."""
    if isinstance(value, str):
        return value
    if isinstance(value, dict):
        for name in ("message", "error", "detail", "text", "code"):
            if isinstance(told := value.get(name), str | int) and told != "":
                return str(told)
    return str(value) if is_whole(value) else short(value)


class Faults(list[str]):
    """What was wrong, line by line, and how many rows of lists are missing for it."""

    lost = 0


def few(faults: list[str]) -> tuple[str, ...]:
    """The first faults, and how many more there are."""
    if len(faults) <= 20:
        return tuple(faults)
    return (*faults[:20], f"and {len(faults) - 20} more")


def is_whole(value: object) -> bool:
    """Whether this is an integer that a database column holds; a boolean isn't one."""
    return isinstance(value, int) and not isinstance(value, bool) and -(2**63) <= value < 2**63


def is_finite(value: float) -> bool:
    """Whether this is neither NaN nor infinite, nor a whole number beyond every float."""
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def get(found: dict[str, Any], *names: str) -> Any:
    """The value under the first of ``names`` that is there and not null, in any case."""
    for name in names:
        if found.get(name) is not None:
            return found[name]
    folded = {_fold(key): value for key, value in found.items()}
    for name in names:
        if folded.get(_fold(name)) is not None:
            return folded[_fold(name)]
    return None


def _fold(key: str) -> str:
    return key.replace("_", "").casefold()


# --- bodies that say no ----------------------------------------------------------------------------------------------


class Failure(NamedTuple):
    """What a body says went wrong: ``error`` is a code or a sentence, ``detail`` a sentence if there is one."""

    error: str
    detail: str | None


def failure_of(body: object) -> Failure | None:
    """What a body says went wrong, or None.

    Documented are ``success: false`` with ``error`` and an optional ``detail``, and on the endpoint pages a lone
    ``error``. ``success: true`` is believed whatever stands beside it.
    """
    if not isinstance(body, dict):
        return None
    success = body.get("success")
    error = body.get("error")
    said_no = success in (False, "false", "False")
    if success in (True, "true", "True") or not (said_no or error not in (None, "", False)):
        return None
    detail = body.get("detail")
    detail = detail if isinstance(detail, str) else None
    if error in (None, "", False):
        error = body.get("message") or detail or "success is false"
    return Failure(some(error), detail)


# --- rows ------------------------------------------------------------------------------------------------------------


class _Field(NamedTuple):
    attribute: str
    names: tuple[str, ...]
    """The key, and what else it may be called."""
    type: inspect.Type
    required: bool


@functools.cache
def _plan(cls: type[msgspec.Struct]) -> tuple[_Field, ...]:
    """What the fields of a struct are read from."""
    info = inspect.type_info(cls)
    assert isinstance(info, inspect.StructType)
    other: dict[str, tuple[str, ...]] = getattr(cls, "other_names", {})
    fields = []
    for field in info.fields:
        kind = field.type
        if isinstance(kind, inspect.UnionType):
            kind = next(part for part in kind.types if not isinstance(part, inspect.NoneType))
        names = (field.encode_name, *other.get(field.name, ()))
        fields.append(_Field(field.name, names, kind, field.required))
    return tuple(fields)


def read_row(cls: type[S], found: object, where: str, faults: Faults) -> S | None:
    """An object as a struct, or None where it isn't one; either way ``faults`` tells what was wrong.

    ``where`` names the object in the faults.
    """
    try:
        return msgspec.convert(found, cls)
    except (msgspec.ValidationError, SystemError):  # the latter: msgspec 0.19, a number too large for a float
        pass
    if not isinstance(found, dict):
        faults.append(f"{where}: {article(found)}, not an object")
        return None
    values: dict[str, Any] = {}
    for field in _plan(cls):
        value = get(found, *field.names)
        if value is not None:
            value = _read(field.type, value, f"{where}.{field.names[0]}", faults)
        if value is not None:
            values[field.attribute] = value
        elif field.required:
            faults.append(f"{where}: no {field.names[0]}; it has {short(sorted(found))}")
            return None
    try:
        return cls(**values)
    except ValueError as error:
        faults.append(f"{where}: {error}")
        return None


def _read(kind: inspect.Type, value: Any, where: str, faults: Faults) -> Any:
    """One value as the given type, or None and a fault."""
    read: Any = None
    match kind:
        case inspect.AnyType():
            return value
        case inspect.StructType():
            return read_row(kind.cls, value, where, faults)
        case inspect.VarTupleType() if isinstance(value, list):
            return read_items(kind.item_type, value, where, faults)
        case inspect.StrType():
            read = _text(value, where, faults)
            if kind.min_length and not read:
                read = None
        case inspect.BoolType():
            read = _flag(value, where, faults)
        case inspect.FloatType():
            read = number_of(value, where, faults)
        case inspect.IntType():
            number = value if is_whole(value) else number_of(value, where, faults)
            if number is not None and number == int(number) and is_whole(int(number)):
                read = int(number)
    if read is None:
        faults.append(f"{where}: {article(value)} {short(value)} is no {_WANTED.get(type(kind), 'such value')}")
    return read


_WANTED: dict[type[inspect.Type], str] = {
    inspect.StrType: "text",
    inspect.BoolType: "boolean",
    inspect.FloatType: "number",
    inspect.IntType: "whole number",
    inspect.VarTupleType: "array",
}


def read_items(kind: inspect.Type, values: list[Any], where: str, faults: Faults) -> tuple[Any, ...]:
    """The items of an array that can be read; ``faults.lost`` counts the others."""
    items = [_read(kind, value, f"{where}[{number}]", faults) for number, value in enumerate(values)]
    kept = tuple(item for item in items if item is not None)
    faults.lost += len(items) - len(kept)
    return kept


def _text(value: object, where: str, faults: Faults) -> str | None:
    if isinstance(value, str):
        return value
    if not is_whole(value):
        return None
    if not where.lower().endswith("id"):  # ids are typed as number on one page and shown as text on another
        faults.append(f"{where}: the number {short(value)} read as text")
    return str(value)


def _flag(value: object, where: str, faults: Faults) -> bool | None:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.casefold() in ("true", "false"):
        faults.append(f"{where}: the text {short(value)} read as a boolean")
        return value.casefold() == "true"
    return None


def number_of(value: object, where: str, faults: list[str]) -> float | None:
    """A finite number, also from text, which ``faults`` tells; None for anything else, which they don't."""
    if isinstance(value, str):
        try:
            number = float(value)
        except ValueError:
            return None
        if not is_finite(number):
            return None
        faults.append(f"{where}: the text {short(value)} read as a number")
        return number
    if isinstance(value, int | float) and not isinstance(value, bool) and is_finite(value):
        return float(value)
    return None
