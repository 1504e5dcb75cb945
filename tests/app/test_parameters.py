"""Text to parameter values, by annotation."""

import datetime as dt
import enum
from decimal import Decimal
from typing import Annotated, Any, Literal, Optional

import pytest

from xtalgo import Instrument, Side, TimeInForce
from xtalgo.app.parameters import convert, describe


class Mood(enum.Enum):
    CALM = "calm"
    WILD = 2


@pytest.mark.parametrize(
    ("text", "hint", "value"),
    [
        ("5", int, 5),
        ("-5", int, -5),
        ("1_000", int, 1000),
        ("2.5", float, 2.5),
        ("1e3", float, 1000.0),
        ("3", float, 3.0),
        ("a b", str, "a b"),
        ("", str, ""),
        ("x", Any, "x"),
        ("ES 06-26", Instrument, "ES 06-26"),
        (" MNQ ", Instrument, "MNQ"),
        ("true", bool, True),
        ("Yes", bool, True),
        ("1", bool, True),
        ("off", bool, False),
        ("b", Literal["a", "b"], "b"),
        ("2", Literal[1, 2], 2),
        ("wild", Mood, Mood.WILD),
        ("Calm", Mood, Mood.CALM),
        ("2", Mood, Mood.WILD),
        ("buy", Side, Side.BUY),
        ("-1", Side, Side.SELL),
        ("gtc", TimeInForce, TimeInForce.GTC),
        ("none", int | None, None),
        ("7", int | None, 7),
        ("7", Optional[int], 7),  # noqa: UP045
        ("7", str | int, 7),
        ("x", str | int, "x"),
        ("1,2", tuple[int, ...], (1, 2)),
        ("", tuple[int, ...], ()),
        ("5", tuple[int, ...], (5,)),
        ("1, x", tuple[int, str], (1, "x")),
        ("ES,MNQ", tuple[Instrument, ...], ("ES", "MNQ")),
        ("a,b", tuple, ("a", "b")),
        ("4", Annotated[int, "contracts"], 4),
        ("09:45", dt.time, dt.time(9, 45)),
        ("2026-05-12", dt.date, dt.date(2026, 5, 12)),
        ("0.1", Decimal, Decimal("0.1")),
    ],
)
def test_convert(text: str, hint: Any, value: Any) -> None:
    found = convert(text, hint)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("5.0", int),
        ("x", int),
        ("", int),
        ("nan", float),
        ("inf", float),
        ("-inf", float),
        ("1e999", float),
        ("x", float),
        ("maybe", bool),
        ("2", bool),
        ("c", Literal["a", "b"]),
        ("mad", Mood),
        ("", Instrument),
        ("x", int | None),
        ("1,x", tuple[int, ...]),
        ("1", tuple[int, int]),
        ("25:00", dt.time),
        ("x", dict[str, int]),
        ("x", list[int]),
        ("x", object()),
    ],
)
def test_what_does_not_fit(text: str, hint: Any) -> None:
    with pytest.raises(ValueError):
        convert(text, hint)


@pytest.mark.parametrize(
    ("hint", "text"),
    [
        (int, "int"),
        (Instrument, "Instrument"),
        (tuple[Instrument, ...], "tuple[Instrument, ...]"),
        (int | None, "int | None"),
        (Literal["a", "b"], "'a' or 'b'"),
        (Side, "BUY or SELL"),
        (Annotated[int, "contracts"], "int"),
        (Any, "Any"),
    ],
)
def test_describe(hint: Any, text: str) -> None:
    assert describe(hint) == text
