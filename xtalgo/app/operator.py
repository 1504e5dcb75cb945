"""The operator's commands: ``accounts``, ``positions``, ``orders``, ``quote`` and ``flatten``, over REST.

REST never takes the socket from a run, so all of these work while one is live. Names of accounts are settled at the
door: an account that the venue does not list is an error, never an account without positions.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import httpx
import trio
from attrs import define, evolve, field, frozen
from rich.table import Table
from rich.text import Text

from xtalgo.app.config import load_settings
from xtalgo.app.console import Screen, complain
from xtalgo.app.exits import NoConnection, NotFlat
from xtalgo.app.news import Display, JsonDisplay, News, PlainDisplay
from xtalgo.app.venues import CROSSTRADE, TOKEN_VARIABLE, choose
from xtalgo.client.translate import seen
from xtalgo.engine.flattening import Call, End, Flattening, Reply, Step, Verdict
from xtalgo.live.clock import WallClock
from xtalgo.live.rest import RestClient
from xtalgo.live.tokens import Token
from xtalgo.model.commands import Ask, Query
from xtalgo.model.errors import (
    AuthError,
    ConfigError,
    LocalProtocolError,
    NotSent,
    OutcomeUnknown,
    RemoteProtocolError,
    VenueError,
    XtalgoError,
)
from xtalgo.model.events import OrdersSeen, PositionsSeen
from xtalgo.model.instruments import ContractBook
from xtalgo.model.reports import OrderReport, PositionReport
from xtalgo.model.types import SECOND_NS, Ns
from xtalgo.protocol.replies import Answer
from xtalgo.protocol.routes import Request, match
from xtalgo.protocol.rows import Account
from xtalgo.protocol.spec import RpcSpec

__all__ = ["FlattenRequest", "Operator", "OperatorClient", "Reach", "accounts", "flatten", "orders", "positions"]
__all__ += ["quote"]

WITHIN: Final = 10.0
"""Seconds for one step of a request."""

GLANCE: Final = 8.0
"""Seconds that ``flatten`` spends on a look before it acts."""

DEADLINES: Final = (5.0, 3_600.0)
_PASSING: Final = (408, 429)
"""Statuses of a refusal that may be over in a moment."""


# --- the way to the venue ------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Reach:
    """Which server, with which token, and how to answer."""

    url: str | None = None
    token_file: str | None = None
    config: str | None = None
    json: bool = False


class OperatorClient(RestClient):
    """A REST client whose every mutation names its account in the path and, once more, in the body.

    ``status`` is that of the last response. A request that would leave without an account raises LocalProtocolError:
    what counts is the path as httpx sends it, which has dots resolved.
    """

    status = 0

    async def _send(self, spec: RpcSpec, request: Request) -> httpx.Response:
        self.status = 0
        if spec.mutates:
            path = httpx.URL(self.base + request.path).raw_path.decode("ascii")
            found = match(request.method, path, filters=bool(request.body))
            account = "" if found is None or found.spec.name != spec.name else found.args.get("account", "")
            if not account.strip(". "):
                raise LocalProtocolError(f"{spec.name}: {request.method} {path} names no account; it was not sent")
            request = request._replace(body={**(request.body or {}), "account": account})
        response = await super()._send(spec, request)
        self.status = response.status_code
        return response


@define(eq=False)
class Operator:
    """One command at work: a client, what instruments are called, and where its words go."""

    client: OperatorClient
    contracts: ContractBook
    is_json: bool = False
    hide: Callable[[str], str] = field(default=str)

    async def accounts(self) -> tuple[Account, ...]:
        """All accounts. A list with rows that can't be read is an error, since any account may be among them."""
        return _whole(await self.client.call("ListAccounts"), "ListAccounts")

    async def account(self, wanted: str) -> Account:
        """The account of that name, in any case of letters. Raises ConfigError where the venue lists no such one."""
        answer = await self.client.call("ListAccounts")
        row = next((row for row in answer.value if row.name.casefold() == wanted.casefold()), None)
        if row is not None:
            return row
        _whole(answer, "ListAccounts")
        listing = ", ".join(sorted(row.name for row in answer.value)) or "none"
        raise ConfigError(f"there is no account {wanted!r}; the venue has: {listing}")

    async def rows(self, api: str, account: str) -> tuple[Any, ...]:
        """Rows of one account; a list that is not complete, or another account's, is an error."""
        rows = _whole(await self.client.call(api, account=account), f"{api} of {account}")
        if any(row.account is not None and row.account.casefold() != account.casefold() for row in rows):
            raise RemoteProtocolError(f"{api} of {account}: the venue answered with rows of another account")
        return rows

    def show(self, rows: Sequence[Mapping[str, Any]], nothing: str) -> None:
        """Rows as a table, or as one JSON object a line; None is left blank."""
        if self.is_json:
            for row in rows:
                sys.stdout.write(self.hide(json.dumps(row, allow_nan=False)) + "\n")
            return
        screen = Screen(sys.stdout)
        if not rows:
            screen.text(nothing)
            return
        table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0))
        for name in rows[0]:
            is_number = any(isinstance(row[name], int | float) and not isinstance(row[name], bool) for row in rows)
            table.add_column(name.replace("_", " "), justify="right" if is_number else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(self.hide(_cell(value))) for value in row.values()))
        screen.show(table)

    def canonical(self, told: str) -> str:
        """An instrument's canonical name, or what was told where that is none."""
        try:
            name = self.contracts.parse(told)
        except ConfigError:
            return told
        return name.dated(name.year) if name.year is not None else told

    def covering(self, wanted: str | None) -> Callable[[str], bool]:
        """Whether an instrument is meant by a name. A root means all its months; what can't be told apart is meant."""
        if wanted is None:
            return lambda told: True
        name = self.contracts.parse(wanted)

        def covers(told: str) -> bool:
            try:
                held = self.contracts.parse(told)
            except ConfigError:
                return True
            if held.root != name.root or not (held.is_dated and name.is_dated):
                return held.root == name.root
            years = [one.year if one.year is not None else one.year_digit for one in (held, name)]
            digits = [None if year is None else year % 10 for year in years]
            both = held.year is not None and name.year is not None
            return held.month == name.month and (held.year == name.year if both else digits[0] == digits[1])

        return covers

    async def make(self, call: Call, clock: WallClock) -> Reply:
        """Make one call of a flatten, and say how it ended. Raises AuthError for the token, and no other error."""
        step = call.step
        lost = End.UNKNOWN if step.mutates else End.NOT_DONE
        args: dict[str, Any] = {} if step in (Step.ACCOUNTS, Step.QUOTE) else {"account": call.account}
        if call.instrument is not None:
            args["instrument"] = call.instrument
        with trio.move_on_at(clock.trio_deadline(call.until)):
            try:
                answer = await self.client.call(step.value, **args)
            except AuthError:
                raise
            except NotSent as error:
                return Reply(End.NOT_DONE, text=str(error))
            except OutcomeUnknown as error:
                return Reply(lost, text=str(error))
            except VenueError as error:
                is_late = self.client.status == 429 or not step.mutates
                return Reply(End.NOT_DONE if is_late else End.REFUSED, text=str(error))
            except XtalgoError as error:
                return Reply(End.REFUSED if step.mutates else End.NOT_DONE, text=str(error))
            return self._reply(call, answer, clock.now())
        return Reply(lost, text=f"{step}: no answer in time")

    def _reply(self, call: Call, answer: Answer[Any], now: Ns) -> Reply:
        """What an answer says, with what it can't prove said aloud."""
        match call.step:
            case Step.ACCOUNTS:
                row = next((row for row in answer.value if row.name.casefold() == call.account.casefold()), None)
                if row is None:
                    return Reply(End.DONE, complete=False, text=f"the venue does not list {call.account}")
                why = f"{call.account} is not connected in NinjaTrader, so its lists prove nothing"
                return Reply(End.DONE, complete=row.is_connected is not False, text=why)
            case Step.QUOTE:
                covers = self.covering(call.instrument)
                known = len(answer.value) == 1 and covers(answer.value[0].instrument)
                return Reply(End.DONE, complete=known, text=f"the venue does not know {call.instrument}")
            case Step.ORDERS | Step.POSITIONS:
                ask = Ask.ORDERS if call.step is Step.ORDERS else Ask.POSITIONS
                told = seen(Query(ask, call.account, call.serial), answer, now, self.canonical)
                assert isinstance(told, OrdersSeen | PositionsSeen)
                rows = told.orders if isinstance(told, OrdersSeen) else told.positions
                whole = told.complete and len(rows) == len(answer.value)
                why = f"{call.step}: some rows can't be read, or are another account's"
                if isinstance(told, OrdersSeen):
                    return Reply(End.DONE, orders=told.orders, complete=whole, text=why)
                return Reply(End.DONE, positions=told.positions, complete=whole, text=why)
            case _:
                return Reply(End.DONE, text=_mutation_text(answer))


