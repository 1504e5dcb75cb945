"""The rules of evidence: what a reply or a list may say of an order, and what it may not."""

from __future__ import annotations

import pytest
from engine.asked import GONE, SECOND, Asked, execution, row
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import ES, MNQ, START

from xtalgo import Order, OrderStatus
from xtalgo.engine.reconcile import ABSENT_AFTER
from xtalgo.model.commands import Ask, CancelOrder, ChangeOrder, PlaceOrder, Query
from xtalgo.model.events import Answered, Doubtful, LinkDown, LinkUp, NotSent, Refused
from xtalgo.model.reports import ExecutionReport, Standing
from xtalgo.model.types import Side

WORKING, DOUBT, ABSENT = OrderStatus.WORKING, OrderStatus.IN_DOUBT, OrderStatus.ABSENT


@pytest.fixture
def room() -> Asked:
    return Asked()


def limit(room: Asked, quantity: int = 2, price: float = 4790.0) -> Order:
    return room.act(lambda s: s.buy(ES, quantity, limit_price=price))


# --- R1: causality ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("standing", [Standing.CANCELLED, Standing.REJECTED])
def test_r1_a_list_asked_for_before_the_placing_was_answered_ends_nothing(room: Asked, standing: Standing) -> None:
    order = limit(room)
    place = room.leave(PlaceOrder)
    old = room.ask()
    room.hear(Answered(room.now, place))
    room.rows(old, row(order, standing))
    assert order.status is WORKING
    room.see(row(order, standing))
    assert order.is_done


def test_r1_an_older_list_does_not_make_an_order_absent(room: Asked) -> None:
    order = limit(room)
    place = room.leave(PlaceOrder)
    old = [room.ask() for _ in range(4)]
    room.hear(Doubtful(room.now, place, "lost"))
    room.now += 2 * ABSENT_AFTER
    for query in old:
        room.rows(query)
    assert order.status is DOUBT
    assert room.case(order).absences == 0


def test_r1_an_older_list_of_executions_adds_fills(room: Asked) -> None:
    order = limit(room)
    place = room.leave(PlaceOrder)
    old = room.ask(Ask.EXECUTIONS)
    room.hear(Answered(room.now, place))
    room.rows(old, execution(order, 1))
    assert (order.status, order.filled, room.position()) == (OrderStatus.PARTIAL, 1, 1)


def test_r1_while_a_mutation_is_under_way_no_list_ends_its_order(room: Asked) -> None:
    order = room.placed(limit(room))
    room.act(lambda s: s.cancel(order))
    cancel = room.leave(CancelOrder)
    room.see(row(order, Standing.CANCELLED))
    assert order.status is WORKING
    room.hear(Answered(room.now, cancel))
    room.see(row(order, Standing.CANCELLED))
    assert order.status is OrderStatus.CANCELLED


def test_r1_a_change_takes_effect_by_a_list_asked_for_after_its_answer(room: Asked) -> None:
    order = room.placed(limit(room))
    room.act(lambda s: s.change(order, limit_price=4791.0))
    change = room.leave(ChangeOrder)
    old = room.ask()
    room.hear(Answered(room.now, change))
    room.rows(old, row(order, limit_price=4790.0))
    assert (order.limit_price, order.pending_change) == (4790.0, True)
    room.see(row(order, limit_price=4791.0))
    assert (order.limit_price, order.pending_change) == (4791.0, False)


def test_a_query_that_never_left_proves_nothing(room: Asked) -> None:
    order = room.placed(limit(room))
    never = room.ask()
    room.rows(never)
    room.rows(never, row(order, Standing.CANCELLED))  # the same reply again: its query is over with
    assert order.status is WORKING


# --- R2: absence --------------------------------------------------------------------------------------------------


def test_r2_a_missing_row_ends_nothing_and_a_second_one_raises_doubt(room: Asked) -> None:
    order = room.placed(limit(room))
    room.see()
    assert (order.status, room.case(order).absences) == (WORKING, 1)
    room.see()
    assert order.status is DOUBT
    room.see(row(order))
    assert order.status is WORKING


