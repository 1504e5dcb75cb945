"""The command line: runs, servers, recordings and commands by hand. Exit codes and errors are decided here."""

from __future__ import annotations

import inspect
import linecache
import os
import re
import sys
import traceback
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated

from cyclopts import App, CycloptsError, Group, Parameter

from xtalgo import __version__
from xtalgo.app.config import CONFIG_FILE, SETTINGS, load_settings
from xtalgo.app.console import Screen, complain, prepare_streams, progress
from xtalgo.app.exits import BROKEN_PIPE, EXIT_CODES, INTERNAL, INTERRUPTED, OK, USAGE, code_of
from xtalgo.app.loader import is_strategy_file, shown_path
from xtalgo.model.errors import StrategyError, XtalgoError
from xtalgo.model.roots import DEFAULT_COMMISSION, ROOTS
from xtalgo.model.types import MILLISECOND_NS
from xtalgo.sim.fills import Fees, FillModel, Latency
from xtalgo.sim.replay import ReplaySettings

__all__ = ["EXIT_CODES", "app", "main"]

# --- help --------------------------------------------------------------------------------------------------------


def _paragraphs(cls: type) -> str:
    return inspect.cleandoc(cls.__doc__ or "")  # there are none under python -OO


def _commissions() -> str:
    """The table of commissions, cheapest first."""
    roots: dict[float, list[str]] = {}
    for root, facts in ROOTS.items():
        roots.setdefault(facts.commission, []).append(root)
    lines = [f"- ${price:.2f}: {', '.join(names)}" for price, names in sorted(roots.items())]
    return "\n".join([*lines, f"- ${DEFAULT_COMMISSION:.2f}: any other"])


_CODES = "**Exit codes**\n\n" + "\n".join(f"- `{code}`: {text}" for code, text in EXIT_CODES.items())

_RUN_EPILOGUE = f"""
**Fills.** {_paragraphs(FillModel)}

**Latency.** {_paragraphs(Latency)}

**Fees.** {_paragraphs(Fees)} The assumed figures:

{_commissions()}

**Settings** come from flags, then environment variables (`XTALGO_DAILY_LOSS` for `--daily-loss`, and so on;
`XTALGO_ACCOUNTS` and `XTALGO_CONFIG` too), then `{CONFIG_FILE}` (tables `[replay]`, `[risk]`, `[live]`,
`[instruments.NAME]`; `accounts` on top), then defaults. A name that is not known is an error. `XTALGO_DEBUG=1` shows
whole tracebacks.

**The token** is read from the variable `XTRADE_TOKEN` or from a file (`--token-file`), never from the command line,
where every program of this machine could read it.

{_CODES}
"""

app = App(
    name="xtalgo",
    version=__version__,
    help="Event-driven algorithmic trading for futures: NinjaTrader 8 over CrossTrade's WebSocket API.",
    help_epilogue=f"`xtalgo run --help` says every assumption that results rest on.\n\n{_CODES}",
    help_format="markdown",
)

_INPUT = Group.create_ordered("Strategies and recording")
_LIVE = Group.create_ordered("Live runs: without --replay")
_MODEL = Group.create_ordered("Assumptions (explained below)")
_RISK = Group.create_ordered("Risk limits of each strategy (default: none)")
_GUARDS = Group.create_ordered("Guards of each account, over all strategies (default: none)")
_OUTPUT = Group.create_ordered("Output and settings")

_defaults = ReplaySettings()
_ENTRY = f"{_defaults.latency.entry // MILLISECOND_NS} ms"
_REPORT = f"{_defaults.latency.report // MILLISECOND_NS} ms"


def _option(group: Group, metavar: str, text: str, *names: str, several: bool = False) -> Parameter:
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


def _switch(group: Group, text: str) -> Parameter:
    return Parameter(help=text, group=group, negative="", show_default=False)


# --- commands ----------------------------------------------------------------------------------------------------


