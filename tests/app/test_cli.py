"""The command line as a user meets it: results, exit codes, and one line for everything that is wrong."""

import csv
import gzip
import json
import subprocess
import sys
from pathlib import Path

import pytest
from app.support import BUYER, FADE, MOMO, RAISER, ROOT, Xtalgo, quotes_text, write

import xtalgo as package
from xtalgo import Strategy, replay
from xtalgo.app import cli
from xtalgo.app.config import load_settings
from xtalgo.app.loader import load_strategies
from xtalgo.app.report import FILL_COLUMNS, JSON_KEYS
from xtalgo.data.quotes import load_recording
from xtalgo.model.sessions import iso

REAL = ROOT.parent / "shared" / "data" / "es_l1_20231225a.csv.gz"


# --- what it is for ----------------------------------------------------------------------------------------------


def test_a_run_shows_settings_recording_and_results(xtalgo: Xtalgo, es: Path, buyer: Path) -> None:
    outcome = xtalgo("run", buyer, "--replay", es, "-p", "quantity=2", "--slippage", "3", "--daily-loss", "500")
    assert outcome.code == 0
    assert outcome.err == ""
    for line in (
        "  strategy        Buyer(instrument=ES -> ES 06-26, quantity=2) in buyer.py",
        "  entry latency   250 ms until an order is at the exchange",
        "  report latency  1,000 ms until a fill is seen",
        "  slippage        3 ticks worse, market and stop orders  [--slippage]",
        "  commission      ES $2.90 a contract and side, assumed by root; --commission sets yours",
        "  limit orders    fill when traded through",
        "  stop orders     triggered by a new trade or the far side of the quote",
        "  OCO orders      a partial fill cancels the others",
        "  daily loss      $500.00 a strategy and account  [--daily-loss]",
        "  account         Sim101",
        f"  file          {es}",
        "  quotes        240 of ES 06-26",
        "  span          2026-05-12 14:00:00 to 2026-05-12 14:03:59 UTC",
        "                2026-05-12 10:00:00 to 2026-05-12 10:03:59 New York, 1 trading day",
        "  pinned        ES -> ES 06-26",
        "  skipped rows  none",
        "  orders               2  2 filled",
        "  fees            $11.60",
    ):
        assert line in outcome.out.splitlines()
    assert "SYNTHETIC" not in outcome.out
    assert "\x1b" not in outcome.out
    assert all(line == line.rstrip() for line in outcome.out.splitlines())


def test_json_is_one_object_with_the_agreed_keys(xtalgo: Xtalgo, es: Path) -> None:
    outcome = xtalgo("run", MOMO, "--replay", es, "-p", "instrument=ES", "-p", "fast=2", "-p", "slow=9", "--json")
    assert outcome.code == 0
    assert outcome.out.count("\n") == 1
    result = json.loads(outcome.out, parse_constant=lambda word: pytest.fail(word))
    assert tuple(result) == JSON_KEYS
    assert len(JSON_KEYS) == 19
    for key in ("quotes", "orders", "fills", "round_trips", "rpcs"):
        assert type(result[key]) is int
    assert result["quotes"] == 240
    assert result["fills"] > 5
    assert result["skipped"] == {}
    assert result["denials"] == {}
    for key in ("realized_pnl", "open_pnl", "fees", "max_drawdown", "time_in_market", "seconds", "quotes_per_second"):
        assert type(result[key]) is float
    for key in ("realized_pnl", "open_pnl", "fees", "max_drawdown"):
        assert result[key] == round(result[key], 2)
    assert len(result["digest"]) == 64
    assert "Settings" in outcome.err
    assert "240 of ES 06-26" in outcome.err


def test_what_a_strategy_prints_stays_out_of_the_json(xtalgo: Xtalgo, es: Path, folder: Path) -> None:
    write(folder, "loud.py", "print('hello')\n" + BUYER.replace("self.seen += 1", "self.seen += 1; print('quote')"))
    outcome = xtalgo("run", "loud.py", "--replay", es, "--json")
    assert json.loads(outcome.out)["fills"] == 2
    assert outcome.err.count("hello") == 1
    assert outcome.err.count("quote\n") == 240
    assert "quote\n" in xtalgo("run", "loud.py", "--replay", es).out


