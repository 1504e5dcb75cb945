"""One decision in every account: a breakout that all accounts trade together, or none of them.

    xtalgo run strategies/together.py --replay backtest_data --account Sim101 --account Sim102 --account Sim103

An example of groups: one order in each account under one time limit, and an answer for when some accounts have it and
others don't. It is here to be copied, not to earn money.
"""

from xtalgo import Instrument, OrderGroup, Quote, RollingMax, RollingMin, Strategy


class Together(Strategy):
    instrument: Instrument = "ES"
    length: int = 900  # quotes, about a second each
    quantity: int = 1
    stop_loss: int = 10  # ticks from the fill
    take_profit: int = 20

    def on_start(self) -> None:
        self.high, self.low = RollingMax(self.length), RollingMin(self.length)

    def on_quote(self, quote: Quote) -> None:
        high, low = self.high.value, self.low.value
        self.high.update(quote.mid)
        self.low.update(quote.mid)
        if not self.high.ready or high is None or low is None or low <= quote.mid <= high:
            return
        if any(self.position(self.instrument, account=name) or self.orders(account=name) for name in self.accounts):
            return  # one trade at a time, over all accounts
        go = self.buy_group if quote.mid > high else self.sell_group
        go(self.instrument, self.quantity, stop_loss=self.stop_loss, take_profit=self.take_profit, all_or_none=True)

    def on_group(self, group: OrderGroup) -> None:
        if group.is_diverged and group.verb != "close":
            self.note(group.report())
            self.close_group(self.instrument, accounts=group.accounts)  # nothing is undone unless somebody does
