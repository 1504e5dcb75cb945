"""Strategy files: what is found in them, what their parameters take, and a line for everything that is wrong."""

import sys
from pathlib import Path

import pytest
from app.support import BUYER, FADE, MOMO, write

from xtalgo import Strategy
from xtalgo.app.loader import is_strategy_file, load_strategies, parameters_of, shown_path
from xtalgo.model.errors import ConfigError

TWO = """\
from xtalgo import Instrument, Strategy


class _Base(Strategy):
    instrument: Instrument = "ES"
    size: int = 1


class First(_Base):
    width: float = 2.0


class Second(_Base):
    length: int
"""


def load(*files: str, names: tuple[str, ...] = (), p: tuple[str, ...] = ()) -> list[Strategy]:
    return [strategy for _, strategy in load_strategies(files, names, p)]


def refused(*files: str, names: tuple[str, ...] = (), p: tuple[str, ...] = ()) -> str:
    with pytest.raises(ConfigError) as caught:
        load_strategies(files, names, p)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_the_examples_load_with_their_defaults() -> None:
    momo, fade = load(MOMO, FADE)
    assert [info.name for info in parameters_of(type(momo))] == ["instrument", "fast", "slow", "quantity"]
    assert vars(momo)["instrument"] == "MNQ"
    assert vars(fade)["width"] == 2.5


def test_parameters_go_to_every_strategy_that_has_them_or_to_one_class() -> None:
    momo, fade = load(MOMO, FADE, p=("instrument=NQ", "Fade.instrument=ES", "fast=5", "quantity=3"))
    assert (vars(momo)["instrument"], vars(fade)["instrument"]) == ("NQ", "ES")
    assert (vars(momo)["fast"], vars(momo)["quantity"], vars(fade)["quantity"]) == (5, 3, 3)


def test_only_public_classes_of_the_file_itself_count(folder: Path) -> None:
    write(folder, "two.py", TWO)
    write(folder, "one.py", "from two import First\n\n\nclass Own(First):\n    width: float = 3.0\n")
    (own,) = load("one.py")
    assert type(own).__name__ == "Own"
    assert vars(own)["width"] == 3.0
    assert shown_path(str(folder / "one.py")) == "one.py"


def test_a_class_is_chosen_by_name(folder: Path) -> None:
    write(folder, "two.py", TWO)
    assert type(load("two.py:First")[0]).__name__ == "First"
    assert type(load("two.py", names=("First",))[0]).__name__ == "First"
    both = load("two.py", names=("Second", "First"), p=("length=4", "size=2"))
    assert [type(one).__name__ for one in both] == ["Second", "First"]
    assert [vars(one)["size"] for one in both] == [2, 2]
    assert type(load("two.py:_Base")[0]).__name__ == "_Base"
    assert [type(one).__name__ for one in load("two.py", MOMO, names=("First",))] == ["First", "Momo"]


def test_two_files_may_hold_classes_and_siblings_of_the_same_name(folder: Path) -> None:
    for name, size in (("a", 1), ("b", 2)):
        write(folder, f"{name}/common.py", f"SIZE = {size}\n")
        text = BUYER.replace("import Instrument", "import Instrument").replace(
            "quantity: int = 1", "quantity: int = SIZE"
        )
        write(folder, f"{name}/buyer.py", "from common import SIZE\n" + text)
    path = list(sys.path)
    one, other = load("a/buyer.py", "b/buyer.py")
    assert (vars(one)["quantity"], vars(other)["quantity"]) == (1, 2)
    assert type(one) is not type(other)
    assert sys.path == path
    assert not list(folder.rglob("__pycache__/buyer*"))


