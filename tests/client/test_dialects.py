"""One life of a client at a venue of each dialect: quotes, P&L, orders and reconnects come out the same."""

from __future__ import annotations

import json
from functools import cache
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tables import ES, START, table

from xtalgo import Bar, ContractBook, Instrument, OrderStatus, Quote, Strategy
from xtalgo.client.aslive import LEAD, Rehearsal, make_trader
from xtalgo.engine.risk import RiskLimits
from xtalgo.model.errors import ConfigError
from xtalgo.model.events import AccountPnl
from xtalgo.protocol.dialect import FIELDS, Dialect, plain, values_of
from xtalgo.sim.faults import Faults
from xtalgo.sim.feeds import TableFeed
from xtalgo.sim.fills import Fees, FillModel, Latency
from xtalgo.sim.server import SimServer

SECOND = 1_000_000_000
SPAN = 110


class Life(Strategy):
    """Enters with a bracket, rests an order far away, changes it, cancels it, rests another over a drop, closes."""

    instrument: Instrument = ES

    def on_start(self) -> None:
        self.seen: list[tuple[float, float]] = []
        self.pnl: list[AccountPnl] = []
        self.states: list[str] = []
        self.far: Any = None

    def on_quote(self, quote: Quote) -> None:
        self.seen.append((quote.bid, quote.ask))
        match round((quote.ts - START) / SECOND):
            case 5:
                self.buy(self.instrument, 2, stop_loss=400, take_profit=400)
            case 12:
                self.far = self.buy(self.instrument, 1, limit_price=quote.bid - 20)
            case 18 if self.far is not None:
                self.change(self.far, limit_price=quote.bid - 25)
            case 24 if self.far is not None:
                self.cancel(self.far)
            case 34:
                self.far = self.buy(self.instrument, 1, limit_price=quote.bid - 30)
            case 60 if self.far is not None:
                self.change(self.far, limit_price=quote.bid - 35)
            case 68 if self.far is not None:
                self.cancel(self.far)
            case 76:
                self.close(self.instrument)

    def on_order(self, order: Any) -> None:
        self.states.append(str(order.status))

    def on_pnl(self, pnl: AccountPnl) -> None:
        self.pnl.append(pnl)


def lived(dialect: Dialect, *, known: bool, faults: dict[str, Any] | None = None) -> tuple[Life, Any, SimServer]:
    """A life at a venue that speaks so; the client has read a dialect file, or it has not."""
    bids = [4800.0] * SPAN  # so that a second sooner or later makes no difference
    contracts = ContractBook()
    told = Dialect.from_table({name: plain(getattr(dialect, name)) for name in FIELDS}) if known else None
    strategy = Life()
    trader = make_trader(
        [strategy],
        contracts=contracts,
        accounts=("sim101",),
        limits=RiskLimits(),
        run="r",
        dialect=told,
    )
    server = SimServer(
        TableFeed(table(bids), contracts),
        contracts=contracts,
        fills=FillModel(),
        latency=Latency(entry=250_000_000, report=0),
        fees=Fees(),
        faults=Faults.from_table(faults or {"drop_at": [45.3]}),
        dialect=dialect,
    )
    strategy.frames = []
    trader.tape = lambda kind, _now, text: strategy.frames.append(text) if kind == "frame" else None
    rehearsal = Rehearsal(trader, server, START - LEAD)
    rehearsal.connect()
    rehearsal.run(START + (SPAN + 40) * SECOND)
    return strategy, trader, server


def story(strategy: Life, trader: Any, server: SimServer) -> dict[str, Any]:
    """What must not depend on the dialect."""
    assert trader.error is None
    engine = trader.engine
    venue = server.venue
    assert not venue.working("Sim101")
    assert all(not book.position for book in venue.books("Sim101"))
    orders = engine.blotter.orders.values()
    assert all(order.is_done for order in orders)
    assert not engine.anomalies if hasattr(engine, "anomalies") else True
    fills = engine.blotter.fills
    return {
        "quotes": len(strategy.seen),
        "fills": [(fill.side, fill.quantity, fill.price) for fill in fills],
        "venue": [(one.fill.side, one.fill.quantity, one.fill.price) for one in venue.executions],
        "orders": [(order.side, order.type, order.quantity, order.status) for order in orders],
        "placed": len(venue.orders),
        "doubts": OrderStatus.IN_DOUBT in {order.status for order in orders},
        "pnl": round(strategy.pnl[-1].realized or 0.0, 2),
    }


