"""Flattening: what is called when, what a round proves, and seeded faults over a simulated venue."""

from __future__ import annotations

import itertools
import json
import random
from collections.abc import Callable, Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from serving import BOOK, at
from tables import ES, MNQ, table

from xtalgo import Fees, FillModel, Latency
from xtalgo.client.translate import seen
from xtalgo.engine.flattening import DEADLINE, Call, End, Flattening, Reply, Step, Verdict
from xtalgo.model.commands import Ask, Query
from xtalgo.model.errors import ConfigError
from xtalgo.model.reports import OrderReport, PositionReport, Standing
from xtalgo.model.types import MILLISECOND_NS, NEVER, SECOND_NS, Side
from xtalgo.protocol.checks import check_args
from xtalgo.protocol.outcomes import Outcome, diagnose
from xtalgo.protocol.replies import Answer
from xtalgo.protocol.routes import request_of
from xtalgo.protocol.rpc import TABLE
from xtalgo.sim.faults import Faults
from xtalgo.sim.feeds import TableFeed
from xtalgo.sim.outputs import Response
from xtalgo.sim.server import SimServer

DONE = Reply(End.DONE)
LOST = Reply(End.UNKNOWN, text="lost")
LONG = Reply(End.DONE, positions=(PositionReport("A", ES, 2),))
RESTING = OrderReport("o1", "A", ES, Standing.WORKING, Side.BUY, 1, 0, None, 99.0)
MARKET = OrderReport("o2", "A", ES, Standing.WORKING, Side.SELL, 2, 0)


class Driver:
    """Answers every call with what a script says, some 100 ms later; time is in seconds since the start."""

    def __init__(self, script: Callable[[Call, float], Reply | None], **options: Any) -> None:
        self.machine = Flattening("A", at(0), **options)
        self.script = script
        self.calls: list[tuple[float, Call]] = []
        self.now = at(0)

    @property
    def seconds(self) -> float:
        return (self.now - at(0)) / SECOND_NS

    def run(self, until: float = 1_000) -> Driver:
        while self.seconds < until and (calls := self.machine.next(self.now)) is not None:
            for call in calls:
                self.calls.append((self.seconds, call))
                reply = self.script(call, self.seconds)
                self.now += 100 * MILLISECOND_NS
                if reply is not None:
                    self.machine.take(call, reply, self.now)
            if not calls:
                assert self.machine.due > self.now
                self.now = self.machine.due
        return self

    def steps(self, *only: Step) -> list[str]:
        return [call.step.name for _, call in self.calls if not only or call.step in only]

    def times(self, *only: Step) -> list[float]:
        return [when for when, call in self.calls if call.step in only]


def by_step(**replies: Reply | Callable[[float], Reply | None] | None) -> Callable[[Call, float], Reply | None]:
    def script(call: Call, now: float) -> Reply | None:
        reply = replies.get(call.step.name.lower(), DONE)
        return reply(now) if callable(reply) else reply

    return script


MUTATIONS = (Step.CANCEL, Step.FLATTEN)


def test_cancel_flatten_and_two_looks_a_second_apart() -> None:
    driver = Driver(by_step()).run()
    assert driver.machine.verdict is Verdict.FLAT
    looks = ["ORDERS", "POSITIONS", "ACCOUNTS"]
    assert driver.steps() == ["CANCEL", "FLATTEN", *looks, *looks]
    _first, second = driver.times(Step.ORDERS)
    last_of_first = driver.times(Step.ACCOUNTS)[0] + 0.1
    assert second - last_of_first >= 1
    assert driver.machine.due == NEVER
    assert driver.machine.next(driver.now) is None
    assert {call.account for _, call in driver.calls} == {"A"}


@pytest.mark.parametrize("account", ["", "  ", ".", "..", "./.."])
def test_it_names_its_account(account: str) -> None:
    with pytest.raises(ConfigError, match="name the account"):
        Flattening(account, 0)


