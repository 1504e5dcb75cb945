"""Steps that find out how the venue answers: errors, frames that make no sense, acknowledgments."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from xtalgo.client.probing.script import Budget, Line, Probe, Script
from xtalgo.protocol.choices import Answer, Echo, FlatPosition, PingReply, Place, UnknownInstrument

__all__ = ["errors", "frames", "position", "subscriptions"]

NO_FUNCTION: Final = "XtalgoProbe"
"""A function that there is not."""

_NO_INSTRUMENT: Final = "XTALGOPROBE"


def errors(probe: Probe) -> Script[None]:
    """A call without its argument, one of an order that there is not, one of a function that there is not."""
    reply = yield from probe.ask("ListPositions")
    if reply.place is None:
        probe.leave(f"a call without its account was answered: {probe.shown(reply.line)}", "gateway_error")
    else:
        probe.settle("gateway_error", reply.place, reply.line)
    reply = yield from probe.ask("GetOrder", account=probe.account, orderId=f"{probe.prefix}-none")
    if reply.place is None:
        probe.leave(f"an order that there is not was answered: {probe.shown(reply.line)}", "refusal_error")
    else:
        probe.settle("refusal_error", reply.place, reply.line)
    found = yield from probe.try_ask(NO_FUNCTION, {})
    if found is None:
        yield from probe.ask("ListAccounts")
        probe.settle("unknown_api", Place.NOTHING, doubt="silence, three times; other calls were answered after it")
    elif found.place is None:
        probe.leave(f"it was answered: {probe.shown(found.line)}", "unknown_api")
    else:
        probe.unknown_text = found.error
        probe.settle("unknown_api", found.place, found.line)


def position(probe: Probe) -> Script[None]:
    """GetPosition of an instrument in which nothing is held."""
    reply = yield from probe.ask("GetPosition", account=probe.account, instrument=probe.instrument)
    if reply.place is not None:
        probe.settle("flat_position", FlatPosition.ERROR, reply.line)
    elif "marketPosition" in reply.rows:
        probe.settle("flat_position", FlatPosition.ROW, reply.line)
    elif isinstance(reply.body, Mapping) and set(reply.body) <= {"success", "position", "data"}:
        probe.settle("flat_position", FlatPosition.EMPTY, reply.line)
    else:
        probe.leave(f"no form that is known: {probe.shown(reply.line)}", "flat_position")


# --- frames that make no sense ---------------------------------------------------------------------------------------


def frames(probe: Probe) -> Script[None]:
    """A ping, a frame with an unknown action, and one that is no JSON."""
    heard = yield from probe.answered('{"action":"ping"}', Budget.FREE)
    if heard.end is not None and not heard.lines:
        probe.leave(f"the connection ended on it ({heard.end})", "ping_reply")
    elif not heard.lines:
        probe.settle("ping_reply", PingReply.NOTHING, doubt="silence, twice; calls were answered after it")
    else:
        line = heard.lines[0]
        if line.frame == {"type": "pong"} or (isinstance(line.frame, dict) and line.frame.get("type") == "pong"):
            probe.settle("ping_reply", PingReply.PONG, line)
        elif isinstance(line.frame, dict) and str(line.frame.get("status")).lower() == "pong":
            probe.settle("ping_reply", PingReply.STATUS, line)
        else:
            probe.leave(f"no form that is known: {probe.shown(line)}", "ping_reply")
    yield from _nonsense(probe, "unknown_action", '{"action":"xtalgoProbe"}')
    yield from _nonsense(probe, "malformed", '{"action":')


def _nonsense(probe: Probe, name: str, text: str) -> Script[None]:
    heard = yield from probe.answered(text, Budget.FREE)
    if heard.lines:
        line = heard.lines[0]
        form = _form(line)
        if form is None:
            probe.leave(f"no form that is known: {probe.shown(line)}", name)
        else:
            probe.settle(name, form, line)
    elif heard.end is not None:
        probe.settle(name, Answer.CLOSE, doubt=f"the connection ended on it each time ({heard.end})")
    else:
        probe.settle(name, Answer.NOTHING, doubt="silence, twice; calls were answered after it")


def _form(line: Line) -> Answer | None:
    if not isinstance(line.frame, dict):
        return None
    if line.frame.get("type") == "error":
        return Answer.TYPED
    if "status" in line.frame:
        return Answer.STATUS
    return Answer.ERROR if line.frame.get("error") else None


# --- acknowledgments -------------------------------------------------------------------------------------------------


def subscriptions(probe: Probe) -> Script[None]:
    """Subscribe by root, unsubscribe, subscribe to what there is not."""
    root = probe.instrument.split(" ")[0]
    asked = json.dumps({"action": "subscribe", "instruments": [root]})
    heard = yield from probe.answered(asked, Budget.ACTIONS)
    line = heard.lines[0] if heard.lines else None
    if line is None:
        if heard.end is not None:
            why = f"the connection ended on it ({heard.end})"
            probe.leave(why, "subscribe_word", "unsubscribe_word", "instrument_echo", "unknown_instrument")
            return
        probe.settle("instrument_echo", Echo.NO_ACK, doubt="silence, twice; calls were answered after it")
        probe.leave("there is no acknowledgment", "subscribe_word", "unsubscribe_word")
    elif (word := _word(line)) is None:
        probe.leave(f"no acknowledgment that is known: {probe.shown(line)}", "subscribe_word", "instrument_echo")
    else:
        probe.settle("subscribe_word", word, line)
        echo = _echo(line, root, probe.instrument)
        if echo is None:
            probe.leave(f"no form that is known: {probe.shown(line)}", "instrument_echo")
        else:
            probe.settle("instrument_echo", echo, line)
    gone = yield from probe.answered(json.dumps({"action": "unsubscribe", "instruments": [root]}), Budget.ACTIONS)
    if line is not None:
        if gone.lines and (word := _word(gone.lines[0])) is not None:
            probe.settle("unsubscribe_word", word, gone.lines[0])
        else:
            told = probe.shown(gone.lines[0]) if gone.lines else "nothing came"
            probe.leave(f"no acknowledgment that is known: {told}", "unsubscribe_word")
    yield from _unknown(probe)


def _word(line: Line) -> str | None:
    """The word of an acknowledgment; None for an error, or any other frame."""
    if not isinstance(line.frame, dict) or line.frame.get("error"):
        return None
    word = line.frame.get("status")
    return word if isinstance(word, str) and word and word.lower() not in ("error", "failed") else None


def _echo(line: Line, root: str, dated: str) -> Echo | None:
    names = line.frame.get("instruments")
    if names is None:
        return Echo.NOTHING
    return {(root,): Echo.NAMES, (dated,): Echo.DATED}.get(tuple(names) if isinstance(names, list) else ())


def _unknown(probe: Probe) -> Script[None]:
    asked = json.dumps({"action": "subscribe", "instruments": [_NO_INSTRUMENT]})
    heard = yield from probe.answered(asked, Budget.ACTIONS)
    if not heard.lines:
        if heard.end is not None:
            probe.leave(f"the connection ended on it ({heard.end})", "unknown_instrument")
        else:
            doubt = "silence, twice; calls were answered after it"
            probe.settle("unknown_instrument", UnknownInstrument.NOTHING, doubt=doubt)
        return
    line = heard.lines[0]
    frame = line.frame if isinstance(line.frame, dict) else {}
    is_error = bool(frame.get("error")) or str(frame.get("status")).lower() == "error"
    if is_error and "status" in frame:
        probe.settle("unknown_instrument", UnknownInstrument.STATUS, line)
    elif is_error:
        probe.settle("unknown_instrument", UnknownInstrument.ERROR, line)
    elif _word(line) is not None:
        probe.settle("unknown_instrument", UnknownInstrument.ACKED, line)
    else:
        probe.leave(f"no form that is known: {probe.shown(line)}", "unknown_instrument")
