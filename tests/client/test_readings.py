"""Bars and account figures over the client: what is asked on the wire, what its answers say, and stories of both."""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from client.talk import Talk
from hypothesis import given
from hypothesis import strategies as st
from tables import ES, START

from xtalgo import AccountItems, Bar, ConfigError, History, Instrument, Strategy, StrategyError, Watermarks
from xtalgo.client.readings import call_for_read, is_sound, read
from xtalgo.engine.history import GRACE
from xtalgo.engine.periods import span_at, venue_span
from xtalgo.model.commands import BarsQuery, Figures, FiguresQuery
from xtalgo.model.events import BarsSeen, ItemsSeen, Unread, WatermarksSeen
from xtalgo.model.sessions import NEW_YORK, from_datetime, session_at
from xtalgo.model.types import MINUTE_NS, SECOND_NS
from xtalgo.protocol.checks import check_args
from xtalgo.protocol.choices import BarLabel
from xtalgo.protocol.dialect import Dialect
from xtalgo.protocol.market import BarRow
from xtalgo.protocol.replies import Answer
from xtalgo.protocol.rpc import TABLE
from xtalgo.protocol.times import parse_stamp

FIVE = 5 * MINUTE_NS


def ny(text: str) -> int:
    """An instant by what clocks in New York show."""
    return from_datetime(dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(NEW_YORK)))


def name_of(told: str) -> str | None:
    return ES if told in (ES, "ES") else told


# --- asking ----------------------------------------------------------------------------------------------------------


def asked(period: str, count: int, now: int = START) -> dict[str, Any]:
    api, args = call_for_read(BarsQuery(ES, period, count, 1), now)
    assert api == "GetBars"
    return check_args(api, args)


@pytest.mark.parametrize(
    ("period", "kind", "number"), [("1m", "minute", 1), ("5m", "minute", 5), ("4h", "minute", 240), ("1d", "day", 1)]
)
def test_periods_on_the_wire(period: str, kind: str, number: int) -> None:
    args = asked(period, 10)
    assert (args["instrument"], args["periodType"], args["period"], args["limit"]) == (ES, kind, number, 11)


@pytest.mark.parametrize("period", ["1m", "5m", "1h", "1d"])
@pytest.mark.parametrize("count", [3, 100, 1_000])
def test_it_reaches_back_far_enough_over_weekends(period: str, count: int) -> None:
    now = ny("2026-05-18 00:10")  # Monday: the session began on Sunday
    stamp = parse_stamp(asked(period, count, now)["from"])
    assert stamp is not None
    at, ends = stamp.utc, 0
    assert at is not None
    while ends < count + 1:
        at = span_at(at, venue_span(period))[1]
        ends += 1
    assert at <= now


def test_no_more_than_an_answer_holds_is_asked_for() -> None:
    assert asked("1m", 5_000)["limit"] == 5_000


def test_figures_on_the_wire() -> None:
    for about, api in ((Figures.ITEMS, "GetAccount"), (Figures.WATERMARKS, "GetWatermarks")):
        assert call_for_read(FiguresQuery(about, "Sim101", 1), START) == (api, {"account": "Sim101"})


# --- hearing ---------------------------------------------------------------------------------------------------------


