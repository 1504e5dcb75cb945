"""Account items and watermarks: who asks, how often, who is told, and what a guard may believe of them."""

from __future__ import annotations

import datetime as dt
import math
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import ES, START

from xtalgo import (
    AccountItems,
    ContractBook,
    Instrument,
    RiskLimits,
    Strategy,
    StrategyError,
    Watermarks,
    replay,
)
from xtalgo.engine.engine import Engine
from xtalgo.engine.watermarks import SETTLED, PeakOfDay
from xtalgo.model.commands import Ask, Command, Figures, FiguresQuery, Query
from xtalgo.model.events import (
    AccountPnl,
    Event,
    ExecutionsSeen,
    ItemsSeen,
    LinkDown,
    LinkUp,
    OrdersSeen,
    PositionsSeen,
    Released,
    Tick,
    Unread,
    WatermarksSeen,
)
from xtalgo.model.sessions import NEW_YORK, from_datetime, session_at

SIM, TWO = "Sim101", "Sim102"
SECOND = 1_000_000_000
HOUR = 3_600


class Watcher(Strategy):
    """Watches what it is told to, and keeps what it hears."""

    instrument: Instrument = ES
    items: Any = None
    marks: Any = None
    account_name: str | None = None

    def on_start(self) -> None:
        self.told: list[AccountItems | Watermarks] = []
        if self.items:
            self.watch_account(self.items, account=self.account_name)
        if self.marks:
            self.watch_watermarks(self.marks, account=self.account_name)

    def on_account(self, items: AccountItems) -> None:
        self.told.append(items)

    def on_watermarks(self, marks: Watermarks) -> None:
        self.told.append(marks)


class Room:
    """An engine with a link, whose questions the test answers."""

    def __init__(self, *strategies: Watcher, now: int = START, **limits: Any) -> None:
        contracts = ContractBook()
        self.strategies = strategies or (Watcher(),)
        self.engine = Engine(
            self.strategies,
            contracts=contracts,
            pin=lambda text: contracts.pin(text, [ES]),
            accounts=(SIM, TWO),
            limits=RiskLimits(**limits),
            asks=True,
        )
        self.now = now
        self.out: list[Command] = []
        self.serial = 5_000
        self.out += self.engine.warm_up(now)
        self.link_up()
        self.out += self.engine.start(now)

    def hear(self, event: Event) -> None:
        self.out += self.engine.handle(event)

    def tick(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)
        self.hear(Tick(self.now))

    def link_up(self) -> None:
        self.hear(LinkUp(self.now))
        seen: Any = {Ask.ORDERS: OrdersSeen, Ask.EXECUTIONS: ExecutionsSeen, Ask.POSITIONS: PositionsSeen}
        for account in (SIM, TWO):
            for ask, kind in seen.items():
                self.serial += 1
                query = Query(ask, account, self.serial)
                self.hear(Released(self.now, query))
                self.hear(kind(self.now, query, ()))

    def queries(self) -> list[FiguresQuery]:
        found = [command for command in self.out if isinstance(command, FiguresQuery)]
        self.out = []
        return found

    def leave(self) -> list[FiguresQuery]:
        found = self.queries()
        for query in found:
            self.hear(Released(self.now, query))
        return found

    def items(self, query: FiguresQuery, cash: float = 100_000.0) -> None:
        self.hear(ItemsSeen(self.now, query, AccountItems(self.now, query.account, cash)))

    def mark(self, query: FiguresQuery, high: float | None, pnl: float | None, **more: Any) -> None:
        marks = Watermarks(self.now, query.account, high, pnl=pnl, total=pnl, **more)
        self.hear(WatermarksSeen(self.now, query, marks))


# --- strategies ------------------------------------------------------------------------------------------------------


def test_items_are_asked_for_at_once_and_then_at_intervals() -> None:
    room = Room(Watcher(items=60))
    (query,) = room.leave()
    assert (query.about, query.account) == (Figures.ITEMS, SIM)
    room.now += SECOND
    room.items(query, 101_000.0)
    room.tick(58.9)
    assert room.queries() == []
    room.tick(0.1)  # a minute after the question left
    (query,) = room.leave()
    room.items(query, 102_000.0)
    assert [items.cash_value for items in room.strategies[0].told if isinstance(items, AccountItems)] == [
        101_000.0,
        102_000.0,
    ]


