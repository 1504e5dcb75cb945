"""A client of the socket for programs outside a strategy: typed calls, streams as async iterators, pollers.

It is the same link, pacing queue and table of calls that a run has, without an engine. ``xtalgo.connect`` opens one.
"""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, Final, TypeVar

import trio

from xtalgo.client.caller import Health, Notice
from xtalgo.client.functions import Functions
from xtalgo.client.requester import Requester
from xtalgo.live.clock import WallClock
from xtalgo.live.driver import Driver
from xtalgo.live.leaves import leaf_of
from xtalgo.live.listening import KEPT, Poller, Stream
from xtalgo.live.redial import EndKind, Redial
from xtalgo.live.wires import Dial
from xtalgo.model.errors import ConfigError, NoConnection, RemoteProtocolError, XtalgoError
from xtalgo.model.events import AccountPnl, Quote
from xtalgo.model.instruments import ContractBook
from xtalgo.model.types import SECOND_NS, Ns
from xtalgo.protocol.dialect import Dialect
from xtalgo.protocol.frames import EventFrame, Resync
from xtalgo.protocol.replies import Answer

__all__ = ["WITHIN", "Client", "open_client"]

WITHIN: Final = 30.0
"""Seconds in which the first connection must stand."""

FAREWELL: Final = 2.0
"""Seconds for closing in good order."""

T = TypeVar("T")

Tape = Callable[[str, Ns, str | bytes], None]


