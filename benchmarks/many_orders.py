"""Three strategies on one token, two accounts, many orders in a minute: what leaves when, and what becomes of each.

The whole client against the whole server, tied back to back, in virtual time and without a socket. ``within`` asks for
forty orders of each strategy in a minute, ``over`` for a hundred and twenty, ``at once`` for forty of each in the same
moment. Every order must end at the venue or with a reason that its strategy was told, nothing may leave after its time
limit or before something more urgent that waits, and requests must fit a bucket of 20 and 180 a minute at every moment.

    python benchmarks/many_orders.py [--log]
"""

from __future__ import annotations

import argparse
import statistics
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any

import msgspec
from attrs import Factory, define, field, frozen

from xtalgo import (
    Fees,
    FillModel,
    Instrument,
    Latency,
    MemberStatus,
    Order,
    OrderGroup,
    Quote,
    QuoteTable,
    RiskLimits,
    Strategy,
)
from xtalgo.client.aslive import LEAD, Rehearsal, make_trader
from xtalgo.engine.pacing import Entry, Lane, PacingQueue
from xtalgo.model.instruments import ContractBook
from xtalgo.model.types import MILLISECOND_NS, MINUTE_NS, SECOND_NS, Ns, OrderStatus, OrderType
from xtalgo.sim.feeds import TableFeed
from xtalgo.sim.server import SimServer

ES = "ES 06-26"
START: Ns = 1_778_680_800_000_000_000
ACCOUNTS = ("Sim101", "Sim102")
QUIET = 90
"""Seconds after the minute, for what is still to be seen."""


# --- the three strategies --------------------------------------------------------------------------------------------


