"""What a program listens to: values as they come, and the answers of a call that is made again and again."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

import trio

from xtalgo.model.errors import (
    AuthError,
    ConfigError,
    LocalProtocolError,
    NoConnection,
    SessionTakenOver,
    XtalgoError,
)

__all__ = ["KEPT", "Poller", "Stream"]

T = TypeVar("T")

KEPT: Final = 10_000
"""How many values a stream keeps for a listener that doesn't keep up."""

_FINAL: Final = (AuthError, ConfigError, LocalProtocolError, NoConnection, SessionTakenOver)
"""Errors that the next try would meet again."""


class Stream(Generic[T]):
    """Values in order of their coming: ``async for value in stream``.

    Whoever sends never waits: of more than ``size`` values that nobody has taken the oldest are dropped, which
    ``dropped`` counts. Leave it with ``close``, or use it in a ``with``: what is not listened to any more is not asked
    for any more. It ends when it is closed, and raises what ended the connection for good.
    """

    def __init__(self, size: int = KEPT, on_close: Callable[[], None] = lambda: None) -> None:
        self.dropped = 0
        """Values that were lost, since nobody took them in time."""
        self.is_closed = False
        self._values: deque[T] = deque(maxlen=size)
        self._error: XtalgoError | None = None
        self._news = trio.Event()
        self._on_close = on_close

    def put(self, value: T) -> None:
        """A value came."""
        if self.is_closed:
            return
        self.dropped += len(self._values) == self._values.maxlen
        self._values.append(value)
        self._news.set()

    def fail(self, error: XtalgoError) -> None:
        """No more will come, for this reason; what came before is still handed out."""
        self._error = self._error or error
        self._news.set()

    def close(self) -> None:
        """Listen no more."""
        if not self.is_closed:
            self.is_closed = True
            self._news.set()
            self._on_close()

    def latest(self) -> T | None:
        """The newest value that came, and forget it with all before it; None when there is none. Doesn't wait."""
        value = self._values[-1] if self._values else None
        self._values.clear()
        return value

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        await trio.lowlevel.checkpoint()
        while not self._values:
            if self.is_closed:
                raise StopAsyncIteration
            if self._error is not None:
                raise self._error
            self._news = trio.Event()
            await self._news.wait()
        return self._values.popleft()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Poller(Stream[T]):
    """The answers of one call, made at intervals in the background.

    A try that fails is counted and told by ``error``, and the next one comes in its time; an error that every further
    try would meet again ends the stream.
    """

    def __init__(self, seconds: float, ask: Callable[[], Awaitable[T]], size: int = KEPT) -> None:
        super().__init__(size, self._stop)
        self.error: XtalgoError | None = None
        """Why the last try came to nothing; None when it didn't."""
        self.failures = 0
        self._seconds = seconds
        self._ask = ask
        self._scope = trio.CancelScope()

    def _stop(self) -> None:
        self._scope.cancel()

    async def run(self) -> None:
        """Ask until closed. Tries that take longer than the interval are not made up for."""
        with self._scope:
            due = trio.current_time()
            while True:
                try:
                    self.put(await self._ask())
                    self.error = None
                except _FINAL as error:
                    self.fail(error)
                    return
                except XtalgoError as error:
                    self.error, self.failures = error, self.failures + 1
                due = max(due + self._seconds, trio.current_time())
                await trio.sleep_until(due)
