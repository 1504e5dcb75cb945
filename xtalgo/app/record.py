"""``xtalgo record``: what is asked for is checked, shown, recorded and summed up."""

from __future__ import annotations

import math
import os
import secrets
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from functools import partial
from typing import Any

import trio
from attrs import evolve, frozen

from xtalgo.app.config import Settings, load_settings
from xtalgo.app.console import Row, Screen, complain
from xtalgo.app.demo import demo_venue
from xtalgo.app.dialects import spoken
from xtalgo.app.journaling import begin
from xtalgo.app.news import Display, JsonDisplay, News, PlainDisplay
from xtalgo.app.recording import Recording, Wanted
from xtalgo.app.report import gap_lines
from xtalgo.app.venues import CROSSTRADE, TOKEN_VARIABLE, Kind, Target, choose
from xtalgo.data.journal import JournalFailed, read
from xtalgo.live.host import ServerHost
from xtalgo.live.leaves import leaf_of
from xtalgo.live.lock import SessionLock
from xtalgo.live.server import serve
from xtalgo.live.wires import dialer
from xtalgo.model.errors import ConfigError

__all__ = ["RecordRequest", "record"]


@frozen(kw_only=True)
class RecordRequest:
    """What ``xtalgo record`` was asked for."""

    instruments: Sequence[str]
    duration: float | None = None
    journal: str | None = None
    accounts: Sequence[str] = ()
    pnl: bool | None = None
    demo: bool = False
    url: str | None = None
    token_file: str | None = None
    config: str | None = None
    json: bool = False

    @property
    def wanted(self) -> Wanted:
        """What is to be recorded."""
        pnl = bool(self.accounts) if self.pnl is None else self.pnl
        return Wanted(instruments=self.instruments, accounts=self.accounts, pnl=pnl, duration=self.duration)


def record(request: RecordRequest) -> None:
    """Record what was asked for and say what came of it; raises XtalgoError for whatever went wrong."""
    flags = {"url": request.url, "token_file": request.token_file}
    settings = load_settings(flags, accounts=request.accounts, config=request.config, environment=os.environ)
    _check(request, settings)
    target = choose(settings, os.environ, demo=request.demo, paper=False)
    out = sys.stdout
    with ExitStack() as stack:
        if target.token is not None:
            stack.enter_context(SessionLock(target.token))
        known = evolve(target, accounts=tuple(request.accounts))
        dialect = spoken(settings, target.url).dialect
        keeping = stack.enter_context(begin(time.time_ns(), known, settings, (), request.journal, dialect=dialect))
        assert keeping.journal is not None
        screen = Screen(sys.stderr if request.json else out)
        display = JsonDisplay(out) if request.json else PlainDisplay(out)
        run = Recording(request.wanted, settings.contracts, keeping.journal, keeping.birth, display, dialect=dialect)
        _show_before(screen, request, target, run)
        display.tell(News(run.clock.wall(), "start", "", _start_facts(request, target, run)))
        try:
            trio.run(_main, run, target, settings)
        finally:
            _close(run)
            _sum_up(run, screen, display, is_json=request.json)
        run.verdict()


def _check(request: RecordRequest, settings: Settings) -> None:
    if not request.instruments:
        raise ConfigError("name one or more instruments, such as ES or 'MNQ 12-26': xtalgo record ES MNQ --for 300")
    for name in request.instruments:
        settings.contracts.contract(settings.contracts.parse(name).root)
    if request.duration is not None and not (math.isfinite(request.duration) and request.duration > 0):
        raise ConfigError(f"--for: expected a number of seconds above 0, not {request.duration:g}")
    if request.accounts and request.pnl is False:
        raise ConfigError("--account and --no-pnl don't go together: an account is named for its P&L")
    if request.demo:
        for flag, value in (("--url", request.url), ("--token-file", request.token_file)):
            if value is not None:
                raise ConfigError(f"--demo and {flag} don't go together: the demo brings its own server")


