"""The journal of a live run: where it lies, what its head says, and what taking up a run again asks for."""

from __future__ import annotations

import datetime as dt
import platform
import secrets
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, cast

import attrs
import msgspec
import platformdirs
from attrs import field, frozen

from xtalgo import __version__
from xtalgo.app.config import Settings
from xtalgo.app.console import Row
from xtalgo.app.loader import parameters_of
from xtalgo.app.venues import Target
from xtalgo.data.journal import Header, Journal, JournalFailed, StrategySource, read
from xtalgo.engine.daystate import DayState
from xtalgo.engine.engine import Engine
from xtalgo.engine.risk import RiskLimits
from xtalgo.engine.strategy import Strategy
from xtalgo.live.recorder import Birth
from xtalgo.live.resume import Estate
from xtalgo.model.errors import ConfigError
from xtalgo.model.instruments import ContractBook
from xtalgo.model.types import SECOND_NS, Ns
from xtalgo.protocol.dialect import Dialect, plain

__all__ = [
    "Facts",
    "Keeping",
    "accounts_of",
    "begin",
    "estate_rows",
    "facts_of",
    "header_of",
    "prepare",
    "resume",
    "runs_folder",
]

_FEW: Final = 8


def runs_folder() -> Path:
    """Where journals lie when no file is named: in the user's data folder of this platform."""
    return platformdirs.user_data_path("xtalgo", appauthor=False) / "runs"


@frozen(eq=False)
class Keeping:
    """How a run is written down. ``journal`` is None where it is not."""

    run: str
    """What its order ids begin with: letters and digits of the run, and of each further life a number."""
    journal: Journal | None = None
    birth: Birth = field(factory=Birth)
    estate: Estate | None = None
    """What earlier lives left."""
    changes: tuple[str, ...] = ()
    """What is not as it was, and was accepted."""

    @classmethod
    def nowhere(cls) -> Keeping:
        """A run that is not written down, under a fresh name: the venue keeps order ids."""
        return cls(_fresh())


def _fresh() -> str:
    return f"x{secrets.token_hex(4)}"


# --- the head --------------------------------------------------------------------------------------------------------


def header_of(
    run: str,
    now: Ns,
    target: Target,
    settings: Settings,
    strategies: Sequence[tuple[str, Strategy]],
    dialect: Dialect | None = None,
) -> Header:
    """The head of a run that begins now; the token is no part of it."""
    return Header(
        run,
        now,
        __version__,
        platform.python_version(),
        f"{sys.platform} {platform.machine()}",
        _settings_text(target, settings, dialect or Dialect()),
        target.accounts,
        tuple(_sources(strategies)),
    )


def _settings_text(target: Target, settings: Settings, dialect: Dialect) -> str:
    """What the run is set to, as JSON. How it ends is not part of it: that may be another way each time."""
    replay, live = settings.replay, settings.live
    facts: dict[str, Any] = {
        "mode": target.mode,
        "start_behavior": live.start_behavior,
        "external": live.external,
        "risk": {name: _plain(value) for name, value in attrs.asdict(replay.limits, recurse=False).items()},
        "instruments": {name: list(facts) for name, facts in sorted(settings.contracts.extra.items())},
    }
    if dialect.settled:
        facts["dialect"] = {name: plain(getattr(dialect, name)) for name in sorted(dialect.settled)}
    if target.allows_real:
        facts["live"] = True
    if target.url is not None:
        facts["url"] = target.shown_url
    if target.fills_here:
        models = (("fills", replay.fills), ("latency", replay.latency), ("fees", replay.fees))
        facts |= {
            name: {key: _plain(value) for key, value in attrs.asdict(cast(Any, model), recurse=False).items()}
            for name, model in models
        }
    return msgspec.json.encode(facts).decode()


def _plain(value: object) -> object:
    return value if value is None or isinstance(value, int | float | str) else str(value)


def _sources(strategies: Sequence[tuple[str, Strategy]]) -> Iterator[StrategySource]:
    """Each strategy under the name that its seat in the engine has."""
    seen: Counter[str] = Counter()
    for file, strategy in strategies:
        kind = type(strategy)
        seen[kind.__name__] += 1
        name = kind.__name__ if seen[kind.__name__] == 1 else f"{kind.__name__}-{seen[kind.__name__]}"
        try:
            source = Path(file).read_bytes().decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{file}: its source can't be kept in the journal: {error}") from None
        values = {info.name: getattr(strategy, info.name) for info in parameters_of(kind)}
        yield StrategySource.of(name, file, source, _parameters_text(name, values))


def _parameters_text(name: str, values: Mapping[str, Any]) -> str:
    try:
        return msgspec.json.encode(values, enc_hook=repr).decode()
    except (TypeError, ValueError) as error:
        raise ConfigError(f"{name}: its parameters can't be kept in the journal: {error}") from None


@frozen
class Facts:
    """What of the settings in a head decides what a run does with its inputs."""

    mode: str
    limits: RiskLimits
    contracts: ContractBook
    keeps_external: bool
    adopts: bool
    dialect: Dialect
    allows_real: bool = False


