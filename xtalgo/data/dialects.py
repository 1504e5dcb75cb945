"""Dialect files: what ``xtalgo probe`` found out, as TOML."""

from __future__ import annotations

import datetime as dt
import json
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from xtalgo.model.errors import ConfigError
from xtalgo.protocol.findings import Findings

__all__ = ["read_findings", "toml_of", "write_findings"]

_HEAD: Final = "# What xtalgo probe found out about a venue; docs/dialect.md says what it holds.\n\n"
_BARE: Final = re.compile(r"[A-Za-z0-9_-]+")


def read_findings(path: Path) -> Findings:
    """Read a dialect file. Raises ConfigError that names the file, and the key if one is wrong."""
    try:
        table = tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"dialect file {path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"dialect file {path}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"dialect file {path}: not valid TOML: {error}") from None
    try:
        return Findings.from_table(table)
    except ConfigError as error:
        raise ConfigError(f"dialect file {path}: {error}") from None


def write_findings(path: Path, findings: Findings) -> None:
    """Write a dialect file, its folder too; an old one is replaced whole. Raises ConfigError when it can't be."""
    partial = path.with_name(path.name + ".part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.write_text(_HEAD + toml_of(findings.table()), encoding="utf-8", newline="\n")
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"dialect file {path}: cannot be written: {error.strerror or error}") from None


def toml_of(table: Mapping[str, Any]) -> str:
    """A table as TOML: text, whole numbers, booleans, lists, aware times, and tables to any depth."""
    return "\n".join(_lines(table, ())).strip("\n") + "\n"


def _lines(table: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    lines = [f"{_key(name)} = {_value(value)}" for name, value in table.items() if not _is_section(value, path)]
    if path and (lines or not table):
        lines = ["", f"[{'.'.join(map(_key, path))}]", *lines]
    for name, value in table.items():
        if _is_section(value, path):
            lines += _lines(value, (*path, name))
    return lines


def _is_section(value: object, path: tuple[str, ...]) -> bool:
    return isinstance(value, Mapping) and len(path) < 2


def _key(name: str) -> str:
    return name if _BARE.fullmatch(name) else _text(name)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, dt.datetime):
        return value.astimezone(dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(value, Mapping):
        return "{ " + ", ".join(f"{_key(name)} = {_value(inner)}" for name, inner in value.items()) + " }"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(map(_value, value)) + "]"
    raise TypeError(f"TOML of {type(value).__name__}")


def _text(text: str) -> str:
    """A string: literal where its quotes would have to be escaped.

    Else JSON's, whose escapes are TOML's but for DEL and halves of surrogate pairs.
    """
    clean = text.encode("utf-8", "backslashreplace").decode()
    if '"' in clean and "'" not in clean and clean.isprintable():
        return f"'{clean}'"
    return json.dumps(clean, ensure_ascii=False).replace("\x7f", "\\u007f")
