"""The client without its socket: stories of its frames, from the first connection to the last look."""

from __future__ import annotations

import itertools
import json
from typing import Any

import pytest
from client.talk import Scripted, Talk, execution, position, row
from tables import ES, SECOND, START

from xtalgo import ConfigError, OrderStatus, Strategy, StrategyError
from xtalgo.client.caller import SHOWN
from xtalgo.client.trader import OFFLINE_PROBE
from xtalgo.model.events import Quote

OFFLINE = "The NinjaTrader add-on is not connected"
RATE = "Rate limit exceeded"
WORKING, DOUBT, CANCELLED, DENIED = (
    OrderStatus.WORKING,
    OrderStatus.IN_DOUBT,
    OrderStatus.CANCELLED,
    OrderStatus.DENIED,
)


@pytest.fixture
def talk() -> Talk:
    return Talk().start()


def buy(quantity: int = 1, **how: Any) -> Any:
    return lambda s: s.buy(ES, quantity, **how)


def places(frames: list[dict[str, Any]]) -> list[str]:
    return [frame["args"]["orderId"] for frame in frames if frame.get("api") == "PlaceOrder"]


# --- the start ----------------------------------------------------------------------------------------------------


def test_the_start_asks_in_order_and_subscribes_once() -> None:
    talk = Talk()
    assert talk.apis() == []
    talk.link_up()
    assert talk.apis() == ["ListAccounts", "GetQuote"]
    talk.set_up()
    assert sorted(talk.apis()) == ["ListExecutions", "ListOrders", "ListPositions"]
    assert not talk.trader.is_running
    talk.answer("ListOrders")
    talk.answer("ListExecutions")
    assert not talk.trader.is_running
    talk.answer("ListPositions")
    assert talk.trader.is_running
    assert talk.said() == [
        {"action": "subscribe", "instruments": [ES]},
        {"action": "streamPnl", "enabled": True},
    ]
    talk.quote()
    assert talk.apis() == []


def test_a_start_without_answers_goes_on_asking() -> None:
    talk = Talk()
    talk.link_up()
    assert talk.apis() == ["ListAccounts", "GetQuote"]
    talk.to(10)
    assert talk.apis() == ["ListAccounts", "GetQuote"]
    talk.held = talk.held[2:]
    talk.set_up()
    talk.said()
    talk.to(10)
    talk.to(1)
    assert sorted(talk.apis()) == ["ListExecutions", "ListOrders", "ListPositions"]
    assert not talk.trader.is_running


def test_a_drop_before_the_engine_is_made_begins_again() -> None:
    talk = Talk()
    talk.link_up()
    talk.said()
    talk.to(1)
    talk.link_down()
    talk.held.clear()
    talk.to(5)
    assert talk.apis() == []
    talk.link_up()
    assert talk.apis() == ["ListAccounts", "GetQuote"]
    talk.set_up()
    talk.answer()
    assert talk.trader.is_running


def test_what_can_not_be_traded_ends_the_run_with_a_config_error() -> None:
    talk = Talk(accounts=("Nobody",))
    talk.link_up()
    talk.reply(talk.take("ListAccounts"), accounts=[{"name": "Sim101", "provider": "Simulator"}])
    assert isinstance(talk.trader.error, ConfigError)
    assert "the venue has: Sim101" in str(talk.trader.error)


def test_nothing_is_sent_for_an_account_that_is_not_reconciled(talk: Talk) -> None:
    talk.link_down()
    talk.to(2)
    talk.link_up()
    order = talk.do(buy())
    assert (order.status, order.reason.split(":")[0]) == (DENIED, "reconciling")
    talk.answer("ListOrders", "ListExecutions")
    assert talk.do(buy()).status is DENIED
    talk.answer()
    assert talk.do(buy()).status is OrderStatus.SENT