def rows(*labels: int, **more: Any) -> dict[str, Any]:
    made = [
        {"epoch": at // 1_000_000, "open": 10.0, "high": 12.0, "low": 9.0, "close": 11.0, "volume": 5} | more
        for at in labels
    ]
    return {"instrument": ES, "periodType": "minute", "period": 5, "count": len(made), "bars": made}


def heard(query: Any, body: Any, label: Any = "end", api: str = "GetBars") -> Any:
    answer = TABLE[api].read(body)
    assert isinstance(answer, Answer), answer
    return read(query, answer, START, name_of, BarLabel(label))


BARS = BarsQuery(ES, "5m", 10, 1)


def test_a_label_is_a_bars_end_unless_it_is_said_to_be_its_start() -> None:
    at = ny("2026-05-13 10:05")
    (end,) = heard(BARS, rows(at)).bars
    assert (end.start, end.end) == (at - FIVE, at)
    (start,) = heard(BARS, rows(at), "start").bars
    assert (start.start, start.end) == (at, at + FIVE)
    assert (end.open, end.high, end.low, end.close, end.volume) == (10.0, 12.0, 9.0, 11.0, 5)
    assert (end.source, end.quotes, end.period, end.instrument) == ("venue", 0, "5m", ES)


def test_the_last_bar_of_a_session_is_as_long_as_the_session_leaves_it() -> None:
    query = BarsQuery(ES, "4h", 10, 1)
    body = rows(ny("2026-05-13 17:00")) | {"period": 240}
    (bar,) = heard(query, body).bars
    assert (bar.start, bar.end) == (ny("2026-05-13 14:00"), ny("2026-05-13 17:00"))
    (bar,) = heard(query, rows(ny("2026-05-13 14:00")) | {"period": 240}, "start").bars
    assert (bar.start, bar.end) == (ny("2026-05-13 14:00"), ny("2026-05-13 17:00"))


def test_other_trading_hours_than_ours_are_taken_as_told() -> None:
    at = ny("2026-05-13 10:03")
    (bar,) = heard(BARS, rows(at)).bars
    assert (bar.start, bar.end) == (at - FIVE, at)


@pytest.mark.parametrize(
    ("label", "told"),
    [
        ("end", "2026-05-13 17:00"),
        ("end", "2026-05-13 00:00"),
        ("end", "2026-05-12 18:00:00.000001"),
        ("start", "2026-05-12 18:00"),
        ("start", "2026-05-13 00:00"),
    ],
)
def test_a_daily_bar_is_its_session_whether_its_label_is_an_end_or_a_date(label: str, told: str) -> None:
    query = BarsQuery(ES, "1d", 10, 1)
    body = rows(ny(told)) | {"periodType": "day", "period": 1}
    (bar,) = heard(query, body, label).bars
    session = session_at(ny("2026-05-13 12:00"))
    assert (bar.start, bar.end) == (session.open, session.close)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"instrument": "NQ 06-26"}, "its bars are of 'NQ 06-26'"),
        ({"periodType": "day"}, "its bars are of the period type 'day'"),
        ({"period": 1}, "its bars are of the period 1"),
    ],
)
def test_bars_of_something_else_are_no_answer(body: dict[str, Any], text: str) -> None:
    event = heard(BARS, rows(START) | body)
    assert event == Unread(START, BARS, text)


def test_what_is_left_out_of_the_head_is_taken_as_asked() -> None:
    event = heard(BARS, rows(START)["bars"])  # a bare array
    assert len(event.bars) == 1


@pytest.mark.parametrize("wrong", [{"high": 8.0}, {"low": 11.5}, {"epoch": None}, {"open": 13.0}, {"epoch": -5}])
def test_a_bar_that_can_not_be_is_left_out(wrong: dict[str, Any]) -> None:
    body = rows(START, START + FIVE)
    body["bars"][0] |= wrong
    assert [bar.end for bar in heard(BARS, body).bars] == [START + FIVE]


@given(st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=4, max_size=4))
def test_only_sound_prices_pass(prices: list[float]) -> None:
    row = BarRow(open=prices[0], high=prices[1], low=prices[2], close=prices[3])
    if is_sound(row):
        assert all(row.low <= price <= row.high for price in prices)


def test_items_are_told_by_name_and_what_is_missing_is_none() -> None:
    query = FiguresQuery(Figures.ITEMS, "Sim101", 1)
    body = {"name": "sim101", "item": {"cashValue": 100_120.0, "realizedProfitLoss": 12.5, "fee": 0.0}}
    event = heard(query, body, api="GetAccount")
    assert isinstance(event, ItemsSeen)
    assert (event.items.account, event.items.cash_value, event.items.realized) == ("Sim101", 100_120.0, 12.5)
    assert event.items.buying_power is None
    assert event.items.items == {"cash_value": 100_120.0, "realized_profit_loss": 12.5, "fee": 0.0}


def test_an_account_without_items_or_another_account_is_no_answer() -> None:
    query = FiguresQuery(Figures.ITEMS, "Sim101", 1)
    assert heard(query, {"name": "Sim101"}, api="GetAccount").reason == "it has no account items"
    other = heard(query, {"name": "Sim102", "item": {"cashValue": 1.0}}, api="GetAccount")
    assert other == Unread(START, query, "it is about the account 'Sim102'")


