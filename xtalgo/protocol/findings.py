"""What a probe found out: facts with how they were seen, and what could not be settled and why."""

from __future__ import annotations

import datetime as dt
from collections.abc import Mapping
from typing import Any, Final

from attrs import define, evolve, field, fields, frozen

from xtalgo.model.errors import ConfigError
from xtalgo.protocol.arguments import nearest
from xtalgo.protocol.choices import meant
from xtalgo.protocol.dialect import FIELDS, Dialect, plain

__all__ = ["FORMAT", "Fact", "Findings"]

FORMAT: Final = 1
"""Of the file."""


@frozen
class Fact:
    """One field of the dialect that was settled."""

    value: Any
    seen: str = ""
    """What it was concluded from: raw frames, with token and account names hidden."""
    doubt: str = ""
    """Why it is likely rather than certain; empty where nothing speaks against it."""


@define(kw_only=True)
class Findings:
    """Everything that a probe brought home. Times are UTC."""

    date: dt.datetime | None = None
    version: str = ""
    """Of xtalgo."""
    host: str = ""
    """Of the venue."""
    about: dict[str, str] = field(factory=dict)
    """What else was learned of account, plan and add-on, by name."""
    facts: dict[str, Fact] = field(factory=dict)
    unsettled: dict[str, str] = field(factory=dict)
    """Why, by field."""

    def settle(self, name: str, value: Any, seen: str = "", doubt: str = "") -> None:
        """Note a fact. Raises ConfigError for a value that the field can't have."""
        fact = Dialect.from_table({name: value})
        self.facts[name] = Fact(getattr(fact, name), seen, doubt)
        self.unsettled.pop(name, None)

    def leave(self, name: str, why: str) -> None:
        """Note why something could not be settled; what is settled stays so."""
        if name not in self.facts:
            self.unsettled[name] = why

    def keep(self, before: Findings) -> None:
        """Keep what was settled earlier and was not looked at, or not settled, this time."""
        for name, fact in before.facts.items():
            if name not in self.facts:
                when = "earlier" if before.date is None else f"on {before.date:%Y-%m-%d}"
                doubt = (
                    fact.doubt
                    if "found out" in fact.doubt
                    else "; ".join(filter(None, [fact.doubt, f"found out {when}"]))
                )
                self.facts[name] = evolve(fact, doubt=doubt)
                self.unsettled.pop(name, None)

    def dialect(self) -> Dialect:
        """The dialect: what was settled, and what is assumed for the rest."""
        return Dialect.from_table({name: fact.value for name, fact in self.facts.items()})

    def table(self) -> dict[str, Any]:
        """As a file has it."""
        found: dict[str, Any] = {"format": FORMAT}
        if self.date is not None:
            found["date"] = self.date
        found |= {name: value for name, value in (("xtalgo", self.version), ("host", self.host)) if value}
        if self.about:
            found["about"] = dict(self.about)
        found["facts"] = {name: _shown(self.facts[name]) for name in FIELDS if name in self.facts}
        if self.unsettled:
            found["unsettled"] = {name: self.unsettled[name] for name in FIELDS if name in self.unsettled}
        return found

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Findings:
        """From a file. A fact may be its value alone. Raises ConfigError that names the key."""
        _only(table, ("format", "date", "xtalgo", "host", "about", "facts", "unsettled"), "")
        if table.get("format", FORMAT) != FORMAT:
            raise ConfigError(f"format must be {FORMAT}, not {table['format']!r}: it is for another xtalgo")
        date = table.get("date")
        if date is not None and not (isinstance(date, dt.datetime) and date.tzinfo is not None):
            raise ConfigError(f"date must be a time as 2026-05-04T13:30:00Z, not {date!r}")
        found = cls(date=date, version=_text(table, "xtalgo"), host=_text(table, "host"))
        found.about = {str(name): _text(_of(table, "about"), name, "about.") for name in _of(table, "about")}
        facts = _of(table, "facts")
        _only(facts, FIELDS, "facts.")
        for name, told in facts.items():
            found.facts[name] = _fact(name, told)
        left = _of(table, "unsettled")
        _only(left, FIELDS, "unsettled.")
        for name in left:
            if name in found.facts:
                raise ConfigError(f"unsettled.{name}: it is settled under facts.{name}")
            found.unsettled[name] = _text(left, name, "unsettled.")
        return found


def _shown(fact: Fact) -> dict[str, Any]:
    told = {"value": plain(fact.value), "seen": fact.seen, "doubt": fact.doubt}
    return {name: value for name, value in told.items() if name == "value" or value}


def _fact(name: str, told: object) -> Fact:
    if isinstance(told, Mapping) and "value" in told:
        _only(told, [each.name for each in fields(Fact)], f"facts.{name}.")
        seen, doubt = (_text(told, key, f"facts.{name}.") for key in ("seen", "doubt"))
        value: Any = told["value"]
    else:
        value, seen, doubt = told, "", ""
    return Fact(getattr(Dialect.from_table({name: value}), name), seen, doubt)


def _of(table: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = table.get(name, {})
    if not isinstance(found, Mapping):
        raise ConfigError(f"{name} must be a table, written as [{name}], not {found!r}")
    return found


def _text(table: Mapping[str, Any], name: str, where: str = "") -> str:
    found = table.get(name, "")
    if not isinstance(found, str):
        raise ConfigError(f"{where}{name} must be text, not {found!r}")
    return found


def _only(table: Mapping[str, Any], known: tuple[str, ...] | list[str], where: str) -> None:
    for name in table:
        if name not in known:
            close = nearest(str(name), known)
            hint = meant(close) or f"; there are {', '.join(known)}"
            raise ConfigError(f"there is no {where}{name}{hint}")
