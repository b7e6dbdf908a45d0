"""One change, as a selection writes it."""

from __future__ import annotations

from tycostream.model import Operation, Row
from tycostream.views.delivery import Selection


def rendered(selection: Selection, operation: Operation, row: Row, changed: int = 0, timestamp: int = 1) -> bytes:
    """Its result."""
    (result,) = selection.render([(operation, (), row, changed, timestamp)])
    return result
