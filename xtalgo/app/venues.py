"""What a live run trades against, CrossTrade, another server, paper or a demo, and with which token."""

from __future__ import annotations

import enum
import os
import stat
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeAlias
from urllib.parse import urlsplit

from attrs import frozen

from xtalgo.app.config import Settings
from xtalgo.live.rest import RestClient
from xtalgo.live.tokens import Token
from xtalgo.live.wires import dialer
from xtalgo.model.errors import ConfigError, RemoteProtocolError
from xtalgo.model.instruments import ContractBook
from xtalgo.model.reports import PositionReport

__all__ = [
    "CROSSTRADE",
    "DEMO_ACCOUNT",
    "TOKEN_VARIABLE",
    "AskPositions",
    "Kind",
    "Target",
    "asker",
    "choose",
    "socket_url",
    "token_of",
]

CROSSTRADE: Final = "wss://app.crosstrade.io/ws/stream"
"""Where CrossTrade's socket is (documented)."""

TOKEN_VARIABLE: Final = "XTRADE_TOKEN"
"""The variable that the token is read from, as in CrossTrade's examples (documented)."""

DEMO_ACCOUNT: Final = "Demo101"

AskPositions: TypeAlias = Callable[[str], Awaitable[Sequence[PositionReport]]]
"""Positions of an account over another road than the link."""

_LONGEST: Final = 65_536


class Kind(enum.StrEnum):
    """What is at the other end."""

    CROSSTRADE = "crosstrade"
    SERVER = "server"
    DEMO = "demo"


@frozen
class Target:
    """The other end of a run. ``url`` and ``token`` are None in a demo, whose server is made with the run."""

    kind: Kind
    url: str | None
    token: Token | None
    is_paper: bool
    accounts: tuple[str, ...]
    warnings: tuple[str, ...] = ()
    allows_real: bool = False
    """Whether accounts that are not known to be simulators may be traded (``--live``)."""

    @property
    def name(self) -> str:
        """What it is, in a few words."""
        if self.kind is Kind.DEMO:
            return "DEMO, SYNTHETIC market"
        there = "CrossTrade" if self.kind is Kind.CROSSTRADE else f"the server at {self.shown_url}"
        return f"PAPER, quotes of {there}" if self.is_paper else there

    @property
    def mode(self) -> str:
        """One word for machines."""
        return "paper" if self.is_paper else str(self.kind)

    @property
    def shown_url(self) -> str:
        """The address without a query, in which somebody may have put a secret."""
        parts = urlsplit(self.url or "")
        return f"{parts.scheme}://{parts.hostname or ''}{f':{parts.port}' if parts.port else ''}{parts.path}"

    @property
    def fills_here(self) -> bool:
        """Whether it is us who fill orders, by the assumptions of a replay."""
        return self.is_paper or self.kind is Kind.DEMO


def choose(settings: Settings, environment: Mapping[str, str], *, demo: bool, paper: bool) -> Target:
    """What to trade against: ``demo``, or the ``url`` setting, or CrossTrade with a token, or the demo.

    Raises ConfigError for an address that may not be dialled, or a token that is missing or can't be one.
    """
    accounts = settings.replay.accounts
    url = settings.live.url
    token, warnings = (None, ()) if demo else token_of(settings, environment)
    if demo or (url is None and token is None):
        if paper:
            raise ConfigError(
                f"--paper needs live quotes: set {TOKEN_VARIABLE} or --token-file (and --url for another server than "
                "CrossTrade); without a token, --demo is what there is"
            )
        return Target(Kind.DEMO, None, None, False, accounts if "accounts" in settings.sources else (DEMO_ACCOUNT,))
    if token is None:
        raise ConfigError(f"{settings.sources.get('url', 'url')} needs a token: set {TOKEN_VARIABLE} or --token-file")
    kind = Kind.CROSSTRADE if url is None or url == CROSSTRADE else Kind.SERVER
    url = url or CROSSTRADE
    dialer(url, token)  # an address that may not be dialled is found before anything else is done
    return Target(kind, url, token, paper, accounts, warnings)


def token_of(settings: Settings, environment: Mapping[str, str]) -> tuple[Token | None, tuple[str, ...]]:
    """The token and what is to be said of it: the flag's file, the variable, or else the settings' file."""
    path = settings.live.token_file
    is_flag = settings.sources.get("token_file") == "--token-file"
    if TOKEN_VARIABLE in environment and not is_flag:
        return Token(environment[TOKEN_VARIABLE]), ()
    return (None, ()) if path is None else _read(path)


def _read(path: Path) -> tuple[Token, tuple[str, ...]]:
    try:
        with path.open("rb") as file:
            content = file.read(_LONGEST)
            mode = os.fstat(file.fileno()).st_mode
        text = content.decode("utf-8-sig")
    except OSError as error:
        raise ConfigError(f"token file {path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"token file {path}: not UTF-8 text; it holds the token and nothing else") from None
    try:
        token = Token(text)
    except ConfigError as error:
        raise ConfigError(f"token file {path}: {error}") from None
    if os.name == "posix" and stat.S_ISREG(mode) and mode & 0o077:
        return token, (f"token file {path} can be read by others on this machine: chmod 600 {path}",)
    return token, ()


def asker(url: str, token: Token | str, contracts: ContractBook) -> AskPositions:
    """Asks for the positions of an account over REST, at the host of ``url``; raises XtalgoError when it can't."""

    async def ask(account: str) -> Sequence[PositionReport]:
        async with RestClient(url, token) as client:
            answer = await client.call("ListPositions", account=account)
        if not answer.is_complete:
            raise RemoteProtocolError(f"ListPositions of {account}: some rows could not be read")
        return [
            PositionReport(account, _canonical(contracts, row.instrument), row.net, row.average_price)
            for row in answer.value
            if row.account is None or row.account.casefold() == account.casefold()
        ]

    return ask


def _canonical(contracts: ContractBook, told: str) -> str:
    try:
        name = contracts.parse(told)
    except ConfigError:
        return told
    return name.dated(name.year) if name.year is not None else told


def socket_url(url: str) -> str:
    """The socket's address behind a URL, which may be that of the REST API."""
    parts = urlsplit(url.strip())
    scheme = {"http": "ws", "https": "wss"}.get(parts.scheme)
    if scheme is None:
        return url.strip()
    return parts._replace(scheme=scheme, path=urlsplit(CROSSTRADE).path, query="", fragment="").geturl()
