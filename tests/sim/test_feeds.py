"""Where a server's quotes come from: recordings frame by frame, and endless synthetic markets."""

from __future__ import annotations

import datetime as dt
import itertools

import pytest
from tables import ES, MNQ, SECOND, START, table

from xtalgo import ContractBook, QuoteTable
from xtalgo.model.errors import ConfigError
from xtalgo.model.sessions import from_datetime, session_at
from xtalgo.model.types import NEVER
from xtalgo.sim.feeds import Feed, SyntheticFeed, TableFeed, front_month

BOOK = ContractBook()


def drain(feed: Feed, most: int = 10_000) -> list[tuple[int, tuple[str, ...], tuple[float, ...]]]:
    frames = []
    while feed.due != NEVER and len(frames) < most:
        due = feed.due
        stamp, quotes = feed.next()
        assert stamp == due
        assert all(quote.ts == stamp for quote in quotes)
        frames.append((stamp, tuple(quote.instrument for quote in quotes), tuple(quote.bid for quote in quotes)))
    return frames


def mixed() -> QuoteTable:
    """Two instruments; the second stamp has ES twice, the third has only MNQ."""
    codes = [0, 1, 0, 1, 0, 1]
    stamps = [START, START, START + SECOND, START + SECOND, START + SECOND, START + 3 * SECOND]
    bids = [100.0, 200.0, 101.0, 201.0, 102.0, 202.0]
    return QuoteTable.from_rows((ES, MNQ), codes, stamps, bids, [bid + 1 for bid in bids])


# --- recordings ------------------------------------------------------------------------------------------------------


def test_a_recording_gives_one_frame_a_stamp_and_repeats_of_an_instrument_in_frames_of_their_own():
    assert drain(TableFeed(mixed(), BOOK)) == [
        (START, (ES, MNQ), (100.0, 200.0)),
        (START + SECOND, (ES, MNQ), (101.0, 201.0)),
        (START + SECOND, (ES,), (102.0,)),
        (START + 3 * SECOND, (MNQ,), (202.0,)),
    ]


def test_a_recording_can_start_at_another_time_and_run_faster():
    late = START + 1_000 * SECOND + 7
    assert [stamp - late for stamp, _, _ in drain(TableFeed(mixed(), BOOK, start=late))] == [
        0,
        SECOND,
        SECOND,
        3 * SECOND,
    ]
    fast = drain(TableFeed(mixed(), BOOK, start=late, speed=4))
    assert [stamp - late for stamp, _, _ in fast] == [0, SECOND // 4, SECOND // 4, 3 * SECOND // 4]
    slow = drain(TableFeed(mixed(), BOOK, start=late, speed=0.1))
    assert [stamp - late for stamp, _, _ in slow] == [0, 10 * SECOND, 10 * SECOND, 30 * SECOND]


def test_a_long_recording_comes_whole_across_the_chunks_in_which_it_is_read():
    bids = [100 + (row * 7 % 40) * 0.25 for row in range(5_000)]
    frames = drain(TableFeed(table(bids), BOOK))
    assert [bid for _, _, (bid,) in frames] == bids


def test_an_exhausted_recording_is_never_due_and_says_so_when_asked():
    feed = TableFeed(table([100.0]), BOOK)
    feed.next()
    assert feed.due == NEVER
    with pytest.raises(ConfigError, match="over"):
        feed.next()
    assert TableFeed(table([]), BOOK).due == NEVER


def test_speed_needs_a_start_and_sense():
    for bad in (0, -1, float("nan"), float("inf"), True):
        with pytest.raises(ConfigError, match="speed"):
            TableFeed(mixed(), BOOK, start=START, speed=bad)
    with pytest.raises(ConfigError, match="start"):
        TableFeed(mixed(), BOOK, speed=2)


def test_a_recording_of_an_instrument_without_facts_is_refused_before_it_runs():
    with pytest.raises(ConfigError, match="tick_size"):
        TableFeed(table([1.0], instrument="XYZ 06-26"), BOOK)


@pytest.mark.parametrize("text", ["ES 06-26", "es 6-26", "ES", "ES1!", "ESM26", "ESM6", "ES JUN26"])
def test_a_recording_knows_its_instruments_in_every_spelling(text: str):
    assert TableFeed(mixed(), BOOK).knows(text) == ES


@pytest.mark.parametrize("text", ["ES 09-26", "NQ", "", "what is this", "ES 13-26"])
def test_a_recording_knows_nothing_else(text: str):
    assert TableFeed(mixed(), BOOK).knows(text) is None


def test_a_root_with_two_contracts_is_ambiguous_and_so_unknown():
    codes, stamps = [0, 1], [START, START]
    both = QuoteTable.from_rows((ES, "ES 09-26"), codes, stamps, [1.0, 2.0], [1.25, 2.25])
    assert TableFeed(both, BOOK).knows("ES") is None
    assert TableFeed(both, BOOK).knows("ESU6") == "ES 09-26"


# --- synthetic markets -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("root", "day", "name"),
    [
        ("ES", dt.date(2026, 5, 13), "ES 06-26"),
        ("ES", dt.date(2026, 6, 10), "ES 06-26"),  # the third Friday of June is the 19th
        ("ES", dt.date(2026, 6, 11), "ES 09-26"),
        ("ES", dt.date(2026, 12, 20), "ES 03-27"),
        ("CL", dt.date(2026, 5, 13), "CL 06-26"),
        ("GC", dt.date(2026, 5, 13), "GC 06-26"),
        ("NOSUCH", dt.date(2026, 5, 13), "NOSUCH 06-26"),
    ],
)
def test_a_root_stands_for_its_front_month(root: str, day: dt.date, name: str):
    assert front_month(root, day) == name


