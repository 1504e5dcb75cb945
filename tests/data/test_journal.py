"""The run journal: what goes in comes out, nobody else writes it, and a file that can't be written loses nothing.

To renew the tables in docs/journal.md after a change: python tests/data/test_journal.py
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec
import pytest

if __name__ != "__main__":
    from data.journals import NAMES, START, Writer, contents, fill, header, place, shape, written

from xtalgo.data.journal import (
    Journal,
    StrategySource,
    encode_event,
    read,
)
from xtalgo.data.journal_reader import NO_HASH
from xtalgo.data.journal_rows import Input, Mark, Outcome, Told
from xtalgo.data.journal_schema import INPUTS, SEAL, TABLES
from xtalgo.engine.orders import Blotter, Order
from xtalgo.model.commands import CancelOrder
from xtalgo.model.errors import ConfigError, LocalProtocolError
from xtalgo.model.events import LinkDown, Quote
from xtalgo.model.types import Side, Trigger

DOCS = Path(__file__).parents[2] / "docs" / "journal.md"


# --- what goes in comes out ------------------------------------------------------------------------------------------


def test_everything_comes_back(path: Path, journal: Journal) -> None:
    quote, down = Quote(START, "ES 06-26", 7113.25, 7113.5), LinkDown(START + 1, "closed by the other side")
    journal.input(1, START, "start", "")
    journal.input(3, START + 1, "frame", '{"type":"pong","text":"ü\x00🙂"}')
    journal.input(4, START + 2, "frame", b"\x00\xff{}")
    journal.turn(1, START, encode_event(quote))
    journal.turn(2, START + 1, encode_event(down))
    journal.decision(1, 1, (START, "place", "r-1", Side.BUY, 1.5, None))
    journal.intent(place(), START)
    journal.intent(CancelOrder("r-1", "Sim101"))
    journal.outcome("r-1", "refused", "no such order", START + 5)
    journal.fill(fill(1, "r-9"))
    journal.mark(START, "Sim101", "equity", 50_000.5)
    journal.notice(START, "a line")
    order = Blotter("r").draft(START, "Fade", "Räuber 7", "ES 06-26", Side.SELL, 2, stop_price=7000.25, parent="r-0")
    journal.order(order)
    journal.commit()
    with read(path) as reader:
        assert reader.header == header()
        assert reader.last_number == 4
        assert list(reader.inputs()) == [
            Input(1, START, "start", ""),
            Input(3, START + 1, "frame", '{"type":"pong","text":"ü\x00🙂"}'),
            Input(4, START + 2, "frame", b"\x00\xff{}"),
        ]
        assert [turn.event for turn in reader.turns()] == [quote, down]
        assert [(found.number, found.turn, found.decision) for found in reader.decisions()] == [
            (1, 1, (START, "place", "r-1", 1, 1.5, None))
        ]
        assert [(found.ts, found.order_id, found.command) for found in reader.intents()] == [
            (START, "r-1", place()),
            (None, "r-1", CancelOrder("r-1", "Sim101")),
        ]
        assert list(reader.outcomes()) == [Outcome(1, START + 5, "r-1", "refused", "no such order")]
        assert list(reader.fills()) == [fill(1, "r-9")]
        assert list(reader.marks()) == [Mark(1, START, "Sim101", "equity", 50_000.5)]
        assert list(reader.notices()) == [Told(1, START, "a line")]
        (found,) = reader.orders()
        assert shape(found) == shape(order)
        assert list(reader.gaps()) == []
        reader.verify()


def test_orders_come_back_in_their_last_state_with_their_fills(path: Path, journal: Journal) -> None:
    blotter = Blotter("r")
    first, second = (
        blotter.draft(START, "Fade", "Sim101", "ES 06-26", Side.BUY, 2, limit_price=7113.25) for _ in range(2)
    )
    for order in (first, second):
        journal.order(order)
        blotter.step(order, Trigger.SUBMIT, START)
        blotter.step(order, Trigger.SEND, START)
        blotter.mark(order, cancel=True)
        journal.order(order)
        journal.order(order)
    for number in (1, 2):
        done = fill(number, first.id)
        blotter.book(first, done)
        assert journal.fill(done)
        journal.order(first)
    journal.commit()
    with read(path) as reader:
        assert [shape(order) for order in reader.orders()] == [shape(first), shape(second)]
        states = [(order.id, order.status, order.filled) for order in reader.order_states()]
        assert states == [
            ("r-1", "draft", 0),
            ("r-1", "sent", 0),
            ("r-2", "draft", 0),
            ("r-2", "sent", 0),
            ("r-1", "partial", 1),
            ("r-1", "filled", 2),
        ]
    with closing(sqlite3.connect(path)) as db:
        assert db.execute("SELECT id, status, pending_cancel FROM orders ORDER BY id").fetchall() == [
            ("r-1", "filled", 0),
            ("r-2", "sent", 1),
        ]


def test_every_field_of_an_order_and_a_fill_has_its_column() -> None:
    names = {name: tuple(column.name for column in TABLES[name].columns[1:]) for name in ("order_states", "fills")}
    assert set(names["order_states"]) == set(Order.__struct_fields__) - {"fills"}
    assert names["fills"] == type(fill(1)).__struct_fields__


def test_odd_values_are_kept_as_well_as_can_be(path: Path, journal: Journal) -> None:
    journal.input(1, START, "link_down", "no such file: a\udcffb ü")
    journal.turn(1, START, encode_event(LinkDown(START, "a\udcffb")))
    journal.decision(1, 1, (START, "x", "a\udcffb", math.nan, 10**30))
    journal.mark(START, "Sim101", "equity", math.nan)
    journal.mark(START, "Sim101", "equity", -0.0)
    journal.mark(START, "Sim101", "equity", 50_000)
    journal.fill(msgspec.structs.replace(fill(1), price=7113, fee=-0.0))
    journal.commit()
    with read(path) as reader:
        reader.verify()
        assert next(reader.inputs()).text == "no such file: a\\udcffb ü"
        assert next(reader.turns()).event == LinkDown(START, "a\\udcffb")
        assert next(reader.decisions()).decision == (START, "x", "a\\udcffb", None, 10**30)
        assert [mark.value for mark in reader.marks()] == [None, 0.0, 50_000.0]
        assert next(reader.fills()).price == 7113.0
    with pytest.raises(LocalProtocolError, match="too large"):
        journal.fill(msgspec.structs.replace(fill(2), executed=2**63))


def test_the_chain_of_decisions(path: Path, journal: Journal) -> None:
    assert journal.chain == NO_HASH
    expected = NO_HASH
    for number in (1, 2, 5):
        journal.decision(number, number, (START, "cancel", f"r-{number}"))
        text = f'[{START},"cancel","r-{number}"]'
        expected = hashlib.sha256(f"{expected}{text}".encode()).hexdigest()
        assert journal.chain == expected
    journal.commit()
    with read(path) as reader:
        assert [found.hash for found in reader.decisions()][-1] == expected == reader.chain
        assert [found.number for found in reader.decisions(after=1)] == [2, 5]


def test_only_what_was_committed_is_seen(path: Path, journal: Journal) -> None:
    journal.input(1, START, "frame", "{}")
    with read(path) as reader:
        assert list(reader.inputs()) == []
        journal.commit()
        assert [found.number for found in reader.inputs()] == [1]
        seen = reader.inputs()
        next(seen)
        journal.input(2, START, "frame", "{}")
        journal.commit()
        assert list(seen) == []  # as of its beginning
        assert [found.number for found in reader.inputs(after=1)] == [2]


def test_an_intent_is_committed_when_it_returns(path: Path, journal: Journal) -> None:
    with read(path) as reader:
        journal.input(1, START, "frame", "{}")
        journal.decision(1, 1, (START, "place", "r-1"))
        journal.intent(place())
        assert [found.order_id for found in reader.intents()] == ["r-1"]
        assert len(list(reader.decisions())) == len(list(reader.inputs())) == 1
        commits = reader.commits
        journal.commit()
        assert reader.commits == commits  # nothing new


def test_the_database_is_set_to_keep_its_word(journal: Journal) -> None:
    db = journal._store.db
    assert db.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert db.execute("PRAGMA synchronous").fetchone() == (2,)
    assert db.execute("PRAGMA fullfsync").fetchone() == (1,)


# --- wrong use -------------------------------------------------------------------------------------------------------


def test_numbers_grow_and_kinds_are_known(journal: Journal) -> None:
    for kind, number in zip(INPUTS, range(1, 100), strict=False):
        journal.input(number, START, kind, "")
    for number, kind in ((len(INPUTS), "frame"), (100, "frames")):
        with pytest.raises(LocalProtocolError, match=f"input {number}"):
            journal.input(number, START, kind, "")
    journal.turn(4, START, b"[]")
    with pytest.raises(LocalProtocolError, match="turn 4"):
        journal.turn(4, START, b"[]")
    journal.decision(4, 4, ())
    with pytest.raises(LocalProtocolError, match="decision 3"):
        journal.decision(3, 4, ())


def test_a_fill_is_kept_once(path: Path, journal: Journal) -> None:
    assert journal.fill(fill(1))
    assert not journal.fill(fill(1))
    journal.commit()
    assert not journal.fill(fill(1))
    assert not journal.fill(msgspec.structs.replace(fill(1), ts=START, fee=3.0))
    with pytest.raises(LocalProtocolError, match="says otherwise"):
        journal.fill(fill(1, price=1.0))
    journal.close()
    with Journal.resume(path) as again:
        assert not again.fill(fill(1))
        with pytest.raises(LocalProtocolError, match="says otherwise"):
            again.fill(fill(1, quantity=2))
        assert again.fill(fill(2))
    with read(path) as reader:
        assert list(reader.fills()) == [fill(1), fill(2)]


def test_a_closed_journal_takes_nothing(journal: Journal) -> None:
    journal.close()
    journal.close()
    for append in (
        lambda: journal.input(1, START, "frame", ""),
        lambda: journal.decision(1, 1, ()),
        lambda: journal.fill(fill(1)),
        lambda: journal.notice(START, ""),
        journal.commit,
    ):
        with pytest.raises(LocalProtocolError, match="closed"):
            append()


def test_a_journal_is_not_begun_over_another_file(path: Path, journal: Journal, tmp_path: Path) -> None:
    journal.close()
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="is there already"):
        Journal.create(path, header())
    assert path.read_bytes() == before
    other = tmp_path / "b.db"
    (tmp_path / "b.db-wal").write_bytes(b"what is left of a run")
    with pytest.raises(ConfigError, match=r"b\.db-wal: is there already"):
        Journal.create(other, header())
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(ConfigError, match="can't be used"):
        Journal.create(tmp_path / "file" / "c.db", header())


def test_a_second_writer_is_refused_by_name(path: Path, journal: Journal) -> None:
    for attempt in (Journal.resume, lambda path: Journal.create(path, header())):
        with pytest.raises(ConfigError, match=f"another process writes this journal .process {os.getpid()}, since 20"):
            attempt(path)
    journal.input(1, START, "frame", "{}")
    journal.close()
    with Journal.resume(path) as again:
        assert again.last_input == 1


# --- going on --------------------------------------------------------------------------------------------------------


def test_a_run_goes_on(path: Path, journal: Journal) -> None:
    writer = Writer(journal)
    for _ in range(120):
        writer.frame()
    journal.close()
    with read(path) as reader:
        before = contents(reader)
    with Journal.resume(path) as again:
        assert again.header == header()
        assert (again.last_input, again.last_turn) == (120, 120)
        assert again.chain == before["decisions"][-1].hash
        for order in writer.blotter.orders.values():
            again.order(order)  # as they are in the journal: nothing is written
        again.add_header(header(created=START + 1, version="0.2"))
        again.decision(again.last_decision + 1, 120, (START, "cancel", "r-1"))
        again.notice(START, "taken up again")
    with read(path) as reader:
        reader.verify()
        after = contents(reader)
        assert reader.headers == (header(), header(created=START + 1, version="0.2"))
        assert reader.header.version == "0.2"
    assert all(after[name][: len(before[name])] == before[name] for name in NAMES)
    assert {name for name in NAMES if after[name] != before[name]} == {"decisions", "notices"}


def test_what_changed_between_two_starts_is_told() -> None:
    assert header().changes(header(created=7)) == ()
    other = StrategySource.of("Fade", "moved/fade.py", "class Fade: pass\n", '{"fast":12,"size":1}')
    new = header(
        version="0.2",
        python="3.12.1",
        settings='{"risk":{"max_contracts":9},"paper":true}',
        accounts=("Sim101",),
        strategies=(other, StrategySource.of("Swing", "swing.py", "")),
    )
    hashes = [header().strategies[0].sha256[:12], other.sha256[:12]]
    assert header().changes(new) == (
        "xtalgo: 0.1 -> 0.2",
        "Python: 3.11.7 -> 3.12.1",
        "accounts: Sim101, Räuber 7 -> Sim101",
        "setting risk.max_contracts: 5 -> 9",
        f"strategy Fade: source changed ({hashes[0]} -> {hashes[1]})",
        "strategy Fade: parameter fast: 10 -> 12",
        "strategy Fade: parameter slow: 30 -> not set",
        "strategy Fade: parameter size: not set -> 1",
        "strategy Swing is new",
    )
    assert "strategy Fade is gone" in header().changes(header(strategies=()))


def test_a_closed_journal_is_one_file_that_reading_leaves_alone(path: Path, journal: Journal) -> None:
    Writer(journal).frame()
    journal.close()
    files = {path.name, f"{path.name}.lock"}
    assert {file.name for file in path.parent.iterdir()} == files
    with read(path) as reader:
        reader.verify()
        with Journal.resume(path) as again:
            again.input(2, START, "frame", "{}")
            again.commit()
            assert reader.last_number == 2
        assert reader.last_number == 2
    with Journal.resume(path):
        pass
    assert {file.name for file in path.parent.iterdir()} == files


# --- secrets ---------------------------------------------------------------------------------------------------------


def test_the_secret_never_gets_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    secret = "s3cr3t-t0ken"

    def hide(text: str) -> str:
        return text.replace(secret, "…")

    monkeypatch.setattr("sys.argv", ["xtalgo", f"--token={secret}"])
    path = tmp_path / "run.db"
    source = StrategySource.of(secret, secret, f"token = '{secret}'", f'{{"token":"{secret}"}}')
    told = header(settings=f'{{"token":"{secret}"}}', accounts=(secret,), strategies=(source,), run=secret)
    files: dict[str, bytes] = {}
    with Journal.create(path, told, hide=hide) as journal:
        journal.input(1, START, "frame", f"echo {secret} ü")
        journal.input(2, START, "frame", f"echo {secret}".encode())
        journal.turn(1, START, encode_event(LinkDown(START, f"bad token {secret}")))
        journal.decision(1, 1, (START, secret))
        journal.intent(CancelOrder(secret, secret))
        journal.outcome(secret, secret, secret, START)
        journal.fill(msgspec.structs.replace(fill(1), execution_id=secret, order_id=secret))
        journal.order(Blotter(secret).draft(START, secret, secret, secret, Side.BUY, 1, oco=secret))
        journal.mark(START, secret, secret, 1.0)
        journal.notice(START, secret)
        journal.commit()
        # The -shm file holds page numbers only, and can't be read by others on Windows.
        files |= {file.name: file.read_bytes() for file in tmp_path.iterdir() if not file.name.endswith("-shm")}
    files |= {f"closed {file.name}": file.read_bytes() for file in tmp_path.iterdir()}
    assert len(files["run.db-wal"]) > 10_000
    assert not [name for name, data in files.items() if secret.encode() in data]
    assert "…".encode() in files["closed run.db"]
    with Journal.resume(path, hide=hide) as journal:
        assert not journal.fill(msgspec.structs.replace(fill(1), execution_id=hide(secret), order_id=secret))


# --- docs ------------------------------------------------------------------------------------------------------------


def tables() -> str:
    parts = []
    for table in (*TABLES.values(), SEAL):
        rows = [f"| `{column.name}` | {column.type} | {column.text} |" for column in table.columns]
        rows.append("| `sum` | INTEGER | checksum of the row |")
        parts.append(
            "\n".join([f"### {table.name}\n\n{table.text}\n", "| column | type | what |", "|---|---|---|", *rows])
        )
    return "\n\n".join(parts)


def renew(text: str) -> str:
    found = re.search(r"(?<=<!-- tables -->\n\n).*?(?=\n\n<!-- end of tables -->)", text, re.DOTALL)
    assert found is not None
    return text[: found.start()] + tables() + text[found.end() :]


def test_the_docs_show_the_tables() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert renew(text) == text, "run: python tests/data/test_journal.py"


def test_the_queries_in_the_docs_run(tmp_path: Path) -> None:
    path = tmp_path / "run.db"
    for _ in written(path, 200):
        pass
    queries = re.findall(r"```sql\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert len(queries) >= 3
    with closing(sqlite3.connect(path)) as db:
        for query in queries:
            assert db.execute(query).fetchall(), query


def test_the_checksum_in_the_docs_is_how_it_is_made(tmp_path: Path) -> None:
    from zlib import crc32

    path = tmp_path / "run.db"
    for _ in written(path, 30):
        pass
    with closing(sqlite3.connect(path)) as db:
        for *row, told in db.execute("SELECT * FROM intents"):
            text = json.dumps(row, ensure_ascii=False, separators=(",", ":"))
            assert told == crc32(text.encode(), crc32(b"intents"))


if __name__ == "__main__":
    DOCS.write_text(renew(DOCS.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
