"""Every function through our client against our server, over both roads: the documented keys, and a value of ours."""

from __future__ import annotations

import json
from typing import Any

import httpx
import pytest
from documented import CALLS, EXAMPLES, NOW, full, misfits
from live.venues import World, virtual_wall
from serving import at

from xtalgo.live.client import open_client
from xtalgo.live.clock import WallClock
from xtalgo.live.rest import RestClient
from xtalgo.live.server import application
from xtalgo.protocol.replies import Answer
from xtalgo.protocol.rpc import TABLE

ROADS = ("socket", "REST")


class Heard(RestClient):
    """A REST client that keeps the last body."""

    body = b""

    async def _send(self, *request: Any) -> httpx.Response:
        response = await super()._send(*request)
        self.body = response.content
        return response


async def made(api: str, road: str) -> tuple[Any, Answer[Any]]:
    """The body that came, and what our client makes of it."""
    busy = full()
    args = CALLS[api](busy)
    everything = TABLE[api].everywhere
    place = World(busy.server, WallClock(virtual_wall(at(NOW))))
    async with place.open():
        if road == "REST":
            transport = httpx.ASGITransport(application(place.host))
            async with Heard("ws://localhost/ws/stream", "secret", transport=transport) as client:
                answer = await client.call(api, everything=everything, **args)
                return json.loads(client.body), answer
        frames: list[dict[str, Any]] = []

        def tape(kind: str, _now: int, text: str | bytes) -> None:
            frames.extend([json.loads(text)] if kind == "frame" else [])

        async with open_client(place.dial("secret"), clock=place.clock, tape=tape) as client:
            answer = await client.call(api, everything=everything, **args)
        (reply,) = (frame for frame in frames if "id" in frame)
        return reply["data"], answer


@pytest.mark.parametrize("road", ROADS)
@pytest.mark.parametrize("api", CALLS)
async def test_the_reply_has_the_documented_keys_and_types(autojump_clock, api: str, road: str) -> None:
    body, answer = await made(api, road)
    assert list(misfits(body, EXAMPLES[api])) == []
    assert answer.faults == ()
    assert answer.is_complete
    assert answer.value is not None


def test_there_are_34_of_ninjatraders_and_two_of_tradovates() -> None:
    assert list(CALLS) == [spec.name for spec in TABLE]
    assert [spec.origin for spec in TABLE].count(None) == 34
    assert "CancelOrder" in TABLE
