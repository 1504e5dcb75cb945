"""One account of ``pnlUpdate``, whose keys nobody outside has written down."""

from __future__ import annotations

from typing import Any, Final

from xtalgo.protocol.choices import PnlKeys, nested
from xtalgo.protocol.fields import number_of, short, some
from xtalgo.protocol.frames import WirePnl

__all__ = ["PNL_NAMES", "pnl_of"]

PNL_NAMES: Final = {
    "account": ("account", "name", "accountName", "accountId", "displayName"),
    "realized": ("realizedProfitLoss", "realizedPnl", "realizedPl", "realized"),
    "unrealized": ("unrealizedProfitLoss", "unrealizedPnl", "unrealizedPl", "unrealized", "openPnl"),
    "net_liquidation": ("netLiquidation", "netLiq", "netLiquidationValue"),
}
"""Keys under which ``pnlUpdate`` may tell each value, best first; case and underscores don't matter.

The real keys are unknown. The first of each are those of GetAccount, the short ones those of GetWatermarks. A bare
``pnl`` or ``total`` is left out: it could be realized or both, and a loss limit must not guess.
"""


def pnl_of(
    raw: dict[str, Any], faults: list[str] | None = None, where: str = "account", keys: PnlKeys | None = None
) -> WirePnl:
    """What an account's object in ``pnlUpdate`` tells: under ``keys`` where they are known, else by ``PNL_NAMES``.

    Where they are known nothing else is looked at: what is missing there is missing. Else values are looked for at the
    top level, then in ``item``, ``account`` and ``stats``, where GetAccount, the snapshot and the watermarks have them.
    """
    told = [] if faults is None else faults
    places = [raw]
    for name in ("item", "account", "stats"):
        if isinstance(inner := raw.get(name), dict):
            places.append(inner)
            if isinstance(deeper := inner.get("item"), dict):
                places.append(deeper)
    by_key = [{_fold(key): value for key, value in place.items()} for place in places]

    def look(what: str) -> Any:
        if keys is not None:
            path = getattr(keys, what)
            return None if path is None else nested(path, raw)
        for names in by_key:
            for name in PNL_NAMES[what]:
                value = names.get(name.lower())
                if value is not None and not isinstance(value, dict):
                    return value
        return None

    def money(what: str) -> float | None:
        value = look(what)
        number = number_of(value, f"{where}.{what}", told)
        if number is None and value is not None:
            told.append(f"{where}.{what}: {short(value)} is not a number")
        return number

    account = look("account")
    if account is None:
        told.append(f"{where}: no account name; it has {short(list(raw))}")
    elif not isinstance(account, str):
        account = some(account)
    return WirePnl(account, money("realized"), money("unrealized"), money("net_liquidation"), raw)


def _fold(key: str) -> str:
    return key.replace("_", "").lower()
