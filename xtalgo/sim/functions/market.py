"""Functions of the market: quotes, bars and hours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from xtalgo.model.sessions import session_at
from xtalgo.model.types import DAY_NS, Ns
from xtalgo.protocol.times import parse_stamp
from xtalgo.sim import bodies
from xtalgo.sim.feeds import SIMULATED
from xtalgo.sim.functions.parts import Args, Function
from xtalgo.sim.history import NONE, bars_of, reach
from xtalgo.sim.recordedbars import SLACK
from xtalgo.sim.venue import Refused, Venue

__all__ = ["FUNCTIONS"]


def _is_always_open(venue: Venue) -> bool:
    return bool(getattr(venue.feed, "always_open", False))


def _get_quote(venue: Venue, args: Args, now: Ns) -> object:
    contracts = [venue.contract(text) for text in args["instrument"].split(",")]
    seen = [venue.tape.tracked.get(contract.name) for contract in contracts]
    if "account" in args:
        venue.account(args["account"])
        rows = [bodies.legacy_quote(contract, each) for contract, each in zip(contracts, seen, strict=True)]
    else:
        is_open = _is_always_open(venue) or session_at(now).contains(now)
        source = getattr(venue.feed, "source", SIMULATED)
        rows = [
            bodies.quote_body(contract, each, is_open, source) for contract, each in zip(contracts, seen, strict=True)
        ]
    return rows if len(rows) > 1 else rows[0]


def _time(text: str) -> Ns:
    """A time as UTC, where it names no other zone."""
    stamp = parse_stamp(text)
    assert stamp is not None  # `check_call` has read it
    return stamp.wall if stamp.utc is None else stamp.utc


def _get_bars(venue: Venue, args: Args, now: Ns) -> object:
    contract = venue.contract(args["instrument"])
    kind, period = args.get("periodType", "minute"), args.get("period", 1)
    until = _time(args["to"]) if "to" in args else now
    since = _time(args["from"]) if "from" in args else until - args.get("daysBack", 1) * DAY_NS
    if since > until:
        raise Refused("Invalid request", f"from {args.get('from')} is after {args.get('to', 'now')}")
    minutes = getattr(venue.feed, "minutes", None)
    known = NONE if minutes is None else minutes(contract.name, since - reach(kind, period))
    bars = bars_of(known, kind, period, venue.bar_rules, now)
    shown = (bars.label >= since) & (bars.label <= until)
    began = getattr(venue.feed, "began", None)
    if began is not None and kind in ("minute", "day"):
        shown &= bars.start >= began(contract.name) - SLACK  # of what was before nobody knows, so it is no bar
    if venue.bar_rules.growing and until >= now:
        shown |= bars.end > now
    return bodies.bars_body(contract, kind, period, bars.only(shown).only(slice(-args.get("limit", 5_000), None)))


def _market_info(venue: Venue, args: Args, now: Ns) -> object:
    contract = venue.contract(args.get("instrument", "ES"))
    return bodies.market_body(contract, now, always_open=_is_always_open(venue))


FUNCTIONS: Final[Mapping[str, Function]] = {
    "GetQuote": _get_quote,
    "GetBars": _get_bars,
    "MarketInfo": _market_info,
}
