"""Settings: every layer, their order, and an error that names the place for everything that is not a setting."""

from pathlib import Path
from typing import Any

import pytest
from app.support import write

from xtalgo.app.config import IDEAL, SETTINGS, load_settings, read_duration
from xtalgo.model.errors import ConfigError
from xtalgo.sim.replay import ReplaySettings


def test_without_any_layer_the_defaults_are_those_of_the_classes() -> None:
    settings = load_settings()
    assert settings.replay == ReplaySettings()
    assert settings.sources == {}
    assert settings.file is None


@pytest.mark.parametrize(
    ("value", "span"),
    [
        ("250ms", 250_000_000),
        ("0.25s", 250_000_000),
        (" 250 ms ", 250_000_000),
        ("250", 250_000_000),
        (250, 250_000_000),
        (0.1, 100_000),
        ("0.000001ms", 1),
        ("0", 0),
        (".5s", 500_000_000),
    ],
)
def test_durations(value: object, span: int) -> None:
    assert read_duration(value) == span


@pytest.mark.parametrize(
    "value",
    ["", "-1ms", -1, "5m", "1e3", "ms", "nan", float("nan"), float("inf"), True, None, "2 5ms", "90000s", 10**12],
)
def test_what_is_no_duration(value: object) -> None:
    with pytest.raises(ValueError):
        read_duration(value)


FILE = """\
accounts = ["Sim101", "Sim102"]

[replay]
entry_latency = "0.1s"
report_latency = 500
slippage = 2
commission = 1
touch = true
stop_trigger = "last"
oco = "reduce"

[risk]
max_order_quantity = 1
max_position = 2
max_open_orders = 3
max_orders_per_minute = 4
price_collar = 5
daily_loss = 600
account_daily_loss = 1000
trailing_drawdown = 1500.5
drawdown_basis = "EOD"
max_contracts = 8
max_positions = 9
trading_hours = "09:30-15:55 America/New_York"
flatten_by = "15:58 America/New_York"
naked_after = 5
max_quote_age = 2.5

[live]
url = "wss://example.org/ws"
token_file = "token.txt"
on_stop = "Flatten"
start_behavior = "adopt"
external = "keep"
dialect = "dialect.toml"
seed = 3

[instruments.FOO]
tick_size = 0.1
point_value = 10

[instruments.EURUSD]
tick_size = 1e-5
point_value = 100000
"""


def test_the_file_reaches_every_setting(folder: Path) -> None:
    path = write(folder, "xtalgo.toml", FILE)
    settings = load_settings()
    replay = settings.replay
    assert (replay.latency.entry, replay.latency.report) == (100_000_000, 500_000_000)
    fills = replay.fills
    assert (fills.slippage, fills.touch, fills.stop_trigger, fills.oco) == (2, True, "last", "reduce")
    assert replay.fees.commission == 1
    limits = replay.limits
    assert (limits.max_order_quantity, limits.max_position, limits.max_open_orders) == (1, 2, 3)
    assert (limits.max_orders_per_minute, limits.price_collar, limits.daily_loss) == (4, 5, 600)
    assert (limits.account_daily_loss, limits.trailing_drawdown, limits.drawdown_basis) == (1000, 1500.5, "eod")
    assert (limits.max_contracts, limits.max_positions) == (8, 9)
    assert str(limits.trading_hours) == "09:30-15:55 America/New_York"
    assert str(limits.flatten_by) == "15:58 America/New_York"
    assert (limits.naked_after, limits.max_quote_age) == (5, 2.5)
    assert replay.accounts == ("Sim101", "Sim102")
    live = settings.live
    assert (live.url, live.token_file, live.on_stop) == ("wss://example.org/ws", Path("token.txt"), "flatten")
    assert live.seed == 3
    assert live.dialect == Path("dialect.toml")
    assert settings.contracts.contract("FOO 06-26").tick_size == 0.1
    assert settings.contracts.contract("EURUSD").to_price(1) == 1e-5
    assert settings.file == Path(path.name)
    assert set(settings.sources) == {*SETTINGS, "accounts"}
    assert set(settings.sources.values()) == {"xtalgo.toml"}


