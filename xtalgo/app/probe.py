"""``xtalgo probe``: find out on a simulator account what nobody outside knows, and write it down."""

from __future__ import annotations

import datetime as dt
import os
import secrets
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import trio
from attrs import field, frozen

from xtalgo import __version__
from xtalgo.app.config import Settings, load_settings
from xtalgo.app.dialects import dialect_path, host_of
from xtalgo.app.exits import NotFlat
from xtalgo.app.news import Display, JsonDisplay, News, PlainDisplay
from xtalgo.app.operator import account_name, venue_in
from xtalgo.app.probereport import report_of
from xtalgo.app.venues import socket_url
from xtalgo.client.probing.dealing import Untidy, is_ours
from xtalgo.client.probing.plan import STEPS
from xtalgo.client.probing.script import Probe, Step
from xtalgo.data.dialects import read_findings, write_findings
from xtalgo.live.clock import WallClock
from xtalgo.live.leaves import leaf_of
from xtalgo.live.lock import SessionLock
from xtalgo.live.prober import Prober
from xtalgo.live.rest import RestClient
from xtalgo.live.tokens import Token
from xtalgo.live.wires import Dial, dialer
from xtalgo.model.errors import ConfigError, XtalgoError
from xtalgo.protocol.arguments import nearest
from xtalgo.protocol.choices import meant
from xtalgo.protocol.dialect import FIELDS, plain
from xtalgo.protocol.findings import Findings

__all__ = ["ProbeRequest", "conduct", "run_probe"]

NO_TOKEN: Final = "xtalgo-probe-no-such-token"
"""The token of the step that tries a wrong one."""
REST_WITHIN: Final = 30.0
"""Seconds spent over REST on what could not be tidied up over the socket."""


@frozen(kw_only=True)
class ProbeRequest:
    """What ``xtalgo probe`` was asked for."""

    account: str
    instrument: str = "ES"
    output: str | None = None
    report: str | None = None
    skip: Sequence[str] = ()
    yes: bool = False
    json: bool = False
    url: str | None = None
    token_file: str | None = None
    config: str | None = None


@frozen
class _Plan:
    """Everything that was checked before anything is dialled."""

    request: ProbeRequest
    settings: Settings
    url: str
    """Of the socket."""
    token: Token
    steps: tuple[Step, ...]
    output: Path
    report: Path
    before: Findings | None
    """What the file held that is about to be replaced."""
    probe: Probe = field(repr=False)


def run_probe(request: ProbeRequest) -> None:
    """Probe, and write dialect file and report; raises XtalgoError for whatever is in the way or left over."""
    plan = _plan(request)
    if not request.yes and sys.stdin is not None and sys.stdin.isatty():
        _confirm(plan)
    display: Display = (JsonDisplay if request.json else PlainDisplay)(sys.stdout)
    try:
        with SessionLock(plan.token):
            trio.run(_at_venue, plan, display)
    finally:
        display.close()


def _plan(request: ProbeRequest) -> _Plan:
    account = account_name(request.account)
    if not request.instrument.strip():
        raise ConfigError("--instrument is empty: name one, such as ES")
    flags = {"url": request.url, "token_file": request.token_file}
    settings = load_settings(flags, config=request.config, environment=os.environ)
    settings.contracts.parse(request.instrument)
    venue = venue_in(settings)
    url = socket_url(venue.url)
    dialer(url, venue.token)  # an address that may not be dialled is found now
    names = [step.name for step in STEPS]
    skipped = [name.strip() for text in request.skip for name in text.split(",") if name.strip()]
    for name in skipped:
        if name not in names:
            hint = meant(nearest(name, names)) or f"; there are {', '.join(names)}"
            raise ConfigError(f"--skip: there is no step {name!r}{hint}")
    output = dialect_path(url) if request.output is None else Path(request.output)
    report = output.with_suffix(".md") if request.report is None else Path(request.report)
    if report == output:
        raise ConfigError("--report and -o name the same file")
    return _Plan(
        request,
        settings,
        url,
        venue.token,
        tuple(step for step in STEPS if step.name not in skipped),
        output,
        report,
        read_findings(output) if output.exists() else None,
        Probe(account, request.instrument.strip(), f"xp{secrets.token_hex(4)}"),
    )


def _confirm(plan: _Plan) -> None:
    sys.stderr.write(
        f"{host_of(plan.url)}, account {plan.probe.account}: {len(plan.steps)} steps, two or three minutes. Each says "
        "what it does before it acts.\nOrders are BUY LIMIT 1 some 20 % below the market, and are cancelled at once. "
        "Another client of this token is thrown out.\nGo on? [y/N] "
    )
    sys.stderr.flush()
    if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
        raise ConfigError("not confirmed: nothing was sent")


