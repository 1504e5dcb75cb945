"""What `import xtalgo` offers: the names in `__all__`, and nothing else."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import inspect
import pkgutil
import re
import subprocess
import sys
import types
from pathlib import Path

import pytest

import xtalgo

ROOMS = {module.name for module in pkgutil.iter_modules(xtalgo.__path__)}


def test_every_public_name_is_there() -> None:
    missing = [name for name in xtalgo.__all__ if not hasattr(xtalgo, name)]
    assert not missing
    assert len(set(xtalgo.__all__)) == len(xtalgo.__all__)


def test_names_are_in_alphabetical_order() -> None:
    assert xtalgo.__all__ == sorted(xtalgo.__all__)


def test_nothing_else_is_exported_by_accident() -> None:
    shown = {name for name in vars(xtalgo) if not name.startswith("_")}
    assert shown - ROOMS == {name for name in xtalgo.__all__ if not name.startswith("_")}
    assert {"model", "engine", "sim", "data", "app"} <= ROOMS


def test_a_star_import_brings_exactly_these() -> None:
    names: dict[str, object] = {}
    exec("from xtalgo import *", names)
    del names["__builtins__"]
    assert set(names) == set(xtalgo.__all__)


def test_what_is_exported_says_what_it_is() -> None:
    for name in xtalgo.__all__:
        thing = getattr(xtalgo, name)
        alias = getattr(thing, "__module__", "") == "builtins"  # Ns is an int
        if isinstance(thing, type | types.FunctionType | types.ModuleType) and not alias:
            assert inspect.getdoc(thing), name
            home = thing.__name__ if isinstance(thing, types.ModuleType) else thing.__module__
            assert home.startswith("xtalgo."), name


def test_what_strategies_meet_is_public() -> None:
    """Every type of ours in the signatures of the public classes can be imported from `xtalgo`."""
    inner = {"Seat", "BarBuilder", "PlaceOrder", "Denial"}  # what the engine keeps in or makes of them
    missing = set()
    for owner in (
        xtalgo.Strategy,
        xtalgo.SignalStrategy,
        xtalgo.Order,
        xtalgo.OrderGroup,
        xtalgo.Fill,
        xtalgo.Bars,
        xtalgo.Timer,
    ):
        module = sys.modules[owner.__module__]
        told = [str(hint) for hint in inspect.get_annotations(owner).values()]
        for name, member in inspect.getmembers(owner):
            function = member.fget if isinstance(member, property) else member
            if not name.startswith("_") and isinstance(function, types.FunctionType):
                told += [str(hint) for hint in inspect.get_annotations(function).values()]
        for word in set(re.findall(r"[A-Za-z_][A-Za-z_0-9]*", " ".join(told))):
            thing = getattr(module, word, None)
            ours = isinstance(thing, type) and thing.__module__.startswith("xtalgo.")
            if ours and word not in xtalgo.__all__ and word not in inner:
                missing.add(word)
    assert not missing


def test_the_version() -> None:
    assert re.fullmatch(r"\d+\.\d+\.\d+", xtalgo.__version__)
    try:
        installed = importlib.metadata.version("xtalgo")
    except importlib.metadata.PackageNotFoundError:
        return
    assert installed == xtalgo.__version__


def test_importing_it_is_quiet_and_brings_no_shell() -> None:
    """Only the engine's rooms come along: no files, sockets, tasks or terminal."""
    code = "import sys, xtalgo; print(' '.join(sorted(sys.modules)))"
    root = Path(xtalgo.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, cwd=root, check=True
    )
    loaded = set(done.stdout.split())
    assert not done.stderr
    assert not loaded & {
        "pyarrow",
        "trio",
        "trio_websocket",
        "rich",
        "cyclopts",
        "asyncio",
        "xtalgo.app",
        "xtalgo.data",
    }


@pytest.mark.parametrize("room", ["model", "engine", "sim"])
def test_every_module_of_the_pure_rooms_says_what_it_offers(room: str) -> None:
    package = importlib.import_module(f"xtalgo.{room}")
    for info in pkgutil.iter_modules(package.__path__):
        module = importlib.import_module(f"xtalgo.{room}.{info.name}")
        assert module.__doc__, module.__name__
        assert isinstance(module.__all__, list), module.__name__
        assert not [name for name in module.__all__ if not hasattr(module, name)], module.__name__


def test_strategies_use_public_names_only() -> None:
    folder = Path(__file__).parents[1] / "strategies"
    files = sorted(folder.glob("*.py"))
    if not files:
        pytest.skip("no strategies here")
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "xtalgo":
                assert node.module == "xtalgo" or node.module.removeprefix("xtalgo.") in xtalgo.__all__, file.name
                assert node.module != "xtalgo" or {alias.name for alias in node.names} <= set(xtalgo.__all__), file.name
            elif isinstance(node, ast.Import):
                assert all(alias.name.split(".")[0] != "xtalgo" for alias in node.names), file.name
            elif isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "self":
                assert not node.attr.startswith("_seat"), file.name
