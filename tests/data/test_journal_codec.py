"""Every event and command goes to JSON and comes back the same."""

from __future__ import annotations

import enum
import json
import types
from typing import Annotated, Any, Union, get_args, get_origin

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from xtalgo.data.journal_codec import decode_command, decode_event, encode_command, encode_event
from xtalgo.model.commands import Command, PlaceOrder
from xtalgo.model.errors import DataError
from xtalgo.model.events import Answered, Event, LinkDown, Quote, Released
from xtalgo.model.types import OrderType, Side


def any_of(kind: Any) -> st.SearchStrategy[Any]:
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return st.builds(kind, **{item.name: any_of(item.type) for item in msgspec.structs.fields(kind)})
    if get_origin(kind) in (Union, types.UnionType):
        return st.one_of([any_of(item) for item in get_args(kind)])
    if get_origin(kind) is Annotated:
        return any_of(get_args(kind)[0])
    if get_origin(kind) is tuple:
        return st.lists(any_of(get_args(kind)[0]), max_size=3).map(tuple)
    if get_origin(kind) is dict:
        return st.dictionaries(*map(any_of, get_args(kind)), max_size=3)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return st.sampled_from(kind)
    return {
        int: st.integers(-(2**63), 2**63 - 1),
        float: st.floats(allow_nan=False, allow_infinity=False),
        str: st.text(max_size=20),
        bool: st.booleans(),
        type(None): st.none(),
    }[kind]


@pytest.mark.parametrize("kind", get_args(Event), ids=lambda kind: kind.__name__)
def test_every_event_comes_back(kind: Any) -> None:
    @settings(max_examples=15, deadline=None)
    @given(any_of(kind))
    def law(event: Any) -> None:
        data = encode_event(event)
        assert json.loads(data)[0] == kind.__name__
        again = decode_event(data)
        assert type(again) is kind
        assert again == event
        assert decode_event(data.decode()) == event

    law()


@pytest.mark.parametrize("kind", get_args(Command), ids=lambda kind: kind.__name__)
def test_every_command_comes_back(kind: Any) -> None:
    @settings(max_examples=15, deadline=None)
    @given(any_of(kind))
    def law(command: Any) -> None:
        again = decode_command(encode_command(command))
        assert type(again) is kind
        assert again == command

    law()


def test_the_form_is_what_the_docs_say() -> None:
    assert encode_event(Quote(7, "ES 06-26", 1.25, 1.5)) == (
        b'["Quote",{"ts":7,"instrument":"ES 06-26","bid":1.25,"ask":1.5,"last":null,"volume":null,'
        b'"bid_size":null,"ask_size":null}]'
    )
    command = PlaceOrder("r-1", "Sim101", "ES 06-26", Side.SELL, OrderType.MARKET, 2)
    told = json.loads(encode_event(Answered(7, command, "v1")))
    assert told[0] == "Answered"
    assert told[1]["command"][0] == "PlaceOrder"
    assert told[1]["command"][1]["side"] == -1


def test_a_field_that_was_added_with_a_default_may_be_missing() -> None:
    found = decode_event('["Released",{"ts":7,"command":["CancelOrder",{"order_id":"r-1","account":"A"}]}]')
    assert isinstance(found, Released)
    assert found.waited == 0


@pytest.mark.parametrize(
    "data",
    [
        "",
        "[]",
        '["Quote"]',
        '["Quote",{"ts":1}]',
        '["Quote",[]]',
        '["Unheard",{}]',
        '["PlaceOrder",{"order_id":"x"}]',
        '["Stale",{"ts":1,"command":["Quote",{}]}]',
        '["Stale",{"ts":1,"command":{}}]',
        b"\xff\xfe",
    ],
)
def test_anything_else_is_refused(data: str | bytes) -> None:
    with pytest.raises(DataError, match="event"):
        decode_event(data)
    with pytest.raises(DataError, match="command"):
        decode_command('["Quote",{"ts":7,"instrument":"ES","bid":1,"ask":2}]')


def test_half_a_character_is_shown_as_an_escape() -> None:
    assert decode_event(encode_event(LinkDown(7, "no such file: a\udcffb ü"))) == LinkDown(
        7, "no such file: a\\udcffb ü"
    )
