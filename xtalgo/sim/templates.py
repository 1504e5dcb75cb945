"""ATM templates: what NinjaTrader would have saved under a name, given to the simulated server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from attrs import Attribute, field, frozen

from xtalgo.model.errors import ConfigError
from xtalgo.protocol.arguments import nearest

__all__ = ["BUILT_IN", "AtmBracket", "AtmTemplate", "templates_from_table"]

_MOST_TICKS: Final = 100_000
_MOST_CONTRACTS: Final = 10_000
_MOST_BRACKETS: Final = 9


def _whole(_instance: object, attribute: Attribute[int | None], value: object) -> None:
    most = _MOST_CONTRACTS if attribute.name == "quantity" else _MOST_TICKS
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= most):
        raise ConfigError(f"{attribute.name} must be a whole number from 1 to {most}, not {value!r}")


@frozen(kw_only=True)
class AtmBracket:
    """One stop and one target: their distance from the entry's price in ticks, and for how many contracts.

    Raises ConfigError, also where there is neither.
    """

    target: int | None = field(default=None, validator=_whole)
    stop: int | None = field(default=None, validator=_whole)
    quantity: int | None = field(default=None, validator=_whole)
    """Contracts of the entry that it protects; None for all that the brackets before it leave."""

    def __attrs_post_init__(self) -> None:
        if self.target is None and self.stop is None:
            raise ConfigError("a bracket needs a target or a stop, in ticks")


@frozen
class AtmTemplate:
    """A name, and the brackets that an entry's contracts go to in their order; the last takes the rest."""

    name: str
    brackets: tuple[AtmBracket, ...]

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.name, str) or not self.name.strip() or not self.name.isprintable():
            raise ConfigError(f"a template needs a printable name, not {self.name!r}")
        if not 1 <= len(self.brackets) <= _MOST_BRACKETS:
            raise ConfigError(f"{self.name}: a template has 1 to {_MOST_BRACKETS} brackets, not {len(self.brackets)}")
        for number, bracket in enumerate(self.brackets[:-1], 1):
            if bracket.quantity is None:
                raise ConfigError(f"{self.name}: bracket {number} needs a quantity, since others come after it")


BUILT_IN: Final = (
    AtmTemplate("Scalp", (AtmBracket(target=8, stop=8),)),
    AtmTemplate("TwoTargets", (AtmBracket(target=8, stop=12, quantity=1), AtmBracket(target=24, stop=12))),
    AtmTemplate("StopOnly", (AtmBracket(stop=20),)),
)
"""What a server has where it is given no templates: a scalp, a runner with two targets, and a stop alone."""


def templates_from_table(table: Mapping[str, Any]) -> tuple[AtmTemplate, ...]:
    """Templates as a TOML file has them; raises ConfigError that says where.

    ``[[template]]`` with ``name``, and either ``target``, ``stop`` and ``quantity`` or ``[[template.bracket]]`` with
    the same.
    """
    _known(table, ("template",), "the file")
    rows = table.get("template")
    if not isinstance(rows, list) or not rows:
        raise ConfigError("no [[template]] in it")
    templates = tuple(_template(row, number) for number, row in enumerate(rows, 1))
    names = [template.name.casefold() for template in templates]
    for template in templates:
        if names.count(template.name.casefold()) > 1:
            raise ConfigError(f"template {template.name!r} is there twice")
    return templates


def _template(row: object, number: int) -> AtmTemplate:
    if not isinstance(row, Mapping):
        raise ConfigError(f"template {number} is no table")
    name = row.get("name")
    where = f"template {name!r}" if isinstance(name, str) else f"template {number}"
    _known(row, ("name", "bracket", *_BRACKET), where)
    inline = {key: row[key] for key in _BRACKET if key in row}
    brackets = row.get("bracket")
    if brackets is not None and inline:
        raise ConfigError(f"{where}: {sorted(inline)[0]} stands beside [[template.bracket]]; put it into one of them")
    if brackets is not None and not isinstance(brackets, list):
        raise ConfigError(f"{where}: write its brackets as [[template.bracket]]")
    try:
        return AtmTemplate(row.get("name", ""), tuple(_bracket(each) for each in (brackets or [inline])))
    except ConfigError as error:
        raise ConfigError(str(error) if str(error).startswith(str(name)) else f"{where}: {error}") from None


_BRACKET: Final = ("target", "stop", "quantity")


def _bracket(row: object) -> AtmBracket:
    if not isinstance(row, Mapping):
        raise ConfigError("a bracket is no table")
    _known(row, _BRACKET, "a bracket")
    return AtmBracket(**row)


def _known(row: Mapping[str, Any], names: Iterable[str], where: str) -> None:
    for key in row:
        if key not in names:
            close = nearest(str(key), names)
            raise ConfigError(f"{where}: no key {key!r}{f'; did you mean {close}?' if close else ''}")
