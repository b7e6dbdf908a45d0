"""The statements that the simulator understands, as values."""

from __future__ import annotations

from dataclasses import dataclass

Name = tuple[str, ...]
"""An object's name: one to three parts, database and schema first."""


@dataclass(frozen=True, slots=True)
class Begin:
    """BEGIN or START TRANSACTION."""


@dataclass(frozen=True, slots=True)
class End:
    """COMMIT, or ROLLBACK."""

    commit: bool


@dataclass(frozen=True, slots=True)
class Set:
    """SET and RESET (no value)."""

    name: str
    value: str | None


@dataclass(frozen=True, slots=True)
class Show:
    """SHOW of a variable."""

    name: str


@dataclass(frozen=True, slots=True)
class ShowColumns:
    """SHOW COLUMNS FROM."""

    name: Name


@dataclass(frozen=True, slots=True)
class SelectOid:
    """SELECT '...'::regclass::oid, of a relation by its name."""

    name: Name


@dataclass(frozen=True, slots=True)
class SelectRelations:
    """SELECT of schema, name and type of the users' relations in this database, from the system catalog."""


@dataclass(frozen=True, slots=True)
class Select:
    """SELECT of one constant or function call."""

    what: str
    argument: int = 0


@dataclass(frozen=True, slots=True)
class Subscribe:
    """SUBSCRIBE of a relation, or of some of its columns (a query; None is the relation itself)."""

    name: Name
    columns: tuple[str, ...] | None = None
    is_query: bool = False
    key: tuple[str, ...] | None = None
    snapshot: bool = True
    progress: bool = False
    as_of: int | None = None
    at_least: bool = False
    up_to: int | None = None


@dataclass(frozen=True, slots=True)
class Declare:
    """DECLARE ... CURSOR FOR SUBSCRIBE."""

    cursor: str
    subscribe: Subscribe


@dataclass(frozen=True, slots=True)
class Fetch:
    """FETCH. A count of None is ALL; a timeout of None (seconds) waits for the first row."""

    cursor: str
    count: int | None
    timeout: float | None


@dataclass(frozen=True, slots=True)
class Close:
    """CLOSE of a cursor, or ALL (None)."""

    cursor: str | None


@dataclass(frozen=True, slots=True)
class Copy:
    """COPY (SUBSCRIBE ...) TO STDOUT."""

    subscribe: Subscribe


Statement = (
    Begin
    | End
    | Set
    | Show
    | ShowColumns
    | SelectRelations
    | SelectOid
    | Select
    | Declare
    | Fetch
    | Close
    | Copy
    | Subscribe
)