def test_watermarks_are_told_nested_or_not_and_empty_ones_are_none() -> None:
    query = FiguresQuery(Figures.WATERMARKS, "Sim101", 1)
    inner = {
        "account": "Sim101",
        "watermarks": {"pnlhigh": 21.0, "netliqhigh": 100_210.0, "unrealhigh": 30.0},
        "stats": {"pnl": -12.5, "total": -12.5, "unrealized": -4.0, "poscount": 1, "netliq": 100_166.5},
    }
    for body in (inner, {"success": True, "data": inner}):
        event = heard(query, body, api="GetWatermarks")
        assert isinstance(event, WatermarksSeen)
        assert event.marks == Watermarks(START, "Sim101", 21.0, 100_210.0, 30.0, -12.5, -12.5, -4.0, 100_166.5, 1)
    empty = heard(query, {"account": "Sim101", "watermarks": {}, "stats": {}}, api="GetWatermarks")
    assert empty.marks == Watermarks(START, "Sim101")


# --- stories ---------------------------------------------------------------------------------------------------------


class Reader(Strategy):
    """Reads bars and figures, and keeps what it is told."""

    instrument: Instrument = ES
    wanted: int = 0
    required: bool = False
    watches: bool = False

    def warm_up(self) -> Iterable[History]:
        return [History(self.instrument, "5m", self.wanted, self.required)] if self.wanted else []

    def on_start(self) -> None:
        self.made = self.bars(self.instrument, "5m", source="venue")
        self.past = list(self.made)
        self.told: list[tuple[int, int]] = []
        self.figures: list[AccountItems | Watermarks] = []
        if self.watches:
            self.watch_account()
            self.watch_watermarks()

    def on_bar(self, bar: Bar) -> None:
        self.told.append((self.now, bar.end))
        self.order_target(self.instrument, len(self.told) % 2)

    def on_account(self, items: AccountItems) -> None:
        self.figures.append(items)

    def on_watermarks(self, marks: Watermarks) -> None:
        self.figures.append(marks)


def begun(strategy: Strategy, **limits: Any) -> Talk:
    """Connected, set up and reconciled; bars and figures are still to be answered."""
    talk = Talk(strategy, **limits)
    talk.now = BEGIN
    talk.link_up()
    talk.set_up()
    talk.answer()
    return talk


def waiting(talk: Talk, api: str) -> list[dict[str, Any]]:
    talk.said()
    return [frame for frame in talk.held if frame["api"] == api]


def after(talk: Talk, ns: int) -> None:
    """Time passes up to this moment, while lists are answered and quotes come."""
    while talk.now < ns:
        talk.to(min(5.0, (ns - talk.now) / SECOND_NS))
        talk.answer()
        talk.quote()


BEGIN = START + 2 * MINUTE_NS
E1 = START + FIVE


def test_a_run_begins_when_its_bars_have_come() -> None:
    talk = begun(Reader(wanted=3))
    assert not talk.trader.is_running
    frame = talk.take("GetBars")
    assert frame["args"]["limit"] == 3 + 2 + 1
    talk.to(7)
    assert not talk.trader.is_running
    talk.reply(frame, **rows(*(START - number * FIVE for number in (3, 2, 1, 0)), E1))
    assert talk.trader.is_running
    assert [bar.end for bar in talk.strategy.past] == [START - number * FIVE for number in (2, 1, 0)]
    assert not any("without some bars" in notice.text for notice in talk.trader.notices)


def test_bars_that_come_before_the_accounts_are_reconciled_wait() -> None:
    talk = Talk(Reader(wanted=2))
    talk.now = BEGIN
    talk.link_up()
    talk.set_up()
    talk.reply(talk.take("GetBars"), **rows(START - 2 * FIVE, START - FIVE))
    assert not talk.trader.is_running
    talk.answer()
    assert talk.trader.is_running
    assert len(talk.strategy.past) == 2


def test_a_venue_that_refuses_bars_is_asked_three_times_and_the_run_begins_and_says_so() -> None:
    talk = begun(Reader(wanted=3))
    for pause in (2, 4, 0):
        talk.error(talk.take("GetBars"), "Invalid request")
        assert talk.trader.is_running is (pause == 0)
        talk.to(pause)
    assert talk.strategy.past == []
    texts = [notice.text for notice in talk.trader.notices]
    assert "the start went without some bars: of 3 bars of ES 06-26 (5m) 0 came: Invalid request" in texts


def test_a_venue_that_is_silent_about_bars_is_waited_for_so_long() -> None:
    talk = begun(Reader(wanted=3))
    for _ in range(89):
        talk.to(0.5)
        talk.answer()
        assert not talk.trader.is_running
    assert len(waiting(talk, "GetBars")) == 3 - 1  # at once, and when the first had run out of time
    talk.to(0.5)
    assert talk.trader.is_running
    assert "0 came: no reply in 20 s" in " ".join(notice.text for notice in talk.trader.notices)


