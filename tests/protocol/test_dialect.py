"""The dialect as a value, and as a file."""

from __future__ import annotations

import datetime as dt
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from xtalgo.data.dialects import read_findings, toml_of, write_findings
from xtalgo.model.errors import ConfigError
from xtalgo.protocol.choices import Events, PnlKeys, nested
from xtalgo.protocol.dialect import FIELDS, GROUPS, Dialect, plain, values_of
from xtalgo.protocol.findings import Fact, Findings
from xtalgo.protocol.frames import PnlUpdate
from xtalgo.protocol.outcomes import Cause, Outcome, diagnose
from xtalgo.protocol.wire import parse_server

TEXT = st.text(max_size=40)


def test_groups_hold_every_field_once() -> None:
    assert [name for names in GROUPS.values() for name in names] == list(FIELDS)
    assert all(GROUPS.values())


@pytest.mark.parametrize("name", FIELDS)
def test_the_default_is_the_first_value_and_all_can_be_read_back(name: str) -> None:
    values = values_of(name)
    assert values[0] == getattr(Dialect(), name)
    assert len(values) > 1
    for value in values:
        read = Dialect.from_table({name: json.loads(json.dumps(plain(value)))})
        assert getattr(read, name) == value
        assert type(getattr(read, name)) is type(value)
        assert read.settled == {name}
        assert read.confirms(name)


def test_what_is_assumed_is_not_settled() -> None:
    dialect = Dialect.from_table({"caller_id": "alias"})
    assert dialect == Dialect(caller_id="alias")
    assert not dialect.confirms("caller_id", "pnl_keys")
    assert not Dialect(caller_id="alias").confirms("caller_id")


@pytest.mark.parametrize(
    ("table", "said"),
    [
        ({"ping_repy": "pong"}, "there is no 'ping_repy'; did you mean ping_reply?"),
        ({"zzz": 1}, "there is no 'zzz'; there are subscribe_word"),
        (
            {"ping_reply": "pomg"},
            "ping_reply must be one of 'pong', 'status', 'nothing', not 'pomg'; did you mean pong?",
        ),
        ({"ping_reply": 7}, "ping_reply must be one of"),
        ({"gateway_error": "nothing"}, "gateway_error must be one of 'top', 'data', 'typed', not 'nothing'"),
        ({"pnl_keys": "account"}, "pnl_keys must be a table of account, realized"),
        ({"pnl_keys": {"realised": "x"}}, "there is no 'realised'; did you mean realized?"),
        ({"pnl_keys": {"realized": "a..b"}}, "realized can't be 'a..b'"),
        ({"pnl_floor": 0}, "pnl_floor must be a whole number from 1"),
        ({"takeover_code": True}, "takeover_code must be a whole number from 1000 to 4999"),
        ({"takeover_code": 999}, "takeover_code must be a whole number from 1000 to 4999"),
        ({"quote_keys": "open"}, "quote_keys must be a list of names"),
        ({"quote_keys": [""]}, "quote_keys must be a list of names"),
        ({"subscribe_word": ""}, "subscribe_word must be a text of 1 to 500"),
    ],
)
def test_what_can_not_be_is_named(table: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)):
        Dialect.from_table(table)


@given(st.builds(Dialect, **{name: st.sampled_from(values_of(name)) for name in FIELDS}), st.data())
def test_a_file_is_read_back_as_it_was_written(dialect: Dialect, data: st.DataObject) -> None:
    chosen = data.draw(st.sets(st.sampled_from(FIELDS)))
    findings = Findings(
        date=data.draw(st.none() | st.datetimes(min_value=dt.datetime(2000, 1, 1)).map(_seconds)),
        version=data.draw(TEXT),
        host=data.draw(TEXT),
        about=data.draw(st.dictionaries(TEXT, TEXT, max_size=3)),
        facts={name: Fact(getattr(dialect, name), data.draw(TEXT), data.draw(TEXT)) for name in chosen},
        unsettled={name: "why" for name in FIELDS if name not in chosen},
    )
    read = Findings.from_table(tomllib.loads(toml_of(findings.table())))
    assert read == findings
    assert read.dialect().settled == chosen


def _seconds(stamp: dt.datetime) -> dt.datetime:
    return stamp.replace(microsecond=0, tzinfo=dt.UTC)