def test_an_empty_instrument_is_no_filter() -> None:
    with pytest.raises(ConfigError, match="instrument is empty"):
        Flattening("A", 0, instrument=" ")


def test_a_lost_mutation_is_not_made_again_without_a_round_that_shows_something() -> None:
    driver = Driver(by_step(cancel=LOST, flatten=LOST)).run()
    assert driver.machine.verdict is Verdict.FLAT
    assert driver.steps(*MUTATIONS) == ["CANCEL", "FLATTEN"]
    assert driver.machine.doubts == 2


def test_what_persists_is_closed_again_after_two_seconds() -> None:
    driver = Driver(by_step(flatten=LOST, positions=lambda now: LONG if now < 4 else DONE)).run()
    assert driver.machine.verdict is Verdict.FLAT
    _first, second = driver.times(Step.FLATTEN)
    shown = driver.times(Step.POSITIONS)[0] + 0.1
    assert second >= shown + 2
    assert driver.steps(Step.CANCEL) == ["CANCEL"]  # no order was open
    after = [step for when, call in driver.calls if when > second for step in [call.step.name]]
    assert after[:2] == ["ORDERS", "POSITIONS"]


def test_a_closing_order_at_work_is_given_longer_and_is_not_cancelled() -> None:
    open_ = by_step(
        orders=lambda now: Reply(End.DONE, orders=(MARKET,)) if now < 8 else DONE,
        positions=lambda now: LONG if now < 8 else DONE,
    )
    driver = Driver(open_).run()
    assert driver.machine.verdict is Verdict.FLAT
    first, second = driver.times(Step.FLATTEN)
    assert second - first > 5
    assert driver.steps(Step.CANCEL) == ["CANCEL"]


def test_progress_is_waited_for() -> None:
    def left(now: float) -> Reply:
        count = max(0, 12 - int(now))
        return Reply(End.DONE, positions=(PositionReport("A", ES, count),))

    driver = Driver(by_step(positions=left)).run()
    assert driver.machine.verdict is Verdict.FLAT
    assert driver.steps(*MUTATIONS) == ["CANCEL", "FLATTEN"]


def test_an_order_that_works_on_is_cancelled_again() -> None:
    orders = by_step(orders=lambda now: Reply(End.DONE, orders=(RESTING,)) if now < 5 else DONE)
    driver = Driver(orders).run()
    assert driver.machine.verdict is Verdict.FLAT
    assert driver.steps(*MUTATIONS)[:3] == ["CANCEL", "FLATTEN", "CANCEL"]


@pytest.mark.parametrize("standing", [one for one in Standing if not one.is_done])
def test_whatever_is_not_done_counts_as_open(standing: Standing) -> None:
    row = OrderReport("o", "A", None, standing)
    driver = Driver(by_step(orders=Reply(End.DONE, orders=(row,)))).run()
    assert driver.machine.verdict is Verdict.ESCALATED
    assert driver.machine.orders == (row,)
    assert driver.machine.why == "something is still open"
    assert driver.seconds == DEADLINE / SECOND_NS


def test_not_done_goes_again_with_growing_pauses() -> None:
    driver = Driver(by_step(cancel=lambda now: Reply(End.NOT_DONE, text="rate") if now < 3 else DONE)).run()
    assert driver.machine.verdict is Verdict.FLAT
    times = driver.times(Step.CANCEL)
    assert [round(b - a, 1) for a, b in itertools.pairwise(times)] == [0.6, 1.1, 2.1]
    assert driver.machine.doubts == 0
    assert driver.steps(*MUTATIONS)[-1] == "FLATTEN"


def test_a_refusal_is_fine_where_the_lists_say_flat() -> None:
    refused = Reply(End.REFUSED, text="No positions found")
    driver = Driver(by_step(cancel=refused, flatten=refused)).run()
    assert driver.machine.verdict is Verdict.FLAT
    assert driver.steps(*MUTATIONS) == ["CANCEL", "FLATTEN"]


