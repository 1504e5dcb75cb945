"""The exchange as an object on an explicit clock: arrivals, replies, OCO groups, changes, cancels, expiries.

Entry latency is 250 ms and report latency 1 s unless a test says otherwise; times are in milliseconds since START,
10:00 in New York on a Wednesday. How orders fill is in test_fill_rules.py.
"""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import ES, MNQ, START

from xtalgo import ContractBook, Fees, Fill, FillModel, Latency, OrderType, Quote, Side, TimeInForce
from xtalgo.model.commands import CancelOrder, ChangeOrder, PlaceOrder
from xtalgo.model.events import CancelRefused, Changed, ChangeRefused, OrderUpdate
from xtalgo.model.sessions import from_datetime
from xtalgo.model.types import NEVER, Role, Trigger
from xtalgo.sim.exchange import SimExchange

BUY, SELL = Side.BUY, Side.SELL
MS = 1_000_000


def new_york(day: int, hour: int, minute: int = 0, second: int = 0) -> int:
    """Milliseconds from START to a New York time in May 2026 (UTC-4)."""
    moment = dt.datetime(2026, 5, day, hour, minute, second, tzinfo=dt.timezone(dt.timedelta(hours=-4)))
    return (from_datetime(moment) - START) // MS


class Venue:
    """A simulated exchange on a clock in milliseconds."""

    def __init__(self, *, entry: int = 250, report: int = 1_000, oco: Any = "cancel") -> None:
        self.last: dict[str, Quote] = {}
        self.exchange = SimExchange(
            ContractBook().contract,
            self.last.get,
            FillModel(slippage=0, oco=oco),
            Latency(entry=entry * MS, report=report * MS),
            Fees(commission=2.0),
        )

    def place(
        self,
        at: int,
        name: str,
        side: Side,
        quantity: int = 1,
        *,
        limit: float | None = None,
        stop: float | None = None,
        tif: TimeInForce = TimeInForce.GTC,
        oco: str | None = None,
        account: str = "Sim101",
        instrument: str = ES,
    ) -> None:
        kind = {
            (False, False): OrderType.MARKET,
            (True, False): OrderType.LIMIT,
            (False, True): OrderType.STOP_MARKET,
            (True, True): OrderType.STOP_LIMIT,
        }[limit is not None, stop is not None]
        order = PlaceOrder(name, account, instrument, side, kind, quantity, limit, stop, tif, oco, Role.ENTRY)
        self.exchange.submit(order, START + at * MS)

    def change(self, at: int, name: str, **values: Any) -> None:
        self.exchange.submit(ChangeOrder(name, "Sim101", **values), START + at * MS)

    def cancel(self, at: int, name: str) -> None:
        self.exchange.submit(CancelOrder(name, "Sim101"), START + at * MS)

    def advance(self, at: int) -> list[str]:
        """What can be seen by ``at`` and was not seen before, in words."""
        return [words(report) for report in self.exchange.advance(START + at * MS)]

    def quote(self, at: int, bid: float, ask: float, *, size: int | None = None, instrument: str = ES) -> list[str]:
        """A quote, after everything due; what was seen by then."""
        seen = self.advance(at)
        quote = Quote(START + at * MS, instrument, bid, ask, None, None, size, size)
        self.exchange.match(quote)
        self.last[instrument] = quote
        return seen

    def working(self, instrument: str = ES) -> list[str]:
        return [order.id for order in self.exchange.resting.get(instrument, ())]

    def due(self) -> int | None:
        return None if self.exchange.due == NEVER else (self.exchange.due - START) // MS

    def fills(self) -> list[tuple[str, int, float]]:
        return [(fill.order_id, fill.quantity, fill.price) for fill in self.exchange.executions]


def words(report: Any) -> str:
    at = (report.ts - START) // MS
    match report:
        case OrderUpdate():
            return f"{at} {report.order_id} {report.trigger}"
        case Fill():
            return f"{at} {report.order_id} fill {report.quantity} at {report.price}"
        case Changed():
            return f"{at} {report.order_id} is {report.quantity} {report.limit_price} {report.stop_price}"
        case ChangeRefused():
            return f"{at} {report.order_id} not changed"
        case CancelRefused():
            return f"{at} {report.order_id} not cancelled"
    raise AssertionError(report)


