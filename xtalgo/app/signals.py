"""Signals that ask a run to end."""

from __future__ import annotations

import signal
import sys

__all__ = ["stop_signals"]


def stop_signals() -> list[signal.Signals]:
    """What asks a run to end. A terminal that closes does, too, unless that is ignored (``nohup``)."""
    if sys.platform == "win32":  # pragma: no cover
        return [signal.SIGINT, signal.SIGBREAK]
    found = [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        found.append(signal.SIGHUP)
    return found
