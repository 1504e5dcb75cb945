"""``xtalgo rpc --accounts``: one call for several accounts, as command lines against a server in this process."""

from __future__ import annotations

import json

import httpx
import pytest
from app.place import Place, Terminal
from app.support import Xtalgo
from tables import START

ORDER = ("instrument=ES", "action=BUY", "orderType=MARKET", "quantity=2", "timeInForce=DAY")
BOTH = ("--accounts", "Sim101,sim102")


def later(place: Place) -> None:
    place.server.advance(START + 60 * 10**9)


def test_one_order_for_two_accounts(place: Place, xtalgo: Xtalgo) -> None:
    done = xtalgo("rpc", "PlaceOrder", *ORDER, *BOTH, "--yes")
    assert done.code == 0, done.err
    assert done.out.splitlines() == ["Sim101: done", "Sim102: done"]
    assert "PlaceOrder for 2 accounts: 2 requests" in done.err
    later(place)
    assert place.open("Sim101") == place.open("Sim102") == (2, 0)


def test_what_reduces_goes_first_and_the_largest_before_the_others(place: Place, xtalgo: Xtalgo) -> None:
    place.order("Sim101", quantity=1)
    place.order("Sim102", quantity=4)
    place.settle()
    done = xtalgo("rpc", "ClosePosition", "instrument=ES", *BOTH, "--yes", "--json")
    assert done.code == 0, done.err
    assert [json.loads(line)["account"] for line in done.out.splitlines()] == ["Sim102", "Sim101"]
    later(place)
    assert place.open("Sim101") == place.open("Sim102") == (0, 0)


@pytest.mark.parametrize(("typed", "sent"), [("y\n", 2), ("n\n", 0)])
def test_order_and_cost_are_shown_before(
    place: Place, xtalgo: Xtalgo, monkeypatch: pytest.MonkeyPatch, typed: str, sent: int
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    done = xtalgo("rpc", "PlaceOrder", *ORDER, *BOTH)
    shown = done.err.partition("Send it? [y/N] ")[0]
    assert "PlaceOrder for 2 accounts: 2 requests" in shown
    assert "opens, to 2 contracts" in shown
    assert done.code == (0 if sent else 2)
    assert len(place.mutations) == sent


def test_without_a_terminal_it_needs_a_word(place: Place, xtalgo: Xtalgo) -> None:
    assert "give --yes" in xtalgo("rpc", "PlaceOrder", *ORDER, *BOTH).error
    assert place.requests == []


def test_partial_success_is_told(place: Place, xtalgo: Xtalgo) -> None:
    place.order("Sim102", quantity=3)
    place.settle()
    done = xtalgo("rpc", "PlaceOrder", *ORDER, "requireMarketPosition=flat", *BOTH, "--yes")
    assert done.code == 2
    assert "Sim101: done" in done.out
    assert "Sim102: refused: PlaceOrder: requireMarketPosition is flat, the position is long" in done.out
    assert "PlaceOrder for 2 accounts: 1 done, 1 refused" in done.err
    assert len(place.mutations) == 2


def test_what_may_have_been_carried_out_is_told_and_not_sent_again(
    place: Place, xtalgo: Xtalgo, monkeypatch: pytest.MonkeyPatch
) -> None:
    handle = place.handle

    async def lossy(request: httpx.Request) -> httpx.Response:
        place.storm(lose_reply=1.0 if request.method == "POST" and not place.mutations else 0.0)
        return await handle(request)

    monkeypatch.setattr(place, "handle", lossy)
    done = xtalgo("rpc", "PlaceOrder", *ORDER, *BOTH, "--yes")
    assert done.code == 9
    assert [line.partition(" (")[0] for line in done.out.splitlines()] == [
        "Sim101: unknown: PlaceOrder: Gateway timeout",
        "Sim102: done",
    ]
    assert "may have been carried out, look before you repeat it: Sim101" in done.err
    assert len(place.mutations) == 2
    later(place)
    assert place.open("Sim101") == (2, 0), "it was carried out"


def test_what_reduces_is_not_held_up_by_lists_that_fail(
    place: Place, xtalgo: Xtalgo, monkeypatch: pytest.MonkeyPatch
) -> None:
    place.order("Sim102", quantity=3)
    place.settle()
    handle = place.handle

    async def lossy(request: httpx.Request) -> httpx.Response:
        place.storm(lose_reply=1.0 if request.method == "GET" else 0.0)
        return await handle(request)

    monkeypatch.setattr(place, "handle", lossy)
    assert xtalgo("rpc", "PlaceOrder", *ORDER, *BOTH, "--yes").code == 7
    assert place.mutations == []
    done = xtalgo("rpc", "Flatten", *BOTH, "--yes")
    assert done.code == 0
    assert "warning: the order is that of naming" in done.err
    later(place)
    assert place.open("Sim102") == (0, 0)


def test_reads_are_shown_by_account(place: Place, xtalgo: Xtalgo) -> None:
    place.order("Sim102", quantity=3)
    place.settle()
    done = xtalgo("rpc", "ListPositions", *BOTH)
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[:3] == ["Sim101: done", "nothing", "sim102: done"]
    assert any("ES 06-26" in line for line in lines)


def test_over_the_socket(place: Place, xtalgo: Xtalgo) -> None:
    done = xtalgo("rpc", "PlaceOrder", *ORDER, *BOTH, "--yes", "--ws")
    assert done.code == 0, done.err
    assert [api for api, _ in place.calls] == ["PlaceOrder"] * 2


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (("PlaceOrder", "account=Sim101", *ORDER, *BOTH), "leave out account"),
        (("PlaceOrder", *ORDER, "orderId=x", *BOTH), "orderId is one account's"),
        (("MarketInfo", *BOTH), "it acts on no account"),
        (("FlattenEverything", *BOTH, "--everything"), "acts on"),
        (("PlaceOrder", *ORDER, "--accounts", "Sim101,SIM101"), "twice"),
        (("PlaceOrder", *ORDER, "--accounts", "Sim101,"), "--accounts is empty"),
        (("PlaceOrder", "instrument=ES", *BOTH), "action is missing"),
    ],
)
def test_what_cant_be_right_never_leaves(place: Place, xtalgo: Xtalgo, words: tuple[str, ...], match: str) -> None:
    done = xtalgo("rpc", *words, "--yes")
    assert done.code == 2
    assert match in done.err
    assert place.requests == []


def test_an_account_that_is_not_there_stops_all(place: Place, xtalgo: Xtalgo) -> None:
    done = xtalgo("rpc", "PlaceOrder", *ORDER, "--accounts", "Sim101,Nobody", "--yes")
    assert done.code == 2
    assert "there is no account 'Nobody'" in done.err
    assert place.mutations == []
