"""Small recordings and strategy files, and what a command line came to."""

from collections.abc import Callable
from pathlib import Path

from attrs import frozen

ROOT = Path(__file__).resolve().parents[2]
MOMO = str(ROOT / "strategies" / "momo.py")
FADE = str(ROOT / "strategies" / "fade.py")
TOGETHER = str(ROOT / "strategies" / "together.py")
BREAKOUT = str(ROOT / "strategies" / "breakout.py")

BUYER = """\
from xtalgo import Instrument, Quote, Strategy


class Buyer(Strategy):
    instrument: Instrument = "ES"
    quantity: int = 1

    def on_start(self) -> None:
        self.seen = 0

    def on_quote(self, quote: Quote) -> None:
        self.seen += 1
        if self.seen == 5:
            self.buy(quote.instrument, self.quantity)
        if self.seen == 20:
            self.close(quote.instrument)
"""

RAISER = """\
from xtalgo import Instrument, Quote, Strategy


class Raiser(Strategy):
    instrument: Instrument = "ES"
    divisor: int = 0

    def on_quote(self, quote: Quote) -> None:
        self.helper()

    def helper(self) -> None:
        self.ratio = 1 / self.divisor
"""


@frozen
class Outcome:
    """What a command line came to."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line on standard error of a command line that was refused."""
        assert self.code == 2, self.err
        assert self.out == ""
        assert self.err.endswith("\n")
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("xtalgo: ")
        return self.err.strip()


Xtalgo = Callable[..., Outcome]


def quotes_text(count: int = 240, *names: str) -> str:
    """CSV of one quote a second and instrument; the bid goes up 20 ticks and down again every 40 seconds."""
    lines = ["timestamp,instrument,bid,ask,last,volume"]
    for second in range(count):
        ticks = 20 - abs(second % 40 - 20)
        for name in names or ("ESM6",):
            bid = 5000 + ticks * 0.25
            stamp = f"2026-05-12T14:{second // 60:02d}:{second % 60:02d}Z"
            lines.append(f"{stamp},{name},{bid},{bid + 0.25},{bid},{second + 1}")
    return "\n".join([*lines, ""])


def write(folder: Path, name: str, text: str) -> Path:
    """Write a text file and return its path."""
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path