def test_a_list_that_is_not_complete_does_not_make_an_account_ready() -> None:
    talk = Talk()
    talk.link_up()
    talk.set_up()
    talk.answer("ListExecutions", "ListPositions")
    talk.reply(talk.take("ListOrders"), orders=[{"orderState": "Working"}])
    assert not talk.trader.is_running
    talk.to(1)
    talk.answer("ListOrders")
    assert talk.trader.is_running


def test_each_connection_is_subscribed_and_reconciled_once(talk: Talk) -> None:
    for _ in range(3):
        talk.link_down()
        talk.to(20)
        talk.link_up()
        said = talk.apis()
        assert sorted(said) == ["ListExecutions", "ListOrders", "ListPositions", "streamPnl", "subscribe"]
        talk.answer()
    assert talk.strategy.links == ["LinkDown", "LinkUp"] * 3
    assert talk.trader.health.drops == 3


# --- drops --------------------------------------------------------------------------------------------------------


def test_a_place_in_flight_at_a_drop_is_in_doubt_and_is_never_sent_again(talk: Talk) -> None:
    order = talk.do(buy(limit_price=4790.0))
    assert places(talk.said()) == [order.id]
    talk.link_down()
    assert order.status is DOUBT
    talk.held.clear()
    talk.to(2)
    talk.link_up()
    talk.answer(orders=[row(order, "Working")])
    assert order.status is WORKING
    talk.settle(30, orders=[row(order, "Working")])
    assert places(talk.held) == []
    assert talk.strategy.told == [(order.id, "in_doubt"), (order.id, "working")]


def test_a_place_in_flight_that_the_venue_never_had_is_absent_in_the_end(talk: Talk) -> None:
    order = talk.do(buy(limit_price=4790.0))
    talk.said()
    talk.link_down()
    talk.held.clear()
    talk.to(2)
    talk.link_up()
    talk.settle(30)
    assert order.status is OrderStatus.ABSENT
    assert places(talk.held) == []


def test_a_place_that_waits_at_a_drop_is_cancelled_and_was_not_sent(talk: Talk) -> None:
    orders = [talk.do(buy(limit_price=4790.0)) for _ in range(25)]
    sent = places(talk.said())
    waiting = [order for order in orders if order.status is OrderStatus.QUEUED]
    assert waiting
    talk.link_down()
    assert {order.status for order in waiting} == {CANCELLED}
    assert {order.reason for order in waiting} == {"not sent: it dropped"}
    assert {order.status for order in orders if order.id in sent} == {DOUBT}


def test_a_frame_that_never_began_to_leave_was_not_sent(talk: Talk) -> None:
    order = talk.do(buy(limit_price=4790.0))
    frame = talk.take("PlaceOrder")
    talk.link_down(frame["id"])
    assert (order.status, order.reason) == (CANCELLED, "not sent: it dropped")


def test_a_frame_that_went_stale_before_its_turn_was_not_sent(talk: Talk) -> None:
    order = talk.do(buy(limit_price=4790.0))
    frame = talk.take("PlaceOrder")
    talk.trader.unsent(talk.now, frame["id"], "gone stale")
    assert order.status is CANCELLED
    talk.reply(frame, orderId=order.id)
    assert order.status is CANCELLED
    assert talk.trader.calls.strays == 1


def test_entries_carry_a_deadline_and_closes_do_not(talk: Talk) -> None:
    talk.said()
    talk.strategy.todo = [buy()]
    talk.quote()
    assert [frame.deadline for frame in talk.trader.out if frame.api == "PlaceOrder"] == [talk.now + 2 * SECOND]
    order = talk.order()
    talk.reply(talk.take("PlaceOrder"), orderId=order.id)
    talk.to(0.3)
    talk.answer(executions=[execution(order, 1)])
    talk.strategy.todo = [lambda s: s.close(ES)]
    talk.quote()
    assert [frame.deadline for frame in talk.trader.out if frame.api == "PlaceOrder"] == [None]


