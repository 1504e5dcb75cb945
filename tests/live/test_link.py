"""The link against servers of every temper, in virtual time over memory streams."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing
from live.peers import (
    START,
    Peers,
    Script,
    Told,
    closing,
    deaf,
    dropping,
    forever,
    gone,
    mute,
    refusing,
    session,
    steady,
)
from trio_websocket import WebSocketConnection, wrap_server_stream

from xtalgo.live.clock import WallClock
from xtalgo.live.link import Link, LinkState
from xtalgo.live.redial import Ending, EndKind, Redial
from xtalgo.live.wires import Wire, WireClosed
from xtalgo.model.errors import LocalProtocolError
from xtalgo.model.types import SECOND_NS

pytestmark = pytest.mark.trio


class Rig:
    """A link, the servers it meets and what it told."""

    def __init__(self, nursery: trio.Nursery, *scripts: Script, pair=trio.testing.memory_stream_pair, **how) -> None:
        self.nursery = nursery
        self.told = Told()
        self.peers = Peers(nursery, *scripts, pair=pair)
        self.clock = WallClock(lambda: START)
        self.link = Link(self.peers.dial, self.told, self.clock, Redial(random.Random(1)), **how)
        self.ending: Ending | None = None

    async def run(self) -> None:
        self.ending = await self.link.run()


@asynccontextmanager
async def rigged(*scripts: Script, **how) -> AsyncIterator[Rig]:
    """A link that runs while the test looks on; afterwards nothing of it may be left."""
    async with trio.open_nursery() as nursery:
        rig = Rig(nursery, *scripts, **how)
        nursery.start_soon(rig.run)
        yield rig
        await rig.link.close()
        check(rig)
        nursery.cancel_scope.cancel()


async def to_the_end(*scripts: Script, **how) -> Rig:
    """Run a link until it ends by itself."""
    async with trio.open_nursery() as nursery:
        rig = Rig(nursery, *scripts, **how)
        await rig.run()
        check(rig)
        nursery.cancel_scope.cancel()
    return rig


def check(rig: Rig) -> None:
    """What holds after every story."""
    assert rig.link.state is LinkState.ENDED
    assert rig.link.opened is None
    assert rig.peers.left_open == 0
    assert rig.link.attempts == len(rig.peers.at)
    up = 0
    for line in rig.told.log:
        word, _, number = line.partition(" ")
        if word == "up":
            assert not up
            up = int(number)
        elif word == "down":
            assert up == int(number)
            up = 0
        elif word == "frame":
            assert up == int(number)
        else:
            assert up
    assert not up
    generations = [generation for _, generation in rig.told.ups]
    assert generations == list(range(1, len(generations) + 1))
    assert rig.link.generation == len(generations)


def near(waits: list[float], bases: list[float]) -> None:
    """Jitter shortens each wait by a quarter at most."""
    assert len(waits) == len(bases)
    for wait, base in zip(waits, bases, strict=True):
        assert 0.75 * base <= wait <= base, (waits, bases)


# --- redialling ------------------------------------------------------------------------------------------------------


async def test_waits_double_and_are_reset_by_a_minute_up(autojump_clock) -> None:
    async with rigged(*[gone] * 7, dropping(61), steady) as rig:
        await trio.sleep(300)
        near(rig.peers.waits[:7], [1, 2, 4, 8, 16, 30, 30])
        near([rig.peers.waits[7] - 61], [1])
        assert rig.link.state is LinkState.UP
        assert [down[3] is not None for down in rig.told.downs] == [True]
        assert rig.link.drops == 1
        assert rig.link.generation == 2
    assert rig.ending == Ending(EndKind.CLOSED, "the link was closed")


async def test_a_server_that_never_answers_the_handshake(autojump_clock) -> None:
    async with rigged(deaf) as rig:
        await trio.sleep(15.1)
        assert rig.link.state is LinkState.WAITING
        assert rig.link.last_reason == "the server didn't answer the WebSocket handshake within 15 s"
        await trio.sleep(42)
        near([wait - 15 for wait in rig.peers.waits], [1, 2, 4])
        assert rig.told.log == []


@pytest.mark.parametrize("status", [401, 403])
async def test_a_refused_token_ends(status: int, autojump_clock) -> None:
    rig = await to_the_end(gone, refusing(status, b"who are you"))
    assert rig.ending is not None
    assert rig.ending.kind is EndKind.TOKEN_REFUSED
    assert "who are you" in rig.ending.text
    assert rig.told.log == []


async def test_a_busy_server_is_dialled_again(autojump_clock) -> None:
    async with rigged(refusing(503), refusing(429), steady) as rig:
        await trio.sleep(5)
        near(rig.peers.waits, [1, 2])
        assert rig.link.state is LinkState.UP


async def test_a_takeover_ends(autojump_clock) -> None:
    rig = await to_the_end(closing(4001, "Session active elsewhere", after=3600))
    assert rig.ending is not None
    assert rig.ending.kind is EndKind.TAKEN_OVER
    assert rig.told.downs == [(1, "Session active elsewhere (code 4001)", (), None)]
    assert trio.current_time() == 3600


async def test_a_takeover_without_its_text_ends_after_a_long_wait(autojump_clock) -> None:
    rig = await to_the_end(dropping(5))
    assert rig.ending is not None
    assert rig.ending.kind is EndKind.TAKEN_OVER
    near([wait - 5 for wait in rig.peers.waits], [1, 2, 300 / 1, 1, 2])
    assert rig.peers.waits[2] == pytest.approx(305)
    assert [down[3] for down in rig.told.downs][-1] is None


@pytest.mark.parametrize(("after", "kind"), [(5, EndKind.TAKEN_OVER), (100, EndKind.ABUSE)])
async def test_a_second_1008_ends(after: float, kind: EndKind, autojump_clock) -> None:
    rig = await to_the_end(closing(1008, "rate", after=100), closing(1008, "rate", after=after))
    assert rig.ending is not None
    assert rig.ending.kind is kind
    assert rig.peers.waits == [pytest.approx(400)]


async def test_a_half_open_connection_is_redialled(autojump_clock) -> None:
    async with rigged(mute, steady) as rig:
        await trio.sleep(29.9)
        assert rig.link.state is LinkState.UP
        await trio.sleep(0.2)
        assert rig.told.downs[0][1] == "no answer to a ping within 10 s"
        assert rig.peers.left_open == 0  # nobody there to say farewell to
        await trio.sleep(5)
        near([rig.peers.waits[0] - 30], [1])
        await trio.sleep(600)
        assert rig.link.drops == 1  # the second server answers its pings


async def test_a_peer_that_reads_nothing_is_redialled(autojump_clock) -> None:
    """The writer is stuck, so the ping can't even leave."""
    async with rigged(mute, pair=lockstep_after_handshake) as rig:
        await trio.sleep(1)
        for key in "abc":
            assert rig.link.send("x" * 100, key=key)
        await trio.sleep(30)
        assert rig.told.downs[0][2] == ("b", "c")


