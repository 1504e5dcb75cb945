"""``xtalgo serve``: a simulated CrossTrade server on a port, over a recording or an endless synthetic market."""

from __future__ import annotations

import json
import os
import signal
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import trio
from attrs import frozen

from xtalgo.app.config import Settings, load_settings
from xtalgo.app.console import Row, Screen, complain, progress
from xtalgo.client.aslive import LEAD, TAIL
from xtalgo.data.dialects import read_findings
from xtalgo.engine.series import QuoteTable
from xtalgo.live.clock import WallClock
from xtalgo.live.host import Host, ServerHost
from xtalgo.live.leaves import leaf_of
from xtalgo.live.lockstep import LockstepHost
from xtalgo.live.loopback import is_loopback
from xtalgo.live.server import Address, serve
from xtalgo.live.tokens import Token
from xtalgo.model.errors import ConfigError
from xtalgo.model.events import Quote
from xtalgo.model.instruments import ContractBook
from xtalgo.model.types import NEVER, Ns
from xtalgo.protocol.dialect import Dialect
from xtalgo.sim.faults import Faults
from xtalgo.sim.feeds import Feed, SyntheticFeed, TableFeed
from xtalgo.sim.fills import Latency
from xtalgo.sim.history import NONE, Minutes
from xtalgo.sim.server import SimServer
from xtalgo.sim.templates import BUILT_IN, AtmTemplate, templates_from_table

__all__ = ["CueFeed", "ServeRequest", "run_server"]

SPEEDS: Final = (0.001, 1_000_000.0)


@frozen(kw_only=True)
class ServeRequest:
    """What ``xtalgo serve`` was asked for."""

    files: Sequence[str]
    host: str
    port: int
    token: str
    speed: float
    accounts: Sequence[str]
    faults: str | None
    dialect: str | None
    atm: str | None = None
    lockstep: bool
    seed: int
    flags: Mapping[str, str | bool | None]
    ideal: bool
    config: str | None
    sort: bool
    json: bool


class CueFeed:
    """A recording that begins when the first instrument is wanted, so that no client misses its start."""

    def __init__(
        self, table: QuoteTable, contracts: ContractBook, now: Callable[[], Ns], speed: float, *, synthetic: bool = True
    ) -> None:
        self._table, self._contracts, self._now, self._speed = table, contracts, now, speed
        self._synthetic = synthetic
        self._feed = self._begin(0)
        self.source = self._feed.source
        """What GetQuote says of where the quotes come from."""
        self.due: Ns = NEVER
        """Stamp of the next frame; NEVER before it began, and when it is over."""
        self._began = False

    def _begin(self, start: Ns) -> TableFeed:
        return TableFeed(self._table, self._contracts, start=start, speed=self._speed, synthetic=self._synthetic)

    def next(self) -> tuple[Ns, tuple[Quote, ...]]:
        """The next frame."""
        frame = self._feed.next()
        self.due = self._feed.due
        return frame

    def knows(self, text: str) -> str | None:
        """The recording's instrument that ``text`` means."""
        return self._feed.knows(text)

    def began(self, name: str) -> Ns:
        """When the recording of an instrument begins, on the clock on which it is shown."""
        return self._feed.began(name)

    def minutes(self, name: str, since: Ns) -> Minutes:
        """The minutes from ``since`` on of what was shown so far."""
        return self._feed.minutes(name, since) if self._began else NONE

    def want(self, name: str) -> None:
        """Begin, if it has not begun."""
        if not self._began:
            self._feed, self._began = self._begin(self._now()), True
            self.due = self._feed.due


