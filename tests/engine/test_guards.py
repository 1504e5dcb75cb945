"""Guards of accounts, one turn at a time. ES: a tick is 0.25 points and $12.50."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from typing import Any

import pytest
from engine.asked import Asked, execution, row
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import ES, MNQ, SECOND, START

from xtalgo import (
    ContractBook,
    Fees,
    FillModel,
    Instrument,
    Latency,
    Order,
    OrderStatus,
    Quote,
    QuoteTable,
    ReplaySettings,
    RiskLimits,
    Role,
    Side,
    Strategy,
    replay,
)
from xtalgo.engine.brackets import Pair
from xtalgo.engine.daystate import DayState, Lock, Track
from xtalgo.engine.desk import Desk
from xtalgo.engine.engine import Engine
from xtalgo.engine.risk import Breach
from xtalgo.model.commands import CancelOrder, Command, PlaceOrder
from xtalgo.model.events import AccountPnl, Event, Fill, LinkDown, LinkUp, OrderUpdate, Released, Tick
from xtalgo.model.sessions import from_datetime, session_at
from xtalgo.model.types import DAY_NS, MINUTE_NS, Trigger

DENIED, QUEUED = OrderStatus.DENIED, OrderStatus.QUEUED
SIM = "Sim101"


class Idle(Strategy):
    """Does what the test says, from outside or at each quote."""

    instrument: Instrument = ES
    second: Instrument = MNQ
    each: Any = None

    def on_start(self) -> None:
        self.now_doing: Callable[[Idle], object] | None = None

    def on_quote(self, quote: Quote) -> None:
        if self.each is not None:
            self.each(self, quote)


class Other(Idle):
    pass


class Room:
    """An engine and a venue whose every word is the test's."""

    def __init__(
        self,
        *,
        accounts: tuple[str, ...] = (SIM,),
        start: int = START,
        inherit: tuple[DayState, ...] | None = None,
        each: Any = None,
        before: Callable[[Engine], object] | None = None,
        resumed: bool = False,
        **limits: Any,
    ) -> None:
        self.now = start
        self.one, self.two = Idle(each=each), Other()
        contracts = ContractBook()
        self.engine = Engine(
            [self.one, self.two],
            contracts=contracts,
            pin=lambda text: contracts.pin(text, (ES, MNQ)),
            accounts=accounts,
            limits=RiskLimits(**limits),
        )
        self.told: list[Breach] = []
        self.engine.on_breach = self.told.append
        if inherit is not None:
            self.engine.inherit_days(inherit, resumed=resumed)
        if before is not None:
            before(self.engine)
        self.out: list[Command] = []
        self.executions = 0
        self.out += self.engine.start(start)

    def hear(self, event: Event) -> list[Command]:
        commands = self.engine.handle(event)
        self.out += commands
        return commands

    def quote(self, bid: float, instrument: str = ES, seconds: float = 1) -> list[Command]:
        """A quote comes; what the engine does in that turn."""
        self.now += round(seconds * SECOND)
        self.tick(0)
        return self.hear(Quote(self.now, instrument, bid, bid + 0.25, bid))

    def tick(self, seconds: float) -> list[Command]:
        self.now += round(seconds * SECOND)
        return self.hear(Tick(self.now))

    def at(self, moment: int) -> list[Command]:
        return self.tick((moment - self.now) / SECOND)

    def act(self, wish: Callable[[Idle], Any], who: Idle | None = None) -> Any:
        made = wish(who or self.one)
        self.out += self.engine.decide(lambda: None, self.now)
        return made

    def leave(self) -> list[PlaceOrder]:
        """Everything that waits leaves and is answered."""
        waiting, self.out = self.out, []
        for command in waiting:
            self.hear(Released(self.now, command))
            if isinstance(command, PlaceOrder):
                self.hear(OrderUpdate(self.now, command.order_id, Trigger.ACCEPT))
            elif isinstance(command, CancelOrder):
                self.hear(OrderUpdate(self.now, command.order_id, Trigger.CANCEL))
        return [command for command in waiting if isinstance(command, PlaceOrder)]

    def fill(self, order: Order, price: float, quantity: int | None = None, fee: float = 0.0) -> list[Command]:
        if order.status is QUEUED:
            self.leave()
        self.executions += 1
        size = order.quantity if quantity is None else quantity
        facts = (order.account, order.instrument, order.side, size, price, fee, self.now)
        return self.hear(Fill(self.now, order.id, f"e{self.executions}", *facts))

    def enter(self, quantity: int = 1, price: float = 4800.0, who: Idle | None = None, **more: Any) -> Order:
        """A position that is in the book, its exits working."""
        order: Order = self.act(
            lambda s: s.buy(ES, quantity, **more) if quantity > 0 else s.sell(ES, -quantity, **more), who
        )
        self.leave()
        self.fill(order, price)
        self.leave()
        return order

    def pnl(self, realized: float | None, unrealized: float | None = 0.0, worth: float | None = None) -> list[Command]:
        return self.hear(AccountPnl(self.now, SIM, realized, unrealized, worth))

    def orders(self, commands: list[Command]) -> list[Order]:
        return [self.engine.blotter.orders[c.order_id] for c in commands if isinstance(c, PlaceOrder)]

    @property
    def state(self) -> DayState:
        return self.engine.day_states()[0]

    @property
    def reasons(self) -> list[str]:
        return [breach.reason.value for breach in self.told]


def utc(text: str) -> int:
    return from_datetime(dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC))


def why(order: Order) -> str:
    assert order.status is DENIED
    return order.reason.split(":")[0]


