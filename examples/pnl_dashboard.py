"""P&L, positions and working orders of every account, in the terminal, once a second.

    python examples/pnl_dashboard.py

P&L is pushed and free; positions and orders are asked for every five seconds, one request each for all accounts.
Without XTRADE_TOKEN it runs against a server in this process, and trades there once. Ctrl-C ends it.
"""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import trio
from rich.live import Live
from rich.table import Table

import xtalgo


class Dashboard:
    """What is known, and the table that shows it."""

    def __init__(self) -> None:
        self.pnl: dict[str, xtalgo.AccountPnl] = {}
        self.held: dict[str, list[str]] = {}
        self.working: Counter[str] = Counter()

    async def follow_pnl(self, venue: xtalgo.Client) -> None:
        async for pnl in venue.pnl():
            self.pnl[pnl.account] = pnl

    async def follow_positions(self, venue: xtalgo.Client) -> None:
        async for rows in venue.every(5, venue.get_all_positions):
            self.held = {}
            for row in rows:
                if row.net:
                    self.held.setdefault(row.account or "?", []).append(f"{row.net:+d} {row.instrument}")

    async def follow_orders(self, venue: xtalgo.Client) -> None:
        async for rows in venue.every(5, venue.get_all_orders):
            self.working = Counter(row.account or "?" for row in rows if not row.state.is_done)

    def table(self, venue: xtalgo.Client) -> Table:
        title = "connected" if venue.is_up else "NOT CONNECTED: these figures are old"
        table = Table("account", "realized", "open", "net liquidation", "positions", "orders", title=title)
        for account in sorted({*self.pnl, *self.held, *self.working}):
            pnl = self.pnl.get(account) or xtalgo.AccountPnl(0, account, None, None)
            table.add_row(
                account,
                money(pnl.realized),
                money(pnl.unrealized),
                money(pnl.net_liquidation),
                ", ".join(self.held.get(account, [])) or "flat",
                str(self.working[account]),
            )
        return table


def money(value: float | None) -> str:
    return "" if value is None else f"{value:,.2f}"


async def main() -> None:
    async with xtalgo.connect() as venue, trio.open_nursery() as nursery:
        if venue.is_demo:
            await venue.place_order((await venue.list_accounts())[0].name, "ES", "BUY", 2)
        dashboard = Dashboard()
        nursery.start_soon(dashboard.follow_pnl, venue)
        nursery.start_soon(dashboard.follow_positions, venue)
        nursery.start_soon(dashboard.follow_orders, venue)
        with Live(dashboard.table(venue), auto_refresh=False) as live:
            while True:
                await trio.sleep(1)
                live.update(dashboard.table(venue), refresh=True)


if __name__ == "__main__":
    with suppress(KeyboardInterrupt):
        trio.run(main)