def test_a_close_that_waits_at_a_drop_is_decided_anew_after_it(talk: Talk) -> None:
    order = talk.do(buy(2))
    talk.reply(talk.take("PlaceOrder"), orderId=order.id)
    talk.to(0.3)
    talk.answer(executions=[execution(order, 1, 2)])
    assert talk.strategy.position(ES) == 2
    talk.link_down()
    talk.strategy.todo = [lambda s: s.close(ES)]
    talk.quote()
    talk.said()
    talk.held.clear()
    assert places(talk.said()) == []
    # While we were away one contract was sold by an execution of ours; the close is sized from the book after it.
    talk.to(2)
    talk.link_up()
    talk.answer(executions=[execution(order, 1, 2)], positions=[position(2)], orders=[row(order, "Filled", 2)])
    close = talk.take("PlaceOrder")
    assert (close["args"]["action"], close["args"]["quantity"]) == ("SELL", 2)


def test_a_cancel_in_flight_at_a_drop_is_settled_by_the_lists(talk: Talk) -> None:
    order = talk.do(buy(limit_price=4790.0))
    talk.reply(talk.take("PlaceOrder"), orderId=order.id)
    talk.do(lambda s: s.cancel(s.made[0]))
    assert talk.take("Cancel")["args"]["orderId"] == order.id
    talk.link_down()
    assert (order.status, order.pending_cancel) == (WORKING, True)
    talk.to(2)
    talk.link_up()
    talk.answer(orders=[row(order, "Cancelled")])
    assert order.status is CANCELLED


def test_r10_a_reply_after_the_drop_changes_nothing(talk: Talk) -> None:
    order = talk.do(buy(limit_price=4790.0))
    frame = talk.take("PlaceOrder")
    talk.link_down()
    talk.reply(frame, orderId=order.id)
    assert order.status is DOUBT
    assert talk.trader.calls.strays == 1


# --- refusals for the rate ----------------------------------------------------------------------------------------


def test_what_was_refused_for_the_rate_goes_again_once_and_in_order(talk: Talk) -> None:
    orders = [talk.do(buy(limit_price=4790.0 - number)) for number in range(3)]
    frames = [frame for frame in talk.said() if frame.get("api") == "PlaceOrder"]
    for frame in frames:
        talk.error(frame, RATE)
    again: list[str] = []
    for _ in range(40):
        talk.to(0.05)
        for frame in talk.said():
            again += places([frame])
            if frame.get("api") == "PlaceOrder":
                talk.reply(frame, orderId=frame["args"]["orderId"])
    sent = [order.id for order in orders if order.status is WORKING]
    assert again == sent
    assert again[0] == orders[0].id
    assert talk.trader.health.refusals == 3


def test_a_refused_entry_that_grew_old_is_given_up(talk: Talk) -> None:
    order = talk.do(buy(limit_price=4790.0))
    sends = 0
    for _ in range(60):
        for frame in talk.said():
            if frame.get("api") == "PlaceOrder":
                sends += 1
                talk.error(frame, RATE)
        talk.to(0.1)
    assert (order.status, order.reason) == (CANCELLED, "waited too long for a token; not sent")
    assert 1 < sends < 10
    assert talk.engine.liaison is not None
    assert talk.engine.liaison.evidence.cases == {}


def test_a_refused_order_that_was_cancelled_meanwhile_does_not_go_again(talk: Talk) -> None:
    order = talk.do(buy(limit_price=4790.0))
    frame = talk.take("PlaceOrder")
    talk.do(lambda s: s.cancel(s.made[0]))
    talk.error(frame, RATE)
    assert (order.status, order.reason) == (CANCELLED, "cancelled before it was carried out")
    talk.settle(10)
    assert places(talk.held) == []
    assert not [frame for frame in talk.held if frame["api"] == "Cancel"]


