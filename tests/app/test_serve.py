"""``xtalgo serve``: what it accepts, says and serves; and that its documentation tells the truth.

To renew docs/server.md after a change: python tests/app/test_serve.py
"""

from __future__ import annotations

import inspect
import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from app.support import ROOT, Xtalgo, quotes_text, write
from tables import START, table

from xtalgo import ContractBook
from xtalgo.app.serve import CueFeed
from xtalgo.model.types import NEVER, SECOND_NS
from xtalgo.protocol.findings import Findings
from xtalgo.sim.faults import Faults
from xtalgo.sim.feeds import PLAYBACK, SIMULATED
from xtalgo.sim.server import ASSUMED
from xtalgo.sim.templates import templates_from_table

ARTICLE = Path(__file__).with_name("article_client.py")
DOCS = ROOT / "docs" / "server.md"
WINDOWS = sys.platform == "win32"


def assumed_markdown() -> str:
    """The list of assumptions in docs/server.md."""
    return "\n".join(f"- {line}" for line in ASSUMED)


def faults_markdown() -> str:
    """The table of the fault file's keys in docs/server.md."""
    told = re.findall(r'^    (\w+): [^\n]+\n    """(.+?)"""', inspect.getsource(Faults), re.DOTALL | re.MULTILINE)
    rows = [f"| `{name}` | {' '.join(text.split()).replace('``', '`')} |" for name, text in told]
    return "\n".join(["| key | what it does |", "|---|---|", *rows])


def renew(text: str) -> str:
    for name, made in (("ASSUMED", assumed_markdown()), ("Faults", faults_markdown())):
        text = re.sub(
            rf"(?<=xtalgo\.sim\.\w{{6}}\.{name} -->\n).*?(?=\n\n|\Z)", lambda _, made=made: made, text, flags=re.DOTALL
        )
    return text


# --- wrong use -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--port", "70000"), "--port is a whole number from 0"),
        (("--port", "eight"), "--help"),
        (("--speed", "0"), "--speed is a number from 0.001"),
        (("--speed", "nan"), "--speed is a number from 0.001"),
        (("--seed", "-1"), "--seed is a whole number from 0"),
        (("--lockstep",), "--lockstep plays recordings"),
        (("--lockstep", "--speed", "2", "es.csv"), "leave --speed out"),
        (("--token", "a b"), "--token can't stand in a header"),
        (("--token", ""), "--token can't stand in a header"),
        (("--accounts", ","), "--accounts names one or more accounts"),
        (("--accounts", "Sim101,sim101"), "sim101"),
        (("--faults", "nowhere.toml"), "--faults nowhere.toml: cannot be read"),
        (("--faults", "bad.toml"), "--faults bad.toml: not valid TOML"),
        (("--dialect", "nowhere.toml"), "dialect file nowhere.toml: cannot be read"),
        (("--dialect", "spoken.toml"), "dialect file spoken.toml: there is no facts.caler_id; did you mean caller_id?"),
        (("--faults", "unknown.toml"), "did you mean drop_at?"),
        (("--faults", "wrong.toml"), "--faults wrong.toml: faults: lose_reply must be a number from 0 to 1"),
        (("--atm", "nowhere.toml"), "--atm nowhere.toml: cannot be read"),
        (("--atm", "bad.toml"), "--atm bad.toml: not valid TOML"),
        (("--atm", "unknown.toml"), "--atm unknown.toml: the file: no key 'drop_att'"),
        (("--atm", "atm.toml"), "--atm atm.toml: template 'A': no key 'stopp'; did you mean stop?"),
        (("nowhere.csv",), "nowhere.csv"),
        (("--slippage", "-1"), "--slippage"),
        (("--host", "no such name"), "'no such name' is no address to listen at"),
    ],
)
def test_wrong_use(folder: Path, es: Path, xtalgo: Xtalgo, arguments: tuple[str, ...], said: str) -> None:
    write(folder, "bad.toml", "drop_at = [")
    write(folder, "unknown.toml", "drop_att = [1]")
    write(folder, "wrong.toml", "lose_reply = 2")
    write(folder, "atm.toml", '[[template]]\nname = "A"\nstopp = 4')
    write(folder, "spoken.toml", "[facts]\ncaler_id = 'id'")
    outcome = xtalgo("serve", *(arguments if "--port" in arguments else ("--port", "0", *arguments)))
    assert outcome.code == 2
    assert said in outcome.err
    assert len(outcome.err.strip().splitlines()) <= (2 if "--host" in arguments else 1)


