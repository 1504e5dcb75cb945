"""Settings of a run: from flags, the environment and ``xtalgo.toml``, in this order of precedence.

Every setting has one name everywhere: ``--daily-loss``, ``XTALGO_DAILY_LOSS`` and ``daily_loss`` in the ``[risk]``
table of the file. A name that is not known is an error wherever it stands, since a mistyped limit must not be a
missing limit. Defaults are those of the classes that the settings end up in (``FillModel``, ``Latency``, ``Fees``,
``RiskLimits``, ``LiveSettings``), so there is no second list of them here.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, get_args

from attrs import define, field, frozen

from xtalgo.app.values import (
    Reader,
    account_names,
    dollars,
    file_path,
    one_of,
    positive_dollars,
    read_duration,
    switch,
    whole,
    words,
)
from xtalgo.engine.hours import FlattenBy, TradingHours
from xtalgo.engine.risk import DrawdownBasis, RiskLimits
from xtalgo.model.errors import ConfigError
from xtalgo.model.instruments import ContractBook
from xtalgo.sim.fills import Fees, FillModel, Latency, OcoRule, StopTrigger
from xtalgo.sim.replay import ReplaySettings

__all__ = [
    "CONFIG_FILE",
    "IDEAL",
    "SETTINGS",
    "LiveSettings",
    "Setting",
    "Settings",
    "load_settings",
    "nearest",
    "read_duration",
]

CONFIG_FILE: Final = "xtalgo.toml"
"""Read from the current folder when it is there and no other file is named."""

_PREFIX: Final = "XTALGO_"
_FURTHER_VARIABLES: Final = ("ACCOUNTS", "CONFIG", "DEBUG")
_TABLES: Final = ("accounts", "instruments", "live", "replay", "risk")
_SETTING_TABLES: Final = ("live", "replay", "risk")
_FACTS: Final = ("tick_size", "point_value")


@frozen
class Setting:
    """One setting: its name, its table in the file, what it expects in words, and how it is read."""

    name: str
    table: str
    expects: str
    read: Reader
    is_text: bool = False
    """Whether TOML gives it as a string, so that text from a flag needs no translation."""

    @property
    def flag(self) -> str:
        """As it is written on the command line."""
        return "--" + self.name.replace("_", "-")

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return _PREFIX + self.name.upper()


@frozen(kw_only=True)
class LiveSettings:
    """What a run needs to know that is not a replay."""

    url: str | None = None
    """WebSocket address of the server; None for CrossTrade, or the demo where there is no token."""
    token_file: Path | None = None
    """A file that holds the token and nothing else; None for the variable ``XTRADE_TOKEN``."""
    on_stop: str = "protect"
    """What the end of a run does with what is open: ``protect``, ``cancel`` or ``flatten``."""
    start_behavior: str = "wait-flat"
    """What is done about positions at the start that are not the run's: ``wait-flat``, ``adopt`` or ``flatten``."""
    external: str = "deny"
    """Whether to trade beside positions that are not the run's: ``deny`` or ``keep``."""
    dialect: Path | None = None
    """What ``xtalgo probe`` found out about the venue; None for the file in the user's data folder, if it is there."""
    seed: int = 7
    """Seed of the demo's market."""


@frozen
class Settings:
    """What a run is set to, and where each setting that is not a default came from."""

    replay: ReplaySettings
    live: LiveSettings
    contracts: ContractBook
    sources: Mapping[str, str]
    """By name of the setting: the flag, the environment variable or the file."""
    file: Path | None
    """The settings file that was read."""


_TIME = "a time from 0 such as 250ms, 0.25s or a number of milliseconds"
_COUNT = "a whole number from 1"
_NAMES = "one or more different account names"
_STOP_TRIGGERS: Final[tuple[str, ...]] = get_args(StopTrigger)
_STOP_MODES: Final = ("protect", "cancel", "flatten")
_STARTS: Final = ("wait-flat", "adopt", "flatten")
_EXTERNALS: Final = ("deny", "keep")
_OCO_RULES: Final[tuple[str, ...]] = get_args(OcoRule)
_BASES: Final[tuple[str, ...]] = get_args(DrawdownBasis)
_HOURS = "hours and their time zone such as 09:30-15:55 America/New_York"
_FLATTEN_BY = "a time in every session and its time zone such as 15:58 America/New_York"


def _parsed(parse: Callable[[str], Any]) -> Reader:
    """A reader of text that has a form of its own."""

    def read(value: object) -> Any:
        try:
            return parse(words(value))
        except ConfigError:
            raise ValueError from None

    return read


