"""The order machine: every pair of status and trigger, fills as facts, and the read-only handle."""

from __future__ import annotations

from collections import deque
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from xtalgo.engine.orders import TRANSITIONS, Anomaly, Blotter, IllegalTransition, Order
from xtalgo.model.commands import PlaceOrder
from xtalgo.model.errors import XtalgoError
from xtalgo.model.events import Fill
from xtalgo.model.types import OrderStatus, OrderType, Role, Side, TimeInForce, Trigger

S, T = OrderStatus, Trigger
ES = "ES 06-26"

LOCAL = {T.DENY, T.DROP, T.SUBMIT, T.SEND, T.STALE, T.UNSENT}
VENUE = {T.ACCEPT, T.REJECT, T.PART, T.FILL, T.CANCEL, T.EXPIRE, T.DOUBT, T.MISS}
EVIDENCE = {T.PART, T.FILL}
TERMINAL = {S.DENIED, S.FILLED, S.CANCELLED, S.REJECTED, S.EXPIRED, S.ABSENT}

PUBLIC = (
    *("id", "owner", "account", "instrument", "side", "type", "quantity", "limit_price", "stop_price", "tif", "oco"),
    *("role", "created", "parent", "status", "filled", "average_price", "fills", "reason", "evidence"),
    *("pending_cancel", "pending_change", "is_done", "is_open", "is_filled", "is_exit", "remaining"),
)


def look(order: Order) -> dict[str, object]:
    """All that an author can see of an order."""
    return {name: getattr(order, name) for name in PUBLIC}


def draft(blotter: Blotter, quantity: int = 3, **more: object) -> Order:
    return blotter.draft(1_000, "Momo", "Sim101", ES, Side.BUY, quantity, **more)  # type: ignore[arg-type]


def fill_of(order: Order, quantity: int, price: float = 4800.0, execution: str = "x-1", ts: int = 9) -> Fill:
    return Fill(ts, order.id, execution, order.account, order.instrument, order.side, quantity, price, 0.0, ts - 1)


def paths() -> dict[OrderStatus, tuple[Trigger, ...]]:
    """A shortest way from a draft to every status that can be reached."""
    found: dict[OrderStatus, tuple[Trigger, ...]] = {S.DRAFT: ()}
    todo = deque([S.DRAFT])
    while todo:
        status = todo.popleft()
        for (before, trigger), after in TRANSITIONS.items():
            if before is status and after not in found:
                found[after] = (*found[status], trigger)
                todo.append(after)
    return found


PATHS = paths()


def order_that_is(status: OrderStatus) -> tuple[Blotter, Order]:
    blotter = Blotter()
    order = draft(blotter)
    for now, trigger in enumerate(PATHS[status]):
        assert blotter.step(order, trigger, now)
    assert order.status is status
    return blotter, order


# --- the table -------------------------------------------------------------------------------------------------------


def test_every_status_is_reached_from_a_draft() -> None:
    assert set(PATHS) == set(OrderStatus)


def test_every_trigger_is_used() -> None:
    assert {trigger for _, trigger in TRANSITIONS} == set(Trigger) == LOCAL | VENUE
    assert not LOCAL & VENUE


def test_what_is_done() -> None:
    assert {status for status in OrderStatus if status.is_done} == TERMINAL


def test_only_fill_evidence_corrects_a_terminal_status() -> None:
    for (before, trigger), after in TRANSITIONS.items():
        if before in TERMINAL and after is not before:
            assert trigger in EVIDENCE, (before, trigger)
            assert after is S.FILLED, (before, trigger)
    assert not [trigger for before, trigger in TRANSITIONS if before is S.DENIED]
    assert {trigger for before, trigger in TRANSITIONS if before in TERMINAL} <= {*EVIDENCE, T.ACCEPT}


def test_nothing_becomes_a_draft_again() -> None:
    assert S.DRAFT not in TRANSITIONS.values()


def test_every_open_status_can_end_and_every_sent_one_can_fill() -> None:
    for status in set(OrderStatus) - TERMINAL:
        assert any(before is status and after in TERMINAL for (before, _), after in TRANSITIONS.items()), status
    for status in (S.SENT, S.IN_DOUBT, S.WORKING, S.PARTIAL, S.CANCELLED, S.REJECTED, S.EXPIRED, S.ABSENT):
        assert TRANSITIONS[status, T.FILL] is S.FILLED


