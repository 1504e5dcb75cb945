"""Recordings in virtual time: the real composition, over memory streams, against a simulated server."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import attrs
import msgspec
from app.liveruns import SERVER, TOKEN, Heard
from live.venues import World, virtual_wall
from tables import START

from xtalgo.app import journaling
from xtalgo.app.config import load_settings
from xtalgo.app.demo import demo_venue
from xtalgo.app.recording import Recording, Wanted
from xtalgo.app.venues import Target
from xtalgo.data.journal import read
from xtalgo.live.clock import WallClock
from xtalgo.sim.faults import Faults
from xtalgo.sim.outputs import Send

Row = tuple[int, str, float, float, float | None, int | None]


@attrs.define(eq=False)
class Take:
    """A recording and its venue; ``wire`` is what the server sent of quotes, with the moment of sending."""

    run: Recording
    world: World
    heard: Heard
    path: Path
    wire: list[Row] = attrs.field(factory=list)

    async def conduct(self, *, token: str = TOKEN, signals: bool = False) -> None:
        async with self.world.open():
            await self.run.conduct(self.world.dial(token), signals=signals)


@contextmanager
def take(
    path: Path,
    instruments: Sequence[str] = ("ES", "MNQ"),
    *,
    target: Target = SERVER,
    duration: float | None = 20,
    faults: dict[str, Any] | None = None,
    start: int = START,
    **wanted: Any,
) -> Iterator[Take]:
    """A recording that has not begun, of an endless synthetic market; its journal is open in the block."""
    settings = load_settings({})
    clock = WallClock(virtual_wall(start))
    server = demo_venue(settings, ("Sim101",), TOKEN, start)
    if faults is not None:
        server.faults = server._mishaps.faults = Faults.from_table(faults)
    heard = Heard()
    with journaling.begin(start, attrs.evolve(target, accounts=()), settings, (), str(path)) as keeping:
        assert keeping.journal is not None
        plan = Wanted(instruments=instruments, duration=duration, **wanted)
        run = Recording(plan, settings.contracts, keeping.journal, keeping.birth, heard, clock)
        found = Take(run, World(server, clock), heard, path)
        witness(found)
        yield found


def witness(take: Take) -> None:
    """Note the quotes that the server sends, when it does."""
    server, outputs = take.world.server, take.world.server.outputs

    def noted() -> list[Any]:
        sent = outputs()
        for output in sent:
            if isinstance(output, Send) and '"marketData"' in output.text:
                for row in msgspec.json.decode(output.text)["quotes"]:
                    facts = (row["instrument"], row["bid"], row["ask"], row.get("last"), row.get("volume"))
                    take.wire.append((server._now, *facts))
        return sent

    server.outputs = noted  # type: ignore[method-assign]


def inputs(path: Path) -> list[tuple[str, str | bytes]]:
    """What a journal has of inputs."""
    with read(path) as reader:
        return [(item.kind, item.text) for item in reader.inputs()]
