"""The means of a probe: instructions, what is heard, replies, and what a script knows while it runs."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Callable, Generator, Mapping, Sequence
from functools import partial
from typing import Any, Final, TypeAlias, TypeVar

from attrs import define, field, frozen

from xtalgo.client.probing.redaction import Redaction
from xtalgo.model.errors import XtalgoError
from xtalgo.model.types import Ns
from xtalgo.protocol.choices import Place
from xtalgo.protocol.fields import some
from xtalgo.protocol.findings import Findings
from xtalgo.protocol.frames import EVENT_KINDS
from xtalgo.protocol.outcomes import PATTERNS, Cause

__all__ = [
    "Budget",
    "Cut",
    "Ended",
    "Exchange",
    "Heard",
    "Instruction",
    "Line",
    "Probe",
    "Reply",
    "Script",
    "Step",
    "Takeover",
    "Unanswered",
    "WrongToken",
    "is_stream",
    "reply_of",
]

T = TypeVar("T")

PATIENCE: Final = 8.0
"""Seconds that an answer may take."""

RATE_LIMIT: Final = re.compile(r"\brate[ _-]?limit|too many (requests|calls|messages)|slow down|throttl", re.IGNORECASE)
"""What a refusal for the rate limit is known by."""

_AGAIN: Final = 5
_PASSING: Final = (Cause.OFFLINE, Cause.TIMEOUT, Cause.TOKEN)


# --- instructions ----------------------------------------------------------------------------------------------------


class Budget(enum.Enum):
    """What a frame costs, so that whoever sends it waits for its token."""

    CALLS = enum.auto()
    ACTIONS = enum.auto()
    FREE = enum.auto()
    FORCED = enum.auto()
    """A call that is sent although there may be no token for it."""


@frozen
class Line:
    """A frame that came, and when."""

    text: str
    at: Ns
    frame: Any = field(eq=False, repr=False)
    """As JSON; None where it is none."""


@frozen
class Ended:
    """The end of a connection; ``code`` is None when no close frame came."""

    code: int | None
    reason: str

    def __str__(self) -> str:
        return f"{'no close frame' if self.code is None else f'code {self.code}'}{self.reason and f', {self.reason}'}"


@frozen
class Heard:
    """What came of an instruction, up to ``at``. ``status`` is that of a handshake that was refused."""

    at: Ns
    lines: tuple[Line, ...] = ()
    end: Ended | None = None
    status: int | None = None


@frozen
class Exchange:
    """Send frames in order, then listen for so many seconds, or until what came since will do."""

    texts: tuple[str, ...] = ()
    budget: Budget = Budget.CALLS
    seconds: float = PATIENCE
    until: Callable[[Sequence[Line]], bool] = lambda lines: False


@frozen
class Takeover:
    """Open another connection, and hear how the one before ends. The new one is used from then on."""

    seconds: float = 5.0


@frozen
class WrongToken:
    """Try a connection with a token that is none."""


Instruction: TypeAlias = Exchange | Takeover | WrongToken
Script: TypeAlias = Generator[Instruction, Heard, T]


class Cut(XtalgoError):
    """The connection ended in the middle of a step."""

    def __init__(self, end: Ended) -> None:
        super().__init__(f"the connection ended ({end})")


class Unanswered(XtalgoError):
    """A call was not answered."""


# --- replies ---------------------------------------------------------------------------------------------------------


@frozen
class Reply:
    """The answer to a call. ``place`` says where its error is, None where it has none."""

    line: Line
    body: Any
    place: Place | None
    error: str

    @property
    def is_good(self) -> bool:
        """Whether it has no error."""
        return self.place is None

    @property
    def rows(self) -> Mapping[str, Any]:
        """The body, where it is an object."""
        return self.body if isinstance(self.body, Mapping) else {}


def reply_of(line: Line) -> Reply:
    """What a frame says that has the id of a call."""
    frame: Mapping[str, Any] = line.frame
    body = frame.get("data")
    if frame.get("type") == "error":
        return Reply(line, body, Place.TYPED, some(frame.get("message", frame.get("error", ""))))
    if frame.get("error") not in (None, "", False):
        return Reply(line, body, Place.TOP, some(frame["error"]))
    if isinstance(body, Mapping) and body.get("success") is not True:
        if body.get("error") not in (None, "", False):
            return Reply(line, body, Place.DATA, some(body["error"]))
        if body.get("success") is False:
            return Reply(line, body, Place.DATA, some(body.get("message", body.get("detail", "success is false"))))
    return Reply(line, body, None, "")


def _is_event(line: Line) -> bool:
    return isinstance(line.frame, dict) and line.frame.get("type") in EVENT_KINDS


def is_stream(line: Line) -> bool:
    """Whether a frame comes by itself, and answers nothing."""
    kind = line.frame.get("type") if isinstance(line.frame, dict) else None
    return kind in ("marketData", "pnlUpdate", "resync", *EVENT_KINDS) or (kind == "status" and "state" in line.frame)


# --- what a script knows ---------------------------------------------------------------------------------------------


@define(eq=False)
class Probe:
    """One probe of one account: what it is about, what it found, and the orders that it placed."""

    account: str
    """As the user wrote it, then as the venue spells it."""
    instrument: str
    """As the user wrote it, then the dated name."""
    prefix: str
    """With which ids of calls and orders begin; it must be new each time, since the venue may keep ids."""
    findings: Findings = field(factory=Findings)
    redaction: Redaction = field(factory=Redaction)
    is_open: bool | None = None
    """Whether the market is open; None where that was not told."""
    tick: float = 0.0
    market: float | None = None
    """A price near the market."""
    has_working: bool = False
    """Whether an order was placed that may be working."""
    unseen: dict[float, str | None] = field(factory=dict)
    """The venue's ids of orders that were in no list yet, by their prices."""
    ids: set[str] = field(factory=set)
    """Every id under which an order of this probe was met."""
    prices: set[float] = field(factory=set)
    """Every price at which one was placed."""
    is_unsure: bool = False
    """Whether an order was sent and its answer is missing."""
    placed_at: Ns = 0
    """When an order was placed last."""
    pushed: list[Line] = field(factory=list)
    """Events that came while something else was listened for."""
    unknown_text: str | None = None
    """What the venue says of a function that there is not."""
    _calls: int = field(init=False, default=0)
    _placed: int = field(init=False, default=0)

    # --- words for the findings ----------------------------------------------------------------------------------

    def settle(self, name: str, value: Any, *lines: Line, doubt: str = "") -> None:
        """Note a fact, with the frames that it was concluded from."""
        self.findings.settle(name, value, "\n".join(map(self.shown, lines)), doubt)

    def leave(self, why: str, *names: str) -> None:
        """Note why fields can't be settled."""
        for name in names:
            self.findings.leave(name, self.redaction.text(why))

    def leave_rest(self, why: str, *names: str) -> None:
        """Note why for those of which nothing is noted yet."""
        self.leave(why, *(name for name in names if name not in self.findings.unsettled))

    def shown(self, line: Line) -> str:
        """A frame as it may be shown to others."""
        return self.redaction.frame(line.text)

    # --- talking -------------------------------------------------------------------------------------------------

    def say(
        self,
        *texts: str,
        budget: Budget,
        seconds: float = PATIENCE,
        until: Callable[[Sequence[Line]], bool] = lambda lines: False,
    ) -> Script[Heard]:
        """An exchange. Raises Cut when the connection ends in it."""
        heard = yield Exchange(texts, budget, seconds, until)
        self.pushed += (line for line in heard.lines if _is_event(line))
        if heard.end is not None:
            raise Cut(heard.end)
        return heard

    def listen(self, seconds: float) -> Script[Heard]:
        """Only listen."""
        return (yield from self.say(budget=Budget.FREE, seconds=seconds))

    def new_key(self) -> str:
        """The id of the next call."""
        self._calls += 1
        return f"{self.prefix}-{self._calls}"

    def try_ask(self, api: str, args: Mapping[str, Any], *, tries: int = 3, seconds: float = PATIENCE) -> Script[Any]:
        """Call a function; its ``Reply``, or None when no try was answered. Only reads may be tried again.

        One that is refused for the rate limit is made again, whatever it is: it is documented that it was not carried
        out. Raises Unanswered when that goes on, or when NinjaTrader is away: nothing follows from such an answer.
        """
        refusals = 0
        while tries:
            key = self.new_key()
            text = json.dumps({"action": "rpc", "id": key, "api": api, "args": args})
            heard = yield from self.say(text, budget=Budget.CALLS, seconds=seconds, until=partial(_has, key))
            reply = next((reply_of(line) for line in heard.lines if _key(line) == key), None)
            if reply is None:
                tries -= 1
            elif RATE_LIMIT.search(reply.error) and refusals < _AGAIN:
                refusals += 1
                yield from self.listen(2.0)
            elif RATE_LIMIT.search(reply.error) or _is_passing(reply.error):
                raise Unanswered(f"{api} was answered with: {self.redaction.text(reply.error)}")
            else:
                return reply
        return None

    def ask(self, api: str, *, tries: int = 3, **args: Any) -> Script[Reply]:
        """Call a function. Raises Unanswered when no try was answered."""
        reply = yield from self.try_ask(api, args, tries=tries)
        if reply is None:
            raise Unanswered(f"{api} was not answered within {PATIENCE:g} s{f', {tries} times' if tries > 1 else ''}")
        found: Reply = reply
        return found

    def answered(self, text: str, budget: Budget, *, seconds: float = 3.0, times: int = 2) -> Script[Heard]:
        """Send a frame that may get no answer, or end the connection; what it led to, streams left out.

        Silence counts when it came so many ``times`` and calls were answered after it; so does the end of the
        connection, which may have come by chance once.
        """
        silences = ends = 0
        while True:
            heard = yield Exchange((text,), budget, seconds, self._is_answered)
            lines = tuple(line for line in heard.lines if self._counts(line))
            if heard.end is not None:
                ends += 1
            elif not lines:
                yield from self.ask("ListAccounts")
                silences += 1
            if lines or max(ends, silences) >= times:
                return Heard(heard.at, lines, heard.end)

    def _is_answered(self, lines: Sequence[Line]) -> bool:
        return any(self._counts(line) for line in lines)

    def _counts(self, line: Line) -> bool:
        """Whether a frame may answer something that is no call: neither a stream's, nor a late answer to a call."""
        key = _key(line)
        return not is_stream(line) and (key is None or not key.startswith(f"{self.prefix}-"))

    # --- orders --------------------------------------------------------------------------------------------------

    @property
    def has_price(self) -> bool:
        """Whether it is known where an order can rest far away from the market."""
        return self.market is not None and self.tick > 0

    def next_price(self) -> float:
        """A price so far below the market that nothing fills there, and at which no other order of ours is."""
        assert self.market is not None
        self._placed += 1
        return round((int(self.market * 0.8 / self.tick) - self._placed) * self.tick, 10)

    def new_order_id(self) -> str:
        """An id of our choice."""
        return f"{self.prefix}o{self._placed + 1}"

    def place(self, order_id: str, **more: Any) -> Script[Reply]:
        """Place a BUY LIMIT of one, far below the market. Raises Unanswered when it may be there all the same."""
        price = self.next_price()
        self.unseen[price], self.has_working = None, True
        self.ids.add(order_id)
        self.prices.add(price)
        self.placed_at = (yield from self.listen(0.0)).at
        was_unsure, self.is_unsure = self.is_unsure, True
        reply = yield from self.ask(
            "PlaceOrder",
            tries=1,
            account=self.account,
            instrument=self.instrument,
            action="BUY",
            orderType="LIMIT",
            quantity=1,
            timeInForce="DAY",
            limitPrice=price,
            orderId=order_id,
            **more,
        )
        self.is_unsure = was_unsure
        self.placed_at = reply.line.at
        if not reply.is_good:
            self.unseen.pop(price, None)
        elif isinstance(told := reply.rows.get("orderId"), str):
            self.ids.add(told)
            self.unseen[price] = told
        return reply

    def see(self, order_id: str, price: float | None) -> None:
        """An order was in a list."""
        self.unseen = {at: told for at, told in self.unseen.items() if at != price and told != order_id}

    @property
    def owes(self) -> bool:
        """Whether an order of this probe may be working."""
        return self.has_working or self.is_unsure


def _is_passing(error: str) -> bool:
    """Whether an error tells of the venue's state, rather than of the call."""
    cause = next((pattern.cause for pattern in PATTERNS if pattern.regex.search(error.strip())), None)
    return bool(error) and cause in _PASSING


def _key(line: Line) -> str | None:
    key = line.frame.get("id") if isinstance(line.frame, dict) else None
    return key if isinstance(key, str) else None


def _has(key: str, lines: Sequence[Line]) -> bool:
    return any(_key(line) == key for line in lines)


@frozen
class Step:
    """One step of a probe. ``tells`` says in one line what it is about to do at the venue."""

    name: str
    tells: str
    facts: tuple[str, ...]
    script: Callable[[Probe], Script[None]] = field(repr=False)
    needs_market: bool = False
    """Whether it finds nothing out while the market is closed."""
    trades: bool = False
    """Whether it places orders."""
