"""The command line: ``xtalgo run`` and ``xtalgo synth``. Exit codes and errors are decided here."""

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
from typing import Annotated, Final

from cyclopts import App, CycloptsError, Group, Parameter

from xtalgo import __version__
from xtalgo.app.config import CONFIG_FILE, load_settings
from xtalgo.app.console import Screen, complain, prepare_streams, progress
from xtalgo.app.loader import is_strategy_file, shown_path
from xtalgo.model.errors import StrategyError, XtalgoError
from xtalgo.model.roots import DEFAULT_COMMISSION, ROOTS
from xtalgo.model.types import MILLISECOND_NS
from xtalgo.sim.fills import Fees, FillModel, Latency
from xtalgo.sim.replay import ReplaySettings

__all__ = ["EXIT_CODES", "app", "main"]

OK: Final = 0
INTERNAL: Final = 1
USAGE: Final = 2
STRATEGY: Final = 3
INTERRUPTED: Final = 130
BROKEN_PIPE: Final = 141

EXIT_CODES: Final = {
    OK: "ended well",
    INTERNAL: "an error of xtalgo itself; please report it",
    USAGE: "wrong use, settings or data, or a strategy file that cannot be loaded",
    STRATEGY: "a strategy raised an exception; its own file and line are printed",
    INTERRUPTED: "interrupted with Ctrl-C",
}
"""What the exit codes mean."""


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
`XTALGO_ACCOUNTS` and `XTALGO_CONFIG` too), then `{CONFIG_FILE}` (tables `[replay]`, `[risk]`, `[instruments.NAME]`;
`accounts` on top), then defaults. A name that is not known is an error. `XTALGO_DEBUG=1` shows whole tracebacks.

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
_MODEL = Group.create_ordered("Assumptions (explained below)")
_RISK = Group.create_ordered("Risk limits of each strategy (default: none)")
_OUTPUT = Group.create_ordered("Output and settings")

_defaults = ReplaySettings()
_NAME = Parameter(negative="", show_default=False, metavar="NAME")
_WORD = Parameter(show_default=False)


def _ms(span: int) -> str:
    return f"{span // MILLISECOND_NS} ms"


# --- commands ----------------------------------------------------------------------------------------------------


