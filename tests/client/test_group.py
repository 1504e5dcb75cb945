"""A call for several accounts: the plan that is made of it, and the report of what came of each."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtalgo.client.calls import End
from xtalgo.client.group import GroupPlan, GroupReport, MemberReport, carry_out, plan_group
from xtalgo.model.errors import (
    AuthError,
    ConfigError,
    LocalProtocolError,
    NoConnection,
    NotSent,
    OutcomeUnknown,
    RemoteProtocolError,
    SessionTakenOver,
    VenueError,
)
from xtalgo.protocol.replies import Answer
from xtalgo.protocol.rows import Position
from xtalgo.protocol.rpc import TABLE

ES, NQ = "ES 06-26", "NQ 06-26"
ORDER = {"instrument": ES, "action": "SELL", "orderType": "MARKET", "quantity": 2, "timeInForce": "DAY"}


def held(account: str, net: int, instrument: str = ES, price: float | None = 4800.0) -> Position:
    side = "Long" if net > 0 else "Short"
    return Position(instrument, side, abs(net), account=account, market_price=price)


def plan(**how: Any) -> GroupPlan:
    given: dict[str, Any] = {"api": "PlaceOrder", "accounts": ["A", "B", "C"], "args": ORDER, **how}
    return plan_group(given.pop("api"), given.pop("accounts"), given.pop("args"), **given)


# --- the plan --------------------------------------------------------------------------------------------------------


def test_one_call_for_each_account_with_its_own_arguments() -> None:
    made = plan(by_account={"B": {"quantity": 1, "orderId": "x"}})
    assert [dict(call.args) for call in made.calls] == [
        {**ORDER, "account": "B", "quantity": 1, "orderId": "x"},
        {**ORDER, "account": "A"},
        {**ORDER, "account": "C"},
    ]
    assert (made.api, made.cost, made.accounts) == ("PlaceOrder", 3, ("B", "A", "C"))


def test_accounts_are_those_that_have_arguments_where_none_are_named() -> None:
    made = plan_group("Cancel", None, None, {"A": {"orderId": "1"}, "B": {"orderId": "2"}})
    assert [(call.account, call.args["orderId"]) for call in made.calls] == [("A", "1"), ("B", "2")]


def test_what_reduces_goes_first() -> None:
    positions = [held("A", 2), held("B", 5), held("c", -1)]
    made = plan(accounts=["D", "C", "A", "B"], positions=positions)
    assert [(call.account, call.reduces, call.contracts) for call in made.calls] == [
        ("B", True, 5),
        ("A", True, 2),
        ("D", False, 2),
        ("C", False, 3),
    ]
    assert [call.exposure for call in made.calls] == [5 * 50 * 4800, 2 * 50 * 4800, None, 3 * 50 * 4800]


def test_a_turn_opens() -> None:
    made = plan(accounts=["A", "B"], positions=[held("A", 1), held("B", 3)])
    assert [(call.account, call.reduces, call.contracts) for call in made.calls] == [("B", True, 3), ("A", False, 1)]


def test_without_positions_nobody_knows_what_an_order_reduces() -> None:
    made = plan(by_account={"A": {"quantity": 3}})
    assert [(call.account, call.reduces, call.contracts) for call in made.calls] == [
        ("B", False, 2),
        ("C", False, 2),
        ("A", False, 3),
    ]


def test_closes_reduce_and_the_largest_goes_first() -> None:
    positions = [held("A", 1), held("B", -4), held("B", 9, NQ)]
    made = plan(api="ClosePosition", args={"instrument": "ES"}, positions=positions)
    assert [(call.account, call.contracts) for call in made.calls] == [("B", 4), ("A", 1), ("C", 0)]
    # Over all instruments dollars decide: nine NQ at 20 dollars a point are less than ten ES at 50.
    positions = [held("A", 9, NQ, 17_000.0), held("B", 14, ES, 4800.0)]
    made = plan(api="Flatten", args={}, positions=positions)
    assert [(call.account, call.exposure) for call in made.calls] == [
        ("B", 14 * 50 * 4800.0),
        ("A", 9 * 20 * 17_000.0),
        ("C", 0.0),
    ]


def test_the_unknown_counts_as_the_largest() -> None:
    positions = [held("A", 1), held("B", 1, "NOTHING 06-26"), held("C", 2)]
    assert plan(api="Flatten", args={}, positions=positions).accounts == ("B", "C", "A")
    made = plan(
        args={**ORDER, "orderType": "LIMIT"},
        by_account={
            "A": {"limitPrice": 10.0},
            "B": {"instrument": "NOTHING 06-26", "limitPrice": 1.0},
            "C": {"limitPrice": 9.0},
        },
    )
    assert made.accounts == ("C", "A", "B")
    assert plan(api="CancelOrders", args={}).accounts == ("A", "B", "C")


def test_prices_may_be_given() -> None:
    made = plan(by_account={"A": {"instrument": NQ}}, prices={"NQ": 1.0, "ES": 4000.0})
    assert [(call.account, call.exposure) for call in made.calls] == [("A", 40.0), ("B", 400_000.0), ("C", 400_000.0)]


@pytest.mark.parametrize("spec", [spec for spec in TABLE if spec.argument("account")], ids=lambda spec: spec.name)
def test_every_function_of_an_account_can_be_planned(spec: Any) -> None:
    facts: dict[str, Any] = {
        **ORDER,
        "orderId": "1",
        "executionId": "1",
        "strategyId": "1",
        "takeProfit": 4900.0,
    }
    takes = {argument.name for argument in spec.args if argument.required or argument.name == "takeProfit"}
    args = {name: value for name, value in facts.items() if name in takes}
    if spec.name == "Change":
        args["quantity"] = 1
    if spec.everywhere:
        with pytest.raises(ConfigError, match="acts on every account by itself"):
            plan_group(spec.name, ["A", "B"], args)
        return
    made = plan_group(spec.name, None, None, {"A": args, "B": args}, positions=[held("B", 1)])
    assert {call.account for call in made.calls} == {"A", "B"}
    assert {call.reduces for call in made.calls} <= {spec.mutates and spec.lane.value == 0, spec.name == "PlaceOrder"}
    assert str(made).count("\n") == 2


@pytest.mark.parametrize(
    ("how", "text"),
    [
        ({"accounts": []}, "PlaceOrder: name at least one account"),
        ({"accounts": ["A", " a"]}, "account  a is in the group twice"),
        ({"accounts": ["A", ""]}, "by its name, not as ''"),
        ({"accounts": ["A", 1]}, "by its name, not as 1"),
        ({"by_account": {"Z": {}}}, "arguments for account Z, which is not in the group"),
        ({"args": {**ORDER, "account": "A"}}, "leave out account"),
        ({"args": {**ORDER, "orderId": "x"}}, "orderId is one account's: give it by account"),
        ({"by_account": {"B": {"quantity": 0}}}, r"quantity must be greater than 0, not 0 \(account B\)"),
        ({"by_account": {"B": {"qty": 1}}}, r"did you mean quantity\?.*\(account B\)"),
        ({"by_account": {"C": {"limitPrice": 1.0}}}, r"limitPrice has no meaning for MARKET.*\(account C\)"),
        ({"api": "ListAccounts", "args": {}}, "it acts on no account"),
        ({"api": "FlattenEverything", "args": {}}, "it acts on no account"),
        ({"api": "PlaceOder"}, "PlaceOrder"),
    ],
)
def test_what_can_not_be_right_is_not_planned(how: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigError, match=text):
        plan(**how)


def test_one_name_alone_is_one_account() -> None:
    assert plan(accounts="Sim101", args={**ORDER, "orderId": "x"}).accounts == ("Sim101",)


def test_the_cost_is_known() -> None:
    made = plan(accounts=[f"S{n}" for n in range(26)])
    assert (made.cost, made.forecast.at_once) == (26, 20)
    assert made.forecast.last == 2_200_000_000
    assert str(made).startswith("PlaceOrder for 26 accounts: 26 requests, 20 at once and the last after 2.2 s\n")
    assert str(plan(accounts=["A"])).startswith("PlaceOrder for 1 account: 1 request\n  1  A  opens, to 2 contracts  ")


def test_the_cost_by_what_the_bucket_holds() -> None:
    assert plan(tokens=20.0).forecast == plan().forecast
    made = plan(tokens=1.9)
    assert (made.forecast.at_once, made.forecast.last) == (1, 866_666_667)
    assert "3 requests, 1 at once and the last after 0.9 s" in str(made)
    # Nothing is urgent about a read, which must leave four tokens.
    assert plan(api="ListOrders", args={}, tokens=5).forecast.at_once == 1


# --- carrying out ----------------------------------------------------------------------------------------------------


class Venue:
    """Answers by account: an error is raised, anything else is done."""

    def __init__(self, **ends: Exception | str) -> None:
        self.ends = ends
        self.calls: list[str] = []

    async def call(self, api: str, /, *, everything: bool = False, **args: Any) -> Answer[Any]:
        assert not everything
        self.calls.append(args["account"])
        end = self.ends.get(args["account"], "")
        if isinstance(end, Exception):
            raise end
        return Answer(api, warning=end or None)


POSITIONS = [held("R1", 9), held("R2", 5)]
MIXED = plan(accounts=["O1", "R2", "O2", "R1", "O3"], positions=POSITIONS)


async def carried(plan: GroupPlan, venue: Venue, **how: Any) -> GroupReport:
    return await carry_out(plan, venue.call, **how)


async def test_all_done() -> None:
    venue = Venue(O1="nothing to do")
    report = await carried(MIXED, venue)
    assert venue.calls == ["R1", "R2", "O1", "O2", "O3"] == list(MIXED.accounts)
    assert (report.is_complete, report.is_diverged, report.needs_a_look) == (True, False, ())
    assert report.members[2].text == "nothing to do"
    assert report.members[0].answer is not None
    assert str(report) == (
        "PlaceOrder for 5 accounts: 5 done\n  R1  done\n  R2  done\n  O1  done: nothing to do\n  O2  done\n  O3  done"
    )


@pytest.mark.parametrize(
    ("error", "end", "text"),
    [
        (VenueError("PlaceOrder: Invalid request"), End.REFUSED, "PlaceOrder: Invalid request"),
        (NotSent("no connection"), End.NOT_DONE, "no connection"),
        (ConfigError("no route"), End.NOT_DONE, "no route"),
        (LocalProtocolError("closed"), End.NOT_DONE, "closed"),
        (OutcomeUnknown("no answer"), End.UNKNOWN, "no answer"),
        (RemoteProtocolError("what"), End.UNKNOWN, "what"),
        (ValueError("odd"), End.UNKNOWN, "ValueError: odd"),
        (ExceptionGroup("many", [ValueError("odd")]), End.UNKNOWN, "ExceptionGroup: many (1 sub-exception)"),
    ],
)
async def test_one_that_fails_is_told_and_the_others_go_on(error: Exception, end: End, text: str) -> None:
    venue = Venue(R2=error, O2=error)
    report = await carried(MIXED, venue)
    assert venue.calls == list(MIXED.accounts)  # each once: nothing is sent again
    assert report.of(end) == ("R2", "O2")
    assert report.of(End.DONE) == ("R1", "O1", "O3")
    assert {member.text for member in report.members if member.end is end} == {text}
    assert (report.is_complete, report.is_diverged) == (False, True)
    assert report.needs_a_look == (("R2", "O2") if end is End.UNKNOWN else ())
    assert ("look before you repeat it: R2, O2" in str(report)) == (end is End.UNKNOWN)


@pytest.mark.parametrize(
    ("error", "end", "why"),
    [
        (AuthError("bad token"), End.REFUSED, "not sent: the token was refused before"),
        (SessionTakenOver("elsewhere"), End.UNKNOWN, "not sent: the session was taken over before"),
        (NoConnection("gone"), End.UNKNOWN, "not sent: the connection was lost before"),
    ],
)
async def test_after_a_lost_session_nothing_opens_and_what_reduces_goes_on(
    error: Exception, end: End, why: str
) -> None:
    venue = Venue(R1=error)
    report = await carried(MIXED, venue)
    assert venue.calls == ["R1", "R2"]
    assert [member.end for member in report.members] == [end, End.DONE, End.NOT_DONE, End.NOT_DONE, End.NOT_DONE]
    assert {member.text for member in report.members[2:]} == {why}
    venue = Venue(O1=error)
    report = await carried(MIXED, venue)
    assert venue.calls == ["R1", "R2", "O1"]
    assert report.of(End.NOT_DONE) == ("O2", "O3")
    assert report.is_diverged


async def test_what_is_called_once_the_session_is_over_has_not_left() -> None:
    over = SessionTakenOver("elsewhere")
    report = await carried(MIXED, Venue(R1=over, R2=over))
    assert [member.end for member in report.members] == [End.UNKNOWN] + [End.NOT_DONE] * 4


async def test_past_the_time_limit_nothing_opens() -> None:
    venue = Venue()
    report = await carried(MIXED, venue, is_late=lambda: len(venue.calls) >= 3)
    assert venue.calls == ["R1", "R2", "O1"]
    assert {member.text for member in report.members[3:]} == {"not sent: the time limit of the group has passed"}
    venue = Venue()
    report = await carried(MIXED, venue, is_late=lambda: True)
    assert venue.calls == ["R1", "R2"]


async def test_reads_of_unknown_end_are_not_done() -> None:
    report = await carried(plan(api="ListOrders", args={}), Venue(B=OutcomeUnknown("x"), C=ValueError("y")))
    assert [member.end for member in report.members] == [End.DONE, End.NOT_DONE, End.NOT_DONE]


async def test_each_end_is_told_as_it_comes() -> None:
    told: list[MemberReport] = []
    venue = Venue(O1=VenueError("no"))
    report = await carried(MIXED, venue, told=told.append)
    assert told == list(report.members)


ERRORS: list[Callable[[], Exception]] = [
    lambda: VenueError("v"),
    lambda: NotSent("n"),
    lambda: OutcomeUnknown("o"),
    lambda: AuthError("a"),
    lambda: SessionTakenOver("s"),
]


@given(
    st.dictionaries(st.sampled_from(["R1", "R2", "O1", "O2", "O3"]), st.sampled_from(ERRORS)),
    st.integers(0, 5) | st.none(),
)
async def test_laws_of_carrying_out(ends: dict[str, Callable[[], Exception]], late: int | None) -> None:
    errors = {account: make() for account, make in ends.items()}
    venue = Venue(**errors)
    is_late = None if late is None else lambda: len(venue.calls) >= late
    report = await carried(MIXED, venue, is_late=is_late)
    assert [member.account for member in report.members] == list(MIXED.accounts)
    assert len(set(venue.calls)) == len(venue.calls)
    assert venue.calls[:2] == ["R1", "R2"]  # what reduces is always called
    stops = [
        n for n, account in enumerate(venue.calls) if isinstance(errors.get(account), AuthError | SessionTakenOver)
    ]
    if stops:
        assert len(venue.calls) <= max(2, stops[0] + 1)
    for member in report.members:
        if member.account not in venue.calls:
            assert member.end is End.NOT_DONE
        elif member.account not in errors:
            assert member.end is End.DONE
    assert report.is_complete == (len(report.of(End.DONE)) == 5)