def test_a_file_on_disk(tmp_path: Path) -> None:
    path = tmp_path / "new" / "d.toml"
    findings = Findings(host="app.crosstrade.io")
    findings.settle("ping_reply", "status", '{"status":"pong"}')
    findings.leave("ping_reply", "no reason, since it is settled")
    findings.leave("caller_id", "the market is closed")
    write_findings(path, findings)
    write_findings(path, findings)
    assert read_findings(path) == findings
    assert [file.name for file in path.parent.iterdir()] == ["d.toml"]
    assert 'seen = \'{"status":"pong"}\'' in path.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("facts = 3", "facts must be a table, written as [facts]"),
        ("[fact]\n", "there is no fact; did you mean facts?"),
        ("[facts]\ncaler_id = 'id'", "there is no facts.caler_id; did you mean caller_id?"),
        ("[facts.caller_id]\nvalue = 'id'\nsen = ''", "there is no facts.caller_id.sen; did you mean seen?"),
        ("[facts.caller_id]\nvalue = 'ID'", "caller_id must be one of"),
        ("[unsettled]\ncaller_id = 3", "unsettled.caller_id must be text, not 3"),
        ("[facts]\ncaller_id = 'id'\n[unsettled]\ncaller_id = 'x'", "it is settled under facts.caller_id"),
        ("format = 2", "format must be 1, not 2"),
        ("date = 'today'", "date must be a time"),
        ("[facts", "not valid TOML"),
    ],
)
def test_a_bad_file_is_an_error_that_names_it(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "d.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        read_findings(path)
    assert str(path) in str(caught.value)


def test_earlier_facts_are_kept_and_say_so() -> None:
    before = Findings(date=dt.datetime(2026, 1, 2, tzinfo=dt.UTC))
    before.settle("caller_id", "alias", "seen")
    before.settle("ping_reply", "status")
    now = Findings()
    now.settle("ping_reply", "pong")
    now.leave("caller_id", "the market is closed")
    now.keep(before)
    assert now.dialect().ping_reply == "pong"
    assert now.facts["caller_id"] == Fact(values_of("caller_id")[1], "seen", "found out on 2026-01-02")
    assert not now.unsettled
    later = Findings(date=dt.datetime(2027, 1, 2, tzinfo=dt.UTC))
    later.keep(now)
    assert later.facts["caller_id"].doubt == "found out on 2026-01-02"


# --- what is read by it ----------------------------------------------------------------------------------------------


def test_only_the_keys_that_were_found_out_are_read() -> None:
    keys = PnlKeys("name", "item.real", "item.open", None)
    row = {"name": "Sim101", "realizedProfitLoss": 7.0, "item": {"real": 1.5, "open": -2, "netLiquidation": 9.0}}
    frame = json.dumps({"type": "pnlUpdate", "accounts": [row]})
    known = parse_server(frame, keys)
    assert isinstance(known, PnlUpdate)
    (told,) = known.accounts
    assert (told.account, told.realized, told.unrealized, told.net_liquidation) == ("Sim101", 1.5, -2.0, None)
    guessed = parse_server(frame)
    assert isinstance(guessed, PnlUpdate)
    assert guessed.accounts[0].realized == 7.0


def test_a_mapping_by_account_names() -> None:
    keys = PnlKeys(None, "r", "u", "n")
    frame = json.dumps({"type": "pnlUpdate", "accounts": {"Sim101": {"account": "other", "r": 1, "u": 2, "n": 3}}})
    known = parse_server(frame, keys)
    assert isinstance(known, PnlUpdate)
    (told,) = known.accounts
    assert (told.account, told.realized, told.unrealized, told.net_liquidation) == ("Sim101", 1.0, 2.0, 3.0)


def test_a_missing_value_is_missing() -> None:
    keys = PnlKeys("name", "r", "u", "n")
    known = parse_server('{"type":"pnlUpdate","accounts":[{"name":"Sim101","realizedProfitLoss":5}]}', keys)
    assert isinstance(known, PnlUpdate)
    assert known.accounts[0].realized is None


def test_paths() -> None:
    assert nested("a.b", {"a": {"b": 3}}) == 3
    assert nested("a.b", {"a": 3}) is None
    assert nested("a", {}) is None


def test_the_words_of_the_rate_limit_are_believed_and_no_others() -> None:
    def cause(text: str) -> tuple[Outcome, Cause]:
        verdict = diagnose("PlaceOrder", text, rate_text="Slow down: wait 1.5 s")
        return verdict.outcome, verdict.cause

    assert cause("slow down: wait 20 s") == (Outcome.NOT_DONE, Cause.RATE_LIMIT)
    assert cause("slow down: wait a little")[0] is Outcome.UNKNOWN
    assert cause("Rate limit exceeded") == (Outcome.NOT_DONE, Cause.RATE_LIMIT)
    assert diagnose("PlaceOrder", "slow down: wait 20 s").outcome is Outcome.UNKNOWN


def test_origins_of_events() -> None:
    assert [form.origin for form in Events] == [None, None, "nt8", "ninjatrader"]
