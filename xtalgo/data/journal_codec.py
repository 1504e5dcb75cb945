"""Events and commands as JSON and back: ``["Quote",{"ts":...}]``, the type's name and its fields.

The model's types carry no tags, so a field that may hold several of them (the command of an ``Answered``) is written
as such a pair, too. What may stand where is read from the model's own annotations: a new event needs nothing here.
"""

from __future__ import annotations

from typing import Any, Final, TypeAlias, cast, get_args

import msgspec
from attrs import frozen

from xtalgo.model.commands import Command
from xtalgo.model.errors import DataError
from xtalgo.model.events import Event

__all__ = ["decode_command", "decode_event", "encode_command", "encode_event", "printable", "to_json"]

Pair: TypeAlias = tuple[str, msgspec.Raw]

_encode = msgspec.json.Encoder().encode
_split = msgspec.json.Decoder(Pair).decode
_COMMANDS: Final[dict[str, type[msgspec.Struct]]] = {kind.__name__: kind for kind in get_args(Command)}


@frozen
class _Form:
    """How one type is written: the names of its fields, and which of them hold one of several types."""

    kind: type[msgspec.Struct]
    head: bytes
    names: tuple[str, ...]
    several: tuple[str, ...]
    decoder: msgspec.json.Decoder[Any]


def _form(kind: type[msgspec.Struct]) -> _Form:
    fields = msgspec.structs.fields(kind)
    several = tuple(item.name for item in fields if len(set(get_args(item.type)) & set(_COMMANDS.values())) > 1)
    shape: Any = kind
    if several:
        rows: list[Any] = []
        for item in fields:
            held = Pair if item.name in several else item.type
            rows.append((item.name, held) if item.default is msgspec.NODEFAULT else (item.name, held, item.default))
        shape = msgspec.defstruct(f"_{kind.__name__}", rows)
    names = tuple(item.name for item in fields)
    return _Form(kind, f'["{kind.__name__}",'.encode(), names, several, msgspec.json.Decoder(shape))


_FORMS: Final = {kind.__name__: _form(kind) for kind in (*get_args(Event), *_COMMANDS.values())}
_OF_EVENT: Final = {kind: _FORMS[kind.__name__] for kind in get_args(Event)}


def encode_event(event: Event) -> bytes:
    """An engine input as JSON. Numbers that are not finite are written as null, which ``decode_event`` may refuse."""
    form = _OF_EVENT[type(event)]
    if not form.several:
        return form.head + to_json(event) + b"]"
    fields: dict[str, Any] = {name: getattr(event, name) for name in form.names}
    for name in form.several:
        fields[name] = (type(fields[name]).__name__, fields[name])
    return form.head + to_json(fields) + b"]"


def decode_event(data: bytes | str) -> Event:
    """The event that ``encode_event`` wrote. Raises DataError for anything else."""
    return cast(Event, _decode(data, "an event", _OF_EVENT.values()))


def encode_command(command: Command) -> bytes:
    """A command as JSON."""
    return _FORMS[type(command).__name__].head + to_json(command) + b"]"


def decode_command(data: bytes | str) -> Command:
    """The command that ``encode_command`` wrote. Raises DataError for anything else."""
    return cast(Command, _decode(data, "a command", [_FORMS[name] for name in _COMMANDS]))


def _decode(data: bytes | str, what: str, forms: Any) -> msgspec.Struct:
    try:
        name, raw = _split(data)
        form = _FORMS.get(name)
        if form is None or form not in forms:
            raise DataError(f"not {what} that this xtalgo knows: {name!r}; read it with the version that wrote it")
        return _build(form, raw)
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise DataError(f"not {what} as xtalgo writes it ({error}): {data[:200]!r}") from None


def _build(form: _Form, raw: msgspec.Raw) -> msgspec.Struct:
    found = form.decoder.decode(raw)
    if not form.several:
        return cast(msgspec.Struct, found)
    fields = {name: getattr(found, name) for name in form.names}
    for name in form.several:
        inner, body = fields[name]
        if inner not in _COMMANDS:
            raise msgspec.ValidationError(f"unknown command {inner!r}")
        fields[name] = _build(_FORMS[inner], body)
    return form.kind(**fields)


def to_json(value: Any) -> bytes:
    """JSON of a value; halves of surrogate pairs are shown as escapes."""
    try:
        return _encode(value)
    except UnicodeEncodeError:  # half a surrogate pair, as the names of files may have
        return _encode(_printable(msgspec.to_builtins(value)))


def _printable(value: Any) -> Any:
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, dict):
        return {key: _printable(held) for key, held in value.items()}
    return [_printable(held) for held in value] if isinstance(value, list | tuple) else value


def printable(text: str) -> str:
    """``text`` with what has no place in UTF-8 shown as an escape."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode("utf-8")
