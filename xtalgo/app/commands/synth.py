"""``xtalgo synth``: synthetic recordings."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated

from cyclopts import Group

from xtalgo.app.commands.options import option, switch
from xtalgo.app.config import CONFIG_FILE, load_settings
from xtalgo.app.console import Screen, progress

__all__ = ["synth"]

_SYNTH = Group.create_ordered("Options")


def synth(
    *,
    out: Annotated[str, option(_SYNTH, "FOLDER", "Folder to write to; it is made if need be.")],
    instruments: Annotated[
        tuple[str, ...],
        option(_SYNTH, "NAMES", "Roots (they get the contract month) or dated names, with commas (default: ES,MNQ)."),
    ] = ("ES", "MNQ"),
    sessions: Annotated[int, option(_SYNTH, "N", "How many trading days, one after the other (default: 2).")] = 2,
    start: Annotated[
        str, option(_SYNTH, "DAY", "The first trading day, Monday to Friday (default: 2026-05-12).")
    ] = "2026-05-12",
    contract_month: Annotated[str, option(_SYNTH, "MM-YY", "Delivery month of the roots (default: 06-26).")] = "06-26",
    seed: Annotated[int, option(_SYNTH, "N", "The same seed gives the same quotes (default: 7).")] = 7,
    force: Annotated[bool, switch(_SYNTH, "Overwrite files.")] = False,
    config: Annotated[
        str | None,
        option(
            _SYNTH, "FILE", f"Settings file with facts of further instruments (default: {CONFIG_FILE}, if it is there)."
        ),
    ] = None,
) -> None:
    """Write seeded synthetic recordings, about one quote a second and instrument.

    One Parquet file per instrument and session, marked as synthetic and holding this command in its metadata.
    """
    from xtalgo.app.synth import SynthPlan, parse_day, split_names, write_sessions

    settings = load_settings(config=config, environment=os.environ)
    plan = SynthPlan(
        out=Path(out),
        instruments=split_names(instruments),
        sessions=sessions,
        start=parse_day(start),
        contract_month=contract_month,
        seed=seed,
    )
    screen = Screen(sys.stdout)
    everything = len(plan.instruments) * plan.sessions
    rows = size = 0
    with progress("writing") as tell:
        for count, written in enumerate(write_sessions(plan, settings.contracts, force=force), 1):
            screen.text(f"{written.path}: {written.rows:,} quotes, {written.size:,} bytes")
            rows, size = rows + written.rows, size + written.size
            if tell is not None:
                tell(count, everything)
    screen.text(f"{everything} files, {rows:,} quotes, {size:,} bytes, all SYNTHETIC; seed {plan.seed}")
