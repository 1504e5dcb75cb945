"""What is known of one function of CrossTrade's: the shape of a row of ``rpc.TABLE``."""

from __future__ import annotations

import enum
from typing import Any

from attrs import field, frozen

from xtalgo.protocol.arguments import Argument, Certainty
from xtalgo.protocol.replies import Reader

__all__ = ["Lane", "RpcSpec"]


class Lane(enum.IntEnum):
    """How urgent a function is, most urgent first: the classes of the pacing queue, by the same names and numbers."""

    REDUCE = 0
    """Cancels, closes, flattens."""
    PLACE = 1
    """New orders and changes."""
    STATUS = 2
    """What became of one order."""
    POLL = 3
    """Routine reads."""
    HISTORY = 4
    """Bulk reads."""


@frozen
class RpcSpec:
    """One function.

    ``paths`` are REST routes, tried in order: the first whose ``{names}`` are all given is meant. A function without
    one can be called over the socket only.
    """

    name: str
    group: str
    method: str
    paths: tuple[str, ...]
    args: tuple[Argument, ...] = field(repr=False)
    read: Reader[Any] = field(repr=False)
    lane: Lane
    mutates: bool = False
    aliases: tuple[str, ...] = ()
    origin: str | None = None
    """What the socket message's ``origin`` must be."""
    certainty: Certainty = Certainty.DOCUMENTED
    """Of the name."""
    rest_certainty: Certainty = Certainty.DOCUMENTED
    """Of method and path."""
    body_certainty: Certainty = Certainty.DOCUMENTED
    """Of the reply's shape."""
    any_of: tuple[str, ...] = ()
    """At least one of these arguments must be given."""
    not_both: tuple[str, ...] = ()
    """At most one of these arguments may be given."""
    must_name: tuple[str, ...] = ()
    """Optional to the venue, but our client won't send without these."""
    everywhere: bool = False
    """It acts on every account, so our client wants an explicit word for it."""
    steps: bool = False
    """It does several things at the venue, so a refusal of one says little about the others."""
    note: str = ""

    @property
    def rest(self) -> str:
        """Method and path for people; empty where no route is known."""
        return f"{self.method} {self.paths[0]}" if self.paths else ""

    def argument(self, name: str) -> Argument | None:
        """The argument of that exact name."""
        return next((arg for arg in self.args if arg.name == name), None)
