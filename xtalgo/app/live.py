"""``xtalgo run`` without ``--replay``: what is asked for is checked, shown, run and summed up."""

from __future__ import annotations

import math
import os
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack, nullcontext, redirect_stdout
from pathlib import Path
from typing import Any, Final, TextIO

import trio
from attrs import evolve
from msgspec import structs

from xtalgo.app import report
from xtalgo.app.config import SETTINGS, Settings, load_settings
from xtalgo.app.console import Row, Screen, complain
from xtalgo.app.days import days_of
from xtalgo.app.dialects import Spoken, spoken
from xtalgo.app.fillsfile import fills_writer
from xtalgo.app.journaling import Keeping, accounts_of, begin, estate_rows, resume
from xtalgo.app.liverun import LiveRun, Plan
from xtalgo.app.livetable import TableDisplay
from xtalgo.app.loader import load_strategies
from xtalgo.app.news import Display, JsonDisplay, News, PlainDisplay
from xtalgo.app.request import Request, refuse
from xtalgo.app.summary import figures, show_figures
from xtalgo.app.venues import CROSSTRADE, TOKEN_VARIABLE, Kind, Target, choose
from xtalgo.engine.risk import RiskLimits
from xtalgo.engine.strategy import Strategy
from xtalgo.live.lock import SessionLock
from xtalgo.live.session import StopMode
from xtalgo.model.errors import ConfigError
from xtalgo.protocol.dialect import Dialect

__all__ = ["run_live"]

_MODEL_FLAGS: Final = ("--ideal", "--entry-latency", "--slippage", "--commission", "--touch", "--stop-trigger", "--oco")


def run_live(request: Request, files: Sequence[str]) -> None:
    """Run strategies live and say what came of it; raises XtalgoError for whatever is in the way or went wrong."""
    _check(request)
    out = sys.stdout
    with ExitStack() as stack:
        if request.json:  # standard output is for JSON alone, whatever a strategy prints
            stack.enter_context(redirect_stdout(sys.stderr))
        accounts = request.accounts
        if request.resume is not None and not accounts:
            accounts = accounts_of(request.resume)
        settings = load_settings(
            request.flags,
            ideal=request.ideal,
            accounts=accounts,
            config=request.config,
            environment=os.environ,
        )
        target = choose(settings, os.environ, demo=request.demo, paper=request.paper)
        target = evolve(target, allows_real=request.live)
        _check_target(request, target)
        speaks = spoken(settings, target.url)
        if request.live:
            _check_guards(settings.replay.limits)
            if not target.fills_here:
                _check_pnl(settings.replay.limits, speaks, target)
        strategies = load_strategies(files, request.names, request.parameters)
        inputs = [*(Path(file) for file, _ in strategies), *([settings.file] if settings.file else [])]
        write_fills = stack.enter_context(fills_writer(request.fills, inputs))
        if target.token is not None:
            stack.enter_context(SessionLock(target.token))
        keeping = stack.enter_context(_keeping(request, target, settings, strategies, speaks.dialect))
        days = stack.enter_context(days_of(target, target.accounts, time.time_ns()))
        keeping = evolve(keeping, birth=structs.replace(keeping.birth, days=days.inherited))
        plan = Plan(
            target=target,
            settings=settings,
            strategies=strategies,
            duration=request.duration,
            keeping=keeping,
            days=days,
            spoken=speaks,
        )
        screen = Screen(sys.stderr if request.json else out)
        show_before(screen, plan)
        screen.flush()
        run = LiveRun(plan, _display(request, plan, out))
        try:
            run.display.tell(News(run.clock.wall(), "start", "", _start_facts(plan)))
            trio.run(run.main)
        finally:
            _sum_up(run, screen, is_json=request.json)
        session = run.session
        assert session is not None
        fills = [] if session.trader.engine is None else session.trader.engine.blotter.fills
        write_fills(sorted(fills, key=lambda fill: fill.executed))
        if request.fills is not None and run.display.writer.broken is None:
            screen.text(f"Fills written to {request.fills}")
        run.verdict()


