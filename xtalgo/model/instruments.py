"""Contract facts, and the many spellings of one instrument.

The canonical name is NinjaTrader's dated one, ``ES 06-26``. ``ESM26``, ``ESM6``, ``ES JUN26`` and ``es 6-26`` mean
the same contract; ``ES`` and ``ES1!`` mean "the one contract of this root that is at hand" and are pinned to a
dated name where the instruments at hand are known (a recording, or the venue).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from fractions import Fraction

import numpy as np
from attrs import Factory, field, frozen
from numpy.typing import NDArray

from xtalgo.model.errors import ConfigError
from xtalgo.model.roots import ROOTS

__all__ = ["Contract", "ContractBook", "InstrumentName", "parse_name"]

_MONTH_CODES = "FGHJKMNQUVXZ"
_MONTH_NAMES = ("JAN", "FEB", "MAR", "APR", "MAY", "JUN", "JUL", "AUG", "SEP", "OCT", "NOV", "DEC")

_DATED = re.compile(r"^([A-Z0-9]{1,6}) +(\d{1,2})-(\d{2}|\d{4})$")
_WORDED = re.compile(rf"^([A-Z0-9]{{1,6}}) +({'|'.join(_MONTH_NAMES)}) ?(\d{{2}}|\d{{4}})$")
_CODED = re.compile(rf"^([A-Z0-9]{{1,6}}?)([{_MONTH_CODES}])(\d{{1,2}}|\d{{4}})$")
_CONTINUOUS = re.compile(r"^([A-Z0-9]{1,6}?)\d!$")


@frozen
class InstrumentName:
    """What one spelling says: a root, and the delivery month as far as it is written down.

    ``year`` is the full year, ``year_digit`` the last digit where only that is written (``ESM6``); with neither
    and no ``month`` the name stands for a root.
    """

    root: str
    month: int | None = None
    year: int | None = None
    year_digit: int | None = None

    @property
    def is_dated(self) -> bool:
        """Whether this names one delivery month."""
        return self.month is not None

    def dated(self, near_year: int) -> str:
        """The canonical name; a one-digit year is the first such year from ``near_year - 1`` on."""
        if self.month is None:
            return self.root
        year = self.year
        if year is None:
            assert self.year_digit is not None
            first = near_year - 1
            year = first + (self.year_digit - first) % 10
        return f"{self.root} {self.month:02d}-{year % 100:02d}"


def parse_name(text: str, roots: Iterable[str] = ()) -> InstrumentName:
    """Read any accepted spelling of an instrument; ``roots`` are further names to take as they stand.

    Raises ConfigError for text that is none of the spellings.
    """
    name = " ".join(text.strip().upper().split())
    if name in ROOTS or name in {root.upper() for root in roots}:
        return InstrumentName(name)
    if match := _CONTINUOUS.match(name):
        return InstrumentName(match[1])
    if match := _DATED.match(name):
        month = int(match[2])
        if 1 <= month <= 12:
            return InstrumentName(match[1], month, _full_year(match[3]))
    elif match := _WORDED.match(name):
        return InstrumentName(match[1], _MONTH_NAMES.index(match[2]) + 1, _full_year(match[3]))
    elif match := _CODED.match(name):
        month = _MONTH_CODES.index(match[2]) + 1
        if len(match[3]) == 1:
            return InstrumentName(match[1], month, year_digit=int(match[3]))
        return InstrumentName(match[1], month, _full_year(match[3]))
    elif re.fullmatch(r"[A-Z0-9./_^-]{1,12}", name):
        return InstrumentName(name)
    raise ConfigError(f"{text!r} is not an instrument name; write it as 'ES 06-26', 'ESM26', 'ESM6', 'ES1!' or 'ES'")


def _full_year(digits: str) -> int:
    return int(digits) if len(digits) == 4 else 2000 + int(digits)


def _tick_size(value: object) -> float:
    return _positive("tick_size", value)


def _point_value(value: object) -> float:
    return _positive("point_value", value)


def _ratio_of(contract: Contract) -> tuple[int, int]:
    exact = Fraction(repr(contract.tick_size))
    return exact.numerator, exact.denominator


@frozen
class Contract:
    """Facts of one instrument, and its tick arithmetic.

    ``tick_size`` is the smallest price step, ``point_value`` the money value of a move of 1.0 in the quoted price.
    Prices are floats at the edge; every comparison of money and every P&L goes through integer ticks. A canonical
    price is the float nearest to ``ticks * tick_size`` as an exact fraction, so that it equals the float that the
    decimal text in a file parses to, and canonical prices compare as their ticks do.
    """

    name: str
    root: str
    tick_size: float = field(converter=_tick_size)
    point_value: float = field(converter=_point_value)
    exchange: str = ""
    currency: str = "USD"
    description: str = ""
    _ratio: tuple[int, int] = field(init=False, repr=False, eq=False, default=Factory(_ratio_of, takes_self=True))

    @property
    def tick_value(self) -> float:
        """Money value of one tick for one contract."""
        return self.tick_size * self.point_value

    def to_ticks(self, price: float) -> int:
        """The whole number of ticks nearest to ``price``."""
        numerator, denominator = self._ratio
        return round(price * denominator / numerator)

    def to_price(self, ticks: int) -> float:
        """The canonical price of ``ticks``."""
        numerator, denominator = self._ratio
        return ticks * numerator / denominator

    def round(self, price: float) -> float:
        """The canonical price nearest to ``price``."""
        return self.to_price(self.to_ticks(price))

    def ticks_of(self, prices: NDArray[np.float64]) -> NDArray[np.int64]:
        """``to_ticks`` of a column; every price must be finite."""
        numerator, denominator = self._ratio
        return np.rint(prices * denominator / numerator).astype(np.int64)

    def prices_of(self, ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        """``to_price`` of a column."""
        numerator, denominator = self._ratio
        return np.asarray(ticks * numerator / denominator, dtype=np.float64)

    def money(self, ticks: float) -> float:
        """Money value of ``ticks`` times contracts."""
        return ticks * self.tick_value


def _positive(name: str, value: object) -> float:
    """A plain float; numpy's numbers are taken too."""
    if not isinstance(value, bool | str):
        try:
            number = float(value)  # type: ignore[arg-type]
        except (TypeError, ValueError):
            number = 0.0
        if 0 < number < float("inf"):
            return number
    raise ConfigError(f"{name} must be a positive number, not {value!r}")


