"""``xtalgo rpc --accounts A,B``: one call for several accounts; its order and cost before, what came of each after.

The plan and its carrying out are ``client.group``'s; this is where its words come from and go to.
"""

from __future__ import annotations

import json
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from attrs import evolve, frozen

from xtalgo.app.answers import show_value
from xtalgo.app.console import Screen, complain
from xtalgo.app.exits import InDoubt
from xtalgo.app.operator import Operator, Reach, account_name, at_venue, the_account, venue_of, whole
from xtalgo.app.rpc import WITHIN, RpcRequest, allow, confirm, need_word, open_road, read_words
from xtalgo.app.rpctable import cautions, only_reduces
from xtalgo.client.group import GroupPlan, GroupReport, MemberReport, carry_out, plan_group
from xtalgo.live.lock import SessionLock
from xtalgo.model.errors import VenueError, XtalgoError
from xtalgo.model.instruments import ContractBook
from xtalgo.protocol.rows import Position
from xtalgo.protocol.spec import RpcSpec

__all__ = ["rpc_for_accounts"]


@frozen
class _Group:
    """A function, arguments for all, and the accounts in the order of their naming."""

    spec: RpcSpec
    args: dict[str, Any]
    accounts: tuple[str, ...]

    def plan(self, positions: tuple[Position, ...] | None, contracts: ContractBook) -> GroupPlan:
        return plan_group(self.spec.name, self.accounts, self.args, positions=positions, contracts=contracts)


def rpc_for_accounts(reach: Reach, request: RpcRequest, accounts: tuple[str, ...]) -> None:
    """Call a function for each account and report. Raises InDoubt or VenueError unless it was done for all."""
    group = _read(request, accounts)
    need_word(group.spec, request)
    venue = venue_of(reach)

    async def work(operator: Operator) -> None:
        plan = await _planned(operator, group, live=request.live)
        if group.spec.mutates:
            text = "\n".join([str(plan), *(f"  note: {caution}" for caution in cautions(group.spec, group.args))])
            if request.yes:
                complain(text)
            else:
                confirm(text)
        async with open_road(operator, venue, request.ws) as road:
            report = await carry_out(plan, road.call, told=lambda member: _show(member, group.spec, is_json=reach.json))
        _verdict(report)

    held: AbstractContextManager[object] = SessionLock(venue.token) if request.ws else nullcontext()
    with held:
        at_venue(reach, work, venue=venue, within=WITHIN)


def _read(request: RpcRequest, accounts: tuple[str, ...]) -> _Group:
    """What a command line means. Raises ConfigError for whatever can't be right, for any of the accounts."""
    spec, args = read_words(request)
    names = tuple(account_name(part, "--accounts") for text in accounts for part in text.split(","))
    group = _Group(spec, args, names)
    group.plan(None, ContractBook())
    return group


async def _planned(operator: Operator, group: _Group, *, live: bool) -> GroupPlan:
    """The plan, with accounts as the venue spells them and ordered by what they hold.

    What only reduces is not held up where the venue doesn't say these things: it goes in the order of naming.
    """
    spec = group.spec
    if not spec.mutates:
        return group.plan(None, operator.contracts)
    try:
        known = {row.name.casefold(): row for row in await operator.accounts()}
        positions = whole(await operator.client.call("GetAllPositions"), "GetAllPositions")
    except XtalgoError as error:
        if not only_reduces(spec):
            raise
        complain(f"warning: the order is that of naming: {error}")
        return group.plan(None, operator.contracts)
    rows = [the_account(known, name) for name in group.accounts]
    if not only_reduces(spec):
        for row in rows:
            allow(spec, row, live=live)
    final = evolve(group, accounts=tuple(row.name for row in rows))
    return final.plan(positions, operator.contracts)


def _show(member: MemberReport, spec: RpcSpec, *, is_json: bool) -> None:
    """One account's outcome, as it comes."""
    answer = member.answer
    if is_json:
        facts = {"account": member.account, "end": str(member.end), "text": member.text or None}
        sys.stdout.write(json.dumps(facts) + "\n")
    else:
        screen = Screen(sys.stdout)
        screen.text(f"{member.account}: {member.end}{f': {member.text}' if member.text else ''}", "bold")
        if answer is not None and not spec.mutates:
            show_value(screen, answer.value, "nothing")
    for fault in () if answer is None else answer.faults:
        complain(f"warning: {spec.name}, {member.account}: {fault}")
    sys.stdout.flush()


def _verdict(report: GroupReport) -> None:
    told = str(report)
    if report.needs_a_look:
        raise InDoubt(told)
    if not report.is_complete:
        raise VenueError(told)
