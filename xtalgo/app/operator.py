"""The operator's commands over REST: ``accounts``, ``positions``, ``orders``, ``quote`` (and ``app.flatten``).

REST never takes the socket from a run, so all of these work while one is live. Names of accounts are settled at the
door: an account that the venue does not list is an error, never an account without positions.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeAlias

import httpx
import trio
from attrs import define, frozen
from rich.table import Table
from rich.text import Text

from xtalgo.app.config import Settings, load_settings
from xtalgo.app.console import Screen, complain
from xtalgo.app.venues import CROSSTRADE, TOKEN_VARIABLE, token_of
from xtalgo.live.rest import RestClient
from xtalgo.live.tokens import Token
from xtalgo.model.errors import (
    ConfigError,
    LocalProtocolError,
    NoConnection,
    NotSent,
    OutcomeUnknown,
    RemoteProtocolError,
    VenueError,
)
from xtalgo.model.instruments import ContractBook
from xtalgo.protocol.replies import Answer
from xtalgo.protocol.routes import Request, match
from xtalgo.protocol.rows import Account
from xtalgo.protocol.spec import RpcSpec

__all__ = [
    "Operator",
    "OperatorClient",
    "Reach",
    "Venue",
    "account_name",
    "accounts",
    "at_venue",
    "orders",
    "positions",
    "quote",
    "the_account",
    "venue_in",
    "venue_of",
    "whole",
]

WITHIN: Final = 10.0
"""Seconds for one step of a request."""

_PASSING: Final = (408, 429)
"""Statuses of a refusal that may be over in a moment."""

_WITH_SIBLING: Final = frozenset({"Flatten", "CancelOrders"})
"""Functions whose route without the account's part is that of all accounts."""


# --- the way to the venue ------------------------------------------------------------------------------------------


@frozen(kw_only=True)
class Reach:
    """Which server, with which token, and how to answer."""

    url: str | None = None
    token_file: str | None = None
    config: str | None = None
    json: bool = False


class OperatorClient(RestClient):
    """A REST client whose every mutation names its account in the path.

    A request that would leave without an account raises LocalProtocolError: what counts is the path as httpx sends it,
    which has dots resolved. The one function that may is ``everywhere``, by name. What has a sibling for all accounts
    names its account in the body once more.
    """

    status = 0
    """That of the last response; 0 when none came."""
    body = b""
    """That of the last response, as it came."""
    everywhere = ""

    async def _send(self, spec: RpcSpec, request: Request) -> httpx.Response:
        self.status, self.body = 0, b""
        if spec.mutates and not (spec.everywhere and spec.name == self.everywhere):
            path = httpx.URL(self.base + request.path).raw_path.decode("ascii")
            found = match(request.method, path, filters=bool(request.body))
            account = "" if found is None or found.spec.name != spec.name else found.args.get("account", "")
            if not account.strip(". "):
                raise LocalProtocolError(f"{spec.name}: {request.method} {path} names no account; it was not sent")
            if spec.name in _WITH_SIBLING:
                request = request._replace(body={**(request.body or {}), "account": account})
        response = await super()._send(spec, request)
        self.status, self.body = response.status_code, response.content
        return response


@define(eq=False)
class Operator:
    """One command at work: a client, what instruments are called, and where its words go."""

    client: OperatorClient
    contracts: ContractBook
    is_json: bool = False

    async def accounts(self) -> tuple[Account, ...]:
        """All accounts. A list with rows that can't be read is an error, since any account may be among them."""
        return whole(await self.client.call("ListAccounts"), "ListAccounts")

    async def account(self, wanted: str) -> Account:
        """The account of that name, in any case of letters. Raises ConfigError where the venue lists no such one."""
        answer = await self.client.call("ListAccounts")
        known = {row.name.casefold(): row for row in answer.value}
        if wanted.casefold() not in known:
            whole(answer, "ListAccounts")
        return the_account(known, wanted)

    async def rows(self, api: str, account: str) -> tuple[Any, ...]:
        """Rows of one account; a list that is not complete, or another account's, is an error."""
        rows = whole(await self.client.call(api, account=account), f"{api} of {account}")
        if any(row.account is not None and row.account.casefold() != account.casefold() for row in rows):
            raise RemoteProtocolError(f"{api} of {account}: the venue answered with rows of another account")
        return rows

    def show(self, rows: Sequence[Mapping[str, Any]], nothing: str) -> None:
        """Rows as a table, or as one JSON object a line; None is left blank."""
        if self.is_json:
            for row in rows:
                sys.stdout.write(json.dumps(row, allow_nan=False) + "\n")
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
            table.add_row(*(Text(_cell(value)) for value in row.values()))
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


