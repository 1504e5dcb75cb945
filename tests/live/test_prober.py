"""A probe of our own server finds out the dialect that it speaks, whatever that is, and leaves nothing behind."""

from __future__ import annotations

import json
import math
from functools import cache
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given, settings
from hypothesis import strategies as st
from live.probing import is_flat, probed, prober_on, visible, world_for

from xtalgo.client.probing.dealing import Untidy
from xtalgo.client.probing.plan import STEPS
from xtalgo.live.prober import Prober
from xtalgo.model.errors import AuthError, ConfigError, NoConnection
from xtalgo.protocol.choices import CallerId, Echo, Events, PnlEcho
from xtalgo.protocol.dialect import FIELDS, Dialect, values_of


def run(dialect: Dialect, faults: dict[str, Any] | None = None) -> tuple[Prober, bool, Any]:
    """One probe from its beginning to its end; whether the account was left flat, and the server."""
    world = world_for(dialect, faults)
    prober = trio.run(probed, world, clock=trio.testing.MockClock(autojump_threshold=0))
    return prober, is_flat(world), world.server


# --- every value of every field --------------------------------------------------------------------------------------

MOST = max(len(values_of(name)) for name in FIELDS)

_SHOWS = {
    "subscribe_word": {"instrument_echo": Echo.NAMES},
    "unsubscribe_word": {"instrument_echo": Echo.NAMES},
    "pnl_word": {"pnl_echo": PnlEcho.INTERVAL},
    "event_body": {"events": Events.NT8},
    "duplicate_id": {"caller_id": CallerId.ID},
    "takeover_reason": {"takeover_code": 4001},
    "unknown_instrument": {"instrument_echo": Echo.NAMES},
}
"""What else must be so for a field to be seen at all."""


@cache
def covering(number: int) -> tuple[Prober, bool, Any]:
    """One of a few dialects that have every value of every field among them."""
    return run(Dialect(**{name: values_of(name)[number % len(values_of(name))] for name in FIELDS}))


@cache
def alone(name: str, number: int) -> tuple[Prober, bool, Any]:
    return run(Dialect(**{**_SHOWS[name], name: values_of(name)[number]}))


@pytest.mark.parametrize(("name", "number"), [(name, k) for name in FIELDS for k in range(len(values_of(name)))])
def test_every_value_of_every_field_is_found_out(name: str, number: int) -> None:
    value = values_of(name)[number]
    prober, flat, server = alone(name, number) if name in _SHOWS else covering(number)
    assert getattr(server.dialect, name) == value
    fact = prober.probe.findings.facts[name]
    assert fact.value == value
    assert fact.seen or fact.doubt, "how it was seen"
    assert flat


@pytest.mark.parametrize("number", range(MOST))
def test_everything_that_can_be_seen_is_settled(number: int) -> None:
    prober, _, server = covering(number)
    found = prober.probe.findings
    assert {name: fact.value for name, fact in found.facts.items()} == visible(server.dialect)
    assert set(found.facts) | set(found.unsettled) == set(FIELDS)
    assert all(found.unsettled.values())


@pytest.mark.parametrize("label", values_of("bar_label"))
@pytest.mark.parametrize("growing", values_of("growing_bar"))
@pytest.mark.parametrize("seconds", [0, 21, 33, 50])
def test_bars_are_told_apart_at_any_moment_of_a_minute(label: str, growing: str, seconds: int) -> None:
    """Two of the four have the same newest label: what tells them apart is whether that bar moves."""
    world = world_for(Dialect(bar_label=label, growing_bar=growing))

    async def wait_and_probe() -> Prober:
        prober = prober_on(world, steps=[step for step in STEPS if step.name == "bars"])
        await trio.sleep(seconds)
        return await probed(world, prober)

    prober = trio.run(wait_and_probe, clock=trio.testing.MockClock(autojump_threshold=0))
    found = prober.probe.findings.dialect()
    assert (found.bar_label, found.growing_bar) == (label, growing)
    assert found.confirms("bar_label", "growing_bar")


@settings(max_examples=8, deadline=None)
@given(st.builds(Dialect, **{name: st.sampled_from(values_of(name)) for name in FIELDS}))
def test_any_dialect_is_found_out(dialect: Dialect) -> None:
    prober, flat, _ = run(dialect)
    assert {name: fact.value for name, fact in prober.probe.findings.facts.items()} == visible(dialect)
    assert flat


# --- when things go wrong --------------------------------------------------------------------------------------------


def rightly(prober: Prober, dialect: Dialect) -> None:
    """What was settled is so, and what was not has its reason."""
    found = prober.probe.findings
    told = visible(dialect)
    assert {name: fact.value for name, fact in found.facts.items()}.items() <= told.items()
    assert set(found.facts) | set(found.unsettled) == set(FIELDS)
    assert all(found.unsettled.values())


