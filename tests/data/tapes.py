"""Journals that were never lived: inputs written as a run would write them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from data.journals import header
from tables import SECOND, START

from xtalgo import ContractBook
from xtalgo.data.journal import Journal
from xtalgo.data.packing import Packed, Packing
from xtalgo.data.quotes import Recording, load_recording

TAKEOVER = "Session active elsewhere (code 4001)"
SERVER = '{"mode":"server","url":"ws://127.0.0.1:8765/ws/stream"}'
DEMO = '{"mode":"demo"}'
FIRST = 5000.0


def market(*rows: tuple[Any, ...]) -> str:
    """A frame of ``(instrument, bid)`` or ``(instrument, bid, ask, last, volume)`` rows; None is left out."""
    quotes = []
    for name, bid, *more in rows:
        ask, last, volume = more if more else (bid + 0.25, bid, 7)
        facts = {"instrument": name, "bid": bid, "ask": ask, "last": last, "volume": volume}
        quotes.append({key: value for key, value in facts.items() if value is not None})
    return json.dumps({"type": "marketData", "quotes": quotes})


class Tape:
    """Writes one journal; times are seconds since START (whole numbers of nanoseconds with ``ns``)."""

    def __init__(self, path: Path, settings: str = SERVER, **changes: Any) -> None:
        self.path = path
        self.journal = Journal.create(path, header(settings=settings, **{"strategies": (), **changes}))
        self.number = 0
        self.lives = 0

    def __enter__(self) -> Tape:
        self.journal.__enter__()
        return self

    def __exit__(self, *error: Any) -> None:
        self.journal.__exit__(*error)

    def input(self, seconds: float, kind: str, text: str = "{}", *, ns: int | None = None) -> None:
        self.number += 1
        self.journal.input(self.number, START + round(seconds * SECOND) if ns is None else ns, kind, text)

    def start(self, seconds: float, **how: Any) -> None:
        self.lives += 1
        self.input(seconds, "start", '{"head":1}' if self.lives == 1 else f'{{"head":{self.lives}}}', **how)

    def up(self, seconds: float, **how: Any) -> None:
        self.input(seconds, "link_up", **how)

    def down(self, seconds: float, reason: str = "reset", **how: Any) -> None:
        self.input(seconds, "link_down", json.dumps({"reason": reason, "unsent": []}), **how)

    def quotes(self, seconds: float, *rows: tuple[Any, ...], **how: Any) -> None:
        self.input(seconds, "frame", market(*(rows or (("ES 06-26", FIRST),))), **how)

    def every_second(self, begin: int, end: int, *rows: tuple[Any, ...]) -> None:
        """A frame at each second from ``begin`` until before ``end``."""
        for second in range(begin, end):
            self.quotes(second, *(rows or (("ES 06-26", FIRST + second % 40 * 0.25),)))

    def lose(self, count: int) -> None:
        """So many inputs came while the drive was full."""
        self.number += count


def packed(folder: Path, *paths: Path, wanted: tuple[str, ...] = ()) -> tuple[Packing, list[Packed], Recording]:
    """What some journals come to, and what a replay would read."""
    folder.mkdir(parents=True, exist_ok=True)
    with Packing(list(paths), ContractBook(), wanted) as packing:
        packing.survey()
        packing.check_free(folder)
        made = list(packing.write(folder))
    assert [one.path for one in made] == packing.files(folder)
    return packing, made, load_recording([folder], ContractBook())


def spans(packing_or_recording: Any) -> list[tuple[str, float, float, str]]:
    """Gaps in seconds since START."""
    return [
        (gap.instrument, (gap.start - START) / SECOND, (gap.end - START) / SECOND, gap.why)
        for gap in packing_or_recording.gaps
    ]
