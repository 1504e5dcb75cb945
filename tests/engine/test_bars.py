"""Bars: aligned to the session, finished on time, none where nothing was told."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from itertools import groupby
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import ES, MNQ, SECOND, START, table

from xtalgo import Bar, Bars, ContractBook, Instrument, Quote, ReplaySettings, Strategy, StrategyError, replay
from xtalgo.engine.bars import BarBuilder, Basis
from xtalgo.engine.engine import Engine
from xtalgo.engine.periods import parse_period
from xtalgo.model.events import Tick
from xtalgo.model.sessions import NEW_YORK, from_datetime, session_at
from xtalgo.model.types import HOUR_NS, MINUTE_NS

OPEN = session_at(START).open
CLOSE = session_at(START).close


def ny(text: str) -> int:
    """An instant by what clocks in New York show."""
    return from_datetime(dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(NEW_YORK)))


def quote(ts: int, last: float | None, volume: int | None = None, *, instrument: str = ES) -> Quote:
    bid = 4800.0 if last is None else last
    return Quote(ts, instrument, bid, bid + 0.25, last, volume)


class Watcher(Strategy):
    """Asks for bars and writes down what it is told, and when."""

    instrument: Instrument = ES
    period: str = "1m"
    basis: str = "last"

    def on_start(self) -> None:
        self.made: Bars = self.bars(self.instrument, self.period, basis=self.basis)  # type: ignore[arg-type]
        self.told: list[Bar] = []
        self.log: list[tuple[int, str]] = []

    def on_bar(self, bar: Bar) -> None:
        self.told.append(bar)
        self.log.append((self.now, "bar"))
        assert self.made[-1] == bar

    def on_quote(self, quote: Quote) -> None:
        self.log.append((self.now, "quote"))


def play(strategies: Strategy | list[Strategy], quotes: Iterable[Quote], until: int | None = None) -> Engine:
    """Feed quotes to an engine as a driver does: what is due runs first."""
    contracts = ContractBook()
    seated = strategies if isinstance(strategies, list) else [strategies]
    engine = Engine(seated, contracts=contracts, pin=lambda text: contracts.pin(text, [ES, MNQ]))
    rows = list(quotes)
    engine.start(rows[0].ts if rows else START)
    for row in rows:
        if engine.due <= row.ts:
            engine.handle(Tick(row.ts))
        engine.handle(row)
    if until is not None:
        engine.handle(Tick(until))
    return engine


# --- periods ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "span"),
    [
        ("1s", SECOND),
        ("30s", 30 * SECOND),
        ("90s", 90 * SECOND),
        ("5m", 5 * MINUTE_NS),
        ("1h", HOUR_NS),
        ("4h", 4 * HOUR_NS),
        ("1d", None),
    ],
)
def test_periods(text: str, span: int | None) -> None:
    assert parse_period(text) == span


@pytest.mark.parametrize(
    "text", ["", "m", "5", "0m", "05m", "-5m", "1.5h", "5 m", " 5m", "5m ", "5M", "5min", "2d", "1w", "m5", "5m\n"]
)
def test_what_is_no_period(text: str) -> None:
    with pytest.raises(StrategyError, match="is not a bar period; write it as '30s', '5m', '1h' or '1d'") as caught:
        parse_period(text)
    assert repr(text) in str(caught.value)
    with pytest.raises(StrategyError, match="is not a bar period"):
        play(Watcher(period=text), [])


@pytest.mark.parametrize("basis", ["", "close", "LAST", "spread", "ts"])
def test_what_is_no_basis(basis: str) -> None:
    with pytest.raises(StrategyError, match="is not a price to build bars from; choose last, mid, bid or ask"):
        play(Watcher(basis=basis), [])


# --- one bar ---------------------------------------------------------------------------------------------------------


def test_a_bar() -> None:
    watcher = Watcher()
    rows = [(0, 4800.0, 10), (5, 4802.0, 11), (20, 4799.0, 15), (59, 4801.0, 15)]
    play(watcher, [quote(START + s * SECOND, last, volume) for s, last, volume in rows], START + MINUTE_NS)
    bar = Bar(
        instrument=ES,
        period="1m",
        start=START,
        end=START + MINUTE_NS,
        open=4800.0,
        high=4802.0,
        low=4799.0,
        close=4801.0,
        volume=5,
        quotes=4,
    )
    assert watcher.told == [bar]
    assert list(watcher.made) == [bar]
    assert (watcher.made.instrument, watcher.made.period) == (ES, "1m")


def test_it_is_finished_at_its_end_and_before_a_quote_that_comes_then() -> None:
    watcher = Watcher()
    times = [START, START + MINUTE_NS - 1, START + MINUTE_NS, START + 3 * MINUTE_NS]
    play(watcher, [quote(ts, 4800.0) for ts in times])
    assert watcher.log == [
        (START, "quote"),
        (START + MINUTE_NS - 1, "quote"),
        (START + MINUTE_NS, "bar"),
        (START + MINUTE_NS, "quote"),
        (START + 2 * MINUTE_NS, "bar"),
        (START + 3 * MINUTE_NS, "quote"),
    ]
    assert [(bar.start - START, bar.quotes) for bar in watcher.told] == [(0, 2), (MINUTE_NS, 1)]


def test_the_same_in_a_replay() -> None:
    watcher = Watcher(period="10s")
    result = replay(watcher, table([4800.0 + n for n in range(35)]), ReplaySettings.ideal())
    assert result.quotes == 35
    # After the last quote the replay waits a minute for replies, so that the last bar ends too.
    assert [(bar.open, bar.close, bar.quotes) for bar in watcher.told[:3]] == [
        (4800.0, 4809.0, 10),
        (4810.0, 4819.0, 10),
        (4820.0, 4829.0, 10),
    ]
    assert watcher.log[10:12] == [(START + 10 * SECOND, "bar"), (START + 10 * SECOND, "quote")]


def test_the_one_that_grows() -> None:
    watcher = Watcher()
    engine = play(watcher, [])
    assert watcher.made.current is None
    engine.handle(quote(START + SECOND, 4800.0, 7))
    engine.handle(quote(START + 2 * SECOND, 4801.0, 9))
    bar = watcher.made.current
    assert bar == Bar(ES, "1m", START, START + MINUTE_NS, 4800.0, 4801.0, 4800.0, 4801.0, 2, 2)
    engine.handle(quote(START + 3 * SECOND, 4799.0, 9))
    assert bar.close == 4801.0  # it is a value and may be kept
    engine.handle(Tick(START + MINUTE_NS))
    assert watcher.made.current is None
    assert len(watcher.made) == 1


def test_looking_back() -> None:
    watcher = Watcher()
    play(watcher, [quote(START + n * MINUTE_NS, 4800.0 + n) for n in range(4)])
    bars = watcher.made
    assert len(bars) == 3
    assert [bar.open for bar in bars] == [4800.0, 4801.0, 4802.0]
    assert (bars[-1].open, bars[0].open) == (4802.0, 4800.0)
    for name in ("open", "high", "low", "close"):
        assert getattr(bars, name).tolist() == [4800.0, 4801.0, 4802.0]
        assert getattr(bars, name).shape == (3,)
    with pytest.raises(IndexError):
        bars[3]


def test_before_the_first_there_are_none() -> None:
    watcher = Watcher()
    play(watcher, [])
    assert len(watcher.made) == 0
    assert watcher.made.close.tolist() == []
    assert watcher.made.close.dtype == float
    with pytest.raises(IndexError):
        watcher.made[-1]


# --- alignment -------------------------------------------------------------------------------------------------------


def spans(period: str, *times: str) -> list[tuple[int, int]]:
    watcher = Watcher(period=period)
    stamps = [ny(time) for time in times]
    play(watcher, [quote(ts, 4800.0) for ts in stamps], stamps[-1] + 4 * 24 * HOUR_NS)
    return [(bar.start, bar.end) for bar in watcher.told]


def test_bars_count_from_the_session_open() -> None:
    assert spans("7m", "2026-05-13T18:08") == [(ny("2026-05-13T18:07"), ny("2026-05-13T18:14"))]
    assert spans("4h", "2026-05-13T10:00") == [(ny("2026-05-13T10:00"), ny("2026-05-13T14:00"))]
    assert spans("5h", "2026-05-13T10:00") == [(ny("2026-05-13T09:00"), ny("2026-05-13T14:00"))]


def test_the_last_bar_of_a_session_ends_with_it() -> None:
    assert spans("4h", "2026-05-13T16:59:59", "2026-05-13T18:00") == [
        (ny("2026-05-13T14:00"), ny("2026-05-13T17:00")),
        (ny("2026-05-13T18:00"), ny("2026-05-13T22:00")),
    ]
    assert spans("7m", "2026-05-15T16:59", "2026-05-17T18:00") == [
        (ny("2026-05-15T16:59"), ny("2026-05-15T17:00")),
        (ny("2026-05-17T18:00"), ny("2026-05-17T18:07")),
    ]


@pytest.mark.parametrize("period", ["1d", "23h", "24h", "100h"])
def test_a_bar_of_the_whole_session(period: str) -> None:
    assert spans(period, "2026-05-15T12:00", "2026-05-15T16:59", "2026-05-18T09:30") == [
        (ny("2026-05-14T18:00"), ny("2026-05-15T17:00")),
        (ny("2026-05-17T18:00"), ny("2026-05-18T17:00")),
    ]


@pytest.mark.parametrize("monday", ["2026-03-09", "2026-11-02"])
def test_bars_follow_the_clocks(monday: str) -> None:
    """The same times of day in New York before and after a change."""
    friday = (dt.date.fromisoformat(monday) - dt.timedelta(days=3)).isoformat()
    assert spans("1h", f"{friday}T10:20", f"{monday}T10:20") == [
        (ny(f"{friday}T10:00"), ny(f"{friday}T11:00")),
        (ny(f"{monday}T10:00"), ny(f"{monday}T11:00")),
    ]


def test_quotes_outside_the_session_are_kept_apart() -> None:
    watcher = Watcher(period="1h")
    play(watcher, [quote(ny(f"2026-05-13T{time}"), 4800.0) for time in ("16:59", "17:10", "17:50", "18:00")], CLOSE * 2)
    assert [(bar.start, bar.end, bar.quotes) for bar in watcher.told] == [
        (ny("2026-05-13T16:00"), ny("2026-05-13T17:00"), 1),
        (ny("2026-05-13T17:10"), ny("2026-05-13T18:00"), 2),
        (ny("2026-05-13T18:00"), ny("2026-05-13T19:00"), 1),
    ]


# --- what has no bar, and what does not count ------------------------------------------------------------------------


def test_a_span_without_a_price_has_no_bar() -> None:
    watcher = Watcher()
    times = {0: 4800.0, 70: None, 190: 4801.0}
    play(watcher, [quote(START + s * SECOND, last) for s, last in times.items()], START + HOUR_NS)
    assert [(bar.start - START) // MINUTE_NS for bar in watcher.told] == [0, 3]
    assert [bar.quotes for bar in watcher.told] == [1, 1]


def test_volume_is_what_was_added() -> None:
    """Told now and then, and counted anew with each session: never negative."""
    watcher = Watcher()
    volumes = [100, None, 110, 110, 90, 95, None, 99]
    play(watcher, [quote(START + n * 15 * SECOND, 4800.0, v) for n, v in enumerate(volumes)], START + HOUR_NS)
    assert [bar.volume for bar in watcher.told] == [10, 9]


def test_volume_between_two_bars_belongs_to_the_second() -> None:
    watcher = Watcher()
    rows = [(0, 100), (59, 103), (61, 108), (119, 110)]
    play(watcher, [quote(START + s * SECOND, 4800.0, v) for s, v in rows], START + HOUR_NS)
    assert [bar.volume for bar in watcher.told] == [3, 7]


@pytest.mark.parametrize(
    ("basis", "prices"), [("last", (4801.0, 4803.0)), ("bid", (4800.0, 4802.0)), ("ask", (4800.5, 4803.0))]
)
def test_basis(basis: str, prices: tuple[float, float]) -> None:
    watcher = Watcher(basis=basis)
    rows = [Quote(START, ES, 4800.0, 4800.5, 4801.0), Quote(START + SECOND, ES, 4802.0, 4803.0, 4803.0)]
    play(watcher, rows, START + HOUR_NS)
    (bar,) = watcher.told
    assert (bar.open, bar.close) == (bar.low, bar.high) == prices


def test_mid_needs_no_last() -> None:
    watcher = Watcher(basis="mid")
    play(watcher, [Quote(START, ES, 4800.0, 4800.5), Quote(START + SECOND, ES, 4799.0, 4799.25)], START + HOUR_NS)
    (bar,) = watcher.told
    assert (bar.open, bar.high, bar.low, bar.close) == (4800.25, 4800.25, 4799.125, 4799.125)


# --- several at once -------------------------------------------------------------------------------------------------


def test_bars_of_several_periods_and_instruments() -> None:
    class Several(Strategy):
        def on_start(self) -> None:
            self.told: list[tuple[str, str, int]] = []
            self.one = self.bars(ES, "1m")
            self.two = self.bars("ES1!", "2m")
            self.other = self.bars(MNQ, "1m")
            assert self.bars(ES, "1m") is not None  # once more: told once all the same

        def on_bar(self, bar: Bar) -> None:
            self.told.append((bar.instrument, bar.period, (bar.start - START) // MINUTE_NS))

    strategy = Several()
    rows = [quote(START + n * MINUTE_NS, 4800.0, instrument=name) for n in range(2) for name in (ES, MNQ)]
    play(strategy, rows, START + HOUR_NS)
    assert sorted(strategy.told) == [(ES, "1m", 0), (ES, "1m", 1), (ES, "2m", 0), (MNQ, "1m", 0), (MNQ, "1m", 1)]
    assert (len(strategy.one), len(strategy.two), len(strategy.other)) == (2, 1, 2)


def test_two_strategies_hear_of_the_same_bar() -> None:
    watchers = [Watcher(), Watcher()]
    play(list(watchers), [quote(START, 4800.0)], START + HOUR_NS)
    assert watchers[0].told == watchers[1].told
    assert len(watchers[0].told) == 1


def test_a_builder_says_when_its_bar_ends() -> None:
    ends: list[int] = []
    builder = BarBuilder(ES, "1m", "last", ends.append)
    builder.update(quote(START + 5 * SECOND, None))
    assert (ends, builder.current()) == ([START + MINUTE_NS], None)
    builder.update(quote(START + 10 * SECOND, 4800.0))
    builder.update(quote(START + 20 * SECOND, 4801.0))
    assert ends == [START + MINUTE_NS]
    assert builder.finish(START) is None  # not its end
    bar = builder.finish(START + MINUTE_NS)
    assert bar is not None
    assert (bar.open, bar.close) == (4800.0, 4801.0)
    assert builder.finish(START + MINUTE_NS) is None  # once
    assert list(builder.finished) == [bar]


# --- any quotes ------------------------------------------------------------------------------------------------------

gaps = st.integers(0, 90) | st.integers(0, 4 * 3600) | st.sampled_from([0, 60, 300, 3600])
lasts = st.none() | st.integers(19_000, 19_020)
volumes = st.none() | st.integers(0, 30)
rows_of = st.lists(st.tuples(gaps, lasts, volumes), max_size=40)


def expected(quotes: list[Quote], period: str, basis: Basis) -> list[Bar]:
    """Bars worked out afterwards: quotes grouped by the span they lie in."""
    span = parse_period(period) or 100 * HOUR_NS
    grown, seen = [], None
    for row in quotes:
        grown.append(0 if seen is None or row.volume is None else max(0, row.volume - seen))
        seen = row.volume if row.volume is not None else seen

    def begin(item: tuple[int, Quote]) -> int:
        ts = item[1].ts
        since = session_at(ts).open
        return since + (ts - since) // span * span

    bars = []
    for start, group in groupby(enumerate(quotes), key=begin):
        members = list(group)
        prices = [getattr(row, basis) for _, row in members if getattr(row, basis) is not None]
        if not prices:
            continue
        end = min(start + span, session_at(start).close)
        volume = sum(grown[n] for n, _ in members)
        bars.append(
            Bar(ES, period, start, end, prices[0], max(prices), min(prices), prices[-1], volume, len(prices)),
        )
    return bars


@given(
    rows=rows_of,
    begin=st.sampled_from([START, CLOSE - 5 * MINUTE_NS, ny("2026-05-15T15:00"), ny("2026-03-06T16:00")]),
    period=st.sampled_from(["1s", "30s", "1m", "7m", "1h", "5h", "1d"]),
    basis=st.sampled_from(["last", "mid", "bid", "ask"]),
)
def test_any_quotes_of_trading_hours(
    rows: list[tuple[int, int | None, int | None]], begin: int, period: str, basis: Basis
) -> None:
    quotes, ts = [], begin
    for gap, last, volume in rows:
        ts += gap * SECOND
        session = session_at(ts)
        ts = ts if session.contains(ts) else session.open
        quotes.append(quote(ts, None if last is None else last / 4, volume))
    watcher = Watcher(period=period, basis=basis)
    play(watcher, quotes)
    bars = expected(quotes, period, basis)
    growing = watcher.made.current
    assert [*watcher.made, *([growing] if growing else [])] == bars
    assert watcher.told == list(watcher.made)
    assert not growing or growing.end > ts  # nothing that is over still grows
    for bar in bars:
        assert bar.start < bar.end <= session_at(bar.start).close
        assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
