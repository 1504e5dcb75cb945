"""GetBars on the server: bars of what was quoted, and of the past of a synthetic market."""

from __future__ import annotations

import datetime as dt
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import BOOK, Client, at
from tables import ES, MNQ, SECOND, START, table

from xtalgo import QuoteTable
from xtalgo.model.sessions import from_datetime, session_at
from xtalgo.model.types import DAY_NS, MINUTE_NS, NEVER, SECOND_NS
from xtalgo.protocol.replies import Answer, read_bars
from xtalgo.sim.feeds import PLAYBACK, SIMULATED, SyntheticFeed, TableFeed
from xtalgo.sim.history import BarRules, MinuteLog, Minutes, bars_of
from xtalgo.sim.recordedbars import SLACK

ROW = ("open", "high", "low", "close", "volume")


def utc(*when: int) -> int:
    return from_datetime(dt.datetime(*when, tzinfo=dt.UTC))  # type: ignore[misc]


def bars(client: Client, seconds: float, **args: Any) -> list[Any]:
    body = client.call(seconds, "GetBars", **{"instrument": "ES", **args})
    found = read_bars(body)
    assert isinstance(found, Answer)
    assert found.faults == ()
    return list(body["bars"])


def minutes(start: int, closes: list[float]) -> Minutes:
    price = np.asarray(closes, dtype=np.float64)
    stamps = start + np.arange(len(closes), dtype=np.int64) * MINUTE_NS
    return Minutes(stamps, price, price, price, price, np.ones(len(closes), dtype=np.int64))


# --- of a recording --------------------------------------------------------------------------------------------------