def _whole(answer: Answer[Any], what: str) -> tuple[Any, ...]:
    if not answer.is_complete:
        raise RemoteProtocolError(f"{what}: {answer.lost} rows can't be read ({'; '.join(answer.faults)})")
    rows: tuple[Any, ...] = answer.value
    return rows


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.10g}" if isinstance(value, float) else " ".join(str(value).split())


def _mutation_text(answer: Answer[Any]) -> str:
    value, parts = answer.value, []
    ids, closed = getattr(value, "order_ids", None), getattr(value, "closed_positions", None)
    if closed is not None:
        parts.append("closing " + (", ".join(f"{row.net:+d} {row.instrument}" for row in closed) or "nothing"))
    elif ids is not None:
        parts.append(f"cancelling {len(ids)} orders")
    if answer.warning:
        parts.append(answer.warning)
    return "; ".join(parts) or "done"


Work: TypeAlias = Callable[[Operator], Awaitable[None]]


def account_name(text: str) -> str:
    """An account's name fit for a URL. Raises ConfigError for none, and for dots that would lead to another address."""
    name = text.strip()
    if not name:
        raise ConfigError("--account is empty: name one account, such as Sim101")
    if not name.isprintable() or any(part.strip() in ("", ".", "..") for part in re.split(r"[/\\]", name)):
        raise ConfigError(f"--account: {name!r} can't be an account's name: in an address it would mean another one")
    return name


