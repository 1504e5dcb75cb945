"""What follows the end of a connection: a table of stories in event time."""

from __future__ import annotations

import random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtalgo.live.redial import LONG_WAIT, Ending, EndKind, Redial, Wait
from xtalgo.model.types import HOUR_NS, MINUTE_NS, SECOND_NS
from xtalgo.protocol.dialect import Dialect

START = 1_778_680_800_000_000_000
S = SECOND_NS


class Story:
    """A link's life, told to a ``Redial``; the waits are lived through."""

    def __init__(self, seed: int = 1, **facts: Any) -> None:
        self.redial = Redial(random.Random(seed), Dialect.from_table(facts))
        self.now = START

    def _then(self, verdict: Wait | Ending) -> Wait | Ending:
        if isinstance(verdict, Wait):
            self.now += round(verdict.seconds * S)
        return verdict

    def up(self, seconds: float) -> None:
        self.redial.opened(self.now)
        self.now += round(seconds * S)

    def closed(self, lived: float, code: int | None = None, reason: str = "") -> Wait | Ending:
        self.up(lived)
        return self._then(self.redial.closed(self.now, code, reason))

    def failed(self) -> Wait:
        verdict = self._then(self.redial.failed(self.now, "no route"))
        assert isinstance(verdict, Wait)
        return verdict

    def left(self, lived: float) -> Wait | Ending:
        self.up(lived)
        return self._then(self.redial.left(self.now, "silence"))

    def lost(self, lived: float) -> Wait | Ending:
        self.up(lived)
        return self._then(self.redial.lost(self.now, "no pong"))


def kind(verdict: Wait | Ending) -> EndKind | None:
    return verdict.kind if isinstance(verdict, Ending) else None


def seconds(verdict: Wait | Ending) -> float:
    assert isinstance(verdict, Wait), verdict
    return verdict.seconds


@given(st.integers())
def test_waits_double_up_to_thirty_seconds_and_jitter_only_shortens(seed: int) -> None:
    story = Story(seed)
    for base in [1, 2, 4, 8, 16, 30, 30, 30]:
        wait = story.failed().seconds
        assert 0.75 * base <= wait <= base
        assert wait >= 0.75


def test_jitter_differs_between_links() -> None:
    assert Story(1).failed().seconds != Story(2).failed().seconds


def test_weeks_of_failures_stay_at_the_cap() -> None:
    story = Story()
    assert all(story.failed().seconds <= 30 for _ in range(5_000))


def test_a_minute_up_resets_the_back_off() -> None:
    story = Story()
    for _ in range(5):
        story.failed()
    assert seconds(story.closed(59)) > 22
    assert seconds(story.closed(60)) <= 1
    assert 1.5 <= seconds(story.closed(59)) <= 2


@pytest.mark.parametrize("status", [401, 403])
def test_a_refused_token_ends_also_after_sessions(status: int) -> None:
    story = Story()
    story.closed(3600)
    verdict = story.redial.refused(story.now, status, '{"error":"invalid token"}')
    assert kind(verdict) is EndKind.TOKEN_REFUSED
    assert "XTRADE_TOKEN" in verdict.text
    assert "invalid token" in verdict.text


@pytest.mark.parametrize("status", [400, 408, 409, 429, 500, 502, 503, 504])
def test_other_refusals_back_off(status: int) -> None:
    assert 0.75 <= seconds(Redial(random.Random(1)).refused(START, status, "busy")) <= 1


@pytest.mark.parametrize("status", [200, 301, 302, 404, 405, 410, 426])
def test_a_url_without_a_websocket_ends_unless_it_had_one_before(status: int) -> None:
    redial = Redial(random.Random(1))
    assert kind(redial.refused(START, status, "")) is EndKind.WRONG_URL
    redial.opened(START)
    redial.closed(START + HOUR_NS, 1001, "")
    assert seconds(redial.refused(START + 2 * HOUR_NS, status, "")) <= 2


@pytest.mark.parametrize(
    "reason", ["Session active elsewhere", "SESSION ACTIVE ELSEWHERE", "closed: session active elsewhere (2)"]
)
@pytest.mark.parametrize("code", [None, 1000, 1008, 4001])
@pytest.mark.parametrize("lived", [0, 100_000])
def test_a_takeover_is_final(reason: str, code: int | None, lived: float) -> None:
    verdict = Story().closed(lived, code, reason)
    assert kind(verdict) is EndKind.TAKEN_OVER
    assert "stop the other client" in verdict.text


def test_a_takeover_said_in_the_handshake_is_final() -> None:
    assert kind(Redial().refused(START, 409, "Session active elsewhere")) is EndKind.TAKEN_OVER


@pytest.mark.parametrize("code", [None, 1000, 1005, 4001])
def test_a_takeover_whose_text_is_lost_ends_after_one_long_wait(code: int | None) -> None:
    story = Story()
    assert seconds(story.closed(5, code)) <= 1
    assert seconds(story.closed(20, code)) <= 2
    assert seconds(story.closed(1, code)) == LONG_WAIT
    assert seconds(story.closed(5, code)) <= 1
    assert seconds(story.closed(5, code)) <= 2
    assert kind(story.closed(5, code)) is EndKind.TAKEN_OVER


def test_failed_dials_between_short_sessions_change_nothing() -> None:
    story = Story()
    for _ in range(2):
        story.closed(5)
        story.failed()
    assert seconds(story.closed(5)) == LONG_WAIT