# --- time ---------------------------------------------------------------------------------------------------------


def test_a_command_arrives_after_entry_latency_and_is_answered_then() -> None:
    venue = Venue()
    assert venue.due() is None
    venue.place(0, "a", BUY, limit=4790.0)
    assert venue.due() == 250
    assert venue.advance(249) == []
    assert venue.working() == []
    assert venue.advance(250) == ["250 a accept"]
    assert venue.working() == ["a"]
    assert venue.due() is None


def test_a_fill_is_seen_after_report_latency_but_happened_before() -> None:
    venue = Venue()
    venue.place(0, "a", BUY, 3)
    assert venue.quote(600, 4800.0, 4800.25) == ["250 a accept"]
    assert venue.due() == 1_600
    (fill,) = venue.exchange.executions
    assert (fill.executed, fill.ts) == (START + 600 * MS, START + 1_600 * MS)
    assert (fill.account, fill.instrument, fill.side, fill.fee) == ("Sim101", ES, BUY, 6.0)
    assert venue.advance(1_599) == []
    assert venue.advance(1_600) == ["1600 a fill 3 at 4800.25"]
    assert venue.due() is None


def test_reports_are_seen_once_and_in_order_of_their_time() -> None:
    venue = Venue()
    venue.place(0, "a", BUY)
    venue.place(10, "b", BUY, limit=4790.0)
    assert venue.quote(255, 4800.0, 4800.25) == ["250 a accept"]
    assert venue.advance(5_000) == ["260 b accept", "1255 a fill 1 at 4800.25"]
    assert venue.advance(5_000) == []


def test_what_arrives_together_happens_in_order_of_sending() -> None:
    venue = Venue(entry=0)
    for name in "abc":
        venue.place(0, name, BUY, limit=4790.0)
    venue.cancel(0, "b")
    assert venue.advance(0) == ["0 a accept", "0 b accept", "0 c accept"]
    assert venue.working() == ["a", "c"]


def test_execution_ids_are_unique() -> None:
    venue = Venue(entry=0)
    venue.place(0, "a", BUY, 4)
    venue.place(0, "b", SELL, 4)
    for at in range(1, 5):
        venue.quote(at, 4800.0, 4800.25, size=1)
    ids = [fill.execution_id for fill in venue.exchange.executions]
    assert len(ids) == len(set(ids)) == 8


def test_what_is_still_on_its_way_when_a_recording_ends() -> None:
    """Arrivals and reports, but not the expiries of orders that merely rest."""
    venue = Venue()
    assert venue.exchange.in_flight_due() == NEVER
    venue.place(0, "a", BUY, tif=TimeInForce.DAY)
    assert venue.exchange.in_flight_due() == START + 250 * MS
    venue.advance(250)
    assert venue.exchange.in_flight_due() == NEVER
    assert venue.due() == new_york(13, 17)
    venue.quote(300, 4800.0, 4800.25)
    assert venue.exchange.in_flight_due() == START + 1_300 * MS


def test_watch_passes_quotes_on_and_stops_after_a_fill() -> None:
    venue = Venue(entry=0)
    venue.place(0, "a", BUY)
    venue.advance(0)
    quotes = [Quote(START + n * MS, name, 4800.0, 4800.25) for n, name in enumerate([MNQ, ES, ES], start=1)]
    rest = iter(quotes)
    assert list(venue.exchange.watch(rest)) == quotes[:2]
    assert list(rest) == quotes[2:]
    assert venue.fills() == [("a", 1, 4800.25)]


# --- refusals -----------------------------------------------------------------------------------------------------


def test_an_order_id_is_used_once() -> None:
    venue = Venue(entry=0)
    venue.place(0, "a", BUY)
    venue.advance(0)
    venue.place(1, "a", BUY)
    assert venue.advance(1) == ["1 a reject"]
    venue.quote(2, 4800.0, 4800.25)
    venue.place(3, "a", BUY)
    assert "3 a reject" in venue.advance(3)
    assert venue.fills() == [("a", 1, 4800.25)]


