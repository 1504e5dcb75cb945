"""``xtalgo verify``: a run's recorded inputs through the strategies that it stored, and whether all comes out the same.

Nothing is dialled and nothing is written. Each life of the run begins with what the journal held when it began. Turn by
turn the engine must be handed what it was handed then, which also means that every recorded frame is decoded to what it
was then, and decide what it decided then.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

import msgspec
from attrs import define, frozen

from xtalgo import __version__
from xtalgo.app.exits import NotSame
from xtalgo.app.journaling import facts_of, prepare
from xtalgo.app.loader import parameters_of
from xtalgo.client.aslive import make_trader
from xtalgo.client.trader import Trader
from xtalgo.data.journal import Header, JournalReader, StrategySource, read
from xtalgo.data.journal_codec import to_json
from xtalgo.data.journal_rows import Decided, Input, Turn
from xtalgo.engine.orders import Order
from xtalgo.engine.strategy import Strategy
from xtalgo.live.recorder import Birth, Recorder
from xtalgo.live.resume import Estate, births
from xtalgo.model.commands import Mutation
from xtalgo.model.errors import ConfigError
from xtalgo.model.events import Fill
from xtalgo.model.types import NEVER, Ns

__all__ = ["Difference", "Verdict", "verify", "verify_run"]

_SHOWN = 400


@frozen
class Difference:
    """The first place at which the run was not the same again."""

    life: int
    input: str
    """The input that was being dealt with."""
    what: str
    recorded: str
    again: str

    def __str__(self) -> str:
        return (
            f"life {self.life}, at {self.input}: {self.what}\n  recorded: {_cut(self.recorded)}\n"
            f"  again:    {_cut(self.again)}"
        )


@frozen
class Verdict:
    """What came of it. ``difference`` is None where all was the same."""

    inputs: int
    turns: int
    decisions: int
    lives: int
    chain: str
    """The hash of the last decision."""
    difference: Difference | None = None
    notes: tuple[str, ...] = ()
    """What should be known about the journal."""
    is_recording: bool = False
    """Whether no strategy ran, so that there was nothing to decide."""


class _Differs(Exception):
    def __init__(self, what: str, recorded: str, again: str) -> None:
        super().__init__(what)
        self.facts = (what, recorded, again)


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}.."


# --- comparing -------------------------------------------------------------------------------------------------------


class _Ahead:
    """An iterator of which the next item can be looked at."""

    def __init__(self, items: Iterator[Any]) -> None:
        self._items = items
        self.head = next(items, None)

    def take(self, last: int) -> Any:
        """The next item, None when its number is beyond ``last`` or there is none."""
        head = self.head
        if head is None or head.number > last:
            return None
        self.head = next(self._items, None)
        return head


@define(eq=False)
class _Compared:
    """Takes a recorder's words and holds each against what the journal has."""

    turns: _Ahead
    decisions: _Ahead
    last_input: int = 0
    last_turn: int = 0
    last_decision: int = 0
    ends: tuple[int, int] = (NEVER, NEVER)
    """The last turn and the last decision of this life."""
    is_last: bool = False
    """Whether the last input of this life is dealt with: what followed from it may be cut off by the end."""
    same_turns: int = 0
    same_decisions: int = 0

    def input(self, number: int, ts: Ns, kind: str, text: str | bytes) -> None:
        self.last_input = number

    def turn(self, number: int, ts: Ns, event: bytes) -> None:
        self.last_turn = number
        told: Turn | None = self.turns.take(self.ends[0])
        text = event.decode("utf-8", "backslashreplace")
        if told is None:
            return self._beyond(f"turn {number}", text)
        if (told.number, told.ts, told.data) != (number, ts, text):
            raise _Differs(f"turn {number}", f"{told.number}: {told.data}", f"{number}: {text}")
        self.same_turns += 1
        return None

    def decision(self, number: int, turn: int, decision: tuple[int | float | str | None, ...]) -> None:
        self.last_decision = number
        told: Decided | None = self.decisions.take(self.ends[1])
        text = to_json(decision).decode()
        if told is None:
            return self._beyond(f"decision {number}", text)
        if (told.number, told.turn, told.data) != (number, turn, text):
            raise _Differs(
                f"decision {number}", f"{told.number} in turn {told.turn}: {told.data}", f"in turn {turn}: {text}"
            )
        self.same_decisions += 1
        return None

    def _beyond(self, what: str, text: str) -> None:
        if not self.is_last:
            raise _Differs(what, "nothing", text)

    def finish(self) -> None:
        """A life is over: nothing may be left."""
        for items, last, what in ((self.turns, self.ends[0], "turn"), (self.decisions, self.ends[1], "decision")):
            if (told := items.take(last)) is not None:
                raise _Differs(f"{what} {told.number}", told.data, "nothing")

    # What follows from turns and decisions is not compared for itself.

    def intent(self, command: Mutation, ts: Ns | None = None) -> None: ...

    def outcome(self, order_id: str, kind: str, text: str, ts: Ns) -> None: ...

    def fill(self, fill: Fill) -> bool:
        return True

    def order(self, order: Order) -> None: ...

    def mark(self, ts: Ns, account: str, kind: str, value: float) -> None: ...

    def notice(self, ts: Ns, text: str) -> None: ...

    def commit(self) -> None: ...


