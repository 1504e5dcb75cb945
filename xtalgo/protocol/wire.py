"""Text frame to message and back, for both roles.

The two parsers differ on purpose. A client can't choose its server, so ``parse_server`` never raises: what it can't
use becomes ``Unknown`` or a line in ``faults``, and good rows survive bad neighbours. A server should teach, so
``parse_client`` is strict and answers with a ``Refusal`` that says what is wrong.

Frames that fit the documented shape are decoded in one pass; everything else takes the slow and forgiving way.
"""

from __future__ import annotations

import json
from typing import Any, Final

import msgspec
from attrs import evolve
from msgspec import UNSET, Raw, UnsetType

from xtalgo.protocol.choices import PnlKeys
from xtalgo.protocol.fields import Failure, article, failure_of, few, is_finite, is_whole, plain, short, some
from xtalgo.protocol.frames import (
    EVENT_KINDS,
    ClientMessage,
    EventFrame,
    MarketData,
    Ping,
    PnlUpdate,
    Pong,
    Refusal,
    Resync,
    Rpc,
    RpcError,
    RpcReply,
    ServerMessage,
    Status,
    StatusFrame,
    StreamPnl,
    Subscribe,
    Unknown,
    Unsubscribe,
    WirePnl,
    WireQuote,
)
from xtalgo.protocol.pnl import pnl_of

__all__ = [
    "ACTIONS",
    "MAX_FRAME",
    "encode_client",
    "encode_server",
    "failed",
    "parse_client",
    "parse_server",
    "replied",
]

MAX_FRAME: Final = 4 * 1024 * 1024
"""Longest frame that is looked at, in characters or bytes. Our choice; some 25 000 bars fit."""

ACTIONS: Final = ("rpc", "subscribe", "unsubscribe", "streamPnl", "ping")
"""The values of ``action`` (documented)."""

_SHOWN: Final = 4096
_OWN: Final = "\0account"
"""Key under which a row of a mapping gets the name that it stood under; no venue has it."""
_ERRORS = (msgspec.MsgspecError, ValueError, RecursionError, OverflowError, TypeError)


class _Frame(msgspec.Struct):
    """The documented top level, for the quick way."""

    type: str | None = None
    quotes: tuple[WireQuote, ...] | None = None
    id: str | None = None
    data: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET
    status: Raw | UnsetType = UNSET


class _Verdict(msgspec.Struct):
    """Whether a reply's body says that it is a failure."""

    success: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET


_frame = msgspec.json.Decoder(_Frame)
_verdict = msgspec.json.Decoder(_Verdict)
_client: msgspec.json.Decoder[ClientMessage] = msgspec.json.Decoder(Rpc | Subscribe | Unsubscribe | StreamPnl | Ping)
_encode = msgspec.json.Encoder().encode


# --- the client's parser ---------------------------------------------------------------------------------------------


def parse_server(frame: str | bytes, pnl_keys: PnlKeys | None = None) -> ServerMessage:
    """The message in a frame that a server sent. Never raises.

    ``pnl_keys`` says where ``pnlUpdate`` has its values, where that is known; else they are looked for.
    """
    try:
        text = frame if isinstance(frame, str) else frame.decode()
        if len(text) > MAX_FRAME:
            return _unknown(text, f"{len(text)} characters, more than {MAX_FRAME}")
        found = _quick(text)
        return _slow(text, pnl_keys) if found is None else found
    except UnicodeError:
        return _unknown(frame, "not UTF-8")
    except _ERRORS as error:
        return _unknown(frame, f"not a usable message: {error}")


def _quick(text: str) -> ServerMessage | None:
    """The message of a frame in its documented shape, or None."""
    try:
        frame = _frame.decode(text)
    except (msgspec.DecodeError, RecursionError):
        return None
    if frame.type == "marketData":
        return None if frame.quotes is None else MarketData(frame.quotes)
    data = frame.data
    if frame.type is None and frame.id is not None and data is not UNSET:
        if frame.error is not UNSET or frame.status is not UNSET:
            return None
        try:
            verdict = _verdict.decode(data)
        except msgspec.DecodeError:
            return RpcReply(frame.id, data)  # an array, as the quotes of several instruments
        if verdict.success is UNSET and verdict.error is UNSET:
            return RpcReply(frame.id, data)
        if verdict.success is not UNSET and bytes(verdict.success) == b"true":
            return RpcReply(frame.id, data)
    return None


def _slow(text: str, keys: PnlKeys | None = None) -> ServerMessage:
    """The message of any other frame."""
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        # Python's own reader takes NaN, Infinity and 1e999, which must not cost the rest of the frame.
        try:
            found = json.loads(text)
            _encode(found)  # lone surrogates fail here rather than later
        except UnicodeError:
            return _unknown(text, "text that is not Unicode")
        except _ERRORS:
            return _unknown(text, f"malformed JSON: {error}")
    if not isinstance(found, dict):
        return _unknown(text, f"a JSON {plain(found)}, not an object")
    message = _typed(found, keys) or _untyped(found)
    if isinstance(message, str):
        return _unknown(text, message, _id(found))
    return message


