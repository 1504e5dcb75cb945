"""The conversation before a run: accounts, contracts and their facts."""

from __future__ import annotations

import datetime as dt
from typing import Any

import msgspec
import pytest

from xtalgo.client.calls import Calls, End, Settled
from xtalgo.client.setup import ATTEMPTS, Pin, Setup
from xtalgo.model.errors import ConfigError
from xtalgo.model.instruments import ContractBook
from xtalgo.protocol.frames import RpcError, RpcReply
from xtalgo.protocol.orders import Call

START = 1_778_680_800_000_000_000
"""2026-05-13 14:00:00 UTC."""

ACCOUNTS = {
    "accounts": [
        {"id": 3, "name": "Sim101", "provider": "Simulator", "connectionStatus": "Connected"},
        {"id": 4, "name": "Sim110", "provider": "Simulator", "connectionStatus": "Disconnected"},
        {"id": 5, "name": "Funded7", "provider": "Rithmic", "connectionStatus": "Connected"},
        {"id": 6, "name": "Untold"},
    ],
    "success": True,
}


def quote(instrument: str = "ES 06-26", **more: Any) -> dict[str, Any]:
    row = {
        "instrument": instrument,
        "bid": 4800.0,
        "ask": 4800.25,
        "last": 4800.0,
        "volume": 5,
        "tickSize": 0.25,
        "pointValue": 50.0,
        "expiration": "2026-06-19T00:00:00.0000000",
    }
    return row | more


def setup(accounts: tuple[str, ...] = ("Sim101",), names: tuple[str, ...] = (), **how: Any) -> Setup:
    return Setup(accounts, names, ContractBook(), **how)


def ended(call: Call, data: Any) -> Settled[Any]:
    calls: Calls[str] = Calls()
    key, _ = calls.begin(call.api, call.args, "", 0)
    settled = calls.settle(RpcReply(key, msgspec.Raw(msgspec.json.encode(data))), 1)
    assert settled is not None
    return settled


def failed(call: Call, error: str) -> Settled[Any]:
    calls: Calls[str] = Calls()
    key, _ = calls.begin(call.api, call.args, "", 0)
    settled = calls.settle(RpcError(key, error), 1)
    assert settled is not None
    return settled


LIST = Call("ListAccounts", {})


def asks(name: str) -> Call:
    return Call("GetQuote", {"instrument": name})


def test_accounts_and_each_instrument_are_asked_for_until_answered() -> None:
    one = setup(names=("ES", "MNQ 06-26"))
    assert list(one.calls()) == [LIST, asks("ES"), asks("MNQ 06-26")]
    assert not one.take(LIST, ended(LIST, ACCOUNTS))
    assert not one.take(asks("ES"), ended(asks("ES"), quote()))
    assert list(one.calls()) == [asks("MNQ 06-26")]
    assert not one.is_done
    facts = quote("MNQ 06-26", pointValue=2.0)
    one.take(asks("MNQ 06-26"), ended(asks("MNQ 06-26"), facts))
    assert one.is_done
    assert list(one.calls()) == []


def test_accounts_are_in_the_venues_spelling_and_in_our_order() -> None:
    one = setup(("sim110", "SIM101"))
    one.take(LIST, ended(LIST, ACCOUNTS))
    assert one.accounts == ("Sim110", "Sim101")
    assert one.notices == ["account Sim110 is not connected in NinjaTrader"]


def test_an_unknown_account_lists_what_there_is() -> None:
    with pytest.raises(ConfigError, match=r"no account 'Sim1'; the venue has: Funded7, Sim101, Sim110, Untold\. "):
        setup(("Sim1",)).take(LIST, ended(LIST, ACCOUNTS))


def test_a_venue_without_accounts_is_told_as_such() -> None:
    with pytest.raises(ConfigError, match="the venue has: none"):
        setup().take(LIST, ended(LIST, {"accounts": [], "success": True}))


def asked_alone(found: Setup, answer: Any) -> Setup:
    """The list was answered, and then each account that it tells too little of."""
    found.take(LIST, ended(LIST, ACCOUNTS))
    calls, found.next = found.next, []
    assert list(found.calls()) == calls or not calls
    for call in calls:
        assert call.api == "GetAccount"
        if isinstance(answer, str):
            found.take(call, failed(call, answer))
        else:
            found.take(call, ended(call, answer))
    return found


def test_an_account_of_which_the_list_tells_too_little_is_asked_about() -> None:
    found = asked_alone(setup(("untold", "sim101")), {"name": "Untold", "provider": "Simulator", "success": True})
    assert found.accounts == ("Untold", "Sim101")
    assert not found.next
    with pytest.raises(ConfigError, match="answered with another account, Sim101"):
        asked_alone(setup(("Untold",)), {"name": "Sim101", "provider": "Simulator"})
    with pytest.raises(ConfigError, match=r"Untold is not known to be a simulator \(invalid_account\)"):
        asked_alone(setup(("Untold",)), "invalid_account")


def test_an_account_that_is_asked_about_in_vain_is_asked_about_again() -> None:
    found = setup(("Untold",))
    found.take(LIST, ended(LIST, ACCOUNTS))
    (call,) = found.next
    assert found.take(call, failed(call, "timed out")) is True
    assert not found.accounts


