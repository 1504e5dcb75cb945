"""The conversation before a run: do these accounts exist, what does each instrument stand for, are its facts ours?

Names are settled at the door: accounts in the venue's own spelling, instruments as dated contracts. A root is resolved
once, through the venue, and stays what it was for the whole run.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any, Final

from attrs import define, field, frozen

from xtalgo.client.calls import End, Settled
from xtalgo.model.errors import ConfigError
from xtalgo.model.instruments import ContractBook
from xtalgo.model.sessions import to_datetime
from xtalgo.model.types import Ns
from xtalgo.protocol.market import QuoteSnapshot
from xtalgo.protocol.orders import Call
from xtalgo.protocol.rows import Account
from xtalgo.protocol.times import parse_stamp

__all__ = ["Pin", "Setup"]

ATTEMPTS: Final = 5
"""How often an instrument is asked about before a dated name is taken as it stands."""


@frozen
class Pin:
    """What an instrument stands for in this run. ``expires`` is the venue's expiration date, where it told one."""

    asked: str
    name: str
    expires: dt.date | None = None

    @property
    def is_nominal(self) -> bool:
        """Whether the date only names the delivery month: NinjaTrader writes its first day (documented by example)."""
        return self.expires is not None and self.expires.day == 1

    def days_left(self, now: Ns) -> int | None:
        """Days from the date of ``now`` (New York) to the expiration."""
        if self.expires is None:
            return None
        return (self.expires - to_datetime(now, "America/New_York").date()).days


