"""What a simulated venue's objects look like in CrossTrade's replies: plain values under the documented keys."""

from __future__ import annotations

import datetime as dt
from typing import Any, Final

from xtalgo.engine.ledger import Book
from xtalgo.model.instruments import Contract
from xtalgo.model.sessions import Session, session_at, to_datetime
from xtalgo.model.types import MILLISECOND_NS, SECOND_NS, Ns, OrderType, Side, TimeInForce
from xtalgo.protocol.rows import AccountItems
from xtalgo.protocol.times import utc_text
from xtalgo.sim.atm import AtmStrategy
from xtalgo.sim.feeds import SIMULATED
from xtalgo.sim.history import Bars
from xtalgo.sim.tape import Tracked
from xtalgo.sim.venue import Figures, Venue, VenueExecution, VenueOrder

__all__ = [
    "CHICAGO",
    "account_body",
    "account_row",
    "bars_body",
    "epoch_ms",
    "execution_row",
    "legacy_quote",
    "market_body",
    "offset_text",
    "order_row",
    "pnl_row",
    "position_row",
    "quote_body",
    "snapshot_row",
    "strategy_row",
]

CHICAGO: Final = "America/Chicago"
"""The zone of the computer that NinjaTrader is thought to run on: its local times carry none."""

_TYPES: Final = {
    OrderType.MARKET: "Market",
    OrderType.LIMIT: "Limit",
    OrderType.STOP_MARKET: "StopMarket",
    OrderType.STOP_LIMIT: "StopLimit",
}
_EXCHANGES: Final = {"CME": "Globex", "": "Globex"}
_TIFS: Final = {TimeInForce.DAY: "Day", TimeInForce.GTC: "Gtc"}
_SIDES: Final = {Side.BUY: ("Buy", "Long"), Side.SELL: ("Sell", "Short")}


def epoch_ms(now: Ns) -> int:
    """An ``epoch`` in milliseconds, rounded down."""
    return now // MILLISECOND_NS


def _local(now: Ns) -> str:
    """NinjaTrader's local time: seven fractional digits and no zone (documented by example)."""
    return f"{to_datetime(now, CHICAGO):%Y-%m-%dT%H:%M:%S}.{now % SECOND_NS // 100:07d}"


def offset_text(now: Ns) -> str:
    """The same time with its offset, as the account snapshot has it (documented by example)."""
    offset = f"{to_datetime(now, CHICAGO):%z}"
    return f"{_local(now)}{offset[:3]}:{offset[3:]}"


# --- accounts --------------------------------------------------------------------------------------------------------


def account_row(venue: Venue, name: str) -> dict[str, Any]:
    """One of ListAccounts."""
    return {
        "id": venue.accounts.index(name) + 1,
        "name": name,
        "displayName": name,
        "primaryUser": None,
        "provider": "Simulator",
        "denomination": "UsDollar",
        "status": "Enabled",
        "dailyLossLimit": 0.0,
        "minCashValue": 0.0,
        "maxOrderSize": 0,
        "maxPositionSize": 0,
        "connection": "NinjaTrader.Cbi.Connection",
        "connectionStatus": "Connected",
        "lastTransactionSum": 0.0,
    }


def account_body(venue: Venue, name: str) -> dict[str, Any]:
    """GetAccount, with the 31 items; those that a simulator doesn't keep are 0, as in NinjaTrader."""
    money: Figures = venue.figures(name)
    told = {
        "cashValue": money.cash,
        "commission": money.fees,
        "excessInitialMargin": money.net_liquidation,
        "excessIntradayMargin": money.net_liquidation,
        "grossRealizedProfitLoss": money.gross,
        "netLiquidation": money.net_liquidation,
        "realizedProfitLoss": money.realized,
        "unrealizedProfitLoss": money.unrealized,
    }
    items = {key: told.get(key, 0.0) for key in AccountItems.__struct_encode_fields__}
    return {**account_row(venue, name), "item": items}


def snapshot_row(venue: Venue, name: str) -> dict[str, Any]:
    """One account of GetAccountSummary, with its positions."""
    body = account_body(venue, name)
    items = body.pop("item")
    positions = [position_row(venue, name, book) for book in venue.books(name) if book.position]
    kind = {"type": "NinjaTrader.Cbi.Account", "isAccountFlat": not positions}
    return {"account": {**body, **kind, "item": items}, "positions": positions}


