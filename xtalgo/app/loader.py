"""A strategy file and ``-p NAME=VALUE`` in, strategy instances with checked parameters out.

A strategy file is an ordinary Python module. It is imported under a name of its own, with its folder on the module
path while that lasts, so that files beside it can be imported. Strategies are the classes that the file itself
defines: imported ones and names that begin with an underscore do not count.
"""

from __future__ import annotations

import difflib
import hashlib
import importlib.machinery
import importlib.util
import os
import re
import sys
import typing
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from traceback import walk_tb
from types import ModuleType
from typing import Any, cast

import attrs
from attrs import frozen

from xtalgo.app.config import nearest
from xtalgo.app.parameters import convert, describe
from xtalgo.engine.strategy import Strategy
from xtalgo.model.errors import ConfigError

__all__ = [
    "ParameterInfo",
    "build",
    "import_file",
    "is_strategy_file",
    "load_strategies",
    "parameters_of",
    "shown_path",
]

_NAMED = re.compile(r"^(.+\.py)(?::(\w+))?$", re.IGNORECASE | re.DOTALL)

_siblings: dict[str, str] = {}
"""Modules that strategy files imported from their own folders, by name: the folder."""


@frozen
class ParameterInfo:
    """One parameter of a strategy: its name, its type, and its default (``attrs.NOTHING``: it must be given)."""

    name: str
    hint: Any
    default: Any

    def __str__(self) -> str:
        text = f"{self.name}: {describe(self.hint)}"
        return text if self.default is attrs.NOTHING else f"{text} = {self.default!r}"


def is_strategy_file(text: str) -> bool:
    """Whether an argument is written as a strategy file: ``FILE.py`` or ``FILE.py:NAME``."""
    return _NAMED.match(text) is not None


def shown_path(path: str) -> str:
    """A path as people like to read it: relative where it lies below the current folder."""
    try:
        relative = os.path.relpath(path)
    except ValueError:  # another drive
        return path
    return path if relative.startswith(os.pardir) else relative


def load_strategies(
    files: Sequence[str], names: Sequence[str] = (), parameters: Sequence[str] = ()
) -> list[tuple[str, Strategy]]:
    """Strategies of some files with the file each came from, in the order of the files.

    A file is written ``FILE.py`` or ``FILE.py:NAME``. ``names`` choose classes in files that hold several,
    ``parameters`` are ``NAME=VALUE``, for every strategy that has it, or ``Class.NAME=VALUE``. Raises ConfigError
    that names the file, and the line where there is one.
    """
    given = _parse_parameters(parameters)
    chosen: list[tuple[str, type[Strategy]]] = []
    seen: dict[Path, dict[str, type[Strategy]]] = {}
    for text in files:
        match = _NAMED.match(text)
        path = _checked_path(text if match is None else match[1])
        if path not in seen:
            seen[path] = _strategies_in(import_file(path))
        wanted = [match[2]] if match is not None and match[2] else [name for name in names if name in seen[path]]
        chosen += [(shown_path(str(path)), found) for found in _choose(path, seen[path], wanted, names)]
    held = [name for found in seen.values() for name in found]
    for name in names:
        if name not in held:
            raise ConfigError(f"--strategy {name}: no strategy of that name; there is {', '.join(held)}")
    texts = _assign([found for _, found in chosen], given)
    return [(file, build(found, own)) for (file, found), own in zip(chosen, texts, strict=True)]


# --- files -------------------------------------------------------------------------------------------------------


def _checked_path(text: str) -> Path:
    path = Path(text)
    if path.is_dir():
        raise ConfigError(f"{path}: a folder; name a strategy file in it, such as {path / 'momo.py'}")
    if not path.exists():
        if "=" in text:
            raise ConfigError(f"{text}: not a strategy file; a parameter needs its own -p, as in -p fast=5 -p slow=20")
        raise ConfigError(f"{path}: no such file{_near_file(path)}")
    if path.suffix.lower() != ".py":
        raise ConfigError(f"{path}: not a strategy file, going by its name (.py); recordings come after --replay")
    return path.resolve()


