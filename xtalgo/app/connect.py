"""A connection for a program of one's own: settings and token found as for a run, its lock held, its news told."""

from __future__ import annotations

import os
import secrets
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from typing import Any

import trio

from xtalgo.app.config import Settings, load_settings
from xtalgo.app.demo import demo_venue
from xtalgo.app.dialects import spoken
from xtalgo.app.venues import CROSSTRADE, TOKEN_VARIABLE, Kind, Target, choose
from xtalgo.client.caller import Notice
from xtalgo.live.client import Client, open_client
from xtalgo.live.clock import WallClock
from xtalgo.live.host import ServerHost
from xtalgo.live.leaves import leaf_of
from xtalgo.live.lock import SessionLock
from xtalgo.live.rest import RestClient
from xtalgo.live.server import serve
from xtalgo.live.wires import dialer
from xtalgo.model.errors import ConfigError

__all__ = ["connected", "connected_rest"]

Tell = Callable[[str], None]


def _aloud(text: str) -> None:
    sys.stderr.write(f"xtalgo: {text}\n")


def _found(
    url: str | None,
    token: str | None,
    token_file: str | None,
    config: str | None,
    accounts: Sequence[str],
    demo: bool,
) -> tuple[Settings, Target]:
    """Settings and target, by the rules of a run: without a token and a URL it is the demo."""
    environment = dict(os.environ)
    if token is not None:
        environment[TOKEN_VARIABLE] = token
    flags = {"url": url, "token_file": token_file}
    settings = load_settings(flags, accounts=tuple(accounts), config=config, environment=environment)
    return settings, choose(settings, environment, demo=demo, paper=False)


@asynccontextmanager
async def connected(
    url: str | None,
    token: str | None,
    token_file: str | None,
    config: str | None,
    accounts: Sequence[str],
    demo: bool,
    within: float,
    tell: Tell | None,
) -> AsyncIterator[Client]:
    """What ``xtalgo.connect`` is."""
    say = tell or _aloud
    settings, target = _found(url, token, token_file, config, accounts, demo)
    for warning in target.warnings:
        say(f"warning: {warning}")
    clock = WallClock()

    def tell_notice(notice: Notice) -> None:
        if notice.is_trouble:
            say(notice.text)

    async with AsyncExitStack() as stack:
        secret: Any = target.token
        where = target.url
        if target.kind is Kind.DEMO:
            say(f"DEMO: the market is SYNTHETIC, made up by a program, and so is {', '.join(target.accounts)}")
            secret = secrets.token_hex(16)
            where = await stack.enter_async_context(_own_server(settings, target, secret, clock))
        else:
            assert target.token is not None
            stack.enter_context(SessionLock(target.token))
        client = await stack.enter_async_context(
            open_client(
                dialer(where or CROSSTRADE, secret),
                contracts=settings.contracts,
                clock=clock,
                dialect=spoken(settings, target.url).dialect,
                within=within,
                tell=tell_notice,
            )
        )
        client.is_demo = target.kind is Kind.DEMO
        yield client


@asynccontextmanager
async def _own_server(settings: Settings, target: Target, token: str, clock: WallClock) -> AsyncIterator[str]:
    """A demo's server, in this process; the address of its socket."""
    try:
        async with trio.open_nursery() as nursery:
            host = ServerHost(demo_venue(settings, target.accounts, token, clock.now()), clock)
            await nursery.start(host.run)
            address = await nursery.start(partial(serve, host, port=0))
            yield address.ws
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise leaf_of(group) from None


@asynccontextmanager
async def connected_rest(
    url: str | None, token: str | None, token_file: str | None, config: str | None
) -> AsyncIterator[RestClient]:
    """What ``xtalgo.connect_rest`` is."""
    _, target = _found(url, token, token_file, config, (), demo=False)
    if target.token is None:
        raise ConfigError(
            f"there is no token: set {TOKEN_VARIABLE}, or give token= or token_file= (and url= for another server than "
            "CrossTrade, such as one of xtalgo serve)"
        )
    async with RestClient(target.url or CROSSTRADE, target.token) as client:
        yield client