def test_r2_a_row_in_between_starts_the_count_anew(room: Asked) -> None:
    order = room.placed(limit(room))
    for _ in range(5):
        room.see()
        room.see(row(order))
    assert order.status is WORKING


def test_r2_a_list_that_is_not_complete_proves_no_absence(room: Asked) -> None:
    order = room.placed(limit(room))
    for _ in range(4):
        room.see(complete=False)
    assert (order.status, room.case(order).absences) == (WORKING, 0)


def test_r2_a_list_of_another_account_proves_nothing() -> None:
    room = Asked(("Sim101", "Sim102"))
    order = room.placed(limit(room))
    for _ in range(4):
        room.rows(room.ask(Ask.ORDERS, "Sim102"))
    assert (order.status, room.case(order).absences) == (WORKING, 0)


# --- R3: doubt ----------------------------------------------------------------------------------------------------


def test_r3_absent_takes_two_absences_ten_seconds_after_the_doubt(room: Asked) -> None:
    order = room.doubted(limit(room))
    for _ in range(3):
        room.now += 3 * SECOND
        room.see()
        assert order.status is DOUBT
    room.positions(0)
    room.now += SECOND  # ten seconds after
    room.see()
    assert order.status is DOUBT
    room.see()
    assert order.status is ABSENT
    assert order.is_done
    assert room.strategy.told[-1] == (order.id, "absent")


def test_r3_an_order_that_is_listed_is_working_again(room: Asked) -> None:
    order = room.doubted(limit(room))
    room.see(row(order))
    assert order.status is WORKING
    assert order.is_open


@pytest.mark.parametrize(
    ("standing", "status"),
    [(Standing.CANCELLED, OrderStatus.CANCELLED), (Standing.REJECTED, OrderStatus.REJECTED)],
)
def test_r3_doubt_ends_as_the_venue_shows_it(room: Asked, standing: Standing, status: OrderStatus) -> None:
    order = room.doubted(limit(room))
    room.see(row(order, standing))
    assert order.status is status


def test_r3_an_execution_ends_doubt(room: Asked) -> None:
    order = room.doubted(limit(room, 1))
    room.executions(execution(order, 1))
    assert order.status is OrderStatus.FILLED


def test_r3_an_order_with_a_fill_never_becomes_absent(room: Asked) -> None:
    order = room.doubted(limit(room))
    room.executions(execution(order, 1))
    for _ in range(6):
        room.now += 6 * SECOND
        room.see()
    assert order.status in (OrderStatus.PARTIAL, DOUBT)
    assert order.filled == 1


def test_r3_an_order_is_not_absent_while_the_position_moved_by_it(room: Asked) -> None:
    order = room.doubted(limit(room, 1))
    for _ in range(4):
        room.now += 6 * SECOND
        room.positions(1)
        room.executions()
        room.see()
    assert order.status is DOUBT


def test_r3_an_order_is_not_absent_while_an_execution_may_be_its_own(room: Asked) -> None:
    order = room.doubted(limit(room, 1))
    for _ in range(4):
        room.now += 6 * SECOND
        room.positions(1)
        room.executions(execution(order, 1, order_id="an id of the venue's own"))
        room.see()
    assert order.status is DOUBT


def test_r3_an_order_is_not_absent_before_the_position_was_looked_at(room: Asked) -> None:
    room.positions(0)
    order = room.doubted(limit(room, 1))
    room.now += 2 * ABSENT_AFTER
    for _ in range(4):
        room.see()
    assert order.status is DOUBT
    room.positions(0)
    room.see()
    assert order.status is ABSENT


def _absent(room: Asked) -> Order:
    order = room.doubted(limit(room))
    room.now += ABSENT_AFTER
    room.positions(0)
    room.see()
    room.see()
    assert order.status is ABSENT
    return order


