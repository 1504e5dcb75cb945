"""Flattens an account when its P&L falls too far below its peak, and sees that it is flat.

    python examples/drawdown_guard.py ACCOUNT DOLLARS

It watches whoever trades the account, by hand or by program, and ends once it has acted. A run of a strategy has the
same guard inside it (`--trailing-drawdown`), where it costs no connection of its own; this one is for accounts that no
strategy of yours trades. Without XTRADE_TOKEN it runs against a server in this process, where it buys and waits.
"""

from __future__ import annotations

import sys
from contextlib import suppress

import trio

import xtalgo


async def main(account: str, most: float) -> None:
    async with xtalgo.connect(accounts=[account]) as venue:
        if venue.is_demo:
            await venue.place_order(account, "ES", "BUY", 5)
        peak = float("-inf")
        async for pnl in venue.pnl(account):
            if pnl.realized is None or pnl.unrealized is None:
                raise SystemExit(f"the venue does not tell the P&L of {account}: nothing is guarded")
            now = pnl.realized + pnl.unrealized
            peak = max(peak, now)
            print(f"{account}: {now:,.2f}, {peak - now:,.2f} below its peak, at most {most:,.2f}")
            if peak - now >= most:
                await make_flat(venue, account)
                return


async def make_flat(venue: xtalgo.Client, account: str) -> None:
    """Flatten until the venue has shown, twice, that nothing is held and nothing works."""
    flattened, seen_flat = float("-inf"), 0
    while seen_flat < 2:
        try:
            # Not before the last one had its time: two closes of one position would turn it round.
            if not seen_flat and trio.current_time() >= flattened + 5:
                print(f"{account}: flattening")
                flattened = trio.current_time()
                await venue.flatten(account)
            # Orders before positions: one that fills in between shows up in the second list.
            orders = await venue.list_orders(account)
            positions = await venue.list_positions(account)
            is_flat = all(row.state.is_done for row in orders) and not any(row.net for row in positions)
            seen_flat = seen_flat + 1 if is_flat else 0
        except (xtalgo.NotSent, xtalgo.OutcomeUnknown, xtalgo.VenueError, xtalgo.RemoteProtocolError) as error:
            print(f"{account}: {error}")
            seen_flat = 0
        await trio.sleep(1)
    print(f"{account}: flat, seen twice")


if __name__ == "__main__":
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    with suppress(KeyboardInterrupt):
        trio.run(main, sys.argv[1], float(sys.argv[2]))
