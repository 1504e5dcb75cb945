"""Between rows on the wire and reports: the reference's own examples, and rows that tell less."""

from __future__ import annotations

import math
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtalgo.client.calls import Calls, End
from xtalgo.client.translate import _STANDING, LOOKBACK, call_for, seen
from xtalgo.model.commands import Ask, CancelOrder, ChangeOrder, PlaceOrder, Query
from xtalgo.model.events import ExecutionsSeen, OrdersSeen, PositionsSeen
from xtalgo.model.reports import ExecutionReport, OrderReport, PositionReport, Standing
from xtalgo.model.types import OrderType, Side
from xtalgo.protocol.frames import RpcReply
from xtalgo.protocol.words import OrderState

ORDER = {
    "account": "Sim101",
    "orderId": "0f6d2a4b8c914e7fa1b35d6720e98c44",
    "instrument": "MNQ 12-26",
    "instrumentType": "Future",
    "orderType": "Limit",
    "orderState": "Working",
    "quantity": 1,
    "averageFillPrice": 0.0,
    "filled": 0,
    "fromEntrySignal": None,
    "gtd": "2099-12-01T00:00:00.0000000",
    "limitPrice": 24100.0,
    "limitPriceChanged": 0.0,
    "name": "",
    "oco": "",
    "orderAction": "Buy",
    "stopPrice": 0.0,
    "time": "2026-10-01T14:30:00.1230000",
    "timeInForce": "Day",
    "tag": None,
}
"""As in the wire reference, ListOrders."""

POSITION = {
    "type": "NinjaTrader.Cbi.Position",
    "account": "Sim101",
    "instrument": "MNQ 12-26",
    "instrumentType": "Future",
    "marketPosition": "Long",
    "quantity": 3,
    "averagePrice": 24110.5,
    "marketPrice": 24118.25,
    "unrealizedProfitLoss": 46.5,
}

EXECUTION = {
    "id": "e1",
    "epoch": 1_790_865_001_123,
    "orderId": "0f6d2a4b8c914e7fa1b35d6720e98c44",
    "account": "Sim101",
    "instrument": "MNQ 12-26",
    "marketPosition": "Long",
    "quantity": 2,
    "price": 24110.5,
    "commission": 1.2,
}

APIS = {
    Ask.ORDERS: "ListOrders",
    Ask.ORDER: "GetOrder",
    Ask.EXECUTIONS: "ListExecutions",
    Ask.POSITIONS: "ListPositions",
}


def answer(ask: Ask, data: Any, account: str = "Sim101") -> OrdersSeen | ExecutionsSeen | PositionsSeen:
    calls: Calls[str] = Calls()
    key, _ = calls.begin(APIS[ask], {}, "", 0)
    raw = data if isinstance(data, bytes) else msgspec.json.encode(data)
    settled = calls.settle(RpcReply(key, msgspec.Raw(raw)), 1)
    assert settled is not None
    assert settled.end is End.DONE, settled.text
    assert settled.answer is not None
    return seen(Query(ask, account, 1), settled.answer, 7, lambda told: f"<{told}>")


def orders(*rows: dict[str, Any]) -> OrdersSeen:
    found = answer(Ask.ORDERS, {"orders": list(rows), "success": True})
    assert isinstance(found, OrdersSeen)
    return found


# --- rows ---------------------------------------------------------------------------------------------------------


def test_an_order_of_the_reference() -> None:
    found = orders(ORDER)
    assert found.complete
    assert found.ts == 7
    assert found.orders == (
        OrderReport(
            order_id="0f6d2a4b8c914e7fa1b35d6720e98c44",
            account="Sim101",
            instrument="<MNQ 12-26>",
            standing=Standing.WORKING,
            side=Side.BUY,
            quantity=1,
            filled=0,
            average_price=0.0,
            limit_price=24100.0,
            stop_price=None,
        ),
    )


def test_one_order_by_its_id_is_a_list_of_one() -> None:
    found = answer(Ask.ORDER, ORDER | {"success": True})
    assert isinstance(found, OrdersSeen)
    assert [order.order_id for order in found.orders] == [ORDER["orderId"]]


def test_a_position_of_the_reference() -> None:
    found = answer(Ask.POSITIONS, {"positions": [POSITION], "success": True})
    assert isinstance(found, PositionsSeen)
    assert found.positions == (PositionReport("Sim101", "<MNQ 12-26>", 3, 24110.5),)


def test_a_short_is_negative_and_flat_is_zero() -> None:
    rows = [POSITION | {"marketPosition": "Short"}, POSITION | {"marketPosition": "Flat", "quantity": 0}]
    found = answer(Ask.POSITIONS, {"positions": rows, "success": True})
    assert isinstance(found, PositionsSeen)
    assert [row.quantity for row in found.positions] == [-3, 0]


def test_an_execution() -> None:
    found = answer(Ask.EXECUTIONS, {"executions": [EXECUTION], "success": True})
    assert isinstance(found, ExecutionsSeen)
    assert found.executions == (
        ExecutionReport(
            execution_id="e1",
            order_id="0f6d2a4b8c914e7fa1b35d6720e98c44",
            account="Sim101",
            instrument="<MNQ 12-26>",
            side=Side.BUY,
            quantity=2,
            price=24110.5,
            fee=1.2,
            executed=1_790_865_001_123_000_000,
        ),
    )


def test_what_an_order_row_leaves_out_is_none_and_never_zero() -> None:
    found = orders({"orderId": "x", "orderState": "Working"})
    assert found.orders == (OrderReport("x", None, None, Standing.WORKING),)