def test_r3_fills_of_an_order_believed_absent_are_booked(room: Asked) -> None:
    order = _absent(room)
    room.executions(execution(order, 1))
    assert (order.status, order.filled, room.position()) == (ABSENT, 1, 1)
    room.executions(execution(order, 1), execution(order, 2))
    assert (order.status, order.filled, room.position()) == (OrderStatus.FILLED, 2, 2)


def test_r3_an_order_believed_absent_that_appears_after_all_is_cancelled(room: Asked) -> None:
    order = _absent(room)
    room.see(row(order))
    assert [command.order_id for command in room.waiting(CancelOrder)] == [order.id]


def test_r3_an_order_believed_absent_that_appears_after_all_halts_entries(room: Asked) -> None:
    order = _absent(room)
    room.see(row(order))
    assert room.act(lambda s: s.buy(ES, 1)).status is OrderStatus.DENIED


# --- R4: fills ----------------------------------------------------------------------------------------------------


def test_r4_an_execution_is_booked_once(room: Asked) -> None:
    order = room.placed(limit(room))
    one = execution(order, 1)
    room.executions(one, one)
    room.executions(one)
    assert (order.filled, room.position()) == (1, 1)
    room.executions(one, execution(order, 2))
    assert (order.status, order.filled, len(order.fills)) == (OrderStatus.FILLED, 2, 2)


def test_r4_executions_are_booked_oldest_first(room: Asked) -> None:
    order = room.placed(limit(room))
    room.executions(execution(order, 2, price=4789.0), execution(order, 1, price=4790.0))
    assert [fill.price for fill in order.fills] == [4790.0, 4789.0]


def test_r4_what_happened_before_the_run_is_not_booked() -> None:
    room = Asked(ready=False)
    room.hear(LinkUp(room.now))
    before = ExecutionReport("e1", "r-1", "Sim101", ES, Side.BUY, 2, 4790.0)
    room.executions(before)
    room.link_up()
    room.out += room.engine.start(room.now)
    order = room.placed(limit(room))
    assert order.id == before.order_id
    room.executions(before, execution(order, 2))
    assert (order.filled, room.position()) == (1, 1)


def test_r4_an_id_that_is_not_known_waits_while_a_place_is_in_doubt(room: Asked) -> None:
    order = room.doubted(limit(room, 1))
    strange = execution(order, 1, order_id="abc")
    room.executions(strange)
    assert order.filled == 0
    room.see(row(order, Standing.FILLED, order_id="abc", filled=1))
    room.executions(strange)
    assert (order.status, order.filled) == (OrderStatus.FILLED, 1)


def test_r4_an_id_that_is_not_known_waits_while_a_place_is_under_way(room: Asked) -> None:
    order = limit(room, 1)
    place = room.leave(PlaceOrder)
    room.executions(execution(order, 1, order_id="abc"))
    room.hear(Answered(room.now, place, "abc"))
    room.executions(execution(order, 1, order_id="abc"))
    assert order.status is OrderStatus.FILLED


def test_r4_an_id_that_nobody_waits_for_is_somebody_elses_for_good(room: Asked) -> None:
    order = room.placed(limit(room, 1))
    room.executions(execution(order, 1, order_id="theirs"))
    room.see(row(order, order_id="theirs"))  # too late to become ours
    room.executions(execution(order, 1, order_id="theirs"))
    assert (order.filled, room.position()) == (0, 0)


def test_r4_a_row_with_more_filled_than_booked_asks_for_executions(room: Asked) -> None:
    order = room.placed(limit(room))
    room.see(row(order, filled=1))
    room.tick(0)
    assert Ask.EXECUTIONS in [query.ask for query in room.waiting(Query)]
    assert order.filled == 0


def test_r4_a_fill_of_an_order_that_is_over_is_booked(room: Asked) -> None:
    order = room.placed(limit(room))
    room.see(row(order, Standing.CANCELLED))
    assert order.is_done
    room.executions(execution(order, 1))
    assert (order.status, order.filled, room.position()) == (OrderStatus.CANCELLED, 1, 1)


# --- R6: cancel ---------------------------------------------------------------------------------------------------


