"""What a strategy class is: parameters, what is refused, and when."""

from __future__ import annotations

import types
from collections.abc import Callable
from typing import Any, ClassVar, Optional

import attrs
import numpy as np
import pytest
from tables import ES, MNQ, SECOND, START, table

from xtalgo import (
    Columns,
    ContractBook,
    Instrument,
    Order,
    OrderStatus,
    Quote,
    ReplaySettings,
    Side,
    SignalStrategy,
    Strategy,
    StrategyError,
    replay,
)
from xtalgo.engine.engine import Engine
from xtalgo.engine.strategy import instrument_parameters
from xtalgo.model.errors import ConfigError
from xtalgo.model.events import Tick

IDEAL = ReplaySettings.ideal()


def start(strategy: Strategy, held: tuple[str, ...] = (ES, MNQ)) -> Engine:
    contracts = ContractBook()
    engine = Engine([strategy], contracts=contracts, pin=lambda text: contracts.pin(text, held))
    engine.start(START)
    return engine


class Cross(Strategy):
    instrument: Instrument = "ES"
    fast: int = 20
    slow: int = 100
    width: float = 2.0

    kinds: ClassVar[tuple[str, ...]] = ("a", "b")
    version = 3


# --- parameters ------------------------------------------------------------------------------------------------------


def test_annotated_fields_are_parameters() -> None:
    assert [item.name for item in attrs.fields(Cross)] == ["instrument", "fast", "slow", "width"]
    strategy = Cross(fast=5, instrument="NQ")
    assert (strategy.instrument, strategy.fast, strategy.slow, strategy.width) == ("NQ", 5, 100, 2.0)
    assert (Cross().fast, Cross.version, Cross().kinds) == (20, 3, ("a", "b"))


def test_parameters_are_given_by_keyword() -> None:
    with pytest.raises(TypeError):
        Cross("ES")  # type: ignore[misc]
    with pytest.raises(TypeError, match="medium"):
        Cross(medium=50)  # type: ignore[call-arg]
    for name in ("kinds", "version"):
        with pytest.raises(TypeError, match=name):
            Cross(**{name: 1})


def test_a_parameter_without_a_default_must_be_given() -> None:
    class Needs(Strategy):
        threshold: float
        instrument: Instrument = "ES"

    with pytest.raises(TypeError, match="threshold"):
        Needs()  # type: ignore[call-arg]
    assert Needs(threshold=1.5).threshold == 1.5


def test_a_strategy_may_keep_state_of_its_own() -> None:
    strategy = Cross()
    strategy.anything = 1  # type: ignore[attr-defined]
    assert strategy.anything == 1  # type: ignore[attr-defined]
    assert "anything" not in vars(Cross())


def test_strategies_are_themselves_and_nothing_else() -> None:
    assert Cross() != Cross()
    assert len({Cross(), Cross()}) == 2


def test_parameters_show() -> None:
    assert repr(Cross(fast=7)).endswith("Cross(instrument='ES', fast=7, slow=100, width=2.0)")


def test_inheritance() -> None:
    class Wide(Cross):
        width: float = 5.0
        extra: int = 1

    class Wider(Wide):
        fast: int = 3

    assert {item.name for item in attrs.fields(Wider)} == {"instrument", "fast", "slow", "width", "extra"}
    strategy = Wider(slow=9)
    assert (strategy.fast, strategy.slow, strategy.width, strategy.extra) == (3, 9, 5.0, 1)
    assert (Wide().fast, Cross().width) == (20, 2.0)
    assert instrument_parameters(Wider) == ["instrument"]
    with pytest.raises(TypeError):
        Cross(extra=1)  # type: ignore[call-arg]


def test_inherited_callbacks_and_helpers() -> None:
    class Base(Strategy):
        instrument: Instrument = "ES"

        def on_start(self) -> None:
            self.seen = 0

        def on_quote(self, quote: Quote) -> None:
            self.seen += self.weight()

        def weight(self) -> int:
            return 1

    class Double(Base):
        def weight(self) -> int:
            return super().weight() * 2

    strategy = Double()
    replay(strategy, table([4800.0] * 5), IDEAL)
    assert strategy.seen == 10


