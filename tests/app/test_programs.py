"""The programs in examples/ do what their first lines say, in virtual time, against a demo's own server."""

from __future__ import annotations

import importlib.util
import json
from contextlib import asynccontextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import trio
from live.venues import World, virtual_wall
from tables import START

import xtalgo
from xtalgo.app.config import load_settings
from xtalgo.app.demo import demo_venue
from xtalgo.live.client import open_client
from xtalgo.live.clock import WallClock

EXAMPLES = Path(__file__).parents[2] / "examples"
ORDERS = "/v1/api/accounts/Lead/orders/place"
PROGRAMS = sorted(EXAMPLES.glob("*.py"))


def load(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Stage:
    """Where ``xtalgo.connect`` leads in a test: one server for all connections."""

    def __init__(self, *accounts: str, faults: dict[str, Any] | None = None) -> None:
        server = demo_venue(load_settings({}), accounts or ("Demo101",), "demo", START)
        self.world = World(server, WallClock(virtual_wall(START)))
        if faults:
            self.world.storm(faults)

    @property
    def venue(self) -> Any:
        return self.world.server.venue

    @asynccontextmanager
    async def connect(self, **_how: Any):
        async with open_client(self.world.dial(), clock=self.world.clock) as client:
            client.is_demo = True
            yield client

    async def play(self, monkeypatch: pytest.MonkeyPatch, main: Any, *arguments: Any, seconds: float = 40) -> bool:
        """Run a program; whether it ended by itself."""
        monkeypatch.setattr(xtalgo, "connect", self.connect)
        async with self.world.open():
            with trio.move_on_after(seconds) as scope:
                await main(*arguments)
        return not scope.cancelled_caught


def held(stage: Stage, account: str) -> dict[str, int]:
    return {book.contract.name: book.position for book in stage.venue.books(account) if book.position}


async def test_listener(autojump_clock, monkeypatch, capsys) -> None:
    assert not await Stage().play(monkeypatch, load("listener").main, ["ES", "MNQ"])
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("ES 06-26: ") for line in lines) > 30
    assert sum(line.startswith("MNQ 06-26: ") for line in lines) > 30
    assert sum(line.startswith("Demo101: realized 0.0") for line in lines) > 30
    assert lines.count("Demo101 holds nothing") == 4


async def test_listener_goes_on_after_a_drop(autojump_clock, monkeypatch, capsys) -> None:
    stage = Stage(faults={"drop_at": [10, 20]})
    assert not await stage.play(monkeypatch, load("listener").main, ["ES"])
    lines = capsys.readouterr().out.splitlines()
    assert sum(line.startswith("ES 06-26: ") for line in lines) > 25
    assert stage.world.dials == 3


async def test_position_poller(autojump_clock, monkeypatch, capsys) -> None:
    assert not await Stage().play(monkeypatch, load("position_poller").main, 2.0)
    assert capsys.readouterr().out.splitlines() == ["Demo101: ES 06-26 went from +0 to +2"]


async def test_pnl_dashboard(autojump_clock, monkeypatch, capsys) -> None:
    stage = Stage("Demo101", "Demo102")
    assert not await stage.play(monkeypatch, load("pnl_dashboard").main)
    shown = capsys.readouterr().out
    assert "+2 ES 06-26" in shown
    assert "Demo102" in shown
    assert "flat" in shown
    assert "NOT CONNECTED" not in shown


async def test_drawdown_guard(autojump_clock, monkeypatch, capsys) -> None:
    stage = Stage("Sim9", "Sim10")
    assert await stage.play(monkeypatch, load("drawdown_guard").main, "Sim9", 50.0, seconds=3_600)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1] == "Sim9: flat, seen twice"
    assert lines.count("Sim9: flattening") == 1
    assert held(stage, "Sim9") == {}
    assert stage.venue.figures("Sim9").realized < 0


async def test_drawdown_guard_under_lost_replies(autojump_clock, monkeypatch, capsys) -> None:
    stage = Stage("Sim9", faults={"lose_reply": 0.3, "seed": 3})
    main = load("drawdown_guard").main

    async def guard() -> None:
        try:
            await main("Sim9", 50.0)
        except xtalgo.OutcomeUnknown:  # of the entry that the demo makes
            await main("Sim9", 50.0)

    assert await stage.play(monkeypatch, guard, seconds=3_600)
    assert capsys.readouterr().out.splitlines()[-1] == "Sim9: flat, seen twice"
    assert held(stage, "Sim9") == {}


async def test_mirror(autojump_clock, monkeypatch, capsys) -> None:
    stage = Stage("Lead", "Small", "Large")
    main = load("mirror").main

    async def mirror() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(main, "Lead", ["Small", "Large"])
            await trio.sleep(20)
            assert held(stage, "Small") == held(stage, "Large") == {"ES 06-26": 2}
            async with xtalgo.connect() as by_hand:  # it takes the mirror's socket, as CrossTrade would
                await by_hand.place_order("Lead", "ES", "SELL", 5)

    with pytest.raises(BaseExceptionGroup) as raised:
        await stage.play(monkeypatch, mirror)
    assert raised.group_contains(xtalgo.SessionTakenOver)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("PlaceOrder for 2 accounts: 2 requests")
    assert "PlaceOrder for 2 accounts: 2 done" in lines


async def test_mirror_follows_and_never_doubles(autojump_clock, monkeypatch, capsys) -> None:
    stage = Stage("Lead", "Small", "Large", faults={"lose_reply": 0.15, "delay_reply": [0.2, 3], "seed": 2})
    venue, main = stage.venue, load("mirror").main
    targets = []

    async def mirror() -> None:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self_healing)
            for action, quantity in (("SELL", 5), ("BUY", 3), ("BUY", 4), ("SELL", 4)):
                await trio.sleep(60)
                targets.append([held(stage, name) for name in ("Lead", "Small", "Large")])
                body = {"instrument": "ES", "action": action, "orderType": "MARKET", "quantity": quantity}
                text = json.dumps({**body, "timeInForce": "DAY"}).encode()
                stage.world.server.request("demo", "POST", ORDERS, {}, text, stage.world.clock.now())
            await trio.sleep(60)
            targets.append([held(stage, name) for name in ("Lead", "Small", "Large")])
            nursery.cancel_scope.cancel()

    async def self_healing() -> None:
        while True:
            try:
                await main("Lead", ["Small", "Large"])
            except xtalgo.OutcomeUnknown:  # of the entry that the demo makes
                continue

    assert await stage.play(monkeypatch, mirror, seconds=600)
    assert len(targets) == 5
    for lead, small, large in targets:
        assert lead == small == large
    bought = [fill.fill.quantity for fill in venue.executions]
    assert sum(bought) % 3 == 0, "what the leader traded, each follower traded once"


@pytest.mark.parametrize("file", PROGRAMS, ids=lambda file: file.stem)
def test_every_example_is_short_and_says_how_to_run_it(file: Path) -> None:
    text = file.read_text(encoding="utf-8")
    assert f"python examples/{file.name}" in text
    assert len(text.splitlines()) <= 100
    assert f"test_{file.stem}(" in Path(__file__).read_text(encoding="utf-8")
