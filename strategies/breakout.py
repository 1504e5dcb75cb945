"""Donchian breakout on the venue's bars: a close beyond the highest high or lowest low of the bars before it."""

from __future__ import annotations

from collections.abc import Iterable

from xtalgo import Bar, History, Instrument, Strategy


class Breakout(Strategy):
    """Trade the break of a channel, with a stop at half its width; flat once a close returns to the middle.

    ``warm_up`` brings the bars of before the start; a replay knows them by ``--history``.
    """

    instrument: Instrument = "ES"
    period: str = "5m"
    length: int = 12
    quantity: int = 1

    def warm_up(self) -> Iterable[History]:
        return [History(self.instrument, self.period, self.length)]

    def on_start(self) -> None:
        self.channel = self.bars(self.instrument, self.period, source="venue")

    def on_bar(self, bar: Bar) -> None:
        if len(self.channel) <= self.length:
            return
        high, low = self.channel.high[-self.length - 1 : -1].max(), self.channel.low[-self.length - 1 : -1].min()
        position = self.position(self.instrument)
        if position and (bar.close - (high + low) / 2) * position < 0:
            self.close(self.instrument)
        elif not position and not self.orders(self.instrument):
            stop = max(4, round((high - low) / 2 / self.spec(self.instrument).tick_size))
            if bar.close > high:
                self.buy(self.instrument, self.quantity, stop_loss=stop)
            elif bar.close < low:
                self.sell(self.instrument, self.quantity, stop_loss=stop)