def test_a_port_that_is_taken(xtalgo: Xtalgo) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        outcome = xtalgo("serve", "--port", port)
    assert outcome.code == 2
    assert outcome.err.strip() == (
        f"xtalgo: 127.0.0.1:{port} is in use: end what listens there, or choose another port (0 picks a free one)"
    )
    assert outcome.out == ""


def test_help(xtalgo: Xtalgo) -> None:
    text = " ".join(xtalgo("serve", "--help").out.replace("│", " ").split())
    for words in ("--lockstep", "--faults", "not your CrossTrade token", "end it with exit code 0", "newer connection"):
        assert words in text
    assert "serve" in xtalgo("--help").out


def test_a_recording_begins_with_the_first_subscription() -> None:
    now = START + 100 * SECOND_NS
    feed = CueFeed(table([100.0] * 3), ContractBook(), lambda: now, 2.0)
    assert feed.due == NEVER
    assert feed.knows("ES") == "ES 06-26"
    now += SECOND_NS
    feed.want("ES 06-26")
    feed.want("ES 06-26")
    stamps = []
    while feed.due != NEVER:
        stamps.append((feed.next()[0] - now) / SECOND_NS)
    assert stamps == [0, 0.5, 1]


def test_a_recording_that_has_not_begun_has_no_bars_and_says_what_it_is() -> None:
    now = START + 100 * SECOND_NS
    feed = CueFeed(table([100.0] * 90), ContractBook(), lambda: now, 1.0, synthetic=False)
    assert (len(feed.minutes("ES 06-26", 0)), feed.source) == (0, PLAYBACK)
    feed.want("ES 06-26")
    while feed.due != NEVER:
        feed.next()
    assert feed.minutes("ES 06-26", 0).start.tolist() == [
        START + 60 * SECOND_NS,
        START + 120 * SECOND_NS,
        START + 180 * SECOND_NS,
    ]
    assert feed.began("ES 06-26") == now  # so that the bar of minute 1, which began before, is none
    assert CueFeed(table([100.0]), ContractBook(), lambda: now, 1.0).source == SIMULATED


