"""Calls under way: by id, any number at once, answered in any order, late, twice or never.

A call that was sent ends in one of four ways, and which one decides whether it may be sent again: it was *done*, it
was *refused*, it was *not done* (certainly), or its outcome is *unknown*. What never left is certainly not done.
"""

from __future__ import annotations

import enum
import heapq
from collections.abc import Iterable, Mapping
from typing import Any, Final, Generic, TypeVar

from attrs import define, field, frozen

from xtalgo.model.types import NEVER, SECOND_NS, Ns
from xtalgo.protocol.frames import Rpc, RpcError, RpcReply, Unknown
from xtalgo.protocol.outcomes import Cause, Outcome, diagnose
from xtalgo.protocol.replies import Answer, Unusable
from xtalgo.protocol.rpc import TABLE, Lane, RpcSpec
from xtalgo.protocol.wire import encode_client

__all__ = ["TIME_LIMIT", "Calls", "End", "Settled"]

T = TypeVar("T")

TIME_LIMIT: Final[Ns] = 10 * SECOND_NS
"""How long a reply is waited for; twice as long for bars, which NinjaTrader may have to load first.

Five identical reads once took up to 16 s (observed, another route); a reply that comes later than this is counted, and
what it would have said is asked for."""


class End(enum.StrEnum):
    """How a call ended."""

    DONE = "done"
    REFUSED = "refused"
    NOT_DONE = "not done"
    UNKNOWN = "unknown"


_ENDS: Final = {Outcome.REFUSED: End.REFUSED, Outcome.NOT_DONE: End.NOT_DONE, Outcome.UNKNOWN: End.UNKNOWN}


@frozen
class Settled(Generic[T]):
    """One call that is over. ``answer`` is there when it was done, ``text`` says why when it was not."""

    item: T
    spec: RpcSpec
    end: End
    took: Ns
    answer: Answer[Any] | None = None
    text: str = ""
    cause: Cause | None = None


@define(eq=False)
class _Pending(Generic[T]):
    item: T
    spec: RpcSpec
    sent: Ns
    deadline: Ns


@define(eq=False)
class Calls(Generic[T]):
    """The calls that were sent and have not ended. ``item`` is whatever the caller wants back with the end."""

    time_limit: Ns = TIME_LIMIT
    prefix: str = "x"
    rate_text: str | None = None
    """How the venue refuses a call for the rate limit, where that was found out."""
    strays: int = 0
    """Replies to nothing: late, doubled, or with an id that was never ours."""
    slowest: Ns = 0
    """The longest that a reply took."""
    _count: int = 0
    _pending: dict[str, _Pending[T]] = field(factory=dict)
    _deadlines: list[tuple[Ns, str]] = field(factory=list)

    def __len__(self) -> int:
        return len(self._pending)

    def begin(self, api: str, args: Mapping[str, Any], item: T, now: Ns) -> tuple[str, str]:
        """Start a call; its id and the frame to send. Raises ConfigError for a function that is not known."""
        spec = TABLE[api]
        self._count += 1
        key = f"{self.prefix}{self._count}"
        frame = encode_client(Rpc(id=key, api=api, args=dict(args), origin=spec.origin))
        deadline = now + self._limit(spec)
        self._pending[key] = _Pending(item, spec, now, deadline)
        heapq.heappush(self._deadlines, (deadline, key))
        return key, frame

    def _limit(self, spec: RpcSpec) -> Ns:
        return self.time_limit * (2 if spec.lane is Lane.HISTORY else 1)

    @property
    def items(self) -> Iterable[T]:
        """What the calls under way are of."""
        return (pending.item for pending in self._pending.values())

    @property
    def due(self) -> Ns:
        """When the next call runs out of time; NEVER when none is under way."""
        while self._deadlines and self._deadlines[0][1] not in self._pending:
            heapq.heappop(self._deadlines)
        return self._deadlines[0][0] if self._deadlines else NEVER

    def settle(self, message: RpcReply | RpcError | Unknown, now: Ns) -> Settled[T] | None:
        """The call that a message ends; None when there is no such call under way."""
        pending = None if message.id is None else self._pending.pop(message.id, None)
        if pending is None:
            self.strays += 1
            return None
        took = now - pending.sent
        self.slowest = max(self.slowest, took)
        spec, item = pending.spec, pending.item
        if isinstance(message, RpcReply):
            answer = spec.read(message.data)
            if isinstance(answer, Answer):
                return Settled(item, spec, End.DONE, took, answer)
            return self._refused(item, spec, took, answer)
        if isinstance(message, Unknown):
            return Settled(item, spec, _lost(spec), took, text=f"a reply of no use: {message.why}")
        verdict = diagnose(spec, message.error, None, message.detail, rate_text=self.rate_text)
        text = message.error if message.detail is None else f"{message.error}: {message.detail}"
        return Settled(item, spec, _ENDS[verdict.outcome], took, None, text, verdict.cause)

    def _refused(self, item: T, spec: RpcSpec, took: Ns, answer: Unusable) -> Settled[T]:
        if answer.error is None:
            return Settled(item, spec, _lost(spec), took, text=f"a reply of no use: {answer.why}")
        verdict = diagnose(spec, answer.error, None, answer.detail, rate_text=self.rate_text)
        return Settled(item, spec, _ENDS[verdict.outcome], took, None, answer.error, verdict.cause)

    def expired(self, now: Ns) -> Iterable[Settled[T]]:
        """End the calls that ran out of time, oldest first."""
        while self.due <= now:
            _, key = heapq.heappop(self._deadlines)
            pending = self._pending.pop(key)
            took = now - pending.sent
            text = f"no reply in {self._limit(pending.spec) // SECOND_NS} s"
            yield Settled(pending.item, pending.spec, _lost(pending.spec), took, text=text, cause=Cause.TIMEOUT)

    def withdrawn(self, key: str, now: Ns, reason: str) -> Settled[T] | None:
        """End a call whose frame did not leave after all."""
        pending = self._pending.pop(key, None)
        if pending is None:
            return None
        return Settled(pending.item, pending.spec, End.NOT_DONE, now - pending.sent, text=reason)

    def dropped(self, now: Ns, reason: str) -> list[Settled[T]]:
        """End every call, in the order of sending: the connection is gone, and with it every reply."""
        pending, self._pending = self._pending, {}
        self._deadlines.clear()
        return [
            Settled(call.item, call.spec, _lost(call.spec), now - call.sent, text=reason) for call in pending.values()
        ]


def _lost(spec: RpcSpec) -> End:
    """How a call ends whose reply is lost: what only reads can simply be asked again."""
    return End.UNKNOWN if spec.mutates else End.NOT_DONE
