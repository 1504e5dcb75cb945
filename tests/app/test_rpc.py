"""``xtalgo rpc`` as command lines, against a simulated server in this process and in virtual time."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import httpx
import pytest
import trio
from app.place import Place, Terminal, busy
from app.support import ROOT, Xtalgo
from live.hosting import TOKEN
from tables import START

from xtalgo.app import answers, rpc
from xtalgo.app.rpctable import cautions, only_reduces
from xtalgo.live.lock import SessionLock
from xtalgo.model.errors import ConfigError
from xtalgo.protocol.arguments import Certainty
from xtalgo.protocol.checks import check_args
from xtalgo.protocol.routes import match
from xtalgo.protocol.rpc import TABLE, RpcSpec
from xtalgo.protocol.spec import Lane
from xtalgo.sim.functions import FUNCTIONS

CORPUS: dict[str, list[Any]] = json.loads((ROOT / "tests/protocol/corpus/replies.json").read_text("utf-8"))
"""Bodies in the shapes of the reference."""

ORDER = {"action": "Buy", "orderType": "limit", "quantity": 1, "timeInForce": "GTC", "limitPrice": 90.0}
PLAUSIBLE: dict[str, dict[str, Any]] = {
    "GetAllPositions": {"includeFlat": True},
    "ClosePosition": {"quantity": 1},
    "Flatten": {"account": "Sim101", "instrument": "ES", "marketPosition": "long"},
    "ReversePosition": ORDER,
    "ListOrders": {"activeOnly": True},
    "PlaceOrder": {**ORDER, "orderId": "mine", "requireMarketPosition": "flat,Long", "maxPositions": 3},
    "FlatPlace": ORDER,
    "Change": {"limitPrice": 91.0},
    "CancelReplace": ORDER,
    "CancelOrders": {"instrument": "ES 06-26"},
    "CancelAndBracket": {"action": "BUY", "quantity": 3, "takeProfit": 110.0, "stopLoss": 95.0},
    "ListExecutions": {"lookbackTime": 900},
    "GetQuote": {"instrument": "ES,ES 06-26"},
    "GetBars": {"period": 5, "from": "2026-05-12T13:30:00Z", "limit": 10},
}
"""Arguments beside the required names, for functions that take any."""
SPECS = [pytest.param(spec, id=spec.name) for spec in TABLE]
MUTATING = [spec for spec in TABLE if spec.mutates]


def plausible(spec: RpcSpec, **ids: str) -> dict[str, Any]:
    """Arguments that a call can have."""
    known = {"account": "sim101", "instrument": "ES", "strategyId": "5500123", "orderId": "o-1", "executionId": "x-1"}
    needed = [argument.name for argument in spec.args if argument.required and argument.name in known]
    return {**{name: {**known, **ids}[name] for name in needed}, **PLAUSIBLE.get(spec.name, {})}


def words(args: dict[str, Any]) -> list[str]:
    return [f"{name}={str(value).lower() if isinstance(value, bool) else value}" for name, value in args.items()]


def flags(spec: RpcSpec) -> list[str]:
    return [*(["--yes"] if spec.mutates else []), *(["--everything"] if spec.everywhere else [])]


class Scripted:
    """Answers every request with a body, ListAccounts before a mutation with a simulator."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.bodies: dict[str, bytes] = {"ListAccounts": json.dumps({"accounts": [row("Sim101")]}).encode()}
        self.status = 200
        self.error: Exception | None = None
        place.handle = self.handle  # type: ignore[method-assign]

    async def handle(self, request: httpx.Request) -> httpx.Response:
        self.place.requests.append(request)
        path = request.url.raw_path.decode().partition("?")[0]
        found = match(request.method, path, filters=request.content not in (b"", b"{}"))
        assert found is not None, path
        if found.spec.mutates and self.error is not None:
            raise self.error
        status = self.status if found.spec.mutates else 200
        return httpx.Response(status, content=self.bodies[found.spec.name])


