"""A simulated venue's no."""

from __future__ import annotations

from xtalgo.model.errors import XtalgoError

__all__ = ["Refused"]


class Refused(XtalgoError):
    """The venue's own no: ``error`` as on the wire, ``detail`` for people."""

    def __init__(self, error: str, detail: str | None = None) -> None:
        super().__init__(error if detail is None else f"{error}: {detail}")
        self.error = error
        self.detail = detail
