"""From whatever is open to a venue that says twice that nothing is: cancel, flatten, ask, and again if need be.

A state machine without a socket: ``next`` says what to call, ``take`` hears how it ended, ``due`` says when to ask for
more, and ``verdict`` says how it ended. One call is under way at a time, so a round is always asked after the last
mutation was answered or fell in doubt (R1 of the design). Orders are asked for before positions: an order that doesn't
work any more when the first list is made can't move the position that the second one tells.

It moves towards flat only, on one account, and a mutation of unknown outcome is not made again before a later round
shows that something is still open.
"""

from __future__ import annotations

import enum
from collections import deque
from collections.abc import Callable, Iterable
from typing import Final

import msgspec
from attrs import define, field

from xtalgo.model.errors import ConfigError
from xtalgo.model.reports import OrderReport, PositionReport
from xtalgo.model.types import MILLISECOND_NS, NEVER, SECOND_NS, Ns

__all__ = ["DEADLINE", "Call", "End", "Flattening", "Reply", "Step", "Verdict"]

DEADLINE: Final[Ns] = 30 * SECOND_NS
"""How long it may take, unless said otherwise."""

APART: Final[Ns] = SECOND_NS
"""From the end of one round to the beginning of the next (R8)."""

PERSISTS: Final[Ns] = 2 * SECOND_NS
"""What a round shows and one that begins so much later shows undiminished is cancelled or flattened again."""

CLOSING: Final[Ns] = 5 * SECOND_NS
"""The same, where a market order is at work that closes the position: two of them would close it twice."""

PAUSES: Final = tuple(MILLISECOND_NS * ms for ms in (500, 1_000, 2_000, 4_000))
"""Before a call that was not done, or a question without a good answer, is made again."""


class Step(enum.StrEnum):
    """What is called; the values are the venue's names of these functions."""

    CANCEL = "CancelOrders"
    FLATTEN = "Flatten"
    ORDERS = "ListOrders"
    POSITIONS = "ListPositions"
    ACCOUNTS = "ListAccounts"
    QUOTE = "GetQuote"

    @property
    def mutates(self) -> bool:
        """Whether it changes something at the venue."""
        return self in (Step.CANCEL, Step.FLATTEN)


_LIMITS: Final = {Step.CANCEL: 5 * SECOND_NS}
_LIMIT: Final[Ns] = 10 * SECOND_NS
"""How long an answer is waited for. A cancel has less: ``Flatten`` cancels, too, and must not wait for long."""


class End(enum.StrEnum):
    """How a call ended."""

    DONE = "done"
    REFUSED = "refused"
    """The venue looked at it and said no, as with nothing to close."""
    NOT_DONE = "not done"
    """Certainly not carried out, as over the rate limit; it is made again."""
    UNKNOWN = "unknown"
    """It may have been carried out, now or later."""


class Verdict(enum.StrEnum):
    """How it ended."""

    FLAT = "flat"
    """Two agreeing rounds found no position and no order that may still trade."""
    ESCALATED = "escalated"
    """Not so by the deadline: somebody has to look."""


class Call(msgspec.Struct, frozen=True):
    """One call to make. Past ``until`` its answer is not waited for any more."""

    step: Step
    account: str
    instrument: str | None
    serial: int
    until: Ns


class Reply(msgspec.Struct, frozen=True):
    """How a call ended, and what it told.

    A question is answered by DONE with ``complete``: all rows are there, they are the account's own, and for ACCOUNTS
    the account is there and connected, for QUOTE the instrument is known. ``text`` says why not.
    """

    end: End
    orders: tuple[OrderReport, ...] = ()
    positions: tuple[PositionReport, ...] = ()
    complete: bool = True
    text: str = ""


def _everything(_instrument: str) -> bool:
    return True


def _named(flattening: Flattening, _attribute: object, account: str) -> None:
    if not account.strip(". \t\r\n/\\"):
        raise ConfigError("flatten: name the account; without one the venue closes every account")


