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
from live.probing import is_flat, probed, visible, world_for

from xtalgo.client.probing.dealing import Untidy
from xtalgo.live.prober import Prober
from xtalgo.model.errors import AuthError, ConfigError, NoConnection
from xtalgo.protocol.choices import CallerId, Echo, Events, PnlEcho
from xtalgo.protocol.dialect import FIELDS, Dialect, values_of

BARS = ("bar_label", "growing_bar")


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
    assert prober.probe.findings.facts[name].value == value
    assert flat


@pytest.mark.parametrize("number", range(MOST))
def test_everything_that_can_be_seen_is_settled(number: int) -> None:
    prober, _, server = covering(number)
    found = prober.probe.findings
    assert {name: fact.value for name, fact in found.facts.items()} == visible(server.dialect)
    assert set(found.facts) | set(found.unsettled) == set(FIELDS)
    assert all(found.unsettled.values())


@settings(max_examples=12, deadline=None)
@given(st.builds(Dialect, **{name: st.sampled_from(values_of(name)) for name in FIELDS}))
def test_any_dialect_is_found_out(dialect: Dialect) -> None:
    prober, flat, _ = run(dialect)
    assert {name: fact.value for name, fact in prober.probe.findings.facts.items()} == visible(dialect)
    assert flat
