"""``xtalgo record``: a run without a strategy."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Group, Parameter

from xtalgo.app.commands.options import CODES, option, switch
from xtalgo.app.config import CONFIG_FILE

__all__ = ["EPILOGUE", "record"]

_WHAT = Group.create_ordered("What is recorded")
_WHERE = Group.create_ordered("Server and output")

EPILOGUE = f"""
**It trades nothing.** It needs no account and no `--live`, and places no order, ever. But CrossTrade allows one
connection per user, and the newest wins: a recording takes the socket from a run, and a run from a recording. A run
writes its market down by itself, and its journal can be packed as well.

The token is read from `XTRADE_TOKEN` or `--token-file`, never from the command line.

{CODES}
"""


def record(
    *instruments: Annotated[
        str,
        Parameter(
            name="INSTRUMENT",
            help="As many as follow; a root such as ES is the contract that the venue names.",
            group=_WHAT,
        ),
    ],
    for_: Annotated[
        float | None, option(_WHAT, "SECONDS", "End after this many seconds (default: at Ctrl-C).", "--for")
    ] = None,
    account: Annotated[
        tuple[str, ...],
        option(_WHAT, "NAME", "An account whose P&L is recorded, too; may be repeated (default: none)."),
    ] = (),
    pnl: Annotated[
        bool | None,
        Parameter(help="Whether to record P&L: of all accounts, if none is named.", group=_WHAT, show_default=False),
    ] = None,
    journal: Annotated[
        str | None,
        option(_WHERE, "FILE", "Where it is written (default: a new file in your data folder, told at the start)."),
    ] = None,
    demo: Annotated[
        bool,
        switch(
            _WHERE, "Record a server of our own with a synthetic market; also what happens without a token and --url."
        ),
    ] = False,
    url: Annotated[
        str | None, option(_WHERE, "URL", "Another server than CrossTrade; ws:// only on this machine.")
    ] = None,
    token_file: Annotated[
        str | None, option(_WHERE, "FILE", "A file with the token and nothing else, instead of XTRADE_TOKEN.")
    ] = None,
    json: Annotated[
        bool, switch(_WHERE, "Print one JSON object a line on standard output, everything else on standard error.")
    ] = False,
    config: Annotated[
        str | None, option(_WHERE, "FILE", f"Settings file (default: {CONFIG_FILE}, if it is there).")
    ] = None,
) -> None:
    """Record one's own market: quotes as they come, with every drop, in a journal that `xtalgo pack` makes files of.

    `xtalgo record ES MNQ --for 3600`
    """
    from xtalgo.app.record import RecordRequest
    from xtalgo.app.record import record as make

    make(
        RecordRequest(
            instruments=instruments,
            duration=for_,
            journal=journal,
            accounts=account,
            pnl=pnl,
            demo=demo,
            url=url,
            token_file=token_file,
            config=config,
            json=json,
        )
    )