def the_account(known: Mapping[str, Account], wanted: str) -> Account:
    """The account of that name in any case, out of those ``known`` by lower case. Raises ConfigError for none."""
    found = known.get(wanted.casefold())
    if found is None:
        listing = ", ".join(sorted(row.name for row in known.values())) or "none"
        raise ConfigError(f"there is no account {wanted!r}; the venue has: {listing}")
    return found


def whole(answer: Answer[Any], what: str) -> tuple[Any, ...]:
    """The rows of a list. Raises RemoteProtocolError when some can't be read: what isn't shown must not be missed."""
    if not answer.is_complete:
        raise RemoteProtocolError(f"{what}: {answer.lost} rows can't be read ({'; '.join(answer.faults)})")
    rows: tuple[Any, ...] = answer.value
    return rows


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.10g}" if isinstance(value, float) else " ".join(str(value).split())


Work: TypeAlias = Callable[[Operator], Awaitable[None]]


def account_name(text: str, what: str = "--account") -> str:
    """An account's name fit for a URL. Raises ConfigError for none, and for dots that would lead to another address."""
    name = text.strip()
    if not name:
        raise ConfigError(f"{what} is empty: name one account, such as Sim101")
    if not name.isprintable() or any(part.strip() in ("", ".", "..") for part in re.split(r"[/\\]", name)):
        raise ConfigError(f"{what}: {name!r} can't be an account's name: in an address it would mean another one")
    return name


@frozen
class Venue:
    """The venue that a command means. ``url`` may be that of the socket or of the REST API."""

    url: str
    token: Token
    contracts: ContractBook


def venue_of(reach: Reach) -> Venue:
    """URL and token, found as for a run, and warnings told; raises ConfigError."""
    flags = {"url": reach.url, "token_file": reach.token_file}
    return venue_in(load_settings(flags, config=reach.config, environment=os.environ))


def venue_in(settings: Settings) -> Venue:
    """The same out of settings that were loaded."""
    token, warnings = token_of(settings, os.environ)
    if token is None:
        raise ConfigError(
            f"there is no token: set {TOKEN_VARIABLE} or --token-file (and --url for another server than CrossTrade, "
            "such as one of xtalgo serve)"
        )
    for warning in warnings:
        complain(f"warning: {warning}")
    return Venue(settings.live.url or CROSSTRADE, token, settings.contracts)


def at_venue(reach: Reach, work: Work, *, venue: Venue | None = None, within: float = WITHIN) -> None:
    """Do something at the venue; raises XtalgoError for what is in the way. ``within`` is in seconds, for one step."""
    where = venue_of(reach) if venue is None else venue

    async def main() -> None:
        async with OperatorClient(where.url, where.token, within=within) as client:
            try:
                await work(Operator(client, where.contracts, reach.json))
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

    at_venue(reach, work)


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
        names = await _chosen(operator, wanted)
        if wanted is None:
            held = whole(await operator.client.call("GetAllPositions"), "GetAllPositions")
        else:
            held = await operator.rows("ListPositions", names[0])
        rows = [
            {
                "account": row.account or (names[0] if wanted is not None else None),
                "instrument": operator.canonical(row.instrument),
                "position": row.net,
                "average_price": row.average_price,
                "market_price": row.market_price,
                "open_pnl": row.unrealized_profit_loss,
            }
            for row in held
            if row.net and covers(row.instrument)
        ]
        operator.show(rows, "no positions")

    at_venue(reach, work)


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

    at_venue(reach, work)


def quote(reach: Reach, instruments: Sequence[str]) -> None:
    """Show the newest quote of each instrument."""
    names = [part.strip() for text in instruments for part in text.split(",")]
    if not names or not all(names):
        raise ConfigError("name one or more instruments, such as ES or 'MNQ 12-26'")

    async def work(operator: Operator) -> None:
        found = whole(await operator.client.call("GetQuote", instrument=",".join(names)), "GetQuote")
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

    at_venue(reach, work)
