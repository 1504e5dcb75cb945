"""The docs tell the truth: what is generated from the code is what the code says now.

To renew docs/design.md after a change: python tests/test_docs.py
"""

from __future__ import annotations

import inspect
import re
from pathlib import Path

from xtalgo.engine.orders import TRANSITIONS
from xtalgo.engine.risk import DenyReason

ROOT = Path(__file__).parents[1]
DESIGN = ROOT / "docs" / "design.md"


def diagram() -> str:
    lines = ["stateDiagram-v2", "    [*] --> draft"]
    lines += [f"    {a.value} --> {b.value}: {t.value}" for (a, t), b in TRANSITIONS.items() if a is not b]
    return "\n".join(lines)


def reasons() -> str:
    source = inspect.getsource(DenyReason)
    told = re.findall(r'= "(\w+)"\n    """(.+?)"""', source, re.DOTALL)
    assert [name for name, _ in told] == [reason.value for reason in DenyReason]
    return "\n".join(["| reason | meaning |", "|---|---|", *(f"| `{name}` | {text} |" for name, text in told)])


def renew(text: str) -> str:
    text = re.sub(r"(?<=```mermaid\n).*?(?=\n```)", diagram(), text, flags=re.DOTALL)
    return re.sub(r"(?<=DenyReason -->\n).*?(?=\n\n)", reasons(), text, flags=re.DOTALL)


def test_design_is_renewed() -> None:
    text = DESIGN.read_text(encoding="utf-8")
    assert renew(text) == text, "run: python tests/test_docs.py"


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
    DESIGN.write_text(renew(DESIGN.read_text(encoding="utf-8")), encoding="utf-8", newline="\n")
