"""The steps of a probe, in order."""

from __future__ import annotations

from typing import Final

from xtalgo.client.probing import dealing, edges, streams, words
from xtalgo.client.probing.script import Step

__all__ = ["STEPS"]

_ORDER: Final = "a BUY LIMIT of 1 some 20 % below the market"

STEPS: Final = (
    Step(
        "errors",
        "calls without an argument, of an order and of a function that there is not",
        ("gateway_error", "refusal_error", "unknown_api"),
        words.errors,
    ),
    Step(
        "frames",
        "a ping, a frame with an unknown action, and one that is no JSON",
        ("ping_reply", "unknown_action", "malformed"),
        words.frames,
    ),
    Step(
        "subscriptions",
        "subscribes, unsubscribes, and subscribes to an instrument that there is not",
        ("subscribe_word", "unsubscribe_word", "instrument_echo", "unknown_instrument"),
        words.subscriptions,
    ),
    Step("position", "asks for a position that is flat", ("flat_position",), words.position),
    Step(
        "pnl",
        "switches the P&L stream on for some seconds, and compares it with the account",
        ("pnl_word", "pnl_echo", "pnl_keys", "pnl_epoch", "pnl_floor"),
        streams.pnl,
    ),
    Step(
        "quotes",
        "watches quotes for 45 s at most",
        ("quote_repeats", "quote_keys"),
        streams.quotes,
        needs_market=True,
    ),
    Step(
        "bars",
        "asks twice for the newest bars, which takes a minute or so",
        ("bar_label", "growing_bar"),
        streams.bars,
        needs_market=True,
    ),
    Step("bodies", "reads lists whose bodies are not documented, for the report", (), edges.bodies),
    Step(
        "orders",
        f"places {_ORDER}, looks it up, changes it, places another under its id, and cancels them",
        ("caller_id", "duplicate_id", "change_id", "lifecycle"),
        dealing.orders,
        needs_market=True,
        trades=True,
    ),
    Step(
        "events",
        f"asks for events of the account; places and cancels {_ORDER} for each form that is not refused",
        ("events", "event_body"),
        dealing.events,
        needs_market=True,
        trades=True,
    ),
    Step(
        "tag",
        f"places {_ORDER} with a strategy_tag, and one with another, which a lock would refuse; cancels them",
        ("strategy_tag",),
        dealing.tag,
        needs_market=True,
        trades=True,
    ),
    Step(
        "takeover",
        "opens a second connection of its own, twice, which ends the first",
        ("takeover_code", "takeover_reason"),
        edges.takeover,
    ),
    Step("token", "tries one connection with a token that is none", ("bad_token",), edges.token),
    Step(
        "limits",
        "makes cheap reads, five at once, until one is refused for the rate limit, and stops",
        ("rate_error", "rate_text"),
        edges.limits,
    ),
)
"""Every step but the look at the door, which settles ``accounts_form`` and ``orders_form``. The rudest is the last."""
