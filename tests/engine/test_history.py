"""Bars of the venue's: when they are asked for, and that each is told once, in order, and never early."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tables import ES, MNQ, SECOND

from xtalgo import Bar, Bars, ConfigError, ContractBook, History, Instrument, Strategy, StrategyError
from xtalgo.engine.engine import Engine
from xtalgo.engine.history import AGAIN, GRACE, MARGIN, PATIENCE
from xtalgo.engine.periods import next_end, span_at, spans_back, venue_span
from xtalgo.model.commands import Ask, BarsQuery, Command, Query
from xtalgo.model.events import (
    BarsSeen,
    Event,
    ExecutionsSeen,
    LinkDown,
    LinkUp,
    OrdersSeen,
    PositionsSeen,
    Quote,
    Released,
    Tick,
    Unread,
)
from xtalgo.model.sessions import NEW_YORK, from_datetime, session_at
from xtalgo.model.types import HOUR_NS, MINUTE_NS

FIVE = 5 * MINUTE_NS


def ny(text: str) -> int:
    """An instant by what clocks in New York show."""
    return from_datetime(dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(NEW_YORK)))


T0 = ny("2026-05-13 10:02")


class Watcher(Strategy):
    """Wants bars before and after the start, and writes down what it is told, and when."""

    instrument: Instrument = ES
    period: str = "5m"
    wanted: int = 0
    required: bool = False
    hears: bool = True

    def warm_up(self) -> Iterable[History]:
        self.warmed = True
        return [History(self.instrument, self.period, self.wanted, self.required)] if self.wanted else []

    def on_start(self) -> None:
        self.told: list[tuple[int, Bar]] = []
        self.made: Bars | None = self.bars(self.instrument, self.period, source="venue") if self.hears else None

    def on_bar(self, bar: Bar) -> None:
        assert self.made is not None
        assert self.made[-1] == bar
        self.told.append((self.now, bar))

    @property
    def ends(self) -> list[int]:
        return [bar.end for _, bar in self.told]


def bar(end: int, close: float = 4800.0, span: int = FIVE, **more: Any) -> Bar:
    return Bar(ES, "5m", end - span, end, close, close + 1, close - 1, close, 7, 0, "venue")


class Room:
    """An engine, with or without a link, whose questions the test answers."""

    def __init__(self, *strategies: Watcher, linked: bool = False, now: int = T0) -> None:
        contracts = ContractBook()
        self.strategies = strategies or (Watcher(),)
        pin = lambda text: contracts.pin(text, [ES, MNQ])  # noqa: E731
        self.engine = Engine(self.strategies, contracts=contracts, pin=pin, asks=linked)
        self.now = now
        self.out: list[Command] = []
        self.linked = linked

    @property
    def strategy(self) -> Watcher:
        return self.strategies[0]

    def start(self) -> Room:
        self.out += self.engine.warm_up(self.now)
        if self.linked:
            self.link_up()
        if self.engine.is_warm:
            self.out += self.engine.start(self.now)
        return self

    def hear(self, event: Event) -> None:
        self.out += self.engine.handle(event)

    def link_up(self) -> None:
        self.hear(LinkUp(self.now))
        seen: Any = {Ask.ORDERS: OrdersSeen, Ask.EXECUTIONS: ExecutionsSeen, Ask.POSITIONS: PositionsSeen}
        for ask, kind in seen.items():
            query = Query(ask, "Sim101", 1_000 + self.now % 1_000_000)
            self.hear(Released(self.now, query))
            self.hear(kind(self.now, query, ()))

    def to(self, when: int) -> None:
        self.now = when
        self.hear(Tick(when))

    def queries(self) -> list[BarsQuery]:
        """The questions for bars since this was last looked at."""
        found = [command for command in self.out if isinstance(command, BarsQuery)]
        self.out = []
        return found

    def leave(self) -> BarsQuery:
        """The one question leaves."""
        (query,) = self.queries()
        self.hear(Released(self.now, query))
        return query

    def answer(self, query: BarsQuery, *bars: Bar) -> None:
        self.hear(BarsSeen(self.now, query, bars))

    def fail(self, query: BarsQuery, reason: str = "no reply in 20 s") -> None:
        self.hear(Unread(self.now, query, reason))


E1 = ny("2026-05-13 10:05")
E2, E3 = E1 + FIVE, E1 + 2 * FIVE


# --- periods ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("text", "minutes"), [("1m", 1), ("5m", 5), ("90m", 90), ("1h", 60), ("4h", 240)])
def test_the_venue_has_minutes_and_hours(text: str, minutes: int) -> None:
    assert venue_span(text) == minutes * MINUTE_NS


def test_a_day_is_the_session() -> None:
    assert venue_span("1d") is None
    session = session_at(T0)
    assert span_at(T0, None) == (session.open, session.close)


@pytest.mark.parametrize("text", ["1s", "30s", "90s"])
def test_seconds_can_not_be_had_from_the_venue(text: str) -> None:
    with pytest.raises(StrategyError, match=r"no bars of .* shortest are minutes.*leave out source='venue'"):
        venue_span(text)


@pytest.mark.parametrize("text", ["", "5", "m", "0m", "5 m", "1w", "24h", None])
def test_other_periods_are_errors(text: Any) -> None:
    with pytest.raises(StrategyError):
        venue_span(text)


def test_spans_are_cut_from_the_open_and_the_last_one_ends_with_the_session() -> None:
    assert span_at(ny("2026-05-12 18:00"), 7 * MINUTE_NS) == (ny("2026-05-12 18:00"), ny("2026-05-12 18:07"))
    assert span_at(ny("2026-05-13 16:59"), 7 * MINUTE_NS) == (ny("2026-05-13 16:59"), ny("2026-05-13 17:00"))
    assert span_at(ny("2026-05-13 16:59"), 4 * HOUR_NS) == (ny("2026-05-13 14:00"), ny("2026-05-13 17:00"))


def test_after_the_close_the_next_end_is_in_the_next_session() -> None:
    assert next_end(ny("2026-05-13 16:59"), FIVE) == ny("2026-05-13 17:00")
    assert next_end(ny("2026-05-13 17:00"), FIVE) == ny("2026-05-13 18:05")
    assert next_end(ny("2026-05-15 17:00"), FIVE) == ny("2026-05-17 18:05")  # over the weekend
    assert next_end(ny("2026-05-15 17:00"), None) == ny("2026-05-18 17:00")


@given(
    st.integers(ny("2026-03-01 00:00"), ny("2026-12-01 00:00")),
    st.sampled_from([MINUTE_NS, FIVE, 7 * MINUTE_NS, HOUR_NS, 4 * HOUR_NS, None]),
    st.integers(1, 700),
)
def test_so_many_spans_back_there_are_so_many_ends(now: int, span: int | None, count: int) -> None:
    begin = spans_back(now, span, count)
    assert begin <= now or now < session_at(now).open
    start, _ = span_at(begin, span)
    assert start == begin
    ends, at = 0, begin
    under_way = span_at(now, span)[0]
    while (at := next_end(at, span)) <= under_way or (ends < count and at <= now):
        ends += 1
    assert ends == count


# --- asking ----------------------------------------------------------------------------------------------------------


def test_a_bar_is_asked_for_a_second_after_its_end_and_told_when_the_answer_comes() -> None:
    room = Room().start()
    room.to(E1 + GRACE - 1)
    assert room.queries() == []
    room.to(E1 + GRACE)
    query = room.leave()
    assert (query.instrument, query.period, query.count) == (ES, "5m", 1 + MARGIN)
    room.now += 300_000_000
    room.answer(query, bar(E1, 4801.0))
    assert room.strategy.told == [(room.now, bar(E1, 4801.0))]
    assert room.strategy.made is not None
    assert room.strategy.made[-1].high == 4802.0
    assert room.strategy.made.current is None
    assert room.strategy.made.complete


def test_the_growing_bar_is_never_told() -> None:
    room = Room().start()
    room.to(E1 + GRACE)
    room.answer(room.leave(), bar(E1), bar(E2, 4900.0))
    assert room.strategy.ends == [E1]
    room.to(E2 + GRACE)
    room.answer(room.leave(), bar(E1), bar(E2, 4850.0), bar(E3))
    assert room.strategy.told[-1] == (room.now, bar(E2, 4850.0))


def test_an_answer_shows_the_venue_as_it_was_when_it_was_asked() -> None:
    """A question that left before a bar's end may be answered after it: what it shows of that bar still grew."""
    room = Room().start()
    room.to(E1 + GRACE)
    query = room.leave()
    room.fail(query)
    room.to(E1 + GRACE + 2 * SECOND)
    late = room.leave()
    room.now = E2 + 10 * SECOND
    room.answer(late, bar(E1), bar(E2, 9_999.0))
    assert room.strategy.ends == [E1]


