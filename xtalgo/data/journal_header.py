"""What a run is: who ran what, with which settings; and what differs between two of them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from typing import Any

import msgspec
from attrs import frozen

from xtalgo.model.types import Ns

__all__ = ["Header", "StrategySource"]


@frozen
class StrategySource:
    """One strategy as it was when its run began; ``parameters`` is JSON text of an object."""

    name: str
    file: str
    source: str
    sha256: str
    parameters: str = "{}"

    @classmethod
    def of(cls, name: str, file: str, source: str, parameters: str = "{}") -> StrategySource:
        """With the hash of its source text, in UTF-8."""
        digest = hashlib.sha256(source.encode("utf-8", "surrogatepass")).hexdigest()
        return cls(name, file, source, digest, parameters)


@frozen
class Header:
    """The head of a run. ``settings`` is JSON text of an object; the token is never part of it."""

    run: str
    created: Ns
    version: str
    python: str
    platform: str
    settings: str
    accounts: tuple[str, ...]
    strategies: tuple[StrategySource, ...]

    def changes(self, new: Header) -> tuple[str, ...]:
        """What differs in ``new``, one line for people each; empty where a run goes on as it began.

        Source, parameters, versions, accounts and settings count; when it began, and where its files lie, do not.
        """
        lines = [
            f"{what}: {before} -> {after}"
            for what, before, after in (
                ("xtalgo", self.version, new.version),
                ("Python", self.python, new.python),
                ("platform", self.platform, new.platform),
                ("accounts", ", ".join(self.accounts), ", ".join(new.accounts)),
            )
            if before != after
        ]
        lines += _differences("setting", self.settings, new.settings)
        old_ones, new_ones = ({item.name: item for item in header.strategies} for header in (self, new))
        lines += [f"strategy {name} is gone" for name in old_ones if name not in new_ones]
        for name, item in new_ones.items():
            was = old_ones.get(name)
            if was is None:
                lines.append(f"strategy {name} is new")
                continue
            if was.sha256 != item.sha256:
                lines.append(f"strategy {name}: source changed ({was.sha256[:12]} -> {item.sha256[:12]})")
            lines += _differences(f"strategy {name}: parameter", was.parameters, item.parameters)
        return tuple(lines)


def _differences(what: str, before: str, after: str) -> Iterator[str]:
    old, new = dict(_flat("", before)), dict(_flat("", after))
    for name in [*old, *(name for name in new if name not in old)]:
        if old.get(name) != new.get(name):
            yield f"{what} {name}: {old.get(name, 'not set')} -> {new.get(name, 'not set')}"


def _flat(prefix: str, text: str) -> Iterator[tuple[str, str]]:
    try:
        value = msgspec.json.decode(text)
    except msgspec.DecodeError:
        value = text
    yield from _walk(prefix, value)


def _walk(path: str, value: Any) -> Iterator[tuple[str, str]]:
    if isinstance(value, dict):
        for key, held in value.items():
            yield from _walk(f"{path}.{key}" if path else key, held)
    else:
        yield path, msgspec.json.encode(value).decode()
