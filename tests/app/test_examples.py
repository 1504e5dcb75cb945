"""The example strategies do what their docstrings say."""

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from app.support import BREAKOUT, FADE, MOMO, TOGETHER, quotes_text, write

from xtalgo import ContractBook, OrderType, ReplaySettings, Result, replay
from xtalgo.app.loader import load_strategies, parameters_of
from xtalgo.data.quotes import load_recording


def load(file: str, *p: str) -> Any:
    ((_, strategy),) = load_strategies([file], (), p)
    return strategy


def played(folder: Path, strategy: Any, count: int = 600) -> Result:
    path = write(folder, "es.csv", quotes_text(count))
    return replay(strategy, load_recording([path], ContractBook()).table)


def test_momo_is_long_above_short_below_and_holds_at_a_tie() -> None:
    momo = load(MOMO, "fast=1", "slow=3", "quantity=2")
    columns = SimpleNamespace(mid=np.array([10.0, 10.0, 13.0, 10.0, 7.0, 10.0, 10.0]))
    targets = momo.signal(columns)
    np.testing.assert_array_equal(targets, [np.nan, np.nan, 2, -2, -2, 2, 2])
    columns.mid[:] = 10.0
    assert np.isnan(momo.signal(columns)).all()
    assert momo.lookback == 3
    assert load(MOMO, "fast=9", "slow=4").lookback == 9


def test_momo_follows_a_wave(folder: Path) -> None:
    result = played(folder, load(MOMO, "instrument=ES", "fast=2", "slow=8"))
    assert len(result.round_trips) > 20
    assert {abs(fill.quantity) for fill in result.fills} == {1, 2}


def test_fade_has_one_bracketed_trade_at_a_time(folder: Path) -> None:
    result = played(folder, load(FADE, "length=40", "width=1.2", "stop_loss=5", "take_profit=5"))
    entries = [order for order in result.order_book if order.parent is None]
    assert len(entries) > 5
    assert all(order.type is OrderType.MARKET for order in entries)
    exits = [order for order in result.order_book if order.parent is not None]
    assert len(exits) >= 2 * (len(entries) - 1)
    position = 0
    for fill in result.fills:
        position += fill.side * fill.quantity
        assert abs(position) <= 1


def test_together_trades_in_all_accounts_or_in_none(folder: Path) -> None:
    strategy = load(TOGETHER, "length=5", "stop_loss=3", "take_profit=3")
    path = write(folder, "es.csv", quotes_text(600))
    accounts = ("Sim101", "Sim102", "Sim103")
    result = replay(strategy, load_recording([path], ContractBook()).table, ReplaySettings(accounts=accounts))
    entries = [order for order in result.order_book if order.parent is None]
    assert len(entries) > 15
    assert [order.account for order in entries] == list(accounts) * (len(entries) // 3)
    by_account = {name: [f.price for f in result.fills if f.account == name] for name in accounts}
    assert by_account["Sim101"] == by_account["Sim102"] == by_account["Sim103"]


def test_breakout_trades_closes_beyond_the_bars_before(folder: Path) -> None:
    strategy = load(BREAKOUT, "period=1m", "length=2")
    lines = quotes_text(3_000).splitlines()
    for second in range(3_000):  # up for ten minutes, down for ten
        stamp, name, *_, volume = lines[second + 1].split(",")
        bid = 5000 + (300 - abs(second % 1_200 - 600)) // 4 * 0.25 + second % 3 * 0.25
        lines[second + 1] = f"{stamp},{name},{bid},{bid + 0.25},{bid},{volume}"
    path = write(folder, "es.csv", "\n".join(lines))
    result = replay(strategy, load_recording([path], ContractBook()).table)
    entries = [order for order in result.order_book if order.parent is None and order.role == "entry"]
    assert len(entries) >= 4
    assert {order.side for order in entries} == {1, -1}
    bars = list(strategy.channel)
    for order in entries:
        newest = max(at for at, bar in enumerate(bars) if bar.end < order.created)
        before, bar = bars[newest - 2 : newest], bars[newest]
        if order.side > 0:
            assert bar.close > max(one.high for one in before)
        else:
            assert bar.close < min(one.low for one in before)


def test_the_examples_read_well() -> None:
    for file in (MOMO, FADE, TOGETHER, BREAKOUT):
        strategy = load(file)
        assert sys.modules[type(strategy).__module__].__doc__
        assert all(info.default is not None for info in parameters_of(type(strategy)))
        assert len(Path(file).read_text().splitlines()) < 40