def pnl_row(venue: Venue, name: str) -> dict[str, Any]:
    """One account of ``pnlUpdate``; its keys are assumed, since nobody outside has written them down."""
    money = venue.figures(name)
    return {
        "name": name,
        "account": name,
        "realizedProfitLoss": money.realized,
        "unrealizedProfitLoss": money.unrealized,
        "netLiquidation": money.net_liquidation,
        "cashValue": money.cash,
    }


# --- positions, orders, executions -----------------------------------------------------------------------------------


def position_row(venue: Venue, account: str, book: Book) -> dict[str, Any]:
    """A position; a flat one is ``Flat`` with zeros (assumed)."""
    held = book.position
    return {
        "type": "NinjaTrader.Cbi.Position",
        "account": account,
        "instrument": book.contract.name,
        "instrumentType": "Future",
        "marketPosition": "Long" if held > 0 else "Short" if held < 0 else "Flat",
        "quantity": abs(held),
        "averagePrice": book.average_price or 0.0,
        "marketPrice": venue.mark(book) or 0.0,
        "unrealizedProfitLoss": venue.unrealized(book),
    }


def order_row(order: VenueOrder) -> dict[str, Any]:
    """An order: the documented keys of GetOrder, and from ``name`` on the inferred ones."""
    return {
        "account": order.account,
        "orderId": order.id,
        "instrument": order.contract.name,
        "instrumentType": "Future",
        "orderType": _TYPES[order.type],
        "orderState": order.state.value,
        "quantity": order.quantity,
        "averageFillPrice": order.average_price,
        "filled": order.filled,
        "fromEntrySignal": order.strategy,
        "gtd": "2099-12-01T00:00:00.0000000",
        "hasOverfill": False,
        "isBacktestOrder": False,
        "limitPrice": order.limit_price or 0.0,
        "limitPriceChanged": 0.0,
        "name": order.name,
        "oco": order.oco or "",
        "orderAction": _SIDES[order.side][0],
        "quantityChanged": 0,
        "stopPrice": order.stop_price or 0.0,
        "stopPriceChanged": 0.0,
        "time": _local(order.placed),
        "timeInForce": _TIFS[order.tif],
        "tag": None,
    }


def execution_row(execution: VenueExecution) -> dict[str, Any]:
    """A fill: the documented keys, and from ``commission`` on the inferred ones."""
    fill, order = execution.fill, execution.order
    return {
        "id": execution.id,
        "type": "NinjaTrader.Cbi.Execution",
        "time": _local(fill.executed),
        "epoch": epoch_ms(fill.executed),
        "name": order.name or ("Entry" if execution.opens else "Exit"),
        "orderId": order.id,
        "account": fill.account,
        "serverName": "SIMULATOR",
        "instrument": fill.instrument,
        "instrumentType": "Future",
        "position": execution.position,
        "marketPosition": _SIDES[fill.side][1],
        "positionStrategy": 0,
        "price": fill.price,
        "quantity": fill.quantity,
        "commission": fill.fee,
        "rate": 1.0,
        "slippage": 0.0,
        "isEntry": execution.opens,
        "isExit": not execution.opens,
    }


def strategy_row(strategy: AtmStrategy) -> dict[str, Any]:
    """A running ATM strategy (inferred but for the id, a decimal text)."""
    return {
        "id": strategy.id,
        "name": strategy.template.name,
        "instrument": strategy.contract.name,
        "account": strategy.account,
    }


# --- market ----------------------------------------------------------------------------------------------------------


def quote_body(contract: Contract, seen: Tracked | None, is_open: bool, source: str = SIMULATED) -> dict[str, Any]:
    """GetQuote; ``source`` names the feed. Before an instrument's first quote prices and times are null (assumed)."""
    quote = seen.quote if seen else None
    local = to_datetime(quote.ts, CHICAGO) if quote else None
    return {
        **_facts(contract, "Future"),
        "tickSize": contract.tick_size,
        "pointValue": contract.point_value,
        "tickValue": contract.tick_value,
        "exchange": _EXCHANGES.get(contract.exchange, contract.exchange),
        "expiration": _expiration(contract).isoformat(),
        "tradingHours": "CME US Index Futures ETH",
        **_prices(seen),
        "quoteTime": None if local is None else f"{local:%m/%d/%Y} {_clock(local, '02')}",
        "quoteTimeUtc": None if quote is None else f"{to_datetime(quote.ts):%Y-%m-%d %H:%M:%S}",
        "epoch": None if quote is None else quote.ts // SECOND_NS,
        "dataSource": {"status": "Live", "connectedFeeds": [source]},
        "isMarketOpen": is_open,
    }