class Trading(Strategy):
    """Wishes for ``orders`` orders in a minute, ``each`` at a time, and remembers what it was told of each."""

    instrument: Instrument = ES
    orders_wanted: int = 40
    each: int = 2

    def on_start(self) -> None:
        """Nothing is wished for yet."""
        self.mine: list[Order] = []
        self.told: dict[str, OrderStatus] = {}
        self.groups: list[OrderGroup] = []

    def on_quote(self, quote: Quote) -> None:
        """At every so many quotes, some more orders."""
        second = (quote.ts - START) // SECOND_NS
        beat = max(1, 60 * self.each // self.orders_wanted)
        if second % beat == 0:
            wanted = min(self.orders_wanted, len(self.mine) + self.each)
            while len(self.mine) < wanted:
                self.wish(quote)
        elif second % beat == 1:
            self.afterwards()

    def afterwards(self) -> None:
        """A second after the wishes."""

    def wish(self, quote: Quote) -> None:
        """One more order, or one more group of two."""
        raise NotImplementedError

    def on_order(self, order: Order) -> None:
        """Remember."""
        self.told[order.id] = order.status

    def on_group(self, group: OrderGroup) -> None:
        """Remember."""
        self.groups.append(group)

    def elsewhere(self) -> str:
        """The accounts in turn."""
        return self.accounts[len(self.mine) % len(self.accounts)]


class Grouping(Trading):
    """In and out at the market, in both accounts at once."""

    def wish(self, quote: Quote) -> None:
        """A group."""
        verb = self.buy_group if len(self.mine) // 2 % 2 == 0 else self.sell_group
        self.mine += verb(self.instrument, 1).orders.values()


class Resting(Trading):
    """Rests limit orders far from the market, and cancels every other one a second later."""

    def wish(self, quote: Quote) -> None:
        """A limit order."""
        self.mine.append(self.buy(self.instrument, 1, limit_price=quote.bid - 20, account=self.elsewhere()))

    def afterwards(self) -> None:
        """Half of them are cancelled."""
        for order in self.mine[::2]:
            self.cancel(order)


class Flipping(Trading):
    """Long, out and in again at the market, an account at a time."""

    def wish(self, quote: Quote) -> None:
        """An order that opens, or one that closes it again."""
        account = self.elsewhere()
        verb = self.buy if len(self.mine) // 2 % 2 == 0 else self.sell
        self.mine.append(verb(self.instrument, 1, account=account))


# --- the log of the queue --------------------------------------------------------------------------------------------


@frozen
class Departure:
    """Something that left. ``passed_over`` are the lanes of what was more urgent, waited, and could have left.

    ``before`` are the lanes of what was less urgent and waited with it.
    """

    at: Ns
    lane: Lane
    waited: Ns
    deadline: Ns | None
    what: str
    passed_over: frozenset[Lane] = frozenset()
    before: frozenset[Lane] = frozenset()


@define(eq=False)
class Logged(PacingQueue[Any]):
    """A queue that is watched from outside: what was pushed, and what came out of it how."""

    log: list[Departure] = field(factory=list)
    stale: list[tuple[Ns, Lane]] = field(factory=list)
    _here: dict[int, tuple[Any, Lane, Ns | None]] = field(factory=dict)

    def push(self, item: Any, lane: Lane, now: Ns, *, ttl: Ns | None = None, key: str | None = None) -> bool:
        """Note what waits."""
        taken = PacingQueue.push(self, item, lane, now, ttl=ttl, key=key)
        if taken:
            self._here[id(item)] = (item, lane, None if ttl is None else now + ttl)
        return taken

    def pop(self, now: Ns) -> Entry[Any] | None:
        """Note what leaves, and past what."""
        entry = PacingQueue.pop(self, now)
        if entry is not None:
            del self._here[id(entry.item)]
            fresh = [lane for _, lane, deadline in self._here.values() if deadline is None or deadline >= now]
            over = frozenset(lane for lane in fresh if lane < entry.lane)
            before = frozenset(lane for lane in fresh if lane > entry.lane)
            what = type(entry.item).__name__
            self.log.append(Departure(now, entry.lane, now - entry.queued, entry.deadline, what, over, before))
        return entry

    def expired(self, now: Ns) -> Iterator[Any]:
        """Note what goes stale."""
        for item in PacingQueue.expired(self, now):
            self.stale.append((now, self._here.pop(id(item))[1]))
            yield item

    def remove(self, key: str) -> Any:
        """Note what is withdrawn."""
        item = PacingQueue.remove(self, key)
        if item is not None:
            del self._here[id(item)]
        return item


# --- one minute ------------------------------------------------------------------------------------------------------


@frozen
class Case:
    """What is asked for. ``each`` is how many orders a strategy wishes for at once."""

    name: str
    orders: int
    each: int


CASES = (Case("within", 40, 2), Case("over", 120, 6), Case("at once", 40, 40))


@define
class Outcome:
    """What came of a minute."""

    case: Case
    queue: Logged
    strategies: Sequence[Trading]
    arrivals: list[Ns]
    """When requests came to the server."""
    placed: dict[str, Order] = Factory(dict)
    """Orders that are in the venue's list."""
    reasons: Counter[str] = Factory(Counter)
    """Why the others are not, by status and reason."""
    problems: list[str] = Factory(list)
    """Laws that did not hold."""
    refused: int = 0
    """Requests that the server refused for its budget."""
    seen_after: list[Ns] = Factory(list)
    """How long after each fill the client saw it."""


def recording(seconds: int) -> QuoteTable:
    """A quote a second that wanders a little; synthetic."""
    rows = range(seconds)
    bids = [4800.0 + 0.25 * (row * 7 % 5) for row in rows]
    stamps = [START + row * SECOND_NS for row in rows]
    return QuoteTable.from_rows((ES,), [0] * seconds, stamps, bids, [bid + 0.25 for bid in bids], bids, list(rows))


def play(case: Case, queue: Logged | None = None) -> Outcome:
    """Live one minute, and judge it; with another queue to see that the laws can be broken."""
    book = ContractBook()
    strategies = [kind(orders_wanted=case.orders, each=case.each) for kind in (Resting, Grouping, Flipping)]
    trader = make_trader(strategies, contracts=book, accounts=ACCOUNTS, limits=RiskLimits(), run="m")
    queue = trader.queue = queue or Logged()
    queue.hold(0)
    server = SimServer(
        TableFeed(recording(60 + QUIET), book),
        accounts=ACCOUNTS,
        contracts=book,
        fills=FillModel(),
        latency=Latency(entry=250 * MILLISECOND_NS, report=0),
        fees=Fees(),
    )
    outcome = Outcome(case, queue, strategies, [])
    receive = server.receive

    def noted(connection: int, text: str, now: Ns) -> None:
        if msgspec.json.decode(text)["action"] == "rpc":
            outcome.arrivals.append(now)
        receive(connection, text, now)

    server.receive = noted  # type: ignore[method-assign]
    life = Rehearsal(trader, server, START - LEAD)
    life.connect()
    life.run(START + (60 + QUIET) * SECOND_NS)
    if trader.error is not None:
        raise trader.error
    outcome.refused = server.violations
    assert trader.engine is not None
    outcome.seen_after = sorted(fill.ts - fill.executed for fill in trader.engine.blotter.fills if fill.executed)
    _judge(outcome, server)
    return outcome


# --- the laws --------------------------------------------------------------------------------------------------------


def _judge(outcome: Outcome, server: SimServer) -> None:
    there = {order.key: order for order in server.venue.orders}
    for strategy in outcome.strategies:
        if len(strategy.mine) != outcome.case.orders:
            outcome.problems.append(f"{type(strategy).__name__} wished for {len(strategy.mine)} orders")
        for order in strategy.mine:
            _judge_order(outcome, strategy, order, there)
        for group in strategy.groups:
            if not group.is_settled or MemberStatus.IN_DOUBT in group.status.values():
                outcome.problems.append(f"{group.id} was told and is not settled: {group}")
    for departure in outcome.queue.log:
        if departure.passed_over:
            names = ", ".join(sorted(lane.name for lane in departure.passed_over))
            outcome.problems.append(f"{_second(departure.at)}: a {departure.lane.name} left before {names}")
        if departure.deadline is not None and departure.at > departure.deadline:
            outcome.problems.append(f"{_second(departure.at)}: {departure.what} left after its time limit")
    if len(outcome.arrivals) != len(outcome.queue.log):
        outcome.problems.append(f"{len(outcome.queue.log)} requests left and {len(outcome.arrivals)} came")
    outcome.problems += overdrafts(outcome.arrivals)
    if outcome.refused:
        outcome.problems.append(f"the server refused {outcome.refused} requests for its budget")


def _judge_order(outcome: Outcome, strategy: Trading, order: Order, there: dict[str, Any]) -> None:
    if strategy.told.get(order.id) is not order.status:
        told = strategy.told.get(order.id, "nothing")
        outcome.problems.append(f"{order.id} is {order.status}, and its strategy was told {told}")
    if order.id in there:
        outcome.placed[order.id] = order
        late = order.type is OrderType.MARKET and order.status is not OrderStatus.FILLED
        if late or (order.status is OrderStatus.CANCELLED and order.evidence in ("stale", "unsent")):
            outcome.problems.append(f"{order.id} is at the venue as {there[order.id].state}, and here {order.status}")
    elif order.is_done and order.reason:
        outcome.reasons[f"{order.status}: {order.reason}"] += 1
    else:
        outcome.problems.append(f"{order.id} is {order.status} without a reason, and not at the venue")


def overdrafts(stamps: Sequence[Ns], capacity: int = 20, per_minute: int = 180) -> list[str]:
    """Spans in which more came than a bucket gives: for any two of them, in whole numbers, without a bucket."""
    found = []
    for first, begin in enumerate(stamps):
        for last in range(first + capacity, len(stamps)):
            span = stamps[last] - begin
            if (last - first + 1 - capacity) * MINUTE_NS > per_minute * span:
                found.append(f"{_second(begin)}: {last - first + 1} requests in {span / SECOND_NS:.3f} s")
                break
    return found


def _second(at: Ns) -> str:
    return f"second {(at - START) / SECOND_NS:.3f}"


# --- for people ------------------------------------------------------------------------------------------------------


def table(outcome: Outcome) -> str:
    """Waits by lane, the ends of all orders, and the busiest ten seconds, for people."""
    total = len(outcome.strategies) * outcome.case.orders
    queue, minute = outcome.queue, START + MINUTE_NS
    lines = [
        f"{outcome.case.name}: {total} orders of {len(outcome.strategies)} strategies in {len(ACCOUNTS)} accounts, "
        f"{outcome.case.each} of each at a time",
        f"  {'lane':<8}{'left':>6}{'waited':>8}{'median':>10}{'longest':>10}{'stale':>7}",
    ]
    stale = Counter(lane for _, lane in queue.stale)
    for lane in Lane:
        waits = sorted(item.waited for item in queue.log if item.lane is lane)
        if waits or stale[lane]:
            behind = len(waits) - bisect_left(waits, 1)
            middle, longest = (statistics.median(waits), waits[-1]) if waits else (0, 0)
            lines.append(
                f"  {lane.name:<8}{len(waits):>6}{behind:>8}{middle / SECOND_NS:>8.3f} s{longest / SECOND_NS:>8.3f} s"
                f"{stale[lane]:>7}"
            )
    for lane in (Lane.REDUCE, Lane.PLACE):
        for other in (Lane.PLACE, Lane.STATUS):
            if other > lane:
                count = sum(other in item.before for item in queue.log if item.lane is lane)
                back = sum(lane in item.passed_over for item in queue.log if item.lane is other)
                lines.append(
                    f"  {count} times a {lane.name} left while a {other.name} waited, and {back} times after it"
                )
    inside = sum(START <= at < minute for at in outcome.arrivals)
    lines.append(f"  {inside} requests in the minute; {len(outcome.placed)} of {total} orders at the venue")
    lines += [f"  {count} {reason}" for reason, count in sorted(outcome.reasons.items())]
    if outcome.seen_after:
        middle, longest = statistics.median(outcome.seen_after), outcome.seen_after[-1]
        lines.append(
            f"  fills were seen after {middle / SECOND_NS:.1f} s in the median, {longest / SECOND_NS:.1f} s at most"
        )
    for strategy in outcome.strategies:
        there = sum(order.id in outcome.placed for order in strategy.mine)
        groups = ""
        if strategy.groups:
            apart = sum(group.is_diverged for group in strategy.groups)
            groups = f"; {len({group.id for group in strategy.groups})} groups told, {apart} diverged"
        lines.append(f"  {type(strategy).__name__:<9} {there:>3} placed, {len(strategy.mine) - there} not{groups}")
    lines += [f"  LAW BROKEN: {problem}" for problem in outcome.problems]
    return "\n".join(lines)


def log(outcome: Outcome, first: Ns = START, last: Ns = START + MINUTE_NS) -> str:
    """What left, moment by moment: the lanes in the order of leaving, and the longest wait among them."""
    moments: dict[Ns, list[Departure]] = {}
    for item in outcome.queue.log:
        if first <= item.at < last:
            moments.setdefault(item.at, []).append(item)
    lines = []
    for at, items in moments.items():
        lanes = " ".join(item.lane.name for item in items)
        longest = max(item.waited for item in items) / SECOND_NS
        lines.append(f"  {(at - START) / SECOND_NS:>8.3f}  {longest:>6.3f} s  {lanes}")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--log", action="store_true", help="print what left, moment by moment")
    asked = parser.parse_args()
    for case in CASES:
        outcome = play(case)
        print(table(outcome))
        if asked.log:
            print(f"  {'second':>8}  {'waited':>8}  left\n{log(outcome)}")
        print()


if __name__ == "__main__":
    main()
