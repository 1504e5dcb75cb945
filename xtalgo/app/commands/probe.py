"""``xtalgo probe``: what nobody outside knows, found out on a simulator account."""

from __future__ import annotations

from typing import Annotated

from xtalgo.app.commands.options import (
    CODES,
    WHAT,
    WHERE,
    ConfigOption,
    JsonOption,
    TokenOption,
    UrlOption,
    option,
    switch,
)

__all__ = ["EPILOGUE", "probe"]

EPILOGUE = f"""
**What it does.** A number of small steps, each told in a line before it acts, on a simulator account that holds nothing
and has no working orders; any other is refused. Orders are BUY LIMIT 1, some 20 % below the market, and are cancelled
at once; no market order is ever sent. One step opens a second connection of its own, one makes cheap calls until the
first is refused for the rate limit. Ctrl-C at any time cancels what was placed. `docs/dialect.md` tells all of it.

**What it writes.** A dialect file, which every later run at this venue reads, and a report in Markdown with the raw
frames, in which token and account names are hidden.

Don't run it beside a live run on another machine: the venue allows one connection per user, and the newer one wins.

{CODES}
"""


def probe(
    *,
    account: Annotated[str, option(WHAT, "NAME", "The simulator account, such as Sim101; there is no default.")],
    instrument: Annotated[str, option(WHAT, "NAME", "What to watch and to place orders in (default: ES).")] = "ES",
    skip: Annotated[tuple[str, ...], option(WHAT, "STEP", "Steps to leave out, with commas; may be repeated.")] = (),
    yes: Annotated[bool, switch(WHAT, "Don't ask at the terminal; elsewhere it never asks.")] = False,
    output: Annotated[
        str | None,
        option(
            WHERE, "FILE", "The dialect file (default: in your data folder, where runs look for it).", "--output", "-o"
        ),
    ] = None,
    report: Annotated[
        str | None, option(WHERE, "FILE", "The report (default: beside the dialect file, as .md).")
    ] = None,
    url: UrlOption = None,
    token_file: TokenOption = None,
    config: ConfigOption = None,
    json: JsonOption = False,
) -> None:
    """Find out on a simulator account what nobody outside knows about the venue, and write it down for later runs.

    `xtalgo probe --account Sim101`
    """
    from xtalgo.app.probe import ProbeRequest, run_probe

    run_probe(
        ProbeRequest(
            account=account,
            instrument=instrument,
            output=output,
            report=report,
            skip=skip,
            yes=yes,
            json=json,
            url=url,
            token_file=token_file,
            config=config,
        )
    )
