"""The same functions over REST: from a call to a request, and from a request to a call."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

from xtalgo.model.errors import ConfigError
from xtalgo.protocol.rpc import TABLE, RpcSpec

__all__ = ["Match", "Request", "match", "request_of"]


class Request(NamedTuple):
    """A REST request. ``path`` is percent-encoded; ``body`` is None for GET."""

    method: str
    path: str
    query: dict[str, str]
    body: dict[str, Any] | None


def request_of(spec: RpcSpec | str, args: Mapping[str, Any]) -> Request:
    """The request of a function whose arguments were checked. Raises ConfigError where no route is known."""
    if isinstance(spec, str):
        spec = TABLE[spec]
    for path in spec.paths:
        names = re.findall(r"{(\w+)}", path)
        if all(name in args for name in names):
            for name in names:
                # Clients and servers resolve such segments: `accounts/../positions/flatten` would close every account.
                if str(args[name]).strip() in ("", ".", ".."):
                    raise ConfigError(f"{spec.name}: {name} can't be {args[name]!r}")
            filled = path.format(**{name: quote(str(args[name]), safe="") for name in names})
            rest = {name: value for name, value in args.items() if name not in names}
            if spec.method == "GET":
                return Request("GET", filled, {name: _text(value) for name, value in rest.items()}, None)
            return Request(spec.method, filled, {}, rest)
    raise ConfigError(f"{spec.name}: no REST route is known; it can be called over the socket only")


def _text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


class Match(NamedTuple):
    """The function that a request means, and the arguments in its path."""

    spec: RpcSpec
    args: dict[str, str]


def match(method: str, path: str, *, filters: bool = True) -> Match | None:
    """The function behind method and path (percent-encoded, without query), or None.

    Fixed parts of a route come before ``{names}``: ``accounts/snapshot`` is no account. ``filters`` says whether the
    request has a body: without one ``positions/flatten`` is FlattenEverything, with one it is Flatten (documented).
    """
    for pattern, spec in _routes():
        if spec.method == method.upper() and (found := pattern.fullmatch(path)):
            if spec.name == "FlattenEverything" and filters:
                continue
            return Match(spec, {name: unquote(value) for name, value in found.groupdict().items()})
    return None


@functools.cache
def _routes() -> tuple[tuple[re.Pattern[str], RpcSpec], ...]:
    """Every route, those with the fewest names first, and FlattenEverything before Flatten."""
    routes = [(path, spec) for spec in TABLE for path in spec.paths]
    routes.sort(key=lambda route: (route[0].count("{"), not route[1].everywhere))
    return tuple((re.compile(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path)), spec) for path, spec in routes)
