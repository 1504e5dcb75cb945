"""The docs tell the truth: what is generated from the code is what the code says now.

To renew docs/design.md and docs/api.md after a change: python tests/test_docs.py
"""

from __future__ import annotations

import inspect
import re
from collections import Counter
from pathlib import Path

import pytest

from xtalgo.app.rpctable import argument_text, route_text
from xtalgo.client.functions import Functions
from xtalgo.engine.orders import TRANSITIONS
from xtalgo.engine.risk import DenyReason
from xtalgo.protocol.frames import Rpc
from xtalgo.protocol.rpc import TABLE, RpcSpec
from xtalgo.protocol.wire import encode_client
from xtalgo.sim.functions import FUNCTIONS

ROOT = Path(__file__).parents[1]
DESIGN = ROOT / "docs" / "design.md"
API = ROOT / "docs" / "api.md"


def diagram() -> str:
    lines = ["stateDiagram-v2", "    [*] --> draft"]
    lines += [f"    {a.value} --> {b.value}: {t.value}" for (a, t), b in TRANSITIONS.items() if a is not b]
    return "\n".join(lines)


def reasons() -> str:
    source = inspect.getsource(DenyReason)
    told = re.findall(r'= "(\w+)"\n    """(.+?)"""', source, re.DOTALL)
    assert [name for name, _ in told] == [reason.value for reason in DenyReason]
    return "\n".join(["| reason | meaning |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in told)])


def method(spec: RpcSpec) -> str:
    """The method of a client that calls a function, if it has one."""
    name = re.sub(r"(?<=[a-z])(?=[A-Z])", "_", spec.name).lower()
    return f"`{name}`" if callable(getattr(Functions, name, None)) else "no"


def roads(spec: RpcSpec) -> tuple[str, str, str, str]:
    """Over the socket, over REST, from the command line, at our own server."""
    encode_client(Rpc(id="x", api=spec.name, args={}, origin=spec.origin))
    socket = "yes" if spec.origin is None else f"yes, origin {spec.origin}"
    route = f"`{route_text(spec)}`" if spec.paths else "none known"
    command = "`rpc`" if spec.paths else "`rpc --ws`"
    return socket, route, command, "yes" if spec.name in FUNCTIONS else "no"


def functions() -> str:
    groups = Counter(spec.group for spec in TABLE)
    aliases = sum(len(spec.aliases) for spec in TABLE)
    served = sum(spec.name in FUNCTIONS for spec in TABLE)
    counts = ", ".join(f"{count} of {group}" for group, count in groups.items())
    lines = [
        f"{len(TABLE)} functions ({counts}) and {aliases} alias; {sum(bool(spec.paths) for spec in TABLE)} with a REST "
        f"route, {served} answered by our server.",
        "",
        "| group | function | arguments | lane | socket | REST | command line | server | Python "
        "| name | route | answer |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for spec in TABLE:
        names = " = ".join(f"`{name}`" for name in (spec.name, *spec.aliases))
        arguments = ", ".join(f"`{argument_text(each)}`" for each in spec.args).replace("|", "\\|")
        socket, route, command, server = roads(spec)
        known = [told.name.lower() for told in (spec.certainty, spec.rest_certainty, spec.body_certainty)]
        cells = [spec.group, names, arguments, spec.lane.name.lower(), socket, route, command, server, method(spec)]
        lines.append(f"| {' | '.join([*cells, *known])} |")
    lines += ["", "Notes, as far as anything is known:", ""]
    lines += [f"- `{spec.name}`: {spec.note}" for spec in TABLE if spec.note]
    return "\n".join(lines)


def renew_design(text: str) -> str:
    text = re.sub(r"(?<=```mermaid\n).*?(?=\n```)", lambda _: diagram(), text, flags=re.DOTALL)
    return re.sub(r"(?<=DenyReason -->\n).*?(?=\n\n)", lambda _: reasons(), text, flags=re.DOTALL)


def renew_api(text: str) -> str:
    start, end = "says how -->\n", "<!-- end of the generated part -->"
    head, rest = text.split(start)
    return f"{head}{start}\n{functions()}\n\n{end}{rest.split(end)[1]}"


PAGES = {DESIGN: renew_design, API: renew_api}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_what_is_generated_is_renewed(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert PAGES[page](text) == text, "run: python tests/test_docs.py"


def test_the_table_of_functions_has_them_all() -> None:
    text = API.read_text(encoding="utf-8")
    rows = re.findall(r"^\| [^|]+ \| `(\w+)`(?: = `(\w+)`)? \|.*\|$", text, re.MULTILINE)
    assert [name for name, _ in rows] == [spec.name for spec in TABLE]
    assert [alias for _, alias in rows if alias] == ["CancelOrder"]
    for line in text.splitlines():
        if line.startswith("| ") and "`" in line:
            assert len(re.split(r"(?<!\\)\|", line)) == 14, line
    assert [spec.name for spec in TABLE if method(spec) == "no"] == []


def test_readme_shows_the_example_that_is_shipped() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for verb in ("buy", "order_target", "change", "cancel_all", "close", "flatten", "halt", "subscribe", "note"):
        assert f"`{verb}" in readme


def test_readme_example_runs() -> None:
    """The strategy in the README, as it stands there, replays."""
    import sys
    import types

    from tables import table

    from xtalgo import ReplaySettings, replay

    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    code = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)[0]
    module = types.ModuleType("readme_example")
    sys.modules["readme_example"] = module
    exec(compile(code, "README.md", "exec"), vars(module))
    bids = [4800.0 + (row % 7) * 0.25 for row in range(320)] + [4803.0] * 5 + [4800.0] * 20
    result = replay(module.Fade(), table(bids), ReplaySettings.ideal())
    assert [fill.side.name for fill in result.fills][:1] == ["SELL"]
    assert result.round_trips


if __name__ == "__main__":
    for page, renew in PAGES.items():
        page.write_text(renew(page.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
