"""Keeps other accounts at the positions of one: a trade copier.

    python examples/mirror.py LEADER FOLLOWER [FOLLOWER ...]

Positions of all accounts are asked for every two seconds, one request each time. What followers lack is ordered for all
of them as one group: what reduces first, its cost in requests known before, each outcome told. Without XTRADE_TOKEN it
runs against a server in this process, where the leader buys once. Ctrl-C ends it, and leaves positions as they are.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import trio

import xtalgo

SETTLES = 6.0
"""Seconds that an order gets to show up as a position before it is believed missing; more than it takes, by far."""


async def main(leader: str, followers: Sequence[str]) -> None:
    async with xtalgo.connect(accounts=[leader, *followers]) as venue:
        if venue.is_demo:
            await venue.place_order(leader, "ES", "BUY", 2)
        resting: dict[tuple[str, str], float] = {}  # what was ordered lately is left alone until it has settled
        poller = venue.every(2, venue.get_all_positions)
        async for rows in poller:
            net = {(row.account or "", row.instrument): row.net for row in rows}
            for instrument in sorted({name for account, name in net if account in (leader, *followers)}):
                target = net.get((leader, instrument), 0)
                orders: dict[str, Any] = {}
                for follower in followers:
                    missing = target - net.get((follower, instrument), 0)
                    if missing and trio.current_time() >= resting.get((follower, instrument), 0):
                        action = "BUY" if missing > 0 else "SELL"
                        orders[follower] = {"action": action, "quantity": abs(missing), "orderId": venue.new_order_id()}
                if orders:
                    await send(venue, instrument, orders, rows)
                    settled = trio.current_time() + SETTLES
                    resting |= {(follower, instrument): settled for follower in orders}
            poller.latest()  # lists that were asked for before these orders left say nothing of them


async def send(venue: xtalgo.Client, instrument: str, orders: dict[str, Any], rows: Sequence[Any]) -> None:
    """One market order for each follower, as one group."""
    shared = {"instrument": instrument, "orderType": "MARKET", "timeInForce": "DAY"}
    plan = xtalgo.plan_group("PlaceOrder", args=shared, by_account=orders, positions=rows, contracts=venue.contracts)
    print(plan)
    print(await xtalgo.carry_out(plan, venue.call))


if __name__ == "__main__":
    if len(sys.argv) < 3:
        raise SystemExit(__doc__)
    with suppress(KeyboardInterrupt):
        trio.run(main, sys.argv[1], sys.argv[2:])