@app.command(help_epilogue=_RUN_EPILOGUE)
def run(
    *files: Annotated[
        str,
        Parameter(name="FILE", help="Strategy files, FILE.py or FILE.py:NAME; they run side by side.", group=_INPUT),
    ],
    replay: Annotated[
        tuple[str, ...],
        _option(
            _INPUT,
            "PATH...",
            "Recorded quotes: Parquet or CSV files, folders or patterns, as many as follow.",
            several=True,
        ),
    ] = (),
    param: Annotated[
        tuple[str, ...],
        _option(
            _INPUT,
            "NAME=VALUE",
            "A parameter of the strategies that have it, or Class.NAME=VALUE of one; give one -p for each.",
            "--param",
            "-p",
        ),
    ] = (),
    strategy: Annotated[
        tuple[str, ...], _option(_INPUT, "NAME", "Which class to run where a file holds several; may be repeated.")
    ] = (),
    sort: Annotated[
        bool, _switch(_INPUT, "Sort quotes whose time goes back inside a file, which is an error otherwise.")
    ] = False,
    as_live: Annotated[
        bool,
        _switch(
            _INPUT,
            "Replay through the whole live client and a simulated server: fills are seen when a live run's polls would "
            "find them. Slower.",
        ),
    ] = False,
    demo: Annotated[
        bool,
        _switch(
            _LIVE,
            "Trade against a server of our own with a synthetic market and the account Demo101; also what happens "
            "without a token and --url.",
        ),
    ] = False,
    paper: Annotated[
        bool, _switch(_LIVE, "Live quotes, our own fills by the assumptions below: no order leaves this machine.")
    ] = False,
    live: Annotated[
        bool, _switch(_LIVE, "Allow accounts that are no simulators. Refused for now: it needs guards yet to come.")
    ] = False,
    url: Annotated[
        str | None,
        _option(
            _LIVE,
            "URL",
            "Another server than CrossTrade; ws:// only on this machine (default: wss://app.crosstrade.io/ws/stream, "
            "if there is a token).",
        ),
    ] = None,
    token_file: Annotated[
        str | None, _option(_LIVE, "FILE", "A file with the token and nothing else, instead of XTRADE_TOKEN.")
    ] = None,
    for_: Annotated[
        float | None, _option(_LIVE, "SECONDS", "End the run after this many seconds (default: at Ctrl-C).", "--for")
    ] = None,
    on_stop: Annotated[
        str | None,
        _option(
            _LIVE,
            "WHAT",
            "What the end does: protect (cancel entries, keep protective exits), cancel (the strategies' own orders) "
            "or flatten (close this run's positions) (default: protect).",
        ),
    ] = None,
    start_behavior: Annotated[
        str | None,
        _option(
            _LIVE,
            "WHAT",
            "What is done about positions at the start that are not this run's: wait-flat (no entries until they are "
            "gone), adopt (they become the first strategy's that trades them) or flatten (closed first) (default: "
            "wait-flat).",
        ),
    ] = None,
    external: Annotated[
        str | None,
        _option(
            _LIVE,
            "WHAT",
            "While the account holds what is not this run's: deny (no entries in that instrument) or keep (trade "
            "beside it) (default: deny).",
        ),
    ] = None,
    journal: Annotated[
        str | None,
        _option(
            _LIVE, "FILE", "Where the run is written down (default: a new file in your data folder, told at the start)."
        ),
    ] = None,
    no_journal: Annotated[bool, _switch(_LIVE, "Write nothing down; for --demo and --paper only.")] = False,
    resume: Annotated[
        str | None,
        _option(_LIVE, "FILE", "Go on with the run of this journal: its orders and positions are this run's again."),
    ] = None,
    accept_changes: Annotated[
        bool,
        _switch(
            _LIVE, "With --resume: go on although source, parameters, settings or versions are not what they were."
        ),
    ] = False,
    seed: Annotated[str | None, _option(_LIVE, "N", "Seed of the demo's market (default: 7).")] = None,
    entry_latency: Annotated[
        str | None,
        _option(
            _MODEL,
            "TIME",
            f"Time until an order is at the exchange: 250ms, 0.25s or a number of milliseconds (default: {_ENTRY}).",
        ),
    ] = None,
    report_latency: Annotated[
        str | None, _option(_MODEL, "TIME", f"Time until a fill is seen (default: {_REPORT}).")
    ] = None,
    slippage: Annotated[
        str | None,
        _option(
            _MODEL,
            "TICKS",
            f"Ticks by which market and stop orders fill worse than the quote (default: {_defaults.fills.slippage}).",
        ),
    ] = None,
    commission: Annotated[
        str | None, _option(_MODEL, "DOLLARS", "Dollars per contract and side (default: by root, below).")
    ] = None,
    ideal: Annotated[
        bool, _switch(_MODEL, "The four above are zero, except those given beside it: to check logic, not worth.")
    ] = False,
    touch: Annotated[
        bool | None,
        Parameter(
            help="Limit orders fill when touched, not only when traded through.", group=_MODEL, show_default=False
        ),
    ] = None,
    stop_trigger: Annotated[
        str | None,
        _option(
            _MODEL,
            "WHAT",
            "What triggers a stop: last (a new trade), quote (the far side of the quote) or either (default: "
            f"{_defaults.fills.stop_trigger}).",
        ),
    ] = None,
    oco: Annotated[
        str | None,
        _option(
            _MODEL,
            "RULE",
            "What a partial fill does to the others of an OCO group: cancel or reduce (default: "
            f"{_defaults.fills.oco}).",
        ),
    ] = None,
    max_order_quantity: Annotated[str | None, _option(_RISK, "N", "Most contracts in one order.")] = None,
    max_position: Annotated[
        str | None,
        _option(_RISK, "N", "Most contracts long or short in an instrument and account, open orders included."),
    ] = None,
    max_open_orders: Annotated[str | None, _option(_RISK, "N", "Most orders open at once.")] = None,
    max_orders_per_minute: Annotated[str | None, _option(_RISK, "N", "Most orders in any span of 60 seconds.")] = None,
    price_collar: Annotated[
        str | None, _option(_RISK, "TICKS", "Most ticks that a limit or stop price may lie outside the quote.")
    ] = None,
    daily_loss: Annotated[
        str | None,
        _option(_RISK, "DOLLARS", "Most to lose in an account in one trading day, open P&L and fees included."),
    ] = None,
    account_daily_loss: Annotated[
        str | None,
        _option(_GUARDS, "DOLLARS", "Most to lose in one trading day; then all is closed until the next one."),
    ] = None,
    trailing_drawdown: Annotated[
        str | None, _option(_GUARDS, "DOLLARS", "Most to fall below the peak of net P&L; then all is closed, too.")
    ] = None,
    drawdown_basis: Annotated[
        str | None,
        _option(
            _GUARDS,
            "WHAT",
            "Which peak: intraday (of the day) or eod (of net liquidation at ends of days) (default: intraday).",
        ),
    ] = None,
    max_contracts: Annotated[
        str | None, _option(_GUARDS, "N", "Most contracts in all instruments together, open orders included.")
    ] = None,
    max_positions: Annotated[str | None, _option(_GUARDS, "N", "Most instruments held at once.")] = None,
    trading_hours: Annotated[
        str | None, _option(_GUARDS, "HOURS", 'Open positions only then: "09:30-15:55 America/New_York".')
    ] = None,
    flatten_by: Annotated[
        str | None,
        _option(
            _GUARDS,
            "TIME",
            'Close everything at this time and open nothing until the next session: "15:58 America/New_York".',
        ),
    ] = None,
    naked_after: Annotated[
        str | None, _option(_GUARDS, "SECONDS", "Close a position whose stop loss is missing for so long.")
    ] = None,
    max_quote_age: Annotated[str | None, _option(_GUARDS, "SECONDS", "Open nothing on a quote that is older.")] = None,
    account: Annotated[
        tuple[str, ...],
        _option(
            _OUTPUT,
            "NAME",
            f"An account that strategies trade; may be repeated (default: {', '.join(_defaults.accounts)}).",
        ),
    ] = (),
    json: Annotated[
        bool,
        _switch(
            _OUTPUT,
            "Print JSON on standard output, everything else on standard error: one object for a replay, one a line for "
            "a live run.",
        ),
    ] = False,
    fills: Annotated[
        str | None,
        _option(
            _OUTPUT,
            "FILE",
            "Write the fills as CSV (UTF-8, LF): time of execution in UTC, order, instrument, side, quantity, price, "
            "fee.",
        ),
    ] = None,
    config: Annotated[
        str | None, _option(_OUTPUT, "FILE", f"Settings file (default: {CONFIG_FILE}, if it is there).")
    ] = None,
) -> None:
    """Run strategies live, on paper, in a demo, or over recorded quotes, and print what came of it.

    `xtalgo run strategies/momo.py --replay backtest_data -p fast=5 -p slow=20`

    `xtalgo run strategies/momo.py --demo --for 60 -p fast=5 -p slow=20`
    """
    arguments = dict(locals())  # before anything else is: the arguments alone
    from xtalgo.app.request import Request
    from xtalgo.app.run import run as play

    play(
        Request(
            files=files,
            replay=replay,
            names=strategy,
            parameters=param,
            accounts=account,
            flags={name: arguments[name] for name in SETTINGS},
            ideal=ideal,
            config=config,
            sort=sort,
            as_live=as_live,
            demo=demo,
            paper=paper,
            live=live,
            duration=for_,
            json=json,
            fills=fills,
            journal=journal,
            no_journal=no_journal,
            resume=resume,
            accept_changes=accept_changes,
        )
    )


