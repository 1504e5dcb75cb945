"""Live runs from dial to verdict: what is traded against, how each end is told, and what is claimed of what is left."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
from functools import partial
from pathlib import Path

import attrs
import pytest
import trio
from app.liveruns import DEMO, SERVER, TOKEN, Bracketed, conduct, conduct_to_silence, later, life
from app.support import BUYER, MOMO, ROOT, Xtalgo, write

from xtalgo.app import exits
from xtalgo.app.config import load_settings
from xtalgo.app.exits import EXIT_CODES, NotFlat, code_of
from xtalgo.app.summary import figures, left_text
from xtalgo.app.venues import CROSSTRADE, Kind, asker, choose
from xtalgo.live.wires import DialFailed, HandshakeRefused
from xtalgo.model.errors import AuthError, ConfigError, NoConnection, SessionTakenOver, StrategyError
from xtalgo.model.instruments import ContractBook
from xtalgo.model.reports import PositionReport
from xtalgo.model.types import OrderStatus

ES = "ES 06-26"

# --- ends ----------------------------------------------------------------------------------------------------------


async def test_a_run_trades_and_flatten_ends_flat_by_the_venues_word(autojump_clock) -> None:
    one = life(on_stop="flatten")
    await conduct(one)
    one.run.verdict()
    assert [(left.account, left.positions, left.orders) for left in one.run.left] == [("Demo101", {}, ())]
    found = figures(one.session, one.run.left, one.run.ended, one.run.how)
    assert found["ended"] == "after 20 s, as asked; wound down with flatten"
    assert found["fills"] == 2
    assert found["left"] == [{"account": "Demo101", "flat": True, "positions": {}, "orders": []}]
    # What our books say is what the server's exchange knows.
    fills = one.world.server.venue.exchange.executions
    gross = sum(-fill.side * fill.price * fill.quantity for fill in fills) * 50
    assert found["realized_pnl"] == pytest.approx(gross)
    assert found["fees"] == pytest.approx(sum(fill.fee for fill in fills))
    assert found["net_pnl"] == pytest.approx(gross - found["fees"])
    assert one.trader.queue.sent == found["rpcs"]
    assert all(fill.order_id.startswith(one.engine.blotter.run + "-") for fill in fills)


async def test_protect_keeps_the_position_and_its_stop_and_says_so(autojump_clock) -> None:
    one = life()
    await conduct(one)
    one.run.verdict()
    (left,) = one.run.left
    assert left.positions == {ES: 1}
    assert left.orders is not None
    (order,) = left.orders
    assert re.fullmatch(r"x[0-9a-f]{8}-\d+: sell 1 ES 06-26 (at|stop) \d+(\.\d+)?", order)
    assert not left.is_flat
    assert left_text(left) == "ES 06-26 +1; 1 working orders"


def test_run_ids_never_repeat() -> None:
    runs = {life().run.plan.trader().make_engine(("Demo101",), lambda name: ES).blotter.run for _ in range(8)}
    assert len(runs) == 8


async def test_a_strategy_that_raises_is_wound_down_with_protect(autojump_clock) -> None:
    one = life([Bracketed(breaks_at=6)], on_stop="flatten")
    await conduct(one)
    with pytest.raises(StrategyError, match="as planned") as caught:
        one.run.verdict()
    assert code_of(caught.value) == exits.STRATEGY
    (left,) = one.run.left
    assert left.positions == {ES: 1}
    assert len(left.orders or ()) == 1
    statuses = [order.status for order in one.engine.blotter.orders.values()]
    assert sorted(statuses) == [OrderStatus.CANCELLED, OrderStatus.FILLED, OrderStatus.WORKING]
    assert "wound down with protect" in one.run.how
    (news,) = one.heard.of("stopping")
    assert news.facts == {"mode": "protect"}


async def test_one_strategy_that_raises_does_not_stop_the_others(autojump_clock) -> None:
    one = life([Bracketed(breaks_at=6), Bracketed()], on_stop="flatten")
    await conduct(one)
    assert one.run.how == "after 20 s, as asked; wound down with flatten"
    assert one.run.left[0].is_flat
    found = figures(one.session, one.run.left, one.run.ended, one.run.how)
    assert found["quarantined"] == ["Bracketed"]
    with pytest.raises(StrategyError, match="as planned"):
        one.run.verdict()


async def test_a_refused_token(autojump_clock) -> None:
    one = life()
    await conduct(one, token="wr0ng")
    with pytest.raises(AuthError, match="refused the token") as caught:
        one.run.verdict()
    assert code_of(caught.value) == exits.TOKEN
    assert not one.run.outcome.began
    assert "wr0ng" not in f"{caught.value} {one.run!r} {one.run.how} {one.heard.texts}"


async def test_a_takeover_is_final_and_nothing_is_claimed_of_what_is_left(autojump_clock) -> None:
    one = life(faults={"takeover_at": [10]})
    await conduct(one)
    with pytest.raises(SessionTakenOver) as caught:
        one.run.verdict()
    assert code_of(caught.value) == exits.TAKEN_OVER
    assert one.world.dials == 1
    assert one.engine.ledger.account_position("Demo101", ES) == 1
    # The lists from before the first order said flat. They say nothing of now.
    assert one.engine.liaison.positions["Demo101"] == {}
    (left,) = one.run.left
    assert (left.positions, left.orders, left.is_flat) == (None, None, False)
    assert left_text(left).startswith("not known: the venue could not be asked")


async def test_positions_over_the_other_road_where_the_link_is_gone(autojump_clock) -> None:
    asked = []

    async def ask(account: str) -> list[PositionReport]:
        asked.append(account)
        return [PositionReport(account, ES, 1, 5000.0)]

    one = life(faults={"takeover_at": [10]}, on_stop="flatten")
    await conduct(one, ask=ask)
    (left,) = one.run.left
    assert asked == ["Demo101"]
    assert (left.positions, left.orders, left.is_flat) == ({ES: 1}, None, False)
    assert "whether orders work is not known" in left_text(left)


async def test_flatten_that_nobody_confirmed_is_not_flat(autojump_clock) -> None:
    one = life(on_stop="flatten", duration=15)
    await conduct_to_silence(one, 15)
    assert one.engine.liaison.positions == {"Demo101": {}}  # from before the first order
    with pytest.raises(NotFlat, match="not known to be flat: Demo101: not known") as caught:
        one.run.verdict()
    assert code_of(caught.value) == exits.NOT_FLAT


async def test_flatten_is_not_flat_by_positions_alone(autojump_clock) -> None:
    async def ask(account: str) -> list[PositionReport]:
        return []  # no positions; of orders it says nothing

    one = life(on_stop="flatten", duration=15)
    await conduct_to_silence(one, 15, ask=ask)
    (left,) = one.run.left
    assert left.positions == {}
    with pytest.raises(NotFlat):
        one.run.verdict()


async def test_no_connection_within_the_time(autojump_clock) -> None:
    async def dial():
        raise DialFailed("no connection to example.org:443: refused")

    one = life(target=SERVER, duration=30)
    began = trio.current_time()
    await one.run.conduct(dial)
    assert 30 <= trio.current_time() - began < 35
    with pytest.raises(NoConnection, match=r"never began: no connection to example\.org:443") as caught:
        one.run.verdict()
    assert code_of(caught.value) == exits.NO_CONNECTION
    assert one.run.how == "there was no connection within 30 s"
    assert any("no connection to example.org:443: refused" in text for text in one.heard.texts)


async def test_a_wrong_url_is_wrong_use(autojump_clock) -> None:
    async def dial():
        raise HandshakeRefused(404, "nothing here")

    one = life(target=SERVER, duration=None)
    await one.run.conduct(dial)
    with pytest.raises(ConfigError, match="there is no WebSocket at this URL"):
        one.run.verdict()


async def test_an_account_that_is_not_there_is_wrong_use(autojump_clock) -> None:
    one = life(target=attrs.evolve(DEMO, accounts=("Demo101",)))
    one.run.plan = attrs.evolve(one.run.plan, target=attrs.evolve(DEMO, accounts=("Other",)))
    await conduct(one)
    with pytest.raises(ConfigError, match="there is no account 'Other'; the venue has: Demo101"):
        one.run.verdict()


async def test_flatten_lasts_through_a_drop(autojump_clock) -> None:
    one = life(on_stop="flatten", duration=15)
    async with one.world.open() as world, trio.open_nursery() as nursery:
        nursery.start_soon(later, 15.0, world.freeze)  # noticed by a ping, and dialled again
        await one.run.conduct(world.dial(TOKEN))
    one.run.verdict()
    assert one.world.dials == 2
    assert one.run.left[0].is_flat


async def test_the_first_signal_ends_in_order(autojump_clock) -> None:
    one = life(duration=None)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(later, 10, partial(signal.raise_signal, signal.SIGINT))
        await conduct(one, signals=True)
    one.run.verdict()
    assert one.run.how == "by a signal; wound down with protect"
    assert one.run.left[0].positions == {ES: 1}
    assert "stopping (protect); Ctrl-C once more stops at once" in one.heard.texts


async def test_the_second_signal_ends_at_once(autojump_clock) -> None:
    one = life(duration=None, on_stop="flatten")
    async with trio.open_nursery() as nursery:
        nursery.start_soon(later, 10, partial(signal.raise_signal, signal.SIGINT))
        nursery.start_soon(later, 10.05, partial(signal.raise_signal, signal.SIGINT))
        await conduct(one, signals=True)
    assert trio.current_time() < 10.5
    with pytest.raises(KeyboardInterrupt):
        one.run.verdict()
    assert one.run.left[0].positions is None
    assert "at once" in one.run.how


async def test_a_reader_that_has_gone_ends_the_run_in_order(autojump_clock) -> None:
    one = life(duration=None, on_stop="flatten")

    def leave() -> None:
        one.heard.writer.broken = BrokenPipeError()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(later, 10, leave)
        await conduct(one)
    assert one.run.left[0].is_flat
    with pytest.raises(BrokenPipeError):
        one.run.verdict()


async def test_a_strategy_that_leaves_the_interpreter_is_told_by_its_line(autojump_clock) -> None:
    class Leaver(Bracketed):
        def on_note(self) -> None: ...

        def on_fill(self, fill) -> None:
            raise SystemExit(3)

    one = life([Leaver()])
    await conduct(one)
    with pytest.raises(StrategyError, match=r"it called sys\.exit\(\)"):
        one.run.verdict()
    assert one.run.how.endswith("wound down with protect")
    assert one.run.left[0].positions


# --- paper ---------------------------------------------------------------------------------------------------------


async def test_on_paper_no_order_leaves(autojump_clock) -> None:
    one = life(target=attrs.evolve(SERVER, is_paper=True), on_stop="flatten", slippage="3")
    await conduct(one)
    one.run.verdict()
    assert len(one.engine.blotter.fills) == 2
    assert one.run.left[0].is_flat
    apis = {api for frame in one.world.frames for api in re.findall(r'"api":"(\w+)"', frame)}
    assert apis == {"GetQuote"}
    assert one.world.server.venue.exchange.executions == []
    first = one.engine.blotter.fills[0]
    assert first.account == "Sim101"


# --- what is traded against ----------------------------------------------------------------------------------------


def chosen(environment: dict[str, str] | None = None, *, demo: bool = False, paper: bool = False, **flags: str):
    return choose(load_settings(flags), environment or {}, demo=demo, paper=paper)


def test_the_venue_is_the_url_or_crosstrade_or_the_demo(folder: Path) -> None:
    token = {"XTRADE_TOKEN": TOKEN}
    demo = chosen()
    assert (demo.kind, demo.url, demo.token, demo.accounts, demo.fills_here) == (
        Kind.DEMO,
        None,
        None,
        ("Demo101",),
        True,
    )
    assert chosen(token, demo=True).token is None
    real = chosen(token)
    assert (real.kind, real.url, real.accounts, real.fills_here) == (Kind.CROSSTRADE, CROSSTRADE, ("Sim101",), False)
    other = chosen(token, url="ws://127.0.0.1:1/ws/stream?key=hush")
    assert (other.kind, other.fills_here) == (Kind.SERVER, False)
    assert "hush" not in other.name
    assert chosen(token, paper=True).fills_here
    write(folder, "xtalgo.toml", 'accounts = ["A"]\n[live]\nurl = "wss://example.org/ws"\n')
    assert chosen(token).url == "wss://example.org/ws"
    assert chosen(token, url=CROSSTRADE).kind is Kind.CROSSTRADE
    assert (chosen(demo=True).kind, chosen(demo=True).accounts) == (Kind.DEMO, ("A",))


@pytest.mark.parametrize(
    ("environment", "options", "expected"),
    [
        ({}, {"paper": True}, "--paper needs live quotes: set XTRADE_TOKEN"),
        ({}, {"url": "wss://example.org"}, "--url needs a token: set XTRADE_TOKEN or --token-file"),
        ({"XTRADE_TOKEN": TOKEN}, {"url": "ws://example.org/ws"}, "would send the token unencrypted"),
        ({"XTRADE_TOKEN": TOKEN}, {"url": "https://example.org"}, "is no WebSocket URL"),
        ({"XTRADE_TOKEN": " "}, {}, "the token is empty"),
        ({}, {"token_file": "none.txt"}, "token file none.txt: cannot be read"),
        ({}, {"token_file": "empty.txt"}, "token file empty.txt: the token is empty"),
        ({}, {"token_file": "latin.txt"}, "token file latin.txt: not UTF-8 text"),
    ],
)
def test_what_cannot_be_traded_against(folder: Path, environment, options, expected: str) -> None:
    write(folder, "empty.txt", "\n")
    (folder / "latin.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError) as caught:
        chosen(environment, **options)
    assert expected in str(caught.value)
    assert TOKEN not in str(caught.value)


def test_a_token_file(folder: Path) -> None:
    path = write(folder, "token.txt", f"\ufeff{TOKEN}\r\n")
    path.chmod(0o644)
    target = chosen(token_file="token.txt")
    assert target.token is not None
    assert target.token.header()[1] == b"Bearer " + TOKEN.encode()
    if os.name == "posix":
        assert target.warnings == ("token file token.txt can be read by others on this machine: chmod 600 token.txt",)
        path.chmod(0o600)
        assert chosen(token_file="token.txt").warnings == ()
    # The flag goes before the variable, the variable before the file.
    variable = {"XTRADE_TOKEN": "other"}
    assert chosen(variable, token_file="token.txt").token == target.token
    write(folder, "xtalgo.toml", '[live]\ntoken_file = "token.txt"\n')
    assert chosen(variable).token != target.token
    assert chosen().token == target.token
    assert TOKEN not in f"{chosen()!r} {life(target=chosen()).run!r} {asker(CROSSTRADE, TOKEN, ContractBook())!r}"


# --- the command line ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["--live"], "--live trades real accounts and needs --max-contracts and --account-daily-loss set"),
        (["--live", "--max-contracts", "1"], "needs --account-daily-loss set"),
        (
            ["--live", "--max-contracts", "1", "--account-daily-loss", "500"],
            "--live with --account-daily-loss: where wss://app.crosstrade.io/ws/stream tells an account's",
        ),
        (["--dialect", "nowhere.toml"], "dialect file nowhere.toml: cannot be read"),
        (["--demo", "--paper"], "--demo and --paper don't go together"),
        (["--demo", "--url", "wss://x"], "--demo and --url don't go together"),
        (["--demo", "--sort"], "a live run and --sort don't go together: that is for --replay"),
        (["--as-live"], "a live run and --as-live don't go together"),
        (["--demo", "--history", "es.csv"], "a live run and --history don't go together: that is for --replay"),
        (["--replay", "es.csv", "--as-live", "--history", "x.csv"], "--as-live and --history don't go together"),
        (["--demo", "--report-latency", "1s"], "a live run and --report-latency don't go together"),
        (["--demo", "--for", "0"], "--for: expected a number of seconds above 0, not 0"),
        (["--demo", "--for", "nan"], "--for: expected a number of seconds above 0, not nan"),
        (["--demo", "--for", "x"], "--for"),
        (["--demo", "--on-stop", "flat"], "--on-stop: expected one of protect, cancel, flatten, not 'flat'"),
        (["--url", "ws://10.0.0.1/ws"], "would send the token unencrypted"),
        (["--slippage", "2"], "CrossTrade and --slippage don't go together: the venue fills orders, not we"),
        (["--ideal"], "CrossTrade and --ideal don't go together"),
        (["--paper", "--seed", "2"], "PAPER, quotes of CrossTrade and --seed don't go together"),
        (["--replay", "es.csv", "--demo"], "--replay and --demo don't go together: that is for live runs"),
        (["--replay", "es.csv", "--for", "5"], "--replay and --for don't go together"),
        (["--replay", "es.csv", "--on-stop", "flatten"], "--replay and --on-stop don't go together"),
        (["--replay", "es.csv", "--url", "wss://x"], "--replay and --url don't go together"),
        (["--replay", "es.csv", "--as-live", "--report-latency", "1s"], "--as-live and --report-latency don't go"),
        (["--token", "x"], "--token"),
    ],
)
def test_options_that_make_no_sense(
    xtalgo: Xtalgo, es: Path, buyer: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], expected: str
) -> None:
    monkeypatch.setenv("XTRADE_TOKEN", TOKEN)
    error = xtalgo("run", buyer, *arguments).error
    assert expected in error
    assert TOKEN not in error


def test_live_settings_do_not_disturb_a_replay(xtalgo: Xtalgo, es: Path, buyer: Path, folder: Path) -> None:
    write(folder, "xtalgo.toml", '[live]\non_stop = "flatten"\nurl = "wss://example.org/ws"\n')
    assert xtalgo("run", buyer, "--replay", es).code == 0


def test_replay_as_live(xtalgo: Xtalgo, es: Path, buyer: Path) -> None:
    outcome = xtalgo("run", buyer, "--replay", es, "--as-live")
    assert outcome.code == 0, outcome.err
    assert "  as live        through the live client and a simulated server; fills are seen when polls" in outcome.out
    assert "report latency" not in outcome.out
    assert re.search(r"fills +2 ", outcome.out)


def test_every_code_is_documented() -> None:
    text = (ROOT / "docs" / "live.md").read_text("utf-8")
    for code, meaning in EXIT_CODES.items():
        assert f"| {code} | {meaning} |" in text
    known = set(EXIT_CODES) | {exits.BROKEN_PIPE}
    assert {value for name, value in vars(exits).items() if name.isupper() and isinstance(value, int)} == known


# --- processes -----------------------------------------------------------------------------------------------------


class Echo(threading.Thread):
    """A server that refuses every handshake and repeats what it was sent, the token among it."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.socket = socket.create_server(("127.0.0.1", 0))
        self.heard = b""

    def run(self) -> None:
        client, _ = self.socket.accept()
        with client, self.socket:
            while b"\r\n\r\n" not in self.heard:
                self.heard += client.recv(65_536)
            head = f"HTTP/1.1 401 Unauthorized\r\nContent-Length: {len(self.heard)}\r\n\r\n"
            client.sendall(head.encode() + self.heard)


