"""The command line as a user meets it: results, exit codes, and one line for everything that is wrong."""

import csv
import gzip
import json
from pathlib import Path

import pytest
from app.support import BUYER, FADE, MOMO, ROOT, Xtalgo, quotes_text, write

from xtalgo import replay
from xtalgo.app.config import load_settings
from xtalgo.app.loader import load_strategies
from xtalgo.app.report import FILL_COLUMNS, JSON_KEYS
from xtalgo.data.quotes import load_recording
from xtalgo.model.sessions import iso

REAL = ROOT.parent / "shared" / "data" / "es_l1_20231225a.csv.gz"


def words(text: str) -> set[tuple[str, ...]]:
    """The first two words of each line."""
    return {tuple(line.split()[:2]) for line in text.splitlines()}


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
    ):
        assert line in outcome.out.splitlines()
    assert {("orders", "2"), ("round", "trips"), ("fees", "$11.60"), ("denials", "0")} <= words(outcome.out)
    assert "SYNTHETIC" not in outcome.out
    assert "\x1b" not in outcome.out
    assert all(line == line.rstrip() for line in outcome.out.splitlines())


WARM = """\
from xtalgo import Bar, History, Instrument, Strategy


class Warm(Strategy):
    instrument: Instrument = "ES"

    def warm_up(self):
        return [History(self.instrument, "1m", 3)]

    def on_start(self) -> None:
        self.made = self.bars(self.instrument, "1m", source="venue")
        self.note("begins", bars=len(self.made))
"""
MADE_OF_QUOTES = (
    "Bars of the venue's are made of recorded quotes here; their highs and lows miss what lay between quotes."
)


def test_earlier_recordings_make_bars_for_the_start(xtalgo: Xtalgo, es: Path, folder: Path) -> None:
    warm = write(folder, "warm.py", WARM)
    earlier = write(folder, "earlier.csv", quotes_text(600).replace("T14:", "T13:"))
    outcome = xtalgo("run", warm, "--replay", es, "--history", earlier, es)
    assert outcome.code == 0
    for line in (
        "  history       600 quotes from before, to make bars of; none is traded",
        "                2026-05-12 13:00:00 to 2026-05-12 13:09:59 UTC",
        MADE_OF_QUOTES,
        "  2026-05-12 14:00:00 Warm: begins bars=3",
    ):
        assert line in outcome.out.splitlines()
    assert "  quotes        240 of ES 06-26" in outcome.out.splitlines()


def test_bars_that_were_wanted_and_not_there_are_told_of(xtalgo: Xtalgo, es: Path, folder: Path) -> None:
    outcome = xtalgo("run", write(folder, "warm.py", WARM), "--replay", es)
    assert outcome.code == 0
    text = "of 3 bars of ES 06-26 (1m) 0 came: the venue has no more. Give earlier recordings with --history."
    assert f"Before the start, {text}" in " ".join(outcome.out.split())


def test_history_that_lies_later_is_an_error(xtalgo: Xtalgo, es: Path, folder: Path, buyer: Path) -> None:
    later = write(folder, "later.csv", quotes_text(60).replace("T14:", "T15:"))
    outcome = xtalgo("run", buyer, "--replay", es, "--history", later)
    assert outcome.code == 2
    assert "the history has no quote before 2026-05-12T14:00:00" in outcome.error


def test_json_is_one_object_with_the_agreed_keys(xtalgo: Xtalgo, es: Path) -> None:
    outcome = xtalgo("run", MOMO, "--replay", es, "-p", "instrument=ES", "-p", "fast=2", "-p", "slow=9", "--json")
    assert outcome.code == 0
    assert outcome.out.count("\n") == 1
    result = json.loads(outcome.out, parse_constant=lambda word: pytest.fail(word))
    assert tuple(result) == JSON_KEYS
    assert len(JSON_KEYS) == 20
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
    assert outcome.err.splitlines().count("quote") == 240
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
    assert ("fees", "$2.50") in words(outcome.out)


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
        outcome = xtalgo("run", "--json", *command)
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
    write(folder, "idle.py", BUYER.replace("self.seen == ", "self.seen == -"))
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
        BUYER.replace("+= 1", "+= 1; self.note('bid', at=quote.bid)"),
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
