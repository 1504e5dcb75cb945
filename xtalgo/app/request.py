"""What ``xtalgo run`` was asked for, and which of it makes no sense together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from attrs import frozen

from xtalgo.app.config import SETTINGS
from xtalgo.model.errors import ConfigError

__all__ = ["Request", "refuse"]


@frozen(kw_only=True)
class Request:
    """What ``xtalgo run`` was asked for."""

    files: Sequence[str]
    replay: Sequence[str]
    history: Sequence[str]
    names: Sequence[str]
    parameters: Sequence[str]
    accounts: Sequence[str]
    flags: Mapping[str, str | bool | None]
    ideal: bool
    config: str | None
    sort: bool
    as_live: bool
    demo: bool
    paper: bool
    live: bool
    duration: float | None
    json: bool
    fills: str | None
    journal: str | None = None
    no_journal: bool = False
    resume: str | None = None
    accept_changes: bool = False

    @property
    def given(self) -> list[str]:
        """Which of the options that suit only some kinds of runs were given, as they are written."""
        switches = {
            "--history": bool(self.history),
            "--sort": self.sort,
            "--as-live": self.as_live,
            "--demo": self.demo,
            "--paper": self.paper,
            "--live": self.live,
            "--for": self.duration is not None,
            "--ideal": self.ideal,
            "--journal": self.journal is not None,
            "--no-journal": self.no_journal,
            "--resume": self.resume is not None,
            "--accept-changes": self.accept_changes,
        }
        flags = [SETTINGS[name].flag for name, value in self.flags.items() if value is not None]
        return [name for name, is_given in switches.items() if is_given] + flags


def refuse(request: Request, what: str, why: str, options: Sequence[str]) -> None:
    """ConfigError when one of some options was given, which makes no sense with ``what``."""
    for option in options:
        if option in request.given:
            raise ConfigError(f"{what} and {option} don't go together: {why}")