def _check(request: Request) -> None:
    """Options that make no sense together, or here."""
    refuse(request, "a live run", "that is for --replay", ("--history", "--sort", "--as-live"))
    refuse(request, "a live run", "fills are seen when they are seen; that is for --replay", ("--report-latency",))
    if request.demo:
        why = "the demo brings its own server"
        refuse(request, "--demo", why, ("--paper", "--url", "--token-file"))
    if request.resume is not None:
        refuse(request, "--resume", "the journal of a run stays the same", ("--journal", "--no-journal"))
        refuse(request, "--resume", "what lived in the process of a run is gone with it", ("--demo", "--paper"))
    elif request.accept_changes:
        raise ConfigError("--accept-changes says something about a run that is taken up again; it needs --resume")
    if request.no_journal:
        refuse(request, "--no-journal", "either it is written down or it isn't", ("--journal",))
    if request.duration is not None and not (math.isfinite(request.duration) and request.duration > 0):
        raise ConfigError(f"--for: expected a number of seconds above 0, not {request.duration:g}")


def _check_target(request: Request, target: Target) -> None:
    if not target.fills_here:
        why = "the venue fills orders, not we; that is for --replay, --paper and --demo"
        refuse(request, target.name, why, _MODEL_FLAGS)
    if not target.fills_here and request.no_journal:
        raise ConfigError(
            f"{target.name} and --no-journal don't go together: without a journal nobody could take up what a crash "
            "leaves; that is for --demo and --paper"
        )
    if target.kind is Kind.DEMO and request.resume is not None:
        raise ConfigError(f"--resume needs the venue that the run traded at: set {TOKEN_VARIABLE}, and --url if it was")
    if target.kind is not Kind.DEMO:
        refuse(request, target.name, "a seed is for the demo's market", ("--seed",))


def _check_guards(limits: RiskLimits) -> None:
    """Real money wants limits of the whole account. Any account that is not known to be a simulator counts as real."""
    missing = [] if limits.max_contracts is not None else ["--max-contracts"]
    if limits.account_daily_loss is None:
        missing.append("--account-daily-loss")
    if missing:
        raise ConfigError(f"--live trades real accounts and needs {' and '.join(missing)} set")


def _check_pnl(limits: RiskLimits, speaks: Spoken, target: Target) -> None:
    """A limit on the P&L of an account needs to know where the venue tells it: nobody shall believe it is watched."""
    names = ("account_daily_loss", "trailing_drawdown")
    limited = [SETTINGS[name].flag for name in names if getattr(limits, name) is not None]
    if limited and not speaks.dialect.confirms("pnl_keys"):
        where = "" if speaks.path is None else f" ({speaks.path} does not say it)"
        raise ConfigError(
            f"--live with {' and '.join(limited)}: where {target.shown_url} tells an account's P&L was never found "
            f"out{where}, so losses of others in the account would go unseen; run xtalgo probe on a simulator account"
        )


def _keeping(
    request: Request,
    target: Target,
    settings: Settings,
    strategies: Sequence[tuple[str, Strategy]],
    dialect: Dialect,
) -> AbstractContextManager[Keeping]:
    now = time.time_ns()
    if request.no_journal:
        return nullcontext(Keeping.nowhere())
    if request.resume is not None:
        return resume(
            now, target, settings, strategies, request.resume, dialect=dialect, accepts=request.accept_changes
        )
    return begin(now, target, settings, strategies, request.journal, dialect=dialect)


def _display(request: Request, plan: Plan, out: TextIO) -> Display:
    if request.json:
        return JsonDisplay(out)
    if out.isatty() and os.environ.get("TERM") != "dumb":
        return TableDisplay(out, plan.target.name)
    return PlainDisplay(out)


def _start_facts(plan: Plan) -> dict[str, Any]:
    return {
        "mode": plan.target.mode,
        "synthetic": plan.target.kind is Kind.DEMO,
        "url": plan.target.shown_url if plan.target.url is not None else None,
        "accounts": list(plan.target.accounts),
        "strategies": [f"{file}:{type(strategy).__name__}" for file, strategy in plan.strategies],
        "on_stop": str(plan.on_stop),
        "duration": plan.duration,
        "run": plan.keeping.run,
        "dialect": None if plan.spoken.path is None else str(plan.spoken.path),
        "journal": None if plan.keeping.journal is None else str(plan.keeping.journal.path),
    }