def test_several_who_ask_share_a_question_as_often_as_the_most_eager_asks() -> None:
    room = Room(Watcher(items=60), Watcher(items=20), Watcher(items=30, account_name=TWO), Watcher(marks=60))
    queries = room.leave()
    assert sorted((str(query.about), query.account) for query in queries) == [
        ("items", SIM),
        ("items", TWO),
        ("watermarks", SIM),
    ]
    first = next(query for query in queries if query.about is Figures.ITEMS and query.account == SIM)
    room.items(first)
    room.tick(20)
    (query,) = room.leave()
    assert (query.about, query.account) == (Figures.ITEMS, SIM)
    room.items(query)
    assert [len(strategy.told) for strategy in room.strategies] == [2, 2, 0, 0]


def test_an_answer_that_comes_twice_or_to_nothing_is_not_heard() -> None:
    room = Room(Watcher(items=60))
    (query,) = room.queries()
    room.items(query)  # it has not left
    room.hear(Released(room.now, query))
    room.items(query)
    room.items(query)
    room.items(FiguresQuery(Figures.ITEMS, TWO, 1))
    room.hear(Unread(room.now, query, "late"))
    assert len(room.strategies[0].told) == 1


def test_a_question_that_came_to_nothing_is_asked_again_later_each_time() -> None:
    room = Room(Watcher(items=600))
    for pause in (2, 4, 8, 16, 32, 60, 60):
        (query,) = room.leave()
        room.hear(Unread(room.now, query, "no reply"))
        room.tick(pause - 0.001)
        assert room.queries() == []
        room.tick(0.001)
    (query,) = room.leave()
    room.items(query)
    room.tick(599)
    assert room.queries() == []


def test_a_reconnect_asks_at_once() -> None:
    room = Room(Watcher(items=600))
    (query,) = room.leave()
    room.hear(LinkDown(room.now, "it dropped"))
    room.hear(Unread(room.now, query, "it dropped"))
    room.tick(100)
    assert room.queries() == []
    room.link_up()
    assert len(room.leave()) == 1


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({"items": 1}, r"every=1: figures can be asked for every 5 seconds at most"),
        ({"items": -1}, r"positive number of seconds"),
        ({"items": math.nan}, r"positive number of seconds"),
        ({"marks": 60, "account_name": "Sim999"}, r"has no account 'Sim999'"),
    ],
)
def test_wrong_use_says_what_is_wrong(how: dict[str, Any], text: str) -> None:
    with pytest.raises(StrategyError, match=text):
        replay(Watcher(**how), _table())


def _table() -> Any:
    from tables import table

    return table([4800.0] * 200)


def test_in_a_plain_replay_nothing_is_told() -> None:
    strategy = Watcher(items=5, marks=5)
    result = replay(strategy, _table())
    assert strategy.told == []
    assert result.rpcs == 0


def test_a_strategy_that_raises_at_figures_is_quarantined_and_not_asked_for_again() -> None:
    class Broken(Watcher):
        def on_account(self, items: AccountItems) -> None:
            raise ValueError("boom")

    room = Room(Broken(items=20), Watcher())
    (query,) = room.leave()
    room.items(query)
    assert [name for name, _ in room.engine.faults] == ["Broken"]
    room.tick(60)
    assert room.queries() == []


# --- guards ----------------------------------------------------------------------------------------------------------


def locked(room: Room) -> list[str]:
    return [breach.account for breach in room.engine.breaches]


def test_where_a_drawdown_is_limited_the_venues_peak_is_asked_for() -> None:
    room = Room(trailing_drawdown=500.0)
    assert [(query.about, query.account) for query in room.leave()] == [
        (Figures.WATERMARKS, SIM),
        (Figures.WATERMARKS, TWO),
    ]
    assert Room().queries() == []
    assert Room(account_daily_loss=500.0).queries() == []
    assert Room(trailing_drawdown=500.0, drawdown_basis="eod").queries() == []


