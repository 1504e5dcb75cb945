"""Runs that begin in an account in which somebody else holds something, and runs that are halted from outside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import httpx
import pytest
import trio
from app.liveruns import SERVER, TOKEN, Bracketed, Life, conduct, later, life
from app.support import write
from app.test_verify import TRADER, crashed, kept, same
from tables import START

from xtalgo.app import liverun
from xtalgo.app.exits import NotFlat
from xtalgo.app.haltfile import HaltFile
from xtalgo.app.operator import OperatorClient
from xtalgo.live.server import application

ES = "ES 06-26"
SECOND = 1_000_000_000


def by_hand(one: Life, verb: str = "place", **body: Any) -> None:
    """Somebody else calls the venue."""
    text = json.dumps({"instrument": "ES", "action": "BUY", "orderType": "MARKET", "timeInForce": "GTC", **body})
    now = START if one.world.nursery is None else one.run.clock.now()
    one.world.server.request(TOKEN, "POST", f"/v1/api/accounts/Sim101/{verb}", {}, text.encode(), now)


def theirs(quantity: int = 3, **how: Any) -> Life:
    """A run that has not begun, in an account that holds something."""
    one = life(target=SERVER, **how)
    by_hand(one, "orders/place", quantity=quantity)
    one.world.server.advance(START + 2 * SECOND)
    one.world.server.outputs()
    return one


def at_venue(one: Life) -> int:
    return one.world.server.venue.ledger.account_position("Sim101", ES)


class Owner(Bracketed):
    """Remembers what it owned at its start."""

    def on_start(self) -> None:
        super().on_start()
        self.owned = self.position(self.instrument)


async def test_wait_flat_says_why_and_goes_on_once_the_account_agrees(autojump_clock) -> None:
    one = theirs(duration=150)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(later, 75, lambda: by_hand(one, "orders/place", quantity=3, action="SELL"))
        await conduct(one)
    waiting = [news.ts for news in one.heard.of("notice") if "no entries while the account holds" in news.text]
    assert len(waiting) == 2
    assert 59 * SECOND < waiting[1] - waiting[0] < 62 * SECOND
    assert f"what is not this run's: Sim101 +3 {ES}" in "\n".join(one.heard.texts)
    assert one.engine.denials["external"] == 2
    assert one.engine.blotter.fills == []
    assert one.engine.liaison.others.offsets == {}
    assert at_venue(one) == 0


async def test_keep_trades_beside_it_and_flatten_leaves_it(autojump_clock) -> None:
    one = theirs(external="keep", on_stop="flatten")
    await conduct(one)
    assert len(one.engine.blotter.fills) == 2
    assert at_venue(one) == 3
    with pytest.raises(NotFlat, match=r"ES 06-26 \+3"):  # the account isn't, and it says so
        one.run.verdict()


async def test_adopt_gives_it_to_the_strategy(autojump_clock) -> None:
    owner = Owner()
    one = theirs(strategies=[owner], start_behavior="adopt", on_stop="flatten")
    await conduct(one)
    one.run.verdict()
    assert owner.owned == 3
    assert at_venue(one) == 0
    assert not one.engine.denials


async def test_what_was_adopted_survives_a_crash(autojump_clock, folder: Path) -> None:
    write(folder, "swing.py", TRADER.replace("every: int = 4", "every: int = 1000").replace("% 11", "% 1000"))
    with kept(folder, start_behavior="adopt") as one:
        by_hand(one, "orders/place", quantity=3)
        one.world.server.advance(START + 2 * SECOND)
        await crashed(one, 12)
        assert one.engine.notes[0].facts["position"] == 3
    with kept(folder, start_behavior="adopt", resume=True, on_stop="flatten") as two:
        two.world.host.server = two.world.server = one.world.server
        await conduct(two)
        two.run.verdict()
    assert two.engine.notes[0].facts["position"] == 3
    assert [decision[1] for decision in two.engine.decisions] == ["place"]
    assert at_venue(one) == 0
    assert same(folder / "run.db").lives == 2


async def test_what_was_theirs_survives_a_crash(autojump_clock, folder: Path) -> None:
    write(folder, "swing.py", TRADER)
    with kept(folder, external="keep") as one:
        by_hand(one, "orders/place", quantity=3, action="SELL")
        one.world.server.advance(START + 2 * SECOND)
        await crashed(one, 10)
        held = one.engine.ledger.account_position("Sim101", ES)
        assert held > 0
    with kept(folder, external="keep", resume=True, duration=60) as two:
        two.world.host.server = two.world.server = one.world.server
        await conduct(two)
    assert two.engine.liaison.others.offsets == {("Sim101", ES): -3}
    assert not [decision for decision in two.engine.decisions if decision[1] == "external"]
    assert two.engine.ledger.account_position("Sim101", ES) == at_venue(one) + 3
    assert same(folder / "run.db").lives == 2


async def test_flatten_closes_it_first(autojump_clock, monkeypatch: pytest.MonkeyPatch) -> None:
    one = theirs(start_behavior="flatten", strategies=[owner := Owner()])
    by_hand(one, "orders/place", quantity=1, orderType="LIMIT", limitPrice=100.0)
    by_hand(one, "orders/place", quantity=2, instrument="MNQ")

    class Near(OperatorClient):
        def __init__(self, url: str, token: Any) -> None:
            super().__init__(url, token, transport=httpx.ASGITransport(application(one.world.host)))

    monkeypatch.setattr(liverun, "OperatorClient", Near)
    async with one.world.open():
        await one.run.flatten_first("ws://localhost/ws/stream", TOKEN)
        assert at_venue(one) == 0
        assert one.world.server.venue.working("Sim101") == []
        await one.run.conduct(one.world.dial(TOKEN))
    assert owner.owned == 0
    assert not one.engine.denials
    assert len(one.engine.blotter.fills) == 1
    assert sorted(book.position for book in one.world.server.venue.books("Sim101") if book.position) == [1, 2]


@pytest.mark.parametrize(
    ("behavior", "paper", "flattens"), [("flatten", False, 1), ("flatten", True, 0), ("adopt", False, 0)]
)
async def test_only_a_venue_is_flattened_and_only_if_asked(
    monkeypatch: pytest.MonkeyPatch, behavior: str, paper: bool, flattens: int
) -> None:
    one = life(target=attrs.evolve(SERVER, is_paper=paper), start_behavior=behavior)
    called: list[str] = []

    async def note(_run: Any, name: str) -> None:
        called.append(name)

    monkeypatch.setattr(liverun.LiveRun, "flatten_first", lambda run, *_: note(run, "flatten"))
    monkeypatch.setattr(liverun.LiveRun, "conduct", lambda run, *_, **__: note(run, "conduct"))
    await one.run.main()
    assert called == ["flatten"] * flattens + ["conduct"]


# --- HALT ------------------------------------------------------------------------------------------------------------


async def test_a_halt_file_that_is_there_already_lets_nothing_out(autojump_clock, folder: Path) -> None:
    one = life()
    one.run._halt_file = HaltFile(folder / "HALT", clock=trio.current_time)
    one.run._halt_file.set()
    await conduct(one)
    assert one.engine.denials == {"halted": 2}
    assert one.world.server.venue.orders == []


async def test_a_halt_cancels_entries_and_keeps_positions_and_exits(autojump_clock, folder: Path) -> None:
    one = life(duration=30)
    halt = one.run._halt_file = HaltFile(folder / "HALT", clock=trio.current_time)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(later, 12, halt.set)
        await conduct(one)
    states = {order.key: str(order.state) for order in one.world.server.venue.orders}
    assert at_venue_of_demo(one) == 1
    roles = {order.role: states[order.id] for order in one.engine.blotter.orders.values() if order.limit_price is None}
    assert roles["stop_loss"] == "Accepted"
    limits = [order for order in one.engine.blotter.orders.values() if order.limit_price is not None]
    assert [states[order.id] for order in limits] == ["Cancelled"]
    assert any("positions keep their exits" in text for text in one.heard.texts)


def at_venue_of_demo(one: Life) -> int:
    return one.world.server.venue.ledger.account_position("Demo101", ES)
