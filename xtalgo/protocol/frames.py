"""The messages of CrossTrade's socket, as values, for both ends of it.

Each docstring names how sure its shape is: *documented* (a CrossTrade page), *observed* (read in public client code)
or *inferred* (nobody outside knows). What a frame did not tell is None, never zero.
"""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

import msgspec

__all__ = [
    "EVENT_KINDS",
    "ClientMessage",
    "EventFrame",
    "MarketData",
    "Ping",
    "PnlUpdate",
    "Pong",
    "Refusal",
    "Resync",
    "Rpc",
    "RpcError",
    "RpcReply",
    "ServerMessage",
    "Status",
    "StatusFrame",
    "StreamPnl",
    "Subscribe",
    "Unknown",
    "Unsubscribe",
    "WirePnl",
    "WireQuote",
]

EVENT_KINDS: Final = ("orderUpdate", "executionUpdate", "positionUpdate", "executionReportUpdate")
"""``type`` of the frames pushed for accounts linked to Tradovate (observed; none are known for NT8 accounts)."""

Name = Annotated[str, msgspec.Meta(min_length=1)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


def _nothing() -> dict[str, Any]:
    # A function of our own, since msgspec leaves out an empty dict that `dict` itself made.
    return {}


# --- what a client sends ---------------------------------------------------------------------------------------------


class Rpc(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="action",
    tag="rpc",
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    """Call one function (documented). Costs a token of the request budget.

    The server makes up an ``id`` where there is none, so a client that wants its answer sends one. ``args`` is flat:
    path, query and body values of the REST call together. ``origin`` is set for calls to Tradovate only (observed).
    """

    id: Name | None = None
    api: Name
    args: dict[str, Any] = msgspec.field(default_factory=_nothing)
    origin: Name | None = None


class Subscribe(
    msgspec.Struct,
    frozen=True,
    kw_only=True,
    tag_field="action",
    tag="subscribe",
    omit_defaults=True,
    forbid_unknown_fields=True,
):
    """Ask for quotes of ``instruments``, in addition to those asked for before (documented).

    The other form asks for account ``events`` of an ``origin`` (observed: ``tradovate`` with orders, executions and
    positions; whether accounts of NinjaTrader's have events, and under which origin or none, is unknown). A message is
    one form or the other.
    """

    instruments: tuple[Name, ...] = ()
    events: tuple[Name, ...] = ()
    origin: Name | None = None

    def __post_init__(self) -> None:
        if bool(self.instruments) == bool(self.events):
            raise ValueError("subscribe needs either `instruments` or `events`, and not an empty list")
        if self.instruments and self.origin is not None:
            raise ValueError("subscribe with `instruments` takes no `origin`")


class Unsubscribe(msgspec.Struct, frozen=True, tag_field="action", tag="unsubscribe", forbid_unknown_fields=True):
    """End quotes of ``instruments``, by the names they were subscribed by (documented)."""

    instruments: Annotated[tuple[Name, ...], msgspec.Meta(min_length=1)]


class StreamPnl(
    msgspec.Struct, frozen=True, tag_field="action", tag="streamPnl", omit_defaults=True, forbid_unknown_fields=True
):
    """Switch the P&L stream on or off (documented); ``interval`` is in milliseconds, its bounds are unknown."""

    enabled: bool
    interval: Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)] | None = None


class Ping(msgspec.Struct, frozen=True, tag_field="action", tag="ping", forbid_unknown_fields=True):
    """Keepalive inside the protocol (documented in the OpenAPI file only; the answer is unknown)."""


ClientMessage: TypeAlias = Rpc | Subscribe | Unsubscribe | StreamPnl | Ping
"""Everything that a client may send."""


class Refusal(msgspec.Struct, frozen=True):
    """What a server's parser makes of a frame it can't take: what is wrong, its id if it had one, whether it is JSON.

    ``text`` starts with *Invalid request*, a text that the endpoint pages document, so that clients recognise it.
    """

    text: str
    id: str | None = None
    is_json: bool = True


# --- what a server sends ---------------------------------------------------------------------------------------------


