"""A replay worked out on paper: twenty quotes, five orders, every price, fee, position and dollar.

ES: a tick is 0.25 points and $12.50. Entry latency 250 ms, report latency 1 s, slippage 1 tick, $2 a contract and
side. Quotes come once a second, the ask one tick above the bid.

    q   bid      ask      what happens
    0   4800.00  4800.25  order 1: buy 2 at the market; it arrives at 0.25 s
    1   4800.25  4800.50  fills 2 at 4800.50 + 1 tick = 4800.75, fee $4; seen at 2 s
    2   4800.50  4800.75
    3   4800.75  4801.00  order 2: sell 1 limit 4801.50; order 3: sell 1 stop 4799.50
    4   4801.00  4801.25
    5   4801.25  4801.50
    6   4801.50  4801.75  the bid touches 4801.50: not through, no fill
    7   4801.75  4802.00  through: order 2 fills at its limit, 4801.50: (4801.50 - 4800.75) x $50 = $37.50
    8   4801.00  4801.25
    9   4800.50  4800.75
    10  4800.00  4800.25
    11  4799.50  4799.75  the bid reaches the stop: order 3 fills at 4799.50 - 1 tick = 4799.25:
                          (4799.25 - 4800.75) x $50 = -$75.00; flat
    12  4799.25  4799.50  order 4: sell 1 stop-limit, stop 4798.75, limit 4798.50
    13  4799.00  4799.25
    14  4798.75  4799.00  the bid reaches the stop; now a limit that the bid is above: it takes the bid, 4798.75,
                          less 1 tick of slippage, and no worse than its limit: 4798.50; short 1
    15  4798.00  4798.25  order 5: buy 1 at the market
    16  4797.50  4797.75  fills at 4797.75 + 1 tick = 4798.00: (4798.50 - 4798.00) x $50 = $25.00; flat
    17  4797.75  4798.00
    18  4798.00  4798.25
    19  4798.25  4798.50

Realised: 37.50 - 75.00 + 25.00 = -12.50. Fees: 6 contracts' sides x $2 = $12. Net: -24.50.
Round trips: 37.50 - 75.00 - 8 = -45.50 and 25.00 - 4 = 21.00.
Net P&L marked at the exit side: q1 -54, q2 -29, q3 -4, q4 21, q5 46, q6 71, q7 81.50 (the peak), q8 44, q9 19,
q10 -6, q11 to q13 -45.50, q14 -72.50 (the trough), q15 -35, q16 on -24.50. Drawdown: 81.50 + 72.50 = 154.
In the market from q1 to q11 and from q14 to q16: 12 of 19 seconds.
"""

from __future__ import annotations

import pytest
from tables import ES, SECOND, START, table

from xtalgo import (
    Fees,
    FillModel,
    Instrument,
    Latency,
    OrderStatus,
    Quote,
    ReplaySettings,
    Result,
    Side,
    Strategy,
    replay,
)

BIDS = [
    *(4800.00, 4800.25, 4800.50, 4800.75, 4801.00, 4801.25, 4801.50, 4801.75, 4801.00, 4800.50),
    *(4800.00, 4799.50, 4799.25, 4799.00, 4798.75, 4798.00, 4797.50, 4797.75, 4798.00, 4798.25),
]


class Scripted(Strategy):
    instrument: Instrument = "ES"

    def on_start(self) -> None:
        self.row = -1
        self.positions: list[int] = []

    def on_quote(self, quote: Quote) -> None:
        self.row += 1
        self.positions.append(self.position(quote.instrument))
        match self.row:
            case 0:
                self.buy(self.instrument, 2)
            case 3:
                self.sell(self.instrument, 1, limit_price=4801.50)
                self.sell(self.instrument, 1, stop_price=4799.50)
            case 12:
                self.sell(self.instrument, 1, stop_price=4798.75, limit_price=4798.50)
            case 15:
                self.buy(self.instrument, 1)


@pytest.fixture
def strategy() -> Scripted:
    return Scripted()


@pytest.fixture
def result(strategy: Scripted) -> Result:
    settings = ReplaySettings(
        fills=FillModel(slippage=1), latency=Latency(entry=SECOND // 4, report=SECOND), fees=Fees(commission=2.0)
    )
    return replay(strategy, table(BIDS), settings)


def test_every_fill(result: Result) -> None:
    fills = [(f.executed - START, f.ts - START, f.order_id, f.side, f.quantity, f.price, f.fee) for f in result.fills]
    assert fills == [
        (1 * SECOND, 2 * SECOND, "r-1", Side.BUY, 2, 4800.75, 4.0),
        (7 * SECOND, 8 * SECOND, "r-2", Side.SELL, 1, 4801.50, 2.0),
        (11 * SECOND, 12 * SECOND, "r-3", Side.SELL, 1, 4799.25, 2.0),
        (14 * SECOND, 15 * SECOND, "r-4", Side.SELL, 1, 4798.50, 2.0),
        (16 * SECOND, 17 * SECOND, "r-5", Side.BUY, 1, 4798.00, 2.0),
    ]


def test_the_strategy_sees_each_fill_a_second_late(strategy: Scripted, result: Result) -> None:
    assert result.quotes == len(strategy.positions) == 20
    assert strategy.positions == [0, 0, 2, 2, 2, 2, 2, 2, 1, 1, 1, 1, 0, 0, 0, -1, -1, 0, 0, 0]


def test_every_order(result: Result) -> None:
    assert [order.status for order in result.order_book] == [OrderStatus.FILLED] * 5
    assert [order.average_price for order in result.order_book] == [4800.75, 4801.50, 4799.25, 4798.50, 4798.00]
    assert (result.orders, result.rpcs, result.denials) == (5, 5, {})


def test_money(result: Result) -> None:
    assert result.realized_pnl == -12.50
    assert result.open_pnl == 0.0
    assert result.fees == 12.0
    assert result.net_pnl == -24.50
    assert [trip.pnl for trip in result.round_trips] == [-45.50, 21.00]
    assert result.win_rate == 0.5
    assert result.profit_factor == pytest.approx(21.00 / 45.50)


def test_equity(result: Result) -> None:
    expected = [0, -54, -29, -4, 21, 46, 71, 81.5, 44, 19, -6, -45.5, -45.5, -45.5, -72.5, -35, -24.5, -24.5]
    assert result.equity.pnl.tolist() == [*expected, -24.5, -24.5]
    assert result.max_drawdown == 154.0
    assert result.time_in_market == pytest.approx(12 / 19)


def test_open_position_is_marked_where_it_could_be_closed() -> None:
    class Hold(Strategy):
        instrument: Instrument = ES

        def on_quote(self, quote: Quote) -> None:
            self.order_target(self.instrument, 1)

    result = replay(Hold(), table(BIDS[:3]), ReplaySettings.ideal())
    assert [fill.price for fill in result.fills] == [4800.50]
    assert (result.open_pnl, result.realized_pnl, result.round_trips) == (0.0, 0.0, ())
    assert result.equity.pnl.tolist() == [0.0, -12.5, 0.0]
