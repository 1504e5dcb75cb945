"""Bars of the venue's in a replay: made of what was played, seen after their end, the same whatever comes later."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import ES, MNQ, SECOND, START, table

from xtalgo import (
    Bar,
    ConfigError,
    DataError,
    History,
    Instrument,
    Latency,
    Quote,
    QuoteTable,
    ReplaySettings,
    Strategy,
    replay,
)
from xtalgo.engine.bars import BarBuilder
from xtalgo.engine.history import GRACE
from xtalgo.engine.periods import span_at, venue_span
from xtalgo.model.sessions import NEW_YORK, from_datetime, session_at
from xtalgo.model.types import MINUTE_NS
from xtalgo.sim.recordedbars import SLACK

LATE = GRACE + ReplaySettings().latency.entry


class Watcher(Strategy):
    """Hears bars of the venue's; keeps each with the moment at which it was told."""

    instrument: Instrument = ES
    period: str = "1m"
    wanted: int = 0
    required: bool = False

    def warm_up(self) -> Iterable[History]:
        return [History(self.instrument, self.period, self.wanted, self.required)] if self.wanted else []

    def on_start(self) -> None:
        self.made = self.bars(self.instrument, self.period, source="venue")
        self.past = list(self.made)
        self.told: list[tuple[int, Bar]] = []
        self.began = self.now
        self.newest = 0

    def on_quote(self, quote: Quote) -> None:
        self.newest = quote.ts

    def on_bar(self, bar: Bar) -> None:
        assert self.made[-1] == bar
        self.told.append((self.now, bar))
        self.note("bar", end=bar.end, close=bar.close)


def ny(text: str) -> int:
    return from_datetime(dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(NEW_YORK)))


def facts(bar: Bar) -> tuple[Any, ...]:
    return bar.start, bar.end, bar.open, bar.high, bar.low, bar.close, bar.volume, bar.quotes


def directly(quotes: Iterable[Quote], period: str, instrument: str = ES) -> list[tuple[Any, ...]]:
    """Finished bars of quotes in trading hours, by the slow road; one that began before its quotes is left out."""
    rows = [quote for quote in quotes if quote.instrument == instrument]
    inside = [quote for quote in rows if session_at(quote.ts).contains(quote.ts)]
    builder = BarBuilder(instrument, period, "last", lambda _: None)
    made, end = [], 0
    for quote in inside:
        if end and quote.ts >= end:
            made.append(builder.finish(end))
        if quote.ts >= end:
            end = span_at(quote.ts, venue_span(period))[1]
        builder.update(quote)
    if end:
        made.append(builder.finish(end))
    found = [facts(bar) for bar in made if bar is not None]
    if rows and found:
        start = span_at(rows[0].ts, venue_span(period))[0]
        if rows[0].ts - start > SLACK and found[0][0] <= rows[0].ts:
            del found[0]
    return found


def test_a_bar_is_told_a_second_and_the_way_there_after_its_end() -> None:
    strategy = Watcher()
    prices = [4800.0 + row % 50 for row in range(200)]
    result = replay(strategy, table(prices))
    assert [now - bar.end for now, bar in strategy.told] == [LATE] * 3
    assert [bar.end for _, bar in strategy.told] == [START + minute * MINUTE_NS for minute in (1, 2, 3)]
    assert [(bar.high, bar.low, bar.open, bar.quotes) for _, bar in strategy.told] == [
        (4849.0, 4800.0, 4800.0, 60),
        (4849.0, 4800.0, 4810.0, 60),
        (4849.0, 4800.0, 4820.0, 60),
    ]
    assert {bar.source for _, bar in strategy.told} == {"recording"}
    assert result.rpcs == 3 + 2  # and one that ended as the recording began, asked for twice
    assert any("made of recorded quotes" in text for text in result.remarks)


def test_without_latency_it_is_told_a_second_after_its_end() -> None:
    strategy = Watcher()
    replay(strategy, table([4800.0] * 100), ReplaySettings(latency=Latency(entry=0, report=0)))
    assert [now - bar.end for now, bar in strategy.told] == [GRACE]


def test_a_bar_that_began_before_the_recording_is_unknown() -> None:
    strategy = Watcher()
    replay(strategy, table([4800.0] * 200, start=START + 30 * SECOND))
    assert [bar.start - START for _, bar in strategy.told] == [minute * MINUTE_NS for minute in (1, 2)]


