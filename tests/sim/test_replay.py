"""The replay loop: the order of play, pacing, and laws that hold for whatever a strategy does.

Pacing: a bucket of 20 tokens, 3 a second; after it leaves full its refill starts 200 ms late. Entries that waited
2 s are dropped.
"""

from __future__ import annotations

import zlib
from collections import defaultdict
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import ES, MNQ, SECOND, START, table

from xtalgo import (
    ContractBook,
    DataError,
    Fees,
    Fill,
    FillModel,
    Instrument,
    Latency,
    Order,
    OrderStatus,
    Quote,
    QuoteTable,
    ReplaySettings,
    Result,
    Role,
    Strategy,
    replay,
)
from xtalgo.engine.engine import Engine
from xtalgo.model.commands import CancelOrder, ChangeOrder, PlaceOrder
from xtalgo.model.events import OrderUpdate, Released
from xtalgo.sim.replay import Replay

IDEAL = ReplaySettings.ideal()
LATE = ReplaySettings(fills=FillModel(slippage=0), latency=Latency(entry=SECOND // 4, report=SECOND))


@pytest.fixture
def released(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, Any, float]]:
    """When each command left for the venue, the command, and how long it had waited (seconds)."""
    seen: list[tuple[float, Any, float]] = []
    handle = Engine.handle

    def watched(self: Engine, event: Any) -> Any:
        if isinstance(event, Released):
            seen.append(((event.ts - START) / SECOND, event.command, event.waited / SECOND))
        return handle(self, event)

    monkeypatch.setattr(Engine, "handle", watched)
    return seen


# --- the order of play --------------------------------------------------------------------------------------------


def test_an_empty_recording_is_an_error() -> None:
    class Idle(Strategy):
        instrument: Instrument = ES

    with pytest.raises(DataError, match="no quotes"):
        replay(Idle(), QuoteTable.from_rows((ES,), [], [], [], []), IDEAL)


def test_a_strategy_serves_as_a_list_of_one() -> None:
    class Once(Strategy):
        instrument: Instrument = ES

        def on_start(self) -> None:
            self.buy(self.instrument, 1)

    quotes = table([4800.0] * 3)
    assert replay(Once(), quotes).digest == replay([Once()], quotes).digest


def test_timers_then_releases_then_the_venue_then_the_quote() -> None:
    """All at 1 s: a timer, the arrival of an order, the report of a fill, and a quote."""
    heard: list[str] = []

    class Watch(Strategy):
        instrument: Instrument = ES

        def on_start(self) -> None:
            self.after(1, "timer")
            self.after(0.5, "order")

        def on_quote(self, quote: Quote) -> None:
            heard.append(f"quote {(self.now - START) / SECOND:g}")

        def on_timer(self, tag: str) -> None:
            heard.append(f"{tag} {(self.now - START) / SECOND:g}")
            if tag == "order":
                self.buy(self.instrument, 1)

        def on_order(self, order: Order) -> None:
            heard.append(f"{order.status} {(self.now - START) / SECOND:g}")

    how = ReplaySettings(latency=Latency(entry=SECOND // 2, report=SECOND))
    replay(Watch(), table([4800.0] * 3), how)
    assert heard == ["quote 0", "order 0.5", "timer 1", "working 1", "quote 1", "filled 2", "quote 2"]


def test_the_first_turn_is_before_the_first_quote() -> None:
    class Early(Strategy):
        instrument: Instrument = ES

        def on_start(self) -> None:
            self.began = self.now, self.quote(self.instrument)
            self.buy(self.instrument, 1)

    strategy = Early()
    # Without latency the order is at the exchange before the first quote, which is newer than "no quote at all".
    result = replay(strategy, table([4800.0, 4801.0]), IDEAL)
    assert strategy.began == (START, None)
    assert [(fill.executed, fill.price) for fill in result.fills] == [(START, 4800.25)]


def test_instruments_are_merged_by_time_and_then_by_row() -> None:
    seen: list[tuple[str, float]] = []

    class Watch(Strategy):
        instruments: tuple[Instrument, ...] = (ES, MNQ)

        def on_quote(self, quote: Quote) -> None:
            seen.append((quote.instrument, quote.bid))

    stamps = [START + n * SECOND for n in (0, 0, 0, 1, 1, 2)]
    codes = [1, 0, 1, 0, 1, 1]
    bids = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0]
    quotes = QuoteTable.from_rows((ES, MNQ), codes, stamps, bids, [bid + 0.25 for bid in bids])
    replay(Watch(), quotes, IDEAL)
    assert seen == [(MNQ, 1.0), (ES, 2.0), (MNQ, 3.0), (ES, 4.0), (MNQ, 5.0), (MNQ, 6.0)]


def test_quotes_are_kept_and_immutable() -> None:
    class Keeper(Strategy):
        instrument: Instrument = ES

        def on_start(self) -> None:
            self.kept: list[Quote] = []

        def on_quote(self, quote: Quote) -> None:
            self.kept.append(quote)

    strategy = Keeper()
    quotes = table([4800.0, 4801.0, 4802.0])
    replay(strategy, quotes, IDEAL)
    assert strategy.kept == quotes.quotes(0, 3)
    with pytest.raises(AttributeError):
        strategy.kept[0].bid = 1.0


def test_progress_is_told_and_ends_with_everything() -> None:
    class Idle(Strategy):
        instrument: Instrument = ES

    told: list[int] = []
    count = 40_000
    bids = np.full(count, 4800.0)
    stamps = START + np.arange(count) * SECOND // 10
    quotes = QuoteTable.from_rows((ES,), np.zeros(count, int), stamps, bids, bids + 0.25)
    replay(Idle(), quotes, IDEAL, on_progress=told.append)
    assert told == sorted(set(told))
    assert len(told) > 1
    assert told[-1] == count


def test_what_lies_between_chunks_of_quotes_is_not_lost() -> None:
    """Timers and fills at every place in a long recording come as they do in a short one."""

    class Every(Strategy):
        instrument: Instrument = ES

        def on_start(self) -> None:
            self.seen = self.timers = 0
            self.every(10, "t")

        def on_quote(self, quote: Quote) -> None:
            self.seen += 1
            if self.seen % 1_000 == 0:
                self.order_target(self.instrument, self.seen // 1_000 % 2)

        def on_timer(self, tag: str) -> None:
            self.timers += 1

    count = 40_000
    bids = 4800.0 + np.arange(count) * 0.25
    quotes = QuoteTable.from_rows((ES,), np.zeros(count, int), START + np.arange(count) * SECOND, bids, bids + 0.25)
    strategy = Every()
    result = replay(strategy, quotes, IDEAL)
    # START is 7 hours before 17:00; a timer runs whenever it is due. 39,999 s hold 3,999 tens.
    assert (strategy.seen, strategy.timers) == (count, 3_999)
    # The quote of number 1,000 n (row 1,000 n - 1) decides, the next row fills, up at the ask and down at the bid.
    expected = [4800.0 + 1_000 * n * 0.25 + (0.25 if n % 2 else 0.0) for n in range(1, 40)]
    assert [fill.price for fill in result.fills] == expected


def test_the_end_waits_for_replies_but_not_for_ever() -> None:
    """An order of the last row arrives and is answered; it is not filled, since no quote comes; a fill is seen."""

    class Late(Strategy):
        instrument: Instrument = ES

        def on_start(self) -> None:
            self.made: list[Order] = []

        def on_quote(self, quote: Quote) -> None:
            self.made.append(self.buy(self.instrument, 1, tif="GTC"))

    strategy = Late()
    run = Replay([strategy], table([4800.0, 4800.0]), LATE)
    result = run.run()
    assert [order.status for order in strategy.made] == [OrderStatus.FILLED, OrderStatus.WORKING]
    assert run.decided == 2
    assert (result.rpcs, len(result.fills), result.quotes) == (2, 1, 2)


def test_decisions_of_the_end_are_told_apart() -> None:
    """The exits of a fill that is seen after the last quote are decisions too, but not of the recording."""

    class Late(Strategy):
        instrument: Instrument = ES

        def on_quote(self, quote: Quote) -> None:
            if quote.ts == START:
                self.buy(self.instrument, 1, stop_loss=8)

    run = Replay([Late()], table([4800.0, 4800.0]), LATE)
    result = run.run()
    assert run.decided == 1
    assert [decision[1] for decision in result.decisions] == ["place", "place"]
    assert result.order_book[1].role is Role.STOP_LOSS
    assert result.order_book[1].status is OrderStatus.WORKING


def test_a_recording_of_one_row() -> None:
    class Once(Strategy):
        instrument: Instrument = ES

        def on_quote(self, quote: Quote) -> None:
            self.buy(self.instrument, 1)

    result = replay(Once(), table([4800.0]), IDEAL)
    assert (result.quotes, result.orders, result.fills, result.rpcs) == (1, 1, (), 1)


# --- pacing: a strategy that floods -------------------------------------------------------------------------------


class Flood(Strategy):
    """Fifty market orders at the first quote."""

    instrument: Instrument = ES
    count: int = 50

    def on_start(self) -> None:
        self.made: list[Order] = []
        self.told: list[tuple[float, str]] = []

    def on_quote(self, quote: Quote) -> None:
        if not self.made:
            self.made = [self.buy(self.instrument, 1) for _ in range(self.count)]

    def on_order(self, order: Order) -> None:
        if order.status is OrderStatus.CANCELLED:
            self.told.append(((self.now - START) / SECOND, order.id))


def test_twenty_leave_at_once_and_then_three_a_second(released: list[tuple[float, Any, float]]) -> None:
    strategy = Flood()
    result = replay(strategy, table([4800.0] * 8), LATE)
    # The k-th after the first twenty leaves at 0.2 + k/3 s; the sixth would leave at 2.2 s and is stale by then.
    expected = [0.0] * 20 + [0.2 + k / 3 for k in range(1, 6)]
    assert [when for when, _, _ in released] == pytest.approx(expected, abs=1e-8)
    assert [command.order_id for _, command, _ in released] == [f"r-{n}" for n in range(1, 26)]
    assert [waited for *_, waited in released] == pytest.approx(expected, abs=1e-8)
    assert result.rpcs == 25
    assert result.longest_token_wait == pytest.approx(0.2 + 5 / 3, abs=1e-8)
    # The other half goes stale after two seconds, unsent, and its strategy is told of each.
    assert [order.status for order in strategy.made] == [OrderStatus.FILLED] * 25 + [OrderStatus.CANCELLED] * 25
    assert strategy.told == [(2.0, f"r-{n}") for n in range(26, 51)]
    assert all("waited too long for a token" in order.reason for order in strategy.made[25:])
    assert [decision[1:3] for decision in result.decisions[50:]] == [("stale", f"r-{n}") for n in range(26, 51)]
    assert len(result.fills) == 25


def test_without_a_flood_nothing_waits(released: list[tuple[float, Any, float]]) -> None:
    strategy = Flood(count=20)
    result = replay(strategy, table([4800.0] * 8), LATE)
    assert (result.rpcs, result.longest_token_wait) == (20, 0.0)
    assert {when for when, *_ in released} == {0.0}


def test_a_flood_that_answers_its_own_cancels_does_not_upset_the_queue() -> None:
    """On hearing that one order went stale, the strategy cancels all others, of which some went stale with it."""

    class Nervous(Flood):
        def on_order(self, order: Order) -> None:
            super().on_order(order)
            if order.status is OrderStatus.CANCELLED:
                self.cancel_all()

    strategy = Nervous()
    result = replay(strategy, table([4800.0] * 8), LATE)
    assert {order.status for order in strategy.made[25:]} == {OrderStatus.CANCELLED}
    # Told of each once. The 25 that had left were filled; cancels were sent for those whose fill was not yet seen.
    assert [name for _, name in strategy.told] == [f"r-{n}" for n in range(26, 51)]
    assert len(result.fills) == 25
    assert result.anomalies == ()


class Steady(Strategy):
    """One order a quote."""

    instrument: Instrument = ES

    def on_start(self) -> None:
        self.made: list[Order] = []

    def on_quote(self, quote: Quote) -> None:
        self.made.append(self.buy(self.instrument, 1, limit_price=4700.0))


def leaves(count: int, step: Fraction) -> list[Fraction | None]:
    """When each of ``count`` orders, one a step, leaves; None for those that go stale. In seconds, by hand.

    The bucket gives its n-th token (from 1) at once up to 20, and then at 0.2 + (n - 20)/3 s, as long as it never
    fills again; an order takes the next token at that time or when it comes, whichever is later.
    """
    sent: list[Fraction | None] = []
    taken = 0
    for n in range(count):
        came = n * step
        token = Fraction(0) if taken < 20 else Fraction(1, 5) + Fraction(taken - 19, 3)
        leaves = max(came, token)
        if leaves - came < 2:
            taken += 1
            sent.append(leaves)
        else:
            sent.append(None)
    return sent


def test_ten_orders_a_second_are_throttled_to_three(released: list[tuple[float, Any, float]]) -> None:
    strategy = Steady()
    count = 200
    result = replay(strategy, table([4800.0] * count, step=SECOND // 10), LATE)
    expected = leaves(count, Fraction(1, 10))
    ended = Fraction(count - 1, 10)
    sent = [(n, when) for n, when in enumerate(expected) if when is not None and when <= ended]
    during = [one for one in released if one[0] <= ended]
    # 20 + 3 x 19.9 s, less what the late refill costs.
    assert 75 <= len(sent) <= 79
    assert [command.order_id for _, command, _ in during] == [f"r-{n + 1}" for n, _ in sent]
    assert [when for when, *_ in during] == pytest.approx([float(when) for _, when in sent], abs=1e-6)
    stale = [n for n, when in enumerate(expected) if when is None and n < count - 20]
    assert len(stale) > 90
    assert all(strategy.made[n].status is OrderStatus.CANCELLED for n in stale)
    assert 1.9 < result.longest_token_wait < 2.0


def test_cancels_and_closes_overtake(released: list[tuple[float, Any, float]]) -> None:
    class Mixed(Strategy):
        instrument: Instrument = ES

        def on_start(self) -> None:
            self.row = -1

        def on_quote(self, quote: Quote) -> None:
            self.row += 1
            if self.row == 0:
                self.buy(self.instrument, 1)
                self.resting = self.buy(self.instrument, 1, limit_price=4700.0)
            elif self.row == 12:
                for _ in range(25):
                    self.buy(self.instrument, 1, limit_price=4600.0)
                self.cancel(self.resting)
            elif self.row == 15:
                self.sell(self.instrument, 1)  # only reduces: never stale, and first in line
            elif self.row == 16:
                self.change(self.late, quantity=2)

        def on_order(self, order: Order) -> None:
            if order.status is OrderStatus.WORKING:
                self.late = order

    strategy = Mixed()
    replay(strategy, table([4800.0] * 60, step=SECOND // 10), LATE)
    kinds = {PlaceOrder: "place", CancelOrder: "cancel", ChangeOrder: "change"}
    left = [(kinds[type(command)], command.order_id) for _, command, _ in released]
    # The bucket is full again on row 12. The cancel was asked for last and leaves first; 19 of the 25 go with it.
    assert left[2] == ("cancel", "r-2")
    assert left[3:22] == [("place", f"r-{n}") for n in range(3, 22)]
    # The sale of row 15 is before the six that wait since row 12, at the first token: 1.2 + 1/3 s, without the delay.
    assert left[22] == ("place", "r-28")
    assert released[22][0] == pytest.approx(1.2 + 1 / 3, abs=1e-8)
    assert left[23] == ("place", "r-22")
    # A change stands in line with places.
    assert left.index(("change", strategy.late.id)) > left.index(("place", "r-22"))


def test_an_order_that_only_reduces_never_goes_stale(released: list[tuple[float, Any, float]]) -> None:
    class Rush(Strategy):
        instrument: Instrument = ES

        def on_start(self) -> None:
            self.row = -1

        def on_quote(self, quote: Quote) -> None:
            self.row += 1
            if self.row == 0:
                self.buy(self.instrument, 40)
            elif self.row == 3:
                self.sales = [self.sell(self.instrument, 1) for _ in range(40)]

    strategy = Rush()
    result = replay(strategy, table([4800.0] * 20), LATE)
    assert all(order.is_filled for order in strategy.sales)
    # The urgent lane does not wait for the late refill: the k-th after the first twenty leaves at 3 + k/3 s.
    assert [when for when, *_ in released[1:]] == pytest.approx(
        [3.0] * 20 + [3 + k / 3 for k in range(1, 21)], abs=1e-7
    )
    assert result.longest_token_wait == pytest.approx(20 / 3, abs=1e-7)


def test_the_close_of_a_flooded_strategy_goes_first(released: list[tuple[float, Any, float]]) -> None:
    class Panic(Strategy):
        instrument: Instrument = ES
        other: Instrument = MNQ

        def on_start(self) -> None:
            self.row = -1

        def on_quote(self, quote: Quote) -> None:
            self.row += 1
            if self.row == 0:
                self.buy(self.instrument, 2)
            elif self.row == 40:
                for _ in range(60):
                    self.buy(self.other, 1, limit_price=20000.0)
                self.close(self.instrument)

    bids = np.where(np.arange(80) % 2, 25000.0, 4800.0)
    stamps = START + np.arange(80) * SECOND // 10
    quotes = QuoteTable.from_rows((ES, MNQ), np.arange(80) % 2, stamps, bids, bids + 0.25)
    replay(Panic(), quotes, LATE)
    at_once = [command for when, command, _ in released if when == 4.0]
    assert len(at_once) == 20
    assert (at_once[0].role, at_once[0].quantity, at_once[0].instrument) == (Role.CLOSE, 2, ES)


# --- laws, whatever a strategy does -------------------------------------------------------------------------------


class Wild(Strategy):
    """Trades at random in two instruments and two accounts, led by a hash of what it sees."""

    first: Instrument = ES
    second: Instrument = MNQ
    seed: int = 0
    eagerness: int = 12

    def on_start(self) -> None:
        self.state = self.seed
        self.mine: list[Order] = []
        self.filled: dict[str, int] = {}
        self.done: dict[str, tuple[OrderStatus, int]] = {}
        self.every(2.3, "t")

    def check(self) -> None:
        """``filled`` never shrinks, and only a fill changes the status of an order that is over."""
        for order in self.mine:
            assert order.filled >= self.filled.get(order.id, 0)
            assert order.filled == sum(fill.quantity for fill in order.fills)
            self.filled[order.id] = order.filled
            if order.id in self.done and order.status is not self.done[order.id][0]:
                assert order.filled > self.done[order.id][1]
            if order.is_done:
                self.done[order.id] = order.status, order.filled

    def draw(self, *facts: Any) -> int:
        if self.state % 8 == 0:
            self.check()
        self.state = zlib.crc32(repr(facts).encode(), self.state)
        return self.state

    def on_quote(self, quote: Quote) -> None:
        self.act(quote, self.draw(quote))

    def on_timer(self, tag: str) -> None:
        quote = self.quote(self.first)
        if quote is not None:
            self.act(quote, self.draw(tag))

    def on_fill(self, fill: Fill) -> None:
        if self.draw(fill) % 5 == 0:
            self.mine.append(self.sell(fill.instrument, fill.quantity, account=fill.account))

    def on_order(self, order: Order) -> None:
        self.draw(order.id, str(order.status))

    def act(self, quote: Quote, state: int) -> None:
        name, size = quote.instrument, 1 + state // 64 % 3
        given: dict[str, Any] = {"account": self.accounts[state // 1024 % len(self.accounts)]}
        match state % self.eagerness:
            case 0:
                self.mine.append(self.buy(name, size, stop_loss=2 + size, take_profit=size, **given))
            case 1:
                self.mine.append(self.sell(name, size, take_profit=2, **given))
            case 2:
                self.mine.append(self.buy(name, size, limit_price=quote.bid - 0.25 * size, **given))
            case 3:
                self.mine.append(self.sell(name, size, stop_price=quote.bid - 0.5, stop_loss=4, **given))
            case 4:
                self.order_target(name, size - 2, **given)
            case 5:
                self.close(name, **given)
            case 6 if self.mine:
                self.change(self.mine[state % len(self.mine)], quantity=size + 1)
            case 7 if self.mine:
                self.cancel(self.mine[state % len(self.mine)])
            case 8:
                self.flatten(**given)
            case 9:
                # No more than a few together: what a cancel in on_order does to a stale batch is tested above.
                self.mine += [self.sell(name, 1, limit_price=quote.ask + 5 + n, **given) for n in range(size * 4)]
            case 10:
                self.cancel_all(**given)


def random_walk(seed: int, count: int, *, sizes: bool = True) -> QuoteTable:
    """ES and MNQ at odd, sometimes equal, stamps, with crossed quotes now and then."""
    random = np.random.default_rng(seed)
    codes = random.integers(0, 2, count)
    gaps = random.choice([0, 0.1, 0.4, 1.0, 1.0, 2.5], count)
    steps = random.integers(-2, 3, count) * 0.25
    bids = np.where(codes == 0, 4800.0, 25000.0)
    for code in (0, 1):
        bids[codes == code] += np.cumsum(steps[codes == code])
    asks = bids + random.choice([-1, 0, 1, 1, 1, 1, 2], count) * 0.25
    shown = [random.integers(0, 5, count) for _ in range(2)] if sizes else [None, None]
    return QuoteTable.from_rows(
        (ES, MNQ),
        codes,
        START + np.round(np.cumsum(gaps) * SECOND).astype(np.int64),
        bids,
        asks,
        bids,
        np.cumsum(random.integers(0, 3, count)),
        *shown,
    )


POINT_VALUE = {ES: 50.0, MNQ: 2.0}


def marked(quotes: QuoteTable, result: Result) -> float:
    """Dollars: what the fills cost and brought, and what is left at the price it could be closed at now, less fees."""
    money = 0.0
    left: dict[tuple[str, str], int] = defaultdict(int)
    for fill in result.fills:
        money -= fill.side * fill.quantity * fill.price * POINT_VALUE[fill.instrument] + fill.fee
        left[fill.account, fill.instrument] += fill.side * fill.quantity
    for (_, name), position in left.items():
        rows = quotes.rows(name)
        if position:
            bid, ask = quotes.bid[rows][-1], quotes.ask[rows][-1]
            money += position * (min(bid, ask) if position > 0 else max(bid, ask)) * POINT_VALUE[name]
    return money


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    count=st.integers(1, 200),
    eagerness=st.sampled_from([11, 12, 30]),
    entry=st.sampled_from([0, 250, 1_500]),
    report=st.sampled_from([0, 1_000, 4_000]),
    oco=st.sampled_from(["cancel", "reduce"]),
    sizes=st.booleans(),
)
def test_laws(seed: int, count: int, eagerness: int, entry: int, report: int, oco: Any, sizes: bool) -> None:
    quotes = random_walk(seed, count, sizes=sizes)
    how = ReplaySettings(
        fills=FillModel(oco=oco),
        latency=Latency(entry=entry * 1_000_000, report=report * 1_000_000),
        fees=Fees(commission=1.25),
        accounts=("Sim101", "Sim102"),
    )
    strategy = Wild(seed=seed, eagerness=eagerness)
    run = Replay([strategy], quotes, how)
    left: list[float] = []
    handle = run.engine.handle

    def watched(event: Any) -> Any:
        if isinstance(event, Released):
            left.append((event.ts - START) / SECOND)
        return handle(event)

    run.engine.handle = watched  # type: ignore[method-assign]
    result = run.run()

    # Cash and positions are worth what the fills, marked, are worth: in the totals, and (below) at the curve's end.
    worth = marked(quotes, result)
    assert result.net_pnl == pytest.approx(worth, abs=1e-6)
    paid = 0.0
    for view in run.engine.snapshot().positions:
        seen = sum(
            fill.side * fill.quantity
            for fill in result.fills
            if (fill.account, fill.instrument) == (view.account, view.instrument)
        )
        assert view.quantity == seen
        paid += view.fees
    assert paid == pytest.approx(result.fees)

    # The bucket: never more than 20 and 3 a second, over any span between two requests.
    assert len(left) == result.rpcs
    moments, number = np.array(left), np.arange(len(left))
    spans = moments[None, :] - moments[:, None]
    counts = number[None, :] - number[:, None] + 1
    assert (counts <= 20 + 3 * spans + 1e-6)[np.triu_indices(len(left))].all()

    # Orders: each fill belongs to one, none is overfilled or filled beyond its time, nothing odd was heard.
    strategy.check()
    for order in result.order_book:
        assert sum(fill.quantity for fill in result.fills if fill.order_id == order.id) == order.filled
        assert order.filled <= order.quantity
    assert result.anomalies == ()
    stamps = [decision[0] for decision in result.decisions]
    assert stamps == sorted(stamps)
    assert [fill.executed for fill in result.fills] == sorted(fill.executed for fill in result.fills)
    for fill in result.fills:
        born = next(order.created for order in result.order_book if order.id == fill.order_id)
        assert fill.executed >= born + how.latency.entry
    if result.fills:
        assert result.equity.pnl[-1] == pytest.approx(worth, abs=1e-6)


@settings(max_examples=12, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), count=st.integers(1, 200))
def test_two_runs_are_one(seed: int, count: int) -> None:
    quotes = random_walk(seed, count)
    first, second = (replay([Wild(seed=seed), Wild(seed=seed + 1)], quotes) for _ in range(2))
    assert first.digest == second.digest
    assert (first.decisions, first.fills) == (second.decisions, second.fills)


def test_the_wild_are_wild() -> None:
    """The laws above are only worth something if all kinds of things happen under them."""
    results = [replay(Wild(seed=seed), random_walk(seed, 250)) for seed in range(12)]
    seen = {str(order.status) for result in results for order in result.order_book}
    assert seen >= {"filled", "cancelled", "rejected", "working"}
    assert {decision[1] for result in results for decision in result.decisions} >= {
        "place",
        "change",
        "cancel",
        "stale",
    }
    assert max(result.rpcs for result in results) > 150
    assert sum(len(result.fills) for result in results) > 500


def test_strategies_do_not_disturb_each_other_but_by_their_requests() -> None:
    """Alone or beside an idle one, a strategy decides the same."""

    class Idle(Strategy):
        instrument: Instrument = MNQ

        def on_quote(self, quote: Quote) -> None:
            pass

    quotes = random_walk(7, 200)
    alone = replay(Wild(seed=7), quotes)
    beside = replay([Idle(), Wild(seed=7)], quotes)
    assert alone.digest == beside.digest


def test_contract_facts_can_be_given() -> None:
    class Once(Strategy):
        instrument: Instrument = "XYZ"

        def on_start(self) -> None:
            self.buy(self.instrument, 1)

    quotes = table([100.0, 101.0], instrument="XYZ 06-26", spread=0.5)
    book = ContractBook({"XYZ": (0.5, 10.0)})
    result = replay(Once(), quotes, IDEAL, contracts=book)
    # Bought at 100.5, marked at 101: half a point at $10.
    assert (result.fills[0].price, result.open_pnl) == (100.5, 5.0)


def test_reports_are_events_like_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every change of an order comes to the engine as an event: nothing reaches around it."""
    events: list[str] = []
    handle = Engine.handle

    def watched(self: Engine, event: Any) -> Any:
        events.append(type(event).__name__ if not isinstance(event, OrderUpdate) else str(event.trigger))
        return handle(self, event)

    monkeypatch.setattr(Engine, "handle", watched)
    replay(Flood(count=1), table([4800.0] * 3), LATE)
    assert events == ["Released", "accept", "Fill"]


def test_settings_of_sequences(released: Sequence[Any]) -> None:
    """Strategies given as a tuple share one queue: their requests come from the same bucket."""
    result = replay((Flood(count=15), Flood(count=15)), table([4800.0] * 3), LATE)
    assert result.rpcs == 25
    assert [when for when, *_ in released][:20] == [0.0] * 20
