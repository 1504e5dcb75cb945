"""``xtalgo serve``: a CrossTrade server of our own."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Group, Parameter

from xtalgo.app.commands.options import CODES, DEFAULTS, ENTRY, option, switch
from xtalgo.app.config import CONFIG_FILE

__all__ = ["EPILOGUE", "serve"]

_SERVER = Group.create_ordered("Server")
_QUOTES = Group.create_ordered("Quotes and time")
_VENUE = Group.create_ordered("Assumptions (explained by xtalgo run --help)")

EPILOGUE = f"""
**What it is.** CrossTrade's WebSocket and REST API with simulated accounts, to build and test clients against. Quotes
are those of a recording, or of an endless synthetic market that has no closing hours. Every client with the token is
the same user, so the newer connection ends the older one. `docs/server.md` tells the keys of the fault file and of the
file of ATM templates, lockstep and what had to be assumed.

Ctrl-C and SIGTERM end it with exit code 0.

{CODES}
"""


def serve(
    *files: Annotated[
        str,
        Parameter(
            name="FILE",
            help="Recorded quotes: Parquet or CSV files, folders or patterns (default: none).",
            group=_QUOTES,
        ),
    ],
    host: Annotated[
        str, option(_SERVER, "ADDRESS", "Where to listen (default: 127.0.0.1, for this machine alone).")
    ] = "127.0.0.1",
    port: Annotated[int, option(_SERVER, "N", "The port; 0 picks a free one (default: 8765).")] = 8765,
    token: Annotated[
        str, option(_SERVER, "TEXT", "What clients must present; not your CrossTrade token (default: demo).")
    ] = "demo",
    accounts: Annotated[
        tuple[str, ...],
        option(_SERVER, "NAMES", f"Simulated accounts, with commas (default: {', '.join(DEFAULTS.accounts)})."),
    ] = (),
    faults: Annotated[
        str | None, option(_SERVER, "FILE", "TOML file of what shall go wrong (default: nothing).")
    ] = None,
    dialect: Annotated[
        str | None,
        option(_SERVER, "FILE", "TOML file of how it speaks where nobody outside knows (default: as assumed)."),
    ] = None,
    atm: Annotated[
        str | None, option(_SERVER, "FILE", "TOML file of ATM templates (default: Scalp, TwoTargets and StopOnly).")
    ] = None,
    json: Annotated[
        bool, switch(_SERVER, "Print one JSON object with the addresses on standard output, and no more.")
    ] = False,
    config: Annotated[
        str | None, option(_SERVER, "FILE", f"Settings file (default: {CONFIG_FILE}, if it is there).")
    ] = None,
    speed: Annotated[float, option(_QUOTES, "X", "How many times as fast as real the quotes come (default: 1).")] = 1.0,
    lockstep: Annotated[
        bool, switch(_QUOTES, "Simulated time moves only when the client has dealt with everything so far.")
    ] = False,
    seed: Annotated[
        int, option(_QUOTES, "N", "Of the synthetic market, and of faults whose file has none (default: 7).")
    ] = 7,
    sort: Annotated[
        bool, switch(_QUOTES, "Sort quotes whose time goes back inside a file, which is an error otherwise.")
    ] = False,
    entry_latency: Annotated[
        str | None, option(_VENUE, "TIME", f"Time from a call to its being carried out (default: {ENTRY}).")
    ] = None,
    slippage: Annotated[
        str | None, option(_VENUE, "TICKS", f"Of market and stop orders (default: {DEFAULTS.fills.slippage}).")
    ] = None,
    commission: Annotated[str | None, option(_VENUE, "DOLLARS", "Per contract and side (default: by root).")] = None,
    ideal: Annotated[bool, switch(_VENUE, "The three above are zero, except those given beside it.")] = False,
    touch: Annotated[
        bool | None, Parameter(help="Limit orders fill when touched.", group=_VENUE, show_default=False)
    ] = None,
    stop_trigger: Annotated[
        str | None,
        option(
            _VENUE, "WHAT", f"What triggers a stop: last, quote or either (default: {DEFAULTS.fills.stop_trigger})."
        ),
    ] = None,
    oco: Annotated[
        str | None,
        option(_VENUE, "RULE", f"Of a partial fill in an OCO group: cancel or reduce (default: {DEFAULTS.fills.oco})."),
    ] = None,
) -> None:
    """Serve CrossTrade's API with simulated accounts, over recorded or synthetic quotes.

    `xtalgo serve` or `xtalgo serve backtest_data --speed 10`
    """
    arguments = dict(locals())  # before anything else is: the arguments alone
    from xtalgo.app.serve import ServeRequest, run_server

    flags = ("entry_latency", "slippage", "commission", "touch", "stop_trigger", "oco")
    run_server(
        ServeRequest(
            files=files,
            host=host,
            port=port,
            token=token,
            speed=speed,
            accounts=accounts,
            faults=faults,
            dialect=dialect,
            atm=atm,
            lockstep=lockstep,
            seed=seed,
            flags={name: arguments[name] for name in flags},
            ideal=ideal,
            config=config,
            sort=sort,
            json=json,
        )
    )