def test_two_runs_have_the_same_digest_and_other_settings_another(xtalgo: Xtalgo, es: Path) -> None:
    command = ["run", MOMO, "--replay", es, "-p", "instrument=ES", "-p", "slow=40", "--json"]
    first, second = (json.loads(xtalgo(*command).out) for _ in range(2))
    assert first["digest"] == second["digest"]
    assert json.loads(xtalgo(*command, "--slippage", "2").out)["digest"] != first["digest"]


def test_fills_are_those_of_the_result(xtalgo: Xtalgo, es: Path, folder: Path) -> None:
    write(folder, "fills.csv", "an older file")
    outcome = xtalgo("run", MOMO, "--replay", es, "-p", "instrument=ES", "-p", "slow=40", "--fills", "fills.csv")
    assert "Fills written to fills.csv" in outcome.out
    text = (folder / "fills.csv").read_bytes()
    assert b"\r" not in text
    header, *rows = csv.reader(text.decode().splitlines())
    assert tuple(header) == FILL_COLUMNS == ("ts", "order_id", "instrument", "side", "quantity", "price", "fee")

    settings = load_settings()
    strategies = [strategy for _, strategy in load_strategies([MOMO], (), ["instrument=ES", "slow=40"])]
    fills = replay(strategies, load_recording([es], settings.contracts).table, settings.replay).fills
    assert len(fills) > 2
    assert [row[0] for row in rows] == [iso(fill.executed) for fill in fills]
    assert [row[1:3] for row in rows] == [[fill.order_id, "ES 06-26"] for fill in fills]
    assert [row[3] for row in rows] == [fill.side.name for fill in fills]
    assert [(int(row[4]), float(row[5]), float(row[6])) for row in rows] == [
        (fill.quantity, fill.price, fill.fee) for fill in fills
    ]
    assert sorted(path.name for path in folder.iterdir()) == ["es.csv", "fills.csv"]


def test_ideal_means_the_four_are_zero_and_an_explicit_one_wins(xtalgo: Xtalgo, es: Path, buyer: Path) -> None:
    outcome = xtalgo("run", buyer, "--replay", es, "--ideal", "--fills", "fills.csv")
    for line in (
        "  entry latency   0 ms until an order is at the exchange  [--ideal]",
        "  report latency  0 ms until a fill is seen  [--ideal]",
        "  slippage        0 ticks worse, market and stop orders  [--ideal]",
        "  commission      $0.00 a contract and side  [--ideal]",
    ):
        assert line in outcome.out.splitlines()
    # The fifth quote asks 5001.25; the order is filled by the sixth, without latency, slippage and fee.
    first = Path("fills.csv").read_text().splitlines()[1]
    assert first.startswith("2026-05-12T14:00:05.000000000Z,")
    assert first.endswith(",ES 06-26,BUY,1,5001.5,0.0")
    outcome = xtalgo("run", buyer, "--replay", es, "--ideal", "--commission", "1.25", "--entry-latency", "1500ms")
    assert "  commission      $1.25 a contract and side  [--commission]" in outcome.out
    assert "  entry latency   1,500 ms until an order is at the exchange  [--entry-latency]" in outcome.out
    assert "  slippage        0 ticks worse, market and stop orders  [--ideal]" in outcome.out
    assert "  fees             $2.50" in outcome.out


def test_every_model_flag_reaches_the_settings(xtalgo: Xtalgo, es: Path, buyer: Path) -> None:
    flags = ["--touch", "--stop-trigger", "last", "--oco", "reduce", "--account", "A", "--account", "B"]
    limits = ["--max-order-quantity", "1", "--max-position", "2", "--max-open-orders", "3"]
    more = ["--max-orders-per-minute", "4", "--price-collar", "5", "--daily-loss", "6.5"]
    out = xtalgo("run", buyer, "--replay", es, *flags, *limits, *more).out
    for line in (
        "  limit orders           fill when touched  [--touch]",
        "  stop orders            triggered by a new trade  [--stop-trigger]",
        "  OCO orders             a partial fill shrinks the others  [--oco]",
        "  max order quantity     1  [--max-order-quantity]",
        "  max position           2  [--max-position]",
        "  max open orders        3  [--max-open-orders]",
        "  max orders per minute  4  [--max-orders-per-minute]",
        "  price collar           5 ticks  [--price-collar]",
        "  daily loss             $6.50 a strategy and account  [--daily-loss]",
        "  accounts               A, B  [--account]",
    ):
        assert line in out.splitlines()