def test_every_few_minutes_and_after_each_reconnect() -> None:
    room = Room(trailing_drawdown=500.0)
    for query in room.leave():
        room.mark(query, 0.0, 0.0)
    room.tick(299)
    assert room.queries() == []
    room.tick(1)
    assert len(room.leave()) == 2
    room.hear(LinkDown(room.now, "it dropped"))
    room.tick(5)
    room.link_up()
    assert len(room.leave()) == 2


def test_a_peak_that_we_did_not_see_counts() -> None:
    room = Room(trailing_drawdown=500.0)
    room.hear(AccountPnl(room.now, SIM, 100.0, 0.0, 100_100.0))
    (query, _) = room.leave()
    room.mark(query, 700.0, 100.0, net_liquidation=100_100.0, net_liquidation_high=100_700.0)
    assert locked(room) == [SIM]
    assert "$600.00 short of the day's peak" in room.engine.breaches[0].text


def test_a_peak_that_is_not_so_far_above_does_not_lock() -> None:
    room = Room(trailing_drawdown=500.0)
    room.hear(AccountPnl(room.now, SIM, 100.0, 0.0, 100_100.0))
    (query, _) = room.leave()
    room.mark(query, 599.0, 100.0, net_liquidation=100_100.0, net_liquidation_high=100_599.0)
    assert locked(room) == []
    room.hear(AccountPnl(room.now, SIM, 99.0, 0.0, 100_099.0))  # but it is remembered
    assert locked(room) == [SIM]


NONSENSE: list[dict[str, Any]] = [
    {"high": None, "pnl": None},
    {"high": math.nan, "pnl": 100.0},
    {"high": math.inf, "pnl": 100.0},
    {"high": 1e12, "pnl": 100.0},
    {"high": 100_700.0, "pnl": 100.0, "net_liquidation": 100_100.0, "net_liquidation_high": 100_100.0},
    {"high": 9_999.0, "pnl": None},
    {"high": 9_999.0, "pnl": math.nan},
    {"high": 50.0, "pnl": 100.0},
    {"high": 9_999.0, "pnl": 100.0, "net_liquidation": 100_100.0, "net_liquidation_high": 100_150.0},
    {"high": 150.0, "pnl": 100.0, "net_liquidation": 100_100.0, "net_liquidation_high": 9e8},
    {"high": 0.0, "pnl": 0.0, "net_liquidation": 0.0, "net_liquidation_high": 0.0},
]


@pytest.mark.parametrize("marks", NONSENSE, ids=range(len(NONSENSE)))
def test_a_guard_does_not_fire_on_nonsense(marks: dict[str, Any]) -> None:
    room = Room(trailing_drawdown=500.0)
    room.hear(AccountPnl(room.now, SIM, 100.0, 0.0, 100_100.0))
    (query, _) = room.leave()
    room.mark(query, marks.pop("high"), marks.pop("pnl"), **marks)
    assert locked(room) == []


def test_a_high_of_realized_pnl_alone_counts_as_far_as_net_liquidation_bears_it_out() -> None:
    """Three hundred were booked, another position is down by as much: the account never stood above 40."""
    room = Room(trailing_drawdown=200.0)
    room.hear(AccountPnl(room.now, SIM, 300.0, -300.0, 100_000.0))
    (query, _) = room.leave()
    marks = Watermarks(room.now, SIM, 600.0, 100_040.0, pnl=300.0, total=0.0, net_liquidation=100_000.0)
    room.hear(WatermarksSeen(room.now, query, marks))
    assert locked(room) == []


def test_figures_before_fees_do_not_make_a_peak_of_the_fees() -> None:
    room = Room(trailing_drawdown=200.0)
    room.hear(AccountPnl(room.now, SIM, 100.0, 0.0, 100_100.0))  # net of 400 in fees
    (query, _) = room.leave()
    room.mark(query, 500.0, 500.0, net_liquidation=100_100.0, net_liquidation_high=100_100.0)
    assert locked(room) == []


def test_without_the_venues_pnl_our_own_books_are_what_it_is_counted_from() -> None:
    room = Room(trailing_drawdown=500.0)
    (query, _) = room.leave()
    room.mark(query, 599.0, 100.0)
    assert locked(room) == []
    room.tick(300)
    query = next(found for found in room.leave() if found.account == SIM)
    room.mark(query, 700.0, 100.0)
    assert locked(room) == [SIM]