def test_nothing_is_told_that_ended_less_than_a_second_before_it_was_asked_for() -> None:
    room = Room(now=E1 + GRACE // 2).start()
    room.to(E2 + GRACE)
    room.answer(room.leave(), bar(E1), bar(E2))
    assert room.strategy.ends == [E1, E2]  # E1 was not known at the start, and is from then on


def test_bars_that_ended_before_the_start_are_not_told() -> None:
    room = Room().start()
    room.to(E1 + GRACE)
    room.answer(room.leave(), bar(E1 - 2 * FIVE), bar(E1 - FIVE), bar(E1))
    assert room.strategy.ends == [E1]


def test_a_bar_that_an_answer_lacks_is_asked_for_once_more_and_comes_with_the_next() -> None:
    room = Room().start()
    room.to(E1 + GRACE)
    room.answer(room.leave(), bar(E1 - FIVE))
    assert room.strategy.told == []
    room.to(room.now + AGAIN - 1)
    assert room.queries() == []
    room.to(room.now + 1)
    room.answer(room.leave())
    room.to(E2)
    assert room.queries() == []
    room.to(E2 + GRACE)
    room.answer(room.leave(), bar(E1), bar(E2))
    assert room.strategy.ends == [E1, E2]


def test_a_span_without_a_trade_has_no_bar() -> None:
    room = Room().start()
    for end in (E1, E2, E3):
        room.to(end + GRACE)
        query = room.leave()
        room.answer(query, *([] if end == E2 else [bar(end)]))
        if end == E2:
            room.to(room.now + AGAIN)
            room.answer(room.leave(), bar(E1))
    assert room.strategy.ends == [E1, E3]


def test_one_that_turns_up_after_a_later_one_is_not_told_out_of_order() -> None:
    room = Room().start()
    room.to(E1 + GRACE)
    room.answer(room.leave())
    room.to(room.now + AGAIN)
    room.answer(room.leave())
    room.to(E2 + GRACE)
    room.answer(room.leave(), bar(E2))
    room.to(E3 + GRACE)
    room.answer(room.leave(), bar(E1), bar(E2), bar(E3))
    assert room.strategy.ends == [E2, E3]


def test_bars_in_any_order_and_twice_are_told_in_order_and_once() -> None:
    room = Room().start()
    room.to(E1 + GRACE)
    room.fail(room.leave())
    room.to(E2 + GRACE)
    query = room.leave()
    room.answer(query, bar(E2), bar(E1), bar(E2), bar(E1))
    assert room.strategy.ends == [E1, E2]
    room.answer(query, bar(E1), bar(E2))  # the answer itself comes twice
    assert room.strategy.ends == [E1, E2]


def test_an_answer_to_nothing_is_not_heard() -> None:
    room = Room().start()
    room.to(E1 + GRACE)
    (query,) = room.queries()
    room.answer(query, bar(E1))  # it has not left
    room.answer(BarsQuery(MNQ, "5m", 3, 1), bar(E1))
    room.answer(BarsQuery(ES, "5m", 3, 99), bar(E1))
    room.fail(BarsQuery(ES, "1m", 3, 1))
    assert room.strategy.told == []
    room.hear(Released(room.now, query))
    room.answer(query, bar(E1))
    assert room.strategy.ends == [E1]


def test_while_a_question_is_open_no_other_is_asked_and_the_next_covers_all() -> None:
    room = Room().start()
    room.to(E1 + GRACE)
    query = room.leave()
    room.to(E3 + GRACE)
    assert room.queries() == []
    room.answer(query, bar(E1))
    nxt = room.leave()
    assert nxt.count == 2 + MARGIN
    room.answer(nxt, bar(E1), bar(E2), bar(E3))
    assert room.strategy.ends == [E1, E2, E3]


def test_failures_are_asked_again_a_little_later_and_then_with_the_next_end() -> None:
    room = Room().start()
    room.to(E1 + GRACE)
    room.fail(room.leave())
    for pause in (2, 4):
        room.to(room.now + pause * SECOND - 1)
        assert room.queries() == []
        room.to(room.now + 1)
        room.fail(room.leave())
    room.to(E2)
    assert room.queries() == []
    room.to(E2 + GRACE)
    query = room.leave()
    assert query.count == 2 + MARGIN
    room.answer(query, bar(E1), bar(E2))
    assert room.strategy.ends == [E1, E2]


def test_strategies_that_want_the_same_bars_share_a_question() -> None:
    room = Room(Watcher(), Watcher(), Watcher(period="15m")).start()
    room.to(E1 + GRACE)
    query = room.leave()
    room.answer(query, bar(E1))
    assert [strategy.ends for strategy in room.strategies] == [[E1], [E1], []]


def test_bars_of_quotes_and_of_the_venue_stand_side_by_side() -> None:
    class Both(Watcher):
        def on_start(self) -> None:
            super().on_start()
            self.own = self.bars(self.instrument, "5m")

        def on_bar(self, bar: Bar) -> None:
            self.told.append((self.now, bar))

    room = Room(Both()).start()
    room.hear(Quote(T0, ES, 4800.0, 4800.25, 4800.0, 1))
    room.to(E1 + GRACE)
    room.answer(room.leave(), bar(E1))
    assert [(now, bar.source) for now, bar in room.strategy.told] == [(E1, "quotes"), (E1 + GRACE, "venue")]


def test_in_the_break_nothing_is_asked() -> None:
    room = Room(now=ny("2026-05-15 16:56")).start()
    close = ny("2026-05-15 17:00")
    room.to(close + GRACE)
    room.answer(room.leave(), bar(close))
    room.to(ny("2026-05-17 18:05"))
    assert room.queries() == []
    room.to(ny("2026-05-17 18:05") + GRACE)
    assert len(room.queries()) == 1


def test_what_nobody_hears_any_more_is_not_asked_for() -> None:
    room = Room().start()
    room.to(E1 + GRACE)
    room.answer(room.leave(), bar(E1))
    room.engine.stop(room.now)
    room.to(E3 + GRACE)
    assert room.queries() == []


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({"source": "exchange"}, r"'exchange' is no source of bars; choose 'quotes' or 'venue'"),
        ({"source": "venue", "basis": "mid"}, r"made of trades.*leave basis out"),
        ({"source": "venue", "period": "30s"}, r"shortest are minutes"),
        ({"source": "venue", "period": "x"}, r"is not a bar period"),
    ],
)
def test_wrong_use_says_what_is_wrong(how: dict[str, Any], text: str) -> None:
    class Wrong(Strategy):
        instrument: Instrument = ES

        def on_start(self) -> None:
            self.bars(self.instrument, how.get("period", "5m"), **{k: v for k, v in how.items() if k != "period"})

    contracts = ContractBook()
    engine = Engine([Wrong()], contracts=contracts, pin=lambda text: contracts.pin(text, [ES]))
    with pytest.raises(StrategyError, match=text):
        engine.start(T0)


