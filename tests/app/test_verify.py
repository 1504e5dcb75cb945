"""Runs that are written down, lived again from their journal, and taken up again."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import pytest
import trio
from app.liveruns import DEMO, SERVER, TOKEN, Life, conduct, later, life
from app.support import ROOT, Xtalgo, write
from tables import START

from xtalgo.app import exits, journaling
from xtalgo.app.config import load_settings
from xtalgo.app.haltfile import HaltFile
from xtalgo.app.journaling import Keeping, facts_of
from xtalgo.app.loader import load_strategies
from xtalgo.app.verify import Verdict, verify
from xtalgo.data.journal import Journal, JournalFailed, read
from xtalgo.data.journal_schema import TABLES
from xtalgo.live.resume import Estate
from xtalgo.model.errors import ConfigError
from xtalgo.protocol.dialect import Dialect, values_of
from xtalgo.sim import bodies

ES = "ES 06-26"

TRADER = """\
import enum

from xtalgo import Instrument, Quote, Strategy
from xtalgo.sim import bodies


class Way(enum.Enum):
    UP = "up"
    DOWN = "down"


class Swing(Strategy):
    instrument: Instrument = "ES"
    every: int = 4
    way: Way = Way.UP
    sizes: tuple[int, ...] = (1, 2)

    def on_start(self) -> None:
        self.seen = 0
        self.note("owned", position=self.position(self.instrument), orders=len(self.orders()))

    def on_quote(self, quote: Quote) -> None:
        self.seen += 1
        if self.seen % self.every == 0:
            size = self.sizes[self.seen // self.every % len(self.sizes)]
            (self.buy if self.way is Way.UP else self.sell)(self.instrument, size, stop_loss=8, take_profit=4)
        if self.seen % 11 == 0:
            self.close(self.instrument)
"""


@contextmanager
def kept(
    folder: Path, target: Any = SERVER, *, parameters: Sequence[str] = (), resume: bool = False, **how: Any
) -> Iterator[Life]:
    """A run of ``swing.py`` with a journal, ``run.db``, that has not begun."""
    accepts = how.pop("accepts", False)
    one = life(target=target, **how)
    strategies = load_strategies(["swing.py"], (), parameters)
    settings, dialect = one.run.plan.settings, one.run.plan.spoken.dialect
    opened = (
        journaling.resume(START, target, settings, strategies, "run.db", accepts=accepts, dialect=dialect)
        if resume
        else journaling.begin(START, target, settings, strategies, "run.db", dialect=dialect)
    )
    with opened as keeping:
        one.run.plan = attrs.evolve(one.run.plan, strategies=strategies, keeping=keeping)
        yield one


@pytest.fixture
def swing(folder: Path) -> Path:
    return write(folder, "swing.py", TRADER)


def same(path: Path) -> Verdict:
    verdict = verify(path)
    assert verdict.difference is None, str(verdict.difference)
    return verdict


async def test_a_run_is_lived_again_in_its_dialect(folder: Path, swing: Path, autojump_clock: Any) -> None:
    """P&L keys that nobody could guess, events, words of the rate limit: the journal says how the venue spoke."""
    dialect = Dialect(
        pnl_keys=values_of("pnl_keys")[5], events="nt8", rate_text="Too many requests, slow down", change_id="new"
    )
    with kept(folder, duration=40, dialect=dialect) as one:
        await conduct(one)
        assert one.trader.pnl["Sim101"].realized is not None
        assert one.engine.blotter.fills
    assert same(folder / "run.db").lives
    with read(folder / "run.db") as reader:
        facts = facts_of(reader.header)
        assert facts.dialect == dialect
        assert facts.dialect.confirms("pnl_keys", "events")
    with (
        pytest.raises(ConfigError, match=r"setting dialect\.caller_id: .*add --accept-changes"),
        kept(folder, duration=40, resume=True),
    ):
        pass


# --- the same again --------------------------------------------------------------------------------------------------

STORMS = {
    "calm": {},
    "drops": {"drop_at": [9, 17, 26]},
    "losses": {"lose_reply": 0.2, "lose_request": 0.1, "rate_refusal": 0.1, "garbage": 0.1, "double_reply": 0.2},
    "silence": {"silence": [[8, 34]]},
    "offline": {"addon_offline": [[10, 22]]},
}


@pytest.mark.parametrize("storm", STORMS)
async def test_a_run_is_the_same_again(autojump_clock, folder: Path, swing: Path, storm: str) -> None:
    with kept(folder, duration=40, on_stop="flatten", faults={"seed": 3, **STORMS[storm]}) as one:
        await conduct(one)
        chain = one.run.plan.keeping.journal.chain
    verdict = same(folder / "run.db")
    assert verdict.lives == 1
    assert verdict.chain == chain
    assert verdict.turns > 50
    assert verdict.decisions == len(one.engine.decisions) > 3
    await trio.Path(swing).unlink()  # the source is the journal's
    assert same(folder / "run.db") == verdict
    if storm == "drops":
        assert one.trader.health.drops >= 3


async def test_paper_leaps_and_halts_are_the_same_again(autojump_clock, folder: Path, swing: Path) -> None:
    with kept(folder, attrs.evolve(SERVER, is_paper=True), duration=30) as one:
        halt = HaltFile(folder / "HALT", clock=trio.current_time)
        one.run._halt_file = halt
        async with trio.open_nursery() as nursery:
            nursery.start_soon(later, 10, lambda: one.session._leap(one.run.clock.now(), 5_000_000_000))
            nursery.start_soon(later, 15.5, halt.set)
            nursery.start_soon(later, 20.5, halt.clear)
            await conduct(one)
    with read(folder / "run.db") as reader:
        kinds = {item.kind for item in reader.inputs()}
        notices = [told.text for told in reader.notices()]
    assert {"start", "link_up", "frame", "advance", "leap", "halt", "stop"} <= kinds
    assert f"HALT: there is a HALT file, {folder / 'HALT'}: entries are cancelled and denied" in "\n".join(notices)
    assert "HALT: no longer halted" in notices
    assert one.engine.denials["halted"] >= 1
    same(folder / "run.db")


async def test_parameters_of_any_type_come_back(autojump_clock, folder: Path, swing: Path) -> None:
    with kept(folder, duration=20, parameters=["way=DOWN", "sizes=3,1,2", "every=3"]) as one:
        await conduct(one)
    assert same(folder / "run.db").decisions > 3


async def test_a_run_on_a_real_account_is_lived_again(
    folder: Path, swing: Path, autojump_clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = bodies.account_row
    monkeypatch.setattr(bodies, "account_row", lambda *args: {**row(*args), "provider": "Rithmic"})
    with kept(folder, attrs.evolve(SERVER, allows_real=True), duration=40) as one:
        await conduct(one)
        assert one.engine.blotter.fills
    assert same(folder / "run.db").decisions > 3


def test_settings_come_back(folder: Path, swing: Path) -> None:
    write(folder, "xtalgo.toml", "[instruments.FOO]\ntick_size = 0.1\npoint_value = 7\n")
    flags = {"daily_loss": "500", "max_contracts": "4", "trading_hours": "09:30-15:55 America/New_York"}
    settings = load_settings({**flags, "external": "keep", "start_behavior": "adopt"})
    header = journaling.header_of("x", START, SERVER, settings, load_strategies(["swing.py"]))
    facts = facts_of(header)
    assert facts.limits == settings.replay.limits
    assert facts.contracts.extra == settings.contracts.extra
    assert (facts.mode, facts.keeps_external, facts.adopts) == ("server", True, True)
    assert TOKEN not in header.settings


# --- not the same ----------------------------------------------------------------------------------------------------


def forge(path: Path, table: str, change: str, like: str) -> None:
    """Change a row as somebody would who knows about checksums."""
    found = TABLES[table]
    with sqlite3.connect(path) as db:
        (number,) = db.execute(f"SELECT max({found.key}) FROM {table} WHERE {like}").fetchone()
        db.execute(f"UPDATE {table} SET {change} WHERE {found.key} = {number}")
        row = db.execute(f"SELECT {found.names} FROM {table} WHERE {found.key} = {number}").fetchone()
        db.execute(f"UPDATE {table} SET sum = ? WHERE {found.key} = {number}", (found.sum(row[:-1]),))
    db.close()


async def written(folder: Path, **how: Any) -> Path:
    with kept(folder, duration=20, **how) as one:
        await conduct(one)
    return folder / "run.db"


async def test_another_source_decides_otherwise(autojump_clock, folder: Path, swing: Path, xtalgo: Xtalgo) -> None:
    path = await written(folder)
    text = TRADER.replace("stop_loss=8", "stop_loss=9")
    digest = journaling.StrategySource.of("Swing", "swing.py", text).sha256
    forge(path, "strategies", f"source = replace(source, 'stop_loss=8', 'stop_loss=9'), sha256 = '{digest}'", "1")
    verdict = verify(path)
    assert verdict.difference is not None
    assert verdict.difference.what.startswith("decision ")
    assert '"place"' in verdict.difference.recorded
    outcome = xtalgo("verify", path)
    assert outcome.code == exits.NOT_SAME
    assert "not the same again: life 1, at input " in outcome.err
    assert "recorded: " in outcome.err
    assert "again: " in outcome.err


async def test_another_frame_is_another_turn(autojump_clock, folder: Path, swing: Path) -> None:
    path = await written(folder)
    forge(path, "inputs", "text = replace(text, '\"bid\":', '\"bid\":1')", "kind = 'frame' AND text LIKE '%\"bid\"%'")
    verdict = verify(path)
    assert verdict.difference is not None
    assert verdict.difference.what.startswith("turn ")


async def test_a_missing_turn_and_one_too_many(autojump_clock, folder: Path, swing: Path) -> None:
    path = await written(folder)
    forge(path, "turns", "event = replace(event, 'Quote', 'Quotes')", "event LIKE '[\"Quote\"%'")
    assert verify(path).difference is not None


async def test_the_chain_of_decisions_is_checked(autojump_clock, folder: Path, swing: Path) -> None:
    path = await written(folder)
    forge(path, "decisions", "decision = replace(decision, 'place', 'plact')", "decision LIKE '%place%'")
    with pytest.raises(JournalFailed, match="breaks the chain of hashes"):
        verify(path)


async def test_a_source_that_is_not_its_hash(autojump_clock, folder: Path, swing: Path) -> None:
    path = await written(folder)
    forge(path, "strategies", "source = source || '#'", "1")
    with pytest.raises(ConfigError, match="the source of Swing in the journal is not what its hash says"):
        verify(path)


async def test_a_strategy_that_looks_at_something_else_differs(autojump_clock, folder: Path, swing: Path) -> None:
    look = "__import__('pathlib').Path('odds.txt').read_text() == 'buy' and self.seen % self.every == 0"
    write(folder, "swing.py", TRADER.replace("self.seen % self.every == 0", look))
    write(folder, "odds.txt", "buy")
    path = await written(folder)
    assert same(path).decisions > 3
    write(folder, "odds.txt", "wait")
    difference = verify(path).difference
    assert difference is not None
    # The first thing that is missing is the turn in which the order's release was told.
    assert '"Released"' in difference.recorded


def test_what_is_no_journal(folder: Path, xtalgo: Xtalgo) -> None:
    write(folder, "run.db", "x" * 2000)
    for name in ("run.db", "none.db"):
        assert name in xtalgo("verify", name).error


# --- the command line ------------------------------------------------------------------------------------------------


def test_a_demo_is_written_down_where_it_says(folder: Path, swing: Path, xtalgo: Xtalgo) -> None:
    outcome = xtalgo("run", "swing.py", "--demo", "--for", "1")
    assert outcome.code == 0, outcome.err
    (path,) = journaling.runs_folder().glob("*.db")
    assert outcome.out.count(str(path)) == 2
    assert path.is_relative_to(folder) or path.exists()
    assert f"-x{path.stem.rpartition('-x')[2]}" in path.stem
    again = xtalgo("verify", path)
    assert again.code == 0, again.err
    assert again.out.startswith("same: ")
    assert xtalgo("run", "swing.py", "--demo", "--for", "1", "--no-journal").code == 0
    assert len(list(journaling.runs_folder().glob("*.db"))) == 1
    taken = xtalgo("run", "swing.py", "--demo", "--for", "1", "--journal", path)
    assert taken.code == 2
    assert "is there already" in taken.err


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--demo", "--resume", "run.db"], "--resume and --demo don't go together"),
        (["--resume", "none.db"], "none.db"),
        (["--demo", "--accept-changes"], "it needs --resume"),
        (["--demo", "--no-journal", "--journal", "x.db"], "--no-journal and --journal don't go together"),
        (["--url", "ws://127.0.0.1:1/", "--no-journal"], "and --no-journal don't go together: without a journal"),
        (["--replay", "es.csv", "--journal", "x.db"], "--replay and --journal don't go together"),
        (["--demo", "--start-behavior", "wait"], "--start-behavior: expected one of wait-flat, adopt, flatten"),
        (["--demo", "--external", "yes"], "--external: expected one of deny, keep, not 'yes'"),
    ],
)
def test_what_makes_no_sense(
    folder: Path, swing: Path, es: Path, xtalgo: Xtalgo, monkeypatch, arguments: list[str], expected: str
) -> None:
    if "--demo" not in arguments:
        monkeypatch.setenv("XTRADE_TOKEN", TOKEN)
    assert expected in xtalgo("run", "swing.py", *arguments).error
    assert not (folder / "x.db").exists()


# --- taken up again --------------------------------------------------------------------------------------------------


async def crashed(one: Life, seconds: float) -> None:
    """The run until it is cut off, without a word."""
    async with one.world.open(), trio.open_nursery() as nursery:
        nursery.start_soon(one.run.conduct, one.world.dial(TOKEN))
        await trio.sleep(seconds)
        nursery.cancel_scope.cancel()


async def test_a_run_that_is_taken_up_again_owns_what_it_had(autojump_clock, folder: Path, swing: Path) -> None:
    with kept(folder, duration=None, target=SERVER) as one:
        await crashed(one, 10)
        server = one.world.server
        held = one.engine.ledger.account_position("Sim101", ES)
        assert held
    with read(folder / "run.db") as reader:
        estate = Estate.of(reader)
    assert estate.positions() == {("Swing", "Sim101", ES): held}
    rows = dict(journaling.estate_rows(estate))
    assert rows["so far"].startswith("1 lives, ")
    with kept(folder, duration=20, target=SERVER, resume=True, on_stop="flatten") as two:
        two.world.host.server = two.world.server = server
        assert two.run.plan.keeping.run == f"{one.run.plan.keeping.run}.2"
        assert two.run.plan.keeping.changes == ()
        await conduct(two)
        note = two.engine.notes[0]
        assert note.facts["position"] == held
        two.run.verdict()
    assert two.run.left[0].is_flat
    keys = [order.key for order in server.venue.orders]
    assert len(keys) == len(set(keys))
    assert {key.rpartition("-")[0] for key in keys} == {one.run.plan.keeping.run, two.run.plan.keeping.run}
    assert same(folder / "run.db").lives == 2


async def test_changes_are_shown_and_must_be_accepted(autojump_clock, folder: Path, swing: Path) -> None:
    await written(folder)
    write(folder, "swing.py", TRADER.replace("stop_loss=8", "stop_loss=9"))
    how: dict[str, Any] = {"resume": True, "parameters": ["every=5"], "daily_loss": "900"}
    with pytest.raises(ConfigError) as caught, kept(folder, **how):
        pass
    for words in ("source changed", "parameter every: 4 -> 5", "setting risk.daily_loss", "add --accept-changes"):
        assert words in str(caught.value)
    with read(folder / "run.db") as reader:
        assert len(reader.headers) == 1
    with kept(folder, accepts=True, **how) as one:
        assert len(one.run.plan.keeping.changes) == 3
    with read(folder / "run.db") as reader:
        assert len(reader.headers) == 2


async def test_what_cant_be_taken_up(autojump_clock, folder: Path, swing: Path) -> None:
    path = await written(folder)
    with kept(folder, resume=True), pytest.raises(ConfigError, match="another process writes this journal"):
        journaling.resume(START, SERVER, load_settings(), (), "run.db", accepts=True).__enter__()
    with (
        pytest.raises(ConfigError, match="the accounts of this run are Sim101"),
        kept(folder, attrs.evolve(SERVER, accounts=("Sim102",)), resume=True),
    ):
        pass
    write(folder, "swing.py", TRADER.replace("Swing", "Swung"))
    with (
        pytest.raises(ConfigError, match="has orders of Swing, and the strategies given are Swung"),
        kept(folder, resume=True, accepts=True),
    ):
        pass
    path.unlink()
    write(folder, "swing.py", TRADER)
    with kept(folder, DEMO):
        pass
    with pytest.raises(ConfigError, match="in a demo can't be taken up again"), kept(folder, DEMO, resume=True):
        pass


def test_a_journal_that_is_not_kept_has_a_name_of_its_own() -> None:
    assert Keeping.nowhere().run != Keeping.nowhere().run
    assert Keeping.nowhere().journal is None
    assert Journal  # the type


def test_docs_tell_of_it() -> None:
    text = (ROOT / "docs" / "live.md").read_text("utf-8")
    for words in (
        "--journal",
        "--resume",
        "--accept-changes",
        "--start-behavior",
        "--external",
        "xtalgo verify",
        "HALT",
    ):
        assert words in text