def test_settings_from_the_file_are_shown_with_their_source(
    xtalgo: Xtalgo, es: Path, buyer: Path, folder: Path
) -> None:
    write(folder, "xtalgo.toml", "[replay]\nslippage = 2\ntouch = true\n")
    out = xtalgo("run", buyer, "--replay", es, "--no-touch").out
    assert "  slippage        2 ticks worse, market and stop orders  [xtalgo.toml]" in out
    assert "  limit orders    fill when traded through  [--touch]" in out
    assert "  settings file   xtalgo.toml" in out


def test_several_files_run_side_by_side(xtalgo: Xtalgo, folder: Path, buyer: Path) -> None:
    write(folder, "both.csv", quotes_text(240, "ESM6", "MNQM6"))
    outcome = xtalgo("run", buyer, MOMO, FADE, "--replay", "both.csv", "-p", "slow=30", "-p", "Buyer.quantity=2")
    assert outcome.code == 0
    assert "Buyer(instrument=ES -> ES 06-26, quantity=2)" in outcome.out
    assert "Momo(instrument=MNQ -> MNQ 06-26, fast=20, slow=30, quantity=1)" in outcome.out
    assert "  pinned        ES -> ES 06-26, MNQ -> MNQ 06-26" in outcome.out
    assert "ES $2.90, MNQ $0.95 a contract and side" in outcome.out


def test_paths_after_replay_may_be_files_folders_patterns_and_the_strategy(xtalgo: Xtalgo, folder: Path) -> None:
    write(folder, "buyer.py", BUYER)
    write(folder, "one/a.csv", quotes_text(60))
    write(folder, "two/b.csv", quotes_text(60, "MNQM6"))
    (folder / "c.csv.gz").write_bytes(gzip.compress(quotes_text(60, "NQM6").encode()))
    for command in (
        ["--replay", "one", "two/*.csv", "c.csv.gz", "buyer.py", "-p", "quantity=1"],
        ["buyer.py", "--replay", "one", "two/b.csv", "--sort", "--replay", "c.csv.gz"],
        ["--replay", "one", "two", "c.csv.gz", "--", "buyer.py"],
    ):
        outcome = xtalgo("run", *command, "--json")
        assert outcome.code == 0, outcome.err
        assert json.loads(outcome.out)["quotes"] == 180


def test_odd_rows_are_counted_and_shown(xtalgo: Xtalgo, folder: Path, buyer: Path) -> None:
    lines = [*quotes_text(60).splitlines()]
    lines[0] += ",venue"
    lines = [lines[0], *(line + ",X" for line in lines[1:])]
    stamp = "2026-05-12T15:00:0"
    lines += [f"{stamp}0Z,ESM6,nan,1,1,1,X", f"{stamp}1Z,ESM6,0,5000,,1,X", f"{stamp}2Z,ESM6,-1,5000,,1,X"]
    lines += [f"{stamp}3Z,ESM6,5000.25,5000,,1,X", f"{stamp}4Z,ESM6,5000.1,5000.25,,1,X"]
    write(folder, "odd.csv", "\n".join([*lines, ""]))
    outcome = xtalgo("run", buyer, "--replay", "odd.csv")
    assert "  skipped rows  1 non-finite price, 2 zero or negative price" in outcome.out
    assert "  crossed       1 quote with the ask below the bid" in outcome.out
    assert "  off the grid  1 price between ticks, rounded to the nearest" in outcome.out
    assert "  ignored       columns venue" in outcome.out
    counted = json.loads(xtalgo("run", buyer, "--replay", "odd.csv", "--json").out)["skipped"]
    assert counted == {"non-finite price": 1, "zero or negative price": 2}