async def test_a_frame_over_the_limit_is_told_and_redialled(autojump_clock) -> None:
    async def flood(ws: WebSocketConnection) -> None:
        await ws.send_message("x" * (4 * 1024 * 1024 + 1))
        await forever(ws)

    async with rigged(session(flood), steady) as rig:
        await trio.sleep(5)
        assert rig.told.downs[0][1] == "the server sent a frame of more than 4194304 characters (code 1009)"
        assert rig.link.state is LinkState.UP


async def test_connections_that_go_silent_early_are_no_takeover(autojump_clock) -> None:
    async with rigged(mute, ping_every=5, ping_timeout=5) as rig:
        await trio.sleep(200)
        assert len(rig.peers.at) > 6
        assert max(rig.peers.waits) <= 40
        assert rig.ending is None


async def test_redial_now_dials_at_once_and_then_backs_off(autojump_clock) -> None:
    async with rigged(steady) as rig:
        await trio.sleep(5)
        rig.link.redial_now("15 s of silence")
        rig.link.redial_now("said twice")
        await trio.sleep(0.01)
        assert rig.told.downs == [(1, "15 s of silence", (), 0.0)]
        assert rig.link.state is LinkState.UP
        await trio.sleep(4.99)
        rig.link.redial_now("again")
        await trio.sleep(5)
        near([rig.peers.waits[1] - 5], [1])
        await trio.sleep(100)
        assert rig.link.generation == 3


