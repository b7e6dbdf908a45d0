"""Reloading: what a changed schema file changes, when it is read again, and when the process starts again."""

from tycostream.reload.comparison import Changeover, compare
from tycostream.reload.reloader import POLL_SECONDS, Reloader

__all__ = ["POLL_SECONDS", "Changeover", "Reloader", "compare"]