def test_precedence(folder: Path) -> None:
    write(folder, "xtalgo.toml", "[replay]\nslippage = 1\ncommission = 1\nentry_latency = 1\nreport_latency = 1\n")
    environment = {"XTALGO_COMMISSION": "2", "XTALGO_ENTRY_LATENCY": "2", "XTALGO_REPORT_LATENCY": "2s", "PATH": "x"}
    settings = load_settings({"entry_latency": "3", "oco": None}, environment=environment)
    assert settings.replay.fills.slippage == 1
    assert settings.replay.fees.commission == 2
    assert settings.replay.latency.entry == 3_000_000
    assert settings.replay.latency.report == 2_000_000_000
    assert settings.sources == {
        "slippage": "xtalgo.toml",
        "commission": "XTALGO_COMMISSION",
        "entry_latency": "--entry-latency",
        "report_latency": "XTALGO_REPORT_LATENCY",
    }


def test_ideal_beats_file_and_environment_and_yields_to_flags(folder: Path) -> None:
    write(folder, "xtalgo.toml", "[replay]\nslippage = 3\n")
    settings = load_settings({"commission": "1.5"}, ideal=True, environment={"XTALGO_ENTRY_LATENCY": "9"})
    assert settings.replay.fills.slippage == 0
    assert (settings.replay.latency.entry, settings.replay.latency.report) == (0, 0)
    assert settings.replay.fees.commission == 1.5
    assert settings.sources == dict.fromkeys(IDEAL, "--ideal") | {"commission": "--commission"}


def test_ideal_is_what_replay_settings_call_ideal() -> None:
    assert load_settings(ideal=True).replay == ReplaySettings.ideal()


def test_accounts_and_the_file_can_come_from_the_environment(folder: Path) -> None:
    write(folder, "other.toml", "[risk]\nmax_position = 7\n")
    settings = load_settings(
        environment={"XTALGO_ACCOUNTS": "A, B", "XTALGO_CONFIG": "other.toml", "XTALGO_DEBUG": "1"}
    )
    assert settings.replay.accounts == ("A", "B")
    assert settings.replay.limits.max_position == 7
    assert load_settings(accounts=["C"], environment={"XTALGO_ACCOUNTS": "A, B"}).replay.accounts == ("C",)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("daily_loss = 500", "xtalgo.toml: unknown key 'daily_loss'; it belongs in [risk]"),
        ("[riks]\n", "unknown key 'riks' (did you mean 'risk'?); known are accounts, instruments, live, replay, risk"),
        ("[risk]\ndaily_los = 500", "[risk] has no setting 'daily_los' (did you mean 'daily_loss'?)"),
        ("[risk]\nslippage = 1", "[risk] has no setting 'slippage'; it belongs in [replay]"),
        ("[replay]\nslippage = '1'", "[replay] slippage: expected a whole number of ticks from 0, not '1'"),
        ("[replay]\nslippage = true", "[replay] slippage: expected a whole number of ticks from 0, not True"),
        ("[replay]\nslippage = 1.0", "[replay] slippage: expected a whole number of ticks from 0, not 1.0"),
        ("[replay]\ncommission = nan", "[replay] commission: expected dollars from 0, not nan"),
        ("[replay]\ntouch = 1", "[replay] touch: expected true or false, not 1"),
        ("[replay]\noco = 'both'", "[replay] oco: expected one of cancel, reduce, not 'both'"),
        ("[replay]\nentry_latency = '5m'", "[replay] entry_latency: expected a time from 0"),
        ("[risk]\nmax_position = 0", "[risk] max_position: expected a whole number from 1, not 0"),
        ("[risk]\ndaily_loss = inf", "[risk] daily_loss: expected dollars above 0, not inf"),
        (
            '[risk]\ntrading_hours = "9-17"',
            "[risk] trading_hours: expected hours and their time zone such as 09:30-15:55 America/New_York, not '9-17'",
        ),
        (
            '[risk]\nflatten_by = "17:30 America/New_York"',
            "[risk] flatten_by: expected a time in every session and its time zone such as 15:58 America/New_York, not",
        ),
        ("[risk]\nnaked_after = 0", "[risk] naked_after: expected seconds above 0, not 0"),
        ("[risk]\ndaily_loss = 0", "[risk] daily_loss: expected dollars above 0, not 0"),
        ("risk = 5", "risk must be a table, written as [risk], not 5"),
        ("accounts = 'Sim101'", "accounts: expected one or more different account names, not 'Sim101'"),
        ("accounts = ['a', 'A']", "accounts: expected one or more different account names"),
        ("accounts = []", "accounts: expected one or more different account names"),
        ("[instruments]\nFOO = 1", "[instruments.FOO] must be a table with tick_size and point_value"),
        ("[instruments.FOO]\ntick_size = 1", "[instruments.FOO]: point_value is missing"),
        ("[instruments.FOO]\ntick_size = 0\npoint_value = 1", "[instruments.FOO] tick_size: expected a number above 0"),
        ("[instruments.FOO]\ntick = 1", "[instruments.FOO] has no setting 'tick' (did you mean 'tick_size'?)"),
        ("[replay\n", "xtalgo.toml: not valid TOML: "),
        ("[live]\non_stop = 'flat'", "[live] on_stop: expected one of protect, cancel, flatten, not 'flat'"),
        ("[live]\nurl = ''", "[live] url: expected an address such as wss://host/path, not ''"),
        ("[live]\nseed = -1", "[live] seed: expected a whole number from 0, not -1"),
        ("[live]\ntoken = 'x'", "[live] has no setting 'token'"),
        ("on_stop = 'cancel'", "unknown key 'on_stop'; it belongs in [live]"),
    ],
)
def test_a_bad_file_is_told_by_file_and_key(folder: Path, text: str, expected: str) -> None:
    write(folder, "xtalgo.toml", text)
    with pytest.raises(ConfigError) as caught:
        load_settings()
    assert expected in str(caught.value)
    assert str(caught.value).startswith("xtalgo.toml: ")
    assert "\n" not in str(caught.value)