class WireQuote(msgspec.Struct, frozen=True, omit_defaults=True, gc=False):
    """One row of ``marketData``: the five fields that are documented and observed.

    ``volume`` is the session's cumulative volume (observed). There is no stamp and no sequence number; any further
    key is unconfirmed and ignored.
    """

    instrument: Name
    bid: float | None = None
    ask: float | None = None
    last: float | None = None
    volume: Count | None = None


class MarketData(msgspec.Struct, frozen=True):
    """Quotes of subscribed instruments, about one frame a second (documented). ``faults`` names rows left out."""

    quotes: tuple[WireQuote, ...]
    faults: tuple[str, ...] = ()


class WirePnl(msgspec.Struct, frozen=True):
    """One account of ``pnlUpdate``. Its keys are unknown: see ``pnl.PNL_NAMES``. ``raw`` is the object as it came."""

    account: str | None = None
    realized: float | None = None
    unrealized: float | None = None
    net_liquidation: float | None = None
    raw: dict[str, Any] = {}


class PnlUpdate(msgspec.Struct, frozen=True):
    """P&L of the active accounts, about once a second (envelope documented; ``epoch`` is probably milliseconds)."""

    epoch: int | None = None
    accounts: tuple[WirePnl, ...] = ()
    faults: tuple[str, ...] = ()


class Status(msgspec.Struct, frozen=True):
    """An acknowledgment: any frame with a top-level ``status`` (documented). ``fields`` is the rest of the frame.

    Seen: ``subscribed`` with ``events`` and ``origin``. The rest for instruments and P&L is inferred.
    """

    status: str
    fields: dict[str, Any] = {}

    @property
    def error(self) -> str | None:
        """The text of an ``error`` beside the status: how a refused subscription may look (inferred)."""
        error = self.fields.get("error")
        return error if isinstance(error, str) and error else None


class StatusFrame(msgspec.Struct, frozen=True):
    """``type: status`` with a ``state`` (observed: syncing, ready, stalled, stopped, disconnected). Not an ack."""

    state: str
    seq: int | None = None
    dropped: int | None = None
    epoch: int | None = None
    origin: str | None = None
    account: str | None = None
    body: dict[str, Any] = {}


class Resync(msgspec.Struct, frozen=True):
    """The event stream lost something: list everything again by RPC (observed)."""

    seq: int | None = None
    dropped: int | None = None
    epoch: int | None = None
    origin: str | None = None
    account: str | None = None
    body: dict[str, Any] = {}


class EventFrame(msgspec.Struct, frozen=True):
    """A pushed order, execution, position or execution report (observed; where its body sits was never seen live).

    ``seq`` counts within one connection, ``dropped`` is how many frames were lost, ``epoch`` is in milliseconds.
    ``body`` is every other key of the frame.
    """

    kind: str
    seq: int | None = None
    dropped: int | None = None
    epoch: int | None = None
    origin: str | None = None
    account: str | None = None
    body: dict[str, Any] = {}


class RpcReply(msgspec.Struct, frozen=True):
    """An answer (documented): ``data`` is the whole REST body, undecoded, since its type follows from the request."""

    id: str
    data: msgspec.Raw


class RpcError(msgspec.Struct, frozen=True):
    """A call that was refused or failed. The frame is inferred, so both likely shapes are read.

    With ``body`` the error came inside ``data`` (the venue's own answer, as over REST), without it at the top level
    (the gateway's); ``fields`` is what else was at the top level. ``id`` is None where the frame had none.
    """

    id: str | None
    error: str
    detail: str | None = None
    body: dict[str, Any] | None = None
    fields: dict[str, Any] = {}


class Pong(msgspec.Struct, frozen=True):
    """The answer to ``Ping`` as our own server gives it (inferred)."""


class Unknown(msgspec.Struct, frozen=True):
    """A frame that could not be used: its text (cut when long), why, and its id if it could be made out.

    It is for showing and counting. A call whose ``id`` it carries has been answered, in a way that tells nothing.
    """

    frame: str
    why: str
    id: str | None = None


ServerMessage: TypeAlias = (
    MarketData | PnlUpdate | RpcReply | RpcError | Status | StatusFrame | Resync | EventFrame | Pong | Unknown
)
"""Everything that ``wire.parse_server`` returns; ``wire.encode_server`` takes all of it but ``Unknown``."""