class Client(Functions):
    """One connection, kept up as a run keeps its own: paced, dialled again after a drop, subscribed anew.

    Made by ``open_client`` and ``xtalgo.connect``; all of it belongs to one trio run. Calls may be made from any number
    of tasks: they leave in order of urgency (cancels and closes, then orders, then reads) within 180 a minute.
    """

    def __init__(self, driver: Driver[Requester], nursery: trio.Nursery) -> None:
        self._driver = driver
        self._requester = driver.caller
        self._nursery = nursery
        self._quotes: dict[Stream[Quote], frozenset[str]] = {}
        self._pnl: list[Stream[AccountPnl]] = []
        self._events: list[Stream[EventFrame | Resync]] = []
        self._news: list[Stream[Notice]] = []
        self._dated: dict[str, str] = {}
        self._up = trio.Event()
        self.is_demo = False
        """Whether it leads to a server in this process, with a synthetic market."""
        requester = self._requester
        requester.on_quotes, requester.on_pnl, requester.on_event = self._hand_quotes, self._hand_pnl, self._hand_event

    # --- how things stand ----------------------------------------------------------------------------------------

    @property
    def now(self) -> Ns:
        """Event time, in nanoseconds since 1970 UTC."""
        return self._driver.clock.now()

    @property
    def is_up(self) -> bool:
        """Whether a connection stands at this moment."""
        return self._requester.is_up

    @property
    def health(self) -> Health:
        """What was counted since the start."""
        return self._requester.health

    @property
    def tokens(self) -> float:
        """How many requests could leave at once now."""
        return self._requester.queue.bucket.level(self.now)

    @property
    def contracts(self) -> ContractBook:
        """Contract facts, and the spellings of instruments."""
        return self._requester.book

    # --- calls ---------------------------------------------------------------------------------------------------

    async def call(
        self, api: str, /, *, everything: bool = False, within: float | None = None, **args: Any
    ) -> Answer[Any]:
        """Call a function by the API's name, with the API's argument names, and return all that it answers.

        ``within`` is how many seconds an opening call may wait for the request budget (2 unless told) before it is
        NotSent, or how long a read is asked in all (30 unless told). Cancelled before it left, a call doesn't leave;
        after that it may have been carried out, and nobody hears of it.
        """
        done = trio.Event()
        now = self.now
        span = None if within is None else round(within * SECOND_NS)
        request = self._requester.ask(api, args, now, done.set, everything=everything, within=span)
        self._driver.carry(now)
        try:
            await done.wait()
        finally:
            if request.outcome is None:
                self._requester.give_up(request)
        outcome = request.outcome
        if isinstance(outcome, XtalgoError):
            raise outcome
        assert outcome is not None
        return outcome

    def new_order_id(self) -> str:
        """An order id that nobody has used."""
        return uuid.uuid4().hex

    async def dated(self, instrument: str) -> str:
        """The dated contract that an instrument's name stands for, which the venue says once for a root.

        Raises ConfigError for a name that is none.
        """
        found = self._dated.get(instrument)
        if found is None:
            name = self.contracts.parse(instrument)
            if name.year is not None:
                found = name.dated(name.year)
            else:
                rows = await self.get_quote(instrument)
                told = [self._requester.name_of(row.instrument) for row in rows]
                if len(told) != 1 or told[0] is None:
                    raise RemoteProtocolError(f"{instrument!r}: the venue answered with {len(told)} contracts, not one")
                found = told[0]
            self._dated[instrument] = found
        return found

    # --- listening -----------------------------------------------------------------------------------------------

    async def quotes(self, *instruments: str, size: int = KEPT) -> Stream[Quote]:
        """Listen to the quotes of these instruments, about one a second each: ``async for quote in await ...``.

        Roots become the contract that the venue names. Any number of streams may listen; each instrument is subscribed
        to once, and again after a reconnect. Between a drop and the first quote after it nothing is made up.
        """
        if not instruments:
            raise ConfigError("name one or more instruments to listen to, such as 'ES' or 'MNQ 12-26'")
        names = frozenset([await self.dated(name) for name in instruments])
        stream: Stream[Quote] = Stream(size, lambda: self._leave(stream))
        self._quotes[stream] = names
        self._adopt(stream)
        self._requester.listen([name for name in sorted(names) if name not in self._requester.wanted], self.now)
        self._driver.carry(self.now)
        return stream

    def _leave(self, stream: Stream[Quote]) -> None:
        left = self._quotes.pop(stream, frozenset()) - frozenset().union(*self._quotes.values())
        self._requester.leave(sorted(left), self.now)
        self._driver.carry(self.now)

    def pnl(self, *accounts: str, interval: float | None = None, size: int = KEPT) -> Stream[AccountPnl]:
        """Listen to the P&L of these accounts (all, when none is named), about once a second.

        ``interval`` is in seconds, for all listeners; what the venue makes of odd values is not known.
        """
        wanted = {name.casefold() for name in accounts}
        stream: _Chosen = _Chosen(size, lambda: self._leave_pnl(stream), wanted)
        self._pnl.append(stream)
        self._adopt(stream)
        if interval is not None or len(self._pnl) == 1:
            milliseconds = None if interval is None else max(1, round(interval * 1_000))
            self._requester.stream_pnl(self.now, enabled=True, interval=milliseconds)
            self._driver.carry(self.now)
        return stream

    def _leave_pnl(self, stream: Stream[AccountPnl]) -> None:
        self._pnl.remove(stream)
        if not self._pnl:
            self._requester.stream_pnl(self.now, enabled=False)
            self._driver.carry(self.now)

    def events(self, *, size: int = KEPT) -> Stream[EventFrame | Resync]:
        """Listen to what the venue tells of orders and positions by itself, if it does."""
        stream: Stream[EventFrame | Resync] = Stream(size, lambda: self._events.remove(stream))
        self._events.append(stream)
        self._adopt(stream)
        return stream

    def news(self, *, size: int = KEPT) -> Stream[Notice]:
        """Listen to what people should see: the link came or went, quotes went stale, a frame made no sense."""
        stream: Stream[Notice] = Stream(size, lambda: self._news.remove(stream))
        self._news.append(stream)
        self._adopt(stream)
        return stream

    def every(
        self, seconds: float, method: Callable[..., Awaitable[T]], *args: Any, size: int = KEPT, **kwargs: Any
    ) -> Poller[T]:
        """Call a method at intervals, in the background: ``client.every(10, client.list_positions, "Sim101")``.

        The answers are a stream; a try that fails is left out and told by its ``error``.
        """
        if not seconds > 0:
            raise ConfigError(f"a poller needs an interval above 0 seconds, not {seconds!r}")
        poller: Poller[T] = Poller(seconds, partial(method, *args, **kwargs), size)
        self._adopt(poller)
        self._nursery.start_soon(poller.run)
        return poller

    def _adopt(self, stream: Stream[Any]) -> None:
        if self._requester.ended is not None:
            stream.fail(self._requester.ended)

    def _hand_quotes(self, quotes: list[Quote]) -> None:
        for stream, names in self._quotes.items():
            for quote in quotes:
                if quote.instrument in names:
                    stream.put(quote)

    def _hand_pnl(self, pnl: AccountPnl) -> None:
        for stream in self._pnl:
            stream.put(pnl)

    def _hand_event(self, event: EventFrame | Resync) -> None:
        for stream in self._events:
            stream.put(event)

    def _hand_news(self, notices: Iterable[Notice]) -> None:
        for notice in notices:
            for stream in self._news:
                stream.put(notice)

    # --- its life ------------------------------------------------------------------------------------------------

    async def _opened(self, within: float) -> None:
        """Wait for the first connection. Raises what is in the way."""
        with trio.move_on_after(within):
            await self._up.wait()
        if self._requester.ended is not None:
            raise self._requester.ended
        if not self._up.is_set():
            why = self._driver.link.last_reason or "no answer"
            raise NoConnection(f"no connection within {within:g} s: {why}")

    def _over(self, error: XtalgoError) -> None:
        self._requester.end(error)
        streams: list[Stream[Any]] = [*self._quotes, *self._pnl, *self._events, *self._news]
        for stream in streams:
            stream.fail(error)
        self._up.set()