@define(eq=False)
class Flattening:
    """Makes one account flat, or one instrument in it, and sees that it is so.

    ``deadline`` is a moment. ``covers`` says whether an instrument as the venue names it is meant by ``instrument``; a
    row without one always counts. Raises ConfigError for an account without a name.
    """

    account: str = field(validator=_named)
    start: Ns
    deadline: Ns = NEVER
    instrument: str | None = None
    covers: Callable[[str], bool] = _everything
    verdict: Verdict | None = field(default=None, init=False)
    orders: tuple[OrderReport, ...] = field(default=(), init=False)
    """What may still trade, by the last round."""
    positions: tuple[PositionReport, ...] = field(default=(), init=False)
    """What is held, by the last round."""
    seen: Ns | None = field(default=None, init=False)
    """When the last round that told both was over; None before there was one."""
    doubts: int = field(default=0, init=False)
    """Mutations whose outcome nobody knows."""
    trouble: str = field(default="", init=False)
    """Why the last call was of no use; empty when it was."""
    _todo: deque[tuple[Step, str | None]] = field(factory=deque, init=False)
    _flying: Call | None = field(default=None, init=False)
    _serial: int = field(default=0, init=False)
    _wait: Ns = field(default=0, init=False)
    _failures: int = field(default=0, init=False)
    _began: Ns = field(default=0, init=False)
    _listed: tuple[OrderReport, ...] = field(default=(), init=False)
    _flat: tuple[object, ...] | None = field(default=None, init=False)
    _open: tuple[int, int] | None = field(default=None, init=False)
    _since: Ns = field(default=0, init=False)
    _is_known: bool = field(default=False, init=False)
    _is_restless: bool = field(default=False, init=False)

    def __attrs_post_init__(self) -> None:
        if self.instrument is not None and not self.instrument.strip():
            raise ConfigError("flatten: the instrument is empty; leave it out to flatten the whole account")
        if self.deadline == NEVER:
            self.deadline = self.start + DEADLINE
        self._wait = self.start
        self._todo.extend([(Step.CANCEL, self.instrument), (Step.FLATTEN, self.instrument)])

    @property
    def why(self) -> str:
        """What stands in the way of a verdict, in a few words."""
        if self.trouble:
            return self.trouble
        if self.orders or self.positions:
            return "something is still open"
        if self._flat is None:
            return "no two lists that say so"
        if self._is_restless:
            return "its orders change from one look to the next: somebody trades it"
        return "found flat once, and there was no time for a second look"

    # --- what to do ----------------------------------------------------------------------------------------------

    @property
    def due(self) -> Ns:
        """When ``next`` has something new to say without an answer; NEVER once there is a verdict."""
        if self.verdict is not None:
            return NEVER
        return min(self._wait if self._flying is None else self._flying.until, self.deadline)

    def next(self, now: Ns) -> list[Call] | None:
        """The calls to make now, none while one is under way or until ``due``; None when there is a verdict."""
        if self.verdict is None and self._flying is not None and now >= self._flying.until:
            flying = self._flying
            text = f"{flying.step}: no answer in time"
            self.take(flying, Reply(End.UNKNOWN, text=text), now)
        if self.verdict is None and now >= self.deadline:
            self.verdict = Verdict.ESCALATED
        if self.verdict is not None:
            return None
        if self._flying is not None or now < self._wait:
            return []
        if not self._todo:
            self._todo.extend([(Step.ORDERS, None), (Step.POSITIONS, None)])
        step, instrument = self._todo[0]
        if step is Step.ORDERS:
            self._began = now
        self._serial += 1
        until = min(now + _LIMITS.get(step, _LIMIT), self.deadline)
        self._flying = Call(step, self.account, instrument, self._serial, until)
        return [self._flying]

    def take(self, call: Call, reply: Reply, now: Ns) -> None:
        """A call ended. An answer that comes after its call was given up says nothing any more, and is ignored."""
        if self.verdict is not None or self._flying is None or call.serial != self._flying.serial:
            return
        self._flying = None
        is_answer = reply.end is End.DONE and (call.step.mutates or reply.complete)
        self.trouble = "" if is_answer else reply.text or f"{call.step}: {reply.end}"
        if call.step.mutates:
            self._mutated(reply, now)
        elif not is_answer:
            self._again(now)
        else:
            self._told(call.step, reply, now)

    def _again(self, now: Ns) -> None:
        """Make the same call once more, a little later."""
        self._wait = now + PAUSES[min(self._failures, len(PAUSES) - 1)]
        self._failures += 1

    def _mutated(self, reply: Reply, now: Ns) -> None:
        if reply.end is End.NOT_DONE:
            self._again(now)
            return
        self.doubts += reply.end is End.UNKNOWN
        self._todo.popleft()
        self._failures = 0
        self._wait = now
        self._flat = self._open = None  # older rounds prove nothing about what comes after this

    # --- rounds --------------------------------------------------------------------------------------------------

    def _told(self, step: Step, reply: Reply, now: Ns) -> None:
        self._todo.popleft()
        self._failures = 0
        self._wait = now
        match step:
            case Step.ORDERS:
                self._listed = tuple(row for row in reply.orders if self._is_meant(row.instrument))
            case Step.POSITIONS:
                held = (row for row in reply.positions if row.quantity and self._is_meant(row.instrument))
                self._round(tuple(held), now)
            case Step.QUOTE:
                self._is_known = True
            case _:
                pass
        if not self._todo and self.seen is not None and not self.orders and not self.positions:
            self._found_flat(now)

    def _is_meant(self, instrument: str | None) -> bool:
        return instrument is None or self.covers(instrument)

    def _round(self, held: tuple[PositionReport, ...], now: Ns) -> None:
        """Both lists are there."""
        self.orders = tuple(row for row in self._listed if not row.standing.is_done)
        self.positions = held
        self.seen = now
        if self.orders or held:
            self._found_open(now)
            return
        # An empty list of an account that isn't there or has no connection, or of a name nobody knows, is no proof.
        self._todo.append((Step.ACCOUNTS, None))
        if self.instrument is not None and not self._is_known:
            self._todo.append((Step.QUOTE, self.instrument))

    def _found_flat(self, now: Ns) -> None:
        found = tuple(sorted((row.order_id, row.standing.value, row.filled or 0) for row in self._listed))
        self._open = None
        if self._flat == found:
            self.verdict = Verdict.FLAT
            return
        self._is_restless = self._flat is not None
        self._flat = found
        self._wait = now + APART

    def _found_open(self, now: Ns) -> None:
        self._flat = None
        size = sum(abs(row.quantity) for row in self.positions), sum(_open_quantity(row) for row in self.orders)
        self._wait = now + APART
        if self._open is None or _is_less(size, self._open):
            self._open, self._since = size, now
            return
        at_work = any(self._is_closing(row) for row in self.orders)
        if self._began - self._since < (CLOSING if at_work else PERSISTS):
            return
        self._wait = now
        self._todo.extend(self._repeats())

    def _repeats(self) -> Iterable[tuple[Step, str | None]]:
        """What is to be done again: as little as what is open asks for, cancels before closes."""
        if any(not self._is_closing(row) for row in self.orders):
            for name in self._names(row.instrument for row in self.orders):
                yield Step.CANCEL, name
        for name in self._names(row.instrument for row in self.positions):
            yield Step.FLATTEN, name

    def _names(self, told: Iterable[str | None]) -> list[str | None]:
        """The filters to call with: where one instrument is meant, as the venue names it, so that none is missed."""
        names = {name if self.instrument is not None and name is not None else self.instrument: None for name in told}
        return list(names)

    def _is_closing(self, order: OrderReport) -> bool:
        """Whether it looks like the market order of a flatten: it has no price, and shrinks what is held."""
        if order.limit_price is not None or order.stop_price is not None or order.side is None:
            return False
        held = sum(row.quantity for row in self.positions if row.instrument == order.instrument)
        return held * order.side < 0


def _open_quantity(order: OrderReport) -> int:
    """Contracts that may still trade, at least one: what isn't told is not nothing."""
    return max(1, (order.quantity or 1) - (order.filled or 0))


def _is_less(size: tuple[int, int], than: tuple[int, int]) -> bool:
    return size != than and size[0] <= than[0] and size[1] <= than[1]
