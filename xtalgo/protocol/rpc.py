"""The table of CrossTrade's functions: arguments, REST route, urgency, reply, and how sure each of these is.

All functions of the reference are here: 34 of NinjaTrader's route, one alias, and two lists of Tradovate's. The table
is data: ``for spec in TABLE`` walks it in the reference's order, and documentation is generated from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from attrs import field, frozen

from xtalgo.model.errors import ConfigError
from xtalgo.protocol.arguments import nearest
from xtalgo.protocol.functions import account_functions, order_functions, other_functions, position_functions
from xtalgo.protocol.spec import Lane, RpcSpec

__all__ = ["TABLE", "Lane", "RpcSpec", "Table"]

_MISNAMED: Final = {
    "ChangeOrder": "Change",
    "ModifyOrder": "Change",
    "GetMarketInfo": "MarketInfo",
    "GetAccounts": "ListAccounts",
    "GetPositions": "ListPositions",
    "GetOrders": "ListOrders",
    "GetExecutions": "ListExecutions",
    "GetFills": "ListExecutions",
    "GetHistoricalBars": "GetBars",
    "CancelAndReplace": "CancelReplace",
    "ReplaceOrder": "CancelReplace",
    "FlattenPosition": "Flatten",
    "FlattenAll": "Flatten",
}
"""Names that titles of pages and other APIs suggest, which spelling alone would lead astray."""


@frozen
class Table:
    """All functions, in the reference's order; ``table[name]`` looks one up by name or alias."""

    specs: tuple[RpcSpec, ...]
    _by_name: dict[str, RpcSpec] = field(init=False, repr=False, eq=False)

    def __attrs_post_init__(self) -> None:
        by_name = {name: spec for spec in self.specs for name in (spec.name, *spec.aliases)}
        object.__setattr__(self, "_by_name", by_name)

    def __iter__(self) -> Iterator[RpcSpec]:
        return iter(self.specs)

    def __len__(self) -> int:
        return len(self.specs)

    def __contains__(self, name: object) -> bool:
        return name in self._by_name

    def __getitem__(self, name: str) -> RpcSpec:
        """The function of that exact name or alias. Raises ConfigError that offers the nearest name."""
        spec = self._by_name.get(name) if isinstance(name, str) else None
        if spec is not None:
            return spec
        folded = {wrong.casefold(): right for wrong, right in _MISNAMED.items()}
        close = folded.get(str(name).casefold()) or nearest(str(name), self._by_name)
        hint = f"; did you mean {close}?" if close else "; `xtalgo rpc --list` shows all"
        raise ConfigError(f"there is no function {name!r}{hint}")


TABLE: Final = Table((*account_functions(), *position_functions(), *order_functions(), *other_functions()))
"""Every function we know of."""
