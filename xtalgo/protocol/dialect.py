"""What nobody outside knows about CrossTrade, as one value: a field for each unknown, a default for what we assume.

``xtalgo probe`` finds the fields out on a user's own simulator account, the simulated server speaks any of them, and
the client reads them. The defaults are what server and client do where nothing was found out.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import Attribute, field, fields, frozen

from xtalgo.model.errors import ConfigError
from xtalgo.protocol.arguments import nearest
from xtalgo.protocol.choices import (
    AccountsForm,
    Answer,
    BarLabel,
    CallerId,
    ChangeId,
    DuplicateId,
    Echo,
    EventBody,
    Events,
    FlatPosition,
    GrowingBar,
    Lifecycle,
    ListForm,
    PingReply,
    Place,
    PnlEcho,
    PnlEpoch,
    PnlKeys,
    Repeats,
    StrategyTag,
    UnknownInstrument,
    meant,
)

__all__ = ["FIELDS", "GROUPS", "Dialect", "plain", "values_of"]


_PNL_KEYS: Final = PnlKeys()

_PNL_SETS: Final = (
    _PNL_KEYS,
    PnlKeys("name", "item.realizedProfitLoss", "item.unrealizedProfitLoss", "item.netLiquidation"),
    PnlKeys(
        "account.name", "account.item.realizedProfitLoss", "account.item.unrealizedProfitLoss",
        "account.item.netLiquidation",
    ),
    PnlKeys("account", "realizedPnl", "unrealizedPnl", "netLiq"),
    PnlKeys("accountName", "realized_pnl", "unrealized_pnl", None),
    PnlKeys("name", "dayRealized", "openPnl", "stats.netliq"),
    PnlKeys(None, "realizedPnl", "unrealizedPnl", "netLiquidation"),
)  # fmt: skip
"""Key sets that are plausible, for servers and tests; a venue may have others."""


_NO_CLOSE_FRAME: Final = 1006
_QUOTE_KEYS: Final = ("open", "high", "low", "close", "quoteTime", "quoteTimeUtc", "epoch")

_KNOWN: Final[dict[str, tuple[Any, ...]]] = {
    "subscribe_word": ("subscribed", "ok", "success"),
    "unsubscribe_word": ("unsubscribed", "ok", "success"),
    "pnl_word": ("pnlStreaming", "subscribed", "ok"),
    "gateway_error": (Place.TOP, Place.DATA, Place.TYPED),
    "refusal_error": (Place.DATA, Place.TOP, Place.TYPED),
    "rate_error": (Place.TOP, Place.DATA, Place.TYPED),
    "rate_text": ("Rate limit exceeded", "rate_limited", "Too many requests, slow down"),
    "pnl_keys": _PNL_SETS,
    "pnl_floor": (100, 50, 250, 500, 1_000),
    "quote_keys": ((), ("open", "high", "low", "close"), ("quoteTimeUtc", "epoch"), _QUOTE_KEYS),
    "takeover_code": (4001, 1000, 1008, 4000, 4409, _NO_CLOSE_FRAME),
    "takeover_reason": ("Session active elsewhere", "", "Replaced by a newer connection"),
    "bad_token": (401, 403, 400),
}
"""Values that a field may have: all that it can where it is a choice, plausible ones where it is a name or number."""

_LONGEST: Final = 500
_RANGES: Final = {"pnl_floor": (1, 3_600_000), "takeover_code": (1000, 4999), "bad_token": (300, 599)}


def _reader(name: str, default: object) -> Callable[[object], Any]:
    """How a value of a field is read, from TOML or from code. It raises ConfigError without the field's name."""
    if isinstance(default, enum.StrEnum):
        return lambda value: _choice(type(default), values_of(name), value)
    if isinstance(default, PnlKeys):
        return PnlKeys.from_table
    if isinstance(default, tuple):
        return _names
    if isinstance(default, int):
        return lambda value: _whole(value, *_RANGES[name])
    return lambda value: _text(value, least=0 if name == "takeover_reason" else 1)