def test_a_run_without_trades_says_so(xtalgo: Xtalgo, es: Path, buyer: Path, folder: Path) -> None:
    outcome = xtalgo("run", MOMO, "--replay", es, "-p", "instrument=ES", "-p", "slow=500")
    assert "No trades: Momo looks back 500 quotes, more than the recording has of ES 06-26 (240" in outcome.out
    write(
        folder, "idle.py", "from xtalgo import Instrument, Strategy\nclass Idle(Strategy):\n    i: Instrument = 'ES'\n"
    )
    outcome = xtalgo("run", "idle.py", "--replay", es)
    assert "No trades: no order was placed. The strategies heard ES 06-26 (240 quotes)" in outcome.out
    outcome = xtalgo("run", buyer, "--replay", es, "-p", "quantity=5", "--max-order-quantity", "2", "--json")
    assert "No trades: the risk limits denied every order (1 order_size)." in outcome.err
    assert json.loads(outcome.out)["denials"] == {"order_size": 1}
    assert json.loads(outcome.out)["profit_factor"] is None
    write(folder, "far.py", BUYER.replace("self.quantity)", "self.quantity, limit_price=10.0)"))
    outcome = xtalgo("run", "far.py", "--replay", es)
    assert "No trades: 1 order went out and none filled (1 " in outcome.out


def test_notes_are_shown(xtalgo: Xtalgo, es: Path, folder: Path) -> None:
    write(
        folder,
        "noting.py",
        BUYER.replace("self.seen += 1", "self.seen += 1; self.note('bid', [b]=quote.bid)".replace("[b]", "at")),
    )
    out = xtalgo("run", "noting.py", "--replay", es).out
    assert "  2026-05-12 14:00:00 Buyer: bid at=5000.0" in out
    assert "  and 233 more" in out


@pytest.mark.skipif(not REAL.exists(), reason="the real recording is not here")
def test_the_real_half_hour(xtalgo: Xtalgo) -> None:
    command = ["run", MOMO, "--replay", REAL, "-p", "instrument=ES 03-24", "--ideal", "--json"]
    result = json.loads(xtalgo(*command).out)
    assert result["quotes"] == 14_953
    assert result["fills"] > 100
    assert result["round_trips"] > 100
    faster = json.loads(xtalgo(*command, "-p", "fast=5", "-p", "slow=20").out)
    assert faster["fills"] > result["fills"]