@pytest.fixture
def scripted(place: Place) -> Scripted:
    return Scripted(place)


def row(name: str, provider: str | None = "Simulator", **more: Any) -> dict[str, Any]:
    return {"name": name, "provider": provider, "connectionStatus": "Connected", **more}


def seen(request: httpx.Request) -> tuple[str, dict[str, Any]]:
    """The function that a request means, and its arguments."""
    path = request.url.raw_path.decode().partition("?")[0]
    body = json.loads(request.content) if request.content else {}
    found = match(request.method, path, filters=bool(body))
    assert found is not None, path
    return found.spec.name, {**found.args, **{key: unquote(text) for key, text in request.url.params.items()}, **body}


# --- every function ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("spec", SPECS)
def test_every_function_over_rest(scripted: Scripted, xtalgo: Xtalgo, spec: RpcSpec) -> None:
    if not spec.paths:
        assert "no REST route is known; --ws" in xtalgo("rpc", spec.name, *words(plausible(spec)), *flags(spec)).error
        return
    body = json.dumps(CORPUS[spec.name][0], indent=2).encode()
    scripted.bodies[spec.name] = body
    args = plausible(spec)
    done = xtalgo("rpc", spec.name, *words(args), *flags(spec))
    assert done.code == 0, done.err
    assert done.err == ""
    name, sent = seen(scripted.place.requests[-1])
    clean = check_args(spec.name, args, everything=spec.everywhere)
    if "account" in clean and spec.mutates and not only_reduces(spec):
        clean["account"] = "Sim101"  # as the venue spells it
    assert name == spec.name
    assert {key: str(value).lower() for key, value in sent.items()} == {
        key: str(value).lower() for key, value in clean.items()
    }
    raw = xtalgo("rpc", spec.name, *words(args), *flags(spec), "--json")
    assert raw.code == 0
    assert raw.out.count("\n") == 1
    assert json.loads(raw.out) == CORPUS[spec.name][0]
    for value in _leaves(CORPUS[spec.name][0]):
        assert value in done.out or value in ("true", ""), f"{value} isn't shown"


def _leaves(body: Any) -> list[str]:
    """The text that a person should find of a body."""
    if isinstance(body, dict):
        return [leaf for name, value in body.items() if name != "success" for leaf in _leaves(value)]
    if isinstance(body, list):
        return [leaf for value in body for leaf in _leaves(value)]
    return [] if body is None else [answers._cell(body)]


@pytest.mark.parametrize("spec", SPECS)
def test_every_function_over_the_socket(place: Place, xtalgo: Xtalgo, spec: RpcSpec) -> None:
    busy(place)
    place.settle()
    venue = place.server.venue
    args = plausible(spec, orderId=venue.working("Sim101")[0].id, executionId=venue.executions[0].id)
    done = xtalgo("rpc", spec.name, *words(args), *flags(spec), "--ws", "--json")
    ((api, sent),) = place.calls
    clean = check_args(spec.name, args, everything=spec.everywhere)
    if "account" in clean and spec.mutates and not only_reduces(spec):
        clean["account"] = "Sim101"
    assert (api, sent) == (spec.name, clean)
    assert place.frames[-1].get("origin") == spec.origin
    assert place.mutations == []  # only the look at the account goes over REST
    if spec.name in FUNCTIONS and spec.name not in ("GetStrategy", "CloseStrategy"):
        assert done.code == 0, done.err
        assert isinstance(json.loads(done.out), dict | list)
    elif spec.name not in FUNCTIONS:
        assert f"Unknown api {spec.name}" in done.err
        assert done.code in (2, 9)


def test_both_roads_show_the_same(place: Place, xtalgo: Xtalgo) -> None:
    busy(place)
    for command in (("ListPositions", "account=Sim101"), ("GetPosition", "account=Sim101", "instrument=ES")):
        over_rest, over_socket = (xtalgo("rpc", *command, *road) for road in ((), ("--ws",)))
        assert over_rest.out == over_socket.out != ""
        raw_rest, raw_socket = (xtalgo("rpc", *command, "--json", *road) for road in ((), ("--ws",)))
        assert json.loads(raw_rest.out) == json.loads(raw_socket.out)


