"""``xtalgo verify``: a run lived again from its journal."""

from __future__ import annotations

import sys
from typing import Annotated

from cyclopts import Parameter

from xtalgo.app.commands.options import CODES
from xtalgo.app.console import Screen

__all__ = ["EPILOGUE", "verify"]

EPILOGUE = f"""
**What is compared.** The inputs that the journal holds go through the strategies as they are stored in it, once more.
Every event that the engine was handed and every decision must be the same. A strategy that looks at a clock, a file, a
random number or the order of a set will differ.

{CODES}
"""


def verify(
    file: Annotated[str, Parameter(name="FILE", help="The journal of a run that has ended.")],
) -> None:
    """Live a run again from its journal, and see that it decides the same.

    `xtalgo verify run.db`
    """
    from xtalgo.app.verify import verify_run

    verify_run(file, Screen(sys.stdout).text)
