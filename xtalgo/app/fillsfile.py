"""The file of fills: opened before a run, so that nothing is found out too late, and replaced whole after it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from xtalgo.app import report
from xtalgo.model.errors import ConfigError
from xtalgo.model.events import Fill

__all__ = ["fills_writer"]


@contextmanager
def fills_writer(name: str | None, inputs: Sequence[Path]) -> Iterator[Callable[[Sequence[Fill]], None]]:
    """Writes the fills to a file that is opened before the run, so that nothing is found out too late.

    An older file stays as it is until the new one is complete. Without a name nothing is written.
    """
    if name is None:
        yield lambda _: None
        return
    path = Path(name)
    if any(_same(path, other) for other in inputs):
        raise ConfigError(f"--fills {name}: that file is an input of this run")
    if path.is_dir():
        raise ConfigError(f"--fills {name}: a folder; name a file")
    # A device or a pipe is written to, a file is replaced.
    plain = path.is_file() or not path.exists()
    target = Path(os.path.realpath(path)) if plain else path
    written = target.with_name(f".{target.name}.{os.getpid()}.tmp") if plain else target

    def write(fills: Sequence[Fill]) -> None:
        with _writing(name), file:
            report.write_fills(file, fills)
        if plain:
            with _writing(name):
                os.replace(written, target)

    with _writing(name):
        if path.exists() and not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
        file = written.open("w", encoding="utf-8", newline="")
    try:
        yield write
    finally:
        file.close()
        if plain:
            written.unlink(missing_ok=True)


@contextmanager
def _writing(name: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigError(f"--fills {name}: cannot be written: {error.strerror or error}") from None


def _same(path: Path, other: Path) -> bool:
    return path.exists() and other.exists() and path.samefile(other)