def _near_file(path: Path) -> str:
    try:
        names = [one.name for one in path.parent.iterdir() if one.suffix.lower() == ".py"]
    except OSError:
        return ""
    found = difflib.get_close_matches(path.name, names, n=1)
    return f" (did you mean '{path.parent / found[0]}'?)" if found else ""


def import_file(path: Path) -> ModuleType:
    """Import a Python file from an absolute path, afresh. ConfigError with file and line for whatever it raises.

    Compiled code is neither read nor written, so an edit always counts and no ``__pycache__`` appears beside it.
    """
    file = str(path)
    name = f"{path.stem}@{hashlib.sha256(file.encode('utf-8', 'surrogateescape')).hexdigest()[:8]}"
    loader = importlib.machinery.SourceFileLoader(name, file)
    spec = importlib.util.spec_from_file_location(name, file, loader=loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    try:
        code = loader.source_to_code(loader.get_data(file), file)
        sys.modules[name] = module
        with _folder_on_path(str(path.parent)):
            exec(code, module.__dict__)
    # SystemExit too: a script that ends its interpreter when it is imported is no strategy file either.
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise ConfigError(_import_error(path, error)) from error
    return module


@contextmanager
def _folder_on_path(folder: str) -> Iterator[None]:
    """Let files of a folder be imported; modules of the same names from other strategies' folders make way."""
    for name in [name for name, other in _siblings.items() if other != folder]:
        sys.modules.pop(name, None)
        del _siblings[name]
    before = set(sys.modules)
    sys.path.insert(0, folder)
    importlib.invalidate_caches()
    try:
        yield
    finally:
        if folder in sys.path:
            sys.path.remove(folder)
        for name in set(sys.modules) - before:
            origin = getattr(sys.modules[name], "__file__", None)
            if origin is not None and Path(origin).is_relative_to(folder):
                _siblings[name] = folder


def _import_error(path: Path, error: BaseException) -> str:
    """File, line and text of what importing a file raised: the deepest line of the file or one beside it."""
    if isinstance(error, OSError) and error.__traceback__ is not None and error.filename == str(path):
        return f"{shown_path(str(path))}: cannot be read: {error.strerror or error}"
    place = (str(path), 0)
    if isinstance(error, SyntaxError) and error.filename:
        place = (error.filename, error.lineno or 0)
        text = error.msg
    else:
        text = str(error)
        for frame, line in walk_tb(error.__traceback__):
            file = frame.f_code.co_filename
            if file == place[0] or Path(file).parent == path.parent:
                place = (file, line)
    where = shown_path(place[0]) + (f":{place[1]}" if place[1] else "")
    return f"{where}: cannot be imported: {type(error).__name__}: {text}"


# --- classes -----------------------------------------------------------------------------------------------------


def _strategies_in(module: ModuleType) -> dict[str, type[Strategy]]:
    found = {
        value.__name__: value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Strategy) and value.__module__ == module.__name__
    }
    return {name: value for name, value in found.items() if not value._is_abstract}


def _choose(
    path: Path, held: Mapping[str, type[Strategy]], wanted: Sequence[str], names: Sequence[str]
) -> list[type[Strategy]]:
    file = shown_path(str(path))
    public = [name for name in held if not name.startswith("_")]
    for name in wanted:
        if name not in held:
            listing = f"it holds {', '.join(held)}" if held else "it holds none"
            raise ConfigError(f"{file}: no strategy {name!r}{nearest(name, held)}; {listing}")
    if wanted:
        return [held[name] for name in wanted]
    if not public:
        raise ConfigError(f"{file}: no strategy in this file; it must define a class that derives from xtalgo.Strategy")
    if len(public) > 1 and not names:
        raise ConfigError(
            f"{file}: several strategies, {', '.join(public)}; choose with --strategy {public[0]} or {file}:{public[0]}"
        )
    if len(public) > 1:
        raise ConfigError(f"{file}: none of its strategies is named by --strategy; it holds {', '.join(public)}")
    return [held[public[0]]]


