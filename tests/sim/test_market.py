"""The synthetic market: quotes that make sense, the same bits again, and the statistics it promises.

The bounds are those of the measured figures, widened for eight sessions: the volatility of single days differs by a
third, and so do means over a week. Everything is seeded, so a failure means that the generator has changed.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import io
from itertools import islice, pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from attrs import evolve

from xtalgo.model.errors import ConfigError
from xtalgo.model.instruments import ContractBook
from xtalgo.model.roots import ROOTS
from xtalgo.model.sessions import session_at, to_datetime
from xtalgo.model.types import HOUR_NS, MILLISECOND_NS, SECOND_NS
from xtalgo.sim.market import FRAMES_PER_SESSION, SessionQuotes, SyntheticMarket
from xtalgo.sim.profile import MOVE_BP, VOLUME_PER_MINUTE, PathSpec, spec_for, specs_for

ES, MNQ = "ES 06-26", "MNQ 06-26"
FIRST = dt.date(2026, 3, 2)
DAYS = [dt.date(2026, 3, day) for day in (2, 3, 4, 5, 6, 9, 10, 11)]  # clocks change on Sunday the 8th
CASH = slice(55_800, 79_200)
COLUMNS = ("ts", "bid", "ask", "last", "volume", "bid_size", "ask_size")
START_TICKS = {ES: 7_113 * 4, MNQ: 26_192 * 4}
PROFILE = {ES: "ES", MNQ: "MNQ"}


def market(seed=14, names=(ES, MNQ), first=FIRST):
    return SyntheticMarket(seed, specs_for(names), first)


@pytest.fixture(scope="module")
def week() -> list[SessionQuotes]:
    made = market()
    return [made.session(day) for day in DAYS]


@pytest.fixture(scope="module")
def everything() -> SessionQuotes:
    return market(names=ROOTS).session(FIRST)


def stacked(week, name, column):
    """One column of one instrument, a row a session."""
    return np.stack([getattr(session[name], column) for session in week])


def mids(week, name):
    return (stacked(week, name, "bid") + stacked(week, name, "ask")) / 2


def moves(week, name):
    """One-minute moves of the last price, a row a session."""
    last = stacked(week, name, "last")
    return np.diff(last[:, 59::60], axis=1, prepend=last[:, :1])


def relative(week, name):
    """Absolute one-minute moves over their profile, in ticks."""
    profile = np.repeat(MOVE_BP[PROFILE[name]] * 1e-4 * START_TICKS[name], 30)
    return np.abs(moves(week, name)) / profile


def same(one, other):
    return all(np.array_equal(getattr(one, column), getattr(other, column)) for column in COLUMNS)


class TestQuotes:
    @pytest.mark.parametrize("name", [ES, MNQ])
    def test_are_never_crossed_or_locked_and_always_positive(self, week, name):
        for session in week:
            quotes = session[name]
            assert len(quotes) == FRAMES_PER_SESSION
            assert (quotes.ask > quotes.bid).all()
            assert quotes.bid.min() > 0
            assert quotes.last.min() > 0
            assert min(quotes.bid_size.min(), quotes.ask_size.min()) >= 1

    def test_volume_never_falls_and_begins_anew_each_session(self, week):
        for name in (ES, MNQ):
            volume = stacked(week, name, "volume")
            assert (np.diff(volume, axis=1) >= 0).all()
            assert (volume[:, 0] >= 1).all()
            assert (volume[:, 0] < volume[:, -1].min() / 1_000).all()

    def test_columns_have_their_types_and_cannot_be_written(self, week):
        quotes = week[0][ES]
        assert [getattr(quotes, column).dtype.name for column in COLUMNS] == ["int64"] * 5 + ["int32"] * 2
        for column in COLUMNS:
            with pytest.raises(ValueError, match="read-only"):
                getattr(quotes, column)[0] = 0

    def test_the_last_price_is_at_the_touch_of_this_or_the_previous_quote(self, week):
        for name in (ES, MNQ):
            last, bid, ask = (stacked(week, name, column) for column in ("last", "bid", "ask"))
            touch = (last == bid) | (last == ask)
            touch[:, 1:] |= (last[:, 1:] == bid[:, :-1]) | (last[:, 1:] == ask[:, :-1])
            assert 0.95 < touch.mean() < 0.99

    def test_prices_are_canonical(self, week):
        quotes = week[0][ES]
        assert quotes.prices("bid")[:100].tolist() == [quotes.contract.to_price(t) for t in quotes.bid[:100].tolist()]

    def test_a_table_has_the_rows_of_the_session(self, week):
        table = week[0].table()
        assert table.instruments == week[0].instruments == (ES, MNQ)
        assert len(table) == 2 * FRAMES_PER_SESSION
        for name in (ES, MNQ):
            quotes, rows = week[0][name], table.rows(name)
            assert np.array_equal(table.ts[rows], quotes.ts)
            assert np.array_equal(table.ask[rows], quotes.prices("ask"))
            assert np.array_equal(table.bid_size[rows], quotes.bid_size)
        assert [quote.instrument for quote in table.quotes(0, 4)] == [ES, MNQ, ES, MNQ]
        stamps = table.stamps(0, 1_000)
        assert stamps == sorted(stamps)

    def test_two_sessions_make_small_files(self, week):
        total = 0
        for quotes in (session[name] for session in week[:2] for name in (ES, MNQ)):
            columns = {name: getattr(quotes, name) for name in COLUMNS}
            columns.update({name: quotes.prices(name) for name in ("bid", "ask", "last")})
            file = io.BytesIO()
            pq.write_table(
                pa.table(columns),
                file,
                compression="zstd",
                use_dictionary=["bid_size", "ask_size"],
                column_encoding={"ts": "DELTA_BINARY_PACKED", "volume": "DELTA_BINARY_PACKED"}
                | dict.fromkeys(("bid", "ask", "last"), "BYTE_STREAM_SPLIT"),
            )
            total += file.tell()
        assert total < 2_500_000


class TestStamps:
    def test_rise_by_about_a_second_in_whole_milliseconds_inside_the_session(self, week):
        for session in week:
            steps = np.diff(session.ts)
            assert steps.min() > 0.98 * SECOND_NS
            assert steps.max() < 1.02 * SECOND_NS
            assert len(np.unique(steps)) > 5
            assert not (session.ts % MILLISECOND_NS).any()
            assert session.session.contains(int(session.ts[0]))
            assert session.session.contains(int(session.ts[-1]))
            assert all(quotes.ts is session.ts for quotes in session.quotes)

    def test_follow_new_york_through_a_weekend_with_a_change_of_clocks(self, week):
        openings = {session.session.day: to_datetime(int(session.ts[0])) for session in week}
        assert openings[dt.date(2026, 3, 6)].isoformat()[:13] == "2026-03-05T23"
        assert openings[dt.date(2026, 3, 9)].isoformat()[:13] == "2026-03-08T22"
        for before, after in pairwise(week):
            assert after.session == session_at(before.session.close)
            pause = int(after.ts[0] - before.ts[-1]) / HOUR_NS
            assert pause == pytest.approx(49 - 1 if after.session.day == dt.date(2026, 3, 9) else 1, abs=0.01)


class TestDeterminism:
    def test_the_same_seed_gives_the_same_bits_in_any_order_of_asking(self, week):
        again = market()
        for number in (2, 0, 1):
            for name in (ES, MNQ):
                assert same(again.session(DAYS[number])[name], week[number][name])

    def test_another_seed_gives_other_quotes(self, week):
        other = market(seed=15).session(FIRST)
        for name in (ES, MNQ):
            for column in COLUMNS:
                assert not np.array_equal(getattr(other[name], column), getattr(week[0][name], column))

    def test_another_instrument_changes_nothing(self, week):
        wider = market(names=("CL 07-26", MNQ, "MES 06-26", ES)).session(DAYS[1])
        assert wider.instruments == ("CL 07-26", MNQ, "MES 06-26", ES)
        assert same(wider[ES], week[1][ES])
        assert same(wider[MNQ], week[1][MNQ])

    def test_the_bits_are_those_of_every_supported_numpy(self, week):
        """Change the digest when the generator is meant to change: recordings that were made before are then old."""
        digest = hashlib.sha256()
        for column in COLUMNS:
            digest.update(getattr(week[1][MNQ], column).tobytes())
        assert digest.hexdigest()[:16] == "5327ccb27a5c9e70"

    def test_sessions_differ(self, week):
        steps = [np.diff(session[ES].bid) for session in week]
        assert all(not np.array_equal(one, other) for one, other in pairwise(steps))


class TestPaths:
    def test_an_index_has_one_price_and_each_contract_its_own_quotes(self):
        session = market(names=(ES, "MES 06-26", MNQ, "NQ 06-26")).session(FIRST)
        for one, other, most in ((ES, "MES 06-26", 3), (MNQ, "NQ 06-26", 10)):
            mid, twin = ((session[name].bid + session[name].ask) / 2 for name in (one, other))
            apart = mid - twin  # each sleeps through seconds of its own
            assert abs(apart.mean()) < 0.05
            assert np.quantile(np.abs(apart), 0.99) <= most
            assert not np.array_equal(session[one].bid, session[other].bid)
            assert not np.array_equal(session[one].bid_size, session[other].bid_size)
            assert not np.array_equal(session[one].volume, session[other].volume)

    def test_starts_at_the_start_price(self, week):
        for name in (ES, MNQ):
            assert week[0][name].bid[0] == pytest.approx(START_TICKS[name], abs=20)

    def test_gaps_carry_the_price_over_the_break_and_the_weekend(self, week):
        for name, ticks_per_bp in ((ES, 2.85), (MNQ, 10.5)):
            mid = mids(week, name)
            gaps = dict(zip(DAYS[1:], np.abs(mid[1:, 0] - mid[:-1, -1]), strict=True))
            weekend = gaps.pop(dt.date(2026, 3, 9))
            assert 0 < weekend < 24.6 * 5 * 1.5 * ticks_per_bp
            assert 0 < max(gaps.values()) < 2.0 * 14 * 1.5 * ticks_per_bp

    def test_no_volatility_is_no_move(self):
        spec = spec_for(ES)
        still = evolve(spec, path=evolve(spec.path, volatility=0.0))
        quotes = SyntheticMarket(1, [still], FIRST).session(FIRST)[ES]
        assert np.abs(quotes.bid - START_TICKS[ES]).max() <= 2


class TestStatistics:
    """Against the figures measured on ES and MNQ; see the module docstring for the width of the bounds."""

    @pytest.mark.parametrize("name", [ES, MNQ])
    def test_moves_follow_the_half_hours(self, week, name):
        ratio = relative(week, name).reshape(len(week), 46, 30).mean(axis=(0, 2))
        assert ratio.mean() == pytest.approx(1.0, abs=0.15)
        assert ratio.min() > 0.6
        assert ratio.max() < 1.6
        by_slot = np.abs(moves(week, name)).reshape(len(week), 46, 30).mean(axis=(0, 2))
        assert by_slot[31] > 1.5 * by_slot[38:42].mean() > 2 * by_slot[10:14].mean()  # open, afternoon, midnight
        assert np.corrcoef(by_slot, MOVE_BP[PROFILE[name]])[0, 1] > 0.9

    @pytest.mark.parametrize("name", [ES, MNQ])
    def test_tails_are_fat(self, week, name):
        moves = relative(week, name)
        quantiles = np.quantile(moves / moves.mean(), [0.5, 0.75, 0.9, 0.95, 0.99])
        assert quantiles == pytest.approx([0.69, 1.34, 2.18, 2.94, 5.04], rel=0.15)

    @pytest.mark.parametrize("name", [ES, MNQ])
    def test_volatility_clusters_and_direction_does_not(self, week, name):
        def correlation(values, lag):
            return (values[:, :-lag] * values[:, lag:]).mean() / (values * values).mean()

        size = relative(week, name)
        size = size / size.mean() - 1
        assert correlation(size, 1) == pytest.approx(0.30, rel=0.25)
        assert correlation(size, 5) == pytest.approx(0.19, rel=0.25)
        assert correlation(size, 30) == pytest.approx(0.15, rel=0.3)
        signed = relative(week, name) * np.sign(moves(week, name))
        assert max(abs(correlation(signed, lag)) for lag in (1, 2, 5)) < 0.05

    def test_the_indices_move_together(self, week):
        moved = np.corrcoef(moves(week, ES).ravel(), moves(week, MNQ).ravel())[0, 1]
        assert moved == pytest.approx(0.93, abs=0.03)

    def test_ranges_of_a_day(self, week):
        for name, mean in ((ES, 391), (MNQ, 1_994)):
            last = stacked(week, name, "last")
            assert (last.max(axis=1) - last.min(axis=1)).mean() == pytest.approx(mean, rel=0.3)

    def test_spread_of_es(self, week):
        spread = stacked(week, ES, "ask") - stacked(week, ES, "bid")
        assert 0.95 < (spread == 1).mean() < 0.975
        assert 0 < (spread >= 3).mean() < 0.003
        assert spread.max() == 3
        assert (spread[:, :600] > 1).mean() > 2 * (spread > 1).mean()  # after the open

    def test_spread_of_mnq(self, week):
        spread = stacked(week, MNQ, "ask") - stacked(week, MNQ, "bid")
        shares = [(spread[:, CASH] == ticks).mean() for ticks in (1, 2, 3)]
        assert shares == pytest.approx([0.45, 0.40, 0.15], abs=0.05)
        assert spread[:, :50_000].max() == 5

    def test_quiet_evenings_are_quiet_and_no_frame_is_a_monster(self, week):
        mid = mids(week, ES)
        steps = np.diff(mid, axis=1)
        assert 0.78 < (steps[:, 18_000:36_000] == 0).mean() < 0.92  # 23:00 to 04:00
        assert 0.4 < (steps[:, CASH] == 0).mean() < 0.75
        assert np.abs(steps).max() <= 40

    @pytest.mark.parametrize(("name", "night", "day"), [(ES, (15, 30), (30, 60)), (MNQ, (3, 8), (6, 15))])
    def test_sizes(self, week, name, night, day):
        for side in ("bid_size", "ask_size"):
            size = stacked(week, name, side)
            assert night[0] <= np.median(size[:, 18_000:36_000]) <= night[1]
            assert day[0] <= np.median(size[:, CASH]) <= day[1]
            assert 0.7 < np.log(size[:, 18_000:36_000]).std() < 1.2

    def test_sizes_move_in_small_steps_while_a_price_stands(self, week):
        size, price = (stacked(week, ES, column)[:, 18_000:36_000] for column in ("bid_size", "bid"))
        steps = np.abs(np.diff(size, axis=1)) / size[:, :-1]
        stands = np.diff(price, axis=1) == 0
        assert np.median(steps[stands]) < 0.1
        assert np.median(steps[~stands]) > 0.3

    def test_imbalance_tells_a_little_of_the_next_seconds(self, week):
        bid, ask = (stacked(week, ES, side)[:, 18_000:40_000] for side in ("bid_size", "ask_size"))
        imbalance = (bid - ask) / (bid + ask)
        mid = mids(week, ES)
        ahead = mid[:, 18_005:40_005] - mid[:, 18_000:40_000]
        edges = [-1.01, -0.6, -0.2, 0.2, 0.6, 1.01]
        means = [ahead[(imbalance > low) & (imbalance <= high)].mean() for low, high in pairwise(edges)]
        assert means == pytest.approx([-0.17, -0.06, 0.0, 0.10, 0.19], abs=0.06)

    @pytest.mark.parametrize("name", [ES, MNQ])
    def test_volume(self, week, name):
        minutes = np.diff(stacked(week, name, "volume")[:, 59::60], axis=1, prepend=0)
        profile = np.repeat(VOLUME_PER_MINUTE[PROFILE[name]], 30)
        assert (minutes / profile).mean() == pytest.approx(1.0, abs=0.2)
        log = np.log(np.maximum(minutes, 1) / profile)
        assert log.std() == pytest.approx(0.7, rel=0.2)
        assert np.corrcoef(log.ravel(), relative(week, name).ravel())[0, 1] == pytest.approx(0.5, rel=0.2)


class TestFrames:
    def test_equal_the_rows_of_the_session(self, week):
        frames = list(islice(market().frames(week[0].session.open), 2_500))
        assert [ts for ts, _ in frames] == week[0].ts[:2_500].tolist()
        for k, name in enumerate((ES, MNQ)):
            quotes = week[0][name]
            rows = [row[k] for _, row in frames]
            assert {row.instrument for row in rows} == {name}
            assert [row.ts for row in rows] == quotes.ts[:2_500].tolist()
            assert [row.bid for row in rows] == quotes.prices("bid")[:2_500].tolist()
            assert [row.ask for row in rows] == quotes.prices("ask")[:2_500].tolist()
            assert [row.last for row in rows] == quotes.prices("last")[:2_500].tolist()
            assert [row.volume for row in rows] == quotes.volume[:2_500].tolist()
            assert [row.bid_size for row in rows] == quotes.bid_size[:2_500].tolist()
            assert [row.ask_size for row in rows] == quotes.ask_size[:2_500].tolist()

    def test_go_on_over_the_weekend(self, week):
        friday, monday = week[4], week[5]
        stamps = [ts for ts, _ in islice(market(first=DAYS[4]).frames(int(friday.ts[-3])), 5)]
        assert stamps == [*friday.ts[-3:].tolist(), *monday.ts[:2].tolist()]

    def test_begin_at_the_first_stamp_from_the_start_on(self, week):
        made = market()
        for start, expected in (
            (int(week[1].ts[100]), week[1].ts[100]),
            (int(week[1].ts[100]) + 1, week[1].ts[101]),
            (week[0].session.close + HOUR_NS // 2, week[1].ts[0]),  # in the daily break
            (week[0].session.open - 100 * HOUR_NS, week[0].ts[0]),  # before the market begins
        ):
            assert next(made.frames(start))[0] == expected


class TestInstruments:
    @pytest.mark.parametrize("root", ROOTS)
    def test_every_root_has_a_market(self, everything, root):
        quotes = everything[root]
        assert (quotes.ask > quotes.bid).all()
        assert quotes.bid.min() > 1_000
        assert (quotes.ask - quotes.bid).mean() < 5
        assert len(np.unique(quotes.bid)) > 10
        assert np.abs(np.diff(quotes.bid)).max() < 0.005 * quotes.bid[0]
        assert (np.diff(quotes.volume) >= 0).all()
        assert quotes.volume[-1] > 1_000
        assert np.abs(quotes.last - quotes.bid).max() < 0.01 * quotes.bid[0]

    def test_a_root_of_ones_own(self):
        book = ContractBook({"XYZ": (0.5, 20.0)})
        spec = spec_for("XYZ 06-26", book)
        quotes = SyntheticMarket(1, [spec], FIRST).session(FIRST)["XYZ 06-26"]
        assert quotes.prices("bid")[0] == pytest.approx(5_000, rel=0.01)
        with pytest.raises(ConfigError, match="no contract facts"):
            spec_for("XYZ 06-26")

    @pytest.mark.parametrize(
        "wrong",
        [
            {"spread_day": (0.5, 0.4)},
            {"spread_night": ()},
            {"spread_night": (1.5, -0.5)},
            {"spread_keep": 1.0},
            {"quiet": 1.0},
            {"size": 0},
            {"volume": 0},
            {"start_price": 1.0},
        ],
    )
    def test_figures_that_make_no_sense_are_refused(self, wrong):
        with pytest.raises(ConfigError):
            evolve(spec_for(ES), **wrong)

    @pytest.mark.parametrize("wrong", [{"profile": "CL"}, {"volatility": -1}, {"loading": 1.1}])
    def test_paths_that_make_no_sense_are_refused(self, wrong):
        with pytest.raises(ConfigError):
            PathSpec("X", **wrong)

    def test_markets_that_make_no_sense_are_refused(self):
        for names, seed, first, match in (
            ((), 1, FIRST, "needs instruments"),
            ((ES, ES), 1, FIRST, "needs instruments"),
            ((ES,), -1, FIRST, "seed"),
            ((ES,), 1, dt.date(2026, 3, 7), "Saturday"),
        ):
            with pytest.raises(ConfigError, match=match):
                market(seed, names, first)

    def test_days_without_a_session_are_refused(self):
        made = market()
        with pytest.raises(ConfigError, match="Sunday"):
            made.session(dt.date(2026, 3, 8))
        with pytest.raises(ConfigError, match="begins on 2026-03-02"):
            made.session(dt.date(2026, 2, 27))
        with pytest.raises(ValueError):
            made.session(FIRST)["CL 06-26"]
