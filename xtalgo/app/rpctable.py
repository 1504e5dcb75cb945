"""The table of functions for people and programs: ``xtalgo rpc --list``, and what one function takes."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any, Final

from rich.table import Table
from rich.text import Text

from xtalgo.app.console import Row, Screen
from xtalgo.model.errors import ConfigError
from xtalgo.protocol.arguments import Argument, Certainty
from xtalgo.protocol.rpc import TABLE
from xtalgo.protocol.spec import Lane, RpcSpec

__all__ = ["argument_text", "cautions", "chosen", "object_of", "only_reduces", "route_text", "show_functions"]

_NEW_ORDERS: Final = frozenset({"FlatPlace", "Reverse", "ReversePosition", "CancelReplace", "CancelAndBracket"})
"""Functions whose orders can't be given an id of ours."""

_ATM: Final = "with strategy= NinjaTrader adds the template's exits under ids of its own"

_LETTERS: Final = {Certainty.DOCUMENTED: "d", Certainty.OBSERVED: "o", Certainty.INFERRED: "i"}


def only_reduces(spec: RpcSpec) -> bool:
    """Whether a function can do no more than cancel and close. CancelAndBracket can't be trusted to: see its note."""
    return spec.lane is Lane.REDUCE and spec.name not in _NEW_ORDERS


def cautions(spec: RpcSpec, args: Mapping[str, Any] | None = None) -> tuple[str, ...]:
    """What somebody should know before a function acts, at all or with these arguments."""
    told = []
    if spec.everywhere:
        told.append("acts on EVERY account; needs --everything")
    if spec.name in _NEW_ORDERS:
        told.append("its orders get ids of the venue's: a run takes them for somebody else's")
    if spec.argument("strategy") is not None and (args is None or "strategy" in args):
        told.append(_ATM)
    return tuple(told)


def chosen(word: str | None) -> tuple[RpcSpec, ...]:
    """The functions that a word is about: the one of that name, or all that have it in their name, group, route or
    arguments; all of them without a word. Raises ConfigError where there is none."""
    if word is None:
        return TABLE.specs
    if word in TABLE:
        return (TABLE[word],)
    wanted = word.casefold()
    found = tuple(spec for spec in TABLE if wanted in _searched(spec))
    return found or (TABLE[word],)


def _searched(spec: RpcSpec) -> str:
    names = (spec.name, *spec.aliases, spec.group, *spec.paths, *(argument.name for argument in spec.args))
    return " ".join(names).casefold()


def show_functions(words: Sequence[str], *, is_json: bool) -> None:
    """Print functions: a table, one of them with all that is known, or an object a line. Raises ConfigError."""
    if len(words) > 1:
        raise ConfigError(f"--list takes one word, a function's name or a part of it, not {words[1]!r} too")
    specs = chosen(words[0] if words else None)
    if is_json:
        for spec in specs:
            sys.stdout.write(json.dumps(object_of(spec), allow_nan=False) + "\n")
    elif words and words[0] in TABLE:
        _show_one(specs[0])
    else:
        _show_table(specs)


def object_of(spec: RpcSpec) -> dict[str, Any]:
    """All that is known of a function, for programs."""
    return {
        "name": spec.name,
        "aliases": list(spec.aliases),
        "group": spec.group,
        "arguments": [
            {
                "name": argument.name,
                "type": str(argument.type),
                "required": argument.required,
                "values": list(argument.values),
                "default": argument.default,
                "note": argument.note,
                "certainty": str(argument.certainty),
            }
            for argument in spec.args
        ],
        "method": spec.method if spec.paths else None,
        "routes": list(spec.paths),
        "lane": spec.lane.name.lower(),
        "mutates": spec.mutates,
        "everywhere": spec.everywhere,
        "certainty": {
            "name": str(spec.certainty),
            "route": str(spec.rest_certainty),
            "body": str(spec.body_certainty),
        },
        "note": spec.note,
        "cautions": list(cautions(spec)),
    }


