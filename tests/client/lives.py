"""Whole lives of a client against a server that goes wrong, from one seed each, and the laws that hold at their end.

A life: seeded strategies trade a few dozen quotes while faults strike, then the faults end and a calm long enough to
learn everything follows. Every seed is a life of its own; ``live(seed)`` is picklable in and out, for other processes.
"""

from __future__ import annotations

import random
from collections import Counter
from typing import Any

import msgspec
from attrs import Factory, define
from tables import ES, MNQ, SECOND, START

from xtalgo import Instrument, Order, Quote, QuoteTable, ReplaySettings, Strategy
from xtalgo.client.aslive import LEAD, Rehearsal, make_trader
from xtalgo.engine.risk import RiskLimits
from xtalgo.model.instruments import ContractBook
from xtalgo.model.types import OrderStatus, OrderType
from xtalgo.sim.faults import Faults
from xtalgo.sim.feeds import TableFeed
from xtalgo.sim.fills import FillModel, Latency
from xtalgo.sim.server import ABUSE_CODE, RATE_LIMIT, Close, SimServer

VERBS = (
    "enter",
    "enter",
    "enter_limit",
    "enter_stop",
    "reduce",
    "target",
    "target",
    "target_flat",
    "close",
    "flatten",
    "cancel_all",
    "cancel_last",
    "move",
    "change",
    "grow",
)
QUIET = 66
"""Seconds of calm after the last fault: a reply may be late by 12, doubt takes 10 to absence, a poll 15 to come."""


class Script(Strategy):
    """Does what its steps say: ``(verb, size, account)`` by second, None for nothing."""

    instrument: Instrument = ES
    steps: Any = Factory(list)
    sign: int = 1

    def on_start(self) -> None:
        self.entries: list[Order] = []

    def on_quote(self, quote: Quote) -> None:
        row = (quote.ts - START) // SECOND
        if row < len(self.steps) and self.steps[row]:
            verb, size, account = self.steps[row]
            getattr(self, f"do_{verb}")(quote, size, self.accounts[account % len(self.accounts)])

    def _enter(self, size: int, account: str, **how: Any) -> Order:
        order = (self.buy if self.sign > 0 else self.sell)(self.instrument, size, account=account, **how)
        self.entries.append(order)
        return order

    def do_enter(self, _quote: Quote, size: int, account: str) -> None:
        self._enter(size, account, stop_loss=2 + size, take_profit=size)

    def do_enter_limit(self, quote: Quote, size: int, account: str) -> None:
        self._enter(size, account, limit_price=quote.bid if self.sign > 0 else quote.ask, stop_loss=3)

    def do_enter_stop(self, quote: Quote, size: int, account: str) -> None:
        self._enter(size, account, stop_price=quote.ask + 0.5 if self.sign > 0 else quote.bid - 0.5)

    def do_reduce(self, _quote: Quote, size: int, account: str) -> None:
        held = self.position(self.instrument, account=account)
        if held:
            (self.sell if held > 0 else self.buy)(self.instrument, min(size, abs(held)), account=account)

    def do_target(self, _quote: Quote, size: int, account: str) -> None:
        self.order_target(self.instrument, self.sign * (size - 2), account=account)

    def do_target_flat(self, _quote: Quote, _size: int, account: str) -> None:
        self.order_target(self.instrument, 0, account=account)

    def do_close(self, _quote: Quote, _size: int, account: str) -> None:
        self.close(self.instrument, account=account)

    def do_flatten(self, _quote: Quote, _size: int, account: str) -> None:
        self.flatten(account=account)

    def do_cancel_all(self, _quote: Quote, _size: int, account: str) -> None:
        self.cancel_all(account=account)

    def do_cancel_last(self, _quote: Quote, _size: int, _account: str) -> None:
        if self.entries:
            self.cancel(self.entries[-1])

    def do_move(self, _quote: Quote, size: int, _account: str) -> None:
        for entry in self.entries[-2:]:
            if entry.average_price is not None and entry.stop_price is None:
                self.change(entry, stop_loss=3 + size)

    def do_change(self, quote: Quote, size: int, account: str) -> None:
        for order in self.orders(account=account):
            if not order.is_exit and order.limit_price is not None:
                price = quote.bid - 0.25 * size if order.side > 0 else quote.ask + 0.25 * size
                self.change(order, limit_price=price)

    def do_grow(self, _quote: Quote, size: int, account: str) -> None:
        for order in self.orders(account=account):
            if not order.is_exit and (order.limit_price or order.stop_price):
                self.change(order, quantity=order.filled + size)


