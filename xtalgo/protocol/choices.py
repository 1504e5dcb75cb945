"""The choices among which ``Dialect`` chooses: the ways in which CrossTrade may do what nobody outside has seen."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from attrs import fields, frozen

from xtalgo.model.errors import ConfigError
from xtalgo.protocol.arguments import nearest

__all__ = [
    "AccountsForm",
    "Answer",
    "BarLabel",
    "CallerId",
    "ChangeId",
    "DuplicateId",
    "Echo",
    "EventBody",
    "Events",
    "FlatPosition",
    "GrowingBar",
    "Lifecycle",
    "ListForm",
    "PingReply",
    "Place",
    "PnlEcho",
    "PnlEpoch",
    "PnlKeys",
    "Repeats",
    "StrategyTag",
    "UnknownInstrument",
    "meant",
    "nested",
]


class Echo(enum.StrEnum):
    """What an acknowledgment of instruments repeats."""

    NAMES = "names"
    """The names as they were asked for, under ``instruments``."""
    DATED = "dated"
    """The dated names that they stand for."""
    NOTHING = "nothing"
    """It has no names."""
    NO_ACK = "no acknowledgment"
    """There is no acknowledgment at all."""


class UnknownInstrument(enum.StrEnum):
    """What comes of subscribing to an instrument that there is not."""

    STATUS = "status"
    """``status`` error with an ``error`` text."""
    ERROR = "error"
    """An ``error`` without a status."""
    ACKED = "acknowledged"
    """An acknowledgment like any other."""
    NOTHING = "nothing"
    """No answer."""


class PnlEcho(enum.StrEnum):
    """What the acknowledgment of ``streamPnl`` repeats."""

    INTERVAL = "interval"
    """``enabled``, and the ``interval`` in force."""
    ENABLED = "enabled"
    """``enabled`` alone."""
    NOTHING = "nothing"
    """It has neither."""
    NO_ACK = "no acknowledgment"
    """There is no acknowledgment at all."""


class PingReply(enum.StrEnum):
    """What ``ping`` is answered with."""

    PONG = "pong"
    """``type`` pong."""
    STATUS = "status"
    """``status`` pong, as an acknowledgment."""
    NOTHING = "nothing"
    """No answer."""


class Place(enum.StrEnum):
    """Where the answer to a call has its error."""

    TOP = "top"
    """Beside the id: ``{"id":...,"error":...}``."""
    DATA = "data"
    """In the body: ``{"id":...,"data":{"success":false,"error":...}}``."""
    TYPED = "typed"
    """``{"type":"error","id":...,"message":...}``."""
    NOTHING = "nothing"
    """No answer."""


class Answer(enum.StrEnum):
    """What comes of a frame that makes no sense."""

    ERROR = "error"
    """``{"error":...}``."""
    STATUS = "status"
    """``{"status":"error","error":...}``."""
    TYPED = "typed"
    """``{"type":"error","message":...}``."""
    NOTHING = "nothing"
    """No answer."""
    CLOSE = "close"
    """The connection is closed."""


class PnlEpoch(enum.StrEnum):
    """What ``epoch`` of ``pnlUpdate`` counts."""

    MILLISECONDS = "milliseconds"
    SECONDS = "seconds"


class Repeats(enum.StrEnum):
    """Whether quotes come that say what the ones before said."""

    ALWAYS = "always"
    """Every subscribed instrument in every frame."""
    CHANGES = "changes"
    """Only what has changed; in a quiet market nothing comes."""


class BarLabel(enum.StrEnum):
    """Which end of its span the label of a bar of GetBars names."""

    END = "end"
    START = "start"


class GrowingBar(enum.StrEnum):
    """Whether the newest bar of GetBars is the one under way."""

    LEFT_OUT = "left out"
    INCLUDED = "included"


class CallerId(enum.StrEnum):
    """What becomes of ``orderId`` at placing."""

    ID = "id"
    """It is the order's id."""
    ALIAS = "alias"
    """The venue uses an id of its own, and still finds the order by the caller's."""
    IGNORED = "ignored"
    """The venue uses an id of its own, and knows no other."""


class DuplicateId(enum.StrEnum):
    """What comes of a second order under an ``orderId`` that is in use."""

    REFUSED = "refused"
    """It is refused."""
    SECOND = "second order"
    """A second order is placed, under an id of its own."""
    ACKED = "acknowledged"
    """The first order is acknowledged again; there is no second."""


