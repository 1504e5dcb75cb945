"""The token of an account, in a wrapper that doesn't show it."""

from __future__ import annotations

import hashlib
import re
from typing import Final, NoReturn

from xtalgo.model.errors import ConfigError

__all__ = ["HIDDEN", "SecretBytes", "Token"]

HIDDEN: Final = "…"
"""Stands in texts where a token stood."""

_USABLE = re.compile(r"[!-~]+")


class SecretBytes(bytes):
    """Bytes that don't show themselves, so that a header list may stand in a traceback with its locals."""

    __slots__ = ()

    def __repr__(self) -> str:
        return f"SecretBytes({HIDDEN})"

    __str__ = __repr__


class Token:
    """The bearer token of a user (documented). It has no readable text: ``repr`` and ``str`` hide it.

    Blanks and line ends around it are dropped, since tokens are pasted and read from files. Anything else that
    can't stand in a header raises ConfigError, which doesn't show it either.
    """

    __slots__ = ("_text",)

    def __init__(self, text: str | Token) -> None:
        if isinstance(text, Token):
            self._text: str = text._text
            return
        found = text.strip()
        if not found:
            raise ConfigError("the token is empty: copy it from the My Account page into XTRADE_TOKEN")
        if not _USABLE.fullmatch(found):
            raise ConfigError(
                "the token has blanks, line ends or characters that are not ASCII in it (it isn't shown here): "
                "copy it again from the My Account page"
            )
        self._text = found

    def header(self) -> tuple[bytes, bytes]:
        """The header of the handshake: ``Authorization: Bearer <token>`` (documented)."""
        return b"Authorization", SecretBytes(b"Bearer " + self._text.encode("ascii"))

    def digest(self) -> str:
        """Sixteen hex digits of its SHA-256, to name files by."""
        return hashlib.sha256(self._text.encode("ascii")).hexdigest()[:16]

    def hide(self, text: str) -> str:
        """``text`` without the token: a server may echo it."""
        return text.replace(self._text, HIDDEN)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Token) and other._text == self._text

    def __hash__(self) -> int:
        return hash(self._text)

    def __repr__(self) -> str:
        return f"Token({HIDDEN})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a token is not pickled: hand the place it is read from to the other process")
