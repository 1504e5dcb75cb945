"""``xtalgo pack``: journals of runs as quote files."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Group, Parameter

from xtalgo.app.commands.options import CODES, option, switch
from xtalgo.app.config import CONFIG_FILE

__all__ = ["EPILOGUE", "pack"]

_PACK = Group.create_ordered("Options")

EPILOGUE = f"""
**What is in the files.** Every quote as it was on the wire, under the stamp with which the run got it. Where the link
was down, another client had taken over, no quote came for 15 seconds or more, or nobody listened between two runs, the
file says so from when to when, and why; nothing is filled in. The daily break and weekends are no gap. Where several
journals listened to the same instrument at the same time, the one that is named first counts.

{CODES}
"""


def pack(
    *files: Annotated[
        str,
        Parameter(
            name="RUN.db",
            help="Journals of runs of any kind (live, paper, demo, record), also of one that goes on.",
            group=_PACK,
        ),
    ],
    out: Annotated[str, option(_PACK, "FOLDER", "Folder to write to; it is made if need be.", "--out", "-o")],
    instrument: Annotated[
        tuple[str, ...],
        option(_PACK, "NAME", "Only this instrument, a root for all its months; may be repeated (default: all)."),
    ] = (),
    force: Annotated[bool, switch(_PACK, "Overwrite files.")] = False,
    json: Annotated[bool, switch(_PACK, "Print one JSON object on standard output.")] = False,
    config: Annotated[
        str | None,
        option(
            _PACK, "FILE", f"Settings file with facts of further instruments (default: {CONFIG_FILE}, if it is there)."
        ),
    ] = None,
) -> None:
    """Turn the journals of runs into quote files, one per instrument and session, that replay as they are.

    `xtalgo pack run.db -o quotes`, then `xtalgo run strategies/momo.py --replay quotes`
    """
    from xtalgo.app.pack import PackRequest
    from xtalgo.app.pack import pack as make

    make(PackRequest(files=files, out=out, instruments=instrument, force=force, config=config, json=json))
