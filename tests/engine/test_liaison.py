"""Readiness, hints and what stands in the way of an order."""

from __future__ import annotations

import itertools

import pytest
from engine.asked import SECOND, Asked, execution, row
from tables import ES, MNQ

from xtalgo import Order, OrderStatus
from xtalgo.engine.liaison import HINT_EVERY
from xtalgo.model.commands import Ask, PlaceOrder, Query
from xtalgo.model.events import AccountPnl, LinkDown, LinkUp, Silent, Unanswered
from xtalgo.model.reports import PositionReport, Standing

DENIED, QUEUED = OrderStatus.DENIED, OrderStatus.QUEUED


@pytest.fixture
def room() -> Asked:
    return Asked()


def why(order: Order) -> str:
    assert order.status is DENIED
    return order.reason.split(":")[0]


def limit(room: Asked, price: float = 4790.0) -> Order:
    return room.placed(room.act(lambda s: s.buy(ES, 2, limit_price=price)))


# --- readiness ----------------------------------------------------------------------------------------------------


def test_nothing_is_ready_before_the_link_is_up() -> None:
    room = Asked(ready=False)
    assert not room.liaison.all_ready
    room.out += room.engine.start(room.now)
    assert why(room.act(lambda s: s.buy(ES, 1))) == "link_down"


def test_an_account_is_ready_once_all_three_lists_came(room: Asked) -> None:
    room.hear(LinkDown(room.now, "gone"))
    room.hear(LinkUp(room.now))
    for ask in (Ask.ORDERS, Ask.EXECUTIONS, Ask.POSITIONS):
        assert not room.liaison.is_ready("Sim101")
        assert why(room.act(lambda s: s.buy(ES, 1))) == "reconciling"
        room.see(ask=ask)
    assert room.liaison.is_ready("Sim101")
    assert room.act(lambda s: s.buy(ES, 1)).status is QUEUED


def test_lists_asked_for_before_the_link_came_up_do_not_count(room: Asked) -> None:
    old = [room.ask(ask) for ask in (Ask.ORDERS, Ask.EXECUTIONS, Ask.POSITIONS)]
    room.hear(LinkDown(room.now, "gone"))
    room.hear(LinkUp(room.now))
    for query in old:
        room.rows(query)
    assert not room.liaison.is_ready("Sim101")


def test_lists_that_are_not_complete_do_not_count_and_are_asked_for_again(room: Asked) -> None:
    room.hear(LinkDown(room.now, "gone"))
    room.hear(LinkUp(room.now))
    for ask in (Ask.ORDERS, Ask.EXECUTIONS, Ask.POSITIONS):
        room.see(ask=ask, complete=False)
    assert not room.liaison.is_ready("Sim101")
    room.out.clear()
    room.tick(1)
    assert {query.ask for query in room.waiting(Query)} == {Ask.ORDERS, Ask.EXECUTIONS, Ask.POSITIONS}


def test_each_account_is_ready_by_itself() -> None:
    room = Asked(("Sim101", "Sim102"))
    room.hear(LinkDown(room.now, "gone"))
    room.hear(LinkUp(room.now))
    for ask in (Ask.ORDERS, Ask.EXECUTIONS, Ask.POSITIONS):
        room.rows(room.ask(ask, "Sim102"))
    assert not room.liaison.all_ready
    assert room.act(lambda s: s.buy(ES, 1, account="Sim102")).status is QUEUED
    assert why(room.act(lambda s: s.buy(ES, 1, account="Sim101"))) == "reconciling"


def test_an_unanswered_question_of_the_round_is_asked_again(room: Asked) -> None:
    room.hear(LinkDown(room.now, "gone"))
    room.out.clear()
    room.hear(LinkUp(room.now))
    room.tick(0)
    for query in room.waiting(Query):
        room.leave(Query)
        room.hear(Unanswered(room.now, query, "lost"))
    room.tick(1)
    assert {query.ask for query in room.waiting(Query)} == {Ask.ORDERS, Ask.EXECUTIONS, Ask.POSITIONS}


def test_what_a_desk_wanted_while_the_account_was_not_ready_is_done_when_it_is(room: Asked) -> None:
    held = room.placed(room.act(lambda s: s.buy(ES, 2)))
    room.executions(execution(held, 1, 2))
    room.hear(LinkDown(room.now, "gone"))
    room.act(lambda s: s.close(ES))
    assert room.waiting(PlaceOrder) == []
    room.hear(LinkUp(room.now))
    assert room.waiting(PlaceOrder) == []
    room.see()
    room.see(execution(held, 1, 2), ask=Ask.EXECUTIONS)
    room.positions(2)
    assert [place.quantity for place in room.waiting(PlaceOrder)] == [2]


