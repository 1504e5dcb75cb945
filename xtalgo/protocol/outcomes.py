"""What an error text says about the call: not done, refused, or nobody knows.

The venue's errors are sentences more than codes (documented), so they are matched as text, in one table. Where a text
isn't recognised a mutation's outcome is unknown: believing that an order is not there is the dearer mistake. *Not done*
is the strictest: it alone lets a mutation be sent again.
"""

from __future__ import annotations

import enum
import re
from typing import Final

from attrs import field, frozen

from xtalgo.protocol.arguments import Certainty
from xtalgo.protocol.rpc import TABLE, RpcSpec

__all__ = ["PATTERNS", "Cause", "Outcome", "Pattern", "Verdict", "diagnose", "outcome"]


class Outcome(enum.StrEnum):
    """What became of a call that was answered with an error."""

    NOT_DONE = "not done"
    """It was not carried out; sending it again is safe."""
    REFUSED = "refused"
    """It was looked at and turned down; sending the same again is pointless."""
    UNKNOWN = "unknown"
    """It may have been carried out: reconcile, don't send it again."""


class Cause(enum.StrEnum):
    """Why, as far as the text tells."""

    RATE_LIMIT = "rate limit"
    OFFLINE = "add-on offline"
    TIMEOUT = "timed out"
    TERMINAL = "order gone"
    NO_POSITION = "no position"
    BLOCKED = "blocked by its own condition"
    INVALID = "invalid request"
    ACCOUNT = "account"
    TOKEN = "token or plan"
    BROKER = "broker"
    OTHER = "not recognised"


def _compiled(text: str) -> re.Pattern[str]:
    return re.compile(text, re.IGNORECASE)


@frozen
class Pattern:
    """One way in which the venue says no. ``apis`` limits it to those mutations whose every step the text covers."""

    cause: Cause
    outcome: Outcome
    regex: re.Pattern[str] = field(converter=_compiled)
    certainty: Certainty
    note: str
    apis: frozenset[str] = frozenset()


@frozen
class Verdict:
    """Outcome and cause; ``pattern`` is None where status or silence decided."""

    outcome: Outcome
    cause: Cause
    pattern: Pattern | None = None


_D, _O, _I = Certainty.DOCUMENTED, Certainty.OBSERVED, Certainty.INFERRED

PATTERNS: Final = (
    Pattern(
        Cause.OFFLINE,
        Outcome.UNKNOWN,
        r"not connected|disconnected|\boffline\b|unreachable",
        _D,
        "408: NinjaTrader or the add-on is away (the wording is inferred); when it left isn't told",
    ),
    Pattern(Cause.OFFLINE, Outcome.UNKNOWN, r"^addon_disconnected$", _D, "documented for MCP"),
    Pattern(Cause.TIMEOUT, Outcome.UNKNOWN, r"\btime(d)?[ -]?out\b|no response", _I, "it may still arrive"),
    Pattern(
        Cause.BROKER,
        Outcome.UNKNOWN,
        r"^broker_rate_limited$",
        _O,
        "Tradovate's limit, behind CrossTrade's own: how far the call came isn't told",
    ),
    Pattern(
        Cause.RATE_LIMIT,
        Outcome.NOT_DONE,
        r"^rate limit exceeded[.!]?(\W*(please |max|limit|retry|try|wait|slow|\d).*)?$",
        _D,
        "documented over REST; the same text over the socket is inferred",
    ),
    Pattern(Cause.RATE_LIMIT, Outcome.NOT_DONE, r"^rate_limited$", _O, "seen on Tradovate's route"),
    Pattern(
        Cause.TERMINAL,
        Outcome.REFUSED,
        r"not found or already terminal",
        _D,
        "documented as stable for Cancel: nothing was cancelled; how the order ended isn't told",
        frozenset({"Cancel", "Change"}),
    ),
    Pattern(
        Cause.NO_POSITION,
        Outcome.REFUSED,
        r"^no positions? found\b",
        _D,
        "documented for ClosePosition and Reverse, by meaning for ReversePosition",
        frozenset({"ClosePosition", "Reverse", "ReversePosition"}),
    ),
    Pattern(
        Cause.BLOCKED,
        Outcome.REFUSED,
        r"requireMarketPosition|maxPositions|max(imum)? (open )?positions|requires? (the )?market position",
        _I,
        "that these conditions refuse an order is documented, the wording isn't known",
        frozenset({"PlaceOrder"}),
    ),
    Pattern(Cause.INVALID, Outcome.REFUSED, r"^invalid[_ ]request\b", _D, "documented on the endpoint pages"),
    Pattern(Cause.INVALID, Outcome.REFUSED, r"^unknown (api|action|function|endpoint)\b", _I, "our server's words"),
    Pattern(Cause.ACCOUNT, Outcome.REFUSED, r"^invalid[_ ]account\b", _D, "the code is documented, the sentence isn't"),
    Pattern(Cause.ACCOUNT, Outcome.REFUSED, r"^account_not_found$", _D, "documented for MCP"),
    Pattern(Cause.TOKEN, Outcome.REFUSED, r"^insufficient_scope$", _D, "documented for MCP"),
    Pattern(Cause.TOKEN, Outcome.REFUSED, r"^unauthorized\b|^invalid[_ ]token\b", _I, "wording inferred from 401"),
    Pattern(Cause.BROKER, Outcome.REFUSED, r"^tradovate_rejected$", _O, "seen on Tradovate's route"),
)
"""Every text that we recognise; the first that fits decides, and doubt comes first."""