# --- exit code 2 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (
            ["run", "buyer.py"],
            "live trading comes in a later version; give recorded quotes to replay: xtalgo run buyer.py",
        ),
        (["run"], "no strategy file given; for example: xtalgo run strategies/momo.py --replay backtest_data"),
        (["run", "--replay", "es.csv"], "no strategy file given"),
        (["buyer.py", "--replay", "es.csv"], "give a command first: xtalgo run buyer.py --replay"),
        (["rnu"], 'Unknown command "rnu". Did you mean "run"?'),
        (
            ["run", "buyer.py", "--replay", "es.csv", "--daily-los", "5"],
            "Did you mean --daily-loss? See xtalgo run --help.",
        ),
        (["run", "buyer.py", "--replay", "es.csv", "--slippage"], "--slippage requires an argument"),
        (["run", "buyer.py", "--replay", "es.csv", "--slippage", "a"], "--slippage: expected a whole number of ticks"),
        (["run", "buyer.py", "--replay", "es.csv", "--slippage", "-1"], "--slippage: expected a whole number of ticks"),
        (["run", "buyer.py", "--replay", "es.csv", "--slippage", "1", "--slippage", "2"], "--slippage"),
        (["run", "buyer.py", "--replay", "es.csv", "--config", "no.toml"], "no.toml: cannot be read"),
        (["run", "none.py", "--replay", "es.csv"], "none.py: no such file"),
        (["run", "buyer.py", "--replay", "no.csv"], "no.csv: no such file or folder"),
        (["run", "buyer.py", "--replay", "no*.csv"], "no*.csv: no quote file matches this pattern"),
        (["run", "buyer.py", "--replay", "empty"], "empty: no quote file in this folder"),
        (["run", "buyer.py", "--replay", "es.csv", "-p", "quantty=1"], "(did you mean 'quantity'?)"),
        (["run", "buyer.py", "--replay", "es.csv", "-p", "quantity=x"], "-p quantity=x: Buyer.quantity takes int"),
        (["run", "buyer.py", "--replay", "es.csv", "-p", "quantity=1", "x=2"], "x=2: not a strategy file"),
        (["run", "buyer.py", "--replay", "es.csv", "--account", "A", "--account", "a"], "--account: expected"),
        (["run", "buyer.py", "--replay", "es.csv", "--fills", "no/f.csv"], "--fills no/f.csv: cannot be written"),
        (["run", "buyer.py", "--replay", "es.csv", "--fills", "empty"], "--fills empty: a folder"),
        (["run", "buyer.py", "--replay", "es.csv", "--fills", "es.csv"], "that file is an input of this run"),
        (["run", "buyer.py", "--replay", "es.csv", "--fills", "buyer.py"], "that file is an input of this run"),
        (["run", "buyer.py", "--replay", "es.csv", "--fills", "xtalgo.toml", "--config", "xtalgo.toml"], "is an input"),
    ],
)
def test_wrong_use_is_one_line(
    xtalgo: Xtalgo, es: Path, buyer: Path, folder: Path, arguments: list[str], expected: str
) -> None:
    (folder / "empty").mkdir()
    write(folder, "xtalgo.toml", "")
    before = {path: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    assert expected in xtalgo(*arguments).error
    assert {path: path.read_bytes() for path in folder.iterdir() if path.is_file()} == before


GOOD = "2026-05-12T14:00:00Z,ESM6,5000,5000.25\n"
HEADER = "timestamp,instrument,bid,ask\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (b"", "bad.csv: the file is empty"),
        (HEADER.encode(), "bad.csv: the file has a header and no rows"),
        (b"date;price\n1;2\n", "bad.csv: row 1: the header has no column"),
        (b"\x1f\x8b\x08\x00broken", "bad.csv: "),
        (b"PAR1\x00\x01", "bad.csv: row 1"),
        ((HEADER + GOOD + "2026-05-12T13:59:59Z,ESM6,1,2\n").encode(), "bad.csv: row 3: time goes back"),
        ((HEADER + GOOD + "2026-05-12T14:00:01Z,ESM6,x,2\n").encode(), "bad.csv: row 3: bid 'x' is not a number"),
        ((HEADER + GOOD + "2026-05-12T14:00:01Z,ESM6,1\n").encode(), "bad.csv: row 3: 3 fields"),
        ((HEADER + GOOD + "2026-05-12T14:00:01Z,QQQQM6,1,2\n").encode(), "bad.csv: row 3: no contract facts for 'QQQQ"),
        ((HEADER + "2026-05-12T14:00:00Z,ESM6,nan,2\n").encode(), "bad.csv: no usable quotes"),
    ],
)
def test_bad_recordings_are_one_line_that_names_file_and_row(
    xtalgo: Xtalgo, buyer: Path, folder: Path, text: bytes, expected: str
) -> None:
    (folder / "bad.csv").write_bytes(text)
    assert expected in xtalgo("run", buyer, "--replay", "bad.csv").error


def test_sort_sorts(xtalgo: Xtalgo, buyer: Path, folder: Path) -> None:
    header, *rows = quotes_text(60).splitlines()
    write(folder, "back.csv", "\n".join([header, *reversed(rows), ""]))
    assert "row 3: time goes back" in xtalgo("run", buyer, "--replay", "back.csv").error
    assert xtalgo("run", buyer, "--replay", "back.csv", "--sort").code == 0


def test_a_strategys_instrument_must_be_in_the_recording(xtalgo: Xtalgo, folder: Path, buyer: Path) -> None:
    write(folder, "two.csv", quotes_text(60, "ESM6", "ESU6", "NQM6"))
    error = xtalgo("run", buyer, "--replay", "two.csv").error
    assert "Buyer.instrument: 'ES' could be any of ES 06-26, ES 09-26; name one." in error
    assert "the recording holds ES 06-26, ES 09-26, NQ 06-26; choose one with -p instrument=NAME" in error
    error = xtalgo("run", MOMO, "--replay", "two.csv").error
    assert "Momo.instrument: the recording has no 'MNQ'; it holds ES 06-26, ES 09-26, NQ 06-26" in error
    assert (
        "'a b c' is not an instrument name"
        in xtalgo("run", buyer, "--replay", "two.csv", "-p", "instrument=a b c").error
    )
    for spelling in ("ESU6", "ES 09-26", "es sep26", "NQ1!"):
        assert xtalgo("run", buyer, "--replay", "two.csv", "-p", f"instrument={spelling}").code == 0


