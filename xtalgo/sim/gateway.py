"""From a call to its outcome on a simulated venue, by either road: over the socket or over REST."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from typing import Any, Final
from urllib.parse import unquote

import msgspec
from attrs import define, frozen

from xtalgo.model.errors import ConfigError
from xtalgo.model.types import Ns
from xtalgo.protocol.arguments import nearest
from xtalgo.protocol.checks import args_from_text, check_call
from xtalgo.protocol.frames import RpcError, RpcReply
from xtalgo.protocol.routes import match
from xtalgo.protocol.rpc import TABLE
from xtalgo.protocol.wire import failed, replied
from xtalgo.sim.faults import Mishaps
from xtalgo.sim.functions import FUNCTIONS, Steps
from xtalgo.sim.venue import Refused, Venue

__all__ = [
    "LOST",
    "OFFLINE",
    "PREFIX",
    "Outcome",
    "RestCall",
    "Underway",
    "carry_out",
    "carry_out_at_once",
    "failure",
    "read_request",
]

OFFLINE: Final = "NinjaTrader add-on is not connected"
"""What a call is told while the add-on is away."""

_CACHED: Final = ("GetWatermarks",)
"""What CrossTrade answers itself, without the add-on (documented)."""

PREFIX: Final = "/v1/api/"
"""Under which all REST routes are (documented)."""


@frozen
class Outcome:
    """How a call ended, for either road."""

    body: object = None
    error: str | None = None
    detail: str | None = None
    status: int = 200
    """Over REST."""
    gateway: bool = False
    """Whether the gateway failed, rather than the venue refused: it decides where the socket's frame has the error."""
    hint: str | None = None
    """``did_you_mean`` of a wrong path (documented)."""

    def frame(self, key: str) -> RpcReply | RpcError:
        """The answer on the socket."""
        if self.error is None:
            return replied(key, self.body)
        return RpcError(key, self.error, self.detail) if self.gateway else failed(key, self.error, self.detail)

    def rest_body(self) -> object:
        """The body of the answer over REST."""
        if self.error is None:
            return self.body
        told = {"detail": self.detail, "did_you_mean": self.hint}
        return {**failure(self.error), **{name: value for name, value in told.items() if value is not None}}


LOST: Final = Outcome(error="Gateway timeout", status=504, gateway=True)
"""A REST call whose answer a fault lost: HTTP has to say something."""


def failure(error: str) -> dict[str, Any]:
    """The body of a failure."""
    return {"success": False, "error": error}


def _invalid(why: str) -> Outcome:
    return Outcome(error=f"Invalid request: {why}", status=400, gateway=True)


@define
class Underway:
    """A call of several steps that waits between two of them: it goes on at ``due``."""

    due: Ns
    _steps: Steps
    _mishaps: Mishaps

    def go_on(self, now: Ns) -> Outcome | Underway:
        """Let it go on. While the add-on is away its steps are done all the same, and nobody learns how it ended."""
        outcome = _step(self._steps, self._mishaps, now)
        if isinstance(outcome, Outcome) and self._mishaps.is_offline(now):
            return _AWAY
        return outcome


_AWAY: Final = Outcome(error=OFFLINE, status=408, gateway=True)


def carry_out(
    venue: Venue, mishaps: Mishaps, api: str, args: Mapping[str, Any], origin: str | None, now: Ns
) -> Outcome | Underway:
    """Carry out a call at its moment, or begin to. Never raises."""
    if mishaps.is_offline(now) and api not in _CACHED:
        return _AWAY
    try:
        spec = TABLE[api]
    except ConfigError as error:
        close = str(error).partition("; did you mean ")[2]
        hint = f"; did you mean {close}" if close else ""
        return Outcome(error=f"Unknown api {api[:100]}{hint}", status=404, gateway=True)
    function = FUNCTIONS.get(spec.name)
    if function is None:
        return Outcome(error=f"Unknown api {spec.name}", status=404, gateway=True)
    if origin != spec.origin:
        if origin is not None:
            return _invalid(f"{spec.name} has no origin {origin[:100]!r}")
        return _invalid(f"{spec.name} needs the origin {spec.origin!r}")
    try:
        found = function(venue, check_call(spec, args), now)
    except ConfigError as error:
        return _invalid(str(error))
    except Refused as no:
        return _refused(no)
    return _step(found, mishaps, None) if isinstance(found, Generator) else Outcome(found)


def carry_out_at_once(
    venue: Venue, mishaps: Mishaps, api: str, args: Mapping[str, Any], origin: str | None, now: Ns
) -> Outcome:
    """``carry_out`` where time stands still: a call of several steps doesn't wait between them."""
    outcome = carry_out(venue, mishaps, api, args, origin, now)
    while isinstance(outcome, Underway):
        outcome = outcome.go_on(now)
    return outcome


def _step(steps: Steps, mishaps: Mishaps, now: Ns | None) -> Outcome | Underway:
    """Go on to the next wait or to the end; ``now`` is None for the first step."""
    try:
        due = next(steps) if now is None else steps.send(now)
    except StopIteration as end:
        return Outcome(end.value)
    except ConfigError as error:
        return _invalid(str(error))
    except Refused as no:
        return _refused(no)
    return Underway(due, steps, mishaps)


def _refused(no: Refused) -> Outcome:
    return Outcome(error=no.error, detail=no.detail, status=400)


@frozen
class RestCall:
    """The call that a REST request is."""

    api: str
    args: dict[str, Any]
    origin: str | None


def read_request(method: str, path: str, query: Mapping[str, str], body: bytes) -> RestCall | Outcome:
    """What a request under ``PREFIX`` calls, or what is wrong with it. Never raises.

    Values in the path win over those in the body, and these over those in the query.
    """
    try:
        given = msgspec.json.decode(body) if body.strip() else {}
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        return _invalid(f"the body is no JSON: {error}")
    if not isinstance(given, dict):
        return _invalid("the body is not a JSON object")
    found = match(method, path, filters=bool(given))
    if found is None:
        close = nearest(plain(path), [route for spec in TABLE for route in spec.paths])
        return Outcome(error=f"Not found: {plain(method)} {plain(path)}", status=404, gateway=True, hint=close)
    try:
        args = {**args_from_text(found.spec.name, query), **given, **found.args}
    except ConfigError as error:
        return _invalid(str(error))
    return RestCall(found.spec.name, args, found.spec.origin)


def plain(text: str) -> str:
    """Text of a client, fit to be repeated to it."""
    return unquote(text)[:200].encode("utf-8", "backslashreplace").decode()