_STATUS: Final = {
    401: Verdict(Outcome.REFUSED, Cause.TOKEN),
    403: Verdict(Outcome.REFUSED, Cause.TOKEN),
    404: Verdict(Outcome.REFUSED, Cause.INVALID),
    429: Verdict(Outcome.NOT_DONE, Cause.RATE_LIMIT),
}
"""What an HTTP status settles by itself. 400 doesn't, although it is documented as a refusal: the text must say so."""


def diagnose(
    spec: RpcSpec | str,
    error: str | None,
    status: int | None = None,
    detail: str | None = None,
    *,
    rate_text: str | None = None,
) -> Verdict:
    """What became of a call that was sent and answered with ``error``, with an HTTP ``status``, or with neither.

    ``rate_text`` is how the venue was heard to refuse a call for the rate limit; figures in it may differ. Reads never
    end as unknown: they can always be asked again. A refused read is refused, asking again is pointless.
    """
    if isinstance(spec, str):
        spec = TABLE[spec]
    if rate_text is not None and error is not None and _bare(error) == _bare(rate_text):
        return Verdict(Outcome.NOT_DONE, Cause.RATE_LIMIT)
    verdict = _judge(spec, error, status, detail)
    if not spec.mutates and verdict.outcome is Outcome.UNKNOWN:
        return Verdict(Outcome.NOT_DONE, verdict.cause, verdict.pattern)
    return verdict


def _bare(text: str) -> str:
    return re.sub(r"\d+([.,]\d+)*", "#", " ".join(text.split())).casefold()


def outcome(spec: RpcSpec | str, error: str | None, status: int | None = None, detail: str | None = None) -> Outcome:
    """The outcome alone, as ``diagnose`` finds it."""
    return diagnose(spec, error, status, detail).outcome


def _judge(spec: RpcSpec, error: str | None, status: int | None, detail: str | None) -> Verdict:
    if status == 408:
        return Verdict(Outcome.UNKNOWN, Cause.OFFLINE)
    if status is not None and status >= 500:
        return Verdict(Outcome.UNKNOWN, Cause.OTHER)
    if status in _STATUS:
        return _STATUS[status]
    for pattern in PATTERNS:
        # Only the error itself can say that nothing was done; a detail can raise doubt, or explain a refusal.
        texts = (error,) if pattern.outcome is Outcome.NOT_DONE else (error, detail)
        if not any(text and pattern.regex.search(text.strip()) for text in texts):
            continue
        if spec.mutates and pattern.apis and spec.name not in pattern.apis:
            return Verdict(Outcome.UNKNOWN, pattern.cause, pattern)
        return Verdict(pattern.outcome, pattern.cause, pattern)
    return Verdict(Outcome.UNKNOWN, Cause.OTHER)
