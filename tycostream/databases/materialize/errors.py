"""What Materialize refuses, in words that help; and whether it goes by itself.

Codes are shared between causes and texts have changed over the years (src/adapter/src/error.rs), so both are looked at.
"""

from __future__ import annotations

from tycostream.databases.driver import DatabaseError
from tycostream.model import Source

_PASSING_CLASSES = frozenset({"08", "25", "40", "53", "55", "57", "58"})
"""Classes of SQLSTATE (PostgreSQL's appendix A) that go by themselves: lost connections, resources, operators."""

_HINTS = (
    ("unknown catalog item", "create the relation, or name another with relation: in the schema file"),
    ("does not exist", "mend the database, or the relation and columns in the schema file"),
    ("was dropped", "create it again, and the source goes on by itself"),
    ("has no replicas", "give the cluster a replica, or set DATABASE_CLUSTER"),
    ("max size", "raise max_result_size on the server, or make the relation smaller"),
    ("not have columns", "name a table, source, view or materialized view"),
)


def explained(error: DatabaseError, source: Source) -> DatabaseError:
    """The error with what to do about it. What only somebody can mend is permanent: the source shows FAILED."""
    code = error.sqlstate
    if error.permanent or code is None:
        return error
    permanent = code[:2] not in _PASSING_CLASSES
    text = str(error)
    hint = error.hint or next((hint for words, hint in _HINTS if words in text), None)
    if hint is None and code == "XX000":
        hint = f"the query behind {source.relation} fails in the database: the data or the view must be mended there"
    told = DatabaseError(text, hint=hint, permanent=permanent)
    told.sqlstate = code
    return told


def unreadable(what: str) -> DatabaseError:
    """The database does not speak as Materialize does."""
    return DatabaseError(f"the result of SUBSCRIBE can't be read: {what}")
