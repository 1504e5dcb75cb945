"""``xtalgo flatten``: one account made flat over REST, and seen to be so."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import Any, Final

import trio
from attrs import evolve, frozen

from xtalgo.app.console import complain
from xtalgo.app.exits import NotFlat
from xtalgo.app.news import Display, JsonDisplay, News, PlainDisplay
from xtalgo.app.operator import Operator, Reach, account_name, at_venue
from xtalgo.client.translate import seen
from xtalgo.engine.flattening import Call, End, Flattening, Reply, Step, Verdict
from xtalgo.live.clock import WallClock
from xtalgo.model.commands import Ask, Query
from xtalgo.model.errors import AuthError, ConfigError, NotSent, OutcomeUnknown, VenueError, XtalgoError
from xtalgo.model.events import OrdersSeen, PositionsSeen
from xtalgo.model.reports import OrderReport, PositionReport
from xtalgo.model.types import SECOND_NS, Ns
from xtalgo.protocol.replies import Answer

__all__ = ["FlattenRequest", "conduct", "flatten", "make", "order_text", "position_text"]

GLANCE: Final = 8.0
"""Seconds spent on a look before it acts."""

DEADLINES: Final = (5.0, 3_600.0)


@frozen(kw_only=True)
class FlattenRequest:
    """What ``xtalgo flatten`` was asked for. ``deadline`` is in seconds."""

    account: str
    instrument: str | None = None
    yes: bool = False
    deadline: float = 30.0


def flatten(reach: Reach, request: FlattenRequest) -> None:
    """Cancel and close everything of one account, until the venue says twice that it is so.

    Raises NotFlat when it isn't, or isn't known to be.
    """
    account = account_name(request.account)
    if not DEADLINES[0] <= request.deadline <= DEADLINES[1]:
        raise ConfigError(f"--deadline is a number of seconds from {DEADLINES[0]:g} to {DEADLINES[1]:,.0f}")
    if request.instrument is not None and not request.instrument.strip():
        raise ConfigError("--instrument is empty: leave it out to flatten the whole account")

    async def work(operator: Operator) -> None:
        name = await _settle(operator, account, request.instrument)
        if not request.yes and sys.stdin is not None and sys.stdin.isatty():
            await _confirm(operator, name, request.instrument)
        display = (JsonDisplay if reach.json else PlainDisplay)(sys.stdout)
        try:
            await conduct(operator, evolve(request, account=name), display, WallClock())
        finally:
            display.close()

    at_venue(reach, work)


async def _settle(operator: Operator, account: str, instrument: str | None) -> str:
    """The account as the venue spells it. Where it doesn't answer, as it was given: this is no time to give up."""
    operator.covering(instrument)  # a name that is none is found before anything is sent
    found = account
    with trio.move_on_after(GLANCE):
        try:
            found = (await operator.account(account)).name
        except (AuthError, ConfigError):
            raise
        except XtalgoError as error:
            complain(f"warning: {error}; going on all the same")
            return found
        if instrument is not None:
            try:
                await operator.client.call("GetQuote", instrument=instrument)
            except VenueError as error:
                if operator.client.status in (400, 404):
                    text = f"{error}; leave --instrument out to flatten the whole account"
                    raise ConfigError(text) from None
            except (NotSent, OutcomeUnknown):
                pass  # it is asked again before anything is called flat
    return found


async def _confirm(operator: Operator, account: str, instrument: str | None) -> None:
    """Ask at the terminal. Raises NotFlat unless the answer is yes."""
    covers, told = operator.covering(instrument), "what is open there could not be read"
    with trio.move_on_after(GLANCE):
        try:
            held = [row for row in await operator.rows("ListPositions", account) if covers(row.instrument) and row.net]
            listed = await operator.rows("ListOrders", account)
            working = [row for row in listed if not row.state.is_done and _is_meant(row.instrument, covers)]
            told = f"{', '.join(f'{row.net:+d} {row.instrument}' for row in held) or 'no position'}"
            told += f", {len(working)} working orders"
        except XtalgoError as error:
            told += f" ({error})"
    what = account if instrument is None else f"{instrument} in {account}"
    sys.stderr.write(f"{what}: {told}\nCancel and close all of it at market? [y/N] ")
    sys.stderr.flush()
    if sys.stdin.readline().strip().casefold() not in ("y", "yes"):
        raise NotFlat("not confirmed: nothing was sent")