def _choice(kind: type[enum.StrEnum], values: tuple[Any, ...], value: object) -> enum.StrEnum:
    words = [str(known) for known in values]
    if isinstance(value, str) and value in words:
        return kind(value)
    close = nearest(value, words) if isinstance(value, str) else None
    raise ConfigError(f"one of {', '.join(map(repr, words))}, not {value!r}{meant(close)}")


def _names(value: object) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(part, str) and part for part in value):
        raise ConfigError(f"a list of names, not {value!r}")
    return tuple(value)


def _whole(value: object, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError(f"a whole number from {least} to {most}, not {value!r}")
    return value


def _text(value: object, *, least: int) -> str:
    if not isinstance(value, str) or not least <= len(value) <= _LONGEST:
        raise ConfigError(f"a text of {least} to {_LONGEST} characters, not {value!r}")
    return value


def _checked(_cls: type, attributes: list[Attribute[Any]]) -> list[Attribute[Any]]:
    """Give every field a converter whose errors name it."""

    def converter(name: str, inner: Callable[[object], Any]) -> Callable[[object], Any]:
        def read(value: object) -> Any:
            try:
                return inner(value)
            except ConfigError as error:
                raise ConfigError(f"dialect: {name} must be {error}") from None

        return read

    return [
        each
        if each.name == "settled"
        else each.evolve(converter=converter(each.name, _reader(each.name, each.default)))
        for each in attributes
    ]


# --- the dialect -----------------------------------------------------------------------------------------------------


@frozen(kw_only=True, field_transformer=_checked)
class Dialect:
    """One way in which CrossTrade may speak. The defaults are what we assume; ``settled`` names what was found out."""

    subscribe_word: str = "subscribed"
    """``status`` of the acknowledgment of ``subscribe``."""
    unsubscribe_word: str = "unsubscribed"
    """``status`` of the acknowledgment of ``unsubscribe``."""
    instrument_echo: Echo = Echo.NAMES
    """What these two repeat."""
    unknown_instrument: UnknownInstrument = UnknownInstrument.STATUS
    """What comes of subscribing to an instrument that there is not."""
    pnl_word: str = "pnlStreaming"
    """``status`` of the acknowledgment of ``streamPnl``."""
    pnl_echo: PnlEcho = PnlEcho.INTERVAL
    """What it repeats."""
    ping_reply: PingReply = PingReply.PONG
    """What ``ping`` is answered with."""

    gateway_error: Place = Place.TOP
    """Where the answer to a call that lacks an argument has its error."""
    refusal_error: Place = Place.DATA
    """Where the answer to a call that the venue turns down has its error."""
    rate_error: Place = Place.TOP
    """Where the answer to a call over the rate limit has its error."""
    rate_text: str = "Rate limit exceeded"
    """The error text of that answer."""
    unknown_api: Place = Place.TOP
    """Where the answer to a call of a function that there is not has its error."""
    unknown_action: Answer = Answer.ERROR
    """What comes of a frame with an ``action`` that there is not."""
    malformed: Answer = Answer.ERROR
    """What comes of a frame that is no JSON."""

    pnl_keys: PnlKeys = _PNL_KEYS
    """Where ``pnlUpdate`` tells account, realized and unrealized P&L and net liquidation."""
    pnl_epoch: PnlEpoch = PnlEpoch.MILLISECONDS
    """What its ``epoch`` counts."""
    pnl_floor: int = 100
    """The shortest interval of ``pnlUpdate`` in milliseconds; 50 also where none was found."""

    quote_repeats: Repeats = Repeats.ALWAYS
    """Whether quotes come that say what the ones before said."""
    quote_keys: tuple[str, ...] = ()
    """What a row of ``marketData`` has beside instrument, bid, ask, last and volume."""
    bar_label: BarLabel = BarLabel.END
    """Which end of its span the label of a bar names."""
    growing_bar: GrowingBar = GrowingBar.LEFT_OUT
    """Whether the newest bar of GetBars is the one under way."""

    caller_id: CallerId = CallerId.ID
    """What becomes of ``orderId`` at placing."""
    duplicate_id: DuplicateId = DuplicateId.REFUSED
    """What comes of a second order under the same; where it is ignored, always a second order."""
    change_id: ChangeId = ChangeId.KEPT
    """What becomes of an order's id when it is changed."""
    lifecycle: Lifecycle = Lifecycle.NONE
    """Name of the function that tells every state change of an order."""
    strategy_tag: StrategyTag = StrategyTag.REFUSED
    """What PlaceOrder makes of ``strategy_tag``."""

    events: Events = Events.NONE
    """How events of NinjaTrader accounts are subscribed to."""
    event_body: EventBody = EventBody.KEY
    """Where such an event has its row."""

    accounts_form: AccountsForm = AccountsForm.OBJECTS
    """The body of ListAccounts."""
    orders_form: ListForm = ListForm.WRAPPED
    """The body of ListOrders and GetAllOrders."""
    flat_position: FlatPosition = FlatPosition.ROW
    """What GetPosition answers when nothing is held."""

    takeover_code: int = 4001
    """Close code of the connection that loses against a newer one; 1006 where it ends without a close frame."""
    takeover_reason: str = "Session active elsewhere"
    """Its close reason (documented)."""
    bad_token: int = 401
    """HTTP status of a handshake with a wrong token."""

    settled: frozenset[str] = field(default=frozenset(), eq=False, repr=False)
    """Names of the fields that were found out at the venue; the others are assumed."""

    def __attrs_post_init__(self) -> None:
        for name in self.settled:
            _check_name(name)

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Dialect:
        """From plain values by name, as a file has them; these count as settled. Raises ConfigError."""
        for name in table:
            _check_name(name)
        return cls(**table, settled=frozenset(table))

    def confirms(self, *names: str) -> bool:
        """Whether all of these fields were found out at the venue."""
        return self.settled.issuperset(names)


def _check_name(name: str) -> None:
    if name not in FIELDS:
        close = nearest(str(name), FIELDS)
        hint = meant(close) if close else f"; there are {', '.join(FIELDS)}"
        raise ConfigError(f"dialect: there is no {name!r}{hint}")


FIELDS: Final[tuple[str, ...]] = tuple(each.name for each in fields(Dialect) if each.name != "settled")
"""The names of all unknowns."""

_FIRST: Final = {
    "Acknowledgments": "subscribe_word",
    "Errors": "gateway_error",
    "P&L": "pnl_keys",
    "Quotes and bars": "quote_repeats",
    "Orders": "caller_id",
    "Events": "events",
    "Bodies": "accounts_form",
    "Connection": "takeover_code",
}


def _grouped() -> dict[str, tuple[str, ...]]:
    starts = [FIELDS.index(name) for name in _FIRST.values()]
    return {group: FIELDS[a:b] for group, a, b in zip(_FIRST, starts, [*starts[1:], None], strict=True)}


GROUPS: Final[Mapping[str, tuple[str, ...]]] = _grouped()
"""The same by what they are about."""


def values_of(name: str) -> tuple[Any, ...]:
    """What a field may be, the default first: every value of a choice, some plausible ones of a name or a number."""
    if name in _KNOWN:
        return _KNOWN[name]
    default: enum.StrEnum = getattr(fields(Dialect), name).default
    return (default, *(value for value in type(default) if value is not default))


def plain(value: object) -> Any:
    """A field's value as a file has it."""
    if isinstance(value, PnlKeys):
        return value.table()
    return list(value) if isinstance(value, tuple) else str(value) if isinstance(value, enum.StrEnum) else value
