"""Steps at the edges of a connection: a newer one, a wrong token, too many calls."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from typing import Final

from xtalgo.client.probing.script import (
    RATE_LIMIT,
    Budget,
    Ended,
    Heard,
    Line,
    Probe,
    Script,
    Takeover,
    WrongToken,
    reply_of,
)

__all__ = ["bodies", "limits", "takeover", "token"]

NO_CLOSE_FRAME: Final = 1006
_ROUND: Final = 5
"""Calls at once: ten refusals in a row would close the connection (documented)."""
_ROUNDS: Final = 16


def takeover(probe: Probe) -> Script[None]:
    """Open a second connection, twice, and see how the first one ends."""
    facts = ("takeover_code", "takeover_reason")
    seen: list[Ended] = []
    for _ in range(2):
        yield from probe.ask("ListAccounts")  # the one before must be well
        heard: Heard = yield Takeover()
        if heard.status is not None:
            probe.leave(f"the second connection is refused with status {heard.status}", *facts)
            return
        if heard.end is None:
            probe.leave("both connections stayed open", *facts)
            return
        seen.append(heard.end if heard.end.code is not None else Ended(None, ""))
    if seen[0] != seen[1]:
        probe.leave(f"it ended once with {seen[0]}, and once with {seen[1]}", *facts)
        return
    told = f"the end of the first connection, twice: {seen[0]}"
    probe.findings.settle("takeover_code", NO_CLOSE_FRAME if seen[0].code is None else seen[0].code, told)
    probe.findings.settle("takeover_reason", seen[0].reason, told)


def token(probe: Probe) -> Script[None]:
    """Ask for a connection with a token that is none."""
    heard: Heard = yield WrongToken()
    if heard.status is not None:
        probe.findings.settle("bad_token", heard.status, f"the status of the handshake: {heard.status}")
    elif heard.end is not None:
        probe.leave(f"it was let in, and then closed ({heard.end})", "bad_token")
    else:
        probe.leave("it could not be tried, or was let in", "bad_token")


def limits(probe: Probe) -> Script[None]:
    """Make cheap reads, five at once, until one is refused for the rate limit; then stop."""
    facts = ("rate_error", "rate_text")
    for _ in range(_ROUNDS):
        keys = [probe.new_key() for _ in range(_ROUND)]
        texts = [json.dumps({"action": "rpc", "id": key, "api": "ListAccounts", "args": {}}) for key in keys]
        heard = yield from probe.say(*texts, budget=Budget.FORCED, until=partial(_are_answered, keys))
        for line in heard.lines:
            if not isinstance(line.frame, dict) or line.frame.get("id") not in keys:
                continue
            reply = reply_of(line)
            if reply.place is None:
                continue
            doubt = "" if RATE_LIMIT.search(reply.error) else "its text does not speak of a rate limit"
            probe.settle("rate_error", reply.place, line, doubt=doubt)
            probe.settle("rate_text", reply.error, line, doubt=doubt)
            return
    probe.leave(f"{_ROUND * _ROUNDS} reads were not refused", *facts)


def _are_answered(keys: Sequence[str], lines: Sequence[Line]) -> bool:
    return sum(isinstance(line.frame, dict) and line.frame.get("id") in keys for line in lines) >= len(keys)


def bodies(probe: Probe) -> Script[None]:
    """Reads whose bodies are not documented; what they answer is for the report."""
    account = {"account": probe.account}
    for api, args in (
        ("GetAllOrders", {}),
        ("ListStrategies", account),
        ("ListAllStrategies", {}),
        ("ListExecutions", account),
        ("GetExecutionsByOrderId", {**account, "orderId": next(iter(sorted(probe.ids)), "none")}),
    ):
        yield from probe.try_ask(api, args, tries=1)