_SYNTH = Group.create_ordered("Options")


@app.command(help_epilogue=_CODES)
def synth(
    *,
    out: Annotated[str, _option(_SYNTH, "FOLDER", "Folder to write to; it is made if need be.")],
    instruments: Annotated[
        tuple[str, ...],
        _option(_SYNTH, "NAMES", "Roots (they get the contract month) or dated names, with commas (default: ES,MNQ)."),
    ] = ("ES", "MNQ"),
    sessions: Annotated[int, _option(_SYNTH, "N", "How many trading days, one after the other (default: 2).")] = 2,
    start: Annotated[
        str, _option(_SYNTH, "DAY", "The first trading day, Monday to Friday (default: 2026-05-12).")
    ] = "2026-05-12",
    contract_month: Annotated[str, _option(_SYNTH, "MM-YY", "Delivery month of the roots (default: 06-26).")] = "06-26",
    seed: Annotated[int, _option(_SYNTH, "N", "The same seed gives the same quotes (default: 7).")] = 7,
    force: Annotated[bool, _switch(_SYNTH, "Overwrite files.")] = False,
    config: Annotated[
        str | None,
        _option(
            _SYNTH, "FILE", f"Settings file with facts of further instruments (default: {CONFIG_FILE}, if it is there)."
        ),
    ] = None,
) -> None:
    """Write seeded synthetic recordings, about one quote a second and instrument.

    One Parquet file per instrument and session, marked as synthetic and holding this command in its metadata.
    """
    from xtalgo.app.synth import SynthPlan, parse_day, split_names, write_sessions

    settings = load_settings(config=config, environment=os.environ)
    plan = SynthPlan(
        out=Path(out),
        instruments=split_names(instruments),
        sessions=sessions,
        start=parse_day(start),
        contract_month=contract_month,
        seed=seed,
    )
    screen = Screen(sys.stdout)
    everything = len(plan.instruments) * plan.sessions
    rows = size = 0
    with progress("writing") as tell:
        for count, written in enumerate(write_sessions(plan, settings.contracts, force=force), 1):
            screen.text(f"{written.path}: {written.rows:,} quotes, {written.size:,} bytes")
            rows, size = rows + written.rows, size + written.size
            if tell is not None:
                tell(count, everything)
    screen.text(f"{everything} files, {rows:,} quotes, {size:,} bytes, all SYNTHETIC; seed {plan.seed}")


