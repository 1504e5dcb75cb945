"""Arguments, looked at before they are sent: a call that can't be right never leaves the house.

``check_args`` is for clients, ``check_call`` for servers: it leaves out what is only prudence of ours.
"""

from __future__ import annotations

import reprlib
from collections.abc import Mapping
from typing import Any, Final

from xtalgo.model.errors import ConfigError
from xtalgo.protocol.arguments import nearest
from xtalgo.protocol.rpc import TABLE, RpcSpec

__all__ = ["args_from_text", "check_args", "check_call"]

_LIMIT_TYPES: Final = ("LIMIT", "STOPLIMIT")
_STOP_TYPES: Final = ("STOPMARKET", "STOPLIMIT")

_MISNAMED: Final = {
    "qty": "quantity",
    "size": "quantity",
    "tif": "timeInForce",
    "side": "action",
    "type": "orderType",
    "price": "limitPrice",
    "symbol": "instrument",
    "ticker": "instrument",
    "oco": "ocoId",
    "accountid": "account",
    "accountname": "account",
    "clientorderid": "orderId",
    "id": "orderId",
}
"""Names that other APIs have for these, which spelling alone would not lead to."""


def check_args(name: str, args: Mapping[str, Any], *, everything: bool = False) -> dict[str, Any]:
    """The arguments as they should be sent: words in the documented spelling, None left out, numpy's numbers plain.

    Raises ConfigError, in one line that starts with the function's name. ``everything=True`` says that a function that
    acts on every account is meant to (FlattenEverything, CancelAllOrders). Flatten must name its account, since the
    venue takes an empty filter for all of them.
    """
    spec = TABLE[name]
    clean = check_call(spec, args)
    for needed in spec.must_name:
        if needed not in clean:
            raise ConfigError(f"{name}: name the {needed}; without any filter the venue closes every account")
    if spec.everywhere and not everything:
        raise ConfigError(f"{name}: acts on every account; pass everything=True if that is meant")
    kind = clean.get("orderType")
    for price, types in (("limitPrice", _LIMIT_TYPES), ("stopPrice", _STOP_TYPES)):
        if kind is not None and price in clean and kind not in types:
            raise ConfigError(f"{name}: {price} has no meaning for {kind}; leave it out, or use {' or '.join(types)}")
    return clean


def check_call(spec: RpcSpec, args: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments cleaned, by what the reference says of them and no more. Raises ConfigError as ``check_args``."""
    clean: dict[str, Any] = {}
    try:
        for name, value in args.items():
            known = spec.argument(name)
            if known is None:
                raise ConfigError(_unknown(name, spec))
            if value is not None:
                clean[name] = known.check(value)
        for argument in spec.args:
            if argument.required and argument.name not in clean:
                raise ConfigError(f"{argument.name} is missing")
        if spec.any_of and not any(name in clean for name in spec.any_of):
            raise ConfigError(f"give at least one of {', '.join(spec.any_of)}")
        if len(given := [name for name in spec.not_both if name in clean]) > 1:
            raise ConfigError(f"give {' or '.join(given)}, not both")
        kind = clean.get("orderType")
        for price, types in (("limitPrice", _LIMIT_TYPES), ("stopPrice", _STOP_TYPES)):
            if kind in types and price not in clean:
                raise ConfigError(f"{price} is missing, which {kind} needs")
    except ConfigError as error:
        raise ConfigError(f"{spec.name}: {error}") from None
    return clean


def args_from_text(name: str, texts: Mapping[str, str]) -> dict[str, Any]:
    """Arguments written as text, as on a command line or in a query string, as values of the right types.

    Raises ConfigError. What belongs together is for ``check_args`` to see.
    """
    spec = TABLE[name]
    values: dict[str, Any] = {}
    for key, text in texts.items():
        known = spec.argument(key)
        try:
            if known is None:
                raise ConfigError(_unknown(key, spec))
            values[key] = known.from_text(text)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from None
    return values


def _unknown(name: str, spec: RpcSpec) -> str:
    known = [argument.name for argument in spec.args]
    close = _MISNAMED.get(str(name).casefold())
    if close not in known:
        close = nearest(str(name), known)
    takes = f"it takes {', '.join(known)}" if known else "it takes none"
    return f"no argument {reprlib.repr(name)}; {f'did you mean {close}? ' if close else ''}{takes}"