# --- the day's loss --------------------------------------------------------------------------------------------------


def test_a_loss_that_reaches_the_limit_closes_everything_in_the_same_turn() -> None:
    """$500 is ten ticks on 4 contracts: long 4 at 4800.00, the closing side is the bid."""
    room = Room(account_daily_loss=500)
    room.quote(4800.0)
    room.enter(3)
    room.enter(1, who=room.two)
    assert room.quote(4797.75) == []
    closes = room.orders(room.quote(4797.50))
    assert [(order.role, order.side, order.quantity, order.owner) for order in closes] == [
        (Role.CLOSE, Side.SELL, 3, "Idle"),
        (Role.CLOSE, Side.SELL, 1, "Other"),
    ]
    assert room.reasons == ["account_loss"]
    assert room.told[0].text == "Sim101 lost $500.00 of at most $500.00 in the day"
    assert room.engine.breaches == room.told
    assert ("guard", "account_loss", SIM, room.told[0].text) in [decision[1:] for decision in room.engine.decisions]
    room.leave()
    for order in closes:
        room.fill(order, 4797.5)
    assert why(room.act(lambda s: s.buy(ES, 1))) == "account_loss"
    assert why(room.act(lambda s: s.sell(MNQ, 1), room.two)) == "account_loss"
    assert room.quote(4700.0) == []
    assert room.reasons == ["account_loss"]


def test_short_positions_are_marked_at_the_ask() -> None:
    room = Room(account_daily_loss=500)
    room.quote(4800.0)
    room.enter(-4)
    assert room.quote(4802.0) == []  # the ask is at 4802.25
    assert [order.side for order in room.orders(room.quote(4802.25))] == [Side.BUY]


def test_realized_losses_and_fees_of_all_strategies_count() -> None:
    room = Room(account_daily_loss=60)
    room.quote(4800.0)
    first = room.enter(1)
    room.fill(room.act(lambda s: s.sell(ES, 1)), 4799.5, fee=4.99)  # $25 and the fee
    assert first.is_filled
    second = room.act(lambda s: s.buy(ES, 1), room.two)
    room.leave()
    room.fill(second, 4800.5, fee=5.01)  # marked at 4800.00 that is another $25, together $60
    assert room.reasons == ["account_loss"]
    assert [(order.owner, order.role) for order in room.orders(room.out)] == [("Other", Role.CLOSE)]


def test_a_cent_short_of_the_limit_is_not_at_it() -> None:
    room = Room(account_daily_loss=500.01)
    room.quote(4800.0)
    room.enter(4)
    assert room.quote(4797.50) == []
    room = Room(account_daily_loss=500.01)
    room.quote(4800.0)
    order = room.act(lambda s: s.buy(ES, 4))
    room.leave()
    room.fill(order, 4800.0, fee=0.01)
    assert room.quote(4797.50) != []


def test_other_accounts_go_on() -> None:
    room = Room(accounts=(SIM, "Sim102"), account_daily_loss=100)
    room.quote(4800.0)
    room.enter(1)
    room.enter(1, account="Sim102", price=4790.0)
    closes = room.orders(room.quote(4798.0))
    assert [order.account for order in closes] == [SIM]
    assert room.act(lambda s: s.buy(ES, 1, account="Sim102")).status is QUEUED
    assert [state.lock is not None for state in room.engine.day_states()] == [True, False]


def test_the_venues_figures_count_where_they_are_worse() -> None:
    room = Room(account_daily_loss=500)
    room.quote(4800.0)
    room.enter(1)
    assert room.pnl(-300.0, -199.99) == []
    assert [order.role for order in room.orders(room.pnl(-300.0, -200.0))] == [Role.CLOSE]
    ours = Room(account_daily_loss=500)
    ours.quote(4800.0)
    ours.enter(4)
    assert ours.pnl(10_000.0, 0.0, 110_000.0) == []
    assert ours.quote(4797.5) != []


def test_net_liquidation_counts_from_the_days_beginning() -> None:
    room = Room(account_daily_loss=500)
    room.quote(4800.0)
    room.enter(1)
    room.pnl(-100.0, 0.0, 99_900.0)  # the day began at 100,000
    assert room.pnl(None, None, 99_500.01) == []
    assert room.pnl(None, None, 99_500.0) != []
    assert room.reasons == ["account_loss"]


@pytest.mark.parametrize("bad", [None, float("nan"), float("inf"), float("-inf")])
def test_figures_that_are_none_say_nothing(bad: float | None) -> None:
    room = Room(account_daily_loss=500, trailing_drawdown=500)
    room.quote(4800.0)
    room.enter(1)
    for figures in ((bad, -900.0, None), (-900.0, bad, None), (bad, bad, bad)):
        assert room.pnl(*figures) == []
    assert room.reasons == []


def test_what_the_venue_told_before_the_start_is_not_forgotten() -> None:
    contracts = ContractBook()
    engine = Engine(
        [Idle()],
        contracts=contracts,
        pin=lambda text: contracts.pin(text, (ES, MNQ)),
        limits=RiskLimits(account_daily_loss=500),
    )
    engine.handle(AccountPnl(START, SIM, -600.0, 0.0))
    engine.start(START)
    assert [breach.reason.value for breach in engine.breaches] == ["account_loss"]


# --- protective orders -----------------------------------------------------------------------------------------------