_SERVER = Group.create_ordered("Server")
_QUOTES = Group.create_ordered("Quotes and time")
_VENUE = Group.create_ordered("Assumptions (explained by xtalgo run --help)")

_SERVE_EPILOGUE = f"""
**What it is.** CrossTrade's WebSocket and REST API with simulated accounts, to build and test clients against. Quotes
are those of a recording, or of an endless synthetic market that has no closing hours. Every client with the token is
the same user, so the newer connection ends the older one. `docs/server.md` tells the keys of the fault file, lockstep
and what had to be assumed.

Ctrl-C and SIGTERM end it with exit code 0.

{_CODES}
"""


@app.command(help_epilogue=_SERVE_EPILOGUE)
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
        str, _option(_SERVER, "ADDRESS", "Where to listen (default: 127.0.0.1, for this machine alone).")
    ] = "127.0.0.1",
    port: Annotated[int, _option(_SERVER, "N", "The port; 0 picks a free one (default: 8765).")] = 8765,
    token: Annotated[
        str, _option(_SERVER, "TEXT", "What clients must present; not your CrossTrade token (default: demo).")
    ] = "demo",
    accounts: Annotated[
        tuple[str, ...],
        _option(_SERVER, "NAMES", f"Simulated accounts, with commas (default: {', '.join(_defaults.accounts)})."),
    ] = (),
    faults: Annotated[
        str | None, _option(_SERVER, "FILE", "TOML file of what shall go wrong (default: nothing).")
    ] = None,
    json: Annotated[
        bool, _switch(_SERVER, "Print one JSON object with the addresses on standard output, and no more.")
    ] = False,
    config: Annotated[
        str | None, _option(_SERVER, "FILE", f"Settings file (default: {CONFIG_FILE}, if it is there).")
    ] = None,
    speed: Annotated[
        float, _option(_QUOTES, "X", "How many times as fast as real the quotes come (default: 1).")
    ] = 1.0,
    lockstep: Annotated[
        bool, _switch(_QUOTES, "Simulated time moves only when the client has dealt with everything so far.")
    ] = False,
    seed: Annotated[
        int, _option(_QUOTES, "N", "Of the synthetic market, and of faults whose file has none (default: 7).")
    ] = 7,
    sort: Annotated[
        bool, _switch(_QUOTES, "Sort quotes whose time goes back inside a file, which is an error otherwise.")
    ] = False,
    entry_latency: Annotated[
        str | None, _option(_VENUE, "TIME", f"Time from a call to its being carried out (default: {_ENTRY}).")
    ] = None,
    slippage: Annotated[
        str | None, _option(_VENUE, "TICKS", f"Of market and stop orders (default: {_defaults.fills.slippage}).")
    ] = None,
    commission: Annotated[str | None, _option(_VENUE, "DOLLARS", "Per contract and side (default: by root).")] = None,
    ideal: Annotated[bool, _switch(_VENUE, "The three above are zero, except those given beside it.")] = False,
    touch: Annotated[
        bool | None, Parameter(help="Limit orders fill when touched.", group=_VENUE, show_default=False)
    ] = None,
    stop_trigger: Annotated[
        str | None,
        _option(
            _VENUE, "WHAT", f"What triggers a stop: last, quote or either (default: {_defaults.fills.stop_trigger})."
        ),
    ] = None,
    oco: Annotated[
        str | None,
        _option(
            _VENUE, "RULE", f"Of a partial fill in an OCO group: cancel or reduce (default: {_defaults.fills.oco})."
        ),
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
            lockstep=lockstep,
            seed=seed,
            flags={name: arguments[name] for name in flags},
            ideal=ideal,
            config=config,
            sort=sort,
            json=json,
        )
    )


