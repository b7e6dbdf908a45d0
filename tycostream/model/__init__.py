"""The nouns of the product: columns, sources, rows and changes. Imports nothing above itself."""

from tycostream.model.changes import (
    UNCHANGED,
    Change,
    Changes,
    Event,
    Operation,
    PartialRow,
    Past,
    Position,
    Progress,
    ReadBy,
    Resumed,
    SnapshotComplete,
    SnapshotRows,
    SnapshotStarted,
    Unseen,
    Waiting,
)
from tycostream.model.columns import Column, ColumnType, EnumType
from tycostream.model.source import Catalog, Key, Relation, Row, Source

__all__ = [
    "UNCHANGED",
    "Catalog",
    "Change",
    "Changes",
    "Column",
    "ColumnType",
    "EnumType",
    "Event",
    "Key",
    "Operation",
    "PartialRow",
    "Past",
    "Position",
    "Progress",
    "ReadBy",
    "Relation",
    "Resumed",
    "Row",
    "SnapshotComplete",
    "SnapshotRows",
    "SnapshotStarted",
    "Source",
    "Unseen",
    "Waiting",
]
