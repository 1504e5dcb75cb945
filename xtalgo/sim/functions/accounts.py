"""Functions of accounts."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from xtalgo.model.types import Ns
from xtalgo.sim import bodies
from xtalgo.sim.functions.parts import Args, Function, good
from xtalgo.sim.venue import Venue

__all__ = ["FUNCTIONS"]


def _list_accounts(venue: Venue, _args: Args, _now: Ns) -> object:
    return good(accounts=[bodies.account_row(venue, name) for name in venue.accounts])


def _get_account(venue: Venue, args: Args, _now: Ns) -> object:
    return good(**bodies.account_body(venue, venue.account(args["account"])))


def _get_account_summary(venue: Venue, _args: Args, now: Ns) -> object:
    return {
        "type": "snapshot",
        "timestamp": bodies.offset_text(now),
        "epoch": bodies.epoch_ms(now),
        "accounts": [bodies.snapshot_row(venue, name) for name in venue.accounts],
    }


def _get_watermarks(venue: Venue, args: Args, now: Ns) -> object:
    account = venue.account(args["account"])
    return {"success": True, "data": {"account": account, **venue.watermarks.told(account, now)}}


FUNCTIONS: Final[Mapping[str, Function]] = {
    "ListAccounts": _list_accounts,
    "GetAccount": _get_account,
    "GetAccountSummary": _get_account_summary,
    "GetWatermarks": _get_watermarks,
}
