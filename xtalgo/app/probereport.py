"""The report of a probe, as Markdown: versions, conclusions with their certainty, and every frame, names hidden."""

from __future__ import annotations

import json
import platform
from collections.abc import Iterable, Sequence
from typing import Final

from xtalgo.client.probing.script import Step
from xtalgo.live.prober import Note
from xtalgo.model.sessions import iso
from xtalgo.protocol.dialect import GROUPS, plain
from xtalgo.protocol.findings import Findings

__all__ = ["NOT_PROBED", "report_of"]

NOT_PROBED: Final = (
    "Close codes of a restart of the server and of an add-on that goes away: nobody can cause them safely.",
    "Frames about fills, and events of executions and positions: a probe lets nothing fill.",
    "What a refused call costs, and what ends a row of violations: it would take ten in a row, which close the socket.",
    "Caps on the volume of bars and executions: it would take much of them.",
)
"""What stays unknown after the best of probes, and why."""

_MOST: Final = 120


def report_of(findings: Findings, steps: Sequence[Step], notes: Sequence[Note]) -> str:
    """The report. Notes must be fit to be shown."""
    lines = [
        "# Report of xtalgo probe",
        "",
        "Names of accounts are hidden: the probed one reads ACCOUNT.",
        "",
    ]
    date = "" if findings.date is None else f"{findings.date:%Y-%m-%d %H:%M:%S} UTC"
    rows = [
        ("date", date),
        ("venue", findings.host),
        ("xtalgo", findings.version),
        ("Python", f"{platform.python_version()} on {platform.system()}"),
        *findings.about.items(),
    ]
    lines += _table(("what", "value"), rows)
    lines += ["", "## What was found out", ""]
    lines += _table(("field", "value", "certainty"), _facts(findings))
    lines += ["", "## What was not", ""]
    lines += _table(("field", "why"), ((f"`{name}`", why) for name, why in findings.unsettled.items()))
    lines += ["", "Not looked at by any probe:", "", *(f"- {text}" for text in NOT_PROBED)]
    for name, tells in (("door", "is it a simulator, is it flat"), *((step.name, step.tells) for step in steps)):
        lines += ["", f"## Step: {name}", "", f"{tells[0].upper()}{tells[1:]}.", "", *_frames(name, notes)]
    lines += ["", "## Tidying up", "", *_frames("tidy", notes)]
    return "\n".join(lines) + "\n"


def _facts(findings: Findings) -> Iterable[tuple[str, ...]]:
    for names in GROUPS.values():
        for name in names:
            if (fact := findings.facts.get(name)) is not None:
                value = json.dumps(plain(fact.value), ensure_ascii=False)
                yield f"`{name}`", f"`{value}`", f"likely: {fact.doubt}" if fact.doubt else "seen"


def _table(head: tuple[str, ...], rows: Iterable[Sequence[str]]) -> list[str]:
    cells = [[" ".join(cell.split()).replace("|", "\\|") for cell in row] for row in rows]
    if not cells:
        return ["Nothing."]
    return ["| " + " | ".join(head) + " |", "|" + "---|" * len(head), *("| " + " | ".join(row) + " |" for row in cells)]


def _frames(step: str, notes: Sequence[Note]) -> list[str]:
    found = [note for note in notes if note.step == step]
    if not found:
        return ["Nothing was sent."]
    shown = [f"{iso(note.at)} {'>' if note.is_ours else '<'} {note.text}" for note in found[:_MOST]]
    if len(found) > _MOST:
        shown.append(f"... and {len(found) - _MOST} frames more")
    fence = "`" * max(3, 1 + max(text.count("`") for text in shown))
    return [f"{fence}text", *shown, fence]