@pytest.mark.parametrize("quantity", [0, -1])
def test_a_quantity_is_positive(quantity: int) -> None:
    venue = Venue(entry=0)
    venue.place(0, "a", BUY, quantity)
    assert venue.advance(0) == ["0 a reject"]
    assert venue.working() == []


# --- cancels ------------------------------------------------------------------------------------------------------


def test_a_cancel_takes_effect_on_arrival_and_is_seen_later() -> None:
    venue = Venue()
    venue.place(0, "a", BUY, limit=4790.0)
    venue.cancel(1_000, "a")
    assert venue.quote(1_249, 4800.0, 4800.25) == ["250 a accept"]
    assert venue.quote(1_250, 4780.0, 4780.25) == []  # through the limit, but the order is gone
    assert venue.fills() == []
    assert venue.advance(2_250) == ["2250 a cancel"]


def test_a_cancel_comes_too_late_for_a_fill() -> None:
    venue = Venue()
    venue.place(0, "a", BUY)
    venue.cancel(500, "a")
    venue.quote(749, 4800.0, 4800.25)
    assert venue.fills() == [("a", 1, 4800.25)]
    assert venue.advance(5_000) == ["750 a not cancelled", "1749 a fill 1 at 4800.25"]


def test_a_partly_filled_order_is_cancelled_for_the_rest() -> None:
    venue = Venue(entry=0, report=0)
    venue.place(0, "a", BUY, 5)
    venue.quote(1, 4800.0, 4800.25, size=2)
    venue.cancel(2, "a")
    assert venue.advance(2) == ["1 a fill 2 at 4800.25", "2 a cancel"]
    venue.quote(3, 4800.0, 4800.25, size=2)
    assert venue.fills() == [("a", 2, 4800.25)]


def test_what_is_not_there_cannot_be_cancelled() -> None:
    venue = Venue()
    venue.cancel(0, "nobody")
    venue.place(0, "a", BUY, limit=4790.0)
    venue.cancel(1, "a")
    venue.cancel(2, "a")
    assert venue.advance(5_000) == ["250 nobody not cancelled", "250 a accept", "252 a not cancelled", "1251 a cancel"]


# --- changes ------------------------------------------------------------------------------------------------------


def test_a_change_of_price_takes_effect_on_arrival() -> None:
    venue = Venue()
    venue.place(0, "a", BUY, 2, limit=4790.0)
    venue.change(1_000, "a", limit_price=4795.0)
    assert venue.quote(1_249, 4794.0, 4794.25) == ["250 a accept"]
    assert venue.advance(1_250) == ["1250 a is 2 4795.0 None"]
    venue.quote(1_300, 4794.0, 4794.25)
    assert venue.fills() == [("a", 2, 4794.25)]


def test_none_leaves_a_value_as_it_is() -> None:
    venue = Venue(entry=0)
    venue.place(0, "a", BUY, 2, stop=4810.0, limit=4811.0)
    venue.change(1, "a")
    venue.change(2, "a", quantity=3)
    venue.change(3, "a", limit_price=4812.0)
    venue.change(4, "a", stop_price=4809.0)
    assert venue.advance(4)[1:] == [
        "1 a is 2 4811.0 4810.0",
        "2 a is 3 4811.0 4810.0",
        "3 a is 3 4812.0 4810.0",
        "4 a is 3 4812.0 4809.0",
    ]


def test_a_quantity_counts_the_filled_part() -> None:
    venue = Venue(entry=0, report=0)
    venue.place(0, "a", BUY, 5)
    venue.quote(1, 4800.0, 4800.25, size=2)
    venue.change(2, "a", quantity=4)
    venue.quote(3, 4800.0, 4800.25, size=9)
    assert venue.fills() == [("a", 2, 4800.25), ("a", 2, 4800.25)]
    assert venue.working() == []


