"""Replay through the full path, as a ratio to a bare CPython loop with the same workload in the same process.

Workload: an EMA(20)/EMA(100) cross on the mid, market orders, two instruments, 1,000,000 synthetic quotes. The
bare loop boxes the same columns chunk by chunk, calls one bound method per quote and fills at the next quote's far
side; it has no engine, ledger, pacing or exchange. Figures are medians over interleaved rounds.

    python benchmarks/replay_speed.py [--quotes N] [--rounds N]
"""

from __future__ import annotations

import argparse
import gc
import resource
import statistics
import subprocess
import sys
import time

import numpy as np

from xtalgo import Instrument, Quote, QuoteTable, Strategy, replay

ES, MNQ = "ES 06-26", "MNQ 06-26"
A, B = 2 / 21, 2 / 101


class Cross(Strategy):
    """The workload as a strategy."""

    first: Instrument = ES
    second: Instrument = MNQ

    def on_start(self) -> None:
        self.state = {self.first: [0.0, 0.0, 0], self.second: [0.0, 0.0, 0]}

    def on_quote(self, quote: Quote) -> None:
        instrument = quote.instrument
        state = self.state[instrument]
        mid = (quote.bid + quote.ask) * 0.5
        if not state[0]:
            state[0] = state[1] = mid
        fast = state[0] = state[0] + A * (mid - state[0])
        slow = state[1] = state[1] + B * (mid - state[1])
        side = 1 if fast > slow else -1
        if side != state[2]:
            state[2] = side
            self.order_target(instrument, side)


class Bare:
    """The workload in a loop of its own: the same decisions, its own fills, positions and P&L."""

    def __init__(self) -> None:
        self.state = {ES: [0.0, 0.0, 0], MNQ: [0.0, 0.0, 0]}
        self.wanted = {ES: 0, MNQ: 0}
        self.position = {ES: 0, MNQ: 0}
        self.cash = 0.0
        self.fills: list[tuple[str, int, float]] = []

    def on_quote(self, instrument: str, bid: float, ask: float) -> None:
        """One quote."""
        change = self.wanted[instrument]
        if change:
            price = ask if change > 0 else bid
            self.wanted[instrument] = 0
            self.position[instrument] += change
            self.cash -= change * price
            self.fills.append((instrument, change, price))
        state = self.state[instrument]
        mid = (bid + ask) * 0.5
        if not state[0]:
            state[0] = state[1] = mid
        fast = state[0] = state[0] + A * (mid - state[0])
        slow = state[1] = state[1] + B * (mid - state[1])
        side = 1 if fast > slow else -1
        if side != state[2]:
            state[2] = side
            self.wanted[instrument] = side - self.position[instrument]


def table(count: int) -> QuoteTable:
    """Synthetic quotes: a seeded random walk of each instrument, one quote a second in turn."""
    rng = np.random.default_rng(1)
    codes = np.arange(count) % 2
    ts = 1_770_000_000_000_000_000 + np.arange(count) * 500_000_000
    bid = np.empty(count)
    for code, start in ((0, 28_000), (1, 104_000)):
        rows = codes == code
        bid[rows] = (start + np.cumsum(rng.integers(-1, 2, int(rows.sum())))) * 0.25
    return QuoteTable.from_rows((ES, MNQ), codes, ts, bid, bid + 0.25, bid, np.arange(count))


def bare(quotes: QuoteTable) -> Bare:
    """Run the bare loop."""
    run = Bare()
    on_quote = run.on_quote
    for start in range(0, len(quotes), 16_384):
        rows = quotes.order[start : start + 16_384]
        names = map(quotes.instruments.__getitem__, quotes.codes(start, start + 16_384).tolist())
        for name, bid, ask in zip(names, quotes.bid[rows].tolist(), quotes.ask[rows].tolist(), strict=True):
            on_quote(name, bid, ask)
    return run


def peak_memory() -> int:
    """Peak resident bytes of this process."""
    if sys.platform == "win32":
        raise SystemExit("peak memory is measured on POSIX systems only")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quotes", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", action="store_true", help="only replay once and print the peak in bytes")
    asked = parser.parse_args()
    if asked.memory:
        base = peak_memory()
        replay(Cross(), table(asked.quotes))
        print(peak_memory() - base)
        return
    quotes = table(asked.quotes)
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(asked.rounds):
        gc.collect()
        began = time.perf_counter()
        loop = bare(quotes)
        theirs.append(asked.quotes / (time.perf_counter() - began))
        gc.collect()
        began = time.perf_counter()
        result = replay(Cross(), quotes)
        ours.append(asked.quotes / (time.perf_counter() - began))
    ratio = statistics.median(mine / other for mine, other in zip(ours, theirs, strict=True))
    print(f"{asked.quotes:,} quotes; {len(loop.fills):,} fills in the bare loop, {len(result.fills):,} in the replay")
    print(f"bare loop   {statistics.median(theirs):>12,.0f} quotes/s")
    print(f"full replay {statistics.median(ours):>12,.0f} quotes/s")
    print(f"ratio       {ratio:>12.2f}   (wanted: at least 0.45)")
    command = [sys.executable, __file__, "--memory", "--quotes", str(asked.quotes)]
    grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    print(f"peak memory over the import baseline: {grown / 1e6 / (asked.quotes / 1e6):.0f} MB per million quotes (<= 200)")


if __name__ == "__main__":
    main()
