"""The operator's commands as command lines, against a simulated server in this process and in virtual time."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path
from typing import Any

import httpx
import pytest
import trio
import trio.testing
from app.place import REAL_RUN, Place, Terminal, busy
from app.support import Xtalgo
from live.hosting import TOKEN
from tables import ES, START

from xtalgo.app import operator
from xtalgo.app.haltfile import HaltFile, halt_path
from xtalgo.model.errors import ConfigError, LocalProtocolError
from xtalgo.protocol.routes import Request
from xtalgo.protocol.rpc import TABLE
from xtalgo.sim import bodies
from xtalgo.sim.functions import positions

# --- flatten -------------------------------------------------------------------------------------------------------


def test_flat_and_verified(place: Place, xtalgo: Xtalgo) -> None:
    busy(place)
    done = xtalgo("flatten", "--account", "sim101")
    assert done.code == 0, done.err
    assert done.err == ""
    lines = [line.split(" ", 1)[1] for line in done.out.splitlines()]
    assert lines[:3] == [
        "flattening Sim101, for up to 30 s",
        "CancelOrders: cancelling 2 orders",
        f"Flatten: closing +3 {ES}",
    ]
    assert lines[-1].startswith("Sim101 is FLAT: the venue said so twice")
    assert place.open() == (0, 0)
    assert place.open("Sim102") == (3, 2)
    assert max(map(len, done.out.splitlines())) <= 80
    assert len(place.mutations) == 2
    for request in place.mutations:
        assert request.url.raw_path.startswith(b"/v1/api/accounts/Sim101/")
        assert json.loads(request.content) == {"account": "Sim101"}


@pytest.mark.parametrize(
    "faults",
    [
        {"lose_reply": 0.4},
        {"lose_request": 0.4},
        {"rate_refusal": 0.5},
        {"delay_reply": [0.5, 3.0]},
        {"addon_offline": [4, 15]},
        {"addon_offline": [5.2, 12]},
        {"slow_cancel": 4.0},
        {"most_per_fill": 1},
        {"late_rows": 2.0},
        {"reject_order": 0.5},
        {"lose_reply": 0.2, "lose_request": 0.2, "most_per_fill": 1, "slow_cancel": 2.0},
    ],
)
@pytest.mark.parametrize("seed", [1, 2])
def test_through_faults(place: Place, xtalgo: Xtalgo, faults: dict[str, Any], seed: int) -> None:
    busy(place)
    place.settle()
    place.storm(seed=seed, **faults)
    done = xtalgo("flatten", "--account", "Sim101", "--deadline", "120")
    assert done.code == 0, done.out + done.err
    assert place.open() == (0, 0)
    assert place.open("Sim102") == (3, 2)


def test_not_known_to_be_flat(place: Place, xtalgo: Xtalgo) -> None:
    busy(place)
    place.settle()
    place.storm(addon_offline=[0, 1000])
    done = xtalgo("flatten", "--account", "Sim101", "--deadline", "20", "--json")
    assert done.code == 6
    assert "xtalgo: Sim101 is not known to be flat: its orders and positions could not be read" in done.err
    objects = [json.loads(line) for line in done.out.splitlines()]
    verdict = objects[-1]
    assert (verdict["event"], verdict["flat"], verdict["doubts"], verdict["seen_ago"]) == ("verdict", False, 2, None)
    assert 20 <= verdict["seconds"] < 21
    assert [request.url.path.rpartition("/")[2] for request in place.mutations] == ["cancel", "flatten"]
    assert place.open() == (3, 2)


def test_what_is_left_is_told(place: Place, xtalgo: Xtalgo) -> None:
    busy(place)
    place.settle()
    place.storm(reject_order=1.0)  # whatever would close is rejected by the exchange
    done = xtalgo("flatten", "--account", "Sim101", "--deadline", "12")
    assert done.code == 6
    assert f"not known to be flat: +3 {ES}. Try again" in done.err
    assert f"! left, as seen 0.0 s ago: +3 {ES}" in done.out or f"s ago: +3 {ES}" in done.out
    assert len(place.mutations) > 2


def test_an_account_without_a_connection_is_not_known_to_be_flat(
    place: Place, xtalgo: Xtalgo, monkeypatch: pytest.MonkeyPatch
) -> None:
    row = bodies.account_row
    monkeypatch.setattr(bodies, "account_row", lambda *args: {**row(*args), "connectionStatus": "ConnectionLost"})
    done = xtalgo("flatten", "--account", "Sim101", "--deadline", "10")
    assert done.code == 6
    assert "Sim101 is not connected in NinjaTrader" in done.err


def test_rows_of_another_account_prove_nothing(place: Place, xtalgo: Xtalgo, monkeypatch: pytest.MonkeyPatch) -> None:
    busy(place)
    given = positions._rows
    monkeypatch.setattr(positions, "_rows", lambda venue, _account, **more: given(venue, "Sim102", **more))
    done = xtalgo("flatten", "--account", "Sim101", "--deadline", "10")
    assert done.code == 6
    assert "another account" in done.out


@pytest.mark.parametrize("account", ["", " ", ".", "..", "../..", "a/../b", "Sim101/..", "..\\x", "a\nb"])
def test_accounts_that_would_lead_elsewhere(place: Place, xtalgo: Xtalgo, account: str) -> None:
    busy(place)
    for command in ("flatten", "positions", "orders"):
        assert "--account" in xtalgo(command, "--account", account).error
    assert place.requests == []


async def test_the_last_guard_is_at_the_request(autojump_clock) -> None:
    sent: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        sent.append(request)
        return httpx.Response(200, json={"success": True})

    async with operator.OperatorClient("http://localhost", TOKEN, transport=httpx.MockTransport(answer)) as client:
        for call in ("Flatten", "CancelOrders"):
            with pytest.raises(ConfigError, match="account can't be"):
                await client.call(call, account="..")  # httpx resolves dots: this would be another address
            with pytest.raises(LocalProtocolError, match="names no account; it was not sent"):
                await client._send(TABLE[call], Request("POST", "/v1/api/accounts/../positions/flatten", {}, {}))
        with pytest.raises(LocalProtocolError):
            await client.call("FlattenEverything", everything=True)
        with pytest.raises(ConfigError):
            await client.call("Flatten", account="")
        assert sent == []
        await client.call("Flatten", account="Sim 1/2", instrument="ES")
    assert sent[0].url.raw_path == b"/v1/api/accounts/Sim%201%2F2/positions/flatten"
    assert json.loads(sent[0].content) == {"account": "Sim 1/2", "instrument": "ES"}


def test_an_account_that_is_not_there(place: Place, xtalgo: Xtalgo) -> None:
    error = xtalgo("flatten", "--account", "Sim999").error
    assert error == "xtalgo: there is no account 'Sim999'; the venue has: Sim101, Sim102"
    assert place.mutations == []
    assert "Sim999" in xtalgo("positions", "--account", "Sim999").error


def test_flatten_has_no_default_account(place: Place, xtalgo: Xtalgo, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XTALGO_ACCOUNTS", "Sim101")
    assert "--account" in xtalgo("flatten").error
    for deadline in ("0", "nan", "soon"):
        assert "--" in xtalgo("flatten", "--account", "Sim101", "--deadline", deadline).error
    assert "--instrument" in xtalgo("flatten", "--account", "Sim101", "--instrument", " ").error
    assert place.requests == []


def test_one_instrument(place: Place, xtalgo: Xtalgo) -> None:
    busy(place)
    place.settle()
    done = xtalgo("flatten", "--account", "Sim101", "--instrument", "ESM6")
    assert done.code == 0, done.out + done.err
    assert place.open() == (0, 0)
    assert {json.loads(request.content)["instrument"] for request in place.mutations} == {"ESM6"}
    before = len(place.mutations)
    assert "leave --instrument out" in xtalgo("flatten", "--account", "Sim101", "--instrument", "EZ").error
    assert len(place.mutations) == before


@pytest.mark.parametrize(("typed", "flags", "code"), [("y\n", (), 0), ("n\n", (), 6), ("", (), 6), ("", ("--yes",), 0)])
def test_at_a_terminal_it_asks(
    place: Place,
    xtalgo: Xtalgo,
    monkeypatch: pytest.MonkeyPatch,
    typed: str,
    flags: tuple[str, ...],
    code: int,
) -> None:
    busy(place)
    monkeypatch.setattr("sys.stdin", Terminal(typed))
    done = xtalgo("flatten", "--account", "Sim101", *flags)
    assert done.code == code
    assert (f"Sim101: +3 {ES}, 2 working orders\nCancel and close all" in done.err) is not bool(flags)
    assert bool(place.mutations) is (code == 0)
    assert place.open() == ((0, 0) if code == 0 else (3, 2))


def test_the_socket_of_a_run_stays(place: Place, xtalgo: Xtalgo) -> None:
    connection = place.server.connect(TOKEN, START)
    assert isinstance(connection, int)
    busy(place)
    assert xtalgo("accounts").code == 0
    assert xtalgo("flatten", "--account", "Sim101").code == 0
    assert place.server._connection is not None
    assert place.server._connection.number == connection


# --- token and connection ------------------------------------------------------------------------------------------

COMMANDS = (("accounts",), ("positions",), ("orders",), ("quote", "ES"), ("flatten", "--account", "Sim101"))


@pytest.mark.parametrize("command", COMMANDS)
def test_the_token(place: Place, xtalgo: Xtalgo, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    monkeypatch.setenv("XTRADE_TOKEN", "n0t-the-one")
    refused = xtalgo(*command)
    assert refused.code == 4
    assert "n0t-the-one" not in refused.out + refused.err
    assert place.mutations == []
    monkeypatch.delenv("XTRADE_TOKEN")
    assert "set XTRADE_TOKEN or --token-file" in xtalgo(*command).error
    file = Path("token")
    file.write_text(TOKEN + "\n", encoding="utf-8")
    file.chmod(stat.S_IRUSR | stat.S_IWUSR)
    assert xtalgo(*command, "--token-file", file).code == 0
    assert "unencrypted" in xtalgo(*command, "--token-file", file, "--url", "http://example.org").error


@pytest.mark.parametrize("command", COMMANDS)
def test_nobody_listens(xtalgo: Xtalgo, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...]) -> None:
    monkeypatch.setenv("XTRADE_TOKEN", TOKEN)
    monkeypatch.setattr(trio, "run", lambda main: REAL_RUN(main, clock=trio.testing.MockClock(autojump_threshold=0.02)))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    done = xtalgo(*command, "--url", f"http://127.0.0.1:{port}")
    assert done.code == (6 if command[0] == "flatten" else 7)
    assert "no connection to http://127.0.0.1" in done.err


def test_an_addon_that_is_away_is_no_wrong_use(place: Place, xtalgo: Xtalgo) -> None:
    place.storm(addon_offline=[0, 1000])
    for command in COMMANDS[:4]:
        assert xtalgo(*command).code == 7


# --- looking -------------------------------------------------------------------------------------------------------


def test_tables(place: Place, xtalgo: Xtalgo) -> None:
    busy(place)
    for command in (*COMMANDS[:4], ("orders", "--all")):
        done = xtalgo(*command)
        assert done.code == 0, done.err
        assert done.err == ""
        assert TOKEN not in done.out
    assert xtalgo("accounts").out.splitlines()[1].split()[:4] == ["Sim101", "Simulator", "True", "Connected"]
    assert xtalgo("positions").out.splitlines()[1].split()[:4] == ["Sim101", "ES", "06-26", "3"]
    assert len(xtalgo("orders").out.splitlines()) == 5
    assert len(xtalgo("orders", "--account", "SIM102").out.splitlines()) == 3
    assert len(xtalgo("orders", "--account", "SIM102", "--all").out.splitlines()) == 4
    assert xtalgo("positions", "--instrument", "NQ").out == "no positions\n"
    assert xtalgo("orders", "--instrument", "ES 09-26").out == "no working orders\n"
    assert "ES 06-26" in xtalgo("positions", "--instrument", "ESM26", "--account", "Sim101").out


def test_tables_of_a_terminal_are_80_columns_wide(
    place: Place, xtalgo: Xtalgo, monkeypatch: pytest.MonkeyPatch
) -> None:
    busy(place)
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    for command in COMMANDS[:4]:
        lines = [line.replace("\x1b[1m", "").replace("\x1b[0m", "") for line in xtalgo(*command).out.splitlines()]
        assert max(len(line.rstrip()) for line in lines) <= 80, lines


def test_json_lines(place: Place, xtalgo: Xtalgo) -> None:
    busy(place)
    rows = {
        command[0]: [json.loads(line) for line in xtalgo(*command, "--json").out.splitlines()] for command in COMMANDS
    }
    assert [row["account"] for row in rows["accounts"]] == ["Sim101", "Sim102"]
    assert [(row["account"], row["position"]) for row in rows["positions"]] == [("Sim101", 3), ("Sim102", 3)]
    assert {row["stop"] for row in rows["orders"]} == {95.0, None}
    assert rows["quote"][0]["bid"] == 100.0
    assert [row["event"] for row in rows["flatten"]][:2] == ["start", "step"]
    assert rows["flatten"][-1]["flat"] is True
    assert xtalgo("positions", "--account", "Sim101", "--json").out == ""


def test_quotes(place: Place, xtalgo: Xtalgo) -> None:
    assert len(xtalgo("quote", "ES", "ESM6", "--instrument", "es,ES 06-26").out.splitlines()) == 5
    assert "name one or more instruments" in xtalgo("quote").error
    assert "name one or more instruments" in xtalgo("quote", "ES,,NQ").error
    assert "unknown instrument" in xtalgo("quote", "EZ").err


# --- HALT ----------------------------------------------------------------------------------------------------------


def test_halt(xtalgo: Xtalgo) -> None:
    path = halt_path()
    assert xtalgo("halt").out == f"{path}: written\n"
    assert path.read_text(encoding="utf-8").startswith("set 20")
    assert xtalgo("halt").out == f"{path}: it was there already\n"
    assert HaltFile().is_set()
    assert xtalgo("halt", "--off").out == f"{path}: removed\n"
    assert xtalgo("halt", "--off").out == f"{path}: it was not there\n"
    assert not HaltFile().is_set()


def test_the_halt_file_is_looked_at_once_a_second(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    now, looks = 100.0, 0
    look = HaltFile._look

    def counted(file: HaltFile) -> bool:
        nonlocal looks
        looks += 1
        return look(file)

    monkeypatch.setattr(HaltFile, "_look", counted)
    file = HaltFile(folder / "deep" / "HALT", lambda: now)
    assert [file.is_set() for _ in range(5)] == [False] * 5
    assert HaltFile(file.path).set()
    assert not file.is_set()
    now = 101.0
    assert file.is_set()
    assert file.is_set()
    assert looks == 2
    assert file.clear()
    assert not file.is_set()  # its own doing is seen at once


def test_a_halt_file_that_cannot_be_looked_at_counts_as_set(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no(_path: object) -> None:
        raise PermissionError(13, "no")

    file = HaltFile(folder / "HALT")
    monkeypatch.setattr("xtalgo.app.haltfile.os.lstat", no)
    assert file.is_set()


def test_a_halt_file_that_cannot_be_written(folder: Path) -> None:
    (folder / "file").write_text("", encoding="utf-8")
    for path in (folder / "file" / "HALT", folder / "file" / "deep" / "HALT"):
        file = HaltFile(path)
        with pytest.raises(ConfigError, match="can't be written"):
            file.set()
        assert not file.is_set()
        assert not file.clear()
    folder_file = HaltFile(folder)
    assert folder_file.is_set()
    with pytest.raises(ConfigError, match="can't be removed"):
        folder_file.clear()