def _typed(frame: dict[str, Any], keys: PnlKeys | None) -> ServerMessage | str | None:
    """A frame whose ``type`` we know; a str says why it is of no use."""
    kind = frame.get("type")
    if kind == "marketData":
        return _market(frame)
    if kind == "pnlUpdate":
        return _pnl(frame, keys)
    if kind == "status" and isinstance(frame.get("state"), str):
        return StatusFrame(frame["state"], *_head(frame, "type", "state"))
    if kind == "resync":
        return Resync(*_head(frame, "type"))
    if kind == "pong":
        return Pong()
    if isinstance(kind, str) and kind in EVENT_KINDS:
        return EventFrame(kind, *_head(frame, "type"))
    return None


def _untyped(frame: dict[str, Any]) -> ServerMessage | str:
    """Acknowledgments, replies and errors, in the order of the official sample.

    One exception: a frame with an id *and* an error belongs to its call, whatever ``status`` it carries too.
    """
    key = _id(frame)
    failure = failure_of(frame)
    if failure is None and frame.get("type") == "error":
        failure = Failure(some(frame.get("message", "error")), None)
    if "status" in frame and (failure is None or key is None):
        status = frame["status"]
        rest = {name: value for name, value in frame.items() if name != "status"}
        return Status(status, rest) if isinstance(status, str) else Status(some(status), {**rest, "status": status})
    if failure is not None:
        taken = {"id": key, "error": failure.error, "detail": failure.detail}
        rest = {name: value for name, value in frame.items() if name not in taken or value != taken[name]}
        return RpcError(key, failure.error, failure.detail, None, rest)
    if "data" in frame:
        if key is None:
            return "a reply without an id"
        data = frame["data"]
        if failure := failure_of(data):
            rest = {name: value for name, value in frame.items() if name not in ("id", "data")}
            return RpcError(key, failure.error, failure.detail, data, rest)
        return RpcReply(key, Raw(_encode(data)))
    kind = frame.get("type")
    if kind is not None:
        return f"no use for type {short(kind)}"
    return f"neither type, status, data nor error; it has {short(list(frame))}"


def _market(frame: dict[str, Any]) -> MarketData | str:
    rows = frame.get("quotes")
    if not isinstance(rows, list):
        return f"marketData whose quotes are {article(rows)}, not an array"
    quotes: list[WireQuote] = []
    faults: list[str] = []
    for number, row in enumerate(rows):
        try:
            quotes.append(_quote(row))
        except (msgspec.MsgspecError, ValueError, RecursionError) as error:
            name = row.get("instrument") if isinstance(row, dict) else None
            faults.append(f"quotes[{number}]{'' if name is None else ' ' + short(name)}: {error}")
    return MarketData(tuple(quotes), few(faults))


def _quote(row: object) -> WireQuote:
    if isinstance(row, dict):
        for name in ("bid", "ask", "last"):
            value = row.get(name)
            if isinstance(value, int | float) and not is_finite(value):
                raise ValueError(f"{name} is {short(value)}")
        volume = row.get("volume")
        if isinstance(volume, float) and volume.is_integer():
            row = {**row, "volume": int(volume)}
    return msgspec.convert(row, WireQuote)


def _pnl(frame: dict[str, Any], keys: PnlKeys | None) -> PnlUpdate | str:
    rows = frame.get("accounts")
    if isinstance(rows, dict):  # the form that one public client expects: a mapping by name
        if keys is not None and keys.is_mapping:
            keys = evolve(keys, account=_OWN)
            rows = {name: {**row, _OWN: name} if isinstance(row, dict) else row for name, row in rows.items()}
        rows = [{"account": name, **row} if isinstance(row, dict) else row for name, row in rows.items()]
    if not isinstance(rows, list):
        return f"pnlUpdate whose accounts are {article(rows)}, not an array"
    faults: list[str] = []
    accounts: list[WirePnl] = []
    for number, row in enumerate(rows):
        if isinstance(row, dict):
            accounts.append(pnl_of(row, faults, f"accounts[{number}]", keys))
        else:
            faults.append(f"accounts[{number}]: {article(row)}, not an object")
    epoch = frame.get("epoch")
    if not is_whole(epoch):
        if epoch is not None:
            faults.append(f"epoch: {short(epoch)} is not a whole number")
        epoch = None
    return PnlUpdate(epoch, tuple(accounts), few(faults))