def test_further_instruments_come_from_the_settings_file(xtalgo: Xtalgo, folder: Path, buyer: Path) -> None:
    write(folder, "foo.csv", quotes_text(60, "FOO"))
    command = ["run", buyer, "--replay", "foo.csv", "-p", "instrument=FOO", "--fills", "fills.csv"]
    assert "no contract facts for 'FOO'; add them to xtalgo.toml: [instruments.FOO]" in xtalgo(*command).error
    write(folder, "xtalgo.toml", "[instruments.FOO]\ntick_size = 0.25\npoint_value = 7\n")
    outcome = xtalgo(*command)
    assert outcome.code == 0
    assert "FOO $3.00 a contract and side, assumed by root" in outcome.out


def test_bad_settings_name_their_place(xtalgo: Xtalgo, es: Path, buyer: Path, folder: Path) -> None:
    write(folder, "xtalgo.toml", "[risk]\ndaily_los = 5\n")
    error = xtalgo("run", buyer, "--replay", es).error
    assert "xtalgo.toml: [risk] has no setting 'daily_los' (did you mean 'daily_loss'?)" in error


def test_bad_variables_name_themselves(xtalgo: Xtalgo, es: Path, buyer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XTALGO_MAX_POSITON", "5")
    error = xtalgo("run", buyer, "--replay", es).error
    assert "XTALGO_MAX_POSITON: no setting of xtalgo (did you mean 'XTALGO_MAX_POSITION'?)" in error


# --- other exit codes --------------------------------------------------------------------------------------------


def test_a_strategy_that_raises_is_told_by_its_own_line(xtalgo: Xtalgo, es: Path, folder: Path) -> None:
    write(folder, "raiser.py", RAISER)
    outcome = xtalgo("run", "raiser.py", "--replay", es, "--json", "--fills", "fills.csv")
    assert outcome.code == 3
    assert outcome.out == ""
    *_, error, source = outcome.err.splitlines()
    assert error == "xtalgo: raiser.py:12: Raiser: ZeroDivisionError: division by zero"
    assert source == "    self.ratio = 1 / self.divisor"
    assert "Traceback" not in outcome.err
    assert not (folder / "fills.csv").exists()
    assert sorted(path.name for path in folder.iterdir()) == ["es.csv", "raiser.py"]


def test_a_traceback_is_shown_on_request(
    xtalgo: Xtalgo, es: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(folder, "raiser.py", RAISER)
    monkeypatch.setenv("XTALGO_DEBUG", "1")
    outcome = xtalgo("run", "raiser.py", "--replay", es)
    assert outcome.code == 3
    assert "Traceback" in outcome.err


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("raise ValueError('two\\nlines')", "bad.py:12: Raiser: ValueError: two lines"),
        ("self.buy('ES', 0)", "bad.py:12: Raiser: "),
        ("self.buy('ZZ', 1)", "bad.py:12: Raiser: "),
        ("raise SystemExit(5)", "bad.py:12: Raiser: RuntimeError: it called sys.exit(); use halt() to stop trading"),
        ("self.helper()", "bad.py:12: Raiser: RecursionError"),
    ],
)
def test_whatever_a_strategy_raises_is_code_3(
    xtalgo: Xtalgo, es: Path, folder: Path, statement: str, expected: str
) -> None:
    write(folder, "bad.py", RAISER.replace("self.ratio = 1 / self.divisor", statement))
    outcome = xtalgo("run", "bad.py", "--replay", es)
    assert outcome.code == 3
    assert outcome.err.startswith(f"xtalgo: {expected}")
    assert outcome.err.count("\n") == 2


def test_ctrl_c_is_a_clean_line(xtalgo: Xtalgo, es: Path, folder: Path) -> None:
    write(folder, "bad.py", RAISER.replace("self.ratio = 1 / self.divisor", "raise KeyboardInterrupt"))
    outcome = xtalgo("run", "bad.py", "--replay", es, "--fills", "fills.csv")
    assert (outcome.code, outcome.err) == (130, "xtalgo: interrupted\n")
    assert not (folder / "fills.csv").exists()


