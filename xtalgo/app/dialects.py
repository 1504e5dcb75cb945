"""Which dialect a run reads: a file that is named, or the one that ``xtalgo probe`` left in the user's data folder."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import platformdirs
from attrs import frozen

from xtalgo.app.config import Settings
from xtalgo.data.dialects import read_findings
from xtalgo.protocol.dialect import FIELDS, Dialect
from xtalgo.protocol.findings import Findings

__all__ = ["Spoken", "dialect_path", "host_of", "spoken"]


def host_of(url: str) -> str:
    """Host and port of an address, in lower case."""
    return urlsplit(url).netloc.rpartition("@")[2].casefold()


def dialect_path(url: str) -> Path:
    """Where the dialect of a venue lies when no file is named: in the user's data folder of this platform."""
    name = re.sub(r"[^a-z0-9.]+", "-", host_of(url)).strip("-.")
    return platformdirs.user_data_path("xtalgo", appauthor=False) / f"dialect-{name}.toml"


_ASSUMED: Final = Dialect()


@frozen
class Spoken:
    """A dialect, and where it was read; without a file everything is assumed."""

    dialect: Dialect = _ASSUMED
    path: Path | None = None
    findings: Findings | None = None

    @property
    def told(self) -> str:
        """In a few words, for the start of a run."""
        if self.path is None or self.findings is None:
            return "assumed: xtalgo probe finds it out on a simulator account"
        when = "" if self.findings.date is None else f" of {self.findings.date:%Y-%m-%d}"
        return f"{self.path}{when}, {len(self.findings.facts)} of {len(FIELDS)} facts settled"


def spoken(settings: Settings, url: str | None) -> Spoken:
    """The dialect of a venue; ``url`` is None for a demo, which speaks as assumed. Raises ConfigError for a bad file.

    A file that is named must be there; the one in the data folder is read if it is.
    """
    path = settings.live.dialect
    if path is None:
        path = None if url is None else dialect_path(url)
        if path is None or not path.exists():
            return Spoken()
    findings = read_findings(path)
    return Spoken(findings.dialect(), path, findings)
