"""What the commands share: how an option is written down, and the options that several of them have."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Group, Parameter

from xtalgo.app.config import CONFIG_FILE
from xtalgo.app.exits import EXIT_CODES
from xtalgo.model.types import MILLISECOND_NS
from xtalgo.sim.replay import ReplaySettings

__all__ = [
    "CODES",
    "DEFAULTS",
    "ENTRY",
    "HAND_EPILOGUE",
    "REPORT",
    "WHAT",
    "WHERE",
    "AccountOption",
    "ConfigOption",
    "InstrumentOption",
    "JsonOption",
    "TokenOption",
    "UrlOption",
    "option",
    "switch",
]

CODES = "**Exit codes**\n\n" + "\n".join(f"- `{code}`: {text}" for code, text in EXIT_CODES.items())
"""What the exit codes mean, for the end of a help text."""

DEFAULTS = ReplaySettings()
ENTRY = f"{DEFAULTS.latency.entry // MILLISECOND_NS} ms"
REPORT = f"{DEFAULTS.latency.report // MILLISECOND_NS} ms"
"""Defaults that help texts tell."""


def option(group: Group, metavar: str, text: str, *names: str, several: bool = False) -> Parameter:
    """An option with a value; its default, if any, is told by ``text``."""
    return Parameter(
        name=names or None,
        help=text,
        group=group,
        metavar=metavar,
        negative="",
        show_default=False,
        consume_multiple=several,
    )


def switch(group: Group, text: str) -> Parameter:
    """A flag without a value, off unless it is given."""
    return Parameter(help=text, group=group, negative="", show_default=False)


# --- at the venue, by hand ----------------------------------------------------------------------------------------

WHERE = Group.create_ordered("Server and output")
WHAT = Group.create_ordered("What is meant")

UrlOption = Annotated[
    str | None,
    option(
        WHERE, "URL", "Another server than CrossTrade, its socket or its REST address; ws:// and http:// only here."
    ),
]
TokenOption = Annotated[
    str | None, option(WHERE, "FILE", "A file with the token and nothing else, instead of XTRADE_TOKEN.")
]
ConfigOption = Annotated[str | None, option(WHERE, "FILE", f"Settings file (default: {CONFIG_FILE}, if it is there).")]
JsonOption = Annotated[bool, switch(WHERE, "Print one JSON object a line on standard output.")]
AccountOption = Annotated[str | None, option(WHAT, "NAME", "One account (default: all).")]
InstrumentOption = Annotated[
    str | None, option(WHAT, "NAME", "One instrument; a root such as ES means all its months (default: all).")
]

HAND_EPILOGUE = f"""
It goes over REST, so it never takes the socket from a run, and works while one is live. The token is read from
`XTRADE_TOKEN` or `--token-file`, never from the command line.

{CODES}
"""
"""The end of the help text of a command that talks to the venue over REST."""