def test_mixins() -> None:
    class Counting:
        def count(self) -> int:
            self.counted = getattr(self, "counted", 0) + 1
            return self.counted

    class Mixed(Counting, Strategy):
        instrument: Instrument = "ES"

        def on_quote(self, quote: Quote) -> None:
            self.count()

    strategy = Mixed()
    replay(strategy, table([4800.0] * 3), IDEAL)
    assert strategy.counted == 3


# --- what is refused -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [Strategy, SignalStrategy, Cross])
def test_an_own_init_is_refused_with_a_hint(base: type[Strategy]) -> None:
    def __init__(self: object) -> None: ...

    with pytest.raises(StrategyError, match=r"Own defines __init__; declare parameters .* set up in on_start\(\)"):
        types.new_class("Own", (base,), exec_body=lambda names: names.update(__init__=__init__))


@pytest.mark.parametrize(
    "value", [[], {}, set(), bytearray(), np.zeros(3), [1], {"a": 1}], ids=lambda value: type(value).__name__
)
def test_a_mutable_default_is_refused_with_a_hint(value: object) -> None:
    def body(names: dict[str, Any]) -> None:
        names.update(__annotations__={"levels": "object"}, levels=value)

    with pytest.raises(StrategyError, match=r"Own.levels has a mutable default shared .*; set it in on_start\(\)"):
        types.new_class("Own", (Strategy,), exec_body=body)


def test_a_fresh_mutable_default_is_fine() -> None:
    class Fresh(Strategy):
        levels: list[float] = attrs.field(factory=list)

    assert Fresh().levels == []
    assert Fresh().levels is not Fresh().levels


# --- instruments -----------------------------------------------------------------------------------------------------

SOURCE = """
from typing import Annotated, ClassVar, Optional
from xtalgo import Instrument, Strategy

class Many(Strategy):
    first: Instrument = "ES"
    name: str = "ES"
    pair: tuple[Instrument, ...] = ("ES", "MNQ")
    two: tuple[Instrument, Instrument] = ("ES", "MNQ")
    count: int = 3
    maybe: Optional[Instrument] = "ES"
    other: Instrument | None = "ES"
    words: tuple[str, ...] = ()
    text: Annotated[str, "something else"] = "ES"
    fixed: ClassVar[Instrument] = "ES"

class More(Many):
    last: Instrument = "MNQ"
"""


@pytest.mark.parametrize("future", ["", "from __future__ import annotations\n"], ids=["plain", "postponed"])
def test_instrument_parameters(future: str, monkeypatch: pytest.MonkeyPatch) -> None:
    module = types.ModuleType("many")
    monkeypatch.setitem(__import__("sys").modules, "many", module)
    exec(compile(future + SOURCE, "many.py", "exec", dont_inherit=True), module.__dict__)
    assert instrument_parameters(module.Many) == ["first", "pair", "two", "maybe", "other"]
    assert set(instrument_parameters(module.More)) == {"first", "pair", "two", "maybe", "other", "last"}
    assert "fixed" not in {item.name for item in attrs.fields(module.Many)}


def test_without_instrument_parameters() -> None:
    class Plain(Strategy):
        name: str = "ES"
        levels: Optional[tuple[float, ...]] = None  # noqa: UP045

    assert instrument_parameters(Plain) == []


class Basket(Strategy):
    lead: Instrument = "es1!"
    rest: tuple[Instrument, ...] = ("MNQM6", "es 6-26")

    def on_start(self) -> None:
        self.found = (self.lead, self.rest)
        self.heard: list[str] = []

    def on_quote(self, quote: Quote) -> None:
        self.heard.append(quote.instrument)


def test_instruments_are_canonical_before_on_start() -> None:
    strategy = Basket()
    assert (strategy.lead, strategy.rest) == ("es1!", ("MNQM6", "es 6-26"))
    start(strategy)
    assert strategy.found == (ES, (MNQ, ES))