# --- refused before anything is sent -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("command", "told"),
    [
        ((), "name a function, such as"),
        (("ChangeOrder",), "there is no function 'ChangeOrder'; did you mean Change?"),
        (("placeorder", "account=Sim101"), "did you mean PlaceOrder?"),
        (("account=Sim101", "ListPositions"), "the function's name comes first, not 'account=Sim101'"),
        (("ListPositions",), "ListPositions: account is missing"),
        (("ListPositions", "acount=Sim101"), "no argument 'acount'; did you mean account?"),
        (("ListPositions", "Sim101"), "'Sim101' is no argument: write name=value, such as account=Sim101"),
        (("ListPositions", "account=Sim101", "account=Sim102"), "account is given twice"),
        (("ListPositions", "account="), "account is empty"),
        (("ListAccounts", "x"), "it takes none"),
        (("ListPositions", "account=../.."), "in an address it would mean another one"),
        (("ClosePosition", "account=Sim101", "instrument=ES", "qty=1"), "no argument 'qty'; did you mean quantity?"),
        (("ClosePosition", "account=Sim101", "instrument=ES", "quantity=1.5"), "quantity must be a whole number"),
        (("ClosePosition", "account=Sim101", "instrument=ES", "percent=30"), "percent must be at most 1"),
        (("ClosePosition", "account=Sim101", "instrument=ES", "quantity=1", "percent=0.5"), "not both"),
        (("GetBars", "instrument=ES", "periodType=minuets"), "did you mean minute?"),
        (("GetBars", "instrument=ES", "from=yesterday"), "from must be a time"),
        (("GetAllPositions", "includeFlat=perhaps"), "includeFlat must be true or false"),
        (("Change", "account=Sim101", "orderId=o"), "give at least one of quantity, limitPrice, stopPrice"),
        (("Flatten",), "Flatten: name the account"),
        (("FlattenEverything",), "acts on every account: give --everything"),
        (("CancelAllOrders", "account=Sim101"), "acts on every account: give --everything"),
        (("ListPositions", "--account", "Sim101"), "Arguments of a function are written name=value, such as account="),
        (("Flatten", "account=Sim101", "--everything"), "--everything has no meaning for Flatten"),
    ],
)
@pytest.mark.parametrize("road", [(), ("--ws",)])
def test_what_cannot_be_right_never_leaves(
    place: Place, xtalgo: Xtalgo, command: tuple[str, ...], told: str, road: tuple[str, ...]
) -> None:
    assert told in xtalgo("rpc", *command, "--yes", *road).error
    assert place.requests == []
    assert place.frames == []


def test_prices_that_do_not_belong(place: Place, xtalgo: Xtalgo) -> None:
    order = ("PlaceOrder", "account=Sim101", "instrument=ES", "action=buy", "quantity=1", "timeInForce=day")
    for more, told in (
        (("orderType=market", "limitPrice=90"), "limitPrice has no meaning for MARKET"),
        (("orderType=limit",), "limitPrice is missing, which LIMIT needs"),
        (("orderType=limt", "limitPrice=90"), "orderType must be MARKET, LIMIT, STOPMARKET or STOPLIMIT, not 'limt'"),
    ):
        assert told in xtalgo("rpc", *order, *more, "--yes").error
    assert place.requests == []


def test_before_the_token_is_looked_for(xtalgo: Xtalgo) -> None:
    assert "did you mean Change?" in xtalgo("rpc", "ChangeOrder").error
    assert "set XTRADE_TOKEN or --token-file" in xtalgo("rpc", "ListAccounts").error


# --- asking --------------------------------------------------------------------------------------------------------

PLACE = ("PlaceOrder", "account=sim101", "instrument=ES", "action=BUY", "orderType=MARKET", "quantity=2")


