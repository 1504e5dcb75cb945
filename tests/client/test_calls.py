"""Calls under way: each begun call ends exactly once, and how it ends says whether it may be sent again."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xtalgo.client.calls import TIME_LIMIT, Calls, End, Settled
from xtalgo.model.types import NEVER
from xtalgo.protocol.frames import RpcError, RpcReply, Unknown
from xtalgo.protocol.outcomes import Cause

MS = 1_000_000
SECOND = 1_000 * MS


def reply(key: str, data: object) -> RpcReply:
    return RpcReply(key, msgspec.Raw(json.dumps(data).encode()))


def placed(key: str) -> RpcReply:
    return reply(key, {"orderId": "o1", "success": True})


def refused(key: str, text: str) -> RpcReply | RpcError:
    return RpcError(key, text)


@pytest.fixture
def calls() -> Calls[str]:
    return Calls()


def begin(calls: Calls[str], item: str, now: int = 0, api: str = "PlaceOrder") -> str:
    return calls.begin(api, {"account": "Sim101"}, item, now)[0]


def test_a_call_leaves_as_one_frame_under_its_id(calls: Calls[str]) -> None:
    key, text = calls.begin("ListPositions", {"account": "Sim101"}, "what", 0)
    assert json.loads(text) == {"action": "rpc", "id": key, "api": "ListPositions", "args": {"account": "Sim101"}}
    assert len(calls) == 1
    assert calls.due == TIME_LIMIT


def test_replies_in_any_order_end_the_calls_they_belong_to(calls: Calls[str]) -> None:
    keys = [begin(calls, item) for item in ("first", "second", "third")]
    ended = [calls.settle(placed(keys[number]), 5 * MS) for number in (2, 0, 1)]
    assert [settled.item for settled in ended if settled] == ["third", "first", "second"]
    assert all(settled is not None and settled.end is End.DONE for settled in ended)
    assert calls.slowest == 5 * MS
    assert len(calls) == 0
    assert calls.due == NEVER


def test_a_reply_that_comes_twice_is_counted_and_ends_nothing(calls: Calls[str]) -> None:
    key = begin(calls, "place")
    assert calls.settle(placed(key), MS) is not None
    assert calls.settle(placed(key), 2 * MS) is None
    assert calls.strays == 1


@pytest.mark.parametrize("message", [placed("nobody"), RpcError(None, "no"), Unknown("{}", "no good")])
def test_a_reply_to_nothing_is_counted(calls: Calls[str], message: RpcReply | RpcError | Unknown) -> None:
    begin(calls, "place")
    assert calls.settle(message, MS) is None
    assert (calls.strays, len(calls)) == (1, 1)


def test_without_a_reply_in_time_a_mutation_is_unknown_and_a_read_is_not_done(calls: Calls[str]) -> None:
    begin(calls, "place", 0)
    begin(calls, "list", MS, "ListOrders")
    assert list(calls.expired(TIME_LIMIT - 1)) == []
    ended = list(calls.expired(TIME_LIMIT + MS))
    assert [(one.item, one.end, one.cause) for one in ended] == [
        ("place", End.UNKNOWN, Cause.TIMEOUT),
        ("list", End.NOT_DONE, Cause.TIMEOUT),
    ]
    assert "no reply in 10 s" in ended[0].text


def test_a_reply_after_the_time_limit_is_a_stray(calls: Calls[str]) -> None:
    key = begin(calls, "place")
    assert len(list(calls.expired(TIME_LIMIT))) == 1
    assert calls.settle(placed(key), TIME_LIMIT + MS) is None
    assert calls.strays == 1


def test_when_the_connection_is_gone_every_call_ends_in_order_of_sending(calls: Calls[str]) -> None:
    begin(calls, "place")
    begin(calls, "list", api="ListExecutions")
    begin(calls, "cancel", api="Cancel")
    ended = calls.dropped(SECOND, "gone")
    assert [(one.item, one.end) for one in ended] == [
        ("place", End.UNKNOWN),
        ("list", End.NOT_DONE),
        ("cancel", End.UNKNOWN),
    ]
    assert calls.due == NEVER
    assert list(calls.expired(NEVER - 1)) == []


def test_r10_a_reply_of_an_older_connection_ends_nothing(calls: Calls[str]) -> None:
    old = begin(calls, "place")
    calls.dropped(SECOND, "gone")
    begin(calls, "place again", 2 * SECOND)
    assert calls.settle(placed(old), 3 * SECOND) is None
    assert len(calls) == 1


def test_what_did_not_leave_is_not_done(calls: Calls[str]) -> None:
    key = begin(calls, "place")
    settled = calls.withdrawn(key, MS, "gone stale")
    assert settled is not None
    assert (settled.end, settled.text) == (End.NOT_DONE, "gone stale")
    assert calls.withdrawn(key, MS, "gone stale") is None
    assert calls.due == NEVER


@pytest.mark.parametrize(
    ("api", "error", "end", "cause"),
    [
        ("PlaceOrder", "Rate limit exceeded", End.NOT_DONE, Cause.RATE_LIMIT),
        ("ListOrders", "Rate limit exceeded", End.NOT_DONE, Cause.RATE_LIMIT),
        ("Cancel", "Order linked to 'x' not found or already terminal.", End.REFUSED, Cause.TERMINAL),
        ("Change", "Order linked to 'x' not found or already terminal.", End.REFUSED, Cause.TERMINAL),
        ("PlaceOrder", "Order linked to 'x' not found or already terminal.", End.UNKNOWN, Cause.TERMINAL),
        ("PlaceOrder", "Invalid request: quantity", End.REFUSED, Cause.INVALID),
        ("PlaceOrder", "The NinjaTrader add-on is not connected", End.UNKNOWN, Cause.OFFLINE),
        ("ListOrders", "The NinjaTrader add-on is not connected", End.NOT_DONE, Cause.OFFLINE),
        ("PlaceOrder", "Something nobody has seen", End.UNKNOWN, Cause.OTHER),
        ("ListOrders", "Something nobody has seen", End.NOT_DONE, Cause.OTHER),
    ],
)
def test_how_a_refusal_ends_a_call(calls: Calls[str], api: str, error: str, end: End, cause: Cause) -> None:
    """The same whether the error stands at the top of the frame or inside its data."""
    top = calls.settle(RpcError(begin(calls, "a", api=api), error), MS)
    inside = calls.settle(reply(begin(calls, "a", api=api), {"success": False, "error": error}), MS)
    for settled in (top, inside):
        assert settled is not None
        assert (settled.end, settled.cause) == (end, cause)
        assert error in settled.text


@pytest.mark.parametrize("data", [None, 7, "done", [], {"orders": 5}, {"positions": {}}])
def test_a_read_answered_with_nonsense_is_simply_not_done(calls: Calls[str], data: object) -> None:
    for api in ("ListPositions", "ListExecutions"):
        if api == "ListExecutions" and data == []:
            continue  # a bare list is accepted
        settled = calls.settle(reply(begin(calls, "a", api=api), data), MS)
        assert settled is not None
        if data != []:
            assert settled.end is End.NOT_DONE
            assert settled.answer is None


@pytest.mark.parametrize("data", [None, 7, "done", []])
def test_a_mutation_answered_with_nonsense_is_in_doubt(calls: Calls[str], data: object) -> None:
    settled = calls.settle(reply(begin(calls, "a"), data), MS)
    assert settled is not None
    assert settled.end is End.UNKNOWN


def test_a_frame_of_no_use_that_carries_the_id_ends_its_call(calls: Calls[str]) -> None:
    ends = []
    for api in ("Cancel", "ListOrders"):
        settled = calls.settle(Unknown("...", "cut short", begin(calls, "a", api=api)), MS)
        assert settled is not None
        assert "cut short" in settled.text
        ends.append(settled.end)
    assert ends == [End.UNKNOWN, End.NOT_DONE]


STEP = st.tuples(
    st.sampled_from(["begin", "read", "reply", "error", "unknown", "withdraw", "expire", "drop", "old"]),
    st.integers(0, 30),
    st.integers(0, 6 * SECOND),
)


@given(st.lists(STEP, max_size=60))
@settings(deadline=None)
def test_every_call_begun_ends_exactly_once(steps: list[tuple[str, int, int]]) -> None:
    calls: Calls[int] = Calls()
    now, keys, ends = 0, [], []

    def note(settled: Settled[int] | None) -> None:
        if settled is not None:
            ends.append(settled.item)

    for what, which, passed in steps:
        now += passed
        key = keys[which % len(keys)] if keys else "none"
        match what:
            case "begin" | "read":
                api = "PlaceOrder" if what == "begin" else "ListOrders"
                keys.append(calls.begin(api, {}, len(keys), now)[0])
            case "reply":
                note(calls.settle(placed(key), now))
            case "error":
                note(calls.settle(RpcError(key, "Rate limit exceeded"), now))
            case "unknown":
                note(calls.settle(Unknown("?", "?", key), now))
            case "withdraw":
                note(calls.withdrawn(key, now, "held"))
            case "expire":
                ends += [settled.item for settled in calls.expired(now)]
                assert calls.due > now
            case "drop":
                ends += [settled.item for settled in calls.dropped(now, "gone")]
                assert len(calls) == 0
            case "old":
                note(calls.settle(placed("never"), now))
        assert len(calls) + len(ends) == len(keys)
    ends += [settled.item for settled in calls.expired(now + TIME_LIMIT)]
    assert sorted(ends) == list(range(len(keys)))
