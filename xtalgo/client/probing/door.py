"""At the door: is it a simulator, is it flat, what does the instrument stand for? A probe that may not begin raises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from xtalgo.client.probing.script import Probe, Reply, Script
from xtalgo.model.errors import ConfigError, VenueError
from xtalgo.protocol.choices import AccountsForm, ListForm
from xtalgo.protocol.market import QuoteSnapshot
from xtalgo.protocol.replies import Answer, read_accounts, read_orders, read_positions, read_quotes
from xtalgo.protocol.rows import Account, OrderRow, Position

__all__ = ["enter", "listed_orders", "listed_positions", "priced"]


def enter(probe: Probe) -> Script[None]:
    """Look whether the account may be probed. Raises ConfigError when it may not, VenueError when it isn't told."""
    row = yield from _account(probe)
    held = yield from listed_positions(probe)
    if held:
        what = ", ".join(f"{one.net:+d} {one.instrument}" for one in held)
        raise ConfigError(f"{probe.account} holds {what}: a probe begins in a flat account; xtalgo flatten closes it")
    working = [row for row in (yield from listed_orders(probe)) if not row.state.is_done]
    if working:
        what = f"{len(working)} working order{'s' if len(working) > 1 else ''}"
        raise ConfigError(f"{probe.account} has {what}: a probe begins in an account without any; cancel them first")
    about = probe.findings.about
    about["account"] = f"{row.provider or 'provider not told'}, {row.connection_status or 'connection not told'}"
    yield from _instrument(probe)


def _good(probe: Probe, reply: Reply, what: str) -> Reply:
    if not reply.is_good:
        raise VenueError(f"{what}: the venue refused it: {probe.redaction.text(reply.error)}")
    return reply


def _account(probe: Probe) -> Script[Account]:
    reply = _good(probe, (yield from probe.ask("ListAccounts")), "ListAccounts")
    answer = read_accounts(reply.body)
    if not isinstance(answer, Answer):
        raise VenueError(f"ListAccounts: an answer of no use: {answer.why}")
    rows: dict[str, Account] = {row.name.casefold(): row for row in answer.value}
    row = rows.get(probe.account.strip().casefold())
    if row is None:
        known = ", ".join(sorted(one.name for one in rows.values())) or "none"
        raise ConfigError(f"there is no account {probe.account!r}; the venue has: {known}")
    probe.account = probe.redaction.account = row.name
    for one in rows.values():
        probe.redaction.others |= {name for name in (one.name, one.display_name) if name}
    probe.redaction.others.discard(row.name)
    if row.provider is None:
        row = yield from _asked_alone(probe, row)
    if not row.is_simulator:
        what = "not told" if row.provider is None else repr(row.provider)
        raise ConfigError(
            f"{row.name} is not known to be a simulator (its provider is {what}): only simulator accounts are probed"
        )
    if row.is_connected is False:
        raise ConfigError(f"{row.name} is not connected in NinjaTrader: connect it first")
    form = _accounts_form(reply.body)
    if form is None:
        probe.leave(f"neither form is known: {probe.shown(reply.line)}", "accounts_form")
    else:
        probe.settle("accounts_form", form, reply.line)
    return row


def _asked_alone(probe: Probe, row: Account) -> Script[Account]:
    """The account by itself, where the list tells names alone."""
    reply = _good(probe, (yield from probe.ask("GetAccount", account=row.name)), "GetAccount")
    answer = read_accounts([reply.body] if isinstance(reply.body, Mapping) else reply.body)
    found: Account = answer.value[0] if isinstance(answer, Answer) and len(answer.value) == 1 else row
    return found


def _accounts_form(body: Any) -> AccountsForm | None:
    rows = body.get("accounts") if isinstance(body, Mapping) else body
    if not isinstance(rows, list) or not rows:
        return None
    if all(isinstance(row, Mapping) for row in rows):
        return AccountsForm.BARE_OBJECTS if rows is body else AccountsForm.OBJECTS
    if all(isinstance(row, str) for row in rows):
        return AccountsForm.BARE_NAMES if rows is body else AccountsForm.NAMES
    return None


def listed_positions(probe: Probe) -> Script[list[Position]]:
    """What the account holds. Raises VenueError where the list can't be believed."""
    reply = _good(probe, (yield from probe.ask("ListPositions", account=probe.account)), "ListPositions")
    answer = read_positions(reply.body)
    rows = _own(probe, answer, "ListPositions")
    return [row for row in rows if row.net]


def listed_orders(probe: Probe) -> Script[list[OrderRow]]:
    """The orders of the account, finished ones too. Raises VenueError where the list can't be believed."""
    reply = _good(probe, (yield from probe.ask("ListOrders", account=probe.account)), "ListOrders")
    rows = _own(probe, read_orders(reply.body), "ListOrders")
    if isinstance(reply.body, list):
        probe.settle("orders_form", ListForm.BARE, reply.line)
    elif isinstance(reply.rows.get("orders"), list):
        probe.settle("orders_form", ListForm.WRAPPED, reply.line)
    else:
        probe.leave(f"neither form is known: {probe.shown(reply.line)}", "orders_form")
    return list(rows)


def _own(probe: Probe, answer: Any, what: str) -> tuple[Any, ...]:
    if not isinstance(answer, Answer) or not answer.is_complete:
        why = "; ".join(answer.faults) if isinstance(answer, Answer) else answer.why
        raise VenueError(f"{what}: the list can't be read ({why}), so nothing is known of the account")
    wanted = probe.account.casefold()
    return tuple(row for row in answer.value if row.account is None or row.account.casefold() == wanted)


def _price(probe: Probe, quote: QuoteSnapshot) -> None:
    probe.tick = quote.tick_size or 0.0
    probe.market = next((price for price in (quote.last, quote.bid, quote.close) if price), None)


def priced(probe: Probe) -> Script[None]:
    """Ask for a price once more: an instrument that nobody had asked for may have had none at the door."""
    for _ in range(5):
        reply = yield from probe.ask("GetQuote", instrument=probe.instrument)
        answer = read_quotes(reply.body)
        if isinstance(answer, Answer) and len(answer.value) == 1:
            _price(probe, answer.value[0])
        if probe.has_price:
            return
        yield from probe.listen(2.0)


def _instrument(probe: Probe) -> Script[None]:
    reply = _good(probe, (yield from probe.ask("GetQuote", instrument=probe.instrument)), "GetQuote")
    answer = read_quotes(reply.body)
    if not isinstance(answer, Answer) or len(answer.value) != 1:
        raise ConfigError(f"{probe.instrument!r}: the venue did not answer with one contract; give a dated name")
    quote = answer.value[0]
    probe.instrument = quote.instrument
    _price(probe, quote)
    probe.is_open = quote.is_market_open
    if probe.is_open is None:
        told = yield from probe.ask("MarketInfo", instrument=probe.instrument)
        status = told.rows.get("status")
        is_open = status.get("isOpen") if isinstance(status, Mapping) else None
        probe.is_open = is_open if isinstance(is_open, bool) else None
    probe.findings.about["market"] = {True: "open", False: "closed", None: "not told"}[probe.is_open]