def test_exits_stay_until_their_cancel_is_confirmed_and_only_then_the_close_leaves() -> None:
    room = Room(account_daily_loss=100)
    room.quote(4800.0)
    entry = room.enter(1, stop_loss=40, take_profit=40)
    resting = room.act(lambda s: s.buy(ES, 1, limit_price=4700.0))
    room.leave()
    stop, target = (order for order in room.one.orders(ES) if order.is_exit)
    assert entry.is_filled
    commands = room.quote(4798.0)
    assert {command.order_id for command in commands if isinstance(command, CancelOrder)} == {
        *(resting.id, stop.id, target.id)
    }
    assert room.orders(commands) == []
    for command in commands:
        room.hear(Released(room.now, command))
    assert (stop.is_open, target.is_open) == (True, True)
    room.out.clear()
    for order in (resting, stop):
        assert room.orders(room.hear(OrderUpdate(room.now, order.id, Trigger.CANCEL))) == []
    (close,) = room.orders(room.hear(OrderUpdate(room.now, target.id, Trigger.CANCEL)))
    assert (close.role, close.quantity) == (Role.CLOSE, 1)


def test_a_stop_that_fills_before_its_cancel_leaves_nothing_to_close() -> None:
    room = Room(account_daily_loss=100)
    room.quote(4800.0)
    room.enter(1, stop_loss=40)
    (stop,) = room.one.orders(ES)
    for command in room.quote(4798.0):
        room.hear(Released(room.now, command))
    assert room.orders(room.fill(stop, 4798.0)) == []
    assert room.one.position(ES) == 0


def test_what_is_filled_too_late_is_closed_too() -> None:
    room = Room(account_daily_loss=100)
    room.quote(4800.0)
    room.enter(1)
    late = room.act(lambda s: s.buy(ES, 2, limit_price=4798.0), room.two)
    room.leave()
    room.quote(4798.0)
    room.leave()  # the cancel of the resting order, and the close
    assert late.status is OrderStatus.CANCELLED
    (close,) = room.orders(room.fill(late, 4798.0))  # only fill evidence corrects that
    assert (close.owner, close.role, close.quantity) == ("Other", Role.CLOSE, 2)


def asking(**limits: Any) -> Asked:
    """An engine at a venue that has to be asked, under guards."""
    asked = Asked(ready=False)
    asked.engine._limits = RiskLimits(**limits)
    asked.engine.inherit_days(())
    asked.link_up()
    asked.out = asked.engine.start(asked.now)
    return asked


def test_a_strategy_that_raises_in_the_same_turn_does_not_undo_the_close() -> None:
    asked = asking(account_daily_loss=100)
    asked.quote(4800.0)
    asked.executions(execution(asked.placed(asked.act(lambda s: s.buy(ES, 1))), 1, price=4800.0))
    assert asked.position() == 1
    asked.out.clear()
    asked.engine.feeds.hear(ES, lambda quote: asked.strategy.buy("nonsense", 1), 2)
    asked.quote(4798.0)
    assert len(asked.engine.faults) == 1
    assert [command.role for command in asked.waiting(PlaceOrder)] == [Role.CLOSE]


def test_a_close_that_cannot_be_sent_is_sent_once_it_can() -> None:
    asked = asking(account_daily_loss=100)
    asked.quote(4800.0)
    entry = asked.placed(asked.act(lambda s: s.buy(ES, 1)))
    asked.executions(execution(entry, 1, price=4800.0))
    asked.out.clear()
    asked.hear(LinkDown(asked.now, "gone"))
    asked.hear(AccountPnl(asked.now, SIM, 0.0, -100.0))
    assert [breach.reason.value for breach in asked.engine.breaches] == ["account_loss"]
    assert asked.waiting(PlaceOrder) == []
    asked.hear(LinkUp(asked.now))
    assert asked.waiting(PlaceOrder) == []
    asked.see()
    asked.executions(execution(entry, 1, price=4800.0))
    asked.positions(1)
    assert [command.role for command in asked.waiting(PlaceOrder)] == [Role.CLOSE]


def test_contracts_of_others_hands_count() -> None:
    asked = asking(max_contracts=3, max_positions=1)
    asked.engine.liaison.keeps_external = True  # type: ignore[union-attr]
    asked.quote(4800.0)
    asked.engine.liaison.others.offsets[SIM, ES] = -2  # type: ignore[union-attr]
    assert why(asked.act(lambda s: s.buy(MNQ, 1))) == "positions"
    assert why(asked.act(lambda s: s.buy(ES, 2))) == "contracts"
    assert asked.act(lambda s: s.buy(ES, 1)).status is QUEUED


# --- trailing drawdown -----------------------------------------------------------------------------------------------


def test_intraday_drawdown_counts_from_the_days_peak() -> None:
    """By hand, long 2 at 4800: +$400 at 4804, so that $250 below it is +$150, at 4801.50."""
    room = Room(trailing_drawdown=250)
    for bid in (4800.0, 4800.0):
        room.quote(bid)
    room.enter(2)
    for bid in (4804.0, 4801.75, 4803.75, 4801.75):
        assert room.quote(bid) == []
    assert [order.quantity for order in room.orders(room.quote(4801.5))] == [2]
    assert room.told[0].text == "Sim101 is $250.00 short of the day's peak, at most $250.00"
    assert why(room.act(lambda s: s.buy(MNQ, 1))) == "drawdown"


def test_a_drawdown_of_ends_of_days_ignores_the_peak_within_the_day() -> None:
    """By hand: +$400 within the first day, closed at +$200, its end. $250 below that is -$50 on the whole."""
    room = Room(trailing_drawdown=250, drawdown_basis="eod")
    room.quote(4800.0)
    room.enter(2)
    room.quote(4804.0)
    assert room.quote(4800.25) == []  # $375 below the peak of the day
    room.fill(room.act(lambda s: s.sell(ES, 2)), 4802.0)
    room.at(session_at(START).close + 2 * 3_600 * SECOND)  # the next day has begun: the highest end of a day is +$200
    room.quote(4802.0)
    room.enter(2, price=4802.0)
    room.quote(4810.0)
    assert room.quote(4799.75) == []  # +$200 - $225
    assert room.orders(room.quote(4799.5)) != []
    assert room.told[0].text == "Sim101 is $250.00 short of the highest end of a day, at most $250.00"