@cache
def baseline() -> dict[str, Any]:
    return story(*lived(Dialect(), known=False))


MOST = max(len(values_of(name)) for name in FIELDS)


def test_the_baseline_is_a_life() -> None:
    told = baseline()
    assert told["fills"] == told["venue"]
    assert len(told["fills"]) >= 2
    assert told["quotes"] > 90
    assert told["pnl"] != 0


@pytest.mark.parametrize("known", [True, False], ids=["file", "no file"])
@pytest.mark.parametrize("number", range(MOST))
def test_any_value_of_any_field_makes_no_difference(number: int, known: bool) -> None:
    """These few dialects have every value of every field among them."""
    dialect = Dialect(**{name: values_of(name)[number % len(values_of(name))] for name in FIELDS})
    assert _like(story(*lived(dialect, known=known)), dialect, known)


def _like(told: dict[str, Any], dialect: Dialect, known: bool) -> bool:
    expected = dict(baseline())
    if not known and dialect.pnl_keys.realized == "dayRealized":
        told["pnl"] = expected["pnl"]  # a key that nobody can guess: what isn't told is None, never zero
    assert told == expected
    return True


@settings(max_examples=15, deadline=None)
@given(st.builds(Dialect, **{name: st.sampled_from(values_of(name)) for name in FIELDS}), st.booleans())
def test_nor_do_any_together(dialect: Dialect, known: bool) -> None:
    assert _like(story(*lived(dialect, known=known)), dialect, known)


@pytest.mark.parametrize("number", range(MOST))
def test_lost_replies_at_any_venue_leave_the_truth(number: int) -> None:
    dialect = Dialect(**{name: values_of(name)[number % len(values_of(name))] for name in FIELDS})
    _, trader, server = lived(dialect, known=True, faults={"lose_reply": 0.15, "seed": number, "drop_at": [50]})
    assert trader.error is None
    fills = [(fill.side, fill.quantity, fill.price) for fill in trader.engine.blotter.fills]
    assert fills == [(one.fill.side, one.fill.quantity, one.fill.price) for one in server.venue.executions]
    held = {book.contract.name: book.position for book in server.venue.books("Sim101") if book.position}
    book = {desk.contract.name: desk.book.position for desk in trader.engine.every_desk() if desk.book.position}
    assert book == held


def test_a_key_that_nobody_can_guess_is_read_once_it_is_found_out() -> None:
    dialect = Dialect(pnl_keys=values_of("pnl_keys")[5])
    unknown, _, _ = lived(dialect, known=False)
    known, _, server = lived(dialect, known=True)
    assert {pnl.realized for pnl in unknown.pnl} == {None}
    assert known.pnl[-1].realized == pytest.approx(server.venue.figures("Sim101").realized)
    assert known.pnl[-1].net_liquidation == pytest.approx(server.venue.figures("Sim101").net_liquidation)


def test_names_alone_are_asked_about() -> None:
    """A list of names doesn't tell the provider: each account is asked about before it is traded."""
    _, trader, _ = lived(Dialect(accounts_form="bare names"), known=False)
    assert trader.setup.accounts == ("Sim101",)
    assert trader.is_running