SETTINGS: Final[Mapping[str, Setting]] = {
    setting.name: setting
    for setting in (
        Setting("entry_latency", "replay", _TIME, read_duration, is_text=True),
        Setting("report_latency", "replay", _TIME, read_duration, is_text=True),
        Setting("slippage", "replay", "a whole number of ticks from 0", whole(0)),
        Setting("commission", "replay", "dollars from 0", dollars),
        Setting("touch", "replay", "true or false", switch),
        Setting("stop_trigger", "replay", f"one of {', '.join(_STOP_TRIGGERS)}", one_of(*_STOP_TRIGGERS), is_text=True),
        Setting("oco", "replay", f"one of {', '.join(_OCO_RULES)}", one_of(*_OCO_RULES), is_text=True),
        Setting("max_order_quantity", "risk", _COUNT, whole(1)),
        Setting("max_position", "risk", _COUNT, whole(1)),
        Setting("max_open_orders", "risk", _COUNT, whole(1)),
        Setting("max_orders_per_minute", "risk", _COUNT, whole(1)),
        Setting("price_collar", "risk", "a whole number of ticks from 1", whole(1)),
        Setting("daily_loss", "risk", "dollars above 0", positive_dollars),
        Setting("account_daily_loss", "risk", "dollars above 0", positive_dollars),
        Setting("trailing_drawdown", "risk", "dollars above 0", positive_dollars),
        Setting("drawdown_basis", "risk", f"one of {', '.join(_BASES)}", one_of(*_BASES), is_text=True),
        Setting("max_contracts", "risk", _COUNT, whole(1)),
        Setting("max_positions", "risk", _COUNT, whole(1)),
        Setting("trading_hours", "risk", _HOURS, _parsed(TradingHours.parse), is_text=True),
        Setting("flatten_by", "risk", _FLATTEN_BY, _parsed(FlattenBy.parse), is_text=True),
        Setting("naked_after", "risk", "seconds above 0", positive_dollars),
        Setting("max_quote_age", "risk", "seconds above 0", positive_dollars),
        Setting("url", "live", "an address such as wss://host/path", words, is_text=True),
        Setting("token_file", "live", "the path of a file", file_path, is_text=True),
        Setting("on_stop", "live", f"one of {', '.join(_STOP_MODES)}", one_of(*_STOP_MODES), is_text=True),
        Setting("start_behavior", "live", f"one of {', '.join(_STARTS)}", one_of(*_STARTS), is_text=True),
        Setting("external", "live", f"one of {', '.join(_EXTERNALS)}", one_of(*_EXTERNALS), is_text=True),
        Setting("dialect", "live", "the path of a file", file_path, is_text=True),
        Setting("seed", "live", "a whole number from 0", whole(0)),
    )
}
"""Every setting by name, ``accounts`` and ``instruments`` excepted."""

IDEAL: Final[Mapping[str, object]] = {"entry_latency": 0, "report_latency": 0, "slippage": 0, "commission": 0}
"""What ``--ideal`` stands for; a flag given beside it wins."""


_WORDS: Final = dict.fromkeys(("true", "yes", "on", "1"), True) | dict.fromkeys(("false", "no", "off", "0"), False)


def _from_text(setting: Setting, text: str) -> object:
    """Text of a flag or variable as the value that TOML would have given."""
    if setting.is_text:
        return text
    word = text.strip().lower()
    if setting.read is switch:
        return _WORDS[word]
    try:
        return int(word)
    except ValueError:
        return float(word)


# --- layers ------------------------------------------------------------------------------------------------------


@define
class _Chosen:
    """Values from the layers seen so far; a later layer replaces what an earlier one said."""

    values: dict[str, Any] = field(factory=dict)
    sources: dict[str, str] = field(factory=dict)

    def take(self, setting: Setting, value: object, source: str, where: str) -> None:
        """Read a value and keep it; ``where`` is what an error points at."""
        self._keep(setting.name, setting.read, setting.expects, value, source, where)

    def take_text(self, setting: Setting, text: str, source: str) -> None:
        """``take`` for text of a flag or variable."""
        try:
            value = _from_text(setting, text)
        except (ValueError, KeyError):
            value = text  # no setting that is not text takes it
        self.take(setting, value, source, source)

    def take_accounts(self, value: object, source: str, where: str) -> None:
        """Account names."""
        self._keep("accounts", account_names, _NAMES, value, source, where)

    def _keep(self, name: str, read: Reader, expects: str, value: object, source: str, where: str) -> None:
        try:
            self.values[name] = read(value)
        except ValueError:
            raise ConfigError(f"{where}: expected {expects}, not {value!r}") from None
        self.sources[name] = source


