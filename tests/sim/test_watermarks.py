"""GetWatermarks on the server: the day's highs as quotes and fills move them."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import Client
from tables import ES, MNQ, SECOND, START, table

from xtalgo import QuoteTable
from xtalgo.model.sessions import session_at

NOTHING = {"watermarks": {}, "stats": {}}


def told(client: Client, seconds: float, account: str = "Sim101") -> Any:
    body = client.call(seconds, "GetWatermarks", account=account)
    assert body["success"] is True
    assert body["data"].pop("account") == "Sim101"
    return body["data"]


def test_before_the_first_fill_there_is_nothing():
    client = Client()
    assert told(client, 1.1, "SIM101") == NOTHING
    client.place(2.1, "BUY", "LIMIT", limitPrice=90.0)
    assert told(client, 3.1) == NOTHING


def test_highs_of_a_round_trip_by_hand():
    # Bought at 100.25 for 50 dollars a point and 2 dollars a side; the last goes to 104, 102, and it is sold at 101.
    client = Client([100, 100, 104, 102, 101, 101, 101], fee=2.0)
    client.place(0.1)
    data = told(client, 1.1)
    assert data["watermarks"] == {"pnlhigh": -14.5, "netliqhigh": 99_985.5, "unrealhigh": -12.5}
    data = told(client, 3.1)
    assert data["watermarks"] == {"pnlhigh": 185.5, "netliqhigh": 100_185.5, "unrealhigh": 187.5}
    assert data["stats"] == {
        "pnl": 85.5, "total": 85.5, "unrealized": 87.5, "poscount": 1, "netliq": 100_085.5, **data["watermarks"]
    }  # fmt: skip
    client.place(3.5, "SELL")
    data = told(client, 5.1)
    assert data["watermarks"] == {"pnlhigh": 185.5, "netliqhigh": 100_185.5, "unrealhigh": 187.5}
    assert (data["stats"]["pnl"], data["stats"]["unrealized"], data["stats"]["poscount"]) == (33.5, 0.0, 0)


def test_an_instrument_without_last_prices_is_marked_at_the_side_that_closes():
    quotes = QuoteTable.from_rows((ES,), [0] * 4, [START + k * SECOND for k in range(4)],
                                  [100.0, 100.0, 103.0, 101.0], [100.25, 100.25, 103.25, 101.25])  # fmt: skip
    client = Client(quotes)
    client.place(0.1, "SELL")
    assert told(client, 1.1)["watermarks"]["unrealhigh"] == -12.5
    assert told(client, 3.1)["stats"]["unrealized"] == -62.5


def test_they_are_answered_while_the_add_on_is_away_and_go_on_moving():
    client = Client([100, 100, 100, 104, 104], faults={"addon_offline": [[2, 10]]})
    client.place(0.1)
    assert told(client, 3.1)["watermarks"]["unrealhigh"] == 187.5
    assert "not connected" in client.call(4, "GetAccount", account="Sim101")["error"]
    assert client.call(4.5, "GetWatermarks", account="nobody")["error"] == "invalid_account"
    assert client.rest(5, "GET", "/v1/api/accounts/Sim101/watermarks").status == 200


@pytest.mark.parametrize("still_open", [True, False])
def test_the_next_session_begins_anew_at_six_in_the_evening(still_open: bool):
    close = session_at(START).close
    stamps = [close - 30 * SECOND + k * SECOND for k in range(30)] + [
        close + 3_600 * SECOND + k * SECOND for k in range(9)
    ]
    bids = [100.0] * 5 + [110.0] * 5 + [104.0] * 20 + [104.0] * 3 + [106.0, 105.0] + [105.0] * 4
    client = Client(
        QuoteTable.from_rows((ES,), [0] * 39, stamps, bids, [bid + 0.25 for bid in bids], bids), connect=False
    )
    begin = (close - START) / SECOND - 30
    client.connect(begin)
    client.place(begin + 0.1)
    if not still_open:
        client.place(begin + 15.1, "SELL")
    assert told(client, begin + 20)["watermarks"]["unrealhigh"] == 487.5
    evening = begin + 30 + 3_600
    assert told(client, evening - 10)["watermarks"]["unrealhigh"] == 487.5  # the break belongs to the old session
    if still_open:
        assert told(client, evening + 0.5)["watermarks"]["unrealhigh"] == 187.5
        data = told(client, evening + 5.5)
        assert data["watermarks"] == {"pnlhigh": 287.5, "netliqhigh": 100_287.5, "unrealhigh": 287.5}
        assert data["stats"]["pnl"] == 237.5
    else:
        assert told(client, evening + 0.5) == NOTHING
        client.place(evening + 1.1, "SELL")
        data = told(client, evening + 2.2)
        assert data["watermarks"]["unrealhigh"] == 0.0
        assert data["stats"]["netliq"] == 100_187.5


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.tuples(st.integers(380, 420), st.integers(780, 820), st.booleans()), min_size=30, max_size=30),
    st.lists(
        st.tuples(
            st.integers(1, 27), st.sampled_from(["BUY", "SELL"]), st.sampled_from(["ES", "MNQ"]), st.integers(1, 3)
        ),
        max_size=8,
    ),
)
def test_highs_are_the_highest_of_all_moments(
    moves: list[tuple[int, int, bool]], trades: list[tuple[int, str, str, int]]
):
    """Against GetAccount's own figures after every quote."""
    stamps = [START + row // 2 * SECOND for row in range(60)]
    bids = [price / 4 for es, mnq, _ in moves for price in (es, mnq)]
    lasts = [
        bid if tells else float("nan") for bid, tells in zip(bids, [t for _, _, t in moves for _ in "ab"], strict=True)
    ]
    quotes = QuoteTable.from_rows((ES, MNQ), [0, 1] * 30, stamps, bids, [bid + 0.25 for bid in bids], lasts)
    client = Client(quotes, fee=0.85)
    venue = client.server.venue
    highs: dict[str, float] = {}
    for second in range(1, 31):
        for when, action, instrument, quantity in sorted(trades):
            if when == second - 1:
                args = {"account": "Sim101", "orderType": "MARKET", "timeInForce": "GTC", "quantity": quantity}
                client.rpc(second - 0.5, "PlaceOrder", instrument=instrument, action=action, **args)
        client.run(second + 0.1)
        if venue.executions:
            money = venue.figures("Sim101")
            now = {"pnlhigh": money.realized + money.unrealized, "netliqhigh": money.net_liquidation}
            for key, value in {**now, "unrealhigh": money.unrealized}.items():
                highs[key] = max(highs.get(key, value), value)
    found = told(client, 31)["watermarks"]
    assert found.keys() == highs.keys()
    for key, value in found.items():
        # Two quotes of one frame are two moments, so that a high between them may be higher still.
        assert value >= highs[key] - 1e-6
    if len({instrument for _, _, instrument, _ in trades}) == 1:
        assert found == pytest.approx(highs, abs=1e-6)


def test_an_instrument_that_nobody_holds_any_more_is_not_watched():
    client = Client(table([100.0] * 20))
    client.place(0.1)
    client.run(2)
    assert list(client.server.venue.watermarks.held) == [ES]
    client.place(2.1, "SELL")
    client.run(4)
    assert client.server.venue.watermarks.held == {}