@pytest.mark.parametrize("step", ["orders", "positions", "accounts"])
@pytest.mark.parametrize(
    "bad",
    [
        Reply(End.NOT_DONE, text="why"),
        Reply(End.REFUSED, text="why"),
        Reply(End.UNKNOWN, text="why"),
        Reply(End.DONE, complete=False, text="why"),
        None,
    ],
)
def test_a_question_without_a_good_answer_proves_nothing(step: str, bad: Reply | None) -> None:
    driver = Driver(by_step(**{step: bad})).run()
    assert driver.machine.verdict is Verdict.ESCALATED
    assert driver.machine.why == "why" or bad is None
    assert len(driver.times(Step[step.upper()])) > 1
    assert driver.steps(*MUTATIONS) == ["CANCEL", "FLATTEN"]
    well_again = Driver(by_step(**{step: lambda now: bad if now < 5 else DONE})).run()
    assert well_again.machine.verdict is Verdict.FLAT


def test_an_answer_after_its_time_says_nothing() -> None:
    machine = Flattening("A", at(0))
    (cancel,) = machine.next(at(0)) or []
    assert machine.next(at(1)) == []
    assert machine.due == cancel.until == at(5)
    (flatten,) = machine.next(at(5)) or []
    assert flatten.step is Step.FLATTEN
    assert machine.doubts == 1
    machine.take(cancel, DONE, at(5.1))
    assert machine.next(at(5.1)) == []
    machine.take(flatten, DONE, at(5.2))
    (orders,) = machine.next(at(5.2)) or []
    assert orders.step is Step.ORDERS
    machine.take(flatten, LOST, at(5.3))
    assert machine.doubts == 1


def test_at_the_deadline_it_is_over_whatever_is_under_way() -> None:
    driver = Driver(by_step(flatten=None), deadline=at(7)).run()
    assert driver.machine.verdict is Verdict.ESCALATED
    assert driver.seconds == 7
    once = Driver(by_step(), deadline=at(1.2)).run()
    assert once.machine.verdict is Verdict.ESCALATED
    assert "flat once" in once.machine.why


def test_somebody_trades_between_the_looks() -> None:
    count = 0

    def orders(_now: float) -> Reply:
        nonlocal count
        count += 1
        done = tuple(OrderReport(f"o{n}", "A", ES, Standing.FILLED, Side.BUY, 1, 1) for n in range(count))
        return Reply(End.DONE, orders=done)

    driver = Driver(by_step(orders=orders)).run()
    assert driver.machine.verdict is Verdict.ESCALATED
    assert "somebody trades" in driver.machine.why


def test_a_position_that_appears_between_the_looks() -> None:
    looks = iter([DONE, LONG, LONG, LONG])
    driver = Driver(by_step(positions=lambda _now: next(looks, DONE))).run()
    assert driver.machine.verdict is Verdict.FLAT
    assert driver.steps(Step.FLATTEN) == ["FLATTEN"] * 2


def test_one_instrument() -> None:
    other = PositionReport("A", MNQ, 1)

    def script(call: Call, now: float) -> Reply:
        if call.step is Step.POSITIONS:
            return Reply(End.DONE, positions=(other, *(LONG.positions if now < 4 else ())))
        return Reply(End.DONE, orders=(RESTING,)) if call.step is Step.ORDERS and now < 4 else DONE

    driver = Driver(script, instrument="es", covers=lambda name: name.startswith("ES")).run()
    assert driver.machine.verdict is Verdict.FLAT
    filters = [(call.step, call.instrument) for _, call in driver.calls if call.step.mutates]
    assert filters == [(Step.CANCEL, "es"), (Step.FLATTEN, "es"), (Step.CANCEL, ES), (Step.FLATTEN, ES)]
    assert driver.steps(Step.QUOTE) == ["QUOTE"]


def test_an_instrument_that_the_venue_does_not_know_is_not_flat() -> None:
    unknown = Reply(End.DONE, complete=False, text="unknown")
    driver = Driver(by_step(quote=unknown), instrument="EZ", covers=lambda _: False).run()
    assert driver.machine.verdict is Verdict.ESCALATED