def test_files_that_cannot_be_read(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml: cannot be read"):
        load_settings(config="no.toml")
    (folder / "latin.toml").write_bytes("# ä".encode("latin-1"))
    with pytest.raises(ConfigError, match=r"latin\.toml: not UTF-8"):
        load_settings(config="latin.toml")
    (folder / "bom.toml").write_bytes(b"\xef\xbb\xbf[risk]\nmax_position = 3\n")
    assert load_settings(config="bom.toml").replay.limits.max_position == 3


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"XTALGO_DAILY_LOS": "5"}, "XTALGO_DAILY_LOS: no setting of xtalgo (did you mean 'XTALGO_DAILY_LOSS'?)"),
        ({"XTALGO_DAILY_LOSS": ""}, "XTALGO_DAILY_LOSS: expected dollars above 0, not ''"),
        ({"XTALGO_TOUCH": "maybe"}, "XTALGO_TOUCH: expected true or false, not 'maybe'"),
        ({"XTALGO_ACCOUNTS": "A,,B"}, "XTALGO_ACCOUNTS: expected one or more different account names"),
    ],
)
def test_a_bad_variable_is_told_by_its_name(environment: dict[str, str], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(environment=environment)
    assert expected in str(caught.value)


@pytest.mark.parametrize(("text", "touch"), [("1", True), ("Yes", True), ("off", False), ("false", False)])
def test_words_for_true_and_false(text: str, touch: bool) -> None:
    assert load_settings(environment={"XTALGO_TOUCH": text}).replay.fills.touch is touch


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"slippage": "x"}, "--slippage: expected a whole number of ticks from 0, not 'x'"),
        ({"slippage": "1.5"}, "--slippage: expected a whole number of ticks from 0, not 1.5"),
        ({"commission": "-1"}, "--commission: expected dollars from 0, not -1"),
        ({"daily_loss": "inf"}, "--daily-loss: expected dollars above 0, not inf"),
        ({"stop_trigger": "bid"}, "--stop-trigger: expected one of either, last, quote, not 'bid'"),
    ],
)
def test_a_bad_flag_is_told_by_its_name(flags: dict[str, Any], expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(flags)
    assert str(caught.value) == expected