class Other(Script):
    """The same under another name, for two strategies in one account."""


@define
class Life:
    """What one life came to; ``problems`` is empty when every law held."""

    seed: int
    problems: list[str] = Factory(list)
    orders: int = 0
    fills: int = 0
    doubts: int = 0
    absent: int = 0
    stuck: int = 0
    """Drafts that wait for exits to make room, with nobody to look at them again (measured, see ``test_trader``)."""
    drops: int = 0
    row: int = 0
    """The longest row of refusals for the budget."""
    exceeding: int = 0
    """Moments at which exits at the venue covered more than the position (where only one strategy trades)."""
    turned: int = 0
    """Fills of exits that made a position larger, or turned it over (where only one strategy trades)."""
    faults: dict[str, Any] = Factory(dict)
    ending: str = ""


class Watched(Rehearsal):
    """A rehearsal that keeps what the laws need: frames by order, refusals, close codes, exits against positions."""

    def __init__(self, trader: Any, server: Any, start: int) -> None:
        super().__init__(trader, server, start)
        self.sends: Counter[str] = Counter()
        self.refusals: Counter[str] = Counter()
        self.row = self.exceeding = 0
        self.abused = False
        self.history: list[str] = []
        self._ids: dict[str, str] = {}
        receive, send, outputs, violate = server.receive, server._send, server.outputs, server._violate

        def received(connection: int, text: str, now: int) -> None:
            frame = msgspec.json.decode(text)
            if frame.get("api") == "PlaceOrder":
                self._ids[frame["id"]] = frame["args"]["orderId"]
                self.sends[frame["args"]["orderId"]] += 1
            receive(connection, text, now)

        def sent(connection: Any, text: str) -> None:
            if RATE_LIMIT in text and (key := self._ids.get(msgspec.json.decode(text).get("id"))) is not None:
                self.refusals[key] += 1
            send(connection, text)

        def put_out() -> list[Any]:
            out = outputs()
            self.abused |= any(isinstance(item, Close) and item.code == ABUSE_CODE for item in out)
            return out

        def violated() -> None:
            self.row = max(self.row, server._violations + 1)
            violate()

        server.receive, server._send, server.outputs, server._violate = received, sent, put_out, violated

    def _exchange(self) -> None:
        super()._exchange()
        engine = self.trader.engine
        resting = self.server.venue.exchange.resting
        if engine is None or not resting:
            return
        for instrument, orders in resting.items():
            most: dict[tuple[str, int, str], int] = {}
            for order in orders:
                known = engine.blotter.orders.get(order.id)
                if known is not None and known.is_exit:
                    key = (order.account, order.side, order.oco or order.id)
                    most[key] = max(most.get(key, 0), order.remaining)
            for account, side in {key[:2] for key in most}:
                exits = sum(size for key, size in most.items() if key[:2] == (account, side))
                held = self.server.venue.ledger.account_position(account, instrument)
                if exits > max(0, -side * held):
                    self.exceeding += 1


def _steps(dice: random.Random, count: int, density: float) -> list[Any]:
    return [
        (dice.choice(VERBS), dice.randint(1, 4), dice.randint(0, 1)) if dice.random() < density else None
        for _ in range(count)
    ]