def _cancelling(room: Asked, quantity: int = 2) -> Order:
    order = room.placed(limit(room, quantity))
    room.act(lambda s: s.cancel(order))
    return order


def test_r6_a_cancel_that_succeeded_is_pending(room: Asked) -> None:
    order = _cancelling(room)
    room.cancelled(order)
    assert (order.status, order.pending_cancel) == (WORKING, True)
    room.see(row(order, Standing.CANCELLING))
    assert order.status is WORKING
    room.see(row(order, Standing.CANCELLED))
    assert order.status is OrderStatus.CANCELLED


def test_r6_cancelled_waits_for_the_fills_that_the_row_shows(room: Asked) -> None:
    order = _cancelling(room)
    room.cancelled(order)
    room.see(row(order, Standing.CANCELLED, filled=1))
    assert order.status is WORKING
    room.executions(execution(order, 1))
    assert (order.status, order.filled) == (OrderStatus.CANCELLED, 1)


def test_r6_a_filled_row_waits_for_its_executions(room: Asked) -> None:
    order = room.placed(limit(room))
    room.see(row(order, Standing.FILLED, filled=2))
    assert order.is_open
    room.executions(execution(order, 1), execution(order, 2))
    assert order.status is OrderStatus.FILLED


def test_r6_a_cancel_refused_as_gone_asks_and_is_not_sent_again(room: Asked) -> None:
    order = _cancelling(room)
    room.refused(CancelOrder)
    assert order.is_open
    room.tick(30)
    asked = {query.ask for query in room.waiting(Query)}
    assert asked >= {Ask.ORDERS, Ask.EXECUTIONS}
    assert room.waiting(CancelOrder) == []
    room.see(row(order, Standing.FILLED, filled=2))
    room.executions(execution(order, 1, 2))
    assert order.status is OrderStatus.FILLED


def test_r6_an_order_called_gone_that_is_listed_as_working_can_be_cancelled_again(room: Asked) -> None:
    order = _cancelling(room)
    room.refused(CancelOrder)
    room.now += SECOND // 2
    room.see(row(order))
    assert not order.pending_cancel
    room.act(lambda s: s.cancel(order))
    assert len(room.waiting(CancelOrder)) == 1


def test_r6_a_cancel_that_did_nothing_is_noticed_after_five_seconds(room: Asked) -> None:
    order = _cancelling(room)
    room.cancelled(order)
    room.now += 4 * SECOND
    room.see(row(order))
    assert order.pending_cancel
    room.now += SECOND
    room.see(row(order))
    assert not order.pending_cancel


def test_a_cancel_in_doubt_is_settled_by_what_is_seen(room: Asked) -> None:
    order = _cancelling(room)
    room.hear(Doubtful(room.now, room.leave(CancelOrder), "lost"))
    assert (order.status, order.pending_cancel) == (WORKING, True)
    room.see(row(order, Standing.CANCELLED))
    assert order.status is OrderStatus.CANCELLED


# --- changes ------------------------------------------------------------------------------------------------------


def _changing(room: Asked) -> Order:
    order = room.placed(limit(room))
    room.act(lambda s: s.change(order, limit_price=4791.0))
    return order


@pytest.mark.parametrize(("shown", "price"), [(4791.0, 4791.0), (4790.0, 4790.0)])
def test_a_change_in_doubt_is_settled_by_the_values_seen(room: Asked, shown: float, price: float) -> None:
    order = _changing(room)
    room.hear(Doubtful(room.now, room.leave(ChangeOrder), "lost"))
    assert order.pending_change
    room.see(row(order, limit_price=shown))
    assert (order.limit_price, order.pending_change) == (price, False)


def test_values_are_not_read_while_the_venue_is_changing_them(room: Asked) -> None:
    order = _changing(room)
    room.hear(Doubtful(room.now, room.leave(ChangeOrder), "lost"))
    room.see(row(order, Standing.CHANGING, limit_price=4790.0))
    assert order.pending_change


