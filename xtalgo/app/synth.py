"""``xtalgo synth``: seeded synthetic quotes as recordings, one Parquet file per instrument and session."""

from __future__ import annotations

import datetime as dt
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from attrs import field, frozen

from xtalgo.model.errors import ConfigError
from xtalgo.model.instruments import Contract, ContractBook

__all__ = ["SOURCE", "SynthPlan", "Written", "next_session_day", "parse_day", "split_names", "write_sessions"]

SOURCE = "xtalgo synth"
"""What the files say of where they come from."""

_MOST_SESSIONS = 1_000
_ANY = 2**63 - 1


def _at_least(least: int, most: int = _ANY) -> Callable[[object, object, int], None]:
    def check(_instance: object, attribute: object, value: int) -> None:
        if not least <= value <= most:
            name = getattr(attribute, "name", "value")
            limit = "" if most == _ANY else f" to {most:,}"
            raise ConfigError(f"--{name} is a whole number from {least}{limit}, not {value}")

    return check


@frozen(kw_only=True)
class SynthPlan:
    """What to make. The same plan gives the same quotes, and the same bytes with the same version of pyarrow."""

    out: Path
    instruments: tuple[str, ...]
    """Roots, which get ``contract_month``, or dated names."""
    sessions: int = field(validator=_at_least(1, _MOST_SESSIONS))
    start: dt.date
    """The first session's day; the market begins there."""
    contract_month: str
    """``06-26``."""
    seed: int = field(validator=_at_least(0))

    @property
    def command(self) -> str:
        """The command line that makes these files, with the last part of the folder's name alone."""
        out = self.out.name or self.out.resolve().name
        return (
            f"xtalgo synth --out {shlex.quote(out)} --instruments {shlex.quote(','.join(self.instruments))} "
            f"--sessions {self.sessions} --start {self.start} --contract-month {self.contract_month} --seed {self.seed}"
        )

    def days(self) -> list[dt.date]:
        """The days the sessions are named after."""
        days = [self.start]
        while len(days) < self.sessions:
            days.append(next_session_day(days[-1]))
        return days

    def contracts(self, book: ContractBook) -> list[Contract]:
        """The contracts by their canonical names. ConfigError for names that are none."""
        if not re.fullmatch(r"(0[1-9]|1[0-2])-\d\d", self.contract_month):
            raise ConfigError(f"--contract-month is written MM-YY, such as 06-26, not {self.contract_month!r}")
        if not self.instruments:
            raise ConfigError("--instruments names one or more instruments, such as ES,MNQ")
        names = []
        for text in self.instruments:
            name = book.parse(text)
            names.append(name.dated(self.start.year) if name.is_dated else f"{name.root} {self.contract_month}")
        if len(set(names)) < len(names):
            raise ConfigError(f"--instruments names one instrument twice: {', '.join(names)}")
        return [book.contract(name) for name in names]

    def path(self, contract: Contract, day: dt.date) -> Path:
        """The file of one instrument and session."""
        name = re.sub(r"[^\w .-]", "_", contract.name)
        return self.out / f"{name} {day}.parquet"


@frozen
class Written:
    """One file that was written."""

    path: Path
    rows: int
    size: int


def next_session_day(day: dt.date) -> dt.date:
    """The next day that a session is named after: Monday to Friday; holidays are not known here."""
    return day + dt.timedelta(days=3 if day.weekday() == 4 else 1)


def write_sessions(plan: SynthPlan, book: ContractBook, *, force: bool = False) -> Iterator[Written]:
    """Write the files of a plan one by one. ConfigError before anything is written if one exists, unless ``force``."""
    from xtalgo.data.quotes import write_quotes
    from xtalgo.sim.market import SyntheticMarket
    from xtalgo.sim.profile import specs_for

    contracts = plan.contracts(book)
    market = SyntheticMarket(plan.seed, specs_for([contract.name for contract in contracts], book), plan.start)
    taken = [plan.path(contract, day) for day in plan.days() for contract in contracts]
    taken = [path for path in taken if path.exists()]
    if taken and not force:
        more = f" (and {len(taken) - 1} more)" if len(taken) > 1 else ""
        raise ConfigError(f"{taken[0]}{more} is there already; --force overwrites")
    try:
        plan.out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(f"--out {plan.out}: cannot be made: {error.strerror or error}") from None
    for day in plan.days():
        session = market.session(day)
        for seq, contract in enumerate(contracts):
            quotes = session[contract.name]
            path = write_quotes(
                plan.path(contract, day),
                contract,
                ts=quotes.ts,
                bid=quotes.prices("bid"),
                ask=quotes.prices("ask"),
                last=quotes.prices("last"),
                volume=quotes.volume,
                bid_size=quotes.bid_size,
                ask_size=quotes.ask_size,
                # One frame carries all instruments under one stamp: their order in it, whatever the files' order.
                seq=[seq] * len(quotes),
                source=SOURCE,
                synthetic=True,
                notes={"command": plan.command, "seed": str(plan.seed), "session": str(day)},
            )
            yield Written(path, len(quotes), path.stat().st_size)


def parse_day(text: str) -> dt.date:
    """A day written YYYY-MM-DD."""
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        raise ConfigError(f"--start is a day written YYYY-MM-DD, not {text!r}") from None


def split_names(texts: Sequence[str]) -> tuple[str, ...]:
    """Instruments that are separated by commas or given one by one."""
    return tuple(name.strip() for text in texts for name in text.split(",") if name.strip())