def test_positions_and_working_orders_are_kept_for_the_last_look(room: Asked) -> None:
    order = limit(room)
    room.see(row(order), row(order, Standing.FILLED, order_id="other"))
    room.see(PositionReport("Sim101", MNQ, -3), PositionReport("Sim101", ES, 0), ask=Ask.POSITIONS)
    assert [report.order_id for report in room.liaison.working["Sim101"]] == [order.id]
    assert room.liaison.positions == {"Sim101": {MNQ: -3}}
    room.see(complete=False)
    room.see(ask=Ask.POSITIONS, complete=False)
    assert room.liaison.positions == {"Sim101": {MNQ: -3}}
    assert len(room.liaison.working["Sim101"]) == 1


# --- what stands in the way ---------------------------------------------------------------------------------------


def test_stale_quotes_deny_entries_and_let_reducing_orders_pass(room: Asked) -> None:
    held = room.placed(room.act(lambda s: s.buy(ES, 2)))
    room.executions(execution(held, 1, 2))
    room.hear(Silent(room.now, "no quote for 15 s"))
    denied = room.act(lambda s: s.buy(ES, 1))
    assert why(denied) == "stale_quotes"
    assert "no quote for 15 s" in denied.reason
    assert room.act(lambda s: s.sell(ES, 2)).status is QUEUED
    assert why(room.act(lambda s: s.sell(ES, 1))) == "stale_quotes"  # with the first, more than is held


def test_while_the_link_is_down_nothing_passes_and_the_reason_is_told(room: Asked) -> None:
    held = room.placed(room.act(lambda s: s.buy(ES, 2)))
    room.executions(execution(held, 1, 2))
    room.hear(LinkDown(room.now, "the server restarts"))
    denied = room.act(lambda s: s.sell(ES, 2))
    assert (why(denied), denied.reason) == ("link_down", "link_down: the server restarts")


# --- hints --------------------------------------------------------------------------------------------------------


def hinted(room: Asked, order: Order) -> int | None:
    return room.case(order).hinted


@pytest.mark.parametrize(("bid", "hint"), [(4790.25, False), (4789.75, True), (4780.0, True)])
def test_a_quote_at_or_through_a_limit_is_a_hint(room: Asked, bid: float, hint: bool) -> None:
    order = limit(room)
    room.quote(bid)
    assert (hinted(room, order) is not None) is hint


@pytest.mark.parametrize(("bid", "hint"), [(4809.5, False), (4809.75, True), (4815.0, True)])
def test_a_quote_at_or_through_a_stop_is_a_hint(room: Asked, bid: float, hint: bool) -> None:
    order = room.placed(room.act(lambda s: s.buy(ES, 1, stop_price=4810.0)))
    room.quote(bid)
    assert (hinted(room, order) is not None) is hint


def test_a_quote_of_another_instrument_is_no_hint(room: Asked) -> None:
    order = limit(room)
    room.quote(100.0, MNQ)
    assert hinted(room, order) is None


def test_a_hint_brings_the_next_question_forward(room: Asked) -> None:
    order = limit(room)
    room.see(row(order))
    room.executions()
    room.out.clear()
    room.now += 2 * SECOND
    room.quote(4789.0)
    room.tick(0.3)
    assert Ask.EXECUTIONS in [query.ask for query in room.waiting(Query)]


def test_hints_that_come_to_nothing_grow_rare(room: Asked) -> None:
    """A market that stands at a limit without trading through it must not cost the budget."""
    order = limit(room)
    at = []
    for second in range(400):
        room.now += SECOND
        room.quote(4789.75)
        if hinted(room, order) == room.now:
            at.append(second)
    assert [after - before for before, after in itertools.pairwise(at)][:6] == [4, 8, 16, 32, 64, 64]
    assert HINT_EVERY == 2 * SECOND


def test_a_realized_pnl_that_moves_is_a_hint(room: Asked) -> None:
    order = limit(room)
    for realized, hint in ((None, False), (10.0, False), (10.0, False), (12.5, True)):
        room.now += SECOND
        room.hear(AccountPnl(room.now, "Sim101", realized, 0.0))
        assert (hinted(room, order) is not None) is hint


def test_a_pnl_of_an_account_that_is_not_ours_is_nothing(room: Asked) -> None:
    order = limit(room)
    for realized in (1.0, 2.0):
        room.hear(AccountPnl(room.now, "Sim999", realized, 0.0))
    assert hinted(room, order) is None