def test_the_same_refusal_twice_sends_nothing_twice(talk: Talk) -> None:
    order = talk.do(buy(limit_price=4790.0))
    frame = talk.take("PlaceOrder")
    talk.error(frame, RATE)
    talk.error(frame, RATE)
    again: list[str] = []
    for _ in range(20):
        talk.to(0.1)
        again += places(talk.said())
    assert again == [order.id]


# --- the add-on is away -------------------------------------------------------------------------------------------


def test_while_the_addon_is_away_entries_are_denied_and_it_is_looked_for(talk: Talk) -> None:
    order = talk.do(buy(limit_price=4790.0))
    talk.error(talk.take("PlaceOrder"), OFFLINE)
    assert order.status is DOUBT
    assert talk.trader.is_offline
    denied = talk.do(buy())
    assert (denied.status, denied.reason.split(":")[0]) == (DENIED, "link_down")
    talk.said()
    talk.held.clear()
    at = []
    for _ in range(130):
        talk.to(1)
        if "ListAccounts" in talk.apis():
            at.append((talk.now - START) // SECOND)
            talk.error(talk.take("ListAccounts"), OFFLINE)
        assert places(talk.held) == []
    gaps = [after - before for before, after in itertools.pairwise([0, *at])]
    assert gaps[:5] == [*OFFLINE_PROBE, 30]


def test_when_the_addon_is_back_the_accounts_are_reconciled(talk: Talk) -> None:
    order = talk.do(buy(limit_price=4790.0))
    talk.error(talk.take("PlaceOrder"), OFFLINE)
    talk.held.clear()
    talk.to(5)
    talk.reply(talk.take("ListAccounts"), accounts=[])
    assert not talk.trader.is_offline
    assert sorted(talk.apis()) == ["ListExecutions", "ListOrders", "ListPositions"]
    assert talk.do(buy()).status is DENIED
    talk.answer(orders=[row(order, "Working")])
    assert order.status is WORKING
    assert talk.do(buy()).status is OrderStatus.SENT
    assert talk.strategy.links == ["LinkDown", "LinkUp"]


# --- frames of every kind -----------------------------------------------------------------------------------------

BAD = [
    "",
    "null",
    "7",
    "{",
    "[]",
    '{"type":"marketData"}',
    '{"type":"marketData","quotes":7}',
    '{"type":"marketData","quotes":[7,null,{}]}',
    '{"type":"marketData","quotes":[{"instrument":"ES 06-26","bid":NaN,"ask":1}]}',
    '{"type":"marketData","quotes":[{"instrument":"ES 06-26","bid":"a","ask":[]}]}',
    '{"type":"pnlUpdate","accounts":{"Sim101":1}}',
    '{"type":"never heard of"}',
    '{"id":"nobody","data":{"success":true}}',
    '{"id":null,"data":null}',
    '{"error":"on the whole"}',
    "[" * 5_000 + "]" * 5_000,
    b"\xff\xfe\x00",
    '{"type":"marketData","quotes":[{"instrument":"ES 06-26","bid":1e999,"ask":-1e999}]}',
]


@pytest.mark.parametrize("frame", BAD, ids=range(len(BAD)))
def test_a_frame_of_no_use_is_survived(talk: Talk, frame: str | bytes) -> None:
    quotes = talk.trader.health.quotes
    talk.hear(frame)
    talk.hear(frame)
    assert talk.trader.error is None
    assert talk.trader.health.quotes == quotes
    assert talk.trader.health.frames >= 2
    talk.quote()
    assert talk.trader.health.quotes == quotes + 1
    assert talk.do(buy()).status is OrderStatus.SENT


def test_five_megabytes_of_nonsense_are_counted_and_shown_cut(talk: Talk) -> None:
    talk.hear("x" * 5_000_000)
    assert talk.trader.health.unknown == 1
    assert len(talk.trader.notices[-1].text) < 1_000


def test_a_quote_without_a_price_is_left_out_and_counted(talk: Talk) -> None:
    before = talk.trader.health.quotes
    talk.quote(bid=4800.0, ask=None)
    assert (talk.trader.health.quotes, talk.trader.health.faults) == (before, 1)
    assert "a quote without ask" in talk.trader.notices[-1].text


def test_a_quote_of_something_else_is_nobodys(talk: Talk) -> None:
    before = talk.trader.health.quotes
    for name in ("NQ 06-26", "??", "ES 09-26"):
        talk.quote(instrument=name)
    assert talk.trader.health.quotes == before


def test_notices_of_one_kind_are_shown_so_often_and_then_counted(talk: Talk) -> None:
    talk.trader.notices.clear()
    for _ in range(3 * SHOWN):
        talk.hear("{")
    assert len(talk.trader.notices) == SHOWN
    assert "only counted" in talk.trader.notices[-1].text
    assert talk.trader.health.unknown == 3 * SHOWN


def test_a_reply_of_no_use_to_a_place_leaves_it_in_doubt(talk: Talk) -> None:
    order = talk.do(buy(limit_price=4790.0))
    talk.hear({"id": talk.take("PlaceOrder")["id"], "data": [1, 2]})
    assert order.status is DOUBT
    assert talk.trader.health.doubts == 1


def test_a_reply_twice_is_one_reply(talk: Talk) -> None:
    order = talk.do(buy(limit_price=4790.0))
    frame = talk.take("PlaceOrder")
    talk.reply(frame, orderId=order.id)
    talk.reply(frame, orderId=order.id)
    talk.error(frame, "Invalid request")
    assert order.status is WORKING
    assert talk.trader.calls.strays == 2


def test_rows_that_can_not_be_read_are_shown(talk: Talk) -> None:
    talk.do(buy(limit_price=4790.0))
    talk.reply(talk.take("PlaceOrder"), orderId="r-1")
    talk.to(0.3)
    talk.reply(talk.take("ListOrders"), orders=[{"orderId": 7}, "what"])
    assert talk.trader.health.faults > 0
    assert talk.order().status is WORKING


@pytest.mark.parametrize("kind", ["orderUpdate", "executionUpdate"])
def test_an_event_frame_is_a_hint_to_ask(talk: Talk, kind: str) -> None:
    talk.said()
    talk.hear({"type": kind, "seq": 1, "account": "Sim101"})
    assert {"ListExecutions", "ListOrders"} <= set(talk.apis())


# --- silence ------------------------------------------------------------------------------------------------------


def test_a_silent_weekend_denies_entries_and_dials_again_ever_more_rarely(talk: Talk) -> None:
    at = []
    for _ in range(50 * 60 * 4):
        talk.to(15)
        if talk.trader.redial:
            at.append((talk.now - START) // SECOND)
            talk.trader.redial = ""
            talk.link_down()
            talk.link_up()
        talk.answer()
        talk.said()
        talk.held.clear()
    gaps = [after - before for before, after in itertools.pairwise(at)]
    assert at[0] == 15
    assert gaps[:6] == [30, 60, 120, 240, 480, 600]
    assert set(gaps[6:]) == {600}
    assert talk.engine.liaison is not None
    assert talk.engine.liaison.silent.startswith("no quote for")
    talk.quote()
    assert talk.engine.liaison.silent == ""
    assert talk.do(buy()).status is OrderStatus.SENT


def test_while_quotes_are_stale_entries_are_denied() -> None:
    class Clocked(Scripted):
        def on_timer(self, tag: str) -> None:
            self.made.append(self.buy(ES, 1))

        def on_start(self) -> None:
            super().on_start()
            self.every(10, "buy")

    talk = Talk(Clocked()).start()
    talk.to(10)
    talk.reply(talk.take("PlaceOrder"), orderId="r-1")
    talk.to(10)
    assert [order.status for order in talk.strategy.made] == [WORKING, DENIED]
    assert talk.strategy.made[1].reason.startswith("stale_quotes: no quote for 15 s")
    assert talk.trader.health.silences == 1


def test_a_dropped_link_is_no_silence(talk: Talk) -> None:
    talk.link_down()
    talk.to(3_600)
    assert talk.trader.redial == ""
    assert talk.trader.health.silences == 0


# --- time ---------------------------------------------------------------------------------------------------------


def test_after_a_leap_of_two_hours_a_repeating_timer_fires_once(talk: Talk) -> None:
    talk.do(lambda s: s.every(1, "tick"))
    for _ in range(3):
        talk.to(1)
    assert len(talk.strategy.ticks) == 3
    talk.now += 7_200 * SECOND
    talk.trader.leap(talk.now, 7_200 * SECOND)
    assert len(talk.strategy.ticks) == 4
    assert talk.strategy.ticks[-1] == talk.now
    assert "clock jumped by +7200.0 s" in "".join(notice.text for notice in talk.trader.notices)
    talk.to(1)
    assert len(talk.strategy.ticks) == 5


def test_what_was_due_happens_before_what_comes(talk: Talk) -> None:
    order = talk.do(buy(limit_price=4790.0))
    frame = talk.take("PlaceOrder")
    talk.now += 11 * SECOND  # nobody called ``advance``
    talk.reply(frame, orderId=order.id)
    assert order.status is DOUBT
    assert talk.trader.calls.strays == 1


# --- a strategy that raises ---------------------------------------------------------------------------------------


def _boom(_strategy: Strategy) -> None:
    raise ValueError("boom")


def test_a_strategy_that_raises_is_wound_down_and_its_exits_stay(talk: Talk) -> None:
    entry = talk.do(buy(1, stop_loss=8))
    talk.reply(talk.take("PlaceOrder"), orderId=entry.id)
    talk.to(0.3)
    talk.answer(executions=[execution(entry, 1)])
    stop = talk.order(2)
    talk.reply(talk.take("PlaceOrder"), orderId=stop.id)
    resting = talk.do(buy(1, limit_price=4790.0))
    talk.reply(talk.take("PlaceOrder"), orderId=resting.id)
    talk.strategy.todo = [_boom]
    talk.quote()
    assert isinstance(talk.trader.error, StrategyError)
    assert "boom" in str(talk.trader.error)
    assert [frame["args"]["orderId"] for frame in talk.said() if frame.get("api") == "Cancel"] == [resting.id]
    assert stop.is_open
    assert talk.trader.is_stopping
    assert not talk.strategy.stopped
    first = talk.trader.error
    talk.strategy.todo = [_boom]
    talk.quote()
    assert talk.trader.error is first


def test_a_strategy_that_raises_at_the_start_ends_the_run_before_any_order() -> None:
    class Broken(Scripted):
        def on_start(self) -> None:
            super().on_start()
            self.buy(ES, 1)
            raise ValueError("boom")

    talk = Talk(Broken())
    talk.link_up()
    talk.set_up()
    talk.answer()
    assert isinstance(talk.trader.error, StrategyError)
    assert places(talk.said()) == []


def test_a_strategy_that_raises_at_the_end_is_wound_down_all_the_same() -> None:
    class Broken(Scripted):
        def on_stop(self) -> None:
            raise ValueError("boom")

    talk = Talk(Broken()).start()
    order = talk.do(buy(limit_price=4790.0))
    talk.reply(talk.take("PlaceOrder"), orderId=order.id)
    talk.trader.stop("protect", talk.now)
    assert isinstance(talk.trader.error, StrategyError)
    assert "Cancel" in talk.apis()


# --- the end ------------------------------------------------------------------------------------------------------


def test_the_end_takes_a_last_look_and_is_settled_after_it(talk: Talk) -> None:
    talk.said()
    assert talk.trader.is_settled
    talk.trader.stop("protect", talk.now)
    assert talk.strategy.stopped
    assert not talk.trader.is_settled
    assert sorted(talk.apis()) == ["ListExecutions", "ListOrders", "ListPositions"]
    talk.answer()
    assert talk.trader.is_settled


def test_before_the_engine_is_made_there_is_nothing_to_settle() -> None:
    talk = Talk()
    talk.trader.stop("flatten", talk.now)
    assert talk.trader.is_stopping
    assert talk.trader.is_settled


def test_a_cancel_of_the_end_is_settled_when_it_is_seen(talk: Talk) -> None:
    order = talk.do(buy(limit_price=4790.0))
    talk.reply(talk.take("PlaceOrder"), orderId=order.id)
    talk.trader.stop("protect", talk.now)
    talk.reply(talk.take("Cancel"), orderId=order.id)
    talk.answer(orders=[row(order, "CancelPending")])
    assert not talk.trader.is_settled
    talk.settle(5, orders=[row(order, "Cancelled")])
    assert order.status is CANCELLED
    talk.answer()
    assert talk.trader.is_settled


def test_a_market_order_under_way_is_not_settled(talk: Talk) -> None:
    order = talk.do(buy())
    talk.reply(talk.take("PlaceOrder"), orderId=order.id)
    talk.trader.stop("protect", talk.now)
    talk.to(0.1)
    talk.answer(orders=[row(order, "Working")])
    talk.held = [frame for frame in talk.held if frame["api"] not in ("Cancel",)]
    assert not talk.trader.is_settled


def test_after_on_stop_a_strategy_decides_nothing_more(talk: Talk) -> None:
    entry = talk.do(buy(2))
    talk.reply(talk.take("PlaceOrder"), orderId=entry.id)
    talk.to(0.3)
    talk.answer(executions=[execution(entry, 1, 2)])
    talk.trader.stop("protect", talk.now)
    talk.said()
    talk.strategy.todo = [lambda s: s.sell(ES, 1)]
    talk.quote()
    assert places(talk.said()) == []


def test_a_target_pursued_after_a_bracketed_fill_is_reached(talk: Talk) -> None:
    """A flat target is asked for while a bracketed entry rests; the entry fills before its cancel is seen."""
    entry = talk.do(buy(2, limit_price=4790.0, stop_loss=3))
    talk.reply(talk.take("PlaceOrder"), orderId=entry.id)
    talk.do(lambda s: s.order_target(ES, 0) or "standing")
    talk.reply(talk.take("Cancel"), orderId=entry.id)
    fills = [execution(entry, 1, 2, 4790.0)]
    talk.settle(6, orders=[row(entry, "CancelPending")], executions=fills, positions=[position(2)])
    assert talk.strategy.position(ES) == 2
    assert [order.id for order in talk.engine.blotter.orders.values() if order.status is OrderStatus.DRAFT] == []


# --- what it costs ------------------------------------------------------------------------------------------------


def test_quotes_alone_cost_nothing_but_a_look_at_positions(talk: Talk) -> None:
    talk.answer()
    talk.said()
    asked: list[str] = []
    for _ in range(60):
        talk.to(1)
        talk.quote()
        asked += talk.apis()
        talk.answer()
    assert len(asked) <= 2
    assert set(asked) <= {"ListPositions"}


def test_quotes_reach_the_strategy_with_the_time_of_their_frame(talk: Talk) -> None:
    seen: list[Quote] = []
    talk.to(1.5)
    talk.do(lambda s: seen.append(s.quote(ES)))
    assert (seen[0].ts, seen[0].bid) == (talk.now, 4800.0)


def test_frames_are_text_in_order_with_their_call(talk: Talk) -> None:
    talk.said()
    talk.strategy.todo = [buy(limit_price=4790.0), buy(limit_price=4789.0)]
    talk.quote()
    frames = [frame for frame in talk.trader.out if frame.api == "PlaceOrder"]
    assert [json.loads(frame.text)["args"]["orderId"] for frame in frames] == ["r-1", "r-2"]
    assert [json.loads(frame.text)["id"] for frame in frames] == [frame.key for frame in frames]
