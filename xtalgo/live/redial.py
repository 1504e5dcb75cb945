"""What to do when a connection ended or didn't come about: wait how long, or give up. No task, no clock.

The waits of 1, 2, 4 .. 30 s and the reset after a minute are the vendor's advice (documented). One socket per user,
the newer wins (documented): two clients that both redial evict each other for ever, so a takeover is final, and what
looks like one is met with a long wait first.
"""

from __future__ import annotations

import enum
import random
from typing import Final

from attrs import define, field, frozen

from xtalgo.model.errors import AuthError, ConfigError, NoConnection, SessionTakenOver, XtalgoError
from xtalgo.model.types import HOUR_NS, MINUTE_NS, SECOND_NS, Ns
from xtalgo.protocol.dialect import Dialect

__all__ = ["ABUSE_CODE", "FORGIVEN", "LONG_WAIT", "SHORT", "STEADY", "EndKind", "Ending", "Redial", "Wait"]

SHORT: Final[Ns] = 20 * SECOND_NS
"""A session that the other side ends within this span of its handshake looks like a takeover."""
STEADY: Final[Ns] = MINUTE_NS
"""A session that lived this long resets the back-off (documented advice)."""
FORGIVEN: Final[Ns] = HOUR_NS
"""A session that lived this long makes an earlier 1008 forgotten."""
LONG_WAIT: Final = 300.0
"""Seconds to wait after three short sessions or a 1008."""
ABUSE_CODE: Final = 1008
"""Close code after ten rate violations in a row (observed in public client code). Others may use it for a takeover."""

_FIRST, _CAP, _JITTER = 1.0, 30.0, 0.25
_ROW = 3
_PRIVATE: Final = range(4000, 5000)
"""Close codes that mean what an application wants them to."""
_TOO_LONG = 1009  # a frame over our limit: we closed, so it is no hint of another client
_TAKEN = "session active elsewhere"  # documented close reason of the loser


class EndKind(enum.StrEnum):
    """Why there will be no further connection."""

    TOKEN_REFUSED = "token refused"
    TAKEN_OVER = "taken over"
    ABUSE = "rate abuse"
    WRONG_URL = "wrong url"
    CLOSED = "closed"


@frozen
class Ending:
    """No further attempt. ``text`` is a line for people that says what to do."""

    kind: EndKind
    text: str

    @property
    def error(self) -> XtalgoError:
        """The error that it is for whoever wanted the connection."""
        match self.kind:
            case EndKind.TOKEN_REFUSED:
                return AuthError(self.text)
            case EndKind.TAKEN_OVER:
                return SessionTakenOver(self.text)
            case EndKind.WRONG_URL:
                return ConfigError(self.text)
            case _:
                return NoConnection(self.text)


@frozen
class Wait:
    """Dial again after ``seconds``."""

    seconds: float
    text: str


_ELSEWHERE = (
    "only one connection per user is allowed and the newest wins: stop the other client (a second run, another "
    "script, a dashboard) before starting again"
)


