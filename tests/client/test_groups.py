"""A group over the whole client: what leaves in which order, lost replies, drops, and the request budget."""

from __future__ import annotations

from typing import Any

from client.talk import Scripted, Talk, execution, row
from tables import ES, SECOND

from xtalgo import MemberStatus, OrderGroup

A, B = "Sim101", "Sim102"


class Grouped(Scripted):
    def on_start(self) -> None:
        super().on_start()
        self.groups: list[tuple[str, bool, dict[str, str]]] = []

    def on_group(self, group: OrderGroup) -> None:
        self.groups.append((group.id, group.is_diverged, {name: str(s) for name, s in group.status.items()}))


def talk(**limits: Any) -> Talk:
    return Talk(Grouped(), (A, B), **limits).start()


def test_a_group_leaves_in_one_breath_in_its_order() -> None:
    t = talk()
    group = t.do(lambda s: s.sell_group(ES, {B: 2, A: 1}))
    placed = [frame["args"] for frame in t.said() if frame.get("api") == "PlaceOrder"]
    assert [(args["account"], args["quantity"]) for args in placed] == [(A, 1), (B, 2)]
    assert set(group.status.values()) == {MemberStatus.SENT}
    assert group.affordable.at_once == 2
    assert group.deadline == t.now + 2 * SECOND
    assert not group.is_settled


def test_a_lost_reply_leaves_the_group_unsettled_until_there_is_evidence() -> None:
    t = talk()
    group = t.do(lambda s: s.buy_group(ES, 1))
    first, second = t.take("PlaceOrder"), t.take("PlaceOrder")
    t.reply(first, orderId="r-1")
    t.link_down()
    assert group.status == {A: MemberStatus.WORKING, B: MemberStatus.IN_DOUBT}
    assert not group.is_settled
    assert not group.is_diverged  # nobody knows yet
    assert second["args"]["account"] == B
    assert t.strategy.groups == []
    t.to(1)
    t.link_up()
    orders = [row(t.order(1), "Filled", 1), row(t.order(2), "Filled", 1)]
    fills = [execution(t.order(1), 1), execution(t.order(2), 2)]
    t.settle(6, orders=orders, executions=fills)
    assert group.status == {A: MemberStatus.FILLED, B: MemberStatus.FILLED}
    assert t.strategy.groups == [("r-group-1", False, {A: "filled", B: "filled"})]
    assert not t.engine.groups.open


def test_one_that_never_arrived_is_unsent_by_the_evidence_and_diverged() -> None:
    t = talk()
    group = t.do(lambda s: s.buy_group(ES, 1))
    t.take("PlaceOrder")
    t.take("PlaceOrder")
    t.link_down()
    t.to(1)
    t.link_up()
    t.settle(25, orders=[row(t.order(1), "Filled", 1)], executions=[execution(t.order(1), 1)])
    assert group.status == {A: MemberStatus.FILLED, B: MemberStatus.UNSENT}
    assert group.is_diverged
    assert t.strategy.groups == [("r-group-1", True, {A: "filled", B: "unsent"})]


def test_a_refusal_of_the_venue_in_one_account() -> None:
    t = talk()
    group = t.do(lambda s: s.buy_group(ES, 1, limit_price=4700.0))
    t.error(t.take("PlaceOrder"), "invalid_account")
    assert t.strategy.groups == []
    t.reply(t.take("PlaceOrder"))
    assert group.status == {A: MemberStatus.REJECTED, B: MemberStatus.WORKING}
    assert t.strategy.groups == [("r-group-1", True, {A: "rejected", B: "working"})]
    assert "rejected (buy 1): invalid_account" in group.report()


def test_a_rate_limit_keeps_the_time_limit_of_the_group() -> None:
    t = talk()
    group = t.do(lambda s: s.buy_group(ES, 1, within=1))
    left = t.now
    t.reply(t.take("PlaceOrder"))
    t.to(0.9)
    t.error(t.take("PlaceOrder"), "Rate limit exceeded")  # not done: it goes again, if there is time
    assert group.status[B] is MemberStatus.SENT
    t.to(0.5)
    assert group.status[B] is MemberStatus.UNSENT
    assert t.now == left + round(1.4 * SECOND)
    assert [frame for frame in t.said() if frame.get("api") == "PlaceOrder"] == []
    assert "stale" in [str(facts[1]) for facts in t.engine.decisions]


def test_a_frame_carries_the_time_limit_of_its_group() -> None:
    t = talk()
    t.said()
    t.do(lambda s: s.buy_group(ES, 1, within=7))
    frames = [frame for frame in t.trader.out if frame.api == "PlaceOrder"]
    assert [frame.deadline for frame in frames] == [t.now + 7 * SECOND] * 2


def test_while_the_link_is_down_all_or_none_is_none() -> None:
    t = talk()
    t.link_down()
    group = t.engine.seats["Grouped"].strategy.buy_group(ES, 1, all_or_none=True)  # type: ignore[attr-defined]
    t.engine.decide(lambda: None, t.now)
    assert group.status == {A: MemberStatus.DENIED, B: MemberStatus.DENIED}
    assert not group.is_affordable
    assert "link_down" in group.orders[A].reason


def test_a_spent_bucket_is_known_before_anything_leaves() -> None:
    t = talk()
    t.to(20)  # the bucket is full again
    seen: list[Any] = []

    def act(s: Any) -> Any:
        for _ in range(18):
            s.buy(ES, 1, limit_price=4700.0)
        group = s.buy_group(ES, {A: 1, B: 1}, all_or_none=True, within=0.5)
        more = s.sell_group(ES, {A: 1, B: 1}, all_or_none=True, within=0.5)
        seen.append((group.affordable.at_once, more.affordable.at_once))
        return group, more

    group, more = t.do(act)
    assert seen == [(2, 0)]
    assert set(group.status.values()) == {MemberStatus.SENT}
    assert set(more.status.values()) == {MemberStatus.DENIED}
    assert more.orders[A].reason.startswith("budget: all or none, and of 2 requests 0 could leave at once")


def test_a_run_forgets_no_group_and_keeps_none_that_is_over() -> None:
    t = talk(max_order_quantity=1)
    for _ in range(3):
        t.do(lambda s: s.buy_group(ES, 2))
        t.quote()
    assert [item[1] for item in t.strategy.groups] == [False] * 3
    assert not t.engine.groups.open
    assert not t.engine.groups.deadlines