@pytest.mark.parametrize("quantity", [2, 1])
def test_an_order_changed_to_what_is_filled_or_less_is_complete(quantity: int) -> None:
    venue = Venue(entry=0, report=0)
    venue.place(0, "a", BUY, 5)
    venue.quote(1, 4800.0, 4800.25, size=2)
    venue.advance(1)
    venue.change(2, "a", quantity=quantity)
    assert venue.advance(2) == ["2 a is 2 None None"]
    assert venue.working() == []
    venue.quote(3, 4800.0, 4800.25, size=2)
    assert len(venue.fills()) == 1


def test_an_order_keeps_its_place_when_it_is_changed() -> None:
    venue = Venue(entry=0)
    venue.place(0, "a", BUY, 1, limit=4790.0)
    venue.place(0, "b", BUY, 1, limit=4795.0)
    venue.quote(1, 4800.0, 4800.25)
    venue.change(2, "a", quantity=2, limit_price=4795.0)
    venue.quote(3, 4794.0, 4794.25, size=2)
    assert venue.fills()[0][:2] == ("a", 2)


def test_a_stop_cannot_be_moved_to_the_wrong_side() -> None:
    venue = Venue(entry=0)
    venue.quote(0, 4800.0, 4800.25)
    venue.place(1, "a", SELL, 2, stop=4790.0, limit=4789.0)
    venue.change(2, "a", stop_price=4800.0, limit_price=4785.0, quantity=7)
    assert venue.advance(2) == ["1 a accept", "2 a not changed"]
    venue.change(3, "a", stop_price=4799.75)
    assert venue.advance(3) == ["3 a is 2 4789.0 4799.75"]  # nothing of the refused change was kept


def test_the_stop_of_a_triggered_stop_limit_is_history() -> None:
    """Changing the limit of a triggered order must not wake its stop, on whichever side that lies by now."""
    venue = Venue(entry=0, report=0)
    venue.quote(0, 4800.0, 4800.25)
    venue.place(1, "a", SELL, stop=4799.0, limit=4799.5)
    venue.quote(2, 4799.0, 4799.25)  # triggered; the bid is below the limit
    venue.change(3, "a", stop_price=4810.0, limit_price=4799.25)  # as a new stop it would be refused
    assert venue.advance(3) == ["3 a is 1 4799.25 4799.0"]
    venue.quote(4, 4799.5, 4799.75)
    assert venue.fills() == [("a", 1, 4799.5)]


def test_a_done_order_cannot_be_changed() -> None:
    venue = Venue(entry=0)
    venue.place(0, "a", BUY)
    venue.quote(1, 4800.0, 4800.25)
    venue.change(2, "a", quantity=5)
    venue.change(3, "nobody", quantity=5)
    assert venue.advance(10) == ["2 a not changed", "3 nobody not changed"]
    venue.quote(11, 4800.0, 4800.25)
    assert len(venue.fills()) == 1


# --- OCO ----------------------------------------------------------------------------------------------------------


def group(venue: Venue, at: int = 0, quantity: int = 4, other: int = 4) -> None:
    """A target at 4805 and a stop at 4795 of the same group."""
    venue.place(at, "target", SELL, quantity, limit=4805.0, oco="g")
    venue.place(at, "stop", SELL, other, stop=4795.0, oco="g")
    venue.quote(at + 1, 4800.0, 4800.25)


@pytest.mark.parametrize("rule", ["cancel", "reduce"])
def test_a_fill_of_one_cancels_the_others(rule: str) -> None:
    venue = Venue(entry=0, report=10, oco=rule)
    group(venue)
    venue.quote(2, 4805.25, 4805.5)
    assert venue.advance(50) == ["12 target fill 4 at 4805.0", "12 stop cancel"]
    assert venue.working() == []


@pytest.mark.parametrize("rule", ["cancel", "reduce"])
def test_the_partner_cannot_fill_on_the_same_quote(rule: str) -> None:
    """Both could: a limit that the bid is through, and a sell stop that the same bid reaches."""
    venue = Venue(entry=0, report=0, oco=rule)
    venue.quote(0, 4800.0, 4800.25)
    venue.place(1, "limit", SELL, 2, limit=4790.0, oco="g")
    venue.place(1, "stop", SELL, 2, stop=4799.0, oco="g")
    venue.quote(2, 4798.0, 4798.25)
    assert venue.fills() == [("limit", 2, 4798.0)]