@frozen
class _Plan:
    """Everything that was read and checked before the port is opened."""

    request: ServeRequest
    settings: Settings
    accounts: tuple[str, ...]
    faults: Faults
    dialect: Dialect
    templates: tuple[AtmTemplate, ...]
    table: QuoteTable | None
    synthetic: bool
    source: str
    """What feeds it, for people."""

    def server(self, feed: Feed) -> SimServer:
        """The simulated server over a feed."""
        replay = self.settings.replay
        return SimServer(
            feed,
            token=self.request.token,
            accounts=self.accounts,
            contracts=self.settings.contracts,
            fills=replay.fills,
            latency=Latency(entry=replay.latency.entry, report=0),
            fees=replay.fees,
            faults=self.faults,
            dialect=self.dialect,
            templates=self.templates,
        )

    def host(self, clock: WallClock) -> Host:
        """The actor around a server that begins now."""
        request, contracts, table = self.request, self.settings.contracts, self.table
        if table is None:
            market = SyntheticFeed(request.seed, contracts, clock.now(), speed=request.speed, always_open=True)
            return ServerHost(self.server(market), clock)
        if request.lockstep:
            feed = TableFeed(table, contracts, synthetic=self.synthetic)
            first, last = int(table.ts[table.order[0]]), int(table.ts[table.order[-1]])
            return LockstepHost(self.server(feed), first - LEAD, last + TAIL)
        cue = CueFeed(table, contracts, clock.now, request.speed, synthetic=self.synthetic)
        return ServerHost(self.server(cue), clock)


def run_server(request: ServeRequest) -> None:
    """Serve until a signal ends it; raises XtalgoError for whatever is in the way."""
    plan = _plan(request)
    if not is_loopback(request.host):
        complain(f"warning: {request.host} may be reached from other machines, and the token travels in clear")
    try:
        trio.run(_serve, plan)
    except KeyboardInterrupt:
        pass  # the signal came between two of our own looks; it ends us all the same
    except BaseExceptionGroup as group:
        raise leaf_of(group) from None


def _plan(request: ServeRequest) -> _Plan:
    if not 0 <= request.port <= 65_535:
        raise ConfigError(f"--port is a whole number from 0, which picks a free one, to 65535, not {request.port}")
    if not SPEEDS[0] <= request.speed <= SPEEDS[1]:
        raise ConfigError(f"--speed is a number from {SPEEDS[0]:g} to {SPEEDS[1]:,.0f}, not {request.speed:g}")
    if request.seed < 0:
        raise ConfigError(f"--seed is a whole number from 0, not {request.seed}")
    if request.lockstep and request.speed != 1:
        raise ConfigError("--lockstep goes as fast as its client does; leave --speed out")
    if request.lockstep and not request.files:
        raise ConfigError("--lockstep plays recordings: name some, such as those that xtalgo synth writes")
    _check_token(request.token)
    settings = load_settings(request.flags, ideal=request.ideal, config=request.config, environment=os.environ)
    accounts = tuple(name.strip() for text in request.accounts for name in text.split(",") if name.strip())
    if request.accounts and not accounts:
        raise ConfigError("--accounts names one or more accounts, such as Sim101,Sim102")
    plan = _Plan(
        request,
        settings,
        accounts or settings.replay.accounts,
        _faults(request),
        Dialect() if request.dialect is None else read_findings(Path(request.dialect)).dialect(),
        _templates(request),
        None,
        True,
        f"an endless SYNTHETIC market, seed {request.seed}",
    )
    plan.server(TableFeed(_NOTHING, settings.contracts))  # accounts that can't be are found before anything is read
    return _with_recording(plan) if request.files else plan


def _check_token(text: str) -> None:
    try:
        if Token(text) == Token(text.strip()) and text == text.strip():
            return
    except ConfigError:
        pass
    raise ConfigError("--token can't stand in a header: use letters, digits and signs without blanks")


_NOTHING: Final = QuoteTable.from_rows((), [], [], [], [], [], [])


def _with_recording(plan: _Plan) -> _Plan:
    from attrs import evolve

    from xtalgo.data.quotes import load_recording, quote_files

    with progress("reading") as tell:
        recording = load_recording(
            quote_files(plan.request.files), plan.settings.contracts, sort=plan.request.sort, on_progress=tell
        )
    table = recording.table
    if not len(table):
        raise ConfigError("the recording holds no quotes")
    said = "SYNTHETIC quotes" if recording.synthetic else "quotes"
    names = ", ".join(table.instruments)
    source = f"{len(table):,} recorded {said} of {names}, from {len(recording.files)} files"
    return evolve(plan, table=table, synthetic=recording.synthetic, source=source)


