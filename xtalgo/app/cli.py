"""The command line: which commands there are, and how each ends. Exit codes and errors are decided here."""

from __future__ import annotations

import linecache
import os
import re
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final

from cyclopts import App, CycloptsError, UnknownOptionError

from xtalgo import __version__
from xtalgo.app.commands import hand, pack, probe, record, rpc, run, serve, synth, verify
from xtalgo.app.commands.options import CODES, HAND_EPILOGUE
from xtalgo.app.console import complain, prepare_streams
from xtalgo.app.exits import BROKEN_PIPE, EXIT_CODES, INTERNAL, INTERRUPTED, OK, USAGE, code_of
from xtalgo.app.loader import is_strategy_file, shown_path
from xtalgo.model.errors import StrategyError, XtalgoError

__all__ = ["EXIT_CODES", "app", "main"]

_COMMANDS: Final[tuple[tuple[Callable[..., Any], str], ...]] = (
    (run.run, run.EPILOGUE),
    (serve.serve, serve.EPILOGUE),
    (synth.synth, CODES),
    (hand.accounts, HAND_EPILOGUE),
    (hand.positions, HAND_EPILOGUE),
    (hand.orders, HAND_EPILOGUE),
    (hand.quote, HAND_EPILOGUE),
    (hand.flatten, HAND_EPILOGUE),
    (hand.halt, CODES),
    (rpc.rpc, rpc.EPILOGUE),
    (verify.verify, verify.EPILOGUE),
    (record.record, record.EPILOGUE),
    (pack.pack, pack.EPILOGUE),
    (probe.probe, probe.EPILOGUE),
)
"""Every command: a function, whose name, annotations and docstring are the command's, and the end of its help text.

A new command is a function in a module of ``app.commands`` and a line here. What a command needs to do its work is
imported inside its function: help must not wait for sockets and Parquet.
"""

app = App(
    name="xtalgo",
    version=__version__,
    help="Event-driven algorithmic trading for futures: NinjaTrader 8 over CrossTrade's WebSocket API.",
    help_epilogue=f"`xtalgo run --help` says every assumption that results rest on.\n\n{CODES}",
    help_format="markdown",
)
for _function, _epilogue in _COMMANDS:
    app.command(_function, help_epilogue=_epilogue)


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


def _usage_error(tokens: Sequence[str], error: CycloptsError) -> str:
    if tokens and is_strategy_file(tokens[0]):
        return f"give a command first: xtalgo run {tokens[0]} --replay FILE_OR_FOLDER (or --demo)"
    text = re.sub(r'^Command "\w+" parameter ', "", str(error))
    command = f"{tokens[0]} " if tokens and tokens[0] in [function.__name__ for function, _ in _COMMANDS] else ""
    if command == "rpc " and isinstance(error, UnknownOptionError):
        text += " Arguments of a function are written name=value, such as account=Sim101."
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
