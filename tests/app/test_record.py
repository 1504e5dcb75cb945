"""Recording one's own market, packing it and replaying it: what was on the wire, to the stamp, and the gaps by name."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from app.liveruns import DEMO, TOKEN, conduct, later, life
from app.recordings import Row, Take, inputs, take
from app.support import BUYER, MOMO, ROOT, Xtalgo, write
from tables import ES, MNQ, SECOND, START

from xtalgo import ReplaySettings, Result, replay
from xtalgo.app import exits, journaling
from xtalgo.app.exits import code_of
from xtalgo.app.loader import load_strategies
from xtalgo.data.journal import read
from xtalgo.data.journal_store import Store
from xtalgo.data.packing import Packed, Packing
from xtalgo.data.quotes import Recording, load_recording
from xtalgo.live.wires import DialFailed
from xtalgo.model.errors import AuthError, ConfigError, NoConnection, SessionTakenOver
from xtalgo.model.instruments import ContractBook

CUT = "link down: the connection ended without a close frame"


def packed(folder: Path, *paths: Path) -> tuple[list[Packed], Recording]:
    folder.mkdir(exist_ok=True)
    with Packing(list(paths), ContractBook()) as packing:
        packing.survey()
        made = list(packing.write(folder))
    assert set(packing.left_out) <= {"not readable"}
    return made, load_recording([folder], ContractBook())


def rows(recording: Recording) -> list[Row]:
    table = recording.table
    return [(q.ts, q.instrument, q.bid, q.ask, q.last, q.volume) for q in table.quotes(0, len(table))]


# --- five minutes with two drops -----------------------------------------------------------------------------------


async def test_five_minutes_with_two_drops(autojump_clock, folder: Path) -> None:
    with take(folder / "run.db", duration=300, faults={"drop_at": [100, 200]}) as one:
        await one.conduct()
    one.run.verdict()
    assert one.world.dials == 3
    made, recording = packed(folder / "q", one.path)
    assert rows(recording) == one.wire
    assert len(one.wire) > 580
    gaps = recording.gaps
    assert gaps is not None
    assert [(gap.instrument, gap.why) for gap in gaps] == [(ES, CUT), (MNQ, CUT)] * 2
    stamps = [row[0] for row in one.wire if row[1] == ES]
    for gap, dropped in zip(gaps[::2], (100, 200), strict=True):
        assert gap.start == START + dropped * SECOND
        assert gap.end == min(ts for ts in stamps if ts > gap.start)
    # The recording itself said the same while it ran.
    assert sorted(one.run.tally.gaps, key=lambda gap: gap.start) == list(gaps)
    assert one.run.tally.quotes == {one.instrument: one.quotes for one in made}
    ((_, momo),) = load_strategies([MOMO], (), ["fast=5", "slow=20"])
    result = replay(momo, recording.table, ReplaySettings())
    assert result.quotes == len(one.wire)
    assert result.fills


async def test_the_journal_is_that_of_any_run(autojump_clock, folder: Path, xtalgo: Xtalgo) -> None:
    with take(folder / "run.db", faults={"drop_at": [10]}, pnl=True) as one:
        await one.conduct()
    kinds = [kind for kind, _ in inputs(one.path)]
    assert kinds[:2] == ["start", "link_up"]
    assert kinds.count("link_down") == 2
    with read(one.path) as reader:
        reader.verify(alone=True)
        assert reader.header.strategies == ()
        assert reader.header.accounts == ()
        assert {(mark.account, mark.kind) for mark in reader.marks()} == {
            ("Sim101", kind) for kind in ("realized", "unrealized", "net_liquidation")
        }
        assert any(told.text.startswith("link down: ") for told in reader.notices())
        assert list(reader.turns()) == list(reader.decisions()) == list(reader.intents()) == []
        assert TOKEN not in reader.header.settings
    outcome = xtalgo("verify", one.path)
    assert outcome.code == 0
    assert outcome.out == (
        f"nothing to decide: a recording without strategies; the file is whole, {len(kinds)} inputs\n"
    )


async def test_nothing_is_ever_placed(autojump_clock, folder: Path) -> None:
    with take(folder / "run.db", faults={"drop_at": [10]}, pnl=True) as one:
        await one.conduct()
    sent = [json.loads(text) for text in one.world.frames]
    assert {frame.get("api") for frame in sent} == {None, "GetQuote"}
    assert {frame["action"] for frame in sent} == {"rpc", "subscribe", "streamPnl"}


async def test_instruments_are_pinned_once_and_told(autojump_clock, folder: Path) -> None:
    with take(folder / "run.db", ("ES", "ESM26", "ES")) as one:
        await one.conduct()
    texts = [news.text for news in one.heard.of("pin")]
    assert len(texts) == 2
    assert texts[0].startswith("instrument ES -> ES 06-26, 19 days to expiry (2026-06-01")
    assert texts[1].startswith("instrument ESM26 -> ES 06-26, ")
    asked = [json.loads(text) for text in one.world.frames]
    assert [frame["instruments"] for frame in asked if frame["action"] == "subscribe"] == [[ES]]
    assert [frame["args"]["instrument"] for frame in asked if frame["action"] == "rpc"] == ["ES", "ESM26"]


async def test_a_line_each_minute(autojump_clock, folder: Path) -> None:
    with take(folder / "run.db", duration=150, faults={"drop_at": [30]}) as one:
        await one.conduct()
    status = one.heard.of("status")
    assert [round((news.ts - one.run.started) / SECOND) for news in status] == [60, 120]
    assert re.fullmatch(
        r"quotes: ES 06-26 \d+ \(0\.\d s ago\), MNQ 06-26 \d+ \(\d\.\d s ago\); 1 gap so far", status[0].text
    )
    assert status[0].facts["gaps"] == 2


async def test_stale_quotes_dial_again_and_are_a_gap(autojump_clock, folder: Path) -> None:
    with take(folder / "run.db", ("ES",), duration=60, faults={"silence": [[10, 40]]}) as one:
        await one.conduct()
    _, recording = packed(folder / "q", one.path)
    assert rows(recording) == one.wire
    (gap,) = recording.gaps or ()
    assert re.fullmatch(r"no quote for \d\d s \(link down: no quote for 15 s\)", gap.why)
    assert gap.end - gap.start > 30 * SECOND
    assert one.run.tally.gaps == [gap]


async def test_the_add_on_is_away_at_first(autojump_clock, folder: Path) -> None:
    with take(folder / "run.db", duration=None, faults={"addon_offline": [[0, 25]]}) as one, trio.fail_after(100):
        async with one.world.open(), trio.open_nursery() as nursery:
            nursery.start_soon(later, 60, one.run.stop)
            await one.run.conduct(one.world.dial(TOKEN))
    one.run.verdict()
    assert any("ES: NinjaTrader or its add-on is away" in text for text in one.heard.texts)
    assert one.run.tally.quotes[ES] > 20


# --- ends ----------------------------------------------------------------------------------------------------------


async def test_a_takeover_ends_it(autojump_clock, folder: Path) -> None:
    with take(folder / "run.db", faults={"takeover_at": [10]}) as one:
        await one.conduct()
    with pytest.raises(SessionTakenOver) as caught:
        one.run.verdict()
    assert code_of(caught.value) == exits.TAKEN_OVER
    assert one.world.dials == 1
    made, _ = packed(folder / "q", one.path)
    assert {(file.end.at, file.end.why[:12]) for file in made} == {(START + 10 * SECOND, "taken over: ")}


async def test_a_refused_token(autojump_clock, folder: Path) -> None:
    with take(folder / "run.db") as one:
        await one.conduct(token="wr0ng")
    with pytest.raises(AuthError):
        one.run.verdict()
    assert "wr0ng" not in f"{one.run.how} {one.heard.texts} {inputs(one.path)}"


async def test_no_connection_within_the_time(autojump_clock, folder: Path) -> None:
    async def dial():
        raise DialFailed("no connection to example.org:443: refused")

    with take(folder / "run.db", duration=30) as one:
        await one.run.conduct(dial)
    with pytest.raises(NoConnection, match="no connection within 30 s: no connection to example"):
        one.run.verdict()
    assert any("no connection to example.org:443: refused" in text for text in one.heard.texts)


async def test_answers_that_do_not_come(autojump_clock, folder: Path) -> None:
    with take(folder / "run.db", duration=20, faults={"lose_reply": 1.0}) as one:
        await one.conduct()
    with pytest.raises(NoConnection, match="the recording never began: the venue's answers did not come"):
        one.run.verdict()


async def test_a_dated_name_is_taken_without_an_answer(autojump_clock, folder: Path) -> None:
    with take(folder / "run.db", ("ES 06-26",), duration=60, faults={"lose_reply": 1.0}) as one:
        await one.conduct()
    one.run.verdict()
    assert one.run.tally.quotes[ES] > 20
    assert any("gave no quote to compare contract facts with" in text for text in one.heard.texts)


async def test_an_instrument_that_the_venue_does_not_know(autojump_clock, folder: Path) -> None:
    with take(folder / "run.db", ("ES", "ES!!")) as one:
        one.run.wanted = attrs.evolve(one.run.wanted, instruments=("ES", "FOO 06-26"))
        await one.conduct()
    with pytest.raises(ConfigError, match="the venue does not know the instrument 'FOO 06-26'"):
        one.run.verdict()


async def test_stopped_before_there_is_a_connection(autojump_clock, folder: Path) -> None:
    async def dial():
        await trio.sleep_forever()

    with take(folder / "run.db", duration=None) as one:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(later, 5, one.run.stop)
            await one.run.conduct(dial)
    one.run.verdict()
    assert [kind for kind, _ in inputs(one.path)] == ["start"]


async def test_whoever_watched_has_gone(autojump_clock, folder: Path) -> None:
    with take(folder / "run.db", duration=None) as one:
        async with one.world.open(), trio.open_nursery() as nursery:
            nursery.start_soon(later, 10, lambda: setattr(one.heard.writer, "broken", OSError("gone")))
            await one.run.conduct(one.world.dial(TOKEN))
    with pytest.raises(BrokenPipeError):
        one.run.verdict()
    assert inputs(one.path)[-1][0] == "link_down"


async def test_a_full_disk_is_told_and_its_inputs_are_counted(autojump_clock, folder: Path, monkeypatch) -> None:
    write_rows, began = Store.write, trio.current_time()

    def write_or_fail(store: Store, rows: Any) -> None:
        if 10 < trio.current_time() - began < 52:
            raise OverflowError("disk full")
        write_rows(store, rows)

    monkeypatch.setattr(Store, "write", write_or_fail)
    with take(folder / "run.db", ("ES",), duration=60) as one:
        one.run.journal.bound = 5_000
        one.run.journal._clock = trio.current_time  # it counts the seconds between its tries
        await one.conduct()
    told = [text for text in one.heard.texts if "journal" in text]
    assert re.search(r"can't be written \(disk full\); \d+ rows wait in memory", told[0])
    assert told[0].endswith("What comes beyond 64 MB is lost, and will be told as a gap")
    assert told[1] == "the journal can be written again"
    with read(one.path) as reader:
        (lost,) = [gap for gap in reader.gaps() if gap.name == "inputs"]
    _, recording = packed(folder / "q", one.path)
    (gap,) = recording.gaps or ()
    assert gap.why == f"{lost.count} inputs were never written, since the journal could not be (disk full)"
    assert rows(recording) == [row for row in one.wire if not gap.start < row[0] < gap.end]


# --- what a live run saw -------------------------------------------------------------------------------------------


METRONOME = """\
from xtalgo import Instrument, Quote, Strategy