def test_a_change_refused_as_gone_waits_for_evidence_and_does_not_go_round(room: Asked) -> None:
    """An exit that was rejected unseen: shrinking it again at each refusal kept every list from being asked."""
    order = room.placed(room.act(lambda s: s.buy(ES, 2, stop_loss=8)))
    room.executions(execution(order, 1, 2))
    stop = room.placed(room.engine.blotter.orders["r-2"])
    room.act(lambda s: s.sell(ES, 1))
    for _ in range(3):
        if room.waiting(ChangeOrder):
            room.refused(ChangeOrder)
    assert room.waiting(ChangeOrder) == []
    room.see(row(stop, Standing.REJECTED))
    assert stop.status is OrderStatus.REJECTED
    assert [place.role for place in room.waiting(PlaceOrder)] == ["close"]  # nothing protects the position


def test_a_change_refused_as_gone_of_an_order_that_is_listed_may_go_again(room: Asked) -> None:
    order = _changing(room)
    room.refused(ChangeOrder)
    assert order.pending_change
    room.see(row(order))
    assert not order.pending_change
    room.act(lambda s: s.change(order, limit_price=4792.0))
    assert room.waiting(ChangeOrder)[0].limit_price == 4792.0


@pytest.mark.parametrize("answered", [True, False])
def test_an_order_that_is_being_enlarged_is_not_filled_by_its_old_quantity(room: Asked, answered: bool) -> None:
    """It would work on at the venue as somebody's order whom nobody can cancel."""
    order = room.placed(limit(room, 1))
    room.act(lambda s: s.change(order, quantity=3))
    change = room.leave(ChangeOrder)
    if answered:
        room.hear(Answered(room.now, change))
    room.executions(execution(order, 1))
    assert (order.status, order.remaining) == (OrderStatus.PARTIAL, 2)
    if not answered:
        room.hear(Doubtful(room.now, change, "lost"))
    room.see(row(order, quantity=3))
    assert (order.quantity, order.is_open) == (3, True)
    room.act(lambda s: s.cancel(order))
    assert len(room.waiting(CancelOrder)) == 1


def test_an_order_whose_enlarging_came_too_late_is_filled(room: Asked) -> None:
    order = room.placed(limit(room, 1))
    room.act(lambda s: s.change(order, quantity=3))
    room.hear(Doubtful(room.now, room.leave(ChangeOrder), "lost"))
    room.executions(execution(order, 1))
    room.see(row(order, Standing.FILLED, quantity=1, filled=1))
    assert (order.status, order.quantity) == (OrderStatus.FILLED, 1)


def test_an_order_whose_enlarging_was_refused_is_filled_by_its_quantity(room: Asked) -> None:
    order = room.placed(limit(room, 1))
    room.act(lambda s: s.change(order, quantity=3))
    room.refused(ChangeOrder, gone=False, text="Invalid request: margin")
    room.executions(execution(order, 1))
    assert order.status is OrderStatus.FILLED


def test_a_change_refused_for_another_reason_leaves_the_order_as_it_was(room: Asked) -> None:
    order = _changing(room)
    room.refused(ChangeOrder, gone=False, text="Invalid request: price")
    assert (order.limit_price, order.pending_change) == (4790.0, False)
    assert "Invalid request: price" in order.reason


# --- ids ----------------------------------------------------------------------------------------------------------


def test_the_venues_own_id_is_known_by_the_reply(room: Asked) -> None:
    order = room.placed(limit(room), "abc")
    room.see(row(order, Standing.CANCELLED, order_id="abc"))
    assert order.status is OrderStatus.CANCELLED


def test_a_new_id_is_recognised_by_what_the_order_looks_like(room: Asked) -> None:
    order = room.placed(limit(room), "abc")
    other = room.placed(limit(room, 1))
    room.see(row(order, order_id="def"), row(other))
    room.see(row(order, Standing.CANCELLED, order_id="def"), row(other))
    assert (order.status, other.status) == (OrderStatus.CANCELLED, WORKING)
    assert room.liaison.evidence.venue_ids[order.id] == "def"


