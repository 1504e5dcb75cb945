"""Replay through the full path, as a ratio to a bare CPython loop with the same workload in the same process.

Workload: an EMA(20)/EMA(100) cross on the mid, market orders, two instruments, 1,000,000 quotes of the synthetic
market (about one order in 72 quotes). The
bare loop boxes the same columns chunk by chunk, calls one bound method per quote and fills at the next quote's far
side; it has no engine, ledger, pacing or exchange. Figures are medians over interleaved rounds.

    python benchmarks/replay_speed.py [--quotes N] [--rounds N]
"""

from __future__ import annotations

import argparse
import datetime as dt
import gc
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from xtalgo import ContractBook, Instrument, Quote, QuoteTable, Strategy, replay
from xtalgo.data.quotes import load_recording, write_quotes
from xtalgo.sim.market import SyntheticMarket
from xtalgo.sim.profile import specs_for

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
    """Synthetic quotes of two instruments at the API's cadence, one session after the other."""
    market = SyntheticMarket(14, specs_for((ES, MNQ)), dt.date(2026, 5, 11))
    days, rows = 0, 0
    parts: list[QuoteTable] = []
    while rows < count:
        day = dt.date(2026, 5, 11) + dt.timedelta(days=days)
        days += 1
        if day.weekday() < 5:
            parts.append(market.session(day).table())
            rows += len(parts[-1])
    columns = ("ts", "bid", "ask", "last", "volume")
    merged = {name: np.concatenate([getattr(part, name)[part.order] for part in parts])[:count] for name in columns}
    codes = np.concatenate([part.codes(0, len(part)) for part in parts])[:count]
    return QuoteTable.from_rows(parts[0].instruments, codes, **merged)


def record(quotes: QuoteTable, folder: Path) -> None:
    """Write the quotes as a recording."""
    place = np.empty(len(quotes), np.int64)
    place[quotes.order] = np.arange(len(quotes))
    for name in quotes.instruments:
        rows = quotes.rows(name)
        columns = {column: getattr(quotes, column)[rows] for column in ("ts", "bid", "ask", "last", "volume")}
        path = folder / f"{name}.parquet"
        contract = ContractBook().contract(name)
        write_quotes(path, contract, **columns, seq=place[rows], source="benchmark", synthetic=True)


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
    """Peak resident bytes of this process so far."""
    platform: str = sys.platform  # a plain str: every branch is checked on every platform
    if platform == "linux":
        # ru_maxrss would count the parent's memory too: it is carried over a fork.
        status = Path("/proc/self/status").read_text(encoding="ascii")
        return int(status.split("VmHWM:")[1].split()[0]) * 1024
    if platform == "win32":
        import ctypes
        from ctypes import wintypes

        class Counters(ctypes.Structure):
            _fields_ = (
                ("cb", wintypes.DWORD),
                ("PageFaultCount", wintypes.DWORD),
                *((name, ctypes.c_size_t) for name in ("Peak", "Now", "a", "b", "c", "d", "e", "f")),
            )

        counters = Counters()
        kernel = ctypes.CDLL("kernel32")
        kernel.GetCurrentProcess.restype = wintypes.HANDLE
        kernel.K32GetProcessMemoryInfo(kernel.GetCurrentProcess(), ctypes.byref(counters), ctypes.sizeof(counters))
        return int(counters.Peak)
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quotes", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--memory", metavar="FOLDER", help="load a recording, replay it once, print the peak in bytes")
    asked = parser.parse_args()
    if asked.memory:
        base = peak_memory()
        replay(Cross(), load_recording([asked.memory], ContractBook()).table)
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
    with tempfile.TemporaryDirectory() as folder:
        record(quotes, Path(folder))
        command = [sys.executable, __file__, "--memory", folder]
        grown = int(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    per_million = grown / asked.quotes
    print(f"peak memory over the import baseline: {per_million:.0f} MB per million quotes (wanted: at most 200)")


if __name__ == "__main__":
    main()