def test_it_hears_quotes_of_its_instruments_once_each_and_of_nothing_else() -> None:
    nq = "NQ 06-26"
    strategy = Basket()
    engine = start(strategy, (ES, MNQ, nq))
    for n, name in enumerate((ES, MNQ, nq, ES)):
        engine.handle(Quote(START + n, name, 4800.0, 4800.25))
    assert strategy.heard == [ES, MNQ, ES]


def test_an_instrument_that_is_not_held() -> None:
    with pytest.raises(ConfigError, match="the recording has no 'NQ'; it holds ES 06-26"):
        replay(Cross(instrument="NQ"), table([4800.0]), IDEAL)


# --- parameters are fixed for the run --------------------------------------------------------------------------------


class Fickle(Strategy):
    instrument: Instrument = "ES"
    size: int = 1
    where: str = "on_quote"
    trades: bool = True

    def act(self, where: str) -> None:
        if where == self.where:
            self.size = 2
        if self.trades and where == "on_quote":
            self.buy(self.instrument, 1)

    def on_start(self) -> None:
        self.after(1.5, "x")
        self.act("on_start")

    def on_quote(self, quote: Quote) -> None:
        self.act("on_quote")

    def on_timer(self, tag: str) -> None:
        self.act("on_timer")

    def on_order(self, order: Order) -> None:
        self.act("on_order")

    def on_fill(self, fill: object) -> None:
        self.act("on_fill")


@pytest.mark.parametrize("where", ["on_start", "on_quote", "on_timer", "on_order", "on_fill"])
def test_a_parameter_that_is_set_in_a_callback_is_an_error(where: str) -> None:
    with pytest.raises(StrategyError, match=r"Fickle\.size is a parameter and fixed for the run"):
        replay(Fickle(where=where), table([4800.0] * 5), IDEAL)


@pytest.mark.parametrize("where", ["on_start", "on_quote", "on_timer"])
def test_the_same_without_an_order_ever(where: str) -> None:
    with pytest.raises(StrategyError, match=r"Fickle\.size is a parameter and fixed for the run"):
        replay(Fickle(where=where, trades=False), table([4800.0] * 5), IDEAL)


def test_an_instrument_that_is_set_in_a_callback_is_an_error() -> None:
    class Hops(Strategy):
        instrument: Instrument = "ES"

        def on_quote(self, quote: Quote) -> None:
            self.instrument = MNQ
            self.buy(MNQ, 1)

    engine = start(Hops())
    with pytest.raises(StrategyError, match=r"Hops\.instrument is a parameter"):
        engine.handle(Quote(START, ES, 4800.0, 4800.25))


def test_parameters_may_be_set_before_the_run_and_states_during_it() -> None:
    class Steady(Strategy):
        instrument: Instrument = "ES"
        size: int = 1

        def on_start(self) -> None:
            self.count = 0

        def on_quote(self, quote: Quote) -> None:
            self.count += 1
            self.order_target(self.instrument, self.size)

    strategy = Steady()
    strategy.size = 3
    result = replay(strategy, table([4800.0] * 5), IDEAL)
    assert strategy.count == 5
    assert [fill.quantity for fill in result.fills] == [3]


# --- before the start ------------------------------------------------------------------------------------------------

ORDER = object()
VERBS: dict[str, Callable[[Strategy], object]] = {
    "now": lambda s: s.now,
    "account": lambda s: s.account,
    "accounts": lambda s: s.accounts,
    "position": lambda s: s.position(ES),
    "account_position": lambda s: s.account_position(ES),
    "quote": lambda s: s.quote(ES),
    "spec": lambda s: s.spec(ES),
    "window": lambda s: s.window(ES, 5),
    "bars": lambda s: s.bars(ES, "5m"),
    "watch_account": lambda s: s.watch_account(),
    "watch_watermarks": lambda s: s.watch_watermarks(),
    "subscribe": lambda s: s.subscribe(ES),
    "orders": lambda s: s.orders(),
    "buy": lambda s: s.buy(ES, 1),
    "sell": lambda s: s.sell(ES, 1),
    "order_target": lambda s: s.order_target(ES, 1),
    "buy_group": lambda s: s.buy_group(ES, 1),
    "sell_group": lambda s: s.sell_group(ES, 1),
    "target_group": lambda s: s.target_group(ES, 1),
    "close_group": lambda s: s.close_group(ES),
    "change": lambda s: s.change(ORDER, quantity=1),  # type: ignore[arg-type]
    "cancel": lambda s: s.cancel(ORDER),  # type: ignore[arg-type]
    "cancel_all": lambda s: s.cancel_all(),
    "close": lambda s: s.close(ES),
    "flatten": lambda s: s.flatten(),
    "halt": lambda s: s.halt("enough"),
    "after": lambda s: s.after(1),
    "every": lambda s: s.every(1),
    "at": lambda s: s.at("09:45"),
    "note": lambda s: s.note("hello"),
}