def test_a_row_that_was_there_before_is_never_taken_for_ours(room: Asked) -> None:
    lookalike = row(limit(room), order_id="manual")
    room.see(lookalike)  # before anything of ours left
    order = room.doubted(room.engine.blotter.orders["r-1"])
    room.see(lookalike)
    assert order.status is DOUBT
    assert "manual" in room.liaison.evidence.foreign


def test_two_alike_in_doubt_are_recognised_one_each(room: Asked) -> None:
    one, two = room.act(lambda s: (s.buy(ES, 1, limit_price=4790.0), s.buy(ES, 1, limit_price=4790.0)))
    room.doubted(one)
    room.doubted(two)
    room.see(row(one, order_id="a"), row(two, order_id="b"))
    assert (one.status, two.status) == (WORKING, WORKING)
    assert room.liaison.evidence.aliases == {"a": one.id, "b": two.id}


# --- R9: what doubt bars ------------------------------------------------------------------------------------------


def test_r9_doubt_denies_entries_in_that_account_and_instrument_alone() -> None:
    room = Asked(("Sim101", "Sim102"))
    order = room.doubted(limit(room))
    denied = room.act(lambda s: s.buy(ES, 1))
    assert denied.status is OrderStatus.DENIED
    assert f"order {order.id} is in doubt" in denied.reason
    assert room.act(lambda s: s.buy(MNQ, 1)).status is OrderStatus.QUEUED
    assert room.act(lambda s: s.buy(ES, 1, account="Sim102")).status is OrderStatus.QUEUED
    room.see(row(order))
    assert room.act(lambda s: s.buy(ES, 1)).status is OrderStatus.QUEUED


def test_r9_doubt_lets_pass_what_can_only_reduce(room: Asked) -> None:
    held = room.placed(room.act(lambda s: s.buy(ES, 2)))
    room.executions(execution(held, 1, 2))
    room.doubted(limit(room, 1))
    assert room.act(lambda s: s.sell(ES, 2)).status is OrderStatus.QUEUED
    assert room.act(lambda s: s.sell(ES, 1)).status is OrderStatus.DENIED  # with the first, more than is held


def test_r9_in_doubt_a_targets_part_toward_flat_runs_and_its_entry_part_expires(room: Asked) -> None:
    held = room.placed(room.act(lambda s: s.buy(ES, 2)))
    room.executions(execution(held, 1, 2))
    doubted = room.doubted(limit(room, 1))
    room.act(lambda s: s.order_target(ES, -3))
    places = room.waiting(PlaceOrder)
    assert [(place.side, place.quantity) for place in places] == [(Side.SELL, 2)]
    flat = room.placed(room.engine.blotter.orders[places[0].order_id])
    room.executions(execution(held, 1, 2), execution(flat, 2, 2))
    room.see(row(doubted, Standing.CANCELLED), row(flat, Standing.FILLED, filled=2))
    for _ in range(5):
        room.now += 2 * SECOND
        room.quote(4800.0)
    assert room.position() == 0
    assert room.waiting(PlaceOrder) == []


# --- certainty ----------------------------------------------------------------------------------------------------


def test_what_was_refused_is_over_at_once(room: Asked) -> None:
    order = limit(room)
    room.hear(Refused(room.now, room.leave(PlaceOrder), "Invalid request: quantity"))
    assert (order.status, order.reason) == (OrderStatus.REJECTED, "Invalid request: quantity")
    assert room.liaison.evidence.cases == {}


def test_what_was_not_sent_is_over_at_once(room: Asked) -> None:
    order = limit(room)
    room.hear(NotSent(room.now, room.leave(PlaceOrder), "not sent: the link dropped"))
    assert (order.status, order.reason) == (OrderStatus.CANCELLED, "not sent: the link dropped")
    assert room.liaison.evidence.cases == {}


def test_a_row_that_says_nothing_leaves_doubt(room: Asked) -> None:
    order = room.doubted(limit(room))
    room.now += 2 * ABSENT_AFTER
    for _ in range(4):
        room.see(row(order, Standing.UNKNOWN))
    assert order.status is DOUBT


