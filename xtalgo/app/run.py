"""``xtalgo run``: strategies and settings together with a recording, played and reported, or with a venue."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, redirect_stdout
from functools import partial
from pathlib import Path

import attrs

from xtalgo.app import report
from xtalgo.app.config import Settings, load_settings
from xtalgo.app.console import Screen, progress
from xtalgo.app.fillsfile import fills_writer
from xtalgo.app.loader import is_strategy_file, load_strategies
from xtalgo.app.request import Request, refuse
from xtalgo.engine.blame import blame
from xtalgo.engine.strategy import Strategy, instrument_parameters
from xtalgo.model.errors import ConfigError
from xtalgo.sim.recordedbars import before
from xtalgo.sim.replay import replay
from xtalgo.sim.result import Result

__all__ = ["run"]


LIVE_ONLY = (
    "--demo",
    "--paper",
    "--live",
    "--url",
    "--token-file",
    "--for",
    "--on-stop",
    "--seed",
    "--start-behavior",
    "--external",
    "--journal",
    "--no-journal",
    "--resume",
    "--accept-changes",
)
"""Options of live runs."""


def run(request: Request) -> None:
    """Run what was asked for and say what came of it; raises XtalgoError for whatever is in the way."""
    # ``--replay`` takes as many paths as follow it, a strategy file that was meant for the run among them.
    files = [*request.files, *filter(is_strategy_file, request.replay)]
    recordings = [path for path in request.replay if not is_strategy_file(path)]
    if not files:
        raise ConfigError("no strategy file given; for example: xtalgo run strategies/momo.py --replay backtest_data")
    if recordings:
        refuse(request, "--replay", "that is for live runs", LIVE_ONLY)
        _replay(request, files, recordings)
    else:
        from xtalgo.app.live import run_live  # trio and all that: a replay starts faster without it

        if request.replay:
            raise ConfigError("--replay needs recorded quotes, not only a strategy file")
        run_live(request, files)


def _replay(request: Request, files: Sequence[str], recordings: Sequence[str]) -> None:
    from xtalgo.data.quotes import load_recording, quote_files

    if request.as_live:
        why = "fills are seen when the polls of a live run find them"
        refuse(request, "--as-live", why, ("--report-latency",))
        why = "the simulated server knows nothing from before its recording"
        refuse(request, "--as-live", why, ("--history",))
    out = sys.stdout
    with ExitStack() as stack:
        if request.json:  # standard output is for the object alone, whatever a strategy prints
            stack.enter_context(redirect_stdout(sys.stderr))
        settings = load_settings(
            request.flags,
            ideal=request.ideal,
            accounts=request.accounts,
            config=request.config,
            environment=os.environ,
        )
        strategies = load_strategies(files, request.names, request.parameters)
        inputs = quote_files(recordings)
        earlier = quote_files(request.history) if request.history else []
        read = [*inputs, *earlier, *(Path(file) for file, _ in strategies), *([settings.file] if settings.file else [])]
        write_fills = stack.enter_context(fills_writer(request.fills, read))
        with progress("reading") as tell:
            recording = load_recording(inputs, settings.contracts, sort=request.sort, on_progress=tell)
        history = load_recording(earlier, settings.contracts, sort=request.sort) if earlier else None
        if history is not None:
            history = attrs.evolve(history, table=before(history.table, recording.table))
        pins = _pin(strategies, settings, recording.table.instruments)
        played = report.Played(settings, recording, strategies, pins, request.as_live, history)
        screen = Screen(sys.stderr if request.json else out)
        report.show_before(screen, played)
        screen.flush()
        result, seconds = _play(played)
        write_fills(result.fills)
        report.show_result(screen, played, result, seconds, table=not request.json)
        if request.fills is not None:
            screen.text(f"Fills written to {request.fills}")
    if request.json:
        out.write(report.as_json(recording, result, seconds) + "\n")
    out.flush()


def _pin(strategies: Sequence[tuple[str, Strategy]], settings: Settings, held: Sequence[str]) -> dict[str, str]:
    """What each instrument parameter stands for in the recording; ConfigError naming the parameter."""
    pins: dict[str, str] = {}
    for _, strategy in strategies:
        for name in instrument_parameters(type(strategy)):
            value = getattr(strategy, name)
            for text in value if isinstance(value, tuple) else (value,):
                if not isinstance(text, str):
                    raise ConfigError(
                        f"{type(strategy).__name__}.{name} is {text!r}, no instrument; give one with -p {name}=NAME"
                    )
                try:
                    pins[text] = settings.contracts.pin(text, held)
                except ConfigError as error:
                    raise ConfigError(
                        f"{type(strategy).__name__}.{name}: {error}; choose one with -p {name}=NAME"
                    ) from None
    return pins


def _play(played: report.Played) -> tuple[Result, float]:
    strategies = [strategy for _, strategy in played.strategies]
    table = played.recording.table
    with progress("replaying") as tell:
        on_progress: Callable[[int], None] | None = None
        if tell is not None:
            tell(0, len(table))
            on_progress = partial(_tell_all, tell, len(table))
        # Imported here: the whole client is not needed otherwise.
        play: Callable[..., Result] = (
            replay if played.history is None else partial(replay, history=played.history.table)
        )
        if played.as_live:
            from xtalgo.client.aslive import replay_as_live as play
        began = time.perf_counter()
        try:
            result = play(
                strategies, table, played.settings.replay, contracts=played.settings.contracts, on_progress=on_progress
            )
        except SystemExit as error:
            # A strategy that ends the interpreter would take the report with it.
            ended = RuntimeError("it called sys.exit(); use halt() to stop trading").with_traceback(error.__traceback__)
            raise blame(ended, strategies) from None
        seconds = time.perf_counter() - began
    return result, max(seconds, 1e-9)


def _tell_all(tell: Callable[[int, int], None], total: int, done: int) -> None:
    tell(done, total)