async def _main(run: Recording, target: Target, settings: Settings) -> None:
    """The whole run, with its own server where it is a demo."""
    if target.kind is not Kind.DEMO:
        assert target.token is not None
        await run.conduct(dialer(target.url or CROSSTRADE, target.token), signals=True)
        return
    try:
        async with trio.open_nursery() as nursery:
            secret = secrets.token_hex(16)  # nobody else on this machine shall meet our server
            host = ServerHost(demo_venue(settings, target.accounts, secret, run.clock.now()), run.clock)
            await nursery.start(host.run)
            address = await nursery.start(partial(serve, host, port=0))
            await run.conduct(dialer(address.ws, secret), signals=True)
            nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise leaf_of(group) from None


# --- for people ------------------------------------------------------------------------------------------------------


def _start_facts(request: RecordRequest, target: Target, run: Recording) -> dict[str, Any]:
    return {
        "mode": target.mode,
        "synthetic": target.kind is Kind.DEMO,
        "url": target.shown_url if target.url is not None else None,
        "instruments": list(request.instruments),
        "duration": request.duration,
        "run": run.journal.header.run,
        "journal": str(run.journal.path),
    }


def _show_before(screen: Screen, request: RecordRequest, target: Target, run: Recording) -> None:
    if target.kind is Kind.DEMO:
        screen.text("RECORDING A DEMO: the market is SYNTHETIC, made up by a program.", "bold yellow")
        screen.text(f"(Set {TOKEN_VARIABLE} to record your own market through CrossTrade.)", "bold yellow")
    else:
        screen.text(f"RECORDING from {target.shown_url}. Nothing is traded: a recording places no orders.", "bold")
    wanted = run.wanted
    whose = ", ".join(wanted.accounts) or "all accounts"
    rows: list[Row] = [
        ("instruments", ", ".join(wanted.instruments)),
        ("P&L", f"of {whose}" if wanted.pnl else "not recorded"),
        ("length", "until Ctrl-C" if wanted.duration is None else f"{wanted.duration:g} s, or until Ctrl-C"),
        ("journal", str(run.journal.path)),
    ]
    screen.section("Settings", rows)
    for warning in target.warnings:
        screen.text(f"Warning: {warning}", "bold yellow")
    screen.flush()


def _close(run: Recording) -> None:
    """End the journal, so that the file is whole by itself when the summary names it."""
    try:
        run.journal.close()
    except JournalFailed as failure:
        if run.error is None:
            run.error = failure


def _lost(run: Recording) -> int:
    """Inputs that were never written, since the file could not be."""
    try:
        with read(run.journal.path) as reader:
            return sum(gap.count for gap in reader.gaps() if gap.name == "inputs")
    except JournalFailed:
        return 0


def _sum_up(run: Recording, screen: Screen, display: Display, *, is_json: bool) -> None:
    tally, lost = run.tally, _lost(run)
    names = [pin.name for pin in run.pins.values()]
    counts = {name: tally.quotes.get(name, 0) for name in names}
    facts = {
        "ended": run.how,
        "quotes": counts,
        "gaps": [{"instrument": gap.instrument, **gap.facts} for gap in tally.gaps],
        "lost": lost,
        "journal": str(run.journal.path),
    }
    if is_json:
        display.tell(News(run.clock.wall(), "summary", "", facts))
    display.close()
    writer = display.writer
    if writer.dropped:
        complain(f"{writer.dropped:,} lines were not written, since nobody read them")
    if writer.broken is not None:
        return
    listed = ", ".join(f"{name} {count:,}" for name, count in counts.items()) or "none"
    rows: list[Row] = [("ended", run.how), ("quotes", listed)]
    lines = gap_lines(tally.gaps)
    rows.append(("gaps", f"{len(lines):,}, UTC:" if lines else "none"))
    rows += [("", line) for line in lines]
    if lost:
        rows.append(("lost", f"{lost:,} inputs were never written, since the journal could not be"))
    rows.append(("journal", str(run.journal.path)))
    screen.text("")
    screen.section("Recorded", rows)
    screen.text(f"As quote files: xtalgo pack {_quoted(str(run.journal.path))} -o quotes")
    screen.flush()


def _quoted(path: str) -> str:
    return f'"{path}"' if " " in path else path