def test_ends_of_days_are_carried_over_a_restart_and_lock_again_the_next_day() -> None:
    first = Room(trailing_drawdown=250, drawdown_basis="eod", inherit=())
    first.quote(4800.0)
    first.enter(2)
    first.fill(first.act(lambda s: s.sell(ES, 2)), 4804.0)  # +$400
    first.pnl(400.0, 0.0, 100_400.0)
    tomorrow = START + DAY_NS
    second = Room(trailing_drawdown=250, drawdown_basis="eod", start=tomorrow, inherit=first.engine.day_states())
    assert (second.state.own.end_peak, second.state.end_liquidation) == (400.0, 100_400.0)
    second.quote(4800.0)
    second.enter(2)
    assert second.quote(4797.75) == []
    assert second.quote(4797.5) != []  # -$250 today
    third = Room(
        trailing_drawdown=250, drawdown_basis="eod", start=tomorrow + DAY_NS, inherit=second.engine.day_states()
    )
    assert third.reasons == ["drawdown"]  # the account is still as far below


def test_net_liquidation_against_the_highest_end_of_a_day() -> None:
    first = Room(trailing_drawdown=1_000, drawdown_basis="eod", inherit=())
    first.pnl(2_000.0, 0.0, 102_000.0)
    second = Room(
        trailing_drawdown=1_000, drawdown_basis="eod", start=START + DAY_NS, inherit=first.engine.day_states()
    )
    second.pnl(0.0, 0.0, 101_000.01)
    assert second.reasons == []
    second.pnl(-0.01, 0.0, 101_000.0)
    assert second.reasons == ["drawdown"]


def test_the_venues_own_peak_is_taken_when_it_is_higher() -> None:
    room = Room(trailing_drawdown=250)
    room.quote(4800.0)
    room.enter(1)
    room.engine.guards.note_peak(SIM, 300.0)  # type: ignore[union-attr]
    assert room.reasons == ["drawdown"]
    told = Room(trailing_drawdown=250)
    told.pnl(100.0)
    told.engine.guards.note_peak(SIM, 340.0)  # type: ignore[union-attr]
    told.engine.guards.note_peak(SIM, 20.0)  # type: ignore[union-attr]
    assert told.reasons == []
    told.pnl(90.0)
    assert told.reasons == ["drawdown"]


def test_each_view_has_a_peak_of_its_own() -> None:
    """Others made $1,000 in the account: that is no drawdown of ours."""
    room = Room(trailing_drawdown=250)
    room.pnl(1_000.0, 0.0, 101_000.0)
    room.quote(4800.0)
    room.enter(1)
    assert room.quote(4799.0) == []
    assert room.pnl(751.0, 0.0, 100_751.0) == []
    room.pnl(750.0, 0.0, 100_751.0)
    assert room.reasons == ["drawdown"]


# --- days and restarts -----------------------------------------------------------------------------------------------


def test_a_lock_ends_with_the_trading_day() -> None:
    room = Room(account_daily_loss=100)
    room.quote(4800.0)
    room.enter(1)
    (close,) = room.orders(room.quote(4798.0))
    room.leave()
    room.fill(close, 4798.0)
    opens = session_at(session_at(START).close).open
    room.at(opens - 1)
    assert why(room.act(lambda s: s.buy(ES, 1))) == "account_loss"
    room.at(opens)
    assert room.act(lambda s: s.buy(ES, 1)).status is QUEUED
    assert (room.state.lock, room.state.own.loss) == (None, 0.0)


def test_a_restart_within_the_day_inherits_the_lock_whatever_its_limits() -> None:
    first = Room(account_daily_loss=100, inherit=())
    first.quote(4800.0)
    first.enter(1)
    first.quote(4798.0)
    for limits in ({}, {"account_daily_loss": 9_000}):
        again = Room(start=START + MINUTE_NS, inherit=first.engine.day_states(), **limits)
        assert why(again.act(lambda s: s.buy(ES, 1))) == "account_loss"
        assert again.reasons == []  # people were told
    later = Room(start=START + DAY_NS, inherit=first.engine.day_states())
    assert later.act(lambda s: s.buy(ES, 1)).status is QUEUED


def test_a_restart_within_the_day_goes_on_from_its_loss_and_its_peak() -> None:
    first = Room(account_daily_loss=500, trailing_drawdown=700, inherit=())
    first.quote(4800.0)
    first.enter(1)
    first.quote(4805.0)
    first.fill(first.act(lambda s: s.sell(ES, 1)), 4794.0)  # -$300, from a peak of +$250
    state = first.engine.day_states()
    again = Room(start=START + MINUTE_NS, inherit=state, account_daily_loss=500)
    again.quote(4800.0)
    again.enter(1)
    assert again.quote(4796.25) == []
    assert again.quote(4796.0) != []
    fallen = Room(start=START + MINUTE_NS, inherit=state, trailing_drawdown=700)
    fallen.quote(4800.0)
    fallen.enter(1)
    assert fallen.quote(4797.25) == []
    assert fallen.quote(4797.0) != []
    assert fallen.reasons == ["drawdown"]