def test_minutes_of_a_recording_as_far_as_it_was_shown():
    prices = [100 + (row % 60) * 0.25 for row in range(150)]
    client = Client(prices)
    assert bars(client, 30) == []  # the first minute is under way
    (first,) = bars(client, 60.1)
    assert (first["time"], first["epoch"]) == ("2026-05-13T14:01:00.0000000Z", at(60) // 1_000_000)
    assert [first[name] for name in ROW] == [100.0, 114.75, 100.0, 114.75, 59]
    rows = bars(client, 200, period=1)
    assert [row["time"][11:16] for row in rows] == ["14:01", "14:02", "14:03"]
    assert [rows[2][name] for name in ROW] == [100.0, 107.25, 100.0, 107.25, 30]
    body = client.call(201, "GetBars", instrument="es", period=2, periodType="Minute")
    assert (body["instrument"], body["periodType"], body["period"], body["count"]) == (ES, "minute", 2, 1)
    assert [body["bars"][0][name] for name in ROW] == [100.0, 114.75, 100.0, 114.75, 119]
    assert "success" not in body


def test_the_bar_under_way_and_the_other_label_are_one_switch_each():
    client = Client([100.0 + row // 60 for row in range(150)])
    client.server.venue.bar_rules = BarRules(label="start", growing=True)
    rows = bars(client, 130)
    assert [(row["time"][11:16], row["close"]) for row in rows] == [
        ("14:00", 100.0),
        ("14:01", 101.0),
        ("14:02", 102.0),
    ]
    client.server.venue.bar_rules = BarRules(growing=True)
    rows = bars(client, 131)
    assert [row["time"][11:16] for row in rows] == ["14:01", "14:02", "14:03"]
    assert bars(client, 132, to="2026-05-13T14:01:30Z")[-1]["time"][11:16] == "14:01"


def test_bars_are_asked_for_by_label_and_the_newest_are_kept():
    client = Client([100.0 + row // 60 for row in range(600)])
    client.run(600)
    close = [row["close"] for row in bars(client, 601, **{"from": "2026-05-13T14:03:00Z", "to": "2026-05-13T14:05Z"})]
    assert close == [102.0, 103.0, 104.0]
    assert [row["close"] for row in bars(client, 602, limit=2)] == [108.0, 109.0]
    assert len(bars(client, 603, **{"from": "2026-05-13 14:03", "daysBack": 9})) == 8
    no = client.call(604, "GetBars", instrument="ES", **{"from": "2026-05-13T14:05:00Z", "to": "2026-05-13T14:03:00Z"})
    assert (no["success"], no["error"]) == (False, "Invalid request")
    assert client.call(605, "GetBars", instrument="NOPE")["detail"] == "unknown instrument 'NOPE'"
    assert "minute, day" in client.call(606, "GetBars", instrument="ES", periodType="tick")["error"]


def test_a_recording_without_last_prices_has_mids_and_one_without_volume_has_none():
    stamps = [START + k * SECOND for k in range(3)]
    quotes = QuoteTable.from_rows((ES, MNQ), [0, 1, 0], stamps, [100.0, 200.0, 101.0], [100.5, 201.0, 101.5])
    client = Client(quotes)
    (row,) = bars(client, 70)
    assert [row[name] for name in ROW] == [100.25, 101.25, 100.25, 101.25, 0]
    (row,) = bars(client, 71, instrument="MNQ")
    assert row["close"] == 200.5


def test_volume_begins_anew_with_a_session():
    close = session_at(START).close
    stamps = [close - 60 * SECOND, close - SECOND, close + 3_600 * SECOND, close + 3_601 * SECOND]
    quotes = QuoteTable.from_rows((ES,), [0] * 4, stamps, [1e3] * 4, [1001.0] * 4, [1e3] * 4, [50, 57, 3, 10])
    client = Client(quotes)
    rows = bars(client, (close - START) / SECOND + 4_000)
    assert [row["volume"] for row in rows] == [7, 10]


def test_a_recording_played_faster_has_bars_on_the_clock_on_which_it_was_shown():
    feed = TableFeed(table([100.0 + row // 600 for row in range(2_400)]), BOOK, start=at(30), speed=10)
    client = Client(feed=feed)
    client.run(300)
    rows = bars(client, 300)
    assert [(row["time"][11:16], row["open"], row["close"]) for row in rows] == [
        ("14:02", 100.0, 101.0), ("14:03", 101.0, 102.0), ("14:04", 102.0, 103.0), ("14:05", 103.0, 103.0),
    ]  # fmt: skip


def test_a_bar_that_began_before_the_recording_is_none():
    """Nobody knows how it began, and NinjaTrader's are whole."""
    begin = {gap: table([100.0] * 400, start=START + gap * SECOND) for gap in (0, 2, 3)}
    shown = {gap: [row["time"][11:16] for row in bars(Client(quotes), 200)] for gap, quotes in begin.items()}
    assert shown == {0: ["14:01", "14:02", "14:03"], 2: ["14:01", "14:02", "14:03"], 3: ["14:02", "14:03"]}
    assert bars(Client(begin[3]), 200, periodType="day") == []


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.integers(380, 420), st.integers(0, 50)), min_size=2, max_size=60), st.integers(1, 7))
def test_bars_are_what_the_quotes_say(rows: list[tuple[int, int]], period: int):
    """Against a loop over the quotes, and a log that was written as they came."""
    stamps = np.cumsum([gap * SECOND for _, gap in rows]) + START
    prices = [price / 4 for price, _ in rows]
    volume = list(range(0, 3 * len(rows), 3))
    quotes = QuoteTable.from_rows((ES,), [0] * len(rows), stamps, prices, [p + 0.25 for p in prices], prices, volume)
    client = Client(quotes)
    log = MinuteLog()
    for quote in quotes.quotes(0, len(quotes)):
        log.take(quote)
    expected: dict[int, list[float]] = {}
    span = period * MINUTE_NS
    opened = session_at(START).open
    for k, (stamp, price) in enumerate(zip(stamps.tolist(), prices, strict=True)):
        end = opened + ((stamp - opened) // span + 1) * span
        row = expected.setdefault(end // 1_000_000, [price, price, price, price, 0])
        row[1:4] = [max(row[1], price), min(row[2], price), price]
        row[4] += 3 if k else 0
    shown = dict(expected)
    if (int(stamps[0]) - opened) % span > SLACK:
        del shown[min(shown)]  # it began before the recording
    found = bars(client, (int(stamps[-1]) - START) / SECOND + 3_600, period=period)
    assert {row["epoch"]: [row[name] for name in ROW] for row in found} == shown
    logged = bars_of(log.minutes(), "minute", period, BarRules(), int(stamps[-1]) + DAY_NS)
    assert dict(zip((logged.label // 1_000_000).tolist(), logged.close.tolist(), strict=True)) == {
        end: row[3] for end, row in expected.items()
    }


# --- longer bars -----------------------------------------------------------------------------------------------------


def test_days_weeks_months_and_years_are_of_sessions():
    opened = session_at(utc(2026, 4, 29, 12)).open  # Wednesday's, on Tuesday evening
    parts = [minutes(session_at(opened + day * DAY_NS).open, [100.0 + day, 200.0 + day]) for day in (0, 1, 2, 5, 6)]
    whole = Minutes.joined(parts)
    now = utc(2027, 1, 5)

    def ends(kind: Any, period: int = 1) -> list[tuple[str, float, float]]:
        found = bars_of(whole, kind, period, BarRules(), now)
        stamps = [dt.datetime.fromtimestamp(end // SECOND_NS, dt.UTC) for end in found.label.tolist()]
        return [(f"{stamp:%m-%d %H}", o, c) for stamp, o, c in zip(stamps, found.open, found.close, strict=True)]

    assert ends("day") == [
        ("04-29 21", 100.0, 200.0), ("04-30 21", 101.0, 201.0), ("05-01 21", 102.0, 202.0),
        ("05-04 21", 105.0, 205.0), ("05-05 21", 106.0, 206.0),
    ]  # fmt: skip
    assert ends("week") == [("05-01 21", 100.0, 202.0), ("05-08 21", 105.0, 206.0)]
    assert ends("month") == [("04-30 21", 100.0, 201.0), ("05-29 21", 102.0, 206.0)]
    assert ends("year") == [("12-31 22", 100.0, 206.0)]
    assert [row[1:] for row in ends("month", 2)] == [(100.0, 201.0), (102.0, 206.0)]  # March and April, May and June
    assert sum(1 for _ in ends("day", 3)) in (2, 3)
    starts = bars_of(whole, "week", 1, BarRules(label="start"), now).label.tolist()
    assert starts[1] == session_at(utc(2026, 5, 4, 12)).open
    assert len(bars_of(whole, "day", 1, BarRules(), utc(2026, 5, 4, 20))) == 3
    assert len(bars_of(whole, "day", 1, BarRules(growing=True), utc(2026, 5, 4, 20))) == 5


def test_no_bar_of_minutes_goes_beyond_the_sessions_close():
    session = session_at(START)
    found = bars_of(minutes(session.close - 3 * MINUTE_NS, [1.0, 2.0, 3.0]), "minute", 420, BarRules(), START + DAY_NS)
    assert found.label.tolist() == [session.close]
    assert bars_of(minutes(START, []), "minute", 1, BarRules(), START).label.tolist() == []


# --- of a synthetic market -------------------------------------------------------------------------------------------


def synthetic(start: int = START, seed: int = 5, **options: Any) -> Client:
    client = Client(feed=SyntheticFeed(seed, BOOK, start, **options), connect=False)
    client.connect((start - START) / SECOND)
    return client


def test_the_session_before_the_start_is_the_markets_own_and_joins_what_is_quoted():
    client = synthetic()
    early = Client(feed=SyntheticFeed(5, BOOK, session_at(START).open), connect=False)
    early.connect(-16 * 3_600)
    rows = bars(client, 1, limit=30)
    assert rows[-1]["epoch"] == START // 1_000_000
    # The same seed and day, quoted from the session's open: what was shown then is what is told now.
    early.call(-16 * 3_600 + 1, "GetQuote", instrument="ES")
    early.run(2)
    shown = bars(early, 3, limit=30)
    assert [(row["epoch"], row["close"], row["high"], row["volume"]) for row in rows[-5:]] == [
        (row["epoch"], row["close"], row["high"], row["volume"]) for row in shown[-5:]
    ]
    quote = client.call(4, "GetQuote", instrument="ES")
    assert abs(rows[-1]["close"] - quote["last"]) < 5
    assert sum(row["volume"] for row in bars(client, 5, **{"from": "2026-05-12T22:00:30Z"})) <= quote["volume"]


def test_earlier_sessions_join_the_open_and_go_back_for_two_years():
    client = synthetic()
    rows = bars(client, 1, daysBack=20, limit=100_000)
    assert len({session_at(row["epoch"] * 1_000_000 - 1).day for row in rows}) >= 10
    sessions: dict[dt.date, list[Any]] = {}
    for row in rows:
        sessions.setdefault(session_at(row["epoch"] * 1_000_000 - 1).day, []).append(row)
    assert all(len(each) == 1_380 for each in list(sessions.values())[1:-1])
    before, first = list(sessions.values())[-2:]
    assert abs(before[-1]["close"] - first[0]["open"]) <= 4 * 0.25
    for row in rows:
        assert row["low"] <= min(row["open"], row["close"]) <= max(row["open"], row["close"]) <= row["high"]
        assert row["volume"] >= 0
        assert all(BOOK.contract(ES).round(row[name]) == row[name] for name in ROW[:4])
    steps = [abs(one["close"] - other["open"]) / one["close"] for one, other in pairwise(rows)]
    assert max(steps) < 0.03  # gaps of weekends included
    days = bars(client, 2, periodType="day", daysBack=900)
    assert len(days) == 520
    closes = np.log([day["close"] for day in days])
    assert 0.003 < np.diff(closes).std() < 0.03
    # A day's bar is that of its minutes.
    assert days[-1]["close"] == before[-1]["close"]
    assert days[-1]["high"] == max(row["high"] for row in before)
    assert len(bars(client, 3, periodType="week", daysBack=365)) in (51, 52, 53)
    assert len(bars(client, 4, periodType="month", daysBack=365)) in (11, 12)


def test_the_past_is_its_seeds_and_instruments_of_one_path_share_it():
    one, same, other = (synthetic(seed=seed) for seed in (5, 5, 6))
    rows = bars(one, 1, limit=3_000, daysBack=5)
    bars(same, 1, instrument="MNQ", periodType="day", daysBack=99)
    assert bars(same, 2, limit=3_000, daysBack=5)[-2_500:] == rows[-2_500:]
    assert bars(other, 1, limit=3_000, daysBack=5)[-2_500:] != rows[-2_500:]
    micro = bars(one, 3, instrument="MES", periodType="day", daysBack=9)
    assert [row["close"] for row in micro] == [row["close"] for row in bars(one, 4, periodType="day", daysBack=9)]


def test_a_market_without_closing_hours_on_a_sunday_has_fridays_bars_before_it():
    sunday = utc(2026, 5, 17, 12)
    client = synthetic(sunday, always_open=True)
    seconds = (sunday - START) / SECOND
    assert bars(client, seconds + 1, daysBack=1) == []
    rows = bars(client, seconds + 200, daysBack=3, limit=10)
    times = [row["time"][5:16] for row in rows]
    assert times == [*(f"05-15T20:{minute}" for minute in range(54, 60)), "05-15T21:00",
                     "05-17T12:01", "05-17T12:02", "05-17T12:03"]  # fmt: skip
    assert abs(rows[6]["close"] - rows[7]["open"]) <= 4 * 0.25
    assert bars(client, seconds + 201, periodType="day", daysBack=3)[-1]["time"] == "2026-05-15T21:00:00.0000000Z"


def test_an_instrument_that_is_wanted_late_has_the_minutes_before_it_too():
    early, late = synthetic(), synthetic()
    early.call(1, "GetQuote", instrument="ES")
    late.call(1, "GetQuote", instrument="MNQ")
    late.run(300.5)
    early.run(300.5)
    args = {"from": "2026-05-13T13:50:00Z"}
    assert [row["close"] for row in bars(late, 301, **args)] == [row["close"] for row in bars(early, 301, **args)]


def test_the_bars_of_a_market_that_goes_on_over_nights_are_whole():
    friday = session_at(utc(2026, 5, 15, 12)).close - 90 * SECOND_NS
    client = synthetic(friday, always_open=True)
    seconds = (friday - START) / SECOND
    client.call(seconds + 1, "GetQuote", instrument="ES")
    client.run(seconds + 400)
    rows = bars(client, seconds + 400, limit=6)
    assert [row["time"][11:16] for row in rows] == ["21:00", "21:01", "21:02", "21:03", "21:04", "21:05"]


def test_quotes_are_those_that_they_were_before_there_were_bars():
    feed = SyntheticFeed(5, BOOK, START)
    feed.want(ES)
    plain = [feed.next() for _ in range(50)]
    asked = []
    feed = SyntheticFeed(5, BOOK, START)
    feed.want(ES)
    for _ in range(50):
        feed.minutes(ES, START - 9 * DAY_NS)
        asked.append(feed.next())
    assert plain == asked
    assert len(feed.minutes(MNQ, 0)) == 0


def test_a_feed_without_a_past_has_no_bars():
    class Bare:
        due = NEVER

        def next(self) -> Any:
            raise AssertionError

        def knows(self, text: str) -> str | None:
            return ES

        def want(self, name: str) -> None:
            pass

    client = Client(feed=Bare())
    assert bars(client, 1) == []
    assert client.call(2, "GetQuote", instrument="ES")["dataSource"]["connectedFeeds"] == [SIMULATED]


# --- where quotes come from ------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("feed", "said"),
    [
        (TableFeed(table([100.0] * 9), BOOK, synthetic=False), PLAYBACK),
        (TableFeed(table([100.0] * 9), BOOK, synthetic=True), SIMULATED),
        (TableFeed(table([100.0] * 9), BOOK), SIMULATED),
        (SyntheticFeed(1, BOOK, START), SIMULATED),
    ],
)
def test_get_quote_tells_where_its_quotes_come_from(feed: Any, said: str):
    client = Client(feed=feed)
    assert client.call(1, "GetQuote", instrument="ES")["dataSource"] == {"status": "Live", "connectedFeeds": [said]}