@pytest.mark.parametrize("spec", [pytest.param(spec, id=spec.name) for spec in MUTATING])
def test_where_nobody_can_be_asked_it_needs_a_word(place: Place, xtalgo: Xtalgo, spec: RpcSpec) -> None:
    everything = ["--everything"] if spec.everywhere else []
    error = xtalgo("rpc", spec.name, *words(plausible(spec)), *everything).error
    assert f"{spec.name} acts at the venue, and there is no terminal to ask at: give --yes" in error
    assert place.requests == []


@pytest.mark.parametrize("road", [(), ("--ws",)])
@pytest.mark.parametrize(("typed", "code"), [("y\n", 0), ("YES\n", 0), ("n\n", 2), ("\n", 2), ("", 2)])
def test_at_a_terminal_it_shows_and_asks(
    place: Place, xtalgo: Xtalgo, monkeypatch: pytest.MonkeyPatch, typed: str, code: int, road: tuple[str, ...]
) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    done = xtalgo("rpc", *PLACE, "timeInForce=gtc", *road)
    assert done.code == code, done.err
    where = "ws://localhost/ws/stream" if road else "http://localhost"
    assert done.err.partition("Send it? [y/N] ")[0].splitlines() == [
        f"PlaceOrder at {where}, account Sim101 (simulator)",
        "  instrument: ES",
        "  action: BUY",
        "  orderType: MARKET",
        "  quantity: 2",
        "  timeInForce: GTC",
        "  note: success means accepted, not filled",
        "  cost: 1 request of 180 a minute, after ListAccounts, which was sent already",
    ]
    assert ("not confirmed: nothing was done" in done.err) is (code == 2)
    assert len(place.mutations) + len(place.calls) == (code == 0)
    place.server.advance(START + 60 * 10**9)
    assert place.open() == ((2, 0) if code == 0 else (0, 0))


def test_reads_are_not_asked_about(place: Place, xtalgo: Xtalgo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal(""))
    done = xtalgo("rpc", "ListPositions", "account=Sim101")
    assert (done.code, done.err, done.out) == (0, "", "nothing\n")
    assert len(place.requests) == 1


def test_everything_is_asked_about_as_well(place: Place, xtalgo: Xtalgo, monkeypatch: pytest.MonkeyPatch) -> None:
    busy(place)
    place.settle()
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    done = xtalgo("rpc", "CancelAllOrders", "--everything")
    assert done.code == 2
    assert "CancelAllOrders at http://localhost, EVERY account of this token\n" in done.err
    assert "  cost: 1 request of 180 a minute\n" in done.err
    assert place.requests == []


@pytest.mark.parametrize("api", ["FlattenEverything", "CancelAllOrders"])
def test_every_account_is_meant_by_an_empty_body(scripted: Scripted, xtalgo: Xtalgo, api: str) -> None:
    scripted.bodies[api] = b'{"success":true,"orderIds":[]}'
    assert xtalgo("rpc", api, "--everything", "--yes").code == 0
    (request,) = scripted.place.requests
    assert json.loads(request.content) == {}
    assert request.url.path == TABLE[api].paths[0]


def test_the_guard_at_the_request_still_stands_for_other_functions(scripted: Scripted, xtalgo: Xtalgo) -> None:
    """What names an account names it in the path."""
    scripted.bodies["Flatten"] = b'{"success":true,"closedPositions":[]}'
    assert xtalgo("rpc", "Flatten", "account=Sim101", "--yes").code == 0
    (request,) = scripted.place.requests
    assert request.url.path == "/v1/api/accounts/Sim101/positions/flatten"
    assert json.loads(request.content) == {"account": "Sim101"}


# --- accounts that are no simulators -------------------------------------------------------------------------------