def load_settings(
    flags: Mapping[str, str | bool | None] | None = None,
    *,
    ideal: bool = False,
    accounts: Sequence[str] = (),
    config: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Settings:
    """Settings from all layers. ``flags`` are by name, None where not given.

    ``config`` names the settings file; without it ``XTALGO_CONFIG`` does, and without that ``xtalgo.toml`` is read
    where it lies in the current folder. Raises ConfigError naming the flag, variable or file and key.
    """
    environment = {} if environment is None else environment
    chosen = _Chosen()
    contracts = ContractBook()
    file = _settings_file(config, environment)
    if file is not None:
        contracts = _take_file(chosen, file)
    _take_environment(chosen, environment)
    if ideal:
        for name, value in IDEAL.items():
            chosen.take(SETTINGS[name], value, "--ideal", "--ideal")
    for name, given in (flags or {}).items():
        setting = SETTINGS[name]
        if isinstance(given, bool):
            chosen.take(setting, given, setting.flag, setting.flag)
        elif given is not None:
            chosen.take_text(setting, given, setting.flag)
    if accounts:
        chosen.take_accounts(list(accounts), "--account", "--account")
    live = {name: value for name, value in chosen.values.items() if name in SETTINGS and SETTINGS[name].table == "live"}
    return Settings(_replay_settings(chosen.values), LiveSettings(**live), contracts, chosen.sources, file)


def _replay_settings(values: Mapping[str, Any]) -> ReplaySettings:
    def some(**names: str) -> dict[str, Any]:
        return {argument: values[name] for argument, name in names.items() if name in values}

    return ReplaySettings(
        fills=FillModel(**some(slippage="slippage", touch="touch", stop_trigger="stop_trigger", oco="oco")),
        latency=Latency(**some(entry="entry_latency", report="report_latency")),
        fees=Fees(**some(commission="commission")),
        limits=RiskLimits(**some(**{name: name for name, setting in SETTINGS.items() if setting.table == "risk"})),
        **some(accounts="accounts"),
    )


def _take_environment(chosen: _Chosen, environment: Mapping[str, str]) -> None:
    known = {setting.variable: setting for setting in SETTINGS.values()}
    further = [_PREFIX + name for name in _FURTHER_VARIABLES]
    for variable in sorted(environment):
        if not variable.upper().startswith(_PREFIX) or variable.upper() in further:
            continue
        if variable.upper() not in known:
            raise ConfigError(
                f"{variable}: no setting of xtalgo{nearest(variable.upper(), [*known, *further])}; variables that "
                f"begin with {_PREFIX} must be settings, or a mistyped limit would be no limit"
            )
        chosen.take_text(known[variable.upper()], environment[variable], variable)
    if (names := environment.get(_PREFIX + "ACCOUNTS")) is not None:
        chosen.take_accounts(names.split(","), _PREFIX + "ACCOUNTS", _PREFIX + "ACCOUNTS")


# --- the file ----------------------------------------------------------------------------------------------------


def _settings_file(config: str | None, environment: Mapping[str, str]) -> Path | None:
    named = config if config is not None else environment.get(_PREFIX + "CONFIG")
    if named is not None:
        return Path(named)
    default = Path(CONFIG_FILE)
    return default if default.exists() else None


def _take_file(chosen: _Chosen, path: Path) -> ContractBook:
    """Take in a settings file; returns the contracts it describes."""
    data = _read_toml(path)
    for name in data:
        if name not in _TABLES:
            raise ConfigError(f"{path}: unknown key {name!r}{_belongs(name, _TABLES)}")
    for table in _SETTING_TABLES:
        for name, value in _table(path, data, table).items():
            setting = SETTINGS.get(name)
            if setting is None or setting.table != table:
                names = [other.name for other in SETTINGS.values() if other.table == table]
                raise ConfigError(f"{path}: [{table}] has no setting {name!r}{_belongs(name, names)}")
            chosen.take(setting, value, str(path), f"{path}: [{table}] {name}")
    if "accounts" in data:
        chosen.take_accounts(data["accounts"], str(path), f"{path}: accounts")
    instruments = _table(path, data, "instruments")
    return ContractBook(extra={name: _facts(path, name, facts) for name, facts in instruments.items()})


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_bytes().decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text") from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path}: not valid TOML: {error}") from None


def _table(path: Path, data: Mapping[str, Any], name: str) -> dict[str, Any]:
    table = data.get(name, {})
    if not isinstance(table, dict):
        raise ConfigError(f"{path}: {name} must be a table, written as [{name}], not {table!r}")
    return table


def _facts(path: Path, name: str, facts: object) -> tuple[float, float]:
    """Tick size and point value of one instrument."""
    where = f"{path}: [instruments.{name}]"
    if not isinstance(facts, dict):
        raise ConfigError(f"{where} must be a table with tick_size and point_value, not {facts!r}")
    for key in facts:
        if key not in _FACTS:
            raise ConfigError(f"{where} has no setting {key!r}{_belongs(key, _FACTS)}")
    found = []
    for key in _FACTS:
        if key not in facts:
            raise ConfigError(f"{where}: {key} is missing; both tick_size and point_value are needed")
        try:
            found.append(positive_dollars(facts[key]))
        except ValueError:
            raise ConfigError(f"{where} {key}: expected a number above 0, not {facts[key]!r}") from None
    return found[0], found[1]


def _belongs(name: str, names: Iterable[str]) -> str:
    """Where a setting that stands in the wrong place belongs, or what it may have been meant to be."""
    setting = SETTINGS.get(name)
    if setting is not None:
        return f"; it belongs in [{setting.table}]"
    listing = list(names)
    return f"{nearest(name, listing)}; known are {', '.join(sorted(listing))}"


def nearest(name: str, names: Iterable[str]) -> str:
    """`` (did you mean 'x'?)`` for the nearest of some names, or nothing when none is near."""
    found = difflib.get_close_matches(name, list(names), n=1)
    return f" (did you mean {found[0]!r}?)" if found else ""
