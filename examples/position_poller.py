"""Tells when a position of any account changes, whoever changed it.

    python examples/position_poller.py [SECONDS]

One request each time for all accounts together, out of 180 a minute. Without XTRADE_TOKEN it runs against a server in
this process, and trades there once so that there is something to see. Ctrl-C ends it.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import trio

import xtalgo


async def main(seconds: float) -> None:
    async with xtalgo.connect() as venue:
        if venue.is_demo:
            await venue.place_order((await venue.list_accounts())[0].name, "ES", "BUY", 2)
        known: dict[tuple[str | None, str], int] = {}
        poller = venue.every(seconds, venue.get_all_positions)
        async for rows in poller:
            held = {(row.account, row.instrument): row.net for row in rows if row.net}
            for account, instrument in sorted(held.keys() | known.keys(), key=str):
                before, after = known.get((account, instrument), 0), held.get((account, instrument), 0)
                if before != after:
                    print(f"{account}: {instrument} went from {before:+d} to {after:+d}")
            known = held


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        trio.run(main, float(sys.argv[1]) if len(sys.argv) > 1 else 2.0)