@pytest.mark.parametrize("provider", ["Rithmic", None])
@pytest.mark.parametrize("spec", [pytest.param(spec, id=spec.name) for spec in MUTATING if not spec.everywhere])
def test_a_real_account_needs_a_word_of_its_own(
    scripted: Scripted, xtalgo: Xtalgo, spec: RpcSpec, provider: str | None
) -> None:
    scripted.bodies["ListAccounts"] = json.dumps({"accounts": [row("Sim101", provider)]}).encode()
    scripted.bodies[spec.name] = json.dumps(CORPUS[spec.name][0]).encode()
    command = ("rpc", spec.name, *words(plausible(spec)), *flags(spec))
    if spec.lane is Lane.REDUCE and spec.name != "CancelAndBracket":  # which places orders, also where nothing is open
        assert xtalgo(*command).code == 0
        assert [seen(request)[0] for request in scripted.place.requests] == [spec.name]
        return
    error = xtalgo(*command).error
    told = "not told" if provider is None else repr(provider)
    assert f"account Sim101 is not known to be a simulator (its provider is {told}); {spec.name} on it" in error
    assert scripted.place.mutations == []
    assert xtalgo(*command, "--live").code == 0
    assert len(scripted.place.mutations) == 1


def test_a_real_account_is_called_so(scripted: Scripted, xtalgo: Xtalgo, monkeypatch: pytest.MonkeyPatch) -> None:
    offline = row("Sim101", "Rithmic", connectionStatus="ConnectionLost")
    scripted.bodies["ListAccounts"] = json.dumps({"accounts": [offline]}).encode()
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    done = xtalgo("rpc", "Reverse", "account=Sim101", "instrument=ES", "--live")
    assert "account Sim101 (REAL, provider Rithmic)" in done.err
    assert "Sim101 is not connected in NinjaTrader" in done.err
    assert "ids of the venue's" in done.err
    scripted.bodies["ListAccounts"] = json.dumps({"accounts": ["Sim101"]}).encode()
    monkeypatch.setattr("sys.stdin", Terminal("n\n"))
    done = xtalgo("rpc", "Reverse", "account=Sim101", "instrument=ES", "--live")
    assert "account Sim101 (NOT KNOWN to be a simulator)" in done.err
    assert scripted.place.mutations == []


def test_an_account_that_is_not_there(place: Place, xtalgo: Xtalgo) -> None:
    error = xtalgo("rpc", "Reverse", "account=Sim999", "instrument=ES", "--yes").error
    assert "there is no account 'Sim999'; the venue has: Sim101, Sim102" in error
    assert place.mutations == []


# --- what came of it -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b'{"orderId":"a\\u0062","success":true,"more":{"b": [1.0, 2.50]}}',
        b'{\r\n  "success": true,\r\n\t"orderId": "a  b"\r\n}\n',
    ],
)
def test_json_is_what_came(scripted: Scripted, xtalgo: Xtalgo, body: bytes) -> None:
    scripted.bodies["PlaceOrder"] = body
    done = xtalgo("rpc", *PLACE, "timeInForce=day", "--yes", "--json")
    assert done.code == 0
    assert re.sub(r"[\r\n]+", " ", body.decode().strip()) == done.out.rstrip("\n")


def test_json_over_the_socket_is_the_reply_alone(place: Place, xtalgo: Xtalgo) -> None:
    done = xtalgo("rpc", "ListAccounts", "--ws", "--json")
    assert [row["name"] for row in json.loads(done.out)["accounts"]] == ["Sim101", "Sim102"]
    assert "id" not in json.loads(done.out)


def test_oddities_are_told_beside_the_answer(scripted: Scripted, xtalgo: Xtalgo) -> None:
    good = {"instrument": "YM 09-27", "marketPosition": "Short", "quantity": "2"}
    body = json.dumps({"positions": [good, {"instrument": "ES"}], "success": True, "warning": "a little late"}).encode()
    scripted.bodies["ListPositions"] = body
    done = xtalgo("rpc", "ListPositions", "account=Sim101")
    assert done.code == 7
    assert done.out.splitlines()[1].split() == ["YM", "09-27", "Short", "2"]
    assert "the venue warns: a little late" in done.err
    assert "positions[0].quantity: the text '2' read as a number" in done.err
    assert "1 rows can't be read and are not shown; --json shows all" in done.err
    raw = xtalgo("rpc", "ListPositions", "account=Sim101", "--json")
    assert (raw.code, raw.out) == (0, body.decode() + "\n")
    assert "positions[0].quantity" in raw.err


