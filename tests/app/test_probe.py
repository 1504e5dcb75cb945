"""``xtalgo probe`` as a command: what it refuses, says and writes; and that its documentation tells the truth.

To renew docs/dialect.md after a change: python tests/app/test_probe.py
"""

from __future__ import annotations

import inspect
import json
import math
import re
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))

from app.support import ROOT, Xtalgo, write
from live.probing import is_flat, world_for
from live.venues import World

from xtalgo.app import probe as command
from xtalgo.app.config import load_settings
from xtalgo.app.dialects import dialect_path, spoken
from xtalgo.app.probereport import NOT_PROBED
from xtalgo.client.probing.plan import STEPS
from xtalgo.data.dialects import read_findings
from xtalgo.model.errors import ConfigError
from xtalgo.protocol import dialect as fields_of
from xtalgo.protocol.choices import PnlKeys
from xtalgo.protocol.dialect import FIELDS, GROUPS, Dialect, values_of

DOCS = ROOT / "docs" / "dialect.md"
TOKEN = "s3cr3t-t0ken-of-somebody"
URL = "ws://127.0.0.1:1/ws/stream"


# --- a venue behind the command ------------------------------------------------------------------------------------


@pytest.fixture
def at(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Lets the command meet a server of ours, in virtual time; ``during`` runs beside it."""

    def prepare(dialect: Dialect, during: Any = None, **more: Any) -> World:
        world = world_for(dialect, **more)

        async def at_venue(plan: Any, display: Any) -> None:
            failure: BaseException | None = None
            async with world.open(), trio.open_nursery() as nursery:
                if during is not None:
                    nursery.start_soon(during, world)
                try:
                    await command.conduct(plan, world.dial(), world.dial("other"), display, world.clock)
                except (Exception, KeyboardInterrupt) as error:
                    failure = error
                nursery.cancel_scope.cancel()
            if failure is not None:
                raise failure

        clock = trio.testing.MockClock(autojump_threshold=0)
        monkeypatch.setattr(command, "_at_venue", at_venue)
        monkeypatch.setattr(trio, "run", partial(trio.run, clock=clock))
        monkeypatch.setenv("XTRADE_TOKEN", TOKEN)
        return world

    return prepare


ODD = Dialect(pnl_keys=values_of("pnl_keys")[1], caller_id="alias", takeover_code=4409, rate_text="rate_limited")


def test_it_writes_what_it_found_and_a_report(at: Any, xtalgo: Xtalgo, folder: Path) -> None:
    world = at(ODD, accounts=("Sim101", "LFE-77123"))
    outcome = xtalgo("probe", "--account", "sim101", "-o", "d.toml", "--url", URL)
    assert outcome.code == 0, outcome.err
    assert is_flat(world)
    findings = read_findings(folder / "d.toml")
    found = findings.dialect()
    assert (found.pnl_keys, found.caller_id, found.takeover_code, found.rate_text) == (
        ODD.pnl_keys,
        ODD.caller_id,
        4409,
        "rate_limited",
    )
    assert found.confirms("pnl_keys", "takeover_code")
    assert findings.host == "127.0.0.1:1"
    assert findings.date is not None
    assert findings.about["account"] == "Simulator, Connected"
    report = (folder / "d.md").read_text(encoding="utf-8")
    for step in STEPS:
        assert f"## Step: {step.name}" in report
        assert step.tells in outcome.out
    for text in ('"api":"PlaceOrder"', '"limitPrice":38', '| `caller_id` | `"alias"` |', *NOT_PROBED):
        assert text in report
    for text in (report, (folder / "d.toml").read_text(encoding="utf-8")):
        for secret in (TOKEN, "Sim101", "sim101", "LFE-77123"):
            assert secret not in text
    assert "facts settled" in outcome.out


def test_by_default_it_writes_where_runs_look(at: Any, xtalgo: Xtalgo, folder: Path) -> None:
    at(ODD)
    outcome = xtalgo("probe", "--account", "Sim101", "--json", "--url", URL)
    assert outcome.code == 0, outcome.err
    events = [json.loads(line) for line in outcome.out.splitlines()]
    (summary,) = (event for event in events if event["event"] == "summary")
    assert Path(summary["file"]) == dialect_path(URL)
    assert dialect_path(URL).is_relative_to(folder / ".data")
    assert summary["settled"]["caller_id"] == "alias"
    assert [event["step"] for event in events if event["event"] == "step"] == [step.name for step in STEPS]
    read = spoken(load_settings(), URL)
    assert read.dialect.caller_id == "alias"
    assert str(dialect_path(URL)) in read.told
    assert spoken(load_settings(), "ws://127.0.0.1:2/ws/stream").path is None


def test_what_was_settled_before_is_kept(at: Any, xtalgo: Xtalgo, folder: Path) -> None:
    at(ODD)
    assert xtalgo("probe", "--account", "Sim101", "-o", "d.toml", "--url", URL).code == 0
    at(Dialect())
    again = xtalgo("probe", "--account", "Sim101", "-o", "d.toml", "--url", URL, "--skip", "orders,limits")
    assert again.code == 0, again.err
    findings = read_findings(folder / "d.toml")
    assert findings.dialect().takeover_code == 4001
    assert findings.dialect().caller_id == "alias"
    assert "found out on 2026-05-13" in findings.facts["caller_id"].doubt
    assert "more are from before" in again.out


def test_stopped_it_writes_what_it_has(at: Any, xtalgo: Xtalgo, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probers: list[Any] = []
    made = command.Prober

    def make(*args: Any, **more: Any) -> Any:
        probers.append(made(*args, **more))
        return probers[-1]

    async def stop(world: World) -> None:
        await trio.sleep(34)
        probers[0].stop()

    monkeypatch.setattr(command, "Prober", make)
    world = at(ODD, stop)
    outcome = xtalgo("probe", "--account", "Sim101", "-o", "d.toml", "--url", URL)
    assert outcome.code == 130
    assert is_flat(world)
    assert world.server.venue.orders
    found = read_findings(folder / "d.toml")
    assert "pnl_keys" in found.facts
    assert "ended before" in found.unsettled["rate_text"]


def test_what_may_be_left_ends_with_6(at: Any, xtalgo: Xtalgo, monkeypatch: pytest.MonkeyPatch) -> None:
    async def leave(world: World) -> None:
        while not world.server.venue.orders:  # noqa: ASYNC110
            await trio.sleep(0.05)
        world.storm({"addon_offline": [[0, math.inf]]})

    async def nothing(plan: Any) -> bool:
        return False

    monkeypatch.setattr(command, "_tidied_over_rest", nothing)
    at(ODD, leave)
    outcome = xtalgo("probe", "--account", "Sim101", "-o", "d.toml", "--url", URL)
    assert outcome.code == 6, outcome.err
    assert "look in NinjaTrader" in outcome.err


# --- wrong use -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "--account"),
        (("--account", " "), "--account is empty"),
        (("--account", "../x"), "can't be an account's name"),
        (("--account", "Sim101", "--instrument", ""), "--instrument"),
        (("--account", "Sim101"), "there is no token"),
        (
            ("--account", "Sim101", "--skip", "ordres", "--token-file", "t"),
            "there is no step 'ordres'; did you mean orders",
        ),
        (
            ("--account", "Sim101", "-o", "bad.toml", "--token-file", "t"),
            "bad.toml: there is no facts.ping_repy; did you",
        ),
        (("--account", "Sim101", "-o", "x.md", "--report", "x.md", "--token-file", "t"), "name the same file"),
        (("--account", "Sim101", "--token-file", "t", "--url", "ws://example.org"), "unencrypted"),
    ],
)
def test_wrong_use(folder: Path, xtalgo: Xtalgo, arguments: tuple[str, ...], said: str) -> None:
    (folder / "t").write_text(TOKEN)
    (folder / "t").chmod(0o600)
    write(folder, "bad.toml", '[facts]\nping_repy = "pong"\n')
    outcome = xtalgo("probe", *arguments)
    assert outcome.code == 2
    assert said in outcome.err
    assert TOKEN not in outcome.err


def test_help(xtalgo: Xtalgo) -> None:
    text = " ".join(xtalgo("probe", "--help").out.replace("│", " ").split())
    for words in ("no market order is ever sent", "Ctrl-C at any time cancels", "--skip", "docs/dialect.md"):
        assert words in text


# --- settings ------------------------------------------------------------------------------------------------------


def test_a_file_that_is_named_must_be_good(folder: Path) -> None:
    settings = load_settings({"dialect": "nowhere.toml"})
    with pytest.raises(ConfigError, match=r"nowhere\.toml: cannot be read"):
        spoken(settings, URL)
    write(folder, "d.toml", '[facts]\nping_reply = "status"\n')
    write(folder, "xtalgo.toml", '[live]\ndialect = "d.toml"\n')
    assert spoken(load_settings(), None).dialect.ping_reply == "status"
    settings = load_settings(environment={"XTALGO_DIALECT": "d.toml"})
    assert spoken(settings, URL).dialect.confirms("ping_reply")
    assert not spoken(settings, URL).dialect.confirms("ping_reply", "pnl_keys")


# --- documentation -------------------------------------------------------------------------------------------------


def shown(value: Any) -> str:
    """A value as a file has it, for people."""
    if isinstance(value, PnlKeys):
        told = ", ".join(filter(None, (value.account, value.realized, value.unrealized, value.net_liquidation)))
        return f"({told}{', by account names' if value.is_mapping else ''})"
    return f"`{json.dumps(fields_of.plain(value))}`"


def fields_markdown() -> str:
    """The tables of fields in docs/dialect.md."""
    source = inspect.getsource(fields_of.Dialect)
    told = dict(re.findall(r'^    (\w+): [^\n]+\n    """(.+?)"""', source, re.DOTALL | re.MULTILINE))
    step_of = {name: step.name for step in STEPS for name in step.facts}
    lines: list[str] = []
    for group, names in GROUPS.items():
        lines += [f"### {group}", "", "| field | what it says | values, ours first | step |", "|---|---|---|---|"]
        for name in names:
            text = " ".join(told[name].split()).replace("``", "`").replace("|", "\\|")
            values = ", ".join(dict.fromkeys(shown(value) for value in values_of(name)))
            lines.append(f"| `{name}` | {text} | {values} | {step_of.get(name, 'door')} |")
        lines.append("")
    return "\n".join(lines).rstrip()


def steps_markdown() -> str:
    rows = [f"| {step.name} | {step.tells} | {'yes' if step.needs_market else 'no'} |" for step in STEPS]
    return "\n".join(["| step | what it does at the venue | needs an open market |", "|---|---|---|", *rows])


def left_markdown() -> str:
    return "\n".join(f"- {text}" for text in NOT_PROBED)


def renew(text: str) -> str:
    for name, made in (("Dialect", fields_markdown()), ("STEPS", steps_markdown()), ("NOT_PROBED", left_markdown())):
        pattern = rf"(<!-- generated from [\w.]+\.{name} -->\n).*?(?=\n\n## |\n\n<!--|\Z)"
        text = re.sub(pattern, lambda found, made=made: found[1] + made, text, flags=re.DOTALL)
    return text.rstrip() + "\n"


def test_documentation_is_renewed() -> None:
    text = DOCS.read_text(encoding="utf-8")
    assert renew(text) == text, "run: python tests/app/test_probe.py"
    assert all(f"| `{name}` |" in text for name in FIELDS)


if __name__ == "__main__":
    DOCS.write_text(renew(DOCS.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