def test_a_partial_fill_cancels_the_others_whole() -> None:
    venue = Venue(entry=0, report=10)
    group(venue)
    venue.quote(2, 4805.25, 4805.5, size=1)
    assert venue.advance(50) == ["12 target fill 1 at 4805.0", "12 stop cancel"]
    assert venue.working() == ["target"]
    venue.quote(60, 4805.25, 4805.5, size=9)
    assert venue.fills() == [("target", 1, 4805.0), ("target", 3, 4805.0)]


def test_a_partial_fill_shrinks_the_others_by_as_much() -> None:
    venue = Venue(entry=0, report=10, oco="reduce")
    group(venue)
    venue.quote(2, 4805.25, 4805.5, size=1)
    assert venue.advance(50) == ["12 target fill 1 at 4805.0", "12 stop is 3 None 4795.0"]
    venue.quote(60, 4794.0, 4794.25, size=2)
    assert venue.advance(99) == ["70 stop fill 2 at 4794.0", "70 target is 2 4805.0 None"]
    venue.quote(100, 4805.25, 4805.5)
    # 1 + 2 + 1 of the 4 that the group stood for; then both are done.
    assert venue.fills()[-1] == ("target", 1, 4805.0)
    assert venue.advance(200) == ["110 target fill 1 at 4805.0", "110 stop cancel"]


def test_an_order_changed_to_what_is_filled_finishes_its_group() -> None:
    venue = Venue(entry=0, report=10, oco="reduce")
    group(venue)
    venue.quote(2, 4805.25, 4805.5, size=1)
    venue.change(3, "target", quantity=1)
    assert venue.advance(50)[-2:] == ["12 stop is 3 None 4795.0", "13 stop cancel"]
    assert venue.working() == []


def test_a_partner_that_shrinks_to_nothing_is_cancelled() -> None:
    venue = Venue(entry=0, report=10, oco="reduce")
    group(venue, quantity=4, other=1)
    venue.quote(2, 4805.25, 4805.5, size=2)
    assert venue.advance(50) == ["12 target fill 2 at 4805.0", "12 stop cancel"]


def test_a_cancel_of_one_cancels_the_group() -> None:
    venue = Venue(entry=0, report=10)
    group(venue)
    venue.cancel(2, "stop")
    assert venue.advance(50) == ["12 stop cancel", "12 target cancel"]


def test_a_group_is_of_one_account_and_may_span_instruments() -> None:
    venue = Venue(entry=0, report=10)
    venue.place(0, "a", BUY, limit=4790.0, oco="g")
    venue.place(0, "b", BUY, limit=25000.0, oco="g", instrument=MNQ)
    venue.place(0, "c", BUY, limit=4790.0, oco="g", account="Sim102")
    venue.place(0, "d", BUY, limit=4790.0, oco="h")
    venue.place(0, "e", BUY, limit=4790.0)
    venue.quote(1, 24999.0, 24999.25, instrument=MNQ)
    assert venue.advance(50)[-2:] == ["11 b fill 1 at 24999.25", "11 a cancel"]
    assert venue.working() == ["c", "d", "e"]


@pytest.mark.parametrize("how", ["filled", "partly filled", "cancelled", "changed to what is filled"])
def test_the_id_of_a_finished_group_cannot_be_used_again(how: str) -> None:
    venue = Venue(entry=0, report=10)
    group(venue)
    match how:
        case "filled":
            venue.quote(2, 4805.25, 4805.5)
        case "partly filled":
            venue.quote(2, 4805.25, 4805.5, size=1)
        case "cancelled":
            venue.cancel(2, "target")
        case _:
            venue.quote(2, 4805.25, 4805.5, size=1)
            venue.change(3, "target", quantity=1)
    venue.advance(50)
    venue.place(60, "again", SELL, limit=4810.0, oco="g")
    venue.place(60, "fresh", SELL, limit=4810.0, oco="g2")
    (refusal, accepted) = venue.exchange.advance(START + 60 * MS)
    assert (refusal.trigger, accepted.trigger) == (Trigger.REJECT, Trigger.ACCEPT)
    assert refusal.reason == "OCO id g belongs to a finished group"