# --- a life ----------------------------------------------------------------------------------------------------------


def _strategies(header: Header) -> list[Strategy]:
    """The strategies of a head, made of the sources in it. Raises ConfigError when they can't be."""
    modules: dict[tuple[str, str], ModuleType] = {}
    found = []
    for number, item in enumerate(header.strategies):
        if StrategySource.of(item.name, item.file, item.source).sha256 != item.sha256:
            raise ConfigError(f"the source of {item.name} in the journal is not what its hash says")
        key = (item.file, item.sha256)
        if key not in modules:
            modules[key] = _module(item, f"verify@{number}@{item.sha256[:8]}")
        kind = getattr(modules[key], item.name.partition("-")[0], None)
        if not (isinstance(kind, type) and issubclass(kind, Strategy)):
            raise ConfigError(f"the source of {item.name} in the journal defines no strategy of that name")
        found.append(_made(kind, item))
    return found


def _module(item: StrategySource, name: str) -> ModuleType:
    module = ModuleType(name)
    module.__file__ = item.file
    sys.modules[name] = module
    try:
        with _beside(Path(item.file).absolute().parent):
            exec(compile(item.source, item.file, "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise ConfigError(
            f"{item.file}, as the journal has it, can't be run: {type(error).__name__}: {error}. Files that it imports "
            "are not in the journal and must lie where they were"
        ) from error
    return module


@contextmanager
def _beside(folder: Path) -> Iterator[None]:
    """Files that lay beside a strategy can be imported."""
    sys.path.insert(0, str(folder))
    importlib.invalidate_caches()
    try:
        yield
    finally:
        sys.path.remove(str(folder))


def _made(kind: type[Strategy], item: StrategySource) -> Strategy:
    texts = msgspec.json.decode(item.parameters, type=dict[str, Any])
    values = {}
    hints = {info.name: info.hint for info in parameters_of(kind)}
    for name, value in texts.items():
        if name not in hints:
            raise ConfigError(f"{item.name} in the journal has no parameter {name!r}, which the journal gives")
        try:
            values[name] = msgspec.convert(value, hints[name], strict=False)
        except (msgspec.ValidationError, TypeError) as error:
            raise ConfigError(f"{item.name}: {name} can't be made of {value!r}: {error}") from None
    return kind(**values)


@define(eq=False)
class _Life:
    """One life of the run, being lived again."""

    number: int
    trader: Trader
    recorder: Recorder

    def feed(self, item: Input) -> None:
        """What came in then comes in again."""
        trader, now = self.trader, item.ts
        if item.kind == "frame":
            trader.frame(item.text, now)
        else:
            facts = msgspec.json.decode(item.text, type=dict[str, Any])
            match item.kind:
                case "link_up":
                    trader.link_up(now)
                case "link_down":
                    trader.link_down(now, facts["reason"], facts["unsent"])
                case "unsent":
                    trader.unsent(now, facts["key"], facts["reason"])
                case "advance":
                    trader.advance(now)
                case "leap":
                    trader.leap(now, facts["by"])
                case "halt":
                    trader.halt(facts["why"], now)
                case "stop" if facts["mode"] == "look":
                    trader.look(now)
                case "stop":
                    trader.stop(facts["mode"], now)
                case _:
                    raise ConfigError(
                        f"input {item.number} is a {item.kind!r}, which xtalgo {__version__} doesn't know"
                    )
        trader.out.clear()
        trader.redial = ""
        trader.notices.clear()
        self.recorder.flush()


def _life(reader: JournalReader, header: Header, number: int, birth: Birth, now: Ns, compared: _Compared) -> _Life:
    facts = facts_of(header)
    estate = Estate.of(reader, birth.rows) if birth.rows else None
    trader = make_trader(
        _strategies(header),
        contracts=facts.contracts,
        accounts=header.accounts,
        limits=facts.limits,
        run=birth.run or header.run,
        real_allowed=facts.allows_real,
        prepare=prepare(estate, keeps_external=facts.keeps_external, adopts=facts.adopts, days=birth.days),
        dialect=facts.dialect,
    )
    recorder = Recorder(compared, trader)
    if estate is None:
        recorder.begin(now, birth)
    else:
        recorder.begin(now, birth, len(estate.adjustments), estate.offsets)
    return _Life(number, trader, recorder)


# --- the whole -------------------------------------------------------------------------------------------------------


def verify(path: str | Path) -> Verdict:
    """Live a run again and compare. Raises ConfigError or JournalFailed for what stands in the way."""
    with read(path) as reader:
        seal = reader.verify()
        if not any(header.strategies for header in reader.headers):
            notes = _notes(reader, seal)
            return Verdict(seal["inputs"][0], 0, 0, len(births(reader)), reader.chain, None, notes, is_recording=True)
        gaps = list(reader.gaps())
        if any(gap.name in ("inputs", "turns") for gap in gaps):
            first = next(gap for gap in gaps if gap.name in ("inputs", "turns"))
            raise ConfigError(
                f"{path}: {first.count} {first.name} from {first.first} on were never written, since the file could "
                "not be; without them the run can't be lived again"
            )
        begun = births(reader)
        compared = _Compared(_Ahead(reader.turns()), _Ahead(reader.decisions()))
        place = "its beginning"
        life: _Life | None = None
        difference: Difference | None = None
        inputs = 0
        try:
            for item, following in _pairs(reader.inputs()):
                place = f"input {item.number} ({item.kind})"
                compared.is_last = following is None or following.kind == "start"
                inputs += 1
                if item.kind == "start":
                    life = _born(reader, begun, item, compared)
                elif life is None:
                    raise ConfigError(f"{path}: its inputs don't begin with the start of a run")
                else:
                    life.feed(item)
                if compared.is_last:
                    compared.finish()
        except _Differs as differs:
            difference = Difference(0 if life is None else life.number, place, *differs.facts)
        return Verdict(
            inputs,
            compared.same_turns,
            compared.same_decisions,
            len(begun),
            reader.chain,
            difference,
            _notes(reader, seal),
        )


def _born(reader: JournalReader, begun: Sequence[tuple[int, Birth]], item: Input, compared: _Compared) -> _Life:
    number = [start for start, _ in begun].index(item.number)
    birth = begun[number][1]
    if not 1 <= birth.head <= len(reader.headers):
        raise ConfigError(f"life {number + 1} of the run has no head in the journal")
    header = reader.headers[birth.head - 1]
    ends = [NEVER, NEVER]
    if number + 1 < len(begun) and begun[number + 1][1].rows:
        rows = begun[number + 1][1].rows
        ends = [rows["turns"][1], rows["decisions"][1]]
    compared.ends = (ends[0], ends[1])
    if birth.rows:
        compared.last_turn, compared.last_decision = birth.rows["turns"][1], birth.rows["decisions"][1]
    return _life(reader, header, number + 1, birth, item.ts, compared)


def _pairs(items: Iterator[Input]) -> Iterator[tuple[Input, Input | None]]:
    before = next(items, None)
    for item in items:
        assert before is not None
        yield before, item
        before = item
    if before is not None:
        yield before, None


def _notes(reader: JournalReader, seal: Mapping[str, tuple[int, int]]) -> tuple[str, ...]:
    notes = []
    if reader.header.version != __version__:
        notes.append(f"written by xtalgo {reader.header.version}, verified by {__version__}")
    if not seal["inputs"][0]:
        notes.append("nothing came in")
    return tuple(notes)


def verify_run(path: str, write: Callable[[str], None]) -> None:
    """The command: say what came of it with ``write``. Raises NotSame with the first difference."""
    verdict = verify(path)
    for note in verdict.notes:
        write(f"note: {note}")
    lives = f", {verdict.lives} lives" if verdict.lives > 1 else ""
    if verdict.difference is not None:
        raise NotSame(f"{path}: not the same again: {verdict.difference}")
    if verdict.is_recording:
        write(f"nothing to decide: a recording without strategies; the file is whole, {verdict.inputs:,} inputs{lives}")
        return
    write(f"same: {verdict.inputs:,} inputs, {verdict.turns:,} turns, {verdict.decisions:,} decisions{lives}")
    write(f"chain of decisions: {verdict.chain}")