# --- by hand -----------------------------------------------------------------------------------------------------

_WHERE = Group.create_ordered("Server and output")
_WHAT = Group.create_ordered("What is meant")

_UrlOption = Annotated[
    str | None,
    _option(
        _WHERE, "URL", "Another server than CrossTrade, its socket or its REST address; ws:// and http:// only here."
    ),
]
_TokenOption = Annotated[
    str | None, _option(_WHERE, "FILE", "A file with the token and nothing else, instead of XTRADE_TOKEN.")
]
_ConfigOption = Annotated[
    str | None, _option(_WHERE, "FILE", f"Settings file (default: {CONFIG_FILE}, if it is there).")
]
_JsonOption = Annotated[bool, _switch(_WHERE, "Print one JSON object a line on standard output.")]
_AccountOption = Annotated[str | None, _option(_WHAT, "NAME", "One account (default: all).")]
_InstrumentOption = Annotated[
    str | None, _option(_WHAT, "NAME", "One instrument; a root such as ES means all its months (default: all).")
]

_HAND_EPILOGUE = f"""
It goes over REST, so it never takes the socket from a run, and works while one is live. The token is read from
`XTRADE_TOKEN` or `--token-file`, never from the command line.

{_CODES}
"""


@app.command(help_epilogue=_HAND_EPILOGUE)
def accounts(
    *,
    url: _UrlOption = None,
    token_file: _TokenOption = None,
    config: _ConfigOption = None,
    json: _JsonOption = False,
) -> None:
    """List the accounts of the token."""
    from xtalgo.app import operator

    operator.accounts(operator.Reach(url=url, token_file=token_file, config=config, json=json))