@pytest.mark.parametrize(("bid", "level"), [(4796.0, -200.0), (4804.0, 0.0)])
def test_of_a_position_that_is_not_inherited_the_worse_is_assumed(bid: float, level: float) -> None:
    first = Room(account_daily_loss=500, inherit=())
    first.quote(4800.0)
    first.enter(1)
    first.quote(bid)
    again = Room(start=START + MINUTE_NS, inherit=first.engine.day_states(), account_daily_loss=500)
    assert again.state.own.level == level


def long_one(engine: Engine) -> Desk:
    """A position of an earlier life: long 1 at 4800.00."""
    desk = engine.seats["Idle"].desk(ES, SIM)
    desk.book.trade(1, desk.contract.to_ticks(4800.0))
    return desk


def test_of_a_position_that_is_adopted_what_is_open_counts_once() -> None:
    first = Room(account_daily_loss=500, inherit=())
    first.quote(4800.0)
    first.enter(1)
    first.quote(4796.0)
    again = Room(start=START + MINUTE_NS, inherit=first.engine.day_states(), before=long_one, account_daily_loss=500)
    again.quote(4796.0)
    assert again.state.own.loss == 200.0
    assert again.quote(4790.25) == []
    assert again.quote(4790.0) != []


def test_a_run_that_is_taken_up_counts_what_was_filled_while_it_was_away() -> None:
    """Its books hold all its fills: $300 lost before, another $200 by a stop that was hit meanwhile."""
    state = DayState(SIM, dt.date(2026, 5, 13), Track(0.0, 0.0, 0.0, -300.0), own_shift=50.0)

    def lost(engine: Engine) -> None:
        desk = long_one(engine)
        desk.book.trade(-1, desk.contract.to_ticks(4789.0))  # $550 in all, $50 of it on days before

    room = Room(inherit=(state,), resumed=True, before=lost, account_daily_loss=500)
    assert room.reasons == ["account_loss"]


def test_a_position_without_a_quote_makes_no_peak() -> None:
    """Its open loss is not known yet: that the level at cost is higher means nothing."""
    state = DayState(SIM, dt.date(2026, 5, 13), Track(0.0, 0.0, 0.0, -200.0), own_shift=100.0)
    room = Room(inherit=(state,), resumed=True, before=long_one, trailing_drawdown=250)
    assert (room.state.own.level, room.state.own.peak) == (100.0, 0.0)
    assert room.quote(4793.25) == []
    assert room.quote(4793.0) != []


def test_a_run_that_begins_locked_closes_what_it_holds() -> None:
    """The last one locked the account and ended before its closes were through."""
    state = DayState(SIM, dt.date(2026, 5, 13), Track(), lock=Lock(START - 1, "account_loss", "lost"))
    room = Room(inherit=(state,), resumed=True, before=long_one)
    assert [order.role for order in room.orders(room.out)] == [Role.CLOSE]
    late = Room(start=utc("2026-05-13T20:30"), before=long_one, flatten_by="15:58 America/New_York")
    assert [order.role for order in late.orders(late.out)] == [Role.CLOSE]


def test_a_lock_of_a_later_day_holds_when_the_clock_went_back() -> None:
    state = DayState(SIM, dt.date(2026, 5, 14), Track(), lock=Lock(START, "drawdown", "fell"))
    assert why(Room(inherit=(state,)).act(lambda s: s.buy(ES, 1))) == "drawdown"


def test_limits_are_met_exactly_whatever_floats_make_of_it() -> None:
    assert 0.3 - 0.1 < 0.2
    assert Track(base=0.3, level=0.1).loss == 0.2
    assert Track(peak=0.3, level=0.1).drawdown("intraday") == 0.2
    assert Track(end_peak=0.3, level=0.1).drawdown("eod") == 0.2


def test_without_limits_the_day_is_remembered_when_somebody_wants_it() -> None:
    room = Room(inherit=())
    room.quote(4800.0)
    room.enter(1)
    room.quote(4790.0)
    assert (room.state.own.loss, room.state.day) == (500.0, dt.date(2026, 5, 13))
    assert Room().engine.day_states() == ()


def test_the_venues_realized_figure_starts_from_zero_again() -> None:
    """With the day, not later: a day that comes back to zero by trading lost what it had."""
    room = Room(account_daily_loss=300)
    room.pnl(500.0)
    opens = session_at(session_at(START).close).open
    room.at(opens + SECOND)
    room.pnl(500.0)
    room.pnl(0.0)
    room.pnl(-299.0)
    assert room.reasons == []
    room.pnl(-300.0)
    assert room.reasons == ["account_loss"]
    traded = Room(account_daily_loss=300, start=opens + 3_600 * SECOND)
    traded.pnl(500.0)
    traded.pnl(0.0)
    assert traded.reasons == []
    assert traded.state.pnl is not None
    assert traded.state.pnl.level == 0.0


def test_realized_that_starts_anew_at_another_hour_is_known_by_what_the_account_kept() -> None:
    kept, lost = Room(account_daily_loss=300), Room(account_daily_loss=300)
    for room in (kept, lost):
        room.pnl(500.0, 0.0, 100_500.0)
        room.pnl(0.0, 10.0, 100_510.0 if room is kept else 100_010.0)
    assert [room.state.pnl.level for room in (kept, lost) if room.state.pnl is not None] == [510.0, 10.0]
    assert kept.pnl(-799.0, 0.0, 99_701.0) == []
    kept.pnl(-800.0, 0.0, 99_701.0)
    assert (kept.reasons, lost.reasons) == (["account_loss"], [])