@pytest.mark.parametrize(("status", "trigger"), list(TRANSITIONS), ids=str)
def test_a_listed_pair_does_what_it_says(status: OrderStatus, trigger: Trigger) -> None:
    blotter, order = order_that_is(status)
    before = look(order)
    blotter.mark(order, cancel=True, change=True)
    assert blotter.step(order, trigger, 77, reason="because", evidence="seen") is True
    after = TRANSITIONS[status, trigger]
    assert order.status is after
    assert order.is_done is (after in TERMINAL)
    assert order.is_open is (after not in TERMINAL)
    assert order.is_filled is (after is S.FILLED)
    assert order.remaining == (0 if after in TERMINAL else 3)
    assert (order.reason, order.evidence) == ("because", "seen")
    # Nothing is under way any more for an order that is done.
    assert (order.pending_cancel, order.pending_change) == ((False, False) if after in TERMINAL else (True, True))
    moved = {"status", "is_done", "is_open", "is_filled", "remaining", "reason", "evidence", "pending_cancel"}
    for name in set(PUBLIC) - moved - {"pending_change"}:
        assert getattr(order, name) == before[name], name
    assert blotter.anomalies == []


UNLISTED = [(s, t) for s in OrderStatus for t in Trigger if (s, t) not in TRANSITIONS]


@pytest.mark.parametrize(("status", "trigger"), [pair for pair in UNLISTED if pair[1] in LOCAL], ids=str)
def test_a_local_trigger_that_is_not_listed_raises_and_changes_nothing(status: OrderStatus, trigger: Trigger) -> None:
    blotter, order = order_that_is(status)
    before = look(order)
    with pytest.raises(IllegalTransition, match=f"order {order.id}: {trigger} does not fit an order that is {status}"):
        blotter.step(order, trigger, 77, reason="because", evidence="seen")
    assert look(order) == before
    assert blotter.anomalies == []
    assert issubclass(IllegalTransition, XtalgoError)


@pytest.mark.parametrize(("status", "trigger"), [pair for pair in UNLISTED if pair[1] in VENUE], ids=str)
def test_a_venue_trigger_that_is_not_listed_is_an_anomaly_and_changes_nothing(
    status: OrderStatus, trigger: Trigger
) -> None:
    blotter, order = order_that_is(status)
    before = look(order)
    assert blotter.step(order, trigger, 77, reason="because", evidence="seen") is False
    assert look(order) == before
    assert blotter.anomalies == [Anomaly(77, order.id, f"{trigger} does not fit an order that is {status}")]


def test_the_trigger_is_the_evidence_unless_there_is_better() -> None:
    blotter, order = order_that_is(S.WORKING)
    assert order.evidence == "accept"
    blotter.step(order, T.CANCEL, 5)
    assert (order.evidence, order.reason) == ("cancel", "")


# --- drafts ----------------------------------------------------------------------------------------------------------


def test_a_draft() -> None:
    blotter = Blotter("run7")
    order = draft(blotter, 2, tif=TimeInForce.GTC, oco="pair", role=Role.STOP_LOSS, parent="run7-9", stop_price=4790.0)
    assert (order.id, order.owner, order.account, order.instrument) == ("run7-1", "Momo", "Sim101", ES)
    assert (order.side, order.quantity, order.created, order.parent) == (Side.BUY, 2, 1_000, "run7-9")
    assert (order.status, order.filled, order.remaining, order.average_price, order.fills) == (S.DRAFT, 0, 2, None, ())
    assert (order.is_open, order.is_done, order.is_filled, order.is_exit) == (True, False, False, True)
    assert blotter.orders == {"run7-1": order}
    assert draft(blotter).id == "run7-2"