def _faults(request: ServeRequest) -> Faults:
    """The faults of the file; chances are seeded by ``--seed`` where the file has no seed of its own."""
    if request.faults is None:
        return Faults()
    path = Path(request.faults)
    table = _toml("--faults", path)
    try:
        return Faults.from_table({"seed": request.seed, **table})
    except ConfigError as error:
        raise ConfigError(f"--faults {path}: {error}") from None


def _templates(request: ServeRequest) -> tuple[AtmTemplate, ...]:
    """The ATM templates of the file, or the built-in ones."""
    if request.atm is None:
        return BUILT_IN
    path = Path(request.atm)
    table = _toml("--atm", path)
    try:
        return templates_from_table(table)
    except ConfigError as error:
        raise ConfigError(f"--atm {path}: {error}") from None


def _toml(flag: str, path: Path) -> dict[str, Any]:
    """The table of a file that a flag names."""
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{flag} {path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{flag} {path}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{flag} {path}: not valid TOML: {error}") from None


# --- the run -------------------------------------------------------------------------------------------------------


async def _serve(plan: _Plan) -> None:
    host = plan.host(WallClock())
    wanted = [signal.SIGINT, signal.SIGTERM]
    if (ctrl_break := getattr(signal, "SIGBREAK", None)) is not None:  # Windows
        wanted.append(ctrl_break)
    with trio.open_signal_receiver(*wanted) as received:
        async with trio.open_nursery() as nursery:
            await nursery.start(host.run)
            address: Address = await nursery.start(_listen, host, plan.request)
            _tell(plan, address)
            async for _ in received:
                break
            nursery.cancel_scope.cancel()


async def _listen(host: Host, request: ServeRequest, *, task_status: trio.TaskStatus[Address]) -> None:
    await serve(host, bind=request.host, port=request.port, task_status=task_status)


def _tell(plan: _Plan, address: Address) -> None:
    """Say where it is, at once: somebody may be waiting for the line."""
    if plan.request.json:
        sys.stdout.write(json.dumps(_facts(plan, address)) + "\n")
        sys.stdout.flush()
        return
    screen = Screen(sys.stdout)
    rows: list[Row] = [
        ("socket", address.ws),
        ("REST", address.rest),
        ("token", f"{plan.request.token} (a toy: Authorization: Bearer {plan.request.token})"),
        ("accounts", ", ".join(plan.accounts)),
        ("quotes", plan.source),
        ("time", _pace(plan)),
    ]
    rows.append(("ATM templates", ", ".join(template.name for template in plan.templates)))
    if plan.request.faults is not None:
        rows.append(("faults", plan.request.faults))
    if plan.request.dialect is not None:
        rows.append(("dialect", plan.request.dialect))
    screen.section("A simulated CrossTrade server: no real money, no real market", rows)
    screen.text("Ctrl-C ends it")
    screen.flush()


def _pace(plan: _Plan) -> str:
    if plan.request.lockstep:
        return "in lockstep with its client, from ten seconds before the first quote"
    begins = "" if plan.table is None else "from the first client's subscription on, "
    return f"{begins}{plan.request.speed:g} times as fast as real"


def _facts(plan: _Plan, address: Address) -> dict[str, Any]:
    return {
        "ws": address.ws,
        "rest": address.rest,
        "token": plan.request.token,
        "synthetic": plan.synthetic,
        "source": plan.source,
        "instruments": None if plan.table is None else list(plan.table.instruments),
        "accounts": list(plan.accounts),
        "speed": None if plan.request.lockstep else plan.request.speed,
        "lockstep": plan.request.lockstep,
        "seed": plan.request.seed,
    }
