"""Probes of our own server, in virtual time over memory streams."""

from __future__ import annotations

from typing import Any

from live.venues import SECOND, World, virtual_wall
from tables import ES

from xtalgo import QuoteTable, ReplaySettings
from xtalgo.client.probing.script import Probe
from xtalgo.live.clock import WallClock
from xtalgo.live.prober import Prober
from xtalgo.model.errors import XtalgoError
from xtalgo.model.instruments import ContractBook
from xtalgo.protocol.choices import CallerId, DuplicateId, Echo, Events, PnlEcho, UnknownInstrument
from xtalgo.protocol.dialect import FIELDS, Dialect
from xtalgo.sim.faults import Faults
from xtalgo.sim.feeds import TableFeed
from xtalgo.sim.server import SimServer

START = 1_778_680_800_000_000_000
"""2026-05-13 14:00:00 UTC, a Wednesday."""


def calm(seconds: int, begins: int = -180) -> QuoteTable:
    """ES from three minutes before START on, a quote a second, of which every third says something new."""
    rows = range(seconds)
    bids = [4800.0 + (row // 3 % 7) * 0.25 for row in rows]
    stamps = [START + (row + begins) * SECOND for row in rows]
    asks, volumes = [bid + 0.25 for bid in bids], [10 * (row // 3) for row in rows]
    return QuoteTable.from_rows((ES,), [0] * seconds, stamps, bids, asks, bids, volumes)


def world_for(
    dialect: Dialect,
    faults: dict[str, Any] | None = None,
    *,
    accounts: tuple[str, ...] = ("Sim101",),
    begins: int = -180,
) -> World:
    contracts, settings = ContractBook(), ReplaySettings()
    server = SimServer(
        TableFeed(calm(3_600, begins), contracts),
        accounts=accounts,
        contracts=contracts,
        fills=settings.fills,
        latency=settings.latency,
        fees=settings.fees,
        faults=None if faults is None else Faults.from_table(faults),
        dialect=dialect,
    )
    return World(server, WallClock(virtual_wall(START)))


def prober_on(world: World, *, account: str = "sim101", token: str = "demo", **more: Any) -> Prober:
    probe = Probe(account, "ES", "xp1")
    return Prober(probe, world.dial(token), world.clock, wrong=world.dial("no-such-token"), **more)


async def probed(world: World, prober: Prober | None = None) -> Prober:
    """Probe the server of a world, to the end."""
    prober = prober or prober_on(world)
    failure: XtalgoError | None = None
    async with world.open():
        try:
            await prober.run()
        except XtalgoError as error:
            failure = error  # raised outside, where no nursery wraps it
    if failure is not None:
        raise failure
    return prober


def is_flat(world: World) -> bool:
    venue = world.server.venue
    return not any(venue.working(name) for name in venue.accounts) and not venue.executions


def visible(dialect: Dialect) -> dict[str, Any]:
    """What a probe can find out of a dialect: where one thing hides another, that other is not seen."""
    told = {name: getattr(dialect, name) for name in FIELDS}
    if dialect.instrument_echo is Echo.NO_ACK:
        del told["subscribe_word"], told["unsubscribe_word"]
        if dialect.unknown_instrument is UnknownInstrument.ACKED:
            told["unknown_instrument"] = UnknownInstrument.NOTHING
    if dialect.pnl_echo is PnlEcho.NO_ACK:
        del told["pnl_word"]
    if dialect.caller_id is CallerId.IGNORED:
        told["duplicate_id"] = DuplicateId.SECOND
    if dialect.events is Events.NONE:
        del told["event_body"]
    if dialect.takeover_code == 1006:
        told["takeover_reason"] = ""
    return told