@pytest.mark.parametrize(("account", "provider"), [("Funded7", "'Rithmic'"), ("Untold", "not told")])
def test_an_account_that_is_not_known_to_be_a_simulator_needs_live(account: str, provider: str) -> None:
    with pytest.raises(ConfigError, match=f"{account} is not known to be a simulator .*{provider}.*--live"):
        asked_alone(setup((account,)), {"name": account, "success": True})
    allowed = setup((account,), real_allowed=True)
    allowed.take(LIST, ended(LIST, ACCOUNTS))
    assert allowed.accounts == (account,)


def test_a_root_is_pinned_to_the_contract_that_the_venue_names() -> None:
    one = setup(names=("ES",))
    one.take(asks("ES"), ended(asks("ES"), quote()))
    pin = one.pins["ES"]
    assert pin == Pin("ES", "ES 06-26", dt.date(2026, 6, 19))
    assert pin.days_left(START) == 37
    assert {one.pin(text) for text in ("ES", "ES1!", "ESM26", "ES 06-26", "es 06-26")} == {"ES 06-26"}


def test_the_days_left_count_from_the_date_in_new_york() -> None:
    pin = Pin("ES", "ES 06-26", dt.date(2026, 6, 19))
    night = START + 13 * 3600 * 1_000_000_000  # 03:00 UTC of the next day, 23:00 of this day in New York
    assert pin.days_left(night) == 37
    assert Pin("ES", "ES 06-26").days_left(START) is None


def test_another_name_is_dated_or_an_error() -> None:
    one = setup(names=("ES",))
    one.take(asks("ES"), ended(asks("ES"), quote()))
    assert one.pin("ES 09-26") == "ES 09-26"
    assert one.pin("MNQU26") == "MNQ 09-26"
    with pytest.raises(ConfigError, match="'MNQ' was not resolved before the run"):
        one.pin("MNQ")


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        (
            {"tickSize": 0.5},
            r"ES 06-26: the venue's tick size is 0.5, ours is 0.25; correct it under \[instruments.ES\]",
        ),
        ({"pointValue": 5.0}, r"ES 06-26: the venue's point value is 5, ours is 50; correct it under"),
    ],
)
def test_facts_that_differ_end_the_run(facts: dict[str, Any], message: str) -> None:
    one = setup(names=("ES",))
    with pytest.raises(ConfigError, match=message):
        one.take(asks("ES"), ended(asks("ES"), quote(**facts)))


def test_facts_that_the_venue_does_not_tell_are_ours() -> None:
    one = setup(names=("ES",))
    one.take(asks("ES"), ended(asks("ES"), quote(tickSize=None, pointValue=None, expiration=None)))
    assert one.pins["ES"] == Pin("ES", "ES 06-26", None)


@pytest.mark.parametrize(
    ("asked", "told", "message"),
    [
        ("ES", "MES 06-26", "another instrument, 'MES 06-26'"),
        ("ES 06-26", "ES 09-26", "another instrument, 'ES 09-26'"),
        ("ES", "ES", "no contract; give a dated name"),
    ],
)
def test_the_answer_must_be_about_what_was_asked(asked: str, told: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        setup(names=(asked,)).take(asks(asked), ended(asks(asked), quote(told)))


def test_the_same_month_of_another_year_is_another_instrument() -> None:
    with pytest.raises(ConfigError, match="another instrument"):
        setup(names=("ES 06-26",)).take(asks("ES 06-26"), ended(asks("ES 06-26"), quote("ES 06-27")))


def test_a_year_of_one_digit_fits_the_contract_of_that_year() -> None:
    one = setup(names=("ESM6",))
    one.take(asks("ESM6"), ended(asks("ESM6"), quote()))
    assert one.pin("ESM6") == "ES 06-26"


def test_several_contracts_in_the_answer_are_an_error() -> None:
    with pytest.raises(ConfigError, match="answered with 2 contracts"):
        setup(names=("ES",)).take(asks("ES"), ended(asks("ES"), [quote(), quote("MNQ 06-26")]))


# --- failures -----------------------------------------------------------------------------------------------------


def test_accounts_are_asked_for_again_as_often_as_it_takes() -> None:
    one = setup()
    for _ in range(20):
        settled = failed(LIST, "The NinjaTrader add-on is not connected")
        assert settled.end is End.NOT_DONE
        assert one.take(LIST, settled)


def test_a_refusal_of_the_accounts_ends_the_run() -> None:
    with pytest.raises(ConfigError, match="did not say which accounts there are: Unauthorized"):
        setup().take(LIST, failed(LIST, "Unauthorized"))


def test_a_root_that_stays_without_an_answer_ends_the_run() -> None:
    one = setup(names=("ES",))
    for _ in range(ATTEMPTS - 1):
        assert one.take(asks("ES"), failed(asks("ES"), "timed out"))
    with pytest.raises(ConfigError, match="'ES' could not be resolved to a contract: timed out; give a dated name"):
        one.take(asks("ES"), failed(asks("ES"), "timed out"))


def test_a_dated_name_is_taken_as_it_stands_after_some_attempts() -> None:
    one = setup(names=("ESM26",))
    for _ in range(ATTEMPTS - 1):
        assert one.take(asks("ESM26"), failed(asks("ESM26"), "timed out"))
    assert not one.take(asks("ESM26"), failed(asks("ESM26"), "timed out"))
    assert one.pin("ESM26") == "ES 06-26"
    assert "no quote to compare contract facts with" in one.notices[0]


def test_a_refused_root_is_not_asked_for_again() -> None:
    with pytest.raises(ConfigError, match=r"'ES'.*unknown instrument"):
        setup(names=("ES",)).take(asks("ES"), failed(asks("ES"), "Invalid request: unknown instrument"))