def test_a_strategy_that_requires_bars_ends_the_run_before_it_begins() -> None:
    talk = begun(Reader(wanted=3, required=True))
    talk.reply(talk.take("GetBars"), **rows(START - FIVE))
    assert isinstance(talk.trader.error, ConfigError)
    assert "of 3 bars of ES 06-26 (5m) 1 came" in str(talk.trader.error)
    assert "PlaceOrder" not in talk.apis()


def test_a_warm_up_that_raises_ends_the_run_before_it_begins() -> None:
    class Broken(Reader):
        def warm_up(self) -> Iterable[History]:
            raise ValueError("boom")

    talk = Talk(Broken())
    talk.link_up()
    talk.set_up()
    assert isinstance(talk.trader.error, StrategyError)
    assert not talk.trader.is_running


def test_a_bar_is_asked_for_after_its_end_last_of_all_and_acted_on_when_it_comes() -> None:
    talk = begun(Reader())
    after(talk, E1 + GRACE)
    frame = talk.take("GetBars")
    talk.to(0.4)
    talk.reply(frame, **rows(START, E1, E1 + FIVE))
    assert talk.strategy.told == [(talk.now, E1)]
    assert talk.take("PlaceOrder")["args"]["quantity"] == 1


def test_a_lost_reply_is_asked_again_and_a_doubled_one_says_nothing_new() -> None:
    talk = begun(Reader())
    after(talk, E1 + GRACE)
    lost = talk.take("GetBars")
    after(talk, talk.now + 22 * SECOND_NS)
    again = talk.take("GetBars")
    talk.reply(lost, **rows(E1))  # later than it was waited for
    assert talk.strategy.told == []
    talk.reply(again, **rows(E1))
    talk.reply(again, **rows(E1))
    assert [end for _, end in talk.strategy.told] == [E1]
    assert talk.trader.calls.strays == 2


def test_after_a_drop_what_was_missed_is_fetched_at_once() -> None:
    talk = begun(Reader())
    after(talk, E1 + GRACE)
    assert waiting(talk, "GetBars")
    talk.link_down()
    talk.held.clear()
    talk.to(10 * 60)
    assert waiting(talk, "GetBars") == []
    talk.link_up()
    talk.answer()
    frame = talk.take("GetBars")
    ends = [E1, E1 + FIVE, E1 + 2 * FIVE]
    assert frame["args"]["limit"] >= 4
    talk.reply(frame, **rows(*ends))
    assert [end for _, end in talk.strategy.told] == ends


def test_bars_under_another_label_are_read_by_it() -> None:
    talk = begun(Reader())
    talk.trader.dialect = Dialect(bar_label=BarLabel.START)
    after(talk, E1 + GRACE)
    talk.reply(talk.take("GetBars"), **rows(START, E1))
    assert [end for _, end in talk.strategy.told] == [E1]  # the one labelled E1 still grows


def test_bars_that_make_no_sense_are_told_of() -> None:
    talk = begun(Reader())
    after(talk, E1 + GRACE)
    body = rows(E1 - FIVE, E1, E1 + 60 * FIVE)
    body["bars"][0]["high"] = 1.0
    talk.reply(talk.take("GetBars"), **body)
    texts = " ".join(notice.text for notice in talk.trader.notices)
    assert "GetBars: 1 bars of ES 06-26 make no sense; left out" in texts
    assert "GetBars: bars of ES 06-26 begin in the future; is a clock off?" in texts
    assert [end for _, end in talk.strategy.told] == [E1]


def test_bars_under_a_wrong_label_are_noticed() -> None:
    """They are named by their start, and we take it for their end: the newest one grows, and is told too early."""
    talk = begun(Reader())
    after(talk, E1 + GRACE)
    talk.reply(talk.take("GetBars"), **rows(START, E1))
    after(talk, E1 + FIVE + GRACE)
    body = rows(START, E1, E1 + FIVE)
    body["bars"][1]["high"] = 14.0
    talk.reply(talk.take("GetBars"), **body)
    assert any("some changed after they had ended" in notice.text for notice in talk.trader.notices)