def test_a_longer_session_clears_the_suspicion() -> None:
    story = Story()
    for _ in range(3):
        for _ in range(2):
            assert seconds(story.closed(5)) <= 30
        assert seconds(story.closed(21)) <= 30
    for _ in range(2):
        story.closed(5)
    assert seconds(story.closed(5)) == LONG_WAIT
    story.closed(21)
    for _ in range(2):
        story.closed(5)
    assert seconds(story.closed(5)) == LONG_WAIT


def test_what_we_end_ourselves_is_no_hint_of_another_client() -> None:
    story = Story()
    for _ in range(4):
        assert kind(story.left(5)) is None
        assert kind(story.lost(5)) is None
        assert kind(story.closed(5, 1009, "the server sent a frame of more than 4194304 characters")) is None
    assert seconds(story.closed(5)) < LONG_WAIT


@pytest.mark.parametrize(("lived", "end"), [(5, EndKind.TAKEN_OVER), (30 * 60, EndKind.ABUSE)])
def test_a_second_1008_ends(lived: float, end: EndKind) -> None:
    story = Story()
    assert seconds(story.closed(2000, 1008, "policy")) == LONG_WAIT
    assert kind(story.closed(lived, 1008, "policy")) is end


def test_a_short_1008_after_short_sessions_ends() -> None:
    story = Story()
    for _ in range(3):
        story.closed(5)
    assert kind(story.closed(5, 1008)) is EndKind.TAKEN_OVER


def test_short_sessions_after_a_1008_end() -> None:
    story = Story()
    assert seconds(story.closed(2000, 1008)) == LONG_WAIT
    for _ in range(2):
        assert kind(story.closed(5)) is None
    assert kind(story.closed(5)) is EndKind.TAKEN_OVER


@pytest.mark.parametrize("between", [[(21.0, 1001)], []])
def test_an_old_1008_is_forgotten(between: list[tuple[float, int]]) -> None:
    story = Story()
    story.closed(2000, 1008)
    for lived, code in between:
        story.closed(lived, code)
    last = 2000 if between else 3601
    assert seconds(story.closed(last, 1008)) == LONG_WAIT


def test_the_first_redial_of_ours_is_at_once_the_next_is_not() -> None:
    story = Story()
    assert seconds(story.left(30)) == 0
    assert 0.75 <= seconds(story.left(30)) <= 1
    assert 1.5 <= seconds(story.left(30)) <= 2
    assert seconds(story.left(60)) == 0


def test_a_lost_connection_waits_from_one_second() -> None:
    story = Story()
    assert 0.75 <= seconds(story.lost(MINUTE_NS / S)) <= 1


_ENDS = st.tuples(
    st.sampled_from(["closed", "left", "lost", "failed", "refused"]),
    st.integers(0, 5000),
    st.sampled_from([None, 1000, 1001, 1006, 1008, 1009, 4001]),
)


@given(st.lists(_ENDS, max_size=40), st.integers())
def test_every_wait_is_sane_and_endings_name_what_to_do(ends: list[tuple[str, int, int | None]], seed: int) -> None:
    story = Story(seed)
    lefts = 0
    for what, lived, code in ends:
        if what == "closed":
            verdict = story.closed(lived, code, "")
        elif what == "left":
            verdict = story.left(lived)
        elif what == "lost":
            verdict = story.lost(lived)
        elif what == "failed":
            verdict = story.failed()
        else:
            verdict = story.redial.refused(story.now, 503, "")
        if isinstance(verdict, Ending):
            assert what == "closed"
            assert ":" in verdict.text
            return
        lefts = lefts + 1 if what == "left" and lived < 60 else 0
        assert verdict.seconds == LONG_WAIT or verdict.seconds <= 30
        assert verdict.seconds >= 0.75 or what == "left"
        assert verdict.seconds or lefts < 2


# --- what was found out about the venue ------------------------------------------------------------------------------


def test_a_takeover_is_known_by_the_words_that_were_found_out() -> None:
    facts = {"takeover_code": 1000, "takeover_reason": "Replaced by a newer connection"}
    assert kind(Story(**facts).closed(300, 1012, "replaced by a newer connection.")) is EndKind.TAKEN_OVER
    assert kind(Story(**facts).closed(300, 1000, "Server restart")) is None
    assert kind(Story(**facts).closed(300, 4001, "Session active elsewhere")) is EndKind.TAKEN_OVER
    assert kind(Story().closed(300, 1000, "Replaced by a newer connection")) is None


def test_a_code_alone_says_so_only_where_it_is_a_private_one() -> None:
    for code, wanted in ((4409, EndKind.TAKEN_OVER), (1000, None), (1008, None), (1012, None)):
        story = Story(takeover_code=code, takeover_reason="")
        assert kind(story.closed(300, code)) is wanted
    assert kind(Story(takeover_code=4409, takeover_reason="").closed(300, 4410)) is None
    assert kind(Story(takeover_code=4409, takeover_reason="").closed(300, 4409, "restart")) is None
    assert kind(Story(takeover_code=4409).closed(300, 4409)) is None, "half a fact is none"


def test_a_refused_token_is_known_by_the_status_that_was_found_out() -> None:
    assert kind(Story(bad_token=400).redial.refused(START, 400, "")) is EndKind.TOKEN_REFUSED
    assert kind(Story().redial.refused(START, 400, "")) is None
    later = Story(bad_token=400)
    later.up(5)
    assert kind(later.redial.refused(later.now, 400, "")) is None, "a token that worked is right"
