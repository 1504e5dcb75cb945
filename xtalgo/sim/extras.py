"""What only some dialects have: a function for the life of an order, a tag that locks, bodies of other forms."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import define, evolve, field

from xtalgo.model.types import Ns
from xtalgo.protocol.choices import Lifecycle, StrategyTag
from xtalgo.sim import bodies
from xtalgo.sim.gateway import Outcome, Underway, carry_out
from xtalgo.sim.refusals import Refused
from xtalgo.sim.speech import Speech
from xtalgo.sim.venue import Venue

__all__ = ["Extras"]

_TAG = "strategy_tag"


@define(eq=False)
class Extras:
    """Carries out calls as ``gateway.carry_out`` does, in a dialect."""

    venue: Venue
    speech: Speech
    _claims: dict[tuple[str, str], str] = field(factory=dict)
    """Tags by account and instrument."""

    def carry_out(self, api: str, args: Mapping[str, Any], origin: str | None, now: Ns) -> Outcome | Underway:
        """Carry out a call at its moment, or begin to; ``dressed`` is for how it ends. Never raises."""
        dialect, mishaps = self.speech.dialect, self.venue.mishaps
        try:
            if api == dialect.lifecycle and dialect.lifecycle is not Lifecycle.NONE and not mishaps.is_offline(now):
                return self._history(args, now)
            if api == "PlaceOrder" and _TAG in args and dialect.strategy_tag is not StrategyTag.REFUSED:
                args = dict(args)
                tag = args.pop(_TAG)
                if dialect.strategy_tag is StrategyTag.LOCKS:
                    self._claim(args, str(tag))
        except Refused as no:
            return Outcome(error=no.error, detail=no.detail, status=400)
        return carry_out(self.venue, mishaps, api, args, origin, now)

    def dressed(self, api: str, outcome: Outcome) -> Outcome:
        """The same outcome in the form that its body has in this dialect."""
        if outcome.error is not None:
            return outcome
        body = self.speech.body(api, outcome.body)
        return Outcome(error="No position found", status=400) if body is None else evolve(outcome, body=body)

    def _history(self, args: Mapping[str, Any], now: Ns) -> Outcome:
        """Every state that an order was in and since when, by its id or the caller's (the body is assumed)."""
        for name in ("account", "orderId"):
            if not isinstance(args.get(name), str):
                return Outcome(error=f"Invalid request: {name} is missing", status=400, gateway=True)
        account = self.venue.account(args["account"])
        order = self.venue.order(account, args["orderId"], now)
        if order is None:
            raise Refused(f"Order '{args['orderId']}' not found")
        states = [{"orderState": str(state), "epoch": bodies.epoch_ms(since)} for since, state in order.states]
        return Outcome({"account": account, "orderId": order.id, "states": states, "success": True})

    def _claim(self, args: Mapping[str, Any], tag: str) -> None:
        """Claim an instrument for a tag. Raises Refused where another tag trades it."""
        if not isinstance(args.get("account"), str) or not isinstance(args.get("instrument"), str):
            return  # what is missing is for the function to say
        account, contract = self.venue.account(args["account"]), self.venue.contract(args["instrument"])
        key = (account, contract.name)
        traded = self.venue.working(account, contract) or self.venue.book(account, contract).position
        holder = self._claims.get(key, tag) if traded else tag
        if holder != tag:
            raise Refused(f"{contract.name} is locked by strategy_tag '{holder}'")
        self._claims[key] = tag