def facts_of(header: Header) -> Facts:
    """Read them. Raises ConfigError for settings that this version can't read."""
    try:
        told = msgspec.json.decode(header.settings, type=dict[str, Any])
        limits = RiskLimits(**told["risk"])
        extra = {name: (float(tick), float(point)) for name, (tick, point) in told["instruments"].items()}
        keeps, adopts = told["external"] == "keep", told["start_behavior"] == "adopt"
        dialect = Dialect.from_table(told.get("dialect", {}))
        allows_real = told.get("live") is True
        return Facts(str(told["mode"]), limits, ContractBook(extra=extra), keeps, adopts, dialect, allows_real)
    except (msgspec.MsgspecError, LookupError, TypeError, ValueError, ConfigError) as error:
        raise ConfigError(
            f"the settings in the journal can't be read by xtalgo {__version__} ({type(error).__name__}: {error}); "
            f"use xtalgo {header.version}, which wrote them"
        ) from None


def prepare(
    estate: Estate | None, *, keeps_external: bool, adopts: bool, days: Sequence[DayState] = ()
) -> Callable[[Engine], None]:
    """What makes a fresh engine ready: an earlier life's estate, the remembered days, and others' positions."""

    def give(engine: Engine) -> None:
        assert engine.liaison is not None
        engine.liaison.keeps_external, engine.liaison.others.adopts = keeps_external, adopts
        engine.inherit_days(days, resumed=estate is not None)
        if estate is not None:
            estate.bequeath()(engine)

    return give


# --- opening ---------------------------------------------------------------------------------------------------------


@contextmanager
def begin(
    now: Ns,
    target: Target,
    settings: Settings,
    strategies: Sequence[tuple[str, Strategy]],
    path: str | None,
    *,
    dialect: Dialect | None = None,
) -> Iterator[Keeping]:
    """Begin the journal of a new run. Raises ConfigError when it can't be made where it is to lie."""
    run = _fresh()
    header = header_of(run, now, target, settings, strategies, dialect)
    if path is None:
        stamp = dt.datetime.fromtimestamp(now // SECOND_NS, dt.UTC)
        place = runs_folder() / f"{stamp:%Y%m%d-%H%M%S}-{run}.db"
    else:
        place = Path(path)
    try:
        journal = Journal.create(place, header, hide=_hide(target))
    except OSError as error:
        raise ConfigError(f"the journal {place} can't be made: {error.strerror or error}") from None
    except JournalFailed as error:
        raise ConfigError(str(error)) from None
    with journal:
        yield Keeping(run, journal, Birth(1, run))


@contextmanager
def resume(
    now: Ns,
    target: Target,
    settings: Settings,
    strategies: Sequence[tuple[str, Strategy]],
    path: str,
    *,
    accepts: bool,
    dialect: Dialect | None = None,
) -> Iterator[Keeping]:
    """Go on with the run of a journal; nothing in it is changed before all is found to be well.

    Raises ConfigError when another process writes it, when it can't be read, when the strategies are not those of the
    run, or when something is not as it was and that is not accepted.
    """
    try:
        journal = Journal.resume(path, hide=_hide(target))
    except JournalFailed as error:
        raise ConfigError(str(error)) from None
    with journal:
        try:
            with read(path) as reader:
                estate, heads = Estate.of(reader), reader.headers
        except JournalFailed as error:
            raise ConfigError(str(error)) from None
        old = heads[-1]
        header = header_of(old.run, now, target, settings, strategies, dialect)
        if facts_of(old).mode in ("demo", "paper"):
            raise ConfigError(
                f"{path}: a run on paper or in a demo can't be taken up again: its orders and positions lived in its "
                "process, and are gone with it"
            )
        if old.accounts != header.accounts:
            raise ConfigError(f"{path}: the accounts of this run are {', '.join(old.accounts)}; --account names others")
        estate.check_owners(item.name for item in header.strategies)
        changes = old.changes(header)
        if changes and not accepts:
            raise ConfigError(
                f"{path}: not as it was: {'; '.join(changes)}. If that is what you want, add --accept-changes"
            )
        journal.add_header(header)
        try:
            journal.commit()  # a life that is not in the journal would share its order ids with the next
        except JournalFailed as error:
            raise ConfigError(str(error)) from None
        run = f"{old.run}.{estate.lives + 1}"
        yield Keeping(run, journal, Birth(len(heads) + 1, run, rows=dict(estate.rows)), estate, changes)


def _hide(target: Target) -> Callable[[str], str]:
    return str if target.token is None else target.token.hide


def accounts_of(path: str) -> tuple[str, ...]:
    """The accounts of the run of a journal. Raises ConfigError when it can't be read."""
    try:
        with read(path) as reader:
            return reader.header.accounts
    except JournalFailed as error:
        raise ConfigError(str(error)) from None


# --- for people ------------------------------------------------------------------------------------------------------


def estate_rows(estate: Estate) -> list[Row]:
    """What a run that is taken up owns again, as labelled rows."""
    held = estate.positions()
    doubtful = estate.in_doubt()
    entries = [order for order in doubtful if not order.is_exit]
    exits = [order for order in doubtful if order.is_exit]
    rows: list[Row] = [
        ("so far", f"{estate.lives} lives, {len(estate.orders):,} orders, {len(estate.fills):,} fills"),
        ("positions", "none" if not held else ""),
    ]
    rows += [("", f"{count:+d} {name}, {owner} in {account}") for (owner, account, name), count in held.items()]
    for label, orders in (("orders to ask for", entries), ("exits to ask for", exits)):
        rows.append((label, str(len(orders)) if orders else "none"))
        rows += [
            ("", f"{order.id}: {order.side.name.lower()} {order.quantity} {order.instrument}, {order.owner}")
            for order in orders[:_FEW]
        ]
    for (account, name), count in estate.offsets.items():
        rows.append(("not of this run", f"{count:+d} {name} in {account}"))
    return rows
