"""The venue of a demo: a server of our own over an endless synthetic market, for whoever has no account."""

from __future__ import annotations

from collections.abc import Sequence

from xtalgo.app.config import Settings
from xtalgo.model.types import Ns
from xtalgo.sim.feeds import SyntheticFeed
from xtalgo.sim.fills import Latency
from xtalgo.sim.server import SimServer

__all__ = ["demo_venue"]


def demo_venue(settings: Settings, accounts: Sequence[str], token: str, now: Ns) -> SimServer:
    """A server whose market begins at ``now`` and never closes."""
    replay, contracts = settings.replay, settings.contracts
    return SimServer(
        SyntheticFeed(settings.live.seed, contracts, now, always_open=True),
        token=token,
        accounts=accounts,
        contracts=contracts,
        fills=replay.fills,
        latency=Latency(entry=replay.latency.entry, report=0),
        fees=replay.fees,
    )