def show_before(screen: Screen, plan: Plan) -> None:
    """What is traded against, so that nobody can be wrong about it, and the settings in force."""
    target, settings = plan.target, plan.settings
    accounts = ", ".join(target.accounts)
    if target.kind is Kind.DEMO:
        for line in (
            "=" * 78,
            "  DEMO    DEMO    DEMO    the market is SYNTHETIC: made up by a program",
            f"  No broker, no account, nothing real: {accounts} lives in this process only.",
            "  What a strategy earns here says nothing about a market.",
            f"  (Set {TOKEN_VARIABLE} to trade in NinjaTrader through CrossTrade.)",
            "=" * 78,
        ):
            screen.text(line, "bold yellow")
    elif target.is_paper:
        screen.text(f"PAPER: quotes of {target.shown_url}, fills of our own; no order leaves this machine.", "bold")
    else:
        where = "CROSSTRADE" if target.url == CROSSTRADE else "SERVER"
        screen.text(f"{where}: orders go to {target.shown_url}, accounts {accounts}.", "bold")
        screen.text("Only simulators are traded: an account that the venue does not call one ends the run.", "bold")
    screen.text("")
    rows: list[Row] = [("strategy", report.strategy_line(file, strategy, {})) for file, strategy in plan.strategies]
    if target.fills_here:
        fee = settings.replay.fees.commission
        told = "assumed by root, see xtalgo run --help; --commission sets yours"
        rows += report.model_rows(settings, told if fee is None else f"{report.money(fee)} a contract and side")
    length = "until Ctrl-C" if plan.duration is None else f"{plan.duration:g} s, or until Ctrl-C"
    source = settings.sources.get("on_stop")
    starts = settings.live
    if (starts.start_behavior, starts.external) != ("wait-flat", "deny"):
        rows.append(("others' positions", f"{_STARTS[starts.start_behavior]}; {_EXTERNALS[starts.external]}"))
    rows += [
        ("length", length),
        ("at the end", f"{_STOPS[plan.on_stop]}" + (f"  [{source}]" if source else "")),
        *report.limit_rows(settings, target.accounts),
    ]
    journal = plan.keeping.journal
    rows.append(("journal", "none, as asked" if journal is None else str(journal.path)))
    if target.kind is not Kind.DEMO:
        rows.append(("dialect", plan.spoken.told))
    screen.section("Settings", rows)
    if plan.keeping.estate is not None:
        screen.section(f"Taken up again: run {plan.keeping.run}", estate_rows(plan.keeping.estate))
    for change in plan.keeping.changes:
        screen.text(f"Not as it was, and accepted: {change}", "bold yellow")
    for warning in target.warnings:
        screen.text(f"Warning: {warning}", "bold yellow")


_STARTS: Final = {
    "wait-flat": "no entries until those at the start are gone",
    "adopt": "those at the start become the first strategy's that trades them",
    "flatten": "those at the start are closed first",
}
_EXTERNALS: Final = {"deny": "no entries beside later ones", "keep": "trade beside them"}

_STOPS: Final = {
    StopMode.PROTECT: "protect: cancel entries, keep positions and their exits",
    StopMode.CANCEL: "cancel: cancel the strategies' own orders, keep positions and their exits",
    StopMode.FLATTEN: "flatten: close every position of this run, and see that it is so",
}


def _sum_up(run: LiveRun, screen: Screen, *, is_json: bool) -> None:
    """The summary, on every way out of a run that has begun to dial."""
    session = run.session
    if session is None:
        run.display.close()
        return
    now = run.ended or session.trader.engine.now if session.trader.engine is not None else run.ended
    found = figures(session, run.left, now, run.how)
    if is_json:
        run.display.tell(News(run.clock.wall(), "summary", "", found))
    run.display.close()
    if run.display.writer.dropped:
        complain(f"{run.display.writer.dropped:,} lines were not written, since nobody read them")
    if run.display.writer.broken is None:
        show_figures(screen, found, run.left, run.plan.target.name)
        if (journal := run.plan.keeping.journal) is not None:
            screen.text(f"Journal: {journal.path}")
        screen.flush()
