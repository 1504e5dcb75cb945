"""A run that dies at any moment and is taken up again: no order twice, every fill once, nothing forgotten."""

from __future__ import annotations

import os
import random
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trio
from app.support import ROOT, write
from live.killing import Killed

from xtalgo.app.verify import verify
from xtalgo.data.journal import read
from xtalgo.live.rest import RestClient
from xtalgo.live.resume import Estate

FAULTS: dict[str, Any] = {"reassign_ids": True, "most_per_fill": 1, "lose_reply": 0.1, "slow_cancel": 1.0}


def lived(seed: int, folder: Path, kills: tuple[int, ...], faults: dict[str, Any]) -> Killed:
    """A life with kills, judged, and lived again from its journal."""
    folder.mkdir(parents=True)
    killed = Killed(seed, folder, kills, faults)
    assert killed.live() == [], (seed, kills, faults)
    verdict = verify(killed.path)
    assert verdict.difference is None, (seed, kills, faults)
    assert 1 <= verdict.lives <= len(killed.struck) + 1  # one that died before its first commit never was
    assert verdict.turns > 100
    return killed


def at_random(seed: int, folder: Path) -> Killed:
    dice = random.Random(seed)
    faults = {name: value for name, value in FAULTS.items() if dice.random() < 0.3}
    return lived(seed, folder, tuple(dice.randint(15, 110) for _ in range(dice.randint(1, 3))), faults)


def test_at_random_moments(tmp_path: Path) -> None:
    struck = [what for seed in range(3) for what in at_random(seed, tmp_path / str(seed)).struck]
    assert len(struck) >= 4


def test_at_the_moments_around_one_order(tmp_path: Path) -> None:
    """Before its intent is on disk, between that and its leaving, and right after."""
    whole = Killed(3, tmp_path)
    assert whole.live() == []
    first = whole.moments.index("after the intent") + 1
    for number, what in ((first - 1, "before the intent"), (first, "after the intent"), (first + 1, "after it left")):
        killed = lived(3, tmp_path / str(number), (number,), {})
        assert killed.struck == [what]
        there = [order.key for order in killed.server.venue.orders]
        assert there.count("k-1") == (what == "after it left")


def test_what_a_killed_run_held_is_there_at_on_start(tmp_path: Path) -> None:
    killed = lived(7, tmp_path / "7", (60,), {})
    assert killed.owned == [(0, 0), (3, 4)]
    with read(killed.path) as reader:
        assert [header.run for header in reader.headers] == ["k", "k"]
        assert {order.id.rpartition("-")[0] for order in Estate.of(reader).orders} == {"k", "k.2"}


@pytest.mark.long
@pytest.mark.timeout(3_600)
@pytest.mark.parametrize("seed", [1, 2, 3, 4])
def test_at_every_moment(seed: int, tmp_path: Path) -> None:
    """Each commit of the journal is two moments here, and each frame that leaves three."""
    whole = Killed(seed, tmp_path)
    assert whole.live() == []
    for moment in range(1, len(whole.moments) + 1):
        lived(seed, tmp_path / str(moment), (moment,), FAULTS if seed % 2 else {})


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_at_many_random_moments(tmp_path: Path) -> None:
    assert sum(len(at_random(seed, tmp_path / str(seed)).struck) for seed in range(100, 300)) > 300


# --- processes -------------------------------------------------------------------------------------------------------

EAGER = """\
from xtalgo import Instrument, Quote, Strategy


class Eager(Strategy):
    instrument: Instrument = "MNQ"

    def on_start(self) -> None:
        self.note("owned", position=self.position(self.instrument), orders=len(self.orders()))
        self.seen = 0

    def on_quote(self, quote: Quote) -> None:
        self.seen += 1
        if self.seen % 10 == 5 and self.position(self.instrument) < 2:
            self.buy(self.instrument, 1, stop_loss=12, take_profit=8)
        if self.seen % 40 == 0:
            self.close(self.instrument)
"""


def environment(folder: Path) -> dict[str, str]:
    """Of a process whose files lie in a folder of the test."""
    return {
        **os.environ,
        "PYTHONPATH": str(ROOT),
        "XTRADE_TOKEN": "demo",
        "XDG_STATE_HOME": str(folder / "state"),
        "XDG_DATA_HOME": str(folder / "data"),
    }


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "xtalgo", *arguments]


@contextmanager
def server(folder: Path) -> Iterator[str]:
    """A server of its own process, its clock twenty times as fast; the address of its socket."""
    serving = subprocess.Popen(
        command("serve", "--port", "0", "--json", "--speed", "20"),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env=environment(folder),
        cwd=folder,
        text=True,
    )
    assert serving.stdout is not None
    try:
        found = re.search(r"ws://[^\"]+", serving.stdout.readline())
        assert found is not None
        yield found[0]
    finally:
        serving.kill()
        serving.wait()
        serving.stdout.close()


def killed_after(folder: Path, seconds: float, *arguments: str) -> None:
    """A run that is killed so many seconds after its strategies began."""
    run = subprocess.Popen(
        command("run", "eager.py", *arguments),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment(folder),
        cwd=folder,
    )
    assert run.stdout is not None
    with run.stdout:
        shown = b""
        while b"the strategies run" not in shown:
            line = run.stdout.readline()
            assert line, shown.decode()
            shown += line
        try:
            run.wait(seconds)  # it must not have ended by itself
        except subprocess.TimeoutExpired:
            run.kill()
            run.wait()
        else:
            raise AssertionError((shown + run.stdout.read()).decode())


def kill_and_resume(folder: Path, seed: int, times: int) -> None:
    """A real process, killed ``times`` times; the last life ends flat, and the venue's list is the journal's."""
    dice = random.Random(seed)
    folder.mkdir(parents=True)
    write(folder, "eager.py", EAGER)
    with server(folder) as url:
        killed_after(folder, dice.uniform(0.2, 1.2), "--url", url, "--journal", "run.db")
        for _ in range(times - 1):
            killed_after(folder, dice.uniform(0.1, 1.0), "--url", url, "--resume", "run.db")
        last = subprocess.run(
            command("run", "eager.py", "--url", url, "--resume", "run.db", "--for", "1", "--on-stop", "flatten"),
            capture_output=True,
            text=True,
            env=environment(folder),
            cwd=folder,
            check=False,
            timeout=60,
        )
        assert last.returncode == 0, last.stdout + last.stderr
        assert "flat: no position, no working order" in last.stdout
        assert "somebody else moved" not in last.stdout
        there = trio.run(listed, url)
    verdict = verify(folder / "run.db")
    assert verdict.difference is None, str(verdict.difference)
    assert 1 < verdict.lives <= times + 1  # one that died before its first commit was none
    with read(folder / "run.db") as reader:
        orders = {order.id: order for order in reader.orders()}
    assert there
    assert len(there) == len(set(there))
    assert set(there) <= set(orders)
    assert all(order.is_done for order in orders.values())


async def listed(url: str) -> list[str]:
    """Ids of all orders that the venue knows."""
    async with RestClient(url, "demo") as client:
        return [row.order_id for row in (await client.call("ListOrders", account="Sim101")).value]


def test_a_killed_process(tmp_path: Path) -> None:
    kill_and_resume(tmp_path / "one", 1, 3)


@pytest.mark.long
@pytest.mark.timeout(3_600)
def test_processes_killed_two_hundred_times(tmp_path: Path) -> None:
    for seed in range(50):
        kill_and_resume(tmp_path / str(seed), seed, 4)