def test_every_public_name_of_a_strategy_is_a_callback_or_a_verb() -> None:
    callbacks = {
        *("on_start", "on_quote", "on_bar", "on_fill", "on_order", "on_timer", "on_pnl", "on_link"),
        *("on_external", "on_group", "on_stop", "warm_up", "on_account", "on_watermarks"),
    }
    public = {name for name in dir(Strategy) if not name.startswith("_")}
    assert public - callbacks == set(VERBS)
    assert callbacks <= public


@pytest.mark.parametrize("verb", VERBS)
def test_a_verb_before_the_start_says_so(verb: str) -> None:
    with pytest.raises(StrategyError, match=r"Cross is not running yet; use on_start\(\)"):
        VERBS[verb](Cross())


def test_verbs_work_from_on_start_on() -> None:
    class Early(Strategy):
        instrument: Instrument = "ES"

        def on_start(self) -> None:
            self.begun = (self.now, self.account, self.accounts, self.position("ES"), self.quote("ES"))
            self.first = self.buy(self.instrument, 2)
            assert self.orders() == [self.first]

    strategy = Early()
    engine = start(strategy)
    assert strategy.begun == (START, "Sim101", ("Sim101",), 0, None)
    assert (strategy.first.side, strategy.first.status) == (Side.BUY, OrderStatus.QUEUED)
    assert strategy.spec("ESM26").name == ES
    engine.handle(Tick(START + SECOND))
    assert strategy.now == START + SECOND


# --- signals ---------------------------------------------------------------------------------------------------------


class Up(SignalStrategy):
    instrument: Instrument = "ES"
    rows: int = 3

    @property
    def lookback(self) -> int:
        return self.rows

    def signal(self, columns: Columns) -> np.ndarray:
        return np.ones(len(columns))


def test_a_signal_trades_once_its_lookback_is_full() -> None:
    result = replay(Up(rows=4), table([4800.0 + n for n in range(8)]), IDEAL)
    assert [(fill.quantity, fill.side) for fill in result.fills] == [(1, Side.BUY)]
    assert result.fills[0].ts >= START + 3 * SECOND
    assert attrs.fields(Up)[0].name == "instrument"
    assert [item.name for item in attrs.fields(Up)] == ["instrument", "rows"]


def test_a_signal_must_say_its_lookback_and_itself() -> None:
    class NoLookback(SignalStrategy):
        instrument: Instrument = "ES"

    class NoSignal(Up):
        signal = SignalStrategy.signal

    with pytest.raises(StrategyError, match="NoLookback must say its lookback"):
        start(NoLookback())
    with pytest.raises(StrategyError, match=r"NoSignal must define signal\(columns\)"):
        replay(NoSignal(), table([4800.0] * 5), IDEAL)


def test_a_signal_speaks_of_one_instrument() -> None:
    class None_(SignalStrategy):
        name: str = "ES"

    class Two(Up):
        second: Instrument = "MNQ"

    class Several(SignalStrategy):
        instruments: tuple[Instrument, ...] = ("ES", "MNQ")

    for kind in (None_, Two, Several):
        with pytest.raises(StrategyError, match=f"{kind.__name__} must have exactly one parameter annotated Instrum"):
            start(kind())


@pytest.mark.parametrize("rows", [0, -1, 2.5, True])
def test_a_lookback_is_a_positive_whole_number(rows: Any) -> None:
    with pytest.raises(StrategyError, match="lookback must be a positive whole number"):
        start(Up(rows=rows))
