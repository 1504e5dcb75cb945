"""A run without a strategy: it listens, writes down what comes, and says how it goes. It places nothing.

What it writes is what a run with strategies writes down of its inputs, so its journal packs, reads and copies as any.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import msgspec
import trio
from attrs import Factory, define, field, frozen

from xtalgo.app.monitor import pin_news
from xtalgo.app.news import Display, News
from xtalgo.app.report import gap_lines
from xtalgo.app.signals import stop_signals
from xtalgo.client.caller import Notice
from xtalgo.client.setup import Pin, Setup
from xtalgo.client.streams import SILENCE
from xtalgo.data.gaps import Cause, Hole, QuoteGap, gaps_between
from xtalgo.data.journal import Journal, JournalFailed
from xtalgo.data.takes import why_down, why_leapt
from xtalgo.live.client import Client, open_client
from xtalgo.live.clock import WallClock
from xtalgo.live.leaves import leaf_of
from xtalgo.live.recorder import MARK_EVERY, Birth
from xtalgo.live.redial import Redial
from xtalgo.live.wires import Dial
from xtalgo.model.errors import ConfigError, NoConnection, RemoteProtocolError, VenueError, XtalgoError
from xtalgo.model.events import Quote
from xtalgo.model.instruments import ContractBook
from xtalgo.model.types import MINUTE_NS, NEVER, SECOND_NS, Ns
from xtalgo.protocol.dialect import Dialect
from xtalgo.protocol.outcomes import Cause as Why
from xtalgo.protocol.outcomes import diagnose

__all__ = ["Recording", "Tally", "Wanted"]

STATUS_EVERY: Final[Ns] = MINUTE_NS
"""How often to say in one line how things stand."""

AGAIN: Final = 10.0
"""Seconds between two tries to learn what an instrument stands for while NinjaTrader is away."""


@frozen(kw_only=True)
class Wanted:
    """What is to be recorded."""

    instruments: Sequence[str]
    accounts: Sequence[str] = ()
    """Whose P&L is kept as figures; all, when none is named."""
    pnl: bool = False
    duration: float | None = None
    """Seconds from the first subscription; a connection has as long to come about."""


# --- what came so far ------------------------------------------------------------------------------------------------


@define(eq=False)
class Tally:
    """Counts quotes and gaps by instrument, as ``xtalgo pack`` will find them."""

    quotes: dict[str, int] = field(factory=dict)
    last: dict[str, Ns] = field(factory=dict)
    """The stamp of the newest quote of each instrument."""
    gaps: list[QuoteGap] = field(factory=list)
    _holes: list[Hole] = field(factory=list)
    _down: tuple[Ns, str] | None = None

    def link_up(self, now: Ns) -> None:
        """Quotes may come from now on."""
        if self._down is not None:
            self._holes.append(Hole(self._down[0], now, self._down[1]))
            self._down = None

    def link_down(self, now: Ns, reason: str) -> None:
        """None can come."""
        if self._down is None:
            self._down = (now, why_down(reason))

    def leap(self, now: Ns, by: Ns) -> None:
        """The clock jumped, from before a time in which nobody listened; the connection is given up."""
        if self._down is None:
            self._down = (now - max(0, by), why_leapt(by))

    def take(self, quote: Quote) -> None:
        """A quote came."""
        name, now = quote.instrument, quote.ts
        before = self.last.get(name)
        if before is not None and (now - before >= SILENCE or (self._holes and self._holes[-1].start >= before)):
            holes = [hole for hole in self._holes if hole.end >= before]
            causes = [Cause(hole.start, hole.why) for hole in holes]
            self.gaps += (gap for _, gap in gaps_between(name, before, now, holes, causes))
        self.last[name] = now
        self.quotes[name] = self.quotes.get(name, 0) + 1


# --- the run ---------------------------------------------------------------------------------------------------------


@define(eq=False)
class Recording:
    """One run that only listens, from dial to end. ``conduct`` is called once; ``verdict`` says how it ended."""

    wanted: Wanted
    contracts: ContractBook
    journal: Journal
    birth: Birth
    display: Display
    clock: WallClock = field(factory=WallClock)
    dialect: Dialect = field(factory=Dialect)
    """How the venue speaks, as far as it was found out."""
    redial: Redial = field(default=Factory(lambda self: Redial(dialect=self.dialect), takes_self=True))
    tally: Tally = field(factory=Tally)
    pins: dict[str, Pin] = field(init=False, factory=dict)
    started: Ns | None = field(init=False, default=None)
    """When the instruments were subscribed to."""
    how: str = field(init=False, default="it did not begin")
    error: XtalgoError | None = field(init=False, default=None)
    """What ended it, if it was not asked to end."""
    _number: int = field(init=False, default=0)
    _connections: int = field(init=False, default=0)
    _stop: trio.Event = field(init=False, factory=trio.Event)
    _scope: trio.CancelScope = field(init=False, factory=trio.CancelScope)
    _is_open: bool = field(init=False, default=False)
    _signalled: bool = field(init=False, default=False)
    _cut: bool = field(init=False, default=False)
    _is_broken: bool = field(init=False, default=False)
    _status_at: Ns = field(init=False, default=NEVER)
    _marked: dict[str, Ns] = field(init=False, factory=dict)

    # --- writing down --------------------------------------------------------------------------------------------

    def _tape(self, kind: str, now: Ns, text: str | bytes) -> None:
        """An input, as a run with strategies would write it."""
        self._number += 1
        self.journal.input(self._number, now, kind, text)
        if kind == "link_up":
            self._connections += 1
            self.tally.link_up(now)
            again = "" if self._connections == 1 else f" again, connection {self._connections}"
            self._tell(News(now, "link", f"link up{again}", {"state": "up", "connection": self._connections}))
        elif kind == "link_down":
            reason = msgspec.json.decode(text, type=dict[str, Any])["reason"]
            self.tally.link_down(now, reason)
            self._tell(News(now, "link", "", {"state": "down", "connection": self._connections, "reason": reason}))
        elif kind == "leap":
            self.tally.leap(now, msgspec.json.decode(text, type=dict[str, int])["by"])

    def _notice(self, notice: Notice) -> None:
        self.journal.notice(notice.ts, notice.text)
        self._tell(News(notice.ts, "notice", notice.text, {"warning": notice.is_warning}, notice.is_warning))

    def _tell(self, news: News) -> None:
        self.display.tell(news)

    def _each_second(self, now: Ns) -> None:
        """Make what came durable, and see whether it is time for a line, or for the end."""
        self._commit(now)
        if now >= self._status_at:
            self._status_at = now + STATUS_EVERY
            self._tell(self._status(now))
        began = self.started
        if began is not None and self.wanted.duration is not None and now - began >= self._span:
            self.stop()
        if self.display.writer.broken is not None:
            self.stop()  # whoever watched has gone: the run ends in order, as after Ctrl-C

    def _commit(self, now: Ns) -> None:
        try:
            self.journal.commit()
        except JournalFailed as failure:
            if not self._is_broken:
                self._is_broken = True
                text = f"{failure}. What comes beyond 64 MB is lost, and will be told as a gap"
                self._notice(Notice(now, text, True))
        else:
            if self._is_broken:
                self._is_broken = False
                self._notice(Notice(now, "the journal can be written again"))

    @property
    def _span(self) -> Ns:
        return NEVER if self.wanted.duration is None else round(self.wanted.duration * SECOND_NS)

    def _status(self, now: Ns) -> News:
        tally = self.tally
        names = [pin.name for pin in self.pins.values()]
        ages = {name: (now - tally.last[name]) / SECOND_NS for name in names if name in tally.last}
        listed = [
            f"{name} {tally.quotes.get(name, 0):,}" + (f" ({ages[name]:.1f} s ago)" if name in ages else " (none yet)")
            for name in names
        ]
        facts = {
            "quotes": {name: tally.quotes.get(name, 0) for name in names},
            "age": {name: round(ages[name], 3) if name in ages else None for name in names},
            "gaps": len(tally.gaps),
        }
        missing = len(gap_lines(tally.gaps))
        gaps = f"{missing:,} gap{'' if missing == 1 else 's'}"
        return News(now, "status", f"quotes: {', '.join(listed)}; {gaps} so far", facts)

    # --- its life ------------------------------------------------------------------------------------------------

    def stop(self) -> None:
        """Ask it to end in order."""
        self._stop.set()
        if not self._is_open:
            self._scope.cancel()

    async def conduct(self, dial: Dial, *, signals: bool = False) -> None:
        """Dial and listen until something ends it; the journal stays open."""
        now = self.clock.now()
        self._tape("start", now, msgspec.json.encode(self.birth).decode())
        self._commit(now)
        try:
            async with trio.open_nursery() as nursery:
                with self._scope:
                    if signals:
                        nursery.start_soon(self._hear_signals)
                    await self._listen_over(dial)
                nursery.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            self._ended_by(leaf_of(group))
        finally:
            self._commit(self.clock.now())
        self.how = self._how()

    def _ended_by(self, error: BaseException) -> None:
        """An error is kept for the verdict if it is one of ours, and raised otherwise."""
        if not isinstance(error, XtalgoError):
            raise error
        self.error = error

    async def _listen_over(self, dial: Dial) -> None:
        duration = self.wanted.duration
        async with open_client(
            dial,
            contracts=self.contracts,
            clock=self.clock,
            redial=self.redial,
            dialect=self.dialect,
            within=math.inf if duration is None else duration,
            tell=self._notice,
            tape=self._tape,
            commit=self._each_second,
        ) as client:
            self._is_open = True
            if self._stop.is_set():
                return
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._end, nursery.cancel_scope)
                await self._listen(client)

    async def _end(self, scope: trio.CancelScope) -> None:
        await self._stop.wait()
        scope.cancel()

    async def _listen(self, client: Client) -> None:
        with trio.move_on_after(math.inf if self.wanted.duration is None else self.wanted.duration) as scope:
            await self._pin(client)
        if scope.cancelled_caught:
            raise NoConnection("the recording never began: the venue's answers did not come")
        quotes = await client.quotes(*dict.fromkeys(pin.name for pin in self.pins.values()))
        self.started = client.now
        self._status_at = self.started + STATUS_EVERY
        self._tell(News(self.started, "running", "the recording runs"))
        async with trio.open_nursery() as nursery:
            if self.wanted.pnl:
                nursery.start_soon(self._keep_pnl, client)
            async for quote in quotes:
                self.tally.take(quote)

    async def _pin(self, client: Client) -> None:
        """Learn which contract each instrument stands for, once for the whole run."""
        setup = Setup((), tuple(self.wanted.instruments), self.contracts)
        for name in dict.fromkeys(self.wanted.instruments):
            told = len(setup.notices)
            pin = await self._resolved(client, setup, name)
            self.pins[name] = pin
            for text in setup.notices[told:]:
                self._notice(Notice(client.now, text, True))
            self._tell(pin_news(pin, client.now))

    async def _resolved(self, client: Client, setup: Setup, name: str) -> Pin:
        while True:
            try:
                answer = await client.call("GetQuote", instrument=name)
            except VenueError as error:
                text = str(error).removeprefix("GetQuote: ")
                if diagnose("GetQuote", text).cause not in (Why.OFFLINE, Why.BROKER):
                    raise ConfigError(f"the venue does not know the instrument {name!r}: {text}") from None
                self._notice(Notice(client.now, f"{name}: NinjaTrader or its add-on is away: {text}", True))
                await trio.sleep(AGAIN)
            except RemoteProtocolError as error:
                return setup.unquoted(name, str(error))
            else:
                return setup.quoted(name, answer.value)

    async def _keep_pnl(self, client: Client) -> None:
        async for pnl in client.pnl(*self.wanted.accounts):
            if pnl.ts >= self._marked.get(pnl.account, 0) + MARK_EVERY:
                self._marked[pnl.account] = pnl.ts
                for kind in ("realized", "unrealized", "net_liquidation"):
                    value = getattr(pnl, kind)
                    if value is not None:
                        self.journal.mark(pnl.ts, pnl.account, kind, value)

    async def _hear_signals(self) -> None:
        with trio.open_signal_receiver(*stop_signals()) as received:
            async for _ in received:
                now = self.clock.now()
                if self._signalled:
                    self._cut = True
                    self._tell(News(now, "stopping", "stopping at once"))
                    self._is_open = False
                    self.stop()
                    return
                self._signalled = True
                self._tell(News(now, "stopping", "stopping; Ctrl-C once more stops at once"))
                self.stop()

    # --- how it ended --------------------------------------------------------------------------------------------

    def _how(self) -> str:
        if self._cut:
            return "at once, by the second Ctrl-C"
        if self.error is not None:
            return f"by an error: {' '.join(str(self.error).split())}"
        if self.display.writer.broken is not None:
            return "because nobody reads this any more"
        if self._signalled:
            return "by a signal"
        return "when it was asked to" if self.wanted.duration is None else f"after {self.wanted.duration:g} s, as asked"

    def verdict(self) -> None:
        """Raises what decides the exit code; nothing when it ended well."""
        if self._cut:
            raise KeyboardInterrupt
        if self.error is not None:
            raise self.error
        if self.display.writer.broken is not None:
            raise BrokenPipeError
