"""Quotes, P&L and positions over one connection: the whole of CrossTrade's streaming example, on xtalgo.

    python examples/listener.py [ES MNQ ...]

Reconnecting, subscribing anew and the request budget are the connection's business. Without XTRADE_TOKEN it runs
against a server in this process, with a synthetic market. Ctrl-C ends it.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import trio

import xtalgo


async def main(instruments: list[str]) -> None:
    async with xtalgo.connect() as venue, trio.open_nursery() as nursery:
        account = (await venue.list_accounts())[0].name
        nursery.start_soon(show_quotes, venue, instruments)
        nursery.start_soon(show_pnl, venue)
        async for positions in venue.every(10, venue.list_positions, account):
            held = ", ".join(f"{row.net:+d} {row.instrument}" for row in positions)
            print(f"{account} holds {held or 'nothing'}")


async def show_quotes(venue: xtalgo.Client, instruments: list[str]) -> None:
    async for quote in await venue.quotes(*instruments):
        print(f"{quote.instrument}: {quote.bid} x {quote.ask}, last {quote.last}")


async def show_pnl(venue: xtalgo.Client) -> None:
    async for pnl in venue.pnl():
        print(f"{pnl.account}: realized {pnl.realized}, open {pnl.unrealized}")


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        trio.run(main, sys.argv[1:] or ["ES", "MNQ"])
