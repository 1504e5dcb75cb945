"""What the simulated server does where nobody outside knows what CrossTrade does, in one place."""

from __future__ import annotations

from typing import Final

from xtalgo.sim.faults import TAKEOVER_CODE

__all__ = ["ASSUMED"]

ASSUMED: Final[tuple[str, ...]] = (
    f"Takeover: the losing connection is closed with code {TAKEOVER_CODE}; its reason is documented, its code is not.",
    "Handshake: a missing or wrong token is answered with 401 and a JSON error.",
    'Ping: the answer is {"type":"pong"}; it costs no budget.',
    "Acknowledgments: `subscribed` and `unsubscribed` repeat the instruments as they were asked for.",
    "Acknowledgments: `pnlStreaming` repeats `enabled` and tells the interval in force, never below 100 ms.",
    'Subscriptions: unknown names are answered with {"status":"error","error":...,"instruments":[...]}; the others '
    "of the same message are subscribed. So are names that are unsubscribed without having been subscribed.",
    "Subscriptions to account events are refused: none are known for NinjaTrader accounts.",
    'Rate limit: a refused call gets {"id":...,"error":"Rate limit exceeded"}, a subscription action the same '
    "without an id but with its action.",
    "Rate limit: refused calls take no token; refused calls of either road and refused subscription actions count as "
    "violations in a row, and an accepted one of any kind ends the row. So does a new connection.",
    "Malformed frames cost no budget; a call of an unknown function or with wrong arguments does.",
    "Errors of the gateway (rate limit, unknown function, wrong arguments, add-on away) are at the top level of the "
    "frame, the venue's own refusals are inside `data` with success false.",
    "A call without an id is answered under one made up by the server: srv-1, srv-2.",
    "Add-on away: no quotes and no P&L come, and orders that rest at the exchange go on filling.",
    "pnlUpdate: its accounts have name, account, realizedProfitLoss, unrealizedProfitLoss, netLiquidation and "
    "cashValue; epoch is in milliseconds; the first comes one interval after the acknowledgment.",
    "realizedProfitLoss is net of fees, grossRealizedProfitLoss is before them, cashValue contains the net figure; "
    "all count from the server's start, not from the session's.",
    "Positions are marked at the last price, or at the side that would close them where the feed tells no last.",
    "A flat position asked for by name is Flat with quantity and prices 0.",
    "Orders: a stop rests as Accepted until it is triggered, a limit or market order as Working; the end of the "
    "session makes a DAY order Cancelled.",
    "Orders: a second order under an id that is in use is refused, whatever became of the first.",
    "Orders: prices are rounded to the tick; at placing, prices that the type doesn't have are ignored.",
    "Orders: what the exchange rejects answers success and shows state Rejected; its reason is in no row.",
    "Orders: cancelling one of an OCO group, or a fill of it, ends the others; groups don't reach across accounts.",
    "Order lists show what may still trade and what ended in this session, until the next opens; GetOrder finds all.",
    "Change keeps the order's id; a change that the exchange refuses is an error Invalid request.",
    "Order rows: from `name` on the keys are NinjaTrader's own; `time` is that of placing, in US Central time.",
    "Executions: oldest first; `position` is the account's net after it, negative when short; `marketPosition` is "
    "the direction of the fill; from `commission` on the keys are inferred.",
    "maxPositions refuses an order in an instrument where the account is flat once so many positions are open.",
    "ClosePosition and Flatten answer with the positions as they stood; a full close cancels the instrument's orders "
    "first. With marketPosition, Flatten cancels only the orders of the instruments that it closes.",
    "GetOrder of an unknown id is refused as \"Order '...' not found\".",
    "GetQuote before an instrument's first quote has the contract's facts, and null for prices and times.",
    "A REST call whose answer a fault lost ends as 504.",
)
"""What this server does where neither a page nor a public client tells what CrossTrade does; one sentence a line."""