ROUGH: dict[str, dict[str, Any]] = {
    "drops": {"drop_at": [1.6, 2.4, 5, 12, 33.1, 34.2, 35.5, 39, 42.1, 43]},
    "drops often": {"drop_every": 9},
    "closes": {"close_at": [[2, 1012, "restart"], [33, 1012, "restart"], [41, 1012, "restart"]]},
    "lost replies": {"lose_reply": 0.15, "seed": 3},
    "lost requests": {"lose_request": 0.15, "seed": 4},
    "late replies": {"delay_reply": [0.3, 3]},
    "double replies": {"double_reply": 0.5},
    "rate refusals": {"rate_refusal": 0.2},
    "late rows": {"late_rows": 4},
    "slow cancels": {"slow_cancel": 3},
    "rejected orders": {"reject_order": 0.5},
    "garbage": {"garbage": 0.3},
    "add-on away": {"addon_offline": [[30, 50]]},
    "silence": {"silence": [[3, 40]]},
    "everything": {"drop_every": 21, "lose_reply": 0.05, "rate_refusal": 0.05, "late_rows": 2, "slow_cancel": 1},
}


@pytest.mark.parametrize("spoken", ["as assumed", "otherwise"])
@pytest.mark.parametrize("name", ROUGH)
def test_in_rough_weather_it_errs_in_nothing_and_leaves_nothing(name: str, spoken: str) -> None:
    odd = {field: values_of(field)[1] for field in FIELDS}
    dialect = Dialect() if spoken == "as assumed" else Dialect(**odd)
    prober, flat, _ = run(dialect, ROUGH[name])
    assert flat
    rightly(prober, dialect)
    assert len(prober.probe.findings.facts) >= 15


@pytest.mark.parametrize("seconds", [1.5, 8, 33.5, 34.5, 36, 37.5, 39.5, 42])
async def test_stopped_anywhere_it_leaves_nothing(seconds: float, autojump_clock: trio.testing.MockClock) -> None:
    """Ctrl-C at any step cancels what was placed."""
    dialect = Dialect(strategy_tag="locks", events="nt8", duplicate_id="second order")
    world = world_for(dialect)
    prober = prober_on(world)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(probed, world, prober)
        await trio.sleep(seconds)
        prober.stop()
    assert is_flat(world)
    assert prober.stopped
    rightly(prober, dialect)
    assert any("ended before" in why for why in prober.probe.findings.unsettled.values())


async def test_an_order_whose_answer_is_lost_is_waited_for(autojump_clock: trio.testing.MockClock) -> None:
    world = world_for(Dialect(caller_id="ignored"), {"late_rows": 6})
    prober = prober_on(world)

    async def lose() -> None:
        while not any("PlaceOrder" in frame for frame in world.frames):  # noqa: ASYNC110
            await trio.sleep(0.05)
        world.storm({"late_rows": 6, "lose_reply": 1.0})
        await trio.sleep(9)
        world.storm({"late_rows": 6})

    async with trio.open_nursery() as nursery:
        nursery.start_soon(lose)
        await probed(world, prober)
    assert len(world.server.venue.orders) >= 2
    assert is_flat(world)
    rightly(prober, world.server.dialect)


async def test_what_cannot_be_tidied_up_is_said(autojump_clock: trio.testing.MockClock) -> None:
    """The venue goes away for good with an order of ours in it."""
    world = world_for(Dialect())
    prober = prober_on(world)

    async def leave() -> None:
        while not world.server.venue.orders:  # noqa: ASYNC110
            await trio.sleep(0.05)
        world.storm({"addon_offline": [[0, math.inf]]})
        await trio.sleep(30)
        prober.stop()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(leave)
        with pytest.raises(Untidy, match="look in NinjaTrader"):
            await probed(world, prober)


# --- at the door -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["objects", "names", "bare objects", "bare names"])
async def test_only_a_simulator_is_probed(form: str, autojump_clock: trio.testing.MockClock, monkeypatch) -> None:
    from xtalgo.sim import bodies

    whole = bodies.account_row
    monkeypatch.setattr(bodies, "account_row", lambda venue, name: {**whole(venue, name), "provider": "Rithmic"})
    world = world_for(Dialect(accounts_form=form))
    with pytest.raises(ConfigError, match="not known to be a simulator"):
        await probed(world)
    assert not any("PlaceOrder" in frame or "subscribe" in frame for frame in world.frames)