def test_figures_are_asked_for_and_told() -> None:
    talk = begun(Reader(watches=True))
    talk.reply(talk.take("GetAccount"), name="Sim101", item={"cashValue": 5.0})
    talk.reply(talk.take("GetWatermarks"), data={"account": "Sim101", "watermarks": {"pnlhigh": 7.0}, "stats": {}})
    items, marks = talk.strategy.figures
    assert (items.cash_value, marks.pnl_high) == (5.0, 7.0)
    after(talk, BEGIN + 61 * SECOND_NS)
    assert {frame["api"] for frame in talk.held} >= {"GetAccount", "GetWatermarks"}


def test_figures_of_another_account_are_told_of_and_asked_again() -> None:
    talk = begun(Reader(watches=True))
    talk.reply(talk.take("GetAccount"), name="Sim102", item={"cashValue": 5.0})
    assert talk.strategy.figures == []
    assert "GetAccount came to nothing: it is about the account 'Sim102'" in [n.text for n in talk.trader.notices]
    talk.to(2)
    assert waiting(talk, "GetAccount")


def test_the_venues_peak_reaches_the_guard() -> None:
    talk = begun(Reader(), trailing_drawdown=500.0)
    talk.hear(
        {"type": "pnlUpdate", "accounts": [{"name": "Sim101", "realizedProfitLoss": 0, "unrealizedProfitLoss": 0}]}
    )
    stats = {"pnl": 0.0, "total": 0.0, "netliq": 100_000.0}
    marks = {"pnlhigh": 600.0, "netliqhigh": 100_600.0}
    talk.reply(talk.take("GetWatermarks"), data={"account": "Sim101", "watermarks": marks, "stats": stats})
    assert [breach.account for breach in talk.engine.breaches] == ["Sim101"]
    assert any("GUARD, Sim101" in notice.text for notice in talk.trader.notices)


def test_questions_for_bars_leave_the_reserve_and_go_last() -> None:
    talk = begun(Reader())
    after(talk, E1 + GRACE - 1)
    talk.said()
    bucket = talk.trader.queue.bucket
    while bucket.level(talk.now) >= 4:
        bucket.take(talk.now)
    talk.to(1e-9)
    assert talk.apis() == []  # it is time to ask, but what is left is for orders
    talk.strategy.buy(ES, 1)
    talk.strategy.watch_account()
    talk.trader._send(talk.engine.decide(lambda: None, talk.now), talk.now)
    assert talk.apis() == ["PlaceOrder"]
    sent: list[str] = []
    for _ in range(50):
        talk.to(0.1)
        sent += [api for api in talk.apis() if not api.startswith("List")]
    assert sent == ["GetAccount", "GetBars"]


def test_at_the_end_nothing_waits_for_bars_and_none_are_asked_for() -> None:
    talk = begun(Reader())
    after(talk, E1 + GRACE)
    assert len(waiting(talk, "GetBars")) == 1
    talk.trader.stop("protect", talk.now)
    talk.answer()
    assert talk.trader.is_settled
    talk.held.clear()
    after(talk, E1 + 2 * FIVE)
    assert waiting(talk, "GetBars") == []


def test_a_drop_proves_nothing_about_orders_and_doubts_nothing() -> None:
    talk = begun(Reader(watches=True, wanted=2))
    talk.reply(talk.take("GetBars"), **rows(START - 2 * FIVE, START - FIVE))
    after(talk, E1 + GRACE)
    talk.link_down()
    assert talk.trader.health.doubts == 0
    assert talk.engine.liaison is not None
    assert talk.engine.liaison.evidence.cases == {}


BODIES = [None, 7, [], {}, {"bars": 7}, {"bars": [7, None, {}]}, {"success": False, "error": "no data"}, "x" * 1_000]


@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_an_answer_of_no_use_is_survived_and_asked_again(body: Any) -> None:
    talk = begun(Reader(watches=True), trailing_drawdown=500.0)
    for api in ("GetAccount", "GetWatermarks"):
        talk.hear(json.dumps({"id": talk.take(api)["id"], "data": body}))
    after(talk, E1 + GRACE)
    talk.hear(json.dumps({"id": talk.take("GetBars")["id"], "data": body}))
    assert talk.trader.error is None
    assert talk.strategy.told == []
    after(talk, talk.now + 6 * SECOND_NS)
    frame = talk.take("GetBars")
    talk.reply(frame, **rows(E1))
    assert [end for _, end in talk.strategy.told] == [E1]
    assert isinstance(frame["args"]["from"], str)
    assert not talk.engine.breaches


def test_bars_seen_is_a_value() -> None:
    event = heard(BARS, rows(START))
    assert isinstance(event, BarsSeen)
    assert event == heard(BARS, rows(START))