def test_a_refusal_is_in_the_venue_s_words(place: Place, xtalgo: Xtalgo) -> None:
    for road in ((), ("--ws",)):
        command = ("rpc", "ClosePosition", "account=Sim101", "instrument=ES", "--yes", *road)
        assert "ClosePosition: No positions found for instrument" in xtalgo(*command).error
        raw = xtalgo(*command, "--json")
        assert raw.code == 2
        assert json.loads(raw.out)["error"].startswith("No positions found")


@pytest.mark.parametrize("road", [(), ("--ws",)])
def test_a_read_that_is_refused_in_unknown_words_is_not_asked_again(
    place: Place, xtalgo: Xtalgo, road: tuple[str, ...]
) -> None:
    done = xtalgo("rpc", "GetOrder", "account=Sim101", "orderId=nope", *road)
    assert done.error == "xtalgo: GetOrder: Order 'nope' not found"
    assert len(place.requests) + len(place.calls) == 1


@pytest.mark.parametrize("road", [(), ("--ws",)])
def test_what_may_have_been_carried_out_is_told_and_never_sent_again(
    place: Place, xtalgo: Xtalgo, road: tuple[str, ...]
) -> None:
    place.storm(lose_reply=1.0)
    done = xtalgo("rpc", "CloseStrategy", "account=Sim 101", "strategyId=7", "--yes", *road)
    assert done.code == 9, done.err
    assert "It MAY HAVE BEEN CARRIED OUT and is not sent again; look first: " in done.err
    assert 'xtalgo orders --account "Sim 101" --all; xtalgo positions --account "Sim 101"' in done.err
    assert len(place.mutations) + len(place.calls) == 1


def test_lost_on_the_way_back(scripted: Scripted, xtalgo: Xtalgo) -> None:
    for error in (httpx.ReadTimeout("late"), httpx.ReadError("broken"), httpx.RemoteProtocolError("no answer")):
        scripted.error = error
        scripted.place.requests.clear()
        done = xtalgo("rpc", *PLACE, "timeInForce=day", "--yes", "--json")
        assert (done.code, done.out) == (9, "")
        assert len(scripted.place.mutations) == 1
    scripted.error = httpx.ConnectError("no")
    done = xtalgo("rpc", *PLACE, "timeInForce=day", "--yes")
    assert done.code == 7  # it never left
    assert "MAY HAVE" not in done.err


def test_an_answer_of_no_use_to_a_mutation_is_doubt(scripted: Scripted, xtalgo: Xtalgo) -> None:
    scripted.bodies["PlaceOrder"] = b"<html>gateway</html>"
    done = xtalgo("rpc", *PLACE, "timeInForce=day", "--yes", "--json")
    assert (done.code, done.out) == (9, "")
    scripted.status = 502
    scripted.bodies["PlaceOrder"] = b'{"error":"bad gateway"}'
    done = xtalgo("rpc", *PLACE, "timeInForce=day", "--yes", "--json")
    assert (done.code, done.out) == (9, '{"error":"bad gateway"}\n')


