"""One call for several accounts: checked, ordered by risk and priced before it is made, and a report of what came.

For scripts and the command line, over any client: ``plan_group`` makes the plan and sends nothing, ``carry_out`` makes
its calls one after another. The order is that of a strategy's groups: what only reduces first, the largest exposure
before the others, then what opens, the smallest resulting exposure first; among equals the order of the accounts.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from math import inf
from typing import Any, Final, Protocol

from attrs import frozen

from xtalgo.client.calls import End
from xtalgo.engine.pacing import Forecast, Lane, PacingQueue
from xtalgo.model.errors import (
    AuthError,
    ConfigError,
    LocalProtocolError,
    NoConnection,
    NotSent,
    SessionTakenOver,
    VenueError,
    XtalgoError,
)
from xtalgo.model.instruments import ContractBook
from xtalgo.model.types import SECOND_NS
from xtalgo.protocol.checks import check_args
from xtalgo.protocol.replies import Answer
from xtalgo.protocol.rows import Position
from xtalgo.protocol.rpc import TABLE, RpcSpec

__all__ = ["Call", "GroupPlan", "GroupReport", "MemberReport", "PlannedCall", "carry_out", "plan_group"]

_ONE_ORDERS: Final = ("orderId", "executionId", "strategyId")
"""Arguments that name one thing, which several accounts can't share."""


class Call(Protocol):
    """The method of a client that calls a function: ``RestClient.call``, or that of a client of the socket."""

    def __call__(self, api: str, /, *, everything: bool = False, **args: Any) -> Awaitable[Answer[Any]]:
        """Call it; raises as ``RestClient.call`` does."""


# --- the plan --------------------------------------------------------------------------------------------------------


@frozen
class PlannedCall:
    """One account's call. ``contracts`` is what is held where it reduces, and what may be held where it opens.

    ``exposure`` is the same in dollars: contracts times point value times price. Both are None where nobody knows.
    """

    account: str
    args: Mapping[str, Any]
    reduces: bool
    contracts: int | None = None
    exposure: float | None = None


@frozen
class GroupPlan:
    """What is to be called, in the order of leaving.

    ``forecast`` counts from 0, in nanoseconds: when each would leave if nothing else asks for the budget, and each is
    answered at once.
    """

    api: str
    calls: tuple[PlannedCall, ...]
    forecast: Forecast

    @property
    def cost(self) -> int:
        """Requests out of the budget: one for each account."""
        return len(self.calls)

    @property
    def accounts(self) -> tuple[str, ...]:
        """The accounts, in the order of leaving."""
        return tuple(call.account for call in self.calls)

    def __str__(self) -> str:
        """What it costs, and what is called in which order, for people."""
        at_once, last = self.forecast.at_once, self.forecast.last
        when = "" if at_once == self.cost else f", {at_once} at once and the last after {last / SECOND_NS:.1f} s"
        spec = TABLE[self.api]
        lines = [f"{self.api} for {_many(self.cost, 'account')}: {_many(self.cost, 'request')}{when}"]
        width = max(len(account) for account in self.accounts)
        for number, call in enumerate(self.calls, 1):
            held = "unknown" if call.contracts is None else _many(call.contracts, "contract")
            worth = "" if not call.exposure else f" worth {call.exposure:,.0f}"
            rest = ", ".join(f"{name}={value}" for name, value in call.args.items() if name != "account")
            what = f"reduces {held}{worth}" if call.reduces else f"opens, to {held}{worth}"
            lines.append(f"{number:>3}  {call.account:<{width}}  {what if spec.mutates else 'reads'}  {rest}".rstrip())
        return "\n".join(lines)