@define(eq=False)
class Redial:
    """Counts what happened to the connections of one link. ``rng`` draws the jitter, which only shortens a wait."""

    rng: random.Random = field(factory=random.Random)
    dialect: Dialect = field(factory=Dialect)
    """What was found out about the venue; what is not settled in it counts for nothing here."""
    failures: int = field(default=0, init=False)
    """Waits in a row since the last steady session."""
    _opened: Ns | None = field(default=None, init=False)
    _ever: bool = field(default=False, init=False)
    _shorts: int = field(default=0, init=False)
    _suspected: bool = field(default=False, init=False)
    _abused: bool = field(default=False, init=False)
    _left: bool = field(default=False, init=False)

    def opened(self, now: Ns) -> None:
        """A handshake went through."""
        self._opened = now
        self._ever = True

    def refused(self, now: Ns, status: int, text: str) -> Wait | Ending:
        """The server answered the handshake with another status. ``text`` is the start of its body."""
        said = f"status {status}" + (f": {text}" if text else "")
        if status in (401, 403) or (status == self.dialect.bad_token and not self._ever and self._knows("bad_token")):
            return Ending(
                EndKind.TOKEN_REFUSED,
                f"the server refused the token ({said}): check XTRADE_TOKEN, and that the plan includes the API",
            )
        if _TAKEN in text.lower():
            return Ending(EndKind.TAKEN_OVER, f"another client is connected with this token ({said}): {_ELSEWHERE}")
        # An address that worked before is right; its server is having a bad moment.
        if not self._ever and (200 <= status < 400 or status in (404, 405, 410, 426)):
            return Ending(
                EndKind.WRONG_URL, f"there is no WebSocket at this URL ({said}): check the url setting, host and path"
            )
        return self._back_off(f"the server refused the connection ({said})")

    def failed(self, now: Ns, text: str) -> Wait:
        """No connection came about."""
        return self._back_off(text)

    def closed(self, now: Ns, code: int | None, reason: str) -> Wait | Ending:
        """The other side ended the session. ``code`` is None when no close frame came."""
        said = (reason or "no reason given") + ("" if code is None else f", code {code}")
        if _TAKEN in reason.lower() or self._is_takeover(code, reason):
            return Ending(EndKind.TAKEN_OVER, f"another client took over the session ({said}): {_ELSEWHERE}")
        lived = self._lived(now)
        short = lived <= SHORT
        if not short:
            self._shorts = 0
            self._suspected = False
            if code != ABUSE_CODE or lived > FORGIVEN:
                self._abused = False
        if code == ABUSE_CODE:
            if self._abused or self._suspected:
                return self._taken(said) if short else self._abuse(said)
            self._abused = True
            return self._wait_long(f"the server closed the session ({said}): too many requests, or another client")
        if short and code != _TOO_LONG:
            self._shorts += 1
            if self._shorts >= _ROW:
                if self._abused or self._suspected:
                    return self._taken(said)
                self._suspected = True
                return self._wait_long(
                    f"{_ROW} sessions in a row ended within {SHORT // SECOND_NS} s ({said}): another client may use "
                    "this token"
                )
        return self._back_off(f"the connection was closed ({said})")

    def _knows(self, *names: str) -> bool:
        return self.dialect.confirms(*names)

    def _is_takeover(self, code: int | None, reason: str) -> bool:
        """Whether a session ended as one was seen to end when a newer came.

        By its words if it had any. A code alone says so only where it is one of the private ones: others close sockets
        for other reasons, too.
        """
        if not self._knows("takeover_code", "takeover_reason"):
            return False
        words = self.dialect.takeover_reason.strip().casefold()
        if words:
            return words in reason.casefold()
        return not reason and code == self.dialect.takeover_code and code in _PRIVATE

    def left(self, now: Ns, reason: str) -> Wait:
        """We ended the session to dial anew: at once, unless the last steady session was before another such end."""
        self._lived(now)
        if self._left:
            return self._back_off(reason)
        self._left = True
        return Wait(0.0, reason)

    def lost(self, now: Ns, reason: str) -> Wait:
        """We gave the session up because nothing came back any more. It says nothing about another client."""
        self._lived(now)
        return self._back_off(reason)

    def _lived(self, now: Ns) -> Ns:
        """How long the session was up; a steady one resets the back-off."""
        lived = 0 if self._opened is None else now - self._opened
        self._opened = None
        if lived >= STEADY:
            self.failures = 0
            self._left = False
        return lived

    def _back_off(self, text: str) -> Wait:
        # Five doublings reach the cap; the exponent is bounded for a link that is down for weeks.
        seconds = min(_CAP, _FIRST * 2 ** min(self.failures, 10))
        self.failures += 1
        return Wait(seconds * (1 - _JITTER * self.rng.random()), text)

    def _wait_long(self, text: str) -> Wait:
        self.failures = 0
        self._shorts = 0
        return Wait(LONG_WAIT, text)

    def _taken(self, said: str) -> Ending:
        return Ending(
            EndKind.TAKEN_OVER,
            f"sessions keep being ended soon after they start, also after a pause ({said}): {_ELSEWHERE}",
        )

    def _abuse(self, said: str) -> Ending:
        return Ending(
            EndKind.ABUSE,
            f"the server closed the session for too many requests, a second time ({said}): look for other programs "
            "that use this token, then start again",
        )