@pytest.mark.parametrize(
    ("limit", "stop", "kind"),
    [
        (None, None, OrderType.MARKET),
        (4800.0, None, OrderType.LIMIT),
        (None, 4801.0, OrderType.STOP_MARKET),
        (4801.5, 4801.0, OrderType.STOP_LIMIT),
    ],
)
def test_the_type_follows_from_the_prices(limit: float | None, stop: float | None, kind: OrderType) -> None:
    order = draft(Blotter(), limit_price=limit, stop_price=stop)
    assert order.type is kind
    assert order.command(reduces=True) == PlaceOrder(
        order_id=order.id,
        account="Sim101",
        instrument=ES,
        side=Side.BUY,
        type=kind,
        quantity=3,
        limit_price=limit,
        stop_price=stop,
        tif=TimeInForce.DAY,
        oco=None,
        role=Role.ENTRY,
        reduces=True,
    )
    assert order.command().reduces is False


def test_roles_that_are_exits() -> None:
    exits = {role for role in Role if draft(Blotter(), role=role).is_exit}
    assert exits == {Role.STOP_LOSS, Role.TAKE_PROFIT}


def test_oco_ids_are_never_used_twice() -> None:
    blotter = Blotter()
    assert len({blotter.fresh_oco() for _ in range(100)} | {Blotter("other").fresh_oco()}) == 101


def test_two_runs_share_no_id() -> None:
    assert draft(Blotter("a")).id != draft(Blotter("b")).id


# --- the handle ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [*PUBLIC, "colour"])
def test_the_handle_is_read_only(name: str) -> None:
    order = draft(Blotter())
    before = look(order)
    with pytest.raises((AttributeError, XtalgoError)):
        setattr(order, name, 1)
    if name != "colour":
        with pytest.raises((AttributeError, XtalgoError)):
            delattr(order, name)
    assert look(order) == before
    assert not hasattr(order, "colour")


def test_orders_are_themselves_and_nothing_else() -> None:
    first, second = draft(Blotter()), draft(Blotter())
    assert look(first) == look(second)
    assert first != second
    assert len({first, second}) == 2


# --- fills -----------------------------------------------------------------------------------------------------------


def test_fills_complete_an_order() -> None:
    blotter, order = order_that_is(S.WORKING)
    first, second = fill_of(order, 1, 4800.0, "a"), fill_of(order, 2, 4800.75, "b")
    assert blotter.book(order, first)
    assert (order.status, order.filled, order.remaining, order.average_price) == (S.PARTIAL, 1, 2, 4800.0)
    assert "a" in order.evidence
    assert blotter.book(order, second)
    assert (order.status, order.filled, order.remaining, order.average_price) == (S.FILLED, 3, 0, 4800.5)
    assert order.fills == (first, second)
    assert order.is_done
    assert blotter.anomalies == []


def test_a_fill_may_come_before_the_acknowledgement() -> None:
    blotter, order = order_that_is(S.SENT)
    assert blotter.book(order, fill_of(order, 1))
    assert order.status is S.PARTIAL
    assert blotter.step(order, T.ACCEPT, 5)
    assert order.status is S.PARTIAL
    assert blotter.book(order, fill_of(order, 2, execution="x-2"))
    assert blotter.step(order, T.ACCEPT, 6)
    assert order.status is S.FILLED
    assert blotter.anomalies == []


def test_a_repeated_report_is_booked_once() -> None:
    blotter, order = order_that_is(S.WORKING)
    fill = fill_of(order, 1)
    assert blotter.book(order, fill)
    before = look(order)
    assert not blotter.book(order, fill)
    assert not blotter.book(order, fill_of(order, 2, 4900.0, "x-1", ts=99))
    assert look(order) == before
    assert blotter.anomalies == []


def test_an_overfill_is_booked_and_noted() -> None:
    blotter, order = order_that_is(S.WORKING)
    blotter.book(order, fill_of(order, 2, 4800.0, "a"))
    assert blotter.book(order, fill_of(order, 2, 4801.0, "b", ts=55))
    assert (order.status, order.filled, order.remaining, order.average_price) == (S.FILLED, 4, 0, 4800.5)
    assert blotter.anomalies == [Anomaly(55, order.id, "filled 4 of 3")]
    assert blotter.book(order, fill_of(order, 1, 4802.0, "c", ts=56))
    assert (order.status, order.filled) == (S.FILLED, 5)
    assert blotter.anomalies[1:] == [Anomaly(56, order.id, "filled 5 of 3")]


