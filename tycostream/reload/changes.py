"""Whether files have changed, told by looking at them now and then."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Generic, TypeVar

T = TypeVar("T")

Fingerprint = tuple[int, ...]


class Settled(Generic[T]):
    """Tells when something has changed and come to rest: two looks, one after the other, have seen the same, and it is
    not what was known. So a file that is written in steps is not read half-way."""

    def __init__(self, known: T) -> None:
        self._known = self._last = known

    def look(self, now: T) -> bool:
        """Whether what is seen now is new and at rest. From then on it is known."""
        settled = now == self._last and now != self._known
        self._last = now
        if settled:
            self._known = now
        return settled


def fingerprint(path: Path) -> Fingerprint | None:
    """What tells a file from the one that was there before, links followed; None where there is none.

    Size and times alone would miss a link that is pointed elsewhere, as Kubernetes does with a ConfigMap: the files
    behind it may be of one size and of one moment, but they are not the same file.
    """
    try:
        found = os.stat(path)
    except OSError:
        return None
    return (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


def code_fingerprints(folders: Iterable[Path]) -> dict[Path, Fingerprint]:
    """The files of code in these folders and below, with what tells that they have been written to."""
    return {path: found for folder in folders for path in _code(folder) if (found := fingerprint(path)) is not None}


def _code(folder: Path) -> Iterator[Path]:
    for path, folders, files in os.walk(folder):
        folders[:] = [name for name in folders if name != "__pycache__"]
        yield from (Path(path, name) for name in files if name.endswith((".py", ".html")))