# --- over a simulated venue ----------------------------------------------------------------------------------------

ENDS = {Outcome.REFUSED: End.REFUSED, Outcome.NOT_DONE: End.NOT_DONE, Outcome.UNKNOWN: End.UNKNOWN}
OPEN: list[dict[str, Any]] = [
    {"action": "BUY", "orderType": "MARKET", "quantity": 5},
    {"action": "SELL", "orderType": "MARKET", "quantity": 2},
    {"action": "BUY", "orderType": "LIMIT", "quantity": 3, "limitPrice": 99.0},
    {"action": "SELL", "orderType": "LIMIT", "quantity": 4, "limitPrice": 101.0},
    {"action": "SELL", "orderType": "STOPMARKET", "quantity": 2, "stopPrice": 98.0},
]


class Venue:
    """A server whose price walks through the prices of resting orders, and a flatten of Sim101 on it."""

    def __init__(self, seed: int, *, first: float = 5.0) -> None:
        dice = random.Random(seed)
        bids = [100 + 0.25 * dice.randint(-12, 12) for _ in range(90)]
        self.server = SimServer(
            TableFeed(table(bids), BOOK),
            accounts=("Sim101", "Sim102"),
            contracts=BOOK,
            fills=FillModel(slippage=0, touch=True),
            latency=Latency(entry=dice.choice([0, 50, 250]) * MILLISECOND_NS),
            fees=Fees(commission=0),
        )
        self.server.advance(at(0))
        self.touched: list[str] = []
        for index in range(dice.randint(0, 6)):
            self.request("PlaceOrder", at(1 + index / 4), **self._order(dice, "Sim101"))
        for _ in range(4):
            self.request("PlaceOrder", at(3), **self._order(dice, "Sim102"))
        self.start = at(first)
        self.server.advance(self.start)

    @staticmethod
    def _order(dice: random.Random, account: str) -> dict[str, Any]:
        return {"account": account, "instrument": "ES", "timeInForce": "GTC", **dice.choice(OPEN)}

    def storm(self, faults: dict[str, Any]) -> None:
        self.server.faults = self.server._mishaps.faults = self.server.venue.mishaps.faults = Faults.from_table(faults)

    def request(self, api: str, now: int, **args: Any) -> int:
        request = request_of(api, check_args(api, args))
        body = b"" if request.body is None else json.dumps(request.body).encode()
        return self.server.request("demo", request.method, request.path, request.query, body, now)

    def answer(self, number: int, until: int) -> tuple[Response | None, int]:
        """The answer and when it came, or None when it did not come in time."""
        now = 0
        while True:
            for output in self.server.outputs():
                if isinstance(output, Response) and output.request == number:
                    return output, now
            now = self.server.due
            if now > until:
                self.server.advance(until)
                return None, until
            self.server.advance(now)

    def open(self, account: str) -> tuple[int, int]:
        """Contracts held and orders that may trade."""
        held = sum(abs(book.position) for book in self.server.venue.books(account))
        return held, len(self.server.venue.working(account))

    def flatten(self, deadline: float = 60) -> Flattening:
        machine = Flattening("Sim101", self.start, self.start + round(deadline * SECOND_NS))
        now = self.start
        while (calls := machine.next(now)) is not None:
            for call in calls:
                args = {} if call.step is Step.ACCOUNTS else {"account": call.account}
                number = self.request(call.step.value, now, **args)
                response, came = self.answer(number, call.until)
                now = max(now, came)
                machine.take(call, self.reply(call, response, now), now)
            if not calls:
                assert machine.due > now
                now = machine.due
                self.server.advance(now)
        self.end = now
        return machine

    @staticmethod
    def reply(call: Call, response: Response | None, now: int) -> Reply:
        if response is None:
            return Reply(End.UNKNOWN, text="no answer")
        spec = TABLE[call.step.value]
        answer = spec.read(response.body)
        if not isinstance(answer, Answer):
            return Reply(ENDS[diagnose(spec, answer.error, response.status).outcome], text=answer.error or "")
        if call.step in MUTATIONS:
            return DONE
        if call.step is Step.ACCOUNTS:
            return Reply(End.DONE, complete=any(row.name == call.account for row in answer.value))
        ask = Ask.ORDERS if call.step is Step.ORDERS else Ask.POSITIONS
        told: Any = seen(Query(ask, call.account, call.serial), answer, now, str)
        if ask is Ask.ORDERS:
            return Reply(End.DONE, orders=told.orders, complete=told.complete)
        return Reply(End.DONE, positions=told.positions, complete=told.complete)