@pytest.mark.parametrize("status", [S.CANCELLED, S.REJECTED, S.EXPIRED])
def test_late_fills_of_an_order_that_was_over(status: OrderStatus) -> None:
    blotter, order = order_that_is(status)
    assert blotter.book(order, fill_of(order, 1, execution="a"))
    assert (order.status, order.filled, order.remaining) == (status, 1, 0)
    assert blotter.book(order, fill_of(order, 2, execution="b"))
    assert (order.status, order.filled, order.is_filled) == (S.FILLED, 3, True)
    assert blotter.anomalies == []


@pytest.mark.parametrize("status", [S.DRAFT, S.QUEUED, S.DENIED])
def test_a_fill_of_an_order_that_never_left_is_booked_and_an_anomaly(status: OrderStatus) -> None:
    blotter, order = order_that_is(status)
    assert blotter.book(order, fill_of(order, 3))
    assert (order.status, order.filled, order.average_price) == (status, 3, 4800.0)
    assert [anomaly.order_id for anomaly in blotter.anomalies] == [order.id]


parts = st.lists(st.tuples(st.integers(1, 50), st.integers(1, 40_000)), min_size=1, max_size=12)


@given(fills=parts, step=st.sampled_from([0.25, 0.1, 0.0000005]))
def test_the_average_price_is_the_mean_over_contracts(fills: list[tuple[int, int]], step: float) -> None:
    blotter = Blotter()
    order = draft(blotter, sum(quantity for quantity, _ in fills))
    blotter.step(order, T.SUBMIT, 1)
    blotter.step(order, T.SEND, 1)
    for n, (quantity, count) in enumerate(fills):
        blotter.book(order, fill_of(order, quantity, count * step, f"x-{n}"))
    exact = sum(Fraction(fill.price) * fill.quantity for fill in order.fills) / order.filled
    assert order.average_price == pytest.approx(float(exact), rel=1e-12)
    assert order.status is S.FILLED


@pytest.mark.parametrize("price", [2019.9, 0.00670051, 1.08615, 110.515625, 4800.25])
def test_the_average_of_equal_prices_is_that_price(price: float) -> None:
    blotter, order = order_that_is(S.WORKING)
    for n in range(20):
        blotter.book(order, fill_of(order, n % 3 + 1, price, f"x-{n}"))
        assert order.average_price == price


# --- changes ---------------------------------------------------------------------------------------------------------


def test_a_change_takes_over_the_venues_values() -> None:
    blotter = Blotter()
    order = draft(blotter, 3, limit_price=4800.0)
    blotter.step(order, T.SUBMIT, 1)
    blotter.step(order, T.SEND, 1)
    blotter.step(order, T.ACCEPT, 1)
    blotter.mark(order, change=True)
    blotter.changed(order, 5, 4801.0, None)
    assert (order.quantity, order.limit_price, order.remaining) == (5, 4801.0, 5)
    assert (order.status, order.pending_change) == (S.WORKING, False)


def test_a_change_down_to_what_is_filled_completes_the_order() -> None:
    blotter, order = order_that_is(S.WORKING)
    blotter.book(order, fill_of(order, 2))
    blotter.changed(order, 2, None, None)
    assert (order.status, order.filled, order.remaining, order.is_done) == (S.FILLED, 2, 0, True)


def test_flags_and_remarks_stand_beside_the_status() -> None:
    blotter, order = order_that_is(S.WORKING)
    blotter.mark(order, cancel=True)
    assert (order.pending_cancel, order.pending_change, order.status) == (True, False, S.WORKING)
    blotter.mark(order, change=True)
    blotter.mark(order, cancel=False)
    assert (order.pending_cancel, order.pending_change, order.status) == (False, True, S.WORKING)
    blotter.remark(order, "change refused")
    assert (order.reason, order.status) == ("change refused", S.WORKING)


# --- everything at random --------------------------------------------------------------------------------------------