def test_an_edited_file_counts_at_once(folder: Path) -> None:
    path = write(folder, "buyer.py", BUYER)
    before = path.stat()
    assert vars(load("buyer.py")[0])["quantity"] == 1
    path.write_text(BUYER.replace("quantity: int = 1", "quantity: int = 2"))
    # The same size and time of change, which is what a compiled file is told by.
    assert path.stat().st_size == before.st_size
    assert vars(load("buyer.py")[0])["quantity"] == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("x = = 1\n", "bad.py:1: cannot be imported: SyntaxError: invalid syntax"),
        ("\nimport nowhere_to_be_found\n", "bad.py:2: cannot be imported: ModuleNotFoundError: No module named"),
        ("from xtalgo import Nope\n", "bad.py:1: cannot be imported: ImportError: cannot import name 'Nope'"),
        ("a = 1\nb = a / 0\n", "bad.py:2: cannot be imported: ZeroDivisionError: division by zero"),
        ("raise SystemExit(0)\n", "bad.py:1: cannot be imported: SystemExit: 0"),
        ("def f():\n    return 1 / 0\n\nf()\n", "bad.py:2: cannot be imported: ZeroDivisionError"),
        ("\0", "cannot be imported: "),
        ("x = 1\n", "bad.py: no strategy in this file; it must define a class that derives from xtalgo.Strategy"),
        ("", "bad.py: no strategy in this file"),
        ("from xtalgo import Strategy, SignalStrategy\n", "bad.py: no strategy in this file"),
        (
            "from xtalgo import Strategy\nclass A(Strategy):\n    def __init__(self): ...\n",
            "bad.py:2: cannot be imported: StrategyError: A defines __init__",
        ),
        (
            "from xtalgo import Strategy\nclass A(Strategy):\n    x: list = []\n",
            "bad.py:2: cannot be imported: StrategyError: A.x has a mutable default",
        ),
        ("from xtalgo import Strategy\nclass A(Strategy):\n    x: 'Nope' = 1\n", "annotation cannot be resolved"),
        (TWO, "bad.py: several strategies, First, Second; choose with --strategy First or bad.py:First"),
    ],
)
def test_a_bad_file_is_told_by_its_line(folder: Path, text: str, expected: str) -> None:
    write(folder, "bad.py", text)
    assert expected in refused("bad.py", p=("x=1",) if "Nope'" in text else ())


def test_an_error_in_a_file_beside_it_is_told_by_that_file(folder: Path) -> None:
    write(folder, "broken.py", "x = 1\ny = x / 0\n")
    write(folder, "uses.py", "import broken\n")
    assert refused("uses.py") == "broken.py:2: cannot be imported: ZeroDivisionError: division by zero"
    write(folder, "broken.py", "x = (\n")
    assert refused("uses.py").startswith("broken.py:1: cannot be imported: SyntaxError")


def test_paths_that_are_no_strategy_file(folder: Path) -> None:
    write(folder, "strategies/momo.py", BUYER)
    write(folder, "quotes.csv", "x")
    assert refused("strategies/mommo.py") == (
        f"{Path('strategies/mommo.py')}: no such file (did you mean '{Path('strategies/momo.py')}'?)"
    )
    assert refused("strategies").startswith("strategies: a folder; name a strategy file in it")
    assert "recordings come after --replay" in refused("quotes.csv")
    assert "a parameter needs its own -p" in refused("slow=20")
    assert is_strategy_file(r"C:\strategies\momo.py:Momo")
    assert is_strategy_file("MOMO.PY")
    assert not is_strategy_file("backtest_data")


@pytest.mark.parametrize(
    ("p", "expected"),
    [
        (
            ("fsat=5",),
            "-p fsat=5: no parameter 'fsat' (did you mean 'fast'?); Momo has instrument: Instrument",
        ),
        (("fast=x",), "-p fast=x: Momo.fast takes int"),
        (("fast=5.5",), "-p fast=5.5: Momo.fast takes int"),
        (("fast",), "-p fast: write it as -p NAME=VALUE"),
        (("=5",), "-p =5: write it as -p NAME=VALUE"),
        (("fast=5", "fast=6"), "-p fast is given twice: 5 and 6"),
        (("Mono.fast=5",), "-p Mono.fast=5: no strategy 'Mono' (did you mean 'Momo'?); there is Momo"),
        (("Momo.width=5",), "-p Momo.width=5: no parameter 'width'; Momo has instrument"),
        (("instrument=",), "-p instrument=: Momo.instrument takes Instrument: it is empty"),
        (("_target=1",), "-p _target=1: no parameter '_target'"),
    ],
)
def test_a_bad_parameter_is_told_by_its_name(p: tuple[str, ...], expected: str) -> None:
    assert expected in refused(MOMO, p=p)


def test_a_parameter_without_a_default_must_be_given(folder: Path) -> None:
    write(folder, "two.py", TWO)
    assert refused("two.py:Second") == "Second needs length: int; give it with -p length=VALUE"


def test_names_that_no_file_holds(folder: Path) -> None:
    write(folder, "two.py", TWO)
    assert (
        refused("two.py:Firts") == "two.py: no strategy 'Firts' (did you mean 'First'?); it holds _Base, First, Second"
    )
    assert refused("two.py:First", names=("Third",)).startswith("--strategy Third: no strategy of that name")
    assert "none of its strategies is named by --strategy" in refused("two.py", MOMO, names=("Momo",))


def test_an_authors_own_check_of_parameters(folder: Path) -> None:
    text = BUYER.replace(
        "    def on_start",
        "    def __attrs_post_init__(self) -> None:\n"
        "        if self.quantity > 5:\n"
        "            raise ValueError('at most 5')\n\n"
        "    def on_start",
    )
    write(folder, "picky.py", text)
    assert refused("picky.py", p=("quantity=6",)) == "Buyer refuses its parameters: ValueError: at most 5"
