"""``xtalgo run``: strategies live, on paper, in a demo or over a recording."""

from __future__ import annotations

import inspect
from typing import Annotated

from cyclopts import Group, Parameter

from xtalgo.app.commands.options import CODES, DEFAULTS, ENTRY, REPORT, option, switch
from xtalgo.app.config import CONFIG_FILE, SETTINGS
from xtalgo.model.roots import DEFAULT_COMMISSION, ROOTS
from xtalgo.sim.fills import Fees, FillModel, Latency

__all__ = ["EPILOGUE", "run"]


def paragraphs(cls: type) -> str:
    return inspect.cleandoc(cls.__doc__ or "")  # there are none under python -OO


def _commissions() -> str:
    """The table of commissions, cheapest first."""
    roots: dict[float, list[str]] = {}
    for root, facts in ROOTS.items():
        roots.setdefault(facts.commission, []).append(root)
    lines = [f"- ${price:.2f}: {', '.join(names)}" for price, names in sorted(roots.items())]
    return "\n".join([*lines, f"- ${DEFAULT_COMMISSION:.2f}: any other"])


EPILOGUE = f"""
**Fills.** {paragraphs(FillModel)}

**Latency.** {paragraphs(Latency)}

**Fees.** {paragraphs(Fees)} The assumed figures:

{_commissions()}

**Settings** come from flags, then environment variables (`XTALGO_DAILY_LOSS` for `--daily-loss`, and so on;
`XTALGO_ACCOUNTS` and `XTALGO_CONFIG` too), then `{CONFIG_FILE}` (tables `[replay]`, `[risk]`, `[live]`,
`[instruments.NAME]`; `accounts` on top), then defaults. A name that is not known is an error. `XTALGO_DEBUG=1` shows
whole tracebacks.

**The token** is read from the variable `XTRADE_TOKEN` or from a file (`--token-file`), never from the command line,
where every program of this machine could read it.

{CODES}
"""

_INPUT = Group.create_ordered("Strategies and recording")
_LIVE = Group.create_ordered("Live runs: without --replay")
_MODEL = Group.create_ordered("Assumptions (explained below)")
_RISK = Group.create_ordered("Risk limits of each strategy (default: none)")
_GUARDS = Group.create_ordered("Guards of each account, over all strategies (default: none)")
_OUTPUT = Group.create_ordered("Output and settings")