class Metronome(Strategy):
    instrument: Instrument = "ES"
    other: Instrument = "MNQ"

    def on_start(self) -> None:
        self.seen = 0

    def on_quote(self, quote: Quote) -> None:
        self.seen += 1
        if self.seen % 7 == 0:
            (self.buy if round(quote.bid * 4) % 2 else self.sell)(quote.instrument, 1)
"""


@pytest.mark.parametrize("faults", [{}, {"drop_at": [20, 41], "garbage": 0.3, "seed": 5}, {"silence": [[15, 50]]}])
async def test_what_is_packed_is_what_the_engine_was_handed(autojump_clock, folder: Path, faults: Any) -> None:
    write(folder, "metronome.py", METRONOME)
    strategies = load_strategies(["metronome.py"], (), ())
    one = life(target=DEMO, duration=80, faults=faults)
    with journaling.begin(START, DEMO, one.run.plan.settings, strategies, "run.db") as keeping:
        one.run.plan = attrs.evolve(one.run.plan, strategies=strategies, keeping=keeping)
        await conduct(one)
    with read(folder / "run.db") as reader:
        handed = [turn.event for turn in reader.turns() if turn.data.startswith('["Quote"')]
    _, recording = packed(folder / "q", folder / "run.db")
    assert rows(recording) == [(q.ts, q.instrument, q.bid, q.ask, q.last, q.volume) for q in handed]
    assert len(handed) > 80
    assert recording.synthetic
    if faults:
        assert recording.gaps
        return
    # And a replay of it decides what the run decided: the same orders at the same quotes.
    ((_, again),) = load_strategies(["metronome.py"], (), ())
    result: Result = replay(again, recording.table, ReplaySettings(accounts=("Demo101",)))
    placed = [(order.created, order.instrument, order.side, order.quantity) for order in result.order_book]
    before = [(o.created, o.instrument, o.side, o.quantity) for o in one.engine.blotter.orders.values()]
    assert placed == before
    assert len(placed) > 15
    assert {side for _, _, side, _ in placed} == {1, -1}


# --- the command line ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ([], "name one or more instruments"),
        (["NOPE!!"], "'NOPE!!' is not an instrument name"),
        (["FOO"], "no contract facts for 'FOO'"),
        (["ES", "--for", "0"], "--for: expected a number of seconds above 0, not 0"),
        (["ES", "--for", "nan"], "--for: expected a number of seconds above 0, not nan"),
        (["ES", "--demo", "--url", "wss://x"], "--demo and --url don't go together"),
        (["ES", "--demo", "--token-file", "x"], "--demo and --token-file don't go together"),
        (["ES", "--account", "Sim101", "--no-pnl"], "--account and --no-pnl don't go together"),
        (["ES", "--url", "ws://10.0.0.1/ws"], "would send the token unencrypted"),
        (["ES", "--demo", "--journal", "there.db"], "there.db"),
    ],
)
def test_wrong_use(folder: Path, xtalgo: Xtalgo, monkeypatch, arguments: list[str], expected: str) -> None:
    monkeypatch.setenv("XTRADE_TOKEN", TOKEN)
    write(folder, "there.db", "")
    error = xtalgo("record", *arguments).error
    assert expected in error
    assert TOKEN not in error


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["-o", "q"], "no journal given"),
        (["none.db", "-o", "q"], "none.db: can't be read"),
        (["text.db", "-o", "q"], "text.db: "),
        (["text.db"], "--out"),
        (["text.db", "-o", "text.db"], "-o text.db: not a folder"),
    ],
)
def test_wrong_use_of_pack(folder: Path, xtalgo: Xtalgo, arguments: list[str], expected: str) -> None:
    write(folder, "text.db", "x" * 2000)
    outcome = xtalgo("pack", *arguments)
    assert outcome.code == 2
    assert expected in outcome.err
    assert not (folder / "q").exists()


async def recorded(folder: Path, **how: Any) -> Take:
    with take(folder / "run.db", duration=60, **how) as one:
        await one.conduct()
    return one


async def test_pack_and_replay_tell_the_gaps(autojump_clock, folder: Path, xtalgo: Xtalgo) -> None:
    await recorded(folder, faults={"drop_at": [20, 40.25]})
    write(folder, "buyer.py", BUYER)
    outcome = xtalgo("pack", "run.db", "-o", "q")
    assert outcome.code == 0, outcome.err
    assert "Gaps: 2, UTC; nothing is filled in\n" in outcome.out
    span = rf"ES 06-26, MNQ 06-26 2026-05-13 14:00:20-14:00:2\d \(\d\.\d s\) {CUT}"
    assert re.search(rf"^  {span}$", outcome.out, re.MULTILINE)
    assert "2 files, " in outcome.out
    assert "all SYNTHETIC: made up by a program" in outcome.out
    refused = xtalgo("pack", "run.db", "-o", "q")
    assert "(and 1 more) is there already; --force overwrites" in refused.error
    told = json.loads(xtalgo("pack", "run.db", "-o", "q", "--force", "--json").out)
    assert [file["instrument"] for file in told["files"]] == [ES, MNQ]
    assert [len(file["gaps"]) for file in told["files"]] == [2, 2]
    assert told["left_out"] == told["overlapping"] == {}
    replayed = xtalgo("run", "buyer.py", "--replay", "q")
    assert replayed.code == 0, replayed.err
    assert re.search(r"^  gaps +2, in which nothing is filled in, UTC:$", replayed.out, re.MULTILINE)
    assert re.search(rf"^ +{span}$", replayed.out, re.MULTILINE)
    assert "These quotes are SYNTHETIC" in replayed.out
    found = json.loads(xtalgo("run", "buyer.py", "--replay", "q", "--json").out)
    assert [(gap["instrument"], gap["why"]) for gap in found["gaps"]] == [(ES, CUT), (MNQ, CUT)] * 2
    assert found["gaps"][0]["from"].startswith("2026-05-13T14:00:20.")
    only = json.loads(xtalgo("pack", "run.db", "-o", "p", "--instrument", "es", "--json").out)
    assert [file["instrument"] for file in only["files"]] == [ES]


def test_recordings_without_a_word_of_gaps(folder: Path, es: Path, buyer: Path, xtalgo: Xtalgo) -> None:
    assert not re.search("^  gaps", xtalgo("run", buyer, "--replay", es).out, re.MULTILINE)
    assert json.loads(xtalgo("run", buyer, "--replay", es, "--json").out)["gaps"] is None


def test_help(xtalgo: Xtalgo) -> None:
    text = " ".join(xtalgo("record", "--help").out.replace("│", " ").split())
    for words in ("It trades nothing", "--for", "--journal", "--no-pnl", "--token-file", "one connection per user"):
        assert words in text
    assert "nothing is filled in" in xtalgo("pack", "--help").out


def test_a_demo_is_recorded_packed_and_verified(folder: Path, xtalgo: Xtalgo) -> None:
    outcome = xtalgo("record", "ES", "--for", "3")  # a slow machine takes a while to connect
    assert outcome.code == 0, outcome.err
    assert "RECORDING A DEMO: the market is SYNTHETIC" in outcome.out
    (path,) = journaling.runs_folder().glob("*.db")
    assert f"As quote files: xtalgo pack {path} -o quotes" in outcome.out
    assert not path.with_name(path.name + "-wal").exists()
    assert xtalgo("pack", path, "-o", "q").code == 0
    assert xtalgo("verify", path).code == 0


# --- processes -----------------------------------------------------------------------------------------------------


def _process(*arguments: str, **more: Any) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "xtalgo", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **more},
    )


@pytest.mark.long
@pytest.mark.skipif(sys.platform == "win32", reason="there is no Ctrl-C for one child alone")
def test_as_a_user_would_against_a_server_of_ours(folder: Path, xtalgo: Xtalgo) -> None:
    """Real processes and real time: a recording with two drops, ended by Ctrl-C, packed and replayed."""
    write(folder, "faults.toml", "drop_every = 2.5\n")
    with _process("serve", "--port", "0", "--faults", "faults.toml", "--json") as server:
        try:
            address = json.loads(server.stdout.readline())
            arguments = ("record", "ES", "MNQ", "--url", address["ws"], "--journal", "run.db", "--json")
            with _process(*arguments, XTRADE_TOKEN=address["token"]) as recorder:
                events: list[Any] = []
                while sum(event["event"] == "link" and event["state"] == "up" for event in events) < 3:
                    events.append(json.loads(recorder.stdout.readline()))
                time.sleep(1.9)  # quotes come about once a second
                recorder.send_signal(signal.SIGINT)
                rest, complaints = recorder.communicate(timeout=10)
        finally:
            server.send_signal(signal.SIGINT)
    assert recorder.returncode == 0, complaints
    events += [json.loads(line) for line in rest.splitlines()]
    assert [event["event"] for event in events if event["event"] in ("start", "pin", "running", "summary")] == [
        "start",
        "pin",
        "pin",
        "running",
        "summary",
    ]
    summary = events[-1]
    assert (summary["ended"], summary["lost"]) == ("by a signal", 0)
    told = json.loads(xtalgo("pack", "run.db", "-o", "q", "--json").out)
    assert {file["instrument"]: file["quotes"] for file in told["files"]} == summary["quotes"]
    assert [file["synthetic"] for file in told["files"]] == [True, True]
    gaps = [gap for file in told["files"] for gap in file["gaps"]]
    assert {gap["why"] for gap in gaps} == {CUT}
    outcome = xtalgo("run", MOMO, "-p", "fast=1", "-p", "slow=2", "--replay", "q", "--json")
    assert outcome.code == 0, outcome.err
    found = json.loads(outcome.out)
    assert found["quotes"] == told["quotes"] > 8
    assert len(found["gaps"]) == len(gaps) == len(summary["gaps"]) == 4