# --- parameters --------------------------------------------------------------------------------------------------


def parameters_of(cls: type[Strategy]) -> tuple[ParameterInfo, ...]:
    """The parameters that ``-p`` can set; fields that begin with an underscore are the strategy's own affair."""
    try:
        hints = typing.get_type_hints(cls, include_extras=True)
    except (NameError, TypeError, SyntaxError) as error:
        raise ConfigError(f"{cls.__name__}: an annotation cannot be resolved: {error}") from None
    fields = [item for item in attrs.fields(cast(Any, cls)) if item.init and not item.name.startswith("_")]
    return tuple(
        ParameterInfo(
            item.name,
            hints.get(item.name, Any),
            item.default.factory() if isinstance(item.default, attrs.Factory) else item.default,  # type: ignore[arg-type]
        )
        for item in fields
    )


def build(cls: type[Strategy], texts: Mapping[str, str]) -> Strategy:
    """A strategy with parameters given as text. ConfigError naming the parameter for one that doesn't fit."""
    known = {info.name: info for info in parameters_of(cls)}
    values: dict[str, Any] = {}
    for name, text in texts.items():
        if name not in known:
            raise ConfigError(f"-p {name}={text}: {_unknown(name, [(cls.__name__, tuple(known.values()))])}")
        try:
            values[name] = convert(text, known[name].hint)
        except ValueError as error:
            raise ConfigError(
                f"-p {name}={text}: {cls.__name__}.{name} takes {describe(known[name].hint)}{_because(error)}"
            ) from None
    missing = [info for info in known.values() if info.default is attrs.NOTHING and info.name not in values]
    if missing:
        listing = ", ".join(map(str, missing))
        raise ConfigError(f"{cls.__name__} needs {listing}; give it with -p {missing[0].name}=VALUE")
    try:
        return cls(**values)
    except Exception as error:  # an author's validator may raise anything
        raise ConfigError(f"{cls.__name__} refuses its parameters: {type(error).__name__}: {error}") from error


def _because(error: ValueError) -> str:
    return f": {error}" if str(error) else ""


def _parse_parameters(parameters: Sequence[str]) -> dict[str, str]:
    given: dict[str, str] = {}
    for text in parameters:
        name, equals, value = text.partition("=")
        name = name.strip()
        if not equals or not name:
            raise ConfigError(f"-p {text}: write it as -p NAME=VALUE")
        if name in given:
            raise ConfigError(f"-p {name} is given twice: {given[name]} and {value}")
        given[name] = value
    return given


def _assign(classes: Sequence[type[Strategy]], given: Mapping[str, str]) -> list[dict[str, str]]:
    """Which text goes to which strategy; what is said of one class beats what is said of all."""
    held = [(cls.__name__, parameters_of(cls)) for cls in classes]
    owners = [owner for owner, _ in held]
    for key, text in given.items():
        owner, dot, name = key.rpartition(".")
        if dot and owner not in owners:
            raise ConfigError(
                f"-p {key}={text}: no strategy {owner!r}{nearest(owner, owners)}; there is {', '.join(owners)}"
            )
        concerned = [(cls, infos) for cls, infos in held if not dot or cls == owner]
        if all(info.name != name for _, infos in concerned for info in infos):
            raise ConfigError(f"-p {key}={text}: {_unknown(name, concerned)}")
    return [_own(owner, {info.name for info in infos}, given) for owner, infos in held]


def _own(owner: str, names: set[str], given: Mapping[str, str]) -> dict[str, str]:
    for_all = {key: text for key, text in given.items() if key in names}
    return for_all | {key.rpartition(".")[2]: text for key, text in given.items() if key.rpartition(".")[0] == owner}


def _unknown(name: str, held: Sequence[tuple[str, Sequence[ParameterInfo]]]) -> str:
    known = [info.name for _, infos in held for info in infos]
    listing = "; ".join(f"{cls} has {', '.join(map(str, infos)) or 'none'}" for cls, infos in held)
    return f"no parameter {name!r}{nearest(name, known)}; {listing}"
