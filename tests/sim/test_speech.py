"""What only some dialects have at the server: pushed events, the life of an order, tags that lock."""

from __future__ import annotations

import json
from typing import Any

import pytest
from serving import Client, at
from tables import table

from xtalgo.protocol.dialect import Dialect
from xtalgo.protocol.frames import EventFrame
from xtalgo.protocol.wire import parse_server
from xtalgo.sim.server import SimServer


def client(monkeypatch: pytest.MonkeyPatch, bids: list[float] | None = None, **facts: Any) -> Client:
    """A client of a server that speaks so."""
    made = SimServer.__init__

    def speaking(self: SimServer, *args: Any, **more: Any) -> None:
        made(self, *args, **more, dialect=Dialect(**facts))

    monkeypatch.setattr(SimServer, "__init__", speaking)
    return Client(None if bids is None else table(bids))


EVENTS = ("orders", "executions", "positions")


def pushed(frames: list[Any]) -> list[EventFrame]:
    read = [parse_server(json.dumps(frame)) for frame in frames]
    return [frame for frame in read if isinstance(frame, EventFrame)]


def test_events_tell_every_state_each_fill_and_the_position_after_it(monkeypatch: pytest.MonkeyPatch) -> None:
    user = client(monkeypatch, events="nt8")
    assert user.say(0.5, "subscribe", events=list(EVENTS), origin="nt8") == [
        {"status": "subscribed", "events": list(EVENTS), "origin": "nt8"}
    ]
    user.place(1, orderId="a")
    user.run(3)
    told = pushed([json.loads(out.text) for out in user.outputs if hasattr(out, "text")])
    assert [frame.seq for frame in told] == list(range(1, len(told) + 1))
    assert {(frame.origin, frame.account) for frame in told} == {("nt8", "Sim101")}
    states = [frame.body["order"]["orderState"] for frame in told if frame.kind == "orderUpdate"]
    assert states == ["Submitted", "Accepted", "Working", "Filled"]
    (fill,) = (frame.body["execution"] for frame in told if frame.kind == "executionUpdate")
    assert (fill["orderId"], fill["quantity"]) == ("a", 1)
    (held,) = (frame.body["position"] for frame in told if frame.kind == "positionUpdate")
    assert (held["marketPosition"], held["quantity"]) == ("Long", 1)


def test_events_begin_anew_with_each_connection_and_only_where_they_were_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    user = client(monkeypatch, events="plain")
    user.place(1, orderId="a")
    user.connect(3)
    user.outputs.clear()
    user.say(3.5, "subscribe", events=["orders"])
    user.place(4, kind="LIMIT", limitPrice=50.0, orderId="b")
    told = pushed([json.loads(out.text) for out in user.outputs if hasattr(out, "text")])
    assert {frame.kind for frame in told} == {"orderUpdate"}
    assert {frame.body["order"]["orderId"] for frame in told} == {"b"}
    assert [frame.seq for frame in told] == [1, 2, 3]


@pytest.mark.parametrize("origin", [None, "ninjatrader", "tradovate"])
def test_another_form_of_asking_is_refused(monkeypatch: pytest.MonkeyPatch, origin: str | None) -> None:
    user = client(monkeypatch, events="nt8")
    more = {} if origin is None else {"origin": origin}
    (told,) = user.say(0.5, "subscribe", events=["orders"], **more)
    assert told["status"] == "error"


@pytest.mark.parametrize("ids", ["id", "alias"])
def test_the_life_of_an_order_by_either_of_its_ids(monkeypatch: pytest.MonkeyPatch, ids: str) -> None:
    user = client(monkeypatch, lifecycle="OrderLifecycle", caller_id=ids, change_id="new")
    told = user.place(1, kind="LIMIT", limitPrice=50.0, orderId="a")["orderId"]
    user.call(2, "Change", account="Sim101", orderId=told, limitPrice=49.0)
    user.call(3, "Cancel", account="Sim101", orderId="a")
    for seconds, order_id in ((4, "a"), (5, told)):
        life = user.call(seconds, "OrderLifecycle", account="sim101", orderId=order_id)
        states = [one["orderState"] for one in life["states"]]
        assert states == ["Submitted", "Accepted", "Working", "CancelPending", "Cancelled"]
        stamps = [one["epoch"] for one in life["states"]]
        assert stamps == sorted(stamps)
        assert stamps[0] == at(1.25) // 1_000_000
    assert "not found" in user.call(6, "OrderLifecycle", account="Sim101", orderId="zz")["error"]
    assert "orderId is missing" in user.call(7, "OrderLifecycle", account="Sim101")["error"]
    assert "Unknown api" in user.call(8, "GetOrderLifecycle", account="Sim101", orderId="a")["error"]


def test_a_tag_locks_while_its_instrument_is_traded(monkeypatch: pytest.MonkeyPatch) -> None:
    user = client(monkeypatch, strategy_tag="locks")
    rest: dict[str, Any] = {"kind": "LIMIT", "limitPrice": 50.0}
    assert user.place(1, orderId="a", strategy_tag="one", **rest)["success"]
    assert "locked by strategy_tag 'one'" in user.place(2, orderId="b", strategy_tag="two", **rest)["error"]
    assert user.place(3, orderId="c", strategy_tag="one", **rest)["success"]
    assert user.place(4, orderId="d", **rest)["success"]
    user.call(5, "CancelOrders", account="Sim101")
    assert user.place(6, orderId="e", strategy_tag="two", **rest)["success"]


def test_by_default_a_tag_is_an_argument_that_there_is_not() -> None:
    told = Client().place(1, strategy_tag="one")
    assert "no argument 'strategy_tag'" in told["error"]


def test_a_second_order_under_an_id(monkeypatch: pytest.MonkeyPatch) -> None:
    rest: dict[str, Any] = {"kind": "LIMIT", "limitPrice": 50.0, "orderId": "a"}
    user = client(monkeypatch, duplicate_id="acknowledged")
    assert [user.place(second, **rest)["orderId"] for second in (1, 2)] == ["a", "a"]
    assert len(user.server.venue.orders) == 1


def test_bodies_have_their_form_over_rest_too(monkeypatch: pytest.MonkeyPatch) -> None:
    user = client(monkeypatch, accounts_form="bare names", orders_form="bare", flat_position="error")
    assert json.loads(user.rest(1, "GET", "/v1/api/accounts").body) == ["Sim101"]
    assert json.loads(user.rest(2, "GET", "/v1/api/accounts/Sim101/orders").body) == []
    flat = user.rest(3, "GET", "/v1/api/accounts/Sim101/position", instrument="ES")
    assert (flat.status, json.loads(flat.body)["error"]) == (400, "No position found")