def test_a_synthetic_market_knows_roots_and_any_dated_name_with_facts():
    feed = SyntheticFeed(1, BOOK, START)
    assert feed.knows("mnq") == "MNQ 06-26"
    assert feed.knows("MNQ1!") == "MNQ 06-26"
    assert feed.knows("ESZ6") == "ES 12-26"
    assert feed.knows("ES 12-31") == "ES 12-31"
    assert feed.knows("NOSUCH") is None
    assert feed.knows("") is None
    assert SyntheticFeed(1, ContractBook({"NOSUCH": (0.5, 10)}), START).knows("nosuch") == "NOSUCH 06-26"


def test_a_synthetic_market_quotes_what_was_wanted_from_then_on():
    feed = SyntheticFeed(1, BOOK, START)
    idle = drain(feed, 3)
    assert [names for _, names, _ in idle] == [(), (), ()]
    feed.want(ES)
    first = drain(feed, 3)
    assert [names for _, names, _ in first] == [(ES,)] * 3
    feed.want(MNQ)
    feed.want(ES)
    second = drain(feed, 2)
    assert [names for _, names, _ in second] == [(ES, MNQ)] * 2
    stamps = [stamp for stamp, _, _ in idle + first + second]
    assert stamps == sorted(stamps)
    assert stamps[-1] - stamps[0] == pytest.approx(7 * SECOND, abs=SECOND)


@pytest.mark.parametrize("seed", range(5))
def test_what_is_wanted_first_doesnt_come_before_the_frame_that_was_due(seed: int):
    feed = SyntheticFeed(seed, BOOK, START)
    drain(feed, 3)
    due = feed.due  # the server's clock may be anywhere up to here
    feed.want(ES)
    assert due <= feed.due < due + 2 * SECOND


def test_the_quotes_of_an_instrument_depend_on_seed_and_day_alone():
    early, late, other = (SyntheticFeed(seed, BOOK, START) for seed in (1, 1, 2))
    for feed in (early, other):
        feed.want(ES)
    drain(late, 5)
    late.want(MNQ)
    late.want(ES)
    mine = {stamp: bids[0] for stamp, _, bids in drain(early, 40)}
    theirs = {stamp: bids[1] for stamp, _, bids in drain(late, 20)}
    common = mine.keys() & theirs.keys()
    assert len(common) >= 19
    assert all(mine[stamp] == theirs[stamp] for stamp in common)
    assert [bids for _, _, bids in drain(other, 20)] != [(bid,) for bid in list(mine.values())[:20]]


def test_a_faster_market_has_more_frames_a_second_and_the_same_prices():
    plain, fast = SyntheticFeed(1, BOOK, START), SyntheticFeed(1, BOOK, START, speed=10)
    plain.want(ES)
    fast.want(ES)
    ours, theirs = drain(plain, 30), drain(fast, 30)
    assert [bids for _, _, bids in ours] == [bids for _, _, bids in theirs]
    assert theirs[-1][0] - START == (ours[-1][0] - START) // 10


SUNDAY = from_datetime(dt.datetime(2026, 5, 17, 12, tzinfo=dt.UTC))


def test_on_a_sunday_the_market_waits_for_its_open_unless_it_never_closes():
    feed = SyntheticFeed(1, BOOK, SUNDAY)
    feed.want(ES)
    assert session_at(SUNDAY).open <= feed.due < session_at(SUNDAY).open + 2 * SECOND
    always = SyntheticFeed(1, BOOK, SUNDAY, always_open=True)
    assert drain(always, 1)[0][0] == SUNDAY
    always.want(ES)
    stamps = [stamp for stamp, names, _ in drain(always, 5) if names]
    assert len(stamps) == 5
    assert SUNDAY < stamps[0] < stamps[-1] < SUNDAY + 8 * SECOND


def test_a_market_that_never_closes_steps_over_the_daily_break():
    start = session_at(START).close - 3 * SECOND
    feed = SyntheticFeed(1, BOOK, start, always_open=True)
    feed.want(ES)
    stamps = [stamp for stamp, _, _ in drain(feed, 8)]
    gaps = [after - before for before, after in itertools.pairwise(stamps)]
    assert all(SECOND // 2 < gap < 2 * SECOND for gap in gaps)
    closing = SyntheticFeed(1, BOOK, start)
    closing.want(ES)
    stamps = [stamp for stamp, _, _ in drain(closing, 8)]
    assert max(after - before for before, after in itertools.pairwise(stamps)) > 3_000 * SECOND


def test_a_seed_must_be_one():
    for bad in (-1, True, 1.5):
        with pytest.raises(ConfigError, match="seed"):
            SyntheticFeed(bad, BOOK, START)  # type: ignore[arg-type]