@pytest.mark.parametrize("script", [gone, deaf])
async def test_redial_now_leaves_a_link_alone_that_is_not_up(script: Script, autojump_clock) -> None:
    async with rigged(script) as rig:
        await trio.sleep(0.5)
        rig.link.redial_now("silence")
        await trio.sleep(0.1)
        assert len(rig.peers.at) == 1


async def test_a_redial_asked_for_by_the_sink(autojump_clock) -> None:
    async def talk(ws: WebSocketConnection) -> None:
        for _ in range(5):
            await ws.send_message("bad")
        await forever(ws)

    async with trio.open_nursery() as nursery:
        rig = Rig(nursery, session(talk), steady)
        rig.told.on_frame = lambda text: rig.link.redial_now("nonsense")
        nursery.start_soon(rig.run)
        await trio.sleep(10)
        assert rig.told.log == ["up 1", "frame 1", "down 1", "up 2"]
        await rig.link.close()
        check(rig)


# --- frames ----------------------------------------------------------------------------------------------------------


async def test_frames_keep_their_order_both_ways(autojump_clock) -> None:
    async def echo(ws: WebSocketConnection) -> None:
        while True:
            await ws.send_message(await ws.get_message())

    async with rigged(session(echo)) as rig:
        await trio.sleep(1)
        for number in range(1000):
            assert rig.link.send(str(number))
            if number % 100 == 0:
                await trio.sleep(0.1)
        await trio.sleep(1)
        assert [text for text, _ in rig.told.frames] == [str(number) for number in range(1000)]


async def test_frames_are_stamped_as_they_come(autojump_clock) -> None:
    async def tick(ws: WebSocketConnection) -> None:
        for _ in range(3):
            await trio.sleep(1)
            await ws.send_message("tick")
        await forever(ws)

    stamps: list[int] = []
    async with rigged(session(tick)) as rig:
        rig.told.frame = lambda text, now, generation: stamps.append(now)  # type: ignore[method-assign]
        await trio.sleep(5)
    assert stamps == [START + number * SECOND_NS for number in (1, 2, 3)]


async def test_nothing_is_kept_while_the_link_is_down(autojump_clock) -> None:
    async with trio.open_nursery() as nursery:
        rig = Rig(nursery, gone, closing(1001, after=1), steady)
        took: list[bool] = []
        rig.told.on_down = lambda: took.append(rig.link.send("in link_down", key="k"))
        assert not rig.link.send("before the start", key="k")
        nursery.start_soon(rig.run)
        await trio.sleep(0.1)
        assert not rig.link.send("while waiting", key="k")
        await trio.sleep(30)
        assert took == [False]
        await rig.link.close()
        assert not rig.link.send("after the end", key="k")
        check(rig)


async def test_what_the_sink_sends_at_link_up_goes_first(autojump_clock) -> None:
    got: list[str | bytes] = []

    async def listen(ws: WebSocketConnection) -> None:
        while True:
            got.append(await ws.get_message())

    async with trio.open_nursery() as nursery:
        rig = Rig(nursery, session(listen))
        rig.told.on_up = lambda: [rig.link.send(text) for text in ("subscribe", "streamPnl")] and None
        nursery.start_soon(rig.run)
        await trio.sleep(1)
        assert got == ["subscribe", "streamPnl"]
        await rig.link.close()