@settings(max_examples=60)
@given(bids=st.lists(st.integers(-30, 30), min_size=1, max_size=25), cut=st.integers(0, 25))
def test_a_restart_changes_nothing_about_when_the_limit_is_met(bids: list[int], cut: int) -> None:
    """Flat at the cut, so that nothing open is left behind: the same bid breaks the limit, restart or not."""

    def play(restarts: bool) -> int | None:
        room = Room(account_daily_loss=150, trailing_drawdown=200, inherit=())
        for number, ticks in enumerate(bids):
            if restarts and number == cut:
                states = room.engine.day_states()
                room = Room(account_daily_loss=150, trailing_drawdown=200, inherit=states, start=room.now)
            room.quote(4800.0)
            room.enter(1)
            room.quote(4800.0 + ticks * 0.25)
            if room.told:
                return number
            room.fill(room.act(lambda s: s.sell(ES, 1)), 4800.0 + ticks * 0.25)
            if room.told:
                return number
        return None

    assert play(False) == play(True)


# --- contracts and positions -----------------------------------------------------------------------------------------


def test_contracts_over_all_strategies_and_instruments() -> None:
    room = Room(max_contracts=5)
    room.quote(4800.0)
    room.quote(25_000.0, MNQ)
    room.enter(2)
    assert room.act(lambda s: s.buy(MNQ, 2, limit_price=24_000.0), room.two).status is QUEUED
    denied = room.act(lambda s: s.buy(MNQ, 2))
    assert (why(denied), denied.reason) == ("contracts", "contracts: Sim101 could hold 6, at most 5")
    assert room.act(lambda s: s.sell(ES, 2)).status is QUEUED  # it reduces
    assert room.act(lambda s: s.buy(MNQ, 1)).status is QUEUED
    assert why(room.act(lambda s: s.buy(MNQ, 1))) == "contracts"


def test_a_change_that_adds_contracts_is_judged() -> None:
    room = Room(max_contracts=3)
    room.quote(4800.0)
    order = room.act(lambda s: s.buy(ES, 2, limit_price=4700.0))
    room.leave()
    room.act(lambda s: s.change(order, quantity=4))
    assert (room.out, order.reason) == ([], "change denied: contracts: Sim101 could hold 4, at most 3")
    room.act(lambda s: s.change(order, quantity=3))
    assert len(room.out) == 1


def test_a_reversal_counts_the_larger_side() -> None:
    room = Room(max_contracts=3)
    room.quote(4800.0)
    room.enter(2)
    assert why(room.act(lambda s: s.sell(ES, 6))) == "contracts"
    assert room.act(lambda s: s.sell(ES, 5)).status is QUEUED


@settings(max_examples=80)
@given(
    wishes=st.lists(
        st.tuples(st.booleans(), st.sampled_from([ES, MNQ]), st.integers(-4, 4).filter(bool), st.booleans()),
        max_size=12,
    )
)
def test_never_more_contracts_than_allowed_whatever_fills(wishes: list[tuple[bool, str, int, bool]]) -> None:
    room = Room(max_contracts=5, max_positions=1)
    room.quote(4800.0)
    room.quote(25_000.0, MNQ)
    for first, instrument, quantity, fills in wishes:
        who = room.one if first else room.two
        order = room.act(
            lambda s, i=instrument, q=quantity: s.buy(i, q) if q > 0 else s.sell(i, -q),  # type: ignore[misc]
            who,
        )
        room.leave()
        if fills and order.is_open:
            room.fill(order, 4800.0)
        held = [view for view in room.engine.ledger.views() if view.quantity]
        assert sum(abs(view.quantity) for view in held) <= 5
        assert len({view.instrument for view in held}) <= 1


def test_positions_are_instruments_held_or_ordered() -> None:
    room = Room(max_positions=1)
    room.quote(4800.0)
    room.quote(25_000.0, MNQ)
    resting = room.act(lambda s: s.buy(MNQ, 1, limit_price=24_000.0))
    room.leave()
    denied = room.act(lambda s: s.buy(ES, 1), room.two)
    assert denied.reason == "positions: Sim101 holds or has orders for MNQ 06-26; at most 1 at once"
    assert room.act(lambda s: s.buy(MNQ, 1), room.two).status is QUEUED
    room.act(lambda s: s.cancel(resting))
    room.leave()
    room.act(lambda s: s.close(MNQ), room.two)
    room.leave()
    assert room.act(lambda s: s.buy(ES, 1)).status is QUEUED


# --- hours -----------------------------------------------------------------------------------------------------------


def test_outside_trading_hours_only_reducing_orders_pass() -> None:
    """10:00 in New York at the start; the hours end at 10:05."""
    room = Room(trading_hours="09:30-10:05 America/New_York")
    room.quote(4800.0)
    room.enter(2, stop_loss=40)
    resting = room.act(lambda s: s.buy(ES, 1, limit_price=4700.0))
    exits = room.act(lambda s: s.sell(ES, 1, limit_price=4900.0))
    room.leave()
    room.at(START + 5 * MINUTE_NS - 1)
    assert room.act(lambda s: s.buy(ES, 1, limit_price=4700.0)).status is QUEUED
    room.leave()
    room.out.clear()
    cancelled = [command.order_id for command in room.at(START + 5 * MINUTE_NS) if isinstance(command, CancelOrder)]
    assert resting.id in cancelled
    assert exits.id not in cancelled
    assert len(cancelled) == 2
    assert why(room.act(lambda s: s.buy(ES, 1))) == "trading_hours"
    assert room.act(lambda s: s.sell(ES, 1)).status is not DENIED
    room.at(START + DAY_NS - 30 * MINUTE_NS)
    assert room.act(lambda s: s.buy(ES, 1)).status is QUEUED


