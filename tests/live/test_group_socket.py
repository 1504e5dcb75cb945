"""A group over a client of the socket: the same calls and ends, and a session that another client takes over."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
from live.venues import World, world_of
from tables import table

from xtalgo import Latency, ReplaySettings
from xtalgo.client.calls import End
from xtalgo.client.group import MemberReport, carry_out, plan_group
from xtalgo.live.client import Client, open_client

pytestmark = pytest.mark.trio

ACCOUNTS = ("Sim101", "Sim102", "Sim103")
ORDER = {"instrument": "ES", "action": "BUY", "orderType": "MARKET", "quantity": 1, "timeInForce": "GTC"}


@asynccontextmanager
async def connected(entry_ms: int = 250) -> AsyncIterator[tuple[World, Client]]:
    settings = ReplaySettings(accounts=ACCOUNTS, latency=Latency(entry=entry_ms * 1_000_000, report=0))
    world = world_of(table([4800.0] * 300), settings=settings)
    async with world.open(), open_client(world.dial(), clock=world.clock) as client:
        await trio.sleep(12)
        yield world, client


async def test_all_accounts_and_back(autojump_clock) -> None:
    async with connected() as (world, client):
        plan = plan_group("PlaceOrder", ACCOUNTS, ORDER, {"Sim103": {"quantity": 2}}, tokens=client.tokens)
        assert plan.forecast.at_once == 3
        assert (await carry_out(plan, client.call)).is_complete
        await trio.sleep(3)
        held = await client.get_all_positions()
        closing = plan_group("ClosePosition", ACCOUNTS, {"instrument": "ES"}, positions=held)
        assert closing.accounts == ("Sim103", "Sim101", "Sim102")
        assert (await carry_out(closing, client.call)).is_complete
        await trio.sleep(3)
        assert not [row for row in await client.get_all_positions() if row.net]
        assert len(world.server.venue.orders) == 6


async def test_another_client_takes_over_in_the_middle(autojump_clock) -> None:
    async with connected(entry_ms=1_000) as (world, client):
        told: list[MemberReport] = []
        plan = plan_group("PlaceOrder", ACCOUNTS, ORDER)
        async with trio.open_nursery() as nursery:

            @nursery.start_soon
            async def rival() -> None:
                await trio.sleep(1.5)  # the first is done, the second is under way
                await world.dial()()

            report = await carry_out(plan, client.call, told=told.append)
            nursery.cancel_scope.cancel()
        assert [member.end for member in report.members] == [End.DONE, End.UNKNOWN, End.NOT_DONE]
        assert report.needs_a_look == ("Sim102",)
        assert report.is_diverged
        assert list(report.members) == told
        await trio.sleep(3)
        # It had come to the venue, or not: in no case is it there twice, and the third is not there.
        accounts = [order.account for order in world.server.venue.orders]
        assert accounts.count("Sim102") <= 1
        assert "Sim103" not in accounts
        # Nothing that reduces leaves either, and it says so.
        report = await carry_out(plan_group("Flatten", ACCOUNTS, {}), client.call)
        assert not report.of(End.DONE)
        assert not report.is_complete