def lockstep_after_handshake():
    """A pair whose client can write the handshake and 50 bytes more; then writing waits for a reader."""
    ours, theirs = trio.testing.memory_stream_pair()
    return Narrow(ours), theirs


class Narrow(trio.abc.Stream):
    """A stream whose second write and all later ones never return."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.writes = 0

    async def send_all(self, data) -> None:
        self.writes += 1
        if self.writes > 1:
            await trio.sleep_forever()
        await self.stream.send_all(data)

    async def wait_send_all_might_not_block(self) -> None:
        await self.stream.wait_send_all_might_not_block()

    async def receive_some(self, max_bytes=None):
        return await self.stream.receive_some(max_bytes)

    async def aclose(self) -> None:
        await self.stream.aclose()


async def test_a_begun_frame_is_unknown_and_queued_ones_are_unsent(autojump_clock) -> None:
    async with rigged(dropping(10), steady, pair=lockstep_after_handshake) as rig:
        await trio.sleep(1)
        for key in ("begun", "queued", "later"):
            assert rig.link.send(f"frame {key}", key=key)
        assert rig.link.send("without a name")
        await trio.sleep(9.5)
        ((generation, _, unsent, wait),) = rig.told.downs
        assert (generation, unsent) == (1, ("queued", "later"))
        assert wait is not None
        await trio.sleep(5)
        assert rig.link.state is LinkState.UP


async def test_a_frame_called_unsent_is_never_written_later(autojump_clock) -> None:
    got: list[str | bytes] = []

    async def listen(ws: WebSocketConnection) -> None:
        while True:
            got.append(await ws.get_message())

    async with rigged(steady, session(listen)) as rig:
        await trio.sleep(1)
        rig.link.redial_now("silence")
        rig.link.send("order", key="order")
        rig.link.send("nameless")
        await trio.sleep(1)
        assert rig.told.downs[0][2] == ("order",)
        assert rig.link.send("next", key="next")
        await trio.sleep(1)
        assert got == ["next"]


async def test_written_frames_are_never_called_unsent(autojump_clock) -> None:
    async with rigged(dropping(10), steady) as rig:
        await trio.sleep(1)
        for key in "abc":
            rig.link.send(key, key=key)
        await trio.sleep(12)
        assert [down[2] for down in rig.told.downs] == [()]
        assert rig.told.stale == []


async def test_frames_of_the_last_moment_are_unsent(autojump_clock) -> None:
    """Queued in the same step in which the connection is given up."""
    async with rigged(steady) as rig:
        await trio.sleep(1)
        rig.link.redial_now("silence")
        assert rig.link.send("too late", key="k")
        await trio.sleep(0.1)
        assert rig.told.downs[0][2] == ("k",)
        assert rig.link.state is LinkState.UP


async def test_a_frame_that_went_stale_in_the_queue_is_not_written(autojump_clock) -> None:
    got: list[str | bytes] = []

    async def listen(ws: WebSocketConnection) -> None:
        while True:
            got.append(await ws.get_message())

    async with rigged(session(listen)) as rig:
        await trio.sleep(1)
        now = rig.clock.now()
        rig.link.send("late", key="late", deadline=now)
        rig.link.send("late and nameless", deadline=now - 1)
        rig.link.send("in time", key="in time", deadline=now + 1)
        await trio.sleep(1)
        assert got == ["in time"]
        assert [key for key, _ in rig.told.stale] == ["late"]


async def test_a_frame_that_cant_be_encoded_is_unsent_and_hurts_nobody(autojump_clock) -> None:
    got: list[str | bytes] = []

    async def listen(ws: WebSocketConnection) -> None:
        while True:
            got.append(await ws.get_message())

    async with rigged(session(listen)) as rig:
        await trio.sleep(1)
        rig.link.send("\ud800", key="bad")
        rig.link.send("good", key="good")
        await trio.sleep(1)
        assert got == ["good"]
        ((key, reason),) = rig.told.stale
        assert key == "bad"
        assert "surrogates" in reason
        assert rig.link.state is LinkState.UP


async def test_replies_that_came_before_the_end_are_read(autojump_clock) -> None:
    """The writer meets the end first; the reader still takes what was there."""

    class Ended:
        def __init__(self) -> None:
            self.frames = [f"reply {number}" for number in range(20)]

        async def send(self, text: str) -> None:
            raise WireClosed(1001, "restart")

        async def receive(self) -> str:
            await trio.sleep(0.01)
            if self.frames:
                return self.frames.pop(0)
            raise WireClosed(1001, "restart")

        async def ping(self) -> None:
            await trio.sleep_forever()

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    told = Told()

    async def dial() -> Wire:
        await trio.lowlevel.checkpoint()
        return Ended()

    link = Link(dial, told, WallClock(lambda: START), Redial())
    told.on_up = lambda: link.send("order", key="order") and None
    told.on_down = lambda: nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
    assert len(told.frames) == 20
    assert told.downs[0][:3] == (1, "restart (code 1001)", ())


async def test_a_reader_that_doesnt_see_the_end_is_not_waited_for(autojump_clock) -> None:
    class Stuck:
        async def send(self, text: str) -> None:
            raise WireClosed(None, "broken pipe")

        async def receive(self) -> str:
            await trio.sleep_forever()
            return ""

        async def ping(self) -> None:
            raise WireClosed(None, "broken pipe")

        async def aclose(self) -> None:
            await trio.lowlevel.checkpoint()

    async def dial() -> Wire:
        await trio.lowlevel.checkpoint()
        return Stuck()

    told = Told()
    link = Link(dial, told, WallClock(lambda: START), Redial(), ping_every=5)
    told.on_down = lambda: nursery.cancel_scope.cancel()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(link.run)
    assert told.downs[0][1] == "broken pipe"
    assert trio.current_time() == 6


# --- the end ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "at", "state"),
    [
        (deaf, 5.0, LinkState.DIALLING),
        (gone, 0.5, LinkState.WAITING),
        (steady, 5.0, LinkState.UP),
        (mute, 5.0, LinkState.UP),
        (mute, 25.0, LinkState.UP),
    ],
)
async def test_close_in_every_state(script: Script, at: float, state: LinkState, autojump_clock) -> None:
    async with rigged(script) as rig:
        await trio.sleep(at)
        assert rig.link.state is state
        if state is LinkState.UP:
            rig.link.send("x", key="x")
        await rig.link.close()
        assert trio.current_time() <= at + 2
        assert rig.ending is not None
        assert rig.ending.kind is EndKind.CLOSED
        assert rig.link.drops == 0
        await rig.link.close()


async def test_the_wait_counts_from_the_end_not_from_the_farewell(autojump_clock) -> None:
    async with rigged(mute) as rig:
        await trio.sleep(1)
        rig.link.redial_now("silence")
        await trio.sleep(3)
        rig.link.redial_now("silence")  # no farewell comes back, which takes two seconds
        await trio.sleep(3)
        assert rig.peers.at == [0, 3, 6]


async def test_close_while_the_last_connection_is_being_closed(autojump_clock) -> None:
    async with rigged(mute) as rig:
        for _ in range(4):
            await trio.sleep(10)
            assert rig.link.state is LinkState.UP
            rig.link.redial_now("silence")
        await trio.sleep(1)
        assert rig.peers.left_open == 1
        assert rig.link.state is LinkState.WAITING
        await rig.link.close()
        assert trio.current_time() == 42
        assert len(rig.peers.at) == 4


async def test_close_in_the_moment_in_which_a_connection_opens(autojump_clock) -> None:
    async with trio.open_nursery() as nursery:
        rig = Rig(nursery, steady)

        async def dial() -> Wire:
            with trio.CancelScope(shield=True):  # as if the answer came in the same step
                await trio.sleep(1)
                return await rig.peers.dial()

        rig.link = Link(dial, rig.told, rig.clock, Redial())
        nursery.start_soon(rig.run)
        await trio.sleep(0.5)
        await rig.link.close()
        assert rig.told.log == []
        check(rig)
        nursery.cancel_scope.cancel()


async def test_close_before_run(autojump_clock) -> None:
    async with trio.open_nursery() as nursery:
        rig = Rig(nursery, steady)
        await rig.link.close()
        await rig.run()
        assert rig.ending is not None
        assert rig.ending.kind is EndKind.CLOSED
        assert rig.peers.at == []


async def test_a_link_runs_once(autojump_clock) -> None:
    async with rigged(steady) as rig:
        await trio.sleep(1)
        with pytest.raises(LocalProtocolError, match="make a new one"):
            await rig.link.run()
        assert rig.link.state is LinkState.UP
    with pytest.raises(LocalProtocolError, match="make a new one"):
        await rig.link.run()


async def close_later(link: Link) -> None:
    await trio.sleep(1)
    await link.close()


async def test_a_sink_that_raises_leaves_nothing_open(autojump_clock) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("a bug in the sink")

    async def talk(ws: WebSocketConnection) -> None:
        await ws.send_message("hello")
        await forever(ws)

    for name in ("on_up", "on_frame", "on_down"):
        async with trio.open_nursery() as nursery:
            rig = Rig(nursery, session(talk))
            setattr(rig.told, name, fail)
            nursery.start_soon(close_later, rig.link)
            with pytest.raises((RuntimeError, ExceptionGroup)) as caught:
                await rig.run()
            assert "a bug in the sink" in repr(caught.value)
            assert rig.peers.left_open == 0
            assert rig.link.state is LinkState.ENDED
            nursery.cancel_scope.cancel()


async def _chatter(stream: trio.abc.Stream) -> None:
    """Accept late, talk, and close after a while, so that a link goes through all of its life."""
    async with trio.open_nursery() as nursery:
        await trio.sleep(0.3)
        request = await wrap_server_stream(nursery, stream)
        ws = await request.accept()
        for _ in range(3):
            await trio.sleep(0.3)
            await ws.send_message("news")
        await ws.aclose(1001, "restart")
        nursery.cancel_scope.cancel()


async def cancelled(script: Script, canceller: Callable[[trio.CancelScope], object]) -> Rig:
    """Run a link that is cancelled from outside; check that nothing is left of it."""
    base = trio.lowlevel.current_statistics().tasks_living
    async with trio.open_nursery() as nursery:
        rig = Rig(nursery, script, ping_every=0.5, ping_timeout=0.2)
        start = trio.current_time()
        with trio.CancelScope() as scope:
            nursery.start_soon(canceller, scope)  # type: ignore[arg-type]
            rig.told.on_up = lambda: [rig.link.send("order", key=key) for key in "ab"] and None
            await rig.run()
        assert scope.cancelled_caught
        check(rig)
        nursery.cancel_scope.cancel()
    assert trio.lowlevel.current_statistics().tasks_living == base
    assert trio.current_time() - start < 20
    return rig


async def test_cancellation_at_every_step_leaves_nothing(autojump_clock) -> None:
    seen: set[str] = set()
    for steps in range(60):

        async def later(scope: trio.CancelScope, steps: int = steps) -> None:
            for _ in range(steps):
                await trio.lowlevel.checkpoint()
            scope.cancel()

        rig = await cancelled(steady, later)
        seen.add(rig.told.downs[-1][1] if rig.told.downs else "never up")
    assert seen == {"never up", "cancelled"}


@pytest.mark.parametrize("script", [_chatter, mute, deaf, gone, refusing(503, b"busy")])
async def test_cancellation_at_every_moment_leaves_nothing(script: Script, autojump_clock) -> None:
    for number in range(40):

        async def later(scope: trio.CancelScope, number: int = number) -> None:
            await trio.sleep(number * 0.1)
            for _ in range(number % 7):
                await trio.lowlevel.checkpoint()
            scope.cancel()

        await cancelled(script, later)