def test_prices_that_are_not_told_make_no_bar() -> None:
    plain = table([4800.0] * 200)
    last = np.where((plain.ts >= START + 60 * SECOND) & (plain.ts < START + 120 * SECOND), np.nan, 4800.0)
    quotes = QuoteTable.from_rows((ES,), [0] * 200, plain.ts, plain.bid, plain.ask, last, plain.volume)
    strategy = Watcher()
    replay(strategy, quotes)
    assert [(bar.start - START) // MINUTE_NS for _, bar in strategy.told] == [0, 2]


def test_a_recording_without_last_prices_says_so() -> None:
    plain = table([4800.0] * 200)
    with pytest.raises(DataError, match=r"ES 06-26: the recording tells no last prices.*basis='mid'"):
        replay(Watcher(), QuoteTable.from_rows((ES,), [0] * 200, plain.ts, plain.bid, plain.ask))


def test_many_strategies_cost_one_question_a_bar() -> None:
    result = replay([Watcher(), Watcher(), Watcher(period="2m")], table([4800.0] * 200))
    assert result.rpcs == 3 + 2 + 1 + 2


def test_over_the_close_the_last_bar_comes_in_the_break() -> None:
    close = ny("2026-05-13 17:00")
    stamps = [close - 90 * SECOND + row * SECOND for row in range(90)]
    stamps += [close + 3_600 * SECOND + row * SECOND for row in range(90)]
    prices = [4800.0 + row for row in range(180)]
    quotes = QuoteTable.from_rows((ES,), [0] * 180, stamps, prices, np.add(prices, 0.25), prices)
    strategy = Watcher(period="1m")
    replay(strategy, quotes)
    assert [(now - close) // SECOND for now, _ in strategy.told] == [1, 3_661]
    assert strategy.told[0][1].close == 4889.0


def test_a_strategy_that_wants_none_is_asked_nothing() -> None:
    class Quiet(Strategy):
        instrument: Instrument = ES

    result = replay(Quiet(), table([4800.0] * 200))
    assert (result.rpcs, result.remarks) == (0, ())


# --- from before the recording ----------------------------------------------------------------------------------------


def split(count: int, at: int, **how: Any) -> tuple[QuoteTable, QuoteTable]:
    """Quotes cut in two: the part before, and the recording."""
    whole = table([4800.0 + 0.25 * (row * 7 % 40) for row in range(count)], **how)
    rows = slice(at, count)
    rest = QuoteTable.from_rows(
        (ES,),
        [0] * (count - at),
        whole.ts[rows],
        whole.bid[rows],
        whole.ask[rows],
        whole.last[rows],
        whole.volume[rows],
    )
    return whole.head(at), rest


def test_without_history_nothing_is_known_and_the_result_says_so() -> None:
    strategy = Watcher(wanted=5)
    result = replay(strategy, table([4800.0] * 200))
    assert (strategy.past, strategy.made.complete) == ([], False)
    assert strategy.began == START
    assert result.remarks[0].startswith("Before the start, of 5 bars of ES 06-26 (1m) 0 came")
    assert "--history" in result.remarks[0]


def test_with_history_bars_of_it_are_there_at_the_start() -> None:
    history, recording = split(900, 600)
    strategy = Watcher(wanted=5)
    result = replay(strategy, recording, history=history)
    assert strategy.made.complete
    # Five were known when they were asked for, a minute before the recording; one more became so until it began.
    known = directly(history.quotes(0, 600), "1m")
    assert [facts(bar) for bar in strategy.past] == known[-7:-1]
    told = directly(recording.quotes(0, 300), "1m")[:-1]
    assert [facts(bar)[:6] for _, bar in strategy.told] == [bar[:6] for bar in (known[-1], *told)]
    assert all("came" not in text for text in result.remarks)
    assert result.quotes == 300


def test_the_bar_over_the_seam_is_whole_where_the_recording_goes_on() -> None:
    history, recording = split(900, 630)
    strategy = Watcher(wanted=3)
    replay(strategy, recording, history=history)
    both = [*history.quotes(0, 630), *recording.quotes(0, 270)]
    assert [facts(bar) for bar in strategy.made] == directly(both, "1m")[-9:-1]


def test_a_bar_that_lacks_what_nobody_recorded_is_none() -> None:
    history, _ = split(900, 575)
    _, recording = split(900, 620)
    strategy = Watcher(wanted=3)
    replay(strategy, recording, history=history)
    known = [(bar.end - START) // MINUTE_NS for bar in strategy.made]
    assert known == [7, 8, 9, 12, 13, 14]


def test_history_that_reaches_into_the_recording_is_cut_where_it_begins() -> None:
    whole, recording = split(900, 900)[0], split(900, 600)[1]
    part, cut = Watcher(wanted=5), Watcher(wanted=5)
    one = replay(part, recording, history=whole)
    two = replay(cut, recording, history=whole.head(600))
    assert one.digest == two.digest
    assert part.past == cut.past


def test_history_of_nothing_before_is_an_error() -> None:
    with pytest.raises(DataError, match=r"no quote before 2026-05-13T14:00:00"):
        replay(Watcher(), table([4800.0] * 20), history=table([4800.0] * 20, start=START + SECOND))


def test_history_of_another_instrument_helps_nobody() -> None:
    strategy = Watcher(wanted=5)
    replay(strategy, table([4800.0] * 20), history=table([1.0] * 20, start=START - 100 * SECOND, instrument=MNQ))
    assert strategy.past == []


def test_a_strategy_that_requires_bars_does_not_start_without() -> None:
    with pytest.raises(ConfigError, match=r"requires bars that could not be had: of 5 bars of ES 06-26 \(1m\) 0 came"):
        replay(Watcher(wanted=5, required=True), table([4800.0] * 200))


def test_what_is_known_at_the_start_comes_of_the_same_questions_as_live() -> None:
    history, recording = split(900, 600)
    for strategies in (Watcher(wanted=5), [Watcher(wanted=5), Watcher(wanted=3)]):
        assert replay(strategies, recording, history=history).rpcs == 1 + 1 + 5


def test_history_changes_nothing_for_those_who_want_none() -> None:
    class Trader(Strategy):
        instrument: Instrument = ES

        def on_start(self) -> None:
            self.every(20, "buy")

        def on_timer(self, tag: str) -> None:
            self.buy(self.instrument, 1)

    history, recording = split(900, 600)
    assert replay(Trader(), recording).digest == replay(Trader(), recording, history=history).digest


# --- the law ----------------------------------------------------------------------------------------------------------

GAPS = st.sampled_from([0.0, 0.3, 1.0, 1.0, 1.0, 7.0, 45.0, 200.0])


@st.composite
def paths(draw: st.DrawFn) -> tuple[QuoteTable, str, int]:
    """Quotes at odd moments, some without a last price, over a close; a period; where the rest is cut off."""
    gaps = draw(st.lists(GAPS, min_size=1, max_size=120))
    begin = draw(st.sampled_from([START, START + 17 * SECOND, ny("2026-05-13 16:55"), ny("2026-05-13 18:00")]))
    steps = draw(st.lists(st.integers(-8, 8), min_size=len(gaps), max_size=len(gaps)))
    told = draw(st.lists(st.booleans() | st.just(True), min_size=len(gaps), max_size=len(gaps)))
    told[0] = True
    ts = begin + np.round(np.cumsum([0.0, *gaps[1:]]) * SECOND).astype(np.int64)
    bids = 4800.0 + np.cumsum(steps) * 0.25
    last = np.where(told, bids, np.nan)
    volume = np.cumsum(np.abs(steps))
    quotes = QuoteTable.from_rows((ES,), [0] * len(gaps), ts, bids, bids + 0.25, last, volume)
    return quotes, draw(st.sampled_from(["1m", "2m", "5m", "1h"])), draw(st.integers(1, len(gaps)))


@settings(deadline=None)
@given(paths())
def test_bars_are_those_of_the_recording_and_told_after_their_end(case: tuple[QuoteTable, str, int]) -> None:
    quotes, period, cut = case
    strategy = Watcher(period=period)
    replay(strategy, quotes)
    last = int(quotes.ts[-1])
    expected = [bar for bar in directly(quotes.quotes(0, len(quotes)), period) if bar[1] + GRACE <= last]
    assert [facts(bar) for _, bar in strategy.told][: len(expected)] == expected
    assert len(strategy.told) <= len(expected) + 1  # one may have been on its way at the end
    assert all(now >= bar.end + GRACE for now, bar in strategy.told)
    # The rest of the recording is nobody's business before it is played.
    part = Watcher(period=period)
    replay(part, quotes.head(cut))
    played = [item for item in part.told if item[0] < int(quotes.ts[cut - 1])]
    assert strategy.told[: len(played)] == played