class Orders(RuleBasedStateMachine):
    """Whatever is said of two orders, in any order, these laws hold."""

    @initialize(quantities=st.tuples(st.integers(1, 5), st.integers(1, 5)))
    def begin(self, quantities: tuple[int, int]) -> None:
        self.blotter = Blotter()
        self.orders = [draft(self.blotter, quantity) for quantity in quantities]
        self.booked: list[list[Fill]] = [[], []]
        self.early = [False, False]
        """Whether an execution was reported before the order had left, which is an anomaly for good."""
        self.last = [look(order) for order in self.orders]
        self.evidence = False
        self.now = 0

    @rule(which=st.integers(0, 1), trigger=st.sampled_from(sorted(set(Trigger) - EVIDENCE)))
    def step(self, which: int, trigger: Trigger) -> None:
        order = self.orders[which]
        status, anomalies = order.status, len(self.blotter.anomalies)
        following = TRANSITIONS.get((status, trigger))
        if following is None and trigger in LOCAL:
            with pytest.raises(IllegalTransition):
                self.blotter.step(order, trigger, self.now)
        else:
            assert self.blotter.step(order, trigger, self.now) is (following is not None)
        assert order.status is (following or status)
        assert len(self.blotter.anomalies) == anomalies + (following is None and trigger in VENUE)
        self.evidence = False

    @rule(which=st.integers(0, 1))
    def send(self, which: int) -> None:
        order = self.orders[which]
        for trigger in (T.SUBMIT, T.SEND):
            if (order.status, trigger) in TRANSITIONS:
                self.blotter.step(order, trigger, self.now)
        self.evidence = False

    @rule(which=st.integers(0, 1), quantity=st.integers(1, 3), count=st.integers(1, 40_000), name=st.integers(0, 12))
    def fill(self, which: int, quantity: int, count: int, name: int) -> None:
        order = self.orders[which]
        self.now += 1
        fill = fill_of(order, quantity, count * 0.25, f"x-{name}", self.now)
        known = any(fill.execution_id == other.execution_id for fills in self.booked for other in fills)
        anomalies = len(self.blotter.anomalies)
        left_the_house = order.status not in (S.DRAFT, S.QUEUED, S.DENIED)
        assert self.blotter.book(order, fill) is not known
        if not known:
            self.booked[which].append(fill)
            self.early[which] |= not left_the_house
            expected = (order.filled > order.quantity) + (not left_the_house)
            assert len(self.blotter.anomalies) == anomalies + expected
            if left_the_house and order.filled >= order.quantity:
                assert order.status is S.FILLED
        else:
            assert len(self.blotter.anomalies) == anomalies
        self.evidence = not known

    @rule(which=st.integers(0, 1), quantity=st.integers(1, 8), price=st.none() | st.just(4800.0))
    def change(self, which: int, quantity: int, price: float | None) -> None:
        order = self.orders[which]
        self.blotter.changed(order, quantity, price, None)
        assert (order.quantity, order.limit_price) == (quantity, price)
        self.evidence = False

    @rule(which=st.integers(0, 1), cancel=st.none() | st.booleans(), change=st.none() | st.booleans())
    def mark(self, which: int, cancel: bool | None, change: bool | None) -> None:
        order = self.orders[which]
        if order.is_open:
            self.blotter.mark(order, cancel=cancel, change=change)

    @invariant()
    def laws(self) -> None:
        for n, order in enumerate(self.orders):
            before, fills = self.last[n], self.booked[n]
            assert order.filled >= before["filled"]  # type: ignore[operator]
            assert order.filled == sum(fill.quantity for fill in fills)
            assert list(order.fills) == fills
            if order.status is not before["status"] and before["status"] in TERMINAL:
                assert self.evidence
                assert order.status is S.FILLED
            assert order.is_done is order.status.is_done
            assert order.remaining == (0 if order.is_done else max(0, order.quantity - order.filled))
            if order.status in (S.SENT, S.WORKING, S.PARTIAL) and order.filled and not self.early[n]:
                assert order.filled < order.quantity
            if fills:
                exact = sum(Fraction(fill.price) * fill.quantity for fill in fills) / order.filled
                assert order.average_price == pytest.approx(float(exact), rel=1e-12)
            else:
                assert order.average_price is None
            for name in ("id", "owner", "account", "instrument", "side", "type", "tif", "oco", "role", "created"):
                assert getattr(order, name) == before[name]
            self.last[n] = look(order)


Orders.TestCase.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
TestOrders = Orders.TestCase
