"""A process that reads a COPY beside the service: `child.py` runs there, `process.py` is the service's end of it."""

from __future__ import annotations

from tycostream.databases.reader.process import ReaderProcess, started

__all__ = ["ReaderProcess", "started"]
