"""An answer of the venue for people: its fields by the venue's own names, its lists as tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec
from rich.cells import cell_len
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from xtalgo.app.console import Screen

__all__ = ["one_line", "show_value"]

_STEP: Final = 2
"""Columns by which what belongs to a name is set in, and those between two columns of a table."""


def one_line(body: bytes) -> str | None:
    """A JSON body as it came, but on one line; None for a body that isn't JSON."""
    try:
        msgspec.json.decode(body)
        text = body.decode("utf-8")
    except ValueError:
        return None
    # JSON has line ends between its tokens only, where a space means the same.
    return " ".join(text.strip().splitlines()) if "\n" in text or "\r" in text else text.strip()


def show_value(screen: Screen, value: object, nothing: str) -> None:
    """Show a typed reply; ``nothing`` is said of one that holds nothing. What the venue left out is left out here."""
    plain = _kept(msgspec.to_builtins(value))
    if not plain and not _is_scalar(plain):
        screen.text(nothing)
    else:
        _show(screen, plain, 0)


def _kept(value: Any) -> Any:
    """The same without the fields that are None."""
    if isinstance(value, Mapping):
        return {str(name): _kept(inner) for name, inner in value.items() if inner is not None}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_kept(inner) for inner in value]
    return value


def _is_scalar(value: object) -> bool:
    return not isinstance(value, dict | list)


def _show(screen: Screen, value: Any, depth: int) -> None:
    if isinstance(value, dict):
        for name, inner in value.items():
            _show_field(screen, name, inner, depth)
    elif isinstance(value, list):
        _show_list(screen, value, depth)
    else:
        _line(screen, _cell(value), depth)


def _show_field(screen: Screen, name: str, value: Any, depth: int) -> None:
    if isinstance(value, list) and value and all(_is_scalar(inner) for inner in value):
        value = ", ".join(_cell(inner) for inner in value)
    if _is_scalar(value):
        _line(screen, f"{name}: {_cell(value)}", depth)
    elif not value:
        _line(screen, f"{name}: none", depth)
    else:
        _line(screen, f"{name}:", depth)
        _show(screen, value, depth + 1)


def _show_list(screen: Screen, rows: list[Any], depth: int) -> None:
    if all(isinstance(row, dict) and all(map(_is_scalar, row.values())) for row in rows):
        names = list(dict.fromkeys(name for row in rows for name in row))
        cells = [[_cell(row.get(name)) for name in names] for row in rows]
        widths = [max(map(cell_len, column)) for column in zip(names, *cells, strict=True)]
        if sum(widths) + _STEP * (len(widths) + depth) <= screen.width:
            _table(screen, rows, names, cells, depth)
            return
    for number, row in enumerate(rows, 1):
        if not _is_scalar(row):
            _line(screen, f"{number}.", depth)
        _show(screen, row, depth + (not _is_scalar(row)))


def _table(screen: Screen, rows: list[dict[str, Any]], names: list[str], cells: list[list[str]], depth: int) -> None:
    table = Table(box=None, pad_edge=False, padding=(0, _STEP, 0, 0))
    for name in names:
        is_number = any(isinstance(row.get(name), int | float) and not isinstance(row[name], bool) for row in rows)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold")
    for line in cells:
        table.add_row(*map(Text, line))
    screen.show(Padding(table, (0, 0, 0, _STEP * depth)))


def _line(screen: Screen, text: str, depth: int) -> None:
    screen.show(Padding(Text(text, overflow="fold"), (0, 0, 0, _STEP * depth)))


def _cell(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return str(value).lower()
        case float():
            return repr(value).removesuffix(".0")
    return " ".join(str(value).split())
