"""Mean reversion: sell when the price is far above its recent mean, buy when it is far below, leave by a bracket.

    xtalgo run strategies/fade.py --replay backtest_data -p width=3 -p take_profit=12

An example of the event-driven form: it looks at each quote, at its position and at its orders. It is here to be
copied, not to earn money.
"""

from xtalgo import Instrument, Quote, RollingMean, RollingStd, Strategy


class Fade(Strategy):
    instrument: Instrument = "ES"  # a root: the one ES contract of the recording
    length: int = 300  # quotes, about a second each
    width: float = 2.5  # standard deviations
    stop_loss: int = 8  # ticks from the fill
    take_profit: int = 8
    quantity: int = 1

    def on_start(self) -> None:
        self.mean = RollingMean(self.length)
        self.std = RollingStd(self.length)

    def on_quote(self, quote: Quote) -> None:
        mean, std = self.mean.update(quote.mid), self.std.update(quote.mid)
        if not self.std.ready or self.position(quote.instrument) or self.orders(quote.instrument):
            return  # one trade at a time; orders() has the bracket's exits too
        if quote.mid > mean + self.width * std:
            self.sell(quote.instrument, self.quantity, stop_loss=self.stop_loss, take_profit=self.take_profit)
        elif quote.mid < mean - self.width * std:
            self.buy(quote.instrument, self.quantity, stop_loss=self.stop_loss, take_profit=self.take_profit)