def test_a_bar_that_changes_after_its_end_is_told_of_once() -> None:
    """As it would be if the venue named bars by their start: the newest one would still grow."""
    room = Room().start()
    for number, end in enumerate((E1, E2, E3)):
        room.to(end + GRACE)
        room.answer(room.leave(), *(bar(done, 4900.0 + number) for done in (E1, E2, E3) if done <= end))
    assert room.strategy.ends == [E1, E2, E3]
    (text,) = room.engine.history.oddities
    assert text.startswith(
        f"bars of {ES} (5m): some changed after they had ended. If the venue names bars by their start"
    )


def test_bars_that_do_not_come_are_told_of_once() -> None:
    room = Room().start()
    for number in range(5):
        room.to(E1 + number * FIVE + GRACE)
        room.answer(room.leave(), bar(E1 - FIVE))
        room.to(room.now + AGAIN)
        room.answer(room.leave(), bar(E1 - FIVE))
        assert len(room.engine.history.oddities) == (number >= 2)
    assert "of the last 3 ends no bar came" in room.engine.history.oddities[0]


# --- before the start ------------------------------------------------------------------------------------------------


def past(count: int) -> list[Bar]:
    """The last finished bars before T0, oldest first."""
    newest = E1 - FIVE
    return [bar(newest - number * FIVE, 4700.0 + number) for number in range(count)][::-1]


