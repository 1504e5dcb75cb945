"""What a simulated server wants done on the network."""

from __future__ import annotations

from typing import TypeAlias

import msgspec

__all__ = ["Close", "Drop", "Output", "Rejection", "Response", "Send"]


class Send(msgspec.Struct, frozen=True):
    """Write a text frame."""

    connection: int
    text: str


class Close(msgspec.Struct, frozen=True):
    """Close with this code and reason; the connection is over for the server."""

    connection: int
    code: int
    reason: str


class Drop(msgspec.Struct, frozen=True):
    """End the transport without a close frame; the connection is over for the server."""

    connection: int


class Response(msgspec.Struct, frozen=True):
    """Answer a REST request."""

    request: int
    status: int
    headers: dict[str, str]
    body: bytes


Output: TypeAlias = Send | Close | Drop | Response
"""Something to do on the network."""


class Rejection(msgspec.Struct, frozen=True):
    """A handshake that is refused, with an HTTP status and a JSON body."""

    status: int
    body: bytes