@pytest.mark.parametrize("kind", ["MARKET", "LIMIT"])
async def test_an_account_that_trades_is_left_alone(kind: str, autojump_clock: trio.testing.MockClock) -> None:
    world = world_for(Dialect())
    prober = prober_on(world)
    args = {"account": "Sim101", "instrument": "ES", "action": "BUY", "orderType": kind, "quantity": 1}
    args |= {"timeInForce": "GTC"} | ({"limitPrice": 4000.0} if kind == "LIMIT" else {})
    async with world.open():
        wire = await world.dial()()
        await wire.send(json.dumps({"action": "subscribe", "instruments": ["ES"]}))
        await trio.sleep(3)
        await wire.send(json.dumps({"action": "rpc", "id": "1", "api": "PlaceOrder", "args": args}))
        await trio.sleep(3)
        count = len(world.frames)
        with pytest.raises(ConfigError, match=r"holds \+1 ES 06-26" if kind == "MARKET" else "has 1 working order"):
            await prober.run()
    assert not any("PlaceOrder" in frame or "Cancel" in frame for frame in world.frames[count:])


async def test_a_name_that_is_no_account(autojump_clock: trio.testing.MockClock) -> None:
    world = world_for(Dialect())
    with pytest.raises(ConfigError, match="there is no account 'Sim1'; the venue has: Sim101"):
        await probed(world, prober_on(world, account="Sim1"))


async def test_a_token_that_is_refused(autojump_clock: trio.testing.MockClock) -> None:
    world = world_for(Dialect())
    with pytest.raises(AuthError, match="XTRADE_TOKEN"):
        await probed(world, prober_on(world, token="wrong"))


async def test_no_venue(autojump_clock: trio.testing.MockClock) -> None:
    world = world_for(Dialect(), {"reject_handshake": [503, 99]})
    with pytest.raises(NoConnection):
        await probed(world)


# --- what is sent, and what is shown ---------------------------------------------------------------------------------


def test_nothing_but_orders_far_below_the_market_ever_leaves() -> None:
    prober, _, _ = run(Dialect(strategy_tag="ignored", events="ninjatrader", duplicate_id="second order"))
    sent = [json.loads(note.text) for note in prober.notes if note.is_ours and note.text.endswith("}")]
    calls = [frame for frame in sent if frame.get("action") == "rpc"]
    orders = [frame["args"] for frame in calls if frame["api"] == "PlaceOrder"]
    assert len(orders) >= 5
    for order in orders:
        assert (order["action"], order["orderType"], order["quantity"], order["timeInForce"]) == (
            "BUY",
            "LIMIT",
            1,
            "DAY",
        )
        assert order["limitPrice"] < 0.81 * 4800
        assert order["limitPrice"] % 0.25 == 0
    allowed = {"PlaceOrder", "Cancel", "Change"}
    reads = ("List", "Get", "MarketInfo", "XtalgoProbe", "OrderLifecycle")
    assert all(frame["api"] in allowed or frame["api"].startswith(reads) for frame in calls)


def test_the_budget_is_kept_but_for_the_step_that_is_about_it() -> None:
    _, _, server = run(Dialect())
    assert 1 <= server.violations <= 5


async def test_no_account_of_somebody_is_shown(autojump_clock: trio.testing.MockClock) -> None:
    world = world_for(Dialect(pnl_keys=values_of("pnl_keys")[6]), accounts=("Sim101", "LFE0501-RealMoney", "Eval-77"))
    prober = await probed(world)
    told = json.dumps([note.text for note in prober.notes]) + repr(prober.probe.findings)
    for name in ("Sim101", "sim101", "LFE0501", "RealMoney", "Eval-77"):
        assert name not in told
    assert "ACCOUNT" in told


async def test_a_price_that_was_not_known_at_the_door_is_asked_for(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """NinjaTrader knows no price of an instrument that nobody had asked for."""
    world = world_for(Dialect(caller_id="alias"), begins=4)
    prober = await probed(world)
    assert prober.probe.findings.dialect().confirms("caller_id", "strategy_tag", "events")
    assert world.server.venue.orders
    assert is_flat(world)


async def test_without_any_price_no_order_is_placed(autojump_clock: trio.testing.MockClock) -> None:
    world = world_for(Dialect(), begins=3_000)
    prober = await probed(world)
    assert "no price" in prober.probe.findings.unsettled["caller_id"]
    assert not world.server.venue.orders


async def test_a_closed_market_leaves_some_for_later(autojump_clock: trio.testing.MockClock, monkeypatch) -> None:
    from xtalgo.sim import bodies

    whole = bodies.quote_body
    monkeypatch.setattr(bodies, "quote_body", lambda *args: {**whole(*args), "isMarketOpen": False})
    world = world_for(Dialect())
    prober = await probed(world)
    found = prober.probe.findings
    waiting = {name for name, why in found.unsettled.items() if why == "it waits for an open market"}
    assert {"quote_repeats", "caller_id", "strategy_tag", "events"} <= waiting
    assert {"takeover_code", "rate_text", "pnl_keys"} <= set(found.facts)
    assert not world.server.venue.orders
