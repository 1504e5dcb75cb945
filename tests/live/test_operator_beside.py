"""Somebody flattens the account by hand, over REST, while a run is live on it."""

from __future__ import annotations

from typing import Any

import trio
import trio.testing
from live.test_stories import ES, MINUTE, START, Holder, Run, ticks
from live.venues import SECOND, World, world_of

from xtalgo import External, OrderStatus
from xtalgo.engine.risk import DenyReason, TradingState


class Watcher(Holder):
    """A holder that writes down what others did."""

    def on_start(self) -> None:
        super().on_start()
        self.external: list[External] = []

    def on_external(self, external: External) -> None:
        self.external.append(external)


async def by_hand(world: World, path: str, body: bytes = b"{}") -> Any:
    return await world.host.request("demo", "POST", f"/v1/api/accounts/Sim101/{path}", {}, body)


async def test_the_run_keeps_its_socket_and_does_not_enter_again(autojump_clock: trio.testing.MockClock) -> None:
    world = world_of(ticks(20 * MINUTE))
    strategy = Watcher()
    run = Run(world, strategy=strategy)
    async with world.open(), trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await run.until(120)
        engine = run.trader.engine
        assert engine is not None
        assert strategy.position(ES) == 1
        assert (await by_hand(world, "orders/cancel")).status == 200
        assert (await by_hand(world, "positions/flatten")).status == 200
        await run.until(120 + 90)
        # The run has noticed: by its own lists, over the socket that it still has.
        assert world.dials == 1
        assert strategy.position(ES) == 0
        assert [(x.difference, x.position, x.taken) for x in strategy.external] == [(-1, 0, -1)]
        assert not [order for order in engine.blotter.orders.values() if order.is_open]
        assert not world.server.venue.working("Sim101")
        # It does not enter again.
        (seat,) = engine.seats.values()
        assert seat.gate.state is TradingState.REDUCING
        strategy.eager = True
        await run.until(120 + 120)
        assert any(DenyReason.REDUCING in reason for reason in strategy.denied)
        assert sum(book.position for book in world.server.venue.books("Sim101")) == 0
        # Until it is resumed.
        run.trader.halt("the operator says so", run.session.clock.now())
        run.session.carry(run.session.clock.now())
        await run.until(120 + 130)
        run.trader.halt("", run.session.clock.now())
        run.session.carry(run.session.clock.now())
        strategy.eager = True
        await run.until(120 + 180)
        assert strategy.position(ES) == 1
        nursery.cancel_scope.cancel()
    assert run.trader.error is None
    assert run.session.clock.now() >= START + 300 * SECOND
    assert {order.status for order in engine.blotter.orders.values()} >= {OrderStatus.DENIED, OrderStatus.FILLED}