def _head(frame: dict[str, Any], *used: str) -> tuple[Any, ...]:
    """Sequence, dropped, epoch, origin and account where they have the right type, and the rest of the frame."""
    rest = {name: value for name, value in frame.items() if name not in used}
    numbers = [rest.pop(name) if is_whole(rest.get(name)) else None for name in ("seq", "dropped", "epoch")]
    texts = [rest.pop(name) if isinstance(rest.get(name), str) else None for name in ("origin", "account")]
    return (*numbers, *texts, rest)


def _id(frame: dict[str, Any]) -> str | None:
    """Ids are text (documented); a number is taken as its text."""
    key = frame.get("id")
    if isinstance(key, str):
        return key
    return str(key) if is_whole(key) else None


def _unknown(frame: str | bytes, why: str, key: str | None = None) -> Unknown:
    if isinstance(frame, bytes):
        shown = frame[:_SHOWN].decode("utf-8", "backslashreplace")
    else:
        shown = frame[:_SHOWN].encode("utf-8", "backslashreplace").decode()
    return Unknown(shown, why[:500], key)


# --- the server's parser ---------------------------------------------------------------------------------------------


def parse_client(frame: str | bytes) -> ClientMessage | Refusal:
    """The message in a frame that a client sent, or what is wrong with it. Never raises."""
    if len(frame) > MAX_FRAME:
        return Refusal(f"Invalid request: {len(frame)} characters, more than {MAX_FRAME}")
    try:
        return _client.decode(frame)
    except RecursionError:
        return Refusal("Invalid request: nested too deeply", is_json=False)
    except UnicodeError:
        return Refusal("Invalid request: not UTF-8", is_json=False)
    except msgspec.ValidationError as error:
        return _refuse(frame, str(error))
    except msgspec.DecodeError as error:
        return Refusal(f"Invalid request: {error}", is_json=False)


def _refuse(frame: str | bytes, error: str) -> Refusal:
    """Say more about well-formed JSON that is no message."""
    try:
        found = msgspec.json.decode(frame)
    except _ERRORS:
        return Refusal(f"Invalid request: {error}", is_json=False)
    if not isinstance(found, dict):
        return Refusal(f"Invalid request: a JSON {plain(found)}, not an object")
    key = found.get("id")
    key = key if isinstance(key, str) and key else None
    action = found.get("action")
    if action not in ACTIONS:
        what = "no `action`" if action is None else f"no action {short(action)}"
        return Refusal(f"Invalid request: {what}; there are {', '.join(ACTIONS)}", key)
    return Refusal(f"Invalid request: {error[:300]} ({action})", key)


# --- encoders --------------------------------------------------------------------------------------------------------


def encode_client(message: ClientMessage) -> str:
    """The text frame of a client's message. Raises ValueError for an argument that JSON has no number for."""
    if isinstance(message, Rpc):
        for name, value in message.args.items():
            if isinstance(value, float) and not is_finite(value):
                raise ValueError(f"{message.api}: {name} is {value}")
    return _encode(message).decode()


def encode_server(message: ServerMessage) -> str:
    """The text frame of a server's message; ``faults`` are left out, ``Unknown`` raises TypeError."""
    return _encode(_shape(message)).decode()


def _shape(message: ServerMessage) -> object:
    match message:
        case MarketData():
            return {"type": "marketData", "quotes": message.quotes}
        case RpcReply():
            return message
        case PnlUpdate():
            return _full(type="pnlUpdate", epoch=message.epoch, accounts=[row.raw for row in message.accounts])
        case RpcError(body=None):
            return {**_full(id=message.id, error=message.error, detail=message.detail), **message.fields}
        case RpcError():
            return {"id": message.id, "data": message.body, **message.fields}
        case Status():
            return {"status": message.status, **message.fields}
        case StatusFrame():
            return {"type": "status", "state": message.state, **_headed(message)}
        case Resync():
            return {"type": "resync", **_headed(message)}
        case EventFrame():
            return {"type": message.kind, **_headed(message)}
        case Pong():
            return {"type": "pong"}
        case Unknown():
            raise TypeError("Unknown is what a frame was read as, not one to send")


def _full(**fields: object) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value is not None}


def _headed(message: StatusFrame | Resync | EventFrame) -> dict[str, Any]:
    head = _full(
        seq=message.seq,
        dropped=message.dropped,
        epoch=message.epoch,
        origin=message.origin,
        account=message.account,
    )
    return {**head, **message.body}


def replied(key: str, body: object) -> RpcReply:
    """A server's answer: ``body`` is the REST body, as plain values or as structs of ``rows``."""
    return RpcReply(key, Raw(_encode(body)))


def failed(key: str, error: str, detail: str | None = None) -> RpcError:
    """A server's answer inside ``data``, as NT8 and the add-on give it (inferred); gateway errors are ``RpcError``."""
    return RpcError(key, error, detail, _full(success=False, error=error, detail=detail))
