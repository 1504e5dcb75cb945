"""What a simulated server does wrong on purpose: scripted by time, or by seeded chance.

Times are in seconds since the server first heard the clock. Every kind of chance has a stream of its own, so that
switching one on doesn't move the others; the same seed and the same inputs give the same faults.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import numpy as np
from attrs import Attribute, define, field, frozen

from xtalgo.model.errors import ConfigError
from xtalgo.model.types import SECOND_NS, Ns
from xtalgo.protocol.arguments import nearest
from xtalgo.protocol.dialect import Dialect
from xtalgo.sim.paths import stream

__all__ = ["TAKEOVER_CODE", "TAKEOVER_REASON", "Delay", "Faults", "Handshake", "Mishaps", "ScriptedClose", "Span"]

TAKEOVER_CODE: Final = Dialect().takeover_code
"""Close code of the connection that loses against a newer one. Assumed: no page or client names the real one."""

TAKEOVER_REASON: Final = Dialect().takeover_reason
"""Its close reason (documented)."""

_UNSENDABLE: Final = (1004, 1005, 1006, 1015)
_MOST_SECONDS: Final = 1e9

Span: TypeAlias = tuple[float, float]
"""From, and until (not included), in seconds."""


def _number(value: object, least: float = 0.0, most: float = _MOST_SECONDS) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
        raise ConfigError(f"a number from {least:g} to {most:g}, not {value!r}")
    return float(value)


def _whole(value: object, least: int, most: int = 2**31) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise ConfigError(f"a whole number from {least} to {most}, not {value!r}")
    return value


def _text(value: object) -> str:
    # A close frame holds 125 bytes, two of them for the code.
    if not isinstance(value, str) or len(value.encode("utf-8", "replace")) > 123:
        raise ConfigError(f"text of at most 123 bytes, not {value!r}")
    return value


def _code(value: object) -> int:
    code = _whole(value, 1000, 4999)
    if code in _UNSENDABLE:
        raise ConfigError(f"a close code that can be sent, not {code}; drop_at ends a connection without one")
    return code


def _parts(value: object, *names: str) -> list[Any]:
    """A short list, or a table with these keys."""
    if isinstance(value, Mapping):
        if unknown := set(map(str, value)) - set(names):
            raise ConfigError(f"a table of {', '.join(names)}, without {sorted(unknown)[0]!r}")
        return [value.get(name) for name in names]
    if isinstance(value, list | tuple) and len(value) <= len(names):
        return [*value, *[None] * (len(names) - len(value))]
    raise ConfigError(f"[{', '.join(names)}], not {value!r}")


def _many(value: object) -> list[Any] | tuple[Any, ...]:
    return value if isinstance(value, list | tuple) else [value]


@frozen
class Delay:
    """A chance, and by how many seconds something comes late."""

    probability: float = 0.0
    seconds: float = 0.0


@frozen
class Handshake:
    """Refuse the first ``attempts`` handshakes with an HTTP ``status``."""

    status: int
    attempts: int = 1


@frozen
class ScriptedClose:
    """Close whatever connection there is, in a second of one's choice."""

    at: float
    code: int
    reason: str = ""


def _span(value: object) -> Span:
    start, end = _parts(value, "from", "until")
    span = _number(start or 0.0), math.inf if end is None or end == math.inf else _number(end)
    if not span[0] < span[1]:
        raise ConfigError(f"[from, until] with from before until, not {value!r}")
    return span


def _spans(value: object) -> tuple[Span, ...]:
    if isinstance(value, list | tuple) and not any(isinstance(part, int | float) for part in value):
        return tuple(_span(part) for part in value)
    return (_span(value),)


def _delay(value: object) -> Delay:
    if isinstance(value, Delay):
        return value
    probability, seconds = _parts(value, "probability", "seconds")
    return Delay(_number(probability, 0, 1), _number(seconds))


def _handshake(value: object) -> Handshake | None:
    if value is None or isinstance(value, Handshake):
        return value
    status, attempts = _parts(value, "status", "attempts")
    return Handshake(_whole(status, 300, 599), 1 if attempts is None else _whole(attempts, 1))


def _close(value: object) -> ScriptedClose:
    if isinstance(value, ScriptedClose):
        return value
    at, code, reason = _parts(value, "at", "code", "reason")
    return ScriptedClose(_number(at), _code(code), "" if reason is None else _text(reason))


def _closes(value: object) -> tuple[ScriptedClose, ...]:
    if isinstance(value, list | tuple) and not any(isinstance(part, int | float) for part in value):
        return tuple(_close(part) for part in value)
    return (_close(value),)


def _times(value: object) -> tuple[float, ...]:
    return tuple(_number(part) for part in _many(value))


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise ConfigError(f"true or false, not {value!r}")
    return value


def _chance(value: object) -> float:
    return _number(value, 0, 1)


def _optional(convert: Callable[[object], Any]) -> Callable[[object], Any]:
    return lambda value: None if value is None else convert(value)


_PROMPT: Final = Delay()

_READ: Final[dict[str, Callable[[object], Any]]] = {
    "seed": lambda value: _whole(value, 0),
    "addon_offline": _spans,
    "silence": _spans,
    "drop_every": _optional(lambda value: _number(value, 0.001)),
    "drop_at": _times,
    "close_at": _closes,
    "takeover_at": _times,
    "takeover_code": _optional(_code),
    "takeover_reason": _optional(_text),
    "reject_handshake": _handshake,
    "lose_request": _chance,
    "lose_reply": _chance,
    "delay_reply": _delay,
    "double_reply": _chance,
    "garbage": _chance,
    "rate_refusal": _chance,
    "reject_order": _chance,
    "reassign_ids": _flag,
    "most_per_fill": _optional(lambda value: _whole(value, 1)),
    "slow_cancel": _number,
    "late_rows": _number,
}
"""How a value is read, from TOML or from code."""


