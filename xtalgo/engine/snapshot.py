"""An engine as observers see it."""

from __future__ import annotations

from collections.abc import Mapping

from attrs import frozen

from xtalgo.engine.ledger import PositionView
from xtalgo.engine.orders import Anomaly
from xtalgo.model.types import Ns

__all__ = ["Snapshot"]


@frozen
class Snapshot:
    """What observers see: frozen, and complete as of ``now``."""

    now: Ns
    positions: tuple[PositionView, ...]
    open_orders: tuple[str, ...]
    denials: Mapping[str, int]
    anomalies: tuple[Anomaly, ...]