@app.command(help_epilogue=_HAND_EPILOGUE)
def positions(
    *,
    account: _AccountOption = None,
    instrument: _InstrumentOption = None,
    url: _UrlOption = None,
    token_file: _TokenOption = None,
    config: _ConfigOption = None,
    json: _JsonOption = False,
) -> None:
    """List what is held, whoever bought it."""
    from xtalgo.app import operator

    reach = operator.Reach(url=url, token_file=token_file, config=config, json=json)
    operator.positions(reach, account, instrument)


@app.command(help_epilogue=_HAND_EPILOGUE)
def orders(
    *,
    account: _AccountOption = None,
    instrument: _InstrumentOption = None,
    all_: Annotated[
        bool,
        Parameter(
            name="--all", help="The session's finished orders, too.", group=_WHAT, negative="", show_default=False
        ),
    ] = False,
    url: _UrlOption = None,
    token_file: _TokenOption = None,
    config: _ConfigOption = None,
    json: _JsonOption = False,
) -> None:
    """List the orders that may still trade, whoever placed them."""
    from xtalgo.app import operator

    reach = operator.Reach(url=url, token_file=token_file, config=config, json=json)
    operator.orders(reach, account, instrument, everything=all_)


@app.command(help_epilogue=_HAND_EPILOGUE)
def quote(
    *names: Annotated[str, Parameter(name="INSTRUMENT", help="Instruments, as many as follow.", group=_WHAT)],
    instrument: Annotated[tuple[str, ...], _option(_WHAT, "NAME", "The same as an option; may be repeated.")] = (),
    url: _UrlOption = None,
    token_file: _TokenOption = None,
    config: _ConfigOption = None,
    json: _JsonOption = False,
) -> None:
    """Show the newest quotes of some instruments: `xtalgo quote ES "MNQ 12-26"`."""
    from xtalgo.app import operator

    reach = operator.Reach(url=url, token_file=token_file, config=config, json=json)
    operator.quote(reach, (*names, *instrument))


