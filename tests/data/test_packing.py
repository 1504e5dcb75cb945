"""Journals to quote files: every quote that was on the wire, once, and what is missing by its name."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest
from data.tapes import DEMO, FIRST, SERVER, TAKEOVER, Tape, market, packed, spans
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tables import ES, MNQ, SECOND, START

from xtalgo import ContractBook
from xtalgo.data.gaps import QuoteGap
from xtalgo.data.journal import Journal, JournalFailed
from xtalgo.data.packing import Packing
from xtalgo.data.quotes import load_recording
from xtalgo.model.errors import ConfigError, DataError
from xtalgo.model.sessions import session_at

HOUR = 3600


def rows(recording: Any) -> list[tuple[Any, ...]]:
    """All quotes of a recording in order: seconds since START, instrument and prices."""
    table = recording.table
    return [
        ((quote.ts - START) / SECOND, quote.instrument, quote.bid, quote.ask, quote.last, quote.volume)
        for quote in table.quotes(0, len(table))
    ]


def run(path: Path, *parts: tuple[int, int], settings: str = SERVER) -> Path:
    """A run that heard ES each second in some parts of the time, and dropped in between."""
    with Tape(path, settings) as tape:
        tape.start(parts[0][0] - 1)
        for begin, end in parts:
            tape.up(begin - 0.5)
            tape.every_second(begin, end)
            tape.down(end - 0.5, "closed by us" if (begin, end) == parts[-1] else "reset")
    return path


# --- quotes --------------------------------------------------------------------------------------------------------


def test_quotes_are_those_on_the_wire_in_their_order(tmp_path: Path) -> None:
    with Tape(tmp_path / "run.db") as tape:
        tape.start(0)
        tape.up(1)
        # MNQ comes before ES in its frames, and the files are read the other way round.
        tape.quotes(2, (MNQ, 18000.0, 18000.5, 18000.25, 5), (ES, 5000.0, 5000.25, None, None))
        tape.quotes(2, (ES, 5000.25, 5000.5, 5000.25, 12), (MNQ, 18000.25, 18000.5, 18000.25, 6))
        tape.input(2, "advance")
        tape.quotes(3.000000001, (MNQ, 18001.0, 18001.5, 18001.0, 0))
    _, made, recording = packed(tmp_path / "q", tape.path)
    assert [one.path.name for one in made] == ["ES 06-26 2026-05-13.parquet", "MNQ 06-26 2026-05-13.parquet"]
    assert rows(recording) == [
        (2.0, MNQ, 18000.0, 18000.5, 18000.25, 5),
        (2.0, ES, 5000.0, 5000.25, None, None),
        (2.0, ES, 5000.25, 5000.5, 5000.25, 12),
        (2.0, MNQ, 18000.25, 18000.5, 18000.25, 6),
        (3.000000001, MNQ, 18001.0, 18001.5, 18001.0, 0),
    ]
    assert recording.off_tick == 0
    assert recording.skipped == {}
    assert recording.gaps == ()
    assert recording.synthetic is False


def test_names_become_canonical_and_what_no_file_holds_is_counted(tmp_path: Path) -> None:
    with Tape(tmp_path / "run.db") as tape:
        tape.start(0)
        tape.up(1)
        tape.quotes(2, ("ESM26", 5000.0), ("es jun26", 5000.25))
        tape.quotes(
            3, (ES, None, 5000.25, None, 1), (ES, 5000.0, None, None, 1), (ES, 0.0), (ES, 5000.0, 5000.25, 0, 1)
        )
        tape.quotes(4, ("ES", 5000.0), ("?!", 5000.0), ("ESM6", 5000.0), (ES, -1.0))
        tape.input(5, "frame", '{"type":"marketData","quotes":[{"instrument":"ES 06-26","bid":"x"},7]}')
        tape.input(5, "frame", '{"type":"marketData"')
        tape.quotes(6)
    packing, _, recording = packed(tmp_path / "q", tape.path)
    assert [row[:3] for row in rows(recording)] == [(2.0, ES, 5000.0), (2.0, ES, 5000.25), (6.0, ES, FIRST)]
    assert dict(packing.left_out) == {
        "no bid": 1,
        "no ask": 1,
        "zero or negative price": 3,
        "no contract is called 'ES'": 1,
        "no contract is called '?!'": 1,
        "no contract is called 'ESM6'": 1,
        "not readable": 2,
    }


def test_one_file_for_each_session(tmp_path: Path) -> None:
    close = 7 * HOUR  # 17:00 in New York
    with Tape(tmp_path / "run.db") as tape:
        tape.start(0)
        tape.up(1)
        tape.every_second(close - 3, close)
        tape.every_second(close + HOUR, close + HOUR + 2)
    _, made, recording = packed(tmp_path / "q", tape.path)
    assert [(str(one.day), one.quotes) for one in made] == [("2026-05-13", 3), ("2026-05-14", 2)]
    assert recording.gaps == ()
    assert [(one.start.why, one.end.why) for one in made] == [
        ("the recording begins", "the session closed"),
        ("the session opened", "the run ended"),
    ]


def test_only_what_is_wanted(tmp_path: Path) -> None:
    with Tape(tmp_path / "run.db") as tape:
        tape.start(0)
        tape.up(1)
        tape.quotes(2, (ES, 5000.0), ("ES 09-26", 5010.0), (MNQ, 18000.0))
    assert {one.instrument for one in packed(tmp_path / "a", tape.path, wanted=("ES",))[1]} == {ES, "ES 09-26"}
    assert {one.instrument for one in packed(tmp_path / "b", tape.path, wanted=("ESU6", "MNQ"))[1]} == {"ES 09-26", MNQ}
    with pytest.raises(ConfigError, match="the journals have no 'NQ'; they hold ES 06-26, ES 09-26, MNQ 06-26"):
        packed(tmp_path / "c", tape.path, wanted=("ES", "NQ"))


# --- gaps ----------------------------------------------------------------------------------------------------------


def test_drops_and_takeovers_are_named_until_the_next_quote(tmp_path: Path) -> None:
    with Tape(tmp_path / "run.db") as tape:
        tape.start(0)
        tape.up(1)
        tape.every_second(10, 20)
        tape.down(19.2, "the connection ended without a close frame")
        tape.up(20.5)
        tape.down(21, "reset")
        tape.up(22)
        tape.down(23, "reset")
        tape.up(24)
        tape.quotes(25)
        tape.quotes(25.5, (MNQ, 18000.0))
        tape.down(26, TAKEOVER)
    _, made, recording = packed(tmp_path / "q", tape.path)
    why = "link down: the connection ended without a close frame; link down: reset (2 times)"
    assert spans(recording) == [(ES, 19.2, 25, why)]
    for one in made:
        assert (one.end.at, one.end.why) == (START + 26 * SECOND, f"taken over: {TAKEOVER}")


def test_a_takeover_that_another_run_answered(tmp_path: Path) -> None:
    with Tape(tmp_path / "a.db") as first:
        first.start(0)
        first.up(1)
        first.every_second(2, 5)
        first.down(4.5, TAKEOVER)
    with Tape(tmp_path / "b.db") as second:
        second.start(4.25)
        second.up(4.4)
        second.every_second(10, 12)
    for order in ((first, second), (second, first)):
        folder = tmp_path / order[0].path.stem
        packing, _, recording = packed(folder, *(tape.path for tape in order))
        assert spans(recording) == [(ES, 4.5, 10, f"taken over: {TAKEOVER}")]
        assert [row[0] for row in rows(recording)] == [2, 3, 4, 10, 11]
        assert not packing.overlapping


def test_stale_stretches(tmp_path: Path) -> None:
    with Tape(tmp_path / "run.db") as tape:
        tape.start(0)
        tape.up(1)
        for second in (2, 16.9, 31.9, 32, 60):
            tape.quotes(second)
            tape.quotes(second + 0.05, (MNQ, 18000.0))
        tape.down(75, "no quote for 15 s")
        tape.up(75)
        tape.quotes(76)
        tape.input(120, "advance")
    _, made, recording = packed(tmp_path / "q", tape.path)
    assert [gap for gap in spans(recording) if gap[0] == ES] == [
        (ES, 16.9, 31.9, "no quote for 15 s"),
        (ES, 32, 60, "no quote for 28 s"),
        (ES, 60, 76, "no quote for 16 s (link down: no quote for 15 s)"),
    ]
    es, mnq = made
    assert (es.end.at, es.end.why) == (START + 76 * SECOND, "no quote for 44 s, until: the run ended")
    assert mnq.end.why == "link down: no quote for 15 s"


def test_lives_and_runs(tmp_path: Path) -> None:
    with Tape(tmp_path / "a.db") as tape:
        tape.start(0)
        tape.up(1)
        tape.every_second(2, 5)  # and then it crashes
        tape.journal.add_header(tape.journal.header)
        tape.start(8)
        tape.up(9)
        tape.every_second(11, 13)
        tape.down(12.5, "closed by us")
    later = run(tmp_path / "b.db", (40, 42))
    packing, _, recording = packed(tmp_path / "q", tape.path, later)
    assert spans(recording) == [
        (ES, 4, 11, "the run ended, and was taken up again later"),
        (ES, 12.5, 40, "the run ended"),
    ]
    assert [take.number for take in packing.takes] == [1, 2, 1]


def test_inputs_that_were_never_written(tmp_path: Path) -> None:
    with Tape(tmp_path / "run.db") as tape:
        tape.start(0)
        tape.up(1)
        tape.every_second(2, 5)
        tape.lose(7)
        tape.every_second(12, 14)
    packing, _, recording = packed(tmp_path / "q", tape.path)
    assert spans(recording) == [(ES, 4, 12, "7 inputs were never written, since the journal could not be (disk full)")]
    assert packing.notices == [
        f"{tape.path}: 7 inputs were never written, since the file could not be; what they held is a gap"
    ]


def test_inputs_that_were_never_written_at_the_end(tmp_path: Path) -> None:
    with Tape(tmp_path / "run.db") as tape:
        tape.start(0)
        tape.up(1)
        tape.every_second(2, 5)
        tape.journal.commit()
        tape.journal.bound = 0
        tape.journal.failure, tape.journal._retry = "disk full", 2.0**60
        tape.every_second(5, 9)
        tape.journal.bound = 2**20
        tape.journal._retry = 0
    packing, made, _ = packed(tmp_path / "q", tape.path)
    assert made[0].end.why == "4 inputs were never written, since the journal could not be (disk full)"
    assert packing.takes[0].lost == 4


def test_the_clock_jumped(tmp_path: Path) -> None:
    with Tape(tmp_path / "run.db") as tape:
        tape.start(0)
        tape.up(1)
        tape.every_second(2, 5)
        tape.input(16, "leap", f'{{"by":{11 * SECOND}}}')
        tape.down(16, "the clock jumped")
        tape.up(17)
        tape.quotes(18)
    _, _, recording = packed(tmp_path / "q", tape.path)
    assert spans(recording) == [(ES, 5, 18, "the clock jumped by +11.0 s; link down: the clock jumped")]


def test_closed_hours_are_no_gap(tmp_path: Path) -> None:
    close, opens = 7 * HOUR, 8 * HOUR
    with Tape(tmp_path / "run.db") as tape:
        tape.start(0)
        tape.up(1)
        tape.every_second(close - 20, close)
        for minute in range(1, 60, 9):  # what a run does in the daily break
            tape.down(close + minute * 60, "no quote for 15 s")
            tape.up(close + minute * 60 + 1)
        tape.quotes(opens + 3)
    _, _, recording = packed(tmp_path / "q", tape.path)
    assert recording.gaps == ()


def test_a_link_that_is_down_when_the_market_opens(tmp_path: Path) -> None:
    close, opens = 7 * HOUR, 8 * HOUR
    with Tape(tmp_path / "run.db") as tape:
        tape.start(0)
        tape.up(1)
        tape.every_second(close - 20, close - 5)
        tape.down(close - 5.5, "reset")
        tape.up(opens + 2)
        tape.quotes(opens + 3)
        tape.quotes(opens + 5 * 24 * HOUR)  # over a weekend, without a word
    _, made, recording = packed(tmp_path / "q", tape.path)
    day = 24 * HOUR
    silent = [
        (opens + day * k + (3 if not k else 0), close + day * (k + 1)) for k in range(2)
    ]  # Thursday's and Friday's sessions; then Monday's, which opened on Sunday
    monday = [(opens + 4 * day, close + 5 * day)]
    assert spans(recording) == [
        (ES, close - 5.5, close, "link down: reset"),
        (ES, opens, opens + 3, "link down: reset"),
        *((ES, a, b, f"no quote for {b - a} s") for a, b in [*silent, *monday]),
    ]
    # Friday and Monday have no quotes and so no file: what is missing there stands in the file before.
    assert [len(one.gaps) for one in made] == [1, 4, 0]


def test_a_market_that_is_quoted_in_closed_hours(tmp_path: Path) -> None:
    night = 7 * HOUR + 600
    with Tape(tmp_path / "run.db") as tape:
        tape.start(night)
        tape.up(night + 1)
        tape.every_second(night + 2, night + 5)
        tape.down(night + 4.5)
        tape.up(night + 6)
        tape.quotes(night + 8)
        tape.quotes(night + 28)
    _, made, recording = packed(tmp_path / "q", tape.path)
    assert spans(recording) == [(ES, night + 4.5, night + 8, "link down: reset")]
    assert str(made[0].day) == "2026-05-14"


# --- several journals ----------------------------------------------------------------------------------------------


def test_no_quote_comes_twice(tmp_path: Path) -> None:
    first = run(tmp_path / "a.db", (10, 20), (30, 40))
    second = run(tmp_path / "b.db", (5, 50))
    third = run(tmp_path / "c.db", (12, 15))
    packing, _, recording = packed(tmp_path / "q", first, second, third)
    assert [row[0] for row in rows(recording)] == list(range(5, 50))
    # 19.5 to 30 is the gap of the first, in which the second listened.
    assert dict(packing.overlapping) == {str(second): 20, str(third): 3}
    assert recording.gaps == ()
    alone = packed(tmp_path / "p", first, tmp_path / "." / "a.db")
    assert [row[0] for row in rows(alone[2])] == [*range(10, 20), *range(30, 40)]
    assert not alone[0].overlapping
    assert spans(alone[2]) == [(ES, 19.5, 30, "link down: reset")]


def test_a_copy_of_a_journal_adds_nothing(tmp_path: Path) -> None:
    from xtalgo.data.journal import copy

    first = run(tmp_path / "a.db", (10, 20), (30, 40))
    copy(first, tmp_path / "b.db")
    packing, made, _ = packed(tmp_path / "q", first, tmp_path / "b.db")
    assert dict(packing.overlapping) == {str(tmp_path / "b.db"): 20}
    assert [one.quotes for one in made] == [20]


# --- what it says of itself ----------------------------------------------------------------------------------------

FEEDS = '{"id":"x1","data":{"instrument":"ES 06-26","bid":1.0,"dataSource":{"status":"Live","connectedFeeds":[%s]}}}'


@pytest.mark.parametrize(
    ("settings", "feeds", "synthetic", "source"),
    [
        (DEMO, None, True, "xtalgo run r1, a demo (synthetic market)"),
        (SERVER, None, False, "xtalgo run r1, the server at 127.0.0.1:8765; data feeds not told"),
        (SERVER, '"Simulated Data Feed"', True, "the server at 127.0.0.1:8765; data feeds: Simulated Data Feed"),
        (SERVER, '"Playback Connection"', False, "the server at 127.0.0.1:8765; data feeds: Playback Connection"),
        (
            '{"mode":"crosstrade","url":"wss://user:s3cret@app.crosstrade.io/ws?token=s3cret"}',
            '"Kinetick","CQG"',
            False,
            "xtalgo run r1, CrossTrade (app.crosstrade.io); data feeds: Kinetick, CQG",
        ),
        ('{"mode":"paper","url":"wss://x.org/ws"}', None, False, "quotes of x.org, on paper; data feeds not told"),
        ("[]", None, False, "xtalgo run r1, a venue that it does not name; data feeds not told"),
    ],
)
def test_where_quotes_come_from(tmp_path: Path, settings: str, feeds: str | None, synthetic: bool, source: str) -> None:
    with Tape(tmp_path / "run.db", settings) as tape:
        tape.start(0)
        tape.up(1)
        if feeds is not None:
            tape.input(1, "frame", FEEDS % feeds)
            tape.input(1, "frame", '{"id":"x2","data":[' + FEEDS[18:-1] % feeds + "]}")
        tape.input(1, "frame", '{"id":"x3","data":{"dataSource":{"connectedFeeds":7}}}')
        tape.quotes(2)
    _, made, recording = packed(tmp_path / "q", tape.path)
    assert made[0].synthetic is recording.synthetic is synthetic
    assert source in made[0].source
    assert recording.files[0].source == made[0].source
    assert "s3cret" not in made[0].source


def test_the_notes_of_a_file(tmp_path: Path) -> None:
    path = run(tmp_path / "run.db", (10, 20), (30, 40))
    _, made, recording = packed(tmp_path / "q", path)
    told = {key.decode(): value.decode() for key, value in pq.ParquetFile(made[0].path).metadata.metadata.items()}
    assert told["xtalgo.note.gaps"] == (
        '[{"from":"2026-05-13T14:00:19.500000000Z","to":"2026-05-13T14:00:30.000000000Z",'
        '"from_ns":1778680819500000000,"to_ns":1778680830000000000,"why":"link down: reset"}]'
    )
    assert told["xtalgo.note.start"] == (
        '{"at":"2026-05-13T14:00:10.000000000Z","at_ns":1778680810000000000,"why":"the recording begins"}'
    )
    assert told["xtalgo.note.end"].endswith('"why":"the run ended"}')
    assert told["xtalgo.note.journals"] == "run.db"
    assert recording.gaps == (QuoteGap(ES, START + 19 * SECOND + SECOND // 2, START + 30 * SECOND, "link down: reset"),)
    # The same input gives the same bytes.
    again = packed(tmp_path / "p", path)[1]
    assert again[0].path.read_bytes() == made[0].path.read_bytes()


def test_a_journal_that_is_being_written(tmp_path: Path) -> None:
    with Tape(tmp_path / "run.db") as tape:
        tape.start(0)
        tape.up(1)
        tape.every_second(2, 700)
        tape.journal.commit()
        tape.every_second(700, 710)  # not on the drive yet
        packing, made, _ = packed(tmp_path / "q", tape.path)
        assert packing.notices[0].startswith(f"{tape.path}: still being written (process ")
        assert made[0].quotes == 698
        assert made[0].end.why == "the journal goes on; the run is not over"
    packing, made, _ = packed(tmp_path / "p", tape.path)
    assert packing.notices == []
    assert made[0].quotes == 708
    assert made[0].end.why == "the run ended"


def test_commits_between_the_two_readings_change_nothing(tmp_path: Path) -> None:
    (tmp_path / "q").mkdir()
    with Tape(tmp_path / "run.db") as tape:
        tape.start(0)
        tape.up(1)
        tape.every_second(2, 10)
        tape.journal.commit()
        with Packing([tape.path], ContractBook()) as packing:
            packing.survey()
            tape.every_second(10, 30)
            tape.journal.commit()
            (made,) = packing.write(tmp_path / "q")
    assert made.quotes == 8


# --- what is wrong -------------------------------------------------------------------------------------------------


def test_damaged_journals(tmp_path: Path) -> None:
    good, bad = run(tmp_path / "a.db", (10, 20)), run(tmp_path / "b.db", (30, 40))
    with sqlite3.connect(bad) as db:
        db.execute("UPDATE inputs SET text = replace(text, 'ES', 'EX') WHERE number = 5")
    db.close()
    for paths in ((good, bad), (tmp_path / "none.db",), (good, tmp_path / "none.db")):
        with pytest.raises(JournalFailed, match=paths[-1].name):
            packed(tmp_path / "q", *paths)
    assert list((tmp_path / "q").iterdir()) == []


def test_nothing_to_pack(tmp_path: Path) -> None:
    with Tape(tmp_path / "run.db") as tape:
        tape.start(0)
        tape.quotes(2, (ES, None, 5000.25, None, 1))
    with pytest.raises(DataError, match=r"run\.db: no quotes to pack; left out: 1 no bid"):
        packed(tmp_path / "q", tape.path)


def test_files_that_are_there_stay(tmp_path: Path) -> None:
    path = run(tmp_path / "run.db", (10, 20))
    packed(tmp_path / "q", path)
    with pytest.raises(ConfigError, match=r"ES 06-26 2026-05-13\.parquet is there already; --force overwrites"):
        packed(tmp_path / "q", path)


def test_an_instrument_that_only_the_run_knew(tmp_path: Path) -> None:
    with Tape(tmp_path / "run.db", '{"mode":"server","instruments":{"FOO":[0.1,7]}}') as tape:
        tape.start(0)
        tape.up(1)
        tape.quotes(2, ("FOO 06-26", 12.1))
    (tmp_path / "q").mkdir()
    with Packing([tape.path], ContractBook()) as packing:
        packing.survey()
        (made,) = packing.write(tmp_path / "q")
    told = pq.ParquetFile(made.path).metadata.metadata
    assert (told[b"xtalgo.tick_size"], told[b"xtalgo.point_value"]) == (b"0.1", b"7")
    with Tape(tmp_path / "other.db") as tape:
        tape.start(0)
        tape.quotes(2, ("FOO 06-26", 12.1))
    with pytest.raises(ConfigError, match="no contract facts for 'FOO 06-26'"):
        packed(tmp_path / "p", tape.path)


def test_a_note_of_gaps_that_makes_no_sense(tmp_path: Path) -> None:
    _, made, _ = packed(tmp_path / "q", run(tmp_path / "run.db", (10, 20)))
    table = pq.read_table(made[0].path)
    odd = table.replace_schema_metadata({**table.schema.metadata, b"xtalgo.note.gaps": b"[7]"})
    pq.write_table(odd, made[0].path)
    with pytest.raises(DataError, match=r"ES 06-26 2026-05-13\.parquet: its note of gaps can't be read"):
        load_recording([tmp_path / "q"], ContractBook())


# --- the law -------------------------------------------------------------------------------------------------------

STEPS = st.sampled_from([0, 1, SECOND // 2, SECOND, 15 * SECOND - 1, 15 * SECOND, 40 * SECOND, 3 * HOUR * SECOND])
ACTS = st.one_of(
    st.tuples(STEPS, st.just("quotes"), st.lists(st.sampled_from((ES, MNQ, "ESM26", "ES 09-26")), max_size=4)),
    st.tuples(STEPS, st.sampled_from(("down", "drop", "takeover", "advance", "start")), st.just(())),
    st.tuples(STEPS, st.just("lose"), st.integers(1, 3)),
)


class Lived:
    """A journal of random acts, and by instrument what a gap must know: quotes and causes in their order."""

    def __init__(self, path: Path, begin: int, acts: list[Any]) -> None:
        self.quotes: list[tuple[int, str, float]] = []
        self.story: dict[str, list[tuple[int, str]]] = {}
        self.listened: dict[str, list[tuple[int, int]]] = {}
        open_: dict[str, int] = {}
        now, is_up, bid = begin, False, FIRST
        with Tape(path) as tape:

            def stop(ts: int) -> None:
                for name, first in open_.items():
                    self.listened.setdefault(name, []).append((first, ts))
                open_.clear()
                for story in self.story.values():
                    story.append((ts, "cause"))

            tape.start(0, ns=now)
            last = now
            is_cut = False
            for step, act, more in acts:
                # Between the end of a connection and the next one time passes, if only a nanosecond.
                now += max(step, 1) if is_cut else step
                is_cut = act not in ("quotes", "advance")
                match act:
                    case "quotes":
                        if not is_up:
                            tape.up(0, ns=now)
                            is_up = True
                        frame = []
                        for name in more:
                            bid = FIRST + (bid - FIRST + 0.25) % 50
                            frame.append((name, bid))
                            clean = ES if name == "ESM26" else name
                            self.quotes.append((now, clean, bid))
                            self.story.setdefault(clean, []).append((now, "quote"))
                            open_.setdefault(clean, now)
                        tape.input(0, "frame", market(*frame), ns=now)
                    case "down" | "drop" | "takeover" if is_up:
                        tape.down(0, TAKEOVER if act == "takeover" else act, ns=now)
                        stop(now)
                        is_up = False
                    case "start":
                        stop(last)
                        is_up = False
                        tape.journal.add_header(tape.journal.header)
                        tape.start(0, ns=now)
                    case "lose":
                        stop(last)
                        tape.lose(more)
                        tape.input(0, "advance", ns=now)
                    case _:
                        tape.input(0, "advance", ns=now)
                last = now
            stop(last)
        self.path = path


def expected_gaps(story: list[tuple[int, str]], name: str) -> list[tuple[str, int, int]] | None:
    """The gaps of one instrument, where all of it lies in one session; None elsewhere."""
    if len({session_at(ts) for ts, _ in story}) > 1 or not session_at(story[0][0]).contains(story[0][0]):
        return None
    gaps, before, cause = [], None, None
    for ts, what in story:
        if what == "cause":
            cause = ts if cause is None else cause
            continue
        if before is not None:
            if cause is not None:
                gaps.append((name, before if cause - before >= 15 * SECOND else cause, ts))
            elif ts - before >= 15 * SECOND:
                gaps.append((name, before, ts))
        before, cause = ts, None
    return gaps


def told(recording: Any) -> list[tuple[int, str, float]]:
    table = recording.table
    return [(quote.ts, quote.instrument, quote.bid) for quote in table.quotes(0, len(table))]


def no_gap_holds_a_quote(recording: Any) -> None:
    stamps: dict[str, list[int]] = {}
    for ts, name, _ in told(recording):
        stamps.setdefault(name, []).append(ts)
    ends: dict[str, int] = {}
    for gap in recording.gaps:
        assert gap.start < gap.end or gap.start == gap.end
        assert gap.why
        assert not any(gap.start < ts < gap.end for ts in stamps[gap.instrument])
        assert gap.start >= ends.get(gap.instrument, 0)
        ends[gap.instrument] = gap.end


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(acts=st.lists(ACTS, min_size=1, max_size=25))
def test_quotes_out_are_quotes_in(tmp_path_factory, acts: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("law")
    lived = Lived(folder / "run.db", START, acts)
    if not lived.quotes:
        return
    packing, _, recording = packed(folder / "q", lived.path)
    assert told(recording) == lived.quotes
    assert not packing.overlapping
    no_gap_holds_a_quote(recording)
    for name, story in lived.story.items():
        expected = expected_gaps(story, name)
        found = [(gap.instrument, gap.start, gap.end) for gap in recording.gaps if gap.instrument == name]
        if expected is not None:
            assert found == expected


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(many=st.lists(st.tuples(st.integers(-40, 40), st.lists(ACTS, min_size=1, max_size=12)), min_size=2, max_size=3))
def test_several_journals_never_double_a_quote(tmp_path_factory, many: list[Any]) -> None:
    folder = tmp_path_factory.mktemp("law")
    lives = [Lived(folder / f"{number}.db", START + begin * SECOND, acts) for number, (begin, acts) in enumerate(many)]
    kept: list[tuple[int, str, float]] = []
    listened: dict[str, list[tuple[int, int]]] = {}
    for lived in lives:
        # Lives of one journal follow each other, so only journals before it can stand in its way.
        kept += [
            (ts, name, bid)
            for ts, name, bid in lived.quotes
            if not any(first <= ts <= until for first, until in listened.get(name, ()))
        ]
        for name, times in lived.listened.items():
            listened.setdefault(name, []).extend(times)
    if not kept:
        return
    packing, _, recording = packed(folder / "q", *(lived.path for lived in lives))
    assert sorted(told(recording)) == sorted(kept)
    assert sum(packing.overlapping.values()) == sum(len(lived.quotes) for lived in lives) - len(kept)
    no_gap_holds_a_quote(recording)


def test_a_journal_is_refused_where_its_time_goes_back(tmp_path: Path) -> None:
    with Tape(tmp_path / "run.db") as tape:
        tape.start(10)
        tape.quotes(5)
    with pytest.raises(DataError, match=r"run\.db: input 2: time goes back inside a life of the run"):
        packed(tmp_path / "q", tape.path)


def test_a_clock_that_was_set_back_between_two_lives(tmp_path: Path) -> None:
    with Tape(tmp_path / "run.db") as tape:
        tape.start(0)
        tape.up(1)
        tape.every_second(10, 20)
        tape.journal.add_header(tape.journal.header)
        tape.start(14)
        tape.up(15)
        tape.every_second(16, 25)
    packing, _, recording = packed(tmp_path / "q", tape.path)
    assert [row[0] for row in rows(recording)] == list(range(10, 25))
    assert dict(packing.overlapping) == {str(tape.path): 4}


def test_a_journal_without_a_start(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    with Tape(path) as tape:
        tape.up(1)
        tape.quotes(2)
    assert packed(tmp_path / "q", path)[1][0].quotes == 1
    assert isinstance(tape.journal, Journal)


def test_inputs_that_were_never_written_before_another_life(tmp_path: Path) -> None:
    with Tape(tmp_path / "run.db") as tape:
        tape.start(0)
        tape.up(1)
        tape.every_second(2, 5)
        tape.lose(3)
        tape.journal.add_header(tape.journal.header)
        tape.start(8)
        tape.up(9)
        tape.quotes(10)
    packing, _, recording = packed(tmp_path / "q", tape.path)
    assert spans(recording) == [(ES, 4, 10, "3 inputs were never written, since the journal could not be (disk full)")]
    assert [take.lost for take in packing.takes] == [3, 0]


@pytest.mark.parametrize(("kind", "text"), [("link_down", "[]"), ("leap", '{"by":"x"}'), ("start", "{]")])
def test_inputs_that_make_no_sense(tmp_path: Path, kind: str, text: str) -> None:
    with Tape(tmp_path / "run.db") as tape:
        tape.input(0, kind, text)
        tape.quotes(2)
    with pytest.raises(DataError, match=rf"run\.db: input 1: a {kind} that can't be read"):
        packed(tmp_path / "q", tape.path)