@define(eq=False)
class Setup:
    """What is to be asked before the engine is made, and what came of it."""

    wanted_accounts: tuple[str, ...]
    wanted_names: tuple[str, ...]
    contracts: ContractBook
    real_allowed: bool = False
    accounts: tuple[str, ...] = ()
    """The accounts in the venue's spelling."""
    pins: dict[str, Pin] = field(factory=dict)
    notices: list[str] = field(factory=list)
    next: list[Call] = field(factory=list)
    """Calls that an answer led to; whoever makes them takes them out."""
    _rows: dict[str, Account] = field(factory=dict)
    """The wanted accounts as they are listed, by their names."""
    _alone: dict[str, Account] = field(factory=dict)
    """Those of which the list tells no provider, so that each is asked about by itself."""
    _tries: dict[str, int] = field(factory=dict)

    def calls(self) -> Iterable[Call]:
        """Everything that is still to be asked."""
        if self._alone:
            for name in self._alone:
                yield Call("GetAccount", {"account": name})
        elif not self.accounts:
            yield Call("ListAccounts", {})
        for name in self.wanted_names:
            if name not in self.pins:
                yield Call("GetQuote", {"instrument": name})

    @property
    def is_done(self) -> bool:
        """Whether everything was answered."""
        return bool(self.accounts) and all(name in self.pins for name in self.wanted_names)

    def take(self, call: Call, settled: Settled[Any]) -> bool:
        """Take in an end of a call; whether it is to be asked again. Raises ConfigError when the run can't begin."""
        if settled.end is not End.DONE:
            return self._failed(call, settled)
        assert settled.answer is not None
        if call.api == "ListAccounts":
            self._accounts(settled.answer.value)
        elif call.api == "GetAccount":
            self._account(call.args["account"], settled.answer.value)
        else:
            self.quoted(call.args["instrument"], settled.answer.value)
        return False

    def _failed(self, call: Call, settled: Settled[Any]) -> bool:
        name = call.args.get("instrument")
        if call.api == "GetAccount" and settled.end is End.REFUSED:
            account = call.args["account"]
            raise ConfigError(
                f"account {account} is not known to be a simulator ({settled.text}); trading it needs --live"
            )
        key = f"{call.api}/{name}"
        self._tries[key] = self._tries.get(key, 0) + 1
        if settled.end is not End.REFUSED and (name is None or self._tries[key] < ATTEMPTS):
            return True
        if name is None:
            raise ConfigError(f"the venue did not say which accounts there are: {settled.text}")
        if settled.end is End.REFUSED:
            raise ConfigError(f"the venue does not know the instrument {name!r}: {settled.text}")
        self.unquoted(name, settled.text)
        return False

    def unquoted(self, name: str, why: str) -> Pin:
        """GetQuote was not answered: a dated name is taken as it stands. Raises ConfigError for any other."""
        if self.contracts.parse(name).year is None:
            raise ConfigError(
                f"{name!r} could not be resolved to a contract: {why}; give a dated name such as 'ES 12-26'"
            )
        self.notices.append(f"{name}: the venue gave no quote to compare contract facts with: {why}")
        return self._pin(name, name, None)

    def _accounts(self, rows: tuple[Account, ...]) -> None:
        known = {row.name.casefold(): row for row in rows}
        found: dict[str, Account] = {}
        for wanted in self.wanted_accounts:
            row = known.get(wanted.casefold())
            if row is None:
                listing = ", ".join(sorted(row.name for row in rows)) or "none"
                raise ConfigError(
                    f"there is no account {wanted!r}; the venue has: {listing}. Choose one with --account"
                )
            found[row.name] = row
        self._rows = found
        if not self.real_allowed:
            self._alone = {name: row for name, row in found.items() if row.provider is None}
        self.next += [Call("GetAccount", {"account": name}) for name in self._alone]
        if not self._alone:
            self._admit()

    def _account(self, asked: str, row: Account) -> None:
        if self._alone.pop(asked, None) is None:
            return  # asked twice
        if row.name.casefold() != asked.casefold():
            raise ConfigError(f"GetAccount of {asked}: the venue answered with another account, {row.name}")
        self._rows[asked] = row
        if not self._alone:
            self._admit()

    def _admit(self) -> None:
        """Take the accounts, if they may be traded. Raises ConfigError when one may not."""
        for row in self._rows.values():
            if not self.real_allowed and not row.is_simulator:
                what = "not told" if row.provider is None else repr(row.provider)
                raise ConfigError(
                    f"account {row.name} is not known to be a simulator (its provider is {what}); "
                    "trading it needs --live"
                )
            if row.is_connected is False:
                self.notices.append(f"account {row.name} is not connected in NinjaTrader")
        self.accounts = tuple(self._rows)

    def quoted(self, asked: str, rows: tuple[QuoteSnapshot, ...]) -> Pin:
        """GetQuote was answered. Raises ConfigError when it names no contract, or one whose facts are not ours."""
        if len(rows) != 1:
            raise ConfigError(f"{asked!r}: the venue answered with {len(rows)} contracts; give a dated name")
        row = rows[0]
        stamp = parse_stamp(row.expiration)
        expires = None if stamp is None else dt.date(1970, 1, 1) + dt.timedelta(seconds=stamp.wall // 10**9)
        pin = self._pin(asked, row.instrument, expires)
        contract = self.contracts.contract(pin.name)
        for what, told, ours in (
            ("tick size", row.tick_size, contract.tick_size),
            ("point value", row.point_value, contract.point_value),
        ):
            if told and abs(told - ours) > 1e-12 * ours:
                raise ConfigError(
                    f"{pin.name}: the venue's {what} is {told:g}, ours is {ours:g}; "
                    f"correct it under [instruments.{contract.root}] in xtalgo.toml"
                )
        return pin

    def _pin(self, asked: str, told: str, expires: dt.date | None) -> Pin:
        name = self.contracts.parse(told)
        if not name.is_dated:
            raise ConfigError(f"{asked!r}: the venue answered with {told!r}, no contract; give a dated name")
        wanted = self.contracts.parse(asked)
        if wanted.root != name.root or wanted.month not in (None, name.month) or wanted.year not in (None, name.year):
            raise ConfigError(f"{asked!r}: the venue answered with another instrument, {told!r}")
        pin = Pin(asked, name.dated(name.year or 2000), expires)
        self.contracts.contract(pin.name)
        self.pins[asked] = pin
        return pin

    def pin(self, text: str) -> str:
        """The canonical name that a spelling stands for in this run. Raises ConfigError for a root never asked for."""
        if text in self.pins:
            return self.pins[text].name
        name = self.contracts.parse(text)
        for pin in self.pins.values():
            known = self.contracts.parse(pin.name)
            if name.root == known.root and (not name.is_dated or name == known):
                return pin.name
        if name.year is not None:
            return name.dated(name.year)
        raise ConfigError(
            f"{text!r} was not resolved before the run; make it a parameter (`name: Instrument = {text!r}`), "
            "or give a dated name"
        )
