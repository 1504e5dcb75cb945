"""Timers on event time: once, at intervals, at a time of day."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from zoneinfo import ZoneInfo

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from tables import ES, SECOND, START

from xtalgo import ContractBook, Instrument, Strategy, StrategyError, Timer
from xtalgo.engine.engine import Engine
from xtalgo.engine.timers import Timers, daily, parse_time
from xtalgo.model.events import Quote, Tick
from xtalgo.model.sessions import NEW_YORK, from_datetime, session_at, to_datetime
from xtalgo.model.types import DAY_NS, MINUTE_NS, NEVER


def ny(text: str) -> int:
    """An instant by what clocks in New York show."""
    return from_datetime(dt.datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(NEW_YORK)))


def local(ts: int, zone: str = NEW_YORK) -> str:
    return to_datetime(ts, zone).strftime("%Y-%m-%d %H:%M")


class Log:
    """Timers that write down what ran, as the engine runs them: each at its own time."""

    def __init__(self) -> None:
        self.timers = Timers()
        self.ran: list[tuple[int, str]] = []
        self.now = 0

    def add(self, due: int, tag: str, again: Callable[[int], int] | None = None, *, engines: bool = False) -> Timer:
        timer = Timer(due, tag, lambda: self.ran.append((self.now, tag)), again, is_engines=engines)
        self.timers.add(timer)
        return timer

    def run(self, until: int) -> None:
        while self.timers.due <= until:
            self.now = self.timers.due
            act = self.timers.pop(self.now)
            if act is not None:
                act()


@pytest.fixture
def log() -> Log:
    return Log()


# --- the heap --------------------------------------------------------------------------------------------------------


def test_without_timers_nothing_is_due(log: Log) -> None:
    assert log.timers.due == NEVER
    assert log.timers.pop(NEVER - 1) is None


def test_each_runs_once_in_order_of_time(log: Log) -> None:
    for due in (30, 10, 20):
        log.add(due, str(due))
    assert log.timers.due == 10
    log.run(19)
    assert log.ran == [(10, "10")]
    assert log.timers.due == 20
    assert log.timers.pop(19) is None
    log.run(100)
    assert log.ran == [(10, "10"), (20, "20"), (30, "30")]
    assert log.timers.due == NEVER


def test_at_the_same_time_the_engines_own_run_first_then_in_order_of_making(log: Log) -> None:
    log.add(10, "a")
    log.add(10, "bar", engines=True)
    log.add(10, "b")
    log.add(10, "day", engines=True)
    log.add(9, "early")
    log.run(10)
    assert [tag for _, tag in log.ran] == ["early", "bar", "day", "a", "b"]


def test_a_repeating_one_stays_in_its_rhythm(log: Log) -> None:
    timer = log.add(10, "x", lambda due: due + 7)
    log.run(9)
    assert timer.due == 10
    log.run(30)
    assert log.ran == [(10, "x"), (17, "x"), (24, "x")]
    assert timer.due == log.timers.due == 31


def test_cancel(log: Log) -> None:
    first, repeating = log.add(10, "once"), log.add(5, "again", lambda due: due + 5)
    log.run(5)
    first.cancel()
    repeating.cancel()
    assert (first.cancelled, repeating.cancelled) == (True, True)
    log.run(100)
    assert log.ran == [(5, "again")]
    assert log.timers.due == NEVER
    first.cancel()  # again: nothing happens


def test_one_that_has_run_counts_as_over(log: Log) -> None:
    timer = log.add(10, "once")
    assert not timer.cancelled
    log.run(10)
    assert timer.cancelled


def test_cancelled_from_within(log: Log) -> None:
    made: list[Timer] = []

    def run() -> None:
        log.ran.append((log.now, "self"))
        if len(log.ran) == 3:
            made[0].cancel()

    made.append(Timer(10, "self", run, lambda due: due + 10))
    log.timers.add(made[0])
    log.run(1_000)
    assert [now for now, _ in log.ran] == [10, 20, 30]


@given(dues=st.lists(st.tuples(st.integers(0, 5), st.booleans(), st.booleans())))
def test_the_order_of_any_timers(dues: list[tuple[int, bool, bool]]) -> None:
    log = Log()
    made = [log.add(due, str(n), engines=engines) for n, (due, engines, _) in enumerate(dues)]
    for timer, (_, _, cancelled) in zip(made, dues, strict=True):
        if cancelled:
            timer.cancel()
    log.run(5)
    kept = [(due, not engines, n) for n, (due, engines, cancelled) in enumerate(dues) if not cancelled]
    assert log.ran == [(due, str(n)) for due, _, n in sorted(kept)]


# --- times of day ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "time"), [("09:45", dt.time(9, 45)), ("09:45:30", dt.time(9, 45, 30)), ("00:00", dt.time())]
)
def test_times(text: str, time: dt.time) -> None:
    assert parse_time(text) == time


@pytest.mark.parametrize("text", ["9:45", "", "nine", "25:00", "09:60", "09:45 am", "-09:45"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(StrategyError, match="is not a time of day; write it as '09:45' or '09:45:30'"):
        parse_time(text)


@pytest.mark.parametrize("text", ["09:45Z", "09:45+01:00", "09:45-05:00"])
def test_a_zone_is_given_apart(text: str) -> None:
    with pytest.raises(StrategyError, match="carries a zone; give it as tz="):
        parse_time(text)


def week(after: str, time: str, zone: str = NEW_YORK, count: int = 6) -> list[str]:
    ts, found = ny(after), []
    for _ in range(count):
        ts = daily(ts, parse_time(time), zone)
        found.append(local(ts, zone))
    return found


def test_daily_skips_the_weekend() -> None:
    assert week("2026-05-13T10:00", "09:45") == [
        *("2026-05-14 09:45", "2026-05-15 09:45", "2026-05-18 09:45", "2026-05-19 09:45"),
        *("2026-05-20 09:45", "2026-05-21 09:45"),
    ]
    # The evening of a Friday is the weekend, that of a Sunday is not.
    assert week("2026-05-13T23:00", "20:00", count=3) == ["2026-05-14 20:00", "2026-05-17 20:00", "2026-05-18 20:00"]
    assert week("2026-05-15T18:30", "18:00", count=2) == ["2026-05-17 18:00", "2026-05-18 18:00"]


def test_daily_is_later_than_now() -> None:
    assert week("2026-05-13T09:44:59.999999", "09:45", count=1) == ["2026-05-13 09:45"]
    assert week("2026-05-13T09:45", "09:45", count=1) == ["2026-05-14 09:45"]


def test_daily_at_the_edges_of_the_session() -> None:
    assert week("2026-05-13T10:00", "16:59:59", count=1) == ["2026-05-13 16:59"]
    assert week("2026-05-13T10:00", "18:00", count=1) == ["2026-05-13 18:00"]


def test_daily_follows_the_clocks() -> None:
    across = [daily(ny(day), dt.time(9, 45), NEW_YORK) for day in ("2026-03-06T00:00", "2026-03-07T00:00")]
    assert [local(ts, "UTC") for ts in across] == ["2026-03-06 14:45", "2026-03-09 13:45"]
    assert across[1] - across[0] == 3 * DAY_NS - 60 * MINUTE_NS
    back = [daily(ny(day), dt.time(9, 45), NEW_YORK) for day in ("2026-10-30T00:00", "2026-10-31T00:00")]
    assert [local(ts, "UTC") for ts in back] == ["2026-10-30 13:45", "2026-11-02 14:45"]


def test_daily_in_another_zone_skips_what_is_the_break_there() -> None:
    """23:30 in Berlin is 17:30 in New York, but 18:30 in the weeks when only America has summer time."""
    assert week("2026-03-03T12:00", "23:30", "Europe/Berlin", 3) == [
        *("2026-03-08 23:30", "2026-03-09 23:30", "2026-03-10 23:30"),
    ]
    assert week("2026-03-26T20:00", "23:30", "Europe/Berlin", 2) == ["2026-10-25 23:30", "2026-10-26 23:30"]


zones = st.sampled_from([NEW_YORK, "America/Chicago", "UTC", "Asia/Tokyo", "Asia/Kolkata", "Australia/Sydney"])
times = st.times(min_value=dt.time(0), max_value=dt.time(23, 59)).map(lambda time: time.replace(microsecond=0))


@given(after=st.integers(ny("2024-01-01T00:00"), ny("2028-01-01T00:00")), time=times, zone=zones)
def test_daily(after: int, time: dt.time, zone: str) -> None:
    assume(time.hour != {NEW_YORK: 17, "America/Chicago": 16}.get(zone))  # the break, all year
    found = daily(after, time, zone)
    assert found > after
    assert session_at(found).contains(found)
    assert to_datetime(found, zone).time() == time
    assert daily(found - 1, time, zone) == found


# --- as strategies use them ------------------------------------------------------------------------------------------


class Timed(Strategy):
    instrument: Instrument = ES

    def on_start(self) -> None:
        self.seen: list[tuple[float, str]] = []
        self.handles: dict[str, Timer] = {}
        self.set_up()

    def set_up(self) -> None:
        """What one test wants."""

    def write(self, tag: str) -> None:
        self.seen.append(((self.now - START) / SECOND, tag))

    def on_quote(self, quote: Quote) -> None:
        self.write("quote")

    def on_timer(self, tag: str) -> None:
        self.write(tag)


def start(strategy: Strategy, now: int = START) -> Engine:
    contracts = ContractBook()
    engine = Engine([strategy], contracts=contracts, pin=lambda text: contracts.pin(text, [ES]))
    engine.start(now)
    return engine


def test_after() -> None:
    class Once(Timed):
        def set_up(self) -> None:
            self.after(2.5, "soon")
            self.after(1)

    strategy = Once()
    engine = start(strategy)
    assert engine.due == START + SECOND
    engine.handle(Tick(START + 10 * SECOND))
    assert strategy.seen == [(1.0, ""), (2.5, "soon")]


def test_every_runs_once_for_each_interval_even_when_time_leaps() -> None:
    class Often(Timed):
        def set_up(self) -> None:
            self.handles["x"] = self.every(2, "x")

    strategy = Often()
    engine = start(strategy)
    engine.handle(Tick(START + 2 * SECOND - 1))
    assert strategy.seen == []
    engine.handle(Tick(START + 7 * SECOND))
    assert strategy.seen == [(2.0, "x"), (4.0, "x"), (6.0, "x")]
    assert strategy.handles["x"].due == START + 8 * SECOND
    strategy.handles["x"].cancel()
    engine.handle(Tick(START + 60 * SECOND))
    assert len(strategy.seen) == 3


def test_at_is_in_new_york_unless_told_otherwise() -> None:
    class Daily(Timed):
        def set_up(self) -> None:
            self.at("10:15", "new york")
            self.at("09:15", "chicago", tz="America/Chicago")
            self.at("14:30:30", "utc", tz="UTC")

    strategy = Daily()
    engine = start(strategy)  # 10:00 in New York on a Wednesday
    engine.handle(Tick(START + DAY_NS))
    assert strategy.seen == [(900.0, "new york"), (900.0, "chicago"), (1830.0, "utc")]
    engine.handle(Tick(START + 6 * DAY_NS))
    days = [seconds // 86_400 for seconds, tag in strategy.seen if tag == "utc"]
    assert days == [0, 1, 2, 5]


def test_a_timer_of_a_timer() -> None:
    class Chain(Timed):
        def set_up(self) -> None:
            self.after(1, "1")

        def on_timer(self, tag: str) -> None:
            super().on_timer(tag)
            if int(tag) < 4:
                self.after(1, str(int(tag) + 1))

    strategy = Chain()
    engine = start(strategy)
    engine.handle(Tick(START + 60 * SECOND))
    assert strategy.seen == [(1.0, "1"), (2.0, "2"), (3.0, "3"), (4.0, "4")]


def test_the_engines_own_come_first_at_the_same_time() -> None:
    """At the end of a bar a timer of that instant finds it finished."""

    class Minute(Timed):
        def set_up(self) -> None:
            self.minutes = self.bars(ES, "1m")
            self.after(60, "timer")

        def on_bar(self, bar: object) -> None:
            self.write("bar")

        def on_timer(self, tag: str) -> None:
            self.write(f"{tag} sees {len(self.minutes)}")

    strategy = Minute()
    engine = start(strategy)
    engine.handle(Quote(START, ES, 4800.0, 4800.25, 4800.0))
    engine.handle(Tick(START + 60 * SECOND))
    assert strategy.seen == [(0.0, "quote"), (60.0, "bar"), (60.0, "timer sees 1")]


@pytest.mark.parametrize("seconds", [0, -1, float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("verb", ["after", "every"])
def test_a_span_is_positive(verb: str, seconds: float) -> None:
    class Wrong(Timed):
        def set_up(self) -> None:
            getattr(self, verb)(seconds, "x")

    with pytest.raises(StrategyError, match="a timer needs a positive number of seconds"):
        start(Wrong())


@pytest.mark.parametrize(
    ("time", "zone", "message"),
    [
        ("9:45", None, "is not a time of day"),
        ("09:45", "Mars/Olympus", "'Mars/Olympus' is not a time zone; use an IANA name"),
        ("09:45", "../etc", "is not a time zone"),
    ],
)
def test_a_time_that_is_none(time: str, zone: str | None, message: str) -> None:
    class Wrong(Timed):
        def set_up(self) -> None:
            self.at(time, "x", tz=zone)

    with pytest.raises(StrategyError, match=message):
        start(Wrong())


@pytest.mark.timeout(3)
@pytest.mark.parametrize(("time", "zone"), [("17:30", None), ("16:00", "America/Chicago")])
def test_a_time_of_day_that_is_always_in_the_break_is_an_error(time: str, zone: str | None) -> None:
    class Wrong(Timed):
        def set_up(self) -> None:
            self.at(time, "never", tz=zone)

    with pytest.raises(StrategyError, match=time):
        start(Wrong())