@app.command(help_epilogue=_HAND_EPILOGUE)
def flatten(
    *,
    account: Annotated[str, _option(_WHAT, "NAME", "The account; there is no default, and never more than one.")],
    instrument: _InstrumentOption = None,
    yes: Annotated[bool, _switch(_WHAT, "Don't ask at the terminal; elsewhere it never asks.")] = False,
    deadline: Annotated[
        float, _option(_WHAT, "SECONDS", "Give up and exit with code 6 after this long (default: 30).")
    ] = 30.0,
    url: _UrlOption = None,
    token_file: _TokenOption = None,
    config: _ConfigOption = None,
    json: _JsonOption = False,
) -> None:
    """Cancel every order and close every position of an account, until the venue says twice that it is flat.

    Whoever placed or bought it. Exit code 0 means verified flat; 6 means not flat, or not known to be.
    """
    from xtalgo.app import operator
    from xtalgo.app.flatten import FlattenRequest
    from xtalgo.app.flatten import flatten as make_flat

    reach = operator.Reach(url=url, token_file=token_file, config=config, json=json)
    make_flat(reach, FlattenRequest(account=account, instrument=instrument, yes=yes, deadline=deadline))


@app.command(help_epilogue=_CODES)
def halt(*, off: Annotated[bool, _switch(_WHAT, "Remove the file.")] = False) -> None:
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


_VERIFY_EPILOGUE = f"""
**What is compared.** The inputs that the journal holds go through the strategies as they are stored in it, once more.
Every event that the engine was handed and every decision must be the same. A strategy that looks at a clock, a file, a
random number or the order of a set will differ.

{_CODES}
"""


@app.command(help_epilogue=_VERIFY_EPILOGUE)
def verify(
    file: Annotated[str, Parameter(name="FILE", help="The journal of a run that has ended.")],
) -> None:
    """Live a run again from its journal, and see that it decides the same.

    `xtalgo verify run.db`
    """
    from xtalgo.app.verify import verify_run

    verify_run(file, Screen(sys.stdout).text)


# --- the way in and out ------------------------------------------------------------------------------------------


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (default: this process's) and return its exit code."""
    tokens = list(sys.argv[1:] if argv is None else argv)
    prepare_streams()
    try:
        command, bound, _ = app.parse_args(tokens, exit_on_error=False, print_error=False)
        command(*bound.args, **bound.kwargs)
        sys.stdout.flush()
    except CycloptsError as error:
        complain(_usage_error(tokens, error))
        return USAGE
    except StrategyError as error:
        _show_traceback(error)
        complain(*_strategy_error(error))
        return code_of(error)
    except XtalgoError as error:
        _show_traceback(error)
        complain(str(error))
        return code_of(error)
    except KeyboardInterrupt:
        complain("interrupted")
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has gone (``| head``). What is still buffered must not raise again at exit.
        with suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except Exception as error:
        traceback.print_exception(error)
        complain(f"internal error, {type(error).__name__}: {error}; please report it with the lines above")
        return INTERNAL
    return OK


_COMMANDS = ("run", "serve", "synth", "accounts", "positions", "orders", "quote", "flatten", "halt", "verify")


def _usage_error(tokens: Sequence[str], error: CycloptsError) -> str:
    if tokens and is_strategy_file(tokens[0]):
        return f"give a command first: xtalgo run {tokens[0]} --replay FILE_OR_FOLDER (or --demo)"
    text = re.sub(r'^Command "\w+" parameter ', "", str(error))
    command = f"{tokens[0]} " if tokens and tokens[0] in _COMMANDS else ""
    return f"{text} See xtalgo {command}--help."


def _strategy_error(error: StrategyError) -> tuple[str, ...]:
    """The author's own file and line in front of the message, and what stands there."""
    if error.file is None or error.line is None:
        return (str(error),)
    source = linecache.getline(error.file, error.line).strip()
    where = f"{shown_path(error.file)}:{error.line}: {error}"
    return (where, f"    {source}") if source else (where,)


def _show_traceback(error: XtalgoError) -> None:
    if os.environ.get("XTALGO_DEBUG", "") not in ("", "0"):
        traceback.print_exception(error)