def _at_venue(reach: Reach, work: Work) -> None:
    """Do something at the venue; raises XtalgoError for whatever is in the way."""
    flags = {"url": reach.url, "token_file": reach.token_file}
    settings = load_settings(flags, config=reach.config, environment=os.environ)
    url = settings.live.url
    target = choose(evolve(settings, live=evolve(settings.live, url=None)), os.environ, demo=False, paper=False)
    token = target.token
    if token is None:
        raise ConfigError(
            f"there is no token: set {TOKEN_VARIABLE} or --token-file (and --url for another server than CrossTrade, "
            "such as one of xtalgo serve)"
        )
    for warning in target.warnings:
        complain(f"warning: {warning}")

    async def main() -> None:
        async with OperatorClient(url or CROSSTRADE, token, within=WITHIN) as client:
            try:
                await work(Operator(client, settings.contracts, reach.json, Token(token).hide))
            except (NotSent, OutcomeUnknown, RemoteProtocolError) as error:
                raise NoConnection(str(error)) from None
            except VenueError as error:
                if client.status in _PASSING or client.status >= 500:
                    raise NoConnection(str(error)) from None
                raise

    trio.run(main)


# --- looking -------------------------------------------------------------------------------------------------------


def accounts(reach: Reach) -> None:
    """Show the accounts of the token."""

    async def work(operator: Operator) -> None:
        rows = [
            {
                "account": row.name,
                "provider": row.provider,
                "simulator": row.is_simulator,
                "connection": row.connection_status,
                "status": row.status,
                "currency": row.denomination,
            }
            for row in await operator.accounts()
        ]
        operator.show(rows, "no accounts")

    _at_venue(reach, work)


async def _chosen(operator: Operator, account: str | None) -> list[str]:
    found = await operator.accounts() if account is None else (await operator.account(account),)
    for row in found:
        if row.is_connected is False:
            complain(f"warning: {row.name} is not connected in NinjaTrader: what it lists may be old or missing")
    return [row.name for row in found]


def positions(reach: Reach, account: str | None, instrument: str | None) -> None:
    """Show what is held, in one account or in all."""
    wanted = None if account is None else account_name(account)

    async def work(operator: Operator) -> None:
        covers = operator.covering(instrument)
        rows = [
            {
                "account": name,
                "instrument": operator.canonical(row.instrument),
                "position": row.net,
                "average_price": row.average_price,
                "market_price": row.market_price,
                "open_pnl": row.unrealized_profit_loss,
            }
            for name in await _chosen(operator, wanted)
            for row in await operator.rows("ListPositions", name)
            if row.net and covers(row.instrument)
        ]
        operator.show(rows, "no positions")

    _at_venue(reach, work)