def _checked(_cls: type, attributes: list[Attribute[Any]]) -> list[Attribute[Any]]:
    """Give every field a converter whose errors name it."""

    def converter(name: str) -> Callable[[object], Any]:
        def read(value: object) -> Any:
            try:
                return _READ[name](value)
            except ConfigError as error:
                raise ConfigError(f"faults: {name} must be {error}") from None

        return read

    return [attribute.evolve(converter=converter(attribute.name)) for attribute in attributes]


@frozen(kw_only=True, field_transformer=_checked)
class Faults:
    """Everything that can be made to go wrong. The defaults are a server without a fault."""

    seed: int = 0
    """Of all chances below."""
    addon_offline: tuple[Span, ...] = ()
    """Spans in which the add-on is away: calls fail (REST: 408) and no quotes or P&L come, while orders that rest at
    the exchange go on filling."""
    silence: tuple[Span, ...] = ()
    """Spans without marketData on a connection that otherwise lives."""
    drop_every: float | None = None
    """Each connection is dropped, without a close frame, so many seconds after it opened."""
    drop_at: tuple[float, ...] = ()
    """Seconds at which the connection is dropped without a close frame."""
    close_at: tuple[ScriptedClose, ...] = ()
    """``[seconds, code, reason]`` of each."""
    takeover_at: tuple[float, ...] = ()
    """Seconds at which somebody else, whom nobody sees, connects with the same token."""
    takeover_code: int | None = None
    """Close code of a takeover; that of the dialect when left out."""
    takeover_reason: str | None = None
    """Close reason of a takeover, empty to lose it; that of the dialect when left out."""
    reject_handshake: Handshake | None = None
    """``[status, attempts]``: the first handshakes are refused."""
    lose_request: float = 0.0
    """Chance that a call is neither carried out nor answered (REST: 504)."""
    lose_reply: float = 0.0
    """Chance that a call is carried out and not answered (REST: 504)."""
    delay_reply: Delay = _PROMPT
    """``[probability, seconds]``: the reply tells the state of its moment, and comes so much later."""
    double_reply: float = 0.0
    """Chance that a reply on the socket comes twice."""
    garbage: float = 0.0
    """Chance that a marketData frame is followed by one that makes no sense."""
    rate_refusal: float = 0.0
    """Chance that a call is refused as over the rate limit although it is not."""
    reject_order: float = 0.0
    """Chance that an order is accepted and then ends as Rejected."""
    reassign_ids: bool = False
    """Order ids in replies and rows are the server's own; the caller's still finds the order."""
    most_per_fill: int | None = None
    """Contracts that one quote fills on one side at most, so that larger orders fill in parts."""
    slow_cancel: float = 0.0
    """Seconds that an order stays in CancelPending, and may fill, after its cancel was answered."""
    late_rows: float = 0.0
    """Seconds after its placing for which an order is in no list and can't be looked up."""

    @classmethod
    def from_table(cls, table: Mapping[str, Any]) -> Faults:
        """From a TOML table. Raises ConfigError that names the key."""
        known = list(_READ)
        for key in table:
            if key not in known:
                close = nearest(str(key), known)
                hint = f"; did you mean {close}?" if close else f"; there are {', '.join(known)}"
                raise ConfigError(f"faults: there is no {key!r}{hint}")
        return cls(**table)


@define(eq=False)
class Mishaps:
    """Faults at work: when they are due, and what the dice say."""

    faults: Faults
    start: Ns
    """When the server first heard the clock."""
    _dice: dict[str, np.random.Generator] = field(factory=dict, init=False)

    def at(self, seconds: float) -> Ns:
        """The moment so many seconds after the start."""
        return self.start + round(seconds * SECOND_NS)

    def _inside(self, spans: tuple[Span, ...], now: Ns) -> bool:
        return any(self.at(start) <= now and (end == math.inf or now < self.at(end)) for start, end in spans)

    def is_offline(self, now: Ns) -> bool:
        """Whether the add-on is away."""
        return bool(self.faults.addon_offline) and self._inside(self.faults.addon_offline, now)

    def is_silent(self, now: Ns) -> bool:
        """Whether marketData is held back."""
        return bool(self.faults.silence) and self._inside(self.faults.silence, now)

    def _die(self, name: str) -> np.random.Generator:
        if name not in self._dice:
            self._dice[name] = stream(self.faults.seed, 0, f"faults/{name}")
        return self._dice[name]

    def happens(self, name: str, probability: float) -> bool:
        """Whether the fault of this name strikes this time."""
        return probability > 0 and float(self._die(name).random()) < probability

    def garbage(self, frame: str) -> str:
        """A frame that makes no sense, or not enough of it, made from a good one."""
        die = self._die("garbage/kind")
        cut = int(die.integers(1, max(2, len(frame))))
        kinds = (
            frame[:cut],
            frame[cut:],
            "",
            "null",
            "[]",
            "{}",
            '{"type":"marketData"}',
            '{"type":"marketData","quotes":{"instrument":"ES"}}',
            '{"type":"marketData","quotes":[{"bid":1.0,"ask":2.0},7,null]}',
            '{"type":"marketData","quotes":[{"instrument":"??","bid":NaN,"ask":"2","last":-1e999,"volume":-5}]}',
            '{"type":"somethingNew","payload":[1,2,3]}',
            '{"id":"nobody-asked","data":{"success":true}}',
            '{"data":{"success":true}}',
            "[" * 200 + "]" * 200,
        )
        return kinds[int(die.integers(len(kinds)))]