def test_a_group_grows_while_it_is_alive() -> None:
    venue = Venue(entry=0, report=10)
    group(venue)
    venue.place(2, "late", SELL, limit=4806.0, oco="g")
    venue.quote(3, 4805.25, 4805.5)
    assert venue.advance(50)[-3:] == ["13 target fill 4 at 4805.0", "13 stop cancel", "13 late cancel"]


# --- sessions -----------------------------------------------------------------------------------------------------

CLOSE = new_york(13, 17)
"""17:00 in New York on the day of START: 7 hours later."""


def test_a_day_order_ends_with_its_session() -> None:
    assert CLOSE == 7 * 3_600_000
    venue = Venue()
    venue.place(0, "day", BUY, limit=4790.0, tif=TimeInForce.DAY)
    venue.place(0, "gtc", BUY, limit=4790.0, tif=TimeInForce.GTC)
    assert venue.advance(250) == ["250 day accept", "250 gtc accept"]
    assert venue.due() == CLOSE
    assert venue.advance(CLOSE - 1) == []
    assert venue.working() == ["day", "gtc"]
    assert venue.advance(CLOSE) == []  # it has ended, which is seen a second later
    assert venue.working() == ["gtc"]
    assert venue.advance(CLOSE + 1_000) == [f"{CLOSE + 1_000} day expire"]


def test_a_quote_of_the_closing_moment_comes_too_late() -> None:
    for at, filled in ((CLOSE - 1, 1), (CLOSE, 0)):
        venue = Venue()
        venue.place(0, "day", BUY, limit=4790.0, tif=TimeInForce.DAY)
        venue.quote(at, 4780.0, 4780.25)
        assert len(venue.fills()) == filled


def test_gtc_orders_rest_on() -> None:
    venue = Venue()
    venue.place(0, "gtc", BUY, limit=4790.0, tif=TimeInForce.GTC)
    venue.quote(1_000, 4800.0, 4800.25)
    venue.quote(new_york(18, 9), 4780.0, 4780.25)  # the next Monday
    assert venue.fills() == [("gtc", 1, 4790.0)]


@pytest.mark.parametrize(
    ("arrives", "ends"),
    [
        (new_york(13, 16, 59, 59), new_york(13, 17)),
        (new_york(13, 17), new_york(14, 17)),  # the break belongs to the session that follows
        (new_york(13, 17, 30), new_york(14, 17)),
        (new_york(13, 18), new_york(14, 17)),
        (new_york(14, 2), new_york(14, 17)),
        (new_york(15, 16, 59), new_york(15, 17)),  # Friday
        (new_york(15, 17, 1), new_york(18, 17)),  # over the weekend into Monday's session
        (new_york(17, 17, 59), new_york(18, 17)),
        (new_york(17, 18), new_york(18, 17)),
    ],
)
def test_a_day_order_belongs_to_the_session_in_which_it_arrives(arrives: int, ends: int) -> None:
    venue = Venue(entry=0, report=0)
    venue.place(arrives, "day", BUY, limit=4790.0, tif=TimeInForce.DAY)
    venue.advance(arrives)
    assert venue.due() == ends
    assert venue.advance(ends - 1) == []
    assert venue.advance(ends) == [f"{ends} day expire"]


def test_it_is_the_arrival_that_counts_not_the_sending() -> None:
    venue = Venue(entry=250, report=0)
    venue.place(CLOSE - 100, "day", BUY, limit=4790.0, tif=TimeInForce.DAY)
    assert venue.advance(CLOSE + 200) == [f"{CLOSE + 150} day accept"]
    assert venue.working() == ["day"]
    assert venue.due() == new_york(14, 17)