def ny(text: str) -> int:
    return from_datetime(dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(NEW_YORK)))


def marks(high: float, pnl: float = 0.0) -> Watermarks:
    return Watermarks(0, SIM, high, pnl=pnl, total=pnl)


def test_a_high_of_yesterday_does_not_count_today() -> None:
    judge = PeakOfDay()
    assert judge.peak(SIM, marks(900.0), ny("2026-05-12 16:50"), 0.0) == 900.0
    for text in ("2026-05-12 17:30", "2026-05-12 18:00", "2026-05-12 18:45", "2026-05-12 19:09"):
        assert judge.peak(SIM, marks(900.0), ny(text), 0.0) is None
    assert judge.peak(SIM, marks(900.0), ny("2026-05-12 19:11"), 0.0) is None  # it was not started anew
    assert judge.peak(SIM, marks(950.0), ny("2026-05-12 19:20"), 0.0) == 950.0
    assert judge.peak(SIM, marks(950.0), ny("2026-05-12 19:30"), 0.0) == 950.0


def test_one_that_was_last_told_yesterday_does_not_count_either() -> None:
    judge = PeakOfDay()
    assert judge.peak(SIM, marks(900.0), ny("2026-05-12 10:00"), 0.0) == 900.0
    assert judge.peak(SIM, marks(900.0), ny("2026-05-13 10:00"), 0.0) is None
    assert judge.peak(SIM, marks(900.0), ny("2026-05-13 10:05"), 0.0) is None
    assert judge.peak(SIM, marks(30.0), ny("2026-05-13 10:10"), 0.0) == 30.0


def test_a_day_that_turns_forgets_the_peak() -> None:
    room = Room(now=ny("2026-05-12 16:50"), trailing_drawdown=500.0)
    for query in room.leave():
        room.hear(AccountPnl(room.now, query.account, 100.0, 0.0, 100_100.0))
        room.mark(query, 500.0, 100.0, net_liquidation=100_100.0, net_liquidation_high=100_500.0)
    assert locked(room) == []
    for _ in range(40):
        room.tick(300)
        for query in room.leave():
            room.hear(AccountPnl(room.now, query.account, -200.0, 0.0, 99_800.0))
            room.mark(query, 500.0, -200.0, net_liquidation=99_800.0, net_liquidation_high=100_500.0)
        if session_at(room.now).day == dt.date(2026, 5, 13):
            break
        assert locked(room)  # the same day: it fell by 700
    room = Room(now=ny("2026-05-12 18:30"), trailing_drawdown=500.0)
    for _ in range(24):
        room.tick(300)
        for query in room.leave():
            room.hear(AccountPnl(room.now, query.account, 0.0, 0.0, 99_800.0))
            room.mark(query, 700.0, 0.0, net_liquidation=99_800.0, net_liquidation_high=100_500.0)
    assert locked(room) == []  # yesterday's high, which nobody has started anew


numbers = st.none() | st.floats(allow_nan=True, allow_infinity=True) | st.integers(-10_000, 200_000).map(float)


@given(
    high=numbers,
    pnl=numbers,
    total=numbers,
    worth=numbers,
    most=numbers,
    standing=st.integers(-50_000, 50_000).map(float),
    minutes=st.integers(0, 23 * 60),
)
def test_a_peak_is_finite_never_above_the_high_and_never_of_an_early_hour(
    high: Any, pnl: Any, total: Any, worth: Any, most: Any, standing: float, minutes: int
) -> None:
    opened = ny("2026-05-12 18:00")
    told = Watermarks(0, SIM, high, most, None, pnl, total, None, worth)
    peak = PeakOfDay().peak(SIM, told, opened + minutes * 60 * SECOND, standing)
    if peak is None:
        return
    assert math.isfinite(peak)
    assert minutes * 60 * SECOND >= SETTLED
    assert peak - standing <= high - pnl + 1e-6
    if total is None or abs(total - pnl) > 0.01:
        assert peak - standing <= most - worth + 1e-6