async def conduct(operator: Operator, request: FlattenRequest, display: Display, clock: WallClock) -> None:
    """Run a flatten to its verdict. Raises NotFlat when that is not *flat*."""
    start = clock.now()
    until = start + round(request.deadline * SECOND_NS)
    covers = operator.covering(request.instrument)
    machine = Flattening(request.account, start, until, request.instrument, covers)
    what = request.account if request.instrument is None else f"{request.instrument} in {request.account}"

    def tell(event: str, text: str, *, warns: bool = False, **facts: Any) -> None:
        display.tell(News(clock.now(), event, text, {"account": request.account, **facts}, warns))

    tell("start", f"flattening {what}, for up to {request.deadline:g} s", instrument=request.instrument)
    verified = False
    try:
        while (calls := machine.next(clock.now())) is not None:
            for call in calls:
                reply = await make(operator, call, clock)
                machine.take(call, reply, clock.now())
                is_good = reply.end is End.DONE and reply.complete
                text = f"{_shown(call)}: {_told(call, reply, covers) if is_good else _wrong(reply)}"
                tell("step", text, warns=not is_good, step=call.step.value, end=reply.end.value)
            if not calls:
                await trio.sleep_until(clock.trio_deadline(machine.due))
        verified = machine.verdict is Verdict.FLAT
    finally:
        left = [position_text(row) for row in machine.positions] + [order_text(row) for row in machine.orders]
        now = clock.now()
        seconds = round((now - start) / SECOND_NS, 3)
        age = None if machine.seen is None else round((now - machine.seen) / SECOND_NS, 3)
        text = f"{what} is FLAT: the venue said so twice, {seconds:.1f} s"
        if not verified:
            text = f"{what} is NOT known to be flat after {seconds:.1f} s: {machine.why}"
        facts = {"flat": verified, "left": left, "seen_ago": age, "doubts": machine.doubts, "seconds": seconds}
        tell("verdict", text, warns=not verified, **facts)
        for row in left:
            tell("left", f"left, as seen {age:.1f} s ago: {row}", warns=True)
    if not verified:
        last = machine.why if age is not None else f"its orders and positions could not be read ({machine.why})"
        raise NotFlat(
            f"{what} is not known to be flat: {'; '.join(left) or last}. Try again, or close it in NinjaTrader"
        )


async def make(operator: Operator, call: Call, clock: WallClock) -> Reply:
    """Make one call of a flatten, and say how it ended. Raises AuthError for the token, and no other error."""
    step = call.step
    lost = End.UNKNOWN if step.mutates else End.NOT_DONE
    args: dict[str, Any] = {} if step in (Step.ACCOUNTS, Step.QUOTE) else {"account": call.account}
    if call.instrument is not None:
        args["instrument"] = call.instrument
    with trio.move_on_at(clock.trio_deadline(call.until)):
        try:
            answer = await operator.client.call(step.value, **args)
        except AuthError:
            raise
        except NotSent as error:
            return Reply(End.NOT_DONE, text=str(error))
        except OutcomeUnknown as error:
            return Reply(lost, text=str(error))
        except VenueError as error:
            is_late = operator.client.status == 429 or not step.mutates
            return Reply(End.NOT_DONE if is_late else End.REFUSED, text=str(error))
        except XtalgoError as error:
            return Reply(End.REFUSED if step.mutates else End.NOT_DONE, text=str(error))
        return _reply(operator, call, answer, clock.now())
    return Reply(lost, text=f"{step}: no answer in time")