class _Chosen(Stream[AccountPnl]):
    """The P&L of some accounts."""

    def __init__(self, size: int, on_close: Callable[[], None], wanted: set[str]) -> None:
        super().__init__(size, on_close)
        self._wanted = wanted

    def put(self, value: AccountPnl) -> None:
        if not self._wanted or value.account.casefold() in self._wanted:
            super().put(value)


class _ClientDriver(Driver[Requester]):
    """The driver of a client: it hands on what people should see, and what the link ended with."""

    client: Client
    tell: Callable[[Notice], None]
    commit: Callable[[Ns], None]

    def _carried(self, now: Ns) -> None:
        if self.caller.is_up:
            self.client._up.set()
        if self.caller.notices:
            notices, self.caller.notices = self.caller.notices, []
            for notice in notices:
                self.tell(notice)
            self.client._hand_news(notices)

    def _each_second(self, now: Ns) -> None:
        self._carried(now)
        self.commit(now)

    async def run_link(self) -> None:
        ending = await self.link.run()
        if ending.kind is EndKind.CLOSED:
            self.client._over(NoConnection("the connection is closed"))
        else:
            self.client._over(ending.error)


@asynccontextmanager
async def open_client(
    dial: Dial,
    *,
    contracts: ContractBook | None = None,
    clock: WallClock | None = None,
    redial: Redial | None = None,
    dialect: Dialect | None = None,
    within: float = WITHIN,
    tell: Callable[[Notice], None] = lambda notice: None,
    tape: Tape | None = None,
    commit: Callable[[Ns], None] = lambda now: None,
) -> AsyncIterator[Client]:
    """A connected client, for as long as the block lasts.

    ``tell`` hears what people should see. ``tape`` gets every input as it comes (``link_up``, ``frame``, ``link_down``
    and so on, the time, and the text), in the form in which a run's journal keeps it; ``commit`` is called each second.
    ``dialect`` is how the venue speaks, as far as it was found out.

    Raises AuthError when the token is refused, NoConnection when no connection stands ``within`` so many seconds. A
    connection that ends for good later (another client took over, say) is raised by whatever is awaited of it next.
    """
    spoken = dialect or Dialect()
    requester = Requester(book=contracts or ContractBook(), tape=tape, dialect=spoken)
    requester.streams.pnl = False
    driver = _ClientDriver(requester, dial, clock or WallClock(), redial or Redial(dialect=spoken))
    try:
        async with trio.open_nursery() as nursery:
            driver.client, driver.tell, driver.commit = Client(driver, nursery), tell, commit
            nursery.start_soon(driver.run_link)
            nursery.start_soon(driver.timers)
            nursery.start_soon(driver.watch_clock)
            try:
                await driver.client._opened(within)
                yield driver.client
            finally:
                driver.tell = lambda notice: None  # that we close it is no news
                with trio.CancelScope(shield=True), trio.move_on_after(FAREWELL):
                    await driver.link.close()
                nursery.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise leaf_of(group) from None