def test_an_error_of_ours_asks_to_be_reported(
    xtalgo: Xtalgo, es: Path, buyer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_arguments: object, **_options: object) -> None:
        raise KeyError("of ours")

    monkeypatch.setattr("xtalgo.app.report.show_result", broken)
    outcome = xtalgo("run", buyer, "--replay", es)
    assert outcome.code == 1
    assert "Traceback" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("xtalgo: internal error, KeyError: 'of ours'; please report it")


def test_a_reader_that_has_gone_is_no_error_of_ours(
    xtalgo: Xtalgo, es: Path, buyer: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def gone(*_arguments: object, **_options: object) -> None:
        raise BrokenPipeError

    monkeypatch.setattr("xtalgo.app.report.show_before", gone)
    outcome = xtalgo("run", buyer, "--replay", es)
    assert (outcome.code, outcome.err) == (141, "")


# --- help, and the program as a process --------------------------------------------------------------------------


def test_help_says_every_assumption_and_code(xtalgo: Xtalgo) -> None:
    outcome = xtalgo("run", "--help")
    assert outcome.code == 0
    text = " ".join(outcome.out.replace("│", " ").split())
    for words in (
        "An order fills only on a quote newer than the one it was born on",
        "A market order fills at the far side of the quote",
        "Nothing fills on a crossed quote",
        "A DAY order ends with the session",
        "entry passes between sending a request and its arrival at the exchange",
        "Dollars per contract and side",
        "$0.95: MES, MNQ, M2K, MYM",
        "(default: 250 ms)",
        "(default: 1000 ms)",
        "(default: 1)",
        "XTALGO_DAILY_LOSS",
    ):
        assert words in text
    for code, meaning in cli.EXIT_CODES.items():
        assert f"{code}: {meaning}" in text
    for flag in [
        "--entry-latency",
        "--report-latency",
        "--slippage",
        "--commission",
        "--ideal",
        "--touch",
        "--stop-trigger",
        "--oco",
        "--sort",
        "--json",
        "--fills",
        "--account",
        "--max-order-quantity",
        "--max-position",
        "--max-open-orders",
        "--max-orders-per-minute",
        "--price-collar",
        "--daily-loss",
        "--strategy",
        "--config",
        "--replay",
        "--param",
    ]:
        assert flag in text
    assert max(map(len, outcome.out.splitlines())) <= 80
    top = xtalgo("--help").out
    assert "run" in top
    assert "synth" in top
    assert "3: a strategy raised an exception" in top
    assert xtalgo().out == top


def test_version(xtalgo: Xtalgo) -> None:
    assert xtalgo("--version").out == f"{package.__version__}\n"


def _process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[bytes]:
    import os

    return subprocess.run(
        [sys.executable, "-m", "xtalgo", *arguments],
        capture_output=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        check=False,
    )


@pytest.mark.parametrize("encoding", ["cp1252", "ascii", "utf-8"])
def test_consoles_of_any_encoding(folder: Path, es: Path, encoding: str) -> None:
    name = "kauf_ünd_買い.py"
    write(folder, name, BUYER.replace("self.seen = 0", "self.seen = 0; self.note('価格 → ü')"))
    done = _process("run", name, "--replay", str(es), PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    text = done.stdout.decode(encoding)
    assert f"in {name}".encode(encoding, "backslashreplace") in done.stdout
    assert "Results" in text
    help_text = _process("run", "--help", PYTHONIOENCODING=encoding)
    assert help_text.returncode == 0
    assert b"Exit codes" in help_text.stdout


def test_errors_of_a_process(folder: Path, es: Path) -> None:
    write(folder, "raiser.py", RAISER)
    done = _process("run", "raiser.py", "--replay", str(es))
    assert done.returncode == 3
    assert done.stderr.decode().splitlines()[0] == "xtalgo: raiser.py:12: Raiser: ZeroDivisionError: division by zero"
    assert _process("run", "raiser.py").returncode == 2


def test_strategies_have_no_parameters_beyond_their_own() -> None:
    # ``-p`` must not offer what belongs to the base class.
    (_, momo), (_, fade) = load_strategies([MOMO, FADE])
    assert isinstance(momo, Strategy)
    assert isinstance(fade, Strategy)