def test_an_execution_on_the_other_side_is_booked_as_it_is_and_noted(room: Asked) -> None:
    order = room.placed(limit(room))
    room.executions(execution(order, 1, side=Side.SELL))
    assert room.position() == -1
    assert "other side" in room.engine.blotter.anomalies[0].text


def test_an_unknown_fee_is_the_usual_one(room: Asked) -> None:
    order = room.placed(limit(room))
    room.executions(execution(order, 1, fee=None))
    assert order.fills[0].fee > 0


STANDINGS = st.sampled_from(list(Standing))
STEP = st.tuples(
    st.sampled_from(["orders", "old orders", "absent", "executions", "cancel", "answer", "doubt", "gone", "wait"]),
    STANDINGS,
    st.integers(0, 3),
)


@given(st.lists(STEP, max_size=25), st.booleans())
@settings(deadline=None, max_examples=60)
def test_whatever_is_said_no_order_ends_without_evidence_and_no_fill_is_lost(
    steps: list[tuple[str, Standing, int]], doubted: bool
) -> None:
    """The venue lies, repeats itself and contradicts itself: executions stay, and ends come from rows alone."""
    room = Asked()
    order = limit(room, 3)
    (room.doubted if doubted else room.placed)(order)
    old = [room.ask() for _ in range(3)]
    told: set[int] = set()
    shown_over = False
    for what, standing, number in steps:
        before = order.is_done
        match what:
            case "orders":
                shown_over |= standing.is_done
                room.see(row(order, standing, filled=number))
            case "old orders" if old:
                shown_over |= standing.is_done
                room.rows(old.pop(), row(order, standing))
            case "absent":
                room.positions(room.position())
                room.see()
            case "executions" if number:
                told.add(number)
                room.executions(execution(order, number))
            case "cancel" if order.is_open:
                room.act(lambda s: s.cancel(order))
            case "answer" | "doubt" | "gone" if room.waiting(CancelOrder):
                command = room.leave(CancelOrder)
                if what == "answer":
                    room.hear(Answered(room.now, command))
                elif what == "doubt":
                    room.hear(Doubtful(room.now, command, "lost"))
                else:
                    room.hear(Refused(room.now, command, GONE, True))
            case "wait":
                room.now += 4 * SECOND
        assert order.filled == len(told) == room.position()
        if order.is_done and not before:
            assert shown_over or order.filled == 3 or order.status is ABSENT
        if order.status is ABSENT:
            assert room.now >= START + ABSENT_AFTER


# --- what is still to be brought about ----------------------------------------------------------------------------


def test_r4_a_fill_older_than_executions_reach_is_booked_from_its_row(room: Asked) -> None:
    """The venue keeps 15 minutes of executions; a stop may fill in a longer absence of ours."""
    entry = room.placed(room.act(lambda s: s.buy(ES, 2, stop_loss=8)))
    room.executions(execution(entry, 1, 2))
    stop = room.placed(room.engine.blotter.orders["r-2"])
    room.hear(LinkDown(room.now, "the line was cut"))
    room.now += 20 * 60 * SECOND
    room.hear(LinkUp(room.now))
    for _ in range(30):
        room.see(row(stop, Standing.FILLED, filled=2, average_price=4798.0))
        room.executions()
        room.positions(0)
        room.now += 2 * SECOND
    assert (stop.status, room.position()) == (OrderStatus.FILLED, 0)


def test_a_change_that_is_refused_again_and_again_is_not_sent_at_every_refusal(room: Asked) -> None:
    entry = room.placed(room.act(lambda s: s.buy(ES, 2, stop_loss=8)))
    room.executions(execution(entry, 1, 2))
    room.placed(room.engine.blotter.orders["r-2"])
    room.act(lambda s: s.sell(ES, 1))
    sent = 0
    for _ in range(50):
        if room.waiting(ChangeOrder):
            sent += 1
            room.refused(ChangeOrder, gone=False, text="Invalid request: the order is being cancelled")
        room.tick(0.1)
    assert sent <= 3
