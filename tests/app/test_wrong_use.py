"""Bad input and raising strategies: the exit code, and one line that names the place."""

from pathlib import Path

import pytest
from app.support import BUYER, MOMO, RAISER, Xtalgo, quotes_text, write

# --- exit code 2 -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["run", "--replay", "buyer.py"], "--replay needs recorded quotes, not only a strategy file"),
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


def test_an_instrument_parameter_must_name_one(xtalgo: Xtalgo, es: Path, folder: Path) -> None:
    write(folder, "none.py", BUYER.replace('instrument: Instrument = "ES"', "instrument: Instrument | None = None"))
    error = xtalgo("run", "none.py", "--replay", es).error
    assert "Buyer.instrument is None, no instrument; give one with -p instrument=NAME" in error
    assert xtalgo("run", "none.py", "--replay", es, "-p", "instrument=ES").code == 0


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
