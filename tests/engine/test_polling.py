"""What is asked next, and how soon: fast after what may fill at once, seldom for what rests, never for nothing."""

from __future__ import annotations

import pytest
from engine.asked import SECOND, Asked, execution, row
from tables import ES, START

from xtalgo import Order
from xtalgo.engine.polling import EVERY, EVERY_ORDERS, EVERY_POSITIONS, EVERY_RESTING, RUNGS, PollPlanner, rung
from xtalgo.engine.reconcile import Evidence
from xtalgo.model.commands import Ask, PlaceOrder, Query
from xtalgo.model.events import Answered, Unanswered
from xtalgo.model.reports import Standing
from xtalgo.model.types import NEVER

MS = 1_000_000


@pytest.fixture
def room() -> Asked:
    return Asked()


def polled(room: Asked, seconds: float, *rows: object, step: float = 0.1) -> list[tuple[int, Ask]]:
    """What is asked, and when (milliseconds from now), while each question is answered at once with these orders."""
    start, asked = room.now, []
    for _ in range(round(seconds / step)):
        room.tick(step)
        for query in room.waiting(Query):
            room.leave(Query)
            asked.append(((room.now - start) // MS, query.ask))
            room.rows(query, *(rows if query.ask is Ask.ORDERS else ()))
    return asked


def limit(room: Asked) -> Order:
    return room.placed(room.act(lambda s: s.buy(ES, 2, limit_price=4790.0)))


# --- rungs --------------------------------------------------------------------------------------------------------


def test_the_rungs_are_climbed_one_by_one_and_then_every_five_seconds() -> None:
    last, due = START, []
    for _ in range(9):
        last = rung(START, last)
        due.append((last - START) // MS)
    assert due == [*(step // MS for step in RUNGS), 11_000, 16_000, 21_000]
    assert EVERY == 5 * SECOND


def test_a_rung_that_was_missed_is_not_made_up_for() -> None:
    assert rung(START, START + 2 * SECOND) == START + 2_500 * MS


# --- what is asked ------------------------------------------------------------------------------------------------


def test_where_nothing_is_open_only_positions_are_compared(room: Asked) -> None:
    assert room.liaison.planner.due() >= room.now + EVERY_POSITIONS
    asked = polled(room, 61, step=1.0)
    assert [ask for _, ask in asked] == [Ask.POSITIONS] * 2


def test_a_market_order_is_looked_for_at_once_by_its_executions(room: Asked) -> None:
    order = room.placed(room.act(lambda s: s.buy(ES, 1)))
    asked = polled(room, 6.05, row(order))
    assert [at for at, ask in asked if ask is Ask.EXECUTIONS] == [300, 800, 1_500, 2_500, 4_000, 6_000]
    assert [at for at, ask in asked if ask is Ask.ORDERS] == [1_500]


def test_while_a_place_is_under_way_nothing_is_asked_for_it(room: Asked) -> None:
    room.act(lambda s: s.buy(ES, 1))
    place = room.leave(PlaceOrder)
    assert polled(room, 5) == []
    room.hear(Answered(room.now, place))
    assert polled(room, 0.3) == [(300, Ask.EXECUTIONS)]


def test_a_resting_order_costs_seventeen_requests_a_minute_once_it_was_seen(room: Asked) -> None:
    """12 executions, 4 lists of orders, 2 of positions at most: a tenth of the budget, for any number of orders."""
    orders = [limit(room) for _ in range(3)]
    rows = [row(order) for order in orders]
    polled(room, 10, *rows)
    asked = polled(room, 60, *rows)
    assert 14 <= len(asked) <= 18
    assert EVERY_RESTING == 5 * SECOND
    assert EVERY_ORDERS == 15 * SECOND


def test_a_fill_is_the_end_of_asking(room: Asked) -> None:
    order = room.placed(room.act(lambda s: s.buy(ES, 1)))
    room.executions(execution(order, 1))
    assert order.is_filled
    assert polled(room, 20) == []


def test_a_change_or_cancel_is_followed_up_by_lists_of_orders(room: Asked) -> None:
    order = limit(room)
    polled(room, 10, row(order))
    room.act(lambda s: s.cancel(order))
    room.cancelled(order)
    asked = [at for at, ask in polled(room, 2.55, row(order, Standing.CANCELLING)) if ask is Ask.ORDERS]
    assert asked == [300, 800, 1_500, 2_500]


def test_doubt_is_followed_up_by_everything(room: Asked) -> None:
    room.doubted(room.act(lambda s: s.buy(ES, 1, limit_price=4790.0)))
    asked = polled(room, 0.85)
    assert {ask for at, ask in asked if at == 300} == {Ask.ORDERS, Ask.EXECUTIONS, Ask.POSITIONS}


# --- urgency and merging ------------------------------------------------------------------------------------------


def test_what_is_in_flight_is_urgent_and_what_rests_is_not(room: Asked) -> None:
    order = limit(room)
    room.tick(0.3)
    (first,) = room.waiting(Query)
    assert first.urgent
    room.leave(Query)
    room.rows(first, row(order))
    room.tick(5)
    assert [query.urgent for query in room.waiting(Query)] == [False]


def test_a_question_that_is_open_is_not_asked_again(room: Asked) -> None:
    room.placed(room.act(lambda s: s.buy(ES, 1)))
    room.tick(0.3)
    assert len(room.waiting(Query)) == 1
    room.tick(5)
    queries = room.waiting(Query)
    assert sorted(query.ask for query in queries) == sorted({query.ask for query in queries})


def test_one_list_answers_for_all_orders_of_its_account() -> None:
    room = Asked(("Sim101", "Sim102"))
    for account in ("Sim101", "Sim102"):
        for _ in range(3):
            room.placed(room.act(lambda s, where=account: s.buy(ES, 1, limit_price=4790.0, account=where)))
    room.tick(0.3)
    assert sorted(query.account for query in room.waiting(Query)) == ["Sim101", "Sim102"]


def test_what_came_to_nothing_is_asked_again_later_each_time(room: Asked) -> None:
    room.placed(room.act(lambda s: s.buy(ES, 1)))
    room.liaison.planner.want("Sim101", Ask.POSITIONS, room.now)
    gaps, last = [], None
    for _ in range(4_000):
        room.tick(0.1)
        for query in room.waiting(Query):
            room.leave(Query)
            if query.ask is Ask.POSITIONS:
                if last is not None:
                    gaps.append(round((room.now - last) / SECOND))
                last = room.now
            room.hear(Unanswered(room.now, query, "lost"))
    assert gaps[:6] == [1, 2, 4, 8, 16, 30]
    assert set(gaps[6:]) == {30}


def test_after_a_drop_everything_open_is_forgotten(room: Asked) -> None:
    planner = room.liaison.planner
    room.placed(room.act(lambda s: s.buy(ES, 1)))
    room.tick(0.3)
    assert planner.is_busy
    planner.drop()
    assert not planner.is_busy


# --- the planner alone --------------------------------------------------------------------------------------------


def test_a_wish_is_served_by_the_next_query_that_leaves_after_it() -> None:
    room = Asked()
    planner = PollPlanner(Evidence(room.engine.blotter, room.engine.feeds.contracts), ("Sim101",))
    for ask in Ask.ORDERS, Ask.EXECUTIONS, Ask.POSITIONS:
        planner.sent(Query(ask, "Sim101", 0), START)
    planner.want("Sim101", Ask.ORDERS, START + SECOND)
    planner.want("Sim101", Ask.ORDERS, START + 5 * SECOND)  # the sooner one stands
    assert planner.due() == START + SECOND
    assert planner.pop(START) == []
    (query,) = planner.pop(START + SECOND)
    assert query.ask is Ask.ORDERS
    assert not planner.is_open("Sim101") or planner.is_busy
    planner.sent(query, START + SECOND)
    planner.want("Sim101", Ask.ORDERS, START + SECOND + 1)  # after it left: it does not count
    planner.settled(query, START + 2 * SECOND, answered=True)
    assert [one.ask for one in planner.pop(START + 2 * SECOND)] == [Ask.ORDERS]


def test_a_planner_without_accounts_is_never_due() -> None:
    room = Asked()
    assert PollPlanner(Evidence(room.engine.blotter, room.engine.feeds.contracts), ()).due() == NEVER
