"""``xtalgo pack``: journals of any runs to quote files, one per instrument and session, with their gaps marked."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

from attrs import frozen

from xtalgo.app.config import load_settings
from xtalgo.app.console import Screen, progress
from xtalgo.app.report import gap_lines
from xtalgo.data.packing import Packed, Packing
from xtalgo.model.errors import ConfigError
from xtalgo.model.sessions import iso, to_datetime
from xtalgo.model.types import Ns

__all__ = ["PackRequest", "pack"]


@frozen(kw_only=True)
class PackRequest:
    """What ``xtalgo pack`` was asked for."""

    files: Sequence[str]
    out: str
    instruments: Sequence[str] = ()
    force: bool = False
    config: str | None = None
    json: bool = False


def pack(request: PackRequest) -> None:
    """Pack what was asked for and say what came of it; raises XtalgoError before anything is written."""
    if not request.files:
        raise ConfigError("no journal given; for example: xtalgo pack run.db -o quotes")
    settings = load_settings(config=request.config, environment=os.environ)
    folder = Path(request.out)
    if folder.exists() and not folder.is_dir():
        raise ConfigError(f"-o {folder}: not a folder; the quotes go into one file per instrument and session")
    written: list[Packed] = []
    with progress("packing") as tell:
        packing = Packing([Path(file) for file in request.files], settings.contracts, request.instruments, tell)
        with packing:
            packing.survey()
            if not request.force:
                packing.check_free(folder)
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise ConfigError(f"-o {folder}: cannot be made: {error.strerror or error}") from None
            written += packing.write(folder)
    if request.json:
        _as_json(packing, written, sys.stdout)
    else:
        _show(packing, written, folder, Screen(sys.stdout))


def _show(packing: Packing, written: Sequence[Packed], folder: Path, screen: Screen) -> None:
    for notice in packing.notices:
        screen.text(f"Note: {notice}", "bold yellow")
    for one in written:
        screen.text(f"{one.path}: {one.quotes:,} quotes, {one.size:,} bytes, {_span(one)}")
        screen.text(f"  from {_time(one.start.at)} ({one.start.why}) to {_time(one.end.at)} ({one.end.why})")
    lines = gap_lines([gap for one in written for gap in one.gaps])
    screen.text(f"Gaps: {len(lines):,}, UTC; nothing is filled in" if lines else "Gaps: none")
    for line in lines:
        screen.text(f"  {line}")
    for reason, count in packing.left_out.most_common():
        screen.text(f"Left out: {count:,} quotes, {reason}")
    for journal, count in packing.overlapping.items():
        screen.text(f"Left out: {count:,} quotes of {journal}, from times that a journal named before it listened to")
    for source in dict.fromkeys(one.source for one in written):
        screen.text(f"Source: {source}")
    quotes, size = sum(one.quotes for one in written), sum(one.size for one in written)
    made_up = [one.synthetic for one in written]
    label = ", all SYNTHETIC: made up by a program" if all(made_up) else ""
    if any(made_up) and not all(made_up):
        label = f", {sum(made_up)} files of them SYNTHETIC: made up by a program"
    screen.text(f"{len(written)} files, {quotes:,} quotes, {size:,} bytes{label}")
    screen.text(f"Replay them: xtalgo run FILE --replay {folder}")


def _time(ts: Ns) -> str:
    return f"{to_datetime(ts):%Y-%m-%d %H:%M:%S} UTC"


def _span(one: Packed) -> str:
    first, last = to_datetime(one.first), to_datetime(one.last)
    till = f"{last:%H:%M:%S}" if first.date() == last.date() else f"{last:%Y-%m-%d %H:%M:%S}"
    return f"{first:%Y-%m-%d %H:%M:%S} to {till} UTC"


def _as_json(packing: Packing, written: Sequence[Packed], out: TextIO) -> None:
    facts = {
        "files": [_facts(one) for one in written],
        "quotes": sum(one.quotes for one in written),
        "left_out": dict(packing.left_out),
        "overlapping": dict(packing.overlapping),
        "notices": packing.notices,
    }
    out.write(json.dumps(facts, allow_nan=False) + "\n")
    out.flush()


def _facts(one: Packed) -> dict[str, Any]:
    return {
        "path": str(one.path),
        "instrument": one.instrument,
        "session": str(one.day),
        "quotes": one.quotes,
        "bytes": one.size,
        "first": iso(one.first),
        "last": iso(one.last),
        "start": {"at": iso(one.start.at), "why": one.start.why},
        "end": {"at": iso(one.end.at), "why": one.end.why},
        "gaps": [gap.facts for gap in one.gaps],
        "source": one.source,
        "synthetic": one.synthetic,
    }