def orders(reach: Reach, account: str | None, instrument: str | None, *, everything: bool = False) -> None:
    """Show the orders that may still trade, or ``everything`` of the session."""
    wanted = None if account is None else account_name(account)

    async def work(operator: Operator) -> None:
        covers = operator.covering(instrument)
        rows = [
            {
                "account": name,
                "instrument": None if row.instrument is None else operator.canonical(row.instrument),
                "side": row.order_action,
                "type": row.order_type,
                "quantity": row.quantity,
                "filled": row.filled,
                "limit": row.limit,
                "stop": row.stop,
                "state": row.order_state,
                "id": row.order_id,
            }
            for name in await _chosen(operator, wanted)
            for row in await operator.rows("ListOrders", name)
            if (everything or not row.state.is_done) and (row.instrument is None or covers(row.instrument))
        ]
        operator.show(rows, "no orders" if everything else "no working orders")

    _at_venue(reach, work)


def quote(reach: Reach, instruments: Sequence[str]) -> None:
    """Show the newest quote of each instrument."""
    names = [part.strip() for text in instruments for part in text.split(",")]
    if not names or not all(names):
        raise ConfigError("name one or more instruments, such as ES or 'MNQ 12-26'")

    async def work(operator: Operator) -> None:
        found = _whole(await operator.client.call("GetQuote", instrument=",".join(names)), "GetQuote")
        rows = [
            {
                "instrument": row.instrument,
                "bid": row.bid,
                "ask": row.ask,
                "last": row.last,
                "volume": row.volume,
                "utc": row.quote_time_utc,
                "open": row.is_market_open,
            }
            for row in found
        ]
        operator.show(rows, "no quotes")

    _at_venue(reach, work)


# --- flatten -------------------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class FlattenRequest:
    """What ``xtalgo flatten`` was asked for. ``deadline`` is in seconds."""

    account: str
    instrument: str | None = None
    yes: bool = False
    deadline: float = 30.0


def flatten(reach: Reach, request: FlattenRequest) -> None:
    """Cancel and close everything of one account, until the venue says twice that it is so.

    Raises NotFlat when it isn't, or isn't known to be.
    """
    account = account_name(request.account)
    if not DEADLINES[0] <= request.deadline <= DEADLINES[1]:
        raise ConfigError(f"--deadline is a number of seconds from {DEADLINES[0]:g} to {DEADLINES[1]:g}")
    if request.instrument is not None and not request.instrument.strip():
        raise ConfigError("--instrument is empty: leave it out to flatten the whole account")

    async def work(operator: Operator) -> None:
        name = await _settle(operator, account, request.instrument)
        if not request.yes and sys.stdin is not None and sys.stdin.isatty():
            await _confirm(operator, name, request.instrument)
        display = (JsonDisplay if reach.json else PlainDisplay)(sys.stdout)
        try:
            await conduct(operator, evolve(request, account=name), display, WallClock())
        finally:
            display.close()

    _at_venue(reach, work)


async def _settle(operator: Operator, account: str, instrument: str | None) -> str:
    """The account as the venue spells it. Where it doesn't answer, as it was given: this is no time to give up."""
    operator.covering(instrument)  # a name that is none is found before anything is sent
    found = account
    with trio.move_on_after(GLANCE):
        try:
            found = (await operator.account(account)).name
            if instrument is not None:
                await operator.client.call("GetQuote", instrument=instrument)
        except (AuthError, ConfigError):
            raise
        except XtalgoError as error:
            if operator.client.status in (400, 404) and isinstance(error, VenueError):
                raise ConfigError(f"{error}; leave --instrument out to flatten the whole account") from None
            complain(f"warning: {error}; going on all the same")
    return found