class ChangeId(enum.StrEnum):
    """What becomes of an order's id when it is changed."""

    KEPT = "kept"
    NEW = "new"
    """It gets another; the old one still finds it."""


class Lifecycle(enum.StrEnum):
    """Name of the function that tells every state change of an order."""

    NONE = "none"
    """There is none on the socket."""
    GET_ORDER_LIFECYCLE = "GetOrderLifecycle"
    ORDER_LIFECYCLE = "OrderLifecycle"


class StrategyTag(enum.StrEnum):
    """What PlaceOrder makes of ``strategy_tag``."""

    REFUSED = "refused"
    """It refuses the order, as for any argument that it doesn't know."""
    IGNORED = "ignored"
    """It places the order, and the tag locks nothing."""
    LOCKS = "locks"
    """The tag claims the instrument in that account: orders under another tag are refused while it is traded."""


class Events(enum.StrEnum):
    """How events of NinjaTrader accounts are subscribed to."""

    NONE = "none"
    """There are none."""
    PLAIN = "plain"
    """``{"action":"subscribe","events":[...]}`` without an origin."""
    NT8 = "nt8"
    """With that ``origin``."""
    NINJATRADER = "ninjatrader"
    """With that ``origin``."""

    @property
    def origin(self) -> str | None:
        """The ``origin`` of such a subscription; None where it has none."""
        return self.value if self in (Events.NT8, Events.NINJATRADER) else None


class EventBody(enum.StrEnum):
    """Where a pushed event has its row."""

    KEY = "key"
    """Under ``order``, ``execution`` or ``position``."""
    DATA = "data"
    """Under ``data``."""
    FLAT = "flat"
    """Beside the head of the frame."""


class AccountsForm(enum.StrEnum):
    """The body of ListAccounts."""

    OBJECTS = "objects"
    """Objects under ``accounts``."""
    NAMES = "names"
    """Names under ``accounts``."""
    BARE_OBJECTS = "bare objects"
    """An array of objects."""
    BARE_NAMES = "bare names"
    """An array of names."""


class ListForm(enum.StrEnum):
    """The body of ListOrders and GetAllOrders."""

    WRAPPED = "wrapped"
    """Rows under ``orders``."""
    BARE = "bare"
    """An array of rows."""


class FlatPosition(enum.StrEnum):
    """What GetPosition answers when nothing is held."""

    ROW = "row"
    """A position ``Flat`` of 0."""
    ERROR = "error"
    """A refusal."""
    EMPTY = "empty"
    """``success`` and nothing else."""


# --- P&L keys --------------------------------------------------------------------------------------------------------


@frozen
class PnlKeys:
    """Where ``pnlUpdate`` tells what, as dotted paths inside an account's object; None for what it doesn't tell.

    ``account`` is None where ``accounts`` is an object by account names, rather than an array.
    """

    account: str | None = "account"
    realized: str | None = "realizedProfitLoss"
    unrealized: str | None = "unrealizedProfitLoss"
    net_liquidation: str | None = "netLiquidation"

    @property
    def is_mapping(self) -> bool:
        """Whether ``accounts`` is an object by account names."""
        return self.account is None

    def table(self) -> dict[str, str]:
        """As in a file."""
        return {each.name: value for each in fields(PnlKeys) if (value := getattr(self, each.name)) is not None}

    @classmethod
    def from_table(cls, found: object) -> PnlKeys:
        """From a file. Raises ConfigError."""
        if isinstance(found, PnlKeys):
            return found
        names = [each.name for each in fields(cls)]
        if not isinstance(found, Mapping):
            raise ConfigError(f"a table of {', '.join(names)}, not {found!r}")
        for name, path in found.items():
            if name not in names:
                close = nearest(str(name), names)
                raise ConfigError(f"a table of {', '.join(names)}: there is no {name!r}{meant(close)}")
            if not isinstance(path, str) or not all(path.split(".")):
                raise ConfigError(f"dotted paths of keys: {name} can't be {path!r}")
        return cls(**{name: found.get(name) for name in names})


def nested(path: str, row: Mapping[str, Any]) -> Any:
    """What stands at the end of a dotted path; None where nothing does."""
    found: Any = row
    for key in path.split("."):
        found = found.get(key) if isinstance(found, Mapping) else None
    return found


def meant(close: str | None) -> str:
    """What an error adds where a word was probably meant to be another."""
    return "" if close is None else f"; did you mean {close}?"