def test_a_run_that_begins_outside_its_hours_cancels_what_rests() -> None:
    def rest(engine: Engine) -> None:
        desk = engine.seats["Idle"].desk(ES, SIM)
        order = desk.draft(Side.BUY, 1, limit_price=4700.0)
        for trigger in (Trigger.SUBMIT, Trigger.SEND, Trigger.ACCEPT):
            engine.blotter.step(order, trigger, START)

    for start, count in ((START, 0), (START + 5 * MINUTE_NS, 1)):
        room = Room(start=start, before=rest, trading_hours="09:30-10:05 America/New_York")
        assert sum(isinstance(command, CancelOrder) for command in room.out) == count


def test_a_target_stands_outside_the_hours_and_its_way_to_flat_is_open() -> None:
    room = Room(trading_hours="09:30-10:05 America/New_York")
    room.quote(4800.0)
    room.enter(1)
    room.at(START + 5 * MINUTE_NS)
    room.act(lambda s: s.order_target(ES, -1))
    placed = [command for command in room.out if isinstance(command, PlaceOrder)]
    assert [(command.side, command.quantity) for command in placed] == [(Side.SELL, 1)]


def test_flatten_by_closes_everything_once_and_nothing_opens_until_the_next_session() -> None:
    room = Room(flatten_by="15:58 America/New_York", account_daily_loss=10_000)
    room.quote(4800.0)
    room.enter(1, stop_loss=40)
    room.enter(-2, who=room.two)
    room.act(lambda s: s.buy(MNQ, 1, limit_price=24_000.0))
    room.leave()
    instant = utc("2026-05-13T19:58")
    assert room.at(instant - 1) == []
    assert room.act(lambda s: s.order_target(ES, 2)) is not None
    room.leave()
    commands = room.at(instant)
    assert {type(command).__name__ for command in commands} == {"CancelOrder", "PlaceOrder"}
    assert room.reasons == ["flatten_by"]
    while placed := room.leave():
        for command in placed:
            room.fill(room.engine.blotter.orders[command.order_id], 4800.0)
    assert [desk.book.position for desk in room.engine.every_desk()] == [0, 0, 0]
    assert why(room.act(lambda s: s.buy(ES, 1))) == "flatten_by"
    room.at(utc("2026-05-13T22:00") - 1)
    assert why(room.act(lambda s: s.buy(ES, 1))) == "flatten_by"
    room.at(utc("2026-05-13T22:00"))
    assert room.act(lambda s: s.buy(ES, 1)).status is QUEUED
    assert room.reasons == ["flatten_by"]


def test_flatten_by_after_a_leap_of_the_clock_fires_once() -> None:
    room = Room(flatten_by="15:58 America/New_York")
    room.quote(4800.0)
    room.enter(1)
    woken = utc("2026-05-13T20:30")
    room.engine.timers.leap(woken)
    assert [order.role for order in room.orders(room.at(woken))] == [Role.CLOSE]
    assert room.reasons == ["flatten_by"]
    for command in room.leave():
        room.fill(room.engine.blotter.orders[command.order_id], 4800.0)
    room.at(utc("2026-05-14T14:00"))
    room.quote(4800.0)
    room.enter(1)
    assert room.at(utc("2026-05-14T19:58") - 1) == []
    assert room.orders(room.at(utc("2026-05-14T19:58"))) != []
    assert room.reasons == ["flatten_by", "flatten_by"]


def test_a_leap_over_the_next_sessions_start_still_closes_what_was_left() -> None:
    room = Room(flatten_by="15:58 America/New_York")
    room.quote(4800.0)
    room.enter(1)
    woken = utc("2026-05-14T13:00")
    room.engine.timers.leap(woken)
    assert [order.role for order in room.orders(room.at(woken))] == [Role.CLOSE]
    assert room.act(lambda s: s.buy(MNQ, 1)).status is QUEUED


def test_a_fill_after_the_flatten_time_is_closed() -> None:
    room = Room(flatten_by="15:58 America/New_York")
    room.quote(4800.0)
    late = room.act(lambda s: s.buy(ES, 1, limit_price=4790.0))
    room.leave()
    room.at(utc("2026-05-13T19:58"))
    room.leave()
    assert late.status is OrderStatus.CANCELLED
    assert [order.role for order in room.orders(room.fill(late, 4790.0))] == [Role.CLOSE]


# --- the age of quotes -----------------------------------------------------------------------------------------------


def test_nothing_is_opened_on_an_old_quote() -> None:
    room = Room(max_quote_age=2.5)
    assert why(room.act(lambda s: s.buy(ES, 1))) == "quote_age"
    room.quote(4800.0)
    room.enter(2)
    room.tick(2.5)
    assert room.act(lambda s: s.buy(ES, 1)).status is QUEUED
    room.tick(1e-9)
    denied = room.act(lambda s: s.buy(ES, 1))
    assert denied.reason == "quote_age: the quote of ES 06-26 is 2.5 s old, at most 2.5"
    assert room.act(lambda s: s.sell(ES, 1)).status is QUEUED
    room.quote(25_000.0, MNQ)
    assert why(room.act(lambda s: s.buy(ES, 1))) == "quote_age"


# --- naked positions -------------------------------------------------------------------------------------------------


def naked(room: Room) -> Order:
    """Long 1 whose stop left and was not answered yet."""
    room.quote(4800.0)
    entry: Order = room.act(lambda s: s.buy(ES, 1, stop_loss=40))
    room.leave()
    room.fill(entry, 4800.0)
    (stop,) = room.one.orders(ES)
    (command,) = room.out
    room.out.clear()
    room.hear(Released(room.now, command))
    return stop