def test_a_done_day_order_does_not_expire() -> None:
    venue = Venue(entry=0, report=0)
    venue.place(0, "a", BUY, tif=TimeInForce.DAY)
    venue.place(0, "b", BUY, limit=4790.0, tif=TimeInForce.DAY)
    venue.quote(1, 4800.0, 4800.25)
    venue.cancel(2, "b")
    assert venue.advance(CLOSE + 5_000) == ["1 a fill 1 at 4800.25", "2 b cancel"]
    assert venue.advance(new_york(14, 18)) == []
    assert venue.due() is None


def test_expiry_comes_before_an_arrival_of_the_same_moment() -> None:
    venue = Venue(entry=0, report=0)
    venue.place(0, "day", BUY, limit=4790.0, tif=TimeInForce.DAY)
    venue.cancel(CLOSE, "day")
    assert venue.advance(CLOSE) == ["0 day accept", f"{CLOSE} day expire", f"{CLOSE} day not cancelled"]


def test_a_partly_filled_day_order_expires_for_the_rest() -> None:
    venue = Venue(entry=0, report=0)
    venue.place(0, "day", BUY, 5, tif=TimeInForce.DAY)
    venue.quote(1, 4800.0, 4800.25, size=2)
    venue.advance(CLOSE)
    venue.quote(CLOSE + 3_600_000, 4800.0, 4800.25)
    assert venue.fills() == [("day", 2, 4800.25)]


# --- whatever is asked of it --------------------------------------------------------------------------------------


@settings(max_examples=100, deadline=None)
@given(
    commands=st.lists(
        st.tuples(
            st.integers(0, 3_000),
            st.sampled_from(["place", "change", "cancel"]),
            st.integers(0, 5),
            st.sampled_from([BUY, SELL]),
            st.integers(1, 4),
            st.none() | st.integers(-6, 6),
            st.none() | st.integers(-6, 6),
            st.sampled_from([None, "g", "h"]),
        ),
        max_size=25,
    ),
    moves=st.lists(st.tuples(st.integers(-3, 3), st.integers(-1, 2), st.integers(0, 3)), min_size=5, max_size=30),
    entry=st.sampled_from([0, 250, 700]),
    report=st.sampled_from([0, 1_000]),
    oco=st.sampled_from(["cancel", "reduce"]),
)
def test_every_order_is_answered_once_and_ends_once(
    commands: list[Any], moves: list[tuple[int, int, int]], entry: int, report: int, oco: str
) -> None:
    venue = Venue(entry=entry, report=report, oco=oco)
    waiting = sorted(enumerate(commands), key=lambda item: item[1][0])
    seen: list[Any] = []
    bid = 4800.0
    for row, (move, spread, size) in enumerate(moves):
        at = row * 100
        while waiting and waiting[0][1][0] <= at:
            number, (_, kind, which, side, quantity, limit, stop, group_of) = waiting.pop(0)
            prices = {
                "limit": None if limit is None else 4800 + limit * 0.25,
                "stop": None if stop is None else 4800 + stop * 0.25,
            }
            if kind == "place":
                venue.place(at, f"o{number}", side, quantity, oco=group_of, **prices)
            elif kind == "change":
                venue.change(at, f"o{which}", quantity=quantity, limit_price=prices["limit"])
            else:
                venue.cancel(at, f"o{which}")
        seen += venue.exchange.advance(START + at * MS)
        bid += move * 0.25
        venue.quote(at, bid, bid + spread * 0.25, size=size)
        for order in venue.exchange.resting.get(ES, ()):
            assert 0 <= order.filled < order.quantity
    seen += venue.exchange.advance(START + 60_000 * MS)

    stamps = [report.ts for report in seen]
    assert stamps == sorted(stamps)
    told = sum(report.quantity for report in seen if isinstance(report, Fill))
    assert told == sum(fill.quantity for fill in venue.exchange.executions)
    endings = (Trigger.REJECT, Trigger.CANCEL, Trigger.EXPIRE)
    for name in {report.order_id for report in seen}:
        updates = [one.trigger for one in seen if isinstance(one, OrderUpdate) and one.order_id == name]
        answers = [one for one in updates if one in (Trigger.ACCEPT, Trigger.REJECT)]
        assert len(answers) <= 1
        assert sum(one in endings for one in updates) <= 1
        if name in venue.working():
            assert updates == [Trigger.ACCEPT]
