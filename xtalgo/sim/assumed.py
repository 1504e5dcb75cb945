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
    "GetAccountSummary: its time is that of US Central, positions are the open ones, and no further keys are told.",
    "GetWatermarks: `pnl` and `total` are both realized and unrealized P&L since 18:00 New York, net of fees; "
    "`pnlhigh` is the highest `pnl`. Highs begin with the session's first fill, or its first quote of an open "
    "position.",
    "FlattenEverything: `orderIds` are the orders that close, not those that are cancelled.",
    "Reverse cancels the instrument's orders, ends its ATM strategies, and sends one market order of twice the "
    "position.",
    "ReversePosition looks ten times a second whether position and orders are clear, and answers once it has placed. "
    "FlatPlace places at once, without waiting for its close.",
    "CancelReplace waits up to 5 s for its cancel: what fills meanwhile is refused as gone, what is still being "
    "cancelled then is refused too, and neither is replaced.",
    "CancelAndBracket: `takeProfit` and `stopLoss` are prices, `delay` is in milliseconds, and it waits up to 5 s for "
    "its cancels. The wrong side is refused before anything is cancelled; an abort is an error.",
    "CancelAndBracket without a position: both orders are of the side opposite to `action`.",
    "A call that waits when the add-on goes away is carried on, and answered as if it were offline.",
    "GetOrderStatus has four keys: orderId, orderState, filled, quantity.",
    "GetExecutionsByOrderId: an order that nobody knows has none; its route and that of ListAllStrategies are guesses.",
    "ATM: names of templates are taken in any case; an unknown one is refused with its name before anything is done.",
    "ATM: a strategy runs from the placing of its entry until that is done and what it opened is closed; lists show "
    "those that run. `fromEntrySignal` of its orders is its id; their names are Entry, Stop1, Target1, Stop2.",
    "ATM: exits are GTC, priced from the entry's average when they are made, and grow with further fills of it; "
    "contracts go to the brackets in their order, the last takes the rest.",
    "ATM: a target that fills in part shrinks its stop, and the other way round, whatever the fill model says of OCO.",
    "ATM: exits cancelled by hand are not put back; a rejected stop closes the strategy at market; "
    "closing a part of the position leaves exits as they are.",
    "CloseStrategy cancels the strategy's orders and closes what it opened, at most what the account holds that way.",
    "GetBars: a bar's time is its end, and the one under way is left out; minutes are counted from the session's open, "
    "days are sessions from 18:00 to 17:00 New York, weeks, months and years hold whole sessions.",
    "GetBars: `from` and `to` bound the bars' times, both included; without `from` they reach back `daysBack` times 24 "
    "hours from `to`; a time without a zone is UTC.",
    "GetBars: prices are the `last` of quotes, or the mid where there is none; volume is what the quotes' grew by.",
    "GetBars knows of a recording what it has shown; of a synthetic market also the session before the server's start "
    "and two years before that, which nobody saw.",
    "GetQuote: `connectedFeeds` is Simulated Data Feed for synthetic quotes, Playback Connection for recorded ones.",
    "Tv_ lists: one login, whose account, contract and order numbers are made up; without the origin they are refused.",
)
"""What this server does where neither a page nor a public client tells what CrossTrade does; one sentence a line."""