def _faults(dice: random.Random, seed: int, busy: int) -> dict[str, Any]:
    """Seconds count from the connection, ``LEAD`` before the first quote."""
    lead = LEAD // SECOND

    def chance(probability: float) -> bool:
        return dice.random() < probability

    def span(*lengths: float) -> list[list[float]]:
        start = dice.uniform(0, lead + busy)
        return [[start, min(lead + busy + 5, start + dice.choice(lengths)) + 0.001]]

    faults: dict[str, Any] = {"seed": seed}
    if chance(0.5):
        faults["lose_reply"] = dice.choice([0.05, 0.2, 0.4])
    if chance(0.4):
        faults["lose_request"] = dice.choice([0.05, 0.2])
    if chance(0.4):
        faults["delay_reply"] = [dice.choice([0.1, 0.4]), dice.choice([0.3, 2.0, 12.0])]
    if chance(0.3):
        faults["double_reply"] = 0.3
    if chance(0.3):
        faults["garbage"] = 0.1
    if chance(0.3):
        faults["rate_refusal"] = dice.choice([0.05, 0.2])
    if chance(0.4):
        faults["drop_at"] = sorted(dice.uniform(0, lead + busy) for _ in range(dice.randint(1, 4)))
    if chance(0.15):
        faults["drop_every"] = dice.choice([7.0, 15.0, 25.0])
    if chance(0.2):
        faults["addon_offline"] = span(2, 15, 40)
    if chance(0.2):
        faults["silence"] = span(5, 20, 40)
    if chance(0.3):
        faults["reassign_ids"] = True
    if chance(0.3):
        faults["most_per_fill"] = dice.choice([1, 2])
    if chance(0.3):
        faults["slow_cancel"] = dice.choice([0.5, 3.0])
    if chance(0.3):
        faults["late_rows"] = dice.choice([0.5, 3.0])
    if chance(0.2):
        faults["reject_order"] = 0.1
    return faults


def _quotes(dice: random.Random, busy: int, instruments: tuple[str, ...], sizes: int | None) -> QuoteTable:
    """One quote a second of each instrument, fewer once all is done; in the calm the price stands."""
    stamps = [row * SECOND for row in (*range(busy + 25), *range(busy + 25, busy + 2 * QUIET, 3))]
    prices = [4800.0, 25000.0]
    rows: list[tuple[int, int, float]] = []
    for number, stamp in enumerate(stamps):
        for code in range(len(instruments)):
            if number < busy:
                prices[code] += dice.choice([-0.5, -0.25, 0, 0, 0.25, 0.5])
            rows.append((code, START + stamp, prices[code]))
    bids = [row[2] for row in rows]
    shown = None if sizes is None else [sizes] * len(rows)
    return QuoteTable.from_rows(
        instruments,
        [row[0] for row in rows],
        [row[1] for row in rows],
        bids,
        [bid + 0.25 for bid in bids],
        bids,
        list(range(len(rows))),
        shown,
        shown,
    )