async def _confirm(operator: Operator, account: str, instrument: str | None) -> None:
    """Ask at the terminal. Raises NotFlat unless the answer is yes."""
    covers, told = operator.covering(instrument), "what is open there could not be read"
    with trio.move_on_after(GLANCE):
        try:
            held = [row for row in await operator.rows("ListPositions", account) if covers(row.instrument) and row.net]
            listed = await operator.rows("ListOrders", account)
            working = [row for row in listed if not row.state.is_done and covers(row.instrument or "?")]
            told = f"{', '.join(f'{row.net:+d} {row.instrument}' for row in held) or 'no position'}"
            told += f", {len(working)} working orders"
        except XtalgoError as error:
            told += f" ({error})"
    what = account if instrument is None else f"{instrument} in {account}"
    sys.stderr.write(operator.hide(f"{what}: {told}\nCancel and close all of it at market? [y/N] "))
    sys.stderr.flush()
    if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
        raise NotFlat("not confirmed: nothing was sent")


async def conduct(operator: Operator, request: FlattenRequest, display: Display, clock: WallClock) -> None:
    """Run a flatten to its verdict. Raises NotFlat when that is not *flat*."""
    start = clock.now()
    until = start + round(request.deadline * SECOND_NS)
    covers = operator.covering(request.instrument)
    machine = Flattening(request.account, start, until, request.instrument, covers)
    what = request.account if request.instrument is None else f"{request.instrument} in {request.account}"

    def tell(event: str, text: str, *, warns: bool = False, **facts: Any) -> None:
        display.tell(News(clock.wall(), event, operator.hide(text), {"account": request.account, **facts}, warns))

    tell("start", f"flattening {what}, for up to {request.deadline:g} s", instrument=request.instrument)
    verified = False
    try:
        while (calls := machine.next(clock.now())) is not None:
            for call in calls:
                reply = await operator.make(call, clock)
                machine.take(call, reply, clock.now())
                is_good = reply.end is End.DONE and reply.complete
                text = f"{_shown(call)}: {_told(reply, covers) if is_good else f'{reply.end}: {reply.text}'}"
                tell("step", text, warns=not is_good, step=call.step.value, end=reply.end.value)
            if not calls:
                await trio.sleep_until(clock.trio_deadline(machine.due))
        verified = machine.verdict is Verdict.FLAT
    finally:
        left = [position_text(row) for row in machine.positions] + [order_text(row) for row in machine.orders]
        seconds = round((clock.now() - start) / SECOND_NS, 3)
        age = None if machine.seen is None else round((clock.now() - machine.seen) / SECOND_NS, 3)
        text = f"{what} is FLAT, the venue said so twice; {seconds:.1f} s"
        if not verified:
            text = f"{what} is NOT known to be flat after {seconds:.1f} s: {machine.why}"
        facts = {"flat": verified, "left": left, "seen_ago": age, "doubts": machine.doubts, "seconds": seconds}
        tell("verdict", text, warns=not verified, **facts)
        if not verified:
            for row in left:
                tell("left", f"left, {age:.1f} s ago: {row}", warns=True)
    if not verified:
        seen_text = "its orders and positions could not be read" if age is None else "; ".join(left) or machine.why
        raise NotFlat(operator.hide(f"{what} is not known to be flat: {seen_text}. Look at NinjaTrader, or try again"))


def _shown(call: Call) -> str:
    return " ".join([call.step.value, *([] if call.instrument is None else [call.instrument])])


def _told(reply: Reply, covers: Callable[[str], bool]) -> str:
    """What an answer says, for people."""
    rows: Iterable[str] = [position_text(row) for row in reply.positions if row.quantity and covers(row.instrument)]
    working = [row for row in reply.orders if not row.standing.is_done and covers(row.instrument or "?")]
    return "; ".join([*rows, *map(order_text, working)]) or reply.text or "nothing open"


def position_text(row: PositionReport) -> str:
    """A position in a few words."""
    return f"{row.quantity:+d} {row.instrument}"


def order_text(row: OrderReport) -> str:
    """An order that may still trade, in a few words."""
    side = "" if row.side is None else f"{row.side.name} "
    prices = [price for price in (row.stop_price, row.limit_price) if price is not None]
    at = f" at {' / '.join(f'{price:.10g}' for price in prices)}" if prices else ""
    count = "?" if row.quantity is None else str(row.quantity - (row.filled or 0))
    return f"order {side}{count} {row.instrument or 'of an instrument not told'}{at}, {row.standing} ({row.order_id})"