def process(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "xtalgo", "run", *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        check=False,
        timeout=60,
    )


def test_the_token_is_nowhere(folder: Path) -> None:
    write(folder, "buyer.py", BUYER)
    server = Echo()
    server.start()
    url = f"ws://127.0.0.1:{server.socket.getsockname()[1]}/ws/stream"
    done = process("buyer.py", "--url", url, "--for", "20", XTRADE_TOKEN=TOKEN, XTALGO_DEBUG="1")
    server.join(5)
    assert TOKEN.encode() in server.heard
    assert done.returncode == exits.TOKEN
    assert "Traceback" in done.stderr
    assert "the server refused the token (status 401" in done.stderr.splitlines()[-1]
    assert TOKEN not in done.stdout + done.stderr
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert any(path.suffix == ".lock" for path in files) or sys.platform != "linux"
    assert all(TOKEN.encode() not in path.read_bytes() for path in files)


def test_without_a_token_it_is_the_demo(folder: Path) -> None:
    done = process(MOMO, "-p", "fast=1", "-p", "slow=2", "--for", "3", "--on-stop", "flatten", "--fills", "fills.csv")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stderr == ""
    assert "the market is SYNTHETIC: made up by a program" in done.stdout
    assert "Summary: DEMO, SYNTHETIC market" in done.stdout
    assert re.search(r"instrument MNQ -> MNQ \d\d-\d\d, -?\d+ days to expiry", done.stdout)
    assert "  Demo101  flat: no position, no working order" in done.stdout
    fills = len(re.findall(r"^\d\d:\d\d:\d\d fill ", done.stdout, re.MULTILINE))
    assert re.search(rf"^  fills +{fills}, together", done.stdout, re.MULTILINE)
    assert len((folder / "fills.csv").read_text().splitlines()) == fills + 1