def run(
    *files: Annotated[
        str,
        Parameter(name="FILE", help="Strategy files, FILE.py or FILE.py:NAME; they run side by side.", group=_INPUT),
    ],
    replay: Annotated[
        tuple[str, ...],
        option(
            _INPUT,
            "PATH...",
            "Recorded quotes: Parquet or CSV files, folders or patterns, as many as follow.",
            several=True,
        ),
    ] = (),
    history: Annotated[
        tuple[str, ...],
        option(
            _INPUT,
            "PATH...",
            "Earlier recordings, of which bars are made for strategies that want to know some before they start; what "
            "of them lies before --replay's first quote counts, and none of it is traded.",
            several=True,
        ),
    ] = (),
    param: Annotated[
        tuple[str, ...],
        option(
            _INPUT,
            "NAME=VALUE",
            "A parameter of the strategies that have it, or Class.NAME=VALUE of one; give one -p for each.",
            "--param",
            "-p",
        ),
    ] = (),
    strategy: Annotated[
        tuple[str, ...], option(_INPUT, "NAME", "Which class to run where a file holds several; may be repeated.")
    ] = (),
    sort: Annotated[
        bool, switch(_INPUT, "Sort quotes whose time goes back inside a file, which is an error otherwise.")
    ] = False,
    as_live: Annotated[
        bool,
        switch(
            _INPUT,
            "Replay through the whole live client and a simulated server: fills are seen when a live run's polls would "
            "find them. Slower.",
        ),
    ] = False,
    demo: Annotated[
        bool,
        switch(
            _LIVE,
            "Trade against a server of our own with a synthetic market and the account Demo101; also what happens "
            "without a token and --url.",
        ),
    ] = False,
    paper: Annotated[
        bool, switch(_LIVE, "Live quotes, our own fills by the assumptions below: no order leaves this machine.")
    ] = False,
    live: Annotated[
        bool,
        switch(
            _LIVE,
            "Allow accounts that are no simulators; needs --max-contracts, --account-daily-loss, and a dialect in "
            "which the keys of P&L are settled (xtalgo probe).",
        ),
    ] = False,
    url: Annotated[
        str | None,
        option(
            _LIVE,
            "URL",
            "Another server than CrossTrade; ws:// only on this machine (default: wss://app.crosstrade.io/ws/stream, "
            "if there is a token).",
        ),
    ] = None,
    token_file: Annotated[
        str | None, option(_LIVE, "FILE", "A file with the token and nothing else, instead of XTRADE_TOKEN.")
    ] = None,
    for_: Annotated[
        float | None, option(_LIVE, "SECONDS", "End the run after this many seconds (default: at Ctrl-C).", "--for")
    ] = None,
    on_stop: Annotated[
        str | None,
        option(
            _LIVE,
            "WHAT",
            "What the end does: protect (cancel entries, keep protective exits), cancel (the strategies' own orders) "
            "or flatten (close this run's positions) (default: protect).",
        ),
    ] = None,
    start_behavior: Annotated[
        str | None,
        option(
            _LIVE,
            "WHAT",
            "What is done about positions at the start that are not this run's: wait-flat (no entries until they are "
            "gone), adopt (they become the first strategy's that trades them) or flatten (closed first) (default: "
            "wait-flat).",
        ),
    ] = None,
    external: Annotated[
        str | None,
        option(
            _LIVE,
            "WHAT",
            "While the account holds what is not this run's: deny (no entries in that instrument) or keep (trade "
            "beside it) (default: deny).",
        ),
    ] = None,
    journal: Annotated[
        str | None,
        option(
            _LIVE, "FILE", "Where the run is written down (default: a new file in your data folder, told at the start)."
        ),
    ] = None,
    no_journal: Annotated[bool, switch(_LIVE, "Write nothing down; for --demo and --paper only.")] = False,
    resume: Annotated[
        str | None,
        option(_LIVE, "FILE", "Go on with the run of this journal: its orders and positions are this run's again."),
    ] = None,
    accept_changes: Annotated[
        bool,
        switch(_LIVE, "With --resume: go on although source, parameters, settings or versions are not what they were."),
    ] = False,
    dialect: Annotated[
        str | None,
        option(
            _LIVE,
            "FILE",
            "What xtalgo probe found out about the venue (default: its file in your data folder, if it is there).",
        ),
    ] = None,
    seed: Annotated[str | None, option(_LIVE, "N", "Seed of the demo's market (default: 7).")] = None,
    entry_latency: Annotated[
        str | None,
        option(
            _MODEL,
            "TIME",
            f"Time until an order is at the exchange: 250ms, 0.25s or a number of milliseconds (default: {ENTRY}).",
        ),
    ] = None,
    report_latency: Annotated[
        str | None, option(_MODEL, "TIME", f"Time until a fill is seen (default: {REPORT}).")
    ] = None,
    slippage: Annotated[
        str | None,
        option(
            _MODEL,
            "TICKS",
            f"Ticks by which market and stop orders fill worse than the quote (default: {DEFAULTS.fills.slippage}).",
        ),
    ] = None,
    commission: Annotated[
        str | None, option(_MODEL, "DOLLARS", "Dollars per contract and side (default: by root, below).")
    ] = None,
    ideal: Annotated[
        bool, switch(_MODEL, "The four above are zero, except those given beside it: to check logic, not worth.")
    ] = False,
    touch: Annotated[
        bool | None,
        Parameter(
            help="Limit orders fill when touched, not only when traded through.", group=_MODEL, show_default=False
        ),
    ] = None,
    stop_trigger: Annotated[
        str | None,
        option(
            _MODEL,
            "WHAT",
            "What triggers a stop: last (a new trade), quote (the far side of the quote) or either (default: "
            f"{DEFAULTS.fills.stop_trigger}).",
        ),
    ] = None,
    oco: Annotated[
        str | None,
        option(
            _MODEL,
            "RULE",
            "What a partial fill does to the others of an OCO group: cancel or reduce (default: "
            f"{DEFAULTS.fills.oco}).",
        ),
    ] = None,
    max_order_quantity: Annotated[str | None, option(_RISK, "N", "Most contracts in one order.")] = None,
    max_position: Annotated[
        str | None,
        option(_RISK, "N", "Most contracts long or short in an instrument and account, open orders included."),
    ] = None,
    max_open_orders: Annotated[str | None, option(_RISK, "N", "Most orders open at once.")] = None,
    max_orders_per_minute: Annotated[str | None, option(_RISK, "N", "Most orders in any span of 60 seconds.")] = None,
    price_collar: Annotated[
        str | None, option(_RISK, "TICKS", "Most ticks that a limit or stop price may lie outside the quote.")
    ] = None,
    daily_loss: Annotated[
        str | None,
        option(_RISK, "DOLLARS", "Most to lose in an account in one trading day, open P&L and fees included."),
    ] = None,
    account_daily_loss: Annotated[
        str | None,
        option(_GUARDS, "DOLLARS", "Most to lose in one trading day; then all is closed until the next one."),
    ] = None,
    trailing_drawdown: Annotated[
        str | None, option(_GUARDS, "DOLLARS", "Most to fall below the peak of net P&L; then all is closed, too.")
    ] = None,
    drawdown_basis: Annotated[
        str | None,
        option(
            _GUARDS,
            "WHAT",
            "Which peak: intraday (of the day) or eod (of net liquidation at ends of days) (default: intraday).",
        ),
    ] = None,
    max_contracts: Annotated[
        str | None, option(_GUARDS, "N", "Most contracts in all instruments together, open orders included.")
    ] = None,
    max_positions: Annotated[str | None, option(_GUARDS, "N", "Most instruments held at once.")] = None,
    trading_hours: Annotated[
        str | None, option(_GUARDS, "HOURS", 'Open positions only then: "09:30-15:55 America/New_York".')
    ] = None,
    flatten_by: Annotated[
        str | None,
        option(
            _GUARDS,
            "TIME",
            'Close everything at this time and open nothing until the next session: "15:58 America/New_York".',
        ),
    ] = None,
    naked_after: Annotated[
        str | None, option(_GUARDS, "SECONDS", "Close a position whose stop loss is missing for so long.")
    ] = None,
    max_quote_age: Annotated[str | None, option(_GUARDS, "SECONDS", "Open nothing on a quote that is older.")] = None,
    account: Annotated[
        tuple[str, ...],
        option(
            _OUTPUT,
            "NAME",
            f"An account that strategies trade; may be repeated (default: {', '.join(DEFAULTS.accounts)}).",
        ),
    ] = (),
    json: Annotated[
        bool,
        switch(
            _OUTPUT,
            "Print JSON on standard output, everything else on standard error: one object for a replay, one a line for "
            "a live run.",
        ),
    ] = False,
    fills: Annotated[
        str | None,
        option(
            _OUTPUT,
            "FILE",
            "Write the fills as CSV (UTF-8, LF): time of execution in UTC, order, instrument, side, quantity, price, "
            "fee.",
        ),
    ] = None,
    config: Annotated[
        str | None, option(_OUTPUT, "FILE", f"Settings file (default: {CONFIG_FILE}, if it is there).")
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
            history=history,
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
