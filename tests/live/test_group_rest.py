"""A group over REST against the server: three accounts, one of which says no."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import pytest
import trio
from live.hosting import TOKEN, server_host

from xtalgo.client.calls import End
from xtalgo.client.group import carry_out, plan_group
from xtalgo.live.rest import RestClient
from xtalgo.live.server import application

pytestmark = pytest.mark.trio

ORDER = {"instrument": "ES", "action": "BUY", "orderType": "MARKET", "quantity": 1, "timeInForce": "GTC"}
ACCOUNTS = ("Sim101", "Sim102", "Sim103")


@asynccontextmanager
async def served(token: str = TOKEN) -> AsyncIterator[RestClient]:
    host = server_host(accounts=ACCOUNTS)
    transport = httpx.ASGITransport(application(host))
    async with host.running(), RestClient("ws://localhost/ws/stream", token, transport=transport) as client:
        yield client


async def positions(client: RestClient) -> Any:
    return (await client.call("GetAllPositions")).value


async def test_place_and_close_in_three_accounts(autojump_clock) -> None:
    async with served() as client:
        placed = await carry_out(plan_group("PlaceOrder", ACCOUNTS, ORDER, {"Sim102": {"quantity": 3}}), client.call)
        assert placed.is_complete
        assert [member.account for member in placed.members] == ["Sim101", "Sim103", "Sim102"]
        await trio.sleep(3)
        held = await positions(client)
        assert {row.account: row.net for row in held} == {"Sim101": 1, "Sim102": 3, "Sim103": 1}
        plan = plan_group("ClosePosition", ACCOUNTS, {"instrument": "ES"}, positions=held)
        assert plan.accounts == ("Sim102", "Sim101", "Sim103")
        assert all(call.exposure for call in plan.calls)
        closed = await carry_out(plan, client.call)
        assert closed.is_complete
        await trio.sleep(3)
        assert not await positions(client)


async def test_one_account_that_is_not_there(autojump_clock) -> None:
    async with served() as client:
        report = await carry_out(plan_group("PlaceOrder", ["Sim101", "Sim999", "Sim103"], ORDER), client.call)
        assert report.of(End.REFUSED) == ("Sim999",)
        assert report.is_diverged
        assert "Sim999  refused: PlaceOrder: " in str(report)


async def test_a_token_that_is_refused_stops_what_opens(autojump_clock) -> None:
    async with served("wrong") as client:
        report = await carry_out(plan_group("PlaceOrder", ACCOUNTS, ORDER), client.call)
        assert [member.end for member in report.members] == [End.REFUSED, End.NOT_DONE, End.NOT_DONE]
        report = await carry_out(plan_group("Flatten", ACCOUNTS, {}), client.call)
        assert [member.end for member in report.members] == [End.REFUSED] * 3
