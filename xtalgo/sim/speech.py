"""What a simulated server says in a dialect: the frames and bodies whose form nobody outside knows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
from attrs import frozen

from xtalgo.model.types import Ns
from xtalgo.protocol.choices import (
    AccountsForm,
    Answer,
    Echo,
    EventBody,
    FlatPosition,
    ListForm,
    PingReply,
    Place,
    PnlEcho,
    PnlEpoch,
    PnlKeys,
    UnknownInstrument,
)
from xtalgo.protocol.dialect import Dialect
from xtalgo.protocol.frames import WireQuote
from xtalgo.sim import bodies
from xtalgo.sim.venue import Venue

__all__ = ["Speech"]

_KINDS: Final = {"order": "orderUpdate", "execution": "executionUpdate", "position": "positionUpdate"}


def _text(frame: object) -> str:
    return msgspec.json.encode(frame).decode()


@frozen
class Speech:
    """A dialect, spoken. What returns None or nothing is not said at all."""

    dialect: Dialect

    # --- acknowledgments -----------------------------------------------------------------------------------------

    def acknowledged(self, word: str, names: Mapping[str, str]) -> str | None:
        """That instruments were subscribed or unsubscribed; dated names by the names that were asked for."""
        match self.dialect.instrument_echo:
            case Echo.NO_ACK:
                return None
            case Echo.NOTHING:
                return _text({"status": word})
            case Echo.DATED:
                return _text({"status": word, "instruments": list(dict.fromkeys(names.values()))})
            case Echo.NAMES:
                return _text({"status": word, "instruments": list(names)})

    def unknown(self, word: str, why: str, names: Iterable[str]) -> str | None:
        """That instruments are not known."""
        match self.dialect.unknown_instrument:
            case UnknownInstrument.STATUS:
                return _text({"status": "error", "error": f"Invalid request: {why}", "instruments": list(names)})
            case UnknownInstrument.ERROR:
                return _text({"error": f"Invalid request: {why}", "instruments": list(names)})
            case UnknownInstrument.ACKED:
                return self.acknowledged(word, {name: name for name in names})
            case UnknownInstrument.NOTHING:
                return None

    def streaming(self, enabled: bool, interval: int | None) -> str | None:
        """That the P&L stream was switched."""
        told: dict[str, Any] = {"status": self.dialect.pnl_word}
        match self.dialect.pnl_echo:
            case PnlEcho.NO_ACK:
                return None
            case PnlEcho.ENABLED:
                told["enabled"] = enabled
            case PnlEcho.INTERVAL:
                told["enabled"] = enabled
                if interval is not None:
                    told["interval"] = interval
            case PnlEcho.NOTHING:
                pass
        return _text(told)

    def pong(self) -> str | None:
        """The answer to a ping."""
        match self.dialect.ping_reply:
            case PingReply.PONG:
                return _text({"type": "pong"})
            case PingReply.STATUS:
                return _text({"status": "pong"})
            case PingReply.NOTHING:
                return None

    # --- errors --------------------------------------------------------------------------------------------------

    @staticmethod
    def error(place: Place, key: str, error: str, detail: str | None = None) -> str | None:
        """The answer to a call that failed."""
        told = {"error": error} if detail is None else {"error": error, "detail": detail}
        match place:
            case Place.TOP:
                return _text({"id": key, **told})
            case Place.DATA:
                return _text({"id": key, "data": {"success": False, **told}})
            case Place.TYPED:
                return _text({"type": "error", "id": key, "message": error if detail is None else f"{error}: {detail}"})
            case Place.NOTHING:
                return None

    @staticmethod
    def nonsense(form: Answer, key: str | None, why: str) -> str | None:
        """The answer to a frame that makes no sense."""
        head = {} if key is None else {"id": key}
        match form:
            case Answer.ERROR:
                return _text({**head, "error": why})
            case Answer.STATUS:
                return _text({**head, "status": "error", "error": why})
            case Answer.TYPED:
                return _text({"type": "error", **head, "message": why})
            case Answer.NOTHING | Answer.CLOSE:
                return None

    # --- streams -------------------------------------------------------------------------------------------------

    def market(self, venue: Venue, rows: Iterable[WireQuote]) -> str:
        """A frame of quotes."""
        keys = self.dialect.quote_keys
        if not keys:
            return _text({"type": "marketData", "quotes": rows})
        told = []
        for row in rows:
            more = bodies.quote_body(venue.contracts.contract(row.instrument), venue.tape.tracked[row.instrument], True)
            told.append({**msgspec.to_builtins(row), **{key: more.get(key) for key in keys}})
        return _text({"type": "marketData", "quotes": told})

    def pnl(self, venue: Venue, now: Ns) -> str:
        """A frame of P&L."""
        keys, millis = self.dialect.pnl_keys, bodies.epoch_ms(now)
        rows = {name: _pnl_row(keys, venue, name) for name in venue.accounts}
        return _text(
            {
                "type": "pnlUpdate",
                "epoch": millis if self.dialect.pnl_epoch is PnlEpoch.MILLISECONDS else millis // 1_000,
                "accounts": rows if keys.is_mapping else list(rows.values()),
            }
        )

    def event(self, what: str, row: Mapping[str, Any], seq: int, now: Ns) -> str:
        """A pushed event: ``what`` is order, execution or position."""
        head: dict[str, Any] = {"type": _KINDS[what], "seq": seq, "epoch": bodies.epoch_ms(now)}
        if (origin := self.dialect.events.origin) is not None:
            head["origin"] = origin
        head["account"] = row["account"]
        match self.dialect.event_body:
            case EventBody.KEY:
                return _text({**head, what: row})
            case EventBody.DATA:
                return _text({**head, "data": row})
            case EventBody.FLAT:
                return _text({**row, **head})

    # --- bodies --------------------------------------------------------------------------------------------------

    def body(self, api: str, body: Any) -> Any:
        """The body of a function's answer; None where it is refused instead."""
        dialect = self.dialect
        if api == "ListAccounts" and dialect.accounts_form is not AccountsForm.OBJECTS:
            rows: list[Any] = body["accounts"]
            if dialect.accounts_form in (AccountsForm.NAMES, AccountsForm.BARE_NAMES):
                rows = [row["name"] for row in rows]
            return {**body, "accounts": rows} if dialect.accounts_form is AccountsForm.NAMES else rows
        if api in ("ListOrders", "GetAllOrders") and dialect.orders_form is ListForm.BARE:
            return body["orders"]
        if api == "GetPosition" and body.get("marketPosition") == "Flat":
            match dialect.flat_position:
                case FlatPosition.ERROR:
                    return None
                case FlatPosition.EMPTY:
                    return {"success": True}
                case FlatPosition.ROW:
                    pass
        return body


def _pnl_row(keys: PnlKeys, venue: Venue, name: str) -> dict[str, Any]:
    """One account of ``pnlUpdate``."""
    row = bodies.pnl_row(venue, name)
    if keys == PnlKeys():
        return row
    told: dict[str, Any] = {}
    for path, value in (
        (keys.account, name),
        (keys.realized, row["realizedProfitLoss"]),
        (keys.unrealized, row["unrealizedProfitLoss"]),
        (keys.net_liquidation, row["netLiquidation"]),
    ):
        if path is not None:
            _place(told, path)[path.rpartition(".")[2]] = value
    # What stands beside it in GetAccount's items stands beside it here, too.
    if keys.realized is not None and ".item." in f".{keys.realized}":
        place = _place(told, keys.realized)
        items = bodies.account_body(venue, name)["item"]
        place.update({key: value for key, value in items.items() if key not in place})
    else:
        told["cashValue"] = row["cashValue"]
    return told


def _place(row: dict[str, Any], path: str) -> dict[str, Any]:
    """The object that holds the last key of a path, made where it is missing."""
    for key in path.split(".")[:-1]:
        row = row.setdefault(key, {})
    return row