@pytest.mark.parametrize("text", ["NaN", "-1e999", '"much"'])
def test_a_price_that_is_no_number_is_not_taken_for_one(text: str) -> None:
    row = msgspec.json.encode(ORDER).replace(b"24100.0", text.encode())
    calls: Calls[str] = Calls()
    key, _ = calls.begin("ListOrders", {}, "", 0)
    settled = calls.settle(RpcReply(key, msgspec.Raw(b'{"orders":[' + row + b'],"success":true}')), 1)
    assert settled is not None
    if settled.end is End.DONE:
        assert settled.answer is not None
        found = seen(Query(Ask.ORDERS, "Sim101", 1), settled.answer, 7, str)
        assert isinstance(found, OrdersSeen)
        assert all(order.limit_price is None or math.isfinite(order.limit_price) for order in found.orders)


def test_a_row_that_can_not_be_read_makes_its_list_prove_no_absence() -> None:
    found = orders(ORDER, {"orderState": "Working"})
    assert len(found.orders) == 1
    assert not found.complete


def test_rows_of_other_accounts_are_left_out_and_spelling_does_not_matter() -> None:
    found = orders(ORDER | {"account": "Sim102"}, ORDER | {"account": "SIM101"})
    assert [order.account for order in found.orders] == ["SIM101"]
    held = answer(Ask.POSITIONS, {"positions": [POSITION | {"account": "Sim102"}], "success": True})
    assert isinstance(held, PositionsSeen)
    assert held.positions == ()


def test_every_state_of_an_order_has_its_standing() -> None:
    assert set(_STANDING) == set(OrderState)
    done = {state for state, standing in _STANDING.items() if standing.is_done}
    assert done == {OrderState.FILLED, OrderState.CANCELLED, OrderState.REJECTED}


@pytest.mark.parametrize(
    ("state", "standing"),
    [
        ("Initialized", Standing.UNKNOWN),
        ("Submitted", Standing.UNKNOWN),
        ("Accepted", Standing.WORKING),
        ("TriggerPending", Standing.WORKING),
        ("PartFilled", Standing.WORKING),
        ("ChangePending", Standing.CHANGING),
        ("ChangeSubmitted", Standing.CHANGING),
        ("CancelPending", Standing.CANCELLING),
        ("CancelSubmitted", Standing.CANCELLING),
        ("Filled", Standing.FILLED),
        ("Cancelled", Standing.CANCELLED),
        ("Rejected", Standing.REJECTED),
        ("SomethingNew", Standing.UNKNOWN),
    ],
)
def test_states_on_the_wire(state: str, standing: Standing) -> None:
    assert orders(ORDER | {"orderState": state}).orders[0].standing is standing


@given(st.sampled_from(sorted(ORDER)), st.none() | st.booleans() | st.integers() | st.text(max_size=5) | st.just([1]))
def test_a_strange_value_in_a_row_ends_no_order(key: str, value: Any) -> None:
    """Whatever one value is, the row tells its own state, tells nothing, or is left out; it never becomes 'over'."""
    calls: Calls[str] = Calls()
    name, _ = calls.begin("ListOrders", {}, "", 0)
    body = msgspec.json.encode({"orders": [ORDER | {key: value}], "success": True})
    settled = calls.settle(RpcReply(name, msgspec.Raw(body)), 1)
    assert settled is not None
    if settled.answer is not None:
        found = seen(Query(Ask.ORDERS, "Sim101", 1), settled.answer, 7, str)
        assert isinstance(found, OrdersSeen)
        assert all(not order.standing.is_done for order in found.orders)


# --- calls --------------------------------------------------------------------------------------------------------


def test_queries_as_calls() -> None:
    def asked(ask: Ask, *, far: bool = False, order_id: str | None = None, venue: str | None = None) -> Any:
        return tuple(call_for(Query(ask, "Sim101", 1, order_id=order_id), venue, far=far))

    assert asked(Ask.ORDERS) == ("ListOrders", {"account": "Sim101"})
    assert asked(Ask.POSITIONS, far=True) == ("ListPositions", {"account": "Sim101"})
    assert asked(Ask.EXECUTIONS) == ("ListExecutions", {"account": "Sim101"})
    assert asked(Ask.EXECUTIONS, far=True) == ("ListExecutions", {"account": "Sim101", "lookbackTime": LOOKBACK})
    assert asked(Ask.ORDER, order_id="r-1") == ("GetOrder", {"account": "Sim101", "orderId": "r-1"})
    assert asked(Ask.ORDER, order_id="r-1", venue="abc") == ("GetOrder", {"account": "Sim101", "orderId": "abc"})
    assert LOOKBACK == 900


def test_mutations_as_calls_name_the_order_as_the_venue_does() -> None:
    place = PlaceOrder("r-1", "Sim101", "MNQ 12-26", Side.BUY, OrderType.LIMIT, 2, 24100.0)
    api, args = call_for(place, None, far=False)
    assert (api, args["orderId"], args["action"], args["limitPrice"]) == ("PlaceOrder", "r-1", "BUY", 24100.0)
    assert "stopPrice" not in args
    assert call_for(CancelOrder("r-1", "Sim101"), None, far=False).args["orderId"] == "r-1"
    assert call_for(CancelOrder("r-1", "Sim101"), "abc", far=False).args == {"account": "Sim101", "orderId": "abc"}
    change = call_for(ChangeOrder("r-1", "Sim101", quantity=1), "abc", far=False)
    assert change.args == {"account": "Sim101", "orderId": "abc", "quantity": 1}