# --- as a process --------------------------------------------------------------------------------------------------


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], dict[str, Any]]]:
    """``xtalgo serve`` as a process, and its line of JSON."""
    with subprocess.Popen(
        [sys.executable, "-m", "xtalgo", "serve", "--port", "0", "--json", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
    ) as running:
        try:
            assert running.stdout is not None
            line = running.stdout.readline()
            assert line, running.stderr.read() if running.stderr else ""
            yield running, json.loads(line)
        finally:
            if running.poll() is None:
                running.kill()


def ends_well(running: subprocess.Popen[str]) -> None:
    running.send_signal(getattr(signal, "CTRL_BREAK_EVENT", signal.SIGINT))
    out, err = running.communicate(timeout=20)
    assert (running.returncode, out, err) == (0, "", "")


def test_the_article_s_client_works() -> None:
    """CrossTrade's own sample, with another library and event loop, in another process."""
    with process("--speed", "20", "--accounts", "Sim101,Sim102") as (running, facts):
        assert facts["synthetic"] is True
        assert facts["accounts"] == ["Sim101", "Sim102"]
        done = subprocess.run(
            [sys.executable, str(ARTICLE), facts["ws"], facts["token"], "60", "0.4"],
            capture_output=True,
            timeout=60,
            check=False,
            env={**os.environ, "PYTHONIOENCODING": "utf-8", "NO_PROXY": "*"},
        )
        ends_well(running)
    text = done.stdout.decode("utf-8")
    assert done.stderr == b""
    assert "✅ Connected!" in text
    assert "Status: {'status': 'subscribed', 'instruments': ['ES 06-26', 'MNQ 06-26']}" in text
    assert re.search(r"Status: \{'status': 'pnlStreaming', 'enabled': True", text)
    quotes = re.findall(r"Market Data: \['ES 06-26: (\d+\.\d+) x (\d+\.\d+)', 'MNQ 06-26: \d+\.\d+ x \d+\.\d+'\]", text)
    assert len(quotes) > 30
    assert all(float(bid) < float(ask) for bid, ask in quotes)
    assert "PnL Update: 2 active account(s)" in text
    assert "Positions (0): []" in text
    assert "Unknown" not in text
    assert "❌" not in text


def test_it_speaks_the_dialect_of_a_file(folder: Path) -> None:
    write(folder, "d.toml", "[facts]\naccounts_form = 'bare names'\n")
    with process("--dialect", "d.toml") as (running, facts):
        answer = httpx.get(
            f"{facts['rest']}/accounts", headers={"Authorization": f"Bearer {facts['token']}"}, trust_env=False
        )
        ends_well(running)
    assert answer.json() == ["Sim101"]


def test_it_ends_with_0_and_says_what_it_is(folder: Path) -> None:
    write(folder, "es.csv", quotes_text(5))
    write(folder, "faults.toml", "takeover_at = [1000]")
    write(folder, "atm.toml", '[[template]]\nname = "Mine"\nstop = 4')
    with process("es.csv", "--lockstep", "--faults", "faults.toml", "--atm", "atm.toml", "--seed", "3") as (
        running,
        facts,
    ):
        assert facts == {
            "ws": facts["ws"],
            "rest": facts["ws"].replace("ws://", "http://").replace("/ws/stream", "/v1/api"),
            "token": "demo",
            "synthetic": False,
            "source": "5 recorded quotes of ES 06-26, from 1 files",
            "instruments": ["ES 06-26"],
            "accounts": ["Sim101"],
            "speed": None,
            "lockstep": True,
            "seed": 3,
        }
        refused = httpx.post(
            f"{facts['rest']}/accounts/Sim101/orders/place",
            headers={"Authorization": "Bearer demo"},
            json={
                "instrument": "ES",
                "action": "BUY",
                "orderType": "MARKET",
                "quantity": 1,
                "timeInForce": "DAY",
                "strategy": "Scalp",
            },
            trust_env=False,
        )
        assert refused.json()["detail"] == "strategy: no ATM template 'Scalp'; there are Mine"
        quote = httpx.get(
            f"{facts['rest']}/market/quote?instrument=ES", headers={"Authorization": "Bearer demo"}, trust_env=False
        )
        assert quote.json()["dataSource"]["connectedFeeds"] == [PLAYBACK]
        ends_well(running)


@pytest.mark.skipif(WINDOWS, reason="the signal comes from a timer of the system")
def test_for_people(folder: Path, es: Path, xtalgo: Xtalgo) -> None:
    def alarm(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGINT)

    before = signal.signal(signal.SIGALRM, alarm)
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.7)
        outcome = xtalgo("serve", "es.csv", "--port", "0", "--host", "0.0.0.0", "--speed", "4")
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert outcome.code == 0
    assert "no real money" in outcome.out
    assert re.search(r"socket +ws://0\.0\.0\.0:\d+/ws/stream", outcome.out)
    assert "240 recorded quotes of ES 06-26" in outcome.out
    assert "4 times as fast as real" in outcome.out
    assert re.search(r"ATM templates +Scalp, TwoTargets, StopOnly", outcome.out)
    assert outcome.err.strip() == (
        "xtalgo: warning: 0.0.0.0 may be reached from other machines, and the token travels in clear"
    )


# --- documentation -------------------------------------------------------------------------------------------------


def test_the_docs_are_renewed() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert assumed_markdown() in text, "run: python tests/app/test_serve.py"
    assert faults_markdown() in text, "run: python tests/app/test_serve.py"
    assert renew(text) == text


def test_every_fault_is_told() -> None:
    import attrs

    told = re.findall(r"^\| `(\w+)` \|", faults_markdown(), re.MULTILINE)
    assert told == [attribute.name for attribute in attrs.fields(Faults)]


def test_the_files_in_the_docs_are_such() -> None:
    import tomllib

    templates, faults, facts = re.findall(r"```toml\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)
    assert Faults.from_table(tomllib.loads(faults)) != Faults()
    assert [template.name for template in templates_from_table(tomllib.loads(templates))] == ["Scalp", "TwoTargets"]
    assert len(Findings.from_table(tomllib.loads(facts)).facts) == 4


if __name__ == "__main__":
    DOCS.write_text(renew(DOCS.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
