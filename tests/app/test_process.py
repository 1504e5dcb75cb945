"""Help, version, and the program as a process of its own on consoles of any encoding."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from app.support import BUYER, RAISER, ROOT, Xtalgo, write

import xtalgo as package
from xtalgo.app import cli

# --- help, and the program as a process --------------------------------------------------------------------------


FLAGS = """
--entry-latency --report-latency --slippage --commission --ideal --touch --stop-trigger --oco --max-order-quantity
--max-position --max-open-orders --max-orders-per-minute --price-collar --daily-loss --account --strategy --param
--replay --sort --json --fills --config
"""


def test_help_says_every_assumption_and_code(xtalgo: Xtalgo) -> None:
    outcome = xtalgo("run", "--help")
    assert outcome.code == 0
    text = " ".join(outcome.out.replace("│", " ").split())
    for words in (
        "An order fills only on a quote newer than the one it was born on",
        "A market order fills at the far side of the quote",
        "Nothing fills on a crossed quote",
        "A DAY order ends with the session",
        "entry passes between sending a request and its arrival at the exchange",
        "Dollars per contract and side",
        "$0.95: MES, MNQ, M2K, MYM",
        "(default: 250 ms)",
        "(default: 1000 ms)",
        "(default: 1)",
        "XTALGO_DAILY_LOSS",
    ):
        assert words in text
    for code, meaning in cli.EXIT_CODES.items():
        assert f"{code}: {meaning}" in text
    for flag in FLAGS.split():
        assert flag in text
    assert max(map(len, outcome.out.splitlines())) <= 80
    top = xtalgo("--help").out
    assert "run" in top
    assert "synth" in top
    assert "3: a strategy raised an exception" in top
    assert xtalgo().out == top


def test_version(xtalgo: Xtalgo) -> None:
    assert xtalgo("--version").out == f"{package.__version__}\n"


def _process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "xtalgo", *arguments],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        check=False,
    )


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_consoles_of_any_encoding(folder: Path, es: Path, encoding: str) -> None:
    name = "kauf_ünd_買い.py"
    write(folder, name, BUYER.replace("self.seen = 0", "self.seen = 0; self.note('価格 → ü')"))
    done = _process("run", name, "--replay", str(es), PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    text = done.stdout.decode(encoding)
    assert f"in {name}".encode(encoding, "backslashreplace") in done.stdout
    assert "Results" in text
    help_text = _process("run", "--help", PYTHONIOENCODING=encoding)
    assert help_text.returncode == 0
    assert b"Exit codes" in help_text.stdout


def test_errors_of_a_process(folder: Path, es: Path) -> None:
    write(folder, "raiser.py", RAISER)
    done = _process("run", "raiser.py", "--replay", str(es))
    assert done.returncode == 3
    assert done.stderr.decode().splitlines()[0] == "xtalgo: raiser.py:12: Raiser: ZeroDivisionError: division by zero"
    assert _process("run", "raiser.py").returncode == 2