@frozen
class ContractBook:
    """Looks contracts up by any spelling. ``extra`` holds facts by root or name, from ``xtalgo.toml``."""

    extra: Mapping[str, tuple[float, float]] = field(factory=dict)
    _known: dict[str, Contract] = field(factory=dict, init=False, repr=False, eq=False)

    def parse(self, text: str) -> InstrumentName:
        """``parse_name`` that also knows the undated names in ``extra``."""
        return parse_name(text, [name for name in self.extra if " " not in name])

    def contract(self, name: str) -> Contract:
        """The contract of a canonical name; ConfigError when its facts are not known."""
        found = self._known.get(name)
        if found is None:
            found = self._known[name] = self._look_up(name)
        return found

    def _look_up(self, name: str) -> Contract:
        root = self.parse(name).root
        extra = {key.upper(): facts for key, facts in self.extra.items()}
        given = extra.get(name.upper()) or extra.get(root)
        if given is not None:
            return Contract(name, root, *given)
        facts = ROOTS.get(root)
        if facts is None:
            key = root if root.isalnum() else f'"{root}"'
            raise ConfigError(
                f"no contract facts for {name!r}; add them to xtalgo.toml:\n"
                f"  [instruments.{key}]\n  tick_size = 0.25\n  point_value = 50"
            )
        return Contract(name, root, facts.tick_size, facts.point_value, facts.exchange, "USD", facts.description)

    def pin(self, text: str, held: Iterable[str], where: str = "the recording") -> str:
        """The one canonical name among ``held`` that ``text`` stands for.

        Raises ConfigError that lists what is held when there is none, or more than one.
        """
        wanted = self.parse(text)
        names = list(held)
        matches = [name for name in names if _stands_for(wanted, self.parse(name))]
        if len(matches) == 1:
            return matches[0]
        listing = ", ".join(sorted(names)) or "nothing"
        if not matches:
            raise ConfigError(f"{where} has no {text!r}; it holds {listing}")
        raise ConfigError(f"{text!r} could be any of {', '.join(sorted(matches))}; name one. {where} holds {listing}")


def _stands_for(wanted: InstrumentName, held: InstrumentName) -> bool:
    if wanted.root != held.root:
        return False
    if not wanted.is_dated:
        return True
    if wanted.month != held.month:
        return False
    if wanted.year is not None:
        return wanted.year == held.year
    return held.year is not None and held.year % 10 == wanted.year_digit
