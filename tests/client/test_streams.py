"""Subscriptions within their own budget, and the watch over quotes that stop coming."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from xtalgo.client.streams import PATIENCE, QUIET, SILENCE, Silence, Subscriptions
from xtalgo.model.types import NEVER
from xtalgo.protocol.choices import Events

SECOND = 1_000_000_000
MINUTE = 60 * SECOND


def said(streams: Subscriptions, now: int) -> list[dict[str, object]]:
    out = []
    while (text := streams.pop(now)) is not None:
        out.append(json.loads(text))
    return out


def test_each_connection_hears_everything_in_one_message() -> None:
    streams = Subscriptions(instruments=["ES 06-26", "MNQ 06-26"])
    assert said(streams, 0) == []
    for connection in range(2):
        streams.link_up()
        assert said(streams, connection * MINUTE) == [
            {"action": "subscribe", "instruments": ["ES 06-26", "MNQ 06-26"]},
            {"action": "streamPnl", "enabled": True},
        ]
        streams.link_down()
    assert streams.sent == 4


def test_what_is_wanted_later_is_said_once_and_again_to_the_next_connection() -> None:
    streams = Subscriptions(instruments=["ES 06-26"], pnl=False)
    streams.link_up()
    said(streams, 0)
    streams.want(["ES 06-26", "CL 07-26"])
    streams.want(["CL 07-26"])
    assert said(streams, SECOND) == [{"action": "subscribe", "instruments": ["CL 07-26"]}]
    streams.link_down()
    streams.want(["GC 08-26"])
    assert said(streams, 2 * SECOND) == []
    streams.link_up()
    assert said(streams, MINUTE) == [{"action": "subscribe", "instruments": ["ES 06-26", "CL 07-26", "GC 08-26"]}]


def test_nothing_waits_where_nothing_is_wanted() -> None:
    streams = Subscriptions(pnl=False)
    streams.link_up()
    assert streams.due(0) == NEVER
    assert said(streams, 0) == []


def test_what_was_not_said_before_the_drop_is_not_said_twice_after_it() -> None:
    streams = Subscriptions(instruments=["ES 06-26"])
    streams.link_up()
    streams.link_down()
    assert streams.due(0) == NEVER
    streams.link_up()
    assert len(said(streams, 0)) == 2


@given(st.lists(st.tuples(st.integers(0, 20 * SECOND), st.booleans()), max_size=80))
def test_the_budget_is_a_burst_of_five_and_twenty_a_minute(steps: list[tuple[int, bool]]) -> None:
    streams = Subscriptions(instruments=["ES 06-26"])
    now, at = 0, []
    for number, (passed, reconnect) in enumerate(steps):
        now += passed
        if reconnect:
            streams.link_up()
        streams.want([f"X{number} 06-26"])
        at += [now] * len(said(streams, now))
        assert streams.due(now) > now
    for first in range(len(at)):
        for last in range(first, len(at)):
            assert last - first + 1 <= 5 + 20 * (at[last] - at[first]) / MINUTE + 1e-6


def test_the_sixth_message_leaves_as_soon_as_the_budget_lets_it() -> None:
    streams = Subscriptions(pnl=False)
    streams.link_up()
    for number in range(6):
        streams.want([f"X{number} 06-26"])
    assert len(said(streams, 0)) == 5
    due = streams.due(0)
    assert 3 * SECOND <= due <= 3 * SECOND + SECOND // 2
    assert len(said(streams, due)) == 1


# --- silence ------------------------------------------------------------------------------------------------------


def test_quotes_are_stale_after_fifteen_seconds_and_not_before() -> None:
    silence = Silence()
    assert silence.due == NEVER
    silence.expect(0)
    silence.data(10 * SECOND)
    assert not silence.check(25 * SECOND - 1)
    assert not silence.is_stale
    assert silence.check(25 * SECOND)
    assert silence.is_stale


def test_the_gaps_double_up_to_ten_minutes_until_data_returns() -> None:
    silence = Silence()
    silence.expect(0)
    now, gaps = 0, []
    for _ in range(9):
        due = silence.due
        gaps.append((due - now) // SECOND)
        assert silence.check(due)
        silence.pause()
        now = due
        silence.expect(now)  # connected again at once
    assert gaps == [15, 30, 60, 120, 240, 480, 600, 600, 600]
    assert PATIENCE == 600 * SECOND
    assert silence.data(now)
    assert not silence.is_stale
    assert silence.due == now + SILENCE
    assert silence.check(now + SILENCE)
    silence.expect(now + SILENCE)
    assert silence.due == now + SILENCE + 30 * SECOND


def test_a_frame_of_quotes_only_ends_a_silence_that_was_noticed() -> None:
    silence = Silence()
    silence.expect(0)
    assert not silence.data(SECOND)
    silence.check(60 * SECOND)
    assert silence.data(61 * SECOND)
    assert not silence.data(62 * SECOND)


def test_while_the_link_is_down_nobody_waits_for_quotes() -> None:
    silence = Silence()
    silence.expect(0)
    silence.pause()
    assert silence.due == NEVER
    assert not silence.check(10 * MINUTE)
    silence.expect(10 * MINUTE)
    assert silence.due == 10 * MINUTE + SILENCE


def test_it_is_said_since_when_nothing_came() -> None:
    silence = Silence()
    silence.expect(0)
    silence.data(5 * SECOND)
    silence.check(20 * SECOND)
    silence.pause()
    silence.expect(22 * SECOND)
    assert silence.since == 5 * SECOND


def test_a_venue_that_does_not_repeat_quotes_is_given_two_minutes() -> None:
    silence = Silence(patience=QUIET)
    silence.expect(0)
    assert not silence.check(QUIET - 1)
    assert silence.check(QUIET)
    silence.expect(QUIET + 1)
    assert silence.due == QUIET + 1 + 2 * QUIET
    assert silence.data(QUIET + 2)
    assert silence.due == 2 * QUIET + 2


def test_events_are_asked_for_of_each_connection() -> None:
    streams = Subscriptions(events=Events.NT8)
    for _ in range(2):
        streams.link_up()
        said = [json.loads(text) for text in iter(lambda: streams.pop(0), None)]
        assert said[-1] == {"action": "subscribe", "events": ["orders", "executions", "positions"], "origin": "nt8"}
