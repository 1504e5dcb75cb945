"""``xtalgo rpc``: any function of the API by hand, over REST, or over the socket with ``--ws``.

What can't be right never leaves. What acts at the venue is shown and asked about first, a real account needs a word of
its own, and a call that may have been carried out is told as such and never sent again.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from typing import Any, Final, Protocol

import msgspec
from attrs import define, evolve, frozen

from xtalgo.app.answers import one_line, show_value
from xtalgo.app.console import Screen, complain
from xtalgo.app.exits import InDoubt
from xtalgo.app.operator import Operator, Reach, Venue, account_name, at_venue, venue_of
from xtalgo.app.rpctable import cautions, only_reduces
from xtalgo.app.venues import socket_url
from xtalgo.client.caller import Notice
from xtalgo.live.client import Client, open_client
from xtalgo.live.lock import SessionLock
from xtalgo.live.wires import dialer
from xtalgo.model.errors import (
    ConfigError,
    NoConnection,
    OutcomeUnknown,
    RemoteProtocolError,
    VenueError,
    XtalgoError,
)
from xtalgo.model.types import Ns
from xtalgo.protocol.checks import args_from_text, check_args
from xtalgo.protocol.outcomes import Cause, diagnose
from xtalgo.protocol.replies import Answer
from xtalgo.protocol.routes import request_of
from xtalgo.protocol.rows import Account
from xtalgo.protocol.rpc import TABLE
from xtalgo.protocol.spec import Lane, RpcSpec

__all__ = [
    "Invocation",
    "Road",
    "RpcRequest",
    "allow",
    "confirm",
    "make",
    "need_word",
    "open_road",
    "read_invocation",
    "read_words",
    "rpc",
    "settle",
    "show",
]

WITHIN: Final = 20.0
"""Seconds for one step of a call. Five identical reads once took up to 16 s (observed, another route)."""

HISTORY_WITHIN: Final = 60.0
"""The same for bulk reads, which NinjaTrader fetches first (documented)."""


@frozen(kw_only=True)
class RpcRequest:
    """What ``xtalgo rpc`` was asked for: a function, arguments as ``name=value``, and what was said beside them."""

    name: str | None
    words: tuple[str, ...] = ()
    ws: bool = False
    yes: bool = False
    everything: bool = False
    live: bool = False


@frozen
class Invocation:
    """One call that can be right: a function with checked arguments."""

    spec: RpcSpec
    args: dict[str, Any]

    @property
    def account(self) -> str | None:
        """The account that it names."""
        found: str | None = self.args.get("account")
        return found

    def of(self, account: str) -> Invocation:
        """The same call for an account of that name."""
        return evolve(self, args={**self.args, "account": account})


class Road(Protocol):
    """How a call travels. ``body`` is what came back last, as it came; empty when nothing did."""

    @property
    def body(self) -> bytes:
        """The body of the last answer."""

    async def call(self, api: str, /, *, everything: bool = False, **args: Any) -> Answer[Any]:
        """Make a call; raises XtalgoError as ``RestClient.call`` does."""


def rpc(reach: Reach, request: RpcRequest) -> None:
    """Call a function and show its answer."""
    invocation = read_invocation(request)
    need_word(invocation.spec, request)
    venue = venue_of(reach)
    within = HISTORY_WITHIN if invocation.spec.lane is Lane.HISTORY else WITHIN
    progress = _Progress()

    async def work(operator: Operator) -> None:
        final, row = await settle(operator, invocation, live=request.live)
        if final.spec.mutates and not request.yes:
            confirm(plan_text(final, row, socket_url(venue.url) if request.ws else operator.client.base))
        operator.client.everywhere = final.spec.name  # whoever is here has said --everything
        async with open_road(operator, venue, request.ws) as road:
            progress.is_under_way = final.spec.mutates
            answer = await make(road, final, is_json=reach.json)
            progress.is_under_way = False
        show(answer, road.body, final, is_json=reach.json)

    # The lock comes before anything is asked: whoever runs with this token would lose its socket.
    held: AbstractContextManager[object] = SessionLock(venue.token) if request.ws else nullcontext()
    try:
        with held:
            at_venue(reach, work, venue=venue, within=within)
    except KeyboardInterrupt:
        if progress.is_under_way:
            complain(f"{invocation.spec.name}: {_doubt(invocation)}")
        raise


@define
class _Progress:
    """Whether something that acts at the venue is under way."""

    is_under_way: bool = False


# --- before anything is sent ---------------------------------------------------------------------------------------


def need_word(spec: RpcSpec, request: RpcRequest) -> None:
    """Raises ConfigError for what acts at the venue where nobody can be asked and ``--yes`` was not given."""
    may_ask = sys.stdin is not None and sys.stdin.isatty()
    if spec.mutates and not request.yes and not may_ask:
        raise ConfigError(
            f"{spec.name} acts at the venue, and there is no terminal to ask at: give --yes if it is meant"
        )


def read_invocation(request: RpcRequest) -> Invocation:
    """The call that a command line means. Raises ConfigError for whatever can't be right."""
    spec, args = read_words(request)
    args = check_args(spec.name, args, everything=request.everything)
    if not request.ws:
        _has_route(spec, args)
    return Invocation(spec, args)