def _many(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def plan_group(
    api: str,
    accounts: Iterable[str] | None = None,
    args: Mapping[str, Any] | None = None,
    by_account: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    positions: Iterable[Position] | None = None,
    prices: Mapping[str, float] | None = None,
    contracts: ContractBook | None = None,
    tokens: float | None = None,
) -> GroupPlan:
    """Plan a function for several accounts; sends nothing.

    ``args`` are for all, ``by_account`` adds to them or replaces some, and names the accounts where ``accounts`` does
    not. ``positions`` are the rows that GetAllPositions answers, complete: an account without one is flat. Without them
    it is not known what an order reduces, so that every order counts as opening. ``prices`` by instrument stand in for
    the rows' own. ``tokens`` is what the request budget holds now (a client of the socket tells); left out, it is full.
    Raises ConfigError for what can't be right, with the account.
    """
    spec = TABLE[api]
    if spec.argument("account") is None:
        raise ConfigError(f"{api}: it acts on no account, so there is nothing to do for several")
    if spec.everywhere:
        raise ConfigError(f"{api}: it acts on every account by itself; call it once")
    own = dict(by_account or {})
    names = _names(api, accounts, own)
    shared = dict(args or {})
    if "account" in shared:
        raise ConfigError(f"{api}: the accounts of a group are given beside its arguments: leave out account")
    for name in _ONE_ORDERS:
        if len(names) > 1 and shared.get(name) is not None:
            raise ConfigError(f"{api}: {name} is one account's: give it by account")
    checked = []
    for name in names:
        try:
            checked.append(check_args(spec.name, {**shared, **own.get(name, {}), "account": name}))
        except ConfigError as error:
            raise ConfigError(f"{error} (account {name})") from None
    holdings = _Holdings(contracts or ContractBook(), positions, dict(prices or {}))
    calls = [_planned(spec, call, holdings) for call in checked]
    # In one instrument exposures are as contracts, and no price is needed to compare them.
    alike = len({call.get("instrument") for call in checked}) == 1 and checked[0].get("instrument") is not None
    calls.sort(key=lambda call: _rank(call, alike))
    return GroupPlan(spec.name, tuple(calls), _forecast(Lane(spec.lane.value), len(calls), tokens))


def _forecast(lane: Lane, count: int, tokens: float | None) -> Forecast:
    """When so many requests would leave, counted from 0."""
    queue: PacingQueue[Any] = PacingQueue()
    if tokens is not None:
        for _ in range(queue.bucket.capacity - max(0, int(tokens))):
            queue.bucket.take(0)
    return queue.forecast(0, [lane] * count)


def _rank(call: PlannedCall, alike: bool) -> tuple[bool, float]:
    """Smaller leaves first. What nobody knows counts as the largest."""
    size = call.contracts if alike else call.exposure
    known = inf if size is None else float(size)
    return (False, -known) if call.reduces else (True, known)


def _names(api: str, accounts: Iterable[str] | None, own: dict[str, Mapping[str, Any]]) -> list[str]:
    names = list(own) if accounts is None else [accounts] if isinstance(accounts, str) else list(accounts)
    if not names:
        raise ConfigError(f"{api}: name at least one account")
    seen: set[str] = set()
    for name in names:
        if not isinstance(name, str) or not name.strip():
            raise ConfigError(f"{api}: an account is given by its name, not as {name!r}")
        if name.strip().casefold() in seen:
            raise ConfigError(f"{api}: account {name} is in the group twice")
        seen.add(name.strip().casefold())
    for name in own:
        if name not in names:
            raise ConfigError(f"{api}: there are arguments for account {name}, which is not in the group")
    return names


class _Holdings:
    """What is held, and what a contract is worth, as far as it is known."""

    def __init__(
        self, contracts: ContractBook, positions: Iterable[Position] | None, prices: Mapping[str, float]
    ) -> None:
        self._contracts, self._prices = contracts, prices
        self._rows = None if positions is None else list(positions)

    def _stands_for(self, wanted: str, held: str) -> bool:
        try:
            want, have = self._contracts.parse(wanted), self._contracts.parse(held)
        except ConfigError:
            return wanted.strip().casefold() == held.strip().casefold()
        return want.root == have.root and want.month in (None, have.month) and want.year in (None, have.year)

    def _of(self, account: str, instrument: str | None) -> list[Position]:
        return [
            row
            for row in self._rows or ()
            if (row.account or "").casefold() == account.casefold()
            and (instrument is None or self._stands_for(instrument, row.instrument))
        ]

    def net(self, account: str, instrument: str) -> int | None:
        """Signed contracts; None where positions were not told."""
        return None if self._rows is None else sum(row.net for row in self._of(account, instrument))

    def held(self, account: str, instrument: str | None) -> tuple[int | None, float | None]:
        """Contracts that are held, long or short, in an instrument or in all; and what they are worth."""
        if self._rows is None:
            return None, None
        rows = self._of(account, instrument)
        worth = [self.worth(abs(row.net), row.instrument, row.market_price or row.average_price) for row in rows]
        known = [value for value in worth if value is not None]
        return sum(abs(row.net) for row in rows), sum(known) if len(known) == len(worth) else None

    def price(self, account: str, instrument: str) -> float | None:
        """A price by what is held."""
        rows = self._of(account, instrument)
        return (rows[0].market_price or rows[0].average_price) if rows else None

    def worth(self, contracts: int | None, instrument: str, price: float | None) -> float | None:
        """Contracts times point value times price, in dollars."""
        if not contracts:
            return None if contracts is None else 0.0
        price = next((told for name, told in self._prices.items() if self._stands_for(name, instrument)), price)
        try:
            return None if price is None else contracts * self._contracts.contract(instrument).point_value * price
        except ConfigError:
            return None


def _planned(spec: RpcSpec, args: dict[str, Any], holdings: _Holdings) -> PlannedCall:
    account, instrument = args["account"], args.get("instrument")
    if not spec.mutates:
        return PlannedCall(account, args, False, 0, 0.0)
    if spec.lane.value == Lane.REDUCE.value:
        return PlannedCall(account, args, True, *holdings.held(account, instrument))
    if instrument is None:
        return PlannedCall(account, args, False)
    net, size = holdings.net(account, instrument), args.get("quantity")
    after: int | None = size
    if spec.name == "Reverse":
        after = None if net is None else abs(net)
    elif spec.name == "PlaceOrder" and size is not None and net is not None:
        change = size if args["action"] == "BUY" else -size
        if net * change < 0 and size <= abs(net):
            return PlannedCall(account, args, True, *holdings.held(account, instrument))
        after = abs(net + change)
    price = args.get("limitPrice") or args.get("stopPrice") or holdings.price(account, instrument)
    return PlannedCall(account, args, False, after, holdings.worth(after, instrument, price))


# --- the report ------------------------------------------------------------------------------------------------------


@frozen
class MemberReport:
    """How one account's call ended. ``text`` says why where it was not done, or is the venue's warning."""

    account: str
    end: End
    text: str = ""
    answer: Answer[Any] | None = None


@frozen
class GroupReport:
    """What came of each account, in the order of the plan."""

    api: str
    members: tuple[MemberReport, ...]

    def of(self, end: End) -> tuple[str, ...]:
        """The accounts whose call ended so."""
        return tuple(member.account for member in self.members if member.end is end)

    @property
    def is_complete(self) -> bool:
        """Whether every call was done. *Done* is what the venue says: an order that was accepted, not one filled."""
        return all(member.end is End.DONE for member in self.members)

    @property
    def is_diverged(self) -> bool:
        """Whether some accounts have it and others don't, or nobody knows of some."""
        return 0 < len(self.of(End.DONE)) < len(self.members) or 0 < len(self.of(End.UNKNOWN)) < len(self.members)

    @property
    def needs_a_look(self) -> tuple[str, ...]:
        """Accounts in which it may have been done, or not: look at their orders and positions before anything else."""
        return self.of(End.UNKNOWN)

    def __str__(self) -> str:
        """A line for all, and one for each account, for people."""
        counts = ", ".join(f"{len(found)} {end}" for end in End if (found := self.of(end)))
        width = max(len(member.account) for member in self.members)
        lines = [
            f"{self.api} for {_many(len(self.members), 'account')}: {counts}",
            *(f"  {one.account:<{width}}  {one.end}{f': {one.text}' if one.text else ''}" for one in self.members),
        ]
        if self.needs_a_look:
            lines.append(f"may have been carried out, look before you repeat it: {', '.join(self.needs_a_look)}")
        return "\n".join(lines)


async def carry_out(
    plan: GroupPlan,
    call: Call,
    *,
    is_late: Callable[[], bool] | None = None,
    told: Callable[[MemberReport], None] | None = None,
) -> GroupReport:
    """Make the calls of a plan, one after another in its order, and say what came of each.

    Each is awaited before the next leaves: that keeps the order, and lets the first sign of trouble stop the rest.
    After the token was refused, the session taken over or the connection given up, and once ``is_late`` (the time limit
    of the group) says so, nothing that opens is called any more; what reduces is. Nothing is called twice: not what was
    refused, and never what may have been done. Raises nothing for a call that fails. When it is cancelled its report is
    lost, but ``told`` has heard of each call as it ended; the one under way may have been done.
    """
    members: list[MemberReport] = []
    stop = ""
    spec = TABLE[plan.api]
    for planned in plan.calls:
        if not planned.reduces and not stop and is_late is not None and is_late():
            stop = "not sent: the time limit of the group has passed"
        if stop and not planned.reduces:
            member = MemberReport(planned.account, End.NOT_DONE, stop)
        else:
            member, why = await _one(spec, planned, call, is_over=bool(stop))
            stop = stop or why
        members.append(member)
        if told is not None:
            told(member)
    return GroupReport(plan.api, tuple(members))


async def _one(spec: RpcSpec, planned: PlannedCall, call: Call, *, is_over: bool) -> tuple[MemberReport, str]:
    """One call, and why nothing that opens may follow it; empty where it may."""
    stop = ""
    try:
        answer = await call(spec.name, **planned.args)
    except AuthError as error:
        end, text, stop = End.REFUSED, str(error), "not sent: the token was refused before"
    except (SessionTakenOver, NoConnection) as error:
        # Whether the first had left by then isn't told; one that is called once the session is over does not leave.
        why = "the session was taken over" if isinstance(error, SessionTakenOver) else "the connection was lost"
        end, text, stop = End.NOT_DONE if is_over else _lost(spec), str(error), f"not sent: {why} before"
    except VenueError as error:
        end, text = End.REFUSED, str(error)
    except (NotSent, ConfigError, LocalProtocolError) as error:
        end, text = End.NOT_DONE, str(error)
    except Exception as error:  # whatever else it is, it may have happened after the call had left
        text = str(error) if isinstance(error, XtalgoError) else f"{type(error).__name__}: {error}"
        end = _lost(spec)
    else:
        return MemberReport(planned.account, End.DONE, answer.warning or "", answer), ""
    return MemberReport(planned.account, end, text), stop


def _lost(spec: RpcSpec) -> End:
    return End.UNKNOWN if spec.mutates else End.NOT_DONE