@app.command(help_epilogue=_RUN_EPILOGUE)
def run(
    *files: Annotated[
        str,
        Parameter(name="FILE", help="Strategy files, FILE.py or FILE.py:NAME; they run side by side.", group=_INPUT),
    ],
    replay: Annotated[
        tuple[str, ...],
        Parameter(
            help="Recorded quotes: Parquet or CSV files, folders or patterns, as many as follow.",
            consume_multiple=True,
            negative="",
            show_default=False,
            metavar="PATH...",
            group=_INPUT,
        ),
    ] = (),
    param: Annotated[
        tuple[str, ...],
        Parameter(
            name=("--param", "-p"),
            help="A parameter of the strategies that have it, or Class.NAME=VALUE of one; give one -p for each.",
            negative="",
            show_default=False,
            metavar="NAME=VALUE",
            group=_INPUT,
        ),
    ] = (),
    strategy: Annotated[
        tuple[str, ...],
        _NAME,
        Parameter(help="Which class to run where a file holds several; may be repeated.", group=_INPUT),
    ] = (),
    sort: Annotated[
        bool,
        Parameter(
            help="Sort quotes whose time goes back, which is an error otherwise.",
            negative="",
            show_default=False,
            group=_INPUT,
        ),
    ] = False,
    entry_latency: Annotated[
        str | None,
        _WORD,
        Parameter(
            help=f"Time until an order is at the exchange: 250ms, 0.25s or a number of milliseconds "
            f"(default: {_ms(_defaults.latency.entry)}).",
            metavar="TIME",
            group=_MODEL,
        ),
    ] = None,
    report_latency: Annotated[
        str | None,
        _WORD,
        Parameter(
            help=f"Time until a fill is seen (default: {_ms(_defaults.latency.report)}).", metavar="TIME", group=_MODEL
        ),
    ] = None,
    slippage: Annotated[
        str | None,
        _WORD,
        Parameter(
            help=f"Ticks by which market and stop orders fill worse than the quote (default: "
            f"{_defaults.fills.slippage}).",
            metavar="TICKS",
            group=_MODEL,
        ),
    ] = None,
    commission: Annotated[
        str | None,
        _WORD,
        Parameter(help="Dollars per contract and side (default: by root, below).", metavar="DOLLARS", group=_MODEL),
    ] = None,
    ideal: Annotated[
        bool,
        Parameter(
            help="The four above are zero, except those given beside it: to check logic, not worth.",
            negative="",
            show_default=False,
            group=_MODEL,
        ),
    ] = False,
    touch: Annotated[
        bool | None,
        _WORD,
        Parameter(help="Limit orders fill when touched, not only when traded through.", group=_MODEL),
    ] = None,
    stop_trigger: Annotated[
        str | None,
        _WORD,
        Parameter(
            help=f"What triggers a stop: either, last (a new trade) or quote (the far side) (default: "
            f"{_defaults.fills.stop_trigger}).",
            metavar="WHAT",
            group=_MODEL,
        ),
    ] = None,
    oco: Annotated[
        str | None,
        _WORD,
        Parameter(
            help=f"What a partial fill does to the others of an OCO group: cancel or reduce (default: "
            f"{_defaults.fills.oco}).",
            metavar="RULE",
            group=_MODEL,
        ),
    ] = None,
    max_order_quantity: Annotated[
        str | None, _WORD, Parameter(help="Most contracts in one order.", metavar="N", group=_RISK)
    ] = None,
    max_position: Annotated[
        str | None,
        _WORD,
        Parameter(
            help="Most contracts long or short in an instrument and account, open orders counted as filled.",
            metavar="N",
            group=_RISK,
        ),
    ] = None,
    max_open_orders: Annotated[
        str | None, _WORD, Parameter(help="Most orders open at once.", metavar="N", group=_RISK)
    ] = None,
    max_orders_per_minute: Annotated[
        str | None, _WORD, Parameter(help="Most orders in any span of 60 seconds.", metavar="N", group=_RISK)
    ] = None,
    price_collar: Annotated[
        str | None,
        _WORD,
        Parameter(
            help="Most ticks that a limit or stop price may lie outside the quote.", metavar="TICKS", group=_RISK
        ),
    ] = None,
    daily_loss: Annotated[
        str | None,
        _WORD,
        Parameter(
            help="Dollars, open P&L and fees included, to lose in an account in one trading day.",
            metavar="DOLLARS",
            group=_RISK,
        ),
    ] = None,
    account: Annotated[
        tuple[str, ...],
        _NAME,
        Parameter(
            help=f"An account that strategies trade; may be repeated (default: {', '.join(_defaults.accounts)}).",
            group=_OUTPUT,
        ),
    ] = (),
    json: Annotated[
        bool,
        Parameter(
            help="Print one JSON object on standard output, everything else on standard error.",
            negative="",
            show_default=False,
            group=_OUTPUT,
        ),
    ] = False,
    fills: Annotated[
        str | None,
        _WORD,
        Parameter(
            help="Write the fills as CSV (UTF-8, LF): time of execution in UTC, order, instrument, side, quantity, "
            "price, fee.",
            metavar="FILE",
            group=_OUTPUT,
        ),
    ] = None,
    config: Annotated[
        str | None,
        _WORD,
        Parameter(help=f"Settings file (default: {CONFIG_FILE}, if it is there).", metavar="FILE", group=_OUTPUT),
    ] = None,
) -> None:
    """Replay recorded quotes through strategies and print what came of it.

    `xtalgo run strategies/momo.py --replay backtest_data -p fast=5 -p slow=20`
    """
    from xtalgo.app.run import Request
    from xtalgo.app.run import run as play

    given = dict(
        entry_latency=entry_latency,
        report_latency=report_latency,
        slippage=slippage,
        commission=commission,
        stop_trigger=stop_trigger,
        oco=oco,
        max_order_quantity=max_order_quantity,
        max_position=max_position,
        max_open_orders=max_open_orders,
        max_orders_per_minute=max_orders_per_minute,
        price_collar=price_collar,
        daily_loss=daily_loss,
    )
    play(
        Request(
            files=files,
            replay=replay,
            names=strategy,
            parameters=param,
            accounts=account,
            flags={**given, "touch": touch},
            ideal=ideal,
            config=config,
            sort=sort,
            json=json,
            fills=fills,
        )
    )


@app.command
def synth(
    *,
    out: Annotated[str, Parameter(help="Folder to write to; it is made if need be.", metavar="FOLDER")],
    instruments: Annotated[
        tuple[str, ...],
        Parameter(
            help="Roots (they get the contract month) or dated names, with commas (default: ES,MNQ).",
            negative="",
            show_default=False,
            metavar="NAMES",
        ),
    ] = ("ES", "MNQ"),
    sessions: Annotated[int, Parameter(help="How many trading days, one after the other.", metavar="N")] = 2,
    start: Annotated[str, Parameter(help="The first trading day, Monday to Friday.", metavar="DAY")] = "2026-05-12",
    contract_month: Annotated[str, Parameter(help="Delivery month of the roots.", metavar="MM-YY")] = "06-26",
    seed: Annotated[int, Parameter(help="The same seed gives the same quotes.", metavar="N")] = 7,
    force: Annotated[bool, Parameter(help="Overwrite files.", negative="", show_default=False)] = False,
    config: Annotated[
        str | None,
        Parameter(
            help=f"Settings file with facts of further instruments (default: {CONFIG_FILE}, if it is there).",
            show_default=False,
            metavar="FILE",
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
        return STRATEGY
    except XtalgoError as error:
        _show_traceback(error)
        complain(str(error))
        return USAGE
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


def _usage_error(tokens: Sequence[str], error: CycloptsError) -> str:
    if tokens and is_strategy_file(tokens[0]):
        return f"give a command first: xtalgo run {tokens[0]} --replay FILE_OR_FOLDER"
    text = re.sub(r'^Command "\w+" parameter ', "", str(error))
    command = f"{tokens[0]} " if tokens and tokens[0] in ("run", "synth") else ""
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
