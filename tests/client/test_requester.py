"""A client without an engine, talked to by hand: what leaves, what comes back, and what becomes of it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from tables import ES, SECOND, START

from xtalgo import AccountPnl, ConfigError, NotSent, OutcomeUnknown, Quote, RemoteProtocolError, VenueError
from xtalgo.client.requester import Request, Requester
from xtalgo.model.errors import SessionTakenOver
from xtalgo.protocol.replies import Answer


class Desk:
    """``now`` moves only when a test says so."""

    def __init__(self, *, up: bool = True) -> None:
        self.now = START
        self.client = Requester()
        self.client.streams.pnl = False
        self.quotes: list[Quote] = []
        self.pnl: list[AccountPnl] = []
        self.client.on_quotes = self.quotes.extend
        self.client.on_pnl = self.pnl.append
        self.done: list[str] = []
        if up:
            self.client.link_up(self.now)

    def ask(self, api: str, within: float | None = None, **args: Any) -> Request:
        span = None if within is None else round(within * SECOND)
        everything = args.pop("everything", False)
        return self.client.ask(api, args, self.now, lambda: self.done.append(api), everything=everything, within=span)

    def place(self, **more: Any) -> Request:
        order = {"account": "Sim101", "instrument": ES, "action": "BUY", "orderType": "MARKET", "quantity": 1}
        return self.ask("PlaceOrder", timeInForce="DAY", **(order | more))

    def to(self, seconds: float) -> None:
        self.now += round(seconds * SECOND)
        self.client.advance(self.now)

    def said(self) -> list[dict[str, Any]]:
        frames, self.client.out = self.client.out, []
        return [json.loads(frame.text) for frame in frames]

    def hear(self, message: Any) -> None:
        self.client.frame(json.dumps(message), self.now)

    def reply(self, frame: dict[str, Any], **data: Any) -> None:
        self.hear({"id": frame["id"], "data": {"success": True, **data}})


def test_a_call_leaves_at_once_and_its_answer_ends_it() -> None:
    desk = Desk()
    request = desk.ask("ListPositions", account="Sim101")
    (frame,) = desk.said()
    assert (frame["api"], frame["args"]) == ("ListPositions", {"account": "Sim101"})
    assert request.outcome is None
    desk.reply(frame, positions=[])
    assert isinstance(request.outcome, Answer)
    assert request.outcome.value == ()
    assert desk.done == ["ListPositions"]


def test_twenty_leave_at_once_then_three_a_second() -> None:
    desk = Desk()
    for _ in range(26):
        desk.ask("ListAccounts")
    assert len(desk.said()) == 16  # reads leave four tokens for orders
    assert desk.place().has_left
    desk.said()
    desk.to(5)
    left = len(desk.said())
    assert 10 <= left <= 16


def test_cancels_go_before_orders_and_orders_before_reads() -> None:
    desk = Desk()
    for _ in range(16):
        desk.ask("ListAccounts")
    for number in range(4):
        desk.place(orderId=f"a{number}")
    desk.said()
    desk.ask("ListAccounts", within=60)
    desk.place(orderId="b", quantity=2)
    desk.ask("Cancel", account="Sim101", orderId="a1")
    assert desk.said() == []
    desk.to(1.9)
    assert [frame["api"] for frame in desk.said()][:2] == ["Cancel", "PlaceOrder"]


def test_an_order_that_waited_too_long_is_not_sent() -> None:
    desk = Desk()
    for number in range(30):
        desk.place(orderId=f"a{number}")
    requests = [desk.place(orderId=f"b{number}") for number in range(3)]
    desk.to(2.5)
    for request in requests:
        assert isinstance(request.outcome, NotSent)
        assert "waited too long for the request budget" in str(request.outcome)
    sent = [frame["args"]["orderId"] for frame in desk.said()]
    assert not any(name.startswith("b") for name in sent)


def test_what_reduces_waits_as_long_as_it_takes() -> None:
    desk = Desk()
    for number in range(40):
        desk.ask("Cancel", account="Sim101", orderId=f"a{number}")
    desk.to(8)
    assert len(desk.said()) == 40


def test_a_refusal_is_the_venues_own_word() -> None:
    desk = Desk()
    request = desk.ask("ClosePosition", account="Sim101", instrument=ES)
    (frame,) = desk.said()
    desk.hear({"id": frame["id"], "data": {"success": False, "error": "No positions found for instrument 'ES 06-26'"}})
    assert isinstance(request.outcome, VenueError)
    assert str(request.outcome) == "ClosePosition: No positions found for instrument 'ES 06-26'"


def test_a_mutation_without_an_answer_may_have_been_carried_out_and_is_never_sent_again() -> None:
    desk = Desk()
    request = desk.place()
    desk.said()
    desk.to(10)
    assert isinstance(request.outcome, OutcomeUnknown)
    desk.to(60)
    assert desk.said() == []


def test_a_drop_ends_what_left_as_unknown_and_what_waited_as_not_sent() -> None:
    desk = Desk()
    left = [desk.place(orderId=f"a{number}") for number in range(20)]
    waits = desk.place(orderId="b")
    first = desk.client.out[0].key
    desk.said()
    desk.client.link_down(desk.now, "it dropped", [first])
    assert isinstance(left[0].outcome, NotSent)  # its frame never began to leave
    assert all(isinstance(request.outcome, OutcomeUnknown) for request in left[1:])
    assert isinstance(waits.outcome, NotSent)
    desk.client.link_up(desk.now)
    desk.to(30)
    assert desk.said() == []


def test_a_read_is_asked_again_after_a_drop() -> None:
    desk = Desk()
    request = desk.ask("ListOrders", account="Sim101")
    desk.said()
    desk.client.link_down(desk.now, "it dropped")
    assert request.outcome is None
    desk.to(3)
    desk.client.link_up(desk.now)
    (frame,) = desk.said()
    assert frame["api"] == "ListOrders"
    desk.reply(frame, orders=[])
    assert isinstance(request.outcome, Answer)


def test_a_read_is_given_up_when_its_time_is_over() -> None:
    desk = Desk()
    request = desk.ask("ListOrders", account="Sim101", within=25)
    for _ in range(60):
        desk.to(1)
    assert isinstance(request.outcome, RemoteProtocolError | NotSent)
    assert [frame["api"] for frame in desk.said()] == ["ListOrders"] * 3


def test_while_the_link_is_down_orders_are_not_sent_and_reads_wait() -> None:
    desk = Desk(up=False)
    order, read = desk.place(), desk.ask("ListAccounts")
    assert isinstance(order.outcome, NotSent)
    assert read.outcome is None
    desk.to(31)
    assert isinstance(read.outcome, NotSent)
    assert "the link is down" in str(read.outcome)


def test_a_rate_refusal_was_not_carried_out_and_goes_again() -> None:
    desk = Desk()
    request = desk.place()
    (frame,) = desk.said()
    desk.hear({"id": frame["id"], "error": "Rate limit exceeded"})
    assert request.outcome is None
    desk.to(1.5)
    (again,) = desk.said()
    assert again["args"] == frame["args"]
    desk.reply(again, orderId="x")
    assert isinstance(request.outcome, Answer)


def test_nobody_waits_any_more() -> None:
    desk = Desk()
    for number in range(20):
        desk.place(orderId=f"a{number}")
    waits, left = desk.place(orderId="b"), desk.place(orderId="c")
    assert desk.client.give_up(waits)
    desk.said()
    desk.to(0.7)
    (frame,) = desk.said()
    assert frame["args"]["orderId"] == "c"
    assert not desk.client.give_up(left)
    desk.reply(frame, orderId="c")  # nobody hears of it


def test_given_up_after_a_rate_refusal_it_does_not_go_again() -> None:
    desk = Desk()
    request = desk.place()
    (frame,) = desk.said()
    desk.client.give_up(request)
    desk.hear({"id": frame["id"], "error": "Rate limit exceeded"})
    desk.to(5)
    assert desk.said() == []


def test_the_addon_is_away() -> None:
    desk = Desk()
    read, order = desk.ask("ListAccounts"), desk.place()
    first, second = desk.said()
    for frame in (first, second):
        desk.hear({"id": frame["id"], "error": "NinjaTrader add-on is not connected"})
    assert isinstance(read.outcome, VenueError)
    assert isinstance(order.outcome, OutcomeUnknown)


def test_the_end_is_told_to_whoever_waits_and_whoever_asks_later() -> None:
    desk = Desk()
    waits = desk.ask("ListAccounts")
    end = SessionTakenOver("another client")
    desk.client.link_down(desk.now, "closed")
    desk.client.end(end)
    assert waits.outcome is end
    assert desk.ask("ListAccounts").outcome is end


def test_wrong_arguments_raise_before_anything_leaves() -> None:
    desk = Desk()
    with pytest.raises(ConfigError, match="did you mean quantity"):
        desk.ask("PlaceOrder", account="Sim101", qty=1)
    with pytest.raises(ConfigError, match="every account"):
        desk.ask("FlattenEverything")
    assert desk.said() == []
    desk.ask("FlattenEverything", everything=True)
    assert len(desk.said()) == 1


def test_instruments_are_subscribed_to_once_and_again_after_a_drop() -> None:
    desk = Desk()
    desk.client.listen([ES], desk.now)
    desk.client.listen([ES], desk.now)
    assert desk.said() == [{"action": "subscribe", "instruments": [ES]}]
    desk.client.link_down(desk.now, "it dropped")
    desk.to(1)
    desk.client.link_up(desk.now)
    assert desk.said() == [{"action": "subscribe", "instruments": [ES]}]
    desk.client.leave([ES], desk.now)
    assert desk.said() == [{"action": "unsubscribe", "instruments": [ES]}]
    desk.to(60)
    assert not desk.client.redial, "with nothing listened to, silence is no news"


def test_quotes_are_those_of_the_wire_at_the_moment_of_their_coming() -> None:
    desk = Desk()
    desk.client.listen([ES], desk.now)
    rows = [{"instrument": ES, "bid": 100.0, "ask": 100.25, "last": None, "volume": 5}, {"instrument": "NQ 06-26"}]
    desk.to(1)
    desk.hear({"type": "marketData", "quotes": rows})
    assert desk.quotes == [Quote(desk.now, ES, 100.0, 100.25, None, 5)]


def test_silence_dials_again() -> None:
    desk = Desk()
    desk.client.listen([ES], desk.now)
    desk.to(16)
    assert desk.client.redial == "no quote for 15 s"


def test_pnl_is_streamed_while_somebody_listens() -> None:
    desk = Desk()
    desk.client.stream_pnl(desk.now, enabled=True, interval=500)
    assert desk.said() == [{"action": "streamPnl", "enabled": True, "interval": 500}]
    rows = [{"account": "Sim101", "realizedProfitLoss": 3.0, "unrealizedProfitLoss": -1.5}, {"realizedProfitLoss": 1}]
    desk.hear({"type": "pnlUpdate", "epoch": 1, "accounts": rows})
    assert desk.pnl == [AccountPnl(desk.now, "Sim101", 3.0, -1.5)]
    desk.client.stream_pnl(desk.now, enabled=False)
    assert desk.said() == [{"action": "streamPnl", "enabled": False}]
