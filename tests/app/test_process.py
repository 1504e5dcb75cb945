"""Help, version, and the program as a process of its own on consoles of any encoding."""

import os
import re
import struct
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from app.support import BUYER, RAISER, ROOT, Xtalgo, write

import xtalgo as package
from xtalgo.app import cli

# --- help, and the program as a process --------------------------------------------------------------------------


FLAGS = """
--entry-latency --report-latency --slippage --commission --ideal --touch --stop-trigger --oco --max-order-quantity
--max-position --max-open-orders --max-orders-per-minute --price-collar --daily-loss --account --strategy --param
--replay --as-live --demo --paper --live --url --token-file --for --on-stop --seed --sort --json --fills --config
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


@pytest.mark.parametrize("encoding", ["cp1252", "ascii"])
def test_help_on_consoles_of_any_encoding(encoding: str) -> None:
    done = _process("run", "--help", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert "Exit codes" in done.stdout.decode(encoding)


@pytest.mark.skipif(sys.platform == "win32", reason="there are no pseudo-terminals")
def test_a_terminal_of_80_columns(es: Path, buyer: Path) -> None:
    import fcntl
    import pty
    import termios

    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 80, 0, 0))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm-256color"}
    command = [sys.executable, "-m", "xtalgo", "run", str(buyer), "--replay", str(es)]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environment) as process:
        os.close(theirs)
        shown = b""
        with suppress(OSError):  # how Linux says that the other end is closed
            while piece := os.read(ours, 65_536):
                shown += piece
    os.close(ours)
    assert process.returncode == 0
    text = shown.decode()
    assert "\x1b[1mResults" in text
    assert "replaying" in text
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text)
    assert max(len(line.rstrip()) for line in re.split(r"[\r\n]+", plain)) <= 80
    assert "  commission      ES $2.90 a contract and side, assumed by root; --commission" in plain


def test_errors_of_a_process(folder: Path, es: Path) -> None:
    write(folder, "raiser.py", RAISER)
    done = _process("run", "raiser.py", "--replay", str(es))
    assert done.returncode == 3
    assert done.stderr.decode().splitlines()[0] == "xtalgo: raiser.py:12: Raiser: ZeroDivisionError: division by zero"