def test_a_position_without_its_stop_is_closed_after_the_time_and_not_before() -> None:
    room = Room(naked_after=5)
    stop = naked(room)
    assert room.tick(5 - 1e-9) == []
    commands = room.tick(1e-9)
    assert room.reasons == ["naked"]
    assert room.told[0].text == "ES 06-26 of Idle in Sim101: no stop loss for 5 s"
    assert room.orders(commands) == []  # the stop may yet be there: its cancel comes first
    (close,) = room.orders(room.hear(OrderUpdate(room.now, stop.id, Trigger.REJECT, "late")))
    assert (close.role, close.quantity) == (Role.CLOSE, 1)


def test_a_stop_that_is_seen_working_in_time_is_enough() -> None:
    room = Room(naked_after=5)
    stop = naked(room)
    room.tick(4)
    room.hear(OrderUpdate(room.now, stop.id, Trigger.ACCEPT))
    room.tick(60)
    assert room.reasons == []


def test_the_time_counts_anew_each_time() -> None:
    room = Room(naked_after=5)
    stop = naked(room)
    room.tick(4)
    room.hear(OrderUpdate(room.now, stop.id, Trigger.ACCEPT))
    room.tick(10)
    commands = room.hear(OrderUpdate(room.now, stop.id, Trigger.CANCEL))  # somebody cancelled it
    (again,) = room.orders(commands)
    assert again.role is Role.STOP_LOSS
    room.hear(Released(room.now, commands[0]))
    assert room.tick(5 - 1e-9) == []
    assert room.reasons == []
    room.tick(1e-9)
    assert room.reasons == ["naked"]


def test_a_stop_that_worked_for_a_moment_starts_the_time_anew() -> None:
    room = Room(naked_after=5)
    stop = naked(room)
    room.tick(4)
    room.hear(OrderUpdate(room.now, stop.id, Trigger.ACCEPT))
    (again,) = room.hear(OrderUpdate(room.now, stop.id, Trigger.CANCEL))
    room.hear(Released(room.now, again))
    room.tick(5 - 1e-9)
    assert room.reasons == []
    room.tick(1e-9)
    assert room.reasons == ["naked"]


def test_contracts_that_are_being_sold_need_no_stop() -> None:
    room = Room(naked_after=5)
    room.quote(4800.0)
    room.enter(1, stop_loss=40)
    sold = room.act(lambda s: s.sell(ES, 1))
    room.leave()  # the cancel of the stop
    room.leave()
    assert sold.status is OrderStatus.WORKING
    room.tick(60)
    assert room.reasons == []


def test_a_run_that_begins_with_a_naked_position_counts_from_its_beginning() -> None:
    def bare(engine: Engine) -> None:
        desk = long_one(engine)
        desk.exits.pairs.append(Pair("r-1", Side.SELL, 1, 4790.0, None))

    room = Room(naked_after=5, before=bare)
    assert room.tick(5 - 1e-9) == []
    room.tick(1e-9)
    assert room.reasons == ["naked"]


def test_positions_without_a_declared_stop_are_nobodys_business() -> None:
    room = Room(naked_after=1)
    room.quote(4800.0)
    room.enter(1)
    room.enter(1, take_profit=40, who=room.two)
    room.tick(60)
    assert room.reasons == []


def test_while_nothing_can_be_sent_the_time_does_not_count() -> None:
    asked = asking(naked_after=5)
    engine = asked.engine
    asked.quote(4800.0)
    entry = asked.placed(asked.act(lambda s: s.buy(ES, 1, stop_loss=40)))
    asked.executions(execution(entry, 1))
    (stop,) = asked.strategy.orders(ES)
    asked.tick(4)
    asked.hear(LinkDown(asked.now, "gone"))
    asked.doubted(stop)
    asked.tick(64)
    assert engine.breaches == []
    asked.link_up()
    asked.tick(4)
    assert engine.breaches == []
    asked.see(row(stop))
    assert stop.status is OrderStatus.WORKING
    asked.tick(60)
    assert engine.breaches == []


# --- in a replay -----------------------------------------------------------------------------------------------------


def test_a_replay_has_the_same_guards() -> None:
    """Long 2 from row 1 at 4800.25: $100 is reached at 4799.25, row 4; the close of row 4 fills on row 5."""

    def each(strategy: Idle, quote: Quote) -> None:
        if quote.instrument == ES and not strategy.position(ES) and not strategy.orders(ES):
            strategy.buy(ES, 2, stop_loss=40)

    bids = [4800.0, 4800.0, 4800.0, 4799.5, 4799.25, 4799.25, 4799.25, 4799.25, 4799.25, 4799.25, 4799.25]
    rows = range(len(bids))
    quotes = QuoteTable.from_rows(
        (ES, MNQ), [0] * len(bids), [START + row * SECOND for row in rows], bids, [bid + 0.25 for bid in bids], bids
    )
    how = ReplaySettings(
        fills=FillModel(slippage=0),
        latency=Latency(entry=0, report=0),
        fees=Fees(commission=0.0),
        limits=RiskLimits(account_daily_loss=100),
    )
    result = replay(Idle(each=each), quotes, how)
    assert [(fill.side, fill.quantity, fill.price) for fill in result.fills] == [
        (Side.BUY, 2, 4800.25),
        (Side.SELL, 2, 4799.25),
    ]
    assert set(result.denials) <= {"account_loss", "closing"}
    assert result.denials["account_loss"] >= 1