def test_what_is_wanted_before_the_start_is_there_in_on_start() -> None:
    seen = []

    class Warm(Watcher):
        def on_start(self) -> None:
            super().on_start()
            assert self.made is not None
            seen.extend(self.made)
            self.own = self.bars(self.instrument, "5m")
            self.mids = self.bars(self.instrument, "5m", basis="mid")

    room = Room(Warm(wanted=20)).start()
    assert not room.engine.is_warm
    query = room.leave()
    assert query.count == 20 + MARGIN
    room.answer(query, *past(25), bar(E1))
    assert room.engine.is_warm
    room.out += room.engine.start(room.now)
    assert seen == past(20)
    assert room.strategy.told == []
    warm: Any = room.strategy
    assert list(warm.own) == past(20)  # bars of quotes begin with them, too
    assert list(warm.mids) == []
    assert warm.made.complete
    assert warm.own.complete
    room.to(E1 + GRACE)
    room.answer(room.leave(), bar(E1))
    assert room.strategy.ends == [E1]
    assert len(warm.made) == 21


def test_an_end_between_the_answer_and_the_start_is_not_lost() -> None:
    room = Room(Watcher(wanted=3), now=E1 - SECOND).start()
    room.answer(room.leave(), *past(3), bar(E1))
    room.now = E1 + SECOND // 2
    room.out += room.engine.start(room.now)
    room.to(E1 + GRACE)
    room.answer(room.leave(), bar(E1), bar(E2))
    assert room.strategy.ends == [E1]