def others(venue: Venue) -> list[tuple[str, str]]:
    """Orders of the other account that were cancelled, or made by the venue to close."""
    rows: Iterable[Any] = venue.server.venue.orders
    return [
        (row.id, row.state) for row in rows if row.account == "Sim102" and (row.name == "Close" or "Canc" in row.state)
    ]


@pytest.mark.parametrize("seed", range(12))
def test_without_faults_it_is_flat_within_seconds(seed: int) -> None:
    venue = Venue(seed)
    machine = venue.flatten()
    assert machine.verdict is Verdict.FLAT
    assert venue.open("Sim101") == (0, 0)
    assert venue.end - venue.start < 8 * SECOND_NS
    assert others(venue) == []


chances = st.sampled_from([0.0, 0.1, 0.3, 0.6])


@settings(max_examples=150, deadline=None)
@given(
    st.integers(0, 2**16),
    st.fixed_dictionaries(
        {
            "seed": st.integers(0, 1000),
            "lose_request": chances,
            "lose_reply": chances,
            "rate_refusal": chances,
            "reject_order": st.sampled_from([0.0, 0.3]),
            "delay_reply": st.sampled_from([(0, 0), (0.3, 2.0), (0.2, 12.0)]),
            "most_per_fill": st.sampled_from([None, 1]),
            "slow_cancel": st.sampled_from([0.0, 3.0]),
            "late_rows": st.sampled_from([0.0, 0.4]),
            "addon_offline": st.sampled_from([(), [[6.0, 14.0]], [[5.5, 9.0], [12.0, 20.0]], [[5.0, 999.0]]]),
        }
    ),
    st.sampled_from([8.0, 30.0, 60.0]),
)
def test_flat_means_flat_and_only_one_account_is_touched(seed: int, faults: dict[str, Any], deadline: float) -> None:
    venue = Venue(seed)
    venue.storm(faults)
    machine = venue.flatten(deadline)
    if machine.verdict is Verdict.FLAT:
        assert venue.open("Sim101") == (0, 0)
    else:
        assert venue.end >= venue.start + round(deadline * SECOND_NS)
        assert machine.why
    assert others(venue) == []


@pytest.mark.parametrize("seed", range(25))
def test_faults_that_end_in_time_do_not_keep_it_from_flat(seed: int) -> None:
    dice = random.Random(seed)
    venue = Venue(seed)
    venue.storm({"seed": seed, "addon_offline": [5, 5 + dice.uniform(1, 15)], "slow_cancel": dice.choice([0, 2.5])})
    assert venue.flatten(40).verdict is Verdict.FLAT
    assert venue.open("Sim101") == (0, 0)


def test_a_resting_entry_that_fills_while_it_is_being_cancelled() -> None:
    venue = Venue(0)
    venue.storm({"slow_cancel": 30.0, "lose_request": 0.0})
    venue.request("PlaceOrder", venue.start, **OPEN[2], account="Sim101", instrument="ES", timeInForce="GTC")
    venue.server.advance(venue.start + SECOND_NS)
    venue.start += SECOND_NS
    assert venue.flatten().verdict is Verdict.FLAT
    assert venue.open("Sim101") == (0, 0)
