"""The way in for programs of one's own, outside a strategy.

What it takes to connect is loaded when it is first done: ``import xtalgo`` brings no socket along.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from xtalgo.live.client import Client
    from xtalgo.live.rest import RestClient

__all__ = ["connect", "connect_rest"]


def connect(
    url: str | None = None,
    *,
    token: str | None = None,
    token_file: str | None = None,
    config: str | None = None,
    accounts: Sequence[str] = (),
    demo: bool = False,
    within: float = 30.0,
    tell: Callable[[str], None] | None = None,
) -> AbstractAsyncContextManager[Client]:
    """A connection to the venue: every function as a typed method, streams, pollers.

    ::

        async with xtalgo.connect() as venue:
            print(await venue.list_positions("Sim101"))
            async for quote in await venue.quotes("ES", "MNQ"):
                print(quote)

    To be used in a trio program (``trio.run(main)``). Where it leads is decided as for ``xtalgo run``: ``demo=True`` is
    a server of our own in this process with a synthetic market; ``url``, or CrossTrade where there is a token (from
    ``token``, ``token_file``, or the variable ``XTRADE_TOKEN``); and with neither the demo, which says so. ``accounts``
    are the demo's (``Demo101`` unless told). CrossTrade allows one socket per user, so a second program with the same
    token on this machine is refused with ConfigError before it dials; ``connect_rest`` needs none.

    ``within`` is in seconds, for the first connection. ``tell`` hears lines for people, such as a link that dropped
    (default: standard error). Raises ConfigError, AuthError, NoConnection.
    """
    from xtalgo.app.connect import connected

    return connected(url, token, token_file, config, accounts, demo, within, tell)


def connect_rest(
    url: str | None = None,
    *,
    token: str | None = None,
    token_file: str | None = None,
    config: str | None = None,
) -> AbstractAsyncContextManager[RestClient]:
    """The same functions over REST: it never takes the socket from a run, and has no streams.

    There is no demo here: without a token it raises ConfigError. ``xtalgo serve`` gives you a server to point it at.
    """
    from xtalgo.app.connect import connected_rest

    return connected_rest(url, token, token_file, config)
