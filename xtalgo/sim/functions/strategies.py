"""Functions of running ATM strategies."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from xtalgo.model.types import Ns
from xtalgo.sim import bodies
from xtalgo.sim.atm import AtmStrategy
from xtalgo.sim.functions.parts import Args, Function, good
from xtalgo.sim.venue import Refused, Venue

__all__ = ["FUNCTIONS"]


def _running(venue: Venue, args: Args) -> AtmStrategy:
    """The running strategy that a call names. Raises Refused."""
    account = venue.account(args["account"])
    found = venue.atm.find(account, args["strategyId"])
    if found is None:
        raise Refused(f"Strategy '{args['strategyId']}' not found")
    return found


def _list_strategies(venue: Venue, args: Args, _now: Ns) -> object:
    account = venue.account(args["account"])
    return good(strategies=[bodies.strategy_row(each) for each in venue.atm.running if each.account == account])


def _get_strategy(venue: Venue, args: Args, _now: Ns) -> object:
    return good(**bodies.strategy_row(_running(venue, args)))


def _list_all_strategies(venue: Venue, _args: Args, _now: Ns) -> object:
    return good(strategies=[bodies.strategy_row(each) for each in venue.atm.running])


def _close_strategy(venue: Venue, args: Args, now: Ns) -> object:
    found = _running(venue, args)
    venue.atm.close(found, now)
    return good(strategyId=found.id)


FUNCTIONS: Final[Mapping[str, Function]] = {
    "ListStrategies": _list_strategies,
    "GetStrategy": _get_strategy,
    "ListAllStrategies": _list_all_strategies,
    "CloseStrategy": _close_strategy,
}