def test_one_that_ended_just_before_it_was_asked_for_comes_a_little_later() -> None:
    room = Room(Watcher(wanted=3), now=E1 + GRACE // 2).start()
    room.answer(room.leave(), *past(3), bar(E1, 9_999.0))
    room.out += room.engine.start(room.now)
    room.to(E1 + GRACE)
    room.answer(room.leave(), bar(E1))
    assert room.strategy.made is not None
    assert list(room.strategy.made) == [*past(3), bar(E1)]


def test_fewer_than_were_wanted_are_told_as_such() -> None:
    room = Room(Watcher(wanted=100)).start()
    room.answer(room.leave(), *past(40))
    room.out += room.engine.start(room.now)
    assert room.strategy.made is not None
    assert (len(room.strategy.made), room.strategy.made.complete) == (40, False)
    assert room.engine.history.shortfalls() == [f"of 100 bars of {ES} (5m) 40 came: the venue has no more"]


def test_a_venue_that_refuses_does_not_hold_up_the_start() -> None:
    room = Room(Watcher(wanted=100)).start()
    for pause in (2, 4, None):
        room.fail(room.leave(), "Invalid request")
        assert room.engine.is_warm is (pause is None)
        room.to(room.now + (pause or 0) * SECOND)
    room.out += room.engine.start(room.now)
    assert room.engine.history.shortfalls() == [f"of 100 bars of {ES} (5m) 0 came: Invalid request"]
    room.to(E1 + GRACE)
    room.answer(room.leave(), *past(10), bar(E1))
    assert room.strategy.ends == [E1]


def test_a_venue_that_does_not_answer_does_not_hold_up_the_start() -> None:
    room = Room(Watcher(wanted=100)).start()
    query = room.leave()
    room.to(T0 + PATIENCE - 1)
    assert not room.engine.is_warm
    room.to(T0 + PATIENCE)
    assert room.engine.is_warm
    room.out += room.engine.start(room.now)
    room.now += SECOND
    room.answer(query, *past(100))  # far too late: what is past is not told as news
    assert room.strategy.told == []


def test_a_strategy_that_can_not_do_without_does_not_start() -> None:
    room = Room(Watcher(wanted=100, required=True), Watcher(wanted=10)).start()
    query = room.leave()
    assert query.count == 100 + MARGIN
    room.answer(query, *past(40))
    with pytest.raises(ConfigError, match=r"requires bars that could not be had: of 100 bars of ES 06-26 \(5m\) 40"):
        room.engine.start(room.now)


def test_before_a_link_stands_nothing_is_asked_and_a_drop_begins_anew() -> None:
    room = Room(Watcher(wanted=5), linked=True)
    room.out += room.engine.warm_up(room.now)
    assert room.queries() == []
    room.link_up()
    query = room.leave()
    room.now += 40 * SECOND
    room.hear(LinkDown(room.now, "it dropped"))
    room.fail(query, "it dropped")
    assert not room.engine.is_warm
    room.now += 30 * SECOND
    room.link_up()
    room.to(room.now + PATIENCE - 1)
    assert not room.engine.is_warm  # the time counts from the link
    room.answer(room.leave(), *past(5))
    assert room.engine.is_warm


def test_a_connection_that_comes_back_is_asked_for_what_was_missed() -> None:
    room = Room(linked=True).start()
    room.to(E1 + GRACE)
    query = room.leave()
    room.hear(LinkDown(room.now, "it dropped"))
    room.fail(query, "it dropped")
    room.to(E3 + GRACE)
    assert room.queries() == []
    room.link_up()
    query = room.leave()
    assert query.count == 3 + MARGIN
    room.answer(query, bar(E1), bar(E2), bar(E3))
    assert room.strategy.ends == [E1, E2, E3]


def test_a_connection_that_comes_back_before_anything_ended_is_asked_nothing() -> None:
    room = Room(linked=True).start()
    room.hear(LinkDown(room.now, "it dropped"))
    room.link_up()
    assert room.queries() == []


def test_what_is_wanted_and_never_used_is_not_asked_for_again() -> None:
    room = Room(Watcher(wanted=5, hears=False)).start()
    room.answer(room.leave(), *past(5))
    room.out += room.engine.start(room.now)
    room.to(E3 + GRACE)
    assert room.queries() == []


@pytest.mark.parametrize(
    ("given", "text"),
    [
        (None, r"warm_up\(\) returns what is wanted, such as \[History\('ES 06-26', '5m', 100\)\], not None"),
        (["5m"], r"returns History\('ES 06-26', '5m', 100\) and the like, not '5m'"),
    ],
)
def test_warm_up_gives_histories(given: Any, text: str) -> None:
    class Wrong(Watcher):
        def warm_up(self) -> Any:
            return given

    with pytest.raises(StrategyError, match=text):
        Room(Wrong()).start()


def test_nothing_is_ordered_in_warm_up() -> None:
    class Eager(Watcher):
        def warm_up(self) -> Iterable[History]:
            self.buy(self.instrument, 1)
            return []

    with pytest.raises(StrategyError, match=r"nothing can be ordered before on_start\(\)"):
        Room(Eager()).start()


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ((ES, "30s", 5), "shortest are minutes"),
        ((ES, "5m", 0), "the number of bars of a History must be a positive whole number, not 0"),
        ((ES, "5m", 5_001), "5,000 bars are kept"),
    ],
)
def test_a_history_that_can_not_be(how: Any, text: str) -> None:
    with pytest.raises(StrategyError, match=text):
        History(*how)


def test_warm_up_sees_pinned_parameters_and_a_history_brings_its_quotes() -> None:
    class Roots(Watcher):
        instrument: Instrument = "ES"

        def warm_up(self) -> Iterable[History]:
            assert self.instrument == ES
            yield History("MNQ", "1h", 3)

    room = Room(Roots(hears=False)).start()
    (query,) = room.queries()
    assert (query.instrument, query.period) == (MNQ, "1h")
    assert room.engine.seats["Roots"].instruments == [ES, MNQ]


def test_a_strategy_that_raises_at_a_bar_is_quarantined_and_the_others_hear_it() -> None:
    class Broken(Watcher):
        def on_bar(self, bar: Bar) -> None:
            raise ValueError("boom")

    room = Room(Broken(), Watcher(), linked=True).start()
    room.to(E1 + GRACE)
    room.answer(room.leave(), bar(E1))
    assert [name for name, _ in room.engine.faults] == ["Broken"]
    assert room.strategies[1].ends == [E1]
    room.to(E2 + GRACE)
    room.answer(room.leave(), bar(E2))
    assert room.strategies[1].ends == [E1, E2]