def read_words(request: RpcRequest) -> tuple[RpcSpec, dict[str, Any]]:
    """The function that is meant and its arguments, each right by itself. Raises ConfigError."""
    if request.name is None:
        raise ConfigError("name a function, such as: xtalgo rpc ListPositions account=Sim101 (xtalgo rpc --list)")
    if "=" in request.name:
        raise ConfigError(f"the function's name comes first, not {request.name!r}: xtalgo rpc NAME key=value ...")
    spec = TABLE[request.name]
    args = args_from_text(spec.name, _pairs(spec, request.words))
    if spec.everywhere and not request.everything:
        raise ConfigError(f"{spec.name} acts on every account: give --everything if that is meant")
    if request.everything and not spec.everywhere:
        raise ConfigError(f"--everything has no meaning for {spec.name}: it acts on the account it names")
    if "account" in args:
        args["account"] = account_name(args["account"], f"{spec.name}: account")
    return spec, args


def _pairs(spec: RpcSpec, words: Sequence[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            first = next((argument.name for argument in spec.args if argument.name not in found), None)
            hint = "it takes none" if first is None else f"write name=value, such as {first}={word.lstrip('=')}"
            raise ConfigError(f"{spec.name}: {word!r} is no argument: {hint}")
        if name in found:
            raise ConfigError(f"{spec.name}: {name} is given twice")
        found[name] = text
    return found


def _has_route(spec: RpcSpec, args: dict[str, Any]) -> None:
    if not spec.paths:
        raise ConfigError(f"{spec.name}: no REST route is known; --ws calls it over the socket")
    request_of(spec, args)


async def settle(operator: Operator, invocation: Invocation, *, live: bool) -> tuple[Invocation, Account | None]:
    """The call with its account as the venue spells it, where the account matters, and that account.

    Raises ConfigError for an account that the venue doesn't have, and for one that is not known to be a simulator
    unless ``live``. What only reduces is not held up by this: it goes as it is.
    """
    if not invocation.spec.mutates or only_reduces(invocation.spec):
        return invocation, None
    assert invocation.account is not None  # the table's own test
    row = await operator.account(invocation.account)
    allow(invocation.spec, row, live=live)
    return invocation.of(row.name), row


def allow(spec: RpcSpec, row: Account, *, live: bool) -> None:
    """Raises ConfigError for an account that is not known to be a simulator, unless ``live``; warns of one offline."""
    if not row.is_simulator and not live:
        what = "not told" if row.provider is None else repr(row.provider)
        raise ConfigError(
            f"account {row.name} is not known to be a simulator (its provider is {what}); "
            f"{spec.name} on it needs --live"
        )
    if row.is_connected is False:
        complain(f"warning: {row.name} is not connected in NinjaTrader")


def plan_text(invocation: Invocation, row: Account | None, where: str) -> str:
    """What is about to be done, for people: what, where, to which account, and what it costs of the budget."""
    spec = invocation.spec
    whom = "EVERY account of this token" if spec.everywhere else f"account {invocation.account}"
    if row is not None and row.provider is None:
        whom += " (NOT KNOWN to be a simulator)"
    elif row is not None:
        whom += f" ({'simulator' if row.is_simulator else f'REAL, provider {row.provider}'})"
    lines = [f"{spec.name} at {where}, {whom}"]
    lines += [f"  {name}: {value}" for name, value in invocation.args.items() if spec.everywhere or name != "account"]
    lines += [f"  note: {spec.note}"] if spec.note else []
    lines += [f"  note: {caution}" for caution in cautions(spec, invocation.args)]
    before = "" if row is None else ", after ListAccounts, which was sent already"
    lines.append(f"  cost: 1 request of 180 a minute{before}")
    return "\n".join(lines)


def confirm(text: str) -> None:
    """Ask at the terminal. Raises ConfigError unless the answer is yes."""
    sys.stderr.write(f"{text}\nSend it? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
        raise ConfigError("not confirmed: nothing was done")


# --- the call ------------------------------------------------------------------------------------------------------


async def make(road: Road, invocation: Invocation, *, is_json: bool = False) -> Answer[Any]:
    """Make the call. Raises InDoubt where it may have been carried out, and other XtalgoErrors as they come.

    With ``is_json`` the body of a refusal is printed as well, as it came.
    """
    spec = invocation.spec
    try:
        return await road.call(spec.name, everything=spec.everywhere, **invocation.args)
    except XtalgoError as error:
        if is_json and (line := one_line(road.body)) is not None:
            sys.stdout.write(line + "\n")
        if spec.mutates and isinstance(error, OutcomeUnknown):
            raise InDoubt(f"{error}. {_doubt(invocation)}") from None
        raise


def _doubt(invocation: Invocation) -> str:
    account = invocation.account
    if account is None:
        look = "xtalgo orders --all; xtalgo positions"
    else:
        name = f'"{account}"' if " " in account else account
        look = f"xtalgo orders --account {name} --all; xtalgo positions --account {name}"
    return f"It MAY HAVE BEEN CARRIED OUT and is not sent again; look first: {look}"


@asynccontextmanager
async def open_road(operator: Operator, venue: Venue, ws: bool) -> AsyncIterator[Road]:
    """The way a call goes, open for as long as the block lasts: REST, or with ``ws`` the socket of the token."""
    if not ws:
        yield operator.client
        return
    heard = _Heard()
    async with open_client(
        dialer(socket_url(venue.url), venue.token), contracts=venue.contracts, tell=_tell, tape=heard.tape
    ) as client:
        yield _SocketRoad(client, heard)


def _tell(notice: Notice) -> None:
    if notice.is_trouble:
        complain(f"warning: {notice.text}")


@define
class _Heard:
    """The newest reply among the frames that came."""

    body: bytes = b""

    def tape(self, kind: str, _now: Ns, text: str | bytes) -> None:
        """Hear an input of the client. What a reply's ``data`` is stays as it was written."""
        if kind != "frame":
            return
        try:
            found = msgspec.json.decode(text, type=dict[str, msgspec.Raw])
        except ValueError:
            return
        if "id" in found:
            whole = text.encode() if isinstance(text, str) else text
            self.body = bytes(found["data"]) if "data" in found else whole


@frozen
class _SocketRoad:
    client: Client
    heard: _Heard

    @property
    def body(self) -> bytes:
        return self.heard.body

    async def call(self, api: str, /, *, everything: bool = False, **args: Any) -> Answer[Any]:
        self.heard.body = b""
        try:
            return await self.client.call(api, everything=everything, **args)
        except VenueError as error:
            if diagnose(api, str(error).removeprefix(f"{api}: ")).cause is Cause.OFFLINE:
                raise NoConnection(str(error)) from None
            raise


# --- the answer ----------------------------------------------------------------------------------------------------


def show(answer: Answer[Any], body: bytes, invocation: Invocation, *, is_json: bool) -> None:
    """Print an answer on standard output, and what is odd about it on standard error.

    Raises RemoteProtocolError after a list of which rows are missing: what isn't shown must not be missed.
    """
    spec = invocation.spec
    if is_json:
        line = one_line(body)
        if line is None:
            raise RemoteProtocolError(f"{spec.name}: the body can't be shown as JSON")
        sys.stdout.write(line + "\n")
    else:
        show_value(Screen(sys.stdout), answer.value, "accepted" if spec.mutates else "nothing")
    sys.stdout.flush()
    if answer.warning:
        complain(f"the venue warns: {answer.warning}")
    for fault in answer.faults:
        complain(f"warning: {spec.name}: {fault}")
    if answer.lost and not spec.mutates and not is_json:
        raise RemoteProtocolError(f"{spec.name}: {answer.lost} rows can't be read and are not shown; --json shows all")