def test_interrupted_while_it_was_under_way(
    scripted: Scripted, xtalgo: Xtalgo, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = trio.run

    def interrupted(main: Callable[[], Any]) -> None:
        run(main)
        raise KeyboardInterrupt

    scripted.bodies["PlaceOrder"] = b'{"success":true}'
    monkeypatch.setattr(trio, "run", interrupted)
    done = xtalgo("rpc", *PLACE, "timeInForce=day", "--yes")
    assert done.code == 130
    assert "MAY HAVE" not in done.err  # it was over
    scripted.error = KeyboardInterrupt()  # type: ignore[assignment]
    done = xtalgo("rpc", *PLACE, "timeInForce=day", "--yes")
    assert done.code == 130
    assert "PlaceOrder: It MAY HAVE BEEN CARRIED OUT" in done.err


@pytest.mark.parametrize("road", [(), ("--ws",)])
def test_an_addon_that_is_away(place: Place, xtalgo: Xtalgo, road: tuple[str, ...]) -> None:
    place.storm(addon_offline=[0, 1000])
    assert xtalgo("rpc", "ListAccounts", *road).code == 7
    assert xtalgo("rpc", "Cancel", "account=Sim101", "orderId=o", "--yes", *road).code == 9


@pytest.mark.parametrize("road", [(), ("--ws",)])
def test_the_token(
    place: Place, xtalgo: Xtalgo, monkeypatch: pytest.MonkeyPatch, folder: Path, road: tuple[str, ...]
) -> None:
    monkeypatch.setenv("XTRADE_TOKEN", "n0t-the-one")
    done = xtalgo("rpc", "ListAccounts", *road)
    assert done.code == 4
    assert "n0t-the-one" not in done.out + done.err
    assert TOKEN not in "".join(path.read_text() for path in (folder / ".state").rglob("*") if path.is_file())


# --- the one socket ------------------------------------------------------------------------------------------------


def test_a_run_keeps_its_socket(place: Place, xtalgo: Xtalgo) -> None:
    connection = place.server.connect(TOKEN, START)
    assert isinstance(connection, int)
    with SessionLock(TOKEN):
        assert xtalgo("rpc", "ListAccounts").code == 0
        before = len(place.requests)
        for command in (("ListAccounts",), ("Reverse", "account=Sim101", "instrument=ES", "--yes")):
            error = xtalgo("rpc", *command, "--ws").error
            assert "another session runs with this token on this machine (" in error
            assert "process" in error or "pid" in error
    assert len(place.requests) == before
    assert place.server._connection is not None
    assert place.server._connection.number == connection
    assert xtalgo("rpc", "ListAccounts", "--ws").code == 0  # and the lock is free again


@pytest.mark.parametrize(
    ("url", "socket"),
    [
        ("wss://app.crosstrade.io/ws/stream", "wss://app.crosstrade.io/ws/stream"),
        ("https://app.crosstrade.io", "wss://app.crosstrade.io/ws/stream"),
        ("http://127.0.0.1:8765/v1/api", "ws://127.0.0.1:8765/ws/stream"),
        ("http://[::1]:8765/", "ws://[::1]:8765/ws/stream"),
    ],
)
def test_either_address_leads_to_the_socket(url: str, socket: str) -> None:
    assert rpc.socket_url(url) == socket


# --- the list ------------------------------------------------------------------------------------------------------


def test_the_list_has_every_function(xtalgo: Xtalgo) -> None:
    done = xtalgo("rpc", "--list")
    assert (done.code, done.err) == (0, "")
    for spec in TABLE:
        assert re.search(rf"^{' = '.join((spec.name, *spec.aliases))} +{spec.lane.name.lower()} ", done.out, re.M)
        assert all(path in done.out for path in spec.paths)
    assert "PlaceOrder" in done.out
    assert "orderType*=MARKET|LIMIT|STOPMARKET|STOPLIMIT" in done.out
    assert "lookbackTime (default 320)" in done.out


def test_the_list_on_a_terminal_of_80_columns(xtalgo: Xtalgo, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "80"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    for command in (("--list",), ("PlaceOrder", "--list")):
        text = re.sub(r"\x1b\[[0-9;]*m", "", xtalgo("rpc", *command).out)
        assert max(len(line.rstrip()) for line in text.splitlines()) <= 80


def test_a_word_narrows_the_list(xtalgo: Xtalgo) -> None:
    found = [json.loads(line) for line in xtalgo("rpc", "--list", "strateg", "--json").out.splitlines()]
    assert {"ListStrategies", "GetStrategy", "CloseStrategy", "PlaceOrder"} <= {each["name"] for each in found}
    assert "ListAccounts" not in {each["name"] for each in found}
    assert "did you mean Change?" in xtalgo("rpc", "--list", "ChangeOrder").error
    assert "--list takes one word" in xtalgo("rpc", "--list", "A", "B").error


def test_one_function_in_detail(xtalgo: Xtalgo) -> None:
    text = xtalgo("rpc", "CancelOrder", "--list").out
    assert text.startswith("Cancel\n")
    assert "also called  CancelOrder" in text
    text = xtalgo("rpc", "--list", "PlaceOrder").out
    for words in (
        "limitPrice             float; above 0; with LIMIT and STOPLIMIT",
        "requireMarketPosition  flat, long, short; several with commas; refused in any other",
        "caution  with strategy= NinjaTrader adds the template's exits",
        "route    documented",
    ):
        assert words in text
    assert "rule         at least one of takeProfit, stopLoss" in xtalgo("rpc", "--list", "CancelAndBracket").out


def test_the_list_for_programs(xtalgo: Xtalgo) -> None:
    found = [json.loads(line) for line in xtalgo("rpc", "--list", "--json").out.splitlines()]
    assert [each["name"] for each in found] == [spec.name for spec in TABLE]
    by_name = {each["name"]: each for each in found}
    assert by_name["Cancel"]["aliases"] == ["CancelOrder"]
    assert by_name["Tv_ListOrders"]["certainty"] == dict.fromkeys(("name", "route", "body"), Certainty.OBSERVED)
    for spec in TABLE:
        assert [each["name"] for each in by_name[spec.name]["arguments"]] == [each.name for each in spec.args]
        assert by_name[spec.name]["mutates"] is spec.mutates


def test_what_places_orders_without_our_id_says_so() -> None:
    for spec in TABLE:
        places = (spec.mutates and spec.argument("action") is not None) or spec.name == "Reverse"
        chosen_id = (argument := spec.argument("orderId")) is not None and not argument.required
        told = any("ids of the venue's" in text for text in cautions(spec))
        assert told is (places and not chosen_id), spec.name


def test_only_what_cancels_and_closes_only_reduces() -> None:
    assert {spec.name for spec in TABLE if only_reduces(spec)} == {
        *("ClosePosition", "Flatten", "FlattenEverything", "Cancel", "CancelOrders", "CancelAllOrders"),
        "CloseStrategy",
    }


def test_every_mutation_names_its_account_or_is_everywhere() -> None:
    for spec in MUTATING:
        account = spec.argument("account")
        named = account is not None and (account.required or "account" in spec.must_name)
        assert named or spec.everywhere, spec.name


# --- rendering -----------------------------------------------------------------------------------------------------


def test_one_line_keeps_every_character() -> None:
    assert answers.one_line(b' {"a":\n1.50,\r\n"b":"x\\ny"} ') == '{"a": 1.50, "b":"x\\ny"}'
    assert answers.one_line('{"a":"\u2028\n"}'.encode()) is None  # a raw line end inside a text is no JSON
    for body in (b"", b"<html>", b"\xff", b"{"):
        assert answers.one_line(body) is None
    with pytest.raises(ConfigError):
        rpc.read_invocation(rpc.RpcRequest(name="Nope"))


def test_a_wide_list_is_shown_one_by_one_where_a_table_has_no_room(
    place: Place, xtalgo: Xtalgo, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy(place)
    wide = xtalgo("rpc", "ListOrders", "account=Sim101").out.splitlines()
    assert len(wide) == 4
    assert wide[0].split()[:2] == ["orderId", "account"]
    for name, value in (("FORCE_COLOR", "1"), ("COLUMNS", "80"), ("NO_COLOR", "1")):
        monkeypatch.setenv(name, value)
    narrow = [line.rstrip() for line in xtalgo("rpc", "ListOrders", "account=Sim101").out.splitlines()]
    assert [line for line in narrow if not line.startswith(" ")] == ["1.", "2.", "3."]
    assert "  stopPrice: 95" in narrow
