"""What may be shown to others of a frame: no names of accounts, no names of people, nothing of other accounts."""

from __future__ import annotations

import json
from typing import Any, Final

from attrs import define, field

__all__ = ["Redaction"]

_PRIVATE: Final = frozenset({"primaryuser", "username", "userid", "email", "displayname"})
_HIDDEN: Final = "…"
_LONGEST: Final = 2_000


@define(eq=False)
class Redaction:
    """Hides the names of accounts: the probed one reads ACCOUNT, and what is about others is left out."""

    account: str = ""
    others: set[str] = field(factory=set)

    def text(self, text: str) -> str:
        """Text that is not JSON."""
        for name in sorted({self.account, *self.others} - {""}, key=len, reverse=True):
            text = text.replace(name, "ACCOUNT" if name == self.account else _HIDDEN)
        return text

    def frame(self, text: str) -> str:
        """A frame, at most ``_LONGEST`` characters of it."""
        try:
            shown = json.dumps(self._clean(json.loads(text)), ensure_ascii=False, separators=(",", ":"))
        except (ValueError, RecursionError):
            shown = text
        shown = self.text(shown)
        return shown if len(shown) <= _LONGEST else f"{shown[:_LONGEST]}{_HIDDEN}"

    def _clean(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {
                key: _HIDDEN if key.lower() in _PRIVATE and inner is not None else self._clean(inner)
                for key, inner in value.items()
                if not self._is_other(key)
            }
        if isinstance(value, list):
            return [self._clean(one) for one in value if not self._concerns_others(one)]
        return value

    def _is_other(self, text: object) -> bool:
        return isinstance(text, str) and text in self.others

    def _concerns_others(self, value: Any) -> bool:
        if isinstance(value, dict):
            return any(self._concerns_others(inner) for inner in value.values() if not isinstance(inner, list))
        return self._is_other(value)