# --- for people --------------------------------------------------------------------------------------------------


def _show_table(specs: Sequence[RpcSpec]) -> None:
    screen = Screen(sys.stdout)
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
    for name in ("function", "lane", "sure", "arguments, and the REST route"):
        table.add_column(name, overflow="fold", no_wrap=name in ("lane", "sure"))
    for spec in specs:
        sure = "".join(_LETTERS[told] for told in (spec.certainty, spec.rest_certainty, spec.body_certainty))
        names = " = ".join((spec.name, *spec.aliases))
        arguments = " ".join(map(argument_text, spec.args)) or "(no arguments)"
        route = route_text(spec) or "no route known: --ws"
        told = "\n".join((arguments, route, *(f"! {caution}" for caution in cautions(spec))))
        table.add_row(Text(names), spec.lane.name.lower(), sure, Text(told))
    screen.show(table)
    screen.text(
        "\n* required. Lanes, most urgent first: reduce and place act at the venue, status, poll and history only ask. "
        "sure: of name, route and body; d documented, o observed in public client code, i inferred or unknown. "
        "`xtalgo rpc NAME --list` tells all of one."
    )


def argument_text(argument: Argument) -> str:
    """An argument in short: its name, a star if it is required, its values and its default."""
    values = "|".join(argument.values)
    default = "" if argument.default is None else f" (default {_word(argument.default)})"
    return f"{argument.name}{'*' if argument.required else ''}{'=' if values else ''}{values}{default}"


def route_text(spec: RpcSpec) -> str:
    """Method and path, or both paths of a function that has two; empty where no route is known."""
    return f"{spec.method} {' or '.join(spec.paths)}" if spec.paths else ""


def _word(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _show_one(spec: RpcSpec) -> None:
    screen = Screen(sys.stdout)
    rows: list[Row] = [("group", spec.group)]
    if spec.aliases:
        rows.append(("also called", ", ".join(spec.aliases)))
    rows += [("REST", f"{spec.method} {path}") for path in spec.paths] or [("REST", "no route known: use --ws")]
    rows.append(("lane", f"{spec.lane.name.lower()}, {'acts at the venue' if spec.mutates else 'only asks'}"))
    if spec.note:
        rows.append(("note", spec.note))
    rows += [("caution", caution) for caution in cautions(spec)]
    rows.append(("name", str(spec.certainty)))
    rows.append(("route", str(spec.rest_certainty)))
    rows.append(("body", str(spec.body_certainty)))
    screen.section(spec.name, rows)
    rules = [
        *([f"at least one of {', '.join(spec.any_of)}"] if spec.any_of else []),
        *([f"{' or '.join(spec.not_both)}, not both"] if spec.not_both else []),
        *([f"{', '.join(spec.must_name)} must be named, though the venue would go without"] if spec.must_name else []),
    ]
    listed: list[Row] = [(_argument_label(argument), _argument_note(argument)) for argument in spec.args]
    screen.section(
        "Arguments (* required)" if listed else "No arguments", [*listed, *(("rule", rule) for rule in rules)]
    )


def _argument_label(argument: Argument) -> str:
    return f"{argument.name}{'*' if argument.required else ''}"


def _argument_note(argument: Argument) -> str:
    parts = [", ".join(argument.values) or ("time" if argument.is_time else str(argument.type))]
    if argument.many:
        parts.append("several with commas")
    if argument.above is not None:
        parts.append(f"above {argument.above:g}")
    if argument.most is not None:
        parts.append(f"at most {argument.most:g}")
    if argument.default is not None:
        parts.append(f"default {_word(argument.default)}")
    if argument.note:
        parts.append(argument.note)
    if argument.certainty is not Certainty.DOCUMENTED:
        parts.append(f"({argument.certainty})")
    return "; ".join(parts)