def legacy_quote(contract: Contract, seen: Tracked | None) -> dict[str, Any]:
    """The account-scoped form of GetQuote, which has fewer fields and other spellings of times."""
    local = to_datetime(seen.quote.ts, CHICAGO) if seen else None
    expires = _expiration(contract)
    return {
        **_facts(contract, "Future"),
        **_prices(seen),
        "tickSize": contract.tick_size,
        "pointValue": contract.point_value,
        "exchange": _EXCHANGES.get(contract.exchange, contract.exchange),
        "expiration": f"{expires.month}/{expires.day}/{expires.year} 12:00:00 AM",
        "tradingHours": "CME US Index Futures ETH",
        "quoteTime": None if local is None else f"{local.month}/{local.day}/{local.year} {_clock(local, '')}",
        "success": True,
    }


def bars_body(contract: Contract, kind: str, period: int, bars: Bars) -> dict[str, Any]:
    """GetBars, oldest first (by example); ``epoch`` is in milliseconds."""
    columns = (bars.label, bars.open, bars.high, bars.low, bars.close, bars.volume)
    return {
        "instrument": contract.name,
        "periodType": kind,
        "period": period,
        "count": len(bars),
        "bars": [
            {
                "time": utc_text(label),
                "epoch": epoch_ms(label),
                "open": opened,
                "high": high,
                "low": low,
                "close": close,
                "volume": volume,
            }
            for label, opened, high, low, close, volume in zip(*(each.tolist() for each in columns), strict=True)
        ],
    }


def _facts(contract: Contract, kind: str) -> dict[str, Any]:
    return {"instrument": contract.name, "description": contract.description, "type": kind}


def _prices(seen: Tracked | None) -> dict[str, Any]:
    if seen is None:
        return dict.fromkeys(("bid", "ask", "last", "open", "high", "low", "close", "volume"))
    quote = seen.quote
    return {
        "bid": quote.bid,
        "ask": quote.ask,
        "last": quote.last,
        "open": seen.open,
        "high": seen.high,
        "low": seen.low,
        "close": seen.close,
        "volume": quote.volume,
    }


def _expiration(contract: Contract) -> dt.date:
    """The first of the delivery month, as the documented example has it."""
    tail = contract.name.rpartition(" ")[2]
    month, _, year = tail.partition("-")
    if month.isdigit() and year.isdigit():
        return dt.date(2000 + int(year), int(month), 1)
    return dt.date(2099, 12, 1)


def _clock(local: dt.datetime, width: str) -> str:
    # By hand, since %p is in the words of the computer's own language.
    return f"{local.hour % 12 or 12:{width}}:{local:%M:%S} {'AM' if local.hour < 12 else 'PM'}"


def market_body(contract: Contract, now: Ns, *, always_open: bool) -> dict[str, Any]:
    """MarketInfo, by the hours of ``session_at``; holidays are not known here."""
    session = session_at(now)
    is_open = always_open or session.contains(now)
    turn = session.close if is_open else session.open
    left = (turn - now) / SECOND_NS
    upcoming = session_at(session.close)
    return {
        "success": True,
        "timestamp": utc_text(now),
        "instrument": contract.name,
        "timeZone": "Central Standard Time",
        "status": {"isOpen": is_open, "state": "Open" if is_open else "Closed"},
        "session": {
            "label": "Current Session" if is_open else "Next Session",
            **_span(session),
            "localStart": f"{to_datetime(session.open, CHICAGO):%Y-%m-%d %H:%M:%S}",
            "localEnd": f"{to_datetime(session.close, CHICAGO):%Y-%m-%d %H:%M:%S}",
            "countdown": _countdown(int(left)),
            "action": "Until Close" if is_open else "Until Open",
            "secondsRemaining": left,
        },
        "upcoming": _span(upcoming),
    }


def _countdown(seconds: int) -> str:
    """Hours, minutes and seconds; days before a dot, as .NET writes spans (assumed)."""
    days, seconds = divmod(seconds, 86_400)
    text = f"{seconds // 3_600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}"
    return f"{days}.{text}" if days else text


def _span(session: Session) -> dict[str, str]:
    return {"utcStart": utc_text(session.open), "utcEnd": utc_text(session.close)}