# --- at the venue --------------------------------------------------------------------------------------------------


async def _at_venue(plan: _Plan, display: Display) -> None:
    await conduct(plan, dialer(plan.url, plan.token), dialer(plan.url, NO_TOKEN), display, WallClock())


async def conduct(plan: _Plan, dial: Dial, wrong: Dial, display: Display, clock: WallClock) -> None:
    """Probe over a way to dial, and write down what came of it, however it ends."""
    probe = plan.probe

    def tell(event: str, text: str, *, warns: bool = False, **facts: Any) -> None:
        display.tell(News(clock.now(), event, text, facts, warns))

    prober = Prober(
        probe,
        dial,
        clock,
        wrong=wrong,
        steps=plan.steps,
        tell=lambda step, text: tell("step", f"{step}: {text}", step=step),
    )
    tell("start", f"probing {host_of(plan.url)}, account {probe.account}, instrument {probe.instrument}")
    try:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(_hear_signals, prober, tell, nursery.cancel_scope)
            try:
                await prober.run()
            except Untidy as error:
                tell("untidy", f"{error}; trying over REST", warns=True)
                if not await _tidied_over_rest(plan):
                    raise NotFlat(str(error)) from None
            finally:
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise leaf_of(group) from None
    finally:
        if probe.findings.facts:
            _write(plan, prober, clock, tell)
    if prober.stopped:
        raise KeyboardInterrupt


async def _hear_signals(prober: Prober, tell: Any, scope: trio.CancelScope) -> None:
    wanted = [signal.SIGINT, signal.SIGTERM]
    if (ctrl_break := getattr(signal, "SIGBREAK", None)) is not None:  # Windows
        wanted.append(ctrl_break)
    with trio.open_signal_receiver(*wanted) as received:
        async for _ in received:
            if prober.stopped:
                prober.abandon()
                scope.cancel()
                return
            tell("stop", "stopping: what was placed is cancelled; Ctrl-C once more ends at once", warns=True)
            prober.stop()


async def _tidied_over_rest(plan: _Plan) -> bool:
    """Cancel what the probe may have left, by another road; whether two looks in a row found nothing."""
    probe, clean = plan.probe, 0
    with trio.move_on_after(REST_WITHIN):
        async with RestClient(plan.url, plan.token) as client:
            while clean < 2:
                try:
                    rows = (await client.call("ListOrders", account=probe.account)).value
                    left = [row for row in rows if not row.state.is_done and is_ours(probe, row)]
                    for row in left:
                        await client.call("Cancel", account=probe.account, orderId=row.order_id)
                    held = (await client.call("ListPositions", account=probe.account)).value
                    if any(row.net for row in held):
                        return False
                    clean = 0 if left else clean + 1
                except XtalgoError:
                    clean = 0
                await trio.sleep(2.0)
    return clean >= 2


# --- what came of it -----------------------------------------------------------------------------------------------


def _write(plan: _Plan, prober: Prober, clock: WallClock, tell: Any) -> None:
    findings = plan.probe.findings
    findings.date = dt.datetime.fromtimestamp(clock.now() // 10**9, dt.UTC)
    findings.version, findings.host = __version__, host_of(plan.url)
    fresh = len(findings.facts)
    if plan.before is not None and plan.before.host in ("", findings.host):
        findings.keep(plan.before)
    write_findings(plan.output, findings)
    _write_report(plan, prober)
    kept = f", {len(findings.facts) - fresh} more are from before" if len(findings.facts) > fresh else ""
    tell(
        "summary",
        f"{fresh} of {len(FIELDS)} facts settled{kept}; dialect file {plan.output}, report {plan.report}",
        settled={name: plain(fact.value) for name, fact in findings.facts.items()},
        unsettled=dict(findings.unsettled),
        file=str(plan.output),
        report=str(plan.report),
    )
    for name, why in findings.unsettled.items():
        tell("unsettled", f"not settled, {name}: {why}", name=name)


def _write_report(plan: _Plan, prober: Prober) -> None:
    try:
        plan.report.parent.mkdir(parents=True, exist_ok=True)
        plan.report.write_text(report_of(plan.probe.findings, plan.steps, prober.notes), encoding="utf-8", newline="\n")
    except OSError as error:
        raise ConfigError(f"--report {plan.report}: cannot be written: {error.strerror or error}") from None