@pytest.mark.parametrize("known", [True, False])
def test_names_of_real_accounts_are_not_traded(known: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from xtalgo.sim import bodies

    whole = bodies.account_row
    monkeypatch.setattr(bodies, "account_row", lambda venue, name: {**whole(venue, name), "provider": "Rithmic"})
    _, trader, server = lived(Dialect(accounts_form="names"), known=known)
    assert isinstance(trader.error, ConfigError)
    assert "not known to be a simulator (its provider is 'Rithmic')" in str(trader.error)
    assert not server.venue.orders


# --- events ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", ["key", "data", "flat"])
@pytest.mark.parametrize("form", ["plain", "nt8", "ninjatrader"])
def test_events_are_subscribed_to_where_there_are_any(form: str, body: str) -> None:
    """A pushed event is a hint to ask at once: the fill is seen sooner, and believed from the list."""
    dialect = Dialect(events=form, event_body=body)
    with_file, trader, _ = lived(dialect, known=True)
    without, other, _ = lived(dialect, known=False)
    kinds = [frame["type"] for frame in map(json.loads, with_file.frames) if str(frame.get("type")).endswith("Update")]
    assert kinds.count("orderUpdate") > 5
    assert kinds.count("executionUpdate") == kinds.count("positionUpdate") == len(trader.engine.blotter.fills)
    assert not any("orderUpdate" in text for text in without.frames)
    assert trader.health.unknown == 0
    assert trader.streams.events == form
    assert other.streams.events == "none"
    assert with_file.seen == without.seen
    seen = [fill.ts for fill in trader.engine.blotter.fills]
    polled = [fill.ts for fill in other.engine.blotter.fills]
    assert all(a <= b for a, b in zip(seen, polled, strict=True))


# --- quiet markets ---------------------------------------------------------------------------------------------------


def quiet(known: bool) -> Any:
    """A market that stands still for a minute, at a venue that doesn't repeat what stays."""
    from xtalgo import QuoteTable

    rows = [*range(20), *range(80, 120)]
    stamps = [START + row * SECOND for row in rows]
    bids = [4800.0 + row % 4 * 0.25 for row in rows]
    quotes = QuoteTable.from_rows((ES,), [0] * len(rows), stamps, bids, [bid + 0.25 for bid in bids], bids, rows)
    contracts = ContractBook()
    told = Dialect.from_table({"quote_repeats": "changes"}) if known else None
    trader = make_trader(
        [Life()], contracts=contracts, accounts=("Sim101",), limits=RiskLimits(), run="r", dialect=told
    )
    server = SimServer(
        TableFeed(quotes, contracts),
        contracts=contracts,
        fills=FillModel(),
        latency=Latency(entry=250_000_000, report=0),
        fees=Fees(),
        dialect=Dialect(quote_repeats="changes"),
    )
    rehearsal = Rehearsal(trader, server, START - LEAD)
    rehearsal.connect()
    rehearsal.run(START + 119 * SECOND)
    return trader


def test_a_quiet_market_is_no_dead_stream_where_quotes_are_not_repeated() -> None:
    assert quiet(known=True).health.drops == 0
    assert quiet(known=False).health.drops >= 1


# --- bars ------------------------------------------------------------------------------------------------------------


class Reader(Strategy):
    """Writes down the minutes that the venue tells."""

    instrument: Instrument = ES

    def on_start(self) -> None:
        self.made = self.bars(self.instrument, "1m", source="venue")
        self.told: list[tuple[int, int, float, float, float, float]] = []

    def on_bar(self, bar: Bar) -> None:
        self.told.append((bar.start, bar.end, bar.open, bar.high, bar.low, bar.close))


def minutes(dialect: Dialect, told: Dialect | None) -> list[Any]:
    bids = [4800.0 + 0.25 * (row * 7 % 31) for row in range(400)]
    contracts, strategy = ContractBook(), Reader()
    trader = make_trader(
        [strategy], contracts=contracts, accounts=("Sim101",), limits=RiskLimits(), run="r", dialect=told
    )
    server = SimServer(
        TableFeed(table(bids), contracts),
        contracts=contracts,
        fills=FillModel(),
        latency=Latency(entry=250_000_000, report=0),
        fees=Fees(),
        dialect=dialect,
    )
    rehearsal = Rehearsal(trader, server, START - LEAD)
    rehearsal.connect()
    rehearsal.run(START + 390 * SECOND)
    return strategy.told


@pytest.mark.parametrize("label", values_of("bar_label"))
@pytest.mark.parametrize("growing", values_of("growing_bar"))
def test_bars_are_the_same_whichever_end_they_are_named_by(label: str, growing: str) -> None:
    facts = {"bar_label": label, "growing_bar": growing}
    told = minutes(Dialect(**facts), Dialect.from_table(facts))
    assert len(told) >= 5
    assert told == minutes(Dialect(), None)
