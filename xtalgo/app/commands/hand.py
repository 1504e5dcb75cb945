"""The commands by hand: ``accounts``, ``positions``, ``orders``, ``quote``, ``flatten`` and ``halt``."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from xtalgo.app.commands.options import (
    WHAT,
    AccountOption,
    ConfigOption,
    InstrumentOption,
    JsonOption,
    TokenOption,
    UrlOption,
    option,
    switch,
)
from xtalgo.app.console import Screen

__all__ = ["accounts", "flatten", "halt", "orders", "positions", "quote"]


def accounts(
    *,
    url: UrlOption = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """List the accounts of the token."""
    from xtalgo.app import operator

    operator.accounts(operator.Reach(url=url, token_file=token_file, config=config, json=json))


def positions(
    *,
    account: AccountOption = None,
    instrument: InstrumentOption = None,
    url: UrlOption = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """List what is held, whoever bought it."""
    from xtalgo.app import operator

    reach = operator.Reach(url=url, token_file=token_file, config=config, json=json)
    operator.positions(reach, account, instrument)


def orders(
    *,
    account: AccountOption = None,
    instrument: InstrumentOption = None,
    all_: Annotated[
        bool,
        Parameter(
            name="--all", help="The session's finished orders, too.", group=WHAT, negative="", show_default=False
        ),
    ] = False,
    url: UrlOption = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """List the orders that may still trade, whoever placed them."""
    from xtalgo.app import operator

    reach = operator.Reach(url=url, token_file=token_file, config=config, json=json)
    operator.orders(reach, account, instrument, everything=all_)


def quote(
    *names: Annotated[str, Parameter(name="INSTRUMENT", help="Instruments, as many as follow.", group=WHAT)],
    instrument: Annotated[tuple[str, ...], option(WHAT, "NAME", "The same as an option; may be repeated.")] = (),
    url: UrlOption = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Show the newest quotes of some instruments: `xtalgo quote ES "MNQ 12-26"`."""
    from xtalgo.app import operator

    reach = operator.Reach(url=url, token_file=token_file, config=config, json=json)
    operator.quote(reach, (*names, *instrument))


def flatten(
    *,
    account: Annotated[str, option(WHAT, "NAME", "The account; there is no default, and never more than one.")],
    instrument: InstrumentOption = None,
    yes: Annotated[bool, switch(WHAT, "Don't ask at the terminal; elsewhere it never asks.")] = False,
    deadline: Annotated[
        float, option(WHAT, "SECONDS", "Give up and exit with code 6 after this long (default: 30).")
    ] = 30.0,
    url: UrlOption = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Cancel every order and close every position of an account, until the venue says twice that it is flat.

    Whoever placed or bought it. Exit code 0 means verified flat; 6 means not flat, or not known to be.
    """
    from xtalgo.app import operator
    from xtalgo.app.flatten import FlattenRequest
    from xtalgo.app.flatten import flatten as make_flat

    reach = operator.Reach(url=url, token_file=token_file, config=config, json=json)
    make_flat(reach, FlattenRequest(account=account, instrument=instrument, yes=yes, deadline=deadline))


def halt(*, off: Annotated[bool, switch(WHAT, "Remove the file.")] = False) -> None:
    """Write the HALT file of this user: while it is there, no run opens anything, and entries are cancelled.

    Positions and their protective orders stay; `xtalgo flatten` closes them.
    """
    from xtalgo.app.haltfile import HaltFile

    file = HaltFile()
    if off:
        told = "removed" if file.clear() else "it was not there"
    else:
        told = "written" if file.set() else "it was there already"
    Screen(sys.stdout).text(f"{file.path}: {told}")