def _reply(operator: Operator, call: Call, answer: Answer[Any], now: Ns) -> Reply:
    """What an answer says, with what it can't prove said aloud."""
    match call.step:
        case Step.ACCOUNTS:
            row = next((row for row in answer.value if row.name.casefold() == call.account.casefold()), None)
            if row is None:
                return Reply(End.DONE, complete=False, text=f"the venue does not list {call.account}")
            if row.is_connected is False:
                why = f"{call.account} is not connected in NinjaTrader, so its lists prove nothing"
                return Reply(End.DONE, complete=False, text=why)
            return Reply(End.DONE, text=f"{row.name} is there")
        case Step.QUOTE:
            covers = operator.covering(call.instrument)
            known = len(answer.value) == 1 and covers(answer.value[0].instrument)
            return Reply(End.DONE, complete=known, text="" if known else f"the venue does not know {call.instrument}")
        case Step.ORDERS | Step.POSITIONS:
            ask = Ask.ORDERS if call.step is Step.ORDERS else Ask.POSITIONS
            told = seen(Query(ask, call.account, call.serial), answer, now, operator.canonical)
            assert isinstance(told, OrdersSeen | PositionsSeen)
            rows = told.orders if isinstance(told, OrdersSeen) else told.positions
            if not told.complete or len(rows) < len(answer.value):
                why = "rows that can't be read, or are another account's: it proves nothing"
                return Reply(End.DONE, complete=False, text=why)
            if isinstance(told, OrdersSeen):
                return Reply(End.DONE, orders=told.orders)
            return Reply(End.DONE, positions=told.positions)
        case _:
            return Reply(End.DONE, text=_mutation_text(answer))


def _mutation_text(answer: Answer[Any]) -> str:
    value, parts = answer.value, []
    ids, closed = getattr(value, "order_ids", None), getattr(value, "closed_positions", None)
    if closed is not None:
        parts.append("closing " + (", ".join(f"{row.net:+d} {row.instrument}" for row in closed) or "nothing"))
    elif ids is not None:
        parts.append(f"cancelling {len(ids)} orders")
    if answer.warning:
        parts.append(answer.warning)
    return "; ".join(parts) or "done"


def _shown(call: Call) -> str:
    return " ".join([call.step.value, *([] if call.instrument is None else [call.instrument])])


def _wrong(reply: Reply) -> str:
    return reply.text if reply.end is End.DONE else f"{reply.end}: {reply.text}"


def _told(call: Call, reply: Reply, covers: Callable[[str], bool]) -> str:
    """What an answer says, for people."""
    if call.step not in (Step.ORDERS, Step.POSITIONS):
        return reply.text or "done"
    rows: Iterable[str] = [position_text(row) for row in reply.positions if row.quantity and covers(row.instrument)]
    working = [row for row in reply.orders if not row.standing.is_done and _is_meant(row.instrument, covers)]
    return "; ".join([*rows, *(order_text(row, names_it=False) for row in working)]) or "nothing open"


def _is_meant(instrument: str | None, covers: Callable[[str], bool]) -> bool:
    return instrument is None or covers(instrument)


def position_text(row: PositionReport) -> str:
    """A position in a few words."""
    return f"{row.quantity:+d} {row.instrument}"


def order_text(row: OrderReport, *, names_it: bool = True) -> str:
    """An order that may still trade, in a few words, with its id or without."""
    side = "" if row.side is None else f"{row.side.name} "
    prices = [price for price in (row.stop_price, row.limit_price) if price is not None]
    at = f" at {' / '.join(f'{price:.10g}' for price in prices)}" if prices else ""
    count = "?" if row.quantity is None else str(row.quantity - (row.filled or 0))
    text = f"order {side}{count} {row.instrument or 'of an instrument not told'}{at}, {row.standing}"
    return f"{text} ({row.order_id})" if names_it else text