def live(seed: int) -> Life:
    """One life, and the laws it broke."""
    dice = random.Random(seed)
    life = Life(seed)
    busy = dice.choice([12, 25, 40])
    density = dice.choice([0.2, 0.5, 0.9])
    accounts = ("Sim101", "Sim102") if dice.random() < 0.2 else ("Sim101",)
    strategies: list[Strategy] = [Script(steps=_steps(dice, busy, density))]
    if dice.random() < 0.2:
        other = dice.choice([ES, MNQ])
        strategies.append(Other(instrument=other, steps=_steps(dice, busy, density), sign=dice.choice([1, -1])))
    instruments = tuple(dict.fromkeys(strategy.instrument for strategy in strategies))  # type: ignore[attr-defined]
    table = _quotes(dice, busy, instruments, dice.choice([None, None, 2]))
    life.faults = _faults(dice, seed, busy)
    life.ending = dice.choice(["", "protect", "cancel", "flatten"])
    contracts = ContractBook()
    settings = ReplaySettings(fills=FillModel(slippage=1))
    trader = make_trader(
        strategies, contracts=contracts, accounts=accounts, limits=RiskLimits(), run=f"r{seed}", real_allowed=True
    )
    server = SimServer(
        TableFeed(table, contracts),
        accounts=accounts,
        contracts=contracts,
        fills=settings.fills,
        latency=Latency(entry=dice.choice([20, 250, 900]) * 1_000_000, report=0),
        fees=settings.fees,
        faults=Faults.from_table(life.faults),
    )
    world = Watched(trader, server, START - LEAD)
    world.connect()
    world.run(START + busy * SECOND)
    # What the server is like stays; what strikes ends.
    kept = {key: life.faults[key] for key in ("reassign_ids", "most_per_fill", "late_rows") if key in life.faults}
    server.faults = server.venue.mishaps.faults = Faults.from_table(kept)
    calm = START + (busy + QUIET) * SECOND - SECOND // 2  # between two quotes
    world.run(calm)
    for _ in range(QUIET // 6):  # a large order fills by and by where little is quoted, and there is no calm before
        if trader.engine is None or not any(
            order.is_open and order.type is OrderType.MARKET for order in trader.engine.blotter.orders.values()
        ):
            break
        calm += 3 * SECOND
        world.run(calm)
    _judge(life, world)
    if trader.engine is not None and life.ending:
        trader.stop(life.ending, calm)
        world._exchange()
        for half in range(2 * QUIET):
            if trader.is_settled:
                break
            world.run(calm + half * SECOND // 2)
        else:
            life.problems.append(f"{life.ending}: not settled {QUIET} s later")
        _judge(life, world)
        _judge_ending(life, world)
    life.row, life.drops, life.doubts = world.row, trader.health.drops, trader.health.doubts
    life.exceeding = world.exceeding
    if len(instruments) < len(strategies):  # they net at the venue: exits of one may exceed what both hold
        life.exceeding = life.turned = 0
    if life.exceeding or life.turned:
        life.problems.append(f"exits exceeded the position {life.exceeding} times, and {life.turned} of them filled")
    return life


def _judge(life: Life, world: Watched) -> None:
    """The laws of a calm: what we believe is what the venue has."""
    trader, server = world.trader, world.server
    venue, bad = server.venue, life.problems
    if trader.error is not None:
        bad.append(f"error: {trader.error!r}")
    if world.abused:
        bad.append("the server closed the connection for abuse")
    for key, sends in world.sends.items():
        if sends > 1 + world.refusals[key]:
            bad.append(f"{key} was sent {sends} times, refused {world.refusals[key]} times")
    engine = trader.engine
    if engine is None:
        bad.append("the engine was never made")
        return
    blotter = engine.blotter
    # Where the venue gives ids of its own and requests get lost, orders that look the same can't be told apart.
    looks = Counter(_look(order) for order in blotter.orders.values())
    twins = {order.id for order in blotter.orders.values() if looks[_look(order)] > 1 and "reassign_ids" in life.faults}
    booked = Counter(fill.execution_id for fill in blotter.fills)
    happened = {execution.id: execution for execution in venue.executions}
    bad += [f"execution {key} was booked {count} times" for key, count in booked.items() if count > 1]
    bad += [f"execution {key} never happened" for key in booked if key not in happened]
    bad += [f"an execution of {happened[key].order.key} is not booked" for key in happened if key not in booked]
    for fill in blotter.fills:
        true = happened.get(fill.execution_id) if fill.order_id not in twins else None
        if true is not None and (
            true.order.key,
            true.fill.side,
            true.fill.quantity,
            true.fill.price,
            true.fill.fee,
        ) != (
            fill.order_id,
            fill.side,
            fill.quantity,
            fill.price,
            fill.fee,
        ):
            bad.append(f"execution {fill.execution_id} was booked as {fill}")
    _judge_books(life, world)
    theirs = {order.key: order for order in venue.orders}
    bad += [f"{key} at the venue is not ours" for key in theirs if key not in blotter.orders]
    life.orders, life.fills = len(blotter.orders), len(blotter.fills)
    life.absent = life.stuck = 0
    for order in blotter.orders.values():
        life.absent += order.status is OrderStatus.ABSENT
        life.stuck += order.status is OrderStatus.DRAFT
        shown = theirs.get(order.id)
        if order.id in twins:
            continue
        if shown is None:
            if order.status not in _NEVER_THERE:
                bad.append(f"{order.id} is {order.status} and was never at the venue")
        elif order.status.is_done != shown.state.is_done or order.filled != shown.filled:
            bad.append(
                f"{order.id} is {order.status} with {order.filled} filled ({order.evidence}; {order.reason}), "
                f"at the venue {shown.state} with {shown.filled}"
            )
        elif order.status is OrderStatus.ABSENT or (order.is_done and _END[shown.state] is not order.status):
            bad.append(f"{order.id} ended as {order.status} ({order.evidence}; {order.reason}), there as {shown.state}")
        elif order.is_open and (order.quantity, order.limit_price, order.stop_price) != (
            shown.quantity,
            shown.limit_price,
            shown.stop_price,
        ):
            bad.append(f"{order.id} has other values at the venue: {order} / {shown}")
    life.turned = sum(
        blotter.orders[execution.order.key].is_exit and (execution.opens or _turns(execution))
        for execution in venue.executions
        if execution.order.key in blotter.orders
    )


def _look(order: Order) -> tuple[Any, ...]:
    return order.account, order.instrument, order.side, order.quantity, order.limit_price, order.stop_price


_NEVER_THERE = (
    OrderStatus.DRAFT,  # measured as ``stuck``
    OrderStatus.DENIED,
    OrderStatus.CANCELLED,  # before it was sent
    OrderStatus.REJECTED,
    OrderStatus.ABSENT,
)

_END = {
    "Filled": OrderStatus.FILLED,
    "Cancelled": OrderStatus.CANCELLED,
    "Rejected": OrderStatus.REJECTED,
}


def _turns(execution: Any) -> bool:
    """Whether the position after it lies on the side of the fill: it went through flat."""
    return execution.position * execution.fill.side > 0


def _judge_books(life: Life, world: Watched) -> None:
    """Positions, and money to the cent: all of it where flat, marked to one price where not."""
    engine, venue = world.trader.engine, world.server.venue
    assert engine is not None
    for account in venue.accounts:
        ours: dict[str, Any] = {}
        for (_, held_in, instrument), book in engine.ledger.books.items():
            if held_in == account:
                ours.setdefault(instrument, []).append(book)
        theirs = {book.contract.name: book for book in venue.books(account)}
        for name in {*ours, *theirs}:
            held = sum(book.position for book in ours.get(name, ()))
            there = theirs[name].position if name in theirs else 0
            if held != there:
                life.problems.append(f"{account} {name}: position {held}, at the venue {there}")
            if name in theirs:
                mark = theirs[name].contract.to_ticks(4000)
                money = sum(book.net(mark) for book in ours.get(name, ()))
                if abs(money - theirs[name].net(mark)) > 0.005:
                    life.problems.append(f"{account} {name}: P&L {money}, at the venue {theirs[name].net(mark)}")


def _judge_ending(life: Life, world: Watched) -> None:
    """What is left at the venue after a run was ended is what its mode says."""
    engine, venue, bad = world.trader.engine, world.server.venue, life.problems
    assert engine is not None
    for account in venue.accounts:
        working = [engine.blotter.orders[order.key] for order in venue.working(account)]
        held = {book.contract.name: book.position for book in venue.books(account)}
        if life.ending == "flatten":
            if any(held.values()):
                bad.append(f"flatten left {held}")
            if working:
                bad.append(f"flatten left {[order.id for order in working]}")
        elif life.ending == "cancel":
            bad += [f"cancel left {order.id} ({order.role})" for order in working if not order.is_exit]
        if life.ending and len(engine.seats) == 1:
            for order in working:
                if order.side * held.get(order.instrument, 0) >= 0:
                    bad.append(f"{life.ending} left {order.id} ({order.role}), which extends a position")
